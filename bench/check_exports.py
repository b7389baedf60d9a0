#!/usr/bin/python3
"""check_exports.py: exported models beside llama.cpp and transformers.

    bench/check_exports.py --server llama-server --quantise llama-quantize [--transformers python3]

Whatever is given is run; each is a command, so that a prefix may be put before it (nice, a loader).

* llama-server gets the golden folders that `colossus convert` writes as GGUF, and Hugging Face's
  (tests/golden/hf); its logits behind prompts of several lengths are compared with the folder's
  expected ones, which are of our float64 reference and of transformers. They are log-probabilities,
  so a constant is taken away first.
* llama-quantize quantises the matrices of --model (a folder of this program's; a random one is made
  where none is named) to each format, and `colossus convert` does; the root mean square of the errors of
  each tensor is compared.
* transformers runs the dense golden folders that `colossus convert --to hf` writes."""
import argparse, json, os, shlex, struct, subprocess, sys, tempfile, time, urllib.request
import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GOLDEN = os.path.join(ROOT, "tests/golden")
OURS = ["multipliers", "top-1", "one-token", "dense-wide-head"]
HF = ["llama", "llama-biases", "llama3-rope", "yarn", "qwen2", "qwen3", "mixtral", "qwen3-moe",
      "gemma2", "gemma3"]
DENSE = ["dense-wide-head", "dense-untied"]
PORT = 8097


def tensors(path):
    with open(path, "rb") as f:
        data = f.read()
    n, = struct.unpack("<Q", data[:8])
    kinds = {"F32": np.float32, "F64": np.float64, "I32": np.int32, "I64": np.int64}
    out = {}
    for name, t in json.loads(data[8:8 + n]).items():
        if name != "__metadata__" and t["dtype"] in kinds:
            a, b = (8 + n + x for x in t["data_offsets"])
            out[name] = np.frombuffer(data[a:b], kinds[t["dtype"]]).reshape(t["shape"])
    return out


def expected(folder):
    want = tensors(os.path.join(folder, "expected.safetensors"))
    if "tokens" in want:
        return want["tokens"], want["logits"]
    tokens = tensors(os.path.join(folder, "batch.safetensors"))["tokens"].reshape(-1)
    logits = want["logits"].reshape(-1, want["logits"].shape[-2], want["logits"].shape[-1])[0]
    return tokens[:len(logits)], logits


def tokenizer(path, vocabulary):
    """A SentencePiece model of so many pieces, a byte among them as llama.cpp wants it."""
    def field(number, data):
        return bytes([number << 3 | 2, len(data)]) + data

    def piece(text, kind):
        return field(1, field(1, text.encode()) + b"\x15" + struct.pack("<f", 0) + bytes([0x18, kind]))
    names = [("<unk>", 2), ("<s>", 3), ("</s>", 3), ("<0x0A>", 1), ("\u2581", 1)]
    names += [(f"x{i}", 1) for i in range(len(names), vocabulary)]
    with open(path, "wb") as f:
        f.write(b"".join(piece(*n) for n in names) + b"\x12\x02\x18\x02\x1a\x04\x18\x00\x20\x00")


def run(*command):
    r = subprocess.run([str(c) for c in command], capture_output=True, text=True,
                       errors="replace")
    if r.returncode:
        sys.exit(f"{' '.join(map(str, command))}:\n{r.stdout}{r.stderr}")
    return r.stdout


def convert(source, out, *options):
    return run(os.path.join(ROOT, "colossus"), "convert", source, out, "--force", *options)


# ---------------------------------------------------------------- llama.cpp
def ask(tokens, vocabulary):
    body = {"prompt": [int(t) for t in tokens], "n_predict": 1, "temperature": 0,
            "n_probs": vocabulary, "cache_prompt": False}
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}/completion",
                                     json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        first = json.load(answer)["completion_probabilities"][0]
    z = np.full(vocabulary, np.nan)
    for x in first["top_logprobs"]:
        z[x["id"]] = x["logprob"]
    return z


def serve(server, path, log):
    p = subprocess.Popen([*server, "-m", path, "--host", "127.0.0.1", "--port", str(PORT), "-c", "64",
                          "-np", "1", "-t", "1", "-ctk", "f32", "-ctv", "f32", "-fa", "off", "--no-warmup"],
                         stdout=log, stderr=subprocess.STDOUT)
    for _ in range(240):
        time.sleep(0.25)
        if p.poll() is not None:
            break
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5)
            return p
        except OSError:
            pass
    p.kill()
    return None


def beside_llama(server, folder, work):
    tokens, logits = expected(folder)
    vocabulary = logits.shape[-1]
    tokenizer(f"{work}/tokenizer.model", vocabulary)
    convert(folder, f"{work}/m.gguf", "--tokenizer", f"{work}/tokenizer.model", "--type", "f32")
    with open(f"{work}/log", "w+") as log:
        p = serve(server, f"{work}/m.gguf", log)
        if not p:
            log.seek(0)
            print(log.read()[-2000:])
            sys.exit(f"{folder}: llama.cpp does not load it")
        worst = 0
        try:
            for n in sorted({1, min(2, len(tokens)), len(tokens)}):
                d = ask(tokens[:n], vocabulary) - logits[n - 1]
                worst = max(worst, float(np.nanmax(np.abs(d - np.nanmean(d)))))
        finally:
            p.terminate()
            p.wait()
    return worst, float(np.ptp(logits))


# ---------------------------------------------------------------- transformers
TRANSFORMERS = """
import sys, json, torch, transformers
out = []
for folder in sys.argv[1:]:
    m = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32,
                                                          attn_implementation="eager").eval()
    ids = json.load(open(folder + "/ids.json"))
    with torch.no_grad():
        out.append(m(torch.tensor([ids])).logits[0].tolist())
print(json.dumps(out))
"""


def beside_transformers(python, work):
    folders = []
    for name in DENSE:
        out = f"{work}/hf-{name}"
        convert(f"{GOLDEN}/data/{name}", out, "--to", "hf")
        with open(f"{out}/ids.json", "w") as f:
            json.dump([int(t) for t in expected(f"{GOLDEN}/data/{name}")[0]], f)
        folders.append(out)
    have = json.loads(run(*python, "-c", TRANSFORMERS, *folders).strip().splitlines()[-1])
    for name, logits in zip(DENSE, have):
        d = np.abs(np.array(logits) - expected(f"{GOLDEN}/data/{name}")[1]).max()
        print(f"transformers  {name:18} logits off by {d:.1e}")


# ---------------------------------------------------------------- quantisers
def gguf_tensors(path):
    sys.path.insert(0, GOLDEN)
    import gguf_blocks
    f = gguf_blocks.File(path)
    return {name: f.tensor(name) for name in f.tensors}


def random_model(work):
    rng, D, F, h = np.random.default_rng(1), 512, 1024, 64
    c = dict(vocab_size=512, n_layers=2, d_model=D, n_heads=8, n_kv_heads=4, head_dim=h,
             ffn_hidden=F, n_experts=1, n_experts_used=1, context_length=64)
    w = {"token_embd.weight": rng.standard_t(4, (512, D)) * 0.02,
         "output_norm.weight": np.ones(D)}
    for i in range(2):
        for name in ("attn_norm", "attn_output_norm", "ffn_norm", "layer_output_norm"):
            w[f"blk.{i}.{name}.weight"] = np.ones(D)
        for name, shape in (("attn_q", (D, D)), ("attn_k", (D // 2, D)), ("attn_v", (D // 2, D)),
                            ("attn_output", (D, D)), ("ffn_gate", (F, D)), ("ffn_up", (F, D)),
                            ("ffn_down", (D, F))):
            w[f"blk.{i}.{name}.weight"] = rng.normal(0, shape[1] ** -0.5, shape)
    head, at, blobs = {}, 0, []
    for name, x in w.items():
        blobs.append(x.astype(np.float32).tobytes())
        head[name] = {"dtype": "F32", "shape": x.shape, "data_offsets": [at, at + len(blobs[-1])]}
        at += len(blobs[-1])
    os.makedirs(f"{work}/random")
    with open(f"{work}/random/config.json", "w") as f:
        json.dump(c, f)
    text = json.dumps(head).encode()
    with open(f"{work}/random/model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(blobs))
    tokenizer(f"{work}/random/tokenizer.model", 512)
    return f"{work}/random"


def beside_quantise(command, model, work):
    model = model or random_model(work)
    convert(model, f"{work}/f32.gguf", "--type", "f32")
    plain = gguf_tensors(f"{work}/f32.gguf")
    for kind in ("q8_0", "q4_0", "q4_k", "q6_k"):
        pure = ["--pure"] if kind in ("q4_0", "q4_k") else []  # the others are pure without it
        convert(model, f"{work}/ours.gguf", "--type", kind, *pure)
        theirs = {"q4_k": "q4_k_s"}.get(kind, kind)
        run(*command, "--pure", f"{work}/f32.gguf", f"{work}/theirs.gguf", theirs)
        a, b = gguf_tensors(f"{work}/ours.gguf"), gguf_tensors(f"{work}/theirs.gguf")
        ratios = []
        for name, x in plain.items():
            ours, other = (float(np.sqrt(np.mean((y[name] - x) ** 2))) for y in (a, b))
            if other > 0:
                ratios.append(ours / other)
        print(f"llama-quantize  {kind}: {len(ratios)} tensors, errors {min(ratios):.3f} to "
              f"{max(ratios):.3f} of its")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("--server", default="", type=shlex.split)
    p.add_argument("--quantise", default="", type=shlex.split)
    p.add_argument("--transformers", default="", type=shlex.split)
    p.add_argument("--model")
    o = p.parse_args()
    with tempfile.TemporaryDirectory() as work:
        for folder in [f"data/{n}" for n in OURS] + [f"hf/{n}" for n in HF] if o.server else []:
            worst, spread = beside_llama(o.server, f"{GOLDEN}/{folder}", work)
            print(f"llama.cpp  {folder:22} logits off by {worst:.1e}, of a spread of {spread:.1f}")
        if o.quantise:
            beside_quantise(o.quantise, o.model, work)
        if o.transformers:
            beside_transformers(o.transformers, work)


main()
