/* cmd_layout.c: `cluster.layout: auto`: of all layouts of the ranks that were started, the one that the
 * planner expects to be fastest on this machine, among those that fit its memory.
 *
 * The trainer says what a rank of a layout takes and sends, the planner how long its step is; this is
 * the only place that knows both. Rank 0 chooses, and the others are told. Who starts ranks asks first
 * whether they can be laid out at all. */
#include "cmd/cmd.h"
#include "plan/plan.h"
#include "train/train.h"

#include <math.h>

/* A layout under consideration, and what is known of it. */
struct choice {
    int64_t dp, tp, pp, ep;
    double seconds, bytes;
};
/* Of all of them. */
struct search {
    const struct train_config *config;
    int ranks, local; /* of the job, and on this machine */
    bool any;         /* one that is allowed is enough */
    int considered, fitting;
    struct error why;   /* of the first that is not allowed, which is dp alone where that is not */
    struct choice best; /* where any fits */
};

static int refuse_keys(const struct train_config *c, struct error *e)
{
    if (c->dp == 0 && c->tp == 1 && c->pp == 1 && c->ep == 1) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "cluster.layout auto chooses dp, tp, pp and ep, and some are given");
    return error_hint(e, "leave them out, or cluster.layout");
}

/* 1: the model and the batch allow it; 0: they do not, and *why says so; negative: nothing can be said
 * of any layout. *c: the configuration with it. */
static int allows(const struct train_config *base, int ranks, const struct choice *l,
                  struct train_config *c, struct train_layout_cost *cost, struct error *why)
{
    *c = *base;
    c->dp = l->dp;
    c->tp = l->tp;
    c->pp = l->pp;
    c->ep = l->ep;
    *why = (struct error){0};
    if (train_layout_cost(c, ranks, cost, why) >= 0) return 1;
    return why->code == ERROR_CONFIG ? 0 : why->code;
}

/* Of an allowed one. */
static int predict(const struct train_config *c, const struct train_layout_cost *cost,
                   struct choice *l, struct error *e)
{
    struct model_config m = c->model;
    m.vocab_size = cost->vocab_size;
    bool bf16 = c->precision == TRAIN_PRECISION_BF16 ||
                (c->precision == TRAIN_PRECISION_AUTO && compute_has_fast_bf16());
    const struct plan_train_job job = {.model = &m,
                                       .seq_len = c->seq_len,
                                       .micro_batch = c->micro_batch,
                                       .global_batch = c->global_batch,
                                       .muon_steps =
                                           c->optimizer == TRAIN_OPTIMIZER_MUON ? c->muon_steps : 0,
                                       .recompute = c->recompute,
                                       .bf16 = bf16,
                                       .dp = l->dp,
                                       .tp = l->tp,
                                       .pp = l->pp,
                                       .ep = l->ep,
                                       .parts = c->zero > 0,
                                       .sent_bytes = cost->sent_bytes};
    l->bytes = cost->bytes;
    return plan_train_step(&job, &l->seconds, e);
}

static int take_best(struct search *s, const struct choice *l, struct error *e)
{
    struct choice one = *l;
    struct train_config c;
    struct train_layout_cost cost;
    struct error why;
    int rc = allows(s->config, s->ranks, l, &c, &cost, &why);
    if (rc < 0) *e = why;
    if (rc == 0 && !s->why.text[0]) s->why = why;
    if (rc <= 0) return rc;
    s->considered++;
    if (s->any) return 0;
    if (predict(&c, &cost, &one, e) < 0) return e->code = ERROR_CONFIG; /* not measured */
    if (one.bytes * s->local > mem_limit_bytes()) return 0;
    s->fitting++;
    if (s->fitting == 1 || one.seconds < s->best.seconds) s->best = one;
    return 0;
}

static int search(struct search *s, struct error *e)
{
    for (int64_t tp = 1; tp <= s->ranks; tp++) {
        for (int64_t pp = 1; tp * pp <= s->ranks; pp++) {
            if (s->ranks % (tp * pp) != 0) continue;
            int64_t dp = s->ranks / (tp * pp);
            for (int64_t ep = 1; ep <= dp && !(s->any && s->considered > 0); ep++) {
                const struct choice l = {.dp = dp, .tp = tp, .pp = pp, .ep = ep};
                if (dp % ep == 0) TRY(take_best(s, &l, e));
            }
        }
    }
    if (s->fitting > 0 || (s->any && s->considered > 0)) return 0;
    if (s->considered == 0) {
        error_set_code(e, ERROR_CONFIG, "no layout of %d ranks is possible; with cluster.dp %d: %s",
                       s->ranks, s->ranks, s->why.text);
        return error_hint(e, "%s", s->why.hint);
    }
    error_set(e,
              "of %d layouts of %d ranks that the model and the batch allow none fits this machine",
              s->considered, s->ranks);
    return error_hint(e, "a smaller batch.micro_batch, train.recompute full, or fewer ranks");
}

/* The run folder's run.yaml says that nobody has written these. */
static void mark_derived(struct train_run_file *f)
{
    static const char *const keys[] = {"cluster.layout", "cluster.dp", "cluster.tp", "cluster.pp",
                                       "cluster.ep"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        f->origins[options_find(train_run_rows, train_run_n_rows, keys[i]) - train_run_rows] =
            ORIGIN_DERIVED;
}

int cmd_choose_layout(struct train_run_file *f, cluster_t *cluster, struct error *e)
{
    struct train_config *c = &f->config;
    int ranks = cluster_size(cluster), local = cluster_local_size(cluster);
    struct search s = {.config = c, .ranks = ranks, .local = local > 0 ? local : ranks};
    const struct choice *best = &s.best;
    struct error lost = {0};
    int rc = refuse_keys(c, e);
    if (rc == 0 && cluster_rank(cluster) == 0) rc = search(&s, e);
    int64_t told[] = {rc, best->dp, best->tp, best->pp, best->ep};
    if (ranks > 1 &&
        group_broadcast(group_world(cluster), 0, told, sizeof(told), rc < 0 ? &lost : e) < 0)
        return rc < 0 ? rc : e->code;
    if (told[0] < 0) {
        if (cluster_rank(cluster) > 0) *e = (struct error){.code = (int)told[0]};
        return (int)told[0];
    }
    c->layout = TRAIN_LAYOUT_GIVEN; /* from here on, and in the run folder */
    c->dp = told[1];
    c->tp = told[2];
    c->pp = told[3];
    c->ep = told[4];
    mark_derived(f);
    if (cluster_rank(cluster) == 0) {
        char step[32];
        fprintf(stderr,
                "layout: dp %lld, tp %lld, pp %lld, ep %lld: a step of %s is predicted; %d of %d "
                "layouts fit\n",
                (long long)c->dp, (long long)c->tp, (long long)c->pp, (long long)c->ep,
                format_duration(step, best->seconds), s.fitting, s.considered);
    }
    return 0;
}

int cmd_check_layout(const struct train_config *c, int64_t ranks, struct error *e)
{
    struct train_layout_cost cost;
    if (ranks > CLUSTER_RANKS_MAX) {
        error_set_code(e, ERROR_CONFIG, "%lld ranks are more than the %d that can be started",
                       (long long)ranks, CLUSTER_RANKS_MAX);
        return error_hint(e, "for example cluster.dp: 4");
    }
    if (c->layout == TRAIN_LAYOUT_GIVEN) return train_layout_cost(c, (int)ranks, &cost, e);
    struct search s = {.config = c, .ranks = (int)ranks, .any = true};
    TRY(refuse_keys(c, e));
    return search(&s, e);
}

int cmd_check_choice(const struct train_config *c, int ranks, int local, struct error *e)
{
    struct search s = {.config = c, .ranks = ranks, .local = local};
    if (c->layout == TRAIN_LAYOUT_GIVEN) return 0;
    TRY(refuse_keys(c, e));
    return search(&s, e);
}
