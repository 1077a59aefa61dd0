"""The wall: every cell that is published came through here, by the way of its kind.

Public output stands in a DuckDB relation and passes as its source published it. Every other kind
comes as a frame of innermost cells with a spec, and leaves as a frame of all cells with a status.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from zicht.disclosure.modelled import ModelPolicy, protect_modelled
from zicht.disclosure.policies import Kind, Method, Policy
from zicht.disclosure.protecting import HeldBackError, Protected, Released, protect_cells
from zicht.disclosure.rates import Part, protect_rates
from zicht.disclosure.reading import read_columns
from zicht.disclosure.spec import Rounding, Spec, spec_of
from zicht.disclosure.tables import build_table
from zicht.errors import DisclosureError

if TYPE_CHECKING:
    import pandas

FEWEST_ROUNDED = 10
"""Of fewer contributors than this no count as large as half the base is rounded and shown: the
threshold of the output guideline of Statistics Netherlands for microdata."""
CONTRADICTED = "Z-DIS-036"
"""Earlier releases show what cannot be if records are only ever added."""


@dataclass(frozen=True)
class Output:
    """Output that wants through the wall.

    Attributes:
        name: what errors call it.
        kind: which way it takes.
        policy: its policy.
        cells: innermost cells: levels, categories, and the measures that its kind needs:
            ``value`` (counts), ``numerator`` and ``denominator`` (rates), ``value``, ``largest``,
            ``second_largest`` and ``n_contributors`` (magnitudes), ``value`` and
            ``n_contributors`` (modelled).
        dimensions: as in ``spec.yaml``.
        successors: ``(from, to)`` codes of earlier geography years.
        per: factor of a rate.
        decimals: most decimals of a rate.
        is_share: of a rate whether what the numerator counts is among what the denominator counts.
    """

    name: str
    kind: Kind
    policy: Policy
    cells: pandas.DataFrame
    dimensions: Mapping[str, Mapping[str, Any]]
    successors: Sequence[Sequence[str]] = ()
    per: float = 1.0
    decimals: int = 0
    is_share: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The tables of counts that stand behind a rate."""
        return (SHARE,) if self.is_share else PARTS

    def spec(self, count: str, relation: str = "additions", **more: Any) -> Spec:
        """The spec for one of its measures."""
        document = {
            "dimensions": dict(self.dimensions),
            "count": count,
            "history": {
                "relation": relation,
                "successors": [list(pair) for pair in self.successors],
            },
            "policy": self.policy.for_tables(self.kind),
            **more,
        }
        return spec_of(document, name=f"policy {self.policy.id} for {self.name}")


@dataclass(frozen=True)
class Passed:
    """Output that came through the wall.

    Attributes:
        cells: all cells, totals included: the dimensions, ``value`` (nan when hidden),
            ``obs_status``, and ``explanation``, which is internal.
        internal: confidential: one row per hidden cell, see the reference; may be empty.
        report: confidential: what protection cost and what it could not reach.
        parts: of rates the tables of counts behind them (:attr:`Output.parts`) as they might be
            published: all cells with ``value``, ``obs_status`` and ``conf_status``. Rates tell less
            than these.
    """

    cells: pandas.DataFrame
    internal: pandas.DataFrame
    report: Mapping[str, Any]
    parts: Mapping[str, pandas.DataFrame] = field(default_factory=dict)


def require_public(indicator: str, kind: Kind, sources: dict[str, str]) -> None:
    """An indicator is public only if every source of it is: no way around the wall by a label.

    Args:
        sources: per source of the indicator the kind that its contract states.

    Raises:
        DisclosureError: Z-DIS-003 naming the source.
    """
    private = sorted(name for name, own in sources.items() if own != Kind.PUBLIC.value)
    if kind is Kind.PUBLIC and not sources:
        raise DisclosureError(
            f"indicator {indicator} is declared public and rests on no source at all.",
            code="Z-DIS-003",
            remedy="Name its sources in meta.indicator; figures of no source are not published.",
        )
    if kind is Kind.PUBLIC and private:
        raise DisclosureError(
            f"indicator {indicator} is declared public and rests on {', '.join(private)}, "
            "which is not.",
            code="Z-DIS-003",
            remedy="Declare the kind counts, magnitudes, rates or modelled, with its policy.",
        )


def _require_meant(policy: Policy, kind: Kind) -> None:
    if kind not in policy.kinds:
        raise DisclosureError(
            f"policy {policy.id} is not meant for output of kind {kind.value}.",
            remedy=f"It is for {', '.join(sorted(policy.kinds))}; choose another policy.",
        )
    if (kind is Kind.PUBLIC) != (policy.method is Method.AS_PUBLISHED):
        raise DisclosureError(
            f"there is no protection by {policy.method.value} for output of kind {kind.value}.",
            code="Z-DIS-002",
            remedy="Choose a policy whose method protects this kind.",
        )


def pass_public(
    connection: duckdb.DuckDBPyConnection, policy: Policy, cells: str, target: str
) -> None:
    """Appends the relation ``cells`` of public output to the table ``target``.

    The source has applied its own protection.

    Raises:
        DisclosureError: Z-DIS-001 if the policy is not meant for this kind, Z-DIS-002 if it
            does not pass figures as published.
    """
    _require_meant(policy, Kind.PUBLIC)
    connection.execute(
        f"insert into {target} by name select *, false as is_suppressed, "
        f"cast(null as varchar) as explanation from {cells}"
    )


def protect(
    output: Output,
    released: Sequence[Released] | Mapping[str, Sequence[Released]] = (),
    progress: Callable[[str], None] | None = None,
) -> Passed:
    """Protects output that is not public, by the way of its kind.

    Args:
        released: what was ever published of the same cells, oldest first; of rates, per table
            behind them (:attr:`Output.parts`) what its cells were taken to be known as.
        progress: gets a line now and then.

    Raises:
        DisclosureError: Z-DIS-001 if the policy is not meant for this kind, Z-DIS-002 if there is
            no protection by its method: then nothing is published, rather than something unsafe.
            As :func:`.protecting.protect_cells` where the guarantee cannot be had.
    """
    _require_meant(output.policy, output.kind)
    ways: Mapping[Kind, Callable[..., Passed]] = {
        Kind.COUNTS: _counts,
        Kind.MAGNITUDES: _magnitudes,
        Kind.RATES: _rates,
        Kind.MODELLED: _modelled,
    }
    return ways[output.kind](output, released, progress)


def _protected(
    output: Output,
    count: str,
    released: Sequence[Released],
    progress: Callable[[str], None] | None,
    **more: Any,
) -> Protected:
    """One table through :func:`protect_cells`.

    Registers mostly gain records; where one also lost some, that assumption would be wrong, and
    nothing is assumed of how the releases relate.
    """
    cells = output.cells
    try:
        return protect_cells(cells, output.spec(count, **more), released, progress)
    except DisclosureError as error:
        if error.code != CONTRADICTED:
            raise
    made = protect_cells(cells, output.spec(count, "free", **more), released, progress)
    made.report["warnings"].append(
        "since the last release records went as well as came: no relation is assumed"
    )
    return made


def _passed(protected: Protected, value: str = "value") -> Passed:
    import pandas

    cells = protected.table
    internal = protected.internal
    names = [one for one in cells.columns if one not in (value, "value", "obs_status")]
    names = [one for one in names if one != "conf_status"]
    cells = cells[[*names, value, "obs_status"]].rename(columns={value: "value"})
    cells["value"] = pandas.to_numeric(cells["value"]).astype(float)
    if len(internal):
        why = internal[[*names, "rules"]].rename(columns={"rules": "explanation"})
        cells = cells.merge(why, on=names, how="left")
    else:
        cells = cells.assign(explanation=None)
    return Passed(cells, internal, protected.report)


def _counts(
    output: Output, released: Sequence[Released], progress: Callable[[str], None] | None
) -> Passed:
    if output.policy.method is Method.ROUND:
        _require_contributors(output)
    more = {"contributors": "n_contributors"} if "n_contributors" in output.cells else {}
    return _passed(_protected(output, "value", released, progress, **more))


def _require_contributors(output: Output) -> None:
    """Rounding hides a few units, and not many units of a few.

    Raises:
        HeldBackError: Z-DIS-040 naming a cell.
    """
    cells = output.cells
    if "n_contributors" not in cells:
        return
    few = cells["n_contributors"].between(1, FEWEST_ROUNDED - 1)
    large = few & (2 * cells["value"] >= (output.policy.rounding_base or 0))
    if large.any():
        first = cells[large].iloc[0]
        names = [name for name in output.dimensions if name in cells]
        where = "/".join(str(first[name]) for name in names)
        raise HeldBackError(
            f"{output.name}: {where} counts {int(first['value'])} of fewer than {FEWEST_ROUNDED} "
            "contributors, which rounding does not hide.",
            code="Z-DIS-040",
            remedy="Count contributors instead of what they have, or use a policy that suppresses.",
        )


def _magnitudes(
    output: Output, released: Sequence[Released], progress: Callable[[str], None] | None
) -> Passed:
    cells = output.cells.rename(columns={"value": "amount"})
    made = _protected(
        replace(output, cells=cells),
        "n_contributors",
        released,
        progress,
        magnitude={
            "total": "amount",
            "largest": "largest",
            "second": "second_largest",
            "contributors": "n_contributors",
        },
    )
    return _passed(made, "amount")


PARTS = ("numerator", "denominator")
"""The two tables of counts behind a rate of different units: columns of its innermost cells."""
SHARE = "parts"
"""The one table of counts behind a share: what its numerator counts, and the rest."""
SPLIT, COUNTED, REST = "numerator", "with", "without"
"""The dimension of that table and its categories."""
_WHOLE = "total"
"""Its total, which is the denominator; called as every total in the breakdown of a release."""
_MEASURES = (*PARTS, "value", "n_contributors")


def _behind(output: Output) -> dict[str, tuple[Output, str]]:
    """Per table of counts behind a rate what goes through protection, and the measure to count."""
    import pandas

    cells = output.cells.assign(**{part: output.cells[part].astype("int64") for part in PARTS})
    if not output.is_share:
        return {part: (replace(output, cells=cells), part) for part in PARTS}
    bare = cells.drop(columns=[one for one in _MEASURES if one in cells])
    counted, whole = (cells[part] for part in PARTS)
    measures = {COUNTED: counted, REST: whole - counted}
    split: pandas.DataFrame = pandas.concat(
        [bare.assign(value=count, **{SPLIT: code}) for code, count in measures.items()]
    )
    dimensions = {**output.dimensions, SPLIT: {"total": _WHOLE}}
    return {SHARE: (replace(output, cells=split, dimensions=dimensions), "value")}


def _true_cells(output: Output, count: str, made: Protected) -> pandas.DataFrame:
    """All cells, totals included: the dimensions, the true count, and whether it may be shown."""
    import pandas

    table = build_table(
        read_columns(output.cells, name=output.name), output.spec(count), output.name
    )
    true = pandas.DataFrame({**table.key_columns(), "true": table.count.ravel()})
    names = list(output.dimensions)
    status = made.table[[*names, "obs_status"]]
    return true.merge(status, on=names, how="left", validate="one_to_one")


def _rates(
    output: Output,
    released: Mapping[str, Sequence[Released]],
    progress: Callable[[str], None] | None,
) -> Passed:
    """Rates from true values, where numerator and denominator may both be shown.

    A rate says no more than its parts, so these are protected as if they were published
    themselves, also against what earlier rates said of them. A share says its complement as well:
    its parts are one table, in which the rest is protected as what is counted is.
    """
    released = released or {}
    names = list(output.dimensions)
    made: dict[str, Protected] = {}
    true: list[tuple[pandas.DataFrame, Rounding | None]] = []
    for name, (own, count) in _behind(output).items():
        made[name] = _protected(own, count, released.get(name, ()), progress)
        found = _true_cells(own, count, made[name])
        codes = (COUNTED, _WHOLE, REST) if output.is_share else ()
        frames = [found[found[SPLIT] == code] for code in codes] or [found]
        true += [(frame, made[name].rounding) for frame in frames]
    cells = true[0][0][names]
    upper, lower, *rest = (
        _part(cells.merge(frame, on=names, how="left"), rounding) for frame, rounding in true
    )
    rates = protect_rates(
        upper,
        lower,
        output.spec("value").policy,
        rest=rest[0] if rest else None,
        per=output.per,
        decimals=output.decimals,
    )
    status = np.where(rates.shown, "A", "Q")
    cells = cells.assign(value=rates.values, obs_status=status, explanation=_reasons(rates.reasons))
    internal = cells[~rates.shown][[*names, "explanation"]].rename(columns={"explanation": "rules"})
    report: dict[str, Any] = {part: one.report for part, one in made.items()}
    report["n_hidden"] = int((~rates.shown).sum())
    return Passed(cells, internal, report, {part: one.table for part, one in made.items()})


def _part(cells: pandas.DataFrame, rounding: Rounding | None) -> Part:
    return Part(
        cells["true"].to_numpy(dtype=np.float64),
        (cells["obs_status"] == "A").to_numpy(),
        rounding,
    )


def _reasons(texts: Sequence[str]) -> Any:
    return np.array([text or None for text in texts], dtype=object)


def _modelled(
    output: Output, released: Sequence[Released], progress: Callable[[str], None] | None
) -> Passed:
    """Rows of a model: there are no totals, and every row stands by itself."""
    import pandas

    names = list(output.dimensions)
    policy = ModelPolicy(**output.policy.protection)
    made = protect_modelled(
        output.cells[[*names, "value", "n_contributors"]],
        policy,
        n="n_contributors",
        estimates=["value"],
        name=output.name,
    )
    cells = made.table.assign(explanation=_reasons(made.reasons))
    cells["value"] = pandas.to_numeric(cells["value"])
    cells = cells[[*names, "value", "obs_status", "explanation"]]
    hidden = cells[cells["obs_status"] == "Q"]
    internal = hidden[[*names, "explanation"]].rename(columns={"explanation": "rules"})
    return Passed(cells, internal, {"n_hidden": len(hidden)})
