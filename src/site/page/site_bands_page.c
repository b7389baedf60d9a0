/* site_bands_page.c: a scenario over many seeds, or two side by side, as a page that stands alone: what of
 * the site went on over time, as bands from the 10th to the 90th percentile of all seeds with the median in
 * them, and every figure, of two those that differ. Both have the same luck. The page has the look of
 * pages that stand alone (http_page.c) and no script; its two colours are told apart in grey, too. */
#include "site/page/site_page_internal.h"
#include "site/show/site_show_internal.h"

#include <stdlib.h>
#include <string.h>

enum { POINTS = 160, MOST_SEEDS = 24, WIDTH = 1000, HEIGHT = 1000 /* of curves, stretched */ };
#define TOP    8.0  /* per cent of a chart's height, above its curves */
#define BOTTOM 12.0 /* and below */

static const char *const COLOURS[2] = {"#3b7dd8", "#d9822b"};

/* What is drawn of the gauges of a report. */
struct line_of {
    const char *title, *unit;
    double (*value)(const struct site_scenario *s, const struct site_gauges *g, double installed);
    bool always; /* else only where it is not the same in all */
    bool mean;   /* the band is of means: the least is told by every restart */
};

static double load_of(const struct site_scenario *s, const struct site_gauges *g, double installed)
{
    (void)s, (void)installed;
    return g->load_w;
}

static double grid_of(const struct site_scenario *s, const struct site_gauges *g, double installed)
{
    (void)s, (void)installed;
    return g->grid_w;
}

static double gas_of(const struct site_scenario *s, const struct site_gauges *g, double installed)
{
    double sum = 0.0;
    (void)installed;
    for (int i = 0; i < s->n_gas; i++)
        sum += g->gas_w[i];
    return sum;
}

static double unserved_of(const struct site_scenario *s, const struct site_gauges *g,
                          double installed)
{
    (void)s, (void)installed;
    return g->unserved_w;
}

static double work_of(const struct site_scenario *s, const struct site_gauges *g, double installed)
{
    double sum = 0.0, all = 0.0;
    (void)installed;
    for (int i = 0; i < s->n_jobs; i++) {
        double size = fmax((double)s->jobs[i].accelerators, 1.0);
        sum += size * g->at_work[i];
        all += size;
    }
    return all > 0.0 ? sum / all : 0.0;
}

static double service_of(const struct site_scenario *s, const struct site_gauges *g,
                         double installed)
{
    (void)s;
    return installed > 0.0 ? 1.0 - g->out / installed : 0.0;
}

static double charge_of(const struct site_scenario *s, const struct site_gauges *g,
                        double installed)
{
    double all = 3600.0 * figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
    (void)installed;
    return all > 0.0 ? g->charge_j / all : 0.0;
}

static const struct line_of LINES[] = {
    {"load of the site", "W", load_of, true, false},
    {"power of the grid", "W", grid_of, false, false},
    {"power of the gas units", "W", gas_of, false, false},
    {"power that was not served", "W", unserved_of, false, false},
    {"jobs at work, by their clock", "share", work_of, true, true},
    {"accelerators in service", "share", service_of, true, false},
    {"charge of the battery", "share", charge_of, false, false}};
enum { N_LINES = ARRAY_LEN(LINES) };

/* [line][scenario][point]: of all seeds. */
struct bands {
    double at[POINTS], low[N_LINES][2][POINTS], mid[N_LINES][2][POINTS], high[N_LINES][2][POINTS];
    int n; /* scenarios */
    size_t seeds;
    double days;
};

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Reports of every seed, each as long as the others, [seed]. */
static int live(const struct site_scenario *s, const struct site_run_options *o, struct bands *b,
                struct site_record *each, struct error *e)
{
    struct site_result *r = mem_alloc(sizeof(*r));
    int rc = 0;
    for (size_t i = 0; i < b->seeds && rc >= 0; i++) {
        struct site_run_options with = *o;
        with.seed = o->seed + i;
        with.days = b->days;
        with.record = &each[i];
        each[i].every_s = b->days * 86400.0 / (POINTS - 1);
        rc = site_run(s, &with, r, e);
    }
    mem_free(r);
    return rc;
}

/* Of all seeds at a point: of the least, the means and the most since the point before. */
static void take_point(const struct site_scenario *s, size_t l, const struct site_record *each,
                       size_t n, size_t p, double out[3])
{
    double of[3][MOST_SEEDS];
    for (size_t i = 0; i < n; i++) {
        const struct site_report *r = &each[i].rows[MIN(p, each[i].n - 1)];
        double a = LINES[l].value(s, &r->least, r->installed),
               b = LINES[l].value(s, &r->most, r->installed);
        of[1][i] = LINES[l].value(s, &r->mean, r->installed);
        of[0][i] = LINES[l].mean ? of[1][i] : fmin(a, b);
        of[2][i] = LINES[l].mean ? of[1][i] : fmax(a, b);
    }
    for (int k = 0; k < 3; k++)
        qsort(of[k], n, sizeof(**of), by_size);
    out[0] = of[0][(n - 1) / 10];
    out[1] = of[1][(n - 1) / 2];
    out[2] = of[2][(n - 1) - (n - 1) / 10];
}

static void take_bands(const struct site_scenario *s, int which, const struct site_record *each,
                       struct bands *b)
{
    for (size_t l = 0; l < N_LINES; l++)
        for (size_t p = 0; p < POINTS; p++) {
            double v[3];
            take_point(s, l, each, b->seeds, p, v);
            b->low[l][which][p] = v[0];
            b->mid[l][which][p] = v[1];
            b->high[l][which][p] = v[2];
        }
}

static int bands_of(const struct site_scenario *const *s, const struct site_run_options *o,
                    struct bands *b, struct error *e)
{
    int rc = 0;
    b->days = o->days > 0.0 ? o->days : fmin(s[0]->days, s[b->n - 1]->days);
    for (int i = 0; i < b->n && rc >= 0; i++) {
        struct site_record each[MOST_SEEDS] = {{0}};
        rc = live(s[i], o, b, each, e);
        if (rc >= 0) take_bands(s[i], i, each, b);
        for (size_t k = 0; k < b->seeds; k++)
            site_record_free(&each[k]);
    }
    for (size_t p = 0; p < POINTS; p++)
        b->at[p] = b->days * (double)p / (POINTS - 1);
    return rc;
}

/* ------------------------------------------------------------------ drawing */

struct frame {
    double low, high, days;
};

static double x_of(const struct frame *f, double day)
{
    return WIDTH * day / f->days;
}

static double y_of(const struct frame *f, double v)
{
    double share = f->high > f->low ? (v - f->low) / (f->high - f->low) : 0.5;
    return HEIGHT * (1.0 - share);
}

/* In per cent of the chart, so that texts keep their size on every screen. */
static void put_axes(const struct frame *f, const char *unit, struct str *out)
{
    double step = plot_nice_step((f->high - f->low) / 3.0), day = plot_nice_step(f->days / 7.0);
    for (double k = ceil(f->low / step - 1e-9); k * step <= f->high + 1e-9 * step; k += 1.0) {
        double v = k == 0.0 ? 0.0 : k * step; /* not -0 */
        double y = TOP + (100.0 - TOP - BOTTOM) * y_of(f, v) / HEIGHT;
        char text[32];
        if (strcmp(unit, "share") == 0)
            snprintf(text, sizeof text, "%.4g %%", 100.0 * v);
        else
            format_si(text, v, unit);
        str_printf(out,
                   "<line x1=\"0\" x2=\"100%%\" y1=\"%.2f%%\" y2=\"%.2f%%\" stroke=\"#8888\"/>"
                   "<text x=\"2\" y=\"%.2f%%\" dy=\"-3\">%s</text>",
                   y, y, y, text);
    }
    for (double k = 0.0; k * day <= f->days * (1.0 + 1e-9); k += 1.0) {
        double x = 100.0 * k * day / f->days;
        const char *anchor = x < 3.0 ? "start" : x > 97.0 ? "end" : "middle";
        str_printf(out, "<text x=\"%.2f%%\" y=\"99%%\" text-anchor=\"%s\">%.4g</text>", x, anchor,
                   k * day);
    }
}

static void put_band(const struct bands *b, size_t l, int which, const struct frame *f,
                     struct str *out)
{
    str_printf(out, "<path fill=\"%s\" fill-opacity=\"0.28\" d=\"M", COLOURS[which]);
    for (size_t p = 0; p < POINTS; p++)
        str_printf(out, "%s%.1f %.1f", p ? "L" : "", x_of(f, b->at[p]),
                   y_of(f, b->high[l][which][p]));
    for (size_t p = POINTS; p-- > 0;)
        str_printf(out, "L%.1f %.1f", x_of(f, b->at[p]), y_of(f, b->low[l][which][p]));
    str_printf(out,
               "Z\"/><path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\" "
               "vector-effect=\"non-scaling-stroke\"%s d=\"M",
               COLOURS[which], which ? " stroke-dasharray=\"6 3\"" : "");
    for (size_t p = 0; p < POINTS; p++)
        str_printf(out, "%s%.1f %.1f", p ? "L" : "", x_of(f, b->at[p]),
                   y_of(f, b->mid[l][which][p]));
    str_puts(out, "\"/>");
}

static void put_chart(const struct bands *b, size_t l, struct str *out)
{
    struct frame f = {INFINITY, -INFINITY, b->days};
    for (int i = 0; i < b->n; i++)
        for (size_t p = 0; p < POINTS; p++) {
            f.low = fmin(f.low, b->low[l][i][p]);
            f.high = fmax(f.high, b->high[l][i][p]);
        }
    if (!(f.high > f.low) && !LINES[l].always) return;
    if (!(f.high > f.low)) f.low -= 0.5 * fabs(f.low) + 1e-3, f.high += 0.5 * fabs(f.high) + 1e-3;
    str_printf(out,
               "<section class=\"wide\">\n<h2>%s</h2>\n<svg class=\"plot\" role=\"img\" "
               "aria-label=\"%s over days, bands of %zu seeds\">"
               "<svg x=\"0\" y=\"%.4g%%\" width=\"100%%\" height=\"%.4g%%\" "
               "viewBox=\"0 0 %d %d\" preserveAspectRatio=\"none\">",
               LINES[l].title, LINES[l].title, b->seeds, TOP, 100.0 - TOP - BOTTOM, WIDTH, HEIGHT);
    for (int i = 0; i < b->n; i++)
        put_band(b, l, i, &f, out);
    str_puts(out, "</svg>");
    put_axes(&f, LINES[l].unit, out);
    str_puts(out, "</svg>\n</section>\n");
}

/* ------------------------------------------------------------------ figures */

static void put_cell(const struct site_figure *f, const struct range *v, struct str *out)
{
    char mid[32], low[32], high[32];
    str_printf(out, "<td class=\"n\">%s<br><small>%s to %s</small></td>", site_tell(mid, f, v->mid),
               site_tell(low, f, v->low), site_tell(high, f, v->high));
}

static bool is_shown(const struct site_figure *f, const struct range v[2], int n)
{
    for (int i = 0; i < n; i++)
        if (!isfinite(v[i].mid)) return false;
    if (strstr(f->name, "error")) return false;
    return n == 1 || fabs(v[0].mid - v[1].mid) > 1e-9 * fmax(fabs(v[0].mid), fabs(v[1].mid));
}

static void put_figures(const struct site_scenario *const *s, const struct site_seeds *x, int n,
                        struct str *out)
{
    str_printf(out,
               "<section class=\"wide\">\n<h2>%s</h2>\n<div class=\"scroll\"><table>\n"
               "<tr><th>figure</th>",
               n > 1 ? "figures that differ" : "figures");
    for (int i = 0; i < n; i++) {
        str_puts(out, "<th class=\"n\">");
        svg_escape(out, s[i]->name);
        str_puts(out, "</th>");
    }
    str_printf(out, "%s</tr>\n", n > 1 ? "<th class=\"n\">difference</th>" : "");
    for (size_t k = 0; k < site_n_figures; k++) {
        const struct site_figure *f = &site_figures[k];
        struct range v[2] = {{0}, {0}};
        char text[32];
        for (int i = 0; i < n; i++)
            v[i] = site_tell_range(s[i], &x[i], f);
        if (!is_shown(f, v, n)) continue;
        str_printf(out, "<tr><td>%s<br><small>", f->name);
        svg_escape(out, f->help);
        str_puts(out, "</small></td>");
        for (int i = 0; i < n; i++)
            put_cell(f, &v[i], out);
        if (n > 1)
            str_printf(out, "<td class=\"n\">%s</td>", site_tell(text, f, v[1].mid - v[0].mid));
        str_puts(out, "</tr>\n");
    }
    str_puts(out, "</table></div>\n</section>\n");
}

static void put_titles(const struct site_scenario *const *s, int n, struct str *out)
{
    str_puts(out, "<h1>");
    for (int i = 0; i < n; i++) {
        if (n > 1)
            str_printf(out,
                       "%s<svg width=\"34\" height=\"12\" aria-hidden=\"true\"><path fill=\"none\" "
                       "stroke=\"%s\" stroke-width=\"3\"%s d=\"M0 6L30 6\"/></svg>",
                       i ? "<br>" : "", COLOURS[i], i ? " stroke-dasharray=\"6 3\"" : "");
        svg_escape(out, s[i]->title);
    }
    str_puts(out, "</h1>\n");
}

int site_bands_html(const struct site_scenario *const *s, const struct site_seeds *x, int n,
                    const struct site_run_options *o, struct str *out, struct error *e)
{
    struct bands *b = mem_calloc(1, sizeof(*b));
    const size_t seeds = MIN(x[0].n, x[n - 1].n);
    b->n = n;
    b->seeds = MIN(seeds, (size_t)MOST_SEEDS);
    int rc = bands_of(s, o, b, e);
    if (rc >= 0) {
        http_page_begin(n > 1 ? "two sites" : s[0]->title, NULL, out);
        put_titles(s, n, out);
        str_printf(
            out,
            "<p>%.6g days%s. Charts: over days, of %zu seeds the median at each moment, in a band "
            "from "
            "the 10th percentile of the least to the 90th of the most within %.3g hours. Figures: "
            "means of %zu seeds, with the band from the 10th to the 90th percentile.</p>\n<main>\n",
            b->days, n > 1 ? ", the same luck in both" : "", b->seeds,
            b->days * 24.0 / (POINTS - 1), seeds);
        for (size_t l = 0; l < N_LINES; l++)
            put_chart(b, l, out);
        put_figures(s, x, n, out);
        str_puts(out, "</main>\n");
        http_page_end(NULL, NULL, out);
    }
    mem_free(b);
    return rc;
}
