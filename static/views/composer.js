/** The box for writing a message, and the bar about what is answered or edited. Knows no socket and no room. */

import { find, setText } from "../dom.js";
import { CompletionView } from "./completion.js";

const ENCODER = new TextEncoder();
const COUNT_FROM = 0.8; // from this share of the limit on, the size is shown

export class ComposerView {
  #form = find("#composer", HTMLFormElement);
  #box = find("#message-box", HTMLTextAreaElement);
  #send = find("#send", HTMLButtonElement);
  #count = find("#composer-count", HTMLElement);
  #context = find("#context", HTMLElement);
  maxBytes = 65_536;

  /**
   * @param {object} on
   * @param {(text: string) => void} on.onSend the owner empties the box when the text is on its way
   * @param {(text: string) => void} on.onDraft
   * @param {() => boolean} on.onEditLast edit the user's last message; false if the user has not written one
   * @param {() => boolean} on.onDrop end the answer or the edit; false without one
   * @param {() => void} on.onEmoji choose an emoji
   * @param {() => void} on.onFiles files were pasted or dropped
   * @param {import("./completion.js").Find} on.find
   */
  constructor(on) {
    this.on = on;
    this.completion = new CompletionView(this.#box, { find: on.find, onInsert: () => this.#onInput() });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#box.addEventListener("input", () => this.#onInput());
    // Its height depends on the width, and it has none while the composer is hidden.
    new ResizeObserver(() => this.#fit()).observe(this.#form);
    this.#box.addEventListener("keydown", (event) => this.#onKey(event));
    find("#context-close", HTMLButtonElement).onclick = () => {
      on.onDrop();
      this.focus();
    };
    find("#emoji-open", HTMLButtonElement).onclick = on.onEmoji;
    this.#refuseFiles();
  }

  get text() {
    return this.#box.value;
  }

  /**
   * @param {string} room
   * @param {string} draft
   */
  open(room, draft) {
    this.setRoom(room);
    this.setText(draft);
  }

  /** @param {string} room */
  setRoom(room) {
    this.#box.placeholder = `Message #${room}`;
  }

  /** @param {string} text */
  setText(text) {
    this.#box.value = text;
    this.#box.setSelectionRange(text.length, text.length);
    this.completion.close();
    this.#fit();
  }

  /**
   * Insert text at the caret, separated from the word before it.
   * @param {string} text
   */
  insert(text) {
    const { selectionStart: at, value } = this.#box;
    const space = at > 0 && !/\s$/.test(value.slice(0, at)) ? " " : "";
    this.#box.setRangeText(space + text, at, this.#box.selectionEnd, "end");
    this.#onInput();
    this.focus();
  }

  /**
   * Show what is answered or edited; an empty title shows nothing.
   * @param {string} title
   * @param {string} text
   */
  showContext(title, text) {
    this.#context.hidden = !title;
    setText(find(".title", HTMLElement, this.#context), title);
    setText(find(".excerpt", HTMLElement, this.#context), text);
  }

  focus() {
    this.#box.focus();
  }

  #onInput() {
    this.on.onDraft(this.#box.value);
    this.#fit();
    void this.completion.update();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    // A key that belongs to the composition of an input method has no other effect.
    if (event.isComposing || event.keyCode === 229 || this.completion.onKey(event)) return;
    const isPlain = !event.shiftKey && !event.altKey && !event.ctrlKey && !event.metaKey;
    if (event.key === "Enter" && !event.shiftKey) this.#submit();
    else if (event.key === "ArrowUp" && isPlain && !this.#box.value && this.on.onEditLast()) event.stopPropagation();
    else if (event.key === "Escape" && this.on.onDrop()) event.stopPropagation(); // it would jump to the newest message
    else return;
    event.preventDefault();
  }

  #submit() {
    const text = this.#box.value;
    if (!text.trim() || ENCODER.encode(text).length > this.maxBytes) return this.#fit();
    this.completion.close();
    this.on.onSend(text);
  }

  /** A dropped file would otherwise replace the page. */
  #refuseFiles() {
    document.addEventListener("dragover", (event) => {
      if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
    });
    document.addEventListener("drop", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.on.onFiles();
    });
    this.#box.addEventListener("paste", (event) => {
      const { clipboardData } = event;
      if (!clipboardData?.files.length || clipboardData.types.includes("text/plain")) return;
      event.preventDefault();
      this.on.onFiles();
    });
  }

  #fit() {
    const { value } = this.#box;
    // A UTF-16 unit has at most three bytes, so short texts need not be encoded to be measured.
    const bytes = value.length * 3 < this.maxBytes * COUNT_FROM ? 0 : ENCODER.encode(value).length;
    const isTooLong = bytes > this.maxBytes;
    const isLong = bytes > this.maxBytes * COUNT_FROM;
    const figures = () => `${bytes.toLocaleString()} of ${this.maxBytes.toLocaleString()} bytes`;
    setText(this.#count, isLong ? figures() + (isTooLong ? ": too long to send" : "") : "");
    this.#count.classList.toggle("over", isTooLong);
    this.#send.disabled = !value.trim() || isTooLong;
    this.#fitHeight(value === "");
  }

  /** @param {boolean} isEmpty */
  #fitHeight(isEmpty) {
    const [form, box] = [this.#form, this.#box];
    // An empty box has the height of a row; to measure it would lay out the page before it has its messages.
    if (isEmpty) return void (box.style.height = "auto");
    // A lower form would let the log grow, and so leave its end.
    form.style.minHeight = `${form.offsetHeight}px`;
    box.style.height = "auto";
    box.style.height = `${box.scrollHeight}px`;
    form.style.minHeight = "";
  }
}
