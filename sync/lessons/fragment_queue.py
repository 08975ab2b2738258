"""What one viewer is still to be sent, and what is given up when its link is too slow.

Sound goes first. Picture older than 0.7 s is dropped up to the next keyframe, because late
picture only makes later picture later; sound is dropped only when it is of no use live. What is
dropped here is a hole in one viewer's live picture, never in the recording.
"""

from collections import deque
from dataclasses import dataclass

from sync.lessons.fragment_log import Kind, Record, is_sound

PICTURE_AGE_S_MAX = 0.7
SOUND_AGE_S_MAX = 3.0
QUEUE_BYTES_MAX = 8 * 1024 * 1024
URGENT_MAX = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Bytes ready for a viewer, with what the queue decides by."""

    kind: Kind
    track: int
    keyframe: bool
    data: bytes


def parcel_of(record: Record, data: bytes) -> Parcel:
    header = record.header
    return Parcel(kind=header.kind, track=header.track, keyframe=header.keyframe, data=data)


class LiveQueue:
    """A bounded queue; all times are seconds of one monotonic clock."""

    def __init__(self, bytes_max: int = QUEUE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._urgent: deque[Parcel] = deque()
        self._sound: deque[tuple[float, Parcel]] = deque()
        self._picture: dict[int, deque[tuple[float, Parcel]]] = {}
        self._awaiting: set[int] = set()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        picture = sum(len(queued) for queued in self._picture.values())
        return len(self._urgent) + len(self._sound) + picture

    @property
    def dropped(self) -> int:
        """Parcels given up since the start."""
        return self._dropped

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    def offer(self, parcel: Parcel, now_s: float) -> None:
        """Queue a parcel, or drop it and whatever else the limits ask for."""
        if parcel.kind is not Kind.MEDIA:
            self.urge(parcel)
            return
        if is_sound(parcel.track):
            self._sound.append((now_s, parcel))
        elif parcel.track in self._awaiting and not parcel.keyframe:
            self._dropped += 1
            return
        else:
            self._awaiting.discard(parcel.track)
            self._picture.setdefault(parcel.track, deque()).append((now_s, parcel))
        self._bytes += len(parcel.data)
        self._expire(now_s)
        self._shrink()

    def urge(self, parcel: Parcel) -> None:
        """Queue what goes before all media: inits, signatures, messages."""
        if len(self._urgent) >= URGENT_MAX:
            self._drop(self._urgent.popleft())
        self._urgent.append(parcel)
        self._bytes += len(parcel.data)
        self._shrink()

    def take(self, now_s: float) -> Parcel | None:
        """Return the next parcel to send, None when there is none."""
        self._expire(now_s)
        if self._urgent:
            parcel = self._urgent.popleft()
        elif self._sound:
            _, parcel = self._sound.popleft()
        else:
            waiting = [queued for queued in self._picture.values() if queued]
            if not waiting:
                return None
            _, parcel = min(waiting, key=_oldest).popleft()
        self._bytes -= len(parcel.data)
        return parcel

    def _expire(self, now_s: float) -> None:
        while self._sound and self._sound[0][0] < now_s - SOUND_AGE_S_MAX:
            self._drop(self._sound.popleft()[1])
        for track, queued in self._picture.items():
            if queued and queued[0][0] < now_s - PICTURE_AGE_S_MAX:
                self._skip_to_keyframe(track)

    def _skip_to_keyframe(self, track: int) -> None:
        queued = self._picture[track]
        self._drop(queued.popleft()[1])
        while queued and not queued[0][1].keyframe:
            self._drop(queued.popleft()[1])
        if not queued:
            self._awaiting.add(track)

    def _shrink(self) -> None:
        while self._bytes > self._bytes_max:
            waiting = [track for track, queued in self._picture.items() if queued]
            if waiting:
                self._skip_to_keyframe(max(waiting))
            elif self._sound:
                self._drop(self._sound.popleft()[1])
            else:
                self._drop(self._urgent.popleft())

    def _drop(self, parcel: Parcel) -> None:
        self._bytes -= len(parcel.data)
        self._dropped += 1


def _oldest(queued: deque[tuple[float, Parcel]]) -> float:
    return queued[0][0]
