"""The words of the school's world in the reader's language.

Identifiers that profiles may add to (points, commands, values) fall back to themselves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drivers.discovery.candidate import DeviceKind, Need
from drivers.entities import Outcome, Quality
from edge.attendance.rules import Status
from edge.class_cards.screen_health import ScreenTrouble
from edge.lesson.status import Cause
from edge.metering import Hold
from edge.pages.box_view import LessonState, Light, LinkState, Sign
from firmware_profiles.doubts import LINK
from sync.clock_spans import Trust
from sync.errors import Reason, parse_reason
from sync.schema.model import Group, Lane

_REDUCED = {Cause.NONE, Cause.PICTURE_REDUCED, Cause.NO_PICTURE}


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
    holds: Mapping[Hold, str]
    clock_trust: Mapping[Trust, str]
    reasons: Mapping[Reason, str]
    methods: Mapping[str, str]  # of discovery
    points: Mapping[str, str]
    commands: Mapping[str, str]
    parts: Mapping[str, str]  # of a profile that are no point and no command
    values: Mapping[str, str]
    faults: tuple[str, ...]  # of a PJLink display, in the order of its answer to ERST
    fault_levels: tuple[str, ...]
    inputs: Mapping[str, str]  # of a PJLink display, by the first sign of its code
    attendance: Mapping[Status, str]
    screen_troubles: Mapping[ScreenTrouble, str]
    ages: Mapping[str, str]  # unit → pattern with {n}; the browser counts on with the same

    def lesson_state(self, state: LessonState, cause: Cause) -> str:
        """Promise that sound is safe only where the cause does not say otherwise."""
        if state is LessonState.DEGRADED and cause not in _REDUCED:
            return self.interrupted
        return self.lesson_states[state]

    def point(self, name: str) -> str:
        return _numbered(self.points, name)

    def command(self, name: str) -> str:
        return _numbered(self.commands, name)

    def part(self, name: str) -> str:
        """Return the word of whatever a profile may mark: a point, a command, an event, a link."""
        return _numbered({**self.parts, **self.commands, **self.points}, name)

    def value(self, text: str, point: str = "") -> str:
        """Return a point's or command's value in words; what is not known stays as it is."""
        if point == "errors" and len(text) == len(self.faults) and set(text) <= set("012"):
            told = [
                f"{device}: {self.fault_levels[int(level)]}"
                for device, level in zip(self.faults, text, strict=True)
                if level != "0"
            ]
            return ", ".join(told) or self.fault_levels[0]
        if point == "source" and len(text) == len("31") and text[0] in self.inputs:
            return f"{self.inputs[text[0]]} {text[1]}"
        if point == "sources":
            return ", ".join(self.value(code, "source") for code in text.split())
        return self.values.get(text, text)

    def method(self, name: str) -> str:
        return self.methods.get(name, name)

    def reason(self, text: str) -> tuple[str, str]:
        """Return why something was set aside, and the facts, in English as they were noted."""
        reason, details = parse_reason(text)
        return self.reasons[reason], details


def _numbered(words: Mapping[str, str], name: str) -> str:
    """Return a name's word; ``relay_3`` is the word of ``relay`` and the number."""
    base, _, number = name.rpartition("_")
    if name not in words and number.isdecimal() and base in words:
        return f"{words[base]} {number}"
    return words.get(name, name.replace("_", " "))


_SOCKETS: Mapping[str, str] = MappingProxyType(
    {
        "hdmi1": "HDMI 1",
        "hdmi2": "HDMI 2",
        "hdmi3": "HDMI 3",
        "hdmi4": "HDMI 4",
        "displayport": "DisplayPort",
        "displayport2": "DisplayPort 2",
        "dvi": "DVI",
        "vga": "VGA",
        "vga2": "VGA 2",
        "vga3": "VGA 3",
        "av": "AV",
        "tv": "TV",
        "ypbpr": "YPbPr",
        "s_video": "S-Video",
        "composite": "AV",
        "hdbaset": "HDBaseT",
        "usb": "USB",
        "android": "Android",
        "pc": "PC",
        "magic_info": "MagicInfo",
    }
)
"""Sockets that are called the same in every language."""


def build_words(_: Callable[[str], str]) -> Words:
    """Translate every word once; ``_`` is a catalogue's gettext."""
    return Words(
        kinds={
            DeviceKind.FARM_SENSOR: _("farm sensor"),
            DeviceKind.FARM_ACTUATOR: _("farm relay"),
            DeviceKind.CARD_READER: _("card reader"),
            DeviceKind.ATTENDANCE_TERMINAL: _("attendance terminal"),
            DeviceKind.CAMERA: _("camera"),
            DeviceKind.BLACKBOARD: _("blackboard or projector"),
            DeviceKind.SPORTS_GATEWAY: _("sports gateway"),
            DeviceKind.SAFETY_INPUT: _("safety input"),
            DeviceKind.CLASS_CARD: _("class card"),
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
            Need.ONVIF: _("switch ONVIF on"),
            Need.CHOICE: _("say which model it is"),
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
            Cause.PICTURE_REDUCED: _("The line is slow: a smaller picture is shown."),
            Cause.NO_PICTURE: _("The picture is missing."),
            Cause.NO_SOUND: _("The sound is missing."),
            Cause.SUBSTITUTE: _("A recording plays until the flagship is back."),
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
        holds={
            Hold.METERED: _("today's bytes of this metered link are used"),
            Hold.HUB_BUSY: _("the hub has many schools to answer at once"),
        },
        clock_trust={
            Trust.SET: _("set"),
            Trust.UNKNOWN: _("not known; its rows are corrected once the hub tells the time"),
            Trust.HUB: _("wrong; the box goes by the hub's"),
            Trust.CORRECTED: _("corrected"),
        },
        reasons={
            Reason.MALFORMED: _("It does not follow the format."),
            Reason.FORGED: _("It was altered on the way, or is not from who it says."),
            Reason.REVOKED: _("The box that sent it was revoked."),
            Reason.FORKED: _("Two different segments carry one number; its writer begins anew."),
            Reason.KEY_MISSING: _(
                "A key or certificate is missing; it is taken once that has arrived."
            ),
            Reason.NOT_OWNED: _("Its writer may not write these rows; nothing was changed."),
            Reason.TABLE_UNKNOWN: _(
                "This version does not know the table; an update brings the rows in."
            ),
            Reason.COLUMNS_UNKNOWN: _(
                "This version does not know some columns; an update brings them in."
            ),
            Reason.CONFLICTING: _("The rows break a rule of their table."),
            Reason.NOT_VERIFIED: _("The checkpoint does not hold; nothing was let go by it."),
            Reason.NUMBER_TOO_HIGH: _(
                "Another box of this school wrote it; if that one is gone, have it revoked."
            ),
            Reason.OTHER: _("It was set aside."),
        },
        methods={
            "mdns": _("announced itself"),
            "ws-discovery": _("answered the search"),
            "endpoint": _("endpoint"),
            "onvif": _("camera's answer"),
            "pjlink search": _("answered the search"),
            "pjlink greeting": _("greeting"),
            "modbus read": _("reading"),
            "panel answer": _("answer"),
            "profile": _("profile"),
            "serial listen": _("heard on the line"),
            "called the box": _("called the box"),
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
            "soil_nitrogen": _("soil nitrogen"),
            "soil_phosphorus": _("soil phosphorus"),
            "soil_potassium": _("soil potassium"),
            "soil_salinity": _("soil salinity"),
            "soil_tds": _("soil dissolved solids"),
            "soil_permittivity": _("soil permittivity"),
            "leaf_wetness": _("leaf wetness"),
            "leaf_temperature": _("leaf temperature"),
            "wind_speed": _("wind speed"),
            "wind_direction": _("wind direction"),
            "rainfall": _("rainfall"),
            "solar_radiation": _("solar radiation"),
            "air_pressure": _("air pressure"),
            "noise": _("noise"),
            "pm2_5": _("fine dust PM2.5"),
            "pm10": _("dust PM10"),
            "water_level": _("water level"),
            "water_temperature": _("water temperature"),
            "water_ph": _("water pH"),
            "water_conductivity": _("water conductivity"),
            "voltage": _("voltage"),
            "current": _("current"),
            "active_power": _("active power"),
            "energy": _("energy"),
            "frequency": _("frequency"),
            "relay": _("relay"),
            "input": _("input"),
            "output": _("output"),
            "firmware": _("device's version"),
            "status": _("status"),
            "power": _("power"),
            "source": _("source"),
            "blank": _("blank"),
            "freeze": _("freeze"),
            "volume": _("volume"),
            "mute": _("mute"),
            "lock": _("lock"),
            "remote_lock": _("remote control lock"),
            "brightness": _("brightness"),
            "sources": _("inputs"),
            "errors": _("faults"),
            "lamp_hours": _("lamp hours"),
            "clock_offset": _("clock offset"),
            "clock_offset_ms": _("clock offset"),
            "reachable": _("reachable"),
            "stream_main": _("main stream's address"),
            "stream_sub": _("sub-stream's address"),
            "snapshot": _("snapshot's address"),
            "motion": _("motion"),
            "motion_alarm": _("motion"),
            "recovery_control": _("silent, last time"),
            "recovery_events": _("without events, last time"),
            "recovery_stream": _("without picture, last time"),
        },
        commands={
            "power": _("power"),
            "source": _("source"),
            "volume": _("volume"),
            "mute": _("mute"),
            "blank": _("blank"),
            "freeze": _("freeze"),
            "lock": _("lock"),
            "remote_lock": _("remote control lock"),
            "brightness": _("brightness"),
            "preset": _("preset"),
            "move": _("turn"),
            "home": _("home position"),
            "contrast": _("contrast"),
            "saturation": _("saturation"),
            "sharpness": _("sharpness"),
            "relay": _("relay"),
            "relays": _("all relays"),
            "output": _("output"),
            "outputs": _("all outputs"),
            "people": _("cards of the roster"),
            "set_time": _("set its clock"),
            "fetch_records": _("fetch its records"),
            "reboot": _("restart it"),
            "shows": _("shows in lessons"),
            "use_h264": _("switch to H.264"),
        },
        parts={
            "card": _("card numbers"),
            "heart_rate": _("heart rate"),
            LINK: _("how it is connected"),
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
            "open": _("open"),
            "closed": _("closed"),
            "left": _("left"),
            "right": _("right"),
            "up": _("up"),
            "down": _("down"),
            "zoom_in": _("closer"),
            "zoom_out": _("wider"),
            "slot_in": _("built-in computer"),
            "component": _("component video"),
            "pass_through": _("passed through"),
            "url_launcher": _("web page launcher"),
            "memory": _("storage"),
            "wireless": _("wireless screen"),
            "network": _("network"),
            "whiteboard": _("whiteboard"),
            "here": _("on the device"),
            "gone": _("not on the device"),
            "teacher": _("the teacher"),
            "board_screen": _("the blackboard's screen"),
            "document": _("documents"),
            **_SOCKETS,
        },
        faults=(_("fan"), _("lamp"), _("heat"), _("cover"), _("filter"), _("other")),
        fault_levels=(_("none"), _("warning"), _("error")),
        inputs={
            "1": _("RGB input"),
            "2": _("video input"),
            "3": _("digital input"),
            "4": _("storage input"),
            "5": _("network input"),
            "6": _("internal input"),
        },
        attendance={
            Status.PRESENT: _("present"),
            Status.LATE: _("late"),
            Status.ABSENT: _("absent"),
            Status.LEAVE: _("on leave"),
            Status.MADE_UP: _("made up for"),
        },
        screen_troubles={
            ScreenTrouble.SILENT: _("screen silent"),
            ScreenTrouble.DARK: _("open, but does not say that it paints"),
            ScreenTrouble.DATA_OLD: _("shows what is old"),
            ScreenTrouble.PAGE_OLD: _("older page than the box's"),
            ScreenTrouble.BROWSER_OLD: _("browser too old"),
            ScreenTrouble.ERRORS: _("script fails"),
            ScreenTrouble.CLOCK_OFF: _("clock wrong"),
        },
        ages={
            "s": _("{n} s"),
            "min": _("{n} min"),
            "h": _("{n} h"),
            "d": _("{n} days"),
        },
    )
