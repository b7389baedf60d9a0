/* site_fit.c: rates of failure and repair from a list of incidents, with intervals of 90 %.
 *
 * Counts are Poisson's, with Garwood's exact interval (Biometrika 28, 1936). Age: the power-law process
 * of minimal repair, as the twin lives it (Crow, 1974): a unit of age t has had (t / scale)^shape
 * failures; shape and scale are those of the greatest likelihood, their intervals where its profile is
 * down by 1.353, half of chi-square's 90 % point. Lemons: counts of units as a mixture of two Poisson
 * distributions, the same way, within the bounds that a scenario has; they are stated only where one
 * distribution is beaten by 3 in the logarithm, and then rates are as much less certain as counts spread.
 * Neither is asked of a list too short to tell. Shares: Clopper and Pearson's
 * exact interval (Biometrika 26, 1934). Repair: of exponential
 * times the exact interval of their mean, of times that vary little Student's. */
#include "site/study/site_study_internal.h"

#include <stdlib.h>
#include <string.h>

#define DROP  1.3527717  /* of a profile, at the ends of a 90 % interval */
#define PROOF 3.0        /* by which two kinds of units must beat one */
enum { AGES_FROM = 10 }; /* incidents, before a law by age is stated */
/* The same of lemons. Of lists with a twentieth that fail 20 times as often, 70 % tell it from 50
 * incidents on, and of their intervals nine in ten hold it; of 30 incidents a third do, and of 20 a sixth,
 * whose factors come out too high. */
enum { LEMONS_FROM = 50 };
enum { MAX_COUNT = 512 }; /* incidents of one unit that are told apart */

/* ------------------------------------------------------------------ distributions */

/* Regularised lower incomplete gamma function: series, and Lentz's fraction (Press et al., 6.2). */
static double gamma_p(double a, double x)
{
    if (x <= 0.0) return 0.0;
    double front = exp(a * log(x) - x - lgamma(a));
    if (x < a + 1.0) {
        double sum = 1.0 / a, term = sum;
        for (int i = 1; i < 10000 && term > 1e-16 * sum; i++)
            sum += term *= x / (a + i);
        return front * sum;
    }
    double b = x + 1.0 - a, c = 1e300, d = 1.0 / b, h = d;
    for (int i = 1; i < 10000; i++) {
        double an = -i * (i - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) break;
    }
    return 1.0 - front * h;
}

/* x at which it is p. */
static double gamma_inverse(double a, double p)
{
    double low = 0.0, high = a + 10.0 * sqrt(a) + 20.0;
    for (int i = 0; i < 200 && high - low > 1e-13 * high; i++) {
        double middle = 0.5 * (low + high);
        if (gamma_p(a, middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* Accelerator-days for each of n incidents. */
static struct site_estimate mean_time(double exposure, size_t n)
{
    struct site_estimate m = {NAN, NAN, NAN};
    double most = gamma_inverse((double)n + 1.0, 0.95);
    m.low = exposure / most;
    if (n == 0) return m;
    m.value = exposure / (double)n;
    m.high = exposure / gamma_inverse((double)n, 0.05);
    return m;
}

/* Regularised incomplete beta function, by its fraction (Press et al., 6.4). */
static double beta_fraction(double a, double b, double x)
{
    double c = 1.0, d = 1.0 / fmax(1.0 - (a + b) * x / (a + 1.0), 1e-300), h = d;
    for (int m = 1; m < 1000; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        d = 1.0 / (1.0 + even * d);
        c = 1.0 + even / c;
        h *= d * c;
        d = 1.0 / (1.0 + odd * d);
        c = 1.0 + odd / c;
        h *= d * c;
        if (fabs(d * c - 1.0) < 1e-15) break;
    }
    return h;
}

static double beta_p(double a, double b, double x)
{
    if (x <= 0.0 || x >= 1.0) return x <= 0.0 ? 0.0 : 1.0;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

static double beta_inverse(double a, double b, double p)
{
    double low = 0.0, high = 1.0;
    for (int i = 0; i < 60; i++) {
        double middle = 0.5 * (low + high);
        if (beta_p(a, b, middle) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

static struct site_estimate share_of(size_t some, size_t all)
{
    double k = (double)some, n = (double)all;
    struct site_estimate s = {k / n, 0.0, 1.0};
    if (some > 0) s.low = beta_inverse(k, n - k + 1.0, 0.05);
    if (some < all) s.high = beta_inverse(k + 1.0, n - k, 0.95);
    return s;
}

/* Where units differ, counts spread by more than Poisson's: by `over` times in their variance. */
static void widen(struct site_estimate *v, double over)
{
    v->low = v->value * pow(v->low / v->value, sqrt(over));
    v->high = v->value * pow(v->high / v->value, sqrt(over));
}

/* ------------------------------------------------------------------ profiles of a likelihood */

typedef double curve(const void *ctx, double x);

/* x of the highest value between two ends, of a curve with one top. */
static double top_of(curve *f, const void *ctx, double low, double high)
{
    const double golden = 0.6180339887498949;
    double a = high - golden * (high - low), b = low + golden * (high - low);
    double fa = f(ctx, a), fb = f(ctx, b);
    for (int i = 0; i < 80; i++) {
        if (fa >= fb) {
            high = b;
            b = a;
            fb = fa;
            a = high - golden * (high - low);
            fa = f(ctx, a);
        } else {
            low = a;
            a = b;
            fa = fb;
            b = low + golden * (high - low);
            fb = f(ctx, b);
        }
    }
    return 0.5 * (low + high);
}

/* Where it has come down by DROP, from its top in steps that double, then by halving; at most `end`. */
static double down_at(curve *f, const void *ctx, double top, double end)
{
    double level = f(ctx, top) - DROP, in = top, out = top, step = 1e-3;
    do {
        in = out;
        out = end > top ? fmin(top + step, end) : fmax(top - step, end);
        step *= 2.0;
        if (f(ctx, out) < level) break;
    } while (out != end);
    if (f(ctx, out) >= level) return end;
    for (int i = 0; i < 40; i++) {
        double middle = 0.5 * (in + out);
        if (f(ctx, middle) >= level)
            in = middle;
        else
            out = middle;
    }
    return 0.5 * (in + out);
}

/* ------------------------------------------------------------------ age */

struct ages {
    double n, log_sum, from, to, fleet; /* incidents; of their ages; accelerators */
    double given;                       /* the other parameter's logarithm, while one is searched */
};

static double hazard(const struct ages *g, double k)
{
    return pow(g->to, k) - (g->from > 0.0 ? pow(g->from, k) : 0.0);
}

static double likelihood_of_ages(const struct ages *g, double log_k, double log_scale)
{
    double k = exp(log_k);
    return g->n * (log_k - k * log_scale) + (k - 1.0) * g->log_sum -
           g->fleet * hazard(g, k) * exp(-k * log_scale);
}

static double scale_at(const struct ages *g, double log_k)
{
    double k = exp(log_k);
    return log(g->fleet * hazard(g, k) / g->n) / k;
}

static double over_shape(const void *ctx, double log_k)
{
    return likelihood_of_ages(ctx, log_k, scale_at(ctx, log_k));
}

static double shape_given(const void *ctx, double log_k)
{
    const struct ages *g = ctx;
    return likelihood_of_ages(g, log_k, g->given);
}

static double over_scale(const void *ctx, double log_scale)
{
    struct ages g = *(const struct ages *)ctx;
    g.given = log_scale;
    double k = top_of(shape_given, &g, log(0.02), log(30.0));
    return likelihood_of_ages(&g, k, log_scale);
}

static struct site_estimate interval_of(curve *f, const void *ctx, double top, double far)
{
    return (struct site_estimate){exp(top), exp(down_at(f, ctx, top, top - far)),
                                  exp(down_at(f, ctx, top, top + far))};
}

static void fit_ages(struct site_fit *f, const double *at_d)
{
    struct ages g = {.n = (double)f->n,
                     .from = f->o.age_days,
                     .to = f->o.age_days + f->o.days,
                     .fleet = f->exposure_days / f->o.days};
    for (size_t i = 0; i < f->n; i++)
        g.log_sum += log(fmax(f->o.age_days + at_d[i], 1e-6));
    double shape = top_of(over_shape, &g, log(0.05), log(20.0));
    f->shape = interval_of(over_shape, &g, shape, 3.0);
    f->asks_age = f->n >= AGES_FROM;
    f->scale_days = interval_of(over_scale, &g, scale_at(&g, shape), 20.0);
    f->ages = f->asks_age && (f->shape.low > 1.0 || f->shape.high < 1.0);
}

/* ------------------------------------------------------------------ lemons */

struct counts {
    double units[MAX_COUNT], n, sum; /* units with so many incidents; units and incidents in all */
    int most;
};

/* Bounds of the logarithms that are searched: of share / (1 - share), and of factor - 1. */
static const double share_ends[2] = {-12.0, 3.0};
static double factor_end(int which)
{
    return which ? log(SITE_LEMON_FACTOR_MOST - 1.0) : -5.0;
}

static double factor_of(double log_more)
{
    return fmin(1.0 + exp(log_more), SITE_LEMON_FACTOR_MOST);
}

struct mixture { /* incidents of a good unit and of a lemon; share of lemons */
    double good, bad, share;
};

static double of_logit(double p)
{
    return 1.0 / (1.0 + exp(-p));
}

static double log_poisson(double mean, int n)
{
    return n * log(fmax(mean, 1e-300)) - mean - lgamma(n + 1.0);
}

/* Logarithm of the likelihood, and how likely units with so many incidents are lemons. */
static double likelihood_of(const struct counts *c, const struct mixture *m,
                            double lemon[MAX_COUNT])
{
    double sum = 0.0;
    for (int n = 0; n <= c->most; n++) {
        if (c->units[n] <= 0.0) continue;
        double a = log1p(-m->share) + log_poisson(m->good, n);
        double b = log(m->share) + log_poisson(m->bad, n), high = fmax(a, b);
        double both = high + log1p(exp(-fabs(a - b)));
        lemon[n] = exp(b - both);
        sum += c->units[n] * both;
    }
    return sum;
}

/* Of the greatest likelihood, with a share or a factor that is given (0: neither), by expectation and
 * maximisation (Dempster, Laird and Rubin, 1977). */
static double best_mixture(const struct counts *c, double share, double factor, struct mixture *m)
{
    enum { STEPS = 400 };
    double lemon[MAX_COUNT] = {0}, mean = c->sum / c->n, last = -INFINITY, l = 0.0;
    *m = (struct mixture){.share = share > 0.0 ? share : 0.1};
    m->good = 0.6 * mean;
    m->bad = factor > 0.0 ? factor * m->good : 4.0 * mean;
    for (int step = 0; step < STEPS; step++) {
        double of_lemons = 0.0, units = 0.0;
        l = likelihood_of(c, m, lemon);
        if (l - last < 1e-9 * fabs(l) && step > 20) break;
        last = l;
        for (int n = 0; n <= c->most; n++) {
            of_lemons += c->units[n] * lemon[n] * n;
            units += c->units[n] * lemon[n];
        }
        double times = factor;
        if (times <= 0.0) { /* as the two means say, within the bounds */
            double good = fmax(c->sum - of_lemons, 1e-9) / fmax(c->n - units, 1e-9);
            times = fmin(fmax(of_lemons / fmax(units, 1e-9) / good, factor_of(factor_end(0))),
                         SITE_LEMON_FACTOR_MOST);
        }
        m->good = c->sum / (c->n - units + times * units);
        m->bad = times * m->good;
        if (share <= 0.0)
            m->share = fmin(fmax(units / c->n, of_logit(share_ends[0])), of_logit(share_ends[1]));
    }
    return l;
}

static double over_share(const void *ctx, double logit)
{
    struct mixture m;
    return best_mixture(ctx, of_logit(logit), 0.0, &m);
}

static double over_factor(const void *ctx, double log_more)
{
    struct mixture m;
    return best_mixture(ctx, 0.0, factor_of(log_more), &m);
}

static void fit_lemons(struct site_fit *f, const struct counts *c)
{
    struct mixture m;
    double one = 0.0, mean = c->sum / c->n, squares = 0.0;
    for (int n = 0; n <= c->most; n++) {
        one += c->units[n] * log_poisson(mean, n);
        squares += c->units[n] * (n - mean) * (n - mean);
    }
    f->asks_lemons = f->n >= LEMONS_FROM;
    if (!f->asks_lemons) return;
    /* a top of the profile, so that estimate and interval are of one curve */
    double g = top_of(over_factor, c, factor_end(0), factor_end(1));
    double two = best_mixture(c, 0.0, factor_of(g), &m);
    f->has_lemons = two > one + PROOF && factor_of(g) > 1.05;
    if (!f->has_lemons) return;
    double p = log(m.share / (1.0 - m.share));
    f->spread = fmax(squares / c->n / mean, 1.0);
    f->lemons =
        (struct site_estimate){of_logit(p), of_logit(down_at(over_share, c, p, share_ends[0])),
                               of_logit(down_at(over_share, c, p, share_ends[1]))};
    f->lemon_factor =
        (struct site_estimate){factor_of(g), factor_of(down_at(over_factor, c, g, factor_end(0))),
                               factor_of(down_at(over_factor, c, g, factor_end(1)))};
    widen(&f->accelerator_days, f->spread);
    widen(&f->scale_days, f->spread);
}

/* The scale of units that are no lemons, as a share of the fleet's. */
static double good_scale(const struct site_fit *f)
{
    double more = f->has_lemons ? 1.0 + (f->lemon_factor.value - 1.0) * f->lemons.value : 1.0;
    return pow(more, 1.0 / f->shape.value);
}

/* ------------------------------------------------------------------ the file */

struct incidents {
    struct csv t;
    int unit, at, cause, repair;
    double to_days; /* of the column of times */
    const char **units, **causes;
    double *at_d, *repair_h; /* repair_h: NAN where none */
};

static int cell(const struct incidents *x, size_t row, int column, double most, double *out,
                struct error *e)
{
    const char *text = csv_field(&x->t, row, column), *unit;
    if (unit_parse(text, UNIT_NONE, out, &unit) == UNIT_OK && *out >= 0.0 && *out <= most) return 0;
    error_set_code(e, ERROR_CONFIG, "%s:%d: '%s' must be a number from 0 to %.6g, not '%.40s'",
                   x->t.path, x->t.lines[row], x->t.heads[column], most, text);
    if (column != x->at) return error_hint(e, "for example 4.5; empty: nothing had to be repaired");
    return error_hint(e, "%s since the watch began, for example %.6g; it lasted --days",
                      x->to_days < 1.0 ? "hours" : "days", floor(0.5 * most));
}

static int find_columns(struct incidents *x, struct error *e)
{
    x->unit = csv_column(&x->t, "unit");
    x->at = csv_column(&x->t, "at_h");
    x->to_days = x->at >= 0 ? 1.0 / 24.0 : 1.0;
    if (x->at < 0) x->at = csv_column(&x->t, "at_d");
    x->cause = csv_column(&x->t, "cause");
    x->repair = csv_column(&x->t, "repair_h");
    if (x->to_days < 1.0 && csv_column(&x->t, "at_d") >= 0) {
        error_set_code(e, ERROR_CONFIG, "%s:1: it has both at_h and at_d", x->t.path);
        return error_hint(e, "leave one of them out: both say when, in hours or in days");
    }
    if (x->unit >= 0 && x->at >= 0) return 0;
    error_set_code(e, ERROR_CONFIG, "%s:1: no column %s", x->t.path, x->unit < 0 ? "unit" : "at_h");
    return error_hint(e, "its head is: unit,at_h,cause,repair_h");
}

static int read_rows(struct incidents *x, const struct site_fit_options *o, struct arena *a,
                     struct error *e)
{
    size_t n = x->t.n_rows;
    TRY(find_columns(x, e));
    x->units = arena_alloc(a, (n + 1) * sizeof(*x->units));
    x->causes = arena_alloc(a, (n + 1) * sizeof(*x->causes));
    x->at_d = arena_alloc(a, (n + 1) * sizeof(*x->at_d));
    x->repair_h = arena_alloc(a, (n + 1) * sizeof(*x->repair_h));
    for (size_t i = 0; i < n; i++) {
        TRY(cell(x, i, x->at, o->days / x->to_days, &x->at_d[i], e));
        x->at_d[i] *= x->to_days;
        x->units[i] = csv_field(&x->t, i, x->unit);
        x->causes[i] = x->cause >= 0 ? csv_field(&x->t, i, x->cause) : "";
        x->repair_h[i] = NAN;
        if (x->repair >= 0 && *csv_field(&x->t, i, x->repair))
            TRY(cell(x, i, x->repair, 1e6, &x->repair_h[i], e));
        if (*x->units[i]) continue;
        error_set_code(e, ERROR_CONFIG, "%s:%d: no unit is named", x->t.path, x->t.lines[i]);
        return error_hint(e, "for example node-0042: incidents of one unit have one name");
    }
    return 0;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int count_units(struct incidents *x, const struct site_fit_options *o, struct counts *c,
                       struct error *e)
{
    size_t n = x->t.n_rows, distinct = 0;
    const char **sorted = mem_alloc((n + 1) * sizeof(*sorted));
    if (n) memcpy(sorted, x->units, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_text);
    *c = (struct counts){.n = o->units, .sum = (double)n};
    for (size_t i = 0; i < n;) {
        size_t same = i;
        while (same < n && strcmp(sorted[same], sorted[i]) == 0)
            same++;
        int times = (int)MIN(same - i, (size_t)MAX_COUNT - 1);
        c->units[times]++;
        c->most = MAX(c->most, times);
        distinct++;
        i = same;
    }
    mem_free(sorted);
    c->units[0] = o->units - (double)distinct;
    if (c->units[0] >= 0.0) return 0;
    error_set_code(e, ERROR_USAGE, "%s names %zu units, --units says that there are %.0f",
                   x->t.path, distinct, o->units);
    return error_hint(e, "units that never failed count, too: --units is all of the fleet");
}

struct named {
    const char *name;
    size_t n;
};

static int by_count(const void *a, const void *b)
{
    const struct named *x = a, *y = b;
    if (x->n != y->n) return x->n < y->n ? 1 : -1;
    return strcmp(x->name, y->name);
}

static void count_causes(const struct incidents *x, struct site_fit *f, struct arena *a)
{
    size_t n = x->t.n_rows, m = 0;
    const char **sorted = mem_alloc((n + 1) * sizeof(*sorted));
    struct named *all = mem_alloc((n + 1) * sizeof(*all));
    if (n) memcpy(sorted, x->causes, n * sizeof(*sorted));
    qsort(sorted, n, sizeof(*sorted), by_text);
    for (size_t i = 0; i < n; i++) {
        if (m > 0 && strcmp(all[m - 1].name, sorted[i]) == 0)
            all[m - 1].n++;
        else
            all[m++] = (struct named){sorted[i], 1};
    }
    qsort(all, m, sizeof(*all), by_count);
    for (size_t i = 0; i < m; i++) {
        int at = MIN(f->n_causes, SITE_FIT_CAUSES - 1);
        if (i < SITE_FIT_CAUSES - 1) {
            f->causes[f->n_causes++].name = arena_strdup(a, *all[i].name ? all[i].name : "unnamed");
        } else if (i == SITE_FIT_CAUSES - 1) {
            f->causes[f->n_causes++].name = "others";
        }
        f->causes[at].n += all[i].n;
    }
    for (int i = 0; i < f->n_causes; i++)
        f->causes[i].accelerator_days = mean_time(f->exposure_days, f->causes[i].n);
    for (int i = 0; i < f->n_causes && f->has_lemons; i++)
        widen(&f->causes[i].accelerator_days,
              1.0 + (f->spread - 1.0) * (double)f->causes[i].n / (double)f->n);
    mem_free(all);
    mem_free(sorted);
}

static void fit_repair(const struct incidents *x, struct site_fit *f)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < f->n; i++) {
        if (!isfinite(x->repair_h[i])) continue;
        f->n_repairs++;
        sum += x->repair_h[i];
        squares += x->repair_h[i] * x->repair_h[i];
    }
    double n = (double)f->n_repairs;
    f->repair_h = (struct site_estimate){NAN, NAN, NAN};
    if (f->n_repairs == 0 || sum <= 0.0) return;
    double mean = sum / n,
           spread = n > 1.0 ? sqrt(fmax(squares - n * mean * mean, 0.0) / (n - 1)) : 0;
    f->repair_h.value = mean;
    f->repair_spread = spread / mean;
    if (f->n_repairs == 1) f->repair_spread = 1.0;
    if (f->repair_spread >= 0.5) { /* as exponential ones, where one time tells no spread, too */
        f->repair_h.low = sum / gamma_inverse(n, 0.95);
        f->repair_h.high = sum / gamma_inverse(n, 0.05);
        return;
    }
    double t = 0.0, step = 4.0; /* Student's 95 % point, by halving */
    for (int i = 0; i < 60 && n > 1.0; i++, step *= 0.5)
        if (site_student(t + step, n - 1.0) < 0.95) t += step;
    f->repair_h.low = fmax(mean - t * spread / sqrt(n), 0.0);
    f->repair_h.high = mean + t * spread / sqrt(n);
}

int site_fit_text(const struct str *text, const char *path, const struct site_fit_options *o,
                  struct arena *a, struct site_fit *f, struct error *e)
{
    struct incidents x = {0};
    struct counts c;
    *f = (struct site_fit){.o = *o};
    TRY(csv_parse(text->data, text->len, path, a, &x.t, e));
    TRY(read_rows(&x, o, a, e));
    TRY(count_units(&x, o, &c, e));
    f->n = x.t.n_rows;
    if (f->n == 0) {
        error_set_code(e, ERROR_CONFIG, "%s: there is no incident in it", path);
        return error_hint(e, "a line an incident under the head; ten tell a rate to a half");
    }
    fit_repair(&x, f);
    double out_days = 0.0; /* what is being repaired cannot fail */
    for (size_t i = 0; i < f->n; i++)
        if (isfinite(x.repair_h[i])) out_days += fmin(x.repair_h[i] / 24.0, o->days - x.at_d[i]);
    f->exposure_days =
        fmax(o->units * o->days - out_days, 0.01 * o->units * o->days) * (double)o->unit;
    f->accelerator_days = mean_time(f->exposure_days, f->n);
    f->hardware_share =
        x.repair >= 0 ? share_of(f->n_repairs, f->n) : (struct site_estimate){NAN, NAN, NAN};
    if (f->accelerator_days.value > SITE_DAYS_BETWEEN_MOST) {
        error_set_code(e, ERROR_CONFIG,
                       "%s: %.3g accelerator-days between two incidents are more than a scenario "
                       "takes, %.0e",
                       path, f->accelerator_days.value, SITE_DAYS_BETWEEN_MOST);
        return error_hint(e, "are --units, --unit and --days those of this list?");
    }
    fit_ages(f, x.at_d);
    fit_lemons(f, &c);
    f->ages = f->ages && f->scale_days.value * good_scale(f) <= SITE_DAYS_BETWEEN_MOST;
    count_causes(&x, f, a);
    return 0;
}

int site_fit(const char *path, const struct site_fit_options *o, struct arena *a,
             struct site_fit *out, struct error *e)
{
    char *text;
    size_t size;
    TRY(file_read(path, 1 << 28, &text, &size, e));
    const struct str whole = {text, size, 0};
    int rc = site_fit_text(&whole, path, o, a, out, e);
    mem_free(text);
    return rc;
}

/* ------------------------------------------------------------------ shown */

static void put(FILE *out, const char *key, const struct site_estimate *v, double times)
{
    char value[40], remark[80];
    snprintf(value, sizeof value, "%s: %.5g", key, times * v->value);
    snprintf(remark, sizeof remark, "# %.5g to %.5g", times * v->low, times * v->high);
    fprintf(out, "  %-28s %s\n", value, remark);
}

void site_print_fit(const struct site_fit *f, FILE *out)
{
    fprintf(
        out,
        "# Fitted by `colossus site fit`: %zu incident%s of %.0f units of %lld in %.6g days, from "
        "an age of\n# %.6g days on. Behind each value its interval of 90 %%.\n",
        f->n, f->n == 1 ? "" : "s", f->o.units, (long long)f->o.unit, f->o.days, f->o.age_days);
    fprintf(out, "failures:\n");
    if (f->ages) { /* of units that are no lemons */
        fprintf(out, "  law: weibull\n");
        put(out, "shape", &f->shape, 1.0);
        put(out, "scale_days", &f->scale_days, good_scale(f));
        fprintf(out, "  age_days: %.6g\n", f->o.age_days);
    } else {
        char why[80] = "too few incidents to ask for a law by age";
        if (f->asks_age && (f->shape.low > 1.0 || f->shape.high < 1.0))
            snprintf(why, sizeof why, "a law by age would need a scale of %.2g days, too many",
                     f->scale_days.value * good_scale(f));
        else if (f->asks_age)
            snprintf(why, sizeof why, "a shape of %.3g to %.3g by age is not told from 1",
                     f->shape.low, f->shape.high);
        fprintf(out, "  %-28s # %s\n", "law: exponential", why);
        put(out, "accelerator_days", &f->accelerator_days, 1.0);
    }
    fprintf(out, "  unit: %lld\n", (long long)f->o.unit);
    if (isfinite(f->hardware_share.value)) put(out, "hardware_share", &f->hardware_share, 1.0);
    if (f->has_lemons) {
        put(out, "lemons", &f->lemons, 1.0);
        put(out, "lemon_factor", &f->lemon_factor, 1.0);
    } else {
        fprintf(out, "  %-28s # %s\n", "lemons: 0",
                f->asks_lemons ? "units do not differ by more than luck"
                               : "too few incidents to ask for lemons");
    }
    if (isfinite(f->repair_h.value)) {
        fprintf(out, "repair:                          # all of it in one time: nobody waits for "
                     "crews here\n");
        fprintf(out, "  triage: 0\n  escalates: 1\n  turnaround: 0\n  law: %s\n",
                f->repair_spread >= 0.5 ? "exponential" : "fixed");
        char value[40];
        snprintf(value, sizeof value, "hands: %.5g h", f->repair_h.value);
        fprintf(out, "  %-28s # %.5g to %.5g h\n", value, f->repair_h.low, f->repair_h.high);
    }
    fprintf(out, "# accelerator-days between incidents, by cause:\n");
    for (int i = 0; i < f->n_causes; i++) {
        struct str name = {0}; /* a cell may hold a line's end, and what steers a terminal */
        yaml_quote(&name, f->causes[i].name);
        fprintf(out, "#   %-24s %6zu  %.5g (%.5g to %.5g)\n", name.data, f->causes[i].n,
                f->causes[i].accelerator_days.value, f->causes[i].accelerator_days.low,
                f->causes[i].accelerator_days.high);
        str_fini(&name);
    }
}

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *estimate(const struct site_estimate *v)
{
    return json_pack("{s:o,s:o,s:o}", "value", number(v->value), "low", number(v->low), "high",
                     number(v->high));
}

json_t *site_fit_to_json(const struct site_fit *f)
{
    json_t *o = json_pack("{s:I,s:I,s:b,s:b}", "incidents", (json_int_t)f->n, "repairs",
                          (json_int_t)f->n_repairs, "ages", f->ages, "has_lemons", f->has_lemons);
    json_object_set_new(o, "asks_age", json_boolean(f->asks_age));
    json_object_set_new(o, "asks_lemons", json_boolean(f->asks_lemons));
    json_t *causes = json_object();
    json_object_set_new(o, "accelerator_days", estimate(&f->accelerator_days));
    json_object_set_new(o, "hardware_share", estimate(&f->hardware_share));
    json_object_set_new(o, "shape", estimate(&f->shape));
    json_object_set_new(o, "scale_days", estimate(&f->scale_days));
    json_object_set_new(o, "lemons", f->has_lemons ? estimate(&f->lemons) : json_null());
    json_object_set_new(o, "lemon_factor",
                        f->has_lemons ? estimate(&f->lemon_factor) : json_null());
    json_object_set_new(o, "repair_h", estimate(&f->repair_h));
    for (int i = 0; i < f->n_causes; i++)
        json_object_set_new(causes, f->causes[i].name, estimate(&f->causes[i].accelerator_days));
    json_object_set_new(o, "causes", causes);
    return o;
}
