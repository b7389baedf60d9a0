/* bench_profile.c: clocks around the operations of compute.h; how and why: bench_profile.h.
 *
 * A linear layer is known by its shape: compute_linear_new is wrapped too, and products are
 * booked under "linear IN>OUT xGROUPS", so that layers of one shape share a row. */
#include "lib/bench_profile.h"

#include "compute/compute.h"

#include <stdlib.h>
#include <string.h>

#define MAX_ROWS   128
#define MAX_LAYERS 1024

static struct profile_row rows[MAX_ROWS];
static size_t n_rows;
static int depth;
static double backward_began_s;

struct layer {
    const compute_linear_t *linear;
    double flops_per_row; /* 2 * in * sum of out */
    int groups;
    char name[40];
};
static struct layer layers[MAX_LAYERS];
static size_t n_layers;

struct scope {
    size_t row;
    double start_s;
};

static size_t row_of(const char *name, const char *group, bool backward)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(rows[i].name, name) == 0) return i;
    CHECK_MSG(n_rows < MAX_ROWS, "more than %d kinds of operations", MAX_ROWS);
    rows[n_rows] = (struct profile_row){.group = group, .backward = backward};
    snprintf(rows[n_rows].name, sizeof(rows[n_rows].name), "%s", name);
    return n_rows++;
}

static struct scope enter(const char *name, const char *group, bool backward)
{
    struct scope s = {0};
    if (depth++ > 0) return s;
    s.row = row_of(name, group, backward);
    s.start_s = time_now_s();
    if (backward && backward_began_s == 0) backward_began_s = s.start_s;
    return s;
}

static void leave(struct scope s, double flops)
{
    if (--depth > 0) return;
    rows[s.row].seconds += time_now_s() - s.start_s;
    rows[s.row].calls++;
    rows[s.row].flops += flops;
}

void profile_reset(void)
{
    for (size_t i = 0; i < n_rows; i++)
        rows[i].seconds = rows[i].calls = rows[i].flops = 0;
    backward_began_s = 0;
}

void profile_mark(void)
{
    backward_began_s = 0;
}

double profile_backward_began_s(void)
{
    return backward_began_s;
}

static int compare_rows(const void *a, const void *b)
{
    double x = ((const struct profile_row *)a)->seconds;
    double y = ((const struct profile_row *)b)->seconds;
    return (x < y) - (x > y);
}

const struct profile_row *profile_rows(size_t *count)
{
    qsort(rows, n_rows, sizeof(rows[0]), compare_rows);
    *count = 0;
    while (*count < n_rows && rows[*count].calls > 0)
        (*count)++;
    return rows;
}

/* ------------------------------------------------------------------ operations without a shape */

#define WRAP(group, label, backward, name, params, args)     \
    void __real_##name params;                               \
    void __wrap_##name params;                               \
    void __wrap_##name params                                \
    {                                                        \
        struct scope scope_ = enter(label, group, backward); \
        __real_##name args;                                  \
        leave(scope_, 0);                                    \
    }

/* An operation of one description; and a gradient, of two. */
#define WRAP_OP(group, label, name, type) \
    WRAP(group, label, false, name, (compute_t * c, const struct type *s), (c, s))
#define WRAP_GRADIENT(group, label, name, type) \
    WRAP(group, label, true, name,              \
         (compute_t * c, const struct type *s, const struct type##_grad *d), (c, s, d))

WRAP_OP("attention", "attention forward", compute_attention_forward, compute_attention)
WRAP_GRADIENT("attention", "attention backward", compute_attention_backward, compute_attention)
WRAP("attention", s->backward ? "rope backward" : "rope forward", s->backward, compute_rope,
     (compute_t * c, const struct compute_rope *s), (c, s))
WRAP_OP("norms", "rmsnorm forward", compute_rmsnorm, compute_norm)
WRAP_GRADIENT("norms", "rmsnorm backward", compute_rmsnorm_backward, compute_norm)
WRAP_OP("norms", "seam forward", compute_seam_forward, compute_seam)
WRAP_GRADIENT("norms", "seam backward", compute_seam_backward, compute_seam)
WRAP_OP("gated unit", "gated unit forward", compute_glu_forward, compute_glu)
WRAP_GRADIENT("gated unit", "gated unit backward", compute_glu_backward, compute_glu)
WRAP_OP("routing", "router forward", compute_router_forward, compute_router)
WRAP_GRADIENT("routing", "router backward", compute_router_backward, compute_router)
WRAP("routing", "dispatch", false, compute_dispatch, (const struct compute_dispatch *s), (s))
WRAP("routing", "gather", false, compute_gather,
     (compute_t * c, int64_t n, int64_t D, const int32_t *row_token, const void *x, void *y),
     (c, n, D, row_token, x, y))
WRAP_OP("routing", "combine", compute_combine, compute_combine)
WRAP("other", "scale", false, compute_scale,
     (compute_t * c, int64_t n, float scale, const void *x, void *y), (c, n, scale, x, y))
WRAP("embedding", "embedding forward", false, compute_embed,
     (compute_t * c, const struct compute_embed *e, const float *table, float *h), (c, e, table, h))
WRAP("embedding", "embedding backward", true, compute_embed_backward,
     (compute_t * c, const struct compute_embed *e, const float *dh, float *d_table),
     (c, e, dh, d_table))
WRAP("loss", "cross entropy", s->d_logits != NULL, compute_cross_entropy,
     (compute_t * c, const struct compute_loss *s), (c, s))
WRAP_OP("optimizer", "adamw", compute_adamw, compute_adamw)

double __real_compute_sum_squares(compute_t *c, const float *x, size_t n);
double __wrap_compute_sum_squares(compute_t *c, const float *x, size_t n);
double __wrap_compute_sum_squares(compute_t *c, const float *x, size_t n)
{
    struct scope s = enter("sum of squares", "optimizer", false);
    double sum = __real_compute_sum_squares(c, x, n);
    leave(s, 0);
    return sum;
}

/* ------------------------------------------------------------------ linear layers */

compute_linear_t *__real_compute_linear_new(compute_t *c, const struct compute_linear_desc *d);
compute_linear_t *__wrap_compute_linear_new(compute_t *c, const struct compute_linear_desc *d);
compute_linear_t *__wrap_compute_linear_new(compute_t *c, const struct compute_linear_desc *d)
{
    compute_linear_t *l = __real_compute_linear_new(c, d);
    int64_t out = 0;
    for (int p = 0; p < d->parts; p++)
        out += d->out[p];
    CHECK_MSG(n_layers < MAX_LAYERS, "more than %d linear layers", MAX_LAYERS);
    struct layer *x = &layers[n_layers++];
    *x = (struct layer){
        .linear = l, .flops_per_row = 2.0 * (double)d->in * (double)out, .groups = d->groups};
    int n =
        snprintf(x->name, sizeof(x->name), "linear %lld>%lld", (long long)d->in, (long long)out);
    if (d->groups > 1) snprintf(x->name + n, sizeof(x->name) - (size_t)n, " x%d", d->groups);
    return l;
}

static const struct layer *layer_of(const compute_linear_t *l)
{
    for (size_t i = 0; i < n_layers; i++)
        if (layers[i].linear == l) return &layers[i];
    CHECK_MSG(false, "a linear layer that compute_linear_new did not make");
    return NULL;
}

static struct scope enter_linear(const struct layer *x, const char *what, bool backward)
{
    char name[64];
    snprintf(name, sizeof(name), "%s %s", x->name, what);
    return enter(name, "products", backward);
}

/* Rows come as ranges; groups are contiguous, so the last end minus the first begin is all. */
static double flops_of(const struct layer *x, const int32_t *offset)
{
    return x->flops_per_row * (double)(offset[x->groups] - offset[0]);
}

void __real_compute_linear_update(compute_linear_t *l);
void __wrap_compute_linear_update(compute_linear_t *l);
void __wrap_compute_linear_update(compute_linear_t *l)
{
    struct scope s = enter("compute copies of weights", "optimizer", false);
    __real_compute_linear_update(l);
    leave(s, 0);
}

#define WRAP_LINEAR(what, backward, name, params, args)             \
    void __real_##name params;                                      \
    void __wrap_##name params;                                      \
    void __wrap_##name params                                       \
    {                                                               \
        const struct layer *layer_ = layer_of(l);                   \
        struct scope scope_ = enter_linear(layer_, what, backward); \
        __real_##name args;                                         \
        leave(scope_, flops_of(layer_, offset));                    \
    }

WRAP_LINEAR("forward", false, compute_linear_forward,
            (compute_linear_t * l, const int32_t *offset, const void *X, void *Y,
             enum compute_dtype dtype),
            (l, offset, X, Y, dtype))
WRAP_LINEAR("grad input", true, compute_linear_backward_input,
            (compute_linear_t * l, const int32_t *offset, const void *dY, void *dX,
             enum compute_dtype dtype),
            (l, offset, dY, dX, dtype))
WRAP_LINEAR("grad weight", true, compute_linear_backward_weight,
            (compute_linear_t * l, const int32_t *offset, const void *dY, const void *X,
             bool accumulate),
            (l, offset, dY, X, accumulate))
