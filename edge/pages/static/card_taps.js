// Cards read at the screen itself: by a keyboard-wedge reader, or by the player's own bridge, which
// calls schoolnode.tap("6F007B3972"). Each is kept in the browser's database until the box has it.
(function () {
  "use strict";
  var AT_ONCE = 50;
  var KEPT_MAX = 5000;
  var RETRY_MS = 5000;
  var TYPED_MS = 100; // a reader types faster than this from sign to sign; nobody else does
  var CARD = /^[0-9A-Za-z][0-9A-Za-z ,:-]{3,31}$/; // what the digits mean, the box decides
  var waiting = document.getElementById("waiting");
  var opening = open();
  var sending = false;
  var timer = null;

  function open() {
    return new Promise(function (resolve, reject) {
      var request = indexedDB.open("schoolnode-taps", 1);
      request.onupgradeneeded = function () { request.result.createObjectStore("taps", { keyPath: "key" }); };
      request.onsuccess = function () { resolve(request.result); };
      request.onerror = function () { reject(request.error); };
    });
  }

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

  function tap(text) {
    var card = String(text).trim();
    if (!CARD.test(card)) { return false; }
    var kept = { key: newKey(), card: card, at_ms: Math.round(window.schoolnode.now()) };
    inStore("readwrite", function (store) {
      var counting = store.count();
      counting.onsuccess = function () { if (counting.result < KEPT_MAX) { store.put(kept); } };
      return counting;
    }).then(deliver, function () { send([kept]); }); // no database here: the box or nothing
    return true;
  }

  function send(taps) {
    return window.schoolnode.post("/class-card/tap", { taps: taps }).then(function (answer) { if (!answer.ok) { throw new Error(answer.status); } });
  }

  function deliver() {
    clearTimeout(timer);
    if (sending) { return; }
    sending = true;
    inStore("readonly", function (store) { return store.getAll(null, AT_ONCE); })
      .then(function (taps) {
        if (!taps.length) { return 0; }
        return send(taps)
          .then(function () {
            return inStore("readwrite", function (store) { taps.forEach(function (each) { store.delete(each.key); }); });
          })
          .then(function () { return taps.length; });
      })
      .then(function (sent) { again(sent === AT_ONCE ? 0 : null); }, function () { again(RETRY_MS); });
  }

  function again(afterMs) {
    sending = false;
    if (afterMs !== null) { timer = setTimeout(deliver, afterMs); }
    inStore("readonly", function (store) { return store.count(); }).then(function (count) {
      waiting.hidden = !count;
      waiting.textContent = count ? "· " + waiting.dataset.words.replace("{n}", count) : "";
      if (count && afterMs === null) { deliver(); } // one that came in the meantime
    });
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
  opening.then(deliver, function () { /* private mode: taps go straight to the box */ });
})();
