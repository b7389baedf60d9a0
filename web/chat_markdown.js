// chat_markdown.js: Markdown as elements, never as markup: what a model writes is set as text, HTML
// in it is shown as it was written, links are http, https and mailto only, and an image is a link.
//
// Blocks are headings, paragraphs, lists, quotes, tables, rules and fenced code. While a text grows
// only blocks that have changed are made anew, so a long answer costs no more than a short one.
// Work is linear in the text: what looks for an end looks a bounded way.
import { copy, h } from "./chat_util.js";

const DEEPEST = 12; // lists and quotes in one another
const FAR = 2000; // characters that an end is looked for

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*)$/;
const RULE = /^ {0,3}(?:(?:\*\s*){3,}|(?:-\s*){3,}|(?:_\s*){3,})$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: +|$)/;
const DELIMITERS = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

// ---------------------------------------------------------------- inside a line

function link(href, children, title) {
  let url;
  try { url = new URL(href); } catch { return null; }
  if (!["http:", "https:", "mailto:"].includes(url.protocol)) return null;
  return h("a", { href: url.href, title, target: "_blank", rel: "noopener noreferrer" },
    children);
}

// The place of the bracket that closes the one at text[at], or -1.
function closing(text, at, open, close) {
  let depth = 0;
  for (let i = at; i < Math.min(text.length, at + FAR); i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === open) depth++;
    else if (text[i] === close && --depth === 0) return i;
  }
  return -1;
}

// [words](address "title") or ![words](address) at text[at]: its element and where it ends.
function readLink(text, at, depth) {
  const image = text[at] === "!", from = at + (image ? 1 : 0);
  const middle = text[from] === "[" ? closing(text, from, "[", "]") : -1;
  if (middle < 0 || text[middle + 1] !== "(") return null;
  const end = closing(text, middle + 1, "(", ")");
  if (end < 0) return null;
  const inside = text.slice(middle + 2, end).trim();
  const parts = /^<?([^\s>]*)>?(?:\s+["'(](.*)["')])?$/.exec(inside);
  if (!parts) return null;
  const words = text.slice(from + 1, middle);
  const made = link(parts[1], image ? ["image: " + (words || parts[1])] : inline(words, depth + 1),
    parts[2]);
  return made && { made, end: end + 1 };
}

// A run of *, _ or ~ may open or close what is emphasised.
function delimiter(text, at) {
  const c = text[at];
  let n = 1;
  while (text[at + n] === c) n++;
  const before = at ? text[at - 1] : " ", after = text[at + n] ?? " ";
  const space = /\s/, mark = /[\p{P}\p{S}]/u;
  const loose = (one, other) => !mark.test(one) || space.test(other) || mark.test(other);
  const left = !space.test(after) && loose(after, before);
  const right = !space.test(before) && loose(before, after);
  const word = c === "_";
  return { c, n, open: left && !(word && right && !mark.test(before)),
    close: right && !(word && left && !mark.test(after)) };
}

const WRAPS = { "*1": "em", "*2": "strong", "_1": "em", "_2": "strong", "~2": "del" };

// Pairs the runs among the parts, and wraps what lies between them.
function emphasise(parts) {
  const out = [], opened = []; // opened: places of runs in out
  for (const part of parts) {
    if (!part.c) { out.push(part); continue; }
    for (let looked = 0, k = opened.length - 1; part.close && part.n && k >= 0 && looked < 60;
      k--, looked++) {
      const from = out[opened[k]];
      if (from.c !== part.c || !from.n) continue;
      const n = Math.min(2, from.n, part.n), name = WRAPS[part.c + n];
      if (!name) continue;
      from.n -= n;
      part.n -= n;
      out.push(h(name, {}, settle(out.splice(opened[k] + 1))));
      opened.length = from.n ? k + 1 : k;
      k = opened.length;
    }
    if (!part.n) continue;
    if (part.open) opened.push(out.length);
    out.push(part);
  }
  return settle(out);
}

const settle = (parts) => parts.map((p) => (p.c ? p.c.repeat(p.n) : p)).filter((p) => p !== "");

// The place behind `at` of a run of just n `, or -1.
function sameRun(text, at, n) {
  for (let i = text.indexOf("`", at); i >= 0; i = text.indexOf("`", i)) {
    const from = i;
    while (text[i] === "`") i++;
    if (i - from === n) return from;
  }
  return -1;
}

// One blank at either end is the writer's way to begin with a `.
function unpadded(code) {
  const padded = code.startsWith(" ") && code.endsWith(" ") && code.trim();
  return padded ? code.slice(1, -1) : code;
}

function inline(text, depth = 0) {
  if (depth > DEEPEST) return [text];
  const parts = [], missing = new Set(); // missing: lengths of runs of ` that are closed nowhere
  let plain = "", i = 0;
  const flush = () => { if (plain) parts.push(plain); plain = ""; };
  const push = (e) => { flush(); parts.push(e); };
  while (i < text.length) {
    const c = text[i];
    if (c === "\\" && /[!-/:-@[-`{-~]/.test(text[i + 1] ?? "")) {
      plain += text[i + 1];
      i += 2;
    } else if (c === "`") {
      let n = 1;
      while (text[i + n] === "`") n++;
      const end = missing.has(n) ? -1 : sameRun(text, i + n, n);
      if (end < 0) {
        missing.add(n);
        plain += text.slice(i, i + n);
        i += n;
      } else {
        push(h("code", { text: unpadded(text.slice(i + n, end)) }));
        i = end + n;
      }
    } else if (c === "[" || (c === "!" && text[i + 1] === "[")) {
      const found = readLink(text, i, depth);
      if (found) { push(found.made); i = found.end; } else { plain += c; i++; }
    } else if (c === "<" || (c === "h" && text.startsWith("http", i))) {
      const found = (c === "<" ? /^<((?:https?:\/\/|mailto:)[^\s<>]{1,1000})>/
        : /^(https?:\/\/[^\s<>"'`\])}]*[^\s<>"'`\])}.,;:!?*_~])/).exec(text.slice(i, i + 1100));
      const e = found && !/\w/.test(plain.at(-1) ?? "") && link(found[1], [found[1]]);
      if (e) { push(e); i += found[0].length; } else { plain += c; i++; }
    } else if (c === "*" || c === "_" || c === "~") {
      const run = delimiter(text, i);
      push(run);
      i += run.n;
    } else if (c === "\n") {
      plain = plain.trimEnd();
      push(h("br"));
      i++;
    } else {
      plain += c;
      i++;
    }
  }
  flush();
  return emphasise(parts);
}

// ---------------------------------------------------------------- blocks

const begins = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) ||
  QUOTE.test(line) || ITEM.test(line);

function readFence(lines, i) {
  const [, fence, language] = FENCE.exec(lines[i]);
  const end = new RegExp("^ {0,3}" + fence[0].replace("`", "\\`") + "{" + fence.length + ",}\\s*$");
  let to = i + 1;
  while (to < lines.length && !end.test(lines[to])) to++;
  return { kind: "code", to: Math.min(to + 1, lines.length), language: language.trim(),
    lines: lines.slice(i + 1, to) };
}

// The items of a list, each as its lines without their indent.
function readList(lines, i) {
  const first = ITEM.exec(lines[i]), mark = first[2].slice(-1);
  const ordered = /\d/.test(first[2]), items = [];
  let to = i, loose = false, blank = false, width = 0;
  for (; to < lines.length; to++) {
    const line = lines[to], item = ITEM.exec(line), indent = /^ */.exec(line)[0].length;
    if (!line.trim()) { blank = true; continue; }
    if (items.length && indent >= width) {
      if (blank) items.at(-1).push("");
      items.at(-1).push(line.slice(width));
    } else if (item && !RULE.test(line) && item[2].slice(-1) === mark) {
      if (blank && items.length) loose = true;
      width = Math.min(item[0].length, item[1].length + item[2].length + 4);
      items.push([line.slice(item[0].length)]);
    } else if (items.length && !blank && !begins(line)) {
      items.at(-1).push(line.trim());
    } else {
      break;
    }
    blank = false;
  }
  return { kind: "list", to, ordered, start: parseInt(first[2], 10), items, loose };
}

function readTable(lines, i) {
  const under = lines[i + 1] ?? "";
  if (!lines[i].includes("|") || under.length > FAR || !DELIMITERS.test(under)) return null;
  const cells = (line) => line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1")
    .split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
  const head = cells(lines[i]), marks = cells(lines[i + 1]), rows = [];
  if (head.length !== marks.length) return null;
  let to = i + 2;
  for (; to < lines.length && lines[to].includes("|") && lines[to].trim(); to++)
    rows.push(cells(lines[to]).slice(0, head.length));
  const sides = marks.map((m) => (m.endsWith(":") ? (m.startsWith(":") ? "middle" : "right") : ""));
  return { kind: "table", to, head, rows, sides };
}

function readBlocks(lines) {
  const out = [];
  for (let i = 0; i < lines.length;) {
    let block, to = i + 1;
    const line = lines[i];
    if (!line.trim()) { i++; continue; }
    if (FENCE.test(line)) {
      block = readFence(lines, i);
    } else if (HEADING.test(line)) {
      const [, marks, words] = HEADING.exec(line);
      const closed = words.length < FAR ? words.replace(/\s+#+\s*$/, "") : words;
      block = { kind: "heading", to, level: marks.length, text: closed };
    } else if (RULE.test(line)) {
      block = { kind: "rule", to };
    } else if (QUOTE.test(line)) {
      while (to < lines.length && lines[to].trim() && (QUOTE.test(lines[to]) || !begins(lines[to])))
        to++;
      block = { kind: "quote", to, lines: lines.slice(i, to).map((l) => l.replace(QUOTE, "")) };
    } else if (ITEM.test(line)) {
      block = readList(lines, i);
    } else if (!(block = readTable(lines, i))) {
      while (to < lines.length && lines[to].trim() && !begins(lines[to])) to++;
      block = { kind: "text", to, text: lines.slice(i, to).map((l) => l.trimStart()).join("\n") };
    }
    block.from = i;
    out.push(block);
    i = block.to;
  }
  return out;
}

function codeBlock(block) {
  const text = block.lines.join("\n");
  return h("figure", { class: "code" },
    h("figcaption", {}, h("span", { text: block.language.split(/\s/)[0] || "text" }),
      h("button", { type: "button", class: "quiet", text: "Copy", "aria-label": "Copy this code",
        onclick: () => copy(text) })),
    h("pre", { tabindex: "0" }, h("code", { text })));
}

function listBlock(block, depth) {
  const start = block.ordered && block.start !== 1 ? block.start : null;
  return h(block.ordered ? "ol" : "ul", { start }, block.items.map((lines) => {
    const task = /^\[([ xX])\] /.exec(lines[0]);
    if (task) lines = [lines[0].slice(4), ...lines.slice(1)];
    const made = elements(lines, depth + 1);
    // One paragraph is the item itself, unless the list is spaced.
    if (!block.loose && made[0]?.tagName === "P") made.splice(0, 1, ...made[0].childNodes);
    const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ",
      "aria-label": task[1] === " " ? "open" : "done" });
    return h("li", { class: task && "task" }, box, made);
  }));
}

function element(block, depth) {
  switch (block.kind) {
  case "code": return codeBlock(block);
  case "heading": return h("h" + Math.min(6, block.level + 2), {}, inline(block.text, depth));
  case "rule": return h("hr");
  case "quote": return h("blockquote", {}, elements(block.lines, depth + 1));
  case "list": return listBlock(block, depth);
  case "table": {
    const row = (cells, name) => h("tr", {}, cells.map((cell, i) =>
      h(name, { class: block.sides[i] }, inline(cell, depth))));
    return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "table" },
      h("table", {}, h("thead", {}, row(block.head, "th")),
        h("tbody", {}, block.rows.map((cells) => row(cells, "td")))));
  }
  default: return h("p", {}, inline(block.text, depth));
  }
}

function elements(lines, depth) {
  if (depth > DEEPEST) return [h("p", { text: lines.join("\n") })];
  return readBlocks(lines).map((block) => element(block, depth));
}

const drawn = new WeakMap(); // of an element: the sources of the blocks that it shows

// Shows the text in the element; blocks that are there already stay as they are.
export function show(at, text) {
  const lines = text.replace(/\r\n?/g, "\n").replace(/\t/g, "    ").split("\n");
  const blocks = readBlocks(lines), old = drawn.get(at) ?? [];
  const sources = blocks.map((b) => lines.slice(b.from, b.to).join("\n"));
  let same = 0;
  while (same < old.length && old[same] === sources[same]) same++;
  while (at.children.length > same) at.lastElementChild.remove();
  at.append(...blocks.slice(same).map((block) => element(block, 0)));
  drawn.set(at, sources);
}
