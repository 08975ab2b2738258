"""The district's boxes and who belongs to which audience, from what the hub itself certified."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

from provisioning.certificates import Binding, BoundKeys, read_certificate
from provisioning.identity import HubIdentity
from provisioning.invitations import InvitationStore
from sync.lessons.fragment_log import LessonId
from sync.lessons.tracks import parse_return_log
from sync.logs.oplog import Row
from sync.segments.segment import HUB
from sync.segments.signing import SignerId, signer_id


@dataclass(frozen=True, slots=True)
class EnrolledBox:
    """``binding`` is of the certificate it enrolled with; renewed ones bind the same keys."""

    binding: Binding
    certificate: bytes
    school_name: str

    @property
    def signer(self) -> SignerId:
        return signer_id(Ed25519PublicKey.from_public_bytes(self.binding.keys.signing))


class LessonParties:
    """Who has a part in a lesson: the relay's access rules.

    ``reader`` is a read-only connection used from one thread at a time.
    """

    def __init__(self, reader: sqlite3.Connection) -> None:
        self._reader = reader

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
        """Tell whether a school gives this lesson; a return log only the receiver it is named for.

        Asked with a return log's name too, as :meth:`may_receive`.
        """
        returned = parse_return_log(LessonId(lesson))
        if returned is None:
            return self.parties(lesson).get(school) == "flagship"
        return returned[1] == school and self.parties(returned[0]).get(school) == "receiver"

    def may_receive(self, school: int, lesson: str) -> bool:
        """Tell whether a school has a part in this lesson; a return log's only the flagship has."""
        returned = parse_return_log(LessonId(lesson))
        if returned is None:
            return school in self.parties(lesson)
        return self.parties(returned[0]).get(school) == "flagship"


class Registry:
    """Implements sync's directory; blocking, for the store's thread.

    ``reader`` is a read-only connection for it alone. ``revoked`` holds the ids of revoked boxes
    and may be asked from any thread; an id that is in it stays.
    """

    def __init__(
        self, hub: HubIdentity, invitations: InvitationStore, reader: sqlite3.Connection
    ) -> None:
        self._hub = hub
        self._invitations = invitations
        self._reader = reader
        self._lessons = LessonParties(reader)
        self._boxes: dict[str, EnrolledBox] = {}
        self._by_school: dict[int, list[EnrolledBox]] = {}
        self._signers: dict[tuple[int, SignerId], BoundKeys] = {}
        self._hub_sealing = X25519PublicKey.from_public_bytes(hub.binding.keys.sealing)
        self._add_signer(HUB, hub.binding.keys)
        self.revoked: set[str] = set()

    def read_boxes(self) -> None:
        """Take up boxes that enrolled since, and revocations."""
        for invitation in self._invitations.list_all():
            if invitation.certificate is None or invitation.box in self._boxes:
                continue
            certificate = read_certificate(invitation.certificate)
            binding = self._hub.trust.box_binding(certificate)
            box = EnrolledBox(binding, invitation.certificate, invitation.school_name)
            self._add_signer(binding.school, binding.keys)
            self._by_school.setdefault(binding.school, []).append(box)
            self._boxes[invitation.box] = box
        self.read_revoked()

    def read_revoked(self) -> None:
        """Take up what this process or another wrote of revoked boxes."""
        rows = self._reader.execute("SELECT box FROM box_certificate WHERE revoked = 1").fetchall()
        self.revoked.update(row["box"] for row in rows)

    def untold(self) -> list[EnrolledBox]:
        """Return enrolled boxes of which the schools are not told yet."""
        told = {row["box"] for row in self._reader.execute("SELECT box FROM box_certificate")}
        return [box for name, box in self._boxes.items() if name not in told]

    def boxes(self) -> list[EnrolledBox]:
        return list(self._boxes.values())

    def box(self, name: str) -> EnrolledBox | None:
        return self._boxes.get(name)

    def signing_key(self, origin: int, signer: SignerId) -> Ed25519PublicKey | None:
        # What a box wrote before it was revoked stays what it is.
        bound = self._signers.get((origin, signer))
        return Ed25519PublicKey.from_public_bytes(bound.signing) if bound is not None else None

    def sealing_key(self, origin: int, signer: SignerId) -> X25519PublicKey | None:
        bound = self._signers.get((origin, signer))
        return X25519PublicKey.from_public_bytes(bound.sealing) if bound is not None else None

    def signing_keys(self, school: int) -> Sequence[Ed25519PublicKey]:
        """Return the signing keys of all boxes a school has or had: what they signed stays so."""
        return [
            Ed25519PublicKey.from_public_bytes(box.binding.keys.signing)
            for box in self._by_school.get(school, [])
        ]

    def may_speak(self, origin: int, signer: SignerId) -> bool:
        if origin == HUB:
            return (origin, signer) in self._signers
        return any(
            box.signer == signer and box.binding.box not in self.revoked
            for box in self._by_school.get(origin, [])
        )

    def sealing_keys(self, school: int) -> Sequence[X25519PublicKey]:
        if school == HUB:
            return [self._hub_sealing]
        return [
            X25519PublicKey.from_public_bytes(box.binding.keys.sealing)
            for box in self._by_school.get(school, [])
            if box.binding.box not in self.revoked
        ]

    def members(self, audience: str) -> frozenset[int]:
        schools = self._by_school.keys()
        match audience[:1], audience[1:]:
            case "d", "":
                return frozenset(schools)
            case "s", number if number.isascii() and number.isdigit():
                return frozenset(schools & {int(number)})
            case "l", lesson:
                return frozenset(schools & self._lessons.parties(lesson).keys())
            case _:
                return frozenset()

    def reached_since(self, origin: int, since_ms: int) -> frozenset[int]:
        """Return the schools reached by an origin's logs that grew here since a moment."""
        rows = self._reader.execute(
            "SELECT DISTINCT audience FROM log WHERE origin = ? AND stored_ms >= ?",
            (origin, since_ms),
        ).fetchall()
        return frozenset[int]().union(*(self.members(row["audience"]) for row in rows))

    def _add_signer(self, origin: int, bound: BoundKeys) -> None:
        public = Ed25519PublicKey.from_public_bytes(bound.signing)
        self._signers[origin, signer_id(public)] = bound


def box_row(box: EnrolledBox, *, revoked: bool) -> Row:
    """Return the row of ``box_certificate`` that tells every school of a box."""
    return {
        "school": box.binding.school,
        "box": box.binding.box,
        "certificate": box.certificate,
        "revoked": int(revoked),
    }
