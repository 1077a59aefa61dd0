-- The arithmetic that the made-up country is built of. Variables: seed.

-- A number in [0, 1) that follows from the seed, a word and a number, and nothing else. The number is
-- mixed after the word went in: the other way round two words would give dependent draws.
create macro draw(n, word) as
    (hash(xor(n::ubigint, hash(word || getvariable('seed')::varchar))) >> 40)::double / 16777216;

-- A whole number in [0, below).
create macro pick(n, word, below) as
    ((hash(xor(n::ubigint, hash(word || getvariable('seed')::varchar))) >> 20) % below)::bigint;

-- A standard normal number, near enough: the sum of three uniform ones, scaled.
create macro normal(n, word) as
    2 * (draw(n, word || '1') + draw(n, word || '2') + draw(n, word || '3') - 1.5);

-- A link key: one letter and nine digits. Multiplying by a number without a factor 2 or 5 takes every
-- number below a billion to another one, so no two keys coincide.
create macro link_key(letter, n) as
    letter || substr(
        (1000000000 + (n::bigint * 387420489 + 104729 * getvariable('seed')) % 1000000000)::varchar, 2
    );

create macro registration_number(n) as
    substr((100000000 + (n::bigint * 48828127 + 7919 * getvariable('seed')) % 100000000)::varchar, 2);

create macro licence_plate(n) as
    to_base((n::bigint * 1220703125 + 7919 * getvariable('seed')) % 2176782336, 36, 6);

-- A day of a year.
create macro day_in(year_number, share) as
    make_date(year_number::integer, 1, 1) + floor(share * 365)::integer;

-- A day of the reference period. Variables: first_day, last_day.
create macro day_of_period(share) as
    getvariable('first_day')
    + floor(share * (getvariable('last_day') - getvariable('first_day') + 1))::integer;

-- Families. A cluster is some fifteen households of all ages; its phase says in which years of a
-- decade they move on to the next stage of life.

create macro other_unit(c, mask, word, rate) as
    if(
        draw(least(c // 10, xor((c // 10)::integer, mask)) * 10 + c % 10, word) < rate,
        (xor((c // 10)::integer, mask) * 10 + c % 10)::bigint,
        c::bigint
    );

-- The family that lives in a cluster at a stage of life; equally the cluster where a family lives then.
-- An exchange of neighbours is its own inverse. Small masks are short moves, the large one is that of
-- the young who leave home.
create macro family_at(c, stage) as
    case stage
        when 2 then other_unit(c, 4099, 'move2', 0.45)
        when 3 then other_unit(c, 301, 'move3', 0.40)
        when 4 then other_unit(c, 75, 'move4', 0.30)
        when 5 then other_unit(c, 150, 'move5', 0.20)
        else c::bigint
    end;

-- Where the partner of a family was born: never in the same family.
create macro partner_line(f) as (xor((f // 10)::integer, 2) * 10 + f % 10)::bigint;

create macro has_first(f) as draw(f, 'first') < 0.99;
create macro has_second(lane) as
    draw(lane, 'second') < 0.95 or not draw(partner_line(lane), 'first') < 0.99;
create macro has_third(f) as draw(f, 'third') < getvariable('third_child_share');
create macro is_separated(f) as
    draw(f, 'apart') < getvariable('separated_share') and draw(f, 'first') < 0.99
    and has_second(partner_line(f));
create macro lives_together_young(f) as draw(f, 'young') < getvariable('young_couple_share');

-- Numbers from which keys are made. Thirteen generations and six kinds of household fit in a billion.
create macro person_number(lane, g, ring) as (lane * 13 + g) * 3 + ring - 1;
create macro household_number(f, g, kind) as (f * 13 + g) * 6 + kind;

-- Age at death: few die young, most between 70 and 97.
create macro age_at_death(n) as
    if(
        draw(n, 'life') < 0.04,
        15 + floor(draw(n, 'early') * 45),
        60 + floor(40 * pow(draw(n, 'late'), 0.85))
    )::integer;

create macro is_man(lane, g, ring) as
    case ring
        when 1 then draw(lane * 13 + g, 'sex1') < 0.505
        when 2 then not draw(partner_line(lane) * 13 + g, 'sex1') < 0.505
        else draw(lane * 13 + g, 'sex3') < 0.505
    end;

create macro birth_date(person, birth_year) as day_in(birth_year, draw(person, 'birthday'));

-- Years since the families of a cluster moved on, on 1 January. Variables: year.
create macro years_in_stage(c) as (getvariable('year') - 1910 - c % 10) % 10;

-- The day on which a household came to live where it does.
create macro settled_on(c, household) as
    day_in(getvariable('year') - 1 - years_in_stage(c), draw(household, 'moved in'));

-- What stands where: places 0 to 20 of a cluster are dwellings, three for each stage of life; 24 to 27
-- are other premises.
create macro is_other_built(c, place) as
    draw(c * 4 + place - 24, 'other use') < [0.50, 0.35, 0.22, 0.13][place - 23];

-- Five neighbouring clusters whose rented homes belong to one household without means: planted.
create macro is_held(c) as draw(c // 5, 'held') < getvariable('held_share');

create macro is_owned(premises) as
    draw(premises, 'tenure') < getvariable('owner_share')[premises % 32 // 3 + 1];

-- Low income: since which year, or null. Some stay poor, some are for three years. Where it turns, turns.sql
-- says so, and looks at the atom and the cluster.
create macro poor_block(household) as
    (getvariable('year') + pick(household, 'poor from', 3)) // 3;

create macro poor_since(household, atom, c) as
    case
        when draw(household, 'long poor') < getvariable('long_low_income_share')
            then 2004 + pick(household, 'long poor since', 8)
        when draw(household * 1000 + poor_block(household), 'poor') < getvariable('low_income_share')
            then poor_block(household) * 3 - pick(household, 'poor from', 3)
    end;

-- Crime. A quarter is numbered from year 0. A person can be a suspect in one era of four years out of
-- four, so a case number from person and quarter within sixteen is never used twice.
create macro case_number(person, quarter) as person * 16 + quarter % 16;

create macro is_suspect(person, birth_year, man, lane, quarter) as
    (quarter // 16 + pick(person, 'era', 4)) % 4 = 0
    and draw(person * 10000 + quarter, 'suspect')
    < getvariable('suspects_per_quarter') * 4 * if(man, 1.65, 0.40)
    * (0.55 + draw(lane // 1500, 'area')) * case
        when quarter // 4 - birth_year between 12 and 17 then 1.3
        when quarter // 4 - birth_year between 18 and 24 then 2.6
        when quarter // 4 - birth_year between 25 and 44 then 1.5
        when quarter // 4 - birth_year between 45 and 64 then 0.7
        when quarter // 4 - birth_year between 65 and 79 then 0.15
        else 0
    end;

create macro offence(n) as
    ['property', 'vandalism', 'violence', 'traffic', 'drugs', 'firearms', 'other'][
        (case
            when draw(n, 'offence') < 0.30 then 1
            when draw(n, 'offence') < 0.42 then 2
            when draw(n, 'offence') < 0.69 then 3
            when draw(n, 'offence') < 0.85 then 4
            when draw(n, 'offence') < 0.93 then 5
            when draw(n, 'offence') < 0.96 then 6
            else 7
        end)::integer
    ];

-- Income of a person in a year, before the household is looked at.
create macro person_income(person, age, household, atom, c, is_planted) as
    case
        when age < 16 then 0
        when is_planted then (6000 * draw(person, 'no means'))::bigint
        else (
            getvariable('median_income') * exp(0.55 * normal(person, 'income')) * case
                when age < 25 then 0.30
                when age < 67 then 1.15
                else 0.80
            end * if(poor_since(household, atom, c) is null, 1, 0.4)
        )::bigint
    end;

-- A dwelling that changes hands in a quarter, as planted. Variables: quarter.
create macro is_passed_on(premises) as
    draw(premises, 'passed on') < getvariable('passed_on_share')
    and (getvariable('quarter') // 36 + pick(premises, 'passed from', 2)) % 2 = 0
    and draw(premises * 10000 + getvariable('quarter'), 'passed') < 0.55;
