from hub.lesson.minute_count import LinkCount, LoadCount
from sync.lessons.fragment_rungs import Rung


def test_a_minute_tells_the_worst_of_it_and_the_next_counts_anew() -> None:
    load = LoadCount()
    for late_s, lasts_s in ((0.001, 0.02), (0.3004, 4.0), (0.1, 0.02)):
        load.note_loop(late_s)
        load.note_disk(lasts_s)
    link = LinkCount()
    link.tick(Rung.MAIN, 900, is_silent=False)
    link.tick(Rung.SMALL, 4000, is_silent=False)
    link.tick(Rung.SOUND, 20, is_silent=True)
    told = link.minute(load, 2, dropped=7)
    assert (told.busy_ms, told.disk_ms, told.unstored_s) == (300, 4000, 2)
    assert (told.silent_s, told.reduced_s, told.dropped, told.waiting_bytes) == (1, 2, 7, 4000)
    again = link.minute(LoadCount(), 0, dropped=9)
    assert (again.silent_s, again.reduced_s, again.dropped, again.waiting_bytes) == (0, 0, 2, 0)
