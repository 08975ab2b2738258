"""The C library's allocator, told to keep a long-lived daemon small."""

import ctypes

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
