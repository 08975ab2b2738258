"""Runs one GStreamer pipeline until stopped, for the system's Python; the argument describes it."""

import sys

import gi  # type: ignore[import-not-found]  # Debian's package, of the system's Python only

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # type: ignore[import-not-found]  # the same  # noqa: E402 — after its version

Gst.init(None)
pipeline = Gst.parse_launch(sys.argv[1])
pipeline.set_state(Gst.State.PLAYING)
GLib.MainLoop().run()
