// chat_store.js: conversations, kept in this browser (IndexedDB) and nowhere else.
//
// Heads are what the list shows; bodies are whole conversations, read when one is opened, and all
// of them, one by one, for a search or an export. A conversation is a tree: each node names its
// parent, and `leaf` is where the path that is shown ends, so that nothing is lost by an edit.
//
//   { id, title, made, changed, system, settings: {...}, posts, leaf, nodes: { ID: node } }
//     posts: whether answers come from posts
//   node: { id, parent, role, content, at, thought, thought_s, calls: [{id, name, arguments}],
//           call_id, files: [{name, size, text}], sources: [{title, url, text, version}], usage: {...},
//           end, problem, expired }
import { newId } from "./chat_util.js";

let db = null; // null: there is no room in this browser, all is forgotten with the page
const memory = { heads: new Map(), bodies: new Map() };
const tabs = new BroadcastChannel("colossus-chat");

const wait = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

// Whether what is said stays.
export async function open() {
  try {
    const request = indexedDB.open("colossus-chat", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("heads", { keyPath: "id" });
      request.result.createObjectStore("bodies", { keyPath: "id" });
    };
    db = await wait(request);
  } catch { db = null; }
  return db !== null;
}

// Another tab has changed the list.
export function onChange(run) { tabs.onmessage = run; }

const head = (c) => ({ id: c.id, title: c.title, changed: c.changed });

// Newest first.
export async function heads() {
  const all = db ? await wait(db.transaction("heads").objectStore("heads").getAll())
    : [...memory.heads.values()];
  return all.sort((a, b) => b.changed - a.changed);
}

export async function load(id) {
  if (!db) return structuredClone(memory.bodies.get(id));
  return wait(db.transaction("bodies").objectStore("bodies").get(id));
}

export async function save(list) {
  const all = [list].flat();
  if (!db) {
    for (const c of all) {
      memory.heads.set(c.id, head(c));
      memory.bodies.set(c.id, structuredClone(c));
    }
    return;
  }
  const t = db.transaction(["heads", "bodies"], "readwrite");
  for (const c of all) {
    t.objectStore("heads").put(head(c));
    t.objectStore("bodies").put(c);
  }
  await new Promise((resolve, reject) => {
    t.oncomplete = resolve;
    t.onabort = t.onerror = () => reject(t.error);
  });
  tabs.postMessage("changed");
}

export async function remove(id) {
  memory.heads.delete(id);
  memory.bodies.delete(id);
  if (!db) return;
  const t = db.transaction(["heads", "bodies"], "readwrite");
  t.objectStore("heads").delete(id);
  await wait(t.objectStore("bodies").delete(id));
  tabs.postMessage("changed");
}

// Every conversation, one by one; `run` returns false to stop.
export async function each(run) {
  if (!db) {
    for (const c of memory.bodies.values()) if (run(c) === false) return;
    return;
  }
  const request = db.transaction("bodies").objectStore("bodies").openCursor();
  await new Promise((resolve, reject) => {
    request.onerror = () => reject(request.error);
    request.onsuccess = () => {
      const cursor = request.result;
      if (!cursor || run(cursor.value) === false) return resolve();
      cursor.continue();
    };
  });
}

// The ids of conversations in which every word stands somewhere.
export async function search(text, signal) {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean), found = new Set();
  await each((c) => {
    const all = [c.title, ...Object.values(c.nodes).map((n) => n.content)].join("\n").toLowerCase();
    if (words.every((w) => all.includes(w))) found.add(c.id);
    return !signal.aborted;
  });
  return found;
}

// ---------------------------------------------------------------- conversations

export function make(defaults) {
  const now = Date.now();
  return { id: newId(), title: "New conversation", made: now, changed: now,
    system: defaults.system ?? "", settings: { ...defaults.settings }, leaf: null, nodes: {} };
}

export function add(c, parent, role, more = {}) {
  const node = { id: newId(), parent, role, content: "", at: Date.now(), ...more };
  c.nodes[node.id] = node;
  c.leaf = node.id;
  return node;
}

// From the first node to the leaf.
export function path(c, leaf = c.leaf) {
  const nodes = [];
  for (let n = c.nodes[leaf]; n; n = c.nodes[n.parent]) nodes.unshift(n);
  return nodes;
}

// Nodes beside this one, itself among them, oldest first.
export function siblings(c, node) {
  return Object.values(c.nodes).filter((n) => n.parent === node.parent)
    .sort((a, b) => a.at - b.at);
}

// The leaf below the node that was written last.
export function newest(c, node) {
  for (;;) {
    const below = Object.values(c.nodes).filter((n) => n.parent === node.id);
    if (!below.length) return node.id;
    node = below.reduce((a, b) => (b.at >= a.at ? b : a));
  }
}

// ---------------------------------------------------------------- files

const text = (x) => (typeof x === "string" ? x : "");
const FORM = "colossus-chat";

export async function exported() {
  const all = [];
  await each((c) => { all.push(c); });
  return JSON.stringify({ form: FORM, version: 1, conversations: all }, null, 1);
}

// The conversations of a file; throws what is wrong with it. Each gets a new name, so that nothing
// that is there is written over.
export function imported(source) {
  let o;
  try { o = JSON.parse(source); } catch (e) { throw new Error("it is no JSON: " + e.message); }
  if (o?.form !== FORM || o.version !== 1 || !Array.isArray(o.conversations))
    throw new Error("it holds no conversations of this page");
  return o.conversations.map((c, i) => {
    const where = "conversation " + (i + 1);
    if (!c || typeof c.nodes !== "object" || c.nodes === null)
      throw new Error(where + " has no nodes");
    const nodes = {};
    for (const [id, n] of Object.entries(c.nodes)) {
      if (!/^[0-9a-f]{8,64}$/.test(id) || !n || n.id !== id || typeof n.content !== "string" ||
        !["user", "assistant", "tool"].includes(n.role))
        throw new Error(where + ": the node '" + id + "' is none");
      if (n.parent !== null && !Object.hasOwn(c.nodes, n.parent))
        throw new Error(where + ": the parent of '" + id + "' is missing");
      nodes[id] = { ...n, at: Number(n.at) || 0 };
    }
    for (const n of Object.values(nodes)) {
      let above = n, steps = 0;
      while ((above = nodes[above.parent]))
        if (++steps > Object.keys(nodes).length)
          throw new Error(where + ": '" + n.id + "' is its own parent");
    }
    if (c.leaf !== null && !Object.hasOwn(nodes, c.leaf))
      throw new Error(where + " ends nowhere");
    const settings = c.settings && typeof c.settings === "object" ? c.settings : {};
    return { id: newId(), title: text(c.title) || "Conversation", made: Number(c.made) || 0,
      changed: Number(c.changed) || 0, system: text(c.system), settings, leaf: c.leaf,
      posts: Boolean(c.posts), nodes };
  });
}

// The path that is shown, for people.
export function asMarkdown(c) {
  const names = { user: "You", assistant: "Assistant", tool: "Tool" };
  return "# " + c.title + "\n" + path(c).map((n) =>
    "\n## " + names[n.role] + "\n\n" + n.content +
    (n.files ?? []).map((f) => "\n\n(attached: " + f.name + ")").join("") +
    (n.calls ?? []).map((k) => "\n\n    " + k.name + " " + k.arguments).join("") + "\n").join("");
}
