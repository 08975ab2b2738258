"""ONVIF events by PullPoint: the five messages of a subscription, built and parsed.

Pure: text in, text out; who sends them is elsewhere. zeep's reading of the event WSDL costs 3.6 MB
and a millisecond for every empty answer, which hundreds of cameras give every minute.
Sources: ONVIF Core §9 and ver10/events WSDL; OASIS WS-BaseNotification 1.3; W3C WS-Addressing 1.0
§3.3 (reference parameters come back as headers); OASIS UsernameToken Profile 1.1 §3.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from drivers.codecs.device_text import shown
from drivers.codecs.digest import Credentials
from drivers.codecs.guarded_xml import Element, escape, parse_strictly
from drivers.errors import ProtocolError

EVENTS_NAMESPACE = "http://www.onvif.org/ver10/events/wsdl"
EVENTS_MAX = 64  # in one answer
ITEMS_MAX = 16
TEXT_CHARS_MAX = 256
REFERENCE_ELEMENTS_MAX = 16
QUOTED_BYTES_MAX = 4 * 1024
_SOAP = "http://www.w3.org/2003/05/soap-envelope"
_ADDRESSING = "http://www.w3.org/2005/08/addressing"
_NOTIFICATION = "http://docs.oasis-open.org/wsn/b-2"
_SCHEMA = "http://www.onvif.org/ver10/schema"
_OASIS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
_MANAGER = "http://docs.oasis-open.org/wsn/bw-2/SubscriptionManager"
_TRUE = frozenset({"true", "1"})
_FALSE = frozenset({"false", "0"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a signed request needs: ``nonce`` is fresh, ``created_ms`` by the camera's clock."""

    credentials: Credentials
    nonce: bytes
    created_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A pull point; ``reference`` are headers that every request to it must carry.

    ``lifetime_s`` is what the camera granted, which may be less than was asked; None when untold.
    """

    address: str
    reference: str = field(default="", repr=False)
    lifetime_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraEvent:
    """One notification. ``topic`` has no prefixes (``RuleEngine/CellMotionDetector/Motion``).

    ``operation`` is Initialized, Changed, Deleted, or empty for an event without state;
    ``at_ms`` is by the camera's clock, None where it told no time that can be read.
    """

    topic: str
    operation: str
    at_ms: int | None
    source: tuple[tuple[str, str], ...] = ()
    data: tuple[tuple[str, str], ...] = ()

    @property
    def state(self) -> bool | None:
        """The first truth value among the data: is there motion, is the input closed."""
        for _, value in self.data:
            if value.lower() in _TRUE:
                return True
            if value.lower() in _FALSE:
                return False
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """An answer to a pull; ``camera_ms`` is the camera's clock when it was given."""

    events: tuple[CameraEvent, ...]
    camera_ms: int | None


def subscribe_request(lifetime_s: int, signature: Signature | None) -> bytes:
    """Return a CreatePullPointSubscription that ends by itself after ``lifetime_s``."""
    body = (
        f'<CreatePullPointSubscription xmlns="{EVENTS_NAMESPACE}"><InitialTerminationTime>'
        f"PT{lifetime_s}S</InitialTerminationTime></CreatePullPointSubscription>"
    )
    return _envelope(_security(signature), body)


def pull_request(
    subscription: Subscription, wait_s: int, message_id: str, signature: Signature | None
) -> bytes:
    """Return a PullMessages that the camera answers at the first event, or after ``wait_s``."""
    body = (
        f'<PullMessages xmlns="{EVENTS_NAMESPACE}"><Timeout>PT{wait_s}S</Timeout>'
        f"<MessageLimit>{EVENTS_MAX}</MessageLimit></PullMessages>"
    )
    action = f"{EVENTS_NAMESPACE}/PullPointSubscription/PullMessagesRequest"
    return _envelope(_headers(subscription, action, message_id) + _security(signature), body)


def renew_request(
    subscription: Subscription, lifetime_s: int, message_id: str, signature: Signature | None
) -> bytes:
    body = (
        f'<Renew xmlns="{_NOTIFICATION}"><TerminationTime>PT{lifetime_s}S</TerminationTime></Renew>'
    )
    headers = _headers(subscription, f"{_MANAGER}/RenewRequest", message_id)
    return _envelope(headers + _security(signature), body)


def unsubscribe_request(
    subscription: Subscription, message_id: str, signature: Signature | None
) -> bytes:
    headers = _headers(subscription, f"{_MANAGER}/UnsubscribeRequest", message_id)
    return _envelope(headers + _security(signature), f'<Unsubscribe xmlns="{_NOTIFICATION}"/>')


def fault_of(envelope: Element) -> str | None:
    """Return an answer's fault in its own words, or None when it is none."""
    body = _body(envelope)
    fault = next((child for child in body.children if child.local == "Fault"), None)
    if fault is None:
        return None
    words = (element.text.strip() for element in fault.walk())
    return " ".join(word for word in words if word)[:TEXT_CHARS_MAX] or "no reason told"


def parse_subscription(envelope: Element) -> Subscription:
    """Return the pull point an answer names; raises ProtocolError."""
    answer = _answer(envelope, "CreatePullPointSubscriptionResponse")
    reference = answer.first("SubscriptionReference")
    address = reference.first_text("Address") if reference is not None else ""
    if reference is None or not address:
        raise ProtocolError("subscription without an address")
    parameters = reference.first("ReferenceParameters")
    children = parameters.children if parameters is not None else []
    written = [_written(child, is_header=True) for child in children]
    if sum(1 for child in children for _ in child.walk()) > REFERENCE_ELEMENTS_MAX:
        raise ProtocolError(f"subscription with more than {REFERENCE_ELEMENTS_MAX} parameters")
    return Subscription(address=address, reference="".join(written), lifetime_s=_lifetime_s(answer))


def parse_pulled(envelope: Element) -> Pulled:
    """Return what a pull brought, at most ``EVENTS_MAX``; raises ProtocolError."""
    answer = _answer(envelope, "PullMessagesResponse")
    notes = [child for child in answer.children if child.local == "NotificationMessage"]
    return Pulled(
        events=tuple(_event(note) for note in notes[:EVENTS_MAX]),
        camera_ms=_moment(answer.first_text("CurrentTime")),
    )


def parse_renewed(envelope: Element) -> float | None:
    """Return for how many seconds a Renew was granted, None if untold; raises ProtocolError."""
    return _lifetime_s(_answer(envelope, "RenewResponse"))


def parse_unsubscribed(envelope: Element) -> None:
    """Check the answer to an Unsubscribe; raises ProtocolError."""
    _answer(envelope, "UnsubscribeResponse")


def read_notification(text: str) -> CameraEvent:
    """Return what one NotificationMessage tells, quoted without its envelope.

    Its prefixes are those that cameras use: wsnt, tt, wsa5. Raises ProtocolError.
    """
    opening = (
        f'<quoted xmlns:wsnt="{_NOTIFICATION}" xmlns:tt="{_SCHEMA}" xmlns:wsa5="{_ADDRESSING}">'
    )
    quoted = parse_strictly(f"{opening}{text}</quoted>".encode(), size_max=QUOTED_BYTES_MAX)
    if [child.local for child in quoted.children] != ["NotificationMessage"]:
        raise ProtocolError("it is not one NotificationMessage")
    return _event(quoted.children[0])


def _lifetime_s(answer: Element) -> float | None:
    """Return what is left by the camera's own clock; None too for an end that is no later."""
    now_ms = _moment(answer.first_text("CurrentTime"))
    ends_ms = _moment(answer.first_text("TerminationTime"))
    if now_ms is None or ends_ms is None or ends_ms <= now_ms:
        return None
    return (ends_ms - now_ms) / 1000


def _event(note: Element) -> CameraEvent:
    topic = note.first_text("Topic")[:TEXT_CHARS_MAX]
    wrapped = next((child for child in note.children if child.local == "Message"), note)
    message = next((child for child in wrapped.children if child.local == "Message"), wrapped)
    return CameraEvent(
        topic="/".join(step.rpartition(":")[2] for step in topic.split("/")),
        operation=message.attributes.get("PropertyOperation", "")[:TEXT_CHARS_MAX],
        at_ms=_moment(message.attributes.get("UtcTime", "")),
        source=_items(message, "Source"),
        data=_items(message, "Data"),
    )


def _items(message: Element, local: str) -> tuple[tuple[str, str], ...]:
    holder = next((child for child in message.children if child.local == local), None)
    simple = [] if holder is None else [c for c in holder.children if c.local == "SimpleItem"]
    return tuple(
        (
            shown(item.attributes.get("Name", ""), TEXT_CHARS_MAX),
            shown(item.attributes.get("Value", ""), TEXT_CHARS_MAX),
        )
        for item in simple[:ITEMS_MAX]
    )


def _moment(text: str) -> int | None:
    try:
        told = datetime.fromisoformat(text.strip()[:40])
        if told.tzinfo is None:
            told = told.replace(tzinfo=UTC)
        return int(told.timestamp() * 1000)
    except (ValueError, OverflowError):
        return None


def _body(envelope: Element) -> Element:
    body = next((child for child in envelope.children if child.local == "Body"), None)
    if body is None:
        raise ProtocolError("no SOAP answer")
    return body


def _answer(envelope: Element, local: str) -> Element:
    body = _body(envelope)
    answer = next((child for child in body.children if child.local == local), None)
    if answer is None:
        raise ProtocolError(f"no {local} in the answer")
    return answer


def _written(element: Element, *, is_header: bool = False) -> str:
    """Write an element again, as it was read; its names must have been read with namespaces."""
    if not _is_name(element.local):
        raise ProtocolError("a parameter's name is no XML name")
    attributes = "".join(
        f' a{number}:{name.rpartition("}")[2]}="{escape(value)}" '
        f'xmlns:a{number}="{escape(name.rpartition("}")[0].removeprefix("{"))}"'
        for number, (name, value) in enumerate(element.attributes.items())
        if name.startswith("{") and "}" in name[1:] and _is_name(name.rpartition("}")[2])
    ) + "".join(
        f' {name}="{escape(value)}"' for name, value in element.attributes.items() if _is_name(name)
    )
    mark = f' xmlns:ha="{_ADDRESSING}" ha:IsReferenceParameter="true"' if is_header else ""
    inside = escape(element.text.strip()) + "".join(_written(child) for child in element.children)
    namespace = escape(element.namespace)
    return f'<{element.local} xmlns="{namespace}"{attributes}{mark}>{inside}</{element.local}>'


def _is_name(text: str) -> bool:
    """Tell whether a text is an XML name without a prefix that is safe to write."""
    return text.replace("-", "_").replace(".", "_").isidentifier()


def _headers(subscription: Subscription, action: str, message_id: str) -> str:
    return (
        f'<To xmlns="{_ADDRESSING}" s:mustUnderstand="true">{escape(subscription.address)}</To>'
        f'<Action xmlns="{_ADDRESSING}" s:mustUnderstand="true">{action}</Action>'
        f'<MessageID xmlns="{_ADDRESSING}">{escape(message_id)}</MessageID>'
        f'<ReplyTo xmlns="{_ADDRESSING}"><Address>{_ADDRESSING}/anonymous</Address></ReplyTo>'
        f"{subscription.reference}"
    )


def _security(signature: Signature | None) -> str:
    if signature is None:
        return ""
    moment = datetime.fromtimestamp(signature.created_ms / 1000, UTC)
    created = f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
    password = signature.credentials.password.encode()
    digest = hashlib.sha1(
        signature.nonce + created.encode() + password, usedforsecurity=False
    ).digest()
    secext, utility = f"{_OASIS}-wssecurity-secext-1.0.xsd", f"{_OASIS}-wssecurity-utility-1.0.xsd"
    kind = f"{_OASIS}-username-token-profile-1.0#PasswordDigest"
    encoding = f"{_OASIS}-soap-message-security-1.0#Base64Binary"
    return (
        f'<Security xmlns="{secext}" s:mustUnderstand="true"><UsernameToken>'
        f"<Username>{escape(signature.credentials.user)}</Username>"
        f'<Password Type="{kind}">{_base64(digest)}</Password>'
        f'<Nonce EncodingType="{encoding}">{_base64(signature.nonce)}</Nonce>'
        f'<Created xmlns="{utility}">{created}</Created></UsernameToken></Security>'
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _envelope(headers: str, body: str) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="{_SOAP}">'
        f"<s:Header>{headers}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()
