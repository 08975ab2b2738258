"""The latest log lines, for the set-up page."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Self

from edge.pages.box_view import LogLine

LINES_MAX = 500
_TEXT_MAX = 1000


class LogMemory(logging.Handler):
    """Keeps the newest lines; ``on_line`` is told of each, from whatever thread logs.

    As a context it is installed for all loggers.
    """

    def __init__(self, on_line: Callable[[], None]) -> None:
        super().__init__(logging.INFO)
        self._lines: deque[LogLine] = deque(maxlen=LINES_MAX)
        self._number = 0
        self._on_line = on_line

    def emit(self, record: logging.LogRecord) -> None:
        self._number += 1
        self._lines.append(
            LogLine(
                number=self._number,
                at_ms=int(record.created * 1000),
                level=record.levelname,
                source=record.name,
                text=record.getMessage()[:_TEXT_MAX],
            )
        )
        self._on_line()

    def __enter__(self) -> Self:
        logging.getLogger().addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)

    def after(self, number: int) -> list[LogLine]:
        return [line for line in self._lines if line.number > number]
