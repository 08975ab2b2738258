"""How looks at a page's sound are judged: silences, what was jumped over, how far behind."""

from collections.abc import Callable

from benchmarks.lesson_page import heard_of

LOOK_MS = 10.0
BEHIND_MS = 700.0


def looks(
    sound_s: Callable[[float], float], seconds: float = 10.0
) -> list[tuple[float, float, float | None]]:
    """Return looks at a page whose sound is at ``sound_s`` of the seconds that passed."""
    found: list[tuple[float, float, float | None]] = []
    for count in range(int(seconds * 1000 / LOOK_MS)):
        now_ms = count * LOOK_MS
        found.append((now_ms, sound_s(now_ms / 1000), now_ms - BEHIND_MS))
    return found


def test_sound_that_goes_on_is_no_silence_at_any_pace() -> None:
    for pace in (0.94, 1.0, 1.25):
        heard = heard_of(looks(pace.__mul__))
        assert heard.silences_ms == []
        assert heard.skipped_s == 0.0
        assert heard.behind_median_ms == BEHIND_MS


def test_a_standing_still_is_a_silence_from_a_fifth_of_a_second_on() -> None:
    def halting(stands_s: float) -> Callable[[float], float]:
        return lambda now_s: min(now_s, 3.0) + max(0.0, now_s - 3.0 - stands_s)

    assert heard_of(looks(halting(0.15))).silences_ms == []
    [silence_ms] = heard_of(looks(halting(0.6))).silences_ms
    assert abs(silence_ms - 600) <= 2 * LOOK_MS


def test_what_ends_in_silence_is_silent() -> None:
    [silence_ms] = heard_of(looks(lambda now_s: min(now_s, 8.0))).silences_ms
    assert abs(silence_ms - 2000) <= 2 * LOOK_MS


def test_what_is_jumped_over_is_told() -> None:
    heard = heard_of(looks(lambda now_s: now_s + (1.5 if now_s > 5 else 0.0)))
    assert heard.silences_ms == []
    assert abs(heard.skipped_s - 1.5) < 0.1


def test_before_anything_plays_nothing_is_said_of_how_far_behind_it_is() -> None:
    seen = [(now_ms, sound_s, None) for now_ms, sound_s, _ in looks(lambda now_s: now_s)]
    assert heard_of(seen).behind_ms == []
