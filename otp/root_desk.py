"""Where the contact process's requests to the root supervisor are answered, each once."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from slakeeper.otp import posix
from slakeeper.otp.child_spec import SpecError
from slakeeper.otp.control import Answered, Reply, Request
from slakeeper.otp.generation import HEART, LAUNCHER, ROOT, THESPIAN_ADMIN, THESPIAN_LOGGER
from slakeeper.otp.service import CONTACT, ProcessSpec, RequestRefused
from slakeeper.otp.supervisor import (
    DeleteRequested,
    Error,
    Ok,
    Refusal,
    ReleaseRequested,
    RestartRequested,
    StartRequested,
    TerminateRequested,
    child_status,
    count_children,
    get_childspec,
    which_children,
)

if TYPE_CHECKING:
    from slakeeper.otp.process_supervisor import RootSupervisor


class RootDesk:
    """Owned by the root supervisor and used on its thread alone."""

    def __init__(self, root: "RootSupervisor") -> None:
        self._root = root
        self._answered = Answered()
        self._askers: dict[str, Any] = {}

    def serve(self, request: Request, sender: Any) -> None:
        """Does what is asked, unless it was asked before, and answers now or by :meth:`settle`."""
        if not self._answered.is_new(request.id):
            reply = self._answered.get(request.id)
            if reply is not None:
                self._root.send(sender, reply)
            return
        self._askers[request.id] = sender
        try:
            result = self._do(request)
        except RequestRefused as refused:
            self._answer(Reply(request.id, error={"code": refused.code, "message": str(refused)}))
        except (SpecError, KeyError, ValueError, TypeError) as error:
            self._answer(Reply(request.id, error={"code": "invalid", "message": f"{error}"}))
        else:
            if result is not None:
                self._answer(Reply(request.id, result))

    def settle(self, request_id: str, result: Ok | Error) -> None:
        """Answers a request with what the supervisor made of it."""
        if isinstance(result, Ok):
            self._answer(Reply(request_id, {"pid": result.pid, "facts": result.info}))
            return
        code = "not_found" if result.reason is Refusal.NOT_FOUND else "conflict"
        message = f"{result.reason}: {result.detail}" if result.detail else str(result.reason)
        self._answer(
            Reply(request_id, error={"code": code, "message": message, "reason": str(result.reason)})
        )

    def table(self, with_stats: bool) -> list[dict[str, Any]]:
        """Every process of the system, with what its last beat said if ``with_stats``.

        Restarts are counted over all generations of the heart.
        """
        root = self._root
        pids = {
            HEART: root.generation.heart_pid,
            LAUNCHER: root.generation.launcher_pid,
            THESPIAN_ADMIN: os.getppid(),
            THESPIAN_LOGGER: None if root.pillars is None else root.pillars.logger_pid,
            ROOT: os.getpid(),
        }
        again = root.generation.number - 1
        table: list[dict[str, Any]] = [
            {"name": name, "pid": pid, "status": "running", "restarts": 0 if name == HEART else again}
            for name, pid in pids.items()
        ]
        for info in reversed(which_children(root.state)):
            child = root.children.get(info.id)
            line = {
                "name": info.id,
                "pid": None if child is None else child.pid,
                "status": info.status,
                "restarts": info.restarts + root.generation.restarts.get(info.id, 0),
            }
            if child is not None and info.id == CONTACT:
                line["port"] = child.port
            table.append({**child.stats, **line} if child is not None and with_stats else line)
        return table

    def _do(self, request: Request) -> dict[str, Any] | None:
        """Returns the result, or None when :meth:`settle` will have it."""
        name = str(request.payload.get("name", ""))
        match request.name:
            case "processes":
                return {"processes": self.table(with_stats=True)}
            case "count_processes":
                return asdict(count_children(self._root.state))
            case "process_spec":
                return self._spec(name)
            case "kill":
                return self._kill(name)
            case "start_process":
                spec = ProcessSpec(**request.payload["spec"])
                self._root.feed(StartRequested(request.id, spec.child()))
            case "stop_process":
                self._root.feed(TerminateRequested(request.id, name))
            case "delete_process":
                self._root.feed(DeleteRequested(request.id, name))
            case "restart_process" if child_status(self._root.state, name) == "quarantined":
                self._root.feed(ReleaseRequested(request.id, name))
            case "restart_process":
                self._root.feed(RestartRequested(request.id, name))
            case "stop":
                self._root.writer.send(stop=True)
                return {}
            case _:
                raise RequestRefused("not_found", f"the root supervisor knows no request {request.name!r}")
        return None

    def _spec(self, name: str) -> dict[str, Any]:
        spec = get_childspec(self._root.state, name)
        if spec is None:
            raise RequestRefused("not_found", f"no process named {name!r} is known")
        return {field: getattr(spec, field) for field in ("id", "restart", "shutdown", "type", "significant")}

    def _kill(self, name: str) -> dict[str, Any]:
        pid = next((one["pid"] for one in self.table(with_stats=False) if one["name"] == name), None)
        if pid is None:
            raise RequestRefused("not_found", f"no process named {name!r} runs")
        posix.kill([pid])
        return {"name": name, "pid": pid}

    def _answer(self, reply: Reply) -> None:
        self._answered.put(reply)
        asker = self._askers.pop(reply.id, None)
        if asker is not None:
            self._root.send(asker, reply)
