"""Having a camera encode its picture so that browsers play it: what it is told. Pure.

Each media service has a configuration of its own; both are told back changed as little as can be.
"""

from collections.abc import Sequence
from datetime import timedelta
from ipaddress import IPv4Address

import msgspec

from drivers.cameras.onvif_answers import (
    EncoderConfiguration,
    EncoderOptions2,
    EncoderRate,
    FloatSpan,
    H264Options,
    MediaProfile,
    Multicast,
    Resolution,
    Span,
)
from drivers.errors import RefusedError

H264_PROFILES = ("Baseline", "Main", "High")
"""What is taken of a camera's profiles: the first has no pictures out of order."""
REMEDY = "set its video encoding to H.264 on its own page"
WORDS_MAX = 64


def encoder_of(profiles: Sequence[MediaProfile], profile: str, host: IPv4Address) -> str:
    """Return the token of a profile's encoder; RefusedError with the remedy when none is told."""
    token = next(
        (each.encoder.token for each in profiles if each.token == profile and each.encoder), ""
    )
    if not token:
        raise RefusedError(f"camera {host}: tells no video encoder; {REMEDY}")
    return token


def in_h264(before: EncoderConfiguration, options: H264Options) -> dict[str, object]:
    """Return a configuration as SetVideoEncoderConfiguration of ver10/media takes it."""
    rate = before.rate_control or EncoderRate()
    size = nearest_size(before.resolution, options.resolutions_available)
    groups = options.gov_length_range or Span()
    frames = round(rate.frame_rate_limit)
    profile = next((each for each in H264_PROFILES if each in options.profiles), H264_PROFILES[0])
    return {
        "token": before.token,
        "Name": before.name or before.token,
        "UseCount": before.use_count,
        "Encoding": "H264",
        "Resolution": {"Width": size.width, "Height": size.height},
        "Quality": before.quality,
        "RateControl": {
            "FrameRateLimit": frames,
            "EncodingInterval": rate.encoding_interval,
            "BitrateLimit": rate.bitrate_limit,
        },
        "H264": {
            # A keyframe a second: who joins waits for one.
            "GovLength": min(max(frames, groups.min), groups.max),
            "H264Profile": profile,
        },
        "Multicast": msgspec.to_builtins(before.multicast or Multicast()),
        "SessionTimeout": timedelta(seconds=60),
    }


def in_h264_by_second(before: EncoderConfiguration, options: EncoderOptions2) -> dict[str, object]:
    """Return a configuration as SetVideoEncoderConfiguration of ver20/media takes it.

    ``options`` are those of H.264; what another encoding had beyond them is moved into them.
    """
    size = nearest_size(before.resolution, options.resolutions_available)
    rate = before.rate_control or EncoderRate()
    bits, quality = options.bitrate_range or Span(), options.quality_range or FloatSpan()
    frames = nearest_rate(rate.frame_rate_limit, numbers(options.frame_rates_supported))
    groups = numbers(options.gov_length_range) or [Span().min, Span().max]
    offered = (options.profiles_supported or "").split()
    profile = next((each for each in H264_PROFILES if each in offered), None)
    told: dict[str, object] = {
        "token": before.token,
        "Name": before.name or before.token,
        "UseCount": before.use_count,
        "Encoding": "H264",
        "Resolution": {"Width": size.width, "Height": size.height},
        "RateControl": {
            # A float by the schema; who reads whole numbers only is told one.
            "FrameRateLimit": round(frames) if frames == round(frames) else frames,
            "BitrateLimit": min(max(rate.bitrate_limit, bits.min), bits.max),
        },
        "Quality": min(max(before.quality, quality.min), quality.max),
        # A keyframe a second: who joins waits for one.
        "GovLength": round(min(max(frames, groups[0]), groups[-1])),
    }
    if profile is not None:
        told["Profile"] = profile
    if before.multicast is not None:
        told["Multicast"] = msgspec.to_builtins(before.multicast)
    return told


def nearest_size(wanted: Resolution, offered: Sequence[Resolution]) -> Resolution:
    """Return the size itself, else the largest offered that is no larger, else the smallest."""
    by_pixels = sorted(offered, key=lambda size: size.width * size.height)
    fitting = [
        size for size in by_pixels if size.width <= wanted.width and size.height <= wanted.height
    ]
    return [*by_pixels[:1], *fitting][-1] if by_pixels else wanted


def nearest_rate(wanted: float, offered: Sequence[float]) -> float:
    """Return the rate itself, else the highest offered that is no higher, else the lowest."""
    fitting = [rate for rate in offered if rate <= wanted]
    return max(fitting) if fitting else min(offered, default=wanted)


def numbers(text: str | None) -> list[float]:
    """Return the finite numbers of an attribute's list, at most ``WORDS_MAX``."""
    found = []
    for word in (text or "").split()[:WORDS_MAX]:
        try:
            number = float(word)
        except ValueError:
            continue
        if abs(number) <= 1e6:  # noqa: PLR2004 — neither infinite nor not a number
            found.append(number)
    return found
