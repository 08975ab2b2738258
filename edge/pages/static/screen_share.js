// Shares a screen into a room's lessons: pictures encoded here (H.264), sent as they come.
//
// Messages as in edge/lesson/capture/shared_screen.py. A screen that stands still gives no pictures: the
// last one is sent again. ES2019, nothing loaded from elsewhere.
(function () {
  "use strict";

  const FRAME_MS = 100;
  const STILL_MS = 300;
  const KEYFRAME_MS = 2000;
  const BITS = 1200000;
  const SIDE_MAX = 1920;
  const UNSENT_BYTES_MAX = 1000000;
  const LIGHTS = { shown: "good", waiting: "warn", idle: "unknown" };
  const main = document.getElementById("share");
  if (!main) { return; }
  const words = main.dataset;
  const begin = document.getElementById("share-begin");
  const end = document.getElementById("share-end");
  const light = document.getElementById("share-state");
  const preview = document.getElementById("share-preview");
  let current = null;

  function say(state, detail) {
    light.className = "light " + (LIGHTS[state] || "bad");
    light.textContent = detail || words["word" + state[0].toUpperCase() + state.slice(1)];
    main.dataset.state = state;
  }

  class Share {
    constructor(stream) {
      this.stream = stream;
      this.track = stream.getVideoTracks()[0];
      this.last = null;
      this.encodedAt = -Infinity;
      this.keyAt = -Infinity;
      this.size = "";
      this.over = false;
      const url = new URL(words.stream, window.location.href);
      url.protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
      this.socket = new WebSocket(url);
      this.socket.binaryType = "arraybuffer";
      this.socket.onmessage = (event) => this.hear(JSON.parse(new TextDecoder().decode(event.data)));
      this.socket.onclose = () => this.stop("lost");
      this.track.onended = () => this.stop("idle");
      this.encoder = new VideoEncoder({
        output: (chunk, about) => this.send(chunk, about),
        error: () => this.stop("failed"),
      });
      this.ticks = new Worker(words.ticks);
      this.ticks.onmessage = () => this.tick();
      this.read(new MediaStreamTrackProcessor({ track: this.track }).readable.getReader());
    }

    hear(told) {
      if (told.refused) {
        this.stop("refused", told.refused);
      } else {
        say(told.shown ? "shown" : "waiting");
        if (told.keyframe) { this.keyAt = -Infinity; this.encodedAt = -Infinity; }
      }
    }

    async read(reader) {
      for (;;) {
        const next = await reader.read();
        if (next.done || this.over) {
          if (next.value) { next.value.close(); }
          return;
        }
        if (this.last) { this.last.close(); }
        this.last = next.value;
        if (performance.now() - this.encodedAt >= FRAME_MS) { this.encode(); }
      }
    }

    tick() {
      if (this.last && performance.now() - this.encodedAt >= STILL_MS) { this.encode(); }
    }

    encode() {
      const now = performance.now();
      if (this.over || this.socket.readyState !== WebSocket.OPEN || this.encoder.encodeQueueSize > 2) { return; }
      if (this.socket.bufferedAmount > UNSENT_BYTES_MAX) { this.keyAt = -Infinity; return; }
      this.fit();
      const frame = new VideoFrame(this.last, { timestamp: Math.round(now * 1000) });
      const keyFrame = now - this.keyAt >= KEYFRAME_MS;
      this.encoder.encode(frame, { keyFrame: keyFrame });
      frame.close();
      if (keyFrame) { this.keyAt = now; }
      this.encodedAt = now;
    }

    fit() {
      const shrink = Math.min(1, SIDE_MAX / Math.max(this.last.displayWidth, this.last.displayHeight));
      const even = (side) => Math.max(16, 2 * Math.round((side * shrink) / 2));
      const width = even(this.last.displayWidth);
      const height = even(this.last.displayHeight);
      if (this.size !== width + "x" + height) {
        this.size = width + "x" + height;
        this.keyAt = -Infinity;
        this.encoder.configure({
          codec: "avc1.42E028",
          width: width,
          height: height,
          bitrate: BITS,
          framerate: 1000 / FRAME_MS,
          latencyMode: "realtime",
          avc: { format: "avc" },
        });
      }
    }

    send(chunk, about) {
      if (this.socket.readyState !== WebSocket.OPEN) { return; }
      if (about && about.decoderConfig && about.decoderConfig.description) {
        const description = about.decoderConfig.description;
        const bytes = new Uint8Array(description.buffer ? description.buffer.slice(description.byteOffset, description.byteOffset + description.byteLength) : description);
        const told = new Uint8Array(1 + bytes.length);
        told.set(bytes, 1);
        this.socket.send(told);
      }
      const message = new Uint8Array(10 + chunk.byteLength);
      const head = new DataView(message.buffer);
      head.setUint8(0, 1);
      head.setUint8(1, chunk.type === "key" ? 1 : 0);
      head.setUint32(2, Math.floor(chunk.timestamp / 4294967296));
      head.setUint32(6, chunk.timestamp % 4294967296);
      chunk.copyTo(message.subarray(10));
      this.socket.send(message);
    }

    stop(state, detail) {
      if (this.over) { return; }
      this.over = true;
      current = null;
      this.ticks.terminate();
      this.track.stop();
      if (this.last) { this.last.close(); }
      if (this.encoder.state !== "closed") { this.encoder.close(); }
      this.socket.onclose = null;
      this.socket.close();
      preview.srcObject = null;
      preview.hidden = true;
      begin.hidden = false;
      end.hidden = true;
      say(state, detail);
    }
  }

  async function start() {
    let stream = null;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({
        video: { frameRate: { max: 1000 / FRAME_MS } },
        audio: false,
      });
    } catch (error) {
      say("idle");
      return;
    }
    preview.srcObject = stream;
    preview.hidden = false;
    begin.hidden = true;
    end.hidden = false;
    say("waiting");
    current = new Share(stream);
  }

  begin.addEventListener("click", start);
  end.addEventListener("click", () => { if (current) { current.stop("idle"); } });
  const able = window.VideoEncoder && window.MediaStreamTrackProcessor && navigator.mediaDevices && navigator.mediaDevices.getDisplayMedia;
  if (!able) { begin.disabled = true; say("unable"); }
})();
