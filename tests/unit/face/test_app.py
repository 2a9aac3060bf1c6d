"""The pieces of App: samples are gathered and sent until they are acknowledged; callbacks are called."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from slakeeper import feed, listener
from slakeeper.app import App
from slakeeper.client import Overloaded, RequestFailed
from slakeeper.request import Unavailable
from slakeeper.sla.contract import Sla
from slakeeper.sla.metric import Metric

WAIT_S = 10.0


class FakeCluster:
    """Acknowledges every batch, after what ``answers`` says of the first ones."""

    def __init__(self) -> None:
        self.batches: list[tuple[list[Any], str]] = []
        self.answers: list[Any] = []
        self.gate = threading.Event()
        self.gate.set()
        self.listener: Callable[[str, Any], None] = lambda topic, payload: None
        self.closed = 0
        self.rows: list[dict[str, Any]] = []

    def samples(self, batch: list[Any], batch_id: str) -> Future[Any]:
        self.gate.wait(WAIT_S)
        self.batches.append((list(batch), batch_id))
        answer = self.answers.pop(0) if self.answers else {"accepted": [], "rejected": []}
        future: Future[Any] = Future()
        if isinstance(answer, TypeError):
            raise answer
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
        return future

    def slas(self) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(self.rows)
        return future

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        self.listener = listener

    def close(self) -> None:
        self.closed += 1

    def sent(self) -> list[Any]:
        return [sample for batch, _ in self.batches for sample in batch]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeCluster:
    monkeypatch.setattr(feed, "RESEND_WAIT_S", 0.0)
    return FakeCluster()


@pytest.fixture
def app(cluster: FakeCluster) -> Iterator[App]:
    made = App(cluster, cluster.close)  # type: ignore[arg-type]  # what an App asks of a cluster
    yield made
    cluster.gate.set()
    made.stop()


def test_samples_are_sent_in_order_and_flush_waits_for_them(app: App, cluster: FakeCluster) -> None:
    for number in range(100):
        app.observe("latency", number, ts=number)
    assert app.flush(WAIT_S) == []
    assert [sample[1] for sample in cluster.sent()] == list(range(100))
    assert cluster.sent()[7] == ("latency", 7.0, 7, None, None)


def test_an_unknown_mode_is_refused_with_the_two_there_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'processes' or 'inline'"):
        App.start(data=tmp_path / "data", mode="threads")  # type: ignore[arg-type]
    assert not (tmp_path / "data").exists()


def test_an_unknown_topic_is_refused_with_those_there_are(app: App) -> None:
    with pytest.raises(ValueError, match=r"violation\.opened"):
        app.on("violation.open", print)
    app.on("*", print)
    for topic in listener.TOPICS:
        app.on(topic, print)


def test_what_waits_goes_out_in_one_batch(app: App, cluster: FakeCluster) -> None:
    cluster.gate.clear()
    app.observe("first", 1)
    for number in range(50):
        app.observe("latency", number)
    cluster.gate.set()
    app.flush(WAIT_S)
    assert len(cluster.batches) <= 3


def test_a_batch_is_bounded(app: App, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "BATCH_SAMPLES", 10)
    cluster.gate.clear()
    for number in range(45):
        app.observe("latency", number)
    cluster.gate.set()
    app.flush(WAIT_S)
    assert max(len(batch) for batch, _ in cluster.batches) <= 10
    assert len(cluster.sent()) == 45


def test_a_batch_that_was_not_acknowledged_is_sent_again_under_its_id(app: App, cluster: FakeCluster) -> None:
    cluster.answers = [Unavailable("away"), TimeoutError()]
    app.observe("latency", 1, ts=5)
    app.flush(WAIT_S)
    assert len(cluster.batches) == 3
    assert len({batch_id for _, batch_id in cluster.batches}) == 1
    app.observe("latency", 1, ts=5)
    app.flush(WAIT_S)
    assert len({batch_id for _, batch_id in cluster.batches}) == 2


def test_what_was_rejected_is_told_by_the_next_flush_once(app: App, cluster: FakeCluster) -> None:
    cluster.answers = [{"accepted": [], "rejected": [[0, "unknown_metric"]]}]
    app.observe("speed", 1)
    assert app.flush(WAIT_S) == [("speed", "unknown_metric")]
    assert app.flush(WAIT_S) == []


def test_rejections_that_nobody_asks_for_fill_no_memory(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "KEPT_REJECTIONS", 3)
    app = App(cluster, cluster.close)  # type: ignore[arg-type]  # as above
    cluster.answers = [{"accepted": [], "rejected": [[index, str(index)] for index in range(5)]}]
    cluster.gate.clear()
    for _ in range(5):
        app.observe("speed", 1)
    cluster.gate.set()
    app.flush(WAIT_S)
    assert len(app.flush(WAIT_S)) <= 3
    app.stop()


def test_a_failure_is_raised_by_flush_once_and_later_samples_go_on(app: App, cluster: FakeCluster) -> None:
    cluster.answers = [RequestFailed("forbidden", "no")]
    app.observe("latency", 1)
    with pytest.raises(RequestFailed, match="no"):
        app.flush(WAIT_S)
    app.observe("latency", 2)
    assert app.flush(WAIT_S) == []


def test_a_batch_is_given_up_after_some_time(
    app: App, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "RESEND_FOR_S", -1.0)
    cluster.answers = [Unavailable("away")]
    app.observe("latency", 1)
    with pytest.raises(RequestFailed, match="away"):
        app.flush(WAIT_S)


def test_an_error_nobody_thought_of_ends_neither_the_feed_nor_flush(app: App, cluster: FakeCluster) -> None:
    cluster.answers = [TypeError("cannot be packed")]
    app.observe("latency", 1)
    with pytest.raises(RequestFailed, match="cannot be packed"):
        app.flush(WAIT_S)
    app.observe("latency", 2)
    app.flush(WAIT_S)
    assert len(cluster.batches) == 2


@pytest.mark.parametrize(
    ("metric", "value", "more"),
    [("latency", "1", {}), ("latency", None, {}), ("latency", [1], {}), (7, 1.0, {}), ("latency", 1.0, {"ts": 1.5}),
     ("latency", 1.0, {"ts": 2**70}), ("latency", 1.0, {"sla": 7})],
)  # fmt: skip
def test_a_sample_that_cannot_be_one_is_refused_at_once(app: App, metric: Any, value: Any, more: Any) -> None:
    with pytest.raises(TypeError):
        app.observe(metric, value, **more)


def test_a_number_of_any_class_is_sent_as_one_and_a_bool_as_what_it_is(
    app: App, cluster: FakeCluster
) -> None:
    from decimal import Decimal

    app.observe("latency", Decimal("1.5"))  # type: ignore[arg-type]  # anything float() takes
    app.observe("latency", True)
    app.flush(WAIT_S)
    assert [sample[1] for sample in cluster.sent()] == [1.5, True]


def test_too_many_waiting_samples_are_refused(
    app: App, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MAX_WAITING_SAMPLES", 5)
    cluster.gate.clear()

    def observe_many() -> None:
        for number in range(feed.BATCH_SAMPLES + 10):
            app.observe("latency", number)

    with pytest.raises(Overloaded):
        observe_many()
    cluster.gate.set()
    app.flush(WAIT_S)


def test_flush_says_when_it_took_too_long(app: App, cluster: FakeCluster) -> None:
    cluster.gate.clear()
    app.observe("latency", 1)
    with pytest.raises(TimeoutError):
        app.flush(0.01)


def test_stop_sends_what_waits_and_then_nothing_more_is_taken(app: App, cluster: FakeCluster) -> None:
    app.observe("latency", 1)
    app.stop()
    app.stop()
    assert (len(cluster.sent()), cluster.closed) == (1, 1)
    for act in (lambda: app.observe("latency", 1), app.flush):
        with pytest.raises(RequestFailed, match="stopped"):
            act()


# -- callbacks ----------------------------------------------------------------------------------------------------


def test_a_callback_hears_its_topic_and_the_star_everything(app: App, cluster: FakeCluster) -> None:
    heard: list[tuple[str, str]] = []
    done = threading.Event()
    app.on("violation.opened", lambda event: heard.append(("one", event["topic"])))

    def hear_all(event: dict[str, Any]) -> None:
        heard.append(("all", event["topic"]))
        if event["topic"] == "end":
            done.set()

    app.on("*", hear_all)
    for topic in ("violation.opened", "alert.sent", "end"):
        cluster.listener("event", {"topic": topic})
    assert done.wait(WAIT_S)
    assert heard == [
        ("one", "violation.opened"),
        ("all", "violation.opened"),
        ("all", "alert.sent"),
        ("all", "end"),
    ]


def test_a_callback_that_fails_is_logged_and_keeps_no_other_from_hearing(
    app: App, cluster: FakeCluster, caplog: pytest.LogCaptureFixture
) -> None:
    done = threading.Event()

    def fail(event: dict[str, Any]) -> None:
        raise ValueError("its own")

    app.on("*", fail)
    app.on("*", lambda event: done.set())
    cluster.listener("event", {"topic": "x"})
    assert done.wait(WAIT_S)
    assert "its own" in caplog.text


def test_a_callback_may_stop_the_app(app: App, cluster: FakeCluster) -> None:
    done = threading.Event()

    def stop(event: dict[str, Any]) -> None:
        app.stop()
        done.set()

    app.on("*", stop)
    cluster.listener("event", {"topic": "x"})
    assert done.wait(WAIT_S)
    assert cluster.closed == 1


def test_events_for_slow_callbacks_fill_no_memory(
    app: App, cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(listener, "MAX_WAITING_EVENTS", 3)
    go_on = threading.Event()

    def wait(event: dict[str, Any]) -> None:
        go_on.wait(WAIT_S)

    app.on("*", wait)
    for number in range(50):
        cluster.listener("event", {"topic": str(number)})
    go_on.set()
    assert caplog.text.count("too slow") == 1


# -- contracts ----------------------------------------------------------------------------------------------------


def test_every_error_of_a_contract_is_named() -> None:
    errors = App.validate_sla({"id": "x", "service_level": 5, "metrics": [{"name": "m", "value": -1}]})
    assert {each["reason"] for each in errors} == {"invalid_service_level", "invalid_metric_value"}
    metric = Metric(name="latency", value=250, unit="ms", condition="lt")
    assert App.validate_sla(Sla(id="x", metrics=(metric,))) == []


def test_a_contract_is_looked_up_by_id(app: App, cluster: FakeCluster) -> None:
    cluster.rows = [{"id": "a", "status": "healthy"}, {"id": "b", "status": "suspended"}]
    assert app.list_slas() == ["a", "b"]
    assert app.get_sla_status("b")["status"] == "suspended"
    with pytest.raises(RequestFailed):
        app.get_sla_status("c")
