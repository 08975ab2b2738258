"""What a person brings to the box as a roster: the district's sealed file, OneRoster, or a CSV."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from drivers.codecs.card_numbers import canonical_card
from edge.errors import BoxSetupError
from provisioning.identity import Identity
from sync.errors import SyncError
from sync.node import Node
from sync.rosters.people import Fault, Person, Problem, Pupil, StaffMember, new_pupil, new_staff
from sync.rosters.reading import open_reading
from sync.rosters.sealed import (
    CONTEXT,
    FILE_BYTES_MAX,
    MAGIC,
    PEOPLE_MAX,
    RosterPeople,
    SealedRoster,
    open_roster,
    parse_roster,
)
from sync.segments.sealing import recipient_id
from sync.segments.segment import HUB

UPLOAD_BYTES_MAX = FILE_BYTES_MAX
_EXPANDED_BYTES_MAX = 64 * 1024 * 1024
_SEALED_AGAIN = "have it sealed again: schoolnode-hub roster seal"

FAULTS: Final[Mapping[Fault, str]] = {
    Fault.NO_NAME: "needs a name",
    Fault.NO_CLASS: "needs a class",
    Fault.NO_KEY: "needs a card or a code",
    Fault.NO_ROLE: "needs a role",
    Fault.TOO_LONG: "longer than 80 letters",
    Fault.STEERING: "holds characters that are not seen; type it again",
    Fault.FORMULA: "begins with =, +, - or @ as a formula does; remove that",
    Fault.ROUNDED: "the spreadsheet rounded a long number; format the column as text",
    Fault.FIELDS: "more or fewer cells than the first line",
    Fault.CODE_TWICE: "that code stands on another line already",
    Fault.CARD_TWICE: "that card stands on another line already",
    Fault.NO_SCHOOL: "names no school of the file",
    Fault.SEVERAL_SCHOOLS: "names several schools and no class that tells which",
    Fault.SEVERAL_CLASSES: "has several classes, none of them the homeroom",
    Fault.TOO_MANY: f"the roster has more than {PEOPLE_MAX} people; split it",
}


@dataclass(frozen=True, slots=True)
class Upload:
    """A roster of this school. ``made_ms`` is when the district sealed it, None for other files."""

    kind: str  # sealed, OneRoster or spreadsheet
    people: RosterPeople
    made_ms: int | None = None
    encodings: Mapping[str, str] | None = None
    left_out: tuple[str, ...] = ()


def read_upload(
    content: bytes,
    identity: Identity,
    verify: Callable[[SealedRoster], None],
) -> Upload:
    """Read an uploaded file whole.

    ``verify`` raises SyncError unless the hub signed. Raises BoxSetupError that names the line,
    or whose file it is, and what to do; nothing is taken then.
    """
    if len(content) > UPLOAD_BYTES_MAX:
        raise BoxSetupError(f"the roster has {len(content)} bytes; split it, the limit is 4 MiB")
    try:
        if content.startswith(MAGIC):
            return _open_sealed(content, identity, verify)
        return _read_plain(content)
    except SyncError as error:
        raise BoxSetupError(str(error)) from error


def verified_by(node: Node) -> Callable[[SealedRoster], None]:
    """Return what checks that the hub signed a roster, for the node's thread."""

    def verify(sealed: SealedRoster) -> None:
        node.verify(HUB, sealed.signer, CONTEXT, sealed.header_bytes, sealed.signature)

    return verify


def _open_sealed(
    content: bytes, identity: Identity, verify: Callable[[SealedRoster], None]
) -> Upload:
    sealed = parse_roster(content)
    header = sealed.header
    if header.district != identity.district:
        raise BoxSetupError(
            f"this roster is of the district {header.district!r}, not of {identity.district!r}"
        )
    if header.school != identity.school:
        raise BoxSetupError(
            f"this roster is sealed to school {header.school}; this box is of school"
            f" {identity.school}: take it there, and fetch your own"
        )
    if header.recipient != recipient_id(identity.sealing.public_key()):
        raise BoxSetupError(
            f"this roster is sealed to box {header.box}; this is box {identity.box}:"
            f" {_SEALED_AGAIN}"
        )
    if not sealed.is_signed:
        raise BoxSetupError(
            "the hub has not signed this roster yet; there: schoolnode-hub roster sign FOLDER"
        )
    verify(sealed)
    return Upload("sealed", _checked(sealed, identity.sealing), header.made_ms)


def _checked(sealed: SealedRoster, private: X25519PrivateKey) -> RosterPeople:
    """Return what is sealed, judged as lines of a file are: the hub's word proves no line right."""
    people = open_roster(sealed, private)
    taken = _Taken()
    for number, pupil in enumerate(people.pupils, start=1):
        taken.add(
            "roster", number, new_pupil(pupil.name, pupil.card, pupil.class_group, pupil.code)
        )
    for number, member in enumerate(people.staff, start=len(people.pupils) + 1):
        taken.add("roster", number, new_staff(member.code, member.name, member.role))
    return taken.people()


def _read_plain(content: bytes) -> Upload:
    taken = _Taken()
    schools: set[str] = set()
    with open_reading(content, "roster", _EXPANDED_BYTES_MAX) as reading:
        for line in reading.lines:
            schools.add(line.school)
            if len(schools - {""}) > 1:
                raise BoxSetupError(
                    f"{line.file} line {line.number}: names a second school; the district splits"
                    " such a roster: schoolnode-hub roster seal"
                )
            if line.person is None:
                taken.fault(line.problem())
            else:
                taken.add(line.file, line.number, line.person)
        return Upload(
            reading.kind, taken.people(), encodings=reading.encodings, left_out=reading.left_out
        )


class _Taken:
    """People as they are read; the first problem is told, and how many more there are."""

    def __init__(self) -> None:
        self._pupils: list[Pupil] = []
        self._staff: list[StaffMember] = []
        self._codes: set[str] = set()
        self._cards: set[str] = set()
        self._first: Problem | None = None
        self._problems = 0

    def add(self, file: str, line: int, made: Person | tuple[Fault, str]) -> None:
        match made:
            case Pupil():
                self._pupils.append(made)
                keys = [(self._codes, made.code, Fault.CODE_TWICE)]
                # One card may be written in several ways; it is one card.
                keys.append((self._cards, canonical_card(made.card), Fault.CARD_TWICE))
            case StaffMember():
                self._staff.append(made)
                keys = [(self._codes, made.code, Fault.CODE_TWICE)]
            case _:
                self.fault(Problem(file, line, *made))
                return
        if len(self._pupils) + len(self._staff) > PEOPLE_MAX:
            raise BoxSetupError(FAULTS[Fault.TOO_MANY])
        for known, text, fault in keys:
            if text and text in known:
                self.fault(Problem(file, line, fault))
            known.add(text)

    def fault(self, problem: Problem) -> None:
        self._problems += 1
        self._first = self._first or problem

    def people(self) -> RosterPeople:
        first = self._first
        if first is not None:
            detail = f" ({first.detail})" if first.detail else ""
            more = f" And {self._problems - 1} lines more." if self._problems > 1 else ""
            raise BoxSetupError(
                f"{first.file} line {first.line}: {FAULTS[first.fault]}{detail}.{more}"
            )
        return RosterPeople(tuple(self._pupils), tuple(self._staff))
