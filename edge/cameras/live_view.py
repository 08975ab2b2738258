"""One camera's small picture, live to pages, for as long as somebody looks.

The same way as a lesson: RTSP in, fragments out, nothing transcoded, no sound.
"""

import asyncio
import random
from typing import Never

from drivers.cameras.onvif_camera import OnvifCamera
from drivers.codecs.digest import Credentials
from drivers.entities import NowMs
from drivers.errors import DriverError
from edge.lesson.capture.camera_capture import capture, choose_picture, watched
from edge.lesson.capture.capture_events import CaptureEvent, MediaFragment, TakeInit
from edge.lesson.classroom.classroom_stream import StreamItem
from edge.lesson.classroom.fan_out import FanOut
from edge.lesson.status import Cause, LessonStatus, Phase
from sync.lessons.fragment_log import Kind, TakeId
from sync.lessons.fragment_sealing import new_take

AGAIN_FIRST_S = 0.5
AGAIN_MAX_S = 15.0


class LiveView:
    """Plays one camera's sub-stream, or its only one; :meth:`run` is its task."""

    def __init__(
        self,
        camera: OnvifCamera,
        credentials: Credentials | None,
        now_ms: NowMs,
        chance: random.Random,
    ) -> None:
        self.fan_out = FanOut(now_ms)
        self._camera = camera
        self._watch = camera.stream_watch("page")
        self._credentials = credentials
        self._now_ms = now_ms
        self._chance = chance
        self._take: TakeId = new_take()
        self._fails = 0

    async def run(self) -> Never:
        """Play until cancelled; a picture that stands still is started again and noted."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self.fan_out.run())
                tasks.create_task(self._keep_playing())
        finally:
            self._watch.leave()
        raise AssertionError("neither task ends by itself")

    async def _keep_playing(self) -> Never:
        while True:
            try:
                with watched(self._watch, self._hear) as take_in:
                    description = self._camera.known()
                    stream = description.sub or description.main
                    self._take = new_take()
                    await capture(
                        stream.uri,
                        self._credentials,
                        take_in,
                        now_ms=self._now_ms,
                        chance=self._chance,
                        choose=choose_picture,
                    )
            except DriverError:
                self._show(Phase.DEGRADED, Cause.CAMERA_SILENT)
            longest = min(AGAIN_MAX_S, AGAIN_FIRST_S * 2 ** min(self._fails, 8))
            self._fails += 1
            await asyncio.sleep(self._chance.uniform(longest / 2, longest))

    def _hear(self, event: CaptureEvent) -> None:
        match event:
            case TakeInit(track=track, mime=mime, data=data):
                kind = mime.encode()
                self.fan_out.publish(
                    StreamItem(
                        take=self._take,
                        kind=Kind.INIT,
                        track=track,
                        number=0,
                        keyframe=False,
                        capture_ms=self._now_ms(),
                        decode_us=0,
                        data=bytes((len(kind),)) + kind + data,
                    )
                )
            case MediaFragment():
                if self._fails or not event.number:
                    self._fails = 0
                    self._show(Phase.LIVE, Cause.NONE)
                self.fan_out.publish(
                    StreamItem(
                        take=self._take,
                        kind=Kind.MEDIA,
                        track=event.track,
                        number=event.number,
                        keyframe=event.keyframe,
                        capture_ms=event.capture_ms,
                        decode_us=event.decode_time * 1_000_000 // event.timescale,
                        data=event.data,
                    )
                )

    def _show(self, phase: Phase, cause: Cause) -> None:
        self.fan_out.show(
            LessonStatus(
                phase=phase,
                cause=cause,
                at_ms=self._now_ms(),
                connected=True,
                sound_age_ms=None,
                picture_age_ms=None,
                missing=0,
            )
        )
