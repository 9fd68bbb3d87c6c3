/** Choosing an emoji: the six that this browser's user used most for reactions, or any one from the picker. */

import { moduleOf } from "./loading.js";
import { QUICK_REACTIONS } from "./message_actions.js";

const NAME = "reactions"; // in the browser's storage
const MAX_COUNTED = 50; // emoji, so that the stored counts stay small

/** @type {import("./views/picker.js").PickerView | null} loaded when it is opened first */
let picker = null;

/**
 * Return the emoji that were used most, the most used first, and usual ones in place of those that are missing.
 * @param {import("./storage.js").Store} store
 */
export function mostUsed(store) {
  const used = Object.entries(countsIn(store)).sort(([, a], [, b]) => b - a);
  return [...new Set([...used.map(([emoji]) => emoji), ...QUICK_REACTIONS])].slice(0, QUICK_REACTIONS.length);
}

/**
 * Count a reaction.
 * @param {import("./storage.js").Store} store
 * @param {string} emoji
 */
export function countUse(store, emoji) {
  const counts = countsIn(store);
  const kept = Object.entries({ ...counts, [emoji]: (counts[emoji] ?? 0) + 1 }).sort(([, a], [, b]) => b - a);
  store.set(NAME, JSON.stringify(Object.fromEntries(kept.slice(0, MAX_COUNTED))));
}

/**
 * Let the user choose an emoji.
 * @param {(emoji: string) => void} onChoose
 * @param {(sentence: string) => void} onProblem
 */
export async function pickEmoji(onChoose, onProblem) {
  const module = await moduleOf(import("./views/picker.js"), onProblem);
  if (!module) return;
  picker ??= new module.PickerView();
  picker.open(onChoose);
}

/**
 * @param {import("./storage.js").Store} store
 * @returns {Record<string, number>}
 */
function countsIn(store) {
  try {
    const value = JSON.parse(store.get(NAME) ?? "{}");
    return Object.fromEntries(Object.entries(value).filter(([, count]) => typeof count === "number"));
  } catch {
    return {}; // written by something else
  }
}
