"""The HTML part of a mail as it is by default: what the plain text says, as a table, with a button to acknowledge."""

from html import escape

from slakeeper.sla.notification import Notification

_COLOURS = {"info": "#2b6cb0", "warning": "#b7791f", "critical": "#c53030", "breach": "#822727"}
_END_COLOUR = "#2f855a"


def default_html(notification: Notification, link: str) -> str:
    """A page that needs nothing from anywhere: no image, no style sheet, no script."""
    colour = _COLOURS.get(notification.severity.value, "#4a5568")
    if notification.kind.value == "resolved":
        colour = _END_COLOUR
    parts = [
        '<!doctype html><html><body style="margin:0;padding:16px;font:14px/1.5 sans-serif;color:#1a202c">',
        f'<p style="border-left:4px solid {colour};padding:4px 12px">{escape(notification.subject)}</p>',
    ]
    violations = [each for each in notification.details.get("violations", ()) if each.get("facts")]
    if violations:
        parts += [_table(str(each.get("headline", "")), each["facts"]) for each in violations]
    else:
        parts.append(f"<pre>{escape(notification.body.strip())}</pre>")
    if link:
        parts.append(
            f'<p><a href="{escape(link)}" style="background:{colour};color:#fff;padding:8px 16px;border-radius:4px;'
            'text-decoration:none">Acknowledge …</a></p>'
        )
    if violations and (rest := _how_to(notification.body)):
        parts.append(f'<pre style="color:#4a5568">{escape(rest)}</pre>')
    return "\n".join([*parts, "</body></html>", ""])


def _table(headline: str, facts: dict[str, str]) -> str:
    rows = (
        f'<tr><td style="padding:2px 12px 2px 0;color:#4a5568">{escape(name)}</td><td>{escape(str(text))}</td></tr>'
        for name, text in facts.items()
    )
    return f'<p>{escape(headline)}</p>\n<table style="border-collapse:collapse">{"".join(rows)}</table>'


def _how_to(body: str) -> str:
    """What the plain text says beside the violations: whether it is late, and how to acknowledge by command."""
    paragraphs = body.strip().split("\n\n")
    return "\n\n".join(each for each in paragraphs if each.startswith(("Acknowledge", "Late", "Every level")))
