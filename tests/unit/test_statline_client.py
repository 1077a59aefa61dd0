"""The StatLine client against a real HTTP service that answers, and fails, as CBS does."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from zicht.clock import fixed_clock
from zicht.errors import ConfigurationError, RemoteError
from zicht.statline.client import (
    BASE_URL_VARIABLE,
    DEFAULT_BASE_URL,
    Limits,
    Service,
    StatLineClient,
    client_from_environment,
    parse_modified,
)
from zicht.statline.replay import Fault, FaultKind, Faults, replay

SAMPLE = Path(__file__).parents[2] / "samples" / "statline"
CRIME = "83648NED"
COUNT = "TotaalGeregistreerdeMisdrijven_1"
RATE = "GeregistreerdeMisdrijvenPer1000Inw_3"


class Running:
    """A running service, a client for it, and what happened."""

    def __init__(self, url: str, faults: Faults, limits: Limits, requests: list[str]) -> None:
        self.url = url
        self.faults = faults
        self.requests = requests
        self.naps: list[float] = []
        self.client = StatLineClient(
            url,
            limits=limits,
            sleep=self.naps.append,
            clock=fixed_clock(datetime(2025, 4, 30, 12, 0, 0, tzinfo=UTC)),
        )


@contextmanager
def running(
    *faults: Fault,
    limits: Limits | None = None,
    page_size: int = 10_000,
    api_limit: int = 10_000,
) -> Iterator[Running]:
    """The sample, served, with things going wrong."""
    pending = Faults(*faults)
    requests: list[str] = []
    with replay(
        SAMPLE,
        page_size=page_size,
        api_limit=api_limit,
        faults=pending,
        on_request=requests.append,
    ) as url:
        service = Running(url, pending, limits or Limits(attempts=4), requests)
        with service.client:
            yield service


def failure(service: Running, table: str = CRIME) -> RemoteError:
    """The error that reading a table ends in."""
    with pytest.raises(RemoteError) as caught:
        list(service.client.rows(table))
    return caught.value


def test_table_info_gives_title_and_the_moment_in_utc() -> None:
    with running() as service:
        info = service.client.table_info(CRIME)
    assert info.title == "Geregistreerde criminaliteit; soort misdrijf, regio"
    assert info.modified == datetime(2025, 4, 1, 0, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-01-15T02:00:00", datetime(2025, 1, 15, 1, tzinfo=UTC)),
        ("2025-07-15T02:00:00", datetime(2025, 7, 15, 0, tzinfo=UTC)),
        # The clocks skip this hour, and have this one twice.
        ("2025-03-30T02:00:00", datetime(2025, 3, 30, 1, tzinfo=UTC)),
        ("2025-10-26T02:00:00", datetime(2025, 10, 26, 0, tzinfo=UTC)),
        ("2025-07-15T02:00:00Z", datetime(2025, 7, 15, 2, tzinfo=UTC)),
        ("2025-07-15T02:00:00.123", datetime(2025, 7, 15, 0, tzinfo=UTC)),
    ],
)
def test_modified_is_dutch_local_time(text: str, moment: datetime) -> None:
    assert parse_modified(text) == moment


def test_properties_tell_codes_from_figures() -> None:
    with running() as service:
        kinds = {p.key: p.kind for p in service.client.properties(CRIME)}
        measures = [p.key for p in service.client.properties(CRIME) if p.is_measure]
    assert kinds["SoortMisdrijf"] == "Dimension"
    assert kinds["RegioS"] == "GeoDimension"
    assert kinds["Perioden"] == "TimeDimension"
    assert len(measures) == 6
    assert COUNT in measures


def test_periods_have_the_status_that_the_service_gives() -> None:
    with running() as service:
        statuses = {p.key: p.status for p in service.client.periods(CRIME)}
        without = {p.status for p in service.client.periods("85383NED")}
    assert statuses["2013JJ00"] == "Definitief"
    assert statuses["2024JJ00"] == "Voorlopig"
    assert without == {None}


def test_codes_keep_their_padding() -> None:
    with running() as service:
        codes = service.client.codes(CRIME, "RegioS")
    assert "NL01  " in codes
    assert "GM0363" in codes


def test_figures_come_as_whole_numbers_or_exact_decimals() -> None:
    with running() as service:
        rows = list(service.client.rows(CRIME, filters={"Perioden": "2024JJ00"}))
    amsterdam = next(row for row in rows if row["RegioS"] == "GM0363")
    assert amsterdam[COUNT] == 83290
    assert isinstance(amsterdam[COUNT], int)
    assert amsterdam[RATE] == Decimal("89.4")
    assert isinstance(amsterdam[RATE], Decimal)
    assert next(row for row in rows if row["RegioS"] == "GM0055")[COUNT] is None


def test_select_and_filter_are_left_to_the_service() -> None:
    with running() as service:
        rows = list(
            service.client.rows(
                CRIME,
                select=["RegioS", COUNT],
                filters={"RegioS": "NL01  ", "Perioden": "2024JJ00"},
            )
        )
    assert rows == [{"RegioS": "NL01  ", COUNT: 811885}]


def test_a_quote_in_a_code_does_not_break_out_of_the_filter() -> None:
    with running() as service:
        rows = list(service.client.rows(CRIME, filters={"RegioS": "x' or RegioS eq 'GM0363"}))
    assert rows == []


@pytest.mark.parametrize("page_size", [1, 100, 108, 323, 324, 325])
def test_pages_are_followed_to_the_end(page_size: int) -> None:
    with running(page_size=page_size) as service:
        pages = list(service.client.pages(CRIME))
    ids = [row["ID"] for page in pages for row in page]
    assert [len(page) for page in pages[:-1]] == [page_size] * (len(pages) - 1)
    assert len(pages) == -(-324 // page_size)
    assert len(ids) == len(set(ids)) == 324


def test_options_survive_on_later_pages() -> None:
    with running(page_size=5) as service:
        pages = list(
            service.client.pages(
                CRIME, select=["RegioS", "Perioden"], filters={"Perioden": "2024JJ00"}
            )
        )
    rows = [row for page in pages for row in page]
    assert len(rows) == 27
    assert all(set(row) == {"RegioS", "Perioden"} for row in rows)
    assert {row["Perioden"] for row in rows} == {"2024JJ00"}


def test_top_and_skip_hold_across_pages() -> None:
    with running(page_size=10) as service:
        everything = [row["ID"] for row in service.client.rows(CRIME)]
        pages = list(service.client.pages(CRIME, top=25, skip=7))
    assert [row["ID"] for page in pages for row in page] == everything[7:32]


def test_pages_are_asked_for_only_when_they_are_needed() -> None:
    with running(page_size=10) as service:
        rows = service.client.rows(CRIME)
        for _ in range(15):
            next(rows)
        assert len(service.requests) == 2


def test_the_api_refuses_more_rows_than_its_limit() -> None:
    with running(api_limit=100) as service:
        with pytest.raises(RemoteError, match="More than 100 rows") as caught:
            list(service.client.rows(CRIME, service=Service.API))
        few = service.client.pages(CRIME, service=Service.API, top=100)
        assert [len(page) for page in few] == [100]
        assert len(list(service.client.rows(CRIME))) == 324
    assert caught.value.code == "Z-NET-003"


def test_an_unknown_table_is_not_tried_twice() -> None:
    with running() as service:
        error = failure(service, "99999NED")
        assert len(service.requests) == 1
    assert error.code == "Z-NET-002"
    assert "99999NED" in str(error)


@pytest.mark.parametrize(
    "kind", [FaultKind.UNAVAILABLE, FaultKind.TOO_MANY, FaultKind.DROP, FaultKind.TRUNCATED]
)
def test_passing_failures_are_sat_out(kind: FaultKind) -> None:
    with running(Fault(kind, times=3)) as service:
        assert len(list(service.client.rows(CRIME))) == 324
        assert len(service.requests) == 4
        assert len(service.naps) == 3


def test_a_failing_page_in_the_middle_is_tried_again_without_losing_or_doubling_rows() -> None:
    fault = Fault(FaultKind.TRUNCATED, times=2, match="$skip=200")
    with running(fault, page_size=100) as service:
        ids = [row["ID"] for row in service.client.rows(CRIME)]
        assert len(service.naps) == 2
    assert len(ids) == len(set(ids)) == 324


def test_a_service_that_is_slow_once_is_tried_again() -> None:
    fault = Fault(FaultKind.DELAY, value="0.6")
    with running(fault, limits=Limits(attempts=2, timeout=0.2)) as service:
        assert len(list(service.client.rows(CRIME))) == 324
        assert len(service.naps) == 1


@pytest.mark.parametrize(
    "kind", [FaultKind.UNAVAILABLE, FaultKind.TOO_MANY, FaultKind.DROP, FaultKind.TRUNCATED]
)
def test_failures_that_last_end_in_an_error_after_so_many_tries(kind: FaultKind) -> None:
    with running(Fault(kind, times=99)) as service:
        error = failure(service)
        assert len(service.requests) == 4
    assert error.code == "Z-NET-001"
    assert "4 tries" in str(error)
    assert CRIME in str(error)


def test_a_host_that_does_not_listen_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    naps: list[float] = []
    with (
        StatLineClient(
            f"http://127.0.0.1:{port}", limits=Limits(attempts=3), sleep=naps.append
        ) as client,
        pytest.raises(RemoteError, match="ConnectError") as caught,
    ):
        client.table_info(CRIME)
    assert caught.value.code == "Z-NET-001"
    assert len(naps) == 2


def test_waits_double_and_carry_jitter() -> None:
    limits = Limits(attempts=5, first_wait=2.0, longest_wait=12.0)
    with running(Fault(FaultKind.UNAVAILABLE, times=4), limits=limits) as service:
        list(service.client.rows(CRIME))
        naps = service.naps
    assert 2 <= naps[0] <= 4
    assert 4 <= naps[1] <= 6
    assert 8 <= naps[2] <= 10
    assert 12 <= naps[3] <= 14
    assert any(nap != int(nap) for nap in naps[:3])


@pytest.mark.parametrize("value", ["7", "Wed, 30 Apr 2025 12:00:07 GMT"])
@pytest.mark.parametrize("kind", [FaultKind.TOO_MANY, FaultKind.UNAVAILABLE])
def test_retry_after_is_obeyed(kind: FaultKind, value: str) -> None:
    with running(Fault(kind, value=value)) as service:
        list(service.client.rows(CRIME))
        assert service.naps == [7.0]


@pytest.mark.parametrize("value", ["later", "-5", "Wed, 31 Apr 2025 12:00:07 GMT"])
def test_a_retry_after_without_sense_is_not_obeyed(value: str) -> None:
    with running(Fault(FaultKind.TOO_MANY, value=value)) as service:
        list(service.client.rows(CRIME))
        assert len(service.naps) == 1
        assert 1 <= service.naps[0] <= 2


def test_a_retry_after_that_is_too_long_is_reported_at_once() -> None:
    with running(Fault(FaultKind.TOO_MANY, value="3600")) as service:
        error = failure(service)
        assert service.naps == []
    assert error.code == "Z-NET-001"
    assert "3600 seconds" in str(error)


def test_garbage_is_refused() -> None:
    with running(Fault(FaultKind.GARBAGE)) as service:
        error = failure(service)
        assert service.naps == []
    assert error.code == "Z-NET-003"
    assert "not JSON" in str(error)


@pytest.mark.parametrize(
    "link",
    [
        "http://example.org/ODataFeed/odata/83648NED/TypedDataSet?$skip=10",
        "http://127.0.0.1.example.org/ODataFeed/odata/83648NED/TypedDataSet",
        "http://127.0.0.1:1/ODataFeed/odata/83648NED/TypedDataSet",
        "http://127.0.0.1:99999/",
        "//example.org/ODataFeed",
        "file:///etc/hostname",
    ],
)
def test_a_link_to_another_host_is_not_followed(link: str) -> None:
    with running(Fault(FaultKind.LINK, value=link)) as service:
        error = failure(service)
        assert len(service.requests) == 1
    assert error.code == "Z-NET-003"
    assert "links on to" in str(error)


def test_another_name_for_the_same_machine_is_another_host() -> None:
    with running() as service:
        elsewhere = service.url.replace("127.0.0.1", "localhost")
        service.faults.add(Fault(FaultKind.LINK, value=f"{elsewhere}/ODataFeed"))
        assert "links on to 'localhost" in str(failure(service))
        assert len(service.requests) == 1


def test_a_link_with_credentials_is_not_followed() -> None:
    with running() as service:
        host = service.url.removeprefix("http://")
        service.faults.add(Fault(FaultKind.LINK, value=f"http://user:pw@{host}/ODataFeed"))
        assert failure(service).code == "Z-NET-003"
        assert len(service.requests) == 1


def test_a_link_to_the_same_host_by_another_scheme_keeps_the_configured_scheme() -> None:
    rest = "/ODataFeed/odata/83648NED/TypedDataSet?$format=json&$skip=320"
    with running() as service:
        service.faults.add(
            Fault(FaultKind.LINK, value=service.url.replace("http:", "https:") + rest)
        )
        assert len(list(service.client.rows(CRIME))) == 324 + 4


def test_links_in_a_circle_are_noticed() -> None:
    link = "TypedDataSet?$format=json&$skip=320"
    with running(Fault(FaultKind.LINK, times=99, value=link)) as service:
        error = failure(service)
        assert len(service.requests) == 2
    assert "do not end" in str(error)


def test_an_answer_that_is_too_large_is_not_read() -> None:
    with running(limits=Limits(answer_bytes=10_000)) as service:
        error = failure(service)
    assert error.code == "Z-NET-003"
    assert "10000 bytes" in str(error)


@pytest.mark.parametrize(
    "address",
    ["", "opendata.cbs.nl", "ftp://opendata.cbs.nl", "https://", "http://x:notaport", "http://x?y"],
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StatLineClient(address)
    assert caught.value.code == "Z-CFG-060"


@pytest.mark.parametrize("table", ["", "../x", "83648NED/TypedDataSet", "a b", "a?b"])
def test_a_table_name_cannot_change_the_address(table: str) -> None:
    with running() as service:
        with pytest.raises(ConfigurationError):
            service.client.table_info(table)
        assert service.requests == []


def test_the_environment_says_which_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(BASE_URL_VARIABLE, raising=False)
    with client_from_environment() as client:
        assert client.base_url == DEFAULT_BASE_URL
    with running() as service:
        monkeypatch.setenv(BASE_URL_VARIABLE, service.url + "/")
        with client_from_environment() as client:
            assert client.table_info(CRIME).table == CRIME
