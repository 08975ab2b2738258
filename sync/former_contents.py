"""What rows of a store held in former versions, as steps from one version to the next read it.

Each function writes what its step's version did, whatever later ones do.
"""

from collections.abc import Mapping
from itertools import chain

import msgspec


def renumber_clocks(numbers: Mapping[str, int], clocks: bytes) -> bytes | None:
    """Return overrides by the names of columns as ``[bits, hlc, origin, …]`` by their numbers."""
    former = msgspec.msgpack.decode(clocks, type=dict[str, tuple[int, int]])
    # A version that was put back does not know all columns; it forgets the clocks of these.
    kept = sorted((numbers[name], clock) for name, clock in former.items() if name in numbers)
    bits = sum(1 << number for number, _ in kept)
    flat = chain.from_iterable(clock for _, clock in kept)
    return msgspec.msgpack.encode([bits, *flat]) if kept else None


def pack_former_write(table_number: int, row: int, content: bytes) -> bytes:
    """Return a write ``[bits, school, stamp, deleted, cell…]`` as columns of one row.

    The first version wrote maps of field numbers.
    """
    fields = msgspec.msgpack.decode(content)
    if isinstance(fields, list):
        bits, *cells = fields
        numbers = (-1, -2, -3, *(number for number in range(1, 63) if bits >> number & 1))
        fields = {-4: bits, **dict(zip(numbers, cells, strict=True))}
    columns = [
        [number, [0, None, cell]] for number, cell in sorted(fields.items()) if cell is not None
    ]
    return msgspec.msgpack.encode([table_number, 1, 1, [0, None, row], columns])
