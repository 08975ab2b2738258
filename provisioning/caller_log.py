"""What a port tells of who does not speak its protocol: without quoting it, and sparingly.

It comes before any other judgement, from anybody, and a secret may stand in it.
"""

import logging
from collections.abc import Callable

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

TOLD_AT_ONCE = 16
TOLD_EVERY_S = 60.0

_FAULTS = {
    HttpProcessingError: "it is no HTTP",
    web.RequestPayloadError: "its body is not what its header says",
    ConnectionResetError: "it hung up in the middle",
    BrokenPipeError: "it hung up in the middle",
}


class Sparing:
    """So many lines at once, then one a while. Times are monotonic seconds."""

    def __init__(self, monotonic_s: Callable[[], float]) -> None:
        self._monotonic_s = monotonic_s
        self._left = float(TOLD_AT_ONCE)
        self._at_s = monotonic_s()

    def take(self) -> bool:
        """Return whether one more line may be told."""
        now_s = self._monotonic_s()
        self._left = min(TOLD_AT_ONCE, self._left + (now_s - self._at_s) / TOLD_EVERY_S)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class CallerLog(logging.Filter):
    """Makes one short line of the trace with which aiohttp tells of a caller's fault.

    Faults of the program's own keep their trace.
    """

    def __init__(self, sparing: Sparing) -> None:
        super().__init__()
        self._sparing = sparing

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        fault = next((text for kind, text in _FAULTS.items() if isinstance(error, kind)), None)
        if fault is None:
            return True
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        caller = record.args[0] if isinstance(record.args, tuple) and record.args else "somebody"
        record.msg, record.args = "a call of %s: %s (%s)", (caller, fault, type(error).__name__)
        record.exc_info = None
        return self._sparing.take()
