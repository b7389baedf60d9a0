/* cmd_slurm.c: `colossus submit`: a run as a job of Slurm; and the line by which ranks are started in
 * one. Slurm is used by its commands only. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"
#include "train/train.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SAID ((size_t)1 << 20) /* of another program */

int cmd_capture(const char *const *argv, struct str *out, struct error *e)
{
    int ends[2], status = 0;
    char piece[4096];
    ssize_t n;
    if (pipe(ends) < 0) return error_errno(e, "talk to", argv[0]);
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        close(ends[1]);
        execv(argv[0], (char *const *)(uintptr_t)argv);
        _exit(127);
    }
    close(ends[1]);
    while (pid > 0 && (n = read(ends[0], piece, sizeof(piece))) != 0) {
        if (n < 0 && errno != EINTR) break;
        if (n > 0 && out->len < MAX_SAID) str_append(out, piece, (size_t)n);
    }
    close(ends[0]);
    str_append(out, "", 0);
    if (pid < 0 || waitpid(pid, &status, 0) != pid) return error_errno(e, "start", argv[0]);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ------------------------------------------------------------------ ranks by srun */

static bool can_load(const char *mpi)
{
    struct arena a = {0};
    struct cluster_mpi list[8];
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), &a);
    bool can = false;
    for (size_t i = 0; i < n; i++)
        can = can || (list[i].path && !list[i].why[0] && strcmp(list[i].name, mpi) == 0);
    arena_fini(&a);
    return can;
}

/* What srun lists and this program can load: Open MPI by pmix, MPICH by pmi2. */
static const char *choose_mpi(const char *srun, struct error *e)
{
    const char *argv[] = {srun, "--mpi=list", NULL};
    struct str said = {0};
    const char *mpi = NULL;
    if (cmd_capture(argv, &said, e) >= 0) {
        if (strstr(said.data, "pmi2") && can_load("mpich")) mpi = "pmi2";
        if (strstr(said.data, "pmix") && can_load("openmpi")) mpi = "pmix";
        if (!mpi) {
            error_set(e, "srun knows no MPI that this program can load");
            error_hint(e, "colossus doctor slurm shows both; build where libopenmpi-dev or "
                          "libmpich-dev is installed, or name one with --mpi");
        }
    }
    str_fini(&said);
    return mpi;
}

int cmd_srun_line(const struct cluster_attempt *at, const char *mpi, const char *const *arguments,
                  struct arena *a, const char ***line, struct error *e)
{
    char program[PATH_MAX];
    const char *srun = cmd_find_program("srun", a);
    struct str nodes = {0};
    size_t n = 0, k = 0;
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (!srun || length < 0) return error_set(e, "this is an allocation of Slurm without srun");
    program[length] = '\0';
    if (!mpi && at->ranks > 1 && !(mpi = choose_mpi(srun, e))) return e->code;
    while (arguments[n])
        n++;
    for (size_t i = 0; i < at->n_nodes; i++)
        str_printf(&nodes, "%s%s", i ? "," : "", at->nodes[i]);
    const char **argv = arena_alloc(a, (n + 16) * sizeof(*argv));
    int per_node = (at->ranks + (int)at->n_nodes - 1) / (int)at->n_nodes;
    argv[k++] = srun;
    argv[k++] = arena_printf(a, "--nodes=%zu", at->n_nodes);
    argv[k++] = arena_printf(a, "--nodelist=%s", nodes.data);
    argv[k++] = arena_printf(a, "--ntasks=%d", at->ranks);
    argv[k++] = arena_printf(a, "--ntasks-per-node=%d", per_node);
    if (mpi) argv[k++] = arena_printf(a, "--mpi=%s", mpi);
    argv[k++] = "--overlap";            /* a step that was left behind may still be there */
    argv[k++] = "--kill-on-bad-exit=0"; /* who ends whom is the launcher's to say */
    argv[k++] = "--input=none";
    argv[k++] = arena_strdup(a, program);
    for (size_t i = 0; i < n; i++)
        argv[k++] = arguments[i];
    str_fini(&nodes);
    *line = argv;
    return 0;
}

/* ------------------------------------------------------------------ submit */

struct submit_options {
    struct option_list set, sbatch;
    const char *run_dir, *time, *partition, *mpi, *address;
    int64_t nodes, spares, per_node;
    bool dry_run;
};

#define AT(field) offsetof(struct submit_options, field)
static const struct option rows[] = {
    CMD_INT("nodes", 'N', nodes, NULL, "1", 1, 65536, "of the allocation, spare ones among them"),
    CMD_INT("spares", 0, spares, "NODES", "0", 0, 65535,
            "of these, so many wait until another is lost"),
    CMD_INT("ranks-per-node", 0, per_node, NULL, "1", 1, 4096, "ranks on each node"),
    CMD_LIST("set", 's', set, "KEY=VALUE",
             "override a key of the run file; may be given many times"),
    CMD_TEXT("run-dir", 'd', run_dir, NULL, NULL,
             "the run folder, instead of dir/name of the run file"),
    CMD_TEXT("time", 't', time, "LIMIT", NULL,
             "sbatch's time limit; two minutes before it the state is saved and the job queued "
             "again"),
    CMD_TEXT("partition", 'p', partition, NULL, NULL, "sbatch's partition"),
    CMD_LIST("sbatch", 0, sbatch, "OPTION",
             "a line #SBATCH OPTION more, as --sbatch=--gres=gpu:8; may be given many times"),
    CMD_TEXT("mpi", 0, mpi, "NAME", NULL, "srun's --mpi, as of colossus launch"),
    CMD_TEXT("address", 0, address, "HOST", NULL, "as of colossus launch"),
    CMD_FLAG("dry-run", 'n', dry_run, "print the batch script, and submit nothing"),
};
#undef AT

const struct option_table cmd_submit_table = {
    "submit",
    "RUN.yaml [options]",
    "train as a job of Slurm, with spare nodes",
    "Writes a batch script into the run folder and gives it to sbatch. The job is `colossus "
    "launch`:\n"
    "it keeps its nodes when one fails (--no-kill), goes on on a spare one, and is queued again "
    "by\n"
    "Slurm when its first node fails, or by itself when its time is over.\n\n"
    "  colossus submit fortunes --nodes 2 --spares 1 --time 4:00:00 --dry-run",
    rows,
    ARRAY_LEN(rows)};

static void put_option(struct str *out, const char *option, const char *value)
{
    str_printf(out, " \\\n    --%s ", option);
    str_put_word(out, value);
}

static int write_command(const struct submit_options *o, const char *run_file, struct str *out,
                         struct error *e)
{
    char program[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n < 0) return error_errno(e, "find", "this program");
    program[n] = '\0';
    str_puts(out, "exec ");
    str_put_word(out, program);
    str_puts(out, " launch ");
    str_put_word(out, run_file);
    str_printf(out, " --requeue --spares %lld --ranks-per-node %lld", (long long)o->spares,
               (long long)o->per_node);
    if (o->run_dir) put_option(out, "run-dir", o->run_dir);
    if (o->mpi) put_option(out, "mpi", o->mpi);
    if (o->address) put_option(out, "address", o->address);
    for (size_t i = 0; i < o->set.count; i++)
        put_option(out, "set", o->set.items[i]);
    str_append_char(out, '\n');
    return 0;
}

/* #SBATCH KEY="VALUE", as sbatch reads it back. */
static void put_directive(struct str *out, const char *key, const char *before, const char *value,
                          const char *behind)
{
    str_printf(out, "#SBATCH --%s=\"%s", key, before);
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\') str_append_char(out, '\\');
        str_append_char(out, *c);
    }
    str_printf(out, "%s\"\n", behind);
}

#define ENDS_A_LINE "%s holds an end of a line, which a line #SBATCH cannot"

/* "minutes", "minutes:seconds", "hours:minutes:seconds", "days-hours", "days-hours:minutes" or
 * "days-hours:minutes:seconds", as sbatch reads it. */
static bool is_time(const char *text)
{
    bool days = false;
    for (int fields = 1; fields <= 3; text++) {
        size_t digits = strspn(text, "0123456789");
        text += digits;
        if (digits == 0 || digits > 9) return false;
        if (!*text) return true;
        if (*text == '-' && (days || fields > 1)) return false;
        if (*text != '-' && *text != ':') return false;
        fields += *text == ':';
        days = days || *text == '-';
    }
    return false;
}

static int check_values(const struct submit_options *o, struct error *e)
{
    if (o->time && !is_time(o->time)) {
        error_set_code(e, ERROR_USAGE, "--time '%s' is no time limit", o->time);
        return error_hint(e, "for example 90 (minutes), 4:00:00 or 1-12 (a day and 12 hours)");
    }
    for (size_t i = 0; i < o->sbatch.count; i++) {
        if (strncmp(o->sbatch.items[i], "--", 2) == 0) continue;
        error_set_code(e, ERROR_USAGE, "--sbatch '%s' is no option of sbatch", o->sbatch.items[i]);
        return error_hint(e, "for example --sbatch=--gres=gpu:8");
    }
    return 0;
}

/* A directive ends with its line: a value with more lines would be commands of the script. */
static int check_lines(const struct submit_options *o, const char *run_dir, struct error *e)
{
    const struct {
        const char *name, *value;
    } values[] = {{"the run folder", run_dir}, {"--time", o->time}, {"--partition", o->partition}};
    for (size_t i = 0; i < ARRAY_LEN(values); i++)
        if (values[i].value && strpbrk(values[i].value, "\r\n"))
            return error_set_code(e, ERROR_USAGE, ENDS_A_LINE, values[i].name);
    for (size_t i = 0; i < o->sbatch.count; i++)
        if (strpbrk(o->sbatch.items[i], "\r\n"))
            return error_set_code(e, ERROR_USAGE, ENDS_A_LINE, "--sbatch");
    return 0;
}

static int write_script(const struct submit_options *o, const char *run_file, const char *run_dir,
                        struct str *out, struct error *e)
{
    char here[PATH_MAX];
    TRY(check_lines(o, run_dir, e));
    TRY(check_values(o, e));
    if (!getcwd(here, sizeof(here))) return error_errno(e, "find", "the current folder");
    str_puts(out, "#!/bin/sh\n");
    put_directive(out, "job-name", "colossus-", file_base_name(run_dir), "");
    put_directive(out, "output", "", run_dir, "/slurm-%j.out");
    str_printf(out,
               "#SBATCH --nodes=%lld\n"
               "#SBATCH --ntasks-per-node=%lld\n"
               "#SBATCH --no-kill\n"
               "#SBATCH --requeue\n"
               "#SBATCH --open-mode=append\n"
               "#SBATCH --signal=B:USR1@120\n",
               (long long)o->nodes, (long long)o->per_node);
    if (o->time) put_directive(out, "time", "", o->time, "");
    if (o->partition) put_directive(out, "partition", "", o->partition, "");
    for (size_t i = 0; i < o->sbatch.count; i++)
        str_printf(out, "#SBATCH %s\n", o->sbatch.items[i]);
    str_puts(out, "cd ");
    str_put_word(out, here);
    str_puts(out, " || exit 1\n");
    return write_command(o, run_file, out, e);
}

static int hand_over(const char *run_dir, const struct str *script, struct arena *a,
                     struct error *e)
{
    const char *sbatch = cmd_find_program("sbatch", a);
    const char *path = file_join(a, run_dir, "job.sh");
    if (!sbatch) {
        error_set(e, "there is no sbatch here");
        return error_hint(e, "colossus doctor slurm; --dry-run prints the script");
    }
    TRY(file_make_dirs(run_dir, e));
    TRY(file_write(path, script->data, script->len, e));
    const char *argv[] = {sbatch, path, NULL};
    struct str said = {0};
    int rc = cmd_capture(argv, &said, e);
    if (rc == 0) fputs(said.data, stdout);
    if (rc > 0) rc = error_set(e, "sbatch refused '%s': %.300s", path, said.data);
    str_fini(&said);
    return rc;
}

static int submit(const struct option_line *l, void *options, struct error *e)
{
    const struct submit_options *o = options;
    struct train_run_file f;
    struct str script = {0};
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one RUN.yaml is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus submit --help'");
    }
    if (o->spares >= o->nodes) {
        error_set_code(e, ERROR_USAGE, "of %lld nodes %lld cannot be spare", (long long)o->nodes,
                       (long long)o->spares);
        return error_hint(e, "--nodes %lld", (long long)o->spares + 1);
    }
    const struct train_run_text from = {
        .path = l->rest[0], .overrides = o->set.items, .n_overrides = o->set.count};
    TRY(train_config_load(&from, &f, e));
    const char *run_dir = train_run_dir(&f, o->run_dir, l->arena);
    int rc = cmd_check_layout(&f.config, (o->nodes - o->spares) * o->per_node, e);
    if (rc >= 0) rc = write_script(o, l->rest[0], run_dir, &script, e);
    if (rc >= 0 && o->dry_run) fputs(script.data, stdout);
    if (rc >= 0 && !o->dry_run) rc = hand_over(run_dir, &script, l->arena, e);
    str_fini(&script);
    train_config_free(&f);
    return rc;
}

int cmd_submit(int argc, char **argv)
{
    return cmd_run(&cmd_submit_table, argc, argv, sizeof(struct submit_options), submit);
}
