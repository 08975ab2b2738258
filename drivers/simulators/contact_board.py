"""A contact board whose first button somebody presses now and then."""

import asyncio
import random
from typing import Never

from drivers.simulators.ledger import Ledger
from drivers.simulators.profile_unit import ProfileUnit

PAUSE_S = (5.0, 9.0)
HOLD_S = 1.5
BUTTON = "input_1"


class PressedButton:
    """Presses the button of a unit for ever. Ledger: ``press`` when it is let go."""

    def __init__(self, unit: ProfileUnit, ledger: Ledger, rng: random.Random) -> None:
        self._unit = unit
        self._ledger = ledger
        self._rng = rng
        for point in unit.profile.points:
            if point.capability == "input":
                unit.set(point.id, "open")

    async def run(self) -> Never:
        while True:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            self._unit.set(BUTTON, "closed")
            await asyncio.sleep(HOLD_S)
            self._unit.set(BUTTON, "open")
            self._ledger.write("press", button=BUTTON)
