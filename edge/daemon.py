"""The school daemon: opens the box, drives its devices, records, syncs and serves its pages."""

import asyncio
import hmac
import logging
import os
import random
import secrets
import sqlite3
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, closing
from datetime import timedelta, timezone, tzinfo
from ipaddress import IPv4Network
from typing import Never

import msgspec

from drivers.discovery.candidate import Candidate, DeviceKind
from drivers.entities import (
    BandReading,
    CardRead,
    CommandResult,
    DeviceEvent,
    DeviceId,
    Measurement,
    Quality,
    StationResult,
)
from drivers.errors import Trouble
from drivers.terminals.office import TapOffice
from edge.adoptions import Adoptions
from edge.announce import BoxPages, announce, is_served_at, page_names
from edge.attendance.register import Register
from edge.attendance.rules import MINUTE_MS, Rules
from edge.box_store import BoxStore, open_box
from edge.cameras.camera_desk import CameraDesk
from edge.certificates import Certificates
from edge.changes import Changes
from edge.class_cards.office import CardOffice, NamePolicy
from edge.class_cards.screens import read_told
from edge.clock_watch import BoxClock, ClockLight, ClockWatch, boot_ms, read_boot
from edge.condition import ConditionReader
from edge.config import BoxConfig, LessonSettings
from edge.courier_desk import CourierDesk
from edge.devices.adopted import AdoptedDevice
from edge.devices.fleet import Fleet
from edge.diagnostics import build_archive, look
from edge.farm.farm_memory import FarmClock
from edge.farm.farm_office import FarmOffice
from edge.farm.keeper import FarmKeeper
from edge.finder import Finder
from edge.hub_recovery import HttpRecoveryHub
from edge.key_desk import KeyDesk
from edge.lesson.capture.shared_screen import SharedScreens
from edge.lesson.evidence.hop_quality import ScreenReport
from edge.lesson.keys.partners import Partner
from edge.lesson.orchestration import Lessons
from edge.lesson.preparing.former_boards import FormerBoards
from edge.lesson.preparing.probes import Surroundings
from edge.lesson.recordings.library import Library
from edge.lesson.recordings.retention import DAY_MS, HOUR_MS, Keeping
from edge.lesson.room import RoomMeans
from edge.lesson.teaching.teacher_desk import TeacherDesk
from edge.lesson.way_back.class_desk import ClassDesk
from edge.log_memory import LogMemory
from edge.metering import night_only, open_meter
from edge.notebook import Notebook
from edge.pages.actions import Adopt
from edge.pages.app import build_pages
from edge.pages.box_view import (
    Change,
    DeviceLight,
    DiscoveryProgress,
    LaneLight,
    LessonView,
    Light,
    LogLine,
    RoomCheck,
    RoomTrouble,
    Sign,
    SyncLights,
)
from edge.pages.trust import build_trust_app
from edge.panels.board_office import BoardOffice
from edge.panels.plan import PlanFile
from edge.pushes.calls import Calls
from edge.pushes.push_port import PushPort
from edge.recorder import Recorder
from edge.recovery_office import RecoveryOffice
from edge.repair_desk import RepairDesk
from edge.roster import Difference, Roster
from edge.roster_desk import RosterDesk
from edge.safety.card_covers import CardCovers
from edge.safety.circuit_board import CircuitBoard
from edge.safety.safety_office import SafetyOffice
from edge.sealed_count import SealedCount
from edge.sports.sports_office import SportsOffice
from edge.supervision import keep_running
from edge.sync_desk import SyncDesk
from edge.sync_standing import SyncStanding
from edge.sync_status import read_lanes, sync_lights
from edge.thinning import is_far_behind
from edge.uplink import Uplink, UplinkState
from firmware_profiles.catalog import load_catalog
from firmware_profiles.doubts import doubtful
from provisioning.door import PortLimits
from provisioning.scrape_token import METRICS_PATH, open_scrape_token
from provisioning.serving import serve_app
from sync.clock_spans import ClockSpans, Trust
from sync.history.bounding import HistoryPolicy
from sync.history.tending import keep_bounded
from sync.logs.oplog import Row
from sync.node import Imported as SyncImported
from sync.node import SealPolicy
from sync.store import connect_readonly
from sync.writer import Writer

_log = logging.getLogger(__name__)

PAGES_LIMITS = PortLimits(connections=2048, of_an_address=256)
"""A browser holds up to six; a school's class cards may come from behind one router."""
TRUST_LIMITS = PortLimits(connections=256, of_an_address=128, idle_s=5.0)
"""Whoever types the box's name comes here first, a whole class at once, perhaps by one router."""
STATUS_EVERY_S = 1.0
UNDECIDED_EVERY_S = 20.0
STALE_MS = 60_000
"""A device that said nothing for this long is no longer shown as answering."""
SPEAKING = frozenset(
    {DeviceKind.SPORTS_GATEWAY, DeviceKind.CARD_READER, DeviceKind.ATTENDANCE_TERMINAL}
)
"""Kinds that speak when somebody comes: silence is no fault of theirs."""

NowMs = Callable[[], int]
Serve = Callable[[AsyncExitStack, "Box"], Coroutine[None, None, None]]


async def run_box(config: BoxConfig, now_ms: NowMs, rng: random.Random, control: Serve) -> Never:
    """Serve until cancelled; ``control`` opens a further way in.

    Raises SetupError when the box cannot start as configured.
    """
    # The writer ends before its store is closed: what was asked for is still written.
    clock = BoxClock(now_ms)
    with open_box(config, clock) as store, Writer() as writer:
        spans = ClockSpans(store.node, read_boot())
        watch = ClockWatch(clock, store.node.clock, spans, writer, boot_ms)
        await watch.load()
        box = Box(config, store, writer, clock, rng, watch)
        await box.load()
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            stack.enter_context(box.log)
            stack.push_async_callback(box.write_all)
            await box.serve(stack, tasks)
            await control(stack, box)
            for name, work in box.works().items():
                tasks.create_task(keep_running(name, work))
        raise AssertionError("the box's tasks run until they are cancelled")


class Box:
    """The running box; its pages and its command line see it through BoxView's methods."""

    def __init__(
        self,
        config: BoxConfig,
        store: BoxStore,
        writer: Writer,
        now_ms: NowMs,
        rng: random.Random,
        clock_watch: ClockWatch,
    ) -> None:
        self._config = config
        self._store = store
        self._writer = writer
        self._now_ms = now_ms
        self.clock_watch = clock_watch
        self._changes = Changes()
        self._lanes: tuple[LaneLight, ...] = ()
        self._undecided = 0
        loop = asyncio.get_running_loop()
        self.log = LogMemory(lambda: _call_soon(loop, self._changes.tell, Change.LOG))
        self._certificates = Certificates(
            store.identity, page_names(config.pages, store.identity.box), now_ms, rng
        )
        catalog = load_catalog(config.profiles)
        for fault in catalog.faults:
            _log.error("a device profile is left out: %s", fault)
        self._roster = Roster(store.node, store.vault, store.reader)
        self.rosters = RosterDesk(
            store, self._roster, writer, lambda: self._changes.tell(Change.SYNC)
        )
        self._notebook = Notebook(config.folder / "notebook.json")
        office = TapOffice(
            deliver=self._deliver_taps,
            people=self._roster.cards_by_number,
            zone=self.timezone,
        )
        self._fleet = Fleet(catalog, self._notebook, now_ms, self._take, rng, office)
        self._camera_desk = CameraDesk(self._fleet.cameras, now_ms, rng)
        self.boards = BoardOffice(
            PlanFile(config.folder / "boards.json"),
            self._fleet,
            lambda device, command, argument, who: self.command(device, command, argument, who=who),
            now_ms=now_ms,
            zone=self.timezone,
            is_clock_known=self._is_clock_known,
            changed=lambda: self._changes.tell(Change.DEVICES),
        )
        self._register = Register(
            store.node,
            store.reader,
            writer,
            self.connect,
            zone=self.timezone,
            rules=attendance_rules(config),
            now_ms=now_ms,
            changed=self._note_judged,
        )
        self._cards = CardOffice(
            config.folder,
            self._record,
            person_of=self._roster.person_of,
            judge=self._register.note,
            now_ms=now_ms,
            draw=lambda: secrets.token_urlsafe(32),
            changed=self._changes.tell,
            names=NamePolicy(config.class_cards.names),
        )
        with closing(self.connect()) as connection:
            self._cards.screens.remember(read_told(connection, store.identity.school))
        self.sports = SportsOffice(
            store.identity.school,
            self._record,
            self.connect,
            person_of=lambda wearer: (
                self._roster.person_numbered(wearer) or self._roster.person_of(wearer)
            ),
            now_ms=now_ms,
            changed=self._changes.tell,
        )
        self.safety = SafetyOffice(
            store.identity.school,
            self._record,
            self.connect,
            self._fleet,
            CardCovers(store.identity.school, self.connect, self._cards, now_ms),
            CircuitBoard(self.timezone, self._is_clock_known),
            now_ms=now_ms,
            changed=self._changes.tell,
        )
        self.farm = FarmOffice(
            config.folder,
            self._fleet,
            FarmKeeper(
                config.folder / "farm.json",
                store.identity.school,
                self._fleet,
                self._record,
                self.connect,
                clock=FarmClock(
                    now_ms=now_ms,
                    boot_ms=boot_ms,
                    boot=read_boot(),
                    zone=self.timezone,
                    is_known=self._is_clock_known,
                ),
                changed=lambda: self._changes.tell(Change.FARM),
            ),
            self._record,
            now_ms=now_ms,
            draw=lambda: secrets.token_hex(16),
            changed=lambda: self._changes.tell(Change.FARM),
        )
        self._recorder = Recorder(
            store.node,
            writer,
            self._roster,
            deadbands=self._fleet.deadbands,
            room_of=self._fleet.room_of,
            changed=self._changes.tell,
            is_far_behind=lambda: is_far_behind(self._lanes, now_ms()),
            tapped=self._note_tapped,
        )
        self._finder = Finder(config, catalog, self._fleet, now_ms, rng, self._changes.tell)
        calls = Calls(self._fleet.terminals, self._finder.note, now_ms)
        self._push_port = PushPort(
            config,
            self._fleet.terminals,
            calls,
            is_clock_known=self._is_clock_known,
        )
        self._adoptions = Adoptions(
            store,
            writer,
            self._fleet,
            self._finder,
            self._notebook,
            self._recorder,
            now_ms=now_ms,
            changed=self._changes.tell,
        )
        self._condition = ConditionReader(
            self,
            self._fleet,
            self._recorder,
            self._finder,
            catalog,
            config.folder,
            undriven=self._adoptions.undriven,
        )
        self.repairs = RepairDesk(
            config.folder / "repairs.json",
            self._condition.read,
            self._record,
            now_ms,
            self._changes.tell,
        )
        self.shared_screens = SharedScreens()
        self._lessons = Lessons(
            store,
            writer,
            self._certificates.hub_context,
            RoomMeans(
                fleet=self._fleet,
                value_of=self._value_of,
                former=FormerBoards(config.folder / "lesson-boards.json"),
                source=config.classroom.source,
                screens=self.shared_screens,
            ),
            Surroundings(
                screens=self._cards.screens.all,
                is_clock_known=self._is_clock_known,
                night="" if config.uplink.metered is None else config.uplink.metered.night,
                may_fill=night_only(config, now_ms),
                keeping=keeping_of(config.lessons),
            ),
            now_ms=now_ms,
            rng=rng,
            changed=lambda: self._changes.tell(Change.LESSON),
        )
        self._uplink = Uplink(
            store.identity,
            self._certificates.hub_context,
            store.node,
            writer,
            policy=SealPolicy(age_ms=int(config.seal.after_s * 1000)),
            rng=rng,
            on_import=self._on_import,
            on_change=lambda: self._changes.tell(Change.SYNC),
            meter=open_meter(config),
        )
        self.courier = CourierDesk(
            store.node, writer, store.identity.district, os.urandom, self._on_import
        )
        self.recovery = RecoveryOffice(
            store,
            self._roster,
            writer,
            HttpRecoveryHub(store.identity, self._certificates.hub_context),
            now_ms,
            os.urandom,
            wake=self._uplink.nudge,
            restored=self.load,
        )
        self._sealed = SealedCount(store.reader, store.acquaintances)
        self.sync_desk = SyncDesk(
            self,
            store.node,
            store.reader,
            writer,
            self.recovery,
            open_scrape_token(config.folder, os.urandom),
            changed=lambda: self._changes.tell(Change.SYNC),
        )

    async def load(self) -> None:
        """Take up the people and the devices of the store, at the start or once restored."""
        await self.recovery.load()
        await self._writer.call(self._roster.load)
        await self.safety.load()
        await self.sports.load()
        await self._adoptions.load()

    async def serve(self, stack: AsyncExitStack, tasks: asyncio.TaskGroup) -> None:
        """Open the pages' ports, served in ``tasks``; their servers end with ``stack``."""
        pages = self._config.pages
        app = build_pages(self)
        app.router.add_get("/classroom/stream", self._lessons.rooms.serve)
        app.router.add_get("/classroom/replay", self._lessons.replay.serve)
        app.router.add_get("/classroom/materials/{digest}", self._lessons.slides.serve)
        app.router.add_routes(self._lessons.hls.routes())
        app.router.add_get(METRICS_PATH, self.sync_desk.serve_metrics)
        addresses, context = pages.addresses, self._certificates.pages_context
        await serve_app(stack, tasks, app, addresses, pages.port, context, PAGES_LIMITS)
        trust = build_trust_app(self)
        await serve_app(stack, tasks, trust, addresses, pages.plain_port, None, TRUST_LIMITS)

    def works(self) -> Mapping[str, Callable[[], Coroutine[None, None, None]]]:
        """Return what runs for ever, each apart from the others' faults."""
        return {
            "devices": self._fleet.run,
            "boards together": self.boards.run,
            "recording": self._recorder.run,
            "safety": self.safety.run,
            "sports": self.sports.run,
            "the farm": self.farm.keeper.run,
            "attendance": self._register.run,
            "class cards": self._cards.run,
            "discovery": self._finder.run,
            "calls of terminals": self._push_port.run,
            "listening for cameras": self._finder.listen,
            "listening for services": self._finder.listen_to_services,
            "serial ports plugged in": self._finder.watch_ports,
            "announcing the box": self._announce,
            "following devices": self._adoptions.keep_following,
            "lessons": self._lessons.run,
            "the link to the hub": self._uplink.run,
            "certificates": self._certificates.run,
            "status": self._keep_status,
            "how sync stands": self.sync_desk.run,
            "bounding the history": lambda: keep_bounded(
                self._store.node.history, self._writer, HistoryPolicy()
            ),
            "recipients of keys": self._keep_counting_undecided,
            "courier": self.courier.run,
            "the clock": self.clock_watch.run,
            "proposed rosters": self.rosters.run,
            **self.recovery.works(),
        }

    async def write_all(self) -> None:
        """Write what is still in memory, at the end."""
        await self.safety.flush()
        await self.sports.flush()
        await self.farm.keeper.close()
        await self._recorder.flush()

    async def _announce(self) -> None:
        pages, interface = self._config.pages, self._config.network.interface
        if not is_served_at(pages.addresses, interface):
            _log.info("the box is not announced: its pages are not served at %s", interface.ip)
            return
        told = BoxPages(
            box=self._store.identity.box,
            school_name=self.school_name,
            port=pages.port,
            plain_port=pages.plain_port,
        )
        await announce(told, interface)

    @property
    def district(self) -> str:
        return self._store.identity.district

    @property
    def school(self) -> int:
        return self._store.identity.school

    @property
    def school_name(self) -> str:
        return self._store.identity.school_name

    @property
    def language_default(self) -> str:
        return self._config.language

    @property
    def timezone(self) -> tzinfo:
        return timezone(timedelta(hours=self._config.utc_offset_hours))

    @property
    def https_port(self) -> int:
        return self._config.pages.port

    @property
    def root_certificate(self) -> bytes:
        return self._store.identity.root_pem.read_bytes()

    def now_ms(self) -> int:
        return self._now_ms()

    def connect(self) -> sqlite3.Connection:
        return connect_readonly(self._store.path)

    def person_names(self, persons: Collection[int]) -> dict[int, str]:
        return self._roster.names(persons)

    @property
    def cards(self) -> CardOffice:
        return self._cards

    @property
    def recordings(self) -> Library:
        return self._lessons.recordings

    async def _record(self, rows: Mapping[str, Sequence[Row]]) -> None:
        await self._writer.call(self._store.node.record_all, rows)

    async def _deliver_taps(self, taps: Sequence[CardRead]) -> None:
        await self._recorder.deliver(taps)

    def _note_tapped(self, taps: Mapping[int, str | None]) -> None:
        self._cards.note_rooms({room for room in taps.values() if room})
        self._register.note(*taps)

    def _note_judged(self, rooms: Collection[str]) -> None:
        self._cards.note_rooms(rooms)

    def check_setup_code(self, code: str) -> bool:
        return hmac.compare_digest(code.strip().encode(), self._store.setup_code.encode())

    async def diagnostics(self) -> bytes:
        """Return what a supporter may see, as an archive."""
        seen, secrets = look(self, self._config), await self._writer.call(self._secrets)
        return await asyncio.to_thread(build_archive, seen, self.connect, secrets)

    def _secrets(self) -> set[str]:
        """Gather what must be found in nothing that leaves."""
        folder, school = self._config.folder, self.school
        teachers = self._store.reader.execute(
            "SELECT teacher FROM timetable_slot WHERE school = ?"
            " UNION SELECT teacher FROM lesson WHERE school = ?",
            (school, school),
        )
        secrets = {row[0] for row in teachers if row[0]}
        secrets |= {self._store.setup_code, open_scrape_token(folder, os.urandom)}
        return secrets | self._notebook.passwords() | self._roster.private_words()

    def candidates(self) -> Sequence[Candidate]:
        return self._finder.candidates()

    def discovery_progress(self) -> DiscoveryProgress:
        return self._finder.progress

    async def discover(
        self, kinds: Collection[DeviceKind] | None, networks: Sequence[IPv4Network] = ()
    ) -> None:
        self._finder.start(kinds, networks)

    async def stop_discovery(self) -> None:
        self._finder.stop()

    async def adopt(self, wish: Adopt, *, who: str) -> DeviceId:
        """Adopt a candidate: drive it from now on and remember it."""
        return await self._adoptions.adopt(wish, who=who)

    async def release(self, device: DeviceId, *, who: str) -> None:
        """Give an adopted device up: drive it no more, forget its password; its rows stay."""
        await self._adoptions.release(device, who=who)

    async def dismiss(self, identity: str, *, who: str) -> None:
        self._finder.dismiss(identity)
        _log.info("%s dismissed %s", who, identity)

    async def command(
        self, device: DeviceId, command: str, argument: str | None, *, who: str
    ) -> CommandResult:
        result = await self._fleet.command(device, command, argument)
        audit: Row = {
            "at_ms": result.observed_ms,
            "who": who,
            "action": f"{command} {argument or ''}: {result.outcome}",
            "subject": device,
        }
        await self._writer.call(self._store.node.record, "audit_entry", [audit])
        return result

    @property
    def cameras(self) -> CameraDesk:
        return self._camera_desk

    async def snapshot(self, device: DeviceId) -> bytes:
        return await self._fleet.cameras.snapshot(device)

    def device_lights(self) -> Sequence[DeviceLight]:
        return [self._device_light(adopted) for adopted in self._fleet.devices.values()]

    def live_values(self) -> Sequence[Measurement]:
        return list(self._recorder.latest.values())

    def sync_lights(self) -> SyncLights:
        now_ms, under_way = self._now_ms(), self._uplink.under_way()
        return sync_lights(self._uplink.state, self._lanes, now_ms, under_way)

    def sync_standing(self) -> SyncStanding | None:
        return self.sync_desk.standing

    def clock_light(self) -> ClockLight:
        return self.clock_watch.light()

    def _value_of(self, device: DeviceId, point: str) -> float | str | None:
        """Return what a device's point was last, None before it was anything."""
        known = self._recorder.latest.get((device, point))
        return None if known is None else known.value

    def _is_clock_known(self) -> bool:
        return self.clock_watch.light().trust is not Trust.UNKNOWN

    async def partners_of(self, school: int) -> list[Partner]:
        """Return the certified boxes of another school."""
        return await self._lessons.grants.partners_of(school)

    async def confirm_partner(self, school: int, fingerprint: str, who: str) -> None:
        """Confirm a partner's key; raises BoxSetupError when the school has no such key."""
        await self._lessons.grants.confirm(school, fingerprint, who)

    def undecided_keys(self) -> int:
        return self._undecided

    def offered_pupils(self) -> int | None:
        return self.rosters.offered()

    def key_desk(self) -> KeyDesk:
        return KeyDesk(self._store.node, self._writer, self._store.acquaintances)

    def uplink_state(self) -> UplinkState:
        return self._uplink.state

    def log_lines(self, after: int) -> Iterable[LogLine]:
        return self.log.after(after)

    def note_screen(self, page: str, told: ScreenReport) -> None:
        self._lessons.note_screen(page, told)

    def lesson_now(self, room: str) -> LessonView | None:
        return self._lessons.lesson_now(room)

    def lesson_checks(self) -> Sequence[RoomCheck]:
        return self._lessons.lesson_checks()

    def source_troubles(self) -> Sequence[RoomTrouble]:
        return self._lessons.source_troubles()

    @property
    def classes(self) -> ClassDesk:
        return self._lessons.classes

    @property
    def teacher(self) -> TeacherDesk:
        return self._lessons.teacher

    def events(self) -> AsyncIterator[Change]:
        return self._changes.follow()

    def changes_told(self) -> int:
        return self._changes.told

    def changes_since(self, told: int) -> Sequence[Change]:
        return self._changes.since(told)

    async def import_roster(self, content: bytes) -> Difference:
        """Take a roster in; raises BoxSetupError that names the line."""
        return await self.rosters.take(content, "program", even_older=False)

    def _take(self, event: DeviceEvent) -> None:
        self.farm.keeper.take(event)  # by the machine's own clock, known or not
        is_doubtful = not self._is_clock_known()
        if is_doubtful and isinstance(event, Measurement) and event.quality is Quality.GOOD:
            event = msgspec.structs.replace(
                event, quality=Quality.UNCERTAIN, reason="clock not known"
            )
        self._recorder.take(event)
        self.safety.take(event)
        if isinstance(event, BandReading | StationResult):
            self.sports.take(event)

    def _device_light(self, adopted: AdoptedDevice) -> DeviceLight:
        recorder = self._recorder
        presence = recorder.presence.get(adopted.device)
        heard_ms = recorder.last_heard_ms.get(adopted.device)
        state, sign, evidence_ms, detail = Light.UNKNOWN, Sign.NEVER, None, ""
        if presence is not None and not presence.online:
            state, sign, evidence_ms = Light.BAD, _sign(presence.trouble), presence.observed_ms
            detail = presence.reason
        elif heard_ms is not None:
            fresh = self._now_ms() - heard_ms < STALE_MS
            spoke = adopted.kind in SPEAKING
            state = Light.GOOD if fresh or spoke else Light.WARN
            sign, evidence_ms = (Sign.SPOKE if spoke else Sign.ANSWERED), heard_ms
        elif presence is not None:
            state, sign, evidence_ms = Light.GOOD, Sign.ANSWERED, presence.observed_ms
            detail = presence.reason
        return DeviceLight(
            device=adopted.device,
            kind=adopted.kind,
            name=adopted.name,
            room=adopted.room,
            address=adopted.address,
            state=state,
            sign=sign,
            evidence_ms=evidence_ms,
            detail=detail,
            commands=self._fleet.commands_of(adopted.device),
            last_command=recorder.last_command.get(adopted.device),
            unconfirmed=doubtful(self._fleet.profile_of(adopted.device)),
        )

    def _on_import(self, imported: SyncImported) -> None:
        if imported.tables & {"timetable_slot", "lesson", "lesson_party", "notice", "school"}:
            self._lessons.note_schedule()
            self._changes.tell(Change.SCHEDULE)
        if "alarm_answer" in imported.tables:
            self.safety.note_answers()
        if "roster_offer" in imported.tables:
            self.rosters.note_offer()

    async def _keep_counting_undecided(self) -> Never:
        while True:
            undecided = await self._writer.call(self._store.node.keys.undecided)
            if undecided != self._undecided:
                self._undecided = undecided
                self._changes.tell(Change.SYNC)
            await asyncio.sleep(UNDECIDED_EVERY_S)

    async def _keep_status(self) -> Never:
        while True:
            self._lanes = await self._writer.call(
                read_lanes, self._store.node, self._store.reader, self._sealed
            )
            await self.repairs.tidy()
            self._changes.tell(Change.SYNC)
            await asyncio.sleep(STATUS_EVERY_S)


def _sign(trouble: Trouble) -> Sign:
    signs = {Trouble.REFUSED: Sign.REFUSED, Trouble.SILENT: Sign.SILENT}
    return signs.get(trouble, Sign.LINK_LOST)


def keeping_of(settings: LessonSettings) -> Keeping:
    return Keeping(
        recordings_ms=settings.recordings_days * DAY_MS,
        rehearsals_ms=settings.rehearsals_hours * HOUR_MS,
        returns_ms=settings.returns_hours * HOUR_MS,
    )


def attendance_rules(config: BoxConfig) -> Rules:
    settings = config.class_cards
    return Rules(
        grace_ms=settings.grace_min * MINUTE_MS,
        early_ms=settings.early_min * MINUTE_MS,
        break_ms=settings.break_min * MINUTE_MS,
    )


def _call_soon(
    loop: asyncio.AbstractEventLoop, tell: Callable[[Change], None], change: Change
) -> None:
    """Tell of a change from any thread; one that logs at the very end is not heard any more."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(tell, change)
