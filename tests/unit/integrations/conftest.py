"""What all tests of the outside world share."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from slakeeper.sla.notification import Notification, NotificationKind
from slakeeper.sla.policy import Severity
from tests.unit.integrations.fake_http import CERTIFICATE, FakeServer


@pytest.fixture
def notification() -> Notification:
    return Notification(
        id="opened-4711",
        kind=NotificationKind.OPENED,
        sla_id="api_gold",
        sla_name="API, gold customers",
        severity=Severity.CRITICAL,
        subject="[critical] API, gold customers: latency",
        body="API: latency does not keep its promise.\n\n  promised  below 250 ms\n  measured  312 ms\n",
        dedup_key="api_gold.latency.1700000000000",
        violation_ids=("api_gold.latency.1700000000000",),
        at_ms=1_700_000_000_000,
        details={"violations": [{"metric_name": "latency", "actual_value": 312.0}]},
    )


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer() as running:
        yield running


@pytest.fixture
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the fakes' certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))


@pytest.fixture(autouse=True)
def nowhere_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """``nowhere.invalid`` has no address, also where there is no resolver to say so."""
    real = socket.getaddrinfo

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host == "nowhere.invalid":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    end_s = time.monotonic() + 5
    left = set(threading.enumerate()) - before
    for thread in left:
        thread.join(max(end_s - time.monotonic(), 0))
    assert not [thread.name for thread in left if thread.is_alive()]
