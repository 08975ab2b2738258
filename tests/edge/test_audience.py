"""Pages that are offered the same: which are written to at once, which wait, and in what order."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from edge.lesson.classroom.audience import LOOK_S, Audience
from sync.lessons.fragment_log import Kind
from sync.lessons.fragment_outlet import Outlet, binary_frame, message
from sync.lessons.fragment_queue import Parcel
from sync.lessons.tracks import PICTURE, PICTURE_SMALL, SOUND


class _Joined(asyncio.Protocol):
    def __init__(self, joined: asyncio.Queue[asyncio.Transport]) -> None:
        self._joined = joined

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._joined.put_nowait(transport)


@dataclass
class Hall:
    """An audience of real connections; its time is what a test sets."""

    server: asyncio.Server
    joined: asyncio.Queue[asyncio.Transport]
    tasks: asyncio.TaskGroup
    now_s: float = 100.0
    pages: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.audience = Audience(lambda: self.now_s)

    async def join(self, receive_bytes: int = 1 << 20) -> socket.socket:
        page = socket.socket()
        page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        page.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(page, self.server.sockets[0].getsockname())
        transport = await self.joined.get()
        outlet = Outlet(transport, lambda: self.now_s, lambda _: None, supply=self.audience.supply)
        self.audience.add(outlet)
        self.tasks.create_task(outlet.run())
        self.pages.append(page)
        return page

    def offer(self, name: str, track: int = PICTURE, *, keyframe: bool = True) -> None:
        self.audience.offer(parcel(name, track, keyframe=keyframe))

    def leave(self) -> None:
        for outlet in self.audience:
            outlet.transport.abort()
            outlet.wake()
        for page in self.pages:
            page.close()
        self.server.close()

    def look(self) -> None:
        """Let so much time pass that links are asked again."""
        self.now_s += 1.01 * LOOK_S


def parcel(name: str, track: int, size: int = 0, *, keyframe: bool = True) -> Parcel:
    data = binary_frame(b"<%s>" % name.encode() + bytes(size))
    return Parcel(kind=Kind.MEDIA, track=track, keyframe=keyframe, data=data)


@pytest.fixture
async def hall() -> AsyncIterator[Hall]:
    joined: asyncio.Queue[asyncio.Transport] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Joined(joined), "127.0.0.1", 0)
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        hall = Hall(server, joined, tasks)
        yield hall
        hall.leave()


async def names(page: socket.socket, upto: str) -> list[str]:
    """Return what a page was sent, as far as one name."""
    found = b""
    while b"<%s>" % upto.encode() not in found:
        got = await asyncio.get_running_loop().sock_recv(page, 1 << 20)
        assert got, "the connection ended"
        found += got
    return [each.decode() for each in re.findall(rb"<([^<>\x00]+)>", found)]


async def test_everybody_is_sent_everything_in_order_whenever_links_are_asked(hall: Hall) -> None:
    first = await hall.join()
    for number in range(20):
        hall.offer(f"p{number}")
        hall.offer(f"s{number}", SOUND)
        if number % 3 == 0:
            hall.look()
        if number == 9:
            second = await hall.join()
    expected = [f"{kind}{number}" for number in range(20) for kind in "ps"]
    assert await names(first, "s19") == expected
    assert await names(second, "s19") == expected[20:]


async def test_who_has_not_taken_the_last_is_queued_for_and_misses_no_sound(hall: Hall) -> None:
    quick, stuck = await hall.join(), await hall.join(4096)
    hall.offer("first")
    hall.look()
    hall.offer("second")
    for number in range(40):
        hall.audience.offer(parcel(f"big{number}", PICTURE, 200_000))
        hall.offer(f"s{number}", SOUND)
        await asyncio.sleep(0)
        await names(quick, f"s{number}")
        hall.now_s += 0.04
    hall.audience.offer(message(b"<told>"))
    slow = next(outlet for outlet in hall.audience if outlet.dropped)
    assert slow.dropped > 10
    seen = await names(stuck, "s39")
    assert seen.index("told") < seen.index("s39")
    assert [name for name in seen if name[0] == "s" and name[1:].isdigit()] == [
        f"s{number}" for number in range(40)
    ]
    assert len([name for name in seen if name.startswith("big")]) < 30


async def test_no_more_than_one_fragment_waits_where_it_cannot_be_dropped(hall: Hall) -> None:
    await hall.join(4096)
    hall.offer("first")
    hall.look()
    for number in range(60):
        hall.audience.offer(parcel(f"big{number}", PICTURE, 200_000))
    (outlet,) = hall.audience
    assert 0 < outlet.transport.get_write_buffer_size() < 210_000


async def test_the_small_picture_is_sent_only_when_the_large_stays_away(hall: Hall) -> None:
    page = await hall.join()
    for number in range(30):  # sound comes whenever links are asked: it hides no picture
        hall.look()
        hall.offer(f"s{number}", SOUND)
        hall.offer(f"large{number}")
        hall.offer(f"small{number}", PICTURE_SMALL)
    hall.now_s += 1.5
    hall.offer("alone1", PICTURE_SMALL)
    hall.offer("alone2", PICTURE_SMALL, keyframe=False)
    hall.offer("back")
    hall.offer("beside", PICTURE_SMALL)
    hall.offer("end", SOUND)
    seen = await names(page, "end")
    assert [name for name in seen if name[0] not in "sl"] == ["alone1", "alone2", "back", "end"]
    assert not [name for name in seen if name.startswith("small")]


async def test_a_large_picture_that_ended_twice_is_shown_once_it_has_come_for_a_while(
    hall: Hall,
) -> None:
    page = await hall.join()
    shown = []
    for time in range(2):
        hall.offer(f"large{time}")
        hall.now_s += 1.5
        for number in range(6):
            hall.offer(f"s{time}{number}", PICTURE_SMALL)
            hall.offer(f"L{time}{number}")
            hall.now_s += 0.5
        hall.offer(f"end{time}", SOUND)
        seen = await names(page, f"end{time}")
        shown.append([name[:1] for name in seen if name[:1] in "sL"])
    at_once, later = shown
    assert at_once == ["s", *"LLLLLL"]
    assert later == [*"sss", *"LLLL"], "never neither of the two"


async def test_who_has_left_is_passed_over(hall: Hall) -> None:
    page = await hall.join()
    other = (await hall.join()).getsockname()
    hall.offer("first")
    hall.look()
    hall.offer("second")
    (gone,) = [each for each in hall.audience if each.transport.get_extra_info("peername") == other]
    gone.transport.abort()
    gone.wake()
    hall.offer("third")
    hall.audience.discard(gone)
    hall.offer("fourth")
    assert await names(page, "fourth") == ["first", "second", "third", "fourth"]
    assert len(hall.audience) == 1
