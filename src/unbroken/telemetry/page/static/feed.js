// The feed: one EventSource, its parts merged into one state, and a word on how the link is.

/**
 * Follow the feed at `url`.
 * `onState(state, changed)` gets everything known and the names of what came;
 * `onLink(state, text)` gets "live", "waiting" or "lost".
 */
export function follow(url, { onState, onLink }) {
  let state = {};
  let source;
  let again;

  function open() {
    clearTimeout(again);
    source = new EventSource(url);
    source.onmessage = (event) => {
      const news = JSON.parse(event.data);
      if (news.full) state = {};
      Object.assign(state, news);
      onState(state, new Set(Object.keys(news)));
      onLink("live", "live");
    };
    source.onerror = () => {
      // EventSource comes back by itself from a lost connection, but not from a refusal
      // (too many readers, a proxy's 502): then we ask again, less often.
      if (source.readyState === EventSource.CLOSED) {
        onLink("lost", "no figures: refused, asking again");
        again = setTimeout(open, 5000);
      } else {
        onLink("lost", "connection lost, trying again");
      }
    };
  }

  // A page that nobody looks at needs no figures, and the server no reader. Not closed at
  // once: switching tabs back and forth should cost nothing.
  let asleep;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(asleep);
    if (document.hidden) {
      asleep = setTimeout(() => { clearTimeout(again); source.close(); onLink("waiting", "paused in the background"); }, 60_000);
    } else if (source.readyState === EventSource.CLOSED) {
      open();
    }
  });
  onLink("waiting", "connecting");
  open();
}
