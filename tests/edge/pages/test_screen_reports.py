"""What a classroom page says of its decoding: heard from the LAN, seldom, and strictly."""

import pytest

from edge.pages.screen_reports import ADDRESSES_MAX, ScreenReports
from tests.edge.pages.conftest import Client
from tests.edge.pages.simulated_box import SimulatedBox, as_view

PATH = "/api/classroom/quality"
REPORT = {"room": "r301", "frames": 250, "dropped": 1, "stalls": 0, "latency_ms": 230}


async def test_a_page_is_heard_without_signing_in(client: Client, box: SimulatedBox) -> None:
    answer = await client.post(PATH, json=REPORT)
    assert answer.status == 204
    ((page, told),) = box.screens
    assert page == "127.0.0.1"
    assert (told.room, told.frames, told.behind_ms) == ("r301", 250, None)


async def test_what_a_page_says_too_soon_is_dropped(client: Client, box: SimulatedBox) -> None:
    await client.post(PATH, json=REPORT)
    assert (await client.post(PATH, json=REPORT)).status == 204
    assert (await client.post(PATH, json=REPORT | {"room": "r302"})).status == 204
    assert len(box.screens) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"\xff", 400),
        (b'{"room": ""}', 400),
        (b'{"room": "r301", "frames": -1}', 400),
        (b'{"room": "r301", "frames": 99999999999}', 400),
        (b'{"room": "r301", "else": 1}', 400),
        (b'{"room": "' + b"x" * 1100 + b'"}', 413),
    ],
)
async def test_what_is_no_report_is_refused(
    client: Client, box: SimulatedBox, body: bytes, status: int
) -> None:
    answer = await client.post(PATH, data=body, headers={"Content-Type": "application/json"})
    assert answer.status == status
    assert box.screens == []


async def test_another_sites_page_is_not_heard(client: Client, box: SimulatedBox) -> None:
    headers = {"Origin": "https://elsewhere.example"}
    assert (await client.post(PATH, json=REPORT, headers=headers)).status == 403
    assert box.screens == []


def test_only_so_many_addresses_are_remembered(box: SimulatedBox) -> None:
    reports = ScreenReports(as_view(box), lambda: 5.0)
    for number in range(ADDRESSES_MAX + 10):
        assert reports._is_due((f"10.{number}", "r301"))
    assert not reports._is_due((f"10.{ADDRESSES_MAX}", "r301"))
    assert reports._is_due(("10.0", "r301"))  # forgotten: the oldest makes room
