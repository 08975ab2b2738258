// A touch on the class card answers the question of the class's lesson. What came of it is told by
// the box, which marks the choice on every screen of the class; here is only said what did not arrive.
(function () {
  "use strict";
  var TOLD_MS = 8000;
  var section = document.getElementById("question");
  var trouble = document.getElementById("question-trouble");
  var timer = null;

  function tell(status) {
    trouble.textContent = trouble.getAttribute("data-" + status) || trouble.getAttribute("data-other");
    trouble.hidden = false;
    clearTimeout(timer);
    timer = setTimeout(function () { trouble.hidden = true; }, TOLD_MS);
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
      .then(function (answer) { if (answer.ok) { trouble.hidden = true; } else { tell(answer.status); } })
      .catch(function () { tell(0); });
  });
})();
