/* cmd_plot.c: `colossus plot RUN`: the curves of a run, in the terminal and as SVG. */
#include "cmd/cmd.h"
#include "train/train.h"

struct plot_options {
    bool quiet;
};

static const struct option rows[] = {
    {"quiet", 'q', OPTION_BOOL, offsetof(struct plot_options, quiet), NULL, "false", 0, 0, NULL,
     "write the SVG files only"},
};

const struct option_table cmd_plot_table = {
    "plot",
    "RUN... [options]",
    "loss and throughput curves of a run",
    "RUN is a run folder, also of a run in progress; loss.svg and throughput.svg are written\n"
    "into it.\n\n"
    "  colossus plot runs/fortunes",
    rows,
    ARRAY_LEN(rows)};

static int plot(const struct option_line *l, void *options, struct error *e)
{
    const struct plot_options *o = options;
    if (l->n_rest < 1) {
        error_set_code(e, ERROR_USAGE, "the folder of a RUN is needed");
        return error_hint(e, "see 'colossus plot --help'");
    }
    for (int i = 0; i < l->n_rest; i++) {
        const char *run = l->rest[i];
        TRY(train_plot(run, o->quiet ? NULL : stdout, e));
        if (!o->quiet) printf("%s/loss.svg\n%s/throughput.svg\n", run, run);
    }
    return 0;
}

int cmd_plot(int argc, char **argv)
{
    return cmd_run(&cmd_plot_table, argc, argv, sizeof(struct plot_options), plot);
}
