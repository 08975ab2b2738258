"""What box and hub say to each other at enrolment: bounded JSON, bytes in base64.

``GET  /enrol/authority`` → PEM of root, boxes and servers authority.
``POST /enrol/request``   EnrolmentRequest → EnrolmentAnswer (200) or RefusalAnswer (4xx).
``POST /enrol/renewal``   RenewalRequest under the box's certificate → RenewalAnswer.
``GET  /enrol/self``      under the box's certificate → its box id as text.
"""

from collections.abc import Sequence
from typing import Annotated, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provisioning.box_keys import BoxKeys
from provisioning.certificates import (
    CERTIFICATE_BYTES_MAX,
    KEYS_OID,
    X509_FAULTS,
    BoundKeys,
    p256_key,
    read_keys,
)
from provisioning.errors import ProtocolError, Refusal, RefusedError
from provisioning.join_code import SECRET_BYTES

AUTHORITY_PATH = "/enrol/authority"
REQUEST_PATH = "/enrol/request"
RENEWAL_PATH = "/enrol/renewal"
SELF_PATH = "/enrol/self"
MESSAGE_BYTES_MAX = 16 * 1024

_REQUEST_BYTES_MAX = 2048
_SIGNATURE_BYTES = 64
_LAN_NAMES_READ_MAX = 64
_PROOF_CONTEXT = b"schoolnode enrolment 1\x00"
_EXTENSION_REQUEST = x509.ObjectIdentifier("1.2.840.113549.1.9.14")

_BoxId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{8}$", max_length=8)]
_Secret = Annotated[bytes, msgspec.Meta(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
_Request = Annotated[bytes, msgspec.Meta(max_length=_REQUEST_BYTES_MAX)]
_Signature = Annotated[
    bytes, msgspec.Meta(min_length=_SIGNATURE_BYTES, max_length=_SIGNATURE_BYTES)
]
_Certificate = Annotated[bytes, msgspec.Meta(max_length=CERTIFICATE_BYTES_MAX)]
_LanName = Annotated[str, msgspec.Meta(max_length=253)]
_LanNames = Annotated[tuple[_LanName, ...], msgspec.Meta(max_length=_LAN_NAMES_READ_MAX)]
_Milliseconds = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Two PKCS #10 requests, and the signing key's proof over the first.

    ``csr`` is signed by the TLS key and names the signing and sealing keys in its extension
    request; ``proof`` is the signing key's Ed25519 signature over it, so each of the two signs
    for the other and both for the sealing key. ``page_csr`` is signed by the LAN page's key.
    """

    csr: _Request
    proof: _Signature
    page_csr: _Request
    lan_names: _LanNames


class EnrolmentRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    box: _BoxId
    secret: _Secret
    keys: KeyRequest

    def __repr__(self) -> str:
        return f"EnrolmentRequest(box={self.box!r})"


class RenewalAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Certificates in DER; ``now_ms`` is the hub's wall clock."""

    box_certificate: _Certificate
    page_certificate: _Certificate
    hub_certificate: _Certificate
    now_ms: _Milliseconds


class EnrolmentAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    school: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    school_name: Annotated[str, msgspec.Meta(max_length=200)]
    certificates: RenewalAnswer


class RefusalAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    reason: Refusal


Message = TypeVar("Message", bound=msgspec.Struct)


def encode(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def decode(data: bytes, kind: type[Message]) -> Message:
    """Return the message; raise ProtocolError for anything but exactly one of this kind."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise ProtocolError(f"a message of {len(data)} bytes is over {MESSAGE_BYTES_MAX}")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # msgspec names the field, never its value, so no secret gets into the text.
        raise ProtocolError(f"the message is not a {kind.__name__}: {error}") from error


def build_key_request(keys: BoxKeys, lan_names: Sequence[str]) -> KeyRequest:
    """Return the box's request for its certificates."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a box")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    bound = builder.add_extension(keys.bound().extension(), critical=False)
    csr = bound.sign(keys.tls, hashes.SHA256()).public_bytes(Encoding.DER)
    return KeyRequest(
        csr=csr,
        proof=keys.signing.sign(_PROOF_CONTEXT + csr),
        page_csr=builder.sign(keys.page, hashes.SHA256()).public_bytes(Encoding.DER),
        lan_names=tuple(lan_names),
    )


def check_key_request(
    request: KeyRequest,
) -> tuple[ec.EllipticCurvePublicKey, BoundKeys, ec.EllipticCurvePublicKey]:
    """Return the proven TLS key, bound keys and page key of a request.

    Subject names in the requests are ignored: the hub names its boxes. Raises RefusedError with
    KEY_TYPE, TOO_MUCH (any extension or attribute beyond the bound keys) or MALFORMED.
    """
    csr = _load_csr(request.csr)
    page_csr = _load_csr(request.page_csr)
    tls_key, page_key = _proven_key(csr), _proven_key(page_csr)
    _refuse_extras(csr, allowed=frozenset({KEYS_OID}))
    _refuse_extras(page_csr, allowed=frozenset())
    try:
        keys = read_keys(csr.extensions)
        signing = ed25519.Ed25519PublicKey.from_public_bytes(keys.signing)
        signing.verify(request.proof, _PROOF_CONTEXT + request.csr)
        # A point of low order has no private key that could ever open anything (RFC 7748 §6.1).
        sealing = x25519.X25519PublicKey.from_public_bytes(keys.sealing)
        x25519.X25519PrivateKey.generate().exchange(sealing)
    except InvalidSignature as error:
        raise RefusedError(Refusal.MALFORMED, "the signing key did not sign it") from error
    except (ProtocolError, *X509_FAULTS) as error:
        raise RefusedError(Refusal.MALFORMED, "signing or sealing key") from error
    return tls_key, keys, page_key


def _load_csr(der: bytes) -> x509.CertificateSigningRequest:
    try:
        csr = x509.load_der_x509_csr(der)
        # Parsed lazily: touch what is read later where the fault is still ours to name.
        csr.extensions, csr.attributes  # noqa: B018 — the access is the check
    except X509_FAULTS as error:
        raise RefusedError(Refusal.MALFORMED, "certificate request") from error
    return csr


def _proven_key(csr: x509.CertificateSigningRequest) -> ec.EllipticCurvePublicKey:
    try:
        key = p256_key(csr)
    except ProtocolError as error:
        raise RefusedError(Refusal.KEY_TYPE) from error
    try:
        proven = csr.is_signature_valid
    except X509_FAULTS as error:
        raise RefusedError(Refusal.MALFORMED, "signature of the request") from error
    if not proven:
        raise RefusedError(Refusal.MALFORMED, "the request is not signed by its own key")
    return key


def _refuse_extras(
    csr: x509.CertificateSigningRequest, allowed: frozenset[x509.ObjectIdentifier]
) -> None:
    for extension in csr.extensions:
        if extension.oid not in allowed:
            raise RefusedError(Refusal.TOO_MUCH, f"extension {extension.oid.dotted_string[:64]}")
    for attribute in csr.attributes:
        if attribute.oid != _EXTENSION_REQUEST:
            raise RefusedError(Refusal.TOO_MUCH, f"attribute {attribute.oid.dotted_string[:64]}")
