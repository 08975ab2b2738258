"""What a browser does, without a screen: cookies, Origin, and following nothing by itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from tests.hub.pages.paper_hub import ADMIN_CODE


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    text: str
    bytes_on_wire: int

    def json(self) -> dict[str, Any]:
        return msgspec.json.decode(self.text, type=dict[str, Any])


class Browser:
    def __init__(self, origin: str, jar: aiohttp.CookieJar) -> None:
        self.origin = origin
        self.jar = jar
        self.session = aiohttp.ClientSession(cookie_jar=jar, auto_decompress=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.session.close()

    async def get(self, path: str, **headers: str) -> Answer:
        return await self._ask("GET", path, {"Accept-Language": "en", **headers}, None)

    async def post(
        self,
        path: str,
        data: Mapping[str, str] | list[tuple[str, str]] | bytes,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        sent = {"Accept-Language": "en", "Origin": self.origin} if headers is None else headers
        return await self._ask("POST", path, sent, data)

    async def post_json(self, path: str, body: object, language: str = "en") -> Answer:
        headers = {
            "Origin": self.origin,
            "Content-Type": "application/json",
            "Accept-Language": language,
        }
        return await self.post(path, msgspec.json.encode(body), headers)

    async def log_in(self, code: str = ADMIN_CODE, target: str = "/") -> Answer:
        return await self.post("/login", {"code": code, "next": target})

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        data: Mapping[str, str] | list[tuple[str, str]] | bytes | None,
    ) -> Answer:
        async with self.session.request(
            method, self.origin + path, headers=headers, data=data, allow_redirects=False
        ) as response:
            body = await response.text()
            length = int(response.headers.get("Content-Length", len(body.encode())))
            return Answer(response.status, response.headers, body, length)
