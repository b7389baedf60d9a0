/* train_log.c: what a run says: metrics.jsonl, events.jsonl, and a line for people.
 *
 * metrics.jsonl has one line for each step and only one: when a run goes back to a checkpoint, the
 * lines behind that step are cut off before the steps are done again. events.jsonl is never cut;
 * it tells what happened, the going back included. Event names are stable:
 *
 *   run_started  resumed  config_changed  step_skipped  validation  checkpoint_saved
 *   checkpoint_failed  checkpoint_rejected  stopping  run_finished
 *
 * A line is one write(2), so a killed process leaves whole lines; a torn one at the end (power
 * loss) is dropped when the file is opened again. A write that fails (disk full) is reported once
 * and does not end the run: the weights are worth more than the curve. The line's memory is taken
 * at the start, so writing one allocates nothing. */
#include "train/train_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LINE_RESERVE 8192

/* ------------------------------------------------------------------ opening */

/* Whether a line of metrics.jsonl, without its end, is of a step up to `step`. */
static bool is_line_up_to(const char *line, size_t n, int64_t step)
{
    static const char head[] = "{\"step\":";
    size_t skip = sizeof(head) - 1;
    if (n <= skip || memcmp(line, head, skip) != 0 || line[n - 1] != '}') return false;
    return strtoll(line + skip, NULL, 10) <= step;
}

/* Bytes of the longest good beginning: whole lines, and none beyond `step` (-1: any line). */
static size_t good_bytes(const char *data, size_t size, int64_t step)
{
    size_t good = 0;
    while (good < size) {
        const char *end = memchr(data + good, '\n', size - good);
        if (!end) break;
        if (step >= 0 && !is_line_up_to(data + good, (size_t)(end - data) - good, step)) break;
        good = (size_t)(end - data) + 1;
    }
    return good;
}

static int open_lines(const char *path, int64_t step, int *fd, struct error *e)
{
    struct file_map map;
    *fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (*fd < 0) return error_errno(e, "open", path);
    TRY(file_map_open(&map, path, e));
    size_t good = good_bytes((const char *)map.data, map.size, step);
    bool cut = good < map.size;
    file_map_close(&map);
    if (cut && ftruncate(*fd, (off_t)good) != 0) return error_errno(e, "cut off the end of", path);
    return 0;
}

int train_log_open(struct train_log *l, const char *run_dir, int64_t step, FILE *out,
                   struct arena *a, struct error *e)
{
    memset(l, 0, sizeof(*l));
    l->metrics_fd = l->events_fd = -1;
    l->out = out;
    l->metrics_path = file_join(a, run_dir, "metrics.jsonl");
    l->events_path = file_join(a, run_dir, "events.jsonl");
    int rc = open_lines(l->metrics_path, step, &l->metrics_fd, e);
    if (rc >= 0) rc = open_lines(l->events_path, -1, &l->events_fd, e);
    if (rc < 0) {
        train_log_close(l);
        return rc;
    }
    str_reserve(&l->line, LINE_RESERVE);
    return 0;
}

void train_log_close(struct train_log *l)
{
    if (l->metrics_fd >= 0) close(l->metrics_fd);
    if (l->events_fd >= 0) close(l->events_fd);
    l->metrics_fd = l->events_fd = -1;
    str_fini(&l->line);
}

/* ------------------------------------------------------------------ lines */

static struct json_writer *begin_line(struct train_log *l)
{
    str_clear(&l->line);
    jsonw_begin(&l->json, &l->line);
    jsonw_open(&l->json, NULL, '{');
    return &l->json;
}

static void end_line(struct train_log *l, int fd, const char *path)
{
    struct error e;
    jsonw_close(&l->json, '}');
    str_append_char(&l->line, '\n');
    if (file_write_fd(fd, l->line.data, l->line.len, path, &e) >= 0 || l->warned) return;
    log_warn("%s; the run goes on without its lines there", e.text);
    l->warned = true;
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
    jsonw_int(w, "step", r->step); /* first: train_log_open looks for it */
    jsonw_int(w, "tokens", r->tokens);
    put_time(w);
    jsonw_real(w, "loss", r->loss);
    jsonw_real(w, "ce", r->ce);
    put_real(w, "bits_per_byte", r->bits_per_byte);
    put_real(w, "aux", r->aux);
    put_real(w, "z", r->z);
    jsonw_real(w, "grad_norm", r->grad_norm);
    jsonw_real(w, "lr", r->lr);
    put_real(w, "muon_lr", r->muon_lr);
    if (r->verdict != TRAIN_UPDATE_GOOD) jsonw_string(w, "skipped", train_verdict_text(r->verdict));
    jsonw_real(w, "step_s", r->step_s);
    jsonw_real(w, "data_s", r->data_s);
    jsonw_real(w, "tokens_per_s", r->tokens_per_s);
    jsonw_real(w, "flops_per_s", r->flops_per_s);
    put_real(w, "mfu", r->mfu);
    put_real(w, "load_max_mean", r->load_max_mean);
    put_real(w, "load_entropy", r->load_entropy);
    if (load) put_load(w, load, n_layers, n_experts);
    put_real(w, "valid_nll", r->valid_nll);
    put_real(w, "valid_bits_per_byte", r->valid_bits_per_byte);
    put_real(w, "valid_s", r->valid_s);
    jsonw_int(w, "allocations", (int64_t)r->allocations);
    end_line(l, l->metrics_fd, l->metrics_path);
}

void train_log_sync(struct train_log *l)
{
    /* An error here is a file system without sync, or one that end_line has complained about. */
    (void)fdatasync(l->metrics_fd);
    (void)fdatasync(l->events_fd);
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
    end_line(l, l->events_fd, l->events_path);
}

/* ------------------------------------------------------------------ the line for people */

static int digits(int64_t n)
{
    int d = 1;
    while (n >= 10) {
        n /= 10;
        d++;
    }
    return d;
}

void train_log_print(struct train_log *l, const struct train_record *r, int64_t total_steps,
                     double seconds_left)
{
    char tokens[32], rate[32], left[32];
    struct str *line = &l->line;
    str_clear(line);
    str_printf(line, "step %*lld/%lld  %7s tokens  loss %.4f", digits(total_steps),
               (long long)r->step, (long long)total_steps, format_count(tokens, (double)r->tokens),
               r->loss);
    if (!isnan(r->valid_bits_per_byte))
        str_printf(line, "  valid %.4f b/B", r->valid_bits_per_byte);
    str_printf(line, "  norm %.3f  lr %.2e  %s tok/s", r->grad_norm,
               isnan(r->muon_lr) ? r->lr : r->muon_lr, format_count(rate, r->tokens_per_s));
    if (!isnan(r->mfu)) str_printf(line, "  MFU %.1f %%", 100 * r->mfu);
    if (!isnan(r->load_max_mean))
        str_printf(line, "  load %.2f  entropy %.3f", r->load_max_mean, r->load_entropy);
    if (r->verdict != TRAIN_UPDATE_GOOD)
        str_printf(line, "  SKIPPED: %s", train_verdict_text(r->verdict));
    if (seconds_left > 0) str_printf(line, "  %s left", format_duration(left, seconds_left));
    fprintf(l->out, "%s\n", line->data);
    fflush(l->out);
}
