"""Whose card it is, whichever way the roster and the reader write its number."""

from drivers.codecs.card_numbers import (
    NUMBER_BITS,
    WIEGAND_26_MASK,
    canonical_card,
    readings,
    turned,
    write_number,
)


class CardBook:
    """Cards and their holders.

    A read number is looked up as it stands; then as whatever else its digits, or the roster's, can
    mean; then with its bytes turned around; last, where one of the two is Wiegand 26, by the 24
    bits they share. What could be several people's is nobody's.
    """

    def __init__(self) -> None:
        self._holders: dict[str, int] = {}
        self._written: dict[str, str] = {}  # as the roster writes it
        self._possible: dict[int, set[str]] = {}
        self._low: dict[int, set[str]] = {}

    def put(self, card: str, person: int) -> None:
        """Note a card's holder; the card passes on from whoever had it."""
        self.drop(card)
        name = canonical_card(card)
        self._holders[name] = person
        self._written[name] = card
        for table, number in self._places(card):
            table.setdefault(number, set()).add(name)

    def drop(self, card: str) -> None:
        """Forget a card; an unknown one is no error."""
        name = canonical_card(card)
        if self._holders.pop(name, None) is None:
            return
        for table, number in self._places(self._written.pop(name)):
            table[number].discard(name)
            if not table[number]:
                del table[number]

    def drop_person(self, person: int) -> None:
        for name in [name for name, holder in self._holders.items() if holder == person]:
            self.drop(self._written[name])

    def holder(self, card: str) -> int | None:
        """Return who has exactly this card."""
        return self._holders.get(canonical_card(card))

    def person_of(self, card: str) -> int | None:
        """Return whose card was read."""
        person = self.holder(card)
        numbers = readings(card)
        if person is not None or not numbers:
            return person
        for number in numbers:
            person = self._at(number)
            if person is None:
                person = self._only(self._possible.get(number))
            if person is not None:
                return person
        number = numbers[0]
        if number >> NUMBER_BITS:
            return None
        person = self._at(turned(number))
        if person is not None:
            return person
        if number <= WIEGAND_26_MASK:
            return self._only(self._low.get(number))
        return self._at(number & WIEGAND_26_MASK)

    def _at(self, number: int) -> int | None:
        return self._holders.get(write_number(number))

    def _only(self, names: set[str] | None) -> int | None:
        people = {self._holders[name] for name in names or ()}
        return people.pop() if len(people) == 1 else None

    def _places(self, card: str) -> list[tuple[dict[int, set[str]], int]]:
        numbers = readings(card)
        places = [(self._possible, number) for number in numbers[1:]]
        if numbers and not numbers[0] >> NUMBER_BITS:
            places.append((self._low, numbers[0] & WIEGAND_26_MASK))
        return places
