/**
 * Keeps the page for times without a connection: the page itself, and the files of its version. Answers of the API are
 * never kept, nor anything at other addresses of the site. It also opens the page when a notification is clicked.
 */

const worker = /** @type {any} */ (self); // the types of service workers do not go together with those of pages
const SCOPE = new URL(worker.registration.scope);
const CACHE = `chatkit ${SCOPE.pathname}`; // other chats of this origin have their own
const VERSIONED = /^static\/[0-9a-f]{16}\//;
const LINKS = /"(static\/[0-9a-f]{16}\/[^"]+)"/g;

worker.addEventListener("install", (/** @type {any} */ event) => {
  event.waitUntil(fetch(SCOPE).then(keepPage).then(() => worker.skipWaiting()));
});

worker.addEventListener("activate", (/** @type {any} */ event) => event.waitUntil(worker.clients.claim()));

worker.addEventListener("fetch", (/** @type {any} */ event) => {
  const url = new URL(event.request.url);
  if (event.request.method !== "GET" || url.origin !== SCOPE.origin) return;
  if (event.request.mode === "navigate" && url.pathname === SCOPE.pathname && !url.search) {
    event.respondWith(answerPage(event));
  } else if (VERSIONED.test(belowScope(url))) event.respondWith(answerFile(event.request));
});

worker.addEventListener("notificationclick", (/** @type {any} */ event) => {
  event.notification.close();
  event.waitUntil(openRoom(event.notification.data));
});

/**
 * The server's page or, without a connection, the page as it was last.
 * @param {any} event
 */
async function answerPage(event) {
  try {
    const answer = await fetch(event.request);
    if (answer.ok) event.waitUntil(keepPage(answer.clone()));
    return answer;
  } catch (error) {
    const kept = await caches.match(SCOPE, { cacheName: CACHE });
    if (kept) return kept;
    throw error;
  }
}

/**
 * A file of a version never changes.
 * @param {Request} request
 */
async function answerFile(request) {
  const kept = await caches.match(request, { cacheName: CACHE });
  if (kept) return kept;
  const answer = await fetch(request);
  const isShown = answer.ok && answer.headers.get("cache-control")?.includes("immutable");
  if (isShown) await (await caches.open(CACHE)).put(request, answer.clone());
  return answer;
}

/**
 * Keep the page with the files that it names, and remove those of other versions.
 * @param {Response} answer
 */
async function keepPage(answer) {
  if (!answer.ok) return;
  const copy = answer.clone();
  const paths = new Set(Array.from((await answer.text()).matchAll(LINKS), ([, path = ""]) => path));
  const links = [...paths].map((path) => new URL(path, SCOPE));
  const version = links[0] && belowScope(links[0]).split("/", 2).join("/");
  if (!version) return void worker.registration.unregister(); // the site has another page now
  const cache = await caches.open(CACHE);
  const kept = await cache.keys();
  const old = kept.filter(({ url }) => !belowScope(new URL(url)).startsWith(`${version}/`));
  const missing = links.filter(({ href }) => !kept.some(({ url }) => url === href));
  await cache.addAll(missing.map(({ href }) => href));
  await cache.put(SCOPE, copy);
  await Promise.all(old.filter(({ url }) => url !== SCOPE.href).map((request) => cache.delete(request)));
}

/** @param {URL} url */
function belowScope({ pathname }) {
  return pathname.startsWith(SCOPE.pathname) ? pathname.slice(SCOPE.pathname.length) : "";
}

/** @param {{room: string, seq: number}} place */
async function openRoom({ room, seq }) {
  const pages = await worker.clients.matchAll({ type: "window" });
  const page = pages.find((/** @type {any} */ each) => new URL(each.url).pathname === SCOPE.pathname);
  if (!page) return worker.clients.openWindow(`${SCOPE.href}#${encodeURIComponent(room)}/${seq}`);
  await page.focus();
  page.postMessage({ room, seq });
}
