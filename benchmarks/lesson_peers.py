"""Other people's ways to show a camera in a browser: nginx-rtmp with HLS, and Janus with WebRTC.

Both are Debian's, fed from the same RTSP camera as our box, each by what it is fed by in service:
ffmpeg pushes RTMP without transcoding, GStreamer hands H.264 on as RTP without a jitter buffer.
"""

import asyncio
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import web

from benchmarks.peer_environment import PeerMissingError, peer_node

RTMP_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
GSTREAMER = Path("/usr/lib/x86_64-linux-gnu/girepository-1.0/Gst-1.0.typelib")
JANUS_PLUGINS = Path("/usr/lib/x86_64-linux-gnu/janus")
_READY_S_MAX = 20.0

_NGINX = """load_module {module};
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
daemon off;
events {{}}
rtmp {{ server {{ listen 127.0.0.1:{rtmp};
  application live {{ live on; hls on; hls_path {folder}/hls; hls_fragment 1s;
    hls_playlist_length 4s; }} }} }}
http {{
  types {{ text/html html; application/javascript js; application/vnd.apple.mpegurl m3u8;
    video/mp2t ts; }}
  access_log off;
  client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp; fastcgi_temp_path {folder}/tmp;
  uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  server {{ listen 127.0.0.1:{port}; root {folder};
    location /hls {{ add_header Cache-Control no-cache; }} }}
}}
"""
_HLS_PAGE = """<!doctype html><meta charset="utf-8"><title>HLS</title><video muted></video>
<script src="hls.min.js"></script><script>
const hls = new Hls({liveSyncDurationCount: 1, lowLatencyMode: true, maxLiveSyncPlaybackRate: 1.5});
const video = document.querySelector("video");
hls.on(Hls.Events.MANIFEST_PARSED, () => video.play());
hls.on(Hls.Events.ERROR, (_, told) => { if (told.fatal) { setTimeout(begin, 500); } });
function begin() { hls.loadSource("hls/lesson.m3u8"); hls.attachMedia(video); }
begin();
</script>"""

_JANUS = """general: {{ configs_folder = "{folder}" plugins_folder = "{plugins}/plugins"
  transports_folder = "{plugins}/transports" events_folder = "{plugins}/events"
  loggers_folder = "{plugins}/loggers" log_to_stdout = true debug_level = 3 }}
media: {{ rtp_port_range = "24000-24200" }}
nat: {{ nice_debug = false }}
"""
_JANUS_HTTP = """general: {{ json = "compact" http = true port = {port} ip = "127.0.0.1"
  https = false }}
admin: {{ admin_http = false }}
"""
_JANUS_STREAM = """lesson: {{ type = "rtp" id = 1
  media = ( {{ type = "video" mid = "v" port = {rtp} pt = 96 codec = "h264"
    fmtp = "profile-level-id=42e01f;packetization-mode=1" }} ) }}
"""
_JANUS_PAGE = """<!doctype html><meta charset="utf-8"><title>Janus</title>
<video muted autoplay playsinline></video><script>
(async () => {
  const root = "http://127.0.0.1:%d/janus";
  const word = () => Math.random().toString(36).slice(2);
  const ask = async (url, body) => (await fetch(url, {method: "POST",
    body: JSON.stringify(Object.assign({transaction: word()}, body))})).json();
  const session = root + "/" + (await ask(root, {janus: "create"})).data.id;
  const attached = await ask(session, {janus: "attach", plugin: "janus.plugin.streaming"});
  const handle = session + "/" + attached.data.id;
  await ask(handle, {janus: "message", body: {request: "watch", id: 1}});
  const peer = new RTCPeerConnection();
  peer.ontrack = (event) => { document.querySelector("video").srcObject = event.streams[0]
    || new MediaStream([event.track]); event.receiver.playoutDelayHint = 0; };
  peer.onicecandidate = (event) => ask(handle, {janus: "trickle",
    candidate: event.candidate ? event.candidate.toJSON() : {completed: true}});
  for (;;) {
    const told = await (await fetch(session + "?maxev=1")).json();
    if (told.jsep) {
      await peer.setRemoteDescription(told.jsep);
      await peer.setLocalDescription(await peer.createAnswer());
      await ask(handle, {janus: "message", body: {request: "start"}, jsep: peer.localDescription});
    }
  }
})();
</script>"""


@asynccontextmanager
async def nginx_rtmp(folder: Path, camera: str) -> AsyncIterator[str]:
    """Serve the camera's stream as HLS; yields the page. Raises PeerMissingError."""
    nginx = _need("nginx", "libnginx-mod-rtmp nginx-light")
    _need_file(RTMP_MODULE, "libnginx-mod-rtmp")
    ffmpeg = _need("ffmpeg", "ffmpeg")
    rtmp, port = _free_port(), _free_port()
    config = folder / "nginx.conf"
    files = {
        "index.html": _HLS_PAGE,
        "nginx.conf": _NGINX.format(module=RTMP_MODULE, folder=folder, rtmp=rtmp, port=port),
    }
    _write(folder, files)
    player = peer_node("hls_js") / "node_modules" / "hls.js" / "dist" / "hls.min.js"
    shutil.copy(player, folder)
    push = f"rtmp://127.0.0.1:{rtmp}/live/lesson"
    async with AsyncExitStack() as stack:
        stack.enter_context(_Running([nginx, "-c", str(config)], folder / "nginx.log"))
        await _until_open(port)
        wish = ["-fflags", "nobuffer", "-rtsp_transport", "tcp", "-i", camera]
        send = ["-c", "copy", "-f", "flv", push]
        stack.enter_context(
            _Running([ffmpeg, "-loglevel", "error", *wish, *send], folder / "ffmpeg.log")
        )
        async with asyncio.timeout(_READY_S_MAX):
            while not (folder / "hls" / "lesson.m3u8").exists():  # noqa: ASYNC110 - another program's file
                await asyncio.sleep(0.1)
        yield f"http://127.0.0.1:{port}/index.html"


@asynccontextmanager
async def janus(folder: Path, camera: str) -> AsyncIterator[str]:
    """Serve the camera's picture by WebRTC; yields the page. Raises PeerMissingError."""
    program = _need("janus", "janus")
    _need_file(GSTREAMER, "gir1.2-gstreamer-1.0 gstreamer1.0-plugins-good")
    port, rtp = _free_port(), _free_port()
    files = {
        "janus.jcfg": _JANUS.format(folder=folder, plugins=JANUS_PLUGINS),
        "janus.transport.http.jcfg": _JANUS_HTTP.format(port=port),
        "janus.plugin.streaming.jcfg": _JANUS_STREAM.format(rtp=rtp),
    }
    _write(folder, files)
    pipeline = (
        f"rtspsrc location={camera} latency=0 protocols=tcp ! rtph264depay"
        " ! h264parse config-interval=-1 ! rtph264pay pt=96 mtu=1200"
        f" ! udpsink host=127.0.0.1 port={rtp} sync=false"
    )
    feed = ["/usr/bin/python3", str(Path(__file__).with_name("gstreamer_feed.py")), pipeline]
    async with AsyncExitStack() as stack:
        command = [program, "-C", str(folder / "janus.jcfg"), "-F", str(folder)]
        stack.enter_context(_Running(command, folder / "janus.log"))
        await _until_open(port)
        stack.enter_context(_Running(feed, folder / "feed.log"))
        yield await stack.enter_async_context(_page(_JANUS_PAGE % port))


class _Running:
    """A program for the time of a block, its output in a file."""

    def __init__(self, command: Sequence[str], log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@asynccontextmanager
async def _page(text: str) -> AsyncIterator[str]:
    async def show(_: web.Request) -> web.Response:
        return web.Response(text=text, content_type="text/html")

    app = web.Application()
    app.router.add_get("/", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    port = _free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        await runner.cleanup()


async def _until_open(port: int) -> None:
    async with asyncio.timeout(_READY_S_MAX):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


def _need(program: str, packages: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise PeerMissingError(f"{program} is missing; run: apt install {packages}")
    return found


def _need_file(path: Path, packages: str) -> None:
    if not path.exists():
        raise PeerMissingError(f"{path} is missing; run: apt install {packages}")


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Fill a new folder, with the places that nginx wants."""
    for name in ("hls", "tmp"):
        (folder / name).mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
