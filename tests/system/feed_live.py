#!/usr/bin/env python3
"""feed_live.py COLOSSUS: live streams against servers that behave as the services do, badly.

Servers of X, Mastodon and Jetstream listen on loopback. They cut streams in the middle of a line,
answer 503 and 429, fall silent, send posts twice, out of order and with unknown fields, and answer
what each service documents for a client that comes back: backfill_minutes, a timeline, a cursor. What
is in the store at the end must be every post once. A follower is killed with SIGKILL at random
moments meanwhile. And a store is searched and streamed over HTTP while it is filled.

Prints "ok ..." or "not ok ..." for each part."""
import base64
import hashlib
import http.server
import json
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

PROGRAM = sys.argv[1]
T0 = 1783000000000


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):  # a client that has left is no error
            super().handle_error(request, client_address)


def serve(handler):
    server = Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def begin(self, kind="application/json"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, text):
        data = text.encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def answer(self, status, value):
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def cut(self):
        """Without an end of the chunked body."""
        self.connection.shutdown(socket.SHUT_RDWR)
        self.close_connection = True


def follow(store, *arguments, seconds=60):
    return subprocess.Popen([PROGRAM, "feed", "follow", store, "--for", str(seconds), "--hurry", "200",
                             *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def export(store):
    out = subprocess.run([PROGRAM, "feed", "export", store], capture_output=True, check=True).stdout
    return [json.loads(x) for x in out.splitlines()]


def stats(store):
    out = subprocess.run([PROGRAM, "feed", "stats", store, "--json"], capture_output=True, check=True)
    return json.loads(out.stdout)


def wait_until(what, condition, seconds=40):
    end = time.time() + seconds
    while time.time() < end:
        try:
            if condition():
                return
        except subprocess.CalledProcessError:
            pass  # the store is not there yet
        time.sleep(0.05)
    raise AssertionError(f"in vain: {what}")


def stop(process):
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    return err


def check_once(store, expected):
    ids = [p["id"] for p in export(store)]
    assert len(ids) == len(set(ids)), "a post is there twice"
    assert set(ids) == set(expected), f"{len(ids)} posts, {len(expected)} expected"
    done = subprocess.run([PROGRAM, "feed", "verify", store], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# ---------------------------------------------------------------- X

def x_post(i):
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(T0 / 1000 + i))
    return json.dumps({"includes": {"users": [{"id": "7", "username": "ada", "new": [1]}]},
                       "data": {"text": f"post {i} of the stream", "author_id": "7", "id": str(i),
                                "created_at": at, "unheard_of": {"a": []}}}) + "\r\n"


def test_x(folder):
    seen = {"connections": 0, "paths": [], "rules": []}

    class X(Handler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen["rules"].append(body)
            self.answer(201, {"data": [{"id": "1", "value": body["add"][0]["value"]}]})

        def do_GET(self):
            assert self.headers["Authorization"] == "Bearer secret"
            if self.path.endswith("/rules"):
                self.answer(200, {"data": [{"id": "1", "value": "fox"}]})
                return
            seen["connections"] += 1
            seen["paths"].append(self.path)
            n = seen["connections"]
            if n == 2:
                self.answer(503, {"title": "unavailable"})
            elif n == 3:
                self.answer(429, {"title": "too many"})
            elif n == 1:  # cut in the middle of a line
                self.begin()
                for i in range(50):
                    self.chunk(x_post(i))
                self.chunk("\r\n" + x_post(50)[:40])
                self.cut()
            elif n == 4:  # some again, out of order; an error in the stream; then silence
                self.begin()
                for i in [*range(55, 39, -1), *range(56, 80)]:
                    self.chunk(x_post(i))
                self.chunk('{"errors":[{"title":"operational-disconnect","detail":"bye"}]}\r\n')
                time.sleep(3)
                self.cut()
            else:
                self.begin()
                for i in range(70, 100):
                    self.chunk(x_post(i))
                while True:
                    self.chunk("\r\n")
                    time.sleep(0.02)

    server, url = serve(X)
    store, token = os.path.join(folder, "x"), os.path.join(folder, "token")
    with open(token, "w") as f:
        f.write("secret\n")
    p = follow(store, "--source", "x", "--url", url, "--token-file", token, "--rule", "fox lang:en")
    wait_until("the fifth connection", lambda: seen["connections"] >= 5)
    wait_until("all posts", lambda: stats(store)["posts"] == 100)
    err = stop(p)
    check_once(store, [str(i) for i in range(100)])
    assert seen["rules"] == [{"add": [{"value": "fox lang:en"}]}]
    assert "tweet.fields=" in seen["paths"][0] and "backfill_minutes" not in seen["paths"][0]
    assert all("backfill_minutes=1" in p for p in seen["paths"][1:]), seen["paths"]
    for words in ("the service closed the stream", "503", "asks to wait", "operational-disconnect"):
        assert words in err, (words, err)
    listed = subprocess.run([PROGRAM, "feed", "follow", store, "--url", url, "--token-file", token,
                             "--list-rules"], capture_output=True, text=True, check=True)
    assert json.loads(listed.stdout)["data"][0]["value"] == "fox"
    server.shutdown()


def test_x_refuses(folder):
    class X(Handler):
        def do_GET(self):
            self.answer(401, {"title": "Unauthorized"})

    server, url = serve(X)
    p = follow(os.path.join(folder, "refused"), "--source", "x", "--url", url, seconds=20)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 1 and "the service refuses (401)" in err, err
    server.shutdown()


def test_x_gap(folder):
    """A stream that was away for an hour: five minutes are asked for, the rest is a gap."""
    paths = []

    class X(Handler):
        def do_GET(self):
            paths.append(self.path)
            self.begin()
            self.chunk(x_post(len(paths)))
            while True:
                self.chunk("\r\n")
                time.sleep(0.02)

    server, url = serve(X)
    store = os.path.join(folder, "gap")
    p = follow(store, "--url", url)
    wait_until("a post", lambda: os.path.exists(store + "/store.db") and stats(store)["posts"] == 1)
    stop(p)
    import sqlite3
    db = sqlite3.connect(store + "/seg-000001.db")
    db.execute("UPDATE meta SET value = value - 3600000 WHERE name LIKE 'cursor:%'")
    db.commit()
    db.close()
    p = follow(store, "--url", url)
    wait_until("the next", lambda: stats(store)["posts"] == 2)
    wait_until("the gap", lambda: stats(store)["gaps"])
    stop(p)
    assert "backfill_minutes=5" in paths[1], paths
    gap = stats(store)["gaps"][0]
    assert 54 * 60000 < gap["to_ms"] - gap["from_ms"] < 56 * 60000, gap
    server.shutdown()


# ---------------------------------------------------------------- Mastodon

def status(i):
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(T0 / 1000 + i))
    return {"id": str(i), "created_at": at, "content": f"<p>toot {i}</p>", "unknown": {"x": 1},
            "account": {"id": "900", "acct": "cy"}}


def test_mastodon(folder):
    seen = {"connections": 0, "timeline": []}

    class Mastodon(Handler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            if url.path == "/api/v1/timelines/public":
                q = urllib.parse.parse_qs(url.query)
                first = int(q["min_id"][0]) + 1
                seen["timeline"].append(first)
                page = range(first, min(first + int(q["limit"][0]), 200))
                self.answer(200, [status(i) for i in reversed(page)])
                return
            seen["connections"] += 1
            self.begin("text/event-stream")
            self.chunk(":)\n")
            first = 0 if seen["connections"] == 1 else 200
            for i in range(first, first + 50):
                text = f"event: update\ndata: {json.dumps(status(i))}\n\n"
                self.chunk(text[:30])
                self.chunk(text[30:] + (":thump\n" if i % 7 == 0 else ""))
            if seen["connections"] == 1:
                self.chunk("event: delete\ndata: 5\n\nevent: status.update\ndata: " +
                           json.dumps({**status(6), "content": "<p>changed</p>",
                                       "edited_at": "2026-07-03T00:00:00Z"}) + "\n\n")
                self.cut()
                return
            while True:
                self.chunk(":thump\n")
                time.sleep(0.02)

    server, url = serve(Mastodon)
    store = os.path.join(folder, "mastodon")
    p = follow(store, "--source", "mastodon", "--url", url + "/api/v1/streaming/public")
    wait_until("all posts", lambda: os.path.exists(store + "/store.db") and
               stats(store)["posts"] == 249)
    stop(p)
    check_once(store, [str(i) for i in range(250) if i != 5])
    assert [x["text"] for x in export(store) if x["id"] == "6"] == ["changed"]
    assert seen["timeline"][0] == 50 and not stats(store)["gaps"], seen
    server.shutdown()


# ---------------------------------------------------------------- Jetstream

class Jetstream(threading.Thread):
    """Sends `total` events from the cursor on, closing or cutting connections now and then."""

    def __init__(self, total, cut_every):
        super().__init__(daemon=True)
        self.total, self.cut_every, self.cursors = total, cut_every, []
        self.rng = random.Random(5)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"ws://127.0.0.1:{self.socket.getsockname()[1]}/subscribe"
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(connection,), daemon=True).start()

    @staticmethod
    def frame(data, opcode=1, final=True):
        head = bytes([(0x80 if final else 0) | opcode])
        n = len(data)
        return head + (bytes([n]) if n < 126 else b"\x7e" + struct.pack(">H", n)) + data

    @staticmethod
    def event(i):
        return json.dumps({"did": f"did:plc:{i % 9}", "time_us": T0 * 1000 + i * 1000, "kind": "commit",
                           "extra": None, "commit": {
                               "operation": "create", "collection": "app.bsky.feed.post",
                               "rkey": f"r{i}", "record": {
                                   "text": f"event {i} 東京", "createdAt": "2026-07-02T13:46:40Z"}}}).encode()

    def talk(self, c):
        try:
            request = b""
            while b"\r\n\r\n" not in request:
                more = c.recv(4096)
                if not more:
                    return
                request += more
            lines = request.decode().split("\r\n")
            headers = dict(x.lower().split(": ", 1) for x in lines[1:] if ": " in x)
            key = [x.split(": ", 1)[1] for x in lines if x.lower().startswith("sec-websocket-key")][0]
            query = urllib.parse.parse_qs(urllib.parse.urlsplit(lines[0].split(" ")[1]).query)
            assert query["wantedCollections"] == ["app.bsky.feed.post"] and headers["upgrade"]
            cursor = int(query.get("cursor", ["0"])[0])
            self.cursors.append(cursor)
            accept = base64.b64encode(hashlib.sha1(
                (key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()).decode()
            c.sendall((f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                       f"Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n").encode())
            first = max(0, -(-(cursor - T0 * 1000) // 1000)) if cursor else 0
            for k, i in enumerate(range(first, self.total)):
                data = self.event(i)
                if i % 10 == 0:  # a message in two frames
                    c.sendall(self.frame(data[:20], 1, False) + self.frame(data[20:], 0))
                else:
                    c.sendall(self.frame(data))
                if k + 1 == self.cut_every:
                    c.sendall(b"\x81")  # within a frame
                    c.close()
                    return
            while True:
                c.sendall(self.frame(b"", 9))
                time.sleep(0.05)
        except OSError:
            pass


def test_jetstream(folder):
    n = 30000
    server = Jetstream(n, 12000)
    store = os.path.join(folder, "jetstream")
    p = follow(store, "--source", "jetstream", "--url", server.url, "--memory", "100000")
    wait_until("all posts", lambda: os.path.exists(store + "/store.db") and
               stats(store)["posts"] == n)
    stop(p)
    check_once(store, [f"did:plc:{i % 9}/r{i}" for i in range(n)])
    # on a busy machine a connection may fall silent before its first event
    assert len(server.cursors) >= 2 and max(server.cursors) > 0, server.cursors
    assert not os.path.exists(store + "/spill.log"), "the queue's file is left"
    server.socket.close()


def test_kills(folder):
    n, kills = 40000, int(os.environ.get("FEED_KILLS", "6"))
    server, rng = Jetstream(n, 9000), random.Random(3)
    store = os.path.join(folder, "killed")
    killed = 0
    for _ in range(kills):
        p = follow(store, "--source", "jetstream", "--url", server.url, "--memory", "100000")
        time.sleep(rng.uniform(0.05, 1.2))
        killed += p.poll() is None
        p.kill()
        p.communicate()
        if os.path.exists(store + "/store.db"):
            done = subprocess.run([PROGRAM, "feed", "verify", store], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr
            ids = [x["id"] for x in export(store)]
            assert len(ids) == len(set(ids)), "a post is there twice"
    p = follow(store, "--source", "jetstream", "--url", server.url)
    wait_until("all posts", lambda: stats(store)["posts"] == n)
    stop(p)
    check_once(store, [f"did:plc:{i % 9}/r{i}" for i in range(n)])
    server.socket.close()
    return f"{killed} kills"


# ---------------------------------------------------------------- HTTP

def get(url, key=None):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    with urllib.request.urlopen(request, timeout=20) as r:
        return r.read().decode()


def ingest(store, records):
    subprocess.run([PROGRAM, "feed", "ingest", store, "-", "--json"], text=True, check=True,
                   input="".join(records), capture_output=True)


def test_http(folder):
    store, keys = os.path.join(folder, "http"), os.path.join(folder, "keys")
    with open(keys, "w") as f:
        f.write("# who may ask\nsesame\n")
    ingest(store, [x_post(i) for i in range(100)])
    p = subprocess.Popen([PROGRAM, "feed", "serve", store, "--port", "0", "--for", "60",
                          "--api-key-file", keys], stdout=subprocess.PIPE, text=True)
    base = p.stdout.readline().split(" on ")[1].strip().rstrip("/")
    try:
        get(base + "/v1/search?q=post")
        raise AssertionError("asked without a key")
    except urllib.error.HTTPError as e:
        assert e.code == 401
    found = json.loads(get(base + "/v1/search?q=%22post+7%22&limit=3", "sesame"))
    assert [x["id"] for x in found["posts"]] == ["7"]
    try:
        get(base + "/v1/search?q=has:feet", "sesame")
        raise AssertionError("a wrong query is answered")
    except urllib.error.HTTPError as e:
        assert e.code == 400 and "has:" in json.loads(e.read())["error"]["message"]
    for path, said in (("search?q=post&limt=3", "no parameter 'limt'"),
                       ("search?q=post&limit=3&limit=4", "given twice"),
                       ("search?q=po%00st", "NUL"),
                       ("search?q=post&page=%00", "NUL"),
                       ("search?q=post&newest=yes", "from 0 to 1"),
                       ("search?q=post&depth=0", "from 1 to 100000"),
                       ("search?q=post&page=r1.2.3", "no page of this search"),
                       ("search?limit=3", "'q' is missing"),
                       ("trends?limit=61", "from 1 to 60"),
                       ("trends?q=post", "no parameter 'q'"),
                       ("stats?verbose=1", "no parameter 'verbose'"),
                       ("stream?q=post&limit=3", "no parameter 'limit'")):
        try:
            get(base + "/v1/" + path, "sesame")
            raise AssertionError(f"{path} is answered")
        except urllib.error.HTTPError as e:
            message = json.loads(e.read())["error"]["message"]
            assert e.code == 400 and said in message, (path, e.code, message)
    stream = urllib.request.urlopen(urllib.request.Request(
        base + "/v1/stream?q=fresh", headers={"Authorization": "Bearer sesame"}), timeout=20)
    stream.readline()
    time.sleep(0.5)
    ingest(store, [x_post(200).replace("post 200", "fresh fish"), x_post(201)])
    events = []
    while not events or "fresh" not in events[-1]:
        line = stream.readline().decode()
        if line.startswith("data: "):
            events.append(line)
    assert json.loads(events[-1][6:])["id"] == "200"
    assert json.loads(get(base + "/v1/stats", "sesame"))["posts"] == 102
    ingest(store, ['{"delete":{"tweet":{"id":"200"}}}\n'])
    assert json.loads(get(base + "/v1/search?q=fresh", "sesame"))["posts"] == []
    assert "trends" in json.loads(get(base + "/v1/trends?window_s=600", "sesame"))
    subprocess.run([PROGRAM, "feed", "ask", store, "which post 31 of the stream?", "--save"],
                   capture_output=True, check=True)

    def kept():
        return json.loads(get(base + "/v1/answers", "sesame"))["answers"]
    assert len(kept()) == 1 and not kept()[0]["expired"] and "post 31" in kept()[0]["answer"]
    ingest(store, ['{"delete":{"tweet":{"id":"31"}}}\n'])
    assert kept()[0]["expired"]
    assert "answer" not in kept()[0] and "sources" not in kept()[0]
    assert "colossus_feed_lag_seconds" in get(base + "/metrics", "sesame")
    page = get(base + "/")
    assert "feed.js" in page and "fetch(" in get(base + "/feed.js")
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=20) == 0


def test_ask(folder):
    """Sources come before a model has said anything; then what of it holds."""
    may_write, asked = threading.Event(), []

    class Model(Handler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            asked.append((body, self.headers.get("Authorization")))
            assert may_write.wait(30)
            self.begin("text/event-stream")
            for text in ("Repairs of the red bridge ", "take 40 days. ", "All is lost [1]."):
                self.chunk("data: " + json.dumps({"choices": [{"delta": {"content": text}}]}) +
                           "\n\n")
            self.chunk("data: [DONE]\n\n")
            self.chunk("")

    server, url = serve(Model)
    store, key = os.path.join(folder, "asked"), os.path.join(folder, "model-key")
    with open(key, "w") as f:
        f.write("open\n")
    ingest(store, [json.dumps({"id": str(i), "service": "x", "created_ms": T0 + i, "author": f"a{i}",
                               "text": text}) + "\n" for i, text in enumerate(
        ["The red bridge closed on Monday", "Update: repairs of the red bridge take 40 days"])])
    p = subprocess.Popen([PROGRAM, "feed", "serve", store, "--port", "0", "--for", "60", "--model",
                          url + "/v1", "--model-key-file", key], stdout=subprocess.PIPE, text=True)
    base = p.stdout.readline().split(" on ")[1].strip().rstrip("/")
    stream = urllib.request.urlopen(base + "/v1/ask?q=repairs+of+the+red+bridge", timeout=30)

    def event():
        lines = []
        while not lines or lines[-1]:
            line = stream.readline().decode().rstrip("\n")
            if line and not line.startswith(":"):
                lines.append(line)
            elif not line and lines:
                break
        return lines[0], json.loads(lines[1][6:])

    name, sources = event()
    assert name == "event: sources" and [s["id"] for s in sources["sources"]] == ["1", "0"]
    wait_until("the model", lambda: asked)
    assert asked[0][1] == "Bearer open" and "tools" not in asked[0][0]
    json.loads(get(base + "/v1/search?q=bridge"))  # others are answered meanwhile
    may_write.set()
    name, answer = event()
    assert name == "event: answer"
    assert answer["answer"] == "Repairs of the red bridge take 40 days. [1]", answer["answer"]
    assert not answer["quoted"] and len(answer["sentences"]) == 2
    p.send_signal(signal.SIGTERM)
    assert p.wait(timeout=20) == 0
    server.shutdown()


def main():
    bad = 0
    only = sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        for test in (test_x, test_x_refuses, test_x_gap, test_mastodon, test_jetstream, test_kills,
                     test_http, test_ask):
            if only and test.__name__ not in only:
                continue
            try:
                print(f"ok feed: {test.__name__[5:]}: {test(folder) or 'as it should'}", flush=True)
            except (AssertionError, OSError, subprocess.SubprocessError) as e:
                print(f"{type(e).__name__}: {e}\nnot ok feed: {test.__name__[5:]}", flush=True)
                bad = 1
    sys.exit(bad)


if __name__ == "__main__":
    main()
