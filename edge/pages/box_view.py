"""What the pages ask of the box: one protocol, implemented by the daemon."""

import sqlite3
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from enum import StrEnum
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Protocol

from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.entities import CommandResult, DeviceId, Measurement
from edge.clock_watch import ClockLight
from edge.lesson.preparing.checks import Check, LessonPlan, SourceTrouble
from edge.lesson.status import Cause
from edge.metering import Hold
from edge.sync_standing import SyncStanding
from sync.exchange.holdings import SealedOnly
from sync.schema.model import Lane

if TYPE_CHECKING:
    from edge.cameras.camera_desk import CameraDesk  # whose groups offer CommandChoices
    from edge.class_cards.office import CardOffice  # whose parts tell of changes by this module
    from edge.farm.farm_office import FarmOffice
    from edge.lesson.capture.shared_screen import SharedScreens
    from edge.lesson.evidence.hop_quality import ScreenReport
    from edge.lesson.recordings.library import Library
    from edge.lesson.teaching.teacher_desk import TeacherDesk
    from edge.lesson.way_back.class_desk import ClassDesk
    from edge.pages.actions import Adopt
    from edge.panels.board_office import BoardOffice
    from edge.repair_desk import RepairDesk
    from edge.safety.safety_office import SafetyOffice
    from edge.sports.sports_office import SportsOffice


class Light(StrEnum):
    """Colour, shape and word of one light; UNKNOWN is what a light is before its evidence."""

    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UNKNOWN = "unknown"


class Sign(StrEnum):
    """What a light rests on; the pages have a sentence for each in every language."""

    ANSWERED = "answered"  # it replied to the box
    SPOKE = "spoke"  # it sent something by itself: a card, a push, a hello
    SILENT = "silent"  # asked, and no reply since the evidence's time
    REFUSED = "refused"  # it replied with a refusal
    LINK_LOST = "link_lost"  # its cable, port or address is gone
    NEVER = "never"  # nothing heard or seen since adoption


class Change(StrEnum):
    """What an event notification says has changed; a reader then fetches it again."""

    CANDIDATES = "candidates"
    DEVICES = "devices"
    VALUES = "values"
    SYNC = "sync"
    SCHEDULE = "schedule"  # timetable, lessons, notices
    LESSON = "lesson"  # the state of a lesson in progress
    TAPS = "taps"
    EMERGENCY = "emergency"  # put over the class cards, or lifted
    RECEIPTS = "receipts"  # a screen was paired or revoked, or had painted an emergency
    SPORTS = "sports"  # a heart rate, a lesson with bands, a fitness result
    SAFETY = "safety"  # a circuit, an alarm or a drill
    FARM = "farm"  # a rule's standing, an output, a decision, or what was entered
    LOG = "log"


class LessonState(StrEnum):
    """A lesson's states as a room goes through them."""

    SCHEDULED = "scheduled"
    PREPARING = "preparing"
    LIVE = "live"
    DEGRADED = "degraded"
    CATCHING_UP = "catching_up"
    DONE = "done"
    ARCHIVED = "archived"


class LessonRole(StrEnum):
    FLAGSHIP = "flagship"
    RECEIVER = "receiver"


class LinkState(StrEnum):
    """The uplink to the hub."""

    CONNECTED = "connected"
    WAITING = "waiting"  # between attempts
    UNENROLLED = "unenrolled"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandChoice:
    """A command a device takes; without arguments and numbers it is one button.

    ``low`` and ``high`` bound the whole numbers it takes.
    """

    command: str
    arguments: tuple[str, ...] = ()
    low: int | None = None
    high: int | None = None

    def takes(self, argument: str | None) -> bool:
        """Tell whether an argument is on offer."""
        if argument is None:
            return not self.arguments and self.high is None
        if argument in self.arguments:
            return True
        if self.low is None or self.high is None or not argument.isascii():
            return False
        return argument.isdigit() and len(argument) < 10 and self.low <= int(argument) <= self.high  # noqa: PLR2004 - digits enough for any bound


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLight:
    """One adopted device. ``detail`` adds to ``sign``, in the words of whoever saw it.

    ``unconfirmed`` are the points, commands and events of its profile, and ``link``, that no
    document and no device wholly confirms.
    """

    device: DeviceId
    kind: DeviceKind
    name: str
    room: str | None
    address: str
    state: Light
    sign: Sign
    evidence_ms: int | None
    detail: str = ""
    commands: tuple[CommandChoice, ...] = ()
    last_command: CommandResult | None = None
    unconfirmed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryProgress:
    """Where a discovery run is; ``done`` of ``total`` steps, ``step`` in the scanner's words.

    ``unsearched`` are sentences about the ports and networks that could not be searched, each with
    its remedy.
    """

    running: bool
    step: str = ""
    done: int = 0
    total: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    unsearched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneLight:
    """One lane's way home: rows sealed, stored and folded by the hub's receipts, and waiting.

    ``under_way_bytes`` were sent and are not receipted yet. Receipts are of ``stored_ms``.
    ``unsealed_rows`` are part of those that wait. ``sealed_only``: segments that the hub stores and
    cannot read, by group; None while they are still being counted.
    """

    lane: Lane
    sealed: int
    stored: int
    waiting_rows: int
    waiting_bytes: int
    sealed_ms: int | None
    stored_ms: int | None
    oldest_waiting_ms: int | None
    applied: int = 0
    under_way_bytes: int = 0
    unsealed_rows: int = 0
    oldest_unsealed_ms: int | None = None
    sealed_only: tuple[SealedOnly, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncLights:
    """The uplink (``since_ms``: how long in this state) and its lanes.

    ``held`` lanes wait though there is a connection, for ``held_reason``, until a moment if that is
    known.
    """

    link: LinkState
    since_ms: int
    last_exchange_ms: int | None
    detail: str
    lanes: tuple[LaneLight, ...]
    held: tuple[Lane, ...] = ()
    held_reason: Hold | None = None
    held_until_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """``number`` rises by one a line; ``level`` is a level's name of :mod:`logging`."""

    number: int
    at_ms: int
    level: str
    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonView:
    """A room's lesson. ``evidence_ms``: when media last passed, None before the first.

    ``preflight`` is what was found before the bell. ``teacher_code`` opens the teacher's remote; it
    is empty where it is not to be shown. ``substitute``: the title of the recording that plays.
    ``receivers``: names in Chinese and in English.
    """

    lesson: str
    title_zh: str
    title_en: str
    teacher: str
    role: LessonRole
    state: LessonState
    starts_ms: int
    ends_ms: int
    flagship: str
    flagship_en: str
    receivers: tuple[tuple[str, str], ...]
    rehearsal: bool
    evidence_ms: int | None
    cause: Cause = Cause.NONE
    preflight: tuple[Check, ...] = ()
    plan: LessonPlan | None = None
    teacher_code: str = ""
    substitute: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomCheck:
    """What fails of a room's lesson; ``is_held``: it has begun."""

    room: str
    is_held: bool
    check: Check


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomTrouble:
    """What does not come of a room's lesson while it runs; ``gives``: it is taught there."""

    room: str
    gives: bool
    trouble: SourceTrouble


ADDRESS_POINTS = frozenset({"stream_main", "stream_sub", "snapshot"})
"""Points whose value is an address, shown only to who has entered the set-up code."""


def values_shown(values: Iterable[Measurement], *, signed_in: bool) -> list[Measurement]:
    """Return the values a reader may see."""
    return [value for value in values if signed_in or value.point not in ADDRESS_POINTS]


def by_device(values: Iterable[Measurement]) -> dict[DeviceId, list[Measurement]]:
    found: dict[DeviceId, list[Measurement]] = {}
    for value in values:
        found.setdefault(value.device, []).append(value)
    return found


class BoxView(Protocol):
    """The daemon as its pages see it.

    Everything but the ``async`` methods answers at once from memory. ``adopt``, ``dismiss``,
    ``discover``, ``command`` and ``snapshot`` raise :class:`drivers.errors.DriverError`;
    ``who`` is what the audit says of the person.
    """

    @property
    def district(self) -> str: ...
    @property
    def school(self) -> int: ...
    @property
    def school_name(self) -> str: ...
    @property
    def language_default(self) -> str:
        """``zh-CN`` or ``en``."""
        ...

    @property
    def timezone(self) -> tzinfo:
        """Where the school's days begin."""
        ...

    @property
    def https_port(self) -> int: ...
    @property
    def root_certificate(self) -> bytes:
        """The district's root, PEM."""
        ...

    def now_ms(self) -> int: ...

    def connect(self) -> sqlite3.Connection:
        """Open the store read-only, rows as :class:`sqlite3.Row`; called from worker threads."""
        ...

    def person_names(self, persons: Collection[int]) -> dict[int, str]:
        """Open names; a person whose key is erased or missing is left out."""
        ...

    def check_setup_code(self, code: str) -> bool:
        """Compare in constant time."""
        ...

    @property
    def cards(self) -> "CardOffice":
        """The desk for class cards; what writes raises :class:`sqlite3.Error`."""
        ...

    @property
    def boards(self) -> "BoardOffice":
        """Blackboards together; raises :class:`drivers.errors.DriverError`."""
        ...

    @property
    def safety(self) -> "SafetyOffice":
        """Alarms, circuits and drills; raises :class:`edge.errors.NotNowError`."""
        ...

    @property
    def farm(self) -> "FarmOffice":
        """Rules, plots and the grow log; raises DriverError and :class:`sqlite3.Error`."""
        ...

    @property
    def sports(self) -> "SportsOffice":
        """Lessons with bands, fitness results; :class:`edge.errors.NotNowError`."""
        ...

    @property
    def recordings(self) -> "Library":
        """Lessons as they were recorded; raises :class:`edge.errors.NotNowError`."""
        ...

    @property
    def shared_screens(self) -> "SharedScreens":
        """Screens that browsers share into lessons, by room."""
        ...

    @property
    def classes(self) -> "ClassDesk":
        """What classes say, and what their teacher sees; :class:`edge.errors.NotNowError`."""
        ...

    @property
    def cameras(self) -> "CameraDesk":
        """Live pictures, and hands on cameras; raises :class:`drivers.errors.DriverError`."""
        ...

    @property
    def repairs(self) -> "RepairDesk":
        """What is wrong now; putting aside raises :class:`drivers.errors.DriverError`."""
        ...

    def candidates(self) -> Sequence[Candidate]: ...
    def discovery_progress(self) -> DiscoveryProgress: ...
    async def discover(
        self, kinds: Collection[DeviceKind] | None, networks: Sequence[IPv4Network] = ()
    ) -> None:
        """Start a run, or join the one that is running; returns before it ends.

        ``networks`` are tried address by address.
        """
        ...

    async def stop_discovery(self) -> None:
        """End the run that goes on; what it found stays."""
        ...

    async def adopt(self, wish: "Adopt", *, who: str) -> DeviceId: ...
    async def dismiss(self, identity: str, *, who: str) -> None: ...
    async def command(
        self, device: DeviceId, command: str, argument: str | None, *, who: str
    ) -> CommandResult: ...
    async def snapshot(self, device: DeviceId) -> bytes:
        """Return a JPEG of what a camera sees now."""
        ...

    def device_lights(self) -> Sequence[DeviceLight]: ...
    def live_values(self) -> Sequence[Measurement]:
        """Return the latest value of each point of each adopted device."""
        ...

    def sync_lights(self) -> SyncLights: ...
    def sync_standing(self) -> SyncStanding | None:
        """Return what sync came to a little while ago; None before it was first looked at."""
        ...

    def clock_light(self) -> ClockLight: ...
    def undecided_keys(self) -> int:
        """Return how many recipients of the school's keys wait for a person's decision."""
        ...

    def offered_pupils(self) -> int | None:
        """Return how many pupils stand in a roster that the district proposes; None for none."""
        ...

    async def diagnostics(self) -> bytes:
        """Return an archive of what a supporter may see."""
        ...

    def log_lines(self, after: int) -> Iterable[LogLine]:
        """Return kept lines with greater numbers, oldest first."""
        ...

    def lesson_now(self, room: str) -> LessonView | None:
        """Return the lesson running in a room, else the next one, else None."""
        ...

    def lesson_checks(self) -> Sequence[RoomCheck]:
        """Return what fails of the lessons whose bell is near, and of those that are held."""
        ...

    def source_troubles(self) -> Sequence[RoomTrouble]:
        """Return what does not come of the pictures and sounds of the lessons given here."""
        ...

    @property
    def teacher(self) -> "TeacherDesk":
        """Orders of the lessons given here; raises :class:`edge.errors.NotNowError`."""
        ...

    def note_screen(self, page: str, told: "ScreenReport") -> None:
        """Take in what a classroom page, named by its address, says of its decoding."""
        ...

    def events(self) -> AsyncIterator[Change]:
        """Notify until closed; a slow reader loses repetitions, never the last change."""
        ...

    def changes_told(self) -> int:
        """Return how many changes there were."""
        ...

    def changes_since(self, told: int) -> Sequence[Change]:
        """Return what changed after so many; everything, if there never were so many."""
        ...
