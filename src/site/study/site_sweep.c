/* site_sweep.c: one input of a scenario at several values, and the first of them that reaches a goal.
 *
 * Values stand in the order in which one takes them: fewest spares, watts, units and crews first; of the
 * time between checkpoints the longest, which writes least. That is no order of prices: what a site costs
 * with each stands beside it. A value is lived through by sixteen seeds, and by
 * sixteen more, until Student's t says with the asked confidence that the mean reaches the goal or that
 * it does not. Where more of the input never makes it worse, halving finds the first value that reaches
 * it; of checkpoints, which can be too many, each is tried until one does; `all` tries every one. Luck is
 * the same for all values. */
#include "site/study/site_study_internal.h"

#include <stdlib.h>
#include <string.h>

enum { BATCH = 16 };

const char *const site_knob_names[] = {"spares",       "battery_mw", "turbines",
                                       "checkpoint_s", "crews",      NULL};

/* ------------------------------------------------------------------ what is asked */

static const struct {
    bool whole, down; /* values are whole numbers; the largest stands first */
    double least;     /* of crews 0 are any number, of checkpoints the best: neither is the least */
    const char *first;
} knobs[] = {
    [SITE_KNOB_SPARES] = {true, false, 0.0, "the least"},
    [SITE_KNOB_BATTERY] = {false, false, 0.0, "the least"},
    [SITE_KNOB_TURBINES] = {true, false, 1.0, "the least"},
    [SITE_KNOB_CHECKPOINT] = {false, true, 1.0, "the longest"},
    [SITE_KNOB_CREWS] = {true, false, 1.0, "the least"},
};

static int by_value(const void *a, const void *b)
{
    double x = ((const struct site_sweep_point *)a)->value;
    double y = ((const struct site_sweep_point *)b)->value;
    return (x > y) - (x < y);
}

static int by_value_down(const void *a, const void *b)
{
    return by_value(b, a);
}

/* In the order in which they are taken, each once. */
static int sort_values(struct site_sweep *out, struct error *e)
{
    qsort(out->points, out->n, sizeof(out->points[0]),
          knobs[out->knob].down ? by_value_down : by_value);
    for (size_t i = 1; i < out->n; i++) {
        if (out->points[i].value != out->points[i - 1].value) continue;
        error_set_code(e, ERROR_USAGE, "--over %s has %.10g twice", site_knob_names[out->knob],
                       out->points[i].value);
        return error_hint(e, "name each value once");
    }
    return 0;
}

static int read_values(const char *text, struct site_sweep *out, struct error *e)
{
    const bool whole = knobs[out->knob].whole;
    const double least = knobs[out->knob].least;
    for (const char *p = text; out->n < SITE_SWEEP_MAX;) {
        size_t n = strcspn(p, ",");
        char one[40];
        double value;
        snprintf(one, sizeof one, "%.*s", (int)MIN(n, sizeof one - 1), p);
        bool good =
            n < sizeof one && parse_number(one, &value) >= 0 && value >= least && value <= 1e9;
        if (!good || (whole && value != floor(value))) {
            error_set_code(e, ERROR_USAGE, "--over %s takes %s from %.0f on, not '%.40s'",
                           site_knob_names[out->knob], whole ? "whole numbers" : "numbers", least,
                           one);
            return error_hint(e, "for example --over %s=%s", site_knob_names[out->knob],
                              whole ? "4,8,16,32" : "50,100,200");
        }
        out->points[out->n++].value = value;
        if (!p[n]) return sort_values(out, e);
        p += n + 1;
    }
    error_set_code(e, ERROR_USAGE, "--over has more than %d values", SITE_SWEEP_MAX);
    return error_hint(e, "take some of them out, or ask again between two of them");
}

static int read_over(const char *text, struct site_sweep *out, struct error *e)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : strlen(text);
    for (out->knob = 0; site_knob_names[out->knob]; out->knob++)
        if (strlen(site_knob_names[out->knob]) == n &&
            strncmp(site_knob_names[out->knob], text, n) == 0)
            break;
    if (!site_knob_names[out->knob] || !equals) {
        error_set_code(e, ERROR_USAGE, "--over takes INPUT=A,B,..., not '%.60s'", text);
        return error_hint(e, "INPUT is spares, battery_mw, turbines, checkpoint_s or crews; for "
                             "example --over spares=0,72,144,288");
    }
    return read_values(equals + 1, out, e);
}

/* What the unit of a figure measures, and what one of it is in the first unit of its kind. */
static enum unit_kind kind_of(const char *unit, double *one)
{
    static const struct {
        const char *unit;
        enum unit_kind kind;
        double one;
    } KINDS[] = {
        {"share", UNIT_SHARE, 1.0}, {"W", UNIT_W, 1.0},          {"Wh", UNIT_WH, 1.0},
        {"s", UNIT_SECONDS, 1.0},   {"min", UNIT_SECONDS, 60.0}, {"h", UNIT_SECONDS, 3600.0},
        {"d", UNIT_DAYS, 1.0},      {"USD", UNIT_USD, 1.0},      {"Hz", UNIT_HZ, 1.0},
        {"C", UNIT_CELSIUS, 1.0},
    };
    *one = 1.0;
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        if (strcmp(KINDS[i].unit, unit) != 0) continue;
        *one = KINDS[i].one;
        return KINDS[i].kind;
    }
    return UNIT_NONE;
}

/* "90 %", "1 kWh"; a number without a unit is in the figure's own. */
static int read_bound(const char *text, struct site_sweep *out, struct error *e)
{
    const struct site_figure *f = out->figure;
    const char *sign = out->at_least ? ">=" : "<=", *unit;
    double one;
    const enum unit_kind kind = kind_of(f->unit, &one);
    if (unit_parse(text, kind, &out->goal, &unit) != UNIT_OK) {
        char units[80];
        error_set_code(e, ERROR_USAGE, "--until: '%.40s' is no bound of '%s'", text, f->name);
        if (kind == UNIT_NONE)
            return error_hint(e, "a number without a unit%s%s, for example --until '%s%s10'",
                              *f->unit ? ", in " : "", f->unit, f->name, sign);
        return error_hint(e, "a number, which may carry %s; without one it is in %s",
                          unit_list(kind, units, sizeof units), kind == UNIT_SHARE ? "1" : f->unit);
    }
    if (*unit) out->goal /= one;
    if (kind != UNIT_SHARE || (out->goal >= 0.0 && out->goal <= 1.0)) return 0;
    error_set_code(e, ERROR_USAGE, "--until: '%s' is a share from 0 to 100 %%, not %.6g %%",
                   f->name, 100.0 * out->goal);
    if (!*unit && out->goal > 1.0 && out->goal <= 100.0)
        return error_hint(e, "did you mean '%s%s%.6g %%'?", f->name, sign, out->goal);
    return error_hint(e, "for example --until '%s%s90 %%'", f->name, sign);
}

/* "goodput>=90 %", "unserved_wh<=0" */
static int read_goal(const char *text, struct site_sweep *out, struct error *e)
{
    const char *sign = strpbrk(text, "<>"), *names[SITE_SWEEP_NAMES];
    size_t n = 0, length = sign ? (size_t)(sign - text) : 0;
    while (length > 0 && text[length - 1] == ' ')
        length--;
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)MIN(length, sizeof name - 1), text);
    for (size_t i = 0; i < site_n_figures && sign; i++) {
        names[n++] = site_figures[i].name;
        if (strcmp(site_figures[i].name, name) == 0) out->figure = &site_figures[i];
    }
    out->at_least = sign && *sign == '>';
    if (sign && out->figure && sign[1] == '=')
        return read_bound(sign + 2 + strspn(sign + 2, " "), out, e);
    error_set_code(e, ERROR_USAGE, "--until takes FIGURE>=X or FIGURE<=X, not '%.60s'", text);
    const char *near = sign && !out->figure ? name_nearest(name, names, n) : NULL;
    if (near) return error_hint(e, "did you mean '%s'? for example --until '%s>=0.9'", near, near);
    return error_hint(e, "for example --until 'goodput>=90 %%', or --until 'unserved_wh<=0'");
}

/* ------------------------------------------------------------------ one value */

/* Jobs that state no size keep to what that was. */
static void pin_jobs(struct site_scenario *s, const struct site_scenario *from)
{
    for (int i = 0; i < s->n_jobs; i++) {
        s->jobs[i].accelerators = (int64_t)site_job_wants(from, i);
    }
}

static int more_spares(struct site_scenario *s, const struct site_scenario *from, int64_t n,
                       struct error *e)
{
    int b = 0;
    while (b < s->n_blocks && s->blocks[b].pool != 1)
        b++;
    if (b == s->n_blocks) {
        error_set(e, "no block of the first pool can hold spares");
        return error_hint(e, "for example blocks: [{pool: 1, accelerators: 1024}]");
    }
    pin_jobs(s, from);
    s->cluster.pools[0].count += n;
    s->blocks[b].accelerators += n;
    s->cold_spares += n;
    return 0;
}

static int more_units(struct site_scenario *s, const char *group, int64_t n, struct error *e)
{
    const char *names[SITE_MAX_GAS];
    int g = 0;
    int64_t others = 0;
    for (int i = 0; i < s->n_gas; i++)
        names[i] = s->gas[i].name;
    while (g < s->n_gas && *group && strcmp(names[g], group) != 0)
        g++;
    if (g == s->n_gas) {
        if (s->n_gas == 0) {
            error_set_code(e, ERROR_USAGE, "the scenario has no gas units");
            return error_hint(e, "sweep something else, for example --over battery_mw=0,10,20");
        }
        error_set_code(e, ERROR_USAGE, "the scenario has no gas units '%.60s'", group);
        const char *near = name_nearest(group, names, (size_t)s->n_gas);
        return error_hint(e, "for example --group '%s'", near ? near : names[0]);
    }
    for (int i = 0; i < s->n_gas; i++)
        others += i == g ? 0 : s->gas[i].units;
    if (n < 1 || others + n > SITE_MAX_UNITS) {
        error_set_code(e, ERROR_USAGE, "--over turbines takes 1 to %lld units of '%.60s'",
                       (long long)(SITE_MAX_UNITS - others), names[g]);
        return error_hint(e, "for example --over turbines=%lld",
                          (long long)MAX(s->gas[g].units, 1));
    }
    s->gas[g].units = n;
    if (s->gas[g].on > n) s->gas[g].on = n;
    return 0;
}

static void set_battery(struct site_scenario *s, double watts)
{
    double power = figure_mid(&s->battery.power_w, figure_mid(&s->site.battery_w, 0.0));
    double energy = figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
    double hours = power > 0.0 ? energy / power : 4.0;
    s->battery.power_w = (struct figure){watts, watts, watts, 'A', ""};
    s->battery.energy_wh = (struct figure){hours * watts, hours * watts, hours * watts, 'A', ""};
}

int site_sweep_set(const struct site_scenario *from, int knob, const char *group, double value,
                   struct site_scenario *s, struct error *e)
{
    *s = *from;
    switch ((enum site_knob)knob) {
    case SITE_KNOB_SPARES: return more_spares(s, from, (int64_t)value, e);
    case SITE_KNOB_TURBINES: return more_units(s, group, (int64_t)value, e);
    case SITE_KNOB_BATTERY: set_battery(s, 1e6 * value); return 0;
    case SITE_KNOB_CHECKPOINT:
        for (int i = 0; i < s->n_jobs; i++)
            if (s->jobs[i].kind == SITE_JOB_TRAINING) s->jobs[i].checkpoint_s = value;
        return 0;
    case SITE_KNOB_CREWS: {
        const struct site_repair *r = &from->repair;
        double night = r->crews > 0 ? (double)r->night_crews / (double)r->crews : 0.0;
        s->repair.crews = (int64_t)value;
        s->repair.night_crews = (int64_t)ceil(night * value);
        return 0;
    }
    }
    return 0;
}

/* Probability that a variable of Student's distribution of n degrees of freedom is below t: the
 * integral by Simpson's rule of its density under x = tan(u) (Abramowitz and Stegun, 26.7). */
double site_student(double t, double n)
{
    enum { STEPS = 2000 };
    double c = exp(lgamma(0.5 * (n + 1.0)) - lgamma(0.5 * n)) / sqrt(M_PI), end = atan(t / sqrt(n));
    double sum = 0.0, h = end / STEPS;
    for (int i = 0; i <= STEPS; i++) {
        double w = i == 0 || i == STEPS ? 1.0 : i % 2 ? 4.0 : 2.0;
        sum += w * pow(cos(h * i), n - 1.0);
    }
    return 0.5 + c * sum * h / 3.0;
}

static double sure_of(const struct site_sweep *w, const struct site_sweep_point *p)
{
    double over = w->at_least ? p->mean - w->goal : w->goal - p->mean;
    if (p->deviation <= 0.0) return over >= 0.0 ? 1.0 : 0.0;
    return site_student(over / (p->deviation / sqrt((double)p->seeds)), (double)p->seeds - 1.0);
}

static int try_value(const struct site_scenario *from, struct site_sweep *w,
                     struct site_sweep_point *p, struct arena *a, struct error *e)
{
    struct site_scenario *s = mem_alloc(sizeof(*s));
    double sum = 0.0, squares = 0.0, usd = 0.0, lost = 0.0;
    int rc = site_sweep_set(from, w->knob, w->group, p->value, s, e);
    while (rc >= 0 && p->seeds < w->most) {
        struct site_run_options o = {
            .seed = w->seed + p->seeds, .days = w->days, .every_seed = true};
        struct site_seeds x;
        rc = site_run_seeds(s, &o, MIN((size_t)BATCH, w->most - p->seeds), a, &x, e);
        if (rc < 0) break;
        for (size_t i = 0; i < x.n; i++) {
            double v = w->figure->value(s, &x.each[i]);
            if (!isfinite(v)) { /* nothing of the kind happened */
                rc = error_set(e, "'%s' is not known of every seed: it cannot be a goal here",
                               w->figure->name);
                break;
            }
            sum += v;
            squares += v * v;
            usd += x.each[i].total_usd;
            lost += x.each[i].lost_usd;
        }
        p->seeds += x.n;
        double n = (double)p->seeds;
        p->mean = sum / n;
        double spread = fmax(squares - sum * p->mean, 0.0);
        p->deviation = n > 1.0 && spread > 1e-24 * squares ? sqrt(spread / (n - 1.0)) : 0.0;
        p->usd = usd / n;
        p->lost_usd = lost / n;
        p->sure = sure_of(w, p);
        if (p->sure >= w->confidence || p->sure <= 1.0 - w->confidence) break;
    }
    p->tried = true;
    mem_free(s);
    return rc;
}

/* ------------------------------------------------------------------ the search */

static bool holds(const struct site_sweep *w, const struct site_sweep_point *p)
{
    return p->tried && p->sure >= w->confidence;
}

static int search(const struct site_scenario *s, struct site_sweep *w, struct arena *a,
                  struct error *e)
{
    size_t low = 0, high = w->n; /* below `low` none holds, from `high` on all do */
    /* too few checkpoints are as bad as too many: there is nothing to halve */
    if (w->all || w->knob == SITE_KNOB_CHECKPOINT) {
        w->best = w->n;
        for (size_t i = 0; i < w->n && (w->all || w->best == w->n); i++) {
            TRY(try_value(s, w, &w->points[i], a, e));
            if (w->best == w->n && holds(w, &w->points[i])) w->best = i;
        }
        return 0;
    }
    TRY(try_value(s, w, &w->points[w->n - 1], a, e)); /* the most: is there any? */
    if (holds(w, &w->points[w->n - 1])) high = w->n - 1;
    while (high < w->n && low < high) {
        size_t middle = low + (high - low) / 2;
        TRY(try_value(s, w, &w->points[middle], a, e));
        if (holds(w, &w->points[middle]))
            high = middle;
        else
            low = middle + 1;
    }
    w->best = high;
    return 0;
}

int site_sweep(const struct site_scenario *s, const struct site_sweep_options *o, struct arena *a,
               struct site_sweep *out, struct error *e)
{
    *out = (struct site_sweep){.group = o->group ? o->group : "",
                               .confidence = o->confidence,
                               .most = o->seeds,
                               .seed = o->seed,
                               .days = o->days,
                               .all = o->all};
    TRY(read_over(o->over, out, e));
    TRY(read_goal(o->until, out, e));
    return search(s, out, a, e);
}

/* ------------------------------------------------------------------ shown */

void site_print_sweep(const struct site_sweep *w, FILE *out)
{
    const char *const heads[] = {
        site_knob_names[w->knob], w->figure->name, "+-", "seeds", "sure", "costs", "lost", ""};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "rrrrrrrl");
    char first[40];
    snprintf(first, sizeof first, "%s that holds", knobs[w->knob].first);
    for (size_t i = 0; i < w->n; i++) {
        const struct site_sweep_point *p = &w->points[i];
        char value[32], mean[32], half[32], seeds[32], sure[32], usd[32], lost[32];
        snprintf(value, sizeof value, "%.10g", p->value);
        if (!p->tried) {
            table_row(t, value, "", "", "", "", "", "", "not tried");
            continue;
        }
        snprintf(seeds, sizeof seeds, "%zu", p->seeds);
        snprintf(sure, sizeof sure, "%.1f %%", 100.0 * p->sure);
        table_row(t, value, site_tell(mean, w->figure, p->mean),
                  site_tell(half, w->figure, 1.96 * p->deviation / sqrt((double)p->seeds)), seeds,
                  sure, format_si(usd, p->usd, "USD"), format_si(lost, p->lost_usd, "USD"),
                  i == w->best                    ? first
                  : holds(w, p)                   ? "holds"
                  : p->sure > 1.0 - w->confidence ? "not sure"
                                                  : "does not");
    }
    char goal[32];
    fprintf(out, "%s %s %s, with a confidence of %.0f %%\n\n", w->figure->name,
            w->at_least ? ">=" : "<=", site_tell(goal, w->figure, w->goal), 100.0 * w->confidence);
    table_print(t, out);
    table_free(t);
    if (w->best < w->n)
        fprintf(out, "\n%s = %.10g is %s of these that holds.\n", site_knob_names[w->knob],
                w->points[w->best].value, knobs[w->knob].first);
    else
        fprintf(out, "\nNone of these holds.\n");
}

json_t *site_sweep_to_json(const struct site_sweep *w)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:f,s:f}", "over", site_knob_names[w->knob], "figure",
                          w->figure->name, "goal", w->at_least ? ">=" : "<=", "value", w->goal,
                          "confidence", w->confidence);
    json_t *list = json_array();
    for (size_t i = 0; i < w->n; i++) {
        const struct site_sweep_point *p = &w->points[i];
        if (!p->tried) continue;
        json_array_append_new(list,
                              json_pack("{s:f,s:f,s:f,s:I,s:f,s:b,s:f,s:f}", "value", p->value,
                                        "mean", p->mean, "deviation", p->deviation, "seeds",
                                        (json_int_t)p->seeds, "sure", p->sure, "holds", holds(w, p),
                                        "total_usd", p->usd, "lost_training_usd", p->lost_usd));
    }
    json_object_set_new(o, "tried", list);
    json_object_set_new(o, "first_that_holds",
                        w->best < w->n ? json_real(w->points[w->best].value) : json_null());
    return o;
}

/* The figure over the input, with the half-width of its mean, and the goal. */
static void plot_of(const struct site_sweep *w, double xs[], double ys[4][SITE_SWEEP_MAX],
                    struct plot_series series[4], struct plot *out)
{
    size_t n = 0;
    for (size_t k = 0; k < w->n; k++) {
        const struct site_sweep_point *p = &w->points[knobs[w->knob].down ? w->n - 1 - k : k];
        if (!p->tried) continue;
        double half = 1.96 * p->deviation / sqrt((double)p->seeds);
        xs[n] = p->value;
        ys[0][n] = p->mean;
        ys[1][n] = p->mean + half;
        ys[2][n] = p->mean - half;
        ys[3][n++] = w->goal;
    }
    static const char *const names[] = {"mean", "mean + 95 %", "mean - 95 %", "goal"};
    for (int i = 0; i < 4; i++)
        series[i] = (struct plot_series){
            .name = names[i], .x = xs, .y = ys[i], .count = n, .style = PLOT_LINE};
    *out = (struct plot){.title = w->figure->name,
                         .x_label = site_knob_names[w->knob],
                         .y_label = w->figure->name,
                         .series = series,
                         .n_series = 4};
}

void site_plot_sweep(const struct site_sweep *w, FILE *out)
{
    double xs[SITE_SWEEP_MAX], ys[4][SITE_SWEEP_MAX];
    struct plot_series series[4];
    struct plot p;
    plot_of(w, xs, ys, series, &p);
    plot_print(&p, 72, 16, out);
}

int site_write_sweep(const struct site_sweep *w, const char *path, struct error *e)
{
    double xs[SITE_SWEEP_MAX], ys[4][SITE_SWEEP_MAX];
    struct plot_series series[4];
    struct plot p;
    plot_of(w, xs, ys, series, &p);
    return plot_write_svg_panels(&p, 1, 760, 320, path, e);
}
