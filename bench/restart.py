"""Table ``restart``: SIGKILL to each kind of process, until a breaking sample is seen as a violation again."""

import http.client
import time
from collections.abc import Callable, Iterator

from bench.service import Service, contract, service
from bench.table import Row, Table, row
from slakeeper.otp import attach
from slakeeper.otp.placement import owner_of, partition_of

ROUNDS, ROUNDS_QUICK = 4, 1

# Restarted by the root, each by itself.
CHILDREN = ("cell-0", "gateway", "admin")
# Without one of these the whole generation starts again from disk.
PILLARS = ("root", "launcher", "thespian-admin", "thespian-logger")
HEART = "heart"

PARTITIONS, CELLS = 4, 2  # as by default
BAD = 500.0
GIVE_UP_S = 60.0
LOOK_AGAIN_S = 0.002


def measure(quick: bool) -> Table:
    """Each round is a fresh service for each pillar, so that no loss follows another and waits for it."""
    back_ms: dict[str, list[float]] = {name: [] for name in (*CHILDREN, *PILLARS, HEART)}
    for _ in range(ROUNDS_QUICK if quick else ROUNDS):
        for pillar in (*PILLARS, HEART):
            with service(contracts()) as running:
                running.start()
                fresh = fresh_ids()
                for name in CHILDREN:
                    back_ms[name].append(kill_child(running, name, fresh))
                back_ms[pillar].append(kill_pillar(running, pillar, fresh))
    return Table("restart", _ABOUT, tuple(rows(back_ms)))


_ABOUT = (
    "SIGKILL until a breaking sample is seen as a violation (admin: until a command is answered; heart: with a new "
    "start --detach); 2 cells"
)


def rows(back_ms: dict[str, list[float]]) -> Iterator[Row]:
    for name, values in back_ms.items():
        yield row(f"kill -9 {name}", "ms", values)


def contracts() -> list[dict[str, object]]:
    return [contract(sla_id, f"{sla_id}_latency") for sla_id in fresh_ids()]


def fresh_ids() -> Iterator[str]:
    """Contracts of the cell that is killed; each is good for one detection."""
    names = (f"probe_{number}" for number in range(100))
    return (name for name in names if owner_of(partition_of(name, PARTITIONS), CELLS) == 0)


def kill_child(running: Service, name: str, fresh: Iterator[str]) -> float:
    """Time to be back [ms]: a killed process answers nothing, so the first answer is the new one's."""
    began_s = time.perf_counter()
    running.kill(name)
    if name == "admin":
        until(lambda: _answers(running))
    else:
        detects(running, next(fresh))
    back_ms = (time.perf_counter() - began_s) * 1000
    until(lambda: is_whole(running))
    return back_ms


def kill_pillar(running: Service, name: str, fresh: Iterator[str]) -> float:
    """Time to be back [ms]; what still answers of the generation that has to go does not count."""
    generation = running.facts()["generation"]
    began_s = time.perf_counter()
    running.kill(name)
    if name == HEART:
        until(lambda: not running.facts())
        running.start()
    else:
        until(lambda: running.facts().get("generation", 0) > generation)
    detects(running, next(fresh))
    return (time.perf_counter() - began_s) * 1000


def detects(running: Service, sla_id: str) -> None:
    """Posts a breaking sample until it is taken, then looks until its violation is listed."""
    until(lambda: _http(running, lambda: running.client().post_sample(f"{sla_id}_latency", BAD) == 202))
    until(lambda: _http(running, lambda: bool(running.client().open_violations(sla_id))))


def _http(running: Service, ask: Callable[[], bool]) -> bool:
    try:
        return bool(running.facts().get("http")) and ask()
    except (OSError, http.client.HTTPException):
        return False


def _answers(running: Service) -> bool:
    try:
        with attach.Client(running.data) as client:
            client.request("status", {}, 0.25)
    except (attach.NotRunning, attach.TimedOut, attach.RequestFailed):
        return False
    return True


def is_whole(running: Service) -> bool:
    """Whether every process is there again, by the root's own table."""
    found = running.facts().get("processes", ())
    return bool(found) and all(one.get("pid") and one.get("status") == "running" for one in found)


def until(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + GIVE_UP_S
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError(f"the service was not back within {GIVE_UP_S:g} s")
        time.sleep(LOOK_AGAIN_S)
