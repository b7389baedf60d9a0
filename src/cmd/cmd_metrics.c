/* cmd_metrics.c: a run's figures as Prometheus reads them, for `colossus launch --metrics`.
 *
 * Each time somebody asks they are read from the run folder, as everything that shows a run reads
 * them, so they are there whether ranks are starting, training or gone. Names and units follow
 * Prometheus's rules: base units, ratios of 0 to 1, counters that end in _total. What is not known is
 * left out. */
#include "cmd/cmd.h"
#include "http/http.h"
#include "train/train.h"

#include <string.h>

enum { METRICS_MAX = 64 };

struct cmd_metrics {
    const char *run_dir;
    http_server_t *server;
};

struct figures {
    struct http_metric list[METRICS_MAX];
    size_t n;
};

static void put(struct figures *f, enum http_metric_kind kind, const char *name, const char *help,
                double value)
{
    if (isnan(value) || f->n == METRICS_MAX) return;
    f->list[f->n++] =
        (struct http_metric){.name = name, .help = help, .kind = kind, .value = value};
}

/* The last one's label. */
static void label(struct figures *f, size_t before, const char *name, const char *value)
{
    if (f->n == before) return;
    f->list[f->n - 1].label = name;
    f->list[f->n - 1].label_value = value;
}

static void put_training(struct figures *f, const struct train_status *s)
{
    size_t n = f->n;
    put(f, HTTP_GAUGE, "colossus_step", "steps that are done", s->step < 0 ? 0 : (double)s->step);
    put(f, HTTP_COUNTER, "colossus_tokens_total", "tokens trained on",
        s->tokens < 0 ? 0 : (double)s->tokens);
    n = f->n;
    put(f, HTTP_GAUGE, "colossus_loss_nats", "cross entropy, nats per token", s->loss);
    label(f, n, "split", "train");
    n = f->n;
    put(f, HTTP_GAUGE, "colossus_loss_nats", "cross entropy, nats per token", s->valid_nats);
    label(f, n, "split", "valid");
    put(f, HTTP_GAUGE, "colossus_grad_norm", "of the last step, before clipping", s->grad_norm);
    put(f, HTTP_GAUGE, "colossus_learning_rate", "of the last step", s->lr);
    put(f, HTTP_GAUGE, "colossus_step_seconds", "what the last step took", s->step_s);
    put(f, HTTP_GAUGE, "colossus_mfu_ratio", "model FLOPs over the measured peak", s->mfu);
    put(f, HTTP_GAUGE, "colossus_comm_wait_ratio", "of a step, that rank 0 waited for others",
        s->wait_share);
    put(f, HTTP_GAUGE, "colossus_expert_load_ratio", "of the busiest expert over the mean",
        s->load_max_mean);
    put(f, HTTP_COUNTER, "colossus_skipped_steps_total", "updates that were not made",
        (double)s->skipped);
    put(f, HTTP_GAUGE, "colossus_ranks", "that the run was started with",
        s->ranks < 0 ? NAN : (double)s->ranks);
}

static void put_recovery(struct figures *f, const struct train_status *s)
{
    put(f, HTTP_GAUGE, "colossus_goodput_ratio", "time of steps that count over all time",
        train_status_goodput(s));
    for (int i = 0; i < TRAIN_LOST_CAUSES; i++) {
        size_t n = f->n;
        put(f, HTTP_COUNTER, "colossus_lost_seconds_total", "time that brought no step",
            s->lost_s[i]);
        label(f, n, "cause", train_cause_names[i]);
    }
    for (int i = 0; i < TRAIN_LOST_START; i++) { /* the causes before it are of ranks */
        double lost = 0;
        for (size_t k = 0; k < s->n_incidents; k++)
            lost += s->incidents[k].cause == (enum train_cause)i;
        size_t n = f->n;
        put(f, HTTP_COUNTER, "colossus_ranks_lost_total", "ranks that were lost", lost);
        label(f, n, "cause", train_cause_names[i]);
    }
    put(f, HTTP_COUNTER, "colossus_restarts_total", "restarts that went on", (double)s->restarts);
    size_t n = f->n;
    put(f, HTTP_GAUGE, "colossus_ckpt_step", "of the newest checkpoint",
        s->checkpoint_step < 0 ? NAN : (double)s->checkpoint_step);
    label(f, n, "tier", "disk");
    n = f->n;
    put(f, HTTP_GAUGE, "colossus_ckpt_age_seconds", "of the newest checkpoint",
        s->checkpoint_age_s);
    label(f, n, "tier", "disk");
}

static void answer(void *ctx, http_request_t *r)
{
    const struct cmd_metrics *m = ctx;
    struct train_status s;
    struct figures f = {.n = 0};
    struct str text = {0};
    put(&f, HTTP_GAUGE, "colossus_build_info", "1, with the version of the program", 1);
    label(&f, 0, "version", COLOSSUS_VERSION);
    bool known = train_status_read(m->run_dir, http_arena(r), &s, NULL) >= 0;
    if (known) put_training(&f, &s);
    if (known) put_recovery(&f, &s);
    http_metrics_write(f.list, f.n, &text);
    http_reply(r, 200, HTTP_METRICS_TYPE, text.data, text.len);
    str_fini(&text);
    if (known) train_status_free(&s);
}

int cmd_metrics_open(const char *run_dir, const char *host, int port, struct cmd_metrics **out,
                     struct error *e)
{
    static const struct http_route routes[] = {{"GET", "/metrics", answer, true}};
    struct cmd_metrics *m = mem_calloc(1, sizeof(*m));
    m->run_dir = run_dir;
    const struct http_options o = {
        .host = host, .port = port, .routes = routes, .n_routes = ARRAY_LEN(routes), .ctx = m};
    int rc = http_server_new(&o, &m->server, e);
    if (rc < 0) {
        mem_free(m);
        return rc;
    }
    log_info("metrics: http://%s:%d/metrics", host, http_server_port(m->server));
    *out = m;
    return 0;
}

void cmd_metrics_close(struct cmd_metrics *m)
{
    if (!m) return;
    http_server_free(m->server);
    mem_free(m);
}
