"""The house itself: what reaches site-packages, the links, the locks, and that the tools see through the links."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("actors", "config", "integrations", "otp", "sla", "supervisors", "web")
LOCKS = ("requirements-build.lock", "requirements.lock", "requirements-dev.lock")
PURE_OTP = ("backoff", "child_spec", "intensity", "supervisor")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def packages_on_disk() -> set[str]:
    """Every package below the rooms and the face, by the name it is imported under."""
    found = {"slakeeper"}
    for room in ROOMS:
        for init in (ROOT / room).rglob("__init__.py"):
            found.add(".".join(("slakeeper", *init.parent.relative_to(ROOT).parts)))
    for init in (ROOT / "slakeeper").glob("*/__init__.py"):
        if not init.parent.is_symlink():
            found.add(f"slakeeper.{init.parent.name}")
    return found


def copy_tree(target: Path) -> Path:
    """A copy of the source with its links as links, without what was built or installed."""
    house = target / "house"
    house.mkdir()
    skip = shutil.ignore_patterns("__pycache__", "*_cache")
    for name in (*ROOMS, "slakeeper", "tools"):
        shutil.copytree(ROOT / name, house / name, symlinks=True, ignore=skip)
    for name in ("pyproject.toml", "run.py", "LICENSE", "README.md"):
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, house / name)
    return house


def run_tool(house: Path, *command: str) -> subprocess.CompletedProcess[str]:
    tool, *arguments = command
    # Nothing of the real tree may answer for the copy.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "MYPYPATH"}
    }
    environment["COLUMNS"] = "250"  # import-linter wraps its lines
    return subprocess.run(
        [str(Path(sys.executable).parent / tool), *arguments],
        cwd=house,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def house(tmp_path: Path) -> Path:
    return copy_tree(tmp_path)


# --- packaging ---------------------------------------------------------------------------------------


def test_every_package_on_disk_is_listed() -> None:
    assert set(pyproject()["tool"]["setuptools"]["packages"]) == packages_on_disk()


def test_every_listed_package_is_mapped_to_its_room() -> None:
    mapping: dict[str, str] = pyproject()["tool"]["setuptools"]["package-dir"]
    for package in pyproject()["tool"]["setuptools"]["packages"]:
        top = ".".join(package.split(".")[:2])
        assert mapping[top] == (top.removeprefix("slakeeper.") if "." in top else "slakeeper")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_relative_link(room: str) -> None:
    link = ROOT / "slakeeper" / room
    assert link.is_symlink()
    assert os.readlink(link) == f"../{room}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_banned_by_its_plain_name(room: str) -> None:
    assert room in pyproject()["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_an_import_contract(room: str) -> None:
    contracts = pyproject()["tool"]["importlinter"]["contracts"]
    assert [c for c in contracts if c["type"] == "room" and c["room"] == f"slakeeper.{room}"]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_wheel_holds_slakeeper_and_nothing_else(house: Path, tmp_path: Path) -> None:
    result = run_tool(
        house, "python", "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path / "dist")
    )
    assert result.returncode == 0, result.stdout + result.stderr
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"slakeeper"}

    expected = {"slakeeper/py.typed"}
    for room in ROOMS:
        modules = (house / room).rglob("*.py")
        expected |= {f"slakeeper/{module.relative_to(house).as_posix()}" for module in modules}
    expected |= {f"slakeeper/config/{file.name}" for file in (house / "config").glob("*.yaml")}
    for folder in ("static", "templates"):
        files = (file for file in (house / "web" / folder).rglob("*") if file.is_file())
        expected |= {f"slakeeper/{file.relative_to(house).as_posix()}" for file in files}
    assert expected <= set(names)


# --- locks -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_no_path(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    assert not re.search(
        r"://|^\s*-|--index|--extra-index|--find-links|\s@\s", text.replace("    --hash=", ""), re.MULTILINE
    )


@pytest.mark.parametrize("lock", LOCKS)
def test_every_requirement_of_a_lock_is_pinned_and_hashed(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8").replace("\\\n", " ")
    requirements = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
    assert requirements
    assert [line for line in requirements if "==" not in line or "--hash=sha256:" not in line] == []


def test_every_dependency_is_locked() -> None:
    locked = set(
        re.findall(
            r"^([a-z0-9._-]+)==", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE
        )
    )
    wanted = {re.split(r"[<>=!~\[; ]", line)[0].lower() for line in pyproject()["project"]["dependencies"]}
    assert wanted <= locked


# --- purity that no import shows ---------------------------------------------------------------------


def pure_modules() -> Iterator[Path]:
    yield from (ROOT / "sla").rglob("*.py")
    yield from (path for name in PURE_OTP if (path := ROOT / "otp" / f"{name}.py").exists())


def impure_calls(source: str) -> list[str]:
    """Calls that read a clock or touch the world without an import that the `pure` contract would see."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        call = ast.unparse(node.func)
        if re.fullmatch(r"open|print|input|(.*\.)?(datetime|date)\.(now|utcnow|today)", call):
            found.append(f"line {node.lineno}: {call}()")
    return found


def test_pure_modules_read_no_clock_and_open_nothing() -> None:
    found = {
        str(path.relative_to(ROOT)): impure_calls(path.read_text(encoding="utf-8")) for path in pure_modules()
    }
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line", ["datetime.now(UTC)", "datetime.datetime.utcnow()", "date.today()", "open('x')"]
)
def test_an_impure_call_is_seen(line: str) -> None:
    assert impure_calls(f"x = {line}\n")


# --- planted errors ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("room", ROOMS)
def test_ruff_finds_a_room_imported_by_its_plain_name(house: Path, room: str) -> None:
    (house / room / "planted.py").write_text(
        f'"""Planted."""\n\nimport {room}\n\nX = {room}\n', encoding="utf-8"
    )
    result = run_tool(house, "ruff", "check", "--no-cache", "--output-format=concise", ".")
    assert result.returncode == 1
    assert re.search(rf"^{room}/planted\.py:3:\d+: TID251", result.stdout, re.MULTILINE), result.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_mypy_finds_an_error_in_each_room_through_its_link(house: Path) -> None:
    for room in ROOMS:
        (house / room / "planted.py").write_text('"""Planted."""\n\nX: int = "text"\n', encoding="utf-8")
    result = run_tool(house, "mypy", "slakeeper", "run.py")
    assert result.returncode == 1, result.stdout + result.stderr
    found = set(
        re.findall(r"^slakeeper/(\w+)/planted\.py:3: error: .*\[assignment\]", result.stdout, re.MULTILINE)
    )
    assert found == set(ROOMS), result.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_import_linter_finds_a_forbidden_import_in_each_room(house: Path) -> None:
    for room in ROOMS:
        forbidden = "supervisors" if room == "web" else "web"
        line = f"import slakeeper.{forbidden}\n"
        (house / room / "planted.py").write_text(f'"""Planted."""\n\n{line}', encoding="utf-8")
    result = run_tool(house, "lint-imports", "--no-cache")
    assert result.returncode == 1, result.stdout + result.stderr
    found = set(re.findall(r"slakeeper\.(\w+)\.planted must not import slakeeper\.\w+", result.stdout))
    assert found == set(ROOMS), result.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_import_linter_finds_a_clock_reached_through_another_module(house: Path) -> None:
    (house / "sla" / "planted.py").write_text(
        '"""Planted."""\n\nimport time\n\nNOW = time.time\n', encoding="utf-8"
    )
    (house / "otp" / "planted.py").write_text(
        '"""Planted."""\n\nimport time\n\nNOW = time.time\n', encoding="utf-8"
    )
    (house / "otp" / "intensity.py").write_text(
        '"""Planted."""\n\nfrom slakeeper.otp.planted import NOW\n\nX = NOW\n', encoding="utf-8"
    )
    result = run_tool(house, "lint-imports", "--no-cache")
    assert result.returncode == 1, result.stdout + result.stderr
    assert "slakeeper.sla.planted must stay pure: slakeeper.sla.planted -> time" in result.stdout
    chain = "slakeeper.otp.intensity -> slakeeper.otp.planted -> time"
    assert f"slakeeper.otp.intensity must stay pure: {chain}" in result.stdout
