/* base_plot.c: line plots for the terminal and as SVG.
 *
 * Both pictures share the axes: the range of the finite data, ticks at 1, 2 or 5 times a power of
 * ten (Heckbert, "Nice numbers for graph labels", Graphics Gems, 1990), whole decades where an
 * axis is logarithmic and spans several. The terminal draws with braille characters, 2 x 4 dots a
 * cell; a letter stands at the end of each line, because a log has no colours. The SVG is drawn with
 * base_svg.c's primitives and colours. A series of a million steps is thinned to the lowest and
 * highest value per pixel, which keeps every spike visible. */
#include "base/base.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TICKS  64 /* named values of a sweep; numbers take 12 at most */
#define LABEL_SIZE 24

/* One axis: the range shown and its ticks. */
struct axis {
    double lo, hi;
    bool log;
    size_t n_ticks;
    double tick[MAX_TICKS];
    char label[MAX_TICKS][LABEL_SIZE];
};

/* ------------------------------------------------------------------ axes */

static bool is_shown(double v, bool log)
{
    return isfinite(v) && (!log || v > 0.0);
}

static double x_of(const struct plot_series *s, size_t i)
{
    return s->x ? s->x[i] : (double)i;
}

static bool point_is_shown(const struct plot *p, const struct plot_series *s, size_t i)
{
    return is_shown(x_of(s, i), p->log_x) && is_shown(s->y[i], p->log_y);
}

/* The range of the points that can be drawn; false where there is none. */
static bool plot_range(const struct plot *p, struct axis *x, struct axis *y)
{
    bool any = false;
    for (size_t k = 0; k < p->n_series; k++) {
        const struct plot_series *s = &p->series[k];
        for (size_t i = 0; i < s->count; i++) {
            if (!point_is_shown(p, s, i)) continue;
            x->lo = any ? MIN(x->lo, x_of(s, i)) : x_of(s, i);
            x->hi = any ? MAX(x->hi, x_of(s, i)) : x_of(s, i);
            y->lo = any ? MIN(y->lo, s->y[i]) : s->y[i];
            y->hi = any ? MAX(y->hi, s->y[i]) : s->y[i];
            any = true;
        }
    }
    return any;
}

/* Widens the range by a share at both ends, and a single value to something that has a width. */
static void axis_pad(struct axis *a, double share)
{
    if (a->log) {
        double lo = log10(a->lo), hi = log10(a->hi);
        double pad = hi > lo ? (hi - lo) * share : 0.5;
        a->lo = pow(10.0, MAX(lo - pad, -307.0));
        a->hi = pow(10.0, MIN(hi + pad, 308.0));
        return;
    }
    double half = a->hi / 2 - a->lo / 2; /* the whole may be more than a double holds */
    double pad = 2 * (half * share);
    if (!(half > 1e-12 * MAX(fabs(a->lo), fabs(a->hi))))
        pad = a->hi == 0.0 ? 1.0 : 0.1 * fabs(a->hi);
    a->lo = MAX(a->lo - pad, -DBL_MAX);
    a->hi = MIN(a->hi + pad, DBL_MAX);
}

/* 0 at the low end, 1 at the high end. Kept between them: a value that rounding or the widest range
 * of a double puts outside is drawn at the edge. */
static double axis_place(const struct axis *a, double v)
{
    double t = a->log ? (log10(v) - log10(a->lo)) / (log10(a->hi) - log10(a->lo))
                      : (v / 2 - a->lo / 2) / (a->hi / 2 - a->lo / 2);
    return MAX(0.0, MIN(t, 1.0));
}

/* Both axes without their ticks; y_share is left free above and below the data. False: no data. */
static bool plot_axes(const struct plot *p, double y_share, struct axis *x, struct axis *y)
{
    bool bars = false;
    *x = (struct axis){.log = p->log_x};
    *y = (struct axis){.log = p->log_y};
    if (!plot_range(p, x, y)) return false;
    if (p->from_zero && !y->log) y->lo = MIN(y->lo, 0.0);
    double lowest = y->lo;
    for (size_t k = 0; k < p->n_series; k++)
        bars |= p->series[k].style == PLOT_BARS;
    axis_pad(x, bars ? 0.02 : 0.0); /* a bar is as much to the left of its x as to the right */
    axis_pad(y, y_share);
    if (p->from_zero && lowest == 0.0) y->lo = 0.0;
    if (p->x_names) {
        x->lo = -0.6;
        x->hi = (double)p->series[0].count - 0.4;
    }
    return true;
}

/* The nearest by ratio, so that the number of steps is as near as can be to what was asked for. */
double plot_nice_step(double v)
{
    double power = pow(10.0, floor(log10(v)));
    double m = v / power;
    return power * (m < 1.4142 ? 1.0 : m < 3.1623 ? 2.0 : m < 7.0711 ? 5.0 : 10.0);
}

/* "20k", "0.25", "3e-05"; all labels of a linear axis share prefix and decimals. */
static void tick_label(char *text, double v, double step, double largest)
{
    static const struct {
        double factor;
        const char *prefix;
    } scales[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    if (v == 0.0) {
        snprintf(text, LABEL_SIZE, "0");
        return;
    }
    if (largest < 1e-3 || largest >= 1e16) {
        snprintf(text, LABEL_SIZE, "%.4g", v);
        return;
    }
    double factor = 1.0;
    const char *prefix = "";
    for (size_t i = 0; i < ARRAY_LEN(scales) && largest >= 1e4; i++) {
        if (largest >= scales[i].factor) {
            factor = scales[i].factor;
            prefix = scales[i].prefix;
            break;
        }
    }
    int decimals = (int)MAX(0.0, -floor(log10(step / factor) + 1e-9));
    snprintf(text, LABEL_SIZE, "%.*f%s", MIN(decimals, 9), v / factor, prefix);
}

static void axis_add(struct axis *a, double v, double step, double largest)
{
    if (a->n_ticks == MAX_TICKS) return;
    a->tick[a->n_ticks] = v;
    tick_label(a->label[a->n_ticks], v, step, largest);
    a->n_ticks++;
}

static void axis_ticks_linear(struct axis *a, int wanted)
{
    double step = plot_nice_step((a->hi / wanted - a->lo / wanted));
    double largest = MAX(fabs(a->lo), fabs(a->hi));
    a->n_ticks = 0;
    for (double k = ceil(a->lo / step - 1e-9); k * step <= a->hi + step * 1e-9; k += 1.0) {
        if (a->n_ticks == MAX_TICKS) break;
        axis_add(a, k * step, step, largest);
    }
}

static void axis_ticks_log(struct axis *a, int wanted)
{
    double lo = log10(a->lo), hi = log10(a->hi);
    double stride = MAX(1.0, ceil((hi - lo) / wanted));
    static const double minor[] = {1.0, 2.0, 5.0};
    size_t n_minor = (hi - lo) * 3.0 <= wanted + 1.0 ? 3 : 1;
    for (double d = floor(lo / stride) * stride; d <= hi; d += stride) {
        for (size_t i = 0; i < n_minor; i++) {
            double v = minor[i] * pow(10.0, d);
            if (v >= a->lo * (1.0 - 1e-9) && v <= a->hi * (1.0 + 1e-9))
                axis_add(a, v, pow(10.0, d), v);
        }
    }
    if (a->n_ticks < 2) /* less than a decade: a linear axis' ticks say more */
        axis_ticks_linear(a, wanted);
}

static void axis_ticks(struct axis *a, int wanted)
{
    a->n_ticks = 0;
    wanted = MAX(2, MIN(wanted, 12));
    if (a->log)
        axis_ticks_log(a, wanted);
    else
        axis_ticks_linear(a, wanted);
}

/* The x axis of a plot: at its names, or at round numbers. */
static void axis_ticks_x(struct axis *a, const struct plot *p, int wanted)
{
    if (!p->x_names) {
        axis_ticks(a, wanted);
        return;
    }
    for (size_t i = 0; i < MIN(p->series[0].count, MAX_TICKS); i++) {
        a->tick[i] = (double)i;
        snprintf(a->label[i], LABEL_SIZE, "%s", p->x_names[i]);
        a->n_ticks = i + 1;
    }
}

static size_t axis_label_width(const struct axis *a)
{
    size_t width = 1;
    for (size_t i = 0; i < a->n_ticks; i++)
        width = MAX(width, strlen(a->label[i]));
    return width;
}

/* ------------------------------------------------------------------ terminal */

struct canvas {
    int columns, rows;    /* cells */
    unsigned char *dots;  /* [rows][columns], braille bits */
    unsigned char *owner; /* [rows][columns], series drawn there last, from 1 */
    char *letters;        /* [rows][columns], or 0 */
};

static void canvas_dot(struct canvas *c, int x, int y, size_t series)
{
    /* Unicode numbers the dots down the left column, down the right one, then the bottom pair. */
    static const unsigned char bits[4][2] = {{1, 8}, {2, 16}, {4, 32}, {64, 128}};
    if (x < 0 || y < 0 || x >= c->columns * 2 || y >= c->rows * 4) return;
    int cell = y / 4 * c->columns + x / 2;
    c->dots[cell] |= bits[y % 4][x % 2];
    c->owner[cell] = (unsigned char)MIN(series + 1, 255);
}

static void canvas_line(struct canvas *c, int x0, int y0, int x1, int y1, size_t series)
{
    int steps = MAX(abs(x1 - x0), abs(y1 - y0));
    for (int i = 0; i <= steps; i++) {
        double t = steps ? (double)i / steps : 0.0;
        canvas_dot(c, x0 + (int)lround(t * (x1 - x0)), y0 + (int)lround(t * (y1 - y0)), series);
    }
}

/* The letter of a series at the end of its line, moved up or down where another one is. */
static void canvas_letter(struct canvas *c, int x, int y, size_t series)
{
    int column = MIN(x / 2 + 1, c->columns - 1), row = MIN(y / 4, c->rows - 1);
    for (int away = 0; away < c->rows; away++) {
        int places[] = {row - away, row + away};
        for (int i = 0; i < 2; i++) {
            int cell = places[i] * c->columns + column;
            if (places[i] < 0 || places[i] >= c->rows || c->letters[cell]) continue;
            c->letters[cell] = (char)('a' + series % 26);
            c->owner[cell] = (unsigned char)MIN(series + 1, 255);
            return;
        }
    }
}

static void canvas_series(struct canvas *c, const struct plot *p, size_t k, const struct axis *x,
                          const struct axis *y)
{
    const struct plot_series *s = &p->series[k];
    int last_x = 0, last_y = 0;
    bool joined = false, any = false;
    for (size_t i = 0; i < s->count; i++) {
        if (!point_is_shown(p, s, i)) {
            joined = false;
            continue;
        }
        int px = (int)lround(axis_place(x, x_of(s, i)) * (c->columns * 2 - 1));
        int py = (int)lround((1.0 - axis_place(y, s->y[i])) * (c->rows * 4 - 1));
        if (s->style == PLOT_POINTS) {
            canvas_line(c, px, py, px + 1, py, k);
            canvas_line(c, px, py + 1, px + 1, py + 1, k);
        } else {
            canvas_line(c, joined ? last_x : px, joined ? last_y : py, px, py, k);
        }
        last_x = px;
        last_y = py;
        joined = any = true;
    }
    if (any && p->n_series > 1) canvas_letter(c, last_x, last_y, k);
}

static const char *series_colour(bool colours, size_t series)
{
    static const char *const codes[] = {"\033[36m", "\033[33m", "\033[32m",
                                        "\033[35m", "\033[34m", "\033[31m"};
    return colours ? codes[series % ARRAY_LEN(codes)] : "";
}

static void print_cell(const struct canvas *c, int cell, bool colours, FILE *out)
{
    unsigned char dots = c->dots[cell];
    if (!dots && !c->letters[cell]) {
        fputc(' ', out);
        return;
    }
    fputs(series_colour(colours, (size_t)c->owner[cell] - 1), out);
    if (c->letters[cell])
        fputc(c->letters[cell], out);
    else
        fprintf(out, "\xE2%c%c", 0xA0 | dots >> 6, 0x80 | (dots & 0x3F)); /* U+2800 + dots */
    fputs(colours ? "\033[0m" : "", out);
}

/* "a train  b validation", and what the axes are. */
static void print_legend(const struct plot *p, int indent, bool colours, FILE *out)
{
    bool several = p->n_series > 1;
    if (!several && !p->x_label && !p->y_label) return;
    fprintf(out, "%*s", indent, "");
    for (size_t k = 0; several && k < p->n_series; k++)
        fprintf(out, "%s%c%s %s   ", series_colour(colours, k), (char)('a' + k % 26),
                colours ? "\033[0m" : "", p->series[k].name ? p->series[k].name : "");
    if (p->y_label) fprintf(out, "%s%s", p->y_label, p->x_label ? " over " : "");
    fprintf(out, "%s\n", p->x_label ? p->x_label : "");
}

static void print_x_axis(const struct axis *x, int indent, int columns, FILE *out)
{
    char marks[512], labels[512];
    memset(marks, ' ', sizeof(marks));
    memset(labels, ' ', sizeof(labels));
    int end = -2;
    for (size_t i = 0; i < x->n_ticks; i++) {
        int column = (int)lround(axis_place(x, x->tick[i]) * (columns - 1));
        int n = (int)strlen(x->label[i]);
        int begin = MAX(0, MIN(column - n / 2, columns - n));
        if (column < 0 || column >= columns || begin < end + 2) continue;
        marks[column] = '|';
        memcpy(labels + begin, x->label[i], (size_t)n);
        end = begin + n;
    }
    fprintf(out, "%*s\u2514", indent, "");
    for (int i = 0; i < columns; i++)
        fputs(marks[i] == '|' ? "\u252C" : "\u2500", out);
    fprintf(out, "\n%*s%.*s\n", indent + 1, "", MAX(end, 0), labels);
}

static void print_canvas(const struct canvas *c, const struct axis *y, int label_width,
                         bool colours, FILE *out)
{
    for (int row = 0; row < c->rows; row++) {
        const char *label = "";
        for (size_t i = 0; i < y->n_ticks; i++)
            if (lround((1.0 - axis_place(y, y->tick[i])) * (c->rows - 1)) == row)
                label = y->label[i];
        fprintf(out, "%*s %s", label_width, label, label[0] ? "\u2524" : "\u2502");
        int last = c->columns - 1; /* no blanks at the end of a line */
        while (last >= 0 && !c->dots[row * c->columns + last] &&
               !c->letters[row * c->columns + last])
            last--;
        for (int column = 0; column <= last; column++)
            print_cell(c, row * c->columns + column, colours, out);
        fputc('\n', out);
    }
}

void plot_print(const struct plot *p, int width, int height, FILE *out)
{
    width = MAX(24, MIN(width, 400));
    height = MAX(8, MIN(height, 200));
    struct axis x, y;
    if (p->title) fprintf(out, "%s\n", p->title);
    if (!plot_axes(p, 0.03, &x, &y)) {
        fprintf(out, "  no data yet\n");
        return;
    }
    int rows = height - 3 - (p->title ? 1 : 0);
    axis_ticks(&y, (rows + 1) / 3);
    int label_width = (int)axis_label_width(&y);
    struct canvas c = {.rows = rows, .columns = width - label_width - 2};
    axis_ticks_x(&x, p, c.columns / 10);
    struct arena a = {0};
    size_t cells = (size_t)c.rows * (size_t)c.columns;
    c.dots = arena_alloc(&a, cells);
    c.owner = arena_alloc(&a, cells);
    c.letters = arena_alloc(&a, cells);
    for (size_t k = 0; k < p->n_series; k++)
        canvas_series(&c, p, k, &x, &y);
    bool colours = isatty(fileno(out)) && !getenv("NO_COLOR");
    print_canvas(&c, &y, label_width, colours, out);
    print_x_axis(&x, label_width + 1, c.columns, out);
    print_legend(p, label_width + 2, colours, out);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ SVG */

#define SVG_CHAR   7.2 /* width of a letter, on average */
#define SVG_TOP    46.0
#define SVG_BOTTOM 46.0
#define SVG_RIGHT  22.0
#define SVG_PAD    0.04 /* of the y range, above and below the data */
#define SVG_TICK_X 85.0 /* pixels from one tick to the next, about */
#define SVG_TICK_Y 42.0

/* One plot of a picture: its axes, and the rectangle of its data in pixels. */
struct panel {
    struct str *out;
    const struct plot *p;
    struct axis x, y;
    double left, top, width, height;
};

static double svg_x(const struct panel *f, double v)
{
    return f->left + axis_place(&f->x, v) * f->width;
}

static double svg_y(const struct panel *f, double v)
{
    return f->top + (1.0 - axis_place(&f->y, v)) * f->height;
}

static void svg_axes(const struct panel *f)
{
    double bottom = f->top + f->height, right = f->left + f->width;
    for (size_t i = 0; i < f->y.n_ticks; i++) {
        double y = svg_y(f, f->y.tick[i]);
        svg_line(f->out, f->left, y, right, y, "grid");
        svg_text(f->out, f->left - 8.0, y + 4.0, "end", "dim", f->y.label[i]);
    }
    for (size_t i = 0; i < f->x.n_ticks; i++) {
        double x = svg_x(f, f->x.tick[i]);
        if (!f->p->x_names) svg_line(f->out, x, f->top, x, bottom, "grid");
        svg_text(f->out, x, bottom + 17.0, "middle", "dim", f->x.label[i]);
    }
    if (f->p->x_label)
        svg_text(f->out, f->left + f->width / 2.0, bottom + 36.0, "middle", "dim", f->p->x_label);
    if (f->p->y_label) {
        str_printf(f->out, "<g transform=\"translate(16 %.1f) rotate(-90)\">",
                   f->top + f->height / 2.0);
        svg_text(f->out, 0.0, 0.0, "middle", "dim", f->p->y_label);
        str_puts(f->out, "</g>");
    }
    svg_line(f->out, f->left, f->top, f->left, bottom, "axis");
    svg_line(f->out, f->left, bottom, right, bottom, "axis");
}

static const char *series_name(const struct plot *p, size_t k)
{
    return p->series[k].name ? p->series[k].name : "";
}

/* Pixels of the legend, and of a line for it below the title where it does not fit beside it. */
static double svg_legend_width(const struct plot *p)
{
    double width = 0.0;
    for (size_t k = 0; k < p->n_series && p->n_series > 1; k++)
        width += SVG_CHAR * (double)strlen(series_name(p, k)) + 42.0;
    return width;
}

static double svg_legend_height(const struct plot *p, double width)
{
    double title = 1.4 * SVG_CHAR * (double)strlen(p->title ? p->title : "");
    return title + svg_legend_width(p) > width ? 20.0 : 0.0;
}

static void svg_dot(const struct panel *f, double x, double y, double radius, size_t series)
{
    str_printf(f->out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"dot c%zu\">", x, y,
               radius, series % SVG_COLOURS);
}

/* Title at the left, one mark and name for each series at the right, above the data so that they
 * never cover it, nor each other. */
static void svg_heading(const struct panel *f)
{
    const struct plot *p = f->p;
    double y = f->top - 16.0, x = f->left + f->width;
    char class[16];
    svg_text(f->out, f->left, y - svg_legend_height(p, f->width), "start", "title", p->title);
    for (size_t k = p->n_series; k-- > 0 && p->n_series > 1;) {
        int style = p->series[k].style;
        x -= SVG_CHAR * (double)strlen(series_name(p, k));
        svg_text(f->out, x, y, "start", "", series_name(p, k));
        snprintf(class, sizeof(class), "%s%zu", style == PLOT_LINE ? "line l" : "c",
                 k % SVG_COLOURS);
        if (style == PLOT_LINE) {
            svg_line(f->out, x - 24.0, y - 4.0, x - 6.0, y - 4.0, class);
        } else if (style == PLOT_BARS) {
            svg_rect(f->out, x - 19.0, y - 10.0, 11.0, 11.0, class);
        } else {
            svg_dot(f, x - 14.0, y - 4.0, 4.0, k);
            str_puts(f->out, "</circle>\n");
        }
        x -= 42.0;
    }
}

/* A point that stands alone is the one that the others are compared with: larger. */
static void svg_points(const struct panel *f, size_t k)
{
    const struct plot_series *s = &f->p->series[k];
    for (size_t i = 0; i < s->count; i++) {
        if (!point_is_shown(f->p, s, i)) continue;
        svg_dot(f, svg_x(f, x_of(s, i)), svg_y(f, s->y[i]), s->count == 1 ? 6.0 : 4.0, k);
        if (s->labels) {
            str_puts(f->out, "<title>");
            svg_escape(f->out, s->labels[i]);
            str_puts(f->out, "</title>");
        }
        str_puts(f->out, "</circle>\n");
    }
}

static void svg_bars(const struct panel *f, size_t k)
{
    const struct plot_series *s = &f->p->series[k];
    double slot = f->width / (double)s->count, zero = svg_y(f, MAX(f->y.lo, 0.0));
    double width = f->p->x_names ? 0.7 * slot : MAX(2.0, MIN(0.5 * slot, 14.0));
    char class[16];
    snprintf(class, sizeof(class), "c%zu", k % SVG_COLOURS);
    for (size_t i = 0; i < s->count; i++) {
        if (!point_is_shown(f->p, s, i)) continue;
        double y = svg_y(f, s->y[i]);
        svg_rect(f->out, svg_x(f, x_of(s, i)) - width / 2.0, MIN(y, zero), width, fabs(zero - y),
                 class);
    }
}

/* The points that fall on one pixel column: the line enters at the first, reaches both extremes
 * and leaves from the last. */
struct pixel_column {
    size_t n;
    double x, first, last, lowest, highest;
};

static void svg_flush(struct str *out, struct pixel_column *c, bool *pen_down)
{
    if (!c->n) return;
    str_printf(out, "%c%.1f %.1f", *pen_down ? 'L' : 'M', c->x, c->first);
    if (c->n > 2 && c->lowest != c->first) str_printf(out, "V%.1f", c->lowest);
    if (c->n > 2 && c->highest != c->lowest) str_printf(out, "V%.1f", c->highest);
    if (c->n > 1) str_printf(out, "V%.1f", c->last);
    *pen_down = true;
    c->n = 0;
}

static void svg_curve(const struct panel *f, size_t k)
{
    const struct plot_series *s = &f->p->series[k];
    bool pen_down = false, thin = (double)s->count > 2.0 * f->width;
    struct pixel_column c = {0};
    str_printf(f->out, "<path class=\"line l%zu%s\" d=\"", k % SVG_COLOURS, thin ? " thin" : "");
    for (size_t i = 0; i < s->count; i++) {
        if (!point_is_shown(f->p, s, i)) {
            svg_flush(f->out, &c, &pen_down);
            pen_down = false;
            continue;
        }
        double px = svg_x(f, x_of(s, i)), py = svg_y(f, s->y[i]);
        if (thin) px = floor(px) + 0.5;
        if (c.n && (!thin || px != c.x)) svg_flush(f->out, &c, &pen_down);
        if (!c.n) c = (struct pixel_column){.x = px, .first = py, .lowest = py, .highest = py};
        c.n++;
        c.last = py;
        c.lowest = MAX(c.lowest, py);
        c.highest = MIN(c.highest, py);
    }
    svg_flush(f->out, &c, &pen_down);
    str_puts(f->out, "\"/>\n");
}

/* Room for the labels of the y axis and its name. */
static double svg_margin(const struct plot *p, double height)
{
    struct axis x, y;
    if (!plot_axes(p, SVG_PAD, &x, &y)) return 60.0;
    axis_ticks(&y, MAX(4, (int)(height / SVG_TICK_Y)));
    return (p->y_label ? 30.0 : 14.0) + SVG_CHAR * (double)axis_label_width(&y) + 8.0;
}

static void svg_panel(struct panel *f)
{
    svg_heading(f);
    if (!plot_axes(f->p, SVG_PAD, &f->x, &f->y)) {
        svg_text(f->out, f->left, f->top + f->height / 2.0, "start", "dim", "no data yet");
        return;
    }
    axis_ticks(&f->y, MAX(4, (int)(f->height / SVG_TICK_Y)));
    axis_ticks_x(&f->x, f->p, (int)(f->width / SVG_TICK_X));
    svg_axes(f);
    for (size_t k = 0; k < f->p->n_series; k++) {
        if (f->p->series[k].style == PLOT_POINTS)
            svg_points(f, k);
        else if (f->p->series[k].style == PLOT_BARS)
            svg_bars(f, k);
        else
            svg_curve(f, k);
    }
}

void plot_svg(struct str *out, const struct plot *plots, size_t n_plots, int width_px,
              int panel_height_px)
{
    double height = panel_height_px - SVG_TOP - SVG_BOTTOM, left = 0.0;
    svg_open(out, width_px, (double)panel_height_px * (double)n_plots, plots[0].title);
    for (size_t i = 0; i < n_plots; i++) /* one margin, so that panels over the same x line up */
        left = MAX(left, svg_margin(&plots[i], height));
    for (size_t i = 0; i < n_plots; i++) {
        double width = width_px - left - SVG_RIGHT, more = svg_legend_height(&plots[i], width);
        struct panel f = {.out = out,
                          .p = &plots[i],
                          .left = left,
                          .top = SVG_TOP + more + (double)i * panel_height_px,
                          .width = width,
                          .height = height - more};
        svg_panel(&f);
    }
    str_puts(out, "</svg>\n");
}

int plot_write_svg_panels(const struct plot *plots, size_t n_plots, int width_px,
                          int panel_height_px, const char *path, struct error *e)
{
    struct str out = {0};
    width_px = MAX(240, MIN(width_px, 10000));
    panel_height_px = MAX(160, MIN(panel_height_px, 10000));
    plot_svg(&out, plots, n_plots, width_px, panel_height_px);
    int rc = svg_write(path, &out, width_px, (double)panel_height_px * (double)n_plots, e);
    str_fini(&out);
    return rc;
}
