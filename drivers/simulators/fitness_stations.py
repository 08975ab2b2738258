"""Simulated stations of the physical fitness test behind a serial server: lines of JSON by TCP."""

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Never

from drivers.simulators.ledger import Ledger

EVERY_S = 1.0
UNREAD_BYTES_MAX = 16 * 1024
"""Who leaves more unread is hung up on."""
STATIONS = {
    "run_50m": (8.0, 12.0, "s"),
    "rope_skipping": (40.0, 160.0, "count"),
    "standing_jump": (110.0, 190.0, "cm"),
    "sit_and_reach": (-2.0, 16.0, "cm"),
}
"""Results of pupils of nine: lowest, highest, unit."""


class FitnessStations:
    """Speaks the lines of ``sports-lines-json`` to whoever is connected, a result a second.

    Ledger: ``result`` with station, card, value and ``heard``: how many were connected.
    """

    def __init__(self, cards: Sequence[str], ledger: Ledger, rng: random.Random) -> None:
        self._cards = cards
        self._ledger = ledger
        self._rng = rng
        self._listeners: set[asyncio.StreamWriter] = set()

    async def serve_tcp(self, host: str, port: int) -> Never:
        """Serve for ever; OSError when the address is not free."""
        server = await asyncio.start_server(self._keep, host, port)
        async with server:
            while True:
                await asyncio.sleep(EVERY_S)
                self._tell()
        raise AssertionError("simulated stations never end")

    def _tell(self) -> None:
        station = self._rng.choice(sorted(STATIONS))
        low, high, unit = STATIONS[station]
        card, value = self._rng.choice(self._cards), round(self._rng.uniform(low, high), 1)
        line = {"type": "result", "station": station, "wearer": card, "value": value, "unit": unit}
        for listener in self._listeners:
            if listener.transport.get_write_buffer_size() > UNREAD_BYTES_MAX:
                listener.transport.abort()  # its reader ends, and takes it off
            else:
                listener.write(json.dumps(line).encode() + b"\n")
        heard = len(self._listeners)
        self._ledger.write("result", station=station, card=card, value=value, heard=heard)

    async def _keep(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # What is written to a gateway has no meaning; reading it notices when the box hangs up.
        self._listeners.add(writer)
        try:
            while await reader.read(1024):
                pass
        except ConnectionError:
            pass
        finally:
            self._listeners.discard(writer)
            writer.close()
