// chat_settings.js: the form of a conversation's settings. An empty field is left to the server.
import { h } from "./chat_util.js";

const NUMBERS = [
  ["temperature", "Temperature", 0, 100, "0 always takes the likeliest"],
  ["top_p", "Top p", 0, 1, "share of probability that is kept"],
  ["top_k", "Top k", 0, 1e9, "how many tokens are kept; 0: all"],
  ["min_p", "Min p", 0, 1, "least share of the likeliest"],
  ["max_tokens", "Longest answer", 1, 1e9, "tokens"],
  ["repetition_penalty", "Repetition penalty", 0.01, 100, "1: none"],
  ["presence_penalty", "Presence penalty", -2, 2, "0: none"],
  ["frequency_penalty", "Frequency penalty", -2, 2, "0: none"],
  ["seed", "Seed", -9007199254740991, 9007199254740991, "the same one, the same answer"],
];
const WHOLE = ["top_k", "max_tokens", "seed"];

function checkTools(field) {
  let wrong = "";
  if (field.value.trim()) {
    try {
      const tools = JSON.parse(field.value);
      if (!Array.isArray(tools) || !tools.every((t) => t?.type === "function" && t.function?.name))
        wrong = "A list of {\"type\": \"function\", \"function\": {\"name\": ...}} is needed.";
    } catch (e) { wrong = "This is no JSON: " + e.message; }
  }
  field.setCustomValidity(wrong);
}

// { element, read }: read gives { system, settings, asDefault }. No field can be wrong: the browser
// sees to that.
export function settingsForm(c) {
  const system = h("textarea", { rows: "4", value: c.system });
  const stop = h("textarea", { rows: "2", value: c.settings.stop ?? "" });
  const tools = h("textarea", { rows: "3", value: c.settings.tools ?? "", spellcheck: "false" });
  const asDefault = h("input", { type: "checkbox" });
  const numbers = NUMBERS.map(([name, label, min, max, hint]) => {
    const step = WHOLE.includes(name) ? 1 : "any";
    const field = h("input", { type: "number", min, max, name, step,
      value: c.settings[name] ?? "", title: hint });
    return { name, field, label: h("label", {}, label, field, h("small", { text: hint })) };
  });
  tools.addEventListener("input", () => checkTools(tools));
  const element = h("div", { class: "fields" },
    h("label", { class: "wide" }, "System prompt", system),
    numbers.map((n) => n.label),
    h("label", { class: "wide" }, "Texts that end an answer, one a line", stop),
    h("label", { class: "wide" }, "Tools that may be called, as JSON", tools),
    h("label", { class: "wide row" }, h("span", {}, asDefault,
      " Begin new conversations with these settings")));
  const read = () => {
    const settings = {};
    for (const n of numbers) if (n.field.value !== "") settings[n.name] = Number(n.field.value);
    if (stop.value.trim()) settings.stop = stop.value;
    if (tools.value.trim()) settings.tools = tools.value;
    return { system: system.value, settings, asDefault: asDefault.checked };
  };
  return { element, read };
}
