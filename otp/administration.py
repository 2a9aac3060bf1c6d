"""OTP's supervisor API over the light supervisors of a host: what ``supervisor:start_child/2`` and its kin do there.

All of it takes place at once and is answered, for light actors start and stop without waiting.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from slakeeper.otp import supervisor as core
from slakeeper.otp.actor import ActorSpec, SupervisorSpec, child_spec
from slakeeper.otp.child_spec import ChildSpec, SpecError
from slakeeper.otp.tree import static_children

if TYPE_CHECKING:
    from slakeeper.otp.host import Host


class Administration:
    """Owned by a host; on its thread, between handlers. A supervisor is named by its own address, without the root's.

    Raises:
        RequestError: each method ``not_found`` when there is no such supervisor.
    """

    def __init__(self, host: "Host") -> None:
        self._host = host

    def start_child(self, supervisor: str, child: ActorSpec | SupervisorSpec) -> core.Ok | core.Error:
        """Adds a child and starts it. Errors: already_present, already_started, start_error (the spec is gone),
        bad_combination, invalid_child_spec, simple_one_for_one."""
        try:
            spec = child_spec(child)
        except SpecError as error:
            return core.Error(core.Refusal.INVALID_CHILD_SPEC, detail=str(error))
        return self._ask(supervisor, lambda ref: core.StartRequested(ref, spec))

    def spawn(self, supervisor: str, *arg: Any) -> core.Ok | core.Error:
        """start_child of a simple_one_for_one supervisor: one more of its template, with ``arg`` in place of its own.

        Errors: start_error, invalid_child_spec (of any other supervisor)."""
        return self._ask(supervisor, lambda ref: core.SpawnRequested(ref, arg))

    def terminate_child(self, supervisor: str, child_id: str) -> core.Ok | core.Error:
        """Stops a child; its spec, and what is recorded of it, stay. Errors: not_found."""
        return self._ask(supervisor, lambda ref: core.TerminateRequested(ref, child_id))

    def restart_child(self, supervisor: str, child_id: str) -> core.Ok | core.Error:
        """Starts a stopped child again. Errors: running, restarting, not_found, start_error, simple_one_for_one."""
        return self._ask(supervisor, lambda ref: core.RestartRequested(ref, child_id))

    def delete_child(self, supervisor: str, child_id: str) -> core.Ok | core.Error:
        """Forgets a stopped child and what is recorded of it. Errors: running, restarting, not_found,
        simple_one_for_one."""
        return self._ask(supervisor, lambda ref: core.DeleteRequested(ref, child_id))

    def which_children(self, supervisor: str) -> list[core.ChildInfo]:
        """All children, the last one to start first."""
        return core.which_children(self._host.tree.node(supervisor).state)

    def count_children(self, supervisor: str) -> core.ChildCount:
        """How many there are."""
        return core.count_children(self._host.tree.node(supervisor).state)

    def get_childspec(self, supervisor: str, child_id: str) -> ChildSpec | None:
        """The spec of a child, None if there is no such child."""
        return core.get_childspec(self._host.tree.node(supervisor).state, child_id)

    def change(self, spec: SupervisorSpec) -> core.Ok | core.Error:
        """code_change: gives the supervisor at ``spec.address`` other flags and children.

        What runs goes on; a child that is new is added and not started; one that is no longer named stays. It also
        holds for the supervisor's own next start. Errors: bad_combination, bad_start_spec, duplicate_child_name."""
        tree = self._host.tree
        node = tree.node(spec.address)
        children = tuple(static_children(spec))
        result = self._ask(spec.address, lambda ref: core.ChangeRequested(ref, spec.flags, children))
        if isinstance(result, core.Ok):
            node.spec = spec
            if node.parent is None:
                tree.spec = spec
            elif (above := node.parent.state.children.get(spec.address)) is not None:
                above.spec = replace(above.spec, start=spec)
        return result

    def _ask(self, supervisor: str, make: Callable[[core.Ref], core.Request]) -> core.Ok | core.Error:
        result = self._host.tree.request(supervisor, make)
        self._host.drain()
        return result
