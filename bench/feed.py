"""Batches straight into a cell's socket: ``python -m bench.feed SOCKET SECONDS IN_FLIGHT METRICS``; prints JSON.

One connection with so many batches on their way. The frames are made beforehand but for what differs in each.
"""

import json
import secrets
import socket
import sys
import time
from typing import Any

from slakeeper.otp.frame import FrameReader, pack_frame

_FIRST_ID = 1 << 16  # so that every id takes as many bytes as the first
_NAME_CHARS = 16


def feed(path: str, for_s: float, in_flight: int, metrics: list[str]) -> dict[str, Any]:
    """Sends for so long, waits for what is on its way.

    Returns:
        ``count`` of the samples that are durable, ``per_s``, ``waits_ms`` of the batches.

    Raises:
        RuntimeError: a sample was not taken.
    """
    samples = [[metric, 1.0, None, None, None] for metric in metrics]
    head, tail = _frame(samples)
    sent_s: dict[int, float] = {}
    waits_ms: list[float] = []
    run = secrets.token_hex(3)
    reader = FrameReader()
    number, began_s = _FIRST_ID, time.perf_counter()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(path)
        sending = True
        while sending or sent_s:
            frames = bytearray()
            while sending and len(sent_s) < in_flight:
                name = f"{run}-{number:0{_NAME_CHARS - 7}d}".encode()
                frames += head + number.to_bytes(4) + tail[0] + name + tail[1]
                sent_s[number] = time.perf_counter()
                number += 1
            if frames:
                connection.sendall(frames)
            data = connection.recv(1 << 20)
            now_s = time.perf_counter()
            sending = now_s - began_s < for_s
            for answered, ok, result in reader.feed(data):
                if not ok or len(result["accepted"]) != len(samples):
                    raise RuntimeError(f"not taken: {result}")
                waits_ms.append((now_s - sent_s.pop(answered)) * 1000)
    took_s = time.perf_counter() - began_s
    count = len(waits_ms) * len(samples)
    return {"count": count, "per_s": count / took_s, "waits_ms": waits_ms}


def _frame(samples: list[Any]) -> tuple[bytes, tuple[bytes, bytes]]:
    """A request cut at its id and its batch's id, which are put in for each one."""
    name = "\0" * _NAME_CHARS
    whole = pack_frame([_FIRST_ID, "samples", {"batch_id": name, "samples": samples}])
    head, _, rest = whole.partition(_FIRST_ID.to_bytes(4))
    before, _, after = rest.partition(name.encode())
    return head, (before, after)


if __name__ == "__main__":
    print(json.dumps(feed(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))))
