"""The page of the school's safety: what stands, every circuit, trying them, and drills."""

import asyncio
from contextlib import closing, suppress
from dataclasses import dataclass

from aiohttp import web

from drivers.errors import SetupError
from edge.pages import safety_forms as forms
from edge.pages.actions import ActionError
from edge.pages.box_view import DeviceLight
from edge.pages.form_desk import FormDesk, Refusal
from edge.pages.forms import read_form
from edge.pages.queries import Room, read_rooms
from edge.pages.safety_words import safety_words
from edge.safety.circuits import CircuitKind, Effect
from edge.safety.incidents import DRILL, MARKED, Incident
from edge.safety.safety_rows import read_past

DONE = "/safety?said=done"
OUTPUT_WORDS = 2
"""An output is a command with a word for on and one for off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A point or command of a device that may become a circuit; ``value`` is the form's."""

    value: str
    device: str
    point: str
    words: tuple[str, ...]


class SafetyPage:
    """Everybody may see what stands; changes, and names of people, want the setup code."""

    def __init__(self, desk: FormDesk) -> None:
        self._desk = desk
        self._view = desk.view

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/safety", self.show),
            *(
                web.post(f"/safety/{path}", self._desk.acting(act, self._page))
                for path, act in {
                    "acknowledge": self._acknowledge,
                    "close": self._close,
                    "real": self._declare_real,
                    "mark": self._mark,
                    "drill": self._begin_drill,
                    "test": self._begin_test,
                    "tone": self._try_output,
                    "circuit": self._watch,
                    "remove": self._remove,
                }.items()
            ),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return await self._page(request, None, 200)

    async def _acknowledge(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.OfIncident)
        await self._view.safety.acknowledge(wish.incident, wish.who)
        return DONE

    async def _close(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.OfIncident)
        await self._view.safety.close(wish.incident, wish.who)
        return DONE

    async def _declare_real(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.OfIncident)
        await self._view.safety.declare_real(wish.incident, wish.who)
        return DONE

    async def _mark(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.Mark)
        await self._view.safety.mark(wish.incident, wish.step, wish.who, wish.detail or "")
        return DONE

    async def _begin_drill(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.BeginDrill)
        await self._view.safety.begin_drill(wish.place, wish.minutes, wish.effects, wish.who)
        return DONE

    async def _begin_test(self, request: web.Request, _who: str) -> str:
        wish = await read_form(request, forms.BeginTest)
        every = [each.circuit.circuit for each in self._view.safety.circuits()]
        chosen = [wish.circuit] if wish.circuit else every
        await self._view.safety.begin_test(chosen, wish.minutes, wish.who)
        return DONE

    async def _try_output(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.OfCircuit)
        failure = await self._view.safety.try_output(wish.circuit, wish.who or who)
        if failure:
            raise ActionError(502, "unreachable", failure)
        return DONE

    async def _watch(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.WatchCircuit)
        await self._view.safety.add(wish.circuit(), who)
        return DONE

    async def _remove(self, request: web.Request, who: str) -> str:
        wish = await read_form(request, forms.OfCircuit)
        await self._view.safety.remove(wish.circuit, who)
        return DONE

    async def _page(
        self, request: web.Request, refusal: Refusal | None, status: int
    ) -> web.Response:
        safety = self._view.safety
        signed_in = self._desk.is_signed_in(request)
        past, rooms = await asyncio.to_thread(self._read) if signed_in else ([], [])
        _ = self._desk.renderer.language(request).translations.gettext
        circuits = safety.circuits()
        inputs, outputs = self._choices() if signed_in else ([], [])
        return self._desk.renderer.page(
            request,
            "safety.html",
            {
                "signed_in": signed_in,
                "refusal": refusal,
                "done": "said" in request.query,
                "told": safety_words(_),
                "standing": safety.incidents(),
                "is_behind": safety.is_behind,
                "drill": safety.drill(),
                "drill_kind": DRILL,
                "circuits": circuits,
                "sounding": {
                    each.circuit.circuit for each in circuits if safety.outputs.is_on(each.circuit)
                },
                "failures": {
                    each.circuit.circuit: safety.outputs.failure(each.circuit) for each in circuits
                },
                "past": past,
                "rooms": rooms,
                "device_names": self._desk.device_names(),
                "marked": MARKED,
                "kinds": tuple(CircuitKind),
                "effects": tuple(Effect),
                "inputs": inputs,
                "outputs": outputs,
                "active_words": sorted(
                    {word for each in (*inputs, *outputs) for word in each.words}
                ),
            },
            status=status,
        )

    def _read(self) -> tuple[list[Incident], list[Room]]:
        """Read what was, and where it can be."""
        circuits = [each.circuit for each in self._view.safety.circuits()]
        with closing(self._view.connect()) as connection:
            return (
                read_past(connection, self._view.school, circuits),
                read_rooms(connection, self._view.school),
            )

    def _choices(self) -> tuple[list[Choice], list[Choice]]:
        """Return the inputs and outputs that adopted devices have."""
        inputs: list[Choice] = []
        outputs: list[Choice] = []
        for light in self._view.device_lights():
            with suppress(SetupError):  # a device that cannot be driven has none
                inputs += [
                    _choice(light, point, words)
                    for point, words in self._view.safety.inputs_of(light.device).items()
                ]
            outputs += [
                _choice(light, each.command, each.arguments)
                for each in light.commands
                if len(each.arguments) == OUTPUT_WORDS and "on" in each.arguments
            ]
        return inputs, outputs


def _choice(light: DeviceLight, point: str, words: tuple[str, ...]) -> Choice:
    return Choice(value=f"{point} {light.device}", device=light.name, point=point, words=words)
