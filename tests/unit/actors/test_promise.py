"""What a monitor goes by: its metric, in the frame that it shares with the others of its contract."""

from typing import Any

import pytest

from slakeeper.actors.promise import narrowed, promise_of
from slakeeper.sla.contract import Sla
from tests.unit.actors.cell_world import World, metric


def document(**more: Any) -> dict[str, Any]:
    contract = Sla.model_validate(
        {
            "id": "promised",
            "description": "x" * 1000,
            "metrics": [metric("latency"), metric("errors", unit="percent")],
            "penalties": [{"threshold": 99, "type": "refund", "rate": 10}],
            "compensation": [{"metric": "errors", "violation_type": "any", "type": "credit"}],
            **more,
        }
    )
    return contract.to_document()


def test_it_means_what_the_whole_contract_means() -> None:
    whole = document(maintenance=[{"start": "2026-11-03T01:00:00Z", "duration": "2h"}])
    promise = promise_of(whole, "errors")
    contract = Sla.from_document(whole)
    assert promise.metric == contract.metric("errors")
    assert promise.frame.contract.maintenance == contract.maintenance
    assert promise.frame.anchored(7).effective_date == 7
    assert promise.frame.contract.metrics == ()


def test_a_narrowed_document_holds_one_metric_and_is_read_as_the_same() -> None:
    whole = document()
    narrow = narrowed(whole, "errors")
    assert [each["name"] for each in narrow["metrics"]] == ["errors"]
    assert not narrow.keys() & {"description", "penalties", "compensation"}
    assert promise_of(narrow, "errors").is_same(promise_of(whole, "errors"))
    assert promise_of(narrow, "errors").frame is promise_of(whole, "latency").frame
    assert promise_of(narrow, "errors").document == narrow


def test_another_frame_is_another_promise() -> None:
    one, other = promise_of(document(), "errors"), promise_of(document(timezone="Europe/Berlin"), "errors")
    assert not one.is_same(other)
    assert promise_of(document(), "errors").frame is one.frame


def test_effective_dates_are_kept() -> None:
    promise = promise_of(document(effective_date="2026-11-01T00:00:00Z"), "errors")
    assert promise.frame.anchored(7) is promise.frame.contract


def test_a_metric_that_is_not_there_is_said_by_name() -> None:
    with pytest.raises(LookupError, match="no metric 'uptime' in contract 'promised'"):
        promise_of(document(), "uptime")


def test_what_is_recorded_of_a_monitor_does_not_grow_with_the_metrics_of_its_contract(world: World) -> None:
    def recorded(sla_id: str, count: int) -> int:
        world.define(id=sla_id, metrics=[metric(f"m{n}") for n in range(count)], compensation=[])
        [record] = [
            partition.records[f"monitor:{sla_id}:m0"]
            for partition in world.host.partitions.values()
            if f"monitor:{sla_id}:m0" in partition.records
        ]
        return len(record.arg)

    assert abs(recorded("few", 2) - recorded("many", 60)) < 10
