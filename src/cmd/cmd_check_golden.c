/* cmd_check_golden.c: `colossus check-golden DIR`: model and training against the reference, by this
 * process or by ranks that it starts. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"
#include "train/train.h"

#include <string.h>

static const char *const PRECISIONS[] = {"fp32", "bf16", NULL};

struct check_golden_options {
    int precision, backend;
    int64_t threads, ranks;
    const char *layout;
    bool json;
};

#define AT(field) offsetof(struct check_golden_options, field)
static const struct option rows[] = {
    CMD_CHOICE("precision", 'p', precision, "fp32", PRECISIONS,
               "number format of activations and weights; the bounds of bf16 allow for its 8-bit "
               "mantissa"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
    CMD_INT("ranks", 'n', ranks, NULL, "0", 0, TRAIN_GOLDEN_RANKS_MAX,
            "how many ranks compute together, started with the launcher of an MPI; 0: as many as "
            "the layout has"),
    CMD_TEXT("layout", 'l', layout, "KEY=N,...", NULL,
             "how they share the work: values of cluster.dp, tp, pp, ep and zero, as tp=2,zero=1"),
    CMD_FLAG("json", 0, json, "one JSON object per folder"),
};
#undef AT

const struct option_table cmd_check_golden_table = {
    "check-golden",
    "DIR... [options]",
    "compare with numbers of the reference",
    "DIR holds config.json, weights, batch and expected.safetensors as written by\n"
    "tests/golden/grok_reference.py, or is the name of one that travels with the program, in\n"
    "presets/golden. Logits, losses, every gradient, the loss curve, the weights after the\n"
    "optimiser's steps and a greedy continuation are compared; exit code 1 where an error exceeds\n"
    "its bound. With --ranks or --layout the ranks are started here, unless this runs under a\n"
    "launcher already.\n\n"
    "  colossus check-golden grok-2-small many-experts\n"
    "  colossus check-golden grok-2-small --precision bf16\n"
    "  colossus check-golden layouts-tied --layout dp=2,zero=2",
    rows,
    ARRAY_LEN(rows)};

/* The ranks that are asked for, or 1; an error where the two options contradict each other. */
static int count_ranks(const struct check_golden_options *o, struct error *e)
{
    if (!o->layout) return (int)MAX(o->ranks, 1);
    return train_layout_ranks(o->layout, (int)o->ranks, e);
}

static const char *find_folder(const struct option_line *l, int i)
{
    const char *preset = preset_find_file(l->arena, "golden", l->rest[i]);
    return preset && !file_exists(l->rest[i]) ? preset : l->rest[i];
}

/* The same command once more, as the ranks of a job, where all folders can be compared by them. */
static int start_ranks(const struct option_line *l, const struct check_golden_options *o, int ranks,
                       struct error *e)
{
    size_t n = 0;
    for (int i = 0; i < l->n_rest; i++)
        TRY(train_golden_check_layout(find_folder(l, i), o->layout, ranks, e));
    const char **arguments = arena_alloc(l->arena, ((size_t)l->n_rest + 16) * sizeof(*arguments));
    arguments[n++] = "check-golden";
    arguments[n++] = "--precision";
    arguments[n++] = PRECISIONS[o->precision];
    arguments[n++] = "--backend";
    arguments[n++] = cmd_backends[o->backend];
    arguments[n++] = "--threads";
    arguments[n++] = arena_printf(l->arena, "%lld", (long long)o->threads);
    arguments[n++] = "--layout";
    arguments[n++] = o->layout ? o->layout : arena_printf(l->arena, "dp=%d", ranks);
    if (o->json) arguments[n++] = "--json";
    arguments[n++] = "--";
    for (int i = 0; i < l->n_rest; i++)
        arguments[n++] = l->rest[i];
    return cmd_start_ranks(ranks, arguments, e); /* NULL behind them: the arena's are zeros */
}

/* Every folder is looked at, and the first failure's code is what counts. */
static int check_folders(const struct option_line *l, const struct check_golden_options *o,
                         cluster_t *c, struct error *e)
{
    struct train_golden_options g = {.dtype = o->precision ? COMPUTE_BF16 : COMPUTE_F32,
                                     .backend = (enum compute_backend)o->backend,
                                     .threads = (int)o->threads,
                                     .json = o->json,
                                     .layout = o->layout,
                                     .cluster = c};
    int rc = 0;
    for (int i = 0; i < l->n_rest; i++) {
        struct error failure = {0};
        int failed = train_check_golden(find_folder(l, i), &g, stdout, &failure);
        if (failed >= 0) continue;
        /* Behind the folder's own table; all ranks have the same to say. */
        if (cluster_rank(c) == 0 || cluster_is_lost(c)) cmd_fail(l->table->command, &failure);
        rc = rc < 0 ? rc : failed;
    }
    e->code = rc;
    return rc;
}

static int check_all(const struct option_line *l, void *options, struct error *e)
{
    const struct check_golden_options *o = options;
    struct cluster_launch launch;
    cluster_t *c = NULL;
    if (l->n_rest < 1) {
        error_set_code(e, ERROR_USAGE, "the folder of golden numbers is needed");
        return error_hint(e, "colossus check-golden grok-2-small");
    }
    int ranks = count_ranks(o, e);
    TRY(ranks);
    cluster_find_launch(&launch);
    if (launch.size == 1 && ranks > 1) return start_ranks(l, o, ranks, e);
    TRY(cluster_open(NULL, &c, e));
    int rc = check_folders(l, o, c, e);
    if (cluster_is_lost(c)) cluster_abort(c, 1);
    cluster_close(c);
    return rc;
}

int cmd_check_golden(int argc, char **argv)
{
    return cmd_run(&cmd_check_golden_table, argc, argv, sizeof(struct check_golden_options),
                   check_all);
}
