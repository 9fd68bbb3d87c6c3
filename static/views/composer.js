/** The box for writing a message. Knows no socket and no room; passes text to its owner. */

import { find, setText } from "../dom.js";

const ENCODER = new TextEncoder();
const COUNT_FROM = 0.8; // from this share of the limit on, the size is shown

export class ComposerView {
  #form = find("#composer", HTMLFormElement);
  #box = find("#message-box", HTMLTextAreaElement);
  #send = find("#send", HTMLButtonElement);
  #count = find("#composer-count", HTMLElement);
  maxBytes = 65_536;

  /** @param {{onSend: (text: string) => void, onDraft: (text: string) => void}} on */
  constructor(on) {
    this.on = on;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("input", () => {
      on.onDraft(this.#box.value);
      this.#fit();
    });
    // Its height depends on the width, and it has none while the composer is hidden.
    new ResizeObserver(() => this.#fit()).observe(this.#form);
    this.#box.addEventListener("keydown", (event) => {
      // An Enter that confirms a composition of an input method does not send.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
  }

  /**
   * @param {string} room
   * @param {string} draft
   */
  open(room, draft) {
    this.#box.placeholder = `Message #${room}`;
    this.#box.value = draft;
    this.#fit();
  }

  focus() {
    this.#box.focus();
  }

  #submit() {
    const text = this.#box.value;
    if (!text.trim() || ENCODER.encode(text).length > this.maxBytes) return this.#fit();
    this.#box.value = "";
    this.on.onDraft("");
    this.#fit();
    this.on.onSend(text);
  }

  #fit() {
    const { value } = this.#box;
    // A UTF-16 unit has at most three bytes, so short texts need not be encoded to be measured.
    const bytes = value.length * 3 < this.maxBytes * COUNT_FROM ? 0 : ENCODER.encode(value).length;
    const isTooLong = bytes > this.maxBytes;
    const figures = `${bytes.toLocaleString()} of ${this.maxBytes.toLocaleString()} bytes`;
    setText(this.#count, bytes > this.maxBytes * COUNT_FROM ? figures + (isTooLong ? ": too long to send" : "") : "");
    this.#count.classList.toggle("over", isTooLong);
    this.#send.disabled = !value.trim() || isTooLong;
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}
