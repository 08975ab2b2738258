"""What the teacher and a class do in the demo: a slide, a hand, a question, by the pages."""

import asyncio
import hashlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

import aiohttp
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from edge.demo.browser import open_pages, post_form, send_form, sign_in
from edge.demo.plan import SchoolPlan
from edge.errors import BoxSetupError

SEEN_S_MAX = BACK_S_MAX = 30.0
CHOICES = ("圆", "方")
_LOOK_EVERY_S = 0.3
_OK, _DONE = 200, 204


async def teach(
    flagship: SchoolPlan, setup_code: str, classes: list[SchoolPlan]
) -> dict[str, object]:
    """Open the remote by the lesson's code, show a slide, and have a class answer.

    Returns how many classes had the slide, and whether hand and answer came to the wall. Begins
    again when a box falls over meanwhile, as people do; raises what it met last after 30 s of that.
    """
    async with open_pages(flagship) as remote:
        async for attempt in AsyncRetrying(
            wait=wait_fixed(_LOOK_EVERY_S),
            stop=stop_after_delay(BACK_S_MAX),
            retry=retry_if_exception_type((aiohttp.ClientError, BoxSetupError)),
            reraise=True,
        ):
            with attempt:
                await _open_remote(remote, flagship, setup_code)
                return await _teach(remote, flagship, classes)
    raise AssertionError("the last attempt returns or raises")


async def _open_remote(
    remote: aiohttp.ClientSession, flagship: SchoolPlan, setup_code: str
) -> None:
    """Enter the lesson's code; one that opened this remote before is shown no more."""
    async with sign_in(flagship, setup_code) as staff:
        code = (await _lesson(staff, flagship.room))["teacher_code"]
    if code:
        await send_form(remote, f"/lesson/remote/open?room={flagship.room}", code=code)


async def _teach(
    remote: aiohttp.ClientSession, flagship: SchoolPlan, classes: list[SchoolPlan]
) -> dict[str, object]:
    slide = _picture()
    await _upload(remote, flagship.room, slide)
    await send_form(remote, f"/lesson/remote/slide?room={flagship.room}", position="1")
    await send_form(remote, f"/lesson/remote/chapter?room={flagship.room}", title="导入")
    asked = await _ask(remote, flagship.room, classes[0])
    digest = hashlib.sha256(slide).hexdigest()
    shown = [await _has_slide(school, digest) for school in classes]
    return {"slide_at_classes": sum(shown), **asked}


async def _ask(remote: aiohttp.ClientSession, room: str, school: SchoolPlan) -> dict[str, object]:
    """Have a class raise its hand and answer a question; tell what the wall saw of it."""
    async with open_pages(school) as page:
        await _touch(page, "hand", room=school.room, raised=True)
        hand = await _until_seen(
            remote, room, lambda wall: any(each["hand_ms"] for each in wall["classes"])
        )
        wall = await _post(remote, "/api/wall/ask", room=room, text="这是什么", choices=CHOICES)
        question = wall["question"]["question"]
        await _touch(page, "answer", room=school.room, question=question, choice=0)
        answer = await _until_seen(remote, room, lambda wall: wall["question"]["counts"][0] == 1)
        await _post(remote, "/api/wall/ask", room=room)
    return {"hand_on_the_wall": hand, "answer_on_the_wall": answer}


async def _has_slide(school: SchoolPlan, digest: str) -> bool:
    """Tell whether a class can be shown a slide within some seconds."""
    async with open_pages(school) as page:
        for _ in range(round(SEEN_S_MAX / _LOOK_EVERY_S)):
            address = f"/classroom/materials/{digest}?room={school.room}"
            async with page.get(address) as answer:
                if answer.status == _OK:
                    return hashlib.sha256(await answer.read()).hexdigest() == digest
            await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def _touch(page: aiohttp.ClientSession, what: str, **said: object) -> None:
    """Touch a classroom's page; again while its box does not hold the lesson yet."""
    for _ in range(round(SEEN_S_MAX / _LOOK_EVERY_S)):
        async with page.post(f"/api/classroom/{what}", json=said) as answer:
            if answer.status == _DONE:
                return
        await asyncio.sleep(_LOOK_EVERY_S)
    raise BoxSetupError(f"a class could not say {what}; look at its box's log")


async def _until_seen(
    remote: aiohttp.ClientSession, room: str, fits: Callable[[dict[str, Any]], bool]
) -> bool:
    for _ in range(round(SEEN_S_MAX / _LOOK_EVERY_S)):
        async with remote.get("/api/wall", params={"room": room}) as answer:
            if answer.status == _OK and fits(await answer.json()):
                return True
        await asyncio.sleep(_LOOK_EVERY_S)
    return False


async def _post(remote: aiohttp.ClientSession, path: str, **wish: object) -> dict[str, Any]:
    async with remote.post(path, json=wish) as answer:
        if answer.status != _OK:
            raise BoxSetupError(f"{path} answers {answer.status}; look at the box's log")
        told: dict[str, Any] = await answer.json()
        return told


async def _lesson(pages: aiohttp.ClientSession, room: str) -> dict[str, Any]:
    async with pages.get("/api/lesson", params={"room": room}) as answer:
        lesson: dict[str, Any] | None = (await answer.json()).get("lesson")
    if lesson is None:
        raise BoxSetupError("the flagship's box holds no lesson; look at its box's log")
    return lesson


async def _upload(remote: aiohttp.ClientSession, room: str, picture: bytes) -> None:
    form = aiohttp.FormData()
    form.add_field("title", "圆的周长")
    form.add_field("photo", picture, filename="slide.png", content_type="image/png")
    await post_form(remote, f"/lesson/remote/upload?room={room}", form)


def _picture() -> bytes:
    """Return a slide of one colour, 640 by 360, as PNG (ISO/IEC 15948)."""
    width, height = 640, 360
    rows = (b"\x00" + b"\x0a\x5f\x78" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(name, data) for name, data in parts)


def _part(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
