/* train_timeline_plot.c: a recorded step of every rank (train_timeline.c) as a table and lines of
 * characters for the terminal, and as a picture. */
#include "train/train_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE  ((size_t)16 << 20)
#define MAX_RANKS (1 << 20)
#define COLUMNS   72 /* of a step in the terminal */
#define WIDTH_PX  1000
#define LEFT_PX   70
#define ROW_PX    44 /* of a rank */
#define TOP_PX    64
#define BELOW_PX  40

struct span {
    const char *name, *group; /* group NULL: work */
    double begin_s, end_s;
    bool background;
};
struct rank_step {
    json_t *root;
    struct span *spans;
    size_t n;
    double seconds;
    int64_t step, ranks, lost;
    const char *layout;
};

/* What spans are called, a letter and a colour; the last stands for any other. */
static const struct look {
    const char *name, *text;
    char letter;
    int colour;
} looks[] = {
    {"forward", "forward pass", 'f', 0},
    {"backward", "backward pass", 'b', 1},
    {"update", "update", 'u', 2},
    {"wait", "waiting for sums", '.', 8},
    {"sum", "sum", 's', 3},
    {"reduce", "reduce", 'r', 4},
    {"gather", "gather", 'g', 5},
    {"exchange", "exchange", 'x', 6},
    {"agree", "agreement", 'a', 7},
    {"", "other work", 'o', 8},
};

static const struct look *look_of(const char *name)
{
    const struct look *l = looks;
    while (l->name[0] && strcmp(l->name, name) != 0)
        l++;
    return l;
}

/* ------------------------------------------------------------------ reading */

static int read_span(const json_t *o, const char *name, struct span *s, struct error *e)
{
    const char *kind;
    const json_t *group = json_object_get(o, "group");
    TRY(json_get_string(o, "kind", &kind, name, e));
    TRY(json_get_string(o, "name", &s->name, name, e));
    TRY(json_get_real(o, "begin_s", &s->begin_s, name, e));
    TRY(json_get_real(o, "end_s", &s->end_s, name, e));
    s->group = json_is_string(group) ? json_string_value(group) : NULL;
    s->background = strcmp(kind, "background") == 0;
    bool ordered = s->begin_s >= 0 && s->end_s >= s->begin_s;
    return ordered ? 0 : error_set(e, "%s: a span that ends before it begins", name);
}

static int read_rank(const char *path, struct rank_step *r, struct arena *a, struct error *e)
{
    TRY(json_load_path(path, MAX_FILE, &r->root, e));
    TRY(json_get_int(r->root, "step", &r->step, path, e));
    TRY(json_get_int(r->root, "ranks", &r->ranks, path, e));
    TRY(json_get_int(r->root, "lost", &r->lost, path, e));
    TRY(json_get_real(r->root, "seconds", &r->seconds, path, e));
    TRY(json_get_string(r->root, "layout", &r->layout, path, e));
    r->layout = arena_plain(a, r->layout);
    const json_t *spans = json_object_get(r->root, "spans");
    if (!json_is_array(spans) || !(r->seconds > 0 && r->seconds < 1e9) || r->ranks < 1 ||
        r->ranks > MAX_RANKS)
        return error_set(e, "%s: not a recorded step", path);
    r->spans = arena_alloc(a, MAX(json_array_size(spans), 1) * sizeof(*r->spans));
    for (; r->n < json_array_size(spans); r->n++)
        TRY(read_span(json_array_get(spans, r->n), path, &r->spans[r->n], e));
    return 0;
}

static int read_all(const char *run_dir, struct rank_step **out, size_t *n, struct arena *a,
                    struct error *e)
{
    struct rank_step first = {0};
    const char *folder = file_join(a, run_dir, "timeline");
    const char *path_0 = arena_printf(a, "%s/rank-00000.json", folder);
    int rc = file_exists(path_0) ? read_rank(path_0, &first, a, e) : 0;
    if (rc < 0) {
        json_decref(first.root);
        return error_hint(e, "what another step records replaces the file");
    }
    if (!first.root) {
        error_set(e, "'%s' has no recorded step: there is no '%s'", run_dir, path_0);
        return error_hint(e, "a run records its third step, and then every log.timeline_every-th");
    }
    *n = 1;
    *out = arena_alloc(a, (size_t)first.ranks * sizeof(**out));
    (*out)[0] = first;
    for (; *n < (size_t)first.ranks; (*n)++) {
        struct rank_step *r = &(*out)[*n];
        *r = (struct rank_step){0};
        const char *path = arena_printf(a, "%s/rank-%05zu.json", folder, *n);
        rc = read_rank(path, r, a, e);
        if (rc < 0) json_decref(r->root);
        if (rc < 0) return rc;
        if (r->step == first.step && r->ranks == first.ranks) continue;
        error_set(e,
                  "%s is of step %" PRId64 " of %" PRId64 " ranks, and that of rank 0 of step "
                  "%" PRId64 " of %" PRId64,
                  path, r->step, r->ranks, first.step, first.ranks);
        (*n)++;
        return error_hint(e, "the run is just writing them: ask again");
    }
    return 0;
}

/* ------------------------------------------------------------------ how much of what */

static int by_begin(const void *a, const void *b)
{
    const struct span *x = a, *y = b;
    return (x->begin_s > y->begin_s) - (x->begin_s < y->begin_s);
}

/* Seconds of spans that one is inside another of are counted once. */
static double covered(const struct rank_step *r, bool (*takes)(const struct span *))
{
    double sum = 0, until = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct span *s = &r->spans[i];
        if (!takes(s)) continue;
        sum += fmax(0, s->end_s - fmax(s->begin_s, until));
        until = fmax(until, s->end_s);
    }
    return sum;
}

/* This rank did nothing else meanwhile. */
static bool is_exposed(const struct span *s)
{
    return !s->background && (s->group || strcmp(s->name, "wait") == 0);
}

static bool is_background(const struct span *s)
{
    return s->background;
}

static double named(const struct rank_step *r, const char *name)
{
    double sum = 0;
    for (size_t i = 0; i < r->n; i++)
        if (!r->spans[i].group && strcmp(r->spans[i].name, name) == 0)
            sum += r->spans[i].end_s - r->spans[i].begin_s;
    return sum;
}

/* ------------------------------------------------------------------ terminal */

/* Letters of the spans, later and inner ones over those around them. */
static void letters(const struct rank_step *r, bool background, double longest_s, char *text)
{
    memset(text, ' ', COLUMNS);
    text[COLUMNS] = '\0';
    for (size_t i = 0; i < r->n; i++) {
        const struct span *s = &r->spans[i];
        if (s->background != background) continue;
        int from = (int)(s->begin_s / longest_s * COLUMNS);
        int to = (int)ceil(s->end_s / longest_s * COLUMNS);
        double cell_s = longest_s / COLUMNS;
        if (s->group && s->end_s - s->begin_s < cell_s / 2) continue;
        for (int k = MAX(from, 0); k < MIN(to, COLUMNS); k++)
            text[k] = look_of(s->name)->letter;
    }
}

static void print(const struct rank_step *ranks, size_t n, double longest_s, FILE *out)
{
    char text[COLUMNS + 1];
    fprintf(out, "step %" PRId64 ", %s, %.1f ms\n\n", ranks[0].step, ranks[0].layout,
            1e3 * longest_s);
    fprintf(out, "rank    step ms  forward  backward  update  exposed  in the background\n");
    for (size_t i = 0; i < n; i++) {
        const struct rank_step *r = &ranks[i];
        double exposed_s = covered(r, is_exposed);
        fprintf(out, "%4zu  %9.1f  %7.1f  %8.1f  %6.1f  %5.1f %%  %9.1f ms\n", i, 1e3 * r->seconds,
                1e3 * named(r, "forward"), 1e3 * named(r, "backward"), 1e3 * named(r, "update"),
                100 * exposed_s / r->seconds, 1e3 * covered(r, is_background));
    }
    fprintf(out,
            "\nexposed: waiting for messages or for other ranks, and nothing else meanwhile\n\n");
    for (size_t i = 0; i < n; i++) {
        letters(&ranks[i], false, longest_s, text);
        fprintf(out, "%4zu |%s|\n", i, text);
        letters(&ranks[i], true, longest_s, text);
        if (strspn(text, " ") < COLUMNS) fprintf(out, "     |%s|\n", text);
    }
    fprintf(out, "     ");
    for (size_t i = 0; i < ARRAY_LEN(looks); i++)
        fprintf(out, "%s%c %s",
                i == 0   ? ""
                : i == 5 ? "\n     "
                         : ", ",
                looks[i].letter, looks[i].text);
    fprintf(out, "\n");
    int64_t lost = 0;
    for (size_t i = 0; i < n; i++)
        lost += ranks[i].lost;
    if (lost > 0) fprintf(out, "%" PRId64 " more spans found no place and are not shown\n", lost);
}

/* ------------------------------------------------------------------ picture */

static void draw_axis(struct str *svg, double longest_s, double height)
{
    double inner = WIDTH_PX - LEFT_PX - 20, step = plot_nice_step(longest_s / 8);
    char text[32];
    for (double s = 0; s <= longest_s; s += step) {
        double x = LEFT_PX + s / longest_s * inner;
        snprintf(text, sizeof(text), "%g ms", round(1e5 * s) / 100);
        svg_line(svg, x, TOP_PX - 6, x, height - BELOW_PX, "grid");
        svg_text(svg, x, height - BELOW_PX + 18, "middle", "dim", text);
    }
}

static void draw_rank(struct str *svg, const struct rank_step *r, size_t row, double longest_s)
{
    double inner = WIDTH_PX - LEFT_PX - 20, top = TOP_PX + (double)row * ROW_PX;
    char text[32], class[8];
    snprintf(text, sizeof(text), "rank %zu", row);
    svg_text(svg, LEFT_PX - 8, top + 16, "end", "dim", text);
    for (size_t i = 0; i < r->n; i++) {
        const struct span *s = &r->spans[i];
        double x = LEFT_PX + s->begin_s / longest_s * inner;
        double width = fmax(0.4, (s->end_s - s->begin_s) / longest_s * inner);
        double y = top + (s->background ? 26 : s->group ? 12 : 2);
        snprintf(class, sizeof(class), "c%d", look_of(s->name)->colour);
        svg_rect(svg, x, y, width, s->background || s->group ? 8 : 20, class);
    }
}

static void draw_legend(struct str *svg)
{
    double x = LEFT_PX;
    char class[8];
    for (size_t i = 0; i < ARRAY_LEN(looks); i++) {
        snprintf(class, sizeof(class), "c%d", looks[i].colour);
        svg_rect(svg, x, 36, 11, 11, class);
        svg_text(svg, x + 15, 46, "start", "dim", looks[i].text);
        x += 32 + 6.6 * (double)strlen(looks[i].text);
    }
}

static int draw(const struct rank_step *ranks, size_t n, double longest_s, const char *path,
                struct error *e)
{
    struct str svg = {0};
    char title[192];
    double height = TOP_PX + (double)n * ROW_PX + BELOW_PX;
    snprintf(title, sizeof(title), "step %" PRId64 ": %s", ranks[0].step, ranks[0].layout);
    svg_open(&svg, WIDTH_PX, height, title);
    svg_text(&svg, LEFT_PX, 22, "start", "title", title);
    draw_legend(&svg);
    draw_axis(&svg, longest_s, height);
    for (size_t i = 0; i < n; i++)
        draw_rank(&svg, &ranks[i], i, longest_s);
    str_puts(&svg, "</svg>\n");
    int rc = svg_write(path, &svg, WIDTH_PX, height, e);
    str_fini(&svg);
    return rc;
}

int train_plot_timeline(const char *run_dir, FILE *out, struct error *e)
{
    struct arena a = {0};
    struct rank_step *ranks = NULL;
    double longest_s = 0;
    size_t n = 0;
    int rc = read_all(run_dir, &ranks, &n, &a, e);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        qsort(ranks[i].spans, ranks[i].n, sizeof(*ranks[i].spans), by_begin);
        longest_s = fmax(longest_s, ranks[i].seconds);
    }
    if (rc >= 0 && out) print(ranks, n, longest_s, out);
    if (rc >= 0) rc = draw(ranks, n, longest_s, file_join(&a, run_dir, "timeline.svg"), e);
    for (size_t i = 0; i < n; i++)
        json_decref(ranks[i].root);
    arena_fini(&a);
    return rc;
}
