"""The recordings' pages: who may see them, playing in parts, what schools signed, what lacks."""

import random
from collections.abc import Iterator
from dataclasses import replace

import pytest
from aiohttp import FormData
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.recordings.library import DISK_FREE_MIN
from edge.lesson.recordings.retention import DAY_MS
from sync.lessons.fragment_log import EVENTS, LessonId
from sync.lessons.fragment_sealing import TakeSealer, digest, groups_of, new_take, sign_group
from sync.lessons.lesson_events import Chapter, encode_event
from tests.edge.pages.conftest import Client
from tests.edge.pages.recorded_lesson import (
    BEGAN_MS,
    KEY,
    LESSON,
    hold_lesson,
    minutes_of,
    record_lesson,
    sign,
)
from tests.edge.pages.simulated_box import FLAGSHIP, SCHOOL, SIGNING, SimulatedBox


@pytest.fixture
def lesson(box: SimulatedBox) -> Iterator[SimulatedBox]:
    hold_lesson(box)
    yield box
    box.shelf.close()


async def test_nobody_sees_a_recording_without_the_setup_code(
    client: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    for path in ("", "/a1"):
        text = await (await client.get(f"/lessons{path}")).text()
        assert "setup code" in text
        assert "Circumference" not in text
    for path in ("recording.mp4", "chapters.vtt", "captions.vtt", "clock.json"):
        assert (await client.get(f"/lessons/a1/{path}")).status == 403
    answer = await client.post("/lessons/a1/remove", data={})
    assert answer.status == 403
    assert LESSON in lesson.shelf.sizes()


async def test_the_list_tells_state_gaps_and_how_long_each_is_kept(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    sign(lesson, replace(minutes_of(lesson, SCHOOL), missing_s=7))
    lesson.insert(
        "recording", lesson=LESSON, take="00", recorded_ms=4000, bytes=900, gaps="[[2,1,3]]"
    )
    text = await (await staff.get("/lessons")).text()
    assert "Circumference" in text
    assert "7 s missing" in text
    assert "r301" not in text
    assert "1 gap" in text
    await staff.post("/lessons/a1/keep", data={})
    assert "protected" in await (await staff.get("/lessons")).text()
    chinese = await staff.get("/lessons", headers={"Accept-Language": "zh-CN"})
    assert "圆的周长" in await chinese.text()


async def test_a_recording_that_was_cut_short_is_not_called_whole(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    assert "not written down yet" in await (await staff.get("/lessons/a1")).text()
    own = minutes_of(lesson, SCHOOL)
    sign(lesson, own)
    sign(lesson, replace(minutes_of(lesson, FLAGSHIP), recorded_s=own.recorded_s + 1200))
    text = await (await staff.get("/lessons")).text()
    assert "1200 s missing" in text
    assert "whole" not in text
    text = await (await staff.get("/lessons/a1")).text()
    assert "the flagship recorded more than ever came here" in text
    assert "all that was captured is here" not in text
    sign(lesson, minutes_of(lesson, FLAGSHIP))
    assert "all that was captured is here" in await (await staff.get("/lessons/a1")).text()


async def test_a_player_gets_the_parts_it_asks_for(staff: Client, lesson: SimulatedBox) -> None:
    record_lesson(lesson)
    answer = await staff.get("/lessons/a1/recording.mp4?download")
    whole = await answer.read()
    assert answer.status == 200
    assert answer.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''%E5%9C")
    assert int(answer.headers["Content-Length"]) == len(whole)
    assert whole[4:8] == b"ftyp"
    rng = random.Random(2)
    for _ in range(5):
        first = rng.randrange(len(whole))
        last = rng.randrange(first, len(whole))
        part = await staff.get(
            "/lessons/a1/recording.mp4", headers={"Range": f"bytes={first}-{last}"}
        )
        assert part.status == 206
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{len(whole)}"
        assert await part.read() == whole[first : last + 1]
    tail = await staff.get("/lessons/a1/recording.mp4", headers={"Range": "bytes=-10"})
    assert await tail.read() == whole[-10:]
    beyond = await staff.get("/lessons/a1/recording.mp4", headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status == 416
    nonsense = await staff.get("/lessons/a1/recording.mp4", headers={"Range": "bytes=b-a"})
    assert nonsense.status == 416
    assert (await staff.get("/lessons/a1/recording.mp4?picture=11")).status == 404
    assert (await staff.get("/lessons/nobody/recording.mp4")).status == 404


async def test_what_two_schools_signed_is_held_against_each_other(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    flagship, own = minutes_of(lesson, FLAGSHIP), minutes_of(lesson, SCHOOL)
    sign(lesson, flagship)
    sign(lesson, own)
    text = await (await staff.get("/lessons/a1")).text()
    assert text.count(own.digest.hex()[:16]) == 2
    assert "does not hold" not in text
    assert "recordings are not the same" not in text
    sign(lesson, replace(own, digest=bytes(32)))
    assert "recordings are not the same" in await (await staff.get("/lessons/a1")).text()
    other = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"\1")
    lesson.insert("lesson_minutes", FLAGSHIP, **flagship.row(other))
    text = await (await staff.get("/lessons/a1")).text()
    assert "does not hold" in text
    assert "recordings are not the same" not in text  # nothing to hold it against


async def test_a_hub_that_was_late_itself_is_said_at_the_box_in_both_languages(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    for minute in range(20):
        poor = "poor" if minute < 5 else "good"
        for hop, state in (("wan", poor), ("hub_link", "good"), ("hub", poor)):
            lesson.insert(
                "lesson_quality",
                at_ms=BEGAN_MS + minute * 60_000,
                lesson=LESSON,
                hop=hop,
                state=state,
            )
    text = await (await staff.get("/lessons/a1")).text()
    assert "The hub: it was too busy, or its disk took nothing." in text
    assert "the same line, as the hub saw it" in text
    chinese = await staff.get("/lessons/a1", headers={"Accept-Language": "zh-CN"})
    assert "区域中心看到的同一条线路" in await chinese.text()


async def test_gaps_are_listed_with_the_moment_at_which_they_begin(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    sign(lesson, minutes_of(lesson, SCHOOL))
    assert "all that was captured is here" in await (await staff.get("/lessons/a1")).text()
    lesson.shelf.forget(LESSON)
    record_lesson(lesson, without=range(10, 20))
    text = await (await staff.get("/lessons/a1")).text()
    assert "<td>08:05:00</td><td>sound</td>" in text
    assert '<td class="right">0:01</td>' in text


async def test_a_protected_recording_is_not_removed_and_an_unprotected_one_is(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    lesson.insert("recording", lesson=LESSON, take="00", recorded_ms=4000, bytes=900, gaps="[]")
    await staff.post("/lessons/a1/keep", data={})
    refused = await staff.post("/lessons/a1/remove", data={})
    assert refused.status == 409
    assert "protected" in await refused.text()
    await staff.post("/lessons/a1/let-go", data={})
    text = await (await staff.post("/lessons/a1/remove", data={})).text()
    assert "a person removed it" in text
    assert lesson.shelf.sizes() == {}


def captions(text: str, language: str = "zh-CN") -> FormData:
    form = FormData({"language": language})
    form.add_field("file", text.encode(), filename="lesson.vtt", content_type="text/vtt")
    return form


async def test_captions_are_added_at_the_flagship_and_shown_at_their_moments(
    staff: Client, lesson: SimulatedBox
) -> None:
    record_lesson(lesson)
    said = "WEBVTT\n\n00:01.000 --> 00:02.500\n圆的周长\n"
    refused = await staff.post("/lessons/a1/captions", data=captions(said))
    assert refused.status == 409
    assert "school that taught" in await refused.text()
    for school, role in ((FLAGSHIP, "receiver"), (SCHOOL, "flagship")):
        lesson.insert("lesson_party", school, lesson=LESSON, role=role, room="r301")
    broken = await staff.post("/lessons/a1/captions", data=captions(said.replace("WEBVTT", "")))
    assert broken.status == 400
    assert "does not begin with WEBVTT" in await broken.text()
    assert (await staff.post("/lessons/a1/captions", data=captions(said))).status == 200
    shown = await staff.get("/lessons/a1/captions.vtt?language=zh-CN")
    assert "00:00:01.000 --> 00:00:02.500\n圆的周长" in await shown.text()
    page = await (await staff.get("/lessons/a1")).text()
    assert '<track kind="captions"' in page
    assert (await staff.post("/lessons/a1/captions", data=captions(said, "../en"))).status == 400


async def test_old_recordings_go_and_it_is_written_down(lesson: SimulatedBox) -> None:
    record_lesson(lesson)
    lesson.insert("recording", lesson=LESSON, take="00", recorded_ms=4000, bytes=900, gaps="[]")
    lesson.shelf.close()
    await lesson.recordings.tidy(10**15)
    assert LESSON in lesson.shelf.sizes()
    lesson.clock_ms += 181 * DAY_MS
    lesson.held.add(LESSON)
    await lesson.recordings.tidy(10**15)
    assert LESSON in lesson.shelf.sizes()  # it is being held
    lesson.held.clear()
    await lesson.recordings.tidy(10**15)
    assert lesson.shelf.sizes() == {}
    (shelved,) = await lesson.recordings.lessons()
    assert shelved.told.takes[0].gone_why == "age"
    assert shelved.told.gone_ms == lesson.clock_ms


def schedule_tomorrow(box: SimulatedBox, substitute: LessonId | None = None) -> None:
    """Let the hub have scheduled the lesson ``b2`` for the same time of the next day."""
    begins_ms = box.clock_ms + DAY_MS
    box.insert(
        "lesson",
        FLAGSHIP,
        lesson="b2",
        starts_ms=begins_ms,
        ends_ms=begins_ms + 1,
        cancelled=0,
        substitute=substitute,
    )


async def test_what_stands_in_for_a_lesson_to_come_is_kept_until_that_is_over(
    lesson: SimulatedBox,
) -> None:
    record_lesson(lesson)
    lesson.clock_ms += 181 * DAY_MS
    schedule_tomorrow(lesson, substitute=LESSON)
    await lesson.recordings.tidy(10**15)
    assert LESSON in lesson.shelf.sizes()
    lesson.clock_ms += 2 * DAY_MS
    await lesson.recordings.tidy(10**15)
    assert lesson.shelf.sizes() == {}


async def test_a_full_disk_takes_a_recording_and_says_so(lesson: SimulatedBox) -> None:
    record_lesson(lesson)
    lesson.insert("recording", lesson=LESSON, take="00", recorded_ms=4000, bytes=900, gaps="[]")
    await lesson.recordings.tidy(0)
    (shelved,) = await lesson.recordings.lessons()
    assert not shelved.here
    assert shelved.told.takes[0].gone_why == "disk"


async def test_what_the_flagship_did_not_sign_is_not_on_the_time_line(lesson: SimulatedBox) -> None:
    record_lesson(lesson)
    take = new_take()
    sealer = TakeSealer(LESSON, take, KEY)
    told = sealer.seal_event(encode_event(Chapter(title="Part one")), BEGAN_MS)
    lesson.shelf.take(LESSON, take).append(told)
    shelved = await lesson.recordings.find(LESSON)
    assert (await lesson.recordings.time_line(shelved)).chapters == ()
    for group in groups_of([(EVENTS, 0, digest(told))], final=True):
        signature = sign_group(LESSON, take, 0, group, BEGAN_MS, SIGNING)
        lesson.shelf.take(LESSON, take).append(signature)
    assert len((await lesson.recordings.time_line(shelved)).chapters) == 1


SLIDE = b"\xff\xd8\xff" + bytes(1000)


async def test_slides_go_with_the_recording_of_their_lesson(lesson: SimulatedBox) -> None:
    record_lesson(lesson)
    lesson.materials.add(LESSON, 1, "one", SLIDE)
    lesson.shelf.close()
    await lesson.recordings.tidy(10**15)
    assert len(lesson.materials.digests(LESSON)) == 1
    await lesson.recordings.give_up(LESSON, "a person")
    assert lesson.materials.sizes() == lesson.shelf.sizes() == {}


async def test_slides_without_a_recording_go_on_the_last_day_it_would_have(
    lesson: SimulatedBox,
) -> None:
    lesson.materials.add(LESSON, 1, "one", SLIDE)
    (shelved,) = await lesson.recordings.lessons()
    lesson.held.add(LESSON)
    lesson.clock_ms = shelved.told.ends_ms + 180 * DAY_MS
    await lesson.recordings.tidy(10**15)
    assert len(lesson.materials.digests(LESSON)) == 1, "the lesson is being held"
    lesson.held.clear()
    lesson.clock_ms -= 1
    await lesson.recordings.tidy(10**15)
    assert len(lesson.materials.digests(LESSON)) == 1
    lesson.clock_ms += 1
    await lesson.recordings.tidy(10**15)
    assert lesson.materials.sizes() == {}


async def test_a_full_disk_counts_slides_and_takes_those_of_lessons_to_come_last(
    lesson: SimulatedBox,
) -> None:
    record_lesson(lesson)
    lesson.materials.add(LESSON, 1, "one", SLIDE)
    schedule_tomorrow(lesson)
    lesson.materials.add(LessonId("b2"), 1, "one", SLIDE)
    takes_bytes, _ = lesson.shelf.sizes()[LESSON]
    await lesson.recordings.tidy(DISK_FREE_MIN - takes_bytes - len(SLIDE))
    assert lesson.shelf.sizes() == {}
    assert list(lesson.materials.sizes()) == ["b2"]
