/* train_state.c: what a checkpoint holds, and whether it belongs to this run.
 *
 *   weights.safetensors   fp32 masters, named as in the parameter table, and in a run that
 *                         balances by it the router's selection bias
 *   optim-m.safetensors   first moments or momentum of every tensor
 *   optim-v.safetensors   second moments of the tensors that AdamW updates
 *   state.safetensors     the window of the bad-update guard
 *                         (of many ranks each writes its part of the first three, model_parts.c,
 *                         and rank 0 the rest)
 *   config.json           the model, tokenizer.* a copy of the dataset's: with the weights, a
 *                         checkpoint folder is a model that `generate` and `eval` open
 *   manifest "state"      counters, data cursor, and the identity of data, tokenizer and model
 *
 * Together with the run file this is all that the next step depends on. Numbers that decide are
 * kept as tensors or integers, so nothing is rounded on its way through JSON. */
#include "train/train_internal.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------ layout */

/* The tensors of a set, as they are collected. */
struct listing {
    const struct train_session *s;
    bool reads;
    struct safetensors_entry *entries;
    struct ckpt_range *ranges;
    size_t n;
};

static struct listing begin_list(struct train_session *s, size_t cap, bool reads)
{
    struct listing l = {.s = s, .reads = reads};
    l.entries = arena_alloc(&s->arena, cap * sizeof(*l.entries));
    l.ranges = arena_alloc(&s->arena, cap * sizeof(*l.ranges));
    return l;
}

/* A parameter as a tensor of a file: the same name and the shape of the whole, so that any reader of
 * the format can use it; base is the flat array, NULL while only sizes count. Each rank writes its
 * part, and reads what it updates. */
static void list_param(struct listing *l, const struct param *p, float *base)
{
    const struct train_session *s = l->s;
    bool whole = s->ranks.size == 1 || (l->reads && s->reduce.zero == 0);
    struct train_range own = train_shares_clip(whole ? NULL : &s->shares, p->offset, p->count);
    struct safetensors_entry *t = &l->entries[l->n];
    struct ckpt_range *r = &l->ranges[l->n++];
    *t = (struct safetensors_entry){.dtype = ST_F32, .n_dims = p->n_dims, .bytes = sizeof(float)};
    snprintf(t->name, sizeof(t->name), "%s", p->name);
    for (int i = 0; i < p->n_dims; i++) {
        t->shape[i] = p->whole[i];
        t->bytes *= (size_t)p->whole[i];
    }
    *r = (struct ckpt_range){own.first - p->offset, own.count, param_block(p)};
    if (!l->reads && !train_ranks_counts(&s->ranks, p)) r->count = 0;
    t->data = base ? base + own.first : NULL;
}

/* How many tensors the set of the whole model has. */
static size_t count_whole(struct train_session *s, bool second)
{
    struct param_table whole;
    size_t n = 0;
    model_params_build(&s->c.model, &s->arena, &whole);
    for (size_t i = 0; i < whole.n_rows; i++)
        n += !second || train_optim_uses_v(&s->c, &whole.rows[i]);
    return n;
}

/* The selection biases of the layers that are here. */
static void list_biases(struct listing *l)
{
    const struct train_session *s = l->s;
    const struct model_config *m = &s->c.model;
    struct model_shard here = train_ranks_shard(&s->ranks, m);
    const float *bias = s->model ? model_router_bias(s->model) : NULL;
    bool leads = s->ranks.data == 0 && s->ranks.tensor == 0;
    for (int64_t i = here.first_layer; i < here.end_layer; i++) {
        struct safetensors_entry *b = &l->entries[l->n];
        struct tensor_block block = {1, {m->n_experts}, {0}, {m->n_experts}};
        *b = (struct safetensors_entry){.dtype = ST_F32, .n_dims = 1, .shape = {m->n_experts}};
        snprintf(b->name, sizeof(b->name), "blk.%lld.exp_probs_b.bias", (long long)i);
        b->data = bias ? bias + (i - here.first_layer) * m->n_experts : NULL;
        b->bytes = (size_t)m->n_experts * sizeof(float);
        size_t count = l->reads || leads ? (size_t)m->n_experts : 0;
        l->ranges[l->n++] = (struct ckpt_range){0, count, block};
    }
}

static struct ckpt_set weights_set(struct train_session *s, bool reads)
{
    size_t n = s->params.n_rows, layers = (size_t)s->c.model.n_layers,
           whole = count_whole(s, false);
    struct listing l = begin_list(s, n + layers, reads);
    float *weights = s->model ? model_weights(s->model) : NULL;
    for (size_t i = 0; i < n; i++)
        list_param(&l, &s->params.rows[i], weights);
    if (train_balances_by_bias(&s->c)) {
        list_biases(&l);
        whole += layers;
    }
    return (struct ckpt_set){"weights.safetensors", l.entries, l.n, l.ranges, whole};
}

/* Moments are named like the parameter they belong to; they differ by the file they are in. */
static struct ckpt_set moments_set(struct train_session *s, bool second, bool reads)
{
    struct listing l = begin_list(s, s->params.n_rows, reads);
    float *base = NULL;
    if (s->optim) base = second ? train_optim_v(s->optim) : train_optim_m(s->optim);
    for (size_t i = 0; i < s->params.n_rows; i++) {
        if (second && !train_optim_uses_v(&s->c, &s->params.rows[i])) continue;
        list_param(&l, &s->params.rows[i], base);
    }
    return (struct ckpt_set){second ? "optim-v.safetensors" : "optim-m.safetensors", l.entries, l.n,
                             l.ranges, count_whole(s, second)};
}

/* In full precision: whether a step is skipped must come out the same after a restart. */
static struct ckpt_set guard_set(struct train_session *s)
{
    const struct train_guard *g = &s->guard;
    struct safetensors_entry *t = arena_alloc(&s->arena, 2 * sizeof(*t));
    for (int i = 0; i < 2; i++) {
        t[i] = (struct safetensors_entry){.dtype = ST_F64, .n_dims = 1, .shape = {g->window}};
        snprintf(t[i].name, sizeof(t[i].name), "%s", i == 0 ? "guard.loss" : "guard.norm");
        t[i].data = i == 0 ? g->loss : g->norm;
        t[i].bytes = (size_t)g->window * sizeof(double);
    }
    return (struct ckpt_set){"state.safetensors", t, 2, NULL, 2};
}

static struct ckpt_file config_file(struct train_session *s)
{
    json_t *o = model_config_to_json(&s->c.model);
    char *text = json_dumps(o, JSON_INDENT(2) | JSON_SORT_KEYS);
    CHECK_MSG(text, "the model's configuration is not valid JSON");
    char *copy = arena_printf(&s->arena, "%s\n", text);
    mem_free(text);
    json_decref(o);
    return (struct ckpt_file){"config.json", copy, strlen(copy)};
}

/* Adds the dataset's copy of its tokenizer where there is one; its hash was checked on loading. */
static size_t tokenizer_file(struct train_session *s, struct ckpt_file *file)
{
    const char *path = dataset_info(s->data.train)->tokenizer_path;
    char *data;
    size_t size;
    struct error e = {0};
    if (!path) return 0;
    if (file_read(path, (size_t)1 << 30, &data, &size, &e) < 0) {
        log_warn("checkpoints will be without a tokenizer: %s", e.text);
        return 0;
    }
    char *copy = arena_alloc(&s->arena, size + 1);
    memcpy(copy, data, size);
    mem_free(data);
    char *name = arena_strdup(&s->arena, file_base_name(path));
    *file = (struct ckpt_file){name, copy, size};
    return 1;
}

void train_state_layout(struct train_session *s, bool reads, struct ckpt_layout *l)
{
    bool leads = train_ranks_lead(&s->ranks);
    struct ckpt_set *sets = arena_alloc(&s->arena, 4 * sizeof(*sets));
    sets[0] = weights_set(s, reads);
    sets[1] = moments_set(s, false, reads);
    sets[2] = moments_set(s, true, reads);
    if (reads || leads) sets[3] = guard_set(s);
    struct ckpt_file *files = arena_alloc(&s->arena, 2 * sizeof(*files));
    *l = (struct ckpt_layout){.sets = sets, .n_sets = reads || leads ? 4 : 3, .files = files};
    l->rank = s->ranks.rank;
    l->n_ranks = s->ranks.size;
    if (!s->model || !leads) return; /* for the memory plan only the sizes of the sets matter */
    files[l->n_files++] = config_file(s);
    l->n_files += tokenizer_file(s, &files[l->n_files]);
}

/* ------------------------------------------------------------------ counters and identity */

static void put_hash(json_t *o, const char *key, uint64_t hash)
{
    char hex[17];
    hash_to_hex(hash, hex);
    json_object_set_new(o, key, json_string(hex));
}

json_t *train_state_to_json(const struct train_session *s)
{
    struct loader_cursor cursor = loader_get_cursor(s->data.loader);
    json_t *o = json_object();
    json_object_set_new(o, "step", json_integer(s->step));
    json_object_set_new(o, "tokens", json_integer(s->tokens));
    json_object_set_new(o, "updates", json_integer(s->updates));
    json_object_set_new(o, "skips_in_row", json_integer(s->skips_in_row));
    json_object_set_new(o, "unbalanced", json_integer(s->unbalanced));
    if (s->c.check_every > 0) json_object_set_new(o, "checked_step", json_integer(s->check.good));
    json_object_set_new(o, "guard_count", json_integer(s->guard.count));
    json_object_set_new(o, "cursor_epoch", json_integer((json_int_t)cursor.epoch));
    json_object_set_new(o, "cursor_window", json_integer((json_int_t)cursor.window));
    put_hash(o, "data_fingerprint", dataset_info(s->data.train)->fingerprint);
    put_hash(o, "tokenizer_hash", dataset_info(s->data.train)->tokenizer_hash);
    json_object_set_new(o, "eos", json_integer(dataset_info(s->data.train)->eos));
    json_object_set_new(o, "backend", json_string(compute_backend_name(s->compute)));
    json_object_set_new(o, "model", model_config_to_json(&s->c.model));
    return o;
}

bool train_state_is_sound(const json_t *state)
{
    return json_integer_value(json_object_get(state, "skips_in_row")) == 0;
}

/* Going on with other data or ids would train, and train nonsense: so it is an error, not a
 * warning. */
static int check_hash(const json_t *state, const char *key, uint64_t now, const char *what,
                      struct error *e)
{
    const char *text;
    char hex[17];
    TRY(json_get_string(state, key, &text, "manifest.json", e));
    hash_to_hex(now, hex);
    if (strcmp(text, hex) == 0) return 0;
    error_set_code(e, ERROR_CONFIG, "the run was begun with another %s (%s, now %s)", what, text,
                   hex);
    return error_hint(e, "put data.path back to the run's dataset, or give this run another name");
}

/* Every key that the configuration has now must have been the same; keys of a newer program that an
 * old state lacks differ, too. */
static int check_model(const struct train_session *s, const json_t *state, struct error *e)
{
    const json_t *was = json_object_get(state, "model");
    json_t *now = model_config_to_json(&s->c.model);
    const char *key;
    const json_t *value;
    int rc = 0;
    json_object_foreach(now, key, value)
    {
        if (json_equal(value, json_object_get(was, key))) continue;
        rc = error_set_code(e, ERROR_CONFIG, "the run was begun with another model.%s", key);
        rc = error_hint(e, "put it back, or give this run another name");
        break;
    }
    json_decref(now);
    return rc;
}

static int read_counters(struct train_session *s, const json_t *state, struct error *e)
{
    static const char *const name = "manifest.json";
    int64_t epoch, window;
    TRY(json_get_int(state, "step", &s->step, name, e));
    TRY(json_get_int(state, "tokens", &s->tokens, name, e));
    TRY(json_get_int(state, "updates", &s->updates, name, e));
    TRY(json_get_int(state, "skips_in_row", &s->skips_in_row, name, e));
    s->unbalanced = json_integer_value(json_object_get(state, "unbalanced")); /* older: none */
    const json_t *checked = json_object_get(state, "checked_step");
    s->check.good = checked ? json_integer_value(checked) : s->step; /* never checked: believed */
    TRY(json_get_int(state, "guard_count", &s->guard.count, name, e));
    TRY(json_get_int(state, "cursor_epoch", &epoch, name, e));
    TRY(json_get_int(state, "cursor_window", &window, name, e));
    struct loader_cursor cursor = {(uint64_t)epoch, (uint64_t)window};
    return loader_set_cursor(s->data.loader, cursor, e);
}

int train_state_from_json(struct train_session *s, const json_t *state, struct error *e)
{
    const char *backend;
    TRY(check_hash(state, "data_fingerprint", dataset_info(s->data.train)->fingerprint, "dataset",
                   e));
    TRY(check_hash(state, "tokenizer_hash", dataset_info(s->data.train)->tokenizer_hash,
                   "tokenizer", e));
    TRY(check_model(s, state, e));
    TRY(read_counters(s, state, e));
    TRY(json_get_string(state, "backend", &backend, "manifest.json", e));
    if (strcmp(backend, compute_backend_name(s->compute)) != 0)
        log_warn("the run was so far computed by %s, now by %s: results will differ by rounding",
                 backend, compute_backend_name(s->compute));
    return 0;
}
