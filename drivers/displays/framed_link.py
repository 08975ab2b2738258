"""A display spoken to in frames, on a serial line or a TCP connection."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Self

from drivers.codecs.display_framing import Framing
from drivers.codecs.ifp_ascii import IfpFraming
from drivers.codecs.lg_serial import LgFraming
from drivers.codecs.nec_display import NecDisplayFraming
from drivers.codecs.nec_projector import NecProjectorFraming
from drivers.codecs.samsung_mdc import MdcFraming
from drivers.displays.display_link import Answer, Refusal
from drivers.errors import SetupError, UnreachableError
from drivers.transports.byte_port import BytePort
from drivers.transports.port_address import PortAddress, open_port
from drivers.transports.serial_address import line_settings
from firmware_profiles.model import Link, LinkType, Profile

Reopen = Callable[[], Awaitable[BytePort]]

ATTEMPTS = 3
SETTLE_S_MAX = 2.0
FRAMINGS: Mapping[LinkType, Callable[[int], Framing]] = MappingProxyType(
    {
        "samsung_mdc": MdcFraming,
        "ifp_ascii": IfpFraming,
        "lg_serial": LgFraming,
        "nec_display": NecDisplayFraming,
        "nec_projector": NecProjectorFraming,
    }
)
"""How a display with a given id frames, by link type."""


class FramedLink:
    """An open port on which one display answers.

    Commands set what is to be, so a question that got no sound answer is asked again, after the
    line has been quiet; a late answer to another question is passed over.
    """

    def __init__(
        self, port: BytePort, framing: Framing, link: Link, reopen: Reopen | None = None
    ) -> None:
        """Speak over an open port; ``reopen`` it when the display hung up between questions."""
        self._port = port
        self._reopen = reopen
        self._framing = framing
        self._link = link
        self._unsettled = True

    @classmethod
    async def open(cls, address: PortAddress, profile: Profile) -> Self:
        """Open the port at an address; SetupError or UnreachableError as its kind says."""
        link = profile.links[0]
        settings = line_settings(profile, link.type, address.baud or next(iter(link.baud), 9600))
        unit = address.unit if address.unit is not None else link.unit
        framing = FRAMINGS[link.type](1 if unit is None else unit)
        open_again = partial(open_port, address, settings)
        hangs_up = "closes_idle_link" in profile.quirk_ids
        return cls(await open_again(), framing, link, open_again if hangs_up else None)

    @property
    def source(self) -> str:
        return f"{self._link.type} {self._port.place}"

    async def ask(self, question: str) -> Answer:
        frame = self._framing.encode_question(question)
        for _ in range(ATTEMPTS):
            await self._send(frame)
            answer = await self._hear(question)
            if answer is not None:
                return answer
            self._unsettled = True
        raise UnreachableError(
            f"{self._port.place}: no answer to {ATTEMPTS} questions; check the display's power,"
            " cable and id, and whether its menu allows external control"
        )

    async def close(self) -> None:
        self._port.close()

    async def _send(self, frame: bytes) -> None:
        try:
            await self._settle()
            await self._port.write(frame)
        except UnreachableError:
            if self._reopen is None:
                raise  # the display went: it may have forgotten what it was told
            self._port.close()
            self._port = await self._reopen()
            await self._port.write(frame)

    async def _settle(self) -> None:
        """Pause between questions; after an unanswered one, until the line is quiet."""
        await asyncio.sleep(self._link.gap_ms / 1000)
        quiet_s = self._link.quiet_ms / 1000 if self._unsettled else 0.0
        loop = asyncio.get_running_loop()
        deadline = loop.time() + SETTLE_S_MAX
        while await self._port.read(quiet_s) and loop.time() < deadline:
            continue
        self._framing.clear()
        self._unsettled = False

    async def _hear(self, question: str) -> Answer | None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._link.timeout_ms / 1000
        while (remaining_s := deadline - loop.time()) > 0:
            for text in self._framing.receive_answers(await self._port.read(remaining_s)):
                if self._framing.fits(question, text):
                    return self._judged(text)
        return None

    def _judged(self, text: str) -> Answer:
        if lacking := self._framing.lacks(text):
            return Answer(text=text, refusal=Refusal.LACKING, reason=lacking)
        if refused := self._framing.refuses(text):
            return Answer(text=text, refusal=Refusal.BUSY, reason=refused)
        return Answer(text=text)


def check_unit(address: PortAddress, link: Link) -> None:
    """Raise SetupError for an id by which no single display answers."""
    highest = {"ifp_ascii": 98, "nec_display": 100}.get(link.type, 247)
    if address.unit is not None and not 1 <= address.unit <= highest:
        raise SetupError(f"{address} names unit {address.unit}; displays are 1 to {highest}")
