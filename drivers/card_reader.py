"""A card reader on a serial port: its repeated frames become one read a presentation."""

import asyncio
import random
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from drivers.codecs.card_frames import BrokenFrame, CardFrame, CardFrameDecoder
from drivers.entities import CardRead, DeviceId, EventSink, NowMs, Presence
from drivers.transports.byte_port import LineSettings
from drivers.transports.serial_port import SerialPort, serve_port

PRESENTATION_GAP_S = 2.0
"""A card that was not seen for this long and comes again is presented again."""

CARDS_MAX = 256
IDLE_S = 60.0


@dataclass(slots=True)
class ReaderStatistics:
    """What was heard since the reader was made."""

    frames: int = 0
    reads: int = 0
    broken: int = 0


class Presentations:
    """Tells the first frame of a presentation from its repetitions; times are monotonic."""

    def __init__(self) -> None:
        self._seen_at: OrderedDict[str, float] = OrderedDict()

    def is_new(self, card: str, now: float) -> bool:
        """Note a frame and return whether it begins a presentation."""
        last = self._seen_at.pop(card, None)
        self._seen_at[card] = now
        if len(self._seen_at) > CARDS_MAX:
            self._seen_at.popitem(last=False)
        return last is None or now - last >= PRESENTATION_GAP_S


class CardReader:
    """Listens to one RDM6300 for ever; a frame that is not intact is counted and dropped."""

    def __init__(
        self,
        *,
        device: DeviceId,
        path: Path,
        settings: LineSettings,
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self.device = device
        self.path = path
        self.settings = settings
        self.statistics = ReaderStatistics()
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._online: bool | None = None
        self._presentations = Presentations()

    async def run(self) -> Never:
        """Own the port: open, listen, reopen when it comes back."""
        await serve_port(self.path, self.settings, self._rng, self._serve, self._on_lost)

    async def _serve(self, port: SerialPort) -> Never:
        self._announce(online=True, reason=f"{self.path} is open; cards are awaited")
        loop = asyncio.get_running_loop()
        decoder = CardFrameDecoder()
        while True:
            data = await port.read(IDLE_S)
            for event in decoder.feed(data):
                match event:
                    case CardFrame(card=card):
                        self._take(card, loop.time())
                    case BrokenFrame():
                        self.statistics.broken += 1

    def _take(self, card: str, now: float) -> None:
        self.statistics.frames += 1
        if self._presentations.is_new(card, now):
            self.statistics.reads += 1
            self._sink(
                CardRead(
                    device=self.device,
                    card=card,
                    observed_ms=self._now_ms(),
                    source=f"serial:{self.path.name}",
                )
            )

    def _on_lost(self, reason: str) -> None:
        self._announce(online=False, reason=reason)

    def _announce(self, *, online: bool, reason: str) -> None:
        if self._online is not online:
            self._online = online
            self._sink(
                Presence(
                    device=self.device, online=online, observed_ms=self._now_ms(), reason=reason
                )
            )
