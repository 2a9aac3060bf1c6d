"""How slakeeper itself runs: defaults, limits, overrides."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from slakeeper.config.loader import DEFAULT_DIR, load
from slakeeper.config.problem import ConfigError
from slakeeper.config.service import ServiceIngest, ServiceSettings, split_address


def reasons(**values: object) -> list[str]:
    with pytest.raises(ValidationError) as caught:
        ServiceSettings.model_validate(values)
    return [error["type"] for error in caught.value.errors()]


def test_the_shipped_settings_are_the_defaults() -> None:
    assert load(DEFAULT_DIR, {}).service == ServiceSettings()


@pytest.mark.parametrize(
    "address, expected",
    [("127.0.0.1:8765", ("127.0.0.1", 8765)), ("localhost:0", ("localhost", 0)), ("[::1]:80", ("::1", 80))],
)
def test_an_address_is_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    assert split_address(ServiceSettings(http=address).http) == expected


@pytest.mark.parametrize(
    "address", ["", "localhost", ":80", "a:b", "a:-1", "a:65536", "::1:80", "a b:80", "a:٣", "a:000080"]
)
def test_anything_else_is_no_address(address: str) -> None:
    assert reasons(http=address) == ["invalid_address"]


def test_each_cell_has_at_least_one_partition() -> None:
    assert reasons(partitions=4, cells=5) == ["invalid_cells"]
    assert ServiceSettings(partitions=4, cells=4).cells == 4


def test_a_data_directory_has_room_for_twice_the_cells_it_begins_with() -> None:
    found = {cells: ServiceSettings(cells=cells).partition_count for cells in (1, 2, 3, 64)}
    assert found == {1: 4, 2: 4, 3: 6, 64: 128}
    assert ServiceSettings(partitions=2, cells=2).partition_count == 2


@pytest.mark.parametrize(
    "key", ["snapshot_interval", "heartbeat_interval", "start_timeout", "shutdown_timeout"]
)
def test_a_span_is_longer_than_nothing(key: str) -> None:
    assert reasons(**{key: 0}) == ["invalid_duration"]


def test_a_hang_takes_longer_than_a_heartbeat() -> None:
    assert reasons(heartbeat_interval="2s", hang_after="2s") == ["invalid_hang_after"]


def test_options_override_the_file_and_are_checked_like_it() -> None:
    settings = ServiceSettings().override(cells=4, http=None)
    assert (settings.cells, settings.http) == (4, "127.0.0.1:8765")
    with pytest.raises(ValidationError):
        ServiceSettings(partitions=8).override(cells=9)


def test_every_shipped_key_is_known_and_every_known_key_is_shipped() -> None:
    text = Path(DEFAULT_DIR / "service.yaml").read_text()
    for key in ServiceSettings.model_fields:
        assert f"\n{key}:" in text


@pytest.mark.parametrize("door", ["prometheus", "otlp"])
def test_a_door_whose_extra_is_missing_can_be_left_alone_or_closed_but_not_opened(
    door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(ServiceSettings(ingest=ServiceIngest(**{door: True})).ingest, door) is True
    monkeypatch.setattr("slakeeper.config.service.find_spec", lambda name: None)
    assert reasons(ingest={door: True}) == ["missing_extra"]
    for other in (False, None):
        assert getattr(ServiceIngest(**{door: other}), door) is other


def test_a_missing_extra_is_told_with_its_line_and_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_of_it(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("slakeeper.config.service.find_spec", none_of_it)
    for file in DEFAULT_DIR.glob("*.yaml"):
        (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "service.yaml").write_text("ingest:\n  statsd: null\n  otlp: true\n")
    with pytest.raises(ConfigError, match=r"service\.yaml:3: .*pip install 'slakeeper\[ingest\]'"):
        load(tmp_path, {})


def test_a_token_file_is_found_from_everywhere() -> None:
    assert reasons(ingest={"token_file": "senders"}) == ["invalid_path"]
    assert reasons(ingest={"statsd": "8125"}) == ["invalid_address"]
