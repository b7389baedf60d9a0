/* plan_place.c: where the ranks of a layout lie: how many accelerators of a cluster it can use, how
 * many of each scale-up domain, and which groups lie across domains.
 *
 * Ranks are numbered tp fastest, then cp, dp, pp, and fill domains in that order. A group of 64
 * neighbours (64 experts, or tp x cp) in racks of 72 leaves two ways to place it:
 *
 *     packed      64 of each 72 are used: every group lies in one rack, and 8 of 72 stay idle
 *     straddling  all 72 are used: groups begin where they fall, and the slowest of them, on whose
 *                 ranks all others wait, has as few of its ranks in a rack as the greatest common
 *                 divisor of 64 and 72: 8 cards that carry the traffic of 64 ranks
 *
 * A layout is packed where the cluster has room for that, and straddles where only all accelerators
 * together hold it; the search tries both numbers of replicas and so chooses. Groups that divide
 * their domain are the same either way. Published runs count the accelerators that they use, on as
 * many racks as it takes: `domains_as_needed` of their cluster.
 *
 * Several kinds: a replica lies within one kind; replicas that are not needed are left out of the
 * slowest kind. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

static int64_t gcd(int64_t a, int64_t b)
{
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a;
}

static bool power_of_two(int64_t x)
{
    return (x & (x - 1)) == 0;
}

static int64_t lcm(int64_t a, int64_t b)
{
    if (power_of_two(a) && power_of_two(b)) return MAX(a, b);
    return a / gcd(a, b) * b;
}

/* Without a division, since it is asked for every layout: groups of powers of two always fill
 * domains of such. False says nothing. */
static bool fills(const struct machine_accelerator *a, const struct plan_layout *l)
{
    return power_of_two(a->scaleup_domain) && power_of_two(l->tp) && power_of_two(l->cp) &&
           power_of_two(l->ep) && power_of_two(l->etp);
}

/* Neighbouring ranks of a group that are meant to share a domain. */
static int64_t block_of(const struct machine_accelerator *a, int64_t group, int64_t stride)
{
    int64_t near = group > 1 ? plan_group_in_domain(MAX(a->scaleup_domain, 1), group, stride) : 1;
    return near > 1 ? near * stride : 1;
}

/* What each domain's share must be a multiple of for all groups to lie as they are meant to. */
static int64_t alignment(const struct machine_accelerator *a, const struct plan_layout *l)
{
    int64_t tp = MAX(l->tp, 1), etp = MAX(l->etp, 1);
    const int64_t blocks[] = {block_of(a, tp, 1), block_of(a, MAX(l->cp, 1), tp),
                              block_of(a, MAX(l->ep, 1), etp)};
    int64_t all = 1;
    for (size_t i = 0; i < ARRAY_LEN(blocks); i++)
        all = lcm(all, blocks[i]);
    return all;
}

/* Accelerators of a pool that are used where domains hold whole blocks; 0: no domain does. */
static int64_t packed(const struct machine_pool *pool, const struct plan_layout *l)
{
    int64_t domain = MAX(pool->accelerator->scaleup_domain, 1), rest = pool->count % domain;
    if (rest == 0 && fills(pool->accelerator, l)) return pool->count;
    int64_t block = alignment(pool->accelerator, l);
    if (block > domain) return 0;
    return pool->count / domain * (domain - domain % block) + rest - rest % block;
}

static int64_t replica_of(const struct plan_layout *l)
{
    return (int64_t)MAX(l->tp, 1) * MAX(l->pp, 1) * MAX(l->cp, 1);
}

int64_t plan_place_room(const struct machine_cluster *c, const struct plan_layout *l, bool straddle)
{
    int64_t replica = replica_of(l), sum = 0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        bool all = straddle || c->domains_as_needed;
        sum += (all ? c->pools[i].count : packed(&c->pools[i], l)) / replica;
    }
    return sum;
}

static bool straddles(const struct machine_cluster *c, const struct plan_layout *l)
{
    return !c->domains_as_needed && l->dp > plan_place_room(c, l, false);
}

/* Of the kinds that have replicas. */
static int64_t slowest_kind(const struct machine_cluster *c, int precision, const int64_t *replicas)
{
    int64_t slowest = 0;
    double least = INFINITY;
    for (int64_t i = 0; i < c->n_pools; i++) {
        double peak = machine_peak_flops(c->pools[i].accelerator, precision);
        if (replicas[i] == 0 || peak >= least) continue;
        slowest = i;
        least = peak;
    }
    return slowest;
}

void plan_place_replicas(const struct machine_cluster *c, const struct plan_layout *l,
                         int64_t out[MACHINE_MAX_POOLS])
{
    int64_t replica = replica_of(l), spare = -(int64_t)MAX(l->dp, 1);
    bool all = c->domains_as_needed || straddles(c, l);
    for (int64_t i = 0; i < c->n_pools; i++) {
        out[i] = (all ? c->pools[i].count : packed(&c->pools[i], l)) / replica;
        spare += out[i];
    }
    while (spare > 0) {
        int64_t kind = slowest_kind(c, l->precision, out), taken = MIN(spare, out[kind]);
        out[kind] -= taken;
        spare -= taken;
    }
}

int64_t plan_place_used(const struct machine_cluster *c, const struct plan_layout *l,
                        int64_t used[MACHINE_MAX_POOLS])
{
    int64_t sum = 0;
    if (l->tp < 1 || l->pp < 1 || l->cp < 1 || l->dp < 1) { /* not chosen yet: all are */
        for (int64_t i = 0; i < c->n_pools; i++)
            sum += used[i] = c->pools[i].count;
        return sum;
    }
    plan_place_replicas(c, l, used);
    for (int64_t i = 0; i < c->n_pools; i++)
        sum += used[i] *= replica_of(l);
    return sum;
}

/* Largest remainders: shares of `all` that sum to `accelerators`, whatever rounding does. */
static void shares(const struct machine_cluster *c, int64_t accelerators,
                   int64_t out[MACHINE_MAX_POOLS])
{
    const double all = (double)machine_cluster_accelerators(c);
    double rest[MACHINE_MAX_POOLS];
    int64_t left = accelerators;
    for (int64_t i = 0; i < c->n_pools; i++) {
        double share = (double)accelerators * (double)c->pools[i].count / all;
        left -= out[i] = (int64_t)floor(share);
        rest[i] = share - floor(share);
    }
    for (; left > 0; left--) {
        int64_t most = 0;
        for (int64_t i = 1; i < c->n_pools; i++)
            if (rest[i] > rest[most]) most = i;
        out[most]++;
        rest[most] = -1;
    }
}

static struct machine_cluster with_counts(const struct machine_cluster *c, const int64_t *counts)
{
    struct machine_cluster part = *c;
    part.n_pools = 0;
    for (int64_t i = 0; i < c->n_pools; i++)
        if (counts[i] > 0)
            part.pools[part.n_pools++] = (struct machine_pool){c->pools[i].accelerator, counts[i]};
    return part;
}

struct machine_cluster plan_cluster_scaled(const struct machine_cluster *c, int64_t accelerators)
{
    int64_t counts[MACHINE_MAX_POOLS];
    if (accelerators <= 0 || machine_cluster_accelerators(c) <= 0) return *c;
    shares(c, accelerators, counts);
    struct machine_cluster scaled = with_counts(c, counts);
    if (!c->source || !*c->source) /* a bare number, as COUNT x ACCELERATOR */
        scaled.domains_as_needed = machine_cluster_counts_used(&scaled);
    return scaled;
}

/* Of kinds with the same peak, the one that may draw more is faster under load. */
static bool is_faster(const struct machine_accelerator *a, const struct machine_accelerator *b)
{
    double x = machine_peak_flops(a, MACHINE_FP8), y = machine_peak_flops(b, MACHINE_FP8);
    return x > y || (x == y && a->power_cap_w.mid > b->power_cap_w.mid);
}

struct machine_cluster plan_cluster_part(const struct machine_cluster *c, int64_t accelerators)
{
    int64_t counts[MACHINE_MAX_POOLS] = {0}, left = accelerators;
    if (accelerators <= 0 || accelerators >= machine_cluster_accelerators(c)) return *c;
    while (left > 0) {
        int64_t fastest = -1;
        for (int64_t i = 0; i < c->n_pools; i++)
            if (counts[i] == 0 && c->pools[i].count > 0 &&
                (fastest < 0 || is_faster(c->pools[i].accelerator, c->pools[fastest].accelerator)))
                fastest = i;
        if (fastest < 0) break;
        counts[fastest] = MIN(left, c->pools[fastest].count);
        left -= counts[fastest];
    }
    return with_counts(c, counts);
}

void plan_place_at_work(const struct plan_request *r, int64_t used[MACHINE_MAX_POOLS])
{
    struct machine_cluster part = plan_cluster_part(&r->cluster, r->part);
    double at_work = (double)plan_place_used(&part, &r->layout, used);
    if (r->part <= 0) return;
    at_work /= (double)machine_cluster_accelerators(&part);
    for (int64_t i = 0; i < r->cluster.n_pools; i++)
        used[i] = llround(at_work * (double)r->cluster.pools[i].count);
}

void plan_place(const struct machine_accelerator *a, const struct machine_cluster *c,
                const struct plan_layout *l, struct plan_place *out)
{
    int64_t domain = MAX(a->scaleup_domain, 1);
    *out = (struct plan_place){.domain = domain, .used = domain};
    if (c->domains_as_needed || fills(a, l)) return;
    int64_t block = alignment(a, l);
    if (domain % block == 0) return;
    out->straddles = straddles(c, l);
    if (!out->straddles && block <= domain) out->used = domain - domain % block;
}

int64_t plan_place_near(const struct plan_place *p, int64_t group, int64_t stride)
{
    if (!p->straddles) return plan_group_in_domain(p->domain, group, stride);
    return MAX(gcd(group * stride, p->domain) / stride, 1);
}

int64_t plan_place_ring(const struct plan_place *p, int64_t group, int64_t stride)
{
    return plan_group_in_domain(p->used, group, stride);
}
