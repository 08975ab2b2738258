"""The flagship's pictures and sound, into one take: the main camera and what stands beside it.

The main camera begins and ends takes. A further source (its small stream, the blackboard's screen,
a document camera) has a session of its own: it comes and goes, and never ends the take.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from typing import Never, Protocol

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    wait_random_exponential,
)

from drivers.cameras.outages import UNWATCHED, StreamWatch
from drivers.codecs.digest import Credentials
from drivers.entities import DeviceId, NowMs
from drivers.errors import DriverError, RefusedError
from edge.lesson.capture.camera_capture import capture, choose_picture, watched
from edge.lesson.capture.capture_events import (
    CaptureEvent,
    MediaFragment,
    MediaGap,
    TakeInit,
)
from edge.lesson.capture.shared_screen import SharedScreen
from edge.lesson.capture.take import Part
from edge.lesson.capture.timeline import TakeTimeline
from edge.lesson.transfer.recording import TakeRecorder
from edge.supervision import apart, keep_running
from sync.lessons.tracks import BLACKBOARD, PICTURE, SOUND

_log = logging.getLogger(__name__)

CAPTURE_RETRY_S = 1.0
SOURCE_RETRY_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LessonSource:
    """A camera's stream and the track of its picture; the main one's sound comes with it.

    ``stream`` returns where it is now, and what it asks for; raises DriverError. Streams of the
    same ``camera`` share its clock. ``watch`` writes in that camera's ledger.
    """

    track: int
    camera: DeviceId
    stream: Callable[[], tuple[str, Credentials | None]]
    watch: StreamWatch = UNWATCHED


class Takes(Protocol):
    """Where takes are recorded: the lesson's publisher."""

    def open_take(self) -> TakeRecorder: ...
    def close_take(self) -> None: ...


class FlagshipCapture:
    """Captures until cancelled; :meth:`run` is its task.

    ``sources`` names the streams, the main camera's first, and raises DriverError while there is
    none; it is asked again for each take. ``troubles`` tells of each track that does not come why;
    ``changed`` is called when they did.
    """

    def __init__(
        self,
        lesson: str,
        takes: Takes,
        sources: Callable[[], Sequence[LessonSource]],
        *,
        now_ms: NowMs,
        rng: Random,
        screen: SharedScreen | None = None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """``screen`` is what a browser shares, where no source shows the blackboard."""
        self._screen = screen
        self._lesson = lesson
        self._takes = takes
        self._sources = sources
        self._now_ms = now_ms
        self._rng = rng
        self._recorder: TakeRecorder | None = None
        self._changed = changed
        self.troubles: dict[int, DriverError] = {}
        self._played: dict[int, LessonSource] = {}  # by track
        self.lost_packets = 0
        """What the cameras left out or sent broken, so far."""

    async def run(self) -> Never:
        """Capture take after take."""
        try:
            while True:
                async for attempt in self._tries(PICTURE, CAPTURE_RETRY_S):
                    with attempt:
                        try:
                            await apart(self._capture_take())
                        finally:
                            self._recorder = None
                            self._takes.close_take()
        finally:
            self._play({})

    async def _capture_take(self) -> None:
        main, *others = self._sources()
        for track in self.troubles.keys() - {PICTURE, SOUND, *(each.track for each in others)}:
            self._note_well(track)  # nobody waits for it any more
        self._play({each.track: each for each in (main, *others)})
        timeline = TakeTimeline()
        ended: DriverError | None = None
        shared = None if BLACKBOARD in {each.track for each in others} else self._screen
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
            if shared is not None:
                stack.enter_context(shared.showing(timeline, self._take_in))
            beside = [
                tasks.create_task(self._keep_beside(source, main, timeline)) for source in others
            ]
            try:
                with watched(main.watch, self._take_in) as take_in:
                    await capture(
                        *main.stream(),
                        take_in,
                        now_ms=self._now_ms,
                        chance=self._rng,
                        part=Part(timeline=timeline),
                        on_silence=self._note_silence,
                    )
            except DriverError as error:
                ended = error
            for task in beside:
                task.cancel()
        if ended is not None:
            raise ended

    async def _keep_beside(
        self, source: LessonSource, main: LessonSource, timeline: TakeTimeline
    ) -> None:
        part = Part(
            picture=source.track,
            is_main=False,
            shares_clock=source.camera == main.camera,
            timeline=timeline,
        )

        async def capture_on() -> Never:
            while True:
                async for attempt in self._tries(source.track, SOURCE_RETRY_S):
                    with (
                        attempt,
                        watched(source.watch, self._take_in, source.track) as take_in,
                    ):
                        await capture(
                            *source.stream(),
                            take_in,
                            now_ms=self._now_ms,
                            chance=self._rng,
                            choose=choose_picture,
                            part=part,
                        )

        await keep_running(f"lesson {self._lesson}: track {source.track}", capture_on)

    def _play(self, wanted: Mapping[int, LessonSource]) -> None:
        """Take up other sources; of those that go, nobody sees here when they come again."""
        for track, source in self._played.items():
            if track not in wanted or wanted[track].camera != source.camera:
                source.watch.leave()
        self._played = dict(wanted)

    def _take_in(self, event: CaptureEvent) -> None:
        match event:
            case TakeInit():
                # Opened by the first picture, not by each attempt: takes are counted.
                self._recorder = self._recorder or self._takes.open_take()
                self._recorder.add_init(event.track, event.mime, event.data, self._now_ms())
                self._note_well(event.track)
            case MediaFragment():
                assert self._recorder is not None
                self._recorder.add(event)
                self._note_well(event.track)
            case MediaGap():
                self.lost_packets += event.packets
                _log.warning(
                    "lesson %s: the camera left out %d packets of track %d",
                    self._lesson,
                    event.packets,
                    event.track,
                )

    def _note_silence(self, reason: str) -> None:
        self._note(SOUND, RefusedError(reason))

    def _note(self, track: int, trouble: DriverError) -> None:
        known = self.troubles.get(track)
        self.troubles[track] = trouble
        if known is None or str(known) != str(trouble):  # tried every few seconds: said once
            _log.warning("lesson %s, track %d: %s", self._lesson, track, trouble)
            self._changed()

    def _note_well(self, track: int) -> None:
        if self.troubles.pop(track, None) is not None:
            self._changed()

    def _tries(self, track: int, longest_s: float) -> AsyncRetrying:
        def note(attempt: RetryCallState) -> None:
            assert attempt.outcome is not None
            error = attempt.outcome.exception()
            assert isinstance(error, DriverError)  # nothing else is tried again
            self._note(track, error)

        return AsyncRetrying(
            wait=wait_random_exponential(multiplier=0.2, max=longest_s),
            retry=retry_if_exception_type(DriverError),
            before_sleep=note,
        )
