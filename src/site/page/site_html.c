/* site_html.c: a run as a page that stands alone: the reports of its record, where the hours of its jobs
 * went, what cost most, and every figure, as JSON within the page, which its script draws.
 *
 * Numbers of series keep five digits. */
#include "site/page/site_page_internal.h"

#include <string.h>

static void put_number(struct str *out, double v)
{
    if (!isfinite(v))
        str_puts(out, "null");
    else
        str_printf(out, "%.5g", v);
}

/* A member that is a list of one field of every report, times a factor. */
static void put_series(struct json_writer *w, const char *key, const struct site_record *k,
                       size_t field, double times)
{
    jsonw_open(w, key, '[');
    for (size_t i = 0; i < k->n; i++) {
        if (i) str_append_char(w->out, ',');
        put_number(w->out, times * *(const double *)((const char *)&k->rows[i] + field));
    }
    jsonw_close(w, ']');
}

#define AT(field) offsetof(struct site_report, field)

/* The same of a gauge, with KEY_low and KEY_high: its least and its most since the report before. */
static void put_gauge(struct json_writer *w, const char *key, const struct site_record *k,
                      size_t field, double times)
{
    char text[32];
    put_series(w, key, k, AT(now) + field, times);
    snprintf(text, sizeof text, "%s_low", key);
    put_series(w, text, k, AT(least) + field, times);
    snprintf(text, sizeof text, "%s_high", key);
    put_series(w, text, k, AT(most) + field, times);
}

#define GAUGE(field) offsetof(struct site_gauges, field)

static void put_power(struct json_writer *w, const struct site_scenario *s,
                      const struct site_record *k)
{
    double all = 3600.0 * figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
    jsonw_open(w, "sources", '[');
    for (int g = 0; g <= s->n_gas; g++) {
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "name", g < s->n_gas ? s->gas[g].name : "grid");
        put_series(w, "w", k,
                   AT(now) +
                       (g < s->n_gas ? GAUGE(gas_w) + (size_t)g * sizeof(double) : GAUGE(grid_w)),
                   1.0);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    put_gauge(w, "load", k, GAUGE(load_w), 1.0);
    put_series(w, "battery", k, AT(battery_w), 1.0);
    put_gauge(w, "unserved", k, GAUGE(unserved_w), 1.0);
    jsonw_bool(w, "has_battery", all > 0.0);
    put_gauge(w, "charge", k, GAUGE(charge_j), all > 0.0 ? 1.0 / all : 0.0);
}

static void put_jobs(struct json_writer *w, const struct site_scenario *s,
                     const struct site_result *r, const struct site_record *k)
{
    jsonw_open(w, "parts", '[');
    for (int p = 0; p < SITE_N_PARTS; p++)
        jsonw_string(w, NULL, site_part_names[p]);
    jsonw_close(w, ']');
    jsonw_open(w, "jobs", '[');
    for (int i = 0; i < s->n_jobs; i++) {
        const struct site_job_result *j = &r->jobs[i];
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "name", s->jobs[i].name);
        jsonw_real(w, "interruptions", j->interruptions);
        put_series(w, "share", k, AT(mean) + GAUGE(at_work) + (size_t)i * sizeof(double), 1.0);
        jsonw_open(w, "parts", '[');
        for (int p = 0; p < SITE_N_PARTS; p++)
            jsonw_real(w, NULL, j->wall_s > 0.0 ? j->part_s[p] / j->wall_s : 0.0);
        jsonw_close(w, ']');
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
    jsonw_open(w, "halls", '[');
    for (int b = 0; b < s->n_blocks; b++) {
        const struct site_block *block = &s->blocks[b];
        char number[32];
        snprintf(number, sizeof number, "block %d", b + 1);
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "name", *block->name ? block->name : number);
        put_gauge(w, "out", k, GAUGE(block_out) + (size_t)b * sizeof(double), 1.0);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

static void put_permit(struct json_writer *w, const char *name, const struct site_record *k,
                       size_t field, double most)
{
    if (most <= 0.0) return;
    jsonw_open(w, NULL, '{');
    jsonw_string(w, "name", name);
    put_series(w, "share", k, field, 1.0 / most);
    jsonw_close(w, '}');
}

static void put_permits(struct json_writer *w, const struct site_scenario *s,
                        const struct site_record *k)
{
    static const char *const names[SITE_N_STACK] = {"nitrogen oxides", "carbon dioxide",
                                                    "carbon monoxide"};
    jsonw_open(w, "permits", '[');
    for (int i = 0; i < SITE_N_STACK; i++) {
        double own = i == SITE_NOX ? figure_mid(&s->site.permit_nox_t_per_year, 0.0) : 0.0;
        put_permit(w, names[i], k, AT(stack_t) + (size_t)i * sizeof(double),
                   figure_mid(&s->permits.most_t[i], own));
    }
    put_permit(w, "starts of a unit", k, AT(starts), (double)s->permits.starts);
    put_permit(w, "hours of a unit", k, AT(hours), (double)s->permits.hours);
    jsonw_close(w, ']');
}

/* What a line of the log says, in words; NULL: the name of the event is the word. */
static const char *words_of(const char *event)
{
    static const struct {
        const char *event, *words;
    } all[] = {{"heat_wave", "a heat wave"},
               {"sag_train", "sags of the grid's voltage"},
               {"cdu_pump", "a pump of a cooling loop fails"},
               {"turbine_trip", "turbines trip"},
               {"fuel_loss", "fuel is short"},
               {"curtailment", "the grid curtails"},
               {"flap_storm", "links flap"},
               {"bad_firmware", "bad firmware spreads"},
               {"false_alarms", "a rule drains healthy nodes"},
               {"order_delayed", "an order is late"},
               {"chiller_fault", "chillers fail"},
               {"emissions", "units emit more"},
               {"grid_limit", "the grid gives less"},
               {"failure", "an accelerator fails"},
               {"block_stands", "a block stands"},
               {"common_cause", "a common cause"},
               {"deficit", "power is short"},
               {"deficit_over", "power suffices again"},
               {"deficit_open", "power is short until the end"},
               {"power_cap", "the accelerators' power is capped"},
               {"shed", "load is shed"},
               {"flow_lost", "a loop loses its flow"},
               {"leak_closed", "a leak is closed"},
               {"gang_restarts", "gangs restart"},
               {"interruption", "a job is interrupted"},
               {"job_done", "a job is done"},
               {"job_down", "a job stands until the end"},
               {"job_paused", "a job is paused"},
               {"job_resumed", "a job is resumed"},
               {"job_runs", "a job runs"},
               {"permit_ends", "a unit has used up its permit"},
               {"permit_exceeded", "a permit is exceeded"},
               {"throttled", "the clock comes down"},
               {"units_start", "gas units are sent for"},
               {"units_stop", "gas units stop"},
               {"battery_gives", "the battery gives"},
               {"battery_rests", "the battery rests"},
               {"ups_lockout", "the UPS lock themselves out"}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        if (strcmp(all[i].event, event) == 0) return all[i].words;
    return NULL;
}

/* "turbines trip: Titan 350" */
static void name_of(const struct site_log_line *l, struct str *out)
{
    const char *words = words_of(l->event);
    str_puts(out, words ? words : l->event);
    if (*l->target) str_printf(out, ": %s", l->target);
    if (*l->job && strcmp(l->job, l->target) != 0) str_printf(out, ": %s", l->job);
    if (*l->why) str_printf(out, " (%s)", l->why);
}

/* What followed, each kind once, as it first happened; of many kinds the first, and how many more. */
static void put_followed(const struct site_log *log, const struct site_explained *x,
                         struct str *out)
{
    enum { MOST_KINDS = 8 };
    const char *seen[64];
    size_t n = 0;
    for (size_t k = 0; k < x->n_then && n < ARRAY_LEN(seen); k++) {
        const struct site_log_line *t = &log->lines[x->then[k]];
        size_t i = 0;
        while (i < n && strcmp(seen[i], t->event) != 0)
            i++;
        if (i < n) continue;
        seen[n++] = t->event;
        if (n > MOST_KINDS) continue;
        str_puts(out, n > 1 ? ", " : "");
        name_of(t, out);
    }
    if (n > MOST_KINDS) str_printf(out, ", and %zu more", n - MOST_KINDS);
}

static int put_incidents(struct json_writer *w, const struct site_log *log, struct arena *a,
                         struct error *e)
{
    struct site_explained x, one;
    TRY(site_explain(log, NULL, a, &x, e));
    jsonw_open(w, "incidents", '[');
    for (size_t i = 0; i < x.n_ranked; i++) {
        const struct site_log_line *l = &log->lines[x.ranked[i]];
        const char *id = arena_printf(a, "%lld", (long long)l->id);
        struct str what = {0}, then = {0};
        TRY(site_explain(log, id, a, &one, e));
        name_of(l, &what);
        put_followed(log, &one, &then);
        jsonw_open(w, NULL, '{');
        jsonw_real(w, "at", l->at_s / 86400.0);
        jsonw_string(w, "what", what.data);
        jsonw_string(w, "then", then.data ? then.data : "");
        jsonw_real(w, "accelerator_h", x.ranked_cost[i].accelerator_h);
        jsonw_real(w, "unserved_wh", x.ranked_cost[i].unserved_wh);
        jsonw_close(w, '}');
        str_fini(&what);
        str_fini(&then);
    }
    jsonw_close(w, ']');
    return 0;
}

static void put_pair(struct json_writer *w, const char *name, double value)
{
    jsonw_open(w, NULL, '[');
    jsonw_string(w, NULL, name);
    jsonw_real(w, NULL, value);
    jsonw_close(w, ']');
}

static void put_figures(struct json_writer *w, const struct site_scenario *s,
                        const struct site_result *r, const struct site_result *before)
{
    static const char *const lines[SITE_LINES] = {"first", "second", "third", "fourth", "fifth"};
    jsonw_open(w, "figures", '[');
    for (size_t i = 0; i < site_n_figures; i++) {
        char text[32];
        double v = site_figures[i].value(s, r);
        if (!isfinite(v)) continue;
        jsonw_open(w, NULL, '[');
        jsonw_string(w, NULL, site_figures[i].name);
        jsonw_string(w, NULL, site_tell(text, &site_figures[i], v));
        jsonw_string(w, NULL, site_figures[i].help);
        if (before)
            jsonw_string(w, NULL,
                         site_tell(text, &site_figures[i], site_figures[i].value(s, before)));
        jsonw_close(w, ']');
    }
    jsonw_close(w, ']');
    jsonw_open(w, "cost", '[');
    for (size_t i = 0; i < site_n_figures; i++)
        if (strcmp(site_figures[i].unit, "USD") == 0)
            put_pair(w, site_figures[i].help, site_figures[i].value(s, r));
    jsonw_close(w, ']');
    jsonw_open(w, "lines", '[');
    for (int i = 0; i < SITE_LINES && r->swing_w > 0.0; i++) {
        char name[64];
        snprintf(name, sizeof name, "%s, %.3g Hz", lines[i], r->swing_hz * (i + 1));
        put_pair(w, name, r->swing_line_w[i]);
    }
    jsonw_close(w, ']');
    jsonw_real(w, "line_limit", figure_mid(&s->site.swing_limit_w, 0.0));
}

static void put_rest(struct json_writer *w, const struct site_record *k)
{
    put_series(w, "t", k, AT(at_s), 1.0 / 86400.0);
    put_series(w, "air", k, AT(air_c), 1.0);
    put_series(w, "wet", k, AT(wet_c), 1.0);
    put_series(w, "coolant", k, AT(coolant_c), 1.0);
    put_series(w, "pue", k, AT(pue), 1.0);
    put_series(w, "wue", k, AT(wue), 1.0);
    put_series(w, "standing", k, AT(standing), 1.0);
    put_series(w, "installed", k, AT(installed), 1.0);
    put_gauge(w, "out", k, GAUGE(out), 1.0);
    put_series(w, "busy", k, AT(busy), 1.0);
}

static void put_page(const struct site_scenario *s, const struct site_result *r,
                     const struct str *json, struct str *page)
{
    char days[32], n[32];
    http_page_begin(s->title, site_html_hash, page);
    str_puts(page, "<h1>");
    svg_escape(page, s->title);
    str_puts(page, "</h1>\n<p>");
    str_printf(page,
               "%s accelerators, %s, seed %llu. Drag over a chart or press + and - to look closer, "
               "with shift to move along; arrow keys move the cursor. Dotted lines are what cost "
               "most.",
               format_count(n, (double)machine_cluster_accelerators(&s->cluster)),
               format_duration(days, r->days * 86400.0), (unsigned long long)r->seed);
    str_puts(page, "</p>\n");
    str_puts(page, site_html_body);
    http_page_end(json, site_html_js, page);
}

/* What a page with a server behind it shows besides: the events that were put in. */
static void put_injected(struct json_writer *w, const struct site_html_options *o)
{
    jsonw_bool(w, "live", o->live);
    jsonw_open(w, "injected", '[');
    for (size_t i = 0; i < o->n_injected; i++)
        jsonw_string(w, NULL, o->injected[i]);
    jsonw_close(w, ']');
}

int site_html(const struct site_story *x, const struct site_html_options *o, struct str *out,
              struct error *e)
{
    struct str json = {0};
    struct json_writer w;
    struct arena a = {0};
    struct site_log log;
    jsonw_begin(&w, &json);
    jsonw_open(&w, NULL, '{');
    jsonw_real(&w, "end", x->result->days);
    put_rest(&w, &x->record);
    put_power(&w, x->s, &x->record);
    put_jobs(&w, x->s, x->result, &x->record);
    put_permits(&w, x->s, &x->record);
    put_figures(&w, x->s, x->result, o->before);
    put_injected(&w, o);
    int rc = site_parse_story(&x->log, "the log", &a, &log, e);
    if (rc >= 0) rc = put_incidents(&w, &log, &a, e);
    jsonw_close(&w, '}');
    if (rc >= 0) put_page(x->s, x->result, &json, out);
    str_fini(&json);
    arena_fini(&a);
    return rc;
}
