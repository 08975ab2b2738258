"""Class cards: taps, attendance, and what the screens at the doors show."""

from sync.schema.model import Audience, Lane, Owner, events, states

# person is the pseudonymous ordinal; card is kept only when nobody is known by it.
CARD_TAP = events(
    20,
    "card_tap",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    device TEXT district
    person INTEGER district
    room TEXT district
    card TEXT identity
    device_key TEXT district
    """,
    dedupe="device_key",
)
# corrected_by: who wrote it by hand, which no rule overwrites. make_up: the slot, of any day, in
# which this one is made up for.
ATTENDANCE_ENTRY = states(
    21,
    "attendance_entry",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    day TEXT district key
    slot TEXT district key
    person INTEGER district key
    status TEXT district
    at_ms INTEGER district
    corrected_by TEXT district
    reason TEXT identity
    make_up TEXT district
    """,
)
LEAVE = states(
    22,
    "leave",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    person INTEGER district key
    from_ms INTEGER district key
    until_ms INTEGER district
    reason TEXT identity
    """,
)
HEALTH_CHECK = events(
    23,
    "health_check",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    temperature_c REAL health
    symptoms TEXT health
    """,
)
# school 0 means every school of the district.
NOTICE = states(
    24,
    "notice",
    Lane.CONTROL,
    Audience.DISTRICT,
    Owner.HUB,
    """
    notice TEXT district key
    title_zh TEXT district
    title_en TEXT district
    body_zh TEXT district
    body_en TEXT district
    from_ms INTEGER district
    until_ms INTEGER district
    """,
)
DUTY = states(
    25,
    "duty",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    class_group TEXT district key
    day TEXT district key
    person INTEGER district
    """,
)
HONOUR = states(
    26,
    "honour",
    Lane.ATTENDANCE,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    class_group TEXT district key
    week TEXT district key
    person INTEGER district
    reason TEXT identity
    """,
)
# trouble: the box's words for what is not well, worst first and with spaces between; none of them
# is well, null is not known. data_ms: when the box made what the screen shows. lacks: what the page
# needs and the browser has not. error: kind and place of the last one, never its text.
CARD_SCREEN = states(
    27,
    "card_screen",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    screen TEXT district key
    room TEXT district
    seen_ms INTEGER district
    version TEXT district
    name TEXT district
    paired_ms INTEGER district
    trouble TEXT district
    data_ms INTEGER district
    browser TEXT district
    lacks TEXT district
    error TEXT district
    error_ms INTEGER district
    clock_ahead_s INTEGER district
    """,
)
# What the office puts on the cards of a room (none: of all): kind is notice, exam or emergency.
CARD_MESSAGE = states(
    28,
    "card_message",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    message TEXT district key
    kind TEXT district
    room TEXT district
    text_zh TEXT district
    text_en TEXT district
    from_ms INTEGER district
    until_ms INTEGER district
    published_by TEXT district
    """,
)
# A screen had painted a message; both moments are the box's.
CARD_RECEIPT = events(
    29,
    "card_receipt",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    message TEXT district
    screen TEXT district
    after_ms INTEGER district
    receipt TEXT district
    """,
    dedupe="receipt",
)

TABLES = (
    CARD_TAP,
    ATTENDANCE_ENTRY,
    LEAVE,
    HEALTH_CHECK,
    NOTICE,
    DUTY,
    HONOUR,
    CARD_SCREEN,
    CARD_MESSAGE,
    CARD_RECEIPT,
)
