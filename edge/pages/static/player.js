// Plays the classroom's stream: an element for each picture and each sound, so that sound goes on
// when picture has a gap.
//
//   schoolnodePlayer.start(container, options)   schoolnodePlayer.stop()
//   schoolnodePlayer.open(container, options) returns a player beside others, to be stopped by itself
//
// Needs media_lane.js, picture_stage.js and box_link.js before it, and replay.js where ``options.replay`` is given.
// Options, all but the first not needed:
//
//   url         the stream's WebSocket; its messages are described in edge/lesson/classroom/classroom_stream.py
//   replay      where a class goes on after a cut (edge/lesson/classroom/replay.py); without it, live again
//   hls         what is played where the browser has no MediaSource
//   media       false: only the messages of state and board
//   soundLabel  what the button says where sound needs a tap
//   onstate({state, cause, behindS, waits, paused}), onboard(message), onfigures(figures, each 10 s)
//
// States: waiting, live, degraded, catching_up, done; causes: those of the box, and box_unreachable,
// cannot_play. ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const { Lane, MEDIA, INIT } = window.schoolnodeLane;
  const STEER_MS = 50;
  const FIGURES_MS = 10000;
  const HLS_AGAIN_MS = 1000;
  const CUT_S = 1.2; // so much left out, or late, is a cut: a class goes on where it stood
  const QUIET_MS = 500;
  const SETTLED_MS = 1500;
  const HURRY_MS = 2500; // less than this is made up for without a word
  const HURRIED_MS = 1500; // and a word once said stays until it is less than this
  const LAG_S = 0.75; // beyond its target: just below what makes a lane jump
  const RECENT_MS = 15000;
  const RECENT_BYTES_MAX = 12 * 1024 * 1024;
  const SMALL_TRACK = 3;
  const PICTURE_OUT_MS = 2000; // both as the box itself judges it (edge/lesson/status.py)
  const TOGETHER_MS = 500;
  const HLS_TYPE = "application/vnd.apple.mpegurl";
  const ROLES = { 1: "teacher", 2: "sound", 3: "teacher", 4: "voice", 5: "blackboard", 7: "document", 9: "called" };

  class Player {
    constructor(container, options) {
      this.container = container;
      this.options = options;
      this.told = { state: "waiting", cause: "", behindS: 0, waits: false, paused: false };
      this.box = { state: "waiting", cause: "" };
      this.evidenceMs = null; // when the box last had picture or sound, by its clock
      this.needsTap = false;
      this.leftOut = [];
      this.take = null;
      this.begunAt = 0; // when it did, by performance.now()
      this.live = { take: null, inits: new Map(), recent: [], bytes: 0 };
      this.behind = null; // while a class catches up: see replay.js
      this.edgeMs = null; // capture time of the newest there is
      this.ageMin = null;
      this.stage = new window.schoolnodeStage(container, options.soundLabel);
      this.video = this.stage.addPicture("teacher");
      this.audio = this.stage.addSound();
      this.lanes = new Map();
      this.picture = this.addLane("teacher", this.video);
      this.sound = this.addLane("sound", this.audio);
      this.timer = setInterval(() => this.steer(), STEER_MS);
      if (options.onfigures) { this.figuresTimer = setInterval(() => options.onfigures(this.figures()), FIGURES_MS); }
      this.onGesture = () => this.tap();
      document.addEventListener("pointerdown", this.onGesture);
      document.addEventListener("keydown", this.onGesture);
      this.playsHls = !window.MediaSource && Boolean(options.hls && this.video.canPlayType(HLS_TYPE));
      this.isFinishing = false;
      this.isSettled = false; // it has reached live once
      if (this.playsHls) { this.openHls(); }
      this.link = new window.schoolnodeLink(this.address(), {
        told: (message) => this.hear(message),
        item: (item) => this.takeIn(item),
        lost: () => this.judge(),
      });
    }

    address() {
      const url = new URL(this.options.url || "/classroom/stream", window.location.href);
      url.protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
      if (this.playsHls || this.options.media === false) { url.searchParams.set("media", "0"); }
      return url.href;
    }

    addLane(role, element) {
      const lane = new Lane(element, element instanceof HTMLVideoElement);
      this.lanes.set(role, lane);
      return lane;
    }

    // The lane of a track; those beside the teacher's are made when they first come.
    laneOf(track) {
      const role = ROLES[track];
      if (!role || this.leftOut.includes(role)) { return null; }
      const known = this.lanes.get(role);
      if (known) { return known; }
      return this.addLane(role, track % 2 ? this.stage.addPicture(role) : this.stage.addSound());
    }

    // The lane whose time the others keep.
    get lead() { return this.sound.newestS > -Infinity && !this.needsTap ? this.sound : this.picture; }

    openHls() {
      const again = () => {
        clearTimeout(this.hlsRetry);
        this.hlsRetry = setTimeout(() => this.openHls(), HLS_AGAIN_MS);
      };
      this.video.onerror = this.video.onended = again; // nothing plays yet, or another take does
      this.video.muted = false;
      this.video.src = this.options.hls;
      this.video.play().catch((error) => {
        if (error.name !== "NotAllowedError") { return; }
        this.video.muted = true;
        this.video.play().catch(() => {});
        this.askForTap(true);
      });
    }

    hear(told) {
      if (told.type === "board" && this.options.onboard) { this.options.onboard(told); }
      if (told.type !== "state") { return; }
      this.box = { state: String(told.state), cause: String(told.cause || "") };
      const ages = [told.sound_age_ms, told.picture_age_ms].filter((age) => typeof age === "number");
      this.evidenceMs = ages.length ? told.now_ms - Math.min(...ages) : null;
      this.sound.isBursty = told.rung !== undefined && told.rung !== "main";
      this.judge();
    }

    // One live message.
    takeIn(item) {
      this.remember(item);
      const plays = !this.behind || this.behind.joined;
      if (item.kind === INIT) {
        if (plays && item.take !== this.take) { this.meetTake(item); }
        if (item.take === this.take) { this.place(item); }
      } else if (item.kind === MEDIA && plays && item.take === this.take) {
        if (this.isCut(item)) { this.fallBehind(false); } else { this.place(item); }
      }
    }

    remember(item) {
      if (item.take !== this.live.take) { this.live = { take: item.take, inits: new Map(), recent: [], bytes: 0 }; }
      if (item.kind === INIT) { this.live.inits.set(item.track, item); return; }
      const live = this.live;
      live.recent.push(item);
      live.bytes += item.data.length;
      this.edgeMs = item.captureMs > this.edgeMs || Math.abs(item.captureMs - this.edgeMs) > 60000 ? item.captureMs : this.edgeMs;
      while (live.bytes > RECENT_BYTES_MAX || live.recent[0].captureMs < item.captureMs - RECENT_MS) {
        live.bytes -= live.recent.shift().data.length;
      }
    }

    // A new take has a time line of its own. After a silence the old one may have gone on unseen.
    meetTake(init) {
      if (this.options.replay && this.take !== null && this.lead.begun && this.isQuiet(this.sound) && this.isQuiet(this.picture)) {
        this.fallBehind(false);
        return;
      }
      this.begin(init.take);
    }

    begin(take) {
      if (this.video.videoWidth && this.picture.begun) { this.stage.freeze(this.video); }
      this.lanes.forEach((lane) => lane.forget());
      this.take = take;
      this.begunAt = performance.now();
      this.ageMin = null;
      this.isSettled = false;
    }

    place(item) {
      const lane = this.laneOf(item.track);
      if (!lane) { return; }
      if (item.kind === INIT) { lane.open(item); } else { lane.append(item); }
    }

    isQuiet(lane) { return performance.now() - lane.arrivedAt > QUIET_MS; }

    // Tells whether something was left out, or is so late that live must be elsewhere by now. A
    // hole in the picture alone is none: the sound went on.
    isCut(item) {
      const ageMs = performance.now() - item.captureMs; // of two clocks: only its changes count
      const lane = this.laneOf(item.track);
      if (!this.options.replay || (lane !== this.picture && lane !== this.sound) || !lane.begun) { return false; }
      const late = this.ageMin !== null && ageMs > this.ageMin + (CUT_S + lane.target) * 1000;
      this.ageMin = this.ageMin === null ? ageMs : Math.min(this.ageMin, ageMs);
      const last = lane.last.get(item.track);
      const isNext = last !== undefined && item.number <= last + 1; // a track that is new here follows none
      const left = !isNext && item.decodeS > lane.newestS + CUT_S;
      return (late || left) && this.isQuiet(lane === this.sound ? this.picture : this.sound);
    }

    fallBehind(joined) {
      if (this.behind) { this.behind.stop(); }
      this.behind = new window.schoolnodeBehind(this, joined);
      this.judge();
    }

    placeRecent() {
      this.live.inits.forEach((init) => this.place(init));
      this.live.recent.forEach((item) => this.place(item));
    }

    goLive() {
      this.behind.stop();
      this.behind = null;
      this.ageMin = null;
    }

    jumpToLive() {
      if (!this.behind) { return; }
      this.isSettled = false;
      this.goLive();
      if (this.live.take !== null && this.live.take !== this.take) { this.begin(this.live.take); }
      this.placeRecent();
      this.judge();
    }

    // The lesson is over: what the box still has of it is played. False once the class has it all.
    finish() {
      if (this.playsHls || !this.options.replay || (!this.isFinishing && !this.lead.begun)) { return false; }
      if (!this.isFinishing) {
        this.isFinishing = true;
        if (!this.behind || this.behind.joined) { this.fallBehind(false); }
      }
      return this.behind !== null && !this.behind.isOver;
    }

    // The lesson goes on though it seemed over: word that it is longer comes late over a poor line.
    goOn() {
      if (!this.isFinishing) { return; }
      this.isFinishing = false;
      if (this.behind) { this.behind.goOn(); }
    }

    steer() {
      this.link.look();
      if (this.playsHls) { this.judge(); return; }
      if (!this.behind) { this.noteLag(); }
      if (this.behind) { this.behind.steer(); } else { this.sound.followLive(); }
      const lead = this.sound.isPlaying() && !this.needsTap ? this.sound : this.picture;
      this.lanes.forEach((lane) => {
        if (lane === this.sound || (this.behind && lane === this.lead)) { return; }
        if (lane !== lead && lead.isPlaying()) { lane.follow(lead); } else if (!this.behind) { lane.followLive(); }
      });
      this.keepPlaying();
      this.stage.arrange(this.lanes);
      this.judge();
    }

    // What came late all at once is heard at a quicker pace; nothing of it is left out.
    noteLag() {
      const inHandS = this.lead.inHandS();
      const restsMs = performance.now() - this.lead.seekAt;
      if (this.lead.begun && inHandS > 0 && inHandS < this.lead.target + LAG_S / 2 && restsMs > SETTLED_MS) { this.isSettled = true; }
      if (this.options.replay && this.isSettled && inHandS > this.lead.target + LAG_S) { this.fallBehind(true); }
    }

    keepPlaying() {
      this.lanes.forEach((lane) => {
        if (lane === this.sound || !lane.begun || !lane.element.paused) { return; }
        if (lane.needsKeyframe || !this.needsTap) { lane.element.play().catch(() => {}); }
      });
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
      this.stage.button.hidden = !needed;
      if (needed) { this.stage.button.focus(); }
    }

    tap() {
      if (!this.needsTap) { return; }
      if (this.playsHls) { this.video.muted = false; this.askForTap(false); return; }
      this.audio.play().then(() => {
        if (this.behind) { this.sound.seek(this.video.currentTime); } else { this.sound.begun = false; }
        this.askForTap(false);
      }, () => {});
    }

    showSlide(url) { this.stage.showSlide(url); }

    // Who is called on does not hear and see itself: roles whose tracks this page leaves out.
    leaveOut(roles) {
      if (roles.join() === this.leftOut.join()) { return; }
      this.leftOut = roles;
      roles.forEach((role) => { if (this.lanes.has(role)) { this.lanes.get(role).forget(); } });
      if (!roles.length) { this.live.inits.forEach((init) => { if (init.take === this.take) { this.place(init); } }); }
    }

    setStage(calledIsLarge) { this.stage.calledIsLarge = calledIsLarge; }

    setVolume(volume) { this.stage.setVolume(volume); }

    judge() {
      const now = {
        state: this.box.state, cause: this.box.cause, behindS: 0, waits: false, paused: this.stage.isPaused,
      };
      if (this.link.isAway) {
        const seen = this.picture.begun || this.sound.begun;
        now.state = seen ? "degraded" : "waiting";
        now.cause = "box_unreachable";
      } else if (!this.playsHls && (this.picture.cannotPlay || this.sound.cannotPlay)) {
        now.state = "degraded";
        now.cause = "cannot_play";
      } else if (now.state === "live" && !now.cause && this.pictureLacking()) {
        now.state = "degraded";
        now.cause = this.pictureLacking();
      }
      const hurryMs = this.told.state === "catching_up" ? HURRIED_MS : HURRY_MS;
      if (this.behind && (!this.behind.joined || this.behindMs() > hurryMs)) {
        now.state = "catching_up";
        now.behindS = Math.round(this.behindMs() / 1000);
        now.waits = this.behind.waits;
      }
      if (this.behind && this.behind.isOver) {
        now.state = "done";
        now.behindS = 0;
      }
      if (Object.keys(now).every((name) => now[name] === this.told[name])) { return; }
      this.told = now;
      if (this.options.onstate) { this.options.onstate(this.told); }
    }

    // The box tells how its own line is; this page's may carry less of the picture, or none of it.
    pictureLacking() {
      if (!this.picture.inits.size) { return ""; }
      const since = Math.max(this.picture.arrivedAt, this.begunAt);
      const isOut = performance.now() - since > PICTURE_OUT_MS && this.sound.arrivedAt - since > TOGETHER_MS;
      return isOut ? "no_picture" : this.picture.track === SMALL_TRACK ? "picture_reduced" : "";
    }

    // When what is seen and heard now was captured, by the flagship's clock; null before that.
    captureMs() { return this.lead.begun ? this.lead.captureMs() : null; }

    behindMs() {
      const shownMs = this.captureMs();
      return !this.behind || shownMs === null || this.edgeMs === null ? 0 : Math.max(0, this.edgeMs - shownMs);
    }

    latencyMs() {
      const captured = this.picture.begun ? this.picture.captureMs() : this.sound.captureMs();
      if (captured === null || this.link.aheadMs === null) { return null; }
      return Math.round(Date.now() + this.link.aheadMs - captured);
    }

    get stalls() { return this.picture.stalls + this.sound.stalls; }

    figures() {
      const { state, cause, behindS } = this.told;
      const quality = this.video.getVideoPlaybackQuality ? this.video.getVideoPlaybackQuality() : null;
      const dropped = quality ? quality.droppedVideoFrames : 0;
      return { state, cause, behindS, frames: framesDecoded(this.video), dropped, stalls: this.stalls, latencyMs: this.latencyMs(), sound: !this.needsTap };
    }

    stop() {
      clearInterval(this.timer);
      clearInterval(this.figuresTimer);
      clearTimeout(this.hlsRetry);
      this.video.onerror = this.video.onended = null;
      document.removeEventListener("pointerdown", this.onGesture);
      document.removeEventListener("keydown", this.onGesture);
      this.link.close();
      if (this.behind) { this.behind.stop(); }
      this.lanes.forEach((lane) => lane.close());
      this.stage.close();
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
      return player;
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
    get behindMs() { return player ? player.behindMs() : 0; },
    get stalls() { return player ? player.stalls : 0; },
    get needsTap() { return player ? player.needsTap : false; },
    jumpToLive() { if (player) { player.jumpToLive(); } },
  };
}());
