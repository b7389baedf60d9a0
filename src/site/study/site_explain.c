/* site_explain.c: why something happened and what it cost, from the log of a run.
 *
 * A line of the log says which one it follows from. Upwards that is the reason; downwards it is what
 * followed, whose time and power are the cost: of a job that stopped, the time until it ran again and
 * the work that it did once more, of all its accelerators; of a deficit the watt-hours that nobody
 * served. A cost counts for every line above it. */
#include "site/study/site_study_internal.h"

#include <stdlib.h>
#include <string.h>

#define DAY 86400.0
enum { SHOWN = 24, RANKED = 12 };

static void add_cost(struct site_cost *c, const struct site_log *log, const struct site_log_line *l)
{
    c->accelerator_h += l->lost_s / 3600.0;
    c->unserved_wh += l->unserved_wh;
    c->interruptions += strcmp(l->event, "interruption") == 0;
    c->pauses += strcmp(l->event, "job_paused") == 0;
    c->missing_w = fmax(c->missing_w, l->missing_w);
    for (int i = 0; i < log->n_jobs && l->lost_s > 0.0; i++)
        if (strcmp(log->jobs[i].name, l->job) == 0)
            c->usd += l->lost_s / 3600.0 * log->jobs[i].usd_per_hour;
}

/* Of every line, with all that followed from it; in *a. */
static struct site_cost *costs_of(const struct site_log *log, struct arena *a)
{
    struct site_cost *c = arena_alloc(a, (log->n + 1) * sizeof(*c));
    for (size_t i = log->n; i-- > 0;) { /* what follows comes later: it is whole before its cause */
        add_cost(&c[i], log, &log->lines[i]);
        size_t by = log->lines[i].by ? site_log_find(log, log->lines[i].by) : log->n;
        if (by >= i) continue;
        c[by].accelerator_h += c[i].accelerator_h;
        c[by].usd += c[i].usd;
        c[by].unserved_wh += c[i].unserved_wh;
        c[by].interruptions += c[i].interruptions;
        c[by].pauses += c[i].pauses;
        c[by].missing_w = fmax(c[by].missing_w, c[i].missing_w);
    }
    return c;
}

static bool dearer(const struct site_cost *a, const struct site_cost *b)
{
    if (a->accelerator_h != b->accelerator_h) return a->accelerator_h > b->accelerator_h;
    return a->unserved_wh > b->unserved_wh;
}

/* ------------------------------------------------------------------ which one */

/* A number of so many digits at most; NULL: none stands there. */
static const char *take_number(const char *p, size_t most, double least, double high, double *out)
{
    size_t n = strspn(p, "0123456789");
    if (n == 0 || n > most) return NULL;
    for (*out = 0.0; n > 0; n--)
        *out = 10.0 * *out + (*p++ - '0');
    return *out >= least && *out <= high ? p : NULL;
}

/* "day 60, 12:00:00", as answers print moments, or less of it: all that it may mean, from the first second
 * to the last. Days count from 1. */
static bool read_moment(const char *text, double range[2])
{
    double v[4] = {0.0};
    static const double parts[] = {DAY, 3600.0, 60.0, 1.0};
    static const char *const between[] = {"day ", ", ", ":", ":"};
    static const double highest[] = {1e6, 23.0, 59.0, 59.0};
    range[0] = 0.0;
    for (int i = 0; i < 4; i++) {
        size_t n = strlen(between[i]);
        if (strncmp(text, between[i], n) != 0) return false;
        text = take_number(text + n, i ? 2 : 7, i ? 0.0 : 1.0, highest[i], &v[i]);
        if (!text) return false;
        range[0] += parts[i] * (v[i] - (i ? 0.0 : 1.0));
        range[1] = range[0] + parts[i] - 1e-6;
        if (!*text && i != 1) return true; /* an hour alone is no moment */
    }
    return false;
}

/* How long after a time a line is; below 0: before it. */
static double off_of(const struct site_log_line *l, const double range[2])
{
    return l->at_s < range[0] ? l->at_s - range[0] : fmax(l->at_s - range[1], 0.0);
}

/* The line nearest to a time; of those as near the one that cost most. */
static int near_time(const struct site_log *log, const struct site_cost *c, const double range[2],
                     struct site_explained *x, struct error *e)
{
    const double end = fmax(log->days * DAY, log->lines[log->n - 1].at_s);
    if (!(range[0] >= 0.0 && range[0] <= end)) {
        error_set_code(e, ERROR_USAGE, "'%.60s' lies %s", x->asked,
                       range[0] < 0.0 ? "before the log begins" : "after the end of the log");
        return error_hint(e, "the log ends at %.6g d, in day %.0f", end / DAY,
                          fmax(ceil(end / DAY), 1.0));
    }
    x->line = 0;
    for (size_t i = 1; i < log->n; i++) {
        double was = fabs(off_of(&log->lines[x->line], range));
        double is = fabs(off_of(&log->lines[i], range));
        if (is < was || (is == was && dearer(&c[i], &c[x->line]))) x->line = i;
    }
    x->off_s = off_of(&log->lines[x->line], range);
    return 0;
}

static int of_name(const struct site_log *log, const struct site_cost *c, const char *name,
                   size_t *out, struct error *e)
{
    const char **names = mem_alloc((log->n + 1) * sizeof(*names));
    size_t n = 0, best = log->n;
    for (size_t i = 0; i < log->n; i++) {
        const struct site_log_line *l = &log->lines[i];
        bool known = false;
        for (size_t k = 0; k < n && !known; k++)
            known = strcmp(names[k], l->event) == 0;
        if (!known) names[n++] = l->event;
        if (strcmp(l->event, name) != 0) continue;
        if (best == log->n || dearer(&c[i], &c[best])) best = i;
    }
    int rc = 0;
    if (best == log->n) {
        const char *near = name_nearest(name, names, n);
        rc = error_set_code(e, ERROR_USAGE, "the log has no event '%.60s'", name);
        error_hint(e,
                   near ? "did you mean '%s'? a number of a line or a time will do, too"
                        : "for example %s, or a number of a line, or a time: '12 d', 'day 13'",
                   near ? near : names[0]);
    }
    mem_free(names);
    *out = best;
    return rc;
}

static int choose(const struct site_log *log, const struct site_cost *c, const char *event,
                  struct site_explained *x, struct error *e)
{
    int64_t id;
    double range[2];
    const char *unit;
    if (parse_int(event, &id) >= 0) {
        x->line = site_log_find(log, id);
        if (x->line < log->n) return 0;
        error_set_code(e, ERROR_USAGE, "the log has no line with the number %lld", (long long)id);
        return error_hint(e, "they go from %lld to %lld", (long long)log->lines[0].id,
                          (long long)log->lines[log->n - 1].id);
    }
    x->asked = event;
    if (read_moment(event, range)) return near_time(log, c, range, x, e);
    if (unit_parse(event, UNIT_SECONDS, &range[0], &unit) == UNIT_OK) {
        range[1] = range[0];
        if (*unit) return near_time(log, c, range, x, e);
        error_set_code(e, ERROR_USAGE, "'%.60s' is no number of a line, and as a time has no unit",
                       event);
        return error_hint(e, "for example '%.40s d' or '%.40s h' since the beginning", event,
                          event);
    }
    if (strncmp(event, "day", 3) == 0) {
        error_set_code(e, ERROR_USAGE, "'%.60s' is no moment of a log", event);
        return error_hint(e, "for example 'day 60', or 'day 60, 12:00:00'; or '59.5 d' since the "
                             "beginning");
    }
    x->asked = NULL;
    return of_name(log, c, event, &x->line, e);
}

/* ------------------------------------------------------------------ the answer */

static void chain_up(const struct site_log *log, struct site_explained *x, struct arena *a)
{
    size_t n = 0;
    for (size_t i = x->line; log->lines[i].by;) {
        size_t by = site_log_find(log, log->lines[i].by);
        if (by >= i) break; /* its line is not in this log */
        i = by;
        n++;
    }
    x->because = arena_alloc(a, (n + 1) * sizeof(*x->because));
    for (size_t i = x->line; x->n_because < n;)
        x->because[x->n_because++] = i = site_log_find(log, log->lines[i].by);
}

static void chain_down(const struct site_log *log, struct site_explained *x, struct arena *a)
{
    bool *follows = arena_alloc(a, log->n);
    x->then = arena_alloc(a, (log->n - x->line + 1) * sizeof(*x->then));
    follows[x->line] = true;
    for (size_t i = x->line + 1; i < log->n; i++) {
        size_t by = log->lines[i].by ? site_log_find(log, log->lines[i].by) : log->n;
        if (by >= i || !follows[by]) continue;
        follows[i] = true;
        x->then[x->n_then++] = i;
    }
}

/* What left most power unserved is among those that cost most, if as the last. */
static void keep_darkest(const struct site_log *log, const struct site_cost *c,
                         struct site_explained *out)
{
    size_t most = log->n;
    for (size_t i = 0; i < log->n; i++)
        if (!log->lines[i].by && c[i].unserved_wh > 0.0 &&
            (most == log->n || c[i].unserved_wh > c[most].unserved_wh))
            most = i;
    for (size_t i = 0; i < out->n_ranked; i++)
        if (out->ranked[i] == most) return;
    if (most == log->n || out->n_ranked < RANKED) return;
    out->ranked[RANKED - 1] = most;
    out->ranked_cost[RANKED - 1] = c[most];
}

int site_explain(const struct site_log *log, const char *event, struct arena *a,
                 struct site_explained *out, struct error *e)
{
    const struct site_cost *c = costs_of(log, a);
    *out = (struct site_explained){0};
    if (event) {
        TRY(choose(log, c, event, out, e));
        out->cost = c[out->line];
        chain_up(log, out, a);
        chain_down(log, out, a);
        return 0;
    }
    out->ranked = arena_alloc(a, RANKED * sizeof(*out->ranked));
    out->ranked_cost = arena_alloc(a, RANKED * sizeof(*out->ranked_cost));
    for (size_t i = 0; i < log->n; i++) { /* those that follow from nothing, the dearest first */
        if (log->lines[i].by || (c[i].accelerator_h <= 0.0 && c[i].unserved_wh <= 0.0)) continue;
        size_t at = out->n_ranked < RANKED ? out->n_ranked++ : RANKED;
        for (; at > 0 && dearer(&c[i], &out->ranked_cost[at - 1]); at--) {
            if (at == RANKED) continue;
            out->ranked[at] = out->ranked[at - 1];
            out->ranked_cost[at] = out->ranked_cost[at - 1];
        }
        if (at == RANKED) continue;
        out->ranked[at] = i;
        out->ranked_cost[at] = c[i];
    }
    keep_darkest(log, c, out);
    return 0;
}

/* ------------------------------------------------------------------ shown */

static const char *moment(char buf[48], double at_s)
{
    double day = floor(at_s / DAY), rest = at_s - day * DAY;
    snprintf(buf, 48, "day %.0f, %02d:%02d:%02d", day + 1.0, (int)(rest / 3600.0),
             (int)(fmod(rest, 3600.0) / 60.0), (int)fmod(rest, 60.0));
    return buf;
}

/* "turbine_trip of Titan 350 (forced outage)" */
static void put_what(const struct site_log_line *l, struct str *out)
{
    str_puts(out, l->event);
    if (*l->target) str_printf(out, " of %.60s", l->target);
    if (*l->phase) str_printf(out, ", %.20s", l->phase);
    if (*l->why) str_printf(out, " (%.60s)", l->why);
    if (l->missing_w > 0.0) {
        char text[32];
        str_printf(out, ", %s missing", format_si(text, l->missing_w, "W"));
    }
    if (strncmp(l->event, "units_", 6) == 0)
        str_printf(out, ", %.0f unit%s", l->value, l->value == 1.0 ? "" : "s");
    if (isfinite(l->watts)) {
        char text[32];
        str_printf(out, strcmp(l->event, "battery_gives") == 0 ? ", %s" : ", %s left",
                   format_si(text, l->watts, "W"));
    }
    if (strcmp(l->event, "power_cap") == 0) str_printf(out, " at %.0f %%", 100.0 * l->value);
    if (l->after_s > 0.0) {
        char text[32];
        str_printf(out, " after %s", format_duration(text, l->after_s));
    }
}

static void put_line(const struct site_log_line *l, double from_s, FILE *out)
{
    struct str what = {0};
    char text[32];
    put_what(l, &what);
    fprintf(out, "  %10s  %s  [%lld]\n", format_duration(text, fabs(l->at_s - from_s)), what.data,
            (long long)l->id);
    str_fini(&what);
}

/* The deficit that went on when a line was written; n: none did. */
static size_t open_deficit(const struct site_log *log, size_t line)
{
    size_t open = log->n;
    for (size_t i = 0; i < line; i++) {
        if (strcmp(log->lines[i].event, "deficit") == 0 && open == log->n) open = i;
        if (strcmp(log->lines[i].event, "deficit_over") == 0) open = log->n;
    }
    return open;
}

/* " in 3 interruptions and 2 pauses"; "" where neither was. */
static const char *stops_of(const struct site_cost *c, char buf[80])
{
    const long long i = c->interruptions, p = c->pauses;
    char pauses[40] = "";
    *buf = '\0';
    if (p) snprintf(pauses, sizeof pauses, "%lld pause%s for want of power", p, p == 1 ? "" : "s");
    if (i)
        snprintf(buf, 80, " in %lld interruption%s%s%s", i, i == 1 ? "" : "s", p ? " and " : "",
                 pauses);
    else if (p)
        snprintf(buf, 80, " in %s", pauses);
    return buf;
}

static void put_cost(const struct site_log *log, size_t line, const struct site_cost *c, FILE *out)
{
    char hours[32], usd[32], wh[32], w[32], stops[80];
    const size_t open = open_deficit(log, line);
    fprintf(out, "\nWhat it cost\n");
    if (open < log->n)
        fprintf(out, "  power was short already: what it added to that is in the cost of [%lld]\n",
                (long long)log->lines[open].id);
    if (c->accelerator_h <= 0.0 && c->unserved_wh <= 0.0) {
        if (open < log->n) return;
        fprintf(out, "  no job stood still for it, and all power was served\n");
        return;
    }
    if (c->accelerator_h > 0.0)
        fprintf(out, "  %s accelerator-hours of jobs%s, worth %s\n",
                format_count(hours, c->accelerator_h), stops_of(c, stops),
                format_si(usd, c->usd, "USD"));
    if (c->unserved_wh > 0.0)
        fprintf(out, "  %s that were asked for and not served\n",
                format_si(wh, c->unserved_wh, "Wh"));
    if (c->missing_w > 0.0)
        fprintf(out,
                "  %s more, from sources that run when it is missing, would have prevented the "
                "deficit\n",
                format_si(w, c->missing_w, "W"));
}

static void print_ranked(const struct site_log *log, const struct site_explained *x, FILE *out)
{
    static const char *const heads[] = {"number", "when", "what", "accelerator-hours", "unserved"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "rllrr");
    fprintf(out, "What cost most in '%s', seed %lld\n\n", log->scenario, (long long)log->seed);
    for (size_t i = 0; i < x->n_ranked; i++) {
        const struct site_log_line *l = &log->lines[x->ranked[i]];
        struct str what = {0};
        char id[32], when[48], hours[32], wh[32];
        put_what(l, &what);
        snprintf(id, sizeof id, "%lld", (long long)l->id);
        table_row(t, id, moment(when, l->at_s), what.data,
                  format_count(hours, x->ranked_cost[i].accelerator_h),
                  format_si(wh, x->ranked_cost[i].unserved_wh, "Wh"));
        str_fini(&what);
    }
    table_print(t, out);
    table_free(t);
    if (x->n_ranked == 0)
        fputs("Nothing stopped a job, and all power was served.\n", out);
    else
        fprintf(out, "\nWhy the first of them happened: colossus site explain LOG.jsonl %lld\n",
                (long long)log->lines[x->ranked[0]].id);
}

void site_print_explained(const struct site_log *log, const struct site_explained *x, FILE *out)
{
    if (x->ranked) {
        print_ranked(log, x, out);
        return;
    }
    const struct site_log_line *l = &log->lines[x->line];
    struct str what = {0};
    char when[48], off[32];
    put_what(l, &what);
    fprintf(out, "%s  [%lld]\n%s of '%s', seed %lld\n", what.data, (long long)l->id,
            moment(when, l->at_s), log->scenario, (long long)log->seed);
    str_fini(&what);
    if (x->asked && fabs(x->off_s) > 1e-3)
        fprintf(out, "the nearest line to '%s': %s %s it\n", x->asked,
                format_duration(off, fabs(x->off_s)), x->off_s < 0.0 ? "before" : "after");
    fputs("\nBecause of\n", out);
    if (x->n_because == 0) fputs("  nothing before it: it happened by itself\n", out);
    for (size_t i = 0; i < x->n_because; i++)
        put_line(&log->lines[x->because[i]], l->at_s, out);
    fputs("\nThen\n", out);
    if (x->n_then == 0) fputs("  nothing followed\n", out);
    for (size_t i = 0; i < x->n_then && i < SHOWN; i++)
        put_line(&log->lines[x->then[i]], l->at_s, out);
    if (x->n_then > SHOWN) fprintf(out, "  and %zu more\n", x->n_then - SHOWN);
    put_cost(log, x->line, &x->cost, out);
}

static json_t *line_to_json(const struct site_log_line *l)
{
    json_t *o = json_pack("{s:I,s:f,s:s,s:s,s:s}", "id", (json_int_t)l->id, "at_s", l->at_s,
                          "event", l->event, "target", l->target, "why", l->why);
    if (isfinite(l->watts)) json_object_set_new(o, "watts", json_real(l->watts));
    return o;
}

static json_t *cost_to_json(const struct site_cost *c)
{
    return json_pack("{s:f,s:f,s:f,s:I,s:I,s:f}", "accelerator_hours", c->accelerator_h, "usd",
                     c->usd, "unserved_wh", c->unserved_wh, "interruptions",
                     (json_int_t)c->interruptions, "pauses", (json_int_t)c->pauses, "missing_w",
                     c->missing_w);
}

json_t *site_explained_to_json(const struct site_log *log, const struct site_explained *x)
{
    json_t *o = json_pack("{s:s,s:I}", "scenario", log->scenario, "seed", (json_int_t)log->seed);
    json_t *list = json_array(), *then = json_array();
    for (size_t i = 0; i < x->n_ranked; i++) {
        json_t *l = line_to_json(&log->lines[x->ranked[i]]);
        json_object_set_new(l, "cost", cost_to_json(&x->ranked_cost[i]));
        json_array_append_new(list, l);
    }
    for (size_t i = 0; i < x->n_because; i++)
        json_array_append_new(list, line_to_json(&log->lines[x->because[i]]));
    for (size_t i = 0; i < x->n_then; i++)
        json_array_append_new(then, line_to_json(&log->lines[x->then[i]]));
    json_object_set_new(o, x->ranked ? "ranked" : "because", list);
    if (x->ranked) {
        json_decref(then);
        return o;
    }
    json_object_set_new(o, "event", line_to_json(&log->lines[x->line]));
    if (x->asked) json_object_set_new(o, "after_asked_s", json_real(x->off_s));
    json_object_set_new(o, "then", then);
    json_object_set_new(o, "cost", cost_to_json(&x->cost));
    return o;
}
