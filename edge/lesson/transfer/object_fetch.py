"""Catch-up by HTTP objects from the cache that a hub names, in place of its own link.

Many schools miss the same minutes: what one of them fetched, the cache has for the others. It is
trusted with nothing: what comes is a record like any other, to be opened and proven. What fails
is asked of the hub as before.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Never

import aiohttp

from edge.lesson.transfer.hub_link import HubRoute
from sync.errors import MalformedError
from sync.lessons.fragment_exchange import Holdings, Want, overlap, spans_of
from sync.lessons.fragment_index import Span
from sync.lessons.fragment_log import LessonId, Stream, TakeId, parse_take_id
from sync.lessons.fragment_objects import BATCH_BYTES_MAX, batches, object_path, parse_batch

_log = logging.getLogger(__name__)

WORTH_RECORDS = 32
"""A batch of which less is wanted is not fetched: the rest would be bytes for nothing."""
QUEUED_MAX = 32
FETCH_S_MAX = 20.0
REST_S = 60.0
"""For so long nothing is asked of a cache that failed."""
_READ_BYTES = 64 * 1024

_Batch = tuple[TakeId, Stream, Span]


class ObjectFetch:
    """Fetches one batch after the other; :meth:`run` is its task."""

    def __init__(
        self, route: HubRoute, lesson: LessonId, on_record: Callable[[bytes], None]
    ) -> None:
        """``on_record`` hears the bytes of each record that came."""
        self._route = route
        self._lesson = lesson
        self._on_record = on_record
        self._url = ""
        self._rest_until_s = 0.0
        self._queue: asyncio.Queue[_Batch] = asyncio.Queue(QUEUED_MAX)

    def take(self, wants: Sequence[Want], holdings: Holdings | None) -> list[Want]:
        """Queue what is worth an object, and return what is to be asked of the hub itself."""
        url = "" if holdings is None else holdings.objects
        scheme = self._route.url.partition(":")[0]
        if holdings is None or not url.startswith(f"{scheme}://") or self._is_resting:
            return list(wants)
        self._url = url
        return [rest for want in wants for rest in self._left_of(want, holdings)]

    async def run(self) -> Never:
        """Fetch what is queued until cancelled."""
        while True:
            take, stream, span = await self._queue.get()
            if self._is_resting:
                continue  # what was asked for and does not come is asked of the hub
            try:
                async with asyncio.timeout(FETCH_S_MAX):
                    url = self._url + object_path(self._lesson, take, stream, span)
                    body = await fetch_object(self._route.session, url, BATCH_BYTES_MAX)
                records = parse_batch(body)
            except (aiohttp.ClientError, MalformedError, OSError) as error:  # and TimeoutError
                _log.warning("the lessons' cache %s: %s; the hub is asked", self._url, error)
                self._rest_until_s = monotonic() + REST_S
                continue
            for record in records:
                self._on_record(record.wire)
            await asyncio.sleep(0)

    @property
    def _is_resting(self) -> bool:
        return monotonic() < self._rest_until_s

    def _left_of(self, want: Want, holdings: Holdings) -> list[Want]:
        take = parse_take_id(want.take)
        held = spans_of(holdings, take, want.stream)
        left: list[Span] = []
        for first, last in batches(want.first, want.last):
            wanted = (max(first, want.first), min(last, want.last))
            is_whole = overlap([(first, last)], held) == [(first, last)]
            is_worth = wanted[1] - wanted[0] + 1 >= WORTH_RECORDS
            if is_whole and is_worth and not self._queue.full():
                self._queue.put_nowait((take, want.stream, (first, last)))
            elif left and left[-1][1] == wanted[0] - 1:
                left[-1] = (left[-1][0], wanted[1])
            else:
                left.append(wanted)
        return [
            Want(take=want.take, kind=want.kind, track=want.track, first=first, last=last)
            for first, last in left
        ]


async def fetch_object(session: aiohttp.ClientSession, url: str, bytes_max: int) -> bytes:
    """Return an object; raises MalformedError for anything else or too much, and aiohttp's."""
    async with session.get(url, allow_redirects=False) as answer:
        if answer.status != 200:  # noqa: PLR2004 - HTTP's own word for all is well
            raise MalformedError(f"answers {answer.status} to {answer.url.path}")
        body = bytearray()
        async for piece in answer.content.iter_chunked(_READ_BYTES):
            body += piece
            if len(body) > bytes_max:
                raise MalformedError(f"sends more than fits an object for {answer.url.path}")
        return bytes(body)
