"""A partition that has failed is the end of its cell, never the crash of the actor that finds out."""

import errno
from pathlib import Path

import pytest

from slakeeper.otp.actor import ActorSpec
from slakeeper.otp.clock import ManualClock
from slakeeper.otp.codec import Codec
from slakeeper.otp.host import Host
from slakeeper.otp.partition import JournalError, Partition
from slakeeper.otp.sim_filesystem import CrashFileSystem
from tests.unit.otp.sim_world import SUPERVISOR, TREE, Counter


class NoWorld:
    told: list[str] = []

    def submit(self, *_: object) -> None:
        pass


def host_with_a_failed_partition() -> Host:
    fs, codec = CrashFileSystem(), Codec()
    partition = Partition(Path("/data/p0"), codec, fs)
    partition.open()
    world = NoWorld()
    host = Host(TREE, {"counter": Counter}, ManualClock(1_000), codec, {"p0": partition}, world, world)
    host.start()
    host.start_child(SUPERVISOR, ActorSpec("counter", "counter"), partition)
    host.commit()
    fs.fail_at[fs.steps] = errno.EIO
    with pytest.raises(JournalError):
        host.snapshot(partition)
    return host


def test_a_call_that_finds_its_partition_failed_ends_the_host_not_the_actor() -> None:
    host = host_with_a_failed_partition()
    with pytest.raises(JournalError):
        host.ask("counter", ["o1", 1])
    assert host.counts["crashes"] == 0
