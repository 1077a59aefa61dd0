"""Random tables for the tests that set the protector against the attacker.

A story is a row of releases of the same units, oldest first: each with its innermost cells and its
spec. Counts are skewed, with zeros and small values, as real tables of places are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from hypothesis import strategies as st

SKEWED = (0, 0, 0, 1, 1, 2, 3, 4, 6, 9, 11, 14, 20, 33, 60, 150, 700)
LATE = (0, 0, 0, 0, 0, 0, 1, 2, 5, 14)
SHAPES: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("mun",),),
    (("mun", "prov"),),
    (("mun", "prov"), ("mun", "vr")),
    (("mun", "corop", "prov"),),
    (("mun", "corop", "prov"), ("mun", "vr")),
)
Key = tuple[str, ...]
Places = Mapping[str, Mapping[str, str]]
"""Per municipality the code of every level above it."""


@dataclass(frozen=True)
class Facts:
    """Innermost cells at one moment.

    Attributes:
        places: where each municipality lies.
        others: codes of the other dimensions.
        counts: count per innermost combination, the municipality first.
        seed: of the contributions, for a table of amounts.
    """

    places: Places
    others: Mapping[str, tuple[str, ...]]
    counts: Mapping[Key, int]
    seed: int = 0

    def columns(self, magnitude: bool = False) -> dict[str, list[Any]]:
        """The rows of the innermost cells file."""
        keys = sorted(self.counts)
        levels = sorted({level for own in self.places.values() for level in own})
        made: dict[str, list[Any]] = {"mun": [key[0] for key in keys]}
        made |= {level: [self.places[key[0]][level] for key in keys] for level in levels}
        made |= {name: [key[n] for key in keys] for n, name in enumerate(self.others, 1)}
        made["freq"] = [self.counts[key] for key in keys]
        if magnitude:
            parts = [self._contributions(key) for key in keys]
            made["n"] = made["freq"]
            made["eur"] = [sum(own) for own in parts]
            made["first"] = [own[-1] if own else 0 for own in parts]
            made["second"] = [own[-2] if len(own) > 1 else 0 for own in parts]
        return made

    def _contributions(self, key: Key) -> list[int]:
        # One generator per cell: who came first contributes the same in every vintage.
        random = np.random.default_rng([self.seed, *"/".join(key).encode()])
        return sorted((1 + random.lognormal(2.0, 1.3, self.counts[key]).astype(int)).tolist())


@dataclass(frozen=True)
class Told:
    """One release: facts, and the spec (plain, as YAML reads it) that they are protected with."""

    facts: Facts
    document: dict[str, Any]

    def columns(self) -> dict[str, list[Any]]:
        """The rows of the innermost cells file."""
        return self.facts.columns("magnitude" in self.document)

    def truth(self) -> dict[Key, int]:
        """All cells with their true counts, added up in the plainest way."""
        names = list(self.document["dimensions"])
        whole: dict[Key, int] = {}
        for key, count in self.facts.counts.items():
            own = dict(zip(("mun", *self.facts.others), key, strict=True))
            codes = []
            for name in names:
                body = self.document["dimensions"][name]
                levels = {level for chain in body.get("hierarchies", ()) for level in chain[1:]}
                above = [self.facts.places[own["mun"]][level] for level in sorted(levels)]
                total = [] if body["total"] is None else [body["total"]]
                codes.append([own[name], *above, *total])
            for cell in product(*codes):
                whole[cell] = whole.get(cell, 0) + count
        return whole


@dataclass(frozen=True)
class Story:
    """Releases of the same units, oldest first."""

    kind: str
    told: tuple[Told, ...]


def in_places(n: int, random: np.random.Generator) -> dict[str, dict[str, str]]:
    """Municipalities in corops, these in provinces, and safety regions across."""
    corops = random.integers(0, 3, n)
    return {
        f"m{i}": {
            "corop": f"k{corops[i]}",
            "prov": f"p{corops[i] // 2}",
            "vr": f"v{random.integers(0, 2)}",
        }
        for i in range(n)
    }


@st.composite
def facts(draw: st.DrawFn, *, most: int = 24, dimensions: int | None = None) -> Facts:
    """Innermost cells over one to three dimensions, at most ``most`` of them."""
    n_dimensions = dimensions or draw(st.sampled_from([1, 2, 2, 2, 3]))
    sizes = {2: {"cat": (2, 3)}, 3: {"cat": (2, 3), "sex": (2, 2)}}.get(n_dimensions, {})
    others = {
        name: tuple(f"{name}{i}" for i in range(draw(st.integers(*size))))
        for name, size in sizes.items()
    }
    room = most // math.prod(len(codes) for codes in others.values())
    n = draw(st.integers(2, max(2, min(6, room))))
    seed = draw(st.integers(0, 2**20))
    places = in_places(n, np.random.default_rng(seed))
    keys = list(product(places, *others.values()))
    counts = draw(st.lists(st.sampled_from(SKEWED), min_size=len(keys), max_size=len(keys)))
    return Facts(places, others, dict(zip(keys, counts, strict=True)), seed)


def document_of(
    made: Facts, chains: Sequence[Sequence[str]], policy: Mapping[str, Any], **more: Any
) -> dict[str, Any]:
    """A spec in its plain form."""
    dimensions: dict[str, Any] = {"mun": {"total": "Total"}}
    if any(len(chain) > 1 for chain in chains):
        dimensions["mun"]["hierarchies"] = [list(chain) for chain in chains]
    dimensions |= {name: {"total": "Total"} for name in made.others}
    return {"dimensions": dimensions, "count": "freq", "policy": dict(policy), **more}


@st.composite
def policies(draw: st.DrawFn, *, protection: str | None = None) -> dict[str, Any]:
    """A policy for counts that are suppressed."""
    return {
        "minimum_frequency": draw(st.sampled_from([3, 5, 10])),
        "protection": protection or draw(st.sampled_from(["exact", "interval"])),
        "attacker": draw(st.sampled_from(["naive", "informed"])),
        "publish_zeros": draw(st.sampled_from([True, True, False])),
        "weight": draw(st.sampled_from(["value", "count", "level"])),
        "seconds": 10,
    }


@st.composite
def single(draw: st.DrawFn, **policy: Any) -> Story:
    """One release."""
    made = draw(facts())
    chains = draw(st.sampled_from(SHAPES))
    document = document_of(made, chains, {**draw(policies()), **policy})
    if made.others and draw(st.integers(0, 4)) == 0:
        document["dimensions"]["cat"]["total"] = None
    return Story("single", (Told(made, document),))


def _added(draw: st.DrawFn, made: Facts) -> Facts:
    late = draw(
        st.lists(st.sampled_from(LATE), min_size=len(made.counts), max_size=len(made.counts))
    )
    return replace(
        made,
        counts={key: n + more for (key, n), more in zip(made.counts.items(), late, strict=True)},
    )


def merged(made: Facts) -> tuple[Facts, list[list[str]]]:
    """The first two municipalities become one."""
    places = {code: own for code, own in made.places.items() if code not in ("m0", "m1")}
    places["m9"] = made.places["m0"]
    counts: dict[Key, int] = {}
    for key, n in made.counts.items():
        new = ("m9", *key[1:]) if key[0] in ("m0", "m1") else key
        counts[new] = counts.get(new, 0) + n
    return replace(made, places=places, counts=counts), [["m0", "m9"], ["m1", "m9"]]


def split(made: Facts, share: float) -> tuple[Facts, list[list[str]]]:
    """The first municipality becomes two."""
    places = {code: own for code, own in made.places.items() if code != "m0"}
    places |= {"m7": made.places["m0"], "m8": made.places["m0"]}
    counts = {key: n for key, n in made.counts.items() if key[0] != "m0"}
    for key, n in made.counts.items():
        if key[0] == "m0":
            counts |= {("m7", *key[1:]): int(n * share), ("m8", *key[1:]): n - int(n * share)}
    return replace(made, places=places, counts=counts), [["m0", "m7"], ["m0", "m8"]]


@st.composite
def histories(draw: st.DrawFn, kinds: Sequence[str] = (), **policy: Any) -> Story:
    """Two to four releases: vintages, other shapes of the same facts, other divisions."""
    kind = draw(
        st.sampled_from(kinds or ["additions", "shape", "margin", "free", "merge", "split"])
    )
    now = draw(facts(most=18, dimensions=draw(st.sampled_from([1, 2, 2]))))
    # A division is only then a division if there is something above it.
    chains = draw(st.sampled_from(SHAPES[1:] if kind in ("merge", "split") else SHAPES))
    rules = {**draw(policies()), **policy}
    told = [Told(now, document_of(now, chains, rules))]
    if kind == "additions":
        for _ in range(draw(st.integers(1, 3))):
            now = _added(draw, now)
            told.append(Told(now, document_of(now, chains, rules)))
    elif kind == "free":
        now = replace(now, counts={key: draw(st.sampled_from(SKEWED)) for key in now.counts})
        told.append(Told(now, document_of(now, chains, rules, history={"relation": "free"})))
    elif kind == "shape":
        other = draw(st.sampled_from([one for one in SHAPES if one != chains]))
        told.append(Told(now, document_of(now, other, rules, history={"relation": "equal"})))
    elif kind == "margin":
        # A table with fewer dimensions first, then the whole.
        history = {"relation": "equal"}
        keys: dict[Key, int] = {}
        for key, n in now.counts.items():
            keys[key[:1]] = keys.get(key[:1], 0) + n
        less = Facts(now.places, {}, keys)
        told = [
            Told(less, document_of(less, chains, rules, history=history)),
            Told(now, document_of(now, chains, rules, history=history)),
        ]
    else:
        relation = draw(st.sampled_from(["additions", "equal"]))
        share = draw(st.sampled_from([0.1, 0.5, 0.8]))
        now, successors = merged(now) if kind == "merge" else split(now, share)
        if relation == "additions":
            now = _added(draw, now)
        history = {"relation": relation, "successors": successors}
        told.append(Told(now, document_of(now, chains, rules, history=history)))
    return Story(kind, tuple(told))


@st.composite
def amounts(draw: st.DrawFn) -> Story:
    """One or two releases of counts with amounts."""
    now = draw(facts(most=15, dimensions=draw(st.sampled_from([1, 2]))))
    chains = draw(st.sampled_from(SHAPES[:3]))
    rules = {
        **draw(policies(protection="exact")),
        "p_percent": {"p": draw(st.sampled_from([5, 10, 25]))},
        "dominance": draw(st.sampled_from([None, {"n": 1, "k": 75}, {"n": 2, "k": 85}])),
    }
    own = {"total": "eur", "largest": "first", "second": "second", "contributors": "n"}
    told = [Told(now, document_of(now, chains, rules, magnitude=own))]
    if draw(st.booleans()):
        # New records come on top of those that were there, so amounts only grow.
        now = _added(draw, now)
        told.append(Told(now, document_of(now, chains, rules, magnitude=own)))
    return Story("amounts", tuple(told))


@st.composite
def roundings(draw: st.DrawFn) -> Story:
    """One release that is rounded."""
    made = draw(facts(most=18))
    rules = {
        "minimum_frequency": draw(st.sampled_from([3, 5, 10])),
        "method": "round",
        "rounding": {
            "base": draw(st.sampled_from([3, 5, 10])),
            "mode": draw(st.sampled_from(["conventional", "controlled"])),
        },
        "seconds": 10,
    }
    chains = draw(st.sampled_from(SHAPES))
    return Story("rounding", (Told(made, document_of(made, chains, rules)),))


@st.composite
def groups(draw: st.DrawFn) -> Story:
    """One release with group disclosure, or with cells that are never hidden."""
    [told] = draw(single(protection="exact")).told
    policy = dict(told.document["policy"])
    document = {**told.document, "policy": policy}
    if draw(st.booleans()):
        policy["group_disclosure"] = {
            "share": draw(st.sampled_from([0.6, 0.9, 1.0])),
            "action": draw(st.sampled_from(["hide", "merge"])),
        }
    if draw(st.booleans()):
        top = {name: one["total"] for name, one in document["dimensions"].items() if one["total"]}
        document["never_hide"] = [draw(st.sampled_from([top, {"mun": "Total"}]))]
        policy["infeasible"] = draw(st.sampled_from([[], ["hide_more"], ["merge", "hide_more"]]))
    return Story("groups", (replace(told, document=document),))


@st.composite
def fallbacks(draw: st.DrawFn) -> Story:
    """Releases of which some are held back or rounded, because policy says so."""
    story = draw(histories(kinds=("additions", "shape", "merge", "split")))
    changed = {
        "small_changes": draw(st.sampled_from(["warn", "hold", "round"])),
        "infeasible": draw(st.sampled_from([[], ["round"], ["hide_more"]])),
        "stable": draw(st.booleans()),
    }
    never = draw(st.booleans())
    told = []
    for one in story.told:
        document = {**one.document, "policy": {**one.document["policy"], **changed}}
        if never:
            document["never_hide"] = [dict.fromkeys(document["dimensions"], "Total")]
        told.append(replace(one, document=document))
    return Story(f"fallbacks {story.kind}", tuple(told))
