"""Whether a pupil's name or card can be read in any file of the demo's hub, and if it would show.

Looked for in the bytes, and in every cell and field that the hub's own keys make of them. The
second question is the first one's control: the same search must find names that are there.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.demo.hub_figures import ask_number
from edge.demo.plan import DemoPlan, roster
from provisioning.box_keys import x25519_private
from provisioning.durable_file import read_private
from sync.readable import keys_granted, readable, readable_in_file
from sync.schema.model import Group, Lane
from sync.segments.body import TableColumns, pack_tables
from sync.segments.columnar import encode_column
from sync.segments.sealing import SALT_BYTES, DataKey, key_id
from sync.segments.segment import (
    FIRST_PREV,
    LogName,
    Place,
    PlainBody,
    TableHeader,
    build_segment,
)
from sync.segments.signing import signer_id

ENCODINGS = ("utf-8", "gb18030", "unicode-escape", "utf-16-le")


def count_names_at_hub(plan: DemoPlan) -> int:
    """Count pupils' names and cards that can be read in any file of the hub, in any of ENCODINGS.

    The same search must find a name that is planted in a copy: see :func:`search_finds_names`.
    """
    told = [word for school in plan.schools for person in roster(school) for word in person]
    hub_folder = plan.hub_config.parent
    keys = _keys(hub_folder)
    found = sum(count_names(_all_of(path, keys), told) for path in _files(hub_folder))
    return found + ask_number(
        hub_folder / "hub.db",
        "SELECT count(*) FROM person WHERE name IS NOT NULL OR card IS NOT NULL",
    )


def search_finds_names(plan: DemoPlan) -> bool:
    """Tell whether the search finds what is there: the schools' own names, and planted ones.

    A pupil's name is planted in every encoding between bytes of the hub's own database, and as a
    cell of a segment under each key that the hub was granted, in whose bytes it does not stand.
    """
    hub_folder = plan.hub_config.parent
    content = (hub_folder / "hub.db").read_bytes()
    name = roster(plan.schools[0])[0][0]
    planted = [
        content[:500] + _encoded(name, encoding) + content[500:1000] for encoding in ENCODINGS
    ]
    keys = _keys(hub_folder)
    segments = [_segment_with(name, key) for key in keys]
    in_clear = b"".join(path.read_bytes() for path in _files(hub_folder))
    return (
        all(count_names(each, [name]) for each in planted)
        and bool(count_names(in_clear, [plan.schools[0].name]))
        and bool(segments)
        and not count_names(b"".join(segments), [name])
        and all(count_names(b"\0".join(readable(each, keys)), [name]) for each in segments)
    )


def count_names(content: bytes, names: Iterable[str]) -> int:
    return sum(any(_encoded(name, encoding) in content for encoding in ENCODINGS) for name in names)


def _keys(hub_folder: Path) -> set[DataKey]:
    """Return what the hub's sealing key opens of the grants that its store holds."""
    sealing = x25519_private(read_private(hub_folder / "identity" / "sealing.key"))
    return keys_granted(hub_folder / "hub.db", sealing)


def _all_of(path: Path, keys: set[DataKey]) -> bytes:
    """Return a file's bytes, and behind them all that can be read of it."""
    return b"\0".join({path.read_bytes(), *readable_in_file(path, keys)})


def _segment_with(name: str, key: DataKey) -> bytes:
    """Return a segment as a school might have sealed it by mistake: a name for all to read."""
    signing = Ed25519PrivateKey.from_private_bytes(bytes(32))
    cells = encode_column([name, "", name])
    content = pack_tables([TableColumns(1, 1, 3, encode_column([1, 2, 3]), [(1, cells)])])
    return build_segment(
        Place(
            log=LogName(1, 1, "s1", Lane.BULK),
            seq=1,
            prev=FIRST_PREV,
            first_row=1,
            last_row=3,
            first_stamp=1,
            last_stamp=1,
        ),
        [TableHeader(1, 1, 3)],
        [PlainBody(group=Group.DISTRICT, key=key, key_id=key_id(key), content=content)],
        bytes(SALT_BYTES),
        (signer_id(signing.public_key()), signing),
    )


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def _encoded(name: str, encoding: str) -> bytes:
    if encoding == "unicode-escape":
        return json.dumps(name)[1:-1].encode()
    return name.encode(encoding)
