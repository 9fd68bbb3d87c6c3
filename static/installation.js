/** Installs the service worker, which opens the page without a connection and shows notifications. */

/** Do nothing where the browser has no service workers: without https, and in private windows of some. */
export async function installWorker() {
  try {
    await navigator.serviceWorker?.register("static/service_worker.js", { scope: "./" });
  } catch {
    // The page works without it. A proxy or a setting of the browser may forbid it.
  }
}
