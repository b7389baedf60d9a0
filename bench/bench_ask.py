#!/usr/bin/env python3
"""bench_ask.py: 200 questions over posts at hand.

  bench/bench_ask.py COLOSSUS STORE [--model MODEL_OR_URL] [--questions 200] [--seed 1]
                     [--loose | --asked FILE] [--list FILE]

Three of four questions can be answered: each is made from a post of the store that says something
of its own (no repost, ten words and more, no near-duplicate among those chosen): four of its six
rarest words that another post has too, one perhaps in another form, put into the form of a
question. So they are easier than those of people, who use words that the post does not have. The
others ask about things that nobody mentions, beside words that everybody does.

--loose makes harder ones: three words of a post, not its rarest, two of them perhaps in another
form, beside one or two words of those that people put into questions whether or not a post has
them. A post that has all three words answers it, too. Those that have no answer are then made of
three words that posts have, and no post has two of. --asked takes questions from a file instead
(bench/ask_questions.tsv, which belongs to the posts that it names). Nothing here looks at how the
program searches.

Prints how many of the answerable have a right post among the sources (the post itself, or one that
shares six tenths of its words), how many are answered with one, how many of the others are said to
have no answer; citations of missing posts; and the milliseconds by phase. With a model also how
many answers are its own sentences, and --list writes them for a reader."""
import argparse
import json
import random
import re
import statistics
import subprocess

SHAPES = ["What do people say about {0} {1} and {2} {3}?", "Is it true that {0} {1} {2}, and {3}?",
          "Who wrote about {2} {3} of {0} {1}?", "Why {0} {1} {2} {3}?",
          "What happened with {0} and {1} when {2} {3}?"]
NOBODY = ["zeppelinport", "Krakozhia", "quiddlewort", "blorptech", "Zanzibarium", "flumoxer",
          "snarkpipe", "Wubbleton", "grommetfish", "Xylophobia"]
COMMON = ["stock", "market", "price", "today", "news", "shares", "buy", "trading"]
# How people ask when they do not know a post's words; {0} {1} {2} are three of them.
LOOSE = ["What is the reason for the {0} {1} of {2}?", "Can somebody explain {0} and {1} {2}?",
         "Did anybody report {0} {1} with {2} recently?", "How does the {0} {1} affect {2}?",
         "Which company or person announced {0} {1} {2}?", "Are people worried about {0} {1} {2}?",
         "What happens next with {0} {1} and {2}?", "Who expects {0} to be {1} by {2}?"]
STOP = set("""about after again all also and any are been before being but can could did does for
from get had has have here how into its just like more most much new not now off one only other our
out over people post said say says she should some such than that the their them then there these
they this those through time under until very via was were what when where which while who why will
with would you your http https""".split())


def words(text):
    text = re.sub(r"https?://\S+", " ", text)
    return [w.lower() for w in re.findall(r"[A-Za-z][A-Za-z']{2,}", text)]


def stem(w):
    for ending in ("ing", "ed", "es", "s"):
        if w.endswith(ending) and len(w) - len(ending) > 3:
            return w[:-len(ending)]
    return w


def alike(a, b):
    a, b = {stem(w) for w in words(a)}, {stem(w) for w in words(b)}
    return len(a & b) >= 0.6 * max(1, min(len(a), len(b)))


def other_form(w, rng):
    if w.endswith("s") or len(w) < 4:
        return w
    return w + "s" if rng.random() < 0.3 and not w.endswith(("y", "x", "ed", "ing")) else w


def make_questions(posts, n, rng):
    count = {}
    for p in posts:
        for w in set(words(p["text"])):
            count[w] = count.get(w, 0) + 1
    out, chosen = [], []
    order = posts[:]
    rng.shuffle(order)
    for p in order:
        if len(out) >= n * 3 // 4:
            break
        own = list(dict.fromkeys(w for w in words(p["text"]) if w not in STOP))
        passed_on = p["text"].startswith("RT ") or "repost_of" in p
        if passed_on or len(own) < 10 or p.get("lang", "en") != "en":
            continue
        if any(alike(p["text"], q) for q in chosen):
            continue
        rare = sorted((w for w in own if 2 <= count[w] < len(posts) / 20), key=count.get)[:6]
        if len(rare) < 4:
            continue
        picked = sorted(rng.sample(rare, 4), key=own.index)
        k = rng.randrange(4)
        picked[k] = other_form(picked[k], rng)
        chosen.append(p["text"])
        out.append((rng.choice(SHAPES).format(*picked), p))
    while len(out) < n:
        a, b = rng.sample(NOBODY, 2)
        c, d = rng.sample(COMMON, 2)
        out.append((rng.choice(SHAPES).format(a, c, b, d), None))
    return out


def loose_form(w, rng):
    if rng.random() < 0.5 or len(w) < 5:
        return w
    for ending in ("ing", "ed", "s"):
        if w.endswith(ending) and not w.endswith("ss"):
            return w[:-len(ending)]
    return w + rng.choice(["s", "ing", "ed"]) if w[-1] not in "aeiouyxs" else w


def make_loose(posts, n, rng):
    """Words between the rare ones and the common ones; what has none of them together is no answer."""
    own = [{stem(w) for w in words(p["text"])} for p in posts]
    count, where = {}, {}
    for k, s in enumerate(own):
        for w in s:
            count[w] = count.get(w, 0) + 1
            where.setdefault(w, []).append(k)
    middle = sorted(w for w in count if 3 <= count[w] < len(posts) / 50 and w not in STOP)
    out, order = [], list(range(len(posts)))
    rng.shuffle(order)
    for k in order:
        p = posts[k]
        if len(out) >= n * 3 // 4:
            break
        if p["text"].startswith("RT ") or "repost_of" in p or p.get("lang", "en") != "en":
            continue
        said = list(dict.fromkeys(w for w in words(p["text"]) if w not in STOP))
        some = [w for w in said if 3 <= count[stem(w)] < len(posts) / 50]
        if len(said) < 8 or len(some) < 5:
            continue
        picked = sorted(rng.sample(some, 3), key=said.index)
        if len({stem(w) for w in picked}) < 3:
            continue
        changed = rng.randrange(3)
        asked = [w if i == changed else loose_form(w, rng) for i, w in enumerate(picked)]
        right = {"id": p["id"], "text": p["text"], "all": [stem(w) for w in picked]}
        out.append((rng.choice(LOOSE).format(*asked), right))
    while len(out) < n:
        picked = rng.sample(middle, 3)
        near = [set(where[w]) for w in picked]
        if near[0] & near[1] or near[0] & near[2] or near[1] & near[2]:
            continue
        out.append((rng.choice(LOOSE).format(*picked), None))
    return out


def is_right(right, source):
    text = source["text"]
    if "pattern" in right:
        return re.search(right["pattern"], text) is not None
    said = {stem(w) for w in words(text)}
    return (source["id"] == right["id"] or alike(text, right["text"]) or
            ("all" in right and all(w in said for w in right["all"])))


def read_questions(path):
    with open(path) as f:
        rows = [x.rstrip("\n").split("\t") for x in f if not x.startswith("#")]
    return [(question, {"pattern": pattern} if pattern else None) for question, pattern in rows]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("colossus")
    parser.add_argument("store")
    parser.add_argument("--model")
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--asked")
    parser.add_argument("--loose", action="store_true")
    parser.add_argument("--list")
    o = parser.parse_args()
    rng = random.Random(o.seed)
    export = [o.colossus, "feed", "export", o.store]
    lines = subprocess.run(export, capture_output=True, check=True).stdout
    posts = [p for p in map(json.loads, lines.splitlines()) if "text" in p]
    make = make_loose if o.loose else make_questions
    questions = read_questions(o.asked) if o.asked else make(posts, o.questions, rng)
    by_id = {(p["service"], p["id"]): p for p in posts}
    found = cited = answerable = refused = own = kept = dropped = missing = single = degraded = 0
    ms = {"sources": [], "writing": [], "checking": [], "total": []}
    listed = []
    for text, right in questions:
        model = [o.model] if o.model else []
        command = [o.colossus, "feed", "ask", o.store, *model, text, "--json"]
        a = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        for k in ms:
            ms[k].append(a["ms"][k])
        for s in a["sources"]:
            missing += (s["service"], s["id"]) not in by_id
        numbers = {int(x) for x in re.findall(r"\[(\d+)\]", a["answer"])}
        missing += sum(1 for x in numbers if x < 1 or x > len(a["sources"]))
        kept += sum(1 for s in a["sentences"] if "dropped" not in s)
        dropped += sum(1 for s in a["sentences"] if "dropped" in s)
        own += bool(a["answered"] and not a["quoted"])
        single += a.get("label") is not None
        degraded += a["degraded"]
        if right is None:
            refused += not a["answered"]
        else:
            answerable += 1
            good = [s for s in a["sources"] if is_right(right, s)]
            found += bool(good)
            cited += any(s["n"] in numbers for s in good)
        listed.append({"question": text, "answer": a["answer"], "quoted": a["quoted"],
                       "right": right and right.get("text", right.get("pattern")),
                       "sources": [s["text"] for s in a["sources"]], "sentences": a["sentences"]})
    n = len(questions)
    print(f"{n} questions over {len(posts)} posts, {answerable} of them answerable")
    shares = {"a right post among the sources": found, "answered with a right post": cited}
    for what, k in shares.items():
        print(f"{what:<32} {k} of {answerable}: {100 * k / answerable:.1f} %")
    if n > answerable:
        print(f"no answer, and said so           {refused} of {n - answerable}")
    print(f"citations of missing posts       {missing}")
    print(f"marked single source             {single}")
    if o.model:
        print(f"answers in the model's own words {own}; sentences kept {kept}, dropped {dropped}")
        print(f"degraded                         {degraded}")
    for k, v in ms.items():
        nine = sorted(v)[int(0.9 * (n - 1))]
        print(f"ms, {k:<10} median {statistics.median(v):.1f}, of nine in ten below {nine:.1f}")
    if o.list:
        with open(o.list, "w") as f:
            json.dump(listed, f, indent=1)


if __name__ == "__main__":
    main()
