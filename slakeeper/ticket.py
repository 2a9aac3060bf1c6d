"""One-time tickets that let a browser in without showing it the token.

A ticket is ``<expiry ms>.<nonce>.<HMAC-SHA256(token, both)>``. It proves that whoever made it could read the token;
the gateway takes each nonce once and gives a session for it.
"""

import hashlib
import hmac
import secrets

# Long enough to start a browser, short enough that a ticket left in a history or a log is worthless.
TICKET_LIFETIME_S = 60.0

# Keeps a ticket from being taken for anything else that is signed with the token.
_PURPOSE = b"slakeeper dashboard ticket\0"


def mint_ticket(token: str, now_s: float) -> str:
    """A ticket for ``/login?ticket=…``, good once and for ``TICKET_LIFETIME_S``.

    Args:
        token: the API token of ``run.json``.
        now_s: the wall clock, Unix [s].
    """
    claim = f"{round((now_s + TICKET_LIFETIME_S) * 1000)}.{secrets.token_hex(16)}"
    return f"{claim}.{_signature(token, claim)}"


def ticket_times(token: str, ticket: str) -> tuple[int, int, str] | None:
    """Reads a ticket: (minted at, expires at, nonce), both Unix [ms]; None when it was not signed with ``token``.

    Whether it is still in time and unused is for the caller to say.
    """
    expiry, _, rest = ticket.partition(".")
    nonce, _, signature = rest.partition(".")
    expected = _signature(token, f"{expiry}.{nonce}")
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return None
    expires_at_ms = int(expiry)
    return expires_at_ms - round(TICKET_LIFETIME_S * 1000), expires_at_ms, nonce


def _signature(token: str, claim: str) -> str:
    return hmac.new(token.encode(), _PURPOSE + claim.encode(), hashlib.sha256).hexdigest()
