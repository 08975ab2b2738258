"""What a simulated device truly sent, written outside the code under test."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from drivers.entities import NowMs


class Ledger:
    """Append-only JSON lines; each line is one ``write`` and survives a kill of the process.

    Lines are ``{"t_ms": …, "kind": …, …fields}``. One file may be appended to by successive
    processes, never by two at once.
    """

    def __init__(self, path: Path, now_ms: NowMs) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._now_ms = now_ms

    def write(self, kind: str, **fields: object) -> None:
        line = json.dumps({"t_ms": self._now_ms(), "kind": kind, **fields}, ensure_ascii=False)
        os.write(self._descriptor, line.encode() + b"\n")

    def close(self) -> None:
        os.close(self._descriptor)


class TellingLedger(Ledger):
    """A ledger that keeps nothing: each line is told at once."""

    def __init__(self, tell: Callable[[Mapping[str, object]], None], now_ms: NowMs) -> None:
        self._tell = tell
        self._now_ms = now_ms

    def write(self, kind: str, **fields: object) -> None:
        self._tell({"t_ms": self._now_ms(), "kind": kind, **fields})

    def close(self) -> None:
        """Do nothing: no file is open."""


def read_ledger(path: Path) -> list[dict[str, object]]:
    """Return the lines of a ledger, oldest first; a half-written last line is left out."""
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")[:-1]
    return [json.loads(line) for line in lines if line]
