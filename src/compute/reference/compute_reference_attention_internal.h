/* compute_reference_attention_internal.h: reference attention, one query at a time: the scores of
 * a query live in one row of T floats, so nothing grows with T squared.
 *
 * Included by compute_reference_{f32,bf16}.c only (see compute_reference_act_internal.h). */
#ifndef COLOSSUS_COMPUTE_REFERENCE_ATTENTION_INTERNAL_H
#define COLOSSUS_COMPUTE_REFERENCE_ATTENTION_INTERNAL_H

#include "compute/reference/compute_reference_act_internal.h"

/* Scores of one query [T], gradient of one query [h], gradients of all keys and values [T, h]. */
static size_t ref_attention_scratch(int64_t T, int64_t h)
{
    return (size_t)(T + h + 2 * T * h) * sizeof(float);
}

/* One query head of one sequence, with its key head. */
struct attention_view {
    const act_t *q, *k, *v;
    int64_t ld_kv, first; /* first: the first key this query may see */
    float temperature;
};

static struct attention_view attention_view(const struct compute_attention *a, int64_t b,
                                            int64_t head, int64_t t)
{
    int64_t kv = head / (a->H / a->K), ld_kv = a->ld;
    return (struct attention_view){
        .q = (const act_t *)a->q + (b * a->T + t) * a->ld + head * a->h,
        .k = (const act_t *)a->k + b * a->T * ld_kv + kv * a->h,
        .v = (const act_t *)a->v + b * a->T * ld_kv + kv * a->h,
        .ld_kv = ld_kv,
        .first = a->doc_start ? a->doc_start[b * a->T + t] : 0,
        .temperature = compute_reference_temperature(t, a->temperature_len),
    };
}

static float act_dot(int64_t n, const act_t *x, const act_t *y)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++)
        sum += (double)act_load(x[i]) * act_load(y[i]);
    return (float)sum;
}

/* The capped score before the temperature. */
static float attention_score(const struct compute_attention *a, const struct attention_view *w,
                             int64_t u)
{
    return compute_reference_cap(a->multiplier * act_dot(a->h, w->q, w->k + u * w->ld_kv), a->cap);
}

static void ref_attention_forward(const struct compute_attention *a, int64_t b, int64_t head,
                                  int64_t t0, int64_t t1, void *scratch)
{
    float *score = scratch;
    for (int64_t t = t0; t < t1; t++) {
        struct attention_view w = attention_view(a, b, head, t);
        act_t *out = (act_t *)a->out + (b * a->T + t) * a->ld_out + head * a->h;
        float largest = -INFINITY;
        for (int64_t u = w.first; u <= t; u++) {
            score[u] = attention_score(a, &w, u) * w.temperature;
            largest = fmaxf(largest, score[u]);
        }
        double sum = 0;
        for (int64_t u = w.first; u <= t; u++) {
            score[u] = expf(score[u] - largest);
            sum += (double)score[u];
        }
        for (int64_t d = 0; d < a->h; d++) {
            double o = 0;
            for (int64_t u = w.first; u <= t; u++)
                o += (double)score[u] * act_load(w.v[u * w.ld_kv + d]);
            out[d] = act_store((float)(o / sum));
        }
        if (a->lse) a->lse[(b * a->H + head) * a->T + t] = largest + (float)log(sum);
    }
}

/* One query's share of the gradients: dq [h] is set, dk and dv [T, h] of its key head are added to.
 * With p_u = exp(s_u - lse), dp_u = dout . v_u and delta = sum_u p_u dp_u = dout . out (Dao et al.
 * 2022, appendix B):
 *   dv_u += p_u dout;  ds_u = p_u (dp_u - delta);  dq += dx_u k_u;  dk_u += dx_u q
 * where dx_u = ds_u * temperature * slope of the cap * multiplier. */
static void attention_backward_query(const struct compute_attention *a, int64_t b, int64_t head,
                                     int64_t t, const act_t *dout, float *dq)
{
    struct attention_view w = attention_view(a, b, head, t);
    const act_t *out = (const act_t *)a->out + (b * a->T + t) * a->ld_out + head * a->h;
    float lse = a->lse[(b * a->H + head) * a->T + t], delta = act_dot(a->h, dout, out);
    float *dk = dq + a->h, *dv = dk + a->T * a->h; /* as ref_attention_scratch lays them out */
    memset(dq, 0, (size_t)a->h * sizeof *dq);
    for (int64_t u = w.first; u <= t; u++) {
        float x = attention_score(a, &w, u);
        float p = expf(x * w.temperature - lse);
        float dx = p * (act_dot(a->h, dout, w.v + u * w.ld_kv) - delta) * w.temperature *
                   compute_reference_cap_slope(x, a->cap) * a->multiplier;
        for (int64_t d = 0; d < a->h; d++) {
            dv[u * a->h + d] += p * act_load(dout[d]);
            dq[d] += dx * act_load(w.k[u * w.ld_kv + d]);
            dk[u * a->h + d] += dx * act_load(w.q[d]);
        }
    }
}

static void ref_attention_backward(const struct compute_attention *a,
                                   const struct compute_attention_grad *grad, int64_t b, int64_t kv,
                                   void *scratch)
{
    int64_t T = a->T, h = a->h, per_kv = a->H / a->K;
    float *dq = scratch, *dk = dq + h, *dv = dk + T * h;
    memset(dk, 0, (size_t)(2 * T * h) * sizeof *dk);
    for (int64_t head = kv * per_kv; head < (kv + 1) * per_kv; head++)
        for (int64_t t = 0; t < T; t++) {
            const act_t *dout = (const act_t *)grad->dout + (b * T + t) * a->ld_out + head * h;
            attention_backward_query(a, b, head, t, dout, dq);
            for (int64_t i = 0; i < h; i++)
                ((act_t *)grad->dq)[(b * T + t) * a->ld + head * h + i] = act_store(dq[i]);
        }
    for (int64_t u = 0; u < T; u++)
        for (int64_t i = 0; i < h; i++) {
            ((act_t *)grad->dk)[(b * T + u) * a->ld + kv * h + i] = act_store(dk[u * h + i]);
            ((act_t *)grad->dv)[(b * T + u) * a->ld + kv * h + i] = act_store(dv[u * h + i]);
        }
}

/* ------------------------------------------------------------------ pages
 * The same as ref_attention_forward with keys and values taken from pages. */

static size_t ref_paged_scratch(int64_t rows, int64_t h)
{
    (void)rows;
    return (size_t)h * sizeof(double);
}

/* Element d of the key (or the value) of head kv at position u. */
static float paged_element(const struct compute_paged *p, const struct compute_paged_run *run,
                           int64_t kv, int64_t u, int64_t d, bool value)
{
    const char *page = run->pages[u / COMPUTE_PAGE];
    const act_t *part = (const act_t *)(const void *)(page + p->at);
    int64_t at = u % COMPUTE_PAGE;
    if (value) return act_load(part[((p->K + kv) * COMPUTE_PAGE + at) * p->h + d]);
    return act_load(part[(kv * p->h + d) * COMPUTE_PAGE + at]);
}

static float paged_score(const struct compute_paged *p, const struct compute_paged_run *run,
                         int64_t kv, int64_t u, const act_t *q)
{
    double sum = 0;
    for (int64_t d = 0; d < p->h; d++)
        sum += (double)act_load(q[d]) * paged_element(p, run, kv, u, d, false);
    return compute_reference_cap(p->multiplier * (float)sum, p->cap);
}

/* One query of one head at position t, o [h]; scores are made twice, so that none has to be kept. */
static void paged_query(const struct compute_paged *p, const struct compute_paged_run *run,
                        int64_t head, int64_t t, double *o)
{
    int64_t kv = head / (p->H / p->K), row = run->row + t - run->pos;
    const act_t *q = (const act_t *)p->q + row * p->ld + head * p->h;
    act_t *out = (act_t *)p->out + row * p->ld_out + head * p->h;
    float temperature = compute_reference_temperature(t, p->temperature_len), largest = -INFINITY;
    int64_t first = p->window ? MAX(t - p->window + 1, 0) : 0;
    for (int64_t u = first; u <= t; u++)
        largest = fmaxf(largest, paged_score(p, run, kv, u, q) * temperature);
    double sum = 0;
    memset(o, 0, (size_t)p->h * sizeof *o);
    for (int64_t u = first; u <= t; u++) {
        float weight = expf(paged_score(p, run, kv, u, q) * temperature - largest);
        sum += (double)weight;
        for (int64_t d = 0; d < p->h; d++)
            o[d] += (double)weight * paged_element(p, run, kv, u, d, true);
    }
    for (int64_t d = 0; d < p->h; d++)
        out[d] = act_store((float)(o[d] / sum));
}

static void ref_paged_attention(const struct compute_paged_part *t, void *scratch)
{
    const struct compute_paged_run *r = &t->p->runs[t->run];
    for (int64_t i = 0; i < r->n * t->heads; i++)
        paged_query(t->p, r, t->head + i / r->n, r->pos + i % r->n, scratch);
}

#endif
