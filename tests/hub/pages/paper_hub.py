"""A hub for the pages' tests: the real store in a file, and lights that a test sets by hand.

``disk_s`` is how long each commit takes.
"""

import asyncio
import hmac
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.lesson.timetable import Row
from hub.pages.hub_view import FlowLight, SchoolLight
from sync.schema import BY_NAME
from sync.schema.model import Kind
from sync.store import connect_readonly, open_store

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
# Saturday 21 November 2026, 10:00 in China.
TEN_O_CLOCK = 1_795_226_400_000
ADMIN_CODE = "7QX4-PLUM-0932"


class PaperHub:
    """Implements HubView; a test writes rows with :meth:`record` and sets ``lights``, ``flows``."""

    district = "jiangxia"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.wall_ms = TEN_O_CLOCK
        self.district_name = "江夏区"
        self.disk_s = 0.0
        self.lights: list[SchoolLight] = []
        self.flows: dict[str, list[FlowLight]] = {}
        self.signing: dict[int, list[Ed25519PublicKey]] = {}
        self.listeners: set[asyncio.Queue[str]] = set()
        self.joined = asyncio.Event()
        self.left = asyncio.Event()
        self._row = count(1)
        self._writer = open_store(path)

    def close(self) -> None:
        self._writer.close()

    def now_ms(self) -> int:
        return self.wall_ms

    def connect(self) -> sqlite3.Connection:
        return connect_readonly(self.path)

    def check_admin_code(self, code: str) -> bool:
        return hmac.compare_digest(code.encode(), ADMIN_CODE.encode())

    def school_lights(self) -> Sequence[SchoolLight]:
        return self.lights

    def signing_keys(self, school: int) -> Sequence[Ed25519PublicKey]:
        return self.signing.get(school, [])

    def lesson_flow(self, lesson: str) -> Sequence[FlowLight]:
        return self.flows.get(lesson, [])

    def record_all(self, rows_by_table: Mapping[str, list[Row]]) -> None:
        time.sleep(self.disk_s)
        self._writer.execute("BEGIN")
        for table, rows in rows_by_table.items():
            self.record(table, rows)
        self._writer.execute("COMMIT")

    def record(self, table: str, rows: list[Row]) -> None:
        """Fold rows as the hub does: the newest version of each key, events as they come."""
        declared = BY_NAME[table]
        for row in rows:
            place = next(self._row)
            values: Row = {"school": 0, **row, "log": 1, "row": place}
            if declared.kind is Kind.STATE:
                values |= {"hlc": place, "origin": 0}
                values.setdefault("deleted", 0)
            unknown = row.keys() - {"school", "deleted", *declared.column_names}
            assert not unknown, f"{table} has no {unknown}"
            marks = ", ".join("?" * len(values))
            self._writer.execute(
                f"INSERT OR REPLACE INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - names are the schema's
                tuple(values.values()),
            )

    async def events(self) -> AsyncIterator[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=64)
        self.listeners.add(queue)
        self.joined.set()
        try:
            while True:
                yield await queue.get()
        finally:
            self.listeners.discard(queue)
            self.left.set()

    def announce(self, change: str) -> None:
        for queue in self.listeners:
            queue.put_nowait(change)

    def add_school(
        self,
        school: int,
        name: str,
        name_en: str,
        place: tuple[float, float] | None = (30.3, 114.3),
        role: str = "receiver",
    ) -> None:
        latitude, longitude = place or (None, None)
        self.record(
            "school",
            [
                {
                    "school": school,
                    "name": name,
                    "name_en": name_en,
                    "role": role,
                    "latitude": latitude,
                    "longitude": longitude,
                }
            ],
        )

    def hear(self, school: int, ago_ms: int = 12 * SECOND, **known: int | str) -> None:
        """Let the hub have heard from a school's box ``ago_ms`` ago."""
        heard = {
            "heartbeat_ms": self.wall_ms - ago_ms,
            "stored_ms": self.wall_ms - ago_ms,
            "lag_ms": 4 * SECOND,
            "waiting_bytes": 0,
            "box": "0a1b2c3d",
            "not_after_ms": self.wall_ms + 25 * DAY,
            **known,
        }
        self.lights = [light for light in self.lights if light.school != school]
        self.lights.append(SchoolLight(school=school, **heard))  # type: ignore[arg-type] # fields of two types


def fill(hub: PaperHub) -> None:
    """Three schools on an ordinary morning: one flagship that teaches two, all of them heard."""
    hub.add_school(1, "江夏区第一小学", "Jiangxia No. 1 Primary", (30.38, 114.32), "flagship")
    hub.add_school(2, "山坡街光明小学", "Guangming Primary", (30.10, 114.31))
    hub.add_school(3, "湖泗中心小学", "Husi Central Primary", (30.13, 114.58))
    for school in (1, 2, 3):
        hub.hear(school, school * 7 * SECOND, waiting_bytes=(school - 1) * 700)
        hub.record(
            "device",
            [
                device(school, "modbus:bus0:17", "farm_sensor", "一号畦土壤", "roof"),
                device(school, "card:gate", "card_reader", "校门读卡器", "gate"),
                device(school, "camera:a1", "camera", "301 教室摄像机", "301"),
            ],
        )
        hub.record(
            "reading",
            [reading(school, hub.wall_ms - age, 31.5 + age / MINUTE) for age in (MINUTE, SECOND)],
        )
        hub.record(
            "card_tap",
            [
                {
                    "school": school,
                    "at_ms": hub.wall_ms - HOUR - n * SECOND,
                    "device": "card:gate",
                    "person": n,
                }
                for n in range(100 * school)
            ],
        )


def device(school: int, identity: str, kind: str, name: str, room: str) -> Row:
    return {
        "school": school,
        "device": identity,
        "kind": kind,
        "name": name,
        "profile": "generic",
        "room": room,
        "adopted_ms": TEN_O_CLOCK - 3 * DAY,
    }


def reading(school: int, at_ms: int, value: float) -> Row:
    return {
        "school": school,
        "at_ms": at_ms,
        "device": "modbus:bus0:17",
        "point": "soil_moisture",
        "value": value,
        "unit": "%",
        "quality": "good",
        "source": "poll",
    }
