"""Where and when a table was measured: without it a figure means nothing."""

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


def facts() -> dict[str, Any]:
    """``date``, ``commit`` (with ``-dirty`` when the tree differs from it) and ``machine``.

    ``load_1m`` is the load average when the table begins: much above 0 means that others used the machine, too.
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": commit(),
        "machine": {
            "cpu": cpu_model(),
            "cores": os.cpu_count() or 0,
            "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20,
            "kernel": f"{platform.system()} {platform.release()}",
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            "load_1m": round(os.getloadavg()[0], 2),
        },
    }


def one_line(found: dict[str, Any]) -> str:
    """The same for people."""
    machine = found["machine"]
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_mib']} MiB; {machine['kernel']}; "
        f"{machine['python']}; load {machine['load_1m']}; commit {found['commit']}; {found['date']}"
    )


def cpu_model() -> str:
    """As the kernel names it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The short commit of this tree, or ``unknown`` outside of git."""
    found = _git("rev-parse", "--short=12", "HEAD")
    if not found:
        return "unknown"
    return f"{found}-dirty" if _git("status", "--porcelain") else found


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
