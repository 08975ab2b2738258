"""Sirens and chimes: kept as what stands wants them, and silent when nobody keeps them on."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field

from drivers.entities import DeviceId, Outcome
from drivers.errors import DriverError, SetupError
from edge.devices.fleet import Fleet
from edge.safety.circuits import Circuit

_log = logging.getLogger(__name__)

HOLD_S = 30.0
"""An output that the box does not ask for again is made safe by its bus after this."""
RENEW_S = 10.0
RETRY_S = 3.0
ORDER_S_MAX = 10.0

Told = Callable[[Circuit, bool, str], Awaitable[None]]
"""Hears that an output was switched (True: on) with an empty text, or why it was not."""


@dataclass(slots=True)
class _Output:
    is_on: bool = False
    renewed_at: float = 0.0
    retry_at: float = 0.0
    failure: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


class Outputs:
    """Switches the outputs; each on its own, so that a dead one keeps none from sounding."""

    def __init__(self, fleet: Fleet, told: Told) -> None:
        self._fleet = fleet
        self._told = told
        self._outputs: dict[str, _Output] = {}

    def check(self, device: DeviceId, command: str, active: str) -> None:
        """Raise SetupError when a command cannot drive a siren: two words and an interlock."""
        self._off_word(device, command, active)
        self._fleet.buses.hold(device, command, HOLD_S)

    def failure(self, circuit: Circuit) -> str:
        """Return why an output could not be switched when it was to be, empty when it could."""
        output = self._outputs.get(circuit.circuit)
        return output.failure if output else ""

    def is_on(self, circuit: Circuit) -> bool:
        output = self._outputs.get(circuit.circuit)
        return output is not None and output.is_on

    def note_lost(self, circuits: Iterable[Circuit]) -> None:
        """Take that the outputs' device is away: it makes them safe, and is told anew when back."""
        for circuit in circuits:
            self._of(circuit).is_on = False

    def forget(self, name: str) -> None:
        """Know no more of an output: what is still on is not held, and is made safe."""
        self._outputs.pop(name, None)

    def settle(
        self, circuits: Iterable[Circuit], wanted: Collection[str], tasks: asyncio.TaskGroup
    ) -> None:
        """Begin to make each circuit of ``wanted`` sound and every other one silent.

        One that is being told already is left for the next time.
        """
        for circuit in circuits:
            if not self._of(circuit).turn.locked():
                tasks.create_task(self.settle_one(circuit, is_wanted=circuit.circuit in wanted))

    async def settle_one(self, circuit: Circuit, *, is_wanted: bool) -> None:
        """Make one output sound or be silent; what fails is tried again after a while."""
        output = self._of(circuit)
        async with output.turn:
            now = asyncio.get_running_loop().time()
            if output.is_on is is_wanted:
                if is_wanted and now >= output.renewed_at + RENEW_S:
                    self._hold(circuit, output, now)
                return
            if now < output.retry_at:
                return
            failure = await self._switch(circuit, is_on=is_wanted)
            now = asyncio.get_running_loop().time()
            output.retry_at = now + RETRY_S if failure else 0.0
            is_news = failure != output.failure
            output.failure = failure
            if not failure:
                output.is_on = is_wanted
                if is_wanted:
                    self._hold(circuit, output, now)
            if not failure or is_news:
                await self._told(circuit, is_wanted, failure)

    def _of(self, circuit: Circuit) -> _Output:
        return self._outputs.setdefault(circuit.circuit, _Output())

    def _hold(self, circuit: Circuit, output: _Output, now: float) -> None:
        output.renewed_at = now
        try:
            self._fleet.buses.hold(circuit.device, circuit.point, HOLD_S)
        except DriverError as error:
            _log.warning("%s cannot be held on: %s", circuit.name, error)

    async def _switch(self, circuit: Circuit, *, is_on: bool) -> str:
        try:
            word = (
                circuit.active
                if is_on
                else self._off_word(circuit.device, circuit.point, circuit.active)
            )
            async with asyncio.timeout(ORDER_S_MAX):
                result = await self._fleet.command(circuit.device, circuit.point, word)
        except TimeoutError:
            return f"no answer within {ORDER_S_MAX:g} s"
        except DriverError as error:
            return str(error)
        return (result.detail or "it failed") if result.outcome is Outcome.FAILED else ""

    def _off_word(self, device: DeviceId, command: str, active: str) -> str:
        if device not in self._fleet.devices:
            raise SetupError(f"{device} is not adopted; adopt it again, or choose another output")
        choices = self._fleet.commands_of(device)
        words = next((each.arguments for each in choices if each.command == command), ())
        others = [word for word in words if word != active]
        if active not in words or len(others) != 1:
            raise SetupError(f"{command} of {device} is no output with {active} and one other word")
        return others[0]
