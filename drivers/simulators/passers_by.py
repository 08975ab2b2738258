"""People who walk past a simulated camera now and then."""

import asyncio
import random
from typing import Never

from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_events import EventService

PAUSE_S = (3.0, 8.0)
LASTS_S = (1.0, 4.0)


class PassersBy:
    """Have the camera see motion and rest for ever. Ledger: ``motion`` with ``moves``."""

    def __init__(self, events: EventService, ledger: Ledger, rng: random.Random) -> None:
        self._events = events
        self._ledger = ledger
        self._rng = rng

    async def run(self) -> Never:
        while True:
            for moves, lasts_s in ((False, PAUSE_S), (True, LASTS_S)):
                self._ledger.write("motion", moves=moves)
                self._events.set_motion(moves)
                await asyncio.sleep(self._rng.uniform(*lasts_s))
