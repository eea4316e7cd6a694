// Elements. Data becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, properties, children) {
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** An element with attributes, listeners (`onclick`) and children: nodes, or strings as text. */
export function el(tag, properties, ...children) {
  return build(document.createElement(tag), properties, children);
}

export function svg(tag, properties, ...children) {
  return build(document.createElementNS(SVG, tag), properties, children);
}

/** Sets the text if it differs, so that nothing is drawn or selected anew without need. */
export function setText(node, text) {
  const value = String(text);
  if (node.textContent !== value) node.textContent = value;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

export function setHidden(node, hidden) {
  if (node.hidden !== hidden) node.hidden = hidden;
}

/**
 * Makes the children of `parent` those of `items`, in their order. Children of items that stay are kept: `key` tells them apart,
 * `create` makes one, `update` changes it.
 */
export function keyed(parent, items, key, create, update) {
  const before = parent.keyed ?? new Map();
  const after = new Map();
  for (const item of items) {
    const name = key(item);
    const node = before.get(name) ?? create(item);
    update?.(node, item);
    after.set(name, node);
  }
  for (const [name, node] of before) if (after.get(name) !== node) node.remove();
  let place = parent.firstElementChild;
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  for (const node of after.values()) {
    // An element that is moved loses the focus: what is in front of it is moved instead.
    if (node !== place && focused && node.contains(focused)) {
      while (place !== node) {
        const next = place.nextElementSibling;
        parent.append(place);
        place = next;
      }
    }
    if (node === place) place = place.nextElementSibling;
    else parent.insertBefore(node, place);
  }
  parent.keyed = after;
}

let nextId = 0;

/** An id that no other element has. */
export function newId(name) {
  nextId += 1;
  return `${name}-${nextId}`;
}

/** Has screen readers announce a text. */
export function say(text) {
  setText(document.getElementById("said"), text);
}

/** A short message, visible and read aloud. */
export function announce(text, level = "info") {
  const toasts = document.getElementById("toasts");
  const toast = el("p", { class: `toast ${level}` }, text);
  toasts.append(toast);
  while (toasts.children.length > 3) toasts.firstElementChild.remove();
  setTimeout(() => toast.remove(), level === "error" ? 12000 : 6000);
}
