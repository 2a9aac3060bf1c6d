"""What the command line reads before anything is sent: the configuration's folder, contracts in a file."""

import os
from pathlib import Path

from slakeeper.config.loader import DEFAULT_DIR, Configuration, load, load_contracts
from slakeeper.config.problem import ConfigError, Problem
from slakeeper.config.service import ServiceSettings
from slakeeper.sla.contract import Sla
from slakeeper.sla.monitoring import MonitoringPolicy
from slakeeper.sla.policy import EnforcementPolicy

# In the data directory: the folder it was last started with.
CONFIG_MEMORY = "config-folder"


def config_directory(given: Path | None, data: Path | None = None, here: Path | None = None) -> Path:
    """The folder to read the configuration from.

    The one asked for; else the one this data directory was last started with, so that a start without options does
    not bring other contracts into it; else ``./config`` when there are YAML files in it; else the shipped one.

    Args:
        here: where the command was given, from which relative paths go; the working directory by default.
    """
    here = here or Path.cwd()
    if given is not None:
        return here / given
    memory = None if data is None else data / CONFIG_MEMORY
    if memory is not None and memory.is_file():
        return Path(memory.read_text().rstrip("\n"))
    local = here / "config"
    return local if any(local.glob("*.y*ml")) else DEFAULT_DIR


def remember(data: Path, folder: Path) -> None:
    """Leaves in the data directory which folder it was started with; the shipped one, which moves, is found without."""
    if folder.resolve() == DEFAULT_DIR.resolve():
        (data / CONFIG_MEMORY).unlink(missing_ok=True)
    else:
        (data / CONFIG_MEMORY).write_text(f"{folder}\n")


def empty_configuration() -> Configuration:
    """No contracts, no channels, no sources."""
    return Configuration((), EnforcementPolicy(), MonitoringPolicy(), ServiceSettings(), {})


def problems_of(folder: Path) -> list[Problem]:
    """Every error of a configuration, or of a single file of contracts; empty when it is valid.

    Names of sources and channels are checked in a folder only: a file's may be any system's.
    """
    if folder.is_file():
        return contracts_of(folder)[1]
    try:
        load(folder, os.environ)
    except ConfigError as error:
        return list(error.errors)
    return []


def contracts_of(file: Path) -> tuple[tuple[Sla, ...], list[Problem]]:
    """The contracts of one file, or all its errors."""
    contracts, problems = load_contracts(file)
    return tuple(contracts), list(problems)
