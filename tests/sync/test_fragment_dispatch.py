"""Whole links in virtual time: a sender's pieces over a line with a rate, a delay and a queue."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from sync.lessons.fragment_dispatch import Dispatch, Piece
from sync.lessons.fragment_exchange import Turn
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_parts import PartJoiner
from sync.lessons.fragment_queue import Parcel
from sync.lessons.fragment_rungs import HOLD_S_MAX, PROBE_EVERY_S, Ladder, Rung
from sync.lessons.link_gauge import (
    NEAR_BYTES_MAX,
    PICTURE_BYTES_MAX,
    PICTURE_S,
    PIECE_BYTES_MAX,
    PIECE_BYTES_MIN,
    LinkGauge,
    Reading,
)
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND

STEP_S = 0.01
GOOD, POOR, FLOOR = 1_250_000, 62_500, 8_000
KEYFRAMES = {PICTURE: 50_000, PICTURE_SMALL: 4_000}
OTHERS = {PICTURE: 6_500, PICTURE_SMALL: 800}
SOUND_BYTES = 480
CATCH_UP_BYTES = 50_000
STALL_S = 0.9
NEEDED = KEYFRAMES[PICTURE] + 24 * OTHERS[PICTURE] + 12.5 * SOUND_BYTES
MINUTES_10 = 600


@dataclass
class Line:
    """Carries ``bytes_s`` and acknowledges after ``rtt_s``; what waits for its turn is in order."""

    bytes_s: float = GOOD
    rtt_s: float = 0.02
    acked: int = 0
    waiting: deque[tuple[int, bytes]] = field(default_factory=deque)
    waiting_bytes: int = 0
    sent: deque[tuple[float, int, bytes]] = field(default_factory=deque)
    credit: float = 0.0
    heard_s: float = 0.0
    now_s: float = 0.0

    @property
    def under_way(self) -> int:
        return self.waiting_bytes + sum(size for _, size, _ in self.sent)

    def put(self, data: bytes) -> None:
        self.waiting.append((len(data), data))
        self.waiting_bytes += len(data)

    def run(self, now_s: float) -> Iterator[bytes]:
        """Let a step pass; yield what the other end has by now."""
        self.now_s = now_s
        self.credit = min(self.credit + self.bytes_s * STEP_S, self.bytes_s * 0.1)
        while self.waiting and self.credit > 0:
            size, data = self.waiting.popleft()
            self.credit -= size
            self.waiting_bytes -= size
            self.sent.append((now_s + self.rtt_s, size, data))
        while self.sent and self.sent[0][0] <= now_s:
            _, size, data = self.sent.popleft()
            self.acked += size
            self.heard_s = now_s
            yield data

    @property
    def reading(self) -> Reading:
        wait_s = self.waiting_bytes / self.bytes_s
        silent_s = self.now_s - self.heard_s if self.under_way and self.heard_s else 0.0
        return Reading(self.acked, self.rtt_s + wait_s, silent_s)


@dataclass
class Lesson:
    """A camera, a sender under test, a line and the other end, from one seed."""

    seed: int
    line: Line = field(default_factory=Line)
    now_s: float = 1000.0
    stands_until_s: float = 0.0
    came: list[tuple[int, float]] = field(default_factory=list)
    rungs: list[Rung] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.late = 0
        self.dispatch = Dispatch(self._catch_up, bytes, in_parts=True, ladder=Ladder())
        self.joiner = PartJoiner()
        self.frame = 0

    def hold(self, seconds: float) -> None:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            if round(self.now_s / STEP_S) % 4 == 0:
                self._film()
            if self.now_s >= self.stands_until_s:
                self._send()
            for data in self.line.run(self.now_s):
                whole = self.joiner.take(data)
                if whole is not None and whole[0] in (PICTURE, PICTURE_SMALL, SOUND):
                    self.came.append((whole[0], self.now_s - float(whole[1:20].decode())))
            self.rungs.append(self.dispatch.rung)

    def hold_with_stalls(self, seconds: float) -> None:
        """Let time pass on a machine that does nothing for a while at times."""
        ends_s = self.now_s + seconds
        while self.now_s < ends_s:
            self.stands_until_s = self.now_s + STALL_S
            self.hold(self.rng.uniform(5, 25))

    @property
    def switches(self) -> int:
        """How often the picture has changed."""
        return sum(one is not other for one, other in pairwise(self.rungs))

    def delays(self, track: int) -> list[float]:
        return [delay_s for found, delay_s in self.came if found == track]

    def _send(self) -> None:
        self.dispatch.look(lambda: self.line.reading, self.now_s)
        # A kernel that remembers a good link passes everything on: nothing stays unsent.
        passed = 0.0
        while passed < GOOD * STEP_S:
            piece = self.dispatch.next(self.now_s, self.line.under_way)
            if piece is None:
                break
            self._write(piece)
            passed += len(piece.data)

    def _write(self, piece: Piece) -> None:
        self.late += piece.wire is not None
        self.line.put(piece.data)

    def _film(self) -> None:
        keyframe = self.frame % 25 == 0
        for track, others in OTHERS.items():
            size = KEYFRAMES[track] if keyframe else others
            self._offer(track, int(size * self.rng.uniform(0.8, 1.2)), keyframe=keyframe)
        if self.frame % 2 == 0:
            self._offer(SOUND, SOUND_BYTES, keyframe=True)
        self.frame += 1

    def _offer(self, track: int, size: int, *, keyframe: bool) -> None:
        data = (bytes((track,)) + f"{self.now_s:019.6f}".encode()).ljust(size, b".")
        parcel = Parcel(kind=Kind.MEDIA, track=track, keyframe=keyframe, data=data)
        self.dispatch.queue.offer(parcel, self.now_s)

    def _catch_up(self, upto: Turn) -> bytes | None:
        return bytes(CATCH_UP_BYTES) if upto is Turn.PICTURE else None


@pytest.mark.parametrize("seed", range(4))
def test_a_good_link_that_turns_poor_and_good_again_keeps_its_sound(seed: int) -> None:
    lesson = Lesson(seed)
    lesson.hold(10)
    assert set(lesson.rungs) == {Rung.MAIN}
    sounds = len(lesson.delays(SOUND))
    lesson.came.clear()

    lesson.line.bytes_s, lesson.line.rtt_s = POOR, 0.3
    lesson.hold(5)
    lesson.came.clear()
    lesson.rungs.clear()
    lesson.hold(40)

    assert set(lesson.rungs) == {Rung.SMALL}
    assert len(lesson.delays(SOUND)) >= 4 * sounds - 10
    assert max(lesson.delays(SOUND)) < 1.2
    assert sorted(lesson.delays(PICTURE_SMALL))[500] < 1.0
    assert not lesson.delays(PICTURE)

    lesson.line.bytes_s, lesson.line.rtt_s = GOOD, 0.02
    lesson.hold(15)
    assert lesson.rungs[-1] is Rung.MAIN
    lesson.came.clear()
    lesson.hold(5)
    assert len(lesson.delays(PICTURE)) >= 120
    assert not lesson.delays(PICTURE_SMALL)


@pytest.mark.parametrize("seed", range(4))
def test_a_link_that_carries_little_more_than_sound_carries_sound(seed: int) -> None:
    lesson = Lesson(seed, Line(bytes_s=FLOOR, rtt_s=0.3))
    lesson.hold(20)
    lesson.came.clear()
    lesson.rungs.clear()
    lesson.hold(120)
    assert set(lesson.rungs) == {Rung.SOUND}
    delays = lesson.delays(SOUND)
    assert len(delays) >= 120 * 12.5 - 10
    assert max(delays) - min(delays) < 1.0
    assert max(delays) < 2.0


@pytest.mark.parametrize("seed", range(4))
def test_a_machine_that_stops_now_and_then_is_not_seen_to_go_up_and_down(seed: int) -> None:
    lesson = Lesson(seed)
    lesson.hold_with_stalls(MINUTES_10)
    assert 1 < lesson.switches <= 20
    lesson.rungs.clear()
    lesson.hold_with_stalls(MINUTES_10)
    assert lesson.switches <= 2 * MINUTES_10 / HOLD_S_MAX[Rung.MAIN]
    lesson.hold(HOLD_S_MAX[Rung.MAIN] + PROBE_EVERY_S)
    lesson.rungs.clear()
    lesson.hold(60)
    assert set(lesson.rungs) == {Rung.MAIN}, "it has come to itself, and so has the picture"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("share", [1.0, 1.2, 1.4])
def test_a_link_at_its_limit_is_not_seen_to_go_up_and_down(seed: int, share: float) -> None:
    lesson = Lesson(seed, Line(rtt_s=0.05))
    for _ in range(MINUTES_10 // 5):
        lesson.line.bytes_s = NEEDED * share * lesson.rng.uniform(0.5, 1.5)
        lesson.hold(5)
    assert 0 < lesson.switches <= 20
    lesson.line.bytes_s = GOOD
    lesson.hold(HOLD_S_MAX[Rung.MAIN] + PROBE_EVERY_S)
    lesson.rungs.clear()
    lesson.hold(60)
    assert set(lesson.rungs) == {Rung.MAIN}


def test_catch_up_fills_what_a_good_link_leaves_and_delays_nothing_by_much() -> None:
    lesson = Lesson(1)
    lesson.hold(30)
    assert lesson.late * CATCH_UP_BYTES > 30 * GOOD / 4
    assert max(lesson.delays(SOUND)) < 0.35
    assert len(lesson.delays(PICTURE)) >= 30 * 25 - 10


def test_a_keyframe_is_cut_the_finer_the_slower_the_link_is() -> None:
    gauge = LinkGauge()
    assert gauge.piece_bytes < KEYFRAMES[PICTURE]
    for bytes_s in (POOR, GOOD):
        for step in range(3):
            gauge.note(Reading(int(bytes_s * step), 0.02), 10.0 * bytes_s + step)
        assert gauge.piece_bytes == min(PIECE_BYTES_MAX, bytes_s // 20)


def test_catch_up_rests_while_packets_wait_and_when_nothing_is_acknowledged() -> None:
    gauge = LinkGauge()
    gauge.note(Reading(0, 0.3), 1.0)
    assert not gauge.is_crowded
    gauge.note(Reading(1000, 0.5), 2.0)
    assert gauge.is_crowded
    gauge.note(Reading(2000, 0.3), 3.0)
    assert not gauge.is_crowded
    gauge.note(Reading(2000, 0.3, silent_s=0.6), 3.5)
    assert gauge.is_crowded


def test_a_longer_way_is_no_crowd_for_ever() -> None:
    gauge = LinkGauge()
    gauge.note(Reading(0, 0.02), 0.0)
    for second in range(1, 12):
        gauge.note(Reading(1000 * second, 0.3), float(second))
    assert not gauge.is_crowded


def test_a_queue_that_catch_up_itself_made_is_not_taken_for_a_longer_way() -> None:
    gauge = LinkGauge()
    gauge.note(Reading(0, 0.02), 0.0)
    for second in range(1, 12):
        gauge.note_catch_up()
        gauge.note(Reading(1000 * second, 0.02 + 0.03 * second), float(second))
    assert gauge.is_crowded


def test_a_keyframe_goes_at_once_where_nothing_is_known_or_nothing_can_wait() -> None:
    gauge = LinkGauge()
    assert gauge.picture_bytes_max >= PICTURE_BYTES_MAX
    for second in range(3):
        gauge.note(Reading(30_000 * second, 0.001), 1.0 + second)
    assert gauge.picture_bytes_max >= NEAR_BYTES_MAX


def test_of_picture_little_more_is_under_way_than_the_link_holds() -> None:
    for bytes_s, rtt_s in ((POOR, 0.3), (2 * POOR, 0.1), (GOOD, 0.02), (NEEDED, 0.3)):
        gauge = LinkGauge()
        for second in range(5):
            gauge.note(Reading(int(bytes_s * second), rtt_s), 1.0 + second)
        held = bytes_s * rtt_s
        assert held < gauge.picture_bytes_max <= held + bytes_s * PICTURE_S


def test_sound_has_little_before_it_in_the_kernel_of_a_slow_link() -> None:
    for bytes_s in (FLOOR, POOR, GOOD):
        gauge = LinkGauge()
        for second in range(3):
            gauge.note(Reading(bytes_s * second, 0.3), 1.0 + second)
        assert gauge.unsent_bytes_max <= max(PIECE_BYTES_MIN, bytes_s // 40)
