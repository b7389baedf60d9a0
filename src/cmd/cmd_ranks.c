/* cmd_ranks.c: programs on $PATH, and this program started again as the ranks of a job. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *cmd_find_program(const char *name, struct arena *a)
{
    const char *path = getenv("PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        char *file = arena_printf(a, "%.*s/%s", (int)n, path, name);
        if (n > 0 && access(file, X_OK) == 0) return file;
        path += n + (path[n] == ':');
    }
    return NULL;
}

/* The launcher of the first MPI that the program can load, and which that is; NULL: there is none.
 * "mpirun" alone may be of any MPI, so it is asked for last, where only one can be meant. */
static const char *find_launcher(const char **mpi, struct arena *a)
{
    struct cluster_mpi list[8];
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), a), usable = 0;
    for (size_t i = 0; i < n; i++) {
        if (!list[i].path || list[i].why[0]) continue;
        usable++;
        *mpi = list[i].name;
        const char *file = cmd_find_program(arena_printf(a, "mpirun.%s", list[i].name), a);
        if (file) return file;
    }
    return usable == 1 ? cmd_find_program("mpirun", a) : NULL;
}

static int no_launcher(struct error *e)
{
    error_set(e, "no launcher of an MPI that this program can load is to be found");
    return error_hint(e, "colossus doctor mpi says what is there and what is missing");
}

int cmd_ranks_line(int ranks, const char *const *arguments, struct arena *a, const char ***line,
                   struct error *e)
{
    char program[PATH_MAX];
    const char *mpi = "", *launcher = ranks > 1 ? find_launcher(&mpi, a) : NULL;
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    size_t n = 0, at = 0;
    if ((ranks > 1 && !launcher) || length < 0) return no_launcher(e);
    program[length] = '\0';
    while (arguments[n])
        n++;
    const char **argv = arena_alloc(a, (n + 9) * sizeof(*argv));
    if (launcher) argv[at++] = launcher;
    if (launcher && strcmp(mpi, "openmpi") == 0) {
        argv[at++] = "--oversubscribe"; /* more ranks than CPUs is what a check may ask for */
        if (geteuid() == 0) argv[at++] = "--allow-run-as-root";
    }
    if (launcher) {
        argv[at++] = "-n";
        argv[at++] = arena_printf(a, "%d", ranks);
    }
    argv[at++] = arena_strdup(a, program);
    for (size_t i = 0; i < n; i++)
        argv[at++] = arguments[i];
    argv[at] = NULL;
    *line = argv;
    return 0;
}

int cmd_start_ranks(int ranks, const char *const *arguments, struct error *e)
{
    struct arena a = {0};
    const char **argv;
    int rc = cmd_ranks_line(ranks, arguments, &a, &argv, e);
    if (rc >= 0) {
        fflush(NULL);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        rc = error_errno(e, "start", argv[0]);
    }
    arena_fini(&a);
    return rc;
}
