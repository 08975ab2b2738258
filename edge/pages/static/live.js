// Keeps a page true while it is open: ages count on, changed sections are fetched again, forms
// answer in place. Without it the page works by reloading.
(function () {
  "use strict";
  var root = document.documentElement;
  var REFETCH_MS = 1500; // at most one refetch of a section in this time
  var LOST_MS = 5000; // a shorter silence is a reconnect, not a loss
  var RELOAD_MS = 60000; // a page that was told to reload again does so after this time
  var WHOLE_MS = 300000; // everything is fetched again this often, whatever was told
  var listeners = [];
  var busy = {}; // forms on their way, by their key
  var asOfMs = Number(root.dataset.nowMs); // when the box made what is shown

  // The box's clock. What was learnt last stays when the page is opened offline.
  var offsetMs = Number(root.dataset.nowMs) - Date.now();
  fetch("/api/now", { cache: "no-store" })
    .then(function (answer) { return answer.json(); })
    .then(function (body) { learnClock(body.now_ms); })
    .catch(function () {
      var kept = Number(read("schoolnode-clock"));
      offsetMs = kept || 0;
    });

  function learnClock(nowMs) {
    offsetMs = nowMs - Date.now();
    try { localStorage.setItem("schoolnode-clock", String(offsetMs)); } catch (refused) { /* private mode */ }
  }

  function read(key) {
    try { return localStorage.getItem(key); } catch (refused) { return null; }
  }

  function now() { return Date.now() + offsetMs; }

  function writeAge(ageMs) {
    var seconds = Math.max(0, Math.floor(ageMs / 1000));
    var step = seconds < 60 ? ["s", 1] : seconds < 3600 ? ["min", 60] : seconds < 172800 ? ["h", 3600] : ["d", 86400];
    return root.getAttribute("data-age-" + step[0]).replace("{n}", Math.floor(seconds / step[1]).toLocaleString(root.lang));
  }

  function write(element, text) {
    if (element.textContent !== text) { element.textContent = text; }
  }

  function countAges() {
    document.querySelectorAll("[data-age-of]").forEach(function (element) {
      write(element, writeAge(now() - Number(element.dataset.ageOf)));
    });
  }

  function post(path, wish) {
    return fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      credentials: "same-origin",
      body: JSON.stringify(wish),
    });
  }

  function formKey(form) {
    var parts = [form.getAttribute("action")];
    form.querySelectorAll("input[type=hidden]").forEach(function (input) { parts.push(input.value); });
    return parts.join("|");
  }

  // Put a freshly rendered section in an old one's place, keeping focus and pictures that did not
  // change. A section a person is filling in is left alone unless their own form brought it.
  function swap(fresh, forced) {
    var old = document.getElementById(fresh.id);
    if (!old || !old.dataset.topics) { return; }
    var active = document.activeElement;
    var typing = active && old.contains(active) && /^(INPUT|SELECT|TEXTAREA)$/.test(active.tagName);
    if (!forced && (typing || old.querySelector("details[open]"))) { return; }
    var focus = null;
    if (active && old.contains(active) && active.form) {
      focus = [formKey(active.form), active.name, active.value];
    }
    var log = old.querySelector("[data-follow]");
    var follow = !log || log.scrollTop + log.clientHeight > log.scrollHeight - 24;
    fresh.querySelectorAll("img[src]").forEach(function (picture) {
      var same = old.querySelector('img[src="' + picture.getAttribute("src") + '"]');
      if (same) { picture.parentNode.replaceChild(same, picture); }
    });
    old.innerHTML = "";
    while (fresh.firstChild) { old.appendChild(fresh.firstChild); }
    old.querySelectorAll("form").forEach(function (form) {
      var key = formKey(form);
      if (busy[key]) { markBusy(form, true); }
      if (focus && key === focus[0]) {
        form.querySelectorAll("button").forEach(function (button) {
          if (button.name === focus[1] && button.value === focus[2]) { button.focus(); }
        });
      }
    });
    if (follow) { followLogs(); }
    document.dispatchEvent(new CustomEvent("schoolnode:swap"));
  }

  function followLogs() {
    document.querySelectorAll("[data-follow]").forEach(function (log) { log.scrollTop = log.scrollHeight; });
  }

  function swapPage(text, forced, ids) {
    var page = new DOMParser().parseFromString(text, "text/html");
    page.querySelectorAll("[data-topics][id]").forEach(function (fresh) {
      if (!ids || ids.indexOf(fresh.id) >= 0) { swap(document.importNode(fresh, true), forced); }
    });
    var told = Number(page.documentElement.dataset.nowMs);
    if (told) { asOfMs = told; }
    if (forced && told) { learnClock(told); }
  }

  function refetch(ids) {
    var sections = ids.map(function (id) { return document.getElementById(id); }).filter(Boolean);
    var whole = [];
    sections.forEach(function (section) {
      if (!section.dataset.src) { whole.push(section.id); return; }
      fetch(section.dataset.src, { cache: "no-store" })
        .then(function (answer) { if (!answer.ok) { throw new Error(answer.status); } return answer.text(); })
        .then(function (text) {
          var fresh = document.createElement("section");
          fresh.id = section.id;
          fresh.innerHTML = new DOMParser().parseFromString(text, "text/html").body.innerHTML;
          swap(fresh, false);
        })
        .catch(function () { /* the link's own sign says so */ });
    });
    if (!whole.length) { return Promise.resolve(); }
    return fetch(location.pathname + location.search.replace(/[?&]said=[a-z]*/, ""), { cache: "no-store" })
      .then(function (answer) { if (!answer.ok) { throw new Error(answer.status); } return answer.text(); })
      .then(function (text) { swapPage(text, false, whole); })
      .catch(function () { /* the link's own sign says so */ });
  }

  var due = {};
  var timer = null;
  function mark(id) {
    due[id] = true;
    if (timer === null) {
      timer = setTimeout(function () {
        var ids = Object.keys(due);
        due = {};
        refetch(ids).then(function () { timer = null; if (Object.keys(due).length) { mark(Object.keys(due)[0]); } });
      }, REFETCH_MS);
    }
  }

  function markAbout(topic) {
    document.querySelectorAll("[data-topics]").forEach(function (section) {
      if (topic === "*" || section.dataset.topics.split(" ").indexOf(topic) >= 0) { mark(section.id); }
    });
  }

  function tell(topic) {
    markAbout(topic);
    listeners.forEach(function (listener) { listener(topic); });
  }

  // A page that is asked to reload again and again would show nothing in between.
  function reload() {
    var last = 0;
    try {
      last = Number(sessionStorage.getItem("schoolnode-reload"));
      sessionStorage.setItem("schoolnode-reload", String(Date.now()));
    } catch (refused) { /* private mode */ }
    setTimeout(function () { location.reload(); }, Math.max(0, last + RELOAD_MS - Date.now()));
  }

  var lostTimer = null;
  function linkUp() {
    clearTimeout(lostTimer);
    lostTimer = null;
    root.removeAttribute("data-link");
  }
  function linkDown() {
    if (lostTimer === null) {
      lostTimer = setTimeout(function () { root.setAttribute("data-link", "lost"); }, LOST_MS);
    }
  }

  function listen() {
    // What changed between the page and its stream is told first.
    var source = new EventSource(root.dataset.events || "/api/events?since=" + root.dataset.changes);
    var opened = false;
    source.onopen = function () {
      linkUp();
      if (opened) { tell("*"); } // what changed during a cut was told to nobody
      opened = true;
    };
    source.onmessage = function (event) { tell(event.data); };
    source.addEventListener("part", function (event) {
      var part = JSON.parse(event.data);
      var fresh = document.createElement("section");
      fresh.id = part.id;
      fresh.innerHTML = part.html;
      swap(fresh, false);
    });
    source.addEventListener("reload", reload);
    source.onerror = function () {
      linkDown();
      if (source.readyState === EventSource.CLOSED) {
        setTimeout(function () { listen(); tell("*"); }, 5000 + Math.random() * 5000);
      }
    };
  }

  function markBusy(form, state) {
    if (state) { form.setAttribute("aria-busy", "true"); } else { form.removeAttribute("aria-busy"); }
    form.querySelectorAll("button").forEach(function (button) { button.disabled = state; });
  }

  var pressed = null;
  document.addEventListener("click", function (event) {
    pressed = event.target.closest ? event.target.closest("button") : null;
  }, true);
  document.addEventListener("submit", function (event) {
    var form = event.target;
    if (form.hasAttribute("data-plain")) { return; }
    event.preventDefault();
    var fields = new URLSearchParams(new FormData(form));
    var submitter = event.submitter || (pressed && pressed.form === form ? pressed : null);
    if (submitter && submitter.name) { fields.append(submitter.name, submitter.value); }
    var key = formKey(form);
    busy[key] = true;
    markBusy(form, true);
    fetch(form.getAttribute("action"), { method: "POST", body: fields, credentials: "same-origin" })
      .then(function (answer) {
        return answer.text().then(function (text) { return [text, answer.ok]; });
      })
      .then(function (told) {
        delete busy[key];
        swapPage(told[0], true);
        if (!told[1]) { document.dispatchEvent(new CustomEvent("schoolnode:refused")); }
        var said = document.querySelector("#tasks .message");
        if (said) { said.scrollIntoView({ block: "center" }); }
      })
      .catch(function () { delete busy[key]; linkDown(); })
      .then(function () { if (document.contains(form)) { markBusy(form, false); } });
  });

  window.schoolnode = {
    now: now,
    asOf: function () { return asOfMs; },
    countAges: countAges,
    write: write,
    post: post, // a wish as JSON; returns fetch's promise
    onchange: function (listener) { listeners.push(listener); },
  };
  followLogs();
  countAges();
  setInterval(countAges, 1000);
  setInterval(function () { tell("*"); }, WHOLE_MS);
  listen();
})();
