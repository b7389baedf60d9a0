// chat_api.js: the server as this page uses it: OpenAI's interface, below the page's own address.

let key = sessionStorage.getItem("key") ?? ""; // it goes with the tab

export function useKey(text) {
  key = text.trim();
  sessionStorage.setItem("key", key);
}

// What went wrong, in words. status 0: the server was not reached, or went away.
export class Problem extends Error {
  constructor(message, status = 0, code = "", wait = 0) {
    super(message);
    Object.assign(this, { status, code, wait });
  }
}

async function problemOf(answer) {
  let error = {};
  try { error = (await answer.json()).error ?? {}; } catch { /* no JSON: the status says it */ }
  const wait = Number(answer.headers.get("Retry-After")) || 0;
  return new Problem(error.message || "The server answered with status " + answer.status + ".",
    answer.status, error.code || error.type || "", wait);
}

async function reach(path, body, signal) {
  const headers = key ? { Authorization: "Bearer " + key } : {};
  if (body) headers["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, { method: body ? "POST" : "GET", headers, signal,
      body: body && JSON.stringify(body) });
  } catch (e) {
    if (e.name === "AbortError") throw e;
    throw new Problem("The server cannot be reached.");
  }
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}

const json = async (path, body, signal) => (await reach(path, body, signal)).json();

// What is served: its name, and the longest conversation in tokens.
export async function about() {
  const list = await json("v1/models");
  const props = await json("props");
  return { name: list.data[0].id, context: props.n_ctx, posts: props.live_search === true };
}

export async function isThere() {
  try { return (await fetch("health", { cache: "no-store" })).ok; } catch { return false; }
}

// Of versions of sources those that do not hold any more; so many may be asked for at once.
export async function gone(all) {
  const out = [];
  for (let i = 0; i < all.length; i += 1000)
    out.push(...(await json("v1/sources", { sources: all.slice(i, i + 1000) })).gone);
  return out;
}

// How many tokens the messages are.
export async function count(body, signal) {
  return (await json("tokenize", body, signal)).count;
}

// The answer, piece by piece: objects of a stream, until [DONE].
export async function* chat(body, signal) {
  const answer = await reach("v1/chat/completions",
    { ...body, stream: true, stream_options: { include_usage: true } }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let part;
    try {
      part = await reader.read();
    } catch (e) {
      if (e.name === "AbortError") throw e;
      throw new Problem("The connection was lost.");
    }
    if (part.done) throw new Problem("The connection was lost.");
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data:")) continue; // comments keep the connection alive
      const data = line.slice(5).trim();
      if (data === "[DONE]") return;
      const piece = JSON.parse(data);
      if (piece.error) throw new Problem(piece.error.message, 500, piece.error.code || "");
      yield piece;
    }
  }
}
