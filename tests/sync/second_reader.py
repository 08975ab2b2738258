"""A second implementation of what is stored and how it merges, after sync/README.md's Wire chapter.

It shares no code with ``sync``: each step follows a sentence of that chapter, or the RFC it names.
Messages, streams, courier files and rosters it does not read.
"""

import hashlib
import hmac
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import msgspec
import zstandard
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

Cell = int | float | str | bytes | None
Rows = dict[int, dict[int, dict[int, Cell]]]
"""Table -> row number -> column number -> cell, without nulls."""
Model = dict[object, tuple[int, int]]
"""A decision's place -> its chance of 65,536, and how often it was taken, at most 30."""
GROUPS = ("district", "health", "identity", "grant")
_CONTENT_BYTES_MAX = 1024 * 1024
_SUITE = (0x0020, 0x0001, 0x0003)


class RefusedError(Exception):
    """Bytes that no honest writer made."""


@dataclass(frozen=True)
class Segment:
    header: list[Any]
    digest: bytes  # what the next segment's header names as the one before it
    bodies: list[bytes]  # sealed; none of a hollow one


def read_segment(wire: bytes, public: bytes) -> Segment:
    """Check signature and bodies' digests; the chain is :func:`check_follows`."""
    magic, length = struct.unpack_from(">4sH", wire)
    header_bytes, signature = wire[6 : 6 + length], wire[6 + length : 70 + length]
    try:
        signed = b"schoolnode segment\x00" + header_bytes
        Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)
    except InvalidSignature as error:
        raise RefusedError("not signed by this key") from error
    header = msgspec.msgpack.decode(header_bytes)
    if header[3] != hashlib.sha256(public).digest()[:8]:
        raise RefusedError("another signer is named")
    at, bodies = 70 + length, []
    for _, _, _, size, digest in {b"SNS1": header[9], b"SNH1": []}[magic]:
        bodies.append(wire[at : at + size])
        at += size
        if hashlib.sha256(bodies[-1]).digest() != digest:
            raise RefusedError("a body that its header does not name")
    if at != len(wire):
        raise RefusedError("bytes behind the last body")
    return Segment(header, hashlib.sha256(header_bytes).digest(), bodies)


def check_follows(segment: Segment, before: Segment | None) -> None:
    log, seq, prev, *_ = segment.header
    if before is None:
        follows = (seq, prev) == (1, bytes(32))
    else:
        follows = (log, seq, prev) == (before.header[0], before.header[1] + 1, before.digest)
    if not follows:
        raise RefusedError("this segment follows another one")


def open_bodies(segment: Segment, keys: Iterable[bytes], dictionary: bytes) -> dict[str, bytes]:
    """Return what each group holds of a segment, as far as ``keys`` open it."""
    by_id = {key_id(key): key for key in keys}
    found = {}
    for (number, name, salt, _, _), body in zip(segment.header[9], segment.bodies, strict=True):
        group, frame = GROUPS[number], body
        if group != "grant":
            if name not in by_id:
                continue
            place = msgspec.msgpack.encode([segment.header[0], segment.header[1], group])
            key = hkdf(by_id[name], salt, b"schoolnode segment body", 32)
            frame = _unseal(key, bytes(12), body, place)
        if not 0 <= zstandard.frame_content_size(frame) <= _CONTENT_BYTES_MAX:
            raise RefusedError("a frame that does not state its size, or too much of it")
        raw = zstandard.ZstdCompressionDict(dictionary, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        found[group] = zstandard.ZstdDecompressor(dict_data=raw).decompress(frame)
    return found


def read_rows(content: bytes) -> Rows:
    tables: Rows = {}
    for table, _, count, numbers, columns in msgspec.msgpack.decode(content):
        rows: dict[int, dict[int, Cell]] = {
            _integer(row): {} for row in read_column(numbers, count)
        }
        for column, encoded in columns:
            for row, cell in zip(rows.values(), read_column(encoded, count), strict=True):
                if cell is not None:
                    row[column] = cell
        tables[table] = rows
    return tables


def read_column(  # noqa: C901 - a case a kind
    encoded: Sequence[Any], rows: int
) -> list[Cell]:
    kind, nulls, *rest = encoded
    values: list[Cell]
    match kind, rest:
        case 0, [value]:
            values = [value] * rows
        case 1, [first, step, width, planes]:
            steps = (each + step for each in _unplane(width, planes, rows - 1))
            values = [*accumulate(steps, initial=first)]
        case 2, [low, width, planes]:
            values = [low + each for each in _unplane(width, planes, rows)]
        case 3, [places, low, width, planes]:
            values = [(low + each) / 10**places for each in _unplane(width, planes, rows)]
        case 4, [planes]:
            whole = _unplane(8, planes, rows)
            values = [struct.unpack("<d", struct.pack("<Q", each))[0] for each in whole]
        case 5, [distinct, width, planes]:
            values = [distinct[each] for each in _unplane(width, planes, rows)]
        case 6, [plain]:
            values = plain
        case 7, [count, column, width, planes]:
            few = read_column(column, count)
            values = [few[each] for each in _unplane(width, planes, rows)]
        case _:
            raise RefusedError(f"no column of kind {kind}")
    if len(values) != rows:
        raise RefusedError("a column of another length")
    if nulls is None:
        return values
    return [None if nulls[i // 8] >> i % 8 & 1 else value for i, value in enumerate(values)]


def read_part(content: bytes) -> tuple[tuple[int, int, int, int], Rows]:
    """Return a snapshot part's (incarnation, lane, first row, last row) and its rows."""
    prefix = struct.Struct(">QBQQ")
    incarnation, lane, first, last = prefix.unpack_from(content)
    return (incarnation, lane, first, last), read_rows(content[prefix.size :])


def digests(incarnation: int, lane: int, tables: Rows) -> dict[int, bytes]:
    """Return what a record says of these rows, table by table."""
    sums = {}
    for table, rows in tables.items():
        told = [[incarnation, lane, table, row, sorted(rows[row].items())] for row in rows]
        parts = [hashlib.sha256(msgspec.msgpack.encode(each)).digest() for each in told]
        total = sum(int.from_bytes(part, "big") for part in parts)
        sums[table] = (total % (1 << 256)).to_bytes(32, "big")
    return sums


def open_grant(private: bytes, purpose: str, suite: int, name: bytes, wrapped: bytes) -> bytes:
    """Return the data key of a grant: RFC 9180, base mode, the receiver's side."""
    kem, kdf, aead = _SUITE
    if suite != kem << 32 | kdf << 16 | aead:
        raise RefusedError(f"HPKE suite {suite:#x}")
    own = X25519PrivateKey.from_private_bytes(private)
    enc, sealed = wrapped[:32], wrapped[32:]
    suite_id = b"HPKE" + struct.pack(">HHH", *_SUITE)
    kem_id = b"KEM" + struct.pack(">H", kem)
    agreed = own.exchange(X25519PublicKey.from_public_bytes(enc))
    context = enc + own.public_key().public_bytes_raw()
    secret = _extract(kem_id, b"", b"eae_prk", agreed)
    shared = _expand(kem_id, secret, b"shared_secret", context, 32)
    info = b"schoolnode key grant\x00" + purpose.encode()
    hashed = [
        _extract(suite_id, b"", label, data)
        for label, data in ((b"psk_id_hash", b""), (b"info_hash", info))
    ]
    schedule = b"\x00" + b"".join(hashed)
    secret = _extract(suite_id, shared, b"secret", b"")
    nonce = _expand(suite_id, secret, b"base_nonce", schedule, 12)
    key = _unseal(_expand(suite_id, secret, b"key", schedule, 32), nonce, sealed, b"")
    if key_id(key) != name:
        raise RefusedError("another key than the grant names")
    return key


def open_cell(key: bytes, person: int, column: str, sealed: bytes) -> str:
    place = f"schoolnode person {person} {column}".encode()
    padded = _unseal(key, sealed[:12], sealed[12:], place)
    return padded[: padded.rindex(b"\x80")].decode()


def key_id(key: bytes) -> bytes:
    return hkdf(key, b"", b"schoolnode key id", 8)


def hkdf(key: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 with SHA-256, of up to one block."""
    return hmac.digest(hmac.digest(salt, key, "sha256"), info + b"\x01", "sha256")[:length]


def tops_of(
    log: Sequence[Any], clamps: Iterable[tuple[str, int, int]], last_stamps: Mapping[int, int]
) -> dict[int, int]:
    """Return ``top`` of each clamped segment of a log; ``last_stamps`` are by segment."""
    origin, incarnation, audience, lane = log
    lanes = ("alarm", "control", "attendance", "lessons", "telemetry", "bulk", "snapshot")
    name = f"{origin}/{incarnation:016x}/{audience}/{lanes[lane]}"
    moments: dict[int, int] = {}
    for said, seq, moment in clamps:
        if said == name and origin and seq > 0 and 0 <= moment <= 2**46:
            moments[seq] = min(moment, moments.get(seq, moment))
    tops: dict[int, int] = {}
    for seq in sorted(moments):
        before = 0 if seq - 1 in tops else last_stamps.get(seq - 1, 0)
        lifted = [top + 2 * 4097 for top in tops.values()]
        tops[seq] = max(moments[seq] << 16, before, *lifted)
    return tops


def stamp_of(stamp: int, place: int, seq: int, tops: Mapping[int, int]) -> int:
    """Return the stamp that counts, of the row at ``place`` (from 1) of its table in a segment."""
    floor = max((top + 4097 for earlier, top in tops.items() if earlier < seq), default=0)
    return max(min(stamp, tops[seq] + place) if seq in tops else stamp, floor + place)


Key = tuple[Any, ...]


@dataclass(frozen=True)
class Write:
    """One row of a segment's primary body; ``cells`` by column number, its own fields below 0."""

    log: tuple[int, int, str, int]
    row: int
    stamp: int  # as it counts
    cells: Mapping[int, Cell]


def merge_events(writes: Iterable[Write], device_key: int | None) -> list[tuple[int, Write]]:
    """Return the events that stand, each with its school."""
    found: dict[Key, tuple[int, Write]] = {}
    for write in writes:
        audience = write.log[2]
        school = int(audience[1:]) if audience.startswith("s") else write.log[0]
        told = None if device_key is None else write.cells.get(device_key)
        key = (write.log, write.row) if told is None else (school, told)
        if key not in found or _position(write) < _position(found[key][1]):
            found[key] = school, write
    return [*found.values()]


def merge_states(writes: Iterable[Write], keys: Sequence[int]) -> dict[Key, Write]:
    """Return the whole rows that stand, by school and key."""
    found: dict[Key, Write] = {}
    for write in writes:
        key = (write.cells[-1], *(write.cells[each] for each in keys))
        if key not in found or _order(write) > _order(found[key]):
            found[key] = write
    return found


Column = tuple[tuple[int, int], Cell]
"""Clock (stamp, origin) and cell."""


def merge_columns(
    writes: Iterable[Write], keys: Sequence[int], columns: Sequence[int]
) -> dict[Key, dict[int, Column]]:
    """Return rows of two writers, by school and key; column 0 is the tombstone."""
    found: dict[Key, dict[int, Column]] = {}
    for write in writes:
        key = (write.cells[-1], *(write.cells[each] for each in keys))
        before: dict[int, Column] = {each: ((0, 0), None) for each in columns if each not in keys}
        row = found.setdefault(key, {0: ((0, 0), 0), **before})
        for number in row:
            if _integer(write.cells[-4]) >> number & 1:
                cell = write.cells.get(number) if number else int(write.cells.get(-3) == 1)
                mine: Column = ((write.stamp, write.log[0]), cell)
                row[number] = max(row[number], mine, key=_encoded)
    return found


class RangeReader:
    """What a short body's cells are coded with; a model is a dict, empty at first."""

    def __init__(self, coded: bytes) -> None:
        self._coded = coded
        self._at = 6
        self._code = int.from_bytes(coded[:6].ljust(6, b"\0"), "big")
        self._range = 2**48

    def decide(self, model: Model, place: object) -> int:
        chance, cases = model.get(place, (32_768, 0))
        bound, rate = self._range // 65_536 * chance, 131_072 // (2 * cases + 3)
        if is_one := self._code < bound:
            self._range = bound
            chance += (65_440 - chance) * rate // 65_536
        else:
            self._code -= bound
            self._range -= bound
            chance -= (chance - 96) * rate // 65_536
        model[place] = chance, min(cases + 1, 30)
        self._widen()
        return int(is_one)

    def even(self, bits: int) -> int:
        self._range >>= bits
        value = min(self._code // self._range, (1 << bits) - 1)
        self._code -= self._range * value
        self._widen()
        return value

    def symbol(self, model: Model, name: str, bits: int, first: int = 0) -> int:
        node = 1
        for _ in range(bits):
            node = 2 * node + self.decide(model, (name, first + node))
        return node - (1 << bits)

    def integer(self, model: Model) -> int:
        size = self.symbol(model, "size", 7)
        if size == 0:
            return 0
        if size > 65:
            raise RefusedError("an integer that is too long")
        is_negative = self.decide(model, ("sign", size))
        shaped = min(size - 1, 2)
        magnitude = (1 << shaped) + self.symbol(model, "shape", shaped, 4 * size)
        left = size - 1 - shaped
        while left > 0:
            bits = min(left, 16)
            magnitude = (magnitude << bits) + self.even(bits)
            left -= bits
        return -magnitude if is_negative else magnitude

    def finish(self) -> None:
        if self._at < len(self._coded):
            raise RefusedError("bytes that were not reached")

    def _widen(self) -> None:
        while self._range < 2**40:
            self._range *= 256
            self._code = self._code * 256 + (self._coded[self._at : self._at + 1] or b"\0")[0]
            self._at += 1


def _encoded(column: Column) -> tuple[tuple[int, int], bytes]:
    return column[0], msgspec.msgpack.encode(column[1])


def _order(write: Write) -> tuple[int, int, int, int]:
    return write.stamp, write.log[0], *_position(write)


def _position(write: Write) -> tuple[int, int]:
    return write.log[1], write.row


def _integer(cell: Cell) -> int:
    if not isinstance(cell, int):
        raise RefusedError(f"{cell!r} where an integer belongs")
    return cell


def _unplane(width: int, planes: bytes, count: int) -> list[int]:
    if len(planes) != width * count:
        raise RefusedError("planes of another length")
    return [
        int.from_bytes(planes[place::count], "little") if width else 0 for place in range(count)
    ]


def _unseal(key: bytes, nonce: bytes, sealed: bytes, place: bytes) -> bytes:
    try:
        return ChaCha20Poly1305(key).decrypt(nonce, sealed, place)
    except InvalidTag as error:
        raise RefusedError("sealed by another key, or for another place") from error


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(salt, b"HPKE-v1" + suite + label + material, "sha256")


def _expand(suite: bytes, secret: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = struct.pack(">H", length) + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:length]
