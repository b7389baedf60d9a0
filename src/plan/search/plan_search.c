/* plan_search.c: every layout, and the best of them.
 *
 * The space, all of which is searched (a field that is given is kept as it is):
 *
 *     precision   bf16, fp8 and mxfp8, where all accelerators have units for it (fp32 where none
 *                 is); fp4 where it is asked for, because few have trained in it
 *     tp          divisors of the heads, within one scale-up domain
 *     cp          divisors of a sequence that leave at least 512 tokens of it to a rank
 *     pp          up to a stage per layer, embedding and head: of the numbers of stages that leave
 *                 as many layers to the fullest one, the smallest
 *     dp          divisors of the batch: the largest for which the cluster has room, the largest
 *                 with every group within its domain (plan_place.c), and all that leave at most a
 *                 quarter of the accelerators idle; a replica lies within one kind of accelerator
 *     ep, etp     divisors of the experts, and of tp
 *     microbatch  divisors of a replica's share of the batch
 *     vp          1; and where there are as many microbatches as stages, what cuts the layers
 *                 (embedding, output head and MTP layers counted where that helps) into chunks of
 *                 one size
 *     zero        0 .. 3; of Megatron 3 without a pipeline only, and not 2, which is its 1 again
 *     recompute   none, selective, full
 *
 * and of it what plan_layout_check and plan_layout_check_stack accept, as of a layout that is
 * given. Memory comes first, because it is cheap and most of the space fails it, and what is full
 * with a small microbatch is not asked again with a larger one, which keeps more tokens and no fewer
 * microbatches' worth, nor with fewer replicas, which shard less; then a bound that the step's time
 * cannot beat (plan_search_bound.c); only what could still enter the list or the Pareto front is
 * priced by plan_step. All of it is safe, so the result is that of trying everything
 * (test_plan_search does).
 *
 * Groups of layouts that share tp, cp, ep, etp and precision are the tasks of a thread pool. Threads
 * share the cost that the n-th best already has and the front so far; both only decide what need
 * not be priced. What is dropped is beaten strictly, and equal layouts are told apart by their
 * fields, so the answer does not depend on the number of threads. List and front are of layouts
 * that fit. */
#include "plan/search/plan_search_internal.h"
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIN_TOKENS_PER_CP_RANK = 512,
    MAX_DIVISORS = 4096, /* the most a 40-bit number has is under 3000 */
    SMALL_SPACE = 16,    /* groups below which threads cost more than they save */
    BOUND_KINDS = 16     /* straddling or not, one microbatch, stage or virtual stage, or more */
};

struct divisors {
    int64_t *values; /* ascending; mem_free'd by who asked for them */
    size_t count;
};

/* Kept sorted by (time, memory, energy, layout), which makes a dominating point come before what
 * it dominates in all but the ties of time. */
struct front {
    struct plan_candidate *items;
    size_t count, cap, last; /* last: what dominated most recently */
};

struct group {                 /* one task */
    struct plan_layout layout; /* tp, cp, ep, etp, precision */
    struct plan_candidate *best;
    size_t n_best;
    struct front front;
    struct plan_candidate smallest; /* by memory; of what does not fit */
    uint64_t tried, valid, fitting;
    uint16_t *full; /* [vp] a bit for each (zero, recompute) that a smaller microbatch filled */
    uint16_t *full_before;            /* the same, of the smallest microbatch of more replicas */
    struct plan_search_bound *bounds; /* [size of a microbatch][BOUND_KINDS] */
    struct plan_search_rates rates;   /* of the replicas being tried */
};

struct search {
    const struct model_config *m;
    const struct machine_cluster *c;
    const struct plan_batch *b;
    const struct plan_software *s;
    struct plan_layout fixed;
    int objective;
    size_t n_best;
    bool listed_only; /* no front: what cannot enter the list is not priced */
    int64_t accelerators, domain;
    double memory_limit;
    struct divisors sizes; /* that divide the batch */
    struct group *groups;
    size_t n_groups, cap_groups;
    pthread_mutex_t lock; /* of front */
    struct front front;
    _Atomic double bound; /* the cost that the n-th best has */
};

/* ------------------------------------------------------------------ order */

static double objective_cost(int objective, const struct plan_candidate *c)
{
    switch (objective) {
    case PLAN_BY_COST: return c->step_usd;
    case PLAN_BY_ENERGY:
    case PLAN_BY_TOKENS_PER_MWH: return c->step_j; /* of the same tokens */
    default: return c->step.step_s;
    }
}

/* Of two layouts that cost the same the plainer one comes first. */
static int layout_compare(const struct plan_layout *a, const struct plan_layout *b)
{
    const int32_t x[] = {a->zero, a->recompute, a->vp,          a->cp,        a->pp, a->tp,
                         a->ep,   a->etp,       a->micro_batch, a->precision, a->dp};
    const int32_t y[] = {b->zero, b->recompute, b->vp,          b->cp,        b->pp, b->tp,
                         b->ep,   b->etp,       b->micro_batch, b->precision, b->dp};
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

static bool comes_before(int objective, const struct plan_candidate *a,
                         const struct plan_candidate *b)
{
    double x = objective_cost(objective, a), y = objective_cost(objective, b);
    if (x != y) return x < y;
    return layout_compare(&a->layout, &b->layout) < 0;
}

/* Inserts into a sorted list of at most `cap`; returns the new count. */
static size_t insert_best(int objective, struct plan_candidate *best, size_t count, size_t cap,
                          const struct plan_candidate *c)
{
    if (count == cap && (cap == 0 || !comes_before(objective, c, &best[cap - 1]))) return count;
    size_t at = count < cap ? count : cap - 1;
    for (; at > 0 && comes_before(objective, c, &best[at - 1]); at--)
        best[at] = best[at - 1];
    best[at] = *c;
    return MIN(count + 1, cap);
}

/* ------------------------------------------------------------------ Pareto front */

/* At least as good in all three. */
static bool dominates(const struct plan_candidate *a, const struct plan_candidate *b)
{
    return a->step.step_s <= b->step.step_s && a->step.memory.total <= b->step.memory.total &&
           a->step_j <= b->step_j;
}

static bool equal_points(const struct plan_candidate *a, const struct plan_candidate *b)
{
    return dominates(a, b) && dominates(b, a);
}

/* Whether something in the front dominates: what is equal in all three is not wanted twice. */
static bool front_covers(struct front *f, const struct plan_candidate *c)
{
    if (f->last < f->count && dominates(&f->items[f->last], c)) return true;
    for (size_t i = 0; i < f->count; i++) {
        if (!dominates(&f->items[i], c)) continue;
        f->last = i;
        return true;
    }
    return false;
}

static void front_add(struct front *f, const struct plan_candidate *c)
{
    size_t kept = 0;
    for (size_t i = 0; i < f->count; i++) {
        struct plan_candidate *x = &f->items[i];
        if (!dominates(x, c)) continue;
        if (dominates(c, x) && layout_compare(&c->layout, &x->layout) < 0) *x = *c;
        return;
    }
    for (size_t i = 0; i < f->count; i++) {
        if (dominates(c, &f->items[i])) continue;
        if (kept != i) f->items[kept] = f->items[i];
        kept++;
    }
    f->count = kept;
    f->last = 0;
    if (f->count == f->cap) {
        f->cap = f->cap ? 2 * f->cap : 16;
        f->items = mem_realloc(f->items, f->cap * sizeof *f->items);
    }
    f->items[f->count++] = *c;
}

static void front_merge(struct front *to, const struct front *from)
{
    for (size_t i = 0; i < from->count; i++)
        front_add(to, &from->items[i]);
}

static int compare_front(const void *a, const void *b)
{
    const struct plan_candidate *x = a, *y = b;
    if (x->step.step_s != y->step.step_s) return x->step.step_s < y->step.step_s ? -1 : 1;
    if (x->step.memory.total != y->step.memory.total)
        return x->step.memory.total < y->step.memory.total ? -1 : 1;
    return layout_compare(&x->layout, &y->layout);
}

/* ------------------------------------------------------------------ one group of layouts */

static void lower_bound_to(struct search *s, double cost)
{
    double seen = atomic_load_explicit(&s->bound, memory_order_relaxed);
    while (cost < seen && !atomic_compare_exchange_weak(&s->bound, &seen, cost)) {
    }
}

/* Could this layout, at its very best, enter the list or the front? */
static bool worth_pricing(struct search *s, struct group *g, const struct plan_search_bound *bound,
                          const struct plan_layout *l, double memory)
{
    struct plan_candidate ideal;
    double busy;
    if (s->s->local) return true; /* sums of operations have no bound, and few layouts */
    ideal.step.step_s = plan_search_bound_step(bound, l, s->b, &busy);
    ideal.step.compute_share = busy / ideal.step.step_s;
    ideal.step.memory.total = memory;
    plan_search_price(&g->rates, &ideal);
    double bound_cost = atomic_load_explicit(&s->bound, memory_order_relaxed);
    if (objective_cost(s->objective, &ideal) <= bound_cost) return true;
    return !s->listed_only && !front_covers(&g->front, &ideal);
}

static void price(struct search *s, struct group *g, const struct plan_layout *l)
{
    struct plan_candidate c = {.layout = *l};
    plan_step(s->m, s->c, l, s->b, s->s, &c.step);
    plan_search_price(&g->rates, &c);
    g->n_best = insert_best(s->objective, g->best, g->n_best, s->n_best, &c);
    if (g->n_best == s->n_best)
        lower_bound_to(s, objective_cost(s->objective, &g->best[g->n_best - 1]));
    if (!s->listed_only) front_add(&g->front, &c);
}

static void keep_smallest(struct group *g, const struct plan_layout *l,
                          const struct plan_memory *memory)
{
    if (g->smallest.layout.tp > 0 && memory->total >= g->smallest.step.memory.total) return;
    g->smallest.layout = *l;
    g->smallest.step.memory = *memory;
}

/* ZeRO and recomputation of a layout whose other fields are set and checked. */
static void try_memory_choices(struct search *s, struct group *g,
                               const struct plan_search_bound *bound,
                               const struct plan_layout *checked)
{
    struct plan_layout with = *checked, *l = &with;
    const struct plan_job job = {s->m, s->c, l, s->b, s->s};
    struct plan_memory memory[12];
    int zero_from = MAX(s->fixed.zero, 0), zero_to = s->fixed.zero >= 0 ? s->fixed.zero : 3;
    int again_from = MAX(s->fixed.recompute, 0);
    int again_to = s->fixed.recompute >= 0 ? s->fixed.recompute : PLAN_RECOMPUTE_FULL;
    unsigned choices = 0;
    for (l->zero = zero_from; l->zero <= zero_to; l->zero++) {
        if (l->zero == 2 && s->fixed.zero < 0 && plan_stack_is_megatron(s->s->stack)) continue;
        for (l->recompute = again_from; l->recompute <= again_to; l->recompute++) {
            g->tried++;
            if (plan_layout_check_stack(l, s->b, s->s, NULL) < 0) continue;
            g->valid++;
            choices |= 1u << (3 * l->zero + l->recompute);
        }
    }
    choices &= ~(unsigned)g->full[l->vp];
    if (choices == 0) return;
    plan_memory_choices(&job, choices, memory);
    for (int i = 0; i < 12; i++) {
        if (!(choices >> i & 1)) continue;
        l->zero = i / 3;
        l->recompute = i % 3;
        if (memory[i].total > s->memory_limit) {
            g->full[l->vp] |= (uint16_t)(1u << i);
            keep_smallest(g, l, &memory[i]);
            continue;
        }
        g->fitting++;
        if (worth_pricing(s, g, bound, l, memory[i].total)) price(s, g, l);
    }
}

static uint64_t memory_choices(const struct search *s)
{
    int zeros = s->fixed.zero >= 0 ? 1 : plan_stack_is_megatron(s->s->stack) ? 3 : 4;
    return (uint64_t)zeros * (s->fixed.recompute >= 0 ? 1 : 3);
}

/* Blocks of a microbatch cost the same in all layouts of a group, but for where the ranks lie, whether
 * the experts' traffic has another microbatch to lie under (where stages are interleaved or there is
 * one), and whether there is a pipeline to feed from both ends. */
static const struct plan_search_bound *bound_of(struct search *s, struct group *g, size_t size,
                                                const struct plan_layout *l, bool straddle)
{
    bool several = s->b->global_batch / l->dp / l->micro_batch >= 2, stages = l->pp > 1;
    struct plan_search_bound *bound =
        &g->bounds[BOUND_KINDS * size + 8 * (l->vp > 1) + 4 * stages + 2 * several + straddle];
    const struct plan_job job = {s->m, s->c, l, s->b, s->s};
    if (bound->n_pools == 0) plan_search_bound_init(&job, bound);
    plan_search_bound_ranks(bound, l);
    return bound;
}

static void try_interleavings(struct search *s, struct group *g, size_t size, bool straddle,
                              struct plan_layout *l)
{
    const struct plan_search_bound *bound = NULL;
    bool woven = false; /* the bound is of several virtual stages */
    int64_t microbatches = s->b->global_batch / l->dp / l->micro_batch;
    int64_t most = l->pp > 1 && microbatches >= l->pp ? MAX((s->m->n_layers + 2) / l->pp, 1) : 1;
    int64_t from = s->fixed.vp ? s->fixed.vp : 1, to = s->fixed.vp ? s->fixed.vp : most;
    if (to > most) { /* asked for, and not possible here */
        g->tried += memory_choices(s);
        return;
    }
    for (int64_t vp = from; vp <= to; vp++) {
        l->vp = (int32_t)vp;
        if (vp > 1 && !s->fixed.vp && !plan_stage_even(s->m, vp * l->pp)) continue;
        if (!bound || !woven) bound = bound_of(s, g, size, l, straddle);
        woven = vp > 1;
        try_memory_choices(s, g, bound, l);
    }
}

/* ------------------------------------------------------------------ the loops */

static void divisors_find(int64_t n, int64_t most, struct divisors *d)
{
    size_t small = 0, large = 0;
    int64_t high[MAX_DIVISORS / 2];
    d->values = mem_alloc(MAX_DIVISORS * sizeof *d->values);
    for (int64_t i = 1; i * i <= n && small < MAX_DIVISORS / 2; i++) {
        if (n % i) continue;
        if (i <= most) d->values[small++] = i;
        if (i * i != n && n / i <= most) high[large++] = n / i;
    }
    while (large > 0)
        d->values[small++] = high[--large];
    d->count = small;
}

static bool allowed(int32_t fixed, int64_t value)
{
    return fixed == 0 || fixed == value;
}

static void try_microbatches(struct search *s, struct group *g, struct plan_layout *l,
                             bool straddle)
{
    int64_t share = s->b->global_batch / l->dp;
    const size_t chunks = (size_t)s->m->n_layers + 3;
    bool first = true;
    l->vp = l->micro_batch = 1; /* what is tried of the two is valid where 1 is */
    if (plan_layout_check(l, s->m, s->b, s->accelerators, NULL) < 0) {
        g->tried += memory_choices(s);
        return;
    }
    plan_search_rates(s->c, l, &g->rates);
    memcpy(g->full, g->full_before, chunks * sizeof *g->full);
    for (size_t i = 0; i < s->sizes.count && s->sizes.values[i] <= share; i++) {
        int64_t size = s->sizes.values[i];
        if (share % size || !allowed(s->fixed.micro_batch, size)) continue;
        l->micro_batch = (int32_t)size;
        try_interleavings(s, g, i, straddle, l);
        if (first) memcpy(g->full_before, g->full, chunks * sizeof *g->full);
        first = false;
    }
}

/* The numbers of replicas of l (tp, cp, pp, ep, etp), most first. */
static void try_replicas(struct search *s, struct group *g, struct plan_layout *l)
{
    int64_t replica = (int64_t)l->tp * l->cp * l->pp, ranks = (int64_t)l->ep * l->etp;
    int64_t most = plan_place_room(s->c, l, true), whole = plan_place_room(s->c, l, false);
    bool any = false, any_whole = false;
    memset(g->full_before, 0, ((size_t)s->m->n_layers + 3) * sizeof *g->full_before);
    for (size_t i = s->sizes.count; i-- > 0;) {
        int64_t dp = s->sizes.values[i];
        if (dp > most || (int64_t)l->tp * l->cp * dp % ranks || !allowed(s->fixed.dp, dp)) continue;
        bool few = 4 * dp * replica < 3 * s->accelerators;
        if (few && any && (any_whole || dp > whole)) {
            if (any_whole) break;
            continue;
        }
        any = true;
        any_whole |= dp <= whole;
        l->dp = (int32_t)dp;
        try_microbatches(s, g, l, dp > whole);
    }
    if (!any) g->tried += memory_choices(s);
}

static void try_group(void *ctx, size_t task, int thread)
{
    struct search *s = ctx;
    struct group *g = &s->groups[task];
    (void)thread;
    int64_t most = s->accelerators / g->layout.tp / g->layout.cp;
    most = MIN(most, s->m->n_layers + 2);
    g->best = mem_alloc(MAX(s->n_best, 1) * sizeof *g->best);
    g->full = mem_calloc((size_t)s->m->n_layers + 3, sizeof *g->full);
    g->full_before = mem_calloc((size_t)s->m->n_layers + 3, sizeof *g->full_before);
    g->bounds = mem_calloc(BOUND_KINDS * s->sizes.count, sizeof *g->bounds);
    pthread_mutex_lock(&s->lock);
    front_merge(&g->front, &s->front);
    pthread_mutex_unlock(&s->lock);
    for (int64_t pp = s->fixed.pp ? s->fixed.pp : 1; pp <= most; pp++) {
        struct plan_layout l = g->layout;
        l.pp = (int32_t)pp;
        if (s->fixed.pp ? pp == s->fixed.pp : plan_stage_count_matters(s->m, pp))
            try_replicas(s, g, &l);
        if (s->fixed.pp) break;
    }
    pthread_mutex_lock(&s->lock);
    front_merge(&s->front, &g->front);
    pthread_mutex_unlock(&s->lock);
    mem_free(g->full);
    mem_free(g->full_before);
    mem_free(g->bounds);
    mem_free(g->front.items);
}

static void add_group(struct search *s, const struct plan_layout *l)
{
    if (s->n_groups == s->cap_groups) {
        s->cap_groups = s->cap_groups ? 2 * s->cap_groups : 64;
        s->groups = mem_realloc(s->groups, s->cap_groups * sizeof *s->groups);
    }
    struct group *g = &s->groups[s->n_groups++];
    memset(g, 0, sizeof *g);
    g->layout = *l;
}

static void add_expert_groups(struct search *s, struct plan_layout *l)
{
    struct divisors eps, etps;
    bool moe = model_is_moe(s->m);
    divisors_find(moe ? s->m->n_experts : 1, INT32_MAX, &eps);
    divisors_find(moe ? l->tp : 1, INT32_MAX, &etps);
    for (size_t i = 0; i < eps.count; i++)
        for (size_t k = 0; k < etps.count; k++) {
            l->ep = (int32_t)eps.values[i];
            l->etp = (int32_t)etps.values[k];
            if (allowed(s->fixed.ep, l->ep) && allowed(s->fixed.etp, l->etp)) add_group(s, l);
        }
    mem_free(eps.values);
    mem_free(etps.values);
}

static void add_groups(struct search *s, int precision)
{
    struct divisors tps, cps;
    int64_t longest = s->fixed.cp ? s->fixed.cp : MAX(s->b->seq_len / MIN_TOKENS_PER_CP_RANK, 1);
    /* a tp that was asked for may leave the domain */
    divisors_find(s->m->n_heads, s->fixed.tp ? s->fixed.tp : s->domain, &tps);
    divisors_find(s->b->seq_len, longest, &cps);
    for (size_t i = 0; i < tps.count; i++)
        for (size_t k = 0; k < cps.count; k++) {
            int64_t tp = tps.values[i], cp = cps.values[k];
            struct plan_layout l = {.tp = (int32_t)tp, .cp = (int32_t)cp, .precision = precision};
            if (!allowed(s->fixed.tp, tp) || !allowed(s->fixed.cp, cp)) continue;
            if (tp * cp <= s->accelerators) add_expert_groups(s, &l);
        }
    mem_free(cps.values);
    mem_free(tps.values);
}

static bool offered(const struct machine_cluster *c, int precision)
{
    for (int64_t i = 0; i < c->n_pools; i++)
        if (c->pools[i].accelerator->peak_flops[precision].mid <= 0) return false;
    return true;
}

static void add_all_groups(struct search *s)
{
    if (s->fixed.precision >= 0) {
        add_groups(s, s->fixed.precision);
        return;
    }
    for (int p = s->s->local ? MACHINE_FP32 : MACHINE_BF16; p < MACHINE_FP4; p++)
        if (s->s->local
                ? plan_local_check(s->s->local, p == MACHINE_BF16, NULL) >= 0 && p <= MACHINE_BF16
                : offered(s->c, p))
            add_groups(s, p);
    if (s->n_groups == 0) add_groups(s, MACHINE_FP32);
}

/* ------------------------------------------------------------------ the answer */

/* The first of the others that is not the winner in disguise: equal in all that is measured. */
static const struct plan_candidate *find_runner_up(const struct plan_search *out)
{
    for (size_t i = 1; i < out->n_best; i++)
        if (!equal_points(&out->best[0], &out->best[i])) return &out->best[i];
    return NULL;
}

/* Why the runner-up lost: how much, and the part of the step that costs it most. */
static void say_runner_up(int objective, struct plan_search *out)
{
    static const char *const MORE[] = {"slower", "dearer", "more energy", "more energy"};
    const struct plan_candidate *first = &out->best[0], *second = find_runner_up(out);
    char layout[160];
    size_t size = sizeof out->runner_up;
    if (!second) {
        snprintf(out->runner_up, size, "no other layout fits");
        return;
    }
    plan_layout_text(&second->layout, layout, sizeof layout);
    double x = objective_cost(objective, first), y = objective_cost(objective, second);
    double worst = 0;
    int part = -1;
    for (int i = 0; i < PLAN_N_PARTS; i++) {
        double more = second->step.part_s[i] - first->step.part_s[i];
        if (more > worst) {
            worst = more;
            part = i;
        }
    }
    if (part < 0 || y <= x) {
        snprintf(out->runner_up, size, "%s costs the same and differs in memory", layout);
        return;
    }
    char spent[32];
    format_duration(spent, worst);
    snprintf(out->runner_up, size, "%s: %.2g %% %s, %s more of a step for %s", layout,
             100 * (y / x - 1), MORE[objective], spent, plan_part_names[part]);
}

static void merge_groups(struct search *s, struct arena *a, struct plan_search *out)
{
    const struct front *all = &s->front;
    out->best = arena_alloc(a, MAX(s->n_best, 1) * sizeof *out->best);
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct group *g = &s->groups[i];
        out->tried += g->tried;
        out->valid += g->valid;
        out->fitting += g->fitting;
        for (size_t k = 0; k < g->n_best; k++)
            out->n_best = insert_best(s->objective, out->best, out->n_best, s->n_best, &g->best[k]);
    }
    if (all->count > 1) qsort(all->items, all->count, sizeof *all->items, compare_front);
    out->n_front = all->count;
    out->front = arena_alloc(a, MAX(all->count, 1) * sizeof *out->front);
    if (all->count) memcpy(out->front, all->items, all->count * sizeof *all->items);
}

/* "tp 8, pp 5, zero 2": what was asked for. */
static void given_text(const struct plan_layout *f, char *buf, size_t size)
{
    const struct {
        const char *name;
        int32_t value, none;
    } all[] = {{"tp", f->tp, 0},     {"pp", f->pp, 0},
               {"cp", f->cp, 0},     {"ep", f->ep, 0},
               {"etp", f->etp, 0},   {"dp", f->dp, 0},
               {"vp", f->vp, 0},     {"micro_batch", f->micro_batch, 0},
               {"zero", f->zero, -1}};
    size_t used = 0;
    buf[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(all) && used < size; i++)
        if (all[i].value != all[i].none)
            used += (size_t)snprintf(buf + used, size - used, "%s%s %d", used ? ", " : "",
                                     all[i].name, all[i].value);
    if (f->recompute >= 0 && used < size)
        snprintf(buf + used, size - used, "%srecompute %s", used ? ", " : "",
                 plan_recompute_names[f->recompute]);
}

/* What is wrong with the numbers that were asked for, whatever the others are; 0: nothing. */
static int given_is_wrong(const struct search *s, struct error *why)
{
    struct plan_layout l = s->fixed;
    struct plan_batch b = *s->b;
    int32_t *const free[] = {&l.tp, &l.pp, &l.cp, &l.ep, &l.etp, &l.vp, &l.micro_batch};
    for (size_t i = 0; i < ARRAY_LEN(free); i++)
        *free[i] = MAX(*free[i], 1);
    l.zero = MAX(l.zero, 0);
    l.recompute = MAX(l.recompute, 0);
    l.precision = MAX(l.precision, MACHINE_FP32);
    if (b.global_batch % l.micro_batch == 0 && s->fixed.dp == 0) { /* others may yet divide it */
        l.dp = l.ep * l.etp;
        b.global_batch = (int64_t)l.dp * l.micro_batch * l.pp;
    }
    l.dp = MAX(l.dp, 1);
    TRY(plan_layout_check(&l, s->m, &b, s->accelerators, why));
    return plan_layout_check_stack(&l, &b, s->s, why);
}

#define FREE_ALL "--layout auto frees what the file gives"

static int nothing_divides(const struct search *s, const char *given, struct error *e)
{
    struct error why = {0};
    if (given_is_wrong(s, &why) < 0) {
        error_set(e, "no layout of %lld accelerators has %s: %s", (long long)s->accelerators, given,
                  why.text);
        return error_hint(e, "%s; " FREE_ALL, why.hint);
    }
    error_set(e, "no layout of %lld accelerators and %lld sequences has %s",
              (long long)s->accelerators, (long long)s->b->global_batch, given);
    return error_hint(e, "give fewer of them, or a batch with more divisors; " FREE_ALL);
}

static int nothing_fits(const struct search *s, struct error *e)
{
    const struct plan_candidate *smallest = NULL;
    char layout[160], need[32], limit[32], given[160];
    for (size_t i = 0; i < s->n_groups; i++) {
        const struct plan_candidate *c = &s->groups[i].smallest;
        if (c->layout.tp == 0) continue;
        if (!smallest || c->step.memory.total < smallest->step.memory.total) smallest = c;
    }
    given_text(&s->fixed, given, sizeof given);
    if (!smallest) return nothing_divides(s, given, e);
    plan_layout_text(&smallest->layout, layout, sizeof layout);
    error_set(e, "no layout fits in memory: the smallest needs %s of %s per accelerator (%s)",
              format_bytes(need, smallest->step.memory.total), format_bytes(limit, s->memory_limit),
              layout);
    if (!given[0])
        return error_hint(e,
                          "more accelerators, accelerators with more memory, or shorter sequences");
    return error_hint(e,
                      "%s %s given: %s; else more accelerators, more memory, or shorter sequences",
                      given, strchr(given, ',') ? "are" : "is", FREE_ALL);
}

static void search_init(struct search *s)
{
    s->accelerators = machine_cluster_accelerators(s->c);
    s->domain = INT64_MAX;
    s->memory_limit = plan_memory_limit_of(s->c);
    for (int64_t i = 0; i < s->c->n_pools; i++)
        s->domain = MIN(s->domain, MAX(s->c->pools[i].accelerator->scaleup_domain, 1));
    atomic_init(&s->bound, INFINITY);
    pthread_mutex_init(&s->lock, NULL);
    divisors_find(s->b->global_batch, INT32_MAX, &s->sizes);
}

int plan_search(const struct plan_search_space *space, struct arena *a, struct plan_search *out,
                struct error *e)
{
    struct search x = {.m = space->model,
                       .c = space->cluster,
                       .b = space->batch,
                       .s = space->software,
                       .fixed = {.zero = -1, .recompute = -1, .precision = -1},
                       .objective = space->objective,
                       .n_best = space->n_best,
                       .listed_only = space->listed_only};
    memset(out, 0, sizeof *out);
    CHECK(x.c->n_pools > 0 && x.n_best > 0);
    if (space->fixed) x.fixed = *space->fixed;
    search_init(&x);
    add_all_groups(&x);
    struct pool *pool = x.n_groups >= SMALL_SPACE ? pool_new(0) : NULL;
    pool_run(pool, x.n_groups, try_group, &x);
    pool_free(pool);
    merge_groups(&x, a, out);
    int rc = out->n_best > 0 ? 0 : nothing_fits(&x, e);
    if (rc == 0) say_runner_up(x.objective, out);
    for (size_t i = 0; i < x.n_groups; i++)
        mem_free(x.groups[i].best);
    mem_free(x.sizes.values);
    mem_free(x.front.items);
    pthread_mutex_destroy(&x.lock);
    mem_free(x.groups);
    return rc;
}
