/** Finds and creates elements, with types. Inserts text as text and never parses markup. */

const CHARACTERS = new Intl.Segmenter(); // making one takes 0.3 ms

/**
 * @template {Element} E
 * @param {string} selector
 * @param {new () => E} type
 * @param {ParentNode} [root]
 * @returns {E}
 */
export function find(selector, type, root = document) {
  const element = root.querySelector(selector);
  if (!(element instanceof type)) throw new Error(`the page has no ${selector}`);
  return element;
}

/**
 * Return a copy of a template's first element.
 * @param {string} id
 */
export function clone(id) {
  const { content } = find(`template#${id}`, HTMLTemplateElement);
  const element = content.firstElementChild;
  if (!element) throw new Error(`template ${id} is empty`);
  return /** @type {HTMLElement} */ (document.importNode(element, true));
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} className
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...children);
  return element;
}

/**
 * Set the text only if it differs, so that selections and screen readers are not disturbed.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Keeps a parent's children in line with `items`, and reuses every element whose `id` and `look` did not change.
 * @template {{id: string, look: string}} T
 */
export class Children {
  /** @type {Map<string, {element: HTMLElement, look: string}>} */
  #shown = new Map();

  /**
   * @param {HTMLElement} parent
   * @param {(item: T) => HTMLElement} build
   */
  constructor(parent, build) {
    this.parent = parent;
    this.build = build;
  }

  /** @param {string} id */
  element(id) {
    return this.#shown.get(id)?.element;
  }

  /** @param {string} id */
  look(id) {
    return this.#shown.get(id)?.look;
  }

  /** @param {readonly T[]} items */
  show(items) {
    const wanted = new Map(items.map((item) => [item.id, item.look]));
    for (const [id, { element, look }] of this.#shown) {
      if (wanted.get(id) === look) continue;
      element.remove(); // before inserting: otherwise the first removal would move every later element
      this.#shown.delete(id);
    }
    let next = this.parent.firstElementChild;
    for (const item of items) {
      const element = this.#elementFor(item);
      if (element === next) next = next.nextElementSibling;
      else this.parent.insertBefore(element, next);
    }
  }

  clear() {
    for (const { element } of this.#shown.values()) element.remove();
    this.#shown.clear();
  }

  /** @param {T} item */
  #elementFor(item) {
    const known = this.#shown.get(item.id);
    if (known) return known.element;
    const element = this.build(item);
    this.#shown.set(item.id, { element, look: item.look });
    return element;
  }
}

/**
 * Return the class of one of twelve colours; a name always has the same colour.
 * @param {string} name
 */
export function hueOf(name) {
  let sum = 0;
  for (const char of name) sum = (sum * 31 + (char.codePointAt(0) ?? 0)) % 9973;
  return `hue-${sum % 12}`;
}

/**
 * Return the first character of a name, as the text of its avatar.
 * @param {string} name
 */
export function initialOf(name) {
  const [first] = CHARACTERS.segment(name);
  return (first?.segment ?? "?").slice(0, 12).toLocaleUpperCase();
}
