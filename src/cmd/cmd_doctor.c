/* cmd_doctor.c: `colossus doctor mpi`: what is wrong with a site's launcher, in one screen. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct doctor_options {
    bool json;
    double timeout_s;
};
#define AT(field) offsetof(struct doctor_options, field)

static const struct option mpi_rows[] = {
    CMD_FLAG("json", 'j', json, "the findings as one JSON object"),
    CMD_REAL("timeout", 't', timeout_s, "s", "30", 0, 86400,
             "how long a rank waits for another before it is named; 0: for ever"),
};

const struct option_table cmd_doctor_mpi_table = {
    "doctor mpi",
    "[options]",
    "say what is wrong with a site's MPI and its launcher",
    "Alone it shows which MPI the program was built for, what it finds here, and the line to\n"
    "type next. Under a launcher every rank joins; then it shows where they run, how fast they\n"
    "talk, and whether a sum over all of them comes out right.\n\n"
    "  colossus doctor mpi",
    mpi_rows,
    ARRAY_LEN(mpi_rows)};

static void show_launch(const struct cluster_launch *l)
{
    printf("%-10s %s", "launcher", l->launcher);
    if (l->variable) printf(" (%s is set)", l->variable);
    printf("\n");
}

/* ------------------------------------------------------------------ alone */

static const char *const programs[] = {"mpirun", "mpirun.openmpi", "mpirun.mpich", "srun"};

/* What starts ranks. */
static bool has_program(struct arena *a)
{
    bool has = false;
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        has = has || cmd_find_program(programs[i], a);
    return has;
}

static void print_alone(const struct cluster_launch *l)
{
    struct arena a = {0};
    struct cluster_mpi list[8];
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), &a);
    bool any = false;
    show_launch(l);
    for (size_t i = 0; i < n; i++) {
        printf("%-10s ", list[i].name);
        if (!list[i].path)
            printf("not built: install lib%s-dev and build again\n", list[i].name);
        else if (list[i].why[0])
            printf("'%s' does not load: %s\n", list[i].path, list[i].why);
        else
            printf("'%s' loads\n", list[i].path);
        any = any || (list[i].path && !list[i].why[0]);
    }
    if (!any)
        printf("%-10s this program runs on one process only until one of them is built\n", "");
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        const char *file = cmd_find_program(programs[i], &a);
        printf("%-14s %s\n", programs[i], file ? file : "not found");
    }
    any = any && has_program(&a);
    if (any) printf("\nnow try    mpirun -n 2 colossus doctor mpi\n");
    if (any && geteuid() == 0)
        printf("           Open MPI's mpirun refuses root without --allow-run-as-root\n");
    arena_fini(&a);
}

static void print_alone_json(const struct cluster_launch *l)
{
    struct arena a = {0};
    struct cluster_mpi list[8];
    struct cmd_json j;
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), &a);
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "launcher", l->launcher);
    jsonw_int(w, "ranks", 1);
    for (size_t i = 0; i < n; i++)
        jsonw_string(w, list[i].name,
                     !list[i].path    ? "not built"
                     : list[i].why[0] ? list[i].why
                                      : list[i].path);
    cmd_json_end(&j, true);
    arena_fini(&a);
}

static int examine_alone(const struct cluster_launch *l, bool json, struct error *e)
{
    struct arena a = {0};
    bool has = has_program(&a);
    arena_fini(&a);
    if (json)
        print_alone_json(l);
    else
        print_alone(l);
    if (has) return 0;
    error_set(e, "no launcher was found on PATH: nothing here starts more ranks than one");
    return error_hint(e, "apt-get install openmpi-bin, or mpich");
}

/* ------------------------------------------------------------------ ranks */

/* "node1 x 4, node2 x 4", ranks of one machine that follow each other taken together. */
static void list_hosts(struct str *out, const struct cluster_place *p, int size)
{
    for (int i = 0, n; i < size; i += n) {
        for (n = 1; i + n < size && strcmp(p[i].host, p[i + n].host) == 0; n++) {
        }
        str_printf(out, "%s%s x %d", i > 0 ? ", " : "", p[i].host, n);
    }
}

static void print_ranks(const struct cluster_launch *l, const cluster_t *c,
                        const struct cluster_health *h)
{
    struct str hosts = {0};
    int here = 0, size = cluster_size(c);
    for (int i = 0; i < size; i++)
        here += strcmp(h->places[i].host, h->places[0].host) == 0;
    list_hosts(&hosts, h->places, size);
    show_launch(l);
    printf("%-10s %s\n", "MPI", cluster_transport_name(c));
    printf("%-10s %d: %s\n", "ranks", size, hosts.data);
    if (size > 1) {
        printf("%-10s %.1f us, %.2f GB/s between rank 0 and rank %d\n", "message",
               h->latency_s * 1e6, h->bytes_per_s / 1e9, h->peer);
        printf("%-10s 1 MiB over all ranks in %.2f ms, right on every rank\n", "sum",
               h->sum_s * 1e3);
    }
    if (here > h->places[0].cpus)
        printf("%-10s %d ranks share %d CPUs on %s: they take turns, and times say nothing\n",
               "note", here, h->places[0].cpus, h->places[0].host);
    printf("\nall is well\n");
    str_fini(&hosts);
}

static void print_ranks_json(const struct cluster_launch *l, const cluster_t *c,
                             const struct cluster_health *h)
{
    struct cmd_json j;
    struct str hosts = {0};
    list_hosts(&hosts, h->places, cluster_size(c));
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "launcher", l->launcher);
    jsonw_string(w, "mpi", cluster_transport_name(c));
    jsonw_int(w, "ranks", cluster_size(c));
    jsonw_string(w, "hosts", hosts.data);
    jsonw_real(w, "latency_s", h->latency_s);
    jsonw_real(w, "bytes_per_s", h->bytes_per_s);
    jsonw_real(w, "sum_s", h->sum_s);
    cmd_json_end(&j, true);
    str_fini(&hosts);
}

static int examine(cluster_t *c, const struct cluster_launch *l, bool json, struct error *e)
{
    struct arena a = {0};
    struct cluster_health h;
    int rc = cluster_examine(c, &h, &a, e);
    if (rc == 0) rc = group_barrier(group_world(c), e);
    if (rc == 0 && cluster_rank(c) == 0) {
        if (json)
            print_ranks_json(l, c, &h);
        else
            print_ranks(l, c, &h);
    }
    arena_fini(&a);
    return rc;
}

static int doctor_mpi(const struct option_line *l, void *options, struct error *e)
{
    const struct doctor_options *o = options;
    struct cluster_launch launch;
    cluster_t *c = NULL;
    if (l->n_rest > 0) {
        error_set_code(e, ERROR_USAGE, "'%s' is not wanted", l->rest[0]);
        return error_hint(e, "mpirun -n 4 colossus doctor mpi");
    }
    cluster_find_launch(&launch);
    if (!launch.mpi && launch.size == 1) return examine_alone(&launch, o->json, e);
    TRY(cluster_open(&(struct cluster_options){.timeout_s = o->timeout_s}, &c, e));
    int rc = examine(c, &launch, o->json, e);
    if (rc < 0) { /* the others wait for this rank, or know already */
        cmd_fail("doctor mpi", e);
        e->text[0] = '\0';
        cluster_abort(c, 1);
        return rc;
    }
    cluster_close(c);
    return 0;
}

static int run_mpi(int argc, char **argv)
{
    return cmd_run(&cmd_doctor_mpi_table, argc, argv, sizeof(struct doctor_options), doctor_mpi);
}

static const struct cmd_entry entries[] = {
    {"mpi", run_mpi, NULL, "what is wrong with a site's MPI and its launcher"},
    {"slurm", cmd_doctor_slurm, NULL, "what launch and submit would find of Slurm"},
};

int cmd_doctor(int argc, char **argv)
{
    return cmd_dispatch("doctor", entries, ARRAY_LEN(entries), argc, argv);
}
