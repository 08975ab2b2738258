// Says each minute how this card is: that it paints, how old what it shows is, its clock, what its
// browser lacks, and where a script failed. Old syntax and no fetch: a browser that can run nothing
// else of the page shall still say so.
(function () {
  "use strict";
  var FIRST_MS = 4000;
  var EVERY_MS = 60000;
  var FRAME_MS = 2000; // a screen that draws has drawn by then
  var version = document.currentScript.dataset.version;
  var error = null; // the last one that the box does not know yet

  function lacks() {
    var css = window.CSS && window.CSS.supports ? function (name, value) { return window.CSS.supports(name, value); } : null;
    var needed = {
      "fetch": window.fetch,
      "EventSource": window.EventSource,
      "Promise": window.Promise,
      "DOMParser": window.DOMParser,
      "CustomEvent": typeof window.CustomEvent === "function",
      "IDBFactory": window.IDBFactory,
      "serviceWorker": navigator.serviceWorker,
      "CacheStorage": window.CacheStorage,
      "grid": css && css("display", "grid"),
      "custom-properties": css && css("--known", "0"),
    };
    return Object.keys(needed).filter(function (name) { return !needed[name]; });
  }

  // An error's text may quote what the page shows, a pupil's name among it: its kind and place do.
  function note(kind, where, line) {
    var place = /([a-z_]{1,40}\.(?:js|css))/.exec(where || "");
    error = String(kind || "Error").replace(/[^A-Za-z]/g, "").slice(0, 40) || "Error";
    if (place) { error += " " + place[1] + (line > 0 && line < 1000000 ? ":" + line : ""); }
  }

  window.addEventListener("error", function (event) {
    if (event.target && event.target !== window) {
      if (/^(SCRIPT|LINK)$/.test(event.target.tagName)) { note("LoadError", event.target.src || event.target.href); }
      return;
    }
    note(event.error && event.error.name, event.filename, event.lineno);
  }, true); // resources that cannot be loaded are told of on their way down only
  window.addEventListener("unhandledrejection", function (event) {
    var reason = event.reason || {};
    var place = /([a-z_]+\.js)[^:]*:(\d+)/.exec(reason.stack || "");
    note(reason.name, place && place[1], place && Number(place[2]));
  });

  function say(isPainting) {
    var wish = {
      version: version,
      clock_ms: Date.now(),
      data_ms: window.schoolnode ? window.schoolnode.asOf() : Number(document.documentElement.dataset.nowMs),
      is_painting: isPainting,
      lacks: lacks(),
    };
    var telling = error;
    if (telling) { wish.error = telling; }
    var request = new XMLHttpRequest();
    request.open("POST", "/class-card/health");
    request.setRequestHeader("Content-Type", "application/json");
    request.onload = function () { if (request.status === 204 && error === telling) { error = null; } };
    request.send(JSON.stringify(wish));
  }

  // As with emergencies: the second frame is drawn once the first one is on the screen.
  function look() {
    var drawn = false;
    requestAnimationFrame(function () { requestAnimationFrame(function () { drawn = true; }); });
    setTimeout(function () { say(drawn); }, FRAME_MS);
  }

  setTimeout(look, FIRST_MS);
  setInterval(look, EVERY_MS);
})();
