"""What the hub saw of a lesson, from its relay into the rows of the schools that take part."""

from functools import partial
from pathlib import Path

import msgspec
import pytest

from edge.lesson.evidence import hop_quality
from sync.lessons.root_cause import Hop
from tests.edge.lesson_bench import until
from tests.edge.return_bench import FLAGSHIP, NEAR, School, quicken, town


async def test_what_the_hub_saw_lies_among_the_rows_of_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quicken(monkeypatch)
    monkeypatch.setattr(hop_quality, "MINUTE_S", 2)
    async with town(tmp_path) as opened:
        teacher, near = await opened.begin(FLAGSHIP), await opened.begin(NEAR)
        await opened.share_keys(teacher, near)
        for school in (teacher, near):
            await until(partial(has_told, school))
            hops = hops_of(school)
            assert {"busy_ms", "disk_ms", "unstored_s"} == hops[Hop.HUB].keys()
            assert {"silent_s", "reduced_s", "dropped", "waiting_bytes"} == hops[Hop.LINK].keys()


def has_told(school: School) -> bool:
    return {Hop.LINK, Hop.HUB} <= hops_of(school).keys()


def hops_of(school: School) -> dict[str, dict[str, int]]:
    """Return the newest figures that a school's box wrote down of each hop."""
    rows = school.box.rows(
        "SELECT hop, figures FROM lesson_quality WHERE figures IS NOT NULL ORDER BY at_ms"
    )
    return {str(hop): msgspec.json.decode(str(figures)) for hop, figures in rows}
