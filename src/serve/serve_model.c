/* serve_model.c: opens configuration, weights and tokenizer as one thing that can be asked.
 *
 * The model is planned for inference only (no gradients), and the plan is held against the machine's
 * memory before any of it is taken: memory is handed out page by page as it is touched, so a model
 * that does not fit would fill the machine first and fail afterwards.
 *
 * The tokenizer must be the one the model was trained with. A checkpoint's manifest.json has its
 * hash (state.tokenizer_hash); a model without one can only be held against its vocabulary: it may
 * have more rows than the tokenizer has ids (padded vocabularies), never fewer. */
#include "serve/serve_gguf_internal.h"

#include <math.h>
#include <string.h>

static bool has_codes(const struct gguf *g)
{
    struct compute_codes f;
    for (size_t i = 0; i < g->n_tensors; i++)
        if (gguf_tensor_codes(g, g->tensors[i].name, &f)) return true;
    return false;
}

/* Products with weights in blocks take as long in either format, and fp32 is nearer. g: or NULL. */
static enum compute_dtype choose_dtype(int precision, const struct gguf *g)
{
    if (precision == SERVE_PRECISION_AUTO)
        return compute_has_bf16() && !(g && has_codes(g)) ? COMPUTE_BF16 : COMPUTE_F32;
    return precision == SERVE_PRECISION_BF16 ? COMPUTE_BF16 : COMPUTE_F32;
}

#define MANIFEST     "manifest.json" /* beside a checkpoint's config.json */
#define MAX_MANIFEST ((size_t)64 << 20)
#define MAX_TEMPLATE ((size_t)4 << 20)

static int check_hash(const char *manifest, const struct serve_options *o,
                      const struct serve_model *m, struct error *e)
{
    json_t *root;
    char hex[17];
    int rc = 0;
    TRY(json_load_path(manifest, MAX_MANIFEST, &root, e));
    const char *trained =
        json_string_value(json_object_get(json_object_get(root, "state"), "tokenizer_hash"));
    hash_to_hex(tokenizer_hash(m->tokenizer), hex);
    if (trained && strcmp(trained, hex) != 0) {
        error_set(e, "tokenizer '%s' (XXH3 %s) is not the one that '%s' was trained with (XXH3 %s)",
                  o->tokenizer, hex, o->config, trained);
        rc = error_hint(e, "leave out --tokenizer where the checkpoint has its own, or name the "
                           "dataset's");
    }
    json_decref(root);
    return rc;
}

static int check_tokenizer(const struct serve_options *o, const struct serve_model *m,
                           struct error *e)
{
    struct arena a = {0};
    int rc = 0;
    const char *name = file_base_name(o->config);
    char *dir = arena_strndup(&a, o->config, (size_t)(name - o->config));
    const char *manifest = arena_printf(&a, "%s%s", dir, MANIFEST);
    if (file_exists(manifest)) rc = check_hash(manifest, o, m, e);
    arena_fini(&a);
    if (rc < 0 || tokenizer_vocab_size(m->tokenizer) <= (uint64_t)m->config.vocab_size) return rc;
    error_set(e, "tokenizer '%s' has %u ids, the model of '%s' only %lld", o->tokenizer,
              tokenizer_vocab_size(m->tokenizer), o->config, (long long)m->config.vocab_size);
    return error_hint(e, "use the tokenizer the model was trained with");
}

/* What follows from a tokenizer; eos: what ends a document, or NULL. */
static int settle_tokenizer(const struct serve_options *o, const char *eos, struct serve_model *m,
                            struct error *e)
{
    TRY(tokenizer_settle_eos(m->tokenizer, o->tokenizer, eos, false, e));
    if (tokenizer_eos(m->tokenizer) == TOKENIZER_NONE)
        log_warn("nothing says which token of '%s' ends a document: none does (--eos names it)",
                 o->tokenizer);
    m->scratch = tokenizer_scratch_new(m->tokenizer);
    m->start = tokenizer_eos(m->tokenizer);
    if (m->start == TOKENIZER_NONE) m->start = tokenizer_bos(m->tokenizer);
    m->text_start = m->start;
    m->bos = tokenizer_bos(m->tokenizer);
    return 0;
}

static int open_tokenizer(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    if (!o->tokenizer) {
        error_set(e, "no tokenizer beside '%s'", o->config);
        return error_hint(e, "name one with --tokenizer FILE");
    }
    TRY(tokenizer_load(o->tokenizer, &m->tokenizer, e));
    TRY(check_tokenizer(o, m, e));
    return settle_tokenizer(o, o->eos, m, e);
}

/* What begins a text, where a tokenizer_config.json says so. */
static int start_as_said(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    struct serve_start s;
    TRY(serve_start_of(o->config, o->tokenizer, m->tokenizer, &s, e));
    if (!s.said) return 0;
    m->text_start = s.adds ? s.bos : TOKENIZER_NONE;
    if (s.bos != TOKENIZER_NONE) m->start = m->bos = s.bos;
    return 0;
}

/* The tokenizer that lies in the file, or the one that was named instead. */
static int open_gguf_tokenizer(const struct serve_options *o, const struct gguf *g,
                               struct serve_model *m, struct error *e)
{
    struct serve_options with = *o;
    uint32_t eos = serve_gguf_token(g, "eos_token_id"), bos = serve_gguf_token(g, "bos_token_id");
    uint32_t ids = (uint32_t)m->config.vocab_size;
    char text[16];
    bool own = !o->tokenizer || strcmp(o->tokenizer, o->config) == 0;
    if (own)
        TRY(serve_gguf_tokenizer(g, o->config, &m->tokenizer, e));
    else
        TRY(tokenizer_load(o->tokenizer, &m->tokenizer, e));
    if (tokenizer_vocab_size(m->tokenizer) > ids)
        return error_set(e, "%s: the tokenizer has %u ids, the model only %u", o->config,
                         tokenizer_vocab_size(m->tokenizer), ids);
    if (own) with.tokenizer = o->config;
    snprintf(text, sizeof(text), "%u", eos);
    TRY(settle_tokenizer(&with, o->eos ? o->eos : own && eos < ids ? text : NULL, m, e));
    m->text_start = serve_gguf_adds_bos(g) && bos < ids ? bos : TOKENIZER_NONE;
    if (bos < ids) m->start = m->bos = bos;
    m->chat_template = serve_gguf_template(g);
    return 0;
}

/* Beside a model: chat_template.jinja, or what tokenizer_config.json says. NULL: neither. */
static int find_template(const char *config, char **out, struct error *e)
{
    struct arena a = {0};
    const char *name = file_base_name(config);
    char *dir = arena_strndup(&a, config, (size_t)(name - config));
    const char *file = arena_printf(&a, "%schat_template.jinja", dir);
    const char *settings = arena_printf(&a, "%stokenizer_config.json", dir);
    size_t size;
    json_t *root = NULL;
    int rc = 0;
    if (file_exists(file)) {
        rc = file_read(file, MAX_TEMPLATE, out, &size, e);
    } else if (file_exists(settings)) {
        rc = json_load_path(settings, MAX_MANIFEST, &root, e);
        const char *text = json_string_value(json_object_get(root, "chat_template"));
        if (text) *out = mem_strdup(text);
        json_decref(root);
    }
    arena_fini(&a);
    return rc;
}

static double planned_bytes(const struct model_config *c, const struct model_options *o)
{
    enum { ROWS = 16 };
    struct model_memory rows[ROWS];
    double bytes = 0;
    size_t n = model_plan_memory(c, o, rows, ROWS);
    for (size_t i = 0; i < n; i++)
        bytes += (double)rows[i].bytes;
    return bytes;
}

static int check_memory(const struct serve_options *o, const struct model_options *mo,
                        struct serve_model *m, struct error *e)
{
    char need[32], have[32];
    double limit = mem_limit_bytes();
    struct model_options least = *mo;
    least.B = least.T = 1;
    if (mo->B > INT32_MAX / mo->T) return 0; /* refused by the model itself */
    double bytes = planned_bytes(&m->config, &least);
    format_bytes(have, limit);
    if (bytes > limit) {
        error_set(e, "the model of '%s' needs %s, this machine has %s", o->config,
                  format_bytes(need, bytes), have);
        return error_hint(e, "it needs a machine with more memory");
    }
    m->bytes = planned_bytes(&m->config, mo);
    if (m->bytes <= limit) return 0;
    error_set(e,
              "the model of '%s' needs %s for batches of %lld x %lld tokens, this machine has %s",
              o->config, format_bytes(need, m->bytes), (long long)mo->B, (long long)mo->T, have);
    return error_hint(e, "smaller windows need less, for example --context 1024 --batch 1");
}

/* The model by its configuration, without weights; g: of a file whose weights may stay codes. */
static int open_model(const struct serve_options *o, const struct gguf *g, struct serve_model *m,
                      struct error *e)
{
    m->pool = pool_new((int)o->threads);
    struct compute_options c = {
        .dtype = choose_dtype(o->precision, g), .backend = o->backend, .pool = m->pool};
    TRY(compute_new(&c, &m->compute, e));
    m->B = MAX(o->B, (int64_t)1);
    m->T = o->T > 0 ? MIN(o->T, m->config.context_length) : m->config.context_length;
    struct model_options mo = {.compute = m->compute, .B = m->B, .T = m->T, .shard = {0, 1, 0, 1}};
    if (g) mo.codes_of = gguf_tensor_codes;
    mo.codes_ctx = g;
    TRY(check_memory(o, &mo, m, e));
    return model_new(&m->config, &mo, &m->model, e);
}

static int open_gguf_parts(const struct serve_options *o, const struct gguf *g,
                           struct serve_model *m, struct error *e)
{
    TRY(gguf_model_config(g, o->config, &m->config, e));
    TRY(open_gguf_tokenizer(o, g, m, e));
    TRY(open_model(o, g, m, e));
    return gguf_load_weights(m->model, g, o->config, e);
}

static int open_parts(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    if (gguf_is(o->config)) {
        struct gguf g;
        TRY(gguf_open(o->config, &g, e));
        int rc = open_gguf_parts(o, &g, m, e);
        gguf_close(&g);
        return rc;
    }
    TRY(model_config_load(o->config, &m->config, e));
    TRY(open_tokenizer(o, m, e));
    TRY(start_as_said(o, m, e));
    TRY(find_template(o->config, &m->chat_template, e));
    TRY(open_model(o, NULL, m, e));
    return model_load_weights(m->model, o->weights, e);
}

/* g: of the file, or NULL. */
static int plan(const struct serve_options *o, const struct gguf *g, struct serve_texts texts,
                struct serve_plan *out, struct error *e)
{
    compute_t *compute;
    struct compute_options c = {.dtype = choose_dtype(o->precision, g), .backend = o->backend};
    TRY(g ? gguf_model_config(g, o->config, &out->config, e)
          : model_config_load(o->config, &out->config, e));
    TRY(model_config_check_runnable(&out->config, e));
    TRY(compute_new(&c, &compute, e));
    struct model_options mo = {.compute = compute, .B = 1, .T = 1, .shard = {0, 1, 0, 1}};
    if (g) mo.codes_of = gguf_tensor_codes;
    mo.codes_ctx = g;
    out->context = out->config.context_length;
    if (texts.context > 0) out->context = MIN(out->context, texts.context);
    double positions = (double)texts.sequences * (double)out->context;
    out->n_rows = model_plan_memory(&out->config, &mo, out->rows, ARRAY_LEN(out->rows) - 1);
    out->decoder_bytes = model_plan_decoder(&out->config, &mo, (int64_t)fmin(positions, 1e12));
    compute_free(compute);
    for (size_t i = 0; i < out->n_rows; i++)
        out->bytes += (double)out->rows[i].bytes;
    out->bytes += (double)out->decoder_bytes;
    return 0;
}

int serve_model_plan(const struct serve_options *o, struct serve_texts texts,
                     struct serve_plan *out, struct error *e)
{
    struct gguf g;
    *out = (struct serve_plan){0};
    if (!gguf_is(o->config)) return plan(o, NULL, texts, out, e);
    TRY(gguf_open(o->config, &g, e));
    int rc = plan(o, &g, texts, out, e);
    gguf_close(&g);
    return rc;
}

int serve_model_open(const struct serve_options *o, struct serve_model *m, struct error *e)
{
    memset(m, 0, sizeof(*m));
    int rc = open_parts(o, m, e);
    if (rc < 0) serve_model_close(m);
    return rc;
}

void serve_model_close(struct serve_model *m)
{
    if (m->model) model_free(m->model);
    if (m->compute) compute_free(m->compute);
    if (m->scratch) tokenizer_scratch_free(m->scratch);
    if (m->tokenizer) tokenizer_free(m->tokenizer);
    if (m->pool) pool_free(m->pool);
    mem_free(m->chat_template);
    memset(m, 0, sizeof(*m));
}
