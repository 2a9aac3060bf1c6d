"""Runs a heart with echo services: ``python -m tests.system.run_heart '{"data": …, "processes": {name: args}}'``.

``flags`` are the root supervisor's; ``spec`` among the args of a process are further fields of its spec.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from slakeeper.otp.backoff import Backoff
from slakeeper.otp.child_spec import Flags
from slakeeper.otp.heart import Heart
from slakeeper.otp.life import Life, News
from slakeeper.otp.run_file import HeartError
from slakeeper.otp.service import ProcessSpec, SystemSpec

_TIMES = {"shutdown_ms": 2_000, "heartbeat_ms": 200, "hang_after_ms": 2_500, "start_timeout_ms": 10_000}


def system(settings: dict[str, Any]) -> SystemSpec:
    entry = settings.get("entry", "tests.system.echo_service:echo")
    processes = []
    for name, given in settings["processes"].items():
        args = {key: value for key, value in given.items() if key != "spec"}
        fields = {**_TIMES, **settings.get("times", {}), **given.get("spec", {})}
        processes.append(ProcessSpec(name, entry, args, **fields))
    flags = {"intensity": settings.get("intensity", 5), "period_s": 30, **settings.get("flags", {})}
    return SystemSpec(tuple(processes), Flags.from_map(flags), {"cells": 2})


def stop_in_the_look_that_brings_ready() -> None:
    """Has SIGTERM arrive after the heart has asked whether it should stop and before it says that it is up."""
    look = Life.look

    def interrupted(self: Life) -> News:
        news = look(self)
        if news.ready is not None:
            os.kill(os.getpid(), signal.SIGTERM)
        return news

    Life.look = interrupted  # type: ignore[method-assign]


def main() -> int:
    settings = json.loads(sys.argv[1])
    if settings.get("stop_when_ready"):
        stop_in_the_look_that_brings_ready()
    heart = Heart(
        Path(settings["data"]),
        lambda _facts: system(settings),
        lambda facts: print(json.dumps(facts), flush=True),  # noqa: T201
        patience_s=settings.get("patience_s", 3.0),
        backoff=Backoff(50, 500),
    )
    try:
        return heart.run()
    except HeartError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return 1


if __name__ == "__main__":
    sys.exit(main())
