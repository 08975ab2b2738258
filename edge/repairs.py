"""What is wrong now and waits for a person, worked out of what the box knows; nothing is asked."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from drivers.discovery.candidate import Candidate, Need
from drivers.entities import DeviceId, Measurement, Quality
from drivers.errors import Trouble
from edge.class_cards.screens import Screen
from edge.clock_watch import ClockLight
from edge.pages.box_view import DeviceLight, Light, LinkState, RoomCheck, RoomTrouble
from edge.sync_standing import SyncStanding
from firmware_profiles.model import Firmware
from sync.clock_spans import Trust

DISK_FREE_MIN = 1024**3
CLOCK_OFFSET_S_MAX = 30.0
SCREEN_SILENT_MS = 24 * 3_600_000
CLOCK_POINTS = frozenset({"clock_offset", "clock_offset_ms"})


class RepairKind(StrEnum):
    """Each has a sentence of what is wrong and one of what to do, in every language."""

    UNPLUGGED = "unplugged"  # a serial adapter, with all that hangs on it
    AWAY = "away"  # a device of the network
    SILENT = "silent"
    UNIT_GARBLED = "unit_garbled"  # others on its line answer well
    LINE_GARBLED = "line_garbled"
    PASSWORD = "password"  # noqa: S105 - a word, no secret
    SETUP = "setup"
    OLD = "old"  # not heard for a minute
    NEVER = "never"
    NOT_DRIVEN = "not_driven"
    DEVICE_CLOCK = "device_clock"
    FIRMWARE_FAULTY = "firmware_faulty"
    FIRMWARE_OUTDATED = "firmware_outdated"
    LOCKED = "locked"  # found, and wants a password before it tells who it is
    NO_PROFILE = "no_profile"
    NO_ONVIF = "no_onvif"
    FOUND = "found"
    FRESH_PORT = "fresh_port"
    PROFILE_FAULT = "profile_fault"
    DISK_FULL = "disk_full"
    DISK_FAILS = "disk_fails"
    BOX_CLOCK = "box_clock"
    UNENROLLED = "unenrolled"
    NO_RECOVERY = "no_recovery"
    PARKED = "parked"
    QUARANTINED = "quarantined"
    KEYS = "keys"
    ROSTER = "roster"
    SCREEN_SILENT = "screen_silent"
    NO_DEVICES = "no_devices"
    NO_ROOMS = "no_rooms"
    LESSON = "lesson"  # something that a lesson needs, before its bell
    LESSON_ROOM = "lesson_room"  # the same, while it is held
    LESSON_SOURCE = "lesson_source"  # a picture or the sound of one that runs
    LESSON_CLASS = "lesson_class"  # a class that its teacher does not see


FIRMWARE_KINDS: Mapping[str, RepairKind] = {
    "faulty": RepairKind.FIRMWARE_FAULTY,
    "outdated": RepairKind.FIRMWARE_OUTDATED,
}


_BY_TROUBLE: Mapping[Trouble, RepairKind] = {
    Trouble.SILENT: RepairKind.SILENT,
    Trouble.REFUSED: RepairKind.PASSWORD,
    Trouble.SETUP: RepairKind.SETUP,
    Trouble.GARBLED: RepairKind.LINE_GARBLED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """One thing to do; ``target`` is where on the pages.

    ``subject`` tells it from others of its kind, ``facts`` fill its sentences; ``light`` is the
    device that it concerns, if one.
    """

    kind: RepairKind
    state: Light
    target: str
    subject: str = ""
    facts: Mapping[str, str | int] = field(default_factory=dict)
    light: DeviceLight | None = None

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.subject}" if self.subject else self.kind.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Undriven:
    """A device that was adopted and cannot be driven, and why."""

    device: DeviceId
    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """What the box knows of itself at a moment; ``since_ms`` is when it began to know."""

    now_ms: int
    since_ms: int
    lights: Sequence[DeviceLight]
    values: Sequence[Measurement]
    candidates: Sequence[Candidate]
    clock: ClockLight
    link: LinkState
    standing: SyncStanding | None
    undecided: int
    offered: int | None
    screens: Sequence[Screen]
    has_rooms: bool = True
    troubles: Mapping[DeviceId, Trouble] = field(default_factory=dict)
    firmwares: Mapping[DeviceId, Firmware] = field(default_factory=dict)
    undriven: Sequence[Undriven] = ()
    fresh_ports: Sequence[str] = ()
    profile_faults: Sequence[str] = ()
    disk_free_bytes: int | None = None
    disk_fails: bool = False
    lesson_checks: Sequence[RoomCheck] = ()
    source_troubles: Sequence[RoomTrouble] = ()


def find_repairs(now: Condition) -> list[Repair]:
    """Return what a person should do, worst first; empty only when all is known to be well."""
    parts = (_of_lessons, _of_devices, _of_what_they_tell, _of_the_box, _of_sync, _of_discovery)
    found = [repair for part in parts for repair in part(now)]
    rank = (Light.BAD, Light.WARN, Light.UNKNOWN)
    return sorted(found, key=lambda repair: rank.index(repair.state))


def _of_lessons(now: Condition) -> Iterator[Repair]:
    for found in now.lesson_checks:
        check = found.check
        yield Repair(
            kind=RepairKind.LESSON_ROOM if found.is_held else RepairKind.LESSON,
            state=Light(check.state.value),
            subject=f"{found.room} {check.item}",
            facts={"room": found.room, "reason": check.fact, "how": check.remedy},
            target="#devices",
        )
    for silent in now.source_troubles:
        trouble = silent.trouble
        yield Repair(
            kind=RepairKind.LESSON_SOURCE if silent.gives else RepairKind.LESSON_CLASS,
            state=Light(trouble.state.value),
            subject=f"{silent.room} {trouble.track}",
            facts={
                "room": silent.room,
                "track": trouble.track,
                "reason": trouble.fact,
                "how": trouble.remedy,
            },
            target="#devices",
        )


def _of_devices(now: Condition) -> Iterator[Repair]:
    at_port: defaultdict[str, list[DeviceLight]] = defaultdict(list)
    for light in now.lights:
        at_port[light.address.partition("?")[0]].append(light)
    for port, lights in at_port.items():
        lost = [light for light in lights if _is_lost(light, now)]
        if len(lost) > 1:
            names = ", ".join(light.name for light in lost[:8])
            facts: dict[str, str | int] = {"port": port, "n": len(lost), "names": names}
            target = f"#device-{lost[0].device}"
            yield Repair(
                kind=RepairKind.UNPLUGGED,
                state=Light.BAD,
                subject=port,
                facts=facts,
                target=target,
            )
        for light in lights:
            if len(lost) > 1 and light in lost:
                continue
            kind = _what_ails(light, lights, now)
            if kind is not None:
                yield _of_device(kind, light.state, light)


def _of_what_they_tell(now: Condition) -> Iterator[Repair]:
    for light in now.lights:
        judged = now.firmwares.get(light.device)
        if judged is not None and judged.state in FIRMWARE_KINDS:
            facts = {"reason": judged.reason, "how": judged.how}
            yield _of_device(FIRMWARE_KINDS[judged.state], Light.WARN, light, facts)
    yield from _wrong_clocks(now)
    never = sum(light.state is Light.UNKNOWN for light in now.lights)
    if never:
        yield Repair(
            kind=RepairKind.NEVER, state=Light.UNKNOWN, target="#devices", facts={"n": never}
        )
    for undriven in now.undriven:
        yield Repair(
            kind=RepairKind.NOT_DRIVEN,
            state=Light.BAD,
            subject=undriven.device,
            facts={"name": undriven.name, "reason": undriven.reason},
            target="#devices",
        )


def _what_ails(
    light: DeviceLight, on_its_line: Sequence[DeviceLight], now: Condition
) -> RepairKind | None:
    if light.state is not Light.BAD:
        return RepairKind.OLD if light.state is Light.WARN else None
    trouble = now.troubles.get(light.device, Trouble.LOST)
    # Where the others are well, the line is: two devices answer to one id, or one is ill.
    if trouble is Trouble.GARBLED and any(other.state is Light.GOOD for other in on_its_line):
        return RepairKind.UNIT_GARBLED
    return _BY_TROUBLE.get(trouble, RepairKind.AWAY)


def _is_lost(light: DeviceLight, now: Condition) -> bool:
    return (
        light.state is Light.BAD
        and now.troubles.get(light.device, Trouble.LOST) in {Trouble.LOST, Trouble.SETUP}
        and light.address.startswith(("serial:", "tcp:"))
    )


def _of_device(
    kind: RepairKind,
    state: Light,
    light: DeviceLight,
    facts: Mapping[str, str | int] | None = None,
) -> Repair:
    return Repair(
        kind=kind,
        state=state,
        subject=light.device,
        facts=facts or {},
        target=f"#device-{light.device}",
        light=light,
    )


def _wrong_clocks(now: Condition) -> Iterator[Repair]:
    lights = {light.device: light for light in now.lights}
    for value in now.values:
        if value.point not in CLOCK_POINTS or value.quality is not Quality.GOOD:
            continue
        if not isinstance(value.value, float) or value.device not in lights:
            continue
        seconds = value.value / 1000 if value.unit == "ms" else value.value
        if abs(seconds) > CLOCK_OFFSET_S_MAX:
            facts = {"n": round(abs(seconds))}
            yield _of_device(RepairKind.DEVICE_CLOCK, Light.WARN, lights[value.device], facts)


def _of_the_box(now: Condition) -> Iterator[Repair]:
    if now.disk_fails:
        yield Repair(kind=RepairKind.DISK_FAILS, state=Light.BAD, target="#log")
    if now.disk_free_bytes is not None and now.disk_free_bytes < DISK_FREE_MIN:
        gib = f"{now.disk_free_bytes / 1024**3:.1f}"
        yield Repair(
            kind=RepairKind.DISK_FULL, state=Light.BAD, target="#standing", facts={"n": gib}
        )
    if now.clock.trust in {Trust.UNKNOWN, Trust.HUB}:
        yield Repair(kind=RepairKind.BOX_CLOCK, state=Light.WARN, target="#standing")
    for fault in now.profile_faults:
        yield Repair(
            kind=RepairKind.PROFILE_FAULT,
            state=Light.WARN,
            subject=fault[:200],
            facts={"reason": fault},
            target="#found",
        )
    for screen in now.screens:
        heard_ms = max(screen.seen_ms or 0, screen.paired_ms, now.since_ms)
        if not screen.is_open and now.now_ms - heard_ms > SCREEN_SILENT_MS:
            yield Repair(
                kind=RepairKind.SCREEN_SILENT,
                state=Light.WARN,
                subject=screen.screen,
                facts={"name": screen.name},
                target="/office",
            )
    if not now.has_rooms:
        yield Repair(kind=RepairKind.NO_ROOMS, state=Light.UNKNOWN, target="#found")


def _of_sync(now: Condition) -> Iterator[Repair]:
    if now.link is LinkState.UNENROLLED:
        yield Repair(kind=RepairKind.UNENROLLED, state=Light.WARN, target="#sync")
    standing = now.standing
    if standing is not None:
        if standing.recovery and not standing.recovery.has_code:
            yield Repair(kind=RepairKind.NO_RECOVERY, state=Light.WARN, target="#standing")
        for kind, count in (
            (RepairKind.PARKED, standing.parked_for_good_rows),
            (RepairKind.QUARANTINED, standing.quarantined_segments),
        ):
            if count:
                yield Repair(kind=kind, state=Light.WARN, target="#standing", facts={"n": count})
    if now.undecided:
        yield Repair(
            kind=RepairKind.KEYS, state=Light.WARN, target="#sync", facts={"n": now.undecided}
        )
    if now.offered is not None:
        yield Repair(
            kind=RepairKind.ROSTER, state=Light.WARN, target="#sync", facts={"n": now.offered}
        )


def _of_discovery(now: Condition) -> Iterator[Repair]:
    kinds = {
        Need.PASSWORD: RepairKind.LOCKED,
        Need.PROFILE: RepairKind.NO_PROFILE,
        Need.ONVIF: RepairKind.NO_ONVIF,
    }
    counts: defaultdict[RepairKind, int] = defaultdict(int)
    for candidate in now.candidates:
        counts[kinds.get(candidate.needs, RepairKind.FOUND)] += 1
    for kind, count in sorted(counts.items()):
        yield Repair(kind=kind, state=Light.WARN, target="#found", facts={"n": count})
    if now.fresh_ports:
        yield Repair(
            kind=RepairKind.FRESH_PORT,
            state=Light.WARN,
            subject=" ".join(now.fresh_ports),
            facts={"port": ", ".join(now.fresh_ports)},
            target="#found",
        )
    if not now.lights and not now.candidates:
        yield Repair(kind=RepairKind.NO_DEVICES, state=Light.UNKNOWN, target="#found")
