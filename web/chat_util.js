// chat_util.js: what the modules of the page share: elements, announcements, small texts.

// An element. `text` sets its text, `class` its class, `on...` listen; other members are
// attributes; null, undefined and false are left out.
export function h(name, props = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "text") e.textContent = value;
    else if (key === "class") e.className = value;
    else if (key === "value") e.value = value;
    else if (key.startsWith("on")) e.addEventListener(key.slice(2), value);
    else e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.flat().filter((c) => c !== undefined && c !== null && c !== false));
  return e;
}

export const $ = (id) => document.getElementById(id);

// A name that is nobody else's. randomUUID is missing where a page comes by plain http.
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join("");
}

// Said once to screen readers, and shown for a moment where nothing else shows it.
let hide = 0;
export function say(text, shown = true) {
  $("said").textContent = text;
  $("said").classList.toggle("shown", shown);
  clearTimeout(hide);
  hide = setTimeout(() => $("said").classList.remove("shown"), 2500);
}

export function bytes(n) {
  if (n < 1000) return n + " B";
  return n < 1e6 ? (n / 1e3).toFixed(1) + " kB" : (n / 1e6).toFixed(1) + " MB";
}

// The clipboard's interface is there for secure pages only.
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = h("textarea", { value: text, class: "aside", "aria-hidden": "true" });
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) return say("The browser does not let this page copy.");
  }
  say("Copied");
}

export function download(name, type, text) {
  const url = URL.createObjectURL(new Blob([text], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// Asks in a dialog of the page. Resolves to what `ok` gives, or null where it was left.
export function ask(title, content, ok, danger = false) {
  return new Promise((resolve) => {
    let answer = null;
    const form = h("form", { method: "dialog" },
      h("h2", { text: title }), content,
      h("div", { class: "row end" },
        h("button", { type: "button", text: "Cancel", onclick: () => box.close() }),
        h("button", { class: danger ? "danger" : "main", text: ok.label })));
    const box = h("dialog", { "aria-label": title }, form);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const value = ok.read();
      if (value === undefined) return; // not what it should be: the dialog stays
      answer = value;
      box.close();
    });
    // The focus goes and comes by hand: Chromium's own way back to a field leaves it unable to be
    // written in.
    const before = document.activeElement;
    before?.blur();
    box.addEventListener("close", () => {
      box.remove();
      before?.focus();
      resolve(answer);
    });
    document.body.append(box);
    box.showModal();
  });
}
