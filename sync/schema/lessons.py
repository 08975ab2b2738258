"""Delivery lessons: schedule, parties, evidence, material."""

from sync.schema.model import Audience, Lane, Owner, events, states

# The one table that both hub (schedule) and school (swap, 调课) write.
TIMETABLE_SLOT = states(
    30,
    "timetable_slot",
    Lane.LESSONS,
    Audience.SCHOOL,
    Owner.BOTH,
    """
    slot TEXT district key
    class_group TEXT district
    room TEXT district
    subject TEXT district
    teacher TEXT district
    starts_ms INTEGER district
    ends_ms INTEGER district
    lesson TEXT district
    """,
)
# kind: delivery, master_teacher, online_school, teacher_research. school is the flagship.
LESSON = states(
    31,
    "lesson",
    Lane.LESSONS,
    Audience.DISTRICT,
    Owner.HUB,
    """
    lesson TEXT district key
    kind TEXT district
    title_zh TEXT district
    title_en TEXT district
    teacher TEXT district
    starts_ms INTEGER district
    ends_ms INTEGER district
    rehearsal INTEGER district
    cancelled INTEGER district
    """,
)
# role: flagship or receiver.
LESSON_PARTY = states(
    32,
    "lesson_party",
    Lane.LESSONS,
    Audience.DISTRICT,
    Owner.HUB,
    """
    lesson TEXT district key
    role TEXT district
    class_group TEXT district
    room TEXT district
    """,
)
LESSON_QUALITY = events(
    33,
    "lesson_quality",
    Lane.LESSONS,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    lesson TEXT district
    hop TEXT district
    state TEXT district
    cause TEXT district
    frames INTEGER district
    late_ms INTEGER district
    """,
)
LESSON_MINUTES = states(
    34,
    "lesson_minutes",
    Lane.LESSONS,
    Audience.LESSON,
    Owner.SCHOOL,
    """
    lesson TEXT district key
    live_s INTEGER district
    recorded_s INTEGER district
    missing_s INTEGER district
    rung TEXT district
    signature BLOB district
    """,
)
RECORDING = states(
    35,
    "recording",
    Lane.LESSONS,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    lesson TEXT district key
    take TEXT district key
    recorded_ms INTEGER district
    bytes INTEGER district
    gaps TEXT district
    complete INTEGER district
    """,
)
RESOURCE = states(
    36,
    "resource",
    Lane.BULK,
    Audience.LESSON,
    Owner.SCHOOL,
    """
    lesson TEXT district key
    position INTEGER district key
    title TEXT district
    media_type TEXT district
    digest BLOB district
    bytes INTEGER district
    """,
)
HAND_RAISE = events(
    37,
    "hand_raise",
    Lane.LESSONS,
    Audience.LESSON,
    """
    at_ms INTEGER district
    lesson TEXT district
    room TEXT district
    raised INTEGER district
    """,
)
QUICK_ANSWER = events(
    38,
    "quick_answer",
    Lane.LESSONS,
    Audience.LESSON,
    """
    at_ms INTEGER district
    lesson TEXT district
    question TEXT district
    choice TEXT district
    count INTEGER district
    """,
)
CAPTION_TRACK = states(
    39,
    "caption_track",
    Lane.BULK,
    Audience.LESSON,
    Owner.SCHOOL,
    """
    lesson TEXT district key
    language TEXT district key
    digest BLOB district
    """,
)

TABLES = (
    TIMETABLE_SLOT,
    LESSON,
    LESSON_PARTY,
    LESSON_QUALITY,
    LESSON_MINUTES,
    RECORDING,
    RESOURCE,
    HAND_RAISE,
    QUICK_ANSWER,
    CAPTION_TRACK,
)
