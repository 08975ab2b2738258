"""A simulated box with one recorded lesson: four seconds of silence, signed by both schools."""

from drivers.codecs.aac import parse_config
from edge.lesson.capture.capture_events import MediaFragment
from edge.lesson.capture.fmp4 import Sample, audio_init, fragment
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import LessonId
from sync.lessons.fragment_sealing import new_take
from sync.lessons.lesson_minutes import Minutes, recording_digest
from sync.segments.sealing import DataKey, key_id
from tests.edge.pages.simulated_box import FLAGSHIP, NOW_MS, SCHOOL, SIGNING, SimulatedBox

LESSON = LessonId("a1")
KEY = DataKey(bytes(range(32)))
BEGAN_MS = NOW_MS - 60 * 60_000
SOUND = 2
SECONDS = 4
PER_SECOND = 10
SILENCE = bytes.fromhex("2000000000000e")


def record_lesson(box: SimulatedBox, *, without: range = range(0)) -> None:
    """Record four seconds of silence, and what the teacher told meanwhile."""
    recorder = TakeRecorder(
        box.shelf.take(LESSON, new_take()), KEY, SIGNING, lambda _: None, lambda _: None
    )
    sound = audio_init(parse_config(bytes.fromhex("1190")))
    recorder.add_init(SOUND, 'audio/mp4; codecs="mp4a.40.2"', sound, BEGAN_MS)
    for number in range(SECONDS * PER_SECOND):
        if number in without:
            continue
        at = number * 4800
        samples = [Sample(SILENCE, 960, keyframe=True)] * 5
        recorder.add(
            MediaFragment(
                track=SOUND,
                number=number,
                keyframe=True,
                decode_time=at,
                duration=4800,
                timescale=48_000,
                capture_ms=BEGAN_MS + number * 100,
                data=fragment(SOUND, number, at, samples),
            )
        )
    recorder.close()
    box.lesson_keys[key_id(KEY)] = KEY


def minutes_of(box: SimulatedBox, school: int) -> Minutes:
    return Minutes(
        school=school,
        lesson=LESSON,
        live_s=2,
        recorded_s=4,
        missing_s=0,
        sent_s=4 if school == FLAGSHIP else 0,
        rungs={"main": 2, "sound": 1},
        digest=recording_digest(box.shelf.takes(LESSON)),
    )


def hold_lesson(box: SimulatedBox) -> None:
    """Let the hub have scheduled the lesson an hour ago, and nothing else."""
    box.clear("lesson")
    box.clear("lesson_party")
    box.insert(
        "lesson",
        FLAGSHIP,
        lesson=LESSON,
        kind="delivery",
        title_zh="圆的周长",
        title_en="Circumference",
        teacher="张老师",
        starts_ms=BEGAN_MS,
        ends_ms=BEGAN_MS + 40 * 60_000,
        rehearsal=0,
        cancelled=0,
    )
    box.insert("lesson_party", FLAGSHIP, lesson=LESSON, role="flagship", room="101")
    box.insert("lesson_party", SCHOOL, lesson=LESSON, role="receiver", room="r301")


def sign(box: SimulatedBox, minutes: Minutes) -> None:
    box.insert("lesson_minutes", minutes.school, **minutes.row(SIGNING))
