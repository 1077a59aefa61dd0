"""The catalogue: what dbt's manifest says of cubes, marts and indicators; no theme is named."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from zicht.errors import ConfigurationError

_PACKAGE = "zicht"
_GEOGRAPHY = "/geography/"
_LANGUAGES = ("nl", "en")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
COVERAGE = "coverage"
"""The theme of marts that count what was delivered."""
TOTAL = "total"
_PERCENT = "pct"
"""The breakdown of a figure over all categories; no dimension or category has this name."""
_STANDARD_COLUMNS = frozenset(
    {"region_code", "region_level", "geo_year", "reference_period", "vintage", "numerator"}
    | {"denominator", "value", "n_contributors", "is_provisional", "is_estimated", "is_missing"}
    | {"known_at", "lag_days"}
)

SeedDigest = Callable[[Mapping[str, Any]], str]
"""Gives the hash of a geography seed from its node in the manifest."""


class Alignment(StrEnum):
    """How periods of an input belong to a period of the cube.

    Of sources with periods as long as the cube's or longer: the period in which that of the cube
    lies, or the stock at the beginning of its year. Of sources with shorter ones: the last one in
    the period of the cube, or all of them. ``trailing`` is the last one and those before it.
    """

    SAME_PERIOD = "same_period"
    STOCK_1_JANUARY = "stock_1_january"
    END_OF_PERIOD = "end_of_period"
    WITHIN_PERIOD = "within_period"
    TRAILING = "trailing"


@dataclass(frozen=True)
class Input:
    """One source of a cube and how its periods align with those of the cube.

    Attributes:
        source: the source.
        alignment: which of its periods belong to one of the cube.
        periods: of a trailing input how many periods at most.
        at_least: and how many at least; the cube waits for these.
    """

    source: str
    alignment: Alignment
    periods: int = 1
    at_least: int = 1


@dataclass(frozen=True)
class Cube:
    """A cube model.

    Attributes:
        name: model name.
        inputs: its sources; the first one sets the periods.
        definition: sha256 over its SQL, that of the models below it, and the macros they use.
        geography: sha256 over the geography seeds below it; empty when it uses none.
    """

    name: str
    inputs: tuple[Input, ...]
    definition: str
    geography: str


@dataclass(frozen=True)
class PartOf:
    """The published cells that a rate is made of.

    Attributes:
        indicator: a counts indicator.
        numerator: ``{dimension: category}`` of its cell above; dimensions left out are at their
            total.
        denominator: and below.
    """

    indicator: str
    numerator: Mapping[str, str]
    denominator: Mapping[str, str]


@dataclass(frozen=True)
class PublishedCell:
    """A cell of a counts indicator, in every region and period.

    Attributes:
        indicator: the indicator.
        cell: ``{dimension: category}``; dimensions left out are at their total.
    """

    indicator: str
    cell: Mapping[str, str]


@dataclass(frozen=True)
class Mart:
    """A mart model that holds one indicator, or counts what was delivered.

    Attributes:
        name: model name.
        cubes: the cubes that it reads.
        definition: sha256 as for a cube, its own SQL included.
        geography: sha256 over the geography seeds below it.
        indicator: the definition in ``meta.indicator``, or ``meta.coverage`` with what every
            definition says.
        sources: the sources that it rests on in fact, whatever its definition says.
        alignment: per cube how its periods belong to those of the mart; ``same_period`` for a
            cube that is not named.
    """

    name: str
    cubes: tuple[str, ...]
    definition: str
    geography: str
    indicator: Mapping[str, Any]
    sources: tuple[str, ...] = ()
    alignment: Mapping[str, Alignment] = field(default_factory=dict)

    @property
    def breakdown(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """``{dimension: {category: {language: label}}}`` in the declared order; mostly empty.

        The dimensions are columns of the mart.
        """
        declared = self.indicator.get("breakdown") or {}
        return {dimension: dict(one["categories"]) for dimension, one in declared.items()}

    @property
    def of(self) -> PartOf | None:
        """Of a rate that is made of cells of a counts indicator: which ones."""
        declared = self.indicator.get("of")
        if declared is None or self.indicator["kind"] != "rates":
            return None
        return PartOf(declared["indicator"], declared["numerator"], declared["denominator"])

    @property
    def shown_with(self) -> PublishedCell | None:
        """Of a rate the published cell that counts the same units as its denominator."""
        declared = self.indicator.get("shown_with")
        return PublishedCell(declared["indicator"], declared["cell"]) if declared else None

    @property
    def is_share(self) -> bool:
        """Whether it is a percentage by itself: its numerator is among its denominator.

        Any other rate by itself divides by other units: establishments by inhabitants.
        """
        own = self.indicator
        return own["kind"] == "rates" and self.of is None and own["unit"].get("code") == _PERCENT

    @property
    def is_coverage(self) -> bool:
        """Whether it counts what was delivered, rather than holding an indicator."""
        return bool(self.indicator.get("theme") == COVERAGE)


@dataclass(frozen=True)
class Catalogue:
    """All cubes and marts of the project, and the names of its staging models.

    Attributes:
        cubes: by name.
        marts: by name, those of coverage included.
        staging: names of staging models.
        dimensions: names of dimensions.
    """

    cubes: Mapping[str, Cube]
    marts: Mapping[str, Mart]
    staging: tuple[str, ...]
    dimensions: tuple[str, ...]

    @property
    def indicators(self) -> Mapping[str, Mart]:
        """The marts that hold an indicator."""
        return {name: mart for name, mart in self.marts.items() if not mart.is_coverage}

    @property
    def coverage(self) -> Mapping[str, Mart]:
        """The marts that count what was delivered."""
        return {name: mart for name, mart in self.marts.items() if mart.is_coverage}


def source_of(staging: str) -> str:
    """The source of a staging model: ``brp`` of ``stg_brp__persons``."""
    return staging.removeprefix("stg_").split("__")[0]


def _closure(manifest: Mapping[str, Any], unique_id: str) -> set[str]:
    found: set[str] = set()
    todo = [unique_id]
    while todo:
        current = todo.pop()
        if current in found:
            continue
        found.add(current)
        entry = manifest["nodes"].get(current) or manifest["macros"].get(current) or {}
        depends = entry.get("depends_on") or {}
        todo += [*depends.get("nodes", ()), *depends.get("macros", ())]
    return found


def _digest(parts: Iterable[tuple[str, str]]) -> str:
    digest = hashlib.sha256()
    for name, content in sorted(parts):
        digest.update(f"{name}\0{content}\0".encode())
    return digest.hexdigest()


def file_checksum(seed: Mapping[str, Any]) -> str:
    """The hash of a seed's whole file, as dbt took it."""
    return str(seed["checksum"]["checksum"])


def _hashes(
    manifest: Mapping[str, Any], unique_id: str, seed_digest: SeedDigest
) -> tuple[str, str]:
    code: list[tuple[str, str]] = []
    geography: list[tuple[str, str]] = []
    for item in _closure(manifest, unique_id):
        kind, package = item.split(".")[:2]
        if package != _PACKAGE:
            continue
        if kind == "model":
            code.append((item, manifest["nodes"][item]["raw_code"]))
        elif kind == "macro":
            code.append((item, manifest["macros"][item]["macro_sql"]))
        elif kind == "seed":
            node = manifest["nodes"][item]
            if _GEOGRAPHY in node["original_file_path"]:
                geography.append((item, seed_digest(node)))
            else:
                code.append((item, file_checksum(node)))
    return _digest(code), _digest(geography) if geography else ""


def _sources(manifest: Mapping[str, Any], unique_id: str) -> tuple[str, ...]:
    parts = (item.split(".") for item in _closure(manifest, unique_id))
    return tuple(sorted({part[2] for part in parts if part[0] == "source"}))


def _input(declared: Mapping[str, Any]) -> Input:
    alignment = Alignment(declared["alignment"])
    if alignment is not Alignment.TRAILING:
        return Input(declared["source"], alignment)
    most = int(declared["periods"])
    least = int(declared.get("at_least", most))
    if not 1 <= least <= most:
        raise ValueError(f"at_least is {least}, and periods is {most}")
    return Input(declared["source"], alignment, most, least)


def _inputs(node: Mapping[str, Any]) -> tuple[Input, ...]:
    meta = node["config"].get("meta") or {}
    try:
        inputs = tuple(_input(i) for i in meta["inputs"])
        if inputs[0].alignment is not Alignment.SAME_PERIOD:
            raise ValueError("the first input sets the periods, so its alignment is same_period")
        return inputs
    except (LookupError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{node['original_file_path']}: the cube does not say its inputs ({error}).",
            code="Z-CFG-030",
            remedy="Add config.meta.inputs with source and alignment in the YAML beside it.",
        ) from error


def _coverage(node: Mapping[str, Any], declared: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definition of a mart that counts what was delivered, in the form of an indicator."""
    needed = {"source", "unit", "frame", "limit_pct", "policy"}
    if wrong := sorted(needed ^ set(declared)):
        raise ConfigurationError(
            f"{node['original_file_path']}: meta.coverage: {', '.join(wrong)} missing or unknown.",
            code="Z-CFG-038",
            remedy=f"Write {', '.join(sorted(needed))}, and nothing else.",
        )
    return {
        **declared,
        "id": node["name"].removeprefix("mart_"),
        "theme": COVERAGE,
        "kind": "counts",
        "factor": 1,
        "decimals": 0,
        "sources": [declared["source"]],
    }


def _part_of_faults(indicator: Mapping[str, Any]) -> list[str]:
    beside = indicator.get("shown_with")
    if beside is not None and (
        not isinstance(beside, dict)
        or set(beside) != {"indicator", "cell"}
        or not isinstance(beside["cell"], dict)
    ):
        return ["shown_with needs indicator and cell, {dimension: category}"]
    declared = indicator.get("of")
    if declared is None or indicator["kind"] != "rates":
        return []
    parts = {"indicator", "numerator", "denominator"}
    if not isinstance(declared, dict) or set(declared) != parts:
        return [f"of needs {', '.join(sorted(parts))}, and nothing else"]
    both = (declared["numerator"], declared["denominator"])
    if not all(isinstance(part, dict) for part in both):
        return ["of: numerator and denominator are {dimension: category}; {} is the total"]
    return []


def _require_parts(marts: Mapping[str, Mart]) -> None:
    """Every rate of published cells names cells that are there, of its own theme and policy.

    Raises:
        ConfigurationError: Z-CFG-039 naming the mart.
    """
    by_id = {mart.indicator["id"]: mart for mart in marts.values()}

    def fault(indicator: str, *cells: Mapping[str, str]) -> str:
        whole = by_id.get(indicator)
        if whole is None or whole.indicator["kind"] != "counts":
            return f"{indicator} is no indicator of counts"
        for dimension, category in (pair for cell in cells for pair in cell.items()):
            if category not in whole.breakdown.get(dimension, {}):
                return f"{indicator} has no cell {dimension}={category}"
        return ""

    for name, mart in marts.items():
        wrong = ""
        if mart.shown_with is not None:
            wrong = fault(mart.shown_with.indicator, mart.shown_with.cell)
        if mart.of is not None:
            wrong = fault(mart.of.indicator, mart.of.numerator, mart.of.denominator)
            own, whole = mart.indicator, by_id.get(mart.of.indicator, mart).indicator
            if not wrong and any(whole[key] != own[key] for key in ("theme", "policy")):
                wrong = f"{mart.of.indicator} has another theme or policy"
            if not {*mart.of.numerator.items()} >= {*mart.of.denominator.items()}:
                wrong = wrong or "the numerator is no part of the denominator"
        if wrong:
            raise ConfigurationError(
                f"{name}: meta.indicator.of or shown_with: {wrong}.",
                code="Z-CFG-039",
                remedy="Name an indicator of counts of the same theme and policy, and categories "
                "of its breakdown; the numerator is a part of the denominator.",
            )


def _indicator(node: Mapping[str, Any]) -> Mapping[str, Any]:
    meta = node["config"].get("meta") or {}
    if isinstance(meta.get("coverage"), dict):
        return _coverage(node, meta["coverage"])
    indicator = meta.get("indicator")
    if not isinstance(indicator, dict):
        raise ConfigurationError(
            f"{node['original_file_path']}: the mart has no meta.indicator.",
            code="Z-CFG-031",
            remedy="Describe the indicator in the YAML beside it; see the how-to.",
        )
    if wrong := _faults(indicator):
        raise ConfigurationError(
            f"{node['original_file_path']}: meta.indicator: {'; '.join(wrong)}.",
            code="Z-CFG-031",
            remedy="Correct it in the YAML beside the mart; see the how-to.",
        )
    if wrong := _breakdown_faults(indicator):
        raise ConfigurationError(
            f"{node['original_file_path']}: meta.indicator.breakdown: {'; '.join(wrong)}.",
            code="Z-CFG-035",
            remedy="Write dimension: {label: {nl, en}, categories: {category: {nl, en}}}; each "
            "dimension is a column of the mart.",
        )
    return dict(indicator)


def _is_text(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(language), str) and value[language].strip() for language in _LANGUAGES
    )


def _breakdown_faults(indicator: Mapping[str, Any]) -> list[str]:
    """What is wrong with ``meta.indicator.breakdown``.

    Names go into the published key as ``dimension=category;…``, so they are plain words.
    """
    breakdown = indicator.get("breakdown")
    if breakdown is None:
        return []
    if not isinstance(breakdown, dict) or not breakdown:
        return ["it is no mapping of dimensions"]
    if indicator["kind"] == "public":
        return ["a public indicator is published as its source made it, without one"]
    wrong = []
    for dimension, one in breakdown.items():
        if not isinstance(dimension, str) or not _NAME.fullmatch(dimension):
            wrong.append(f"{dimension!r} is no name of a dimension")
        elif dimension == TOTAL or dimension in _STANDARD_COLUMNS:
            wrong.append(f"a dimension cannot be called {dimension}")
        if not isinstance(one, dict) or set(one) != {"label", "categories"}:
            wrong.append(f"{dimension} needs label and categories, and nothing else")
            continue
        if not _is_text(one["label"]):
            wrong.append(f"the label of {dimension} needs a text in {' and '.join(_LANGUAGES)}")
        categories = one["categories"]
        if not isinstance(categories, dict) or len(categories) < 2:
            wrong.append(f"{dimension} needs at least two categories")
            continue
        for category, label in categories.items():
            # YAML reads no, yes and numbers as something else than text.
            if not isinstance(category, str) or not _NAME.fullmatch(category) or category == TOTAL:
                wrong.append(f"{category!r} is no name of a category of {dimension}")
            if not _is_text(label):
                wrong.append(f"{dimension}={category} needs a text in {' and '.join(_LANGUAGES)}")
    return wrong


def _alignment(
    node: Mapping[str, Any], indicator: Mapping[str, Any], cubes: Iterable[str]
) -> dict[str, Alignment]:
    """``meta.indicator.alignment``: per cube of the mart how its periods belong to the mart's."""
    declared = indicator.get("alignment") or {}
    known = sorted(cubes)
    try:
        found = {str(cube): Alignment(value) for cube, value in declared.items()}
        wrong = sorted(set(found) - set(known))
    except (AttributeError, ValueError) as error:
        found, wrong = {}, [str(error)]
    if wrong:
        raise ConfigurationError(
            f"{node['original_file_path']}: meta.indicator.alignment: {', '.join(wrong)}.",
            code="Z-CFG-033",
            remedy=f"Name cubes that the mart reads ({', '.join(known) or 'none'}), each with "
            f"{' or '.join(Alignment)}.",
        )
    return found


def _faults(indicator: Mapping[str, Any]) -> list[str]:
    """What a definition lacks or says in a form that cannot be published."""
    needed = {"id", "theme", "label", "description", "unit", "numerator", "denominator", "factor"}
    needed |= {"decimals", "sources", "policy", "kind", "plausible", "caveats"}
    missing = sorted(needed - set(indicator))
    if missing:
        return [f"{name} is missing" for name in missing]
    wrong = []
    for name in ("label", "description", "caveats", "unit"):
        texts = indicator[name]
        if not isinstance(texts, dict) or not all(texts.get(language) for language in _LANGUAGES):
            wrong.append(f"{name} needs a text in {' and '.join(_LANGUAGES)}")
    decimals = indicator["decimals"]
    if not isinstance(decimals, int) or isinstance(decimals, bool) or not 0 <= decimals <= 9:
        wrong.append(f"decimals is {decimals!r}, not a whole number from 0 to 9")
    elif indicator["kind"] == "counts" and decimals != 0:
        wrong.append(f"decimals is {decimals}, and counts are whole: rounding is for the wall")
    plausible = indicator["plausible"]
    if not isinstance(plausible, dict) or not all(
        isinstance(plausible.get(end), int | float) for end in ("min", "max")
    ):
        wrong.append("plausible needs the numbers min and max")
    if not isinstance(indicator["factor"], int | float):
        wrong.append(f"factor is {indicator['factor']!r}, not a number")
    if not isinstance(indicator["sources"], list) or not indicator["sources"]:
        wrong.append("sources is not a list of sources")
    if indicator["theme"] == COVERAGE:
        wrong.append(f"no theme is called {COVERAGE}")
    return wrong + _part_of_faults(indicator)


def read_catalogue(
    manifest: Mapping[str, Any], seed_digest: SeedDigest = file_checksum
) -> Catalogue:
    """Reads the catalogue from dbt's manifest.

    Args:
        seed_digest: how a geography seed is hashed; the planner hashes only the rows that matter
            for its geography year.

    Raises:
        ConfigurationError: Z-CFG-030 or Z-CFG-031 naming the model whose YAML is incomplete,
            Z-CFG-032 when two marts define the same indicator, Z-CFG-033 when a mart aligns
            what is no cube of it, or in an unknown way, Z-CFG-035 when a breakdown is malformed,
            Z-CFG-038 when a mart of coverage is, Z-CFG-039 when a rate is made of cells that are
            not there.
    """
    cubes: dict[str, Cube] = {}
    marts: dict[str, Mart] = {}
    other: dict[str, list[str]] = {"stg": [], "dim": []}
    models = {
        unique_id: node
        for unique_id, node in sorted(manifest["nodes"].items())
        if node["resource_type"] == "model" and node["package_name"] == _PACKAGE
    }
    for unique_id, node in models.items():
        prefix, name = node["name"].split("_")[0], node["name"]
        if prefix == "cube":
            hashes = _hashes(manifest, unique_id, seed_digest)
            cubes[name] = Cube(name, _inputs(node), *hashes)
        elif prefix in other:
            other[prefix].append(name)
    seen: dict[str, str] = {}
    for unique_id, node in models.items():
        if not node["name"].startswith("mart_"):
            continue
        used = tuple(
            sorted(
                models[item]["name"]
                for item in node["depends_on"]["nodes"]
                if item in models and models[item]["name"] in cubes
            )
        )
        indicator = _indicator(node)
        if indicator["id"] in seen:
            raise ConfigurationError(
                f"{node['name']} and {seen[indicator['id']]} both define {indicator['id']}.",
                code="Z-CFG-032",
                remedy="Give each indicator its own id.",
            )
        seen[indicator["id"]] = node["name"]
        marts[node["name"]] = Mart(
            node["name"],
            used,
            *_hashes(manifest, unique_id, seed_digest),
            indicator,
            _sources(manifest, unique_id),
            _alignment(node, indicator, used),
        )
    _require_parts(marts)
    return Catalogue(cubes, marts, tuple(other["stg"]), tuple(other["dim"]))
