"""Whoever numbers requests and says them again has each applied once, whichever processes are killed meanwhile."""

import contextlib
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from functools import partial
from random import Random

import pytest

from slakeeper.otp import attach
from tests.system.running_system import System, until

pytestmark = [pytest.mark.system, pytest.mark.slow, pytest.mark.timeout(180)]

KILLS = 100
CHILDREN = ("tally", "admin")
PILLARS = ("root", "launcher", "thespian-admin", "thespian-logger")
PILLAR_SHARE = 0.06
"""Of the kills; each costs a whole generation."""
PATIENCE_S = 0.15


def test_no_request_is_lost_or_applied_twice_under_random_kills(make_system: Callable[..., System]) -> None:
    system = make_system(
        processes={"tally": {}, "admin": {}}, entry="tests.system.tally_service:services", intensity=1_000_000
    )
    system.start()
    answered: list[int] = []
    killing = threading.Thread(target=_kill_at_random, args=(system, answered))
    killing.start()
    with attach.Client(system.data) as client:
        while killing.is_alive():
            until(partial(_noted, client, len(answered)))
            answered.append(len(answered))
        noted = until(partial(_all_noted, client))
    assert Counter(noted) == Counter(answered), "each once"
    assert noted == answered, "and in order, as each waited for the answer to the one before"
    assert len(answered) >= KILLS


def _noted(client: attach.Client, number: int) -> bool:
    """One try; an answer that is lost says nothing about the request."""
    with contextlib.suppress(attach.RequestFailed):
        return bool(client.request("note", {"number": number}, PATIENCE_S) == {"value": number})
    return False


def _all_noted(client: attach.Client) -> list[int]:
    with contextlib.suppress(attach.RequestFailed):
        return list(client.request("note", {"number": None}, PATIENCE_S)["value"])
    return []


def _kill_at_random(system: System, answered: list[int]) -> None:
    """Kills one process after the other, at any moment of a request, once requests are answered again."""
    random = Random(7)
    for _ in range(KILLS):
        name = random.choice(PILLARS if random.random() < PILLAR_SHARE else CHILDREN)
        pid = until(partial(system.pid, name))
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        wanted = len(answered) + 1
        until(partial(_has, answered, wanted))


def _has(answered: list[int], count: int) -> bool:
    return len(answered) >= count
