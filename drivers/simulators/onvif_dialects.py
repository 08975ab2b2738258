"""How simulated cameras write the same answer: prefixes, order, vendors' extensions, empty lists.

Whatever is chosen is valid by ONVIF's schemas; only an answer's form changes, and in empty lists
what the schemas let a camera leave out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from drivers.codecs.guarded_xml import Element, escape, parse_strictly
from drivers.simulators.onvif_replies import (
    DECLARATION,
    NAMESPACES,
    SERVICES,
    SOAP,
)

VENDOR = "urn:schoolnode:another-maker"
ANSWER_BYTES_MAX = 256 * 1024
_XML = "{http://www.w3.org/XML/1998/namespace}"
_TT = f"{{{NAMESPACES['tt']}}}"
_TDS = f"{{{SERVICES['device']}}}"
_TRT = f"{{{SERVICES['media']}}}"
_TR2 = f"{{{SERVICES['media2']}}}"
_TIMG = f"{{{SERVICES['imaging']}}}"
_TPTZ = f"{{{SERVICES['ptz']}}}"
_VENDORS = f"{{{VENDOR}}}"
_WITHIN_EXTENSION = frozenset(
    {
        f"{_TRT}Profiles",
        f"{_TRT}Profile",
        f"{_TDS}Capabilities",
        f"{_TDS}NetworkInterfaces",
        f"{_TDS}SystemDateAndTime",
        f"{_TIMG}ImagingSettings",
        f"{_TT}Message",
    }
)
"""Types whose last child is an Extension, and in it what a maker wants."""
_AT_THE_END = frozenset(
    {
        f"{_TDS}Service",
        f"{_TRT}MediaUri",
        f"{_TT}VideoEncoderConfiguration",
        f"{_TRT}Configuration",
        f"{_TR2}VideoEncoder",
        f"{_TR2}Options",
        f"{_TT}Multicast",
    }
)
"""Types that end with whatever a maker wants."""
_WITH_ATTRIBUTES = frozenset({f"{_TPTZ}Preset", f"{_TR2}Profiles", f"{_TRT}Profiles"})
LISTS = {
    "GetPresets": "Preset",
    "GetProfiles": "Profiles",
    "GetVideoEncoderConfigurations": "Configurations",
    "GetVideoSources": "VideoSources",
    "PullMessages": "NotificationMessage",
}
"""Operations whose list may tell nothing, with what it is made of."""
_IN_TIME = "NotificationMessage"  # turned round, they would tell another story


class Prefixes(StrEnum):
    USUAL = "usual"  # tds:, trt:, tt: as in ONVIF's documents
    NUMBERED = "numbered"  # ns0:, ns1:, as libraries make them
    NONE = "none"  # each element declares its namespace as the default


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """``empty`` are those of ``LISTS`` that tell nothing."""

    prefixes: Prefixes = Prefixes.USUAL
    is_reversed: bool = False
    has_extensions: bool = False
    empty: frozenset[str] = frozenset()

    def write(self, envelope: str) -> str:
        """Return an answer of :mod:`onvif_replies` as this dialect has it."""
        if self == PLAIN:
            return envelope
        root = parse_strictly(envelope.encode(), size_max=ANSWER_BYTES_MAX)
        for element in list(root.walk()):
            self._change(element)
        spaces = sorted({element.namespace for element in root.walk()} - {""})
        numbered = {space: f"ns{number}" for number, space in enumerate(spaces)}
        match self.prefixes:
            case Prefixes.USUAL:
                prefixes = {space: prefix for prefix, space in NAMESPACES.items()}
            case Prefixes.NUMBERED:
                prefixes = numbered
            case Prefixes.NONE:
                prefixes = {}
        # Words such as a topic's keep the usual prefixes, which therefore stay declared.
        declared = NAMESPACES | {prefix: space for space, prefix in prefixes.items()}
        return DECLARATION + _written(root, prefixes, declared, inherited=None)

    def _change(self, element: Element) -> None:
        operation = element.local.removesuffix("Response")
        if operation in self.empty:
            left_out = LISTS[operation]
            element.children = [each for each in element.children if each.local != left_out]
        if self.is_reversed:
            element.children = _turned(element.children)
        if self.has_extensions:
            _extend(element)


PLAIN = Dialect()


def _turned(children: list[Element]) -> list[Element]:
    """Return children with each list the other way round; a list is one name again and again."""
    turned: list[Element] = []
    for name, run in groupby(children, lambda child: child.local):
        listed = list(run)
        turned += listed if name == _IN_TIME else listed[::-1]
    return turned


def _extend(element: Element) -> None:
    vendors = Element(
        name=f"{_VENDORS}Mark",
        attributes={"kind": "extension"},
        children=[Element(name=f"{_VENDORS}Depth", attributes={}, text="2")],
    )
    if element.name in _WITHIN_EXTENSION:
        extension = Element(name=f"{_TT}Extension", attributes={}, children=[vendors])
        if element.name == f"{_TDS}NetworkInterfaces":
            # The schema demands it of whoever extends this type; 6 is Ethernet (IANA).
            kind = Element(name=f"{_TT}InterfaceType", attributes={}, text="6")
            extension.children.append(kind)
        element.children.append(extension)
    elif element.name in _AT_THE_END:
        element.children.append(vendors)
    if element.name in _WITH_ATTRIBUTES:
        element.attributes[f"{_VENDORS}mark"] = "yes"
    if element.name == f"{{{SOAP}}}Envelope":
        header = Element(name=f"{{{SOAP}}}Header", attributes={}, children=[vendors])
        element.children.insert(0, header)


def _written(
    element: Element,
    prefixes: Mapping[str, str],
    declared: Mapping[str, str],
    *,
    inherited: str | None,
) -> str:
    """Return an element's text; ``declared`` is what it declares, ``inherited`` the default."""
    declarations = "".join(f' xmlns:{prefix}="{space}"' for prefix, space in declared.items())
    space = element.namespace
    prefix = prefixes.get(space)
    name = element.local if prefix is None else f"{prefix}:{element.local}"
    if prefix is None and space != (inherited or ""):
        declarations += f' xmlns="{space}"'
        inherited = space
    attributes = ""
    for number, (full, value) in enumerate(element.attributes.items()):
        if full.startswith(_XML):
            attributes += f' xml:{full.removeprefix(_XML)}="{escape(value)}"'
        elif full.startswith("{"):
            space, _, local = full.removeprefix("{").partition("}")
            attributes += f' xmlns:a{number}="{space}" a{number}:{local}="{escape(value)}"'
        else:
            attributes += f' {full}="{escape(value)}"'
    inside = escape(element.text.strip()) + "".join(
        _written(child, prefixes, {}, inherited=inherited) for child in element.children
    )
    return f"<{name}{declarations}{attributes}>{inside}</{name}>"
