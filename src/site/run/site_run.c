/* site_run.c: the loop: the next event, the energy until it, what it does, and the load shared out
 * anew where that changed what draws or gives power.
 *
 * Reports and pauses are no events: a report reads a state that time has gone on from, and does not
 * touch it, so that the answer is the same at any interval and after any pause. */
#include "site/run/site_run_internal.h"

#include <string.h>
#include <time.h>

#define EPOCH_S 1767225600 /* 2026-01-01: the year that simulated times are written in */

void site_push(struct site_sim *x, site_us at, enum site_kind kind, uint32_t id,
               uint32_t generation)
{
    if (at > x->st->end) return; /* nobody will live to see it */
    site_queue_push(&x->queue, (struct site_queued){at, kind, id, generation, 0});
}

void site_push_in(struct site_sim *x, double seconds, enum site_kind kind, uint32_t id,
                  uint32_t generation)
{
    if (!(seconds < 9e12)) return;
    site_push(x, x->st->now + MAX(site_us_of(seconds), 1), kind, id, generation);
}

/* ------------------------------------------------------------------ the log of events */

struct json_writer *site_log(struct site_sim *x, const char *event)
{
    if (!x->events) return NULL;
    int64_t us = x->st->now + (x->s->cooling.start_day - 1) * SITE_DAY;
    time_t seconds = EPOCH_S + (time_t)(us / SITE_SECOND);
    struct tm tm;
    char text[64];
    gmtime_r(&seconds, &tm);
    size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(text + n, sizeof text - n, ".%03dZ", (int)(us % SITE_SECOND / 1000));
    str_clear(&x->line);
    jsonw_begin(&x->writer, &x->line);
    jsonw_open(&x->writer, NULL, '{');
    jsonw_string(&x->writer, "time", text);
    jsonw_string(&x->writer, "event", event);
    jsonw_real(&x->writer, "at_s", site_seconds(x->st->now));
    jsonw_int(&x->writer, "id", (int64_t)++x->st->log_id);
    if (x->st->log_by)
        jsonw_int(&x->writer, "by", (int64_t)x->st->log_by);
    else
        x->st->log_by = x->st->log_id;
    return &x->writer;
}

struct json_writer *site_log_supply(struct site_sim *x, const char *event)
{
    uint64_t by = x->st->log_by;
    if (!by) x->st->log_by = x->st->supply_by;
    struct json_writer *w = site_log(x, event);
    x->st->log_by = by;
    return w;
}

void site_log_end(struct site_sim *x)
{
    jsonw_close(&x->writer, '}');
    str_append_char(&x->line, '\n');
    fwrite(x->line.data, 1, x->line.len, x->events);
}

void site_log_text(struct site_sim *x, const char *event, const char *key, const char *text)
{
    struct json_writer *w = site_log(x, event);
    if (!w) return;
    jsonw_string(w, key, text);
    site_log_end(x);
}

/* What the log is of. */
static void log_begin(struct site_sim *x)
{
    const struct site_scenario *s = x->s;
    struct json_writer *w = site_log(x, "site");
    if (!w) return;
    jsonw_string(w, "scenario", s->name);
    jsonw_int(w, "seed", (int64_t)x->st->seed);
    jsonw_real(w, "days", x->st->r.days);
    jsonw_int(w, "accelerators", machine_cluster_accelerators(&s->cluster));
    jsonw_open(w, "jobs", '[');
    for (int i = 0; i < s->n_jobs; i++) {
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "name", s->jobs[i].name);
        jsonw_real(w, "accelerators", x->st->jobs[i].want);
        jsonw_real(w, "usd_per_hour", s->jobs[i].usd_per_hour);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    site_log_end(x);
    x->st->log_by = 0;
}

/* ------------------------------------------------------------------ events */

static void hour(struct site_sim *x)
{
    struct site_state *st = x->st;
    int32_t month = st->month;
    for (int i = 0; i < x->s->n_jobs; i++)
        if (x->s->jobs[i].kind == SITE_JOB_SERVING) site_job_account(x, i);
    st->hour++;
    if (st->hour % 24 == 0) site_ledger_day(x);
    site_cooling_hour(x);
    if (st->month != month) site_ledger_month(x, month);
    site_cooling_throttle(x);
    site_load_hour(x);
    site_push(x, st->now + SITE_HOUR, SITE_K_HOUR, 0, 0);
}

static void to_units(struct site_sim *x, const struct site_queued *e)
{
    struct site_unit *u = &x->st->units[e->kind == SITE_K_UNITS ? 0 : e->id];
    if (e->kind == SITE_K_UNITS) {
        if (e->at >= x->st->units_due) x->st->units_due = SITE_NEVER;
        x->st->power_changed = true;
    } else if (u->generation == e->generation) {
        if (e->kind == SITE_K_UNIT_STARTED)
            site_gas_started(x, (int)e->id);
        else if (e->kind == SITE_K_UNIT_FAILED)
            site_gas_failed(x, (int)e->id);
        else
            site_gas_repaired(x, (int)e->id);
        site_build_power(x);
    }
}

static void to_power(struct site_sim *x, const struct site_queued *e)
{
    struct site_state *st = x->st;
    if (e->kind == SITE_K_POWER && e->generation == st->power_generation) st->power_changed = true;
    if (e->kind == SITE_K_LADDER && e->generation == st->ladder_generation && st->ladder_waits)
        site_ladder_act(x);
    if (e->kind == SITE_K_RESTORE && e->generation == st->restore_generation && st->restore_waits)
        site_ladder_restore(x);
}

static void to_job(struct site_sim *x, const struct site_queued *e)
{
    const struct site_job_now *j = &x->st->jobs[e->id];
    if (e->kind == SITE_K_JOB && e->generation == j->generation) site_job_due(x, (int)e->id);
    if (e->kind == SITE_K_JOB_RETURN && e->generation == j->returns)
        site_job_return(x, (int)e->id, e->extra);
    if (e->kind == SITE_K_FLAP && e->generation == j->flap_generation) site_flap(x, (int)e->id);
}

static void handle(struct site_sim *x, const struct site_queued *e)
{
    struct site_state *st = x->st;
    switch ((enum site_kind)e->kind) {
    case SITE_K_SCENARIO: site_incident(x, (int)e->id); break;
    case SITE_K_SCENARIO_END: site_incident_end(x, (int)e->id); break;
    case SITE_K_SAG: site_incident_sag(x, (int)e->id, (int)e->generation); break;
    case SITE_K_HOUR: hour(x); break;
    case SITE_K_BLOCK:
        if (e->generation == st->block_generation[e->id]) site_build_step(x, (int)e->id);
        break;
    case SITE_K_LOAD: site_load_ramp(x, (int)e->id); break;
    case SITE_K_UNIT_STARTED:
    case SITE_K_UNIT_FAILED:
    case SITE_K_UNIT_REPAIRED:
    case SITE_K_UNITS: to_units(x, e); break;
    case SITE_K_POWER:
    case SITE_K_LADDER:
    case SITE_K_RESTORE: to_power(x, e); break;
    case SITE_K_FAILURE:
        if (e->generation == st->cohorts[e->id].generation) site_fleet_candidate(x, (int)e->id);
        break;
    case SITE_K_LIFE: site_repair_life(x, (int)e->id); break;
    case SITE_K_FIRMWARE: site_incident_firmware(x); break;
    case SITE_K_CAUSE:
        if (e->generation == st->cause_generation[e->id]) site_cause_fails(x, (int)e->id);
        break;
    case SITE_K_CAUSE_END: site_cause_ends(x, (int)e->id); break;
    case SITE_K_TICKET: site_repair_ticket(x, (int)e->id); break;
    case SITE_K_PART: site_repair_part(x); break;
    case SITE_K_SHIFT: site_repair_shift(x); break;
    case SITE_K_JOB:
    case SITE_K_JOB_RETURN:
    case SITE_K_FLAP: to_job(x, e); break;
    case SITE_K_SUBMIT: site_batch_submit(x, (int)e->id); break;
    case SITE_K_SMALL: site_batch_due(x, (int)e->id, e->generation); break;
    case SITE_K_HEAT:
        if (e->generation == st->heat_generation) site_cooling_follow(x);
        break;
    case SITE_K_END: break;
    }
}

/* ------------------------------------------------------------------ beginning and end */

static void begin(struct site_sim *x, uint64_t seed, double days)
{
    struct site_state *st = x->st;
    st->seed = seed;
    st->end = site_us_of(86400.0 * days);
    st->r.days = days;
    st->r.seed = seed;
    for (int k = 0; k < SITE_N_STACK; k++)
        st->r.over_day[k] = -1.0;
    st->month = 1;
    site_incident_init(x);
    site_job_init(x);
    log_begin(x);
    site_fleet_init(x);
    site_repair_init(x);
    site_cooling_hour(x);
    site_power_init(x);
    site_cooling_throttle(x);
    site_load_hour(x);
    site_build_init(x);
    site_cause_init(x);
    site_batch_init(x);
    site_batch_begin(x);
    site_push(x, SITE_HOUR, SITE_K_HOUR, 0, 0);
    for (int i = 0; i < x->s->n_jobs;
         i++) /* those that may begin at once do not wait for an event */
        if (x->s->jobs[i].start_s <= 0.0) {
            st->jobs[i].generation++;
            site_job_set(x, i, SITE_STATE_QUEUED, -1.0);
        }
    site_schedule(x);
    site_dispatch(x);
}

static void end(struct site_sim *x, bool paused)
{
    struct site_state *st = x->st;
    st->log_by = 0;
    for (int i = 0; i < x->s->n_jobs && !paused; i++)
        site_job_log_end(x, i);
    if (!paused) site_ladder_log_end(x);
    site_repair_account(x);
    site_fleet_account(x);
    site_cause_finish(x);
    for (int i = 0; i < x->s->n_jobs; i++) {
        site_job_account(x, i);
        st->r.jobs[i] = st->jobs[i].result;
    }
    site_gas_finish(x);
    double all = 0.0, sum = 0.0;
    for (size_t i = 0; i < ARRAY_LEN(st->histogram); i++)
        all += st->histogram[i];
    for (size_t i = 0; i < ARRAY_LEN(st->histogram) && sum < 0.99 * all; i++) {
        sum += st->histogram[i];
        st->r.in_repair_p99 = (double)i;
    }
    st->r.events = (double)st->n_events;
    st->r.soc_end = st->soc_j;
    st->r.served_j = st->r.load_j - st->r.unserved_j;
    site_ledger_finish(x);
}

static int too_many(const struct site_sim *x, struct error *e)
{
    char text[32];
    error_set(e, "'%s' has had %llu events in its first %s", x->s->name,
              (unsigned long long)x->st->n_events, format_duration(text, site_seconds(x->st->now)));
    return error_hint(e,
                      "does something fail, flap or repeat far too often? fewer --days will end");
}

/* Everything until `stop`, that moment with it. */
static int live(struct site_sim *x, site_us stop, double most, struct error *e)
{
    struct site_state *st = x->st;
    for (;;) {
        const struct site_queued *first = site_queue_first(&x->queue);
        site_us at = first ? MIN(first->at, st->end) : st->end;
        while (x->csv && x->csv_next <= MIN(at, stop)) {
            site_csv_row(x, x->csv_next);
            x->csv_next += x->csv_every;
        }
        if (MIN(at, stop) > st->now) site_record_begin(x);
        while (x->record && x->record_next <= MIN(at, stop)) {
            site_record_row(x, x->record_next);
            x->record_next += MAX(site_us_of(x->record->every_s), 1);
        }
        site_swing_rows(x, MIN(at, stop));
        if (!first || first->at > MIN(stop, st->end)) break;
        if ((double)st->n_events >= most) return too_many(x, e);
        struct site_queued next = site_queue_pop(&x->queue);
        bool stale = next.kind == SITE_K_POWER && next.generation != st->power_generation;
        if (!stale) {
            site_segment(x, next.at);
            st->n_events++;
            st->log_by = 0;
            handle(x, &next);
            if (x->failed)
                return error_context(e, "'%s', day %.6g", x->s->name,
                                     site_seconds(st->now) / 86400.0);
        }
        while (st->schedule_again)
            site_schedule(x);
        /* all of one moment come before the load is shared out, a stale event with them */
        first = site_queue_first(&x->queue);
        while (st->power_changed && !(first && first->at == st->now))
            site_dispatch(x);
    }
    return 0;
}

static int open_files(struct site_sim *x, const struct site_run_options *o, struct error *e)
{
    x->csv_every = o->csv_every_s > 0.0 ? site_us_of(o->csv_every_s) : SITE_HOUR;
    x->csv_next = 0;
    if (o->csv) TRY(site_csv_open(x, o->csv, e));
    return o->events ? site_events_open(x, o->events, e) : 0;
}

/* A write that failed before the last one leaves its reason as long as nothing else fails. */
static int close_files(struct site_sim *x, const struct site_run_options *o, int rc,
                       struct error *e)
{
    const struct {
        FILE *file;
        const char *path;
    } files[] = {{x->events, o->events}, {x->csv, o->csv}, {x->swing, o->csv}};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (!files[i].file) continue;
        bool bad = fflush(files[i].file) != 0 || ferror(files[i].file);
        if (bad && rc >= 0) rc = error_errno(e, "write", files[i].path);
        fclose(files[i].file);
    }
    return rc;
}

int site_run(const struct site_scenario *s, const struct site_run_options *o,
             struct site_result *out, struct error *e)
{
    struct site_sim x = {.s = s, .e = e, .record = o->record, .resumed = o->resume != NULL};
    x.st = mem_calloc(1, sizeof(*x.st));
    site_battery_init(&x);
    double days = o->days > 0.0 ? o->days : s->days;
    int rc = 0;
    if (o->resume) rc = site_restore(&x, o->resume, e);
    if (rc >= 0) rc = open_files(&x, o, e);
    if (rc >= 0) {
        if (!o->resume) begin(&x, o->seed, days);
        if (x.csv && o->resume) site_csv_resume(&x);
        if (o->resume && o->pause_s > 0.0 && site_us_of(o->pause_s) < x.st->now)
            rc = error_set_code(e, ERROR_USAGE, "'%s' was paused after %.6g s, behind that moment",
                                o->resume, site_seconds(x.st->now));
        double most = o->most_events > 0.0 ? o->most_events : SITE_MOST_EVENTS;
        if (rc >= 0) rc = live(&x, o->pause_s > 0.0 ? site_us_of(o->pause_s) : x.st->end, most, e);
    }
    if (rc >= 0) {
        const bool paused = o->pause_s > 0.0 && site_us_of(o->pause_s) < x.st->end;
        if (o->save) rc = site_save(&x, o->save, e);
        site_segment(&x, paused ? site_us_of(o->pause_s) : x.st->end);
        x.st->r.days = site_seconds(x.st->now) / 86400.0;
        end(&x, paused);
        *out = x.st->r;
    }
    rc = close_files(&x, o, rc, e);
    str_fini(&x.line);
    site_queue_fini(&x.queue);
    mem_free(x.tickets);
    mem_free(x.small);
    mem_free(x.st);
    return rc;
}

/* ------------------------------------------------------------------ many seeds */

enum { BATCH = 16 };
#define WANTED     0.01 /* half-width of the mean's interval, as a share of it */
#define STUDENT(n) (1.96 + 2.4 / ((double)(n)-1.0)) /* of 95 %, within 1 % from 6 on */

struct batch {
    const struct site_scenario *s;
    struct site_run_options o;
    struct site_result *each;
    size_t first;
    struct error failed[BATCH]; /* code 0: it has not */
};

static void run_one(void *ctx, size_t task, int thread)
{
    struct batch *b = ctx;
    struct site_run_options o = b->o;
    struct error e;
    (void)thread;
    o.seed = b->o.seed + b->first + task;
    o.csv = o.events = o.save = o.resume = NULL;
    o.record = NULL;
    o.pause_s = 0.0;
    if (site_run(b->s, &o, &b->each[b->first + task], &e) < 0) b->failed[task] = e;
}

double site_goodput(const struct site_scenario *s, const struct site_result *r)
{
    double productive = 0.0, all = 0.0;
    for (int i = 0; i < s->n_jobs; i++) {
        const double size = site_job_wants(s, i);
        productive += size * r->jobs[i].part_s[SITE_PART_PRODUCTIVE];
        all += size * (r->jobs[i].wall_s - r->jobs[i].part_s[SITE_PART_BUILDING]);
    }
    return all > 0.0 ? productive / all : 0.0;
}

double site_seeds_needed(double deviation)
{
    return fmax(ceil(pow(1.96 * deviation / WANTED, 2.0) - 1e-9), BATCH);
}

static double deviation_of(const struct site_scenario *s, const struct site_seeds *x)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < x->n; i++)
        sum += site_goodput(s, &x->each[i]);
    double mean = sum / (double)x->n;
    for (size_t i = 0; i < x->n; i++)
        squares += pow(site_goodput(s, &x->each[i]) - mean, 2.0);
    if (x->n < 2 || mean <= 0.0) return 0.0;
    return sqrt(squares / ((double)x->n - 1.0)) / mean;
}

int site_run_seeds(const struct site_scenario *s, const struct site_run_options *o, size_t n,
                   struct arena *a, struct site_seeds *out, struct error *e)
{
    struct pool *pool = pool_new(0);
    int rc = 0;
    *out = (struct site_seeds){.each = arena_alloc(a, n * sizeof(*out->each))};
    while (out->n < n) {
        struct batch b = {s, *o, out->each, out->n, {{0}}};
        size_t some = MIN((size_t)BATCH, n - out->n);
        pool_run(pool, some, run_one, &b);
        for (size_t i = 0; i < some && rc >= 0; i++)
            if (b.failed[i].code < 0) rc = (*e = b.failed[i]).code;
        if (rc < 0) break;
        out->n += some;
        out->deviation = deviation_of(s, out);
        out->half_width =
            out->n > 1 ? STUDENT(out->n) * out->deviation / sqrt((double)out->n) : 0.0;
        if (!o->every_seed && out->n >= BATCH && out->half_width <= WANTED) break;
    }
    pool_free(pool);
    return rc;
}
