// The class card's service worker (VERSION stands above): the newest page from the box, and the
// last one kept when the box does not answer.
const CACHE = "class-card-" + VERSION;
const ANSWER_MS = 4000;

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => {
  event.waitUntil(
    caches.keys()
      .then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))))
      .then(() => self.clients.claim())
  );
});

// A page that was there before its worker names what has to be kept.
self.addEventListener("message", (event) => {
  const urls = (event.data && event.data.keep) || [];
  event.waitUntil(Promise.all(urls.filter(kept).map((url) => fromBox(new Request(url)).catch(() => undefined))));
});

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !kept(event.request.url)) { return; }
  const path = new URL(event.request.url).pathname;
  event.respondWith(path.startsWith("/static/") ? keptFirst(event.request) : boxFirst(event.request));
});

function kept(address) {
  const url = new URL(address, self.location.href);
  return url.origin === self.location.origin &&
    (url.pathname === "/class-card" || url.pathname.startsWith("/class-card/") || url.pathname.startsWith("/static/"));
}

async function keptFirst(request) {
  const cache = await caches.open(CACHE);
  return (await cache.match(request, { ignoreVary: true })) || fromBox(request);
}

async function boxFirst(request) {
  const cache = await caches.open(CACHE);
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, ANSWER_MS); });
  const answer = fromBox(request);
  const first = await Promise.race([answer.catch(() => undefined), late]);
  clearTimeout(timer);
  return first || (await cache.match(request, { ignoreVary: true })) || answer;
}

async function fromBox(request) {
  const answer = await fetch(request);
  if (answer.ok) {
    const cache = await caches.open(CACHE);
    await cache.put(request, answer.clone());
  }
  return answer;
}
