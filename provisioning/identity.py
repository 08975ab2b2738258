"""Who this machine is: a folder of 0600 files, and the frozen value read from it.

A box: ``signing.key``, ``sealing.key``, ``box.pem`` and ``page.pem`` (each a private key, its
certificate and the issuer, replaced by one rename), ``authority.pem``, ``root.pem``, ``hub.pem``,
and ``identity.json``, written last: without it there is no identity. A hub: ``signing.key``,
``sealing.key``, ``hub.pem``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519

from provisioning.authority import Authority
from provisioning.box_keys import (
    BoxKeys,
    bound_keys,
    ed25519_private,
    new_tls_key,
    p256_private,
    private_pem,
    x25519_private,
)
from provisioning.certificates import X509_FAULTS, Binding, HubBinding
from provisioning.durable_file import private_folder, read_private, write_private
from provisioning.errors import (
    IdentityDamagedError,
    IdentityMissingError,
    ImpostorError,
    ProtocolError,
)
from provisioning.server_names import hub_names
from provisioning.trust import DistrictTrust, pem, read_trust


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """An enrolled box. ``tls_pem`` and ``page_pem`` are files for ``SSLContext.load_cert_chain``.

    ``root_pem`` is the file that panels and class cards are given to trust the LAN pages.
    """

    folder: Path
    district: str
    school: int
    school_name: str
    box: str
    hub_host: str
    hub_port: int
    trust: DistrictTrust
    hub: HubBinding
    binding: Binding
    page_not_before_ms: int
    page_not_after_ms: int
    signing: ed25519.Ed25519PrivateKey = field(repr=False)
    sealing: x25519.X25519PrivateKey = field(repr=False)
    tls_pem: Path
    page_pem: Path
    root_pem: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class HubIdentity:
    """The hub: its names, its bound keys, and the file its servers load."""

    folder: Path
    trust: DistrictTrust
    names: tuple[str, ...]
    binding: HubBinding
    certificate: x509.Certificate
    signing: ed25519.Ed25519PrivateKey = field(repr=False)
    sealing: x25519.X25519PrivateKey = field(repr=False)
    tls_pem: Path


class IdentityRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What ``identity.json`` says beyond the certificates."""

    format: Literal[1] = 1
    school_name: Annotated[str, msgspec.Meta(max_length=200)]
    hub_host: Annotated[str, msgspec.Meta(max_length=253)]
    hub_port: Annotated[int, msgspec.Meta(ge=1, le=65535)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Certified:
    """The public half of an identity, as the hub's answer gave it and the box verified it."""

    trust: DistrictTrust
    box: x509.Certificate
    page: x509.Certificate
    hub: x509.Certificate


def load_identity(folder: Path) -> Identity:
    """Return the identity in ``folder``.

    Raises IdentityMissingError when the box is not enrolled, IdentityDamagedError when a file is
    missing, open to other users, or does not belong to the others.
    """
    if not (folder / "identity.json").exists():
        raise IdentityMissingError(f"{folder}: this box is not enrolled; run schoolnode claim CODE")
    try:
        return _read(folder)
    except (ProtocolError, ImpostorError) as error:
        raise IdentityDamagedError(
            f"{folder}: {error}; restore it, or move the folder away and claim again"
        ) from error


def store_identity(
    folder: Path, keys: BoxKeys, certified: Certified, record: IdentityRecord
) -> Identity:
    """Write the identity of a box; a crash before the last file leaves the box not enrolled."""
    trust = certified.trust
    private_folder(folder)
    write_private(folder / "signing.key", private_pem(keys.signing))
    write_private(folder / "sealing.key", private_pem(keys.sealing))
    write_private(folder / "box.pem", key_and_chain(keys.tls, certified.box, trust.boxes))
    write_private(folder / "page.pem", key_and_chain(keys.page, certified.page, trust.servers))
    write_private(folder / "authority.pem", trust.pem())
    write_private(folder / "root.pem", pem(trust.root))
    write_private(folder / "hub.pem", pem(certified.hub))
    write_private(folder / "identity.json", msgspec.json.encode(record))
    return load_identity(folder)


def create_hub_identity(
    folder: Path, authority: Authority, *, names: Sequence[str], now_ms: int
) -> HubIdentity:
    """Return the hub's identity in ``folder``, made at the first start.

    The certificate is issued anew with a new TLS key when a third of its life is over or the names
    have changed; the signing and sealing keys stay. Call it at every start and once a day.
    """
    private_folder(folder)
    signing_file, sealing_file = folder / "signing.key", folder / "sealing.key"
    if not signing_file.exists():
        write_private(signing_file, private_pem(ed25519.Ed25519PrivateKey.generate()))
    if not sealing_file.exists():
        write_private(sealing_file, private_pem(x25519.X25519PrivateKey.generate()))
    signing = ed25519_private(read_private(signing_file))
    sealing = x25519_private(read_private(sealing_file))
    wanted = hub_names(names)
    trust, tls_pem = authority.trust, folder / "hub.pem"
    certificate = _current_hub_certificate(tls_pem, trust, wanted, now_ms)
    if certificate is None:
        tls_key = new_tls_key()
        certificate = authority.issue_hub(
            names=wanted,
            tls_key=tls_key.public_key(),
            keys=bound_keys(signing, sealing),
            now_ms=now_ms,
        )
        write_private(tls_pem, key_and_chain(tls_key, certificate, trust.servers))
    binding = trust.hub_binding(certificate)
    if binding.keys != bound_keys(signing, sealing):
        raise IdentityDamagedError(
            f"{folder}: the certificate binds other keys; restore the folder from its backup"
        )
    return HubIdentity(
        folder=folder,
        trust=trust,
        names=tuple(names),
        binding=binding,
        certificate=certificate,
        signing=signing,
        sealing=sealing,
        tls_pem=tls_pem,
    )


def renewal_due(not_before_ms: int, not_after_ms: int, now_ms: int) -> bool:
    """Return whether a third of a certificate's life is over."""
    return now_ms >= not_before_ms + (not_after_ms - not_before_ms) // 3


def key_and_chain(
    key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, issuer: x509.Certificate
) -> bytes:
    """Return one PEM text of key, certificate and issuer: they can only be replaced together."""
    return private_pem(key) + pem(certificate) + pem(issuer)


def read_key_and_chain(path: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return what ``key_and_chain`` wrote; raise IdentityDamagedError when they do not match."""
    content = read_private(path)
    start = content.find(b"-----BEGIN CERTIFICATE-----")
    key = p256_private(content[:start])
    certificate = _certificate(path, content[start:])
    if certificate.public_key() != key.public_key():
        raise IdentityDamagedError(f"{path}: key and certificate differ; restore it")
    return key, certificate


def _read(folder: Path) -> Identity:
    record_file = folder / "identity.json"
    try:
        record = msgspec.json.decode(read_private(record_file), type=IdentityRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise IdentityDamagedError(f"{record_file}: {error}; restore it") from error
    trust = read_trust(read_private(folder / "authority.pem"))
    signing = ed25519_private(read_private(folder / "signing.key"))
    sealing = x25519_private(read_private(folder / "sealing.key"))
    _, box = read_key_and_chain(folder / "box.pem")
    _, page = read_key_and_chain(folder / "page.pem")
    trust.require_server(page)
    hub_file = folder / "hub.pem"
    binding = trust.box_binding(box)
    if binding.keys != bound_keys(signing, sealing):
        raise IdentityDamagedError(
            f"{folder}: the certificate binds other keys; restore it, or move the folder away and "
            "claim again"
        )
    return Identity(
        folder=folder,
        district=trust.district,
        school=binding.school,
        school_name=record.school_name,
        box=binding.box,
        hub_host=record.hub_host,
        hub_port=record.hub_port,
        trust=trust,
        hub=trust.hub_binding(_certificate(hub_file, read_private(hub_file))),
        binding=binding,
        page_not_before_ms=int(page.not_valid_before_utc.timestamp()) * 1000,
        page_not_after_ms=int(page.not_valid_after_utc.timestamp()) * 1000,
        signing=signing,
        sealing=sealing,
        tls_pem=folder / "box.pem",
        page_pem=folder / "page.pem",
        root_pem=folder / "root.pem",
    )


def _certificate(path: Path, content: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificates(content)[0]
    except X509_FAULTS as error:
        raise IdentityDamagedError(f"{path}: holds no certificate; restore it") from error


def _current_hub_certificate(
    tls_pem: Path, trust: DistrictTrust, names: Sequence[x509.GeneralName], now_ms: int
) -> x509.Certificate | None:
    """Return the stored certificate while it is young and carries exactly ``names``."""
    if not tls_pem.exists():
        return None
    _, certificate = read_key_and_chain(tls_pem)
    binding = trust.hub_binding(certificate)
    stored = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has_names = [name for name in stored if not isinstance(name, x509.UniformResourceIdentifier)]
    if has_names != list(names) or renewal_due(binding.not_before_ms, binding.not_after_ms, now_ms):
        return None
    return certificate
