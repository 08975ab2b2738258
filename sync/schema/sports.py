"""Sports. Raw heart rates stay in the school; density and intensity are the district's."""

from sync.schema.model import Audience, Lane, Owner, events, states

EXERCISE_SESSION = states(
    50,
    "exercise_session",
    Lane.BULK,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    session TEXT district key
    class_group TEXT district
    starts_ms INTEGER district
    ends_ms INTEGER district
    density REAL district
    intensity_bpm REAL district
    coverage REAL district
    """,
)
HEART_RATE = events(
    51,
    "heart_rate",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    """
    at_ms INTEGER health
    person INTEGER health
    bpm INTEGER health
    """,
)
FITNESS_RESULT = events(
    52,
    "fitness_result",
    Lane.BULK,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    station TEXT district
    result REAL district
    unit TEXT district
    """,
)
SCORING_TABLE = states(
    53,
    "scoring_table",
    Lane.BULK,
    Audience.DISTRICT,
    Owner.HUB,
    """
    station TEXT district key
    grade INTEGER district key
    sex TEXT district key
    bounds TEXT district
    """,
)

TABLES = (EXERCISE_SESSION, HEART_RATE, FITNESS_RESULT, SCORING_TABLE)
