"""What other tools send in."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from slakeeper.sla.signature import sign
from tests.unit.web.conftest import Answer, Site
from tests.unit.web.fake_cell import FakeCell, Refusal

SECRETS = {"ops": ("webhook", "hook-secret"), "pager": ("pagerduty", "pd-secret")}


class Violations:
    """What the second cell keeps: violations by id, and incidents by key."""

    def __init__(self, cells: list[FakeCell]) -> None:
        self.rows: dict[str, dict[str, Any]] = {
            each: {"id": each, "resolved": False, "acknowledged_by": None, "acknowledgements": []}
            for each in ("v1", "v2")
        }
        self.incidents = {"v1": ["v1"], "v2": ["v2"], "group-1": ["v1", "v2"]}
        self.acts: list[dict[str, Any]] = []
        for kind in ("incident", "violation.show", "violation.ack", "violation.resolve"):
            cells[0].handlers[kind] = self._absent
        cells[1].handlers = {
            "incident": self._incident, "violation.show": lambda payload: self.rows[payload["id"]],
            "violation.ack": self._acknowledge, "violation.resolve": self._resolve,
        }  # fmt: skip

    @staticmethod
    def _absent(_: Any) -> Any:
        raise Refusal("not_found", "not here")

    def _incident(self, payload: Any) -> Any:
        found = self.incidents.get(payload["dedup_key"])
        return {"violation_ids": found} if found else self._absent(payload)

    def _acknowledge(self, payload: Any) -> Any:
        row = self.rows[payload["id"]]
        if row["acknowledged_by"] and not payload["takes_over"]:
            raise Refusal("conflict", "it is acknowledged already", reason="already_acknowledged")
        self.acts.append(payload)
        row["acknowledged_by"] = payload["by"]
        row["acknowledgements"].append({"by": payload["by"], "time": time.time_ns() // 1_000_000})
        return row

    def _resolve(self, payload: Any) -> Any:
        self.acts.append(payload)
        self.rows[payload["id"]]["resolved"] = True
        return self.rows[payload["id"]]


@pytest.fixture
def kept(cells: list[FakeCell]) -> Violations:
    return Violations(cells)


@pytest.fixture
def site(start_site: Callable[..., Site], kept: Violations) -> Site:
    made = start_site(inbound=SECRETS)
    made.headers = {}
    return made


def hook(site: Site, document: Any, *, at_s: float | None = None, key: str = "m1", secret: str = "hook-secret",
         channel: str = "ops", changed: dict[str, str] | None = None) -> Answer:  # fmt: skip
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    timestamp = str(int(time.time() if at_s is None else at_s))
    headers = {
        "X_Slakeeper_Timestamp": timestamp, "Idempotency_Key": key,
        "X_Slakeeper_Signature": sign(secret, timestamp, key, body), **(changed or {}),
    }  # fmt: skip
    return site.ask("POST", f"/v1/inbound/{channel}", body, **headers)


ACK = {"action": "acknowledge", "violation_id": "v1", "by": "ann", "note": "from the ticket"}


def test_a_signed_acknowledgement_counts_and_says_by_what_it_came(site: Site, kept: Violations) -> None:
    answer = hook(site, ACK)
    assert (answer.status, answer.json) == (200, {"done": ["v1"], "already": []})
    assert kept.acts == [
        {"id": "v1", "by": "ann", "note": "from the ticket", "takes_over": False, "via": "inbound:ops"}
    ]


def test_a_key_of_several_acknowledges_all_of_them(site: Site, kept: Violations) -> None:
    assert hook(site, {**ACK, "violation_id": "group-1"}).json["done"] == ["v1", "v2"]


def test_a_resolution_counts_once(site: Site, kept: Violations) -> None:
    assert hook(site, {**ACK, "action": "resolve"}).json["done"] == ["v1"]
    assert hook(site, {**ACK, "action": "resolve"}, key="m2").json == {"done": [], "already": ["v1"]}
    assert len(kept.acts) == 1


def test_the_same_person_again_changes_nothing_and_another_one_takes_over(
    site: Site, kept: Violations
) -> None:
    assert hook(site, ACK).json["done"] == ["v1"]
    later_s = time.time() + 10
    for number in range(20):
        assert hook(site, ACK, at_s=later_s, key=f"again {number}").json == {"done": [], "already": ["v1"]}
    assert hook(site, {**ACK, "by": "bob"}, at_s=later_s, key="m2").json["done"] == ["v1"]
    assert [each["by"] for each in kept.acts] == ["ann", "bob"]


def test_what_follows_within_the_same_second_counts(site: Site, kept: Violations) -> None:
    now_s = time.time()
    for number, (action, by) in enumerate(
        [("acknowledge", "ann"), ("acknowledge", "bob"), ("resolve", "bob")]
    ):
        answer = hook(site, {**ACK, "action": action, "by": by}, at_s=now_s, key=f"m{number}")
        assert answer.json["done"] == ["v1"]
    assert [each["by"] for each in kept.acts] == ["ann", "bob", "bob"]


def test_what_was_caught_and_is_sent_anew_does_nothing(
    site: Site, kept: Violations, start_site: Callable[..., Site]
) -> None:
    now_s = time.time()
    assert hook(site, ACK, at_s=now_s).json["done"] == ["v1"]
    assert hook(site, ACK, at_s=now_s).json["already"] == ["v1"]
    # Another process of the gateway remembers no ids; the acknowledgement itself is newer than the message.
    again = start_site(inbound=SECRETS)
    again.headers = {}
    assert hook(again, ACK, at_s=now_s).json == {"done": [], "already": ["v1"]}
    assert hook(again, ACK, at_s=now_s - 301).status == 401
    assert hook(again, ACK, at_s=now_s + 310).status == 401
    assert len(kept.acts) == 1


def test_what_could_not_be_done_may_come_again(site: Site, cells: list[FakeCell], kept: Violations) -> None:
    working = cells[1].handlers["violation.ack"]

    def fail(_: Any) -> Any:
        raise Refusal("unavailable", "down")

    cells[1].handlers["violation.ack"] = fail
    assert hook(site, ACK).status == 503
    cells[1].handlers["violation.ack"] = working
    assert hook(site, ACK).json["done"] == ["v1"]


@pytest.mark.parametrize(
    "changed",
    [
        {"X_Slakeeper_Signature": "sha256=00"}, {"X_Slakeeper_Signature": ""}, {"Idempotency_Key": "other"},
        {"X_Slakeeper_Timestamp": "1"}, {"X_Slakeeper_Timestamp": ""},
    ],
)  # fmt: skip
def test_what_is_not_signed_as_it_stands_is_refused(
    site: Site, kept: Violations, changed: dict[str, str]
) -> None:
    assert hook(site, ACK, changed=changed).status == 401
    assert kept.acts == []


def test_another_secret_and_another_channel_are_refused(site: Site, kept: Violations) -> None:
    assert hook(site, ACK, secret="pd-secret").status == 401
    assert hook(site, ACK, channel="nobody").status == 404
    assert hook(site, ACK, channel="pager").status == 401
    assert kept.acts == []


@pytest.mark.parametrize(
    "document",
    [
        b"", b"[]", b"{", b'{"a":' * 5000, {}, {**ACK, "action": "delete"}, {**ACK, "by": " "}, {**ACK, "by": None},
        {**ACK, "violation_id": 1}, {**ACK, "note": 1}, {**ACK, "by": "x" * 201},
    ],
)  # fmt: skip
def test_rubbish_is_refused_in_words(site: Site, kept: Violations, document: Any) -> None:
    answer = hook(site, document)
    assert (answer.status, answer.json["error"]) == (400, "invalid")
    assert kept.acts == []


def test_what_nobody_knows_is_not_found(site: Site) -> None:
    assert hook(site, {**ACK, "violation_id": "v9"}).status == 404


# --- PagerDuty ---------------------------------------------------------------------------------------


def event(**changed: Any) -> dict[str, Any]:
    return {
        "id": "01E", "event_type": "incident.acknowledged", "resource_type": "incident",
        "occurred_at": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "agent": {"id": "PU1", "type": "user_reference", "summary": "Tenex Engineer"},
        "data": {"id": "PGR0VU2", "type": "incident", "incident_key": "v1", "status": "acknowledged"}, **changed,
    }  # fmt: skip


def page(site: Site, told: dict[str, Any], secret: str = "pd-secret", signature: str | None = None) -> Answer:
    body = json.dumps({"event": told}).encode()
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return site.ask(
        "POST", "/v1/inbound/pager", body, X_PagerDuty_Signature=signature or f"v1=00,v1={digest}"
    )


def test_an_acknowledgement_in_pagerduty_counts_here(site: Site, kept: Violations) -> None:
    assert page(site, event()).json == {"done": ["v1"], "already": []}
    assert kept.acts == [
        {"id": "v1", "by": "Tenex Engineer", "note": "in PagerDuty", "takes_over": False, "via": "inbound:pager"}
    ]  # fmt: skip
    assert page(site, event()).json == {"done": [], "already": ["v1"]}


def test_what_no_person_has_done_there_is_left_alone(site: Site, kept: Violations) -> None:
    for told in (
        event(agent=None), event(agent={"type": "integration_reference"}), event(event_type="incident.triggered"),
        event(event_type="incident.resolved"), event(event_type="pagey.ping", data=None, agent=None),
        event(data=None), event(data={"id": "PGR0VU2", "incident_key": None}),
        event(data={"id": "PGR0VU2", "incident_key": "of another tool on the same service"}),
    ):  # fmt: skip
        answer = page(site, told)
        assert answer.status == 200
        assert answer.json["ignored"]
    assert kept.acts == []


def test_the_example_of_pagerdutys_documentation_is_understood(site: Site, kept: Violations) -> None:
    """The event of its "Webhooks overview", as an acknowledgement that happened now."""
    reference = {
        "html_url": "https://acme.pagerduty.com/services/PF9KMXH", "id": "PF9KMXH",
        "self": "https://api.pagerduty.com/services/PF9KMXH", "summary": "API Service", "type": "service_reference",
    }  # fmt: skip
    told = event(
        id="5ac64822-4adc-4fda-ade0-410becf0de4f",
        occurred_at=datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        agent={"html_url": "https://acme.pagerduty.com/users/PLH1HKV", "id": "PLH1HKV",
               "self": "https://api.pagerduty.com/users/PLH1HKV", "type": "user_reference",
               "summary": "Tenex Engineer"},
        client={"name": "PagerDuty"},
        data={"id": "PGR0VU2", "type": "incident", "self": "https://api.pagerduty.com/incidents/PGR0VU2", "number": 2,
              "status": "acknowledged", "incident_key": "v2", "created_at": "2020-04-09T15:16:27Z",
              "title": "A little bump in the road", "service": reference, "assignees": [], "teams": [],
              "priority": None, "urgency": "high", "conference_bridge": None, "resolve_reason": None},
    )  # fmt: skip
    assert page(site, told).json == {"done": ["v2"], "already": []}


def test_pagerdutys_signature_is_asked_for(site: Site, kept: Violations) -> None:
    assert page(site, event(), secret="other").status == 401
    assert page(site, event(), signature="v1=,v2=abc").status == 401
    assert kept.acts == []


def test_an_old_event_is_refused_and_one_from_before_the_last_acknowledgement_changes_nothing(
    site: Site, kept: Violations
) -> None:
    assert page(site, event(occurred_at="2023-01-01T00:00:00Z")).status == 401
    later = {"by": "ann", "time": time.time_ns() // 1_000_000 + 1_500}
    kept.rows["v1"]["acknowledgements"].append(later)
    assert page(site, event()).json == {"done": [], "already": ["v1"]}
    assert kept.acts == []


@pytest.mark.parametrize("broken", [{"id": 4}, {"occurred_at": "x"}, {"occurred_at": None}])
def test_an_event_that_lacks_something_is_refused(
    site: Site, kept: Violations, broken: dict[str, Any]
) -> None:
    assert page(site, event(**broken)).status == 400
