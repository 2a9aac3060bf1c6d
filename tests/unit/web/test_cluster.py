"""All cells as one: placement, merged answers, samples to those who want them. Cells here are plain objects."""

import itertools
import time
import zlib
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slakeeper import routing
from slakeeper.client import (
    CellConnection,
    Cluster,
    Overloaded,
    RequestFailed,
    Unavailable,
    system_tree,
)
from slakeeper.dependency import circle_of
from slakeeper.membership import METRICS_A_PAGE
from slakeeper.otp.placement import owner_of, partition_of
from tests.unit.web.fake_cell import FakeCell, until


class PlainCell:
    """Answers from a table, at once or, for kinds in ``held``, when told."""

    def __init__(self, name: str, metrics: dict[str, list[str]] | None = None) -> None:
        self.name = name
        self.connected = True
        self.metrics = metrics or {}
        self.version: int | None = None
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.held: set[str] = set()
        self.waiting: list[tuple[Future[Any], str, dict[str, Any]]] = []

    def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
        self.asked.append((kind, payload))
        future: Future[Any] = Future()
        if kind in self.held:
            self.waiting.append((future, kind, payload))
        else:
            self._settle(future, kind, payload)
        return future

    def release(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future, kind, payload in waiting:
            self._settle(future, kind, payload)

    def count(self, kind: str) -> int:
        return sum(asked == kind for asked, _ in self.asked)

    def _settle(self, future: Future[Any], kind: str, payload: dict[str, Any]) -> None:
        try:
            future.set_result(self._answer(kind, payload))
        except RequestFailed as error:
            future.set_exception(error)

    def _answer(self, kind: str, payload: dict[str, Any]) -> Any:
        if not self.connected:
            raise Unavailable(f"{self.name} is away")
        if kind in self.answers:
            return self.answers[kind](payload)
        if kind == "catalog":
            if self.version is not None and payload.get("version") == self.version:
                return {"version": self.version}
            slas = sorted({sla for ids in self.metrics.values() for sla in ids})
            return {"metrics": self.metrics, "slas": slas, "version": self.version}
        if kind == "samples":
            return {"accepted": list(range(len(payload["samples"]))), "rejected": []}
        raise RequestFailed("not_found", f"{self.name} has none")


def sample(metric: str, sla: str | None = None, value: float = 1.0) -> list[Any]:
    return [metric, value, None, sla, None]


@pytest.fixture
def plain() -> tuple[PlainCell, PlainCell]:
    return PlainCell("cell-0", {"latency": ["api"], "uptime": ["api"]}), PlainCell(
        "cell-1", {"latency": ["web"]}
    )


def saying(**answer: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda payload: answer


def raising(code: str) -> Callable[[dict[str, Any]], Any]:
    def answer(payload: dict[str, Any]) -> Any:
        raise RequestFailed(code, code)

    return answer


# --- placement ---------------------------------------------------------------------------------------


@given(st.text(), st.integers(1, 64), st.integers(1, 16))
def test_placement_is_the_checksum_of_the_id(sla_id: str, partitions: int, cells: int) -> None:
    assert partition_of(sla_id, partitions) == zlib.crc32(sla_id.encode()) % partitions
    assert owner_of(partition_of(sla_id, partitions), cells) == partition_of(sla_id, partitions) % cells


def test_a_contract_is_asked_of_its_owner_only(plain: tuple[PlainCell, PlainCell]) -> None:
    for cell in plain:
        cell.answers["sla.show"] = saying(cell=cell.name)
    cluster = Cluster(plain, 8)
    for sla_id in ("a", "b", "c", "d", "e"):
        assert cluster.sla(sla_id).result(1)["cell"] == f"cell-{owner_of(partition_of(sla_id, 8), 2)}"


def test_an_isolated_contract_lives_in_its_own_cell_and_others_do_not(
    plain: tuple[PlainCell, PlainCell],
) -> None:
    alone = PlainCell("cell-gold")
    for cell in (*plain, alone):
        cell.answers["sla.show"] = saying(cell=cell.name)
    cluster = Cluster([*plain, alone], 8, {"gold": "cell-gold"})
    assert cluster.sla("gold").result(1) == {"cell": "cell-gold"}
    seen = {cluster.sla(f"sla-{number}").result(1)["cell"] for number in range(50)}
    assert seen == {"cell-0", "cell-1"}


# --- merged answers ----------------------------------------------------------------------------------


def test_violations_of_all_cells_come_newest_first(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[0].answers["violations"] = lambda payload: [
        {"id": "a", "start_time": 1},
        {"id": "c", "start_time": 3},
    ]
    plain[1].answers["violations"] = lambda payload: [{"id": "b", "start_time": 2}]
    assert [row["id"] for row in Cluster(plain, 8).violations().result(1)] == ["c", "b", "a"]


def test_the_ledger_of_all_cells_comes_in_the_order_of_booking(plain: tuple[PlainCell, PlainCell]) -> None:
    # Its id is of the time of its violation, which was open for long.
    plain[0].answers["compensation"] = saying(compensation=[{"id": "c1", "booked_time": 30}])
    plain[1].answers["compensation"] = saying(
        compensation=[{"id": "c2", "booked_time": 20}, {"id": "c3", "booked_time": 30}]
    )
    rows = Cluster(plain, 8).compensation().result(1)
    assert [row["id"] for row in rows] == ["c2", "c1", "c3"]


def test_a_list_is_whole_or_not_there(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[0].answers["sla.list"] = lambda payload: {"slas": [{"id": "api"}]}
    plain[1].connected = False
    with pytest.raises(Unavailable):
        Cluster(plain, 8).slas().result(1)


def test_a_cell_is_asked_for_its_contracts_a_page_at_a_time(plain: tuple[PlainCell, PlainCell]) -> None:
    asked: list[dict[str, Any]] = []

    def page(payload: dict[str, Any]) -> dict[str, Any]:
        asked.append(payload)
        after = {None: "b", "b": "d", "d": "e"}
        here = after[payload["after"]]
        return {"slas": [{"id": here}], "next": None if here == "e" else here, "actors": len(asked)}

    plain[0].answers["status"] = page
    plain[1].answers["status"] = lambda payload: {"slas": [{"id": "c"}], "next": None}
    answer = Cluster(plain, 8).status(with_metrics=False).result(1)
    assert [row["id"] for row in answer["slas"]] == ["b", "c", "d", "e"]
    assert [each["after"] for each in asked] == [None, "b", "d"]
    assert {(each["page"], each["metrics"]) for each in asked} == {(METRICS_A_PAGE, False)}
    assert answer["cells"][0]["actors"] == 3
    assert "next" not in answer["cells"][0]


def test_what_no_hash_tells_is_asked_of_all_and_one_answers(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[1].answers["violation.ack"] = lambda payload: {
        "id": payload["id"],
        "acknowledged_by": payload["by"],
    }
    cluster = Cluster(plain, 8)
    assert cluster.acknowledge("v1", "ada").result(1) == {"id": "v1", "acknowledged_by": "ada"}
    with pytest.raises(RequestFailed) as caught:
        cluster.resolve("v1", "ada").result(1)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [("conflict", "not_found", "conflict"), ("not_found", "unavailable", "unavailable"),
     ("unavailable", "forbidden", "forbidden")],
)  # fmt: skip
def test_of_several_refusals_the_one_that_says_most_is_told(
    plain: tuple[PlainCell, PlainCell], first: str, second: str, told: str
) -> None:
    plain[0].answers["violation.ack"], plain[1].answers["violation.ack"] = raising(first), raising(second)
    with pytest.raises(RequestFailed) as caught:
        Cluster(plain, 8).acknowledge("v1", "ada").result(1)
    assert caught.value.code == told


def test_one_good_answer_does_not_wait_for_the_others(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[0].held = {"violation.ack"}
    plain[1].answers["violation.ack"] = lambda payload: {"id": "v1"}
    assert Cluster(plain, 8).acknowledge("v1", "ada").done()


def test_status_shows_contracts_of_a_lost_cell_as_last_seen(plain: tuple[PlainCell, PlainCell]) -> None:
    for cell, sla_id in zip(plain, ("b", "a"), strict=True):
        cell.answers["status"] = saying(slas=[{"id": sla_id}], actors=3, mailbox=1)
    cluster = Cluster(plain, 8)
    assert [row["id"] for row in cluster.status().result(1)["slas"]] == ["a", "b"]
    plain[1].connected = False
    status = cluster.status().result(1)
    assert status["slas"] == [{"id": "a", "stale": True}, {"id": "b"}]
    assert status["cells"][0] == {"name": "cell-0", "up": True, "actors": 3, "mailbox": 1}
    assert status["cells"][1] == {"name": "cell-1", "up": False, "actors": 0, "mailbox": 0}


def test_the_tree_holds_every_process_below_the_root() -> None:
    processes: list[dict[str, Any]] = [
        {"name": "heart", "pid": 1, "restarts": 0},
        {"name": "root", "pid": 4, "restarts": 1, "status": "running"},
        {"name": "cell-0", "pid": 5, "restarts": 2, "status": "running"},
        {"name": "cell-1", "pid": None, "restarts": 3, "status": "quarantined"},
        {"name": "gateway", "pid": 7, "restarts": 0, "status": "running"},
    ]
    cell = {
        "address": "cell-0",
        "kind": "cell",
        "type": "supervisor",
        "strategy": "rest_for_one",
        "children": [1],
    }
    tree = system_tree(processes, {"cell-0": cell, "cell-1": None})
    assert (tree["address"], tree["pid"], tree["restarts"]) == ("root", 4, 1)
    first, second, third = tree["children"]
    assert (first["strategy"], first["children"], first["pid"], first["restarts"]) == (
        "rest_for_one",
        [1],
        5,
        2,
    )
    assert (second["address"], second["status"], second["children"]) == ("cell-1", "quarantined", [])
    assert (third["address"], third["type"]) == ("gateway", "worker")


class _ForeignFailure(Exception):
    def to_wire(self) -> dict[str, Any]:
        return {"code": "conflict", "message": "not now", "errors": [1]}


def test_a_failure_of_a_cell_in_this_process_becomes_one_of_ours() -> None:
    class LocalCell:
        name = "cell-0"

        def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
            future: Future[Any] = Future()
            future.set_exception(_ForeignFailure())
            return future

    with pytest.raises(RequestFailed, match="not now") as caught:
        Cluster([LocalCell()], 8).sla("api").result(1)
    assert (caught.value.code, caught.value.details) == ("conflict", {"errors": [1]})


def test_an_estimate_comes_from_the_cell_that_has_the_violation(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[1].answers["compensation.estimate"] = saying(compensation=[{"id": "c1", "amount": "4.990"}])
    assert Cluster(plain, 8).estimate("v1").result(1)["compensation"] == [{"id": "c1", "amount": "4.990"}]


# --- samples -----------------------------------------------------------------------------------------


def test_a_sample_goes_to_every_cell_that_has_the_metric_and_to_no_other(
    plain: tuple[PlainCell, PlainCell],
) -> None:
    batch = [sample("latency"), sample("uptime"), sample("latency", "web")]
    result = Cluster(plain, 8).samples(batch, "b1").result(1)
    assert result == {"accepted": [0, 1, 2], "rejected": []}
    assert plain[0].asked[-1] == ("samples", {"samples": batch[:2], "batch_id": "b1"})
    assert plain[1].asked[-1] == ("samples", {"samples": [batch[0], batch[2]], "batch_id": "b1"})


def test_unknown_samples_are_rejected_by_place_and_reason(plain: tuple[PlainCell, PlainCell]) -> None:
    batch = [sample("nothing"), sample("latency", "nobody"), sample("uptime", "web"), sample("uptime")]
    result = Cluster(plain, 8).samples(batch).result(1)
    assert result["accepted"] == [3]
    assert result["rejected"] == [[0, "unknown_metric"], [1, "unknown_sla"], [2, "unknown_metric"]]


def test_a_sample_is_accepted_if_any_cell_accepts_it(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[0].answers["samples"] = lambda payload: {"accepted": [], "rejected": [[0, "too_old"]]}
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("latency")]).result(1) == {"accepted": [0], "rejected": []}
    assert cluster.samples([sample("uptime")]).result(1) == {"accepted": [], "rejected": [[0, "too_old"]]}


@pytest.mark.parametrize("down", [0, 1])
@pytest.mark.parametrize(
    "other", [{"accepted": [0], "rejected": []}, {"accepted": [], "rejected": [[0, "too_old"]]}]
)
def test_a_sample_that_a_monitor_of_any_cell_is_down_for_is_not_accepted(
    plain: tuple[PlainCell, PlainCell], down: int, other: dict[str, Any]
) -> None:
    plain[down].answers["samples"] = saying(accepted=[], rejected=[[0, "monitor_down"]])
    plain[1 - down].answers["samples"] = saying(**other)
    told = Cluster(plain, 8).samples([sample("latency")]).result(1)
    assert told == {"accepted": [], "rejected": [[0, "monitor_down"]]}


def test_a_batch_is_done_when_its_last_part_is(plain: tuple[PlainCell, PlainCell]) -> None:
    plain[1].held = {"samples"}
    future = Cluster(plain, 8).samples([sample("latency")])
    assert not future.done()
    plain[1].release()
    assert future.result(1)["accepted"] == [0]


def test_a_part_that_is_lost_fails_the_batch(plain: tuple[PlainCell, PlainCell]) -> None:
    cluster = Cluster(plain, 8)
    plain[1].answers["samples"] = raising("unavailable")
    with pytest.raises(RequestFailed):
        cluster.samples([sample("latency")]).result(1)
    assert cluster.in_flight == {"cell-0": 0, "cell-1": 0}


def test_a_contract_that_was_just_defined_gets_samples_of_a_known_metric(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    plain[1].metrics["uptime"] = ["web"]
    now_s[0] += routing.CATALOG_FRESH_S
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    assert plain[1].count("samples") == 1


def test_a_metric_that_was_just_defined_is_not_called_unknown(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("fresh")]).result(1)["accepted"] == []
    plain[1].metrics["fresh"] = ["web"]
    now_s[0] += routing.CATALOG_CERTAIN_S + 0.001
    assert cluster.samples([sample("fresh")]).result(1)["accepted"] == [0]


def test_a_definition_through_the_same_cluster_is_seen_at_once(plain: tuple[PlainCell, PlainCell]) -> None:
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("fresh")]).result(1)["accepted"] == []
    for cell in plain:
        cell.answers["sla.define"] = lambda payload: {"id": payload["document"]["id"]}
    plain[0].metrics["fresh"] = ["new"]
    cluster.define({"id": "new"}).result(1)
    assert cluster.samples([sample("fresh")]).result(1)["accepted"] == [0]


def test_a_busy_cluster_asks_for_catalogs_a_few_times_a_second(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    cluster = Cluster(plain, 8)
    for _ in range(1000):
        cluster.samples([sample("latency")]).result(1)
        now_s[0] += 0.001
    assert plain[0].count("catalog") <= 5


def test_a_catalog_that_could_not_be_had_is_asked_for_again_before_the_next_sample(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    plain[1].version = 7
    cluster = Cluster(plain, 8)
    cluster.samples([sample("latency")]).result(1)
    now_s[0] += 1
    plain[1].answers["catalog"] = raising("unavailable")
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    # Another contract came to the cell meanwhile, and it is there again within the same moment.
    del plain[1].answers["catalog"]
    plain[1].metrics, plain[1].version = {"latency": ["web"], "uptime": ["web"]}, 8
    asked = plain[1].count("samples")
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    assert plain[1].count("samples") == asked + 1


def test_a_catalog_with_a_version_is_sent_once(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    plain[0].version = 7
    cluster = Cluster(plain, 8)
    for _ in range(2):
        assert cluster.samples([sample("latency")]).result(1)["accepted"] == [0]
        now_s[0] += 1
    assert [payload for kind, payload in plain[0].asked if kind == "catalog"] == [{}, {"version": 7}]


def test_samples_for_a_known_cell_go_on_while_another_is_away(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    cluster = Cluster(plain, 8)
    cluster.samples([sample("latency")]).result(1)
    plain[1].connected = False
    now_s[0] += 10
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    with pytest.raises(Unavailable):
        cluster.samples([sample("latency")]).result(1)
    with pytest.raises(Unavailable, match="may want some"):
        cluster.samples([sample("who knows")]).result(1)


def test_a_cell_that_waits_for_room_and_was_never_heard_says_why_the_batch_is_refused(
    plain: tuple[PlainCell, PlainCell],
) -> None:
    def wait_for_room(payload: dict[str, Any]) -> Any:
        raise Unavailable("cell-1 waits for room on the disk", details={"reason": "no_room"})

    plain[1].answers["catalog"] = wait_for_room
    error = Cluster(plain, 8).samples([sample("latency")]).exception(1)
    assert isinstance(error, Unavailable)
    assert "cell-1 waits for room on the disk" in error.message
    assert error.details == {"reason": "no_room"}


def test_more_than_a_cell_takes_is_refused_before_anything_is_sent(
    plain: tuple[PlainCell, PlainCell],
) -> None:
    cluster = Cluster(plain, 8, max_in_flight=10)
    plain[0].held = {"samples"}
    first = cluster.samples([sample("uptime")] * 25)
    assert not first.done()
    assert cluster.in_flight == {"cell-0": 25, "cell-1": 0}
    with pytest.raises(Overloaded, match="25 samples wait for cell-0"):
        cluster.samples([sample("latency")]).result(1)
    assert plain[1].count("samples") == 0
    plain[0].release()
    plain[0].held = set()
    assert len(first.result(1)["accepted"]) == 25
    assert cluster.samples([sample("latency")]).result(1)["accepted"] == [0]


def test_a_long_batch_is_cut_by_place_and_numbered(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MAX_FRAME_SAMPLES", 3)
    batch = [sample("uptime", value=float(number)) for number in range(8)]
    plain[0].answers["samples"] = lambda payload: {
        "accepted": [i for i, row in enumerate(payload["samples"]) if row[1] != 4.0],
        "rejected": [[i, "too_old"] for i, row in enumerate(payload["samples"]) if row[1] == 4.0],
    }
    result = Cluster(plain, 8).samples(batch, "b").result(1)
    assert result == {"accepted": [0, 1, 2, 3, 5, 6, 7], "rejected": [[4, "too_old"]]}
    sent = [
        (payload["batch_id"], len(payload["samples"]))
        for kind, payload in plain[0].asked
        if kind == "samples"
    ]
    assert sent == [("b#0", 3), ("b#1", 3), ("b#2", 2)]


def test_a_part_of_a_long_batch_is_sent_when_the_one_before_is_answered(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MAX_FRAME_SAMPLES", 3)
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    plain[0].held = {"samples"}
    future = cluster.samples([sample("uptime")] * 8, "b")
    for number in range(3):
        assert plain[0].waiting[0][2]["batch_id"] == f"b#{number}"
        assert len(plain[0].waiting) == 1
        plain[0].release()
    assert future.result(1)["accepted"] == list(range(8))
    assert cluster.in_flight["cell-0"] == 0


def test_after_a_part_that_fails_no_more_are_sent(
    plain: tuple[PlainCell, PlainCell], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routing, "MAX_FRAME_SAMPLES", 3)
    cluster = Cluster(plain, 8)
    assert cluster.samples([sample("uptime")]).result(1)["accepted"] == [0]
    plain[0].held = {"samples"}
    future = cluster.samples([sample("uptime")] * 8, "b")
    plain[0].connected = False
    plain[0].release()
    with pytest.raises(Unavailable, match="cell-0 is away"):
        future.result(1)
    assert plain[0].count("samples") == 2  # the first of these, and the one before
    assert cluster.in_flight["cell-0"] == 0


def test_an_empty_batch_asks_nobody(plain: tuple[PlainCell, PlainCell]) -> None:
    assert Cluster(plain, 8).samples([]).result(1) == {"accepted": [], "rejected": []}
    assert not plain[0].asked


@given(
    st.lists(
        st.tuples(st.sampled_from(["latency", "uptime", "x"]), st.sampled_from([None, "api", "web", "y"]))
    )
)
def test_every_sample_is_accepted_or_rejected_as_the_catalogs_say(
    wishes: list[tuple[str, str | None]],
) -> None:
    catalogs = [{"latency": ["api"], "uptime": ["api"]}, {"latency": ["web"]}]
    cells = [PlainCell(f"cell-{number}", catalog) for number, catalog in enumerate(catalogs)]
    result = Cluster(cells, 8).samples([sample(metric, sla) for metric, sla in wishes]).result(1)
    has = {(metric, sla) for catalog in catalogs for metric, slas in catalog.items() for sla in (None, *slas)}
    assert result["accepted"] == [index for index, wish in enumerate(wishes) if wish in has]
    assert [index for index, _ in result["rejected"]] == [
        i for i, wish in enumerate(wishes) if wish not in has
    ]


def test_a_cluster_over_sockets_rides_out_a_restart(cells: list[FakeCell]) -> None:
    connections = [CellConnection(cell.name, cell.path) for cell in cells]
    cluster = Cluster(connections, 8)
    assert cluster.samples([sample("latency")]).result(5)["accepted"] == [0]
    cells[0].die()
    until(lambda: not connections[0].connected)
    future = cluster.samples([sample("latency")], "b2")
    cells[0].start()
    assert future.result(5)["accepted"] == [0]
    assert cells[0].asked("samples")[-1]["batch_id"] == "b2"
    cluster.close()


# -- contracts that depend on others ------------------------------------------------------------------------------


def depending(plain: list[PlainCell], *rows: tuple[str, list[str]]) -> Cluster:
    for index, cell in enumerate(plain):
        mine = [{"id": name, "depends_on": parents} for name, parents in rows[index :: len(plain)]]
        cell.answers["sla.dependencies"] = lambda payload, mine=mine: {"slas": mine}  # type: ignore[misc]
        cell.answers["sla.define"] = lambda payload: {"id": payload["document"]["id"], "version": 1}
    return Cluster(plain, 8)


@pytest.mark.parametrize(
    ("document", "circle"),
    [
        ({"id": "a", "depends_on": ["a"]}, "a -> a"),
        ({"id": "a", "depends_on": ["b"]}, "a -> b -> a"),
        ({"id": "a", "depends_on": ["d", "c"]}, "a -> c -> b -> a"),
    ],
)
def test_contracts_that_would_mute_each_other_are_refused(document: dict[str, Any], circle: str) -> None:
    plain = [PlainCell("cell-0"), PlainCell("cell-1")]
    cluster = depending(plain, ("a", []), ("b", ["a"]), ("c", ["b"]), ("d", []))
    with pytest.raises(RequestFailed, match=circle) as refused:
        cluster.define(document).result(1)
    assert (refused.value.code, refused.value.details) == ("invalid", {"reason": "dependency_cycle"})
    assert not any(cell.count("sla.define") for cell in plain)


def test_a_contract_may_depend_on_one_that_is_not_there_yet_and_that_is_said() -> None:
    cluster = depending([PlainCell("cell-0"), PlainCell("cell-1")], ("a", []), ("b", ["a"]))
    assert cluster.define({"id": "c", "depends_on": ["a", "b"]}).result(1) == {"id": "c", "version": 1}
    answer = cluster.define({"id": "c", "depends_on": ["a", "network"]}).result(1)
    assert answer["warnings"] == ["depends_on: there is no contract 'network' now"]


def test_a_contract_that_depends_on_nothing_asks_nobody() -> None:
    plain = [PlainCell("cell-0"), PlainCell("cell-1")]
    depending(plain, ("a", [])).define({"id": "b"}).result(1)
    assert not any(cell.count("sla.dependencies") for cell in plain)


GRAPHS = st.dictionaries(
    st.sampled_from("abcdef"), st.lists(st.sampled_from("abcdef"), max_size=3), max_size=6
)


@given(st.sampled_from("abcdef"), GRAPHS)
def test_a_circle_is_found_where_there_is_one(start: str, graph: dict[str, list[str]]) -> None:
    reached, grows = set(graph.get(start, ())), True
    while grows:
        more = reached | {each for node in reached for each in graph.get(node, ())}
        reached, grows = more, more != reached
    circle = circle_of(start, graph)
    assert bool(circle) is (start in reached)
    if circle:
        assert circle[0] == circle[-1] == start
        assert all(step in graph[node] for node, step in itertools.pairwise(circle))


# -- silences -----------------------------------------------------------------------------------------------------


def test_a_silence_is_made_by_a_cell_that_is_there() -> None:
    plain = [PlainCell("cell-0"), PlainCell("cell-1")]
    plain[0].connected = False
    plain[1].answers["silence.add"] = lambda payload: {"id": "s1"}
    assert Cluster(plain, 8).silence(["sla=a"], 5, "ann", "x").result(1) == {"id": "s1"}
    assert (plain[0].count("silence.add"), plain[0].count("silence.learn")) == (0, 1)


def test_silences_are_known_as_long_as_any_cell_answers() -> None:
    plain = [PlainCell("cell-0"), PlainCell("cell-1")]

    def away(payload: dict[str, Any]) -> Any:
        raise Unavailable("away")

    plain[0].answers["silences"] = away
    plain[1].answers["silences"] = lambda payload: {"silences": [{"id": "s1"}]}
    assert Cluster(plain, 8).silences().result(1) == [{"id": "s1"}]
    plain[1].answers["silences"] = away
    with pytest.raises(Unavailable):
        Cluster(plain, 8).silences().result(1)
