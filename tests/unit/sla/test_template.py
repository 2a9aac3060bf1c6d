"""Templates of messages."""

import pytest

from slakeeper.sla.notification import NotificationKind, alert, escalation, trial
from slakeeper.sla.template import SAMPLE, TemplateFailed, check, render, variables
from tests.unit.sla.acting import NOW_MS, contract, resolved, violation

NEWS = alert(contract(), NotificationKind.OPENED, [violation(99.5)], NOW_MS, dedup_key="k", costs={})


def test_every_message_has_every_variable_that_the_sample_has() -> None:
    for news in (
        NEWS,
        alert(contract(), NotificationKind.RESOLVED, [resolved(99.5, by="ann")], NOW_MS, dedup_key="k"),
        escalation(contract(), violation(99.5), "k", 2, NOW_MS),
    ):
        values = variables(news, ("ann",), "https://x/ack")
        assert values.keys() == SAMPLE.keys()
        assert values["violations"][0].keys() == SAMPLE["violations"][0].keys()
    assert variables(trial(NOW_MS)).keys() == SAMPLE.keys()


def test_a_template_says_what_it_likes_of_them() -> None:
    text = "{% for v in violations %}{{ v.metric_name }} {{ v.promised }}, {{ v.measured }}{{ v.costs }}{% endfor %}"
    assert render(text, variables(NEWS)) == "uptime > 99.999 %, 99.5 % (0.499 % off, 0.499 % of it)"
    walked = escalation(contract(), violation(99.5), "k", 2, NOW_MS)
    assert render("level {{ level }}", variables(walked)) == "level 2"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ severity }", "line 1 of it"),
        ("a\n{% if severity %}\nb", "line 3 of it"),
        ("{{ sverity }}", "there is no variable 'sverity'"),
        ("{% for v in violations %}{{ v.cost }}{% endfor %}", "no attribute 'cost'"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ violations.append(1) }}", "SecurityError"),
        ("{{ 'a' * 999999 }}", "more than 131072"),
        ("{% for i in range(99999999) %}{% endfor %}", "OverflowError"),
        ("{% include 'x' %}", "TypeError"),
    ],
)
def test_a_template_that_cannot_be_used_says_why(text: str, why: str) -> None:
    with pytest.raises(TemplateFailed, match=why):
        check(text)


def test_html_and_slack_escape_what_variables_hold() -> None:
    values = {**SAMPLE, "subject": "<b>&", "ack_url": "https://x/ack?token=a.b-_"}
    assert render("<p>{{ subject }}</p>", values, "html") == "<p>&lt;b&gt;&amp;</p>"
    assert render("<{{ ack_url }}|Ack> {{ subject }}", values, "slack") == (
        "<https://x/ack?token=a.b-_|Ack> &lt;b&gt;&amp;"
    )
    assert render("{{ subject }}", values) == "<b>&"
