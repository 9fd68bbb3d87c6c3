/* Sets the chosen appearance before the first paint. Not a module, because those run after it. */
"use strict";
{
  try {
    const chosen = window.localStorage.getItem("chatkit.theme");
    if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  } catch {
    // without storage, the system's appearance is used
  }
}
