"""Words for what the tables name by identifiers; one not listed is shown as it is written."""

from collections.abc import Mapping
from typing import Final

from hub.locale.sentence import Sentence
from sync.errors import Reason, parse_reason

Words = Mapping[str, Sentence]

LESSON_KINDS: Final[Words] = {
    "delivery": Sentence("delivery lesson"),
    "master_teacher": Sentence("master-teacher lesson"),
    "online_school": Sentence("online-school lesson"),
    "teacher_research": Sentence("teacher research"),
}
ROLES: Final[Words] = {
    "flagship": Sentence("flagship school"),
    "receiver": Sentence("receiving school"),
}
TELLERS: Final[Words] = {**ROLES, "preflight": Sentence("check before the lesson")}
DEVICE_KINDS: Final[Words] = {
    "farm_sensor": Sentence("farm sensor"),
    "farm_actuator": Sentence("farm relay"),
    "card_reader": Sentence("card reader"),
    "attendance_terminal": Sentence("attendance terminal"),
    "camera": Sentence("camera"),
    "blackboard": Sentence("blackboard or projector"),
    "sports_gateway": Sentence("sports gateway"),
    "safety_input": Sentence("safety input"),
    "class_card": Sentence("class card"),
}
SCREEN_TROUBLES: Final[Words] = {
    "silent": Sentence("screen silent"),
    "dark": Sentence("open, but does not say that it paints"),
    "data_old": Sentence("shows what is old"),
    "page_old": Sentence("older page than the box's"),
    "browser_old": Sentence("browser too old"),
    "errors": Sentence("script fails"),
    "clock_off": Sentence("clock wrong"),
    "unheard": Sentence("nothing heard of it through its box"),
}
POINTS: Final[Words] = {
    "soil_moisture": Sentence("soil moisture"),
    "soil_temperature": Sentence("soil temperature"),
    "soil_ec": Sentence("soil conductivity"),
    "soil_conductivity": Sentence("soil conductivity"),
    "soil_ph": Sentence("soil pH"),
    "temperature": Sentence("temperature"),
    "air_temperature": Sentence("air temperature"),
    "humidity": Sentence("humidity"),
    "air_humidity": Sentence("air humidity"),
    "illuminance": Sentence("illuminance"),
    "co2": Sentence("carbon dioxide"),
    "soil_nitrogen": Sentence("soil nitrogen"),
    "soil_phosphorus": Sentence("soil phosphorus"),
    "soil_potassium": Sentence("soil potassium"),
    "soil_salinity": Sentence("soil salinity"),
    "soil_tds": Sentence("soil dissolved solids"),
    "soil_permittivity": Sentence("soil permittivity"),
    "leaf_wetness": Sentence("leaf wetness"),
    "leaf_temperature": Sentence("leaf temperature"),
    "wind_speed": Sentence("wind speed"),
    "wind_direction": Sentence("wind direction"),
    "rainfall": Sentence("rainfall"),
    "solar_radiation": Sentence("solar radiation"),
    "air_pressure": Sentence("air pressure"),
    "noise": Sentence("noise"),
    "pm2_5": Sentence("fine dust PM2.5"),
    "pm10": Sentence("dust PM10"),
    "water_level": Sentence("water level"),
    "water_temperature": Sentence("water temperature"),
    "water_ph": Sentence("water pH"),
    "water_conductivity": Sentence("water conductivity"),
    "voltage": Sentence("voltage"),
    "current": Sentence("current"),
    "active_power": Sentence("active power"),
    "energy": Sentence("energy"),
    "frequency": Sentence("frequency"),
    "relay": Sentence("relay"),
    "input": Sentence("input"),
    "output": Sentence("output"),
    "firmware": Sentence("device's version"),
    "status": Sentence("status"),
    "power": Sentence("power"),
    "source": Sentence("source"),
    "blank": Sentence("blank"),
    "freeze": Sentence("freeze"),
    "volume": Sentence("volume"),
    "mute": Sentence("mute"),
    "lock": Sentence("lock"),
    "remote_lock": Sentence("remote control lock"),
    "brightness": Sentence("brightness"),
    "sources": Sentence("inputs"),
    "errors": Sentence("faults"),
    "lamp_hours": Sentence("lamp hours"),
    "clock_offset": Sentence("clock offset"),
    "reachable": Sentence("reachable"),
}
ALARMS: Final[Words] = {
    "panic": Sentence("panic button"),
    "fire": Sentence("fire detector"),
    "leak": Sentence("water or gas detector"),
    "door": Sentence("door contact"),
    "drill": Sentence("drill"),
}
QUALITIES: Final[Words] = {
    "good": Sentence("good"),
    "uncertain": Sentence("uncertain"),
    "bad": Sentence("no value"),
}

READERS: Final[Words] = {
    "box": Sentence("box of the school"),
    "recovery": Sentence("recovery code"),
    "escrow": Sentence("escrow"),
    "partner": Sentence("partner school's box"),
}
GROUPS: Final[Words] = {
    "health": Sentence("health figures"),
    "identity": Sentence("names and guardians"),
}
LANES: Final[Words] = {
    "alarm": Sentence("alarms"),
    "control": Sentence("keys and settings"),
    "attendance": Sentence("attendance"),
    "lessons": Sentence("lessons"),
    "telemetry": Sentence("readings"),
    "bulk": Sentence("large files"),
    "snapshot": Sentence("summary of the past"),
}
WHO: Final[Words] = {"command line": Sentence("command line of the box")}
REASONS: Final[Mapping[Reason, Sentence]] = {
    Reason.MALFORMED: Sentence("It does not follow the format."),
    Reason.FORGED: Sentence("It was altered on the way, or is not from who it says."),
    Reason.REVOKED: Sentence("The box that sent it was revoked."),
    Reason.FORKED: Sentence("Two different segments carry one number; its writer begins anew."),
    Reason.KEY_MISSING: Sentence(
        "A key or certificate is missing; it is taken once that has arrived."
    ),
    Reason.NOT_OWNED: Sentence("Its writer may not write these rows; nothing was changed."),
    Reason.TABLE_UNKNOWN: Sentence(
        "This version does not know the table; an update brings the rows in."
    ),
    Reason.COLUMNS_UNKNOWN: Sentence(
        "This version does not know some columns; an update brings them in."
    ),
    Reason.CONFLICTING: Sentence("The rows break a rule of their table."),
    Reason.NOT_VERIFIED: Sentence("The checkpoint does not hold; nothing was let go by it."),
    Reason.NUMBER_TOO_HIGH: Sentence(
        "Another box of this school wrote it; if that one is gone, revoke it."
    ),
    Reason.OTHER: Sentence("It was set aside."),
}


def word_of(words: Words, identifier: str | None) -> Sentence | str:
    if identifier is None:
        return "—"
    base, _, number = identifier.rpartition("_")
    if identifier not in words and number.isdecimal() and base in words:
        # relay_3 is the word of relay and the number.
        return Sentence("%(what)s %(number)s", {"what": words[base], "number": number})
    return words.get(identifier, identifier.replace("_", " "))


def who_of(name: str) -> Sentence | str:
    """Return who decided something; a person's name stays as it is."""
    return WHO.get(name, name)


def reason_of(text: str) -> tuple[Sentence, str]:
    """Return why something was set aside, and the facts, in English as they were noted."""
    reason, details = parse_reason(text)
    return REASONS[reason], details
