"""Pupils, their cards and classes: names enter here, at the school, and leave only sealed."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from drivers.codecs.card_numbers import canonical_card
from edge.card_book import CardBook
from sync.errors import ForgedError
from sync.logs.oplog import Row
from sync.node import Node
from sync.persons.vault import PersonVault
from sync.rosters.people import Pupil, StaffMember
from sync.rosters.sealed import RosterPeople

EXAMPLES_MAX = 10
TERMINAL_NUMBERS_FROM = 900_000_000
"""A terminal knows person 17 as 900000017: nine digits are what the oldest take."""
TERMINAL_DIGITS_MAX = 10
_CELLS = ("name", "card", "code")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What a roster would change here, or has; ``examples`` are (name before, name after).

    ``absent`` are people here that the roster does not name: they stay.
    """

    added: int
    already_known: int
    renamed: int
    card_changed: int
    code_changed: int
    class_changed: int
    absent: int
    staff_changed: int
    examples: tuple[tuple[str, str], ...]

    @property
    def is_empty(self) -> bool:
        changed = self.renamed + self.card_changed + self.code_changed + self.class_changed
        return not (self.added or changed or self.staff_changed)


@dataclass(slots=True)
class _Known:
    """Someone whose cells open here; empty: none."""

    name: str
    card: str = ""
    code: str = ""


@dataclass(frozen=True, slots=True)
class _Match:
    """A pupil of a roster, and who that is here; ``changed`` names cells that are new."""

    pupil: Pupil
    person: int | None
    changed: frozenset[str]
    class_changed: bool


class Roster:
    """Who belongs to which card, opened into memory; blocking, for the store's thread."""

    def __init__(self, node: Node, vault: PersonVault, reader: sqlite3.Connection) -> None:
        self._node = node
        self._vault = vault
        self._reader = reader
        self._people: dict[int, _Known] = {}
        self._cards = CardBook()
        self._codes: dict[str, int] = {}

    def load(self) -> None:
        """Open what the store holds; people who were erased are passed over."""
        rows = self._reader.execute(
            "SELECT person, name, card, code FROM person WHERE school = ? AND deleted = 0",
            (self._node.origin,),
        ).fetchall()
        for person, *cells in rows:
            if cells[0] is None:
                continue  # a restored school whose identity columns are not opened yet
            try:
                opened = [
                    "" if cell is None else self._vault.open(person, column, cell)
                    for column, cell in zip(_CELLS, cells, strict=True)
                ]
            except (KeyError, ForgedError):
                continue
            self._remember(person, _Known(*opened))

    def person_of(self, card: str) -> int | None:
        """Return whose card it is, whichever way the number is written."""
        return self._cards.person_of(card)

    def person_numbered(self, number: str) -> int | None:
        """Return who has a number on an attendance terminal: by code, else as the box numbers."""
        coded = self._codes.get(number)
        is_number = number.isascii() and number.isdecimal() and len(number) <= TERMINAL_DIGITS_MAX
        if coded is not None or not is_number:
            return coded
        person = int(number) - TERMINAL_NUMBERS_FROM
        return person if person in self._people else None

    def cards_by_number(self) -> dict[str, str]:
        """Return what a terminal is to know of everyone with a card: number and card, no name."""
        return {
            str(TERMINAL_NUMBERS_FROM + person): canonical_card(known.card)
            for person, known in self._people.items()
            if known.card and str(TERMINAL_NUMBERS_FROM + person) not in self._codes
        }

    def names(self, persons: Collection[int]) -> dict[int, str]:
        return {person: self._people[person].name for person in persons if person in self._people}

    def private_words(self) -> set[str]:
        """Return every name, card and code: what must be found in nothing that leaves."""
        return {
            word
            for known in self._people.values()
            for word in (known.name, known.card, known.code)
            if word
        }

    def find(self, name: str) -> list[int]:
        """Return the ordinals of everyone of that name."""
        return sorted(person for person, known in self._people.items() if known.name == name)

    def forget(self, person: int) -> None:
        """Drop what memory holds of a person whose key is destroyed."""
        self._people.pop(person, None)
        self._cards.drop_person(person)
        for code in [code for code, each in self._codes.items() if each == person]:
            del self._codes[code]

    def __len__(self) -> int:
        return len(self._people)

    def compare(self, people: RosterPeople) -> Difference:
        """Return what :meth:`take` would change."""
        return self._difference(self._match(people.pupils), self._new_staff(people.staff))

    def take(self, people: RosterPeople, who: str) -> Difference:
        """Add who is new and correct who changed, in one transaction; nobody is removed.

        A card that stands for somebody else now passes on. No code and no card stands twice in
        ``people``.
        """
        matches = self._match(people.pupils)
        staff = self._new_staff(people.staff)
        difference = self._difference(matches, staff)
        if difference.is_empty:
            return difference
        bereft = self._bereft(matches)
        fresh = [each for each in matches if each.person is None]
        altered = {
            each.person: each.pupil for each in matches if each.person is not None and each.changed
        }
        numbered = list(zip(self._vault.new_persons(len(fresh)), fresh, strict=True))
        placed = [(person, each.pupil.class_group) for person, each in numbered]
        placed += [
            (each.person, each.pupil.class_group)
            for each in matches
            if each.person is not None and each.class_changed
        ]
        now_ms = self._node.clock.now_ms()
        self._node.record_all(
            {
                "class_group": self._new_groups({group for _, group in placed}),
                "person": [
                    *(self._new_row(person, each.pupil) for person, each in numbered),
                    *self._altered_rows(altered, bereft),
                ],
                "enrolment": [
                    {"person": person, "class_group": group, "since_ms": now_ms}
                    for person, group in placed
                ],
                "staff_role": [
                    {"staff": each.code, "role": each.role, "name": each.name} for each in staff
                ],
                "audit_entry": [_audit(difference, who, now_ms)],
            }
        )
        for person in bereft:
            self._cards.drop(self._people[person].card)
            self._people[person].card = ""
        for person, pupil in altered.items():
            before = self._people[person]
            self.forget(person)
            after = _Known(pupil.name, pupil.card or before.card, pupil.code or before.code)
            self._remember(person, after)
        for person, each in numbered:
            self._remember(person, _Known(each.pupil.name, each.pupil.card, each.pupil.code))
        return difference

    def _match(self, pupils: Sequence[Pupil]) -> list[_Match]:
        """Find everyone here: by code, else by card unless code and name are another's."""
        persons = [self._codes.get(pupil.code) for pupil in pupils]
        claimed = {person for person in persons if person is not None}
        for place, pupil in enumerate(pupils):
            person = self._cards.holder(pupil.card)
            if persons[place] is not None or person is None or person in claimed:
                continue
            known = self._people[person]
            if not (pupil.code and known.code) or known.name == pupil.name:
                persons[place] = person
                claimed.add(person)
        classes = dict(
            self._reader.execute(
                "SELECT person, class_group FROM enrolment WHERE school = ? AND deleted = 0",
                (self._node.origin,),
            ).fetchall()
        )
        return [
            _Match(
                pupil,
                person,
                frozenset() if person is None else _changed(self._people[person], pupil),
                person is not None and classes.get(person) != pupil.class_group,
            )
            for pupil, person in zip(pupils, persons, strict=True)
        ]

    def _bereft(self, matches: Sequence[_Match]) -> set[int]:
        """Return whose card passes on to somebody else and who gets no other."""
        own = {each.person for each in matches if each.person is not None and each.pupil.card}
        holders = {
            holder
            for each in matches
            if (holder := self._cards.holder(each.pupil.card)) not in {None, each.person}
        }
        return {holder for holder in holders - own if holder is not None}

    def _difference(self, matches: Sequence[_Match], staff: Sequence[StaffMember]) -> Difference:
        known = [each for each in matches if each.person is not None]
        renamed = [each for each in known if "name" in each.changed]
        bereft = self._bereft(matches)
        return Difference(
            added=len(matches) - len(known),
            already_known=len(known),
            renamed=len(renamed),
            card_changed=sum("card" in each.changed for each in known) + len(bereft),
            code_changed=sum("code" in each.changed for each in known),
            class_changed=sum(each.class_changed for each in known),
            absent=len(self._people) - len(known),
            staff_changed=len(staff),
            examples=tuple(
                (self._people[each.person].name, each.pupil.name)
                for each in renamed[:EXAMPLES_MAX]
                if each.person is not None
            ),
        )

    def _new_staff(self, staff: Sequence[StaffMember]) -> list[StaffMember]:
        rows = self._reader.execute(
            "SELECT staff, name, role FROM staff_role WHERE school = ? AND deleted = 0",
            (self._node.origin,),
        ).fetchall()
        known = {StaffMember(*row) for row in rows}
        return [each for each in staff if each not in known]

    def _new_groups(self, groups: Collection[str]) -> list[Row]:
        rows = self._reader.execute(
            "SELECT class_group FROM class_group WHERE school = ? AND deleted = 0",
            (self._node.origin,),
        ).fetchall()
        fresh = sorted(set(groups) - {group for (group,) in rows})
        return [{"class_group": group, "name": group} for group in fresh]

    def _new_row(self, person: int, pupil: Pupil) -> Row:
        cells = {"name": pupil.name, "card": pupil.card, "code": pupil.code}
        sealed = {
            column: self._vault.seal(person, column, text) for column, text in cells.items() if text
        }
        return {"person": person, "kind": "pupil", **sealed}

    def _altered_rows(self, altered: Mapping[int, Pupil], bereft: Collection[int]) -> list[Row]:
        """Return whole rows: cells that did not change stay as they were sealed."""
        rows: list[Row] = []
        for person in sorted({*altered, *bereft}):
            (before,) = self._reader.execute(
                "SELECT kind, name, card, guardian, code FROM person"
                " WHERE school = ? AND person = ?",
                (self._node.origin, person),
            ).fetchall()
            without = {"card": None} if person in bereft else {}
            fresh = self._new_row(person, altered[person]) if person in altered else {}
            rows.append({"person": person, **dict(before), **without, **fresh})
        return rows

    def _remember(self, person: int, known: _Known) -> None:
        self._people[person] = known
        if known.card:
            self._cards.put(known.card, person)
        if known.code:
            self._codes[known.code] = person


def _changed(known: _Known, pupil: Pupil) -> frozenset[str]:
    """Return which cells a roster tells otherwise; what it leaves out stays."""
    told = {"name": pupil.name, "card": pupil.card, "code": pupil.code}
    before = {"name": known.name, "card": known.card, "code": known.code}
    return frozenset(column for column, text in told.items() if text and text != before[column])


def _audit(difference: Difference, who: str, now_ms: int) -> Row:
    """Return what the audit log, which the district reads, is told: figures."""
    told = (
        f"{difference.added} added, {difference.renamed} renamed, {difference.card_changed} cards,"
        f" {difference.class_changed} classes, {difference.staff_changed} staff"
    )
    return {"at_ms": now_ms, "who": who, "action": "import roster", "subject": told}
