import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.sdp import MEDIA_MAX, SDP_BYTES_MAX, parse_sdp
from drivers.errors import ProtocolError

# RFC 6184 §8.2.1 (media lines) and RFC 3640 §4.3 in one session, with a back channel as ONVIF has.
DESCRIPTION = b"""v=0\r
o=- 1 1 IN IP4 192.0.2.1\r
s=Camera\r
t=0 0\r
a=control:*\r
m=video 0 RTP/AVP 98\r
a=rtpmap:98 H264/90000\r
a=fmtp:98 profile-level-id=42A01E;packetization-mode=1;sprop-parameter-sets=Z0IACpZTBYmI,aMljiA==\r
a=framerate:12.5\r
a=control:trackID=1\r
m=audio 0 RTP/AVP 96\r
a=rtpmap:96 mpeg4-generic/48000/6\r
a=fmtp:96 mode=AAC-hbr; config=11B0; sizeLength=13; indexLength=3; indexDeltaLength=3\r
a=control:trackID=2\r
m=audio 0 RTP/AVP 0\r
a=sendonly\r
a=control:trackID=3\r
"""


def test_a_cameras_description_is_read() -> None:
    description = parse_sdp(DESCRIPTION)
    video, audio, back_channel = description.media
    assert description.control == "*"
    assert (video.kind, video.payload_type, video.encoding) == ("video", 98, "H264")
    assert (video.clock_rate, video.frame_rate, video.control) == (90000, 12.5, "trackID=1")
    assert video.parameters["sprop-parameter-sets"] == "Z0IACpZTBYmI,aMljiA=="
    assert (audio.encoding, audio.clock_rate, audio.channels) == ("MPEG4-GENERIC", 48000, 6)
    assert (audio.parameters["sizelength"], audio.parameters["config"]) == ("13", "11B0")
    assert not audio.to_camera
    assert (back_channel.encoding, back_channel.to_camera) == ("PCMU", True)


def test_bare_line_feeds_are_read_too() -> None:
    assert parse_sdp(DESCRIPTION.replace(b"\r\n", b"\n")) == parse_sdp(DESCRIPTION)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"o=- 1 1 IN IP4 0\r\nv=0\r\n",
        b"v=0\r\nm=video nonsense\r\n",
        b"v=0\r\n" + b"m=video 0 RTP/AVP 96\r\n" * (MEDIA_MAX + 1),
        b"v=0\r\n" + b"a=x\r\n" * 1001,
        b"v=0\r\n" + b"x" * SDP_BYTES_MAX,
    ],
)
def test_what_is_no_description_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_sdp(body)


@given(
    st.binary(max_size=300)
    | st.lists(st.sampled_from(DESCRIPTION.split(b"\r\n")) | st.binary(max_size=30)).map(
        b"\r\n".join
    )
)
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(body: bytes) -> None:
    for start in (b"", b"v=0\r\n"):
        try:
            parse_sdp(start + body)
        except ProtocolError:
            continue
