"""Relays and inputs on the network, as a box drives them by Modbus TCP."""

from typing import Never

from drivers.simulators.ledger import Ledger
from drivers.simulators.profile_device import Listen, ProfileDevice
from drivers.simulators.profile_speakers import Exchange
from firmware_profiles.model import Profile

MODULES = ("io-moxa-e1214", "relay-waveshare-eth-8")
"""What switches a simulated greenhouse's lamps: one of these."""
MODULE_PORT = 5020
"""Modbus TCP's own, 502, may be opened by root alone."""


class RelayModule:
    """A module made of its profile, all of whose relays are off when it is plugged in.

    Ledger: ``label`` with the model, which is printed on it and which it tells nobody; ``relay``
    with point and word when an answer of its own first shows a relay as it is now.
    """

    def __init__(self, profile: Profile, host: str, port: int, ledger: Ledger) -> None:
        relays = [point.id for point in profile.points if point.capability == "relay"]
        self._shown = dict.fromkeys(relays, "off")
        self._ledger = ledger
        listen = Listen(scheme="modbus", host=host, port=port)
        self._device = ProfileDevice(profile, listen, self._observe, held=self._shown)
        ledger.write("label", model=profile.id)

    async def run(self) -> Never:
        """Serve for ever; OSError when the address is not free."""
        await self._device.run()
        raise AssertionError("a simulated module never ends")

    def _observe(self, exchange: Exchange) -> None:
        for point, word in exchange.values.items():
            if point in self._shown and word != self._shown[point]:
                self._shown[point] = str(word)
                self._ledger.write("relay", point=point, word=word)
