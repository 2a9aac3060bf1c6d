"""``slakeeper simulate`` and ``slakeeper compare``: contracts against a history, without a running system."""

import gc
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from slakeeper.session import BAD_CONFIGURATION, FAILED, Session, fail

if TYPE_CHECKING:
    from slakeeper.simulate import Draft

_samples_option = click.option(
    "--samples",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True),
    help="CSV (ts,metric,value[,sla]) or NDJSON, also gzipped; - is standard input.",
)
_from_option = click.option(
    "--from",
    "from_text",
    metavar="T",
    help="Begin here: Unix milliseconds or ISO 8601 (default: first sample).",
)
_to_option = click.option(
    "--to", "to_text", metavar="T", help="End here (default: end of the period that holds the last sample)."
)


def _history_options(run: Callable[..., None]) -> Callable[..., None]:
    return _samples_option(_from_option(_to_option(run)))


@click.option(
    "--config", type=click.Path(path_type=Path), help="Folder of the YAML files, or one contract file."
)
@_history_options
def simulate(
    session: Session, config: Path | None, samples: Path, from_text: str | None, to_text: str | None
) -> None:
    """What the contracts would have said of a history of samples.

    Ends with 1 when lines of the history could not be used.
    """
    from slakeeper.reading import config_directory
    from slakeeper.simulate import contract_document
    from slakeeper.simulate_text import simulation_text

    ran = _Run((config_directory(config),), samples, from_text, to_text)
    (replays,) = ran.results
    document = {"slas": [contract_document(each) for each in replays], **ran.facts()}
    session.show(document, simulation_text)
    ran.complain()


@click.argument("a", type=click.Path(path_type=Path, exists=True))
@click.argument("b", type=click.Path(path_type=Path, exists=True))
@_history_options
def compare(
    session: Session, a: Path, b: Path, samples: Path, from_text: str | None, to_text: str | None
) -> None:
    """Two drafts of contracts, A and B, on the same history: folders, or single contract files.

    Ends with 1 when lines of the history could not be used.
    """
    from slakeeper.simulate import compared
    from slakeeper.simulate_text import comparison_text

    ran = _Run((a, b), samples, from_text, to_text)
    document = {"a": str(a), "b": str(b), "slas": compared(*ran.results), **ran.facts()}
    session.show(document, comparison_text)
    ran.complain()


class _Run:
    """A history read once, for one or two drafts."""

    def __init__(
        self, drafts: Sequence[Path], samples: Path, from_text: str | None, to_text: str | None
    ) -> None:
        from slakeeper.history import History, HistoryError
        from slakeeper.simulate import Simulation

        from_ms, to_ms = _instant(from_text, "--from"), _instant(to_text, "--to")
        if from_ms is not None and to_ms is not None and to_ms <= from_ms:
            raise click.BadParameter("it must come after --from", param_hint="--to")
        self._samples = samples
        self._simulations = [Simulation(_draft(path), from_ms, to_ms) for path in drafts]
        # Nothing here makes cycles; looking for some among millions of numbers takes a fifth of the time.
        gc.disable()
        began_s = time.perf_counter()
        try:
            with click.open_file(str(samples), "rb") as source:
                self._history = History(source, from_ms, to_ms)  # type: ignore[arg-type]
                for block in self._history.blocks():
                    for simulation in self._simulations:
                        simulation.take(block)
        except HistoryError as error:
            fail(BAD_CONFIGURATION, f"{samples}: {error}")
        finally:
            gc.enable()
        self.results = [simulation.finish() for simulation in self._simulations]
        self._elapsed_s = time.perf_counter() - began_s

    def facts(self) -> dict[str, Any]:
        """How much was read, how fast, and what could not be used."""
        return {
            "samples": self._history.count,
            "refused": self._history.refused,
            "outside": self._history.outside,
            "unused": self._unused(),
            "elapsed_s": round(self._elapsed_s, 6),
        }

    def _unused(self) -> dict[str, int]:
        """Samples that were for no contract of any draft, by metric."""
        first, *others = [simulation.unused for simulation in self._simulations]
        for other in others:
            first = first & other
        return dict(sorted(first.items()))

    def complain(self) -> None:
        """Says on standard error what could not be used; ends with 1 when it was not all."""
        history = self._history
        for metric, count in self._unused().items():
            click.echo(f"slakeeper: no contract takes samples of {metric!r}: {count} unused", err=True)
        for line, reason in sorted(history.listed):
            click.echo(f"slakeeper: {self._samples}:{line}: {reason}", err=True)
        more = history.refused - len(history.listed)
        if more:
            click.echo(f"slakeeper: {self._samples}: and {more} more lines that cannot be used", err=True)
        if history.refused:
            sys.exit(FAILED)


def _draft(path: Path) -> "Draft":
    from slakeeper.config.problem import ConfigError
    from slakeeper.simulate import read_draft

    try:
        return read_draft(path)
    except ConfigError as error:
        for problem in error.errors:
            click.echo(f"slakeeper: {problem}", err=True)
        sys.exit(BAD_CONFIGURATION)


def _instant(text: str | None, option: str) -> int | None:
    from slakeeper.instant import read_ts

    if text is None:
        return None
    try:
        return read_ts(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from error
