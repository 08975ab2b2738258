"""One take on disk: append-only, crash-safe, sealed; the same at flagship, hub and receiver.

A stored signature is a promise: whatever it covers and is stored has the hash it names. A
signature is therefore verified before it is appended; what contradicts it is voided then (and
becomes a gap) and refused afterwards. How it lies on disk: ``sync.lessons.fragment_files``.
"""

import contextlib
import fcntl
import hmac
import os
import shutil
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from sync.errors import ForgedError, MalformedError, SyncError
from sync.lessons.fragment_files import INDEX_NAME, LOG_NAME, PendingSync, TakeFiles
from sync.lessons.fragment_index import Coverage, Entry, StreamIndex
from sync.lessons.fragment_log import (
    SIGNATURES,
    Kind,
    LessonId,
    Record,
    Stream,
    TakeId,
    is_sound,
    parse_record,
)
from sync.lessons.fragment_sealing import Group, digest, parse_group

_JOIN_RECORDS_MAX = 1024
_ENDED_MS = 10_000  # no picture of a track for so long: it does not go on
_DIGESTS_KEPT_MAX = 4096  # four groups of the largest size; older ones are read back


class FragmentStoreError(SyncError):
    """The disk does not take or give a record: tell a person."""


class TakeStore:
    """One take's sealed records, with their index in memory."""

    def __init__(self, folder: Path, lesson: LessonId, take: TakeId) -> None:
        """Open or create; raises FragmentStoreError when the folder cannot be had alone."""
        self.lesson = lesson
        self.take = take
        self._folder = folder
        self._streams = defaultdict[Stream, StreamIndex](StreamIndex)
        self._coverage = Coverage()
        self._digests: dict[tuple[Stream, int], bytes] = {}
        self._hashes: tuple[int, list[bytes]] = (-1, [])
        self._final = False
        self._is_removed = False
        self._started_ms: int | None = None
        self._files = TakeFiles(*_open(folder))
        for entry in self._files.load():
            self._enter(entry)
        for record in list(self.records(SIGNATURES)):
            self._cover(parse_group(record), record.header.number)
        self._settle()

    @property
    def streams(self) -> list[Stream]:
        return sorted(self._streams)

    @property
    def has_media(self) -> bool:
        return any(stream.kind is Kind.MEDIA for stream in self._streams)

    @property
    def coverage(self) -> Coverage:
        return self._coverage

    @property
    def final(self) -> bool:
        """The take's last signature is stored: nothing will be added to it."""
        return self._final

    @property
    def started_ms(self) -> int | None:
        """Earliest capture time stored, Unix milliseconds."""
        return self._started_ms

    @property
    def stored_bytes(self) -> int:
        return self._files.stored_bytes

    def index(self, stream: Stream) -> StreamIndex:
        """Return a stream's index, an empty one for a stream never seen."""
        return self._streams.get(stream) or StreamIndex()

    def has(self, stream: Stream, number: int) -> bool:
        index = self._streams.get(stream)
        return index is not None and index.present.has(number)

    def append(self, record: Record) -> bool:
        """Store a record; False when it is dropped: stored already, or no part of what was signed.

        A signature must be verified beforehand. Raises ForgedError when a stored signature names
        another hash, MalformedError for another take's record or a signature over something
        signed before, FragmentStoreError when the disk does not take it.
        """
        header = record.header
        if header.lesson != self.lesson or header.take != self.take:
            raise MalformedError(f"a record of take {header.take.hex()} is not of this take")
        if self.has(header.stream, header.number):
            return False
        if header.kind is Kind.SIGNATURE:
            group = parse_group(record)
            self._coverage.check_new(group)
            self._void_contradicting(group)
            self._write(record)
            self._cover(group, header.number)
            self._settle()
            return True
        one = digest(record)
        promised = self._promised(header.stream, header.number)
        if promised is None and self._is_settled():
            return False
        if promised is not None and not hmac.compare_digest(promised, one):
            raise ForgedError(
                f"fragment {header.number} of track {header.track} is not the one the flagship "
                "signed; refuse it"
            )
        self._write(record)
        if promised is None:
            if len(self._digests) >= _DIGESTS_KEPT_MAX:
                del self._digests[next(iter(self._digests))]
            self._digests[header.stream, header.number] = one
        return True

    def read(self, stream: Stream, number: int) -> bytes | None:
        """Return a record's bytes; None when it is missing or turned out damaged on disk."""
        if not self.has(stream, number):
            return None
        wire = self._files.read(*self._streams[stream].place(number))
        if wire is None:
            self._void(stream, number)
        return wire

    def records(self, stream: Stream, first: int = 0) -> Iterator[Record]:
        """Yield a stream's stored records from a number on, in order, holes left out."""
        for number in self.index(stream).present.numbers(first):
            wire = self.read(stream, number)
            if wire is not None:
                yield parse_record(wire)

    def join(self) -> list[Record]:
        """Return what a viewer needs to begin now: newest inits, newest group of pictures, sound.

        A picture that ended some time ago, as that of a class called on before, is left out.
        Without picture, the sound of the last 2 s. In order of capture.
        """
        inits: list[Record] = []
        media: list[Record] = []
        heads = [
            index.capture_ms(index.head)
            for stream, index in self._streams.items()
            if stream.kind is Kind.MEDIA
        ]
        ended_ms = max(heads, default=0) - _ENDED_MS
        for stream in self.streams:
            if stream.kind is Kind.INIT:
                inits += self.records(stream, self.index(stream).head)
            elif stream.kind is Kind.MEDIA and not is_sound(stream.track):
                index = self.index(stream)
                first = index.newest_keyframe()
                if first >= 0 and index.capture_ms(index.head) >= ended_ms:
                    media += islice(self.records(stream, first), _JOIN_RECORDS_MAX)
        begin_ms = min((one.header.capture_ms for one in media), default=None)
        for stream in self.streams:
            if stream.kind is Kind.MEDIA and is_sound(stream.track):
                index = self.index(stream)
                since_ms = index.capture_ms(index.head) - 2000 if begin_ms is None else begin_ms
                media += islice(self.records(stream, index.since(since_ms)), _JOIN_RECORDS_MAX)
        return inits + sorted(media, key=lambda one: one.header.capture_ms)

    def is_proven(self, stream: Stream, number: int) -> bool:
        """Tell whether it is stored and signed: fit for recording and catch-up."""
        return self.has(stream, number) and self._coverage.find(stream, number) is not None

    def unproven(self) -> int:
        """Return how many stored inits and fragments no stored signature covers."""
        return sum(
            index.present.count - self._coverage.count(stream, index)
            for stream, index in self._streams.items()
            if stream.kind is not Kind.SIGNATURE
        )

    def unsigned(self) -> list[tuple[Stream, int, bytes]]:
        """Return (stream, number, SHA-256) of stored records that no stored signature covers."""
        found: list[tuple[Stream, int, bytes]] = []
        for stream, index in self._streams.items():
            if stream.kind is Kind.SIGNATURE:
                continue
            for number in list(index.present.numbers()):
                if self._coverage.find(stream, number) is None:
                    one = self._digest(stream, number)
                    if one is not None:
                        found.append((stream, number, one))
        return sorted(found)

    def begin_sync(self) -> PendingSync | None:
        """Start to make durable what is appended so far; None when it is."""
        return self._files.begin_sync()

    def end_sync(self, pending: PendingSync) -> None:
        """Enter into the index on disk what ``pending`` made durable.

        Raises FragmentStoreError when the disk does not take it; the next sync tries again.
        """
        with self._on_disk():
            self._files.end_sync(pending)

    def sync(self) -> None:
        """Make durable what is appended so far; raises FragmentStoreError."""
        with self._on_disk():
            self._files.sync()

    def close(self) -> None:
        """Close for good; what the disk does not take of the index is found in the log again."""
        with contextlib.suppress(FragmentStoreError):
            self.sync()
        self._files.close()

    def remove(self) -> None:
        """Give all of it up for good: whoever has it in hand finds nothing and can add nothing."""
        self._is_removed = True
        self._streams.clear()
        self._coverage = Coverage()
        self._digests.clear()
        self._started_ms = None
        self._files.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self, record: Record) -> None:
        if self._is_removed:
            raise FragmentStoreError(f"{self._folder}: the take was given up; begin another")
        with self._on_disk():
            entry = self._files.append(record)
        self._enter(entry)

    @contextlib.contextmanager
    def _on_disk(self) -> Iterator[None]:
        """Say of what the disk refuses in here what it is about."""
        try:
            yield
        except OSError as error:
            raise FragmentStoreError(
                f"{self._folder}: the disk does not take the lesson ({error.strerror}); free space"
            ) from error

    def _enter(self, entry: Entry) -> None:
        index = self._streams[entry.stream]
        if entry.void:
            index.forget(entry.number)
            return
        index.enter(entry)
        if self._started_ms is None or entry.capture_ms < self._started_ms:
            self._started_ms = entry.capture_ms

    def _void(self, stream: Stream, number: int) -> None:
        with self._on_disk():
            self._files.take_back(stream, number)
        self._streams[stream].forget(number)
        self._digests.pop((stream, number), None)

    def _digest(self, stream: Stream, number: int) -> bytes | None:
        known = self._digests.get((stream, number))
        if known is not None:
            return known
        wire = self.read(stream, number)
        return None if wire is None else digest(parse_record(wire))

    def _promised(self, stream: Stream, number: int) -> bytes | None:
        """Return the hash that a stored signature names for a record."""
        found = self._coverage.find(stream, number)
        if found is None:
            return None
        signature, digest_index = found
        if self._hashes[0] != signature:
            wire = self.read(SIGNATURES, signature)
            if wire is None:
                return None
            ranges = parse_group(parse_record(wire)).ranges
            self._hashes = (signature, [one for _, digests in ranges for one in digests])
        return self._hashes[1][digest_index]

    def _void_contradicting(self, group: Group) -> None:
        for covered, digests in group.ranges:
            for number, promised in enumerate(digests, covered.first):
                if not self.has(covered.stream, number):
                    continue
                stored = self._digest(covered.stream, number)
                if stored is not None and not hmac.compare_digest(stored, promised):
                    self._void(covered.stream, number)

    def _cover(self, group: Group, signature: int) -> None:
        self._coverage.add(group, signature)
        for covered, _ in group.ranges:
            for number in range(covered.first, covered.first + covered.count):
                self._digests.pop((covered.stream, number), None)
        self._final = self._final or group.final

    def _is_settled(self) -> bool:
        """Tell whether all of the take's signatures are here: what they leave out is no part."""
        signatures = self.index(SIGNATURES).present
        return self._final and signatures.count == signatures.head + 1

    def _settle(self) -> None:
        """Give up what the flagship sent live, then lost with its power, and so never signed."""
        if not self._is_settled():
            return
        for stream, number, _ in self.unsigned():
            self._void(stream, number)


def _open(folder: Path) -> tuple[int, int]:
    """Return the log's and the index's descriptors, the log locked against other processes.

    A folder that the disk takes no further goes again: half of a take could never be opened.
    """
    is_new = not folder.exists()
    try:
        return _open_files(folder)
    except FragmentStoreError:
        if is_new:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _open_files(folder: Path) -> tuple[int, int]:
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with contextlib.ExitStack() as opened:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = os.open(folder / LOG_NAME, flags, 0o600)
        except OSError as error:
            raise FragmentStoreError(
                f"{folder}: {error.strerror}; check the data folder"
            ) from error
        opened.callback(os.close, log)
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            index = os.open(folder / INDEX_NAME, flags, 0o600)
            opened.callback(os.close, index)
            for parent in (folder, folder.parent, folder.parent.parent):
                _sync_folder(parent)
        except OSError as error:
            raise FragmentStoreError(
                f"{folder}: in use by another process or not writable ({error.strerror}); "
                "stop the other one"
            ) from error
        opened.pop_all()
    return log, index


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
