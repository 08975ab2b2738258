"""What the box's end of a connection hands its line: a real socket whose other end does not read.

How lines of packets fare that are cut is measured by benchmarks/poor_link.py.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from edge.hub_stream import PROBE_BYTES, PROBES_AT_ONCE, HubStream

MESSAGE = bytes(range(250)) * 20
QUESTION = b"\x00"


class Said:
    """What is spoken when the connection stands."""

    def __init__(self, *messages: bytes) -> None:
        self._messages = list(messages)

    async def __call__(self) -> bytes | None:
        return self._messages.pop(0) if self._messages else None


@pytest.fixture
def near() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        near = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    with near, far:
        near.setblocking(False)
        yield near


def fill(line: socket.socket) -> None:
    """Hand the kernel more than the other end takes."""
    try:
        while True:
            line.send(bytes(65536))
    except BlockingIOError:
        return


def on_line(line: socket.socket) -> HubStream:
    stream = HubStream()
    stream._line = line
    return stream


async def left_over(body: AsyncIterator[bytes]) -> "asyncio.Task[bytes]":
    """Ask for the next part, and let some time pass in which it may come."""

    async def ask() -> bytes:
        return await anext(body)

    asked = asyncio.create_task(ask())
    await asyncio.sleep(0.2)
    return asked


async def test_what_is_said_before_the_hub_answers_goes_on_while_the_line_takes_it(
    near: socket.socket,
) -> None:
    body = on_line(near).body(Said(b"one", b"two", b"three"))
    assert await anext(body) == b"onetwothree"


async def test_a_line_that_takes_nothing_more_is_handed_nothing_more(near: socket.socket) -> None:
    fill(near)
    stream = on_line(near)
    asked = await left_over(stream.body(Said(MESSAGE)))
    assert not asked.done()
    asked.cancel()


async def test_a_silent_line_is_handed_two_little_parts_of_what_waits(near: socket.socket) -> None:
    fill(near)
    stream = on_line(near)
    body = stream.body(Said(MESSAGE))
    asked = await left_over(body)
    stream._is_silent = True
    stream._probe()
    parts = [await asked, *[await anext(body) for _ in range(PROBES_AT_ONCE - 1)]]
    assert parts == [MESSAGE[:PROBE_BYTES], MESSAGE[PROBE_BYTES : 2 * PROBE_BYTES]]
    asked = await left_over(body)
    assert not asked.done()
    asked.cancel()


async def test_a_silent_line_is_asked_where_nothing_waits(near: socket.socket) -> None:
    stream = on_line(near)
    body = stream.body(Said(MESSAGE))
    said = b""
    while len(said) < len(MESSAGE):
        said += await anext(body)
    asked = await left_over(body)
    assert not asked.done()
    stream._is_silent = True
    stream._probe()
    assert [await asked, await anext(body)] == [QUESTION] * PROBES_AT_ONCE


async def test_who_speaks_waits_until_the_line_has_carried_most_of_it(near: socket.socket) -> None:
    stream = on_line(near)
    body = stream.body(Said(b"first"))
    assert await anext(body) == b"first"
    sending = asyncio.create_task(stream.send(MESSAGE))
    await asyncio.sleep(0.05)
    assert not sending.done()
    said = b""
    while len(said) < len(MESSAGE):
        said += await anext(body)
    await sending
    assert said == MESSAGE


async def test_a_stream_that_ends_says_no_more(near: socket.socket) -> None:
    fill(near)
    stream = on_line(near)
    body = stream.body(Said(MESSAGE))
    asked = await left_over(body)
    stream.end()
    with pytest.raises(StopAsyncIteration):
        await asked
