/* site_trace.c: site.csv: the site at every report; swing.csv: 60 s windows at 10 ms that begin with
 * what the scenario says happens, with the wave of the steps and the checkpoints of jobs, each by
 * itself, and means over a second, which hide most of it. A row is read off the state without
 * changing it: what is linear, and what its fuel gives off, is extended from the last event. */
#include "site/run/site_run_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_WINDOWS = 8, MEAN_OF = 100 }; /* rows that a mean is of */
#define WINDOW (60 * SITE_SECOND)
#define STEP   (SITE_SECOND / 100)

/* Whether a line was written before the run was paused, or by another run. */
enum age { AGE_OLD, AGE_NEW, AGE_FOREIGN };

static enum age old_if(bool old)
{
    return old ? AGE_OLD : AGE_NEW;
}

static enum age age_of_report(const struct site_sim *x, const char *line)
{
    return old_if(strtod(line, NULL) * 86400.0 <= site_seconds(x->st->now) + 1e-6);
}

static enum age age_of_swing(const struct site_sim *x, const char *line)
{
    const struct site_state *st = x->st;
    char *rest;
    long window = strtol(line, &rest, 10);
    if (window != st->windows || *rest != ',') return old_if(window < st->windows);
    return old_if(strtod(rest + 1, NULL) < site_seconds(st->swing_next - st->swing_from) - 1e-6);
}

/* The first line of a log says whose luck it is. */
static enum age age_of_event(const struct site_sim *x, const char *line)
{
    const char *id = strstr(line, "\"id\":"), *seed = strstr(line, "\"seed\":");
    bool first = strstr(line, "\"event\":\"site\"") != NULL;
    if (!id || !strstr(line, "\"at_s\":")) return AGE_FOREIGN;
    if (first && (!seed || strtoull(seed + 7, NULL, 10) != x->st->seed)) return AGE_FOREIGN;
    return old_if(strtoull(id + 5, NULL, 10) <= x->st->log_id);
}

/* The bytes of a file that a run had written before it was paused: its head and the old lines. */
static int find_end(const struct site_sim *x, const char *path, const char *head,
                    enum age (*age)(const struct site_sim *x, const char *line), size_t *out,
                    struct error *e)
{
    enum { MOST = 1 << 30 };
    char *text;
    size_t size, n = strlen(head);
    TRY(file_read(path, MOST, &text, &size, e));
    bool foreign = size > 0 && (size < n || memcmp(text, head, n) != 0);
    size_t at = MIN(n, size);
    while (at < size && !foreign) {
        char *end = memchr(text + at, '\n', size - at);
        if (end) *end = '\0';
        enum age is = age(x, text + at);                 /* file_read ends it with a 0 */
        foreign = is == AGE_FOREIGN && (end || at == n); /* the last line may be cut off */
        if (is != AGE_OLD || !end) break;
        at = (size_t)(end - text) + 1;
    }
    mem_free(text);
    *out = at;
    if (!foreign) return 0;
    error_set(e, "'%s' is of another run", path);
    return error_hint(e, "a resumed run goes on in the files that it wrote before the pause; name "
                         "others");
}

/* Opens a file anew, or, of a run that is resumed, behind what it has written there before the pause. */
static int open_one(const struct site_sim *x, const char *path, const char *head,
                    enum age (*age)(const struct site_sim *x, const char *line), FILE **out,
                    struct error *e)
{
    size_t end = 0;
    const bool there = x->resumed && file_exists(path);
    if (there) TRY(find_end(x, path, head, age, &end, e));
    if (there && truncate(path, (off_t)end) != 0) return error_errno(e, "write", path);
    *out = fopen(path, there ? "a" : "w");
    if (!*out) return error_errno(e, "write", path);
    if (end == 0) fputs(head, *out);
    return 0;
}

int site_events_open(struct site_sim *x, const char *path, struct error *e)
{
    return open_one(x, path, "", age_of_event, &x->events, e);
}

static void put_heads(const struct site_sim *x, struct str *out)
{
    str_puts(out, "day,load_w,it_w,served_w,grid_w");
    for (int g = 0; g < x->s->n_gas; g++)
        str_printf(out, ",gas_%d_w,gas_%d_units", g + 1, g + 1);
    str_puts(out, ",battery_w,charge,unserved_w,spilled_w,cap,air_c,wet_bulb_c,coolant_c,pue,"
                  "standing,in_service,in_repair,nox_t");
    for (int i = 0; i < x->s->n_jobs; i++)
        str_printf(out, ",job_%d_accelerators,job_%d_running", i + 1, i + 1);
    str_append_char(out, '\n');
}

int site_csv_open(struct site_sim *x, const char *dir, struct error *e)
{
    static const char swing[] =
        "window,seconds,load_w,load_mean_of_1_s_w,grid_w,battery_w,unserved_w,die_c\n";
    struct str heads = {0};
    struct arena a;
    arena_init(&a);
    put_heads(x, &heads);
    int rc = file_make_dirs(dir, e);
    if (rc >= 0)
        rc = open_one(x, file_join(&a, dir, "site.csv"), heads.data, age_of_report, &x->csv, e);
    if (rc >= 0)
        rc = open_one(x, file_join(&a, dir, "swing.csv"), swing, age_of_swing, &x->swing, e);
    str_fini(&heads);
    arena_fini(&a);
    return rc;
}

void site_csv_resume(struct site_sim *x)
{
    while (x->csv_next <= x->st->now) /* that row came before what happened then */
        x->csv_next += x->csv_every;
    while (x->st->swing_next <= x->st->now && x->st->swing_next < x->st->swing_until)
        x->st->swing_next += STEP; /* it was paused without a file for them */
}

static void put(FILE *out, double value)
{
    char text[40];
    fprintf(out, ",%s", json_real_text(text, value));
}

void site_csv_row(struct site_sim *x, site_us at)
{
    const struct site_state *st = x->st;
    FILE *out = x->csv;
    char text[40];
    double dt = site_seconds(at - st->now), all = site_battery_energy_j(x),
           way = site_battery_way(x);
    double load = st->load_w + st->load_slope * dt;
    double unserved = st->unserved_w + st->unserved_slope * dt;
    double bus = (st->battery_w + 0.5 * st->battery_slope * dt) * dt;
    double charge = st->soc_j - (bus > 0.0 ? bus / way : bus * way) - st->drain_w * dt;
    double standing = 0.0, in_service = 0.0, grams[SITE_N_STACK];
    for (int b = 0; b < x->s->n_blocks; b++)
        standing += st->standing[b];
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        in_service += st->pools[p].installed - st->pools[p].out;
    fputs(json_real_text(text, site_seconds(at) / 86400.0), out);
    put(out, load);
    put(out, st->it_w);
    put(out, load - unserved);
    put(out, st->flows[SITE_MAX_GAS].w + st->flows[SITE_MAX_GAS].slope * dt);
    for (int g = 0; g < x->s->n_gas; g++) {
        put(out, st->flows[g].w + st->flows[g].slope * dt);
        put(out, st->n_on[g]);
    }
    put(out, st->battery_w + st->battery_slope * dt);
    put(out, all > 0.0 ? charge / all : 0.0);
    put(out, unserved);
    put(out, st->spilled_w + st->spilled_slope * dt);
    put(out, fmin(st->cap, st->heat_cap));
    put(out, st->dry_c);
    put(out, st->wet_c);
    put(out, st->coolant_c);
    put(out, 1.0 + st->overhead);
    put(out, standing);
    put(out, in_service);
    put(out, st->in_repair);
    site_stack_soon(x, dt, grams);
    put(out, grams[SITE_NOX] / 1e6);
    for (int i = 0; i < x->s->n_jobs; i++) {
        put(out, st->jobs[i].held);
        put(out, st->jobs[i].state == SITE_STATE_RUNNING);
    }
    fputc('\n', out);
}

/* ------------------------------------------------------------------ reports that are kept */

void site_record_free(struct site_record *r)
{
    mem_free(r->rows);
    *r = (struct site_record){.every_s = r->every_s};
}

/* Of what has a permit: the last 365 days until now, days that are over and the one that goes on. */
static void record_permits(const struct site_sim *x, site_us at, struct site_report *r)
{
    const struct site_state *st = x->st;
    double grams[SITE_N_STACK];
    site_stack_soon(x, site_seconds(at - st->now), grams);
    for (int k = 0; k < SITE_N_STACK; k++) {
        double before = st->days_over == 0 ? x->s->permits.before_t[k] * 1e6 : st->stack_sum[k];
        r->stack_t[k] = (before + grams[k] - st->stack_mark[k]) / 1e6;
    }
    for (int i = 0; i < st->n_units; i++) {
        const struct site_unit *u = &st->units[i];
        double run = site_seconds(u->run_year + (u->state == SITE_UNIT_ON ? at - u->counted : 0));
        r->starts = fmax(r->starts, u->starts_year);
        r->hours = fmax(r->hours, run / 3600.0);
    }
}

/* At a time within the segment that has begun. */
static struct site_gauges gauges_at(const struct site_sim *x, site_us at)
{
    const struct site_state *st = x->st;
    double dt = site_seconds(at - st->now), way = site_battery_way(x);
    double bus = (st->battery_w + 0.5 * st->battery_slope * dt) * dt;
    const struct site_flow *grid = &st->flows[SITE_MAX_GAS];
    struct site_gauges g = {.load_w = st->load_w + st->load_slope * dt,
                            .grid_w = grid->w + grid->slope * dt,
                            .unserved_w = st->unserved_w + st->unserved_slope * dt};
    g.charge_j = st->soc_j - (bus > 0.0 ? bus / way : bus * way) - st->drain_w * dt;
    for (int k = 0; k < x->s->n_gas; k++)
        g.gas_w[k] = st->flows[k].w + st->flows[k].slope * dt;
    for (int p = 0; p < x->s->cluster.n_pools; p++)
        g.out += st->pools[p].out;
    for (int i = 0; i < x->s->n_jobs; i++) {
        const struct site_job_now *j = &st->jobs[i];
        double size = x->s->jobs[i].kind == SITE_JOB_REPLAY ? j->used : site_job_size(j);
        if (j->state == SITE_STATE_RUNNING) g.at_work[i] = fmin(size / j->want, 1.0) * j->clock;
    }
    for (int i = 0; i < st->n_cohorts; i++) {
        const struct site_cohort *c = &st->cohorts[i];
        if (c->count > 0.0) g.block_out[c->block] = fmin(c->out / c->count, 1.0);
    }
    return g;
}

/* All gauges are numbers of one kind. Between two times that are seen they are linear. */
static void see(struct site_sim *x, const struct site_gauges *g, site_us at)
{
    double *least = (double *)&x->least, *most = (double *)&x->most, *sum = (double *)&x->sum;
    const double *now = (const double *)g, *was = (const double *)&x->seen;
    const double dt = site_seconds(at - x->seen_at);
    for (size_t i = 0; i < sizeof(*g) / sizeof(double); i++) {
        least[i] = site_less(least[i], now[i]);
        most[i] = site_more(most[i], now[i]);
        sum[i] += 0.5 * (was[i] + now[i]) * dt;
    }
    x->seen = *g;
    x->seen_at = at;
}

/* Since the last report; where no time has gone by, what is now. */
static struct site_gauges means(const struct site_sim *x, const struct site_gauges *now)
{
    struct site_gauges out = *now;
    const double *sum = (const double *)&x->sum;
    const double dt = site_seconds(x->seen_at - x->since);
    for (size_t i = 0; i < sizeof(out) / sizeof(double) && dt > 0.0; i++)
        ((double *)&out)[i] = sum[i] / dt;
    return out;
}

static void see_first(struct site_sim *x, const struct site_gauges *g, site_us at)
{
    x->seen = x->least = x->most = *g;
    x->sum = (struct site_gauges){0};
    x->seen_at = x->since = at;
}

static void record_fleet(const struct site_sim *x, struct site_report *r)
{
    const struct site_state *st = x->st;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        r->installed += st->pools[p].installed;
        r->busy += st->pools[p].busy;
    }
    for (int b = 0; b < x->s->n_blocks; b++)
        r->standing += st->standing[b];
}

/* Mean watts of the accelerators of a pool that are in service, and their dies in the steady state. */
static void record_dies(const struct site_sim *x, struct site_report *r)
{
    const struct site_state *st = x->st;
    for (int p = 0; p < x->s->cluster.n_pools; p++) {
        const double *w = st->watts[p], there = st->pools[p].installed - st->pools[p].out;
        double sum = 0.0, left = there;
        for (int i = 0; i < x->s->n_jobs; i++) {
            const struct site_job_now *j = &st->jobs[i];
            double share = x->s->jobs[i].compute_share;
            bool runs = j->state == SITE_STATE_RUNNING;
            double mean =
                runs ? share * w[SITE_DRAWS_RUN_COMPUTE] + (1.0 - share) * w[SITE_DRAWS_RUN_COMM]
                     : w[SITE_DRAWS_IDLE];
            sum += j->alloc[p] * mean;
            left -= j->alloc[p];
        }
        sum += fmax(left, 0.0) * w[SITE_DRAWS_IDLE];
        r->accelerator_w[p] = there > 0.0 ? sum / there : NAN;
        r->die_c[p] = st->coolant_c + x->s->cooling.resistance_k_per_w * r->accelerator_w[p];
    }
}

static struct site_report report_at(const struct site_sim *x, site_us at)
{
    const struct site_state *st = x->st;
    double dt = site_seconds(at - st->now);
    struct site_report r = {.at_s = site_seconds(at),
                            .now = gauges_at(x, at),
                            .battery_w = st->battery_w + st->battery_slope * dt,
                            .air_c = st->dry_c,
                            .wet_c = st->wet_c,
                            .coolant_c = st->coolant_c,
                            .pue = 1.0 + st->overhead,
                            .wue = st->l_per_kwh};
    record_fleet(x, &r);
    record_permits(x, at, &r);
    record_dies(x, &r);
    return r;
}

static void put_report(struct site_sim *x, const struct site_report *r, site_us at)
{
    struct site_record *k = x->record;
    if (k->n == k->cap) {
        k->cap = k->cap ? 2 * k->cap : 256;
        k->rows = mem_realloc(k->rows, k->cap * sizeof(*k->rows));
    }
    see(x, &r->now, at);
    k->rows[k->n] = *r;
    k->rows[k->n].least = x->least;
    k->rows[k->n].mean = means(x, &r->now);
    k->rows[k->n++].most = x->most;
    see_first(x, &r->now, at);
}

/* What of the site's power, or of its accelerators, is another part than it was. */
static double change(const struct site_sim *x, const struct site_report *a,
                     const struct site_report *b)
{
    double all = site_more(site_more(a->now.load_w, b->now.load_w), 1.0);
    double w = fabs(a->now.grid_w - b->now.grid_w) + fabs(a->battery_w - b->battery_w) +
               fabs(a->now.unserved_w - b->now.unserved_w);
    for (int g = 0; g < x->s->n_gas; g++)
        w += fabs(a->now.gas_w[g] - b->now.gas_w[g]);
    double n = fabs(a->busy - b->busy) + fabs(a->now.out - b->now.out);
    return site_more(w / all, n / site_more(b->installed, 1.0));
}

void site_record_begin(struct site_sim *x)
{
    enum { FIRST = 100 }; /* jumps of a run that begins with many */
    const double told = 0.1;
    const struct site_state *st = x->st;
    if (!x->record) return;
    struct site_report now = report_at(x, st->now);
    if (x->record->n == 0) see_first(x, &now.now, st->now);
    see(x, &now.now, st->now);
    double budget =
        FIRST + (double)x->record->jumps * site_seconds(st->now) / site_seconds(st->end);
    if (x->before.at_s != now.at_s || x->before.installed <= 0.0 || x->record->jumps == 0) return;
    if (((double)x->jumps > budget && !x->away) || change(x, &x->before, &now) < told) return;
    put_report(x, &x->before, st->now);
    put_report(x, &now, st->now);
    x->before = now;
    x->jumps += 2;
    x->away = !x->away;
}

void site_record_end(struct site_sim *x)
{
    if (!x->record) return;
    x->before = report_at(x, x->st->now);
    see(x, &x->before.now, x->st->now);
}

void site_record_row(struct site_sim *x, site_us at)
{
    struct site_report r = report_at(x, at);
    if (x->record->n == 0) see_first(x, &r.now, at);
    put_report(x, &r, at);
}

/* ------------------------------------------------------------------ windows */

/* Watts of an accelerator of the first pool: of the first job that has any, or idle. */
static double accelerator_w(const struct site_sim *x)
{
    const struct site_state *st = x->st;
    for (int i = 0; i < x->s->n_jobs; i++) {
        const struct site_job *k = &x->s->jobs[i];
        if (st->jobs[i].alloc[0] <= 0.0 || st->jobs[i].state != SITE_STATE_RUNNING) continue;
        return k->compute_share * st->watts[0][SITE_DRAWS_RUN_COMPUTE] +
               (1.0 - k->compute_share) * st->watts[0][SITE_DRAWS_RUN_COMM];
    }
    return st->watts[0][SITE_DRAWS_IDLE];
}

void site_swing_begin(struct site_sim *x)
{
    if (x->st->now < x->st->swing_until || x->st->windows == MAX_WINDOWS) return;
    x->st->windows++;
    x->st->swing_from = x->st->swing_next = x->st->now;
    x->st->swing_until = x->st->now + WINDOW;
    x->st->mean_n = 0;
    x->st->die_w = accelerator_w(x);
}

/* The die's exact step from row to row, at the watts of the interval's end; settled when the window
 * opens. */
static double die_now(struct site_sim *x, bool first)
{
    const struct site_cooling *c = &x->s->cooling;
    double settled =
        x->st->coolant_c + c->resistance_k_per_w * (first ? x->st->die_w : accelerator_w(x));
    double tau = c->resistance_k_per_w * c->heat_j_per_k;
    x->st->die = first || tau <= 0.0
                     ? settled
                     : machine_die_step(x->st->die, settled, tau, site_seconds(STEP));
    return x->st->die;
}

static void swing_row(struct site_sim *x, site_us at)
{
    const struct site_state *st = x->st;
    double dt = site_seconds(at - st->now), wave = site_wave_now(x, at), sum = 0.0;
    double most = x->s->battery.smooths && st->drain_w > 0.0 ? site_battery_power(x) : 0.0;
    double mean_b = st->battery_w + st->battery_slope * dt;
    double b = fmin(fmax(mean_b + wave, -most), most), taken = most > 0.0 ? b - mean_b : 0.0;
    double load = st->load_w + st->load_slope * dt + wave;
    x->st->mean[x->st->mean_n++ % MEAN_OF] = load;
    int have = MIN(x->st->mean_n, MEAN_OF);
    for (int i = 0; i < have; i++)
        sum += x->st->mean[i];
    fprintf(x->swing, "%d", x->st->windows);
    put(x->swing, site_seconds(at - x->st->swing_from));
    put(x->swing, load);
    put(x->swing, sum / have);
    double grid = st->flows[SITE_MAX_GAS].w + st->flows[SITE_MAX_GAS].slope * dt;
    put(x->swing, grid + wave - taken);
    put(x->swing, mean_b + taken);
    put(x->swing, st->unserved_w + st->unserved_slope * dt);
    put(x->swing, die_now(x, at == x->st->swing_from));
    fputc('\n', x->swing);
}

void site_swing_rows(struct site_sim *x, site_us until)
{
    while (x->swing && x->st->swing_next <= until && x->st->swing_next < x->st->swing_until) {
        swing_row(x, x->st->swing_next);
        x->st->swing_next += STEP;
    }
}
