"""A contact board at whose first input is a button, and at whose second a door."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Never

from drivers.simulators.ledger import Ledger
from drivers.simulators.profile_unit import ProfileUnit


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """One input: it reads ``rest`` but for ``hold_s``, ``pause_s`` (shortest, longest) apart."""

    point: str
    rest: str
    moved: str
    pause_s: tuple[float, float]
    hold_s: float


BUTTON = Contact(point="input_1", rest="open", moved="closed", pause_s=(5.0, 9.0), hold_s=1.5)
DOOR = Contact(point="input_2", rest="closed", moved="open", pause_s=(4.0, 8.0), hold_s=2.5)


class ContactBoard:
    """Somebody presses the button of a unit now and then, somebody goes through the door, for ever.

    Ledger: ``moved`` with the input's point, when it is at rest again.
    """

    def __init__(
        self,
        unit: ProfileUnit,
        ledger: Ledger,
        rng: random.Random,
        contacts: Sequence[Contact] = (BUTTON, DOOR),
    ) -> None:
        self._unit = unit
        self._ledger = ledger
        self._rng = rng
        self._contacts = contacts
        for point in unit.profile.points:
            if point.capability == "input":
                unit.set(point.id, "open")
        for contact in contacts:
            unit.set(contact.point, contact.rest)

    async def run(self) -> Never:
        async with asyncio.TaskGroup() as tasks:
            for contact in self._contacts:
                tasks.create_task(self._move(contact))
        raise AssertionError("contacts move for ever")

    async def _move(self, contact: Contact) -> Never:
        while True:
            await asyncio.sleep(self._rng.uniform(*contact.pause_s))
            self._unit.set(contact.point, contact.moved)
            await asyncio.sleep(contact.hold_s)
            self._unit.set(contact.point, contact.rest)
            self._ledger.write("moved", point=contact.point)
