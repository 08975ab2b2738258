"""A district's roster in one pass: checked line by line, each school's part sealed as it grows.

What is held in clear at any moment is one unfinished part of PART_PEOPLE people a school; the rest
is sealed already. Nothing is written here.
"""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass, field

from hub.errors import HubSetupError
from hub.locale.sentence import Sentence
from hub.roster_words import no_box, several_boxes, unknown_school
from hub.school_keys import BoxKey, School, SchoolKeys
from sync.errors import RosterError
from sync.rosters.people import Fault, Line, Person, Problem, Pupil, tidy
from sync.rosters.reading import Reading
from sync.rosters.sealed import PEOPLE_MAX, RosterSealer
from sync.segments.sealing import RandomBytes

PROBLEMS_SHOWN = 20
SCHOOLS_MAX = 65_535


@dataclass(slots=True)
class Problems:
    """How many lines cannot be taken, and the first of them."""

    count: int = 0
    shown: list[Problem] = field(default_factory=list)

    def add(self, problem: Problem) -> None:
        self.count += 1
        if len(self.shown) < PROBLEMS_SHOWN:
            self.shown.append(problem)


@dataclass(slots=True)
class SchoolPart:
    """One school's part. ``refusal`` says why a whole school cannot be sealed."""

    key: str  # as the file names the school
    number: int | None
    name: str
    box: str = ""
    pupils: int = 0
    staff: int = 0
    classes: int = 0
    problems: Problems = field(default_factory=Problems)
    refusal: Sentence | None = None
    sealed: bytes | None = None
    """The file for the box, unsigned; None when something is wrong with any line."""


@dataclass(frozen=True, slots=True)
class Split:
    """``unplaced`` are lines of which no school can be told."""

    parts: tuple[SchoolPart, ...]
    unplaced: Problems


class Splitter:
    """Splits one roster; ``boxes`` names a box for schools that have several."""

    def __init__(
        self,
        keys: SchoolKeys,
        numbers: Mapping[str, int],
        boxes: Mapping[int, str],
        made_ms: int,
        random_bytes: RandomBytes,
    ) -> None:
        """``numbers`` are a person's word on which school a file's key or name means."""
        self._keys = keys
        self._numbers = numbers
        self._chosen = boxes
        self._made_ms = made_ms
        self._random_bytes = random_bytes
        self._growing: dict[str, _Growing] = {}
        self._by_number: dict[int, _Growing] = {}
        self._by_name = _names(keys)

    def split(self, reading: Reading) -> Split:
        """Return each school's part; raises RosterError when the files cannot be read."""
        unplaced = Problems()
        repeated = _repeated(reading.schools)
        for line in reading.lines:
            if not line.school:
                unplaced.add(Problem(line.file, line.number, line.fault or Fault.NO_SCHOOL))
                continue
            growing = self._growing.get(line.school)
            if growing is None:
                name = reading.schools.get(line.school)
                growing = self._begin(line.school, name, is_repeated=line.school in repeated)
            growing.take(line)
        if not self._growing:
            raise RosterError(
                "no line names a school; a column school (学校) is needed"
                if unplaced.count
                else "nobody stands in this roster; is it the right file?"
            )
        parts = {id(each): each for each in self._growing.values()}
        found = [each.finish() for each in parts.values()]
        return Split(
            tuple(sorted(found, key=lambda part: (part.number or SCHOOLS_MAX + 1, part.key))),
            unplaced,
        )

    def _begin(self, key: str, name: str | None, *, is_repeated: bool) -> "_Growing":
        if len(self._growing) >= SCHOOLS_MAX:
            raise RosterError(f"more than {SCHOOLS_MAX} schools; is the column of schools right?")
        number = self._number(key, name, is_repeated=is_repeated)
        growing = self._by_number.get(number) if number is not None else None
        if growing is None:
            growing = self._new(key, name or key, number)
            if number is not None:
                self._by_number[number] = growing
        self._growing[key] = growing
        return growing

    def _number(self, key: str, name: str | None, *, is_repeated: bool) -> int | None:
        """Return the hub's number of a school of the file.

        Digits of a OneRoster key are another program's numbers: only a name or a person's word
        tells which school they mean.
        """
        said = self._numbers.get(key, self._numbers.get(tidy(name or key)))
        if said is not None:
            return said
        if name is None and key.isascii() and key.isdigit():
            return int(key) if int(key) in self._keys.schools else None
        return None if is_repeated else self._by_name.get(_folded(name or key))

    def _new(self, key: str, name: str, number: int | None) -> "_Growing":
        school = None if number is None else self._keys.schools.get(number)
        if school is None:
            part = SchoolPart(key, None, name, refusal=unknown_school())
            return _Growing(part, None)
        box, refusal = self._box(school)
        part = SchoolPart(key, school.number, school.name, refusal=refusal)
        if box is None:
            return _Growing(part, None)
        part.box = box.box
        address = (self._keys.district, school.number, box.box)
        sealer = RosterSealer(box.sealing, address, self._made_ms, self._random_bytes)
        return _Growing(part, sealer)

    def _box(self, school: School) -> tuple[BoxKey | None, Sentence | None]:
        chosen = self._chosen.get(school.number)
        boxes = [each for each in school.boxes if chosen in {None, each.box}]
        if chosen is not None and not boxes:
            raise HubSetupError(
                f"school {school.number} has no box {chosen}; see: schoolnode-hub boxes"
            )
        if len(boxes) == 1:
            return boxes[0], None
        return None, several_boxes(boxes) if boxes else no_box()


class _Growing:
    """A part while lines are read. Codes and cards are kept as hashes with their lines, 24 B."""

    def __init__(self, part: SchoolPart, sealer: RosterSealer | None) -> None:
        self._part = part
        self._sealer = sealer
        self._classes: set[str] = set()
        self._codes = _Seen(Fault.CODE_TWICE)
        self._cards = _Seen(Fault.CARD_TWICE)
        self._file = ""

    def take(self, line: Line) -> None:
        self._file = line.file
        if line.person is None:
            self._part.problems.add(line.problem())
            return
        self._count(line.person, line.number)
        people = self._part.pupils + self._part.staff
        if people == PEOPLE_MAX + 1:
            self._part.problems.add(
                Problem(line.file, line.number, Fault.TOO_MANY, str(PEOPLE_MAX))
            )
        elif people <= PEOPLE_MAX and self._sealer is not None and not self._part.problems.count:
            self._sealer.add(line.person)

    def _count(self, person: Person, number: int) -> None:
        if isinstance(person, Pupil):
            self._part.pupils += 1
            self._classes.add(person.class_group)
            self._codes.add(person.code, number)
            self._cards.add(person.card, number)
        else:
            self._part.staff += 1
            self._codes.add(person.code, number)

    def finish(self) -> SchoolPart:
        part = self._part
        part.classes = len(self._classes)
        for problem in (*self._codes.problems(self._file), *self._cards.problems(self._file)):
            part.problems.add(problem)
        if self._sealer is not None and part.refusal is None and not part.problems.count:
            part.sealed = self._sealer.finish()
        return part


class _Seen:
    def __init__(self, fault: Fault) -> None:
        self._fault = fault
        self._hashes = array("q")
        self._lines = array("L")

    def add(self, text: str, line: int) -> None:
        if text:
            self._hashes.append(hash(text))
            self._lines.append(line)

    def problems(self, file: str) -> list[Problem]:
        first: dict[int, int] = {}
        found = []
        for each, line in zip(self._hashes, self._lines, strict=True):
            if first.setdefault(each, line) != line:
                found.append(Problem(file, line, self._fault, str(first[each])))
        return found


def _names(keys: SchoolKeys) -> dict[str, int]:
    """Return schools by name; a name that two schools share tells neither."""
    found: dict[str, int] = {}
    shared: set[str] = set()
    for school in keys.schools.values():
        for name in {_folded(school.name), _folded(school.name_en)} - {""}:
            if found.setdefault(name, school.number) != school.number:
                shared.add(name)
    return {name: number for name, number in found.items() if name not in shared}


def _repeated(schools: Mapping[str, str]) -> set[str]:
    """Return the keys of schools that share a name with another of the file."""
    by_name: dict[str, list[str]] = {}
    for key, name in schools.items():
        by_name.setdefault(_folded(name), []).append(key)
    return {key for keys in by_name.values() if len(keys) > 1 for key in keys}


def _folded(name: str) -> str:
    return tidy(name).casefold()
