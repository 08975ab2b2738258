"""What the roster tool says, in the language of the terminal."""

from collections.abc import Mapping, Sequence
from typing import Final

from hub.locale.sentence import Sentence
from hub.school_keys import BoxKey
from sync.rosters.people import Fault, Problem

FAULTS: Final[Mapping[Fault, Sentence]] = {
    Fault.NO_NAME: Sentence("the name is missing; fill it in"),
    Fault.NO_CLASS: Sentence("the class is missing; fill it in"),
    Fault.NO_KEY: Sentence("neither a code nor a card: one of both must be there"),
    Fault.NO_ROLE: Sentence("the role is missing; fill it in"),
    Fault.TOO_LONG: Sentence("more than 80 characters in one cell; shorten it"),
    Fault.STEERING: Sentence("characters that are not seen stand in a cell; type it again"),
    Fault.FORMULA: Sentence("a cell begins with =, +, - or @, as a formula does; remove that"),
    Fault.ROUNDED: Sentence(
        "the spreadsheet has rounded a long number; format the column as text and fill it again"
    ),
    Fault.FIELDS: Sentence("more or fewer cells than the first line has; correct it"),
    Fault.CODE_TWICE: Sentence("this code stands twice in one school; correct one"),
    Fault.CARD_TWICE: Sentence("this card stands twice in one school; correct one"),
    Fault.NO_SCHOOL: Sentence("no school can be told; name it"),
    Fault.SEVERAL_SCHOOLS: Sentence("several schools and no class that tells which; name one"),
    Fault.SEVERAL_CLASSES: Sentence("several classes and no homeroom that tells which; mark one"),
    Fault.TOO_MANY: Sentence("more people than one school may have; split it"),
}


def problem_sentence(problem: Problem) -> Sentence:
    return Sentence(
        "%(file)s line %(line)s: %(fault)s%(detail)s",
        {
            "file": problem.file,
            "line": str(problem.line),
            "fault": FAULTS[problem.fault],
            "detail": _detail(problem),
        },
    )


def unknown_school() -> Sentence:
    return Sentence(
        "the hub knows no school of this name: invite it, or say which one it is with --map"
    )


def no_box() -> Sentence:
    return Sentence("it has no box that is not revoked: invite it and have its box claimed first")


def several_boxes(boxes: Sequence[BoxKey]) -> Sentence:
    return Sentence(
        "it has several boxes (%(boxes)s): revoke those not in use, or choose with --box",
        {"boxes": ", ".join(each.box for each in boxes[:8])},
    )


def _detail(problem: Problem) -> str | Sentence:
    if not problem.detail:
        return ""
    if problem.fault in {Fault.CODE_TWICE, Fault.CARD_TWICE}:
        return Sentence(" (first in line %(line)s)", {"line": problem.detail})
    return f" ({problem.detail})"
