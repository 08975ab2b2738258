"""Terminal numbers in few characters: ``900000001-900000480,900000500``."""

from collections.abc import Iterable

NUMBERS_MAX = 20_000


def pack_numbers(numbers: Iterable[str]) -> str:
    """Return the numbers as ranges; what is no number is left out."""
    ranges: list[list[int]] = []
    for number in sorted(int(each) for each in numbers if each.isascii() and each.isdecimal()):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in ranges)


def unpack_numbers(text: str) -> list[str]:
    """Return the numbers of ranges; what is no range is passed over, and more than the limit."""
    numbers: list[str] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        high = high or low
        if low.isascii() and low.isdecimal() and high.isascii() and high.isdecimal():
            last = min(int(high), int(low) + NUMBERS_MAX - len(numbers) - 1)
            numbers += [str(number) for number in range(int(low), last + 1)]
    return numbers
