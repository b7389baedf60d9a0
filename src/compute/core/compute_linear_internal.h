/* compute_linear_internal.h: a linear layer as its implementations on a CPU see it.
 *
 * compute_cpu_linear.c checks arguments and cuts the rows of all groups into tiles; an implementation
 * (plain: the backend's own matmul; dnnl: oneDNN; panels: for inference; AMX: for both) keeps its
 * compute copy of the weights and does the products; codes: for weights in blocks. The list of tiles
 * depends on the row ranges alone. */
#ifndef COLOSSUS_COMPUTE_LINEAR_INTERNAL_H
#define COLOSSUS_COMPUTE_LINEAR_INTERNAL_H

#include "compute/core/compute_internal.h"

/* Rows [row, row + rows) belong to one group. */
struct linear_tile {
    int32_t group, row, rows;
};

/* One call's arguments. X, dX [rows, in] and Y, dY [rows, out], dense. */
struct linear_call {
    const int32_t *offset;
    const void *x;  /* forward: X; backward_input: dY; backward_weight: X */
    const void *dy; /* backward_weight only */
    void *y;        /* forward: Y; backward_input: dX */
    enum compute_dtype y_dtype;
    bool accumulate;
    const struct linear_tile *tiles;
    int64_t n_tiles;
};

struct linear_ops {
    int64_t (*tile_rows)(int64_t K); /* rows per tile, at most, of a product that sums over K */
    size_t (*bytes)(const compute_t *c, const struct compute_linear_desc *d);
    void *(*open)(compute_linear_t *l); /* makes the implementation's state */
    void (*close)(void *state);
    void (*update)(compute_linear_t *l); /* NULL: for inference only */
    /* For inference (NULL: never): rows of W take their place; rows of W as a table, tokens [first,
     * first + rows) of *e. */
    void (*put)(compute_linear_t *l, const struct compute_linear_rows *r);
    void (*put_codes)(compute_linear_t *l, const struct compute_linear_codes *r);
    void (*embed)(const compute_linear_t *l, const struct compute_embed *e, int64_t first,
                  int64_t rows, float *h);
    /* Y = X . W^T, or where not `forward` dX = dY . W. */
    void (*rows)(compute_linear_t *l, const struct linear_call *k, bool forward);
    void (*backward_weight)(compute_linear_t *l, const struct linear_call *k);
};

struct compute_linear {
    compute_t *c; /* of any device first */
    struct compute_linear_desc d;
    int64_t out;                              /* all parts together */
    int64_t out_start[COMPUTE_MAX_PARTS + 1]; /* column of Y where a part begins */
    const struct linear_ops *ops;
    void *state;
    struct linear_tile *tiles; /* room for the most a call can need */
    int64_t max_tiles;
    int32_t whole[2]; /* {0, n}: the range of a call without offsets */
};

static inline bool compute_linear_trains(const struct compute_linear_desc *d)
{
    return d->master[0] != NULL;
}

/* Columns of Y: all parts together. */
static inline int64_t compute_linear_out(const struct compute_linear_desc *d)
{
    int64_t out = 0;
    for (int p = 0; p < d->parts; p++)
        out += d->out[p];
    return out;
}

#endif
