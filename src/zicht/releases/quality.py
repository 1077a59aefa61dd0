"""How far a figure can be relied on: a grade from A to D with a rule that can be checked by hand.

A figure is looked at in four ways, each of which gives a grade. The figure gets the lowest of the
four, so a figure never gets a better grade for being worse in any of them.

=========  ==================================================  ====  ====  ====  =====
looked at  measured                                             A     B     C     D
=========  ==================================================  ====  ====  ====  =====
coverage   lowest share delivered of a source behind it, pct   >=95  >=90  >=80  lower
age        days from the end of the period to the delivery     <=180 <=400 <=800 more
status     flags                                               none  provisional, break: B;
                                                               estimated: C
hidden     share of its indicator and period hidden, pct       <=10  <=25  <=50  more
=========  ==================================================  ====  ====  ====  =====

Where no coverage was measured it does not count. The age of a figure is at most that of the newest
period of its indicator: history that was loaded afterwards is no worse for it. For that newest
period age is one grade lower while a source behind it is overdue. The bounds are choices of this
project, and are explained in ``docs/reference/release.md``.
"""

from __future__ import annotations

import duckdb

from zicht.periods import Period
from zicht.sql import literal

COVERAGE_PCT = (95, 90, 80)
"""Lowest share delivered for A, B and C."""
AGE_DAYS = (180, 400, 800)
"""Highest lag for A, B and C; a quarter, a year and two years, with time to deliver."""
HIDDEN_PCT = (10, 25, 50)
"""Highest share of hidden figures for A, B and C."""
STATUS = {"provisional": 2, "break": 2, "estimated": 3}
"""Per flag the grade, 1 for A to 4 for D."""


def _at_least(measured: str, bounds: tuple[int, ...]) -> str:
    cases = " ".join(f"when {measured} >= {b} then {g}" for g, b in enumerate(bounds, 1))
    return f"case when {measured} is null then 1 {cases} else 4 end"


def _at_most(measured: str, bounds: tuple[int, ...]) -> str:
    cases = " ".join(f"when {measured} <= {b} then {g}" for g, b in enumerate(bounds, 1))
    return f"case when {measured} is null then 1 {cases} else 4 end"


def _by_flags() -> str:
    cases = ", ".join(
        f"case when list_contains(string_split(f.obs_flags, ';'), {literal(flag)}) "
        f"then {grade} else 1 end"
        for flag, grade in STATUS.items()
    )
    return f"greatest({cases})"


def quality_query(connection: duckdb.DuckDBPyConnection, figures: str) -> str:
    """Prepares ``connection``, which holds ``indicators``, ``sources`` and ``coverage``.

    Args:
        connection: the candidate's database.
        figures: relation with the columns of ``observations`` but ``quality``.

    Returns:
        A query with those columns and ``quality``, null for a figure that has no value.
    """
    texts = connection.execute(
        f"select reference_period from {figures} union select reference_period from coverage"
    ).fetchall()
    connection.execute(
        "create or replace temp table days (reference_period varchar, starts date, ends date)"
    )
    days = [(text, (period := Period.parse(text)).start, period.end) for (text,) in texts]
    if days:
        connection.executemany("insert into days values (?, ?, ?)", days)
    return f"""
        with resting as (
            select indicator_id, unnest(string_split(sources, ';')) as source from indicators
        ),
        late as (
            select distinct indicator_id, true as is_late
            from resting
            inner join sources using (source)
            where is_overdue
        ),
        newest as (
            select indicator_id, reference_period, max(lag_days) as lag_days
            from {figures}
            where value is not null
            group by indicator_id, reference_period
            qualify reference_period = max(reference_period) over (partition by indicator_id)
        ),
        periods as (
            select indicator_id, reference_period,
                100.0 * count(*) filter (where conf_status = 'C')
                    / nullif(count(*) filter (where obs_status <> 'O'), 0) as hidden_pct
            from {figures}
            group by indicator_id, reference_period
        ),
        -- A source may cover a longer or a shorter time than the figure: what counts is whether
        -- the two overlap, and of several periods the worst.
        covered as (
            select p.indicator_id, p.reference_period, c.region_code,
                min(c.coverage_pct) as coverage_pct
            from periods as p
            inner join resting as r using (indicator_id)
            inner join coverage as c using (source)
            inner join days as own on p.reference_period = own.reference_period
            inner join days as its on c.reference_period = its.reference_period
            where own.starts <= its.ends and its.starts <= own.ends
            group by p.indicator_id, p.reference_period, c.region_code
        )
        select f.*,
            case when f.value is not null then substr('ABCD', greatest(
                {_at_least("c.coverage_pct", COVERAGE_PCT)},
                least(4, {_at_most("least(f.lag_days, n.lag_days)", AGE_DAYS)}
                    + case
                        when f.reference_period = n.reference_period and l.is_late then 1 else 0
                    end),
                {_by_flags()},
                {_at_most("p.hidden_pct", HIDDEN_PCT)}
            ), 1) end as quality
        from {figures} as f
        inner join periods as p
            on f.indicator_id = p.indicator_id and f.reference_period = p.reference_period
        left join newest as n on f.indicator_id = n.indicator_id
        left join late as l on f.indicator_id = l.indicator_id
        left join covered as c
            on f.indicator_id = c.indicator_id and f.reference_period = c.reference_period
            and f.region_code = c.region_code
    """
