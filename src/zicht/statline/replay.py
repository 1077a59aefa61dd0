"""A local HTTP service that answers as the OData v3 service of CBS does, from snapshots.

It is what the demo and the tests fetch from, and it can be served on its own. Known differences:
titles of codes are the codes themselves, only JSON is spoken, and the exact words with which CBS
refuses more than 10,000 rows are not documented, so ours are our own.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from zicht.statline.odata_filter import parse_filter
from zicht.statline.snapshot import Cell, Snapshot, find_tables, load_snapshot

ROWS = "TypedDataSet"
API_LIMIT = 10_000
PAGE_SIZE = 10_000
_SERVICES = {"odataapi": "ODataApi", "odatafeed": "ODataFeed"}
_DATATYPES = {False: "Long", True: "Double"}


class FaultKind(StrEnum):
    """What can go wrong on purpose; what :attr:`Fault.value` means for it stands behind."""

    UNAVAILABLE = "unavailable"  # 503; the Retry-After header, if not empty
    TOO_MANY = "too_many"  # 429; the Retry-After header, if not empty
    DROP = "drop"  # the connection is closed without an answer
    TRUNCATED = "truncated"  # half of the answer, then the connection is closed
    GARBAGE = "garbage"  # 200 with something that is not JSON
    DELAY = "delay"  # a right answer after this many seconds
    LINK = "link"  # a right answer with this as odata.nextLink
    MODIFIED = "modified"  # TableInfos with this as Modified


@dataclass(frozen=True)
class Fault:
    """A fault for the next requests.

    Attributes:
        kind: what goes wrong.
        times: for how many requests.
        match: only for requests whose path and query contain this.
        value: see :class:`FaultKind`.
        after: this many matching requests are answered well first.
    """

    kind: FaultKind
    times: int = 1
    match: str = ""
    value: str = ""
    after: int = 0


class Faults:
    """The faults still to come, shared between a test and the service."""

    def __init__(self, *faults: Fault) -> None:
        self._lock = threading.Lock()
        self._faults = list(faults)

    def add(self, fault: Fault) -> None:
        """Lets something go wrong from now on."""
        with self._lock:
            self._faults.append(fault)

    def take(self, target: str) -> Fault | None:
        """The fault for this request, if any; each counts down."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.match not in target or fault.times <= 0:
                    continue
                if fault.after > 0:
                    self._faults[index] = replace(fault, after=fault.after - 1)
                    continue
                self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


class _Refusal(Exception):
    """An answer other than 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _Library:
    """The snapshots of a folder, each read when it is first asked for."""

    def __init__(self, folder: Path, describe: Path | None, overlay: Path | None) -> None:
        self._files = find_tables(folder)
        self._names = {name.lower(): name for name in self._files}
        self._describe = describe
        self._overlay = overlay
        self._lock = threading.Lock()
        self._read: dict[str, Snapshot] = {}

    def get(self, table: str) -> Snapshot:
        name = self._names.get(table.lower())
        if name is None:
            raise _Refusal(404, f"Table {table} does not exist")
        with self._lock:
            if name not in self._read:
                self._read[name] = load_snapshot(
                    name, self._files[name], describe=self._describe, overlay=self._overlay
                )
            return self._read[name]


@dataclass(frozen=True)
class _Options:
    """Everything that decides how an answer is made."""

    library: _Library
    page_size: int
    api_limit: int
    faults: Faults
    on_request: Callable[[str], None]


def _table_infos(snapshot: Snapshot) -> list[dict[str, Any]]:
    periods = sorted(snapshot.statuses)
    return [
        {
            "ID": 0,
            "Title": snapshot.title,
            "ShortTitle": snapshot.title,
            "Identifier": snapshot.table,
            "Summary": snapshot.summary,
            "Modified": snapshot.modified,
            "ReasonDelivery": "Actualisering",
            "Language": "nl",
            "Catalog": "CBS",
            "Frequency": "Perjaar",
            "Period": f"{periods[0][:4]} - {periods[-1][:4]}" if periods else "",
            "OutputStatus": "Regulier",
            "Source": "CBS",
        }
    ]


def _data_properties(snapshot: Snapshot) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for position, column in enumerate(snapshot.columns):
        entry: dict[str, Any] = {
            "odata.type": f"Cbs.OData.{column.kind}",
            "ID": position,
            "Position": position,
            "ParentID": None,
            "Type": column.kind,
            "Key": column.key,
            "Title": column.key,
            "Description": "",
        }
        if column.kind == "Topic":
            entry |= {
                "Datatype": _DATATYPES[column.decimals > 0],
                "Unit": "",
                "Decimals": column.decimals,
                "Default": "None",
            }
        entries.append(entry)
    return entries


def _dimension(snapshot: Snapshot, key: str) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for code in snapshot.codes(key):
        entry: dict[str, Any] = {"Key": code, "Title": code.strip(), "Description": None}
        if code in snapshot.statuses:
            entry |= {"Title": code[:4], "Status": snapshot.statuses[code]}
        entries.append(entry)
    return entries


def _entities(snapshot: Snapshot, entity: str) -> Sequence[Mapping[str, Any]]:
    if entity == ROWS:
        return snapshot.rows
    if entity == "TableInfos":
        return _table_infos(snapshot)
    if entity == "DataProperties":
        return _data_properties(snapshot)
    if entity in {c.key for c in snapshot.columns if c.kind != "Topic"}:
        return _dimension(snapshot, entity)
    raise _Refusal(404, f"{snapshot.table} has no {entity}")


def _whole(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not query[name].isdigit():
        raise _Refusal(400, f"{name} is {query[name]!r}, not a whole number")
    return int(query[name])


def _filtered(
    rows: Sequence[Mapping[str, Cell]], query: Mapping[str, str]
) -> Sequence[Mapping[str, Cell]]:
    text = query.get("$filter")
    if not text or not rows:
        return rows
    try:
        predicate = parse_filter(text, frozenset(rows[0]))
    except ValueError as error:
        raise _Refusal(400, f"$filter: {error}") from error
    return [row for row in rows if predicate(row)]


def _selected(
    rows: Sequence[Mapping[str, Cell]], query: Mapping[str, str]
) -> Sequence[Mapping[str, Cell]]:
    text = query.get("$select")
    if not text or not rows:
        return rows
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in rows[0]]
    if unknown:
        raise _Refusal(400, f"$select: there is no column {', '.join(unknown)}")
    return [{name: row[name] for name in names} for row in rows]


class _Handler(BaseHTTPRequestHandler):
    """Answers one connection."""

    protocol_version = "HTTP/1.1"
    # Headers and body are two writes: without this each answer waits 40 ms for the other side.
    disable_nagle_algorithm = True
    server_version = "zicht-statline-replay"
    sys_version = ""

    def __init__(self, options: _Options, *args: Any) -> None:
        self._options = options
        super().__init__(*args)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing goes to standard error; ``on_request`` is told instead."""

    def do_GET(self) -> None:
        """Answers one request."""
        self._options.on_request(unquote(self.path))
        fault = self._options.faults.take(unquote(self.path))
        if fault is not None and self._fails(fault):
            return
        try:
            status, content_type, body = 200, "application/json", self._answer(fault)
            if isinstance(body, int):
                content_type, payload = "text/plain", str(body).encode()
            else:
                payload = json.dumps(body, ensure_ascii=False).encode("utf-8")
        except _Refusal as refusal:
            status, content_type = refusal.status, "application/json"
            message = {"lang": "nl-NL", "value": refusal.message}
            payload = json.dumps({"odata.error": {"code": "", "message": message}}).encode("utf-8")
        truncated = fault is not None and fault.kind is FaultKind.TRUNCATED
        self._send(status, content_type, payload, truncated=truncated)

    def _send(
        self,
        status: int,
        content_type: str,
        payload: bytes,
        *,
        truncated: bool = False,
        retry_after: str = "",
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(payload)))
        self.send_header("DataServiceVersion", "3.0")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        try:
            self.end_headers()
            self.wfile.write(payload[: len(payload) // 2] if truncated else payload)
        except (BrokenPipeError, ConnectionResetError):
            truncated = True
        if truncated:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            # The other side was faster.
            return

    def _fails(self, fault: Fault) -> bool:
        """Whether the fault was the whole answer."""
        match fault.kind:
            case FaultKind.UNAVAILABLE:
                self._send(503, "text/plain", b"unavailable", retry_after=fault.value)
            case FaultKind.TOO_MANY:
                self._send(429, "text/plain", b"too many", retry_after=fault.value)
            case FaultKind.DROP:
                self._hang_up()
            case FaultKind.GARBAGE:
                self._send(200, "text/html", b"<html>Onderhoud</html>")
            case FaultKind.DELAY:
                time.sleep(float(fault.value))
                return False
            case _:
                return False
        return True

    def _answer(self, fault: Fault | None) -> dict[str, Any] | int:
        address = urlsplit(self.path)
        parts = [unquote(part) for part in address.path.split("/") if part]
        query = dict(parse_qsl(address.query, keep_blank_values=True))
        if len(parts) < 3 or parts[0].lower() not in _SERVICES or parts[1].lower() != "odata":
            raise _Refusal(404, "Not found")
        service = _SERVICES[parts[0].lower()]
        if service == "ODataFeed" and query.get("$format") != "json":
            raise _Refusal(406, "The feed answers in Atom, which is not replayed: add $format=json")
        snapshot = self._options.library.get(parts[2])
        root = f"http://{self.headers.get('Host', '')}/{service}/odata/{snapshot.table}"
        if len(parts) == 3:
            return self._service_document(snapshot, root)
        rows = _filtered(_entities(snapshot, parts[3]), query)
        if parts[4:] == ["$count"]:
            return len(rows)
        if parts[4:]:
            raise _Refusal(404, "Not found")
        document = self._page(service, rows, query, f"{root}/{parts[3]}")
        document = {"odata.metadata": f"{root}/$metadata#{parts[3]}", **document}
        if fault is not None and fault.kind is FaultKind.LINK:
            document["odata.nextLink"] = fault.value
        if fault is not None and fault.kind is FaultKind.MODIFIED and parts[3] == "TableInfos":
            document["value"] = [{**entry, "Modified": fault.value} for entry in document["value"]]
        return document

    @staticmethod
    def _service_document(snapshot: Snapshot, root: str) -> dict[str, Any]:
        dimensions = [c.key for c in snapshot.columns if c.kind != "Topic"]
        names = ["TableInfos", ROWS, "DataProperties", *dimensions]
        return {
            "odata.metadata": f"{root}/$metadata",
            "value": [{"name": name, "url": f"{root}/{name}"} for name in names],
        }

    def _page(
        self,
        service: str,
        rows: Sequence[Mapping[str, Cell]],
        query: Mapping[str, str],
        address: str,
    ) -> dict[str, Any]:
        """One page: the feed cuts off and links on, the API refuses what is too long."""
        skip, top = _whole(query, "$skip") or 0, _whole(query, "$top")
        wanted = rows[skip:] if top is None else rows[skip : skip + top]
        if service == "ODataApi":
            if len(wanted) > self._options.api_limit:
                limit = self._options.api_limit
                raise _Refusal(400, f"More than {limit} rows: use $top and $skip, or the feed")
            return {"value": _selected(wanted, query)}
        size = self._options.page_size
        document: dict[str, Any] = {"value": _selected(wanted[:size], query)}
        if len(wanted) > size:
            following = {**query, "$skip": str(skip + size)}
            if top is not None:
                following["$top"] = str(top - size)
            options = [f"{k}={quote(v, safe=chr(39) + ',()')}" for k, v in following.items()]
            document["odata.nextLink"] = f"{address}?{'&'.join(options)}"
        return document


def _ignore(_: str) -> None:
    """Is told of requests and does nothing."""


def _server(
    folder: Path,
    port: int,
    host: str,
    describe: Path | None,
    overlay: Path | None,
    page_size: int,
    api_limit: int,
    faults: Faults | None,
    on_request: Callable[[str], None],
) -> ThreadingHTTPServer:
    library = _Library(folder, describe, overlay)
    options = _Options(library, page_size, api_limit, faults or Faults(), on_request)
    server = ThreadingHTTPServer((host, port), partial(_Handler, options))
    server.daemon_threads = True
    return server


@contextmanager
def replay(
    folder: Path,
    port: int = 0,
    *,
    host: str = "127.0.0.1",
    describe: Path | None = None,
    overlay: Path | None = None,
    page_size: int = PAGE_SIZE,
    api_limit: int = API_LIMIT,
    faults: Faults | None = None,
    on_request: Callable[[str], None] = _ignore,
) -> Iterator[str]:
    """Serves the snapshots in ``folder`` while the context lasts.

    Args:
        folder: snapshots, see :mod:`zicht.statline.snapshot`.
        port: 0 takes any free port.
        host: address to listen on.
        describe: folder with ``<TABLE>/table.yaml`` for snapshots that have none beside them.
        overlay: folder with a later version of some tables.
        page_size: rows per page of the feed.
        api_limit: most rows that the API answers with.
        faults: what goes wrong, for tests.
        on_request: is told path and query of each request.

    Yields:
        The base address, for ``ZICHT_STATLINE_URL``.

    Raises:
        ConfigurationError: Z-CFG-062 if the folder has no snapshots.
    """
    server = _server(
        folder, port, host, describe, overlay, page_size, api_limit, faults, on_request
    )
    thread = threading.Thread(target=partial(server.serve_forever, 0.05), daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def serve(
    folder: Path,
    port: int = 8471,
    *,
    host: str = "127.0.0.1",
    describe: Path | None = None,
    overlay: Path | None = None,
    on_ready: Callable[[str], None] = _ignore,
    on_request: Callable[[str], None] = _ignore,
) -> None:
    """Serves until interrupted (Ctrl-C).

    Args:
        folder: as :func:`replay`, like those that follow.
        port: a fixed one, so that it can be written down.
        host: as there.
        describe: as there.
        overlay: as there.
        on_ready: is told the base address once connections are accepted.
        on_request: as there.

    Raises:
        ConfigurationError: Z-CFG-062 if the folder has no snapshots.
    """
    with replay(
        folder, port, host=host, describe=describe, overlay=overlay, on_request=on_request
    ) as base_url:
        on_ready(base_url)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
