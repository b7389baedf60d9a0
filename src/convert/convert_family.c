/* convert_family.c: which family of llama.cpp's or of transformers' computes what a model computes.
 *
 * A family is chosen by the form of the layer alone, whatever family the model came from: a dense model
 * of this program's is a Gemma 2 to others, as that has Grok's norms and caps. What the other side
 * multiplies by differently goes into the weights: queries carry a scale of scores of their own, the
 * table that of the embedding, the last norm that of the logits. What it does not compute, or computes
 * differently, is an error with the reason. The facts about llama.cpp were run (its logits beside
 * ours), not read:
 *
 *   grok      the chosen experts' weights are divided by their sum: of no consequence behind a norm, and
 *             wrong beside a dense branch; a cap of the router's logits, a temperature of attention and
 *             selection biases are not computed; heads must be as wide as the model together
 *   gemma2    the head is the table; a cap cannot be left out, and is written so large that no float
 *             shows it
 *   llama, qwen3moe   the chosen experts' weights are divided by their sum, and must be here */
#include "convert/convert_internal.h"

#include <math.h>
#include <string.h>

#define NO_CAP 30000 /* x and NO_CAP tanh(x / NO_CAP) are one float up to |x| = 10, near beyond */

static int refuse(const struct convert_source *s, struct error *e, const char *what,
                  const char *why)
{
    error_set_code(e, ERROR_CONFIG, "%s: %s", s->path, what);
    return error_hint(e, "%s", why);
}

/* 1 where it is 1 but for the rounding of a file's floats. */
static double factor(double x)
{
    return fabs(x - 1) < 1e-6 ? 1 : x;
}

/* A window that reaches over the whole context is none. */
static bool has_window(const struct model_config *c)
{
    return c->window_layers > 0 && c->window < c->context_length;
}

/* Factors for a family that multiplies embeddings by `embedding`, scores by `score`. */
static void set_factors(const struct model_config *c, double embedding, double score,
                        struct convert_target *t)
{
    t->embedding = factor(c->embedding_multiplier / embedding);
    t->q = factor(c->attn_multiplier / score);
    t->norm = factor(c->output_multiplier / (c->tied_embeddings ? t->embedding : 1));
}

/* What no other family does. */
static int check_common(const struct convert_source *s, const char *side, struct error *e)
{
    const struct model_config *c = &s->config;
    char what[160];
    if (!c->pre_norms) return refuse(s, e, "layers without norms in front", side);
    if (c->residual_multiplier != 1)
        return refuse(s, e, "a residual_multiplier, which a family of another kind has", side);
    snprintf(what, sizeof(what), "%s behind and %s", c->post_norms ? "norms" : "no norms",
             model_activation_names[c->activation]);
    bool silu = c->activation == COMPUTE_SILU;
    if (silu == c->post_norms) return refuse(s, e, what, side);
    return 0;
}

/* ------------------------------------------------------------------ llama.cpp */

static const char *const of_llama_cpp = "no family of llama.cpp's has layers of this form";

static int grok_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    const struct model_config *c = &s->config;
    t->family = "grok";
    t->architecture = MODEL_GROK;
    if (c->dense_ffn_hidden > 0)
        return refuse(s, e, "a dense branch beside the experts (Grok-2's)",
                      "llama.cpp divides the chosen experts' weights by their sum, which makes "
                      "another mixture beside a dense branch");
    if (c->router_softcap > 0)
        return refuse(s, e, "a cap of the router's logits", "llama.cpp does not compute it");
    if (c->attn_temperature_len > 0)
        return refuse(s, e, "a temperature of attention", "llama.cpp does not compute it");
    if (s->has_biases)
        return refuse(s, e, "selection biases of the routers",
                      "llama.cpp does not read them for this family: train with balance.kind aux, "
                      "or leave them out with --drop-biases, which sends some tokens to other "
                      "experts");
    if (c->n_heads * c->head_dim != c->d_model)
        return refuse(s, e, "heads that are not as wide as the model together",
                      "llama.cpp has no other ones in this family");
    if (c->qk_norm || c->qkv_biases || c->output_bias || has_window(c) || s->divisors ||
        c->rope_scaling != COMPUTE_ROPE_NONE || c->rope_form != MODEL_ROPE_HALVES)
        return refuse(s, e, "a mixture of a form that is not Grok's", of_llama_cpp);
    t->attn_cap = c->attn_softcap > 0 ? c->attn_softcap : NO_CAP;
    t->final_cap = c->final_softcap;
    return 0;
}

static int gemma_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    const struct model_config *c = &s->config;
    bool third = c->qk_norm;
    int64_t largest = third ? 62 : 46;
    double width =
        c->n_layers == largest ? (double)c->d_model / (double)c->n_heads : (double)c->head_dim;
    t->family = third ? "gemma3" : "gemma2";
    t->architecture = third ? MODEL_GEMMA3 : MODEL_GEMMA2;
    if (c->qkv_biases || c->output_bias || s->divisors || c->attn_temperature_len > 0)
        return refuse(s, e, "biases, divisors of rotations or a temperature beside Gemma's norms",
                      of_llama_cpp);
    if (c->rope_scaling != COMPUTE_ROPE_NONE && c->rope_scaling != COMPUTE_ROPE_LINEAR)
        return refuse(s, e, "rotations scaled otherwise than linearly", of_llama_cpp);
    if (!c->tied_embeddings && !third)
        return refuse(s, e, "a head of its own (tied_embeddings: false)",
                      "the head of llama.cpp's gemma2 is the table");
    if (third && c->attn_softcap > 0)
        return refuse(s, e,
                      "a cap of attention beside norms of "
                      "queries and keys",
                      of_llama_cpp);
    if (third && (c->window_layers == 0 || c->window_period != 6 || c->window_rope_theta <= 0))
        return refuse(s, e,
                      "norms of queries and keys, and no windows with Gemma 3's period of 6 "
                      "and a base of their own",
                      of_llama_cpp);
    if (!third && has_window(c) && (c->window_period != 2 || c->window_rope_theta > 0))
        return refuse(s, e, "windows of another period than Gemma 2's, or with a base of their own",
                      of_llama_cpp);
    set_factors(c, sqrt((double)c->d_model), 1 / sqrt(width), t);
    t->attn_cap = third ? 0 : c->attn_softcap > 0 ? c->attn_softcap : NO_CAP;
    t->final_cap = c->final_softcap > 0 || third ? c->final_softcap : NO_CAP;
    t->window = c->window_layers > 0 ? c->window : c->context_length;
    t->period = third ? 6 : 2;
    return 0;
}

static int check_plain(const struct convert_source *s, const char *side, struct error *e)
{
    const struct model_config *c = &s->config;
    if (c->attn_softcap > 0 || c->final_softcap > 0 || c->router_softcap > 0)
        return refuse(s, e, "caps of logits without norms behind the sub-layers", side);
    if (c->attn_temperature_len > 0) return refuse(s, e, "a temperature of attention", side);
    if (has_window(c)) return refuse(s, e, "windows without norms behind the sub-layers", side);
    if (c->dense_ffn_hidden > 0) return refuse(s, e, "a dense branch beside the experts", side);
    return 0;
}

static int llama_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    const struct model_config *c = &s->config;
    bool experts = model_is_moe(c);
    TRY(check_plain(s, of_llama_cpp, e));
    if (experts && !c->renormalise_top_k)
        return refuse(s, e, "weights of the chosen experts that are not divided by their sum",
                      "llama.cpp divides them");
    if (s->has_biases) return refuse(s, e, "selection biases of the routers", of_llama_cpp);
    set_factors(c, 1, 1 / sqrt((double)c->head_dim), t);
    if (c->qk_norm) {
        t->family = experts ? "qwen3moe" : "qwen3";
        t->architecture = MODEL_QWEN3;
        if (c->qkv_biases || c->output_bias)
            return refuse(s, e, "biases beside norms of queries and keys", of_llama_cpp);
        if (s->divisors || c->rope_scaling == COMPUTE_ROPE_LLAMA3)
            return refuse(s, e, "Llama 3's rotations beside norms of queries and keys",
                          of_llama_cpp);
        return 0;
    }
    bool qwen = c->qkv_biases && !c->output_bias && !experts && !s->divisors &&
                c->rope_scaling != COMPUTE_ROPE_LLAMA3;
    t->family = qwen ? "qwen2" : "llama";
    t->architecture = qwen ? MODEL_QWEN2 : MODEL_LLAMA;
    t->pairs = !qwen;
    return 0;
}

int convert_gguf_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    *t = (struct convert_target){.q = 1, .embedding = 1, .norm = 1};
    TRY(check_common(s, of_llama_cpp, e));
    if (!s->config.post_norms) return llama_target(s, t, e);
    return model_is_moe(&s->config) ? grok_target(s, t, e) : gemma_target(s, t, e);
}

/* ------------------------------------------------------------------ transformers */

static const char *const of_transformers = "no family of transformers' that is written here has "
                                           "layers of this form";

/* Grok-2's names and keys, as sglang and vLLM read them; of a mixture of this program's it says all. */
static int sparse_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    const struct model_config *c = &s->config;
    t->family = "git"; /* what xAI's file says */
    t->architecture = MODEL_GROK;
    t->style = HF_SPARSE;
    if (c->qk_norm || c->qkv_biases || c->output_bias || has_window(c) || s->divisors ||
        c->rope_scaling != COMPUTE_ROPE_NONE || c->rope_form != MODEL_ROPE_HALVES ||
        c->renormalise_top_k)
        return refuse(s, e, "a mixture of a form that is not Grok's", of_transformers);
    if (s->has_biases)
        return refuse(s, e, "selection biases of the routers",
                      "the form has no place for them: --drop-biases leaves them out, which sends "
                      "some tokens to other experts");
    if (!(c->attn_softcap > 0)) return refuse(s, e, "attention without a cap", of_transformers);
    t->q = factor(c->attn_multiplier * sqrt((double)c->head_dim));
    return 0;
}

static int hf_gemma_target(const struct convert_source *s, struct convert_target *t,
                           struct error *e)
{
    const struct model_config *c = &s->config;
    bool third = c->qk_norm;
    t->family = third ? "gemma3_text" : "gemma2";
    t->architecture = third ? MODEL_GEMMA3 : MODEL_GEMMA2;
    t->less_one = true;
    if (c->qkv_biases || c->output_bias || s->divisors || c->attn_temperature_len > 0)
        return refuse(s, e, "biases, divisors of rotations or a temperature beside Gemma's norms",
                      of_transformers);
    if (!third && c->window_layers > 0 && c->window_rope_theta > 0)
        return refuse(s, e, "windows with a base of their own", of_transformers);
    double scalar = 1 / (c->attn_multiplier * c->attn_multiplier);
    bool whole = fabs(scalar - rint(scalar)) < 1e-6 * scalar && rint(scalar) >= 1;
    set_factors(c, sqrt((double)c->d_model),
                whole ? c->attn_multiplier : 1 / sqrt((double)c->head_dim), t);
    t->attn_cap = c->attn_softcap;
    t->final_cap = c->final_softcap;
    t->window = c->window_layers > 0 ? c->window : c->context_length;
    return 0;
}

static int hf_llama_target(const struct convert_source *s, struct convert_target *t,
                           struct error *e)
{
    const struct model_config *c = &s->config;
    bool experts = model_is_moe(c), all = c->qkv_biases && c->output_bias;
    bool none = !c->qkv_biases && !c->output_bias;
    TRY(check_plain(s, of_transformers, e));
    if (s->divisors)
        return refuse(s, e, "rotations with divisors that are not of Llama 3's formula",
                      "transformers has no place for them");
    if (s->has_biases) return refuse(s, e, "selection biases of the routers", of_transformers);
    set_factors(c, 1, 1 / sqrt((double)c->head_dim), t);
    t->architecture = c->qk_norm ? MODEL_QWEN3 : MODEL_LLAMA;
    if (c->qk_norm && none) {
        t->family = experts ? "qwen3_moe" : "qwen3";
    } else if (!c->qk_norm && experts && none && c->renormalise_top_k) {
        t->family = "mixtral";
        t->style = HF_SPARSE;
    } else if (!c->qk_norm && !experts && (none || all)) {
        t->family = "llama";
    } else if (!c->qk_norm && !experts && c->qkv_biases) {
        t->family = "qwen2";
        t->architecture = MODEL_QWEN2;
    } else {
        return refuse(s, e, "biases or experts of another form", of_transformers);
    }
    return 0;
}

int convert_hf_target(const struct convert_source *s, struct convert_target *t, struct error *e)
{
    *t = (struct convert_target){.q = 1, .embedding = 1, .norm = 1};
    TRY(check_common(s, of_transformers, e));
    if (!s->config.post_norms) return hf_llama_target(s, t, e);
    return model_is_moe(&s->config) ? sparse_target(s, t, e) : hf_gemma_target(s, t, e);
}

void convert_own_target(const struct convert_source *s, struct convert_target *t)
{
    const struct model_config *c = &s->config;
    *t = (struct convert_target){.family = "colossus", .q = 1, .embedding = 1, .norm = 1};
    t->architecture = MODEL_GROK; /* names that are never renamed */
    t->pairs = c->rope_form == MODEL_ROPE_PAIRS;
}
