"""page_browser.py: headless Chromium, driven over the WebDriver protocol by chromedriver; needs
nothing but the two programs and Python's own library."""
import base64
import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # of the protocol
KEYS = {"enter": "\ue007", "tab": "\ue004", "escape": "\ue00c", "shift": "\ue008",
        "control": "\ue009", "right": "\ue014", "down": "\ue015", "space": " "}


class Browser:
    """One window. Selectors are CSS; what is waited for has a limit of a minute."""

    def __init__(self, driver, folder):
        self.process = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, text=True,
                                        start_new_session=True)
        self.downloads = os.path.join(folder, "downloads")
        os.makedirs(self.downloads, exist_ok=True)
        self.base = None
        for line in self.process.stdout:
            if "successfully on port" in line:
                self.base = "http://127.0.0.1:" + line.rsplit("port", 1)[1].strip(" .\n")
                break
        arguments = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                     "--no-first-run", "--disable-background-networking", "--lang=en",
                     f"--user-data-dir={folder}/profile"]
        options = {"args": arguments,
                   "prefs": {"credentials_enable_service": False,  # its questions take the keyboard
                             "profile.password_manager_enabled": False,
                             "profile.password_manager_leak_detection": False,
                             "download.default_directory": self.downloads,
                             "download.prompt_for_download": False}}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options,
                  "goog:loggingPrefs": {"browser": "ALL"}}
        self.session = None
        self.patience_s = 90  # for one answer
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.session = made["sessionId"]

    def call(self, method, path, body=None):
        url = self.base + ("" if self.session is None else "/session/" + self.session) + path
        data = None if method == "GET" else json.dumps(body or {}).encode()
        request = urllib.request.Request(url, data, {"Content-Type": "application/json"},
                                         method=method)
        try:
            with urllib.request.urlopen(request, timeout=self.patience_s) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as e:
            raise AssertionError(json.load(e)["value"]["message"].split("\n")[0]) from e

    def close(self):
        try:
            if self.session:
                self.call("DELETE", "")
        except (AssertionError, OSError):
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)  # and a browser that did not answer
        except ProcessLookupError:
            pass
        self.process.wait(30)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def js(self, script, *arguments):
        """The value of a script's `return`; promises are awaited."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def wait_longer(self, seconds):
        """A script may take so long, on a machine with other work."""
        self.patience_s = seconds + 60
        self.call("POST", "/timeouts", {"script": 1000 * seconds})

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=width < 700)

    def find(self, selector):
        return self.call("POST", "/element", {"using": "css selector", "value": selector})[ELEMENT]

    def click(self, selector):
        self.call("POST", f"/element/{self.find(selector)}/click")

    def type(self, selector, text):
        self.call("POST", f"/element/{self.find(selector)}/value", {"text": text})

    def keys(self, *names):
        """Pressed together, then let go, wherever the focus is."""
        values = [KEYS.get(n, n) for n in names]
        actions = [{"type": "keyDown", "value": v} for v in values]
        actions += [{"type": "keyUp", "value": v} for v in reversed(values)]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def write(self, text):
        actions = [{"type": t, "value": c} for c in text for t in ("keyDown", "keyUp")]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "k", "actions": actions}]})

    def wait(self, what, script, *arguments):
        end = time.monotonic() + 60
        while time.monotonic() < end:
            value = self.js("return " + script, *arguments)
            if value:
                return value
            time.sleep(0.05)
        raise AssertionError("waited in vain: " + what)

    def text(self, selector):
        return self.js("return document.querySelector(arguments[0])?.textContent ?? null", selector)

    def shot(self, path):
        with open(path, "wb") as f:
            f.write(base64.b64decode(self.call("GET", "/screenshot")))

    def complaints(self):
        """What the browser's console says of errors since the last call."""
        entries = self.call("POST", "/se/log", {"type": "browser"})
        return [e["message"] for e in entries if e["level"] == "SEVERE"]


def check(tests, label, page):
    """Runs each test on the page and prints a line of it; how many failed."""
    failed = 0
    for test in tests:
        name = test.__name__.replace("_", " ")
        try:
            test(page)
            print(f"ok {label}: {name}", flush=True)
        except Exception as e:  # the next one may still hold
            failed += 1
            print(f"not ok {label}: {name}: {str(e)[:400]}", flush=True)
    return failed
