/* plan_svg.c: the pictures of the HTML page, as inline SVG.
 *
 * base_plot draws lines into a file of its own; a page needs pictures that take the page's colours,
 * light or dark, that have bars and labelled points, and that stand in the text. Colours are
 * classes (plan_svg_style), each with a plain colour in front for viewers without variables;
 * nothing is loaded from anywhere. */
#include "plan/show/plan_pages_internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Categorical colours that differ for the colour-blind, too (Okabe and Ito, 2008), darkened a bit
 * on light ground and lightened on dark. */
const char plan_svg_style[] =
    "svg{font:13px system-ui,sans-serif;max-width:100%;height:auto}"
    "svg text{fill:#1c1e21;fill:var(--ink)}"
    "svg .dim{fill:#626a73;fill:var(--dim)}"
    "svg .grid{stroke:#e3e6ea;stroke:var(--line);stroke-width:1}"
    "svg .axis{stroke:#626a73;stroke:var(--dim);stroke-width:1}"
    "svg .c0{fill:#0072b2;fill:var(--c0)}"
    "svg .c1{fill:#d55e00;fill:var(--c1)}"
    "svg .c2{fill:#009e73;fill:var(--c2)}"
    "svg .c3{fill:#cc79a7;fill:var(--c3)}"
    "svg .c4{fill:#e0a000;fill:var(--c4)}"
    "svg .c5{fill:#56b4e9;fill:var(--c5)}"
    "svg .c6{fill:#8c6bb1;fill:var(--c6)}"
    "svg .c7{fill:#9aa3ad;fill:var(--c7)}"
    "svg .l0{stroke:#0072b2;stroke:var(--c0)}"
    "svg .l1{stroke:#d55e00;stroke:var(--c1)}"
    "svg .l2{stroke:#009e73;stroke:var(--c2)}"
    "svg .l3{stroke:#cc79a7;stroke:var(--c3)}"
    "svg .line{fill:none;stroke-width:1.8}"
    "svg .limit{stroke:#c0392b;stroke:var(--bad);stroke-width:2;stroke-dasharray:5 3}"
    ":root{--ink:#1c1e21;--dim:#626a73;--line:#e3e6ea;--paper:#fff;--panel:#f6f7f9;--bad:#c0392b;"
    "--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#cc79a7;--c4:#e0a000;--c5:#56b4e9;--c6:#8c6bb1;"
    "--c7:#9aa3ad}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e8eb;--dim:#9aa3ad;--line:#33383f;"
    "--paper:#15181c;--panel:#1d2126;--bad:#ff6b5b;--c0:#4ea8de;--c1:#ff8c42;--c2:#2ec4a0;"
    "--c3:#e29ac0;--c4:#f0c040;--c5:#8ecdf5;--c6:#b79ae0;--c7:#6c757f}}";

enum { LEFT = 76, RIGHT = 16, TOP = 34, BOTTOM = 46 };

struct scale {
    double lo, hi, from_px, to_px;
    bool log;
};

static double place(const struct scale *s, double v)
{
    double lo = s->log ? log10(s->lo) : s->lo, hi = s->log ? log10(s->hi) : s->hi;
    double x = s->log ? log10(fmax(v, DBL_MIN)) : v;
    double share = hi > lo ? (x - lo) / (hi - lo) : 0.5;
    return s->from_px + fmin(fmax(share, -0.05), 1.05) * (s->to_px - s->from_px);
}

void plan_svg_escape(struct str *out, const char *text)
{
    for (const char *p = text ? text : ""; *p; p++) {
        switch (*p) {
        case '<': str_puts(out, "&lt;"); break;
        case '>': str_puts(out, "&gt;"); break;
        case '&': str_puts(out, "&amp;"); break;
        case '"': str_puts(out, "&quot;"); break;
        default: str_append_char(out, *p);
        }
    }
}

static void add_text(struct str *out, double x, double y, const char *anchor, const char *class,
                     const char *text)
{
    str_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\"%s%s%s>", x, y, anchor,
               class[0] ? " class=\"" : "", class, class[0] ? "\"" : "");
    plan_svg_escape(out, text);
    str_puts(out, "</text>");
}

static void add_line(struct str *out, double x1, double y1, double x2, double y2, const char *class)
{
    str_printf(out, "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>", x1, y1,
               x2, y2, class);
}

/* 1, 2 or 5 times a power of ten: Heckbert, Graphics Gems (1990). */
static double nice_step(double range, int ticks)
{
    double raw = range / ticks, base = pow(10, floor(log10(raw))), x = raw / base;
    return base * (x < 1.5 ? 1 : x < 3.5 ? 2 : x < 7.5 ? 5 : 10);
}

static void tick_label(char buf[32], double v, double step)
{
    if (fabs(v) >= 1e4 || (v != 0 && fabs(v) < 1e-3)) {
        format_si(buf, v, "");
        return;
    }
    int decimals = step > 0 ? (int)fmax(0, ceil(-log10(step) - 1e-9)) : 0;
    snprintf(buf, 32, "%.*f", MIN(decimals, 6), v);
}

/* The next round value of a logarithmic axis: 1, 2, 5, 10 where it spans little, else decades. */
static double log_tick_after(const struct scale *s, double v)
{
    double base = pow(10, floor(log10(v) + 1e-9)), x = v / base;
    if (s->hi / s->lo > 100) return base * 10;
    return base * (x < 1.5 ? 2 : x < 3.5 ? 5 : 10);
}

static double log_tick_first(const struct scale *s)
{
    double v = pow(10, floor(log10(s->lo) + 1e-9));
    while (v < s->lo * 0.999)
        v = log_tick_after(s, v);
    return v;
}

static void y_axis(const struct scale *y, double right, struct str *out)
{
    char label[32];
    if (y->log) {
        for (double v = log_tick_first(y); v <= y->hi * 1.001; v = log_tick_after(y, v)) {
            add_line(out, LEFT, place(y, v), right, place(y, v), "grid");
            format_si(label, v, "");
            add_text(out, LEFT - 8, place(y, v) + 4, "end", "dim", label);
        }
        return;
    }
    double step = nice_step(y->hi - y->lo, 5);
    for (double v = ceil(y->lo / step - 1e-9) * step; v <= y->hi + 1e-9 * step; v += step) {
        add_line(out, LEFT, place(y, v), right, place(y, v), "grid");
        tick_label(label, fabs(v) < 1e-9 * step ? 0 : v, step);
        add_text(out, LEFT - 8, place(y, v) + 4, "end", "dim", label);
    }
}

static void x_axis(const struct plan_svg_plot *p, const struct scale *x, double bottom,
                   struct str *out)
{
    char label[32];
    if (p->x_names) {
        for (size_t i = 0; i < p->series[0].count; i++)
            add_text(out, place(x, (double)i), bottom + 18, "middle", "dim", p->x_names[i]);
        return;
    }
    if (x->log) {
        for (double v = log_tick_first(x); v <= x->hi * 1.001; v = log_tick_after(x, v)) {
            add_line(out, place(x, v), TOP, place(x, v), bottom, "grid");
            format_si(label, v, "");
            add_text(out, place(x, v), bottom + 18, "middle", "dim", label);
        }
        return;
    }
    double step = nice_step(x->hi - x->lo, 8);
    for (double v = ceil(x->lo / step - 1e-9) * step; v <= x->hi + 1e-9 * step; v += step) {
        add_line(out, place(x, v), bottom, place(x, v), bottom + 4, "axis");
        tick_label(label, fabs(v) < 1e-9 * step ? 0 : v, step);
        add_text(out, place(x, v), bottom + 18, "middle", "dim", label);
    }
}

static void find_range(const struct plan_svg_plot *p, struct scale *x, struct scale *y)
{
    bool any = false;
    for (size_t k = 0; k < p->n_series; k++)
        for (size_t i = 0; i < p->series[k].count; i++) {
            double a = p->x_names ? (double)i : p->series[k].x[i], b = p->series[k].y[i];
            if (!isfinite(a) || !isfinite(b)) continue;
            x->lo = any ? fmin(x->lo, a) : a;
            x->hi = any ? fmax(x->hi, a) : a;
            y->lo = any ? fmin(y->lo, b) : b;
            y->hi = any ? fmax(y->hi, b) : b;
            any = true;
        }
    if (!any) x->lo = y->lo = 0, x->hi = y->hi = 1;
    if (p->from_zero && !y->log) y->lo = fmin(y->lo, 0);
    double pad = y->hi - y->lo;
    if (!(pad > 0)) pad = fmax(fabs(y->hi), 1e-9);
    if (!y->log) {
        y->hi += 0.08 * pad;
        if (!(p->from_zero && y->lo == 0)) y->lo -= 0.08 * pad;
    } else {
        y->hi *= 1.3;
        y->lo /= 1.3;
    }
    if (p->x_names) {
        x->lo -= 0.6;
        x->hi += 0.6;
    } else if (!(x->hi > x->lo)) {
        x->lo -= 0.5 * fmax(fabs(x->lo), 1e-9);
        x->hi += 0.5 * fmax(fabs(x->hi), 1e-9);
    }
}

static void draw_bars(const struct plan_svg_series *s, int color, const struct scale *x,
                      const struct scale *y, struct str *out)
{
    double gap = fabs(x->to_px - x->from_px) / (x->hi - x->lo), zero = place(y, fmax(y->lo, 0));
    double width =
        s->x ? fmin(fmax(2, 0.5 * gap * (x->hi - x->lo) / (double)s->count), 14) : 0.7 * gap;
    for (size_t i = 0; i < s->count; i++) {
        double at = place(x, s->x ? s->x[i] : (double)i), top = place(y, s->y[i]);
        str_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"c%d\">",
                   at - width / 2, fmin(top, zero), width, fabs(zero - top), color);
        if (s->labels) {
            str_puts(out, "<title>");
            plan_svg_escape(out, s->labels[i]);
            str_puts(out, "</title>");
        }
        str_puts(out, "</rect>");
    }
}

static void draw_series(const struct plan_svg_series *s, int color, const struct scale *x,
                        const struct scale *y, struct str *out)
{
    if (s->style == PLAN_SVG_BARS) {
        draw_bars(s, color, x, y, out);
    } else if (s->style == PLAN_SVG_LINE) {
        str_printf(out, "<polyline class=\"line l%d\" points=\"", color);
        for (size_t i = 0; i < s->count; i++)
            str_printf(out, "%.1f,%.1f ", place(x, s->x[i]), place(y, s->y[i]));
        str_puts(out, "\"/>");
    } else {
        for (size_t i = 0; i < s->count; i++) {
            str_printf(out, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" class=\"c%d\">",
                       place(x, s->x[i]), place(y, s->y[i]), s->count == 1 ? 6.0 : 4.0, color);
            if (s->labels) {
                str_puts(out, "<title>");
                plan_svg_escape(out, s->labels[i]);
                str_puts(out, "</title>");
            }
            str_puts(out, "</circle>");
        }
    }
}

/* Names of the series, from the right. */
static void draw_legend(const struct plan_svg_plot *p, struct str *out)
{
    double x = PLAN_SVG_WIDTH - RIGHT;
    if (p->n_series < 2) return;
    for (size_t i = p->n_series; i-- > 0;) {
        add_text(out, x, 18, "end", "", p->series[i].name);
        x -= 7.0 * (double)strlen(p->series[i].name) + 18;
        str_printf(out, "<rect x=\"%.1f\" y=\"9\" width=\"10\" height=\"10\" class=\"c%zu\"/>", x,
                   i);
        x -= 18;
    }
}

void plan_svg_plot(const struct plan_svg_plot *p, struct str *out)
{
    double height = p->height > 0 ? p->height : 300, bottom = height - BOTTOM;
    double right = PLAN_SVG_WIDTH - RIGHT;
    struct scale x = {.from_px = LEFT, .to_px = right, .log = p->log_x};
    struct scale y = {.from_px = bottom, .to_px = TOP, .log = p->log_y};
    find_range(p, &x, &y);
    str_printf(out, "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"", PLAN_SVG_WIDTH,
               height);
    plan_svg_escape(out, p->title);
    str_puts(out, "\">");
    add_text(out, LEFT, 18, "start", "", p->title);
    y_axis(&y, right, out);
    x_axis(p, &x, bottom, out);
    add_line(out, LEFT, bottom, right, bottom, "axis");
    for (size_t i = 0; i < p->n_series; i++)
        draw_series(&p->series[i], (int)(i % 8), &x, &y, out);
    draw_legend(p, out);
    if (p->x_label) add_text(out, (LEFT + right) / 2, height - 8, "middle", "dim", p->x_label);
    if (p->y_label) {
        str_printf(out,
                   "<text transform=\"translate(14 %.0f) rotate(-90)\" text-anchor=\"middle\" "
                   "class=\"dim\">",
                   (TOP + bottom) / 2);
        plan_svg_escape(out, p->y_label);
        str_puts(out, "</text>");
    }
    str_puts(out, "</svg>\n");
}

/* ------------------------------------------------------------------ one bar in pieces */

enum { BAR_TOP = 8, BAR_HEIGHT = 34, LEGEND_COLUMNS = 3, LEGEND_LINE = 22 };

static void bar_legend(const struct plan_svg_piece *pieces, size_t count, double sum, double top,
                       char *(*format)(char buf[32], double x), struct str *out)
{
    double column = (double)PLAN_SVG_WIDTH / LEGEND_COLUMNS;
    for (size_t i = 0, n = 0; i < count; i++) {
        char value[32], text[160];
        if (!(pieces[i].value > 0)) continue;
        double x = column * (double)(n % LEGEND_COLUMNS);
        double y = top + LEGEND_LINE * (double)(n / LEGEND_COLUMNS);
        snprintf(text, sizeof text, "%s: %s (%.0f %%)", pieces[i].name,
                 format(value, pieces[i].value), 100 * pieces[i].value / sum);
        str_printf(out, "<rect x=\"%.1f\" y=\"%.1f\" width=\"11\" height=\"11\" class=\"c%zu\"%s/>",
                   x, y - 10, i % 8, i >= 8 ? " opacity=\"0.5\"" : "");
        add_text(out, x + 17, y, "start", "", text);
        n++;
    }
}

void plan_svg_bar(const struct plan_svg_piece *pieces, size_t count, double limit,
                  const char *limit_name, char *(*format)(char buf[32], double x), struct str *out)
{
    double sum = 0, at = 0;
    size_t shown = 0;
    for (size_t i = 0; i < count; i++) {
        sum += fmax(pieces[i].value, 0);
        shown += pieces[i].value > 0;
    }
    if (!(sum > 0)) return;
    double whole = fmax(sum, limit), scale = (PLAN_SVG_WIDTH - 2) / (1.02 * whole);
    size_t lines = (shown + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    double top = BAR_TOP + BAR_HEIGHT + (limit > 0 ? 48 : 28);
    str_printf(out, "<svg viewBox=\"0 0 %d %.0f\" role=\"img\">", PLAN_SVG_WIDTH,
               top + LEGEND_LINE * (double)lines - 8);
    for (size_t i = 0; i < count; i++) {
        double width = fmax(pieces[i].value, 0) * scale;
        if (!(width > 0)) continue;
        str_printf(out, "<rect x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\" class=\"c%zu\"%s/>",
                   at, BAR_TOP, width, BAR_HEIGHT, i % 8, i >= 8 ? " opacity=\"0.5\"" : "");
        at += width;
    }
    if (limit > 0) {
        double x = limit * scale;
        char value[32], text[96];
        add_line(out, x, BAR_TOP - 6, x, BAR_TOP + BAR_HEIGHT + 6, "limit");
        snprintf(text, sizeof text, "%s %s", limit_name, format(value, limit));
        add_text(out, x, BAR_TOP + BAR_HEIGHT + 20, x > 120 ? "end" : "start", "dim", text);
    }
    bar_legend(pieces, count, sum, top, format, out);
    str_puts(out, "</svg>\n");
}
