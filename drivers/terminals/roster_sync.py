"""Keeps a terminal's users as the school's roster: numbers and cards, never a name."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from drivers.codecs.adms import delete_user, put_user
from drivers.codecs.card_numbers import is_number
from drivers.terminals.orders import Orders

USERS_MAX = 5_000
AT_ONCE = 200
RETRY_S = 3600.0
"""What a terminal refused is offered again after this long."""


class RosterSync:
    """Compares who is there with who is to be there, and orders the difference.

    ``there`` are the numbers that are on the terminal for all the box knows; which cards they have
    there is known only of those put since the start, so that everybody is put once again then.
    Times are monotonic seconds.
    """

    def __init__(self, there: Iterable[str], people: Callable[[], Mapping[str, str]]) -> None:
        self.there: set[str] = set(there)
        self.is_wanted = False
        self._people = people
        self._put: dict[str, str] = {}
        self._under_way: dict[str, str | None] = {}
        self._not_before_s: dict[tuple[str, str | None], float] = {}

    @property
    def missing(self) -> int:
        """How many people are still to be put, changed or removed."""
        return len(self._difference())

    def order_difference(self, orders: Orders, now_s: float) -> int:
        """Queue what is to change, a bounded part at a time; return how much that is in all."""
        changes = self._difference()
        for number, card in changes:
            if len(self._under_way) >= AT_ONCE:
                break
            if number in self._under_way or self._not_before_s.get((number, card), now_s) > now_s:
                continue
            self._under_way[number] = card
            if card is None:
                order = orders.add(partial(delete_user, number))
            else:
                self.there.add(number)  # perhaps: who may be there is removed when they leave
                order = orders.add(partial(put_user, number, card))
            order.done.add_done_callback(partial(self._note, number, card, now_s))
        return len(changes)

    def _difference(self) -> list[tuple[str, str | None]]:
        """Return numbers with the card they are to have, None for who has to go: those first."""
        wanted = self._wanted()
        changes: list[tuple[str, str | None]] = [
            (number, None) for number in sorted(self.there - wanted.keys())
        ]
        changes += [
            (number, card) for number, card in wanted.items() if self._put.get(number) != card
        ]
        return changes

    def _wanted(self) -> Mapping[str, str]:
        if not self.is_wanted:
            return {}
        # A card that is no number fits no terminal.
        people = {number: card for number, card in self._people().items() if is_number(card)}
        return dict(sorted(people.items())[:USERS_MAX])

    def _note(
        self, number: str, card: str | None, asked_s: float, done: asyncio.Future[int | None]
    ) -> None:
        self._under_way.pop(number, None)
        if done.cancelled() or done.result() != 0:
            self._not_before_s[number, card] = asked_s + RETRY_S
            return
        self._not_before_s.pop((number, card), None)
        if card is None:
            self.there.discard(number)
            self._put.pop(number, None)
        else:
            self._put[number] = card
