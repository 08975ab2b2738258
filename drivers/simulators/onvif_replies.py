"""The SOAP bodies a simulated ONVIF camera answers with, in the order its schemas demand.

Sources: ONVIF ver10/device, ver10/media, ver20/ptz, ver20/imaging, ver10/events WSDL and
ver10/schema/onvif.xsd; what ver20/media answers is in :mod:`onvif_media2`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime

from drivers.codecs.guarded_xml import escape
from drivers.simulators.onvif_motor import CONFIGURATION, configuration

SOAP = "http://www.w3.org/2003/05/soap-envelope"
SERVICES = {
    "device": "http://www.onvif.org/ver10/device/wsdl",
    "media": "http://www.onvif.org/ver10/media/wsdl",
    "media2": "http://www.onvif.org/ver20/media/wsdl",
    "ptz": "http://www.onvif.org/ver20/ptz/wsdl",
    "imaging": "http://www.onvif.org/ver20/imaging/wsdl",
    "events": "http://www.onvif.org/ver10/events/wsdl",
}
NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"
ADDRESSING = "http://www.w3.org/2005/08/addressing"
NAMESPACES = {
    "s": SOAP,
    "tt": "http://www.onvif.org/ver10/schema",
    "tds": SERVICES["device"],
    "trt": SERVICES["media"],
    "tr2": SERVICES["media2"],
    "tptz": SERVICES["ptz"],
    "timg": SERVICES["imaging"],
    "tev": SERVICES["events"],
    "wsnt": NOTIFICATION,
    "wsa": ADDRESSING,
    "tns1": "http://www.onvif.org/ver10/topics",
    "wstop": "http://docs.oasis-open.org/wsn/t-1",
    "ter": "http://www.onvif.org/ver10/error",
    "xs": "http://www.w3.org/2001/XMLSchema",
}
"""By the prefixes that ONVIF's documents use."""
DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>'
_PREFIXES = " ".join(f'xmlns:{prefix}="{space}"' for prefix, space in NAMESPACES.items())
_SMALLEST = (320, 180)
SOURCE_TOKEN = "video-source"  # noqa: S105 — ONVIF calls its names tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraStream:
    """One encoder's output; ``uri`` is what GetStreamUri tells, ``kbps`` the rate limit.

    ``encoding`` may be one that the schema does not know, as of cameras set to H.265.
    """

    uri: str
    width: int
    height: int
    fps: int
    kbps: int
    encoding: str = "H264"


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraIdentity:
    name: str
    serial: str
    mac: str
    endpoint: str  # urn:uuid:…
    manufacturer: str = "SchoolNode"
    model: str = "Simulated camera"
    firmware: str = "1.0.0"


def envelope(body: str) -> str:
    return f"{DECLARATION}<s:Envelope {_PREFIXES}><s:Body>{body}</s:Body></s:Envelope>"


def fault(subcode: str, reason: str) -> str:
    """Return a fault of the sender with a ``ter:`` subcode."""
    return envelope(
        "<s:Fault><s:Code><s:Value>s:Sender</s:Value>"
        f"<s:Subcode><s:Value>ter:{subcode}</s:Value></s:Subcode></s:Code>"
        f'<s:Reason><s:Text xml:lang="en">{escape(reason)}</s:Text></s:Reason></s:Fault>'
    )


def date_and_time(now_ms: int) -> str:
    now = datetime.fromtimestamp(now_ms / 1000, UTC)
    return (
        "<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime>"
        "<tt:DateTimeType>NTP</tt:DateTimeType><tt:DaylightSavings>false</tt:DaylightSavings>"
        "<tt:TimeZone><tt:TZ>CST-8</tt:TZ></tt:TimeZone><tt:UTCDateTime>"
        f"<tt:Time><tt:Hour>{now.hour}</tt:Hour><tt:Minute>{now.minute}</tt:Minute>"
        f"<tt:Second>{now.second}</tt:Second></tt:Time>"
        f"<tt:Date><tt:Year>{now.year}</tt:Year><tt:Month>{now.month}</tt:Month>"
        f"<tt:Day>{now.day}</tt:Day></tt:Date></tt:UTCDateTime>"
        "</tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>"
    )


def device_information(camera: CameraIdentity) -> str:
    return (
        "<tds:GetDeviceInformationResponse>"
        f"<tds:Manufacturer>{escape(camera.manufacturer)}</tds:Manufacturer>"
        f"<tds:Model>{escape(camera.model)}</tds:Model>"
        f"<tds:FirmwareVersion>{escape(camera.firmware)}</tds:FirmwareVersion>"
        f"<tds:SerialNumber>{escape(camera.serial)}</tds:SerialNumber>"
        "<tds:HardwareId>simulated</tds:HardwareId></tds:GetDeviceInformationResponse>"
    )


def services(base: str, left_out: Collection[str] = ()) -> str:
    """Return GetServices with all of ``SERVICES`` but those left out."""
    listed = "".join(
        f"<tds:Service><tds:Namespace>{namespace}</tds:Namespace>"
        f"<tds:XAddr>{base}/onvif/{name}_service</tds:XAddr>"
        "<tds:Version><tt:Major>2</tt:Major><tt:Minor>60</tt:Minor></tds:Version></tds:Service>"
        for name, namespace in SERVICES.items()
        if name not in left_out
    )
    return f"<tds:GetServicesResponse>{listed}</tds:GetServicesResponse>"


def capabilities(base: str, left_out: Collection[str] = (), *, plays_over_tcp: bool = True) -> str:
    """Return GetCapabilities, which has no word for the second media service."""
    media = (
        f"<tt:Media><tt:XAddr>{base}/onvif/media_service</tt:XAddr><tt:StreamingCapabilities>"
        "<tt:RTPMulticast>false</tt:RTPMulticast><tt:RTP_TCP>true</tt:RTP_TCP>"
        f"<tt:RTP_RTSP_TCP>{'true' if plays_over_tcp else 'false'}</tt:RTP_RTSP_TCP>"
        "</tt:StreamingCapabilities></tt:Media>"
    )
    # The schema's order: device, events, imaging, media, PTZ.
    return (
        "<tds:GetCapabilitiesResponse><tds:Capabilities>"
        f"<tt:Device><tt:XAddr>{base}/onvif/device_service</tt:XAddr></tt:Device>"
        f"<tt:Events><tt:XAddr>{base}/onvif/events_service</tt:XAddr>"
        "<tt:WSSubscriptionPolicySupport>false</tt:WSSubscriptionPolicySupport>"
        "<tt:WSPullPointSupport>true</tt:WSPullPointSupport>"
        "<tt:WSPausableSubscriptionManagerInterfaceSupport>false"
        "</tt:WSPausableSubscriptionManagerInterfaceSupport></tt:Events>"
        f"<tt:Imaging><tt:XAddr>{base}/onvif/imaging_service</tt:XAddr></tt:Imaging>"
        f"{'' if 'media' in left_out else media}"
        f"<tt:PTZ><tt:XAddr>{base}/onvif/ptz_service</tt:XAddr></tt:PTZ>"
        "</tds:Capabilities></tds:GetCapabilitiesResponse>"
    )


def scope_uris(camera: CameraIdentity) -> tuple[str, ...]:
    """Return the scopes of a Profile S and T camera; the name is percent-encoded as in RFC 3986."""
    words = {
        "Profile": ("Streaming", "T"),
        "type": ("video_encoder", "Network_Video_Transmitter", "ptz"),
        "name": (camera.name.replace(" ", "%20"),),
        "hardware": (camera.model.replace(" ", "%20"),),
    }
    return tuple(
        f"onvif://www.onvif.org/{kind}/{value}"
        for kind, values in words.items()
        for value in values
    )


def scopes(camera: CameraIdentity) -> str:
    listed = "".join(
        f"<tds:Scopes><tt:ScopeDef>Fixed</tt:ScopeDef>"
        f"<tt:ScopeItem>{escape(uri)}</tt:ScopeItem></tds:Scopes>"
        for uri in scope_uris(camera)
    )
    return f"<tds:GetScopesResponse>{listed}</tds:GetScopesResponse>"


def network_interfaces(camera: CameraIdentity, host: str, prefix_length: int) -> str:
    return (
        '<tds:GetNetworkInterfacesResponse><tds:NetworkInterfaces token="eth0">'
        "<tt:Enabled>true</tt:Enabled><tt:Info><tt:Name>eth0</tt:Name>"
        f"<tt:HwAddress>{camera.mac}</tt:HwAddress><tt:MTU>1500</tt:MTU></tt:Info>"
        "<tt:IPv4><tt:Enabled>true</tt:Enabled><tt:Config><tt:Manual>"
        f"<tt:Address>{host}</tt:Address><tt:PrefixLength>{prefix_length}</tt:PrefixLength>"
        "</tt:Manual><tt:DHCP>false</tt:DHCP></tt:Config></tt:IPv4>"
        "</tds:NetworkInterfaces></tds:GetNetworkInterfacesResponse>"
    )


def profiles(streams: dict[str, CameraStream], *, has_ptz: bool = True) -> str:
    """Return GetProfiles; the keys of ``streams`` are the profile tokens, best first."""
    largest = next(iter(streams.values()))
    listed = "".join(
        _profile("Profiles", token, stream, largest, has_ptz=has_ptz)
        for token, stream in streams.items()
    )
    return f"<trt:GetProfilesResponse>{listed}</trt:GetProfilesResponse>"


def profile(streams: dict[str, CameraStream], token: str, *, has_ptz: bool = True) -> str:
    """Return GetProfile of one of ``streams``."""
    largest = next(iter(streams.values()))
    told = _profile("Profile", token, streams[token], largest, has_ptz=has_ptz)
    return f"<trt:GetProfileResponse>{told}</trt:GetProfileResponse>"


def _profile(
    element: str, token: str, stream: CameraStream, largest: CameraStream, *, has_ptz: bool
) -> str:
    return (
        f'<trt:{element} token="{token}" fixed="true"><tt:Name>{token}</tt:Name>'
        f"{_video_source(largest)}{_audio_source()}"
        f"{_video_encoder(token, stream)}{_audio_encoder()}{_ptz() if has_ptz else ''}"
        f"</trt:{element}>"
    )


def _video_source(largest: CameraStream) -> str:
    return (
        '<tt:VideoSourceConfiguration token="video-source-configuration">'
        f"{video_source_configuration(largest)}</tt:VideoSourceConfiguration>"
    )


def video_source_configuration(largest: CameraStream) -> str:
    """Return what stands in a VideoSourceConfiguration."""
    return (
        "<tt:Name>sensor</tt:Name><tt:UseCount>2</tt:UseCount>"
        f"<tt:SourceToken>{SOURCE_TOKEN}</tt:SourceToken>"
        f'<tt:Bounds x="0" y="0" width="{largest.width}" height="{largest.height}"/>'
    )


AUDIO_SOURCE_CONFIGURATION = (
    "<tt:Name>microphone</tt:Name><tt:UseCount>2</tt:UseCount>"
    "<tt:SourceToken>audio-source</tt:SourceToken>"
)
"""What stands in an AudioSourceConfiguration."""


def _audio_source() -> str:
    return (
        '<tt:AudioSourceConfiguration token="audio-source-configuration">'
        f"{AUDIO_SOURCE_CONFIGURATION}</tt:AudioSourceConfiguration>"
    )


NO_MULTICAST = (
    "<tt:Multicast><tt:Address><tt:Type>IPv4</tt:Type>"
    "<tt:IPv4Address>0.0.0.0</tt:IPv4Address></tt:Address><tt:Port>0</tt:Port>"
    "<tt:TTL>1</tt:TTL><tt:AutoStart>false</tt:AutoStart></tt:Multicast>"
)
_SESSION_TIMEOUT = "<tt:SessionTimeout>PT60S</tt:SessionTimeout>"


def _video_encoder(token: str, stream: CameraStream) -> str:
    return (
        f'<tt:VideoEncoderConfiguration token="{token}-encoder">'
        f"{encoder_configuration(token, stream)}</tt:VideoEncoderConfiguration>"
    )


def encoder_configuration(token: str, stream: CameraStream) -> str:
    """Return what stands in a VideoEncoderConfiguration."""
    group = (
        f"<tt:H264><tt:GovLength>{stream.fps}</tt:GovLength>"
        "<tt:H264Profile>Baseline</tt:H264Profile></tt:H264>"
    )
    return (
        f"<tt:Name>{token}</tt:Name><tt:UseCount>1</tt:UseCount>"
        f"<tt:Encoding>{stream.encoding}</tt:Encoding><tt:Resolution>"
        f"<tt:Width>{stream.width}</tt:Width><tt:Height>{stream.height}</tt:Height>"
        "</tt:Resolution><tt:Quality>5</tt:Quality><tt:RateControl>"
        f"<tt:FrameRateLimit>{stream.fps}</tt:FrameRateLimit>"
        "<tt:EncodingInterval>1</tt:EncodingInterval>"
        f"<tt:BitrateLimit>{stream.kbps}</tt:BitrateLimit></tt:RateControl>"
        f"{group if stream.encoding == 'H264' else ''}{NO_MULTICAST}{_SESSION_TIMEOUT}"
    )


def sizes_offered(stream: CameraStream) -> str:
    """Return what an encoder may be set to: its own size and a small one."""
    return "".join(
        f"<tt:ResolutionsAvailable><tt:Width>{width}</tt:Width>"
        f"<tt:Height>{height}</tt:Height></tt:ResolutionsAvailable>"
        for width, height in (_SMALLEST, (stream.width, stream.height))
    )


def _audio_encoder() -> str:
    return (
        '<tt:AudioEncoderConfiguration token="audio-encoder"><tt:Name>aac</tt:Name>'
        "<tt:UseCount>2</tt:UseCount><tt:Encoding>AAC</tt:Encoding><tt:Bitrate>64</tt:Bitrate>"
        f"<tt:SampleRate>48</tt:SampleRate>{NO_MULTICAST}{_SESSION_TIMEOUT}"
        "</tt:AudioEncoderConfiguration>"
    )


def _ptz() -> str:
    return f'<tt:PTZConfiguration token="{CONFIGURATION}">{configuration()}</tt:PTZConfiguration>'


def video_sources(stream: CameraStream) -> str:
    return (
        f'<trt:GetVideoSourcesResponse><trt:VideoSources token="{SOURCE_TOKEN}">'
        f"<tt:Framerate>{stream.fps}</tt:Framerate><tt:Resolution>"
        f"<tt:Width>{stream.width}</tt:Width><tt:Height>{stream.height}</tt:Height>"
        "</tt:Resolution></trt:VideoSources></trt:GetVideoSourcesResponse>"
    )


def media_uri(operation: str, uri: str) -> str:
    """Return the answer to ``GetStreamUri`` or ``GetSnapshotUri``."""
    return (
        f"<trt:{operation}Response><trt:MediaUri><tt:Uri>{escape(uri)}</tt:Uri>"
        "<tt:InvalidAfterConnect>false</tt:InvalidAfterConnect>"
        "<tt:InvalidAfterReboot>false</tt:InvalidAfterReboot>"
        f"<tt:Timeout>PT0S</tt:Timeout></trt:MediaUri></trt:{operation}Response>"
    )
