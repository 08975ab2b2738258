"""Why something was set aside: a code for the pages' words, and the facts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.errors import (
    CheckpointError,
    ForgedError,
    ForkError,
    KeyMissingError,
    MalformedError,
    OwnershipError,
    Reason,
    RevokedError,
    RowError,
    SyncError,
    UnknownTableError,
    parse_reason,
    reason_of,
    reason_text,
)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MalformedError, Reason.MALFORMED),
        (ForgedError, Reason.FORGED),
        (RevokedError, Reason.REVOKED),
        (ForkError, Reason.FORKED),
        (KeyMissingError, Reason.KEY_MISSING),
        (OwnershipError, Reason.NOT_OWNED),
        (UnknownTableError, Reason.TABLE_UNKNOWN),
        (CheckpointError, Reason.NOT_VERIFIED),
        (RowError, Reason.OTHER),
    ],
)
def test_an_error_tells_its_reason_and_keeps_its_facts(
    error: type[SyncError], reason: Reason
) -> None:
    assert parse_reason(reason_of(error("a: b, 3 rows"))) == (reason, "a: b, 3 rows")


@given(st.text())
def test_any_text_has_a_reason_and_loses_no_fact(text: str) -> None:
    reason, details = parse_reason(text)
    assert text in {details, reason_text(reason, details)}


@given(st.sampled_from(Reason), st.text())
def test_what_was_written_is_read_again(reason: Reason, details: str) -> None:
    assert parse_reason(reason_text(reason, details)) == (reason, details)


def test_a_reason_of_an_older_store_is_shown_as_it_was_written() -> None:
    old = "table 99 is not known to this version; kept"
    assert parse_reason(old) == (Reason.OTHER, old)
