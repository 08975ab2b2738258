// A refused form keeps what was typed: remembered when it is sent, put back where the answer is a
// refusal, with the field at fault marked. Passwords and files are never remembered. A page that
// answers a form takes its own address again: there it is fetched anew, and reloaded.
(function () {
  "use strict";
  var KEY = "schoolnode-typed";
  var typed = null;

  function take() {
    try {
      var kept = JSON.parse(sessionStorage.getItem(KEY));
      sessionStorage.removeItem(KEY);
      return kept;
    } catch (refused) { return null; } // private mode
  }

  function values(name) {
    return typed.fields.filter(function (field) { return field[0] === name; })
      .map(function (field) { return field[1]; });
  }

  function isIt(form) {
    if (form.getAttribute("action") !== typed.action) { return false; }
    return Array.prototype.every.call(form.querySelectorAll("input[type=hidden]"), function (input) {
      return values(input.name).indexOf(input.value) >= 0;
    });
  }

  function refill() {
    var refusal = document.querySelector('main .message.bad');
    var forms = document.querySelectorAll("main form");
    var form = typed && refusal && Array.prototype.filter.call(forms, isIt)[0];
    if (!form) { return; }
    Array.prototype.forEach.call(form.elements, function (field) {
      if (!field.name || /^(hidden|password|file|submit)$/.test(field.type)) { return; }
      var told = values(field.name);
      if (/^(checkbox|radio)$/.test(field.type)) {
        field.checked = told.indexOf(field.value) >= 0;
      } else if (field.type === "select-multiple") {
        Array.prototype.forEach.call(field.options, function (option) {
          option.selected = told.indexOf(option.value) >= 0;
        });
      } else if (told.length) {
        field.value = told[0];
      }
    });
    for (var around = form.parentElement; around; around = around.parentElement) {
      if (around.tagName === "DETAILS") { around.open = true; }
    }
    point(form, refusal);
  }

  // The box names a field as its form does; a person knows it by its label.
  function point(form, refusal) {
    var named = /`(?:\$\.)?(\w+)`(?!.*`)/.exec(refusal.textContent);
    var field = named && form.elements.namedItem(named[1]);
    if (!field || !field.labels || !field.labels.length) { return; }
    var label = field.labels[0].querySelector("span") || field.labels[0];
    var quoted = "“" + label.textContent.trim() + "”";
    var walk = document.createTreeWalker(refusal, NodeFilter.SHOW_TEXT);
    while (walk.nextNode()) {
      walk.currentNode.data = walk.currentNode.data.replace(named[0], quoted);
    }
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }

  document.addEventListener("submit", function (event) {
    var form = event.target;
    typed = { action: form.getAttribute("action"), fields: [] };
    new FormData(form).forEach(function (value, name) {
      var field = form.elements.namedItem(name);
      if (typeof value === "string" && !(field && field.type === "password")) {
        typed.fields.push([name, value]);
      }
    });
    if (window.schoolnode && !form.hasAttribute("data-plain")) { return; } // answered in place
    try { sessionStorage.setItem(KEY, JSON.stringify(typed)); } catch (refused) { /* private mode */ }
  });
  document.addEventListener("schoolnode:refused", refill);
  var address = document.documentElement.dataset.address;
  if (address && address !== location.pathname + location.search) {
    history.replaceState(null, "", address + location.hash);
  }
  typed = take();
  refill();
})();
