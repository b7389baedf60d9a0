/* site_server.c: a run over HTTP: its page, its log, and a site's figures for Prometheus, which move on with
 * the clock, so many times as fast, until the run is over. Names follow Prometheus's rules: base units,
 * ratios of 0 to 1. */
#include "http/http.h"
#include "site/page/site_page_internal.h"

#include <string.h>

enum { MOST = 160 };

struct site_server {
    struct site_served what;
    http_server_t *http;
    double began_s;
};

struct figures {
    struct http_metric list[MOST];
    size_t n;
};

static void put(struct figures *f, const char *name, const char *help, double value)
{
    if (!isfinite(value) || f->n == MOST) return;
    f->list[f->n++] =
        (struct http_metric){.name = name, .help = help, .kind = HTTP_GAUGE, .value = value};
}

static void put_of(struct figures *f, const char *name, const char *help, const char *label,
                   const char *of, double value)
{
    size_t before = f->n;
    put(f, name, help, value);
    if (f->n == before) return;
    f->list[before].label = label;
    f->list[before].label_value = of;
}

static void put_power(struct figures *f, const struct site_scenario *s, const struct site_report *r)
{
    double all = 3600.0 * figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
    put(f, "colossus_site_load_watts", "all of the site", r->load_w);
    for (int g = 0; g < s->n_gas; g++)
        put_of(f, "colossus_site_source_watts", "that a source gives", "source", s->gas[g].name,
               r->gas_w[g]);
    put_of(f, "colossus_site_source_watts", "that a source gives", "source", "grid", r->grid_w);
    put(f, "colossus_site_battery_watts", "that the battery gives; negative: takes", r->battery_w);
    if (all > 0.0) put(f, "colossus_site_battery_charge_ratio", "of its energy", r->charge_j / all);
    put(f, "colossus_site_unserved_watts", "asked for and not served", r->unserved_w);
    put(f, "colossus_site_pue_ratio", "power usage effectiveness", r->pue);
    put(f, "colossus_site_air_celsius", "outside", r->air_c);
    put(f, "colossus_site_coolant_celsius", "that is supplied", r->coolant_c);
}

static void put_fleet(struct figures *f, const struct site_scenario *s, const struct site_report *r)
{
    static const char name[] = "colossus_site_accelerators", help[] = "by what they do";
    put_of(f, name, help, "state", "in_jobs", r->busy);
    put_of(f, name, help, "state", "free", fmax(r->installed - r->out - r->busy, 0.0));
    put_of(f, name, help, "state", "out_of_service", r->out);
    for (int b = 0; b < s->n_blocks; b++) /* without a name of its own a block has no series */
        if (*s->blocks[b].name)
            put_of(f, "colossus_site_block_out_ratio", "of a block, out of service", "block",
                   s->blocks[b].name, r->block_out[b]);
    for (int i = 0; i < s->n_jobs; i++)
        put_of(f, "colossus_site_job_work_ratio", "of a job that works", "job", s->jobs[i].name,
               r->at_work[i]);
}

/* As NVIDIA's exporter names them, so that its dashboards show a twin, too: a series for each kind of
 * accelerator. */
static void put_dies(struct figures *f, const struct site_scenario *s, const struct site_report *r)
{
    for (int p = 0; p < s->cluster.n_pools; p++) {
        const char *name = s->cluster.pools[p].accelerator->title;
        put_of(f, "DCGM_FI_DEV_POWER_USAGE", "Power draw (in W), mean of those in service.",
               "modelName", name, r->accelerator_w[p]);
    }
    for (int p = 0; p < s->cluster.n_pools; p++) {
        const char *name = s->cluster.pools[p].accelerator->title;
        put_of(f, "DCGM_FI_DEV_GPU_TEMP", "GPU temperature (in C), mean of those in service.",
               "modelName", name, r->die_c[p]);
    }
}

void site_metrics(const struct site_scenario *s, const struct site_record *record, double at_s,
                  struct str *out)
{
    struct figures f = {.n = 0};
    size_t i = 0;
    while (i + 1 < record->n && record->rows[i + 1].at_s <= at_s)
        i++;
    if (record->n > 0) {
        put(&f, "colossus_site_simulated_seconds", "since the scenario began", at_s);
        put_power(&f, s, &record->rows[i]);
        put_fleet(&f, s, &record->rows[i]);
        put_dies(&f, s, &record->rows[i]);
    }
    http_metrics_write(f.list, f.n, out);
}

static void on_page(void *ctx, http_request_t *r)
{
    const struct site_server *s = ctx;
    http_add_header(r, "Content-Security-Policy", site_html_policy);
    http_reply(r, 200, "text/html; charset=utf-8", s->what.page, s->what.page_size);
}

static void on_log(void *ctx, http_request_t *r)
{
    const struct site_server *s = ctx;
    http_reply(r, 200, "application/jsonl; charset=utf-8", s->what.log, s->what.log_size);
}

static void on_metrics(void *ctx, http_request_t *r)
{
    const struct site_server *s = ctx;
    const struct site_record *k = s->what.record;
    struct str text = {0};
    double last = k->n ? k->rows[k->n - 1].at_s : 0.0;
    site_metrics(s->what.s, k, fmin((time_now_s() - s->began_s) * s->what.speed, last), &text);
    http_reply(r, 200, HTTP_METRICS_TYPE, text.data, text.len);
    str_fini(&text);
}

int site_server_new(const struct site_served *what, const char *host, int port, site_server_t **out,
                    struct error *e)
{
    static const struct http_route routes[] = {{"GET", "/", on_page, true},
                                               {"GET", "/events.jsonl", on_log, true},
                                               {"GET", "/metrics", on_metrics, true}};
    struct site_server *s = mem_calloc(1, sizeof(*s));
    s->what = *what;
    s->began_s = time_now_s();
    const struct http_options o = {
        .host = host, .port = port, .routes = routes, .n_routes = ARRAY_LEN(routes), .ctx = s};
    int rc = http_server_new(&o, &s->http, e);
    if (rc < 0)
        mem_free(s);
    else
        *out = s;
    return rc;
}

int site_server_port(const site_server_t *s)
{
    return http_server_port(s->http);
}

void site_server_free(site_server_t *s)
{
    if (!s) return;
    http_server_free(s->http);
    mem_free(s);
}
