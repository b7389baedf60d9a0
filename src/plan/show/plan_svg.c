/* plan_svg.c: the pictures of the HTML page that are not plots: a whole cut into its parts, and the
 * cost of a run as each input moves it. */
#include "plan/show/plan_show_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ one bar in parts */

enum { BAR_TOP = 8, BAR_HEIGHT = 34, LEGEND_COLUMNS = 3, LEGEND_LINE = 22 };

/* Parts beyond the last colour take the first ones again, paler. */
static char *class_of(char buf[16], size_t i)
{
    snprintf(buf, 16, "c%zu%s", i % SVG_COLOURS, i >= SVG_COLOURS ? " half" : "");
    return buf;
}

static void bar_legend(const struct plan_list *parts, double sum, double top, struct str *out)
{
    double column = (double)PLAN_SVG_WIDTH / LEGEND_COLUMNS;
    for (size_t i = 0, n = 0; i < parts->n; i++) {
        const struct plan_told *t = &parts->told[i];
        char value[32], text[160], class[16];
        if (!(t->value.mid > 0)) continue;
        double x = column * (double)(n % LEGEND_COLUMNS);
        double y = top + LEGEND_LINE * (double)(n / LEGEND_COLUMNS);
        snprintf(text, sizeof text, "%s: %s (%.0f %%)", t->name, t->format(value, t->value.mid),
                 100 * t->value.mid / sum);
        svg_rect(out, x, y - 10, 11, 11, class_of(class, i));
        svg_text(out, x + 17, y, "start", "", text);
        n++;
    }
}

void plan_svg_bar(const struct plan_list *parts, double limit, const char *limit_name,
                  struct str *out)
{
    double sum = 0, at = 0;
    size_t shown = 0;
    char value[32], text[96], class[16];
    for (size_t i = 0; i < parts->n; i++) {
        sum += fmax(parts->told[i].value.mid, 0);
        shown += parts->told[i].value.mid > 0;
    }
    if (!(sum > 0)) return;
    double scale = (PLAN_SVG_WIDTH - 2) / (1.02 * fmax(sum, limit));
    size_t lines = (shown + LEGEND_COLUMNS - 1) / LEGEND_COLUMNS;
    double top = BAR_TOP + BAR_HEIGHT + (limit > 0 ? 48 : 28);
    svg_open(out, PLAN_SVG_WIDTH, top + LEGEND_LINE * (double)lines - 8, "parts of a whole");
    for (size_t i = 0; i < parts->n; i++) {
        double width = fmax(parts->told[i].value.mid, 0) * scale;
        if (width > 0) svg_rect(out, at, BAR_TOP, width, BAR_HEIGHT, class_of(class, i));
        at += width;
    }
    if (limit > 0) {
        double x = limit * scale;
        svg_line(out, x, BAR_TOP - 6, x, BAR_TOP + BAR_HEIGHT + 6, "limit");
        snprintf(text, sizeof text, "%s %s", limit_name, parts->told[0].format(value, limit));
        svg_text(out, x, BAR_TOP + BAR_HEIGHT + 20, x > 120 ? "end" : "start", "dim", text);
    }
    bar_legend(parts, sum, top, out);
    str_puts(out, "</svg>\n");
}

/* ------------------------------------------------------------------ what matters */

/* Bars of money, because every input moves it; days beside it where they move. */
void plan_svg_sensitivities(const struct plan_answer *a, struct str *out)
{
    enum { ROW = 26, NAME = 210, LABEL = 400, BAR = 14 };
    double lo = INFINITY, hi = 0;
    for (int i = 0; i < a->n_sensitivities; i++) {
        const struct plan_sensitivity *s = &a->sensitivities[i];
        lo = fmin(lo, fmin(s->low_usd, s->high_usd));
        hi = fmax(hi, fmax(s->low_usd, s->high_usd));
    }
    if (!(hi > lo)) return;
    double scale = (PLAN_SVG_WIDTH - NAME - LABEL) / (hi - lo);
    double mid = NAME + (a->money.run_usd.mid - lo) * scale;
    svg_open(out, PLAN_SVG_WIDTH, ROW * a->n_sensitivities + 8, "cost of the run by input");
    for (int i = 0; i < a->n_sensitivities; i++) {
        const struct plan_sensitivity *s = &a->sensitivities[i];
        double from = fmin(s->low_usd, s->high_usd), to = fmax(s->low_usd, s->high_usd);
        double y = ROW * i + 18;
        char low[32], high[32], days[96], text[192];
        plan_describe_sensitivity_days(s, days, sizeof days);
        snprintf(text, sizeof text, "%s – %s%s", plan_format_usd(low, from),
                 plan_format_usd(high, to), days);
        svg_text(out, 0, y, "start", "", s->input);
        svg_rect(out, NAME + (from - lo) * scale, y - 12, fmax((to - from) * scale, 1.5), BAR,
                 "c0");
        svg_text(out, PLAN_SVG_WIDTH - LABEL + 14, y, "start", "dim", text);
    }
    svg_line(out, mid, 0, mid, ROW * a->n_sensitivities + 4, "mean");
    str_puts(out, "</svg>\n");
}
