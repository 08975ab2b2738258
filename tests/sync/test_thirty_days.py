"""A school without a link for thirty days: nothing lost or doubled, alarms first, flat memory."""

import gc
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from benchmarks.arrivals import DAY_MS, TAPS_A_DAY, Tap, school_days
from sync.exchange.message import CREDIT_BYTES, FIRST_BYTES_MAX
from sync.exchange.session import Session
from sync.node import SealPolicy
from sync.tables.row_check import Row
from tests.sync.district import District

DAYS = 30
FEW_DAYS = 10
READINGS_A_DAY = 288
ROWS_A_TRANSACTION = 40
SEED = 20
WINDOW_BYTES = 32 * 1024
"""As on a line of moderate speed; five days fill it too."""
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


def drain(district: District, cut_every: int = 0, bytes_max: int = CREDIT_BYTES) -> Iterator[int]:
    """Bring the backlog home, in turns; each ``cut_every``th answer is lost with its connection.

    ``bytes_max`` bounds a message. Yields bytes of each message of the school.
    """
    hub = Session(district.nodes[0], 17)
    edge = Session(district.nodes[17], 0)
    district.nodes[17].seal_all()
    quiet = number = 0
    while quiet < 2:
        district.now += 50
        district.nodes[17].seal_due(OFFLINE)
        request = edge.request(bytes_max)
        answer, taken, _ = hub.answer(request)
        yield len(request)
        number += 1
        if cut_every and number % cut_every == 0:
            edge = Session(district.nodes[17], 0)
            continue
        got, _ = edge.receive_answer(answer)
        quiet = 0 if taken.stored or got.stored else quiet + 1


def held(district: District, origin: int) -> Sent:
    found: Sent = Counter()
    for table, person in (("card_tap", "person"), ("reading", "NULL"), ("alarm", "NULL")):
        rows = district.rows(origin, f"SELECT '{table}', at_ms, {person} FROM {table}")  # noqa: S608 - names are ours
        found.update(rows)
    return found


@pytest.fixture
def offline(district: District) -> Sent:
    """A district whose school was heard once, then not for thirty days, and rang at the end."""
    district.exchange(17)
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
    messages = drain(district, cut_every=5)
    first = next(messages)
    assert first <= FIRST_BYTES_MAX + 4096
    assert district.rows(0, "SELECT alarm FROM alarm") == [("panic",)]
    (home,) = district.rows(0, "SELECT count(*) FROM card_tap")[0]
    assert isinstance(home, int)
    assert home < DAYS * TAPS_A_DAY // 2
    total = first + sum(messages)
    assert held(district, 0) == held(district, 17) == offline
    assert set(offline.values()) == {1}
    digests = district.digests(17)
    for table in ("card_tap", "reading", "alarm"):
        assert district.digests(0)[table] == digests[table]
    assert total < 16 * len(offline)


def test_memory_to_bring_home_thirty_days_is_that_of_ten(tmp_path: Path) -> None:
    peaks, sent = {}, {}
    for count in (FEW_DAYS, DAYS):
        folder = tmp_path / str(count)
        folder.mkdir()
        district = District(folder, Random(7))
        for origin in (0, 17):
            district.add(origin)
        days = school_days(SEED)
        for _ in range(count):
            live(district, list(islice(days, TAPS_A_DAY)))
        peaks[count], sent[count] = peak_of_a_message(drain(district, bytes_max=WINDOW_BYTES))
        for node in district.nodes.values():
            node.close()
    assert sent[FEW_DAYS] > WINDOW_BYTES  # both fill a message
    assert peaks[DAYS] - peaks[FEW_DAYS] < (sent[DAYS] - sent[FEW_DAYS]) / 4


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
