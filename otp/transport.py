"""Thespian's TCP transport, hardened: it listens on loopback alone and unpickles only what was sealed with the key.

All that is known here about Thespian 4.0.1's insides is what ``tests/unit/otp/test_thespian_internals.py`` pins.
The transport's module is loaded a second time under a name of our own, once for each key, and its globals are
replaced in that copy: other users of Thespian in the same process keep the original.
"""

import contextlib
import importlib.util
import pickle
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from types import ModuleType
from typing import Any, Final

from slakeeper.otp.seal import SealBroken, SealedReader, seal

_ORIGINAL: Final = "thespian.system.transport.TCPTransport"
LOOPBACK: Final = "127.0.0.1"

# Frames wait no longer than this: a stuck peer must not hold the twenty places Thespian has for sending.
_FRAME_LIFETIME: Final = timedelta(seconds=15)
_FRAME_RETRY: Final = timedelta(milliseconds=400)
# A connection that has not yet shown a sealed frame is a stranger's.
_STRANGER_LIFETIME: Final = timedelta(seconds=10)
_STRANGERS_MAX: Final = 48


@contextlib.contextmanager
def _without_name_lookups() -> Iterator[None]:
    """Importing Thespian's address module asks the DNS for this host's names, which can take many seconds."""
    kept = socket.getaddrinfo, socket.getfqdn
    socket.getaddrinfo = lambda *_args, **_kw: []
    socket.getfqdn = lambda name="": name or "localhost"
    try:
        yield
    finally:
        socket.getaddrinfo, socket.getfqdn = kept


with _without_name_lookups():
    from thespian.actors import ActorAddress
    from thespian.system.timing import ExpirationTimer
    from thespian.system.transport import ReceiveEnvelope, TransmitIntent, TransmitOnly
    from thespian.system.transport.IPBase import TCPv4ActorAddress
    from thespian.system.utilis import thesplog_control  # codespell:ignore utilis

__all__ = [
    "ActorAddress",
    "LoopbackAddress",
    "TransmitIntent",
    "TransmitOnly",
    "actor_address",
    "free_port",
    "hardened",
    "quiet",
]


class LoopbackAddress(TCPv4ActorAddress):
    """An address on this host, whatever was asked for; binding to it binds the loopback interface alone."""

    def __init__(self, _address: object = None, port: int = 0, external: object = False) -> None:
        super().__init__(LOOPBACK, port, False)


def actor_address(port: int) -> Any:
    """The ActorAddress of the actor that listens on ``port`` of this host."""
    return ActorAddress(LoopbackAddress(None, port))


def quiet() -> None:
    """Keeps Thespian from writing a log file of its own into the temporary folder."""
    thesplog_control(50, False, 0)


class _SealedBuffer:
    """Stands in for Thespian's ReceiveBuffer; unpickles only the body of a sealed frame."""

    def __init__(self, key: bytes) -> None:
        self._reader = SealedReader(key)

    def addMore(self, data: Any) -> None:  # noqa: N802  Thespian's names
        self._reader.feed(bytes(data or b""))

    def remainingAmount(self) -> int:  # noqa: N802
        return self._reader.wanted()

    def isDone(self) -> bool:  # noqa: N802
        return self._reader.wanted() == 0

    def removeExtra(self) -> None:  # noqa: N802
        """There is never anything beyond the frame."""

    def completed(self) -> tuple[Any, bytes] | None:
        body = self._reader.body()
        return None if body is None else (pickle.loads(body), b"")  # noqa: S301  sealed by one of us


def hardened(
    key: bytes,
    on_endpoint: Callable[[int | None], None] | None = None,
    on_run: Callable[[int | None], None] | None = None,
) -> Any:
    """Makes the transport class for one key.

    Args:
        key: the secret shared by all processes of a generation and its clients, 32 bytes.
        on_endpoint: called in each process Thespian forks, before its socket is open, with the endpoint's
            instance number: None for the admin, -1 for its logger, else an actor's.
        on_run: the same, just before the process first waits for messages.

    Returns:
        A subclass of Thespian's TCPTransport.
    """
    tcp = _private_copy(key)
    opened: list[Any] = []

    class HardenedTransport(tcp.TCPTransport):  # type: ignore[misc, name-defined]  # Thespian is not typed
        def __init__(self, init_type: Any, *args: Any) -> None:
            self._to_announce = isinstance(init_type, tcp.TCPEndpoint) and on_run is not None
            self._instance = init_type.args[0] if isinstance(init_type, tcp.TCPEndpoint) else None
            if isinstance(init_type, tcp.TCPEndpoint):
                # A process Thespian has just forked: its parents' sockets are not its own. Thespian closes some of
                # them by number; nothing has been opened since, so no number can stand for another file yet.
                for inherited in opened:
                    inherited.close()
                if on_endpoint is not None:
                    on_endpoint(self._instance)
            super().__init__(init_type, *args)
            opened.append(self)

        def run(self, handler: Any, duration: Any = None) -> Any:
            if self._to_announce and on_run is not None:
                self._to_announce = False
                on_run(self._instance)
            return super().run(handler, duration)

        @property
        def port(self) -> int:
            """Where this process listens."""
            return int(self.socket.getsockname()[1])

        def external_transport_clone(self) -> Any:
            return HardenedTransport(tcp.ExternalTransportCopy(), self._adminAddr, self.txOnly, False)

        def serializer(self, intent: Any) -> bytes:
            return seal(pickle.dumps((self.myAddress, intent.message)), key)

        def scheduleTransmit(self, manager: Any, intent: Any, has_exclusive_flag: bool = False) -> None:  # noqa: N802
            intent._quitTime = ExpirationTimer(_FRAME_LIFETIME)
            intent.transmit_retry_period = _FRAME_RETRY
            super().scheduleTransmit(manager, intent, has_exclusive_flag)

        def _acceptNewIncoming(self) -> None:  # noqa: N802
            known = set(self._incomingSockets)
            with contextlib.suppress(OSError):
                super()._acceptNewIncoming()
            for fd in set(self._incomingSockets) - known:
                self._incomingSockets[fd]._expires = ExpirationTimer(_STRANGER_LIFETIME)
            strangers = [
                fd for fd, one in self._incomingSockets.items() if one.fromAddress.addressDetails is None
            ]
            # The oldest goes first: one of us shows a sealed frame within milliseconds.
            for fd in strangers[:-_STRANGERS_MAX]:
                self._incomingSockets.pop(fd).close()

        def _addedDataToIncoming(self, incoming: Any, *args: Any, **kw: Any) -> Any:  # noqa: N802
            try:
                return super()._addedDataToIncoming(incoming, *args, **kw)
            except OSError:
                # The acknowledgement could not be written: whoever sent the frame is gone.
                incoming.close()
                return None

        def _check_XMIT_4_done(self, intent: Any, received: Any) -> Any:  # noqa: N802
            try:
                return super()._check_XMIT_4_done(intent, received)
            except SealBroken:
                # A stranger listens where one of us did. Thespian would lose count of its sends here.
                intent.stage = self._XMITStepRetry
                return self._nextTransmitStep(intent)

        def post(self, message: Any) -> None:
            """Puts a message into this process's own mailbox; from any thread or signal handler, never pickled."""
            self._incomingEnvelopes.append(ReceiveEnvelope(self.myAddress, message))
            self.interrupt_wait()

        def close(self) -> None:
            """Closes every socket; Thespian's own version leaves that to the garbage collector."""
            sockets = [getattr(self, "socket", None)]
            sockets += [one.socket for one in getattr(self, "_openSockets", {}).values()]
            sockets += [one.socket for one in getattr(self, "_incomingSockets", {}).values()]
            sockets += [
                getattr(one, "socket", None) for one in getattr(self, "_transmitIntents", {}).values()
            ]
            for name in ("_transmitIntents", "_waitingTransmits", "_incomingSockets", "_openSockets"):
                self.__dict__.pop(name, None)
            for one in sockets:
                if one is not None:
                    with contextlib.suppress(OSError):
                        one.close()
            if self in opened:
                opened.remove(self)

        def __del__(self) -> None:
            # A forked child gets a copy of its parent's transport; collecting that must not touch descriptors
            # that may be the child's own by now.
            """Nothing: :meth:`close` is for closing."""

    return HardenedTransport


def _private_copy(key: bytes) -> ModuleType:
    found = importlib.util.find_spec(_ORIGINAL)
    if found is None or found.origin is None:
        raise ImportError(f"no module named {_ORIGINAL}", name=_ORIGINAL)
    spec = importlib.util.spec_from_file_location("slakeeper.otp._thespian_tcp", found.origin)
    if spec is None or spec.loader is None:
        raise ImportError(f"cannot load {found.origin}", name=_ORIGINAL)
    tcp = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tcp)
    copy: Any = tcp
    copy.TCPv4ActorAddress = LoopbackAddress
    copy.ReceiveBuffer = lambda _loads: _SealedBuffer(key)
    copy.ackMsg = seal(pickle.dumps(copy.ackPacket), key)
    # Who sends what is no frame gets no answer at all.
    copy.ackDataErrMsg = b""
    return tcp


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind((LOOPBACK, 0))
        return int(sock.getsockname()[1])
