/* gguf_file.h: GGUF files made for tests: a tiny model of the family llama with a tokenizer of bytes
 * and a chat template. */
#ifndef COLOSSUS_TESTS_GGUF_FILE_H
#define COLOSSUS_TESTS_GGUF_FILE_H

#include "serve_fixture.h"

enum { GGUF_FILE_U32 = 4, GGUF_FILE_F32 = 6, GGUF_FILE_STRING = 8, GGUF_FILE_ARRAY = 9 };

static inline void gguf_u32(struct str *out, uint32_t value)
{
    str_append(out, &value, sizeof(value));
}

static inline void gguf_u64(struct str *out, uint64_t value)
{
    str_append(out, &value, sizeof(value));
}

static inline void gguf_string(struct str *out, const char *text)
{
    gguf_u64(out, strlen(text));
    str_append(out, text, strlen(text));
}

static inline void gguf_key(struct str *out, const char *key, uint32_t type)
{
    gguf_string(out, key);
    gguf_u32(out, type);
}

static inline struct model_config gguf_file_config(void)
{
    struct model_config c = fixture_config();
    c.architecture = MODEL_LLAMA;
    c.activation = COMPUTE_SILU;
    c.post_norms = false;
    c.n_experts = c.n_experts_used = 1;
    c.attn_softcap = 0;
    c.embedding_multiplier = c.output_multiplier = 1;
    c.attn_multiplier = 0.25; /* 1 / sqrt(16) */
    c.rope_form = MODEL_ROPE_PAIRS;
    c.router_aux_coef = c.router_z_coef = 0;
    c.rms_eps = 9.9999997473787516e-06; /* as a float of the file */
    return c;
}

/* What a file of the family grok says besides. */
static inline uint64_t gguf_file_grok(struct str *out, const struct model_config *c)
{
    const struct {
        const char *key;
        double value;
    } reals[] = {{"embedding_scale", c->embedding_multiplier},
                 {"logit_scale", c->output_multiplier},
                 {"attention.output_scale", c->attn_multiplier},
                 {"attn_logit_softcapping", c->attn_softcap},
                 {"router_logit_softcapping", c->router_softcap},
                 {"final_logit_softcapping", c->final_softcap}};
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"expert_count", c->n_experts},
                 {"expert_used_count", c->n_experts_used},
                 {"expert_feed_forward_length", c->ffn_hidden},
                 {"attention.temperature_length", c->attn_temperature_len}};
    char key[64];
    for (size_t i = 0; i < ARRAY_LEN(reals); i++) {
        snprintf(key, sizeof(key), "grok.%s", reals[i].key);
        gguf_key(out, key, GGUF_FILE_F32);
        str_append(out, &(float){(float)reals[i].value}, 4);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        snprintf(key, sizeof(key), "grok.%s", sizes[i].key);
        gguf_key(out, key, GGUF_FILE_U32);
        gguf_u32(out, (uint32_t)sizes[i].value);
    }
    return ARRAY_LEN(reals) + ARRAY_LEN(sizes);
}

static inline void gguf_file_values(struct str *out, const struct model_config *c,
                                    const char *family, uint64_t *n)
{
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"block_count", c->n_layers},
                 {"embedding_length", c->d_model},
                 {"attention.head_count", c->n_heads},
                 {"attention.head_count_kv", c->n_kv_heads},
                 {"feed_forward_length", c->dense_ffn_hidden ? c->dense_ffn_hidden : c->ffn_hidden},
                 {"context_length", c->context_length}};
    char key[64], text[4];
    gguf_key(out, "general.architecture", GGUF_FILE_STRING);
    gguf_string(out, family);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        snprintf(key, sizeof(key), "%s.%s", family, sizes[i].key);
        gguf_key(out, key, GGUF_FILE_U32);
        gguf_u32(out, (uint32_t)sizes[i].value);
    }
    snprintf(key, sizeof(key), "%s.attention.layer_norm_rms_epsilon", family);
    gguf_key(out, key, GGUF_FILE_F32);
    str_append(out, &(float){1e-5f}, 4);
    gguf_key(out, "tokenizer.ggml.model", GGUF_FILE_STRING);
    gguf_string(out, "gpt2");
    gguf_key(out, "tokenizer.ggml.pre", GGUF_FILE_STRING);
    gguf_string(out, "smollm");
    gguf_key(out, "tokenizer.ggml.tokens", GGUF_FILE_ARRAY);
    gguf_u32(out, GGUF_FILE_STRING);
    gguf_u64(out, 257);
    gguf_string(out, "<|eos|>");
    for (int b = 0; b < 256; b++) {
        fixture_byte_text(b, text);
        gguf_string(out, text);
    }
    gguf_key(out, "tokenizer.ggml.token_type", GGUF_FILE_ARRAY);
    gguf_u32(out, GGUF_FILE_U32);
    gguf_u64(out, 257);
    for (uint32_t i = 0; i < 257; i++)
        gguf_u32(out, i == 0 ? 3 : 1);
    gguf_key(out, "tokenizer.ggml.merges", GGUF_FILE_ARRAY);
    gguf_u32(out, GGUF_FILE_STRING);
    gguf_u64(out, 0);
    gguf_key(out, "tokenizer.ggml.eos_token_id", GGUF_FILE_U32);
    gguf_u32(out, 0);
    gguf_key(out, "tokenizer.chat_template", GGUF_FILE_STRING);
    gguf_string(out, "{% for m in messages %}{{ m.role }}:{{ m.content }}<|eos|>{% endfor %}a:");
    *n = 1 + ARRAY_LEN(sizes) + 1 + 7;
    if (strcmp(family, "grok") == 0) *n += gguf_file_grok(out, c);
}

/* Numbers that depend on the tensor and the place. */
static inline float gguf_file_number(size_t param, size_t i, const struct param *p)
{
    double x = rng_normal(9, param, i);
    return (float)(p->kind == PARAM_NORM ? 1 + 0.1 * x : 0.15 * x);
}

/* Which form a file's tensors have besides F32. */
enum gguf_file_form { GGUF_FILE_PLAIN, GGUF_FILE_Q8, GGUF_FILE_LIKE_Q8 };

static inline bool gguf_file_is_q8(const struct param *p, enum gguf_file_form form)
{
    bool matrix = p->kind != PARAM_NORM && p->kind != PARAM_BIAS && p->kind != PARAM_ROUTER;
    return form != GGUF_FILE_PLAIN && matrix && p->shape[p->n_dims - 1] % 32 == 0;
}

/* 32 numbers as a block of Q8_0 with the scale 2^-8, or the floats that such a block means. */
static inline void gguf_file_block(struct str *out, const float *x, enum gguf_file_form form)
{
    if (form == GGUF_FILE_Q8) str_append(out, "\0\x1c", 2);
    for (int i = 0; i < 32; i++) {
        float q = fminf(fmaxf(rintf(x[i] * 256), -127), 127), value = q / 256;
        if (form == GGUF_FILE_Q8)
            str_append_char(out, (char)(int8_t)q);
        else
            str_append(out, &value, sizeof(value));
    }
}

static inline void gguf_file_tensor(struct str *out, const struct param *p, size_t number,
                                    enum gguf_file_form form)
{
    float x[32];
    bool q8 = gguf_file_is_q8(p, form);
    while (out->len % 32)
        str_append_char(out, '\0');
    for (size_t k = 0; k < p->count; k++) {
        x[k % 32] = gguf_file_number(number, k, p);
        if (!q8)
            str_append(out, &x[k % 32], sizeof(*x));
        else if (k % 32 == 31)
            gguf_file_block(out, x, form);
    }
}

/* The whole file. divisors: of rotations, [head_dim / 2], or NULL. */
static inline void gguf_file_make_as(struct str *out, const struct model_config *c,
                                     const char *family, enum gguf_file_form form,
                                     const float *divisors)
{
    struct arena a = {0};
    struct param_table t;
    struct str values = {0}, tensors = {0};
    uint64_t n_values, at = 0;
    model_params_build(c, &a, &t);
    gguf_file_values(&values, c, family, &n_values);
    for (size_t i = 0; i < t.n_rows; i++) {
        const struct param *p = &t.rows[i];
        bool q8 = form == GGUF_FILE_Q8 && gguf_file_is_q8(p, form);
        gguf_string(&tensors, p->name);
        gguf_u32(&tensors, (uint32_t)p->n_dims);
        for (int k = p->n_dims; k-- > 0;)
            gguf_u64(&tensors, (uint64_t)p->shape[k]);
        gguf_u32(&tensors, q8 ? 8 : 0);
        gguf_u64(&tensors, at);
        at += ((q8 ? p->count / 32 * 34 : p->count * 4) + 31) / 32 * 32;
    }
    if (divisors) {
        gguf_string(&tensors, "rope_freqs.weight");
        gguf_u32(&tensors, 1);
        gguf_u64(&tensors, (uint64_t)c->head_dim / 2);
        gguf_u32(&tensors, 0);
        gguf_u64(&tensors, at);
    }
    str_puts(out, "GGUF");
    gguf_u32(out, 3);
    gguf_u64(out, t.n_rows + (divisors != NULL));
    gguf_u64(out, n_values);
    str_append(out, values.data, values.len);
    str_append(out, tensors.data, tensors.len);
    for (size_t i = 0; i < t.n_rows; i++)
        gguf_file_tensor(out, &t.rows[i], i, form);
    while (out->len % 32)
        str_append_char(out, '\0');
    if (divisors) str_append(out, divisors, (size_t)c->head_dim / 2 * sizeof(*divisors));
    str_fini(&values);
    str_fini(&tensors);
    arena_fini(&a);
}

/* Weights in F32. */
static inline void gguf_file_make(struct str *out, const struct model_config *c, const char *family)
{
    gguf_file_make_as(out, c, family, GGUF_FILE_PLAIN, NULL);
}

#endif
