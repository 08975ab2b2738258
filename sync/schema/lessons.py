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
# substitute: the lesson whose recording the receivers play when the flagship fails.
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
    substitute TEXT district
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
# hop: flagship and receiver tell how that end went; camera, lan, wan and decode what was
# measured there (figures, as JSON), preflight what was found before the bell.
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
    rung TEXT district
    figures TEXT district
    """,
)
# Signed by its school (sync.lessons.lesson_minutes); rungs: seconds by rung, as JSON.
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
    sent_s INTEGER district
    rungs TEXT district
    digest BLOB district
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
    digest BLOB district
    gone_ms INTEGER district
    gone_why TEXT district
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
    lesson_key BLOB district
    pieces INTEGER district
    sealed BLOB district
    """,
)
# What the flagship's teacher ordered of a lesson's times, for the times then planned.
LESSON_ORDER = states(
    47,
    "lesson_order",
    Lane.LESSONS,
    Audience.LESSON,
    Owner.SCHOOL,
    """
    lesson TEXT district key
    planned_starts_ms INTEGER district
    planned_ends_ms INTEGER district
    starts_ms INTEGER district
    ends_ms INTEGER district
    stopped INTEGER district
    at_ms INTEGER district
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
    LESSON_ORDER,
)
