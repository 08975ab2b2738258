"""A recording as one ordinary MP4 file: ``moov`` first, seekable, made while it is read.

Nothing is transcoded. A :class:`MovieMaker` hears of a recording's fragments in order and keeps
about 20 bytes a sample; the :class:`Movie` it makes knows the file's length and, for any stretch of
it, which fragments' samples lie there, so that a file of any length is sent in bounded memory and
a browser may seek in it by HTTP ranges.

What is missing stays missing in time: the picture stands still until the next keyframe, sound is
silence where the format has a frame for it, and the takes of a lesson lie as far apart as they
were captured.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from edge.lesson.recordings.mp4_boxes import TrackTable, file_type, media_data_header, movie
from edge.lesson.recordings.mp4_reading import Samples, TrackFormat
from sync.errors import MalformedError

MOVIE_S_MAX = 12 * 3600
APART_S_MAX = 2 * 3600
"""Takes further apart than this were parted by a clock that was set; they are joined."""
SAMPLE_S_MAX = 10
_STILL_S = 0.5
"""A hole in the sound shorter than this is left to the player."""
_ENTRIES_MAX = 64
_MADE = 0xFFFF
"""Stands for the take in a chunk that is made here: silence."""

# ISO/IEC 14496-3 §4.4.2.1: one element with max_sfb 0, which has nothing but zeros, and ID_END;
# single_channel_element, and channel_pair_element without a common window.
_SILENT_AAC = {1: bytes.fromhex("00000007"), 2: bytes.fromhex("2000000000000e")}
_AAC_FRAME = 1024
_CHANNELS_AT = 24  # of an AudioSampleEntry, §12.2.3


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stored fragment: bytes ``first`` to ``end`` of its samples."""

    take: int
    track: int
    number: int
    first: int
    end: int


class Movie:
    """One file: ``size`` bytes, of which ``head`` are made and the rest lie in the fragments."""

    def __init__(self, head: bytes, chunks: "_Chunks", silence: bytes) -> None:
        self._head = head
        self._chunks = chunks
        self._silence = silence
        self.size = len(head) + chunks.data_bytes

    def pieces(self, first: int, end: int) -> Iterator[bytes | Piece]:
        """Yield what bytes ``first`` to ``end`` (excluded) of the file consist of, in order."""
        if first < len(self._head):
            yield self._head[first:end]
        base = len(self._head)
        at = max(first, base) - base
        stop = min(end, self.size) - base
        chunks = self._chunks
        index = bisect_right(chunks.starts, at) - 1
        while at < stop:
            begins = chunks.starts[index]
            ends = begins + chunks.lengths[index]
            part = at - begins, min(stop, ends) - begins
            if chunks.takes[index] == _MADE:
                yield _repeated(self._silence, *part)
            else:
                name = chunks.takes[index], chunks.tracks[index], chunks.numbers[index]
                yield Piece(*name, *part)
            at = ends
            index += 1


class MovieMaker:
    """Hears a recording's fragments, take by take and in each in order of time.

    ``picture`` and ``sound`` name the tracks that are taken. Raises MalformedError for what does
    not fit into one file.
    """

    def __init__(self, picture: int, sound: int) -> None:
        self._chunks = _Chunks()
        self._tracks = {
            picture: _Track(self._chunks, needs_keyframe=True),
            sound: _Track(self._chunks, needs_keyframe=False),
        }
        self._take = -1
        self._begins_s = 0.0
        self._origin_ms = 0
        self.clock: list[tuple[int, int]] = []
        """When each take's time began: (capture time, Unix ms; milliseconds of the movie)."""

    def begin_take(self, origin_ms: int) -> None:
        """Go on with the next take, whose decode time 0 was captured at ``origin_ms``."""
        self._take += 1
        ended_s = max(track.ends_s for track in self._tracks.values())
        if self._take == 0:
            self._origin_ms = origin_ms
        begins_s = (origin_ms - self._origin_ms) / 1000
        if not ended_s <= begins_s <= ended_s + APART_S_MAX:
            begins_s = ended_s
        self._begins_s = begins_s
        self.clock.append((origin_ms, round(begins_s * 1000)))
        for track in self._tracks.values():
            track.begin_take()

    def add_format(self, track: int, told: TrackFormat) -> None:
        """Take in a track's initialisation segment; it holds for the fragments that follow."""
        self._tracks[track].use(told)

    def add(self, track: int, number: int, samples: Samples) -> None:
        """Take in a fragment; one that nothing before it makes readable is passed over."""
        self._tracks[track].add(self._take, track, number, samples, self._begins_s)

    def finish(self, chapters: Sequence[tuple[int, str]] = ()) -> Movie:
        """Return the file; ``chapters`` pairs milliseconds with titles."""
        tracks = [track for track in self._tracks.values() if track.sizes]
        if not tracks:
            raise MalformedError("nothing of this recording can be shown; is its key here?")
        head = b""
        for _ in range(2):  # its own length moves what it points at, and does not depend on it
            base = len(head)
            tables = [track.table(self._chunks, base) for track in tracks]
            head = file_type() + movie(tables, chapters)
            head += media_data_header(self._chunks.data_bytes)
        silence = next((track.silence for track in tracks if track.silence), b"")
        return Movie(head, self._chunks, silence)


@dataclass(slots=True)
class _Chunks:
    """The file's media data in order, one fragment's samples a chunk."""

    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    lengths: "array[int]" = field(default_factory=lambda: array("I"))
    takes: "array[int]" = field(default_factory=lambda: array("H"))
    tracks: "array[int]" = field(default_factory=lambda: array("B"))
    numbers: "array[int]" = field(default_factory=lambda: array("I"))
    data_bytes: int = 0

    def add(self, take: int, track: int, number: int, length: int) -> int:
        """Append a chunk and return its place."""
        self.starts.append(self.data_bytes)
        self.lengths.append(length)
        self.takes.append(take)
        self.tracks.append(track)
        self.numbers.append(number)
        self.data_bytes += length
        return len(self.starts) - 1


class _Track:
    """One track of the file being made."""

    def __init__(self, chunks: _Chunks, *, needs_keyframe: bool) -> None:
        self._all = chunks
        self._needs_keyframe = needs_keyframe
        self._format: TrackFormat | None = None
        self._timescale = 0
        self._entries: list[bytes] = []
        self._entry = 0
        self._size = (0, 0)
        self._next = -1  # the number that can be decoded after the one before; -1: a keyframe
        self._begins = 0
        self._ends = 0
        self._durations = array("I")
        self.sizes = array("I")
        self._syncs = array("I")
        self._places = array("I")
        self._chunks: list[tuple[int, int, int]] = []  # samples, entry, and how many such chunks
        self.silence = b""
        self._silent_entry = 0

    @property
    def ends_s(self) -> float:
        return self._ends / self._timescale if self._timescale else 0.0

    def begin_take(self) -> None:
        self._format = None
        self._next = -1

    def use(self, told: TrackFormat) -> None:
        if self._timescale == 0:
            self._timescale = told.timescale
        if told.entry not in self._entries:
            if len(self._entries) == _ENTRIES_MAX:
                raise MalformedError("the camera changed its format too often for one file")
            self._entries.append(told.entry)
        self._entry = self._entries.index(told.entry) + 1
        self._size = max(self._size, (told.width, told.height))
        self._format = told
        self._next = -1
        if told.handler == b"soun" and told.entry[4:8] == b"mp4a":
            self._prepare_silence(told)

    def add(self, take: int, track: int, number: int, samples: Samples, begins_s: float) -> None:
        told = self._format
        if told is None:
            return
        if self._needs_keyframe and number != self._next and not samples.rows[0][2]:
            return
        self._next = number + 1
        starts = round(begins_s * self._timescale)
        starts += samples.decode_time * self._timescale // told.timescale
        if starts > MOVIE_S_MAX * self._timescale:
            raise MalformedError("the recording is longer than half a day; its clock is wrong")
        self._reach(starts)
        first = len(self.sizes) + 1
        length = 0
        for at, (duration, size, keyframe) in enumerate(samples.rows):
            lasts = duration * self._timescale // told.timescale
            self._durations.append(min(max(1, lasts), SAMPLE_S_MAX * self._timescale))
            self._ends += self._durations[-1]
            self.sizes.append(size)
            length += size
            if keyframe:
                self._syncs.append(first + at)
        self._note_chunk(len(samples.rows), self._entry)
        self._places.append(self._all.add(take, track, number, length))

    def _prepare_silence(self, told: TrackFormat) -> None:
        channels = int.from_bytes(told.entry[_CHANNELS_AT : _CHANNELS_AT + 2], "big")
        if not self.silence and told.timescale == self._timescale:
            self.silence = _SILENT_AAC.get(channels, b"")
            self._silent_entry = self._entry

    def table(self, chunks: _Chunks, base: int) -> TrackTable:
        assert self._entries
        is_sound = not self._needs_keyframe
        return TrackTable(
            handler=b"soun" if is_sound else b"vide",
            timescale=self._timescale,
            width=self._size[0],
            height=self._size[1],
            entries=self._entries,
            begins=self._begins,
            durations=self._durations,
            sizes=self.sizes,
            syncs=None if is_sound else self._syncs,
            chunks=self._chunks,
            offsets=array("Q", (base + chunks.starts[place] for place in self._places)),
        )

    def _note_chunk(self, samples: int, entry: int) -> None:
        last = self._chunks[-1] if self._chunks else (0, 0, 0)
        if last[:2] == (samples, entry):
            self._chunks[-1] = samples, entry, last[2] + 1
        else:
            self._chunks.append((samples, entry, 1))

    def _reach(self, starts: int) -> None:
        """Let the track last until the next sample begins."""
        if not self.sizes:
            self._begins = self._ends = starts
            return
        missing = starts - self._ends
        if missing > _STILL_S * self._timescale and self.silence:
            missing -= self._fill(missing // _AAC_FRAME) * _AAC_FRAME
        # Samples that overlap make the one before them shorter, as far as that goes.
        change = max(missing, 1 - self._durations[-1])
        self._durations[-1] += change
        self._ends += change

    def _fill(self, frames: int) -> int:
        """Append silence and return its frames."""
        length = len(self.silence)
        self._durations.extend([_AAC_FRAME] * frames)
        self.sizes.extend([length] * frames)
        self._ends += frames * _AAC_FRAME
        self._note_chunk(frames, self._silent_entry)
        self._places.append(self._all.add(_MADE, 0, 0, frames * length))
        return frames


def _repeated(unit: bytes, first: int, end: int) -> bytes:
    """Return bytes ``first`` to ``end`` of a unit repeated without end."""
    whole = unit * ((end - first) // len(unit) + 2)
    skip = first % len(unit)
    return whole[skip : skip + end - first]
