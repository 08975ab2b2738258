import asyncio
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from hub.open_calls import OpenCalls
from provisioning.claim import claim
from provisioning.tls import box_client_context, hub_box_port_context
from tests.provisioning.district import HOST, District, listening_socket, running_district, serving


async def hold(_: web.Request) -> web.Response:
    await asyncio.sleep(3)
    return web.Response(text="held to its end")


async def greet(_: web.Request) -> web.Response:
    return web.Response(text="hello")


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_box_that_may_not_stay_is_cut_off_in_the_middle_of_a_request(
    tmp_path: Path, how: str
) -> None:
    async with running_district(tmp_path / "hub") as district:
        code = district.desk.invite(school=17, school_name="一小")
        box = await claim(code, tmp_path / "box", lan_names=[HOST], now_ms=district.clock)
        calls = OpenCalls(district.gate)
        app = web.Application(middlewares=[calls.watch])
        app.router.add_post("/held", hold)
        listener = listening_socket()
        port = listener.getsockname()[1]
        context = box_client_context(box.identity, district.clock)
        async with (
            serving(app, listener, hub_box_port_context(district.hub)),
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as http,
        ):
            watching = asyncio.create_task(calls.run())
            asked = asyncio.create_task(_post(http, f"https://{HOST}:{port}/held"))
            await asyncio.sleep(0.5)
            assert not asked.done()

            _end(district, box.identity.box, how)

            async with asyncio.timeout(5):
                with pytest.raises(aiohttp.ServerDisconnectedError):
                    await asked
            watching.cancel()


async def test_who_shows_no_certificate_is_left_to_the_route(tmp_path: Path) -> None:
    async with running_district(tmp_path) as district:
        calls = OpenCalls(district.gate)
        app = web.Application(middlewares=[calls.watch])
        app.router.add_get("/hello", greet)
        listener = listening_socket()
        url = f"https://{HOST}:{listener.getsockname()[1]}/hello"
        async with (
            serving(app, listener, hub_box_port_context(district.hub)),
            aiohttp.ClientSession() as http,
            http.get(url, ssl=False) as response,
        ):
            assert await response.text() == "hello"


def _end(district: District, box: str, how: str) -> None:
    if how == "revoked":
        district.denied.add(box)
    else:
        district.clock.ms += 31 * 24 * 3600 * 1000


async def _post(http: aiohttp.ClientSession, url: str) -> None:
    async with http.post(url) as response:  # a GET would be asked again by the client itself
        await response.read()
