"""Tells systemd how the service is, when it is systemd that started it."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Sends one assignment, such as ``READY=1``; does nothing without systemd.

    Source: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    # systemd may be restarting itself; the next message will do.
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.setblocking(False)
        sock.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
