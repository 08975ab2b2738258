"""What one viewer is still to be sent, and what is given up when its link is too slow.

Sound goes first. Picture older than 0.7 s is dropped up to the next keyframe, because late
picture only makes later picture later; which picture is sent at all is the ladder's to say. Sound
is dropped only when it is of no use live. What is dropped here is a hole in one viewer's live
picture, never in the recording.
"""

from collections import deque
from dataclasses import dataclass

from sync.lessons.fragment_log import Kind, Record, is_sound
from sync.lessons.fragment_rungs import Ladder, Rung
from sync.lessons.tracks import PICTURE_SMALL

PICTURE_AGE_S_MAX = 0.7
SOUND_AGE_S_MAX = 4.0
QUEUE_BYTES_MAX = 8 * 1024 * 1024
URGENT_MAX = 256
PROOFS_MAX = 16
_BESIDE = {PICTURE_SMALL}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Bytes ready for a viewer, with what the queue decides by.

    ``framing`` counts the bytes before the record in ``data``.
    """

    kind: Kind
    track: int
    keyframe: bool
    data: bytes
    framing: int = 0


def parcel_of(record: Record, data: bytes) -> Parcel:
    header = record.header
    return Parcel(
        kind=header.kind,
        track=header.track,
        keyframe=header.keyframe,
        data=data,
        framing=len(data) - len(record.wire),
    )


class LiveQueue:
    """A bounded queue; all times are seconds of one monotonic clock."""

    def __init__(self, bytes_max: int = QUEUE_BYTES_MAX, ladder: Ladder | None = None) -> None:
        self.ladder = ladder or Ladder()
        self._bytes_max = bytes_max
        self._urgent: deque[Parcel] = deque()
        self._sound: deque[tuple[float, Parcel]] = deque()
        self._picture: dict[int, deque[tuple[float, Parcel]]] = {}
        self._proofs: deque[Parcel] = deque()
        self._awaiting: set[int] = set()
        self._bytes = 0
        self._dropped = 0

    def __len__(self) -> int:
        picture = sum(len(queued) for queued in self._picture.values())
        return len(self._urgent) + len(self._sound) + picture + len(self._proofs)

    @property
    def dropped(self) -> int:
        """Parcels given up since the start."""
        return self._dropped

    @property
    def queued_bytes(self) -> int:
        return self._bytes

    def takes(self, track: int) -> bool:
        """Tell whether the present rung sends a track."""
        return self.ladder.takes(track)

    @property
    def is_clear(self) -> bool:
        """Tell whether nothing waits and all is sent but the small picture beside the large."""
        return not self._bytes and self._awaiting <= _BESIDE and self.ladder.rung is Rung.MAIN

    def leaves_out(self, parcel: Parcel) -> bool:
        """Tell whether offering a parcel would change nothing: its track is given up already."""
        is_given_up = parcel.track in self._awaiting and not self.takes(parcel.track)
        return is_given_up and parcel.kind is Kind.MEDIA

    def passes(self, parcel: Parcel, now_s: float) -> bool:
        """Tell whether a parcel may be sent at once, as nothing waits and its rung takes it."""
        if self._bytes or (self._awaiting and parcel.track in self._awaiting):
            return False
        if parcel.kind is Kind.MEDIA:
            return self.ladder.passes(parcel.track, len(parcel.data), now_s)
        return parcel.kind is not Kind.SIGNATURE or self.ladder.rung is Rung.MAIN

    def offer(self, parcel: Parcel, now_s: float) -> None:
        """Queue a parcel, or drop it and whatever else the limits ask for."""
        if parcel.kind is Kind.SIGNATURE:
            # Below the top it is left to catch-up, which asks for it when there is room.
            if self.ladder.rung is Rung.MAIN:
                self._prove(parcel)
            else:
                self._dropped += 1
            return
        if parcel.kind is not Kind.MEDIA:
            self.urge(parcel)
            return
        track = parcel.track
        self.ladder.note(track, len(parcel.data), now_s, keyframe=parcel.keyframe)
        if is_sound(track):
            self._sound.append((now_s, parcel))
        elif not self.takes(track):
            self._awaiting.add(track)
            # The small stream beside the large one is not lost to the viewer.
            self._dropped += self.ladder.rung is not Rung.MAIN
            return
        elif track in self._awaiting and not parcel.keyframe:
            self._dropped += 1
            return
        else:
            self._awaiting.discard(track)
            self._picture.setdefault(track, deque()).append((now_s, parcel))
        self._bytes += len(parcel.data)
        self._expire(now_s)
        self._shrink()

    def urge(self, parcel: Parcel) -> None:
        """Queue what goes before all media: inits, events, messages."""
        if len(self._urgent) >= URGENT_MAX:
            self._drop(self._urgent.popleft())
        self._urgent.append(parcel)
        self._bytes += len(parcel.data)
        self._shrink()

    def take_first(self, now_s: float) -> Parcel | None:
        """Return the next parcel of what waits for no picture: urgent ones and sound, or None."""
        self._expire(now_s)
        if self._urgent:
            return self._taken(self._urgent.popleft())
        if self._sound:
            return self._taken(self._sound.popleft()[1])
        return None

    def take_picture(self, now_s: float) -> Parcel | None:
        """Return the next picture, the teacher's small one first, or signature, or None."""
        self._expire(now_s)
        waiting = [track for track, queued in self._picture.items() if queued]
        if waiting:
            chosen = min(waiting, key=self._turn)
            return self._taken(self._picture[chosen].popleft()[1])
        return self._taken(self._proofs.popleft()) if self._proofs else None

    def _turn(self, track: int) -> tuple[bool, float]:
        return track != PICTURE_SMALL, self._picture[track][0][0]

    def _taken(self, parcel: Parcel) -> Parcel:
        self._bytes -= len(parcel.data)
        return parcel

    def _prove(self, parcel: Parcel) -> None:
        """Queue a signature: recordings need it, and may ask for it again."""
        if len(self._proofs) >= PROOFS_MAX:
            self._drop(self._proofs.popleft())
        self._proofs.append(parcel)
        self._bytes += len(parcel.data)
        self._shrink()

    def _expire(self, now_s: float) -> None:
        while self._sound and self._sound[0][0] < now_s - SOUND_AGE_S_MAX:
            self._drop(self._sound.popleft()[1])
        for track, queued in self._picture.items():
            if queued and queued[0][0] < now_s - PICTURE_AGE_S_MAX:
                self._skip_to_keyframe(track)
                if self.ladder.late(track, now_s):
                    self._leave()

    def _leave(self) -> None:
        """Give up what the rung now in force does not send."""
        for track, queued in self._picture.items():
            if queued and not self.takes(track):
                self._awaiting.add(track)
                while queued:
                    self._drop(queued.popleft()[1])

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
            elif self._proofs:
                self._drop(self._proofs.popleft())
            elif self._sound:
                self._drop(self._sound.popleft()[1])
            else:
                self._drop(self._urgent.popleft())

    def _drop(self, parcel: Parcel) -> None:
        self._bytes -= len(parcel.data)
        self._dropped += 1
