"""Simulated card readers: an RDM6300 repeats the card that is held, a Wiegand one tells it once."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from drivers.codecs import wiegand
from drivers.codecs.card_frames import encode_card_frame
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger
from drivers.simulators.pty_link import PtyLink, closing_line

BAUD = 9600
HEARD_AFTER_S = 0.5
REPEAT_S = 0.065
HOLD_S = (0.2, 0.6)
SAME_CARD_S = 4.0
"""A card stays away at least this long, as a person does who comes again."""


@dataclass(frozen=True, slots=True)
class Frames:
    """How a reader tells a card of ten hexadecimal digits, and whether it does so all the time."""

    encode: Callable[[str], bytes]
    repeats: bool


RDM6300 = Frames(encode_card_frame, repeats=True)
WIEGAND_34 = Frames(lambda card: wiegand.encode_line(card[2:]), repeats=False)
"""By its 32 bits, without the version byte."""


class CardReaderSimulator:
    """Presents cards at seeded times, ``pause_s`` (shortest, longest) apart, for ever.

    Ledger: before the first frame ``tap_begun`` with card and begun_ms; half a second after the
    last ``tap`` with the same, frames and ``heard``: the line was open at 9600 baud from the first
    frame until then.
    """

    def __init__(
        self,
        *,
        path: Path,
        cards: Sequence[str],
        ledger: Ledger,
        now_ms: NowMs,
        rng: random.Random,
        pause_s: tuple[float, float] = (0.5, 3.0),
        broken_frames: float = 0.0,
        frames: Frames = RDM6300,
    ) -> None:
        if not cards:
            raise ValueError("a simulated reader needs at least one card")
        self.link = PtyLink(path)
        self._cards = cards
        self._ledger = ledger
        self._now_ms = now_ms
        self._rng = rng
        self._pause_s = pause_s
        self._broken_frames = broken_frames
        self._frames = frames
        self._gone_at: dict[str, float] = {}

    async def run(self) -> Never:
        """Present cards for ever; its line is unplugged when it is cancelled."""
        loop = asyncio.get_running_loop()
        async with closing_line(self.link), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                await asyncio.sleep(self._rng.uniform(*self._pause_s))
                card = self._rng.choice(self._cards)
                away_until = self._gone_at.get(card, 0.0) + SAME_CARD_S
                if loop.time() < away_until:
                    continue
                await self._present(card, tasks)
                self._gone_at[card] = loop.time()
        raise AssertionError("a simulated reader never ends")

    async def _present(self, card: str, tasks: asyncio.TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._rng.uniform(*HOLD_S)
        line: dict[str, object] = {"card": card, "begun_ms": self._now_ms()}
        self._ledger.write("tap_begun", **line)
        opened, closings = self._is_listened_to(), self.link.closings
        intact = 0
        while True:
            frame = self._frames.encode(card)
            # A presentation without one intact frame would be no tap: the first is sound.
            if intact and self._rng.random() < self._broken_frames:
                frame = self._spoil(frame)
            else:
                intact += 1
            if self._is_listened_to():
                self.link.write(frame)
            await asyncio.sleep(REPEAT_S)
            # Judged after the pause: a machine that stood still took the card away meanwhile.
            if loop.time() >= until or not self._frames.repeats:
                break
        line["frames"] = intact
        tasks.create_task(self._record(line, closings, opened=opened))

    async def _record(self, line: dict[str, object], closings: int, *, opened: bool) -> None:
        await asyncio.sleep(HEARD_AFTER_S)
        heard = opened and self._is_listened_to() and self.link.closings == closings
        self._ledger.write("tap", **line, heard=heard)

    def _is_listened_to(self) -> bool:
        return self.link.is_open and self.link.baud == BAUD

    def _spoil(self, frame: bytes) -> bytes:
        spoilt = bytearray(frame)
        spoilt[self._rng.randrange(len(frame))] ^= 1 << self._rng.randrange(7)
        return bytes(spoilt)

    async def _listen(self) -> Never:
        # What is written to a reader has no meaning; read, it does not fill the line.
        while True:
            await self.link.read()
