"""What the kernel says of processes: CPU time of all threads, and memory."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_PATH_WORD = 5


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


def tree_memory_mb(pid: int) -> float:
    """Return the memory of a process and all below it now, in MB; what they share counts once.

    Shared is what is mapped from the same file: of each file as much as the greatest of them has.
    """
    own_kb, of_files_kb = 0, Counter[str]()
    for each in _tree(pid):
        mapped_kb = Counter[str]()
        for path, resident_kb, anonymous_kb in _mappings(each):
            own_kb += anonymous_kb
            mapped_kb[path] += resident_kb - anonymous_kb
        of_files_kb |= mapped_kb
    return (own_kb + of_files_kb.total()) * 1024 / 1e6


def children_of(pid: int) -> list[int]:
    """Return the processes that a process started and that still run."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in _read(task).split()]


def _tree(pid: int) -> Iterator[int]:
    yield pid
    for child in children_of(pid):
        yield from _tree(child)


def _mappings(pid: int) -> Iterator[tuple[str, int, int]]:
    """Yield each mapping's file, its resident size, and how much of it is nobody else's, in KB."""
    path, resident_kb = "", 0
    for line in _read(Path(f"/proc/{pid}/smaps")).splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            path = words[_PATH_WORD] if len(words) > _PATH_WORD else ""
        elif words[0] == "Rss:":
            resident_kb = int(words[1])
        elif words[0] == "Anonymous:":
            yield path, resident_kb, int(words[1])


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
