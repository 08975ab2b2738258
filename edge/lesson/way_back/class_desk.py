"""Between classes and their teacher, by room: what a class says, and what its teacher sees."""

from collections.abc import Callable
from typing import Protocol

from edge.errors import NotNowError
from edge.lesson.way_back.return_path import AskedByTeacher, Said
from edge.lesson.way_back.return_wall import ReturnWall


class WayBack(Protocol):
    """A class's way back to its teacher (``edge.lesson.way_back.return_path``)."""

    @property
    def asked(self) -> AskedByTeacher | None: ...

    async def say(self, said: Said) -> None: ...


class GivesLesson(Protocol):
    """What holds a lesson that this school gives."""

    @property
    def wall(self) -> ReturnWall | None: ...


class ReceivesLesson(Protocol):
    """What holds a lesson that comes to this school."""

    @property
    def back(self) -> WayBack | None: ...


class ClassDesk:
    """What the pages ask of the lessons that are held."""

    def __init__(
        self,
        giving: Callable[[str], GivesLesson | None],
        receiving: Callable[[str], ReceivesLesson | None],
    ) -> None:
        """Ask ``giving`` and ``receiving`` what is held in a room, or prepared."""
        self._giving = giving
        self._receiving = receiving

    def wall(self, room: str) -> ReturnWall | None:
        """Return the classes of the lesson that a room gives, None when it gives none."""
        run = self._giving(room)
        return None if run is None else run.wall

    def asked(self, room: str) -> AskedByTeacher | None:
        """Return what the class of a room is asked now, None where it is asked nothing."""
        run = self._receiving(room)
        return None if run is None or run.back is None else run.back.asked

    async def say(self, room: str, said: Said) -> None:
        """Tell the teacher what the class of a room says; raises NotNowError."""
        run = self._receiving(room)
        if run is None or run.back is None:
            raise NotNowError("no lesson comes to this room now; nobody hears it")
        await run.back.say(said)
