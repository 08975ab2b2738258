"""What of a lesson's sources does not come while it runs: what is said of it, in every language."""

import pytest

from drivers.errors import DriverError, ProtocolError, RefusedError, SetupError, UnreachableError
from edge.lesson.capture.capture_events import SoundLostError
from edge.lesson.capture.source_troubles import source_troubles
from edge.lesson.preparing.checks import Standing
from edge.pages.language import LANGUAGES, load_language
from edge.pages.lesson_words import told_trouble
from sync.lessons.tracks import BLACKBOARD, DOCUMENT, PICTURE, PICTURE_SMALL, SOUND

AWAY = UnreachableError("camera 192.0.2.7 does not answer; check its power and network")
GARBLED = UnreachableError("the camera does not speak RTSP as it should: not an RTSP start line")
GARBLED.__cause__ = ProtocolError("not an RTSP start line")
SILENT = RefusedError(
    "the camera's stream has no sound; plug in its microphone and switch its audio on, "
    "or hold the lesson without sound"
)


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (AWAY, "power and its network cable"),
        (RefusedError("c offers no second stream; switch one on in the camera"), "own page"),
        (SetupError("c is no camera"), "set-up page"),
        (SoundLostError("no sound for 4 s; check the microphone"), "microphone"),
        (GARBLED, "update its firmware"),
    ],
)
def test_what_to_do_follows_from_why_a_source_does_not_come(
    error: DriverError, remedy: str
) -> None:
    (told,) = source_troubles({PICTURE_SMALL: error})
    assert (told.state, told.fact) == (Standing.WARN, str(error))
    assert remedy in told.remedy


def test_while_the_main_camera_is_away_nothing_is_said_of_what_is_not_tried() -> None:
    found = {DOCUMENT: AWAY, SOUND: SILENT}
    assert [each.track for each in source_troubles(found)] == [SOUND, DOCUMENT]
    (told,) = source_troubles({**found, PICTURE: AWAY})
    assert (told.track, told.state) == (PICTURE, Standing.BAD)


@pytest.mark.parametrize("code", LANGUAGES)
@pytest.mark.parametrize("track", [PICTURE, SOUND, PICTURE_SMALL, BLACKBOARD, DOCUMENT])
def test_every_source_has_a_name_and_what_to_do_in_every_language(code: str, track: int) -> None:
    (trouble,) = source_troubles({track: SILENT if track == SOUND else AWAY})
    told = told_trouble(trouble, load_language(code))
    assert told["item"]
    assert told["who"]
    if code == "zh-CN":
        assert told["fact"] != trouble.fact
        assert told["remedy"] != trouble.remedy
