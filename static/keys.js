/** The keyboard shortcuts of the whole page. */

/**
 * @param {object} on
 * @param {(step: number) => void} on.onSwitch
 * @param {() => void} on.onFind
 * @param {() => void} on.onHelp
 * @param {() => void} on.onEscape
 */
export function listenToKeys(on) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    const act = actionFor(event, on);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/**
 * @param {KeyboardEvent} event
 * @param {Parameters<typeof listenToKeys>[0]} on
 */
function actionFor({ key, altKey, ctrlKey, metaKey, shiftKey, target }, on) {
  const isPlain = !altKey && !ctrlKey && !metaKey;
  if (altKey && !ctrlKey && !metaKey && !shiftKey && key === "ArrowUp") return () => on.onSwitch(-1);
  if (altKey && !ctrlKey && !metaKey && !shiftKey && key === "ArrowDown") return () => on.onSwitch(1);
  if ((ctrlKey || metaKey) && !altKey && key.toLowerCase() === "k") return on.onFind;
  if (isPlain && key === "/" && !isWriting(target)) return on.onFind;
  if (isPlain && key === "?" && !isWriting(target)) return on.onHelp;
  if (isPlain && key === "Escape") return on.onEscape;
  return null;
}

/** @param {EventTarget | null} target */
function isWriting(target) {
  return target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement;
}
