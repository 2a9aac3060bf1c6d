"""Two cells that ask each other: silences are in force in both, and what is broken in one mutes what depends on it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from slakeeper.actors.muting import FRESH_MS
from slakeeper.otp.neighbour import NeighbourError
from tests.unit.actors.cell_world import CRITICAL, GOOD, HOUR_MS, MINUTE_MS, SECOND_MS, World, contract
from tests.unit.actors.test_silence import add, listed

MakeWorld = Callable[..., World]


@dataclass
class Beside:
    """A cell in this process, reached without a socket."""

    world: World | None = None
    is_down: bool = False

    def ask(self, kind: str, payload: dict[str, Any]) -> Any:
        if self.is_down or self.world is None:
            raise NeighbourError("nobody listens")
        return self.world.raw_request(kind, payload)


class Pair:
    """``one`` has the contract network, ``two`` the contract api, which depends on it; they share one clock."""

    def __init__(self, make_world: MakeWorld) -> None:
        self.to_one, self.to_two = Beside(), Beside()
        self.one = make_world(neighbours={"cell-1": self.to_two})
        self.two = make_world(neighbours={"cell-1": self.to_one})
        self.two.clock = self.one.clock
        self.two.restart()
        self.to_one.world, self.to_two.world = self.one, self.two
        loss = {"name": "loss", "value": 1, "condition": "lt", "interval": "10s"}
        self.one.define(contract(id="network", metrics=[loss], compensation=[]))
        self.two.define(contract(depends_on=["network"]))
        self.pass_time(2 * SECOND_MS)

    def pass_time(self, by_ms: int) -> None:
        """In steps of a second, in which both do what is due."""
        for _ in range(by_ms // SECOND_MS):
            self.one.clock.advance(SECOND_MS)
            for _ in range(2):
                self.one.settle()
                self.two.settle()


@pytest.fixture
def pair(make_world: MakeWorld) -> Pair:
    return Pair(make_world)


def about_api(pair: Pair) -> list[str]:
    return [each.kind.value for each in pair.two.told()]


def test_a_break_in_another_cell_mutes_what_depends_on_it(pair: Pair) -> None:
    pair.one.observe(5, "loss")
    pair.two.observe(CRITICAL)
    pair.pass_time(5 * MINUTE_MS)
    assert about_api(pair) == []
    assert pair.two.violations()[0]["inhibited_by"] == ["network"]
    assert "opened" in [each.kind.value for each in pair.one.told()]


def test_also_when_the_other_broke_a_moment_later(pair: Pair) -> None:
    pair.two.observe(CRITICAL)
    pair.one.observe(5, "loss")
    pair.pass_time(5 * MINUTE_MS)
    assert about_api(pair) == []


def test_what_depends_on_nothing_broken_is_told_within_seconds(pair: Pair) -> None:
    pair.two.observe(CRITICAL)
    pair.pass_time(3 * SECOND_MS)
    assert sorted(about_api(pair)) == ["escalation", "opened"]


def test_when_the_other_is_well_again_what_is_still_broken_is_told(pair: Pair) -> None:
    pair.one.observe(5, "loss")
    pair.two.observe(CRITICAL)
    pair.pass_time(MINUTE_MS)
    for _ in range(5):
        pair.pass_time(6 * SECOND_MS)
        pair.one.observe(0, "loss")
    assert pair.one.violations() == []
    pair.pass_time(35 * SECOND_MS)
    assert sorted(about_api(pair)) == ["escalation", "opened"]


def test_a_cell_that_does_not_answer_mutes_nothing_after_a_while(pair: Pair) -> None:
    pair.one.observe(5, "loss")
    pair.two.observe(CRITICAL)
    pair.pass_time(MINUTE_MS)
    pair.to_one.is_down = True
    pair.pass_time(FRESH_MS // 2)
    assert about_api(pair) == []
    pair.pass_time(MINUTE_MS)
    assert sorted(about_api(pair)) == ["escalation", "opened"]
    assert (
        "nobody listens"
        in pair.two.request("actor.state", address="neighbour:cell-1@cell-0")["state"]["failing"]
    )


def test_a_neighbour_that_is_back_is_asked_again(pair: Pair) -> None:
    pair.to_one.is_down = True
    pair.pass_time(MINUTE_MS)
    pair.one.observe(5, "loss")
    pair.to_one.is_down = False
    pair.pass_time(2 * SECOND_MS)
    assert pair.two.environment.is_broken("network", pair.two.now_ms)


def test_a_contract_that_is_removed_mutes_nothing(pair: Pair) -> None:
    pair.one.observe(5, "loss")
    pair.pass_time(2 * SECOND_MS)
    pair.one.request("violation.resolve", id=pair.one.violations()[0]["id"], by="ann")
    pair.one.request("sla.remove", id="network", by="ann")
    pair.two.observe(CRITICAL)
    pair.pass_time(35 * SECOND_MS)
    assert sorted(about_api(pair)) == ["escalation", "opened"]


def test_a_silence_is_in_force_in_both_and_its_end_too(pair: Pair) -> None:
    made = add(pair.one)
    pair.pass_time(2 * SECOND_MS)
    assert listed(pair.two) == [(made["id"], "active")]
    pair.two.observe(CRITICAL)
    pair.pass_time(MINUTE_MS)
    assert about_api(pair) == []
    pair.two.request("silence.expire", id=made["id"], by="bob")
    pair.pass_time(2 * SECOND_MS)
    assert listed(pair.one) == []
    pair.pass_time(MINUTE_MS)
    assert "opened" in about_api(pair)


def test_a_cell_that_was_away_hears_of_it_when_it_is_back_and_knows_it_alone_from_then_on(pair: Pair) -> None:
    pair.to_one.is_down = pair.to_two.is_down = True
    made = add(pair.one, for_ms=2 * HOUR_MS)
    pair.pass_time(MINUTE_MS)
    assert listed(pair.two) == []
    pair.to_one.is_down = False
    pair.pass_time(2 * SECOND_MS)
    pair.to_one.is_down = True
    pair.two.restart()
    assert listed(pair.two) == [(made["id"], "active")]


def test_told_directly_it_is_known_at_once(pair: Pair) -> None:
    made = add(pair.one)
    pair.two.request("silence.learn", silences=[made])
    assert listed(pair.two) == [(made["id"], "active")]


def test_nothing_is_said_of_silences_that_are_known_already(pair: Pair) -> None:
    add(pair.one)
    pair.pass_time(2 * SECOND_MS)
    digest = pair.two.environment.muting.digest(pair.two.now_ms)
    assert pair.one.request("neighbour", parents=["network"], silences=digest) == {
        "broken": [],
        "switch": None,
    }


def test_only_silences_are_sent_that_the_other_lacks_or_knows_with_another_end(pair: Pair) -> None:
    known, ended, lacking = (add(pair.one, for_ms=hours * HOUR_MS) for hours in (1, 2, 3))
    ends = {known["id"]: known["end_time"], ended["id"]: ended["end_time"] + 1}
    asked = {"parents": [], "silences": "another digest"}
    assert pair.one.request("neighbour", **asked, known=None)["silences_differ"] is True
    sent = pair.one.request("neighbour", **asked, known=ends)["silences"]
    assert {each["id"] for each in sent} == {ended["id"], lacking["id"]}
    assert len(pair.one.request("neighbour", **asked)["silences"]) == 3  # as a cell of a version before asks


def test_good_news_stays_good(pair: Pair) -> None:
    pair.two.observe(GOOD)
    pair.pass_time(MINUTE_MS)
    assert pair.two.sent == []
