"""What one end of a lesson signs of it: how long it went, at what quality, and what was kept.

Both ends of a lesson write such minutes (table ``lesson_minutes``) and everybody who has them, the
other party and the hub, checks the signature with that school's key and holds the two against each
other. Signed is MessagePack of ``[school, lesson, live_s, recorded_s, missing_s, rung, sent_s,
rungs, digest]`` under the context ``schoolnode lesson minutes``.
"""

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from sync.errors import ForgedError, MalformedError
from sync.lessons.fragment_log import SIGNATURES, Stream
from sync.lessons.fragment_rungs import Rung
from sync.lessons.fragment_sealing import parse_group
from sync.lessons.fragment_store import TakeStore
from sync.segments.signing import sign, verify

CONTEXT = b"schoolnode lesson minutes"
REHEARSAL = "rehearsal"
"""The rung of a lesson that does not count."""
APART_S = 2
"""Ends that differ by less agree: each counts whole seconds of its own clock."""
_RUNGS_BYTES_MAX = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Minutes:
    """One school's word on one lesson, in seconds.

    ``sent_s`` is what a flagship gave to the hub while the lesson ran, 0 at a receiver; ``live_s``
    what came (at the flagship: left) as it happened. ``digest`` is :func:`recording_digest`.
    """

    school: int
    lesson: str
    live_s: int
    recorded_s: int
    missing_s: int
    sent_s: int
    rungs: Mapping[str, int]
    digest: bytes
    rehearsal: bool = False

    @property
    def rung(self) -> str:
        """The rung that held longest, the better one of two alike; empty for none."""
        if self.rehearsal:
            return REHEARSAL
        longest = max(Rung, key=lambda rung: self.rungs.get(rung.value, 0))
        return longest.value if self.rungs.get(longest.value) else ""

    def row(self, signing: Ed25519PrivateKey) -> dict[str, int | str | bytes]:
        """Return the row for the table, signed."""
        return {
            "lesson": self.lesson,
            "live_s": self.live_s,
            "recorded_s": self.recorded_s,
            "missing_s": self.missing_s,
            "rung": self.rung,
            "signature": sign(signing, CONTEXT, self._signed()),
            "sent_s": self.sent_s,
            "rungs": encode_rungs(self.rungs),
            "digest": self.digest,
        }

    def check(self, signature: bytes, keys: Iterable[Ed25519PublicKey]) -> None:
        """Raise ForgedError unless one of the school's keys signed exactly these minutes."""
        signed = self._signed()
        for key in keys:
            try:
                verify(key, CONTEXT, signed, signature)
            except ForgedError:
                continue
            return
        raise ForgedError(f"school {self.school}'s minutes are not signed by a box of it")

    def _signed(self) -> bytes:
        return msgspec.msgpack.encode(
            [
                self.school,
                self.lesson,
                self.live_s,
                self.recorded_s,
                self.missing_s,
                self.rung,
                self.sent_s,
                encode_rungs(self.rungs),
                self.digest,
            ]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedMinutes:
    """One party's minutes as they came, with the signature that is to be checked."""

    minutes: Minutes
    signature: bytes

    def is_signed_by(self, keys: Iterable[Ed25519PublicKey]) -> bool:
        """Tell whether one of a school's keys signed exactly these minutes."""
        try:
            self.minutes.check(self.signature, keys)
        except ForgedError:
            return False
        return True


def read_minutes(row: sqlite3.Row) -> SignedMinutes:
    """Return what a row of ``lesson_minutes`` says; raises MalformedError."""
    minutes = Minutes(
        school=row["school"],
        lesson=row["lesson"],
        live_s=row["live_s"] or 0,
        recorded_s=row["recorded_s"] or 0,
        missing_s=row["missing_s"] or 0,
        sent_s=row["sent_s"] or 0,
        rungs=parse_rungs(row["rungs"] or "{}"),
        digest=row["digest"] or b"",
        rehearsal=row["rung"] == REHEARSAL,
    )
    return SignedMinutes(minutes=minutes, signature=row["signature"] or b"")


class Disagreement(StrEnum):
    """Where a receiver's minutes do not fit the flagship's."""

    RECORDED_LESS = "recorded_less"  # it has less than the flagship recorded
    RECORDED_MORE = "recorded_more"
    LIVE_MORE = "live_more"  # it says that more came live than the flagship sent
    OTHER_BYTES = "other_bytes"  # both say whole, and yet the fragments are not the same


def disagreements(flagship: Minutes, receiver: Minutes) -> list[Disagreement]:
    """Hold a receiver's minutes against the flagship's."""
    found: list[Disagreement] = []
    if receiver.recorded_s + APART_S < flagship.recorded_s:
        found.append(Disagreement.RECORDED_LESS)
    if receiver.recorded_s > flagship.recorded_s + APART_S:
        found.append(Disagreement.RECORDED_MORE)
    if receiver.live_s > flagship.sent_s + APART_S:
        found.append(Disagreement.LIVE_MORE)
    whole = not flagship.missing_s and not receiver.missing_s
    if whole and not found and flagship.digest != receiver.digest:
        found.append(Disagreement.OTHER_BYTES)
    return found


def lacking_s(recorded_s: int, missing_s: int, flagship_recorded_s: int | None) -> int:
    """Return the seconds that one end's recording lacks, 0 for none.

    What never came leaves no gap that its school knows of: the flagship's recording tells of that,
    None while its minutes are not there.
    """
    less_s = 0 if flagship_recorded_s is None else flagship_recorded_s - recorded_s
    return max(missing_s, less_s if less_s > APART_S else 0)


def encode_rungs(rungs: Mapping[str, int]) -> str:
    order = [rung.value for rung in Rung if rungs.get(rung.value)]
    return msgspec.json.encode({name: rungs[name] for name in order}).decode()


def parse_rungs(text: str) -> dict[str, int]:
    """Read seconds by rung; raises MalformedError."""
    try:
        if len(text) > _RUNGS_BYTES_MAX:
            raise MalformedError("a lesson's rungs are too long; refuse them")
        found = msgspec.json.decode(text, type=dict[Rung, int])
    except (msgspec.DecodeError, UnicodeError) as error:
        raise MalformedError(f"a lesson's rungs cannot be read: {error}") from error
    return {rung.value: seconds for rung, seconds in found.items() if seconds > 0}


def recording_digest(takes: Iterable[TakeStore]) -> bytes:
    """Return SHA-256 over what of a lesson is stored and signed: equal for equal recordings.

    Over each take's id, and of each of its streams kind, track and the SHA-256 of (number, hash)
    of every record that is here and that a signature names, in the signatures' order. The hashes
    are the signatures', which the store holds its records against.
    """
    whole = hashlib.sha256()
    for store in takes:
        whole.update(store.take)
        for stream, one in sorted(_by_stream(store).items()):
            whole.update(bytes((stream.kind, stream.track)) + one)
    return whole.digest()


def _by_stream(store: TakeStore) -> dict[Stream, bytes]:
    found: dict[Stream, hashlib._Hash] = {}
    for record in store.records(SIGNATURES):
        for covered, digests in parse_group(record).ranges:
            one = found.setdefault(covered.stream, hashlib.sha256())
            for number, promised in enumerate(digests, covered.first):
                if store.has(covered.stream, number):
                    one.update(number.to_bytes(4, "big") + promised)
    return {stream: one.digest() for stream, one in found.items()}
