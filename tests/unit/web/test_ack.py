"""The page behind an acknowledge link."""

import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from slakeeper.sla.ack_claim import Claim, mint
from tests.unit.web.conftest import Answer, Site
from tests.unit.web.fake_cell import FakeCell, Refusal

KEY = b"k" * 32
ROW = {
    "id": "v1", "sla_id": "api", "sla_name": "The <API>", "metric_name": "latency", "severity": "critical",
    "actual_value": 312.0, "unit": "ms", "start_time": 1_700_000_000_000, "resolved": False, "acknowledged_by": None,
    "acknowledged_time": None,
}  # fmt: skip


@pytest.fixture
def linked(start_site: Callable[..., Site], cells: list[FakeCell]) -> Iterator[Site]:
    """A site that sends links; violation v1 is in the second cell."""
    site = start_site(ack_key=KEY, names=["sla.example.com"])
    site.headers = {}

    def absent(_: Any) -> Any:
        raise Refusal("not_found", "no violation")

    for kind in ("violation.show", "violation.ack"):
        cells[0].handlers[kind] = absent
    cells[1].handlers["violation.show"] = lambda payload: ROW if payload["id"] == "v1" else absent(payload)
    cells[1].handlers["violation.ack"] = lambda payload: ROW if payload["id"] == "v1" else absent(payload)
    yield site
    cells[1].answering.set()


def path(*people: str, ids: tuple[str, ...] = ("v1",), ends_in_s: float = 60) -> str:
    claim = Claim(ids, "mail", people, round((time.time() + ends_in_s) * 1000))
    return f"/ack?token={mint(KEY, claim)}"


def acts(cells: list[FakeCell]) -> list[Any]:
    return [payload for cell in cells for payload in cell.asked("violation.ack")]


def press(site: Site, link: str, **form: str) -> Answer:
    body = urlencode(form).encode()
    return site.ask("POST", link, body, Content_Type="application/x-www-form-urlencoded")


def test_looking_shows_what_it_is_about_and_acknowledges_nothing(linked: Site, cells: list[FakeCell]) -> None:
    for method in ("GET", "HEAD"):
        answer = linked.ask(method, path("ann"))
        assert answer.status == 200
    page = linked.get(path("ann")).body.decode()
    assert "The &lt;API&gt;: latency (critical) at 312 ms" in page
    assert page.count("<button>") == 1
    assert "Acknowledge as ann" in page
    assert acts(cells) == []


def test_the_button_acknowledges_in_the_name_of_who_got_the_message(
    linked: Site, cells: list[FakeCell]
) -> None:
    answer = press(linked, path("ann"))
    assert answer.status == 200
    assert "Acknowledged by ann" in answer.body.decode()
    assert acts(cells)[-1] == {
        "id": "v1", "by": "ann", "note": "by the link sent over mail to ann", "takes_over": False, "via": "link",
    }  # fmt: skip


def test_of_several_who_got_it_the_presser_says_who_it_is(linked: Site, cells: list[FakeCell]) -> None:
    assert press(linked, path("a@x", "b@x")).status == 400
    assert press(linked, path("a@x", "b@x"), by=" \x00 ").status == 400
    assert acts(cells) == []
    assert press(linked, path("a@x", "b@x"), by=" bob ").status == 200
    assert acts(cells)[-1]["by"] == "bob"
    assert acts(cells)[-1]["note"] == "by the link sent over mail to a@x, b@x"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_is_forged_or_over_does_nothing(linked: Site, cells: list[FakeCell], method: str) -> None:
    good = path("ann")
    for bad in ("/ack", "/ack?token=", good[:-4], good.replace("token=", "token=x"), "/ack?token=%00%FF.x"):
        assert linked.ask(method, bad).status == 403
    assert linked.ask(method, path("ann", ends_in_s=-1)).status == 410
    assert acts(cells) == []


def test_what_is_over_is_said_and_the_rest_acknowledged(linked: Site, cells: list[FakeCell]) -> None:
    answer = press(linked, path("ann", ids=("v0", "v1")))
    assert "v0: it is over" in answer.body.decode()
    assert "Acknowledged by ann" in answer.body.decode()
    nothing = press(linked, path("ann", ids=("v0",)))
    assert "nothing to acknowledge any more" in nothing.body.decode()


def test_what_is_acknowledged_already_is_said_and_nothing_changes(
    linked: Site, cells: list[FakeCell]
) -> None:
    def refuse(_: Any) -> Any:
        raise Refusal("conflict", "it is acknowledged already", reason="already_acknowledged")

    cells[1].handlers["violation.ack"] = refuse
    cells[1].handlers["violation.show"] = lambda _: {**ROW, "acknowledged_by": "bob"}
    page = press(linked, path("ann")).body.decode()
    assert "It was acknowledged already" in page
    assert "acknowledged by bob" in page


def test_a_cell_that_is_away_is_not_taken_for_an_end(
    start_site: Callable[..., Site], cells: list[FakeCell]
) -> None:
    site = start_site(ack_key=KEY, patience_s=0.0)
    for cell in cells:
        cell.die()
    answer = press(site, path("ann"))
    assert (answer.status, answer.headers["retry-after"]) == (503, "2")
    assert "Nothing is lost" in answer.body.decode()


def test_the_page_may_post_to_itself_and_nothing_else(linked: Site) -> None:
    headers = linked.get(path("ann")).headers
    assert "form-action 'self'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"


def test_the_public_name_is_served_and_others_are_not(linked: Site) -> None:
    assert linked.get(path("ann"), Host="sla.example.com").status == 200
    assert linked.get(path("ann"), Host="evil.example.com").status == 403


def test_without_a_key_there_is_no_page(quiet_site: Site) -> None:
    assert quiet_site.get(path("ann")).status == 404
