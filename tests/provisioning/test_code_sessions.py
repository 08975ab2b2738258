"""Sessions by a code: guessers are slowed, sessions end, and no more are kept than were meant."""

from dataclasses import dataclass

import pytest

from provisioning.code_sessions import (
    ATTEMPT_WINDOW_S,
    ATTEMPTS_PER_ADDRESS,
    Attempts,
    CodeSessions,
    SessionLimits,
    TooManyAttemptsError,
    WrongCodeError,
)

CODE = "8471-2206"
LIMITS = SessionLimits(
    cookie="__Host-test", idle_s=100, life_s=1000, sessions=3, attempts_together=20, code_chars=16
)


@dataclass
class Watch:
    now_s: float = 0.0

    def read(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def sessions(watch: Watch) -> CodeSessions:
    return CodeSessions(LIMITS, CODE.__eq__, watch.read)


def test_one_guesser_does_not_lock_out_the_next_address(watch: Watch) -> None:
    attempts = Attempts(20, watch.read)
    for _ in range(ATTEMPTS_PER_ADDRESS):
        attempts.count("10.0.0.9")
    with pytest.raises(TooManyAttemptsError):
        attempts.count("10.0.0.9")
    attempts.count("10.0.0.10")


def test_many_addresses_together_are_slowed_too_and_the_window_passes(watch: Watch) -> None:
    attempts = Attempts(20, watch.read)
    for address in range(20):
        attempts.count(f"10.0.0.{address}")
    with pytest.raises(TooManyAttemptsError) as refused:
        attempts.count("10.0.1.1")
    assert refused.value.retry_s == ATTEMPT_WINDOW_S + 1
    watch.now_s = ATTEMPT_WINDOW_S + 1
    attempts.count("10.0.0.1")


def test_the_right_code_forgives_an_addresses_wrong_ones(sessions: CodeSessions) -> None:
    for _ in range(3):
        for _ in range(ATTEMPTS_PER_ADDRESS - 1):
            with pytest.raises(WrongCodeError):
                sessions.open("0000-0000", "10.0.0.9")
        assert sessions.knows(sessions.open(CODE, "10.0.0.9"))


def guess(sessions: CodeSessions, address: str) -> None:
    with pytest.raises(WrongCodeError):
        sessions.open("0000-0000", address)


def test_strangers_guesses_keep_nobody_out_where_a_session_is_open(
    sessions: CodeSessions, watch: Watch
) -> None:
    token = sessions.open(CODE, "10.0.0.1")
    watch.now_s = ATTEMPT_WINDOW_S  # the right code counted too
    for stranger in range(LIMITS.attempts_together):
        guess(sessions, f"10.0.9.{stranger}")
    with pytest.raises(TooManyAttemptsError):
        sessions.open(CODE, "10.0.0.2")
    assert sessions.knows(token)
    assert sessions.knows(sessions.open(CODE, "10.0.0.1"))


def test_where_a_session_is_open_codes_are_counted_for_that_address_alone(
    sessions: CodeSessions,
) -> None:
    sessions.open(CODE, "10.0.0.1")
    for _ in range(ATTEMPTS_PER_ADDRESS):
        guess(sessions, "10.0.0.1")
    with pytest.raises(TooManyAttemptsError):
        sessions.open(CODE, "10.0.0.1")
    for stranger in range(LIMITS.attempts_together - 1):
        guess(sessions, f"10.0.9.{stranger}")


def test_an_address_is_a_strangers_again_once_its_session_is_over(
    sessions: CodeSessions, watch: Watch
) -> None:
    sessions.open(CODE, "10.0.0.1")
    sessions.close(sessions.open(CODE, "10.0.0.2"))
    watch.now_s = LIMITS.idle_s + 1
    for stranger in range(LIMITS.attempts_together):
        guess(sessions, f"10.0.9.{stranger}")
    for address in ("10.0.0.1", "10.0.0.2"):
        with pytest.raises(TooManyAttemptsError):
            sessions.open(CODE, address)


@pytest.mark.parametrize("step_s", [99, 20])
def test_a_session_ends_however_busy_it_is(
    sessions: CodeSessions, watch: Watch, step_s: int
) -> None:
    token = sessions.open(CODE, "10.0.0.9")
    assert sessions.knows(token)
    while watch.now_s + step_s <= LIMITS.life_s:
        watch.now_s += step_s
        assert sessions.knows(token)
    watch.now_s = LIMITS.life_s + 1
    assert not sessions.knows(token)


def test_an_idle_session_ends_and_a_wrong_code_never_opens_one(
    sessions: CodeSessions, watch: Watch
) -> None:
    token = sessions.open(CODE, "10.0.0.9")
    watch.now_s = LIMITS.idle_s + 1
    assert not sessions.knows(token)
    with pytest.raises(WrongCodeError):
        sessions.open("x" * 10_000, "10.0.0.9")
    assert not sessions.knows("")


def test_of_too_many_sessions_the_one_used_longest_ago_ends(sessions: CodeSessions) -> None:
    tokens = [sessions.open(CODE, "10.0.0.9") for _ in range(LIMITS.sessions)]
    assert sessions.knows(tokens[0])
    tokens.append(sessions.open(CODE, "10.0.0.9"))
    assert [sessions.knows(token) for token in tokens] == [True, False, True, True]


def test_a_token_is_worthless_once_it_is_closed(sessions: CodeSessions) -> None:
    token = sessions.open(CODE, "10.0.0.9")
    sessions.close(token)
    assert not sessions.knows(token)


def test_a_token_that_is_no_text_opens_nothing(sessions: CodeSessions) -> None:
    assert not sessions.knows("\udcff")
