"""What the kernel says of processes: CPU time of all threads, and memory."""

from collections.abc import Iterator
from pathlib import Path


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a process's living threads, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9


def peak_rss_mb(pid: int) -> float:
    """Return the greatest resident size so far, in MB of 10^6 bytes; 0 once it ended."""
    return _status_mb(pid, "VmHWM")


def tree_rss_mb(pid: int) -> float:
    """Return what a process and all below it have resident now, in MB; shared pages each time."""
    return sum(_status_mb(each, "VmRSS") for each in _tree(pid))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _read(task).split():
            yield from _tree(int(child))


def _status_mb(pid: int, name: str) -> float:
    for line in _read(Path(f"/proc/{pid}/status")).splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def _read(path: Path) -> str:
    """Return a file of /proc, empty when its process has ended meanwhile."""
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
