#!/usr/bin/env python3
"""Makes the golden folders of tests/golden/hf: tiny random models of other families, as Hugging Face's
transformers writes and computes them.

    python3 tests/golden/make_hf_golden.py [NAME ...]       (needs torch and transformers 5)

A folder holds config.json, model.safetensors (bfloat16 weights; `sharded` in several files with their
index) and expected.safetensors: tokens [T] and the logits [T, V] of transformers in fp32, with the
attention that is written out ("eager"), behind each of them. Norms and biases are drawn at random, too,
as those of a new model hide what is done with them. Tests read the folders; nothing of this script is
needed for that."""
import json, os, sys
import torch
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTH = 24
SMALL = dict(vocab_size=40, hidden_size=24, intermediate_size=20, num_hidden_layers=3,
             num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
             bos_token_id=None, eos_token_id=None, pad_token_id=None)


def rope(**more):
    return dict(rope_parameters=dict(more))


CASES = {
    "llama": ("LlamaConfig", dict(SMALL, **rope(rope_type="default", rope_theta=10000.0))),
    "llama-biases": ("LlamaConfig", dict(SMALL, attention_bias=True, tie_word_embeddings=True)),
    "llama3-rope": ("LlamaConfig", dict(SMALL, head_dim=16, **rope(
        rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=16))),
    "yarn": ("Qwen3Config", dict(SMALL, head_dim=16, **rope(
        rope_type="yarn", rope_theta=500.0, factor=4.0, original_max_position_embeddings=16,
        beta_fast=4.0))),
    "qwen2": ("Qwen2Config", dict(SMALL, **rope(rope_type="default", rope_theta=1e6))),
    "qwen3": ("Qwen3Config", dict(SMALL, head_dim=8, tie_word_embeddings=True)),
    "mixtral": ("MixtralConfig", dict(SMALL, num_local_experts=4, num_experts_per_tok=2,
                                      sliding_window=None)),
    "qwen3-moe": ("Qwen3MoeConfig", dict(SMALL, head_dim=8, num_experts=6, num_experts_per_tok=3,
                                         moe_intermediate_size=8, norm_topk_prob=True)),
    "gemma2": ("Gemma2Config", dict(SMALL, head_dim=8, query_pre_attn_scalar=12, sliding_window=7,
                                    num_hidden_layers=4, attn_logit_softcapping=2.0,
                                    final_logit_softcapping=3.0)),
    "gemma3": ("Gemma3TextConfig", dict(
        SMALL, head_dim=8, query_pre_attn_scalar=8, sliding_window=7, num_hidden_layers=7,
        rope_parameters=dict(
            full_attention=dict(rope_type="linear", rope_theta=1e6, factor=8.0),
            sliding_attention=dict(rope_type="default", rope_theta=10000.0)))),
    "sharded": ("Qwen2Config", dict(SMALL)),
}


def make(name):
    kind, keys = CASES[name]
    torch.manual_seed(sum(map(ord, name)))
    config = getattr(transformers, kind)(**keys)
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    gemma = name.startswith("gemma")
    with torch.no_grad():
        for n, p in model.named_parameters():
            if p.dim() == 1 and "norm" in n:
                p.normal_(0 if gemma else 1, 0.2)
            elif p.dim() == 1:
                p.normal_(0, 0.5)
            else:
                p.normal_(0, 1.2 / p.shape[-1] ** 0.5)
            p.copy_(p.to(torch.bfloat16).to(torch.float32))
        tokens = torch.randint(0, config.vocab_size, (1, LENGTH))
        logits = model(tokens).logits[0].to(torch.float32)
    out = os.path.join(HERE, "hf", name)
    os.makedirs(out, exist_ok=True)
    for f in os.listdir(out):
        os.remove(os.path.join(out, f))
    model.to(torch.bfloat16).save_pretrained(
        out, max_shard_size=6000 if name == "sharded" else "1GB")
    if os.path.exists(os.path.join(out, "generation_config.json")):
        os.remove(os.path.join(out, "generation_config.json"))
    from safetensors.torch import save_file
    save_file({"tokens": tokens[0].to(torch.int32), "logits": logits.contiguous()},
              os.path.join(out, "expected.safetensors"))
    size = sum(os.path.getsize(os.path.join(out, f)) for f in os.listdir(out))
    print(f"{name}: {size} bytes, logits {logits.min():.2f} to {logits.max():.2f}")


for case in sys.argv[1:] or CASES:
    make(case)
