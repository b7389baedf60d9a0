// chat.js: the page: which conversation is open, what is sent, and how an answer comes in.
//
// An answer belongs to its conversation: it goes on, and is kept, while another one is looked at.
import * as api from "./chat_api.js";
import { $, ask, bytes, download, h, newId, say } from "./chat_util.js";
import * as store from "./chat_store.js";
import { settingsForm } from "./chat_settings.js";
import { takeAway, versions } from "./chat_sources.js";
import { Turn } from "./chat_view.js";

const MOST_FILE = 1 << 20; // bytes of a file that is attached
const KEEP_MS = 2000; // between savings of an answer that is being written
const LOOK_MS = 1000; // between questions whether the sources that are shown still hold

let open = null; // the conversation that is shown
let turns = new Map(); // of it: node id to Turn
let server = { name: "", context: 0 };
let files = []; // attached to the message that is being written
let list = []; // heads, newest first
let found = null; // ids that a search found
const running = new Map(); // conversation id to { c, node, abort }

const defaults = () => {
  try { return JSON.parse(localStorage.getItem("defaults")) ?? {}; } catch { return {}; }
};

// ---------------------------------------------------------------- the list

const SHOWN = 200;
let shown = SHOWN;

function drawList() {
  const heads = found ? list.filter((c) => found.has(c.id)) : list;
  const items = heads.slice(0, shown).map((c) => h("li", {}, h("button", { type: "button",
    text: c.title, "data-id": c.id, "aria-current": c.id === open?.id ? "true" : null,
    tabindex: "-1", onclick: () => openConversation(c.id) })));
  if (heads.length > shown) items.push(h("li", {}, h("button", { type: "button", class: "dim",
    text: "Show " + (heads.length - shown) + " older ones",
    onclick: () => { shown += 1000; drawList(); } })));
  const focused = $("list").contains(document.activeElement)
    ? document.activeElement.dataset.id : undefined;
  $("list").replaceChildren(...items);
  // One stop of Tab, wherever in the list; arrows go on from there.
  const stop = $("list").querySelector("[aria-current]") ?? $("list").querySelector("button");
  if (stop) stop.tabIndex = 0;
  if (focused) $("list").querySelector(`[data-id="${focused}"]`)?.focus();
  $("found").textContent = found ? found.size + (found.size === 1 ? " conversation" :
    " conversations") + " found" : "";
}

function moveInList(event) {
  const buttons = [...$("list").querySelectorAll("button")];
  const at = buttons.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
  if (at < 0 || to === undefined) return;
  event.preventDefault();
  buttons[Math.min(buttons.length - 1, Math.max(0, to))].focus();
}

async function readList() {
  list = await store.heads();
  drawList();
}

let searching = null, pause = 0;
function search() {
  clearTimeout(pause);
  searching?.abort();
  const text = $("search").value.trim();
  if (!text) { found = null; drawList(); return; }
  pause = setTimeout(async () => {
    const mine = searching = new AbortController();
    const ids = await store.search(text, mine.signal);
    if (mine.signal.aborted) return;
    found = ids;
    drawList();
  }, 150);
}

async function keep(c) {
  c.changed = Date.now();
  try { await store.save(c); } catch (e) { notice("This browser could not keep it: " + e.message); }
  const at = list.findIndex((one) => one.id === c.id);
  if (at >= 0) list.splice(at, 1);
  list.unshift({ id: c.id, title: c.title, changed: c.changed });
  drawList();
}

function side(isOpen) {
  document.body.classList.toggle("side-open", isOpen);
  $("open-side").setAttribute("aria-expanded", isOpen);
  $("main").inert = isOpen;
  (isOpen ? $("search") : $("open-side").checkVisibility() ? $("open-side") : $("draft")).focus();
}

// ---------------------------------------------------------------- the open conversation

function notice(text) {
  $("notice").textContent = text ?? "";
  $("notice").hidden = !text;
}

const isRunning = () => open && running.has(open.id);

function drawState() {
  $("title").textContent = open.title;
  document.title = open.title + " - " + (server.name || "Colossus");
  $("posts").hidden = !server.posts;
  $("search-posts").checked = Boolean(open.posts);
  $("send").hidden = isRunning();
  $("stop").hidden = !isRunning();
}

const log = $("log");
const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
const toEnd = () => { log.scrollTop = log.scrollHeight; };

function draw() {
  const path = store.path(open);
  turns = new Map();
  for (const node of path) {
    const beside = store.siblings(open, node);
    turns.set(node.id, new Turn(node, { at: beside.indexOf(node), of: beside.length }, does));
  }
  log.replaceChildren(...[...turns.values()].map((t) => t.element));
  if (!path.length) log.append(h("p", { class: "hello",
    text: "Ask " + (server.name || "the model") + " something." }));
  const job = running.get(open.id);
  if (job) turns.get(job.node.id)?.draw(true);
  drawState();
  drawList();
  toEnd();
  measure();
}

async function openConversation(id) {
  const c = running.get(id)?.c ?? await store.load(id);
  if (!c) { readList(); return; }
  open = c;
  for (const n of Object.values(c.nodes)) // the page was closed while it was written
    if (n.end === "" && running.get(id)?.node !== n) {
      n.end = "stopped";
    }
  notice();
  draw();
  lookAtSources();
  history.replaceState(null, "", "#" + id);
  if (document.body.classList.contains("side-open")) side(false);
}

function newConversation() {
  open = store.make(defaults());
  notice();
  draw();
  history.replaceState(null, "", location.pathname);
  if (document.body.classList.contains("side-open")) side(false);
  $("draft").focus();
}

// ---------------------------------------------------------------- what is sent

// A message with its files, as the model reads it.
function words(node) {
  const parts = (node.files ?? []).map((f) => {
    const longest = [...f.text.matchAll(/`+/g)].reduce((n, m) => Math.max(n, m[0].length), 2);
    const fence = "`".repeat(longest + 1);
    return "File " + f.name + ":\n" + fence + "\n" + f.text.replace(/\n$/, "") + "\n" + fence;
  });
  return [...parts, node.content].filter(Boolean).join("\n\n");
}

function messages(c, leaf) {
  const out = c.system.trim() ? [{ role: "system", content: c.system }] : [];
  for (const n of store.path(c, leaf)) {
    const m = { role: n.role, content: n.role === "user" ? words(n) : n.content };
    if (n.call_id) m.tool_call_id = n.call_id;
    if (n.calls?.length) m.tool_calls = n.calls.map((k) => ({ id: k.id, type: "function",
      function: { name: k.name, arguments: k.arguments } }));
    out.push(m);
  }
  return out;
}

// Settings as fields of a request; what is not set is left to the server.
function fields(c) {
  const { stop, tools, ...numbers } = c.settings, out = {};
  if (c.posts && server.posts) return { max_tokens: c.settings.max_tokens, // it reads posts alone
    search_parameters: { mode: "on" } };
  for (const [k, v] of Object.entries(numbers)) if (typeof v === "number") out[k] = v;
  if (stop) out.stop = stop.split("\n").filter(Boolean);
  if (tools) try { out.tools = JSON.parse(tools); } catch { /* the form lets none in */ }
  return out;
}

function take(node, piece, began) {
  const choice = piece.choices?.[0], d = choice?.delta ?? {}, now = performance.now();
  const u = node.usage;
  if (d.content || d.reasoning_content || d.tool_calls) {
    if (!u.first_s) u.first_s = (now - began) / 1000;
    u.written++; // about: a piece is mostly a token, and the end says how many there were
    u.write_s = (now - began) / 1000 - u.first_s;
  }
  if (d.reasoning_content) node.thought = (node.thought ?? "") + d.reasoning_content;
  if (d.content) {
    if (node.thought && !node.content) node.thought_s = (now - began) / 1000;
    node.content += d.content;
  }
  for (const k of d.tool_calls ?? []) {
    node.calls ??= [];
    const call = node.calls[k.index ?? node.calls.length] ??= { id: "", name: "", arguments: "" };
    call.id ||= k.id ?? "";
    call.name ||= k.function?.name ?? "";
    call.arguments += k.function?.arguments ?? "";
  }
  if (d.sources) node.sources = [...(node.sources ?? []), ...d.sources];
  if (choice?.finish_reason) node.end = choice.finish_reason;
  if (piece.usage) {
    u.prompt = piece.usage.prompt_tokens;
    u.total = piece.usage.total_tokens;
    u.written = piece.usage.completion_tokens;
    if (piece.timings) u.write_s = piece.timings.predicted_ms / 1000;
  }
}

const sleep = (ms, signal) => new Promise((resolve, reject) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener("abort", () => {
    clearTimeout(timer);
    reject(new DOMException("", "AbortError"));
  });
});

// Whether it is worth another try of itself: nothing was written, and the server is busy or gone.
// Waits until it is; the third word says why.
async function waitToRetry(problem, tries, signal, node) {
  if (node.content || node.thought || node.calls || tries >= 30) return false;
  if (problem.status === 429 || problem.status === 503) {
    notice("The server is busy: trying again…");
    await sleep(1000 * Math.min(30, problem.wait || 1) * Math.min(4, tries + 1), signal);
    return true;
  }
  if (problem.status !== 0) return false;
  notice("The server cannot be reached. It is asked again when it is back.");
  for (let i = 0; i < 60; i++) {
    await sleep(Math.min(5000, 500 * (i + 1)), signal);
    if (await api.isThere()) return true;
  }
  return false;
}

function wordsOf(problem) {
  if (problem.code === "context_length_exceeded")
    return problem.message + " Begin a new conversation, or edit a message to be shorter.";
  return problem.message;
}

// Lets the model write the node, which stands at the path's end.
async function write(c, node, goOn = false) {
  const job = { c, node, abort: new AbortController() }, began = performance.now();
  const body = { ...fields(c), messages: messages(c, goOn ? node.id : node.parent) };
  if (goOn && !body.search_parameters) Object.assign(body, { continue_final_message: true, add_generation_prompt: false });
  node.end = "";
  node.problem = undefined;
  node.usage = { written: 0, first_s: 0, write_s: 0 };
  running.set(c.id, job);
  let kept = performance.now(), frame = 0;
  const paint = () => {
    frame = 0;
    if (open !== c) return;
    const follow = atEnd();
    turns.get(node.id)?.draw(running.get(c.id) === job);
    if (follow) toEnd();
  };
  if (open === c) draw();
  for (let tries = 0; ; tries++) {
    try {
      for await (const piece of api.chat(body, job.abort.signal)) {
        take(node, piece, began);
        frame ||= requestAnimationFrame(paint);
        if (performance.now() - kept > KEEP_MS) { kept = performance.now(); keep(c); }
      }
      node.end ||= "stop";
      break;
    } catch (e) {
      if (e.name === "AbortError") { node.end = "stopped"; break; }
      try {
        if (e instanceof api.Problem && await waitToRetry(e, tries, job.abort.signal, node))
          continue;
      } catch { node.end = "stopped"; break; }
      node.end = "problem";
      node.problem = wordsOf(e);
      if (e.status === 401) askKey();
      break;
    } finally {
      if (open === c) notice();
    }
  }
  running.delete(c.id);
  cancelAnimationFrame(frame);
  if (node.calls) for (const k of node.calls) k.id ||= newId();
  await keep(c);
  if (open === c) {
    const follow = atEnd();
    paint();
    if (follow) toEnd();
    drawState();
    measure();
    say(node.problem ? "The answer could not be written" : "The answer is there", false);
  }
}

function answer(c, parent) {
  return write(c, store.add(c, parent, "assistant"));
}

async function send(event) {
  event?.preventDefault();
  const text = $("draft").value;
  if (isRunning() || (!text.trim() && !files.length)) return;
  const c = open, node = store.add(c, c.leaf, "user", { content: text, files });
  if (store.path(c).length === 1) {
    c.title = (text.trim() || files[0].name).replace(/\s+/g, " ").slice(0, 80);
    history.replaceState(null, "", "#" + c.id);
  }
  files = [];
  drawFiles();
  $("draft").value = "";
  grow();
  await keep(c);
  toEnd();
  answer(c, node.id);
}

// What the buttons of a turn do.
const does = {
  again(node) {
    if (!isRunning()) answer(open, node.parent);
  },
  goOn(node) {
    if (!isRunning()) write(open, node, true);
  },
  async edit(node, text) {
    if (isRunning() || (!text.trim() && !node.files?.length)) return;
    const c = open, made = store.add(c, node.parent, "user", { content: text, files: node.files });
    await keep(c);
    answer(c, made.id);
  },
  branch(node, step) {
    if (isRunning()) return;
    const beside = store.siblings(open, node), to = beside[beside.indexOf(node) + step];
    open.leaf = store.newest(open, to);
    const top = turns.get(node.id).element.getBoundingClientRect().top;
    draw();
    const at = turns.get(to.id);
    log.scrollTop += at.element.getBoundingClientRect().top - top; // it stays where it was
    at.element.querySelector("[aria-label$=version]:not(:disabled)")?.focus();
    keep(open);
  },
  answered: (node, call) => Object.values(open.nodes).some((n) => n.call_id === call.id) ||
    open.leaf !== node.id,
  // Results of all calls are given one after the other; then the model goes on.
  async result(node, call, text) {
    if (isRunning()) return;
    const c = open, made = store.add(c, c.leaf, "tool", { content: text, call_id: call.id });
    const given = store.path(c).filter((n) => n.role === "tool").map((n) => n.call_id);
    await keep(c);
    const next = node.calls.find((k) => !given.includes(k.id));
    if (!next) { answer(c, made.id); return; }
    draw();
    const value = await askResult(next);
    if (value !== null) does.result(node, next, value);
  },
};

function askResult(call) {
  const area = h("textarea", { rows: "4", class: "grow",
    "aria-label": "What " + call.name + " gives" });
  return ask("What does " + call.name + " give?", h("div", { class: "row" }, area),
    { label: "Give the result", read: () => area.value });
}

// ---------------------------------------------------------------- sources that end

let looking = false;
async function lookAtSources() {
  const c = open, busy = () => running.get(c.id)?.node;
  if (looking || document.hidden || !server.posts) return;
  const all = versions(c, busy());
  if (!all.length) return;
  looking = true;
  try {
    const changed = takeAway(c, await api.gone(all), busy());
    if (changed.length) await store.save(c);
    if (open === c) for (const n of changed) turns.get(n.id)?.draw(false);
    if (open === c && changed.some((n) => n.expired)) say("An answer has expired", false);
  } catch { /* it is asked again */ } finally { looking = false; }
}

// ---------------------------------------------------------------- the field and what it measures

function grow() {
  const field = $("draft");
  field.style.height = "auto";
  field.style.height = Math.min(field.scrollHeight + 2, innerHeight * 0.4) + "px";
}

let measuring = null, later = 0;
function meter(n) {
  const all = server.context;
  $("meter").hidden = !all;
  $("meter-bar").max = all || 1;
  $("meter-bar").value = n;
  $("meter-text").textContent = n.toLocaleString() + " of " + all.toLocaleString() + " tokens";
}

// How much of the context the conversation takes, the draft included, as the server counts it.
function measure() {
  clearTimeout(later);
  measuring?.abort();
  const c = open, last = store.path(c).at(-1), draft = $("draft").value;
  if (!draft && !files.length && last?.usage?.total) return meter(last.usage.total);
  const all = messages(c, c.leaf);
  if (draft || files.length) all.push({ role: "user", content: words({ content: draft, files }) });
  if (!all.length || isRunning()) return isRunning() ? undefined : meter(0);
  later = setTimeout(async () => {
    const mine = measuring = new AbortController();
    try {
      const n = await api.count({ messages: all }, mine.signal);
      if (open === c && !isRunning()) meter(n);
    } catch { /* a figure that is not there is no problem */ }
  }, 400);
}

function drawFiles() {
  $("files").replaceChildren(...files.map((f) => h("span", { class: "chip" },
    f.name + ", " + bytes(f.size),
    h("button", { type: "button", text: "×", "aria-label": "Take away " + f.name, onclick: () => {
      files = files.filter((other) => other !== f);
      drawFiles();
      $("draft").focus();
    } }))));
  measure();
}

// Files of text; what is none is said.
async function attach(chosen) {
  const wrong = [];
  for (const file of chosen) {
    if (file.size > MOST_FILE) {
      wrong.push(file.name + " is larger than " + bytes(MOST_FILE));
      continue;
    }
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
      if (text.includes("\0")) throw new Error("zero bytes");
      files.push({ name: file.name, size: file.size, text });
    } catch { wrong.push(file.name + " is no text in UTF-8"); }
  }
  notice(wrong.join("; "));
  drawFiles();
}

// ---------------------------------------------------------------- dialogs

async function askKey() {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "Key",
    class: "grow" });
  const key = await ask("This server asks for a key", h("div", { class: "row" }, field),
    { label: "Use it", read: () => field.value.trim() || undefined });
  if (key === null) return;
  api.useKey(key);
  await connect();
}

async function changeSettings() {
  const form = settingsForm(open);
  const made = await ask("Settings of this conversation", form.element,
    { label: "Use", read: form.read });
  if (!made) return;
  const { asDefault, ...changed } = made;
  Object.assign(open, changed);
  if (asDefault) localStorage.setItem("defaults", JSON.stringify(changed));
  if (open.leaf) await keep(open);
  measure();
}

async function rename() {
  const field = h("input", { value: open.title, maxlength: "200", "aria-label": "Title",
    class: "grow" });
  const title = await ask("Rename this conversation", h("div", { class: "row" }, field),
    { label: "Rename", read: () => field.value.trim() || undefined });
  if (title === null) return;
  open.title = title;
  drawState();
  if (open.leaf) await keep(open);
}

async function remove() {
  const c = open;
  if (!await ask("Delete this conversation?", h("p", { text: "“" + c.title +
    "” will be gone from this browser." }), { label: "Delete", read: () => true }, true)) return;
  running.get(c.id)?.abort.abort();
  running.delete(c.id);
  c.nodes = {};
  await store.remove(c.id);
  list = list.filter((one) => one.id !== c.id);
  newConversation();
}

async function importFile(file) {
  if (!file) return;
  try {
    const all = store.imported(await file.text());
    await store.save(all);
    await readList();
    say(all.length + (all.length === 1 ? " conversation" : " conversations") + " imported");
    notice();
  } catch (e) { notice("'" + file.name + "' could not be imported: " + e.message); }
}

function setLook(look) {
  if (look) document.documentElement.dataset.look = look;
  else delete document.documentElement.dataset.look;
  $("look").value = look;
  localStorage.setItem("look", look);
}

// ---------------------------------------------------------------- beginning

async function connect() {
  try {
    server = { posts: false, ...await api.about() };
    $("model").textContent = server.name;
    notice();
    draw();
  } catch (e) {
    if (e.status === 401) return askKey();
    notice(e.message + " It is asked again when it is back.");
    while (!await api.isThere()) await new Promise((go) => setTimeout(go, 2000));
    return connect();
  }
}

function listen() {
  $("form").addEventListener("submit", send);
  $("draft").addEventListener("input", () => { grow(); measure(); });
  $("draft").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) send(event);
  });
  $("search-posts").onchange = async () => {
    open.posts = $("search-posts").checked;
    if (open.leaf) await keep(open);
  };
  $("stop").onclick = () => running.get(open.id)?.abort.abort();
  $("new").onclick = newConversation;
  $("search").addEventListener("input", search);
  $("list").addEventListener("keydown", moveInList);
  $("open-side").onclick = () => side(true);
  $("close-side").onclick = $("shade").onclick = () => side(false);
  $("settings").onclick = changeSettings;
  $("rename").onclick = rename;
  $("delete").onclick = remove;
  $("save-text").onclick = () =>
    download(open.title.replace(/[^\p{L}\p{N} _-]+/gu, "").trim().slice(0, 60) + ".md",
      "text/markdown", store.asMarkdown(open));
  $("more").addEventListener("click", (event) => {
    if (event.target.closest("div")) $("more").open = false;
  });
  $("export").onclick = async () => download("conversations.json", "application/json",
    await store.exported());
  $("import").onclick = () => $("import-file").click();
  $("import-file").onchange = () => {
    importFile($("import-file").files[0]);
    $("import-file").value = "";
  };
  $("attach").onclick = () => $("attach-file").click();
  $("attach-file").onchange = () => {
    attach([...$("attach-file").files]);
    $("attach-file").value = "";
  };
  $("look").onchange = () => setLook($("look").value);
  log.addEventListener("scroll", () => { $("down").hidden = atEnd(); });
  $("down").onclick = toEnd;
  store.onChange(readList);
}

// Files that are dropped anywhere, and keys that work anywhere.
function listenAnywhere() {
  addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dropping");
  });
  addEventListener("dragleave", () => document.body.classList.remove("dropping"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dropping");
    attach([...event.dataTransfer.files]);
  });
  addEventListener("keydown", (event) => {
    const command = event.ctrlKey || event.metaKey;
    if (event.key === "Escape" && document.querySelector("dialog[open]")) return;
    if (event.key === "Escape" && document.body.classList.contains("side-open")) side(false);
    else if (event.key === "Escape" && $("more").open) $("more").open = false;
    else if (event.key === "Escape" && isRunning()) running.get(open.id).abort.abort();
    else if (command && event.key === "k") {
      event.preventDefault();
      if ($("open-side").checkVisibility()) side(true);
      $("search").focus();
    } else if (command && event.shiftKey && event.key.toLowerCase() === "o") {
      event.preventDefault();
      newConversation();
    }
  });
  addEventListener("beforeunload", () => {
    for (const job of running.values()) store.save(job.c);
  });
  matchMedia("(min-width: 761px)").addEventListener("change", () => {
    if (document.body.classList.contains("side-open")) side(false);
  });
}

setLook(localStorage.getItem("look") ?? "");
const stays = await store.open();
listen();
listenAnywhere();
await readList();
const wanted = location.hash.slice(1);
if (wanted && list.some((c) => c.id === wanted)) await openConversation(wanted);
else newConversation();
await connect();
setInterval(lookAtSources, LOOK_MS);
if (!stays) notice("This browser keeps nothing: conversations are gone with the page.");
