"""One PLAY of a class's camera on its way to the teacher: picture if it may, voice when called."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from edge.lesson.capture.capture_events import (
    CaptureEvent,
    MediaFragment,
    MediaGap,
    TakeInit,
)
from edge.lesson.transfer.recording import TakeRecorder
from sync.lessons.fragment_log import is_sound


class Takes(Protocol):
    """Where takes are recorded: the return log's publisher."""

    def open_take(self) -> TakeRecorder: ...


class ReturnFilm:
    """Takes in what one capture gives; :meth:`take_in` is its sink.

    What may not be sent is neither sealed nor numbered, and no track is announced before it is
    sent. Picture goes on at a keyframe.
    """

    def __init__(
        self,
        takes: Takes,
        *,
        may_show: Callable[[], bool],
        may_speak: Callable[[], bool],
        now_ms: Callable[[], int],
    ) -> None:
        self._takes = takes
        self._may_show = may_show
        self._may_speak = may_speak
        self._now_ms = now_ms
        self._recorder: TakeRecorder | None = None
        self._inits: dict[int, TakeInit] = {}
        self._announced: set[int] = set()
        self._flowing: set[int] = set()
        self._numbers: dict[int, int] = {}

    def take_in(self, event: CaptureEvent) -> None:
        match event:
            case TakeInit():
                self._inits[event.track] = event
                self._announced.discard(event.track)
            case MediaFragment():
                self._pass_on(event)
            case MediaGap():
                pass  # live only: nobody fills it

    def _pass_on(self, fragment: MediaFragment) -> None:
        track = fragment.track
        if not (self._may_speak() if is_sound(track) else self._may_show()):
            self._flowing.discard(track)
            return
        if track not in self._flowing and not fragment.keyframe:
            return
        self._flowing.add(track)
        recorder = self._recorder = self._recorder or self._takes.open_take()
        if track not in self._announced:
            init = self._inits[track]
            recorder.add_init(track, init.mime, init.data, self._now_ms())
            self._announced.add(track)
        number = self._numbers.get(track, 0)
        self._numbers[track] = number + 1
        recorder.add(replace(fragment, number=number))
