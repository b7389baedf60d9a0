/* compute_x86_attention_internal.h: attention by blocks in fp32 vectors (Dao et al. 2022; backward
 * as in FlashAttention-2, Dao 2023), for AVX2 and AVX-512 and both formats of activations.
 *
 * A block is ATT_KEYS keys by ATT_QUERIES queries, and scores are kept transposed, S^T[key, query]:
 * queries lie along the lanes, so the softmax's maximum and sum are plain vector operations with no
 * sum across lanes, and the temperature, the log-sum-exp and delta of a query are lanes too. With
 * Q^T [h, queries] packed once per block of queries every product reads keys and values as they
 * stand in memory (bf16: widened into a block of floats first):
 *   S^T = K Q^T   O^T += V^T P^T                                              forward
 *   dP^T = V dO^T   dV += P^T dO   dK += dS^T Q   dQ^T += K^T dS^T            backward
 *
 * Work runs in powers of two: p = 2^z with z = t * c2, t = tanh(q.k * multiplier / cap) and c2 =
 * cap * temperature / ln 2. Where |z| is bounded by ATT_BOUND, as Grok's cap of 30 ensures, 2^z and
 * its sum over any number of keys fit a float, and no running maximum is kept at all.
 *
 * Few queries (decoding) go row by row instead: lanes along the head, keys read once.
 *
 * docs/decisions/attention.md has the counts, the measurements and what lost.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c only (see compute_x86_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_X86_ATTENTION_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_ATTENTION_INTERNAL_H

#include <math.h>

#include "compute/x86/compute_x86_act_internal.h"
#include "compute/x86/compute_x86_gemm_internal.h"
#include "compute/x86/compute_x86_scores_internal.h"

enum { ATT_QUERIES = 64, ATT_KEYS = 64, ATT_FEW = VL / 2 };

/* One query head of one sequence. */
struct att_head {
    const struct compute_attention *a;
    const act_t *q, *k, *v; /* row 0 of the sequence */
    int64_t ld_kv, hp;      /* hp: h rounded up to whole vectors */
    const int32_t *first;   /* [T] first key of each query, or NULL */
    bool capped, bounded;
    float to_tanh; /* q.k times this is t (capped: the argument of tanh) */
    float to_log2; /* t times this times the temperature is z */
};

/* Per query of a block, along lanes. */
struct att_lanes {
    int64_t t0, count;  /* queries t0 .. t0 + count - 1; lanes behind them are harmless zeros */
    int64_t key0, key1; /* keys that any of them sees */
    int64_t first_max;  /* keys from here on are hidden from none by document */
    float c2[ATT_QUERIES];
    float sum[ATT_QUERIES], largest[ATT_QUERIES]; /* forward: softmax sum, running maximum */
    /* Backward: log-sum-exp in powers of two; slope = multiplier * temperature, the scale of a
     * score; offset = delta * slope with delta = dout . out. */
    float lse2[ATT_QUERIES], slope[ATT_QUERIES], offset[ATT_QUERIES];
    int32_t first[ATT_QUERIES];
};

/* Keys first .. first + count - 1, at most ATT_KEYS. */
struct att_keys {
    int64_t first, count;
};

/* The blocks of one call, laid out in the caller's scratch. [rows, columns] as used. */
struct att_scratch {
    float *qt, *ot;     /* Q^T, O^T or dQ^T [h, ATT_QUERIES] */
    float *s;           /* S^T, then P^T [ATT_KEYS, ATT_QUERIES] */
    float *k, *v;       /* widened keys and values [ATT_KEYS, hp]; bf16 only */
    float *dot, *ds;    /* backward: dO^T [h, ATT_QUERIES], dP^T then dS^T */
    float *q, *dout;    /* backward: [ATT_QUERIES, hp] */
    float *dk, *dv;     /* backward: [T, hp] */
    float *row, *row_q; /* few queries: scores [T], query [hp] (same memory as dk) */
    float *end;
};

static struct att_head att_head_of(const struct compute_attention *a, int64_t b, int64_t head)
{
    int64_t ld_kv = a->ld, kv = head / (a->H / a->K);
    bool capped = a->cap > 0;
    float top = 1.0f;
    if (a->temperature_len > 0)
        compute_x86_temperatures(a->T - 1, 1, a->temperature_len, 1.0f, &top);
    return (struct att_head){
        .a = a,
        .q = (const act_t *)a->q + b * a->T * a->ld + head * a->h,
        .k = (const act_t *)a->k + b * a->T * ld_kv + kv * a->h,
        .v = (const act_t *)a->v + b * a->T * ld_kv + kv * a->h,
        .ld_kv = ld_kv,
        .hp = (a->h + VL - 1) / VL * VL,
        .first = a->doc_start ? a->doc_start + b * a->T : NULL,
        .capped = capped,
        .bounded = capped && a->cap * top * LOG2_E <= ATT_BOUND,
        .to_tanh = capped ? a->multiplier / a->cap : a->multiplier,
        .to_log2 = capped ? a->cap * LOG2_E : LOG2_E,
    };
}

static struct att_scratch att_scratch_of(int64_t T, int64_t h, float *base)
{
    int64_t hp = (h + VL - 1) / VL * VL, hr = (h + 15) / 16 * 16;
    int64_t across = hr * ATT_QUERIES, rows = ATT_QUERIES * hp, keys = ATT_KEYS * hp;
    int64_t block = ATT_KEYS * ATT_QUERIES;
    struct att_scratch s;
    s.qt = base;
    s.ot = s.qt + across;
    s.s = s.ot + across;
    s.k = s.s + block;
    s.v = s.k + keys;
    s.dot = s.v + keys;
    s.ds = s.dot + across;
    s.q = s.ds + block;
    s.dout = s.q + rows;
    s.dk = s.dout + rows;
    s.dv = s.dk + (T + 16) * hp;
    s.end = s.dv + (T + 16) * hp;
    s.row_q = s.dk;
    s.row = s.dk + hp;
    return s;
}

static size_t x86_attention_scratch(int64_t T, int64_t h)
{
    float base[1];
    return (size_t)(att_scratch_of(T, h, base).end - base) * sizeof(float);
}

/* ------------------------------------------------------------------ packing */

/* to[d, lane] = x[lane, d] * scale of `count` rows; the other lanes are zero. */
static void att_transpose_in(const act_t *x, int64_t ld, int64_t count, int64_t h, float *to)
{
    for (int64_t lane = 0; lane < ATT_QUERIES; lane += VL)
        for (int64_t d = 0; d < h; d += VL) {
            vf r[VL];
            for (int i = 0; i < VL; i++)
                r[i] = lane + i < count ? act_load_n(x + (lane + i) * ld + d, h - d) : v_zero();
            v_transpose(r);
            for (int64_t i = 0; i < MIN(VL, h - d); i++)
                v_store(to + (d + i) * ATT_QUERIES + lane, r[i]);
        }
}

/* x[lane, d] = from[d, lane] * factor[lane] (factor NULL: 1). */
static void att_transpose_out(const float *from, const float *factor, int64_t count, int64_t h,
                              act_t *x, int64_t ld)
{
    for (int64_t lane = 0; lane < count; lane += VL)
        for (int64_t d = 0; d < h; d += VL) {
            vf r[VL], f = factor ? v_load(factor + lane) : v_set1(1.0f);
            for (int i = 0; i < VL; i++) {
                r[i] = v_zero();
                if (d + i < h) r[i] = f * v_load(from + (d + i) * ATT_QUERIES + lane);
            }
            v_transpose(r);
            for (int64_t i = 0; i < MIN(VL, count - lane); i++)
                act_store_n(x + (lane + i) * ld + d, r[i], h - d);
        }
}

/* Keys or values as floats: where they are, or widened into buffer. */
static const float *att_rows(const struct att_head *w, const act_t *x, struct att_keys u,
                             float *buffer, int64_t *ld)
{
#if ACT_IS_BF16
    att_widen(x + u.first * w->ld_kv, w->ld_kv, u.count, w->a->h, w->hp, buffer);
    *ld = w->hp;
    return buffer;
#else
    (void)buffer;
    *ld = w->ld_kv;
    return x + u.first * w->ld_kv;
#endif
}

static void att_lanes_init(const struct att_head *w, int64_t t0, int64_t count, struct att_lanes *l)
{
    *l = (struct att_lanes){.t0 = t0, .count = count, .key0 = 0, .key1 = t0 + count};
    compute_x86_temperatures(t0, ATT_QUERIES, w->a->temperature_len, w->to_log2, l->c2);
    if (!w->first) return;
    l->key0 = l->key1;
    for (int64_t i = 0; i < count; i++) {
        l->first[i] = w->first[t0 + i];
        l->key0 = MIN(l->key0, l->first[i]);
        l->first_max = MAX(l->first_max, l->first[i]);
    }
}

/* ------------------------------------------------------------------ scores */

/* t of the header from q.k */
INLINE vf att_cap(const struct att_head *w, vf qk, bool capped)
{
    vf y = qk * v_set1(w->to_tanh);
    return capped ? v_tanh(y) : y;
}

/* Lanes of the vector at `lane` that see key u. */
INLINE vm att_visible(const struct att_lanes *l, int64_t lane, int64_t u)
{
    vi key = vi_set1((int32_t)u), t = vi_iota((int32_t)(l->t0 + lane));
    vi first = vi_load_n(l->first + lane, VL);
    return v_mask_and(v_less_equal(key, t), v_less_equal(first, key));
}

/* Whether any lane of the vector misses one of the keys. */
INLINE bool att_needs_mask(const struct att_lanes *l, int64_t lane, struct att_keys u)
{
    return u.first + u.count - 1 > l->t0 + lane || u.first < l->first_max;
}

/* ------------------------------------------------------------------ forward */

/* S^T -> P^T for one vector of queries; adds to sum. No maximum needed. */
INLINE void att_softmax_bounded(const struct att_head *w, struct att_lanes *l, int64_t lane,
                                struct att_keys u, bool masked, float *s)
{
    vf c2 = v_load(l->c2 + lane), total = v_load(l->sum + lane);
    for (int64_t r = 0; r < u.count; r++) {
        float *at = s + r * ATT_QUERIES + lane;
        vf p = v_exp2(att_cap(w, v_load(at), true) * c2);
        if (masked) p = v_keep(att_visible(l, lane, u.first + r), p);
        v_store(at, p);
        total += p;
    }
    v_store(l->sum + lane, total);
}

/* The same with a running maximum (in powers of two); earlier sums and O^T are rescaled. */
static void att_softmax_online(const struct att_head *w, struct att_lanes *l, int64_t lane,
                               struct att_keys u, const struct att_scratch *s)
{
    vf c2 = v_load(l->c2 + lane), old = v_load(l->largest + lane), top = old, total = v_zero();
    for (int64_t r = 0; r < u.count; r++) {
        float *at = s->s + r * ATT_QUERIES + lane;
        vf z = (w->capped ? att_cap(w, v_load(at), true) : att_cap(w, v_load(at), false)) * c2;
        v_store(at, z);
        top = v_max(top, v_select(att_visible(l, lane, u.first + r), z, top));
    }
    for (int64_t r = 0; r < u.count; r++) {
        float *at = s->s + r * ATT_QUERIES + lane;
        vf p = v_keep(att_visible(l, lane, u.first + r), v_exp2(v_load(at) - top));
        v_store(at, p);
        total += p;
    }
    vf shrink = v_exp2(old - top);
    v_store(l->sum + lane, v_fma(v_load(l->sum + lane), shrink, total));
    v_store(l->largest + lane, top);
    for (int64_t d = 0; d < w->a->h; d++) {
        float *ot = s->ot + d * ATT_QUERIES + lane;
        v_store(ot, shrink * v_load(ot));
    }
}

/* One block of keys against one block of queries. */
static void att_forward_block(const struct att_head *w, struct att_lanes *l, struct att_keys u,
                              struct att_scratch *s)
{
    int64_t ld, h = w->a->h, columns = (l->count + VL - 1) / VL * VL;
    const float *k = att_rows(w, w->k, u, s->k, &ld);
    gemm(u.count, columns,
         (struct gemm_operands){h, k, ld, 1, s->qt, ATT_QUERIES, s->s, ATT_QUERIES, false});
    for (int64_t lane = 0; lane < columns; lane += VL) {
        if (!w->bounded)
            att_softmax_online(w, l, lane, u, s);
        else if (att_needs_mask(l, lane, u))
            att_softmax_bounded(w, l, lane, u, true, s->s);
        else
            att_softmax_bounded(w, l, lane, u, false, s->s);
    }
    const float *v = att_rows(w, w->v, u, s->v, &ld);
    gemm(h, columns,
         (struct gemm_operands){u.count, v, 1, ld, s->s, ATT_QUERIES, s->ot, ATT_QUERIES, true});
}

static void att_forward_queries(const struct att_head *w, int64_t t0, int64_t count, act_t *out,
                                float *lse, struct att_scratch *s)
{
    struct att_lanes l;
    att_lanes_init(w, t0, count, &l);
    for (int i = 0; i < ATT_QUERIES; i++) {
        l.sum[i] = 0;
        l.largest[i] = w->bounded ? 0 : ATT_NOTHING;
    }
    att_transpose_in(w->q + t0 * w->a->ld, w->a->ld, count, w->a->h, s->qt);
    memset(s->ot, 0, (size_t)(w->a->h * ATT_QUERIES) * sizeof(float));
    for (int64_t u = l.key0; u < l.key1; u += ATT_KEYS)
        att_forward_block(w, &l, (struct att_keys){u, MIN(l.key1 - u, (int64_t)ATT_KEYS)}, s);
    for (int64_t lane = 0; lane < count; lane += VL) {
        vf total = v_load(l.sum + lane);
        if (lse)
            v_store_n(lse + lane, v_fma(v_load(l.largest + lane), v_set1(LN_2), v_log(total)),
                      count - lane);
        v_store(l.sum + lane, v_recip(total));
    }
    att_transpose_out(s->ot, l.sum, count, w->a->h, out, w->a->ld_out);
}

/* ------------------------------------------------------------------ few queries */

INLINE void att_row_step(vf x, const act_t *const k[4], int64_t d, int64_t n, vf sum[4])
{
    UNROLL
    for (int i = 0; i < 4; i++)
        sum[i] = v_fma(x, act_load_n(k[i] + d, n), sum[i]);
}

/* s[u - u0] = q . k[u]; four keys at a time share the loads of q. */
static void att_row_scores(const struct att_head *w, const float *q, int64_t u0, int64_t u1,
                           float *s)
{
    for (int64_t u = u0; u < u1; u += 4) {
        const act_t *k[4];
        vf sum[4];
        UNROLL
        for (int i = 0; i < 4; i++) {
            k[i] = w->k + MIN(u + i, u1 - 1) * w->ld_kv;
            sum[i] = v_zero();
        }
        VECTOR_LOOP(d, n, w->a->h, { att_row_step(v_load(q + d), k, d, n, sum); });
        for (int64_t i = 0; i < MIN(u1 - u, 4); i++)
            s[u - u0 + i] = v_sum(sum[i]);
    }
}

/* Scores to unnormalised probabilities; returns their sum, *largest the maximum in powers of 2. */
static float att_row_softmax(const struct att_head *w, float c2, int64_t keys, float *s,
                             float *largest)
{
    vf top = v_set1(ATT_NOTHING), total = v_zero();
    VECTOR_LOOP(i, n, keys, {
        vf x = v_load_n(s + i, n);
        vf z = (w->capped ? att_cap(w, x, true) : att_cap(w, x, false)) * v_set1(c2);
        v_store_n(s + i, z, n);
        top = v_max(top, n < VL ? v_select(v_mask_first(n), z, top) : z);
    });
    *largest = v_largest(top);
    VECTOR_LOOP(i, n, keys, {
        vf p = v_exp2(v_load_n(s + i, n) - v_set1(*largest));
        v_store_n(s + i, p, n);
        total += n < VL ? v_keep(v_mask_first(n), p) : p;
    });
    return v_sum(total);
}

/* out[d] = factor * sum_u p[u] v[u, d] for up to four vectors of d from d0. */
static void att_row_values(const struct att_head *w, const float *p, int64_t u0, int64_t u1,
                           float factor, act_t *out)
{
    for (int64_t d0 = 0; d0 < w->a->h; d0 += 4 * VL) {
        int64_t left = w->a->h - d0;
        const act_t *v = w->v + u0 * w->ld_kv + d0;
        vf sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
        for (int64_t u = u0; u < u1; u++, v += w->ld_kv) {
            vf pu = v_set1(p[u - u0]);
            UNROLL
            for (int j = 0; j < 4; j++)
                if (j * VL < left)
                    sum[j] = v_fma(pu, act_load_n(v + j * VL, left - j * VL), sum[j]);
        }
        for (int j = 0; j < 4 && j * VL < left; j++)
            act_store_n(out + d0 + j * VL, v_set1(factor) * sum[j], left - j * VL);
    }
}

static void att_forward_row(const struct att_head *w, int64_t t, act_t *out, float *lse,
                            struct att_scratch *s)
{
    int64_t u0 = w->first ? w->first[t] : 0;
    float c2, largest;
    compute_x86_temperatures(t, 1, w->a->temperature_len, w->to_log2, &c2);
    att_widen(w->q + t * w->a->ld, w->a->ld, 1, w->a->h, w->hp, s->row_q);
    att_row_scores(w, s->row_q, u0, t + 1, s->row);
    float total = att_row_softmax(w, c2, t + 1 - u0, s->row, &largest);
    att_row_values(w, s->row, u0, t + 1, 1.0f / total, out);
    if (lse) *lse = largest * LN_2 + logf(total);
}

static void x86_attention_forward(const struct compute_attention *a, int64_t b, int64_t head,
                                  int64_t t0, int64_t t1, void *scratch)
{
    struct att_head w = att_head_of(a, b, head);
    struct att_scratch s = att_scratch_of(a->T, a->h, scratch);
    act_t *out = (act_t *)a->out + b * a->T * a->ld_out + head * a->h;
    float *lse = a->lse ? a->lse + (b * a->H + head) * a->T : NULL;
    int64_t step = t1 - t0 <= ATT_FEW ? 1 : ATT_QUERIES;
    for (int64_t t = t0; t < t1; t += step)
        if (step == 1)
            att_forward_row(&w, t, out + t * a->ld_out, lse ? lse + t : NULL, &s);
        else
            att_forward_queries(&w, t, MIN(t1 - t, step), out + t * a->ld_out, lse ? lse + t : NULL,
                                &s);
}

/* ------------------------------------------------------------------ backward */

/* A head's backward pass: row 0 of the sequence in the arrays that forward left and the gradients;
 * lse and dq as in compute.h. */
struct att_grad {
    const act_t *out, *dout;
    const float *lse;
    act_t *dq;
};

static struct att_grad att_grad_of(const struct compute_attention *a,
                                   const struct compute_attention_grad *d, int64_t b, int64_t head)
{
    int64_t at = b * a->T * a->ld_out + head * a->h;
    return (struct att_grad){
        .out = (const act_t *)a->out + at,
        .dout = (const act_t *)d->dout + at,
        .lse = a->lse + (b * a->H + head) * a->T,
        .dq = (act_t *)d->dq + b * a->T * a->ld + head * a->h,
    };
}

static void att_grad_lanes_init(const struct att_head *w, const struct att_grad *g,
                                struct att_lanes *l)
{
    int64_t ld = w->a->ld_out;
    const act_t *out = g->out + l->t0 * ld, *dout = g->dout + l->t0 * ld;
    compute_x86_temperatures(l->t0, l->count, w->a->temperature_len, w->a->multiplier, l->slope);
    for (int64_t i = 0; i < l->count; i++) {
        vf delta = v_zero();
        VECTOR_LOOP(d, n, w->a->h, {
            delta = v_fma(act_load_n(out + i * ld + d, n), act_load_n(dout + i * ld + d, n), delta);
        });
        l->offset[i] = v_sum(delta) * l->slope[i];
        l->lse2[i] = g->lse[l->t0 + i] * LOG2_E;
    }
}

/* Which case of a loop is compiled: constants at every call, so that no test is left inside. */
struct att_case {
    bool masked, capped;
};

/* S^T, dP^T -> P^T, dS^T (with all factors of a score's slope) for one vector of queries:
 * dx = p (dp - delta) (1 - t^2) multiplier temperature. */
INLINE void att_scores_backward(const struct att_head *w, const struct att_lanes *l, int64_t lane,
                                struct att_keys u, struct att_case of, struct att_scratch *s)
{
    vf c2 = v_load(l->c2 + lane), lse2 = v_load(l->lse2 + lane);
    vf slope = v_load(l->slope + lane), offset = v_load(l->offset + lane);
    for (int64_t r = 0; r < u.count; r++) {
        float *at = s->s + r * ATT_QUERIES + lane, *dat = s->ds + r * ATT_QUERIES + lane;
        vf t = att_cap(w, v_load(at), of.capped);
        vf p = v_exp2(v_fms(t, c2, lse2));
        if (of.masked) p = v_keep(att_visible(l, lane, u.first + r), p);
        v_store(at, p);
        vf ds = p * v_fms(v_load(dat), slope, offset);
        if (of.capped) ds *= v_fnma(t, t, v_set1(1.0f));
        v_store(dat, ds);
    }
}

static void att_backward_block(const struct att_head *w, const struct att_lanes *l,
                               struct att_keys u, struct att_scratch *s)
{
    enum { Q = ATT_QUERIES };
    int64_t ldk, ldv, h = w->a->h, hp = w->hp, columns = (l->count + VL - 1) / VL * VL;
    const float *k = att_rows(w, w->k, u, s->k, &ldk);
    const float *v = att_rows(w, w->v, u, s->v, &ldv);
    gemm(u.count, columns, (struct gemm_operands){h, k, ldk, 1, s->qt, Q, s->s, Q, false});
    gemm(u.count, columns, (struct gemm_operands){h, v, ldv, 1, s->dot, Q, s->ds, Q, false});
    for (int64_t lane = 0; lane < columns; lane += VL) {
        if (!w->capped)
            att_scores_backward(w, l, lane, u, (struct att_case){.masked = true}, s);
        else if (att_needs_mask(l, lane, u))
            att_scores_backward(w, l, lane, u, (struct att_case){true, true}, s);
        else
            att_scores_backward(w, l, lane, u, (struct att_case){.capped = true}, s);
    }
    float *dk = s->dk + u.first * hp, *dv = s->dv + u.first * hp;
    gemm(u.count, hp, (struct gemm_operands){l->count, s->s, Q, 1, s->dout, hp, dv, hp, true});
    gemm(u.count, hp, (struct gemm_operands){l->count, s->ds, Q, 1, s->q, hp, dk, hp, true});
    gemm(h, columns, (struct gemm_operands){u.count, k, 1, ldk, s->ds, Q, s->ot, Q, true});
}

/* dq of one block of queries from t0 on; adds to dk and dv in scratch. */
static void att_backward_queries(const struct att_head *w, const struct att_grad *g, int64_t t0,
                                 struct att_scratch *s)
{
    const struct compute_attention *a = w->a;
    int64_t count = MIN(a->T - t0, (int64_t)ATT_QUERIES);
    struct att_lanes l;
    att_lanes_init(w, t0, count, &l);
    att_grad_lanes_init(w, g, &l);
    const act_t *q = w->q + t0 * a->ld, *dout = g->dout + t0 * a->ld_out;
    att_transpose_in(q, a->ld, count, a->h, s->qt);
    att_transpose_in(dout, a->ld_out, count, a->h, s->dot);
    att_widen(q, a->ld, count, a->h, w->hp, s->q);
    att_widen(dout, a->ld_out, count, a->h, w->hp, s->dout);
    memset(s->ot, 0, (size_t)(a->h * ATT_QUERIES) * sizeof(float));
    for (int64_t u = l.key0; u < l.key1; u += ATT_KEYS)
        att_backward_block(w, &l, (struct att_keys){u, MIN(l.key1 - u, (int64_t)ATT_KEYS)}, s);
    att_transpose_out(s->ot, NULL, count, a->h, g->dq + t0 * a->ld, a->ld);
}

static void x86_attention_backward(const struct compute_attention *a,
                                   const struct compute_attention_grad *d, int64_t b, int64_t kv,
                                   void *scratch)
{
    struct att_scratch s = att_scratch_of(a->T, a->h, scratch);
    int64_t group = a->H / a->K, hp = (a->h + VL - 1) / VL * VL;
    memset(s.dk, 0, (size_t)(a->T * hp) * sizeof(float));
    memset(s.dv, 0, (size_t)(a->T * hp) * sizeof(float));
    for (int64_t head = kv * group; head < (kv + 1) * group; head++) {
        struct att_head w = att_head_of(a, b, head);
        struct att_grad g = att_grad_of(a, d, b, head);
        for (int64_t t = 0; t < a->T; t += ATT_QUERIES)
            att_backward_queries(&w, &g, t, &s);
    }
    for (int64_t t = 0; t < a->T; t++) {
        act_t *dk = (act_t *)d->dk + (b * a->T + t) * a->ld + kv * a->h;
        act_t *dv = (act_t *)d->dv + (b * a->T + t) * a->ld + kv * a->h;
        VECTOR_LOOP(i, n, a->h, {
            act_store_n(dk + i, v_load(s.dk + t * hp + i), n);
            act_store_n(dv + i, v_load(s.dv + t * hp + i), n);
        });
    }
}

#endif
