"""What every command of the command line shares: its options, the way to the running system, and exit statuses."""

import contextlib
import functools
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import click

FAILED, BAD_CONFIGURATION, NOT_RUNNING, TIMED_OUT = 1, 2, 3, 4

REQUEST_TIMEOUT_S = 10.0

DATA_VARIABLE = "SLAKEEPER_DATA"


class Session:
    """The options every command knows, and the way to the running system."""

    def __init__(self, data: Path, *, as_json: bool) -> None:
        self.data = data
        self.as_json = as_json

    def ask(self, name: str, **payload: Any) -> dict[str, Any]:
        """Has the admin process carry out a command."""
        from slakeeper.otp.attach import Client

        with Client(self.data) as client:
            return client.request(name, payload, REQUEST_TIMEOUT_S)

    def show(self, document: Any, text: Callable[[Any], str]) -> None:
        """Prints JSON, or what ``text`` makes of the document."""
        click.echo(json.dumps(document, ensure_ascii=False) if self.as_json else text(document))
        click.get_current_context().meta[_HAS_SHOWN] = True


# What a command's context remembers of the way it was called: whether JSON is wanted, and was printed already.
_AS_JSON, _HAS_SHOWN = "slakeeper.as_json", "slakeeper.has_shown"

_REASONS = {
    FAILED: "failed",
    BAD_CONFIGURATION: "configuration",
    NOT_RUNNING: "not_running",
    TIMED_OUT: "timed_out",
}


def fail(status: int, message: str, reason: str = "", **details: Any) -> NoReturn:
    """Ends the command with one line on stderr; more when ``message`` has more, as each error of a configuration.

    With ``--json`` standard output gets ``{"error": {"reason", "message", …}}``, unless a document is there already.

    Args:
        reason: a word for programs; by default that of the exit status.
        details: what else such a program may want.
    """
    for line in message.splitlines():
        click.echo(f"slakeeper: {line}", err=True)
    context = click.get_current_context()
    if context.meta.get(_AS_JSON) and not context.meta.get(_HAS_SHOWN):
        _echo_error(reason or _REASONS[status], message, **details)
    sys.exit(status)


def _echo_error(reason: str, message: str, **details: Any) -> None:
    click.echo(json.dumps({"error": {"reason": reason, "message": message, **details}}, ensure_ascii=False))


class CommandLine(click.Group):
    """The outermost group: bad usage is one line, with the way to more, and a document with ``--json``."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        as_json = "--json" in args
        try:
            context = super().make_context(info_name, args, parent, **extra)
        except click.UsageError as error:
            raise _plainly(error, as_json=as_json) from error
        context.meta[_AS_JSON] = as_json
        return context

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            raise _plainly(error, as_json=ctx.meta[_AS_JSON]) from error


class _BadUsage(click.ClickException):
    exit_code = BAD_CONFIGURATION

    def __init__(self, message: str, *, as_json: bool) -> None:
        super().__init__(message)
        self._as_json = as_json

    def show(self, file: Any = None) -> None:
        click.echo(f"slakeeper: {self.message}", file=file, err=True)
        if self._as_json:
            _echo_error("usage", self.message)


def _plainly(error: click.UsageError, *, as_json: bool) -> click.ClickException:
    """One line about bad usage; a group that was called without a command shows its help instead."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        return error
    path = error.ctx.command_path if error.ctx is not None else "slakeeper"
    said_plainly = " ".join(error.format_message().split()).rstrip(".")
    return _BadUsage(f"{said_plainly}; see: {path} --help", as_json=as_json)


def command(
    group: click.Group, name: str, **context_settings: Any
) -> Callable[[Callable[..., None]], click.Command]:
    """A command of ``group`` that knows ``--data`` and ``--json`` and turns failures into exit statuses."""

    def decorate(run: Callable[..., None]) -> click.Command:
        @functools.wraps(run)
        def guarded(data: Path | None, as_json: bool, **options: Any) -> None:
            context = click.get_current_context()
            chosen = data or _above(context, "data") or Path(os.environ.get(DATA_VARIABLE, "slakeeper-data"))
            session = Session(Path(chosen).absolute(), as_json=as_json or bool(_above(context, "as_json")))
            context.meta[_AS_JSON] = session.as_json
            _guard(lambda: run(session, **options))

        with_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(guarded)
        with_data = DATA_OPTION(with_json)
        return group.command(name, context_settings=context_settings)(with_data)

    return decorate


def _above(context: click.Context | None, name: str) -> Any:
    """What an option was given before the command's name: to a group of commands, or to `slakeeper` itself."""
    while context is not None:
        if value := context.params.get(name):
            return value
        context = context.parent
    return None


DATA_OPTION = click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help=f"Data directory (default: ${DATA_VARIABLE} or ./slakeeper-data).",
)


def said(context: click.Context, option: click.Parameter, given: str) -> str:
    """Refuses an option that was given and says nothing: `--by "$USER"` where there is no USER."""
    if not given.strip():
        raise click.BadParameter("it is empty: say who, or why", context, option)
    return given


def by_option(run: Callable[..., None]) -> Callable[..., None]:
    """Gives a command ``--by``, whoever is logged in by default."""
    who = click.option("--by", default=current_user, callback=said, help="Who does this.")
    return who(run)


output_option = click.option(
    "-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Write to a file."
)


def write(output: Path | None, text: str) -> None:
    """Puts ``text``, which ends with a line feed, into a file, or prints it."""
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        # As it is: CSV has line endings of its own.
        output.write_bytes(text.encode())
    except OSError as error:
        fail(FAILED, f"{output}: {error.strerror}")


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Says where a disk failed that was written to: the error of a file that is open names none."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def current_user() -> str:
    """Whoever is logged in."""
    return os.environ.get("USER") or "operator"


# What every error document has; the rest of it is details.
_ERROR_KEYS = frozenset({"status", "message", "reason"})


def _guard(run: Callable[[], None]) -> None:
    try:
        run()
    except PermissionError as error:
        # The data directory is its owner's alone.
        fail(FAILED, f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing more can be written, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if error.filename is None:  # it is our output that cannot be written
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        fail(FAILED, f"{error.filename or 'output'}: {error.strerror}")
    except Exception as error:
        _explain(error)
        raise


def _explain(error: Exception) -> None:
    """Ends the command when the error is one of the way to the running system."""
    # Only now: `start` goes without Thespian for as long as it can.
    from slakeeper.otp.attach import NotRunning, RequestFailed, TimedOut

    match error:
        case NotRunning():
            fail(NOT_RUNNING, _nothing_runs(error.data))
        case TimedOut():
            fail(TIMED_OUT, str(error))
        case RequestFailed():
            for problem in error.details.get("errors", ()):
                click.echo(
                    f"slakeeper: {problem.get('path', '')}: {problem['message']} [{problem['reason']}]",
                    err=True,
                )
            # Nobody answered; an answer that something is down is an answer.
            is_silence = error.code == "unavailable" and error.details.get("reason") != "down"
            details = {key: each for key, each in error.details.items() if key not in _ERROR_KEYS}
            reason = str(error.details.get("reason") or error.code)
            fail(TIMED_OUT if is_silence else FAILED, str(error), reason, **details)


def _nothing_runs(data: Path) -> str:
    """Where was looked comes first: to start another, empty service there is seldom what is wanted."""
    here = shlex.quote(str(data))
    return (
        f"nothing runs on {data}; name another data directory with --data or {DATA_VARIABLE}, "
        f"or start one here: slakeeper --data {here} start"
    )
