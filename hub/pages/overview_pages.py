"""District now, and one school of it."""

from aiohttp import web

from hub.pages.district import lay_district, rows_by_school, tile_detail
from hub.pages.figures import Figures
from hub.pages.page_writer import LANGUAGE, PageWriter
from hub.pages.tiles import HEXAGON


class OverviewPages:
    def __init__(self, writer: PageWriter, figures: Figures) -> None:
        self._writer = writer
        self._figures = figures

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.district),
            web.get("/api/district", self.district_json),
            web.get("/schools/{school:[0-9]{1,5}}", self.school),
            web.get("/api/schools/{school:[0-9]{1,5}}", self.school_json),
        ]

    async def district(self, request: web.Request) -> web.Response:
        district = await self._figures.district(request[LANGUAGE])
        context = {
            "district": district,
            "rows": rows_by_school(district),
            "picture": lay_district(district),
            "detail": tile_detail(len(district.rows)),
            "hexagon": HEXAGON,
        }
        template = "screen.html" if request.query.get("screen") == "1" else "district.html"
        return await self._writer.page(request, template, context)

    async def district_json(self, request: web.Request) -> web.Response:
        return await self._writer.json(request, await self._figures.district(request[LANGUAGE]))

    async def school(self, request: web.Request) -> web.Response:
        number = int(request.match_info["school"])
        page = await self._figures.school(number, request[LANGUAGE])
        device_names = {device.device: device.name for device in page.detail.devices}
        context = {"page": page, "device_names": device_names}
        return await self._writer.page(request, "school.html", context)

    async def school_json(self, request: web.Request) -> web.Response:
        number = int(request.match_info["school"])
        page = await self._figures.school(number, request[LANGUAGE])
        return await self._writer.json(request, page)
