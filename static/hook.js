/**
 * What the data of a webhook's message holds: the name that its sender gave, and cards. The data may be anything, so
 * every value is checked. A pure function.
 *
 * @typedef {{name: string, value: string, short: boolean}} Field
 * @typedef {{title: string, url: string, color: string, author: string, text: string, fields: Field[],
 *   footer: string}} Card `url` and `color` are empty if they are not valid
 * @typedef {{username: string, icon: string, text: string, cards: Card[]}} Hook `icon` is the name of an emoji
 *   between colons, or empty; `text` is the part of the body that is no card
 * @typedef {{body: string, bot?: boolean, redacted?: boolean, data?: unknown, edited?: object}} Message
 */

const MAX_CARDS = 20;
const MAX_FIELDS = 25;
const MAX_NAME_CHARS = 80;
const MAX_CHARS = 8_000; // of a text in a card

/** @type {WeakMap<Message, Hook | null>} a message that changes is another object */
const cache = new WeakMap();

/**
 * Return the content of a webhook's message, or null for any other message.
 * @param {Message} message
 */
export function hookOf(message) {
  const known = cache.get(message);
  if (known !== undefined) return known;
  const hook = readHook(message);
  cache.set(message, hook);
  return hook;
}

/**
 * Return the text of a message, without that of its cards.
 * @param {Message} message
 */
export function shownText(message) {
  return hookOf(message)?.text ?? message.body;
}

/**
 * @param {Message} message
 * @returns {Hook | null}
 */
function readHook({ bot, redacted, data, body, edited }) {
  if (!bot || redacted || !isRecord(data) || typeof data.hook !== "string") return null;
  const cards = edited ? [] : list(data.cards).slice(0, MAX_CARDS).map(readCard); // an edit replaces the whole body
  const lines = typeof data.lines === "number" ? Math.max(0, data.lines) : 0;
  const text = cards.length ? body.split("\n").slice(0, lines).join("\n") : body;
  const icon = /^:[\w+-]{1,40}:$/.test(string(data.icon)) ? string(data.icon) : "";
  return { username: shortName(data.username), icon, text, cards };
}

/**
 * @param {unknown} value
 * @returns {Card}
 */
function readCard(value) {
  const card = isRecord(value) ? value : {};
  return {
    title: string(card.title),
    url: webAddress(card.url),
    color: /^#[0-9a-f]{6}$/.test(string(card.color)) ? string(card.color) : "",
    author: string(card.author),
    text: string(card.text),
    fields: list(card.fields).slice(0, MAX_FIELDS).map(readField),
    footer: string(card.footer),
  };
}

/**
 * @param {unknown} value
 * @returns {Field}
 */
function readField(value) {
  const field = isRecord(value) ? value : {};
  return { name: string(field.name), value: string(field.value), short: field.short === true };
}

/** @param {unknown} value */
function webAddress(value) {
  const text = string(value);
  return /^https?:\/\//i.test(text) && URL.canParse(text) ? text : "";
}

/** @param {unknown} value */
function shortName(value) {
  return string(value).slice(0, MAX_NAME_CHARS);
}

/** @param {unknown} value */
function string(value) {
  return typeof value === "string" ? value.slice(0, MAX_CHARS) : "";
}

/**
 * @param {unknown} value
 * @returns {unknown[]}
 */
function list(value) {
  return Array.isArray(value) ? value : [];
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
function isRecord(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
