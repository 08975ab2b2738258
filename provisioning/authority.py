"""The district's certificate authority: an offline root and two issuers beneath it.

Folder, all files 0600: ``root.key`` (to be moved away and kept offline after the first start),
``boxes.key``, ``servers.key``, and ``authority.pem`` with the three certificates, written last.
"""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisioning.box_keys import new_tls_key, p256_private, private_pem
from provisioning.certificates import (
    BoundKeys,
    box_uri,
    district_host,
    hub_uri,
    instant,
)
from provisioning.durable_file import private_folder, read_private, write_private
from provisioning.errors import IdentityDamagedError, ImpostorError, ProtocolError, SetupError
from provisioning.trust import DistrictTrust, read_trust

LEAF_DAYS = 30
ROOT_DAYS = 20 * 365
ISSUER_DAYS = 10 * 365
# A box whose clock runs a little behind the hub's shall not call its new certificate premature.
SKEW = timedelta(hours=1)

_CLOCK_FLOOR_MS = 1_735_689_600_000  # 2025-01-01: no hub was ever set up before

_NOTHING_ELSE = {
    "digital_signature": False,
    "content_commitment": False,
    "key_encipherment": False,
    "data_encipherment": False,
    "key_agreement": False,
    "key_cert_sign": False,
    "crl_sign": False,
    "encipher_only": False,
    "decipher_only": False,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """What the hub issues with; every certificate lives 30 days from ``now_ms``."""

    trust: DistrictTrust
    boxes_key: ec.EllipticCurvePrivateKey = field(repr=False)
    servers_key: ec.EllipticCurvePrivateKey = field(repr=False)

    def issue_box(
        self,
        *,
        school: int,
        box: str,
        tls_key: ec.EllipticCurvePublicKey,
        keys: BoundKeys,
        now_ms: int,
    ) -> x509.Certificate:
        """Return a box's certificate: its URI name, client use only, its keys bound."""
        uri = x509.UniformResourceIdentifier(box_uri(self.trust.district, school, box))
        builder = self._leaf(f"box {box} of school {school}", tls_key, [uri], now_ms)
        return _sign(
            builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            ).add_extension(keys.extension(), critical=False),
            self.trust.boxes,
            self.boxes_key,
        )

    def issue_hub(
        self,
        *,
        names: Sequence[x509.GeneralName],
        tls_key: ec.EllipticCurvePublicKey,
        keys: BoundKeys,
        now_ms: int,
    ) -> x509.Certificate:
        """Return the hub's certificate: host names, the hub's URI name, its keys bound."""
        uri = x509.UniformResourceIdentifier(hub_uri(self.trust.district))
        builder = self._leaf("the hub", tls_key, [*names, uri], now_ms)
        return _sign(
            builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            ).add_extension(keys.extension(), critical=False),
            self.trust.servers,
            self.servers_key,
        )

    def issue_page(
        self,
        *,
        school: int,
        names: Sequence[x509.GeneralName],
        tls_key: ec.EllipticCurvePublicKey,
        now_ms: int,
    ) -> x509.Certificate:
        """Return the certificate of a school's LAN pages; the caller has checked ``names``."""
        builder = self._leaf(f"pages of school {school}", tls_key, names, now_ms)
        return _sign(
            builder.add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
            ),
            self.trust.servers,
            self.servers_key,
        )

    def _leaf(
        self,
        title: str,
        key: ec.EllipticCurvePublicKey,
        names: Sequence[x509.GeneralName],
        now_ms: int,
    ) -> x509.CertificateBuilder:
        now = instant(_plausible(now_ms))
        usage = _NOTHING_ELSE | {"digital_signature": True}
        return (
            x509.CertificateBuilder()
            # A space keeps OpenSSL from taking the common name for a host name.
            .subject_name(_name(self.trust.district, title))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - SKEW)
            .not_valid_after(now + timedelta(days=LEAF_DAYS))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(**usage), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        )


def open_authority(folder: Path, *, district: str, now_ms: int) -> Authority:
    """Return the authority in ``folder``, creating it at the first start.

    ``root.key`` is not needed once the authority exists. Raises SetupError when the folder holds
    another district's authority or the clock is wrong, IdentityDamagedError for damaged files.
    """
    if (folder / "authority.pem").exists():
        return _load(folder, district)
    return _create(folder, district, now_ms)


def _load(folder: Path, district: str) -> Authority:
    try:
        trust = read_trust(read_private(folder / "authority.pem"))
    except (ProtocolError, ImpostorError) as error:
        raise IdentityDamagedError(
            f"{folder / 'authority.pem'}: {error}; restore the folder from its backup"
        ) from error
    if trust.district != district:
        raise SetupError(
            f"{folder}: holds the authority of district {trust.district}, not {district}; "
            "name that district or another folder"
        )
    boxes_key = p256_private(read_private(folder / "boxes.key"))
    servers_key = p256_private(read_private(folder / "servers.key"))
    if (
        boxes_key.public_key() != trust.boxes.public_key()
        or servers_key.public_key() != trust.servers.public_key()
    ):
        raise IdentityDamagedError(
            f"{folder}: keys and certificates do not belong together; restore it from its backup"
        )
    return Authority(trust=trust, boxes_key=boxes_key, servers_key=servers_key)


def _create(folder: Path, district: str, now_ms: int) -> Authority:
    host = district_host(district)
    _plausible(now_ms)
    root_key, boxes_key, servers_key = new_tls_key(), new_tls_key(), new_tls_key()
    root_builder = _authority_builder(district, "root", root_key, ROOT_DAYS, 1, now_ms)
    root = root_builder.issuer_name(_name(district, "root")).sign(root_key, hashes.SHA256())
    boxes = _sign(
        _authority_builder(district, "boxes authority", boxes_key, ISSUER_DAYS, 0, now_ms)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(_boxes_only(host), critical=True),
        root,
        root_key,
    )
    # No name constraint here: some browsers refuse a chain that constrains URI names.
    servers = _sign(
        _authority_builder(
            district, "servers authority", servers_key, ISSUER_DAYS, 0, now_ms
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False),
        root,
        root_key,
    )
    trust = DistrictTrust(district=district, root=root, boxes=boxes, servers=servers)
    private_folder(folder)
    write_private(folder / "root.key", private_pem(root_key))
    write_private(folder / "boxes.key", private_pem(boxes_key))
    write_private(folder / "servers.key", private_pem(servers_key))
    write_private(folder / "authority.pem", trust.pem())
    return Authority(trust=trust, boxes_key=boxes_key, servers_key=servers_key)


def _boxes_only(host: str) -> x509.NameConstraints:
    """Permit URI names of the district, exclude every host name and address (RFC 5280 4.2.1.10)."""
    return x509.NameConstraints(
        permitted_subtrees=[x509.UniformResourceIdentifier(host)],
        excluded_subtrees=[
            x509.DNSName(""),
            x509.IPAddress(ipaddress.ip_network("0.0.0.0/0")),
            x509.IPAddress(ipaddress.ip_network("::/0")),
        ],
    )


def _authority_builder(
    district: str,
    title: str,
    key: ec.EllipticCurvePrivateKey,
    days: int,
    path_length: int,
    now_ms: int,
) -> x509.CertificateBuilder:
    now = instant(now_ms)
    usage = _NOTHING_ELSE | {"key_cert_sign": True, "crl_sign": True}
    return (
        x509.CertificateBuilder()
        .subject_name(_name(district, title))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _sign(
    builder: x509.CertificateBuilder, issuer: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return (
        builder.issuer_name(issuer.subject)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )


def _name(district: str, title: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"SchoolNode {district}"),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{district}: {title}"),
        ]
    )


def _plausible(now_ms: int) -> int:
    if now_ms < _CLOCK_FLOOR_MS:
        raise SetupError(
            f"this hub's clock says {instant(max(now_ms, 0)):%Y-%m-%d}; set it before issuing"
        )
    return now_ms
