"""Remedies: what automatic actions do to the world, each bounded in time and kept apart from the cell's process."""

import logging
from dataclasses import dataclass
from typing import assert_never

from slakeeper.sla.policy import (
    AutomaticAction,
    CommandRemedy,
    DryRunRemedy,
    KubernetesRemedy,
    PythonRemedy,
    Remedy,
    WebhookRemedy,
)

OUTPUT_LIMIT = 16 * 1024
"""How much of a remedy's output is kept [bytes]: its end, where the reasons stand."""


@dataclass(frozen=True, slots=True)
class RemedyResult:
    """How one run of a remedy ended.

    Attributes:
        ok: it did what it was asked to do; whether that helped is seen on the metric.
        detail: one line for the record.
        output: the end of what it printed or answered, at most ``OUTPUT_LIMIT`` bytes of UTF-8.
        exit_code: of a program; negative for the signal that ended it, None when there was none.
        duration_ms: wall time [ms].
        uncertain: it did not say so, and may have done it all the same.
    """

    ok: bool
    detail: str
    output: str
    exit_code: int | None
    duration_ms: int
    uncertain: bool = False


def run_remedy(
    remedy: Remedy,
    action: AutomaticAction,
    *,
    idempotency_key: str,
    timeout_ms: int,
    dry_run: bool,
) -> RemedyResult:
    """Does what ``remedy`` says for ``action``, blocking until it has ended or was ended.

    Args:
        idempotency_key: the same for a repetition of the same attempt.
        timeout_ms: the longest it may take [ms]; the remedy's own ``timeout`` may be shorter.
        dry_run: only say what would be done.

    Returns:
        The result; a remedy that fails, or cannot even be started, is a result with ``ok`` False, never an error.
    """
    if dry_run or isinstance(remedy, DryRunRemedy):
        return _rehearse(remedy, action)
    limit_ms = timeout_ms if remedy.timeout is None else min(remedy.timeout, timeout_ms)
    match remedy:
        case CommandRemedy():
            from slakeeper.integrations.command import run_command

            return run_command(remedy, action, idempotency_key=idempotency_key, timeout_ms=limit_ms)
        case PythonRemedy():
            from slakeeper.integrations.command import run_python

            return run_python(remedy, action, idempotency_key=idempotency_key, timeout_ms=limit_ms)
        case WebhookRemedy():
            from slakeeper.integrations.webhook import call_webhook

            return call_webhook(remedy, action, idempotency_key=idempotency_key, timeout_ms=limit_ms)
        case KubernetesRemedy():
            from slakeeper.integrations.kubernetes import scale

            return scale(remedy, timeout_ms=limit_ms)
        case _:
            assert_never(remedy)


def _rehearse(remedy: Remedy, action: AutomaticAction) -> RemedyResult:
    parameters = ", ".join(f"{name}={value!r}" for name, value in action.parameters.items())
    detail = f"dry run: would {_deed(remedy, action)} on {action.target_name} with ({parameters})"
    logging.getLogger("slakeeper.remedy").info("%s: %s", action.name, detail)
    return RemedyResult(ok=True, detail=detail, output="", exit_code=None, duration_ms=0)


def _deed(remedy: Remedy, action: AutomaticAction) -> str:
    match remedy:
        case CommandRemedy():
            return f"run {' '.join(remedy.argv)}"
        case PythonRemedy():
            return f"call {remedy.entry}"
        case WebhookRemedy():
            # Not the whole address: a path or a query may be the key to it.
            return f"post to {remedy.url.split('/')[2].rpartition('@')[2]}"
        case KubernetesRemedy():
            size = f"to {remedy.replicas}" if remedy.add is None else f"by {remedy.add:+d}"
            return f"scale {remedy.namespace}/{remedy.deployment} {size}"
        case _:
            return f"do {action.action}"
