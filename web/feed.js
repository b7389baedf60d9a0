// feed.js: the page of a store of posts, from what its server answers.
"use strict";
const $ = (id) => document.getElementById(id);
let key = "", stream = null, shown = "";

function headers() { return key ? { Authorization: "Bearer " + key } : {}; }

async function ask(path) {
  const answer = await fetch(path, { headers: headers() });
  const body = await answer.json();
  if (!answer.ok)
    throw new Error(body.error.message + (body.error.hint ? ": " + body.error.hint : ""));
  return body;
}

function problem(e) { $("problem").textContent = e ? e.message : ""; }

function element(name, text, kind) {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
}

function seconds(s) {
  if (s < 0) return "N/A";
  if (s < 120) return s.toFixed(1) + " s";
  if (s < 7200) return (s / 60).toFixed(0) + " min";
  return s < 172800 ? (s / 3600).toFixed(0) + " h" : (s / 86400).toFixed(0) + " days";
}

function showRate(x) {
  $("rate").textContent = x.posts_per_s.toFixed(1);
  $("lag").textContent = seconds(x.lag_s);
}

function spread(trend) {
  const ns = "http://www.w3.org/2000/svg", svg = document.createElementNS(ns, "svg");
  const all = trend.spread, most = Math.max(1, ...all);
  svg.setAttribute("viewBox", "0 0 " + all.length * 10 + " 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", trend.term + ": posts over the window");
  all.forEach((n, i) => {
    for (const [count, kind] of [[n, ""], [trend.voices_over_time[i], "led"]]) {
      const r = document.createElementNS(ns, "rect"), h = 40 * count / most;
      r.setAttribute("x", i * 10); r.setAttribute("width", 8);
      r.setAttribute("y", 40 - h); r.setAttribute("height", h);
      if (kind) r.setAttribute("class", kind);
      svg.append(r);
    }
  });
  return svg;
}

function showTrends(x) {
  $("trends").replaceChildren(...x.trends.map((t) => {
    const li = element("li");
    li.append(element("strong", t.term), " ",
      element("span", t.voices + (t.voices === 1 ? " voice, " : " voices, ") +
        t.expected.toFixed(1) + " expected; " + t.posts +
        " posts, " + t.copies + " copies", "dim"));
    if (t.single_source) li.append(" ", element("span", "a single source", "alone"));
    li.append(spread(t), element("div", "first: " + (t.first.text || ""), "dim"));
    return li;
  }));
  if (!x.trends.length) $("trends").append(element("li", "nothing rises", "dim"));
}

function post(p) {
  const li = element("li", p.text);
  li.append(element("div", new Date(p.created_ms).toISOString() + "  " + p.service + "  @" +
    (p.author || p.author_id || "?"), "dim"));
  return li;
}

function source(p) {
  const li = element("li", "[" + p.n + "] " + p.text);
  const by = p.author || p.author_id || "?";
  const line = element("div", p.created_at + "  @" + by + "  ", "dim");
  if (p.label) line.append(p.label + "  ");
  if (p.link && p.link.startsWith("https://")) {
    const a = element("a", "where it was posted");
    a.href = p.link; a.rel = "noopener noreferrer";
    line.append(a);
  }
  li.append(line);
  return li;
}

function reply(x) {
  const li = element("li");
  li.append(element("strong", x.question));
  if (x.expired) {
    li.append(element("div", "expired: a post that it cited was deleted or changed", "alone"));
    return li;
  }
  for (const text of x.answer.split("\n")) li.append(element("div", text));
  if (x.label) li.append(element("div", x.label, "alone"));
  const list = element("ul");
  list.append(...x.sources.map(source));
  li.append(list);
  return li;
}

async function answers() {
  const x = await ask("v1/answers?limit=20"), text = JSON.stringify(x);
  $("kept").hidden = !x.answers.length;
  if (text !== shown) $("answers").replaceChildren(...x.answers.map(reply));
  shown = text;
  return x.answers.length;
}

async function refresh() {
  try {
    const x = await ask("v1/stats");
    showRate(x);
    $("posts").textContent = x.posts.toLocaleString();
    $("gaps").textContent = x.gaps.length;
    showTrends(await ask("v1/trends?window_s=3600&limit=12"));
    problem();
  } catch (e) { problem(e); }
}

async function find() {
  stop();
  try {
    const x = await ask("v1/search?limit=30&q=" + encodeURIComponent($("q").value));
    $("count").textContent = x.matches + (x.cut ? " newest" : "") + " matches ranked in " +
      (1000 * x.seconds).toFixed(1) + " ms";
    $("hits").replaceChildren(...x.posts.map(post));
    problem();
  } catch (e) { problem(e); }
}

function stop() {
  if (stream) stream.abort();
  stream = null;
  $("live").textContent = "Follow";
}

function event(text) {
  let name = "", data = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("event: ")) name = line.slice(7);
    if (line.startsWith("data: ")) data += line.slice(6);
  }
  if (name === "lag") showRate(JSON.parse(data));
  if (name !== "post") return;
  $("hits").prepend(post(JSON.parse(data)));
  while ($("hits").children.length > 100) $("hits").lastChild.remove();
}

async function follow() {
  if (stream) return stop();
  const mine = stream = new AbortController();
  $("hits").replaceChildren();
  $("count").textContent = "new matches as they come";
  $("live").textContent = "Stop";
  try {
    const answer = await fetch("v1/stream?q=" + encodeURIComponent($("q").value),
      { headers: headers(), signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.json()).error.message);
    problem();
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) break;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      parts.forEach(event);
    }
  } catch (e) { if (e.name !== "AbortError") problem(e); }
  if (stream === mine) stop();
}

$("form").addEventListener("submit", (e) => { e.preventDefault(); find(); });
$("live").addEventListener("click", follow);
$("keyform").addEventListener("submit", (e) => {
  e.preventDefault();
  key = $("key").value;
  refresh();
});
(async () => {
  for (;;) {
    const n = await answers().catch(() => 0); // refresh() says what is wrong
    await new Promise((go) => setTimeout(go, n ? 1000 : 5000));
  }
})();
(async () => {
  for (;;) { await refresh(); await new Promise((go) => setTimeout(go, 10000)); }
})();
