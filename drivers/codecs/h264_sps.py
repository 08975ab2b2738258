"""The few facts of H.264 parameter sets that a container repeats (ITU-T H.264 §7.3.2)."""

from dataclasses import dataclass

from drivers.errors import ProtocolError

SIDE_MAX = 8192

# §7.3.2.1.1: profiles whose SPS tells the chroma format.
_CHROMA_PROFILES = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}
_CHROMA_420 = 1
_CHROMA_444 = 3
_CYCLE_MAX = 255
_SPS_IDS = 32
_PPS_IDS = 256
_GOLOMB_ZEROS_MAX = 31
_SPS_HEAD = 4
_SMALL_SCALING_LISTS = 6  # of 4 x 4; those after them are of 8 x 8


@dataclass(frozen=True, slots=True, kw_only=True)
class SpsFacts:
    """Width and height are of the shown picture, in pixels."""

    sps_id: int
    profile: int
    width: int
    height: int
    chroma_format: int
    luma_bits: int
    chroma_bits: int


class BitReader:
    """Reads an RBSP bit by bit; raises ProtocolError past its end."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def bits(self, count: int) -> int:
        if count > self._left:
            raise ProtocolError("H.264 parameter set is cut off")
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1)

    def golomb(self) -> int:
        """Read ue(v) (§9.1)."""
        zeros = 0
        while not self.bits(1):
            zeros += 1
            if zeros > _GOLOMB_ZEROS_MAX:
                raise ProtocolError("H.264 parameter set has a number of more than 32 bits")
        return (1 << zeros) - 1 + self.bits(zeros)

    def signed_golomb(self) -> int:
        """Read se(v) (§9.1.1)."""
        code = self.golomb()
        return (code + 1) // 2 if code & 1 else -(code // 2)


def parse_sps(unit: bytes) -> SpsFacts:
    """Parse a sequence parameter set NAL unit, up to its cropping."""
    if len(unit) <= _SPS_HEAD:
        raise ProtocolError("H.264 sequence parameter set is cut off")
    profile = unit[1]
    bits = BitReader(_rbsp(unit[_SPS_HEAD:]))
    sps_id = _within(bits.golomb(), _SPS_IDS)
    chroma_format, luma_bits, chroma_bits = _CHROMA_420, 8, 8
    separate_planes = 0
    if profile in _CHROMA_PROFILES:
        chroma_format = _within(bits.golomb(), _CHROMA_444 + 1)
        separate_planes = bits.bits(1) if chroma_format == _CHROMA_444 else 0
        luma_bits = 8 + _within(bits.golomb(), 7)
        chroma_bits = 8 + _within(bits.golomb(), 7)
        bits.bits(1)
        _skip_scaling(bits, 8 if chroma_format != _CHROMA_444 else 12)
    bits.golomb()  # log2_max_frame_num_minus4
    _skip_picture_order(bits)
    bits.golomb()  # max_num_ref_frames
    bits.bits(1)
    width = 16 * (bits.golomb() + 1)
    map_units = bits.golomb() + 1
    frames_only = bits.bits(1)
    height = 16 * map_units * (2 - frames_only)
    if not frames_only:
        bits.bits(1)
    bits.bits(1)
    if bits.bits(1):
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        step = _crop_step(0 if separate_planes else chroma_format, frames_only)
        width -= (left + right) * step[0]
        height -= (top + bottom) * step[1]
    if not (0 < width <= SIDE_MAX and 0 < height <= SIDE_MAX):
        raise ProtocolError(f"H.264 picture of {width} x {height}")
    return SpsFacts(
        sps_id=sps_id,
        profile=profile,
        width=width,
        height=height,
        chroma_format=chroma_format,
        luma_bits=luma_bits,
        chroma_bits=chroma_bits,
    )


def read_pps_id(unit: bytes) -> int:
    return _within(BitReader(_rbsp(unit[1:])).golomb(), _PPS_IDS)


def _rbsp(data: bytes) -> bytes:
    """Take out the bytes that keep start codes from arising (§7.4.1)."""
    return data.replace(b"\x00\x00\x03", b"\x00\x00")


def _within(value: int, limit: int) -> int:
    if value >= limit:
        raise ProtocolError(f"H.264 parameter set has {value} where less than {limit} is allowed")
    return value


def _skip_scaling(bits: BitReader, lists: int) -> None:
    if not bits.bits(1):
        return
    for number in range(lists):
        if bits.bits(1):
            _skip_scaling_list(bits, 16 if number < _SMALL_SCALING_LISTS else 64)


def _skip_scaling_list(bits: BitReader, size: int) -> None:
    last = 8
    for _ in range(size):
        last = (last + bits.signed_golomb()) % 256
        if last == 0:
            return


def _skip_picture_order(bits: BitReader) -> None:
    kind = bits.golomb()
    if kind == 0:
        bits.golomb()
    elif kind == 1:
        bits.bits(1)
        bits.signed_golomb()
        bits.signed_golomb()
        for _ in range(_within(bits.golomb(), _CYCLE_MAX + 1)):
            bits.signed_golomb()


def _crop_step(chroma_format: int, frames_only: int) -> tuple[int, int]:
    """Return luma samples a cropping unit, across and down (§7.4.2.1.1, table 6-1)."""
    across = 2 if chroma_format in {1, 2} else 1
    down = 2 if chroma_format == _CHROMA_420 else 1
    return across, down * (2 - frames_only)
