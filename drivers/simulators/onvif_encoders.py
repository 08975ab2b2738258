"""A simulated camera's video encoders: what each is set to, what it may be, and setting it.

What the first media service says of them; the second one's words are in :mod:`onvif_media2`.
Bodies are in the order of the schemas of ONVIF ver10/media and ver10/schema.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

from drivers.codecs.guarded_xml import Element
from drivers.simulators.ledger import Ledger
from drivers.simulators.onvif_faults import FaultError
from drivers.simulators.onvif_replies import CameraStream, encoder_configuration, sizes_offered

ENCODER_SUFFIX = "-encoder"
"""What an encoder's token has after its profile's."""


class EncoderSettings:
    """The ``streams`` that both media services tell of, by profile token; changes are noted."""

    def __init__(self, streams: dict[str, CameraStream], ledger: Ledger) -> None:
        self.streams = streams
        self._ledger = ledger

    def profile_of(self, token: str) -> str:
        """Return the profile of an encoder's token; raises FaultError."""
        profile = token.removesuffix(ENCODER_SUFFIX)
        if profile not in self.streams:
            raise FaultError("NoConfig", "no such configuration")
        return profile

    def stream_of(self, profile: str) -> CameraStream:
        """Return what a profile shows; raises FaultError."""
        if profile not in self.streams:
            raise FaultError("NoProfile", "no such profile")
        return self.streams[profile]

    def set(self, service: str, profile: str, told: Element, group: str) -> None:
        """Encode as a configuration tells, which is one of those offered."""
        encoding = told.first_text("Encoding")
        self.streams[profile] = replace(self.streams[profile], encoding=encoding)
        self._ledger.write(
            "encoder_set",
            service=service,
            profile=profile,
            encoding=encoding,
            width=told.first_text("Width"),
            frame_rate=told.first_text("FrameRateLimit"),
            group=group,
        )


class Encoders:
    """The first media service's words on encoders."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings

    def operations(self, operation: Element) -> Mapping[str, Callable[[], str]]:
        """Return what answers each operation on encoders."""
        return {
            "GetVideoEncoderConfiguration": lambda: self._tell(operation),
            "GetVideoEncoderConfigurationOptions": lambda: self._tell_options(operation),
            "SetVideoEncoderConfiguration": lambda: self._set(operation),
        }

    def _tell(self, operation: Element) -> str:
        profile = self._settings.profile_of(operation.first_text("ConfigurationToken"))
        told = encoder_configuration(profile, self._settings.streams[profile])
        return (
            "<trt:GetVideoEncoderConfigurationResponse>"
            f'<trt:Configuration token="{profile}{ENCODER_SUFFIX}">{told}</trt:Configuration>'
            "</trt:GetVideoEncoderConfigurationResponse>"
        )

    def _tell_options(self, operation: Element) -> str:
        profile = self._settings.profile_of(operation.first_text("ConfigurationToken"))
        return (
            "<trt:GetVideoEncoderConfigurationOptionsResponse><trt:Options>"
            "<tt:QualityRange><tt:Min>1</tt:Min><tt:Max>6</tt:Max></tt:QualityRange>"
            f"<tt:H264>{sizes_offered(self._settings.streams[profile])}"
            "<tt:GovLengthRange><tt:Min>1</tt:Min><tt:Max>250</tt:Max></tt:GovLengthRange>"
            "<tt:FrameRateRange><tt:Min>1</tt:Min><tt:Max>25</tt:Max></tt:FrameRateRange>"
            "<tt:EncodingIntervalRange><tt:Min>1</tt:Min><tt:Max>1</tt:Max>"
            "</tt:EncodingIntervalRange>"
            "<tt:H264ProfilesSupported>Main</tt:H264ProfilesSupported></tt:H264>"
            "</trt:Options></trt:GetVideoEncoderConfigurationOptionsResponse>"
        )

    def _set(self, operation: Element) -> str:
        configuration = operation.first("Configuration")
        if configuration is None:
            raise FaultError("InvalidArgVal", "no configuration")
        profile = self._settings.profile_of(configuration.attributes.get("token", ""))
        encoding = configuration.first_text("Encoding")
        group = configuration.first("H264")
        if encoding != "H264" or group is None or group.first_text("H264Profile") != "Main":
            raise FaultError("ConfigModify", "not among the options")
        self._settings.set("media", profile, configuration, group.first_text("GovLength"))
        return "<trt:SetVideoEncoderConfigurationResponse/>"
