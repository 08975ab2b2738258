"""A simulated Hikvision terminal at a door: its people swipe now and then, and it tells the box."""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from typing import Never

from drivers.codecs.card_numbers import canonical_card
from drivers.simulators.isapi_terminal import Event, IsapiSimulator
from drivers.simulators.ledger import Ledger

PASSWORD = "simulated-door-1"  # noqa: S105 - of a simulated terminal
PAUSE_S = (2.0, 6.0)
RETRY_S = 1.0


class DoorTerminal:
    """Pushes each swipe until the box has taken it, the oldest first, for ever.

    Ledger: ``punch`` with the card when somebody swipes, ``punched`` with the same once the box has
    acknowledged it.
    """

    def __init__(
        self, terminal: IsapiSimulator, cards: Sequence[str], ledger: Ledger, rng: random.Random
    ) -> None:
        self._terminal = terminal
        self._cards = cards
        self._ledger = ledger
        self._rng = rng
        self._waiting: deque[Event] = deque()
        self._some = asyncio.Event()

    async def run(self) -> Never:
        await self._terminal.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._push())
                while True:
                    await asyncio.sleep(self._rng.uniform(*PAUSE_S))
                    card = canonical_card(self._rng.choice(self._cards))
                    event = self._terminal.swipe(card)
                    self._ledger.write("punch", card=event.card)
                    self._waiting.append(event)
                    self._some.set()
        finally:
            await self._terminal.stop()
        raise AssertionError("a simulated terminal never ends")

    async def _push(self) -> Never:
        while True:
            await self._some.wait()
            event = self._waiting[0]
            if not await self._terminal.push(event):
                await asyncio.sleep(RETRY_S)
                continue
            self._ledger.write("punched", card=event.card)
            self._waiting.popleft()
            if not self._waiting:
                self._some.clear()
