"""The bells between DAGs, as Airflow assets. An event says "look", never what there is to do."""

from __future__ import annotations

from collections.abc import Iterable

from airflow.sdk import Asset, AssetAlias, AssetAny, AssetWatcher

from zicht.orchestration.environment import Rhythm
from zicht.orchestration.triggers import LandingTrigger

LEDGER = Asset(name="ledger", uri="x-zicht://ledger")
"""Accepted deliveries that no refresh has planned yet; rung by the sweep."""


def landing_asset(source: str) -> Asset:
    """Complete deliveries of ``source`` that wait for intake; without a watcher, for ringing."""
    return Asset(name=f"landing_{source}", uri=f"x-zicht://landing/{source}")


def watched_landing_asset(source: str, rhythm: Rhythm) -> Asset:
    """The same asset, watched by the triggerer: what starts the intake of ``source``."""
    bell = landing_asset(source)
    watcher = AssetWatcher(
        name=f"landing_{source}",
        trigger=LandingTrigger(source=source, poll=rhythm.poll, repeat=rhythm.repeat),
    )
    return Asset(name=bell.name, uri=bell.uri, watchers=[watcher])


def raw_asset(source: str) -> Asset:
    """Accepted deliveries of ``source``."""
    return Asset(name=f"raw_{source}", uri=f"x-zicht://raw/{source}")


def any_accepted(sources: Iterable[str]) -> AssetAny:
    """What starts a refresh: a newly accepted delivery of any source."""
    return AssetAny(LEDGER, *(raw_asset(source) for source in sources))


def bell_rope(task_id: str) -> AssetAlias:
    """The outlet of a task that decides while it runs which bells to ring, if any.

    An asset as outlet would be rung by every success; an alias rings only what is added to it.
    """
    return AssetAlias(name=f"rung_by_{task_id}")
