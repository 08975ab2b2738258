"""Sports. Raw heart rates stay in the school; density and intensity are the district's."""

from sync.schema.model import Audience, Lane, Owner, events, states

# density is the group's. Figures are null when the bands told too little; coverage says how much.
# ends_ms is null while the lesson goes on.
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
    individual_density REAL district
    pupils INTEGER district
    told INTEGER district
    reached INTEGER district
    teacher TEXT district
    alarm_bpm INTEGER district
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
    moving INTEGER health
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
    source TEXT district
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
# Who wears which band in a lesson.
BAND_WORN = states(
    54,
    "band_worn",
    Lane.BULK,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    session TEXT district key
    band TEXT district key
    person INTEGER district
    """,
)

TABLES = (EXERCISE_SESSION, HEART_RATE, FITNESS_RESULT, SCORING_TABLE, BAND_WORN)
