/** The page's address: its fragment names the open room. Also the address of the WebSocket. */

import { checkRoom } from "./validation.js";

/** Return the name of the room in the fragment, or null. */
export function roomInAddress() {
  try {
    return checkRoom(decodeURIComponent(window.location.hash));
  } catch {
    return null; // an invalid escape in the address
  }
}

/** Remove the token from the address, because the cookie is set now: it should not be in bookmarks or on screens. */
export function hideToken() {
  const url = new URL(window.location.href);
  if (!url.searchParams.has("token")) return;
  url.searchParams.delete("token");
  window.history.replaceState(null, "", url);
}

/**
 * Return the address of the WebSocket for a sender.
 * @param {string} name
 */
export function socketAddress(name) {
  const url = new URL("ws", document.baseURI); // relative, because the page may be below a prefix
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  url.search = `?name=${encodeURIComponent(name)}`;
  return url.href;
}
