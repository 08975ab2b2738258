// The class card's own clock: it shows the right day, lesson and notices for thirty days, also
// when the box does not answer.
(function () {
  "use strict";
  var DAY_MS = 86400000;
  var RETRY_MS = 2000;

  function two(number) { return (number < 10 ? "0" : "") + number; }

  function showDay(nowMs) {
    var today = null;
    document.querySelectorAll("#timetable > section").forEach(function (day) {
      var shown = Number(day.dataset.fromMs) <= nowMs && nowMs < Number(day.dataset.untilMs);
      day.hidden = !shown;
      if (shown) { today = day; }
    });
    return today;
  }

  function showLesson(today, nowMs) {
    var current = null;
    var next = null;
    today.querySelectorAll(".slot").forEach(function (slot) {
      var starts = Number(slot.dataset.startsMs);
      var ends = Number(slot.dataset.endsMs);
      var dropped = slot.classList.contains("cancelled");
      slot.classList.toggle("past", ends <= nowMs);
      slot.classList.toggle("current", !dropped && starts <= nowMs && nowMs < ends);
      if (dropped || ends <= nowMs) { return; }
      if (starts <= nowMs) { current = slot; } else if (!next) { next = slot; }
    });
    var block = document.getElementById("now");
    var shown = current || next;
    fill(block, ".label", current ? block.dataset.nowWords : next ? block.dataset.nextWords : "");
    fill(block, ".what", shown ? shown.querySelector(".what").textContent : block.dataset.freeWords);
    var who = shown ? shown.querySelector(".who").textContent : "";
    fill(block, ".when", shown ? shown.querySelector("time").textContent + (who ? " · " + who : "") : "");
  }

  function fill(block, selector, text) {
    var element = block.querySelector(selector);
    if (element.textContent !== text) { element.textContent = text; }
  }

  // Show what stands at this moment, and say whether anything does.
  function showSpans(selector, nowMs) {
    var some = false;
    document.querySelectorAll(selector).forEach(function (element) {
      var stands = Number(element.dataset.fromMs) <= nowMs && nowMs < Number(element.dataset.untilMs);
      element.hidden = !stands;
      some = some || stands;
    });
    return some;
  }

  // The second frame after a change is drawn once the first one is on the screen.
  var confirmed = {}; // messages this screen has confirmed, or is confirming
  function confirmPainted() {
    document.querySelectorAll("#emergency .emergency:not([hidden])").forEach(function (element) {
      var message = element.dataset.message;
      if (confirmed[message]) { return; }
      confirmed[message] = true;
      requestAnimationFrame(function () {
        requestAnimationFrame(function () {
          window.schoolnode.post("/class-card/painted", { message: message })
            .then(function (answer) { if (answer.status >= 500) { throw new Error(answer.status); } })
            .catch(function () { setTimeout(function () { delete confirmed[message]; }, RETRY_MS); });
        });
      });
    });
  }

  function show() {
    var nowMs = window.schoolnode.now();
    var today = showDay(nowMs);
    showSpans("#notices .notice", nowMs);
    document.getElementById("main").classList.toggle("in-exam", showSpans("#exam .exam", nowMs));
    showSpans("#emergency .emergency", nowMs);
    document.getElementById("main").classList.toggle("is-asked", showSpans("#question .question", nowMs));
    confirmPainted();
    if (!today) { return; } // older than thirty days: nothing here is true any more
    var minutes = Math.floor(((nowMs - Number(today.dataset.fromMs)) % DAY_MS) / 60000);
    fill(document, "#clock", two(Math.floor(minutes / 60)) + ":" + two(minutes % 60));
    fill(document, "#date", today.dataset.title);
    showLesson(today, nowMs);
  }

  document.addEventListener("schoolnode:swap", show);
  show();
  setInterval(show, 1000);

  // Service workers exist only where the device trusts the box; /trust says how that comes about.
  if ("serviceWorker" in navigator) {
    navigator.serviceWorker.register("/class-card/worker.js", { scope: "/class-card" })
      .then(function () { return navigator.serviceWorker.ready; })
      .then(function (registration) {
        var urls = [location.href, document.getElementById("taps").dataset.src];
        document.querySelectorAll("link[href], script[src]").forEach(function (element) {
          urls.push(element.href || element.src);
        });
        registration.active.postMessage({ keep: urls });
      })
      .catch(function () { /* an untrusted box: the card works online */ });
  }
})();
