#!/usr/bin/env python3
"""site_page.py: the page of a site's run in headless Chromium, and events that are put in by it.

    site_page.py COLOSSUS SCENARIO [--shots FOLDER]

Prints a line a test; exit code 1 where one fails. --shots keeps pictures, to be looked at."""
import argparse
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
from page_browser import Browser, check  # noqa: E402


class Page:
    def __init__(self, browser, port, o):
        self.b = browser
        self.port = port
        self.colossus = o.colossus
        self.scenario = o.scenario
        self.url = f"http://127.0.0.1:{port}/"

    def fresh(self):
        self.b.open(self.url)
        self.ready()

    def ready(self):
        self.b.wait("the page", "document.documentElement.dataset.ready === 'yes'")

    def choose(self, kind):
        """The text that the page offers for an event of that kind."""
        return self.b.js("const k = document.querySelector('#kind'); k.value = arguments[0];"
                         "k.dispatchEvent(new Event('change'));"
                         "return document.querySelector('#event').value", kind)

    def post(self, body):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request("POST", "/inject", body if isinstance(body, str) else json.dumps(body))
        r = c.getresponse()
        return r.status, json.load(r)

    def get(self, path):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        c.request("GET", path)
        return c.getresponse().read().decode()


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


def every_event_that_is_offered_is_understood(p):
    p.fresh()
    kinds = p.b.js("return [...document.querySelector('#kind').options].map(o => o.value)")
    assert len(kinds) >= 15, kinds
    for kind in kinds:
        text = p.choose(kind)
        assert f"what: {kind}" in text, text
        status, answer = p.post({"events": [text]})
        assert status == 200, f"{text}: {answer}"
    same(p.post({"events": []}), (200, {"ok": True}))


def an_event_changes_the_run(p):
    before = p.get("/events.jsonl")
    p.fresh()
    p.b.js("window.scrollTo(0, 0)")
    p.choose("curtailment")
    p.b.js("document.querySelector('#event').value = arguments[0]",
           "{at: 1 d, what: curtailment, watts: 0, lasts: 5 h}")
    p.b.click("#put")
    p.b.wait("the new run", "document.querySelectorAll('#injected li').length === 1")
    p.ready()
    head = p.b.js("return !document.querySelector('#figures-head').hidden")
    assert head, "no column of the run without"
    rows = p.b.js("return [...document.querySelectorAll('#figures tr')].map("
                  "r => [...r.children].map(c => c.textContent))")
    changed = [r[0] for r in rows if r[2] != "same"]
    assert len(changed) > 5, changed
    assert "the grid curtails" in p.b.text("#incidents"), p.b.text("#incidents")
    assert "curtailment" in p.get("/events.jsonl") and "curtailment" not in before
    p.b.js("document.querySelector('#injected button').click()")
    p.b.wait("the first run", "document.querySelectorAll('#injected li').length === 0 &&"
             "document.documentElement.dataset.ready === 'yes'")
    same(p.get("/events.jsonl"), before)


def the_event_follows_the_cursor(p):
    """By a click, a tap and a key; what else was typed stays."""
    def event():
        return p.b.js("return document.querySelector('#event').value")
    p.fresh()
    p.choose("curtailment")
    p.b.js("""const c = document.querySelector('#power'), r = c.getBoundingClientRect();
for (const type of ["pointerdown", "pointerup"])
  c.dispatchEvent(new PointerEvent(type, {clientX: r.left + 58 + (r.width - 62) / 4, clientY: r.top + 50,
                                          pointerType: "touch", bubbles: true}));""")
    assert re.match(r"{at: (1|0\.99\d*|1\.00\d*) d, what: curtailment", event()), event()
    before = event()
    p.b.js("document.querySelector('#power').focus()")
    p.b.keys("right")
    assert event() != before and "what: curtailment" in event(), event()
    p.b.js("document.querySelector('#event').value = '{at: 2 d, what: heat_wave, kelvin: 12}'")
    p.b.keys("right")
    assert event().endswith(", what: heat_wave, kelvin: 12}") and "at: 2 d" not in event(), event()


def what_is_wrong_is_said(p):
    p.fresh()
    p.b.js("document.querySelector('#event').value = '{at: 1 d, what: curtailmnt}'")
    p.b.click("#put")
    p.b.wait("words", "document.querySelector('#inject-says').textContent.includes('curtailment')")
    assert not p.b.js("return document.querySelector('#put').disabled")
    for body, word in (("{}", "list"), ("[", "body:1:1"), ('{"events":[1]}', "list"),
                       ('{"events":["{at: 1 d, what: turbine_trip, target: nobody}"]}', "nobody"),
                       ('{"events":["x"]}', "event:"),
                       ('{"events":["{at: 1 d, what: heat_wave, #"]}', "event:")):
        status, answer = p.post(body)
        assert status == 400 and word in answer["error"]["message"], (body, status, answer)


def another_site_may_not(p):
    c = http.client.HTTPConnection("127.0.0.1", p.port, timeout=60)
    c.request("POST", "/inject", '{"events":[]}', {"Origin": "https://example.org"})
    same(c.getresponse().status, 403)


def data_of(page):
    text = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S).group(1)
    return {k: v for k, v in json.loads(text).items() if k not in ("live", "injected")}


def a_page_after_the_fact_is_the_same(p):
    same(p.post({"events": []}), (200, {"ok": True}))
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([p.colossus, "site", p.scenario, "--html", f"{folder}/after.html"], check=True,
                       stdout=subprocess.DEVNULL)
        with open(f"{folder}/after.html", encoding="utf-8") as f:
            after = f.read()
    same(data_of(after) == data_of(p.get("/")), True)


def clients_that_are_slow_or_dead_hold_nobody_up(p):
    held = []
    try:
        for k in range(100):
            s = socket.create_connection(("127.0.0.1", p.port), timeout=60)
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n" + (b"" if k % 2 else b"\r\n"))
            held.append(s)  # half a request, or an answer that nobody reads
        for k in range(0, 100, 20):
            held[k].close()
        page = p.get("/")
        for _ in range(20):
            same(p.get("/") == page, True)
            assert "colossus_site_load_watts" in p.get("/metrics")
        p.fresh()
    finally:
        for s in held:
            s.close()


def nothing_is_complained_of(p):
    same([m for m in p.b.complaints() if "400" not in m and "favicon" not in m], [])


TESTS = [every_event_that_is_offered_is_understood, an_event_changes_the_run,
         the_event_follows_the_cursor, what_is_wrong_is_said, another_site_may_not,
         a_page_after_the_fact_is_the_same, clients_that_are_slow_or_dead_hold_nobody_up,
         nothing_is_complained_of]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colossus")
    parser.add_argument("scenario")
    parser.add_argument("--shots")
    o = parser.parse_args()
    failed, browser = 0, None
    server = subprocess.Popen([o.colossus, "site", o.scenario, "--serve", "0",
                               "--for", "300"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                              text=True)
    port = int(re.search(r":(\d+)/", server.stderr.readline()).group(1))
    with tempfile.TemporaryDirectory() as folder:
        try:
            browser = Browser(shutil.which("chromedriver"), folder)
            browser.size(1440, 900)
            p = Page(browser, port, o)
            failed = check(TESTS, "site page", p)
            if o.shots:
                os.makedirs(o.shots, exist_ok=True)
                p.post({"events": ["{at: 1 d, what: curtailment, watts: 0, lasts: 5 h}"]})
                for width in (390, 1440):
                    browser.size(width, 900)
                    p.fresh()
                    browser.shot(f"{o.shots}/site-{width}.png")
        finally:
            if browser:
                browser.close()
            server.terminate()
            server.wait(timeout=60)
    sys.exit(1 if failed else 0)


main()
