"""What is wrong with a box and what to do about it, found without changing anything."""

import os
import re
import shutil
import socket
import sqlite3
import stat
from contextlib import closing
from dataclasses import dataclass

import msgspec

from drivers.discovery.serial_ports import find_named_ports, find_ports
from edge.box_store import read_setup_code
from edge.clock_watch import read_boot
from edge.config import BoxConfig
from edge.control_client import ask_box, socket_path
from edge.errors import DaemonAwayError
from edge.pages.box_view import Light
from edge.pages.language import Language, Say
from edge.pages.repair_words import ToldRepair
from edge.repairs import DISK_FREE_MIN, RepairKind
from firmware_profiles.catalog import load_catalog
from provisioning.errors import ProvisioningError
from provisioning.identity import load_identity
from sync.clock import PLAUSIBLE_MS
from sync.clock_spans import Trust
from sync.persons.vault import lacks_recovery
from sync.store import connect_readonly

DAY_MS = 24 * 3600 * 1000
_EXAMINED = frozenset({RepairKind.BOX_CLOCK, RepairKind.DISK_FULL, RepairKind.PROFILE_FAULT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One check: what was looked at, the fact, and the remedy where there is need of one."""

    what: str
    fine: bool
    fact: str
    remedy: str = ""

    @property
    def words(self) -> tuple[str, str, str]:
        return self.what, self.fact, self.remedy


def examine(config: BoxConfig, now_ms: int, language: Language) -> list[Finding]:
    """Run every check; ``now_ms`` is the wall clock."""
    say = language.say
    return [
        _clock(config, now_ms, say),
        _identity(config, now_ms, language),
        _folder(config, say),
        _setup_code(config, language),
        _disk(config, say),
        _daemon(config, say),
        *_recovery(config, say),
        *_ports(config, language),
        _profiles(config, language),
    ]


def examine_running(config: BoxConfig, language: Language) -> list[Finding]:
    """Return the running box's own repairs list; nothing where no daemon runs.

    What :func:`examine` looks at by itself is left out.
    """
    try:
        answer = ask_box(config.folder, "GET", f"/repairs?language={language.code}")
    except DaemonAwayError:
        return []
    repairs = msgspec.convert(answer["repairs"], list[ToldRepair])
    return [
        Finding(
            what=repair.name or language.say("to do"),
            fine=repair.state is Light.UNKNOWN,
            fact=repair.wrong,
            remedy=repair.remedy,
        )
        for repair in repairs
        if repair.kind not in _EXAMINED
    ]


def _clock(config: BoxConfig, now_ms: int, say: Say) -> Finding:
    if now_ms < PLAUSIBLE_MS:
        return Finding(
            what=say("clock"),
            fine=False,
            fact=say("it says a time before 2026"),
            remedy=say("set it: timedatectl set-ntp true"),
        )
    facts = {
        Trust.UNKNOWN: say(
            "behind what was recorded before; rows are corrected once the hub is heard"
        ),
        Trust.HUB: say("wrong; the box goes by the hub's"),
    }
    trust = _last_trust(config)
    if trust not in facts:
        return Finding(what=say("clock"), fine=True, fact=say("plausible"))
    return Finding(
        what=say("clock"),
        fine=False,
        fact=facts[trust],
        remedy=say("set it: timedatectl set-ntp true; is its battery empty?"),
    )


def _last_trust(config: BoxConfig) -> Trust:
    """Return what the daemon found of the clock at this start of the machine."""
    store = config.folder / "box.db"
    if not store.exists():
        return Trust.SET
    try:
        with closing(connect_readonly(store)) as reader:
            found = reader.execute(
                "SELECT trust FROM clock_span WHERE boot = ? ORDER BY id DESC LIMIT 1",
                (read_boot(),),
            ).fetchone()
    except sqlite3.Error:
        return Trust.SET  # another check tells of the store
    return Trust(found[0]) if found else Trust.SET


def _identity(config: BoxConfig, now_ms: int, language: Language) -> Finding:
    say = language.say
    try:
        identity = load_identity(config.folder / "identity")
    except ProvisioningError as error:
        return _wrong(say("identity"), error, language)
    days = (identity.binding.not_after_ms - now_ms) // DAY_MS
    return Finding(
        what=say("identity"),
        fine=days > 0,
        fact=say(
            "box {box} of {school}; certificate for {days} more days",
            box=identity.box,
            school=identity.school_name,
            days=days,
        ),
        remedy="" if days > 0 else say("ask the district for a new join code and claim again"),
    )


def _recovery(config: BoxConfig, say: Say) -> list[Finding]:
    """Look whether the names of this school would survive the box."""
    path = config.folder / "vault.db"
    if not path.exists():
        return []
    try:
        lost = lacks_recovery(path)
    except sqlite3.Error as error:
        return [
            Finding(
                what=say("recovery"),
                fine=False,
                fact=say("{path} cannot be read ({error})", path=path, error=error),
                remedy=say("start the box, which brings it to this version's form"),
            )
        ]
    return [
        Finding(
            what=say("recovery"),
            fine=not lost,
            fact=say("{n} names would be lost with this box", n=lost)
            if lost
            else say("no names would be lost"),
            remedy=say("schoolnode recovery new, with the hub connected") if lost else "",
        )
    ]


def _folder(config: BoxConfig, say: Say) -> Finding:
    if not config.folder.exists():
        return Finding(
            what=say("folder"),
            fine=False,
            fact=say("{path} is missing", path=config.folder),
            remedy=say("claim this box: schoolnode claim CODE"),
        )
    mode = stat.S_IMODE(config.folder.stat().st_mode)
    fine = not mode & 0o077
    return Finding(
        what=say("folder"),
        fine=fine,
        fact=say("{path}, mode {mode}", path=config.folder, mode=f"{mode:o}"),
        remedy="" if fine else say("chmod 700 {path}: other users may read it", path=config.folder),
    )


def _setup_code(config: BoxConfig, language: Language) -> Finding:
    """Show the code that opens the set-up page; whoever may read the folder may know it."""
    say = language.say
    try:
        code = read_setup_code(config.folder)
    except ProvisioningError as error:
        return _wrong(say("set-up code"), error, language)
    if code is None:
        return Finding(
            what=say("set-up code"),
            fine=True,
            fact=say("made when the daemon starts for the first time"),
        )
    return Finding(what=say("set-up code"), fine=True, fact=code)


def _disk(config: BoxConfig, say: Say) -> Finding:
    place = config.folder if config.folder.exists() else config.folder.parent
    free = shutil.disk_usage(place).free
    fine = free >= DISK_FREE_MIN
    return Finding(
        what=say("disk"),
        fine=fine,
        fact=say("{n} GiB free", n=f"{free / 1024**3:.1f}"),
        remedy="" if fine else say("remove recordings or put the folder on a larger disk"),
    )


def _daemon(config: BoxConfig, say: Say) -> Finding:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2.0)
        try:
            with socket_path(config.folder) as place:
                probe.connect(place)
        except OSError:
            return Finding(
                what=say("daemon"),
                fine=False,
                fact=say("it does not answer"),
                remedy=say("start it: schoolnode edge run"),
            )
    return Finding(what=say("daemon"), fine=True, fact=say("running"))


def _ports(config: BoxConfig, language: Language) -> list[Finding]:
    say = language.say
    findings = []
    find = find_ports if config.serial.usb else find_named_ports
    for port in find(config.serial.ports):
        fine = os.access(port.path, os.R_OK | os.W_OK)
        findings.append(
            Finding(
                what=say("serial port"),
                fine=fine,
                fact=f"{port.path} ({language.retold(port.description)})",
                remedy="" if fine else say("add the daemon's user to the group dialout"),
            )
        )
    missing = [path for path in config.serial.ports if "*" not in str(path) and not path.exists()]
    findings += [
        Finding(
            what=say("serial port"),
            fine=False,
            fact=say("{path} is named in the settings and does not exist", path=path),
            remedy=say("plug the adapter in, or correct serial.ports in the configuration"),
        )
        for path in missing
    ]
    return findings


def _profiles(config: BoxConfig, language: Language) -> Finding:
    say = language.say
    catalog = load_catalog(config.profiles)
    if catalog.faults:
        return _wrong(say("device profiles"), catalog.faults[0], language)
    return Finding(
        what=say("device profiles"), fine=True, fact=say("{n} usable", n=len(catalog.profiles))
    )


def _wrong(what: str, error: Exception, language: Language) -> Finding:
    """Tell an error, whose sentence is a fact and its remedy."""
    fact, *remedy = re.split(
        r"[;\N{FULLWIDTH SEMICOLON}] ?", language.retold(str(error)), maxsplit=1
    )
    return Finding(what=what, fine=False, fact=fact, remedy="".join(remedy))
