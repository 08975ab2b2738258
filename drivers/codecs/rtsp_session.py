"""A client's RTSP session from OPTIONS to TEARDOWN, without a socket (RFC 2326).

Media comes interleaved on the RTSP connection: no ports to open, nothing lost on the way; or, from
cameras that cannot, in datagrams to ports that the caller opened.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from drivers.codecs.digest import (
    Attempt,
    Challenge,
    Credentials,
    authorization,
    parse_challenges,
    strongest,
)
from drivers.codecs.rtsp import Interleaved, MessageReader, Request, Response, encode_request
from drivers.codecs.rtsp_url import RtspUrl, parse_url
from drivers.codecs.sdp import Media, SessionDescription, parse_sdp
from drivers.errors import ProtocolError, RefusedError, SetupError, UnreachableError

TRACKS_MAX = 4
SESSION_TIMEOUT_S = 60  # RFC 2326 §12.37

_USER_AGENT = "SchoolNode"
_SESSION = re.compile(r"([^\s;,]{1,128})(?:[ \t]*;[ \t]*timeout=([0-9]{1,5}))?.*")
_SERVER_PORTS = re.compile(r"(?:.*;)?server_port=([0-9]{1,5})(?:-([0-9]{1,5}))?(?:;.*)?")
_PORTS = range(1, 65536)
_CHANNELS = re.compile(r"(?:.*;)?interleaved=([0-9]{1,3})(?:-([0-9]{1,3}))?(?:;.*)?")
_OK = range(200, 300)
_REDIRECTS = range(300, 400)
_SERVER_FAULTS = range(500, 600)
_UNAUTHORIZED = 401
_UNSUPPORTED_TRANSPORT = 461
_RETRY_LATER = {
    453: "it has no bandwidth left; close other viewers",
    454: "it forgot the session",
}
_REMEDIES = {
    403: "this user may not see the stream; give it the right to in the camera",
    404: "there is no such stream; take the address that ONVIF reports",
    461: "it sends media neither over TCP nor over UDP; switch on RTP over RTSP (TCP) in it",
}

Choice = Callable[[SessionDescription], Sequence[Media]]
"""Picks the media to play, in the order of the tracks; raises RefusedError where none fits."""


class OnlyUdpError(RefusedError):
    """The camera does not send media over its RTSP connection: try with ports of ours."""


class TrackPacket(msgspec.Struct, frozen=True, gc=False):
    """An RTP packet of a chosen track, or an RTCP packet about it."""

    track: int
    is_control: bool
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Playing:
    """The camera agreed to send; media follows."""

    media: tuple[Media, ...]


class ClientSession:
    """Drives one session: bytes in by ``receive``, bytes out by ``outgoing``.

    One request is in flight at a time. Errors: RefusedError (password, no such stream, redirect,
    media of a wrong kind), UnreachableError (the camera cannot now), ProtocolError.
    """

    def __init__(
        self,
        url: RtspUrl,
        credentials: Credentials | None,
        choose: Choice,
        chance: random.Random,
        client_ports: Sequence[int] = (),
    ) -> None:
        """``client_ports`` are our RTP ports, one a track; without them media comes interleaved."""
        self._url = url
        self._client_ports = client_ports
        self._credentials = credentials
        self._choose = choose
        self._chance = chance
        self._reader = MessageReader()
        self._out = bytearray()
        self._number = 0
        self._pending: Request | None = None
        self._challenge: Challenge | None = None
        self._nonce_uses = 0
        self._answered = False  # whether the pending request carries an answer to a challenge
        self._base = url.text
        self._aggregate = url.text
        self._media: tuple[Media, ...] = ()
        self._channels: dict[int, tuple[int, bool]] = {}
        self._tracks_set_up = 0
        self.report_ports: list[int | None] = []
        """The camera's RTCP port of each track that comes in datagrams, where it told one."""
        self._session = ""
        self._can_get_parameter = False
        self.keep_alive_s = SESSION_TIMEOUT_S / 2
        self._after: dict[str, Callable[[Response], list[Playing]]] = {
            "OPTIONS": self._after_options,
            "DESCRIBE": self._after_describe,
            "SETUP": self._after_setup,
            "PLAY": self._after_play,
        }
        self._playing = False

    def start(self) -> None:
        self._send("OPTIONS", self._url.text)

    def keep_alive(self) -> None:
        """Ask for something harmless, unless an answer is still awaited."""
        if self._playing and self._pending is None:
            method = "GET_PARAMETER" if self._can_get_parameter else "OPTIONS"
            self._send(method, self._aggregate)

    def teardown(self) -> None:
        if self._session:
            self._send("TEARDOWN", self._aggregate)

    def outgoing(self) -> bytes:
        """Return what has to be sent, once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def receive(self, data: bytes) -> list[TrackPacket | Playing]:
        events: list[TrackPacket | Playing] = []
        for event in self._reader.feed(data):
            match event:
                case Interleaved(channel=channel, data=packet):
                    if (track := self._channels.get(channel)) is not None:
                        events.append(TrackPacket(track[0], track[1], packet))
                case Response():
                    events += self._take_response(event)
                case Request():
                    self._answer(event)
        return events

    def _answer(self, request: Request) -> None:
        number = request.value("cseq") or "0"
        self._out += f"RTSP/1.0 501 Not Implemented\r\nCSeq: {number}\r\n\r\n".encode("latin-1")

    def _take_response(self, response: Response) -> list[Playing]:
        request = self._pending
        if request is None or response.value("cseq") != str(self._number):
            raise ProtocolError(f"{self._name}: an answer that belongs to no request")
        self._pending = None
        if response.status == _UNAUTHORIZED:
            self._authenticate(request, response)
            return []
        if self._playing:
            return []
        self._require_success(request, response)
        return self._after[request.method](response)

    def _require_success(self, request: Request, response: Response) -> None:
        status = response.status
        if status in _OK:
            return
        fact = f"{self._name} answered {request.method} with {status} {response.reason[:60]}"
        if status == _UNSUPPORTED_TRANSPORT and not self._client_ports:
            raise OnlyUdpError(f"{fact}: it does not send media over TCP")
        if status in _REDIRECTS:
            raise RefusedError(f"{fact}: it points elsewhere; give the address it points to")
        if status in _RETRY_LATER or status in _SERVER_FAULTS:
            raise UnreachableError(f"{fact}: {_RETRY_LATER.get(status, 'it has a fault')}")
        remedy = _REMEDIES.get(status, "check the stream's address and the camera's settings")
        raise RefusedError(f"{fact}: {remedy}")

    def _authenticate(self, request: Request, response: Response) -> None:
        challenges = parse_challenges(response.values("www-authenticate"))
        if self._credentials is None:
            raise RefusedError(f"{self._name} asks for a password; enter the camera's user")
        challenge = strongest(challenges)
        if challenge is None:
            raise RefusedError(
                f"{self._name} would take the password in clear only; "
                "switch on Digest authentication in the camera"
            )
        # A nonce that has served before may be worn out; the first answer to a new one counts.
        if self._answered and self._nonce_uses <= 1:
            raise RefusedError(
                f"{self._name} refused the user name or password; enter the camera's again"
            )
        self._challenge, self._nonce_uses = challenge, 0
        self._send(request.method, request.uri, *_own_headers(request))

    def _after_options(self, response: Response) -> list[Playing]:
        words = {w.strip() for value in response.values("public") for w in value.split(",")}
        self._can_get_parameter = "GET_PARAMETER" in words
        self._send("DESCRIBE", self._url.text, ("Accept", "application/sdp"))
        return []

    def _after_describe(self, response: Response) -> list[Playing]:
        kind = (response.value("content-type") or "").partition(";")[0].strip().lower()
        if kind != "application/sdp":
            raise ProtocolError(f"{self._name} describes the stream as {kind[:40]!r}, not as SDP")
        base = response.value("content-base") or response.value("content-location")
        if base:
            self._base = self._same_site(base)
        description = parse_sdp(response.body)
        self._aggregate = self._resolve(description.control)
        self._media = tuple(self._choose(description))
        if not 1 <= len(self._media) <= (len(self._client_ports) or TRACKS_MAX):
            raise RefusedError(
                f"{self._name} offers no picture or sound that can be taken;"
                " set it to H.264 with AAC, Opus or G.711"
            )
        self._set_up_next()
        return []

    def _set_up_next(self) -> None:
        if self._client_ports:
            port = self._client_ports[self._tracks_set_up]
            transport = f"RTP/AVP;unicast;client_port={port}-{port + 1}"
        else:
            channel = 2 * self._tracks_set_up
            transport = f"RTP/AVP/TCP;unicast;interleaved={channel}-{channel + 1}"
        uri = self._resolve(self._media[self._tracks_set_up].control)
        self._send("SETUP", uri, ("Transport", transport))

    def _after_setup(self, response: Response) -> list[Playing]:
        session = _SESSION.fullmatch(response.value("session") or "")
        if session is None:
            raise ProtocolError(f"{self._name} set up a track without a session")
        if self._session not in {"", session[1]}:
            raise ProtocolError(f"{self._name} gave each track a session of its own")
        self._session = session[1]
        # A camera may say 0 or nonsense; between 2 s and an hour its word is taken.
        timeout_s = int(session[2] or SESSION_TIMEOUT_S)
        self.keep_alive_s = min(max(timeout_s, 2), 3600) / 2
        transport = (response.value("transport") or "").replace(" ", "")
        if self._client_ports:
            ports = _SERVER_PORTS.fullmatch(transport)
            told = int(ports[2] or int(ports[1]) + 1) if ports is not None else 0
            self.report_ports.append(told if told in _PORTS else None)
        else:
            self._take_channels(transport)
        self._tracks_set_up += 1
        if self._tracks_set_up < len(self._media):
            self._set_up_next()
        else:
            self._send("PLAY", self._aggregate, ("Range", "npt=0.000-"))
        return []

    def _take_channels(self, transport: str) -> None:
        channels = _CHANNELS.fullmatch(transport)
        if channels is None:
            raise ProtocolError(f"{self._name} set up a track without channels")
        media_channel = int(channels[1])
        control_channel = int(channels[2]) if channels[2] else media_channel + 1
        if self._channels.keys() & {media_channel, control_channel}:
            raise ProtocolError(f"{self._name} gave two tracks the same channel")
        self._channels[media_channel] = (self._tracks_set_up, False)
        self._channels[control_channel] = (self._tracks_set_up, True)

    def _after_play(self, _: Response) -> list[Playing]:
        self._playing = True
        return [Playing(media=self._media)]

    def _send(self, method: str, uri: str, *headers: tuple[str, str]) -> None:
        self._number += 1
        fields = [("CSeq", str(self._number)), ("User-Agent", _USER_AGENT), *headers]
        if self._session:
            fields.append(("Session", self._session))
        self._answered = self._challenge is not None
        if self._challenge is not None and self._credentials is not None:
            self._nonce_uses += 1
            attempt = Attempt(
                method=method,
                uri=uri,
                cnonce=f"{self._chance.getrandbits(64):016x}",
                count=self._nonce_uses,
            )
            value = authorization(self._challenge, self._credentials, attempt)
            fields.append(("Authorization", value))
        self._pending = Request(method=method, uri=uri, headers=tuple(fields))
        self._out += encode_request(self._pending)

    def _resolve(self, control: str) -> str:
        if control in {"", "*"}:
            return self._base
        if "://" in control:
            return self._same_site(control)
        # What live555 and FFmpeg do, and cameras therefore expect: append, even after a query.
        return self._same_site(self._base.rstrip("/") + "/" + control.lstrip("/"))

    def _same_site(self, address: str) -> str:
        try:
            url = parse_url(address)
        except SetupError as error:
            raise ProtocolError(f"{self._name} names a track by a broken address") from error
        if url.site != self._url.site:
            raise RefusedError(
                f"{self._name} sends us to {url.host}:{url.port}; "
                "correct the address in the camera's network settings"
            )
        return url.text

    @property
    def _name(self) -> str:
        return f"camera {self._url.host}:{self._url.port}"


def _own_headers(request: Request) -> list[tuple[str, str]]:
    added = {"CSeq", "User-Agent", "Session", "Authorization"}
    return [(name, value) for name, value in request.headers if name not in added]
