// Keeps a page fresh: the hub says that something changed, the page fetches itself and swaps what
// is live. Without this script every page still works by reloading it.
"use strict";

(function () {
  // A page that answers a form takes its own address again: there it is reloaded.
  const address = document.documentElement.dataset.address;
  if (address !== location.pathname + location.search) history.replaceState(null, "", address + location.hash);
  const live = document.getElementById("live");
  // Large pages say that they want to be fetched less often.
  const everyMs = live ? Number(live.dataset.live) * 1000 : 0;
  const fallbackMs = Math.max(10000, everyMs);
  let fetching = false;
  let last = 0;
  let waiting = null;

  function setLink(lost) {
    document.documentElement.dataset.link = lost ? "lost" : "live";
  }

  async function refresh() {
    if (fetching) return;
    fetching = true;
    last = Date.now();
    try {
      const stop = new AbortController();
      const timer = setTimeout(() => stop.abort(), 8000);
      const answer = await fetch(location.href, { signal: stop.signal, headers: { Accept: "text/html" } });
      const text = await answer.text();
      clearTimeout(timer);
      if (answer.redirected) {
        location.reload();
        return;
      }
      if (!answer.ok) throw new Error(String(answer.status));
      swap(new DOMParser().parseFromString(text, "text/html").getElementById("live"));
      setLink(false);
    } catch (error) {
      setLink(true);
    } finally {
      fetching = false;
    }
  }

  function swap(fresh) {
    const here = document.getElementById("live");
    if (!fresh || fresh.innerHTML === here.innerHTML) return;
    // What a person is writing stays; the page is true again once they are done.
    if (here.contains(document.activeElement) && document.activeElement.matches("input, select, textarea")) return;
    for (const open of here.querySelectorAll("details[open][id]")) {
      const twin = fresh.querySelector("#" + CSS.escape(open.id));
      if (twin) twin.open = true;
    }
    const focused = here.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    const scrolled = Array.from(here.querySelectorAll(".table-wrap"), (box) => box.scrollLeft);
    here.replaceChildren(...fresh.childNodes);
    here.querySelectorAll(".table-wrap").forEach((box, place) => {
      box.scrollLeft = scrolled[place] || 0;
    });
    if (focused) {
      const again = here.querySelector('a[href="' + CSS.escape(focused) + '"]');
      if (again) again.focus({ preventScroll: true });
    }
  }

  function soon() {
    if (waiting) return;
    const pause = Math.max(0, last + everyMs - Date.now());
    waiting = setTimeout(() => {
      waiting = null;
      refresh();
    }, pause);
  }

  // A page that came as the answer to a form is left as it is: fetching its address again would
  // take what it says away.
  if (live && !document.querySelector(".told")) {
    last = Date.now();
    const changes = new EventSource("/api/events");
    changes.addEventListener("changed", soon);
    changes.addEventListener("error", soon);
    setInterval(() => {
      if (!document.hidden && Date.now() - last >= fallbackMs) refresh();
    }, 1000);
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) soon();
    });
  }

  for (const form of document.querySelectorAll("form[data-confirm]")) {
    form.addEventListener("submit", (event) => {
      if (!confirm(form.dataset.confirm)) event.preventDefault();
    });
  }

  const more = document.querySelector("button[data-more]");
  if (more) {
    more.addEventListener("click", (event) => {
      event.preventDefault();
      const receivers = document.getElementById("receivers");
      const copy = receivers.lastElementChild.cloneNode(true);
      for (const input of copy.querySelectorAll("input")) input.value = "";
      receivers.append(copy);
      copy.querySelector("input").focus();
      more.hidden = receivers.children.length >= Number(more.dataset.more);
    });
  }
})();
