"""Protect against Attack: the attacker finds nothing in what Protect made of random tables.

The attacker sees what is published and nothing else: the columns of ``protected.csv``, its
structure and the spec, through files for a part of the tables. ZICHT_PROPERTY_EXAMPLES multiplies
the number of tables.
"""

from __future__ import annotations

import csv
import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import yaml
from attack_support import Dim, World, publish, ranges, recovered
from hypothesis import HealthCheck, event, given, settings
from random_tables import (
    Facts,
    Key,
    Story,
    Told,
    amounts,
    document_of,
    facts,
    fallbacks,
    groups,
    histories,
    roundings,
    single,
)

from zicht.attacker import (
    Finding,
    Kind,
    Knowledge,
    PublishedTable,
    Report,
    Structure,
    attack,
    load_spec,
    make_table,
    parse_spec,
    read_tables,
)
from zicht.disclosure.history import Released
from zicht.disclosure.protecting import HeldBackError, Protected, protect_cells
from zicht.disclosure.secondary import System, recoverable
from zicht.disclosure.spec import load_spec as load_protect_spec
from zicht.disclosure.spec import spec_of

MANY = int(os.environ.get("ZICHT_PROPERTY_EXAMPLES", "1"))
SDC = Path(__file__).parents[3] / "shared" / "data" / "sdc"


def examples(n: int) -> settings:
    """The same tables in every run."""
    return settings(
        max_examples=n * MANY,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


@dataclass(frozen=True)
class Made:
    """A release that came about."""

    told: Told
    protected: Protected
    name: str

    @property
    def hidden(self) -> set[Key]:
        """Cells that are not shown."""
        return {key for key, value in self.rows() if value is None}

    def rows(self) -> list[tuple[Key, Any]]:
        """Codes and value per cell."""
        columns = self.protected.columns
        keys = zip(*(columns[name] for name in self.told.document["dimensions"]), strict=True)
        return list(zip(keys, columns["value"], strict=True))

    def explained(self, *rules: str) -> list[dict[str, str]]:
        """Keys of the hidden cells that one of these rules hit."""
        why = self.protected.explanation
        names = list(self.told.document["dimensions"])
        return [
            {name: why[name][at] for name in names}
            for at, hit in enumerate(why.get("rules", ()))
            if set(hit.split(",")) & set(rules)
        ]


def protect_all(story: Story) -> list[Made]:
    """Protects release after release; what policy holds back is not published."""
    made: list[Made] = []
    for number, told in enumerate(story.told):
        past = [one.protected.as_released(one.name) for one in made]
        try:
            own = protect_cells(told.columns(), spec_of(told.document), past)
        except HeldBackError as error:
            event(f"held back {error.code}")
            continue
        made.append(Made(told, own, f"release {number}"))
    return made


def structure_of(made: Made) -> dict[str, Structure]:
    """What is public about the municipalities."""
    levels: dict[str, set[str]] = {}
    parents: dict[tuple[str, str], dict[str, str]] = {}
    for _, low, code, high, parent in zip(*made.protected.structure_columns.values(), strict=True):
        levels.setdefault(low, set()).add(code)
        levels.setdefault(high, set()).add(parent)
        parents.setdefault((low, high), {})[code] = parent
    if not levels:
        return {}
    return {"mun": Structure({low: tuple(sorted(own)) for low, own in levels.items()}, parents)}


def published(made: Made, shown: Key | None = None) -> list[PublishedTable]:
    """The tables that a release consists of: counts, and amounts if there are any.

    Args:
        shown: a hidden cell that is published all the same.
    """
    document = {**made.told.document}
    magnitude = document.pop("magnitude", None)
    history = dict(document.pop("history", {}))
    pairs = tuple((old, new) for old, new in history.pop("successors", ()))
    columns = dict(made.protected.published_columns)
    if shown is not None:
        truth = made.told.truth()
        open_ = [key == shown for key, _ in made.rows()]
        for column, value in (("value", truth[shown]), ("obs_status", "A")):
            columns[column] = [
                value if own else one for own, one in zip(open_, columns[column], strict=True)
            ]
    tables = []
    for subject, more in (("", {}), ("eur", {"magnitude": magnitude})):
        if subject and magnitude is None:
            continue
        spec = replace(parse_spec({**document, **more, "history": history}), successors=pairs)
        values = columns[subject] if subject else columns["value"]
        if subject:
            # Counts are rounded, amounts are not.
            columns = {key: own for key, own in columns.items() if "rounding" not in key}
        tables.append(
            make_table(
                {**columns, "value": values},
                spec,
                structure_of(made),
                name=made.name,
                subject=subject,
            )
        )
    return tables


def knowledge_of(made: Sequence[Made]) -> Knowledge:
    """The attacker that policy protects against."""
    return Knowledge(made[-1].told.document["policy"].get("attacker", "informed"))


def attacked(made: Sequence[Made], shown: Key | None = None) -> list[Finding]:
    """What breaks the promise in all releases together, by frames."""
    newest, *earlier = reversed(made)
    counts, *sums = published(newest, shown)
    tables = [counts, *(published(one)[0] for one in earlier)]
    report = attack(
        tables,
        knowledge=knowledge_of(made),
        processes=1,
        primary=newest.explained("minimum_frequency"),
    )
    found = [one for one in report.failures if not is_listed(one, made)]
    if sums:
        amount_tables = [*sums, *(published(one)[1] for one in earlier)]
        rules = newest.explained("dominance", "p_percent")
        found += attack(
            amount_tables, knowledge=knowledge_of(made), processes=1, primary=rules
        ).failures
    return found


def is_listed(finding: Finding, made: Sequence[Made]) -> bool:
    """Whether Protect itself reports that this interval cannot be had."""
    if finding.kind not in (Kind.BELOW_THRESHOLD, Kind.NARROW):
        return False
    reports = [one.protected.report for one in made]
    label = f"{finding.table}: {'/'.join(finding.key.values())}"
    return any(label in report.get("unmet_before", ()) for report in reports) or any(
        unmet["cell"] == dict(finding.key)
        for one in made
        if one.name == finding.table
        for unmet in one.protected.report.get("unmet", ())
    )


def check_honest(made: Made) -> None:
    """What is shown is true, and what is unsafe in itself is not shown."""
    truth = made.told.truth()
    rows = dict(made.rows())
    if made.protected.report["merged"]:
        rows = {key: value for key, value in rows.items() if key in truth}
    else:
        assert rows.keys() == truth.keys()
    if made.protected.rounding is not None:
        base = made.protected.rounding.base
        assert all(value is None or value % base == 0 for value in rows.values())
        assert all(abs(value - truth[key]) <= base for key, value in rows.items() if value)
        return
    policy = made.told.document["policy"]
    least = 1 if policy.get("publish_zeros", True) else 0
    for key, value in rows.items():
        assert value is None or value == truth[key]
        if least <= truth[key] < policy["minimum_frequency"]:
            never = made.told.document.get("never_hide", ())
            names = list(made.told.document["dimensions"])
            own = dict(zip(names, key, strict=True))
            assert value is None or any(one.items() <= own.items() for one in never)


def check(story: Story) -> None:
    made = protect_all(story)
    for one in made:
        check_honest(one)
    event(f"{story.kind}: {len(made)} of {len(story.told)} released")
    if made:
        assert attacked(made) == []


@examples(70)
@given(single())
def test_nothing_is_found_in_one_table(story: Story) -> None:
    check(story)


@examples(90)
@given(histories())
def test_nothing_is_found_in_all_releases_together(story: Story) -> None:
    check(story)


@examples(30)
@given(amounts())
def test_nothing_is_found_in_counts_and_amounts(story: Story) -> None:
    check(story)


@examples(40)
@given(roundings())
def test_nothing_is_found_behind_rounding(story: Story) -> None:
    check(story)


@examples(40)
@given(groups())
def test_nothing_is_found_where_categories_or_totals_are_special(story: Story) -> None:
    check(story)


@examples(40)
@given(fallbacks())
def test_nothing_is_found_where_policy_falls_back(story: Story) -> None:
    check(story)


# Through files ---------------------------------------------------------------------------------


def write_spec(folder: Path, told: Told, number: int) -> Path:
    document = {**told.document}
    if "successors" in document.get("history", {}):
        pairs = document["history"]["successors"]
        (folder / "successors.csv").write_text(
            "from,to\n" + "".join(f"{old},{new}\n" for old, new in pairs), encoding="utf-8"
        )
        document["history"] = {**document["history"], "successors": "successors.csv"}
    path = folder / f"spec_{number}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@examples(15)
@given(histories())
def test_files_say_the_same_as_frames(story: Story) -> None:
    made = protect_all(story)
    if not made:
        return
    with TemporaryDirectory() as name:
        folder, files = Path(name), []
        for number, one in enumerate(made):
            spec = write_spec(folder, one.told, number)
            cells = folder / f"cells_{number}.csv"
            with cells.open("w", encoding="utf-8", newline="") as stream:
                writer = csv.writer(stream)
                writer.writerow(one.told.columns())
                writer.writerows(zip(*one.told.columns().values(), strict=True))
            files.append(folder / (f"out_{number}.parquet" if number % 2 else f"out_{number}.csv"))
            past = [Released.read(path) for path in files[:-1]]
            own = protect_cells(cells, load_protect_spec(spec), past)
            assert own.columns == one.protected.columns
            own.write(files[-1])
        specs = [load_spec(folder / f"spec_{number}.yaml") for number in range(len(files))]
        report = attack(
            [
                table
                for path, rules in zip(files[::-1], specs[::-1], strict=True)
                for table in read_tables(path, rules, vintage=str(path))
            ],
            knowledge=knowledge_of(made),
            processes=1,
        )
    findings = [
        replace(one, table=made[files.index(Path(one.table))].name) for one in report.failures
    ]
    assert [one for one in findings if not is_listed(one, made)] == []


# Taking back -----------------------------------------------------------------------------------


def needed(made: Made, cell: Key) -> bool:
    """Whether Protect's own search says that nothing may be published beside this pattern."""
    outcome = made.protected.outcome
    assert outcome is not None
    problem = outcome.problem
    hidden = np.concatenate([outcome.hidden, np.ones(problem.size - problem.n, dtype=bool)])
    hidden[[key for key, _ in made.rows()].index(cell)] = False
    hidden[problem.n :] &= (problem.lower < problem.upper)[problem.n :]
    watched = problem.guarded & hidden
    watched[: problem.n] = hidden[: problem.n]
    system = System(problem.matrix, problem.values, problem.lower, problem.upper)
    return bool(len(recoverable(system, hidden, np.flatnonzero(watched), processes=1)))


def check_taking_back(story: Story) -> None:
    made = protect_all(story)
    if len(made) < len(story.told):
        return
    newest = made[-1]
    # What the past hid is kept hidden by choice, and may be more than is needed.
    for one in newest.explained("secondary"):
        cell = tuple(one.values())
        found = attacked(made, cell)
        assert bool(found) == needed(newest, cell), cell
        if len(made) == 1 and newest.protected.report["is_complete"]:
            assert found, f"{cell} is hidden and nothing needs it"
        event("needed" if found else "not needed")


@examples(40)
@given(single(protection="exact"))
def test_taking_back_a_needed_secondary_is_found(story: Story) -> None:
    check_taking_back(story)


@examples(25)
@given(histories(kinds=("additions", "shape", "merge"), protection="exact"))
def test_taking_back_in_a_later_release_is_found(story: Story) -> None:
    check_taking_back(story)


# A weak protector ------------------------------------------------------------------------------


def world_of(told: Told) -> World:
    """The same facts for enumeration, which uses neither the protector nor the attacker."""
    levels = {
        level
        for chain in told.document["dimensions"]["mun"].get("hierarchies", ())
        for level in chain[1:]
    }
    places = told.facts.places
    mun = Dim(
        "mun",
        tuple(places),
        {level: {code: own[level] for code, own in places.items()} for level in sorted(levels)},
    )
    others = [Dim(name, codes, {}) for name, codes in told.facts.others.items()]
    return World((mun, *others), told.facts.counts)


@examples(60)
@given(facts(most=8).filter(lambda made: sum(made.counts.values()) < 60))
def test_a_weak_protector_is_caught_wherever_there_is_something_to_catch(made: Facts) -> None:
    policy = {"minimum_frequency": 4, "seconds": 10}
    chains = (("mun", "prov"), ("mun", "vr"))
    story = Story("weak", (Told(made, document_of(made, chains, policy)),))
    [strong] = protect_all(story)
    weak = {tuple(key.values()) for key in strong.explained("minimum_frequency")}
    world = world_of(story.told[0])
    top = ("Total",) * len(world.dims)
    if top in weak:
        return  # enumeration needs an end
    wanted = ranges(world, weak, lambda _: 1)
    catch = {cell for cell, (low, high) in wanted.items() if low == high}
    event(f"something to catch: {bool(catch)}")
    report = attack([publish(world, weak, policy=policy)], processes=1)
    assert recovered(report, world.dims) == catch
    assert report.is_safe is not bool(catch)
    if top not in strong.hidden:
        # And enumeration agrees that the strong one leaves nothing.
        held = ranges(world, strong.hidden, lambda _: 1)
        assert all(low < high for low, high in held.values())


# Same input, same bytes ------------------------------------------------------------------------


@examples(20)
@given(histories(kinds=("additions", "merge", "shape")))
def test_same_input_gives_same_bytes_in_any_order_of_rows(story: Story) -> None:
    first = protect_all(story)
    if not first:
        return
    newest = first[-1]
    past = [one.protected.as_released(one.name) for one in first[:-1]]
    columns = newest.told.columns()
    order = list(range(len(columns["mun"])))
    random.Random(7).shuffle(order)
    shuffled = {name: [own[at] for at in order] for name, own in columns.items()}
    again = protect_cells(shuffled, spec_of(newest.told.document), past)
    with TemporaryDirectory() as name:
        for number, one in enumerate((newest.protected, again)):
            (Path(name) / str(number)).mkdir()
            for suffix in ("csv", "parquet"):
                one.write(Path(name) / str(number) / f"out.{suffix}")
        for path in sorted((Path(name) / "0").iterdir()):
            assert path.read_bytes() == (Path(name) / "1" / path.name).read_bytes(), path.name


# The two attacks on the real table -------------------------------------------------------------


@pytest.fixture(scope="module")
def table_a() -> Facts:
    path = SDC / "A_inner.csv"
    if not path.exists():
        pytest.skip(f"{path.name} is not there: ../shared/data/sdc")
    with path.open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return Facts(
        {row["mun"]: {"prov": row["prov"], "vr": row["vr"]} for row in rows},
        {name: tuple(sorted({row[name] for row in rows})) for name in ("cat", "sex")},
        {(row["mun"], row["cat"], row["sex"]): int(row["freq"]) for row in rows},
    )


def release_of(table: Facts, levels: Sequence[str], relation: str, *past: Made) -> Made:
    document = document_of(
        table,
        [("mun", level) for level in levels],
        {"seconds": 4},
        history={"relation": relation},
    )
    told = Told(table, document)
    before = [one.protected.as_released(one.name) for one in past]
    own = protect_cells(told.columns(), spec_of(document), before)
    return Made(told, own, f"{' and '.join(levels)}, release {len(past)}")


def with_level(made: Made, level: str) -> PublishedTable:
    """What is published of a table with both kinds of region, with one of them."""
    [whole] = published(made)
    structure = made.protected.structure_columns
    others = {
        code
        for high, code in zip(structure["parent_level"], structure["parent"], strict=True)
        if high != level
    }
    keep = np.array([code not in others for code in whole.codes["mun"]])
    document = document_of(made.told.facts, [("mun", level)], {}, history={"relation": "equal"})
    columns = {name: codes[keep] for name, codes in whole.codes.items()}
    columns |= {
        name: [one for one, own in zip(made.protected.columns[name], keep, strict=True) if own]
        for name in ("value", "obs_status")
    }
    both = structure_of(made)["mun"]
    own = Structure(
        {name: both.levels[name] for name in ("mun", level)},
        {("mun", level): both.parents["mun", level]},
    )
    return make_table(columns, parse_spec(document), {"mun": own}, name=level)


def kinds(report: Report) -> dict[str, int]:
    return {kind.value: report.count(kind) for kind in (Kind.EXACT, Kind.PRINTED)}


def test_provinces_and_safety_regions_of_the_real_table(table_a: Facts) -> None:
    apart = [release_of(table_a, [level], "equal") for level in ("prov", "vr")]
    found = attack([published(one)[0] for one in apart])
    assert kinds(found)["exact"] > 20
    assert kinds(found)["printed"] > 20
    together = release_of(table_a, ["prov", "vr"], "equal")
    assert attack([with_level(together, level) for level in ("prov", "vr")]).findings == ()
    assert attack(published(together)).findings == ()


def test_two_vintages_of_the_real_table(table_a: Facts) -> None:
    late = np.random.default_rng(2)
    grown = {key: n + int(late.binomial(n, 0.02)) for key, n in table_a.counts.items()}
    later = replace(table_a, counts=grown)
    first = release_of(table_a, ["prov"], "additions")
    alone = release_of(later, ["prov"], "additions")
    found = attack([published(alone)[0], published(replace(first, name="first"))[0]])
    assert kinds(found)["exact"] > 5
    assert kinds(found)["printed"] > 10
    second = release_of(later, ["prov"], "additions", first)
    report = attack([published(second)[0], published(first)[0]])
    assert report.failures == ()
    assert kinds(report)["exact"] == 0
    changes = second.protected.report["changes"]
    assert changes["n_hidden_to_shown"] == 0
    assert changes["n_shown_to_hidden"] < 0.02 * len(second.rows())
