/* compute_x86_paged_internal.h: attention over keys and values in pages, for decoding.
 *
 * Some query heads that share a key head, of up to COMPUTE_RUN neighbouring positions, are the rows
 * of two products on blocks of PAGED_KEYS keys: S = Q K^T, keys along the lanes (pages hold them
 * turned), and O += P V, the head along the lanes. So one query fills vectors as well as many do, and
 * every number is one chain of multiply-adds in the order of the summed index: the same bits however
 * rows are put together. For that, blocks of keys begin at multiples of PAGED_KEYS; each row has its
 * own maximum, its own sum by lanes, and its own range of keys, beyond which nothing is added to it.
 * Where a window hides a block's first keys from a row, they get no weight in it.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c only (see compute_x86_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_X86_PAGED_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PAGED_INTERNAL_H

#include "compute/x86/compute_x86_attention_internal.h"

enum { PAGED_KEYS = 8 * COMPUTE_PAGE };

struct paged_rows {
    const struct compute_paged *p;
    const struct compute_paged_run *run;
    int64_t kv, rows, hp; /* key head; queries times heads; h rounded up to whole vectors */
    bool capped, bounded; /* bounded: no running maximum, see ATT_BOUND */
    float to_tanh, to_log2;
    float *q, *s, *o;          /* [rows, h], [rows, PAGED_KEYS], [rows, hp] */
    float *page;               /* widened keys [h, PAGE] or values [PAGE, hp] */
    float *c2, *sum, *largest; /* [rows] */
};

static size_t x86_paged_scratch(int64_t rows, int64_t h)
{
    int64_t hp = (h + VL - 1) / VL * VL;
    return (size_t)(rows * (hp + PAGED_KEYS + hp + 3) + COMPUTE_PAGE * hp + 64) * sizeof(float);
}

/* Row r is query r % n of head head + r / n. */
static struct paged_rows paged_rows_of(const struct compute_paged *p, int64_t run, int64_t head,
                                       int64_t heads, float *scratch)
{
    int64_t hp = (p->h + VL - 1) / VL * VL, n = p->runs[run].n, rows = n * heads;
    bool capped = p->cap > 0;
    struct paged_rows w = {.p = p, .run = &p->runs[run], .rows = rows, .hp = hp, .capped = capped};
    w.kv = head / (p->H / p->K);
    w.bounded = capped && p->temperature_len == 0 && p->cap * LOG2_E <= ATT_BOUND;
    w.to_tanh = capped ? p->multiplier / p->cap : p->multiplier;
    w.to_log2 = capped ? p->cap * LOG2_E : LOG2_E;
    w.s = scratch;
    w.o = w.s + rows * PAGED_KEYS;
    w.page = w.o + rows * hp;
    w.q = w.page + COMPUTE_PAGE * hp;
    w.c2 = w.q + rows * hp;
    w.sum = w.c2 + rows;
    w.largest = w.sum + rows;
    for (int64_t r = 0; r < rows; r++) {
        const act_t *q = (const act_t *)p->q + (w.run->row + r % n) * p->ld;
        att_widen(q + (head + r / n) * p->h, p->ld, 1, p->h, hp, w.q + r * hp);
        w.sum[r] = 0;
        w.largest[r] = w.bounded ? 0 : ATT_NOTHING;
    }
    memset(w.o, 0, (size_t)(rows * hp) * sizeof(float));
    for (int64_t i = 0; i < heads; i++)
        compute_x86_temperatures(w.run->pos, n, p->temperature_len, w.to_log2, w.c2 + i * n);
    return w;
}

/* Keys that row r sees of those before position `end`. */
INLINE int64_t paged_seen(const struct paged_rows *w, int64_t r, int64_t end)
{
    return MIN(w->run->pos + r % w->run->n + 1, end);
}

/* The first position that row r sees. */
INLINE int64_t paged_first(const struct paged_rows *w, int64_t r)
{
    int64_t window = w->p->window;
    return window ? MAX(w->run->pos + r % w->run->n + 1 - window, 0) : 0;
}

/* This key head's part of the page of position u: keys, then values. */
static const act_t *paged_part(const struct paged_rows *w, int64_t u, bool values)
{
    const char *page = w->run->pages[u / COMPUTE_PAGE];
    return (const act_t *)(const void *)(page + w->p->at) +
           ((values ? w->p->K : 0) + w->kv) * w->p->h * COMPUTE_PAGE;
}

/* The keys of a page as floats, [h, PAGE]. */
static const float *paged_keys(const struct paged_rows *w, int64_t u)
{
    const act_t *k = paged_part(w, u, false);
#if ACT_IS_BF16
    x86_from_act((size_t)(w->p->h * COMPUTE_PAGE), k, w->page);
    return w->page;
#else
    return k;
#endif
}

/* The values of a page as floats, [PAGE, hp]. */
static const float *paged_values(const struct paged_rows *w, int64_t u)
{
    const act_t *v = paged_part(w, u, true);
#if !ACT_IS_BF16
    if (w->p->h == w->hp) return v;
#endif
    att_widen(v, w->p->h, COMPUTE_PAGE, w->p->h, w->hp, w->page);
    return w->page;
}

/* Lanes of the n keys from key i of a block on that are there and that the window leaves. */
INLINE vm paged_lanes(int64_t i, int64_t n, int64_t hidden)
{
    vm seen = v_less_equal(vi_set1((int32_t)hidden), vi_iota((int32_t)i));
    return n < VL ? v_mask_and(seen, v_mask_first(n)) : seen;
}

/* Scores of one row's n keys, of which a window hides the first, to unnormalised probabilities;
 * returns what earlier sums and O must be multiplied with. */
INLINE float paged_softmax(const struct paged_rows *w, int64_t r, int64_t hidden, int64_t n_keys,
                           float *s)
{
    vf c2 = v_set1(w->c2[r]), top = v_set1(w->largest[r]), total = v_zero();
    if (!w->bounded) {
        VECTOR_LOOP(i, n, n_keys, {
            vf x = v_load_n(s + i, n) * v_set1(w->to_tanh);
            vf z = (w->capped ? v_tanh(x) : x) * c2;
            v_store_n(s + i, z, n);
            bool some = n < VL || hidden > 0;
            top = v_max(top, some ? v_select(paged_lanes(i, n, hidden), z, top) : z);
        });
        top = v_set1(v_largest(top));
    }
    VECTOR_LOOP(i, n, n_keys, {
        vf z = v_load_n(s + i, n);
        if (w->bounded) z = v_tanh(z * v_set1(w->to_tanh)) * c2;
        vf p = v_exp2(z - top);
        if (hidden > 0) p = v_keep(paged_lanes(i, n, hidden), p);
        v_store_n(s + i, p, n);
        total += n < VL ? v_keep(v_mask_first(n), p) : p;
    });
    float old = w->largest[r], shrink = 1, sum = v_sum(total);
    v_store_n(&w->largest[r], top, 1);
    if (w->largest[r] != old) v_store_n(&shrink, v_exp2(v_set1(old) - top), 1);
    w->sum[r] = w->sum[r] * shrink + sum;
    return shrink;
}

/* Keys [u0, u1) of a block: scores, probabilities, and their part of O. */
static void paged_block(const struct paged_rows *w, int64_t u0, int64_t u1)
{
    int64_t h = w->p->h, hp = w->hp;
    for (int64_t u = u0; u < u1; u += COMPUTE_PAGE)
        gemm(w->rows, COMPUTE_PAGE,
             (struct gemm_operands){h, w->q, hp, 1, paged_keys(w, u), COMPUTE_PAGE, w->s + (u - u0),
                                    PAGED_KEYS, false});
    for (int64_t r = 0; r < w->rows; r++) {
        int64_t keys = paged_seen(w, r, u1) - u0;
        if (keys <= 0) continue;
        int64_t hidden = MIN(paged_first(w, r) - u0, keys);
        float *s = w->s + r * PAGED_KEYS;
        float shrink =
            hidden > 0 ? paged_softmax(w, r, hidden, keys, s) : paged_softmax(w, r, 0, keys, s);
        if (shrink == 1.0f) continue;
        for (int64_t d = 0; d < hp; d += VL)
            v_store(w->o + r * hp + d, v_load(w->o + r * hp + d) * v_set1(shrink));
    }
    for (int64_t u = u0; u < u1; u += COMPUTE_PAGE) {
        int64_t end = u + COMPUTE_PAGE;
        const float *v = paged_values(w, u), *p = w->s + (u - u0);
        if (w->run->pos + 1 >= end) { /* every row sees the whole page */
            gemm(w->rows, hp,
                 (struct gemm_operands){COMPUTE_PAGE, p, PAGED_KEYS, 1, v, hp, w->o, hp, true});
            continue;
        }
        for (int64_t r = 0; r < w->rows; r++)
            gemm(1, hp,
                 (struct gemm_operands){paged_seen(w, r, end) - u, p + r * PAGED_KEYS, PAGED_KEYS,
                                        1, v, hp, w->o + r * hp, hp, true});
    }
}

static void x86_paged_attention(const struct compute_paged *p, int64_t run, int64_t head,
                                int64_t heads, void *scratch)
{
    struct paged_rows w = paged_rows_of(p, run, head, heads, scratch);
    int64_t n = w.run->n, end = w.run->pos + n;
    for (int64_t u = paged_first(&w, 0) / PAGED_KEYS * PAGED_KEYS; u < end; u += PAGED_KEYS)
        paged_block(&w, u, MIN(u + PAGED_KEYS, end));
    for (int64_t r = 0; r < w.rows; r++) {
        act_t *out = (act_t *)p->out + (w.run->row + r % n) * p->ld_out + (head + r / n) * p->h;
        vf factor = v_set1(1.0f / w.sum[r]);
        VECTOR_LOOP(d, m, p->h,
                    { act_store_n(out + d, factor * v_load_n(w.o + r * w.hp + d, m), m); });
    }
}

#endif
