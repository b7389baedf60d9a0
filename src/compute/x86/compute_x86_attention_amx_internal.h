/* compute_x86_attention_amx_internal.h: what forward and backward attention by AMX tiles share: the
 * view of a head, the queries of a patch along lanes, the cap, and products of tiles. Included by
 * compute_x86_attention*_amx.c only.
 *
 * Scores are made and used by patches of 32 keys by 32 queries: four C tiles, one behind the other
 * in memory. Tile work and vector work take turns in phases of about a microsecond or more, for a
 * block of patches at a time. Weaving the two streams together was tried and lost twofold: on
 * Sapphire Rapids the second 512-bit floating-point unit stops while tile instructions run and for
 * some 150 ns after the last one (measured: docs/decisions/attention.md). */
#ifndef COLOSSUS_COMPUTE_X86_ATTENTION_AMX_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_ATTENTION_AMX_INTERNAL_H

#include "compute/x86/compute_x86_amx_internal.h"
#include "compute/x86/compute_x86_internal.h"

enum {
    PATCH = 32,
    BLOCK = PATCH * PATCH /* floats of four C tiles */
};

#define AMX_BOUND   86.0f /* 2^z and its sum need no running maximum below this, see ATT_BOUND */
#define AMX_NOTHING -1e30f

/* One query head of one sequence. */
struct amx_head {
    const struct compute_attention *a;
    const bf16_t *q, *k, *v; /* row 0 of the sequence */
    int64_t ld_kv;
    int64_t hp;           /* h rounded up to 32 */
    int64_t steps, wide;  /* tiles of 32 and of 16 along hp */
    const int32_t *first; /* [T] first key of each query, or NULL */
    bool capped, bounded;
    float to_tanh, to_log2;       /* q.k to the argument of tanh; its value to z */
    float tanh_bound, tanh_scale; /* see amx_tanh */
    float tanh_part[4][32];
};

/* 32 queries from t0 on, of which `count` exist, along lanes: z = t c2 - shift. */
struct amx_lanes {
    float c2[PATCH] __attribute__((aligned(64)));
    float shift[PATCH], sum[PATCH];    /* sum: forward */
    float slope[PATCH], offset[PATCH]; /* backward */
    int32_t first[PATCH];
    int64_t t0, count;
    int64_t key0, first_max; /* first key any of them sees; none is hidden from here on */
};

/* ------------------------------------------------------------------ the cap
 * tanh on |y| <= 5.5 by 31 parts of equal width, the middle one around 0, a cubic in each: minimax
 * fits, error at most 2.1e-5 absolute and 1.2e-4 relative, 3.3e-5 beyond the ends. Against a
 * rational function this saves the reciprocal: the four coefficients are looked up by vpermi2ps on
 * a port that is otherwise idle. Behind it come scores of at most the cap, whose exponential is
 * rounded to eight bits. Parts 0 .. 15 by power of y; the negative ones follow by symmetry. */
#define AMX_TANH_RANGE 5.5f

static const float amx_tanh_positive[4][16] = {
    {0.0f, -0.00175893144f, -0.0336275771f, -0.0849437714f, -0.0551451892f, 0.0859001502f,
     0.283481002f, 0.478325933f, 0.639790535f, 0.760765135f, 0.845751524f, 0.902857065f,
     0.939988852f, 0.963524163f, 0.978136301f, 0.987053216f},
    {0.999983788f, 1.02192533f, 1.19876122f, 1.38024807f, 1.31416368f, 1.05020237f, 0.74537611f,
     0.490586728f, 0.307556808f, 0.186583206f, 0.110568605f, 0.0643719658f, 0.036954429f,
     0.020971233f, 0.0117853796f, 0.00656760205f},
    {0.0f, -0.0928980261f, -0.42573899f, -0.640815496f, -0.592253089f, -0.427266061f, -0.270290554f,
     -0.159123555f, -0.0899146646f, -0.0495676994f, -0.0268941708f, -0.0144323735f, -0.00768208131f,
     -0.00406300323f, -0.00213769265f, -0.00111975998f},
    {-0.329189122f, -0.190771565f, 0.0217515044f, 0.107104518f, 0.095293805f, 0.0608514845f,
     0.0338693336f, 0.0176860616f, 0.00895650685f, 0.00446852064f, 0.00221317634f, 0.00109222333f,
     0.000538074062f, 0.000264848029f, 0.000130306653f, 6.40981598e-05f},
};

/* The parts as cubics of q.k itself. */
SOMETIMES void amx_tanh_init(struct amx_head *w)
{
    float power = 1.0f;
    for (int k = 0; k < 4; k++, power *= w->to_tanh)
        for (int i = 0; i < 16; i++) {
            float c = amx_tanh_positive[k][i] * power;
            w->tanh_part[k][16 - i] = k % 2 ? c : -c;
            w->tanh_part[k][16 + i] = c;
        }
    for (int k = 0; k < 4; k++)
        w->tanh_part[k][0] = 0.0f; /* behind the cut */
    w->tanh_bound = AMX_TANH_RANGE * 0.9999f / fabsf(w->to_tanh);
    w->tanh_scale = 15.5f / AMX_TANH_RANGE * w->to_tanh;
}

/* Constants of the cap in registers; to_tanh is for scores without one. */
struct amx_tanh {
    vf to_tanh, low, high, scale, magic, part[4][2];
};

INLINE struct amx_tanh amx_tanh_of(const struct amx_head *w)
{
    struct amx_tanh t = {.to_tanh = v_set1(w->to_tanh),
                         .low = v_set1(-w->tanh_bound),
                         .high = v_set1(w->tanh_bound),
                         .scale = v_set1(w->tanh_scale),
                         .magic = v_set1(12582912.0f + 16.0f)};
    UNROLL
    for (int k = 0; k < 4; k++) {
        t.part[k][0] = v_load(w->tanh_part[k]);
        t.part[k][1] = v_load(w->tanh_part[k] + 16);
    }
    return t;
}

/* What follows works on four vectors in lockstep, operation by operation: one chain from score to
 * probability is 75 cycles long, and the scheduler of the processor is too small to look from one
 * such chain far enough into the next. */
struct amx_four {
    vf v[4];
};
#define EACH(k) \
    UNROLL      \
    for (int k = 0; k < 4; k++)

/* t = tanh(to_tanh * x), or to_tanh * x where there is no cap. Adding 1.5 * 2^23 rounds the place
 * to a whole number in the low bits, which are the index; a NaN stays one. */
INLINE struct amx_four amx_cap(const struct amx_tanh *cap, struct amx_four x, bool capped)
{
    struct amx_four y;
    __m512i part[4];
    if (!capped) {
        EACH(k) x.v[k] *= cap->to_tanh;
        return x;
    }
    EACH(k) x.v[k] = v_max(cap->low, x.v[k]);
    EACH(k) x.v[k] = v_min(cap->high, x.v[k]);
    EACH(k) part[k] = _mm512_castps_si512(v_fma(x.v[k], cap->scale, cap->magic));
    EACH(k) y.v[k] = _mm512_permutex2var_ps(cap->part[3][0], part[k], cap->part[3][1]);
    UNROLL
    for (int power = 2; power >= 0; power--) {
        const vf low = cap->part[power][0], high = cap->part[power][1];
        EACH(k) y.v[k] = v_fma(y.v[k], x.v[k], _mm512_permutex2var_ps(low, part[k], high));
    }
    return y;
}

/* Which case of a loop is compiled: constants at every call, so that no test is left inside. */
struct amx_case {
    bool masked, capped, bounded;
};

/* 2^z; with `bounded` for z in (-126, 128) only, otherwise from 2^-100 up. */
INLINE struct amx_four amx_exp2(struct amx_four z, bool bounded)
{
    struct amx_four p, r;
    if (!bounded) {
        EACH(k) z.v[k] = v_max(v_set1(EXP2_SMALLEST), z.v[k]);
    }
    EACH(k) r.v[k] = _mm512_reduce_ps(z.v[k], 0x09);
    EACH(k) p.v[k] = v_fma(r.v[k], v_set1(EXP2_LOW_3), v_set1(EXP2_LOW_2));
    EACH(k) p.v[k] = v_fma(p.v[k], r.v[k], v_set1(EXP2_LOW_1));
    EACH(k) p.v[k] = v_fma(p.v[k], r.v[k], v_set1(EXP2_LOW_0));
    EACH(k) p.v[k] = _mm512_scalef_ps(p.v[k], z.v[k]);
    return p;
}

/* ------------------------------------------------------------------ heads and lanes */

SOMETIMES struct amx_head amx_head_of(const struct compute_attention *a, int64_t b, int64_t head)
{
    int64_t ld_kv = a->ld, kv = head / (a->H / a->K);
    bool capped = a->cap > 0;
    float top;
    compute_x86_temperatures(a->T - 1, 1, a->temperature_len, 1.0f, &top);
    int64_t hp = (a->h + 31) / 32 * 32;
    struct amx_head w = {
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
        .bounded = capped && a->cap * top * LOG2_E <= AMX_BOUND,
        .to_tanh = capped ? a->multiplier / a->cap : a->multiplier,
        .to_log2 = capped ? a->cap * LOG2_E : LOG2_E,
    };
    amx_tanh_init(&w);
    return w;
}

SOMETIMES void amx_lanes_init(const struct amx_head *w, int64_t t0, int64_t count,
                              struct amx_lanes *l)
{
    *l = (struct amx_lanes){.t0 = t0, .count = count};
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

/* Whether some query misses one of the 32 keys from u on. */
INLINE bool amx_needs_mask(const struct amx_lanes *l, int64_t u)
{
    return u + PATCH - 1 > l->t0 || u < l->first_max;
}

/* Two vectors to 32 bf16, lane by lane: (low[0], high[0], low[1], ...). Rounds halves up. */
INLINE __m512i amx_pair(vf low, vf high)
{
    const __m512i half = _mm512_set1_epi32(0x8000);
    __m512i lo = _mm512_add_epi32(_mm512_castps_si512(low), half);
    __m512i hi = _mm512_add_epi32(_mm512_castps_si512(high), half);
    return _mm512_mask_blend_epi16(0xaaaaaaaau, _mm512_srli_epi32(lo, 16), hi);
}

/* ------------------------------------------------------------------ products */

/* c [32, 32] += A B over `steps` steps of 32; c is a block of four tiles; add false overwrites. */
INLINE void amx_product(int64_t steps, struct tile_operand a, struct tile_operand b, float *c,
                        bool add)
{
    TILES_FENCE();
    if (add) {
        _tile_loadd(0, c, 64);
        _tile_loadd(1, c + 256, 64);
        _tile_loadd(2, c + 512, 64);
        _tile_loadd(3, c + 768, 64);
    } else {
        tiles_zero();
    }
    tiles_multiply(steps, a, b);
    _tile_stored(0, c, 64);
    _tile_stored(1, c + 256, 64);
    _tile_stored(2, c + 512, 64);
    _tile_stored(3, c + 768, 64);
    TILES_FENCE();
}

/* s = X Y^T of one patch: x rows, y columns, each two rows of `steps` tiles. */
INLINE void amx_scores(int64_t steps, const bf16_t *x, const bf16_t *y, float *s)
{
    amx_product(steps, (struct tile_operand){x, x + steps * TILE, TILE},
                (struct tile_operand){y, y + steps * TILE, TILE}, s, false);
}

/* The vector of a patch that holds this key and 16 queries. */
INLINE int amx_patch_at(int key, int half)
{
    return key / 16 * 512 + half * 256 + key % 16 * 16;
}

/* ------------------------------------------------------------------ results */

/* Rows of a result: nothing is written for queries from `count` on and beyond h. */
struct amx_out {
    bf16_t *x;
    int64_t ld, count, h;
};

/* x[query[i], d0 + r] = factor[i] * tile[r, i], r < 16: one tile of a transposed result to rows. */
INLINE void amx_turn_out(const float *tile, vf factor, const int query[16], int64_t d0,
                         struct amx_out o)
{
    vf r[16];
    for (int i = 0; i < 16; i++)
        r[i] = factor * v_load(tile + i * 16);
    v_transpose(r);
    for (int i = 0; i < 16; i++)
        if (query[i] < o.count && d0 < o.h)
            v_store_bf16_n(o.x + query[i] * o.ld + d0, r[i], o.h - d0);
}

#endif
