/* train_ranks.c: one run on many ranks: what they agree on, and what they add up.
 *
 * Data parallel: every rank holds the whole model and takes its share of the rows of each step. The
 * gradients are summed over the ranks in their order (train_reduce.c), so that every rank goes on
 * with the same weights, and a run of the same ranks ends with the same bits. What a step is judged
 * by, the loss and the norm, is one number for all of them.
 *
 * Rank 0 leads: it owns the run folder, writes checkpoints, metrics and lines, and restores; the
 * others read the checkpoint that it chose. An error of one rank ends all of them at the next place
 * where they agree (train_ranks_settle), so nobody waits for a rank that has left. */
#include "train/train_internal.h"

#include <string.h>

bool train_ranks_lead(const struct train_ranks *r)
{
    return r->rank == 0;
}

struct train_ranks train_ranks_of(cluster_t *c)
{
    if (!c) return (struct train_ranks){.size = 1};
    return (struct train_ranks){.world = group_world(c),
                                .rank = cluster_rank(c),
                                .size = cluster_size(c),
                                .local_size = cluster_local_size(c)};
}

struct train_ranks train_ranks_planned(const struct train_ranks *started,
                                       const struct train_config *c)
{
    if (started->size > 1 || c->dp <= 1) return *started;
    return (struct train_ranks){.size = (int)c->dp};
}

/* Of the lowest rank that failed, everybody gets the code; the text stays with that rank, which
 * prints it, and is empty for the others. */
int train_ranks_settle(const struct train_ranks *r, int rc, struct error *e)
{
    if (r->size == 1) return rc;
    int64_t worst = rc < 0 ? r->size - r->rank : 0;
    struct error lost = {0};
    if (group_agree(r->world, &worst, 1, &lost) < 0) {
        if (rc >= 0)
            *e = lost; /* an error of our own says more than that others cannot be reached */
        return e->code;
    }
    if (worst == 0) return rc;
    int who = r->size - (int)worst, code = rc;
    if (group_broadcast(r->world, who, &code, sizeof(code), &lost) < 0) {
        *e = lost;
        return e->code;
    }
    if (r->rank != who) *e = (struct error){.code = code};
    return code;
}

/* Losses of a step or of a validation, and where there are experts, how many tokens each got. */
int train_ranks_sum_stats(const struct train_ranks *r, struct model_stats *s, size_t n_loads,
                          struct error *e)
{
    double sums[] = {s->nll, s->tokens, s->aux, s->z, s->microbatches};
    _Static_assert(ARRAY_LEN(sums) == TRAIN_STATS_SUMS, "train_internal.h says how many");
    if (r->size == 1) return 0;
    TRY(group_sum(r->world, sums, ARRAY_LEN(sums), GROUP_F64, e));
    s->nll = sums[0];
    s->tokens = sums[1];
    s->aux = sums[2];
    s->z = sums[3];
    s->microbatches = sums[4];
    if (s->load) TRY(group_sum(r->world, s->load, n_loads, GROUP_F64, e));
    return s->bias ? group_sum(r->world, s->bias, n_loads, GROUP_F64, e) : 0;
}

int train_ranks_share_int(const struct train_ranks *r, int64_t *value, struct error *e)
{
    return r->size == 1 ? 0 : group_broadcast(r->world, 0, value, sizeof(*value), e);
}

/* Ranks of one machine share its CPUs, unless their launcher has bound each to some. */
int train_ranks_threads(const struct train_ranks *r)
{
    int cpus = pool_available_cpus();
    if (r->local_size <= 1 || cpus < cluster_host_cpus()) return cpus;
    return MAX(1, cpus / r->local_size);
}

int train_ranks_read_layout(const char *layout, struct train_config *c, struct error *e)
{
    struct arena a = {0};
    int rc = 0;
    for (const char *at = layout; rc >= 0 && *at; at += *at == ',') {
        size_t n = strcspn(at, ",");
        char *key = arena_strndup(&a, at, n), *value = strchr(key, '=');
        if (value) *value++ = '\0';
        const char *name = arena_printf(&a, "cluster.%s", key);
        const struct option *row = options_find(train_run_rows, train_run_n_rows, name);
        if (!row || !value) {
            rc = error_set_code(e, ERROR_CONFIG, "'%.*s' is no part of a layout", (int)n, at);
            rc = error_hint(e, "dp=2,zero=1");
        } else {
            rc = options_set(row, value, c, &a, "layout", e);
        }
        at += n;
    }
    arena_fini(&a);
    return rc;
}

int train_layout_ranks(const char *layout, struct error *e)
{
    struct train_config c;
    options_defaults(train_run_rows, train_run_n_rows, &c);
    TRY(train_ranks_read_layout(layout, &c, e));
    return (int)MAX(c.dp, 1);
}

int train_ranks_check(const struct train_ranks *r, const struct train_config *c, struct error *e)
{
    int64_t rows = c->micro_batch * r->size;
    if (c->dp > 0 && c->dp != r->size) {
        error_set_code(e, ERROR_CONFIG, "cluster.dp is %lld and %d rank%s started",
                       (long long)c->dp, r->size, r->size == 1 ? " was" : "s were");
        return error_hint(e, "mpirun -n %lld colossus train ..., or leave cluster.dp out",
                          (long long)c->dp);
    }
    if (c->global_batch % rows == 0) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "batch.global_batch %lld is not a multiple of batch.micro_batch %lld times %d "
                   "ranks",
                   (long long)c->global_batch, (long long)c->micro_batch, r->size);
    return error_hint(e, "for example batch.global_batch: %lld",
                      (long long)((c->global_batch / rows + 1) * rows));
}
