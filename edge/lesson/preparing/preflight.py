"""Judges what was found before the bell: each item, the fact, the remedy, who can apply it.

Pure: :class:`Facts` go in, :class:`edge.lesson.preparing.checks.Check` come out, worst first.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

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
    REFUSED = "refused"
    SILENT = "silent"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraFacts:
    """What a camera gave within some seconds: ``fault`` and its words, or a keyframe and sound.

    ``keyframe_ms``: how long its first picture took. ``sounds``: fragments of sound that came.
    """

    keyframe_ms: int | None = None
    sounds: int = 0
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
    aim: AimFacts | None = None
    boards: tuple[BoardFacts, ...] = ()
    cards: tuple[CardFacts, ...] = ()
    line: LineFacts | None = None
    unconfirmed: tuple[str, ...] = ()
    has_key: bool = True
    disk_free_bytes: int | None = None
    is_clock_known: bool = True


def judge(facts: Facts) -> tuple[Check, ...]:
    """Return a check for each item, worst first."""
    parts = (_camera, _aim, _boards, _cards, _line, _keys, _disk, _clock)
    found = [check for part in parts for check in part(facts)]
    return tuple(sorted(found, key=lambda check: _ORDER.index(check.state)))


def _camera(facts: Facts) -> Iterator[Check]:
    camera = facts.camera
    if camera is None:
        return
    if camera.fault is not None:
        yield Check(
            item=Item.CAMERA,
            state=Standing.BAD if facts.role is LessonRole.FLAGSHIP else Standing.WARN,
            fact=camera.words,
            remedy={
                Fault.SETUP: "Put it right on the set-up page.",
                Fault.REFUSED: "Set it on the camera's own page.",
                Fault.SILENT: "Check the camera's power and its network cable.",
            }[camera.fault],
            who=Fixer.IT,
        )
        return
    yield Check(
        item=Item.CAMERA,
        state=Standing.GOOD,
        fact=f"The camera sends pictures; the first came after {camera.keyframe_ms} ms.",
    )
    if camera.sounds:
        yield Check(
            item=Item.SOUND,
            state=Standing.GOOD,
            fact="Sound comes from the camera. Whether it is loud enough, only an ear can tell.",
        )
    else:
        yield Check(
            item=Item.SOUND,
            state=Standing.WARN,
            fact="The camera sends no sound.",
            remedy="Switch its microphone on in the camera's settings, or plug one in.",
            who=Fixer.IT,
        )


def _aim(facts: Facts) -> Iterator[Check]:
    aim = facts.aim
    if aim is None:
        return
    if not aim.preset:
        yield Check(
            item=Item.AIM,
            state=Standing.WARN,
            fact="The camera can be turned, and no position is stored for lessons.",
            remedy="Aim it on the page of the cameras and keep the position under the name 课堂.",
            who=Fixer.TEACHER,
        )
    elif aim.fault:
        yield Check(
            item=Item.AIM,
            state=Standing.WARN,
            fact=f"The camera did not go to its position {aim.preset}: {aim.fault}",
            remedy="Turn it by hand on the page of the cameras.",
            who=Fixer.TEACHER,
        )
    else:
        yield Check(
            item=Item.AIM,
            state=Standing.GOOD,
            fact=f"The camera was sent to its position {aim.preset}.",
        )


def _boards(facts: Facts) -> Iterator[Check]:
    if not facts.boards:
        yield Check(
            item=Item.BLACKBOARD,
            state=Standing.UNKNOWN,
            fact="No blackboard of this room is adopted: what it shows is not known here.",
        )
    for board in facts.boards:
        if board.fault:
            yield Check(
                item=Item.BLACKBOARD,
                state=Standing.BAD,
                fact=f"{board.name} did not take its orders: {board.fault}",
                remedy="Check its power and its cable, or switch it on by hand.",
                who=Fixer.IT,
            )
        elif board.verified:
            yield Check(
                item=Item.BLACKBOARD,
                state=Standing.GOOD,
                fact=f"{board.name} is on and shows its input {board.source}.",
            )
        else:
            yield Check(
                item=Item.BLACKBOARD,
                state=Standing.GOOD,
                fact=f"{board.name} took its orders; it cannot be read back.",
            )


def _cards(facts: Facts) -> Iterator[Check]:
    for card in facts.cards:
        if card.heard_ms is None or facts.now_ms - card.heard_ms > SCREEN_SILENT_MS:
            yield Check(
                item=Item.CLASS_CARD,
                state=Standing.WARN,
                fact=f"The class card {card.name} is not heard from.",
                remedy="Check its power and network; the lesson itself does not need it.",
                who=Fixer.IT,
            )
        else:
            yield Check(
                item=Item.CLASS_CARD,
                state=Standing.GOOD,
                fact=f"The class card {card.name} shows the lesson.",
            )


def _line(facts: Facts) -> Iterator[Check]:
    line = facts.line
    if line is None:
        return
    if line.bits_a_s is None:
        yield Check(
            item=Item.LINE,
            state=Standing.BAD,
            fact=line.fault,
            remedy="Check the school's line and router. The lesson is recorded, and what is"
            " missing is sent when the line is back.",
            who=Fixer.IT,
        )
        return
    rate = f"{line.bits_a_s / 1e6:.1f}"
    if line.bits_a_s >= LINE_GOOD_BITS:
        yield Check(
            item=Item.LINE,
            state=Standing.GOOD,
            fact=f"A trial on the way to the hub carried {rate} Mb/s.",
        )
    elif line.bits_a_s >= LINE_SMALL_BITS:
        yield Check(
            item=Item.LINE,
            state=Standing.WARN,
            fact=f"A trial on the way to the hub carried only {rate} Mb/s: the picture will be"
            " reduced, the sound is safe.",
            remedy="Stop other downloads in the school, or ask for a faster line.",
            who=Fixer.IT,
        )
    else:
        yield Check(
            item=Item.LINE,
            state=Standing.WARN,
            fact=f"A trial on the way to the hub carried only {rate} Mb/s: enough for sound and"
            " slides, not for a picture.",
            remedy="Stop other downloads in the school, or ask for a faster line.",
            who=Fixer.IT,
        )


def _keys(facts: Facts) -> Iterator[Check]:
    if facts.unconfirmed and facts.role is LessonRole.FLAGSHIP:
        names = ", ".join(facts.unconfirmed)
        yield Check(
            item=Item.KEY,
            state=Standing.BAD,
            fact=f"The keys of these schools are not confirmed: {names}. They could not open the"
            " lesson.",
            remedy="Compare the key by telephone and confirm it: schoolnode partners.",
            who=Fixer.IT,
        )
    elif not facts.has_key:
        yield Check(
            item=Item.KEY,
            state=Standing.BAD,
            fact="The lesson's key has not come: the flagship has not confirmed this school's box.",
            remedy="Call the flagship school and compare this box's key: schoolnode keys.",
            who=Fixer.PARTNER,
        )
    elif facts.unconfirmed:
        yield Check(
            item=Item.KEY,
            state=Standing.WARN,
            fact="The flagship's box is not confirmed here: its teacher would neither see nor hear"
            " this class.",
            remedy="Compare the key by telephone and confirm it: schoolnode partners.",
            who=Fixer.IT,
        )
    else:
        yield Check(
            item=Item.KEY,
            state=Standing.GOOD,
            fact="Everybody who takes part has the lesson's key.",
        )


def _disk(facts: Facts) -> Iterator[Check]:
    free = facts.disk_free_bytes
    if free is None:
        return
    needed = facts.lesson_s * LESSON_BYTES_A_S
    told = f"{free / 1024**3:.1f}"
    if free < needed:
        yield Check(
            item=Item.DISK,
            state=Standing.WARN,
            fact=f"The box's disk has {told} GB left; the recording needs"
            f" {needed / 1024**3:.1f} GB.",
            remedy="Remove recordings that nobody needs; the oldest go by themselves otherwise.",
            who=Fixer.IT,
        )
    else:
        yield Check(
            item=Item.DISK,
            state=Standing.GOOD,
            fact=f"The box's disk has room for the recording: {told} GB are free.",
        )


def _clock(facts: Facts) -> Iterator[Check]:
    if facts.is_clock_known:
        yield Check(item=Item.CLOCK, state=Standing.GOOD, fact="The box knows the time.")
    else:
        yield Check(
            item=Item.CLOCK,
            state=Standing.WARN,
            fact="The box does not know the time for sure: the lesson may begin early or late.",
            remedy="Give the box a time server in the school's network, or replace its battery.",
            who=Fixer.IT,
        )
