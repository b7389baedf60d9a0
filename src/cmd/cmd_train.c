/* cmd_train.c: `colossus train RUN.yaml`: trains a model, or says what that would take. */
#include "cmd/cmd.h"
#include "train/train.h"

#include <signal.h>
#include <string.h>

struct train_cmd_options {
    struct option_list set;
    const char *run_dir;
    int64_t go_back;
    bool plan, dry_run, json, resume, restart, allow_changes, keys;
};

#define AT(field) offsetof(struct train_cmd_options, field)
static const struct option rows[] = {
    CMD_LIST("set", 's', set, "KEY=VALUE",
             "override a key of the run file; may be given many times"),
    CMD_TEXT("run-dir", 'd', run_dir, NULL, NULL,
             "the run folder, instead of dir/name of the run file"),
    CMD_FLAG_ON("resume", 0, resume,
                "continue the run if its folder exists; --no-resume: refuse to"),
    CMD_FLAG("restart", 0, restart,
             "begin anew; a run folder that exists is kept under another name"),
    CMD_INT("go-back", 0, go_back, "STEP", "0", 0, 1e12,
            "continue from the checkpoint of that step; newer ones are deleted; 0: the newest"),
    CMD_FLAG("allow-changes", 0, allow_changes,
             "continue although settings have changed; data, model and optimiser may not"),
    CMD_FLAG("plan", 0, plan, "print what the run is and the memory it takes, and stop"),
    CMD_FLAG("dry-run", 'n', dry_run,
             "check run file, data and run folder, say what would be done, write nothing"),
    CMD_FLAG("json", 0, json,
             "print plan or summary as JSON on standard output, log lines on standard error"),
    CMD_FLAG("keys", 0, keys,
             "print every key of a run file with type, default and meaning, as Markdown"),
};
#undef AT

const struct option_table cmd_train_table = {
    "train",
    "RUN.yaml [options]",
    "train a model as a run file says",
    "RUN.yaml is a file, or the name of one of presets/runs. Its data is a dataset, as made by\n"
    "`colossus data tokenize`: see the examples of `colossus help data`.\n"
    "The run folder gets run.yaml (the effective configuration and where each value came from),\n"
    "metrics.jsonl, events.jsonl, checkpoints/ and, at the end, loss.svg and throughput.svg.\n"
    "The same command continues a run that was stopped. SIGTERM, SIGHUP or ^C: the step in\n"
    "progress is finished and saved, exit code 75; a second ^C ends it at once, unsaved.\n\n"
    "  colossus train fortunes --plan\n"
    "  colossus train fortunes --set train.tokens=70k\n"
    "  colossus train fortunes --set optimizer.lr=0.001 --set name=slower --dry-run",
    rows,
    ARRAY_LEN(rows)};

/* Of many ranks the error is said before they part: a launcher ends them all as soon as one has gone
 * with a code other than 0. Where ranks are lost, it is the only way to tell the others. */
static int leave(cluster_t *c, cluster_watch_t *w, int rc, struct error *e)
{
    if (rc < 0 && cluster_size(c) > 1 && e->text[0]) {
        cmd_fail("train", e);
        e->text[0] = '\0';
    }
    cluster_watch_close(w, cmd_exit_code(rc));
    if (cluster_is_lost(c)) cluster_abort(c, 1);
    cluster_close(c);
    return rc;
}

/* The page docs/reference/run-file.md: made from the rows that read a run file. */
static void print_keys(void)
{
    puts(
        "# Keys of a run file\n\n"
        "Made by `colossus train --keys` from the table that reads them. `section.key` stands for\n"
        "`key:` under `section:`. Numbers take k, M, B or G, T (1000s) and Ki, Mi, Gi (1024s).\n");
    options_print_markdown(train_run_rows, train_run_n_rows, stdout);
}

static int train(const struct option_line *l, void *options, struct error *e)
{
    const struct train_cmd_options *o = options;
    struct train_run_file f;
    if (o->keys) {
        print_keys();
        return 0;
    }
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one RUN.yaml is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus train --help'");
    }
    if (o->run_dir && !*o->run_dir) {
        error_set_code(e, ERROR_USAGE, "'--run-dir' is empty");
        return error_hint(e, "name a folder, or leave it out for dir/name of the run file");
    }
    if (o->restart && (!o->resume || o->go_back > 0)) {
        error_set_code(e, ERROR_USAGE, "--restart and %s exclude each other",
                       o->resume ? "--go-back" : "--no-resume");
        return error_hint(e, "--restart begins anew, --go-back continues");
    }
    /* Who reads the lines may go; the run stays. Not put back, as the last lines are still to be
     * flushed when the run has ended. */
    if (!o->plan && !o->dry_run) {
        signal(SIGPIPE, SIG_IGN);
        train_signals_expect();
    }
    const struct train_run_text from = {
        .path = l->rest[0], .overrides = o->set.items, .n_overrides = o->set.count};
    cluster_t *c = NULL;
    cluster_watch_t *w = NULL;
    TRY(cluster_watch_open(&w, e));
    int rc = cluster_open(NULL, &c, e);
    if (rc < 0) {
        cluster_watch_close(w, cmd_exit_code(rc));
        return rc;
    }
    cluster_watch_join(w, c);
    int loaded = train_config_load(&from, &f, e);
    if (loaded < 0) {
        if (cluster_rank(c) > 0) e->text[0] = '\0'; /* every rank has read the same file */
        return leave(c, w, loaded, e);
    }
    struct train_options t = {.no_resume = !o->resume,
                              .restart = o->restart,
                              .go_back = o->go_back,
                              .allow_changes = o->allow_changes,
                              .plan_only = o->plan,
                              .dry_run = o->dry_run,
                              .json = o->json,
                              .run_dir = o->run_dir,
                              .cluster = c,
                              .watch = w};
    rc = f.config.layout == TRAIN_LAYOUT_AUTO ? cmd_choose_layout(&f, c, e) : 0;
    if (rc >= 0) rc = train_run(&f, &t, e);
    train_config_free(&f);
    return leave(c, w, rc, e);
}

int cmd_train(int argc, char **argv)
{
    return cmd_run(&cmd_train_table, argc, argv, sizeof(struct train_cmd_options), train);
}
