"""Five-education evaluation: entries stay with the school, aggregates go to the district."""

from sync.schema.model import Audience, Lane, Owner, events, states

EVALUATION_ENTRY = events(
    60,
    "evaluation_entry",
    Lane.BULK,
    Audience.SCHOOL,
    """
    at_ms INTEGER identity
    person INTEGER identity
    field TEXT identity
    score REAL identity
    remark TEXT identity
    """,
)
EVALUATION_AGGREGATE = states(
    61,
    "evaluation_aggregate",
    Lane.BULK,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    class_group TEXT district key
    term TEXT district key
    field TEXT district key
    mean REAL district
    count INTEGER district
    """,
)
GROWTH_PERCENTILE_AGGREGATE = states(
    62,
    "growth_percentile_aggregate",
    Lane.BULK,
    Audience.SCHOOL,
    Owner.HUB,
    """
    class_group TEXT district key
    term TEXT district key
    subject TEXT district key
    median REAL district
    low REAL district
    high REAL district
    count INTEGER district
    """,
)

TABLES = (EVALUATION_ENTRY, EVALUATION_AGGREGATE, GROWTH_PERCENTILE_AGGREGATE)
