"""A gateway on a serial line or TCP that tells heart rates and results as lines of text."""

import random
from dataclasses import dataclass
from functools import partial
from typing import Never

from drivers.codecs.text_lines import HeartLine, LineSplitter, ResultLine, read_line
from drivers.entities import BandReading, DeviceId, EventSink, NowMs, StationResult
from drivers.errors import ProtocolError
from drivers.reports import PresenceReports
from drivers.transports.byte_port import BytePort, LineSettings, keep_open
from drivers.transports.port_address import Place, PortAddress, open_port
from firmware_profiles.model import Profile

IDLE_S = 60.0


@dataclass(slots=True)
class GatewayStatistics:
    """What was heard since the gateway was made; ``unknown`` lines fit no event of the profile."""

    told: int = 0
    unknown: int = 0
    broken: int = 0


class LineGateway:
    """Listens to one gateway for ever; a line that makes no sense is counted and dropped."""

    def __init__(
        self,
        *,
        device: DeviceId,
        address: PortAddress,
        settings: LineSettings,
        profile: Profile,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self.device = device
        self.statistics = GatewayStatistics()
        self._address = address
        self._settings = settings
        self._events = profile.events
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._presence = PresenceReports(device, now_ms, sink)

    @property
    def place(self) -> Place:
        return self._address.place

    async def run(self) -> Never:
        """Own the port: open, listen, reopen when it comes back."""
        opening = partial(open_port, self._address, self._settings)
        await keep_open(opening, self._rng, self._serve, self._on_lost)

    async def _serve(self, port: BytePort) -> Never:
        self._presence.tell(online=True, reason=f"{self.place} is open; lines are awaited")
        splitter = LineSplitter()
        while True:
            for line in splitter.feed(await port.read(IDLE_S)):
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            told = read_line(line, self._events)
        except ProtocolError:
            self.statistics.broken += 1
            return
        now_ms = self._now_ms()
        match told:
            case HeartLine():
                self._sink(
                    BandReading(
                        device=self.device,
                        band=told.band,
                        bpm=told.bpm,
                        moving=told.moving,
                        observed_ms=now_ms,
                        source=self._address.source,
                    )
                )
            case ResultLine():
                self._sink(
                    StationResult(
                        device=self.device,
                        station=told.station,
                        wearer=told.wearer,
                        result=told.result,
                        unit=told.unit,
                        observed_ms=now_ms,
                        source=self._address.source,
                    )
                )
            case None:
                self.statistics.unknown += 1
                return
        self.statistics.told += 1

    def _on_lost(self, reason: str) -> None:
        self._presence.tell(online=False, reason=reason)
