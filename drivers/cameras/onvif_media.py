"""What a camera tells of its pictures, by either of ONVIF's media services; in the worker only.

Profile S is ver10/media, whose words for encodings end with H.264; Profile T is ver20/media, which
also knows H.265. Sources: ONVIF Media Service and Media 2 Service Specifications.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from drivers.cameras.onvif_answers import (
    EncoderConfiguration,
    EncoderOptions,
    EncoderOptions2,
    MediaProfile,
    MediaProfile2,
    MediaUri,
)
from drivers.cameras.onvif_encoder import REMEDY, encoder_of, in_h264, in_h264_by_second
from drivers.cameras.onvif_services import OnvifServices
from drivers.errors import LoginRefusedError, ProtocolError, RefusedError

PROFILES_MAX = 32
_TYPES = ("VideoSource", "VideoEncoder", "PTZ")
_RTP_OVER_RTSP = "RTSP"
"""Both services' name for packets within the RTSP connection, which cameras need not offer."""


class FirstMedia:
    """ver10/media of one camera."""

    def __init__(self, services: OnvifServices) -> None:
        self._services = services

    async def profiles(self) -> list[MediaProfile]:
        """Return at most ``PROFILES_MAX``; raises DriverError, as all below."""
        told = await self._services.call("media", "GetProfiles", list[MediaProfile])
        return told[:PROFILES_MAX]

    async def stream_uri(self, profile: str) -> str:
        """Return where a profile plays: over TCP, or else over UDP."""
        return await _over_tcp_or(partial(self._stream_uri, profile), "UDP")

    async def _stream_uri(self, profile: str, protocol: str) -> str:
        transport = {"Stream": "RTP-Unicast", "Transport": {"Protocol": protocol}}
        wanted = {"StreamSetup": transport, "ProfileToken": profile}
        return (await self._services.call("media", "GetStreamUri", MediaUri, wanted)).uri

    async def snapshot_uri(self, profile: str) -> str:
        wanted = {"ProfileToken": profile}
        return (await self._services.call("media", "GetSnapshotUri", MediaUri, wanted)).uri

    async def use_h264(self, profile: str) -> None:
        """Set a profile's encoder to H.264, size and rates as they are as far as that goes.

        A camera that is set to H.265 tells something else here or nothing, and most take H.264 as
        an order all the same. RefusedError has the remedy for a camera that offers none.
        """
        host = self._services.host
        wanted = {"ConfigurationToken": encoder_of(await self.profiles(), profile, host)}
        options = await self._services.call(
            "media",
            "GetVideoEncoderConfigurationOptions",
            EncoderOptions,
            {**wanted, "ProfileToken": profile},
        )
        if options.h264 is None:
            raise RefusedError(f"camera {host}: offers no H.264; {REMEDY}")
        before = await self._services.call(
            "media", "GetVideoEncoderConfiguration", EncoderConfiguration, wanted
        )
        await self._services.call(
            "media",
            "SetVideoEncoderConfiguration",
            object,
            {"Configuration": in_h264(before, options.h264), "ForcePersistence": True},
        )


class SecondMedia:
    """ver20/media of one camera; the same questions."""

    def __init__(self, services: OnvifServices) -> None:
        self._services = services

    async def profiles(self) -> list[MediaProfile]:
        told = await self._services.call(
            "media2", "GetProfiles", list[MediaProfile2], {"Type": list(_TYPES)}
        )
        return [profile.told_as_first() for profile in told[:PROFILES_MAX]]

    async def stream_uri(self, profile: str) -> str:
        return await _over_tcp_or(partial(self._stream_uri, profile), "RtspUnicast")

    async def _stream_uri(self, profile: str, protocol: str) -> str:
        wanted = {"Protocol": protocol, "ProfileToken": profile}
        return await self._services.call("media2", "GetStreamUri", str, wanted)

    async def snapshot_uri(self, profile: str) -> str:
        return await self._services.call("media2", "GetSnapshotUri", str, {"ProfileToken": profile})

    async def use_h264(self, profile: str) -> None:
        host = self._services.host
        token = encoder_of(await self.profiles(), profile, host)
        wanted = {"ConfigurationToken": token}
        offered = await self._services.call(
            "media2",
            "GetVideoEncoderConfigurationOptions",
            list[EncoderOptions2],
            {**wanted, "ProfileToken": profile},
        )
        options = next((each for each in offered if each.encoding == "H264"), None)
        if options is None:
            raise RefusedError(f"camera {host}: offers no H.264; {REMEDY}")
        listed = await self._services.call(
            "media2", "GetVideoEncoderConfigurations", list[EncoderConfiguration], wanted
        )
        before = next((each for each in listed if each.token == token), None)
        if before is None:
            raise RefusedError(f"camera {host}: tells no video encoder; {REMEDY}")
        configuration = {"Configuration": in_h264_by_second(before, options)}
        await self._services.call("media2", "SetVideoEncoderConfiguration", object, configuration)


async def _over_tcp_or(stream_uri: Callable[[str], Awaitable[str]], udp: str) -> str:
    """Return where it plays by ``_RTP_OVER_RTSP``, or where that is refused, by ``udp``.

    A login that is refused is so by either.
    """
    try:
        return await stream_uri(_RTP_OVER_RTSP)
    except LoginRefusedError:
        raise
    except RefusedError:
        return await stream_uri(udp)


Media = FirstMedia | SecondMedia


def media_of(services: OnvifServices) -> Media:
    """Return the service that is asked: the second one where a camera offers it."""
    return SecondMedia(services) if "media2" in services.xaddrs else FirstMedia(services)


async def ask_profiles(
    services: OnvifServices, notes: list[str]
) -> tuple[Media, list[MediaProfile]]:
    """Return the profiles and the service that told them.

    A second media service that refuses, or tells nothing of pictures, is not asked again; then the
    first one counts, with a note. A login that one refuses is not tried at the other.
    """
    media = media_of(services)
    if "media" not in services.xaddrs or isinstance(media, FirstMedia):
        return media, await media.profiles()
    try:
        profiles = await media.profiles()
        if any(profile.encoder is not None for profile in profiles):
            return media, profiles
        notes.append(f"camera {services.host}: its Media2 service tells no video profile")
    except LoginRefusedError:
        raise
    except (RefusedError, ProtocolError) as error:
        notes.append(str(error))
    services.xaddrs.pop("media2", None)
    first = FirstMedia(services)
    return first, await first.profiles()
