"""How many calls of each school are under way, so that none takes more than its share."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager


class CallsUnderWay:
    """On the event loop; schools without a call cost nothing."""

    def __init__(self) -> None:
        self._calls: Counter[int] = Counter()

    def total(self) -> int:
        return self._calls.total()

    def of(self, school: int) -> int:
        return self._calls[school]

    @contextmanager
    def one(self, school: int) -> Iterator[None]:
        """Count one more of a school until the block ends."""
        self._calls[school] += 1
        try:
            yield
        finally:
            self._calls[school] -= 1
            if not self._calls[school]:
                del self._calls[school]
