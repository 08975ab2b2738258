"""The words of the school's world in the reader's language.

Identifiers that profiles may add to (points, commands, values) fall back to themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from drivers.discovery.candidate import DeviceKind, Need
from drivers.entities import Outcome, Quality
from edge.lesson.status import Cause
from edge.pages.box_view import LessonState, Light, LinkState, Sign
from sync.folding.clock_spans import Trust
from sync.schema.model import Group, Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    kinds: Mapping[DeviceKind, str]
    lights: Mapping[Light, str]
    signs: Mapping[Sign, str]
    outcomes: Mapping[Outcome, str]
    qualities: Mapping[Quality, str]
    needs: Mapping[Need, str]
    lesson_states: Mapping[LessonState, str]
    interrupted: str  # degraded, and not only in its picture
    causes: Mapping[str, str]  # why a lesson is not simply live
    links: Mapping[LinkState, str]
    lanes: Mapping[Lane, str]
    groups: Mapping[Group, str]
    clock_trust: Mapping[Trust, str]
    points: Mapping[str, str]
    commands: Mapping[str, str]
    values: Mapping[str, str]
    ages: Mapping[str, str]  # unit → pattern with {n}; the browser counts on with the same

    def lesson_state(self, state: LessonState, cause: Cause) -> str:
        """Promise that sound is safe only where the cause does not say otherwise."""
        if state is LessonState.DEGRADED and cause not in {Cause.NONE, Cause.NO_PICTURE}:
            return self.interrupted
        return self.lesson_states[state]

    def point(self, name: str) -> str:
        return self.points.get(name, name.replace("_", " "))

    def command(self, name: str) -> str:
        return self.commands.get(name, name.replace("_", " "))

    def value(self, text: str) -> str:
        return self.values.get(text, text)


def build_words(_: Callable[[str], str]) -> Words:
    """Translate every word once; ``_`` is a catalogue's gettext."""
    return Words(
        kinds={
            DeviceKind.FARM_SENSOR: _("farm sensor"),
            DeviceKind.CARD_READER: _("card reader"),
            DeviceKind.CAMERA: _("camera"),
            DeviceKind.BLACKBOARD: _("blackboard or projector"),
        },
        lights={
            Light.GOOD: _("working"),
            Light.WARN: _("needs a look"),
            Light.BAD: _("not working"),
            Light.UNKNOWN: _("unknown"),
        },
        signs={
            Sign.ANSWERED: _("last answer"),
            Sign.SPOKE: _("last message from it"),
            Sign.SILENT: _("no answer for"),
            Sign.REFUSED: _("last refusal"),
            Sign.LINK_LOST: _("cable, port or address gone for"),
            Sign.NEVER: _("nothing heard from it yet"),
        },
        outcomes={
            Outcome.SENT: _("sent"),
            Outcome.ACKNOWLEDGED: _("acknowledged"),
            Outcome.VERIFIED: _("verified"),
            Outcome.FAILED: _("failed"),
        },
        qualities={
            Quality.GOOD: _("good"),
            Quality.UNCERTAIN: _("uncertain"),
            Quality.BAD: _("no value"),
        },
        needs={
            Need.NOTHING: _("ready to adopt"),
            Need.PASSWORD: _("needs password"),
            Need.PROFILE: _("no profile fits"),
        },
        lesson_states={
            LessonState.SCHEDULED: _("scheduled"),
            LessonState.PREPARING: _("preparing"),
            LessonState.LIVE: _("live"),
            LessonState.DEGRADED: _("picture reduced, sound is safe"),
            LessonState.CATCHING_UP: _("catching up"),
            LessonState.DONE: _("finished"),
            LessonState.ARCHIVED: _("recorded"),
        },
        interrupted=_("interrupted"),
        causes={
            Cause.HUB_UNREACHABLE: _("The hub is not reached; what is missed comes later."),
            Cause.HUB_REFUSES: _("The hub does not count this school among the lesson's."),
            Cause.FLAGSHIP_SILENT: _("Nothing comes from the flagship school."),
            Cause.CAMERA_SILENT: _("The flagship's camera sends nothing."),
            Cause.NO_PICTURE: _("The picture is missing."),
            Cause.NO_SOUND: _("The sound is missing."),
            Cause.NO_KEY: _("The key of this lesson has not arrived yet."),
            Cause.DISK: _("This school's box cannot write to its disk."),
            # Two that only the page itself can know.
            "box_unreachable": _("This school's box does not answer."),
            "cannot_play": _("This screen's browser cannot play the lesson; update it."),
        },
        links={
            LinkState.CONNECTED: _("connected to the hub"),
            LinkState.WAITING: _("hub not reached; everything is kept here and sent later"),
            LinkState.UNENROLLED: _("not enrolled yet"),
        },
        lanes={
            Lane.ALARM: _("alarms"),
            Lane.CONTROL: _("keys and settings"),
            Lane.ATTENDANCE: _("attendance"),
            Lane.LESSONS: _("lessons"),
            Lane.TELEMETRY: _("readings"),
            Lane.BULK: _("large files"),
            Lane.SNAPSHOT: _("summary of the past"),
        },
        groups={
            Group.DISTRICT: _("district's figures"),
            Group.HEALTH: _("health figures"),
            Group.IDENTITY: _("names and guardians"),
            Group.GRANT: _("keys"),
        },
        clock_trust={
            Trust.SET: _("set"),
            Trust.UNKNOWN: _("not known; its rows are corrected once the hub tells the time"),
            Trust.HUB: _("wrong; the box goes by the hub's"),
            Trust.CORRECTED: _("corrected"),
        },
        points={
            "soil_moisture": _("soil moisture"),
            "soil_temperature": _("soil temperature"),
            "soil_ec": _("soil conductivity"),
            "soil_conductivity": _("soil conductivity"),
            "soil_ph": _("soil pH"),
            "temperature": _("temperature"),
            "air_temperature": _("air temperature"),
            "humidity": _("humidity"),
            "air_humidity": _("air humidity"),
            "illuminance": _("light"),
            "light": _("light"),
            "co2": _("carbon dioxide"),
            "power": _("power"),
            "source": _("source"),
            "blank": _("blank"),
            "freeze": _("freeze"),
            "errors": _("faults"),
            "lamp_hours": _("lamp hours"),
            "clock_offset": _("clock offset"),
            "clock_offset_ms": _("clock offset"),
            "reachable": _("reachable"),
            "stream_main": _("main stream's address"),
            "stream_sub": _("sub-stream's address"),
            "snapshot": _("snapshot's address"),
        },
        commands={
            "power": _("power"),
            "source": _("source"),
            "volume": _("volume"),
            "mute": _("mute"),
            "blank": _("blank"),
            "freeze": _("freeze"),
            "lock": _("lock"),
            "preset": _("preset"),
        },
        values={
            "on": _("on"),
            "off": _("off"),
            "yes": _("yes"),
            "no": _("no"),
            "warming": _("warming up"),
            "cooling": _("cooling down"),
            "both": _("picture and sound"),
            "video": _("picture"),
            "audio": _("sound"),
        },
        ages={
            "s": _("{n} s"),
            "min": _("{n} min"),
            "h": _("{n} h"),
            "d": _("{n} days"),
        },
    )
