"""A class card's screen without glass: pairs itself, and shows an emergency as the page would."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec

from edge.demo.browser import read_page
from edge.errors import BoxSetupError

CODE_S_MAX = 20.0
SHOWN_S_MAX = 20.0
_LOOK_EVERY_S = 0.3
_CODE = re.compile(r'class="code"[^>]*>([0-9]{3}) ([0-9]{3})<')
_MESSAGE = re.compile(r'class="emergency"[^>]*data-message="([^"]+)"')


class _Part(msgspec.Struct, frozen=True):
    """A section of the page with its new content."""

    id: str
    html: str


class CardScreen:
    """One screen at a door."""

    def __init__(self, pages: aiohttp.ClientSession) -> None:
        self._pages = pages

    async def show_code(self) -> str:
        """Return the code it shows; the person enters it at the office's page."""
        found = _CODE.search(await read_page(self._pages, "/class-card/pair"))
        if found is None:
            raise BoxSetupError("the class card shows no code to pair it by")
        return f"{found[1]}{found[2]}"

    async def become_paired(self) -> None:
        """Return when it is its room's card; BoxSetupError when nobody entered its code."""
        try:
            async with asyncio.timeout(CODE_S_MAX):
                while True:
                    async with self._pages.get("/class-card/pair") as answer:
                        if answer.url.path == "/class-card":
                            return
                    await asyncio.sleep(_LOOK_EVERY_S)
        except TimeoutError as error:
            raise BoxSetupError("the class card was not paired in time") from error

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["CardStream"]:
        """Follow what its page is told."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SHOWN_S_MAX)
        async with self._pages.get("/class-card/stream", timeout=timeout) as answer:
            yield CardStream(answer)

    async def paint(self, message: str) -> None:
        """Say that an emergency is on the glass."""
        async with self._pages.post("/class-card/painted", json={"message": message}) as answer:
            if answer.status != 200:  # noqa: PLR2004 - HTTP's OK
                raise BoxSetupError(f"the box does not note what a class card painted: {answer}")


class CardStream:
    """What a page is told while it is open."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def covered(self) -> str:
        """Return the name of the emergency that covers the card, once one does."""
        while True:
            found = _MESSAGE.search(await self._next())
            if found is not None:
                return found[1]

    async def uncovered(self) -> None:
        """Return once no emergency covers the card."""
        while _MESSAGE.search(await self._next()) is not None:
            continue

    async def _next(self) -> str:
        """Return the next content of the page's emergency part."""
        try:
            async with asyncio.timeout(SHOWN_S_MAX):
                async for line in self._answer.content:
                    if not line.startswith(b"data: {"):
                        continue
                    part = msgspec.json.decode(line.removeprefix(b"data: "), type=_Part)
                    if part.id == "emergency":
                        return part.html
        except TimeoutError as error:
            raise BoxSetupError("the class card was told nothing of an emergency") from error
        raise BoxSetupError("the box closed the class card's stream")
