"""What a supporter may see of a box: one small archive of readable files, and nothing of people.

What is in it is chosen item by item; every text is then cleaned of secrets, names and numbers.
"""

import platform
import sqlite3
import sys
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO

import msgspec

from drivers.discovery.candidate import DeviceKind
from drivers.entities import Measurement
from edge.config import BoxConfig
from edge.pages.box_view import BoxView, DeviceLight, by_device, values_shown
from edge.pages.language import Say, load_language, load_languages
from edge.pages.repair_words import told
from edge.redaction import GONE, Redaction
from sync.schema import TABLES

DEVICES_MAX = 400
CANDIDATES_MAX = 200
LOG_LINES_MAX = 500
TEXT_CHARS_MAX = 500
ARCHIVE_BYTES_MAX = 2 * 1024 * 1024
SHOWN_KINDS = frozenset(
    {
        DeviceKind.FARM_SENSOR,
        DeviceKind.FARM_ACTUATOR,
        DeviceKind.BLACKBOARD,
        DeviceKind.CAMERA,
        DeviceKind.SAFETY_INPUT,
    }
)
"""Kinds whose values tell nothing of a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was read on the event loop's thread; ``built`` is made of it on another."""

    now_ms: int
    about: Mapping[str, object]
    repairs: Sequence[object]
    devices: Sequence[object]
    found: Sequence[object]
    sync: object
    log: Sequence[str]
    kept: Sequence[str]


def look(view: BoxView, config: BoxConfig) -> Seen:
    """Read what a supporter may see, from memory."""
    english = load_language("en")
    now_ms = view.now_ms()
    values = by_device(view.live_values())
    lights = list(view.device_lights())[:DEVICES_MAX]
    listed = view.repairs.list()
    found = list(view.candidates())[:CANDIDATES_MAX]
    lines = list(view.log_lines(0))[-LOG_LINES_MAX:]
    return Seen(
        now_ms=now_ms,
        about=_about(view, config),
        repairs=[
            {
                "kind": repair.kind,
                "state": repair.state,
                "subject": repair.subject,
                "wrong": told(repair, english, now_ms).wrong,
                "put_aside": is_aside,
            }
            for repairs, is_aside in (
                (listed.waiting, False),
                ([repair for repair, _ in listed.shelved], True),
            )
            for repair in repairs
        ],
        devices=[_device(light, values.get(light.device, ())) for light in lights],
        found=[
            {
                "identity": each.identity,
                "kind": each.kind,
                "address": each.address,
                "profile": each.profile,
                "needs": each.needs,
                "confidence": each.confidence,
                "evidence": [f"{e.method}: {e.detail}" for e in each.evidence],
            }
            for each in found
        ],
        sync={"lights": view.sync_lights(), "standing": view.sync_standing()},
        log=[f"{moment(line.at_ms)} {line.level} {line.source} {line.text}" for line in lines],
        kept=[each for light in lights for each in (light.device, light.address)]
        + [each.identity for each in found],
    )


def build_archive(
    seen: Seen, connect: Callable[[], sqlite3.Connection], secrets: Collection[str]
) -> bytes:
    """Return the archive (ZIP), at most ARCHIVE_BYTES_MAX; blocking.

    ``secrets`` are all passwords, codes, names and card numbers that the box knows.
    """
    redaction = Redaction(secrets, seen.kept)
    files = {
        "about.json": _json(redaction, seen.about),
        "repairs.json": _json(redaction, seen.repairs),
        "devices.json": _json(redaction, seen.devices),
        "found.json": _json(redaction, seen.found),
        "sync.json": _json(redaction, _without_keys(msgspec.to_builtins(seen.sync))),
        "tables.json": _json(redaction, _row_counts(connect)),
    }
    log = _cut(redaction.redacted(list(seen.log)))
    assert isinstance(log, list)
    files["log.txt"] = "\n".join(map(str, log)).encode()
    files["README.txt"] = "\n\n".join(
        _readme(language.say) for language in load_languages().values()
    ).encode()
    archive = BytesIO()
    made = datetime.fromtimestamp(seen.now_ms / 1000, UTC).timetuple()[:6]
    left = ARCHIVE_BYTES_MAX // 2
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, content in files.items():
            kept = content[: max(0, left)]
            left -= len(kept)
            pack.writestr(zipfile.ZipInfo(name, made), kept)
    return archive.getvalue()


def moment(at_ms: int | None) -> str | None:
    """Write a moment so that it is no number: those are cleaned away."""
    if at_ms is None:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]


def _readme(say: Say) -> str:
    lines = {
        "about.json": say("the box: version, machine, configuration without secrets"),
        "repairs.json": say("what is wrong now"),
        "devices.json": say("adopted devices, their state and latest values"),
        "found.json": say("devices found and not adopted"),
        "sync.json": say("how sync stands"),
        "tables.json": say("rows by table"),
        "log.txt": say("the latest log lines"),
    }
    listed = "\n".join(f"{name:14}{line}" for name, line in lines.items())
    gone = say(
        "Names, rooms, cards, passwords, keys and long numbers were taken out on the box: {mark}",
        mark=GONE,
    )
    return f"{listed}\n\n{gone}\n"


def _about(view: BoxView, config: BoxConfig) -> Mapping[str, object]:
    return {
        "version": _version(),
        "python": sys.version.split()[0],
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "school": view.school,
        "district": view.district,
        "made": moment(view.now_ms()),
        "clock": msgspec.to_builtins(view.clock_light()),
        "network": str(config.network.interface),
        "scan": [str(network) for network in config.network.scan],
        "serial": {"usb": config.serial.usb, "ports": [str(each) for each in config.serial.ports]},
        "pages": {"addresses": list(config.pages.addresses), "port": config.pages.port},
        "language": config.language,
        "utc_offset_hours": config.utc_offset_hours,
    }


def _version() -> str:
    try:
        return version("schoolnode")
    except PackageNotFoundError:
        return "a bundle"


def _device(light: DeviceLight, values: Sequence[Measurement]) -> Mapping[str, object]:
    """Tell of a device without what people called it and where it stands."""
    command = light.last_command
    return {
        "device": light.device,
        "kind": light.kind,
        "address": light.address,
        "state": light.state,
        "sign": light.sign,
        "evidence": moment(light.evidence_ms),
        "detail": light.detail,
        "last_command": command and f"{command.command}: {command.outcome} {command.detail}",
        "values": [
            {
                "point": value.point,
                "value": value.value if light.kind in SHOWN_KINDS else None,
                "unit": value.unit,
                "quality": value.quality,
                "observed": moment(value.observed_ms),
                "reason": value.reason,
            }
            for value in values_shown(values, signed_in=False)
        ],
    }


def _row_counts(connect: Callable[[], sqlite3.Connection]) -> Mapping[str, int | None]:
    counts: dict[str, int | None] = {}
    with closing(connect()) as connection:
        for table in TABLES:
            try:
                (count,) = connection.execute(f"SELECT count(*) FROM {table.name}").fetchone()  # noqa: S608 - names from the schema
            except sqlite3.Error:
                count = None
            counts[table.name] = count
    return counts


def _without_keys(value: object) -> object:
    """Leave out what is a key, a digest or bytes, whatever its form."""
    match value:
        case dict():
            return {
                key: _without_keys(each)
                for key, each in value.items()
                if key not in {"incarnation", "fingerprint", "digest", "key"}
            }
        case list() | tuple():
            return [_without_keys(each) for each in value]
        case _:
            return value


def _cut(value: object) -> object:
    """Shorten texts that are clean: half a password or card is found by nobody."""
    match value:
        case str():
            return value[:TEXT_CHARS_MAX]
        case dict():
            return {key: _cut(each) for key, each in value.items()}
        case list():
            return [_cut(each) for each in value]
        case _:
            return value


def _json(redaction: Redaction, value: object) -> bytes:
    cleaned = _cut(redaction.redacted(msgspec.to_builtins(value)))
    return msgspec.json.format(msgspec.json.encode(cleaned), indent=1)
