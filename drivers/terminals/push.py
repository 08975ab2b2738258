"""A terminal's request as the listener took it in, without HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass

ADDRESS_KEPT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """``endpoint`` is the path's last part in lower case; ``address`` is who sent it."""

    endpoint: str
    address: str
    query: Mapping[str, str]
    body: bytes | None = None
    """None for GET."""

    def parameter(self, name: str) -> str:
        """Return a parameter, empty for none; firmware differs in capitals."""
        wanted = name.lower()
        return next((value for key, value in self.query.items() if key.lower() == wanted), "")


class Caller:
    """Who is taken for a terminal: the address that was heard, while it is heard.

    Serial numbers are printed on terminals; whoever claims one gets nothing while the true one
    calls, nor just after the box has started. ``address`` is empty where none is known. Times are
    monotonic seconds.
    """

    def __init__(self, address: str, now_s: float) -> None:
        self.address = address
        self._heard_s = now_s

    def is_taken(self, address: str, now_s: float) -> bool:
        """Tell whether another address than ``address`` is the terminal's just now."""
        return self.address not in {"", address} and now_s - self._heard_s < ADDRESS_KEPT_S

    def note(self, address: str, now_s: float) -> None:
        self.address = address
        self._heard_s = now_s
