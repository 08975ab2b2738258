"""An H.264 decoder's configuration as encoders of browsers tell it (ISO/IEC 14496-15 §5.3.3.1)."""

from drivers.codecs.h264 import ParameterSets, Unit, VideoFormat
from drivers.errors import ProtocolError

CONFIGURATION_BYTES_MAX = 4096
_HEAD = 5
_LENGTHS_OF_FOUR = 0x3


def parse_avc_configuration(data: bytes) -> VideoFormat:
    """Parse an AVCDecoderConfigurationRecord whose samples have lengths of four bytes.

    Raises ProtocolError.
    """
    if not _HEAD < len(data) <= CONFIGURATION_BYTES_MAX or data[0] != 1:
        raise ProtocolError(f"H.264 configuration of {len(data)} bytes, or of another version")
    if data[4] & 0x3 != _LENGTHS_OF_FOUR:
        raise ProtocolError("H.264 samples with short lengths")
    sets = ParameterSets()
    position = _put(sets, data, _HEAD, data[_HEAD] & 0x1F, Unit.SPS)
    if position >= len(data):
        raise ProtocolError("H.264 configuration is cut off")
    _put(sets, data, position, data[position], Unit.PPS)
    found = sets.video_format()
    if found is None:
        raise ProtocolError("H.264 configuration lacks a parameter set")
    return found


def _put(sets: ParameterSets, data: bytes, position: int, count: int, kind: Unit) -> int:
    """Take in ``count`` parameter sets behind ``position``; return where they end."""
    position += 1
    for _ in range(count):
        start = position + 2
        position = start + int.from_bytes(data[position:start], "big")
        if not start < position <= len(data) or data[start] & 0x1F != kind:
            raise ProtocolError("H.264 configuration is cut off, or holds something else")
        sets.put(data[start:position])
    return position
