"""The C library's allocator, told to keep a long-lived process small."""

import asyncio
import ctypes
from typing import Never

GIVE_BACK_EVERY_S = 10.0
_M_ARENA_MAX = -8  # mallopt(3), glibc


def share_one_arena() -> None:
    """Have all threads allocate from one place, before any is started.

    glibc gives each thread a place of its own, and what is freed in one is of no use to another:
    with a dozen threads that mostly wait, several MB that nobody uses. Other C libraries have no
    such setting and are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 1)


def give_back() -> None:
    """Return to the system every page that holds nothing; by glibc, others are left alone."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)


async def keep_giving_back(every_s: float = GIVE_BACK_EVERY_S) -> Never:
    """Give back what bursts leave behind, first of all the start; it takes a millisecond each time.

    glibc by itself returns only the end of its heap: what hundreds of cameras need once lies below.
    """
    while True:
        give_back()
        await asyncio.sleep(every_s)
