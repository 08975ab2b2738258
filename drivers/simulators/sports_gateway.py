"""A simulated gateway of wristbands: each band tells its heart rate once a second, as lines."""

import asyncio
import random
from pathlib import Path
from typing import Never

from drivers.codecs.text_lines import nmea_sum
from drivers.entities import NowMs
from drivers.simulators.ledger import Ledger
from drivers.simulators.pty_link import PtyLink, closing_line

BAUD = 9600
EVERY_S = 1.0
RATES = (85, 175)


class SportsGatewaySimulator:
    """Speaks the lines of ``sports-lines-nmea`` for ever; a rate wanders a little each second.

    Ledger: ``beat`` with band, bpm and ``heard``: the line was open at 9600 baud.
    """

    def __init__(
        self, *, path: Path, bands: int, ledger: Ledger, now_ms: NowMs, rng: random.Random
    ) -> None:
        self.link = PtyLink(path)
        self._ledger = ledger
        self._now_ms = now_ms
        self._rng = rng
        self._rates = {str(band): rng.randrange(*RATES) for band in range(1, bands + 1)}

    async def run(self) -> Never:
        """Tell rates for ever; its line is unplugged when it is cancelled."""
        async with closing_line(self.link), asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            while True:
                await asyncio.sleep(EVERY_S)
                for band in self._rates:
                    self._tell(band)
        raise AssertionError("a simulated gateway never ends")

    def _tell(self, band: str) -> None:
        low, high = RATES
        rate = min(high, max(low, self._rates[band] + self._rng.randint(-4, 4)))
        self._rates[band] = rate
        body = f"SNHR,{band},{rate},"
        heard = self.link.is_open and self.link.baud == BAUD
        if heard:
            self.link.write(f"${body}*{nmea_sum(body)}\r\n".encode())
        self._ledger.write("beat", band=band, bpm=rate, begun_ms=self._now_ms(), heard=heard)

    async def _listen(self) -> Never:
        # What is written to a gateway has no meaning; read, it does not fill the line.
        while True:
            await self.link.read()
