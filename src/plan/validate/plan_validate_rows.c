/* plan_validate_rows.c: a table of published runs becomes predictions to make.
 *
 * A published row is written for people: "H100-80GB", "MLA(q1536,kv512,...)", "FP8-CS", an empty
 * field where the author thought it obvious. Each reading has one rule here, the same for every
 * source and none of them looking at the measured time; what was filled in is kept in `assumed`,
 * and a row that cannot be predicted keeps the reason in `skip`. Rows are skipped, never guessed,
 * when tensor or pipeline sizes are missing, when nothing but a FLOP rate is published (sources
 * count FLOPs in a dozen ways), or when the accelerator has no description. The columns are those
 * of docs/reference/validation-rows.md. */
#include "plan/read/plan_read_internal.h"
#include "plan/validate/plan_validate_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* The head of a table that has every column. */
static const char all_columns[] =
    "id,tier,source,table,model,params_b,active_b,layers,hidden,heads,kv_heads,head_dim,attn,"
    "ffn_hidden,glu,vocab,seq_len,experts,top_k,moe_ffn_hidden,dense_layers,gpu,n_gpus,tp,pp,"
    "ep,etp,cp,dp,vp,mbs,gbs,precision,recompute,dist_opt,convention,tflops_gpu,mfu_pct,"
    "hfu_pct,step_time_s,step_kind,tok_s_gpu,mem_gib,step_p10,step_p90,check,calc_tf_full,"
    "calc_tf_causal,provenance,notes,shared_ffn_hidden,vocab_assumed,generation,stack,dispatcher,"
    "a2a_overlap,graphs,host,token_drop,fp8_recipe,attention,tp_overlap,optimizer_bytes,"
    "optimizer_offload,tokens,accelerator_hours,kind,grade,assumed";
static const char *const required[] = {"source", "gpu",     "n_gpus", "layers", "hidden",
                                       "heads",  "seq_len", "tp",     "pp"};

/* Hybrids of Mamba-2, attention and FFN, whose dimensions run tables leave out: models of the presets
 * that begin a row's name, in lower case. */
enum { N_HYBRIDS = 4 };
static const char *const HYBRIDS[N_HYBRIDS] = {"nemotron-3-nano", "nemotron-3-super",
                                               "nemotron-3-ultra", "nemotron-h-56b"};

struct rows_reader {
    const struct csv *t;
    struct arena *a;
    struct error *e;
    size_t row;                               /* being read */
    struct machine_accelerator *accelerators; /* by name, each read once */
    size_t n_accelerators;
    struct model_config hybrids[N_HYBRIDS]; /* of HYBRIDS, each read once; source NULL: not yet */
    bool free_layout; /* what a row does not say of its layout is left to a search */
};
#define MAX_ACCELERATORS 64
#define MAX_LAYERS       16384

static const char *text_of(const struct rows_reader *r, const char *column)
{
    return csv_field(r->t, r->row, csv_column(r->t, column));
}

static int wrong_value(const struct rows_reader *r, const char *column, const char *what,
                       const char *text, const char *hint)
{
    error_set_code(r->e, ERROR_CONFIG, "%s:%d: column '%s' must be %s, not '%.60s'", r->t->path,
                   r->t->lines[r->row], column, what, text);
    return error_hint(r->e, "%s", hint);
}

#define EMPTY_HINT "for example 8; leave the field empty where it is not known"

/* Whole numbers of 0 to 2^31 - 1; "none" where the field is empty. */
static int int_of(const struct rows_reader *r, const char *column, int64_t none, int64_t *value)
{
    const char *text = text_of(r, column);
    *value = none;
    if (!*text) return 0;
    if (parse_int(text, value) < 0 || *value < 0 || *value > INT32_MAX)
        return wrong_value(r, column, "a whole number of 0 to 2147483647", text, EMPTY_HINT);
    return 0;
}

static int int32_of(const struct rows_reader *r, const char *column, int32_t none, int32_t *value)
{
    int64_t wide;
    TRY(int_of(r, column, none, &wide));
    *value = (int32_t)wide;
    return 0;
}

/* A measurement; 0 where the field is empty. */
static int real_of(const struct rows_reader *r, const char *column, double low, double high,
                   double *value)
{
    const char *text = text_of(r, column);
    *value = 0;
    if (!*text) return 0;
    if (parse_number(text, value) < 0 || !(*value >= low && *value <= high))
        return wrong_value(r, column, arena_printf(r->a, "a number of %g to %g", low, high), text,
                           EMPTY_HINT);
    return 0;
}

static bool contains(const char *text, const char *part)
{
    return strcasestr(text, part) != NULL;
}

static bool begins(const char *text, const char *word)
{
    size_t n = strlen(word);
    return strncasecmp(text, word, n) == 0 && !isalnum((unsigned char)text[n]) && text[n] != '_';
}

static bool begins_any(const char *text, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (begins(text, words[i])) return true;
    return false;
}

static void assume(struct rows_reader *r, struct plan_row *row, const char *what)
{
    row->assumed = *row->assumed ? arena_printf(r->a, "%s; %s", row->assumed, what) : what;
}

/* ------------------------------------------------------------------ the model */

/* A width or a window: 1 to 2^24. */
static bool read_size(const char **at, int64_t *value)
{
    size_t digits = strspn(*at, "0123456789");
    if (digits < 1 || digits > 8) return false;
    *value = strtol(*at, NULL, 10);
    *at += digits;
    return *value >= 1 && *value <= 1 << 24;
}

/* "MLA(q1536,kv512,nope128,rope64,v128)": the parts in any order, each once. */
static bool read_mla(const char *attn, struct model_config *m)
{
    const struct {
        const char *name;
        int64_t *value;
    } parts[] = {{"q", &m->mla_q_rank},
                 {"kv", &m->mla_kv_rank},
                 {"nope", &m->mla_nope_dim},
                 {"rope", &m->mla_rope_dim},
                 {"v", &m->mla_v_dim}};
    const char *at = attn + strlen("MLA");
    unsigned found = 0;
    for (char before = '('; *at == before; before = ',') {
        at++;
        size_t letters = strspn(at, "abcdefghijklmnopqrstuvwxyz"), i = 0;
        while (i < ARRAY_LEN(parts) &&
               (letters != strlen(parts[i].name) || strncmp(at, parts[i].name, letters) != 0))
            i++;
        at += letters;
        if (i == ARRAY_LEN(parts) || found & 1u << i || !read_size(&at, parts[i].value))
            return false;
        found |= 1u << i;
    }
    return found == (1u << ARRAY_LEN(parts)) - 1 && strcmp(at, ")") == 0;
}

/* The GPT-2 family shares the table of embedding and output; later models have two. */
static bool ties_embeddings(const char *name)
{
    static const char *const tied[] = {"GPT-", "GPT3-", "MPT-", "OPT-", "BLOOM", "PaLM"};
    if (strncmp(name, "GPT-OSS", 7) == 0) return false;
    for (size_t i = 0; i < ARRAY_LEN(tied); i++)
        if (strncmp(name, tied[i], strlen(tied[i])) == 0) return true;
    return false;
}

/* "GQA", "GQA alt. sliding-window 128" (every other layer), "MLA(...)", "hybrid ..." */
static int read_attention(struct rows_reader *r, struct plan_row *row)
{
    static const char *const plain[] = {"MHA", "GQA", "MQA"};
    static const char chunks[] = "chunked"; /* Llama 4: attention within chunks, read as full */
    struct model_config *m = &row->model;
    const char *attn = text_of(r, "attn"), *window = strstr(attn, "sliding-window");
    if (strncmp(attn, "MLA", 3) == 0) {
        m->attention = MODEL_ATTENTION_MLA;
        if (read_mla(attn, m)) return 0;
        return wrong_value(r, "attn", "MLA with five widths of 1 to 16777216", attn,
                           "for example MLA(q1536,kv512,nope128,rope64,v128)");
    }
    if (!*attn || begins(attn, "hybrid")) return 0; /* find_hybrid knows its layers */
    bool known = begins_any(attn, plain, ARRAY_LEN(plain));
    if (known && window) {
        const char *at = window + strlen("sliding-window");
        at += strspn(at, " ");
        m->window_layers = contains(attn, "alt") ? m->n_layers / 2 : m->n_layers;
        known = read_size(&at, &m->window) && !*at;
    } else if (known && contains(attn, chunks)) {
        assume(r, row, "chunked attention read as full");
    } else {
        known = known && strlen(attn) == strlen("GQA");
    }
    if (known) return 0;
    return wrong_value(r, "attn", "a kind of attention", attn,
                       "MHA, GQA, MQA, GQA sliding-window 128, GQA alt. sliding-window 128, "
                       "MLA(q1536,kv512,nope128,rope64,v128) or hybrid; empty: by the heads");
}

static bool find_hybrid(struct rows_reader *r, const char *name, struct model_config *out)
{
    for (int i = 0; i < N_HYBRIDS; i++) {
        struct model_config *m = &r->hybrids[i];
        struct error e = {0};
        if (strncasecmp(name, HYBRIDS[i], strlen(HYBRIDS[i])) != 0) continue;
        if (!m->source && plan_load_model(HYBRIDS[i], r->t->path, r->a, m, &e) < 0) return false;
        *out = *m;
        return true;
    }
    return false;
}

static int read_model(struct rows_reader *r, struct plan_row *row)
{
    struct model_config *m = &row->model;
    int64_t glu, dense;
    m->name = row->model_name;
    m->source = row->source;
    TRY(int_of(r, "layers", 0, &m->n_layers));
    if (m->n_layers > MAX_LAYERS) /* as in descriptions; some rules count through them */
        return wrong_value(r, "layers", "a whole number of 0 to 16384", text_of(r, "layers"),
                           "for example 80");
    TRY(int_of(r, "hidden", 0, &m->d_model));
    TRY(int_of(r, "heads", 0, &m->n_heads));
    TRY(int_of(r, "kv_heads", m->n_heads, &m->n_kv_heads));
    TRY(int_of(r, "head_dim", m->n_heads ? m->d_model / m->n_heads : 0, &m->head_dim));
    TRY(int_of(r, csv_column(r->t, "vocab") < 0 ? "vocab_assumed" : "vocab", 0, &m->vocab_size));
    TRY(int_of(r, "ffn_hidden", 4 * m->d_model, &dense));
    TRY(int_of(r, "glu", 0, &glu));
    TRY(int_of(r, "experts", 0, &m->n_experts));
    TRY(int_of(r, "top_k", 0, &m->n_experts_used));
    TRY(int_of(r, "moe_ffn_hidden", 0, &m->ffn_hidden));
    TRY(int_of(r, "shared_ffn_hidden", 0, &m->shared_ffn_hidden));
    TRY(int_of(r, "dense_layers", 0, &m->dense_layers));
    if (!model_is_moe(m))
        m->ffn_hidden = dense;
    else if (m->dense_layers > 0)
        m->dense_ffn_hidden = dense;
    if (glu > 1)
        return wrong_value(r, "glu", "0 or 1", text_of(r, "glu"),
                           "1: three FFN matrices (SwiGLU, GeGLU); 0 or empty: two");
    m->glu = glu != 0;
    TRY(read_attention(r, row));
    m->tied_embeddings = ties_embeddings(row->model_name);
    /* trained and counted with its extra layer of multi-token prediction; truncated ones without */
    if (strcmp(row->model_name, "DeepSeek-V3") == 0 && m->n_layers == 61) m->mtp_layers = 1;
    if (strncmp(row->model_name, "DeepSeek-V3", 11) == 0)
        m->route_domains = 4; /* its report, 2.1.2 */
    if (strncasecmp(row->model_name, "GPT-OSS", 7) == 0)
        m->architecture = MODEL_GPT_OSS; /* experts with biases and a clamped gate */

    struct error e = {0};
    const bool hybrid = contains(text_of(r, "attn"), "hybrid"); /* its columns cannot say how */
    if ((hybrid || m->n_layers == 0 || m->d_model == 0) && find_hybrid(r, row->model_name, m))
        assume(r, row, arena_printf(r->a, "dimensions of %s", m->source));
    else if (hybrid || m->n_layers == 0 || m->d_model == 0)
        row->skip = "the dimensions of the model are not known";
    else if (model_config_check_shape(m, &e) < 0)
        row->skip = arena_strdup(r->a, e.text);
    return 0;
}

/* ------------------------------------------------------------------ the layout */

static bool read_precision(const char *text, int32_t *precision)
{
    static const struct {
        const char *part;
        int precision;
    } known[] = {{"nvfp4", MACHINE_FP4},     {"mxfp4", MACHINE_FP4},    {"fp4", MACHINE_FP4},
                 {"mxfp8", MACHINE_MXFP8},   {"fp8-mx", MACHINE_MXFP8}, {"fp8", MACHINE_FP8},
                 {"float8", MACHINE_FP8},    {"bf16", MACHINE_BF16},    {"fp16", MACHINE_BF16},
                 {"bfloat16", MACHINE_BF16}, {"float16", MACHINE_BF16}, {"fp32", MACHINE_FP32},
                 {"tf32", MACHINE_FP32},     {"float32", MACHINE_FP32}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (begins(text, known[i].part)) {
            *precision = known[i].precision;
            return true;
        }
    return false;
}

/* What is sharded over the data-parallel ranks. */
static int read_zero(struct rows_reader *r, int32_t *zero)
{
    const char *text = text_of(r, "dist_opt");
    *zero = 1;
    if (!*text || contains(text, "ZeRO-1") || contains(text, "distributed optimizer")) return 0;
    if (begins(text, "none"))
        *zero = 0;
    else if (contains(text, "ZeRO-2") || contains(text, "GRAD_OP") ||
             contains(text, "not resharded"))
        *zero = 2;
    else if (contains(text, "ZeRO-3") || contains(text, "FSDP"))
        *zero = 3;
    else
        return wrong_value(r, "dist_opt", "a way to shard", text,
                           "none (DDP), distributed optimizer, ZeRO-1, ZeRO-2, ZeRO-3, FSDP "
                           "FULL_SHARD, FSDP SHARD_GRAD_OP or Megatron-FSDP; empty: ZeRO-1");
    return 0;
}

static int read_recompute(struct rows_reader *r, struct plan_row *row)
{
    const char *text = text_of(r, "recompute");
    int32_t *recompute = &row->layout.recompute;
    unsigned modules = plan_modules_parse(text);
    *recompute = -1; /* plan_layout_assume: the least that fits */
    if (!*text) return 0;
    *recompute = PLAN_RECOMPUTE_SELECTIVE;
    row->software.modules = modules;
    if (begins(text, "none"))
        *recompute = PLAN_RECOMPUTE_NONE;
    else if (begins(text, "full"))
        *recompute = PLAN_RECOMPUTE_FULL;
    else if (modules & PLAN_AGAIN_MLP && modules & PLAN_AGAIN_MOE)
        *recompute = PLAN_RECOMPUTE_FULL; /* the whole FFN of every layer */
    else if (!begins(text, "selective") && !modules)
        return wrong_value(r, "recompute", "what is computed again", text,
                           "none, selective, full, or Megatron's modules: mla_up_proj,mlp,moe; "
                           "empty: the least that fits memory");
    return 0;
}

static int read_layout(struct rows_reader *r, struct plan_row *row)
{
    struct plan_layout *l = &row->layout;
    TRY(int32_of(r, "tp", 0, &l->tp));
    TRY(int32_of(r, "pp", 0, &l->pp));
    TRY(int32_of(r, "cp", 1, &l->cp));
    TRY(int32_of(r, "ep", 1, &l->ep));
    TRY(int32_of(r, "etp", 0, &l->etp));
    TRY(int32_of(r, "dp", 0, &l->dp));
    TRY(int32_of(r, "vp", 0, &l->vp));
    TRY(int32_of(r, "mbs", 0, &l->micro_batch));
    TRY(int_of(r, "gbs", 0, &row->batch.global_batch));
    TRY(int_of(r, "seq_len", 0, &row->batch.seq_len));
    TRY(read_zero(r, &l->zero));
    TRY(read_recompute(r, row));
    if (!read_precision(row->precision, &l->precision))
        return wrong_value(r, "precision", "a number format", row->precision,
                           "bf16, fp16, fp32, fp8, FP8-CS, MXFP8 or NVFP4; empty: bf16");
    if (row->skip) return 0;
    if (row->batch.seq_len < 1)
        row->skip = "the sequence length is not stated";
    else if (!r->free_layout && (l->tp < 1 || l->pp < 1))
        row->skip = "tensor and pipeline parallel sizes are not stated";
    else if (l->cp < 1 || l->ep < 1)
        row->skip = "cp and ep must be at least 1";
    return 0;
}

/* Weights that no rank could hold whole must have been sharded, whatever the row says. */
static void shard_weights(struct rows_reader *r, struct plan_row *row)
{
    struct plan_layout l = row->layout;
    struct plan_memory memory;
    l.recompute = PLAN_RECOMPUTE_FULL;
    l.vp = 1;
    l.micro_batch = MAX(l.micro_batch, 1);
    l.etp = MAX(l.etp, 1);
    if (l.zero == 3 || l.tp * l.pp > 1 || l.ep > 1) return;
    struct plan_batch b = {MAX(row->batch.global_batch, l.dp), row->batch.seq_len};
    plan_memory_of(&row->accelerator, &row->model, &l, &b, &row->software, &memory);
    if (memory.weights + memory.gradients < plan_memory_limit(&row->accelerator)) return;
    row->layout.zero = 3;
    assume(r, row, "weights sharded by rule");
}

/* dp from the rest, then the rules of plan_assume.c, then what must hold among expert sizes. */
static void complete_layout(struct rows_reader *r, struct plan_row *row)
{
    struct plan_layout *l = &row->layout;
    const int64_t inner = (int64_t)l->tp * l->pp * l->cp;
    const bool stated = l->dp > 0;
    if (!stated && inner <= row->n_gpus) l->dp = (int32_t)(row->n_gpus / inner);
    if (l->dp < 1) {
        row->skip = "tp x pp x cp is more than the number of accelerators";
        return;
    }
    if (stated && inner * l->dp < row->n_gpus) { /* a kind of parallelism that no column names */
        row->skip = "tp x pp x cp x dp is less than the number of accelerators";
        return;
    }
    if (!row->batch.global_batch) assume(r, row, "global batch by rule");
    if (l->micro_batch == 0) assume(r, row, "microbatch by rule");
    if (l->vp == 0 && l->pp > 1) assume(r, row, "virtual stages by rule");
    row->recompute_assumed = l->recompute < 0;
    if (row->recompute_assumed) assume(r, row, "recomputation by rule");
    if (l->pp == 1) l->vp = 1;
    if (!model_is_moe(&row->model)) l->ep = l->etp = 1;
    shard_weights(r, row);
    plan_layout_assume(&row->model, &row->accelerator, &row->software, &row->batch, l);

    const int64_t ranks = (int64_t)l->tp * l->cp * l->dp;
    if (ranks % ((int64_t)l->ep * l->etp)) l->etp = 1;
    if (l->ep > ranks && row->model.n_experts % ranks == 0) {
        /* a misprint: more expert ranks than a stage has */
        assume(r, row, arena_printf(r->a, "ep %d read as %lld", l->ep, (long long)ranks));
        l->ep = (int32_t)ranks;
    }
    struct error e = {0};
    if (plan_layout_check(l, &row->model, &row->batch, row->n_gpus, &e) < 0)
        row->skip = arena_strdup(r->a, e.text);
}

/* ------------------------------------------------------------------ software */

/* One of the words of a column, whatever its case; `by_date` where the field is empty. */
static int word_of(const struct rows_reader *r, const char *column, const char *const *words,
                   int *value)
{
    const char *text = text_of(r, column);
    if (!*text) return 0;
    for (int i = 0; words[i]; i++)
        if (strcasecmp(text, words[i]) == 0) {
            *value = i;
            return 0;
        }
    char known[200] = "";
    for (int i = 0; words[i]; i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), "%s%s", i ? ", " : "",
                 words[i]);
    return wrong_value(r, column, "one of its words", text, known);
}

/* The year of the software, as a decimal or YYYY-MM: the page's own date may be a later one. */
static int read_generation(struct rows_reader *r, struct plan_software *s)
{
    const char *text = text_of(r, "generation");
    struct error ignored = {0};
    double year = plan_year_dated(text);
    if (!*text) return 0;
    if (year == 0 && parse_number(text, &year) < 0) year = -1;
    if (plan_generation_check(year, &ignored) < 0 || year == 0)
        return wrong_value(r, "generation", "the year of the software", text,
                           "for example 2025.4 or 2025-05");
    s->generation = year;
    return 0;
}

static int read_software(struct rows_reader *r, struct plan_software *s)
{
    TRY(read_generation(r, s));
    TRY(word_of(r, "stack", plan_stack_names, &s->stack));
    TRY(word_of(r, "dispatcher", plan_dispatcher_names, &s->dispatcher));
    TRY(word_of(r, "a2a_overlap", plan_a2a_overlap_names, &s->a2a_overlap));
    TRY(word_of(r, "graphs", plan_graphs_names, &s->graphs));
    TRY(word_of(r, "host", plan_host_names, &s->host));
    TRY(word_of(r, "token_drop", plan_token_drop_names, &s->token_drop));
    TRY(word_of(r, "fp8_recipe", plan_fp8_recipe_names, &s->fp8_recipe));
    TRY(word_of(r, "attention", plan_attention_names, &s->attention));
    TRY(word_of(r, "tp_overlap", plan_tp_overlap_names, &s->tp_overlap));
    TRY(real_of(r, "optimizer_bytes", 0, 32, &s->optimizer_bytes));
    return real_of(r, "optimizer_offload", 0, 1, &s->optimizer_offload);
}

/* ------------------------------------------------------------------ accelerator and cluster */

/* Words of an accelerator's name that say who made it and what it is soldered to. */
static bool says_nothing(const char *word)
{
    static const char *const words[] = {"nvidia", "amd",  "instinct", "google", "cloud", "aws",
                                        "gpu",    "core", "tensor",   "hbm2",   "hbm2e", "hbm3",
                                        "hbm3e",  "sxm",  "sxm4",     "sxm5",   "sxm6",  "oam"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcmp(word, words[i]) == 0) return true;
    return false;
}

/* "NVIDIA H100 80GB HBM3" and "H100-80GB" are h100-80gb, "TPUv4" and "TPU v4" tpu-v4: words in lower
 * case, joined by dashes; never a path. */
static void accelerator_key(const char *gpu, char *key, size_t size)
{
    static const struct {
        const char *as, *is;
    } known[] = {{"tpu7x", "tpu-v7"},
                 {"ironwood", "tpu-v7"},
                 {"trillium", "tpu-v6e"},
                 {"trn2", "trainium2"},
                 {"trainium-2", "trainium2"}};
    key[0] = 0;
    for (const char *p = gpu; *p;) {
        char word[64];
        size_t n = 0, used = strlen(key);
        for (; *p && !isalnum((unsigned char)*p); p++) {
        }
        for (; isalnum((unsigned char)*p); p++)
            if (n + 2 < sizeof word) word[n++] = (char)tolower((unsigned char)*p);
        word[n] = 0;
        if (!n || says_nothing(word)) continue;
        bool tpu = strncmp(word, "tpuv", 4) == 0, unit = used && strcmp(word, "gb") == 0;
        snprintf(key + used, size - used, "%s%s%s", used && !unit ? "-" : "", tpu ? "tpu-v" : "",
                 word + (tpu ? 4 : 0));
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(key, known[i].as) == 0) snprintf(key, size, "%s", known[i].is);
}

/* "H100-80GB" is h100-80gb, else h100; "TPU v6e" is tpu-v6e; "GB200 or GB300" is gb200. */
static const struct machine_accelerator *find_accelerator(struct rows_reader *r, const char *gpu)
{
    char name[64];
    accelerator_key(gpu, name, sizeof name);
    if (!name[0]) return NULL;
    for (;;) {
        for (size_t i = 0; i < r->n_accelerators; i++)
            if (strcmp(r->accelerators[i].name, name) == 0) return &r->accelerators[i];
        struct machine_accelerator *a = &r->accelerators[r->n_accelerators];
        struct error e = {0};
        struct yaml_reader here = {r->t->path, r->a, &e, 0};
        if (r->n_accelerators < MAX_ACCELERATORS && preset_exists(&here, "accelerators", name) &&
            machine_load_accelerator(name, r->t->path, r->a, a, &e) >= 0) {
            a->name = arena_strdup(r->a, name);
            r->n_accelerators++;
            return a;
        }
        char *dash = strrchr(name, '-');
        if (!dash) return NULL;
        *dash = 0;
    }
}

/* Kinds that are published about and that nobody has described here: such a row is left out. Any other
 * word that names no accelerator is a slip. */
static int check_accelerator(struct rows_reader *r, const struct plan_row *row)
{
    static const char *const others[] = {"A800", "Ascend", "Gaudi",  "Trainium", "MTIA",
                                         "V100", "H20",    "MI250X", "MI325X"};
    const char *described[MAX_ACCELERATORS];
    if (find_accelerator(r, row->gpu) || begins_any(row->gpu, others, ARRAY_LEN(others))) return 0;
    struct error ignored = {0};
    struct yaml_reader here = {r->t->path, r->a, &ignored, 0};
    size_t n = preset_list(&here, "accelerators", described, ARRAY_LEN(described));
    char gpu[64];
    accelerator_key(row->gpu, gpu, sizeof gpu);
    const char *near = name_nearest(gpu, described, n);
    return wrong_value(
        r, "gpu", "an accelerator", row->gpu,
        arena_printf(r->a,
                     "%s%s%sfor example H100-80GB, GB200 or TPU v6e; another one is described in "
                     "accelerators/NAME.yaml beside the table",
                     near ? "did you mean '" : "", near ? near : "", near ? "'? " : ""));
}

/* Published runs are timed on a quiet, healthy machine without oversubscription: one pool, and a
 * third switch tier beyond 2,048 accelerators (two tiers of 64 ports). */
static void build_cluster(struct plan_row *row)
{
    struct machine_cluster *c = &row->cluster;
    c->name = row->gpu;
    c->title = row->gpu;
    c->source = row->source;
    c->pools[0] = (struct machine_pool){&row->accelerator, row->n_gpus};
    c->n_pools = 1;
    c->domains_as_needed = machine_cluster_counts_used(c);
    c->fabric_tiers = row->n_gpus > 2048 ? 3 : 2;
    c->oversubscription = (struct figure){1, 1, 1, 'A', "assumed"};
    c->routing_efficiency =
        (struct figure){MACHINE_ROUTING, MACHINE_ROUTING, MACHINE_ROUTING, 'A', "assumed"};
}

static void read_accelerator(struct rows_reader *r, struct plan_row *row)
{
    const struct machine_accelerator *a = find_accelerator(r, row->gpu);
    if (!a) {
        row->skip = arena_printf(r->a, "there is no description of accelerator '%s'", row->gpu);
        return;
    }
    row->accelerator = *a;
    const char *own = plan_machine_of_source(row->source, &row->accelerator);
    if (own) assume(r, row, own);
    if (row->layout.precision == MACHINE_MXFP8 && !(a->peak_flops[MACHINE_MXFP8].mid > 0)) {
        /* "FP8-MX/blockwise": block scales by hardware where there is one, else by software */
        row->layout.precision = MACHINE_FP8;
        assume(r, row, "block scales in software");
    }
    if (!(a->peak_flops[row->layout.precision].mid > 0))
        row->skip = arena_printf(r->a, "%s does not compute in %s", a->name,
                                 machine_precision_names[row->layout.precision]);
    build_cluster(row);
}

/* ------------------------------------------------------------------ the rows */

/* Releases of one page or paper share their defects: "NVIDIA Megatron-Bridge perf 26.04.01" is
 * NVIDIA Megatron-Bridge, "NVIDIA dgxc-benchmarking v25.01" NVIDIA dgxc-benchmarking, vTrain's two tables one. */
static const char *family_of(struct arena *a, const char *source)
{
    const char *end = strstr(source, " perf ");
    if (!end) end = strstr(source, " ground_truth_");
    for (const char *p = source; !end && *p; p++)
        if (p[0] == ' ' && p[1] == 'v' && isdigit((unsigned char)p[2])) end = p;
    return end ? arena_strndup(a, source, (size_t)(end - source)) : source;
}

static int read_measured(struct rows_reader *r, struct plan_row *row)
{
    double step_s, tokens_per_s, gib;
    TRY(real_of(r, "step_time_s", 1e-6, 1e7, &step_s));
    TRY(real_of(r, "tok_s_gpu", 1e-6, 1e12, &tokens_per_s));
    TRY(real_of(r, "mem_gib", 1e-6, 1e6, &gib));
    row->memory_bytes = gib * 1073741824.0;
    row->step_s = step_s;
    if (row->skip) return 0;
    if (step_s == 0 && tokens_per_s > 0)
        row->step_s = (double)row->batch.global_batch * (double)row->batch.seq_len /
                      (tokens_per_s * (double)row->n_gpus);
    if (row->step_s == 0 && gib == 0)
        row->skip = "neither step time, tokens per second nor memory is stated";
    return 0;
}

static int read_row(struct rows_reader *r, struct plan_row *row)
{
    const char *tier = text_of(r, "tier");
    *row = (struct plan_row){.line = r->t->lines[r->row], .assumed = ""};
    TRY(int_of(r, "id", (int64_t)r->row + 1, &row->id));
    row->tier = *tier ? *tier : 'A';
    if (row->tier < 'A' || row->tier > 'C' || (tier[0] && tier[1])) {
        error_set_code(r->e, ERROR_CONFIG, "%s:%d: column 'tier' must be A, B or C, not '%.20s'",
                       r->t->path, row->line, tier);
        return error_hint(r->e, "A: the whole layout is known; B: in part; C: an aggregate");
    }
    row->mismatch = contains(text_of(r, "check"), "MISMATCH");
    row->source = text_of(r, "source");
    row->family = family_of(r->a, row->source);
    row->model_name = text_of(r, "model");
    if (!*row->model_name) /* sweeps over sizes name none; what is left blank there is GPT-2's */
        row->model_name =
            arena_printf(r->a, "GPT-%sx%s", text_of(r, "layers"), text_of(r, "hidden"));
    row->gpu = text_of(r, "gpu");
    TRY(check_accelerator(r, row));
    row->precision = *text_of(r, "precision") ? text_of(r, "precision") : "bf16";
    TRY(int_of(r, "n_gpus", 0, &row->n_gpus));
    if (!plan_software_of_source(row->source, text_of(r, "table"), text_of(r, "dist_opt"),
                                 &row->software))
        assume(r, row, "newest software by rule");
    if (row->software.stack == PLAN_STACK_FSDP &&
        strcasestr(text_of(r, "notes"), "asynchronous TP"))
        row->software.tp_overlap = PLAN_TP_OVERLAPPED;
    TRY(read_software(r, &row->software));
    TRY(read_model(r, row));
    TRY(read_layout(r, row));
    if (!row->skip && contains(text_of(r, "table"), "LoRA"))
        row->skip = "LoRA trains a small part of the weights";
    if (!row->skip && row->n_gpus < 1) row->skip = "the number of accelerators is not stated";
    if (!row->skip) read_accelerator(r, row);
    if (!row->skip && !r->free_layout) complete_layout(r, row);
    return r->free_layout ? 0 : read_measured(r, row);
}

/* A column nobody knows is left alone, unless it looks like a known one misspelt. */
static int check_columns(const struct csv *t, struct arena *a, struct error *e)
{
    struct csv known;
    TRY(csv_parse(all_columns, strlen(all_columns), "", a, &known, e));
    for (size_t i = 0; i < ARRAY_LEN(required); i++)
        if (csv_column(t, required[i]) < 0) {
            error_set_code(e, ERROR_CONFIG, "%s:1: column '%s' is missing", t->path, required[i]);
            return error_hint(e, "the first line names the columns, as in "
                                 "docs/reference/validation-rows.md");
        }
    for (size_t i = 0; i < t->n_columns; i++) {
        if (csv_column(&known, t->heads[i]) >= 0) continue;
        const char *near = name_nearest(t->heads[i], known.heads, known.n_columns);
        if (near && csv_column(t, near) < 0) {
            error_set_code(e, ERROR_CONFIG, "%s:1: column '%.60s' is not known", t->path,
                           t->heads[i]);
            return error_hint(e, "did you mean '%s'?", near);
        }
        log_info("%s: column '%.60s' is not used", t->path, t->heads[i]);
    }
    if (csv_column(t, "accelerator_hours") >= 0 || csv_column(t, "step_time_s") >= 0 ||
        csv_column(t, "tok_s_gpu") >= 0 || csv_column(t, "mem_gib") >= 0)
        return 0;
    error_set_code(e, ERROR_CONFIG, "%s:1: nothing measured in the table", t->path);
    return error_hint(e, "one of the columns step_time_s, tok_s_gpu, mem_gib is needed");
}

const char *validate_find_table(const char *name, const char *else_do, struct arena *a,
                                struct error *e)
{
    const char *path = preset_find_file(a, "validation", name);
    if (path) return path;
    error_set_code(e, ERROR_CONFIG, "the table validation/%s was not found among the presets",
                   name);
    error_hint(e, "set COLOSSUS_PRESETS to the folder presets%s", else_do);
    return NULL;
}

/* What of an error's text is the table's name: the line that follows says enough. */
static size_t name_of_path(const char *text, const char *path)
{
    size_t n = strlen(path);
    return strncmp(text, path, n) == 0 && text[n] == ':' ? n + 1 : 0;
}

static int read_table(struct csv *t, struct arena *a, struct plan_rows *out, struct error *e)
{
    struct rows_reader r = {.t = t, .a = a, .e = e, .free_layout = out->flags & PLAN_ROWS_FREE};
    TRY(check_columns(t, a, e));
    if (t->n_rows == 0) {
        error_set_code(e, ERROR_CONFIG, "%s: no rows below the head", t->path);
        return error_hint(e, "one measured run a line, as in docs/reference/validation-rows.md");
    }
    r.accelerators = arena_alloc(a, (MAX_ACCELERATORS + 1) * sizeof(*r.accelerators));
    out->row = arena_alloc(a, t->n_rows * sizeof(*out->row));
    for (r.row = 0; r.row < t->n_rows; r.row++) {
        struct plan_row *row = &out->row[r.row];
        if (read_row(&r, row) >= 0) continue;
        if (!(out->flags & PLAN_ROWS_LENIENT) || e->code != ERROR_CONFIG) return e->code;
        row->bad = row->skip = arena_strdup(a, e->text + name_of_path(e->text, t->path));
        row->cure = arena_strdup(a, e->hint);
        row->step_s = row->memory_bytes = 0;
        if (!row->tier) row->tier = 'A';
        out->n_bad++;
        *e = (struct error){0};
    }
    out->count = t->n_rows;
    return 0;
}

int plan_rows_parse(const char *text, size_t size, const char *path, struct arena *a,
                    struct plan_rows *out, struct error *e)
{
    struct csv t;
    *out = (struct plan_rows){0};
    TRY(csv_parse(text, size, path, a, &t, e));
    return read_table(&t, a, out, e);
}

int plan_rows_load(const char *path, unsigned flags, struct arena *a, struct plan_rows *out,
                   struct error *e)
{
    char *text;
    size_t size;
    struct csv t;
    struct error local;
    if (!e) e = &local;
    *out = (struct plan_rows){.flags = flags};
    if (!path) path = validate_find_table("published_runs.csv", ", or name a table", a, e);
    if (!path) return ERROR_CONFIG;
    int rc = file_read(path, CSV_MAX_BYTES, &text, &size, e);
    if (rc < 0 && !file_exists(path))
        error_hint(e, "without a file: the published runs that come with colossus");
    TRY(rc);
    rc = csv_parse(text, size, path, a, &t, e);
    if (rc >= 0) rc = read_table(&t, a, out, e);
    mem_free(text);
    return rc;
}
