"""The part of ONVIF's WSDL that is asked for, made from the whole; runs in the worker process only.

zeep keeps an object for every element it reads, and reads onvif.xsd anew for each service: the
whole takes several times the memory and the time.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import onvif
from lxml import etree  # type: ignore[import-untyped]  # has none
from onvif.definition import SERVICES

OPERATIONS: Mapping[str, frozenset[str]] = {
    "devicemgmt": frozenset(
        {
            "GetCapabilities",
            "GetDeviceInformation",
            "GetNetworkInterfaces",
            "GetServices",
            "GetSystemDateAndTime",
        }
    ),
    "media": frozenset(
        {
            "GetProfiles",
            "GetSnapshotUri",
            "GetStreamUri",
            "GetVideoEncoderConfiguration",
            "GetVideoEncoderConfigurationOptions",
            "SetVideoEncoderConfiguration",
        }
    ),
    "media2": frozenset(
        {
            "GetProfiles",
            "GetSnapshotUri",
            "GetStreamUri",
            "GetVideoEncoderConfigurationOptions",
            "GetVideoEncoderConfigurations",
            "SetVideoEncoderConfiguration",
        }
    ),
    "ptz": frozenset(
        {
            "ContinuousMove",
            "GetPresets",
            "GotoHomePosition",
            "GotoPreset",
            "RemovePreset",
            "SetPreset",
            "Stop",
        }
    ),
    "imaging": frozenset({"GetImagingSettings", "GetOptions", "SetImagingSettings"}),
}
"""Everything that is asked of a camera's services, by onvif-zeep's names and ``media2``."""

_WHOLE = Path(onvif.__file__).parent / "wsdl"
_SCHEMA = "onvif.xsd"
_WSDL: Final = "{http://schemas.xmlsoap.org/wsdl/}"
_XSD: Final = "{http://www.w3.org/2001/XMLSchema}"
_REFERENCES = ("type", "ref", "base", "itemType", "memberTypes", "element")

Element = Any
"""lxml's; it has no types."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDefinition:
    namespace: str
    wsdl: Path  # of the whole
    binding: str

    @property
    def qualified_binding(self) -> str:
        return f"{{{self.namespace}}}{self.binding}"


DEFINITIONS: Mapping[str, ServiceDefinition] = {
    name: ServiceDefinition(
        namespace=definition["ns"], wsdl=_WHOLE / definition["wsdl"], binding=definition["binding"]
    )
    for name, definition in SERVICES.items()
} | {
    "media2": ServiceDefinition(
        namespace="http://www.onvif.org/ver20/media/wsdl",
        wsdl=Path(__file__).with_name("media2.wsdl"),
        binding="Media2Binding",
    )
}
"""The library's services, and the one it does not know."""


@dataclass(frozen=True, slots=True)
class LeanWsdl:
    """What :func:`write_lean` wrote to ``folder``.

    ``reading`` is held by who makes a service: cameras that come at once would each read it all.
    """

    folder: Path
    reading: asyncio.Lock = field(default_factory=asyncio.Lock)


def write_lean(folder: Path) -> LeanWsdl:
    """Write each service's WSDL to ``folder/SERVICE`` with what it refers to."""
    for service, operations in OPERATIONS.items():
        place = folder / service
        place.mkdir()
        whole = DEFINITIONS[service].wsdl
        wsdl, schema = _parsed(whole), _parsed(_WHOLE / _SCHEMA)
        _cut_operations(wsdl, operations)
        _cut_schemas([schema, *wsdl.iter(f"{_XSD}schema")], list(_parts(wsdl)))
        (place / whole.name).write_bytes(etree.tostring(wsdl))
        (place / _SCHEMA).write_bytes(etree.tostring(schema))
        for other in _WHOLE.iterdir():
            if other.is_file() and not (place / other.name).exists():
                (place / other.name).symlink_to(other)
    return LeanWsdl(folder)


def _parsed(path: Path) -> Element:
    parser = etree.XMLParser(remove_comments=True, resolve_entities=False, no_network=True)
    return etree.parse(str(path), parser).getroot()


def _cut_operations(wsdl: Element, operations: frozenset[str]) -> None:
    """Leave out other operations, and the messages that only they have."""
    for place in ("portType", "binding"):
        for operation in wsdl.findall(f"{_WSDL}{place}/{_WSDL}operation"):
            if operation.get("name") not in operations:
                operation.getparent().remove(operation)
    wanted = {
        name
        for way in wsdl.iterfind(f"{_WSDL}portType/{_WSDL}operation/*[@message]")
        for name in _local(way.get("message"))
    }
    for message in wsdl.findall(f"{_WSDL}message"):
        if message.get("name") not in wanted:
            wsdl.remove(message)


def _parts(wsdl: Element) -> Iterator[str]:
    for part in wsdl.iterfind(f"{_WSDL}message/{_WSDL}part"):
        yield from _local(part.get("element"))


def _cut_schemas(schemas: list[Element], roots: list[str]) -> None:
    """Leave out what no root leads to; names count without prefixes, which keeps rather more."""
    known: dict[str, list[Element]] = defaultdict(list)
    for schema in schemas:
        for component in schema:
            if component.get("name") is not None:
                known[component.get("name")].append(component)
    reached, waiting = set[str](), roots
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += [
                told for component in known.get(name, ()) for told in _references(component)
            ]
    for name, components in known.items():
        if name not in reached:
            for component in components:
                component.getparent().remove(component)
    for schema in schemas:
        _cut_imports(schema)


def _cut_imports(schema: Element) -> None:
    used = {
        element.nsmap.get(name.partition(":")[0])
        for element in schema.iter(f"{_XSD}*")
        for attribute in _REFERENCES
        for name in element.get(attribute, "").split()
    }
    for imported in schema.findall(f"{_XSD}import"):
        if imported.get("namespace") not in used:
            schema.remove(imported)


def _references(component: Element) -> Iterator[str]:
    for element in component.iter(f"{_XSD}*"):
        for attribute in _REFERENCES:
            yield from _local(element.get(attribute, ""))


def _local(names: str) -> Iterator[str]:
    """Yield qualified names without their prefixes."""
    for name in names.split():
        yield name.rpartition(":")[2]
