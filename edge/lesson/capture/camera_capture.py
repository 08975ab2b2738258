"""Captures a camera: one call is one PLAY, the whole of a take or a further source in it."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from math import inf
from typing import Never

from drivers.cameras.outages import StreamWatch
from drivers.codecs.digest import Credentials
from drivers.codecs.h264 import parameter_sets
from drivers.codecs.rtsp_session import Choice
from drivers.codecs.sdp import Media, SessionDescription
from drivers.entities import NowMs
from drivers.errors import DriverError, ProtocolError, RefusedError, UnreachableError
from drivers.opus_encoder import has_libopus
from drivers.rtsp_client import RtspStream, play
from edge.lesson.capture.capture_events import (
    CaptureEvent,
    CaptureSink,
    MediaFragment,
    SoundLostError,
)
from edge.lesson.capture.sound_track import PREFERENCE, sound_reader
from edge.lesson.capture.take import Part, Take
from edge.supervision import under_watch
from sync.lessons.tracks import PICTURE

STALL_S = 2.0
START_S = 10.0  # cameras that start an encoder at PLAY take some seconds
LOOK_S = 0.25


async def capture(
    url: str,
    credentials: Credentials | None,
    sink: CaptureSink,
    *,
    now_ms: NowMs,
    chance: random.Random,
    choose: Choice | None = None,
    part: Part | None = None,
    on_silence: Callable[[str], None] = lambda _: None,
) -> None:
    """Play the stream and hand what it gives to the sink until it fails or the task is cancelled.

    Raises UnreachableError when a new try may succeed (no answer, hung up, no picture or no more
    sound for 2 s, stream changed), RefusedError when a person has to set something, and
    SetupError for a bad ``url``. ``choose`` picks what is played, else :func:`choose_media` does,
    and ``on_silence`` hears why there will be no sound. ``part`` is what the source is in its take.
    """
    await asyncio.to_thread(has_libopus)  # looked for once, apart: it starts a program

    def choose_and_tell(description: SessionDescription) -> Sequence[Media]:
        if silence := silence_of(description):
            on_silence(silence)
        return choose_media(description)

    try:
        async with play(url, credentials, choose or choose_and_tell, chance=chance) as stream:
            take = Take(stream.media, sink, part)
            await under_watch(partial(_read, stream, take, now_ms), partial(_watch, take))
    except ProtocolError as error:
        raise UnreachableError(f"the camera does not speak RTSP as it should: {error}") from error


@contextmanager
def watched(watch: StreamWatch, sink: CaptureSink, picture: int = PICTURE) -> Iterator[CaptureSink]:
    """Give the sink for a :func:`capture` in the block of which a camera's ledger is to tell.

    It tells when the first picture of track ``picture`` came, and why none comes any more.
    """
    has_come = False

    def take_in(event: CaptureEvent) -> None:
        nonlocal has_come
        if not has_come and isinstance(event, MediaFragment) and event.track == picture:
            has_come = True
            watch.back()
        sink(event)

    try:
        yield take_in
    except DriverError as error:
        watch.lost(str(error))
        raise


def choose_media(description: SessionDescription) -> Sequence[Media]:
    """Choose the first picture and, if there is one that can be taken, a sound.

    Raises RefusedError where the picture is missing or none that browsers play: without sound a
    lesson can be seen, without picture it is no camera's.
    """
    videos = [media for media in _from_camera(description) if media.kind == "video"]
    if not videos:
        raise RefusedError("the stream has no picture; take the address of the camera's picture")
    parameter_sets(videos[0])
    sound = next((media for media in _sounds(description) if not _why_not(media)), None)
    return videos[:1] if sound is None else (videos[0], sound)


def choose_picture(description: SessionDescription) -> Sequence[Media]:
    """Choose the picture alone; raises as :func:`choose_media`."""
    return choose_media(description)[:1]


def silence_of(description: SessionDescription) -> str:
    """Return why no sound of the stream can be taken, with the remedy; empty where one can."""
    sounds = _sounds(description)
    if not sounds:
        return (
            "the camera's stream has no sound; plug in its microphone and switch its audio on, "
            "or hold the lesson without sound"
        )
    reasons = [_why_not(media) for media in sounds]
    return reasons[0] if all(reasons) else ""


def _sounds(description: SessionDescription) -> list[Media]:
    sounds = [media for media in _from_camera(description) if media.kind == "audio"]
    order = {encoding: place for place, encoding in enumerate(PREFERENCE)}
    return sorted(sounds, key=lambda media: order.get(media.encoding, len(order)))


def _why_not(sound: Media) -> str:
    try:
        sound_reader(sound)
    except DriverError as error:
        return str(error)
    return ""


def _from_camera(description: SessionDescription) -> list[Media]:
    return [media for media in description.media if not media.to_camera]


async def _read(stream: RtspStream, take: Take, now_ms: NowMs) -> Never:
    loop = asyncio.get_running_loop()
    while True:
        packets = await stream.read()
        arrived_ms, steady_ms = now_ms(), int(loop.time() * 1000)
        for packet in packets:
            take.receive(packet, arrived_ms, steady_ms)


async def _watch(take: Take) -> Never:
    """Raise UnreachableError once what is due does not come.

    Silence is counted in looks, not told by a clock: a box that itself stood still for a while has
    not looked meanwhile, and blames no camera for what waits to be read.
    """
    counted = [0] * len(take.packets)
    picture_looks, sound_looks = START_S / LOOK_S, inf  # what was never there cannot stop
    while True:
        await asyncio.sleep(LOOK_S)
        has_picture = take.packets[0] != counted[0]
        has_sound = take.packets[1:] != counted[1:]
        picture_looks = STALL_S / LOOK_S if has_picture else picture_looks - 1
        sound_looks = STALL_S / LOOK_S if has_sound else sound_looks - 1
        if picture_looks <= 0:
            raise UnreachableError("the camera sends no picture; check its power and network")
        if has_picture and sound_looks <= 0:
            raise SoundLostError(f"no sound for {STALL_S:.0f} s; check the microphone")
        counted[:] = take.packets
