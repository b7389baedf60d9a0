/* convert_gguf.c: a GGUF file (version 3; its layout: model_gguf.c): values that say what the model is,
 * then tensors. */
#include "convert/convert_internal.h"

#include <math.h>
#include <string.h>

enum { ALIGN = 32, TYPE_U32 = 4, TYPE_F32 = 6, TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9 };

/* ------------------------------------------------------------------ values */

static void put(struct str *s, uint64_t value, size_t n)
{
    str_append(s, &value, n);
}

static void put_string(struct str *s, const char *text, size_t size)
{
    put(s, size, 8);
    str_append(s, text, size);
}

static void put_key(struct convert_values *v, const char *key, uint32_t type)
{
    put_string(&v->bytes, key, strlen(key));
    put(&v->bytes, type, 4);
    v->n++;
}

void convert_put_text(struct convert_values *v, const char *key, const char *text, size_t size)
{
    put_key(v, key, TYPE_STRING);
    put_string(&v->bytes, text, size);
}

void convert_put_u32(struct convert_values *v, const char *key, int64_t value)
{
    put_key(v, key, TYPE_U32);
    put(&v->bytes, (uint64_t)value, 4);
}

void convert_put_f32(struct convert_values *v, const char *key, double value)
{
    float f = (float)value;
    put_key(v, key, TYPE_F32);
    str_append(&v->bytes, &f, sizeof(f));
}

void convert_put_bool(struct convert_values *v, const char *key, bool value)
{
    put_key(v, key, TYPE_BOOL);
    put(&v->bytes, value, 1);
}

void convert_put_array(struct convert_values *v, const char *key, uint32_t type, uint64_t count)
{
    put_key(v, key, TYPE_ARRAY);
    put(&v->bytes, type, 4);
    put(&v->bytes, count, 8);
}

void convert_put_string(struct convert_values *v, const char *text, size_t size)
{
    put_string(&v->bytes, text, size);
}

void convert_put_raw(struct convert_values *v, const void *data, size_t size)
{
    str_append(&v->bytes, data, size);
}

void convert_put_value(struct convert_values *v, const struct gguf_value *x)
{
    put_key(v, x->key, (uint32_t)x->type);
    if (x->type == TYPE_ARRAY) {
        put(&v->bytes, (uint64_t)x->element, 4);
        put(&v->bytes, x->count, 8);
    }
    str_append(&v->bytes, x->data, x->size);
}

/* ------------------------------------------------------------------ of the model */

/* A key of the family. */
struct key {
    char name[96];
};

static const char *key_of(const struct convert_target *t, const char *key, struct key *k)
{
    snprintf(k->name, sizeof(k->name), "%s.%s", t->family, key);
    return k->name;
}

static void put_size(struct convert_values *v, const struct convert_target *t, const char *key,
                     int64_t value)
{
    struct key k = {""};
    convert_put_u32(v, key_of(t, key, &k), value);
}

static void put_real(struct convert_values *v, const struct convert_target *t, const char *key,
                     double value)
{
    struct key k = {""};
    convert_put_f32(v, key_of(t, key, &k), value);
}

static void put_rope(struct convert_values *v, const struct convert_target *t,
                     const struct model_config *c)
{
    struct key k = {""};
    const char *scaling = c->rope_scaling == COMPUTE_ROPE_LINEAR ? "linear"
                          : c->rope_scaling == COMPUTE_ROPE_YARN ? "yarn"
                                                                 : NULL;
    put_size(v, t, "rope.dimension_count", c->head_dim);
    put_real(v, t, "rope.freq_base", c->rope_theta);
    if (c->window_rope_theta > 0) put_real(v, t, "rope.freq_base_swa", c->window_rope_theta);
    if (c->rope_scaling == COMPUTE_ROPE_LLAMA3) /* a tensor; this tells where it is from */
        put_size(v, t, "rope.scaling.original_context_length", c->rope_original_length);
    if (!scaling) return;
    convert_put_text(v, key_of(t, "rope.scaling.type", &k), scaling, strlen(scaling));
    put_real(v, t, "rope.scaling.factor", c->rope_factor);
    if (c->rope_scaling != COMPUTE_ROPE_YARN) return;
    double usual = 0.1 * log(c->rope_factor) + 1;
    put_size(v, t, "rope.scaling.original_context_length", c->rope_original_length);
    put_real(v, t, "rope.scaling.yarn_beta_fast", c->rope_beta_fast);
    put_real(v, t, "rope.scaling.yarn_beta_slow", c->rope_beta_slow);
    if (fabs(c->rope_size / usual - 1) > 1e-9)
        put_real(v, t, "rope.scaling.attn_factor", c->rope_size / usual);
}

static void put_experts(struct convert_values *v, const struct convert_target *t,
                        const struct model_config *c)
{
    if (!model_is_moe(c)) return;
    put_size(v, t, "expert_count", c->n_experts);
    put_size(v, t, "expert_used_count", c->n_experts_used);
    if (t->architecture != MODEL_LLAMA) put_size(v, t, "expert_feed_forward_length", c->ffn_hidden);
}

static void put_model(struct convert_values *v, const struct convert_target *t,
                      const struct model_config *c)
{
    put_size(v, t, "context_length", c->context_length);
    put_size(v, t, "embedding_length", c->d_model);
    put_size(v, t, "block_count", c->n_layers);
    put_size(v, t, "feed_forward_length", c->ffn_hidden);
    put_size(v, t, "attention.head_count", c->n_heads);
    put_size(v, t, "attention.head_count_kv", c->n_kv_heads);
    put_size(v, t, "attention.key_length", c->head_dim);
    put_size(v, t, "attention.value_length", c->head_dim);
    put_real(v, t, "attention.layer_norm_rms_epsilon", c->rms_eps);
    put_size(v, t, "vocab_size", c->vocab_size);
    put_experts(v, t, c);
    put_rope(v, t, c);
    if (t->architecture == MODEL_GROK) {
        put_real(v, t, "embedding_scale", c->embedding_multiplier);
        put_real(v, t, "logit_scale", c->output_multiplier);
        put_real(v, t, "attention.output_scale", c->attn_multiplier);
        put_real(v, t, "router_logit_softcapping", 0);
    }
    if (t->attn_cap > 0) put_real(v, t, "attn_logit_softcapping", t->attn_cap);
    if (t->final_cap > 0) put_real(v, t, "final_logit_softcapping", t->final_cap);
    if (t->window > 0) put_size(v, t, "attention.sliding_window", t->window);
}

/* general.file_type, as ggml numbers kinds of files. */
static int64_t file_type(const struct convert_options *o)
{
    static const uint8_t types[] = {
        [CONVERT_F32] = 0,  [CONVERT_F16] = 1,   [CONVERT_BF16] = 32, [CONVERT_Q8_0] = 7,
        [CONVERT_Q4_0] = 2, [CONVERT_Q4_K] = 14, [CONVERT_Q6_K] = 18};
    return types[o->type];
}

static void put_general(struct convert_values *v, const struct convert_options *o,
                        const struct convert_target *t)
{
    const char *name = o->name ? o->name : file_base_name(o->out), *end = strrchr(name, '.');
    size_t size = !o->name && end && end > name ? (size_t)(end - name) : strlen(name);
    convert_put_text(v, "general.architecture", t->family, strlen(t->family));
    convert_put_text(v, "general.type", "model", strlen("model"));
    convert_put_text(v, "general.name", name, size);
    if (o->type != CONVERT_KEEP) convert_put_u32(v, "general.file_type", file_type(o));
    convert_put_u32(v, "general.quantization_version", 2);
    convert_put_u32(v, "general.alignment", ALIGN);
}

/* ------------------------------------------------------------------ the file */

static void put_tensors(struct str *head, const struct convert_list *l)
{
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct convert_tensor *x = &l->list[i];
        put_string(head, x->name, strlen(x->name));
        put(head, (uint64_t)x->n_dims, 4);
        for (int k = x->n_dims; k-- > 0;)
            put(head, (uint64_t)x->shape[k], 8);
        put(head, gguf_format_type(x->format), 4);
        put(head, at, 8);
        at += (x->bytes + ALIGN - 1) / ALIGN * ALIGN;
    }
}

static void make_head(struct str *head, const struct convert_values *v,
                      const struct convert_list *l)
{
    str_puts(head, "GGUF");
    put(head, 3, 4);
    put(head, l->n, 8);
    put(head, v->n, 8);
    str_append(head, v->bytes.data, v->bytes.len);
    put_tensors(head, l);
    while (head->len % ALIGN)
        str_append_char(head, '\0');
}

static int write_file(const struct convert_options *o, const struct convert_source *s,
                      const struct convert_list *l, struct convert_file *f, struct error *e)
{
    struct convert_place p;
    TRY(convert_place_open(&p, o, e));
    f->path = p.part;
    int rc = convert_write_tensors(f, s, l, e);
    if (rc == 0) rc = convert_source_check(s, e);
    return convert_place_end(&p, rc, e);
}

int convert_to_gguf(const struct convert_options *o, const struct convert_source *s,
                    struct pool *pool, struct convert_report *r, struct error *e)
{
    struct convert_target t;
    struct convert_values v = {0};
    struct convert_list l;
    struct arena a = {0};
    struct str head = {0};
    int rc = convert_gguf_target(s, &t, e);
    if (rc == 0) {
        put_general(&v, o, &t);
        put_model(&v, &t, &s->config);
        rc = convert_put_tokenizer(s, &v, r, e);
    }
    if (rc == 0) rc = convert_list_tensors(o, s, &t, &l, &a, e);
    if (rc == 0) {
        make_head(&head, &v, &l);
        convert_count(&l, t.family, r);
        struct convert_file f = {.head = &head, .align = ALIGN, .pool = pool, .stop = o->stop};
        if (!o->dry_run) rc = write_file(o, s, &l, &f, e);
    }
    str_fini(&head);
    str_fini(&v.bytes);
    arena_fini(&a);
    return rc;
}
