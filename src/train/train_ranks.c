/* train_ranks.c: one run on many ranks: how they are laid out, what they agree on, and what they add
 * up.
 *
 * Rank r is (stage * dp + data) * tp + tensor. Ranks that differ in
 *   tensor   hold other heads and hidden units of the same layers, work on the same rows, and sum
 *            what they made of them: several times a layer, so they are neighbours;
 *   data     hold the same and work on other rows; they sum gradients (train_reduce.c). Blocks of ep
 *            of them hold the same but for the experts, of which each has a part, and send each other
 *            the rows for them;
 *   stage    hold other layers and pass rows on to each other (train_passes.c).
 * Sums are taken in the order of the ranks, so that a run of the same layout ends with the same
 * bits. What a step is judged by, the loss and the norm, is one number for all of them.
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

/* What a layout says where keys are left out: data parallel is at least what divides the experts. */
struct layout {
    int64_t dp, tp, pp, ep;
};

static struct layout layout_of(const struct train_config *c)
{
    return (struct layout){MAX(c->dp, c->ep), c->tp, c->pp, c->ep};
}

struct train_ranks train_ranks_of(cluster_t *c)
{
    struct train_ranks r = {.size = 1, .dp = 1, .tp = 1, .pp = 1, .ep = 1};
    if (!c) return r;
    r.cluster = c;
    r.world = group_world(c);
    r.rank = cluster_rank(c);
    r.size = cluster_size(c);
    r.local_size = cluster_local_size(c);
    return r;
}

struct train_ranks train_ranks_planned(const struct train_ranks *started,
                                       const struct train_config *c)
{
    struct train_ranks r = *started;
    if (started->size == 1) r.size = (int)(layout_of(c).dp * c->tp * c->pp);
    if (started->size == 1) { /* nobody is there to speak to */
        r.cluster = NULL;
        r.world = NULL;
    }
    return r;
}

/* ------------------------------------------------------------------ layouts */

/* Ranks first + step * i, i below n. */
struct line {
    int first, step, n;
};

static struct line line_of(const struct train_ranks *r, enum train_group g)
{
    int stage_size = r->dp * r->tp, block = r->data / r->ep * r->ep;
    int in_stage = r->data * r->tp + r->tensor, stage_first = r->stage * stage_size;
    int forth = g == TRAIN_GROUP_FORTH ? r->stage : r->stage - 1;
    switch (g) {
    case TRAIN_GROUP_DATA: return (struct line){stage_first + r->tensor, r->tp, r->dp};
    case TRAIN_GROUP_TWINS:
        return (struct line){stage_first + (r->data - block) * r->tp + r->tensor, r->ep * r->tp,
                             r->dp / r->ep};
    case TRAIN_GROUP_EXPERTS:
        return (struct line){stage_first + block * r->tp + r->tensor, r->tp, r->ep};
    case TRAIN_GROUP_TENSOR: return (struct line){stage_first + r->data * r->tp, 1, r->tp};
    case TRAIN_GROUP_STAGES: return (struct line){in_stage, stage_size, r->pp};
    case TRAIN_GROUP_ENDS:
        if (r->pp > 1 && (r->stage == 0 || r->stage == r->pp - 1))
            return (struct line){in_stage, (r->pp - 1) * stage_size, 2};
        break;
    case TRAIN_GROUP_FORTH:
    case TRAIN_GROUP_BACK:
        if (forth >= 0 && forth + 1 < r->pp)
            return (struct line){forth * stage_size + in_stage, stage_size, 2};
        break;
    case TRAIN_GROUPS: break;
    }
    return (struct line){stage_first + in_stage, 1, 1};
}

int train_ranks_group_size(const struct train_ranks *r, enum train_group g)
{
    return line_of(r, g).n;
}

int train_ranks_group_rank(const struct train_ranks *r, enum train_group g)
{
    struct line l = line_of(r, g);
    return ((r->stage * r->dp + r->data) * r->tp + r->tensor - l.first) / l.step;
}

static group_t *make_group(const struct train_ranks *r, enum train_group g)
{
    static const char *const names[TRAIN_GROUPS] = {
        [TRAIN_GROUP_DATA] = "dp",          [TRAIN_GROUP_TWINS] = "dp of experts",
        [TRAIN_GROUP_EXPERTS] = "ep",       [TRAIN_GROUP_TENSOR] = "tp",
        [TRAIN_GROUP_STAGES] = "pp",        [TRAIN_GROUP_ENDS] = "first and last of pp",
        [TRAIN_GROUP_FORTH] = "next of pp", [TRAIN_GROUP_BACK] = "previous of pp"};
    struct line l = line_of(r, g);
    int *ranks = mem_calloc((size_t)l.n, sizeof(*ranks));
    for (int i = 0; i < l.n; i++)
        ranks[i] = l.first + i * l.step;
    group_t *made = group_new(r->cluster, names[g], ranks, l.n);
    mem_free(ranks);
    return made;
}

/* A message is known by its group's number, so both ends of a link must count it as the same: links
 * behind even stages are made first. */
static void make_groups(struct train_ranks *r)
{
    for (int g = 0; g < TRAIN_GROUP_FORTH; g++)
        r->groups[g] = make_group(r, (enum train_group)g);
    bool even = r->stage % 2 == 0;
    enum train_group first = even ? TRAIN_GROUP_FORTH : TRAIN_GROUP_BACK;
    enum train_group second = even ? TRAIN_GROUP_BACK : TRAIN_GROUP_FORTH;
    r->groups[first] = make_group(r, first);
    r->groups[second] = make_group(r, second);
}

/* Place j of a turned group is the rank that takes the rows of data rank j, so that a sum over it is
 * taken in the order of the rows, and is the same bits. */
static void make_turned(struct train_ranks *r)
{
    static const char *const names[TRAIN_TURNS] = {"dp, turned by 1", "dp, turned by 2"};
    struct line l = line_of(r, TRAIN_GROUP_DATA);
    int *ranks = mem_calloc((size_t)l.n, sizeof(*ranks));
    for (int turn = 1; turn <= TRAIN_TURNS; turn++) {
        for (int i = 0; i < l.n; i++)
            ranks[i] = l.first + (i + l.n - turn % l.n) % l.n * l.step;
        r->turned[turn - 1] = group_new(r->cluster, names[turn - 1], ranks, l.n);
    }
    mem_free(ranks);
}

/* The largest number of tp below that of c that the model allows. */
static int64_t nearest_tensor(const struct train_config *c)
{
    const struct model_config *m = &c->model;
    int64_t n = MIN(c->tp - 1, m->n_heads), size;
    while (n > 1 && (model_undivided(m, n, &size) ||
                     (m->vocab_size > 0 && !model_can_divide(m, n)))) /* 0: the dataset's */
        n--;
    return MAX(n, 1);
}

static int check_tensor(const struct train_config *c, struct error *e)
{
    int64_t size;
    const char *field = model_undivided(&c->model, c->tp, &size);
    if (!field) return 0;
    error_set_code(e, ERROR_CONFIG, "cluster.tp %lld does not divide model.%s %lld",
                   (long long)c->tp, field, (long long)size);
    return error_hint(e, "the nearest that does: cluster.tp: %lld", (long long)nearest_tensor(c));
}

int train_ranks_check_vocabulary(const struct train_config *c, struct error *e)
{
    if (model_can_divide(&c->model, c->tp)) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "cluster.tp %lld is too many for the %lld ids of the vocabulary",
                   (long long)c->tp, (long long)c->model.vocab_size);
    return error_hint(e, "cluster.tp: %lld", (long long)nearest_tensor(c));
}

/* The largest divisor of both that is at most `wish`. */
static int64_t nearest_divisor(int64_t wish, int64_t a, int64_t b)
{
    int64_t n = MAX(MIN(wish, a), 1);
    while (a % n != 0 || b % n != 0)
        n--;
    return n;
}

/* What the model and the batch allow, whatever the number of ranks. */
static int check_model(const struct train_ranks *r, const struct train_config *c, struct error *e)
{
    const struct model_config *m = &c->model;
    TRY(check_tensor(c, e));
    if (c->pp > m->n_layers) {
        error_set_code(e, ERROR_CONFIG, "cluster.pp %lld is more than the %lld layers of the model",
                       (long long)c->pp, (long long)m->n_layers);
        return error_hint(e, "cluster.pp: %lld", (long long)m->n_layers);
    }
    if (c->pp > 1 && c->zero == 2) {
        error_set_code(
            e, ERROR_CONFIG,
            "cluster.zero 2 with cluster.pp %lld: a stage has several microbatches under "
            "way, and gradients that add up cannot be given away",
            (long long)c->pp);
        return error_hint(e, "cluster.zero: 1");
    }
    if (c->ep > 1 && !model_is_moe(m)) {
        error_set_code(e, ERROR_CONFIG, "cluster.ep %lld divides experts, and the model has none",
                       (long long)c->ep);
        return error_hint(e, "leave cluster.ep out");
    }
    if (c->ep > 1 && m->n_experts % c->ep != 0) {
        int64_t group = c->tp * c->pp, dp = c->dp;
        if (dp == 0) dp = r->size % group == 0 ? r->size / group : m->n_experts;
        error_set_code(e, ERROR_CONFIG, "cluster.ep %lld does not divide the model's %lld experts",
                       (long long)c->ep, (long long)m->n_experts);
        return error_hint(e, "the nearest that does: cluster.ep: %lld",
                          (long long)nearest_divisor(c->ep, m->n_experts, dp));
    }
    return 0;
}

/* Of dp ranks. */
static int check_rows(const struct train_config *c, int64_t dp, struct error *e)
{
    int64_t rows = c->micro_batch * dp;
    if (c->ep > 1 && dp % c->ep != 0) {
        error_set_code(e, ERROR_CONFIG, "cluster.ep %lld does not divide the %lld ranks of dp",
                       (long long)c->ep, (long long)dp);
        return error_hint(e, "the nearest that does: cluster.ep: %lld",
                          (long long)nearest_divisor(c->ep, c->model.n_experts, dp));
    }
    if (c->global_batch % rows == 0) return 0;
    error_set_code(e, ERROR_CONFIG,
                   "batch.global_batch %lld is not a multiple of batch.micro_batch %lld times %lld "
                   "ranks",
                   (long long)c->global_batch, (long long)c->micro_batch, (long long)dp);
    return error_hint(e, "for example batch.global_batch: %lld",
                      (long long)((c->global_batch / rows + 1) * rows));
}

/* How many ranks the configuration asks for, and how many there are. */
static int check_number(const struct train_ranks *r, const struct train_config *c, struct error *e)
{
    int64_t group = c->tp * c->pp;
    if (r->size % group == 0 && (c->dp == 0 || c->dp * group == r->size)) return 0;
    int64_t dp = layout_of(c).dp;
    error_set_code(e, ERROR_CONFIG,
                   "cluster.dp %lld x tp %lld x pp %lld is of %lld ranks, and %d %s started",
                   (long long)dp, (long long)c->tp, (long long)c->pp, (long long)(dp * group),
                   r->size, r->size == 1 ? "was" : "were");
    return error_hint(e, "colossus launch --ranks %lld, or mpirun -n %lld; or a layout of %d",
                      (long long)(dp * group), (long long)(dp * group), r->size);
}

/* What holds for any number of ranks comes first, so that the cure for a wrong number is none that is
 * refused next. */
static int check_layout(const struct train_ranks *r, const struct train_config *c, struct error *e)
{
    TRY(check_model(r, c, e));
    if (c->dp > 0) TRY(check_rows(c, c->dp, e));
    TRY(check_number(r, c, e));
    return c->dp > 0 ? 0 : check_rows(c, r->size / (c->tp * c->pp), e);
}

int train_ranks_arrange(struct train_ranks *r, struct train_config *c, struct error *e)
{
    TRY(check_layout(r, c, e));
    r->tp = (int)c->tp;
    r->pp = (int)c->pp;
    r->ep = (int)c->ep;
    r->dp = r->size / r->tp / r->pp;
    r->tensor = r->rank % r->tp;
    r->data = r->rank / r->tp % r->dp;
    r->stage = r->rank / r->tp / r->dp;
    TRY(train_check_config(c, r->dp, e));
    c->dp = r->dp;
    if (r->cluster) make_groups(r);
    if (r->cluster && c->check_every > 0 && r->dp > 1) make_turned(r);
    return 0;
}

void train_ranks_close(struct train_ranks *r)
{
    for (int g = 0; g < TRAIN_GROUPS; g++)
        group_free(r->groups[g]);
    for (int i = 0; i < TRAIN_TURNS; i++)
        group_free(r->turned[i]);
    memset(r->groups, 0, sizeof(r->groups));
    memset(r->turned, 0, sizeof(r->turned));
}

/* A table that is tied is in the first stage and in the last; one that is not, in the first. */
bool train_ranks_counts(const struct train_ranks *r, const struct param *p)
{
    if (!p->divided && r->tensor > 0) return false;
    return p->kind != PARAM_EMBEDDING || r->stage == 0;
}

const char *train_ranks_text(const struct train_ranks *r, char text[96])
{
    snprintf(text, 96, "dp %d, tp %d, pp %d, ep %d", r->dp, r->tp, r->pp, r->ep);
    return text;
}

struct model_shard train_ranks_shard(const struct train_ranks *r, const struct model_config *m)
{
    struct model_shard s = {.tensor_rank = r->tensor, .tensor_size = r->tp};
    s.divides_vocabulary = r->tp > 1;
    s.expert_rank = train_ranks_group_rank(r, TRAIN_GROUP_EXPERTS);
    s.expert_size = r->ep;
    model_stage_layers(m, r->stage, r->pp, &s.first_layer, &s.end_layer);
    return s;
}

/* ------------------------------------------------------------------ agreement */

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
    if (r->tensor > 0) { /* these have seen the same rows as the first of them */
        memset(sums, 0, sizeof(sums));
        if (s->load) memset(s->load, 0, n_loads * sizeof(*s->load));
        if (s->bias) memset(s->bias, 0, n_loads * sizeof(*s->bias));
    }
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

/* One "key=value" of a layout, which has `seen` keys before it. */
static int read_part(const char *part, const struct option **seen, size_t n_seen,
                     struct train_config *c, struct error *e)
{
    struct arena a = {0};
    size_t length = strcspn(part, "=");
    const char *name = arena_printf(&a, "cluster.%.*s", (int)length, part);
    const struct option *row = options_find(train_run_rows, train_run_n_rows, name);
    int rc = 0;
    for (size_t i = 0; i < n_seen; i++)
        if (row && seen[i] == row)
            rc = error_set_code(e, ERROR_CONFIG, "a layout says '%s' twice", name);
    if (!row || part[length] != '=') {
        rc = error_set_code(e, ERROR_CONFIG, "'%s' is no part of a layout", part);
        rc = error_hint(e, "dp=2,tp=2,zero=1");
    }
    if (rc >= 0) rc = options_set(row, part + length + 1, c, &a, "layout", e);
    seen[n_seen] = row;
    arena_fini(&a);
    return rc;
}

int train_ranks_read_layout(const char *layout, struct train_config *c, struct error *e)
{
    struct arena a = {0};
    const struct option **seen = arena_alloc(&a, (strlen(layout) + 1) * sizeof(*seen));
    int rc = 0;
    size_t n = 0;
    for (const char *at = layout; rc >= 0 && at; n++) {
        size_t length = strcspn(at, ",");
        rc = read_part(arena_strndup(&a, at, length), seen, n, c, e);
        at = at[length] ? at + length + 1 : NULL;
    }
    arena_fini(&a);
    return rc;
}

int train_layout_ranks(const char *layout, int wanted, struct error *e)
{
    struct train_config c;
    options_defaults(train_run_rows, train_run_n_rows, &c);
    TRY(train_ranks_read_layout(layout, &c, e));
    int64_t product = layout_of(&c).dp * c.tp * c.pp;
    if (product > TRAIN_GOLDEN_RANKS_MAX) {
        error_set_code(e, ERROR_USAGE, "the layout '%s' is of %lld ranks, more than %d", layout,
                       (long long)product, TRAIN_GOLDEN_RANKS_MAX);
        return error_hint(e, "for example dp=2,tp=2, which is of four ranks");
    }
    int ranks = (int)product;
    if (wanted == 0 || wanted == ranks) return ranks;
    if (c.dp == 0 && wanted % ranks == 0) return wanted;
    error_set_code(e, ERROR_USAGE, "the layout '%s' is of %d rank%s%s, and %d are wanted", layout,
                   ranks, ranks == 1 ? "" : "s", c.dp == 0 ? " or a multiple" : "", wanted);
    return error_hint(e, "--ranks %d, or another layout", ranks);
}
