"""The claim in an acknowledge link."""

import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from hypothesis import given
from hypothesis import strategies as st

from slakeeper.sla.ack_claim import MAX_VIOLATIONS, Claim, mint, read
from slakeeper.sla.ack_link import Links
from slakeeper.sla.notification import NotificationKind, alert, trial
from tests.unit.sla.acting import NOW_MS, contract, violation

KEY = b"k" * 32
NEWS = alert(contract(), NotificationKind.OPENED, [violation()], NOW_MS, dedup_key="k")
CLAIM = Claim((violation().id,), "email", ("ann@example.com",), NOW_MS)


@given(
    st.lists(st.text(max_size=30), max_size=5),
    st.text(max_size=20),
    st.lists(st.text(max_size=30), max_size=5),
)
def test_what_was_claimed_is_read_again(ids: list[str], channel: str, people: list[str]) -> None:
    claim = Claim(tuple(ids), channel, tuple(people), NOW_MS)
    assert read(KEY, mint(KEY, claim)) == claim


def test_a_token_is_one_word_of_a_url_and_short() -> None:
    token = mint(KEY, Claim((violation().id,), "sms", ("+4915112345678",), NOW_MS))
    assert re.fullmatch(r"[A-Za-z0-9._~/,-]+", token)
    assert len(token) <= 75


def test_a_token_of_another_key_is_none() -> None:
    assert read(b"x" * 32, mint(KEY, CLAIM)) is None


@given(st.data())
def test_a_token_with_any_character_changed_is_none(data: st.DataObject) -> None:
    token = mint(KEY, CLAIM)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters(codec="ascii").filter(lambda sign: sign != token[at]))
    changed = token[:at] + other + token[at + 1 :]
    assert read(KEY, changed) is None


@given(st.text(max_size=200))
def test_rubbish_is_none(text: str) -> None:
    assert read(KEY, text) is None


def test_a_link_is_the_same_when_its_message_is_sent_again_and_ends_with_its_lifetime() -> None:
    links = Links("https://sla.example.com", KEY, 1000)
    address = links.address(NEWS, "email", ("ann",))
    assert address == links.address(NEWS, "email", ("ann",))
    assert address.startswith("https://sla.example.com/ack?token=")
    claim = read(KEY, parse_qs(urlsplit(address).query)["token"][0])
    assert claim == Claim(NEWS.violation_ids, "email", ("ann",), NEWS.at_ms + 1000)


def test_what_asks_for_nothing_has_no_link() -> None:
    links = Links("https://sla.example.com", KEY, 1000)
    assert links.address(replace(NEWS, kind=NotificationKind.RESOLVED), "email", ()) == ""
    assert links.address(trial(NOW_MS), "email", ()) == ""


def test_a_link_of_a_flood_stays_short_enough_for_a_mail() -> None:
    many = tuple(f"v{number:012x}-{number:08x}" for number in range(500))
    address = Links("https://sla.example.com", KEY, 1000).address(
        replace(NEWS, violation_ids=many), "email", ("a",)
    )
    claim = read(KEY, parse_qs(urlsplit(address).query)["token"][0])
    assert claim is not None
    assert claim.violation_ids == many[:MAX_VIOLATIONS]
    assert len(address) < 2000


def test_the_key_is_not_shown() -> None:
    assert "kkk" not in repr(Links("https://sla.example.com", KEY, 1000))
