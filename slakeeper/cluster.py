"""All cells as one: asks the cell that knows, or every cell, and merges the answers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from slakeeper.cell_status import merged_status
from slakeeper.channel_state import merged_channels
from slakeeper.connection import RECONNECT_PATIENCE_S, CellConnection
from slakeeper.dependency import circle_of
from slakeeper.future import chain, failed, gather, then
from slakeeper.membership import Membership
from slakeeper.request import RequestFailed
from slakeeper.routing import MAX_IN_FLIGHT_SAMPLES, Cell, Router, Sample
from slakeeper.source_row import source_rows
from slakeeper.system_tree import system_tree

VIA_PYTHON = "python"

Rows = list[dict[str, Any]]


def connect(
    cells: Sequence[Mapping[str, Any]],
    partitions: int,
    *,
    patience_s: float = RECONNECT_PATIENCE_S,
    max_in_flight: int = MAX_IN_FLIGHT_SAMPLES,
    via: str = VIA_PYTHON,
) -> "Cluster":
    """A cluster over sockets.

    Args:
        cells: ``{"name", "socket", "sla"?}`` each; one with ``sla`` serves that contract alone.
        partitions: how many the data directory has.
        patience_s: how long a request waits for a cell that is away.
        max_in_flight: samples that one cell may owe an answer for.
        via: what operators' acts come in by, for the audit chain.
    """
    connections = [CellConnection(cell["name"], cell["socket"], patience_s=patience_s) for cell in cells]
    isolated = {cell["sla"]: cell["name"] for cell in cells if cell.get("sla") is not None}
    return Cluster(connections, partitions, isolated, max_in_flight, via)


class Cluster:
    """Every request to the cells. Each method returns a future at once; they fail with `RequestFailed`.

    Args:
        cells: in the order of the topology, isolated ones too.
        partitions: how many the data directory has.
        isolated: contract id -> name of the cell that serves it alone.
        max_in_flight: samples that one cell may owe an answer for.
        via: what operators' acts come in by, for the audit chain.
    """

    def __init__(
        self,
        cells: Sequence[Cell],
        partitions: int,
        isolated: Mapping[str, str] | None = None,
        max_in_flight: int = MAX_IN_FLIGHT_SAMPLES,
        via: str = VIA_PYTHON,
    ) -> None:
        self._members = Membership(cells, partitions, isolated or {})
        self._via = via
        self._router = Router(list(self._members.cells.values()), max_in_flight)
        self._last_status: dict[str, Mapping[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """The cells' names, in the order of the topology."""
        return list(self._members.cells)

    @property
    def in_flight(self) -> dict[str, int]:
        """How many samples each cell owes an answer for."""
        return self._router.in_flight

    def samples(self, batch: Sequence[Sample], batch_id: str | None = None) -> Future[dict[str, Any]]:
        """Sends samples to the cells that want them; see `Router.samples`."""
        return self._router.samples(batch, batch_id)

    # --- how things are -----------------------------------------------------------------------------

    def status(self, *, with_metrics: bool = True) -> Future[dict[str, Any]]:
        """``{"slas": [...], "silences", "remediation", "cells": [{"name", "up", "actors", "mailbox", …}]}``.

        It never fails for a cell that is away. ``silences`` counts those that are in force.
        Contracts of a cell that is away are shown as last seen, with ``"stale": true``.

        Args:
            with_metrics: whether each contract's line has a line for each of its metrics.
        """

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            said = {name: each for name, each in answers.items() if not isinstance(each, Exception)}
            self._last_status.update(said)
            return merged_status(answers, self._last_status)

        return then(self._members.ask_pages("status", with_metrics=with_metrics), merge)

    def sources(self) -> Future[dict[str, Any]]:
        """``{"sources": [...], "cells": [{"name", "sources"}]}``: how each source does, together and in each cell."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            cells = [
                {"name": name, "sources": answer["sources"]}
                for name, answer in answers.items()
                if not isinstance(answer, Exception)
            ]
            return {"sources": source_rows(cells), "cells": cells}

        return then(self._members.ask("sources", {}), merge)

    def tree(self, processes: Sequence[Mapping[str, Any]] = ()) -> Future[dict[str, Any]]:
        """The whole tree below the root, with what ``processes`` (rows of the process table) says of each process."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            nodes = {name: None if isinstance(node, Exception) else node for name, node in answers.items()}
            return system_tree(processes, nodes)

        return then(self._members.ask("tree", {}), merge)

    def ping(self) -> Future[dict[str, bool]]:
        """Which cells answer."""

        def merge(answers: dict[str, Any]) -> dict[str, bool]:
            return {name: not isinstance(answer, Exception) for name, answer in answers.items()}

        return then(self._members.ask("ping", {}), merge)

    # --- contracts ----------------------------------------------------------------------------------

    def slas(self) -> Future[Rows]:
        """Every contract, by id."""
        return then(
            self._members.ask_pages("sla.list"), lambda answers: sorted(_rows(answers, "slas"), key=_id_of)
        )

    def sla(self, sla_id: str) -> Future[dict[str, Any]]:
        """One contract with its period and metrics."""
        return self._members.owner(sla_id).request("sla.show", {"id": sla_id})

    def document(self, sla_id: str) -> Future[dict[str, Any]]:
        """One contract as a document that defines it again."""
        return self._members.owner(sla_id).request("sla.document", {"id": sla_id})

    def define(self, document: Mapping[str, Any], by: str = "") -> Future[dict[str, Any]]:
        """Defines a contract, or its next version, as ``by`` wants it; ``{"id", "version", "warnings"?}``.

        Fails with ``invalid`` when contracts would depend on each other in a circle: each would mute the next one.
        """
        payload = {"document": dict(document), "by": by}
        sla_id, parents = str(document.get("id", "")), document.get("depends_on") or ()
        if not parents or not isinstance(parents, Sequence):
            return self._changing("sla.define", sla_id, payload)

        def checked(answers: dict[str, Any]) -> Future[dict[str, Any]]:
            depends_on = {row["id"]: row["depends_on"] for row in _rows(answers, "slas")}
            circle = circle_of(sla_id, {**depends_on, sla_id: [str(parent) for parent in parents]})
            if circle:
                text = f"contracts would depend on each other in a circle: {' -> '.join(circle)}"
                return failed(RequestFailed("invalid", text, {"reason": "dependency_cycle"}))
            unknown = [str(parent) for parent in parents if parent not in depends_on]
            defined = self._changing("sla.define", sla_id, payload)
            if not unknown:
                return defined
            warnings = [f"depends_on: there is no contract {parent!r} now" for parent in unknown]
            return then(defined, lambda answer: {**answer, "warnings": warnings})

        return chain(self._members.ask("sla.dependencies", {}), checked)

    def suspend(self, sla_id: str, by: str) -> Future[dict[str, Any]]:
        """Time of the contract counts for nothing until it is resumed."""
        return self._changing("sla.suspend", sla_id, {"id": sla_id, "by": by})

    def resume(self, sla_id: str, by: str) -> Future[dict[str, Any]]:
        """Ends a suspension."""
        return self._changing("sla.resume", sla_id, {"id": sla_id, "by": by})

    def remove(self, sla_id: str, by: str) -> Future[dict[str, Any]]:
        """Ends a contract."""
        return self._changing("sla.remove", sla_id, {"id": sla_id, "by": by})

    def report(
        self, sla_id: str, period: str = "current", report_format: str = "json"
    ) -> Future[dict[str, Any]]:
        """``{"document"}`` or ``{"text"}`` for ``current``, ``last`` or ``START/END``."""
        payload = {"sla": sla_id, "period": period, "format": report_format}
        return self._members.owner(sla_id).request("report", payload)

    # --- violations and what is owed ----------------------------------------------------------------

    def violations(self, sla_id: str | None = None, include_resolved: bool = False) -> Future[Rows]:
        """Open violations, newest first; with ``include_resolved`` the resolved ones that are still kept too."""
        payload = {"sla": sla_id, "all": include_resolved}

        def merge(answers: dict[str, Any]) -> Rows:
            rows = sorted(_rows(answers, "violations"), key=_id_of)
            return sorted(rows, key=lambda row: row.get("start_time") or 0, reverse=True)

        return then(self._members.ask("violations", payload, sla_id), merge)

    def violation(self, violation_id: str) -> Future[dict[str, Any]]:
        """One violation, open or kept, with its actions, escalations, notes and what was booked for it."""
        return self._members.find("violation.show", {"id": violation_id})

    def acknowledge(
        self,
        violation_id: str,
        by: str,
        note: str | None = None,
        via: str | None = None,
        *,
        takes_over: bool = True,
    ) -> Future[dict[str, Any]]:
        """Stops the escalation of a violation: somebody is on it.

        Args:
            via: by what they said so, if not as usual.
            takes_over: whether it counts while somebody's acknowledgement holds; else that is a ``conflict``.
        """
        payload = {"id": violation_id, "by": by, "note": note, "takes_over": takes_over}
        return self._act("violation.ack", payload, via)

    def incident(self, dedup_key: str) -> Future[dict[str, Any]]:
        """``{"violation_ids"}``: the violations that messages with this key were about and that have not ended."""
        return self._members.find("incident", {"dedup_key": dedup_key})

    def resolve(
        self, violation_id: str, by: str, note: str | None = None, via: str | None = None
    ) -> Future[dict[str, Any]]:
        """Closes a violation by hand."""
        return self._act("violation.resolve", {"id": violation_id, "by": by, "note": note}, via)

    def escalate(self, violation_id: str, by: str) -> Future[dict[str, Any]]:
        """Begins an escalation by hand."""
        return self._act("violation.escalate", {"id": violation_id, "by": by})

    def enforce(self, violation_id: str) -> Future[dict[str, Any]]:
        """Looks again at what an open violation calls for."""
        return self._members.find("violation.enforce", {"id": violation_id})

    def estimate(self, violation_id: str) -> Future[dict[str, Any]]:
        """``{"compensation": [entries]}`` of one violation, booked or as they would be now."""
        return self._members.find("compensation.estimate", {"id": violation_id})

    def remediate(self, violation_id: str, action: str, dry_run: bool, by: str) -> Future[dict[str, Any]]:
        """Runs an action by hand."""
        payload = {"id": violation_id, "action": action, "dry_run": dry_run, "by": by}
        return self._act("violation.remediate", payload)

    def compensation(self, sla_id: str | None = None) -> Future[Rows]:
        """The ledger, the oldest entry first."""
        asked = self._members.ask("compensation", {"sla": sla_id}, sla_id)
        return then(asked, lambda answers: sorted(_rows(answers, "compensation"), key=_booked))

    def decide(self, entry_id: str, approve: bool, by: str, reason: str) -> Future[dict[str, Any]]:
        """Approves or rejects an entry of the ledger."""
        return self._act(
            "compensation.decide", {"id": entry_id, "approve": approve, "by": by, "reason": reason}
        )

    def settle(self, entry_id: str, by: str, reason: str) -> Future[dict[str, Any]]:
        """Says that an approved entry of the ledger was paid out by hand."""
        return self._act("compensation.settle", {"id": entry_id, "by": by, "reason": reason})

    # --- silences -----------------------------------------------------------------------------------

    def silences(self, include_expired: bool = False) -> Future[Rows]:
        """Silences in force or to come, the newest first; with ``include_expired`` those that are over too."""

        def merge(answers: dict[str, Any]) -> Rows:
            there = {name: each for name, each in answers.items() if not isinstance(each, Exception)}
            # Every cell knows them all; only when none answers it is not known which there are.
            rows = {row["id"]: row for row in _rows(there or answers, "silences")}
            return sorted(rows.values(), key=lambda row: str(row["id"]), reverse=True)

        return then(self._members.ask("silences", {"all": include_expired}), merge)

    def silence(
        self,
        matchers: Sequence[Any],
        end: int,
        by: str,
        reason: str,
        start: int | None = None,
    ) -> Future[dict[str, Any]]:
        """Nobody is told of what all ``matchers`` match, from ``start`` (None: now) to ``end`` [Unix ms].

        Args:
            matchers: texts such as ``severity=~"warning|info"``, or ``{"name", "relation", "value"}``.
        """
        payload = {"matchers": list(matchers), "start": start, "end": end, "by": by, "reason": reason}
        added = self._members.one_that_is_there().request("silence.add", {**payload, "via": self._via})
        return then(added, self._share_silence)

    def expire_silence(self, silence_id: str, by: str) -> Future[dict[str, Any]]:
        """Ends a silence now; what it muted and is still open is told."""
        payload = {"id": silence_id, "by": by, "via": self._via}
        return then(self._members.one_that_is_there().request("silence.expire", payload), self._share_silence)

    # --- remediation --------------------------------------------------------------------------------

    def turn_remediation(self, on: bool, by: str, reason: str) -> Future[dict[str, Any]]:
        """Switches automatic remediation on or off in all cells.

        Returns:
            ``{"state", "by", "reason", "time", "unreached"}``; the last are cells that have not confirmed it: they take
            it from the others when they are back.
        """
        payload = {"on": on, "by": by, "reason": reason, "via": self._via}
        turned = self._members.one_that_is_there().request("remediation.turn", payload)

        def share(switch: dict[str, Any]) -> Future[dict[str, Any]]:
            told = {
                name: cell.request("remediation.learn", {"switch": switch})
                for name, cell in self._members.cells.items()
            }
            return then(
                gather(told),
                lambda answers: {
                    **switch,
                    "unreached": sorted(
                        name for name, answer in answers.items() if isinstance(answer, Exception)
                    ),
                },
            )

        return chain(turned, share)

    def _share_silence(self, kept: dict[str, Any]) -> dict[str, Any]:
        """Tells every cell; one that is away hears of it from the others when it is back."""
        for cell in self._members.cells.values():
            cell.request("silence.learn", {"silences": [kept]})
        return kept

    def backup(self) -> Future[Rows]:
        """``{"name", "sequence", "files": [[name, bytes]]}`` of each partition: what a copy of it is made of now."""
        return then(self._members.ask("backup", {}), lambda answers: _rows(answers, "partitions"))

    # --- actors and events --------------------------------------------------------------------------

    def actor(self, operation: str, address: str, by: str = "") -> Future[dict[str, Any]]:
        """``state``, ``suspend``, ``resume``, ``restart`` or ``kill`` of one light actor."""
        return self._act(f"actor.{operation}", {"address": address, "by": by})

    def trace(self, address: str, since: int | None) -> Future[dict[str, Any]]:
        """``{"last", "lines": [{"number", "at_ms", "address", "what", "detail"}]}`` of one light actor."""
        return self._members.find("actor.trace", {"address": address, "since": since})

    def crashes(self) -> Future[Rows]:
        """The last crashes of light actors, the newest at the end."""
        return then(
            self._members.ask("actor.crashes", {}), lambda answers: sorted(_rows(answers, "crashes"), key=_at)
        )

    def dead_letters(self) -> Future[Rows]:
        """The last messages that nobody took, the newest at the end."""
        asked = self._members.ask("actor.dead_letters", {})
        return then(asked, lambda answers: sorted(_rows(answers, "dead_letters"), key=_at))

    def redeliver(self, letter_id: str, by: str = "") -> Future[dict[str, Any]]:
        """Delivers a dead letter after all."""
        return self._act("actor.redeliver", {"id": letter_id, "by": by})

    # --- who is told ---------------------------------------------------------------------------------

    def on_call(self, name: str | None, at_ms: int | None) -> Future[dict[str, Any]]:
        """``{"on_call": rows}``: who is on call of a rotation, or of all, at an instant (None: now) [Unix ms]."""
        return self._members.find("on_call", {"name": name, "at_ms": at_ms})

    def channels(self) -> Future[Rows]:
        """Every channel and how its messages went, over all cells that are there."""

        def merge(answers: dict[str, Any]) -> Rows:
            return merged_channels(
                each["channels"] for each in answers.values() if not isinstance(each, Exception)
            )

        return then(self._members.ask("channels", {}), merge)

    def test_channel(self, name: str, to: str | None, by: str) -> Future[dict[str, Any]]:
        """Has one cell that is there send a test message; ``{"test", "cell"}`` for `tested_channel`."""
        cell = self._members.one_that_is_there()
        payload = {"name": name, "to": to, "by": by, "via": self._via}
        return then(cell.request("channel.test", payload), lambda begun: {**begun, "cell": cell.name})

    def tested_channel(self, test: str, cell: str) -> Future[dict[str, Any]]:
        """``{"channel", "status", "detail"}`` of a test message; ``sending`` is no end yet."""
        if cell not in self._members.cells:
            return failed(RequestFailed("not_found", f"no cell {cell}"))
        return self._members.cells[cell].request("channel.tested", {"test": test})

    # --- the audit chain ----------------------------------------------------------------------------

    def audit_heads(self) -> Future[dict[str, Any]]:
        """``{"heads": [{"partition", "seq", "hash", "filed_seq", "filed_hash"}], "away": names of cells that do not
        answer}``."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            there = {name: each for name, each in answers.items() if not isinstance(each, Exception)}
            return {"heads": _rows(there, "heads"), "away": [name for name in answers if name not in there]}

        return then(self._members.ask("audit.heads", {}), merge)

    def note_process(self, operation: str, name: str, by: str) -> Future[dict[str, Any]]:
        """Has a cell that is there, and is not itself concerned, note a ``kill`` or ``restart`` of a process."""
        payload = {"operation": operation, "name": name, "by": by, "via": self._via}
        return self._members.one_that_is_there(other_than=name).request("audit.note", payload)

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        """Calls ``listener(topic, payload)`` for every event of every cell, on the cells' own threads."""
        self._members.listen(listener)

    def close(self) -> None:
        """Closes every connection."""
        self._members.close()

    # --- inside -------------------------------------------------------------------------------------

    def _act(self, kind: str, payload: dict[str, Any], via: str | None = None) -> Future[dict[str, Any]]:
        return self._members.find(kind, {**payload, "via": via or self._via})

    def _changing(self, kind: str, sla_id: str, payload: dict[str, Any]) -> Future[dict[str, Any]]:
        def forget(result: dict[str, Any]) -> dict[str, Any]:
            self._router.forget()
            return result

        return then(self._members.owner(sla_id).request(kind, {**payload, "via": self._via}), forget)


def _rows(answers: Mapping[str, Any], key: str) -> Rows:
    """The rows of all answers, which are lists or ``{key: list}``; raises what any of the cells failed with."""
    rows: Rows = []
    for answer in answers.values():
        if isinstance(answer, Exception):
            raise answer
        rows.extend(answer[key] if isinstance(answer, dict) else answer)
    return rows


def _booked(row: Mapping[str, Any]) -> tuple[int, str]:
    # An entry's id begins with the time of what it is about, which may have been open for long.
    return int(row["booked_time"]), _id_of(row)


def _id_of(row: Mapping[str, Any]) -> str:
    return str(row.get("id", ""))


def _at(row: Mapping[str, Any]) -> int:
    return int(row["at_ms"])
