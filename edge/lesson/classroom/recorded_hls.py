"""A lesson's recording as HLS: the stored records, opened when a player asks for them.

Segments are cut at keyframes by the index alone, of what the flagship signed. What is missing
is told as EXT-X-GAP. Each take is a stretch of its own (EXT-X-DISCONTINUITY).
"""

from dataclasses import dataclass

from edge.lesson.classroom.ll_hls import TARGET_S
from edge.lesson.classroom.main_playlist import PLAYED, main_playlist
from sync.lessons.fragment_index import StreamIndex
from sync.lessons.fragment_log import Kind, Stream, TakeId
from sync.lessons.fragment_proof import ProvenStream
from sync.lessons.fragment_sealing import FragmentOpener, split_init
from sync.lessons.fragment_store import TakeStore
from sync.lessons.tracks import SOUND

SEGMENT_RECORDS_MAX = 512
_BANDWIDTH_LEAST = 64_000
_EARLY_MS = 500
_HOLE_MS = 1000


@dataclass(frozen=True, slots=True)
class RecordedSegment:
    """Records ``first`` to ``last`` of one stream, and the time without any that follows them."""

    first: int
    last: int
    duration_ms: int
    hole_ms: int


class RecordedHls:
    """One lesson's takes, in order of capture; what opening raises passes through."""

    def __init__(self, takes: list[TakeStore], opener: FragmentOpener) -> None:
        self._takes = takes
        self._opener = opener

    def main(self, sound_name: str) -> str | None:
        """Return the multivariant playlist, None when nothing is recorded."""
        told = {track: found for track in PLAYED if (found := self._told(track)) is not None}
        return main_playlist(told, sound_name)

    def playlist(self, track: int) -> str | None:
        """Return a track's whole recording, None when there is none of it."""
        lines: list[str] = []
        for store in self._takes:
            segments = cut(store, track)
            init = ProvenStream(store, Stream(Kind.INIT, track)).head
            if not segments or init < 0:
                continue
            if lines:
                lines.append("#EXT-X-DISCONTINUITY")
            folder = f"{store.take.hex()}/{track}"
            lines.append(f'#EXT-X-MAP:URI="{folder}/init-{init}.mp4"')
            for each in segments:
                lines += _lines(folder, each)
        if not lines:
            return None
        longest_s = max(float(line[8:-1]) for line in lines if line.startswith("#EXTINF:"))
        head = [
            "#EXTM3U",
            "#EXT-X-VERSION:8",
            f"#EXT-X-TARGETDURATION:{max(1, round(longest_s))}",
            "#EXT-X-PLAYLIST-TYPE:VOD",
        ]
        return "\n".join([*head, *lines, "#EXT-X-ENDLIST"]) + "\n"

    def init(self, take: TakeId, track: int, number: int) -> bytes | None:
        store = self._find(take)
        if store is None:
            return None
        record = ProvenStream(store, Stream(Kind.INIT, track)).read(number)
        return None if record is None else split_init(self._opener.open(record))[1]

    def segment(self, take: TakeId, track: int, first: int, last: int) -> bytes | None:
        """Return a segment that the playlist names, None for any other."""
        store = self._find(take)
        if store is None or not 0 <= last - first < SEGMENT_RECORDS_MAX:
            return None
        opened: list[bytes] = []
        for record in ProvenStream(store, Stream(Kind.MEDIA, track)).records(first):
            if record.header.number > last:
                break
            opened.append(self._opener.open(record))
        return b"".join(opened) or None

    def _find(self, take: TakeId) -> TakeStore | None:
        return next((store for store in self._takes if store.take == take), None)

    def _told(self, track: int) -> tuple[str, int] | None:
        """Return the media type and the bits a second of a track, None where it was not taken."""
        bits = _BANDWIDTH_LEAST
        mime = ""
        for store in self._takes:
            index = store.index(Stream(Kind.MEDIA, track))
            for record in ProvenStream(store, Stream(Kind.INIT, track)).records():
                mime, _ = split_init(self._opener.open(record))
            for each in cut(store, track):
                places = [index.place(n)[1] for n in range(each.first, each.last + 1)]
                bits = max(bits, 8000 * sum(places) // max(1, each.duration_ms))
        return (mime, bits) if mime else None


def cut(store: TakeStore, track: int) -> list[RecordedSegment]:
    """Cut a track's proven records at keyframes and before holes, in order."""
    stream = Stream(Kind.MEDIA, track)
    index = store.index(stream)
    segments: list[RecordedSegment] = []
    first = last = -1
    for number in ProvenStream(store, stream).numbers():
        if first >= 0 and _begins(index, track, first, last, number):
            segments.append(_segment(index, first, last, number))
            first = number
        first, last = (number if first < 0 else first), number
    if first >= 0:
        segments.append(_segment(index, first, last, None))
    return segments


def _begins(index: StreamIndex, track: int, first: int, last: int, number: int) -> bool:
    """Tell whether a segment from ``first`` to ``last`` ends before ``number``."""
    length_ms = index.capture_ms(number) - index.capture_ms(first)
    opens = track == SOUND or index.is_keyframe(number)
    is_due = opens and length_ms >= TARGET_S * 1000 - _EARLY_MS
    return is_due or _hole_ms(index, last, number) > 0 or number - first >= SEGMENT_RECORDS_MAX


def _hole_ms(index: StreamIndex, last: int, number: int) -> int:
    """Return how long nothing was recorded between two records, 0 for less than a second."""
    end_ms = index.capture_ms(last) + index.duration_us(last) // 1000
    silent_ms = index.capture_ms(number) - end_ms
    return silent_ms if silent_ms > _HOLE_MS else 0


def _segment(index: StreamIndex, first: int, last: int, following: int | None) -> RecordedSegment:
    starts_ms = index.capture_ms(first)
    ends_ms = index.capture_ms(last) + index.duration_us(last) // 1000
    hole_ms = 0
    if following is not None:
        hole_ms = _hole_ms(index, last, following)
        if not hole_ms:
            ends_ms = index.capture_ms(following)
    return RecordedSegment(first, last, max(1, ends_ms - starts_ms), hole_ms)


def _lines(folder: str, segment: RecordedSegment) -> list[str]:
    lines = [
        f"#EXTINF:{segment.duration_ms / 1000:.3f},",
        f"{folder}/{segment.first}-{segment.last}.m4s",
    ]
    left_ms = segment.hole_ms
    while left_ms > 0:
        piece_ms = min(left_ms, TARGET_S * 1000)
        lines += ["#EXT-X-GAP", f"#EXTINF:{piece_ms / 1000:.3f},", f"{folder}/gap-{left_ms}.m4s"]
        left_ms -= piece_ms
    return lines
