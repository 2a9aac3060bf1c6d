"""The page behind an acknowledge link: it shows what the link is about, and acknowledges when its button is pressed.

Looking at it changes nothing: mail scanners and chat previews open every link they see.
"""

import time
from datetime import UTC, datetime
from html import escape
from typing import Any
from urllib.parse import parse_qs

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from slakeeper.client import Cluster, RequestFailed, Unavailable
from slakeeper.sla.ack_claim import Claim, read
from slakeeper.web.body import read_body
from slakeeper.web.bridge import Bridge

VIA = "link"

MAX_FORM_BYTES = 16 * 1024
MAX_NAME_CHARS = 200

# The page has a form, which the dashboard's own policy forbids; it runs and loads nothing.
_CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><title>slakeeper</title>
<style>body{font:16px/1.5 sans-serif;max-width:40em;margin:2em auto;padding:0 1em}
button{font-size:1.2em;padding:.5em 1.5em}li{margin:.5em 0}</style></head>
<body><h1>%s</h1>
%s
</body></html>
"""


class AckPage:
    """Serves ``/ack``.

    Args:
        key: what links are signed with; None when none are sent.
    """

    def __init__(self, cluster: Cluster, bridge: Bridge, key: bytes | None) -> None:
        self._cluster = cluster
        self._bridge = bridge
        self._key = key

    async def show(self, request: Request) -> Response:
        """GET: what it is about."""
        claim = self._claim(request)
        if isinstance(claim, Response):
            return claim
        try:
            rows = [await self._row(each) for each in claim.violation_ids]
        except Unavailable:
            return _away()
        return _page(
            "Acknowledge", _listed(rows) + (_form(claim) if any(row["is_open"] for row in rows) else "")
        )

    async def acknowledge(self, request: Request) -> Response:
        """POST: the button was pressed."""
        claim = self._claim(request)
        if isinstance(claim, Response):
            return claim
        by = claim.people[0] if len(claim.people) == 1 else await _given_name(request)
        if not by:
            return _page("Who are you?", _form(claim), 400)
        note = f"by the link sent over {claim.channel}"
        if claim.people:
            note += f" to {', '.join(claim.people)}"
        taken = 0
        try:
            for violation_id in claim.violation_ids:
                # However often it is pressed, and under whatever name: who holds a link takes over from nobody.
                taking = self._cluster.acknowledge(violation_id, by, note, VIA, takes_over=False)
                try:
                    await self._bridge.answer(taking)
                except Unavailable:
                    raise
                except RequestFailed as refusal:  # acknowledged already, over, or forgotten: the list says so
                    if refusal.code not in ("conflict", "not_found"):
                        raise
                else:
                    taken += 1
            rows = [await self._row(each) for each in claim.violation_ids]
        except Unavailable:
            return _away()
        if taken:
            title = f"Acknowledged by {by}"
        elif any(row["is_open"] for row in rows):
            title = "It was acknowledged already"
        else:
            title = "There was nothing to acknowledge any more"
        return _page(title, _listed(rows))

    def _claim(self, request: Request) -> Claim | Response:
        """What the link says, or the page that says what is wrong with it."""
        if self._key is None:
            return _page("No links here", "<p>This slakeeper sends no acknowledge links.</p>", 404)
        claim = read(self._key, request.query_params.get("token", ""))
        if claim is None:
            text = (
                "<p>It is none of this slakeeper's, or it was cut off on its way. Copy the whole address.</p>"
            )
            return _page("This link is not valid", text, 403)
        if claim.expires_at_ms <= time.time_ns() // 1_000_000:
            text = "<p>Acknowledge by the command that stands in the message, or in the dashboard.</p>"
            return _page("This link has ended", text, 410)
        return claim

    async def _row(self, violation_id: str) -> dict[str, Any]:
        try:
            found = await self._bridge.answer(self._cluster.violation(violation_id))
        except Unavailable:
            raise
        except RequestFailed as refusal:
            if refusal.code != "not_found":
                raise
            return {"text": f"{violation_id}: it is over, and not kept any more", "is_open": False}
        return {"text": _described(found), "is_open": not found["resolved"]}


async def _given_name(request: Request) -> str:
    body = await read_body(request.scope, request.receive, MAX_FORM_BYTES)
    values = parse_qs(body.decode("utf-8", "replace")).get("by", [""])
    name = " ".join(values[0].split())
    return name if name.isprintable() and len(name) <= MAX_NAME_CHARS else ""


def _described(found: dict[str, Any]) -> str:
    since = datetime.fromtimestamp(found["start_time"] // 1000, UTC)
    unit = "%" if found["unit"] in ("percent", "percentage") else found["unit"]
    text = (
        f"{found['sla_name'] or found['sla_id']}: {found['metric_name']} ({found['severity']}) "
        f"at {found['actual_value']:.10g} {unit}, since {since:%Y-%m-%d %H:%M:%S} UTC"
    )
    if found["resolved"]:
        return f"{text}; it is over"
    if found["acknowledged_by"]:
        return f"{text}; acknowledged by {found['acknowledged_by']}"
    return f"{text}; nobody has acknowledged it"


def _listed(rows: list[dict[str, Any]]) -> str:
    items = "".join(f"<li>{escape(row['text'])}</li>" for row in rows)
    return f"<ul>{items}</ul>"


def _form(claim: Claim) -> str:
    if len(claim.people) == 1:
        field, button = "", f"Acknowledge as {escape(claim.people[0])}"
    else:
        options = "".join(f'<option value="{escape(each)}">' for each in claim.people)
        field = (
            f'<p><label>Your name: <input name="by" required maxlength="{MAX_NAME_CHARS}" list="people"></label>'
            f'<datalist id="people">{options}</datalist></p>'
        )
        button = "Acknowledge"
    return f'<form method="post">{field}<p><button>{button}</button></p></form>'


def _away() -> Response:
    text = "<p>Nothing is lost. Try again in a few seconds.</p>"
    return _page("The service is being restarted", text, 503, {"retry-after": "2"})


def _page(title: str, content: str, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    every = {"content-security-policy": _CSP, **(headers or {})}
    return HTMLResponse(_PAGE % (escape(title), content), status, every)
