"""Opening and closing an administrator's session."""

from aiohttp import web

from hub.locale.sentence import Sentence
from hub.pages.access import Sessions, safe_next
from hub.pages.page_writer import PageWriter
from provisioning.code_sessions import TooManyAttemptsError, WrongCodeError
from provisioning.posted_form import read_posted


class SessionPages:
    def __init__(self, writer: PageWriter, sessions: Sessions) -> None:
        self._writer = writer
        self._sessions = sessions

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/login", self.show),
            web.post("/login", self.open),
            web.post("/logout", self.close),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._form(request, safe_next(request.query.get("next", "/")))

    async def open(self, request: web.Request) -> web.Response:
        fields = await read_posted(request)
        target = safe_next(str(fields.get("next", "/")))
        try:
            token = self._sessions.open(str(fields.get("code", "")), request.remote or "unknown")
        except WrongCodeError:
            fault = Sentence(
                "That is not the administrator's code."
                " “schoolnode-hub admin-code”, run on the hub, shows it."
            )
            return await self._form(request, target, fault, status=403)
        except TooManyAttemptsError as error:
            fault = Sentence(
                "Too many codes were tried. Wait %(seconds)s seconds, then try again.",
                {"seconds": error.retry_s},
            )
            response = await self._form(request, target, fault, status=429)
            response.headers["Retry-After"] = str(error.retry_s)
            return response
        answer = web.HTTPSeeOther(target)
        self._sessions.give_cookie(answer, token)
        raise answer

    async def close(self, request: web.Request) -> web.Response:
        self._sessions.close(self._sessions.token_of(request))
        answer = web.HTTPSeeOther("/login")
        self._sessions.take_cookie(answer)
        raise answer

    async def _form(
        self, request: web.Request, target: str, fault: Sentence | None = None, status: int = 200
    ) -> web.Response:
        context = {"next": target, "fault": fault}
        return await self._writer.page(request, "login.html", context, status=status)
