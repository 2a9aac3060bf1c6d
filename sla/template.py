"""Templates of messages: the user's own words, tried when the configuration is loaded, rendered when a message is sent.

jinja2 is imported by whoever has a template, and by nobody else. A template sees the variables of :func:`variables`
and nothing of the program: it runs in a sandbox, and a name that is not there is an error, not a blank.
"""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from slakeeper.sla.wording import local_time

if TYPE_CHECKING:
    from jinja2 import Environment

    from slakeeper.sla.notification import Notification

Markup = Literal["text", "html", "slack"]

MAX_CHARS: Final = 128 * 1024
"""A text longer than this is no message: its template fails."""

FACTS: Final = (
    "promised", "measured", "worst", "at last", "now", "since", "until", "severity", "taken by", "tried", "told",
    "costs",
)  # fmt: skip
"""What can be said about a violation; as a variable with ``_`` for the blank, and empty when it does not apply."""

_OF_VIOLATION: Final = (
    "id", "metric_name", "status", "actual_value", "worst_value", "threshold_value", "condition", "unit",
    "start_time", "end_time", "acknowledged_by", "headline",
)  # fmt: skip


class TemplateFailed(Exception):
    """A template does not compile, or makes no text of a message; says where in it and why."""


def variables(
    notification: "Notification", recipients: tuple[str, ...] = (), ack_url: str = ""
) -> dict[str, Any]:
    """What a template may name, for one message; every name is there, whatever the message."""
    details = notification.details
    return {
        "id": notification.id,
        "kind": notification.kind.value,
        "severity": notification.severity.value,
        "sla_id": notification.sla_id,
        "sla_name": notification.sla_name,
        "subject": notification.subject,
        "body": notification.body,
        "at": local_time(notification.at_ms, details.get("timezone", "UTC")),
        "at_ms": notification.at_ms,
        "level": details.get("escalation", {}).get("level"),
        "recipients": list(recipients),
        "ack_url": ack_url,
        "violations": [_of_violation(each) for each in details.get("violations", ())],
    }


def _of_violation(document: Mapping[str, Any]) -> dict[str, Any]:
    facts = document.get("facts", {})
    named = {name.replace(" ", "_"): facts.get(name, "") for name in FACTS}
    return {**{key: document.get(key) for key in _OF_VIOLATION}, **named, "facts": dict(facts)}


_SAMPLE_FACTS: Final = {name: name for name in FACTS}

SAMPLE: Final[Mapping[str, Any]] = {
    "id": "opened-0", "kind": "opened", "severity": "critical", "sla_id": "api", "sla_name": "API",
    "subject": "[critical] API: latency", "body": "API: latency does not keep its promise.\n",
    "at": "2026-11-01 10:00:00 CET", "at_ms": 1_793_523_600_000, "level": 0, "recipients": ["ann@example.com"],
    "ack_url": "https://sla.example.com/ack?token=t",
    "violations": [
        {
            "id": "v0", "metric_name": "latency", "status": "open", "actual_value": 300.0, "worst_value": 300.0,
            "threshold_value": 250.0, "condition": "lt", "unit": "ms", "start_time": 1_793_523_600_000,
            "end_time": None, "acknowledged_by": None, "headline": "API: latency does not keep its promise.",
            "facts": _SAMPLE_FACTS,
            **{name.replace(" ", "_"): name for name in FACTS},
        }
    ],
}  # fmt: skip
"""A message to try a template on."""


def check(text: str) -> None:
    """Compiles a template and tries it on a message.

    Raises:
        TemplateFailed: it does not compile, names what is not there, or fails.
    """
    from jinja2 import meta

    environment = _environment("text")
    tree = _guarded(lambda: environment.parse(text))
    if unknown := sorted(meta.find_undeclared_variables(tree) - SAMPLE.keys() - environment.globals.keys()):
        raise TemplateFailed(f"there is no variable {unknown[0]!r}; known here: {', '.join(sorted(SAMPLE))}")
    render(text, SAMPLE)


def render(text: str, values: Mapping[str, Any], markup: Markup = "text") -> str:
    """The text that a template makes.

    Args:
        markup: ``html`` and ``slack`` escape what variables hold.

    Raises:
        TemplateFailed: it makes none, or one that is too long.
    """
    made: str = _guarded(lambda: _environment(markup).from_string(text).render(values))
    if len(made) > MAX_CHARS:
        raise TemplateFailed(f"it makes a text of more than {MAX_CHARS} characters")
    return made


def _guarded(run: Any) -> Any:
    from jinja2 import TemplateSyntaxError

    try:
        return run()
    except TemplateSyntaxError as error:
        raise TemplateFailed(f"line {error.lineno} of it: {error.message}") from error
    except Exception as error:  # a template is a program of the user's, and may fail as any program does
        words = " ".join(str(error).split())
        raise TemplateFailed(f"{type(error).__name__}: {words}"[:500]) from error


@cache
def _environment(markup: Markup) -> "Environment":
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(
        undefined=StrictUndefined,
        autoescape=markup == "html",
        finalize=_escaped_for_slack if markup == "slack" else None,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _escaped_for_slack(value: Any) -> Any:
    """Slack's three control signs; what is undefined has to fail as it would without."""
    if not isinstance(value, str):
        return value
    return value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
