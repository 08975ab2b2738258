"""Pupils and their cards: names enter here, at the school, and leave only sealed."""

import csv
import io
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass

from edge.errors import BoxSetupError
from sync.errors import ForgedError
from sync.logs.oplog import Row
from sync.node import Node
from sync.persons.vault import PersonVault

COLUMNS = ("name", "card", "class_group")
ROSTER_BYTES_MAX = 4 * 1024 * 1024
PEOPLE_MAX = 20_000
_NAME_CHARACTERS_MAX = 80


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a roster."""

    name: str
    card: str
    class_group: str


@dataclass(frozen=True, slots=True)
class Imported:
    added: int
    already_known: int


class Roster:
    """Who belongs to which card, opened into memory; blocking, for the store's thread."""

    def __init__(self, node: Node, vault: PersonVault, reader: sqlite3.Connection) -> None:
        self._node = node
        self._vault = vault
        self._reader = reader
        self._names: dict[int, str] = {}
        self._cards: dict[str, int] = {}

    def load(self) -> None:
        """Open what the store holds; people who were erased are passed over."""
        rows = self._reader.execute(
            "SELECT person, name, card FROM person WHERE school = ? AND deleted = 0",
            (self._node.origin,),
        ).fetchall()
        for person, name, card in rows:
            if name is None:
                continue  # a restored school whose identity columns are not opened yet
            try:
                self._names[person] = self._vault.open(person, "name", name)
                if card is not None:
                    self._cards[self._vault.open(person, "card", card)] = person
            except (KeyError, ForgedError):
                continue

    def person_of(self, card: str) -> int | None:
        return self._cards.get(card)

    def names(self, persons: Collection[int]) -> dict[int, str]:
        return {person: self._names[person] for person in persons if person in self._names}

    def find(self, name: str) -> list[int]:
        """Return the ordinals of everyone of that name."""
        return sorted(person for person, known in self._names.items() if known == name)

    def forget(self, person: int) -> None:
        """Drop what memory holds of a person whose key is destroyed."""
        self._names.pop(person, None)
        for card in [card for card, each in self._cards.items() if each == person]:
            del self._cards[card]

    def __len__(self) -> int:
        return len(self._names)

    def add(self, entries: Collection[Entry]) -> Imported:
        """Add the people of a roster whose cards are not known yet, in one transaction."""
        fresh = [entry for entry in entries if entry.card not in self._cards]
        people: list[Row] = []
        enrolments: list[Row] = []
        numbered = list(zip(self._vault.new_persons(len(fresh)), fresh, strict=True))
        now_ms = self._node.clock.now_ms()
        for person, entry in numbered:
            people.append(
                {
                    "person": person,
                    "kind": "pupil",
                    "name": self._vault.seal(person, "name", entry.name),
                    "card": self._vault.seal(person, "card", entry.card),
                }
            )
            enrolments.append(
                {"person": person, "class_group": entry.class_group, "since_ms": now_ms}
            )
        groups: list[Row] = [
            {"class_group": group, "name": group}
            for group in sorted({entry.class_group for entry in fresh})
        ]
        self._node.record_all({"class_group": groups, "person": people, "enrolment": enrolments})
        for person, entry in numbered:
            self._names[person] = entry.name
            self._cards[entry.card] = person
        return Imported(added=len(fresh), already_known=len(entries) - len(fresh))


def parse_roster(content: bytes) -> list[Entry]:
    """Read a CSV file with the columns name, card, class_group; UTF-8 or GB18030.

    Raises BoxSetupError that names the line and what to correct; nothing is imported then.
    """
    if len(content) > ROSTER_BYTES_MAX:
        raise BoxSetupError(f"the roster has {len(content)} bytes; split it, the limit is 4 MiB")
    reader = csv.DictReader(io.StringIO(_decode(content)), strict=True)
    try:
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise BoxSetupError(f"the roster's first line must be {','.join(COLUMNS)}")
        return _read_lines(reader)
    except csv.Error as error:
        raise BoxSetupError(
            f"roster line {reader.line_num}: {error}; save the file as CSV again"
        ) from error


def _read_lines(reader: "csv.DictReader[str]") -> list[Entry]:
    entries: list[Entry] = []
    cards: set[str] = set()
    for line in reader:
        number = reader.line_num
        values = [(line[column] or "").strip() for column in COLUMNS]
        if None in line or not all(values):
            raise BoxSetupError(f"roster line {number}: needs a name, a card and a class")
        name, card, class_group = values[0], values[1].upper(), values[2]
        if max(map(len, values)) > _NAME_CHARACTERS_MAX:
            raise BoxSetupError(f"roster line {number}: longer than {_NAME_CHARACTERS_MAX} letters")
        if card in cards:
            raise BoxSetupError(f"roster line {number}: that card stands on another line already")
        cards.add(card)
        entries.append(Entry(name, card, class_group))
        if len(entries) > PEOPLE_MAX:
            raise BoxSetupError(f"the roster has more than {PEOPLE_MAX} people; split it")
    return entries


def _decode(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return content.decode("gb18030")  # what Chinese spreadsheets save by default
    except UnicodeDecodeError as error:
        raise BoxSetupError("the roster is neither UTF-8 nor GB18030; save it as UTF-8") from error
