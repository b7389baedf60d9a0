/* compute_x86_attention_amx.c: attention for bfloat16 activations by AMX tiles, forward.
 *
 * The same algorithm and the same transposed scores as compute_x86_attention_internal.h, by patches
 * of 32 keys and 32 queries, with every product done by tiles of bf16 with fp32 sums:
 *
 *   S^T = K Q^T      K as rows, Q packed by columns
 *   O^T += V^T P^T   V turned, P^T by pairs of keys
 *
 * Patches are taken query by query block, keys inside, as one sequence, so that the weaving of tile
 * and vector work (compute_x86_attention_amx_internal.h) runs on from one to the next. Where the
 * scores are bounded (Grok's cap of 30) there is no running maximum. Where they are not, all
 * scores are first computed once more for the exact maximum, which needs no rescaling of O
 * anywhere. Probabilities are rounded to bf16 for the second product, as the published model does;
 * sums stay fp32.
 *
 * The head's width is padded to a multiple of 32 with zeros. docs/decisions/attention.md has the
 * counts and the measurements. */
#include <math.h>

#include "compute/x86/compute_x86_attention_amx_internal.h"

enum {
    FWD_QUERIES = 256, /* packed and worked on at a time */
    FEW = 8            /* queries that are not worth packing keys for */
};

struct amx_forward {
    bf16_t *k, *v;           /* rows [T/16, steps] and turned [T/32, wide] tiles */
    bf16_t *q;               /* columns [FWD_QUERIES/16, steps] */
    bf16_t *p[2];            /* pairs, two tiles each, of this patch and of the last */
    float *s[2];             /* scores of this patch and of the next */
    float *ot;               /* O^T [FWD_QUERIES/32, steps] blocks */
    struct amx_lanes *lanes; /* [FWD_QUERIES/32] */
    struct amx_jobs *jobs;
    char *end;
};

static struct amx_forward amx_forward_of(int64_t T, int64_t hp, char *scratch)
{
    int64_t keys = (T + 31) / 32 * 32;
    struct amx_forward f;
    f.k = (bf16_t *)(void *)scratch;
    f.v = f.k + keys * hp;
    f.q = f.v + keys * hp;
    f.p[0] = f.q + FWD_QUERIES * hp;
    f.p[1] = f.p[0] + 2 * TILE;
    f.s[0] = (float *)(void *)(f.p[1] + 2 * TILE);
    f.s[1] = f.s[0] + BLOCK;
    f.ot = f.s[1] + BLOCK;
    f.lanes = (struct amx_lanes *)(void *)(f.ot + FWD_QUERIES * hp);
    f.jobs = (struct amx_jobs *)(void *)(f.lanes + FWD_QUERIES / PATCH);
    f.end = (char *)(f.jobs + 1);
    return f;
}

size_t compute_x86_amx_forward_scratch(int64_t T, int64_t h)
{
    char base[1];
    return (size_t)(amx_forward_of(T, (h + 31) / 32 * 32, base).end - base);
}

/* ------------------------------------------------------------------ softmax */

/* One patch of scores to two tiles of probabilities; adds to the lanes' sums. */
INLINE void amx_softmax(const struct amx_head *w, struct amx_lanes *l, const float *s, int64_t u,
                        bool masked, bool capped, bool bounded, bf16_t *p, struct amx_jobs *jobs)
{
    const struct amx_tanh tanh_ = amx_tanh_of(w);
    amx_jobs_begin(jobs, PATCH);
    for (int half = 0; half < 2; half++) {
        int lane = half * VL;
        vf c2 = v_load(l->c2 + lane), shift = v_load(l->shift + lane),
           total = v_load(l->sum + lane);
        for (int i = 0; i < 16; i++) {
            vf z[2];
            UNROLL
            for (int odd = 0; odd < 2; odd++) {
                int key = 2 * i + odd;
                vf x = v_load(s + key / 16 * 512 + half * 256 + key % 16 * 16);
                vf t = x * v_set1(w->to_tanh);
                if (capped) t = amx_tanh(&tanh_, x);
                z[odd] = amx_exp2(v_fms(t, c2, shift), bounded);
                if (masked) z[odd] = v_keep(amx_visible(l, lane, u + key), z[odd]);
            }
            total += z[0] + z[1];
            _mm512_storeu_si512(p + half * TILE + i * 32, amx_pair(z[0], z[1]));
            amx_jobs_row(jobs, PATCH);
        }
        v_store(l->sum + lane, total);
    }
}

static void amx_softmax_patch(const struct amx_head *w, struct amx_lanes *l, const float *s,
                              int64_t u, bf16_t *p, struct amx_jobs *jobs)
{
    bool masked = amx_needs_mask(l, u);
    if (w->bounded && !masked)
        amx_softmax(w, l, s, u, false, true, true, p, jobs);
    else if (w->bounded)
        amx_softmax(w, l, s, u, true, true, true, p, jobs);
    else if (w->capped)
        amx_softmax(w, l, s, u, true, true, false, p, jobs);
    else
        amx_softmax(w, l, s, u, true, false, false, p, jobs);
}

/* shift = the largest z of each query over the keys [u0, u1): all scores once more. */
static void amx_find_shift(const struct amx_head *w, struct amx_lanes *l, int64_t u0, int64_t u1,
                           const bf16_t *q, const struct amx_forward *f)
{
    const struct amx_tanh tanh_ = amx_tanh_of(w);
    vf top[2] = {v_set1(AMX_NOTHING), v_set1(AMX_NOTHING)};
    for (int64_t u = u0; u < u1; u += PATCH) {
        amx_jobs_clear(f->jobs);
        amx_jobs_add_scores(f->jobs, w->steps, f->k + u * w->hp, q, f->s[0]);
        amx_jobs_finish(f->jobs);
        for (int half = 0; half < 2; half++)
            for (int key = 0; key < PATCH; key++) {
                vf x = v_load(f->s[0] + key / 16 * 512 + half * 256 + key % 16 * 16);
                vf t = x * v_set1(w->to_tanh);
                if (w->capped) t = amx_tanh(&tanh_, x);
                vf z = t * v_load(l->c2 + half * VL);
                top[half] =
                    v_max(top[half], v_select(amx_visible(l, half * VL, u + key), z, top[half]));
            }
    }
    v_store(l->shift, top[0]);
    v_store(l->shift + VL, top[1]);
}

/* ------------------------------------------------------------------ the sequence of patches */

/* Patch (q, u): query block q of the chunk, keys from u; buffers alternate. */
struct amx_place {
    int64_t q, u;
    int flip;
    bool first; /* of its query block */
};

struct amx_chunk {
    int64_t t0, t1, parts; /* queries, in blocks of PATCH */
};

static int64_t amx_key_end(const struct amx_chunk *c, int64_t q)
{
    int64_t last = MIN(c->t0 + (q + 1) * PATCH, c->t1);
    return (last + PATCH - 1) / PATCH * PATCH;
}

static struct amx_place amx_place_next(const struct amx_chunk *c, const struct amx_forward *f,
                                       struct amx_place at)
{
    at.u += PATCH;
    at.flip ^= 1;
    at.first = false;
    if (at.u >= amx_key_end(c, at.q)) {
        at.q++;
        at.first = true;
        if (at.q < c->parts) at.u = f->lanes[at.q].key0 / PATCH * PATCH;
    }
    return at;
}

static void amx_add_scores(const struct amx_head *w, const struct amx_forward *f,
                           struct amx_place at)
{
    amx_jobs_add_scores(f->jobs, w->steps, f->k + at.u * w->hp, f->q + at.q * PATCH * w->hp,
                        f->s[at.flip]);
}

static void amx_add_values(const struct amx_head *w, const struct amx_forward *f,
                           struct amx_place at)
{
    for (int64_t g = 0; g < w->steps; g++) {
        const bf16_t *v = f->v + at.u * w->hp + 2 * g * TILE, *p = f->p[at.flip];
        amx_jobs_add(f->jobs, (struct amx_job){v, v + TILE, p, p + TILE, 0, 0, 1,
                                               f->ot + (at.q * w->steps + g) * BLOCK, !at.first});
    }
}

/* All patches of a chunk of queries. */
static void amx_forward_patches(const struct amx_head *w, const struct amx_chunk *c,
                                const struct amx_forward *f)
{
    struct amx_place at = {.q = 0, .u = f->lanes[0].key0 / PATCH * PATCH, .first = true};
    struct amx_place next, last = at;
    amx_jobs_clear(f->jobs);
    amx_add_scores(w, f, at);
    amx_jobs_finish(f->jobs);
    for (bool begun = false; at.q < c->parts; last = at, at = next, begun = true) {
        next = amx_place_next(c, f, at);
        amx_jobs_clear(f->jobs);
        if (next.q < c->parts) amx_add_scores(w, f, next);
        if (begun) amx_add_values(w, f, last);
        amx_softmax_patch(w, f->lanes + at.q, f->s[at.flip], at.u, f->p[at.flip], f->jobs);
        amx_jobs_finish(f->jobs);
    }
    amx_jobs_clear(f->jobs);
    amx_add_values(w, f, last);
    amx_jobs_finish(f->jobs);
}

static void amx_forward_out(const struct amx_head *w, const struct amx_lanes *l, const float *ot,
                            int64_t count, bf16_t *out, float *lse)
{
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
                         count, d * 16, w->a->h, out, w->a->ld_out);
    }
}

static void amx_forward_chunk(const struct amx_head *w, int64_t t0, int64_t t1, bf16_t *out,
                              float *lse, const struct amx_forward *f)
{
    const struct compute_attention *a = w->a;
    struct amx_chunk c = {t0, t1, (t1 - t0 + PATCH - 1) / PATCH};
    tiles_pack_columns(w->q + t0 * a->ld, a->ld, t1 - t0, c.parts * PATCH, a->h, f->q);
    for (int64_t q = 0; q < c.parts; q++) {
        int64_t t = t0 + q * PATCH;
        struct amx_lanes *l = f->lanes + q;
        amx_lanes_init(w, t, MIN(t1 - t, (int64_t)PATCH), l);
        if (!w->bounded)
            amx_find_shift(w, l, l->key0 / PATCH * PATCH, amx_key_end(&c, q),
                           f->q + q * PATCH * w->hp, f);
    }
    amx_forward_patches(w, &c, f);
    for (int64_t q = 0; q < c.parts; q++) {
        int64_t t = t0 + q * PATCH;
        amx_forward_out(w, f->lanes + q, f->ot + q * w->steps * BLOCK, MIN(t1 - t, (int64_t)PATCH),
                        out + t * a->ld_out, lse ? lse + t : NULL);
    }
}

void compute_x86_amx_attention_forward(const struct compute_attention *a, int64_t b, int64_t head,
                                       int64_t t0, int64_t t1, void *scratch)
{
    if (t1 - t0 <= FEW || a->h > AMX_MAX_WIDTH) {
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
    for (int64_t t = t0; t < t1; t += FWD_QUERIES)
        amx_forward_chunk(&w, t, MIN(t1, t + FWD_QUERIES), out, lse, &f);
    tiles_end();
}
