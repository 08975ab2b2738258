"""What people want a display to be, kept apart from what it is."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class DesiredState:
    """Wishes by command id of the profile, e.g. ``{"power": "on", "source": "31"}``.

    A wish holds until it is replaced, released, or a person at the display changes by hand what
    had been verified: nobody wrestles with a teacher's remote control. It survives the display's
    reboot and unplugging; ``wishes`` is what the owner stores to survive the box's own.
    """

    wishes: dict[str, str] = field(default_factory=dict)
    _verified: set[str] = field(default_factory=set)

    def wish(self, command: str, value: str) -> None:
        # Re-inserted at the end: wishes are asserted in the order they were made.
        self.wishes.pop(command, None)
        self.wishes[command] = value
        self._verified.discard(command)

    def release(self, command: str) -> None:
        self.wishes.pop(command, None)
        self._verified.discard(command)

    def verify(self, command: str, value: str) -> None:
        """Note that the display was seen to be as wished."""
        if self.wishes.get(command) == value:
            self._verified.add(command)

    def forget_display(self) -> None:
        """Note that the link was lost: whatever was verified must be seen again."""
        self._verified.clear()

    def verified(self, command: str) -> str | None:
        """Return the wish that was seen to be true on this link, or None."""
        return self.wishes[command] if command in self._verified else None

    def in_order(self) -> list[tuple[str, str]]:
        """Return all wishes, power first: nothing else is accepted by a display that is off."""
        return sorted(self.wishes.items(), key=lambda item: item[0] != "power")
