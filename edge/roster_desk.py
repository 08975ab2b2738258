"""Takes rosters in: shows what would change, and changes it when a person says so."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Never

import msgspec
from aiohttp import web

from edge.box_store import BoxStore
from edge.errors import BoxSetupError
from edge.roster import Difference, Roster
from edge.roster_upload import Upload, read_upload, verified_by
from sync.rosters.offer import Offer, offer_stamp, read_offer
from sync.rosters.sealed import MAGIC
from sync.writer import Writer

WHO = "command line"
_LAST = "roster of the district"
"""Under this name the store remembers when the last one taken was sealed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A roster and what it would change here. ``last_ms`` is that of the last one taken, if any."""

    kind: str
    made_ms: int | None
    last_ms: int | None
    is_older: bool
    pupils: int
    staff: int
    encodings: dict[str, str]
    left_out: tuple[str, ...]
    difference: Difference


class RosterDesk:
    """Answers the command line; sealed files are the district's, all others the school's own."""

    def __init__(
        self, store: BoxStore, roster: Roster, writer: Writer, changed: Callable[[], None]
    ) -> None:
        """Have ``changed`` hear when another roster is proposed, or none any more."""
        self._store = store
        self._roster = roster
        self._writer = writer
        self._changed = changed
        self._wake = asyncio.Event()
        self._stamp = (0, 0)
        self._offer: Offer | None = None

    def add_routes(self, app: web.Application) -> None:
        app.router.add_post("/roster", self._take)
        app.router.add_post("/roster/look", self._look)

    async def run(self) -> Never:
        """Take up what the district proposes over the line, until cancelled."""
        while True:
            self._wake.clear()
            await self._refresh()
            await self._wake.wait()

    def note_offer(self) -> None:
        """Look again: rows of an offer have come."""
        self._wake.set()

    def offered(self) -> int | None:
        """Return how many pupils the district proposes, None if it proposes nothing new."""
        return None if self._offer is None else self._offer.header.pupils

    async def look(self, content: bytes) -> Seen:
        """Return what a roster would change; raises BoxSetupError for what cannot be taken."""
        upload = await self._read(content)
        difference = await self._writer.call(self._roster.compare, upload.people)
        return await self._seen(upload, difference)

    async def take(self, content: bytes, who: str, *, even_older: bool) -> Difference:
        """Take a roster in.

        Raises BoxSetupError for what cannot be taken, and for a sealed one older than the last
        unless a person wants it.
        """
        upload = await self._read(content)
        last_ms = await self._last_ms()
        if _is_older(upload, last_ms) and not even_older:
            raise BoxSetupError(
                "this roster was sealed before the one that was taken last; fetch the newer one,"
                " or say --older"
            )
        difference = await self._writer.call(self._roster.take, upload.people, who)
        if upload.made_ms is not None:
            await self._writer.call(self._store.node.remember, _LAST, upload.made_ms)
            await self._refresh()
        return difference

    async def _read(self, content: bytes) -> Upload:
        # The directory that knows the hub's keys is for the store's thread; files are not.
        identity, node = self._store.identity, self._store.node
        if content.startswith(MAGIC):
            return await self._writer.call(read_upload, content, identity, verified_by(node))
        return await asyncio.to_thread(read_upload, content, identity, verified_by(node))

    async def _refresh(self) -> None:
        if await self._writer.call(self._take_up):
            self._changed()

    def _take_up(self) -> bool:
        """Hold the offer that is whole and newer than what was taken; tell whether it changed."""
        reader, school = self._store.reader, self._store.identity.school
        before, self._offer = self._offer, None
        made_ms, _ = stamp = offer_stamp(reader, school)
        if made_ms > self._store.node.remembered(_LAST):
            is_known = before is not None and stamp == self._stamp
            self._offer = before if is_known else read_offer(reader, school)
        self._stamp = stamp
        return self._offer is not before

    async def _content(self, request: web.Request) -> bytes:
        """Return the roster that was brought, or the one proposed when none was."""
        content = await request.read()
        if content or request.query.get("offered") != "1":
            return content
        if self._offer is None:
            raise BoxSetupError("the district proposes no roster that is newer; name a file")
        return self._offer.content

    async def _last_ms(self) -> int | None:
        last_ms = await self._writer.call(self._store.node.remembered, _LAST)
        return None if last_ms < 0 else last_ms

    async def _seen(self, upload: Upload, difference: Difference) -> Seen:
        last_ms = await self._last_ms()
        return Seen(
            kind=upload.kind,
            made_ms=upload.made_ms,
            last_ms=last_ms,
            is_older=_is_older(upload, last_ms),
            pupils=len(upload.people.pupils),
            staff=len(upload.people.staff),
            encodings=dict(upload.encodings or {}),
            left_out=upload.left_out,
            difference=difference,
        )

    async def _look(self, request: web.Request) -> web.Response:
        return _json(await self.look(await self._content(request)))

    async def _take(self, request: web.Request) -> web.Response:
        even_older = request.query.get("older") == "1"
        content = await self._content(request)
        return _json(await self.take(content, WHO, even_older=even_older))


def _is_older(upload: Upload, last_ms: int | None) -> bool:
    return upload.made_ms is not None and last_ms is not None and upload.made_ms < last_ms


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
