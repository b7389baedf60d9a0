/* plan_svg_timeline.c: the picture of one step over the stages of a pipeline.
 *
 * Passes narrower than a pixel and a half cannot be told apart: a run of them is one striped block,
 * which keeps the picture small for any number of microbatches. Microbatches are numbered where
 * there is room for a number. */
#include "plan/show/plan_show_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LEFT = 62, RIGHT = 12, TOP = 30, BOTTOM = 44 };
#define SMALLEST_PX 1.5

struct drawing {
    double scale, row, bar; /* px per second; px per stage and of its bar */
    struct str *out;
};

static const char *const kind_names[] = {"forward",   "backward",     "data parallel",
                                         "optimizer", "both at once", "put-off weights"};
static const char *const classes[] = {"c0", "c2", "c1", "c6", "c4", "c5"};

static bool is_pass(const struct plan_span *s)
{
    return s->kind != PLAN_SPAN_COMMUNICATION && s->kind != PLAN_SPAN_OPTIMIZER;
}

static void draw_span(const struct drawing *d, const struct plan_span *s, const char *class)
{
    double x = LEFT + s->start_s * d->scale, w = (s->end_s - s->start_s) * d->scale;
    double y = TOP + s->stage * d->row;
    char number[16];
    svg_rect(d->out, x, y, fmax(w - (w > 4 ? 0.6 : 0), 0.3), d->bar, class);
    if (s->microbatch < 0 || w < 18 || d->bar < 11) return;
    snprintf(number, sizeof number, "%d", s->microbatch + 1);
    svg_text(d->out, x + w / 2, y + d->bar / 2 + 3.5, "middle", "number", number);
}

static int by_stage_and_start(const void *a, const void *b)
{
    const struct plan_span *x = a, *y = b;
    if (x->stage != y->stage) return x->stage < y->stage ? -1 : 1;
    return (x->start_s > y->start_s) - (x->start_s < y->start_s);
}

/* Merges neighbours that are too narrow to be told apart, as long as no gap between them could be
 * seen. Returns whether some of different kinds were drawn as one striped block. */
static bool draw_spans(const struct drawing *d, const struct plan_span *spans, size_t n)
{
    bool mixed = false;
    for (size_t i = 0; i < n;) {
        struct plan_span block = spans[i];
        size_t end = i + 1;
        bool same = true;
        bool narrow = (block.end_s - block.start_s) * d->scale < SMALLEST_PX;
        while (narrow && end < n && spans[end].stage == block.stage && is_pass(&spans[end]) &&
               (spans[end].end_s - spans[end].start_s) * d->scale < 2 * SMALLEST_PX &&
               (spans[end].start_s - block.end_s) * d->scale < 0.5) {
            same &= spans[end].kind == block.kind;
            block.end_s = spans[end++].end_s;
        }
        if (end > i + 1) block.microbatch = -1;
        draw_span(d, &block, same ? classes[block.kind] : "mix");
        mixed |= !same;
        i = end;
    }
    return mixed;
}

/* Every fourth or eighth number where there is no room for all. */
static void draw_stages(const struct drawing *d, int64_t stages)
{
    int64_t every = stages > 32 ? 8 : stages > 16 ? 4 : 1;
    for (int64_t i = 0; i < stages; i += every) {
        char label[32];
        snprintf(label, sizeof label, "%s%lld", i ? "" : "stage ", (long long)i + 1);
        svg_text(d->out, LEFT - 8, TOP + (double)i * d->row + d->bar / 2 + 4, "end", "dim", label);
    }
}

static void draw_time(const struct drawing *d, double end_s, double bottom)
{
    double step = plot_nice_step(fmax(end_s, 1e-12) / 8);
    for (int i = 0; i * step <= end_s * 1.0001; i++) {
        char label[32];
        double at = LEFT + i * step * d->scale;
        svg_line(d->out, at, bottom, at, bottom + 4, "axis");
        svg_text(d->out, fmin(at, PLAN_SVG_WIDTH - 20), bottom + 18, "middle", "dim",
                 format_duration(label, i * step));
    }
}

static double draw_key(const struct drawing *d, double x, const char *class, const char *name)
{
    svg_rect(d->out, x, 8, 12, 12, class);
    svg_text(d->out, x + 17, 18, "start", "", name);
    return x + 40 + 7 * (double)strlen(name);
}

static void draw_legend(const struct drawing *d, bool mixed, bool both_ends)
{
    double x = LEFT;
    for (size_t i = 0; i < (both_ends ? ARRAY_LEN(kind_names) : 4); i++)
        x = draw_key(d, x, classes[i], kind_names[i]);
    if (mixed) draw_key(d, x, "mix", both_ends ? "passes in turn" : "forward and backward in turn");
}

double plan_svg_timeline(const struct plan_step *step, const struct plan_layout *l, struct str *out)
{
    struct arena a = {0};
    struct plan_span *spans;
    size_t n = plan_timeline(step, l, &a, &spans);
    double end_s = 0;
    for (size_t i = 0; i < n; i++)
        end_s = fmax(end_s, spans[i].end_s);
    if (n > 1) qsort(spans, n, sizeof *spans, by_stage_and_start);
    int64_t stages = MAX(l->pp, 1);
    struct drawing d = {.out = out, .row = fmin(fmax(420.0 / (double)stages, 6), 34)};
    d.bar = d.row > 10 ? d.row - 3 : d.row - 1;
    d.scale = (PLAN_SVG_WIDTH - LEFT - RIGHT) / fmax(end_s, 1e-12);
    double bottom = TOP + d.row * (double)stages + 2, height = bottom + BOTTOM - 16;
    svg_open(out, PLAN_SVG_WIDTH, height, "one step over the stages of the pipeline");
    str_puts(out, "<defs><pattern id=\"mix\" width=\"4\" height=\"8\" "
                  "patternUnits=\"userSpaceOnUse\"><rect width=\"4\" height=\"8\" class=\"c2\"/>"
                  "<rect width=\"1.4\" height=\"8\" class=\"c0\"/></pattern></defs>"
                  "<style>svg .mix{fill:url(#mix)}svg .number{font-size:10px;fill:#fff}</style>\n");
    draw_stages(&d, stages);
    bool mixed = draw_spans(&d, spans, n);
    draw_time(&d, end_s, bottom);
    draw_legend(&d, mixed, step->both_ends);
    str_puts(out, "</svg>\n");
    arena_fini(&a);
    return height;
}

int plan_write_timeline(const struct plan_answer *answer, const char *path, struct error *e)
{
    struct str picture = {0};
    double height = plan_svg_timeline(&answer->step, &answer->layout, &picture);
    int rc = svg_write(path, &picture, PLAN_SVG_WIDTH, height, e);
    str_fini(&picture);
    return rc;
}
