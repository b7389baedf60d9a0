#!/usr/bin/env python3
"""feed_kill.py COLOSSUS KILLS: an ingest is killed at random moments, and goes on from its beginning.

A made-up stream of posts, edits and deletions is taken in with --ack and killed with SIGKILL. After
each kill what was acknowledged must be in the store, the store must verify, and nothing may be there
twice. At the end the store must be what the stream says, post by post."""
import json
import os
import random
import subprocess
import sys
import tempfile
import time

POSTS = 120000
T0 = 1783000000000


def stream(rng):
    """Records in order, and for each prefix length what it leaves: built by replaying."""
    words = ["red", "fox", "moon", "river", "glass", "stone", "#tag", "$ABC"]
    records = []
    for i in range(POSTS):
        kind = rng.random()
        if kind < 0.03 and i > 100:
            records.append(("delete", str(rng.randrange(i))))
        elif kind < 0.06 and i > 100:
            records.append(("edit", str(i), str(rng.randrange(i)), " ".join(rng.choices(words, k=9))))
        else:
            records.append(("post", str(i), " ".join(rng.choices(words, k=9)) + f" n{i}"))
    return records


def line(r):
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((T0 + int(r[1])) // 1000))
    stamp = f"{at}.{(T0 + int(r[1])) % 1000:03d}Z"
    if r[0] == "delete":
        return json.dumps({"delete": {"tweet": {"id": r[1]}}})
    post = {"id": r[1], "text": r[-1], "author_id": str(int(r[1]) % 50), "created_at": stamp}
    if r[0] == "edit":
        post["edit_history_tweet_ids"] = [r[2], r[1]]
    return json.dumps({"data": post})


def replay(records):
    alive, gone = {}, set()
    for r in records:
        if r[0] == "delete":
            alive.pop(r[1], None)
            gone.add(r[1])
            continue
        if r[1] in gone:
            continue
        if r[0] == "edit":
            alive.pop(r[2], None)
            gone.add(r[2])
        alive[r[1]] = r[-1]
    return alive, gone


def export(program, store):
    out = subprocess.run([program, "feed", "export", store], capture_output=True, check=True).stdout
    posts = [json.loads(x) for x in out.splitlines()]
    ids = [p["id"] for p in posts]
    assert len(ids) == len(set(ids)), "a post is there twice"
    return {p["id"]: p["text"] for p in posts}


def main():
    program, kills = sys.argv[1], int(sys.argv[2])
    rng = random.Random(int(os.environ.get("FEED_KILL_SEED", "1")))
    records = stream(rng)
    final, gone_at_end = replay(records)
    with tempfile.TemporaryDirectory() as folder:
        path, store = os.path.join(folder, "stream.jsonl"), os.path.join(folder, "store")
        with open(path, "w") as f:
            f.writelines(line(r) + "\n" for r in records)
        command = [program, "feed", "ingest", store, path, "--ack", "--segment", "30000"]
        killed = 0
        for k in range(kills):
            p = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(rng.uniform(0.02, 1.5))
            p.kill()
            out, _ = p.communicate()
            killed += p.returncode == -9
            acked = max([int(x) for x in out.split()[:-1] if x.isdigit()] + [0])  # the last may be cut
            if not os.path.exists(os.path.join(store, "store.db")):
                continue
            v = subprocess.run([program, "feed", "verify", store], capture_output=True, text=True)
            if v.returncode != 0:
                sys.exit(f"kill {k}: {v.stdout}{v.stderr}")
            there = export(program, store)
            alive, _ = replay(records[:acked])
            for i, text in alive.items():
                assert there.get(i) == text or i in gone_at_end, f"kill {k}: post {i} is lost"
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        there = export(program, store)
        assert there == final, f"{len(there)} posts, {len(final)} expected"
        v = subprocess.run([program, "feed", "verify", store], capture_output=True, text=True)
        assert v.returncode == 0, v.stdout
        print(f"{killed} of {kills} runs were killed; {len(final)} posts, none lost, none twice")
        if kills >= 5 and killed < kills // 3:
            sys.exit("too few runs were killed for this to say anything")


if __name__ == "__main__":
    main()
