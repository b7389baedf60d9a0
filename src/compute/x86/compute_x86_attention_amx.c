/* compute_x86_attention_amx.c: attention for bfloat16 activations by AMX tiles.
 *
 * The same algorithm and the same transposed scores as compute_x86_attention_internal.h, with every
 * product done by tiles of bf16 with fp32 sums. The unit of work is a patch of 32 keys by 32
 * queries: its scores are four tiles, 4 KiB, that go from the tile unit through the first-level
 * cache to the vector unit and come back as bf16 tiles of P^T (and dS^T). The tile unit works on
 * the next patch while the vector unit takes the exponentials of this one: its products are issued
 * one patch ahead and the processor runs both streams side by side.
 *
 *   forward, for 32 queries:    S^T = K Q^T (K as rows, Q packed by columns)
 *                               O^T += V^T P^T over blocks of FWD_KEYS keys (V turned, P by pairs)
 *   backward, for BWD_QUERIES queries and BWD_KEYS keys:
 *                               S^T = K Q^T, dP^T = V dO^T
 *                               dV += P^T dO, dK += dS^T Q (P^T, dS^T as rows; dO, Q by pairs)
 *                               dQ^T += K^T dS^T (K turned; dS^T by pairs)
 *
 * Where the scores are bounded (Grok's cap of 30) there is no running maximum. Where they are not,
 * forward first computes all scores once more for the exact maximum, which costs a quarter and
 * needs no rescaling of O anywhere. Probabilities and dS are rounded to bf16 for the second
 * products, as the published model does; sums stay fp32.
 *
 * The head's width is padded to a multiple of 32 with zeros. docs/decisions/attention.md has the
 * counts and the measurements. */
#include "compute/x86/compute_x86_amx_internal.h"
#include "compute/x86/compute_x86_internal.h"

enum {
    PATCH = 32,
    FWD_KEYS = 256, /* keys between two additions to O^T */
    BWD_KEYS = 64,
    BWD_QUERIES = 128,
    FEW = 8 /* queries that are not worth packing keys for */
};

#define BOUND   86.0f /* as in compute_x86_attention_internal.h: 2^z needs no maximum below this */
#define NOTHING -1e30f

struct amx_head {
    const struct compute_attention *a;
    const bf16_t *q, *k, *v; /* row 0 of the sequence */
    int64_t ld_kv;
    int64_t hp;           /* h rounded up to 32 */
    int64_t steps, wide;  /* tiles of 32 and of 16 along hp */
    const int32_t *first; /* [T] first key of each query, or NULL */
    bool capped, bounded;
    float to_tanh, to_log2; /* q.k to t, t to z where the temperature is 1 */
};

/* What a patch needs to know of its 32 queries; z = t c2 - shift. */
struct amx_lanes {
    int64_t t0;
    int64_t key0, first_max; /* first key any of them sees; keys from first_max on all may see */
    float c2[PATCH], shift[PATCH];
    float slope[PATCH], offset[PATCH]; /* backward */
    int32_t first[PATCH];
};

static struct amx_head amx_head_of(const struct compute_attention *a, int64_t b, int64_t head)
{
    int64_t ld_kv = a->ld_kv ? a->ld_kv : a->ld, kv = head / (a->H / a->K);
    bool capped = a->cap > 0;
    float top;
    compute_x86_temperatures(a->T - 1, 1, a->temperature_len, 1.0f, &top);
    int64_t hp = (a->h + 31) / 32 * 32;
    return (struct amx_head){
        .a = a,
        .q = (const bf16_t *)a->q + b * a->T * a->ld + head * a->h,
        .k = (const bf16_t *)a->k + b * a->T * ld_kv + kv * a->h,
        .v = (const bf16_t *)a->v + b * a->T * ld_kv + kv * a->h,
        .ld_kv = ld_kv,
        .hp = hp,
        .steps = hp / 32,
        .wide = hp / 16,
        .first = a->doc_start ? a->doc_start + b * a->T : NULL,
        .capped = capped,
        .bounded = capped && a->cap * top * LOG2_E <= BOUND,
        .to_tanh = capped ? a->multiplier / a->cap : a->multiplier,
        .to_log2 = capped ? a->cap * LOG2_E : LOG2_E,
    };
}

/* Lanes of queries t0 .. t0 + 31 of which `count` exist. */
static void amx_lanes_init(const struct amx_head *w, int64_t t0, int64_t count, struct amx_lanes *l)
{
    *l = (struct amx_lanes){.t0 = t0};
    compute_x86_temperatures(t0, PATCH, w->a->temperature_len, w->to_log2, l->c2);
    if (!w->first) return;
    l->key0 = w->first[t0];
    for (int64_t i = 0; i < count; i++) {
        l->first[i] = w->first[t0 + i];
        l->key0 = MIN(l->key0, l->first[i]);
        l->first_max = MAX(l->first_max, l->first[i]);
    }
}

INLINE vm amx_visible(const struct amx_lanes *l, int lane, int64_t u)
{
    vi key = vi_set1((int32_t)u), t = vi_iota((int32_t)l->t0 + lane);
    return v_mask_and(v_less_equal(key, t), v_less_equal(vi_load_n(l->first + lane, VL), key));
}

INLINE bool amx_needs_mask(const struct amx_lanes *l, int64_t u0)
{
    return u0 + PATCH - 1 > l->t0 || u0 < l->first_max;
}

INLINE vf amx_cap(const struct amx_head *w, vf qk, bool capped)
{
    vf y = qk * v_set1(w->to_tanh);
    return capped ? v_tanh_low(y) : y;
}

/* s [32, 32] = X Y^T for two rows of tiles of X and two columns of tiles of Y^T. */
INLINE void amx_scores(int64_t steps, const bf16_t *x, const bf16_t *y, float *s)
{
    tiles_zero();
    tiles_multiply(steps, x, x + steps * TILE, TILE, y, y + steps * TILE, TILE);
    tiles_store(s, PATCH);
}

/* ------------------------------------------------------------------ forward */

struct amx_forward {
    bf16_t *k, *v; /* rows [T/16, steps] and turned [T/32, wide] tiles */
    bf16_t *q;     /* columns [2, steps] */
    bf16_t *p;     /* pairs [FWD_KEYS/32, 2] */
    float *s;      /* two patches of scores */
    float *ot;     /* O^T [hp, 32] */
    char *end;
};

static struct amx_forward amx_forward_of(int64_t T, int64_t hp, char *scratch)
{
    int64_t keys = (T + 31) / 32 * 32;
    struct amx_forward f;
    f.k = (bf16_t *)(void *)scratch;
    f.v = f.k + keys * hp;
    f.q = f.v + keys * hp;
    f.p = f.q + PATCH * hp;
    f.s = (float *)(void *)(f.p + FWD_KEYS * PATCH);
    f.ot = f.s + 2 * PATCH * PATCH;
    f.end = (char *)(f.ot + hp * PATCH);
    return f;
}

/* Two rows of bf16 (16 queries of keys 2i and 2i + 1) interleaved into a row of a B tile. */
INLINE void amx_store_pair(bf16_t *to, vf even, vf odd)
{
    const __m512i order =
        _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6,
                         21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh(odd, even);
    _mm512_storeu_si512(to, _mm512_permutexvar_epi16(order, both));
}

/* One patch of scores to two tiles of probabilities; adds to sum [32]. */
INLINE void amx_softmax(const struct amx_head *w, const struct amx_lanes *l, const float *s,
                        int64_t u0, bool masked, bool capped, bf16_t *p, float *sum)
{
    UNROLL
    for (int half = 0; half < 2; half++) {
        vf c2 = v_load(l->c2 + half * VL), shift = v_load(l->shift + half * VL);
        vf total = v_load(sum + half * VL);
        for (int i = 0; i < 16; i++) {
            const float *at = s + 2 * i * PATCH + half * VL;
            vf even = v_exp2_low(v_fms(amx_cap(w, v_load(at), capped), c2, shift));
            vf odd = v_exp2_low(v_fms(amx_cap(w, v_load(at + PATCH), capped), c2, shift));
            if (masked) {
                even = v_keep(amx_visible(l, half * VL, u0 + 2 * i), even);
                odd = v_keep(amx_visible(l, half * VL, u0 + 2 * i + 1), odd);
            }
            total += even + odd;
            amx_store_pair(p + half * TILE + i * 32, even, odd);
        }
        v_store(sum + half * VL, total);
    }
}

static void amx_softmax_patch(const struct amx_head *w, const struct amx_lanes *l, const float *s,
                              int64_t u0, bf16_t *p, float *sum)
{
    bool masked = amx_needs_mask(l, u0);
    if (w->capped && !masked)
        amx_softmax(w, l, s, u0, false, true, p, sum);
    else if (w->capped)
        amx_softmax(w, l, s, u0, true, true, p, sum);
    else
        amx_softmax(w, l, s, u0, true, false, p, sum);
}

/* shift = the largest z of each query over all keys it sees: all scores once more. */
static void amx_find_shift(const struct amx_head *w, struct amx_lanes *l, int64_t u0, int64_t u1,
                           const struct amx_forward *f)
{
    for (int half = 0; half < 2; half++)
        v_store(l->shift + half * VL, v_set1(NOTHING));
    for (int64_t u = u0; u < u1; u += PATCH) {
        amx_scores(w->steps, f->k + u * w->hp, f->q, f->s);
        for (int half = 0; half < 2; half++) {
            vf c2 = v_load(l->c2 + half * VL), top = v_load(l->shift + half * VL);
            for (int64_t r = 0; r < PATCH; r++) {
                vf x = v_load(f->s + r * PATCH + half * VL);
                vf z = (w->capped ? amx_cap(w, x, true) : amx_cap(w, x, false)) * c2;
                top = v_max(top, v_select(amx_visible(l, half * VL, u + r), z, top));
            }
            v_store(l->shift + half * VL, top);
        }
    }
}

/* The keys [u0, u1) of at most FWD_KEYS: P^T, then O^T += V^T P^T. */
static void amx_forward_block(const struct amx_head *w, const struct amx_lanes *l, int64_t u0,
                              int64_t u1, bool first, const struct amx_forward *f, float *sum)
{
    int64_t patches = (u1 - u0) / PATCH;
    amx_scores(w->steps, f->k + u0 * w->hp, f->q, f->s);
    for (int64_t i = 0; i < patches; i++) {
        int64_t u = u0 + i * PATCH;
        if (i + 1 < patches)
            amx_scores(w->steps, f->k + (u + PATCH) * w->hp, f->q,
                       f->s + (i + 1) % 2 * PATCH * PATCH);
        amx_softmax_patch(w, l, f->s + i % 2 * PATCH * PATCH, u, f->p + i * 2 * TILE, sum);
    }
    for (int64_t c = 0; c < w->wide; c += 2) {
        const bf16_t *v = f->v + u0 * w->hp + c * TILE;
        float *o = f->ot + c * 16 * PATCH;
        if (first)
            tiles_zero();
        else
            tiles_load(o, PATCH);
        tiles_multiply(patches, v, v + TILE, w->wide * TILE, f->p, f->p + TILE, 2 * TILE);
        tiles_store(o, PATCH);
    }
}

/* x[i, :] = factor[i] * from[:, column i] for one tile of 16 columns; row(i) of x is where query
 * `query[i]` lies, and nothing is written for those from `count` on. */
INLINE void amx_turn_out(const float *from, int64_t ld_from, vf factor, const int query[16],
                         int64_t count, int64_t h, bf16_t *x, int64_t ld)
{
    for (int64_t d = 0; d < h; d += 16) {
        vf r[16];
        for (int i = 0; i < 16; i++)
            r[i] = factor * v_load(from + (d + i) * ld_from);
        v_transpose(r);
        for (int i = 0; i < 16; i++)
            if (query[i] < count) v_store_bf16_n(x + query[i] * ld + d, r[i], h - d);
    }
}

static void amx_forward_queries(const struct amx_head *w, int64_t t0, int64_t count, bf16_t *out,
                                float *lse, const struct amx_forward *f)
{
    struct amx_lanes l;
    float sum[PATCH] = {0};
    amx_lanes_init(w, t0, count, &l);
    tiles_pack_columns(w->q + t0 * w->a->ld, w->a->ld, count, PATCH, w->a->h, f->q);
    int64_t u0 = l.key0 / PATCH * PATCH, u1 = (t0 + count + PATCH - 1) / PATCH * PATCH;
    if (!w->bounded) amx_find_shift(w, &l, u0, u1, f);
    for (int64_t u = u0; u < u1; u += FWD_KEYS)
        amx_forward_block(w, &l, u, MIN(u + FWD_KEYS, u1), u == u0, f, sum);
    for (int half = 0; half < 2; half++) {
        vf total = v_load(sum + half * VL), shift = v_load(l.shift + half * VL);
        int query[16];
        for (int i = 0; i < 16; i++)
            query[i] = half * VL + i;
        if (lse && half * VL < count)
            v_store_n(lse + half * VL, v_fma(shift, v_set1(LN_2), v_log(total)), count - half * VL);
        amx_turn_out(f->ot + half * VL, PATCH, v_recip(total), query, count, w->a->h, out,
                     w->a->ld_out);
    }
}

void compute_x86_amx_attention_forward(const struct compute_attention *a, int64_t b, int64_t head,
                                       int64_t t0, int64_t t1, void *scratch)
{
    if (t1 - t0 <= FEW) {
        compute_x86_bf16_avx512.attention_forward(a, b, head, t0, t1, scratch);
        return;
    }
    struct amx_head w = amx_head_of(a, b, head);
    struct amx_forward f = amx_forward_of(a->T, w.hp, scratch);
    int64_t u0 = t1;
    for (int64_t t = t0; t < t1; t++)
        u0 = MIN(u0, w.first ? w.first[t] : 0);
    u0 = u0 / PATCH * PATCH;
    int64_t rows = t1 - u0, padded = (rows + PATCH - 1) / PATCH * PATCH;
    const bf16_t *k = w.k + u0 * w.ld_kv, *v = w.v + u0 * w.ld_kv;
    tiles_pack_rows(k, w.ld_kv, rows, padded, a->h, f.k + u0 * w.hp);
    tiles_pack_turned(v, w.ld_kv, rows, padded, a->h, f.v + u0 * w.hp);
    bf16_t *out = (bf16_t *)a->out + b * a->T * a->ld_out + head * a->h;
    float *lse = a->lse ? a->lse + (b * a->H + head) * a->T : NULL;
    tiles_begin();
    for (int64_t t = t0; t < t1; t += PATCH)
        amx_forward_queries(&w, t, MIN(t1 - t, (int64_t)PATCH), out + t * a->ld_out,
                            lse ? lse + t : NULL, &f);
    tiles_end();
}

/* ------------------------------------------------------------------ backward */

struct amx_backward {
    bf16_t *k, *v, *kt;      /* rows, rows, turned: all keys */
    bf16_t *q, *dout;        /* columns [BWD_QUERIES/16, steps] */
    bf16_t *qp, *doutp;      /* pairs [BWD_QUERIES/32, wide] */
    bf16_t *p, *ds;          /* rows [BWD_KEYS/16, BWD_QUERIES/32] */
    bf16_t *dsp;             /* pairs [BWD_KEYS/32, BWD_QUERIES/16] */
    float *s, *dp;           /* two patches each */
    float *dqt;              /* dQ^T [hp, BWD_QUERIES], columns in the order of amx_dq_query */
    float *dk, *dv;          /* [T, hp] */
    struct amx_lanes *lanes; /* [BWD_QUERIES/32] */
    char *end;
};

static struct amx_backward amx_backward_of(int64_t T, int64_t hp, char *scratch)
{
    int64_t keys = (T + 31) / 32 * 32;
    struct amx_backward f;
    f.k = (bf16_t *)(void *)scratch;
    f.v = f.k + keys * hp;
    f.kt = f.v + keys * hp;
    f.q = f.kt + keys * hp;
    f.dout = f.q + BWD_QUERIES * hp;
    f.qp = f.dout + BWD_QUERIES * hp;
    f.doutp = f.qp + BWD_QUERIES * hp;
    f.p = f.doutp + BWD_QUERIES * hp;
    f.ds = f.p + BWD_KEYS * BWD_QUERIES;
    f.dsp = f.ds + BWD_KEYS * BWD_QUERIES;
    f.s = (float *)(void *)(f.dsp + BWD_KEYS * BWD_QUERIES);
    f.dp = f.s + 2 * PATCH * PATCH;
    f.dqt = f.dp + 2 * PATCH * PATCH;
    f.dk = f.dqt + hp * BWD_QUERIES;
    f.dv = f.dk + keys * hp;
    f.lanes = (struct amx_lanes *)(void *)(f.dv + keys * hp);
    f.end = (char *)(f.lanes + BWD_QUERIES / PATCH);
    return f;
}

size_t compute_x86_amx_attention_scratch(int64_t T, int64_t h)
{
    char base[1];
    int64_t hp = (h + 31) / 32 * 32;
    size_t few = compute_x86_bf16_avx512.attention_scratch(T, h);
    size_t forward = (size_t)(amx_forward_of(T, hp, base).end - base);
    size_t backward = (size_t)(amx_backward_of(T, hp, base).end - base);
    return MAX(few, MAX(forward, backward));
}

/* Scores and their gradients of one patch, keys u and queries of lanes l, to tiles: P^T and dS^T as
 * rows (two tiles each, `below` elements apart) and dS^T by pairs (two adjacent tiles). dS is the
 * whole gradient of q.k: dx = p (dp - delta) (1 - t^2) multiplier temperature. */
INLINE void amx_gradient(const struct amx_head *w, const struct amx_lanes *l, const float *s,
                         const float *dp, int64_t u, bool masked, bool capped, int64_t below,
                         bf16_t *p, bf16_t *ds, bf16_t *dsp)
{
    for (int i = 0; i < 16; i++) {
        __m512i gradient[2];
        UNROLL
        for (int odd = 0; odd < 2; odd++) {
            int r = 2 * i + odd;
            vf pr[2], dr[2];
            UNROLL
            for (int half = 0; half < 2; half++) {
                int lane = half * VL, at = r * PATCH + lane;
                vf t = amx_cap(w, v_load(s + at), capped);
                vf z = v_fms(t, v_load(l->c2 + lane), v_load(l->shift + lane));
                vf pv = v_exp2_low(z);
                if (masked) pv = v_keep(amx_visible(l, lane, u + r), pv);
                pr[half] = pv;
                vf d = v_fms(v_load(dp + at), v_load(l->slope + lane), v_load(l->offset + lane));
                d *= pv;
                if (capped) d = v_fnma(t * t, d, d);
                dr[half] = d;
            }
            int64_t row = r / 16 * below + r % 16 * 32;
            gradient[odd] = (__m512i)_mm512_cvtne2ps_pbh(dr[1], dr[0]);
            _mm512_storeu_si512(p + row, (__m512i)_mm512_cvtne2ps_pbh(pr[1], pr[0]));
            _mm512_storeu_si512(ds + row, gradient[odd]);
        }
        _mm512_storeu_si512(dsp + i * 32, _mm512_unpacklo_epi16(gradient[0], gradient[1]));
        _mm512_storeu_si512(dsp + TILE + i * 32, _mm512_unpackhi_epi16(gradient[0], gradient[1]));
    }
}

/* The unpack above works within 128-bit lanes: column i of tile n holds this query of the 32. */
INLINE int amx_dq_query(int n, int i)
{
    return 8 * (i / 4) + 4 * n + i % 4;
}

static void amx_gradient_patch(const struct amx_head *w, const struct amx_lanes *l, const float *s,
                               const float *dp, int64_t u, int64_t below, bf16_t *p, bf16_t *ds,
                               bf16_t *dsp)
{
    bool masked = amx_needs_mask(l, u);
    if (w->capped && !masked)
        amx_gradient(w, l, s, dp, u, false, true, below, p, ds, dsp);
    else if (w->capped)
        amx_gradient(w, l, s, dp, u, true, true, below, p, ds, dsp);
    else
        amx_gradient(w, l, s, dp, u, true, false, below, p, ds, dsp);
}

/* One patch of S^T and dP^T. */
INLINE void amx_backward_scores(const struct amx_head *w, const struct amx_backward *f, int64_t u,
                                int64_t q, float *s, float *dp)
{
    amx_scores(w->steps, f->k + u * w->hp, f->q + q * PATCH * w->hp, s);
    amx_scores(w->steps, f->v + u * w->hp, f->dout + q * PATCH * w->hp, dp);
}

/* c [32, hp] += A B, A's two rows of tiles `below` apart, B by pairs: dV or dK of 32 keys. */
INLINE void amx_add_rows(const struct amx_head *w, int64_t steps, const bf16_t *a, int64_t below,
                         const bf16_t *b, float *c)
{
    for (int64_t d = 0; d < w->wide; d += 2) {
        tiles_load(c + d * 16, w->hp);
        tiles_multiply(steps, a, a + below, TILE, b + d * TILE, b + (d + 1) * TILE, w->wide * TILE);
        tiles_store(c + d * 16, w->hp);
    }
}

/* Keys [u0, u1), at most BWD_KEYS, against queries [t0, t0 + 32 * parts). Patches above the
 * diagonal are not computed: keys of patch u are seen from query patch `from` on. */
static void amx_backward_block(const struct amx_head *w, int64_t t0, int64_t parts, int64_t u0,
                               int64_t u1, const struct amx_backward *f)
{
    enum { AREA = PATCH * PATCH, ACROSS = BWD_QUERIES / PATCH };
    const int64_t below = ACROSS * TILE;
    int flip = 0;
    amx_backward_scores(w, f, u0, MAX((u0 - t0) / PATCH, 0), f->s, f->dp);
    for (int64_t u = u0; u < u1; u += PATCH) {
        int64_t i = (u - u0) / PATCH, from = MAX((u - t0) / PATCH, 0);
        for (int64_t q = from; q < parts; q++, flip ^= 1) {
            if (q + 1 < parts)
                amx_backward_scores(w, f, u, q + 1, f->s + (flip ^ 1) * AREA,
                                    f->dp + (flip ^ 1) * AREA);
            else if (u + PATCH < u1)
                amx_backward_scores(w, f, u + PATCH, MAX((u + PATCH - t0) / PATCH, 0),
                                    f->s + (flip ^ 1) * AREA, f->dp + (flip ^ 1) * AREA);
            amx_gradient_patch(w, f->lanes + q, f->s + flip * AREA, f->dp + flip * AREA, u, below,
                               f->p + (2 * i * ACROSS + q) * TILE,
                               f->ds + (2 * i * ACROSS + q) * TILE,
                               f->dsp + (i * ACROSS + q) * 2 * TILE);
        }
        amx_add_rows(w, parts - from, f->p + (2 * i * ACROSS + from) * TILE, below,
                     f->doutp + from * PATCH * w->hp, f->dv + u * w->hp);
        amx_add_rows(w, parts - from, f->ds + (2 * i * ACROSS + from) * TILE, below,
                     f->qp + from * PATCH * w->hp, f->dk + u * w->hp);
    }
    for (int64_t q = 0; q < parts; q++) {
        int64_t seen = MIN(u1, t0 + (q + 1) * PATCH) - u0;
        for (int64_t d = 0; d < w->wide && seen > 0; d += 2) {
            const bf16_t *k = f->kt + u0 * w->hp + d * TILE, *ds = f->dsp + q * 2 * TILE;
            float *c = f->dqt + d * 16 * BWD_QUERIES + q * PATCH;
            tiles_load(c, BWD_QUERIES);
            tiles_multiply(seen / PATCH, k, k + TILE, w->wide * TILE, ds, ds + TILE,
                           ACROSS * 2 * TILE);
            tiles_store(c, BWD_QUERIES);
        }
    }
}

/* Lanes of 32 queries for backward: delta = dout . out. */
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

/* Queries [t0, t0 + count) of one head: dq, and their share of dk and dv in scratch. */
static void amx_backward_queries(const struct amx_head *w, int64_t t0, int64_t count,
                                 const bf16_t *out, const bf16_t *dout, const float *lse,
                                 bf16_t *dq, const struct amx_backward *f)
{
    const struct compute_attention *a = w->a;
    int64_t parts = (count + PATCH - 1) / PATCH, padded = parts * PATCH, key0 = t0;
    for (int64_t q = 0; q < parts; q++) {
        int64_t i = q * PATCH, at = i * a->ld_out;
        amx_gradient_lanes(w, t0 + i, MIN(count - i, (int64_t)PATCH), out + at, dout + at, lse + i,
                           f->lanes + q);
        key0 = MIN(key0, f->lanes[q].key0);
    }
    const bf16_t *x = w->q + t0 * a->ld;
    tiles_pack_columns(x, a->ld, count, padded, a->h, f->q);
    tiles_pack_pairs(x, a->ld, count, padded, a->h, f->qp);
    tiles_pack_columns(dout, a->ld_out, count, padded, a->h, f->dout);
    tiles_pack_pairs(dout, a->ld_out, count, padded, a->h, f->doutp);
    memset(f->dqt, 0, (size_t)(w->hp * BWD_QUERIES) * sizeof(float));
    for (int64_t u = key0 / PATCH * PATCH; u < t0 + padded; u += BWD_KEYS)
        amx_backward_block(w, t0, parts, u, MIN(u + BWD_KEYS, t0 + padded), f);
    for (int64_t q = 0; q < parts; q++)
        for (int n = 0; n < 2; n++) {
            int query[16];
            for (int i = 0; i < 16; i++)
                query[i] = (int)q * PATCH + amx_dq_query(n, i);
            amx_turn_out(f->dqt + q * PATCH + n * 16, BWD_QUERIES, v_set1(1.0f), query, count, a->h,
                         dq, a->ld);
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
    for (int64_t t = 0; t < T; t++) {
        int64_t at = (b * T + t) * a->ld + kv * a->h;
        VECTOR_LOOP(d, n, a->h, {
            v_store_bf16_n((bf16_t *)dk + at + d, v_load(f.dk + t * w.hp + d), n);
            v_store_bf16_n((bf16_t *)dv + at + d, v_load(f.dv + t * w.hp + d), n);
        });
    }
}
