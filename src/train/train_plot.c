/* train_plot.c: the curves of a run, from its metrics.jsonl alone.
 *
 * loss.svg shows training and validation in bits per byte (the training loss through the bytes per
 * token of the training split, so that both share an axis), gradient norm and learning rate;
 * throughput.svg tokens per second, MFU and the experts' load. The training loss of single steps is
 * noise around the curve, so it is smoothed by an exponential mean over a hundredth of the run. */
#include "train/train_internal.h"

#include <math.h>
#include <string.h>

#define WIDTH_PX        900
#define PANEL_HEIGHT_PX 300
#define MAX_LINE        ((size_t)4 << 20)
#define MAX_NAMED       5 /* of the broken lines */

/* One number of every line; NaN where a line has none. */
enum column {
    COLUMN_TOKENS,
    COLUMN_BITS,
    COLUMN_CE,
    COLUMN_VALID,
    COLUMN_NORM,
    COLUMN_LR,
    COLUMN_MUON_LR,
    COLUMN_SPEED,
    COLUMN_MFU,
    COLUMN_LOAD,
    COLUMN_ENTROPY,
    COLUMN_COUNT
};
static const char *const column_keys[COLUMN_COUNT] = {
    "tokens",  "bits_per_byte", "loss", "valid_bits_per_byte", "grad_norm",   "lr",
    "muon_lr", "tokens_per_s",  "mfu",  "load_max_mean",       "load_entropy"};

struct curves {
    double *column[COLUMN_COUNT]; /* [count] */
    double *smooth;               /* of the training loss */
    size_t count, cap;
};

static void add_row(struct curves *c)
{
    if (c->count == c->cap) {
        c->cap = c->cap ? 2 * c->cap : 1024;
        for (int i = 0; i < COLUMN_COUNT; i++)
            c->column[i] = mem_realloc(c->column[i], c->cap * sizeof(double));
    }
    c->count++;
}

static void free_curves(struct curves *c)
{
    for (int i = 0; i < COLUMN_COUNT; i++)
        mem_free(c->column[i]);
    mem_free(c->smooth);
}

static int read_line(struct curves *c, const char *line, size_t n, const char *where,
                     struct error *e)
{
    json_t *o;
    TRY(json_parse(line, n, where, &o, e));
    if (!json_is_object(o) || !json_is_number(json_object_get(o, "tokens"))) {
        json_decref(o);
        return error_set(e, "%s: not a line of metrics", where);
    }
    add_row(c);
    for (int i = 0; i < COLUMN_COUNT; i++) {
        const json_t *v = json_object_get(o, column_keys[i]);
        /* An older program's "loss" is the objective, beside which "ce" stands. */
        const json_t *ce = i == COLUMN_CE ? json_object_get(o, "ce") : NULL;
        v = ce ? ce : v;
        double x = json_is_number(v) ? json_number_value(v) : NAN;
        c->column[i][c->count - 1] = i == COLUMN_MFU ? 100 * x : x; /* shown in percent */
    }
    json_decref(o);
    return 0;
}

/* A last line without an end is being written by a run in progress: left out. A line that is not
 * whole (a disk was full, a machine died) is one step's loss, not the curve's: named and left out. */
static int read_curves(const char *path, struct curves *c, struct error *e)
{
    struct file_map map;
    char where[512];
    size_t n_bad = 0;
    TRY(file_map_open(&map, path, e));
    const char *data = (const char *)map.data;
    size_t at = 0;
    for (int line = 1; at < map.size; line++) {
        const char *end = memchr(data + at, '\n', map.size - at);
        if (!end) break;
        size_t n = (size_t)(end - data) - at;
        snprintf(where, sizeof(where), "%s:%d", path, line);
        struct error bad = {0};
        int rc = n > MAX_LINE ? error_set(&bad, "%s: a line of %zu bytes", where, n)
                              : read_line(c, data + at, n, where, &bad);
        if (rc < 0 && n_bad++ < MAX_NAMED) log_warn("%s; this line is left out", bad.text);
        at += n + 1;
    }
    int rc = file_map_check(&map, path, e);
    file_map_close(&map);
    if (rc < 0) return rc;
    if (n_bad > MAX_NAMED) log_warn("%zu more lines are left out", n_bad - MAX_NAMED);
    return c->count > 0 ? 0 : error_set(e, "'%s' has no step yet", path);
}

static bool has_any(const struct curves *c, enum column col)
{
    for (size_t i = 0; i < c->count; i++) {
        if (!isnan(c->column[col][i])) return true;
    }
    return false;
}

/* Bits per byte of single steps where the run knows them, else nats per token. */
static enum column loss_column(const struct curves *c)
{
    return has_any(c, COLUMN_BITS) ? COLUMN_BITS : COLUMN_CE;
}

static void smooth_loss(struct curves *c)
{
    const double *loss = c->column[loss_column(c)];
    double keep = 1 - 1 / fmax(1, (double)c->count / 100), mean = NAN;
    c->smooth = mem_calloc(c->count, sizeof(double));
    for (size_t i = 0; i < c->count; i++) {
        if (isfinite(loss[i])) mean = isnan(mean) ? loss[i] : keep * mean + (1 - keep) * loss[i];
        c->smooth[i] = mean;
    }
}

/* The points of a sparse column, joined by a line: x and y without gaps. */
static struct plot_series joined(const struct curves *c, enum column col, const char *name,
                                 struct arena *a)
{
    double *x = arena_alloc(a, c->count * sizeof(double));
    double *y = arena_alloc(a, c->count * sizeof(double));
    size_t n = 0;
    for (size_t i = 0; i < c->count; i++) {
        if (isnan(c->column[col][i])) continue;
        x[n] = c->column[COLUMN_TOKENS][i];
        y[n++] = c->column[col][i];
    }
    /* a line of one point would be invisible */
    return (struct plot_series){
        .name = name, .x = x, .y = y, .count = n, .style = n == 1 ? PLOT_POINTS : PLOT_LINE};
}

static struct plot_series dense(const struct curves *c, const double *y, const char *name)
{
    return (struct plot_series){
        .name = name, .x = c->column[COLUMN_TOKENS], .y = y, .count = c->count};
}

static struct plot loss_plot(const struct curves *c, struct arena *a)
{
    bool bits = loss_column(c) == COLUMN_BITS;
    struct plot_series *s = arena_alloc(a, 2 * sizeof(*s));
    s[0] = dense(c, c->smooth, "training");
    s[1] = joined(c, COLUMN_VALID, "validation", a);
    return (struct plot){.title = "loss",
                         .x_label = "tokens",
                         .y_label = bits ? "bits per byte" : "nats per token",
                         .log_y = true,
                         .series = s,
                         .n_series = bits && s[1].count ? 2 : 1};
}

static struct plot one_plot(const struct curves *c, enum column col, const char *title,
                            const char *unit, struct arena *a)
{
    struct plot_series *s = arena_alloc(a, sizeof(*s));
    *s = dense(c, c->column[col], title);
    return (struct plot){
        .title = title, .x_label = "tokens", .y_label = unit, .series = s, .n_series = 1};
}

static int write_svgs(const struct curves *c, const char *run_dir, struct arena *a, struct error *e)
{
    enum column lr = has_any(c, COLUMN_MUON_LR) ? COLUMN_MUON_LR : COLUMN_LR;
    struct plot loss[3], speed[4];
    size_t n = 0;
    loss[0] = loss_plot(c, a);
    loss[1] = one_plot(c, COLUMN_NORM, "gradient norm", "before clipping", a);
    loss[2] = one_plot(c, lr, lr == COLUMN_LR ? "learning rate" : "learning rate (Muon)", "", a);
    TRY(plot_write_svg_panels(loss, 3, WIDTH_PX, PANEL_HEIGHT_PX, file_join(a, run_dir, "loss.svg"),
                              e));
    speed[n++] = one_plot(c, COLUMN_SPEED, "throughput", "tokens per second", a);
    if (has_any(c, COLUMN_MFU))
        speed[n++] =
            one_plot(c, COLUMN_MFU, "model FLOPs utilisation", "% of the measured peak", a);
    if (has_any(c, COLUMN_LOAD)) {
        speed[n++] = one_plot(c, COLUMN_LOAD, "expert load, worst layer", "largest / mean", a);
        speed[n++] =
            one_plot(c, COLUMN_ENTROPY, "expert entropy, worst layer", "share of log E", a);
    }
    return plot_write_svg_panels(speed, n, WIDTH_PX, PANEL_HEIGHT_PX,
                                 file_join(a, run_dir, "throughput.svg"), e);
}

int train_plot(const char *run_dir, FILE *out, struct error *e)
{
    struct curves c = {0};
    struct arena a = {0};
    int rc = read_curves(file_join(&a, run_dir, "metrics.jsonl"), &c, e);
    if (rc < 0) {
        error_context(e, "'%s' is not a run folder with metrics", run_dir);
    } else {
        smooth_loss(&c);
        if (out) {
            struct plot p = loss_plot(&c, &a);
            plot_print(&p, 100, 24, out);
        }
        rc = write_svgs(&c, run_dir, &a, e);
    }
    free_curves(&c);
    arena_fini(&a);
    return rc;
}
