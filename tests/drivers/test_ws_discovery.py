from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs import ws_discovery
from drivers.codecs.ws_discovery import Bye, Hello, Probe, ProbeMatches, Target
from drivers.errors import ProtocolError

VECTORS = Path(__file__).parents[1] / "vectors" / "ws_discovery"
PROBE_ID = "urn:uuid:0a6dc791-2be6-4991-9af1-454778a1917a"

words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)
names = st.sampled_from([ws_discovery.CAMERA_TYPE, "Device"])
targets = st.builds(
    Target,
    endpoint=words,
    types=st.lists(names, max_size=3).map(tuple),
    scopes=st.lists(words, max_size=8).map(tuple),
    xaddrs=st.lists(words, max_size=4).map(tuple),
    metadata_version=st.integers(0, 999_999_999),
)


@given(targets, words, words)
def test_probe_matches_come_back_as_they_were_built(
    target: Target, message_id: str, relates_to: str
) -> None:
    parsed = ws_discovery.parse(ws_discovery.build_probe_matches(message_id, relates_to, target))
    assert parsed == ProbeMatches(message_id=message_id, relates_to=relates_to, matches=(target,))


@given(targets, words)
def test_hello_and_bye_come_back_as_they_were_built(target: Target, message_id: str) -> None:
    assert ws_discovery.parse(ws_discovery.build_hello(message_id, target)) == Hello(
        message_id=message_id, target=target
    )
    assert ws_discovery.parse(ws_discovery.build_bye(message_id, target)) == Bye(
        message_id=message_id, endpoint=target.endpoint
    )


def test_a_probe_asks_for_cameras() -> None:
    assert ws_discovery.parse(ws_discovery.build_probe(PROBE_ID)) == Probe(
        message_id=PROBE_ID, types=("NetworkVideoTransmitter",), scopes=()
    )


def test_the_answer_of_another_camera_program_is_understood() -> None:
    message = ws_discovery.parse((VECTORS / "ipycam-1.3.0-probe-match.xml").read_bytes())
    assert message == ProbeMatches(
        message_id="urn:uuid:38d6792e-a5ed-4225-8815-2dbed2a492cc",
        relates_to=PROBE_ID,
        matches=(
            Target(
                endpoint="urn:uuid:a48ab142-04e6-4b28-a0e7-d3644ccf7fad",
                types=("NetworkVideoTransmitter", "Device"),
                scopes=(
                    "onvif://www.onvif.org/type/video_encoder",
                    "onvif://www.onvif.org/Profile/Streaming",
                    "onvif://www.onvif.org/name/Peer",
                ),
                xaddrs=("http://127.0.0.1:18080/onvif/device_service",),
            ),
        ),
        lenient=True,
    )


def test_the_example_of_the_2009_standard_is_understood() -> None:
    message = ws_discovery.parse((VECTORS / "oasis-1.1-probe-matches.xml").read_bytes())
    assert isinstance(message, ProbeMatches)
    assert message.relates_to == PROBE_ID
    (target,) = message.matches
    assert target.endpoint == "urn:uuid:98190dc2-0890-4ef8-ac9a-5940995e6119"
    assert target.types == ("PrintBasic", "PrintAdvanced")
    assert target.xaddrs == ("http://prn-example/PRN42/b42-1668-a",)
    assert len(target.scopes) == 3
    assert target.metadata_version == 75965


def test_undeclared_prefixes_and_trailing_nuls_are_forgiven() -> None:
    message = ws_discovery.parse(
        b"<e:Envelope><e:Body><w:ProbeMatches><w:ProbeMatch><x:EndpointReference>"
        b"<x:Address>urn:uuid:1</x:Address></x:EndpointReference>"
        b"<w:Scopes>onvif://www.onvif.org/name/A&B</w:Scopes>"
        b"<w:XAddrs>http://127.0.0.1/a?x=1&y=2</w:XAddrs>"
        b"</w:ProbeMatch></w:ProbeMatches></e:Body></e:Envelope>\x00\x00\x00"
    )
    assert isinstance(message, ProbeMatches)
    assert message.lenient
    assert message.matches[0].scopes == ("onvif://www.onvif.org/name/A&B",)
    assert message.matches[0].xaddrs == ("http://127.0.0.1/a?x=1&y=2",)


def test_a_flood_of_matches_scopes_and_addresses_is_cut() -> None:
    target = Target(
        endpoint="urn:uuid:1",
        types=(),
        scopes=tuple(f"s{number}" for number in range(500)),
        xaddrs=("x" * 2000, "http://127.0.0.1/"),
    )
    datagram = ws_discovery.build_probe_matches("urn:uuid:2", "urn:uuid:3", target)
    match = datagram[datagram.index(b"<d:ProbeMatch>") : datagram.index(b"</d:ProbeMatches>")]
    flood = datagram.replace(match, b"<d:ProbeMatch>" + match[14:] + SHORT_MATCH * 100)
    message = ws_discovery.parse(flood)
    assert isinstance(message, ProbeMatches)
    assert len(message.matches) == ws_discovery.MATCHES_MAX
    assert len(message.matches[0].scopes) == ws_discovery.WORDS_MAX
    assert message.matches[0].xaddrs == ("http://127.0.0.1/",)


SHORT_MATCH = (
    b"<d:ProbeMatch><a:EndpointReference><a:Address>urn:uuid:9</a:Address>"
    b"</a:EndpointReference></d:ProbeMatch>"
)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"hello",
        b"<a/>",
        b"<Envelope/>",
        b"<Envelope><Body/></Envelope>",
        b"<Envelope><Body><Hello/></Body></Envelope>",
        b'<!DOCTYPE Envelope [<!ENTITY x "y">]><Envelope><Body/></Envelope>',
        b"<Envelope>" + b" " * ws_discovery.DATAGRAM_BYTES_MAX + b"</Envelope>",
    ],
)
def test_what_is_no_message_is_refused(datagram: bytes) -> None:
    with pytest.raises(ProtocolError):
        ws_discovery.parse(datagram)


@given(
    st.binary(max_size=400),
    st.integers(0, 2000),
    st.sampled_from(
        [
            ws_discovery.build_probe(PROBE_ID),
            ws_discovery.build_hello(
                PROBE_ID, Target(endpoint="e", types=("Device",), scopes=("s",), xaddrs=("x",))
            ),
        ]
    ),
)
def test_arbitrary_and_damaged_datagrams_raise_nothing_but_protocol_errors(
    noise: bytes, at: int, datagram: bytes
) -> None:
    for damaged in (noise, datagram[:at] + noise + datagram[at + len(noise) :]):
        try:
            ws_discovery.parse(damaged)
        except ProtocolError:
            continue
