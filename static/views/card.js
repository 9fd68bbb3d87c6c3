/** Builds the elements of a webhook's cards. Inserts text as text and never parses markup. */

import { parseBody } from "../body.js";
import { make } from "../dom.js";
import { bodyNodes, linkNode, plainNodes } from "./body.js";

/**
 * @typedef {import("../hook.js").Card} Card
 * @typedef {import("../hook.js").Field} Field
 * @typedef {import("./body.js").Known} Known
 */

/**
 * @param {readonly Card[]} cards
 * @param {Known} known
 */
export function cardsElement(cards, known) {
  return make("div", "cards", ...cards.map((card) => cardElement(card, known)));
}

/**
 * @param {Card} card
 * @param {Known} known
 */
function cardElement({ title, url, color, author, text, fields, footer }, known) {
  const element = make("div", "card");
  element.dir = "auto";
  if (color) element.style.borderInlineStartColor = color;
  if (author) element.append(make("p", "author", ...plainNodes(author)));
  if (title) element.append(make("p", "title", ...(url ? [linkNode(url, ...plainNodes(title))] : plainNodes(title))));
  if (text) element.append(make("div", "text", ...bodyNodes(parseBody(text), known)));
  if (fields.length) element.append(make("dl", "fields", ...fields.map((field) => fieldElement(field, known))));
  if (footer) element.append(make("p", "footer", ...plainNodes(footer)));
  return element;
}

/**
 * @param {Field} field
 * @param {Known} known
 */
function fieldElement({ name, value, short }, known) {
  const parts = [make("dt", "", ...plainNodes(name)), make("dd", "text", ...bodyNodes(parseBody(value), known))];
  return make("div", short ? "field short" : "field", ...parts);
}
