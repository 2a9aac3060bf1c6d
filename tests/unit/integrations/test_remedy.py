"""Remedies against real programs and a real server."""

import ast
import json
import logging
import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from slakeeper.integrations.program import Tail
from slakeeper.integrations.remedy import OUTPUT_LIMIT, RemedyResult, run_remedy
from slakeeper.sla.policy import (
    AutomaticAction,
    CommandRemedy,
    DryRunRemedy,
    PythonRemedy,
    Remedy,
    WebhookRemedy,
)
from slakeeper.sla.signature import sign
from tests.unit.integrations.fake_http import CERTIFICATE, Cut, Drip, FakeServer, Reply, free_port


def act(
    remedy: Remedy, *, timeout_ms: int = 20_000, dry_run: bool = False, **parameters: Any
) -> RemedyResult:
    action = AutomaticAction.model_validate(
        {
            "name": "scale_up",
            "trigger_metric": "throughput",
            "condition": {"lt": 10_000},
            "action": "scale_resources",
            "parameters": parameters,
            "target": "cluster-1",
        }
    )
    return run_remedy(remedy, action, idempotency_key="key-1", timeout_ms=timeout_ms, dry_run=dry_run)


def shell(script: str, **options: Any) -> CommandRemedy:
    return CommandRemedy(type="command", argv=("/bin/sh", "-c", script), **options)


def python(script: str, **options: Any) -> CommandRemedy:
    return CommandRemedy(type="command", argv=(sys.executable, "-c", script), **options)


def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> bool:
    end_s, pause = time.monotonic() + within_s, threading.Event()
    while not condition():
        if time.monotonic() > end_s:
            return False
        pause.wait(0.01)
    return True


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


# --- commands ----------------------------------------------------------------------------------------


def test_a_command_that_ends_well() -> None:
    result = act(shell("echo first; echo last >&2"))
    assert (result.ok, result.exit_code) == (True, 0)
    assert result.output == "first\nlast\n"
    assert result.detail == "exit code 0: last"
    assert 0 <= result.duration_ms < 10_000


def test_a_command_that_fails_says_how() -> None:
    result = act(shell("echo cannot reach the cluster; exit 3"))
    assert (result.ok, result.exit_code, result.detail) == (False, 3, "exit code 3: cannot reach the cluster")


def test_a_command_that_is_ended_by_a_signal_says_which() -> None:
    result = act(shell("kill -TERM $$"))
    assert (result.ok, result.exit_code, result.detail) == (False, -15, "ended by SIGTERM")


def test_no_shell_reads_the_arguments() -> None:
    result = act(CommandRemedy(type="command", argv=("/bin/echo", "$HOME; rm -rf *", "&& x")))
    assert result.output == "$HOME; rm -rf * && x\n"


@pytest.mark.parametrize("argv", [("/no/such/program",), ("no-such-program-anywhere",)])
def test_a_program_that_does_not_exist_is_a_failure(argv: tuple[str, ...]) -> None:
    result = act(CommandRemedy(type="command", argv=argv))
    assert (result.ok, result.exit_code, result.output) == (False, None, "")
    assert result.detail == f"cannot be started: No such file or directory: {argv[0]}"


def test_a_file_that_is_no_program_is_a_failure(tmp_path: Path) -> None:
    file = tmp_path / "plain"
    file.write_text("text")
    assert act(CommandRemedy(type="command", argv=(str(file),))).detail.startswith("cannot be started: ")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    assert act(CommandRemedy(type="command", argv=(str(file),))).detail.startswith("cannot be started: Exec")


def test_a_directory_that_is_not_there_is_a_failure() -> None:
    result = act(shell("true", cwd="/no/such/directory"))
    assert result.detail == "cannot be started: No such file or directory: /no/such/directory"


def test_an_argument_that_no_program_can_take_is_a_failure() -> None:
    assert act(CommandRemedy(type="command", argv=("/bin/echo", "a\0b"))).detail.startswith(
        "cannot be started: "
    )


def test_a_command_runs_where_it_is_told_with_nothing_on_its_input(tmp_path: Path) -> None:
    result = act(shell("pwd; cat; echo done", cwd=str(tmp_path)))
    assert result.output == f"{tmp_path}\ndone\n"


def test_a_command_knows_what_it_is_told_and_none_of_our_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK", "hush")
    result = act(shell("env", env={"REGION": "eu", "LANG": "xx"}), by=3, size=1.5, names=["a"])
    environment = dict(line.split("=", 1) for line in result.output.splitlines())
    assert json.loads(environment["SLAKEEPER_PARAMETERS"]) == {"by": 3, "size": 1.5, "names": ["a"]}
    assert environment["SLAKEEPER_ACTION"] == "scale_up"
    assert environment["SLAKEEPER_REMEDY"] == "scale_resources"
    assert environment["SLAKEEPER_TARGET"] == "cluster-1"
    assert environment["SLAKEEPER_TRIGGER_METRIC"] == "throughput"
    assert environment["SLAKEEPER_IDEMPOTENCY_KEY"] == "key-1"
    assert (environment["REGION"], environment["LANG"]) == ("eu", "xx")
    assert environment["PATH"] == os.environ["PATH"]
    assert "SLACK_WEBHOOK" not in environment


def test_a_command_that_is_late_is_killed_with_its_children_and_theirs(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"""
        trap '' TERM INT HUP
        sh -c 'trap "" TERM; sh -c "echo \\$\\$ >> {pids}; exec sleep 600" & echo $$ >> {pids}; wait' &
        echo $$ >> {pids}
        while [ "$(wc -l < {pids})" -lt 3 ]; do :; done
        echo all there
        wait
    """
    result = act(shell(script), timeout_ms=1_500)
    assert (result.ok, result.exit_code, result.detail) == (False, -9, "killed after 1s 500ms")
    assert result.output == "all there\n"
    assert 1_400 <= result.duration_ms < 8_000
    for pid in map(int, pids.read_text().split()):
        assert eventually(partial(is_gone, pid)), pid


def test_the_remedys_own_timeout_counts_when_it_is_shorter() -> None:
    assert act(shell("sleep 600", timeout=200)).detail == "killed after 200ms"
    assert act(shell("sleep 600", timeout=60_000), timeout_ms=200).detail == "killed after 200ms"


def test_what_a_command_leaves_behind_holds_nobody_and_is_killed() -> None:
    result = act(shell("sleep 600 & echo $!"))
    assert (result.ok, result.detail) == (True, f"exit code 0: {result.output.strip()}")
    assert result.duration_ms < 8_000
    assert eventually(lambda: is_gone(int(result.output)))


def test_what_starts_a_session_of_its_own_is_let_live_and_holds_nobody() -> None:
    result = act(
        python(
            "import subprocess, sys; print(subprocess.Popen("
            "[sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True).pid)"
        )
    )
    daemon = psutil.Process(int(result.output))
    daemon.kill()
    assert result.ok
    assert result.duration_ms < 8_000
    assert eventually(lambda: is_gone(daemon.pid))


def test_a_flood_of_output_is_kept_bounded_and_its_end_is_kept() -> None:
    result = act(python("import sys\nfor i in range(200_000): print('line', i)\nsys.exit(7)"))
    assert (result.ok, result.exit_code) == (False, 7)
    assert len(result.output.encode()) <= OUTPUT_LIMIT
    assert result.output.endswith("line 199998\nline 199999\n")
    assert result.detail == "exit code 7: line 199999"


def test_an_endless_flood_is_killed_at_the_timeout() -> None:
    result = act(shell("while :; do echo 0123456789012345678901234567890123456789; done"), timeout_ms=300)
    assert result.detail == "killed after 300ms"
    assert 0 < len(result.output) <= OUTPUT_LIMIT


def test_a_command_that_closes_its_output_is_still_waited_for() -> None:
    result = act(shell("echo before; exec >&- 2>&-; sleep 0.2; exit 4"))
    assert (result.output, result.exit_code) == ("before\n", 4)
    assert result.duration_ms >= 150


def test_output_that_is_no_text_is_made_text() -> None:
    result = act(python(r"import os; os.write(1, b'\xff\xfe\x00 x\xe9 \xc3\xa9\n')"))
    assert result.output == "\ufffd\ufffd\x00 x\ufffd é\n"
    assert result.detail == "exit code 0: \ufffd\ufffd  x\ufffd é"


@pytest.mark.parametrize(
    ("written", "shown"),
    [(rb"\xff", "\ufffd"), (rb"\xe2\x82\xac", "€"), (rb"\xf0\x9f\x99\x82", "\U0001f642")],
    ids=["broken", "three-bytes", "four-bytes"],
)
def test_output_that_is_cut_within_a_sign_keeps_its_limit(written: bytes, shown: str) -> None:
    result = act(python(f"import os; os.write(1, b'{written.decode()}' * 15_000 + b'\\n')"))
    assert OUTPUT_LIMIT - 3 <= len(result.output.encode()) <= OUTPUT_LIMIT
    assert set(result.output) == {shown, "\n"}


def test_without_pidfd_a_command_is_waited_for_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(pid: int, flags: int = 0) -> int:
        raise PermissionError("seccomp")

    monkeypatch.setattr(os, "pidfd_open", refused)
    assert act(shell("sleep 0.1; echo x; exit 2")).detail == "exit code 2: x"
    assert act(shell("exec >&- 2>&-; sleep 0.1; exit 3")).exit_code == 3
    assert act(shell("sleep 600"), timeout_ms=200).detail == "killed after 200ms"


def test_no_descriptor_and_no_child_is_left() -> None:
    me = psutil.Process()
    act(shell("true"))
    files, children = me.num_fds(), me.children()
    for _ in range(5):
        act(shell("sleep 600 & exit 1"))
        act(shell("sleep 600"), timeout_ms=50)
        act(CommandRemedy(type="command", argv=("/no/such/program",)))
    assert me.num_fds() == files
    assert me.children() == children


# --- limits ------------------------------------------------------------------------------------------


def test_a_command_that_uses_too_much_processor_time_is_ended() -> None:
    result = act(python("while True: pass", limits={"cpu": "1s"}))
    assert (result.ok, result.exit_code, result.detail) == (False, -24, "ended by SIGXCPU")


def test_whoever_ignores_that_is_killed_a_second_later() -> None:
    script = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass"
    assert act(python(script, limits={"cpu": "1s"})).detail == "ended by SIGKILL"


def test_a_command_gets_no_more_memory_than_it_may() -> None:
    limits = {"memory_bytes": 256 * 1024 * 1024}
    result = act(python("bytearray(512 * 1024 * 1024)", limits=limits))
    assert (result.ok, result.detail) == (False, "exit code 1: MemoryError")
    assert act(python("bytearray(16 * 1024 * 1024)", limits=limits)).ok


def test_a_command_writes_no_longer_file_and_opens_no_more_than_it_may(tmp_path: Path) -> None:
    file = tmp_path / "file"
    result = act(shell(f"head -c 4096 /dev/zero > {file}", limits={"file_bytes": 1000}))
    assert not result.ok
    assert file.stat().st_size == 1000
    script = "files = [open('/dev/null') for _ in range(50)]"
    assert "Too many open files" in act(python(script, limits={"open_files": 16})).detail
    assert act(python(script, limits={"open_files": 100})).ok


def test_a_command_gains_no_new_privileges() -> None:
    status = "grep NoNewPrivs /proc/self/status"
    assert act(shell(status, limits={"no_new_privileges": True})).output.split() == ["NoNewPrivs:", "1"]
    assert act(shell(status, limits={"open_files": 100})).output.split() == ["NoNewPrivs:", "0"]


def test_a_limited_program_that_does_not_exist_says_so() -> None:
    remedy = CommandRemedy.model_validate(
        {"type": "command", "argv": ["/no/such/program"], "limits": {"open_files": 100}}
    )
    result = act(remedy)
    assert (result.ok, result.exit_code) == (False, 126)
    assert result.detail == "exit code 126: cannot be started: No such file or directory: /no/such/program"


def test_limits_leave_arguments_environment_and_deadline_as_they_are() -> None:
    script = 'echo "$0 $1 $REGION $SLAKEEPER_ACTION"; echo $PYTHONPATH; sleep 100 & wait'
    remedy = CommandRemedy.model_validate(
        {
            "type": "command", "argv": ["sh", "-c", script, "a b", "$HOME"], "env": {"REGION": "eu"},
            "limits": {"open_files": 100},
        }
    )  # fmt: skip
    result = act(remedy, timeout_ms=1_500)
    assert result.output == "a b $HOME eu scale_up\n\n"
    assert result.detail == "killed after 1s 500ms"


def test_a_python_remedy_has_limits_too() -> None:
    remedy = PythonRemedy.model_validate(
        {"type": "python", "entry": "resource:getrlimit", "limits": {"open_files": 99}}
    )
    import resource

    action = AutomaticAction.model_validate(
        {"name": "a", "trigger_metric": "m", "condition": {"lt": 1}, "action": "r"}
    )
    # getrlimit takes its argument by place alone, so that the call fails: that it was reached is enough.
    result = run_remedy(remedy, action, idempotency_key="k", timeout_ms=20_000, dry_run=False)
    assert "getrlimit" in result.output
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] != 99


# --- secrets -----------------------------------------------------------------------------------------


def test_the_secrets_of_a_command_are_masked_in_what_is_kept() -> None:
    remedy = shell("echo key is $API_KEY; exit 1", secrets={"API_KEY": "hunter2"})
    result = act(remedy)
    assert (result.output, result.detail) == ("key is ***\n", "exit code 1: key is ***")
    assert "hunter2" not in repr(remedy)


@pytest.mark.parametrize("after", range(24))
@pytest.mark.parametrize("words", [["secret-word"], ["secret-word"] * 3, ["secret-word", "key"]])
def test_a_secret_at_the_cut_is_not_shown_in_part(words: list[str], after: int) -> None:
    tail = Tail(16, ["secret-word", "key"])
    for byte in b"x" * 40 + "".join(words).encode() + b"z" * after:
        tail.add(bytes([byte]))
    assert len(tail.text()) <= 16
    assert set(tail.text()) <= set("x*z")


def test_a_secret_that_stands_in_another_leaves_nothing_of_that() -> None:
    remedy = shell("echo $LONG and $SHORT", secrets={"SHORT": "hunter", "LONG": "hunter2-of-the-house"})
    assert act(remedy).output == "*** and ***\n"


# --- python ------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "remedy_plugin.py").write_text(
        "import os, time\n"
        "class Cluster:\n"
        "    @staticmethod\n"
        "    def grow(by, name): return f'{name} grown by {by} in {os.getpid()}'\n"
        "def fail(**_): raise RuntimeError('no capacity left')\n"
        "def refuse(): return False\n"
        "def nothing(): print('worked')\n"
        "def hang(): time.sleep(600)\n"
        "def crash(): os.abort()\n"
        "def fail_with_key(): raise RuntimeError('refused with ' + os.environ['API_KEY'])\n"
        "def tell(): print(dict(os.environ)); return 'key is ' + os.environ['API_KEY']\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "remedy_plugin"


def entry(module: str, name: str) -> PythonRemedy:
    return PythonRemedy(type="python", entry=f"{module}:{name}")


def test_a_function_is_called_with_the_parameters_in_a_process_of_its_own(plugin: str) -> None:
    result = act(entry(plugin, "Cluster.grow"), by=3, name="c1")
    assert (result.ok, result.exit_code) == (True, 0)
    assert result.detail.startswith("exit code 0: c1 grown by 3 in ")
    assert int(result.detail.rpartition(" ")[2]) != os.getpid()


@pytest.mark.parametrize(
    ("name", "ok", "detail"),
    [
        ("nothing", True, "exit code 0: worked"),
        ("refuse", False, "exit code 1: False"),
        ("fail", False, "exit code 1: RuntimeError: no capacity left"),
        ("crash", False, "ended by SIGABRT"),
    ],
)
def test_a_function_ends(name: str, ok: bool, detail: str, plugin: str) -> None:
    result = act(entry(plugin, name))
    assert result.ok is ok
    assert result.detail.startswith(detail)


def test_a_function_with_other_parameters_fails_with_its_reason(plugin: str) -> None:
    assert "unexpected keyword argument 'by'" in act(entry(plugin, "refuse"), by=1).detail


@pytest.mark.parametrize("name", ["missing", "Cluster.missing"])
def test_a_function_that_is_not_there_fails_with_its_reason(name: str, plugin: str) -> None:
    result = act(entry(plugin, name))
    assert not result.ok
    assert "missing" in result.detail


def test_a_module_that_is_not_there_fails_with_its_reason() -> None:
    assert "No module named 'no_such_module_4711'" in act(entry("no_such_module_4711", "f")).detail


def test_a_function_knows_what_it_is_told_and_none_of_our_secrets(
    plugin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_WEBHOOK", "hush")
    remedy = PythonRemedy.model_validate(
        {
            "type": "python", "entry": f"{plugin}:tell",
            "env": {"REGION": "eu"}, "secrets": {"API_KEY": "hunter2"},
        }
    )  # fmt: skip
    result = act(remedy)
    assert (result.ok, result.detail) == (True, "exit code 0: key is ***")
    environment = ast.literal_eval(result.output.splitlines()[0])
    assert (environment["REGION"], environment["API_KEY"]) == ("eu", "***")
    assert environment["SLAKEEPER_ACTION"] == "scale_up"
    assert environment["PATH"] == os.environ["PATH"]
    assert "SLACK_WEBHOOK" not in environment


def test_a_function_may_be_where_its_environment_says(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text("def where(): return __file__\n")
    remedy = PythonRemedy(type="python", entry="elsewhere:where", env={"PYTHONPATH": str(tmp_path)})
    assert act(remedy).detail == f"exit code 0: {tmp_path}/elsewhere.py"


def test_what_a_function_raises_is_shown_without_its_secrets(plugin: str) -> None:
    # An exception quotes what it is about, and its traceback is part of the output.
    remedy = PythonRemedy.model_validate(
        {"type": "python", "entry": f"{plugin}:fail_with_key", "secrets": {"API_KEY": "hunter2"}}
    )
    result = act(remedy)
    assert (result.ok, result.detail) == (False, "exit code 1: RuntimeError: refused with ***")
    assert "hunter2" not in result.output


def test_a_function_that_hangs_is_killed(plugin: str) -> None:
    assert act(entry(plugin, "hang"), timeout_ms=700).detail == "killed after 700ms"


# --- webhooks ----------------------------------------------------------------------------------------


def test_a_webhook_is_told_what_to_do_signed_and_with_its_key(server: FakeServer) -> None:
    server.then(Reply(202, b"on it"))
    remedy = WebhookRemedy(type="webhook", url=f"{server.url}/do", secret=SecretStr("s3cret"))
    result = act(remedy, by=3)
    assert (result.ok, result.detail, result.output, result.exit_code) == (
        True,
        "answered 202",
        "on it",
        None,
    )
    [request] = server.requests
    assert request.headers["Idempotency-Key"] == "key-1"
    timestamp = request.headers["X-Slakeeper-Timestamp"]
    assert request.headers["X-Slakeeper-Signature"] == sign(
        "s3cret", timestamp, request.headers["Idempotency-Key"], request.body
    )
    assert request.json() == {
        "action": "scale_up",
        "remedy": "scale_resources",
        "target": "cluster-1",
        "trigger_metric": "throughput",
        "parameters": {"by": 3},
        "idempotency_key": "key-1",
    }


def test_a_webhook_with_a_private_authority_is_trusted_by_its_own_file() -> None:
    with FakeServer(tls=True) as secure:
        assert act(WebhookRemedy(type="webhook", url=secure.url, ca_file=str(CERTIFICATE))).ok
        assert not act(WebhookRemedy(type="webhook", url=secure.url)).ok


def test_a_webhook_that_refuses_is_a_failure(server: FakeServer) -> None:
    server.then(Reply(503, b"busy s3cret"))
    result = act(WebhookRemedy(type="webhook", url=server.url, secret=SecretStr("s3cret")))
    assert (result.ok, result.detail, result.output) == (False, "answered 503: busy ***", "busy ***")


def test_a_webhook_that_is_silent_is_a_failure_in_doubt(server: FakeServer) -> None:
    server.then(Drip(), Cut())
    silent = act(WebhookRemedy(type="webhook", url=server.url, timeout=200))
    assert (silent.ok, silent.uncertain) == (False, True)
    assert silent.detail.endswith("within 200ms; it may have been carried out")
    assert silent.duration_ms < 5_000
    assert act(WebhookRemedy(type="webhook", url=server.url)).detail.endswith("may have been carried out")


def test_a_webhook_that_is_not_there_is_a_failure_without_doubt() -> None:
    result = act(WebhookRemedy(type="webhook", url=f"http://127.0.0.1:{free_port()}/"))
    assert not result.ok
    assert result.detail.endswith("refused the connection")


def test_an_answer_is_kept_bounded(server: FakeServer) -> None:
    server.then(Reply(200, "ü".encode() * 500_000))
    assert len(act(WebhookRemedy(type="webhook", url=server.url)).output.encode()) <= OUTPUT_LIMIT


# --- dry runs ----------------------------------------------------------------------------------------


def test_a_shipped_action_is_a_logged_dry_run(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        result = act(DryRunRemedy(), scale_factor=1.5, min_instances=3)
    detail = "dry run: would do scale_resources on cluster-1 with (scale_factor=1.5, min_instances=3)"
    assert result == RemedyResult(ok=True, detail=detail, output="", exit_code=None, duration_ms=0)
    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("slakeeper.remedy", f"scale_up: {detail}")


@pytest.mark.parametrize(
    ("remedy", "deed"),
    [
        (CommandRemedy(type="command", argv=("/no/such", "--by", "2")), "run /no/such --by 2"),
        (PythonRemedy(type="python", entry="no_such:thing"), "call no_such:thing"),
        (
            WebhookRemedy(type="webhook", url="https://me:hush@example.com/hush?hush"),
            "post to example.com",
        ),
    ],
    ids=["command", "python", "webhook"],
)
def test_a_dry_run_does_nothing_and_says_what_it_would_do(remedy: Remedy, deed: str) -> None:
    result = act(remedy, dry_run=True)
    assert (result.ok, result.detail) == (True, f"dry run: would {deed} on cluster-1 with ()")
