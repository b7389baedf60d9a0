// chart.js: charts over time, and what moves through them, on pages that stand alone (http_page.c). The
// page's own script comes behind it: it says how many seconds a unit of time has (UNIT_S), what a moment
// is called (moment, tickText, wholeText), where ticks stand (timeTicks), which charts there are (chart), and
// begins (begin).
//
// The JSON beside it has t, the times of its reports, end, the last of all times, and incidents, each
// with its time as `at`. A value that is null is not known, and nothing is drawn for it.
"use strict";
const $ = (id) => document.getElementById(id);
let D, T, N, END;
let from = 0, to = 0, at = null;  // what is shown, and where the cursor is
let cursorMoved = () => {};       // what the page does then
let cursorWas = null;
const charts = [];

// Takes data in; what is looked at stays, and who looks at all still does.
function take(data) {
  const whole = D === undefined || (from <= 0 && to >= END);
  D = data;
  T = D.t;
  N = T.length;
  END = D.end;
  if (whole) {
    from = 0;
    to = END;
  }
}
take(JSON.parse($("data").textContent));

const make = (tag, text, kind) => {
  const e = document.createElement(tag);
  if (text !== undefined) e.textContent = text;
  if (kind) e.className = kind;
  return e;
};
const color = (name) =>
    getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const tint = (i) => color("c" + i % 8);
// Where time went, [name, share] each, as one bar and what its colours are, the first of them the good one.
const PART_COLORS = ["c2", "c7", "c4", "c0", "c1", "c3", "c6", "c5", "bad", "dim", "line", "ink"];
function partsBar(parts) {
  const td = make("td"), bar = make("div", undefined, "bar"), key = make("div", undefined, "key");
  parts.forEach(([name, v], k) => {
    if (v <= 0) return;
    const e = make("span"), dot = make("i"), say = make("span");
    e.style.width = 100 * v + "%";
    e.style.background = dot.style.background = `var(--${PART_COLORS[k % PART_COLORS.length]})`;
    e.title = name + " " + share(v);
    bar.append(e);
    say.append(dot, name + " " + share(v));
    if (v >= 5e-4) key.append(say);
  });
  td.append(bar, key);
  return td;
}
const si = (v, unit) => {
  if (v === null || !isFinite(v)) return "N/A";
  const steps = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, letter] of steps)
    if (Math.abs(v) >= size) return (v / size).toPrecision(3) + " " + letter + unit;
  return +v.toPrecision(3) + " " + unit;
};
const share = (v) => v === null ? "N/A" : (100 * v).toFixed(1) + " %";
const index = (time) => {  // the report at or before a time
  let low = 0, high = N - 1;
  while (low < high) {
    const m = (low + high + 1) >> 1;
    if (T[m] <= time) low = m;
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
  const time = (e) => {
    const r = canvas.getBoundingClientRect();
    return Math.min(
        Math.max(from + (e.clientX - r.left - LEFT) / (r.width - LEFT - 4) * (to - from), 0), END);
  };
  let first = null, pan = null;  // where a drag began; with shift held, and what was shown there
  canvas.addEventListener("pointerdown", (e) => {
    if (e.shiftKey) {
      pan = {x: e.clientX, from, to};
      canvas.setPointerCapture(e.pointerId);
    } else
      first = time(e);
  });
  canvas.addEventListener("pointermove", (e) => {
    if (pan) {
      const shift = (pan.x - e.clientX) / (canvas.clientWidth - LEFT - 4) * (pan.to - pan.from);
      view(pan.from + shift, pan.to + shift);
      return;
    }
    at = time(e);
    draw();
  });
  canvas.addEventListener("pointerleave", () => {
    first = null;
  });
  canvas.addEventListener("pointerup", (e) => {
    const end = time(e);
    if (first !== null && Math.abs(end - first) > (to - from) / 50)
      view(Math.min(first, end), Math.max(first, end));
    else if (!pan) {  // a click, or a tap, which no move comes before
      at = end;
      draw();
    }
    first = pan = null;
  });
  canvas.addEventListener("dblclick", () => view(0, END));
  canvas.addEventListener("keydown", (e) => {
    const step = (to - from) / 100;
    if (e.shiftKey && e.key === "ArrowRight") view(from + 10 * step, to + 10 * step);
    else if (e.shiftKey && e.key === "ArrowLeft")
      view(from - 10 * step, to - 10 * step);
    else if (e.key === "ArrowRight")
      at = Math.min((at ?? from) + step, END);
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
function view(a, b) {  // as wide as it is asked for, within what there is
  const least = Math.min(END, 3 * END / N);
  if (b - a < least) b = a + least;
  if (b - a > END) b = a + END;
  const over = Math.max(b - END, 0) + Math.min(a, 0);
  from = a - over;
  to = b - over;
  draw();
}
function zoom(f) {
  const middle = at ?? (from + to) / 2, half = (to - from) * f / 2;
  view(middle - half, middle + half);
}
// A click on a line of a table, or a key there, shows a moment on the charts.
function leadTo(tr, time, id) {
  tr.tabIndex = 0;
  const go = () => {
    at = time;
    view(time - END / 60, time + END / 30);
    $(id).focus();
  };
  tr.addEventListener("click", go);
  tr.addEventListener("keydown", (k) => {
    if (k.key === "Enter" || k.key === " ") {
      k.preventDefault();
      go();
    }
  });
}
function frame(c) {
  const r = c.canvas.getBoundingClientRect(), d = window.devicePixelRatio || 1;
  c.canvas.width = Math.round(r.width * d);
  c.canvas.height = Math.round(r.height * d);
  const g = c.canvas.getContext("2d");
  g.setTransform(d, 0, 0, d, 0, 0);
  g.font = "12px system-ui, sans-serif";
  const w = r.width, h = r.height, x = (time) => LEFT + (time - from) / (to - from) * (w - LEFT - 4);
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
  const all = ticks(low, high, 4);
  let texts = all.map(say);
  if (texts[0] && new Set(texts).size < all.length) texts = all.map((v) => String(+v.toPrecision(6)));
  for (const [k, v] of all.entries()) {
    g.beginPath();
    g.moveTo(LEFT, y(v));
    g.lineTo(w - 4, y(v));
    g.stroke();
    g.fillText(texts[k], LEFT - 5, y(v));
  }
  g.textAlign = "center";
  g.textBaseline = "top";
  for (const v of timeTicks(from, to, Math.max(2, Math.floor(w / 110))))
    g.fillText(tickText(v), Math.min(x(v), w - 26), bottom + 5);
  return y;
}
function columns(f, low, high) {  // pixels with the reports behind them
  const out = [], a = Math.max(index(from) - 1, 0), b = Math.min(index(to) + 1, N - 1);
  let px = null;
  for (let i = a; i <= b; i++) {
    const p = Math.round(f.x(T[i]));
    if (low(i) === null || high(i) === null) continue;
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
function meansOf(f, of) {  // the same, of each pixel the mean over time
  const out = [], a = Math.max(index(from) - 1, 0), b = Math.min(index(to) + 1, N - 1);
  for (let i = a; i <= b; i++) {
    const p = Math.round(f.x(T[i])), w = Math.max(T[i] - (T[i - 1] ?? T[i]), 1e-9), v = of(i);
    if (v === null) continue;
    let c = out[out.length - 1];
    if (!c || c.x !== p) out.push(c = {x: p, sum: 0, w: 0});
    c.sum += w * v;
    c.w += w;
    c.low = c.high = c.sum / c.w;
  }
  return out;
}
function clip(f) {
  f.g.save();
  f.g.beginPath();
  f.g.rect(LEFT, 0, f.w - LEFT, f.bottom + 2);
  f.g.clip();
}
function line(f, y, low, high, stroke, width) {
  const {g} = f;
  clip(f);
  g.strokeStyle = g.fillStyle = stroke;
  g.lineWidth = width || 1.5;
  g.beginPath();
  const all = columns(f, low, high);
  for (const c of all) {
    g.lineTo(c.x, y(c.low));
    if (c.high !== c.low) g.lineTo(c.x, y(c.high));
  }
  g.stroke();
  if (all.length === 1) g.fillRect(all[0].x - 2, y(all[0].high) - 2, 4, 4);  // no line has one end
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
    g.moveTo(x(e.at), top);
    g.lineTo(x(e.at), bottom);
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
// A chart outside of the window is drawn when it comes in, or when the page is printed.
let printing = false;
function isSeen(canvas) {
  const r = canvas.getBoundingClientRect();
  return r.height > 0 && (printing || (r.bottom > -50 && r.top < innerHeight + 50));
}
let asked = false;
function drawLater() {
  if (asked || !charts.some((c) => c.stale && isSeen(c.canvas))) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    draw();
  });
}
let drawn = 0;  // how often, for who measures it
function draw() {
  drawn++;
  if (at !== cursorWas) {
    cursorWas = at;
    cursorMoved();
  }
  const i = at === null || at < T[0] ? null : index(at);
  $("at").textContent = at === null ? wholeText() : moment(at);
  for (const c of charts) {
    c.stale = !isSeen(c.canvas);
    if (c.stale) continue;
    const f = frame(c), items = c.series();
    let low = c.floats ? Infinity : c.low ?? 0, high = -Infinity;
    const a = index(from), b = index(to);
    for (let k = a; k <= b; k++) {
      let sum = 0;
      for (const s of items) {
        const v = s.of(k);
        if (v === null) continue;
        if (s.stack) sum += v;
        else {
          high = Math.max(high, (s.high || s.of)(k) ?? v);
          if (c.floats || c.low === undefined) low = Math.min(low, (s.least || s.of)(k) ?? v);
        }
      }
      high = Math.max(high, sum);
    }
    if (!isFinite(low)) low = 0;
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
function fitting(g, text, width) {  // as much of it as there is room for
  if (g.measureText(text).width <= width) return text;
  while (text && g.measureText(text + "\u2026").width > width) text = text.slice(0, -1);
  return text + "\u2026";
}
function rows(c, f) {  // a heat map: a row each, darker where more
  const {g, x, w, top, bottom} = f, list = c.rows(), h = (bottom - top) / Math.max(list.length, 1);
  axes(f, 0, 1, () => "");
  clip(f);
  list.forEach((r, k) => {
    let last = null;
    for (const p of c.mean ? meansOf(f, r.of) : columns(f, r.of, r.high || r.of)) {
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
    if (h > 9) g.fillText(fitting(g, r.name, LEFT - 6), LEFT - 4, top + (k + 0.5) * h);
  });
  marks(f);
}
// ---------------------------------------------------------------- played
let playing = false, before = 0;
function tick(now) {
  if (!playing) return;
  at = Math.min(
      (at ?? from) + Math.min((now - before) / 1000, 0.5) * +$("speed").value / UNIT_S, END);
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
function drawAll() {
  printing = true;
  draw();
  printing = false;
}
function begin() {
  addEventListener("resize", draw);
  addEventListener("scroll", drawLater, {passive: true});
  addEventListener("beforeprint", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  drawAll();  // what is below the window, too: whoever takes a picture of the whole page sees it
  document.documentElement.dataset.ready = "yes";
}
