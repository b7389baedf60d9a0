/* train_plan.c: what a run is and how much memory it takes, before any of it is allocated. */
#include "train/train_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char remedy[] =
    "use a smaller batch.micro_batch, or train.recompute full, or a smaller model";

/* In double: a plan may be of more than any machine has. */
static double total_bytes(const struct train_session *s)
{
    struct model_memory rows[TRAIN_MEMORY_ROWS];
    size_t n = train_session_plan(s, rows, TRAIN_MEMORY_ROWS);
    double total = 0;
    for (size_t i = 0; i < n; i++)
        total += (double)rows[i].bytes;
    return total;
}

/* Mapped memory is handed out page by page, so without this a run would start and be killed later.
 * */
int train_plan_check(const struct train_session *s, struct error *e)
{
    char needs[32], has[32];
    int here = MAX(s->ranks.local_size, 1);
    double total = total_bytes(s) * here, limit = mem_limit_bytes();
    if (total <= limit) return 0;
    error_set(e, "this does not fit: the run takes %s%s, this machine has %s",
              format_bytes(needs, total), here > 1 ? " on the ranks here" : "",
              format_bytes(has, limit));
    return error_hint(e, "%s; --plan shows what takes how much", remedy);
}

void train_plan_describe(const struct train_session *s, FILE *out)
{
    const struct train_config *c = &s->c;
    const struct model_config *m = &c->model;
    char total[32], active[32], tokens[32], data[32], peak[32], layout[96];
    format_count(total, (double)model_config_total_params(m));
    format_count(active, (double)model_config_active_params(m));
    fprintf(out, "model: %s parameters, %s active per token; %lld layers x %lld", total, active,
            (long long)m->n_layers, (long long)m->d_model);
    if (m->n_experts > 1)
        fprintf(out, ", %lld experts of which %lld", (long long)m->n_experts,
                (long long)m->n_experts_used);
    fprintf(out, ", vocabulary %lld\n", (long long)m->vocab_size);
    format_count(data, (double)dataset_info(s->data.train)->tokens);
    format_count(tokens, (double)train_session_total_tokens(s));
    fprintf(out, "data: %s tokens (%.2f bytes each), so %.2f epochs\n", data,
            s->data.bytes_per_token,
            (double)train_session_total_tokens(s) / (double)dataset_info(s->data.train)->tokens);
    fprintf(out, "run: %lld steps of %lld tokens, %s in all; %s; %d threads, %s%s\n",
            (long long)s->total_steps, (long long)train_config_step_tokens(c), tokens,
            c->optimizer == TRAIN_OPTIMIZER_MUON ? "Muon" : "AdamW", pool_threads(s->pool),
            compute_backend_name(s->compute),
            c->precision == TRAIN_PRECISION_BF16 ? ", bf16" : ", fp32");
    if (s->ranks.size > 1)
        fprintf(out, "ranks: %d, %s, zero %lld; %lld microbatches a step on each\n", s->ranks.size,
                train_ranks_text(&s->ranks, layout), (long long)c->zero,
                (long long)train_config_microbatches(c));
    if (s->peak_flops > 0)
        fprintf(out, "peak: matrix products reach %s here\n",
                format_si(peak, s->peak_flops, "FLOP/s"));
    fflush(out);
}

struct traffic_row {
    const char *what, *key;
    uint64_t bytes;
};
enum { TRAFFIC_ROWS = 6 };

/* What a rank sends in a step; returns the number of rows, 0 where there is one rank. */
static size_t list_traffic(const struct train_session *s, struct traffic_row rows[TRAFFIC_ROWS])
{
    struct train_traffic t = {0};
    size_t n = 0;
    if (s->ranks.size == 1) return 0;
    train_session_traffic(s, &t);
    if (t.tensor)
        rows[n++] = (struct traffic_row){"tensor parallel, sums in layers", "tensor", t.tensor};
    if (t.experts)
        rows[n++] =
            (struct traffic_row){"rows to experts and back, evenly routed", "experts", t.experts};
    if (t.stages) rows[n++] = (struct traffic_row){"rows between stages", "stages", t.stages};
    rows[n++] = (struct traffic_row){s->reduce.zero > 0 ? "gradients, reduced to their ranks"
                                                        : "gradients, summed to all ranks",
                                     "gradients", t.gradients};
    if (s->reduce.zero > 0)
        rows[n++] = (struct traffic_row){"weights, gathered", "weights", t.weights};
    rows[n++] = (struct traffic_row){"norm, losses, agreement", "verdict", t.verdict};
    return n;
}

static void print_traffic(const struct train_session *s, FILE *out)
{
    static const char *const heads[] = {"traffic of a step", "sent"};
    struct traffic_row rows[TRAFFIC_ROWS];
    size_t n = list_traffic(s, rows);
    if (n == 0) return;
    struct table *t = table_new(heads, 2, "lr");
    char text[32];
    double total = 0;
    for (size_t i = 0; i < n; i++) {
        table_row(t, rows[i].what, format_bytes(text, (double)rows[i].bytes));
        total += (double)rows[i].bytes;
    }
    table_rule(t);
    table_row(t, "total", format_bytes(text, total));
    table_print(t, out);
    table_free(t);
}

int train_layout_cost(const struct train_config *c, int ranks, struct train_layout_cost *out,
                      struct error *e)
{
    struct train_session s;
    struct train_config own = *c;
    struct train_ranks r = train_ranks_of(NULL);
    r.size = ranks;
    own.verify = false;  /* the run itself does that */
    own.valid_every = 0; /* the split is not needed */
    TRY(train_session_open(&s, &own, &r, e));
    train_state_layout(&s, false, &s.layout);
    *out = (struct train_layout_cost){total_bytes(&s), (double)train_session_sends(&s),
                                      s.c.model.vocab_size};
    train_session_close(&s);
    return 0;
}

void train_plan_print(const struct train_session *s, FILE *out)
{
    static const char *const heads[] = {"memory", "size"};
    struct model_memory rows[TRAIN_MEMORY_ROWS];
    if (s->ranks.size > 1) fprintf(out, "rank %d of %d:\n", s->ranks.rank, s->ranks.size);
    size_t n = train_session_plan(s, rows, TRAIN_MEMORY_ROWS);
    struct table *t = table_new(heads, 2, "lr");
    char text[32];
    double total = total_bytes(s), limit = mem_limit_bytes();
    for (size_t i = 0; i < n; i++)
        table_row(t, rows[i].what, format_bytes(text, (double)rows[i].bytes));
    table_rule(t);
    table_row(t, "total", format_bytes(text, total));
    table_row(t, "this machine", format_bytes(text, limit));
    table_print(t, out);
    table_free(t);
    print_traffic(s, out);
    if (total > limit) fprintf(out, "this does not fit: %s\n", remedy);
}

json_t *train_plan_to_json(const struct train_session *s)
{
    struct model_memory rows[TRAIN_MEMORY_ROWS];
    size_t n = train_session_plan(s, rows, TRAIN_MEMORY_ROWS);
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *row = json_object();
        json_object_set_new(row, "what", json_string(rows[i].what));
        json_object_set_new(row, "bytes", json_integer((json_int_t)rows[i].bytes));
        json_array_append_new(list, row);
    }
    const struct train_config *c = &s->c;
    struct traffic_row sent[TRAFFIC_ROWS];
    size_t n_sent = list_traffic(s, sent);
    json_t *traffic = json_object();
    for (size_t i = 0; i < n_sent; i++)
        json_object_set_new(traffic, sent[i].key, json_integer((json_int_t)sent[i].bytes));
    json_object_set_new(o, "rank", json_integer(s->ranks.rank));
    json_object_set_new(o, "ranks", json_integer(s->ranks.size));
    json_object_set_new(o, "sent_bytes", traffic);
    json_object_set_new(o, "memory", list);
    json_object_set_new(o, "total_bytes", json_integer((json_int_t)total_bytes(s)));
    json_object_set_new(o, "machine_bytes", json_integer((json_int_t)mem_limit_bytes()));
    json_object_set_new(o, "parameters",
                        json_integer((json_int_t)model_config_total_params(&c->model)));
    json_object_set_new(o, "active_parameters",
                        json_integer((json_int_t)model_config_active_params(&c->model)));
    json_object_set_new(o, "steps", json_integer(s->total_steps));
    json_object_set_new(o, "step_tokens", json_integer(train_config_step_tokens(c)));
    json_object_set_new(o, "backend", json_string(compute_backend_name(s->compute)));
    json_object_set_new(o, "threads", json_integer(pool_threads(s->pool)));
    json_object_set_new(o, "model", model_config_to_json(&c->model));
    return o;
}
