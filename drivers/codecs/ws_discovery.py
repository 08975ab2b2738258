"""WS-Discovery as ONVIF devices speak it over UDP port 3702: pure, bytes in, messages out.

Sources: Web Services Dynamic Discovery (April 2005) §4 and §5, SOAP-over-UDP, ONVIF Core
Specification §7.3. A datagram is read strictly first; only when that fails leniently, by local
names, under the same limits, because many devices forget namespaces or add stray bytes.
"""

import re
from dataclasses import dataclass

from drivers.codecs.guarded_xml import (
    Element,
    ForbiddenXmlError,
    escape,
    parse_leniently,
    parse_strictly,
)
from drivers.errors import ProtocolError

MULTICAST_GROUP = "239.255.255.250"
PORT = 3702
DATAGRAM_BYTES_MAX = 32 * 1024
MATCHES_MAX = 16
WORDS_MAX = 64  # types, scopes or addresses of one device
WORD_CHARS_MAX = 512

CAMERA_TYPE = "NetworkVideoTransmitter"

_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://schemas.xmlsoap.org/ws/2004/08/addressing"
_DISCOVERY = "http://schemas.xmlsoap.org/ws/2005/04/discovery"
_NETWORK = "http://www.onvif.org/ver10/network/wsdl"
_DEVICE = "http://www.onvif.org/ver10/device/wsdl"
_TO_ALL = "urn:schemas-xmlsoap-org:ws:2005:04:discovery"
_VERSION = re.compile(r"[0-9]{1,9}")
_ANONYMOUS = f"{_ADDRESSING}/role/anonymous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a device says of itself; ``types`` are local names, ``scopes`` and ``xaddrs`` URIs."""

    endpoint: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]
    xaddrs: tuple[str, ...]
    metadata_version: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    message_id: str
    types: tuple[str, ...]
    scopes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeMatches:
    message_id: str
    relates_to: str
    matches: tuple[Target, ...]
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    message_id: str
    target: Target
    lenient: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    message_id: str
    endpoint: str
    lenient: bool = False


Message = Probe | ProbeMatches | Hello | Bye


def parse(datagram: bytes) -> Message:
    """Return the message of one datagram.

    Raises ProtocolError; with ForbiddenXmlError nothing lenient was tried.
    """
    try:
        return _message(
            parse_strictly(datagram, size_max=DATAGRAM_BYTES_MAX), _StrictNames(), lenient=False
        )
    except ForbiddenXmlError:
        raise
    except ProtocolError:
        return _message(
            parse_leniently(datagram, size_max=DATAGRAM_BYTES_MAX), _AnyNames(), lenient=True
        )


def build_probe(message_id: str) -> bytes:
    """Return a Probe for ONVIF video devices; ``message_id`` is a ``urn:uuid:`` URI."""
    return _envelope(
        "Probe",
        f"<a:MessageID>{escape(message_id)}</a:MessageID>"
        f"<a:ReplyTo><a:Address>{_ANONYMOUS}</a:Address></a:ReplyTo>"
        f'<a:To s:mustUnderstand="true">{_TO_ALL}</a:To>',
        f'<d:Probe><d:Types xmlns:dn="{_NETWORK}">dn:{CAMERA_TYPE}</d:Types></d:Probe>',
    )


def build_probe_matches(message_id: str, relates_to: str, target: Target) -> bytes:
    """Return the answer to the Probe whose message id is ``relates_to``."""
    return _envelope(
        "ProbeMatches",
        f"<a:MessageID>{escape(message_id)}</a:MessageID>"
        f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo>"
        f"<a:To>{_ANONYMOUS}</a:To>",
        f"<d:ProbeMatches><d:ProbeMatch>{_described(target)}</d:ProbeMatch></d:ProbeMatches>",
    )


def build_hello(message_id: str, target: Target) -> bytes:
    """Return the announcement of a device that has just started."""
    return _envelope(
        "Hello",
        f"<a:MessageID>{escape(message_id)}</a:MessageID><a:To>{_TO_ALL}</a:To>",
        f"<d:Hello>{_described(target)}</d:Hello>",
    )


def build_bye(message_id: str, target: Target) -> bytes:
    """Return the farewell of a device that shuts down."""
    return _envelope(
        "Bye",
        f"<a:MessageID>{escape(message_id)}</a:MessageID><a:To>{_TO_ALL}</a:To>",
        f"<d:Bye>{_described(target)}</d:Bye>",
    )


def _envelope(action: str, headers: str, body: str) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<s:Envelope xmlns:s="{_SOAP}" xmlns:a="{_ADDRESSING}" xmlns:d="{_DISCOVERY}"><s:Header>'
        f'<a:Action s:mustUnderstand="true">{_DISCOVERY}/{action}</a:Action>{headers}'
        f"</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()


def _described(target: Target) -> str:
    # tds:Device is the type of the standard; dn:NetworkVideoTransmitter the one clients ask for.
    prefixes = {CAMERA_TYPE: "dn", "Device": "tds"}
    types = " ".join(f"{prefixes.get(name, 'tds')}:{escape(name)}" for name in target.types)
    return (
        f"<a:EndpointReference><a:Address>{escape(target.endpoint)}</a:Address>"
        f"</a:EndpointReference>"
        f'<d:Types xmlns:dn="{_NETWORK}" xmlns:tds="{_DEVICE}">{types}</d:Types>'
        f"<d:Scopes>{escape(' '.join(target.scopes))}</d:Scopes>"
        f"<d:XAddrs>{escape(' '.join(target.xaddrs))}</d:XAddrs>"
        f"<d:MetadataVersion>{target.metadata_version}</d:MetadataVersion>"
    )


class _StrictNames:
    """Elements count only in the namespaces of the 2005 standard, which ONVIF prescribes."""

    _SPACES = frozenset({_SOAP, _ADDRESSING, _DISCOVERY})

    def child(self, parent: Element, local: str) -> Element | None:
        return next(
            (c for c in parent.children if c.local == local and c.namespace in self._SPACES), None
        )

    def matches(self, body: Element) -> list[Element] | None:
        listed = self.child(body, "ProbeMatches")
        if listed is None:
            return None
        return [child for child in listed.children if child.local == "ProbeMatch"]


class _AnyNames:
    """Elements count by local name, at any depth: devices nest and prefix them at will."""

    def child(self, parent: Element, local: str) -> Element | None:
        found = parent.first(local)
        return None if found is parent else found

    def matches(self, body: Element) -> list[Element] | None:
        # Some devices, ipycam 1.3 among them, leave out the ProbeMatches around the match.
        found = [element for element in body.walk() if element.local == "ProbeMatch"]
        return found or ([] if body.first("ProbeMatches") is not None else None)


_Names = _StrictNames | _AnyNames


def _message(root: Element, names: _Names, *, lenient: bool) -> Message:
    if root.local != "Envelope":
        raise ProtocolError(f"WS-Discovery: <{root.local[:40]}> is not a SOAP envelope")
    body = _required(root, names, "Body")
    message_id = _header(root, names, "MessageID")
    if (probe := names.child(body, "Probe")) is not None:
        return Probe(
            message_id=message_id,
            types=_types(probe, names),
            scopes=_words(names.child(probe, "Scopes")),
        )
    if (matches := names.matches(body)) is not None:
        return ProbeMatches(
            message_id=message_id,
            relates_to=_header(root, names, "RelatesTo"),
            matches=tuple(_target(match, names) for match in matches[:MATCHES_MAX]),
            lenient=lenient,
        )
    if (hello := names.child(body, "Hello")) is not None:
        return Hello(message_id=message_id, target=_target(hello, names), lenient=lenient)
    if (bye := names.child(body, "Bye")) is not None:
        return Bye(message_id=message_id, endpoint=_endpoint(bye, names), lenient=lenient)
    raise ProtocolError("WS-Discovery: no Probe, ProbeMatches, Hello or Bye in the body; ignored")


def _required(parent: Element, names: _Names, local: str) -> Element:
    found = names.child(parent, local)
    if found is None:
        raise ProtocolError(f"WS-Discovery: <{parent.local[:40]}> has no {local}")
    return found


def _header(root: Element, names: _Names, local: str) -> str:
    header = names.child(root, "Header")
    found = names.child(header, local) if header is not None else None
    return found.text.strip()[:WORD_CHARS_MAX] if found is not None else ""


def _target(element: Element, names: _Names) -> Target:
    version = names.child(element, "MetadataVersion")
    digits = version.text.strip() if version is not None else ""
    return Target(
        endpoint=_endpoint(element, names),
        types=_types(element, names),
        scopes=_words(names.child(element, "Scopes")),
        xaddrs=_words(names.child(element, "XAddrs")),
        metadata_version=int(digits) if _VERSION.fullmatch(digits) else 0,
    )


def _endpoint(element: Element, names: _Names) -> str:
    reference = _required(element, names, "EndpointReference")
    address = _required(reference, names, "Address").text.strip()
    if not address or len(address) > WORD_CHARS_MAX:
        raise ProtocolError(f"WS-Discovery: endpoint address of {len(address)} characters")
    return address


def _types(element: Element, names: _Names) -> tuple[str, ...]:
    return tuple(word.rpartition(":")[2] for word in _words(names.child(element, "Types")))


def _words(element: Element | None) -> tuple[str, ...]:
    if element is None:
        return ()
    words = [word for word in element.text.split() if len(word) <= WORD_CHARS_MAX]
    return tuple(words[:WORDS_MAX])
