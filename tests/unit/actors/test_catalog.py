"""The catalog: what is listed, what is expected, and when that is another version."""

import pytest

from slakeeper.actors.address import monitor_address, monitor_names
from slakeeper.actors.catalog import Catalog


@pytest.mark.parametrize("sla_id", ["api", "a:b", "a::b", "a:"])
@pytest.mark.parametrize("metric", ["latency", "http:p95", "a::b", "b:"])
def test_the_names_of_a_monitor_are_in_its_address(sla_id: str, metric: str) -> None:
    assert monitor_names(monitor_address(sla_id, metric)) == (sla_id, metric)


def test_another_address_is_no_monitors() -> None:
    with pytest.raises(ValueError, match="not a monitor's address: ledger:api"):
        monitor_names("ledger:api")


def enter(catalog: Catalog, sla_id: str, metric: str, **labels: str) -> None:
    catalog.enter(monitor_address(sla_id, metric), sla_id, metric, labels)


class Recorded:
    """Contracts on record, each with a metric of its own and one that they share."""

    def __init__(self) -> None:
        self.catalog = Catalog()
        self.introduced: list[str] = []
        names = [(sla_id, metric) for sla_id in ("a", "b") for metric in ("shared", f"own_{sla_id}", "gone")]
        self.catalog.expect(names, self.introduce)

    def introduce(self, sla_id: str) -> None:
        self.introduced.append(sla_id)
        for metric in ("shared", f"own_{sla_id}"):
            enter(self.catalog, sla_id, metric, zone="x")
        self.catalog.introduced(sla_id)


def test_what_is_expected_is_listed_by_name_and_introduced_when_somebody_asks_for_it() -> None:
    recorded = Recorded()
    catalog = recorded.catalog
    assert dict(catalog.metrics()) == {
        "shared": ["a", "b"],
        "own_a": ["a"],
        "own_b": ["b"],
        "gone": ["a", "b"],
    }
    assert recorded.introduced == []
    assert [each.labels for each in catalog.monitors("own_a").values()] == [(("zone", "x"),)]
    assert recorded.introduced == ["a"]
    assert {each.sla_id for each in catalog.monitors("shared").values()} == {"a", "b"}
    assert recorded.introduced == ["a", "b"]
    assert dict(catalog.metrics()) == {"shared": ["a", "b"], "own_a": ["a"], "own_b": ["b"]}
    assert catalog.monitors("gone") == {}


def test_all_are_introduced_once() -> None:
    recorded = Recorded()
    recorded.catalog.introduce_all()
    recorded.catalog.introduce_all()
    assert recorded.introduced == ["a", "b"]


def test_the_version_changes_with_what_is_listed_and_not_when_the_expected_enters() -> None:
    catalog = Catalog()
    catalog.expect([("a", "one"), ("a", "gone")], lambda sla_id: None)
    version = catalog.version
    enter(catalog, "a", "one")
    assert catalog.version == version
    catalog.introduced("a")  # and "gone" is not
    assert catalog.version != version
    version = catalog.version
    enter(catalog, "a", "one")
    assert catalog.version == version
    enter(catalog, "a", "one", zone="x")
    assert catalog.version != version


def test_a_contract_that_cannot_be_introduced_is_expected_no_more() -> None:
    catalog = Catalog()
    catalog.expect([("a", "one")], lambda sla_id: None)
    assert catalog.monitors("one") == {}
    assert dict(catalog.metrics()) == {}
