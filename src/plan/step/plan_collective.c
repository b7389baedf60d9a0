/* plan_collective.c: how long one collective takes, from the accelerators' links and the fabric.
 *
 * A group of ranks lies in domains (what NVLink or its like reaches: 8 on HGX, 72 on NVL72) joined
 * by a fabric. The time of S bytes is
 *
 *     t = a0 + a1 log2(domains) + f S / B + c sqrt(S) log2(domains)
 *
 * with f = (n-1)/n (twice that for all-reduce). The form is the pipelined tree's optimum, whose
 * chunk grows with the square root of S; its constants were fitted to 208 measured all-reduce
 * points on 32 to 8,192 H100 with 400 Gb/s a GPU (digitised from NVIDIA GTC 2024 S62129 slide 35
 * and arXiv:2411.13055), mean error 4.9 to 7.3 %, and inside a domain to nccl-tests on 8 H200,
 * 8 B200 and 72 GB200 (CoreWeave and stas00/ml-engineering). Plain latency plus bandwidth misses
 * messages of 1 to 100 MB by 30 to 60 %.
 *
 * B is the smaller of what a rank moves inside the domain and what its domain's links to the
 * fabric give each pass of the ring: with p ranks of the group in a domain, the p NICs carry it.
 *
 * Oversubscription is applied to groups that leave a block of the lower tier. */
#include "plan/step/plan_step_internal.h"

#include <math.h>

/* Accelerators under one non-blocking block: a scalable unit of 32 nodes, and the two-tier
 * fat-tree of radix 64 to 128 switches above it. */
enum { LEAF_BLOCK = 256, SPINE_BLOCK = 8192 };

static inline double figure_or(const struct figure *f, double fallback)
{
    return f->mid > 0 ? f->mid : fallback;
}

int64_t plan_group_in_domain(int64_t domain, int64_t group, int64_t stride)
{
    int64_t fit = MAX(domain / MAX(stride, 1), 1);
    if (group <= fit) return group;
    while (group % fit != 0)
        fit--; /* whole shares: of 72, 64 serve groups of 64, 32, ... (plan_place.c: the other 8) */
    return fit;
}

/* Bytes a second one accelerator sends into the fabric when all do. */
static inline double fabric_rate(const struct plan_work *w, double span)
{
    const struct machine_cluster *c = w->c;
    double rate = figure_or(&w->a->nic_bytes_per_s, 50e9) * K(w, NIC_SHARE);
    double routing = figure_or(&c->routing_efficiency, MACHINE_ROUTING);
    double over = figure_or(&c->oversubscription, 1);
    double block = c->fabric_tiers >= 3 ? SPINE_BLOCK : LEAF_BLOCK;
    rate *= MIN(routing / MACHINE_ROUTING, 1.05); /* NIC_SHARE was fitted at it */
    return span > block ? rate / MAX(over, 1) : rate;
}

static inline double domain_rate(const struct plan_work *w)
{
    return figure_or(&w->a->scaleup_bytes_per_s, 450e9) * K(w, SCALEUP_SHARE);
}

static double all_to_all_s(const struct plan_work *w, double n, double p, double bytes)
{
    double inside = bytes * (p - 1) / n / (domain_rate(w) * w->a2a_share);
    double outside = bytes * (n - p) / n / (fabric_rate(w, n) * K(w, A2A_SHARE_FAR));
    return K(w, A2A_LATENCY_S) * (1 + log2(n / p)) + MAX(inside, outside);
}

double plan_collective_s(const struct plan_work *w, int kind, int64_t group, int64_t per_domain,
                         double bytes)
{
    if (group <= 1 || bytes <= 0) return 0;
    double n = (double)group, p = (double)MAX(MIN(per_domain, group), 1);
    if (kind == PLAN_ALL_TO_ALL) return all_to_all_s(w, n, p, bytes);
    double passes = kind == PLAN_ALL_REDUCE ? 2 : 1;
    double rate = domain_rate(w), levels = 0;
    if (p < n) {
        double nics = p * fabric_rate(w, n * (double)MAX(w->a->scaleup_domain, 1) / p);
        rate = p > 1 ? MIN(rate, nics) : nics;
        levels = log2(n / p);
    }
    double t = K(w, COLL_LATENCY_S) + K(w, COLL_LEVEL_S) * levels;
    t += K(w, COLL_ROOT_S) * sqrt(bytes / 1e6) * levels;
    return passes * (t + (n - 1) / n * bytes / rate);
}

double plan_p2p_s(const struct plan_work *w, bool inside, double bytes)
{
    double rate = inside ? domain_rate(w) : fabric_rate(w, 0);
    return K(w, P2P_LATENCY_S) + bytes / rate;
}
