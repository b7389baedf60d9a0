/* cluster_world.c: the job that this process belongs to: who started it, and how to join.
 *
 * Launchers tell their processes what they are by variables. Open MPI's mpirun and orted set
 * OMPI_COMM_WORLD_*, srun --mpi=pmix sets PMIX_*; MPICH's hydra and srun --mpi=pmi2 set PMI_*. A
 * process under srun with several tasks and none of these would be alone and not know it: that is an
 * error that says which option srun wants. COLOSSUS_MPI decides where it is set: "none", "openmpi",
 * "mpich" or the path of a shared object. */
#include "cluster/cluster_internal.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ------------------------------------------------------------------ who started this process */

static int env_int(const char *name, int fallback)
{
    int64_t x;
    const char *text = name ? getenv(name) : NULL;
    return text && parse_int(text, &x) == 0 && x >= 0 && x < INT_MAX ? (int)x : fallback;
}

struct launcher {
    const char *variable, *name, *mpi, *rank, *size;
};
/* The first whose variable is there. */
static const struct launcher launchers[] = {
    {"OMPI_COMM_WORLD_SIZE", "mpirun of Open MPI", "openmpi", "OMPI_COMM_WORLD_RANK",
     "OMPI_COMM_WORLD_SIZE"},
    {"PMIX_RANK", "srun --mpi=pmix", "openmpi", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
    {"PMI_RANK", "mpiexec of MPICH, or srun --mpi=pmi2", "mpich", "PMI_RANK", "PMI_SIZE"},
    {"PMI_FD", "mpiexec of MPICH, or srun --mpi=pmi2", "mpich", "SLURM_PROCID",
     "SLURM_STEP_NUM_TASKS"},
    {"SLURM_STEP_ID", "srun", NULL, "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"},
};

void cluster_find_launch(struct cluster_launch *l)
{
    *l = (struct cluster_launch){.launcher = "none", .size = 1};
    for (size_t i = 0; i < ARRAY_LEN(launchers); i++) {
        const struct launcher *x = &launchers[i];
        if (!getenv(x->variable)) continue;
        *l = (struct cluster_launch){.launcher = x->name,
                                     .mpi = x->mpi,
                                     .variable = x->variable,
                                     .rank = env_int(x->rank, 0),
                                     .size = env_int(x->size, 1)};
        break;
    }
    const char *told = getenv("COLOSSUS_MPI");
    if (l->size == 1) l->mpi = NULL; /* one process needs none, whoever started it */
    if (!told || !*told) return;
    l->mpi = strcmp(told, "none") == 0 ? NULL : told;
    l->variable = "COLOSSUS_MPI";
    l->told = true;
}

/* ------------------------------------------------------------------ the shared object */

/* Beside the program where it was built, in ../lib/colossus where it is installed. */
char *cluster_find_mpi(const char *mpi, struct arena *a)
{
    static const char *const places[] = {".", "../lib/colossus"};
    char program[PATH_MAX];
    if (strchr(mpi, '/')) return file_exists(mpi) ? arena_strdup(a, mpi) : NULL;
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n < 0) return NULL;
    program[n] = '\0';
    char *slash = strrchr(program, '/');
    *slash = '\0';
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        char *path = arena_printf(a, "%s/%s/colossus-%s.so", program, places[i], mpi);
        if (file_exists(path)) return path;
    }
    return NULL;
}

static int load(cluster_t *c, const struct cluster_launch *l, struct error *e)
{
    struct arena a = {0};
    char why[256] = "";
    char *path = cluster_find_mpi(l->mpi, &a);
    if (!path && l->told) {
        error_set(e, "COLOSSUS_MPI is '%s', and there is no such object for an MPI", l->mpi);
        arena_fini(&a);
        return error_hint(e, "COLOSSUS_MPI takes openmpi, mpich, none, or the path of an object; "
                             "colossus doctor mpi shows which were built");
    }
    if (!path) {
        error_set(e,
                  "this process is one of %d that %s started, and this program was built without "
                  "'%s'",
                  l->size, l->launcher, l->mpi);
        error_hint(e, "build it where the MPI's compiler wrapper is installed (Debian: "
                      "libopenmpi-dev or libmpich-dev); colossus doctor mpi tells more");
        arena_fini(&a);
        return ERROR_FAILED;
    }
    /* MPI's own plugins look for its symbols among the global ones. */
    c->library = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    cluster_transport_open_fn *open = NULL;
    if (c->library) *(void **)&open = dlsym(c->library, CLUSTER_TRANSPORT_SYMBOL);
    if (!open) snprintf(why, sizeof(why), "%s", dlerror());
    if (open) c->transport = open(why, sizeof(why));
    int rc = 0;
    if (!c->transport) {
        rc = error_set(e, "cannot join the ranks of this job by '%s': %s", path, why);
        error_hint(e, "colossus doctor mpi tells what is wrong");
    } else if (c->transport->version != CLUSTER_TRANSPORT_VERSION) {
        rc = error_set(e, "'%s' is of another version of the program", path);
        error_hint(e, "build both again");
    } else if (l->size > 1 && c->transport->size != l->size) {
        rc = error_set(e,
                       "this process is one of %d that %s started, and the MPI of '%s' knows of %d",
                       l->size, l->launcher, path, c->transport->size);
        error_hint(
            e, "start it by that MPI's own mpirun, or name the other MPI: COLOSSUS_MPI=mpich or "
               "openmpi; colossus doctor mpi shows both");
    }
    arena_fini(&a);
    return rc < 0 ? rc : cluster_link_from_environment(&c->transport, e);
}

/* ------------------------------------------------------------------ open, close */

int cluster_host_cpus(void)
{
    double limit = cgroup_limits("").cpus;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return (int)MAX(1, MIN(limit, (double)n));
}

static void fill(cluster_t *c, const struct cluster_options *o)
{
    struct cluster_transport *t = c->transport;
    c->rank = t ? t->rank : 0;
    c->size = t ? t->size : 1;
    c->timeout_s = o ? o->timeout_s : 0;
    c->patient = t && t->local_size > cluster_host_cpus();
    pthread_mutex_init(&c->transport_lock, NULL);
    pthread_mutex_init(&c->error_lock, NULL);
    pthread_mutex_init(&c->spans.lock, NULL);
    pthread_mutex_init(&c->queue_lock, NULL);
    pthread_cond_init(&c->queue_changed, NULL);
    int *ranks = mem_calloc((size_t)c->size, sizeof(*ranks));
    for (int i = 0; i < c->size; i++)
        ranks[i] = i;
    c->world = group_new(c, "all", ranks, c->size);
    mem_free(ranks);
}

cluster_t *cluster_over(struct cluster_transport *t, const struct cluster_options *o)
{
    cluster_t *c = mem_calloc(1, sizeof(*c));
    c->transport = t;
    fill(c, o);
    return c;
}

int cluster_open(const struct cluster_options *o, cluster_t **out, struct error *e)
{
    struct cluster_launch l;
    cluster_find_launch(&l);
    if (!l.mpi && l.size > 1 && !l.told) {
        error_set(e, "srun started %d tasks without telling them of each other", l.size);
        return error_hint(e, "srun --mpi=pmix (Open MPI) or --mpi=pmi2 (MPICH); srun --mpi=list "
                             "shows which it has; COLOSSUS_MPI=none runs each task for itself");
    }
    cluster_t *c = mem_calloc(1, sizeof(*c));
    int rc = l.mpi ? load(c, &l, e) : 0;
    if (rc < 0) {
        if (c->transport) c->transport->close(c->transport);
        mem_free(c);
        return rc;
    }
    fill(c, o);
    *out = c;
    return 0;
}

/* The library stays loaded: MPI leaves threads and handlers behind that need their code. */
void cluster_close(cluster_t *c)
{
    if (!c) return;
    cluster_hang_end(c);
    if (c->has_thread) {
        pthread_mutex_lock(&c->queue_lock);
        c->stop = true;
        pthread_cond_broadcast(&c->queue_changed);
        pthread_mutex_unlock(&c->queue_lock);
        pthread_join(c->thread, NULL);
    }
    group_free(c->world);
    if (c->library && c->transport) c->transport->close(c->transport);
    pthread_mutex_destroy(&c->transport_lock);
    pthread_mutex_destroy(&c->error_lock);
    pthread_mutex_destroy(&c->spans.lock);
    pthread_mutex_destroy(&c->queue_lock);
    pthread_cond_destroy(&c->queue_changed);
    mem_free(c);
}

void cluster_abort(cluster_t *c, int exit_code)
{
    if (c && c->transport) c->transport->abort(c->transport, exit_code);
}

bool cluster_is_lost(const cluster_t *c)
{
    return atomic_load(&c->failed);
}

int cluster_rank(const cluster_t *c)
{
    return c->rank;
}

int cluster_size(const cluster_t *c)
{
    return c->size;
}

int cluster_local_size(const cluster_t *c)
{
    return c->transport ? c->transport->local_size : 1;
}

const char *cluster_transport_name(const cluster_t *c)
{
    return c->transport ? c->transport->name : "none";
}
