"""One lesson that goes on: who sends it, who follows it, and what each is told and given.

Nothing here waits or listens: ``hub.lesson.relay`` has the sockets.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from time import monotonic

from hub.lesson.admission import LessonAccess
from hub.lesson.minute_count import LinkCount, LoadCount
from hub.lesson.wants import Wants
from sync.errors import MalformedError
from sync.lessons.fragment_exchange import (
    WANT_RECORDS_MAX,
    Current,
    Holdings,
    encode_message,
    holdings_of,
)
from sync.lessons.fragment_log import (
    Header,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    parse_take_id,
)
from sync.lessons.fragment_outlet import Outlet, binary_frame, message
from sync.lessons.fragment_queue import parcel_of
from sync.lessons.fragment_rungs import Rung, Standing, sends
from sync.lessons.fragment_shelf import LessonShelf
from sync.lessons.fragment_store import FragmentStoreError, TakeStore
from sync.lessons.tracks import keeps_media

_log = logging.getLogger(__name__)

LINKS_MAX = 4
"""Links on which one school follows a lesson; one more ends its oldest."""
ROOM_AGAIN_S = 5.0
"""Nothing refused by the disk for so long: there is room again, or nothing came."""
LATE_S = 1.5
"""A tick and a half: nothing live for so long is a second without."""
_IDLE_TICKS = 60

Positions = dict[tuple[TakeId, int], int]
"""The newest number that a follower has, by take and track."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayEvidence:
    """What the relay saw of one lesson; ages are milliseconds, None for never.

    ``rung`` is that of the flagship's link, ``rungs`` has (school, rung) of each follower's.
    """

    publishing: bool
    followers: tuple[int, ...]
    rung: Rung
    rungs: tuple[tuple[int, Rung], ...]
    media_age_ms: int | None
    dropped: int
    stored_bytes: int


@dataclass(slots=True, eq=False)
class Party:
    """``is_live``: a publisher that has said which take is live."""

    school: int
    transport: asyncio.Transport
    outlet: Outlet
    wants: Wants
    is_live: bool = False
    link: LinkCount = field(default_factory=LinkCount)

    def tell(self, holdings: Holdings) -> None:
        self.outlet.offer(message(encode_message(holdings)))

    def want(self, header: Header) -> None:
        """Send a record when live leaves room; a follower that wants much asks for it itself."""
        if not self.wants.is_full:
            self.wants.add(header.take, header.stream, header.number, header.number)
            self.outlet.wake()


@dataclass(slots=True)
class RelayedLesson:
    """``heads``: how far the current take came live; ``unstored_s``: when the disk last refused.

    ``cache_url``: where boxes may fetch objects instead, scheme and authority.
    """

    id: LessonId
    shelf: LessonShelf
    cache_url: str
    publisher: Party | None = None
    followers: list[Party] = field(default_factory=list)
    current: TakeId | None = None
    heads: dict[Stream, int] = field(default_factory=dict)
    unstored_s: float | None = None
    is_full: bool = False
    rung: Rung = Rung.MAIN
    standings: dict[int, Standing] = field(default_factory=dict)
    media_at_s: float | None = None
    unstored_ticks: int = 0
    idle_ticks: int = 0
    keeps_media: bool = field(init=False)

    def __post_init__(self) -> None:
        self.keeps_media = keeps_media(self.id)

    def let_publish(self, party: Party) -> None:
        """Take a flagship's link; one before it has not been missed yet, and ends."""
        if self.publisher is not None:
            self.publisher.transport.abort()
        self.publisher = party
        self.unstored_s = None  # it hears what is held, and sends the rest
        party.tell(self.holdings(durable=False))

    def let_follow(self, party: Party, positions: Positions) -> None:
        """Take a follower's link: it is told what is held, and joins."""
        party.tell(self.holdings(durable=False))
        self._join(party, positions)
        own = [each for each in self.followers if each.school == party.school]
        for old in own[: max(0, len(own) - LINKS_MAX + 1)]:
            old.transport.abort()
        self.followers.append(party)

    def leave(self, party: Party) -> None:
        """Let a link go that has ended; a follower begins again from where it stood."""
        if self.publisher is party:
            self.publisher = None
        elif party in self.followers:
            self.followers.remove(party)
            self.standings[party.school] = party.outlet.standing

    def hear(self, party: Party, told: Current) -> None:
        """Take up what the flagship says is live now."""
        self._begin(parse_take_id(told.take))
        self.rung = told.rung
        party.is_live = True
        self.tell(self.holdings(durable=False))

    def relay(self, record: Record) -> None:
        """Keep a record and pass it on; raises MalformedError or FragmentStoreError."""
        header = record.header
        if header.lesson != self.id:
            raise MalformedError(f"a fragment of lesson {header.lesson} came under {self.id}")
        head = self._store(record)
        if head is None:
            return
        if self.current is None and header.kind in {Kind.INIT, Kind.MEDIA}:
            self._begin(header.take)
        if header.kind is Kind.FILE:
            for party in self.followers:
                party.want(header)
            return
        if header.kind is Kind.MEDIA:
            is_new = header.take == self.current and header.number > head
            if is_new:
                self.heads[header.stream] = header.number
            if not is_new or not sends(self.rung, header.track):
                return  # a hole filled: followers ask for it when they see it held
            self.media_at_s = monotonic()
        parcel = parcel_of(record, binary_frame(record.wire))
        for party in self.followers:
            party.outlet.offer(parcel)

    def _begin(self, take: TakeId) -> None:
        if take != self.current:
            self.current = take
            self.heads.clear()

    def _store(self, record: Record) -> int | None:
        """Keep a record; return how far its stream came before, None for one that is held already.

        What the disk does not take of a lesson that goes on is relayed all the same. Raises
        FragmentStoreError for what was only to be kept, MalformedError for a lesson that is full.
        """
        if self.is_full:
            raise MalformedError(f"lesson {self.id} is larger than any lesson; end it")
        header = record.header
        head = self.heads.get(header.stream, -1) if header.take == self.current else -1
        try:
            take = self.shelf.take(self.id, header.take)
            head = max(head, take.index(header.stream).head)
            is_kept = self.keeps_media or header.kind is not Kind.MEDIA
            if is_kept and not take.append(record):
                return None
        except FragmentStoreError:
            if self.publisher is None or not self.publisher.is_live:
                raise
            if self.unstored_s is None:
                _log.exception("lesson %s is relayed and not stored", self.id)
            self.unstored_s = monotonic()
        return head

    def _join(self, party: Party, positions: Positions) -> None:
        """Queue the newest group of pictures, and as catch-up what lies before it."""
        take = self._current_take()
        if take is None:
            return
        begins: dict[Stream, int] = {}
        for record in take.join():
            if record.header.kind is Kind.MEDIA and not sends(self.rung, record.header.track):
                continue
            begins.setdefault(record.header.stream, record.header.number)
            party.outlet.offer(parcel_of(record, binary_frame(record.wire)))
        for (name, track), number in positions.items():
            stream = Stream(Kind.MEDIA, track)
            last = begins.get(stream, 0) - 1
            if name == take.take and last > number:
                first = max(number + 1, last - WANT_RECORDS_MAX)
                party.wants.add(name, stream, first, last)
        party.outlet.wake()

    def _current_take(self) -> TakeStore | None:
        takes = self.shelf.takes(self.id)
        named = [take for take in takes if take.take == self.current]
        with_media = [take for take in takes if take.has_media]
        return next(iter(named or with_media[-1:]), None)

    def tell(self, holdings: Holdings) -> None:
        """Tell all who are connected what is held."""
        told = message(encode_message(holdings))
        for party in (self.publisher, *self.followers):
            if party is not None:
                party.outlet.offer(told)

    def count(self, *, is_durable: bool) -> None:
        """Count a second of the lesson and of each link of it."""
        self.unstored_ticks += self.unstored_s is not None or not is_durable
        publisher = self.publisher
        if publisher is not None:
            age_ms = self._media_age_ms
            is_silent = publisher.is_live and age_ms is not None and age_ms >= LATE_S * 1000
            publisher.link.tick(self.rung, publisher.outlet.queued_bytes, is_silent=is_silent)
        for party in self.followers:
            party.link.tick(party.outlet.rung, party.outlet.queued_bytes, is_silent=False)

    def tell_minute(self, load: LoadCount) -> None:
        """Tell each box what was seen of the minute here and of its link."""
        for party in (self.publisher, *self.followers):
            if party is not None:
                told = party.link.minute(load, self.unstored_ticks, party.outlet.dropped)
                party.outlet.offer(message(encode_message(told)))
        self.unstored_ticks = 0

    def holdings(self, *, durable: bool) -> Holdings:
        """Return what is held, ``durable`` or not yet; raises FragmentStoreError."""
        return Holdings(
            durable=durable,
            current=None if self.current is None else self.current.hex(),
            media_age_ms=self._media_age_ms,
            takes=[holdings_of(take) for take in self.shelf.takes(self.id)],
            objects=self.cache_url,
        )

    def evidence(self) -> RelayEvidence:
        return RelayEvidence(
            publishing=self.publisher is not None,
            followers=tuple(sorted(party.school for party in self.followers)),
            rung=self.rung,
            rungs=tuple(sorted((party.school, party.outlet.rung) for party in self.followers)),
            media_age_ms=self._media_age_ms,
            dropped=sum(party.outlet.dropped for party in self.followers),
            stored_bytes=self.stored_bytes,
        )

    @property
    def stored_bytes(self) -> int:
        return sum(take.stored_bytes for take in self.shelf.open_takes(self.id))

    @property
    def _media_age_ms(self) -> int | None:
        return None if self.media_at_s is None else int((monotonic() - self.media_at_s) * 1000)

    def enforce(self, access: LessonAccess) -> None:
        """End the links of those who may not publish or receive any more."""
        publisher = self.publisher
        if publisher and not access.may_publish(publisher.school, self.id):
            publisher.transport.abort()
        for party in self.followers:
            if not access.may_receive(party.school, self.id):
                party.transport.abort()

    def ask_again(self) -> None:
        """Have the flagship connect anew, and then send what the disk did not take."""
        if self.unstored_s is None or monotonic() - self.unstored_s < ROOM_AGAIN_S:
            return
        self.unstored_s = None
        if self.publisher is not None:
            self.publisher.transport.abort()

    def is_over(self) -> bool:
        """Tell, asked each second, whether nobody has been connected for long."""
        self.idle_ticks = 0 if self.publisher or self.followers else self.idle_ticks + 1
        return self.idle_ticks > _IDLE_TICKS
