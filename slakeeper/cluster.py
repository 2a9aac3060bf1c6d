"""All cells as one: asks the cell that knows, or every cell, and merges the answers."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from slakeeper.channel_state import merged_channels
from slakeeper.connection import RECONNECT_PATIENCE_S, CellConnection
from slakeeper.future import chain, failed, first_found, gather, settled, then, translated
from slakeeper.otp.placement import owner_of, partition_of
from slakeeper.request import RequestFailed, failure_of
from slakeeper.routing import MAX_IN_FLIGHT_SAMPLES, Cell, Router, Sample
from slakeeper.source_row import source_rows

# Processes of the system that are not below the root.
_ABOVE_ROOT = frozenset({"heart", "launcher", "thespian-admin", "thespian-logger", "root"})

VIA_PYTHON = "python"

METRICS_A_PAGE = 500
"""Contracts are asked for until they have so many metrics: some tens of milliseconds of a cell, which then has its
turns for everything else. 5 000 at once would take a good second on a busy machine."""

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


class _LocalCell:
    """A cell in this process: the same, but that its failures are of another class."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell

    @property
    def name(self) -> str:
        return self._cell.name

    @property
    def connected(self) -> bool:
        return bool(getattr(self._cell, "connected", True))

    def request(self, kind: str, payload: dict[str, Any]) -> Future[Any]:
        return translated(self._cell.request(kind, payload), _as_failure)

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        listen = getattr(self._cell, "listen", None)
        if listen is not None:
            listen(listener)

    def close(self) -> None:
        """It is not ours to stop."""


def _as_failure(error: BaseException) -> BaseException:
    to_wire = getattr(error, "to_wire", None)
    return error if to_wire is None else failure_of(to_wire())


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
        members = [cell if isinstance(cell, CellConnection) else _LocalCell(cell) for cell in cells]
        self._cells = {cell.name: cell for cell in members}
        self._isolated = dict(isolated or {})
        alone = set(self._isolated.values())
        self._shared = [cell for cell in members if cell.name not in alone]
        self._partitions = partitions
        self._via = via
        self._router = Router(members, max_in_flight)
        self._last_status: dict[str, Mapping[str, Any]] = {}

    @property
    def names(self) -> list[str]:
        """The cells' names, in the order of the topology."""
        return list(self._cells)

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
        return then(self._ask_pages("status", with_metrics=with_metrics), self._merge_status)

    def sources(self) -> Future[dict[str, Any]]:
        """``{"sources": [...], "cells": [{"name", "sources"}]}``: how each source does, together and in each cell."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            cells = [
                {"name": name, "sources": answer["sources"]}
                for name, answer in answers.items()
                if not isinstance(answer, Exception)
            ]
            return {"sources": source_rows(cells), "cells": cells}

        return then(self._ask("sources", {}), merge)

    def tree(self, processes: Sequence[Mapping[str, Any]] = ()) -> Future[dict[str, Any]]:
        """The whole tree below the root, with what ``processes`` (rows of the process table) says of each process."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            nodes = {name: None if isinstance(node, Exception) else node for name, node in answers.items()}
            return system_tree(processes, nodes)

        return then(self._ask("tree", {}), merge)

    def ping(self) -> Future[dict[str, bool]]:
        """Which cells answer."""

        def merge(answers: dict[str, Any]) -> dict[str, bool]:
            return {name: not isinstance(answer, Exception) for name, answer in answers.items()}

        return then(self._ask("ping", {}), merge)

    # --- contracts ----------------------------------------------------------------------------------

    def slas(self) -> Future[Rows]:
        """Every contract, by id."""
        return then(self._ask_pages("sla.list"), lambda answers: sorted(_rows(answers, "slas"), key=_id_of))

    def sla(self, sla_id: str) -> Future[dict[str, Any]]:
        """One contract with its period and metrics."""
        return self._owner(sla_id).request("sla.show", {"id": sla_id})

    def document(self, sla_id: str) -> Future[dict[str, Any]]:
        """One contract as a document that defines it again."""
        return self._owner(sla_id).request("sla.document", {"id": sla_id})

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

        return chain(self._ask("sla.dependencies", {}), checked)

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
        return self._owner(sla_id).request("report", payload)

    # --- violations and what is owed ----------------------------------------------------------------

    def violations(self, sla_id: str | None = None, include_resolved: bool = False) -> Future[Rows]:
        """Open violations, newest first; with ``include_resolved`` the resolved ones that are still kept too."""
        payload = {"sla": sla_id, "all": include_resolved}

        def merge(answers: dict[str, Any]) -> Rows:
            rows = sorted(_rows(answers, "violations"), key=_id_of)
            return sorted(rows, key=lambda row: row.get("start_time") or 0, reverse=True)

        return then(self._ask("violations", payload, sla_id), merge)

    def violation(self, violation_id: str) -> Future[dict[str, Any]]:
        """One violation, open or kept, with its actions, escalations, notes and what was booked for it."""
        return self._find("violation.show", {"id": violation_id})

    def acknowledge(
        self, violation_id: str, by: str, note: str | None = None, via: str | None = None
    ) -> Future[dict[str, Any]]:
        """Stops the escalation of a violation: somebody is on it. ``via`` is by what they said so, if not as usual."""
        return self._act("violation.ack", {"id": violation_id, "by": by, "note": note}, via)

    def incident(self, dedup_key: str) -> Future[dict[str, Any]]:
        """``{"violation_ids"}``: the violations that messages with this key were about and that have not ended."""
        return self._find("incident", {"dedup_key": dedup_key})

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
        return self._find("violation.enforce", {"id": violation_id})

    def estimate(self, violation_id: str) -> Future[dict[str, Any]]:
        """``{"compensation": [entries]}`` of one violation, booked or as they would be now."""
        return self._find("compensation.estimate", {"id": violation_id})

    def remediate(self, violation_id: str, action: str, dry_run: bool, by: str) -> Future[dict[str, Any]]:
        """Runs an action by hand."""
        payload = {"id": violation_id, "action": action, "dry_run": dry_run, "by": by}
        return self._act("violation.remediate", payload)

    def compensation(self, sla_id: str | None = None) -> Future[Rows]:
        """The ledger, the oldest entry first."""
        asked = self._ask("compensation", {"sla": sla_id}, sla_id)
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

        return then(self._ask("silences", {"all": include_expired}), merge)

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
        added = self._one_that_is_there().request("silence.add", {**payload, "via": self._via})
        return then(added, self._share_silence)

    def expire_silence(self, silence_id: str, by: str) -> Future[dict[str, Any]]:
        """Ends a silence now; what it muted and is still open is told."""
        payload = {"id": silence_id, "by": by, "via": self._via}
        return then(self._one_that_is_there().request("silence.expire", payload), self._share_silence)

    # --- remediation --------------------------------------------------------------------------------

    def turn_remediation(self, on: bool, by: str, reason: str) -> Future[dict[str, Any]]:
        """Switches automatic remediation on or off in all cells.

        Returns:
            ``{"state", "by", "reason", "time", "unreached"}``; the last are cells that have not confirmed it: they take
            it from the others when they are back.
        """
        payload = {"on": on, "by": by, "reason": reason, "via": self._via}
        turned = self._one_that_is_there().request("remediation.turn", payload)

        def share(switch: dict[str, Any]) -> Future[dict[str, Any]]:
            told = {
                name: cell.request("remediation.learn", {"switch": switch})
                for name, cell in self._cells.items()
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

    def _one_that_is_there(self) -> Cell:
        cells = list(self._cells.values())
        return next((cell for cell in cells if getattr(cell, "connected", True)), cells[0])

    def _share_silence(self, kept: dict[str, Any]) -> dict[str, Any]:
        """Tells every cell; one that is away hears of it from the others when it is back."""
        for cell in self._cells.values():
            cell.request("silence.learn", {"silences": [kept]})
        return kept

    def backup(self) -> Future[Rows]:
        """``{"name", "sequence", "files": [[name, bytes]]}`` of each partition: what a copy of it is made of now."""
        return then(self._ask("backup", {}), lambda answers: _rows(answers, "partitions"))

    # --- actors and events --------------------------------------------------------------------------

    def actor(self, operation: str, address: str, by: str = "") -> Future[dict[str, Any]]:
        """``state``, ``suspend``, ``resume``, ``restart`` or ``kill`` of one light actor."""
        return self._act(f"actor.{operation}", {"address": address, "by": by})

    def trace(self, address: str, since: int | None) -> Future[dict[str, Any]]:
        """``{"last", "lines": [{"number", "at_ms", "address", "what", "detail"}]}`` of one light actor."""
        return self._find("actor.trace", {"address": address, "since": since})

    def crashes(self) -> Future[Rows]:
        """The last crashes of light actors, the newest at the end."""
        return then(
            self._ask("actor.crashes", {}), lambda answers: sorted(_rows(answers, "crashes"), key=_at)
        )

    def dead_letters(self) -> Future[Rows]:
        """The last messages that nobody took, the newest at the end."""
        asked = self._ask("actor.dead_letters", {})
        return then(asked, lambda answers: sorted(_rows(answers, "dead_letters"), key=_at))

    def redeliver(self, letter_id: str, by: str = "") -> Future[dict[str, Any]]:
        """Delivers a dead letter after all."""
        return self._act("actor.redeliver", {"id": letter_id, "by": by})

    # --- who is told ---------------------------------------------------------------------------------

    def on_call(self, name: str | None, at_ms: int | None) -> Future[dict[str, Any]]:
        """``{"on_call": rows}``: who is on call of a rotation, or of all, at an instant (None: now) [Unix ms]."""
        return self._find("on_call", {"name": name, "at_ms": at_ms})

    def channels(self) -> Future[Rows]:
        """Every channel and how its messages went, over all cells that are there."""

        def merge(answers: dict[str, Any]) -> Rows:
            return merged_channels(
                each["channels"] for each in answers.values() if not isinstance(each, Exception)
            )

        return then(self._ask("channels", {}), merge)

    def test_channel(self, name: str, to: str | None, by: str) -> Future[dict[str, Any]]:
        """Has one cell that is there send a test message; ``{"test", "cell"}`` for `tested_channel`."""
        cell = next(
            (each for each in self._cells.values() if each.connected), next(iter(self._cells.values()))
        )
        payload = {"name": name, "to": to, "by": by, "via": self._via}
        return then(cell.request("channel.test", payload), lambda begun: {**begun, "cell": cell.name})

    def tested_channel(self, test: str, cell: str) -> Future[dict[str, Any]]:
        """``{"channel", "status", "detail"}`` of a test message; ``sending`` is no end yet."""
        if cell not in self._cells:
            return failed(RequestFailed("not_found", f"no cell {cell}"))
        return self._cells[cell].request("channel.tested", {"test": test})

    # --- the audit chain ----------------------------------------------------------------------------

    def audit_heads(self) -> Future[dict[str, Any]]:
        """``{"heads": [{"partition", "seq", "hash", "filed_seq", "filed_hash"}], "away": names of cells that do not
        answer}``."""

        def merge(answers: dict[str, Any]) -> dict[str, Any]:
            there = {name: each for name, each in answers.items() if not isinstance(each, Exception)}
            return {"heads": _rows(there, "heads"), "away": [name for name in answers if name not in there]}

        return then(self._ask("audit.heads", {}), merge)

    def note_process(self, operation: str, name: str, by: str) -> Future[dict[str, Any]]:
        """Has a cell that is there, and is not itself concerned, note a ``kill`` or ``restart`` of a process."""
        there = [cell for cell in self._cells.values() if cell.connected]
        cell = next((each for each in there if each.name != name), next(iter(self._cells.values())))
        payload = {"operation": operation, "name": name, "by": by, "via": self._via}
        return cell.request("audit.note", payload)

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        """Calls ``listener(topic, payload)`` for every event of every cell, on the cells' own threads."""
        for cell in self._cells.values():
            cell.listen(listener)

    def close(self) -> None:
        """Closes every connection."""
        for cell in self._cells.values():
            cell.close()

    # --- inside -------------------------------------------------------------------------------------

    def _owner(self, sla_id: str) -> Cell:
        alone = self._isolated.get(sla_id)
        if alone is not None:
            return self._cells[alone]
        return self._shared[owner_of(partition_of(sla_id, self._partitions), len(self._shared))]

    def _ask(self, kind: str, payload: dict[str, Any], sla_id: str | None = None) -> Future[dict[str, Any]]:
        cells = [self._owner(sla_id)] if sla_id is not None else list(self._cells.values())
        return gather({cell.name: cell.request(kind, payload) for cell in cells})

    def _ask_pages(self, kind: str, *, with_metrics: bool = True) -> Future[dict[str, Any]]:
        """What all cells answer, each asked for its contracts a page at a time."""

        def ask(cell: Cell, before: dict[str, Any] | None) -> Future[dict[str, Any]]:
            after = None if before is None else before.get("next")
            wanted = {"page": METRICS_A_PAGE, "after": after, "metrics": with_metrics}

            def go_on(page: dict[str, Any]) -> Future[dict[str, Any]]:
                so_far = page if before is None else {**page, "slas": [*before["slas"], *page["slas"]]}
                return settled(so_far) if so_far.get("next") is None else ask(cell, so_far)

            return chain(cell.request(kind, wanted), go_on)

        return gather({cell.name: ask(cell, None) for cell in self._cells.values()})

    def _find(self, kind: str, payload: dict[str, Any]) -> Future[dict[str, Any]]:
        return first_found({name: cell.request(kind, payload) for name, cell in self._cells.items()})

    def _act(self, kind: str, payload: dict[str, Any], via: str | None = None) -> Future[dict[str, Any]]:
        return self._find(kind, {**payload, "via": via or self._via})

    def _changing(self, kind: str, sla_id: str, payload: dict[str, Any]) -> Future[dict[str, Any]]:
        def forget(result: dict[str, Any]) -> dict[str, Any]:
            self._router.forget()
            return result

        return then(self._owner(sla_id).request(kind, {**payload, "via": self._via}), forget)

    def _merge_status(self, answers: dict[str, Any]) -> dict[str, Any]:
        slas: Rows = []
        cells: Rows = []
        for name, answer in answers.items():
            up = not isinstance(answer, Exception)
            if up:
                self._last_status[name] = answer
            known = answer if up else self._last_status.get(name, {})
            slas.extend(row if up else {**row, "stale": True} for row in known.get("slas", ()))
            facts = {key: value for key, value in known.items() if key not in ("slas", "next")} if up else {}
            if isinstance(answer, RequestFailed) and answer.details.get("reason") == "no_room":
                facts = {"low_on_room": answer.message}
            cells.append({"name": name, "up": up, "actors": 0, "mailbox": 0, **facts})
        silences = max((cell.get("silences", 0) for cell in cells), default=0)
        return {
            "slas": sorted(slas, key=_id_of),
            "silences": silences,
            "remediation": _remediation(cells),
            "cells": cells,
            "sources": source_rows(cells),
        }


def circle_of(start: str, graph: Mapping[str, Sequence[str]]) -> list[str]:
    """A way from ``start`` along the graph back to it; empty when there is none."""
    came_from: dict[str, str] = {}
    left = [start]
    while left:
        here = left.pop()
        for following in graph.get(here, ()):
            if following == start:
                path = [here]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return [*reversed(path), start]
            if following not in came_from:
                came_from[following] = here
                left.append(following)
    return []


def system_tree(
    processes: Sequence[Mapping[str, Any]], cells: Mapping[str, Mapping[str, Any] | None]
) -> dict[str, Any]:
    """The root with its processes below it, each cell with its own tree.

    Args:
        processes: rows ``{"name", "pid", "restarts", "status", …}`` of the process table.
        cells: each cell's own node by its name, None for one that is away.
    """
    rows = {str(row["name"]): row for row in processes}
    names = [*cells, *(name for name in rows if name not in cells and name not in _ABOVE_ROOT)]
    children = [_process_node(name, rows.get(name, {}), cells.get(name), name in cells) for name in names]
    root = rows.get("root", {})
    return {
        "address": "root",
        "kind": "root",
        "type": "supervisor",
        "strategy": "one_for_one",
        "restart": "permanent",
        "pid": root.get("pid"),
        "status": root.get("status", "running"),
        "restarts": root.get("restarts", 0),
        "children": children,
    }


def _process_node(
    name: str, row: Mapping[str, Any], node: Mapping[str, Any] | None, is_cell: bool
) -> dict[str, Any]:
    status = "running" if node is not None or not is_cell else "restarting"
    return {
        "address": name,
        "kind": "cell" if is_cell else name,
        "type": "supervisor" if is_cell else "worker",
        "strategy": None,
        "restart": "permanent",
        "children": [],
        **(node or {}),
        "pid": row.get("pid") or (node or {}).get("pid"),
        "status": row.get("status", status),
        "restarts": row.get("restarts", 0),
    }


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


def _remediation(cells: Rows) -> dict[str, Any]:
    """How automatic remediation stands, as the cells know it.

    ``{"state", "by", "reason", "time", "left_alone", "breakers_open"}``; cells share their breakers, and not each of
    them has heard of all of them.
    """
    said = [cell["remediation"] for cell in cells if cell.get("remediation")]
    switches = [each["switch"] for each in said if each["switch"] is not None]
    switch = max(switches, key=lambda each: (each["time"], each["state"] == "off"), default=None)
    alone = [row for each in said for row in each["left_alone"]]
    untouched = {"state": "on", "by": None, "reason": None, "time": None}
    resting = {row["action"]: row for each in said for row in each.get("breakers_open", ())}
    return {
        **(untouched if switch is None else switch),
        "left_alone": alone,
        "breakers_open": [resting[name] for name in sorted(resting)],
    }
