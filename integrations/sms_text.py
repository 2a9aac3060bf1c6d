"""How long a text is as an SMS, and how it is made to fit.

A message in the GSM 7-bit default alphabet holds 160 septets; one character outside of it makes all of it UCS-2, of
which 70 characters fit. Source: 3GPP TS 23.038, section 6.2.1 (the alphabet and its extension table).
"""

from typing import Final

ONE_PART: Final = 160
"""Septets of an SMS in the GSM alphabet."""

_BASIC: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED: Final = frozenset("\f^{}\\[~]|€")

_UCS2_PART: Final = 70

# Signs of typography that have a plain word for the same; names in other scripts have none and stay as they are.
_PLAIN: Final = str.maketrans(
    {"≤": "<=", "≥": ">=", "–": "-", "—": "-", "…": "...", "’": "'", "‘": "'", "„": '"', "“": '"', "”": '"', "→": "->",
     "×": "x", "·": ".", "\u00a0": " ", "\u202f": " ", "µ": "u"}
)  # fmt: skip


def plain(text: str) -> str:
    """The text with typography that is outside the GSM alphabet said plainly."""
    return text.translate(_PLAIN)


def length(text: str) -> int:
    """Septets of a text of the GSM alphabet; of any other what it takes of a part that is as long, rounded up."""
    if all(sign in _BASIC or sign in _EXTENDED for sign in text):
        return len(text) + sum(sign in _EXTENDED for sign in text)
    units = len(text.encode("utf-16-le", "replace")) // 2
    return -(-units * ONE_PART // _UCS2_PART)


def fitted(text: str, room: int) -> str:
    """The text, its end left out so that it takes no more than ``room`` septets."""
    if length(text) <= room:
        return text
    kept = text
    while kept and length(kept + "...") > room:
        kept = kept[:-1]
    return kept.rstrip() + "..."


def shortened(text: str, limit: int) -> str:
    """The text, its end left out so that it has no more than ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 3] + "..."
