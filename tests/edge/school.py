"""One school's box for tests: a real identity of a real district, its store, and rows of the hub's.

``Box`` has no daemon; :func:`plant` writes rows as if the hub had sent them.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Interface
from itertools import count
from pathlib import Path

from edge.box_store import BoxStore, open_box
from edge.config import BoxConfig, Network, PagesPort, SealSettings, Serial
from provisioning.box_keys import new_box_keys
from provisioning.claim import read_certificates
from provisioning.enrolment_wire import EnrolmentAnswer, decode
from provisioning.identity import (
    Identity,
    IdentityRecord,
    read_key_and_chain,
    store_identity,
)
from provisioning.trust import der
from sync.logs.oplog import Row
from sync.schema import BY_NAME
from sync.schema.model import Kind
from sync.store import connect_readonly
from tests.provisioning.district import HOST, District, make_district, request_body

MINUTE = 60_000
ROOMS: Mapping[int, tuple[str, str]] = {17: ("flagship", "101"), 18: ("receiver", "201")}
_PLACES = count(1_000_000)


@dataclass(frozen=True)
class Box:
    folder: Path
    district: District

    @property
    def config(self) -> BoxConfig:
        return box_config(self.folder)

    @property
    def now_ms(self) -> int:
        return self.district.clock.ms

    @contextmanager
    def opened(self) -> Iterator[BoxStore]:
        with open_box(self.config, self.district.clock) as store:
            yield store

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(connect_readonly(self.folder / "box.db")) as reader:
            return [tuple(row) for row in reader.execute(query)]

    def plant(self, table: str, *rows: Row) -> None:
        with closing(sqlite3.connect(self.folder / "box.db", isolation_level=None)) as store:
            plant(store, table, *rows)


def box_config(
    folder: Path, *, ports: tuple[Path, ...] = (), network: str = "127.0.0.1/30"
) -> BoxConfig:
    return BoxConfig(
        folder=folder,
        network=Network(interface=IPv4Interface(network)),
        pages=PagesPort(addresses=(HOST,), port=1, plain_port=1),
        serial=Serial(usb=False, ports=ports),
        seal=SealSettings(after_s=0.1),
    )


def new_box(folder: Path, school: int = 17, district: District | None = None) -> Box:
    """Enrol a box without a network: the desk is asked directly."""
    known = district or make_district(folder / "hub")
    box = Box(folder / f"box-{school}", known)
    enrol(known, box.folder, school)
    return box


def enrol(district: District, folder: Path, school: int) -> Identity:
    code = district.desk.invite(school=school, school_name=f"第{school}小学")
    keys = new_box_keys()
    body = district.desk.enrol(request_body(code, keys, lan_names=[HOST]), HOST)
    answer = decode(body, EnrolmentAnswer)
    certified, _ = read_certificates(answer.certificates, district.authority.trust, keys)
    record = IdentityRecord(school_name=answer.school_name, hub_host=code.host, hub_port=code.port)
    return store_identity(folder / "identity", keys, certified, record)


def plant(store: sqlite3.Connection, table: str, *rows: Row) -> None:
    """Write rows as the fold of the hub's log would."""
    declared = BY_NAME[table]
    for row in rows:
        place = next(_PLACES)
        values: dict[str, object] = {"school": 0, **row, "log": 0, "row": place}
        if declared.kind is Kind.STATE:
            values |= {"hlc": place, "origin": 0}
            values.setdefault("deleted", 0)
        marks = ", ".join("?" * len(values))
        store.execute(
            f"INSERT OR REPLACE INTO {table} ({', '.join(values)}) VALUES ({marks})",  # noqa: S608 - names are the schema's
            tuple(values.values()),
        )


def certificate_row(identity: Identity, *, revoked: bool = False) -> Row:
    """Return the hub's row that tells of a box."""
    _, certificate = read_key_and_chain(identity.tls_pem)
    return {
        "school": identity.school,
        "box": identity.box,
        "certificate": der(certificate),
        "revoked": int(revoked),
    }


def schedule(
    box: Box,
    lesson: str,
    starts_ms: int,
    ends_ms: int,
    rooms: Mapping[int, tuple[str, str]] = ROOMS,
    **changes: int | str,
) -> None:
    """Let the hub schedule a lesson; ``rooms`` names each school's role and room."""
    for school, (role, room) in rooms.items():
        party: Row = {"school": school, "lesson": lesson, "role": role, "room": room}
        box.plant("lesson_party", party)
    box.plant(
        "lesson",
        {
            "school": 17,
            "lesson": lesson,
            "kind": "delivery",
            "title_zh": "圆的周长",
            "starts_ms": starts_ms,
            "ends_ms": ends_ms,
            **changes,
        },
    )
