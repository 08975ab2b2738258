"""How much one address of the LAN may ask, and how many strangers are listened to."""

from collections import Counter, OrderedDict

REQUESTS_A_SECOND = 10.0
REQUESTS_AT_ONCE = 60
ADDRESSES_MAX = 512
STRANGERS_MAX = 32
STRANGERS_PER_ADDRESS = 2


class Allowances:
    """So many requests an address: a bucket that refills. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, address: str, now_s: float) -> bool:
        """Count one request; False when the address has used its allowance."""
        left, at_s = self._left.pop(address, (float(REQUESTS_AT_ONCE), now_s))
        left = min(REQUESTS_AT_ONCE, left + (now_s - at_s) * REQUESTS_A_SECOND)
        is_left = left >= 1
        self._left[address] = (left - 1 if is_left else left, now_s)
        if len(self._left) > ADDRESSES_MAX:
            self._left.popitem(last=False)
        return is_left


class Strangers:
    """Who called and is nobody's: a few, so that invented ones cannot fill the inbox."""

    def __init__(self) -> None:
        self._known: set[str] = set()
        self._by_address: Counter[str] = Counter()

    def is_to_be_told(self, identity: str, address: str) -> bool:
        """Tell whether a stranger is to be shown to a person; the same one may be shown again."""
        if identity in self._known:
            return True
        is_room = len(self._known) < STRANGERS_MAX
        if not is_room or self._by_address[address] >= STRANGERS_PER_ADDRESS:
            return False
        self._known.add(identity)
        self._by_address[address] += 1
        return True

    def forget(self) -> None:
        """Begin anew, for the next search."""
        self._known.clear()
        self._by_address.clear()
