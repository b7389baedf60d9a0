/* plan_html.c: the answer as one HTML file that opens anywhere: no script, no font, no link.
 *
 * The order is the reader's: the two sentences (what limits, what matters most), the figures with
 * their ranges, then pictures of the step, the memory, the choice of layout, power, money and the
 * year. Light or dark as the reader's machine is set. Everything that comes from a description is
 * escaped. */
#include "plan/show/plan_show_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

static const char page_style[] =
    "body{margin:0 auto;max-width:940px;padding:24px 20px 60px;background:var(--paper);"
    "color:var(--ink);font:16px/1.5 system-ui,sans-serif}"
    "h1{font-size:26px;margin:.2em 0}h2{font-size:18px;margin:2em 0 .4em}"
    "p{margin:.4em 0}.dim{color:var(--dim)}svg{max-width:100%;height:auto}"
    ".say{background:var(--panel);border-radius:8px;padding:12px 16px;margin:16px 0}"
    ".cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(200px,1fr));gap:10px;"
    "margin:16px 0}.card{background:var(--panel);border-radius:8px;padding:10px 14px}"
    ".card b{display:block;font-size:21px;font-weight:600;white-space:nowrap}"
    ".card span{color:var(--dim);font-size:13px}"
    "table{border-collapse:collapse;font-size:14px;width:100%}"
    "td,th{padding:4px 10px;border-bottom:1px solid var(--line);text-align:right;"
    "font-variant-numeric:tabular-nums;white-space:nowrap}"
    "td:first-child,th:first-child{text-align:left;white-space:normal}th{color:var(--dim);"
    "font-weight:500}.scroll{overflow-x:auto}.bad{color:var(--bad);font-weight:600}"
    /* on a phone a plot keeps the size of its letters and is moved under the finger */
    "@media(max-width:640px){.scroll svg{max-width:none;width:760px}}";

/* ------------------------------------------------------------------ pieces of a page
 * Every text goes through svg_escape: names and titles come from files that somebody wrote. */

static void open_plot(struct str *out)
{
    str_puts(out, "<div class=\"scroll\">");
}

static void close_plot(struct str *out)
{
    str_puts(out, "</div>\n");
}

/* tag: the name and, behind a space, what else stands in the opening one. */
static void add_element(struct str *out, const char *tag, const char *text)
{
    str_printf(out, "<%s>", tag);
    svg_escape(out, text);
    str_printf(out, "</%.*s>\n", (int)strcspn(tag, " "), tag);
}

/* A row of a table: n cells of tag "td" or "th". */
static void add_cells(struct str *out, const char *tag, const char *const *cells, size_t n)
{
    str_puts(out, "<tr>");
    for (size_t i = 0; i < n; i++)
        add_element(out, tag, cells[i]);
    str_puts(out, "</tr>\n");
}

/* A sentence as a paragraph: a capital in front, a full stop behind. */
static void add_sentence(struct str *out, const char *subject, const char *text)
{
    char capital = (char)toupper((unsigned char)(subject[0] ? subject[0] : text[0]));
    str_printf(out, "<p>%c", capital);
    svg_escape(out, subject[0] ? subject + 1 : text + 1);
    if (subject[0]) svg_escape(out, text);
    str_puts(out, ".</p>\n");
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
    svg_escape(out, title);
    str_puts(out, "</title><style>");
    svg_style(out);
    str_printf(out, "%s</style></head><body>\n", page_style);
    add_element(out, "h1", title);
    add_element(out, "p class=\"dim\"", model);
    add_element(out, "p class=\"dim\"", cluster);
    str_puts(out, "<p class=\"dim\">");
    svg_escape(out, plan_layout_text(&a->layout, layout, sizeof layout));
    struct machine_cluster job = plan_cluster_part(&r->cluster, a->part);
    plan_describe_use(&job, &a->layout, title, sizeof title);
    if (title[0]) str_puts(out, "; ");
    svg_escape(out, title);
    char batch[32], seq_len[32];
    str_printf(out, " · %s sequences of %s tokens a step · %s tokens",
               plan_format_whole(batch, (double)r->batch.global_batch),
               plan_format_whole(seq_len, (double)r->batch.seq_len),
               format_count(tokens, a->tokens.mid));
    str_puts(out, "</p>\n");
    char text[512];
    plan_describe_software(&r->software, text, sizeof text);
    str_puts(out, "<p class=\"dim\">");
    svg_escape(out, text);
    plan_describe_measured(a, text, sizeof text);
    if (text[0]) str_puts(out, " · measured: ");
    svg_escape(out, text);
    str_puts(out, "</p>\n");
}

static void add_said(struct str *out, const char *what, const char *text)
{
    str_printf(out, "<p><b>%s:</b> ", what);
    svg_escape(out, text);
    str_puts(out, "</p>");
}

static void add_verdict(const struct plan_answer *a, struct str *out)
{
    char text[256];
    str_puts(out, "<div class=\"say\">");
    add_said(out, "What limits it", a->limit);
    if (a->n_sensitivities > 0) {
        plan_describe_sensitivity(&a->sensitivities[0], text, sizeof text);
        add_said(out, "What matters most", text);
    }
    if (a->search.runner_up[0]) add_said(out, "Runner-up", a->search.runner_up);
    str_puts(out, "</div>\n");
}

/* The eight figures that most readers come for. */
static void add_cards(const struct plan_list *told, struct str *out)
{
    static const char *const keys[] = {"step_s", "mfu",     "days",  "goodput",
                                       "site_w", "run_usd", "co2_t", "water_l"};
    str_puts(out, "<div class=\"cards\">");
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        const struct plan_told *t = plan_list_find(told, keys[k]);
        char mid[32], low[32], high[32];
        if (!plan_is_known(t->value.mid)) continue;
        plan_told_write(t, low, mid, high);
        str_printf(out, "<div class=\"card\">%s<b>%s</b>", t->name, mid);
        if (low[0]) str_printf(out, "<span>%s to %s</span>", low, high);
        str_puts(out, "</div>");
    }
    str_puts(out, "</div>\n");
}

static void add_told(const struct plan_list *l, struct str *out)
{
    static const char *const heads[] = {"", "low", "mid", "high"};
    str_puts(out, "<h2>All figures with their range</h2><table>");
    add_cells(out, "th", heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < l->n; i++) {
        const struct plan_told *t = &l->told[i];
        char low[32], mid[32], high[32];
        if (!plan_is_known(t->value.mid)) continue;
        plan_told_write(t, low, mid, high);
        const char *const cells[] = {t->name, low, mid, high};
        add_cells(out, "td", cells, ARRAY_LEN(cells));
    }
    str_puts(out, "</table>\n");
}

/* ------------------------------------------------------------------ step, memory, layouts */

static void add_step(const struct plan_answer *a, struct str *out)
{
    struct plan_list parts = plan_tell_step(&a->step), memory = plan_tell_memory(&a->step.memory);
    char one[32], two[32];
    str_printf(out, "<h2>Where a step's time goes: %s in all</h2>\n",
               format_duration(one, a->step.step_s));
    open_plot(out);
    plan_svg_bar(&parts, 0, "", out);
    close_plot(out);
    str_puts(out, "<h2>One step over the stages of a pipeline</h2>\n");
    open_plot(out);
    plan_svg_timeline(&a->step, &a->layout, out);
    close_plot(out);
    str_printf(out, "<h2>Memory of the fullest accelerator: %s of %s</h2>\n",
               format_bytes(one, a->step.memory.total),
               format_bytes(two, a->step.memory_limit_bytes));
    open_plot(out);
    plan_svg_bar(&memory, a->step.memory_limit_bytes, "free for the job:", out);
    close_plot(out);
    if (!a->step.fits) str_puts(out, "<p class=\"bad\">It does not fit.</p>\n");
    char text[256];
    plan_describe_headroom(a, text, sizeof text);
    if (text[0]) add_element(out, "p class=\"bad\"", text);
}

/* Layouts that are each best in some trade of time, memory and energy, beside the chosen one. A
 * logarithmic axis where the slowest takes more than eight times as long as the fastest. */
static void add_front(const struct plan_search *s, struct str *out)
{
    struct arena a = {0};
    size_t n = s->n_front;
    double *x = arena_alloc(&a, (n + 1) * sizeof *x), *y = arena_alloc(&a, (n + 1) * sizeof *y);
    const char **labels = arena_alloc(&a, (n + 1) * sizeof *labels);
    for (size_t i = 0; i < n; i++) {
        char layout[160], step[32], joules[32];
        x[i] = s->front[i].step.step_s;
        y[i] = s->front[i].step.memory.total / 0x1p30;
        plan_layout_text(&s->front[i].layout, layout, sizeof layout);
        labels[i] = arena_printf(&a, "%s: %s, %s", layout, format_duration(step, x[i]),
                                 format_si(joules, s->front[i].step_j, "J"));
    }
    double best_x = s->best[0].step.step_s;
    double best_y = s->best[0].step.memory.total / 0x1p30;
    const struct plot_series series[] = {{"front", x, y, n, PLOT_POINTS, labels},
                                         {"chosen", &best_x, &best_y, 1, PLOT_POINTS, NULL}};
    const struct plot plot = {.title = "Layouts that no other beats in time, memory and energy",
                              .x_label = "step time, s",
                              .y_label = "memory, GiB",
                              .series = series,
                              .n_series = 2,
                              .log_x = n > 0 && x[n - 1] > 8 * x[0]};
    open_plot(out);
    plot_svg(out, &plot, 1, PLAN_SVG_WIDTH, 300);
    close_plot(out);
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
    static const char *const heads[] = {"layout", "step", "MFU", "memory", "energy of a step"};
    str_puts(out, "<div class=\"scroll\"><table>");
    add_cells(out, "th", heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < s->n_best; i++) {
        const struct plan_candidate *c = &s->best[i];
        char layout[160], step[32], mfu[32], memory[32], joules[32];
        const char *const cells[] = {
            plan_layout_text(&c->layout, layout, sizeof layout),
            format_duration(step, c->step.step_s), plan_format_percent(mfu, c->step.mfu),
            format_bytes(memory, c->step.memory.total), format_si(joules, c->step_j, "J")};
        add_cells(out, "td", cells, ARRAY_LEN(cells));
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
    for (size_t i = 0; i < n; i++)
        add_sentence(out, i ? "" : "a failure ", lines[i]);
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
    double t[N], mw[N];
    plan_swing_load(a->request, &a->step, &a->power, &load);
    if (!(load.period_s > 0)) return;
    double seconds = fmin(60, 40 * load.period_s); /* as much as can be told apart */
    for (int i = 0; i < N; i++) {
        t[i] = seconds * i / (N - 1);
        mw[i] = wave_mw(s, &load, t[i]);
    }
    const struct plot_series series = {"site", t, mw, N, PLOT_LINE, NULL};
    char title[96];
    snprintf(title, sizeof title, seconds >= 60 ? "A minute of power" : "%.3g seconds of power",
             seconds);
    const struct plot plot = {.title = title,
                              .x_label = "seconds",
                              .y_label = "MW",
                              .series = &series,
                              .n_series = 1,
                              .from_zero = true};
    open_plot(out);
    plot_svg(out, &plot, 1, PLAN_SVG_WIDTH, 260);
    close_plot(out);
}

/* The lines of the wave's Fourier series, which are what a utility limits. */
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
    const struct plot_series series[] = {
        {"swing", hz, mw, (size_t)n, PLOT_BARS, NULL},
        {"limit in the grid's band", limit_x, limit_y, 2, PLOT_LINE, NULL}};
    const struct plot plot = {.title = "Spectrum of the power swing",
                              .x_label = "Hz",
                              .y_label = "MW",
                              .series = series,
                              .n_series = s->limit_w > 0 ? 2 : 1,
                              .from_zero = true};
    open_plot(out);
    plot_svg(out, &plot, 1, PLAN_SVG_WIDTH, 240);
    close_plot(out);
}

static void add_swing_table(const struct machine_swing *s, struct str *out)
{
    static const char *const heads[] = {"swing, peak to peak", ""};
    char batteries[128];
    const struct {
        const char *name;
        double w;
    } rows[] = {{"as it is", s->amplitude_w},
                {"largest line in the grid's band", s->in_band_w},
                {"with the accelerators' smoothing", s->smoothing_left_w},
                {"with a power cap at the mean", s->cap_left_w},
                {"with the site's batteries", s->battery_left_w}};
    str_puts(out, "<table>");
    add_cells(out, "th", heads, ARRAY_LEN(heads));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char watts[32];
        const char *const cells[] = {rows[i].name, plan_format_watts(watts, rows[i].w)};
        add_cells(out, "td", cells, ARRAY_LEN(cells));
    }
    str_puts(out, "</table>");
    plan_describe_batteries(s, batteries, sizeof batteries);
    if (batteries[0]) add_sentence(out, "", batteries);
}

static void add_power(const struct plan_answer *a, struct str *out)
{
    const struct plan_power *p = &a->power;
    struct plan_list draw = plan_tell_draw(p), supply = plan_tell_supply(a);
    char mean[32], most[32];
    str_printf(
        out,
        "<h2>Power</h2>\n<p class=\"dim\">What draws it: %s in the mean while training, %s by "
        "the nameplates</p>\n",
        plan_format_watts(mean, p->facility_w), plan_format_watts(most, p->facility_max_w));
    open_plot(out);
    plan_svg_bar(&draw, p->facility_max_w, "nameplate", out);
    close_plot(out);
    if (supply.n > 1) {
        str_puts(out, "<p class=\"dim\">What feeds it</p>\n");
        open_plot(out);
        plan_svg_bar(&supply, 0, "", out);
        close_plot(out);
    }
    if (p->swing.peak_w < PLAN_SWING_SHOWN_W) return;
    add_wave(a, out);
    add_spectrum(&p->swing, out);
    add_swing_table(&p->swing, out);
}

/* The rest of the machine's power buys more accelerators: why a cap can pay. */
static void add_caps(const struct plan_power *p, struct str *out)
{
    static const char *const heads[] = {"cap per accelerator", "speed of a step", "tokens a MWh",
                                        "a cluster of the same megawatts"};
    if (p->n_caps == 0 || p->swing.peak_w < PLAN_SWING_SHOWN_W) return;
    str_puts(out, "<h2>Fewer watts</h2><table>");
    add_cells(out, "th", heads, ARRAY_LEN(heads));
    for (int i = 0; i < p->n_caps; i++) {
        char watts[32], speed[32], tokens[32], gain[32];
        snprintf(watts, sizeof watts, "%.0f W", p->cap_w[i]);
        snprintf(gain, sizeof gain, "%+.1f %%", 100 * p->cap_cluster_gain[i]);
        const char *const cells[] = {watts, plan_format_percent(speed, p->cap_speed[i]),
                                     format_count(tokens, p->cap_tokens_per_mwh[i]), gain};
        add_cells(out, "td", cells, ARRAY_LEN(cells));
    }
    str_puts(out, "</table>\n");
}

/* Cooling follows the weather of the site: months differ most where it evaporates water. */
static void add_year(const struct plan_power *p, struct str *out)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    double water[12], any = 0;
    for (int i = 0; i < 12; i++) {
        water[i] = p->water_l_month[i] / 1e6;
        any += water[i];
    }
    const struct plot_series pue = {"PUE", NULL, p->pue_month, 12, PLOT_POINTS, NULL};
    const struct plot_series litres = {"water", NULL, water, 12, PLOT_BARS, NULL};
    const struct plot plots[] = {{.title = "Facility power over IT power (PUE), month by month",
                                  .x_label = "month",
                                  .y_label = "PUE",
                                  .x_names = months,
                                  .series = &pue,
                                  .n_series = 1},
                                 {.title = "Cooling water of each whole month",
                                  .x_label = "month",
                                  .y_label = "million litres",
                                  .x_names = months,
                                  .series = &litres,
                                  .n_series = 1,
                                  .from_zero = true}};
    char all[32];
    str_printf(out, "<h2>A year at this load: PUE %.3f in the mean%s%s</h2>\n", p->pue,
               any > 0 ? ", cooling water " : "",
               any > 0 ? plan_format_litres(all, any * 1e6) : "");
    open_plot(out);
    plot_svg(out, plots, any > 0 ? 2 : 1, PLAN_SVG_WIDTH, 220);
    close_plot(out);
}

/* ------------------------------------------------------------------ money, trust */

static void add_money(const struct plan_answer *a, struct str *out)
{
    struct plan_list run = plan_tell_run_costs(&a->money);
    struct plan_list machine = plan_tell_machine_costs(&a->money);
    char usd[32];
    str_printf(out, "<h2>Cost of the run: %s</h2>\n", plan_format_usd(usd, a->money.run_usd.mid));
    open_plot(out);
    plan_svg_bar(&run, 0, "", out);
    close_plot(out);
    str_printf(out, "<h2>Cost of the machine: %s</h2>\n",
               plan_format_usd(usd, a->money.capex_usd.mid));
    open_plot(out);
    plan_svg_bar(&machine, 0, "", out);
    close_plot(out);
}

static void add_sensitivities(const struct plan_answer *a, struct str *out)
{
    if (a->n_sensitivities < 1) return;
    str_puts(out, "<h2>Which input matters most</h2><p class=\"dim\">Cost of the run with each "
                  "input at its low and its high, and its days where they change.</p>\n");
    open_plot(out);
    plan_svg_sensitivities(a, out);
    close_plot(out);
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
    struct plan_list told = plan_tell(answer);
    add_head(answer, &out);
    add_cards(&told, &out);
    add_verdict(answer, &out);
    add_step(answer, &out);
    add_layouts(answer, &out);
    add_failures(answer, &out);
    add_power(answer, &out);
    add_caps(&answer->power, &out);
    add_year(&answer->power, &out);
    add_money(answer, &out);
    add_sensitivities(answer, &out);
    add_told(&told, &out);
    add_notes(answer->request, &out);
    str_puts(&out, "</body></html>\n");
    int rc = file_write(path, out.data, out.len, e);
    str_fini(&out);
    return rc;
}
