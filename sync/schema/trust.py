"""Safety and trust: alarms, keys, certificates, erasures, audit."""

from sync.schema.model import Audience, Lane, Owner, events, states

ALARM = events(
    70,
    "alarm",
    Lane.ALARM,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    device TEXT district
    alarm TEXT district
    place TEXT district
    drill INTEGER district
    """,
)
DRILL = events(
    71,
    "drill",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    alarm TEXT district
    screens INTEGER district
    acknowledged INTEGER district
    slowest_ms INTEGER district
    """,
)
# One row a recipient. The audience of the log it stands in is the audience of the key.
KEY_GRANT = events(
    72,
    "key_grant",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    key_id BLOB grant
    purpose TEXT grant
    epoch INTEGER grant
    recipient BLOB grant
    suite INTEGER grant
    wrapped BLOB grant
    """,
    owner=Owner.BOTH,
)
# The key of one lesson, wrapped for each party.
LESSON_KEY_GRANT = events(
    77,
    "lesson_key_grant",
    Lane.CONTROL,
    Audience.LESSON,
    """
    lesson TEXT district
    lesson_key BLOB district
    recipient BLOB district
    suite INTEGER district
    wrapped BLOB district
    """,
)
ERASURE = events(
    73,
    "erasure",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    complete_ms INTEGER district
    """,
)
AUDIT_ENTRY = events(
    74,
    "audit_entry",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    who TEXT district
    action TEXT district
    subject TEXT district
    place TEXT district
    """,
    owner=Owner.BOTH,
)
CLOCK_CLAMP = events(
    75,
    "clock_clamp",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    clamped_log TEXT district
    clamped_seq INTEGER district
    clamped_ms INTEGER district
    """,
    owner=Owner.HUB,
)
# What binds a box's signing and sealing keys to its school; checked against the pinned root.
BOX_CERTIFICATE = states(
    76,
    "box_certificate",
    Lane.CONTROL,
    Audience.DISTRICT,
    Owner.HUB,
    """
    box TEXT district key
    certificate BLOB district
    revoked INTEGER district
    """,
)

TABLES = (
    ALARM,
    DRILL,
    KEY_GRANT,
    ERASURE,
    AUDIT_ENTRY,
    CLOCK_CLAMP,
    BOX_CERTIFICATE,
    LESSON_KEY_GRANT,
)
