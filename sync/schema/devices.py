"""Devices, what they report, and which software and profiles drive them."""

from sync.schema.model import Audience, Lane, Owner, events, states

DEVICE = states(
    10,
    "device",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    device TEXT district key
    kind TEXT district
    name TEXT district
    profile TEXT district
    address TEXT district
    room TEXT district
    evidence TEXT district
    adopted_ms INTEGER district
    adopted_by TEXT district
    """,
)
DEVICE_STATE = states(
    11,
    "device_state",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    device TEXT district key
    point TEXT district key
    value TEXT district
    observed_ms INTEGER district
    """,
)
DEVICE_EVENT = events(
    12,
    "device_event",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    device TEXT district
    event TEXT district
    detail TEXT district
    """,
)
# value is null when quality is "bad"; reason says why. source is the provenance.
READING = events(
    13,
    "reading",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    device TEXT district
    point TEXT district
    value REAL district
    unit TEXT district
    quality TEXT district
    source TEXT district
    reason TEXT district
    """,
)
PROFILE_VERSION = states(
    14,
    "profile_version",
    Lane.CONTROL,
    Audience.DISTRICT,
    Owner.HUB,
    """
    profile TEXT district key
    version TEXT district
    digest BLOB district
    """,
)
RELEASE_STATE = states(
    15,
    "release_state",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    component TEXT district key
    version TEXT district
    state TEXT district
    since_ms INTEGER district
    """,
)
# One input or output of the school's safety: which point of which device, and what it means. active
# is the word that means alarm (or on); partner the second contact of a button, which always reads
# otherwise. hours: when a door is watched. effects: what an alarm sets off.
SAFETY_CIRCUIT = states(
    16,
    "safety_circuit",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    circuit TEXT district key
    kind TEXT district
    name TEXT district
    room TEXT district
    device TEXT district
    point TEXT district
    active TEXT district
    partner TEXT district
    hours TEXT district
    effects TEXT district
    test_days INTEGER district
    longest_s INTEGER district
    """,
)
# What was done about an alarm, or in a drill, by whom.
ALARM_STEP = events(
    17,
    "alarm_step",
    Lane.ALARM,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    incident TEXT district
    step TEXT district
    who TEXT district
    detail TEXT district
    """,
)
CIRCUIT_STATE = states(
    18,
    "circuit_state",
    Lane.ALARM,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    circuit TEXT district key
    state TEXT district
    since_ms INTEGER district
    reason TEXT district
    tested_ms INTEGER district
    tested_by TEXT district
    """,
)
# The district has seen an alarm.
ALARM_ANSWER = states(
    19,
    "alarm_answer",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.HUB,
    """
    incident TEXT district key
    at_ms INTEGER district
    who TEXT district
    remark TEXT district
    """,
)

TABLES = (
    DEVICE,
    DEVICE_STATE,
    DEVICE_EVENT,
    READING,
    PROFILE_VERSION,
    RELEASE_STATE,
    SAFETY_CIRCUIT,
    ALARM_STEP,
    CIRCUIT_STATE,
    ALARM_ANSWER,
)
