import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.digest import Credentials
from drivers.codecs.rtsp import MessageReader, Request, encode_frame
from drivers.codecs.rtsp_session import (
    ClientSession,
    OnlyUdpError,
    Playing,
    TrackPacket,
)
from drivers.codecs.rtsp_url import parse_url
from drivers.codecs.sdp import Media, SessionDescription
from drivers.errors import (
    DriverError,
    ProtocolError,
    RefusedError,
    SetupError,
    UnreachableError,
)

URL = "rtsp://192.0.2.8/live"
CAMERA = Credentials(user="admin", password="secret")
SDP = (
    "v=0\r\na=control:*\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:track1\r\n"
    "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/48000\r\na=control:rtsp://192.0.2.8/live/a\r\n"
)
DESCRIBED = (
    b"RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\n"
    b"Content-Length: 28\r\n\r\nv=0\r\nm=video 0 RTP/AVP 9\r\n"
)
SET_UP = (
    b"RTSP/1.0 200 OK\r\nCSeq: 3\r\nSession: a\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n"
)


def all_media(description: SessionDescription) -> tuple[Media, ...]:
    return description.media


class Camera:
    """Answers a session by hand; every answer can be replaced by method."""

    def __init__(
        self, credentials: Credentials | None = CAMERA, ports: tuple[int, ...] = ()
    ) -> None:
        self.session = ClientSession(
            parse_url(URL), credentials, all_media, random.Random(1), ports
        )
        self.seen: list[Request] = []
        self.answers: dict[str, Callable[[Request], str]] = {
            "OPTIONS": lambda _: self.ok("Public: DESCRIBE, GET_PARAMETER"),
            "DESCRIBE": lambda _: self.ok("Content-Type: application/sdp", body=SDP),
            "SETUP": self.set_up,
            "PLAY": lambda _: self.ok("Session: abc"),
            "GET_PARAMETER": lambda _: self.ok(),
        }

    @staticmethod
    def ok(*lines: str, status: str = "200 OK", body: str = "") -> str:
        head = [f"RTSP/1.0 {status}", "CSeq: {cseq}", *lines, f"Content-Length: {len(body)}"]
        return "\r\n".join((*head, "", body))

    def set_up(self, request: Request) -> str:
        transport = (request.value("transport") or "") + ";ssrc=1234;mode=play"
        return self.ok(f"Transport: {transport}", "Session: abc;timeout=30")

    def run(self) -> list[TrackPacket | Playing]:
        self.session.start()
        events: list[TrackPacket | Playing] = []
        for _ in range(20):
            out = self.session.outgoing()
            if not out:
                return events
            for request in MessageReader().feed(out):
                assert isinstance(request, Request)
                self.seen.append(request)
                answer = self.answers[request.method](request)
                answer = answer.replace("{cseq}", request.value("cseq") or "")
                events += self.session.receive(answer.encode())
        raise AssertionError("the session never comes to rest")

    def methods(self) -> list[str]:
        return [request.method for request in self.seen]


def test_a_session_goes_from_options_to_play() -> None:
    camera = Camera()
    (playing,) = camera.run()
    assert isinstance(playing, Playing)
    assert [media.kind for media in playing.media] == ["video", "audio"]
    assert camera.methods() == ["OPTIONS", "DESCRIBE", "SETUP", "SETUP", "PLAY"]
    assert [request.uri for request in camera.seen] == [
        URL,
        URL,
        "rtsp://192.0.2.8/live/track1",
        "rtsp://192.0.2.8/live/a",
        URL,
    ]
    assert camera.seen[-1].value("session") == "abc"
    assert camera.session.keep_alive_s == 15


def test_packets_come_with_their_track() -> None:
    camera = Camera()
    camera.run()
    data = b"".join(encode_frame(channel, b"%d" % channel) for channel in range(6))
    assert camera.session.receive(data) == [
        TrackPacket(0, False, b"0"),
        TrackPacket(0, True, b"1"),
        TrackPacket(1, False, b"2"),
        TrackPacket(1, True, b"3"),
    ]


def test_the_cameras_choice_of_channels_is_followed() -> None:
    camera = Camera()
    pairs = iter(["5-7", "9"])
    camera.answers["SETUP"] = lambda _: camera.ok(
        f"Transport: RTP/AVP/TCP;unicast;interleaved={next(pairs)}", "Session: abc"
    )
    camera.run()
    frames = encode_frame(7, b"r") + encode_frame(9, b"a") + encode_frame(10, b"b")
    assert camera.session.receive(frames) == [
        TrackPacket(0, True, b"r"),
        TrackPacket(1, False, b"a"),
        TrackPacket(1, True, b"b"),
    ]


def test_keep_alive_asks_what_the_camera_offers_and_waits_for_its_answer() -> None:
    camera = Camera()
    camera.run()
    camera.session.keep_alive()
    first = camera.session.outgoing()
    camera.session.keep_alive()
    assert first.startswith(b"GET_PARAMETER rtsp://192.0.2.8/live RTSP/1.0\r\n")
    assert b"Session: abc" in first
    assert camera.session.outgoing() == b""
    assert camera.session.receive(b"RTSP/1.0 200 OK\r\nCSeq: 6\r\n\r\n") == []
    camera.session.keep_alive()
    assert camera.session.outgoing()


def test_teardown_ends_the_session() -> None:
    camera = Camera()
    camera.run()
    camera.session.teardown()
    assert camera.session.outgoing().startswith(b"TEARDOWN ")


def test_a_request_of_the_camera_is_declined() -> None:
    camera = Camera()
    camera.run()
    camera.session.receive(b"ANNOUNCE rtsp://192.0.2.8/live RTSP/1.0\r\nCSeq: 77\r\n\r\n")
    assert camera.session.outgoing() == b"RTSP/1.0 501 Not Implemented\r\nCSeq: 77\r\n\r\n"


def locked(camera: Camera, *challenges: str, right: bool = True) -> None:
    """Make DESCRIBE ask for authentication, and accept the answer or not."""
    granted = camera.answers["DESCRIBE"]
    asked = [f"WWW-Authenticate: {challenge}" for challenge in challenges]
    camera.answers["DESCRIBE"] = lambda request: (
        granted(request)
        if right and request.value("authorization")
        else camera.ok(*asked, status="401 Unauthorized")
    )


def test_a_digest_challenge_is_answered_and_each_later_request_counts_on() -> None:
    camera = Camera()
    locked(camera, 'Digest realm="r", nonce="n", qop="auth"')
    assert camera.run()
    answers = [request.value("authorization") or "" for request in camera.seen]
    assert answers[:2] == ["", ""]
    assert all(f"nc={n:08x}" in answer for n, answer in enumerate(answers[2:], 1))
    assert camera.seen[2].value("accept") == "application/sdp"
    assert all("secret" not in answer for answer in answers)


def test_a_worn_out_nonce_is_replaced() -> None:
    camera = Camera()
    locked(camera, 'Digest realm="r", nonce="n1"')
    camera.answers["PLAY"] = lambda request: (
        camera.ok()
        if 'nonce="n2"' in (request.value("authorization") or "")
        else camera.ok(
            'WWW-Authenticate: Digest realm="r", nonce="n2", stale=true', status="401 Unauthorized"
        )
    )
    assert camera.run()
    assert camera.methods()[-2:] == ["PLAY", "PLAY"]


def test_a_wrong_password_is_refused_after_one_try() -> None:
    camera = Camera()
    locked(camera, 'Digest realm="r", nonce="n"', right=False)
    with pytest.raises(RefusedError, match="refused the user name or password"):
        camera.run()
    assert camera.methods() == ["OPTIONS", "DESCRIBE", "DESCRIBE"]


def test_a_camera_that_calls_every_answer_stale_is_given_up() -> None:
    camera = Camera()
    locked(camera, 'Digest realm="r", nonce="n", stale=true', right=False)
    with pytest.raises(RefusedError):
        camera.run()


def test_basic_authentication_is_refused_and_the_password_never_sent() -> None:
    camera = Camera()
    locked(camera, 'Basic realm="r"')
    with pytest.raises(RefusedError, match="switch on Digest"):
        camera.run()
    assert all(request.value("authorization") is None for request in camera.seen)


def test_a_locked_camera_without_a_password_says_so() -> None:
    camera = Camera(credentials=None)
    locked(camera, 'Digest realm="r", nonce="n"')
    with pytest.raises(RefusedError, match="asks for a password"):
        camera.run()


@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ("302 Moved", RefusedError, "points elsewhere"),
        ("404 Not Found", RefusedError, "no such stream"),
        ("403 Forbidden", RefusedError, "may not see"),
        ("415 Unsupported", RefusedError, "check the stream's address"),
        ("453 Not Enough Bandwidth", UnreachableError, "close other viewers"),
        ("503 Service Unavailable", UnreachableError, "has a fault"),
    ],
)
def test_a_refusal_says_what_to_do(status: str, error: type[DriverError], words: str) -> None:
    camera = Camera()
    camera.answers["DESCRIBE"] = lambda _: camera.ok("Location: rtsp://evil/", status=status)
    with pytest.raises(error, match=words):
        camera.run()


def test_a_camera_without_tcp_is_told_apart_and_without_either_refused_with_the_remedy() -> None:
    for ports, error, words in (
        ((), OnlyUdpError, "does not send media over TCP"),
        ((50_000, 50_002), RefusedError, r"RTP over RTSP \(TCP\)"),
    ):
        camera = Camera(ports=ports)
        camera.answers["SETUP"] = lambda _: Camera.ok(status="461 Unsupported")
        with pytest.raises(error, match=words):
            camera.run()


def test_media_in_datagrams_is_set_up_with_our_ports_and_the_cameras_are_known() -> None:
    camera = Camera(ports=(50_000, 50_002))
    told = iter(["server_port=6970-6971;ssrc=1", "server_port=7000", "source=192.0.2.8"])
    camera.answers["SETUP"] = lambda request: camera.ok(
        f"Transport: {request.value('transport')};{next(told)}", "Session: abc"
    )
    (playing,) = camera.run()
    assert isinstance(playing, Playing)
    asked = [request.value("transport") for request in camera.seen if request.method == "SETUP"]
    assert asked == [
        "RTP/AVP;unicast;client_port=50000-50001",
        "RTP/AVP;unicast;client_port=50002-50003",
    ]
    assert camera.session.report_ports == [6971, 7001]


def test_the_word_for_udp_is_ours_and_not_sent_to_the_camera() -> None:
    for text, asked, wants_udp in (
        ("rtsp://192.0.2.8/live?transport=udp", "rtsp://192.0.2.8/live", True),
        ("rtsp://192.0.2.8/live?a=1&transport=UDP&b", "rtsp://192.0.2.8/live?a=1&b", True),
        ("rtsp://192.0.2.8/live?transport=tcp", "rtsp://192.0.2.8/live?transport=tcp", False),
        ("rtsp://192.0.2.8/live", "rtsp://192.0.2.8/live", False),
    ):
        url = parse_url(text)
        assert (url.text, url.wants_udp) == (asked, wants_udp)


@pytest.mark.parametrize("base", ["rtsp://198.51.100.7/live/", "rtsp://192.0.2.8:8554/live/"])
def test_another_host_or_port_is_never_followed(base: str) -> None:
    camera = Camera()
    camera.answers["DESCRIBE"] = lambda _: camera.ok(
        "Content-Type: application/sdp", f"Content-Base: {base}", body=SDP
    )
    with pytest.raises(RefusedError, match="sends us to"):
        camera.run()
    assert camera.methods() == ["OPTIONS", "DESCRIBE"]


def test_a_track_on_another_host_is_never_followed() -> None:
    camera = Camera()
    body = SDP.replace("rtsp://192.0.2.8/live/a", "rtsp://198.51.100.7/a")
    camera.answers["DESCRIBE"] = lambda _: camera.ok("Content-Type: application/sdp", body=body)
    with pytest.raises(RefusedError, match=r"198\.51\.100\.7"):
        camera.run()


def test_a_late_answer_is_never_taken_for_the_next_one() -> None:
    camera = Camera()
    camera.session.start()
    camera.session.receive(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")
    with pytest.raises(ProtocolError, match="belongs to no request"):
        camera.session.receive(b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n")


@pytest.mark.parametrize(
    "lines",
    [
        ("Session: abc",),
        ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1",),
        ("Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: abc"),
    ],
    ids=["no transport", "no session", "the same channels twice"],
)
def test_a_broken_setup_answer_ends_the_session(lines: tuple[str, ...]) -> None:
    camera = Camera()
    camera.answers["SETUP"] = lambda _: camera.ok(*lines)
    with pytest.raises(ProtocolError):
        camera.run()


@pytest.mark.parametrize(
    "url",
    [
        "http://192.0.2.8/live",
        "rtsp:///live",
        "rtsp://192.0.2.8:99999/",
        "rtsp://[::1/",
        "rtsp://admin:secret@192.0.2.8/live",
        "rtsp://192.0.2.8/a b",
        "rtsp://192.0.2.8/a\r\nX: y",
        "rtsp://192.0.2.8/" + "x" * 2000,
    ],
)
def test_a_bad_address_says_what_is_wrong_and_shows_no_password(url: str) -> None:
    with pytest.raises(SetupError) as caught:
        parse_url(url)
    assert "secret" not in str(caught.value)


@given(
    st.lists(
        st.binary(max_size=80)
        | st.sampled_from(
            [
                b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nPublic: X\r\n\r\n",
                b"RTSP/1.0 401 No\r\nCSeq: 1\r\nWWW-Authenticate: Digest nonce=x\r\n\r\n",
                DESCRIBED,
                SET_UP,
                b"RTSP/1.0 200 OK\r\nCSeq: 4\r\n\r\n",
                b"OPTIONS * RTSP/1.0\r\n\r\n",
                b"$\x00\x00\x03abc",
            ]
        ),
        max_size=10,
    )
)
def test_arbitrary_answers_raise_nothing_but_the_errors_of_the_contract(parts: list[bytes]) -> None:
    session = Camera().session
    session.start()
    try:
        for part in parts:
            session.receive(part)
    except (ProtocolError, RefusedError, UnreachableError):
        return
