"""Tokens of senders: a file with one on each line, read again when it has changed."""

import hmac
import logging
from pathlib import Path

# A shorter one could be guessed.
MIN_TOKEN_CHARS = 16


class TokenFile:
    """Who may send samples and may do nothing else."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[bytes, ...] = ()

    def knows(self, token: bytes) -> bool:
        """Whether the token stands in the file now."""
        if self._path is not None:
            self._look(self._path)
        # Every one is compared, so that the time taken says nothing of which it was.
        return sum(hmac.compare_digest(token, each) for each in self._tokens) > 0

    def _look(self, path: Path) -> None:
        log = logging.getLogger(__name__)
        try:
            stat = path.stat()
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            if seen == self._seen:
                return
            lines = path.read_bytes().splitlines()
        except OSError as error:
            if self._tokens or self._seen != (0, 0, 0):
                log.error("%s cannot be read, nobody is let in by it: %s", path, error.strerror)
            self._seen, self._tokens = (0, 0, 0), ()
            return
        words = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith(b"#")]
        self._seen, self._tokens = seen, tuple(word for word in words if len(word) >= MIN_TOKEN_CHARS)
        if len(self._tokens) < len(words):
            log.error("%s: tokens of less than %d characters are not used", path, MIN_TOKEN_CHARS)
