import logging
from pathlib import Path

import msgspec
import pytest

from edge.config import BoxConfig, load_config
from edge.errors import BoxSetupError
from edge.metering import ALL_FLOWS, MESSAGE_BYTES, PATIENT, Meter, open_meter, parse_night
from sync.schema.model import Lane

HOUR_MS = 3600 * 1000
MIDNIGHT_MS = 20_000 * 24 * HOUR_MS - 8 * HOUR_MS  # in China
BUDGET = 100_000


def meter(folder: Path, night: str = "23:00-06:00") -> Meter:
    return Meter(BUDGET, parse_night(night), 8 * HOUR_MS, folder / "link.json")


def at(hour: float) -> int:
    return MIDNIGHT_MS + int(hour * HOUR_MS)


def test_over_the_days_bytes_only_what_is_urgent_or_small_flows_until_the_night(
    tmp_path: Path,
) -> None:
    used = meter(tmp_path)
    used.count(BUDGET - MESSAGE_BYTES - 1, at(9))
    assert used.flows(at(9)) == ALL_FLOWS
    used.count(1, at(9))
    flows = used.flows(at(9))
    assert flows.lanes == frozenset(Lane) - PATIENT
    assert {Lane.ALARM, Lane.CONTROL, Lane.ATTENDANCE} <= flows.lanes
    assert flows.until_ms == at(23)
    assert used.flows(at(22.99)).lanes != ALL_FLOWS.lanes
    assert used.flows(at(23)) == ALL_FLOWS
    assert used.flows(at(24.5)) == ALL_FLOWS


def test_a_new_day_begins_at_local_midnight_and_the_night_is_free(tmp_path: Path) -> None:
    used = meter(tmp_path, "01:00-05:00")
    used.count(BUDGET, at(12))
    assert used.flows(at(12)).until_ms == at(24)
    assert used.flows(at(23.9)).lanes != ALL_FLOWS.lanes
    assert used.flows(at(24)) == ALL_FLOWS
    used.count(10 * BUDGET, at(26))
    assert used.flows(at(30)) == ALL_FLOWS
    used.count(BUDGET, at(30))
    assert used.flows(at(30)).until_ms == at(48)


def test_what_was_used_survives_a_restart_and_a_torn_file_does_not_stop_the_box(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = meter(tmp_path)
    before.count(BUDGET // 2, at(9))
    before.count(BUDGET // 2, at(9))
    assert meter(tmp_path).flows(at(10)).lanes != ALL_FLOWS.lanes
    assert meter(tmp_path).flows(at(25)) == ALL_FLOWS
    (tmp_path / "link.json").write_bytes(b'{"day": 1, "us')
    with caplog.at_level(logging.WARNING):
        assert meter(tmp_path).flows(at(10)) == ALL_FLOWS
    assert "count from now" in caplog.text


def test_a_disk_that_is_full_costs_only_the_memory_of_the_day(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    used = Meter(
        BUDGET, parse_night("23:00-06:00"), 8 * HOUR_MS, tmp_path / "missing" / "link.json"
    )
    used.count(2 * BUDGET, at(12))
    assert used.flows(at(12)).lanes != ALL_FLOWS.lanes
    assert "restart forgets" in caplog.text


def test_the_configuration_names_the_bytes_and_the_night(tmp_path: Path) -> None:
    file = tmp_path / "box.toml"
    plain = 'folder = "box"\n[network]\ninterface = "10.8.3.2/24"\n'
    file.write_text(plain)
    assert open_meter(load_config(file)) is None
    file.write_text(plain + '[uplink.metered]\nbytes_a_day = 5000000\nnight = "22:30-05:00"\n')
    config: BoxConfig = load_config(file)
    assert msgspec.to_builtins(config.uplink) == {
        "metered": {"bytes_a_day": 5_000_000, "night": "22:30-05:00"}
    }
    assert open_meter(config) is not None
    for wrong in ("bytes_a_day = 5\n", 'bytes_a_day = 500000\nnight = "25:00-05:00"\n'):
        file.write_text(plain + "[uplink.metered]\n" + wrong)
        with pytest.raises(BoxSetupError, match="metered"):
            load_config(file)
