"""What a simulated camera answers to RTSP requests, without a socket."""

import random
import re
from collections.abc import Callable

from drivers.codecs.digest import Challenge, Credentials, challenge_value, is_answered
from drivers.codecs.rtsp import Headers, Request, Response, encode_response

REALM = "SchoolNode test camera"
TRACKS = ("track1", "track2")

_PUBLIC = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
_INTERLEAVED = re.compile(r"RTP/AVP/TCP;(?:.*;)?interleaved=([0-9]{1,3})-([0-9]{1,3})(?:;.*)?")
_DATAGRAMS = re.compile(r"RTP/AVP(?:/UDP)?;unicast;client_port=([0-9]{1,5})-[0-9]{1,5}")
_CHANNELS = range(256)
_REASONS = {
    200: "OK",
    401: "Unauthorized",
    404: "Not Found",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    551: "Option not supported",
}

Describe = Callable[[str], str | None]
"""Returns the session description of a path, or None if there is no such stream."""


class RtspResponder:
    """One connection's session; ``channels`` are (media, control) of each track's number.

    A server that sends ``over_udp`` too finds in ``client_ports`` where to. After PLAY ``plays`` is
    true, after TEARDOWN ``is_over``.
    """

    def __init__(
        self,
        describe: Describe,
        credentials: Credentials | None,
        chance: random.Random,
        timeout_s: int,
        *,
        over_udp: bool = False,
    ) -> None:
        self._describe = describe
        self._credentials = credentials
        self._timeout_s = timeout_s
        nonce = f"{chance.getrandbits(128):032x}"
        self._challenges = {
            name: Challenge(scheme="digest", realm=REALM, nonce=nonce, algorithm=name, qop="auth")
            for name in ("SHA-256", "MD5")
        }
        self._methods: dict[str, Callable[[Request], Response]] = {
            "OPTIONS": lambda _: _answer(200, ("Public", _PUBLIC)),
            "DESCRIBE": self._take_describe,
            "SETUP": self._take_setup,
            "PLAY": self._take_play,
            "GET_PARAMETER": lambda _: _answer(200, ("Session", self.session)),
            "TEARDOWN": self._take_teardown,
        }
        self.session = f"{chance.getrandbits(64):016x}"
        self.path = ""
        self.channels: dict[int, tuple[int, int]] = {}
        self.client_ports: dict[int, int] = {}
        self._over_udp = over_udp
        self.plays = False
        self.is_over = False

    def answer(self, request: Request) -> bytes:
        found = self._respond(request)
        headers: Headers = (("CSeq", request.value("cseq") or "0"), *found.headers)
        return encode_response(
            Response(status=found.status, reason=found.reason, headers=headers, body=found.body)
        )

    def _respond(self, request: Request) -> Response:
        if request.value("require") is not None:
            return _answer(551)
        method = self._methods.get(request.method)
        if method is None:
            return _answer(501)
        if request.method != "OPTIONS" and not self._admits(request):
            asked = [challenge_value(challenge) for challenge in self._challenges.values()]
            return _answer(401, *(("WWW-Authenticate", value) for value in asked))
        return method(request)

    def _admits(self, request: Request) -> bool:
        if self._credentials is None:
            return True
        given = request.value("authorization") or ""
        # RFC 7616 §3.4: an answer that names no algorithm is MD5.
        named = re.search(r'algorithm="?(SHA-256|MD5)', given)
        challenge = self._challenges[named[1] if named else "MD5"]
        return is_answered(challenge, self._credentials, request.method, given)

    def _take_describe(self, request: Request) -> Response:
        path, _ = _split(request.uri)
        description = self._describe(path)
        if description is None:
            return _answer(404)
        return Response(
            status=200,
            reason=_REASONS[200],
            headers=(
                ("Content-Type", "application/sdp"),
                ("Content-Base", request.uri.rstrip("/") + "/"),
            ),
            body=description.encode(),
        )

    def _take_setup(self, request: Request) -> Response:
        path, track = _split(request.uri)
        if self._describe(path) is None or track not in TRACKS or self.path not in {"", path}:
            return _answer(404)
        if self.plays:
            return _answer(455)
        transport = (request.value("transport") or "").partition(",")[0].replace(" ", "")
        datagrams = _DATAGRAMS.fullmatch(transport)
        if self._over_udp and datagrams is not None:
            self.path = path
            self.client_ports[TRACKS.index(track)] = int(datagrams[1])
            return self._set_up(transport)
        channels = _INTERLEAVED.fullmatch(transport)
        if channels is None or not {int(channels[1]), int(channels[2])} <= set(_CHANNELS):
            return _answer(461)
        self.path = path
        self.channels[TRACKS.index(track)] = (int(channels[1]), int(channels[2]))
        return self._set_up(f"RTP/AVP/TCP;unicast;interleaved={channels[1]}-{channels[2]}")

    def _set_up(self, transport: str) -> Response:
        session = f"{self.session};timeout={self._timeout_s}"
        return _answer(200, ("Transport", transport), ("Session", session))

    def _take_play(self, request: Request) -> Response:
        if not (self.channels or self.client_ports) or request.value("session") != self.session:
            return _answer(454)
        self.plays = True
        return _answer(200, ("Session", self.session), ("Range", "npt=0.000-"))

    def _take_teardown(self, _: Request) -> Response:
        self.is_over = True
        return _answer(200)


def _answer(status: int, *headers: tuple[str, str]) -> Response:
    return Response(status=status, reason=_REASONS[status], headers=headers)


def _split(uri: str) -> tuple[str, str]:
    """Return the path and the track that an address names."""
    _, _, rest = uri.partition("://")
    path, _, track = rest.partition("/")[2].partition("?")[0].strip("/").partition("/")
    return path, track
