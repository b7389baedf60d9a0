/* cmd_plot.c: `colossus plot RUN`: the curves of a run, or a step of its ranks, in the terminal and as
 * SVG. */
#include "cmd/cmd.h"
#include "train/train.h"

struct plot_options {
    bool quiet, timeline;
};

static const struct option rows[] = {
    {"quiet", 'q', OPTION_BOOL, offsetof(struct plot_options, quiet), NULL, "false", 0, 0, NULL,
     "write the SVG files only"},
    {"timeline", 't', OPTION_BOOL, offsetof(struct plot_options, timeline), NULL, "false", 0, 0,
     NULL, "the last recorded step of every rank with its communication, instead of the curves"},
};

const struct option_table cmd_plot_table = {
    "plot",
    "RUN... [options]",
    "loss and throughput curves of a run",
    "RUN is a run folder, also of a run in progress; loss.svg and throughput.svg are written\n"
    "into it. --timeline shows what every rank did in a step, its own work and its messages, in\n"
    "the terminal and as timeline.svg; a run records its third step and then every hundredth\n"
    "(log.timeline_every).\n\n"
    "  colossus plot runs/fortunes\n"
    "  colossus plot runs/fortunes --timeline",
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
        if (o->timeline) {
            TRY(train_plot_timeline(run, o->quiet ? NULL : stdout, e));
            if (!o->quiet) printf("%s/timeline.svg\n", run);
            continue;
        }
        TRY(train_plot(run, o->quiet ? NULL : stdout, e));
        if (!o->quiet) printf("%s/loss.svg\n%s/throughput.svg\n", run, run);
    }
    return 0;
}

int cmd_plot(int argc, char **argv)
{
    return cmd_run(&cmd_plot_table, argc, argv, sizeof(struct plot_options), plot);
}
