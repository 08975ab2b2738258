// A touch on the class card answers the question of the class's lesson. What came of it is told by
// the box, which marks the choice on every screen of the class; here is only said what did not arrive.
(function () {
  "use strict";
  var TOLD_MS = 8000;
  var section = document.getElementById("question");
  var trouble = document.getElementById("question-trouble");
  var timer = null;

  function tell(status, why) {
    trouble.textContent = why || trouble.getAttribute("data-" + status) || trouble.getAttribute("data-other");
    trouble.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(function () { trouble.hidden = true; }, TOLD_MS);
  }

  // Why the lesson did not take it, in the reader's language.
  function ask(answer) {
    if (answer.status !== 409) { tell(answer.status); return; }
    answer.json().then(function (told) { tell(409, told.error); }, function () { tell(0); });
  }

  section.addEventListener("click", function (event) {
    var choice = event.target.getAttribute("data-choice");
    if (choice === null) { return; }
    var wish = {
      room: section.dataset.room,
      question: section.querySelector(".question").dataset.question,
      choice: Number(choice),
    };
    window.schoolnode.post("/api/classroom/answer", wish)
      .then(function (answer) { if (answer.ok) { trouble.hidden = true; } else { ask(answer); } })
      .catch(function () { tell(0); });
  });
})();
