// What a reload must not lose: the conversation, and where the running answer was. It is kept in
// the tab (sessionStorage) and goes with it; keys are never in it.

const KEY = "unbroken-chat-1";

export function load() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(KEY));
    return Array.isArray(kept?.turns) ? kept : { turns: [], running: null };
  } catch {
    return { turns: [], running: null };
  }
}

/** `running` is a stream's own account of itself: id, token, position and text, which belong together. */
export function save(turns, running) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ turns, running }));
  } catch {
    // Storage is full or forbidden: the chat works, and a reload begins anew.
  }
}

export function forget() {
  try { sessionStorage.removeItem(KEY); } catch { /* then there is nothing to forget */ }
}
