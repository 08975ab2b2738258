"""Tries the way to the hub before a lesson: a bounded transfer over the lesson's own road."""

import asyncio
from time import monotonic

import aiohttp

from edge.lesson.preparing.preflight import LineFacts
from edge.lesson.transfer.hub_link import HubRoute
from edge.pages.box_view import LessonRole
from sync.lessons.fragment_log import LessonId

TRIAL_BYTES = 256 * 1024
TRIAL_S_MAX = 6.0
_CHUNK_BYTES = 16 * 1024
_BITS = 8


async def try_line(route: HubRoute, lesson: LessonId, role: LessonRole, noise: bytes) -> LineFacts:
    """Send what a flagship would send, or take what a receiver would take, for at most 6 s.

    ``noise`` is ``TRIAL_BYTES`` that nothing on the way can pack. What is told is at least what the
    line carries: a short transfer ends before a long line has found its pace.
    """
    url = f"{route.url}/lessons/{lesson}/line"
    moved = _Moved()
    try:
        if role is LessonRole.FLAGSHIP:
            await _send(route, url, noise, moved)
        else:
            await _take(route, url, moved)
    except TimeoutError:
        if not moved.count:
            return LineFacts(fault=f"The hub did not answer within {TRIAL_S_MAX:.0f} s.")
    except aiohttp.ClientResponseError as error:
        return LineFacts(fault=f"The hub refuses the trial of the line ({error.status}).")
    except (aiohttp.ClientError, OSError) as error:
        return LineFacts(fault=f"The hub cannot be reached: {error}")
    return LineFacts(bits_a_s=round(moved.count * _BITS / max(moved.took_s, 0.001)))


class _Moved:
    def __init__(self) -> None:
        self._began_s = self._last_s = monotonic()
        self.count = 0

    def note(self, count: int) -> None:
        self.count += count
        self._last_s = monotonic()

    @property
    def took_s(self) -> float:
        return self._last_s - self._began_s


async def _take(route: HubRoute, url: str, moved: _Moved) -> None:
    async with (
        asyncio.timeout(TRIAL_S_MAX),
        route.session.get(url, raise_for_status=True) as answer,
    ):
        async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
            moved.note(len(chunk))
            if moved.count >= TRIAL_BYTES:
                return


async def _send(route: HubRoute, url: str, noise: bytes, moved: _Moved) -> None:
    """Post the noise in steps, each answered by the hub: what it took is known, not guessed."""
    async with asyncio.timeout(TRIAL_S_MAX):
        for at in range(0, TRIAL_BYTES, TRIAL_BYTES // 2):
            part = noise[at : at + TRIAL_BYTES // 2]
            async with route.session.post(url, data=part, raise_for_status=True) as answer:
                await answer.read()
            moved.note(len(part))
