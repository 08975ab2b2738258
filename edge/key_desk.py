"""Routes of the control socket for keys: who reads what, and what a person decides about it."""

import re
from collections.abc import Callable
from typing import Annotated, Literal, ParamSpec, TypeVar

import msgspec
from aiohttp import web

from edge.acquaintances import Acquaintances
from edge.errors import BoxSetupError
from sync.errors import RecipientError
from sync.keys.key_office import KeyOffice, KeyState
from sync.keys.recipients import TEXT_MAX, Recipient, RecipientKind
from sync.node import Node
from sync.schema.model import Group
from sync.writer import Writer

_Wish = TypeVar("_Wish", bound=msgspec.Struct)
_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")
Who = Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_MAX)]
Fingerprint = Annotated[str, msgspec.Meta(max_length=80)]
SealedGroup = Literal["health", "identity"]
KEYS_TOLD_MAX = 5000
_HEX = re.compile(r"[0-9a-f]{32}")


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person says of one recipient's key."""

    fingerprint: Fingerprint
    who: Who


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which standing keys end; what is not named means all."""

    who: Who
    audience: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    group: Literal["district", "health", "identity"] | None = None


class Opening(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lets the hub read a group: single epochs of it, or all until further notice."""

    who: Who
    group: SealedGroup
    epochs: Annotated[list[int], msgspec.Meta(min_length=1, max_length=1000)] | None = None


class Closing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Ends a release."""

    who: Who
    group: SealedGroup


class KeyDesk:
    """Answers the command line."""

    def __init__(self, node: Node, writer: Writer, acquaintances: Acquaintances) -> None:
        self._node = node
        self._office: KeyOffice = node.keys
        self._writer = writer
        self._acquaintances = acquaintances

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/keys", self._show)
        app.router.add_post("/keys/confirm", self._confirm)
        app.router.add_post("/keys/revoke", self._revoke)
        app.router.add_post("/keys/rotate", self._rotate)
        app.router.add_post("/keys/release", self._release)
        app.router.add_post("/keys/unrelease", self._unrelease)

    async def _show(self, _: web.Request) -> web.Response:
        return _json(await self._writer.call(self._told))

    async def _confirm(self, request: web.Request) -> web.Response:
        wish = await _body(request, Decision)
        known = await self._writer.call(self._find, wish.fingerprint)
        if known.kind is RecipientKind.PARTNER:
            raise BoxSetupError(
                "confirm a partner's key with: schoolnode partners SCHOOL --confirm"
            )
        name = known.name or self._box_name(known)
        school = None if known.kind is RecipientKind.BOX else known.school
        await self._do(self._office.confirm, known.kind, known.public, name, wish.who, school)
        return _json({"confirmed": known.fingerprint, "kind": known.kind})

    async def _revoke(self, request: web.Request) -> web.Response:
        wish = await _body(request, Decision)
        known = await self._writer.call(self._find, wish.fingerprint)
        await self._do(self._office.revoke, known.id, wish.who)
        return _json({"revoked": known.fingerprint, "kind": known.kind})

    async def _rotate(self, request: web.Request) -> web.Response:
        wish = await _body(request, Rotation)
        group = None if wish.group is None else Group(wish.group)
        ended = await self._do(self._office.rotate, wish.who, wish.audience, group)
        return _json({"ended": ended})

    async def _release(self, request: web.Request) -> web.Response:
        wish = await _body(request, Opening)
        granted = await self._do(self._office.release, Group(wish.group), wish.who, wish.epochs)
        return _json({"granted": granted})

    async def _unrelease(self, request: web.Request) -> web.Response:
        wish = await _body(request, Closing)
        await self._do(self._office.unrelease, Group(wish.group), wish.who)
        return _json({"ended": wish.group})

    async def _do(
        self,
        work: Callable[_Arguments, _Result],
        *args: _Arguments.args,
        **kwargs: _Arguments.kwargs,
    ) -> _Result:
        try:
            return await self._writer.call(work, *args, **kwargs)
        except RecipientError as error:
            raise BoxSetupError(str(error)) from error

    def _find(self, fingerprint: str) -> Recipient:
        """Return whom a whole fingerprint names; raises BoxSetupError."""
        wanted = fingerprint.replace(" ", "").lower()
        if _HEX.fullmatch(wanted) is None:
            raise BoxSetupError(
                "give the whole fingerprint, eight groups of four: schoolnode keys recipients"
            )
        for each in self._office.recipients():
            if each.fingerprint.replace(" ", "") == wanted:
                return each
        raise BoxSetupError(f"nobody has the key {fingerprint}: schoolnode keys recipients")

    def _told(self) -> dict[str, object]:
        recipients = self._office.recipients()
        shown = {bytes(each.id): each.fingerprint for each in recipients}
        states = self._office.states()
        return {
            "recipients": [self._recipient(each) for each in recipients],
            "released": sorted(self._office.released()),
            "asked": [msgspec.to_builtins(each) for each in self._office.requests()],
            "keys": [_key(each, shown) for each in states[-KEYS_TOLD_MAX:]],
            "keys_total": len(states),
            "unreadable_grants": [
                {"purpose": purpose, "reason": reason}
                for purpose, reason in self._office.passed_over()
            ],
        }

    def _recipient(self, each: Recipient) -> dict[str, object]:
        return {
            "kind": each.kind,
            "school": each.school,
            "name": each.name or self._box_name(each),
            "fingerprint": each.fingerprint,
            "standing": each.standing,
            "reads": list(each.reads),
            "first_ms": each.first_ms,
            "decided_ms": each.decided_ms,
            "who": each.who,
        }

    def _box_name(self, each: Recipient) -> str:
        return self._acquaintances.box_name(each.school, each.public) or ""


def _key(state: KeyState, shown: dict[bytes, str]) -> dict[str, object]:
    epoch = state.epoch
    return {
        "audience": epoch.purpose.audience,
        "group": epoch.purpose.group,
        "epoch": epoch.purpose.epoch,
        "key": epoch.name.hex(),
        "begun_ms": epoch.begun_ms,
        "ended_ms": epoch.ended_ms,
        "sealed_bytes": epoch.sealed_bytes,
        "readers": sorted(shown.get(each, each.hex()) for each in state.readers),
    }


async def _body(request: web.Request, kind: type[_Wish]) -> _Wish:
    return msgspec.json.decode(await request.read(), type=kind)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
