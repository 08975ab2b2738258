"""What is asked of one serial line, whoever holds it open, and what that tells."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from drivers.card_reader import FORMATS
from drivers.codecs.card_frames import CardFrame
from drivers.codecs.modbus import ReadRequest
from drivers.codecs.text_lines import LineSplitter, read_line
from drivers.discovery.candidate import Candidate, DeviceKind, Evidence
from drivers.discovery.modbus_models import TRIES, Asking, Question, UnitQuestions
from drivers.discovery.panels import ask_panel, by_way
from drivers.entities import NowMs
from drivers.errors import ProtocolError
from drivers.modbus_line import SilentUnitError
from drivers.transports.byte_port import BytePort, LineSettings
from drivers.transports.port_address import Place, PortAddress, TcpAddress
from drivers.transports.serial_address import UNIT_MAX, line_settings
from firmware_profiles.model import Profile

LISTEN_S = 2.0
# From the request's last bit to the reply's first byte at our side, USB adapter included.
ALLOWANCE_S = 0.040
ALLOWANCE_S_MAX = 0.160
RECENT_UNITS = 5
SERIAL_KINDS = frozenset(DeviceKind) - {
    DeviceKind.CAMERA,
    DeviceKind.BLACKBOARD,
    DeviceKind.CLASS_CARD,
    DeviceKind.ATTENDANCE_TERMINAL,
}
"""What may hang on a serial line; blackboards may as well, and are mostly on the network."""
_TALKERS = {DeviceKind.CARD_READER: ("card", 0.95), DeviceKind.SPORTS_GATEWAY: ("lines", 0.8)}
"""Who speaks unasked: how its identity begins, and how sure one is who heard it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchProgress:
    """How far the search of one line is; ``unit`` is the id asked last."""

    port: Place
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


class QuestionLine(Asking, Protocol):
    """What a search asks through, and what it hears besides answers."""

    @property
    def settings(self) -> LineSettings: ...

    @property
    def stray_bytes(self) -> int: ...


class LineSearch:
    """What is known about one line so far.

    ``usb`` is the adapter's ``vid:pid``: models whose profiles name it are asked for first.
    """

    def __init__(
        self,
        address: PortAddress,
        profiles: Collection[Profile],
        now_ms: NowMs,
        report: SearchReport,
        usb: str | None = None,
    ) -> None:
        profiles = sorted(profiles, key=lambda profile: usb not in profile.match.usb)
        self.found: list[Candidate] = []
        self._address = address
        self._allowance_s = ALLOWANCE_S
        if isinstance(address, TcpAddress):
            self._allowance_s = ALLOWANCE_S_MAX  # servers gather bytes before they pass them on
        self._displays = by_way(profiles)
        self._modbus = [p for p in profiles if any(link.type == "modbus_rtu" for link in p.links)]
        self._likely = [p for p in self._modbus if usb in p.match.usb]
        self._readers = {
            event.format: profile
            for profile in reversed(profiles)  # of a format's readers the likeliest
            for event in profile.events
            if event.format in FORMATS
        }
        self._gateways = [p for p in profiles if any(e.format == "line" for e in p.events)]
        self._now_ms = now_ms
        self._report = report
        self._cards = {name: FORMATS[name]() for name in self._readers}
        self._lines = LineSplitter()
        self._baud = 0
        self._unit = 0
        self._stage = "listen"
        self._of_silent_models = False

    def listening_settings(self) -> LineSettings:
        """How the port is first opened: as a card reader's, which speaks unasked."""
        if self._readers:
            profile = next(reversed(self._readers.values()))
            return line_settings(profile, "card_frames", profile.link("card_frames").baud[0])
        return LineSettings(baud=9600)

    def rates(self) -> tuple[list[LineSettings], list[LineSettings]]:
        """Return the speeds of Modbus profiles, likeliest first.

        Apart from each other: those of models that name the adapter, and those of all others.
        """
        likely = _ranked(self._likely)
        return likely, [rate for rate in _ranked(self._modbus) if rate not in likely]

    async def ask_displays(
        self, port: BytePort, set_baud: Callable[[LineSettings], None] | None = None
    ) -> None:
        """Ask once in each way that displays speak, at each of its speeds that can be set."""
        self._stage = "ask"
        for way, models in self._displays.items():
            rates = [None] if set_baud is None else list(models[0].links[0].baud)
            for baud in rates:
                if self.found:
                    return
                if set_baud is not None and baud is not None:
                    set_baud(line_settings(models[0], way[0], baud))
                self._baud = port.settings.baud
                self.note("ask")
                panel = await ask_panel(port, way, models, self.hear_noise)
                if panel is not None:
                    self._add(
                        panel.candidate(
                            self._now_ms,
                            identity=f"panel:{place_name(self._address.place)}",
                            address=str(self._at(panel.link.unit)),
                        )
                    )

    async def listen(self, port: BytePort) -> None:
        """Hear for two seconds whether somebody speaks unasked."""
        self._baud = port.settings.baud
        self.note("listen")
        loop = asyncio.get_running_loop()
        until = loop.time() + LISTEN_S
        while not self.found and (remaining_s := until - loop.time()) > 0:
            self.hear_noise(await port.read(remaining_s))

    def hear_noise(self, data: bytes) -> None:
        """Look for card frames and sports gateways' lines in bytes that answered nothing."""
        for name, decoder in self._cards.items():
            for event in decoder.feed(data):
                if isinstance(event, CardFrame) and not self.found:
                    reader = self._readers[name]
                    self._add_talker(reader, DeviceKind.CARD_READER, "an intact card frame")
        for line in self._lines.feed(data):
            for profile in self._gateways if not self.found else ():
                with suppress(ProtocolError):
                    if read_line(line, profile.events) is not None:
                        heard = f"a line that fits {profile.id}"
                        self._add_talker(profile, DeviceKind.SPORTS_GATEWAY, heard)
                        break

    async def sweep(self, line: QuestionLine, skip: Collection[int]) -> None:
        """Ask every unit id what most models answer or refuse; others too where some did.

        Before that what the models ask that name the adapter.
        """
        await self._round(line, skip, self._first_questions())
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
        self, line: QuestionLine, skip: Collection[int], questions: Sequence[Question]
    ) -> None:
        """Ask every unit id once, again where something unclear came back."""
        self._baud = line.settings.baud
        self._stage = "ask"
        allowance_s = self._allowance_s
        waiting = [unit for unit in range(1, UNIT_MAX + 1) if unit not in skip]
        tries: Counter[int] = Counter()
        recent: deque[int] = deque(maxlen=RECENT_UNITS)
        while waiting and not self._is_talker:
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
                port=self._address.place,
                stage=stage,
                baud=self._baud,
                unit=self._unit,
                units=UNIT_MAX,
                found=len(self.found),
            )
        )

    @property
    def _is_talker(self) -> bool:
        """Whether it is a line that speaks unasked."""
        return any(candidate.kind in _TALKERS for candidate in self.found)

    def _found_units(self) -> set[int]:
        modbus = (c.identity for c in self.found if c.identity.startswith("modbus:"))
        return {int(identity.rpartition(":")[2]) for identity in modbus}

    async def _is_present(
        self,
        line: QuestionLine,
        unit: int,
        allowance_s: float,
        questions: Sequence[Question],
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

    def _first_questions(self) -> list[Question]:
        ranked = Counter(map(_first_question, self._modbus)).most_common(1)
        questions = [*map(_first_question, self._likely), *(question for question, _ in ranked)]
        return list(dict.fromkeys(questions))

    def _silent_models_questions(self, baud: int) -> list[Question]:
        """Return the first steps of models that would not refuse the commonest.

        A round of silence takes 13 s at 9600 baud: they are asked for at their own speeds only.
        """
        asked = {
            _first_question(profile)
            for profile in self._modbus
            if "silent_when_unknown" in profile.quirk_ids
            and baud in profile.link("modbus_rtu").baud
        }
        return sorted(asked.difference(self._first_questions()))

    async def _identify(self, line: QuestionLine, unit: int) -> None:
        baud = None if isinstance(self._address, TcpAddress) else self._baud
        questions = UnitQuestions(line, unit, "modbus_rtu", baud)
        # A unit that keeps silent costs 1.5 s a question: its likely models are tried first.
        silent = [p for p in self._modbus if "silent_when_unknown" in p.quirk_ids]
        fits = await questions.fitting(silent) if self._of_silent_models else []
        if not fits:
            fits = await questions.fitting(self._modbus)
        self._add(
            questions.candidate(
                fits,
                self._now_ms,
                identity=f"modbus:{place_name(self._address.place)}:{unit}",
                address=str(self._at(unit)),
            )
        )

    def _at(self, unit: int | None) -> PortAddress:
        """Return the line's address with an id on it."""
        if isinstance(self._address, TcpAddress):
            return replace(self._address, unit=unit)
        return replace(self._address, baud=self._baud, unit=unit)

    def _add_talker(self, profile: Profile, kind: DeviceKind, heard: str) -> None:
        """Note a device that speaks unasked; ``heard`` is what it was known by."""
        name = place_name(self._address.place)
        scheme, confidence = _TALKERS[kind]
        detail = f"{heard} was heard at {self._baud} baud"
        evidence = Evidence(method="serial listen", detail=detail, observed_ms=self._now_ms())
        self._add(
            Candidate(
                identity=f"{scheme}:{name}",
                kind=kind,
                address=str(self._at(None)),
                name=f"{profile.name} on {name}",
                profile=profile.id,
                evidence=(evidence,),
                confidence=confidence,
            )
        )

    def _add(self, candidate: Candidate) -> None:
        self.found.append(candidate)
        self._report.found(candidate)
        self.note(self._stage)


def _ranked(profiles: Collection[Profile]) -> list[LineSettings]:
    """Return the Modbus speeds that profiles name, likeliest first."""
    weights: Counter[LineSettings] = Counter()
    for profile in profiles:
        for rank, baud in enumerate(profile.link("modbus_rtu").baud):
            weights[line_settings(profile, "modbus_rtu", baud)] += 60 // (1 + rank)
    return sorted(weights, key=lambda rate: (-weights[rate], -rate.baud))


def _first_question(profile: Profile) -> Question:
    step = profile.probe[0]
    return step.function, step.register, step.count


def place_name(place: Place) -> str:
    """Return how identities and people call a line."""
    return place.name if isinstance(place, Path) else place
