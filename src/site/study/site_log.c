/* site_log.c: the log of a run, read back: what happened when, and which line followed from which.
 *
 * Only what the studies need is kept of a line, as text that a terminal may be given. Lines are in the order
 * of their numbers, and a line follows only from one before it: so there are no circles. */
#include "site/study/site_study_internal.h"

#include <string.h>

enum { MAX_BYTES = 1 << 30 };

static double real_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) && isfinite(json_number_value(v)) ? json_number_value(v) : 0.0;
}

static const char *text_of(struct arena *a, const json_t *o, const char *key)
{
    const char *v = json_string_value(json_object_get(o, key));
    return v ? arena_plain(a, v) : "";
}

size_t site_log_find(const struct site_log *log, int64_t id)
{
    size_t low = 0, high = log->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (log->lines[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < log->n && log->lines[low].id == id ? low : log->n;
}

/* The first line says which scenario it is of. */
static void read_head(const json_t *o, struct site_log *log, struct arena *a)
{
    const json_t *jobs = json_object_get(o, "jobs");
    log->scenario = text_of(a, o, "scenario");
    log->days = real_of(o, "days");
    log->seed = (int64_t)fmin(fmax(real_of(o, "seed"), 0.0), 1e15);
    log->n_jobs = 0;
    for (size_t i = 0; i < json_array_size(jobs) && log->n_jobs < SITE_MAX_JOBS; i++) {
        const json_t *j = json_array_get(jobs, i);
        log->jobs[log->n_jobs++] =
            (struct site_log_job){text_of(a, j, "name"), real_of(j, "usd_per_hour")};
    }
}

static int read_line(const json_t *o, const char *where, struct site_log *log, struct arena *a,
                     struct error *e)
{
    struct site_log_line *l = &log->lines[log->n];
    const char *event;
    int64_t id = 0;
    *l = (struct site_log_line){0};
    if (json_get_string(o, "event", &event, where, e) < 0 ||
        json_get_real(o, "at_s", &l->at_s, where, e) < 0 ||
        json_get_int(o, "id", &id, where, e) < 0) {
        e->code = ERROR_CONFIG;
        return error_hint(e,
                          "it is the log that colossus site SCENARIO --events FILE.jsonl writes");
    }
    int64_t before = log->n ? log->lines[log->n - 1].id : 0;
    double by = real_of(o, "by");
    if (id <= before || !(by >= 0.0 && by < (double)id) || !(l->at_s >= 0.0 && l->at_s < 1e11)) {
        error_set_code(e, ERROR_CONFIG, "%s: 'id', 'by' or 'at_s' is none of a log's", where);
        return error_hint(e, "numbers of lines rise, and a line follows from one before it");
    }
    if (log->n == 0 && strcmp(event, "site") != 0) {
        error_set_code(e, ERROR_CONFIG, "%s: this is not how a log begins", where);
        return error_hint(e, "its first line, whose event is 'site', says what it is of: take the "
                             "whole file that colossus site SCENARIO --events FILE.jsonl writes; a "
                             "run that is resumed goes on in that file");
    }
    l->id = id;
    l->by = (int64_t)by;
    l->event = arena_plain(a, event);
    l->job = text_of(a, o, "job");
    l->target = text_of(a, o, *l->job ? "job" : "target");
    if (!*l->target) l->target = text_of(a, o, "cause");
    l->phase = text_of(a, o, "phase");
    l->why = text_of(a, o, json_object_get(o, "which") ? "which" : "why");
    l->after_s = real_of(o, "after_s");
    l->lost_s = (real_of(o, "after_s") + real_of(o, "again_s")) * real_of(o, "accelerators") +
                real_of(o, "away_accelerator_s");
    bool back = (strcmp(event, "job_runs") == 0 || strcmp(event, "job_down") == 0) &&
                l->by > 0; /* a first start is no loss */
    if (!back && strcmp(event, "gang_restarts") != 0) l->lost_s = 0.0;
    l->unserved_wh = real_of(o, "unserved_wh");
    l->missing_w = real_of(o, "missing_w");
    l->value = real_of(o, json_object_get(o, "units") ? "units" : "value");
    l->watts = json_object_get(o, "watts") ? real_of(o, "watts") : NAN;
    if (log->n == 0) read_head(o, log, a);
    log->n++;
    return 0;
}

/* What a parser says of a line may quote it. */
static void no_line(size_t line, bool cut, struct arena *a, struct error *e)
{
    error_set_code(e, ERROR_CONFIG, "%s", arena_plain(a, e->text));
    if (cut)
        error_hint(e, "was the log cut off? its last line may be left out");
    else
        error_hint(e,
                   "line %zu is none of a log, which colossus site SCENARIO --events FILE.jsonl "
                   "writes",
                   line);
}

int site_parse_story(const struct str *all, const char *path, struct arena *a, struct site_log *out,
                     struct error *e)
{
    size_t cap = 0, n_line = 0;
    int rc = 0;
    const char *text = all->data;
    *out = (struct site_log){.scenario = ""};
    for (const char *p = text; *p && rc >= 0;) {
        const char *end = strchr(p, '\n');
        size_t n = end ? (size_t)(end - p) : strlen(p);
        char where[256];
        json_t *o;
        snprintf(where, sizeof where, "%.200s:%zu", path, ++n_line);
        if (out->n == cap) {
            cap = cap ? 2 * cap : 1024;
            struct site_log_line *more = arena_alloc(a, cap * sizeof(*more));
            if (out->n) memcpy(more, out->lines, out->n * sizeof(*more));
            out->lines = more;
        }
        rc = n > 0 ? json_parse(p, n, where, &o, e) : 1;
        if (rc < 0) no_line(n_line, end == NULL && n_line > 1, a, e);
        if (rc == 0) {
            rc = read_line(o, where, out, a, e);
            json_decref(o);
        }
        p += n + (end != NULL);
    }
    if (rc >= 0 && strlen(text) != all->len)
        rc = error_set_code(e, ERROR_CONFIG, "%.200s:%zu: a byte 0 in it", path, n_line);
    if (rc < 0) return rc;
    if (out->n > 0) return 0;
    error_set_code(e, ERROR_CONFIG, "'%.200s' has no lines", path);
    return error_hint(e, "it is the log that colossus site SCENARIO --events FILE.jsonl writes");
}

int site_read_story(const char *path, struct arena *a, struct site_log *out, struct error *e)
{
    struct str all = {0};
    TRY(file_read(path, MAX_BYTES, &all.data, &all.len, e));
    int rc = site_parse_story(&all, path, a, out, e);
    mem_free(all.data);
    return rc;
}
