import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from edge.lesson.evidence.live_count import LiveCount
from edge.lesson.status import waiting
from sync.lessons.fragment_rungs import Rung

LIVE = replace(waiting(0), sound_age_ms=100, picture_age_ms=40)


async def pass_seconds(count: LiveCount, seconds: int, rung: Rung) -> None:
    for _ in range(seconds):
        await count.tick(replace(LIVE, rung=rung))


async def test_seconds_are_counted_by_what_came_in_them(tmp_path: Path) -> None:
    count = LiveCount(tmp_path / "a1" / "live.json")
    await pass_seconds(count, 4, Rung.MAIN)
    await pass_seconds(count, 2, Rung.SMALL)
    await count.tick(replace(LIVE, sound_age_ms=5000, picture_age_ms=5000))
    await count.tick(waiting(0))
    assert (count.seconds, count.rungs) == (6, {"main": 4, "small": 2})


async def test_a_restart_in_mid_lesson_forgets_less_than_a_quarter_of_a_minute(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a1" / "live.json"
    await pass_seconds(LiveCount(path), 40, Rung.MAIN)
    again = LiveCount(path)
    assert 40 - again.seconds < 15
    await pass_seconds(again, 15, Rung.SOUND)
    assert LiveCount(path).rungs == {"main": again.rungs["main"], "sound": 15}


@pytest.mark.parametrize("content", [b"", b"\xff", b'{"main": "x"}', b'{"other": 3}', b"[]"])
async def test_a_file_that_cannot_be_read_counts_from_nothing(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "live.json"
    await asyncio.to_thread(path.write_bytes, content)
    assert LiveCount(path).seconds == 0
    assert "count from now" in caplog.text
