"""Unexplained growth: where a count lies further above what explains it than chance allows.

A count per region is fitted on its size and on other counts, over all regions of one period
together, so that the level of the period is in the fit. Regions far above their expected number are
left out of it, or they would hide each other. What comes out says something about a number in a
region, and is protected as modelled output: fitted coefficients are not published, and a region
whose own count is hidden has no row but its code.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from zicht.disclosure.modelled import ModelPolicy, protect_modelled
from zicht.disclosure.spec import wrong
from zicht.disclosure.tables import Floats

if TYPE_CHECKING:
    import pandas

METHOD = "unexplained_growth"
MINIMUM_REGIONS = 30
"""Fewer regions are no fit: with one province its own planted or real exceptions set the norm."""
COUNTS_PER_PARAMETER = 10
"""Least number of counted units per parameter; a rule of thumb for regressions on counts."""
MOST_EXCLUDED = 0.2
"""Largest share of the regions that may be left out of the fit: the norm has to be a norm."""
LIMITS = (0.025, 0.975)
"""Tails of the funnel limits: 95 in 100 regions lie within, if nothing but chance is at work."""

NOT_ENOUGH_REGIONS = "not_enough_municipalities"
INCOMPLETE = "incomplete"
NOT_PUBLISHED = "count_not_published"
FEW_HIDDEN = "few_hidden"
TOO_FEW = "too_few"
NOT_POSSIBLE = frozenset({NOT_ENOUGH_REGIONS, INCOMPLETE})
"""Reasons why there is nothing to hide: status M, not Q."""

LANGUAGES = ("nl", "en")
_PLACEHOLDERS = frozenset({"region", "observed", "expected", "lower", "upper", "until"})
_COLUMNS = ("region_code", "observed", "expected", "lower", "upper", "q_value")
_ORDINALS = {
    "nl": ("eerste", "tweede", "derde", "vierde"),
    "en": ("first", "second", "third", "fourth"),
}
_MONTHS = {
    "nl": "januari februari maart april mei juni juli augustus september oktober november december",
    "en": "January February March April May June July August September October November December",
}


@dataclass(frozen=True)
class Fit:
    """A negative binomial regression of counts (NB2: variance ``m + dispersion * m ** 2``).

    Attributes:
        coefficients: per column of the design.
        dispersion: 0 would be Poisson; 0.25 that regions alike differ by half of their number.
    """

    coefficients: Floats
    dispersion: float

    def expected(self, design: Floats, offset: Floats) -> Floats:
        """The expected count of every row."""
        return _means(design, offset, self.coefficients)


@dataclass(frozen=True)
class GrowthModel:
    """``meta.indicator.model`` of an indicator with the method :data:`METHOD`.

    Attributes:
        observed: column with the count.
        exposure: column that the count is in proportion to, such as inhabitants.
        explain: columns with other counts.
        false_discovery_rate: largest share of the signals that may be chance, in expectation.
        least_expected: regions with fewer expected are not tested.
        sentences: ``signal`` and ``no_signal`` to language to a template.
    """

    observed: str
    exposure: str
    explain: tuple[str, ...]
    false_discovery_rate: float
    least_expected: float
    sentences: Mapping[str, Mapping[str, str]]


def growth_model(indicator: Mapping[str, Any]) -> GrowthModel:
    """Reads the model of an indicator from its definition.

    Args:
        indicator: ``meta.indicator`` of a mart.

    Raises:
        DisclosureError: Z-DIS-065 naming the indicator and what its model lacks, Z-DIS-069 when
            a sentence is not there or names what is not known.
    """
    name, model = f"indicator {indicator.get('id')}", indicator.get("model") or {}
    needed = ("observed", "exposure", "explain", "false_discovery_rate", "least_expected")
    missing = [key for key in needed if key not in model]
    if model.get("method") != METHOD or missing:
        what = f"lacks {', '.join(missing)}" if missing else f"has not the method {METHOD}"
        raise wrong(name, f"its model {what}", "See the how-to on indicators.", "Z-DIS-065")
    rate, least = model["false_discovery_rate"], model["least_expected"]
    if not 0 < float(rate) < 1 or float(least) < 0:
        raise wrong(
            name,
            f"false_discovery_rate is {rate} and least_expected {least}",
            "The first lies between 0 and 1, the second is not negative.",
            "Z-DIS-065",
        )
    sentences = model.get("sentences") or {}
    for case in ("signal", "no_signal"):
        for language in LANGUAGES:
            _check_sentence((sentences.get(case) or {}).get(language), case, language, name)
    return GrowthModel(
        str(model["observed"]),
        str(model["exposure"]),
        tuple(model["explain"]),
        float(rate),
        float(least),
        sentences,
    )


def _check_sentence(template: object, case: str, language: str, name: str) -> None:
    names: set[str | None] = set()
    if isinstance(template, str):
        try:
            names = {part[1] for part in string.Formatter().parse(template) if part[1] is not None}
        except ValueError:
            names = {None}
    if names != _PLACEHOLDERS:
        raise wrong(
            name,
            f"model.sentences.{case}.{language} is no sentence with each of "
            f"{', '.join(sorted(_PLACEHOLDERS))} in braces, and nothing else",
            "Say what was seen, what was to be expected, and what that does not mean.",
            "Z-DIS-069",
        )


def _means(design: Floats, offset: Floats, coefficients: Floats) -> Floats:
    return np.asarray(np.exp(np.clip(design @ coefficients + offset, -30, 30)))


def _coefficients(
    counts: Floats, design: Floats, offset: Floats, dispersion: float, start: Floats
) -> Floats:
    """Iteratively reweighted least squares at a given dispersion."""
    found = start
    for _ in range(100):
        mean = _means(design, offset, found)
        root = np.sqrt(mean / (1 + dispersion * mean))
        working = design @ found + (counts - mean) / mean
        new = np.linalg.lstsq(root[:, None] * design, root * working, rcond=None)[0]
        step, found = float(np.max(np.abs(new - found))), np.asarray(new, dtype=np.float64)
        if step < 1e-9:
            break
    return found


def _dispersion(counts: Floats, mean: Floats) -> float:
    """Maximum likelihood at given means. A moment estimate would be drawn up by exceptions."""
    from scipy.optimize import minimize_scalar
    from scipy.special import gammaln

    def lack(log_dispersion: float) -> float:
        dispersion = float(np.exp(log_dispersion))
        size = 1 / dispersion
        terms = gammaln(counts + size) - gammaln(size) + counts * log_dispersion
        return -float(np.sum(terms - (counts + size) * np.log1p(dispersion * mean)))

    return float(np.exp(minimize_scalar(lack, bounds=(-12, 3), method="bounded").x))


def fit_counts(counts: Floats, design: Floats, offset: Floats) -> Fit:
    """Negative binomial regression by maximum likelihood, with a log link.

    Args:
        counts: per region, some of them more than 0.
        design: regions by terms, the first one constant.
        offset: logarithm of the size of each region.

    Source: Cameron and Trivedi, Regression Analysis of Count Data (2013), section 3.3.
    """
    start = np.zeros(design.shape[1])
    start[0] = np.log(counts.sum() / np.exp(offset).sum())
    fit = Fit(start, 0.1)
    for _ in range(50):
        found = _coefficients(counts, design, offset, fit.dispersion, fit.coefficients)
        dispersion = _dispersion(counts, _means(design, offset, found))
        done = abs(dispersion - fit.dispersion) < 1e-6 * (1 + dispersion)
        fit = Fit(found, dispersion)
        if done:
            break
    return fit


def growth_design(sizes: Floats, others: Sequence[Floats]) -> tuple[Floats, Floats]:
    """The terms of the regression: constant, size, and other counts for their size.

    Size enters twice: as offset, and as a term, since a large region need not simply be a small
    one many times. Counts enter as the logarithm of their number per unit of size, with a half
    added, for there is none of 0. All are standardised; what is the same everywhere is left out.

    Returns:
        design (regions by terms) and offset.
    """
    offset = np.log(sizes)
    terms = [offset, *(np.log((other + 0.5) / sizes) for other in others)]
    kept = [(term - term.mean()) / term.std() for term in terms if term.std() > 1e-9]
    return np.column_stack([np.ones(len(sizes)), *kept]), offset


def _negative_binomial(expected: Floats, dispersion: float) -> tuple[float, Floats]:
    """Size and probability, as ``scipy.stats.nbinom`` has them."""
    return 1 / dispersion, 1 / (1 + dispersion * expected)


def upper_tail(counts: Floats, expected: Floats, dispersion: float) -> Floats:
    """The chance of a count of at least this many.

    The whole probability of the count itself is in it: for counts that makes the test cautious.
    Half of it (mid-p) finds more, and more that is chance.
    """
    from scipy.stats import nbinom

    size, chance = _negative_binomial(expected, dispersion)
    return np.asarray(nbinom.sf(counts - 1, size, chance), dtype=np.float64)


def false_discovery(tails: Floats) -> Floats:
    """The q-value of every p-value: the least rate of false discoveries at which it is found.

    Source: Benjamini and Hochberg, Controlling the false discovery rate, Journal of the Royal
    Statistical Society B 57 (1995).
    """
    order = np.argsort(tails, kind="stable")
    steps = tails[order] * len(tails) / np.arange(1, len(tails) + 1)
    made = np.empty(len(tails))
    made[order] = np.minimum(1, np.minimum.accumulate(steps[::-1])[::-1])
    return made


def _numbers(cells: pandas.DataFrame, column: str) -> Floats:
    if column not in cells.columns:
        raise wrong(
            "cells of a growth model",
            f"they have no column {column}",
            "The mart has the columns that meta.indicator.model names, and region_code.",
            "Z-DIS-067",
        )
    try:
        found = cells[column].to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise wrong(
            "cells of a growth model", f"{column} is not a number", "Pass numbers.", "Z-DIS-067"
        ) from error
    if np.any(found < 0) or np.any(np.isinf(found)):
        raise wrong(
            "cells of a growth model",
            f"{column} holds a number below 0 or without end",
            "Pass counts.",
            "Z-DIS-067",
        )
    return found


def _unless(fine: NDArray[np.bool_], reason: str) -> NDArray[Any]:
    return np.array([None if one else reason for one in fine.tolist()], dtype=object)


def fit_growth(
    cells: pandas.DataFrame,
    *,
    observed: str,
    exposure: str,
    explain: Sequence[str],
    false_discovery_rate: float,
    least: float,
) -> pandas.DataFrame:
    """What was to be expected in every region, and which lie further above it than chance allows.

    Negative binomial regression, refitted without the regions that were signals until there are no
    new ones: else these would raise what is expected and widen what is chance. All regions are
    tested against the last fit, also those whose count will not be published: a test only of those
    with a large count would find too much.

    Args:
        cells: one row per region of one period: ``region_code`` and the columns named below.
        observed: the count.
        exposure: the size that it is in proportion to; above 0.
        explain: other counts.
        false_discovery_rate: largest share of signals that are chance, in expectation.
        least: regions with fewer expected are not tested.

    Returns:
        Per region, confidential: ``region_code``, ``observed``, ``expected``, ``lower`` and
        ``upper`` (funnel limits, :data:`LIMITS`), ``p``, ``q``, ``is_signal``, ``reason`` (None
        where it was tested), ``n_regions`` and ``n_parameters`` of the fit.

    Raises:
        DisclosureError: Z-DIS-067 if a column is missing or is no count.

    Source: Spiegelhalter, Funnel plots for comparing institutional performance, Statistics in
    Medicine 24 (2005); for leaving out exceptions Farrington et al., A statistical algorithm for
    the early detection of outbreaks of infectious disease, Journal of the Royal Statistical
    Society A 159 (1996).
    """
    import pandas

    counts, sizes = _numbers(cells, observed), _numbers(cells, exposure)
    others = [_numbers(cells, column) for column in explain]
    whole = np.isfinite(counts) & (sizes > 0) & np.isfinite(np.array([sizes, *others])).all(axis=0)
    made = pandas.DataFrame(
        {
            "region_code": cells["region_code"].to_numpy(dtype=object),
            "observed": counts,
            **dict.fromkeys(("expected", "lower", "upper", "p", "q"), np.nan),
            "is_signal": False,
            "reason": _unless(whole, INCOMPLETE),
            "n_regions": int(whole.sum()),
            "n_parameters": len(explain) + 3,
        }
    )
    if whole.sum() < MINIMUM_REGIONS:
        return made.assign(reason=np.where(whole, NOT_ENOUGH_REGIONS, INCOMPLETE))
    design, offset = growth_design(sizes[whole], [other[whole] for other in others])
    n_parameters = int(np.linalg.matrix_rank(design)) + 1
    if counts[whole].sum() < COUNTS_PER_PARAMETER * n_parameters:
        return made.assign(reason=np.where(whole, TOO_FEW, INCOMPLETE))
    found = _tested(counts[whole], design, offset, false_discovery_rate, least)
    for column, values in found.items():
        made.loc[whole, column] = values
    return made.assign(n_parameters=n_parameters)


def _tested(
    counts: Floats, design: Floats, offset: Floats, rate: float, least: float
) -> dict[str, NDArray[Any]]:
    """Columns of :func:`fit_growth` for regions that all take part."""
    from scipy.stats import nbinom

    ordinary = np.ones(len(counts), dtype=bool)
    while True:
        fit = fit_counts(counts[ordinary], design[ordinary], offset[ordinary])
        expected = fit.expected(design, offset)
        tested = expected >= least
        p = upper_tail(counts, expected, fit.dispersion)
        q = np.ones(len(counts))
        q[tested] = false_discovery(p[tested])
        fewer = ordinary & (q > rate)
        if fewer.sum() == ordinary.sum() or np.mean(~fewer) > MOST_EXCLUDED:
            break
        ordinary = fewer
    size, chance = _negative_binomial(expected, fit.dispersion)
    return {
        "expected": expected,
        "lower": np.asarray(nbinom.ppf(LIMITS[0], size, chance)),
        "upper": np.asarray(nbinom.ppf(LIMITS[1], size, chance)),
        "p": p,
        "q": q,
        "is_signal": tested & (q <= rate),
        "reason": _unless(tested, TOO_FEW),
    }


def protect_growth(
    rows: pandas.DataFrame, policy: ModelPolicy, shown: Mapping[str, float]
) -> pandas.DataFrame:
    """What of a fit may be published.

    A row is shown where the count of the region is published itself and reaches the least number
    of units. Expected numbers depend on all counts, hidden ones too: they have few digits, are
    published without the coefficients, and only if either nothing is hidden or so much that the
    equations of the fit leave the hidden counts open. q-values are rounded up to hundredths: a tiny
    one with its digits would give the expected number more sharply than the rounded one does.

    Args:
        rows: as :func:`fit_growth` gives them.
        policy: of modelled output.
        shown: per region whose count is published (status A) that count, as it is published.

    Returns:
        Per region ``region_code``, ``observed`` (as published), ``expected``, ``lower``, ``upper``,
        ``q_value``, ``is_signal``, ``reason`` and ``obs_status``: A shown, Q hidden, M not
        possible. Everything between code and reason is None unless the status is A.
    """
    import pandas

    codes = rows["region_code"].tolist()
    published = np.array([float(shown.get(code, np.nan)) for code in codes])
    # A frame may turn None into a missing value of its own.
    reasons = np.array(
        [one if isinstance(one, str) else None for one in rows["reason"]], dtype=object
    )
    took_part = reasons != INCOMPLETE
    n_hidden = int((took_part & np.isnan(published)).sum())
    enough_hidden = policy.minimum_freedom + int(rows["n_parameters"].max())
    open_ = np.array([reason is None for reason in reasons])
    reasons[open_ & ~(published >= policy.minimum_n)] = TOO_FEW
    if 0 < n_hidden < enough_hidden:
        reasons[open_] = FEW_HIDDEN
    reasons[np.isnan(published) & ~np.isin(reasons, list(NOT_POSSIBLE))] = NOT_PUBLISHED
    estimates = ["expected", "lower", "upper"]
    made = protect_modelled(
        rows[["region_code", *estimates, "n_regions", "n_parameters"]],
        policy,
        n="n_regions",
        parameters="n_parameters",
        estimates=estimates,
        name="growth model",
    )
    for number, why in enumerate(made.reasons):
        if why and reasons[number] is None:
            reasons[number] = NOT_ENOUGH_REGIONS
    status = np.array([_status(reason) for reason in reasons])
    is_shown = status == "A"
    columns: dict[str, list[Any]] = {
        "observed": published.tolist(),
        **{name: made.columns[name] for name in estimates},
        "q_value": _up_to_hundredths(rows["q"].to_numpy(dtype=np.float64)),
        "is_signal": rows["is_signal"].tolist(),
    }
    return pandas.DataFrame(
        {
            "region_code": codes,
            **{
                name: pandas.Series(
                    [one if show else None for one, show in zip(values, is_shown, strict=True)],
                    dtype="boolean" if name == "is_signal" else "Float64",
                )
                for name, values in columns.items()
            },
            "reason": pandas.Series(reasons.tolist(), dtype=object),
            "obs_status": status,
        }
    )


def _up_to_hundredths(values: Floats) -> list[float]:
    """Rounded up, never to 0; what is a hundredth but for the last bit stays one."""
    made: list[float] = (np.maximum(np.ceil(100 * values - 1e-9), 1) / 100).tolist()
    return made


def _status(reason: str | None) -> str:
    if reason is None:
        return "A"
    return "M" if reason in NOT_POSSIBLE else "Q"


def number_in_words(value: float, language: str) -> str:
    """A number as it stands in a sentence: 1.200 and 0,5 in Dutch, 1,200 and 0.5 in English."""
    text = f"{value:,.0f}" if value == int(value) else f"{value:,.10g}"
    return text.translate(str.maketrans(",.", ".,")) if language == "nl" else text


def period_in_words(reference_period: str, language: str) -> str:
    """A reference period as it stands in a sentence: the fourth quarter of 2024."""
    year, _, part = reference_period.partition("-")
    if part.startswith("Q"):
        ordinal = _ORDINALS[language][int(part[1]) - 1]
        return (
            f"het {ordinal} kwartaal van {year}"
            if language == "nl"
            else (f"the {ordinal} quarter of {year}")
        )
    return f"{_MONTHS[language].split()[int(part) - 1]} {year}" if part else year


def growth_sentence(
    row: Mapping[Any, Any], model: GrowthModel, reference_period: str, name: str, language: str
) -> str:
    """What a shown row says and does not say, in plain words.

    Args:
        row: a row of :func:`protect_growth` with status A.
        name: of the region.
    """
    template = model.sentences["signal" if row["is_signal"] else "no_signal"][language]
    figures = ("observed", "expected", "lower", "upper")
    return template.format(
        region=name,
        until=period_in_words(reference_period, language),
        **{figure: number_in_words(float(row[figure]), language) for figure in figures},
    )


def signals(
    cells: pandas.DataFrame,
    meta: Mapping[str, Any],
    policy: ModelPolicy,
    shown: Mapping[tuple[str, str], float],
    names: Mapping[str, str],
) -> pandas.DataFrame:
    """The signals of an indicator: every period fitted by itself, protected, and put into words.

    Args:
        cells: rows of the mart: ``reference_period``, ``region_code`` and the model's columns.
        meta: the definition of the indicator, ``meta.indicator``.
        policy: of modelled output.
        shown: per published cell (status A) of the counts indicator that the model is ``of``:
            ``(reference_period, region_code)`` to the value as published.
        names: of the regions; a region without one goes by its code.

    Returns:
        ``reference_period`` and the columns of :func:`protect_growth`, with ``sentence_nl`` and
        ``sentence_en`` (None unless shown), in order of period and region.

    Raises:
        DisclosureError: Z-DIS-065 or Z-DIS-069 if the model is not declared well, Z-DIS-067 if a
            column is missing or is no count, Z-DIS-068 if a region is there twice.
    """
    import pandas

    model = growth_model(meta)
    made = []
    for period, own in cells.groupby("reference_period", sort=True):
        twice = own["region_code"][own["region_code"].duplicated()]
        if len(twice):
            raise wrong(
                f"indicator {meta['id']}",
                f"{twice.iloc[0]} is there twice in {period}",
                "Pass one row per region and period; a growth model has no breakdown.",
                "Z-DIS-068",
            )
        rows = fit_growth(
            own.sort_values("region_code"),
            observed=model.observed,
            exposure=model.exposure,
            explain=model.explain,
            false_discovery_rate=model.false_discovery_rate,
            least=model.least_expected,
        )
        published = {code: value for (when, code), value in shown.items() if when == period}
        table = protect_growth(rows, policy, published)
        told: dict[str, list[str | None]] = {f"sentence_{one}": [] for one in LANGUAGES}
        for row in table.to_dict("records"):
            code = str(row["region_code"])
            for one in LANGUAGES:
                told[f"sentence_{one}"].append(
                    growth_sentence(row, model, str(period), names.get(code, code), one)
                    if row["obs_status"] == "A"
                    else None
                )
        words = {name: pandas.Series(texts, dtype=object) for name, texts in told.items()}
        made.append(table.assign(**words).pipe(_with_period, str(period)))
    columns = ["reference_period", *_COLUMNS, "is_signal", "reason", "obs_status"]
    columns += [f"sentence_{one}" for one in LANGUAGES]
    return pandas.concat(made, ignore_index=True) if made else pandas.DataFrame(columns=columns)


def _with_period(table: pandas.DataFrame, period: str) -> pandas.DataFrame:
    table.insert(0, "reference_period", period)
    return table
