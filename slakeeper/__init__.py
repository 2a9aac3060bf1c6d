"""slakeeper keeps service level agreements: it watches them, acts, tells people, and works out what is owed."""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = ["App", "Client", "Metric", "Sla", "StartError", "__version__"]

if TYPE_CHECKING:
    from slakeeper.app import App
    from slakeeper.launch import StartError
    from slakeeper.reporter import Client
    from slakeeper.sla.contract import Sla
    from slakeeper.sla.metric import Metric

_HOMES = {
    "App": "slakeeper.app",
    "Client": "slakeeper.reporter",
    "Metric": "slakeeper.sla.metric",
    "Sla": "slakeeper.sla.contract",
    "StartError": "slakeeper.launch",
}


def __getattr__(name: str) -> Any:
    # On demand: every process imports this package, and most need none of these.
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'slakeeper' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(home), name)
