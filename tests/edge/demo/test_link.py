"""A school's line in the demo: what passes it, is held back by it, and is lost in it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from edge.demo.link import Link
from tests.loopback import free_port

SOME = b"some" * 1024
MUCH = bytes(8 * 1024 * 1024)
BYTES_S = 1.0


@dataclass
class Line:
    """A link, and both ends of a connection over it."""

    link: Link
    box: tuple[asyncio.StreamReader, asyncio.StreamWriter]
    hub: tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    joined: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()

    async def join(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        joined.put_nowait((reader, writer))

    hub = await asyncio.start_server(join, "127.0.0.1", 0)
    listen = "127.0.0.1", free_port()
    link = Link(listen, hub.sockets[0].getsockname()[:2])
    async with asyncio.timeout(60), AsyncExitStack() as stack:
        stack.callback(hub.close)
        await link.start(stack)
        reader, writer = await asyncio.open_connection(*listen)
        stack.callback(writer.close)
        line = Line(link, (reader, writer), await joined.get())
        stack.callback(line.hub[1].close)
        yield line


async def test_both_ways_pass(line: Line) -> None:
    for source, sink in ((line.box, line.hub), (line.hub, line.box)):
        source[1].write(SOME)
        assert await sink[0].readexactly(len(SOME)) == SOME
    assert line.link.passed_bytes == 2 * len(SOME)


async def test_what_a_narrow_line_does_not_carry_waits_at_its_sender_and_comes_once_it_is_wide(
    line: Line,
) -> None:
    line.link.narrow(BYTES_S)
    line.hub[1].write(MUCH)
    drained = asyncio.ensure_future(line.hub[1].drain())
    await asyncio.wait([drained], timeout=0.3)
    assert not drained.done(), "the sender is held back"
    assert line.link.passed_bytes < len(MUCH) / 8
    line.link.widen()
    assert len(await line.box[0].readexactly(len(MUCH))) == len(MUCH)
    await drained


async def test_what_waits_on_a_narrow_line_is_lost_when_it_is_cut(line: Line) -> None:
    line.link.narrow(BYTES_S)
    line.hub[1].write(MUCH)
    line.link.cut()
    line.link.mend()
    line.link.widen()
    with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
        await line.box[0].readexactly(len(MUCH))
