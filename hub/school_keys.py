"""The schools' sealing keys as one signed file: what sealing rosters needs away from the hub.

It holds no secret. Certificates prove the keys, the hub's signature the schools' names, and the
district's root both; a person compares the root's fingerprint with the published one.
"""

import hashlib
from collections.abc import Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from hub.errors import HubSetupError
from hub.server import HubParts
from provisioning.certificates import read_certificate
from provisioning.errors import ProvisioningError
from provisioning.trust import DistrictTrust, der, read_trust
from sync.errors import ForgedError
from sync.segments.signing import sign, verify
from sync.store import connect_readonly

FILE_BYTES_MAX = 64 * 1024 * 1024
_CONTEXT = b"schoolnode school keys"
_FAULTS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_MiB = 2**20


class _School(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    school: Annotated[int, msgspec.Meta(ge=1, le=65535)]
    name: Annotated[str, msgspec.Meta(max_length=200)]
    name_en: Annotated[str, msgspec.Meta(max_length=200)]
    certificates: Annotated[list[bytes], msgspec.Meta(max_length=64)]


class _Content(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    format: Literal[1]
    made_ms: int
    schools: Annotated[list[_School], msgspec.Meta(max_length=65535)]


class _Signed(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    authority: Annotated[str, msgspec.Meta(max_length=16 * 1024)]
    hub: bytes
    content: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class BoxKey:
    """A box that is not revoked, and the key to seal to it."""

    box: str
    sealing: X25519PublicKey


@dataclass(frozen=True, slots=True)
class School:
    number: int
    name: str
    name_en: str
    boxes: tuple[BoxKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchoolKeys:
    """``root`` is the SHA-256 of the root certificate, as OpenSSL prints it."""

    district: str
    root: str
    made_ms: int
    schools: dict[int, School]


def school_keys(parts: HubParts, made_ms: int) -> SchoolKeys:
    """Return what an opened hub knows of its schools."""
    return _read_content(parts.identity.trust, _content(parts, made_ms))


def export_school_keys(parts: HubParts, made_ms: int) -> bytes:
    """Return the same as a file."""
    content = msgspec.json.encode(_content(parts, made_ms))
    trust = parts.identity.trust
    return msgspec.json.encode(
        _Signed(
            authority=trust.pem().decode(),
            hub=der(parts.identity.certificate),
            content=content,
            signature=sign(parts.identity.signing, _CONTEXT, content),
        )
    )


def read_school_keys(path: Path, root: str | None) -> SchoolKeys:
    """Read an exported file; ``root`` is the fingerprint it must have, if a person gave one.

    Raises HubSetupError for what no hub exported, or another district's.
    """
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise HubSetupError(f"{path}: cannot be read ({error.strerror}); name another") from error
    if len(data) > FILE_BYTES_MAX:
        raise HubSetupError(f"{path}: over {FILE_BYTES_MAX // _MiB} MiB; this is no file of keys")
    try:
        signed = msgspec.json.decode(data, type=_Signed)
        trust = read_trust(signed.authority.encode())
        if root is not None and _plain(root) != _plain(_fingerprint(trust)):
            raise HubSetupError(
                f"{path}: its root is {_fingerprint(trust)}, not the one given; nothing is sealed:"
                " have the keys exported again at your own hub"
            )
        hub = trust.hub_binding(read_certificate(signed.hub))
        signing = Ed25519PublicKey.from_public_bytes(hub.keys.signing)
        verify(signing, _CONTEXT, signed.content, signed.signature)
        content = msgspec.json.decode(signed.content, type=_Content)
    except (*_FAULTS, ProvisioningError, ForgedError) as error:
        raise HubSetupError(
            f"{path}: it is no file of schools' keys, or was altered ({error}); have it exported"
            " again: schoolnode-hub roster keys"
        ) from error
    return _read_content(trust, content)


def _content(parts: HubParts, made_ms: int) -> _Content:
    with closing(connect_readonly(parts.store)) as reader:
        rows = reader.execute(
            "SELECT school, name, name_en FROM school WHERE deleted = 0"
        ).fetchall()
    names = {row["school"]: (row["name"] or "", row["name_en"] or "") for row in rows}
    certificates: dict[int, list[bytes]] = {school: [] for school in names}
    for box in parts.registry.boxes():
        school = box.binding.school
        names.setdefault(school, (box.school_name, ""))
        held = certificates.setdefault(school, [])
        if box.binding.box not in parts.registry.revoked:
            held.append(box.certificate)
    schools = [
        _School(school, *names[school], certificates[school]) for school in sorted(certificates)
    ]
    return _Content(1, made_ms, schools)


def _read_content(trust: DistrictTrust, content: _Content) -> SchoolKeys:
    return SchoolKeys(
        district=trust.district,
        root=_fingerprint(trust),
        made_ms=content.made_ms,
        schools={
            each.school: School(
                each.school, each.name, each.name_en, _boxes(trust, each.school, each.certificates)
            )
            for each in content.schools
        },
    )


def _boxes(
    trust: DistrictTrust, school: int, certificates: Collection[bytes]
) -> tuple[BoxKey, ...]:
    boxes = []
    for each in certificates:
        try:
            binding = trust.box_binding(read_certificate(each))
        except ProvisioningError as error:
            raise HubSetupError(f"a box of school {school} is not certified: {error}") from error
        if binding.school != school:
            raise HubSetupError(
                f"a box of school {binding.school} stands among those of school {school}; have the"
                " keys exported again"
            )
        boxes.append(BoxKey(binding.box, X25519PublicKey.from_public_bytes(binding.keys.sealing)))
    return tuple(boxes)


def _fingerprint(trust: DistrictTrust) -> str:
    return hashlib.sha256(der(trust.root)).digest().hex(":").upper()


def _plain(fingerprint: str) -> str:
    return "".join(each for each in fingerprint.lower() if each in "0123456789abcdef")
