"""What stands between slakeeper and a program with limits: sets them on itself and becomes the program.

    python -I -S limited.py LIMITS PROGRAM ARGUMENT…

``LIMITS`` is JSON: ``{"cpu": seconds, "as": bytes, "fsize": bytes, "nofile": count, "no_new_privs": true}``,
each optional.
Not in slakeeper's own process between fork and exec: with threads about, next to nothing may be done there. This file
imports nothing of ours.
"""

import ctypes
import json
import os
import resource
import sys

_PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h

_CANNOT_START = 126  # as a shell says it


def _restrict(limits: dict[str, int]) -> None:
    if limits.get("no_new_privs") and ctypes.CDLL(None, use_errno=True).prctl(
        _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0
    ):
        raise OSError(ctypes.get_errno(), "no_new_privileges is not to be had here")
    # The memory last: setting the others takes some.
    for name in ("cpu", "fsize", "nofile", "as"):
        if name in limits:
            which = getattr(resource, f"RLIMIT_{name.upper()}")
            _, most = resource.getrlimit(which)
            wanted = limits[name] if most == resource.RLIM_INFINITY else min(limits[name], most)
            # SIGXCPU at first, so that it can be told from other ends; a second later whoever ignores it is killed.
            hard = wanted + 1 if name == "cpu" and most == resource.RLIM_INFINITY else wanted
            resource.setrlimit(which, (wanted, hard))


def main() -> int:
    """The exit code, if the program did not start."""
    program = sys.argv[2:]
    try:
        _restrict(json.loads(sys.argv[1]))
        os.execvp(program[0], program)
    except OSError as error:
        sys.stdout.write(f"cannot be started: {error.strerror or error}: {program[0]}\n")
    return _CANNOT_START


if __name__ == "__main__":
    sys.exit(main())
