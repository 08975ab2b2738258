// Fetches what the box has stored of a lesson, so that a class goes on where it was cut off.
//
// Loaded before player.js by pages that watch a lesson. The answers are described in
// edge/lesson/classroom/replay.py. ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const AHEAD_S = 12; // fetched before it is played
  const AGAIN_MS = 500;
  const LIVE_AGAIN_MS = 1000;
  const AGAIN_MS_MAX = 5000;
  const ANSWER_MS = 10000;
  const PICTURE_WAIT_MS = 3000; // sound does not wait longer for its picture
  const SOUND_WAIT_MS = 12000; // then what is missing stays a gap here; the recording gets it later
  const SKIP_MS = 10000;
  const THIN_S = 0.7;
  const SLOW_MAX = 2;
  const GONE = 404;
  const REWIND_S = 1.2;
  const NEAR_S = 0.4; // no further from its target: that is live
  const STANDS_MS = 5000; // what of an ended lesson stands for so long is not played any more

  function readParts(bytes) {
    const view = new DataView(bytes);
    const parts = [];
    for (let at = 0; at + 4 <= bytes.byteLength;) {
      const length = view.getUint32(at);
      if (at + 4 + length > bytes.byteLength) { break; }
      parts.push(bytes.slice(at + 4, at + 4 + length));
      at += 4 + length;
    }
    return parts;
  }

  // options: url; take and after (where to begin); inHandS(), feed(item), onhead(head), onlive(skips),
  // onover(), onfail(). step() is called many times a second; stop() ends it. onlive returns false
  // while something lies between what is signed and what came live; ``skips``: pass that over.
  class Replay {
    constructor(options) {
      this.options = options;
      this.take = options.take;
      this.after = options.after;
      this.dueAt = 0;
      this.fails = 0;
      this.slow = 0;
      this.holeAt = null;
      this.skip = "";
      this.skipUntil = 0;
      this.asking = null;
    }

    step() {
      const now = performance.now();
      if (this.asking || now < this.dueAt || this.options.inHandS() > AHEAD_S) { return; }
      this.ask(now);
    }

    stop() {
      const asking = this.asking;
      this.asking = this.options = null;
      if (asking) { asking.abort(); }
    }

    ask(now) {
      if (this.skip && now > this.skipUntil) { this.skip = ""; }
      const after = Object.keys(this.after).map((track) => track + ":" + this.after[track]).join(",");
      const take = ("0000000" + this.take.toString(16)).slice(-8);
      const asking = new AbortController();
      this.asking = asking;
      const bound = setTimeout(() => asking.abort(), ANSWER_MS);
      fetch(this.options.url + "&take=" + take + "&after=" + after + "&skip=" + this.skip, { cache: "no-store", signal: asking.signal })
        .then((answer) => {
          if (!answer.ok) { throw new Error(String(answer.status)); }
          return answer.arrayBuffer();
        })
        .then((bytes) => { if (this.asking === asking) { this.asking = null; this.read(bytes, performance.now() - now); } })
        .catch((error) => { if (this.asking === asking) { this.asking = null; this.fail(error); } })
        .then(() => clearTimeout(bound));
    }

    fail(error) {
      this.fails += 1;
      this.dueAt = performance.now() + Math.min(AGAIN_MS * this.fails, AGAIN_MS_MAX);
      if (error.message === String(GONE)) { this.options.onfail(); }
    }

    read(bytes, tookMs) {
      const parts = readParts(bytes);
      const head = JSON.parse(new TextDecoder().decode(parts[0]));
      this.fails = 0;
      this.slow = head.media_ms > 0 && tookMs > head.media_ms ? this.slow + 1 : 0;
      if (this.slow >= SLOW_MAX) { this.options.onfail(); return; }
      this.options.onhead(head);
      if (parts.length > 1) { this.holeAt = null; }
      parts.slice(1).forEach((part) => this.feed(part));
      if (!this.options) { return; }
      const meets = !head.live || head.over || this.options.onlive(this.skip === "all");
      if (!this.options) { return; }
      this.wait(meets ? head.hole : "signature", head.live);
      if (head.over) { this.options.onover(); }
    }

    feed(part) {
      const item = window.schoolnodeLane.readItem(part);
      if (!item || !this.options) { return; }
      if (item.take !== this.take) {
        this.take = item.take;
        this.after = {};
      }
      if (item.kind === window.schoolnodeLane.MEDIA) { this.after[item.track] = item.number; }
      this.options.feed(item);
    }

    // What is missing may still be coming to the box: sound is waited for, picture only shortly.
    wait(hole, isLive) {
      const now = performance.now();
      if (!hole) {
        this.holeAt = null;
        this.dueAt = isLive ? now + LIVE_AGAIN_MS : 0;
        return;
      }
      this.dueAt = now + AGAIN_MS;
      if (this.holeAt === null) { this.holeAt = now; }
      const waits = hole === "picture" ? PICTURE_WAIT_MS : SOUND_WAIT_MS;
      if (now - this.holeAt > waits && this.options.inHandS() < THIN_S) {
        this.skip = hole === "picture" ? "picture" : "all";
        this.skipUntil = now + SKIP_MS;
        this.dueAt = 0;
        this.holeAt = null;
      }
    }
  }

  // A player that was cut off: what the store gives is played first, up to where live is.
  class Behind {
    // ``joined``: all that it lacks is in its buffers already.
    constructor(player, joined) {
      this.player = player;
      this.joined = joined; // nothing is between what plays and what comes live
      this.held = []; // of the next take, while this one is played out
      this.isOver = false;
      this.waits = false;
      this.ends = false;
      this.stoodS = null;
      this.movedAt = 0;
      this.leaves = false;
      this.replay = joined ? null : this.fetch();
    }

    fetch() {
      const player = this.player;
      const lead = player.lead;
      const after = {};
      player.lanes.forEach((lane) => {
        lane.rewind(lead.newestS + REWIND_S);
        lane.last.forEach((number, track) => { after[track] = number; });
      });
      return new Replay({
        url: player.options.replay,
        take: player.take,
        after,
        inHandS: () => player.lead.inHandS() + this.heldS(),
        feed: (item) => this.feed(item),
        onhead: (head) => { player.edgeMs = Math.max(player.edgeMs, head.newest_ms); },
        onlive: (skips) => this.join(skips),
        onover: () => { this.ends = true; },
        onfail: () => player.jumpToLive(),
      });
    }

    heldS() {
      const media = this.held.filter((item) => item.kind === window.schoolnodeLane.MEDIA);
      return media.length ? (media[media.length - 1].captureMs - media[0].captureMs) / 1000 : 0;
    }

    feed(item) {
      this.leaves = false;
      if (this.held.length || item.take !== this.player.take) { this.held.push(item); } else { this.player.place(item); }
    }

    // The store has nothing newer that is signed: from here on what comes live is taken in directly.
    join(skips) {
      const { live, take } = this.player;
      if (this.player.isFinishing || this.held.length) { return true; }
      if (live.take !== null && live.take !== take) {
        this.leaves = true; // what is live now, a recording that stands in, is not of this lesson's store
        return true;
      }
      if (!skips && !this.meetsLive()) { return false; }
      this.stop();
      this.joined = true;
      this.player.placeRecent();
      return true;
    }

    // Whether what came live lately goes on, without a hole, where this one stands.
    meetsLive() {
      const { live, lead } = this.player;
      let next = lead.last.has(lead.track) ? lead.last.get(lead.track) + 1 : 0;
      return live.recent.every((item) => {
        const follows = item.track === lead.track && item.number >= next;
        if (follows && item.number > next) { return false; }
        next += follows ? 1 : 0;
        return true;
      });
    }

    // Whether a lesson that has ended is not played on, whatever the reason: its class is not kept.
    stands(lead) {
      const now = performance.now();
      if (!this.ends || lead.element.currentTime !== this.stoodS) {
        this.stoodS = lead.element.currentTime;
        this.movedAt = now;
      }
      return now - this.movedAt > STANDS_MS;
    }

    steer() {
      const lead = this.player.lead;
      lead.followBehind();
      const stands = this.stands(lead);
      const isSpent = stands || lead.newestS === -Infinity || lead.isSpent();
      if (this.held.length && isSpent) {
        const held = this.held;
        this.held = [];
        this.player.begin(held[0].take);
        held.forEach((item) => this.feed(item));
      }
      this.waits = isSpent; // for what the box has not got yet
      this.isOver = this.ends && !this.held.length && this.waits;
      if (this.leaves && isSpent && !this.held.length) {
        this.player.jumpToLive();
        return;
      }
      if (this.joined && lead.begun && lead.inHandS() < lead.target + NEAR_S) { this.player.goLive(); }
      if (this.replay) { this.replay.step(); }
    }

    // Its lesson is not over: what comes live is joined as after any cut.
    goOn() { this.ends = this.isOver = false; }

    stop() {
      if (this.replay) { this.replay.stop(); }
      this.replay = null;
    }
  }

  window.schoolnodeBehind = Behind;
}());
