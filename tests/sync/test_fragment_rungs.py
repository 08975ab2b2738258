"""Which picture a link is sent: down on evidence, up on measure, never in steps of hope alone."""

import pytest

from sync.lessons.fragment_rungs import (
    ANEW,
    BLIND_S_MIN,
    HOLD_S_MAX,
    HOLD_S_MIN,
    LATE_TIMES,
    PROBE_EVERY_S,
    PROBE_S,
    SUPPLY_S_MAX,
    TRIAL_S_MAX,
    WINDOWS,
    Ladder,
    Rung,
    Standing,
    Supply,
    sends,
)
from sync.lessons.patience import EASED_S, FAILURES_MAX
from sync.lessons.tracks import BLACKBOARD, CALLED_SOUND, PICTURE, PICTURE_SMALL, SOUND

LARGE_BYTES_S, SMALL_BYTES_S, SOUND_BYTES_S = 200_000, 20_000, 8_000
NEEDS = {PICTURE: LARGE_BYTES_S, PICTURE_SMALL: SMALL_BYTES_S, SOUND: SOUND_BYTES_S}


class Link:
    """A ladder under a camera that sends for second after second."""

    def __init__(self, *tracks: int, both: bool = False, standing: Standing = ANEW) -> None:
        self.ladder = Ladder(standing, both=both)
        self.tracks = tracks or (PICTURE, PICTURE_SMALL, SOUND)
        self.now_s = 100.0

    def film(self, seconds: int, bytes_s: float = 0.0, *, probed: bool = False) -> None:
        """Let time pass; the link delivers ``bytes_s``."""
        for _ in range(seconds):
            for track in self.tracks:
                self.ladder.note(track, NEEDS.get(track, 1000), self.now_s, keyframe=True)
            self.now_s += 1
            self.ladder.measured(bytes_s, self.now_s, probed=probed)

    @property
    def rung(self) -> Rung:
        return self.ladder.rung

    def late(self, track: int) -> bool:
        return self.ladder.late(track, self.now_s)

    def climb(self, bytes_s: float = 300_000, *, probed: bool = True) -> int:
        """Return after how many seconds that deliver so much the picture is another."""
        before, began_s = self.rung, self.now_s
        while self.rung is before:
            self.film(1, bytes_s, probed=probed)
            assert self.now_s - began_s < 600
        return int(self.now_s - began_s)


def test_one_late_picture_is_enough_to_take_the_small_stream() -> None:
    link = Link()
    link.film(5, 230_000)
    assert link.late(PICTURE)
    assert link.rung is Rung.SMALL
    assert [link.ladder.takes(track) for track in (PICTURE, PICTURE_SMALL, SOUND)] == [0, 1, 1]


def test_picture_is_not_given_up_for_one_stall_of_the_line() -> None:
    link = Link(PICTURE, SOUND)
    link.film(5, 230_000)
    for _ in range(LATE_TIMES - 1):
        assert not link.late(PICTURE)
        link.now_s += 1
    link.film(10, 230_000)
    assert not link.late(PICTURE)
    assert link.rung is Rung.MAIN


@pytest.mark.parametrize("tracks", [(PICTURE, SOUND), (PICTURE, PICTURE_SMALL, SOUND)])
def test_picture_that_is_late_again_and_again_is_left_out(tracks: tuple[int, ...]) -> None:
    link = Link(*tracks)
    link.film(5, 30_000)
    while link.rung is not Rung.SOUND:
        link.late(PICTURE if link.ladder.takes(PICTURE) else PICTURE_SMALL)
        link.now_s += 1
        assert link.now_s < 120
    assert [link.ladder.takes(track) for track in (*tracks, CALLED_SOUND)] == [
        *(track == SOUND for track in tracks),
        True,
    ]


def test_a_link_known_to_be_full_at_less_than_half_the_need_loses_its_picture_at_once() -> None:
    link = Link()
    link.film(5, 8_000, probed=True)
    assert link.late(PICTURE)
    link.film(1, 8_000, probed=True)
    assert link.late(PICTURE_SMALL)
    assert link.rung is Rung.SOUND


def test_the_climb_waits_until_two_seconds_have_delivered_what_the_next_rung_needs() -> None:
    link = Link()
    link.film(5, 230_000)
    link.late(PICTURE)
    link.film(60, 60_000, probed=True)
    link.film(1, 300_000, probed=True)
    link.film(1, 60_000, probed=True)
    link.film(1, 300_000, probed=True)
    climbed = [link.rung]
    link.film(2, 300_000, probed=True)
    assert [*climbed, link.rung] == [Rung.SMALL, Rung.MAIN]


def test_the_climb_ends_at_a_keyframe_of_the_stream_that_follows() -> None:
    link = Link()
    link.film(5, 230_000)
    link.late(PICTURE)
    link.film(int(HOLD_S_MIN[Rung.MAIN]) + 1, 30_000)
    for _ in range(2):
        for track, count in NEEDS.items():
            link.ladder.note(track, count, link.now_s, keyframe=False)
        link.now_s += 1
        link.ladder.measured(300_000, link.now_s, probed=True)
    link.ladder.note(PICTURE, 1000, link.now_s, keyframe=False)
    assert not link.ladder.takes(PICTURE)
    assert link.ladder.takes(PICTURE_SMALL)
    link.ladder.note(PICTURE, 1000, link.now_s, keyframe=True)
    assert link.ladder.takes(PICTURE)
    assert not link.ladder.takes(PICTURE_SMALL)


def test_a_link_that_shows_nothing_is_tried_after_a_while_and_longer_each_time_it_fails() -> None:
    link = Link()
    link.film(20, 230_000)
    waited: list[float] = []
    for _ in range(3):
        link.late(PICTURE)
        fell_s = link.now_s
        while link.rung is not Rung.MAIN:
            link.film(1, 30_000)
        waited.append(link.now_s - fell_s)
        link.film(1, 30_000)
    assert waited[0] >= BLIND_S_MIN[Rung.MAIN]
    assert waited[0] < waited[1] < waited[2]


def test_a_rung_that_is_left_again_is_waited_for_longer_however_it_looked_meanwhile() -> None:
    link = Link()
    link.film(20, 230_000)
    waited = []
    for _ in range(int(FAILURES_MAX)):
        link.late(PICTURE)
        waited.append(link.climb())
        link.film(15, 230_000)
    assert HOLD_S_MIN[Rung.MAIN] <= waited[0] <= 2 * HOLD_S_MIN[Rung.MAIN]
    assert waited == sorted(waited)
    assert waited[2] > 2 * waited[0]
    assert HOLD_S_MAX[Rung.MAIN] <= waited[-1] <= HOLD_S_MAX[Rung.MAIN] + WINDOWS


def test_what_failed_is_forgotten_while_it_goes_well() -> None:
    link = Link()
    for _ in range(int(FAILURES_MAX)):
        link.film(5, 230_000)
        link.late(PICTURE)
        link.climb()
    link.film(int(FAILURES_MAX * EASED_S), 230_000)
    link.late(PICTURE)
    assert link.climb() <= 2 * HOLD_S_MIN[Rung.MAIN]


def test_the_next_connection_waits_as_long_as_the_one_before_would_have() -> None:
    link = Link()
    for _ in range(4):
        link.film(5, 230_000)
        link.late(PICTURE)
        link.climb()
    link.late(PICTURE)
    again = Link(standing=link.ladder.standing)
    assert again.rung is Rung.SMALL
    assert again.climb() > HOLD_S_MAX[Rung.MAIN] / 2
    assert Link().rung is Rung.MAIN


def test_a_small_picture_that_comes_too_late_puts_the_climb_off() -> None:
    link = Link()
    link.film(5, 230_000)
    link.late(PICTURE)
    for _ in range(int(4 * HOLD_S_MIN[Rung.MAIN])):
        link.film(1, 300_000, probed=True)
        if link.rung is Rung.SMALL and link.now_s % (LATE_TIMES - 1) == 0:
            assert not link.late(PICTURE_SMALL)
    assert link.rung is Rung.SMALL
    assert link.climb() <= HOLD_S_MIN[Rung.MAIN] + WINDOWS


def test_a_link_that_has_only_just_its_small_picture_again_is_not_tried_further_at_once() -> None:
    link = Link()
    link.film(5, 8_000, probed=True)
    link.late(PICTURE)
    link.film(1, 8_000, probed=True)
    link.late(PICTURE_SMALL)
    link.climb(30_000, probed=False)
    assert link.rung is Rung.SMALL
    assert link.climb(30_000, probed=False) >= BLIND_S_MIN[Rung.MAIN]


def test_a_full_link_that_carries_too_little_is_never_tried() -> None:
    link = Link()
    link.film(5, 60_000, probed=True)
    link.late(PICTURE)
    link.film(600, 60_000, probed=True)
    assert link.rung is Rung.SMALL


def test_below_the_top_pictures_of_catch_up_go_for_a_while_at_times() -> None:
    link = Link()
    link.film(3, 230_000)
    assert link.ladder.probes(link.now_s)
    link.late(PICTURE)
    steps = 100
    share = sum(
        link.ladder.probes(link.now_s + PROBE_EVERY_S * step / steps) for step in range(steps)
    )
    assert share == pytest.approx(steps * PROBE_S / PROBE_EVERY_S, abs=1)
    assert not link.ladder.probes(link.now_s)


def test_the_small_stream_stands_in_where_the_large_one_ends_further_up_the_line() -> None:
    link = Link()
    link.film(3, 230_000)
    link.tracks = (PICTURE_SMALL, SOUND)
    link.film(3, 30_000)
    assert link.rung is Rung.MAIN
    assert link.ladder.takes(PICTURE_SMALL)
    assert not link.ladder.takes(PICTURE)
    link.tracks = (PICTURE, PICTURE_SMALL, SOUND)
    link.film(1, 230_000)
    assert not link.ladder.takes(PICTURE_SMALL)
    assert link.ladder.takes(PICTURE)


def test_a_large_stream_that_ends_again_and_again_has_to_last_before_it_is_sent() -> None:
    supply, now_s = Supply(), 100.0

    def until_sent_again() -> int:
        """Return how many seconds the large stream comes before it is sent."""
        nonlocal now_s
        began_s = now_s
        while supply.lacks_large:
            now_s += 1 - SUPPLY_S_MAX / 4
            for track in (PICTURE, PICTURE_SMALL):
                supply.note(track, 1000, now_s, keyframe=True)
        return int(now_s - began_s)

    waited = []
    for _ in range(int(FAILURES_MAX)):
        supply.note(PICTURE, 1000, now_s, keyframe=True)
        now_s += 2 * SUPPLY_S_MAX
        supply.note(PICTURE_SMALL, 1000, now_s, keyframe=True)
        assert supply.lacks_large
        waited.append(until_sent_again())
    assert waited[0] <= 1, "the first time it is taken back at once"
    assert waited == sorted(waited)
    assert TRIAL_S_MAX <= waited[-1] <= TRIAL_S_MAX + 2
    now_s += 2 * SUPPLY_S_MAX
    supply.note(PICTURE_SMALL, 1000, now_s, keyframe=True)
    now_s += 10
    supply.note(PICTURE, 1000, now_s, keyframe=True)
    assert not supply.lacks_large, "without a small one it is all there is"


def test_a_hub_is_sent_the_small_stream_beside_the_large_one() -> None:
    link = Link(both=True)
    link.film(3, 230_000)
    assert [link.ladder.takes(track) for track in NEEDS] == [True, True, True]


def test_further_tracks_go_with_every_picture_and_with_none_beside_sound_alone() -> None:
    assert sends(Rung.MAIN, BLACKBOARD)
    assert sends(Rung.SMALL, BLACKBOARD)
    assert not sends(Rung.SOUND, BLACKBOARD)
    assert all(sends(rung, CALLED_SOUND) for rung in Rung)
    link = Link(PICTURE, PICTURE_SMALL, SOUND, BLACKBOARD)
    link.film(3, 230_000)
    link.late(PICTURE)
    assert not link.late(BLACKBOARD)
    assert link.rung is Rung.SMALL


def test_links_that_are_offered_the_same_learn_of_it_from_who_offers_it() -> None:
    supply = Supply()
    links = [Ladder(supply=supply), Ladder(supply=supply)]

    def film(first_s: int, last_s: int, delivered: float) -> None:
        for at_s in range(first_s, last_s):
            for track, size in NEEDS.items():
                supply.note(track, size, at_s, keyframe=True)
            for ladder in links:
                ladder.measured(delivered, at_s + 1, probed=False)

    film(100, 105, 230_000)
    assert [ladder.late(PICTURE, 105) for ladder in links] == [True, True]
    assert [ladder.rung for ladder in links] == [Rung.SMALL, Rung.SMALL]
    film(105, 110, 1.2 * (LARGE_BYTES_S + SOUND_BYTES_S))
    for ladder in links:
        ladder.note(PICTURE, LARGE_BYTES_S, 110, keyframe=True)
    assert [ladder.rung for ladder in links] == [Rung.SMALL, Rung.SMALL]
    film(110, 113, 1.3 * (LARGE_BYTES_S + SOUND_BYTES_S))
    for ladder in links:
        ladder.note(PICTURE, LARGE_BYTES_S, 113, keyframe=True)
    assert [ladder.rung for ladder in links] == [Rung.MAIN, Rung.MAIN]
    assert not links[0].takes(PICTURE_SMALL)
    supply.note(PICTURE_SMALL, SMALL_BYTES_S, 115, keyframe=True)
    assert [ladder.takes(PICTURE_SMALL) for ladder in links] == [True, True]
