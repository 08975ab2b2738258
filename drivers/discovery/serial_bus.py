"""Finding what hangs on serial ports: listen first, then read-only questions by profile.

One register read a candidate unit, never a write; a port in use is left alone. Worst case of a
whole port without devices at 9600 and 4800 baud: 2 s listening + 247 x 52 ms + 247 x 64 ms = 31 s.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from serial.tools import list_ports

from drivers.codecs.card_frames import CardFrame, CardFrameDecoder
from drivers.codecs.modbus import ExceptionReply, ReadReply, ReadRequest, Reply, Request
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence, Need
from drivers.entities import NowMs
from drivers.errors import ProtocolError
from drivers.modbus_line import RtuLine, SilentUnitError
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_address import UNIT_MAX, SerialAddress, line_settings
from drivers.transports.serial_port import SerialPort
from firmware_profiles.model import Link, ProbeStep, Profile

LISTEN_S = 2.0
BUDGET_S = 120.0
"""A port where nobody answers takes about 100 s: every unit id at each speed of the profiles."""
PORTS_MAX = 64
QUIET_S = 0.03
# From the request's last bit to the reply's first byte at our side, USB adapter included.
ALLOWANCE_S = 0.040
ALLOWANCE_S_MAX = 0.160
IDENTIFY_TIMEOUT_S = 0.5
TRIES = 3
RECENT_UNITS = 5

Question = tuple[int, int, int]
"""Function, register, count."""

_FirstQuestion = tuple[Literal[1, 2, 3, 4], int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPort:
    """A serial port of this machine; ``usb`` is ``vid:pid`` in lower-case hexadecimal."""

    path: Path
    description: str
    usb: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far the search of one port is; ``unit`` is the id asked last."""

    port: Path
    stage: str
    baud: int
    unit: int
    units: int
    found: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchReport:
    """Who hears what a search finds while it goes on; calls return at once."""

    progress: Callable[[SearchProgress], None]
    found: Callable[[Candidate], None]


class QuestionLine(Protocol):
    """What a search asks through: an open port's line, or a running bus between its polls."""

    @property
    def settings(self) -> LineSettings: ...

    @property
    def stray_bytes(self) -> int: ...

    async def ask(self, request: Request, timeout_s: float) -> Reply: ...


def find_named_ports(named: Sequence[Path]) -> list[FoundPort]:
    """Return the ports a person named: devices, folders of devices, or patterns with ``*``."""
    ports: dict[Path, FoundPort] = {}
    for path in (found for pattern in named for found in _expand(pattern)):
        description = f"{path.name}, named in the settings"
        ports.setdefault(path.resolve(), FoundPort(path=path, description=description))
    return sorted(ports.values(), key=lambda port: str(port.path))[:PORTS_MAX]


def find_ports(extra: Sequence[Path] = ()) -> list[FoundPort]:
    """Return the ports to search: the machine's USB adapters and what ``extra`` names.

    Adapters are called by ``/dev/serial/by-id``, which survives another socket; on-board ports
    have no USB id and are searched only when ``extra`` names them.
    """
    stable = {link.resolve(): link for link in sorted(Path("/dev/serial/by-id").glob("*"))}
    ports = {port.path.resolve(): port for port in find_named_ports(extra)}
    for entry in list_ports.comports():
        if entry.vid is None or entry.pid is None:
            continue
        real = Path(entry.device).resolve()
        usb = f"{entry.vid:04x}:{entry.pid:04x}"
        path = ports[real].path if real in ports else stable.get(real, Path(entry.device))
        ports[real] = FoundPort(path=path, description=str(entry.description), usb=usb)
    return sorted(ports.values(), key=lambda port: str(port.path))[:PORTS_MAX]


async def search_port(
    port: FoundPort,
    profiles: Collection[Profile],
    now_ms: NowMs,
    report: SearchReport,
    budget_s: float = BUDGET_S,
) -> list[Candidate]:
    """Search a port nobody uses; SetupError or UnreachableError when it cannot be opened.

    Two seconds of listening, then every unit id at each baud rate, likeliest first, until a rate
    has answers; last, where nobody answered, the questions of models that keep silent about what
    they do not know. The budget ends the search with what was found so far.
    """
    search = _Search(port.path, profiles, now_ms, report)
    settings = search.listening_settings()
    line = SerialPort(port.path, settings)
    try:
        async with asyncio.timeout(budget_s):
            await search.listen(line)
            rates = search.rates(port.usb)
            for ask in (search.sweep, search.sweep_silent):
                for rate in rates:
                    if search.found:
                        break
                    line.set_baud(rate)
                    asked = RtuLine(line, quiet_s=QUIET_S, on_noise=search.hear_noise)
                    await ask(asked, ())
    except TimeoutError:
        search.note("the time for this port is over")
    finally:
        line.close()
    return search.found


async def search_bus(
    path: Path,
    bus: QuestionLine,
    profiles: Collection[Profile],
    now_ms: NowMs,
    report: SearchReport,
    skip: Collection[int],
    budget_s: float = 2 * BUDGET_S,
) -> list[Candidate]:
    """Search a bus that runs, between its polls, at its own speed; ``skip`` are adopted ids."""
    search = _Search(path, profiles, now_ms, report)
    try:
        async with asyncio.timeout(budget_s):
            await search.sweep(bus, skip)
            if not search.found:
                await search.sweep_silent(bus, skip)
    except TimeoutError:
        search.note("the time for this bus is over")
    return search.found


class _Search:
    """What is known about one port so far."""

    def __init__(
        self, path: Path, profiles: Collection[Profile], now_ms: NowMs, report: SearchReport
    ) -> None:
        self.path = path
        self.found: list[Candidate] = []
        self._modbus = [p for p in profiles if any(_is_modbus(link) for link in p.links)]
        self._readers = [p for p in profiles if any(e.format == "rdm6300" for e in p.events)]
        self._now_ms = now_ms
        self._report = report
        self._cards = CardFrameDecoder()
        self._baud = 0
        self._unit = 0
        self._stage = "listen"
        self._of_silent_models = False

    def listening_settings(self) -> LineSettings:
        """How the port is first opened: as a card reader's, which speaks unasked."""
        if self._readers:
            profile = self._readers[0]
            return line_settings(profile, "card_frames", profile.link("card_frames").baud[0])
        return LineSettings(baud=9600)

    def rates(self, usb: str | None) -> list[LineSettings]:
        """Return the speeds of Modbus profiles, likeliest first; USB matches before others."""
        weights: Counter[LineSettings] = Counter()
        for profile in self._modbus:
            weight = 100 if usb in profile.match.usb else 1
            for rank, baud in enumerate(profile.link("modbus_rtu").baud):
                weights[line_settings(profile, "modbus_rtu", baud)] += weight * 60 // (1 + rank)
        return sorted(weights, key=lambda rate: (-weights[rate], -rate.baud))

    async def listen(self, port: SerialPort) -> None:
        """Hear for two seconds whether somebody speaks unasked."""
        self._baud = port.settings.baud
        self.note("listen")
        loop = asyncio.get_running_loop()
        until = loop.time() + LISTEN_S
        while not self.found and (remaining_s := until - loop.time()) > 0:
            self.hear_noise(await port.read(remaining_s))

    def hear_noise(self, data: bytes) -> None:
        """Look for card frames in bytes that answered nothing."""
        for event in self._cards.feed(data):
            if isinstance(event, CardFrame) and self._readers and not self.found:
                self._add_reader(self._readers[0])

    async def sweep(self, line: QuestionLine, skip: Collection[int]) -> None:
        """Ask every unit id what most models answer or refuse; others too where some did."""
        await self._round(line, skip, self._commonest_question())
        if self.found:
            await self.sweep_silent(line, skip)

    async def sweep_silent(self, line: QuestionLine, skip: Collection[int]) -> None:
        """Ask for the models that keep silent about what they do not know, at their speeds."""
        questions = self._silent_models_questions(line.settings.baud)
        if questions:
            self._of_silent_models = True
            await self._round(line, {*skip, *self._found_units()}, questions)
            self._of_silent_models = False

    async def _round(
        self, line: QuestionLine, skip: Collection[int], questions: Sequence[_FirstQuestion]
    ) -> None:
        """Ask every unit id once, again where something unclear came back."""
        self._baud = line.settings.baud
        self._stage = "ask"
        allowance_s = ALLOWANCE_S
        waiting = [unit for unit in range(1, UNIT_MAX + 1) if unit not in skip]
        tries: Counter[int] = Counter()
        recent: deque[int] = deque(maxlen=RECENT_UNITS)
        while waiting and not self._is_reader:
            unit = waiting.pop(0)
            tries[unit] += 1
            self._unit = unit
            self.note("ask")
            strays = line.stray_bytes
            recent.append(unit)
            present = await self._is_present(line, unit, allowance_s, questions)
            unclear = line.stray_bytes > strays
            if present:
                await self._identify(line, unit)
            if unclear:
                # Somebody spoke, too late or garbled: this unit or one of those just before.
                allowance_s = min(ALLOWANCE_S_MAX, 2 * allowance_s)
                settled = {*self._found_units(), *waiting}
                again = [u for u in dict.fromkeys(recent) if u not in settled]
                waiting[:0] = [u for u in again if tries[u] < TRIES]

    def note(self, stage: str) -> None:
        """Tell the caller how far the search is."""
        self._report.progress(
            SearchProgress(
                port=self.path,
                stage=stage,
                baud=self._baud,
                unit=self._unit,
                units=UNIT_MAX,
                found=len(self.found),
            )
        )

    @property
    def _is_reader(self) -> bool:
        return any(candidate.kind is DeviceKind.CARD_READER for candidate in self.found)

    def _found_units(self) -> set[int]:
        modbus = (c.identity for c in self.found if c.identity.startswith("modbus:"))
        return {int(identity.rpartition(":")[2]) for identity in modbus}

    async def _is_present(
        self,
        line: QuestionLine,
        unit: int,
        allowance_s: float,
        questions: Sequence[_FirstQuestion],
    ) -> bool:
        """Tell whether a unit answers one of the questions; a refusal proves it as well."""
        for function, register, count in questions:
            request = ReadRequest(unit=unit, function=function, address=register, count=count)
            try:
                await line.ask(request, allowance_s)
            except (SilentUnitError, ProtocolError):
                continue
            return True
        return False

    def _commonest_question(self) -> list[_FirstQuestion]:
        first = [p.probe[0] for p in self._modbus]
        ranked = Counter((s.function, s.register, s.count) for s in first).most_common(1)
        return [question for question, _ in ranked]

    def _silent_models_questions(self, baud: int) -> list[_FirstQuestion]:
        """Return the first steps of models that would not refuse the commonest.

        A round of silence takes 13 s at 9600 baud: they are asked for at their own speeds only.
        """
        steps = [
            profile.probe[0]
            for profile in self._modbus
            if "silent_when_unknown" in profile.quirks and baud in profile.link("modbus_rtu").baud
        ]
        asked = {(step.function, step.register, step.count) for step in steps}
        return sorted(asked.difference(self._commonest_question()))

    async def _identify(self, line: QuestionLine, unit: int) -> None:
        answers: dict[Question, Reply | None] = {}
        # A unit that keeps silent costs 1.5 s a question: its likely models are tried first.
        silent = [p for p in self._modbus if "silent_when_unknown" in p.quirks]
        fits = await self._fitting(line, unit, silent, answers) if self._of_silent_models else []
        if not fits:
            fits = await self._fitting(line, unit, self._modbus, answers)
        fits.sort(key=lambda fit: -fit[0])
        self._add_unit(unit, fits, answers)

    async def _fitting(
        self,
        line: QuestionLine,
        unit: int,
        models: Sequence[Profile],
        answers: dict[Question, Reply | None],
    ) -> list[tuple[float, Profile]]:
        """Return the models that fit a unit, with the confidence; ``answers`` are kept."""
        fits: list[tuple[float, Profile]] = []
        for profile in models:
            doubt = 1.0
            for step in profile.probe:
                question = (step.function, step.register, step.count)
                if question not in answers:
                    answers[question] = await _answer(line, unit, step)
                if not self._fits(profile, step, unit, answers[question]):
                    break
                doubt *= 1 - step.confidence
            else:
                fits.append((1 - doubt, profile))
        return fits

    def _fits(self, profile: Profile, step: ProbeStep, unit: int, reply: Reply | None) -> bool:
        if step.absent:
            silent = reply is None and "silent_when_unknown" in profile.quirks
            return silent or isinstance(reply, ExceptionReply)
        if not isinstance(reply, ReadReply):
            return False
        codes = profile.link("modbus_rtu").baud_codes
        for expected, value in zip(step.expect, reply.values, strict=False):
            if expected.unit and value != unit:
                return False
            if expected.baud and value != codes.get(self._baud):
                return False
            if not expected.low <= value <= expected.high:
                return False
        return True

    def _add_unit(
        self, unit: int, fits: list[tuple[float, Profile]], answers: dict[Question, Reply | None]
    ) -> None:
        now = self._now_ms()
        evidence = [
            Evidence(method="modbus read", detail=_describe(question, reply), observed_ms=now)
            for question, reply in answers.items()
        ]
        if len(fits) > 1:
            others = ", ".join(f"{p.id} ({confidence:.0%})" for confidence, p in fits[1:])
            detail = f"these profiles fit as well: {others}; look at the device"
            evidence.append(Evidence(method="profile", detail=detail, observed_ms=now))
        confidence, profile = fits[0] if fits else (0.3, None)
        self._add(
            Candidate(
                identity=f"modbus:{self.path.name}:{unit}",
                kind=DeviceKind(profile.kind) if profile else DeviceKind.FARM_SENSOR,
                address=str(SerialAddress(path=self.path, baud=self._baud, unit=unit)),
                name=f"{profile.name if profile else 'Modbus device'}, unit {unit}",
                profile=profile.id if profile else None,
                evidence=tuple(evidence),
                confidence=round(confidence, 2),
                needs=Need.NOTHING if profile else Need.PROFILE,
            )
        )

    def _add_reader(self, profile: Profile) -> None:
        detail = f"an intact card frame was heard at {self._baud} baud"
        evidence = Evidence(method="serial listen", detail=detail, observed_ms=self._now_ms())
        self._add(
            Candidate(
                identity=f"card:{self.path.name}",
                kind=DeviceKind.CARD_READER,
                address=str(SerialAddress(path=self.path, baud=self._baud)),
                name=f"{profile.name} on {self.path.name}",
                profile=profile.id,
                evidence=(evidence,),
                confidence=0.95,
            )
        )

    def _add(self, candidate: Candidate) -> None:
        self.found.append(candidate)
        self._report.found(candidate)
        self.note(self._stage)


def _expand(pattern: Path) -> Iterator[Path]:
    if "*" in str(pattern):
        anchor = Path(pattern.anchor or ".")
        yield from sorted(anchor.glob(str(pattern.relative_to(pattern.anchor or "."))))
    elif pattern.is_dir():
        yield from sorted(path for path in pattern.iterdir() if not path.name.startswith("."))
    else:
        yield pattern


def _is_modbus(link: Link) -> bool:
    return link.type == "modbus_rtu"


async def _answer(line: QuestionLine, unit: int, step: ProbeStep) -> Reply | None:
    request = ReadRequest(
        unit=unit, function=step.function, address=step.register, count=step.count
    )
    for _ in range(TRIES):
        try:
            return await line.ask(request, IDENTIFY_TIMEOUT_S)
        except (SilentUnitError, ProtocolError):
            continue
    return None


def _describe(question: Question, reply: Reply | None) -> str:
    function, register, count = question
    asked = f"fc{function} 0x{register:04X} x{count}"
    match reply:
        case ReadReply(values=values):
            return f"{asked} = {' '.join(f'0x{value:04X}' for value in values)}"
        case ExceptionReply():
            return f"{asked} was refused: {reply.meaning}"
        case _:
            return f"{asked} was not answered"
