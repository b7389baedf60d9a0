/* model_gguf_weights.c: a model's weights from a GGUF file (its sizes and form: model_gguf_config.c).
 *
 * Weights in blocks stay whole numbers where the model keeps them so; others are turned to the model's
 * own format as they are read. Both happen some rows at a time; the file is mapped, so it takes no
 * memory of its own. Names of tensors are this program's, but for those that a family has given other
 * ones (gguf_tensor_name). */
#include "model/model_internal.h"

#include <stdatomic.h>
#include <string.h>

static int check_shape(const struct param *p, const struct gguf_tensor *t, struct error *e)
{
    bool same = t->n_dims == p->n_dims;
    for (int i = 0; same && i < p->n_dims; i++)
        same = t->shape[i] == p->shape[p->n_dims - 1 - i];
    if (same) return 0;
    return error_set(e, "tensor '%s' has another shape than the model's sizes give it", p->name);
}

struct convert {
    const struct gguf_tensor *t;
    int64_t first, step, n;
    float *out;
};

/* Task: `step` rows. */
static void convert_task(void *ctx, size_t task, int thread)
{
    const struct convert *c = ctx;
    int64_t at = (int64_t)task * c->step, n = MIN(c->step, c->n - at), width = c->t->shape[0];
    (void)thread;
    gguf_to_f32(c->t->format, c->t->data + (size_t)(c->first + at) * c->t->row_bytes,
                (size_t)(n * width), c->out + at * width);
}

static int load_tensor(model_t *m, const struct param *p, const struct gguf_tensor *t, float *rows,
                       struct error *e)
{
    int64_t width = t->shape[0], step = MAX(1, MODEL_PUT_FLOATS / width);
    for (int64_t r = 0; r < t->rows; r += step) {
        struct convert c = {t, r, MAX(1, 16384 / width), MIN(step, t->rows - r), rows};
        pool_run(compute_pool(m->compute), (size_t)((c.n + c.step - 1) / c.step), convert_task, &c);
        if (!model_all_finite(m, rows, (size_t)(c.n * width)))
            return error_set(e, "tensor '%s' holds NaN or infinite values", t->name);
        model_put(m, (size_t)(p - m->params.rows), r, c.n, rows);
    }
    return 0;
}

/* Rows on their way as codes; the arrays are cut from the memory for floats, of which codes take a
 * third at most. */
struct apart {
    const struct gguf_tensor *t;
    struct compute_codes form;
    struct gguf_codes rows;
    int64_t first, step, n;
    atomic_bool bad;
};

static struct gguf_codes codes_at(const struct apart *a, int64_t row)
{
    int64_t width = a->t->shape[0], block = compute_codes_block(&a->form);
    int64_t steps = row * (width / block), halves = a->form.shared ? row * (width / 256) : steps;
    return (struct gguf_codes){a->rows.codes + row * width, a->rows.scales + halves,
                               a->rows.leasts + halves, a->rows.scale_steps + steps,
                               a->rows.least_steps + steps};
}

/* Task: `step` rows. */
static void apart_task(void *ctx, size_t task, int thread)
{
    struct apart *a = ctx;
    int64_t at = (int64_t)task * a->step, n = MIN(a->step, a->n - at), width = a->t->shape[0];
    struct gguf_codes to = codes_at(a, at);
    (void)thread;
    if (!gguf_to_codes(a->t->format, a->t->data + (size_t)(a->first + at) * a->t->row_bytes,
                       (size_t)(n * width), &to))
        a->bad = true;
}

static int load_codes(model_t *m, const struct param *p, const struct gguf_tensor *t, float *rows,
                      struct error *e)
{
    int64_t width = t->shape[0], step = MAX(1, MODEL_PUT_FLOATS / width), all = step * width;
    struct apart a = {.t = t, .step = MAX(1, 16384 / width)};
    gguf_codes_of(t->format, &a.form);
    a.rows.scales = (uint16_t *)(void *)rows; /* 2 and 2 bytes for 16 codes at most, ... */
    a.rows.leasts = a.rows.scales + all / 16;
    a.rows.codes = (uint8_t *)(a.rows.leasts + all / 16);
    a.rows.scale_steps = a.rows.codes + all; /* ... 1 and 1 for 16 */
    a.rows.least_steps = a.rows.scale_steps + all / 16;
    for (int64_t r = 0; r < t->rows; r += step) {
        a.first = r;
        a.n = MIN(step, t->rows - r);
        pool_run(compute_pool(m->compute), (size_t)((a.n + a.step - 1) / a.step), apart_task, &a);
        if (a.bad) return error_set(e, "tensor '%s' holds NaN or infinite values", t->name);
        struct compute_linear_codes c = {.first = r,
                                         .n = a.n,
                                         .codes = a.rows.codes,
                                         .scales = a.rows.scales,
                                         .leasts = a.rows.leasts,
                                         .scale_steps = a.rows.scale_steps,
                                         .least_steps = a.rows.least_steps};
        model_put_codes(m, (size_t)(p - m->params.rows), &c);
    }
    return 0;
}

/* The tensor of a parameter, which the file must have. */
static int find_tensor(const struct gguf *g, int architecture, const struct param *p,
                       const struct gguf_tensor **t, struct error *e)
{
    char name[96];
    gguf_tensor_name(architecture, p->name, name);
    *t = gguf_tensor(g, name);
    if (!*t) return error_set(e, "tensor '%s' is missing", name);
    return check_shape(p, *t, e);
}

static int refuse_extra(const struct gguf *g, struct model *m, struct error *e)
{
    char name[96];
    bool *used = arena_alloc(&m->arena, g->n_tensors + 1);
    for (size_t i = 0; i < m->params.n_rows; i++) {
        gguf_tensor_name(m->config.architecture, m->params.rows[i].name, name);
        used[gguf_tensor(g, name) - g->tensors] = true;
    }
    for (size_t i = 0; i < g->n_tensors; i++)
        if (!used[i] && strcmp(g->tensors[i].name, GGUF_ROPE_DIVISORS) != 0)
            return error_set(e, "tensor '%s' is not part of this model", g->tensors[i].name);
    return 0;
}

static int load_tensors(model_t *m, const struct gguf *g, float *rows, struct error *e)
{
    for (size_t i = 0; i < m->params.n_rows; i++) {
        const struct param *p = &m->params.rows[i];
        const struct gguf_tensor *t = NULL;
        TRY(find_tensor(g, m->config.architecture, p, &t, e));
        if (model_keeps_codes(m, i))
            TRY(load_codes(m, p, t, rows, e));
        else
            TRY(load_tensor(m, p, t, rows, e));
    }
    return refuse_extra(g, m, e);
}

/* What slows the rotations of some pairs, in models for long contexts (Llama 3.1). */
static int load_divisors(model_t *m, const struct gguf *g, struct error *e)
{
    const struct gguf_tensor *t = gguf_tensor(g, GGUF_ROPE_DIVISORS);
    int64_t n = m->dims.h / 2;
    if (!t) return 0;
    if (t->n_dims != 1 || t->shape[0] != n)
        return error_set(e, "tensor '%s' is not of %lld numbers, half a head", t->name,
                         (long long)n);
    m->rope_divisors = arena_alloc(&m->arena, (size_t)n * sizeof(*m->rope_divisors));
    gguf_to_f32(t->format, t->data, (size_t)n, m->rope_divisors);
    for (int64_t i = 0; i < n; i++)
        if (!(m->rope_divisors[i] > 0 && isfinite(m->rope_divisors[i])))
            return error_set(e, "tensor '%s' holds numbers that are not above 0", t->name);
    model_rotate(m);
    return 0;
}

int gguf_load_weights(model_t *m, const struct gguf *g, const char *name, struct error *e)
{
    int64_t width = 1;
    CHECK(m->has_embedding && m->has_head && m->shard.tensor_size <= 1);
    for (size_t i = 0; i < g->n_tensors; i++)
        width = MAX(width, g->tensors[i].shape[0]);
    size_t floats = (size_t)MAX(width, MODEL_PUT_FLOATS);
    float *rows = mem_try_alloc(floats * sizeof(float));
    if (!rows) return error_set(e, "no memory to load '%s'", name);
    int rc = load_tensors(m, g, rows, e);
    mem_free(rows);
    if (rc == 0) rc = load_divisors(m, g, e);
    if (rc == 0) rc = file_map_check(&g->map, name, e);
    if (rc < 0) return error_context(e, "%s", name);
    model_weights_changed(m);
    return 0;
}
