#!/usr/bin/env python3
"""tokenizer_forms.py: ids of `colossus data encode` beside those of the libraries that tokenizer
files come from, line by line.

  * Hugging Face's `tokenizers`: the forms of public tokenizers, each with its normalizer,
    pre-tokenizer, added tokens, post-processor and decoder as published, and a small vocabulary
    that is learned here;
  * `tiktoken`: the rank files of OpenAI, from a folder of its cache (TIKTOKEN_CACHE_DIR, or the
    copies in PyPI's litellm);
  * `sentencepiece`: BPE and unigram models trained with the defaults and with other options.

Text: --lines lines, the same in every run, of words and stretches of the repository's own files and
of many scripts, emoji, code, digits, spaces, control characters and added tokens; and 4,000 of them
joined by line ends as one text. Ids without a post-processor's.

    bench/tokenizer_forms.py                        # everything, a table
    bench/tokenizer_forms.py --only gemma,spm-bpe   # some
    bench/tokenizer_forms.py --golden tests/golden/tokenizers   # write small forms for the tests

Exits with 1 where any line differs."""
import argparse
import glob
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
META = "\u2581"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
UPPER, LOWER = r"\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}", r"\p{Ll}\p{Lm}\p{Lo}\p{M}"


def o200k(minus="", slash="/", first=""):
    tail = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    begin = r"[^\r\n\p{L}\p{N}]?"
    return (f"{first}{begin}[{UPPER}{minus}]*[{LOWER}{minus}]+{tail}|{begin}[{UPPER}{minus}]+[{LOWER}{minus}]*{tail}"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n" + slash + r"]*|\s*[\r\n]+|\s+(?!\S)|\s+")


DEEPSEEK = [r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
            "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
            "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"]
BLOOM = " ?[^(\\s|[.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c])]+"
CLIP = (r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
KIMI = o200k(r"&&[^\p{Han}]", "", r"[\p{Han}]+|")


# ---------------------------------------------------------------- pieces of a tokenizer.json

def level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
            "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def digits(individual=True):
    return {"type": "Digits", "individual_digits": individual}


def sequence(key, *items):
    return {"type": "Sequence", key: list(items)}


def pre(*items):
    return sequence("pretokenizers", *items)


def replace(a, b):
    return {"type": "Replace", "pattern": {"String": a}, "content": b}


def regex(a, b):
    return {"type": "Replace", "pattern": {"Regex": a}, "content": b}


def meta(scheme, do_split):
    return {"type": "Metaspace", "replacement": META, "prepend_scheme": scheme, "split": do_split}


NFC, NFKC = {"type": "NFC"}, {"type": "NFKC"}
LLAMA_DECODER = sequence("decoders", replace(META, " "), {"type": "ByteFallback"}, {"type": "Fuse"},
                         {"type": "Strip", "content": " ", "start": 1, "stop": 0})
GEMMA_DECODER = sequence("decoders", replace(META, " "), {"type": "ByteFallback"}, {"type": "Fuse"})
FALLBACK = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}


def added(content, special=True, **flags):
    return {"content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": not special, "special": special, **flags}


def spaces(most, fewest=2):
    return [added(" " * n, special=False) for n in range(most, fewest - 1, -1)]


def forms():
    """name: what decides about ids, as published. "fresh" is what the vocabulary is learned with
    where that is not the pre-tokenizer itself, which takes a line as one word."""
    end = [added("<|endoftext|>")]
    chat = [added("<|im_start|>"), added("<|im_end|>")]
    wide = [added("<|im_start|>", lstrip=True, rstrip=True), added("<|im_end|>", lstrip=True, rstrip=True)]
    bert = [added("[PAD]"), added("[UNK]"), added("[CLS]"), added("[SEP]"), added("[MASK]")]
    sp = [added("<unk>"), added("<s>"), added("</s>")]
    words = split(META, "MergedWithNext", kind="String")
    return {
        "gpt-2": dict(pre=level(), added=[added("<|endoftext|>", normalized=True)], post="bytes"),
        "llama-3": dict(pre=pre(split(LLAMA3), level(regex=False)), model={"ignore_merges": True},
                        added=[added("<|begin_of_text|>"), added("<|end_of_text|>")], post="template"),
        "cl100k": dict(pre=pre(split(LLAMA3, "Removed", True), level(regex=False)), added=end),
        "o200k": dict(pre=pre(split(o200k(), "Removed", True), level(regex=False)), added=end),
        "qwen-2": dict(norm=NFC, pre=pre(split(QWEN), level(regex=False)), post="bytes",
                       added=end + chat + [added("<tool_call>", special=False, normalized=False)]),
        "deepseek-v3": dict(norm=sequence("normalizers"), pre=pre(*map(split, DEEPSEEK), level(regex=False)),
                            added=[added("<\uff5cbegin\u2581of\u2581sentence\uff5c>"),
                                   added("<\uff5cend\u2581of\u2581sentence\uff5c>"),
                                   added("<think>", special=False)]),
        "falcon": dict(pre=pre({"type": "Punctuation", "behavior": "Contiguous"}, level(),
                               digits(False), split("[0-9][0-9][0-9]")),
                       added=[added(">>TITLE<<"), added("<|endoftext|>")]),
        "phi-2": dict(pre=level(), added=end + spaces(31) + [added("\t" * n, special=False)
                                                            for n in range(9, 1, -1)]),
        "phi-4": dict(pre=pre(split(LLAMA3, "Removed", True), level(regex=False)),
                      added=[added("<|endoftext|>", lstrip=True, rstrip=True)] + wide),
        "roberta": dict(pre=level(), post="roberta",
                        added=sp + [added("<mask>", lstrip=True)]),
        "bloom": dict(pre=pre(split(BLOOM), level(regex=False)), added=sp, post="bytes"),
        "kimi-k2": dict(pre=pre(split(KIMI), level(regex=False)),
                        added=[added("[BOS]"), added("[EOS]"), added("<|im_end|>")]),
        "claude-1": dict(norm=NFKC, pre=level(), added=[added("<EOT>"), added("<META>")]),
        "command-r": dict(norm=NFC, pre=pre(digits(), level()),
                          added=[added("<PAD>"), added("<BOS_TOKEN>"), added("<EOS_TOKEN>", normalized=False)]),
        "gemma": dict(norm=replace(" ", META), pre=split(" ", "MergedWithPrevious", kind="String"),
                      fresh=words, model=FALLBACK, decoder=GEMMA_DECODER, bytes=True,
                      added=sp + [added("<bos>"), added("\n\n", special=False, normalized=False),
                                  added(META * 2, special=False, normalized=False),
                                  added(META * 3, special=False, normalized=False),
                                  added("<table>", special=False, normalized=False)]),
        "llama-2": dict(norm=sequence("normalizers", {"type": "Prepend", "prepend": META}, replace(" ", META)),
                        pre=None, fresh=words, model=FALLBACK, decoder=LLAMA_DECODER, bytes=True, added=sp),
        "mistral": dict(pre=meta("first", False), fresh=meta("first", True), model=FALLBACK,
                        decoder=LLAMA_DECODER, bytes=True, added=sp + [added("[INST]"), added("[/INST]")]),
        "neox": dict(norm=NFC, pre=level(), post="bytes", added=end + [added("<|padding|>")] + [
            added(" " * n, special=False, normalized=True) for n in range(24, 1, -1)]),
        "starcoder": dict(pre=pre(digits(), level()), added=end + [
            added("<fim_prefix>"), added("<fim_suffix>"), added("<filename>")]),
        "smollm": dict(pre=pre(digits(), level()), added=end + chat + [added("<repo_name>")]),
        "modernbert": dict(norm=NFC, pre=level(), post="template",
                           added=[added("|||IP_ADDRESS|||", special=False), added("<|padding|>")] +
                           spaces(24) + [added("[CLS]"), added("[SEP]"), added("[MASK]", lstrip=True)]),
        # Beyond the twenty: other models and the rest of the parts.
        "gpt-2-prefix": dict(pre=level(prefix=True), added=end),
        "xlm-r": dict(kind="unigram", norm="precompiled", pre=pre({"type": "WhitespaceSplit"}, meta("always", True)),
                      decoder=meta("always", True), added=[added("<s>"), added("<pad>"), added("</s>"), added("<unk>")]),
        "t5": dict(kind="unigram", norm="precompiled", pre=meta("always", True), decoder=meta("always", True),
                   added=[added("<pad>"), added("</s>"), added("<unk>"), added("<extra_id_0>", rstrip=True)]),
        "unigram-bytes": dict(kind="unigram", norm=sequence("normalizers", {"type": "Nmt"}, {"type": "NFKD"},
                                                            {"type": "StripAccents"}),
                              pre=meta("never", True), decoder=sequence("decoders", {"type": "ByteFallback"}, meta("never", True)),
                              model={"byte_fallback": True}, bytes=True, double=300, added=[added("<unk>")]),
        "clip": dict(norm=sequence("normalizers", NFC, regex(r"\s+", " "), {"type": "Lowercase"}),
                     pre=pre(split(CLIP, "Removed", True), level(regex=False)),
                     model={"unk_token": "<|endoftext|>", "end_of_word_suffix": "</w>"},
                     added=[added("<|startoftext|>"), added("<|endoftext|>")]),
        "albert": dict(kind="unigram", pre=meta("always", True), added=[added("<pad>"), added("<unk>"), added("[CLS]"),
                                                                      added("[MASK]", lstrip=True)],
                       norm=sequence("normalizers", replace("``", '"'), replace("''", '"'), {"type": "NFKD"},
                                     {"type": "StripAccents"}, {"type": "Lowercase"}, regex(" {2,}", " ")),
                       decoder=sequence("decoders", meta("always", True), regex("^ ", ""))),
        "bert": dict(kind="wordpiece", norm={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                                             "strip_accents": None, "lowercase": True},
                     pre={"type": "BertPreTokenizer"}, decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
                     added=bert),
        "word-level": dict(kind="wordlevel", norm=sequence("normalizers", {"type": "Strip", "strip_left": True, "strip_right": True},
                                                           {"type": "NFD"}, {"type": "Lowercase"}),
                           pre={"type": "Whitespace"}, decoder=None, added=bert),
        "affixes": dict(pre={"type": "WhitespaceSplit"}, model={"unk_token": "[UNK]", "end_of_word_suffix": "</w>",
                                                                "continuing_subword_prefix": "##"},
                        decoder={"type": "BPEDecoder", "suffix": "</w>"}, added=bert),
        "affix-bytes": dict(pre={"type": "WhitespaceSplit"}, bytes=True, model=dict(FALLBACK, end_of_word_suffix="</w>"),
                            decoder=sequence("decoders", {"type": "ByteFallback"}, {"type": "BPEDecoder", "suffix": "</w>"}),
                            added=[added("<unk>")]),
        "special-words": dict(norm=NFKC, pre=level(), added=end + [
            added("the", single_word=True), added("er", single_word=True, lstrip=True), added("  ", lstrip=True, rstrip=True), added("\u0120a")]),
        "special-pieces": dict(kind="unigram", norm=NFKC, pre=meta("always", True), decoder=meta("always", True), added=[
            added("<unk>"), added("</s>"), added("the", single_word=True), added("er", single_word=True, rstrip=True)]),
        "single-word": dict(pre=level(), added=end + [added("the", special=False, single_word=True),
                                                      added("busy", special=False, single_word=True, normalized=False)]),
    }


# ---------------------------------------------------------------- text

SCRIPTS = ["abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789",
           "\u00e0\u00e9\u00ee\u00f5\u00fc\u00df\u00f1\u00e7\u0153\u0131\u0130\u01c5\u1e9e", "\u0430\u0431\u0432\u0433\u0434\u0435\u0416\u0429\u042d\u044e\u044f",
           "\u03b1\u03b2\u03b3\u03b4\u03a3\u03c3\u03c2\u03a9", "\u4e2d\u6587\u5b57\u6f22\u65e5\u672c\u8a9e\u3400\uf900", "\u3072\u3089\u304c\u306a\u30ab\u30bf\u30ab\u30ca\uff76\uff9e\u3099",
           "\ud55c\uad6d\uc5b4\u1112\u1161\u11ab", "\u0627\u0644\u0639\u0631\u0628\u064a\u0629\u064b\u0661\u0662", "\u05e2\u05d1\u05e8\u05d9\u05ea",
           "\u0939\u093f\u0928\u094d\u0926\u0940\u0967\u0968\u0964", "\u0e44\u0e17\u0e22\u0e50\u0e33", "\u1ea0\u1ebf\u01b0\u0301\u0323\u0308\u20dd",
           "\uff21\uff22\uff11\uff12\ufb01\u2460\u00bd\u00b2\u2167\u3231", "\U0001f600\U0001f680\U0001f44d\U0001f3fd\u200d\u2764\ufe0f\U0001f1e9\U0001f1ea\U0001f468\u200d\U0001f469",
           "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "\u2026\u3002\uff0c\u3001\u00ab\u00bb\u201c\u201d\u2019\u00a7\u20ac\u2192\u2211\u00ac\u00b7",
           " \u00a0\u2003\u3000\u202f\t", "\x01\x07\x0b\x1f\x7f\x85\u00ad\u200b\u200e\u2028\ufeff\ufffd\ue000\u0378",
           "\u2581_", "\u1680\u180e\U0001d7d8\U0001d400\U00020000\U0002a700"]
SNIPPETS = ["don't", "I'LL", "we've", "'s", "x86_64", "3.14159", "1234567", "2026-11-29", "  ", "    ", "   ", "\t\t", " \t ",
            "\r", "\r\r", "for (int i = 0; i < n; i++) {", "return x;", "#include <stdio.h>", "def f(a, b=None):",
            "https://example.org/a?b=c&d=%20", "caf\u00e9", "cafe\u0301", "na\u00efve", "the", "<0x41>", "...", "!?", "a.b.c", "camelCaseWord",
            "HTTPServer", "snake_case", "\u2581\u2581", "<|im_start|>", "</s>", "[MASK]", "<mask>", "\\n", "\u00c5ngstr\u00f6m", "stra\u00dfe"]


def own_text():
    """Words and lines of the repository's own documents and sources."""
    text = []
    for pattern in ("docs/*.md", "docs/decisions/*.md", "src/text/*/*.c", "tests/data/tokenizer/text.txt"):
        for path in sorted(glob.glob(os.path.join(ROOT, pattern))):
            text += open(path, encoding="utf-8").read().split("\n")
    return [line for line in text if line.strip()]


def make_lines(count, extra, own, seed=20):
    """`count` lines; extra: added tokens that are mixed in. No line end within a line."""
    r = random.Random(seed)
    words = sorted({w for line in own for w in line.split()})

    def part():
        kind = r.random()
        if kind < 0.35:
            return r.choice(words)
        if kind < 0.5:
            return r.choice(SNIPPETS)
        if kind < 0.6 and extra:
            return r.choice(extra)
        if kind < 0.65:
            line = r.choice(own)
            at = r.randrange(len(line))
            return line[at:at + r.randrange(1, 30)]
        alphabet = r.choice(SCRIPTS)
        return "".join(r.choice(alphabet) for _ in range(r.randrange(1, 7)))

    lines = []
    while len(lines) < count:
        if r.random() < 0.15:
            line = r.choice(own)
        else:
            line = "".join(part() + r.choice(["", "", " ", " ", "  "]) for _ in range(r.randrange(1, 12)))
        lines.append(line.replace("\n", " "))
    return lines


# ---------------------------------------------------------------- ours

class Ours:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder

    def run(self, tokenizer, text, *options):
        done = subprocess.run([self.program, "data", "encode", "--tokenizer", tokenizer, "--special", *options],
                              input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            raise RuntimeError(done.stderr.decode().strip().replace("\n", "; "))
        return [[int(i) for i in line.split()] for line in done.stdout.decode().split("\n")[:-1]]

    def lines(self, tokenizer, lines):
        return self.run(tokenizer, "".join(line + "\n" for line in lines), "--lines")

    def whole(self, tokenizer, text):
        return self.run(tokenizer, text)[0]


# ---------------------------------------------------------------- Hugging Face

def spm_charsmap():
    """nmt_nfkc as sentencepiece carries it: the map of any model trained without options."""
    return spm_train(["a b c d e f g"] * 40, model_type="unigram", vocab_size=16, hard_vocab_limit=False)


def spm_train(lines, **options):
    import sentencepiece
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, minloglevel=2,
                                             num_threads=1, **options)
    return out.getvalue()


def read_charsmap(model):
    """Field 2 of field 3 of the protobuf message."""
    def fields(data):
        at = 0

        def varint():
            nonlocal at
            value = shift = 0
            while True:
                byte = data[at]
                at += 1
                value |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return value
        while at < len(data):
            key = varint()
            if key & 7 == 0:
                yield key >> 3, varint()
            else:
                size = {1: 8, 5: 4}.get(key & 7) or varint()
                yield key >> 3, data[at:at + size]
                at += size
    import base64
    spec = next(v for k, v in fields(model) if k == 3)
    return base64.b64encode(next(v for k, v in fields(spec) if k == 2)).decode()


POST = {"bytes": level(), "template": {"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": 0}}],
                                       "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                                       "special_tokens": {}}}


def make_form(form, train, size):
    """The tokenizer.json of a form with a vocabulary of about `size` learned from the lines."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    norm = form.get("norm")
    if norm == "precompiled":
        norm = {"type": "Precompiled", "precompiled_charsmap": read_charsmap(spm_charsmap())}
    kind = form.get("kind", "bpe")
    model = {"bpe": models.BPE, "unigram": models.Unigram, "wordpiece": models.WordPiece,
             "wordlevel": models.WordLevel}[kind]
    names = [a["content"] for a in form["added"] if a["special"]]
    unknown = next((n for n in ("<unk>", "[UNK]") if n in names), None)
    fallback = [f"<0x{i:02X}>" for i in range(256)] if form.get("bytes") else []
    base = json.loads(Tokenizer(model()).to_str())
    base.update(normalizer=norm, pre_tokenizer=form.get("fresh") or form["pre"])
    if kind == "unigram":
        base["model"].update(vocab=[], unk_id=None)
    fresh = Tokenizer.from_str(json.dumps(base))
    options = dict(vocab_size=size, special_tokens=names + fallback, show_progress=False)
    byte_level = '"ByteLevel"' in json.dumps(form["pre"])
    if kind == "unigram":
        trainer = trainers.UnigramTrainer(unk_token=unknown, **options)
    elif kind == "wordpiece":
        trainer = trainers.WordPieceTrainer(**options)
    elif kind == "wordlevel":
        trainer = trainers.WordLevelTrainer(**options)
    else:
        if byte_level:
            options["initial_alphabet"] = pre_tokenizers.ByteLevel.alphabet()
        for key in ("continuing_subword_prefix", "end_of_word_suffix"):
            if key in form.get("model", {}):
                options[key] = form["model"][key]
        trainer = trainers.BpeTrainer(**options)
    fresh.train_from_iterator(train, trainer)
    made = json.loads(fresh.to_str())
    made["pre_tokenizer"] = form["pre"]
    made["model"].update(form.get("model", {}))
    if form.get("double"):  # the same piece again, under another id
        made["model"]["vocab"].append(list(made["model"]["vocab"][form["double"]]))
    if kind in ("wordpiece", "wordlevel"):
        made["model"]["unk_token"] = unknown
    made["decoder"] = form.get("decoder", level() if byte_level else None)
    made["post_processor"] = POST.get(form.get("post"))
    if form.get("post") == "roberta":
        vocab = made["model"]["vocab"]
        made["post_processor"] = {"type": "RobertaProcessing", "sep": ["</s>", vocab["</s>"]], "cls": ["<s>", vocab["<s>"]],
                                  "trim_offsets": True, "add_prefix_space": False}
    vocab = made["model"]["vocab"]
    ids = {p[0]: i for i, p in enumerate(vocab)} if isinstance(vocab, list) else vocab
    top = max(ids.values()) + 1
    made["added_tokens"] = []
    for token in form["added"]:
        id = ids.get(token["content"])
        if id is None:
            id, top = top, top + 1
        made["added_tokens"].append({"id": id, **token})
    made["added_tokens"].sort(key=lambda a: a["id"])
    return json.dumps(made, ensure_ascii=False)


class HuggingFace:
    def __init__(self, text):
        from tokenizers import Tokenizer
        self.tokenizer = Tokenizer.from_str(text)

    def lines(self, lines):
        return [e.ids for e in self.tokenizer.encode_batch(lines, add_special_tokens=False)]

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


# ---------------------------------------------------------------- tiktoken and sentencepiece

def tiktoken_files(folder):
    """name: rank file. r50k is the beginning of p50k, as its published SHA-256 proves."""
    import importlib.util
    cache = os.environ.get("TIKTOKEN_CACHE_DIR")
    if not cache:
        cache = os.path.join(os.path.dirname(importlib.util.find_spec("litellm").origin),
                             "litellm_core_utils", "tokenizers")
    os.environ["TIKTOKEN_CACHE_DIR"] = os.path.join(folder, "cache")
    os.makedirs(os.environ["TIKTOKEN_CACHE_DIR"], exist_ok=True)
    import tiktoken_ext.openai_public as public
    found = {}
    source = open(public.__file__).read()
    urls = [w.strip('",') for w in source.split() if w.strip('",').endswith(".tiktoken")]
    by_name = {os.path.basename(u)[:-9]: u for u in urls}

    def put(name, data):
        key = hashlib.sha1(by_name[name].encode()).hexdigest()
        open(os.path.join(folder, "cache", key), "wb").write(data)
        open(os.path.join(folder, name + ".tiktoken"), "wb").write(data)
        found[name] = os.path.join(folder, name + ".tiktoken")
    for name, url in by_name.items():
        path = os.path.join(cache, hashlib.sha1(url.encode()).hexdigest())
        if os.path.exists(path):
            put(name, open(path, "rb").read())
    if "p50k_base" in found and "r50k_base" not in found:
        data = b"".join(open(found["p50k_base"], "rb").readlines()[:50256])
        if hashlib.sha256(data).hexdigest() in source:
            put("r50k_base", data)
    return found


class Tiktoken:
    def __init__(self, name):
        import tiktoken
        self.encoding = tiktoken.get_encoding(name)

    def lines(self, lines):
        return self.encoding.encode_batch(lines, allowed_special="all")


SPM = {
    "spm-bpe": dict(model_type="bpe"),
    "spm-bpe-bytes": dict(model_type="bpe", byte_fallback=True, split_digits=True, normalization_rule_name="identity",
                          remove_extra_whitespaces=False, allow_whitespace_only_pieces=True),
    "spm-bpe-symbols": dict(model_type="bpe", user_defined_symbols="<sep>,\u2581\u2581,don't,\uff21", control_symbols="<ctl>",
                            normalization_rule_name="nmt_nfkc_cf"),
    "spm-bpe-plain": dict(model_type="bpe", add_dummy_prefix=False, normalization_rule_name="nfkc",
                          split_by_whitespace=False),
    "spm-unigram": dict(model_type="unigram"),
    "spm-unigram-bytes": dict(model_type="unigram", byte_fallback=True, normalization_rule_name="identity",
                              remove_extra_whitespaces=False),
    "spm-unigram-symbols": dict(model_type="unigram", user_defined_symbols="<sep>,the,\u2581\u2581,\uff21",
                                control_symbols="<ctl>", add_dummy_prefix=False, normalization_rule_name="nfkc_cf"),
}


class SentencePiece:
    def __init__(self, model):
        import sentencepiece
        self.processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    def lines(self, lines):
        return self.processor.encode(lines)

    def decode(self, ids):
        return self.processor.decode(ids)


# A character map takes 240 KB: few of the files for the tests have one.
NOT_GOLDEN = {"xlm-r", "spm-bpe", "spm-bpe-symbols", "spm-bpe-plain", "spm-unigram"}


# ---------------------------------------------------------------- comparing

def show_difference(line, got, want):
    at = next((i for i in range(min(len(got), len(want))) if got[i] != want[i]), min(len(got), len(want)))
    return f"    {line!r}\n      from token {at}: got {got[at:at + 12]}, want {want[at:at + 12]}"


def compare(name, path, oracle, ours, lines, shown):
    try:
        got = ours.lines(path, lines)
    except RuntimeError as problem:
        print(f"{name:22} refused: {problem}")
        return False
    want = oracle.lines(lines)
    bad = [i for i in range(len(lines)) if got[i] != want[i]]
    r = random.Random(4)
    text = "".join(line + r.choice(["\n", "\n", "\n\n", "\r\n", " \n", "\n "]) for line in lines[:4000])
    whole_got, whole_want = ours.whole(path, text), oracle.lines([text])[0]
    print(f"{name:22} {len(lines) - len(bad):7} of {len(lines)} lines equal, "
          f"one text of {len(whole_want)} ids {'equal' if whole_got == whole_want else 'DIFFERS'}", flush=True)
    for i in bad[:shown]:
        print(show_difference(lines[i], got[i], want[i]))
    if not bad and whole_got != whole_want and shown:
        print(show_difference("(the text)", whole_got, whole_want))
    return not bad and whole_got == whole_want


def write_golden(folder, name, suffix, data, lines, oracle):
    base = os.path.join(folder, name)
    open(base + suffix, "wb").write(data)
    ids = oracle.lines(lines)
    text = "".join(line + "\n" for line in lines)
    back = "".join(oracle.decode(i) + "\n" for i in ids)
    open(base + ".in", "w", newline="").write(text)
    open(base + ".ids", "w").write("".join(" ".join(map(str, i)) + "\n" for i in ids))
    open(base + ".opt", "w").write("--lines\n--special\n")
    if back != text:
        open(base + ".out", "w", newline="").write(back)
    elif os.path.exists(base + ".out"):
        os.remove(base + ".out")


def make_all(o, train, folder, only):
    """(name, suffix, file, oracle, strings to mix into the text) of every form."""
    for name, form in forms().items():
        if not only or name in only:
            text = make_form(form, train, o.vocab)
            yield name, ".json", text.encode(), HuggingFace(text), [a["content"] for a in form["added"]]
    for name, options in SPM.items():
        if not only or name in only:
            model = spm_train([line for line in train if line.strip()], vocab_size=max(o.vocab, 800),
                              character_coverage=0.98 if o.golden else 0.995, hard_vocab_limit=False, **options)
            yield name, ".model", model, SentencePiece(model), ["<sep>", "<ctl>", "<s>"]
    files = {} if o.golden else tiktoken_files(folder)
    for name, path in sorted(files.items()):
        if not only or name in only:
            yield name, ".tiktoken", open(path, "rb").read(), Tiktoken(name), ["<|endoftext|>", "<|fim_prefix|>"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(ROOT, "colossus"))
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--vocab", type=int, default=1500)
    parser.add_argument("--only", default="", help="names of forms, joined by commas")
    parser.add_argument("--show", type=int, default=2, help="lines to show of a form that differs")
    parser.add_argument("--golden", help="write small forms with 40 lines into this folder instead")
    o = parser.parse_args()
    only = set(filter(None, o.only.split(",")))
    own = own_text()
    if o.golden:
        o.lines, o.vocab = 40, 450
    train = own + make_lines(4000, [], own, seed=7)
    good, seen = True, 0
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(o.program, folder)
        for name, suffix, data, oracle, extra in make_all(o, train, folder, only):
            if o.golden and name in NOT_GOLDEN and name not in only:
                continue
            lines = make_lines(o.lines, extra, own)
            if o.golden:
                write_golden(o.golden, name, suffix, data, [l for l in lines if "\r" not in l], oracle)
                continue
            path = os.path.join(folder, name + suffix)
            open(path, "wb").write(data)
            good &= compare(name, path, oracle, ours, lines, o.show)
            seen += 1
    if not o.golden:
        print(f"{seen} forms, {'all equal' if good else 'some differ'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
