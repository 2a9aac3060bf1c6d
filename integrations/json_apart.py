"""JSON of a peer, read where that holds nobody up: short documents here, longer ones by a process of its own."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from slakeeper.integrations.deadline import Deadline
from slakeeper.integrations.http_answer import READ_HERE_BYTES
from slakeeper.integrations.program import environment
from slakeeper.sla.duration import format_duration

_ABRIDGE = Path(__file__).with_name("json_abridged.py")


class NotRead(Exception):
    """Nobody managed to read a document; says why."""


def read_apart(program: Path, body: bytes, deadline: Deadline, wanted: bytes = b"") -> bytes:
    """What a program of ours that reads JSON prints; it is killed when the time is up.

    Args:
        wanted: what it is told before the document.

    Raises:
        NotRead: it took too long, or failed.
    """
    try:
        done = subprocess.run(
            (sys.executable, "-I", "-S", str(program)),
            input=wanted + body,
            stdout=subprocess.PIPE,
            env=environment({}),
            timeout=deadline.remaining_s(),
            check=False,
        )
    except (subprocess.TimeoutExpired, TimeoutError):
        within = format_duration(deadline.limit_ms)
        raise NotRead(f"{len(body)} bytes of JSON are not read within {within}") from None
    if done.returncode:
        raise NotRead(f"reading {len(body)} bytes of JSON failed with status {done.returncode}")
    return done.stdout


def read_abridged(body: bytes, deadline: Deadline) -> Any:
    """A document of which codes and words are wanted; one that is large comes without its bulk.

    Raises:
        ValueError: it is no JSON, or what is left without its bulk is large, too.
        NotRead: see :func:`read_apart`.
    """
    if len(body) > READ_HERE_BYTES:
        body = read_apart(_ABRIDGE, body, deadline)
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("nested too deeply") from None
