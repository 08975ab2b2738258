"""Having a camera encode its picture so that browsers play it; runs in the worker process only.

By ONVIF's first media service (ver10/media), which knows no H.265: a camera that is set to it tells
something else there or nothing, and most take H.264 as an order all the same.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import msgspec

from drivers.cameras.onvif_answers import (
    EncoderConfiguration,
    EncoderOptions,
    EncoderRate,
    H264Options,
    MediaProfile,
    Multicast,
    Resolution,
    Span,
)
from drivers.cameras.onvif_services import OnvifServices
from drivers.errors import RefusedError

H264_PROFILES = ("Baseline", "Main", "High")
"""What is taken of a camera's profiles: the first has no pictures out of order."""
_REMEDY = "set its video encoding to H.264 on its own page"


class OnvifEncoder:
    """The video encoders of one camera; ``ensure`` finds its services where they are not known."""

    def __init__(self, services: OnvifServices, ensure: Callable[[], Awaitable[None]]) -> None:
        self._services = services
        self._ensure = ensure

    async def use_h264(self, profile: str) -> None:
        """Set a profile's encoder to H.264, size and rates as they are as far as that goes.

        Raises DriverError, RefusedError with the remedy for a camera that offers none.
        """
        await self._ensure()
        services, host = self._services, self._services.host
        profiles = await services.call("media", "GetProfiles", list[MediaProfile])
        token = next(
            (each.encoder.token for each in profiles if each.token == profile and each.encoder), ""
        )
        if not token:
            raise RefusedError(f"camera {host}: tells no video encoder; {_REMEDY}")
        wanted = {"ConfigurationToken": token}
        options = await services.call(
            "media",
            "GetVideoEncoderConfigurationOptions",
            EncoderOptions,
            {**wanted, "ProfileToken": profile},
        )
        if options.h264 is None:
            raise RefusedError(f"camera {host}: offers no H.264; {_REMEDY}")
        before = await services.call(
            "media", "GetVideoEncoderConfiguration", EncoderConfiguration, wanted
        )
        await services.call(
            "media",
            "SetVideoEncoderConfiguration",
            object,
            {"Configuration": in_h264(before, options.h264), "ForcePersistence": True},
        )
        services.rest()


def in_h264(before: EncoderConfiguration, options: H264Options) -> dict[str, object]:
    """Return a configuration as SetVideoEncoderConfiguration takes it (ver10/schema)."""
    rate = before.rate_control or EncoderRate()
    size = nearest_size(before.resolution, options.resolutions_available)
    groups = options.gov_length_range or Span()
    profile = next((each for each in H264_PROFILES if each in options.profiles), H264_PROFILES[0])
    return {
        "token": before.token,
        "Name": before.name or before.token,
        "UseCount": before.use_count,
        "Encoding": "H264",
        "Resolution": {"Width": size.width, "Height": size.height},
        "Quality": before.quality,
        "RateControl": {
            "FrameRateLimit": rate.frame_rate_limit,
            "EncodingInterval": rate.encoding_interval,
            "BitrateLimit": rate.bitrate_limit,
        },
        "H264": {
            # A keyframe a second: who joins waits for one.
            "GovLength": min(max(rate.frame_rate_limit, groups.min), groups.max),
            "H264Profile": profile,
        },
        "Multicast": msgspec.to_builtins(before.multicast or Multicast()),
        "SessionTimeout": timedelta(seconds=60),
    }


def nearest_size(wanted: Resolution, offered: Sequence[Resolution]) -> Resolution:
    """Return the size itself, else the largest offered that is no larger, else the smallest."""
    by_pixels = sorted(offered, key=lambda size: size.width * size.height)
    fitting = [
        size for size in by_pixels if size.width <= wanted.width and size.height <= wanted.height
    ]
    return [*by_pixels[:1], *fitting][-1] if by_pixels else wanted
