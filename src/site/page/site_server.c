/* site_server.c: a run over HTTP: its page, its log, and a site's figures for Prometheus, which move on with
 * the clock, so many times as fast, until the run is over. Names follow Prometheus's rules: base units,
 * ratios of 0 to 1.
 *
 * Events may be put in: the scenario is then run anew with them, in a thread of its own, while others look
 * at the run that was there; the new one takes its place when it is whole. */
#include "site/page/site_page_internal.h"

#include <pthread.h>
#include <string.h>

enum { MOST = 160, MOST_INJECTED = 32, MOST_TEXT = 2000 };

/* What is looked at: the first run, or one with more events. */
struct shown {
    struct arena a; /* scenario and texts of the events */
    struct site_story story;
    const char **injected;
    size_t n_injected;
    struct str page;
};

struct site_server {
    struct site_served what;
    http_server_t *http;
    double began_s;
    pthread_mutex_t guard;
    struct shown *now;
    bool busy, ending; /* a run is under way; no further one begins */
    bool started;      /* the thread is there to be joined */
    pthread_t runner;
    http_request_t *asked; /* who waits for it */
    struct shown *next;
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
    put(f, "colossus_site_load_watts", "all of the site", r->now.load_w);
    for (int g = 0; g < s->n_gas; g++)
        put_of(f, "colossus_site_source_watts", "that a source gives", "source", s->gas[g].name,
               r->now.gas_w[g]);
    put_of(f, "colossus_site_source_watts", "that a source gives", "source", "grid", r->now.grid_w);
    put(f, "colossus_site_battery_watts", "that the battery gives; negative: takes", r->battery_w);
    if (all > 0.0)
        put(f, "colossus_site_battery_charge_ratio", "of its energy", r->now.charge_j / all);
    put(f, "colossus_site_unserved_watts", "asked for and not served", r->now.unserved_w);
    put(f, "colossus_site_pue_ratio", "power usage effectiveness", r->pue);
    put(f, "colossus_site_air_celsius", "outside", r->air_c);
    put(f, "colossus_site_coolant_celsius", "that is supplied", r->coolant_c);
}

static void put_fleet(struct figures *f, const struct site_scenario *s, const struct site_report *r)
{
    static const char name[] = "colossus_site_accelerators", help[] = "by what they do";
    put_of(f, name, help, "state", "in_jobs", r->busy);
    put_of(f, name, help, "state", "free", fmax(r->installed - r->now.out - r->busy, 0.0));
    put_of(f, name, help, "state", "out_of_service", r->now.out);
    for (int b = 0; b < s->n_blocks; b++) /* without a name of its own a block has no series */
        if (*s->blocks[b].name)
            put_of(f, "colossus_site_block_out_ratio", "of a block, out of service", "block",
                   s->blocks[b].name, r->now.block_out[b]);
    for (int i = 0; i < s->n_jobs; i++)
        put_of(f, "colossus_site_job_work_ratio", "of a job that works", "job", s->jobs[i].name,
               r->now.at_work[i]);
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
    struct site_server *s = ctx;
    pthread_mutex_lock(&s->guard);
    http_reply_page(r, site_html_hash, s->now->page.data, s->now->page.len);
    pthread_mutex_unlock(&s->guard);
}

static const struct site_story *story_of(const struct site_server *s)
{
    return s->now->n_injected ? &s->now->story : s->what.first;
}

static void on_log(void *ctx, http_request_t *r)
{
    struct site_server *s = ctx;
    pthread_mutex_lock(&s->guard);
    const struct str *log = &story_of(s)->log;
    http_reply(r, 200, "application/jsonl; charset=utf-8", log->data, log->len);
    pthread_mutex_unlock(&s->guard);
}

static void on_metrics(void *ctx, http_request_t *r)
{
    struct site_server *s = ctx;
    struct str text = {0};
    pthread_mutex_lock(&s->guard);
    const struct site_story *x = story_of(s);
    double last = x->record.n ? x->record.rows[x->record.n - 1].at_s : 0.0;
    site_metrics(x->s, &x->record, fmin((time_now_s() - s->began_s) * s->what.speed, last), &text);
    pthread_mutex_unlock(&s->guard);
    http_reply(r, 200, HTTP_METRICS_TYPE, text.data, text.len);
    str_fini(&text);
}

/* ------------------------------------------------------------------ events that are put in */

static void shown_free(struct shown *x)
{
    if (!x) return;
    site_story_free(&x->story);
    str_fini(&x->page);
    arena_fini(&x->a);
    mem_free(x);
}

/* The scenario with the events, lived through, and its page. */
static int live_through(const struct site_server *s, struct shown *x, struct error *e)
{
    const struct site_scenario *with = s->what.s;
    const struct site_html_options o = {.live = true,
                                        .injected = x->injected,
                                        .n_injected = x->n_injected,
                                        .before = x->n_injected ? s->what.first->result : NULL};
    for (size_t i = 0; i < x->n_injected; i++) {
        struct site_scenario *more = arena_alloc(&x->a, sizeof(*more));
        TRY(site_inject(with, arena_printf(&x->a, "[%s]", x->injected[i]), &x->a, more, e));
        with = more;
    }
    if (!x->n_injected) return site_html(s->what.first, &o, &x->page, e);
    TRY(site_story_make(with, &s->what.run, &x->story, e));
    return site_html(&x->story, &o, &x->page, e);
}

static void *run_anew(void *ctx)
{
    struct site_server *s = ctx;
    struct error e = {0};
    struct shown *old = s->next;
    int rc = live_through(s, s->next, &e);
    pthread_mutex_lock(&s->guard);
    if (rc >= 0) {
        old = s->now;
        s->now = s->next;
    }
    http_request_t *asked = s->asked;
    s->busy = false;
    pthread_mutex_unlock(&s->guard);
    shown_free(old);
    if (rc < 0)
        http_reply_error(asked, e.code == ERROR_CONFIG ? 400 : 500, &e);
    else
        http_reply_json(asked, 200, json_pack("{s:b}", "ok", 1));
    return NULL;
}

/* The events of a body. */
static struct shown *read_injected(http_request_t *r, struct error *e)
{
    json_t *o;
    if (http_body_json(r, &o, e) < 0) return NULL;
    const json_t *list = json_object_get(o, "events");
    const size_t n = json_array_size(list);
    bool good = json_is_array(list) && n <= MOST_INJECTED;
    struct shown *x = mem_calloc(1, sizeof(*x));
    x->injected = arena_alloc(&x->a, (n + 1) * sizeof(*x->injected));
    for (size_t i = 0; i < n && good; i++) {
        const json_t *one = json_array_get(list, i);
        const char *text = json_string_value(one);
        good = text && json_string_length(one) <= MOST_TEXT &&
               strlen(text) == json_string_length(one) && text[strspn(text, " \t\r\n")];
        if (good) x->injected[x->n_injected++] = arena_strdup(&x->a, text);
    }
    json_decref(o);
    if (good) return x;
    shown_free(x);
    error_set(e, "'events' is a list of up to %d texts of up to %d letters", MOST_INJECTED,
              MOST_TEXT);
    error_hint(e, "for example {\"events\": [\"{at: 12 d, what: curtailment, lasts: 3 h}\"]}");
    return NULL;
}

static void on_inject(void *ctx, http_request_t *r)
{
    struct site_server *s = ctx;
    struct error e = {0};
    struct shown *x = read_injected(r, &e);
    if (!x) {
        http_reply_error(r, 400, &e);
        return;
    }
    pthread_mutex_lock(&s->guard);
    bool may = !s->busy && !s->ending;
    if (may) {
        if (s->started) pthread_join(s->runner, NULL);
        s->next = x;
        s->asked = r;
        s->busy = true;
        http_defer(r);
        s->started = pthread_create(&s->runner, NULL, run_anew, s) == 0;
        if (!s->started) exit_exhausted("raise the limit on processes", "cannot begin a thread");
    }
    pthread_mutex_unlock(&s->guard);
    if (may) return;
    shown_free(x);
    error_set(&e, "another run is under way");
    error_hint(&e, "ask again when it is done");
    http_reply_error(r, 429, &e);
}

/* ------------------------------------------------------------------ beginning and end */

int site_server_new(const struct site_served *what, const char *host, int port, site_server_t **out,
                    struct error *e)
{
    static const struct http_route routes[] = {{"GET", "/", on_page, true},
                                               {"GET", "/events.jsonl", on_log, true},
                                               {"GET", "/metrics", on_metrics, true},
                                               {"POST", "/inject", on_inject, true}};
    struct site_server *s = mem_calloc(1, sizeof(*s));
    s->what = *what;
    s->began_s = time_now_s();
    s->now = mem_calloc(1, sizeof(*s->now));
    pthread_mutex_init(&s->guard, NULL);
    const struct http_options o = {
        .host = host, .port = port, .routes = routes, .n_routes = ARRAY_LEN(routes), .ctx = s};
    int rc = live_through(s, s->now, e);
    if (rc >= 0) rc = http_server_new(&o, &s->http, e);
    if (rc < 0)
        site_server_free(s);
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
    pthread_mutex_lock(&s->guard);
    s->ending = true;
    pthread_mutex_unlock(&s->guard);
    if (s->started) pthread_join(s->runner, NULL);
    if (s->http) http_server_free(s->http);
    shown_free(s->now);
    pthread_mutex_destroy(&s->guard);
    mem_free(s);
}
