/** Modules that are loaded when they are needed first. Without a connection, some are missing: a sentence says so. */

const MISSING = "This part of the page could not be loaded. Try again when you are online, or reload the page.";

/**
 * Return a module, or null after the problem is shown.
 * @template Module
 * @param {Promise<Module>} loading
 * @param {(sentence: string) => void} onProblem
 * @returns {Promise<Module | null>}
 */
export async function moduleOf(loading, onProblem) {
  try {
    return await loading;
  } catch {
    onProblem(MISSING);
    return null;
  }
}
