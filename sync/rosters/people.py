"""Who stands in a roster, and what is wrong with a line of it."""

import unicodedata
from dataclasses import dataclass
from enum import StrEnum

import msgspec

TEXT_CHARACTERS_MAX = 80
"""Of a name, a class, a card, a code or a role."""
_ROUNDED = "E+"
"""What a spreadsheet makes of a long number: 1.23457E+11."""
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of characters that steer a terminal, or turn the order of a line around."""
_FORMULA = frozenset("=+-@")
"""What a cell begins with that a spreadsheet computes instead of showing."""


class Pupil(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """A pupil.

    ``code`` is the roster keeper's own name of them, by which a later roster finds them again;
    without one it is the card.
    """

    name: str
    card: str
    class_group: str
    code: str = ""


class StaffMember(msgspec.Struct, array_like=True, forbid_unknown_fields=True, frozen=True):
    """Someone who works there; readable by the district, unlike pupils."""

    code: str
    name: str
    role: str


Person = Pupil | StaffMember


class Fault(StrEnum):
    """What is wrong with one line; the sentence is made where it is shown."""

    NO_NAME = "no_name"
    NO_CLASS = "no_class"
    NO_KEY = "no_key"  # neither a code nor a card
    TOO_LONG = "too_long"
    STEERING = "steering"  # control characters
    FORMULA = "formula"
    ROUNDED = "rounded"
    FIELDS = "fields"  # more or fewer than the first line names
    CODE_TWICE = "code_twice"
    CARD_TWICE = "card_twice"
    NO_SCHOOL = "no_school"
    SEVERAL_SCHOOLS = "several_schools"
    SEVERAL_CLASSES = "several_classes"
    NO_ROLE = "no_role"
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class Problem:
    """A line that cannot be taken. ``detail`` holds no person's data: a column, or a line."""

    file: str
    line: int
    fault: Fault
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    """What one line says; ``school`` is the file's own name of a school, empty if it names none."""

    file: str
    number: int
    school: str
    person: Person | None = None
    fault: Fault | None = None
    detail: str = ""

    def problem(self) -> Problem:
        assert self.fault is not None
        return Problem(self.file, self.number, self.fault, self.detail)


def tidy(text: str) -> str:
    """Return a cell as it is kept: compatibility forms (full width) made plain, trimmed."""
    if text.isascii():
        return text.strip()
    return unicodedata.normalize("NFKC", text).strip()


def fault_in(text: str) -> Fault | None:
    """Return what is wrong with a tidied cell."""
    if len(text) > TEXT_CHARACTERS_MAX:
        return Fault.TOO_LONG
    if not text.isprintable() and any(unicodedata.category(each) in _STEERING for each in text):
        return Fault.STEERING
    if text[:1] in _FORMULA:
        return Fault.FORMULA
    return None


def new_pupil(name: str, card: str, class_group: str, code: str) -> Pupil | tuple[Fault, str]:
    """Return a pupil of tidied cells, or what is wrong and in which column."""
    if not name:
        return Fault.NO_NAME, ""
    if not class_group:
        return Fault.NO_CLASS, ""
    if not (card or code):
        return Fault.NO_KEY, ""
    cells = {"name": name, "card": card, "class_group": class_group, "code": code}
    for column, cell in cells.items():
        fault = fault_in(cell)
        if fault is not None:
            return fault, column
    for column in ("card", "code"):
        if _ROUNDED in cells[column].upper() and "." in cells[column]:
            return Fault.ROUNDED, column
    return Pupil(name, card.upper(), class_group, code)


def new_staff(code: str, name: str, role: str) -> StaffMember | tuple[Fault, str]:
    """Return a member of staff of tidied cells, or what is wrong and in which column."""
    if not name:
        return Fault.NO_NAME, ""
    if not code:
        return Fault.NO_KEY, ""
    if not role:
        return Fault.NO_ROLE, ""
    for column, cell in {"code": code, "name": name, "role": role}.items():
        fault = fault_in(cell)
        if fault is not None:
            return fault, column
    return StaffMember(code, name, role)
