"""What the hub's commands take alike: a configuration, the hub it names, the form of answers."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Annotated, Protocol

import typer

from hub.locale.sentence import Sentence
from hub.server import HubParts
from hub.terminal import say

ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help=say(Sentence("The hub's configuration file (TOML).")))
]
DEFAULT_CONFIG = Path("hub.toml")
AsJson = Annotated[
    bool, typer.Option("--json", help=say(Sentence("Print one JSON object instead of text.")))
]


class Open(Protocol):
    """Opens the hub that a configuration names, beside its daemon.

    ``host`` is the name that boxes call it by, the configuration's first if None.
    """

    def __call__(
        self, config: Path, host: str | None = None, /
    ) -> AbstractContextManager[HubParts]: ...
