"""A card reader on a serial line or TCP: its repeated frames become one read a presentation."""

import asyncio
import random
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Never, Protocol

from drivers.codecs.card_frames import BrokenFrame, CardFrame, CardFrameDecoder, FrameEvent
from drivers.codecs.card_numbers import card_of_hex
from drivers.codecs.wiegand import WiegandLineDecoder
from drivers.entities import CardRead, DeviceId, EventSink, NowMs
from drivers.reports import PresenceReports
from drivers.transports.byte_port import BytePort, LineSettings, keep_open
from drivers.transports.port_address import Place, PortAddress, open_port

PRESENTATION_GAP_S = 2.0
"""A card that was not seen for this long and comes again is presented again."""

CARDS_MAX = 256
IDLE_S = 60.0


class FrameDecoder(Protocol):
    """Finds cards in what a reader says."""

    def feed(self, data: bytes) -> list[FrameEvent]: ...


FORMATS: Mapping[str, Callable[[], FrameDecoder]] = MappingProxyType(
    {"rdm6300": CardFrameDecoder, "wiegand_uart": WiegandLineDecoder}
)
"""How a profile's card event is read."""


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
    """Listens to one reader for ever; a frame that is not intact is counted and dropped."""

    def __init__(
        self,
        *,
        device: DeviceId,
        address: PortAddress,
        settings: LineSettings,
        new_decoder: Callable[[], FrameDecoder],
        now_ms: NowMs,
        sink: EventSink,
        rng: random.Random,
    ) -> None:
        self.device = device
        self.settings = settings
        self._address = address
        self._new_decoder = new_decoder
        self.statistics = ReaderStatistics()
        self._now_ms = now_ms
        self._sink = sink
        self._rng = rng
        self._presence = PresenceReports(device, now_ms, sink)
        self._presentations = Presentations()

    @property
    def place(self) -> Place:
        return self._address.place

    async def run(self) -> Never:
        """Own the port: open, listen, reopen when it comes back."""
        opening = partial(open_port, self._address, self.settings)
        await keep_open(opening, self._rng, self._serve, self._on_lost)

    async def _serve(self, port: BytePort) -> Never:
        self._presence.tell(online=True, reason=f"{self.place} is open; cards are awaited")
        loop = asyncio.get_running_loop()
        decoder = self._new_decoder()
        while True:
            data = await port.read(IDLE_S)
            for event in decoder.feed(data):
                match event:
                    case CardFrame(card=card):
                        self._take(card_of_hex(card), loop.time())
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
                    source=self._address.source,
                )
            )

    def _on_lost(self, reason: str) -> None:
        self._presence.tell(online=False, reason=reason)
