"""How a panel, a class card or a teacher's computer comes to trust this box.

The page is served over HTTPS with the others and, alone with the root certificate, over plain
HTTP: a device that does not trust the box yet has to read it somewhere. The fingerprint lets a
person compare what arrived with what the district published.
"""

import hashlib
import ssl

from aiohttp import web

from edge.pages.assets import Assets
from edge.pages.box_view import BoxView
from edge.pages.headers import HOST, add_security_headers, content_policy
from edge.pages.rendering import Renderer, note_pages

HTTPS_PORT = 443


class TrustPage:
    def __init__(self, view: BoxView, renderer: Renderer) -> None:
        self._view = view
        self._renderer = renderer

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/trust", self.show),
            web.get("/trust/root.crt", self.root),
            web.get("/trust/root.pem", self.root_pem),
            web.get("/trust/check", self.check),
        ]

    async def show(self, request: web.Request) -> web.Response:
        secure_url = https_origin(request, self._view.https_port)
        response = self._renderer.page(
            request,
            "trust.html",
            {
                "fingerprint": fingerprint(self._view.root_certificate),
                "secure_url": secure_url,
                "secure": request.secure,
            },
        )
        response.headers["Content-Security-Policy"] = content_policy(request, secure_url)
        return response

    async def root(self, _request: web.Request) -> web.Response:
        """Send DER, which every platform's installer takes."""
        return _file("root.crt", "application/x-x509-ca-cert", _der(self._view.root_certificate))

    async def root_pem(self, _request: web.Request) -> web.Response:
        """Send PEM, which Debian's update-ca-certificates wants."""
        return _file("root.pem", "application/x-pem-file", self._view.root_certificate)

    async def check(self, _request: web.Request) -> web.Response:
        """Answer a page that wants to know whether its browser trusts this address."""
        return web.json_response(
            {"reached": True},
            headers={
                "Access-Control-Allow-Origin": "*",
                "Cross-Origin-Resource-Policy": "cross-origin",
                "Cache-Control": "no-store",
            },
        )


def build_trust_app(view: BoxView) -> web.Application:
    """Build the plain-HTTP application: /trust, its files, and the way to HTTPS."""
    assets = Assets()
    page = TrustPage(view, Renderer(view, assets))

    async def send_to_https(request: web.Request) -> web.Response:
        raise web.HTTPTemporaryRedirect(
            https_origin(request, view.https_port) + request.rel_url.raw_path_qs
        )

    app = web.Application(client_max_size=1_024, middlewares=[note_pages(view)])
    app.on_response_prepare.append(add_security_headers)
    app.add_routes(page.routes())
    app.router.add_get("/static/{name}", assets.serve)
    app.router.add_get("/{rest:.*}", send_to_https)
    return app


def https_origin(request: web.Request, port: int) -> str:
    """Return the box's HTTPS origin under the name the reader used."""
    if not HOST.fullmatch(request.host):
        raise web.HTTPBadRequest(text="The Host header is no host; open the box by its address")
    name = request.url.host or ""
    host = f"[{name}]" if ":" in name else name
    return f"https://{host}" if port == HTTPS_PORT else f"https://{host}:{port}"


def fingerprint(root_pem: bytes) -> str:
    """Write the certificate's SHA-256 as devices show it: pairs of hex digits."""
    digest = hashlib.sha256(_der(root_pem)).hexdigest().upper()
    return " ".join(digest[at : at + 2] for at in range(0, len(digest), 2))


def _file(name: str, content_type: str, body: bytes) -> web.Response:
    return web.Response(
        body=body,
        content_type=content_type,
        headers={
            "Cache-Control": "no-cache",
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


def _der(root_pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(root_pem.decode("ascii"))
