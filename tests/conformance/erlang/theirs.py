"""Erlang/OTP's supervisor put through scripts: one erl for all of them."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.conformance.erlang.script import Script

_ORACLE = Path(__file__).with_name("oracle.erl")
_LIMIT_S = 240


def is_here() -> bool:
    """Whether Erlang is installed."""
    return shutil.which("erl") is not None and shutil.which("erlc") is not None


def run(scripts: Sequence[Script], work: Path) -> list[list[Any]]:
    """What OTP's supervisor did in each script.

    Args:
        scripts: any number.
        work: an empty folder.

    Returns:
        A trace for each script, in the same order.

    Raises:
        CalledProcessError, TimeoutExpired: erl did not come to an end.
    """
    given, found = work / "scripts.term", work / "traces.json"
    given.write_text("".join(f"{script.erlang()}\n" for script in scripts), encoding="utf-8")
    subprocess.run(["erlc", "-o", str(work), str(_ORACLE)], check=True, timeout=_LIMIT_S)
    # One scheduler: the news of a death reaches all who wait for it before anybody acts on it.
    call = f'oracle:main(["{given}","{found}"]).'
    subprocess.run(
        ["erl", "-noshell", "+S", "1:1", "-pa", str(work), "-eval", call],
        check=True,
        timeout=_LIMIT_S,
        cwd=work,
        stdin=subprocess.DEVNULL,
    )
    return [json.loads(line) for line in found.read_text(encoding="utf-8").splitlines()]
