"""The services of one camera through zeep; runs in the worker process only, as zeep is heavy.

zeep builds the requests and reads the answers by the ONVIF WSDL. It never touches the network:
its transport here sends through ``pinned_http`` and hands it checked XML.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import aiohttp
import msgspec
import onvif
from onvif.exceptions import ONVIFError
from onvif.settings import DEFAULT_SETTINGS
from onvif.util import is_auth_error
from zeep.exceptions import Error as ZeepError
from zeep.exceptions import Fault
from zeep.helpers import serialize_object
from zeep.wsdl.utils import etree_to_string

from drivers.cameras.lean_wsdl import DEFINITIONS, LeanWsdl
from drivers.cameras.messages import CameraAccess
from drivers.cameras.pinned_http import check_login, fetch, host_of, pin, wrong_password
from drivers.codecs import device_text
from drivers.codecs.guarded_xml import sanitise
from drivers.errors import LoginRefusedError, ProtocolError, RefusedError

REQUEST_S = 5.0
REPLY_BYTES_MAX = 512 * 1024
TEXT_CHARS_MAX = 128
_UNSIGNED = "unsigned "  # services that carry no token at all

# Second line behind ``sanitise``: zeep's own parser refuses the same.
DEFAULT_SETTINGS.forbid_dtd = True
DEFAULT_SETTINGS.xml_huge_tree = False


_Told = TypeVar("_Told")


@dataclass(frozen=True, slots=True)
class _SoapAnswer:
    """The part of ``requests.Response`` that zeep reads."""

    status_code: int
    content: bytes
    headers: Mapping[str, str] = field(
        default_factory=lambda: {"Content-Type": "application/soap+xml"}
    )
    encoding: str = "utf-8"


class _PinnedTransport:
    """What zeep needs of a transport, for one camera; ``cache`` is part of that."""

    cache = None

    def __init__(
        self,
        session: aiohttp.ClientSession,
        access: CameraAccess,
        middlewares: Sequence[aiohttp.ClientMiddlewareType],
    ) -> None:
        self._session = session
        self._access = access
        self._host = host_of(access.address)
        self._middlewares = middlewares

    async def post_xml(
        self, address: str, envelope: object, headers: Mapping[str, str]
    ) -> _SoapAnswer:
        url = pin(address, self._host, "service address")
        answer = await fetch(
            self._session,
            ("POST", url, etree_to_string(envelope)),  # type: ignore[no-untyped-call]  # zeep's
            content_type=headers.get("Content-Type", "application/soap+xml; charset=utf-8"),
            size_max=REPLY_BYTES_MAX,
            timeout_s=REQUEST_S,
            middlewares=self._middlewares,
        )
        check_login(answer, self._access)
        return _SoapAnswer(answer.status, sanitise(answer.body, size_max=REPLY_BYTES_MAX))

    def load(self, url: str) -> bytes:
        raise ProtocolError(f"camera {self._host}: its answer refers to {url[:80]!r}; refused")

    async def aclose(self) -> None:
        """Do nothing: the session belongs to the worker."""


class OnvifServices:
    """Calls operations of one camera's services, as long as its access stays the same.

    ``xaddrs`` are the services' addresses by the names of ``DEFINITIONS``, all on its own host.
    ``offset_ms`` is how far the camera's clock is ahead, None before it was read.
    """

    def __init__(self, access: CameraAccess, http: aiohttp.ClientSession, wsdl: LeanWsdl) -> None:
        self.host = host_of(access.address)
        self.xaddrs = {"devicemgmt": pin(access.address, self.host, "device service")}
        self.offset_ms: int | None = None
        credentials = access.credentials
        self.middlewares: tuple[aiohttp.ClientMiddlewareType, ...] = (
            (aiohttp.DigestAuthMiddleware(credentials.user, credentials.password),)
            if credentials is not None
            else ()
        )
        self._access = access
        self._http = http
        self._wsdl = wsdl
        self._services: dict[str, onvif.ONVIFService] = {}

    def set_offset(self, offset_ms: int) -> None:
        """Sign by another clock from now on: services made with the old one are void."""
        self.offset_ms = offset_ms
        self._services = {
            key: service for key, service in self._services.items() if key.startswith(_UNSIGNED)
        }

    def rest(self) -> None:
        """Drop zeep's proxies, 25 KB each: a camera that is only watched needs none."""
        self._services.clear()

    async def call(
        self,
        name: str,
        operation: str,
        expected: type[_Told],
        parameters: Mapping[str, object] | None = None,
        *,
        signed: bool = True,
    ) -> _Told:
        """Call an operation and return its answer as ``expected``.

        Raises UnreachableError, RefusedError for a fault, LoginRefusedError where that is for the
        password, ProtocolError for nonsense.
        """
        what = f"camera {self.host}: {operation}"
        signed = signed and self._access.credentials is not None
        service = await self._service(name, signed=signed)
        try:
            call = getattr(service, operation if signed else f"authless_{operation}")
            answer = await call(parameters)
        except Fault as error:
            if is_auth_error(error):
                raise LoginRefusedError(wrong_password(self._access)) from error
            raise RefusedError(f"{what} refused ({shown(error.message)})") from error
        except (ZeepError, ONVIFError, LookupError, TypeError, ValueError, AttributeError) as error:
            # zeep meets hostile answers with whatever breaks first.
            raise ProtocolError(
                f"{what} answered against the WSDL ({shown(str(error))})"
            ) from error
        try:
            plain = serialize_object(answer, dict)  # type: ignore[no-untyped-call]  # zeep's
            return msgspec.convert(plain, expected, strict=False)
        except msgspec.ValidationError as error:
            raise ProtocolError(f"{what} answered against the WSDL ({error})") from error

    async def _service(self, name: str, *, signed: bool) -> "onvif.ONVIFService":
        """Return zeep's proxy of a service."""
        if name not in self.xaddrs:
            raise RefusedError(f"camera {self.host}: offers no {name} service")
        credentials = self._access.credentials if signed else None
        key = name if signed else f"{_UNSIGNED}{name}"
        if key not in self._services:
            definition = DEFINITIONS[name]
            service = onvif.ONVIFService(
                self.xaddrs[name],
                credentials.user if credentials is not None else None,
                credentials.password if credentials is not None else None,
                str(self._wsdl.folder / name / definition.wsdl.name),
                no_cache=True,
                dt_diff=timedelta(milliseconds=self.offset_ms or 0),
                binding_name=definition.qualified_binding,
            )
            await service.close()  # its own HTTP session, never used
            middlewares = self.middlewares if signed else ()
            service.transport = _PinnedTransport(self._http, self._access, middlewares)
            async with self._wsdl.reading:
                await service.setup()
            self._services[key] = service
        return self._services[key]


def shown(value: str | None) -> str:
    """Return what a person can be shown of a text from outside."""
    return device_text.shown(value or "", TEXT_CHARS_MAX)
