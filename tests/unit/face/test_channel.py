"""Channels on the command line: rows of several cells as one, and a test message without a service."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from slakeeper.channel_state import merged_channels
from slakeeper.channel_text import channels_text, on_call_text
from slakeeper.cli import main
from tests.unit.integrations.fake_http import Cut, FakeServer, Reply

ROW = {
    "name": "hook", "type": "webhook", "why": "", "sent": 0, "logged": 0, "failed": 0, "uncertain": 0, "waiting": 0,
    "last_sent_at": None, "last_failed_at": None, "last_error": "", "template_error": "",
}  # fmt: skip


def test_what_several_cells_say_is_added_up() -> None:
    one = {**ROW, "sent": 2, "last_sent_at": 10, "failed": 1, "last_failed_at": 5, "last_error": "old"}
    other = {**ROW, "sent": 1, "last_sent_at": 8, "failed": 1, "last_failed_at": 20, "last_error": "new"}
    [row] = merged_channels([[one], [other]])
    assert (row["sent"], row["failed"], row["last_sent_at"], row["last_failed_at"]) == (3, 2, 10, 20)
    assert (row["last_error"], row["state"]) == ("new", "failing")
    assert merged_channels([[other], [one]]) == [row]
    assert merged_channels([[one], [dict(one)]])[0]["sent"] == 4


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({}, "unused"), ({"sent": 1, "last_sent_at": 5}, "working"), ({"failed": 1, "last_failed_at": 5}, "failing"),
        ({"type": "log", "logged": 3}, "log"),
        ({"sent": 1, "last_sent_at": 6, "failed": 1, "last_failed_at": 5}, "working"),
    ],
)  # fmt: skip
def test_how_a_channel_does_is_what_its_last_message_says(changes: dict[str, object], state: str) -> None:
    assert merged_channels([[{**ROW, **changes}]])[0]["state"] == state


def test_people_read_what_is_the_matter() -> None:
    rows = merged_channels(
        [
            [
                {
                    **ROW,
                    "failed": 1,
                    "last_failed_at": 5,
                    "last_error": "answered 500",
                    "template_error": "line 1",
                }
            ]
        ]
    )
    text = channels_text(rows)
    assert "FAILS" in text
    assert "answered 500" in text
    assert "template fails" in text
    assert channels_text([]) == "No channels."
    assert on_call_text([]).startswith("No rotations")


def test_people_read_who_is_on_call_and_why() -> None:
    text = on_call_text(
        [
            {"name": "web", "timezone": "UTC", "person": "bob", "reason": "override", "instead_of": "ann",
             "addresses": {"email": "bob@x"}, "next": {"at": 1_800_000_000_000, "person": "ann"}},
            {"name": "db", "timezone": "UTC", "person": "eve", "reason": "turn", "instead_of": None,
             "addresses": {}, "next": None},
        ]
    )  # fmt: skip
    assert "stands in for ann" in text
    assert "ann from 2027-01-15 08:00:00 UTC" in text


def configuration(folder: Path, channels: str) -> Path:
    (folder / "sla_definitions.yaml").write_text("slas: [{id: a, metrics: [{name: m, value: 9}]}]\n")
    (folder / "enforcement.yaml").write_text(f"channels: {channels}\n")
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def test_a_channel_of_some_files_is_tried_without_a_service(tmp_path: Path) -> None:
    with FakeServer() as server:
        folder = configuration(tmp_path, f'{{hook: {{type: webhook, url: "{server.url}"}}}}')
        result = run("channel", "test", "hook", "--config", folder, "--to", "ops", "--by", "ann")
        assert (result.exit_code, result.output) == (0, "hook: sent: answered 200\n")
        document = server.requests[0].json()
        assert (document["kind"], document["recipients"]) == ("test", ["ops"])
        assert "Sent by ann." in document["body"]
        server.then(Reply(404, b"gone"), Cut())
        refused = run("channel", "test", "hook", "--config", folder)
        assert (refused.exit_code, refused.output) == (1, "hook: failed: answered 404: gone\n")
        assert run("channel", "test", "hook", "--config", folder).output.startswith("hook: uncertain: ")
        unknown = run("channel", "test", "hock", "--config", folder)
        assert (unknown.exit_code, unknown.stderr) == (
            1, "slakeeper: no channel hock; known here: hook\n",
        )  # fmt: skip


def test_a_pager_is_not_left_with_an_open_incident(tmp_path: Path) -> None:
    from tests.unit.integrations.fake_services import PagerDuty

    pagerduty = PagerDuty()
    with FakeServer(pagerduty) as server:
        folder = configuration(tmp_path, f'{{pagerduty: {{base_url: "{server.url}", routing_key: "key-1"}}}}')
        result = run("channel", "test", "pagerduty", "--config", folder)
    assert result.exit_code == 0
    assert list(pagerduty.incidents.values()) == ["resolved"]
    assert pagerduty.events[0]["payload"]["severity"] == "info"
    assert pagerduty.events[0]["payload"]["summary"] == "slakeeper test message"


def test_files_that_are_wrong_end_with_2(tmp_path: Path) -> None:
    folder = configuration(tmp_path, "{hook: {type: webhock}}")
    result = run("channel", "test", "hook", "--config", folder)
    assert result.exit_code == 2
    assert "enforcement.yaml:1" in result.stderr
