/* cmd_check_golden.c: `colossus check-golden DIR`: model and training against the reference. */
#include "cmd/cmd.h"
#include "train/train.h"

static const char *const PRECISIONS[] = {"fp32", "bf16", NULL};

struct check_golden_options {
    int precision, backend;
    int64_t threads;
    bool json;
};

#define AT(field) offsetof(struct check_golden_options, field)
static const struct option rows[] = {
    CMD_CHOICE("precision", 'p', precision, "fp32", PRECISIONS,
               "number format of activations and weights; the bounds of bf16 allow for its 8-bit "
               "mantissa"),
    CMD_CHOICE("backend", 0, backend, "auto", cmd_backends, "kernels to use"),
    CMD_INT("threads", 0, threads, NULL, "0", 0, 1024, "how many to use; 0: one per processor"),
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
    "its bound.\n\n"
    "  colossus check-golden grok-2-small many-experts\n"
    "  colossus check-golden grok-2-small --precision bf16",
    rows,
    ARRAY_LEN(rows)};

/* Every folder is looked at, and the first failure's code is what counts. */
static int check_all(const struct option_line *l, void *options, struct error *e)
{
    const struct check_golden_options *o = options;
    struct train_golden_options g = {.dtype = o->precision ? COMPUTE_BF16 : COMPUTE_F32,
                                     .backend = (enum compute_backend)o->backend,
                                     .threads = (int)o->threads,
                                     .json = o->json};
    int rc = 0;
    if (l->n_rest < 1) {
        error_set_code(e, ERROR_USAGE, "the folder of golden numbers is needed");
        return error_hint(e, "colossus check-golden grok-2-small");
    }
    for (int i = 0; i < l->n_rest; i++) {
        struct error failure = {0};
        const char *preset = preset_find_file(l->arena, "golden", l->rest[i]);
        const char *dir = preset && !file_exists(l->rest[i]) ? preset : l->rest[i];
        int failed = train_check_golden(dir, &g, stdout, &failure);
        if (failed >= 0) continue;
        cmd_fail(l->table->command, &failure); /* behind the folder's own table */
        rc = rc < 0 ? rc : failed;
    }
    e->code = rc;
    return rc;
}

int cmd_check_golden(int argc, char **argv)
{
    return cmd_run(&cmd_check_golden_table, argc, argv, sizeof(struct check_golden_options),
                   check_all);
}
