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

WRAP("attention", "attention forward", false, compute_attention_forward,
     (compute_t * c, const struct compute_attention *a), (c, a))
WRAP("attention", "attention backward", true, compute_attention_backward,
     (compute_t * c, const struct compute_attention *a, const void *d, void *q, void *k, void *v),
     (c, a, d, q, k, v))
WRAP("norms", "rmsnorm forward", false, compute_rmsnorm,
     (compute_t * c, int64_t M, int64_t D, float eps, const float *x, const float *g, void *y,
      float *rstd),
     (c, M, D, eps, x, g, y, rstd))
WRAP("norms", "rmsnorm backward", true, compute_rmsnorm_backward,
     (compute_t * c, int64_t M, int64_t D, const float *x, const float *g, const float *rstd,
      const void *dy, float *dx, bool add, float *dg, bool accumulate),
     (c, M, D, x, g, rstd, dy, dx, add, dg, accumulate))
WRAP("norms", "seam forward", false, compute_seam_forward,
     (compute_t * c, const struct compute_seam *s), (c, s))
WRAP("norms", "seam backward", true, compute_seam_backward,
     (compute_t * c, const struct compute_seam *s, const void *da, float *dh, void *dy, float *dp,
      float *dn, bool accumulate),
     (c, s, da, dh, dy, dp, dn, accumulate))
WRAP("gated unit", "gated unit forward", false, compute_glu_forward,
     (compute_t * c, int64_t M, int64_t F, const void *gu, const float *w, void *act),
     (c, M, F, gu, w, act))
WRAP("gated unit", "gated unit backward", true, compute_glu_backward,
     (compute_t * c, int64_t M, int64_t F, const void *gu, const float *w, const void *d_act,
      void *act, void *dgu, float *dw),
     (c, M, F, gu, w, d_act, act, dgu, dw))
WRAP("routing", "router forward", false, compute_router_forward,
     (compute_t * c, const struct compute_router *r), (c, r))
WRAP("routing", "router backward", true, compute_router_backward,
     (compute_t * c, const struct compute_router *r, const float *dw, const float *f, float aux,
      float z, float *dx, float *dW, bool accumulate),
     (c, r, dw, f, aux, z, dx, dW, accumulate))
WRAP("routing", "dispatch", false, compute_dispatch,
     (int64_t M, int64_t E, int64_t k, const int32_t *top, int32_t *offset, int32_t *count,
      int32_t *slot_row, int32_t *row_token, int32_t *row_slot),
     (M, E, k, top, offset, count, slot_row, row_token, row_slot))
WRAP("routing", "gather", false, compute_gather,
     (compute_t * c, int64_t n, int64_t D, const int32_t *row_token, const void *x, void *y),
     (c, n, D, row_token, x, y))
WRAP("routing", "combine", false, compute_combine,
     (compute_t * c, int64_t M, int64_t D, int64_t k, const int32_t *slot_row, const void *y,
      const void *a, const float *b, float scale, void *out),
     (c, M, D, k, slot_row, y, a, b, scale, out))
WRAP("other", "scale", false, compute_scale,
     (compute_t * c, int64_t n, float scale, const void *x, void *y), (c, n, scale, x, y))
WRAP("embedding", "embedding forward", false, compute_embed,
     (compute_t * c, int64_t M, int64_t D, const uint32_t *ids, const float *table, float scale,
      float *h),
     (c, M, D, ids, table, scale, h))
WRAP("embedding", "embedding backward", true, compute_embed_backward,
     (compute_t * c, int64_t M, int64_t D, const uint32_t *ids, const float *dh, float scale,
      float *d_table),
     (c, M, D, ids, dh, scale, d_table))
WRAP("optimizer", "adamw", false, compute_adamw,
     (compute_t * c, const struct compute_adamw *o, size_t n, float *p, const float *g, float *m,
      float *v),
     (c, o, n, p, g, m, v))

void __real_compute_rope(compute_t *c, int64_t M, int64_t T, int64_t pos, int64_t n_heads,
                         int64_t h, const float *table, bool backward, void *x, int64_t ld);
void __wrap_compute_rope(compute_t *c, int64_t M, int64_t T, int64_t pos, int64_t n_heads,
                         int64_t h, const float *table, bool backward, void *x, int64_t ld);
void __wrap_compute_rope(compute_t *c, int64_t M, int64_t T, int64_t pos, int64_t n_heads,
                         int64_t h, const float *table, bool backward, void *x, int64_t ld)
{
    struct scope s = enter(backward ? "rope backward" : "rope forward", "attention", backward);
    __real_compute_rope(c, M, T, pos, n_heads, h, table, backward, x, ld);
    leave(s, 0);
}

void __real_compute_cross_entropy(compute_t *c, int64_t M, int64_t V, const float *z,
                                  const uint32_t *targets, float multiplier, float cap,
                                  float d_scale, float *nll, void *d_logits);
void __wrap_compute_cross_entropy(compute_t *c, int64_t M, int64_t V, const float *z,
                                  const uint32_t *targets, float multiplier, float cap,
                                  float d_scale, float *nll, void *d_logits);
void __wrap_compute_cross_entropy(compute_t *c, int64_t M, int64_t V, const float *z,
                                  const uint32_t *targets, float multiplier, float cap,
                                  float d_scale, float *nll, void *d_logits)
{
    struct scope s = enter("cross entropy", "loss", d_logits != NULL);
    __real_compute_cross_entropy(c, M, V, z, targets, multiplier, cap, d_scale, nll, d_logits);
    leave(s, 0);
}

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

void __real_compute_linear_forward(compute_linear_t *l, const int32_t *offset, const void *X,
                                   int64_t ldx, void *Y, int64_t ldy, enum compute_dtype dtype);
void __wrap_compute_linear_forward(compute_linear_t *l, const int32_t *offset, const void *X,
                                   int64_t ldx, void *Y, int64_t ldy, enum compute_dtype dtype);
void __wrap_compute_linear_forward(compute_linear_t *l, const int32_t *offset, const void *X,
                                   int64_t ldx, void *Y, int64_t ldy, enum compute_dtype dtype)
{
    const struct layer *x = layer_of(l);
    struct scope s = enter_linear(x, "forward", false);
    __real_compute_linear_forward(l, offset, X, ldx, Y, ldy, dtype);
    leave(s, flops_of(x, offset));
}

void __real_compute_linear_backward_input(compute_linear_t *l, const int32_t *offset,
                                          const void *dY, int64_t ldy, void *dX, int64_t ldx,
                                          enum compute_dtype dtype);
void __wrap_compute_linear_backward_input(compute_linear_t *l, const int32_t *offset,
                                          const void *dY, int64_t ldy, void *dX, int64_t ldx,
                                          enum compute_dtype dtype);
void __wrap_compute_linear_backward_input(compute_linear_t *l, const int32_t *offset,
                                          const void *dY, int64_t ldy, void *dX, int64_t ldx,
                                          enum compute_dtype dtype)
{
    const struct layer *x = layer_of(l);
    struct scope s = enter_linear(x, "grad input", true);
    __real_compute_linear_backward_input(l, offset, dY, ldy, dX, ldx, dtype);
    leave(s, flops_of(x, offset));
}

void __real_compute_linear_backward_weight(compute_linear_t *l, const int32_t *offset,
                                           const void *dY, int64_t ldy, const void *X, int64_t ldx,
                                           bool accumulate);
void __wrap_compute_linear_backward_weight(compute_linear_t *l, const int32_t *offset,
                                           const void *dY, int64_t ldy, const void *X, int64_t ldx,
                                           bool accumulate);
void __wrap_compute_linear_backward_weight(compute_linear_t *l, const int32_t *offset,
                                           const void *dY, int64_t ldy, const void *X, int64_t ldx,
                                           bool accumulate)
{
    const struct layer *x = layer_of(l);
    struct scope s = enter_linear(x, "grad weight", true);
    __real_compute_linear_backward_weight(l, offset, dY, ldy, X, ldx, accumulate);
    leave(s, flops_of(x, offset));
}
