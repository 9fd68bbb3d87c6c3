/**
 * Chooses the lines of the log that are drawn. Lines that arrive together, such as a page of history, are drawn in steps,
 * one a frame, because the layout of a hundred messages takes longer than a frame. So are lines that leave the window or
 * change together. Pure; knows no DOM.
 *
 * @typedef {{from: number, to: number}} Part a range of the lines
 */

export const STEP = 5; // with their layout, these take less than half of a frame
export const FIRST = 30; // these fill a window, so that a room does not appear line by line
const MAX_LEFT = 100; // lines that left the window at one end: as many as a page of history has

/**
 * Return the lines to draw next: those that are drawn and the next ones beside them.
 * @param {readonly {id: string, kind: string}[]} lines
 * @param {(id: string) => boolean} isDrawn
 * @param {{follows: boolean, reveal: string | null, step: number}} view whether the end is in view, a line that has to be
 *   drawn, and how many lines to add
 * @returns {Part}
 */
export function partToDraw(lines, isDrawn, { follows, reveal, step }) {
  const part = grownPart(lines, isDrawn, follows, step);
  const at = reveal === null ? -1 : lines.findIndex(({ id }) => id === reveal);
  if (at < 0 || (part.from <= at && at < part.to)) return part;
  return { from: Math.max(0, at - FIRST / 2), to: Math.min(lines.length, at + FIRST / 2) };
}

/**
 * @param {readonly {id: string, kind: string}[]} lines
 * @param {(id: string) => boolean} isDrawn
 * @param {boolean} follows
 * @param {number} step
 * @returns {Part}
 */
function grownPart(lines, isDrawn, follows, step) {
  // Only messages keep their places among the others: the line of a day moves up when older messages are added.
  const isKept = (/** @type {{id: string, kind: string}} */ { id, kind }) => kind === "message" && isDrawn(id);
  const count = lines.length;
  const first = lines.findIndex(isKept);
  const below = count - 1 - lines.findLastIndex(isKept);
  if (first < 0 || (follows && below > FIRST)) return { from: Math.max(0, count - FIRST), to: count };
  const added = follows ? below : Math.min(below, Math.max(Math.ceil(step / 2), step - first));
  return { from: Math.max(0, first - Math.max(0, step - added)), to: count - below + added };
}

/**
 * Return the lines to show in this frame: those of a part, in which changed messages that are not in view may keep their
 * old look, between messages that are not in the part any more. The next frames show what is left.
 * @template {{id: string, kind: string, look: string}} L
 * @param {L[]} part
 * @param {readonly L[]} shown what this function returned last
 * @param {object} view
 * @param {number} view.step how many lines may be removed at each end, and how many may change outside of the view
 * @param {(id: string) => string | undefined} view.lookOf the look of a line that is drawn
 * @param {(id: string) => boolean} view.isInView
 * @returns {{lines: L[], isAll: boolean}} `isAll` is whether the part is shown as it is
 */
export function gradually(part, shown, { step, lookOf, isInView }) {
  const ids = new Set(part.map(({ id }) => id));
  const isKept = (/** @type {L} */ { id }) => ids.has(id);
  const first = shown.findIndex(isKept);
  if (first < 0) return { lines: part, isAll: true };
  const last = shown.findLastIndex(isKept);
  const isMessage = (/** @type {L} */ { kind }) => kind === "message";
  const above = shown.slice(0, first).slice(step).slice(-MAX_LEFT).filter(isMessage);
  const below = shown.slice(last + 1, Math.max(last + 1, shown.length - step)).slice(0, MAX_LEFT).filter(isMessage);
  let changed = 0;
  const lines = part.map((line) => {
    const look = lookOf(line.id);
    if (look === undefined || look === line.look || !isMessage(line) || isInView(line.id)) return line;
    changed += 1;
    return changed <= step ? line : { ...line, look };
  });
  return { lines: [...above, ...lines, ...below], isAll: above.length + below.length === 0 && changed <= step };
}
