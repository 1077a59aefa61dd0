"""Feature profile: what units with an event have more often than all units.

A profile is modelled output: fitted inside the wall on combinations of categories, published as
one row per feature and category of a region, never as a score of a unit or of an area. Every
category is looked at twice: by itself (lift: its share among units with an event over its share
among all), and with the other features held equal (odds ratio of a logistic model), because a
feature that merely goes together with another one shows a lift as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import null_space
from scipy.special import expit
from scipy.stats import false_discovery_control, norm

from zicht.disclosure.modelled import ModelPolicy, protect_modelled, significant
from zicht.disclosure.protecting import HeldBackError, protect_cells
from zicht.disclosure.spec import spec_of, wrong
from zicht.disclosure.tables import Bools, Floats, Ints, numbers_of

if TYPE_CHECKING:
    import pandas

METHOD = "feature_profile"
COUNTRY = "NL01"
COLUMNS = (
    *("feature", "category", "share_all_pct", "share_events_pct"),
    *("lift", "lift_lower", "lift_upper", "q_value"),
    *("odds_ratio", "odds_lower", "odds_upper", "odds_q_value"),
    *("is_distinguishing", "obs_status"),
)
"""Columns of a protected profile, in order."""
Q_STEPS = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Published q-values are rounded up to these: two digits of a small one would give the count."""
PRIOR_SD = 1.5
"""Standard deviation of the prior on a log odds: 95% of odds ratios between 1/19 and 19."""

_ESTIMATES = ("share_events_pct", "lift", "lift_lower", "lift_upper")
_ADJUSTED = ("odds_ratio", "odds_lower", "odds_upper")
_QUANTILE = float(norm.ppf(0.975))
_MOST_STEPS = 100
_SMALL_STEP = 1e-9
_SECONDS = 10.0
"""For the cheapest pattern of hidden categories of one feature; a safe one is found at once."""


@dataclass(frozen=True)
class Fit:
    """A logistic model: the mode of its penalised likelihood and what is known around it.

    Attributes:
        coefficients: one per column of the design.
        covariance: inverse of the penalised information.
    """

    coefficients: Floats
    covariance: Floats


def penalised_logit(
    design: Floats, units: Floats, events: Floats, prior_sd: Floats, name: str = "feature profile"
) -> Fit:
    """Logistic regression on grouped counts with normal priors around 0.

    Iteratively reweighted least squares on the penalised likelihood (le Cessie and van
    Houwelingen, Ridge estimators in logistic regression, Applied Statistics 41, 1992). Weak
    normal priors keep estimates finite where a category has no events at all, as Firth's penalty
    does (Greenland and Mansournia, Statistics in Medicine 34, 2015).

    Args:
        design: one row per group, one column per coefficient.
        units: per group.
        events: per group, at most ``units``.
        prior_sd: per column the standard deviation of its prior, infinite for none.

    Raises:
        DisclosureError: Z-DIS-047 when no mode is found.
    """
    penalty = 1 / np.square(prior_sd)
    beta = np.zeros(design.shape[1])

    def height(at: Floats) -> float:
        line = design @ at
        fitted = events @ line - units @ np.logaddexp(0, line)
        return float(fitted - 0.5 * penalty @ np.square(at))

    for _ in range(_MOST_STEPS):
        chance = expit(design @ beta)
        score = design.T @ (events - units * chance) - penalty * beta
        weights = units * chance * (1 - chance)
        information = (design.T * weights) @ design + np.diag(penalty)
        try:
            step = np.linalg.solve(information, score)
        except np.linalg.LinAlgError as error:
            raise _no_mode(name) from error
        if np.max(np.abs(step)) < _SMALL_STEP:
            return Fit(beta, np.asarray(np.linalg.inv(information), dtype=np.float64))
        before = height(beta)
        # A full step can overshoot where events are rare; what is lost to rounding is no loss.
        while height(beta + step) < before - 1e-9 * abs(before) and np.max(np.abs(step)) > 1e-12:
            step = step / 2
        beta = beta + step
    raise _no_mode(name)


def _no_mode(name: str) -> Exception:
    return wrong(
        name,
        f"the logistic model has no single best fit after {_MOST_STEPS} steps",
        "Look for two features with the same categories, or lower the prior's deviation.",
        "Z-DIS-047",
    )


@dataclass(frozen=True)
class _Patterns:
    """Combinations of categories with their counts; per feature the number of its category."""

    codes: Mapping[str, Ints]
    units: Floats
    events: Floats


def _read(
    patterns: pandas.DataFrame, features: Mapping[str, Sequence[str]], name: str
) -> _Patterns:
    """Checks the patterns and adds up those that are the same."""
    for column in (*features, "n_units", "n_events"):
        if column not in patterns.columns:
            raise wrong(
                name,
                f"it has no column {column}",
                f"Its columns are {', '.join(map(str, patterns.columns))}.",
                "Z-DIS-046",
            )
    for count in ("n_units", "n_events"):
        numbers_of(patterns[count].to_numpy(), count, name, whole=True, code="Z-DIS-046")
    summed = patterns.groupby(list(features), as_index=False, sort=True, dropna=False)[
        ["n_units", "n_events"]
    ].sum()
    units = summed["n_units"].to_numpy(dtype=np.float64)
    events = summed["n_events"].to_numpy(dtype=np.float64)
    if (events > units).any():
        raise wrong(
            name, "a pattern has more events than units", "Count units with an event.", "Z-DIS-046"
        )
    codes = {}
    for feature, categories in features.items():
        number = {category: at for at, category in enumerate(categories)}
        found = [number.get(one, -1) for one in summed[feature].tolist()]
        if -1 in found:
            unknown = summed[feature].tolist()[found.index(-1)]
            raise wrong(
                name,
                f"{feature} has the category {unknown!r}, which is not declared",
                f"Declared are {', '.join(categories)}.",
                "Z-DIS-046",
            )
        codes[feature] = np.array(found, dtype=np.int64)
    return _Patterns(codes, units, events)


@dataclass(frozen=True)
class _Effects:
    """The columns of the design that carry one feature.

    Attributes:
        at: the columns.
        present: the categories that occur.
        shares: of all units, per category that occurs.
        basis: takes the columns' coefficients to one effect per category that occurs.
    """

    at: slice
    present: Ints
    shares: Floats
    basis: Floats


def _design(
    patterns: _Patterns, features: Mapping[str, Sequence[str]]
) -> tuple[Floats, dict[str, _Effects]]:
    """The design of the model: an intercept, and per feature effects that are 0 on average.

    No category is the reference that others are held against, so that none is favoured or
    missing. Weighted by units, the effects of a feature add up to nothing; an orthonormal basis
    of that leaves the size of the effects, which the prior is about, as it is.
    """
    blocks: list[Floats] = [np.ones((len(patterns.units), 1))]
    effects, begin = {}, 1
    for feature, categories in features.items():
        codes = patterns.codes[feature]
        totals = np.bincount(codes, patterns.units, len(categories))
        present = np.flatnonzero(totals)
        shares = totals[present] / totals.sum()
        basis = null_space(shares[np.newaxis, :])
        indicator = (codes[:, np.newaxis] == present[np.newaxis, :]).astype(np.float64)
        blocks.append(indicator @ basis)
        end = begin + basis.shape[1]
        effects[feature] = _Effects(slice(begin, end), present, shares, basis)
        begin = end
    return np.hstack(blocks), effects


def n_parameters(patterns: pandas.DataFrame, features: Mapping[str, Sequence[str]]) -> int:
    """Parameters of the model: an intercept, and per feature the categories beyond the first."""
    return 1 + sum(patterns[feature].nunique() - 1 for feature in features)


def _adjusted(
    patterns: _Patterns, features: Mapping[str, Sequence[str]], prior_sd: float, name: str
) -> dict[str, Floats]:
    """Log odds ratio and its standard error per feature and category, nan where there is none."""
    size = sum(len(categories) for categories in features.values())
    ratios, errors = np.full(size, np.nan), np.full(size, np.nan)
    design, effects = _design(patterns, features)
    deviation = np.full(design.shape[1], prior_sd)
    deviation[0] = np.inf
    fit = penalised_logit(design, patterns.units, patterns.events, deviation, name)
    begin = 0
    for feature, categories in features.items():
        own = effects[feature]
        if len(own.present) > 1:
            effect = own.basis @ fit.coefficients[own.at]
            spread = own.basis @ fit.covariance[own.at, own.at] @ own.basis.T
            # The others' mean effect is what makes all together 0, so the contrast is one factor.
            factor = 1 / (1 - own.shares)
            ratios[begin + own.present] = factor * effect
            errors[begin + own.present] = factor * np.sqrt(np.diag(spread))
        begin += len(categories)
    return {"log_odds": ratios, "error": errors}


def _plain(with_feature: Floats, units: Floats, n_events: float, n_units: float) -> list[Floats]:
    """Lift with its interval and a two-sided p-value, per category.

    Of all units the share is known, so only that among the events is uncertain: the variance of
    the log of a proportion by the delta method (Katz and others, Biometrics 34, 1978, for one
    sample). The p-value is that of the score test with the variance of drawing without
    replacement.
    """
    share_all, share_events = units / n_units, with_feature / n_events
    edge = (with_feature == 0) | (with_feature == n_events)
    safe = np.where(edge, (with_feature + 0.5) * n_events / (n_events + 1), with_feature)
    error = np.sqrt(1 / safe - 1 / n_events)
    with np.errstate(divide="ignore", invalid="ignore"):
        lift = share_events / share_all
        middle = np.log(safe / n_events) - np.log(share_all)
        lower, upper = np.exp(middle - _QUANTILE * error), np.exp(middle + _QUANTILE * error)
        variance = n_events * share_all * (1 - share_all) * (n_units - n_events) / (n_units - 1)
        score = (with_feature - n_events * share_all) / np.sqrt(variance)
    # A category without units says nothing; nor does one that all units have.
    absent = (units == 0) | (units == n_units)
    p_value = np.where(absent, np.nan, 2 * norm.sf(np.abs(score)))
    return [np.where(units == 0, np.nan, one) for one in (lift, np.minimum(lower, lift), upper)] + [
        p_value
    ]


def _q_values(p_values: Floats) -> Floats:
    """Benjamini and Hochberg's q-values; nan where there is no p-value."""
    out = np.full(len(p_values), np.nan)
    known = np.isfinite(p_values)
    if known.any():
        out[known] = false_discovery_control(p_values[known], method="bh")
    return out


def fit_profile(
    patterns: pandas.DataFrame,
    features: Mapping[str, Sequence[str]],
    policy: ModelPolicy,
    *,
    false_discovery_rate: float,
    prior_sd: float = PRIOR_SD,
    name: str = "feature profile",
) -> pandas.DataFrame:
    """Compares units with an event with all units, feature by feature. Confidential.

    Args:
        patterns: one row per combination of categories: a column per feature, ``n_units`` and
            ``n_events``; a combination may stand there more than once, and is added up.
        features: per feature its categories, in order.
        policy: with fewer degrees of freedom (events minus parameters) than it asks for, there
            are no adjusted figures.
        false_discovery_rate: q-value up to which a category can be distinguishing.
        prior_sd: of the normal prior on every log odds.
        name: what errors call it.

    Returns:
        One row per feature and category in their order: ``n_units``, ``n_events``,
        ``share_all_pct``, ``share_events_pct``, ``lift`` with ``lift_lower`` and ``lift_upper``
        (95%), ``p_value``, ``q_value``; ``odds_ratio`` with ``odds_lower`` and ``odds_upper``
        (95%), ``odds_p_value`` and ``odds_q_value``, of the category against the average of the
        feature's other categories with all other features equal; ``is_distinguishing``. q-values
        are of Benjamini and Hochberg (1995), over all rows.

    Raises:
        DisclosureError: Z-DIS-046 if patterns and features do not fit, Z-DIS-047 if the model
            has no single best fit.
    """
    import pandas

    read = _read(patterns, features, name)
    n_units, n_events = float(read.units.sum()), float(read.events.sum())
    if n_events <= 0 or n_events >= n_units:
        raise wrong(
            name,
            f"{n_events:.0f} of {n_units:.0f} units have an event: there is nothing to compare",
            "Leave the region or period out.",
            "Z-DIS-046",
        )
    keys = [(feature, one) for feature, categories in features.items() for one in categories]
    units, events = (
        np.concatenate(
            [np.bincount(read.codes[one], weights, len(features[one])) for one in features]
        )
        for weights in (read.units, read.events)
    )
    lift, lower, upper, p_value = _plain(events, units, n_events, n_units)
    adjusted = {one: np.full(len(keys), np.nan) for one in ("log_odds", "error")}
    if n_events - n_parameters(patterns, features) >= policy.minimum_freedom:
        adjusted = _adjusted(read, features, prior_sd, name)
    log_odds, error = adjusted["log_odds"], adjusted["error"]
    odds_p = 2 * norm.sf(np.abs(log_odds) / error)
    made = pandas.DataFrame(
        {
            "feature": [feature for feature, _ in keys],
            "category": [category for _, category in keys],
            "n_units": units.astype(np.int64),
            "n_events": events.astype(np.int64),
            "share_all_pct": 100 * units / n_units,
            "share_events_pct": 100 * events / n_events,
            "lift": lift,
            "lift_lower": lower,
            "lift_upper": upper,
            "p_value": p_value,
            "q_value": _q_values(p_value),
            "odds_ratio": np.exp(log_odds),
            "odds_lower": np.exp(log_odds - _QUANTILE * error),
            "odds_upper": np.exp(log_odds + _QUANTILE * error),
            "odds_p_value": odds_p,
            "odds_q_value": _q_values(odds_p),
        }
    )
    made["is_distinguishing"] = (
        (made["lift"] > 1)
        & (made["odds_lower"] > 1)
        & (made["odds_q_value"] <= false_discovery_rate)
    )
    return made


# Protection ------------------------------------------------------------------------------------


def hidden_categories(counts: pandas.DataFrame, policy: ModelPolicy) -> Bools:
    """Which rows of the profiles of some regions together are hidden.

    The categories of a feature add up to 100% in every region, and the regions to the country:
    one hidden row would follow from the others. Numbers of events are not published, but those
    in all may be known from elsewhere, and shares times these are counts. So per feature the
    table of events by region and category is protected as counts are, for an attacker who knows
    every total and the exact count behind every row that is shown: what he can infer of a count
    under the threshold reaches from 1 to that threshold.

    Args:
        counts: ``region_code``, ``feature``, ``category``, ``n_units`` and ``n_events``; all
            categories of a feature in every region. Rows of ``NL01`` are the sums of all others,
            or stand alone.

    Returns:
        Per row of ``counts``.
    """
    hidden = np.zeros(len(counts), dtype=bool)
    few = (counts["n_units"] - counts["n_events"]).to_numpy() < policy.minimum_n
    few &= counts["n_events"].to_numpy() > 0
    for feature in dict.fromkeys(counts["feature"]):
        own = (counts["feature"] == feature).to_numpy()
        # How many units a category has is public. Where nearly all have an event, that bounds
        # the count from above, which protection of counts does not know of.
        hidden[own] = True if few[own].any() else _hidden_of(counts[own], policy)
    # Protection of counts shows zeros; of a category without events nothing can be estimated.
    hidden |= (counts["n_events"] < policy.minimum_n).to_numpy()
    return hidden


def _hidden_of(counts: pandas.DataFrame, policy: ModelPolicy) -> Bools:
    """As :func:`hidden_categories`, of one feature; all of it where nothing less is safe."""
    parts = counts[counts["region_code"] != COUNTRY]
    if parts["region_code"].nunique() < 2:
        parts = counts[counts["region_code"] == counts["region_code"].iloc[0]]
        dimensions = {"category": {"total": "Total"}}
    else:
        dimensions = {"region_code": {"total": COUNTRY}, "category": {"total": "Total"}}
    spec = spec_of(
        {
            "dimensions": dimensions,
            "count": "n_events",
            "never_hide": [{"category": "Total"}],
            "policy": {
                "minimum_frequency": policy.minimum_n,
                "protection": "interval",
                "seconds": _SECONDS,
            },
        },
        name="feature profile",
    )
    try:
        made = protect_cells(parts[[*dimensions, "n_events"]], spec).table
    except HeldBackError:
        return np.ones(len(counts), dtype=bool)
    if "region_code" not in made.columns:
        # One region, and the country when that is all there is of it.
        status = dict(zip(made["category"], made["obs_status"], strict=True))
        return np.array([status[one] == "Q" for one in counts["category"]])
    keys = zip(made["region_code"], made["category"], strict=True)
    found = dict(zip(keys, made["obs_status"], strict=True))
    own = zip(counts["region_code"], counts["category"], strict=True)
    return np.array([found[key] == "Q" for key in own])


def _rounded_up(q_values: Floats) -> list[float | None]:
    """Each q-value as the next of :data:`Q_STEPS`; None for none."""
    at = np.searchsorted(Q_STEPS, np.minimum(np.nan_to_num(q_values, nan=1.0), 1.0))
    return [
        Q_STEPS[step] if known else None
        for step, known in zip(at.tolist(), np.isfinite(q_values).tolist(), strict=True)
    ]


def protect_profile(
    rows: pandas.DataFrame, policy: ModelPolicy, hidden: Bools | None = None
) -> pandas.DataFrame:
    """What may be published of the profile of one region.

    Hidden are rows on fewer than ``minimum_n`` events or units without one, and with them the
    rows that would give these away (:func:`hidden_categories`). The rest is rounded to
    significant digits, and to fewer where lift times expected number of events would leave less
    than ``minimum_n`` counts open. q-values are rounded up to :data:`Q_STEPS`, and numbers of
    units and events are left out.

    Args:
        rows: as :func:`fit_profile` gives them.
        hidden: per row what :func:`hidden_categories` says of all regions together; worked out
            for this region alone when not given.

    Returns:
        The columns of :data:`COLUMNS`: None where a row is hidden (``obs_status`` Q), and in the
        adjusted ones also where the model says nothing.

    Raises:
        DisclosureError: Z-DIS-045 if a column is missing or not a number.
    """
    import pandas

    if hidden is None:
        hidden = hidden_categories(rows.assign(region_code=COUNTRY), policy)
    in_all = rows["n_events"].sum() / max(rows["feature"].nunique(), 1)
    made = protect_modelled(
        rows[["feature", "category", "n_units", "n_events", *_ESTIMATES, *_ADJUSTED]].assign(
            expected=rows["share_all_pct"] / 100 * in_all, is_count_shown=False
        ),
        policy,
        n="n_units",
        events="n_events",
        estimates=[*_ESTIMATES, *_ADJUSTED, "expected"],
        products=[("lift", "expected", "is_count_shown")],
        name="feature profile",
    )
    shown = (np.array(made.columns["obs_status"]) == "A") & ~hidden

    def where_shown(values: Sequence[Any]) -> list[Any]:
        return [one if show else None for one, show in zip(values, shown, strict=True)]

    shares = [significant(one, policy.significant_digits) for one in rows["share_all_pct"]]
    columns: dict[str, Any] = {
        "feature": rows["feature"].tolist(),
        "category": rows["category"].tolist(),
        "share_all_pct": where_shown(shares),
        "q_value": where_shown(_rounded_up(rows["q_value"].to_numpy())),
        "odds_q_value": where_shown(_rounded_up(rows["odds_q_value"].to_numpy())),
        "obs_status": np.where(shown, "A", "Q").tolist(),
    }
    columns |= {one: where_shown(made.columns[one]) for one in (*_ESTIMATES, *_ADJUSTED)}
    numbers = [one for one in COLUMNS if one.endswith(("_pct", "_value"))]
    numbers += [one for one in COLUMNS if one.startswith(("lift", "odds_"))]
    frame = pandas.DataFrame(columns).astype(dict.fromkeys(numbers, "float64"))
    marks = where_shown(rows["is_distinguishing"].tolist())
    return frame.assign(is_distinguishing=pandas.array(marks, dtype="boolean"))[list(COLUMNS)]


def _eligible(
    regions: Mapping[str, pandas.DataFrame],
    features: Mapping[str, Sequence[str]],
    policy: ModelPolicy,
) -> list[str]:
    """The regions with enough events for a profile of their own.

    Either all, or those that are left out are at least two with ``minimum_n`` events together:
    what is left of the country would otherwise be that one region, or too few.
    """
    n_events = {code: int(own["n_events"].sum()) for code, own in regions.items()}
    least = {
        code: n_parameters(own, features) + policy.minimum_freedom for code, own in regions.items()
    }
    out = [code for code in regions if n_events[code] < least[code]]
    # In an order that does not depend on events, so that who is left out says nothing of them.
    by_units = sorted(regions, key=lambda code: (int(regions[code]["n_units"].sum()), code))
    for code in by_units:
        if not out or (len(out) > 1 and sum(n_events[one] for one in out) >= policy.minimum_n):
            break
        if code not in out:
            out.append(code)
    return [code for code in regions if code not in out]


def profiles(
    cells: pandas.DataFrame, meta: Mapping[str, Any], policy: ModelPolicy
) -> pandas.DataFrame:
    """The protected profiles of all periods, levels and regions of an indicator.

    Args:
        cells: innermost patterns: ``region_code`` and ``region_level`` (one level),
            ``reference_period``, a column per feature, ``n_units``, ``n_events``. Confidential.
        meta: ``meta.indicator`` of the mart: ``breakdown`` names features and categories,
            ``model`` its ``method``, ``units``, ``events``, ``levels`` and
            ``false_discovery_rate``.
        policy: of modelled output.

    Returns:
        ``region_code`` (``NL01`` for all of it together), ``region_level``,
        ``reference_period``, and :data:`COLUMNS`. A region without enough events has no rows.

    Raises:
        DisclosureError: Z-DIS-046 if cells and definition do not fit, Z-DIS-047 if a model has
            no single best fit.
    """
    import pandas

    name = f"feature profile {meta.get('id', '')}".strip()
    model = _model_of(meta, name)
    features = {
        str(feature): [str(category) for category in one["categories"]]
        for feature, one in meta["breakdown"].items()
    }
    needed = {"region_code", "region_level", "reference_period", model["units"], model["events"]}
    if lacking := sorted(needed - set(cells.columns)):
        raise wrong(
            name,
            f"it has no column {', '.join(lacking)}",
            f"Its columns are {', '.join(map(str, cells.columns))}.",
            "Z-DIS-046",
        )
    cells = cells.rename(columns={model["units"]: "n_units", model["events"]: "n_events"})
    empty = pandas.DataFrame(columns=["region_code", "region_level", "reference_period", *COLUMNS])
    made = [
        one
        for period, own in cells.groupby("reference_period", sort=True)
        for one in _of_period(own, features, model, policy, f"{name} of {period}")
    ]
    return pandas.concat(made, ignore_index=True) if made else empty


def _model_of(meta: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """``meta.indicator.model``, checked."""
    model = meta.get("model")
    needed = ("method", "units", "events", "levels", "false_discovery_rate")
    rate = model.get("false_discovery_rate") if isinstance(model, Mapping) else None
    if (
        not isinstance(model, Mapping)
        or set(needed) != set(model)
        or model["method"] != METHOD
        or not isinstance(rate, float)
        or not 0 < rate < 1
        or not meta.get("breakdown")
    ):
        raise wrong(
            name,
            "its definition names no breakdown, or its model is incomplete",
            f"meta.indicator.model has {', '.join(needed)}; the method is {METHOD}, the rate a "
            "number between 0 and 1.",
            "Z-DIS-046",
        )
    return model


def _of_period(
    cells: pandas.DataFrame,
    features: Mapping[str, Sequence[str]],
    model: Mapping[str, Any],
    policy: ModelPolicy,
    name: str,
) -> Iterator[pandas.DataFrame]:
    """The protected profiles of one period: the country first, then regions by code."""
    import pandas

    level, period = cells["region_level"].iloc[0], cells["reference_period"].iloc[0]
    regions = {str(code): own for code, own in cells.groupby("region_code", sort=True)}
    wanted = dict.fromkeys(_eligible(regions, features, policy), level)
    wanted = wanted if level in model["levels"] else {}
    n_events = int(cells["n_events"].sum())
    if "country" in model["levels"]:
        least = n_parameters(cells, features) + policy.minimum_freedom
        wanted = ({COUNTRY: "country"} if n_events >= least else {}) | wanted
    rest = cells[~cells["region_code"].isin(wanted)]
    fits = {
        code: fit_profile(
            cells if code == COUNTRY else regions[code],
            features,
            policy,
            false_discovery_rate=model["false_discovery_rate"],
            name=f"{name}, {code}",
        ).assign(region_code=code)
        for code in wanted
    }
    if not fits:
        return
    together = [*fits.values()]
    if len(rest) and len(fits) > (COUNTRY in fits):
        # What is left of the country when all regions that are shown are taken from it.
        together.append(_counts(rest, features).assign(region_code="rest"))
    counts = pandas.concat(together, ignore_index=True)
    hidden = hidden_categories(counts, policy)
    for code, rows in fits.items():
        own = hidden[(counts["region_code"] == code).to_numpy()]
        made = protect_profile(rows, policy, own)
        made.insert(0, "region_code", code)
        made.insert(1, "region_level", wanted[code])
        made.insert(2, "reference_period", period)
        yield made


def _counts(patterns: pandas.DataFrame, features: Mapping[str, Sequence[str]]) -> pandas.DataFrame:
    """Units and events per feature and category, those that do not occur included."""
    import pandas

    parts = []
    for feature, categories in features.items():
        own = patterns.groupby(feature)[["n_units", "n_events"]].sum().reindex(list(categories))
        own = own.fillna(0).astype("int64").rename_axis("category").reset_index()
        parts.append(own.assign(feature=feature))
    return pandas.concat(parts, ignore_index=True)
