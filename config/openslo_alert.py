"""Alert policies of OpenSLO as escalation policies.

Here a walk begins with a violation, and a policy belongs to a severity and not to a contract: what maps is whom
to tell about what severity. Burn rates are watched in the windows of the SRE workbook, whatever a condition asks.
"""

from collections.abc import Iterator
from typing import Any, Final

from slakeeper.config.openslo import (
    AlertCondition,
    AlertConditionSpec,
    AlertNotificationTarget,
    AlertPolicy,
    AlertPolicySpec,
    Slo,
    TargetSpec,
)
from slakeeper.config.openslo_file import Entry, Library
from slakeeper.config.problem import Place

_SEVERITIES: Final = {
    **dict.fromkeys(
        ("critical", "crit", "page", "pager", "emergency", "fatal", "high", "sev1", "p1", "1"), "critical"
    ),
    **dict.fromkeys(
        ("warning", "warn", "ticket", "medium", "major", "sev2", "sev3", "p2", "p3", "2", "3"), "warning"
    ),
    **dict.fromkeys(
        ("info", "informational", "notice", "low", "minor", "sev4", "sev5", "p4", "p5", "4", "5"), "info"
    ),
}

_CHANNELS: Final = {
    "email": "email", "e-mail": "email", "mail": "email", "sms": "sms", "slack": "slack",
    "pagerduty": "pagerduty", "webhook": "webhook", "web-hook": "webhook", "log": "log",
}  # fmt: skip

_Placed = tuple[Entry, Place]


def escalation_policies(library: Library) -> list[dict[str, Any]]:
    """The policies of ``enforcement.yaml`` that the alert policies of all SLOs of a file stand for."""
    levels: dict[str, list[dict[str, Any]]] = {}
    for at, place, policy in _policies(library):
        if not policy.alert_when_breaching:
            library.note(at, (*place, "alertWhenBreaching"), "only what is broken begins an escalation")
            continue
        if policy.alert_when_no_data:
            library.note(
                at, (*place, "alertWhenNoData"), "missing data is shown by status, and told to nobody"
            )
        if not policy.alert_when_resolved:
            library.note(at, (*place, "alertWhenResolved"), "who was told of a violation is told of its end")
        severity = _severity(library, at, place, policy)
        if severity is None:
            continue
        for channel in _channels(library, at, place, policy):
            level = {"type": channel}
            if level not in levels.setdefault(severity, []):
                levels[severity].append(level)
    return [
        {"severity": severity, "levels": levels[severity]}
        for severity in ("info", "warning", "critical")
        if levels.get(severity)
    ]


def _policies(library: Library) -> Iterator[tuple[Entry, Place, AlertPolicySpec]]:
    """Each policy once: those within SLOs, and those that SLOs name."""
    seen: set[int] = set()
    for slo in library.of(Slo):
        for index, item in enumerate(slo.value.spec.alert_policies):
            place: Place = ("spec", "alertPolicies", index)
            if item.spec is not None:
                at, where, spec = slo, (*place, "spec"), item.spec
            else:
                found = library.find(AlertPolicy, item.alert_policy_ref)
                if found is None:
                    library.note(
                        slo, place, f"there is no AlertPolicy {item.alert_policy_ref!r} in this file"
                    )
                    continue
                at, where, spec = found, ("spec",), found.value.spec
            if id(spec) in seen:
                continue
            seen.add(id(spec))
            library.note(at, where, "whom to tell is a matter of the severity, for all contracts alike")
            if spec.description:
                library.note(at, (*where, "description"), "a policy has no description")
            yield at, where, spec


def _severity(library: Library, at: Entry, place: Place, policy: AlertPolicySpec) -> str | None:
    item = policy.conditions[0]
    where: Place = (*place, "conditions", 0)
    spec: AlertConditionSpec | None = item.spec
    if spec is None:
        found = library.find(AlertCondition, item.condition_ref)
        if found is None:
            library.note(at, where, f"there is no AlertCondition {item.condition_ref!r} in this file")
            return None
        at, where, spec = found, ("spec",), found.value.spec
    else:
        where = (*where, "spec")
    library.note(
        at,
        (*where, "condition"),
        "an escalation begins with a violation; burn rates have windows of their own",
    )
    if spec.description:
        library.note(at, (*where, "description"), "a condition has no description")
    severity = _SEVERITIES.get(spec.severity.lower())
    if severity is None:
        library.note(at, (*where, "severity"), "it is none of info, warning, critical: warning is taken")
    return severity or "warning"


def _channels(library: Library, at: Entry, place: Place, policy: AlertPolicySpec) -> Iterator[str]:
    for index, item in enumerate(policy.notification_targets):
        where: Place = (*place, "notificationTargets", index)
        target: TargetSpec | None = item.spec
        by = at
        if target is None:
            found = library.find(AlertNotificationTarget, item.target_ref)
            if found is None:
                library.note(
                    at, where, f"there is no AlertNotificationTarget {item.target_ref!r} in this file"
                )
                continue
            by, where, target = found, ("spec",), found.value.spec
        else:
            where = (*where, "spec")
        channel = _CHANNELS.get(target.target.lower())
        if target.description:
            library.note(by, (*where, "description"), "a channel has no description")
        if channel is None:
            library.note(by, (*where, "target"), f"there is no channel for {target.target!r}")
            continue
        if channel != "log":
            library.note(
                by, (*where, "target"), f"its address is missing: give {channel} one under 'channels'"
            )
        yield channel
