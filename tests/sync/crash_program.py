"""A school and its hub in one process that works until it is killed; run by test_crash.

Arguments are a folder and a seed. What was acknowledged is written to ``ledger`` beside the
stores, line by line and unbuffered, after each call has returned:

    try <school's tap number>...     before the taps are recorded
    wrote <tap number>...            record() returned
    stored <count>                   the hub's receipt covers so many of the school's taps
"""

import os
import random
import sys
from itertools import count
from pathlib import Path

from sync.logs.oplog import Row
from sync.schema.model import Lane
from sync.segments.segment import parse_segment
from tests.sync.district import District, new_keys
from tests.sync.turns import TurnSession


def work(folder: Path, seed: int) -> None:
    chance = random.Random(seed)
    district = open_district(folder)
    school, hub = district.nodes[17], district.nodes[0]
    edge, desk = TurnSession(school, 0), TurnSession(hub, 17)
    ledger = os.open(folder / "ledger", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    (known,) = school._connection.execute("SELECT count(*) FROM card_tap").fetchone()
    for first in count(known + 10**9 * seed, 1000):
        numbers = range(first, first + chance.randrange(1, 6))
        words = " ".join(map(str, numbers))
        os.write(ledger, f"try {words}\n".encode())
        rows: list[Row] = [{"at_ms": number, "device": "door"} for number in numbers]
        school.record_all({"card_tap": rows, "room": [{"room": "r1", "name": words}]})
        os.write(ledger, f"wrote {words}\n".encode())
        district.now += chance.randrange(1, 100)
        if chance.random() < 0.5:
            district.seal(17, 0)
        if chance.random() < 0.7:
            edge.receive_answer(desk.answer(edge.request())[0])
            os.write(ledger, f"stored {receipted(district)}\n".encode())


def open_district(folder: Path) -> District:
    district = District(folder, random.Random(5))
    for origin in (0, 17):
        # The same keys in every run, whatever else is drawn.
        district.keys[origin] = new_keys(origin, random.Random(origin))
        district.add(origin)
    return district


def receipted(district: District) -> int:
    """Return how many rows of the attendance lane the hub has receipted."""
    school = district.nodes[17]
    cursors = school.peers.cursors(0)
    total = 0
    for log in school.logs():
        seq = cursors.get(log.id, (0, 0))[0]
        wire = school.segment(log.id, seq)
        if log.name.lane is Lane.ATTENDANCE and wire is not None:
            total += parse_segment(wire).header.last_row
    return total


if __name__ == "__main__":
    work(Path(sys.argv[1]), int(sys.argv[2]))
