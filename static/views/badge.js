/** Shows what is unread outside of the page: in the title, on the icon of the tab, and on that of an installed page. */

import { find } from "../dom.js";

const SIZE = 64; // pixels of the icon's canvas: sharp on screens with two pixels a point
const COLOURS = { mentions: "#d92d20", unread: "#4656c9" };
const MAX_SHOWN = 9; // one digit is legible at 16 pixels

export class BadgeView {
  #link = find('link[rel="icon"]', HTMLLinkElement);
  #plain = this.#link.href;
  #shown = "";

  /** @param {{room: string | null, unread: number, mentions: number}} state */
  show({ room, unread, mentions }) {
    const title = `${unread ? `(${unread}) ` : ""}${room === null ? "" : `#${room} · `}chatkit`;
    if (document.title !== title) document.title = title;
    const shown = mentions ? `mentions ${Math.min(mentions, MAX_SHOWN + 1)}` : unread ? "unread" : "";
    if (shown === this.#shown) return;
    this.#shown = shown;
    void this.#drawIcon(mentions, unread);
    // Only an installed page has this; it rejects where badges are not allowed.
    if (unread) void navigator.setAppBadge?.(mentions || undefined).catch(() => undefined);
    else void navigator.clearAppBadge?.().catch(() => undefined);
  }

  /**
   * @param {number} mentions
   * @param {number} unread
   */
  async #drawIcon(mentions, unread) {
    const shown = this.#shown;
    const href = mentions || unread ? await this.#iconWith(mentions) : this.#plain;
    if (shown === this.#shown) this.#link.href = href;
  }

  /** @param {number} mentions */
  async #iconWith(mentions) {
    const image = new Image(SIZE, SIZE);
    image.src = this.#plain;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = SIZE;
    const context = canvas.getContext("2d");
    try {
      await image.decode();
    } catch {
      return this.#plain; // without a connection and without a copy
    }
    if (!context) return this.#plain;
    context.drawImage(image, 0, 0, SIZE, SIZE);
    const radius = mentions ? SIZE * 0.3 : SIZE * 0.2;
    context.fillStyle = mentions ? COLOURS.mentions : COLOURS.unread;
    context.strokeStyle = "#fff";
    context.lineWidth = 4;
    context.beginPath();
    context.arc(SIZE - radius - 2, radius + 2, radius, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
    if (mentions) drawCount(context, mentions, SIZE - radius - 2, radius + 2);
    return canvas.toDataURL();
  }
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {number} count
 * @param {number} x
 * @param {number} y
 */
function drawCount(context, count, x, y) {
  context.fillStyle = "#fff";
  context.font = `bold ${SIZE * 0.4}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.fillText(count > MAX_SHOWN ? "+" : String(count), x, y + 2);
}
