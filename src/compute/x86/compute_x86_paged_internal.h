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
 * Every block is summed up for itself, and then put to those before it, in their order. So blocks may
 * be different threads' without a bit that changes.
 *
 * The products are those of fp32 vectors, or where the including file says PAGED_BY_DOT those of pairs
 * of bfloat16; probabilities are rounded to bfloat16 then, and their exponentials need no more.
 *
 * Included by compute_x86_{f32,bf16}_{avx2,avx512}.c (see compute_x86_act_internal.h) and
 * compute_x86_paged_avx512bf16.c only. */
#ifndef COLOSSUS_COMPUTE_X86_PAGED_INTERNAL_H
#define COLOSSUS_COMPUTE_X86_PAGED_INTERNAL_H

#include "compute/x86/compute_x86_scores_internal.h"
#ifdef PAGED_BY_DOT
#    include "compute/x86/compute_x86_paged_dot_internal.h"
#else
#    include "compute/x86/compute_x86_gemm_internal.h"
#    include "compute/x86/compute_x86_norms_internal.h"
#endif

enum { PAGED_KEYS = COMPUTE_PAGED_BLOCK };

/* An element of the products' operands. */
#ifdef PAGED_BY_DOT
typedef bf16_t paged_t;
#    define paged_exp2(x) v_exp2_low(x)
#    define paged_tanh(x) v_tanh_low(x)
#else
typedef float paged_t;
#    define paged_exp2(x) v_exp2(x)
#    define paged_tanh(x) v_tanh(x)
#endif

struct paged_rows {
    const struct compute_paged *p;
    const struct compute_paged_run *run;
    int64_t kv, rows, hp; /* key head; queries times heads; h rounded up to whole vectors */
    bool capped, bounded; /* bounded: no running maximum, see ATT_BOUND */
    float to_tanh, to_log2;
    float *s;                 /* [rows, PAGED_KEYS] */
    float *page;              /* keys [h, PAGE] or values [PAGE, hp], or words of pairs of them */
    float *c2;                /* [rows] */
    float *o, *sum, *largest; /* of a block: [rows, hp], [rows], [rows] */
    paged_t *q, *prob;        /* [rows, hp], [rows, PAGED_KEYS], which may be s */
};

static size_t x86_paged_scratch(int64_t rows, int64_t h)
{
    int64_t hp = (h + VL - 1) / VL * VL;
    return (size_t)(rows * (3 * hp + 2 * PAGED_KEYS + 5) + COMPUTE_PAGE * hp + 64) * sizeof(float);
}

/* What a block of keys comes to, for all rows: w->o and behind it the others. */
static size_t x86_paged_floats(int64_t rows, int64_t h)
{
    int64_t hp = (h + VL - 1) / VL * VL;
    return (size_t)(rows * (hp + 2) + VL - 1) / VL * VL;
}

static void paged_sums(struct paged_rows *w, float *at)
{
    w->o = at;
    w->sum = at + w->rows * w->hp;
    w->largest = w->sum + w->rows;
}

static void paged_clear(struct paged_rows *w)
{
    memset(w->o, 0, (size_t)(w->rows * (w->hp + 1)) * sizeof(float));
    for (int64_t r = 0; r < w->rows; r++)
        w->largest[r] = w->bounded ? 0 : ATT_NOTHING;
}

/* Row r is query r % n of head head + r / n. Of the scratch, two blocks' sums are at its beginning. */
static struct paged_rows paged_rows_of(const struct compute_paged_part *t, float *scratch)
{
    const struct compute_paged *p = t->p;
    int64_t hp = (p->h + VL - 1) / VL * VL, n = p->runs[t->run].n, rows = n * t->heads;
    bool capped = p->cap > 0;
    struct paged_rows w = {.p = p, .rows = rows, .hp = hp, .capped = capped};
    w.run = &p->runs[t->run];
    w.kv = t->head / (p->H / p->K);
    w.bounded = capped && p->temperature_len == 0 && p->cap * LOG2_E <= ATT_BOUND;
    w.to_tanh = capped ? p->multiplier / p->cap : p->multiplier;
    w.to_log2 = capped ? p->cap * LOG2_E : LOG2_E;
    w.s = scratch + 2 * x86_paged_floats(rows, p->h);
    w.page = w.s + rows * PAGED_KEYS;
    w.c2 = w.page + COMPUTE_PAGE * hp;
    w.q = (paged_t *)(void *)(w.c2 + rows);
    w.prob = w.q + rows * hp;
    for (int64_t r = 0; r < rows; r++) {
        const act_t *q =
            (const act_t *)p->q + (w.run->row + r % n) * p->ld + (t->head + r / n) * p->h;
#ifdef PAGED_BY_DOT
        memcpy(w.q + r * hp, q, (size_t)p->h * sizeof(*q));
#else
        att_widen(q, p->ld, 1, p->h, hp, w.q + r * hp);
#endif
    }
    for (int64_t i = 0; i < t->heads; i++)
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

/* Rows [row, row + rows) and keys [at, at + n) of a block, which these rows see. */
struct paged_piece {
    int64_t row, rows, at, n;
};

#ifdef PAGED_BY_DOT

/* Scores of all rows with the keys of a page, to s [rows, PAGED_KEYS] from a column on. */
static void paged_scores(const struct paged_rows *w, int64_t u, float *s)
{
    uint32_t *pairs = (uint32_t *)(void *)w->page;
    dot_pair_keys(w->p->h, paged_part(w, u, false), pairs);
    dot_product(w->rows, COMPUTE_PAGE,
                (struct dot_operands){w->p->h / 2, (const uint32_t *)(const void *)w->q, w->hp / 2,
                                      pairs, COMPUTE_PAGE, s, PAGED_KEYS, false});
}

/* O of the piece's rows += their probabilities of its keys times these keys' values. */
static void paged_add(const struct paged_rows *w, const float *v, struct paged_piece of)
{
    const bf16_t *p = w->prob + of.row * PAGED_KEYS + of.at;
    dot_product(of.rows, w->hp,
                (struct dot_operands){(of.n + 1) / 2, (const uint32_t *)(const void *)p,
                                      PAGED_KEYS / 2, (const uint32_t *)(const void *)v, w->hp,
                                      w->o + of.row * w->hp, w->hp, true});
}

/* The values of a page, for paged_add; of those that no row of the run sees, none. */
static const float *paged_values(const struct paged_rows *w, int64_t u)
{
    int64_t n = MIN(COMPUTE_PAGE, w->run->pos + w->run->n - u);
    dot_pair_values(w->p->h, n, paged_part(w, u, true), (uint32_t *)(void *)w->page);
    return w->page;
}

#else

static void paged_scores(const struct paged_rows *w, int64_t u, float *s)
{
    const act_t *k = paged_part(w, u, false);
#    if ACT_IS_BF16
    x86_from_act((size_t)(w->p->h * COMPUTE_PAGE), k, w->page);
    const float *keys = w->page;
#    else
    const float *keys = k;
#    endif
    gemm(w->rows, COMPUTE_PAGE,
         (struct gemm_operands){w->p->h, w->q, w->hp, 1, keys, COMPUTE_PAGE, s, PAGED_KEYS, false});
}

static const float *paged_values(const struct paged_rows *w, int64_t u)
{
    const act_t *v = paged_part(w, u, true);
#    if !ACT_IS_BF16
    if (w->p->h == w->hp) return v;
#    endif
    att_widen(v, w->p->h, COMPUTE_PAGE, w->p->h, w->hp, w->page);
    return w->page;
}

static void paged_add(const struct paged_rows *w, const float *v, struct paged_piece of)
{
    const float *p = w->s + of.row * PAGED_KEYS + of.at;
    gemm(of.rows, w->hp,
         (struct gemm_operands){of.n, p, PAGED_KEYS, 1, v, w->hp, w->o + of.row * w->hp, w->hp,
                                true});
}

#endif

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
            vf z = (w->capped ? paged_tanh(x) : x) * c2;
            v_store_n(s + i, z, n);
            bool some = n < VL || hidden > 0;
            top = v_max(top, some ? v_select(paged_lanes(i, n, hidden), z, top) : z);
        });
        top = v_set1(v_largest(top));
    }
    VECTOR_LOOP(i, n, n_keys, {
        vf z = v_load_n(s + i, n);
        if (w->bounded) z = paged_tanh(z * v_set1(w->to_tanh)) * c2;
        vf p = paged_exp2(z - top);
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

/* Of a row's `keys` keys from u0 on its probabilities, of the block the largest score. */
static void paged_weigh(const struct paged_rows *w, int64_t r, int64_t u0, int64_t keys)
{
    int64_t hidden = MIN(paged_first(w, r) - u0, keys);
    float *s = w->s + r * PAGED_KEYS;
    float shrink =
        hidden > 0 ? paged_softmax(w, r, hidden, keys, s) : paged_softmax(w, r, 0, keys, s);
#ifdef PAGED_BY_DOT
    dot_round(keys, s, w->prob + r * PAGED_KEYS);
#endif
    if (shrink == 1.0f) return;
    for (int64_t d = 0; d < w->hp; d += VL)
        v_store(w->o + r * w->hp + d, v_load(w->o + r * w->hp + d) * v_set1(shrink));
}

/* Keys [u0, u1) of a block: scores, probabilities, and their part of O. */
static void paged_block(const struct paged_rows *w, int64_t u0, int64_t u1)
{
    for (int64_t u = u0; u < u1; u += COMPUTE_PAGE)
        paged_scores(w, u, w->s + (u - u0));
    for (int64_t r = 0; r < w->rows; r++) {
        int64_t keys = paged_seen(w, r, u1) - u0;
        if (keys > 0) paged_weigh(w, r, u0, keys);
    }
    for (int64_t u = u0; u < u1; u += COMPUTE_PAGE) {
        int64_t end = u + COMPUTE_PAGE;
        const float *v = paged_values(w, u);
        if (w->run->pos + 1 >= end) { /* every row sees the whole page */
            paged_add(w, v, (struct paged_piece){0, w->rows, u - u0, COMPUTE_PAGE});
            continue;
        }
        for (int64_t r = 0; r < w->rows; r++) {
            int64_t n = paged_seen(w, r, end) - u;
            if (n > 0) paged_add(w, v, (struct paged_piece){r, 1, u - u0, n});
        }
    }
}

/* The b-th block of keys that the run's first row sees, summed up. */
static void paged_sum_block(struct paged_rows *w, int64_t b)
{
    int64_t u = (paged_first(w, 0) / PAGED_KEYS + b) * PAGED_KEYS;
    paged_clear(w);
    paged_block(w, u, MIN(u + PAGED_KEYS, w->run->pos + w->run->n));
}

/* A factor for what was summed with a largest score of `from`. */
INLINE float paged_shrink(float from, float to)
{
    float shrink = 1;
    if (from != to) v_store_n(&shrink, v_exp2(v_set1(from) - v_set1(to)), 1);
    return shrink;
}

/* What is in w, of the b-th block, is put to what its earlier blocks came to. */
static void paged_put(const struct paged_rows *w, int64_t b, struct paged_rows *all)
{
    int64_t u = (paged_first(w, 0) / PAGED_KEYS + b) * PAGED_KEYS;
    for (int64_t r = 0; r < w->rows; r++) {
        if (paged_seen(w, r, u + PAGED_KEYS) <= u) continue;
        float top = fmaxf(all->largest[r], w->largest[r]);
        float old = paged_shrink(all->largest[r], top), new = paged_shrink(w->largest[r], top);
        float *to = all->o + r * w->hp;
        const float *from = w->o + r * w->hp;
        for (int64_t d = 0; d < w->hp; d += VL)
            v_store(to + d, v_fma(v_load(from + d), v_set1(new), v_load(to + d) * v_set1(old)));
        all->sum[r] = all->sum[r] * old + w->sum[r] * new;
        all->largest[r] = top;
    }
}

static void paged_finish(const struct paged_rows *all, int64_t head)
{
    const struct compute_paged *p = all->p;
    int64_t n = all->run->n;
    for (int64_t r = 0; r < all->rows; r++) {
        act_t *out = (act_t *)p->out + (all->run->row + r % n) * p->ld_out + (head + r / n) * p->h;
        vf factor = v_set1(1.0f / all->sum[r]);
        VECTOR_LOOP(d, m, p->h,
                    { act_store_n(out + d, factor * v_load_n(all->o + r * all->hp + d, m), m); });
    }
}

static void x86_paged_sum(const struct compute_paged_part *t, void *scratch)
{
    struct paged_rows w = paged_rows_of(t, scratch);
    size_t floats = x86_paged_floats(w.rows, t->p->h);
    for (int64_t b = t->first; b < t->first + t->n; b++) {
        paged_sums(&w, t->sums + (size_t)b * floats);
        paged_sum_block(&w, b);
    }
}

static void x86_paged_join(const struct compute_paged_part *t, void *scratch)
{
    struct paged_rows w = paged_rows_of(t, scratch), all = w;
    size_t floats = x86_paged_floats(w.rows, t->p->h);
    paged_sums(&all, scratch);
    paged_clear(&all);
    for (int64_t b = 0; b < t->n; b++) {
        paged_sums(&w, t->sums + (size_t)b * floats);
        paged_put(&w, b, &all);
    }
    paged_finish(&all, t->head);
}

static void x86_paged_attention(const struct compute_paged_part *t, void *scratch)
{
    struct paged_rows w = paged_rows_of(t, scratch), all = w;
    paged_sums(&all, scratch);
    paged_sums(&w, (float *)scratch + x86_paged_floats(w.rows, t->p->h));
    paged_clear(&all);
    for (int64_t b = 0; b < t->n; b++) {
        paged_sum_block(&w, b);
        paged_put(&w, b, &all);
    }
    paged_finish(&all, t->head);
}

#endif
