// A recorded lesson: what happened in it leads to its place in the player.
(function () {
  "use strict";
  var video = document.getElementById("recording");

  function confirmFirst(event) {
    var question = event.target.getAttribute("data-confirm");
    if (question && !window.confirm(question)) { event.preventDefault(); }
  }

  // The file's clock pairs the time of capture with the file's, both in milliseconds.
  function placeOf(clock, atMs) {
    var found = 0;
    clock.forEach(function (pair) {
      if (pair[0] <= atMs) { found = pair[1] + atMs - pair[0]; }
    });
    return found / 1000;
  }

  function link(clock) {
    document.querySelectorAll("[data-at-ms]").forEach(function (button) {
      button.addEventListener("click", function () {
        video.currentTime = placeOf(clock, Number(button.getAttribute("data-at-ms")));
        video.play().catch(function () {});
      });
    });
  }

  document.querySelectorAll("form[data-confirm]").forEach(function (form) {
    form.addEventListener("submit", confirmFirst);
  });
  if (video) {
    fetch(video.getAttribute("data-clock"), { cache: "no-store" })
      .then(function (answer) { return answer.ok ? answer.json() : []; })
      .then(link, function () {});
  }
}());
