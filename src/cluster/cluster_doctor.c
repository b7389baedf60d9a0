/* cluster_doctor.c: what can be said about a site's MPI: which of them the program was built for,
 * where the ranks of a job run, how fast they talk, and whether a sum comes out right. */
#include "cluster/cluster_internal.h"

#include <dlfcn.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS      200
#define LONG_BYTES  ((size_t)8 << 20)
#define TRIAL_BYTES ((size_t)64 << 10)
#define ONE_WAY_S   0.02 /* that a long message may take, and all short ones together */
#define LONG_ROUNDS 8
#define SUM_FLOATS  ((size_t)1 << 18)

size_t cluster_list_mpis(struct cluster_mpi *list, size_t cap, struct arena *a)
{
    static const char *const names[] = {"openmpi", "mpich"};
    size_t n = MIN(cap, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++) {
        list[i] = (struct cluster_mpi){.name = names[i], .path = cluster_find_mpi(names[i], a)};
        if (!list[i].path) continue;
        void *library = dlopen(list[i].path, RTLD_LAZY | RTLD_LOCAL);
        if (!library) snprintf(list[i].why, sizeof(list[i].why), "%s", dlerror());
        if (library) dlclose(library);
    }
    return n;
}

/* Everybody's place for everybody. */
static int find_places(cluster_t *c, struct cluster_place *places, struct error *e)
{
    size_t *bounds = mem_calloc((size_t)c->size + 1, sizeof(*bounds));
    for (int r = 0; r < c->size; r++)
        bounds[r + 1] = bounds[r] + sizeof(*places);
    struct cluster_place *mine = &places[c->rank];
    if (gethostname(mine->host, sizeof(mine->host) - 1) < 0)
        snprintf(mine->host, sizeof(mine->host), "?");
    mine->cpus = cluster_host_cpus();
    int rc = group_gather(c->world, places, bounds, GROUP_BYTE, e);
    mem_free(bounds);
    return rc;
}

/* There and back again between rank 0 and the last; seconds one way, on rank 0. */
static int bounce(cluster_t *c, void *data, size_t bytes, int rounds, double *one_way_s,
                  struct error *e)
{
    int last = c->size - 1;
    double start_s = 0;
    for (int i = -2; i < rounds; i++) { /* two to warm up */
        if (i == 0) start_s = time_now_s();
        if (c->rank == 0) {
            TRY(group_send(c->world, last, data, bytes, e));
            TRY(group_recv(c->world, last, data, bytes, e));
        } else if (c->rank == last) {
            TRY(group_recv(c->world, 0, data, bytes, e));
            TRY(group_send(c->world, 0, data, bytes, e));
        }
    }
    *one_way_s = (time_now_s() - start_s) / rounds / 2;
    return 0;
}

/* Rank 0's measurement for all, as a whole number: how many short messages are sent there and back. */
static int share_rounds(cluster_t *c, double latency_s, struct error *e)
{
    int64_t rounds = c->rank == 0 ? (int64_t)fmin(ROUNDS, ONE_WAY_S / fmax(latency_s, 1e-9)) : 0;
    TRY(group_agree(c->world, &rounds, 1, e));
    return (int)rounds;
}

/* And how long the long ones are: less where the link is slow. */
static int share_size(cluster_t *c, double trial_s, int64_t *bytes, struct error *e)
{
    double fits = (double)TRIAL_BYTES * ONE_WAY_S / fmax(trial_s, 1e-9);
    *bytes = c->rank == 0 ? (int64_t)fmin((double)LONG_BYTES, fmax((double)TRIAL_BYTES, fits)) : 0;
    return group_agree(c->world, bytes, 1, e);
}

/* Small whole numbers: their sum is exact, so any difference is a fault. */
static int check_sum(cluster_t *c, double *seconds, struct error *e)
{
    float *x = mem_alloc(SUM_FLOATS * sizeof(*x));
    double n = c->size;
    for (size_t i = 0; i < SUM_FLOATS; i++)
        x[i] = (float)(c->rank + (int)(i % 7));
    double start_s = time_now_s();
    int rc = group_sum(c->world, x, SUM_FLOATS, GROUP_F32, e);
    *seconds = time_now_s() - start_s;
    for (size_t i = 0; i < SUM_FLOATS && rc == 0; i++) {
        if ((double)x[i] == n * (n - 1) / 2 + n * (double)(i % 7)) continue;
        rc = error_set(e, "rank %d: a sum over %d ranks came out wrong", c->rank, c->size);
    }
    mem_free(x);
    return rc;
}

int cluster_examine(cluster_t *c, struct cluster_health *h, struct arena *a, struct error *e)
{
    *h = (struct cluster_health){.peer = c->size - 1};
    h->places = arena_alloc(a, (size_t)c->size * sizeof(*h->places));
    TRY(find_places(c, h->places, e));
    if (c->size == 1) return 0;
    double seconds = 0;
    int64_t bytes = TRIAL_BYTES;
    void *data = mem_calloc(1, LONG_BYTES);
    int rc = bounce(c, data, 8, 1, &h->latency_s, e);
    if (rc == 0) rc = share_rounds(c, h->latency_s, e);
    int rounds = MAX(rc, 1);
    if (rc >= 0) rc = bounce(c, data, 8, rounds, &h->latency_s, e);
    if (rc == 0) rc = bounce(c, data, TRIAL_BYTES, 1, &seconds, e);
    if (rc == 0) rc = share_size(c, seconds, &bytes, e);
    if (rc == 0) rc = bounce(c, data, (size_t)bytes, LONG_ROUNDS, &seconds, e);
    h->bytes_per_s = seconds > 0 ? (double)bytes / seconds : 0;
    if (rc == 0) rc = check_sum(c, &h->sum_s, e);
    mem_free(data);
    return rc;
}
