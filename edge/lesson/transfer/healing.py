"""What a power cut or a full disk took from the flagship's own takes, back from the hub.

Fragments leave live before they are durable, so the hub may hold what is lost here: signatures,
and fragments that they cover. Both are taken back, each proven by this box's own signature; then
the take is signed to its end. Whatever nobody's signature covers is given up everywhere: this box
does not vouch for bytes that it no longer knows.
"""

import asyncio
import logging
from collections.abc import Collection, Iterator

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.lesson.transfer.hub_link import HubRoute
from edge.lesson.transfer.object_fetch import fetch_object
from edge.lesson.transfer.recording import close_take
from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_exchange import Holdings, TakeHoldings, overlap
from sync.lessons.fragment_log import (
    RECORD_BYTES_MAX,
    SIGNATURES,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    parse_record,
)
from sync.lessons.fragment_objects import object_path
from sync.lessons.fragment_sealing import verify_group
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore

_log = logging.getLogger(__name__)

FETCH_S_MAX = 10.0
FETCHES_MAX = 64
"""Fragments taken back at a time: live and its holes go on beside."""
_Name = tuple[TakeId, Stream, int]


class Healing:
    """Makes the takes that are not open whole, and signs those that were left open."""

    def __init__(
        self,
        lesson: LessonId,
        shelf: LessonShelf,
        route: HubRoute,
        signing: Ed25519PrivateKey,
    ) -> None:
        self._lesson = lesson
        self._shelf = shelf
        self._route = route
        self._signing = signing
        self._gone: set[_Name] = set()

    def is_over(self, holdings: Holdings, opened: Collection[TakeId]) -> bool:
        """Tell whether every take but those ``opened`` is final, and has what can be had."""
        return not any(
            not store.final or any(self._lost(store, holdings)) for store in self._closed(opened)
        )

    async def heal(self, holdings: Holdings, opened: Collection[TakeId]) -> None:
        """Take back some of what is lost, and sign what then is whole; more at the next call."""
        for store in self._closed(opened):
            try:
                if await self._take_back(store, holdings):
                    close_take(store, self._signing)
            except (FragmentStoreError, aiohttp.ClientError, OSError) as error:  # and TimeoutError
                # What is lost has time: a line too poor for it still carries the lesson.
                _log.warning("lesson %s is not healed: %s", self._lesson, error)
                return

    def _closed(self, opened: Collection[TakeId]) -> list[TakeStore]:
        return [each for each in self._shelf.takes(self._lesson) if each.take not in opened]

    async def _take_back(self, store: TakeStore, holdings: Holdings) -> bool:
        """Fetch at most ``FETCHES_MAX`` records; tell whether nothing more is to be had."""
        for _ in range(FETCHES_MAX):
            # Looked at anew each time: a signature that came back names what it covers.
            lost = next(self._lost(store, holdings), None)
            if lost is None:
                return True
            stream, number = lost
            record = await self._fetch(store.take, stream, number)
            if record is None or not self._keep(store, record):
                self._gone.add((store.take, stream, number))
        return False

    def _lost(self, store: TakeStore, holdings: Holdings) -> Iterator[tuple[Stream, int]]:
        """Yield what the hub holds, is proven and not here: signatures first."""
        held = next((each for each in holdings.takes if each.id == store.take), None)
        if held is None:
            return
        for stream in (SIGNATURES, *store.coverage.streams()):
            for number in _missing(store, stream, held):
                if (store.take, stream, number) not in self._gone:
                    yield stream, number

    async def _fetch(self, take: TakeId, stream: Stream, number: int) -> Record | None:
        """Return a record as the hub has it; None when it has it no longer, or something else."""
        url = self._route.url + object_path(self._lesson, take, stream, (number, number))
        try:
            async with asyncio.timeout(FETCH_S_MAX):
                record = parse_record(
                    await fetch_object(self._route.session, url, RECORD_BYTES_MAX)
                )
        except MalformedError:
            return None
        header = record.header
        is_it = (header.lesson, header.take, header.stream, header.number) == (
            self._lesson,
            take,
            stream,
            number,
        )
        return record if is_it else None

    def _keep(self, store: TakeStore, record: Record) -> bool:
        try:
            if record.header.kind is Kind.SIGNATURE:
                verify_group(record, self._signing.public_key())
            return store.append(record)
        except (ForgedError, MalformedError) as error:
            _log.warning("lesson %s: the hub's copy is wrong: %s", self._lesson, error)
            return False


def _missing(store: TakeStore, stream: Stream, held: TakeHoldings) -> Iterator[int]:
    have = next((one.have for one in held.streams if one.stream == stream), None)
    if not have:
        return
    head = have[-1][1] if stream == SIGNATURES else store.coverage.head(stream)
    for first, last in overlap(store.index(stream).present.missing(head), have):
        for number in range(first, last + 1):
            if stream == SIGNATURES or store.coverage.find(stream, number) is not None:
                yield number
