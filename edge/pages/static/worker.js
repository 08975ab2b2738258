// The class card's service worker (VERSION stands above): the newest page from the box, and the
// last one kept when the box does not answer.
const CACHE = "class-card-" + VERSION;
const ANSWER_MS = 4000;

self.addEventListener("install", () => self.skipWaiting());

self.addEventListener("activate", (event) => event.waitUntil(self.clients.claim()));

// A page that was there before its worker names what has to be kept. What an older worker kept goes
// only then: until the new one has everything, the old one is all there is without the box.
self.addEventListener("message", (event) => {
  const urls = ((event.data && event.data.keep) || []).filter(kept);
  event.waitUntil(Promise.all(urls.map((url) => fromBox(new Request(url)))).then(dropOlder, () => undefined));
});

async function dropOlder() {
  const names = await caches.keys();
  await Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
}

self.addEventListener("fetch", (event) => {
  if (event.request.method !== "GET" || !kept(event.request.url)) { return; }
  const path = new URL(event.request.url).pathname;
  event.respondWith(path.startsWith("/static/") ? keptFirst(event.request) : boxFirst(event.request));
});

function kept(address) {
  const url = new URL(address, self.location.href);
  return url.origin === self.location.origin &&
    url.pathname !== "/class-card/stream" && url.pathname !== "/class-card/pair" &&
    (url.pathname === "/class-card" || url.pathname.startsWith("/class-card/") || url.pathname.startsWith("/static/"));
}

async function keptFirst(request) {
  return (await fromCache(request)) || fromBox(request);
}

async function boxFirst(request) {
  let timer;
  const late = new Promise((resolve) => { timer = setTimeout(resolve, ANSWER_MS); });
  const answer = fromBox(request);
  const first = await Promise.race([answer.catch(() => undefined), late]);
  clearTimeout(timer);
  return first || (await fromCache(request)) || answer;
}

async function fromCache(request) {
  const cache = await caches.open(CACHE);
  const options = { ignoreVary: true };
  return (await cache.match(request, options)) || caches.match(request, options);
}

async function fromBox(request) {
  const answer = await fetch(request);
  if (answer.ok) {
    const cache = await caches.open(CACHE);
    await cache.put(request, answer.clone());
  }
  return answer;
}
