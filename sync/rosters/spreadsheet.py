"""A roster as one table that a person keeps: a line a person, the columns named in the first."""

from collections.abc import Iterator

from sync.errors import RosterError
from sync.rosters.files import Table
from sync.rosters.people import Fault, Line, Person, new_pupil, new_staff, tidy

HEADINGS = {
    "school": ("school", "学校"),
    "name": ("name", "姓名"),
    "class_group": ("class_group", "班级"),
    "card": ("card", "卡号"),
    "code": ("code", "学号"),
    "role": ("role", "身份"),
}
"""Each column's name in English and in Chinese."""
PUPIL_ROLES = frozenset({"", "student", "pupil", "学生"})
NEEDED = (
    "a roster's first line must name the columns name, class_group, and card or code, or both"
    " (姓名、班级、卡号、学号); school and role (学校、身份) may be there too"
)


def columns_of(table: Table) -> dict[str, str]:
    """Return which of the file's columns stands for which; raises RosterError."""
    found: dict[str, str] = {}
    for column, headings in HEADINGS.items():
        present = [each for each in headings if each in table.columns]
        if len(present) > 1:
            raise RosterError(f"{table.name}: {' and '.join(present)} are the same; remove one")
        if present:
            found[column] = present[0]
    if not {"name", "class_group"} <= found.keys() or not {"card", "code"} & found.keys():
        raise RosterError(f"{table.name}: {NEEDED}")
    return found


def left_out(table: Table) -> list[str]:
    """Return the columns that are not read."""
    read = set(columns_of(table).values())
    return [each for each in table.columns if each and each not in read]


def read_spreadsheet(table: Table) -> Iterator[Line]:
    """Yield a line for each person; raises RosterError for what is no such file."""
    found = columns_of(table)
    wanted = [found.get(column, "") for column in HEADINGS]
    for number, cells in table.lines(wanted):
        if cells is None:
            yield Line(table.name, number, "", fault=Fault.FIELDS)
            continue
        school, name, class_group, card, code, role = map(tidy, cells)
        made: Person | tuple[Fault, str]
        if role.lower() in PUPIL_ROLES:
            made = new_pupil(name, card, class_group, code)
        else:
            made = new_staff(code, name, role)
        if isinstance(made, tuple):
            yield Line(table.name, number, school, fault=made[0], detail=made[1])
        else:
            yield Line(table.name, number, school, made)
