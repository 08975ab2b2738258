"""What a terminal is to be told when it next asks, and what it answered."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

ORDERS_MAX = 600
BATCH = 50
RESEND_S = 30.0
"""An order without a result after this long is told again: all of them may be done twice."""
ATTEMPTS_MAX = 5


@dataclass(slots=True, eq=False)
class Order:
    """One command; ``done`` gives the terminal's code, 0 for success, None once it is given up."""

    number: int
    write: Callable[[], str]  # at the moment it is sent: a clock is set to what it is then
    done: asyncio.Future[int | None]
    attempts: int = 0
    sent_s: float = field(default=float("-inf"))


class Orders:
    """A bounded queue, in order; times are monotonic seconds."""

    def __init__(self, first: int) -> None:
        self._next = first
        self._waiting: OrderedDict[int, Order] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, write: Callable[[], str]) -> Order:
        """Queue a command; the oldest is given up when there are too many."""
        if len(self._waiting) >= ORDERS_MAX:
            self._settle(self._waiting.popitem(last=False)[1], None)
        order = Order(self._next, write, asyncio.get_running_loop().create_future())
        self._next = self._next % 999_999_999 + 1
        self._waiting[order.number] = order
        return order

    def due(self, now_s: float) -> list[tuple[int, str]]:
        """Return what to tell now; who did not answer often enough is given up."""
        told: list[tuple[int, str]] = []
        for order in list(self._waiting.values()):
            if now_s - order.sent_s < RESEND_S:
                continue
            if order.attempts >= ATTEMPTS_MAX:
                del self._waiting[order.number]
                self._settle(order, None)
                continue
            if len(told) >= BATCH:
                break
            order.attempts += 1
            order.sent_s = now_s
            told.append((order.number, order.write()))
        return told

    def note(self, number: int, code: int) -> None:
        """Take a result; one of an order that is not known is passed over."""
        order = self._waiting.pop(number, None)
        if order is not None:
            self._settle(order, code)

    @staticmethod
    def _settle(order: Order, code: int | None) -> None:
        if not order.done.done():
            order.done.set_result(code)
