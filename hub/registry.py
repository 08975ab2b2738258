"""The district's boxes and who belongs to which audience, from what the hub itself certified."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from provisioning.certificates import Binding, read_certificate
from provisioning.identity import HubIdentity
from provisioning.invitations import InvitationStore
from sync.fold import HUB
from sync.oplog import Row
from sync.signing import SignerId, signer_id


@dataclass(frozen=True, slots=True)
class EnrolledBox:
    binding: Binding
    certificate: bytes
    school_name: str


class Registry:
    """Implements sync's directory and the relay's access rules.

    ``reader`` is a read-only connection used from one thread at a time.
    """

    def __init__(
        self, hub: HubIdentity, invitations: InvitationStore, reader: sqlite3.Connection
    ) -> None:
        self._hub = hub
        self._invitations = invitations
        self._reader = reader
        self._boxes: dict[str, EnrolledBox] = {}
        self._signers: dict[tuple[int, SignerId], Ed25519PublicKey] = {}
        self._sealing: dict[int, list[X25519PublicKey]] = {}
        self._add_keys(HUB, hub.binding.keys.signing, hub.binding.keys.sealing)

    def refresh(self) -> list[EnrolledBox]:
        """Take up boxes that enrolled since; return them."""
        new = []
        for invitation in self._invitations.list_all():
            if invitation.certificate is None or invitation.box in self._boxes:
                continue
            certificate = read_certificate(invitation.certificate)
            binding = self._hub.trust.box_binding(certificate)
            box = EnrolledBox(binding, invitation.certificate, invitation.school_name)
            self._boxes[invitation.box] = box
            self._add_keys(binding.school, binding.keys.signing, binding.keys.sealing)
            new.append(box)
        return new

    def boxes(self) -> list[EnrolledBox]:
        return list(self._boxes.values())

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        return self._signers.get((origin, signer))

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        return self._sealing.get(school, [])

    def members(self, audience: str) -> frozenset[int]:
        schools = frozenset(self._sealing) - {HUB}
        match audience[:1], audience[1:]:
            case "d", "":
                return schools
            case "s", number if number.isascii() and number.isdigit():
                return schools & {int(number)}
            case "l", lesson:
                return schools & frozenset(self.parties(lesson))
            case _:
                return frozenset()

    def parties(self, lesson: str) -> dict[int, str]:
        """Return the schools of a lesson that is not cancelled, with their roles."""
        rows = self._reader.execute(
            "SELECT p.school, p.role FROM lesson_party p JOIN lesson l ON l.lesson = p.lesson"
            " WHERE p.lesson = ? AND p.deleted = 0 AND l.deleted = 0"
            " AND coalesce(l.cancelled, 0) = 0",
            (lesson,),
        ).fetchall()
        return {row["school"]: row["role"] for row in rows}

    def may_publish(self, school: int, lesson: str) -> bool:
        return self.parties(lesson).get(school) == "flagship"

    def may_receive(self, school: int, lesson: str) -> bool:
        return school in self.parties(lesson)

    def _add_keys(self, origin: int, signing: bytes, sealing: bytes) -> None:
        public = Ed25519PublicKey.from_public_bytes(signing)
        self._signers[origin, signer_id(public)] = public
        keys = self._sealing.setdefault(origin, [])
        keys.append(X25519PublicKey.from_public_bytes(sealing))


def box_rows(boxes: Sequence[EnrolledBox]) -> list[Row]:
    """Return the rows of ``box_certificate`` that tell every school of these boxes."""
    return [
        {
            "school": box.binding.school,
            "box": box.binding.box,
            "certificate": box.certificate,
            "revoked": 0,
        }
        for box in boxes
    ]
