"""H.264 pictures out of RTP packets (RFC 6184), with the parameter sets they need."""

import base64
import binascii
from dataclasses import dataclass
from enum import IntEnum

from drivers.codecs.h264_sps import SpsFacts, parse_sps, read_pps_id
from drivers.codecs.rtp import RtpPacket, Sequence
from drivers.codecs.sdp import Media
from drivers.errors import ProtocolError, RefusedError

ACCESS_UNIT_BYTES_MAX = 4 * 1024 * 1024
UNITS_MAX = 1024
PARAMETER_SET_BYTES_MAX = 1024
PARAMETER_SETS_MAX = 4

_STAP_HEAD = 2
_FRAGMENT_HEAD = 2
_START = 0x80
_END = 0x40
_MODES = {"0", "1"}


class Unit(IntEnum):
    """NAL unit types and RTP payload structures (ITU-T H.264 table 7-1, RFC 6184 table 1)."""

    SLICE = 1
    PARTITION_C = 4
    IDR = 5
    SPS = 7
    PPS = 8
    DELIMITER = 9
    FILLER = 12
    STAP_A = 24
    FU_A = 28


# An avc1 sample carries no parameter sets, and delimiters and filler say nothing to a decoder.
_LEFT_OUT = {Unit.SPS, Unit.PPS, Unit.DELIMITER, 10, 11, Unit.FILLER}
_PICTURE = range(Unit.SLICE, Unit.IDR + 1)
_SINGLE = range(1, Unit.STAP_A)


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFormat:
    """What a decoder has to know before the first picture."""

    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]
    facts: SpsFacts

    @property
    def codec(self) -> str:
        """The codec's name for MediaSource (RFC 6381 §3.3)."""
        return f"avc1.{self.sps[0][1:4].hex()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One access unit; ``data`` is NAL units, each after its length in four bytes."""

    timestamp: int
    keyframe: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Packets are missing; no picture follows until the next keyframe."""

    packets: int


class ParameterSets:
    """The latest parameter sets of a stream, by id."""

    def __init__(self) -> None:
        self._sps: dict[int, bytes] = {}
        self._pps: dict[int, bytes] = {}

    def put(self, unit: bytes) -> None:
        """Keep a parameter set; raises ProtocolError where it is broken or one too many."""
        if len(unit) > PARAMETER_SET_BYTES_MAX:
            raise ProtocolError(f"H.264 parameter set of {len(unit)} bytes")
        if unit[0] & 0x1F == Unit.SPS:
            key, known = parse_sps(unit).sps_id, self._sps
        else:
            key, known = read_pps_id(unit), self._pps
        if key not in known and len(known) >= PARAMETER_SETS_MAX:
            raise ProtocolError(f"more than {PARAMETER_SETS_MAX} H.264 parameter sets of a kind")
        known[key] = unit

    def video_format(self) -> VideoFormat | None:
        """Return the format, or None while a parameter set of either kind is missing."""
        if not self._sps or not self._pps:
            return None
        sps = tuple(self._sps[key] for key in sorted(self._sps))
        pps = tuple(self._pps[key] for key in sorted(self._pps))
        return VideoFormat(sps=sps, pps=pps, facts=parse_sps(sps[0]))


def parameter_sets(media: Media) -> ParameterSets:
    """Return what the session description already tells; raises RefusedError for other codecs."""
    if media.encoding != "H264":
        raise RefusedError(
            f"the camera's picture is {media.encoding or 'of an unnamed kind'}, which browsers "
            "do not play; set its video encoding to H.264"
        )
    if media.parameters.get("packetization-mode", "0") not in _MODES:
        raise RefusedError("the camera interleaves its pictures; set H.264 packetization-mode 1")
    sets = ParameterSets()
    for word in media.parameters.get("sprop-parameter-sets", "").split(",")[
        : 2 * PARAMETER_SETS_MAX
    ]:
        try:
            unit = base64.b64decode(word, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ProtocolError("sprop-parameter-sets is not base64") from error
        if unit and unit[0] & 0x1F in {Unit.SPS, Unit.PPS}:
            sets.put(unit)
    return sets


class VideoDepacketiser:
    """Collects one stream's packets into pictures, from a keyframe on and after each loss again.

    Single NAL units, STAP-A and FU-A (packetization modes 0 and 1). A picture ends at its marker,
    or where a camera sets none, at the next timestamp.
    """

    def __init__(self, sets: ParameterSets) -> None:
        self.sets = sets
        self._sequence = Sequence()
        self._units: list[bytes] = []
        self._bytes = 0
        self._timestamp: int | None = None
        self._keyframe = False
        self._pictured = False
        self._fragments: list[bytes] | None = None
        self._broken = False  # the picture being collected has lost a packet
        self._waiting = True  # for a keyframe

    def take(self, packet: RtpPacket) -> list[Picture | Loss]:
        """Return what this packet completes.

        Raises ProtocolError for a malformed packet; the picture it belongs to is then left out.
        """
        found: list[Picture | Loss] = []
        gap = self._sequence.gap(packet.sequence)
        if gap is None:
            return []
        if gap:
            found.append(Loss(packets=gap))
            self._lose()
        if packet.timestamp != self._timestamp:
            found += self._finish()
            self._timestamp = packet.timestamp
            self._broken = bool(gap) and not _opens_picture(packet.payload)
        try:
            self._take_payload(packet.payload)
        except ProtocolError:
            self._lose()
            raise
        if packet.marker:
            found += self._finish()
        return found

    def _lose(self) -> None:
        self._broken = True
        self._waiting = True
        self._fragments = None

    def _finish(self) -> list[Picture]:
        if self._fragments is not None:
            self._lose()
        timestamp, units, keyframe = self._timestamp, self._units, self._keyframe
        whole = self._pictured and not self._broken
        self._units, self._bytes, self._fragments = [], 0, None
        self._keyframe = self._pictured = self._broken = False
        if timestamp is None or not whole or (self._waiting and not keyframe):
            return []
        self._waiting = False
        data = b"".join(units)
        return [Picture(timestamp=timestamp, keyframe=keyframe, data=data)]

    def _take_payload(self, payload: bytes) -> None:
        if not payload:
            return  # padding only: some cameras keep the path open so
        if payload[0] & 0x80:
            raise ProtocolError("H.264 payload with its forbidden bit set")
        kind = payload[0] & 0x1F
        if kind == Unit.FU_A:
            self._take_fragment(payload)
            return
        if self._fragments is not None:
            raise ProtocolError("H.264 fragments end without their last")
        if kind == Unit.STAP_A:
            self._take_aggregate(payload)
        elif kind in _SINGLE:
            self._take_unit(payload)
        else:
            raise ProtocolError(f"RTP payload structure {kind} is not of packetization mode 0 or 1")

    def _take_aggregate(self, payload: bytes) -> None:
        position = 1
        while position < len(payload):
            start = position + _STAP_HEAD
            position = start + int.from_bytes(payload[position:start], "big")
            if not start < position <= len(payload):
                raise ProtocolError("H.264 aggregate is cut off")
            if payload[start] & 0x1F not in _SINGLE:
                raise ProtocolError("H.264 aggregate holds something else than NAL units")
            self._take_unit(payload[start:position])

    def _take_fragment(self, payload: bytes) -> None:
        if len(payload) <= _FRAGMENT_HEAD:
            raise ProtocolError("H.264 fragment is empty")
        indicator, head = payload[0], payload[1]
        if head & _START:
            if self._fragments is not None or head & _END or head & 0x1F not in _SINGLE:
                raise ProtocolError("H.264 fragment starts out of place")
            self._fragments = [bytes(((indicator & 0xE0) | (head & 0x1F),))]
        elif self._fragments is None:
            if self._broken:
                return  # the rest of a unit whose start is lost
            raise ProtocolError("H.264 fragment without a start")
        self._count(len(payload))
        self._fragments.append(payload[_FRAGMENT_HEAD:])
        if head & _END:
            unit = b"".join(self._fragments)
            self._fragments = None
            self._take_unit(unit)

    def _take_unit(self, unit: bytes) -> None:
        kind = unit[0] & 0x1F
        if kind in {Unit.SPS, Unit.PPS}:
            self.sets.put(unit)
        if kind in _LEFT_OUT:
            return
        self._pictured = self._pictured or kind in _PICTURE
        self._keyframe = self._keyframe or kind == Unit.IDR
        self._count(len(unit))
        if len(self._units) >= UNITS_MAX:
            raise ProtocolError(f"H.264 picture of more than {UNITS_MAX} units")
        self._units.append(len(unit).to_bytes(4, "big") + unit)

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > 2 * ACCESS_UNIT_BYTES_MAX:
            raise ProtocolError(f"H.264 picture of more than {ACCESS_UNIT_BYTES_MAX} bytes")


def _opens_picture(payload: bytes) -> bool:
    """Tell whether nothing of a picture can come before this payload (H.264 §7.4.1.2.3)."""
    first = payload[3:4] if payload[:1] and payload[0] & 0x1F == Unit.STAP_A else payload[:1]
    return bool(first) and first[0] & 0x1F in {Unit.SPS, Unit.DELIMITER}
