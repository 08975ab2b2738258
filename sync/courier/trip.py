"""One trip of the courier: what a node puts on a stick for its peer, and what it takes from there.

All methods block on the node's store, each for a small part of the work, so that a daemon's one
writer does other things in between.
"""

from collections.abc import Iterator, Sequence

import msgspec

from sync.courier.parts import (
    CONTEXT,
    LOGS_MAX,
    SEGMENT_BYTES_A_PART,
    VERSION,
    Manifest,
    Part,
    digest_of,
    join_part,
    pack_segments,
    parse_part,
)
from sync.courier.stick import file_name
from sync.errors import MalformedError
from sync.exchange.message import CREDIT_BYTES, Message
from sync.exchange.message import VERSION as EXCHANGE_VERSION
from sync.exchange.session import Session
from sync.logs.log_state import LogState
from sync.node import Imported, Node
from sync.schema.model import Lane
from sync.segments.sealing import RandomBytes
from sync.segments.segment import HUB

_TRIP_BYTES = 8


class Outbound:
    """What a peer lacks by its last receipts, in parts; the urgent lanes come first.

    Everything that waits is sealed. ``left_bytes`` is what did not fit into ``bytes_max``.
    """

    def __init__(
        self, node: Node, peer: int, district: str, bytes_max: int, random_bytes: RandomBytes
    ) -> None:
        self._node = node
        self._peer = peer
        self._district = district
        self._trip = random_bytes(_TRIP_BYTES)
        self._made_ms = max(0, node.clock.now_ms())
        node.seal_all()
        session = Session(node, peer)
        self._have = list(session.holdings().values())[:LOGS_MAX]
        self._parts: list[list[tuple[int, int]]] = [[]]
        self.bytes = self.left_bytes = self.segments = 0
        filled = 0
        lacking = sorted(session.lacking(), key=_turn)
        for log, stored in lacking:
            for seq, size in node.segment_sizes(log.id, stored):
                if self.left_bytes or self.bytes + size > bytes_max:
                    self.left_bytes += size
                    continue
                if filled and filled + size > SEGMENT_BYTES_A_PART:
                    self._parts.append([])
                    filled = 0
                self._parts[-1].append((log.id, seq))
                filled += size
                self.bytes += size
                self.segments += 1

    @property
    def parts(self) -> int:
        return len(self._parts)

    def part(self, number: int) -> tuple[str, bytes]:
        """Return name and content of part ``number``, from 1."""
        found = [self._node.segment(log_id, seq) for log_id, seq in self._parts[number - 1]]
        segments = [wire for wire in found if wire is not None]
        content = pack_segments(segments)
        manifest = msgspec.msgpack.encode(
            Manifest(
                version=VERSION,
                district=self._district,
                origin=self._node.origin,
                recipient=self._peer,
                signer=self._node.signer,
                trip=self._trip,
                made_ms=self._made_ms,
                part=number,
                parts=self.parts,
                incarnation=self._node.incarnation,
                have=self._have if number == 1 else [],
                segments=len(segments),
                digest=digest_of(content),
            )
        )
        signature = self._node.sign(CONTEXT, manifest)
        name = file_name(self._node.origin, self._peer, number)
        return name, join_part(manifest, signature, content)


class Inbound:
    """Takes in parts that others wrote for this node, in any order and any number of times."""

    def __init__(self, node: Node, district: str) -> None:
        self._node = node
        self._district = district

    def open(self, data: bytes) -> Part:
        """Return a part that its sender signed for this node.

        Raises MalformedError, ForgedError, KeyMissingError or, of a box that was revoked since,
        RevokedError with what is wrong of it.
        """
        unproven = parse_part(data)
        manifest = unproven.manifest
        if manifest.district != self._district:
            raise MalformedError(
                f"it is of the district {manifest.district!r}, not of {self._district!r}"
            )
        if manifest.recipient != self._node.origin:
            raise MalformedError(f"it is addressed to {_named(manifest.recipient)}")
        self._node.verify(
            manifest.origin,
            unproven.signer,
            CONTEXT,
            unproven.manifest_bytes,
            unproven.signature,
        )
        return Part(manifest, unproven.segments)

    def take_receipts(self, part: Part) -> bool:
        """Take a part's receipts like an exchange's; return False for those of an old stick.

        They are old when a later stick of that sender was read, or the hub was heard since.
        """
        manifest = part.manifest
        if manifest.part != 1:
            return True
        name = f"courier from {manifest.origin}"
        heard = self._node.clock.heard
        known_ms = heard.told_ms if heard is not None and manifest.origin == HUB else -1
        known_ms = max(known_ms, self._node.remembered(name))
        if manifest.made_ms < known_ms:
            return False
        is_whole = len(manifest.have) < LOGS_MAX
        self._node.peers.note_holdings(manifest.origin, manifest.have, complete=is_whole)
        self._node.remember(name, manifest.made_ms)
        return True

    def take(self, part: Part, segments: Sequence[bytes]) -> Imported:
        """Take in some of a part's segments, durable on return."""
        message = Message(
            version=EXCHANGE_VERSION,
            incarnation=0,
            have=[],
            segments=[*segments],
            credit_bytes=0,
            waiting_bytes=0,
            retry_after_ms=0,
            now_ms=0,
            refused=[],
            taken=0,
        )
        return Session(self._node, part.manifest.origin).hear(message)


def batches(part: Part) -> Iterator[list[bytes]]:
    """Yield a part's segments, as many at a time as one message of an exchange holds."""
    chosen: list[bytes] = []
    total = 0
    for wire in part.segments:
        if chosen and total + len(wire) > CREDIT_BYTES:
            yield chosen
            chosen, total = [], 0
        chosen.append(wire)
        total += len(wire)
    if chosen:
        yield chosen


def _turn(lacking: tuple[LogState, int]) -> tuple[bool, Lane, int]:
    """Return what a stick's logs are ordered by: grants first, without which nothing is taken."""
    log, _ = lacking
    return log.name.lane is not Lane.CONTROL, log.name.lane, log.id


def _named(origin: int) -> str:
    return "the hub" if origin == HUB else f"school {origin}"
