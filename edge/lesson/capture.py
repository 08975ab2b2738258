"""Captures a camera: one call is one take."""

import asyncio
import random
from collections.abc import Sequence

from drivers.codecs.aac import audio_format
from drivers.codecs.digest import Credentials
from drivers.codecs.h264 import parameter_sets
from drivers.codecs.rtsp_session import Choice
from drivers.codecs.sdp import Media, SessionDescription
from drivers.entities import NowMs
from drivers.errors import ProtocolError, RefusedError, UnreachableError
from drivers.rtsp_client import RtspStream, play
from edge.lesson.take import CaptureSink, Take

STALL_S = 2.0
START_S = 5.0


async def capture(
    url: str,
    credentials: Credentials | None,
    sink: CaptureSink,
    *,
    now_ms: NowMs,
    chance: random.Random,
    choose: Choice | None = None,
) -> None:
    """Play the stream and hand its take to the sink until it fails or the task is cancelled.

    Raises UnreachableError when a new take may succeed (no answer, hung up, no picture or no more
    sound for 2 s, stream changed), RefusedError when a person has to set something, and
    SetupError for a bad ``url``. ``choose`` picks what is played, else :func:`choose_media` does.
    """
    try:
        async with play(url, credentials, choose or choose_media, chance=chance) as stream:
            await _follow(stream, Take(stream.media, sink), now_ms)
    except ProtocolError as error:
        raise UnreachableError(f"the camera does not speak RTSP as it should: {error}") from error


def choose_media(description: SessionDescription) -> Sequence[Media]:
    """Choose the first picture and, if there is sound, the first that browsers can play."""
    from_camera = [media for media in description.media if not media.to_camera]
    videos = [media for media in from_camera if media.kind == "video"]
    sounds = [media for media in from_camera if media.kind == "audio"]
    if not videos:
        raise RefusedError("the stream has no picture; take the address of the camera's picture")
    parameter_sets(videos[0])
    if not sounds:
        return videos[:1]
    sound = next((media for media in sounds if media.encoding == "MPEG4-GENERIC"), sounds[0])
    audio_format(sound)
    return (videos[0], sound)


async def _follow(stream: RtspStream, take: Take, now_ms: NowMs) -> None:
    loop = asyncio.get_running_loop()
    counted = list(take.packets)
    sound_due_s = float("inf")  # until the first sound: what was never there cannot stop
    try:
        async with asyncio.timeout(START_S) as watchdog:
            while True:
                packets = await stream.read()
                arrived_ms = now_ms()
                for packet in packets:
                    take.receive(packet, arrived_ms)
                now_s = loop.time()
                if take.packets[0] != counted[0]:
                    watchdog.reschedule(now_s + STALL_S)
                if take.packets[1:] != counted[1:]:
                    sound_due_s = now_s + STALL_S
                elif now_s > sound_due_s:
                    raise UnreachableError(f"no sound for {STALL_S:.0f} s; check the microphone")
                counted[:] = take.packets
    except TimeoutError as error:
        raise UnreachableError(
            "the camera sends no picture; check its power and network"
        ) from error
