// site.js: the page of a site's run (site_html.c); the charts themselves are chart.js's. Times are days.
"use strict";
const UNIT_S = 86400;
const moment = (day) => {
  const s = Math.round((day - Math.floor(day)) * 86400);
  const two = (n) => String(Math.floor(n)).padStart(2, "0");
  return "day " + (Math.floor(day) + 1) + ", " + two(s / 3600) + ":" + two(s % 3600 / 60);
};
const tickText = (v) => "day " + +(v + 1).toFixed(3);
const timeTicks = (low, high, n) => ticks(low, high, n);
const wholeText = () => "day 1 to " + Math.ceil(END);
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
       {
         name: "not served, at most",
         color: color("bad"),
         of: (i) => D.unserved_high[i],
         say: watts,
         width: 2
       }]
});
if (D.has_battery)
  chart("charge", {
    say: share,
    series: () => [{
      name: "charge of the battery",
      color: tint(0),
      of: (i) => D.charge[i],
      least: (i) => D.charge_low[i],
      high: (i) => D.charge_high[i],
      say: share,
      band: true
    }]
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
    mean: true,
    rows: () => D.jobs.map((j, k) => ({name: j.name, color: tint(k), of: (i) => j.share[i]})),
    series: () => [],
    scale: () =>
        D.jobs.map((j, k) => ({name: j.name, color: tint(k), of: (i) => j.share[i], say: share}))
  });
chart("halls", {
  say: share,
  rows: () => D.halls.map((b) => ({
                            name: b.name,
                            color: color("bad"),
                            of: (i) => Math.min(Math.sqrt(b.out[i]) * 2, 1),
                            high: (i) => Math.min(Math.sqrt(b.out_high[i]) * 2, 1)
                          })),
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
// Of a site that draws nothing, before it stands, there is none.
const drawnOf = (list, i) => D.load_high[i] > 0 ? list[i] : null;
const fixed = (v) => v === null ? "N/A" : v.toFixed(3);
chart("pue", {
  say: (v) => v.toFixed(2),
  low: 1,
  series: () =>
      [{name: "PUE", color: tint(5), of: (i) => drawnOf(D.pue, i), say: (v) => fixed(v)}]
});
const WATER = D.wue.some((v) => v > 0);
if (WATER)
  chart("wue", {
    say: (v) => v.toFixed(2),
    series: () =>
        [{name: "litres a kWh", color: tint(0), of: (i) => drawnOf(D.wue, i), say: (v) => fixed(v)}]
  });
if (D.permits.length)
  chart("permit", {
    say: share,
    series: () =>
        D.permits.map((p, k) => ({name: p.name, color: tint(k), of: (i) => p.share[i], say: share}))
            .concat([{name: "permit", color: color("bad"), of: () => 1, say: share}])
  });

// ---------------------------------------------------------------- tables
for (const j of D.jobs) {
  const tr = make("tr");
  tr.append(
      make("td", j.name), partsBar(j.parts.map((v, k) => [D.parts[k], v])),
      make("td", String(j.interruptions), "n"));
  $("waterfall").append(tr);
}
for (const e of D.incidents) {
  const tr = make("tr");
  tr.append(
      make("td", moment(e.at)), make("td", e.what + (e.then ? " \u2192 " + e.then : "")),
      make("td", si(e.accelerator_h, "").trim(), "n"), make("td", si(e.unserved_wh, "Wh"), "n"));
  leadTo(tr, e.at, "power");
  $("incidents").append(tr);
}
for (const [id, there] of [
         ["incidents", D.incidents.length], ["charge", D.has_battery], ["permit", D.permits.length],
         ["wue", WATER],
         ["jobs", D.jobs.length], ["waterfall", D.jobs.length], ["lines", D.lines.length]])
  if (!there) $(id).closest("section").hidden = true;
for (const [name, value, help, before] of D.figures) {
  const tr = make("tr"), what = make("td", name);
  what.append(make("br"), make("small", help));
  tr.append(what, make("td", value, "n"));
  if (before !== undefined) tr.append(make("td", before === value ? "same" : before, "n"));
  $("figures").append(tr);
}
$("figures-head").hidden = !D.injected.length;
const most = Math.max(...D.cost.map((c) => c[1]), 1);
for (const [name, usd] of D.cost) {
  const tr = make("tr"), td = make("td"), bar = make("div", undefined, "bar"), e = make("span");
  e.style.width = 100 * usd / most + "%";
  e.style.background = "var(--c0)";
  bar.append(e);
  td.append(bar);
  tr.append(make("td", name), td, make("td", si(usd, "USD"), "n"));
  $("cost").append(tr);
}
const tall = Math.max(...D.lines.map((l) => l[1]), D.line_limit || 0, 1);
for (const [name, w] of D.lines) {
  const tr = make("tr"), td = make("td"), bar = make("div", undefined, "bar"), e = make("span");
  e.style.width = 100 * w / tall + "%";
  e.style.background = D.line_limit && w > D.line_limit ? "var(--bad)" : "var(--c5)";
  bar.append(e);
  td.append(bar);
  tr.append(make("td", name), td, make("td", si(w, "W"), "n"));
  $("lines").append(tr);
}
$("lines-say").textContent = D.line_limit ?
    "Of the site a line may have " + si(D.line_limit, "W") + "; red are those above it." :
    "The site states no limit for a line (site.swing_limit_w).";
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
  const day = () => "at: " + +Math.max(at ?? (from + to) / 2, 0).toFixed(3) + " d";
  const fill = () => {
    $("event").value = "{" + day() + ", what: " + $("kind").value + ", " + KINDS[$("kind").value] +
        "}";
  };
  $("kind").addEventListener("change", fill);
  cursorMoved = () => {  // what else was typed stays
    $("event").value = $("event").value.replace(/\bat:\s*[\d.]+\s*d\b/, day());
  };
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
begin();
