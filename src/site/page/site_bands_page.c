/* site_bands_page.c: a scenario over many seeds, or two side by side, as a page that stands alone: what of
 * the site went on over time, as bands from the 10th to the 90th percentile of all seeds with the median in
 * them, and every figure, of two those that differ. Both have the same luck. The page has the look of
 * pages that stand alone (http_page.c) and no script; its two colours are told apart in grey, too. */
#include "site/page/site_page_internal.h"
#include "site/show/site_show_internal.h"

#include <stdlib.h>
#include <string.h>

enum { POINTS = 160, MOST_SEEDS = 24, WIDTH = 760, HEIGHT = 190, LEFT = 64, BOTTOM = 22 };

static const char *const COLOURS[2] = {"#3b7dd8", "#d9822b"};

/* What is drawn of a report. */
struct line_of {
    const char *title, *unit;
    double (*value)(const struct site_scenario *s, const struct site_report *r);
};

static double load_of(const struct site_scenario *s, const struct site_report *r)
{
    (void)s;
    return r->load_w;
}

static double work_of(const struct site_scenario *s, const struct site_report *r)
{
    double sum = 0.0, all = 0.0;
    for (int i = 0; i < s->n_jobs; i++) {
        double size = fmax((double)s->jobs[i].accelerators, 1.0);
        sum += size * r->at_work[i];
        all += size;
    }
    return all > 0.0 ? sum / all : 0.0;
}

static double service_of(const struct site_scenario *s, const struct site_report *r)
{
    (void)s;
    return r->installed > 0.0 ? 1.0 - r->out / r->installed : 0.0;
}

static double charge_of(const struct site_scenario *s, const struct site_report *r)
{
    double all = 3600.0 * figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
    return all > 0.0 ? r->charge_j / all : 0.0;
}

static const struct line_of LINES[] = {{"load of the site", "W", load_of},
                                       {"jobs at work, by their clock", "share", work_of},
                                       {"accelerators in service", "share", service_of},
                                       {"charge of the battery", "share", charge_of}};
enum { N_LINES = 4 };

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

static void take_bands(const struct site_scenario *s, int which, const struct site_record *each,
                       struct bands *b)
{
    double v[MOST_SEEDS];
    for (size_t l = 0; l < N_LINES; l++)
        for (size_t p = 0; p < POINTS; p++) {
            size_t n = 0;
            for (size_t i = 0; i < b->seeds; i++)
                if (each[i].n > 0) v[n++] = LINES[l].value(s, &each[i].rows[MIN(p, each[i].n - 1)]);
            if (n == 0) continue;
            qsort(v, n, sizeof(*v), by_size);
            b->low[l][which][p] = v[(n - 1) / 10];
            b->mid[l][which][p] = v[(n - 1) / 2];
            b->high[l][which][p] = v[(n - 1) - (n - 1) / 10];
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
    return LEFT + (WIDTH - LEFT - 8) * day / f->days;
}

static double y_of(const struct frame *f, double v)
{
    double share = f->high > f->low ? (v - f->low) / (f->high - f->low) : 0.5;
    return 8 + (HEIGHT - BOTTOM - 8) * (1.0 - share);
}

static void put_axes(const struct frame *f, const char *unit, struct str *out)
{
    double step = plot_nice_step((f->high - f->low) / 3.0), day = plot_nice_step(f->days / 7.0);
    for (double k = ceil(f->low / step - 1e-9); k * step <= f->high + 1e-9 * step; k += 1.0) {
        double v = k == 0.0 ? 0.0 : k * step, y = y_of(f, v); /* not -0 */
        char text[32];
        if (strcmp(unit, "share") == 0)
            snprintf(text, sizeof text, "%.4g %%", 100.0 * v);
        else
            format_si(text, v, unit);
        str_printf(out, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#8888\"/>",
                   LEFT, WIDTH - 8, y, y);
        str_printf(out,
                   "<text x=\"%d\" y=\"%.1f\" font-size=\"11\" text-anchor=\"end\" "
                   "fill=\"currentColor\">%s</text>",
                   LEFT - 4, y + 4.0, text);
    }
    for (double k = 0.0; k * day <= f->days * (1.0 + 1e-9); k += 1.0)
        str_printf(out,
                   "<text x=\"%.1f\" y=\"%d\" font-size=\"11\" text-anchor=\"middle\" "
                   "fill=\"currentColor\">%.4g</text>",
                   x_of(f, k * day), HEIGHT - 6, k * day);
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
    str_printf(out, "Z\"/><path fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"%s d=\"M",
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
    if (!(f.high > f.low)) f.low -= 0.5 * fabs(f.low) + 1e-3, f.high += 0.5 * fabs(f.high) + 1e-3;
    str_printf(out,
               "<section class=\"wide\">\n<h2>%s</h2>\n<svg viewBox=\"0 0 %d %d\" width=\"100%%\" "
               "role=\"img\" "
               "aria-label=\"%s over days, bands of %zu seeds\">",
               LINES[l].title, WIDTH, HEIGHT, LINES[l].title, b->seeds);
    put_axes(&f, LINES[l].unit, out);
    for (int i = 0; i < b->n; i++)
        put_band(b, l, i, &f, out);
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
    str_printf(out, "%s<th>what it is</th></tr>\n", n > 1 ? "<th class=\"n\">difference</th>" : "");
    for (size_t k = 0; k < site_n_figures; k++) {
        const struct site_figure *f = &site_figures[k];
        struct range v[2] = {{0}, {0}};
        char text[32];
        for (int i = 0; i < n; i++)
            v[i] = site_tell_range(s[i], &x[i], f);
        if (!is_shown(f, v, n)) continue;
        str_printf(out, "<tr><td>%s</td>", f->name);
        for (int i = 0; i < n; i++)
            put_cell(f, &v[i], out);
        if (n > 1)
            str_printf(out, "<td class=\"n\">%s</td>", site_tell(text, f, v[1].mid - v[0].mid));
        str_puts(out, "<td>");
        svg_escape(out, f->help);
        str_puts(out, "</td></tr>\n");
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
            "<p>%.6g days%s. Charts: the median of %zu seeds in a band from the 10th to the 90th "
            "percentile, over days. Figures: means of %zu seeds, with the same band.</p>\n<main>\n",
            b->days, n > 1 ? ", the same luck in both" : "", b->seeds, seeds);
        for (size_t l = 0; l < N_LINES; l++)
            put_chart(b, l, out);
        put_figures(s, x, n, out);
        str_puts(out, "</main>\n");
        http_page_end(NULL, NULL, out);
    }
    mem_free(b);
    return rc;
}
