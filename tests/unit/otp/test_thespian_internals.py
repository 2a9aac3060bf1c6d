"""Thespian's insides are as they were when ``otp/transport.py``, ``launcher.py`` and the actors were written.

When one of these fails after a new version of Thespian: read the changes of that file, make the hardening fit, run
``tests/system``, and only then write the new digest here.
"""

import hashlib
import importlib
import importlib.util
import inspect
from importlib.metadata import version
from pathlib import Path

import pytest

from slakeeper.otp import transport
from slakeeper.otp.seal import seal

KEY = b"k" * 32

DIGESTS = {
    "thespian.actors": "cdb2fcd9091be11838c020ecb331b720c2a8f4580f637f4d380818170dbffa9d",
    "thespian.system.actorManager": "ef63efe7ab4f9b5efa085671aa51696d727876415b0b06c699ab33b84095121a",
    "thespian.system.addressManager": "bde03286ba816a81f63ecec77d4caf12017e4bb028d3483feda28d09e8e4e359",
    "thespian.system.logdirector": "d756ac5d9496a848f2715b69ed517eeec893e40619ea9ae720dfb7cd91d5b90e",
    "thespian.system.messages.multiproc": "af857ab8b8885371c0773e0b91212f5e4975520c6778a8950c2b0e96ddee07ed",
    "thespian.system.multiprocCommon": "fe2c4c348eac187d6cc7dabe0eff23dca276a2822e51b41d07e0c954c9e5efee",
    "thespian.system.systemBase": "778f900603739440168272618faf74be53ff6c4a2e1aac746498ea254ae7fd40",
    "thespian.system.systemCommon": "6d8a54fdf089d749a8d2bacf3165f5f812e5d8f2e5a5e66b67e83efa5977877c",
    "thespian.system.transport": "432692dd0d8969b91e738d3895dc736c860961d6185c338aee0b4235c0211f14",
    "thespian.system.transport.IPBase": "ff75cc8eb35019a3783b9ee3d8e8720c9fe4d6a6c3219fef7e1934b85c359a69",
    "thespian.system.transport.TCPTransport": "303b9a9b3871ca949f70c5f57654fc8147e44f8d0e9981c55902a1b0f16a2c59",
    "thespian.system.transport.asyncTransportBase": "67ed9591a1703beae2178b78034046858d91aef6d29172cb1a1b0b68b7054062",
    "thespian.system.transport.streamBuffer": "3aa2191109c9aec9b7c96a6617eb7799dbe63e866de0d403075eb11e8f53f850",
    "thespian.system.transport.wakeupTransportBase": "26cb1a58eb4f93ffe37bfe08b68b3ceb9e3b934f5e41de515039602cb0ffe6ac",
}


def test_the_version_is_the_pinned_one() -> None:
    assert version("thespian") == "4.0.1"


@pytest.mark.parametrize("name", sorted(DIGESTS))
def test_a_module_that_is_relied_on_is_unchanged(name: str) -> None:
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    # Line ends are the packager's, not the author's.
    text = Path(spec.origin).read_bytes().replace(b"\r\n", b"\n")
    assert hashlib.sha256(text).hexdigest() == DIGESTS[name]


def test_every_overridden_method_exists_in_the_original() -> None:
    hardened = transport.hardened(KEY)
    (original,) = hardened.__bases__
    ours = {
        "__module__",
        "__qualname__",
        "__doc__",
        "__init__",
        "port",
        "post",
        "__firstlineno__",
        "__static_attributes__",
    }
    overridden = set(vars(hardened)) - ours
    assert overridden == {
        "_acceptNewIncoming",
        "_addedDataToIncoming",
        "_check_XMIT_4_done",
        "__del__",
        "close",
        "external_transport_clone",
        "run",
        "scheduleTransmit",
        "serializer",
    }
    assert all(hasattr(original, name) for name in overridden)


def test_the_stand_in_buffer_offers_all_that_the_transport_calls() -> None:
    source = inspect.getsource(inspect.getmodule(transport.hardened(KEY).__bases__[0]) or transport)
    for name in ("addMore", "remainingAmount", "isDone", "completed", "removeExtra"):
        assert hasattr(transport._SealedBuffer(KEY), name)
    assert ".is_empty(" not in source


def test_the_private_copy_leaves_the_original_alone() -> None:
    original = importlib.import_module("thespian.system.transport.TCPTransport")
    from thespian.system.transport.IPBase import TCPv4ActorAddress
    from thespian.system.transport.streamBuffer import ReceiveBuffer

    transport.hardened(KEY)
    assert original.TCPv4ActorAddress is TCPv4ActorAddress
    assert original.ReceiveBuffer is ReceiveBuffer


def test_every_address_is_on_loopback() -> None:
    for asked in (None, "", "0.0.0.0", "192.0.2.1"):
        address = transport.LoopbackAddress(asked, 4711, external=("192.0.2.1", 80))
        assert address.bindArgs == (("127.0.0.1", 4711),)
        assert address.connectArgs == (("127.0.0.1", 4711),)


def test_acknowledgements_are_sealed_and_bad_frames_get_none() -> None:
    import pickle

    copy = transport._private_copy(KEY)
    assert copy.ackMsg == seal(pickle.dumps("ACK"), KEY)
    assert copy.ackDataErrMsg == b""
