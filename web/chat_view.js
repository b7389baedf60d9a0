// chat_view.js: a turn of a conversation as elements: thoughts and calls folded, files, sources,
// figures, what went wrong, and what can be done with it.
import { show } from "./chat_markdown.js";
import { bytes, copy, h } from "./chat_util.js";

const NAMES = { user: "You", assistant: "Assistant", tool: "Result of a tool" };

// Calls of tools are JSON: laid out where they can be read.
function laidOut(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; }
}

function fold(summary, content, open = false) {
  return h("details", { class: "fold", open }, h("summary", { text: summary }), content);
}

function sources(list) {
  if (!list?.length) return null;
  return h("details", { class: "fold", open: true }, h("summary", { text: "Sources" }),
    h("ol", { class: "sources" }, list.map((s) => {
      const safe = /^https?:\/\//.test(s.url ?? "");
      const name = s.title || s.url || "source";
      return h("li", {}, safe
        ? h("a", { href: s.url, target: "_blank", rel: "noopener noreferrer", text: name }) : name,
      s.text && h("div", { class: "dim", text: s.text }));
    })));
}

function speed(node) {
  const u = node.usage;
  if (!u) return "";
  const parts = [u.written + (u.written === 1 ? " token" : " tokens")];
  if (u.write_s >= 0.02 && u.written > 1) parts.push((u.written / u.write_s).toFixed(1) + " tokens/s");
  if (u.first_s > 0) parts.push("first after " + u.first_s.toFixed(u.first_s < 10 ? 2 : 0) + " s");
  return parts.join(" · ");
}

// The turn of a node. `does` holds what its buttons call, with the node; `place` is where it stands
// among its siblings: { at, of }.
export class Turn {
  constructor(node, place, does) {
    this.node = node;
    this.does = does;
    this.body = h("div", { class: "body" + (node.role === "user" ? "" : " text") });
    this.above = h("div", { class: "above" });
    this.below = h("div", { class: "below" });
    this.tools = h("div", { class: "row tools" });
    this.element = h("article", { class: "turn " + node.role, "aria-label": NAMES[node.role],
      "data-id": node.id }, h("h2", { text: NAMES[node.role] }), this.above, this.body, this.below,
    this.tools);
    this.place = place;
    this.draw(false);
  }

  draw(writing) {
    const n = this.node;
    if (n.role === "user") {
      this.body.textContent = n.content;
      this.body.hidden = !n.content;
    } else if (n.role === "tool") {
      this.body.replaceChildren(fold("answered", h("pre", { text: laidOut(n.content) })));
    } else {
      this.drawThought(writing);
      show(this.body, n.content);
    }
    this.body.classList.toggle("writing", writing);
    this.body.classList.toggle("dim", Boolean(n.expired));
    this.element.setAttribute("aria-busy", writing);
    if (!writing) return this.drawRest();
    this.tools.replaceChildren(h("span", { class: "dim figures", text: speed(n) }));
    if (n.sources && !this.below.children.length) this.below.replaceChildren(sources(n.sources));
  }

  drawThought(writing) {
    const n = this.node;
    if (!n.thought) return this.above.replaceChildren();
    const thinking = writing && !n.content;
    const words = thinking ? "Thinking…"
      : "Thought" + (n.thought_s ? " for " + n.thought_s.toFixed(0) + " s" : "");
    if (!this.thought) {
      this.thought = h("div", { class: "text" });
      this.above.replaceChildren(fold(words, this.thought));
    }
    this.above.querySelector("summary").textContent = words;
    show(this.thought, n.thought);
  }

  drawRest() {
    const n = this.node, parts = [];
    if (n.files?.length) parts.push(h("div", { class: "row wrap" }, n.files.map((f) =>
      fold(f.name + ", " + bytes(f.size), h("pre", { text: f.text })))));
    for (const call of n.calls ?? []) parts.push(this.call(call));
    parts.push(sources(n.sources));
    if (n.end === "length") parts.push(h("p", { class: "dim",
      text: "The answer ends here because its longest length, or the context, was reached." }));
    if (n.end === "stopped") parts.push(h("p", { class: "dim", text: "Stopped." }));
    if (n.problem) parts.push(this.problem());
    this.below.replaceChildren(...parts.filter(Boolean));
    this.tools.replaceChildren(...this.buttons().filter(Boolean));
  }

  call(call) {
    const answered = this.does.answered(this.node, call);
    const box = fold("Calls " + call.name, h("pre", { text: laidOut(call.arguments) }), !answered);
    if (answered || this.node.problem) return box;
    const area = h("textarea", { rows: "2", "aria-label": "What " + call.name + " gives" });
    box.append(area, h("div", { class: "row end" }, h("button", { type: "button",
      text: "Give the result", onclick: () => this.does.result(this.node, call, area.value) })));
    return box;
  }

  problem() {
    const n = this.node, d = this.does;
    return h("div", { class: "problem", role: "alert" }, n.problem,
      h("div", {},
        h("button", { type: "button", text: "Try again", onclick: () => d.again(n) }),
        n.content && !n.calls?.length && h("button", { type: "button", text: "Go on from here",
          onclick: () => d.goOn(n) })));
  }

  button(text, label, run) {
    return h("button", { type: "button", class: "quiet", text, "aria-label": label,
      onclick: () => run(this.node) });
  }

  buttons() {
    const n = this.node, d = this.does, p = this.place, mine = n.role === "user";
    const out = [];
    if (p.of > 1) out.push(
      h("button", { type: "button", class: "quiet", text: "‹", "aria-label": "The version before",
        disabled: p.at === 0, onclick: () => d.branch(n, -1) }),
      h("span", { class: "dim", text: p.at + 1 + " of " + p.of }),
      h("button", { type: "button", class: "quiet", text: "›", "aria-label": "The next version",
        disabled: p.at + 1 === p.of, onclick: () => d.branch(n, 1) }));
    out.push(this.button("Copy", mine ? "Copy your message" : "Copy this text",
      () => copy(n.content)));
    if (mine) out.push(this.button("Edit", "Edit your message", () => this.edit()));
    if (n.role === "assistant") {
      out.push(this.button("Again", "Write this answer again", d.again));
      if ((n.end === "length" || n.end === "stopped") && n.content && !n.calls?.length)
        out.push(this.button("Go on", "Go on with this answer", d.goOn));
      out.push(h("span", { class: "dim figures", text: speed(n) }));
    }
    return out;
  }

  // The message in a field, in place of itself; sending it begins a branch.
  edit() {
    const area = h("textarea", { rows: Math.min(14, this.node.content.split("\n").length + 1),
      value: this.node.content, "aria-label": "Your message" });
    const leave = () => {
      this.draw(false);
      this.tools.querySelector("[aria-label^=Edit]").focus();
    };
    const send = () => this.does.edit(this.node, area.value);
    area.addEventListener("keydown", (event) => {
      if (event.key === "Escape") { event.stopPropagation(); leave(); }
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
    });
    this.body.hidden = false;
    this.body.replaceChildren(area);
    this.tools.replaceChildren(
      h("button", { type: "button", class: "main", text: "Send", onclick: send }),
      h("button", { type: "button", text: "Cancel", onclick: leave }));
    area.focus();
  }
}
