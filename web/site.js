// site.js: draws the page of a site's run (site_html.c), within which it stands, from the JSON beside
// it.
"use strict";
const D = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const T = D.t, N = T.length, END = D.days;
let from = 0, to = END, at = null;  // days: what is shown, and where the cursor is
const charts = [];

const make = (tag, text, kind) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
};
const color = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const tint = (i) => color("c" + i % 8);
const si = (v, unit) => {
  if (v === null || !isFinite(v)) return "N/A";
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, letter] of steps)
    if (Math.abs(v) >= size) return (v / size).toPrecision(3) + " " + letter + unit;
  return +v.toPrecision(3) + " " + unit;
};
const share = (v) => v === null ? "N/A" : (100 * v).toFixed(1) + " %";
const moment = (day) => {
  const s = Math.round((day - Math.floor(day)) * 86400);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  return "day " + (Math.floor(day) + 1) + ", " + two(s / 3600) + ":" + two(s % 3600 / 60);
};
const index = (day) => {  // the report at or before a day
  let low = 0, high = N - 1;
  while (low < high) {
    const m = (low + high + 1) >> 1;
    if (T[m] <= day) low = m;
    else
      high = m - 1;
  }
  return low;
};

// ---------------------------------------------------------------- charts over time
// Of the reports behind one pixel the lowest and the highest are drawn: no spike vanishes.
function chart(id, spec) {
  const canvas = $(id), key = make("div", undefined, "key");
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "img");
  canvas.after(key);
  const c = {canvas, key, ...spec};
  charts.push(c);
  const day = (e) => {
    const r = canvas.getBoundingClientRect();
    return Math.min(
        Math.max(from + (e.clientX - r.left - LEFT) / (r.width - LEFT - 4) * (to - from), 0), END);
  };
  let begin = null;
  canvas.addEventListener("pointerdown", (e) => {
    begin = day(e);
  });
  canvas.addEventListener("pointermove", (e) => {
    at = day(e);
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    begin = null;
  });
  canvas.addEventListener("pointerup", (e) => {
    const end = day(e);
    if (begin !== null && Math.abs(end - begin) > (to - from) / 50)
      view(Math.min(begin, end), Math.max(begin, end));
    begin = null;
  });
  canvas.addEventListener("dblclick", () => view(0, END));
  canvas.addEventListener("keydown", (e) => {
    const step = (to - from) / 100;
    if (e.key === "ArrowRight") at = Math.min((at ?? from) + step, END);
    else if (e.key === "ArrowLeft")
      at = Math.max((at ?? to) - step, 0);
    else if (e.key === "+")
      zoom(0.5);
    else if (e.key === "-")
      zoom(2);
    else if (e.key === "Escape")
      view(0, END);
    else
      return;
    e.preventDefault();
    draw();
  });
}
const LEFT = 58;
function view(a, b) {
  const least = Math.min(END, 3 * END / N);
  if (b - a < least) b = a + least;
  if (b > END) {
    a -= b - END;
    b = END;
  }
  from = Math.max(a, 0);
  to = b;
  draw();
}
function zoom(f) {
  const middle = at ?? (from + to) / 2, half = (to - from) * f / 2;
  view(middle - half, middle + half);
}
function frame(c) {
  const r = c.canvas.getBoundingClientRect(), d = window.devicePixelRatio || 1;
  c.canvas.width = Math.round(r.width * d);
  c.canvas.height = Math.round(r.height * d);
  const g = c.canvas.getContext("2d");
  g.setTransform(d, 0, 0, d, 0, 0);
  g.font = "12px system-ui, sans-serif";
  const w = r.width, h = r.height, x = (day) => LEFT + (day - from) / (to - from) * (w - LEFT - 4);
  return {g, w, h, x, top: 6, bottom: h - 20};
}
function ticks(low, high, n) {
  const raw = (high - low) / n || 1, size = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((k) => k * size).find((k) => k >= raw * 0.999), out = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9 * step; v += step)
    out.push(+v.toPrecision(12));
  return out;
}
function axes(f, low, high, say) {
  const {g, w, x, top, bottom} = f,
                       y = (v) => bottom - (v - low) / (high - low || 1) * (bottom - top);
  g.strokeStyle = color("line");
  g.fillStyle = color("dim");
  g.lineWidth = 1;
  g.textAlign = "right";
  g.textBaseline = "middle";
  for (const v of ticks(low, high, 4)) {
    g.beginPath();
    g.moveTo(LEFT, y(v));
    g.lineTo(w - 4, y(v));
    g.stroke();
    g.fillText(say(v), LEFT - 5, y(v));
  }
  g.textAlign = "center";
  g.textBaseline = "top";
  for (const v of ticks(from, to, Math.max(2, Math.floor(w / 110))))
    g.fillText("day " + +(v + 1).toFixed(3), Math.min(x(v), w - 26), bottom + 5);
  return y;
}
function columns(f, low, high) {  // pixels with the reports behind them
  const out = [], a = Math.max(index(from) - 1, 0), b = Math.min(index(to) + 1, N - 1);
  let px = null;
  for (let i = a; i <= b; i++) {
    const p = Math.round(f.x(T[i]));
    if (px !== null && p === px) {
      const c = out[out.length - 1];
      c.low = Math.min(c.low, low(i));
      c.high = Math.max(c.high, high(i));
      c.i = i;
    } else
      out.push({x: p, low: low(i), high: high(i), i});
    px = p;
  }
  return out;
}
function clip(f) {
  f.g.save();
  f.g.beginPath();
  f.g.rect(LEFT, 0, f.w - LEFT, f.h);
  f.g.clip();
}
function line(f, y, low, high, stroke, width) {
  const {g} = f;
  clip(f);
  g.strokeStyle = stroke;
  g.lineWidth = width || 1.5;
  g.beginPath();
  for (const c of columns(f, low, high)) {
    g.lineTo(c.x, y(c.low));
    if (c.high !== c.low) g.lineTo(c.x, y(c.high));
  }
  g.stroke();
  g.restore();
}
function area(f, y, lower, upper, fill) {
  const {g} = f, a = columns(f, lower, lower), b = columns(f, upper, upper);
  clip(f);
  g.fillStyle = fill;
  g.beginPath();
  for (const c of a) g.lineTo(c.x, y(c.low));
  for (const c of b.reverse()) g.lineTo(c.x, y(c.high));
  g.fill();
  g.restore();
}
function marks(f) {  // incidents, and the cursor
  const {g, x, top, bottom} = f;
  clip(f);
  g.strokeStyle = color("bad");
  g.setLineDash([2, 3]);
  for (const e of D.incidents) {
    g.beginPath();
    g.moveTo(x(e.day), top);
    g.lineTo(x(e.day), bottom);
    g.stroke();
  }
  g.setLineDash([]);
  if (at !== null) {
    g.strokeStyle = color("ink");
    g.beginPath();
    g.moveTo(x(at), top);
    g.lineTo(x(at), bottom);
    g.stroke();
  }
  g.restore();
}
function legend(c, items, i) {
  c.key.replaceChildren(...items.map((s) => {
    const e = make("span"), dot = make("i");
    dot.style.background = s.color;
    e.append(dot, s.name + (i === null ? "" : ": " + s.say(s.of(i))));
    return e;
  }));
}
function draw() {
  const i = at === null ? null : index(at);
  $("at").textContent = at === null ? "day 1 to " + Math.ceil(END) : moment(at);
  for (const c of charts) {
    const f = frame(c), items = c.series();
    let low = c.low ?? 0, high = -Infinity;
    const a = index(from), b = index(to);
    for (let k = a; k <= b; k++) {
      let sum = 0;
      for (const s of items) {
        if (s.stack) sum += s.of(k);
        else {
          high = Math.max(high, (s.high || s.of)(k));
          if (c.low === undefined) low = Math.min(low, (s.least || s.of)(k));
        }
      }
      high = Math.max(high, sum);
    }
    if (!(high > low)) high = low + 1;
    if (c.rows) {
      rows(c, f);
      legend(c, c.scale(), i === null ? null : i);
      continue;
    }
    const y = axes(f, low, high + (high - low) * 0.04, c.say);
    let base = () => 0;
    for (const s of items)
      if (s.stack) {
        const under = base;
        base = (k) => under(k) + s.of(k);
        area(f, y, under, base, s.color);
      }
    for (const s of items)
      if (!s.stack) {
        f.g.globalAlpha = 0.35;
        if (s.band) line(f, y, s.least, s.high, s.color, 1);
        f.g.globalAlpha = 1;
        line(
            f, y, s.band ? s.of : s.least || s.of, s.band ? s.of : s.high || s.of, s.color,
            s.width);
      }
    marks(f);
    legend(c, items, i);
  }
}
function rows(c, f) {  // a heat map: a row each, darker where more
  const {g, x, w, top, bottom} = f, list = c.rows(), h = (bottom - top) / Math.max(list.length, 1);
  axes(f, 0, 1, () => "");
  clip(f);
  list.forEach((r, k) => {
    let last = null;
    for (const p of columns(f, (i) => r.of(i), (i) => r.of(i))) {
      const left = last === null ? LEFT : last;
      g.fillStyle = r.color;
      g.globalAlpha = Math.min(Math.max(c.lowest ? p.low : p.high, 0), 1);
      g.fillRect(left, top + k * h, Math.max(p.x - left, 1), Math.max(h - 1, 1));
      last = p.x;
    }
    g.globalAlpha = 1;
  });
  g.restore();
  g.fillStyle = color("ink");
  g.textAlign = "right";
  g.textBaseline = "middle";
  list.forEach((r, k) => {
    if (h > 9)
      g.fillText(
          r.name.length > 9 ? r.name.slice(0, 8) + "\u2026" : r.name, LEFT - 4,
          top + (k + 0.5) * h);
  });
  marks(f);
}

const watts = (v) => si(v, "W"), plain = (v) => si(v, "").trim();
chart("power", {
  say: watts,
  series: () =>
      [...D.sources.map(
           (s, k) =>
               ({name: s.name, color: tint(k + 1), stack: true, of: (i) => s.w[i], say: watts})),
       {
         name: "battery",
         color: tint(0),
         stack: true,
         of: (i) => Math.max(D.battery[i], 0),
         say: watts
       },
       {
         name: "load, from its least to its most",
         color: color("ink"),
         of: (i) => D.load[i],
         least: (i) => D.load_low[i],
         high: (i) => D.load_high[i],
         say: watts,
         band: true
       },
       {name: "not served", color: color("bad"), of: (i) => D.unserved[i], say: watts, width: 2}]
});
if (D.has_battery)
  chart("charge", {
    say: share,
    series:
        () => [{name: "charge of the battery", color: tint(0), of: (i) => D.charge[i], say: share}]
  });
chart("nodes", {
  say: plain,
  series: () =>
      [{name: "in jobs", color: tint(2), stack: true, of: (i) => D.busy[i], say: plain}, {
        name: "free",
        color: tint(0),
        stack: true,
        of: (i) => Math.max(D.installed[i] - D.out[i] - D.busy[i], 0),
        say: plain
      },
       {name: "out of service", color: color("bad"), stack: true, of: (i) => D.out[i], say: plain},
       {name: "standing", color: color("ink"), of: (i) => D.standing[i], say: plain}]
});
if (D.jobs.length)
  chart("jobs", {
    say: share,
    lowest: true,
    rows: () => D.jobs.map((j, k) => ({name: j.name, color: tint(k), of: (i) => j.share[i]})),
    series: () => [],
    scale: () =>
        D.jobs.map((j, k) => ({name: j.name, color: tint(k), of: (i) => j.share[i], say: share}))
  });
chart("halls", {
  say: share,
  rows: () => D.halls.map(
      (b) =>
          ({name: b.name, color: color("bad"), of: (i) => Math.min(Math.sqrt(b.out[i]) * 2, 1)})),
  series: () => [],
  scale: () =>
      D.halls.map((b) => ({name: b.name, color: color("bad"), of: (i) => b.out[i], say: share}))
});
chart("heat", {
  say: (v) => +v.toFixed(1) + " C",
  low: undefined,
  series: () =>
      [{name: "air", color: tint(1), of: (i) => D.air[i], say: (v) => v + " C"},
       {name: "wet bulb", color: tint(0), of: (i) => D.wet[i], say: (v) => v + " C"},
       {name: "coolant", color: tint(2), of: (i) => D.coolant[i], say: (v) => v + " C"}]
});
chart("pue", {
  say: (v) => v.toFixed(2),
  low: 1,
  series: () => [{name: "PUE", color: tint(5), of: (i) => D.pue[i], say: (v) => v.toFixed(3)}]
});
if (D.permits.length)
  chart("permit", {
    say: share,
    series: () =>
        D.permits.map((p, k) => ({name: p.name, color: tint(k), of: (i) => p.share[i], say: share}))
            .concat([{name: "permit", color: color("bad"), of: () => 1, say: share}])
  });

// ---------------------------------------------------------------- tables
const CAUSES = D.parts;
for (const j of D.jobs) {
  const tr = make("tr"), bar = make("div", undefined, "bar"), td = make("td"), say = [];
  j.parts.forEach((v, k) => {
    if (v <= 0) return;
    const e = make("span");
    e.style.width = 100 * v + "%";
    e.style.background = k === 0 ? color("c2") : tint(k + 2);
    e.title = CAUSES[k] + " " + share(v);
    bar.append(e);
    if (v >= 5e-4) say.push(CAUSES[k] + " " + share(v));
  });
  td.append(bar, make("small", say.join(", ")));
  tr.append(make("td", j.name), td, make("td", String(j.interruptions), "n"));
  $("waterfall").append(tr);
}
for (const e of D.incidents) {
  const tr = make("tr");
  tr.tabIndex = 0;
  tr.append(
      make("td", moment(e.day)), make("td", e.what + (e.then ? " \u2192 " + e.then : "")),
      make("td", si(e.accelerator_h, "").trim(), "n"), make("td", si(e.unserved_wh, "Wh"), "n"));
  const go = () => {
    at = e.day;
    view(e.day - END / 60, e.day + END / 30);
    $("power").focus();
  };
  tr.addEventListener("click", go);
  tr.addEventListener("keydown", (k) => {
    if (k.key === "Enter" || k.key === " ") {
      k.preventDefault();
      go();
    }
  });
  $("incidents").append(tr);
}
for (const [id, there] of [
         ["incidents", D.incidents.length], ["charge", D.has_battery], ["permit", D.permits.length],
         ["jobs", D.jobs.length], ["waterfall", D.jobs.length], ["lines", D.lines.length]])
  if (!there) $(id).closest("section").hidden = true;
for (const [name, value, help, before] of D.figures) {
  const tr = make("tr");
  tr.append(make("td", name), make("td", value, "n"));
  if (before !== undefined) tr.append(make("td", before === value ? "same" : before, "n"));
  tr.append(make("td", help));
  $("figures").append(tr);
}
$("figures-head").hidden = !D.injected.length;
const most = Math.max(...D.cost.map((c) => c[1]), 1);
for (const [name, usd] of D.cost) {
  const tr = make("tr"), td = make("td"), bar = make("div", undefined, "bar"), e = make("span");
  e.style.width = 100 * usd / most + "%";
  e.style.background = color("c0");
  bar.append(e);
  td.append(bar);
  tr.append(make("td", name), td, make("td", si(usd, "USD"), "n"));
  $("cost").append(tr);
}
const tall = Math.max(...D.lines.map((l) => l[1]), D.line_limit || 0, 1);
for (const [name, w] of D.lines) {
  const tr = make("tr"), td = make("td"), bar = make("div", undefined, "bar"), e = make("span");
  e.style.width = 100 * w / tall + "%";
  e.style.background = D.line_limit && w > D.line_limit ? color("bad") : color("c5");
  bar.append(e);
  td.append(bar);
  tr.append(make("td", name), td, make("td", si(w, "W"), "n"));
  $("lines").append(tr);
}
// ---------------------------------------------------------------- what if
// The server behind the page lives through the scenario once more, with these events besides; what it
// shows then comes with a reload, at the same place.
const KINDS = {
  heat_wave: "lasts: 3 d, kelvin: 6",
  turbine_trip: "units: 1, lasts: 8 h",
  fuel_loss: "share: 50 %, lasts: 6 h",
  curtailment: "watts: 100 MW, lasts: 3 h",
  grid_limit: "watts: 100 MW, lasts: 6 h",
  sag_train: "depth: 0.4, times: [14, 28, 45]",
  chiller_fault: "share: 50 %, lasts: 6 h",
  cdu_pump: "units: 576, lasts: 8 h",
  leak: "l_per_min: 3",
  maintenance: "units: 576, lasts: 12 h",
  bad_firmware: "per_day: 0.1, factor: 3, lasts: 7 d",
  false_alarms: "factor: 3, lasts: 7 d",
  flap_storm: "per_day: 4, lasts: 1 d",
  order_delayed: "lasts: 14 d",
  emissions: "nox_ppm: 25"
};
async function inject(events) {
  $("put").disabled = true;
  $("inject-says").textContent = "running\u2026";
  try {
    const answer = await fetch("inject", {method: "POST", body: JSON.stringify({events})});
    const said = await answer.json();
    if (!answer.ok) throw new Error([said.error.message, said.error.hint].filter(Boolean).join(": "));
    sessionStorage.setItem("view", JSON.stringify([from, to, at]));
    location.reload();
  } catch (e) {
    $("inject-says").textContent = e.message;
    $("put").disabled = false;
  }
}
function whatIf() {
  $("what-if").hidden = !D.live;
  if (!D.live) return;
  $("kind").append(...Object.keys(KINDS).map((k) => {
    const o = make("option", k.replace("_", " "));
    o.value = k;
    return o;
  }));
  const fill = () => {
    const day = Math.max(at ?? (from + to) / 2, 0).toFixed(3);
    $("event").value = "{at: " + +day + " d, what: " + $("kind").value + ", " +
        KINDS[$("kind").value] + "}";
  };
  $("kind").addEventListener("change", fill);
  for (const c of charts) c.canvas.addEventListener("pointerup", fill);
  $("inject").addEventListener("submit", (e) => {
    e.preventDefault();
    inject([...D.injected, $("event").value]);
  });
  $("injected").append(...D.injected.map((text, k) => {
    const li = make("li", text + " "), b = make("button", "take out");
    b.setAttribute("aria-label", "take out " + text);
    b.addEventListener("click", () => inject(D.injected.filter((_, i) => i !== k)));
    li.append(b);
    return li;
  }));
  const view = JSON.parse(sessionStorage.getItem("view") ?? "null");
  if (view) [from, to, at] = view;
  sessionStorage.removeItem("view");
  fill();
}
whatIf();
// ---------------------------------------------------------------- played
let playing = false, before = 0;
function tick(now) {
  if (!playing) return;
  at = Math.min(
      (at ?? from) + Math.min((now - before) / 1000, 0.5) * +$("speed").value / 86400, END);
  before = now;
  if (at >= END) play(false);
  if (at > to || at < from) view(at, at + to - from);
  else
    draw();
  requestAnimationFrame(tick);
}
function play(on) {
  if (on && at !== null && at >= END) at = 0;
  playing = on;
  $("play").textContent = on ? "pause" : "play";
  before = performance.now();
  if (on) requestAnimationFrame(tick);
}
$("play").addEventListener("click", () => play(!playing));
$("in").addEventListener("click", () => zoom(0.5));
$("outer").addEventListener("click", () => zoom(2));
$("all").addEventListener("click", () => {
  at = null;
  view(0, END);
});
addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());
draw();
document.documentElement.dataset.ready = "yes";
