/* train_page.c: a run, at work or ended, as a page that stands alone: its curves, where its time went, which
 * ranks were lost, each rank's own part of the steps, as JSON within the page, which its script draws; of
 * a run at work the page asks for newer JSON (`colossus top --serve`).
 *
 * Steps are drawn by up to MOST bins of equally many neighbours: of each the mean, the least and the most,
 * so no spike vanishes. Where there are more, pairs of bins become one. */
#include "train/show/train_show_internal.h"

#include "http/http.h"

#include <inttypes.h>
#include <string.h>

#define MOST       4096
#define MOST_RANKS 64 /* rows; of more ranks, neighbours share one, which shows the slowest */

const char train_page_hash[] = "'sha256-7cWQ4VFuBhn0c3FiBxbfTCw+nsoZmmLTm5C6EbSyWuM='";

EMBED_FILE(train_page_body, "web/run.html");
EMBED_FILE(train_page_script, "web/run.js");

/* What is told of a step, and how its line names it. */
static const struct {
    const char *key, *line;
} fields[] = {{"loss", "loss"},         {"valid", "valid_nll"}, {"speed", "tokens_per_s"},
              {"step", "step_s"},       {"wait", "wait_s"},     {"norm", "grad_norm"},
              {"load", "load_max_mean"}};
enum { N_FIELDS = ARRAY_LEN(fields), STEP = 3 };

struct value {
    double sum, least, most;
    size_t n;
};

struct bin {
    double at_s; /* of its last line, since 1970 */
    double work_s;
    struct value values[N_FIELDS];
    double busy[MOST_RANKS]; /* sums of a rank's own part over that of the slowest */
    size_t n_busy, steps;
};

struct curves {
    struct bin *bins;
    size_t n, each; /* of the newest bin there may be fewer steps */
    size_t rows;    /* of ranks */
    double first_s, last_s;
};

static void take_value(struct value *v, double x)
{
    if (!isfinite(x)) return;
    v->least = v->n ? fmin(v->least, x) : x;
    v->most = v->n ? fmax(v->most, x) : x;
    v->sum += x;
    v->n++;
}

static void merge_value(struct value *v, const struct value *w)
{
    if (!w->n) return;
    v->least = v->n ? fmin(v->least, w->least) : w->least;
    v->most = v->n ? fmax(v->most, w->most) : w->most;
    v->sum += w->sum;
    v->n += w->n;
}

static void halve(struct curves *c)
{
    for (size_t i = 0; i < c->n / 2; i++) {
        struct bin a = c->bins[2 * i];
        const struct bin *b = &c->bins[2 * i + 1];
        a.at_s = b->at_s;
        a.work_s += b->work_s;
        a.steps += b->steps;
        a.n_busy += b->n_busy;
        for (int k = 0; k < N_FIELDS; k++)
            merge_value(&a.values[k], &b->values[k]);
        for (size_t r = 0; r < c->rows; r++)
            a.busy[r] += b->busy[r];
        c->bins[i] = a;
    }
    c->n /= 2;
    c->each *= 2;
}

/* Each rank's part of the slowest one's. */
static void take_ranks(struct curves *c, struct bin *b, const json_t *list)
{
    const size_t n = json_array_size(list);
    double slowest = 0, row[MOST_RANKS] = {0};
    if (n < 2) return;
    c->rows = MIN(n, (size_t)MOST_RANKS);
    for (size_t i = 0; i < n; i++) {
        double x = json_number_value(json_array_get(list, i));
        double *at = &row[i * c->rows / n];
        *at = fmax(*at, x);
        slowest = fmax(slowest, x);
    }
    if (!(slowest > 0)) return;
    for (size_t r = 0; r < c->rows; r++)
        b->busy[r] += row[r] / slowest;
    b->n_busy++;
}

static void take_step(void *ctx, const json_t *o)
{
    struct curves *c = ctx;
    const double t = train_line_seconds(json_string_value(json_object_get(o, "time")));
    const double step_s = train_line_real(o, "step_s");
    if (isnan(t)) return;
    if (c->n == MOST && c->bins[c->n - 1].steps == c->each) halve(c);
    if (c->n == 0) c->first_s = t - (isnan(step_s) ? 0 : step_s);
    if (c->n == 0 || c->bins[c->n - 1].steps == c->each) c->bins[c->n++] = (struct bin){.steps = 0};
    struct bin *b = &c->bins[c->n - 1];
    c->last_s = fmax(c->last_s, t);
    b->at_s = c->last_s; /* clocks of other machines may be behind */
    if (!isnan(step_s)) b->work_s += step_s;
    for (int k = 0; k < N_FIELDS; k++)
        take_value(&b->values[k], train_line_real(o, fields[k].line));
    take_ranks(c, b, json_object_get(o, "rank_busy_s"));
    b->steps++;
}

/* ------------------------------------------------------------------ JSON */

static void put_number(struct str *out, double v)
{
    if (!isfinite(v))
        str_puts(out, "null");
    else
        str_printf(out, "%.6g", v);
}

enum part { MEAN, LEAST, MOST_OF };

static double value_of(const struct value *v, enum part part)
{
    if (!v->n) return NAN;
    return part == MEAN ? v->sum / (double)v->n : part == LEAST ? v->least : v->most;
}

static void put_curves(struct json_writer *w, const struct curves *c, double begin_s)
{
    static const char *const endings[] = {"", "_low", "_high"};
    jsonw_open(w, "t", '[');
    for (size_t i = 0; i < c->n; i++)
        str_printf(w->out, "%s%.8g", i ? "," : "", (c->bins[i].at_s - begin_s) / 3600);
    jsonw_close(w, ']');
    for (int k = 0; k < N_FIELDS; k++)
        for (int part = MEAN; part <= MOST_OF; part++) {
            char key[32];
            snprintf(key, sizeof(key), "%s%s", fields[k].key, endings[part]);
            jsonw_open(w, key, '[');
            for (size_t i = 0; i < c->n; i++) {
                if (i) str_append_char(w->out, ',');
                put_number(w->out, value_of(&c->bins[i].values[k], (enum part)part));
            }
            jsonw_close(w, ']');
        }
    jsonw_open(w, "work", '[');
    for (size_t i = 0; i < c->n; i++) {
        double before = i ? c->bins[i - 1].at_s : begin_s, took = c->bins[i].at_s - before;
        if (i) str_append_char(w->out, ',');
        put_number(w->out, took > 0 ? fmin(c->bins[i].work_s / took, 1) : 1);
    }
    jsonw_close(w, ']');
}

static void put_ranks(struct json_writer *w, const struct curves *c, int64_t ranks)
{
    jsonw_open(w, "ranks", '[');
    for (size_t r = 0; r < c->rows; r++) {
        char name[48];
        const int64_t n = MAX(ranks, (int64_t)c->rows), rows = (int64_t)c->rows;
        const int64_t from = ((int64_t)r * n + rows - 1) / rows,
                      to = (((int64_t)r + 1) * n + rows - 1) / rows - 1;
        snprintf(name, sizeof(name), to > from ? "%" PRId64 " to %" PRId64 : "rank %" PRId64, from,
                 to);
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "name", name);
        jsonw_open(w, "busy", '[');
        for (size_t i = 0; i < c->n; i++) {
            const struct bin *b = &c->bins[i];
            if (i) str_append_char(w->out, ',');
            put_number(w->out, b->n_busy ? b->busy[r] / (double)b->n_busy : NAN);
        }
        jsonw_close(w, ']');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

/* Shares of all time: of steps that count, and of each cause. Where clocks went wrong they add up to more
 * than the time, and are of their sum. */
static void put_shares(struct json_writer *w, const struct train_status *s)
{
    double all = s->productive_s;
    for (int i = 0; i < TRAIN_LOST_CAUSES; i++)
        all += s->lost_s[i];
    all = fmax(all, s->total_s);
    jsonw_open(w, "shares", '[');
    for (int i = -1; i < TRAIN_LOST_CAUSES; i++) {
        jsonw_open(w, NULL, '[');
        jsonw_string(w, NULL, i < 0 ? "steps that count" : train_cause_names[i]);
        jsonw_real(w, NULL, all > 0 ? (i < 0 ? s->productive_s : s->lost_s[i]) / all : 0);
        jsonw_close(w, ']');
    }
    jsonw_close(w, ']');
}

static void put_incidents(struct json_writer *w, const struct train_status *s, double begin_s)
{
    jsonw_open(w, "incidents", '[');
    for (size_t i = 0; i < s->n_incidents; i++) {
        const struct train_incident *x = &s->incidents[i];
        struct str what = {0};
        if (x->text)
            str_puts(&what, x->text);
        else
            str_printf(&what, "rank %" PRId64 "%s%s: %s", x->rank, x->node ? " on " : "",
                       x->node ? x->node : "", x->why ? x->why : "lost");
        jsonw_open(w, NULL, '{');
        jsonw_real(w, "at", (train_line_seconds(x->time) - begin_s) / 3600);
        jsonw_string(w, "what", what.data);
        if (x->operation) jsonw_string(w, "in", x->operation);
        if (x->action) jsonw_string(w, "then", x->action);
        if (x->step >= 0) jsonw_int(w, "step", x->step);
        if (x->lost_s > 0) jsonw_real(w, "lost_s", x->lost_s);
        jsonw_close(w, '}');
        str_fini(&what);
    }
    jsonw_close(w, ']');
}

static void run_json(const struct train_status *s, const struct curves *c, bool live,
                     struct str *out)
{
    struct json_writer w;
    /* a status counts from the first line of all, which may be an event before the first step */
    const double end_s = s->last_s, begin_s = s->total_s > 0 ? end_s - s->total_s : c->first_s;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_bool(&w, "live", live);
    jsonw_real(&w, "end", fmax(end_s - begin_s, 1) / 3600);
    put_curves(&w, c, begin_s);
    put_ranks(&w, c, s->ranks);
    put_shares(&w, s);
    put_incidents(&w, s, begin_s);
    jsonw_open(&w, "events", '[');
    for (size_t i = 0; i < s->n_events; i++)
        jsonw_string(&w, NULL, s->events[i]);
    jsonw_close(&w, ']');
    jsonw_open(&w, "status", '{');
    train_status_json(s, &w);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
}

static int read_run(const char *dir, bool live, struct arena *a, struct str *json, struct error *e)
{
    struct train_status s;
    struct curves c = {.each = 1};
    TRY(train_status_read(dir, a, &s, e));
    c.bins = mem_alloc(MOST * sizeof(*c.bins));
    train_lines_read(file_join(a, dir, "metrics.jsonl"), &c, take_step);
    run_json(&s, &c, live, json);
    mem_free(c.bins);
    train_status_free(&s);
    return 0;
}

int train_page_json(const char *dir, bool live, struct str *out, struct error *e)
{
    struct arena a = {0};
    int rc = read_run(dir, live, &a, out, e);
    arena_fini(&a);
    return rc;
}

void train_page(const char *dir, const struct str *json, struct str *out)
{
    http_page_begin(dir, train_page_hash, out);
    str_puts(out, "<h1>");
    svg_escape(out, dir);
    str_puts(out, "</h1>\n");
    str_puts(out, train_page_body);
    http_page_end(json, train_page_script, out);
}
