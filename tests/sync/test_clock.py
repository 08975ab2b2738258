"""Stamps rise, whatever the wall clock does and whatever a peer claims."""

from hypothesis import given
from hypothesis import strategies as st

from sync.clock import AHEAD_MS_MAX, HybridClock, Stamp, stamp, wall_ms

WALL = st.integers(-(2**40), 2**46)


class Wall:
    now = 0

    def __call__(self) -> int:
        return self.now


@given(st.lists(st.tuples(WALL, st.one_of(st.none(), st.integers(1, 2**62))), max_size=40))
def test_stamps_rise_through_jumps_and_peers(steps: list[tuple[int, int | None]]) -> None:
    wall = Wall()
    clock = HybridClock(wall)
    last = 0
    for now, seen in steps:
        wall.now = now
        if seen is not None:
            clock.observe(Stamp(seen))
        ticked = clock.tick()
        assert ticked > last
        last = ticked


@given(WALL, st.integers(-(2**40), 2**40))
def test_a_peer_too_far_ahead_never_moves_my_clock(now: int, ahead_ms: int) -> None:
    wall = Wall()
    wall.now = now
    clock = HybridClock(wall)
    seen = stamp(max(now + ahead_ms, 1))
    before = clock.last
    taken = clock.observe(seen)
    assert taken == (wall_ms(seen) - now <= AHEAD_MS_MAX)
    assert clock.last == (max(before, seen) if taken else before)


def test_what_happens_after_a_peers_stamp_is_stamped_after_it() -> None:
    wall = Wall()
    wall.now = 1_790_000_000_000
    clock = HybridClock(wall)
    seen = stamp(wall.now + 60_000, 7)
    assert clock.observe(seen)
    assert clock.tick() > seen


def test_a_clock_goes_on_behind_what_its_store_remembers() -> None:
    wall = Wall()
    clock = HybridClock(wall, last=stamp(1_790_000_000_000))
    assert clock.tick() == stamp(1_790_000_000_000, 1)
