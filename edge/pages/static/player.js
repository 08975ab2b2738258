// Plays the classroom's stream: two media elements, so that sound goes on when picture has a gap.
//
//   schoolnodePlayer.start(container, {url, soundLabel, onstate})   schoolnodePlayer.stop()
//   schoolnodePlayer.open(container, {…}) returns a player beside others, to be stopped by itself
//
// The messages are described in edge/lesson/classroom_stream.py. Each change of state is told to
// onstate({state, cause}) and as a "schoolnode:state" event on the container. States: waiting, live,
// degraded, catching_up, done; causes: those of the box, and box_unreachable, cannot_play.
// ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const TARGET_S = 0.15; // below 0.1 s sound underflows, and each stall costs more than it wins
  const TARGET_S_MAX = 0.6;
  const STALL_ADDS_S = 0.05;
  const EASE_S = 0.01; // given back after each quiet half minute
  const EASE_AFTER_MS = 30000;
  const JUMP_LAG_S = 1.0; // further behind than this: seek instead of hurrying
  const JUMP_DRIFT_S = 0.4;
  const RATE_STEP = 0.06; // speech stays natural
  const SEEK_REST_MS = 500;
  const STEER_MS = 50;
  const KEEP_S = 8;
  const QUEUE_BYTES_MAX = 32 * 1024 * 1024;
  const SILENCE_MS = 4000; // the box speaks every second
  const RETRY_MS_MIN = 200;
  const RETRY_MS_MAX = 3000;
  const HEADER_BYTES = 28;
  const MEDIA = 0;
  const INIT = 1;

  function readItem(bytes) {
    const view = new DataView(bytes);
    if (bytes.byteLength < HEADER_BYTES || view.getUint8(0) !== 1) { return null; }
    const item = {
      kind: view.getUint8(1),
      track: view.getUint8(2),
      keyframe: (view.getUint8(3) & 1) === 1,
      take: view.getUint32(4),
      number: view.getUint32(8),
      captureMs: view.getUint32(12) * 4294967296 + view.getUint32(16),
      decodeS: (view.getUint32(20) * 4294967296 + view.getUint32(24)) / 1000000,
      mime: "",
      data: new Uint8Array(bytes, HEADER_BYTES),
    };
    if (item.kind === INIT) {
      const length = view.getUint8(HEADER_BYTES);
      item.mime = String.fromCharCode.apply(null, item.data.subarray(1, 1 + length));
      item.data = item.data.subarray(1 + length);
    }
    return item;
  }

  function joined(parts) {
    if (parts.length === 1) { return parts[0]; }
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    parts.forEach((part) => { whole.set(part, at); at += part.length; });
    return whole;
  }

  // One element with its MediaSource: the picture's or the sound's.
  class Lane {
    constructor(element, needsKeyframe) {
      this.element = element;
      this.needsKeyframe = needsKeyframe;
      this.target = TARGET_S;
      this.stalls = 0;
      this.fails = 0;
      this.init = null;
      this.cannotPlay = false;
      this.reset();
      element.addEventListener("waiting", () => this.noteStall());
      element.addEventListener("error", () => this.rebuild());
    }

    reset() {
      this.close();
      this.source = null;
      this.buffer = null;
      this.queue = [];
      this.queuedBytes = 0;
      this.awaitsKeyframe = this.needsKeyframe;
      this.lag = null;
      this.begun = false;
      this.seekAt = 0;
      this.stallAt = performance.now();
      this.arrivedAt = -Infinity;
      this.clock = [];
    }

    close() {
      if (this.url) { URL.revokeObjectURL(this.url); }
      this.url = null;
      if (this.source) {
        this.element.removeAttribute("src");
        this.element.load();
      }
      this.source = null;
    }

    open(init) {
      const known = this.init;
      this.init = init;
      if (this.source && known && known.take === init.take && known.mime === init.mime) {
        this.enqueue(init.data, null);
        return;
      }
      this.build();
    }

    build() {
      this.reset();
      const init = this.init;
      if (!window.MediaSource || !MediaSource.isTypeSupported(init.mime)) {
        this.cannotPlay = true;
        return;
      }
      this.cannotPlay = false;
      const source = new MediaSource();
      this.source = source;
      this.enqueue(init.data, null);
      source.addEventListener("sourceopen", () => {
        if (this.source !== source || this.buffer) { return; }
        source.duration = Infinity;
        this.buffer = source.addSourceBuffer(init.mime);
        this.buffer.mode = "segments";
        this.buffer.addEventListener("updateend", () => { if (this.source === source) { this.pump(); } });
        this.pump();
      });
      this.url = URL.createObjectURL(source);
      this.element.src = this.url;
    }

    // After a decoding error: begin anew at the next keyframe.
    rebuild() {
      if (!this.init || !this.source) { return; }
      this.fails += 1;
      this.build();
    }

    append(item) {
      if (!this.source || item.take !== this.init.take) { return; }
      if (this.awaitsKeyframe && !item.keyframe) { return; }
      this.awaitsKeyframe = false;
      this.arrivedAt = performance.now();
      this.enqueue(item.data, item);
    }

    enqueue(data, item) {
      if (this.queuedBytes + data.length > QUEUE_BYTES_MAX) {
        this.rebuild();
        return;
      }
      this.queue.push(data);
      this.queuedBytes += data.length;
      if (item) {
        this.clock.push({ decodeS: item.decodeS, captureMs: item.captureMs });
        if (this.clock.length > 250) { this.clock.shift(); }
      }
      this.pump();
    }

    pump() {
      const buffer = this.buffer;
      if (!buffer || buffer.updating || this.element.error) { return; }
      if (this.trim(KEEP_S) || !this.queue.length) { return; }
      const data = joined(this.queue);
      try {
        buffer.appendBuffer(data);
        this.queue = [];
        this.queuedBytes = 0;
      } catch (error) {
        if (error.name !== "QuotaExceededError" || !this.trim(1)) { this.rebuild(); }
      }
    }

    // Drops what was played; true when that is under way.
    trim(keepS) {
      const buffered = this.buffer.buffered;
      const until = this.element.currentTime - keepS;
      if (!buffered.length || buffered.start(0) > until - keepS) { return false; }
      this.buffer.remove(0, until);
      return true;
    }

    noteStall() {
      const now = performance.now();
      if (!this.begun || this.element.seeking || now - this.seekAt < SEEK_REST_MS) { return; }
      if (now - this.arrivedAt > SEEK_REST_MS) { return; } // nothing came: a deeper buffer is no cure
      this.stalls += 1;
      this.stallAt = now;
      this.target = Math.min(this.target + STALL_ADDS_S, TARGET_S_MAX);
    }

    // The newest unbroken stretch that can be played, or null.
    stretch() {
      const buffered = this.buffer ? this.buffer.buffered : null;
      if (!buffered || !buffered.length) { return null; }
      return { start: buffered.start(buffered.length - 1), end: buffered.end(buffered.length - 1) };
    }

    isFed() { return this.stretch() !== null && performance.now() - this.arrivedAt < 2000; }

    isPlaying() { return this.begun && this.isFed() && !this.element.paused; }

    seek(toS) {
      this.seekAt = performance.now();
      this.lag = null;
      this.begun = true;
      this.element.playbackRate = 1;
      this.element.currentTime = toS;
    }

    setRate(rate) {
      const rounded = Math.round(rate * 100) / 100;
      if (this.element.playbackRate !== rounded) { this.element.playbackRate = rounded; }
    }

    // Keeps the element its target behind the newest data.
    followLive() {
      const stretch = this.stretch();
      if (!stretch) { return; }
      const now = performance.now();
      const lag = stretch.end - this.element.currentTime;
      this.lag = this.lag === null ? lag : this.lag * 0.85 + lag * 0.15;
      const outside = this.element.currentTime < stretch.start - 0.02 || lag < -0.02;
      if (!this.begun || ((outside || lag > JUMP_LAG_S) && now - this.seekAt > SEEK_REST_MS)) {
        this.seek(Math.max(stretch.start, stretch.end - this.target));
        return;
      }
      if (now - this.stallAt > EASE_AFTER_MS) {
        this.stallAt = now;
        this.target = Math.max(TARGET_S, this.target - EASE_S);
      }
      const over = this.lag - this.target;
      this.setRate(over > 0.05 ? 1 + RATE_STEP : over < -0.04 ? 1 - RATE_STEP : 1);
    }

    // Keeps the picture at the sound's time: lips before latency.
    follow(wishedS) {
      const stretch = this.stretch();
      if (!stretch) { return; }
      const drift = wishedS - this.element.currentTime;
      const reachable = wishedS >= stretch.start && wishedS <= stretch.end;
      if (reachable && (!this.begun || Math.abs(drift) > JUMP_DRIFT_S)) {
        if (!this.begun || performance.now() - this.seekAt > SEEK_REST_MS) { this.seek(wishedS); }
        return;
      }
      if (!this.begun) { this.followLive(); return; }
      this.setRate(Math.abs(drift) < 0.02 ? 1 : 1 + Math.max(-0.15, Math.min(0.15, drift)));
    }

    // When what is shown now was captured, Unix milliseconds of the flagship; null if unknown.
    captureMs() {
      const at = this.element.currentTime;
      for (let i = this.clock.length - 1; i >= 0; i -= 1) {
        const known = this.clock[i];
        if (known.decodeS <= at + 0.001) { return known.captureMs + (at - known.decodeS) * 1000; }
      }
      return null;
    }
  }

  class Player {
    constructor(container, options) {
      this.container = container;
      this.options = options;
      this.told = { state: "waiting", cause: "" };
      this.box = { state: "waiting", cause: "" };
      this.boxAheadMs = null;
      this.needsTap = false;
      this.take = null;
      this.retryMs = RETRY_MS_MIN;
      this.heardAt = performance.now();
      this.build();
      this.picture = new Lane(this.video, true);
      this.sound = new Lane(this.audio, false);
      this.timer = setInterval(() => this.steer(), STEER_MS);
      this.onGesture = () => this.tap();
      document.addEventListener("pointerdown", this.onGesture);
      document.addEventListener("keydown", this.onGesture);
      this.connect();
    }

    build() {
      this.container.classList.add("player");
      this.video = document.createElement("video");
      this.video.className = "player-picture";
      this.video.muted = true; // its sound is the other element's, and muted picture may always start
      this.video.playsInline = true;
      this.video.disablePictureInPicture = true;
      this.audio = document.createElement("audio");
      this.audio.className = "player-sound";
      this.button = document.createElement("button");
      this.button.type = "button";
      this.button.className = "player-unmute";
      this.button.hidden = true;
      const label = document.createElement("span");
      label.textContent = this.options.soundLabel || this.container.dataset.wordSound || "";
      this.button.append(label);
      this.container.append(this.video, this.audio, this.button);
    }

    connect() {
      const url = new URL(this.options.url || "/classroom/stream", window.location.href);
      url.protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
      const socket = new WebSocket(url.href);
      this.socket = socket;
      this.heardAt = performance.now();
      socket.binaryType = "arraybuffer";
      socket.onmessage = (message) => {
        if (this.socket !== socket) { return; }
        this.heardAt = performance.now();
        this.retryMs = RETRY_MS_MIN;
        if (typeof message.data === "string") { this.hear(message.data); } else { this.takeIn(message.data); }
      };
      socket.onclose = () => { if (this.socket === socket) { this.reconnect(); } };
    }

    reconnect() {
      const socket = this.socket;
      this.socket = null;
      if (socket) { socket.close(); }
      this.picture.awaitsKeyframe = true;
      this.judge();
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.connect(), this.retryMs * (0.5 + Math.random() / 2));
      this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
    }

    hear(text) {
      let told;
      try { told = JSON.parse(text); } catch (error) { return; }
      if (told.type !== "state") { return; }
      this.box = { state: String(told.state), cause: String(told.cause || "") };
      // The least delayed message tells best how far the box's clock is ahead of this page's.
      const ahead = told.now_ms - Date.now();
      if (this.boxAheadMs === null || ahead > this.boxAheadMs || Math.abs(ahead - this.boxAheadMs) > 2000) {
        this.boxAheadMs = ahead;
      }
      this.judge();
    }

    takeIn(bytes) {
      const item = readItem(bytes);
      if (!item) { return; }
      const lane = item.track % 2 ? this.picture : this.sound;
      if (item.track > 2) { return; }
      if (item.kind === INIT) {
        if (this.take !== null && item.take !== this.take) { this.forget(); }
        this.take = item.take;
        lane.open(item);
      } else if (item.kind === MEDIA) {
        lane.append(item);
      }
    }

    // A new take has a time line of its own: nothing of the old one may remain.
    forget() {
      [this.picture, this.sound].forEach((lane) => { lane.reset(); lane.init = null; });
    }

    steer() {
      if (this.socket && performance.now() - this.heardAt > SILENCE_MS) { this.reconnect(); }
      this.sound.followLive();
      if (this.sound.isPlaying() && !this.needsTap) {
        this.picture.follow(this.audio.currentTime);
      } else {
        this.picture.followLive();
      }
      this.keepPlaying();
      this.judge();
    }

    keepPlaying() {
      if (this.picture.begun && this.video.paused) { this.video.play().catch(() => {}); }
      if (!this.sound.begun || !this.audio.paused || this.needsTap || this.starting) { return; }
      this.starting = true;
      this.audio.play().then(
        () => { this.starting = false; this.askForTap(false); },
        (error) => {
          this.starting = false;
          if (error.name === "NotAllowedError") { this.askForTap(true); }
        },
      );
    }

    askForTap(needed) {
      this.needsTap = needed;
      this.button.hidden = !needed;
      if (needed) { this.button.focus(); }
    }

    tap() {
      if (!this.needsTap) { return; }
      this.audio.play().then(() => { this.sound.begun = false; this.askForTap(false); }, () => {});
    }

    judge() {
      let now = this.box;
      if (!this.socket || this.socket.readyState !== WebSocket.OPEN) {
        const seen = this.picture.begun || this.sound.begun;
        now = { state: seen ? "degraded" : "waiting", cause: "box_unreachable" };
      } else if (this.picture.cannotPlay || this.sound.cannotPlay) {
        now = { state: "degraded", cause: "cannot_play" };
      }
      if (now.state === this.told.state && now.cause === this.told.cause) { return; }
      this.told = { state: now.state, cause: now.cause };
      this.container.dataset.state = now.state;
      if (this.options.onstate) { this.options.onstate(this.told); }
      this.container.dispatchEvent(new CustomEvent("schoolnode:state", { detail: this.told, bubbles: true }));
    }

    latencyMs() {
      const captured = this.picture.begun ? this.picture.captureMs() : this.sound.captureMs();
      if (captured === null || this.boxAheadMs === null) { return null; }
      return Math.round(Date.now() + this.boxAheadMs - captured);
    }

    stop() {
      clearInterval(this.timer);
      clearTimeout(this.retry);
      document.removeEventListener("pointerdown", this.onGesture);
      document.removeEventListener("keydown", this.onGesture);
      const socket = this.socket;
      this.socket = null;
      if (socket) { socket.close(); }
      this.picture.close();
      this.sound.close();
      this.container.textContent = "";
      this.container.classList.remove("player");
    }
  }

  let player = null;

  function framesDecoded(video) {
    if (video.getVideoPlaybackQuality) { return video.getVideoPlaybackQuality().totalVideoFrames; }
    return video.webkitDecodedFrameCount || 0;
  }

  window.schoolnodePlayer = {
    start(container, options) {
      if (player) { player.stop(); }
      player = new Player(container, options || {});
    },
    stop() {
      if (player) { player.stop(); }
      player = null;
    },
    // One of several players on a page; its stop() ends it.
    open(container, options) { return new Player(container, options || {}); },
    get state() { return player ? player.told.state : "waiting"; },
    get cause() { return player ? player.told.cause : ""; },
    get framesDecoded() { return player ? framesDecoded(player.video) : 0; },
    get audioBytesDecoded() { return player ? player.audio.webkitAudioDecodedByteCount || 0 : 0; },
    // By the flagship's and the box's clocks, which may differ; null before the first picture.
    get latencyMs() { return player ? player.latencyMs() : null; },
    get bufferMs() { return player && player.sound.lag !== null ? Math.round(player.sound.lag * 1000) : null; },
    get stalls() { return player ? player.picture.stalls + player.sound.stalls : 0; },
    get needsTap() { return player ? player.needsTap : false; },
  };
}());
