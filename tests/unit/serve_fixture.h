/* serve_fixture.h: a tiny random Grok with a byte tokenizer, written to a temporary folder and
 * opened the way a user's model is. */
#ifndef COLOSSUS_TESTS_SERVE_FIXTURE_H
#define COLOSSUS_TESTS_SERVE_FIXTURE_H

#include "serve/serve.h"
#include "weights_file.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* GPT-2's mapping of bytes to printable code points, as tokenizer.json files spell bytes. */
static inline void fixture_byte_text(int byte, char out[4])
{
    int n = 0, cp = byte;
    bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
    if (!printable) {
        for (int b = 0; b < byte; b++)
            n += !((b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255));
        cp = 256 + n;
    }
    if (cp < 128) {
        snprintf(out, 4, "%c", cp);
    } else {
        snprintf(out, 4, "%c%c", 0xC0 | (cp >> 6), 0x80 | (cp & 63));
    }
}

static inline json_t *fixture_tokenizer(void)
{
    json_t *vocab = json_object(), *root;
    for (int b = 0; b < 256; b++) {
        char text[4];
        fixture_byte_text(b, text);
        json_object_set_new(vocab, text, json_integer(b + 1));
    }
    json_object_set_new(vocab, "<|eos|>", json_integer(0));
    root = json_pack("{s:s, s:[{s:i, s:s, s:b, s:b, s:b, s:b, s:b}], s:n,"
                     " s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s},"
                     " s:{s:s, s:n, s:n, s:n, s:n, s:b, s:o, s:[]}}",
                     "version", "1.0", "added_tokens", "id", 0, "content", "<|eos|>", "single_word",
                     0, "lstrip", 0, "rstrip", 0, "normalized", 0, "special", 1, "normalizer",
                     "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1,
                     "use_regex", 1, "post_processor", "decoder", "type", "ByteLevel", "model",
                     "type", "BPE", "dropout", "unk_token", "continuing_subword_prefix",
                     "end_of_word_suffix", "fuse_unk", 0, "vocab", vocab, "merges");
    CHECK(root != NULL);
    return root;
}

static inline struct model_config fixture_config(void)
{
    struct model_config c;
    model_config_defaults(&c);
    c.vocab_size = 257;
    c.n_layers = 2;
    c.d_model = 32;
    c.n_heads = 2;
    c.n_kv_heads = 1;
    c.head_dim = 16;
    c.ffn_hidden = 48;
    c.n_experts = 4;
    c.n_experts_used = 2;
    c.context_length = 64;
    model_config_derive(&c);
    return c;
}

struct fixture {
    char dir[64], config[96], weights[96], tokenizer[96];
};

/* Writes the three files; weights are those of a random initialisation. */
static inline void fixture_make(struct fixture *f)
{
    struct error e = {0};
    struct model_config c = fixture_config();
    snprintf(f->dir, sizeof(f->dir), "/tmp/colossus-serve-XXXXXX");
    CHECK(mkdtemp(f->dir) != NULL);
    snprintf(f->config, sizeof(f->config), "%s/config.json", f->dir);
    snprintf(f->weights, sizeof(f->weights), "%s/weights.safetensors", f->dir);
    snprintf(f->tokenizer, sizeof(f->tokenizer), "%s/tokenizer.json", f->dir);

    json_t *o = model_config_to_json(&c);
    CHECK_MSG(json_save_path(o, f->config, &e) == 0, "%s", e.text);
    json_decref(o);
    o = fixture_tokenizer();
    CHECK_MSG(json_save_path(o, f->tokenizer, &e) == 0, "%s", e.text);
    json_decref(o);

    compute_t *compute;
    struct compute_options co = {.dtype = COMPUTE_F32, .backend = COMPUTE_REFERENCE};
    CHECK_MSG(compute_new(&co, &compute, &e) == 0, "%s", e.text);
    struct model_options mo = {
        .compute = compute, .B = 1, .T = 1, .training = true, .shard = {0, 1, 0, 1}};
    model_t *m;
    CHECK_MSG(model_new(&c, &mo, &m, &e) == 0, "%s", e.text);
    model_init_weights(m, 5);
    CHECK_MSG(weights_file_write(m, &c, false, f->weights, &e) == 0, "%s", e.text);
    model_free(m);
    compute_free(compute);
}

static inline void fixture_remove(struct fixture *f)
{
    file_remove_tree(f->dir, NULL);
}

static inline void fixture_open(const struct fixture *f, int threads, int64_t B, int64_t T,
                                struct serve_model *m)
{
    struct error e = {0};
    struct serve_options o = {.config = f->config,
                              .weights = f->weights,
                              .tokenizer = f->tokenizer,
                              .precision = SERVE_PRECISION_FP32,
                              .threads = threads,
                              .B = B,
                              .T = T};
    CHECK_MSG(serve_model_open(&o, m, &e) == 0, "%s", e.text);
}

#endif
