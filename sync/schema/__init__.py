"""Every table that crosses the network, declared once.

Each column has its group (who may read it) and its merge rule (how versions become one).
"""

from sync.schema import (
    class_card,
    devices,
    evaluation,
    farm,
    lessons,
    places,
    sports,
    trust,
)
from sync.schema.model import Table

TABLES: tuple[Table, ...] = (
    *places.TABLES,
    *devices.TABLES,
    *class_card.TABLES,
    *lessons.TABLES,
    *farm.TABLES,
    *sports.TABLES,
    *evaluation.TABLES,
    *trust.TABLES,
)
BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}
BY_NUMBER: dict[int, Table] = {table.number: table for table in TABLES}
