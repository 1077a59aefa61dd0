"""Primary rules: which cells are unsafe in themselves, and how far what is known must reach."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from zicht.disclosure import magnitudes as rules
from zicht.disclosure.spec import CellPolicy, GroupDisclosure, Spec
from zicht.disclosure.tables import Bools, Floats, Ints, Table

FREQUENCY = "minimum_frequency"
ZERO = "zero"
DOMINANCE = "dominance"
P_PERCENT = "p_percent"
GROUP = "group_disclosure"
INCOME_UNITS = "income_minimum_units"
INCOME_SHARE = "income_largest_share"
MAGNITUDE_RULES = (DOMINANCE, P_PERCENT, INCOME_SHARE)
"""Rules of which the interval is relative to the sum."""


@dataclass(frozen=True)
class Primary:
    """What the primary rules found, on the grid of the table.

    Attributes:
        by_rule: cells that each rule hits.
        low: value down to which the interval of the count must reach; nan for no demand.
        high: value up to which it must reach; nan for no demand.
        loose_zeros: zeros that may be hidden, because they would give a category away.
    """

    by_rule: dict[str, Bools]
    low: Floats
    high: Floats
    loose_zeros: Bools = field(default_factory=lambda: np.zeros(0, dtype=bool))

    @property
    def cells(self) -> Bools:
        """Cells that any rule hits."""
        return np.asarray(np.logical_or.reduce(list(self.by_rule.values())))

    @property
    def about_magnitude(self) -> Bools:
        """Cells that a rule for magnitudes hits."""
        found = [cells for rule, cells in self.by_rule.items() if rule in MAGNITUDE_RULES]
        return np.asarray(np.logical_or.reduce([np.zeros(self.low.shape, dtype=bool), *found]))

    def rules_of(self, cell: int) -> list[str]:
        """Names of the rules that hit a cell."""
        return [rule for rule, cells in self.by_rule.items() if cells.ravel()[cell]]


def group_dimensions(table: Table, rule: GroupDisclosure) -> tuple[str, ...]:
    """Dimensions whose categories group disclosure is about."""
    flat = [axis.name for axis in table.axes if axis.total is not None and not axis.steps]
    return rule.dimensions or tuple(flat)


def find_group(table: Table, rule: GroupDisclosure) -> tuple[Bools, Bools, Ints]:
    """Categories that hold nearly all of their margin.

    Returns:
        the categories; the zeros beside those that hold all of it; the largest value that would
        be safe (only where a category is hit).
    """
    hit = np.zeros(table.shape, dtype=bool)
    zeros = np.zeros(table.shape, dtype=bool)
    safe = np.zeros(table.shape, dtype=np.int64)
    names = group_dimensions(table, rule)
    for number, axis in enumerate(table.axes):
        if axis.name not in names:
            continue
        count = np.moveaxis(table.count, number, 0)
        at, zero, most = (np.moveaxis(one, number, 0) for one in (hit, zeros, safe))
        for total, parts in axis.lines:
            if len(parts) < 2:
                continue
            margin = count[total]
            value = count[parts]
            unsafe = (value > 0) & (
                (value >= rule.share * margin) | (margin - value < rule.minimum)
            )
            at[parts] |= unsafe
            alone = (unsafe & (value == margin)).any(axis=0)
            zero[parts] |= (value == 0) & alone
            limit = np.minimum(np.ceil(rule.share * margin) - 1, margin - rule.minimum)
            most[parts] = np.where(unsafe, np.maximum(limit, 0), most[parts]).astype(np.int64)
    return hit, zeros, safe


def find_primary(table: Table, spec: Spec) -> Primary:
    """All primary cells by the rules of the policy, with the demands on their intervals."""
    policy = spec.policy
    count = table.count
    small = (count > 0) & (table.n_behind < policy.minimum_frequency)
    by_rule = {FREQUENCY: small}
    if not policy.publish_zeros:
        by_rule[ZERO] = count == 0
    magnitudes = table.magnitudes
    if magnitudes is not None:
        if policy.dominance is not None:
            by_rule[DOMINANCE] = rules.dominated(magnitudes, policy.dominance)
        if policy.p_percent is not None:
            by_rule[P_PERCENT] = rules.estimable(magnitudes, policy.p_percent)
        if policy.income is not None:
            by_rule[INCOME_UNITS] = rules.too_few_for_income(count, policy.income)
            by_rule[INCOME_SHARE] = rules.too_large_for_income(magnitudes, policy.income)
    low, high = _reach(table, policy, small)
    zeros = np.zeros(table.shape, dtype=bool)
    if policy.group_disclosure is not None:
        hit, zeros, safe = find_group(table, policy.group_disclosure)
        by_rule[GROUP] = hit
        if policy.group_disclosure.action != "hide":
            zeros = np.zeros(table.shape, dtype=bool)
        elif policy.protection == "interval":
            wanted = np.where(hit, safe, np.inf)
            low = np.where(hit, np.fmin(low, wanted), low)
    return Primary(by_rule, low, high, zeros)


def _reach(table: Table, policy: CellPolicy, small: Bools) -> tuple[Floats, Floats]:
    nothing = np.full(table.shape, np.nan)
    if policy.protection != "interval":
        return nothing, nothing.copy()
    known = table.n_nonzero if policy.zeros_are_known else np.ones(table.shape, dtype=np.int64)
    least = np.minimum(np.maximum(known, 1), table.count)
    unsafe = small if policy.publish_zeros else small | (table.count == 0)
    high = np.where(unsafe, float(policy.minimum_frequency), np.nan)
    return np.where(small, least.astype(np.float64), np.nan), high
