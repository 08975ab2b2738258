"""``schoolnode-hub keys``: asks schools for what only a person there can give, and shows who reads.

A request is a row that the school's box shows as a question. It gives the hub nothing.
"""

import getpass
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from hub.command_options import DEFAULT_CONFIG, AsJson, ConfigFile, Open
from hub.errors import HubSetupError
from hub.key_queries import read_keys
from hub.locale.sentence import Sentence
from hub.pages.words import GROUPS, READERS, who_of, word_of
from hub.terminal import print_json, say, tell
from sync.keys.recipients import TEXT_MAX, fingerprint
from sync.logs.oplog import Row
from sync.store import connect_readonly

School = Annotated[int, typer.Argument(help=say(Sentence("The school's number.")))]
_KEY_FILE_BYTES_MAX = 4096


def keys_app(open_hub: Open, now_ms: Callable[[], int]) -> typer.Typer:
    """Return the commands; ``open_hub`` opens the hub that a configuration names."""
    app = typer.Typer(
        help=say(Sentence("Ask a school for a release or an escrow, and see who reads its data."))
    )

    @app.command(
        "ask-release",
        help=say(
            Sentence(
                "Ask a school to let the district read a sealed group; a person there decides."
            )
        ),
    )
    def ask_release(
        school: School,
        group: Annotated[
            Literal["health", "identity"], typer.Argument(help=say(Sentence("What to read.")))
        ],
        withdraw: Annotated[
            bool, typer.Option(help=say(Sentence("Take the question back.")))
        ] = False,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        row: Row = {"request": f"release {group}", "wish": "release", "subject": group}
        _ask(open_hub, config, school, row, now_ms(), withdraw=withdraw)
        _told(school, str(row["request"]), withdraw=withdraw, as_json=as_json)

    @app.command(
        "ask-escrow",
        help=say(
            Sentence("Ask a school to let an escrow key read everything; a person there decides.")
        ),
    )
    def ask_escrow(
        school: School,
        key: Annotated[
            Path, typer.Option(help=say(Sentence("The escrow's X25519 public key (PEM).")))
        ],
        name: Annotated[str, typer.Option(help=say(Sentence("Who keeps it.")))],
        withdraw: Annotated[
            bool, typer.Option(help=say(Sentence("Take the question back.")))
        ] = False,
        config: ConfigFile = DEFAULT_CONFIG,
        as_json: AsJson = False,
    ) -> None:
        public = _read_key(key)
        if not 1 <= len(name) <= TEXT_MAX:
            wrong = Sentence(
                "name who keeps the key in at most %(limit)s characters", {"limit": TEXT_MAX}
            )
            raise HubSetupError(say(wrong))
        shown = fingerprint(public)
        row: Row = {
            "request": f"escrow {shown}",
            "wish": "escrow",
            "subject": name,
            "public": public,
        }
        _ask(open_hub, config, school, row, now_ms(), withdraw=withdraw)
        _told(school, str(row["request"]), withdraw=withdraw, as_json=as_json)

    @app.command(
        "readers",
        help=say(Sentence("Show who may read what a school seals, as the school published it.")),
    )
    def readers(
        school: School, config: ConfigFile = DEFAULT_CONFIG, as_json: AsJson = False
    ) -> None:
        with open_hub(config) as parts, closing(connect_readonly(parts.store)) as reader:
            keys = read_keys(reader, school)
        if as_json:
            print_json(asdict(keys))
            return
        for group in keys.released:
            tell(Sentence("the hub reads %(group)s until further notice", {"group": _group(group)}))
        for group in keys.in_part:
            tell(Sentence("the hub reads some ended epochs of %(group)s", {"group": _group(group)}))
        for each in keys.readers:
            told = Sentence(
                "%(kind)s %(name)s: decided by %(who)s",
                {
                    "kind": word_of(READERS, each.kind),
                    "name": each.name or "",
                    "who": who_of(each.who or "—"),
                },
            )
            ended = f" ({say(Sentence('revoked'))})" if each.revoked else ""
            typer.echo(say(told) + ended)
        if not (keys.released or keys.in_part or keys.readers):
            tell(Sentence("Nobody beside the school's box reads what it seals."))

    return app


def _group(name: str) -> Sentence | str:
    return word_of(GROUPS, name)


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
        print_json({"school": school, "request": request, "asked": not withdraw})
    elif withdraw:
        tell(Sentence("School %(school)s is no longer asked.", {"school": str(school)}))
    else:
        tell(
            Sentence(
                "School %(school)s is asked: a person there decides. %(request)s",
                {"school": str(school), "request": request},
            )
        )


def _read_key(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(_KEY_FILE_BYTES_MAX)
        key = load_pem_public_key(content)
    except OSError as error:
        wrong = Sentence(
            "%(path)s: cannot be read (%(error)s); name another",
            {"path": str(path), "error": str(error.strerror)},
        )
        raise HubSetupError(say(wrong)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        wrong = Sentence(
            "%(path)s: no public key in PEM; make one with openssl", {"path": str(path)}
        )
        raise HubSetupError(say(wrong)) from error
    if not isinstance(key, X25519PublicKey):
        wrong = Sentence("%(path)s: an X25519 key is needed, not another kind", {"path": str(path)})
        raise HubSetupError(say(wrong))
    return key.public_bytes_raw()
