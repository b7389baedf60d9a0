// run.js: the page of a training run (train_page.c); the charts themselves are chart.js's. Times are hours
// since the run's first line. Of a run with a server behind the page, newer data is asked for, and what
// is looked at stays.
"use strict";
const UNIT_S = 3600;
const two = (n) => String(Math.floor(n)).padStart(2, "0");
const moment = (h) => {
  const s = Math.round(h * 3600);
  return (h >= 24 ? Math.floor(h / 24) + " d " : "") + two(s / 3600 % 24) + ":" + two(s % 3600 / 60) +
      ":" + two(s % 60);
};
const tickText = (h) =>
    h >= 48 || END > 96 ? +(h / 24).toFixed(2) + " d" : END > 2 ? +h.toFixed(2) + " h" :
    END > 1 / 30 ? +(h * 60).toFixed(2) + " min" : +(h * 3600).toFixed(2) + " s";
const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200];
const timeTicks = (low, high, n) => {  // at whole seconds, minutes, hours, days
  const raw = (high - low) / n * 3600, s = STEPS.find((k) => k >= raw * 0.999);
  if (!s || raw < 0.5) return ticks(low / 24, high / 24, n).map((d) => d * 24);
  const out = [];
  for (let v = Math.ceil(low * 3600 / s - 1e-9) * s; v <= high * 3600 + 1e-6; v += s)
    out.push(v / 3600);
  return out;
};
const wholeText = () => "0 to " + moment(END);
const seconds = (v) => v === null || v === undefined ? "N/A" :
    v >= 5400 ? (v / 3600).toFixed(1) + " h" : v >= 90 ? (v / 60).toFixed(1) + " min" :
                                               si(v, "s");
const plain = (v) => si(v, "").trim();
const nats = (v) => v === null ? "N/A" : v.toFixed(4);
const some = (key) => D[key].some((v) => v !== null);

// A curve of a key, within its least and its most.
const curve = (key, name, say, k) => ({
  name,
  color: tint(k),
  of: (i) => D[key][i],
  least: (i) => D[key + "_low"][i],
  high: (i) => D[key + "_high"][i],
  say,
  band: true
});
chart("loss", {
  say: (v) => +v.toFixed(3),
  floats: true,
  series: () => [curve("loss", "training", nats, 0)].concat(
      some("valid") ? [{...curve("valid", "validation", nats, 1), band: false, width: 2.5}] : [])
});
chart("work", {
  say: share,
  lowest: true,
  rows: () => [{name: "run", color: tint(2), of: (i) => D.work[i]}],
  series: () => [],
  scale: () => [{name: "at work", color: tint(2), of: (i) => D.work[i], say: share}]
});
chart("speed-chart", {say: plain, series: () => [curve("speed", "tokens a second", plain, 2)]});
chart("step", {
  say: seconds,
  series: () => [curve("step", "a step", seconds, 0)].concat(
      some("wait") ? [curve("wait", "of it rank 0 waited", seconds, 1)] : [])
});
chart("ranks", {
  say: share,
  lowest: true,
  rows: () => D.ranks.map((r) => ({name: r.name, color: tint(4), of: (i) => r.busy[i]})),
  series: () => [],
  scale: () =>
      D.ranks.map((r) => ({name: r.name, color: tint(4), of: (i) => r.busy[i], say: share}))
});
chart("load", {say: (v) => +v.toFixed(2), low: 1, series: () => [curve("load", "load", plain, 5)]});
chart("norm", {say: plain, series: () => [curve("norm", "norm", plain, 3)]});

// ---------------------------------------------------------------- tables
const STATUS = [
  ["state", "state", String], ["steps", "step", String], ["steps in all", "total_steps", String],
  ["tokens", "tokens", plain], ["loss", "loss", nats],
  ["validation, bits per byte", "valid_bits_per_byte", nats],
  ["tokens a second", "tokens_per_s", plain], ["time of the last step", "step_s", seconds],
  ["model FLOPs of the measured peak", "mfu", share], ["goodput", "goodput", share],
  ["time since it began", "total_s", seconds], ["ranks", "ranks", String],
  ["ranks that were lost", "ranks_lost", String], ["restarts that went on", "restarts", String],
  ["updates that were not made", "skipped_steps", String],
  ["newest checkpoint, step", "checkpoint_step", String],
  ["its age", "checkpoint_age_s", seconds], ["how it ended", "end", String]
];
function lead() {
  const s = D.status;
  $("lead").textContent = s.state + (s.step >= 0 ? ", step " + s.step : "") +
      (s.total_steps > 0 ? " of " + s.total_steps : "") +
      (s.loss !== undefined ? ", loss " + nats(s.loss) : "") +
      (s.goodput !== undefined ? ", goodput " + share(s.goodput) : "") + (s.end ? ": " + s.end : "");
}
function shares() {
  const tr = make("tr");
  tr.append(partsBar(D.shares));
  $("shares").replaceChildren(tr);
}
function incidents() {
  $("incidents").replaceChildren(...D.incidents.map((e) => {
    const tr = make("tr"), text = e.what + (e.in ? ", in " + e.in : "");
    tr.append(
        make("td", moment(e.at)), make("td", e.step === undefined ? "N/A" : String(e.step)),
        make("td", text + (e.then ? " \u2192 " + e.then : "")),
        make("td", seconds(e.lost_s), "n"));
    leadTo(tr, e.at, "loss");
    return tr;
  }));
}
function tables() {
  lead();
  shares();
  incidents();
  $("events").replaceChildren(...D.events.map((text) => make("li", text)));
  $("figures").replaceChildren(...STATUS.filter((r) => D.status[r[1]] !== undefined)
                                   .map(([name, key, say]) => {
                                     const tr = make("tr");
                                     tr.append(
                                         make("td", name), make("td", say(D.status[key]), "n"));
                                     return tr;
                                   }));
  const there = {
    loss: some("loss"),
    work: N > 0,
    "speed-chart": some("speed"),
    step: some("step"),
    ranks: D.ranks.length > 0,
    load: some("load"),
    norm: some("norm"),
    incidents: D.incidents.length > 0,
    events: D.events.length > 0
  };
  for (const id in there) $(id).closest("section").hidden = !there[id];
}

// ---------------------------------------------------------------- a run at work
async function renew() {
  const began = performance.now();
  let wait = 1000;
  try {
    const answer = await fetch("run.json");
    if (!answer.ok) throw new Error((await answer.json()).error?.message ?? "status " + answer.status);
    take(await answer.json());
    tables();
    draw();
    wait = Math.max(wait, 10 * (performance.now() - began));  // a long run takes long to read
  } catch (e) {
    $("lead").textContent = "no newer figures (" + e.message + "); what is shown is the last";
    wait = 5000;
  }
  setTimeout(renew, wait);
}
tables();
begin();
if (D.live) setTimeout(renew, 1000);
