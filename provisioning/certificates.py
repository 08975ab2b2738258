"""Names and keys inside the district's certificates, and what may be read from them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec

from provisioning.errors import ProtocolError, SetupError

# A UUID-derived arc (ITU-T X.667) needs no registration. Value, DER:
# SEQUENCE { signing OCTET STRING (32, Ed25519), sealing OCTET STRING (32, X25519) }
KEYS_OID = x509.ObjectIdentifier("2.25.2856128281409436528559345888317976733")
KEY_BYTES = 32
CERTIFICATE_BYTES_MAX = 4096
SCHOOL_MAX = 65535

# What the X.509 readers of `cryptography` raise on bytes that are no certificate or request.
X509_FAULTS = (
    ValueError,
    TypeError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.AttributeNotFound,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_SEQUENCE = b"\x30\x44"
_OCTETS = b"\x04\x20"
_DISTRICT = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")
_BOX_URI = re.compile(
    r"schoolnode://([a-z0-9-]{1,32})\.schoolnode\.internal/school/([1-9][0-9]{0,4})/box/([0-9a-f]{8})"
)


@dataclass(frozen=True, slots=True)
class BoundKeys:
    """The Ed25519 signing and X25519 sealing public keys, 32 raw bytes each."""

    signing: bytes
    sealing: bytes

    def extension(self) -> x509.UnrecognizedExtension:
        value = _SEQUENCE + _OCTETS + self.signing + _OCTETS + self.sealing
        return x509.UnrecognizedExtension(KEYS_OID, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """A box by its certificate: who it is and which keys speak for it."""

    district: str
    school: int
    box: str
    keys: BoundKeys
    serial: int
    not_before_ms: int
    not_after_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HubBinding:
    """The district's hub by its certificate."""

    district: str
    keys: BoundKeys
    serial: int
    not_before_ms: int
    not_after_ms: int


def district_host(district: str) -> str:
    """Return the host part of every name in the district; raise SetupError for a bad slug."""
    if not _DISTRICT.fullmatch(district):
        raise SetupError(
            f"district {district[:40]!r} is no short name; use 1 to 32 of a-z, 0-9 and '-'"
        )
    return f"{district}.schoolnode.internal"


def box_uri(district: str, school: int, box: str) -> str:
    """Return the name of a box; raise SetupError for a school number out of 1..65535."""
    uri = f"schoolnode://{district_host(district)}/school/{school}/box/{box}"
    if not 0 < school <= SCHOOL_MAX or not _BOX_URI.fullmatch(uri):
        raise SetupError(f"school {school}, box {box[:16]!r}: schools are numbered 1 to 65535")
    return uri


def hub_uri(district: str) -> str:
    return f"schoolnode://{district_host(district)}/hub"


def parse_box_uri(uri: str) -> tuple[str, int, str]:
    """Return district, school and box; raise ProtocolError for any other name."""
    match = _BOX_URI.fullmatch(uri)
    if match is None or int(match[2]) > SCHOOL_MAX:
        raise ProtocolError("the certificate's name is not that of a box")
    return match[1], int(match[2]), match[3]


def read_keys(extensions: x509.Extensions) -> BoundKeys:
    """Return the bound keys of a certificate or request; raise ProtocolError without them."""
    try:
        extension = extensions.get_extension_for_oid(KEYS_OID)
    except x509.ExtensionNotFound as error:
        raise ProtocolError("no signing and sealing keys are bound; update the program") from error
    if not isinstance(extension.value, x509.UnrecognizedExtension):
        raise ProtocolError("the bound keys cannot be read")
    value = extension.value.value
    keys = BoundKeys(value[4 : 4 + KEY_BYTES], value[-KEY_BYTES:])
    if keys.extension().value != value:
        raise ProtocolError("the bound keys are not two keys of 32 bytes")
    return keys


def read_certificate(der: bytes) -> x509.Certificate:
    """Return the certificate in at most 4 KiB of DER; raise ProtocolError for anything else."""
    if len(der) > CERTIFICATE_BYTES_MAX:
        raise ProtocolError(f"a certificate of {len(der)} bytes is over {CERTIFICATE_BYTES_MAX}")
    try:
        certificate = x509.load_der_x509_certificate(der)
        # Both are parsed lazily: touch them where the fault is still ours to name.
        certificate.extensions, certificate.subject  # noqa: B018 — the access is the check
    except X509_FAULTS as error:
        raise ProtocolError("the bytes are no certificate") from error
    return certificate


def uri_names(certificate: x509.Certificate) -> list[str]:
    """Return the URI names of a certificate, none when it has no alternative names."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.UniformResourceIdentifier)


def p256_key(
    holder: x509.Certificate | x509.CertificateSigningRequest,
) -> ec.EllipticCurvePublicKey:
    """Return the holder's P-256 public key; raise ProtocolError for any other kind."""
    try:
        key = holder.public_key()
    except X509_FAULTS as error:
        raise ProtocolError("the public key cannot be read") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ProtocolError("the public key is not on P-256")
    return key


def instant(ms: int) -> datetime:
    """Return Unix milliseconds as an aware time, whole seconds as X.509 has them."""
    return datetime.fromtimestamp(ms // 1000, tz=UTC)


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000
