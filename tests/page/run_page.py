#!/usr/bin/env python3
"""run_page.py: the page of a training run in headless Chromium, as the run goes on.

    run_page.py COLOSSUS [--shots FOLDER]

The run is made up: 9,000 steps of two ranks, which is more than the page draws one by one, a spike of one
step, and a rank that is lost. Prints a line a test; exit code 1 where one fails. --shots keeps pictures,
to be looked at."""
import argparse
import datetime
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request

sys.dont_write_bytecode = True
from page_browser import Browser, check  # noqa: E402

BEGIN = datetime.datetime(2026, 11, 29, 10, 0, 0)
SPIKE, STEPS, LOST = 4321, 9000, 6000  # the rank is lost behind step LOST, for 20 minutes


def clock(step):
    s = 2.0 * step + (1200 if step > LOST else 0)
    return (BEGIN + datetime.timedelta(seconds=s)).isoformat(timespec="milliseconds") + "Z"


def line(step):
    loss = 3 + 5 * math.exp(-step / 1500) + (4 if step == SPIKE else 0)
    row = {"step": step, "tokens": 4096 * step, "time": clock(step), "loss": loss, "grad_norm": 1.5,
           "lr": 0.001, "step_s": 2.0, "tokens_per_s": 2048.0, "mfu": 0.25, "load_max_mean": 1.1,
           "wait_s": 0.2, "rank_busy_s": [1.9, 0.95]}
    if step % 500 == 0:
        row["valid_nll"] = loss + 0.1
    return json.dumps(row) + "\n"


def make_run(folder):
    os.makedirs(folder)
    with open(f"{folder}/metrics.jsonl", "w", encoding="utf-8") as out:
        out.writelines(line(k) for k in range(1, STEPS + 1))
    events = [{"time": clock(0), "event": "run_started", "step": 0, "total_steps": 10000, "ranks": 2},
              {"time": clock(LOST), "event": "rank_lost", "by": "launch", "attempt": 1,
               "why": "death", "rank": 1, "node": "<b>n1</b>", "operation": "backward",
               "steps_done": LOST, "detect_s": 2.0, "text": "rank 1 on <b>n1</b> died",
               "action": "starting again"},
              {"time": clock(LOST + 1), "event": "recovered", "cause": "death", "detect_s": 2.0,
               "restart_s": 1198.0, "rollback_s": 0.0}]
    with open(f"{folder}/events.jsonl", "w", encoding="utf-8") as out:
        out.writelines(json.dumps(e) + "\n" for e in events)


class Page:
    def __init__(self, browser, port, run):
        self.b = browser
        self.run = run
        self.url = f"http://127.0.0.1:{port}/"
        browser.open(self.url)
        browser.wait("the page", "document.documentElement.dataset.ready === 'yes'")

    def json(self):
        with urllib.request.urlopen(self.url + "run.json", timeout=60) as answer:
            return json.load(answer)


def no_spike_vanishes(p):
    d = p.json()
    n = len(d["t"])
    assert 2000 <= n <= 4096, n
    assert all(len(d[k]) == n for k in ("loss", "loss_low", "loss_high", "work", "step"))
    assert abs(max(d["loss_high"]) - json.loads(line(1))["loss"]) < 1e-3
    at = [i for i in range(n) if d["loss_high"][i] - d["loss_low"][i] > 3]
    assert len(at) == 1 and abs(d["t"][at[0]] * 3600 - 2 * SPIKE) < 20, at
    assert all(a <= b <= c for a, b, c in zip(d["loss_low"], d["loss"], d["loss_high"]))


def where_the_time_went(p):
    d = p.json()
    shares = dict(d["shares"])
    assert abs(sum(shares.values()) - 1) < 1e-3, shares
    assert abs(shares["steps that count"] - 18000 / 19200) < 1e-3, shares
    assert abs(shares["death"] - 1200 / 19200) < 1e-3, shares
    assert min(d["work"]) < 0.05 and sorted(d["work"])[len(d["work"]) // 2] > 0.99
    assert "death 6.3 %" in p.b.text("#shares"), p.b.text("#shares")
    busy = [r["busy"][100] for r in d["ranks"]]
    assert abs(busy[0] - 1) < 1e-6 and abs(busy[1] - 0.5) < 1e-6, busy


def who_was_lost(p):
    text = p.b.text("#incidents")
    assert "rank 1 on <b>n1</b> died, in backward" in text and "starting again" in text, text
    assert "20.0 min" in text and "03:20:00" in text, text
    p.b.js("document.querySelector('#incidents tr').click()")
    assert "03:20:00" in p.b.text("#at"), p.b.text("#at")
    p.b.click("#all")


def it_grows_while_it_is_looked_at(p):
    before = p.b.js("return END")
    p.b.js("view(END / 2, END)")
    left = p.b.js("return from")
    with open(f"{p.run}/metrics.jsonl", "a", encoding="utf-8") as out:
        out.writelines(line(k) for k in range(STEPS + 1, STEPS + 401))
    p.b.wait("more steps", f"document.querySelector('#lead').textContent.includes('{STEPS + 400}')")
    assert p.b.js("return END") > before
    assert p.b.js("return from") == left  # what was looked at stays
    p.b.click("#all")


def keys_move_it(p):
    p.b.js("document.querySelector('#loss').focus()")
    p.b.keys("right")
    assert ":" in p.b.text("#at")
    p.b.keys("+")
    assert p.b.js("return to - from") < p.b.js("return END") * 0.6
    left, width = p.b.js("return from"), p.b.js("return to - from")
    p.b.keys("shift", "right")
    assert p.b.js("return from") > left and abs(p.b.js("return to - from") - width) < 1e-6
    p.b.keys("escape")
    assert p.b.js("return to - from") == p.b.js("return END")


def charts_are_drawn(p):
    drawn = p.b.js("""return (async () => {
        const all = [...document.querySelectorAll('canvas')].filter(c => !c.closest('section').hidden);
        const out = [];
        for (const c of all) {
          c.scrollIntoView();
          for (let k = 0; k < 3; k++) await new Promise(requestAnimationFrame);
          const data = c.getContext('2d').getImageData(60, 0, c.width - 60, c.height - 24).data;
          out.push([c.id, new Set(new Uint32Array(data.buffer)).size, c.getAttribute('aria-label')]);
        }
        window.scrollTo(0, 0);
        return out;
      })()""")
    assert len(drawn) == 7, drawn
    for name, colours, label in drawn:
        assert colours > 2 and label, (name, colours, label)


def long_words_do_not_widen_it(p):
    with open(f"{p.run}/events.jsonl", "a", encoding="utf-8") as out:
        out.write(json.dumps({"time": clock(STEPS + 400), "event": "run_failed", "step": 1,
                              "text": "/a" * 2000}) + "\n")
    p.b.size(390, 900)
    p.b.wait("the event", "document.querySelector('#events').textContent.includes('/a/a/a')")
    assert p.b.js("return document.documentElement.scrollWidth") <= 390
    p.b.size(1440, 900)


def nothing_is_complained_of(p):
    bad = [m for m in p.b.complaints() if "favicon" not in m]
    assert bad == [], bad


TESTS = [no_spike_vanishes, where_the_time_went, who_was_lost, charts_are_drawn, keys_move_it,
         it_grows_while_it_is_looked_at, long_words_do_not_widen_it,
         nothing_is_complained_of]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colossus")
    parser.add_argument("--shots")
    o = parser.parse_args()
    failed, browser = 0, None
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        make_run(run)
        server = subprocess.Popen([o.colossus, "top", run, "--serve", "0", "--for", "300"],
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            port = int(re.search(r":(\d+)/", server.stderr.readline()).group(1))
            browser = Browser(shutil.which("chromedriver"), folder)
            browser.size(1440, 900)
            failed = check(TESTS, "run page", Page(browser, port, run))
            if o.shots:
                os.makedirs(o.shots, exist_ok=True)
                for width in (390, 1440, 2560):
                    browser.size(width, 2600)
                    Page(browser, port, run)
                    browser.shot(f"{o.shots}/run-{width}.png")
        finally:
            if browser:
                browser.close()
            server.terminate()
            server.wait(timeout=60)
    sys.exit(1 if failed else 0)


main()
