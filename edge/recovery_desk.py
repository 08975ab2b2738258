"""Routes of the control socket for the recovery code, forgetting and restoring."""

from typing import Annotated, TypeVar

import msgspec
from aiohttp import web

from edge.errors import BoxSetupError
from edge.recovery_office import RecoveryOffice
from edge.restore_report import RestoreReport, RestoreWish
from sync.errors import RecipientError, RecoveryCodeError
from sync.persons.recovery import TYPED_CHARACTERS_MAX, parse_recovery_code
from sync.persons.vault import PERSON_MAX

WHO = "command line"
Ordinal = Annotated[int, msgspec.Meta(ge=1, lt=PERSON_MAX)]
Code = Annotated[str, msgspec.Meta(max_length=TYPED_CHARACTERS_MAX)]
_Wish = TypeVar("_Wish", bound=msgspec.Struct)


class CodeTyped(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recovery code to be compared with the present one."""

    code: Code


class Forget(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Whom to forget; a name only to find the ordinal, in a plan."""

    person: Ordinal | None = None
    name: Annotated[str, msgspec.Meta(max_length=200)] | None = None


class Restore(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Begins a restore."""

    code: Code
    older_vault: bool = False
    without_names: bool = False


class RecoveryDesk:
    """Answers the command line."""

    def __init__(self, office: RecoveryOffice) -> None:
        self._office = office

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/recovery", self._standing)
        app.router.add_post("/recovery/new", self._new)
        app.router.add_post("/recovery/check", self._check)
        app.router.add_get("/forget", self._forgotten)
        app.router.add_post("/forget/plan", self._plan)
        app.router.add_post("/forget", self._forget)
        app.router.add_get("/restore", self._report)
        app.router.add_post("/restore", self._restore)

    async def _standing(self, _: web.Request) -> web.Response:
        return _json(await self._office.standing())

    async def _new(self, _: web.Request) -> web.Response:
        try:
            code = await self._office.new_code(WHO)
        except RecipientError as error:
            raise BoxSetupError(str(error)) from error
        return _json({"code": code.printed()})

    async def _check(self, request: web.Request) -> web.Response:
        wish = await _body(request, CodeTyped)
        try:
            await self._office.check(wish.code)
        except RecoveryCodeError as error:
            raise BoxSetupError(str(error)) from error
        return _json({"present": True})

    async def _forgotten(self, _: web.Request) -> web.Response:
        return _json({"erasures": await self._office.erasures.standings()})

    async def _plan(self, request: web.Request) -> web.Response:
        wish = await _body(request, Forget)
        if (wish.person is None) == (wish.name is None):
            raise BoxSetupError("give either the ordinal or the name")
        return _json(await self._office.erasures.plan(wish.person, wish.name))

    async def _forget(self, request: web.Request) -> web.Response:
        wish = await _body(request, Forget)
        if wish.person is None or wish.name is not None:
            raise BoxSetupError("forgetting takes the ordinal that the plan names, and no name")
        return _json(await self._office.erasures.forget(wish.person, WHO))

    async def _report(self, _: web.Request) -> web.Response:
        return _json(_shown(self._office.restore.report))

    async def _restore(self, request: web.Request) -> web.Response:
        wish = await _body(request, Restore)
        try:
            code = parse_recovery_code(wish.code)
        except RecoveryCodeError as error:
            raise BoxSetupError(str(error)) from error
        self._office.restore.start(
            RestoreWish(
                code=code,
                who=WHO,
                older_vault=wish.older_vault,
                no_vault=wish.without_names,
            )
        )
        return _json({"started": True})


def _shown(report: RestoreReport) -> dict[str, object]:
    shown: dict[str, object] = msgspec.to_builtins(report, builtin_types=(bytes,))
    shown["equal"] = report.equal
    shown["tables"] = [
        {
            "table": each.table,
            "here": each.here.hex(),
            "hub": each.hub.hex(),
            "equal": each.equal,
        }
        for each in report.tables
    ]
    return shown


async def _body(request: web.Request, kind: type[_Wish]) -> _Wish:
    return msgspec.json.decode(await request.read(), type=kind)


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
