"""Validates SOAP bodies against the XSD inside ONVIF's WSDL; runs in the environment beside it.

Standard input: ``{"wsdl": folder, "answers": [[file, operation, envelope], …]}``; standard output:
a line ``file operation: reason`` for each that is not valid.
"""

# Everything read here is the repository's own or its simulator's.
# ruff: noqa: S314

import json
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema

SCHEMA = "{http://www.w3.org/2001/XMLSchema}schema"
BODY = "{http://www.w3.org/2003/05/soap-envelope}Body"


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
    text = head + declared + bracket + rest
    return xmlschema.XMLSchema11(text, base_url=f"{path.parent.as_uri()}/", allow="local")


def main() -> None:
    given = json.load(sys.stdin)
    schemas: dict[str, xmlschema.XMLSchema11] = {}
    for file, operation, envelope in given["answers"]:
        if file not in schemas:
            schemas[file] = read_schema(Path(given["wsdl"]) / file)
        body = ET.fromstring(envelope).find(BODY)
        if body is None:
            raise SystemExit(f"{file} {operation}: no SOAP body")
        for error in schemas[file].iter_errors(body[0]):
            print(f"{file} {operation}: {error.reason} at {error.path}")


if __name__ == "__main__":
    main()
