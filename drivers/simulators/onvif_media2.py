"""A simulated camera's second media service (Profile T): profiles, addresses, encoders.

Bodies are in the order of the schemas of ONVIF ver20/media and ver10/schema.
"""

from collections.abc import Callable, Collection, Mapping

from drivers.codecs.guarded_xml import Element, escape
from drivers.simulators.onvif_encoders import ENCODER_SUFFIX, EncoderSettings
from drivers.simulators.onvif_faults import FaultError
from drivers.simulators.onvif_motor import CONFIGURATION, configuration
from drivers.simulators.onvif_replies import (
    AUDIO_SOURCE_CONFIGURATION,
    NO_MULTICAST,
    sizes_offered,
    video_source_configuration,
)

ENCODINGS = ("H264", "H265")
H264_PROFILES = ("Main", "High")
GROUP_MAX = 250
KBPS_MAX = 16_000


class Media2Service:
    """Answers what is asked of it; encoders are set to what ``settings`` has."""

    def __init__(
        self,
        settings: EncoderSettings,
        snapshot_uri: str,
        *,
        has_ptz: bool,
        protocols: Collection[str],
    ) -> None:
        self._settings = settings
        self._streams = settings.streams
        self._snapshot_uri = snapshot_uri
        self._has_ptz = has_ptz
        self._protocols = protocols

    def operations(self, operation: Element) -> Mapping[str, Callable[[], str]]:
        """Return what answers each operation of the service."""
        return {
            "GetProfiles": lambda: self._tell_profiles(operation),
            "GetStreamUri": lambda: self._tell_stream(operation),
            "GetSnapshotUri": lambda: self._tell_snapshot(operation.first_text("ProfileToken")),
            "GetVideoEncoderConfigurations": lambda: self._tell_encoders(operation),
            "GetVideoEncoderConfigurationOptions": lambda: self._tell_options(operation),
            "SetVideoEncoderConfiguration": lambda: self._set(operation),
        }

    def _tell_profiles(self, operation: Element) -> str:
        asked = {child.text.strip() for child in operation.children if child.local == "Type"}
        only = operation.first_text("Token")
        if only:
            self._settings.stream_of(only)
        listed = "".join(
            f'<tr2:Profiles token="{token}" fixed="true"><tr2:Name>{token}</tr2:Name>'
            f"{self._configurations(token, asked)}</tr2:Profiles>"
            for token in self._streams
            if only in {"", token}
        )
        return f"<tr2:GetProfilesResponse>{listed}</tr2:GetProfilesResponse>"

    def _configurations(self, token: str, asked: set[str]) -> str:
        """Return the kinds that were asked for, in the schema's order; none when none was."""
        largest = next(iter(self._streams.values()))
        kinds = {
            "VideoSource": (
                '<tr2:VideoSource token="video-source-configuration">'
                f"{video_source_configuration(largest)}</tr2:VideoSource>"
            ),
            "AudioSource": (
                '<tr2:AudioSource token="audio-source-configuration">'
                f"{AUDIO_SOURCE_CONFIGURATION}</tr2:AudioSource>"
            ),
            "VideoEncoder": self._encoder("VideoEncoder", token),
            "AudioEncoder": (
                '<tr2:AudioEncoder token="audio-encoder"><tt:Name>aac</tt:Name>'
                "<tt:UseCount>2</tt:UseCount><tt:Encoding>MP4A-LATM</tt:Encoding>"
                "<tt:Bitrate>64</tt:Bitrate><tt:SampleRate>48</tt:SampleRate></tr2:AudioEncoder>"
            ),
            "PTZ": f'<tr2:PTZ token="{CONFIGURATION}">{configuration()}</tr2:PTZ>',
        }
        if not self._has_ptz:
            del kinds["PTZ"]
        told = "".join(
            written for kind, written in kinds.items() if kind in asked or "All" in asked
        )
        return f"<tr2:Configurations>{told}</tr2:Configurations>" if told else ""

    def _encoder(self, element: str, token: str) -> str:
        stream = self._streams[token]
        profile = f' Profile="{H264_PROFILES[0]}"' if stream.encoding in ENCODINGS else ""
        return (
            f'<tr2:{element} token="{token}{ENCODER_SUFFIX}" GovLength="{stream.fps}"{profile}>'
            f"<tt:Name>{token}</tt:Name><tt:UseCount>1</tt:UseCount>"
            f"<tt:Encoding>{stream.encoding}</tt:Encoding><tt:Resolution>"
            f"<tt:Width>{stream.width}</tt:Width><tt:Height>{stream.height}</tt:Height>"
            '</tt:Resolution><tt:RateControl ConstantBitRate="false">'
            f"<tt:FrameRateLimit>{stream.fps}</tt:FrameRateLimit>"
            f"<tt:BitrateLimit>{stream.kbps}</tt:BitrateLimit></tt:RateControl>"
            f"{NO_MULTICAST}<tt:Quality>5</tt:Quality></tr2:{element}>"
        )

    def _tell_stream(self, operation: Element) -> str:
        protocol = operation.first_text("Protocol")
        if protocol not in self._protocols:
            raise FaultError("InvalidStreamSetup", f"no protocol {protocol}")
        return _uri(
            "GetStreamUri", self._settings.stream_of(operation.first_text("ProfileToken")).uri
        )

    def _tell_snapshot(self, token: str) -> str:
        self._settings.stream_of(token)
        return _uri("GetSnapshotUri", self._snapshot_uri)

    def _tell_encoders(self, operation: Element) -> str:
        only = operation.first_text("ConfigurationToken") or (
            f"{operation.first_text('ProfileToken')}{ENCODER_SUFFIX}"
        )
        tokens = (
            [self._settings.profile_of(only)] if only != ENCODER_SUFFIX else list(self._streams)
        )
        listed = "".join(self._encoder("Configurations", token) for token in tokens)
        return (
            "<tr2:GetVideoEncoderConfigurationsResponse>"
            f"{listed}</tr2:GetVideoEncoderConfigurationsResponse>"
        )

    def _tell_options(self, operation: Element) -> str:
        profile = self._settings.profile_of(operation.first_text("ConfigurationToken"))
        stream = self._streams[profile]
        rates = " ".join(str(rate) for rate in sorted({5, 10, 25, stream.fps}))
        listed = "".join(
            f'<tr2:Options GovLengthRange="1 {GROUP_MAX}" FrameRatesSupported="{rates}" '
            f'ProfilesSupported="{" ".join(H264_PROFILES)}" ConstantBitRateSupported="true">'
            f"<tt:Encoding>{encoding}</tt:Encoding>"
            f"<tt:QualityRange><tt:Min>1</tt:Min><tt:Max>6</tt:Max></tt:QualityRange>"
            f"{sizes_offered(stream)}"
            f"<tt:BitrateRange><tt:Min>32</tt:Min><tt:Max>{KBPS_MAX}</tt:Max></tt:BitrateRange>"
            "</tr2:Options>"
            for encoding in ENCODINGS
        )
        return (
            "<tr2:GetVideoEncoderConfigurationOptionsResponse>"
            f"{listed}</tr2:GetVideoEncoderConfigurationOptionsResponse>"
        )

    def _set(self, operation: Element) -> str:
        told = operation.first("Configuration")
        if told is None:
            raise FaultError("InvalidArgVal", "no configuration")
        profile = self._settings.profile_of(told.attributes.get("token", ""))
        encoding, group = told.first_text("Encoding"), told.attributes.get("GovLength", "1")
        is_offered = (
            encoding in ENCODINGS
            and told.attributes.get("Profile", H264_PROFILES[0]) in H264_PROFILES
            and group.isdecimal()
            and 1 <= int(group) <= GROUP_MAX
        )
        if not is_offered:
            raise FaultError("ConfigModify", "not among the options")
        self._settings.set("media2", profile, told, group)
        return "<tr2:SetVideoEncoderConfigurationResponse/>"


def _uri(operation: str, uri: str) -> str:
    return f"<tr2:{operation}Response><tr2:Uri>{escape(uri)}</tr2:Uri></tr2:{operation}Response>"
