"""Pictures and sound that a peer, ffmpeg, encoded and fragmented, taken apart again."""

import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.system_needs import need

FPS = 25
GROUP = 25


@dataclass(frozen=True)
class Track:
    """A track as ffmpeg fragments it: picture by picture, sound by the tenth of a second.

    ``times`` are the fragments' decode times in units of ``timescale``.
    """

    mime: str
    init: bytes
    fragments: list[bytes]
    times: list[int]
    timescale: int


def encode_picture(path: Path, size: str, seconds: int) -> Track:
    """Encode a moving picture of so many seconds, a keyframe each second."""
    return _encode(
        path,
        f"-i testsrc2=size={size}:rate={FPS} -c:v libx264 -profile:v baseline -preset ultrafast"
        f" -tune zerolatency -g {GROUP} -bf 0 -frag_duration 1 -pix_fmt yuv420p -t {seconds}",
    )


def encode_sound(path: Path, seconds: int) -> Track:
    """Encode a tone of so many seconds."""
    tone = "sine=frequency=1000:sample_rate=48000"
    return _encode(path, f"-i {tone} -c:a aac -frag_duration 100000 -t {seconds}")


def _encode(path: Path, wish: str) -> Track:
    argv = f"{need('ffmpeg', 'ffmpeg')} -loglevel error -f lavfi {wish}".split()
    argv += ["-movflags", "empty_moov+default_base_moof", "-f", "mp4", str(path)]
    subprocess.run(argv, check=True)
    init, fragments, moof = b"", [], b""
    for name, box in _boxes(path.read_bytes()):
        if name in {b"ftyp", b"moov"}:
            init += box
        elif name == b"moof":
            moof = box
        elif name == b"mdat":
            fragments.append(moof + box)
    mime = 'audio/mp4; codecs="mp4a.40.2"'
    if b"avcC" in init:
        at = init.index(b"avcC") + 5
        mime = f'video/mp4; codecs="avc1.{init[at : at + 3].hex()}"'
    times = [_field(data, b"tfdt", 4, ">Q") for data in fragments]
    return Track(mime, init, fragments, times, _field(init, b"mdhd", 12, ">I"))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        yield name, data[at : at + size]
        at += size


def _field(data: bytes, name: bytes, offset: int, form: str) -> int:
    (value,) = struct.unpack_from(form, data, data.index(name) + 4 + offset)
    return int(value)
