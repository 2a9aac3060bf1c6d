"""The examples of published terms: they load, and every tier begins and ends where it is published."""

from fractions import Fraction

import pytest
from click.testing import CliRunner

from slakeeper.cli import main
from slakeeper.config.loader import DEFAULT_DIR, load_contracts
from slakeeper.sla.compensation import settle_penalties
from slakeeper.sla.contract import Sla

FILES = sorted((DEFAULT_DIR / "examples").glob("*.yaml"))
CONTRACTS = {sla.id: sla for file in FILES for sla in load_contracts(file)[0]}

MONTH = (1_772_323_200_000, 1_775_001_600_000)
HAIR = Fraction(1, 10**9)

# Attainment [%] at and above which a month costs nothing, and the credit [%] below each bound, as published.
PUBLISHED: dict[str, list[tuple[str, int]]] = {
    "aws_ec2_region": [("99.99", 10), ("99", 30), ("95", 100)],
    "aws_ec2_instance": [("99.5", 10), ("99", 30), ("95", 100)],
    "aws_s3_standard": [("99.9", 10), ("99", 25), ("95", 100)],
    "aws_s3_infrequent_access": [("99", 10), ("98", 25), ("95", 100)],
    "gcp_bigtable_multi_region": [("99.999", 10), ("99", 25), ("95", 50)],
    "gcp_bigtable_multi_cluster": [("99.99", 10), ("99", 25), ("95", 50)],
    "gcp_bigtable_single_cluster": [("99.9", 10), ("99", 25), ("95", 50)],
    "azure_vm_zones": [("99.99", 10), ("99", 25), ("95", 100)],
}


def credit(sla: Sla, attainment: Fraction) -> int:
    """The credit in percent of a fee of 1000; the entry's amount, not its rate."""
    entries = settle_penalties(sla, attainment, MONTH, contract_version=1)
    return int(sum(entry.amount for entry in entries) / 10)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_passes_check(file: object) -> None:
    result = CliRunner().invoke(main, ["check", "--config", str(file)])
    assert (result.exit_code, result.output) == (0, f"The configuration in {file} is valid.\n")


def test_every_example_is_held_against_what_was_published() -> None:
    assert CONTRACTS.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("sla_id", PUBLISHED)
def test_every_tier_begins_and_ends_where_it_is_published(sla_id: str) -> None:
    sla, dearer_above = CONTRACTS[sla_id], 0
    assert sla.service_level == Fraction(PUBLISHED[sla_id][0][0])
    assert credit(sla, Fraction(100)) == 0
    for bound, percent in PUBLISHED[sla_id]:
        assert credit(sla, Fraction(bound)) == dearer_above
        assert credit(sla, Fraction(bound) - HAIR) == percent
        dearer_above = percent
    assert credit(sla, Fraction(0)) == dearer_above
