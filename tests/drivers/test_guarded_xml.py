from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.guarded_xml import (
    DEPTH_MAX,
    ELEMENTS_MAX,
    ForbiddenXmlError,
    escape,
    parse_leniently,
    parse_strictly,
    sanitise,
)
from drivers.errors import ProtocolError

SIZE_MAX = 1024 * 1024

BILLION_LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><lolz>&c;</lolz>"""
EXTERNAL_ENTITY = b"""<?xml version="1.0"?>
<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/passwd">]><x>&file;</x>"""
EXTERNAL_DTD = b'<!DOCTYPE x SYSTEM "http://127.0.0.1:1/x.dtd"><x/>'
PARAMETER_ENTITY = b'<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/p"> %p;]><x/>'


@pytest.mark.parametrize("parse", [parse_strictly, parse_leniently, sanitise])
@pytest.mark.parametrize(
    "attack",
    [
        BILLION_LAUGHS,
        EXTERNAL_ENTITY,
        EXTERNAL_DTD,
        PARAMETER_ENTITY,
        b"\x00\x00" + BILLION_LAUGHS,
        b'<?xml-stylesheet href="http://127.0.0.1:1/"?><x/>',
        b"<a>" * (DEPTH_MAX + 1) + b"</a>" * (DEPTH_MAX + 1),
        b"<a>" + b"<b/>" * ELEMENTS_MAX + b"</a>",
        b"<a>" + b"x" * SIZE_MAX + b"</a>",
        b"<a>" + b"x" * (SIZE_MAX // 2) + b"</a>",
    ],
)
def test_dangerous_documents_are_refused_in_every_mode(
    parse: Callable[..., object], attack: bytes
) -> None:
    with pytest.raises(ProtocolError):
        parse(attack, size_max=SIZE_MAX)


@pytest.mark.parametrize(
    "attack", [BILLION_LAUGHS, EXTERNAL_ENTITY, EXTERNAL_DTD, PARAMETER_ENTITY]
)
def test_a_document_type_is_never_given_a_lenient_second_chance(attack: bytes) -> None:
    with pytest.raises(ForbiddenXmlError, match="document type"):
        sanitise(attack, size_max=SIZE_MAX)


def test_names_carry_their_namespace_when_read_strictly() -> None:
    root = parse_strictly(b'<s:a xmlns:s="urn:x" s:k="v"><b>t</b></s:a>', size_max=SIZE_MAX)
    assert root.name == "{urn:x}a"
    assert root.attributes == {"{urn:x}k": "v"}
    assert (root.local, root.namespace) == ("a", "urn:x")
    assert root.first_text("b") == "t"
    assert root.first_text("c") == ""


@pytest.mark.parametrize(
    "sloppy",
    [
        b"\x00<q:a>1 & 2</q:a>\x00\x00",
        b"garbage <q:a>1 & 2</q:a> garbage",
        b"<q:a>1 &amp; 2</q:a>",
    ],
)
def test_sloppy_documents_are_read_leniently_only(sloppy: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_strictly(sloppy, size_max=SIZE_MAX)
    root = parse_leniently(sloppy, size_max=SIZE_MAX)
    assert root.local == "a"
    assert root.text.strip() == "1 & 2"


def test_chinese_text_in_gb18030_is_read_leniently() -> None:
    document = "<名><x>讲台摄像机</x></名>".encode("gb18030")
    assert parse_leniently(document, size_max=SIZE_MAX).first_text("x") == "讲台摄像机"


def test_what_another_parser_gets_has_no_declared_encoding_to_be_fooled_by() -> None:
    document = b'<?xml version="1.0" encoding="UTF-7"?><a>+ADwAIQ-DOCTYPE</a>'
    assert sanitise(document, size_max=SIZE_MAX) == b"<a>+ADwAIQ-DOCTYPE</a>"


@given(st.text(st.characters(min_codepoint=32, exclude_categories=("Cs", "Cn", "Co"))))
def test_escaped_text_comes_back_unchanged(text: str) -> None:
    document = f'<a k="{escape(text)}">{escape(text)}</a>'.encode()
    root = parse_strictly(document, size_max=SIZE_MAX)
    assert root.text == text
    assert root.attributes["k"] == text


@given(st.binary(max_size=300) | st.text(alphabet="<>/&;!?ab:= \"'[]%#x0\x00").map(str.encode))
def test_arbitrary_bytes_raise_nothing_but_protocol_errors(document: bytes) -> None:
    for parse in (parse_strictly, parse_leniently, sanitise):
        try:
            parse(document, size_max=SIZE_MAX)
        except ProtocolError:
            continue
