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

/* P^T and dS^T of keys `key` and key + 1 (vectors 2 key + half) and 32 queries, before rounding;
 * dS is the whole gradient of q.k: dx = p (dp - delta) (1 - t^2) multiplier temperature. */
INLINE void amx_gradient_keys(const struct amx_head *w, const struct amx_lanes *l,
                              const struct amx_tanh *cap, const float *s, const float *dp,
                              int64_t u, bool masked, bool capped, bool bounded,
                              struct amx_four *p_, struct amx_four *ds_)
{
    struct amx_four x, p, d;
    EACH(k) x.v[k] = v_load(s + k % 2 * 256 + k / 2 * 16);
    x = amx_cap(w, cap, x, capped);
    EACH(k) p.v[k] = v_fms(x.v[k], v_load(l->c2 + k % 2 * VL), v_load(l->shift + k % 2 * VL));
    p = amx_exp2(p, bounded);
    if (masked) {
        EACH(k) p.v[k] = v_keep(amx_visible(l, k % 2 * VL, u + k / 2), p.v[k]);
    }
    EACH(k) d.v[k] = v_load(dp + k % 2 * 256 + k / 2 * 16);
    EACH(k)
    {
        vf slope = v_load(l->slope + k % 2 * VL), offset = v_load(l->offset + k % 2 * VL);
        d.v[k] = v_fms(d.v[k], slope, offset);
    }
    EACH(k) d.v[k] *= p.v[k];
    if (capped) {
        EACH(k) x.v[k] *= x.v[k];
        EACH(k) d.v[k] = v_fnma(x.v[k], d.v[k], d.v[k]);
    }
    *p_ = p;
    *ds_ = d;
}

/* Scores and their gradients of one patch to tiles: P^T and dS^T as rows, two tiles SUBS tiles
 * apart each, and dS^T by pairs, two adjacent tiles. */
INLINE void amx_gradient(const struct amx_head *w, const struct amx_lanes *l, const float *s,
                         const float *dp, int64_t u, bool masked, bool capped, bool bounded,
                         bf16_t *p, bf16_t *ds, bf16_t *dsp)
{
    const struct amx_tanh cap = amx_tanh_of(w);
    for (int tile = 0; tile < 2; tile++) {
        for (int r = 0; r < 16; r += 2, u += 2, dsp += 32) {
            struct amx_four x, d;
            int from = tile * 512 + r * 16, to = tile * SUBS * TILE + r * 32;
            amx_gradient_keys(w, l, &cap, s + from, dp + from, u, masked, capped, bounded, &x, &d);
            __m512i even = amx_pair(d.v[0], d.v[1]), odd = amx_pair(d.v[2], d.v[3]);
            _mm512_storeu_si512(p + to, amx_pair(x.v[0], x.v[1]));
            _mm512_storeu_si512(p + to + 32, amx_pair(x.v[2], x.v[3]));
            _mm512_storeu_si512(ds + to, even);
            _mm512_storeu_si512(ds + to + 32, odd);
            _mm512_storeu_si512(dsp, _mm512_unpacklo_epi16(even, odd));
            _mm512_storeu_si512(dsp + TILE, _mm512_unpackhi_epi16(even, odd));
        }
    }
}

static void amx_gradient_patch(const struct amx_head *w, const struct amx_backward *f, int64_t u,
                               int64_t patch, int64_t sub)
{
    const struct amx_lanes *l = f->lanes + sub;
    int64_t at = patch * SUBS + sub, rows = (2 * patch * SUBS + sub) * TILE;
    const float *s = f->s + at * BLOCK, *dp = f->dp + at * BLOCK;
    bf16_t *p = f->p + rows, *ds = f->ds + rows, *dsp = f->dsp + at * 2 * TILE;
    bool masked = amx_needs_mask(l, u);
    if (w->bounded && !masked)
        amx_gradient(w, l, s, dp, u, false, true, true, p, ds, dsp);
    else if (w->bounded)
        amx_gradient(w, l, s, dp, u, true, true, true, p, ds, dsp);
    else if (w->capped)
        amx_gradient(w, l, s, dp, u, true, true, false, p, ds, dsp);
    else
        amx_gradient(w, l, s, dp, u, true, false, false, p, ds, dsp);
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
        amx_product(n, (struct amx_operand){p, p + SUBS * TILE, TILE},
                    (struct amx_operand){dout, dout + TILE, w->wide * TILE}, f->dv + sum, true);
        amx_product(n, (struct amx_operand){ds, ds + SUBS * TILE, TILE},
                    (struct amx_operand){q, q + TILE, w->wide * TILE}, f->dk + sum, true);
    }
}

/* dQ^T of 32 queries over the patches [from, to) of the block of keys from u0. */
static void amx_add_queries(const struct amx_head *w, int64_t u0, int64_t sub, struct amx_span keys,
                            const struct amx_backward *f)
{
    const bf16_t *ds = f->dsp + (keys.from * SUBS + sub) * 2 * TILE;
    for (int64_t g = 0; g < w->steps && keys.to > keys.from; g++) {
        const bf16_t *k = f->kt + (u0 + keys.from * PATCH) * w->hp + 2 * g * TILE;
        amx_product(keys.to - keys.from, (struct amx_operand){k, k + TILE, w->wide * TILE},
                    (struct amx_operand){ds, ds + TILE, SUBS * 2 * TILE},
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

/* Lanes of 32 queries: delta = dout . out. */
static void amx_gradient_lanes(const struct amx_head *w, int64_t t, int64_t count,
                               const bf16_t *out, const bf16_t *dout, const float *lse,
                               struct amx_lanes *l)
{
    int64_t ld = w->a->ld_out;
    amx_lanes_init(w, t, count, l);
    compute_x86_temperatures(t, count, w->a->temperature_len, w->a->multiplier, l->slope);
    for (int64_t i = 0; i < count; i++) {
        vf delta = v_zero();
        VECTOR_LOOP(d, n, w->a->h, {
            vf o = v_load_bf16_n(out + i * ld + d, n);
            delta = v_fma(o, v_load_bf16_n(dout + i * ld + d, n), delta);
        });
        l->offset[i] = v_sum(delta) * l->slope[i];
        l->shift[i] = lse[i] * LOG2_E;
    }
}

/* dQ^T of 32 queries to rows of dq. */
static void amx_queries_out(const struct amx_head *w, const float *dqt, int64_t count, bf16_t *dq)
{
    for (int n = 0; n < 2; n++) {
        int query[16];
        for (int i = 0; i < 16; i++)
            query[i] = amx_dq_query(n, i);
        for (int64_t d = 0; d < w->wide; d++)
            amx_turn_out(dqt + d / 2 * BLOCK + (d % 2 * 2 + n) * 256, v_set1(1.0f), query, count,
                         d * 16, w->a->h, dq, w->a->ld);
    }
}

/* Queries [t0, t0 + count), at most BWD_QUERIES, of one head: dq, and their share of dk and dv in
 * scratch. */
static void amx_backward_queries(const struct amx_head *w, int64_t t0, int64_t count,
                                 const bf16_t *out, const bf16_t *dout, const float *lse,
                                 bf16_t *dq, const struct amx_backward *f)
{
    const struct compute_attention *a = w->a;
    int64_t subs = (count + PATCH - 1) / PATCH, padded = subs * PATCH, key0 = t0;
    for (int64_t i = 0; i < subs; i++) {
        int64_t t = i * PATCH, at = t * a->ld_out;
        amx_gradient_lanes(w, t0 + t, MIN(count - t, (int64_t)PATCH), out + at, dout + at, lse + t,
                           f->lanes + i);
        key0 = MIN(key0, f->lanes[i].key0);
    }
    const bf16_t *x = w->q + t0 * a->ld;
    tiles_pack_columns(x, a->ld, count, padded, a->h, f->q);
    tiles_pack_halves(x, a->ld, count, padded, a->h, f->qp);
    tiles_pack_columns(dout, a->ld_out, count, padded, a->h, f->dout);
    tiles_pack_halves(dout, a->ld_out, count, padded, a->h, f->doutp);
    memset(f->dqt, 0, (size_t)(padded * w->hp) * sizeof(float));
    for (int64_t u = key0 / PATCH * PATCH; u < t0 + padded; u += BWD_KEYS)
        amx_backward_block(w, t0, subs, u, MIN(u + BWD_KEYS, t0 + padded), f);
    for (int64_t i = 0; i < subs; i++)
        amx_queries_out(w, f->dqt + i * w->steps * BLOCK, f->lanes[i].count,
                        dq + i * PATCH * a->ld);
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

void compute_x86_amx_attention_backward(const struct compute_attention *a, int64_t b, int64_t kv,
                                        const void *dout, void *dq, void *dk, void *dv,
                                        void *scratch)
{
    int64_t T = a->T, group = a->H / a->K, padded = (T + PATCH - 1) / PATCH * PATCH;
    struct amx_head w = amx_head_of(a, b, kv * group);
    struct amx_backward f = amx_backward_of(T, w.hp, scratch);
    tiles_pack_rows(w.k, w.ld_kv, T, padded, a->h, f.k);
    tiles_pack_rows(w.v, w.ld_kv, T, padded, a->h, f.v);
    tiles_pack_turned(w.k, w.ld_kv, T, padded, a->h, f.kt);
    memset(f.dk, 0, (size_t)(padded * w.hp) * sizeof(float));
    memset(f.dv, 0, (size_t)(padded * w.hp) * sizeof(float));
    tiles_begin();
    for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
        w = amx_head_of(a, b, head);
        for (int64_t t = 0; t < T; t += BWD_QUERIES) {
            int64_t row = b * T + t, at = row * a->ld_out + head * a->h;
            amx_backward_queries(&w, t, MIN(T - t, (int64_t)BWD_QUERIES),
                                 (const bf16_t *)a->out + at, (const bf16_t *)dout + at,
                                 a->lse + (b * a->H + head) * T + t,
                                 (bf16_t *)dq + row * a->ld + head * a->h, &f);
        }
    }
    tiles_end();
    int64_t at = b * T * a->ld + kv * a->h;
    amx_sums_out(&w, f.dk, (bf16_t *)dk + at);
    amx_sums_out(&w, f.dv, (bf16_t *)dv + at);
}
