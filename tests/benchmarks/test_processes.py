"""What is read of processes is their own."""

import subprocess
import sys

from benchmarks.processes import peak_rss_mb

PARENT_BYTES = 200 * 1024 * 1024
SMALL_MB = 100
_ASK = "import os; from benchmarks.processes import peak_rss_mb; print(peak_rss_mb(os.getpid()))"


def test_a_programs_peak_is_not_that_of_whoever_started_it() -> None:
    """``ru_maxrss`` begins with the size of the process that was forked."""
    held = bytearray(PARENT_BYTES)
    told = subprocess.run([sys.executable, "-c", _ASK], stdout=subprocess.PIPE, check=True)
    assert len(held) == PARENT_BYTES
    assert 0 < float(told.stdout) < SMALL_MB


def test_a_process_that_ended_has_no_size() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert peak_rss_mb(process.pid) == 0
