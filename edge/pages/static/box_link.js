// A page's line to its box: a WebSocket that is opened again for as long as it takes.
//
//   new schoolnodeLink(url, {told(message), item(fragment), lost()})   isAway   aheadMs   look()   close()
//
// Loaded before player.js. Messages are described in edge/lesson/classroom/classroom_stream.py. ES2019,
// no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const SILENCE_MS = 4000; // the box speaks every second
  const RETRY_MS_MIN = 200;
  const RETRY_MS_MAX = 1000; // on a LAN: a class hears nothing meanwhile
  const CLOCK_STEP_MS = 2000;

  class BoxLink {
    constructor(url, heard) {
      this.url = url;
      this.heard = heard;
      this.aheadMs = null; // of this page's clock
      this.retryMs = RETRY_MS_MIN;
      this.wasLost = false;
      this.connect();
    }

    // A box that is called for the first time is not away yet.
    get isAway() { return this.wasLost && !(this.socket && this.socket.readyState === WebSocket.OPEN); }

    connect() {
      const socket = new WebSocket(this.url);
      this.socket = socket;
      this.heardAt = performance.now();
      socket.binaryType = "arraybuffer";
      socket.onmessage = (message) => {
        if (this.socket !== socket) { return; }
        this.heardAt = performance.now();
        this.retryMs = RETRY_MS_MIN;
        if (typeof message.data === "string") { this.hear(message.data); return; }
        const item = window.schoolnodeLane.readItem(message.data);
        if (item) { this.heard.item(item); }
      };
      socket.onclose = () => { if (this.socket === socket) { this.reconnect(); } };
    }

    reconnect() {
      const socket = this.socket;
      this.socket = null;
      this.wasLost = true;
      if (socket) { socket.close(); }
      this.heard.lost();
      clearTimeout(this.retry);
      this.retry = setTimeout(() => this.connect(), this.retryMs * (0.5 + Math.random() / 2));
      this.retryMs = Math.min(this.retryMs * 2, RETRY_MS_MAX);
    }

    // Called many times a second: a box that is silent is taken for gone.
    look() { if (this.socket && performance.now() - this.heardAt > SILENCE_MS) { this.reconnect(); } }

    hear(text) {
      let told;
      try { told = JSON.parse(text); } catch (error) { return; }
      if (told.type === "state") { this.noteClock(told.now_ms - Date.now()); }
      this.heard.told(told);
    }

    // The least delayed message tells best how far the box's clock is ahead of this page's.
    noteClock(aheadMs) {
      if (this.aheadMs === null || aheadMs > this.aheadMs || Math.abs(aheadMs - this.aheadMs) > CLOCK_STEP_MS) {
        this.aheadMs = aheadMs;
      }
    }

    close() {
      clearTimeout(this.retry);
      const socket = this.socket;
      this.socket = null;
      if (socket) { socket.close(); }
    }
  }

  window.schoolnodeLink = BoxLink;
}());
