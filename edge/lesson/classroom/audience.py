"""The pages that are offered the same, hundreds of them, each by what its own link takes.

What a page's link takes is asked of the kernel ten times a second, for that is the dearest part of
serving one. In between, pages whose link had room and on which nothing waits are written to one
straight after the other; the rest, and who has not taken the last, by their outlet's queue.
"""

import asyncio
from collections.abc import Callable, Iterator

from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_outlet import Outlet
from sync.lessons.fragment_queue import Parcel
from sync.lessons.fragment_rungs import Supply
from sync.lessons.tracks import PICTURE, PICTURE_SMALL

LOOK_S = 0.1


class Audience:
    """Outlets, all made with this one's ``supply``."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self.supply = Supply()
        self._monotonic_s = monotonic_s
        self._clear: dict[Outlet, asyncio.Transport] = {}
        self._others: set[Outlet] = set()
        self._look_s = 0.0

    def __len__(self) -> int:
        return len(self._clear) + len(self._others)

    def __iter__(self) -> Iterator[Outlet]:
        yield from self._clear
        yield from self._others

    def add(self, outlet: Outlet) -> None:
        self._others.add(outlet)

    def discard(self, outlet: Outlet) -> None:
        self._clear.pop(outlet, None)
        self._others.discard(outlet)

    def offer(self, parcel: Parcel) -> None:
        """Send now to whose link has room; queue it for the others."""
        now_s = self._monotonic_s()
        if parcel.kind is Kind.MEDIA:
            size = len(parcel.data)
            self.supply.note(parcel.track, size, now_s, keyframe=parcel.keyframe)
        if now_s >= self._look_s:
            self._look()
            self._look_s = now_s + LOOK_S
        passed_over = self._write(parcel)
        for outlet in self._others:
            outlet.offer(parcel)
        for outlet in passed_over:
            del self._clear[outlet]
            self._others.add(outlet)
            outlet.offer(parcel)

    def _look(self) -> None:
        full = [outlet for outlet in self._clear if not outlet.stays_clear]
        for outlet in [outlet for outlet in self._others if outlet.is_clear]:
            self._others.remove(outlet)
            self._clear[outlet] = outlet.transport
        for outlet in full:
            del self._clear[outlet]
            self._others.add(outlet)

    def _write(self, parcel: Parcel) -> list[Outlet]:
        """Write to those that are clear; return which of them have to be offered it instead."""
        lacks_large = self.supply.lacks_large
        if parcel.track == PICTURE_SMALL or (lacks_large and parcel.track == PICTURE):
            return [outlet for outlet in self._clear if not outlet.leaves_out(parcel)]
        data = parcel.data
        passed_over = []
        for outlet, transport in self._clear.items():
            if transport.get_write_buffer_size() or transport.is_closing():
                passed_over.append(outlet)
            else:
                transport.write(data)
        return passed_over
