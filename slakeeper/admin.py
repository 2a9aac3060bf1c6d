"""The admin process: operators' commands arrive here and go on to the cells and to the root."""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from slakeeper.client import Cluster, RequestFailed, connect
from slakeeper.otp.service import RequestRefused, ServiceContext

# A command waits this long for the cells; one that is being restarted is back within a second.
PATIENCE_S = 5.0

# Processes whose end is the end of this one, and how long the answer about it gets to leave before.
HEART = "heart"
ABOVE_US = frozenset({"admin", "root", "launcher", "thespian-admin", "thespian-logger"})
ANSWER_FIRST_S = 0.3


def admin(args: Mapping[str, Any], context: ServiceContext) -> "AdminService":
    """Makes the service; ``args`` are ``cells`` and ``partitions`` as for the gateway."""
    return AdminService(args, context)


class AdminService:
    """Answers what ``slakeeper …`` asks; see :meth:`request`."""

    def __init__(self, args: Mapping[str, Any], context: ServiceContext) -> None:
        self._args = args
        self._context = context
        self._cluster: Cluster | None = None

    def start(self) -> Mapping[str, Any]:
        self._cluster = connect(self._args["cells"], self._args["partitions"], via="cli")
        return {}

    def stop(self, deadline_s: float) -> None:
        if self._cluster is not None:
            self._cluster.close()

    def beat(self) -> Mapping[str, Any]:
        return {}

    def request(self, name: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Carries out one command; the names are those of the command line.

        Raises:
            RequestRefused: by the cell, or because it does not answer.
        """
        if self._cluster is None:
            raise RequestRefused("unavailable", "the admin process is starting")
        command = _COMMANDS.get(name)
        if command is None:
            raise RequestRefused("invalid", f"unknown command {name!r}")
        try:
            return command(self, self._cluster, payload)
        except RequestFailed as failure:
            raise RequestRefused(failure.code, str(failure), **failure.details) from failure
        except TimeoutError as error:
            raise RequestRefused(
                "unavailable", f"the cells did not answer within {PATIENCE_S:g} s"
            ) from error

    def kill(self, name: str) -> Mapping[str, Any]:
        """Kills a process; its supervisor, or the heart, brings it back.

        Raises:
            RequestRefused: it is the heart, which nothing in the system would bring back.
        """
        if name == HEART:
            raise RequestRefused("forbidden", "that would end the whole service; use: slakeeper stop")
        if name not in ABOVE_US:
            return self._context.root_request("kill", {"name": name}, PATIENCE_S)
        # This process goes with it: an answer that is never sent would be asked for again, and again.
        threading.Timer(ANSWER_FIRST_S, self._kill_later, (name,)).start()
        return {"name": name, "killed": True}

    def _kill_later(self, name: str) -> None:
        try:
            self._context.root_request("kill", {"name": name}, PATIENCE_S)
        except RequestRefused as refusal:
            logging.getLogger("slakeeper").error("%s was not killed: %s", name, refusal)

    def processes(self) -> list[dict[str, Any]]:
        """Every process of the system, from the root's own table."""
        listed: list[dict[str, Any]] = self._context.root_request("processes", {}, PATIENCE_S)["processes"]
        return listed


_Command = Callable[[AdminService, Cluster, Mapping[str, Any]], Mapping[str, Any]]


def _status(service: AdminService, cluster: Cluster, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    answer = cluster.status(with_metrics=bool(payload.get("metrics", True))).result(PATIENCE_S)
    cells = {cell["name"]: cell for cell in answer["cells"]}
    rows = []
    for process in service.processes():
        cell = cells.get(process["name"], {})
        counted = {"actors": cell.get("actors", 0), "mailbox": cell.get("mailbox", 0)}
        rows.append({**process, **counted})
    # The gateway's beat brings what its doors took; it has a place of its own in the status.
    doors = [door for row in rows for door in row.pop("ingest", ())]
    return {
        "slas": answer["slas"],
        "silences": answer["silences"],
        "remediation": answer["remediation"],
        "processes": rows,
        "cells": answer["cells"],
        "sources": answer["sources"],
        "sources_failing": answer["sources_failing"],
        "ingest": doors,
    }


def _tree(service: AdminService, cluster: Cluster, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    return cluster.tree(service.processes()).result(PATIENCE_S)


def _actor(service: AdminService, cluster: Cluster, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """An operation on a light actor, or kill and restart of a process by its name."""
    operation, address, by = str(payload["operation"]), str(payload["address"]), str(payload.get("by") or "")
    names = {process["name"] for process in service.processes()}
    if address not in names:
        return cluster.actor(operation, address, by).result(PATIENCE_S)
    if operation in ("kill", "restart"):
        if address != HEART:
            _note_process(cluster, operation, address, by)
        return service.kill(address)
    if operation == "state":
        return next(process for process in service.processes() if process["name"] == address)
    raise RequestRefused("invalid", f"{address} is a process: it can be killed, restarted or shown")


def _note_process(cluster: Cluster, operation: str, name: str, by: str) -> None:
    """Notes what is about to be done; when no cell can, it is done all the same, and the log says so.

    What hangs must be killed also when nothing else works any more.
    """
    try:
        cluster.note_process(operation, name, by).result(PATIENCE_S)
    except (RequestFailed, TimeoutError) as failure:
        logging.getLogger("slakeeper").error(
            "%s of process %s by %s is not in the audit chain: %s", operation, name, by or "operator", failure
        )


def _silence(service: AdminService, cluster: Cluster, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    """A silence, with ``warnings`` of what it names and nobody has: who mistypes a name is paged all the same."""
    matchers = payload["matchers"]
    made = cluster.silence(
        matchers, payload["end"], payload["by"], payload["reason"], payload.get("start")
    ).result(PATIENCE_S)
    slas = cluster.status().result(PATIENCE_S)["slas"]  # never fails: the silence is made
    known = {
        "sla": {row["id"] for row in slas},
        "metric": {metric["name"] for row in slas for metric in row["metrics"]},
    }
    warnings = [
        f"there is no {_NAMED[each['name']]} {each['value']!r} now"
        for each in matchers
        if isinstance(each, Mapping)
        and each["relation"] == "="
        and each["value"] not in known.get(each["name"], {each["value"]})
    ]
    return {**made, "warnings": warnings}


_NAMED = {"sla": "contract", "metric": "metric"}


def _observe(service: AdminService, cluster: Cluster, payload: Mapping[str, Any]) -> Mapping[str, Any]:
    sample = (
        payload["metric"],
        payload["value"],
        payload.get("ts"),
        payload.get("sla"),
        payload.get("labels"),
    )
    answer = cluster.samples([sample]).result(PATIENCE_S)
    if answer["rejected"]:
        first = answer["rejected"][0]
        reason = str(first["reason"] if isinstance(first, Mapping) else first[1])
        said = _REJECTED.get(reason, "").format(**payload) or "refused"
        raise RequestRefused("invalid", f"{said} [{reason}]", rejected=answer["rejected"])
    return {"accepted": 1, "rejected": []}


# What a code in an answer to samples means, for whoever typed one; other senders read the codes themselves.
_REJECTED = {
    "unknown_metric": "no contract here has a metric {metric!r}; see: slakeeper sla list",
    "unknown_sla": "there is no contract {sla!r}; see: slakeeper sla list",
    "labels_do_not_match": "no contract binds {metric!r} to these labels; see: slakeeper sla show",
    "monitor_down": "a monitor of {metric!r} is down (being restarted, suspended or in quarantine) and did not get it; "
    "see: slakeeper tree",
    "not_a_number": "{value} is not a number",
    "not_finite": "{value} is not a finite number",
    "negative_time": "the sample's time is before 1970",
    "future": "the sample's time is more than a minute ahead of this machine's clock",
    "too_old": "the sample's time is more than 400 days ago",
}


_COMMANDS: dict[str, _Command] = {
    "ping": lambda service, cluster, payload: {},
    "status": _status,
    "sources": lambda service, cluster, payload: cluster.sources().result(PATIENCE_S),
    "tree": _tree,
    "slas": lambda service, cluster, payload: {"slas": cluster.slas().result(PATIENCE_S)},
    "sla": lambda service, cluster, payload: cluster.sla(payload["id"]).result(PATIENCE_S),
    "document": lambda service, cluster, payload: cluster.document(payload["id"]).result(PATIENCE_S),
    "define": lambda service, cluster, payload: cluster.define(
        payload["document"], payload.get("by") or ""
    ).result(PATIENCE_S),
    "suspend": lambda service, cluster, payload: cluster.suspend(payload["id"], payload["by"]).result(
        PATIENCE_S
    ),
    "resume": lambda service, cluster, payload: cluster.resume(payload["id"], payload["by"]).result(
        PATIENCE_S
    ),
    "remove": lambda service, cluster, payload: cluster.remove(payload["id"], payload["by"]).result(
        PATIENCE_S
    ),
    "observe": _observe,
    "violations": lambda service, cluster, payload: {
        "violations": cluster.violations(payload.get("sla"), bool(payload.get("all"))).result(PATIENCE_S)
    },
    "violation": lambda service, cluster, payload: cluster.violation(payload["id"]).result(PATIENCE_S),
    "ack": lambda service, cluster, payload: cluster.acknowledge(
        payload["id"], payload["by"], payload.get("note")
    ).result(PATIENCE_S),
    "resolve": lambda service, cluster, payload: cluster.resolve(
        payload["id"], payload["by"], payload.get("note")
    ).result(PATIENCE_S),
    "escalate": lambda service, cluster, payload: cluster.escalate(
        payload["id"], payload.get("by", "")
    ).result(PATIENCE_S),
    "remediate": lambda service, cluster, payload: cluster.remediate(
        payload["id"], payload["action"], bool(payload.get("dry_run")), payload.get("by", "")
    ).result(PATIENCE_S),
    "remediation": lambda service, cluster, payload: cluster.turn_remediation(
        bool(payload["on"]), payload["by"], payload["reason"]
    ).result(PATIENCE_S),
    "compensation": lambda service, cluster, payload: {
        "compensation": cluster.compensation(payload.get("sla")).result(PATIENCE_S)
    },
    "decide": lambda service, cluster, payload: cluster.decide(
        payload["id"], payload["approve"], payload["by"], payload["reason"]
    ).result(PATIENCE_S),
    "settle": lambda service, cluster, payload: cluster.settle(
        payload["id"], payload["by"], payload["reason"]
    ).result(PATIENCE_S),
    "silences": lambda service, cluster, payload: {
        "silences": cluster.silences(bool(payload.get("all"))).result(PATIENCE_S)
    },
    "silence": _silence,
    "expire_silence": lambda service, cluster, payload: cluster.expire_silence(
        payload["id"], payload["by"]
    ).result(PATIENCE_S),
    "report": lambda service, cluster, payload: cluster.report(
        payload["sla"], payload["period"], payload["format"]
    ).result(PATIENCE_S),
    "channels": lambda service, cluster, payload: {"channels": cluster.channels().result(PATIENCE_S)},
    "channel_test": lambda service, cluster, payload: cluster.test_channel(
        payload["channel"], payload.get("to"), str(payload.get("by") or "")
    ).result(PATIENCE_S),
    "channel_tested": lambda service, cluster, payload: cluster.tested_channel(
        payload["test"], payload["cell"]
    ).result(PATIENCE_S),
    "on_call": lambda service, cluster, payload: cluster.on_call(
        payload.get("rotation"), payload.get("at_ms")
    ).result(PATIENCE_S),
    "backup": lambda service, cluster, payload: {"partitions": cluster.backup().result(PATIENCE_S)},
    "actor": _actor,
    "trace": lambda service, cluster, payload: cluster.trace(payload["address"], payload["since"]).result(
        PATIENCE_S
    ),
    "crashes": lambda service, cluster, payload: {"crashes": cluster.crashes().result(PATIENCE_S)},
    "dead_letters": lambda service, cluster, payload: {
        "dead_letters": cluster.dead_letters().result(PATIENCE_S)
    },
    "redeliver": lambda service, cluster, payload: cluster.redeliver(
        payload["id"], str(payload.get("by") or "")
    ).result(PATIENCE_S),
    "audit_heads": lambda service, cluster, payload: cluster.audit_heads().result(PATIENCE_S),
}
