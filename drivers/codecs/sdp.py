"""Session descriptions of cameras (RFC 4566), as far as receiving media needs them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.errors import ProtocolError

SDP_BYTES_MAX = 64 * 1024
MEDIA_MAX = 16
_LINES_MAX = 1000
_PARAMETERS_MAX = 64
_MEDIA = re.compile(r"([a-z]{1,16}) [0-9]{1,5}(?:/[0-9]{1,3})? ([A-Z/]{1,32}) ([0-9]{1,3})(?: .*)?")
_RTPMAP = re.compile(r"([0-9]{1,3}) ([A-Za-z0-9._-]{1,32})/([0-9]{1,7})(?:/([0-9]{1,2}))?")
_FMTP = re.compile(r"([0-9]{1,3}) (.*)")
_RATE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,6})?")
# RFC 3551 §6: payload types that need no rtpmap.
_STATIC = {
    0: ("PCMU", 8000),
    8: ("PCMA", 8000),
    9: ("G722", 8000),
    14: ("MPA", 90000),
    26: ("JPEG", 90000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """One media section; ``encoding`` is in upper case, ``""`` where the camera names none.

    ``parameters`` are those of fmtp, names in lower case. ``frame_rate`` is in frames a second.
    ``to_camera`` marks a back channel, on which the camera listens and never sends.
    """

    kind: str
    payload_type: int
    encoding: str = ""
    clock_rate: int = 0
    channels: int = 1
    parameters: Mapping[str, str]
    control: str = ""
    frame_rate: float | None = None
    to_camera: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    control: str
    media: tuple[Media, ...]


def parse_sdp(body: bytes) -> SessionDescription:
    """Parse the body of a DESCRIBE response; raises ProtocolError."""
    if len(body) > SDP_BYTES_MAX:
        raise ProtocolError(f"session description of {len(body)} bytes; {SDP_BYTES_MAX} allowed")
    lines = body.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if len(lines) > _LINES_MAX or lines[0] != "v=0":
        raise ProtocolError("not a session description: it has to start with v=0")
    sections: list[list[str]] = [[]]
    for line in lines:
        if line.startswith("m="):
            sections.append([])
        sections[-1].append(line)
    if len(sections) > MEDIA_MAX + 1:
        raise ProtocolError(f"session description with {len(sections) - 1} media sections")
    head, *media = sections
    return SessionDescription(
        control=_attribute(head, "control") or "",
        media=tuple(_parse_media(section) for section in media),
    )


def _parse_media(lines: list[str]) -> Media:
    media = _MEDIA.fullmatch(lines[0].removeprefix("m="))
    if media is None:
        raise ProtocolError(f"not a media line: {lines[0][:60]!r}")
    payload_type = int(media[3])
    encoding, clock_rate, channels = _encoding(lines, payload_type)
    rate = _attribute(lines, "framerate") or ""
    return Media(
        kind=media[1],
        payload_type=payload_type,
        encoding=encoding,
        clock_rate=clock_rate,
        channels=channels,
        parameters=_parameters(lines, payload_type),
        control=_attribute(lines, "control") or "",
        frame_rate=float(rate) if _RATE.fullmatch(rate) else None,
        to_camera="a=sendonly" in lines,
    )


def _encoding(lines: list[str], payload_type: int) -> tuple[str, int, int]:
    for value in _attributes(lines, "rtpmap"):
        found = _RTPMAP.fullmatch(value.rstrip())
        if found and int(found[1]) == payload_type:
            return found[2].upper(), int(found[3]), int(found[4] or 1)
    encoding, clock_rate = _STATIC.get(payload_type, ("", 0))
    return encoding, clock_rate, 1


def _parameters(lines: list[str], payload_type: int) -> dict[str, str]:
    for value in _attributes(lines, "fmtp"):
        found = _FMTP.fullmatch(value)
        if found and int(found[1]) == payload_type:
            pairs = [part.strip().partition("=") for part in found[2].split(";")]
            if len(pairs) > _PARAMETERS_MAX:
                raise ProtocolError(f"fmtp with {len(pairs)} parameters")
            return {name.strip().lower(): text.strip() for name, _, text in pairs if name}
    return {}


def _attribute(lines: list[str], name: str) -> str | None:
    return next(iter(_attributes(lines, name)), None)


def _attributes(lines: list[str], name: str) -> list[str]:
    prefix = f"a={name}:"
    return [line.removeprefix(prefix) for line in lines if line.startswith(prefix)]
