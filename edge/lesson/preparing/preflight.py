"""Judges what was found before the bell: each item, the fact, the remedy, who can apply it.

Pure: :class:`Facts` go in, :class:`edge.lesson.preparing.checks.Check` come out, worst first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from drivers.errors import DriverError, ProtocolError, RefusedError, SetupError
from edge.lesson.capture.capture_events import SoundLostError
from edge.lesson.preparing.checks import Check, Fixer, Item, Standing
from edge.pages.box_view import LessonRole

LESSON_BYTES_A_S = 300_000
"""What a lesson's recording takes of the disk: 2 Mb/s of picture, its sound, and room to spare."""
LINE_GOOD_BITS = 2_500_000
LINE_SMALL_BITS = 500_000
SCREEN_SILENT_MS = 5 * 60_000
_ORDER = (Standing.BAD, Standing.WARN, Standing.UNKNOWN, Standing.GOOD)


class Fault(StrEnum):
    """Why a camera gave nothing, by what can be done about it."""

    SETUP = "setup"
    GARBLED = "garbled"
    SOUND_LOST = "sound_lost"
    REFUSED = "refused"
    SILENT = "silent"


CAMERA_REMEDIES: Mapping[Fault, str] = {
    Fault.SETUP: "Put it right on the set-up page.",
    Fault.GARBLED: "Restart the camera; if it stays so, update its firmware.",
    Fault.SOUND_LOST: "Look at its microphone, and at the audio in the camera's settings.",
    Fault.REFUSED: "Set it on the camera's own page.",
    Fault.SILENT: "Check the camera's power and its network cable.",
}


def fault_of(error: DriverError) -> Fault:
    """Return by what can be done about it why a camera gives nothing."""
    # What a capture does not understand of a camera it tells as one that cannot be reached now.
    told = error.__cause__ if isinstance(error.__cause__, ProtocolError) else error
    kinds = {
        SetupError: Fault.SETUP,
        ProtocolError: Fault.GARBLED,
        SoundLostError: Fault.SOUND_LOST,
        RefusedError: Fault.REFUSED,
    }
    return next((kinds[each] for each in kinds if isinstance(told, each)), Fault.SILENT)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """What a camera gave within some seconds: ``fault`` and its words, or a keyframe and sound.

    ``keyframe_ms``: how long its first picture took. ``sounds``: fragments of sound that came.
    ``lacks_small``: it offers no second stream beside the one that was looked at.
    """

    keyframe_ms: int | None = None
    sounds: int = 0
    lacks_small: bool = False
    fault: Fault | None = None
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AimFacts:
    """``preset``: the position the camera was sent to, empty where it has none of a fit name.

    ``fault``: why it did not go.
    """

    preset: str = ""
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFacts:
    """One blackboard: told what; ``verified`` read back, else ``fault`` in its own words."""

    name: str
    source: str
    verified: bool = False
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """One class card's screen; ``heard_ms`` Unix ms, None before it spoke."""

    name: str
    heard_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PageFacts:
    """The room's classroom page; ``mute``: addresses whose browser holds sound back."""

    is_open: bool
    mute: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInFacts:
    """The recording named for the case that the flagship fails; ``opens``: it can be played."""

    title: str
    opens: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LineFacts:
    """The way to the hub: bits a second that a trial carried, or why there was none."""

    bits_a_s: int | None = None
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found of one lesson at one school; None: not looked at or not there.

    ``unconfirmed``: names of receiving schools (at one of them: of the flagship) without a
    confirmed key.
    ``has_key``: the lesson's key is here (at a receiver).
    """

    now_ms: int
    role: LessonRole
    lesson_s: int
    camera: CameraFacts | None = None
    board_picture: CameraFacts | None = None
    document: CameraFacts | None = None
    aim: AimFacts | None = None
    boards: tuple[BoardFacts, ...] = ()
    cards: tuple[CardFacts, ...] = ()
    page: PageFacts | None = None
    stand_in: StandInFacts | None = None
    line: LineFacts | None = None
    unconfirmed: tuple[str, ...] = ()
    has_key: bool = True
    disk_free_bytes: int | None = None
    is_clock_known: bool = True


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return a check for each item, worst first."""
    parts = (_camera, _beside, _aim, _boards, _cards, _page, _stand_in, _line, _keys, _disk, _clock)
    found = [check for part in parts for check in part(facts)]
    return tuple(sorted(found, key=lambda check: _ORDER.index(check.state)))


def _good(item: Item, fact: str) -> Check:
    return Check(item=item, state=Standing.GOOD, fact=fact)


def _warning(item: Item, fact: str, remedy: str, who: Fixer = Fixer.IT) -> Check:
    return Check(item=item, state=Standing.WARN, fact=fact, remedy=remedy, who=who)


def _failure(item: Item, fact: str, remedy: str, who: Fixer = Fixer.IT) -> Check:
    return Check(item=item, state=Standing.BAD, fact=fact, remedy=remedy, who=who)


def _camera(facts: Facts) -> Iterator[Check]:
    camera = facts.camera
    if camera is None:
        if facts.role is LessonRole.RECEIVER:
            yield Check(
                item=Item.CAMERA,
                state=Standing.UNKNOWN,
                fact="No camera of this room is adopted: the teacher will not see the class.",
            )
        return
    if camera.fault is not None:
        yield Check(
            item=Item.CAMERA,
            state=Standing.BAD if facts.role is LessonRole.FLAGSHIP else Standing.WARN,
            fact=camera.words,
            remedy=CAMERA_REMEDIES[camera.fault],
            who=Fixer.IT,
        )
        return
    yield _good(
        Item.CAMERA, f"The camera sends pictures; the first came after {camera.keyframe_ms} ms."
    )
    if camera.lacks_small:
        yield _warning(
            Item.CAMERA,
            "The camera offers no second stream: a class on a slow line would have sound and"
            " slides, and no picture.",
            "Switch one on in the camera: H.264, 640x360, 15 pictures a second, about 300 kb/s.",
        )
    if camera.sounds:
        yield _good(
            Item.SOUND,
            "Sound comes from the camera. Whether it is loud enough, only an ear can tell.",
        )
    else:
        yield _warning(
            Item.SOUND,
            "The camera sends no sound.",
            "Switch its microphone on in the camera's settings, or plug one in.",
        )


def _beside(facts: Facts) -> Iterator[Check]:
    """Judge what is shown beside the teacher; without it the lesson is held."""
    for item, shown in ((Item.BOARD_PICTURE, facts.board_picture), (Item.DOCUMENT, facts.document)):
        if shown is None:
            continue
        if shown.fault is None:
            yield _good(item, f"Pictures come; the first came after {shown.keyframe_ms} ms.")
        else:
            yield _warning(item, shown.words, CAMERA_REMEDIES[shown.fault])


def _aim(facts: Facts) -> Iterator[Check]:
    aim = facts.aim
    if aim is None:
        return
    if not aim.preset:
        yield _warning(
            Item.AIM,
            "The camera can be turned, and no position is stored for lessons.",
            "Aim it on the page of the cameras and keep the position under the name 课堂.",
            Fixer.TEACHER,
        )
    elif aim.fault:
        yield _warning(
            Item.AIM,
            f"The camera did not go to its position {aim.preset}: {aim.fault}",
            "Turn it by hand on the page of the cameras.",
            Fixer.TEACHER,
        )
    else:
        yield _good(Item.AIM, f"The camera was sent to its position {aim.preset}.")


def _boards(facts: Facts) -> Iterator[Check]:
    if not facts.boards:
        yield Check(
            item=Item.BLACKBOARD,
            state=Standing.UNKNOWN,
            fact="No blackboard of this room is adopted: what it shows is not known here.",
        )
    for board in facts.boards:
        if board.fault:
            yield _failure(
                Item.BLACKBOARD,
                f"{board.name} did not take its orders: {board.fault}",
                "Check its power and its cable, or switch it on by hand.",
            )
        elif board.verified:
            yield _good(Item.BLACKBOARD, f"{board.name} is on and shows its input {board.source}.")
        else:
            yield _good(Item.BLACKBOARD, f"{board.name} took its orders; it cannot be read back.")


def _cards(facts: Facts) -> Iterator[Check]:
    for card in facts.cards:
        if card.heard_ms is None or facts.now_ms - card.heard_ms > SCREEN_SILENT_MS:
            yield _warning(
                Item.CLASS_CARD,
                f"The class card {card.name} is not heard from.",
                "Check its power and network; the lesson itself does not need it.",
            )
        else:
            yield _good(Item.CLASS_CARD, f"The class card {card.name} is heard from.")


def _page(facts: Facts) -> Iterator[Check]:
    if facts.page is not None:
        yield judge_page(facts.page)


def judge_page(page: PageFacts) -> Check:
    """Return how the class sees and hears a lesson that reaches its box."""
    if not page.is_open:
        return _warning(
            Item.PAGE,
            "No classroom page of this room is open: the class would see nothing of the lesson.",
            "Switch the room's screen on, and open this box's page Classroom on it.",
        )
    if page.mute:
        return _warning(
            Item.PAGE,
            f"The browser at {', '.join(page.mute)} plays no sound before its page was touched.",
            "Touch that page once. For good: start its browser with"
            " --autoplay-policy=no-user-gesture-required.",
        )
    return _good(Item.PAGE, "The room's classroom page is open, and its browser lets it be heard.")


def _stand_in(facts: Facts) -> Iterator[Check]:
    recording = facts.stand_in
    if recording is None:
        return
    if recording.opens:
        yield _good(
            Item.STAND_IN,
            f"A recording is here for the case that the flagship fails: {recording.title}.",
        )
    else:
        yield _warning(
            Item.STAND_IN,
            "The recording named for the case that the flagship fails cannot be played on this"
            f" school's box: {recording.title}.",
            "Have the district name a lesson in which this school took part, or none.",
            Fixer.DISTRICT,
        )


def _line(facts: Facts) -> Iterator[Check]:
    line = facts.line
    if line is None:
        return
    if line.bits_a_s is None:
        yield _failure(
            Item.LINE,
            line.fault,
            "Check the school's line and router. The lesson is recorded, and what is"
            " missing is sent when the line is back.",
        )
        return
    rate = f"{line.bits_a_s / 1e6:.1f}"
    if line.bits_a_s >= LINE_GOOD_BITS:
        yield _good(Item.LINE, f"A trial on the way to the hub carried {rate} Mb/s.")
    elif line.bits_a_s >= LINE_SMALL_BITS:
        yield _warning(
            Item.LINE,
            f"A trial on the way to the hub carried only {rate} Mb/s: the picture will be"
            " reduced, the sound is safe.",
            "Stop other downloads in the school, or ask for a faster line.",
        )
    else:
        yield _warning(
            Item.LINE,
            f"A trial on the way to the hub carried only {rate} Mb/s: enough for sound and"
            " slides, not for a picture.",
            "Stop other downloads in the school, or ask for a faster line.",
        )


def _keys(facts: Facts) -> Iterator[Check]:
    if facts.unconfirmed and facts.role is LessonRole.FLAGSHIP:
        names = ", ".join(facts.unconfirmed)
        yield _failure(
            Item.KEY,
            f"The keys of these schools are not confirmed: {names}. They could not open the"
            " lesson.",
            "Compare the key by telephone and confirm it: schoolnode partners.",
        )
    elif not facts.has_key:
        yield _failure(
            Item.KEY,
            "The lesson's key has not come: the flagship has not confirmed this school's box.",
            "Call the flagship school and compare this box's key: schoolnode keys.",
            Fixer.PARTNER,
        )
    elif facts.unconfirmed:
        yield _warning(
            Item.KEY,
            "The flagship's box is not confirmed here: its teacher would neither see nor hear"
            " this class.",
            "Compare the key by telephone and confirm it: schoolnode partners.",
        )
    else:
        yield _good(Item.KEY, "Everybody who takes part has the lesson's key.")


def _disk(facts: Facts) -> Iterator[Check]:
    free = facts.disk_free_bytes
    if free is None:
        return
    needed = facts.lesson_s * LESSON_BYTES_A_S
    told = f"{free / 1024**3:.1f}"
    if free < needed:
        yield _warning(
            Item.DISK,
            f"The box's disk has {told} GB left; the recording needs {needed / 1024**3:.1f} GB.",
            "Remove recordings that nobody needs; the oldest go by themselves otherwise.",
        )
    else:
        yield _good(Item.DISK, f"The box's disk has room for the recording: {told} GB are free.")


def _clock(facts: Facts) -> Iterator[Check]:
    if facts.is_clock_known:
        yield _good(Item.CLOCK, "The box knows the time.")
    else:
        yield _warning(
            Item.CLOCK,
            "The box does not know the time for sure: the lesson may begin early or late.",
            "Give the box a time server in the school's network, or replace its battery.",
        )
