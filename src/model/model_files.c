/* model_files.c: a model's weights from safetensors files, under this program's names or Hugging Face's
 * (model_hf_names.c).
 *
 * Loading is strict: a tensor that is missing, has another shape, is not the model's or holds a
 * number that is not finite is an error that names it, because a model with one wrong tensor still
 * talks, only worse. The shape in the file is always the whole tensor's; a shard copies its part.
 *
 * The selection biases of the routers, "blk.<layer>.exp_probs_b.bias" [E], are not parameters (no
 * gradient moves them), so they are not in the table. A file has them for every layer, or for none:
 * they are zero then. */
#include "model/model_internal.h"

#include <string.h>

static const char *const WEIGHT_FILES[] = {"model.safetensors", "weights.safetensors"};

/* ------------------------------------------------------------------ loading */

static void print_shape(const int64_t *shape, int n_dims, char text[96])
{
    size_t at = 0;
    text[0] = '\0';
    for (int i = 0; i < n_dims && at < 96; i++) {
        int n = snprintf(text + at, 96 - at, i ? " x %lld" : "%lld", (long long)shape[i]);
        at += (size_t)MAX(n, 0);
    }
}

static int check_shape(const struct param *p, const struct safetensors_entry *t, const char *path,
                       struct error *e)
{
    bool same = t->n_dims == p->n_dims;
    for (int i = 0; i < p->n_dims; i++)
        same = same && t->shape[i] == p->whole[i];
    if (same) return 0;
    char have[96], need[96];
    print_shape(t->shape, t->n_dims, have);
    print_shape(p->whole, p->n_dims, need);
    return error_set(e, "%s: tensor '%s' is %s, the configuration needs %s", path, p->name, have,
                     need);
}

/* Sees that numbers are numbers: one NaN would reach every logit. */
static int check_finite(model_t *m, const char *name, const float *x, size_t count, struct error *e)
{
    if (model_all_finite(m, x, count)) return 0;
    error_set(e, "tensor '%s' holds NaN or infinite values", name);
    return error_hint(e, "the training that wrote it went wrong, or the file is damaged: use an "
                         "earlier checkpoint");
}

static int read_finite(model_t *m, const struct safetensors_tensor *t, float *out, size_t count,
                       struct error *e)
{
    TRY(safetensors_tensor_read(t, 0, count, out, e));
    return check_finite(m, t->whole.name, out, count, e);
}

/* Numbers [first, first + count) of the part that this process holds. */
static int read_held(const struct param *p, const struct safetensors_tensor *t, size_t first,
                     size_t count, float *out, struct error *e)
{
    struct tensor_block block = param_block(p);
    for (size_t i = 0, run, at; i < count; i += run) {
        run = MIN(tensor_block_run(&block, first + i, &at), count - i);
        TRY(safetensors_tensor_read(t, at, run, out + i, e));
    }
    return 0;
}

/* Where the numbers of a tensor are: a tensor of its name, or those of Hugging Face that make it. */
struct origin {
    const struct safetensors_tensor *t; /* or NULL */
    const struct hf_tensors *hf;
};

static int read_origin(const struct origin *o, const struct param *p, int64_t row, int64_t n,
                       float *out, struct error *e)
{
    size_t width = (size_t)p->shape[p->n_dims - 1];
    if (!o->t) return hf_tensor_read(o->hf, p, row, n, out, e);
    return read_held(p, o->t, (size_t)row * width, (size_t)n * width, out, e);
}

/* Some rows at a time. */
static int load_tensor(model_t *m, const struct param *p, const struct origin *o, struct error *e)
{
    int64_t width = p->shape[p->n_dims - 1], all = (int64_t)p->count / width;
    int64_t step = MIN(MAX(1, MODEL_PUT_FLOATS / width), all);
    float *rows = mem_try_alloc((size_t)(step * width) * sizeof(float));
    if (!rows) return error_set(e, "no memory to load tensor '%s'", p->name);
    int rc = 0;
    for (int64_t r = 0; r < all && rc >= 0; r += step) {
        int64_t n = MIN(step, all - r);
        rc = read_origin(o, p, r, n, rows, e);
        if (rc >= 0) rc = check_finite(m, p->name, rows, (size_t)(n * width), e);
        if (rc >= 0) model_put(m, (size_t)(p - m->params.rows), r, n, rows);
    }
    mem_free(rows);
    return rc;
}

/* "blk.<layer>.exp_probs_b.bias", as GGUF names it. */
static void bias_name(int64_t layer, char name[64])
{
    snprintf(name, 64, "blk.%lld.exp_probs_b.bias", (long long)layer);
}

int model_read_biases(model_t *m, const struct safetensors_set *st, const char *path,
                      struct error *e)
{
    size_t E = (size_t)m->dims.E;
    int64_t found = 0;
    char name[64];
    if (!E) return 0;
    for (int64_t i = 0; i < m->dims.L; i++) {
        float *out = m->host.router_bias + (size_t)i * E;
        bias_name(m->shard.first_layer + i, name);
        const struct safetensors_tensor *t = safetensors_set_find(st, name);
        memset(out, 0, E * sizeof(*out));
        if (!t) continue;
        if (t->whole.n_dims != 1 || t->whole.shape[0] != m->dims.E)
            return error_set(e, "%s: tensor '%s' is not of %zu experts", path, name, E);
        int rc = read_finite(m, t, out, E, e);
        if (rc < 0) return error_context(e, "%s", path);
        found++;
    }
    if (found == 0 || found == m->dims.L) return 0;
    return error_set(e, "%s: selection biases ('%s') of only %lld of %lld layers", path, name,
                     (long long)found, (long long)m->dims.L);
}

int model_read_values(model_t *m, const struct safetensors_set *st, const char *path, size_t param,
                      float *out, struct error *e)
{
    const struct param *p = &m->params.rows[param];
    const struct safetensors_tensor *t = safetensors_set_find(st, p->name);
    if (!t) return error_set(e, "%s: tensor '%s' is missing", path, p->name);
    TRY(check_shape(p, &t->whole, path, e));
    TRY(read_held(p, t, 0, p->count, out, e));
    int rc = check_finite(m, p->name, out, p->count, e);
    return rc < 0 ? error_context(e, "%s", path) : 0;
}

static bool is_bias(const model_t *m, const char *tensor)
{
    char name[64];
    for (int64_t i = 0; m->dims.E && i < m->config.n_layers; i++) {
        bias_name(i, name);
        if (strcmp(tensor, name) == 0) return true;
    }
    return false;
}

/* The file is the whole model's, whatever part of it this process holds. */
static int refuse_extra(const model_t *m, const struct safetensors_set *st, const char *path,
                        struct error *e)
{
    struct arena a = {0};
    struct param_table whole;
    const char *extra = NULL;
    model_params_build(&m->config, &a, &whole);
    for (size_t i = 0; i < st->n_tensors && !extra; i++) {
        const char *name = st->tensors[i].whole.name;
        if (!param_find(&whole, name) && !is_bias(m, name)) extra = name;
    }
    arena_fini(&a);
    if (!extra) return 0;
    error_set(e, "%s: tensor '%s' is not part of this model", path, extra);
    return error_hint(e, "the file belongs to another configuration");
}

/* Without consequence: angles that older files hold, and the table once more as the head it is tied to. */
static bool is_repeated(const model_t *m, const char *name)
{
    size_t n = strlen(name), suffix = strlen(".rotary_emb.inv_freq");
    if (n > suffix && strcmp(name + n - suffix, ".rotary_emb.inv_freq") == 0) return true;
    return m->config.tied_embeddings && strcmp(name, "lm_head.weight") == 0;
}

/* Every tensor of a folder of Hugging Face's, of which all must be used. */
static int load_hf(model_t *m, const struct safetensors_set *st, const char *path, struct error *e)
{
    bool *used = arena_alloc(&m->arena, st->n_tensors + 1);
    struct hf_tensors hf = {st, &m->config, used};
    struct origin o = {NULL, &hf};
    if (m->shard.tensor_size > 1 || m->shard.expert_size > 1 || !m->has_embedding || !m->has_head)
        return error_set(e, "%s: Hugging Face's files are read by one process: convert it first",
                         path);
    for (size_t i = 0; i < m->params.n_rows; i++) {
        int rc = load_tensor(m, &m->params.rows[i], &o, e);
        if (rc < 0) return error_context(e, "%s", path);
    }
    for (size_t i = 0; i < st->n_tensors; i++) {
        const char *name = st->tensors[i].whole.name;
        if (used[i] || is_repeated(m, name)) continue;
        error_set(e, "%s: tensor '%s' is not part of this model", path, name);
        return error_hint(e, "the file belongs to another configuration");
    }
    return 0;
}

static int load_tensors(model_t *m, const struct safetensors_set *st, const char *path,
                        struct error *e)
{
    if (hf_is_named(st)) return load_hf(m, st, path, e);
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        const struct safetensors_tensor *t = safetensors_set_find(st, p->name);
        if (!t) return error_set(e, "%s: tensor '%s' is missing", path, p->name);
        TRY(check_shape(p, &t->whole, path, e));
        int rc = load_tensor(m, p, &(struct origin){t, NULL}, e);
        if (rc < 0) return error_context(e, "%s", path);
    }
    TRY(model_read_biases(m, st, path, e));
    return refuse_extra(m, st, path, e);
}

static int load_file(model_t *m, const char *path, struct error *e)
{
    struct safetensors_set st;
    TRY(safetensors_set_open(path, &st, e));
    int rc = load_tensors(m, &st, path, e);
    if (rc == 0) rc = safetensors_set_check(&st, path, e);
    safetensors_set_close(&st);
    if (rc == 0) model_weights_changed(m);
    return rc;
}

int model_load_weights(model_t *m, const char *path, struct error *e)
{
    if (!file_is_dir(path)) return load_file(m, path, e);
    struct arena a = {0};
    const char *file = NULL;
    for (size_t i = 0; i < ARRAY_LEN(WEIGHT_FILES) && !file; i++) {
        const char *candidate = file_join(&a, path, WEIGHT_FILES[i]);
        if (safetensors_set_exists(candidate)) file = candidate;
    }
    int rc =
        file ? load_file(m, file, e) : error_set(e, "no %s in folder '%s'", WEIGHT_FILES[0], path);
    arena_fini(&a);
    return rc;
}
