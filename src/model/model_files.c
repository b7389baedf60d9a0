/* model_files.c: a model's weights from and to safetensors files.
 *
 * Loading is strict: a tensor that is missing, has another shape or is not the model's is an error
 * that names it, because a model with one wrong tensor still talks, only worse. The shape in the
 * file is always the whole tensor's; a shard copies its part of it.
 *
 * Saving writes beside the target and renames, so that a crash leaves the old file or the new one. */
#include "model/model_internal.h"

#include <string.h>
#include <unistd.h>

static const char *const WEIGHT_FILES[] = {"model.safetensors", "weights.safetensors"};

/* ------------------------------------------------------------------ loading */

static int64_t whole_size(const struct param *p, int dim)
{
    return dim == p->shard_dim ? p->whole : p->shape[dim];
}

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
    int64_t wanted[3] = {0};
    bool same = t->n_dims == p->n_dims;
    for (int i = 0; i < p->n_dims; i++) {
        wanted[i] = whole_size(p, i);
        same = same && t->shape[i] == wanted[i];
    }
    if (same) return 0;
    char have[96], need[96];
    print_shape(t->shape, t->n_dims, have);
    print_shape(wanted, p->n_dims, need);
    return error_set(e, "%s: tensor '%s' is %s, the configuration needs %s", path, p->name, have,
                     need);
}

/* Copies the shard's part of the whole tensor: runs of `inner` values, `part` of each `whole`. */
static void copy_part(const struct param *p, int tensor_rank, const float *whole, float *out)
{
    size_t inner = 1, outer = 1;
    for (int i = 0; i < p->n_dims; i++) {
        inner *= i > p->shard_dim ? (size_t)p->shape[i] : 1;
        outer *= i < p->shard_dim ? (size_t)p->shape[i] : 1;
    }
    size_t run = (size_t)p->shape[p->shard_dim] * inner, stride = (size_t)p->whole * inner;
    for (size_t i = 0; i < outer; i++)
        memcpy(out + i * run, whole + i * stride + (size_t)tensor_rank * run, run * sizeof(float));
}

static int load_tensor(model_t *m, const struct param *p, const struct safetensors_entry *t,
                       struct error *e)
{
    float *out = m->weights + p->offset;
    if (p->shard_dim < 0 || p->whole == p->shape[p->shard_dim])
        return safetensors_read_f32(t, out, p->count, e);
    size_t count = p->count / (size_t)p->shape[p->shard_dim] * (size_t)p->whole;
    float *whole = mem_try_alloc(count * sizeof(float));
    if (!whole) return error_set(e, "no memory to load tensor '%s'", p->name);
    int rc = safetensors_read_f32(t, whole, count, e);
    if (rc == 0) copy_part(p, m->shard.tensor_rank, whole, out);
    mem_free(whole);
    return rc;
}

static int refuse_extra(const model_t *m, const struct safetensors *st, const char *path,
                        struct error *e)
{
    for (size_t i = 0; i < st->n_entries; i++)
        if (!param_find(&m->params, st->entries[i].name)) {
            error_set(e, "%s: tensor '%s' is not part of this model", path, st->entries[i].name);
            return error_hint(e, "the file belongs to another configuration");
        }
    return 0;
}

static int load_tensors(model_t *m, const struct safetensors *st, const char *path, struct error *e)
{
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        const struct safetensors_entry *t = safetensors_find(st, p->name);
        if (!t) return error_set(e, "%s: tensor '%s' is missing", path, p->name);
        TRY(check_shape(p, t, path, e));
        int rc = load_tensor(m, p, t, e);
        if (rc < 0) return error_context(e, "%s", path);
    }
    return refuse_extra(m, st, path, e);
}

static int load_file(model_t *m, const char *path, struct error *e)
{
    struct safetensors st;
    TRY(safetensors_open(path, &st, e));
    int rc = load_tensors(m, &st, path, e);
    safetensors_close(&st);
    if (rc == 0) model_weights_changed(m);
    return rc;
}

int model_load_weights(model_t *m, const char *path, struct error *e)
{
    if (!file_is_dir(path)) return load_file(m, path, e);
    struct arena a;
    arena_init(&a);
    const char *file = NULL;
    for (size_t i = 0; i < ARRAY_LEN(WEIGHT_FILES) && !file; i++) {
        const char *candidate = file_join(&a, path, WEIGHT_FILES[i]);
        if (file_exists(candidate)) file = candidate;
    }
    int rc =
        file ? load_file(m, file, e) : error_set(e, "no %s in folder '%s'", WEIGHT_FILES[0], path);
    arena_fini(&a);
    return rc;
}

/* ------------------------------------------------------------------ saving */

static void describe_tensor(const model_t *m, const struct param *p, struct safetensors_entry *t)
{
    *t = (struct safetensors_entry){
        .dtype = ST_F32,
        .n_dims = p->n_dims,
        .data = m->weights + p->offset,
        .bytes = p->count * sizeof(float),
    };
    memcpy(t->name, p->name, sizeof(p->name));
    memcpy(t->shape, p->shape, sizeof(p->shape));
}

static int save_file(const model_t *m, const char *path, struct arena *a, struct error *e)
{
    size_t n = m->params.n_rows;
    struct safetensors_entry *entries = arena_alloc(a, n * sizeof(*entries));
    for (size_t i = 0; i < n; i++)
        describe_tensor(m, &m->params.rows[i], &entries[i]);
    const char *temporary = arena_printf(a, "%s.tmp", path);
    int rc = safetensors_write(temporary, entries, n, NULL, NULL, NULL, e);
    if (rc == 0) rc = file_rename(temporary, path, e);
    if (rc < 0) unlink(temporary); /* of no use to anyone; a failure to remove it changes nothing */
    return rc;
}

static int save_folder(const model_t *m, const char *path, struct arena *a, struct error *e)
{
    TRY(file_make_dirs(path, e));
    json_t *config = model_config_to_json(&m->config);
    int rc = json_save_path(config, file_join(a, path, "config.json"), e);
    json_decref(config);
    return rc < 0 ? rc : save_file(m, file_join(a, path, WEIGHT_FILES[0]), a, e);
}

static bool ends_in(const char *text, const char *end)
{
    size_t n = strlen(text), k = strlen(end);
    return n >= k && strcmp(text + n - k, end) == 0;
}

int model_save_weights(const model_t *m, const char *path, struct error *e)
{
    struct arena a;
    arena_init(&a);
    int rc =
        ends_in(path, ".safetensors") ? save_file(m, path, &a, e) : save_folder(m, path, &a, e);
    arena_fini(&a);
    return rc;
}
