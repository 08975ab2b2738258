// Camera tiles: live while they are seen, turned while a direction is held.
//
// What is held is repeated; releasing, leaving the window or losing the connection lets go, and the
// box lets go by itself when it hears nothing for a second. ES2019, nothing loaded from elsewhere.
(function () {
  "use strict";

  const REPEAT_MS = 350;
  const SPEED = 0.6;
  const KEYS = {
    ArrowLeft: { pan: -1 },
    ArrowRight: { pan: 1 },
    ArrowUp: { tilt: 1 },
    ArrowDown: { tilt: -1 },
    "+": { zoom: 1 },
    "=": { zoom: 1 },
    "-": { zoom: -1 },
  };

  class Pad {
    constructor(tile, view) {
      this.tile = tile;
      this.url = new URL(view.dataset.pad, window.location.href);
      this.url.protocol = window.location.protocol === "https:" ? "wss:" : "ws:";
      this.said = tile.querySelector("[data-said]");
      this.held = new Map(); // what holds (a pointer, a key) -> its direction
      this.socket = null;
      this.timer = null;
      tile.querySelectorAll(".pad button").forEach((button) => this.listenTo(button));
      view.addEventListener("keydown", (event) => this.press(event));
      view.addEventListener("keyup", (event) => this.release("key " + event.key));
      view.addEventListener("blur", () => this.releaseAll());
      window.addEventListener("blur", () => this.releaseAll());
      window.addEventListener("pagehide", () => this.releaseAll());
      document.addEventListener("visibilitychange", () => { if (document.hidden) { this.releaseAll(); } });
    }

    listenTo(button) {
      const way = {};
      ["pan", "tilt", "zoom"].forEach((axis) => {
        if (button.dataset[axis]) { way[axis] = Number(button.dataset[axis]); }
      });
      button.addEventListener("pointerdown", (event) => {
        if (event.button) { return; }
        event.preventDefault();
        button.focus();
        button.setPointerCapture(event.pointerId);
        this.hold("pointer " + event.pointerId, way, button);
      });
      ["pointerup", "pointercancel", "lostpointercapture"].forEach((name) => {
        button.addEventListener(name, (event) => this.release("pointer " + event.pointerId));
      });
      button.addEventListener("contextmenu", (event) => event.preventDefault());
      // A button with the focus is held with Enter or space, and turned with the arrows as well.
      button.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          if (!event.repeat) { this.hold("key " + event.key, way, button); }
        } else {
          this.press(event);
        }
      });
      button.addEventListener("keyup", (event) => this.release("key " + event.key));
      button.addEventListener("blur", () => this.releaseAll());
    }

    press(event) {
      const way = KEYS[event.key];
      if (!way || event.ctrlKey || event.altKey || event.metaKey) { return; }
      event.preventDefault();
      if (!event.repeat) { this.hold("key " + event.key, way, null); }
    }

    hold(holder, way, button) {
      this.said.hidden = true;
      this.held.set(holder, { way: way, button: button });
      if (button) { button.dataset.held = ""; }
      this.steer();
      if (this.timer === null) { this.timer = setInterval(() => this.steer(), REPEAT_MS); }
    }

    release(holder) {
      const known = this.held.get(holder);
      if (!known) { return; }
      this.held.delete(holder);
      if (known.button) { delete known.button.dataset.held; }
      this.steer();
      if (!this.held.size) {
        clearInterval(this.timer);
        this.timer = null;
      }
    }

    releaseAll() { Array.from(this.held.keys()).forEach((holder) => this.release(holder)); }

    steer() {
      const wish = { pan: 0, tilt: 0, zoom: 0 };
      this.held.forEach((known) => {
        Object.keys(known.way).forEach((axis) => { wish[axis] = known.way[axis] * SPEED; });
      });
      const socket = this.socket;
      if (socket && socket.readyState === WebSocket.OPEN) {
        socket.send(JSON.stringify(wish));
      } else if (!socket && this.held.size) {
        this.connect();
      }
    }

    connect() {
      const socket = new WebSocket(this.url.href);
      this.socket = socket;
      socket.onopen = () => this.steer();
      socket.onmessage = (message) => {
        let told;
        try { told = JSON.parse(message.data); } catch (error) { return; }
        this.said.textContent = this.said.dataset.said;
        this.said.title = String(told.error || "");
        this.said.hidden = false;
      };
      socket.onclose = () => {
        this.socket = null;
        this.releaseAll();
      };
    }
  }

  // One tile: its picture is asked for while it can be seen.
  class Tile {
    constructor(element) {
      this.view = element.querySelector(".view");
      this.live = element.querySelector(".live");
      this.still = element.querySelector(".still");
      this.badge = element.querySelector("[data-live]");
      this.player = null;
      this.seen = false;
      if (this.view.dataset.pad) { this.pad = new Pad(element, this.view); }
    }

    see(seen) {
      this.seen = seen;
      const wanted = seen && !document.hidden;
      if (wanted && !this.player) {
        this.live.hidden = false;
        this.player = window.schoolnodePlayer.open(this.live, {
          url: this.view.dataset.stream,
          onstate: (told) => this.show(told.state),
        });
      } else if (!wanted && this.player) {
        this.player.stop();
        this.player = null;
        this.live.hidden = true;
        this.show("waiting");
      }
    }

    show(state) {
      const word = state === "live" ? "wordLive" : state === "waiting" ? "wordWaiting" : "wordStill";
      this.badge.textContent = this.view.dataset[word];
      this.still.hidden = state === "live";
    }
  }

  const tiles = new Map();
  const watcher = new IntersectionObserver((entries) => {
    entries.forEach((entry) => tiles.get(entry.target).see(entry.isIntersecting));
  });
  document.querySelectorAll(".camera").forEach((element) => {
    tiles.set(element, new Tile(element));
    watcher.observe(element);
  });
  document.addEventListener("visibilitychange", () => {
    tiles.forEach((tile) => tile.see(tile.seen));
  });
}());
