"""How the comparison with Morango counts, and that Morango is really run."""

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.arrivals import Tap, draw_taps
from benchmarks.both_sides import hold_against, last_edits, push_taps
from benchmarks.morango import TUNED
from benchmarks.peer_environment import peer_python
from benchmarks.swaps import draw_edits
from tests.system_needs import need_peer


def test_rows_are_held_against_what_was_drawn() -> None:
    drawn = [Tap(1, 7, "a"), Tap(2, 7, "a"), Tap(3, 8, "b")]
    assert hold_against({(1, 7): 1, (2, 7): 1, (3, 8): 1}, drawn) == (0, 0)
    assert hold_against({(1, 7): 2, (3, 8): 1, (4, 4): 1}, drawn) == (1, 2)


def test_a_slot_holds_its_last_edit_and_each_is_edited_once() -> None:
    edits = [*draw_edits(1, 20), *draw_edits(2, 20)]
    assert Counter(str(edit["slot"]) for edit in edits).most_common(1)[0][1] == 2
    last = last_edits(edits)
    assert len(last) == 20
    assert last == last_edits(list(draw_edits(2, 20)))


@pytest.mark.timeout(600)
def test_morango_brings_rows_home(tmp_path: Path) -> None:
    need_peer(peer_python, "morango")
    pushed = push_taps(tmp_path / "taps", TUNED, draw_taps(3, 60))
    assert (pushed.lost, pushed.doubled) == (0, 0)
    assert min(pushed.wall_s, pushed.cpu_s, pushed.sent_bytes) > 0
