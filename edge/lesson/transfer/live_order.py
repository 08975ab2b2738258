"""What of the records that come is played now: in order, from keyframes, and nothing late."""

from collections.abc import Callable

from edge.lesson.classroom.classroom_stream import StreamItem, item_of
from sync.lessons.fragment_log import Header, Kind, Record, TakeId, is_sound

LATE_S_MAX = 3.0
"""What is this much older than the newest that was played is nothing live any more."""


class LiveOrder:
    """Decides what of the take being played goes to the classroom: in order, from keyframes."""

    def __init__(
        self, on_item: Callable[[StreamItem], None], on_media: Callable[[Header, bytes], None]
    ) -> None:
        """Hand on each record to both, in order."""
        self._on_item = on_item
        self._on_media = on_media
        self._played: dict[tuple[Kind, int], int] = {}
        self._newest_s = 0.0
        self.take: TakeId | None = None

    def begin(self, take: TakeId) -> None:
        self.take = take
        self._played = {}
        self._newest_s = 0.0

    def positions(self) -> str:
        """Return the newest fragment played of each track, as the hub's ``from`` reads it."""
        if self.take is None:
            return ""
        return ",".join(
            f"{self.take.hex()}:{track}:{number}"
            for (kind, track), number in self._played.items()
            if kind is Kind.MEDIA
        )

    def play(self, record: Record, opened: bytes) -> bool:
        """Hand a record on if it is next; False for what is late or follows a hole in a picture."""
        header = record.header
        name = header.kind, header.track
        last = self._played.get(name, -1)
        if header.take != self.take or header.number <= last:
            return False
        needs_previous = header.kind is Kind.MEDIA and not is_sound(header.track)
        begins_s = header.decode_time / header.timescale
        if header.kind is Kind.MEDIA and begins_s < self._newest_s - LATE_S_MAX:
            return False  # catch-up of a stream that was left out live
        if needs_previous and not header.keyframe and header.number != last + 1:
            return False
        self._played[name] = header.number
        self._newest_s = max(self._newest_s, begins_s)
        self._on_item(item_of(header, opened))
        self._on_media(header, opened)
        return True
