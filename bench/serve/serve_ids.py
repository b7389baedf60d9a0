#!/usr/bin/env python3
"""serve_ids.py: the ids that a served GGUF model gives to lines of a text, beside those of
Hugging Face's tokenizers, built anew from the same file's pieces and merges (byte-level BPE whose
`tokenizer.ggml.pre` is smollm or gpt-2).

  bench/serve/serve_ids.py URL MODEL.gguf TEXT... [--lines 10000]

URL as `colossus serve MODEL.gguf` prints it. Needs Python's packages gguf and tokenizers. Prints
how many lines are equal and the first that is not; exit code 1 where one is not."""
import argparse
import json
import sys
import urllib.request


def theirs(path):
    from gguf import GGUFReader
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    fields = GGUFReader(path).fields
    pieces = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    pre = fields["tokenizer.ggml.pre"].contents()
    t = Tokenizer(models.BPE({p: i for i, p in enumerate(pieces)}, merges))
    words = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    if pre == "smollm":
        words = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), words])
    elif pre != "gpt-2":
        sys.exit(f"serve_ids: how '{pre}' cuts words is not known here")
    t.pre_tokenizer = words
    t.add_special_tokens([AddedToken(p, special=True) for p, k in zip(pieces, types) if k == 3])
    return t


def ours(url, text):
    body = json.dumps({"content": text, "parse_special": True}).encode()
    request = urllib.request.Request(url.removesuffix("/v1") + "/tokenize", body)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["tokens"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("model")
    parser.add_argument("texts", nargs="+")
    parser.add_argument("--lines", type=int, default=10000)
    o = parser.parse_args()
    lines = []
    for path in o.texts:
        with open(path, encoding="utf-8", newline="") as f:
            lines += [line for line in f if line.strip()]
    step = max(1, len(lines) // o.lines)  # from everywhere in the texts
    lines = lines[::step][:o.lines]
    t = theirs(o.model)
    other = [line for line in lines if t.encode(line).ids != ours(o.url, line)]
    print(f"{len(lines)} lines, {len(lines) - len(other)} with the same ids")
    if other:
        print(repr(other[0]), ours(o.url, other[0]), t.encode(other[0]).ids, sep="\n")
    return 1 if other else 0


sys.exit(main())
