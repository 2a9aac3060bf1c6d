"""A journal is damaged in the middle: the service refuses to start, and the doctor mends what can be mended."""

from pathlib import Path

import pytest

from slakeeper.otp import posix
from slakeeper.otp.placement import partition_of
from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService

pytestmark = [pytest.mark.system, pytest.mark.timeout(120)]
pytest_plugins = ["tests.system.service_fixtures"]


def test_after_a_repair_the_service_starts_with_what_went_before_the_damage(
    make_service: MakeService, tmp_path: Path
) -> None:
    config = write_config(tmp_path / "config", [contract("shop", [metric("first"), metric("second")])])
    service = make_service(config)
    service.start()
    folder = service.data / "partitions" / f"p{partition_of('shop', 4):03d}"
    service.observe("first", 500)
    segment = max(folder.glob("journal-*.log"))
    before_bytes = segment.stat().st_size
    for _ in range(3):
        service.observe("second", 500)
    refused = service.invoke("doctor", "--repair")
    assert refused.code == 1
    assert "end it first" in refused.complaint
    everything = service.everything()
    posix.kill([service.pid("heart")])
    until(lambda: not any(process.alive() for process in everything), what="its end")

    content = bytearray(segment.read_bytes())
    content[before_bytes + 30] ^= 0xFF
    segment.write_bytes(content)
    start = service.cli(*service.start_arguments, "--detach")
    assert start.code == 1
    assert f"slakeeper --data {service.data} doctor --repair" in start.complaint

    looked = service.cli("--json", "doctor")
    assert looked.code == 1
    damaged = next(row for row in looked.document["partitions"] if row["state"] == "damaged")
    assert damaged["gives_up"]["contracts"] == ["shop"]
    assert service.cli("doctor", "--repair", "--by", "ann").code == 0
    # What the audit files had beyond is set aside, and the chain says so.
    assert service.show("audit", "verify")["ok"]
    service.start()
    assert [row["metric_name"] for row in service.show("violations")] == ["first"]
    service.observe("second", 500)
    assert {row["metric_name"] for row in service.show("violations")} == {"first", "second"}
    assert service.show("doctor")["state"] == "running"
    assert service.show("audit", "verify")["ok"]
    (repaired,) = (each for each in service.show("audit", "tail") if each["what"] == "partition.repaired")
    assert (repaired["who"], repaired["subject"]) == ("ann", folder.name)
    assert repaired["details"]["contracts"] == ["shop"]
    assert repaired["details"]["audit_entries_set_aside"] > 0
