// What a class sees beside picture and sound, and its three controls: slides and captions at the
// moment that is being played, the question, who is called on; raise hand, quick answer, call for
// help.
//
//   new schoolnodeBoard(room)   hear(message, role)   step(player or null, nowMs)   reset(lesson)
//
// Needs live.js before it. The messages are described in edge/lesson/classroom/classroom_stream.py, the state in edge/lesson/classroom/board.py.
// ES2019, no modules, nothing loaded from elsewhere.
(function () {
  "use strict";

  const RESULTS_MS = 20000; // how long the answers of all classes stay on the screen
  const REFUSED_MS = 8000;
  const SHORT = 4;
  const SLIDE_AGAIN_MS = 2000; // a slide that is not here yet is asked for again
  const PRELOADED_MAX = 64;
  const CAPTIONS_MAX = 2000;
  const CALLED_VOLUME = 0.3; // this class's microphone is open: its loudspeaker must not be heard
  const CAPTIONS_KEY = "schoolnode-captions";

  const { write, post } = window.schoolnode;
  const byId = (id) => document.getElementById(id);

  function show(id, shown) { byId(id).hidden = !shown; }

  // The newest entry not after a moment; entries are in order of at_ms.
  function at(entries, ms) {
    let found = null;
    entries.forEach((entry) => { if (entry.at_ms <= ms) { found = entry; } });
    return found;
  }

  class Slides {
    constructor(room, lesson) {
      this.room = room;
      this.lesson = lesson;
      this.known = [];
      this.loaded = new Map();
    }

    hear(slides) {
      slides.forEach((slide) => {
        if (!this.known.some((known) => known.at_ms === slide.at_ms && known.digest === slide.digest)) { this.known.push(slide); }
        if (slide.digest) { this.load(slide.digest); }
      });
      this.known.sort((one, other) => one.at_ms - other.at_ms);
    }

    url(digest) {
      return "/classroom/materials/" + digest + "?room=" + encodeURIComponent(this.room) + "&lesson=" + encodeURIComponent(this.lesson);
    }

    load(digest) {
      if (this.loaded.has(digest) || this.loaded.size >= PRELOADED_MAX) { return; }
      const picture = new Image();
      this.loaded.set(digest, false);
      picture.onload = () => { this.loaded.set(digest, true); };
      picture.onerror = () => {
        setTimeout(() => { this.loaded.delete(digest); this.load(digest); }, SLIDE_AGAIN_MS);
      };
      picture.src = this.url(digest);
    }

    // The address of what is to be seen at a moment, "" for none.
    shownAt(ms) {
      const slide = at(this.known, ms);
      return slide && slide.digest && this.loaded.get(slide.digest) ? this.url(slide.digest) : "";
    }
  }

  class Board {
    constructor(room) {
      this.room = room;
      this.language = document.documentElement.lang.slice(0, 2);
      this.captionsOn = true;
      try { this.captionsOn = localStorage.getItem(CAPTIONS_KEY) !== "off"; } catch (refused) { /* private mode */ }
      this.reset("");
      byId("hand").onclick = () => this.post("hand", { raised: this.view.hand_ms === null });
      byId("help").onclick = () => this.post("help", { wanted: this.view.help_ms === null });
      byId("answer").onclick = () => { this.opened = !byId("choices").childElementCount || byId("question").hidden; };
      byId("caption-switch").onclick = () => this.switchCaptions();
      this.showSwitch();
    }

    // Forgets what was told of another lesson.
    reset(lesson) {
      this.view = { hand_ms: null, help_ms: null, called: 0, school: 0, muted: [], question: null, choice: null, stage: false };
      this.role = "";
      this.slides = new Slides(this.room, lesson);
      this.captions = new Map();
      this.asked = ""; // the question as it is drawn
      this.closedAt = 0;
      this.opened = false;
      this.refusedAt = -Infinity;
    }

    hear(view, role) {
      const known = this.view.question;
      this.view = view;
      this.role = role;
      this.slides.hear(view.slides || []);
      (view.captions || []).forEach((line) => {
        this.captions.set(line.language + line.from_ms + line.text, line);
        if (this.captions.size > CAPTIONS_MAX) { this.captions.delete(this.captions.keys().next().value); }
      });
      const question = view.question;
      if (question && (!known || known.question !== question.question)) {
        this.opened = true;
        this.closedAt = 0;
      }
      if (question && question.counts && !this.closedAt) {
        this.closedAt = performance.now();
        this.opened = true;
      }
    }

    // ``player`` is null where the class teaches or nothing plays yet.
    step(player, nowMs) {
      const shownMs = player && player.captureMs();
      const ms = shownMs === null || shownMs === undefined ? nowMs : shownMs;
      const isCalled = this.view.called !== 0 && this.view.called === this.view.school;
      if (player) {
        player.showSlide(this.slides.shownAt(ms));
        player.setStage(Boolean(this.view.stage) && !isCalled);
        player.leaveOut(isCalled ? ["voice", "called"] : []);
        player.setVolume(isCalled ? CALLED_VOLUME : 1);
      }
      show("called", isCalled);
      show("muted", this.view.muted.includes(this.view.school));
      byId("hand").setAttribute("aria-pressed", String(this.view.hand_ms !== null));
      byId("help").setAttribute("aria-pressed", String(this.view.help_ms !== null));
      this.showCaption(ms);
      this.showQuestion(ms);
    }

    showCaption(ms) {
      const now = Array.from(this.captions.values()).filter((line) => line.from_ms <= ms && ms < line.until_ms);
      const own = now.filter((line) => line.language.slice(0, 2) === this.language);
      const text = (own.length ? own : now).map((line) => line.text).join("\n");
      show("caption-switch", this.captions.size > 0);
      show("captions", this.captionsOn && text !== "" && byId("plan").hidden);
      write(byId("captions"), text);
    }

    switchCaptions() {
      this.captionsOn = !this.captionsOn;
      try { localStorage.setItem(CAPTIONS_KEY, this.captionsOn ? "on" : "off"); } catch (refused) { /* private mode */ }
      this.showSwitch();
    }

    showSwitch() { byId("caption-switch").setAttribute("aria-pressed", String(this.captionsOn)); }

    showQuestion(ms) {
      const question = this.view.question;
      const now = performance.now();
      if (question && question.counts && now - this.closedAt > RESULTS_MS) { this.opened = false; }
      const isAsked = Boolean(question) && question.asked_ms <= ms + 1000;
      byId("answer").disabled = !isAsked || Boolean(question.counts);
      show("question", isAsked && this.opened);
      show("refused", now - this.refusedAt < REFUSED_MS);
      if (!byId("refused").hidden) { show("question", true); }
      const drawn = isAsked ? JSON.stringify([question, this.view.choice, this.role]) : "";
      if (drawn === this.asked) { return; }
      this.asked = drawn;
      write(byId("question").querySelector("h2"), isAsked ? question.text : "");
      byId("choices").textContent = "";
      if (!isAsked) { return; }
      byId("choices").classList.toggle("short", question.choices.every((choice) => choice.length < SHORT));
      const most = question.counts ? Math.max(1, ...question.counts) : 1;
      question.choices.forEach((choice, place) => {
        byId("choices").append(question.counts ? this.bar(choice, question.counts[place], most) : this.choice(choice, place));
      });
    }

    choice(text, place) {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = text;
      button.disabled = this.role !== "receiver";
      button.setAttribute("aria-pressed", String(this.view.choice === place));
      button.onclick = () => {
        this.post("answer", { question: this.view.question.question, choice: place });
        this.opened = false;
      };
      return button;
    }

    bar(text, count, most) {
      const bar = document.createElement("div");
      bar.className = "bar-line";
      const label = document.createElement("span");
      label.textContent = text;
      const level = document.createElement("meter");
      level.max = most;
      level.value = count;
      const number = document.createElement("b");
      number.textContent = String(count);
      bar.append(label, level, number);
      return bar;
    }

    // What came of it is told by the next board message, not by the touch.
    post(what, fields) {
      post("/api/classroom/" + what, Object.assign({ room: this.room }, fields))
        .then((answer) => {
          if (answer.status === 409) { return answer.json().then((told) => this.refuse(409, told.error)); }
          if (!answer.ok) { this.refuse(answer.status); }
          return null;
        })
        .catch(() => this.refuse(0));
    }

    // Why the lesson did not take it comes in the reader's language.
    refuse(status, why) {
      this.refusedAt = performance.now();
      const refused = byId("refused");
      write(refused, why || refused.getAttribute("data-" + status) || refused.dataset.other);
    }
  }

  window.schoolnodeBoard = Board;
}());
