/** A button that copies a text. */

/**
 * @param {HTMLButtonElement} button
 * @param {() => string} text
 */
export function copyOnClick(button, text) {
  button.hidden = !navigator.clipboard; // available only on https and loopback
  button.onclick = async () => {
    await navigator.clipboard.writeText(text()).then(
      () => (button.dataset.state = "done"),
      () => (button.dataset.state = "failed"),
    );
  };
}
