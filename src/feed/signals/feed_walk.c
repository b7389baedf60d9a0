/* feed_walk.c: would a day's direction have been known from the posts before it?
 *
 * Walk-forward: for each day behind the first `train_days` with posts, a ridge regression of the target
 * (close / open - 1) on the features, standardised, is fitted on the days before it (anew every 21
 * days), and its sign is the position from open to close. Four baselines need no posts, and go by the
 * days without posts too: always long, the sign of the mean so far, the sign of the day of trading
 * before ("yesterday"), and its opposite. Each day costs a round trip.
 *
 * Intervals: of hit rates Wilson's (1927); of means a bootstrap of moving blocks of ten days (Kuensch
 * 1989), percentiles. An edge is only called one where the interval of the model's mean, and that of its
 * difference to always being long, lie above nothing at 95 % divided by the number of symbols. The
 * smallest edge that so many days would have shown with 80 % certainty is (1.96 + 0.84) standard
 * errors. */
#include "feed/signals/feed_signals_internal.h"

#include <stdlib.h>

#define K     (FEED_N_SIGNALS + 1) /* and the constant */
#define RIDGE 10.0
#define REFIT 21
#define BLOCK 10

#define TRAIN_DAYS 120 /* where nothing else is asked for */

const char *const feed_strategy_names[] = {"model",     "always long", "mean so far",
                                           "yesterday", "opposite",    NULL};

/* ------------------------------------------------------------------ the regression */

struct fit {
    double mean[FEED_N_SIGNALS], scale[FEED_N_SIGNALS], w[K];
};

static void row_of(const struct fit *f, const struct feed_day *day, double row[K])
{
    for (size_t k = 0; k < FEED_N_SIGNALS; k++)
        row[k] = (day->x[k] - f->mean[k]) / f->scale[k];
    row[FEED_N_SIGNALS] = 1;
}

/* Solves a w = b for a symmetric positive a, by Cholesky; a and b are overwritten. */
static void solve(double a[K][K], double b[K], double w[K])
{
    for (size_t i = 0; i < K; i++)
        for (size_t j = 0; j <= i; j++) {
            double s = a[i][j];
            for (size_t k = 0; k < j; k++)
                s -= a[i][k] * a[j][k];
            a[i][j] = i == j ? sqrt(MAX(s, 1e-12)) : s / a[j][j];
        }
    for (size_t i = 0; i < K; i++) {
        for (size_t k = 0; k < i; k++)
            b[i] -= a[i][k] * b[k];
        b[i] /= a[i][i];
    }
    for (size_t i = K; i-- > 0;) {
        w[i] = b[i];
        for (size_t k = i + 1; k < K; k++)
            w[i] -= a[k][i] * w[k];
        w[i] /= a[i][i];
    }
}

static void fit(const struct feed_day *const *days, size_t n, struct fit *f)
{
    double a[K][K] = {{0}}, b[K] = {0};
    for (size_t k = 0; k < FEED_N_SIGNALS; k++) {
        double sum = 0, squares = 0;
        for (size_t i = 0; i < n; i++)
            sum += days[i]->x[k];
        f->mean[k] = sum / (double)n;
        for (size_t i = 0; i < n; i++)
            squares += (days[i]->x[k] - f->mean[k]) * (days[i]->x[k] - f->mean[k]);
        double deviation = sqrt(squares / (double)n);
        f->scale[k] = deviation > 1e-9 ? deviation : 1;
    }
    for (size_t i = 0; i < n; i++) {
        double row[K];
        row_of(f, days[i], row);
        for (size_t j = 0; j < K; j++) {
            b[j] += row[j] * days[i]->target;
            for (size_t k = 0; k < K; k++)
                a[j][k] += row[j] * row[k];
        }
    }
    for (size_t k = 0; k < FEED_N_SIGNALS; k++)
        a[k][k] += RIDGE;
    solve(a, b, f->w);
}

static double predict(const struct fit *f, const struct feed_day *day)
{
    double row[K], sum = 0;
    row_of(f, day, row);
    for (size_t k = 0; k < K; k++)
        sum += row[k] * f->w[k];
    return sum;
}

/* ------------------------------------------------------------------ intervals */

static struct feed_interval wilson(size_t hits, size_t n)
{
    const double z = 1.959964, m = (double)n, p = n ? (double)hits / m : 0;
    if (n == 0) return (struct feed_interval){NAN, NAN, NAN};
    double centre = (p + z * z / (2 * m)) / (1 + z * z / m);
    double half = z / (1 + z * z / m) * sqrt(p * (1 - p) / m + z * z / (4 * m * m));
    return (struct feed_interval){centre - half, p, centre + half};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* The mean of v, and its interval at 1 - alpha. */
static struct feed_interval of_mean(const double *v, size_t n, double alpha,
                                    const struct feed_signal_options *o)
{
    const size_t draws = o->draws > 0 ? (size_t)o->draws : 2000;
    struct feed_interval out = {NAN, 0, NAN};
    if (n == 0) return (struct feed_interval){NAN, NAN, NAN};
    for (size_t i = 0; i < n; i++)
        out.mean += v[i] / (double)n;
    if (n < 2 * BLOCK) return out;
    double *means = mem_alloc(draws * sizeof(*means));
    for (size_t d = 0; d < draws; d++) {
        double sum = 0;
        for (size_t i = 0, k = 0; i < n; k++) {
            size_t at = (size_t)(rng_u64(o->seed, d, k) % (n - BLOCK + 1));
            for (size_t j = 0; j < BLOCK && i < n; j++, i++)
                sum += v[at + j];
        }
        means[d] = sum / (double)n;
    }
    qsort(means, draws, sizeof(*means), by_value);
    out.low = means[MIN((size_t)(alpha / 2 * (double)draws), draws - 1)];
    out.high = means[MIN((size_t)((1 - alpha / 2) * (double)draws), draws - 1)];
    mem_free(means);
    return out;
}

/* ------------------------------------------------------------------ the walk */

static int sign_of(double v)
{
    return (v > 0) - (v < 0);
}

struct walk {
    double *net[FEED_N_STRATEGIES]; /* [n], in hundredths of a per cent */
    size_t n, hits[FEED_N_STRATEGIES], taken[FEED_N_STRATEGIES];
};

static void take_day(struct walk *w, const int positions[FEED_N_STRATEGIES], double target,
                     double cost_bp)
{
    for (size_t s = 0; s < FEED_N_STRATEGIES; s++) {
        int p = positions[s];
        w->net[s][w->n] = p ? 1e4 * p * target - cost_bp : 0;
        if (p && target != 0) {
            w->taken[s]++;
            w->hits[s] += p == sign_of(target);
        }
    }
    w->n++;
}

/* days: of trading, one behind another; with: those of them that have posts, which are tested. What
 * needs no posts goes by all days. */
static void walk(const struct feed_day *days, const struct feed_day *const *with, size_t n,
                 const struct feed_signal_options *o, struct walk *w)
{
    const size_t train = o->train_days > 0 ? (size_t)o->train_days : TRAIN_DAYS;
    const struct feed_day *before = days;
    struct fit f = {0};
    double sum = 0;
    for (size_t i = train; i < n; i++) {
        for (; before < with[i]; before++)
            sum += before->target;
        if ((i - train) % REFIT == 0) fit(with, i, &f);
        int yesterday = with[i] > days ? sign_of(with[i][-1].target) : 0;
        const int positions[FEED_N_STRATEGIES] = {sign_of(predict(&f, with[i])), 1, sign_of(sum),
                                                  yesterday, -yesterday};
        take_day(w, positions, with[i]->target, o->cost_bp);
    }
}

static void sum_up(const struct walk *w, const struct feed_signal_options *o,
                   struct feed_signal_result *out)
{
    const double corrected = 0.05 / (double)MAX(o->n_symbols, (size_t)1);
    double *beyond = mem_alloc((w->n + 1) * sizeof(*beyond)), squares = 0;
    out->tested = w->n;
    for (size_t s = 0; s < FEED_N_STRATEGIES; s++)
        out->strategies[s] = (struct feed_strategy){.days = w->taken[s],
                                                    .hit_rate = wilson(w->hits[s], w->taken[s]),
                                                    .net_bp = of_mean(w->net[s], w->n, 0.05, o)};
    for (size_t i = 0; i < w->n; i++)
        beyond[i] = w->net[0][i] - w->net[1][i];
    out->beyond_bp = of_mean(beyond, w->n, 0.05, o);
    double mean = out->strategies[0].net_bp.mean;
    for (size_t i = 0; i < w->n; i++)
        squares += (w->net[0][i] - mean) * (w->net[0][i] - mean);
    out->smallest_bp =
        w->n > 1 ? (1.96 + 0.84) * sqrt(squares / (double)(w->n - 1) / (double)w->n) : NAN;
    out->edge = of_mean(w->net[0], w->n, corrected, o).low > 0 &&
                of_mean(beyond, w->n, corrected, o).low > 0;
    mem_free(beyond);
}

void feed_walk(const struct feed_day *days, size_t n, const struct feed_signal_options *o,
               struct feed_signal_result *out)
{
    const struct feed_day **with = mem_alloc((n + 1) * sizeof(struct feed_day *));
    struct walk w = {0};
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (days[i].posts) with[k++] = &days[i];
    for (size_t s = 0; s < FEED_N_STRATEGIES; s++)
        w.net[s] = mem_calloc(k + 1, sizeof(double));
    out->days = k;
    walk(days, with, k, o, &w);
    sum_up(&w, o, out);
    for (size_t s = 0; s < FEED_N_STRATEGIES; s++)
        mem_free(w.net[s]);
    mem_free(with);
}

/* ------------------------------------------------------------------ each feature alone */

struct ranked {
    double value;
    size_t at;
};

static int by_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* Mid-ranks, from 1, in the order of `at`. */
static void rank(struct ranked *v, size_t n, double *out)
{
    if (n) qsort(v, n, sizeof(*v), by_ranked);
    for (size_t i = 0; i < n;) {
        size_t k = i;
        while (k < n && v[k].value == v[i].value)
            k++;
        for (size_t j = i; j < k; j++)
            out[v[j].at] = (double)(i + k + 1) / 2;
        i = k;
    }
}

double feed_rank_correlation(const struct feed_day *days, size_t n, size_t f, double *p,
                             size_t *used)
{
    struct ranked *a = mem_calloc(n + 1, sizeof(*a)), *b = mem_calloc(n + 1, sizeof(*b));
    double *ra = mem_calloc(n + 1, sizeof(*ra)), *rb = mem_calloc(n + 1, sizeof(*rb));
    double ab = 0, aa = 0, bb = 0;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!days[i].posts) continue;
        a[k] = (struct ranked){days[i].x[f], k};
        b[k] = (struct ranked){days[i].target, k};
        k++;
    }
    rank(a, k, ra);
    rank(b, k, rb);
    const double mean = ((double)k + 1) / 2; /* exactly: what is constant has no deviation */
    for (size_t i = 0; i < k; i++) {
        ab += (ra[i] - mean) * (rb[i] - mean);
        aa += (ra[i] - mean) * (ra[i] - mean);
        bb += (rb[i] - mean) * (rb[i] - mean);
    }
    mem_free(a);
    mem_free(b);
    mem_free(ra);
    mem_free(rb);
    double rho = aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0;
    *p = k > 2 ? erfc(fabs(rho) * sqrt((double)k - 1) / M_SQRT2) : 1;
    *used = k;
    return rho;
}

void feed_holm(double *p, size_t n)
{
    size_t *order = mem_alloc((n + 1) * sizeof(*order));
    for (size_t i = 0; i < n; i++) {
        size_t k = i;
        for (; k > 0 && p[order[k - 1]] > p[i]; k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    double least = 0;
    for (size_t i = 0; i < n; i++) {
        least = MAX(least, MIN(p[order[i]] * (double)(n - i), 1.0));
        p[order[i]] = least;
    }
    mem_free(order);
}
