"""A simulated Hikvision access terminal: it pushes events and answers questions by Digest."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Any

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, web

from drivers.codecs.digest import Challenge, Credentials, challenge_value, is_answered
from drivers.codecs.guarded_xml import parse_strictly
from drivers.entities import NowMs

PUSH_S = 5.0
NONCE = "4f5a6b7c8d9e0f"
_XML = "application/xml"
_OK = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Somebody at the reader, by the terminal's clock."""

    serial_no: int
    local: datetime
    card: str
    employee: str
    major: int = 5

    def told(self) -> dict[str, Any]:
        return {
            "major": self.major,
            "minor": 1,
            "time": self.local.isoformat(timespec="seconds"),
            "cardNo": self.card,
            "employeeNoString": self.employee,
            "name": "张伟",
            "serialNo": self.serial_no,
        }


class IsapiSimulator:
    """Answers at ``host`` and pushes to ``listener``, an URL; its clock is ``clock_off_s`` ahead.

    ``asked`` are method and path of each question that was let in; ``on_asked`` hears each.
    """

    def __init__(
        self, mac: str, host: str, credentials: Credentials, now_ms: NowMs, zone: tzinfo
    ) -> None:
        self.mac = mac
        self.listener = ""
        self.clock_off_s = 0.0
        self.events: list[Event] = []
        self.asked: list[str] = []
        self.refused = 0
        self.knows_search = True
        self.on_asked: Callable[[str], None] = lambda _: None
        self._host = host
        self._credentials = credentials
        self._now_ms = now_ms
        self._zone = zone
        self._runner: web.AppRunner | None = None
        self.port = 0

    async def start(self) -> None:
        """Serve at ``port`` of ``host``, at a free one where it is 0."""
        app = web.Application(middlewares=[self._guard])
        app.add_routes(
            [
                web.get("/ISAPI/System/deviceInfo", self._info),
                web.get("/ISAPI/System/time", self._time),
                web.put("/ISAPI/System/time", self._set_time),
                web.put("/ISAPI/System/reboot", self._done),
                web.post("/ISAPI/AccessControl/AcsEvent", self._search),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, self._host, self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def swipe(self, card: str, employee: str = "", ago_s: float = 0.0) -> Event:
        """Have somebody at the reader."""
        local = self._local() - timedelta(seconds=ago_s)
        event = Event(serial_no=len(self.events) + 1, local=local, card=card, employee=employee)
        self.events.append(event)
        return event

    async def push(self, event: Event) -> bool:
        """Push an event as terminals do: JSON before a picture. False when it was not taken."""
        told = event.told()
        alert = {
            "ipAddress": self._host,
            "portNo": self.port,
            "protocol": "HTTP",
            "macAddress": self.mac,
            "dateTime": told["time"],
            "eventType": "AccessControllerEvent",
            "AccessControllerEvent": {
                **told,
                "majorEventType": told["major"],
                "subEventType": told["minor"],
            },
        }
        body = (
            b"--MIME_boundary\r\nContent-Type: application/json\r\n\r\n"
            + json.dumps(alert, ensure_ascii=False).encode("gb18030")
            + b"\r\n--MIME_boundary\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8"
            + bytes(2000)
            + b"\r\n--MIME_boundary--\r\n"
        )
        kind = {"Content-Type": "multipart/form-data; boundary=MIME_boundary"}
        connector = TCPConnector(local_addr=(self._host, 0))
        try:
            async with (
                ClientSession(connector=connector, timeout=ClientTimeout(PUSH_S)) as session,
                session.post(self.listener, data=body, headers=kind) as answer,
            ):
                return answer.status == _OK
        except (TimeoutError, ClientError, OSError):
            return False

    @web.middleware
    async def _guard(
        self,
        request: web.Request,
        handler: Any,  # noqa: ANN401 - aiohttp's own type is not public
    ) -> web.StreamResponse:
        challenge = Challenge(scheme="digest", realm="DS-1", nonce=NONCE, qop="auth")
        value = request.headers.get("Authorization", "")
        if not is_answered(challenge, self._credentials, request.method, value):
            self.refused += 1
            return web.Response(
                status=401, headers={"WWW-Authenticate": challenge_value(challenge)}
            )
        self.asked.append(f"{request.method} {request.path}")
        self.on_asked(self.asked[-1])
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _info(self, _request: web.Request) -> web.Response:
        return _xml(
            f"<DeviceInfo><model>DS-K1T343</model><macAddress>{self.mac}</macAddress>"
            "<firmwareVersion>V3.3.8</firmwareVersion></DeviceInfo>"
        )

    async def _time(self, _request: web.Request) -> web.Response:
        return _xml(
            "<Time><timeMode>manual</timeMode><localTime>"
            f"{self._local().isoformat(timespec='seconds')}</localTime></Time>"
        )

    async def _set_time(self, request: web.Request) -> web.Response:
        told = parse_strictly(await request.read(), size_max=4096).first_text("localTime")
        self.clock_off_s = datetime.fromisoformat(told).timestamp() - self._now_ms() / 1000
        return await self._done(request)

    async def _done(self, _request: web.Request) -> web.Response:
        return _xml("<ResponseStatus><statusCode>1</statusCode></ResponseStatus>")

    async def _search(self, request: web.Request) -> web.Response:
        if not self.knows_search:
            return web.Response(status=403, text="notSupport")
        condition = msgspec.json.decode(await request.read())["AcsEventCond"]
        since = datetime.fromisoformat(condition["startTime"])
        until = datetime.fromisoformat(condition["endTime"])
        found = [event for event in self.events if since <= event.local <= until]
        first = condition["searchResultPosition"]
        page = found[first : first + condition["maxResults"]]
        more = first + len(page) < len(found)
        answer = {
            "searchID": condition["searchID"],
            "totalMatches": len(found),
            "numOfMatches": len(page),
            "responseStatusStrg": "MORE" if more else "OK",
            "InfoList": [event.told() for event in page],
        }
        return web.json_response({"AcsEvent": answer})

    def _local(self) -> datetime:
        true = datetime.fromtimestamp(self._now_ms() / 1000, self._zone)
        return true + timedelta(seconds=self.clock_off_s)


def _xml(text: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{text}', content_type=_XML)
