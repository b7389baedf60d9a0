"""page_script.py: a server that hands everything to the real one but chats whose last message
begins with "script:"; these it answers as no small model, and no network, can be made to on
purpose: thoughts, calls of tools, Markdown, a busy server, a connection that is cut."""
import http.client
import http.server
import json
import threading
import time

MARKDOWN = """# A heading

Some *slanted*, **bold** and `code` words, a [link](https://example.org/), <b>no markup</b>.

- one
- two
  1. nested

| a | b |
|---|--:|
| 1 | 2 |

> quoted

```python
print("<script>alert(1)</script>")
```

[bad](javascript:alert(1)) ![remote](https://example.org/a.png) <img src=x onerror=alert(1)>
"""


def delta(**parts):
    return {"choices": [{"index": 0, "delta": parts, "finish_reason": None}]}


def ended(reason="stop"):
    return [{"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
            {"choices": [],
             "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
             "timings": {"predicted_n": 5, "predicted_ms": 100.0}}]


def words(text):
    return [delta(content=text[i:i + 7]) for i in range(0, len(text), 7)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def hand_on(self, body=None):
        host, port = self.server.real
        real = http.client.HTTPConnection(host, port, timeout=60)
        headers = {k: v for k, v in self.headers.items()
                   if k.lower() not in ("host", "connection", "content-length", "origin")}
        real.request(self.command, self.path, body, headers)
        answer = real.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        real.close()
        self.wfile.write(data)

    def do_GET(self):
        if self.server.away:
            self.close_connection = True
            return
        self.hand_on()

    def events(self, pieces, done=True, pause=0.0):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        for piece in pieces:
            self.wfile.write(b": ping\n\ndata: " + json.dumps(piece).encode() + b"\n\n")
            self.wfile.flush()
            time.sleep(pause)
        if done:
            self.wfile.write(b"data: [DONE]\n\n")

    def refuse(self, status, message, code=None, **headers):
        data = json.dumps({"error": {"message": message, "code": code}}).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.path.endswith("/v1/chat/completions"):
            self.hand_on(body)
            return
        asked = json.loads(body)
        last = asked["messages"][-1]
        script = last["content"] if isinstance(last["content"], str) else ""
        self.server.asked.append(asked)
        if last["role"] == "tool":
            self.events(words("The tool says " + script) + ended())
        elif not script.startswith("script:"):
            self.hand_on(body)
        else:
            getattr(self, "on_" + script[7:].split()[0])()

    def on_think(self):
        self.events([delta(role="assistant", content="")] +
                    [delta(reasoning_content=w) for w in ("First this, ", "then **that**.")] +
                    words("So it is.") + ended(), pause=0.02)

    def on_tool(self):
        one = {"index": 0, "id": "call_1", "type": "function",
               "function": {"name": "weather", "arguments": ""}}
        self.events([delta(tool_calls=[one])] +
                    [delta(tool_calls=[{"index": 0, "function": {"arguments": a}}])
                     for a in ('{"place":', ' "Bern"}')] + ended("tool_calls"))

    def on_markdown(self):
        self.events(words(MARKDOWN) + ended())

    def on_sources(self):
        self.events(words("It is so [1].") + [delta(sources=[
            {"title": "A report", "url": "https://example.org/r", "text": "It is so."},
            {"title": "A trap", "url": "javascript:alert(1)"}])] + ended())

    def on_busy(self):
        self.server.busy += 1
        if self.server.busy % 3:
            self.refuse(429, "too many requests wait", Retry_After="0")
        else:
            self.events(words("Now there was time.") + ended())

    def on_cut(self):
        self.events(words("Half of an ans"), done=False)

    def on_long(self):
        self.refuse(400, "the prompt is too long", "context_length_exceeded")

    def on_slow(self):
        try:
            self.events(words("word " * 2000) + ended(), pause=0.02)
        except OSError:
            self.server.left.set()

    def on_away(self):
        """The server goes away before it answers, and comes back a little later."""
        self.server.tries += 1
        if self.server.tries == 1:
            self.server.away = True
            threading.Timer(1.5, self.come_back).start()
            self.close_connection = True
            return
        self.events(words("Here again.") + ended())

    def come_back(self):
        self.server.away = False


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        """A browser that has left."""

    def __init__(self, host, port):
        super().__init__(("127.0.0.1", 0), Handler)
        self.real = (host, port)
        self.busy = self.tries = 0
        self.away = False
        self.asked = []
        self.left = threading.Event()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"
