"""The key that acknowledge links are signed with: made once, kept in the data directory, its owner's alone.

It is not the API token: that one changes with every start, and links have to outlive it. Who removes the file makes
every link that was sent worthless. A backup holds it, so that links go on after a loss.
"""

import secrets
from pathlib import Path

from slakeeper.otp.filesystem import OsFileSystem, write_atomically

ACK_KEY_FILE = "ack.key"

_KEY_BYTES = 32


def ack_key(data: Path) -> bytes:
    """The data directory's key, made when there is none.

    Raises:
        OSError: it can be neither read nor written.
    """
    path = data / ACK_KEY_FILE
    try:
        key = bytes.fromhex(path.read_text("ascii").strip())
    except (
        FileNotFoundError,
        ValueError,
    ):  # half of a key is none: links that were sent with it are lost either way
        key = b""
    if len(key) != _KEY_BYTES:
        key = secrets.token_bytes(_KEY_BYTES)
        write_atomically(OsFileSystem(), path, [key.hex().encode("ascii")]).close()
    return key
