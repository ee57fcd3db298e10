// What a reload must not lose: the conversation, its model, and where the running answer was. It is kept in
// the tab (sessionStorage) and goes with it; keys are never in it.

const KEY = "unbroken-chat-1";
const NOTHING = { turns: [], running: null, model: "" };

export function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return Array.isArray(kept?.turns) ? kept : NOTHING;
  } catch {
    return NOTHING;
  }
}

/** `running` is a stream's own account of itself: id, token, position and text, which belong together. */
export function save(turns, running, model) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ turns, running, model }));
  } catch {
    // Storage is full or forbidden: the chat works, and a reload begins anew.
  }
}
