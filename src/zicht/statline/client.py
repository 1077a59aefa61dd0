"""Reads the OData v3 service of Statistics Netherlands (CBS).

There are two services under one base address (https://opendata.cbs.nl):

* ``ODataApi`` for metadata: ``TableInfos``, ``DataProperties``, one entity set per dimension. It
  refuses answers of more than 10,000 rows.
* ``ODataFeed`` for the figures: pages of 10,000 rows, chained by ``odata.nextLink``. Without
  ``$format=json`` it answers in Atom.

Both answer with codes, not labels; codes may be padded with blanks (``NL01  ``). Numbers with a
fraction are read as :class:`~decimal.Decimal`, so that no digit is lost or added.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Self
from urllib.parse import SplitResult, quote, urljoin, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import httpx
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from zicht.clock import Clock, system_clock
from zicht.errors import ConfigurationError, RemoteError

DEFAULT_BASE_URL = "https://opendata.cbs.nl"
BASE_URL_VARIABLE = "ZICHT_STATLINE_URL"

_AMSTERDAM = ZoneInfo("Europe/Amsterdam")
_NAME = re.compile(r"[A-Za-z0-9_]+")
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_TOO_MANY_REQUESTS = 429

Value = str | int | Decimal | None
"""What a cell of a table can be: a code or text, a number, or missing."""
Row = Mapping[str, Value]


class Service(StrEnum):
    """The two services under the base address; the value is the path."""

    API = "ODataApi"
    FEED = "ODataFeed"


@dataclass(frozen=True)
class Limits:
    """How patient the client is, and how much it takes in.

    Attributes:
        attempts: tries per request, the first included.
        first_wait: seconds before the second try; doubles with every further one.
        longest_wait: seconds, jitter aside; also the longest ``Retry-After`` that is obeyed.
        timeout: seconds for connecting, and for each wait for bytes.
        answer_bytes: largest answer, in bytes, that is read.
        pages: most pages of one table; a service that never stops linking is cut off.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0
    timeout: float = 60.0
    answer_bytes: int = 128 * 1024 * 1024
    pages: int = 10_000


@dataclass(frozen=True)
class TableInfo:
    """What ``TableInfos`` says of a table.

    Attributes:
        table: identifier, for example ``83648NED``.
        title: Dutch title.
        modified: when CBS last replaced the table (UTC).
    """

    table: str
    title: str
    modified: datetime


@dataclass(frozen=True)
class DataProperty:
    """One column of a table.

    Attributes:
        key: name of the column in ``TypedDataSet``.
        kind: ``Dimension``, ``GeoDimension``, ``TimeDimension``, ``Topic`` and the like.
        title: Dutch title.
        unit: unit of a topic, empty for a dimension.
    """

    key: str
    kind: str
    title: str
    unit: str = ""

    @property
    def is_measure(self) -> bool:
        """Whether the column holds figures, not codes."""
        return self.kind == "Topic"


@dataclass(frozen=True)
class PeriodInfo:
    """One entry of the time dimension: code (``2024JJ00``), title and status, blanks removed."""

    key: str
    title: str
    status: str | None


class _Passing(Exception):
    """A failure that may be over in a moment.

    Args:
        reason: what happened, for the message of the final error.
        wait: seconds that the service asked for, if it did.
    """

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


def parse_modified(text: str) -> datetime:
    """Reads ``TableInfos.Modified``, which CBS writes in Dutch local time, and returns UTC.

    A time that the clocks skip in March counts as winter time, one that occurs twice in October as
    summer time.

    Raises:
        ValueError: if ``text`` is not an ISO 8601 date-time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_AMSTERDAM)
    return moment.astimezone(UTC).replace(microsecond=0)


def _retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds from a ``Retry-After`` header: a number of seconds or an HTTP date."""
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max((until - now) / timedelta(seconds=1), 0.0)


def _checked_base(base_url: str) -> str:
    try:
        parts = urlsplit(base_url)
        usable = (
            parts.scheme in {"http", "https"}
            and bool(parts.hostname)
            # Reading the port checks it.
            and (parts.port is None or parts.port > 0)
            and not (parts.query or parts.fragment or parts.username)
        )
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(
            f"{BASE_URL_VARIABLE} is {base_url!r}, which is not a web address.",
            code="Z-CFG-060",
            remedy=f"Set it to something like {DEFAULT_BASE_URL}, or unset it.",
        )
    return base_url.rstrip("/")


def _has_default_port(parts: SplitResult) -> bool:
    return parts.port in {None, {"http": 80, "https": 443}.get(parts.scheme)}


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a number that can be published")


def _odata_message(body: bytes) -> str:
    """The sentence in an OData error, or the beginning of whatever was sent."""
    text = body[:300].decode("utf-8", errors="replace").strip()
    try:
        return str(json.loads(body)["odata.error"]["message"]["value"])
    except (ValueError, KeyError, TypeError):
        return text


class StatLineClient:
    """Reads tables of StatLine. Use it as a context manager; it holds one connection pool.

    Args:
        base_url: address of the service, without ``/ODataApi``.
        limits: retries, time-outs and sizes.
        sleep: waits a number of seconds between tries.
        clock: only for a ``Retry-After`` that names a date.

    Raises:
        ConfigurationError: Z-CFG-060 if ``base_url`` is not a web address.
    """

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Clock = system_clock,
    ) -> None:
        self.base_url = _checked_base(base_url)
        self._base = urlsplit(self.base_url)
        self._limits = limits or Limits()
        self._sleep = sleep
        self._clock = clock
        first, longest = self._limits.first_wait, self._limits.longest_wait
        self._backoff = wait_exponential(multiplier=first, max=longest) + wait_random(0, first)
        self._http = httpx.Client(
            timeout=self._limits.timeout,
            headers={"Accept": "application/json", "User-Agent": "zicht"},
            follow_redirects=False,
            # A proxy from the environment knows nothing of a service on this machine.
            trust_env=self._base.hostname not in _LOOPBACK,
        )

    def __enter__(self) -> Self:
        """The client itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the connections."""
        self.close()

    def close(self) -> None:
        """Closes the connections."""
        self._http.close()

    def table_info(self, table: str) -> TableInfo:
        """Title and moment of replacement of a table.

        Raises:
            RemoteError: Z-NET-001 unreachable, Z-NET-002 no such table, Z-NET-003 another answer
                than expected.
        """
        entries = list(self._entities(table, "TableInfos"))
        try:
            entry = entries[0]
            return TableInfo(
                table=table,
                title=str(entry.get("Title", "")).strip(),
                modified=parse_modified(str(entry["Modified"])),
            )
        except (IndexError, KeyError, ValueError) as error:
            raise _unexpected(
                f"TableInfos of {table}", f"no usable 'Modified' in it: {error!r}"
            ) from error

    def properties(self, table: str) -> tuple[DataProperty, ...]:
        """The columns of a table, in its own order.

        Raises:
            RemoteError: as :meth:`table_info`.
        """
        return tuple(
            DataProperty(
                key=str(entry["Key"]).strip(),
                kind=str(entry.get("Type", "")).strip(),
                title=str(entry.get("Title", "")).strip(),
                unit=str(entry.get("Unit") or "").strip(),
            )
            for entry in self._entities(table, "DataProperties")
            # Headings above groups of topics have no key.
            if entry.get("Key")
        )

    def periods(self, table: str, dimension: str = "Perioden") -> tuple[PeriodInfo, ...]:
        """The time dimension of a table, with the status that CBS gives each period.

        Raises:
            RemoteError: as :meth:`table_info`.
        """
        return tuple(
            PeriodInfo(
                key=str(entry["Key"]).strip(),
                title=str(entry.get("Title", "")).strip(),
                status=str(entry.get("Status") or "").strip() or None,
            )
            for entry in self._entities(table, dimension)
            if entry.get("Key")
        )

    def codes(self, table: str, dimension: str) -> tuple[str, ...]:
        """The codes of a dimension exactly as they are stored, padding included.

        Raises:
            RemoteError: as :meth:`table_info`.
        """
        return tuple(str(e["Key"]) for e in self._entities(table, dimension) if e.get("Key"))

    def pages(
        self,
        table: str,
        *,
        select: Sequence[str] = (),
        filters: Mapping[str, str] | None = None,
        service: Service = Service.FEED,
        top: int | None = None,
        skip: int | None = None,
    ) -> Iterator[list[Row]]:
        """The rows of ``TypedDataSet``, page by page as the service sends them.

        Args:
            table: identifier of the table.
            select: columns to ask for; all when empty.
            filters: per dimension column the code that rows must have, as it is stored.
            service: the feed for whole tables; the API refuses more than 10,000 rows.
            top: at most this many rows.
            skip: leave out this many rows first.

        Raises:
            RemoteError: as :meth:`table_info`; Z-NET-003 also for a link to another host.
        """
        options: dict[str, str] = {}
        if select:
            options["$select"] = ",".join(select)
        if filters:
            options["$filter"] = " and ".join(
                f"{column} eq '{code.replace(chr(39), chr(39) * 2)}'"
                for column, code in sorted(filters.items())
            )
        if top is not None:
            options["$top"] = str(top)
        if skip is not None:
            options["$skip"] = str(skip)
        yield from self._pages(table, "TypedDataSet", service, options)

    def rows(
        self,
        table: str,
        *,
        select: Sequence[str] = (),
        filters: Mapping[str, str] | None = None,
        service: Service = Service.FEED,
    ) -> Iterator[Row]:
        """The rows of ``TypedDataSet`` one by one; only one page is held at a time.

        Raises:
            RemoteError: as :meth:`pages`.
        """
        for page in self.pages(table, select=select, filters=filters, service=service):
            yield from page

    def _entities(self, table: str, entity: str) -> Iterator[Row]:
        for page in self._pages(table, entity, Service.API, {}):
            yield from page

    def _pages(
        self, table: str, entity: str, service: Service, options: Mapping[str, str]
    ) -> Iterator[list[Row]]:
        url: str | None = self._address(table, entity, service, options)
        visited: set[str] = set()
        what = f"{entity} of {table}"
        while url is not None:
            if url in visited or len(visited) >= self._limits.pages:
                raise _unexpected(what, f"the links between its pages do not end ({url})")
            visited.add(url)
            document = self._get(url, what, table)
            values = document.get("value")
            if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
                raise _unexpected(what, "the answer has no list 'value' of rows")
            yield values
            link = document.get("odata.nextLink")
            url = self._next(url, link, what) if link else None

    def _address(
        self, table: str, entity: str, service: Service, options: Mapping[str, str]
    ) -> str:
        for name in (table, entity):
            if not _NAME.fullmatch(name):
                raise ConfigurationError(
                    f"{name!r} cannot be the name of a StatLine table or column.",
                    code="Z-CFG-061",
                    remedy="Use letters, digits and underscores only, for example 83648NED.",
                )
        query = "&".join(
            f"{key}={quote(value, safe=chr(39) + ',()')}"
            for key, value in {"$format": "json", **options}.items()
        )
        return f"{self.base_url}/{service.value}/odata/{table}/{entity}?{query}"

    def _next(self, current: str, link: object, what: str) -> str:
        """The address of the next page; only on the host that was configured.

        CBS has been seen to link from https to http: the scheme of the base address is kept.
        """
        address = urljoin(current, str(link))
        try:
            parts = urlsplit(address)
            same_port = parts.port == self._base.port or (
                _has_default_port(parts) and _has_default_port(self._base)
            )
        except ValueError as error:
            raise _unexpected(what, f"it links on to {address!r}: {error}") from error
        if parts.hostname != self._base.hostname or not same_port or parts.username:
            raise _unexpected(
                what,
                f"it links on to {parts.netloc!r}, which is not the configured host "
                f"{self._base.netloc!r}",
            )
        return urlunsplit((self._base.scheme, self._base.netloc, parts.path, parts.query, ""))

    def _get(self, url: str, what: str, table: str) -> Mapping[str, Any]:
        """One answer, tried several times."""
        retrying = Retrying(
            stop=stop_after_attempt(self._limits.attempts),
            wait=self._wait,
            retry=retry_if_exception_type(_Passing),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            body: bytes = retrying(self._get_once, url, what, table)
        except _Passing as error:
            raise RemoteError(
                f"{what} could not be read from {self._base.netloc} in "
                f"{self._limits.attempts} tries: {error}.",
                code="Z-NET-001",
                remedy="Look whether the service is up and reachable from here, and fetch again "
                f"later; {BASE_URL_VARIABLE} says which service is asked.",
            ) from error
        try:
            document = json.loads(body, parse_float=Decimal, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise _unexpected(what, f"it is not JSON: {error}") from error
        if not isinstance(document, dict):
            raise _unexpected(what, "it is not a JSON object")
        return document

    def _get_once(self, url: str, what: str, table: str) -> bytes:
        try:
            with self._http.stream("GET", url) as response:
                body = self._read(response, what)
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise _Passing(f"{type(error).__name__}: {error}") from error
        except httpx.InvalidURL as error:
            raise _unexpected(what, f"its address {url!r} is none: {error}") from error
        status = response.status_code
        if status == _TOO_MANY_REQUESTS or status >= 500:
            wait = _retry_after(response.headers.get("Retry-After"), self._clock())
            if wait is not None and wait > self._limits.longest_wait:
                raise RemoteError(
                    f"{what}: {self._base.netloc} answered {status} and asks to come back after "
                    f"{wait:.0f} seconds; longer than {self._limits.longest_wait:.0f} is not "
                    "waited.",
                    code="Z-NET-001",
                    remedy="Fetch again after that time.",
                )
            raise _Passing(f"it answered {status}", wait)
        if status == 404:
            raise RemoteError(
                f"{what} does not exist at {self._base.netloc} (404).",
                code="Z-NET-002",
                remedy=f"Look whether {table} is still published, under this very identifier.",
            )
        if status != 200:
            where = response.headers.get("Location")
            detail = f"a redirect to {where}" if where else _odata_message(body)
            raise _unexpected(what, f"the service answered {status}: {detail}")
        return body

    def _read(self, response: httpx.Response, what: str) -> bytes:
        """The body, at most as large as agreed: counted after decompression."""
        chunks: list[bytes] = []
        size = 0
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > self._limits.answer_bytes:
                raise _unexpected(what, f"it is larger than {self._limits.answer_bytes} bytes")
            chunks.append(chunk)
        return b"".join(chunks)

    def _wait(self, state: RetryCallState) -> float:
        """Doubling, with jitter so that many clients do not return at once, or what was asked."""
        failure = state.outcome.exception() if state.outcome else None
        if isinstance(failure, _Passing) and failure.wait is not None:
            return failure.wait
        return self._backoff(state)


def _unexpected(what: str, detail: str) -> RemoteError:
    return RemoteError(
        f"{what} is not what was expected: {detail}.",
        code="Z-NET-003",
        remedy="Open the address in a browser; if CBS changed the table or the service, the "
        "contract or the client has to follow.",
    )


def client_from_environment(limits: Limits | None = None) -> StatLineClient:
    """A client for the address in ``ZICHT_STATLINE_URL``, by default that of CBS itself.

    Raises:
        ConfigurationError: Z-CFG-060 if the address cannot be used.
    """
    return StatLineClient(os.environ.get(BASE_URL_VARIABLE) or DEFAULT_BASE_URL, limits=limits)
