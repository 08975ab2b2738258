// Cards read at the screen itself: by a keyboard-wedge reader, or by the player's own bridge, which
// calls schoolnode.tap("6F007B3972"). Each is kept in the browser's database until the box has it;
// what cannot be kept, and what the box refuses as too old, is said on the card and told to the box.
(function () {
  "use strict";
  var AT_ONCE = 100; // as many as the box takes in one call
  // A school's one gate: 2,000 pupils who tap 4 times on each of 30 days. Chromium needs
  // 180 bytes for each, 43 MB in all, and delivers the last as fast as the first.
  var KEPT_MAX = 240000;
  var LOST_SHOWN_MS = 86400000; // longer, the box's page "Office" says it
  var RETRY_MS = 5000;
  var TYPED_MS = 100; // a reader types faster than this from sign to sign; nobody else does
  var CARD = /^[0-9A-Za-z][0-9A-Za-z ,:-]{3,31}$/; // what the digits mean, the box decides
  var waiting = document.getElementById("waiting");
  var trouble = document.getElementById("tap-trouble");
  var stored = 0; // taps in the database
  var writing = 0; // and on their way into it
  var lost = readLost();
  var told = ""; // what the box knows of it
  var opening = open();
  var sending = false;
  var timer = null;

  function open() {
    return new Promise(function (resolve, reject) {
      var request = indexedDB.open("schoolnode-taps", 1);
      request.onupgradeneeded = function () { request.result.createObjectStore("taps", { keyPath: "key" }); };
      request.onerror = function () { reject(request.error); };
      request.onsuccess = function () {
        // Counting all of them takes as long as there are many, so it is done once.
        var counting = request.result.transaction("taps").objectStore("taps").count();
        counting.onerror = function () { reject(counting.error); };
        counting.onsuccess = function () { stored = counting.result; resolve(request.result); };
      };
    });
  }

  // Totals of this browser, never lowered, so that telling them twice counts nothing twice.
  function readLost() {
    try {
      return JSON.parse(localStorage.getItem("schoolnode-lost-taps")) || { full: 0, too_old: 0, at_ms: 0 };
    } catch (refused) { return { full: 0, too_old: 0, at_ms: 0 }; } // private mode
  }

  function lose(why, count) {
    lost[why] += count;
    lost.at_ms = window.schoolnode.now();
    try { localStorage.setItem("schoolnode-lost-taps", JSON.stringify(lost)); } catch (refused) { /* private mode */ }
    show();
  }

  function totals() { return { full: lost.full, too_old: lost.too_old }; }

  function isUntold() { return lost.full + lost.too_old > 0 && told !== JSON.stringify(totals()); }

  // Run work on the store and resolve with its request's result once all of it is on the disk.
  function inStore(mode, work) {
    return opening.then(function (database) {
      return new Promise(function (resolve, reject) {
        var transaction = database.transaction("taps", mode);
        var request = work(transaction.objectStore("taps"));
        transaction.oncomplete = function () { resolve(request && request.result); };
        transaction.onabort = transaction.onerror = function () { reject(transaction.error); };
      });
    });
  }

  function newKey() {
    var bytes = crypto.getRandomValues(new Uint8Array(16));
    return Array.prototype.map.call(bytes, function (byte) { return (256 + byte).toString(16).slice(1); }).join("");
  }

  // Return true for a tap that is being kept, false for what is no card or finds no room.
  function tap(text) {
    var card = String(text).trim();
    if (!CARD.test(card)) { return false; }
    if (stored + writing >= KEPT_MAX) { lose("full", 1); return false; }
    var kept = { key: newKey(), card: card, at_ms: Math.round(window.schoolnode.now()) };
    writing += 1;
    keep(kept).then(
      function () { writing -= 1; stored += 1; deliver(); },
      function () { writing -= 1; sendNow(kept); }
    );
    return true;
  }

  function keep(kept) {
    return opening.then(function () {
      if (stored >= KEPT_MAX) { throw new Error("full"); } // tapped before they were counted
      return inStore("readwrite", function (store) { return store.put(kept); });
    });
  }

  // No database here, or no room on the disk: the box or nothing.
  function sendNow(kept) {
    send([kept]).then(noteTooOld, function () { lose("full", 1); });
  }

  // Resolve with how many of them the box refused as too old; it will never take those.
  function send(taps) {
    var wish = { taps: taps };
    var telling = totals();
    if (telling.full + telling.too_old) { wish.lost = telling; }
    return window.schoolnode.post("/class-card/tap", wish)
      .then(function (answer) { if (!answer.ok) { throw new Error(answer.status); } return answer.json(); })
      .then(function (answer) {
        told = JSON.stringify(telling);
        return answer.too_old.length;
      });
  }

  function noteTooOld(count) {
    if (count) { lose("too_old", count); }
  }

  function deliver() {
    clearTimeout(timer);
    if (sending) { return; }
    sending = true;
    inStore("readonly", function (store) { return store.getAll(null, AT_ONCE); })
      .then(function (taps) {
        if (taps.length < AT_ONCE) { stored = taps.length; } // that is all of them
        if (!taps.length && !isUntold()) { return 0; }
        return send(taps).then(function (tooOld) {
          return inStore("readwrite", function (store) { taps.forEach(function (each) { store.delete(each.key); }); })
            .then(function () {
              stored -= taps.length;
              noteTooOld(tooOld);
              return taps.length;
            });
        });
      })
      .then(function (sent) { again(sent === AT_ONCE ? 0 : null); }, function () { again(RETRY_MS); });
  }

  function again(afterMs) {
    sending = false;
    if (afterMs !== null) { timer = setTimeout(deliver, afterMs); }
    show();
    if (afterMs === null && (stored > 0 || isUntold())) { deliver(); } // one that came in the meantime
  }

  function show() {
    var words = trouble.dataset;
    var isRecent = window.schoolnode.now() - lost.at_ms < LOST_SHOWN_MS;
    var said = [];
    if (stored + writing >= KEPT_MAX) { said.push(words.full); }
    if (isRecent && lost.full) { said.push(words.lost.replace("{n}", lost.full)); }
    if (isRecent && lost.too_old) { said.push(words.tooOld.replace("{n}", lost.too_old)); }
    trouble.hidden = !said.length;
    window.schoolnode.write(trouble, said.join(" · "));
    waiting.hidden = stored <= 0;
    window.schoolnode.write(waiting, stored > 0 ? "· " + waiting.dataset.words.replace("{n}", stored) : "");
  }

  var typed = "";
  var typedMs = 0;
  document.addEventListener("keydown", function (event) {
    var nowMs = event.timeStamp;
    if (nowMs - typedMs > TYPED_MS) { typed = ""; }
    typedMs = nowMs;
    if (event.key === "Enter") {
      if (tap(typed)) { event.preventDefault(); }
      typed = "";
    } else if (event.key.length === 1) {
      typed = (typed + event.key).slice(-64);
    }
  });

  window.schoolnode.tap = tap;
  window.addEventListener("online", deliver);
  opening.then(deliver, show); // without a database, as in private mode, taps go straight to the box
})();
