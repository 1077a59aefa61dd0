"""Random deliveries, a third of them faulty, intake killed at random: nothing lost or invented.

The same with 500 deliveries and ten kills is ``python bench/soak.py``.
"""

from __future__ import annotations

import shutil
import sys

from support import PROJECT

sys.path.append(str(PROJECT / "bench"))

from soak import compare, soak

from zicht.settings import Settings


def test_nothing_is_lost_or_invented(settings: Settings) -> None:
    result = soak(settings, count=60, kills=4, seed=7)
    assert result.wrong == []
    assert result.kills == 4
    ends = [one.end for one in result.dropped]
    assert len(ends) == 60
    assert {"ledger", "quarantine", "unchanged", "landing"} <= set(ends)
    assert 15 <= len(ends) - ends.count("ledger") <= 25
    # And it would have been seen.
    lost = next(settings.raw.glob("nhr/reference_period=*/delivery=*-good"))
    shutil.rmtree(lost)
    name = next(one.name for one in result.dropped if one.end == "quarantine" and one.content)
    (twice,) = settings.quarantine.glob(f"*/{name}")
    shutil.copytree(twice, twice.with_name("copy"), symlinks=True)
    changed = next(path for path in settings.quarantine.glob("*/*/payload/*.csv"))
    changed.write_bytes(b"")
    wrong = "\n".join(compare(settings, result.dropped))
    assert f"nhr {lost.name.removeprefix('delivery=')} ledger: 1 too few" in wrong
    assert f"{name} quarantine: 1 too many" in wrong
    assert f"{changed.parents[1].name}: content is not whole" in wrong
