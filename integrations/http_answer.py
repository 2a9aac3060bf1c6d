"""An HTTP answer: what it says, how long it asks to wait, and what of it may be shown."""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, unquote, unquote_plus, urlsplit

from slakeeper.sla.duration import DAY_MS, SECOND_MS

READ_HERE_BYTES = 128 * 1024
"""A longer document is read by a process of its own. This much holds the other threads up for two milliseconds at most,
a megabyte for thirty; and another process takes thirty, but of its own."""

PATH_SIGNS = "/%:@!$&'()*+,;=~-._"
"""What may stand in a path as it is (RFC 3986 §3.3), and what is encoded already."""
QUERY_SIGNS = PATH_SIGNS + "?"
"""The same of a query (§3.4)."""

# Shorter than this nothing is a key that keeps anybody out.
_KEY_CHARS = 8

# A part of a path that is a word of an API, such as ``prometheus``. Keys have digits or capitals.
_WORD = re.compile("[a-z]*")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response.

    Attributes:
        body: at most the limit that was asked for; what had come when ``broken`` is set.
        broken: why the body is not whole, empty when it is.
        is_cut: not whole because the peer, or the time, ended it; False when it is only longer than wanted.
        secrets: texts that must not be shown.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    broken: str = ""
    is_cut: bool = False
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after_ms(self) -> int | None:
        """What ``Retry-After`` asks for [ms], at most a day; None when it is missing or makes no sense."""
        return parse_retry_after(self.headers.get("Retry-After"), time.time())

    def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is none, or too long to be read here (see :mod:`json_apart`).
        """
        if len(self.body) > READ_HERE_BYTES:
            raise ValueError(f"{len(self.body)} bytes are more than are read here")
        try:
            return json.loads(self.body)
        except RecursionError:
            raise ValueError("nested too deeply") from None

    def excerpt(self, limit: int = 200) -> str:
        """The beginning of the body as one line, secrets masked."""
        text = " ".join(self.body[: 16 * limit].decode("utf-8", "replace").split())
        text = masked("".join(sign for sign in text if sign.isprintable()), self.secrets)
        return text if len(text) <= limit else text[: limit - 1] + "…"


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without the secrets."""
    for secret in secrets:
        text = text.replace(secret, "***")
    return text


def address_secrets(url: str) -> set[str]:
    """What of an address is not shown where somebody says it back: what may be a key in its path or query.

    As it is written and as it is sent. What is too short to be a key, or a plain word, is left: masking it would make
    errors unreadable. The password is a secret however short it is.
    """
    parts = urlsplit(url)
    path, query = parts.path.strip("/"), parts.query
    given = {part for part in (path, *path.split("/")) if not _WORD.fullmatch(part)}
    given |= {query, *(pair.partition("=")[2] or pair for pair in re.split("[&;]", query))}
    forms = {
        form
        for each in given
        for form in (each, quote(each, safe=QUERY_SIGNS), unquote(each), unquote_plus(each))
    }
    password = {parts.password, unquote(parts.password)} if parts.password else set()
    return {form for form in forms if len(form) >= _KEY_CHARS} | password


def parse_retry_after(value: str | None, now_s: float) -> int | None:
    """Reads ``Retry-After``: seconds or a date (RFC 9110 §10.2.3).

    Args:
        now_s: Unix time [s], for a date.

    Returns:
        How long to wait [ms], 0 up to a day; None when there is no sense in it.
    """
    text = (value or "").strip()
    try:
        seconds = float(text) if text[:1].isdigit() else parsedate_to_datetime(text).timestamp() - now_s
    except (ValueError, TypeError, OverflowError):
        return None
    if not math.isfinite(seconds):
        return None
    return min(max(math.ceil(seconds * SECOND_MS), 0), DAY_MS)
