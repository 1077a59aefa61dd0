"""Modelled output: coefficients, lifts, expected values and their intervals.

A model says nothing about a person as long as every row of it rests on enough units, keeps degrees
of freedom, and does not simply repeat what was observed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zicht.disclosure.reading import Columns, read_columns
from zicht.disclosure.spec import wrong
from zicht.disclosure.tables import Floats, numbers_of

if TYPE_CHECKING:
    import pandas

MINIMUM_N = "minimum_n"
SATURATED = "saturated"
ONE_CELL = "all_of_one_cell"
GIVES_COUNT = "gives_count_back"


@dataclass(frozen=True)
class ModelPolicy:
    """What modelled output must be like.

    Attributes:
        minimum_n: fewest units that a row rests on, and fewest with and without the outcome. 10:
            Guidelines for the checking of output based on microdata research (ESSnet SDC, 2010).
        minimum_freedom: fewest degrees of freedom (units minus parameters). 10: as above.
        significant_digits: figures that are kept of every estimate.
    """

    minimum_n: int = 10
    minimum_freedom: int = 10
    significant_digits: int = 3


@dataclass(frozen=True)
class Modelled:
    """Modelled output that may be published.

    Attributes:
        columns: the columns as given, estimates rounded and None where hidden, and
            ``obs_status`` and ``conf_status``. The numbers of units are left out.
        reasons: internal: why each row is hidden; empty where it is shown.
    """

    columns: dict[str, list[Any]]
    reasons: tuple[str, ...]

    @property
    def table(self) -> pandas.DataFrame:
        """What may be published, as a data frame."""
        import pandas

        return pandas.DataFrame(self.columns)


def significant(value: float, digits: int) -> float:
    """A number with so many significant digits."""
    return float(f"{value:.{digits - 1}e}")


def _half_step(values: Floats, digits: int) -> Floats:
    size = np.where(values == 0, 1.0, np.abs(values))
    return np.asarray(0.5 * 10.0 ** (np.floor(np.log10(size)) - digits + 1))


def _estimates(columns: Columns, names: Sequence[str], name: str) -> dict[str, Floats]:
    made = {}
    for column in names:
        values = columns[column]
        try:
            if values.dtype == object:
                numbers = [float(one) if one else np.nan for one in values.tolist()]
                made[column] = np.array(numbers)
            else:
                made[column] = values.astype(np.float64)
        except ValueError as error:
            raise wrong(
                name, f"{column} holds something that is not a number", "Pass numbers.", "Z-DIS-045"
            ) from error
    return made


def protect_modelled(
    rows: pandas.DataFrame | Mapping[str, Any],
    policy: ModelPolicy,
    *,
    n: str,
    estimates: Sequence[str],
    events: str | None = None,
    parameters: str | None = None,
    products: Sequence[tuple[str, str, str]] = (),
    name: str = "modelled output",
) -> Modelled:
    """Protects a table of estimates, one row per term, region or combination.

    Args:
        rows: one row per term.
        policy: what it must be like.
        n: column with the units that the row rests on (those with the feature, in the cell).
        estimates: columns to publish: coefficient, lift, expected value, interval ends.
        events: column with the units among ``n`` that have the outcome.
        parameters: column with the number of parameters fitted on the row's units.
        products: ``(ratio, base, shown)``: two estimates whose product is a count, and a column
            that says whether that count itself is shown; where it is not, digits are dropped
            until the product leaves ``minimum_n`` counts open.
        name: what errors call it.

    Raises:
        DisclosureError: Z-DIS-045 if a column is missing or not a number.
    """
    columns = read_columns(rows, name=name, code="Z-DIS-045")
    needed = [n, *estimates, *(one for one in (events, parameters) if one)]
    needed += [one for product in products for one in product]
    for column in needed:
        if column not in columns:
            raise wrong(
                name,
                f"it has no column {column}",
                f"Its columns are {', '.join(columns)}.",
                "Z-DIS-045",
            )
    units = numbers_of(columns[n], n, name, whole=True, code="Z-DIS-045")
    reasons: NDArray[Any] = np.full(len(units), "", dtype=object)
    made = _estimates(columns, estimates, name)
    digits = np.full(len(units), policy.significant_digits)
    for ratio, base, shown in products:
        open_ = np.array([str(one).lower() not in ("true", "1", "1.0") for one in columns[shown]])
        digits = _coarsen(made[ratio], made[base], open_, digits, policy, reasons)
    if parameters is not None:
        fitted = numbers_of(columns[parameters], parameters, name, whole=True, code="Z-DIS-045")
        reasons[units - fitted < policy.minimum_freedom] = SATURATED
    if events is not None:
        with_outcome = numbers_of(columns[events], events, name, whole=True, code="Z-DIS-045")
        fewest = np.minimum(with_outcome, units - with_outcome)
        reasons[fewest < policy.minimum_n] = MINIMUM_N
        reasons[fewest <= 0] = ONE_CELL
    reasons[units < policy.minimum_n] = MINIMUM_N
    shown_rows = [reason == "" for reason in reasons.tolist()]
    internal = {n, events, parameters, *(product[2] for product in products)}
    out: dict[str, list[Any]] = {}
    for column, values in columns.items():
        if column in made:
            out[column] = [
                significant(float(one), int(kept)) if show and one == one else None
                for one, kept, show in zip(made[column], digits, shown_rows, strict=True)
            ]
        elif column not in internal:
            out[column] = values.tolist()
    out["obs_status"] = ["A" if show else "Q" for show in shown_rows]
    out["conf_status"] = ["F" if show else "C" for show in shown_rows]
    return Modelled(out, tuple(reasons.tolist()))


def _coarsen(
    ratio: Floats,
    base: Floats,
    open_: NDArray[np.bool_],
    digits: NDArray[np.int64],
    policy: ModelPolicy,
    reasons: NDArray[Any],
) -> NDArray[np.int64]:
    """Drops digits until the product of two estimates leaves enough whole counts open."""
    digits = digits.copy()
    todo = open_ & np.isfinite(ratio) & np.isfinite(base)
    for kept in range(policy.significant_digits, 0, -1):
        a = np.array([significant(float(one), kept) for one in np.nan_to_num(ratio)])
        b = np.array([significant(float(one), kept) for one in np.nan_to_num(base)])
        step_a, step_b = _half_step(a, kept), _half_step(b, kept)
        low = np.maximum(a - step_a, 0) * np.maximum(b - step_b, 0)
        high = (a + step_a) * (b + step_b)
        n_counts = np.floor(high) - np.ceil(low) + 1
        enough = todo & (n_counts >= policy.minimum_n)
        digits[enough] = np.minimum(digits[enough], kept)
        todo &= ~enough
    reasons[todo] = GIVES_COUNT
    return digits
