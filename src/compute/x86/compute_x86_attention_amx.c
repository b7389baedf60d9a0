/* compute_x86_attention_amx.c: attention for bfloat16 activations by AMX tiles, forward.
 *
 * The same algorithm and the same transposed scores as compute_x86_attention_internal.h, by patches
 * of 32 keys and 32 queries, with every product done by tiles of bf16 with fp32 sums:
 *
 *   S^T = K Q^T      K as rows, Q packed by columns
 *   O^T += V^T P^T   V turned, P^T by pairs of keys
 *
 * in blocks of FWD_QUERIES queries and FWD_KEYS keys: first all scores of the block by tiles, then
 * all probabilities by vectors, then the sums by tiles. Where the scores are bounded (Grok's cap of
 * 30) there is no running maximum. Where they are not, all scores are first computed once more for
 * the exact maximum, which needs no rescaling of O anywhere. Probabilities are rounded to bf16 for
 * the second product, as the published model does; sums stay fp32.
 *
 * The head's width is padded to a multiple of 32 with zeros. docs/decisions/attention.md has the
 * counts and the measurements. */
#include <math.h>

#include "compute/x86/compute_x86_attention_amx_internal.h"

enum {
    FWD_QUERIES = 64,
    FWD_KEYS = 256,
    SUBS = FWD_QUERIES / PATCH,
    PATCHES = FWD_KEYS / PATCH,
    FEW = 8 /* queries that are not worth packing keys for */
};

struct amx_forward {
    bf16_t *k, *v;           /* rows [T/16, steps] and turned [T/32, wide] tiles */
    bf16_t *q;               /* columns [FWD_QUERIES/16, steps] */
    bf16_t *p;               /* pairs [SUBS, PATCHES, 2] */
    float *s;                /* blocks [SUBS, PATCHES] */
    float *ot;               /* O^T, blocks [SUBS, steps] */
    struct amx_lanes *lanes; /* [SUBS] */
    char *end;
};

static struct amx_forward amx_forward_of(int64_t T, int64_t hp, char *scratch)
{
    int64_t keys = (T + 31) / 32 * 32;
    struct amx_forward f;
    f.k = (bf16_t *)(void *)scratch;
    f.v = f.k + keys * hp;
    f.q = f.v + keys * hp;
    f.p = f.q + FWD_QUERIES * hp;
    f.s = (float *)(void *)(f.p + FWD_KEYS * FWD_QUERIES);
    f.ot = f.s + FWD_KEYS * FWD_QUERIES;
    f.lanes = (struct amx_lanes *)(void *)(f.ot + FWD_QUERIES * hp);
    f.end = (char *)(f.lanes + SUBS);
    return f;
}

size_t compute_x86_amx_forward_scratch(int64_t T, int64_t h)
{
    char base[1];
    return (size_t)(amx_forward_of(T, (h + 31) / 32 * 32, base).end - base);
}

/* ------------------------------------------------------------------ softmax */

/* Four keys of a patch from `key`, 16 queries at `half`: the vectors of probabilities. */
INLINE struct amx_four amx_probabilities(const struct amx_lanes *l, const struct amx_tanh *cap,
                                         const float *s, int64_t u, int half, struct amx_case of)
{
    vf c2 = v_load(l->c2 + half * VL), shift = v_load(l->shift + half * VL);
    struct amx_four x;
    EACH(k) x.v[k] = v_load(s + k * VL);
    x = amx_cap(cap, x, of.capped);
    EACH(k) x.v[k] = v_fms(x.v[k], c2, shift);
    x = amx_exp2(x, of.bounded);
    if (of.masked) {
        EACH(k) x.v[k] = v_keep(amx_visible(l, half * VL, u + k), x.v[k]);
    }
    return x;
}

/* One patch of scores to two tiles of probabilities; adds to the lanes' sums. */
INLINE void amx_softmax(const struct amx_head *w, struct amx_lanes *l, const float *s, int64_t u,
                        struct amx_case of, bf16_t *p)
{
    const struct amx_tanh cap = amx_tanh_of(w);
    for (int half = 0; half < 2; half++, p += TILE) {
        vf total = v_load(l->sum + half * VL);
        for (int tile = 0; tile < 2; tile++) {
            const float *from = s + tile * 512 + half * 256;
            bf16_t *to = p + tile * 256;
            for (int r = 0; r < 16; r += 4) {
                struct amx_four x =
                    amx_probabilities(l, &cap, from + r * VL, u + tile * 16 + r, half, of);
                total += (x.v[0] + x.v[1]) + (x.v[2] + x.v[3]);
                _mm512_storeu_si512(to + r * 16, amx_pair(x.v[0], x.v[1]));
                _mm512_storeu_si512(to + r * 16 + 32, amx_pair(x.v[2], x.v[3]));
            }
        }
        v_store(l->sum + half * VL, total);
    }
}

static void amx_softmax_patch(const struct amx_head *w, struct amx_lanes *l, const float *s,
                              int64_t u, bf16_t *p)
{
    bool masked = amx_needs_mask(l, u);
    if (w->bounded && !masked)
        amx_softmax(w, l, s, u, (struct amx_case){false, true, true}, p);
    else if (w->bounded)
        amx_softmax(w, l, s, u, (struct amx_case){true, true, true}, p);
    else if (w->capped)
        amx_softmax(w, l, s, u, (struct amx_case){true, true, false}, p);
    else
        amx_softmax(w, l, s, u, (struct amx_case){true, false, false}, p);
}

/* shift = the largest z of each query over the keys [u0, u1): all scores once more. */
static void amx_find_shift(const struct amx_head *w, struct amx_lanes *l, int64_t u0, int64_t u1,
                           const bf16_t *q, const struct amx_forward *f)
{
    const struct amx_tanh cap = amx_tanh_of(w);
    vf top[2] = {v_set1(AMX_NOTHING), v_set1(AMX_NOTHING)};
    for (int64_t u = u0; u < u1; u += PATCH) {
        amx_scores(w->steps, f->k + u * w->hp, q, f->s);
        for (int half = 0; half < 2; half++)
            for (int key = 0; key < PATCH; key += 4) {
                struct amx_four x;
                EACH(k) x.v[k] = v_load(f->s + amx_patch_at(key + k, half));
                x = amx_cap(&cap, x, w->capped);
                EACH(k)
                {
                    vf z = x.v[k] * v_load(l->c2 + half * VL);
                    vm seen = amx_visible(l, half * VL, u + key + k);
                    top[half] = v_max(top[half], v_select(seen, z, top[half]));
                }
            }
    }
    v_store(l->shift, top[0]);
    v_store(l->shift + VL, top[1]);
}

/* ------------------------------------------------------------------ blocks */

/* The patches of keys [u0, u1) that the queries of l see some of: [*from, *to). */
static void amx_patches_seen(const struct amx_lanes *l, int64_t u0, int64_t u1, int64_t *from,
                             int64_t *to)
{
    *from = MAX(l->key0 - u0, 0) / PATCH;
    *to = (MIN(l->t0 + l->count, u1) - u0 + PATCH - 1) / PATCH;
}

/* Keys [u0, u1), at most FWD_KEYS, for `subs` times 32 queries; `first` block of keys for them. */
static void amx_forward_block(const struct amx_head *w, int64_t subs, int64_t u0, int64_t u1,
                              bool first, const struct amx_forward *f)
{
    int64_t from[SUBS], to[SUBS];
    for (int64_t i = 0; i < subs; i++)
        amx_patches_seen(f->lanes + i, u0, u1, from + i, to + i);
    for (int64_t p = 0; p < PATCHES; p++)
        for (int64_t i = 0; i < subs; i++)
            if (p >= from[i] && p < to[i])
                amx_scores(w->steps, f->k + (u0 + p * PATCH) * w->hp, f->q + i * PATCH * w->hp,
                           f->s + (i * PATCHES + p) * BLOCK);
    for (int64_t i = 0; i < subs; i++)
        for (int64_t p = from[i]; p < to[i]; p++)
            amx_softmax_patch(w, f->lanes + i, f->s + (i * PATCHES + p) * BLOCK, u0 + p * PATCH,
                              f->p + (i * PATCHES + p) * 2 * TILE);
    for (int64_t i = 0; i < subs; i++)
        for (int64_t g = 0; g < w->steps; g++) {
            const bf16_t *v = f->v + (u0 + from[i] * PATCH) * w->hp + 2 * g * TILE;
            const bf16_t *p = f->p + (i * PATCHES + from[i]) * 2 * TILE;
            amx_product(MAX(to[i] - from[i], 0), (struct tile_operand){v, v + TILE, w->wide * TILE},
                        (struct tile_operand){p, p + TILE, 2 * TILE},
                        f->ot + (i * w->steps + g) * BLOCK, !first);
        }
}

static void amx_forward_out(const struct amx_head *w, const struct amx_lanes *l, const float *ot,
                            bf16_t *out, float *lse)
{
    int64_t count = l->count;
    const struct amx_out to = {out, w->a->ld_out, count, w->a->h};
    for (int half = 0; half < 2; half++) {
        int query[16];
        vf total = v_load(l->sum + half * VL);
        for (int i = 0; i < 16; i++)
            query[i] = half * VL + i;
        if (lse && half * VL < count)
            v_store_n(lse + half * VL,
                      v_fma(v_load(l->shift + half * VL), v_set1(LN_2), v_log(total)),
                      count - half * VL);
        for (int64_t d = 0; d < w->wide; d++)
            amx_turn_out(ot + d / 2 * BLOCK + (d % 2 * 2 + half) * 256, v_recip(total), query,
                         d * 16, to);
    }
}

/* Queries [t0, t1), at most FWD_QUERIES. */
static void amx_forward_queries(const struct amx_head *w, int64_t t0, int64_t t1, bf16_t *out,
                                float *lse, const struct amx_forward *f)
{
    const struct compute_attention *a = w->a;
    int64_t subs = (t1 - t0 + PATCH - 1) / PATCH, key0 = t0;
    const bf16_t *q = w->q + t0 * a->ld;
    tiles_pack_columns((struct tile_source){q, a->ld, t1 - t0, subs * PATCH, a->h}, f->q);
    for (int64_t i = 0; i < subs; i++) {
        int64_t t = t0 + i * PATCH;
        struct amx_lanes *l = f->lanes + i;
        amx_lanes_init(w, t, MIN(t1 - t, (int64_t)PATCH), l);
        key0 = MIN(key0, l->key0);
        if (!w->bounded)
            amx_find_shift(w, l, l->key0 / PATCH * PATCH, t + l->count, f->q + i * PATCH * w->hp,
                           f);
    }
    key0 = key0 / PATCH * PATCH;
    for (int64_t u = key0; u < t1; u += FWD_KEYS)
        amx_forward_block(w, subs, u, MIN(u + FWD_KEYS, t1), u == key0, f);
    for (int64_t i = 0; i < subs; i++) {
        int64_t t = t0 + i * PATCH;
        amx_forward_out(w, f->lanes + i, f->ot + i * w->steps * BLOCK, out + t * a->ld_out,
                        lse ? lse + t : NULL);
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
    tiles_pack_rows((struct tile_source){k, w.ld_kv, rows, padded, a->h}, f.k + u0 * w.hp);
    tiles_pack_turned((struct tile_source){v, w.ld_kv, rows, padded, a->h}, f.v + u0 * w.hp);
    bf16_t *out = (bf16_t *)a->out + b * a->T * a->ld_out + head * a->h;
    float *lse = a->lse ? a->lse + (b * a->H + head) * a->T : NULL;
    tiles_begin();
    for (int64_t t = t0; t < t1; t += FWD_QUERIES)
        amx_forward_queries(&w, t, MIN(t1, t + FWD_QUERIES), out, lse, &f);
    tiles_end();
}
