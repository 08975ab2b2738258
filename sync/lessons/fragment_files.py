"""The two files of a take on disk; what the disk refuses raises OSError.

``records.log`` holds records in order of arrival, each led by its length and CRC-32 (4 + 4 bytes,
big-endian). ``records.idx`` holds one entry a record and is written only after the log's fsync,
so that opening a take reads the index and then checks no more of the log than the last second
before a crash. A torn tail of either is cut off on opening.
"""

import fcntl
import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from sync.lessons.fragment_index import (
    ENTRY_BYTES,
    Entry,
    decode_entries,
    encode_entry,
    entry_of,
)
from sync.lessons.fragment_log import RECORD_BYTES_MAX, Record, Stream, parse_header

LOG_NAME, INDEX_NAME = "records.log", "records.idx"

_PREFIX = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class PendingSync:
    """An fsync under way; :meth:`wait` may run in a thread, on a descriptor of its own."""

    descriptor: int
    upto: int

    def wait(self) -> None:
        try:
            os.fsync(self.descriptor)
        finally:
            os.close(self.descriptor)


class TakeFiles:
    """Appends records and reads them back; :meth:`load` comes first."""

    def __init__(self, log: int, index: int) -> None:
        """Both are descriptors that append, the log's locked; :meth:`close` closes them."""
        self._log = log
        self._index = index
        self._end = 0
        self._unsynced: list[Entry] = []
        self._synced = 0

    @property
    def stored_bytes(self) -> int:
        return self._end

    def load(self) -> Iterator[Entry]:
        """Yield what is stored, in order of arrival, and what was taken back; cut off the rest."""
        yield from self._load_index()
        yield from self._load_tail()

    def append(self, record: Record) -> Entry:
        length = len(record.wire)
        prefix = _PREFIX.pack(length, zlib.crc32(record.wire))
        try:
            _write_all(self._log, prefix + record.wire)
        except OSError:
            os.ftruncate(self._log, self._end)
            raise
        return self._note(entry_of(record.header, self._end, length))

    def read(self, offset: int, length: int) -> bytes | None:
        """Return a record's bytes, None where they are damaged."""
        stored = os.pread(self._log, _PREFIX.size + length, offset)
        wire = stored[_PREFIX.size :]
        return wire if stored[: _PREFIX.size] == _PREFIX.pack(length, zlib.crc32(wire)) else None

    def take_back(self, stream: Stream, number: int) -> None:
        """Let a record be none from here on."""
        self.sync()
        self._enter_on_disk([Entry(stream=stream, number=number, void=True)])

    def begin_sync(self) -> PendingSync | None:
        """Start to make durable what is appended so far; None when it is."""
        if not self._unsynced:
            return None
        return PendingSync(os.dup(self._log), self._synced + len(self._unsynced))

    def end_sync(self, pending: PendingSync) -> None:
        """Enter into the index what ``pending`` made durable; after an error the next one does."""
        count = max(0, pending.upto - self._synced)
        self._enter_on_disk(self._unsynced[:count])
        del self._unsynced[:count]
        self._synced += count

    def sync(self) -> None:
        """Make durable what is appended so far."""
        pending = self.begin_sync()
        if pending is not None:
            pending.wait()
            self.end_sync(pending)

    def close(self) -> None:
        self._unsynced.clear()
        # An fsync that goes on in a thread has a descriptor of its own, and would keep the lock.
        fcntl.flock(self._log, fcntl.LOCK_UN)
        os.close(self._log)
        os.close(self._index)

    def _note(self, entry: Entry) -> Entry:
        """Take up a record that lies in the log and not yet in the index."""
        self._unsynced.append(entry)
        self._end = _end_of(entry)
        return entry

    def _enter_on_disk(self, entries: list[Entry]) -> None:
        whole = os.fstat(self._index).st_size
        try:
            _write_all(self._index, b"".join(encode_entry(entry) for entry in entries))
        except OSError:
            os.ftruncate(self._index, whole)  # half an entry would hide all that follow
            raise

    def _load_index(self) -> Iterator[Entry]:
        log_bytes = os.fstat(self._log).st_size
        kept = 0
        for entry in decode_entries(os.pread(self._index, os.fstat(self._index).st_size, 0)):
            if not entry.void:
                if _end_of(entry) > log_bytes:
                    break
                self._end = _end_of(entry)
            yield entry
            kept += ENTRY_BYTES
        os.ftruncate(self._index, kept)

    def _load_tail(self) -> Iterator[Entry]:
        """Take up what was appended after the last fsync, as far as it is whole."""
        while True:
            prefix = os.pread(self._log, _PREFIX.size, self._end)
            if len(prefix) < _PREFIX.size:
                break
            length, check = _PREFIX.unpack(prefix)
            if not 0 < length <= RECORD_BYTES_MAX:
                break
            wire = os.pread(self._log, length, self._end + _PREFIX.size)
            if len(wire) < length or zlib.crc32(wire) != check:
                break
            header, _ = parse_header(wire)
            yield self._note(entry_of(header, self._end, length))
        os.ftruncate(self._log, self._end)


def _end_of(entry: Entry) -> int:
    return entry.offset + _PREFIX.size + entry.length


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
