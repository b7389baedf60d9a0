/* cmd_launch.c: `colossus launch RUN.yaml`: the ranks of a run, watched, and started again when one is
 * lost. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"
#include "train/train.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define IDLE_FIRST_S 600.0 /* for ranks of a launcher that was killed: they are saving */
#define IDLE_AGAIN_S 5.0   /* for ranks that were just left behind */

struct launch_options {
    struct option_list set;
    const char *run_dir, *inject, *address, *mpi;
    int64_t ranks, restarts, spares, per_node;
    const char *metrics_host;
    int64_t metrics;
    double silence_s, hang_s, start_s, straggler;
    bool allow_changes, dry_run, requeue;
};

#define AT(field) offsetof(struct launch_options, field)
static const struct option rows[] = {
    CMD_INT("ranks", 'n', ranks, NULL, "0", 0, CLUSTER_RANKS_MAX,
            "how many to start; 0: as many as the section cluster of the run file is of, or, in an "
            "allocation of Slurm, as its nodes hold"),
    CMD_INT("spares", 0, spares, "NODES", "0", 0, 65535,
            "in an allocation: of its nodes so many wait until another is lost"),
    CMD_INT("ranks-per-node", 0, per_node, NULL, "0", 0, 4096,
            "in an allocation; 0: as it was asked for"),
    CMD_LIST("set", 's', set, "KEY=VALUE",
             "override a key of the run file; may be given many times"),
    CMD_TEXT("run-dir", 'd', run_dir, NULL, NULL,
             "the run folder, instead of dir/name of the run file"),
    CMD_FLAG("allow-changes", 0, allow_changes, "as train's: continue although settings changed"),
    CMD_INT("restarts", 0, restarts, NULL, "3", 0, 1e6,
            "without progress, after which the run is given up (exit code 93)"),
    CMD_REAL("silence", 0, silence_s, "s", "5", 0.5, 86400,
             "a rank that sends nothing for so long stands still"),
    CMD_REAL("hang", 0, hang_s, "s", "15", 0.5, 86400,
             "an operation may take that long, or 8 times as long as any before it"),
    CMD_REAL("start", 0, start_s, "s", "600", 1, 86400, "time until the first step"),
    CMD_REAL("straggler", 0, straggler, "x", "-1", -1, 1000,
             "a rank whose own part of five steps in a row takes that many times the median is "
             "replaced; 0: never; -1: 3, but never where more ranks than CPUs are on this machine"),
    CMD_TEXT("inject", 0, inject, "FAULTS", NULL,
             "for tests: kill:rank=1@step=5 and the like, commas between; kill, hang, freeze, "
             "slow, flip"),
    CMD_TEXT("address", 0, address, "HOST", NULL,
             "where ranks of other nodes reach this one; without it, in an allocation, its name"),
    CMD_TEXT("mpi", 0, mpi, "NAME", NULL,
             "srun's --mpi; without it pmix or pmi2, whichever srun has and this program can load"),
    CMD_FLAG("requeue", 0, requeue,
             "in a job of Slurm: queue it again where its time is over, or no node is left"),
    CMD_INT("metrics", 0, metrics, "PORT", "-1", -1, 65535,
            "the run's figures for Prometheus at that port; 0: any that is free, -1: none"),
    CMD_TEXT("metrics-host", 0, metrics_host, "ADDRESS", "127.0.0.1", "where metrics are answered"),
    CMD_FLAG("dry-run", 0, dry_run, "print the command line of the ranks and stop"),
};
#undef AT

const struct option_table cmd_launch_table = {
    "launch",
    "RUN.yaml [options]",
    "train on many ranks, and go on when one is lost",
    "Starts the ranks of `colossus train RUN.yaml` with the MPI that is here, and watches them:\n"
    "each says ten times a second where it is. When one dies, hangs, stands still or is far\n"
    "slower than the others, its rank, node and operation are told, and all start again from the\n"
    "newest good state. In an allocation of Slurm srun starts them on its nodes, and the node of\n"
    "a lost rank is left out: a spare one takes its place, or the run goes on with fewer ranks.\n"
    "SIGTERM or ^C: the state is saved, exit code 75, and the same command goes on.\n"
    "What happened: `colossus why RUN`, `colossus status RUN`.\n\n"
    "  colossus launch fortunes --ranks 2 --set batch.global_batch=32 --dry-run",
    rows,
    ARRAY_LEN(rows)};

/* What every attempt needs to know. */
struct launch {
    const struct option_line *line;
    const struct launch_options *o;
    const struct train_run_file *file;
    const char *run_dir;
    struct cluster_allocation in; /* job NULL: this machine alone */
};

/* ------------------------------------------------------------------ the ranks' command line */

static int make_line(void *ctx, const struct cluster_attempt *at, struct arena *a,
                     const char ***argv, struct error *e)
{
    const struct launch *l = ctx;
    size_t n = 0;
    const char **words = arena_alloc(a, (2 * l->o->set.count + 8) * sizeof(*words));
    words[n++] = "train";
    words[n++] = l->line->rest[0];
    for (size_t i = 0; i < l->o->set.count; i++) {
        words[n++] = "--set";
        words[n++] = l->o->set.items[i];
    }
    if (l->o->run_dir) {
        words[n++] = "--run-dir";
        words[n++] = l->o->run_dir;
    }
    if (l->o->allow_changes) words[n++] = "--allow-changes";
    if (l->in.job) return cmd_srun_line(at, l->o->mpi, words, a, argv, e);
    return cmd_ranks_line(at->ranks, words, a, argv, e);
}

static bool can_have(void *ctx, int ranks)
{
    const struct launch *l = ctx;
    struct error e = {0};
    return cmd_check_layout(&l->file->config, ranks, &e) >= 0;
}

/* Those left behind are killed, or stand still on a node of their own and are told to leave as soon as
 * they do not: they are not waited for. */
static int settle(void *ctx, int attempt, struct error *e)
{
    const struct launch *l = ctx;
    double end_s = time_now_s() + (attempt == 1 ? IDLE_FIRST_S : IDLE_AGAIN_S);
    const struct timespec nap = {.tv_nsec = 50 * 1000 * 1000};
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1}; /* which launch keeps back */
    struct error busy = {0};
    sigset_t stops;
    bool told = false;
    int rc;
    sigemptyset(&stops);
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        sigaddset(&stops, numbers[i]);
    while ((rc = train_run_check_idle(l->run_dir, &busy)) < 0 && time_now_s() < end_s) {
        if (attempt == 1 && !told) log_info("ranks of an earlier launcher are ending; waiting");
        told = true;
        if (sigtimedwait(&stops, NULL, &nap) < 0) continue;
        error_set_code(e, ERROR_AGAIN,
                       "stopped while ranks of an earlier launcher were still ending");
        return error_hint(e, "the same command continues the run");
    }
    if (rc == 0 || attempt > 1) return 0;
    *e = busy;
    return rc;
}

/* ------------------------------------------------------------------ the command */

/* One launcher for a run; the kernel drops the lock with the process. */
static int lock_run(const char *run_dir, struct arena *a, int *fd, struct error *e)
{
    const char *path = file_join(a, run_dir, "launch.lock");
    TRY(file_make_dirs(run_dir, e));
    *fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (*fd < 0) return error_errno(e, "open", path);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return 0;
    error_set(e, "another launcher is at work on '%s'", run_dir);
    return error_hint(e, "colossus status %s", run_dir);
}

/* Of an allocation: its nodes without the spare ones, each with as many. */
static int64_t count_in_allocation(const struct launch *l, struct error *e)
{
    const struct launch_options *o = l->o;
    int64_t per_node = o->per_node > 0 ? o->per_node : l->in.tasks_per_node;
    if ((size_t)o->spares >= l->in.n_nodes) {
        error_set_code(e, ERROR_USAGE, "of the %zu nodes of the allocation %lld cannot be spare",
                       l->in.n_nodes, (long long)o->spares);
        return error_hint(e, "--spares %zu, or more nodes", l->in.n_nodes - 1);
    }
    int64_t nodes = (int64_t)l->in.n_nodes - o->spares;
    if (o->ranks == 0) return nodes * per_node;
    if (o->ranks % nodes == 0) return o->ranks;
    error_set_code(e, ERROR_USAGE, "--ranks %lld is no multiple of the %lld nodes that are used",
                   (long long)o->ranks, (long long)nodes);
    return error_hint(e, "--ranks %lld", (long long)(nodes * per_node));
}

static int64_t count_ranks(const struct launch *l, const struct train_config *c, struct error *e)
{
    const struct launch_options *o = l->o;
    if (l->in.job) return count_in_allocation(l, e);
    const char *of_slurm = o->spares > 0     ? "--spares"
                           : o->per_node > 0 ? "--ranks-per-node"
                           : o->mpi          ? "--mpi"
                                             : NULL;
    if (of_slurm) {
        error_set_code(e, ERROR_USAGE, "%s is for an allocation of Slurm", of_slurm);
        return error_hint(e, "colossus submit asks for one; here --ranks says how many to start");
    }
    if (o->ranks > 0) return o->ranks;
    if (c->dp > 0) return c->dp * c->tp * c->pp;
    error_set_code(e, ERROR_USAGE, "how many ranks is not said");
    return error_hint(e, "--ranks 4, or cluster.dp in the run file");
}

static int dry_run(struct launch *l, int ranks, struct error *e)
{
    const struct cluster_attempt at = {.number = 1,
                                       .ranks = ranks,
                                       .nodes = l->in.nodes,
                                       .n_nodes = l->in.n_nodes - (size_t)l->o->spares};
    const char **argv;
    TRY(make_line(l, &at, l->line->arena, &argv, e));
    struct str words = {0};
    for (size_t i = 0; argv[i]; i++) {
        if (i > 0) str_append_char(&words, ' ');
        str_put_word(&words, argv[i]);
    }
    printf("%s\nrun folder: %s\n", words.data, l->run_dir);
    str_fini(&words);
    return 0;
}

/* Ranks of other nodes must find it. */
static const char *own_address(const struct launch *l)
{
    char name[256] = "";
    if (l->o->address) return l->o->address;
    if (!l->in.job) return NULL;
    gethostname(name, sizeof(name) - 1);
    return arena_strdup(l->line->arena, name);
}

/* Whoever ends a job by hand does not want it again: Slurm then knows of no job that could be queued,
 * and says so. */
static void requeue(const struct launch *l, const struct error *why)
{
    const char *argv[] = {cmd_find_program("scontrol", l->line->arena), "requeue", l->in.job, NULL};
    struct str said = {0};
    struct error e = {0};
    if (strstr(why->text, strsignal(SIGTERM)) || strstr(why->text, strsignal(SIGINT))) return;
    int rc = argv[0] ? cmd_capture(argv, &said, &e) : error_set(&e, "there is no scontrol");
    if (rc != 0)
        log_warn("job %s is not queued again: %s", l->in.job, rc < 0 ? e.text : said.data);
    else
        log_info("job %s is queued again", l->in.job);
    str_fini(&said);
}

/* Ranks that take turns on a CPU say nothing by their time. */
static double straggler_of(const struct launch *l, int ranks)
{
    bool share = !l->in.job && ranks > cluster_host_cpus();
    if (l->o->straggler >= 0) return l->o->straggler;
    return share ? 0 : 3;
}

/* *faults: as many as the supervisor takes. */
static int read_faults(const struct launch *l, int ranks, struct cluster_fault *faults, size_t *n,
                       struct error *e)
{
    const struct train_config *c = &l->file->config;
    int64_t steps = train_config_total_steps(c, 0, 0);
    *n = 0;
    if (l->o->inject) TRY(cluster_faults_parse(l->o->inject, faults, n, e));
    for (size_t i = 0; i < *n; i++) {
        if (faults[i].rank >= ranks)
            return error_set_code(e, ERROR_USAGE, "--inject: there is no rank %d of %d",
                                  faults[i].rank, ranks);
        if (faults[i].step > steps)
            log_warn("--inject: step %lld never comes, the run has %lld", (long long)faults[i].step,
                     (long long)steps);
        if (faults[i].kind == CLUSTER_FAULT_FLIP && c->check_every == 0)
            log_warn("--inject flip: nobody looks for it, and the weights will be wrong: "
                     "cluster.check_every is 0");
    }
    return 0;
}

/* Of a run that has nothing left to do the ranks only tell the figures. Before this process locks it: a
 * run that is locked is at work. */
static bool is_over(const struct launch *l)
{
    struct train_status s;
    if (train_status_read(l->run_dir, l->line->arena, &s, NULL) < 0) return false;
    int64_t steps = train_config_total_steps(&l->file->config, s.step, s.tokens);
    bool over = s.state == TRAIN_STATE_FINISHED && s.step >= steps;
    train_status_free(&s);
    return over;
}

static int start(struct launch *l, int64_t wanted, struct error *e)
{
    const struct launch_options *o = l->o;
    struct cluster_fault faults[CLUSTER_FAULTS_MAX];
    size_t n_faults;
    int ranks = (int)MIN(wanted, CLUSTER_RANKS_MAX), lock;
    TRY(read_faults(l, ranks, faults, &n_faults, e));
    TRY(cmd_check_layout(&l->file->config, wanted, e));
    int local = l->in.job ? ranks / (int)(l->in.n_nodes - (size_t)o->spares) : ranks;
    TRY(cmd_check_choice(&l->file->config, ranks, local, e));
    if (o->dry_run) return dry_run(l, ranks, e);
    bool over = is_over(l);
    TRY(lock_run(l->run_dir, l->line->arena, &lock, e));
    const struct cluster_supervisor s = {.ranks = ranks,
                                         .host = own_address(l),
                                         .nodes = l->in.nodes,
                                         .n_nodes = l->in.n_nodes,
                                         .n_spares = (size_t)o->spares,
                                         .events =
                                             file_join(l->line->arena, l->run_dir, "events.jsonl"),
                                         .is_over = over,
                                         .faults = faults,
                                         .n_faults = n_faults,
                                         .silence_s = o->silence_s,
                                         .hang_s = o->hang_s,
                                         .start_s = o->start_s,
                                         .slow_times = straggler_of(l, ranks),
                                         .restarts = (int)o->restarts,
                                         .command = make_line,
                                         .can_have = can_have,
                                         .settle = settle,
                                         .ctx = l};
    struct cmd_metrics *metrics = NULL;
    int rc = 0;
    if (o->metrics >= 0)
        rc = cmd_metrics_open(l->run_dir, o->metrics_host, (int)o->metrics, &metrics, e);
    if (rc >= 0) rc = cluster_supervise(&s, e);
    cmd_metrics_close(metrics);
    close(lock);
    if (rc == ERROR_AGAIN && o->requeue && l->in.job) requeue(l, e);
    return rc;
}

static int launch(const struct option_line *l, void *options, struct error *e)
{
    const struct launch_options *o = options;
    struct train_run_file f;
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one RUN.yaml is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus launch --help'");
    }
    const struct train_run_text from = {
        .path = l->rest[0], .overrides = o->set.items, .n_overrides = o->set.count};
    TRY(train_config_load(&from, &f, e));
    struct launch whole = {.line = l, .o = o, .file = &f};
    whole.run_dir = train_run_dir(&f, o->run_dir, l->arena);
    signal(SIGPIPE, SIG_IGN);
    int rc = cluster_find_allocation(&whole.in, l->arena, e);
    int64_t ranks = rc < 0 ? rc : count_ranks(&whole, &f.config, e);
    rc = ranks < 0 ? (int)ranks : start(&whole, ranks, e);
    train_config_free(&f);
    return rc;
}

int cmd_launch(int argc, char **argv)
{
    return cmd_run(&cmd_launch_table, argc, argv, sizeof(struct launch_options), launch);
}
