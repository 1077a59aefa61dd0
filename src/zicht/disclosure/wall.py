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
from zicht.disclosure.spec import Spec, spec_of
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
    """

    name: str
    kind: Kind
    policy: Policy
    cells: pandas.DataFrame
    dimensions: Mapping[str, Mapping[str, Any]]
    successors: Sequence[Sequence[str]] = ()
    per: float = 1.0
    decimals: int = 0

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
        parts: of rates the numerators and denominators as they might be published: all cells with
            ``value``, ``obs_status`` and ``conf_status``. Rates tell less than these.
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
        released: what was ever published of the same cells, oldest first; of rates, per part
            (``numerator``, ``denominator``) what its cells were taken to be known as.
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
"""What a rate is made of: columns of its innermost cells."""


def _rates(
    output: Output,
    released: Mapping[str, Sequence[Released]],
    progress: Callable[[str], None] | None,
) -> Passed:
    """Rates from true values, where numerator and denominator may both be shown.

    A rate says no more than its parts, so these are protected as if they were published
    themselves, also against what earlier rates said of them.
    """
    import pandas

    released = released or {}
    names = list(output.dimensions)
    made: dict[str, Protected] = {}
    frames = []
    for part in PARTS:
        cells = output.cells.assign(**{part: output.cells[part].astype("int64")})
        before = released.get(part, ())
        made[part] = _protected(replace(output, cells=cells), part, before, progress)
        true = build_table(read_columns(cells, name=output.name), output.spec(part), output.name)
        frame = pandas.DataFrame({**true.key_columns(), part: true.count.ravel()})
        own = made[part].table[[*names, "obs_status"]].rename(columns={"obs_status": f"{part}_"})
        frames.append(frame.merge(own, on=names, how="left", validate="one_to_one"))
    cells = frames[0].merge(frames[1], on=names, validate="one_to_one")
    upper, lower = (
        Part(
            cells[part].to_numpy(dtype=np.float64),
            (cells[f"{part}_"] == "A").to_numpy(),
            made[part].rounding,
        )
        for part in PARTS
    )
    rates = protect_rates(
        upper,
        lower,
        output.spec("value").policy,
        per=output.per,
        decimals=output.decimals,
    )
    status = np.where(rates.shown, "A", "Q")
    cells = cells[names].assign(
        value=rates.values, obs_status=status, explanation=_reasons(rates.reasons)
    )
    internal = cells[~rates.shown][[*names, "explanation"]].rename(columns={"explanation": "rules"})
    report: dict[str, Any] = {part: made[part].report for part in PARTS}
    report["n_hidden"] = int((~rates.shown).sum())
    return Passed(cells, internal, report, {part: made[part].table for part in PARTS})


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
