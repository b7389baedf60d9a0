/* convert_folder.c: a folder with config.json, model.safetensors and a tokenizer, as transformers reads
 * it, or as this program does. It is made beside its place and put there when all of it is written. */
#include "convert/convert_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ config.json */

static void set(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

/* What a layer turns by. */
static json_t *rope_of(const struct model_config *c, double theta, bool scaled)
{
    int kind = scaled ? c->rope_scaling : COMPUTE_ROPE_NONE;
    static const char *const types[] = {"default", "linear", "llama3", "yarn"};
    json_t *r = json_pack("{s:s, s:f}", "rope_type", types[kind], "rope_theta", theta);
    if (kind == COMPUTE_ROPE_NONE) return r;
    set(r, "factor", json_real(c->rope_factor));
    if (kind == COMPUTE_ROPE_LINEAR) return r;
    set(r, "original_max_position_embeddings", json_integer(c->rope_original_length));
    if (kind == COMPUTE_ROPE_LLAMA3) {
        set(r, "low_freq_factor", json_real(c->rope_low_freq));
        set(r, "high_freq_factor", json_real(c->rope_high_freq));
    } else {
        set(r, "beta_fast", json_real(c->rope_beta_fast));
        set(r, "beta_slow", json_real(c->rope_beta_slow));
        set(r, "attention_factor", json_real(c->rope_size));
    }
    return r;
}

/* Without a window that counts all layers see everything. */
static json_t *layer_types(const struct model_config *c)
{
    json_t *types = json_array();
    bool windows = c->window_layers > 0;
    for (int64_t i = 0; i < c->n_layers; i++) {
        bool all = !windows || (c->window_period > 0 && (i + 1) % c->window_period == 0);
        json_array_append_new(types, json_string(all ? "full_attention" : "sliding_attention"));
    }
    return types;
}

static void put_gemma(json_t *o, const struct model_config *c, const struct convert_target *t)
{
    double scalar = t->q == 1 ? 1 / (c->attn_multiplier * c->attn_multiplier) : (double)c->head_dim;
    bool third = t->architecture == MODEL_GEMMA3;
    set(o, "hidden_activation", json_string("gelu_pytorch_tanh"));
    set(o, "query_pre_attn_scalar", json_integer((json_int_t)rint(scalar)));
    set(o, "attn_logit_softcapping", t->attn_cap > 0 ? json_real(t->attn_cap) : json_null());
    set(o, "final_logit_softcapping", t->final_cap > 0 ? json_real(t->final_cap) : json_null());
    set(o, "sliding_window", json_integer(t->window));
    set(o, "layer_types", layer_types(c));
    if (!third) return;
    bool own = c->window_rope_theta > 0;
    set(o, "rope_parameters",
        json_pack("{s:o, s:o}", "full_attention", rope_of(c, c->rope_theta, true),
                  "sliding_attention",
                  rope_of(c, own ? c->window_rope_theta : c->rope_theta, !own)));
}

/* Grok-2's, as xAI released it. */
static void put_grok(json_t *o, const struct model_config *c)
{
    set(o, "num_local_experts", json_integer(c->n_experts));
    set(o, "num_experts_per_tok", json_integer(c->n_experts_used));
    set(o, "moe_intermediate_size", json_integer(c->ffn_hidden));
    set(o, "residual_moe", json_boolean(c->dense_ffn_hidden > 0));
    if (c->dense_ffn_hidden > 0) set(o, "intermediate_size", json_integer(c->dense_ffn_hidden));
    set(o, "embedding_multiplier_scale", json_real(c->embedding_multiplier));
    set(o, "output_multiplier_scale", json_real(c->output_multiplier));
    set(o, "attn_logit_softcapping", json_real(c->attn_softcap));
    set(o, "router_logit_softcapping", json_real(c->router_softcap));
    set(o, "final_logit_softcapping", json_real(c->final_softcap));
    set(o, "attn_temperature_len", json_integer(c->attn_temperature_len));
    set(o, "rope_type", json_string("original"));
    set(o, "rope_theta", json_real(c->rope_theta));
}

static void put_experts(json_t *o, const struct model_config *c, const char *family)
{
    bool qwen = strcmp(family, "qwen3_moe") == 0;
    if (!model_is_moe(c)) return;
    set(o, qwen ? "num_experts" : "num_local_experts", json_integer(c->n_experts));
    set(o, "num_experts_per_tok", json_integer(c->n_experts_used));
    if (!qwen) return;
    set(o, "moe_intermediate_size", json_integer(c->ffn_hidden));
    set(o, "norm_topk_prob", json_boolean(c->renormalise_top_k));
    set(o, "decoder_sparse_step", json_integer(1));
    set(o, "mlp_only_layers", json_array());
}

static const char *class_of(const char *family)
{
    static const char *const classes[][2] = {
        {"llama", "LlamaForCausalLM"},        {"mixtral", "MixtralForCausalLM"},
        {"qwen2", "Qwen2ForCausalLM"},        {"qwen3", "Qwen3ForCausalLM"},
        {"qwen3_moe", "Qwen3MoeForCausalLM"}, {"gemma2", "Gemma2ForCausalLM"},
        {"gemma3_text", "Gemma3ForCausalLM"}, {"git", "Grok1ForCausalLM"},
    };
    size_t i = 0;
    while (strcmp(classes[i][0], family) != 0)
        CHECK(++i < ARRAY_LEN(classes));
    return classes[i][1];
}

/* The type of the numbers that most of the file has. */
static const char *torch_type(const struct convert_list *l)
{
    size_t f32 = 0, f16 = 0, bf16 = 0;
    for (size_t i = 0; i < l->n; i++) {
        const char *name = l->list[i].format->name;
        *(strcmp(name, "F32") == 0   ? &f32
          : strcmp(name, "F16") == 0 ? &f16
                                     : &bf16) += l->list[i].bytes;
    }
    return f32 >= f16 && f32 >= bf16 ? "float32" : f16 >= bf16 ? "float16" : "bfloat16";
}

static json_t *hf_config(const struct model_config *c, const struct convert_target *t,
                         const struct convert_list *l)
{
    json_t *o =
        json_pack("{s:[s], s:s}", "architectures", class_of(t->family), "model_type", t->family);
    set(o, "vocab_size", json_integer(c->vocab_size));
    set(o, "hidden_size", json_integer(c->d_model));
    set(o, "intermediate_size", json_integer(c->ffn_hidden));
    set(o, "num_hidden_layers", json_integer(c->n_layers));
    set(o, "num_attention_heads", json_integer(c->n_heads));
    set(o, "num_key_value_heads", json_integer(c->n_kv_heads));
    set(o, "head_dim", json_integer(c->head_dim));
    set(o, "max_position_embeddings", json_integer(c->context_length));
    set(o, "rms_norm_eps", json_real(c->rms_eps));
    set(o, "tie_word_embeddings", json_boolean(c->tied_embeddings));
    set(o, "dtype", json_string(torch_type(l)));
    if (t->architecture == MODEL_GROK) {
        put_grok(o, c);
        return o;
    }
    set(o, "rope_parameters", rope_of(c, c->rope_theta, true));
    if (c->post_norms) {
        put_gemma(o, c, t);
        return o;
    }
    set(o, "hidden_act", json_string("silu"));
    set(o, "attention_bias", json_boolean(c->output_bias));
    put_experts(o, c, t->family);
    return o;
}

/* ------------------------------------------------------------------ weights */

static enum safetensors_dtype dtype_of(const struct gguf_format *f)
{
    if (strcmp(f->name, "F32") == 0) return ST_F32;
    return strcmp(f->name, "F16") == 0 ? ST_F16 : ST_BF16;
}

static void make_head(const struct convert_list *l, struct str *head)
{
    struct safetensors_entry *entries = mem_calloc(l->n, sizeof(*entries));
    for (size_t i = 0; i < l->n; i++) {
        const struct convert_tensor *x = &l->list[i];
        struct safetensors_entry *t = &entries[i];
        memcpy(t->name, x->name, sizeof(t->name));
        t->dtype = dtype_of(x->format);
        t->n_dims = x->n_dims;
        for (int k = 0; k < x->n_dims; k++)
            t->shape[k] = x->shape[k];
        t->bytes = x->bytes;
    }
    safetensors_head(entries, l->n, head);
    mem_free(entries);
}

/* ------------------------------------------------------------------ the folder */

struct folder {
    const struct convert_options *o;
    const struct convert_source *s;
    const struct convert_target *t;
    const struct convert_list *l;
    struct pool *pool;
    struct arena *a;
};

static int write_config(const struct folder *f, const char *dir, struct error *e)
{
    json_t *o = f->o->to == CONVERT_HF ? hf_config(&f->s->config, f->t, f->l)
                                       : model_config_to_json(&f->s->config);
    int rc = json_save_path(o, file_join(f->a, dir, "config.json"), e);
    json_decref(o);
    return rc;
}

static int fill(const struct folder *f, const char *dir, struct convert_report *r, struct error *e)
{
    struct str head = {0};
    make_head(f->l, &head);
    struct convert_file file = {.path = file_join(f->a, dir, "model.safetensors"),
                                .head = &head,
                                .align = 1,
                                .pool = f->pool,
                                .stop = f->o->stop};
    int rc = convert_write_tensors(&file, f->s, f->l, e);
    str_fini(&head);
    TRY(rc);
    TRY(write_config(f, dir, e));
    TRY(convert_copy_tokenizer(f->s, dir, r, e));
    return convert_source_check(f->s, e);
}

static int write_folder(const struct folder *f, struct convert_report *r, struct error *e)
{
    struct convert_place p;
    TRY(convert_place_open(&p, f->o, e));
    return convert_place_end(&p, fill(f, p.part, r, e), e);
}

int convert_to_folder(const struct convert_options *o, const struct convert_source *s,
                      struct pool *pool, struct convert_report *r, struct error *e)
{
    struct convert_target t;
    struct convert_list l;
    struct arena a = {0};
    struct folder f = {o, s, &t, &l, pool, &a};
    int rc = 0;
    if (o->to == CONVERT_HF)
        rc = convert_hf_target(s, &t, e);
    else if (s->divisors)
        rc = error_set_code(e, ERROR_CONFIG,
                            "%s: rotations with divisors that are not of Llama 3's formula: a "
                            "folder has no place for them",
                            s->path);
    else
        convert_own_target(s, &t);
    if (rc == 0) rc = convert_list_tensors(o, s, &t, &l, &a, e);
    if (rc == 0) {
        convert_count(&l, o->to == CONVERT_HF ? class_of(t.family) : t.family, r);
        if (!o->dry_run) rc = write_folder(&f, r, e);
    }
    arena_fini(&a);
    return rc;
}
