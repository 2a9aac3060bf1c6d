"""Whose turn it is: a client that sends as much as it can has one request under way while others are about."""

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from slakeeper.client import Overloaded
from slakeeper.web import turn
from slakeeper.web.body import Client
from slakeeper.web.ingest import BYTES_A_SAMPLE
from slakeeper.web.turn import ABOUT_S, MAX_WAITING_BYTES, TURN_S, UNREAD_COSTS, Turn, Turns

GREEDY: Client = ("127.0.0.1", b"Bearer greedy")
LIGHT: Client = ("127.0.0.1", b"Bearer light")

# Each step of a task that is ready takes one round of the loop; more rounds change nothing.
ROUNDS = 5


class Street:
    """Clients on a clock that only moves when told; `began` names requests in the order of their turns."""

    def __init__(self, rate: float | None = None) -> None:
        self.now_s = 0.0
        self.slowed: list[str] = []
        self.under_way: dict[Client, deque[Turn]] = defaultdict(deque)
        self.began: list[str] = []
        self.alarms: list[tuple[float, Callable[[], None]]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.turns = Turns(
            lambda: self.now_s, lambda delay_s, run: self.alarms.append((self.now_s + delay_s, run)), rate
        )

    async def send(self, client: Client, *names: str, size: int = 100) -> None:
        """Requests that come in this order; those that get their turn begin."""
        for name in names:
            self.tasks[name] = asyncio.create_task(self._enter(client, name, size))
        await settle()

    async def answer(self, client: Client, count: int = 1, samples: int = 0) -> None:
        """So many of a client's requests are done with, each of so many samples."""
        for _ in range(count):
            done = self.under_way[client].popleft()
            done.pay(samples)
            done.leave()
            await settle()

    async def read(self, client: Client, samples: int) -> None:
        """The newest of a client's requests that are under way has been read, and is of so many samples."""
        self.under_way[client][-1].pay(samples)
        await settle()

    async def pass_(self, seconds: float) -> None:
        self.now_s += seconds
        due = [each for each in self.alarms if each[0] <= self.now_s]
        self.alarms = [each for each in self.alarms if each[0] > self.now_s]
        for _, run in due:
            run()
        await settle()

    async def _enter(self, client: Client, name: str, size: int) -> None:
        entered = await self.turns.enter(client, size)
        self.under_way[client].append(entered)
        if entered.was_slowed:
            self.slowed.append(name)
        self.began.append(name)


async def settle() -> None:
    for _ in range(ROUNDS):
        await asyncio.sleep(0)


def on_the_street(story: Callable[[Street], Awaitable[None]], rate: float | None = None) -> Street:
    async def main() -> Street:
        street = Street(rate)
        await story(street)
        for task in street.tasks.values():
            task.cancel()
        await asyncio.gather(*street.tasks.values(), return_exceptions=True)
        return street

    return asyncio.run(main())


def test_a_client_that_is_alone_has_all_it_sends_under_way() -> None:
    async def story(street: Street) -> None:
        await street.send(GREEDY, *"abcdefgh")
        assert street.began == list("abcdefgh")

    on_the_street(story)


def test_while_others_are_about_a_clients_requests_are_taken_one_at_a_time_in_their_order() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.answer(LIGHT)
        await street.send(GREEDY, *"abcd")
        assert street.began == ["light", "a"]
        await street.answer(GREEDY)
        await street.answer(GREEDY)
        assert street.began == ["light", *"abc"]

    on_the_street(story)


def test_a_client_with_a_single_request_waits_for_nobody() -> None:
    async def story(street: Street) -> None:
        await street.send(GREEDY, *"abcdefgh")
        await street.send(LIGHT, "light")
        assert street.began[-1] == "light"
        await street.answer(LIGHT)
        # What is under way already is answered before the client has its next turn.
        await street.send(GREEDY, "next")
        await street.answer(GREEDY, 7)
        assert "next" not in street.began
        await street.answer(GREEDY)
        assert street.began[-1] == "next"

    on_the_street(story)


def test_two_greedy_clients_take_turns() -> None:
    async def story(street: Street) -> None:
        other: Client = ("10.0.0.7", GREEDY[1])
        await street.send(GREEDY, "a0")
        await street.send(other, "b0", "b1", "b2")
        await street.send(GREEDY, "a1", "a2")
        for client in (GREEDY, other, GREEDY, other):
            await street.answer(client)
        assert street.began == ["a0", "b0", "a1", "b1", "a2", "b2"]

    on_the_street(story)


def test_when_the_others_are_gone_all_that_waits_goes_on() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.answer(LIGHT)
        await street.send(GREEDY, *"abcd")
        street.now_s += ABOUT_S + 1
        await street.answer(GREEDY)
        assert street.began == ["light", *"abcd"]

    on_the_street(story)


def test_a_client_is_about_while_a_request_of_it_is_under_way() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        street.now_s += ABOUT_S + 1
        await street.send(GREEDY, "a", "b")
        assert street.began == ["light", "a"]

    on_the_street(story)


def test_a_request_that_takes_long_does_not_hold_up_those_behind_it() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, *"abcd")
        await street.pass_(TURN_S / 2)
        assert street.began == ["light", "a"]
        await street.pass_(TURN_S / 2)
        assert street.began == ["light", "a", "b"]
        await street.pass_(TURN_S)
        assert street.began == ["light", *"abc"]
        # An answer to one of three is no turn for a fourth.
        await street.answer(GREEDY)
        assert street.began == ["light", *"abc"]

    on_the_street(story)


def test_a_client_with_too_much_waiting_is_told_to_come_back() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, "a")
        await street.send(GREEDY, "huge", size=2 * MAX_WAITING_BYTES)  # one may always wait
        with pytest.raises(Overloaded):
            await street.turns.enter(GREEDY, 1)
        await street.answer(GREEDY, 2)
        await street.send(GREEDY, "c")
        assert street.began == ["light", "a", "huge", "c"]

    on_the_street(story)


def test_one_that_is_given_up_while_it_waits_leaves_its_place() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, "a", "b", "c")
        street.tasks["b"].cancel()
        await settle()
        await street.answer(GREEDY)
        assert street.began == ["light", "a", "c"]

    on_the_street(story)


def test_one_that_is_given_up_in_the_moment_of_its_turn_gives_it_to_the_next() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, "a", "b", "c")
        street.under_way[GREEDY].popleft().leave()
        street.tasks["b"].cancel()
        await settle()
        assert street.began == ["light", "a", "c"]

    on_the_street(story)


def test_nobody_is_remembered_for_ever() -> None:
    async def story(street: Street) -> None:
        for number in range(100):
            client: Client = (f"10.0.0.{number}", b"")
            await street.send(client, str(number))
            await street.answer(client)
        street.now_s += ABOUT_S + 1
        await street.send(GREEDY, *"abcd")
        assert street.began[-4:] == list("abcd")

    assert len(_sides(on_the_street(story))) == 1


# -- a rate ---------------------------------------------------------------------------------------------------


def test_a_client_that_has_spent_its_share_waits_until_it_has_grown_again() -> None:
    async def story(street: Street) -> None:
        street.now_s = 100.0
        await street.send(GREEDY, "a")
        await street.answer(GREEDY, samples=150)  # a second's worth at once, and half of one more
        await street.send(GREEDY, "b", "c")
        assert street.began == ["a"]
        await street.pass_(0.4)
        assert street.began == ["a"]
        await street.pass_(0.1)
        # What it costs is known once it is read: then comes the next, though it has not been answered.
        assert street.began == ["a", "b"]
        await street.read(GREEDY, samples=50)
        assert street.began == ["a", "b"]
        await street.pass_(0.5)
        assert street.began == ["a", "b", "c"]
        assert street.slowed == ["b", "c"]
        await street.answer(GREEDY, 2, samples=50)
        await street.send(GREEDY, "d")
        assert street.began == ["a", "b", "c"]
        await street.pass_(0.5)
        assert street.began == ["a", "b", "c", "d"]

    on_the_street(story, rate=100)


def test_one_that_sends_less_than_its_rate_is_never_slowed() -> None:
    async def story(street: Street) -> None:
        for number in range(50):
            await street.send(GREEDY, str(number))
            await street.answer(GREEDY, samples=10)
            street.now_s += 0.1
        assert len(street.began) == 50
        assert street.slowed == []

    on_the_street(story, rate=100)


def test_a_share_is_each_clients_own_and_not_forgotten_when_it_falls_silent() -> None:
    async def story(street: Street) -> None:
        await street.send(GREEDY, "a")
        await street.answer(GREEDY, samples=100_000)
        await street.send(LIGHT, "light")
        assert street.began == ["a", "light"]
        await street.answer(LIGHT, samples=1)
        street.now_s += 10 * ABOUT_S
        await street.send(GREEDY, "b")
        assert street.began == ["a", "light"]

    on_the_street(story, rate=100)


def test_one_that_takes_long_does_not_let_the_next_in_before_the_share_has_grown() -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, "a", "b")
        await street.pass_(TURN_S)
        assert street.began == ["light", "a", "b"]
        await street.answer(GREEDY, samples=200)
        await street.send(GREEDY, "c")
        await street.pass_(TURN_S)
        assert street.began == ["light", "a", "b"]
        await street.pass_(2.0)
        assert street.began == ["light", "a", "b", "c"]

    on_the_street(story, rate=100)


def test_what_is_no_batch_costs_as_much_as_one() -> None:
    async def story(street: Street) -> None:
        street.now_s = 100.0
        await street.send(GREEDY, "a", "b", "c")
        for _ in "ab":
            street.under_way[GREEDY].popleft().leave()  # and was never paid
            await settle()
        assert street.began == ["a", "b"]

    on_the_street(story, rate=UNREAD_COSTS)


@pytest.mark.parametrize(("size", "samples"), [(100, 0), (UNREAD_COSTS * BYTES_A_SAMPLE, 1)])
def test_an_empty_batch_and_one_of_many_bytes_are_paid_for(size: int, samples: int) -> None:
    async def story(street: Street) -> None:
        await street.send(GREEDY, "a", "b", size=size)
        await street.answer(GREEDY, samples=samples)
        assert street.began == ["a"]
        await street.pass_(1.0)
        assert street.began == ["a", "b"]

    on_the_street(story, rate=UNREAD_COSTS)


def test_who_is_not_about_any_more_still_owes_and_is_no_company(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.answer(LIGHT, samples=100 * int(10 * ABOUT_S))
        street.now_s += ABOUT_S + 1
        await street.send(GREEDY, "a")
        await street.read(GREEDY, samples=1)
        await street.send(GREEDY, "b")
        assert street.began == ["light", "a", "b"]
        await street.send(LIGHT, "again")
        assert street.began == ["light", "a", "b"]

    on_the_street(story, rate=100)


def test_one_that_has_waited_for_too_long_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "WAITS_AT_MOST_S", 0.01)

    async def story(street: Street) -> None:
        await street.send(LIGHT, "light")
        await street.send(GREEDY, "a", "b")
        with pytest.raises(Overloaded, match="has waited"):
            await street.turns.enter(GREEDY, 1)
        await street.answer(GREEDY)
        await street.send(GREEDY, "c")
        assert street.began == ["light", "a", "c"]

    on_the_street(story)


def _sides(street: Street) -> Any:
    return street.turns._sides
