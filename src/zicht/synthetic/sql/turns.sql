-- Low income where it turns. Only read when asked for: without it not even the order of rows may change.
-- Variables: turn_year, turn_share (by number of the atom).

create macro poor_from(household) as poor_block(household) * 3 - pick(household, 'poor from', 3);

create macro poor_draw(household) as draw(household * 1000 + poor_block(household), 'poor');

-- The share that is poor for some years. Where low income turns it changes evenly to another one.
create macro poor_share(atom, year_number) as
    getvariable('low_income_share')
    + (getvariable('turn_share')[atom + 1] - getvariable('low_income_share'))
    * least(
        greatest(year_number - getvariable('turn_year')[atom + 1], 0) / getvariable('low_income_turn_years'), 1
    );

-- Who is poor by what was planted is so from the year in which the share reaches that far, or in which
-- the household came to live there.
create or replace macro poor_since(household, atom, c) as
    case
        when draw(household, 'long poor') < getvariable('long_low_income_share')
            then 2004 + pick(household, 'long poor since', 8)
        when poor_draw(household) < least(poor_share(atom, getvariable('year')), getvariable('low_income_share'))
            then poor_from(household)
        when poor_draw(household) < poor_share(atom, getvariable('year'))
            then greatest(
                getvariable('year') - years_in_stage(c),
                poor_from(household) + case
                    when poor_draw(household) < poor_share(atom, poor_from(household)) then 0
                    when poor_draw(household) < poor_share(atom, poor_from(household) + 1) then 1
                    else 2
                end
            )
    end;
