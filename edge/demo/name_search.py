"""Whether a pupil's name stands readable in any file of the demo's hub, and whether it would show.

The second is the first one's control: the same search must find names that are there.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from edge.demo.hub_figures import ask_number
from edge.demo.plan import DemoPlan, roster

ENCODINGS = ("utf-8", "gb18030", "unicode-escape", "utf-16-le")


def count_names_at_hub(plan: DemoPlan) -> int:
    """Count pupils' names found in any file of the hub, in any of ENCODINGS, or as opened cells.

    The same search must find a name that is planted in a copy: see :func:`search_finds_names`.
    """
    names = [name for school in plan.schools for name, _ in roster(school)]
    hub_folder = plan.hub_config.parent
    found = sum(count_names(path.read_bytes(), names) for path in _files(hub_folder))
    return found + ask_number(
        hub_folder / "hub.db",
        "SELECT count(*) FROM person WHERE name IS NOT NULL OR card IS NOT NULL",
    )


def search_finds_names(plan: DemoPlan) -> bool:
    """Tell whether the search finds what is there: the schools' own names, and planted ones.

    A pupil's name is planted in every encoding between bytes of the hub's own database.
    """
    content = (plan.hub_config.parent / "hub.db").read_bytes()
    name = roster(plan.schools[0])[0][0]
    planted = [
        content[:500] + _encoded(name, encoding) + content[500:1000] for encoding in ENCODINGS
    ]
    in_clear = b"".join(path.read_bytes() for path in _files(plan.hub_config.parent))
    return all(count_names(each, [name]) for each in planted) and bool(
        count_names(in_clear, [plan.schools[0].name])
    )


def count_names(content: bytes, names: Iterable[str]) -> int:
    return sum(any(_encoded(name, encoding) in content for encoding in ENCODINGS) for name in names)


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _encoded(name: str, encoding: str) -> bytes:
    if encoding == "unicode-escape":
        return json.dumps(name)[1:-1].encode()
    return name.encode(encoding)
