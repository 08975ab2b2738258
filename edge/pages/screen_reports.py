"""What classroom pages say of their decoding: frames, stalls, how far behind they play.

Nobody signs in to a classroom page. So it is heard from the school's own network alone, seldom from
each address, and only counted: it decides nothing but which hop a lesson's trouble is put down to.
"""

import time
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import web

from edge.lesson.evidence.hop_quality import ScreenReport
from edge.pages.access import address_of, require_lan
from edge.pages.actions import ActionError
from edge.pages.box_view import BoxView
from edge.pages.json_wishes import decode_wish
from provisioning.posted_form import read_body

APART_S = 4.0
ADDRESSES_MAX = 1024
REPORT_BYTES_MAX = 1024


class ScreenReports:
    def __init__(self, view: BoxView, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._view = view
        self._monotonic_s = monotonic_s
        self._heard_s: OrderedDict[tuple[str, str], float] = OrderedDict()

    def routes(self) -> list[web.RouteDef]:
        return [web.post("/api/classroom/quality", self.take)]

    async def take(self, request: web.Request) -> web.Response:
        """Answer 204, also to one that comes too soon after the one before and is dropped."""
        require_lan(request)
        body = await read_body(request)
        if len(body) > REPORT_BYTES_MAX:
            raise ActionError(413, "invalid", f"more than {REPORT_BYTES_MAX} bytes")
        told = decode_wish(body, ScreenReport)
        page = address_of(request)
        if self._is_due((page, told.room)):
            self._view.note_screen(page, told)
        return web.Response(status=204, headers={"Cache-Control": "no-store"})

    def _is_due(self, page: tuple[str, str]) -> bool:
        now_s = self._monotonic_s()
        heard_s = self._heard_s.pop(page, None)
        is_due = heard_s is None or now_s - heard_s >= APART_S
        self._heard_s[page] = now_s if is_due or heard_s is None else heard_s
        if len(self._heard_s) > ADDRESSES_MAX:
            self._heard_s.popitem(last=False)
        return is_due
