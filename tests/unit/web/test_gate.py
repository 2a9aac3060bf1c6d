"""Who may pass: hosts, tokens, tickets, cookies."""

import select
import time
from collections.abc import Callable

import pytest

from slakeeper.client import TICKET_LIFETIME_S, mint_ticket, ticket_times
from slakeeper.web import gate
from slakeeper.web.gate import SESSION_S, Sessions
from tests.unit.web.conftest import TOKEN, Site
from tests.unit.web.fake_cell import FakeCell

PATHS = ("/v1/slas", "/v1/status", "/v1/events", "/metrics", "/", "/static/dashboard.js", "/nowhere")


def login(site: Site, ticket: str) -> str:
    """The session cookie that a ticket gives."""
    answer = site.get(f"/login?ticket={ticket}", Authorization="")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    return answer.headers["set-cookie"].partition(";")[0]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "given", ["", "Bearer wrong", "Bearer ", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x"]
)
def test_everything_asks_for_the_token(quiet_site: Site, path: str, given: str) -> None:
    answer = quiet_site.get(path, Authorization=given)
    assert answer.status == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_nothing_is_sent_to_a_cell_without_the_token(site: Site, cells: list[FakeCell]) -> None:
    assert site.ask("POST", "/v1/samples", b'{"samples": []}', Authorization="").status == 401
    assert site.ask("POST", "/v1/violations/v/ack", b'{"by": "x"}', Authorization="Bearer no").status == 401
    assert not cells[0].asked("violation.ack")


def test_a_stranger_is_told_so_later_and_nobody_waits_for_that(
    quiet_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "STRANGER_WAITS_S", 3600.0)
    stranger = quiet_site.connect()
    stranger.request("POST", "/v1/samples", b"{}", {"Authorization": "Bearer wrong"})
    assert quiet_site.get("/v1/slas").status == 200
    assert select.select([stranger.sock], [], [], 0)[0] == []
    stranger.close()


def test_the_scheme_is_read_in_any_case(quiet_site: Site) -> None:
    assert quiet_site.get("/v1/slas", Authorization=f"bearer {TOKEN}").status == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8765", "127.0.0.1:1", "[::1]:8765", "LOCALHOST"])
def test_loopback_names_are_ours(quiet_site: Site, host: str) -> None:
    assert quiet_site.get("/healthz", Host=host).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "192.168.1.5", "x"]
)
@pytest.mark.parametrize("path", ["/healthz", "/v1/slas", "/login?ticket=x"])
def test_a_foreign_host_name_is_refused_even_with_the_token(quiet_site: Site, host: str, path: str) -> None:
    assert quiet_site.get(path, Host=host).status == 403


def test_further_names_can_be_allowed(start_site: Callable[..., Site]) -> None:
    site = start_site(names=["sla.example.org"])
    assert site.get("/healthz", Host="sla.example.org").status == 200
    assert site.get("/healthz", Host="other.example.org").status == 403


def test_a_gateway_on_all_addresses_takes_numbers_but_no_foreign_names(
    start_site: Callable[..., Site],
) -> None:
    site = start_site(http="0.0.0.0:0")
    assert site.get("/healthz", Host="192.168.1.5:8765").status == 200
    assert site.get("/healthz", Host="evil.example").status == 403


def test_a_ticket_gives_a_session_that_opens_the_dashboard(quiet_site: Site) -> None:
    cookie = login(quiet_site, mint_ticket(TOKEN, time.time()))
    assert quiet_site.get("/", Authorization="", Cookie=cookie).status == 200
    assert quiet_site.get("/v1/status", Authorization="", Cookie=cookie).status == 200
    assert quiet_site.get("/", Authorization="", Cookie=cookie + "0").status == 401
    assert quiet_site.get("/", Authorization="", Cookie=cookie.replace("_", "-", 1)).status == 401


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(quiet_site: Site) -> None:
    answer = quiet_site.get(f"/login?ticket={mint_ticket(TOKEN, time.time())}", Authorization="")
    attributes = {part.strip().lower() for part in answer.headers["set-cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict", "path=/"} <= attributes


def test_a_ticket_is_good_once(quiet_site: Site) -> None:
    ticket = mint_ticket(TOKEN, time.time())
    assert quiet_site.ask("HEAD", f"/login?ticket={ticket}", Authorization="").status == 405
    login(quiet_site, ticket)
    answer = quiet_site.get(f"/login?ticket={ticket}", Authorization="")
    assert answer.status == 401
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("ticket", ["", "x", "1.2.3", "..", "9" * 99, "\u00e4"])
def test_a_ticket_that_is_none_is_refused(quiet_site: Site, ticket: str) -> None:
    from urllib.parse import quote

    assert quiet_site.get(f"/login?ticket={quote(ticket)}", Authorization="").status == 401
    assert quiet_site.get("/login", Authorization="").status == 401


def test_tickets_end_and_do_not_outlive_the_gateway() -> None:
    now_s = [1000.0]
    sessions = Sessions(TOKEN, lambda: now_s[0])
    late = mint_ticket(TOKEN, 1000.0)
    now_s[0] = 1000.0 + TICKET_LIFETIME_S
    assert sessions.admit(late) is None
    assert sessions.admit(mint_ticket(TOKEN, now_s[0])) is not None
    assert sessions.admit(mint_ticket("another token", now_s[0])) is None
    # A gateway that started later cannot know whether an older ticket was used.
    assert sessions.admit(mint_ticket(TOKEN, 999.0)) is None


def test_a_session_ends_but_outlives_the_gateway() -> None:
    now_s = [1000.0]
    cookie = Sessions(TOKEN, lambda: now_s[0]).admit(mint_ticket(TOKEN, 1000.0))
    assert cookie is not None
    later = Sessions(TOKEN, lambda: now_s[0])
    now_s[0] = 1000.0 + SESSION_S - 1
    assert later.knows(cookie)
    now_s[0] += 1
    assert not later.knows(cookie)
    assert not Sessions("another token", lambda: 1000.0).knows(cookie)


def test_a_ticket_is_no_cookie_and_a_cookie_no_ticket() -> None:
    sessions = Sessions(TOKEN, lambda: 1000.0)
    ticket = mint_ticket(TOKEN, 1000.0)
    assert not sessions.knows(ticket)
    cookie = sessions.admit(ticket)
    assert cookie is not None
    assert ticket_times(TOKEN, cookie) is None


def test_a_browser_may_change_things_from_our_own_page_only(site: Site, cells: list[FakeCell]) -> None:
    cells[0].handlers["violation.ack"] = lambda payload: payload
    cookie = login(site, mint_ticket(TOKEN, time.time()))
    path, form = "/v1/violations/v1/ack", {"by": "ada"}
    ours = f"http://127.0.0.1:{site.port}"
    assert site.post(path, form, Authorization="", Cookie=cookie).status == 403
    assert site.post(path, form, Authorization="", Cookie=cookie, Origin="http://127.0.0.1:1").status == 403
    assert site.post(path, form, Authorization="", Cookie=cookie, Origin="null").status == 403
    assert site.post(path, form, Authorization="", Cookie=cookie, Origin=ours).status == 200


def test_every_answer_carries_the_protecting_headers(quiet_site: Site) -> None:
    for path in ("/", "/v1/slas", "/healthz", "/nowhere"):
        headers = quiet_site.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
    assert "server" not in quiet_site.get("/").headers


def test_a_browser_without_a_session_is_told_how_to_get_one(quiet_site: Site) -> None:
    answer = quiet_site.get("/", Authorization="")
    assert answer.status == 401
    assert b"slakeeper dashboard" in answer.body
