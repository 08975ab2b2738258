"""What daemon and camera worker keep no memory for, each in an interpreter of its own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(180)  # each loads a whole program

NEVER_USED = {"charset_normalizer", "click", "cryptography", "jinja2", "rich", "zeroconf"}
OTHER_PROGRAMS = {"edge", "hub", "provisioning", "sync"}

WORKER = "import drivers.cameras.__main__"
DAEMON = """
import sys, edge.__main__
sys.argv = ["schoolnode", "edge", "run", "--config=/nowhere/box.toml"]
try:
    edge.__main__.main()
except SystemExit:
    pass
"""

MODULES = """
import json, sys
print(json.dumps([name for name, module in sys.modules.items() if module]))
"""
# Contexts that libraries make when they are imported are nobody's: only the collector has them all.
AUTHORITIES = """
import gc, json, ssl
contexts = [each for each in gc.get_objects() if isinstance(each, ssl.SSLContext)]
print(json.dumps([each.cert_store_stats()["x509"] for each in contexts]))
"""
# glibc gives back the end of its heap only: one block that stays there keeps all below it.
BURST = """
import asyncio, json
from pathlib import Path
from drivers.allocator import keep_giving_back
def resident_kb():
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])
async def main():
    burst = [bytearray(b"x" * 2000) for _ in range(20_000)]
    last = burst[-1]
    burst.clear()
    before = resident_kb()
    giving_back = asyncio.create_task(keep_giving_back(0.05))
    await asyncio.sleep(0.5)
    print(json.dumps([before, resident_kb(), len(last)]))
    giving_back.cancel()
asyncio.run(main())
"""


def test_the_worker_loads_neither_the_daemon_nor_what_it_never_uses() -> None:
    loaded = {str(name).partition(".")[0] for name in told_by(WORKER + MODULES)}
    assert {"aiohttp", "zeep"} <= loaded
    assert loaded & (OTHER_PROGRAMS | NEVER_USED) == set()


@pytest.mark.parametrize("program", [WORKER, DAEMON], ids=["worker", "daemon"])
def test_a_process_keeps_no_public_authorities(program: str) -> None:
    authorities = told_by(program + AUTHORITIES)
    assert authorities  # aiohttp made its own
    assert set(authorities) == {0}


def test_what_a_burst_leaves_behind_is_given_back() -> None:
    before_kb, after_kb, _ = told_by(BURST)
    assert int(after_kb) < int(before_kb) - 30_000


def told_by(program: str) -> list[str | int]:
    """Return what a fresh interpreter prints last, as JSON."""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert not ended.stderr.startswith(b"Traceback")
    told: list[str | int] = json.loads(ended.stdout)
    return told
