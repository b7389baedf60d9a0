/* train_config_check.c: values that follow from others, relations between keys, and which keys a
 * run that is continued may change. */
#include "train/train_internal.h"

#include <string.h>

int64_t train_config_step_tokens(const struct train_config *c)
{
    return c->global_batch * c->seq_len;
}

int64_t train_config_microbatches(const struct train_config *c)
{
    return c->global_batch / c->micro_batch / MAX(c->dp, 1);
}

int64_t train_config_steps(const struct train_config *c, int64_t tokens)
{
    int64_t per_step = train_config_step_tokens(c);
    return (tokens + per_step - 1) / per_step;
}

int64_t train_config_total_steps(const struct train_config *c, int64_t step, int64_t tokens)
{
    int64_t total = step + train_config_steps(c, MAX(c->tokens - tokens, 0));
    return c->max_steps > 0 ? MIN(total, c->max_steps) : total;
}

/* ------------------------------------------------------------------ derived values */

static uint8_t *origin_at(struct train_run_file *f, const char *key)
{
    const struct option *row = options_find(train_run_rows, train_run_n_rows, key);
    CHECK_MSG(row != NULL, "no key '%s'", key);
    return &f->origins[row - train_run_rows];
}

static void mark(struct train_run_file *f, const char *key)
{
    *origin_at(f, key) = ORIGIN_DERIVED;
}

static void derive_int(struct train_run_file *f, const char *key, int64_t *value, int64_t natural)
{
    if (*value != 0 || natural == 0) return;
    *value = natural;
    mark(f, key);
}

static void derive_multipliers(struct train_run_file *f)
{
    struct model_config *m = &f->config.model;
    const struct {
        const char *key;
        double *value;
    } rows[] = {
        {"model.embedding_multiplier", &m->embedding_multiplier},
        {"model.output_multiplier", &m->output_multiplier},
        {"model.attn_multiplier", &m->attn_multiplier},
    };
    if (m->d_model <= 0 || m->head_dim <= 0) return; /* train_config_check refuses the model */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (*rows[i].value == 0) mark(f, rows[i].key);
    }
    model_config_derive(m);
}

static void derive_name(struct train_run_file *f)
{
    if (*f->config.name) return;
    char *name = arena_strdup(&f->arena, file_base_name(f->path));
    char *dot = strrchr(name, '.');
    if (dot && dot != name) *dot = 0;
    f->config.name = name;
    mark(f, "name");
}

void train_config_derive(struct train_run_file *f)
{
    struct train_config *c = &f->config;
    struct model_config *m = &c->model;
    derive_name(f);
    derive_int(f, "model.head_dim", &m->head_dim, m->n_heads > 0 ? m->d_model / m->n_heads : 0);
    derive_int(f, "model.n_kv_heads", &m->n_kv_heads, m->n_heads);
    derive_int(f, "model.context_length", &m->context_length, c->seq_len);
    derive_int(f, "batch.global_batch", &c->global_batch, c->micro_batch);
    if (c->schedule == TRAIN_SCHEDULE_WSD)
        derive_int(f, "schedule.decay_tokens", &c->decay_tokens, c->tokens / 5);
    if (m->n_experts <= 1 && *origin_at(f, "model.n_experts_used") == ORIGIN_DEFAULT) {
        m->n_experts_used = 1;
        mark(f, "model.n_experts_used");
    }
    bool experts = m->n_experts > 1;
    if (!experts && *origin_at(f, "balance.kind") == ORIGIN_DEFAULT) {
        c->balance = TRAIN_BALANCE_NONE;
        mark(f, "balance.kind");
    }
    /* Beside biases that move in steps the auxiliary loss is there where the run file asks for it. */
    enum option_origin asked = *origin_at(f, "model.router_aux_coef");
    bool wanted = c->balance == TRAIN_BALANCE_BIAS ? asked == ORIGIN_FILE || asked == ORIGIN_FLAG
                                                   : c->balance != TRAIN_BALANCE_NONE;
    if (m->router_aux_coef != 0 && !(experts && wanted)) {
        m->router_aux_coef = 0;
        mark(f, "model.router_aux_coef");
    }
    if (m->router_z_coef != 0 && (!experts || c->balance == TRAIN_BALANCE_NONE)) {
        m->router_z_coef = 0;
        mark(f, "model.router_z_coef");
    }
    derive_multipliers(f);
}

/* ------------------------------------------------------------------ checks */

static const struct yaml_node *find_key(const struct yaml_node *root, const char *key)
{
    char section[32];
    const char *dot = strchr(key, '.');
    if (!dot) return yaml_get(root, key);
    snprintf(section, sizeof(section), "%.*s", (int)(dot - key), key);
    return yaml_get(yaml_get(root, section), dot + 1);
}

static enum option_origin origin_of(const struct train_config_source *s, const char *key)
{
    const struct option *row = options_find(train_run_rows, train_run_n_rows, key);
    return row ? (enum option_origin)s->origins[row - train_run_rows] : ORIGIN_DEFAULT;
}

/* Where one of two keys was given, as the beginning of a message: "--set key" before "run.yaml:12",
 * because a flag is what was changed last, and the first key before the other. */
static void say_where(const struct train_config_source *s, const char *key, const char *other,
                      char *where, size_t size)
{
    const char *const keys[] = {key, other};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (!keys[i] || origin_of(s, keys[i]) != ORIGIN_FLAG) continue;
        snprintf(where, size, "--set %s", keys[i]);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct yaml_node *node = keys[i] ? find_key(s->root, keys[i]) : NULL;
        if (!node) continue;
        snprintf(where, size, "%s:%d", s->name, node->line);
        return;
    }
    snprintf(where, size, "%s", s->name);
}

/* "run.yaml:12: <text>" or "--set batch.seq_len: <text>". */
static int refuse(const struct train_config_source *s, const char *key, const char *other,
                  struct error *e, const char *fmt, ...) PRINTF_LIKE(5, 6);
static int refuse(const struct train_config_source *s, const char *key, const char *other,
                  struct error *e, const char *fmt, ...)
{
    char text[512], where[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    say_where(s, key, other, where, sizeof(where));
    return error_set_code(e, ERROR_CONFIG, "%s: %s", where, text);
}

static int check_batch(const struct train_config *c, const struct train_config_source *s,
                       struct error *e)
{
    if (c->global_batch % c->micro_batch != 0) {
        refuse(s, "batch.global_batch", "batch.micro_batch", e,
               "batch.global_batch %lld is not a multiple of batch.micro_batch %lld",
               (long long)c->global_batch, (long long)c->micro_batch);
        int64_t up = (c->global_batch / c->micro_batch + 1) * c->micro_batch;
        return error_hint(e, "for example batch.global_batch: %lld", (long long)up);
    }
    if (c->seq_len > c->model.context_length) {
        refuse(s, "batch.seq_len", "model.context_length", e,
               "batch.seq_len %lld is longer than model.context_length %lld", (long long)c->seq_len,
               (long long)c->model.context_length);
        return error_hint(e, "for example model.context_length: %lld", (long long)c->seq_len);
    }
    if (c->micro_batch > INT32_MAX / c->seq_len) {
        refuse(s, "batch.micro_batch", "batch.seq_len", e,
               "batch.micro_batch %lld times batch.seq_len %lld is too large",
               (long long)c->micro_batch, (long long)c->seq_len);
        return error_hint(e, "use a smaller batch.micro_batch with the same batch.global_batch");
    }
    return 0;
}

static int check_schedule(const struct train_config *c, const struct train_config_source *s,
                          struct error *e)
{
    int64_t decay = c->schedule == TRAIN_SCHEDULE_WSD ? c->decay_tokens : 0;
    if (c->warmup_tokens <= c->tokens - MIN(decay, c->tokens) && decay <= c->tokens) return 0;
    refuse(s, "schedule.warmup_tokens", "schedule.decay_tokens", e,
           "schedule.warmup_tokens %lld and schedule.decay_tokens %lld exceed train.tokens %lld",
           (long long)c->warmup_tokens, (long long)decay, (long long)c->tokens);
    return error_hint(e, "for example schedule.warmup_tokens: %lld", (long long)(c->tokens / 50));
}

static int check_name(const struct train_config *c, const struct train_config_source *s,
                      struct error *e)
{
    if (*c->name && c->name[0] != '.' && !strchr(c->name, '/')) return 0;
    refuse(s, "name", NULL, e, "name '%s' cannot be the name of a folder in '%s'", c->name, c->dir);
    return error_hint(e, "for example name: first-run");
}

/* What model_config_check found, at the key that its message names in quotes first. A head's width
 * that was derived is the number of heads' fault. */
static int refuse_model(const struct train_config_source *s, const struct error *inner,
                        struct error *e)
{
    char key[64] = "model";
    const char *quote = strchr(inner->text, '\'');
    if (quote) snprintf(key, sizeof(key), "model.%.*s", (int)strcspn(quote + 1, "'"), quote + 1);
    bool derived = strcmp(key, "model.head_dim") == 0;
    refuse(s, key, derived ? "model.n_heads" : NULL, e, "model: %s", inner->text);
    return error_hint(e, "%s", inner->hint);
}

static int check_model(const struct train_config *c, const struct train_config_source *s,
                       struct error *e)
{
    struct model_config m = c->model;
    const struct {
        const char *key;
        int64_t value;
        int64_t example;
    } needed[] = {{"model.n_layers", m.n_layers, 4},
                  {"model.d_model", m.d_model, 256},
                  {"model.n_heads", m.n_heads, 4},
                  {"model.ffn_hidden", m.ffn_hidden, 512}};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++) {
        if (needed[i].value > 0) continue;
        refuse(s, needed[i].key, NULL, e, "%s is missing", needed[i].key);
        return error_hint(e, "for example %s: %lld, or name a model.preset", needed[i].key + 6,
                          (long long)needed[i].example);
    }
    if (m.vocab_size == 0)
        m.vocab_size = 256; /* the dataset's is not known yet; checked again with it */
    struct error inner = {0};
    if (model_config_check_trainable(&m, &inner) < 0) return refuse_model(s, &inner, e);
    if (train_balances_by_bias(c) && m.n_experts <= 1) {
        refuse(s, "balance.kind", NULL, e, "balance.kind %s needs model.n_experts above 1",
               c->balance == TRAIN_BALANCE_BIAS ? "bias" : "quantile");
        return error_hint(e, "for example model.n_experts: 8, or balance.kind: none");
    }
    return 0;
}

int train_config_check(const struct train_run_file *f, const struct train_config_source *s,
                       struct error *e)
{
    const struct train_config *c = &f->config;
    TRY(check_name(c, s, e));
    TRY(check_model(c, s, e));
    TRY(check_batch(c, s, e));
    TRY(check_schedule(c, s, e));
    return 0;
}

/* ------------------------------------------------------------------ continuing a run */

static bool is_in(const char *key, const char *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(key, list[i]) == 0) return true;
    }
    return false;
}

bool train_config_may_change(const char *key)
{
    static const char *const list[] = {
        "name",
        "dir",
        "data.path",
        "data.verify",
        "model.preset",
        "data.valid_tokens",
        "train.tokens",
        "train.max_steps",
        "train.threads",
        "cluster.check_every",
        "checkpoint.copy_every",
        "train.recompute",
        "cluster.layout",
        "cluster.dp",
        "cluster.tp",
        "cluster.pp",
        "cluster.ep",
        "cluster.zero",
        "cluster.bind",
        "cluster.timeout",
        "log.timeline_every",
        "train.max_skips",
        "log.every",
        "log.valid_every",
        "log.peak_seconds",
        "checkpoint.every",
        "checkpoint.keep_last",
        "schedule.decay_tokens",
        "checkpoint.keep_every",
    };
    return is_in(key, list, ARRAY_LEN(list));
}

bool train_config_is_fixed(const char *key)
{
    static const char *const list[] = {"batch.seq_len", "train.seed", "train.skip_window",
                                       "optimizer.kind", "balance.kind"};
    return strncmp(key, "model.", 6) == 0 || is_in(key, list, ARRAY_LEN(list));
}

size_t train_config_differences(const struct train_config *was, const struct train_config *now,
                                struct str *out, size_t *n_fixed)
{
    struct str a = {0}, b = {0};
    size_t n = 0;
    *n_fixed = 0;
    for (size_t i = 0; i < train_run_n_rows; i++) {
        const struct option *row = &train_run_rows[i];
        str_clear(&a);
        str_clear(&b);
        options_get(row, was, &a);
        options_get(row, now, &b);
        bool same = a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
        if (same || train_config_may_change(row->name)) continue;
        str_printf(out, "%s%s: %s, now %s", n ? "; " : "", row->name, a.len ? a.data : "''",
                   b.len ? b.data : "''");
        *n_fixed += train_config_is_fixed(row->name);
        n++;
    }
    str_fini(&a);
    str_fini(&b);
    return n;
}
