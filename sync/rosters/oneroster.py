"""A roster as OneRoster CSV files, versions 1.1 and 1.2 (1EdTech OneRoster CSV binding).

Read are ``orgs``, ``classes``, ``enrollments``, ``users`` and, of 1.2, ``roles``; of users what a
name, a class and a card need and no more. A pupil's class is the one of type ``homeroom`` they
are enrolled in, or the only one. ``identifier`` is their code, ``sourcedId`` where there is none.
The standard has no cards: they stand in a column ``metadata.card`` or in ``userIds`` as
``{card:…}``. Users are streamed; enrolments and roles are kept in memory, two references a user.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from sync.errors import RosterError
from sync.rosters.files import RosterFiles
from sync.rosters.people import Fault, Line, Person, new_pupil, new_staff, tidy

PLACES_MAX = 4_000_000
"""Users, classes and schools kept in mind; more are refused."""
_Value = TypeVar("_Value")
_GONE = "tobedeleted"
_PUPIL = "student"
_FAMILY = frozenset({"parent", "guardian", "relative"})
_CARD = re.compile(r"\{card:([^{}]{1,80})\}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Class:
    title: str
    school: str
    is_homeroom: bool


_SEVERAL = _Class("", "", is_homeroom=False)
_SEVERAL_HOMEROOMS = _Class("", "", is_homeroom=True)
"""In place of the class of a pupil who has several, of which none is the one."""


@dataclass(slots=True)
class _Known:
    """What the small files say; keys are sourcedIds."""

    schools: dict[str, str] = field(default_factory=dict)
    classes: dict[str, _Class] = field(default_factory=dict)
    class_of: dict[str, _Class] = field(default_factory=dict)  # by user
    role_of: dict[str, tuple[str, str]] = field(default_factory=dict)  # by user: (role, school)


def is_oneroster(files: RosterFiles) -> bool:
    return "users.csv" in files.tables


def read_schools(files: RosterFiles) -> dict[str, str]:
    """Return the names of the schools by sourcedId; raises RosterError."""
    schools: dict[str, str] = {}
    needed = ("sourcedid", "name", "type")
    for identity, name, kind, status in _cells(files, "orgs.csv", needed, ("status",)):
        if status.lower() != _GONE and kind.lower() == "school" and identity:
            _keep(schools, identity, name)
    return schools


def read_oneroster(files: RosterFiles) -> Iterator[Line]:
    """Yield a line for each user who is a pupil or works there.

    Raises RosterError for what is no such set of files, and for one of changes only.
    """
    _check_manifest(files)
    known = _Known(schools=read_schools(files))
    _read_classes(files, known)
    _read_enrolments(files, known)
    if "roles.csv" in files.tables:
        _read_roles(files, known)
    yield from _read_users(files, known)


def _read_classes(files: RosterFiles, known: _Known) -> None:
    needed = ("sourcedid", "title", "schoolsourcedid")
    for identity, title, school, kind, status in _cells(
        files, "classes.csv", needed, ("classtype", "status")
    ):
        if status.lower() != _GONE and identity:
            found = _Class(title, school, is_homeroom=kind.lower() == "homeroom")
            _keep(known.classes, identity, found)


def _read_enrolments(files: RosterFiles, known: _Known) -> None:
    needed = ("classsourcedid", "usersourcedid", "role")
    for classed, user, role, status in _cells(files, "enrollments.csv", needed, ("status",)):
        entered = known.classes.get(classed)
        if entered is None or status.lower() == _GONE or role.lower() != _PUPIL:
            continue
        before = known.class_of.get(user, entered)
        if entered.is_homeroom == before.is_homeroom and entered != before:
            entered = _SEVERAL_HOMEROOMS if entered.is_homeroom else _SEVERAL
        elif before.is_homeroom:
            entered = before
        _keep(known.class_of, user, entered)


def _read_roles(files: RosterFiles, known: _Known) -> None:
    """Keep each user's primary role, or the first."""
    needed = ("usersourcedid", "role", "orgsourcedid")
    shared: dict[tuple[str, str], tuple[str, str]] = {}  # one tuple for all who are alike
    for user, role, school, kind, status in _cells(
        files, "roles.csv", needed, ("roletype", "status")
    ):
        if status.lower() == _GONE or school not in known.schools:
            continue
        if kind.lower() == "primary" or user not in known.role_of:
            told = (role.lower(), school)
            _keep(known.role_of, user, shared.setdefault(told, told))


def _read_users(files: RosterFiles, known: _Known) -> Iterator[Line]:
    table = files.tables["users.csv"]
    needed = ("sourcedid", "givenname", "familyname")
    table.need(needed)
    optional = ("status", "identifier", "userids", "metadata.card", "role", "orgsourcedids")
    for number, cells in table.lines((*needed, *optional)):
        if cells is None:
            yield Line(table.name, number, "", fault=Fault.FIELDS)
            continue
        user, given, family, status, identifier, ids, card, role, orgs = map(tidy, cells)
        if status.lower() == _GONE:
            continue
        told = known.role_of.get(user)
        role = role.lower() if told is None else told[0]
        if role in _FAMILY or not role:
            continue
        named = [told[1]] if told else [each.strip() for each in orgs.split(",")]
        schools = [each for each in named if each in known.schools]
        name, code = _full_name(given, family), identifier or user
        found: Person | tuple[Fault, str]
        if role == _PUPIL:
            entered = known.class_of.get(user)
            if entered in (_SEVERAL, _SEVERAL_HOMEROOMS):
                found = (Fault.SEVERAL_CLASSES, "")
            else:
                found = new_pupil(name, card or _card(ids), entered.title if entered else "", code)
            if entered is not None and entered.school in known.schools:
                schools = [entered.school]
        else:
            found = new_staff(code, name, role)
        if not schools or len(schools) > 1:
            fault = Fault.SEVERAL_SCHOOLS if schools else Fault.NO_SCHOOL
            yield Line(table.name, number, "", fault=fault)
        elif isinstance(found, tuple):
            yield Line(table.name, number, schools[0], fault=found[0], detail=found[1])
        else:
            yield Line(table.name, number, schools[0], found)


def _check_manifest(files: RosterFiles) -> None:
    """Refuse a set that holds only what changed: who is missing in it did not leave."""
    if "manifest.csv" not in files.tables:
        return
    columns = ("propertyname", "value")
    for name, value in _cells(files, "manifest.csv", columns, ()):
        if name.lower().startswith("file.") and value.lower() == "delta":
            raise RosterError(f"{files.name}: it holds changes only; export all of it (bulk)")


def _cells(
    files: RosterFiles, name: str, needed: Sequence[str], optional: Sequence[str]
) -> Iterator[list[str]]:
    table = files.tables.get(name)
    if table is None:
        raise RosterError(f"{files.name}: it has no {name}; export it again with all files")
    table.need(needed)
    for number, cells in table.lines((*needed, *optional)):
        if cells is None:
            raise RosterError(
                f"{name} line {number}: more or fewer cells than the first line; correct it"
            )
        yield [tidy(each) for each in cells]


def _keep(known: dict[str, _Value], key: str, value: _Value) -> None:
    known[key] = value
    if len(known) > PLACES_MAX:
        raise RosterError(f"more than {PLACES_MAX} entries; export fewer schools at once")


def _full_name(given: str, family: str) -> str:
    """Return family and given name as they are written: together, unless both are Latin."""
    if given.isascii() and family.isascii():
        return f"{given} {family}".strip()
    return family + given


def _card(ids: str) -> str:
    found = _CARD.search(ids)
    return found[1].strip() if found else ""
