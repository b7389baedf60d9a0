/* cmd_bench_machine.c: `colossus bench-machine`: what this machine does, as the accelerator `local`
 * that plans can name. */
#include "cmd/cmd.h"
#include "compute/compute.h"
#include "plan/plan.h"

#include <string.h>

static const char *const PRECISIONS[] = {"auto", "fp32", "bf16", "both", NULL};
enum { PRECISION_AUTO, PRECISION_FP32, PRECISION_BF16, PRECISION_BOTH };

struct bench_options {
    const char *out;
    int64_t threads, rounds;
    int precision;
    bool json, dry_run;
};

#define AT(field) offsetof(struct bench_options, field)
static const struct option rows[] = {
    CMD_TEXT("out", 'o', out, "FILE.yaml", NULL,
             "where the accelerator is written; default: ~/.config/colossus/local.yaml"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "0: all processors"),
    CMD_INT("rounds", 0, rounds, NULL, "7", 1, 15,
            "how often everything is measured; medians count"),
    CMD_CHOICE("precision", 0, precision, "auto", PRECISIONS,
               "number formats to measure; auto: fp32, and bf16 where it is fast here"),
    CMD_FLAG("json", 0, json, "print the rates as JSON"),
    CMD_FLAG("dry-run", 'n', dry_run, "measure and print, write nothing"),
};
#undef AT

const struct option_table cmd_bench_machine_table = {
    "bench-machine",
    "[options]",
    "measure this machine, for plans",
    "Matrix products at several shapes, attention, the other operations of a training step and "
    "the\n"
    "bandwidth of memory; about a minute on two cores. Keep the machine quiet: a warning says\n"
    "where others used it meanwhile, or the repeats differ. Written are an accelerator called\n"
    "local, and the times of the operations beside it (.json).\n\n"
    "  colossus bench-machine\n"
    "  colossus plan runs/fortunes/run.yaml     # a run: its step on this machine\n"
    "  colossus plan laptop --accelerator local\n"
    "  colossus plan validate --local runs/fortunes",
    rows,
    ARRAY_LEN(rows)};

/* A number format is measured with buffers of its own, freed before the next. */
static int measure(const struct bench_options *o, enum compute_dtype dtype, struct pool *pool,
                   struct compute_machine *out, struct error *e)
{
    struct compute_options options = {.dtype = dtype, .pool = pool};
    compute_t *c;
    TRY(compute_new(&options, &c, e));
    int rc = compute_machine_measure(c, (int)o->rounds, true, out, e);
    compute_free(c);
    return rc;
}

static void print_machine(const struct compute_machine *m, bool json)
{
    static const char *const names[] = {"fp32", "bf16"};
    char peak[32], layer[32], copy[32];
    if (json) {
        printf("{\"dtype\": \"%s\", \"threads\": %d, \"peak_flops\": %.6g, "
               "\"linear_flops\": %.6g, \"copy_bytes_per_s\": %.6g}\n",
               names[m->dtype], m->threads, m->peak_flops, m->linear_flops, m->copy_bytes_per_s);
        return;
    }
    printf("%s  %d threads  products %s, best linear layer %s, copy %s\n", names[m->dtype],
           m->threads, format_si(peak, m->peak_flops, "FLOP/s"),
           format_si(layer, m->linear_flops, "FLOP/s"),
           format_si(copy, m->copy_bytes_per_s, "B/s"));
}

static int bench(const struct bench_options *o, struct arena *a, struct error *e)
{
    struct compute_machine machines[2];
    size_t n = 0;
    int rc = 0;
    bool fp32 = o->precision != PRECISION_BF16;
    bool bf16 = o->precision >= PRECISION_BF16 ||
                (o->precision == PRECISION_AUTO && compute_has_fast_bf16());
    const char *path = o->out ? o->out : plan_local_path(a);
    struct plan_busy busy;
    struct pool *pool = pool_new((int)o->threads);
    plan_busy_begin(&busy);
    if (fp32) rc = measure(o, COMPUTE_F32, pool, &machines[n++], e);
    if (rc == 0 && bf16) rc = measure(o, COMPUTE_BF16, pool, &machines[n++], e);
    pool_free(pool);
    if (rc < 0) return rc;
    plan_busy_end(&busy, machines, n);
    for (size_t i = 0; i < n; i++)
        print_machine(&machines[i], o->json);
    if (o->dry_run) return 0;
    TRY(plan_local_write(machines, n, path, e));
    if (!o->json) printf("%s\n", path);
    return 0;
}

static int run_bench(const struct option_line *l, void *options, struct error *e)
{
    if (l->n_rest > 0)
        return error_set_code(e, ERROR_USAGE, "'%s' is not expected here", l->rest[0]);
    return bench(options, l->arena, e);
}

int cmd_bench_machine(int argc, char **argv)
{
    return cmd_run(&cmd_bench_machine_table, argc, argv, sizeof(struct bench_options), run_bench);
}
