/* train_start.c: a run that begins with the weights of a model that there is (train.start_from), and with
 * an optimiser that knows nothing.
 *
 * The model must be the one that the run file describes, key by key: weights under another cap or
 * multiplier are another model. What only training uses may differ, and the length of the context,
 * since rotations are relative. Where both have a tokenizer it must be the same file: ids of another
 * one are other words. A checkpoint of the run comes before this, so the model may be gone by the time
 * a run is continued. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

struct start {
    struct safetensors_set st;
    const char *path; /* of the weights */
};

static bool may_differ(const char *key)
{
    static const char *const keys[] = {"router_aux_coef", "router_z_coef", "context_length"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (strcmp(keys[i], key) == 0) return true;
    return false;
}

/* Numbers of a GGUF file are floats, so that 1e-5 is 9.99999975e-6 when it is back. */
static bool is_same(const struct option *row, const struct model_config *has,
                    const struct train_config *c, const struct str *a, const struct str *b)
{
    if (row->type != OPTION_REAL) return strcmp(a->data, b->data) == 0;
    double x = *(const double *)(const void *)((const char *)has + row->offset);
    double y = *(const double *)(const void *)((const char *)&c->model + row->offset);
    return fabs(x - y) <= 1e-6 * fabs(y);
}

static int check_config(const struct train_config *c, const struct model_config *has,
                        const char *path, struct error *e)
{
    static const struct option rows[] = {MODEL_ROWS("", struct model_config, ),
                                         MODEL_FORM_ROWS("", struct model_config, )};
    struct str a = {0}, b = {0};
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows) && rc == 0; i++) {
        str_clear(&a);
        str_clear(&b);
        options_get(&rows[i], has, &a);
        options_get(&rows[i], &c->model, &b);
        if (may_differ(rows[i].name) || is_same(&rows[i], has, c, &a, &b)) continue;
        error_set_code(e, ERROR_CONFIG, "train.start_from: '%s' has %s %s, the run %s", path,
                       rows[i].name, a.data, b.data);
        rc = error_hint(e, "model.preset: %s takes all of it from there", path);
    }
    str_fini(&a);
    str_fini(&b);
    return rc;
}

static int check_tokenizer(const struct train_session *s, const char *path, struct error *e)
{
    tokenizer_t *t;
    if (!path) return 0;
    TRY(tokenizer_load(path, &t, e));
    bool same = tokenizer_hash(t) == dataset_info(s->data.train)->tokenizer_hash;
    tokenizer_free(t);
    if (same) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "train.start_from: '%s' is not the tokenizer that the dataset was made with",
                   path);
    return error_hint(e, "colossus data tokenize INPUT --tokenizer %s --out DATASET", path);
}

/* The part of one tensor that this rank holds. */
static int fill(void *ctx, model_t *m, size_t param, float *out, struct error *e)
{
    const struct start *start = ctx;
    return model_read_values(m, &start->st, start->path, param, out, e);
}

static int load(struct train_session *s, struct start *start, struct error *e)
{
    const struct param_table *t = model_params(s->model);
    float *weights = model_weights(s->model);
    if (s->reduce.zero > 0) {
        TRY(train_reduce_set_weights(&s->reduce, s->model, fill, start, e));
    } else {
        for (size_t i = 0; i < t->n_rows; i++)
            TRY(fill(start, s->model, i, weights + t->rows[i].offset, e));
        model_weights_changed(s->model);
    }
    TRY(model_read_biases(s->model, &start->st, start->path, e));
    return safetensors_set_check(&start->st, start->path, e);
}

int train_start(struct train_session *s, struct error *e)
{
    struct train_model_paths paths;
    struct model_config has;
    struct start start;
    TRY(train_find_model(s->c.start_from, &s->arena, &paths, e));
    TRY(model_config_load(paths.config, &has, e));
    TRY(check_config(&s->c, &has, paths.config, e));
    TRY(check_tokenizer(s, paths.tokenizer, e));
    start.path = paths.weights;
    TRY(safetensors_set_open(paths.weights, &start.st, e));
    int rc = load(s, &start, e);
    safetensors_set_close(&start.st);
    return rc < 0 ? error_context(e, "train.start_from") : 0;
}
