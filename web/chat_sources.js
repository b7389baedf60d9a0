// chat_sources.js: answers from posts end with the posts that they cite.
//
// The `version` of a source names its post and what it said; the server says which versions do not
// hold any more. An answer that cites such a post is written over, wherever it is kept; a source that
// is not cited goes alone.

const EXPIRED = "This answer has expired: a post that it cited was deleted or changed.";

const hasVersion = (n) => n.sources?.some((s) => s.version);

// Of the sources that the conversation shows; `busy` is a node that is being written.
export function versions(c, busy) {
  return [...new Set(Object.values(c.nodes).filter((n) => n !== busy && hasVersion(n))
    .flatMap((n) => n.sources.map((s) => s.version)).filter(Boolean))];
}

// Takes away what is gone; the nodes that this changed.
export function takeAway(c, gone, busy) {
  const lost = new Set(gone), isLost = (s) => lost.has(s.version);
  const changed = Object.values(c.nodes).filter((n) => n !== busy && n.sources?.some(isLost));
  for (const n of changed) {
    if (n.sources.some((s, i) => isLost(s) && n.content.includes("[" + (i + 1) + "]")))
      Object.assign(n, { content: EXPIRED, expired: true, thought: undefined, sources: undefined });
    else
      n.sources = n.sources.map((s) => isLost(s) ? { title: "A post that was deleted or changed" } : s);
  }
  return changed;
}
