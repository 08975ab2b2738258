"""Rooftop farm and the labour course around it."""

from sync.schema.model import Audience, Lane, Owner, events, states

FARM_PLOT = states(
    40,
    "farm_plot",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    plot TEXT district key
    name TEXT district
    crop TEXT district
    class_group TEXT district
    """,
)
FARM_RULE = states(
    41,
    "farm_rule",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    rule TEXT district key
    plot TEXT district
    definition TEXT district
    enabled INTEGER district
    """,
)
FARM_ACTION = events(
    42,
    "farm_action",
    Lane.TELEMETRY,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    rule TEXT district
    device TEXT district
    command TEXT district
    outcome TEXT district
    """,
)
GROW_LOG = events(
    43,
    "grow_log",
    Lane.BULK,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    plot TEXT district
    person INTEGER district
    entry TEXT identity
    height_mm INTEGER district
    """,
)
LABOUR_POINT = events(
    44,
    "labour_point",
    Lane.BULK,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    task TEXT district
    points INTEGER district
    """,
)
LABOUR_CONFIRMATION = events(
    45,
    "labour_confirmation",
    Lane.BULK,
    Audience.SCHOOL,
    """
    at_ms INTEGER district
    person INTEGER district
    task TEXT district
    confirmed_by TEXT identity
    """,
)

TABLES = (FARM_PLOT, FARM_RULE, FARM_ACTION, GROW_LOG, LABOUR_POINT, LABOUR_CONFIRMATION)
