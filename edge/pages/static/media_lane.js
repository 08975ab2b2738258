// One media element with its MediaSource: a lane of the player, for a picture or for sound.
//
// Loaded before player.js. Messages are described in edge/lesson/classroom/classroom_stream.py. A lane may
// carry two tracks of one camera, large and small: it goes over to the small one when the large one
// stays out, and back at the large one's next keyframe.
// ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const TARGET_S = 0.13; // below 0.1 s sound underflows, and each stall costs more than it wins
  const PICTURE_TARGET_S = 0.08; // a picture that plays alone may run dry: nobody hears it
  const BURSTY_S = 0.8; // on a poor link: who runs dry there stands for a second, not for what was late
  const TARGET_S_MAX = 1.2;
  const STALL_ADDS_S = 0.05;
  const BURST_ADDS_S = 0.2;
  const EASE = 0.85; // what stays of the target after each quiet while
  const EASE_AFTER_MS = 20000;
  const JUMP_LAG_S = 0.85; // further behind its target than this: seek instead of hurrying
  const JUMP_DRIFT_S = 0.4;
  const FAR_DRIFT_S = 1.5;
  const HURRY_RATE = 0.8;
  const RATE_STEP = 0.06; // speech stays natural
  const RATE_STEP_MAX = 0.2; // for the second or two after a slow start or a stall
  const SLACK_S = 0.05; // with less than this, what is hurried underflows before it has arrived
  const EASES_S = 1.6; // what is too far behind falls to a third in so long
  const CATCH_UP_RATE = 1.25;
  const THIN_S = 0.5; // less than this in hand: no hurry, or it runs dry
  const SPENT_S = 0.05;
  const STANDS_MS = 700;
  const SEEK_REST_MS = 500;
  const SEEK_REST_MS_MAX = 4000;
  const KEEP_S = 8;
  const QUEUE_BYTES_MAX = 32 * 1024 * 1024;
  const CLOCK_MARKS_MAX = 2000;
  const OUT_S = 0.8; // a large picture that stays out for so long gives way to the small one
  const BACK_S = 0.5;
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
    if (parts.length === 1) { return parts[0].data; }
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.data.length, 0));
    let at = 0;
    parts.forEach((part) => { whole.set(part.data, at); at += part.data.length; });
    return whole;
  }

  function canPlay(init) { return Boolean(window.MediaSource) && MediaSource.isTypeSupported(init.mime); }

  class Lane {
    constructor(element, needsKeyframe) {
      this.element = element;
      this.needsKeyframe = needsKeyframe;
      this.least = needsKeyframe ? PICTURE_TARGET_S : TARGET_S;
      this.target = this.least;
      this.isBursty = false; // a poor link's sound comes in bursts: TCP repeats what was lost
      this.stalls = 0;
      this.inits = new Map(); // by track
      this.cannotPlay = false;
      this.source = null;
      this.reset();
      element.addEventListener("waiting", () => this.noteStall());
      element.addEventListener("error", () => this.rebuild());
    }

    // Empties the element; the inits stay known.
    reset() {
      this.close();
      this.buffer = null;
      this.mime = "";
      this.queue = [];
      this.queuedBytes = 0;
      this.track = null; // whose fragments it is given now
      this.last = new Map(); // newest number of each track
      this.newestS = -Infinity; // decode time of the newest fragment
      this.lag = null;
      this.begun = false;
      this.seekAt = 0;
      this.seekRestMs = SEEK_REST_MS;
      this.stallAt = performance.now();
      this.arrivedAt = -Infinity;
      this.clock = [];
    }

    // Forgets the take: the next one has a time line of its own.
    forget() {
      this.reset();
      this.inits.clear();
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
      const known = this.inits.get(init.track);
      this.inits.set(init.track, init);
      this.cannotPlay = !Array.from(this.inits.values()).some(canPlay);
      if (known && known.number !== init.number && this.track === init.track) { this.track = null; }
      if (!this.source && canPlay(init)) { this.build(init.mime); }
    }

    build(mime) {
      this.reset();
      const source = new MediaSource();
      this.source = source;
      this.mime = mime;
      source.addEventListener("sourceopen", () => {
        if (this.source !== source || this.buffer) { return; }
        source.duration = Infinity;
        this.buffer = source.addSourceBuffer(mime);
        this.buffer.mode = "segments";
        this.buffer.addEventListener("updateend", () => { if (this.source === source) { this.pump(); } });
        this.pump();
      });
      this.url = URL.createObjectURL(source);
      this.element.src = this.url;
    }

    // After a decoding error: begin anew at the next keyframe.
    rebuild() {
      if (!this.source) { return; }
      this.build(this.mime);
    }

    // Takes a fragment in; false for what it cannot use.
    append(item) {
      const init = this.inits.get(item.track);
      if (!this.source || !init || init.take !== item.take || !canPlay(init)) { return false; }
      const last = this.last.has(item.track) ? this.last.get(item.track) : -1;
      if (item.number <= last) { return false; }
      if (item.track !== this.track) {
        if (!this.givesWayTo(item)) { return false; }
        this.track = item.track;
        this.enqueue(init.data, init.mime);
      } else if (this.needsKeyframe && !item.keyframe && item.number !== last + 1) {
        return false;
      }
      this.last.set(item.track, item.number);
      this.newestS = item.decodeS;
      this.arrivedAt = performance.now();
      this.clock.push({ decodeS: item.decodeS, captureMs: item.captureMs, track: item.track, number: item.number });
      if (this.clock.length > CLOCK_MARKS_MAX) { this.clock.shift(); }
      this.enqueue(item.data, "");
      return true;
    }

    givesWayTo(item) {
      if (this.needsKeyframe && !item.keyframe) { return false; }
      if (this.track === null) { return true; }
      return item.track < this.track ? item.decodeS > this.newestS - BACK_S : item.decodeS > this.newestS + OUT_S;
    }

    // ``mime`` marks an init: what follows it is of that type.
    enqueue(data, mime) {
      if (this.queuedBytes + data.length > QUEUE_BYTES_MAX) {
        this.rebuild();
        return;
      }
      this.queue.push({ data, mime });
      this.queuedBytes += data.length;
      this.pump();
    }

    pump() {
      const buffer = this.buffer;
      if (!buffer || buffer.updating || this.element.error) { return; }
      if (this.trim(KEEP_S) || !this.queue.length) { return; }
      try {
        const first = this.queue[0].mime;
        if (first && first !== this.mime) {
          buffer.changeType(first);
          this.mime = first;
        }
        let count = 1;
        while (count < this.queue.length && (!this.queue[count].mime || this.queue[count].mime === this.mime)) { count += 1; }
        const data = joined(this.queue.slice(0, count));
        buffer.appendBuffer(data);
        this.queue.splice(0, count);
        this.queuedBytes -= data.length;
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
      if (now - this.arrivedAt > (this.isBursty ? 2 : 1) * SEEK_REST_MS) { return; } // nothing came: a deeper buffer is no cure
      this.stalls += 1;
      this.stallAt = now;
      this.target = Math.min(this.target + (this.isBursty ? BURST_ADDS_S : STALL_ADDS_S), TARGET_S_MAX);
    }

    // The newest unbroken stretch that can be played, or null.
    stretch() {
      const buffered = this.buffer ? this.buffer.buffered : null;
      if (!buffered || !buffered.length) { return null; }
      return { start: buffered.start(buffered.length - 1), end: buffered.end(buffered.length - 1) };
    }

    stretchAt(atS) {
      const buffered = this.buffer ? this.buffer.buffered : null;
      for (let i = 0; buffered && i < buffered.length; i += 1) {
        if (buffered.start(i) <= atS && atS <= buffered.end(i)) { return { start: buffered.start(i), end: buffered.end(i) }; }
      }
      return null;
    }

    // The stretch that is being played, else the next one, else null.
    stretchHere() {
      const buffered = this.buffer ? this.buffer.buffered : null;
      const at = this.element.currentTime;
      for (let i = 0; buffered && i < buffered.length; i += 1) {
        if (buffered.end(i) > at + 0.02) { return { start: buffered.start(i), end: buffered.end(i) }; }
      }
      return null;
    }

    // Seconds that can be played on from here without a break.
    inHandS() {
      const here = this.stretchHere();
      return here && this.element.currentTime >= here.start - 0.02 ? here.end - this.element.currentTime : 0;
    }

    // Played out: elements stop a moment before the end of what they have.
    isSpent() {
      if (!this.begun || this.isTakingIn()) { return false; }
      const now = performance.now();
      if (this.element.currentTime !== this.stoodS) {
        this.stoodS = this.element.currentTime;
        this.movedAt = now;
      }
      const inHandS = this.inHandS();
      return inHandS < SPENT_S || (inHandS < THIN_S && now - this.movedAt > STANDS_MS);
    }

    isTakingIn() { return this.queue.length > 0 || Boolean(this.buffer && this.buffer.updating); }

    isFed() { return this.stretch() !== null && performance.now() - this.arrivedAt < 2000; }

    isPlaying() { return this.begun && !this.element.paused && (this.isFed() || this.inHandS() > 0.05); }

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
      if (!this.begun || ((outside || lag > this.target + JUMP_LAG_S) && now - this.seekAt > SEEK_REST_MS)) {
        this.seek(Math.max(stretch.start, stretch.end - this.target));
        return;
      }
      if (now - this.stallAt > EASE_AFTER_MS) {
        this.stallAt = now;
        this.target = this.target * EASE;
      }
      this.target = Math.max(this.isBursty ? BURSTY_S : this.least, this.target);
      const over = this.lag - this.target;
      // Where all comes in bursts the lag swings by itself: no voice that sways with it.
      const hurry = this.isBursty ? RATE_STEP : Math.min(RATE_STEP_MAX, Math.max(RATE_STEP / 2, over / EASES_S));
      this.setRate(over > SLACK_S ? 1 + hurry : over < -0.04 ? 1 - RATE_STEP : 1);
    }

    // Plays on from where it stands, faster while there is enough in hand, over holes that stay.
    followBehind() {
      const here = this.stretchHere();
      if (!here) { return; }
      const now = performance.now();
      if (!this.begun || (this.element.currentTime < here.start - 0.02 && now - this.seekAt > SEEK_REST_MS)) {
        this.seek(here.start);
        return;
      }
      this.setRate(here.end - this.element.currentTime > THIN_S ? CATCH_UP_RATE : 1);
    }

    isIn(stretch) {
      const at = this.element.currentTime;
      return this.needsKeyframe && at >= stretch.start - 0.02 && at <= stretch.end;
    }

    // Keeps the element at another one's time: lips before latency.
    follow(leader) {
      const wishedS = leader.element.currentTime;
      const stretch = this.stretchAt(wishedS) || this.stretch();
      if (!stretch) { return; }
      const drift = wishedS - this.element.currentTime;
      const reachable = wishedS >= stretch.start && wishedS <= stretch.end;
      const now = performance.now();
      if (reachable && (!this.begun || (Math.abs(drift) > (this.isIn(stretch) ? FAR_DRIFT_S : JUMP_DRIFT_S) && now - this.seekAt > this.seekRestMs))) {
        // Each seek decodes a whole group of pictures: a slow machine must not be kept at that.
        this.seekRestMs = this.begun ? Math.min(2 * this.seekRestMs, SEEK_REST_MS_MAX) : SEEK_REST_MS;
        this.seek(wishedS);
        return;
      }
      if (Math.abs(drift) < JUMP_DRIFT_S / 4) { this.seekRestMs = SEEK_REST_MS; }
      if (!this.begun) { this.followLive(); return; }
      const rate = leader.element.playbackRate > 1.1 ? leader.element.playbackRate : 1;
      // A picture is not heard: what lags hurries, which costs less than to seek.
      const most = Math.abs(drift) > JUMP_DRIFT_S / 2 ? HURRY_RATE : 0.15;
      this.setRate(Math.abs(drift) < 0.02 ? rate : Math.max(0.5, rate + Math.max(-most, Math.min(most, drift))));
    }

    // Forgets what came after a moment, so that it is taken in once more; what plays stays.
    rewind(toS) {
      while (this.clock.length && this.clock[this.clock.length - 1].decodeS > toS) { this.clock.pop(); }
      const mark = this.clock[this.clock.length - 1];
      if (!mark || this.newestS <= toS) { return; }
      this.last.set(mark.track, mark.number);
      this.newestS = mark.decodeS;
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

  window.schoolnodeLane = { Lane, readItem, MEDIA, INIT };
}());
