// The classroom's states: count down, join by itself, play, say how it goes, end. No touch needed.
(function () {
  "use strict";
  var ASK_MS = 5000;
  var room = document.body.dataset.room;
  var main = document.getElementById("main");
  var lesson = null;
  var told = { state: "waiting", cause: "" };
  var started = false;

  function phase(nowMs) {
    if (!lesson) { return "none"; }
    if (lesson.state === "done" || lesson.state === "archived") { return "done"; }
    var begun = nowMs >= lesson.starts_ms || (lesson.state !== "scheduled" && lesson.state !== "preparing");
    if (!begun) { return "waiting"; }
    return lesson.role === "flagship" ? "teaching" : "playing";
  }

  function show() {
    var nowMs = window.schoolnode.now();
    var current = phase(nowMs);
    main.dataset.phase = current;
    var joining = current === "playing" && told.state === "waiting";
    document.querySelectorAll(".screen").forEach(function (screen) {
      screen.hidden = screen.dataset.phase !== (joining ? "joining" : current);
    });
    document.getElementById("stage").hidden = current !== "playing";
    document.getElementById("strip").hidden = joining;
    if (current === "waiting") { countDown(lesson.starts_ms - nowMs); }
    if (current === "teaching") { showAir(nowMs); }
    document.querySelectorAll("[data-evidence]").forEach(function (element) {
      element.hidden = !lesson || lesson.evidence_ms === null;
      if (!element.hidden) { element.querySelector(".age").dataset.ageOf = lesson.evidence_ms; }
    });
    window.schoolnode.countAges();
    if (current === "playing") {
      play();
      showState();
    } else if (started) {
      stop();
    }
  }

  function countDown(leftMs) {
    var seconds = Math.max(0, Math.ceil(leftMs / 1000));
    var hours = Math.floor(seconds / 3600);
    var text = seconds === 0 ? main.dataset.wordSoon
      : (hours ? hours + ":" + two(Math.floor(seconds / 60) % 60) : Math.floor(seconds / 60)) + ":" + two(seconds % 60);
    write(document.getElementById("countdown"), text);
    document.getElementById("countdown").classList.toggle("words", seconds === 0);
  }

  function two(number) { return (number < 10 ? "0" : "") + number; }

  function write(element, text) {
    if (element.textContent !== text) { element.textContent = text; }
  }

  function fill(name, text) {
    document.querySelectorAll('[data-fill="' + name + '"]').forEach(function (element) { write(element, text); });
  }

  function showLesson(starts) {
    if (!lesson) { return; }
    var chinese = document.documentElement.lang.indexOf("zh") === 0;
    fill("title", (chinese ? lesson.title_zh : lesson.title_en) || lesson.title_zh || lesson.title_en);
    fill("flagship", lesson.flagship);
    fill("teacher", lesson.teacher);
    fill("receivers", lesson.receivers.join(chinese ? "、" : ", "));
    fill("starts", starts);
  }

  // A light is lit by evidence: at the flagship by media that passed in the last seconds.
  function showAir(nowMs) {
    var fresh = lesson.evidence_ms !== null && nowMs - lesson.evidence_ms < 5000;
    var state = lesson.state === "preparing" ? "preparing" : fresh ? "live" : "waiting";
    light(document.getElementById("air-light"), state, { live: "good", preparing: "unknown", waiting: "warn" });
  }

  function showState() {
    var partly = told.state === "degraded" && told.cause && told.cause !== "no_picture";
    document.querySelectorAll("[data-lights]").forEach(function (element) {
      light(element, partly ? "interrupted" : told.state, { interrupted: "warn", live: "good", degraded: "warn", catching_up: "warn" });
    });
    fill("cause", told.cause ? main.getAttribute("data-cause-" + told.cause) || "" : "");
    document.getElementById("strip").classList.toggle("quiet", told.state === "live");
  }

  function light(element, state, colours) {
    element.className = "light " + (colours[state] || "unknown");
    write(element, element.getAttribute("data-" + state) || "");
  }

  function play() {
    if (started) { return; }
    started = true;
    window.schoolnodePlayer.start(document.getElementById("player"), {
      url: "/classroom/stream?room=" + encodeURIComponent(room),
      soundLabel: main.dataset.wordSound,
      onstate: function (state) { told = state; show(); },
    });
  }

  function stop() {
    started = false;
    told = { state: "waiting", cause: "" };
    window.schoolnodePlayer.stop();
  }

  function ask() {
    fetch("/api/lesson?room=" + encodeURIComponent(room), { cache: "no-store" })
      .then(function (answer) { if (!answer.ok) { throw new Error(String(answer.status)); } return answer.json(); })
      .then(function (body) { lesson = body.lesson; showLesson(body.starts); show(); })
      .catch(function () { show(); });
  }

  window.schoolnode.onchange(function (topic) {
    if (topic === "lesson" || topic === "schedule" || topic === "*") { ask(); }
  });
  ask();
  setInterval(ask, ASK_MS);
  setInterval(show, 500);
})();
