"""An RTSP camera made of GStreamer's server, for the system's Python: picture and sound.

Arguments: the video launch line, the audio launch line, perhaps a password for ``admin``, and
perhaps ``udp`` for a camera that sends media in no other way. Prints its port once it listens.
"""

import sys

import gi  # type: ignore[import-not-found]  # Debian's package, of the system's Python only

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import (  # type: ignore[import-not-found]  # the same  # noqa: E402 — after its versions
    GLib,
    Gst,
    GstRtsp,
    GstRtspServer,
)


def serve(video: str, audio: str, password: str, protocol: str = "") -> None:
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {video} name=pay0 pt=96 {audio} )")
    factory.set_shared(True)
    if protocol == "udp":
        factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
    if password:
        auth = GstRtspServer.RTSPAuth()
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "user")
        auth.add_digest("admin", password, token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("user", "media.factory.access", True)
        permissions.add_permission_for_role("user", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/main", factory)
    server.attach(None)
    sys.stdout.write(f"{server.get_bound_port()}\n")
    sys.stdout.flush()
    GLib.MainLoop().run()


serve(*sys.argv[1:5])
