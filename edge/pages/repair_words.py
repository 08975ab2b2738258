"""What each repair says: what is wrong, and what to do about it."""

from collections.abc import Mapping

import msgspec

from edge.pages.box_view import Light
from edge.pages.language import Language
from edge.pages.lesson_words import source_words
from edge.repairs import Repair, RepairKind

_SAID = frozenset({"reason", "how"})
"""Facts that are sentences themselves; others are names."""


def wrong_and_remedy(repair: Repair, language: Language) -> tuple[str, str]:
    """Return two sentences in the reader's language, filled with the repair's facts.

    The first is empty where the device's light says it already.
    """
    wrong, remedy = _sentences(language, repair.facts.get("n"))[repair.kind]
    facts = {
        name: language.number(value) if isinstance(value, int) else value
        for name, value in repair.facts.items()
    } | {name: language.retold(str(repair.facts[name])) for name in _SAID & repair.facts.keys()}
    if "track" in repair.facts:
        facts["source"] = source_words(language)[int(repair.facts["track"])]
    return _filled(wrong, facts), _filled(remedy, facts)


class ToldRepair(msgspec.Struct, frozen=True, kw_only=True):
    """A repair in one language, for who reads no page; ``name`` is the device's, if it is one's."""

    key: str
    kind: RepairKind
    state: Light
    name: str
    wrong: str
    remedy: str
    target: str


def told(repair: Repair, language: Language, now_ms: int) -> ToldRepair:
    wrong, remedy = wrong_and_remedy(repair, language)
    light = repair.light
    if not wrong and light is not None:
        wrong = language.words.signs[light.sign]
        if light.evidence_ms is not None:
            wrong = f"{wrong} ({language.age(light.evidence_ms, now_ms)})"
    return ToldRepair(
        key=repair.key,
        kind=repair.kind,
        state=repair.state,
        name="" if light is None else light.name,
        wrong=wrong,
        remedy=remedy,
        target=repair.target,
    )


def _filled(pattern: str, facts: Mapping[str, str]) -> str:
    """Fill places one by one: facts come from outside and may hold braces themselves."""
    parts = pattern.split("{")
    filled = [parts[0]]
    for part in parts[1:]:
        name, _, rest = part.partition("}")
        filled += [facts.get(name, ""), rest]
    return "".join(filled)


def _sentences(language: Language, count: str | int | None) -> Mapping[RepairKind, tuple[str, str]]:
    _, ngettext = language.translations.gettext, language.translations.ngettext
    n = count if isinstance(count, int) else 0
    return {
        RepairKind.UNPLUGGED: (
            _("Line {port} is gone, with {n} devices: {names}."),
            _("Check the adapter's or serial server's plug and power."),
        ),
        RepairKind.AWAY: ("", _("Check its power, plug and address.")),
        RepairKind.SILENT: (
            "",
            _("Check its power and cable, and whether its number and speed were changed."),
        ),
        RepairKind.UNIT_GARBLED: (
            _("Its answers are garbled while others on its line answer well."),
            _(
                "Look whether two devices have the same number: unplug one. Else check its cable"
                " and plug."
            ),
        ),
        RepairKind.LINE_GARBLED: (
            _("What comes back makes no sense."),
            _(
                "Check the line's speed, whether A and B are swapped, and that nobody else asks"
                " on it."
            ),
        ),
        RepairKind.PASSWORD: (
            _("It refuses the password."),
            _("Release it: schoolnode release. Adopt it again with its own password."),
        ),
        RepairKind.SETUP: (
            _("Something on this box keeps it from being asked."),
            _("“schoolnode doctor”, run on the box, names it."),
        ),
        RepairKind.OLD: ("", _("Check its power and cable.")),
        RepairKind.NOT_DRIVEN: (
            _("{name} is adopted and not driven: {reason}"),
            _("Put that right and start the box again, or release the device and adopt it anew."),
        ),
        RepairKind.DEVICE_CLOCK: (
            _("Its clock is {n} s off."),
            _("Set its clock, or give it a time server: its own menu or page has it."),
        ),
        RepairKind.FIRMWARE_FAULTY: (
            _("Its own program is known to be faulty: {reason}"),
            _("Have it updated. {how}"),
        ),
        RepairKind.FIRMWARE_OUTDATED: (
            _("There is a newer program for it: {reason}"),
            _("Have it updated when it suits. {how}"),
        ),
        RepairKind.FRESH_PORT: (
            _("A serial port was plugged in: {port}."),
            _("Search for devices to see what hangs on it."),
        ),
        RepairKind.PROFILE_FAULT: (
            _("A device profile is left out: {reason}"),
            _("Correct or remove the file and start the box again."),
        ),
        RepairKind.DISK_FULL: (
            _("The disk has {n} GiB left."),
            _("Remove recordings, or put the box's folder on a larger disk."),
        ),
        RepairKind.DISK_FAILS: (
            _("The disk takes no rows; they wait in memory."),
            _("Free some space now; do not switch the box off before."),
        ),
        RepairKind.BOX_CLOCK: (
            _("The box's clock is not right."),
            _("Set it: timedatectl set-ntp true. Is its battery empty?"),
        ),
        RepairKind.UNENROLLED: (
            "",
            _("This box belongs to no district yet: run “schoolnode claim CODE” on it."),
        ),
        RepairKind.NO_RECOVERY: (
            "",
            _(
                "There is no recovery code: a lost box would take all names with it. Run"
                " “schoolnode recovery new” on the box."
            ),
        ),
        RepairKind.SCREEN_SILENT: (
            _("The class card {name} was not seen for a day."),
            _("Check its power and network, or revoke it if it is gone."),
        ),
        RepairKind.NO_DEVICES: ("", _("No device is adopted yet: search for devices.")),
        RepairKind.LESSON: (
            _("The lesson in room {room} is near: {reason}"),
            "{how}",
        ),
        RepairKind.LESSON_ROOM: (
            _("A lesson is held in room {room}: {reason}"),
            "{how}",
        ),
        RepairKind.LESSON_SOURCE: (
            _("Of the lesson that room {room} gives, this does not come: {source}. {reason}"),
            "{how}",
        ),
        RepairKind.LESSON_CLASS: (
            _("The teacher does not see the class in room {room}: {reason}"),
            "{how}",
        ),
        RepairKind.NO_ROOMS: (
            "",
            _("No room is known yet: name one when you adopt a device."),
        ),
        RepairKind.KEYS: (
            "",
            ngettext(
                "{n} key waits for your decision whether it may read the school's data: run"
                " “schoolnode keys recipients” on the box.",
                "{n} keys wait for your decision whether they may read the school's data: run"
                " “schoolnode keys recipients” on the box.",
                n,
            ),
        ),
        RepairKind.ROSTER: (
            "",
            ngettext(
                "The district proposes a roster of {n} pupil. Look at it and take it:"
                " “schoolnode roster import”, run on the box.",
                "The district proposes a roster of {n} pupils. Look at it and take it:"
                " “schoolnode roster import”, run on the box.",
                n,
            ),
        ),
        RepairKind.FOUND: (
            "",
            ngettext(
                "{n} device was found and waits to be adopted.",
                "{n} devices were found and wait to be adopted.",
                n,
            ),
        ),
        RepairKind.LOCKED: (
            ngettext(
                "{n} device was found that wants a password.",
                "{n} devices were found that want a password.",
                n,
            ),
            _("Adopt with the device's own password; it was set when it was mounted."),
        ),
        RepairKind.NO_ONVIF: (
            ngettext(
                "{n} camera tells of itself, and answers no ONVIF.",
                "{n} cameras tell of themselves, and answer no ONVIF.",
                n,
            ),
            _("Switch ONVIF on in its own settings, then search again."),
        ),
        RepairKind.NO_PROFILE: (
            ngettext(
                "{n} device answers that no profile fits.",
                "{n} devices answer that no profile fits.",
                n,
            ),
            _("Ask for a profile of its model, or write one: it is a short file."),
        ),
        RepairKind.NEVER: (
            "",
            ngettext(
                "{n} device has not been heard from yet.",
                "{n} devices have not been heard from yet.",
                n,
            ),
        ),
        RepairKind.PARKED: (
            ngettext(
                "{n} row from elsewhere could not be taken in.",
                "{n} rows from elsewhere could not be taken in.",
                n,
            ),
            _("Look at why below; tell the district's administrator."),
        ),
        RepairKind.QUARANTINED: (
            ngettext("{n} segment was refused.", "{n} segments were refused.", n),
            _("Look at why below; tell the district's administrator."),
        ),
    }
