#!/usr/bin/env python3
"""make_fixtures.py: makes the tokenizer fixtures beside it from text.txt.

    python3 tests/data/tokenizer/make_fixtures.py

It needs Hugging Face's tokenizers (pip install tokenizers) for *.json and Debian's sentencepiece
(spm_train, spm_encode, spm_decode) for *.model. Tests only read what is here; run it again to add a
case. For every tokenizer NAME there is NAME.cases.jsonl: one object a line with the text, as
"text" or, where it is no valid UTF-8, in hex as "bytes"; the "ids"; and what they decode to
("decoded", where it is not the text). The ids were made by the other program, never by ours.
"""
import json
import os
import subprocess
import tempfile

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
GROK2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = GROK2.replace(r"\p{N}|", r"\p{N}{1,3}|")
DEEPSEEK_LIKE = [r"\p{N}{1,3}", r"[\p{Han}\p{Hiragana}\p{Katakana}]+",
                 r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"]

TEXTS = [
    "", "a", " ", "  ", "\n", "\r\n", "\t", "Hello, world!", " leading and trailing ",
    "The cable, the machine and the pump.", "two  spaces   three    four", "a\n\nb\n \n c\n  d",
    "line\r\nline\r\n\r\nline", "It's they'll WE'VE I'D you're 'tis rock'n'roll don\u2019t",
    "it'\u017f 'S 'LL 'Ve 'x '", "12345 3.14159 1,000,000 v2 x86-64 \u00bd \u00b2 \u0664\u0662",
    "F\u00e4llt \u00e9t\u00e9 na\u00efve co\u00f6perate \u00c5ngstr\u00f6m",
    "e\u0301 A\u030a o\u0308 \u1e9b\u0323 \u212b \u00c5", "\u041c\u0430\u0448\u0438\u043d\u0430 \u0441\u0447\u0438\u0442\u0430\u0435\u0442",
    "\u673a\u5668\u5f88\u5feb\uff0c\u4f46\u662f\u7b49\u5f85\u5f88\u957f\u3002 \u96fb\u529b\u304c\u8db3\u308a\u306a\u3044",
    "\U0001f600\U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1ee\U0001f1ea\U0001f1ee\U0001f1ea",
    "\u00a0nbsp\u2003em\u3000wide\u2028line\u0085nel\u180emvs", "\x00\x01\x7f\u0080\ufeff",
    "for (int i = 0; i < n; i++) {\n    sum += x[i];\n}\n", "def f(x):\n\treturn x ** 2\n",
    "<|eos|> <|pad|> <|separator|>", "<|separator|>\n\nAssistant:", "<|eos|>the<|eos|><|eos|> cable",
    "http://example.org/a?b=c&d=1 #tag @user $CASH 100%", "...!!!???\n\n---===***", "     ", "\n\n\n",
    "\u2581the\u2581cable \u2581 \u2581\u2581", "word" * 40, "ab" * 100 + " " + "aaaa" * 50,
    "x" + " " * 70 + "y", "The grid says nothing. " * 6, "\t\ttabs\t tabs \t", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22",
    "\u0939\u093f\u0928\u094d\u0926\u0940 \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea",
    "\ufffd\u2066\ue000\U0010ffff", "[UNK] <unk> <s> </s> [PAD] <0x0A> <0x41>",
]
BYTES = [b"\xff", b"a\xffb \x80", b"\xe2\x96 x", b"\xe2\x96", b"\xf0\x9f\x98 \xc3(", b"\xed\xa0\x80 \xc0\x80",
         b"the\xff\xff cable\x80\x81\x82", b"\xf8\x88\x80\x80\x80\xf4\x90\x80\x80"]


def write_cases(name, cases):
    with open(os.path.join(HERE, name + ".cases.jsonl"), "w", encoding="utf-8") as f:
        for case in cases:
            f.write(json.dumps(case, separators=(",", ":")) + "\n")


def train(pre_tokenizer, vocab_size, specials=("<|eos|>", "<|pad|>", "<|separator|>"), **model):
    t = Tokenizer(models.BPE(**model))
    t.pre_tokenizer = pre_tokenizer
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, min_frequency=2, show_progress=False,
                                  special_tokens=list(specials),
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train([os.path.join(HERE, "text.txt")], trainer)
    return t


def split(pattern, behavior="isolated", invert=False):
    return pre_tokenizers.Split(Regex(pattern), behavior, invert)


def byte_level(**o):
    return pre_tokenizers.ByteLevel(**dict(dict(add_prefix_space=False, use_regex=False), **o))


def save_hf(name, t, merges_as_text=False):
    path = os.path.join(HERE, name + ".json")
    root = json.loads(t.to_str())
    if merges_as_text:
        root["model"]["merges"] = [" ".join(m) for m in root["model"]["merges"]]
    with open(path, "w", encoding="utf-8") as f:
        json.dump(root, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")
    t = Tokenizer.from_file(path)
    cases = []
    for text in TEXTS:
        ids = t.encode(text, add_special_tokens=False).ids
        decoded = t.decode(ids, skip_special_tokens=False)
        cases.append({"text": text, "ids": ids} | ({} if decoded == text else {"decoded": decoded}))
    write_cases(name, cases)


def make_hf():
    seq = pre_tokenizers.Sequence
    save_hf("hf-grok2", train(seq([split(GROK2), byte_level()]), 420))
    t = train(byte_level(use_regex=True), 330)
    t.add_tokens([AddedToken("  ", normalized=True), AddedToken("the cable", normalized=False)])
    save_hf("hf-gpt2", t, merges_as_text=True)
    save_hf("hf-prefix", train(byte_level(use_regex=True, add_prefix_space=True), 320))
    t = train(seq([split(LLAMA3, "removed", True), byte_level()]), 340, ignore_merges=True)
    t.normalizer = normalizers.NFC()
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    save_hf("hf-llama3-nfc", t)
    save_hf("hf-stages", train(seq([split(p) for p in DEEPSEEK_LIKE] + [byte_level()]), 340))
    t = train(seq([pre_tokenizers.Digits(individual_digits=True), byte_level(use_regex=True)]), 320)
    save_hf("hf-digits", t)
    # A vocabulary in which a word is a piece that merging does not reach: ignore_merges decides.
    t = train(seq([split(GROK2), byte_level()]), 300)
    root = json.loads(t.to_str())
    root["model"]["ignore_merges"] = True
    for word in ["\u0120machine", "Hello", "\u0120nothing"]:
        root["model"]["vocab"].setdefault(word, len(root["model"]["vocab"]))
    save_hf("hf-whole-words", Tokenizer.from_str(json.dumps(root)))


def run(command, data=b""):
    return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True,
                          stderr=subprocess.DEVNULL).stdout


def save_spm(name, *options):
    path = os.path.join(HERE, name + ".model")
    with tempfile.TemporaryDirectory() as folder:
        run(["spm_train", "--input=" + os.path.join(HERE, "text.txt"), "--model_type=bpe",
             "--model_prefix=" + os.path.join(folder, "m"), "--num_threads=1", *options])
        with open(os.path.join(folder, "m.model"), "rb") as f:
            model = f.read()
    # The path of the training text stands in the file; it is nobody's business.
    model = model.replace(folder.encode(), b"." * len(folder))
    model = model.replace(HERE.encode(), b"." * len(HERE))
    with open(path, "wb") as f:
        f.write(model)
    cases = []
    # spm_encode reads lines: a line end inside a text cannot be given to it.
    for data in [t.encode() for t in TEXTS if "\n" not in t] + BYTES:
        ids = run(["spm_encode", "--model=" + path, "--output_format=id"], data + b"\n")
        decoded = run(["spm_decode", "--model=" + path, "--input_format=id"], ids)[:-1].decode()
        case = {"ids": [int(x) for x in ids.split()]}
        try:
            case["text"] = data.decode()
        except UnicodeDecodeError:
            case["bytes"] = data.hex()
        if case.get("text") != decoded:
            case["decoded"] = decoded
        cases.append(case)
    write_cases(name, cases)


def make_spm():
    plain = ["--normalization_rule_name=identity", "--remove_extra_whitespaces=false"]
    # As Grok-1's was made.
    save_spm("spm-grok1", *plain, "--vocab_size=600", "--byte_fallback=true", "--split_digits=true",
             "--allow_whitespace_only_pieces=true", "--character_coverage=0.98",
             "--user_defined_symbols=" + ",".join(
                 list("0123456789") + ["\t", "\t\t", "  ", "    ", "<|separator|>", "<|mask|>"]),
             "--unk_id=3", "--unk_piece=[UNK]", "--pad_id=0", "--pad_piece=[PAD]", "--bos_id=1",
             "--bos_piece=[BOS]", "--eos_id=2", "--eos_piece=[EOS]")
    # What spm_train does when it is told nothing but identity: spaces trimmed, no byte fallback.
    save_spm("spm-trimmed", "--normalization_rule_name=identity", "--vocab_size=300",
             "--character_coverage=0.98", "--user_defined_symbols=<sep>, ,a  b,\u2581\u2581",
             "--control_symbols=<ctl>")
    # Pieces with spaces inside: lines cannot be cut at spaces.
    save_spm("spm-phrases", *plain, "--vocab_size=620", "--split_by_whitespace=false",
             "--byte_fallback=true", "--character_coverage=0.98", "--unk_surface=<?>")
    # No dummy prefix; user-defined symbols that overlap and hold U+2581.
    save_spm("spm-overlap", *plain, "--vocab_size=340", "--add_dummy_prefix=false",
             "--character_coverage=0.98", "--split_by_number=false",
             "--user_defined_symbols=ca,cab,able,\u2581the,\u2581\u2581\u2581,aa,aaa")


if __name__ == "__main__":
    make_hf()
    make_spm()
