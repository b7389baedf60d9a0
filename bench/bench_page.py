#!/usr/bin/env python3
"""bench_page.py: how often the page of a site's run repaints, in headless Chromium.

    bench/bench_page.py [--colossus ./colossus] [--scenario colossus-2-1m] [--days 30] [--seconds 20]

Serves the run, lets the page play at x 100,000 with all of its charts in a window that shows them all,
then drags one chart along with shift held, alone in the window; counts what is drawn a second, by frames
that come on the screen, and the memory of the page's script before, every five minutes, and after
(--seconds 3600 is the hour that docs/site.md speaks of). Needs chromium and chromedriver; two cores draw
without a graphics card."""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "page"))
from page_browser import Browser  # noqa: E402

COUNT = """return (async () => {
  const frame = () => new Promise(requestAnimationFrame), began = performance.now(), first = drawn;
  let longest = 0, last = began;
  for (let now = began; now - began < 1000 * arguments[0]; now = performance.now()) {
    if (arguments[1]) {  // a drag, a pixel a frame
      const w = to - from;
      const step = w / 1000, back = to + step > END;
      view(back ? 0 : from + step, back ? w : to + step);
    }
    else if (!playing)
      play(true);  // it was at the end
    await frame();
    longest = Math.max(longest, performance.now() - last);
    last = performance.now();
  }
  const s = (performance.now() - began) / 1000;
  return {drawn: (drawn - first) / s, longest,
          charts: charts.filter((c) => !c.stale).length};
})()"""


def count(b, seconds, moves, memory):
    """In pieces, as long as a script may take; memory gets a value every 20."""
    parts = []
    while seconds > 0:
        parts.append(b.js(COUNT, min(seconds, 15), moves))
        seconds -= 15
        if len(parts) % 20 == 0 or seconds <= 0:
            memory.append(heap(b))
    return {"drawn": sum(x["drawn"] for x in parts) / len(parts),
            "longest": max(x["longest"] for x in parts), "charts": parts[-1]["charts"]}


def heap(b):
    b.devtools("HeapProfiler.collectGarbage")
    metrics = b.devtools("Performance.getMetrics")["metrics"]
    return next(m["value"] for m in metrics if m["name"] == "JSHeapUsedSize") / 1e6


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--colossus", default=os.path.join(ROOT, "colossus"))
    parser.add_argument("--scenario", default="colossus-2-1m")
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=20)
    o = parser.parse_args()
    server = subprocess.Popen([o.colossus, "site", o.scenario, "--days", str(o.days), "--serve", "0"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as folder:
        browser = None
        try:
            url = re.search(r"http://\S+", server.stderr.readline()).group(0)
            browser = Browser(shutil.which("chromedriver"), folder)
            browser.wait_longer(300)
            browser.devtools("Performance.enable")
            browser.size(1440, 5000)
            browser.open(url)
            browser.wait("the page", "document.documentElement.dataset.ready === 'yes'")
            memory = [heap(browser)]
            all_of_them = count(browser, o.seconds, False, memory)
            browser.js("play(false)")
            browser.size(1440, 330)
            browser.js("view(END / 4, END / 2); document.querySelector('#power').scrollIntoView(); draw()")
            one = count(browser, min(o.seconds, 15), True, [])
        finally:
            if browser:
                browser.close()
            server.terminate()
            server.wait(timeout=60)
    print(f"{o.scenario}, {o.days} days")
    for name, x in (("playing at x 100,000", all_of_them), ("one is moved along", one)):
        print(f"{name}: {x['charts']} charts drawn {x['drawn']:.1f} times a second, "
              f"longest {x['longest']:.0f} ms")
    print(f"memory of the script in {o.seconds:.0f} s, MB:", " ".join(f"{m:.2f}" for m in memory))


main()
