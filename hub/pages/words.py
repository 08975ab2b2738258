"""Words for what the tables name by identifiers; one not listed is shown as it is written."""

from collections.abc import Mapping
from typing import Final

from hub.locale.sentence import Sentence

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
DEVICE_KINDS: Final[Words] = {
    "farm_sensor": Sentence("farm sensor"),
    "card_reader": Sentence("card reader"),
    "camera": Sentence("camera"),
    "blackboard": Sentence("blackboard or projector"),
}
POINTS: Final[Words] = {
    "soil_moisture": Sentence("soil moisture"),
    "soil_temperature": Sentence("soil temperature"),
    "soil_ec": Sentence("soil conductivity"),
    "temperature": Sentence("temperature"),
    "air_temperature": Sentence("air temperature"),
    "humidity": Sentence("humidity"),
    "air_humidity": Sentence("air humidity"),
    "illuminance": Sentence("illuminance"),
    "power": Sentence("power"),
    "source": Sentence("source"),
    "lamp_hours": Sentence("lamp hours"),
    "clock_offset": Sentence("clock offset"),
    "reachable": Sentence("reachable"),
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


def word_of(words: Words, identifier: str | None) -> Sentence | str:
    if identifier is None:
        return "—"
    return words.get(identifier, identifier.replace("_", " "))
