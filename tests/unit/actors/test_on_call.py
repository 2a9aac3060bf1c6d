"""A level that names a rotation tells whoever is on call when it is sent."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from slakeeper.otp.actor import RequestError
from tests.unit.actors.cell_world import CRITICAL, DAY_MS, MINUTE_MS, NOW_MS, World, enforcement

MakeWorld = Callable[..., World]

# NOW_MS is Friday, 2027-01-15 08:00 UTC; the turn that began on Monday is ann's.
POLICY = {
    "responders": {
        "ann": {"addresses": {"chat": "ann@x", "pager": "PA"}},
        "bob": {"addresses": {"chat": "bob@x", "pager": "PB"}},
    },
    "on_call": {"platform": {"members": ["ann", "bob"], "start": "2027-01-11", "handover": {"day": "mon"}}},
    "escalation_policies": [
        {
            "severity": "critical", "timeout": "30d", "repeat": 0,
            "levels": [
                {"type": "chat", "recipients": ["@oncall:platform", "lead@x"]},
                {"type": "pager", "recipients": ["@oncall:platform"], "delay": "4d"},
            ],
        }
    ],
}  # fmt: skip


@pytest.fixture
def called(make_world: MakeWorld) -> World:
    world = make_world(enforcement(**POLICY), {"alert_channels": []})
    world.define()
    world.observe(CRITICAL)
    return world


def told(world: World, kind: str) -> list[tuple[str, tuple[str, ...]]]:
    return [
        (channel, recipient.recipients)
        for channel, message, recipient in world.sent
        if message.kind.value == kind
    ]


def test_whoever_is_on_call_when_a_level_is_sent_is_told_and_recorded(called: World) -> None:
    assert told(called, "escalation") == [("chat", ("ann@x", "lead@x"))]
    called.pass_time(4 * DAY_MS + MINUTE_MS)
    assert told(called, "escalation")[1] == ("pager", ("PB",))
    first, second = called.violation()["escalations"]
    assert (first["recipients"], first["on_call"]) == (["ann@x", "lead@x"], ["ann"])
    assert (second["recipients"], second["on_call"]) == (["PB"], ["bob"])
    lines = "".join(path.read_text() for path in (called.directory / "audit").rglob("*.jsonl")).splitlines()
    entries = [json.loads(line) for line in lines]
    named = [each["details"]["on_call"] for each in entries if each["what"] == "escalation.told"]
    assert named == [{"platform": "ann"}, {"platform": "bob"}]


def test_who_was_told_hears_of_the_end_also_after_a_hand_over_and_a_crash(called: World) -> None:
    called.pass_time(3 * DAY_MS + 2 * 60 * MINUTE_MS)
    assert called.request("on_call")["on_call"][0]["person"] == "bob"
    called.restart()
    called.request("violation.resolve", id=called.violation()["id"], by="ann", note="")
    called.settle()
    assert told(called, "resolved") == [("chat", ("ann@x", "lead@x"))]


def test_an_escalation_by_hand_tells_who_is_on_call(make_world: MakeWorld) -> None:
    world = make_world(enforcement(**{**POLICY, "escalation_policies": [
        {"severity": "warning", "levels": [{"type": "pager", "recipients": ["@oncall:platform"], "delay": "1h"}]}
    ]}), {"alert_channels": []})  # fmt: skip
    world.define()
    world.observe(CRITICAL)
    world.request("violation.escalate", id=world.violation()["id"], by="ann")
    world.settle()
    assert told(world, "escalation") == [("pager", ("PA",))]


def test_who_is_and_who_is_next_can_be_asked_for_any_time(called: World) -> None:
    [row] = called.request("on_call")["on_call"]
    assert row["person"] == "ann"
    assert row["addresses"] == {"chat": "ann@x", "pager": "PA"}
    assert row["next"] == {"at": NOW_MS + 3 * DAY_MS + 60 * MINUTE_MS, "person": "bob"}
    [later] = called.request("on_call", name="platform", at_ms=row["next"]["at"])["on_call"]
    assert later["person"] == "bob"
    for payload in ({"name": "web"}, {"at_ms": 10**15}):
        with pytest.raises(RequestError):
            called.request("on_call", **payload)


def test_a_person_is_named_in_the_link_that_goes_to_an_address() -> None:
    policy: Any = enforcement(**POLICY)
    assert policy.names_on("chat") == {"ann@x": "ann", "bob@x": "bob"}
