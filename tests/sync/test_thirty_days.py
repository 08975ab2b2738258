"""A school without a link for thirty days: nothing lost or doubled, alarms first, flat memory."""

import gc
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from random import Random

import pytest

from benchmarks.arrivals import DAY_MS, TAPS_A_DAY, Tap, school_days
from sync.exchange.conversation import RECEIPT_MS
from sync.exchange.message import FIRST_BYTES_MAX
from sync.node import SealPolicy
from sync.segments.segment import SEGMENT_BYTES_MAX
from sync.tables.row_check import Row
from tests.sync.district import District
from tests.sync.line import Line

ROOT = Path(__file__).parents[2]
DAYS = 30
FEW_DAYS = 10
READINGS_A_DAY = 288
ROWS_A_TRANSACTION = 40
SEED = 20
MESSAGE_MS = 50
SLOW_MESSAGE_MS = 500
"""As on a slow line, which keeps the window small: ten days fill it many times."""
ALARM_BYTES_MAX = 1024
"""Of a message that brings an alarm, even of a connection's first, which names all logs."""
BYTES_A_ROW_MAX = 5
"""What is sent again after cuts included."""
OFFLINE = SealPolicy(age_ms=DAY_MS)
"""As a box without a connection seals: a thousand rows, or a day."""
Sent = Counter[tuple[object, ...]]
"""What the devices know that they sent, each event once."""


def live(district: District, taps: Sequence[Tap]) -> Sent:
    """Let a school record a day without a link."""
    school = district.nodes[17]
    sent: Sent = Counter()
    for start in range(0, len(taps), ROWS_A_TRANSACTION):
        some = taps[start : start + ROWS_A_TRANSACTION]
        district.now = some[-1].at_ms
        school.record("card_tap", [tap.row for tap in some])
        sent.update(("card_tap", tap.at_ms, tap.person) for tap in some)
        school.seal_due(OFFLINE)
    moments = [taps[0].at_ms + each * (DAY_MS // READINGS_A_DAY) for each in range(READINGS_A_DAY)]
    readings: list[Row] = [
        {"at_ms": at_ms, "device": "meter", "point": "t", "value": 20.0 + at_ms % 7}
        for at_ms in moments
    ]
    school.record("reading", readings)
    sent.update(("reading", at_ms, None) for at_ms in moments)
    return sent


@dataclass
class Drain:
    """A backlog on its way home, message by message, over connections that are cut now and then.

    ``cut_every``: the connection ends with each such message of the school, which arrived, and
    with what is under way either way. ``message_ms``: how long the line takes to pass one.
    """

    district: District
    cut_every: int = 0
    message_ms: int = MESSAGE_MS
    cuts: int = 0

    def __post_init__(self) -> None:
        self.line = Line(self.district)
        self.line.paces[0].note_connected(self.message_ms)

    def messages(self) -> Iterator[int]:
        """Yield bytes of each message of the school that arrived, until both ends are quiet."""
        self.district.nodes[17].seal_all()
        for number in count(1):
            if not self._speak():
                break
            yield self._pass_on()
            if self.cut_every and number % self.cut_every == 0:
                self.cuts += 1
                self.line.paces[0].note_loss(self.line.now_ms)
                self.line = self.line.cut()
        assert self.line.edge.under_way == {}

    def _speak(self) -> bool:
        """Let the hub answer and the school speak; tell whether something of it is under way."""
        for wait_ms in (0, RECEIPT_MS):
            self.line.now_ms += wait_ms
            if self.line.hub.has_heard:  # it answers, and does not begin
                self.line.speak("down")
                self.line.pass_all_on("down")
            self.line.speak("up")
            if self.line.lines["up"]:
                return True
        return False

    def _pass_on(self) -> int:
        self.district.now += self.message_ms
        self.line.now_ms += self.message_ms
        self.district.nodes[17].seal_due(OFFLINE)
        size = len(self.line.lines["up"][0])
        self.line.heard.clear()
        self.line.pass_on("up")
        return size


def held(district: District, origin: int) -> Sent:
    found: Sent = Counter()
    for table, person in (("card_tap", "person"), ("reading", "NULL"), ("alarm", "NULL")):
        rows = district.rows(origin, f"SELECT '{table}', at_ms, {person} FROM {table}")  # noqa: S608 - names are ours
        found.update(rows)
    return found


@pytest.fixture
def offline(district: District) -> Sent:
    """A district whose school was heard once, then not for thirty days, and rang at the end."""
    district.seal(0, 17)
    Line(district).settle()
    days = school_days(SEED)
    sent: Sent = Counter()
    for _ in range(DAYS):
        sent += live(district, list(islice(days, TAPS_A_DAY)))
    district.nodes[17].record(
        "alarm", [{"at_ms": district.now, "device": "button", "alarm": "panic"}]
    )
    sent["alarm", district.now, None] += 1
    assert len(sent) == DAYS * (TAPS_A_DAY + READINGS_A_DAY) + 1
    return sent


def test_thirty_days_offline_come_home_once_and_alarms_first(
    district: District, offline: Sent
) -> None:
    drain = Drain(district, cut_every=3)
    messages = drain.messages()
    first = next(messages)
    assert first <= ALARM_BYTES_MAX
    assert held(district, 0) == {("alarm", district.now - MESSAGE_MS, None): 1}
    total = first + sum(messages)
    assert drain.cuts > 10
    assert held(district, 0) == held(district, 17) == offline
    assert set(offline.values()) == {1}
    digests = district.digests(17)
    for table in ("card_tap", "reading", "alarm"):
        assert district.digests(0)[table] == digests[table]
    assert total < BYTES_A_ROW_MAX * len(offline)


def test_an_alarm_in_mid_drain_waits_for_nothing_but_what_is_under_way(
    district: District, offline: Sent
) -> None:
    drain = Drain(district, message_ms=SLOW_MESSAGE_MS)
    messages = drain.messages()
    sent = 0
    while sent < len(offline):  # a quarter of the bytes
        sent += next(messages)
    under_way = sum(map(len, drain.line.lines["up"]))
    assert 0 < under_way < drain.line.paces[0].window_bytes + SEGMENT_BYTES_MAX
    district.nodes[17].record("alarm", [{"at_ms": 1, "device": "button", "alarm": "fire"}])
    district.nodes[17].seal_due(OFFLINE)
    passed = 0
    while district.rows(0, "SELECT count(*) FROM alarm WHERE alarm = 'fire'") == [(0,)]:
        size = next(messages)
        passed += size
    assert passed - size <= under_way
    assert size <= ALARM_BYTES_MAX
    (_, message) = drain.line.heard[-1]
    assert message.waiting_bytes > 2 * len(offline)
    assert sum(messages) > 2 * len(offline)
    offline["alarm", 1, None] += 1
    assert held(district, 0) == offline


def test_memory_to_bring_home_thirty_days_is_that_of_ten(tmp_path: Path) -> None:
    (few, few_sent), (many, many_sent) = (
        peak_in_a_process(tmp_path / str(days), days) for days in (FEW_DAYS, DAYS)
    )
    assert few_sent > 3 * FIRST_BYTES_MAX  # both fill the window
    # A conversation remembers cells, up to a limit of its own; of the backlog it holds nothing.
    assert many - few < (many_sent - few_sent) * 3 / 4


def peak_in_a_process(folder: Path, days_away: int) -> tuple[int, int]:
    """Measure with :func:`peak_of_days`, where no other test has left anything behind."""
    folder.mkdir()
    program = (
        "import sys; from pathlib import Path; from tests.sync.test_thirty_days import *;"
        "print(*peak_of_days(Path(sys.argv[1]), int(sys.argv[2])))"
    )
    argv = [sys.executable, "-c", program, str(folder), str(days_away)]
    told = subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    peak, sent = map(int, told.split())
    return peak, sent


def peak_of_days(folder: Path, days_away: int) -> tuple[int, int]:
    """Let a school be away for so many days; return :func:`peak_of_a_message` of its return."""
    district = District(folder, Random(7))
    for origin in (0, 17):
        district.add(origin)
    days = school_days(SEED)
    for _ in range(days_away):
        live(district, list(islice(days, TAPS_A_DAY)))
    measured = peak_of_a_message(Drain(district, message_ms=SLOW_MESSAGE_MS).messages())
    for node in district.nodes.values():
        node.close()
    return measured


def peak_of_a_message(messages: Iterator[int]) -> tuple[int, int]:
    """Return the most bytes of memory that a message took, and the bytes of all messages.

    Cycles are collected between messages and never within one: when the collector
    runs by itself depends on what the process did before.
    """
    peak = total = 0
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for size in messages:
            total += size
            peak = max(peak, tracemalloc.get_traced_memory()[1])
            gc.collect()
            tracemalloc.reset_peak()
    finally:
        tracemalloc.stop()
        gc.enable()
    return peak, total
