"""The part of ONVIF's answers that the box uses, parsed from what zeep read.

Names are those of the WSDL (ver10/device, ver10/media, ver20/media, ver20/ptz). Fields that devices
leave out although the schema demands them have defaults.
"""

import msgspec


class Date(msgspec.Struct, frozen=True, rename="pascal"):
    year: int
    month: int
    day: int


class Time(msgspec.Struct, frozen=True, rename="pascal"):
    hour: int
    minute: int
    second: int


class DateTime(msgspec.Struct, frozen=True, rename="pascal"):
    date: Date
    time: Time


class Clock(msgspec.Struct, frozen=True):
    utc: DateTime = msgspec.field(name="UTCDateTime")


class DeviceInformation(msgspec.Struct, frozen=True, rename="pascal"):
    manufacturer: str | None = None
    model: str | None = None
    firmware_version: str | None = None
    serial_number: str | None = None


class InterfaceInfo(msgspec.Struct, frozen=True, rename="pascal"):
    hw_address: str | None = None


class Interface(msgspec.Struct, frozen=True, rename="pascal"):
    info: InterfaceInfo | None = None


class ServiceAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    namespace: str | None = None
    x_addr: str | None = msgspec.field(default=None, name="XAddr")


class Resolution(msgspec.Struct, frozen=True, rename="pascal"):
    width: int = 0
    height: int = 0


class RateControl(msgspec.Struct, frozen=True, rename="pascal"):
    frame_rate_limit: float | None = None


class Encoder(msgspec.Struct, frozen=True, rename="pascal"):
    token: str = msgspec.field(default="", name="token")
    encoding: str | None = None
    resolution: Resolution | None = None
    rate_control: RateControl | None = None


class VideoSource(msgspec.Struct, frozen=True, rename="pascal"):
    source_token: str | None = None


class MediaProfile(msgspec.Struct, frozen=True):
    token: str
    source: VideoSource | None = msgspec.field(default=None, name="VideoSourceConfiguration")
    encoder: Encoder | None = msgspec.field(default=None, name="VideoEncoderConfiguration")
    ptz: object | None = msgspec.field(default=None, name="PTZConfiguration")

    @property
    def pixels(self) -> int:
        size = self.encoder.resolution if self.encoder is not None else None
        return size.width * size.height if size is not None else 0

    @property
    def is_h264(self) -> bool:
        return self.encoder is not None and self.encoder.encoding == "H264"


class Configurations(msgspec.Struct, frozen=True, rename="pascal"):
    video_source: VideoSource | None = None
    video_encoder: Encoder | None = None
    ptz: object | None = msgspec.field(default=None, name="PTZ")


class MediaProfile2(msgspec.Struct, frozen=True):
    """A profile as the second media service tells it."""

    token: str
    configurations: Configurations | None = msgspec.field(default=None, name="Configurations")

    def told_as_first(self) -> MediaProfile:
        """Return it as the first media service would tell it."""
        told = self.configurations or Configurations()
        return MediaProfile(self.token, told.video_source, told.video_encoder, told.ptz)


class Address(msgspec.Struct, frozen=True, rename="pascal"):
    type: str = "IPv4"
    ipv4: str | None = msgspec.field(default="0.0.0.0", name="IPv4Address")  # noqa: S104 - none
    ipv6: str | None = msgspec.field(default=None, name="IPv6Address")


class Multicast(msgspec.Struct, frozen=True, rename="pascal"):
    address: Address = Address()
    port: int = 0
    ttl: int = msgspec.field(default=1, name="TTL")
    auto_start: bool = False


class EncoderRate(msgspec.Struct, frozen=True, rename="pascal"):
    frame_rate_limit: float = 25.0  # whole to the first media service
    encoding_interval: int = 1
    bitrate_limit: int = 2000


class EncoderConfiguration(msgspec.Struct, frozen=True, rename="pascal"):
    """What either media service tells of an encoder, as far as it is told back changed."""

    token: str = msgspec.field(name="token")
    name: str | None = None
    use_count: int = 1
    resolution: Resolution = Resolution()
    quality: float = 0.0
    rate_control: EncoderRate | None = None
    multicast: Multicast | None = None


class Span(msgspec.Struct, frozen=True, rename="pascal"):
    min: int = 1
    max: int = 100_000


class H264Options(msgspec.Struct, frozen=True, rename="pascal"):
    resolutions_available: list[Resolution] = []
    gov_length_range: Span | None = None
    profiles: list[str] = msgspec.field(default_factory=list, name="H264ProfilesSupported")


class EncoderOptions(msgspec.Struct, frozen=True):
    h264: H264Options | None = msgspec.field(default=None, name="H264")


class FloatSpan(msgspec.Struct, frozen=True, rename="pascal"):
    min: float = 0.0
    max: float = 100.0


class EncoderOptions2(msgspec.Struct, frozen=True, rename="pascal"):
    """What one encoding may be set to; lists are words between spaces."""

    encoding: str = ""
    quality_range: FloatSpan | None = None
    resolutions_available: list[Resolution] = []
    bitrate_range: Span | None = None
    gov_length_range: str | None = None
    frame_rates_supported: str | None = None
    profiles_supported: str | None = None


class MediaUri(msgspec.Struct, frozen=True, rename="pascal"):
    uri: str


class PresetAnswer(msgspec.Struct, frozen=True):
    token: str | None = None
    name: str | None = msgspec.field(default=None, name="Name")


class Range(msgspec.Struct, frozen=True, rename="pascal"):
    min: float | None = None
    max: float | None = None


class ImagingSettings(msgspec.Struct, frozen=True, rename="pascal"):
    brightness: float | None = None
    contrast: float | None = None
    saturation: float | None = msgspec.field(default=None, name="ColorSaturation")
    sharpness: float | None = None


class ImagingOptions(msgspec.Struct, frozen=True, rename="pascal"):
    brightness: Range | None = None
    contrast: Range | None = None
    saturation: Range | None = msgspec.field(default=None, name="ColorSaturation")
    sharpness: Range | None = None
