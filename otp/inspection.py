"""Looking into a host, and a hand on its actors: what OTP has in ``sys`` and Observer."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import RequestError, Resumed
from slakeeper.otp.context import Call
from slakeeper.otp.crash_report import DeadLetter, words_of
from slakeeper.otp.mailbox import CALL
from slakeeper.otp.seat import Seat, describe_seat, describe_supervisor

if TYPE_CHECKING:
    from slakeeper.otp.host import Host

# A trace that nobody fetched for so long is switched off: whoever watched has gone without saying so.
TRACE_LEASE_MS = 10_000


class Inspector:
    """For people; on the host's thread, between handlers."""

    def __init__(self, host: "Host") -> None:
        self._host = host
        self._traced_until_ms: dict[str, int] = {}

    def describe(self, address: str) -> dict[str, Any]:
        """State and counters of an actor, or flags and counters of a supervisor.

        Args:
            address: an actor's, or a supervisor's as the tree shows it (``cell-0/definition_supervisor``).

        Raises:
            RequestError: ``not_found``.
        """
        tree = self._host.tree
        root, _, name = address.partition("/")
        if root == tree.spec.address and name in tree.nodes:
            return describe_supervisor(tree.nodes[name])
        seat = self.seat(address)
        return describe_seat(seat, self._state_of(seat))

    def _state_of(self, seat: Seat) -> Any:
        try:
            if seat.actor is not None:
                return seat.actor.dump()
            return self._host.stage.restored(seat)[0].dump() if seat.put_away else None
        except (Exception, SystemExit) as error:  # noqa: BLE001  foreign code; all else about it can still be shown
            return f"cannot be shown: {words_of(error)}"

    def suspend(self, address: str) -> None:
        """The actor handles nothing until :meth:`resume`; its messages wait."""
        self.seat(address).suspended = True

    def resume(self, address: str) -> None:
        """Ends a suspension; a quarantined actor is started again."""
        seat = self.seat(address)
        if seat.suspended and seat.is_live and seat.kind.hears_resumed:
            self._host.signal(seat, Resumed())
        seat.suspended = False
        if core.child_status(seat.node.state, seat.spec.address) == "quarantined":
            self._host.tree.drive(seat.node, core.ReleaseRequested(None, seat.spec.address))
        self._host.make_runnable(seat)

    def kill(self, address: str, reason: str = "killed") -> None:
        """Ends an actor without its terminate hook; its supervisor does what it does after a crash."""
        seat = self.seat(address)
        if not seat.is_live:
            raise RequestError("conflict", f"{address} is not running")
        self._host.exit(seat, reason)

    def crashes(self) -> list[dict[str, Any]]:
        """The last crashes, the newest at the end, as plain values."""
        return [asdict(report) for report in self._host.crash_reports]

    def letters(self) -> list[dict[str, Any]]:
        """The last dead letters, the newest at the end: id, at_ms, address, message (text), why."""
        return [self._letter(each) for each in self._host.dead_letters]

    def _letter(self, letter: DeadLetter) -> dict[str, Any]:
        return {
            "id": f"{self._host.tree.spec.address}/{letter.number}",
            "at_ms": letter.at_ms,
            "address": letter.address,
            "message": letter.message,
            "why": letter.why,
        }

    def redeliver(self, letter_id: str) -> dict[str, Any]:
        """Delivers a dead letter again; one that finds nobody becomes another dead letter.

        Raises:
            RequestError: ``not_found``.
        """
        root, _, number = letter_id.rpartition("/")
        known = root == self._host.tree.spec.address and number.isdecimal()
        letter = self._host.recorder.take_letter(int(number)) if known else None
        if letter is None:
            raise RequestError("not_found", f"no dead letter {letter_id}")
        # Whoever asked has had an error long since; what is done again is the request.
        message = Call(letter.content, lambda *_: None) if letter.how == CALL else letter.content
        self._host.post(letter.address, letter.how, message)
        return self._letter(letter)

    def trace(self, addresses: Iterable[str], since: int | None) -> dict[str, Any]:
        """Watches actors: what they did since the line ``since``, None to begin with.

        It goes on for ``TRACE_LEASE_MS`` after the last such question.

        Returns:
            ``{"last": the newest line's number, "lines": [{"number", "at_ms", "address", "what", "detail"}]}``.

        Raises:
            RequestError: ``not_found``.
        """
        host, until_ms = self._host, self._host.now_ms + TRACE_LEASE_MS
        names = [self.seat(address).spec.address for address in addresses]
        for name in names:
            self.seat(name).traced = True
            self._traced_until_ms[name] = until_ms
        host.timers.at(until_ms, self._end_traces)
        recorder = host.recorder
        lines = [] if since is None else recorder.traced_since(since, names)
        return {
            "last": recorder.last_line,
            "lines": [asdict(line) for line in lines],
        }

    def _end_traces(self) -> None:
        for address, until_ms in list(self._traced_until_ms.items()):
            if until_ms <= self._host.now_ms:
                del self._traced_until_ms[address]
                if self._host.exists(address):
                    self.seat(address).traced = False

    def seat(self, address: str) -> Seat:
        """The place of an actor, by address or registered name.

        Raises:
            RequestError: ``not_found``, or ``invalid`` for a supervisor.
        """
        seat = self._host.find(address)
        root, _, name = address.partition("/")
        if seat is None and root == self._host.tree.spec.address and name in self._host.tree.nodes:
            raise RequestError("invalid", f"{address} is a supervisor: it can only be shown")
        if seat is None:
            raise RequestError("not_found", f"no actor at {address}")
        return seat
