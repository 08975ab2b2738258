"""Killed at any moment, a node has lost nothing that it acknowledged and doubled nothing."""

import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.sync.crash_program import open_district

KILLS = 6
ROOT = Path(__file__).parents[2]


def test_no_kill_loses_or_doubles_an_acknowledged_row(tmp_path: Path) -> None:
    chance = random.Random(11)
    ledger = tmp_path / "ledger"
    for kill in range(KILLS):
        before = ledger.stat().st_size if ledger.exists() else 0
        program = subprocess.Popen(
            [sys.executable, "-m", "tests.sync.crash_program", str(tmp_path), str(kill + 1)],
            cwd=ROOT,
        )
        # It is killed while it works, not while it starts.
        while not ledger.exists() or ledger.stat().st_size == before:
            assert program.poll() is None, "the program ended by itself"
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.12))
        program.kill()
        program.wait(timeout=10)
    lines = [line.split() for line in ledger.read_text().splitlines()]
    tried = {int(word) for name, *words in lines if name == "try" for word in words}
    wrote = {int(word) for name, *words in lines if name == "wrote" for word in words}
    stored = max(int(words[0]) for name, *words in lines if name == "stored")
    assert len(wrote) > KILLS
    assert stored > 0
    district = open_district(tmp_path)
    (held,) = district.rows(0, "SELECT count(*) FROM card_tap")[0]
    assert isinstance(held, int)
    assert held >= stored
    district.exchange(17)
    for origin in (17, 0):
        found = Counter(at_ms for (at_ms,) in district.rows(origin, "SELECT at_ms FROM card_tap"))
        assert set(found.values()) == {1}
        assert wrote <= found.keys() <= tried
    assert district.digests(0)["room"] == district.digests(17)["room"]
    assert district.rows(0, "SELECT count(*) FROM log WHERE frozen IS NOT NULL") == [(0,)]
    for node in district.nodes.values():
        node.close()
