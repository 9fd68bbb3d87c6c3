/**
 * Chooses the lines of the log that are drawn. Lines that arrive together, such as a page of history, are drawn in steps,
 * one a frame, because the layout of a hundred messages takes longer than a frame. Pure; knows no DOM.
 *
 * @typedef {{from: number, to: number}} Part a range of the lines
 */

export const STEP = 10; // with their layout, these take about half of a frame
export const FIRST = 30; // these fill a window, so that a room does not appear line by line

/**
 * Return the lines to draw next: those that are drawn and the next ones beside them.
 * @param {readonly {id: string, kind: string}[]} lines
 * @param {(id: string) => boolean} isDrawn
 * @param {{follows: boolean, reveal: string | null}} view whether the end is in view, and a line that has to be drawn
 * @returns {Part}
 */
export function partToDraw(lines, isDrawn, { follows, reveal }) {
  const part = grownPart(lines, isDrawn, follows);
  const at = reveal === null ? -1 : lines.findIndex(({ id }) => id === reveal);
  if (at < 0 || (part.from <= at && at < part.to)) return part;
  return { from: Math.max(0, at - FIRST / 2), to: Math.min(lines.length, at + FIRST / 2) };
}

/**
 * @param {readonly {id: string, kind: string}[]} lines
 * @param {(id: string) => boolean} isDrawn
 * @param {boolean} follows
 * @returns {Part}
 */
function grownPart(lines, isDrawn, follows) {
  // Only messages keep their places among the others: the line of a day moves up when older messages are added.
  const isKept = (/** @type {{id: string, kind: string}} */ { id, kind }) => kind === "message" && isDrawn(id);
  const count = lines.length;
  const first = lines.findIndex(isKept);
  const below = count - 1 - lines.findLastIndex(isKept);
  if (first < 0 || (follows && below > FIRST)) return { from: Math.max(0, count - FIRST), to: count };
  const added = follows ? below : Math.min(below, Math.max(STEP / 2, STEP - first));
  return { from: Math.max(0, first - Math.max(0, STEP - added)), to: count - below + added };
}
