"""Safety and trust: alarms, keys, certificates, erasures, audit."""

from sync.schema.model import Audience, Lane, Owner, events, states

# alarm is the kind; incident names it in alarm_step and alarm_answer. A drill is one of its own.
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
    incident TEXT district
    circuit TEXT district
    """,
)
# What a drill came to, once it has ended: of the screens told, how many confirmed it, and when the
# last of them did.
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
    incident TEXT district
    ended_ms INTEGER district
    led_by TEXT district
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
# Written when a person's key is destroyed, and again with complete_ms once the hub holds a vault
# without it: that is of share generation ``generation`` or later (sync.persons.vault_backup).
ERASURE = events(
    73,
    "erasure",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    complete_ms INTEGER district
    generation INTEGER district
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
# The hub's word that a segment's stamps were from the future (sync.folding.clamps). Stands in the
# control log of the audience of the log it clamps, so that whoever folds that log has it.
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
# Rows of one log were written by a clock that was offset_ms behind (sync.folding.correction).
# Stands in the control log of the audience whose log it corrects.
CLOCK_CORRECTION = events(
    85,
    "clock_correction",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    boot TEXT district
    incarnation INTEGER district
    lane INTEGER district
    first_row INTEGER district
    last_row INTEGER district
    offset_ms INTEGER district
    source TEXT district
    """,
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
# Whom a person at the school let read its keys, published; each box decides by its own list.
CONFIRMED_RECIPIENT = states(
    78,
    "confirmed_recipient",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    recipient BLOB district key
    kind TEXT district
    name TEXT district
    public BLOB district
    at_ms INTEGER district
    who TEXT district
    revoked INTEGER district
    """,
)
# What the hub asks for; a person at the school decides, and nothing follows from the row itself.
KEY_REQUEST = states(
    79,
    "key_request",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.HUB,
    """
    request TEXT district key
    wish TEXT district
    subject TEXT district
    public BLOB district
    at_ms INTEGER district
    who TEXT district
    """,
)
# The hub verified a checkpoint of a school's logs of one audience: its record stands at
# (incarnation, seq) of its snapshot log. stable: what every member has applied of these logs
# (sync.history.horizon); retention_ms: how long the hub's own backups are kept.
CHECKPOINT_COUNTERSIGNED = states(
    82,
    "checkpoint_countersigned",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.HUB,
    """
    covered TEXT district key
    incarnation INTEGER district
    seq INTEGER district
    digest BLOB district
    stable BLOB district
    at_ms INTEGER district
    retention_ms INTEGER district
    """,
)
# What a school itself found of a checkpoint of its logs, which alone can read all of it: refused is
# why it does not hold, null if it does. The hub lets no body go without this word, and none by a
# checkpoint that was refused. Events, so that one box of the school takes no word of another back.
CHECKPOINT_VERDICT = events(
    86,
    "checkpoint_verdict",
    Lane.CONTROL,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    covered TEXT district
    incarnation INTEGER district
    seq INTEGER district
    digest BLOB district
    refused TEXT district
    """,
)
# A school that was silent too long: nothing waits for it; it returns in a new incarnation.
EVICTION = states(
    83,
    "eviction",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.HUB,
    """
    member INTEGER district key
    at_ms INTEGER district
    returned_ms INTEGER district
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
    CONFIRMED_RECIPIENT,
    KEY_REQUEST,
    CLOCK_CORRECTION,
    CHECKPOINT_COUNTERSIGNED,
    EVICTION,
    CHECKPOINT_VERDICT,
)
