/* train_check.c: silent corruption: a processor that computes wrongly, and says nothing.
 *
 * Every cluster.check_every steps each data-parallel rank computes the gradients of the next rank's
 * rows as well, before its own. Both ranks hash what they have computed, before anything is summed
 * over ranks: the same weights and the same rows must give the same bits. The check is of the very
 * gradients that the update is made of, and comes before it.
 *
 * Where two hashes differ, all ranks compute the rows of the rank two places further, and that third
 * opinion decides which of the two is wrong; of two ranks there is none, and none is named. The step
 * is not done. The state of the last step that was checked is good as far as anyone can know, since a
 * processor that has gone bad stays so: what was saved since then is deleted (train_run.c), and the
 * checkpoint before that is kept until the next check has passed (ckpt_writer_guard).
 *
 * What ranks add up within a pass (routing) is added in the order of the rows whoever computes them
 * (train_ranks.c: make_turned). Ranks of tp and pp take part in the pass of their data rank as they
 * always do. Divided experts are not checked: there a rank's gradients are made of rows of others. */
#include "train/train_internal.h"

#include <string.h>

int train_check_config(const struct train_config *c, int dp, struct error *e)
{
    if (c->check_every == 0) return 0;
    if (dp == 1) {
        error_set_code(e, ERROR_CONFIG,
                       "cluster.check_every compares ranks of dp, of which there is one");
        return error_hint(e, "cluster.check_every: 0, or more ranks");
    }
    if (c->ep == 1) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "cluster.check_every with cluster.ep %lld: the gradients of "
                   "divided experts are made by several ranks together",
                   (long long)c->ep);
    return error_hint(e, "cluster.check_every: 0");
}

bool train_check_is_due(const struct train_session *s)
{
    return s->ranks.turned[0] && (s->step + 1) % s->c.check_every == 0;
}

/* Gradients of the rows of the rank `turn` places further, as a hash; the arrays of this rank's own
 * gradients are used for it. */
static int compute_other(struct train_session *s, int turn, uint64_t *hash, struct error *e)
{
    struct train_data *d = &s->data;
    cluster_watch_at(s->ranks.watch, "check");
    int rc = train_data_of(d, turn, s->check.cursor, e);
    TRY(train_ranks_settle(&s->ranks, rc, e));
    for (int64_t i = 0; i < d->n; i++)
        d->batches[i].balance = s->c.balance == TRAIN_BALANCE_QUANTILE;
    s->reduce.turn = turn;
    s->reduce.checked = true;
    rc = train_passes_train(&s->passes, d->batches, d->n, 1.0 / (double)(d->n * s->ranks.dp),
                            &s->stats, e);
    s->reduce.turn = 0;
    *hash = s->reduce.hash;
    return rc;
}

int train_check_begin(struct train_session *s, struct error *e)
{
    s->check.cursor = loader_get_cursor(s->data.loader);
    TRY(compute_other(s, 1, &s->check.seen, e));
    s->reduce.checked = true; /* of the step itself, too */
    return 0;
}

/* ------------------------------------------------------------------ comparing */

static int share(struct train_session *s, struct train_opinions *all, struct error *e)
{
    for (size_t i = 0; i <= (size_t)s->ranks.size; i++)
        s->check.bounds[i] = i * sizeof(*all);
    return group_gather(s->ranks.world, all, s->check.bounds, GROUP_BYTE, e);
}

/* The rank `by` places further among those that share rows with it. */
static int turned(const struct train_ranks *r, int rank, int by)
{
    int tensor = rank % r->tp, data = rank / r->tp % r->dp, stage = rank / r->tp / r->dp;
    return (stage * r->dp + (data + by + r->dp) % r->dp) * r->tp + tensor;
}

/* Whose hash of some rank's gradients is not that of two others; -1: nobody's, or not always the same
 * rank's. */
static int find_wrong(const struct train_ranks *r, const struct train_opinions *all)
{
    int wrong = -2;
    for (int rank = 0; rank < r->size; rank++) {
        int before = turned(r, rank, -1), second = turned(r, rank, -2);
        uint64_t own = all[rank].own, next = all[before].next, third = all[second].third;
        int who = own == third ? before : next == third ? rank : own == next ? second : -1;
        if (own == next && next == third) continue;
        wrong = wrong == -2 || wrong == who ? who : -1;
    }
    return MAX(wrong, -1);
}

static bool all_agree(const struct train_ranks *r, const struct train_opinions *all)
{
    for (int rank = 0; rank < r->size; rank++)
        if (all[rank].own != all[turned(r, rank, -1)].next) return false;
    return true;
}

static int compare(struct train_session *s, struct train_opinions *all, struct error *e)
{
    struct train_opinions *mine = &all[s->ranks.rank];
    *mine = (struct train_opinions){.own = s->reduce.hash, .next = s->check.seen};
    TRY(share(s, all, e));
    if (all_agree(&s->ranks, all)) {
        s->check.good = s->step + 1;
        return 0;
    }
    s->check.rank = -1;
    if (s->ranks.dp > 2) {
        TRY(compute_other(s, 2, &mine->third, e));
        TRY(share(s, all, e));
        s->check.rank = find_wrong(&s->ranks, all);
    }
    s->check.found = true;
    return error_set_code(e, ERROR_AGAIN, "ranks have computed different gradients");
}

int train_check_end(struct train_session *s, struct error *e)
{
    size_t n = (size_t)s->ranks.size;
    if (!s->check.all) s->check.all = arena_alloc(&s->arena, n * sizeof(*s->check.all));
    if (!s->check.bounds) s->check.bounds = arena_alloc(&s->arena, (n + 1) * sizeof(size_t));
    int rc = compare(s, s->check.all, e);
    s->reduce.checked = false;
    return rc;
}
