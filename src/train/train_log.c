/* train_log.c: what a run says: metrics.jsonl, events.jsonl, and a line for people.
 *
 * metrics.jsonl has one line for each step and only one: when a run goes back to a checkpoint, the
 * lines behind that step are cut off before the steps are done again. events.jsonl is never cut;
 * it tells what happened, the going back included. Event names are stable:
 *
 *   run_started  resumed  config_changed  step_skipped  validation  checkpoint_saved
 *   checkpoint_failed  checkpoint_rejected  stopping  run_finished
 *   run_failed  corruption_found
 *
 * A launcher writes lines of its own to events.jsonl (cluster_report.c), each with "by": "launch".
 *
 * A line is one write(2), so a killed process leaves whole lines; a torn one (power loss) is
 * dropped when the file is opened again. A write that fails (disk full) is reported once, takes
 * back its part of a line, and does not end the run: the weights are worth more than the curve.
 * The line's memory is taken at the start, so writing one allocates nothing. */
#include "train/train_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_RESERVE 8192

/* ------------------------------------------------------------------ opening */

/* Parses the line [at, at + n), without its end; its "step" or, where it has none or is not whole
 * JSON, -1. */
static int64_t step_of_line(const char *at, size_t n)
{
    json_t *o;
    int64_t step = -1;
    if (json_parse(at, n, "line", &o, NULL) < 0) return -1;
    if (json_get_int(o, "step", &step, "line", NULL) < 0) step = -1;
    json_decref(o);
    return step;
}

struct scan {
    size_t good;     /* bytes of the good lines that the file begins with */
    struct str rest; /* good lines behind the first bad one */
};

/* Good: whole, and not beyond `step` (-1: any). Fills l's end, start and step too. */
static void scan_lines(const struct file_map *map, int64_t step, struct train_lines *l,
                       struct scan *s)
{
    const char *data = (const char *)map->data;
    for (size_t at = 0, next; at < map->size; at = next) {
        const char *end = memchr(data + at, '\n', map->size - at);
        if (!end) break;
        next = (size_t)(end - data) + 1;
        int64_t line_step = step_of_line(data + at, next - at - 1);
        if (line_step < 0 || (step >= 0 && line_step > step)) continue;
        l->step = line_step;
        l->start = l->end;
        l->end += (int64_t)(next - at);
        if (at == s->good)
            s->good = next;
        else
            str_append(&s->rest, data + at, next - at);
    }
}

/* Cuts off what does not belong to the run; where bad lines stand between good ones (a disk was
 * full for a while), the file is written again without them. */
static int clean_lines(struct train_lines *l, int64_t step, struct error *e)
{
    struct file_map map;
    struct scan s = {0};
    TRY(file_map_open(&map, l->path, e));
    scan_lines(&map, step, l, &s);
    int rc = file_map_check(&map, l->path, e);
    if (rc < 0) {
        /* told by whoever opens the file */
    } else if (s.rest.len > 0) {
        struct str whole = {0};
        str_append(&whole, map.data, s.good);
        str_append(&whole, s.rest.data, s.rest.len);
        log_warn("'%s' has broken lines, which are left out", l->path);
        rc = file_write(l->path, whole.data, whole.len, e);
        str_fini(&whole);
    } else if (s.good < map.size && truncate(l->path, (off_t)s.good) != 0) {
        rc = error_errno(e, "cut off the end of", l->path);
    }
    file_map_close(&map);
    str_fini(&s.rest);
    return rc;
}

/* -1 as the step: events belong to the folder and not to a step, so none is cut. */
static int open_lines(struct train_lines *l, const char *path, int64_t step, struct error *e)
{
    *l = (struct train_lines){.fd = -1, .path = path, .step = -1};
    if (file_exists(path)) TRY(clean_lines(l, step, e));
    l->fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    return l->fd < 0 ? error_errno(e, "open", path) : 0;
}

void train_log_init(struct train_log *l)
{
    *l = (struct train_log){.metrics.fd = -1, .events.fd = -1};
}

int train_log_open(struct train_log *l, const char *run_dir, int64_t step, FILE *out,
                   struct arena *a, struct error *e)
{
    train_log_init(l);
    l->out = out;
    int rc = open_lines(&l->metrics, file_join(a, run_dir, "metrics.jsonl"), step, e);
    if (rc >= 0 && step > 0 && l->metrics.step < step)
        log_warn("'%s' ends with step %lld, and the run goes on behind step %lld: what was between "
                 "is in no line, as where the folder is an older copy of itself",
                 l->metrics.path, (long long)MAX(l->metrics.step, 0), (long long)step);
    if (rc >= 0) rc = open_lines(&l->events, file_join(a, run_dir, "events.jsonl"), -1, e);
    l->events.shared = true;
    if (rc < 0) {
        train_log_close(l);
        return rc;
    }
    str_reserve(&l->line, LINE_RESERVE);
    return 0;
}

void train_log_close(struct train_log *l)
{
    if (l->metrics.fd >= 0) close(l->metrics.fd);
    if (l->events.fd >= 0) close(l->events.fd);
    l->metrics.fd = l->events.fd = -1;
    str_fini(&l->line);
}

/* ------------------------------------------------------------------ what is known already */

/* The last whole line of a file, but for a launcher's, as an object that the caller json_decrefs;
 * NULL: none. */
static json_t *last_line(const char *path)
{
    static const char launch[] = "\"by\":\"launch\"";
    struct file_map map;
    json_t *o = NULL;
    if (file_map_open(&map, path, NULL) < 0) return NULL;
    const char *data = (const char *)map.data;
    const char *end = map.size ? memrchr(data, '\n', map.size) : NULL;
    while (end) {
        const char *before = memrchr(data, '\n', (size_t)(end - data));
        const char *start = before ? before + 1 : data;
        if (!memmem(start, (size_t)(end - start), launch, sizeof(launch) - 1)) {
            if (json_parse(start, (size_t)(end - start), path, &o, NULL) < 0) o = NULL;
            break;
        }
        end = before;
    }
    if (file_map_check(&map, path, NULL) < 0) {
        json_decref(o);
        o = NULL;
    }
    file_map_close(&map);
    return o;
}

static bool is_of_step(const json_t *o, int64_t step)
{
    const json_t *v = json_object_get(o, "step");
    return json_is_integer(v) && json_integer_value(v) == step;
}

static double number_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

void train_log_history(const char *run_dir, int64_t step, struct train_history *h)
{
    struct arena a = {0};
    *h = (struct train_history){.loss = NAN, .valid_bits_per_byte = NAN};
    json_t *metrics = last_line(file_join(&a, run_dir, "metrics.jsonl"));
    json_t *event = last_line(file_join(&a, run_dir, "events.jsonl"));
    if (is_of_step(metrics, step)) {
        h->loss = number_of(metrics, "ce"); /* of an older program, whose loss is the objective */
        if (isnan(h->loss)) h->loss = number_of(metrics, "loss");
        h->valid_bits_per_byte = number_of(metrics, "valid_bits_per_byte");
    }
    const char *name = json_string_value(json_object_get(event, "event"));
    h->finished = name && strcmp(name, "run_finished") == 0 && is_of_step(event, step);
    if (h->finished && isnan(h->valid_bits_per_byte))
        h->valid_bits_per_byte = number_of(event, "valid_bits_per_byte");
    json_decref(metrics);
    json_decref(event);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ lines */

static struct json_writer *begin_line(struct train_log *l)
{
    str_clear(&l->line);
    jsonw_begin(&l->json, &l->line);
    jsonw_open(&l->json, NULL, '{');
    return &l->json;
}

/* Appends the line, or nothing: what a failed write left behind is cut off again, so that the next
 * line begins where a line begins. Said when it begins and when it is over. */
static void write_line(struct train_log *l, struct train_lines *f, int64_t step)
{
    struct error e = {0};
    int rc = 0;
    if (l->silent) return;
    if (f->torn && ftruncate(f->fd, (off_t)f->end) != 0) rc = error_errno(&e, "write", f->path);
    if (f->shared && rc >= 0) f->end = MAX(f->end, (int64_t)lseek(f->fd, 0, SEEK_END));
    if (rc >= 0) rc = file_write_fd(f->fd, l->line.data, l->line.len, f->path, &e);
    if (rc < 0) {
        f->torn = ftruncate(f->fd, (off_t)f->end) != 0;
        if (f->lost++ == 0) log_warn("%s; the run goes on without its lines there", e.text);
        return;
    }
    if (f->lost > 0)
        log_warn("'%s' can be written again; %lld lines are missing", f->path, (long long)f->lost);
    f->torn = false;
    f->lost = 0;
    f->start = f->end;
    f->end += (int64_t)l->line.len;
    f->step = step;
}

static void end_line(struct train_log *l, struct train_lines *f, int64_t step)
{
    jsonw_close(&l->json, '}');
    str_append_char(&l->line, '\n');
    write_line(l, f, step);
}

static void put_time(struct json_writer *w)
{
    char now[32];
    time_iso8601(now);
    jsonw_string(w, "time", now);
}

static void put_real(struct json_writer *w, const char *key, double value)
{
    if (!isnan(value)) jsonw_real(w, key, value);
}

static void put_validation(struct json_writer *w, const struct train_record *r)
{
    put_real(w, "valid_nll", r->valid_nll);
    put_real(w, "valid_bits_per_byte", r->valid_bits_per_byte);
    put_real(w, "valid_s", r->valid_s);
    put_real(w, "valid_load_max_mean", r->valid_load.max_mean);
    put_real(w, "valid_load_entropy", r->valid_load.entropy);
}

/* Shares of the routed slots, per layer and expert. */
static void put_load(struct json_writer *w, const double *load, int64_t n_layers, int64_t n_experts)
{
    jsonw_open(w, "load", '[');
    for (int64_t i = 0; i < n_layers; i++) {
        double sum = 0;
        for (int64_t j = 0; j < n_experts; j++)
            sum += load[i * n_experts + j];
        jsonw_open(w, NULL, '[');
        for (int64_t j = 0; j < n_experts; j++)
            jsonw_real(w, NULL, sum > 0 ? round(1e4 * load[i * n_experts + j] / sum) / 1e4 : 0);
        jsonw_close(w, ']');
    }
    jsonw_close(w, ']');
}

void train_log_metrics(struct train_log *l, const struct train_record *r, const double *load,
                       int64_t n_layers, int64_t n_experts)
{
    struct json_writer *w = begin_line(l);
    jsonw_int(w, "step", r->step);
    jsonw_int(w, "tokens", r->tokens);
    put_time(w);
    jsonw_real(w, "loss", r->loss);
    put_real(w, "bits_per_byte", r->bits_per_byte);
    put_real(w, "aux", r->aux);
    put_real(w, "z", r->z);
    jsonw_real(w, "objective", r->objective);
    jsonw_real(w, "grad_norm", r->grad_norm);
    jsonw_real(w, "lr", r->lr);
    put_real(w, "muon_lr", r->muon_lr);
    if (r->verdict != TRAIN_UPDATE_GOOD) jsonw_string(w, "skipped", train_verdict_text(r->verdict));
    jsonw_real(w, "step_s", r->step_s);
    jsonw_real(w, "data_s", r->data_s);
    jsonw_real(w, "tokens_per_s", r->tokens_per_s);
    jsonw_real(w, "flops_per_s", r->flops_per_s);
    put_real(w, "mfu", r->mfu);
    put_real(w, "load_max_mean", r->load.max_mean);
    put_real(w, "load_entropy", r->load.entropy);
    if (r->unbalanced > 0) jsonw_int(w, "unbalanced", r->unbalanced);
    if (load) put_load(w, load, n_layers, n_experts);
    put_validation(w, r);
    put_real(w, "wait_s", r->wait_s);
    if (r->rank_busy) {
        jsonw_open(w, "rank_busy_s", '[');
        for (int i = 0; i < r->n_ranks; i++)
            jsonw_real(w, NULL, round(1e4 * r->rank_busy[i]) / 1e4);
        jsonw_close(w, ']');
    }
    jsonw_int(w, "allocations", (int64_t)r->allocations);
    end_line(l, &l->metrics, r->step);
}

/* The line's end is taken off and written again with the members before it. */
void train_log_amend(struct train_log *l, const struct train_record *r)
{
    struct train_lines *f = &l->metrics;
    if (l->silent || f->step != r->step || f->torn || f->end - f->start < 3) return;
    if (ftruncate(f->fd, (off_t)f->end - 2) != 0) return;
    int64_t end = f->end - 2, start = f->start;
    begin_line(l);
    put_validation(&l->json, r);
    l->line.data[0] = ','; /* the bracket that begin_line has opened */
    f->end = start;        /* what stays where this fails */
    end_line(l, f, r->step);
    if (f->lost > 0) return;
    f->start = start;
    f->end = end + (int64_t)l->line.len;
}

void train_log_sync(struct train_log *l)
{
    if (l->silent) return;
    /* An error here is a file system without sync, or one that write_line has complained about. */
    (void)fdatasync(l->metrics.fd);
    (void)fdatasync(l->events.fd);
}

struct json_writer *train_log_event_begin(struct train_log *l, const char *event, int64_t step)
{
    struct json_writer *w = begin_line(l);
    put_time(w);
    jsonw_string(w, "event", event);
    jsonw_int(w, "step", step);
    return w;
}

void train_log_event_end(struct train_log *l)
{
    end_line(l, &l->events, 0);
}

void train_log_event(struct train_log *l, const char *event, int64_t step, const char *key,
                     const char *text)
{
    struct json_writer *w = train_log_event_begin(l, event, step);
    if (text) jsonw_string(w, key, text);
    train_log_event_end(l);
}

/* ------------------------------------------------------------------ the line for people */

void train_log_print(struct train_log *l, const struct train_record *r, int64_t total_steps,
                     double seconds_left)
{
    if (l->silent) return;
    char tokens[32], rate[32], left[32];
    int digits = snprintf(NULL, 0, "%lld", (long long)total_steps);
    struct str *line = &l->line;
    str_clear(line);
    str_printf(line, "step %*lld/%lld  %7s tokens  loss %.4f", digits, (long long)r->step,
               (long long)total_steps, format_count(tokens, (double)r->tokens), r->loss);
    if (!isnan(r->aux)) str_printf(line, "  aux %.3f  z %.3f", r->aux, r->z);
    if (!isnan(r->valid_bits_per_byte))
        str_printf(line, "  valid %.4f b/B", r->valid_bits_per_byte);
    str_printf(line, "  norm %.3f  lr %.2e  %s tok/s", r->grad_norm,
               isnan(r->muon_lr) ? r->lr : r->muon_lr, format_count(rate, r->tokens_per_s));
    if (!isnan(r->mfu)) str_printf(line, "  MFU %.1f %%", 100 * r->mfu);
    if (!isnan(r->load.max_mean))
        str_printf(line, "  load %.2f  entropy %.3f", r->load.max_mean, r->load.entropy);
    if (r->verdict != TRAIN_UPDATE_GOOD)
        str_printf(line, "  SKIPPED: %s", train_verdict_text(r->verdict));
    if (seconds_left > 0) str_printf(line, "  %s left", format_duration(left, seconds_left));
    if (fprintf(l->out, "%s\n", line->data) >= 0 && fflush(l->out) == 0) return;
    struct error e;
    error_errno(&e, "write", "the log lines");
    if (!l->out_warned) log_warn("%s; the run goes on without them", e.text);
    l->out_warned = true;
    clearerr(l->out); /* a lost line is no reason for the run to have failed */
}
