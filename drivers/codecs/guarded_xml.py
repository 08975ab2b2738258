"""XML from devices: a bounded tree, with everything refused that makes XML dangerous.

Expat parses; this module refuses document types (and with them entities and external references),
processing instructions, and anything above the limits below. Only UTF-8 text reaches expat, so a
declared encoding cannot choose a codec. Sources: XML 1.0 §2.8 and §4; OWASP XXE prevention.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn
from xml.parsers import expat
from xml.sax.saxutils import escape as escape_text

from drivers.errors import ProtocolError

DEPTH_MAX = 32
ELEMENTS_MAX = 8_192
ATTRIBUTES_MAX = 64
TEXT_CHARS_MAX = 256 * 1024
_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")


class ForbiddenXmlError(ProtocolError):
    """The document uses what no device needs and attackers do: not read in any mode."""


@dataclass(slots=True, kw_only=True)
class Element:
    """One element; ``name`` is ``{namespace}local``, or as written when read leniently."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list["Element"] = field(default_factory=list)

    @property
    def local(self) -> str:
        return self.name.rpartition("}")[2].rpartition(":")[2]

    @property
    def namespace(self) -> str:
        return self.name.rpartition("}")[0].removeprefix("{")

    def walk(self) -> Iterator["Element"]:
        """Yield this element and all below it, in document order."""
        pending = [self]
        while pending:
            element = pending.pop()
            yield element
            pending.extend(reversed(element.children))

    def find(self, name: str) -> "Element | None":
        """Return the first direct child of that full name."""
        return next((child for child in self.children if child.name == name), None)

    def first(self, local: str) -> "Element | None":
        """Return the first element below of that local name, whatever its namespace."""
        return next((element for element in self.walk() if element.local == local), None)

    def first_text(self, local: str) -> str:
        """Return the trimmed text of the first element of that local name, or an empty string."""
        element = self.first(local)
        return element.text.strip() if element is not None else ""


class _TreeBuilder:
    """Expat's handlers: they build the tree and keep the limits."""

    def __init__(self) -> None:
        self.root: Element | None = None
        self._open: list[Element] = []
        self._elements = 0
        self._text_chars = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements > ELEMENTS_MAX or len(attributes) > ATTRIBUTES_MAX:
            raise ForbiddenXmlError(
                f"XML: more than {ELEMENTS_MAX} elements or {ATTRIBUTES_MAX} attributes; refused"
            )
        if len(self._open) >= DEPTH_MAX:
            raise ForbiddenXmlError(f"XML: nested deeper than {DEPTH_MAX}; refused")
        element = Element(
            name=_braced(name),
            attributes={_braced(key): value for key, value in attributes.items()},
        )
        if self._open:
            self._open[-1].children.append(element)
        else:
            self.root = element
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, text: str) -> None:
        self._text_chars += len(text)
        if self._text_chars > TEXT_CHARS_MAX:
            raise ForbiddenXmlError(f"XML: more than {TEXT_CHARS_MAX} characters of text; refused")
        if self._open:
            self._open[-1].text += text


def _braced(name: str) -> str:
    namespace, separator, local = name.rpartition(" ")
    return f"{{{namespace}}}{local}" if separator else name


def _refuse(*_parts: object) -> NoReturn:
    raise ForbiddenXmlError("XML: a document type or processing instruction; refused")


def _parse(text: str, *, namespaces: bool) -> Element:
    builder = _TreeBuilder()
    parser = expat.ParserCreate("utf-8", namespace_separator=" " if namespaces else None)
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    # Entities and external references can only be declared within a document type.
    parser.StartDoctypeDeclHandler = _refuse
    parser.ProcessingInstructionHandler = _refuse
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        raise ProtocolError(f"XML: {error}; not well-formed") from error
    if builder.root is None:
        raise ProtocolError("XML: no element; not well-formed")
    return builder.root


def parse_strictly(document: bytes, *, size_max: int) -> Element:
    """Return the root of a well-formed UTF-8 document with declared namespaces.

    Raises ProtocolError; ForbiddenXmlError when the document must not be read at all.
    """
    return _parse(_strict_text(document, size_max), namespaces=True)


def parse_leniently(document: bytes, *, size_max: int) -> Element:
    """Return the root of a document as sloppy devices send it, under the same limits.

    Forgives: NULs and text around the envelope, GB18030 text, bare ampersands, undeclared
    prefixes (names then stay as written). Raises as ``parse_strictly``.
    """
    return _parse(_lenient_text(document, size_max), namespaces=False)


def sanitise(document: bytes, *, size_max: int) -> bytes:
    """Return a document for another XML parser: the very text checked here, as UTF-8.

    Without its declaration, which could make that parser read other characters than this one
    did. Raises as ``parse_strictly``.
    """
    try:
        text = _strict_text(document, size_max)
        _parse(text, namespaces=True)
    except ForbiddenXmlError:
        raise
    except ProtocolError:
        text = _lenient_text(document, size_max)
        _parse(text, namespaces=False)
    return _DECLARATION.sub("", text, count=1).encode()


def _strict_text(document: bytes, size_max: int) -> str:
    _check_size(document, size_max)
    try:
        return document.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ProtocolError(f"XML: {error.reason} at byte {error.start}; not UTF-8") from error


def _lenient_text(document: bytes, size_max: int) -> str:
    _check_size(document, size_max)
    try:
        text = document.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = document.decode("gb18030", errors="replace")
    start = text.find("<")
    end = text.rfind(">")
    if start < 0 or end < start:
        raise ProtocolError("XML: no element; not well-formed")
    printable = "".join(
        character if character >= " " or character in "\t\r\n" else " "
        for character in text[start : end + 1]
    )
    return _escape_bare_ampersands(printable)


def _check_size(document: bytes, size_max: int) -> None:
    if len(document) > size_max:
        raise ForbiddenXmlError(f"XML: {len(document)} bytes, more than {size_max}; refused")


def _escape_bare_ampersands(text: str) -> str:
    head, *tails = text.split("&")
    parts = [head]
    for tail in tails:
        name, semicolon, _rest = tail.partition(";")
        known = semicolon and (name in {"amp", "lt", "gt", "quot", "apos"} or name.startswith("#"))
        parts.append(("&" if known else "&amp;") + tail)
    return "".join(parts)


def escape(text: str) -> str:
    """Return ``text`` fit for an element's content or a double-quoted attribute."""
    return escape_text(text, {'"': "&quot;"})
