// The classroom's states: count down, join by itself, play, say how it goes, catch up, end. No touch
// needed.
(function () {
  "use strict";

  const ASK_MS = 5000;
  const STEP_MS = 250;
  const FRESH_MS = 5000;
  const TELL_MS = 10000;
  const PROBE_MS = 2000;
  const PLAN_AFTER_MS = 10000; // a cut shorter than this is not worth a page of text
  const NOTHING = { state: "waiting", cause: "", behindS: 0, waits: false, paused: false };
  const { write, post } = window.schoolnode;
  const root = document.documentElement;
  const main = document.getElementById("main");
  const room = document.body.dataset.room;
  const board = new window.schoolnodeBoard(room);
  let lesson = null; // as the box tells of this room
  let starts = ""; // its hour
  let shown = null; // the lesson that is played, until the class has all of it
  let player = null;
  let listener = null; // at the flagship: hears the board, plays nothing
  let told = NOTHING;
  let cutSince = null;
  let mayGiveSound = null; // whether this browser lets a page be heard that nobody touched; null: not asked

  const isOver = (one, nowMs) => one.state === "done" || one.state === "archived" || nowMs >= one.ends_ms;

  function hasBegun(one, nowMs) {
    return nowMs >= one.starts_ms || (one.state !== "scheduled" && one.state !== "preparing");
  }

  // A class that is behind has its lesson to the end, unless the next one is due.
  function isNextDue(nowMs) {
    return Boolean(shown && lesson) && lesson.lesson !== shown.lesson && hasBegun(lesson, nowMs) && !isOver(lesson, nowMs);
  }

  function phase(nowMs) {
    if (shown && !isOver(shown, nowMs)) { player.goOn(); }
    if (shown && told.state !== "done" && (!isOver(shown, nowMs) || player.finish())) { return "playing"; }
    if (!lesson) { return "none"; }
    if (isOver(lesson, nowMs)) { return "done"; }
    if (!hasBegun(lesson, nowMs)) { return "waiting"; }
    return lesson.role === "flagship" ? "teaching" : "playing";
  }

  function step() {
    const nowMs = window.schoolnode.now();
    if (isNextDue(nowMs)) { stop(); }
    const current = phase(nowMs);
    main.dataset.phase = current;
    if (current === "playing") { play(); } else if (player) { stop(); }
    listen(current === "teaching");
    const joining = current === "playing" && told.state === "waiting";
    document.querySelectorAll(".screen").forEach((screen) => {
      screen.hidden = screen.dataset.phase !== (joining ? "joining" : current);
    });
    document.getElementById("stage").hidden = current !== "playing";
    document.getElementById("strip").hidden = joining;
    if (current === "waiting") { countDown(lesson.starts_ms - nowMs); }
    if (current === "teaching") { showAir(nowMs); }
    if (shown || lesson) { showLesson(shown || lesson); }
    window.schoolnode.countAges();
    if (current === "playing") { showState(joining); }
    showPlan((joining && told.cause !== "") || current === "done");
    board.step(player, nowMs);
    if (current !== "playing" && current !== "teaching") { document.getElementById("question").hidden = true; }
  }

  function countDown(leftMs) {
    const seconds = Math.max(0, Math.ceil(leftMs / 1000));
    const hours = Math.floor(seconds / 3600);
    const minutes = hours ? hours + ":" + two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60);
    write(document.getElementById("countdown"), seconds === 0 ? main.dataset.wordSoon : minutes + ":" + two(seconds % 60));
    document.getElementById("countdown").classList.toggle("words", seconds === 0);
  }

  function two(number) { return (number < 10 ? "0" : "") + number; }

  function age(seconds) {
    return seconds < 60 ? root.getAttribute("data-age-s").replace("{n}", seconds) : Math.floor(seconds / 60) + ":" + two(seconds % 60);
  }

  function fill(name, text) {
    document.querySelectorAll('[data-fill="' + name + '"]').forEach((element) => { write(element, text); });
  }

  function list(element, sentences) {
    const text = JSON.stringify(sentences);
    if (element.dataset.drawn === text) { return; }
    element.dataset.drawn = text;
    element.textContent = "";
    sentences.forEach((sentence) => {
      const line = document.createElement("li");
      line.textContent = sentence;
      element.append(line);
    });
  }

  function showLesson(one) {
    const chinese = root.lang.indexOf("zh") === 0;
    fill("title", (chinese ? one.title_zh : one.title_en) || one.title_zh || one.title_en);
    fill("flagship", one.flagship);
    fill("teacher", one.teacher);
    fill("receivers", one.receivers.join(chinese ? "、" : ", "));
    fill("starts", starts);
    fill("substitute", one.substitute);
    fill("code", one.teacher_code);
    document.getElementById("substitute").hidden = !one.substitute;
    document.querySelectorAll("[data-rehearsal]").forEach((element) => { element.hidden = !one.rehearsal; });
    document.querySelectorAll("[data-staff]").forEach((element) => { showStaff(element, one); });
    const evidenceMs = player && player.evidenceMs !== null ? player.evidenceMs : one.evidence_ms;
    document.querySelectorAll("[data-evidence]").forEach((element) => {
      element.hidden = evidenceMs === null;
      if (!element.hidden) { element.querySelector(".age").dataset.ageOf = evidenceMs; }
    });
  }

  // What the school's staff do before the bell; a receiving class sees none of it.
  function showStaff(element, one) {
    const failing = one.preflight.filter((check) => check.state === "bad" || check.state === "warn");
    element.hidden = one.role !== "flagship" || !(one.teacher_code || failing.length);
    element.querySelector("[data-code]").hidden = !one.teacher_code;
    element.parentElement.classList.toggle("crowded", !element.hidden);
    const checks = element.querySelector("[data-checks]");
    const colon = root.lang.indexOf("zh") === 0 ? "：" : ": ";
    if (checks) { list(checks, failing.map((check) => [check.item + colon + check.fact, check.remedy, check.who && "(" + check.who + ")"].join(" "))); }
  }

  // A light is lit by evidence: at the flagship by media that passed in the last seconds.
  function showAir(nowMs) {
    const fresh = lesson.evidence_ms !== null && nowMs - lesson.evidence_ms < FRESH_MS;
    const state = lesson.state === "preparing" ? "preparing" : fresh ? "live" : "waiting";
    light(document.getElementById("air-light"), state, { live: "good", preparing: "unknown", waiting: "warn" });
  }

  function showState(joining) {
    const safe = ["", "no_picture", "picture_reduced"].includes(told.cause);
    const state = told.cause === "substitute" ? "substitute" : told.waits ? "waiting" : told.state === "degraded" && !safe ? "interrupted" : told.state;
    // What ails the newest of the lesson is not what a class sees that is behind.
    const isHeld = told.state === "catching_up" && !told.waits && told.cause !== "box_unreachable";
    const cause = (told.cause && !isHeld && main.getAttribute("data-cause-" + told.cause)) || "";
    document.querySelectorAll("[data-lights]").forEach((element) => {
      light(element, state, { waiting: "unknown", substitute: "warn", interrupted: "warn", live: "good", degraded: "warn", catching_up: "warn" });
    });
    fill("cause", cause);
    fill("behind", told.behindS ? main.dataset.wordBehind.replace("{age}", age(told.behindS)) : "");
    document.getElementById("paused").hidden = joining || !told.paused || state === "interrupted" || told.state === "catching_up";
    document.getElementById("to-live").hidden = told.state !== "catching_up" || isOver(shown, window.schoolnode.now());
    document.getElementById("strip").classList.toggle("quiet", told.state === "live");
    cutSince = state === "interrupted" || told.waits ? cutSince || performance.now() : null;
  }

  // Without its lesson a class is told what it has, what it will get, and when.
  function showPlan(onScreen) {
    const one = shown || lesson;
    const plan = one && one.plan;
    const cut = cutSince !== null && performance.now() - cutSince > PLAN_AFTER_MS;
    document.querySelectorAll("[data-plan]").forEach((element) => {
      element.hidden = !plan || !(plan.has.length || plan.gets.length) || !(onScreen || cut);
      if (element.hidden) { return; }
      list(element.querySelector("[data-plan-has]"), plan.has);
      list(element.querySelector("[data-plan-gets]"), plan.gets);
    });
    document.getElementById("plan").hidden = !plan || !cut;
    document.getElementById("view").classList.toggle("has-plan", Boolean(plan) && cut);
  }

  function light(element, state, colours) {
    element.className = "light " + (colours[state] || "unknown");
    write(element, element.getAttribute("data-" + state) || "");
  }

  function inRoom(path) { return path + "?room=" + encodeURIComponent(room); }

  function play() {
    if (player) { return; }
    shown = lesson;
    board.reset(lesson.lesson);
    player = window.schoolnodePlayer.start(document.getElementById("player"), {
      url: inRoom("/classroom/stream"),
      replay: inRoom("/classroom/replay") + "&lesson=" + encodeURIComponent(lesson.lesson),
      hls: "/classroom/hls/" + encodeURIComponent(room) + "/main.m3u8",
      soundLabel: main.dataset.wordSound,
      onstate(state) { told = state; if (player) { step(); } },
      onboard(view) { if (!isOver(shown, window.schoolnode.now())) { board.hear(view, "receiver"); } },
      onfigures: tellFigures,
    });
  }

  function stop() {
    window.schoolnodePlayer.stop();
    player = shown = cutSince = null;
    told = NOTHING;
    board.reset("");
  }

  // The class that teaches sees the question and its answers too.
  function listen(wanted) {
    if (wanted && !listener) {
      board.reset(lesson.lesson);
      listener = window.schoolnodePlayer.open(document.createElement("div"), {
        url: inRoom("/classroom/stream"),
        media: false,
        onboard(view) { board.hear(view, "flagship"); },
      });
    } else if (!wanted && listener) {
      listener.stop();
      listener = null;
      board.reset("");
    }
  }

  function tellFigures(seen) {
    const whole = (number) => (number === null ? null : Math.round(number));
    post("/api/classroom/quality", {
      room, frames: seen.frames, dropped: seen.dropped, stalls: seen.stalls,
      latency_ms: whole(seen.latencyMs), behind_ms: seen.behindS * 1000, sound: seen.sound,
    }).catch(() => { /* told again in ten seconds */ });
  }

  // Before the bell too somebody can still do what a closed or silent page needs.
  function tellOpen() {
    if (!lesson || lesson.role === "flagship" || lesson.state !== "preparing" || main.dataset.phase !== "waiting") { return; }
    if (mayGiveSound === null) { probeSound(); return; }
    const isTouched = Boolean(navigator.userActivation && navigator.userActivation.hasBeenActive);
    post("/api/classroom/quality", { room, sound: isTouched || mayGiveSound }).catch(() => { /* told again in ten seconds */ });
  }

  // Browsers tell of their rule by what they let begin: a context runs, or stays suspended.
  function probeSound() {
    const context = new AudioContext();
    setTimeout(() => {
      mayGiveSound = context.state === "running";
      context.close();
      tellOpen();
    }, PROBE_MS);
  }

  function ask() {
    fetch(inRoom("/api/lesson"), { cache: "no-store" })
      .then((answer) => { if (!answer.ok) { throw new Error(String(answer.status)); } return answer.json(); })
      .then((body) => {
        lesson = body.lesson;
        if (shown && lesson && lesson.lesson === shown.lesson) { shown = lesson; }
        starts = body.starts || "";
        step();
      })
      .catch(() => { step(); });
  }

  document.getElementById("to-live").onclick = () => { if (player) { player.jumpToLive(); } };
  window.schoolnode.onchange((topic) => {
    if (topic === "lesson" || topic === "schedule" || topic === "*") { ask(); }
  });
  ask();
  setInterval(ask, ASK_MS);
  setInterval(tellOpen, TELL_MS);
  setInterval(step, STEP_MS);
}());
