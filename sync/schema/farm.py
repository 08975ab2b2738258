"""Rooftop farm and the labour course around it."""

from sync.schema.model import Audience, Lane, Owner, events, states

# devices: the ids of those that measure this plot, separated by spaces.
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
    devices TEXT district
    """,
)
# definition: what edge.farm.rule reads, as JSON.
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
# reason is a word of edge.farm.conditions.Because, facts (JSON) the values behind it; what was
# decided and not done has the outcome "blocked".
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
    reason TEXT district
    facts TEXT district
    """,
)
# photo names a file that stays on the box: the first half of its SHA-256 in hexadecimal.
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
    class_group TEXT district
    photo TEXT identity
    """,
)
# task is drawn by the box: the confirmation of these points names it.
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
    work TEXT identity
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
    granted INTEGER district
    """,
)
# Two plots that differ in one factor; points (separated by spaces) are compared from from_ms.
FARM_EXPERIMENT = states(
    46,
    "farm_experiment",
    Lane.CONTROL,
    Audience.SCHOOL,
    Owner.SCHOOL,
    """
    experiment TEXT district key
    title TEXT district
    factor TEXT district
    hypothesis TEXT identity
    plot_a TEXT district
    plot_b TEXT district
    points TEXT district
    class_group TEXT district
    from_ms INTEGER district
    until_ms INTEGER district
    conclusion TEXT identity
    """,
)

TABLES = (
    FARM_PLOT,
    FARM_RULE,
    FARM_ACTION,
    GROW_LOG,
    LABOUR_POINT,
    LABOUR_CONFIRMATION,
    FARM_EXPERIMENT,
)
