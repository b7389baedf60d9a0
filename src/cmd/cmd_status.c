/* cmd_status.c: `colossus status RUN` and `colossus why RUN`: what became of a run. */
#include "cmd/cmd.h"
#include "train/train.h"

struct status_options {
    bool json;
};

#define AT(field) offsetof(struct status_options, field)
static const struct option rows[] = {CMD_FLAG("json", 'j', json, "as one JSON object")};
#undef AT

const struct option_table cmd_status_table = {
    "status",
    "RUN [options]",
    "how far a run is, and where its time went",
    "RUN is a run folder. Goodput is the time of steps that count over all time since the run "
    "began;\n"
    "the rest is told by cause. A run without a launcher has none of the causes that only one can\n"
    "see: they are `other`.\n\n"
    "  colossus status runs/fortunes\n"
    "  colossus status runs/fortunes --json",
    rows,
    ARRAY_LEN(rows)};

const struct option_table cmd_why_table = {"why",
                                           "RUN [options]",
                                           "which rank was lost, where, in what, and what was done",
                                           "RUN is a run folder. One entry for each loss that "
                                           "`colossus launch` has seen: the rank, its node,\n"
                                           "the operation that it was in, who waited for it, and "
                                           "what the restart has cost; at the end why\n"
                                           "the run ended.\n\n"
                                           "  colossus why runs/fortunes",
                                           rows,
                                           ARRAY_LEN(rows)};

typedef void print_fn(const struct train_status *s, FILE *out);
typedef void json_fn(const struct train_status *s, struct json_writer *w);

static int show(const struct option_line *l, const struct status_options *o, print_fn *print,
                json_fn *json, struct error *e)
{
    struct train_status s;
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one run folder is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus %s --help'", l->table->command);
    }
    TRY(train_status_read(l->rest[0], l->arena, &s, e));
    if (o->json) {
        struct cmd_json j;
        json(&s, cmd_json_begin(&j));
        cmd_json_end(&j, true);
    } else {
        print(&s, stdout);
    }
    train_status_free(&s);
    return 0;
}

static int status(const struct option_line *l, void *options, struct error *e)
{
    return show(l, options, train_status_print, train_status_json, e);
}

static int why(const struct option_line *l, void *options, struct error *e)
{
    return show(l, options, train_why_print, train_why_json, e);
}

int cmd_status(int argc, char **argv)
{
    return cmd_run(&cmd_status_table, argc, argv, sizeof(struct status_options), status);
}

int cmd_why(int argc, char **argv)
{
    return cmd_run(&cmd_why_table, argc, argv, sizeof(struct status_options), why);
}
