/* compute_x86_attention_gradient_amx.c: attention for bfloat16 activations by AMX tiles, backward.
 *
 * By patches of 32 keys and 32 queries, scores recomputed from the log-sum-exp of the forward pass:
 *
 *   S^T = K Q^T, dP^T = V dO^T      K, V as rows; Q, dO by columns
 *   dV += P^T dO, dK += dS^T Q      P^T, dS^T as rows; dO, Q by pairs of queries (i, i + 16)
 *   dQ^T += K^T dS^T                K turned; dS^T by pairs of keys
 *
 * in blocks of BWD_QUERIES queries and BWD_KEYS keys, queries outside: first all scores of a block
 * by tiles, then all gradients of scores by vectors, then the three sums by tiles. All sums lie in
 * memory as whole tiles, one behind the other. P and dS are rounded to bf16 for the second
 * products; sums stay fp32, in an order fixed by the shape. */
#include <math.h>

#include "compute/x86/compute_x86_attention_amx_internal.h"

enum { BWD_QUERIES = 128, BWD_KEYS = 128, SUBS = BWD_QUERIES / PATCH, PATCHES = BWD_KEYS / PATCH };

struct amx_backward {
    bf16_t *k, *v, *kt;      /* rows, rows, turned: all keys */
    float *dk, *dv;          /* blocks [T/32, steps] */
    bf16_t *q, *dout;        /* columns [BWD_QUERIES/16, steps] */
    bf16_t *qp, *doutp;      /* pairs [SUBS, wide] */
    float *dqt;              /* dQ^T, blocks [SUBS, steps], columns as amx_dq_query says */
    bf16_t *p, *ds;          /* rows [2 PATCHES, SUBS] */
    bf16_t *dsp;             /* pairs [PATCHES, SUBS, 2] */
    float *s, *dp;           /* blocks [PATCHES, SUBS] */
    struct amx_lanes *lanes; /* [SUBS] */
    char *end;
};

static struct amx_backward amx_backward_of(int64_t T, int64_t hp, char *scratch)
{
    enum { AREA = BWD_KEYS * BWD_QUERIES };
    int64_t keys = (T + 31) / 32 * 32, queries = BWD_QUERIES * hp;
    struct amx_backward f;
    f.k = (bf16_t *)(void *)scratch;
    f.v = f.k + keys * hp;
    f.kt = f.v + keys * hp;
    f.dk = (float *)(void *)(f.kt + keys * hp);
    f.dv = f.dk + keys * hp;
    f.q = (bf16_t *)(void *)(f.dv + keys * hp);
    f.dout = f.q + queries;
    f.qp = f.dout + queries;
    f.doutp = f.qp + queries;
    f.dqt = (float *)(void *)(f.doutp + queries);
    f.p = (bf16_t *)(void *)(f.dqt + queries);
    f.ds = f.p + AREA;
    f.dsp = f.ds + AREA;
    f.s = (float *)(void *)(f.dsp + AREA);
    f.dp = f.s + AREA;
    f.lanes = (struct amx_lanes *)(void *)(f.dp + AREA);
    f.end = (char *)(f.lanes + SUBS);
    return f;
}

size_t compute_x86_amx_attention_scratch(int64_t T, int64_t h)
{
    char base[1];
    size_t few = compute_x86_bf16_avx512.attention_scratch(T, h);
    size_t forward = compute_x86_amx_forward_scratch(T, h);
    size_t backward = (size_t)(amx_backward_of(T, (h + 31) / 32 * 32, base).end - base);
    return MAX(few, MAX(forward, backward));
}

/* ------------------------------------------------------------------ one patch */

/* The unpack below works within 128-bit lanes on rows of pairs (q, q + 16): column i of tile n of
 * dS^T by pairs, and so of dQ^T, holds this query of the 32. */
INLINE int amx_dq_query(int n, int i)
{
    return i / 4 * 4 + 2 * n + i % 4 / 2 + i % 2 * 16;
}

/* Vectors 2 key + half of P^T and dS^T of two keys and 32 queries, before rounding. */
struct amx_pair_gradient {
    struct amx_four p, ds;
};

/* Of keys u and u + 1; dS is the whole gradient of q.k:
 * dx = p (dp - delta) (1 - t^2) multiplier temperature. */
INLINE struct amx_pair_gradient amx_gradient_keys(const struct amx_lanes *l,
                                                  const struct amx_tanh *cap, const float *s,
                                                  const float *dp, int64_t u, struct amx_case of)
{
    struct amx_four x, p, d;
    EACH(k) x.v[k] = v_load(s + k % 2 * 256 + k / 2 * 16);
    x = amx_cap(cap, x, of.capped);
    EACH(k) p.v[k] = v_fms(x.v[k], v_load(l->c2 + k % 2 * VL), v_load(l->shift + k % 2 * VL));
    p = amx_exp2(p, of.bounded);
    if (of.masked) {
        EACH(k) p.v[k] = v_keep(amx_visible(l, k % 2 * VL, u + k / 2), p.v[k]);
    }
    EACH(k) d.v[k] = v_load(dp + k % 2 * 256 + k / 2 * 16);
    EACH(k)
    {
        vf slope = v_load(l->slope + k % 2 * VL), offset = v_load(l->offset + k % 2 * VL);
        d.v[k] = v_fms(d.v[k], slope, offset);
    }
    EACH(k) d.v[k] *= p.v[k];
    if (of.capped) {
        EACH(k) x.v[k] *= x.v[k];
        EACH(k) d.v[k] = v_fnma(x.v[k], d.v[k], d.v[k]);
    }
    return (struct amx_pair_gradient){p, d};
}

/* Where a patch lies in amx_backward: scores and their gradients as blocks; P^T and dS^T as rows,
 * two tiles SUBS tiles apart each; dS^T by pairs, two adjacent tiles. */
struct amx_patch {
    const float *s, *dp;
    bf16_t *p, *ds, *dsp;
};

/* Scores and their gradients of one patch, of keys from u on, to tiles. */
INLINE void amx_gradient(const struct amx_head *w, const struct amx_lanes *l, struct amx_patch at,
                         int64_t u, struct amx_case of)
{
    const struct amx_tanh cap = amx_tanh_of(w);
    for (int tile = 0; tile < 2; tile++) {
        for (int r = 0; r < 16; r += 2, u += 2, at.dsp += 32) {
            int from = tile * 512 + r * 16, to = tile * SUBS * TILE + r * 32;
            struct amx_pair_gradient g =
                amx_gradient_keys(l, &cap, at.s + from, at.dp + from, u, of);
            __m512i even = amx_pair(g.ds.v[0], g.ds.v[1]), odd = amx_pair(g.ds.v[2], g.ds.v[3]);
            _mm512_storeu_si512(at.p + to, amx_pair(g.p.v[0], g.p.v[1]));
            _mm512_storeu_si512(at.p + to + 32, amx_pair(g.p.v[2], g.p.v[3]));
            _mm512_storeu_si512(at.ds + to, even);
            _mm512_storeu_si512(at.ds + to + 32, odd);
            _mm512_storeu_si512(at.dsp, _mm512_unpacklo_epi16(even, odd));
            _mm512_storeu_si512(at.dsp + TILE, _mm512_unpackhi_epi16(even, odd));
        }
    }
}

static void amx_gradient_patch(const struct amx_head *w, const struct amx_backward *f, int64_t u,
                               int64_t patch, int64_t sub)
{
    const struct amx_lanes *l = f->lanes + sub;
    int64_t block = patch * SUBS + sub, rows = (2 * patch * SUBS + sub) * TILE;
    const struct amx_patch at = {f->s + block * BLOCK, f->dp + block * BLOCK, f->p + rows,
                                 f->ds + rows, f->dsp + block * 2 * TILE};
    bool masked = amx_needs_mask(l, u);
    if (w->bounded && !masked)
        amx_gradient(w, l, at, u, (struct amx_case){false, true, true});
    else if (w->bounded)
        amx_gradient(w, l, at, u, (struct amx_case){true, true, true});
    else if (w->capped)
        amx_gradient(w, l, at, u, (struct amx_case){true, true, false});
    else
        amx_gradient(w, l, at, u, (struct amx_case){true, false, false});
}

/* ------------------------------------------------------------------ blocks */

/* A block of keys [u0, u1) and `subs` times 32 queries from t0: queries [from, to) see patch p of
 * the keys. First keys of documents do not fall as queries go on, so they are adjacent. */
struct amx_span {
    int64_t from, to;
};

static struct amx_span amx_queries_seeing(const struct amx_backward *f, int64_t subs, int64_t t0,
                                          int64_t u)
{
    struct amx_span s = {MAX((u - t0) / PATCH, 0), subs};
    while (s.to > s.from && f->lanes[s.to - 1].key0 >= u + PATCH)
        s.to--;
    return s;
}

/* dV and dK of one patch of keys, over the queries that see it. */
static void amx_add_keys(const struct amx_head *w, int64_t u, int64_t patch, struct amx_span seen,
                         const struct amx_backward *f)
{
    int64_t n = seen.to - seen.from, row = (2 * patch * SUBS + seen.from) * TILE;
    const bf16_t *p = f->p + row, *ds = f->ds + row;
    for (int64_t g = 0; g < w->steps && n > 0; g++) {
        int64_t query = (seen.from * w->wide + 2 * g) * TILE;
        int64_t sum = (u / PATCH * w->steps + g) * BLOCK;
        const bf16_t *dout = f->doutp + query, *q = f->qp + query;
        amx_product(n, (struct tile_operand){p, p + SUBS * TILE, TILE},
                    (struct tile_operand){dout, dout + TILE, w->wide * TILE}, f->dv + sum, true);
        amx_product(n, (struct tile_operand){ds, ds + SUBS * TILE, TILE},
                    (struct tile_operand){q, q + TILE, w->wide * TILE}, f->dk + sum, true);
    }
}

/* dQ^T of 32 queries over the patches [from, to) of the block of keys from u0. */
static void amx_add_queries(const struct amx_head *w, int64_t u0, int64_t sub, struct amx_span keys,
                            const struct amx_backward *f)
{
    const bf16_t *ds = f->dsp + (keys.from * SUBS + sub) * 2 * TILE;
    for (int64_t g = 0; g < w->steps && keys.to > keys.from; g++) {
        const bf16_t *k = f->kt + (u0 + keys.from * PATCH) * w->hp + 2 * g * TILE;
        amx_product(keys.to - keys.from, (struct tile_operand){k, k + TILE, w->wide * TILE},
                    (struct tile_operand){ds, ds + TILE, SUBS * 2 * TILE},
                    f->dqt + (sub * w->steps + g) * BLOCK, true);
    }
}

/* Keys [u0, u1), at most BWD_KEYS and whole patches, for `subs` times 32 queries from t0. */
static void amx_backward_block(const struct amx_head *w, int64_t t0, int64_t subs, int64_t u0,
                               int64_t u1, const struct amx_backward *f)
{
    struct amx_span seen[PATCHES], keys[SUBS];
    int64_t patches = (u1 - u0) / PATCH;
    for (int64_t i = 0; i < SUBS; i++)
        keys[i] = (struct amx_span){patches, 0};
    for (int64_t p = 0; p < patches; p++) {
        int64_t key = (u0 + p * PATCH) * w->hp;
        seen[p] = amx_queries_seeing(f, subs, t0, u0 + p * PATCH);
        for (int64_t i = seen[p].from; i < seen[p].to; i++) {
            int64_t query = i * PATCH * w->hp, at = (p * SUBS + i) * BLOCK;
            amx_scores(w->steps, f->k + key, f->q + query, f->s + at);
            amx_scores(w->steps, f->v + key, f->dout + query, f->dp + at);
            keys[i] = (struct amx_span){MIN(keys[i].from, p), p + 1};
        }
    }
    for (int64_t p = 0; p < patches; p++)
        for (int64_t i = seen[p].from; i < seen[p].to; i++)
            amx_gradient_patch(w, f, u0 + p * PATCH, p, i);
    for (int64_t p = 0; p < patches; p++)
        amx_add_keys(w, u0 + p * PATCH, p, seen[p], f);
    for (int64_t i = 0; i < subs; i++)
        amx_add_queries(w, u0, i, keys[i], f);
}

/* What a head's backward pass reads and its dq: all from row 0 of the sequence. */
struct amx_grad {
    const bf16_t *out, *dout;
    const float *lse;
    bf16_t *dq;
};

/* Lanes of 32 queries: delta = dout . out. */
static void amx_gradient_lanes(const struct amx_head *w, const struct amx_grad *g, int64_t t,
                               int64_t count, struct amx_lanes *l)
{
    int64_t ld = w->a->ld_out;
    const bf16_t *out = g->out + t * ld, *dout = g->dout + t * ld;
    amx_lanes_init(w, t, count, l);
    compute_x86_temperatures(t, count, w->a->temperature_len, w->a->multiplier, l->slope);
    for (int64_t i = 0; i < count; i++) {
        vf delta = v_zero();
        VECTOR_LOOP(d, n, w->a->h, {
            vf o = v_load_bf16_n(out + i * ld + d, n);
            delta = v_fma(o, v_load_bf16_n(dout + i * ld + d, n), delta);
        });
        l->offset[i] = v_sum(delta) * l->slope[i];
        l->shift[i] = g->lse[t + i] * LOG2_E;
    }
}

/* dQ^T of 32 queries to rows of dq. */
static void amx_queries_out(const struct amx_head *w, const float *dqt, int64_t count, bf16_t *dq)
{
    const struct amx_out to = {dq, w->a->ld, count, w->a->h};
    for (int n = 0; n < 2; n++) {
        int query[16];
        for (int i = 0; i < 16; i++)
            query[i] = amx_dq_query(n, i);
        for (int64_t d = 0; d < w->wide; d++)
            amx_turn_out(dqt + d / 2 * BLOCK + (d % 2 * 2 + n) * 256, v_set1(1.0f), query, d * 16,
                         to);
    }
}

/* BWD_QUERIES queries from t0 on, or what is left of them, of one head: dq, and their share of dk
 * and dv in scratch. */
static void amx_backward_queries(const struct amx_head *w, const struct amx_grad *g, int64_t t0,
                                 const struct amx_backward *f)
{
    const struct compute_attention *a = w->a;
    int64_t count = MIN(a->T - t0, (int64_t)BWD_QUERIES), key0 = t0;
    int64_t subs = (count + PATCH - 1) / PATCH, padded = subs * PATCH;
    for (int64_t i = 0; i < subs; i++) {
        int64_t t = i * PATCH;
        amx_gradient_lanes(w, g, t0 + t, MIN(count - t, (int64_t)PATCH), f->lanes + i);
        key0 = MIN(key0, f->lanes[i].key0);
    }
    struct tile_source q = {w->q + t0 * a->ld, a->ld, count, padded, a->h};
    struct tile_source dout = {g->dout + t0 * a->ld_out, a->ld_out, count, padded, a->h};
    tiles_pack_columns(q, f->q);
    tiles_pack_halves(q, f->qp);
    tiles_pack_columns(dout, f->dout);
    tiles_pack_halves(dout, f->doutp);
    memset(f->dqt, 0, (size_t)(padded * w->hp) * sizeof(float));
    for (int64_t u = key0 / PATCH * PATCH; u < t0 + padded; u += BWD_KEYS)
        amx_backward_block(w, t0, subs, u, MIN(u + BWD_KEYS, t0 + padded), f);
    for (int64_t i = 0; i < subs; i++)
        amx_queries_out(w, f->dqt + i * w->steps * BLOCK, f->lanes[i].count,
                        g->dq + (t0 + i * PATCH) * a->ld);
}

/* Rows [0, T) of dK or dV from blocks. */
static void amx_sums_out(const struct amx_head *w, const float *sum, bf16_t *x)
{
    for (int64_t t = 0; t < w->a->T; t++)
        for (int64_t d = 0; d < w->a->h; d += 16) {
            const float *block = sum + (t / PATCH * w->steps + d / 32) * BLOCK;
            const float *tile = block + (t % PATCH / 16 * 2 + d % 32 / 16) * 256;
            v_store_bf16_n(x + t * w->a->ld + d, v_load(tile + t % 16 * 16), w->a->h - d);
        }
}

void compute_x86_amx_attention_backward(const struct compute_attention *a,
                                        const struct compute_attention_grad *d, int64_t b,
                                        int64_t kv, void *scratch)
{
    int64_t T = a->T, group = a->H / a->K, padded = (T + PATCH - 1) / PATCH * PATCH;
    struct amx_head w = amx_head_of(a, b, kv * group);
    struct amx_backward f = amx_backward_of(T, w.hp, scratch);
    struct tile_source k = {w.k, w.ld_kv, T, padded, a->h}, v = {w.v, w.ld_kv, T, padded, a->h};
    tiles_pack_rows(k, f.k);
    tiles_pack_rows(v, f.v);
    tiles_pack_turned(k, f.kt);
    memset(f.dk, 0, (size_t)(padded * w.hp) * sizeof(float));
    memset(f.dv, 0, (size_t)(padded * w.hp) * sizeof(float));
    tiles_begin();
    for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
        int64_t at = b * T * a->ld_out + head * a->h;
        const struct amx_grad g = {(const bf16_t *)a->out + at, (const bf16_t *)d->dout + at,
                                   a->lse + (b * a->H + head) * T,
                                   (bf16_t *)d->dq + b * T * a->ld + head * a->h};
        w = amx_head_of(a, b, head);
        for (int64_t t = 0; t < T; t += BWD_QUERIES)
            amx_backward_queries(&w, &g, t, &f);
    }
    tiles_end();
    int64_t at = b * T * a->ld + kv * a->h;
    amx_sums_out(&w, f.dk, (bf16_t *)d->dk + at);
    amx_sums_out(&w, f.dv, (bf16_t *)d->dv + at);
}
