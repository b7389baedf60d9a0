/* plan_html.c: the answer as one HTML file that opens anywhere: no script, no font, no link.
 *
 * The order is the reader's: the two sentences (what limits, what matters most), the figures with
 * their ranges, then pictures of the step, the memory, the choice of layout, power, money and the
 * year. Light or dark as the reader's machine is set. Everything that comes from a description is
 * escaped. */
#include "plan/show/plan_pages_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const char page_style[] =
    "body{margin:0 auto;max-width:940px;padding:24px 20px 60px;background:var(--paper);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "h1{font-size:26px;margin:.2em 0}h2{font-size:18px;margin:2em 0 .4em}"
    "p{margin:.4em 0}.dim{color:var(--dim)}"
    ".say{background:var(--panel);border-radius:8px;padding:12px 16px;margin:16px 0}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:10px;"
    "margin:16px 0}.card{background:var(--panel);border-radius:8px;padding:10px 14px}"
    ".card b{display:block;font-size:21px;font-weight:600;white-space:nowrap}.card "
    "span{color:var(--dim);"
    "font-size:13px}"
    "table{border-collapse:collapse;font-size:14px;width:100%}"
    "td,th{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left;white-space:normal}th{color:var(--dim);"
    "font-weight:500}.scroll{overflow-x:auto}.bad{color:var(--bad);font-weight:600}";

/* ------------------------------------------------------------------ pieces of a page */

static void add_element(struct str *out, const char *tag, const char *text)
{
    str_printf(out, "<%s>", tag);
    plan_svg_escape(out, text);
    str_printf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

static void add_cell(struct str *out, const char *tag, const char *text)
{
    str_printf(out, "<%s>", tag);
    plan_svg_escape(out, text);
    str_printf(out, "</%.*s>", (int)strcspn(tag, " "), tag);
}

static void add_head(const struct plan_answer *a, struct str *out)
{
    const struct plan_request *r = a->request;
    char title[512], model[256], cluster[512], layout[160], tokens[32];
    plan_describe_title(r, title, sizeof title);
    plan_describe_model(&r->model, model, sizeof model);
    plan_describe_cluster(&r->cluster, cluster, sizeof cluster);
    str_puts(out, "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>");
    plan_svg_escape(out, title);
    str_printf(out, "</title><style>%s%s</style></head><body>\n", plan_svg_style, page_style);
    add_element(out, "h1", title);
    add_element(out, "p class=\"dim\"", model);
    add_element(out, "p class=\"dim\"", cluster);
    str_puts(out, "<p class=\"dim\">");
    plan_svg_escape(out, plan_layout_text(&a->layout, layout, sizeof layout));
    struct machine_cluster job = plan_cluster_part(&r->cluster, a->part);
    plan_describe_use(&job, &a->layout, title, sizeof title);
    if (title[0]) str_puts(out, "; ");
    plan_svg_escape(out, title);
    char batch[32], seq_len[32];
    str_printf(out, " · %s sequences of %s tokens a step · %s tokens",
               plan_format_whole(batch, (double)r->batch.global_batch),
               plan_format_whole(seq_len, (double)r->batch.seq_len),
               format_si(tokens, a->tokens.mid, ""));
    str_puts(out, "</p>\n");
}

static void add_verdict(const struct plan_answer *a, struct str *out)
{
    str_puts(out, "<div class=\"say\">");
    str_puts(out, "<p><b>What limits it:</b> ");
    plan_svg_escape(out, a->limit);
    str_puts(out, "</p>");
    if (a->n_sensitivities > 0) {
        const struct plan_sensitivity *s = &a->sensitivities[0];
        char low[32], high[32], days[96];
        str_puts(out, "<p><b>What matters most:</b> ");
        plan_svg_escape(out, s->input);
        plan_format_sensitivity(days, sizeof days, s);
        str_printf(out, ": %s to %s%s</p>", plan_format_usd(low, s->low_usd),
                   plan_format_usd(high, s->high_usd), days);
    }
    if (a->search.runner_up[0]) {
        str_puts(out, "<p><b>Runner-up:</b> ");
        plan_svg_escape(out, a->search.runner_up);
        str_puts(out, "</p>");
    }
    str_puts(out, "</div>\n");
}

static void add_cards(const struct plan_told *told, size_t n, struct str *out)
{
    static const char *const keys[] = {"step_s", "mfu",     "days",  "goodput",
                                       "site_w", "run_usd", "co2_t", "water_l"};
    str_puts(out, "<div class=\"cards\">");
    for (size_t k = 0; k < ARRAY_LEN(keys); k++)
        for (size_t i = 0; i < n; i++) {
            char mid[32], low[32], high[32];
            const struct plan_told *t = &told[i];
            if (strcmp(t->key, keys[k]) != 0 || !(t->value.mid > 0)) continue;
            str_printf(out, "<div class=\"card\">%s<b>%s</b>", t->name,
                       t->format(mid, t->value.mid));
            if (t->value.low < t->value.high)
                str_printf(out, "<span>%s to %s</span>", t->format(low, t->value.low),
                           t->format(high, t->value.high));
            str_puts(out, "</div>");
        }
    str_puts(out, "</div>\n");
}

static void add_told(const struct plan_told *told, size_t n, struct str *out)
{
    str_puts(out, "<h2>Figures</h2><table><tr><th></th><th>low</th><th>mid</th><th>high</th></tr>");
    for (size_t i = 0; i < n; i++) {
        char low[32], mid[32], high[32];
        struct range v = told[i].value;
        if (!(v.mid > 0)) continue;
        bool exact = v.low == v.mid && v.high == v.mid;
        str_puts(out, "<tr>");
        add_cell(out, "td", told[i].name);
        add_cell(out, "td", exact ? "" : told[i].format(low, v.low));
        add_cell(out, "td", told[i].format(mid, v.mid));
        add_cell(out, "td", exact ? "" : told[i].format(high, v.high));
        str_puts(out, "</tr>\n");
    }
    str_puts(out, "</table>\n");
}

/* ------------------------------------------------------------------ step, memory, layouts */

static void add_step(const struct plan_answer *a, struct str *out)
{
    const struct plan_step *s = &a->step;
    struct plan_svg_piece parts[PLAN_N_PARTS];
    for (int i = 0; i < PLAN_N_PARTS; i++)
        parts[i] = (struct plan_svg_piece){plan_part_names[i], s->part_s[i]};
    str_puts(out, "<h2>Where a step's time goes</h2>\n");
    plan_svg_bar(parts, PLAN_N_PARTS, 0, "", format_duration, out);
    str_puts(out, "<h2>One step over the stages of a pipeline</h2>\n");
    plan_svg_timeline(s, &a->layout, out);
    const struct plan_memory *m = &s->memory;
    const struct plan_svg_piece memory[] = {{"weights", m->weights},
                                            {"gradients", m->gradients},
                                            {"optimizer", m->optimizer},
                                            {"activations", m->activations},
                                            {"buffers", m->buffers}};
    str_puts(out, "<h2>Memory of the fullest accelerator</h2>\n");
    plan_svg_bar(memory, ARRAY_LEN(memory), s->memory_limit_bytes,
                 "free for the job:", format_bytes, out);
    if (!s->fits) str_puts(out, "<p class=\"bad\">It does not fit.</p>\n");
}

static void add_front(const struct plan_search *s, struct str *out)
{
    struct arena a;
    arena_init(&a);
    size_t n = s->n_front;
    double *x = arena_alloc(&a, (n + 1) * sizeof *x), *y = arena_alloc(&a, (n + 1) * sizeof *y);
    const char **labels = arena_alloc(&a, (n + 1) * sizeof *labels);
    for (size_t i = 0; i < n; i++) {
        char layout[160], step[32], joules[32];
        x[i] = s->front[i].step.step_s;
        y[i] = s->front[i].step.memory.total / 1073741824.0;
        plan_layout_text(&s->front[i].layout, layout, sizeof layout);
        labels[i] = arena_printf(&a, "%s: %s, %s", layout, format_duration(step, x[i]),
                                 format_si(joules, s->front[i].step_j, "J"));
    }
    double best_x = s->best[0].step.step_s;
    double best_y = s->best[0].step.memory.total / 1073741824.0;
    const struct plan_svg_series series[] = {
        {"front", x, y, labels, n, PLAN_SVG_POINTS},
        {"chosen", &best_x, &best_y, NULL, 1, PLAN_SVG_POINTS}};
    const struct plan_svg_plot plot = {.title = "No layout is better in time, memory and energy",
                                       .x_label = "step time, s",
                                       .y_label = "memory, GiB",
                                       .series = series,
                                       .n_series = 2,
                                       .log_x = n > 0 && x[n - 1] > 8 * x[0]};
    plan_svg_plot(&plot, out);
    arena_fini(&a);
}

static void add_layouts(const struct plan_answer *a, struct str *out)
{
    const struct plan_search *s = &a->search;
    char tried[32], valid[32], fitting[32];
    if (s->n_best == 0) return;
    str_printf(out, "<h2>Layouts</h2><p>%s tried, %s valid, %s fit in memory.</p>\n",
               plan_format_whole(tried, (double)s->tried),
               plan_format_whole(valid, (double)s->valid),
               plan_format_whole(fitting, (double)s->fitting));
    if (s->n_front > 1) add_front(s, out);
    str_puts(out, "<div class=\"scroll\"><table><tr><th>layout</th><th>step</th>"
                  "<th>MFU</th><th>memory</th><th>energy of a step</th></tr>\n");
    for (size_t i = 0; i < s->n_best; i++) {
        const struct plan_candidate *c = &s->best[i];
        char layout[160], cell[32];
        str_puts(out, "<tr>");
        add_cell(out, "td", plan_layout_text(&c->layout, layout, sizeof layout));
        add_cell(out, "td", format_duration(cell, c->step.step_s));
        add_cell(out, "td", plan_format_percent(cell, c->step.mfu));
        add_cell(out, "td", format_bytes(cell, c->step.memory.total));
        add_cell(out, "td", format_si(cell, c->step_j, "J"));
        str_puts(out, "</tr>\n");
    }
    str_puts(out, "</table></div>\n");
}

/* ------------------------------------------------------------------ failures */

static void add_failures(const struct plan_answer *a, struct str *out)
{
    char lines[PLAN_FAILURE_LINES][512];
    size_t n = plan_describe_failures(a, lines);
    if (n == 0) return;
    str_puts(out, "<h2>Failures and checkpoints</h2>\n");
    for (size_t i = 0; i < n; i++) {
        lines[i][0] = (char)toupper((unsigned char)lines[i][0]);
        str_puts(out, i ? "<p>" : "<p>A failure");
        plan_svg_escape(out, i ? lines[i] : lines[i] + strlen("one"));
        str_puts(out, ".</p>\n");
    }
}

/* ------------------------------------------------------------------ power */

/* Site megawatts as steps make them: high while all compute, low while all wait for gradients,
 * with edges as the pipeline drains and fills. */
static double wave_mw(const struct machine_swing *s, const struct machine_swing_load *load,
                      double t)
{
    double edge = fmax(load->edge_s, 1e-9);
    double high_s = fmax(load->period_s - load->low_s - 2 * edge, 0);
    double in = fmod(t, load->period_s), level = 1;
    if (in > high_s) {
        double since = in - high_s, left = load->period_s - in;
        level = fmax(0, 1 - fmin(since, left) / edge);
    }
    return (s->trough_w + level * (s->peak_w - s->trough_w)) / 1e6;
}

static void add_wave(const struct plan_answer *a, struct str *out)
{
    enum { N = 1500 };
    const struct machine_swing *s = &a->power.swing;
    struct machine_swing_load load;
    static const char unit[] = "MW";
    double t[N], mw[N];
    plan_swing_load(a->request, &a->step, &a->power, &load);
    if (!(load.period_s > 0)) return;
    double seconds = fmin(60, 40 * load.period_s); /* as much as can be told apart */
    for (int i = 0; i < N; i++) {
        t[i] = seconds * i / (N - 1);
        mw[i] = wave_mw(s, &load, t[i]);
    }
    const struct plan_svg_series series = {"site", t, mw, NULL, N, PLAN_SVG_LINE};
    char title[96];
    snprintf(title, sizeof title, seconds >= 60 ? "A minute of power" : "%.3g seconds of power",
             seconds);
    plan_svg_plot(&(struct plan_svg_plot){.title = title,
                                          .x_label = "seconds",
                                          .y_label = unit,
                                          .series = &series,
                                          .n_series = 1,
                                          .from_zero = true,
                                          .height = 260},
                  out);
}

static void add_spectrum(const struct machine_swing *s, struct str *out)
{
    double hz[64], mw[64], limit_x[2], limit_y[2];
    int n = MIN(s->n_lines, 64);
    if (n < 1) return;
    for (int i = 0; i < n; i++) {
        hz[i] = s->spectrum_hz[i];
        mw[i] = s->spectrum_w[i] / 1e6;
    }
    limit_x[0] = hz[0];
    limit_x[1] = hz[n - 1];
    limit_y[0] = limit_y[1] = s->limit_w / 1e6;
    const struct plan_svg_series series[] = {
        {"swing", hz, mw, NULL, (size_t)n, PLAN_SVG_BARS},
        {"limit in the grid's band", limit_x, limit_y, NULL, 2, PLAN_SVG_LINE}};
    plan_svg_plot(&(struct plan_svg_plot){.title = "Its spectrum",
                                          .x_label = "Hz",
                                          .y_label = "MW",
                                          .series = series,
                                          .n_series = s->limit_w > 0 ? 2 : 1,
                                          .from_zero = true,
                                          .height = 240},
                  out);
}

static void add_swing_table(const struct machine_swing *s, struct str *out)
{
    char cell[32], more[64];
    const struct {
        const char *name;
        double w;
    } rows[] = {{"as it is", s->amplitude_w},
                {"largest line in the grid's band", s->in_band_w},
                {"with the accelerators' smoothing", s->smoothing_left_w},
                {"with a power cap at the mean", s->cap_left_w},
                {"with the site's batteries", s->battery_left_w}};
    str_puts(out, "<table><tr><th>swing, peak to peak</th><th></th></tr>");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        str_puts(out, "<tr>");
        add_cell(out, "td", rows[i].name);
        add_cell(out, "td", format_si(cell, rows[i].w, "W"));
        str_puts(out, "</tr>");
    }
    str_puts(out, "</table>");
    if (s->battery_needed_w > 0)
        str_printf(out, "<p>Batteries of %s and %s would %s.</p>\n",
                   format_si(cell, s->battery_needed_w, "W"),
                   format_si(more, s->battery_needed_wh, "Wh"),
                   s->limit_w > 0 ? "keep the whole of it within the limit" : "take it up");
}

static void add_power(const struct plan_answer *a, struct str *out)
{
    const struct plan_power *p = &a->power;
    struct plan_svg_piece source[MACHINE_MAX_SOURCES + 1];
    int64_t n = a->request->site.n_sources;
    for (int64_t i = 0; i < n; i++)
        source[i] = (struct plan_svg_piece){a->request->site.sources[i].name, p->source_w[i]};
    if (p->unserved_w > 0) source[n++] = (struct plan_svg_piece){"NOT SERVED", p->unserved_w};
    str_puts(out, "<h2>Power</h2>\n<p class=\"dim\">What draws it</p>\n");
    const struct plan_svg_piece use[] = {
        {"accelerators", p->accelerators_w},
        {"servers", p->servers_w},
        {"network", p->network_w},
        {"supplies and storage", p->it_w - p->accelerators_w - p->servers_w - p->network_w},
        {"cooling and loss", p->facility_w - p->it_w}};
    plan_svg_bar(use, ARRAY_LEN(use), p->facility_max_w, "nameplate", plan_format_watts, out);
    if (n > 1) str_puts(out, "<p class=\"dim\">What feeds it</p>\n");
    if (n > 1) plan_svg_bar(source, (size_t)n, 0, "", plan_format_watts, out);
    if (p->swing.peak_w < PLAN_SWING_SHOWN_W) return;
    add_wave(a, out);
    add_spectrum(&p->swing, out);
    add_swing_table(&p->swing, out);
}

static void add_caps(const struct plan_power *p, struct str *out)
{
    if (p->n_caps == 0 || p->swing.peak_w < PLAN_SWING_SHOWN_W) return;
    str_puts(out, "<h2>Fewer watts</h2><table><tr><th>cap per accelerator</th>"
                  "<th>speed of a step</th><th>tokens a MWh</th><th>a cluster of the same "
                  "megawatts</th></tr>");
    for (int i = 0; i < p->n_caps; i++) {
        char cell[32];
        str_printf(out, "<tr><td>%.0f W</td>", p->cap_w[i]);
        add_cell(out, "td", plan_format_percent(cell, p->cap_speed[i]));
        add_cell(out, "td", format_si(cell, p->cap_tokens_per_mwh[i], ""));
        str_printf(out, "<td>%+.1f %%</td></tr>\n", 100 * p->cap_cluster_gain[i]);
    }
    str_puts(out, "</table>\n");
}

static void add_year(const struct plan_power *p, struct str *out)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    double water[12], more[12], any = 0;
    for (int i = 0; i < 12; i++) {
        water[i] = p->water_l_month[i] / 1e6;
        more[i] = p->pue_month[i];
        any += water[i];
    }
    str_puts(out, "<h2>The year</h2>\n");
    const struct plan_svg_series pue = {"PUE", NULL, more, NULL, 12, PLAN_SVG_POINTS};
    double x[12];
    for (int i = 0; i < 12; i++)
        x[i] = i;
    struct plan_svg_series line = pue;
    line.x = x;
    plan_svg_plot(&(struct plan_svg_plot){.title = "PUE by month",
                                          .y_label = "PUE",
                                          .x_names = months,
                                          .series = &line,
                                          .n_series = 1,
                                          .height = 220},
                  out);
    if (!(any > 0)) return;
    const struct plan_svg_series litres = {"water", NULL, water, NULL, 12, PLAN_SVG_BARS};
    plan_svg_plot(&(struct plan_svg_plot){.title = "Water by month",
                                          .y_label = "million litres",
                                          .x_names = months,
                                          .series = &litres,
                                          .n_series = 1,
                                          .from_zero = true,
                                          .height = 220},
                  out);
}

/* ------------------------------------------------------------------ money, trust */

static void add_money(const struct plan_answer *a, struct str *out)
{
    const struct plan_money *m = &a->money;
    const struct plan_svg_piece run[] = {{"write-off", m->capital_usd.mid},
                                         {"upkeep", m->upkeep_usd.mid},
                                         {"energy", m->energy_usd.mid}};
    const struct plan_svg_piece machine[] = {{"accelerators", m->accelerators_usd.mid},
                                             {"servers", m->servers_usd.mid},
                                             {"network", m->network_usd.mid},
                                             {"building", m->site_usd.mid}};
    char run_usd[32], capex[32];
    str_printf(out, "<h2>Cost of the run: %s</h2>\n", plan_format_usd(run_usd, m->run_usd.mid));
    plan_svg_bar(run, ARRAY_LEN(run), 0, "", plan_format_usd, out);
    str_printf(out, "<h2>Cost of the machine: %s</h2>\n", plan_format_usd(capex, m->capex_usd.mid));
    plan_svg_bar(machine, ARRAY_LEN(machine), 0, "", plan_format_usd, out);
}

/* Bars of money, because every input moves it; days beside it where they move. */
static void add_sensitivities(const struct plan_answer *a, struct str *out)
{
    enum { ROW = 26, NAME = 210, LABEL = 400 };
    double lo = INFINITY, hi = 0;
    for (int i = 0; i < a->n_sensitivities; i++) {
        lo = fmin(lo, fmin(a->sensitivities[i].low_usd, a->sensitivities[i].high_usd));
        hi = fmax(hi, fmax(a->sensitivities[i].low_usd, a->sensitivities[i].high_usd));
    }
    if (a->n_sensitivities < 1 || !(hi > lo)) return;
    double scale = (PLAN_SVG_WIDTH - NAME - LABEL) / (hi - lo);
    double mid = NAME + (a->money.run_usd.mid - lo) * scale;
    str_printf(out,
               "<h2>Which input matters most</h2><p class=\"dim\">Cost of the run with each input "
               "at its low and its high, and its days where they change.</p>"
               "<svg viewBox=\"0 0 %d %d\">",
               PLAN_SVG_WIDTH, ROW * a->n_sensitivities + 8);
    for (int i = 0; i < a->n_sensitivities; i++) {
        const struct plan_sensitivity *s = &a->sensitivities[i];
        double from = fmin(s->low_usd, s->high_usd), to = fmax(s->low_usd, s->high_usd);
        double y = ROW * i + 18, x = NAME + (from - lo) * scale;
        char low[32], high[32], days[96];
        plan_format_sensitivity(days, sizeof days, s);
        str_printf(out, "<text x=\"0\" y=\"%.0f\">", y);
        plan_svg_escape(out, s->input);
        str_printf(out,
                   "</text><rect x=\"%.1f\" y=\"%.0f\" width=\"%.1f\" height=\"14\" "
                   "class=\"c0\"/><text x=\"%d\" y=\"%.0f\" class=\"dim\">%s – %s%s</text>",
                   x, y - 12, fmax((to - from) * scale, 1.5), PLAN_SVG_WIDTH - LABEL + 14, y,
                   plan_format_usd(low, from), plan_format_usd(high, to), days);
    }
    str_printf(out,
               "<line x1=\"%.1f\" y1=\"0\" x2=\"%.1f\" y2=\"%d\" class=\"axis\" "
               "stroke-dasharray=\"3 3\"/></svg>\n",
               mid, mid, ROW * a->n_sensitivities + 4);
}

static void add_notes(const struct plan_request *r, struct str *out)
{
    if (r->n_notes == 0) return;
    str_puts(out, "<h2>Assumed</h2><ul>");
    for (int i = 0; i < r->n_notes; i++)
        add_element(out, "li", r->notes[i]);
    str_puts(out, "</ul>\n");
}

int plan_write_html(const struct plan_answer *answer, const char *path, struct error *e)
{
    struct str out = {0};
    struct plan_told told[PLAN_MAX_TOLD];
    size_t n = plan_tell(answer, told);
    add_head(answer, &out);
    add_cards(told, n, &out);
    add_verdict(answer, &out);
    add_step(answer, &out);
    add_layouts(answer, &out);
    add_failures(answer, &out);
    add_power(answer, &out);
    add_caps(&answer->power, &out);
    add_year(&answer->power, &out);
    add_money(answer, &out);
    add_sensitivities(answer, &out);
    add_told(told, n, &out);
    add_notes(answer->request, &out);
    str_puts(&out, "</body></html>\n");
    int rc = file_write(path, out.data, out.len, e);
    str_fini(&out);
    return rc;
}
