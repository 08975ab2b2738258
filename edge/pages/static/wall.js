// The teacher's wall: what each class sends, who has a hand up, who is called on, and answers.
//
// The box tells that something changed, and the state is fetched anew; every button is one request.
// ES2019, nothing loaded from elsewhere.
(function () {
  "use strict";

  const PICTURES_MAX = 16; // more at once than a teacher's computer decodes without heating
  const ASK_MS = 5000;
  const { write, post } = window.schoolnode;
  const main = document.getElementById("main");
  const words = main.dataset;
  const tiles = new Map();
  let state = null;
  let asking = false;
  let again = false;

  function fill(pattern, places) {
    return pattern.replace(/\{(\w+)\}/g, (whole, name) => (name in places ? String(places[name]) : whole));
  }

  class Tile {
    constructor(element) {
      this.element = element;
      this.school = Number(element.dataset.school);
      this.name = element.dataset.name;
      this.picture = element.querySelector(".picture");
      this.light = element.querySelector("[data-light]");
      this.evidence = element.querySelector("[data-evidence]");
      this.hand = element.querySelector("[data-hand]");
      this.called = element.querySelector("[data-called]");
      this.answer = element.querySelector("[data-answer]");
      this.buttons = {};
      element.querySelectorAll("[data-do]").forEach((button) => {
        this.buttons[button.dataset.do] = button;
        button.addEventListener("click", () => this.press(button.dataset.do));
      });
      this.player = null;
      this.now = null;
    }

    watch(wanted) {
      if (wanted && !this.player) {
        this.player = window.schoolnodePlayer.open(this.picture, {
          url: this.element.dataset.stream,
          soundLabel: "",
        });
      } else if (!wanted && this.player) {
        this.player.stop();
        this.player = null;
      }
    }

    press(what) {
      const called = state !== null && state.called === this.school;
      if (what === "call") {
        send("call", { school: called ? 0 : this.school, stage: false });
      } else if (what === "stage") {
        send("call", { school: this.school, stage: !state.stage });
      } else {
        send("mute", { school: this.school, muted: !(this.now && this.now.muted) });
      }
    }

    show(now) {
      const called = state.called === now.school;
      this.now = now;
      this.element.classList.toggle("called", called);
      this.element.classList.toggle("wants-help", now.help_ms !== null);
      this.element.classList.toggle("without-picture", now.state !== "live");
      this.light.className = "light " + ({ live: "good", away: "warn" }[now.state] || "unknown");
      write(this.light, this.light.getAttribute("data-" + now.state) || "");
      this.evidence.hidden = now.state === "live" || now.evidence_ms === null;
      if (!this.evidence.hidden) { this.evidence.querySelector(".age").dataset.ageOf = now.evidence_ms; }
      this.hand.hidden = now.hand_ms === null;
      this.called.hidden = !called;
      const chosen = now.answer === null || state.question === null ? "" : state.question.choices[now.answer];
      this.answer.hidden = !chosen;
      write(this.answer, chosen || "");
      write(this.buttons.call, called ? words.wordRelease : words.wordCall);
      this.buttons.mute.hidden = !called;
      write(this.buttons.mute, now.muted ? words.wordUnmute : words.wordMute);
      this.buttons.stage.hidden = !called;
      write(this.buttons.stage, state.stage ? words.wordUnstage : words.wordStage);
    }
  }

  function apply(told) {
    if (told.classes.map((one) => one.school).join() !== Array.from(tiles.keys()).join()) {
      window.location.reload();
      return;
    }
    state = told;
    let watched = 0;
    told.classes.forEach((one) => {
      const tile = tiles.get(one.school);
      tile.show(one);
      const wanted = one.school === told.called || watched < PICTURES_MAX;
      if (wanted) { watched += 1; }
      tile.watch(wanted && !document.hidden);
    });
    showHands(told);
    showHelp(told);
    showQuestion(told.question, told.classes.length);
    const freed = tiles.get(told.freed);
    say(freed ? fill(words.wordFreed, { name: freed.name }) : "");
    window.schoolnode.countAges();
  }

  function showHands(told) {
    const up = told.classes.filter((one) => one.hand_ms !== null && one.school !== told.called)
      .sort((one, other) => one.hand_ms - other.hand_ms);
    const list = document.getElementById("hands");
    const shown = up.map((one) => one.school + "@" + one.hand_ms).join();
    document.getElementById("no-hands").hidden = up.length > 0;
    if (list.dataset.shown === shown) { return; }
    list.dataset.shown = shown;
    list.textContent = "";
    up.forEach((one) => {
      const line = document.createElement("li");
      const button = document.createElement("button");
      const age = document.createElement("time");
      button.type = "button";
      button.textContent = tiles.get(one.school).name;
      button.addEventListener("click", () => send("call", { school: one.school, stage: false }));
      age.className = "age";
      age.dataset.ageOf = one.hand_ms;
      line.append(button, " ", age);
      list.append(line);
    });
  }

  function showHelp(told) {
    const wanting = told.classes.filter((one) => one.help_ms !== null);
    const help = document.getElementById("help");
    help.hidden = wanting.length === 0;
    write(help.querySelector("b"), wanting.map((one) => tiles.get(one.school).name).join(words.wordJoiner));
  }

  function showQuestion(question, total) {
    document.getElementById("results").hidden = question === null;
    if (question === null) { return; }
    write(document.getElementById("question-shown"), question.text);
    const most = Math.max(1, ...question.counts);
    const bars = document.getElementById("bars");
    if (bars.dataset.question !== question.question) {
      bars.dataset.question = question.question;
      bars.textContent = "";
      question.choices.forEach((choice) => {
        const bar = document.createElement("li");
        const name = document.createElement("span");
        const track = document.createElement("meter");
        const count = document.createElement("b");
        name.textContent = choice;
        bar.append(name, track, count);
        bars.append(bar);
      });
    }
    question.choices.forEach((choice, at) => {
      const bar = bars.children[at];
      bar.querySelector("meter").max = most;
      bar.querySelector("meter").value = question.counts[at];
      write(bar.querySelector("b"), String(question.counts[at]));
    });
    document.getElementById("close").hidden = !question.open;
    write(document.getElementById("answered"), fill(words.wordAnswered, { n: question.answered, total: total }));
  }

  function say(text) {
    const said = document.getElementById("said");
    said.hidden = text === "";
    write(said, text);
  }

  function send(what, wish) {
    wish.room = words.room;
    post("/api/wall/" + what, wish)
      .then((answer) => answer.json().then((told) => ({ ok: answer.ok, told: told })))
      .catch(() => ({ ok: false, told: {} }))
      .then((answer) => {
        if (answer.ok) { apply(answer.told); } else { say(String(answer.told.error || words.wordFailed)); }
      });
  }

  // One request at a time; what changed meanwhile is asked for after it.
  function ask() {
    if (asking) { again = true; return; }
    asking = true;
    fetch("/api/wall?room=" + encodeURIComponent(words.room), { cache: "no-store" })
      .then((answer) => {
        if (answer.status === 403 || answer.status === 404) { window.location.reload(); }
        if (!answer.ok) { throw new Error(String(answer.status)); }
        return answer.json();
      })
      .catch(() => null) // the page's own sign says that the box is away
      .then((told) => {
        asking = false;
        if (told !== null) { apply(told); }
        if (again) { again = false; ask(); }
      });
  }

  document.querySelectorAll(".class-tile").forEach((element) => {
    const tile = new Tile(element);
    tiles.set(tile.school, tile);
  });
  document.querySelectorAll("[data-ask]").forEach((button) => {
    button.addEventListener("click", () => {
      const text = document.getElementById("question-text");
      send("ask", { text: text.value.trim(), choices: button.dataset.ask.split(" ") });
      text.value = "";
    });
  });
  document.getElementById("close").addEventListener("click", () => send("ask", { text: "", choices: [] }));
  document.addEventListener("visibilitychange", () => { if (state !== null) { apply(state); } });
  window.schoolnode.onchange((topic) => {
    if (topic === "lesson" || topic === "*") { ask(); }
  });
  ask();
  setInterval(ask, ASK_MS);
}());
