"""What a lesson needs and what of it fails, and what a class has without the hub, as pages show it.

Facts and remedies are English sentences; whoever shows them retells them in the reader's language.
"""

from dataclasses import dataclass
from enum import StrEnum


class Item(StrEnum):
    """What is looked at; the hub's pages have words for each."""

    CAMERA = "camera"
    AIM = "aim"
    SOUND = "sound"
    BLACKBOARD = "blackboard"
    BOARD_PICTURE = "board_picture"  # an encoder's, or a camera's that shows the blackboard
    DOCUMENT = "document"  # the document camera
    CLASS_CARD = "class_card"
    PAGE = "page"  # the classroom page of a class that receives
    STAND_IN = "stand_in"  # the recording for the case that the flagship fails
    LINE = "line"
    KEY = "key"
    DISK = "disk"
    CLOCK = "clock"


class Standing(StrEnum):
    """How an item stands, in the words of the pages' lights."""

    GOOD = "good"
    WARN = "warn"  # the lesson is held, with less
    BAD = "bad"  # without a hand here the lesson fails
    UNKNOWN = "unknown"


class Fixer(StrEnum):
    """Who can put an item right."""

    IT = "it"
    TEACHER = "teacher"
    PARTNER = "partner"  # the other school's IT
    DISTRICT = "district"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One item as it was found; a failing one has a remedy and somebody who can apply it."""

    item: Item
    state: Standing
    fact: str
    remedy: str = ""
    who: Fixer | None = None

    @property
    def is_failing(self) -> bool:
        return self.state in {Standing.WARN, Standing.BAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceTrouble:
    """A picture or the sound that does not come while the lesson runs, by its track."""

    track: int
    state: Standing
    fact: str
    remedy: str
    who: Fixer


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonPlan:
    """What a class has of its lesson here, and what it will get and when; sentences."""

    has: tuple[str, ...]
    gets: tuple[str, ...]
