import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.codecs.digest import (
    Attempt,
    Challenge,
    Credentials,
    authorization,
    challenge_value,
    is_answered,
    parse_challenges,
    strongest,
)
from drivers.errors import ProtocolError

# RFC 7616 §3.9.1
CHALLENGES = tuple(
    f'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm}, '
    'nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
    'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    for algorithm in ("SHA-256", "MD5")
)
MUFASA = Credentials(user="Mufasa", password="Circle of Life")
ATTEMPT = Attempt(
    method="GET",
    uri="/dir/index.html",
    cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    count=1,
)


@pytest.mark.parametrize(
    ("number", "response"),
    [
        (0, "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        (1, "8ca523f5e9506fed4657c9700eebdbec"),
    ],
)
def test_the_examples_of_rfc_7616_come_out(number: int, response: str) -> None:
    challenge = parse_challenges(CHALLENGES)[number]
    answer = authorization(challenge, MUFASA, ATTEMPT)
    assert f'response="{response}"' in answer
    assert 'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"' in answer


def test_the_example_of_rfc_2617_comes_out() -> None:
    # RFC 2617 §3.5
    (challenge,) = parse_challenges(
        ['Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093", qop=auth']
    )
    answer = authorization(
        challenge,
        Credentials(user="Mufasa", password="Circle Of Life"),
        Attempt(method="GET", uri="/dir/index.html", cnonce="0a4f113b", count=1),
    )
    assert 'response="6629fae49393a05397450978507c4ef1"' in answer


def test_the_strongest_challenge_is_answered_and_basic_never() -> None:
    offered = parse_challenges(['Basic realm="x", Digest realm="y", nonce="1"', *CHALLENGES])
    chosen = strongest(offered)
    assert chosen is not None
    assert chosen.algorithm == "SHA-256"
    assert strongest(parse_challenges(['Basic realm="x"'])) is None


def test_unknown_hashes_and_integrity_only_are_not_answered() -> None:
    values = ['Digest realm="x", nonce="n", algorithm=SHA-512-256']
    values.append('Digest realm="x", nonce="n", qop="auth-int"')
    assert strongest(parse_challenges(values)) is None


words = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)


@given(words, words, words, st.sampled_from(["MD5", "SHA-256"]), st.sampled_from(["", "auth"]))
def test_a_server_knows_its_users_answer_from_any_other(
    user: str, password: str, other: str, algorithm: str, qop: str
) -> None:
    sent = Challenge(scheme="digest", realm='a "b\\', nonce="n1", algorithm=algorithm, qop=qop)
    (challenge,) = parse_challenges([challenge_value(sent)])
    assert challenge == sent
    attempt = Attempt(method="PLAY", uri="rtsp://c/1", cnonce="c", count=7)
    credentials = Credentials(user=user, password=password)
    answer = authorization(challenge, credentials, attempt)
    assert is_answered(sent, credentials, "PLAY", answer)
    assert not is_answered(sent, credentials, "SETUP", answer)
    stranger = Credentials(user=user, password=other)
    assert is_answered(sent, stranger, "PLAY", answer) == (other == password)


@given(st.text(max_size=200) | st.text('Digest realm="x",= \\\tBasic', max_size=200))
def test_arbitrary_challenges_raise_nothing_but_protocol_errors(value: str) -> None:
    try:
        parse_challenges([value])
    except ProtocolError:
        return


def test_a_password_is_not_shown() -> None:
    assert "Circle" not in repr(MUFASA)
