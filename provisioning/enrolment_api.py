"""The enrolment desk's HTTP routes on the hub's box port."""

import asyncio
from collections.abc import Callable, Coroutine

from aiohttp import web

from provisioning.box_gate import BoxGate
from provisioning.certificates import Binding
from provisioning.enrolment import EnrolmentDesk
from provisioning.enrolment_wire import (
    AUTHORITY_PATH,
    MESSAGE_BYTES_MAX,
    RENEWAL_PATH,
    REQUEST_PATH,
    SELF_PATH,
    RefusalAnswer,
    encode,
)
from provisioning.errors import Refusal, RefusedError
from provisioning.tls import peer_certificate
from sync.writer import Writer

BODY_DEADLINE_S = 10.0
BUSY_RETRY_S = 60

_STATUS = {
    Refusal.UNKNOWN_CODE: 403,
    Refusal.EXPIRED: 410,
    Refusal.WITHDRAWN: 410,
    Refusal.REUSED: 409,
    Refusal.KEY_TYPE: 422,
    Refusal.TOO_MUCH: 422,
    Refusal.MALFORMED: 400,
    Refusal.BUSY: 429,
    Refusal.NO_CERTIFICATE: 401,
    Refusal.NOT_A_BOX: 403,
    Refusal.CERTIFICATE_EXPIRED: 403,
    Refusal.REVOKED: 403,
}

_Route = Callable[[web.Request], Coroutine[None, None, web.Response]]


def add_enrolment_routes(
    app: web.Application, desk: EnrolmentDesk, gate: BoxGate, writer: Writer
) -> None:
    """Mount the desk on ``app``, which is served with ``hub_box_port_context``.

    ``writer`` is the thread of the desk's store.
    """

    async def authority(_request: web.Request) -> web.Response:
        return web.Response(body=desk.authority_pem(), content_type="application/x-pem-file")

    async def enrol(request: web.Request) -> web.Response:
        body = await _bounded_body(request)
        return _json(await writer.call(desk.enrol, body, request.remote or ""))

    async def renew(request: web.Request) -> web.Response:
        box = gate.admit_to_renew(peer_certificate(request.transport))
        body = await _bounded_body(request)
        return _json(await writer.call(desk.renew, box, body))

    async def name_box(request: web.Request) -> web.Response:
        return web.Response(text=calling_box(request, gate).box)

    app.router.add_get(AUTHORITY_PATH, authority, allow_head=False)
    app.router.add_post(REQUEST_PATH, _refusing(enrol))
    app.router.add_post(RENEWAL_PATH, _refusing(renew))
    app.router.add_get(SELF_PATH, _refusing(name_box), allow_head=False)


def calling_box(request: web.Request, gate: BoxGate) -> Binding:
    """Return the box at the other end of this request; raise RefusedError when it may not call."""
    return gate.admit(peer_certificate(request.transport))


def refusal_response(refusal: RefusedError) -> web.Response:
    """Return the JSON answer for a refusal, with the status that fits it."""
    headers = {"Retry-After": str(BUSY_RETRY_S)} if refusal.reason is Refusal.BUSY else None
    return web.Response(
        body=encode(RefusalAnswer(refusal.reason)),
        status=_STATUS[refusal.reason],
        content_type="application/json",
        headers=headers,
    )


def _refusing(route: _Route) -> _Route:
    async def answer(request: web.Request) -> web.Response:
        try:
            return await route(request)
        except RefusedError as refusal:
            return refusal_response(refusal)

    return answer


async def _bounded_body(request: web.Request) -> bytes:
    """Return the body; refuse one without a length, over 16 KiB, or slower than 10 s."""
    length = request.content_length
    if length is None or length > MESSAGE_BYTES_MAX:
        raise RefusedError(Refusal.MALFORMED)
    try:
        async with asyncio.timeout(BODY_DEADLINE_S):
            return await request.read()
    except TimeoutError as error:
        raise RefusedError(Refusal.MALFORMED) from error


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, content_type="application/json")
