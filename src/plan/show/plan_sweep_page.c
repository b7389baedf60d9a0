/* plan_sweep_page.c: a sweep as a table, as JSON and as a picture. */
#include "plan/show/plan_show_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ the table */

static void add_row(struct table *t, const struct plan_sweep_point *p)
{
    const struct plan_answer *a = p->answer;
    char step[32], mfu[32], good[32], days[32], mw[32], usd[32], per[32], layout[200];
    if (!a) {
        table_row(t, p->text, "-", "-", "-", "-", "-", "-", "-", "");
        return;
    }
    plan_format_percent(good, plan_goodput(&a->reliability).mid);
    plan_layout_text(&a->layout, layout, sizeof layout);
    size_t used = strlen(layout);
    if (!a->step.fits) snprintf(layout + used, sizeof layout - used, ": DOES NOT FIT");
    table_row(t, p->text, format_duration(step, a->step.step_s),
              plan_format_percent(mfu, a->step.mfu), good, plan_format_days(days, a->days.mid),
              format_si(mw, a->power.facility_w, "W"), plan_format_usd(usd, a->money.run_usd.mid),
              plan_format_usd(per, a->money.usd_per_million_tokens.mid), layout);
}

void plan_print_sweep(const struct plan_sweep *s, FILE *out)
{
    const char *heads[] = {s->input, "step", "MFU",          "goodput", "days",
                           "power",  "run",  "per M tokens", "layout"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "rrrrrrrrl");
    for (size_t i = 0; i < s->n_points; i++)
        add_row(t, &s->points[i]);
    table_print(t, out);
    table_free(t);
    for (size_t i = 0; i < s->n_points; i++)
        if (!s->points[i].answer) fprintf(out, "%s: %s\n", s->points[i].text, s->points[i].why);
}

json_t *plan_sweep_to_json(const struct plan_sweep *s)
{
    json_t *points = json_array();
    for (size_t i = 0; i < s->n_points; i++) {
        const struct plan_sweep_point *p = &s->points[i];
        json_t *j = json_object();
        json_object_set_new(j, "value", json_string(p->text));
        if (p->answer)
            json_object_set_new(j, "answer", plan_to_json(p->answer));
        else
            json_object_set_new(j, "why", json_string(p->why));
        json_array_append_new(points, j);
    }
    return json_pack("{s:s, s:o}", "input", s->input, "points", points);
}

/* ------------------------------------------------------------------ the picture */

struct sweep_curve { /* one panel */
    const char *title, *y_label;
    double y[PLAN_MAX_SWEEP], low[PLAN_MAX_SWEEP], high[PLAN_MAX_SWEEP];
};

/* The points that have an answer: numbers from left to right, names in the order given. */
static size_t in_order(const struct plan_sweep *s, bool numbers,
                       const struct plan_sweep_point *order[PLAN_MAX_SWEEP])
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_points; i++) {
        if (!s->points[i].answer) continue;
        size_t at = n++;
        for (; numbers && at > 0 && order[at - 1]->value > s->points[i].value; at--)
            order[at] = order[at - 1];
        order[at] = &s->points[i];
    }
    return n;
}

static void fill_curves(const struct plan_sweep_point *const *order, size_t count, double *x,
                        struct sweep_curve curves[4])
{
    for (size_t n = 0; n < count; n++) {
        const struct plan_answer *a = order[n]->answer;
        const struct range y[] = {
            a->days,
            {a->money.run_usd.low / 1e6, a->money.run_usd.mid / 1e6, a->money.run_usd.high / 1e6},
            {100 * a->step.mfu * a->step_s.mid / a->step_s.high, 100 * a->step.mfu,
             100 * a->step.mfu * a->step_s.mid / a->step_s.low},
            {a->power.facility_w / 1e6, a->power.facility_w / 1e6, a->power.facility_w / 1e6}};
        x[n] = order[n]->value;
        for (int k = 0; k < 4; k++) {
            curves[k].y[n] = y[k].mid;
            curves[k].low[n] = y[k].low;
            curves[k].high[n] = y[k].high;
        }
    }
}

int plan_write_sweep(const struct plan_sweep *s, const char *path, struct error *e)
{
    static const char *const titles[] = {"days of the run", "cost of the run",
                                         "model FLOPs utilisation", "power of the site"};
    static const char *const units[] = {"days", "million USD", "%", "MW"};
    double x[PLAN_MAX_SWEEP];
    struct sweep_curve curves[4];
    struct plot plots[4];
    struct plot_series series[4][3];
    const struct plan_sweep_point *order[PLAN_MAX_SWEEP];
    const char *values[PLAN_MAX_SWEEP];
    bool numbers = true;
    for (size_t i = 0; i < s->n_points; i++)
        numbers &= isfinite(s->points[i].value);
    size_t n = in_order(s, numbers, order);
    fill_curves(order, n, x, curves);
    for (size_t i = 0; i < n; i++)
        values[i] = order[i]->text;
    bool wide = n > 1 && numbers && x[0] > 0 && x[n - 1] / x[0] >= 8;
    for (int k = 0; k < 4; k++) {
        const double *y[] = {curves[k].y, curves[k].low, curves[k].high};
        static const char *const names[] = {"mid", "low", "high"};
        size_t lines = k == 3 ? 1 : 3;
        for (size_t i = 0; i < lines; i++)
            series[k][i] = (struct plot_series){
                names[i], numbers ? x : NULL, y[i], n, numbers && n > 1 ? PLOT_LINE : PLOT_POINTS,
                NULL};
        plots[k] = (struct plot){.title = titles[k],
                                 .x_label = s->input,
                                 .x_names = numbers ? NULL : values,
                                 .y_label = units[k],
                                 .log_x = wide,
                                 .series = series[k],
                                 .n_series = lines};
    }
    return plot_write_svg_panels(plots, ARRAY_LEN(plots), 900, 260, path, e);
}
