// The little of the DOM that the page needs. Text is always set as text, never as HTML.

export const byId = (id) => document.getElementById(id);

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value == null) continue;
    if (name === "text") element.textContent = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child != null));
  return element;
}

/** Write only what changed: an untouched node keeps its focus, selection and place for a screen reader. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value == null) node.removeAttribute(name);
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/**
 * Make the children of `parent` follow `items`, reusing nodes by key.
 * `create(item)` makes a node once, `update(node, item)` brings it up to date.
 */
export function follow(parent, items, { key, create, update }) {
  const had = parent.nodesByKey ?? new Map();
  const have = new Map();
  let place = parent.firstChild;
  for (const item of items) {
    const name = key(item);
    const node = had.get(name) ?? create(item);
    update(node, item);
    have.set(name, node);
    if (node === place) place = place.nextSibling;
    else parent.insertBefore(node, place);
  }
  for (const [name, node] of had) if (!have.has(name)) node.remove();
  parent.nodesByKey = have;
}
