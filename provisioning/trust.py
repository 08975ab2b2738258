"""What a district's public certificates prove: the only place where a peer's name is believed."""

import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisioning.certificates import (
    X509_FAULTS,
    Binding,
    HubBinding,
    district_host,
    hub_uri,
    milliseconds,
    p256_key,
    parse_box_uri,
    read_keys,
    uri_names,
)
from provisioning.errors import ImpostorError, ProtocolError, SetupError

TRUST_BYTES_MAX = 16 * 1024
_CERTIFICATES = 3
_HOST_SUFFIX = ".schoolnode.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistrictTrust:
    """The root, and the two authorities it signed: one for boxes, one for servers."""

    district: str
    root: x509.Certificate
    boxes: x509.Certificate
    servers: x509.Certificate

    def root_pin(self) -> bytes:
        """Return SHA-256 of the root's SubjectPublicKeyInfo, 32 bytes, as join codes carry it."""
        return _pin(self.root)

    def pem(self) -> bytes:
        """Return root, boxes and servers authority, in this order."""
        return b"".join(map(pem, (self.root, self.boxes, self.servers)))

    def box_binding(self, certificate: x509.Certificate) -> Binding:
        """Return what a box's certificate binds.

        Raises ImpostorError unless the boxes authority signed it for client use under one name of
        this district. Time and revocation are judged where the clock and the list are.
        """
        _require_signed(certificate, self.boxes, ExtendedKeyUsageOID.CLIENT_AUTH)
        names = uri_names(certificate)
        try:
            district, school, box = parse_box_uri(names[0] if len(names) == 1 else "")
            keys = read_keys(certificate.extensions)
        except ProtocolError as error:
            raise ImpostorError("the certificate does not name a box and its keys") from error
        if district != self.district:
            raise ImpostorError(f"the box belongs to district {district}, not {self.district}")
        return Binding(
            district=district,
            school=school,
            box=box,
            keys=keys,
            serial=certificate.serial_number,
            not_before_ms=milliseconds(certificate.not_valid_before_utc),
            not_after_ms=milliseconds(certificate.not_valid_after_utc),
        )

    def hub_binding(self, certificate: x509.Certificate) -> HubBinding:
        """Return what the hub's certificate binds.

        Raises ImpostorError for every other server, a school's LAN page among them: those share
        the hub's issuer, and only the hub carries its name.
        """
        _require_signed(certificate, self.servers, ExtendedKeyUsageOID.SERVER_AUTH)
        if uri_names(certificate) != [hub_uri(self.district)]:
            raise ImpostorError("the server is of this district but is not its hub")
        try:
            keys = read_keys(certificate.extensions)
        except ProtocolError as error:
            raise ImpostorError("the hub's certificate does not bind its keys") from error
        return HubBinding(
            district=self.district,
            keys=keys,
            serial=certificate.serial_number,
            not_before_ms=milliseconds(certificate.not_valid_before_utc),
            not_after_ms=milliseconds(certificate.not_valid_after_utc),
        )

    def require_server(self, certificate: x509.Certificate) -> None:
        """Raise ImpostorError unless the servers authority signed it for server use."""
        _require_signed(certificate, self.servers, ExtendedKeyUsageOID.SERVER_AUTH)


def read_trust(bundle: bytes, *, root_pin: bytes | None = None) -> DistrictTrust:
    """Return the trust in a PEM bundle of root, boxes and servers authority.

    ``root_pin`` is compared first where it is given. Raises ImpostorError when the root is not the
    pinned one or did not sign the others, ProtocolError when the bundle is no such three.
    """
    if len(bundle) > TRUST_BYTES_MAX:
        raise ProtocolError(f"an authority of {len(bundle)} bytes is over {TRUST_BYTES_MAX}")
    try:
        certificates = x509.load_pem_x509_certificates(bundle)
        if len(certificates) != _CERTIFICATES:
            raise ProtocolError("an authority is three certificates: root, boxes, servers")
        root, boxes, servers = certificates
        root_fits = root_pin is None or _pin(root) == root_pin
    except X509_FAULTS as error:
        raise ProtocolError("the authority's bytes are no certificates") from error
    if not root_fits:
        raise ImpostorError(
            "the authority there is not the one that made this code: nothing was sent to it; "
            "check the hub's address and tell the district"
        )
    _require_authority(root, root, path_length=1)
    _require_authority(boxes, root, path_length=0)
    _require_authority(servers, root, path_length=0)
    return DistrictTrust(district=_district(boxes), root=root, boxes=boxes, servers=servers)


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pin(root: x509.Certificate) -> bytes:
    info = root.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(info).digest()


def _district(boxes: x509.Certificate) -> str:
    """Read the district from the one place that also binds OpenSSL: the URI name constraint."""
    try:
        constraint = boxes.extensions.get_extension_for_class(x509.NameConstraints).value
    except X509_FAULTS as error:
        raise ProtocolError("the boxes authority is not bound to a district") from error
    match constraint.permitted_subtrees:
        case [x509.UniformResourceIdentifier(value=host)]:
            district = host.removesuffix(_HOST_SUFFIX)
        case _:
            raise ProtocolError("the boxes authority is not bound to one district")
    try:
        expected = district_host(district)
    except SetupError as error:
        raise ProtocolError("the boxes authority is bound to no district's host") from error
    if host != expected:
        raise ProtocolError("the boxes authority is bound to no district's host")
    return district


def _require_authority(
    certificate: x509.Certificate, issuer: x509.Certificate, *, path_length: int
) -> None:
    try:
        p256_key(certificate)
        certificate.verify_directly_issued_by(issuer)
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (ProtocolError, *X509_FAULTS) as error:
        raise ImpostorError("the authority's certificates are not signed by its root") from error
    if not basic.ca or basic.path_length != path_length:
        raise ImpostorError("the authority's certificates are not those of an authority")


def _require_signed(
    certificate: x509.Certificate, issuer: x509.Certificate, usage: x509.ObjectIdentifier
) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        basic = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except X509_FAULTS as error:
        raise ImpostorError("the certificate was not issued by this district for this") from error
    if basic.ca or list(usages) != [usage]:
        raise ImpostorError("the certificate was issued for another use")
