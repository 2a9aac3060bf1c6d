"""The door for assistants: the official client over stdio against a running system."""

import json
import os
import stat
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import ClientSession
from mcp.client.stdio import StdioServerParameters, stdio_client

from tests.system.configuration import contract, metric, write_config
from tests.system.remains import until
from tests.system.service import MakeService, Service

pytestmark = [pytest.mark.system, pytest.mark.timeout(180)]
pytest_plugins = ["tests.system.service_fixtures"]


@pytest.fixture(scope="module")
def service(module_services: MakeService, tmp_path_factory: pytest.TempPathFactory) -> Service:
    config = write_config(tmp_path_factory.mktemp("mcp") / "config", [contract("api", [metric("latency")])])
    made = module_services(config)
    made.start()
    made.observe("latency", 900.0)
    assert until(lambda: made.violation("latency") is not None)
    return made


def with_client(data: Path, act: Callable[[ClientSession], Awaitable[None]], *options: str) -> None:
    """Runs `slakeeper mcp` and the official client on it."""
    arguments = ["-m", "slakeeper", "--data", str(data), "mcp", *options]
    server = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))

    async def session() -> None:
        async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            await act(client)

    anyio.run(session)


def document(result: Any) -> Any:
    assert not result.is_error, result
    return json.loads(result.content[0].text)


def test_it_answers_about_the_running_system_and_changes_nothing(service: Service) -> None:
    async def act(client: ClientSession) -> None:
        await client.send_ping()
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == {"list_slas", "get_sla", "list_violations", "get_report", "get_status"}
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())

        [row] = document(await client.call_tool("list_slas", {}))["slas"]
        assert (row["id"], row["open_violations"]) == ("api", 1)
        assert (
            document(await client.call_tool("get_sla", {"sla_id": "api"}))["metrics"][0]["name"] == "latency"
        )
        [violation] = document(await client.call_tool("list_violations", {"sla_id": "api"}))["violations"]
        assert (violation["metric_name"], violation["status"]) == ("latency", "open")
        report = await client.call_tool("get_report", {"sla_id": "api"})
        assert "latency" in report.content[0].text  # type: ignore[union-attr]
        assert document(await client.call_tool("get_report", {"sla_id": "api", "format": "json"}))
        assert document(await client.call_tool("get_status", {}))["processes"]

        refused = await client.call_tool("get_sla", {"sla_id": "nothing"})
        assert refused.is_error
        assert "no contract nothing" in refused.content[0].text  # type: ignore[union-attr]
        missing = await client.call_tool("acknowledge_violation", {"violation_id": violation["id"]})
        assert missing.is_error

    with_client(service.data, act)
    [violation] = service.violations()
    assert violation["status"] == "open"


def test_it_acknowledges_only_when_that_is_allowed(service: Service) -> None:
    [violation] = service.violations()

    async def act(client: ClientSession) -> None:
        arguments = {"violation_id": violation["id"], "note": "on it"}
        taken = document(await client.call_tool("acknowledge_violation", arguments))
        assert taken["status"] == "acknowledged"

    with_client(service.data, act, "--allow-acknowledge", "--by", "ann")
    [violation] = service.violations()
    assert (violation["acknowledged_by"], violation["acknowledge_note"]) == ("ann", "on it (by MCP)")


def test_without_the_operators_token_nothing_is_read_and_nothing_acknowledged(
    service: Service, tmp_path: Path
) -> None:
    # The key of commands stands beside the API token, in a file that is its owner's alone.
    assert stat.S_IMODE((service.data / "run.json").stat().st_mode) == 0o600
    run = service.run()
    assert run["token"]
    # Somebody who knows all else of it, and guesses.
    (tmp_path / "lock").symlink_to(service.data / "lock")
    (tmp_path / "run.json").write_text(json.dumps({**run, "token": "x" * 64, "thespian_key": "00" * 32}))
    for options in ((), ("--allow-acknowledge", "--by", "mallory")):
        answer = Service(tmp_path).cli("mcp", *options)
        assert answer.code == 4, answer
        assert "no answer to 'ping'" in answer.complaint


def test_where_nothing_runs_it_says_so_and_starts_nothing(service: Service, tmp_path: Path) -> None:
    answer = Service(tmp_path / "nothing").cli("mcp")
    assert answer.code == 3
    assert "nothing runs on" in answer.complaint
    assert not (tmp_path / "nothing").exists()
