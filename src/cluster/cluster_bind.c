/* cluster_bind.c: each rank of a machine on CPUs of its own, near each other.
 *
 * Ranks that share a machine without being told where to run wander over it: their threads meet on
 * one CPU and find their memory behind another socket. A launcher may bind each rank; where it gave
 * all ranks of a machine the same CPUs, they are dealt out here, by hwloc, which keeps a rank's CPUs
 * together by caches, cores and sockets. Threads that a rank starts later inherit them. */
#include "cluster/cluster_internal.h"

#include <hwloc.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

/* What each rank tells the others: its machine, and the CPUs that it may use. */
struct seat {
    uint64_t host, cpus;
};

static uint64_t host_hash(void)
{
    char host[256] = "";
    gethostname(host, sizeof(host) - 1);
    return hash_xxh3(host, strlen(host));
}

static int gather_seats(cluster_t *c, struct seat *seats, struct error *e)
{
    size_t *bounds = mem_calloc((size_t)c->size + 1, sizeof(*bounds));
    for (int r = 0; r < c->size; r++)
        bounds[r + 1] = bounds[r] + sizeof(*seats);
    int rc = group_gather(c->world, seats, bounds, GROUP_BYTE, e);
    mem_free(bounds);
    return rc;
}

/* This rank among those of its machine, and how many they are; false where their CPUs differ. */
static bool find_seat(const cluster_t *c, const struct seat *seats, unsigned *here, unsigned *among)
{
    const struct seat *mine = &seats[c->rank];
    *here = *among = 0;
    for (int r = 0; r < c->size; r++) {
        if (seats[r].host != mine->host) continue;
        if (seats[r].cpus != mine->cpus) return false;
        *here += r < c->rank;
        ++*among;
    }
    return true;
}

static int bind_to_share(hwloc_topology_t t, hwloc_const_bitmap_t allowed, unsigned here,
                         unsigned among, struct error *e)
{
    int cpus = hwloc_bitmap_weight(allowed);
    if (among < 2 || cpus < (int)among) return 0; /* alone, or more ranks than CPUs */
    if (hwloc_topology_restrict(t, allowed, 0) < 0)
        return error_set(e, "hwloc does not know the CPUs that this process may use");
    hwloc_obj_t root = hwloc_get_root_obj(t);
    hwloc_bitmap_t *shares = mem_calloc(among, sizeof(*shares));
    int bound = -1;
    hwloc_distrib(t, &root, 1, shares, among, INT_MAX, 0);
    if (hwloc_set_cpubind(t, shares[here], HWLOC_CPUBIND_PROCESS) == 0)
        bound = hwloc_bitmap_weight(shares[here]);
    for (unsigned i = 0; i < among; i++)
        hwloc_bitmap_free(shares[i]);
    mem_free(shares);
    return bound >= 0 ? bound : error_set(e, "cannot bind this rank to its share of the CPUs");
}

/* Number of CPUs that this rank was bound to; 0: left where it is. */
static int bind(hwloc_topology_t t, cluster_t *c, struct error *e)
{
    hwloc_bitmap_t allowed = hwloc_bitmap_alloc();
    struct seat *seats = mem_calloc((size_t)c->size, sizeof(*seats));
    unsigned here, among;
    char text[4096];
    if (hwloc_get_cpubind(t, allowed, HWLOC_CPUBIND_PROCESS) < 0) hwloc_bitmap_zero(allowed);
    hwloc_bitmap_snprintf(text, sizeof(text), allowed);
    seats[c->rank] = (struct seat){host_hash(), hash_xxh3(text, strlen(text))};
    int rc = gather_seats(c, seats, e);
    if (rc >= 0 && find_seat(c, seats, &here, &among))
        rc = bind_to_share(t, allowed, here, among, e);
    mem_free(seats);
    hwloc_bitmap_free(allowed);
    return rc;
}

int cluster_bind(cluster_t *c, struct error *e)
{
    hwloc_topology_t t;
    struct error unbound = {0};
    if (c->size == 1) return 0;
    bool known = hwloc_topology_init(&t) == 0;
    if (known && hwloc_topology_load(t) < 0) {
        hwloc_topology_destroy(t);
        known = false;
    }
    int64_t lacking = !known;
    if (group_agree(c->world, &lacking, 1, e) < 0) return e->code;
    int rc = lacking ? 0 : bind(t, c, &unbound);
    if (known) hwloc_topology_destroy(t);
    TRY(cluster_failed(c, e));
    if (rc < 0) log_warn("rank %d: %s", c->rank, unbound.text); /* slower, but right */
    return MAX(rc, 0);
}
