"""The sentences a person may read that the program makes outside gettext, as patterns.

Errors, reasons and details are made in English where the fact is known, stored and sent like that,
and retold in the reader's language where they are shown (``provisioning/retelling.py``). A pattern
is such a string as the source says it, with ``{0}``, ``{1}`` … for what an f-string fills in. Each
package keeps the Chinese of its patterns in ``locale/zh_CN/LC_MESSAGES/sentences.po``.

``python -m tests.sentences`` brings the catalogues to what the source says: new patterns come in
with nothing in Chinese yet, those that nobody says any more go.
"""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Final

from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po, write_po

from provisioning.retelling import PACKAGES
from tests.words_of_others import OTHERS

ROOT: Final = Path(__file__).parent.parent

FOR_SOMEBODY: Final = (  # what ``profile simulate`` says
    "drivers/simulators/profile_",
    "drivers/simulators/onvif_persona",
)
FOR_NOBODY: Final = (
    "drivers/simulators/",  # devices of the tests and the demo
    "edge/metrics.py",  # Prometheus' HELP texts
    "hub/metrics.py",
    "sync/exposition.py",
    "sync/schema/",  # tables in SQL's words
    "edge/pages/headers.py",  # of HTTP
    "edge/pages/words.py",  # words in both languages
    "edge/demo/evidence.py",  # reads what was left behind
    "edge/demo/lesson_viewer.py",  # classrooms without a screen
    "edge/demo/person.py",  # types and clicks; what it meets is others' words
    "provisioning/caller_log.py",  # lines of the log
    "provisioning/door.py",
)
"""Modules whose words no person of a school reads."""

_TRANSLATED = {"_", "gettext", "ngettext", "say", "_say", "Sentence"}
_FOR_MACHINES = {"execute", "executemany", "executescript", "compile", "search", "encode"}
_FOR_OPERATORS = {
    "ArgumentParser",
    "add_argument",
    "Family",
    "one",
    "labelled",
    "NameAttribute",
    "hold_folder",
    "_note_unsearched",
    "keep_running",
}
_FOR_THE_AUDIT = {"_audit", "_enter", "_note", "audit"}
# What is raised by these speaks of our own mistakes, never to a person.
_FOR_PROGRAMMERS = {
    "AssertionError",
    "KeyError",
    "OverflowError",
    "TypeError",
}
_UNHEARD = _TRANSLATED | _FOR_MACHINES | _FOR_OPERATORS | _FOR_THE_AUDIT | _FOR_PROGRAMMERS
_SAID = {"reason", "detail", "text", "step"}  # arguments and fields that are sentences
_LOG_LEVELS = {"debug", "info", "warning", "error", "exception", "critical", "log"}
_TASK_NAMES = {"works"}  # functions that name a daemon's tasks, for its log

_LETTERS = re.compile(r"[A-Za-z]{2,}")
_WORDS = re.compile(
    r"[A-Za-z]{2,}['a-z]*[,;:)”]* +[(“{]?[A-Za-z{]|\{\d+\}[;:,]* +[a-z]{2,}|^[;,] [a-z]"
)
_MACHINE = re.compile(
    r"[<>\r\t\\\x00]|urn:|charset|max-age|filename=|'self'|-Language|\b(?:SELECT|INSERT|UPDATE|DELETE"
    r"|CREATE|ALTER|PRAGMA|WHERE|FROM|AND|NULL|KEY|BLOB|BETWEEN|coalesce)\b"
)
NO_SENTENCES: Final = frozenset(
    {
        # orders, events and sources, as rows name them; pages have words for what they show
        "onvif {0}",
        "pjlink {0}",
        "preset {0}",
        "set preset {0}",
        "remove preset {0}",
        "move {0}",
        "move {0} {1} {2}",
        "farm {0} {1}",
        " for {0} min",
        "command {0}: {1}",
        "input {0}",
        "clock set",
        "courier from {0}",
        "readings thinned",
        "{0} readings left out from {1} to {2} (Unix ms)",
        "{0}: the hub was far behind",
        "live view of {0}",
        "publish {0}",
        "bus {0}",
        # for the audit
        "switch rule on",
        "switch rule off",
        "back to the rules",
        "confirm labour",
        "refuse labour",
        "release {0}",
        "escrow {0}",
        "rotate {0} {1}",
        "all audiences",
        "all groups",
        "all epochs",
        "epochs {0}",
        " in part",
        "import roster",
        "{0} added, {1} renamed, {2} cards, {3} classes, {4} staff",
        "erased before this box was set back",
        # ways of discovery: pages.words has a word for each
        "serial listen",
        "modbus read",
        "panel answer",
        "pjlink search",
        "pjlink greeting",
        "called the box",
        # protocols and SQL
        "bytes {0}-{1}/{2}",
        "attachment; filename*=UTF-8''{0}",
        "SET OPTION DateTime={0}",
        "Content-Length: {0}",
        'const VERSION = "{0}";\n{1}',
        "place, {0}",
        "(origin = ?3 OR ({0}))",
        "key_id, audience, key_group, epoch, begun_ms, ended_ms, sealed_bytes",
        (
            "id, origin, incarnation, audience, lane, last_row, sealed_row, unsealed_since_ms,"
            " stored, applied, head, last_stamp, stored_ms, frozen"
        ),
        # frames around what is a sentence already, and what is typed as it stands
        "schoolnode: {0}\n",
        "schoolnode-hub: {0}\n",
        "  --profile {0}",
        "  schoolnode claim '{0}'",
        # a step of an incident, as a form posts it
        "assembled",
        # names inside certificates
        "box {0} of school {1}",
        "pages of school {0}",
        "boxes authority",
        "servers authority",
    }
)
"""What reads like words and is none for a person of a school."""

_Text = ast.Constant | ast.JoinedStr


class _Ear(Enum):
    """How closely a string is listened to."""

    WORDS = auto()  # a sentence if it reads like one
    ERROR = auto()  # an error's own: any sentence, however short
    PART = auto()  # what fills a place of one: any word


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A string of the source with numbered places, and the module that says it."""

    text: str
    place: str


def find_patterns(package: str) -> Iterator[Pattern]:
    """Yield what the modules of ``package`` say, in the order of the source."""
    for path in sorted((ROOT / package).rglob("*.py")):
        module = path.relative_to(ROOT).as_posix()
        if module.startswith(FOR_SOMEBODY) or not module.startswith(FOR_NOBODY):
            for pattern in _heard(ast.parse(path.read_text("utf-8")), module, _Ear.WORDS):
                if pattern.text not in NO_SENTENCES:
                    yield pattern
    for text, module in OTHERS.get(package, tuple)():
        yield Pattern(text=text, place=module)


def catalogue_path(package: str) -> Path:
    return ROOT / package / "locale" / "zh_CN" / "LC_MESSAGES" / "sentences.po"


def read_catalogue(package: str) -> Catalog:
    with catalogue_path(package).open("rb") as stream:
        return read_po(stream, locale="zh_CN", abort_invalid=True)


def _heard(node: ast.AST, module: str, ear: _Ear) -> Iterator[Pattern]:
    match node:
        case ast.Assert() | ast.Expr(value=ast.Constant()):
            return
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) if name in _TASK_NAMES:
            return
        case ast.Call():
            yield from _heard_in_call(node, module)
        case ast.Assign(targets=[ast.Attribute(attr=name)], value=value) if name in _SAID:
            yield from _heard(value, module, _Ear.PART)
        case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant() as value) if (
            name in _SAID
        ):
            yield from _heard(value, module, _Ear.PART)
        case ast.Constant(value=str()) | ast.JoinedStr():
            yield from _heard_in_text(node, module, ear)
        case ast.IfExp() | ast.BinOp(op=ast.Add()) | ast.BoolOp():
            for child in ast.iter_child_nodes(node):
                yield from _heard(child, module, ear)
        case _:
            for child in ast.iter_child_nodes(node):
                yield from _heard(child, module, _Ear.WORDS)


def _heard_in_call(call: ast.Call, module: str) -> Iterator[Pattern]:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else ast.unparse(function)
    if name in _UNHEARD or ast.unparse(function) == "tell":  # the command line's
        return
    if name in _LOG_LEVELS and "log" in ast.unparse(function).lower():
        return
    is_error = name.endswith(("Error", "_error")) or name.startswith("HTTP")
    ear = _Ear.ERROR if is_error else _Ear.WORDS
    yield from _heard(function, module, _Ear.WORDS)
    for argument in call.args:
        yield from _heard(argument, module, ear)
    for keyword in call.keywords:
        is_said = keyword.arg in _SAID
        yield from _heard(keyword.value, module, _Ear.PART if is_said else _Ear.WORDS)


def _heard_in_text(text: _Text, module: str, ear: _Ear) -> Iterator[Pattern]:
    pattern, places = "", 0
    for part in text.values if isinstance(text, ast.JoinedStr) else [text]:
        if isinstance(part, ast.Constant):
            pattern += str(part.value)
        elif isinstance(part, ast.FormattedValue):
            pattern += f"{{{places}}}"
            places += 1
    letters = re.sub(r"\{\d+\}", " ", pattern)
    is_heard = {
        _Ear.WORDS: _WORDS.search(pattern) and not _MACHINE.search(pattern),
        _Ear.ERROR: " " in pattern and _LETTERS.search(letters),
        _Ear.PART: _LETTERS.search(letters),
    }[ear]
    if is_heard and letters.upper() != letters:
        yield Pattern(text=pattern, place=module)
    if isinstance(text, ast.JoinedStr):
        for part in text.values:
            if isinstance(part, ast.FormattedValue):
                yield from _heard(part.value, module, _Ear.PART)


_HEADER = """\
# What {package} says, in Chinese. Brought in step with the source by: python -m tests.sentences
msgid ""
msgstr ""
"Project-Id-Version: SchoolNode 1\\n"
"Language: zh_CN\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def refresh(package: str) -> None:
    """Write ``package``'s catalogue anew: what is told is kept, what is new stands empty."""
    path = catalogue_path(package)
    known = {}
    if path.exists():
        known = {message.id: message.string for message in read_catalogue(package) if message.id}
    places: dict[str, list[str]] = {}
    for pattern in find_patterns(package):
        told_by = places.setdefault(pattern.text, [])
        if pattern.place not in told_by:
            told_by.append(pattern.place)
    catalogue = Catalog(locale="zh_CN", fuzzy=False)
    for text, modules in places.items():
        names = [module.removesuffix(".py").replace("/", ".") for module in modules]
        catalogue.add(text, known.get(text, ""), [(name, 0) for name in names])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        stream.write(_HEADER.format(package=package).encode())
        write_po(stream, catalogue, width=100, include_lineno=False, omit_header=True)


if __name__ == "__main__":
    for each in PACKAGES:
        refresh(each)
