"""HTTP Digest access authentication as RTSP uses it (RFC 2617, RFC 7616), both sides."""

import hashlib
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from drivers.errors import ProtocolError

_HASHES: dict[str, Callable[[bytes], str]] = {
    # RFC 7616 §3.3: still offered alone by most cameras; the digest guards a LAN password only.
    "MD5": lambda data: hashlib.md5(data, usedforsecurity=False).hexdigest(),
    "SHA-256": lambda data: hashlib.sha256(data).hexdigest(),
}
_STRONGEST_FIRST = ("SHA-256", "MD5")
_VALUE_CHARS_MAX = 4096
_PARAMETERS_MAX = 24
_SCHEME = re.compile(r"[ ,\t]{0,8}([A-Za-z][A-Za-z0-9-]{0,31})[ \t]{1,8}(?=[A-Za-z])")
_PARAMETER = re.compile(
    r"[ ,\t]{0,8}([A-Za-z][A-Za-z0-9*-]{0,31})[ \t]{0,8}=[ \t]{0,8}"
    r'(?:"((?:[^"\\\x00-\x1f]|\\[ -~])*)"|([^\s,"]+))'
)
_QUOTED_PAIR = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """What a server asks for; ``algorithm`` is the server's word, ``MD5`` where it says none."""

    scheme: str  # in lower case
    realm: str
    nonce: str = ""
    algorithm: str = "MD5"
    qop: str = ""
    opaque: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What one request is hashed with; ``count`` is how often the nonce has been used."""

    method: str
    uri: str
    cnonce: str
    count: int


def parse_challenges(values: Sequence[str]) -> list[Challenge]:
    """Parse all WWW-Authenticate values of one response; one value may hold several."""
    return [
        Challenge(
            scheme=scheme,
            realm=parameters.get("realm", ""),
            nonce=parameters.get("nonce", ""),
            algorithm=parameters.get("algorithm", "MD5").upper(),
            qop=parameters.get("qop", ""),
            opaque=parameters.get("opaque"),
        )
        for value in values
        for scheme, parameters in _parse(value)
    ]


def strongest(challenges: Sequence[Challenge]) -> Challenge | None:
    """Return the Digest challenge to answer, or None where none can be."""
    digests = [c for c in challenges if c.scheme == "digest" and c.nonce and _answerable(c)]
    return min(digests, key=lambda c: _STRONGEST_FIRST.index(c.algorithm), default=None)


def authorization(challenge: Challenge, credentials: Credentials, attempt: Attempt) -> str:
    """Return the Authorization value that answers the challenge for one request."""
    fields = {
        "username": credentials.user,
        "realm": challenge.realm,
        "nonce": challenge.nonce,
        "uri": attempt.uri,
        "response": _digest(challenge, credentials, attempt),
    }
    if challenge.opaque is not None:
        fields["opaque"] = challenge.opaque
    parts = [f'{name}="{_quote(value)}"' for name, value in fields.items()]
    parts.append(f"algorithm={challenge.algorithm}")
    if challenge.qop:
        parts += ["qop=auth", f"nc={attempt.count:08x}", f'cnonce="{_quote(attempt.cnonce)}"']
    return "Digest " + ", ".join(parts)


def challenge_value(challenge: Challenge) -> str:
    """Return the WWW-Authenticate value of a Digest challenge."""
    parts = [
        f'realm="{_quote(challenge.realm)}"',
        f'nonce="{_quote(challenge.nonce)}"',
        f"algorithm={challenge.algorithm}",
    ]
    if challenge.qop:
        parts.append(f'qop="{challenge.qop}"')
    return "Digest " + ", ".join(parts)


def is_answered(challenge: Challenge, credentials: Credentials, method: str, value: str) -> bool:
    """Tell whether an Authorization value answers the challenge; any URI and count will do."""
    try:
        answers = _parse(value)
    except ProtocolError:
        return False
    for scheme, given in answers:
        if scheme != "digest" or given.get("nonce") != challenge.nonce:
            continue
        if given.get("username") != credentials.user:
            continue
        count = given.get("nc", "0")
        attempt = Attempt(
            method=method,
            uri=given.get("uri", ""),
            cnonce=given.get("cnonce", ""),
            count=int(count, 16) if re.fullmatch(r"[0-9a-fA-F]{1,8}", count) else 0,
        )
        # RFC 2069 clients leave qop out even where it is offered.
        asked = challenge if "qop" in given else _without_qop(challenge)
        expected = _digest(asked, credentials, attempt)
        if hmac.compare_digest(expected.encode(), given.get("response", "").encode()):
            return True
    return False


def _digest(challenge: Challenge, credentials: Credentials, attempt: Attempt) -> str:
    def hashed(*parts: str) -> str:
        return _HASHES[challenge.algorithm](":".join(parts).encode())

    secret = hashed(credentials.user, challenge.realm, credentials.password)
    target = hashed(attempt.method, attempt.uri)
    if not challenge.qop:
        return hashed(secret, challenge.nonce, target)
    count = f"{attempt.count:08x}"
    return hashed(secret, challenge.nonce, count, attempt.cnonce, "auth", target)


def _answerable(challenge: Challenge) -> bool:
    words = [word.strip().lower() for word in challenge.qop.split(",")]
    return challenge.algorithm in _HASHES and (not challenge.qop or "auth" in words)


def _without_qop(challenge: Challenge) -> Challenge:
    return Challenge(
        scheme=challenge.scheme,
        realm=challenge.realm,
        nonce=challenge.nonce,
        algorithm=challenge.algorithm,
    )


def _parse(value: str) -> list[tuple[str, dict[str, str]]]:
    if len(value) > _VALUE_CHARS_MAX:
        raise ProtocolError(f"authentication header of {len(value)} characters")
    found: list[tuple[str, dict[str, str]]] = []
    position, count = 0, 0
    while position < len(value.rstrip(" ,\t")):
        if parameter := _PARAMETER.match(value, position):
            if not found or (count := count + 1) > _PARAMETERS_MAX:
                raise ProtocolError(f"not an authentication header: {value[:60]!r}")
            quoted, plain = parameter[2], parameter[3]
            text = plain if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
            found[-1][1].setdefault(parameter[1].lower(), text)
            position = parameter.end()
        elif scheme := _SCHEME.match(value, position):
            found.append((scheme[1].lower(), {}))
            position = scheme.end()
        else:
            raise ProtocolError(f"not an authentication header: {value[:60]!r}")
    return found


def _quote(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
