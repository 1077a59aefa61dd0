-- A home that is owned changes hands when the family in it moves on, in the last year of its stage;
-- some change hands every other quarter or so: planted. The new owner shows from the next 1 January.
select
    premises as _unit,
    link_key('T', (c * 21 + place) * 36 + getvariable('quarter') % 36) as transfer_key,
    link_key('V', premises) as premises_key,
    day_of_period(draw(premises * 10000 + getvariable('quarter'), 'sold on')) as transferred_on,
    (
        woz_value
        * if(
            is_passed_on(premises), 0.7 + 0.06 * (getvariable('quarter') % 12),
            0.85 + 0.35 * draw(premises * 10000 + getvariable('quarter'), 'price')
        )
    )::bigint as price_eur,
    code as municipality_code
from premises
where
    is_dwelling and (is_passed_on(premises) or (
        tenure = 'owner' and years_in_stage(c) = 9
        and draw(premises * 10000 + getvariable('year'), 'is sold') < getvariable('sold_on_moving_share')
        and pick(premises * 10000 + getvariable('year'), 'sold in', 4) = getvariable('quarter') % 4
    ))
