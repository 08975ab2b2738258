"""``schoolnode-hub keys``: asks schools for what only a person there can give, and shows who reads.

A request is a row that the school's box shows as a question. It gives the hub nothing.
"""

import getpass
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hub.errors import HubSetupError
from hub.key_queries import read_keys
from hub.server import HubParts
from sync.keys.recipients import TEXT_MAX, fingerprint
from sync.logs.oplog import Row
from sync.store import connect_readonly

Open = Callable[[Path], AbstractContextManager[HubParts]]
ConfigFile = Annotated[
    Path, typer.Option("--config", "-c", help="The hub's configuration file (TOML).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]
School = Annotated[int, typer.Argument(help="The school's number.")]
_DEFAULT = Path("hub.toml")
_KEY_FILE_BYTES_MAX = 4096


def keys_app(open_hub: Open, now_ms: Callable[[], int]) -> typer.Typer:
    """Return the commands; ``open_hub`` opens the hub that a configuration names."""
    app = typer.Typer(help="Ask a school for a release or an escrow, and see who reads its data.")

    @app.command("ask-release")
    def ask_release(
        school: School,
        group: Annotated[Literal["health", "identity"], typer.Argument(help="What to read.")],
        withdraw: Annotated[bool, typer.Option(help="Take the question back.")] = False,
        config: ConfigFile = _DEFAULT,
        as_json: AsJson = False,
    ) -> None:
        """Ask a school to let the district read a sealed group; a person there decides."""
        row: Row = {"request": f"release {group}", "wish": "release", "subject": group}
        _ask(open_hub, config, school, row, now_ms(), withdraw=withdraw)
        _told(school, str(row["request"]), withdraw=withdraw, as_json=as_json)

    @app.command("ask-escrow")
    def ask_escrow(
        school: School,
        key: Annotated[Path, typer.Option(help="The escrow's X25519 public key (PEM).")],
        name: Annotated[str, typer.Option(help="Who keeps it.")],
        withdraw: Annotated[bool, typer.Option(help="Take the question back.")] = False,
        config: ConfigFile = _DEFAULT,
        as_json: AsJson = False,
    ) -> None:
        """Ask a school to let an escrow key read everything; a person there decides."""
        public = _read_key(key)
        if not 1 <= len(name) <= TEXT_MAX:
            raise HubSetupError(f"name who keeps the key in at most {TEXT_MAX} characters")
        shown = fingerprint(public)
        row: Row = {
            "request": f"escrow {shown}",
            "wish": "escrow",
            "subject": name,
            "public": public,
        }
        _ask(open_hub, config, school, row, now_ms(), withdraw=withdraw)
        _told(school, str(row["request"]), withdraw=withdraw, as_json=as_json)

    @app.command("readers")
    def readers(school: School, config: ConfigFile = _DEFAULT, as_json: AsJson = False) -> None:
        """Show who may read what a school seals, as the school published it."""
        with open_hub(config) as parts, closing(connect_readonly(parts.store)) as reader:
            keys = read_keys(reader, school)
        if as_json:
            typer.echo(json.dumps(asdict(keys), ensure_ascii=False))
            return
        for group in keys.released:
            typer.echo(f"the hub reads {group} until further notice")
        for group in keys.in_part:
            typer.echo(f"the hub reads some ended epochs of {group}")
        for each in keys.readers:
            ended = " (ended)" if each.revoked else ""
            typer.echo(f"{each.kind} {each.name}: decided by {each.who}{ended}")
        if not (keys.released or keys.in_part or keys.readers):
            typer.echo("Nobody beside the school's box reads what it seals.")

    return app


def _ask(
    open_hub: Open, config: Path, school: int, row: Row, now_ms: int, *, withdraw: bool
) -> None:
    told: Row = {
        **row,
        "school": school,
        "at_ms": now_ms,
        "who": getpass.getuser()[:TEXT_MAX],
        "deleted": int(withdraw),
    }
    with open_hub(config) as parts:
        parts.node.record("key_request", [told])


def _told(school: int, request: str, *, withdraw: bool, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"school": school, "request": request, "asked": not withdraw}))
    elif withdraw:
        typer.echo(f"School {school} is no longer asked.")
    else:
        typer.echo(f"School {school} is asked: a person there decides. {request}")


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_FILE_BYTES_MAX)
        key = load_pem_public_key(content)
    except OSError as error:
        raise HubSetupError(f"{path}: cannot be read ({error.strerror}); name another") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise HubSetupError(f"{path}: no public key in PEM; make one with openssl") from error
    if not isinstance(key, X25519PublicKey):
        raise HubSetupError(f"{path}: an X25519 key is needed, not another kind")
    return key.public_bytes_raw()
