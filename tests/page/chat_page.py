#!/usr/bin/env python3
"""chat_page.py: every feature of the chat page in headless Chromium, against a served model.

    chat_page.py COLOSSUS MODEL [--shots FOLDER] [--only WORD]

The page comes from the real server; what a small model cannot be made to do on purpose comes from
page_script.py, which hands on the rest. Prints a line a test; exit code 1 where one fails. --shots
keeps pictures, to be looked at."""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import traceback

sys.dont_write_bytecode = True
import page_script  # noqa: E402
from page_browser import Browser  # noqa: E402

POSTS = """{"id":"1","service":"x","created_ms":1783000000000,"author":"ada",\
"text":"The red bridge closed on Monday after 3 <b>cracks</b> were found"}
{"id":"2","service":"x","created_ms":1783000060000,"author":"ben","text":"A cake with cherries"}
{"id":"3","service":"x","created_ms":1783000120000,"author":"cyd",\
"text":"The ducks of the old pond sleep in the reeds"}
"""
LAST = "[...document.querySelectorAll('.turn.assistant')].at(-1)"
IDLE = "!document.querySelector('#send').hidden && document.querySelector('#stop').hidden"


class Page:
    def __init__(self, browser, script):
        self.b = browser
        self.script = script

    def fresh(self, url=None):
        self.b.open("about:blank")
        self.b.open(url or self.script.url)
        self.b.wait("the model's name", "document.querySelector('#model').textContent")

    def new(self):
        self.b.js("document.querySelector('#new').click()")

    def send(self, text, done=True):
        count = "document.querySelectorAll('.turn.assistant').length"
        before = self.b.js("return " + count)
        self.b.type("#draft", text + "\ue007")
        if done:  # not the answer that was there before
            self.b.wait("an answer", f"{count} > {before} && ({IDLE}) && "
                        f"{LAST}.querySelector('.tools button')")

    def button(self, name, last=True):
        """Clicks the button of that text or label in the last turn, or anywhere."""
        found = self.b.js("""
            const root = arguments[1] ? [...document.querySelectorAll('.turn')].reverse()
                : [document];
            for (const r of root) for (const x of r.querySelectorAll('button'))
                if (!x.disabled && (x.textContent === arguments[0] ||
                    x.getAttribute('aria-label') === arguments[0])) { x.click(); return true; }
            return false;""", name, last)
        assert found, f"no button '{name}'"

    def turns(self):
        return self.b.js("return [...document.querySelectorAll('.turn .body')]"
                         ".map(x => x.textContent)")


def same(got, wanted):
    assert got == wanted, f"{got!r} instead of {wanted!r}"


# ------------------------------------------------------------------ against the model itself

def a_chat_streams_and_stays(p):
    p.fresh(p.real)
    p.b.js("localStorage.setItem('defaults', '{\"settings\": {\"max_tokens\": 40}}')")
    p.new()
    p.send("the cat")
    usage = p.b.js(f"return {LAST}.querySelector('.figures').textContent")
    assert "token" in usage, usage
    assert " of " in p.b.text("#meter-text"), p.b.text("#meter-text")
    used = p.b.js("return document.querySelector('#meter-bar').value")
    assert used > 0, used
    before = p.turns()
    same(before[0], "the cat")
    assert p.b.js("return document.querySelector('#title').textContent") == "the cat"
    p.b.call("POST", "/refresh")
    p.b.wait("the conversation after a reload", "document.querySelectorAll('.turn').length === 2")
    same(p.turns(), before)


def writing_again_makes_a_version(p):
    p.button("Write this answer again")
    p.b.wait("two versions", f"({IDLE}) && {LAST}.textContent.includes('2 of 2')")
    p.button("The version before")
    p.b.wait("the first version", f"{LAST}.textContent.includes('1 of 2')")


def an_edit_makes_a_branch(p):
    p.b.js("document.querySelector('.turn.user [aria-label=\"Edit your message\"]').click()")
    p.b.js("document.querySelector('.turn.user textarea').value = 'to house'")
    p.button("Send", last=True)
    p.b.wait("the branch", f"({IDLE}) && document.querySelector('.turn.user').textContent"
             ".includes('2 of 2')")
    same(p.turns()[0], "to house")
    p.button("The version before", last=False)
    p.b.wait("the first branch",
             "document.querySelector('.turn.user .body').textContent === 'the cat'")


def settings_and_a_system_prompt_are_sent(p):
    p.fresh()
    p.b.click("#settings")
    p.b.type("dialog textarea", "Be brief.")
    p.b.type("dialog [name=temperature]", "0")
    p.b.type("dialog [name=max_tokens]", "3")
    p.b.type("dialog [name=seed]", "7")
    p.button("Use", last=False)
    p.send("the cat moves")
    asked = p.script.asked[-1]
    same(asked["messages"][0], {"role": "system", "content": "Be brief."})
    same([asked[k] for k in ("temperature", "max_tokens", "seed")], [0, 3, 7])
    assert "top_p" not in asked, "a field that was left empty is sent"
    first = p.turns()[-1]
    p.button("Write this answer again")
    p.b.wait("another one", f"({IDLE}) && {LAST}.textContent.includes('2 of 2')")
    same(p.turns()[-1], first)  # likeliest tokens are the same ones
    if "reached" in p.b.js(f"return {LAST}.textContent"):
        p.button("Go on with this answer")
        p.b.wait("more of it", f"({IDLE}) && {LAST}.querySelector('.body').textContent.length > "
                 "arguments[0]", len(first))
        same(p.turns()[-1][:len(first)], first)


# ------------------------------------------------------------------ what is scripted

def thoughts_are_folded(p):
    p.new()
    p.send("script:think")
    fold = f"{LAST}.querySelector('.above details')"
    assert p.b.js(f"return {fold}.open") is False
    assert p.b.js(f"return {fold}.querySelector('strong').textContent") == "that"
    same(p.turns()[-1], "So it is.")


def tools_are_called_and_answered(p):
    p.new()
    p.send("script:tool")
    assert "Calls weather" in p.b.js(f"return {LAST}.textContent")
    p.b.type(".turn.assistant .below textarea", "7 degrees")
    p.button("Give the result")
    p.b.wait("what the model makes of it", f"({IDLE}) && {LAST}.textContent.includes('7 degrees')")
    sent = p.script.asked[-1]["messages"]
    same(sent[-1], {"role": "tool", "content": "7 degrees", "tool_call_id": "call_1"})
    same(sent[-2]["tool_calls"][0]["function"],
         {"name": "weather", "arguments": '{"place": "Bern"}'})


def markdown_is_safe(p):
    p.new()
    p.send("script:markdown")
    count = p.b.js(f"""const t = {LAST}.querySelector('.body');
        return ['h3', 'em', 'strong', 'ul', 'ol', 'table', 'blockquote', 'pre', 'a', 'img',
            'script', 'b'].map(n => t.querySelectorAll(n).length)""")
    same(count, [1, 1, 1, 1, 1, 1, 1, 1, 2, 0, 0, 0])
    links = p.b.js(f"return [...{LAST}.querySelectorAll('.body a')].map(a => [a.protocol, a.rel])")
    same(links, [["https:", "noopener noreferrer"]] * 2)
    code = p.b.js(f"return {LAST}.querySelector('pre').textContent")
    same(code, 'print("<script>alert(1)</script>")')
    p.b.js("navigator.clipboard.writeText = async (t) => { window.copied = t; }")
    p.button("Copy this code")
    p.b.wait("what was copied", "window.copied")
    same(p.b.js("return window.copied"), code)


def sources_are_shown(p):
    p.new()
    p.send("script:sources")
    same(p.b.js(f"return [...{LAST}.querySelectorAll('.sources li')]"
                ".map(x => [x.firstChild.textContent, x.querySelectorAll('a').length])"),
         [["A report", 1], ["A trap", 0]])


def posts_are_searched(p):
    """The switch, sources with addresses, and a post's markup that stays text."""
    p.fresh()
    assert p.b.js("return !document.querySelector('#posts').hidden")
    p.b.click("#search-posts")
    p.send("Why was the red bridge closed?")
    same(p.script.asked[-1]["search_parameters"], {"mode": "on"})
    links = p.b.js(f"return [...{LAST}.querySelectorAll('.sources a')].map(x => x.href)")
    same(links, ["https://x.com/ada/status/1"])
    same(p.b.js(f"return {LAST}.querySelectorAll('img, script, b').length"), 0)
    assert "‹b›cracks‹/b› were found" in p.turns()[-1], p.turns()
    p.b.call("POST", "/refresh")
    p.b.wait("the switch after a reload", "document.querySelector('#search-posts').checked")
    p.send("Who won the chess match?")
    assert "No post in the store answers this." in p.turns()[-1], p.turns()
    p.b.click("#search-posts")
    p.send("script:think")
    assert "search_parameters" not in p.script.asked[-1]


def an_answer_ends_with_what_it_cites(p):
    """Within a second or so, also where it is only kept; one that cites another post stays."""
    p.fresh()
    p.new()
    p.b.click("#search-posts")
    p.send("Which cake has cherries?")
    assert "cherries" in p.turns()[-1], p.turns()
    p.send("Where do the ducks of the old pond sleep?")
    assert "reeds" in p.turns()[-1], p.turns()
    p.ingest('{"delete":{"tweet":{"id":"3"}}}\n')
    began = time.monotonic()
    p.b.wait("the answer to expire", f"{LAST}.textContent.includes('has expired')")
    print(f"   (expired after {time.monotonic() - began:.1f} s)")
    assert "reeds" not in p.b.js("return document.querySelector('#log').textContent")
    assert "cherries" in p.turns()[1], p.turns()
    p.b.call("POST", "/refresh")
    p.b.wait("the conversation", f"{LAST} && {LAST}.textContent.includes('has expired')")
    assert "reeds" not in p.b.js("return document.querySelector('#log').textContent")
    p.new()
    p.ingest('{"delete":{"tweet":{"id":"2"}}}\n')
    p.b.js("document.querySelector('#list button').click()")
    p.b.wait("the other one to expire", "!document.querySelector('#log').textContent"
             ".includes('with cherries')")


def a_busy_server_is_asked_again(p):
    p.new()
    p.send("script:busy")
    same(p.turns()[-1], "Now there was time.")


def a_server_that_comes_back_is_asked_again(p):
    p.new()
    p.send("script:away")
    same(p.turns()[-1], "Here again.")
    while p.script.away:  # to those who load a page it comes back later
        time.sleep(0.05)


def a_cut_answer_says_so(p):
    p.new()
    p.send("script:cut")
    assert "The connection was lost." in p.b.js(f"return {LAST}.textContent")
    same(p.turns()[-1], "Half of an ans")
    p.button("Try again")
    p.b.wait("another try", f"({IDLE}) && {LAST}.textContent.includes('2 of 2')")


def a_long_prompt_says_what_to_do(p):
    p.new()
    p.send("script:long")
    assert "Begin a new conversation" in p.b.js(f"return {LAST}.textContent")


def stop_stops(p):
    p.new()
    p.send("script:slow", done=False)
    p.b.wait("the first words", f"{LAST} && {LAST}.querySelector('.body').textContent.length > 20")
    p.b.click("#stop")
    p.b.wait("the end", f"({IDLE}) && {LAST}.textContent.includes('Stopped.')")
    assert p.script.left.wait(20), "the server does not notice"
    kept = p.turns()[-1]
    p.b.call("POST", "/refresh")
    p.b.wait("what was written", "document.querySelectorAll('.turn').length === 2")
    same(p.turns()[-1], kept)


def an_answer_goes_on_beside_another_conversation(p):
    p.new()
    p.send("script:slow", done=False)
    p.b.wait("the first words", f"{LAST} && {LAST}.querySelector('.body').textContent.length > 20")
    p.new()
    assert p.b.js(f"return {IDLE}")
    p.send("script:think")
    p.b.js("document.querySelectorAll('#list button')[1].click()")
    p.b.wait("the one that is written", "!document.querySelector('#stop').hidden")
    n = len(p.turns()[-1])
    p.b.wait("more of it", f"{LAST}.querySelector('.body').textContent.length > arguments[0]", n)
    p.b.keys("escape")
    p.b.wait("its end", IDLE)


def files_are_attached(p):
    path = os.path.join(p.folder, "note.txt")
    with open(path, "w") as f:
        f.write("a file's text ``` with a fence\n")
    binary = os.path.join(p.folder, "picture.png")
    with open(binary, "wb") as f:
        f.write(b"\x89PNG\0\xff")
    p.b.js("localStorage.setItem('defaults', '{\"settings\": {\"max_tokens\": 40}}')")
    p.new()
    p.b.type("#attach-file", path)
    p.b.wait("the file's name", "document.querySelector('#files').textContent.includes('note.txt')")
    p.b.js("localStorage.setItem('defaults', '{}')")
    p.b.type("#attach-file", binary)
    p.b.wait("what is wrong", "document.querySelector('#notice').textContent.includes('no text')")
    p.send("script:think")
    same(p.script.asked[-1]["messages"][-1]["content"],
         "File note.txt:\n````\na file's text ``` with a fence\n````\n\nscript:think")
    assert "note.txt" in p.b.text(".turn.user .below")


def conversations_leave_and_come_back(p):
    p.b.click("#export")
    path = os.path.join(p.b.downloads, "conversations.json")
    for _ in range(200):
        if os.path.exists(path):
            break
        p.b.js("return new Promise((go) => setTimeout(go, 50))")
    with open(path) as f:
        kept = json.load(f)
    n = len(kept["conversations"])
    assert n > 5, n
    p.b.type("#import-file", path)
    p.b.wait("twice as many", "document.querySelectorAll('#list li').length === arguments[0]",
             2 * n)
    bad = os.path.join(p.folder, "bad.json")
    kept["conversations"][0]["nodes"]["ffffffffff"] = {"id": "ffffffffff", "parent": "ffffffffff",
                                                       "role": "user", "content": ""}
    with open(bad, "w") as f:
        json.dump(kept, f)
    p.b.type("#import-file", bad)
    p.b.wait("why not", "document.querySelector('#notice').textContent.includes('its own parent')")
    p.b.js("document.querySelector('#notice').hidden = true")


def conversations_are_named_and_deleted(p):
    p.b.js("document.querySelector('#list button').click()")
    p.b.wait("its turns", "document.querySelectorAll('.turn').length > 0")
    p.b.js("document.querySelector('#rename').click()")
    p.b.js("document.querySelector('dialog input').value = 'Another name'")
    p.b.js("document.querySelector('dialog form').requestSubmit()")
    p.b.wait("its name", "document.querySelector('#list button').textContent === 'Another name'")
    n = p.b.js("return document.querySelectorAll('#list li').length")
    p.b.js("document.querySelector('#delete').click()")
    p.b.js("document.querySelector('dialog form').requestSubmit()")
    p.b.wait("one less", "document.querySelectorAll('#list li').length === arguments[0]", n - 1)


def a_long_list_is_searched(p):
    """As many conversations as a busy year has; the list draws a part, a search finds one."""
    many = []
    for i in range(3000):
        ids = [f"{i:08x}0{k}" for k in range(4)]
        nodes = {d: {"id": d, "parent": ids[k - 1] if k else None, "at": k,
                     "role": "assistant" if k % 2 else "user",
                     "content": f"words of number {i}, turn {k}. " * 10} for k, d in enumerate(ids)}
        many.append({"title": f"Number {i}", "made": i, "changed": i, "system": "", "settings": {},
                     "leaf": ids[3], "nodes": nodes})
    path = os.path.join(p.folder, "many.json")
    with open(path, "w") as f:
        json.dump({"form": "colossus-chat", "version": 1, "conversations": many}, f)
    p.b.type("#import-file", path)
    p.b.wait("all of them", "document.querySelector('#said').textContent === "
             "'3000 conversations imported'")
    p.fresh()
    assert p.b.js("return document.querySelectorAll('#list li').length") <= 201
    took = p.b.js("const t = performance.now(); document.querySelector('#list button').click();"
                  "return new Promise((go) => requestAnimationFrame("
                  "() => go(performance.now() - t)))")
    p.b.type("#search", "number 1234, turn 3")
    p.b.wait("the one", "document.querySelector('#found').textContent === '1 conversation found'")
    same(p.b.text("#list li"), "Number 1234")
    print(f"  a click in a list of 3,000 conversations: {took:.0f} ms")
    p.b.js("document.querySelector('#search').value = '';"
           "document.querySelector('#search').dispatchEvent(new Event('input'))")


def a_key_is_asked_for(p):
    p.b.open(p.locked)
    p.b.wait("a question", "document.querySelector('dialog')")
    p.b.type("dialog input", "wrong")
    p.b.js("document.querySelector('dialog form').requestSubmit()")
    p.b.wait("another question", "document.querySelector('dialog input')?.value === ''")
    p.b.type("dialog input", "secret")
    p.b.js("document.querySelector('dialog form').requestSubmit()")
    p.b.wait("the model's name", "document.querySelector('#model').textContent")
    p.send("the cat", done=False)
    # A tiny model may end at once, without a word: the buttons of a whole answer do as well.
    p.b.wait("some words, or the end", f"{LAST} && ({LAST}.querySelector('.body').textContent ||"
             f" {LAST}.querySelector('.tools button'))")
    p.b.keys("escape")
    p.b.wait("its end", IDLE)
    assert not p.b.js(f"return !!{LAST}.querySelector('.problem')")


# ------------------------------------------------------------------ for everybody

NAMELESS = """return [...document.querySelectorAll('button, input, textarea, select, summary,' +
    ' meter, a')]
    .filter(x => x.checkVisibility() && !(x.ariaLabel || x.textContent.trim() || x.labels?.length))
    .map(x => x.outerHTML.slice(0, 80))"""
CONTRAST = """
    const luminance = (c) => {
        const [r, g, b] = c.match(/[\\d.]+/g).map(Number).map((v) => (v /= 255) <= 0.04045
            ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (!c.startsWith('rgba(0, 0, 0, 0')) return c; }
        return 'rgb(255, 255, 255)'; };
    const bad = [];
    for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own || !e.checkVisibility() || e.disabled) continue;
        if (getComputedStyle(e).opacity !== '1' || e.id === 'said') continue;
        if (e.className === 'skip') continue;
        const a = luminance(getComputedStyle(e).color), b = luminance(behind(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push(ratio.toFixed(2) + ' ' + e.outerHTML.slice(0, 80)); }
    return bad"""


def names_and_contrast(p):
    p.fresh()
    p.new()
    p.send("script:markdown")
    p.send("script:cut")
    for look in ("light", "dark"):
        p.b.js("const s = document.querySelector('#look'); s.value = arguments[0];"
               "s.dispatchEvent(new Event('change'))", look)
        same(p.b.js(CONTRAST), [])
        same(p.b.js("return getComputedStyle(document.documentElement).colorScheme"), look)
    same(p.b.js(NAMELESS), [])
    p.b.click("#settings")
    same(p.b.js(NAMELESS), [])
    p.b.keys("escape")
    p.b.wait("the dialog's end", "!document.querySelector('dialog')")


def keys_are_enough(p):
    """A conversation without a pointer: Tab, Enter and Escape only."""
    p.fresh()
    p.b.keys("control", "shift", "o")
    same(p.b.js("return document.activeElement.id"), "draft")
    p.b.write("script:think")
    p.b.keys("enter")
    p.b.wait("an answer", f"({IDLE}) && {LAST} && {LAST}.querySelector('.tools button')")
    same(p.turns()[-1], "So it is.")
    reached = set()
    for _ in range(80):
        p.b.keys("tab")
        reached.add(p.b.js("const e = document.activeElement;"
                           "return e.id || e.ariaLabel || e.textContent.trim().slice(0, 20)"))
    for name in ("new", "search", "settings", "draft", "attach", "Write this answer again",
                 "Copy this text", "Edit your message", "export"):
        assert name in reached, f"'{name}' is not reached by Tab: {sorted(reached)}"
    p.b.keys("control", "k")
    same(p.b.js("return document.activeElement.id"), "search")
    p.b.keys("tab")
    first = p.b.js("return document.activeElement.dataset.id")
    p.b.keys("down")
    second = p.b.js("return document.activeElement.dataset.id")
    assert first and second and first != second, "arrows do not move in the list"
    p.b.keys("enter")
    p.b.wait("the conversation", "location.hash === '#' + arguments[0]", second)


LIST_SHOWN = "document.querySelector('#new').checkVisibility({visibilityProperty: true})"


def a_phone_is_wide_enough(p):
    p.b.size(390, 844)
    p.fresh()
    p.send("script:markdown")
    same(p.b.js("return [document.documentElement.scrollWidth, innerWidth]"), [390, 390])
    assert not p.b.js("return " + LIST_SHOWN)
    p.b.click("#open-side")
    p.b.wait("the list", LIST_SHOWN)
    assert p.b.js("return document.querySelector('#main').inert")
    p.b.keys("escape")
    p.b.wait("its end", "!document.querySelector('#main').inert")
    small = p.b.js("""return [...document.querySelectorAll('header button, #form button')]
        .filter(x => x.checkVisibility() && x.getBoundingClientRect().height < 32)
        .map(x => x.id)""")
    same(small, [])
    p.b.size(1440, 900)


def nothing_is_complained_of(p):
    """No error in the console, so no breach of the policy; but for the refusals asked for."""
    asked_for = ("429", "400", "401", "net::ERR_", "favicon")
    same([m for m in p.complaints if not any(a in m for a in asked_for)], [])


def pictures(p, folder):
    os.makedirs(folder, exist_ok=True)
    for look in ("light", "dark"):
        for width, height in ((1440, 900), (390, 844)):
            p.b.size(width, height)
            p.fresh()
            p.b.js("const s = document.querySelector('#look'); s.value = arguments[0];"
                   "s.dispatchEvent(new Event('change'))", look)
            p.new()
            p.send("script:think")
            p.send("script:markdown")
            p.b.js("document.querySelector('#log').scrollTop = 260")
            p.b.shot(f"{folder}/chat-{look}-{width}.png")
            if width == 390:
                p.b.click("#open-side")
                p.b.js("return new Promise((go) => setTimeout(go, 300))")
                p.b.shot(f"{folder}/list-{look}-{width}.png")
                p.b.keys("escape")
            p.new()
            p.send("script:tool")
            p.send("script:cut")
            p.b.shot(f"{folder}/problem-{look}-{width}.png")
            p.b.click("#settings")
            p.b.shot(f"{folder}/settings-{look}-{width}.png")
            p.b.keys("escape")


TESTS = [a_chat_streams_and_stays, writing_again_makes_a_version, an_edit_makes_a_branch,
         settings_and_a_system_prompt_are_sent, thoughts_are_folded, tools_are_called_and_answered,
         markdown_is_safe, sources_are_shown, posts_are_searched,
         an_answer_ends_with_what_it_cites, a_busy_server_is_asked_again,
         a_server_that_comes_back_is_asked_again, a_cut_answer_says_so,
         a_long_prompt_says_what_to_do, stop_stops, an_answer_goes_on_beside_another_conversation,
         files_are_attached, conversations_leave_and_come_back, conversations_are_named_and_deleted,
         a_long_list_is_searched, names_and_contrast, keys_are_enough, a_phone_is_wide_enough,
         a_key_is_asked_for, nothing_is_complained_of]


def serve(colossus, model, *options):
    """The process, and where it listens."""
    process = subprocess.Popen([colossus, "serve", model, "--port", "0", *options],
                               stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    assert "http" in line, line
    return process, line[line.index("http"):].split("/v1")[0] + "/"


def run(p, shots, only):
    failed = 0
    p.complaints = []
    for test in TESTS:
        if only not in test.__name__:
            continue
        try:
            test(p)
            print("ok", "chat page:", test.__name__.replace("_", " "), flush=True)
        except Exception as e:
            failed += 1
            if not isinstance(e, AssertionError):
                traceback.print_exc()
            name = test.__name__.replace("_", " ")
            print(f"not ok chat page: {name}: {str(e)[:400]}", flush=True)
            if shots:
                p.b.shot(f"{shots}/failed-{test.__name__}.png")
            p.b.keys("escape")
            p.fresh()
        p.complaints += p.b.complaints()
    return failed


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colossus")
    parser.add_argument("model")
    parser.add_argument("--shots")
    parser.add_argument("--only", default="")
    o = parser.parse_args()
    driver = shutil.which("chromedriver")
    if o.shots:
        os.makedirs(o.shots, exist_ok=True)
    failed, browser, processes = 1, None, []
    with tempfile.TemporaryDirectory() as folder:
        try:
            store = os.path.join(folder, "posts")

            def ingest(lines):
                subprocess.run([o.colossus, "feed", "ingest", store, "-"], input=lines, text=True,
                               check=True, capture_output=True)

            ingest(POSTS)
            server, url = serve(o.colossus, o.model, "--feed", store)
            processes.append(server)
            locked, locked_url = serve(o.colossus, o.model, "--api-key", "secret")
            processes.append(locked)
            host, port = url.split("/")[2].split(":")
            browser = Browser(driver, folder)
            page = Page(browser, page_script.Server(host, int(port)))
            page.real, page.folder = url, folder
            page.ingest = ingest
            page.locked = locked_url
            browser.size(1440, 900)
            failed = run(page, o.shots, o.only)
            if o.shots and not o.only:
                pictures(page, o.shots)
        finally:
            if browser:
                browser.close()
            for process in processes:
                process.terminate()
                process.wait(60)
    return 1 if failed else 0


sys.exit(main())
