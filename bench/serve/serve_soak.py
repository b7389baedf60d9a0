#!/usr/bin/env python3
"""serve_soak.py: a server of this machine under mixed load with hostile clients, for a while.

  bench/serve/serve_soak.py URL PID [--minutes 20] [--key KEY]

Honest clients ask for chats with seeds, whole and streamed, and hold every answer against the first
one of the same request; others leave in the middle, send slowly, never read, send what is no HTTP
and no JSON, bodies that are too large, hundreds of connections that say nothing, schemas that
cannot be enforced. Prints the server's resident memory over time and what was answered. Exit code 1
where an honest request was lost or answered otherwise than before. URL must be of this machine."""
import argparse
import collections
import http.client
import json
import random
import socket
import sys
import threading
import time
from urllib.parse import urlsplit

WORDS = "time people water house story night world music river light paper green small".split()
counts = collections.Counter()
bad = []
first = {}
guard = threading.Lock()


def rss(pid):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
    return 0


class Load:
    def __init__(self, o):
        at = urlsplit(o.url)
        if at.hostname not in ("127.0.0.1", "localhost", "::1"):
            sys.exit("serve_soak: only a server of this machine is asked")
        self.address = (at.hostname, at.port)
        self.headers = {"Content-Type": "application/json"}
        if o.key:
            self.headers["Authorization"] = "Bearer " + o.key
        self.end = time.monotonic() + o.minutes * 60

    def over(self):
        return time.monotonic() > self.end

    def post(self, body, path="/v1/chat/completions"):
        c = http.client.HTTPConnection(*self.address, timeout=300)
        c.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), self.headers)
        answer = c.getresponse()
        data = answer.read()
        c.close()
        return answer.status, data

    def body(self, rng):
        n = rng.randrange(40)
        words = random.Random(n)
        text = " ".join(words.choice(WORDS) for _ in range(3 + n % 9))
        return n, {"messages": [{"role": "user", "content": text}], "seed": n, "temperature": 0.8,
                   "max_tokens": 8 + n % 24, "ignore_eos": True}

    def honest(self, rng):
        n, body = self.body(rng)
        streamed = rng.random() < 0.5
        status, data = self.post({**body, "stream": streamed})
        if status in (429, 503):
            counts["honest, asked to come again"] += 1
            time.sleep(0.2)
            return
        text = ""
        if status == 200 and streamed:
            for line in data.decode().split("\n"):
                if line.startswith("data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        text += choice["delta"].get("content") or ""
        elif status == 200:
            text = json.loads(data)["choices"][0]["message"]["content"]
        with guard:
            if status != 200 or (streamed and b"[DONE]" not in data):
                bad.append(f"lost: {status} {data[:200]}")
            elif first.setdefault(n, text) != text:
                bad.append(f"request {n}: {text!r} instead of {first[n]!r}")
        counts["honest, answered"] += 1

    def raw(self, data, read=0, wait=0.0):
        s = socket.create_connection(self.address, timeout=20)
        try:
            s.sendall(data)
            if read:
                s.recv(read)
            time.sleep(wait)
        except OSError:
            pass
        s.close()

    def request(self, body):
        data = json.dumps(body).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        for name, value in self.headers.items():
            head += f"{name}: {value}\r\n"
        return head.encode() + f"Content-Length: {len(data)}\r\n\r\n".encode() + data

    def leaves(self, rng):
        _, body = self.body(rng)
        self.raw(self.request({**body, "max_tokens": 200, "stream": True, "n": 2}), 512)
        counts["left in the middle"] += 1

    def never_reads(self, rng):
        _, body = self.body(rng)
        self.raw(self.request({**body, "logprobs": True, "top_logprobs": 20, "stream": True}), 0, 3)
        counts["did not read"] += 1

    def garbage(self, rng):
        self.raw(rng.randbytes(rng.randrange(1, 4000)))
        whole = self.request({"messages": []})
        self.raw(whole[:rng.randrange(1, len(whole))])
        counts["no HTTP, or half of it"] += 2

    def slow(self, rng):
        s = socket.create_connection(self.address, timeout=60)
        try:
            for c in self.request({"messages": []})[:20]:
                s.send(bytes([c]))
                time.sleep(0.2)
        except OSError:
            pass
        s.close()
        counts["sent slowly"] += 1

    def silent(self, rng):
        held = []
        try:
            for _ in range(100):
                held.append(socket.create_connection(self.address, timeout=20))
            time.sleep(1)
        except OSError:
            pass
        for s in held:
            s.close()
        counts["connections that say nothing"] += len(held)

    def wrong(self, rng):
        deep = b'{"messages":' + b"[" * 100000
        large = b'{"messages":[{"role":"user","content":"' + b"word " * 400000 + b'"}]}'
        schema = {"type": "json_schema", "json_schema": {"schema": {"type": "string",
                  "pattern": rng.choice(["^(unclosed", "(a|a)*b{1000}", "(?=x)", "[z-a]"])}}}
        message = [{"role": "user", "content": "x"}]
        bodies = [deep, large, b"{", b"\xff\xfe", {"messages": message, "response_format": schema},
                  {"messages": message, "n": 10 ** 9},
                  {"messages": message, "logit_bias": {"x": 1}},
                  {"messages": message, "stop": ["a"] * 1000}, {"prompt": [[-1]]}]
        try:
            status, data = self.post(rng.choice(bodies))
        except (OSError, http.client.HTTPException):
            status = 0  # the server has heard enough
        if status >= 500 and status != 503:
            bad.append(f"{status}: {data[:200]}")
        counts[f"wrong bodies, status {status}"] += 1

    def run(self, kind, seed):
        rng = random.Random(seed)
        while not self.over():
            try:
                getattr(self, kind)(rng)
            except (OSError, http.client.HTTPException) as e:
                if kind == "honest":
                    with guard:
                        bad.append(f"lost: {e!r}")
                time.sleep(0.1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("pid", type=int)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--key")
    o = parser.parse_args()
    load = Load(o)
    kinds = ["honest"] * 6 + ["leaves", "leaves", "never_reads", "garbage", "slow", "silent",
                              "wrong"]
    threads = [threading.Thread(target=load.run, args=(k, i)) for i, k in enumerate(kinds)]
    for t in threads:
        t.start()
    begin, series = time.monotonic(), []
    while any(t.is_alive() for t in threads):
        time.sleep(min(15, o.minutes * 3))
        series.append(rss(o.pid))
        print(f"{time.monotonic() - begin:6.0f} s  {series[-1]:8.1f} MiB  "
              f"{counts['honest, answered']} answered", flush=True)
    half = len(series) // 2
    for name, n in sorted(counts.items()):
        print(f"{n:8d} {name}")
    print(f"resident memory, largest: first half {max(series[:half] or [0]):.1f} MiB, "
          f"second half {max(series[half:]):.1f} MiB")
    for text in bad[:5]:
        print(text)
    print(f"{len(bad)} honest requests lost or answered otherwise, or errors of the server's own")
    return 1 if bad else 0


sys.exit(main())
