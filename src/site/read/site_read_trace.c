/* site_read_trace.c: the jobs that somebody ran, from a CSV: submit_s, accelerators and duration_s, and
 * perhaps state, in Slurm's words, some of which say that the job came to nothing. In any order. */
#include "site/read/site_read_internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MAX_JOBS = 1 << 20 };

struct columns {
    int submit, accelerators, seconds, state;
};

static int cell(const struct csv *t, size_t row, int column, double most, double *out,
                struct error *e)
{
    const char *text = csv_field(t, row, column), *unit;
    if (unit_parse(text, UNIT_NONE, out, &unit) == UNIT_OK && *out >= 0.0 && *out <= most) return 0;
    error_set_code(e, ERROR_CONFIG, "%s:%d: '%s' must be a number from 0 to %.6g, not '%.40s'",
                   t->path, t->lines[row], t->heads[column], most, text);
    return error_hint(e, "for example 3600");
}

/* Slurm's JOB STATE CODES; what ends early by somebody's wish has not failed. */
static int read_state(const struct csv *t, size_t row, int column, bool *fails, struct error *e)
{
    static const char *const good[] = {"COMPLETED", "PREEMPTED", "REQUEUED", "RUNNING",
                                       "SUSPENDED", "PENDING",   "REVOKED",  ""},
                             *const bad[] = {"FAILED",        "NODE_FAIL", "TIMEOUT",
                                             "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE"};
    const char *state = column >= 0 ? csv_field(t, row, column) : "";
    *fails = false;
    if (strncasecmp(state, "CANCELLED", 9) == 0) return 0; /* "CANCELLED by 1000" */
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        if (strcasecmp(state, good[i]) == 0) return 0;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (strcasecmp(state, bad[i]) == 0) *fails = true;
    if (*fails) return 0;
    error_set_code(e, ERROR_CONFIG, "%s:%d: '%.40s' is no state of a job", t->path, t->lines[row],
                   state);
    return error_hint(e, "Slurm's words are meant; for example COMPLETED or FAILED");
}

static int read_row(const struct csv *t, size_t row, const struct columns *c, int64_t most,
                    struct site_small *out, struct error *e)
{
    double n;
    TRY(cell(t, row, c->submit, 1e10, &out->submit_s, e));
    TRY(cell(t, row, c->seconds, 1e9, &out->seconds, e));
    TRY(cell(t, row, c->accelerators, 1e8, &n, e));
    out->accelerators = (int64_t)n;
    if (n < 1.0 || n != floor(n) || out->accelerators > most) {
        error_set_code(e, ERROR_CONFIG, "%s:%d: a job of %.6g accelerators where %lld are", t->path,
                       t->lines[row], n, (long long)most);
        return error_hint(e, "leave it out, or give the trace more; for example accelerators: %.0f",
                          fmax(ceil(n), 1.0));
    }
    return read_state(t, row, c->state, &out->fails, e);
}

static int by_submit(const void *a, const void *b)
{
    const struct site_small *x = a, *y = b;
    if (x->submit_s != y->submit_s) return x->submit_s < y->submit_s ? -1 : 1;
    if (x->accelerators != y->accelerators) return x->accelerators < y->accelerators ? -1 : 1;
    return (x->seconds > y->seconds) - (x->seconds < y->seconds);
}

int site_read_trace(const struct yaml_reader *r, const struct yaml_node *at, struct site_job *j)
{
    struct csv t;
    const char *path = site_file_beside(r, j->trace_path);
    if (r->depth >= PRESET_MAX_DEPTH)
        return yaml_wrong(r, at, "trace '%.120s': no further file is opened", path);
    if (!file_exists(path)) {
        yaml_wrong(r, at, "there is no trace '%.200s'", path);
        return error_hint(r->e, "a CSV with submit_s, accelerators and duration_s; for example "
                                "trace: jobs.csv");
    }
    TRY(csv_load(path, r->arena, &t, r->e));
    const struct columns c = {csv_column(&t, "submit_s"), csv_column(&t, "accelerators"),
                              csv_column(&t, "duration_s"), csv_column(&t, "state")};
    if (c.submit < 0 || c.accelerators < 0 || c.seconds < 0) {
        error_set_code(r->e, ERROR_CONFIG, "%s:1: no column %s", path,
                       c.submit < 0         ? "submit_s"
                       : c.accelerators < 0 ? "accelerators"
                                            : "duration_s");
        return error_hint(r->e, "its head is: submit_s,accelerators,duration_s,state");
    }
    if (t.n_rows > MAX_JOBS)
        return error_set_code(r->e, ERROR_CONFIG, "%s: %zu jobs, at most %d", path, t.n_rows,
                              MAX_JOBS);
    struct site_trace *trace = arena_alloc(r->arena, sizeof(*trace));
    struct site_small *rows = arena_alloc(r->arena, (t.n_rows + 1) * sizeof(*rows));
    for (size_t i = 0; i < t.n_rows; i++)
        TRY(read_row(&t, i, &c, j->accelerators, &rows[i], r->e));
    qsort(rows, t.n_rows, sizeof(*rows), by_submit);
    *trace = (struct site_trace){path, t.n_rows, rows};
    j->trace = trace;
    return 0;
}
