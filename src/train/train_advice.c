/* train_advice.c: the command by which a run that went wrong goes on. */
#include "train/train_internal.h"

#include <inttypes.h>
#include <string.h>

/* The command that goes on with this very run, with what was given by --set but `except`: the folder
 * is named, as a name given by --set may have led here. */
static const char *command_of(struct arena *a, const struct train_run_file *f, const char *dir,
                              const char *except)
{
    struct str line = {0}, value = {0};
    str_puts(&line, "colossus train ");
    str_put_word(&line, f->path);
    str_puts(&line, " --run-dir ");
    str_put_word(&line, dir);
    for (size_t i = 0; i < train_run_n_rows; i++) {
        const struct option *row = &train_run_rows[i];
        if (f->origins[i] != ORIGIN_FLAG || row->type == OPTION_CUSTOM) continue;
        if (strcmp(row->name, "name") == 0 || strcmp(row->name, "dir") == 0) continue;
        if (strcmp(row->name, except) == 0) continue;
        str_clear(&value);
        str_printf(&value, "%s=", row->name);
        options_get(row, &f->config, &value);
        str_puts(&line, " --set ");
        str_put_word(&line, value.data);
    }
    const char *text = arena_strdup(a, line.data);
    str_fini(&line);
    str_fini(&value);
    return text;
}

void train_advise(const struct train_run_file *f, const char *dir, int64_t good, struct error *e)
{
    struct arena a = {0};
    const struct train_config *c = &f->config;
    bool muon = c->optimizer == TRAIN_OPTIMIZER_MUON;
    const char *rate = muon ? "optimizer.muon_lr" : "optimizer.lr";
    const char *command = command_of(&a, f, dir, rate);
    const char *lower = arena_printf(&a, "--set %s=%g", rate, 0.3 * (muon ? c->muon_lr : c->lr));
    static const char *const advice =
        "a lower optimizer.lr, more schedule.warmup_tokens, or other data";
    if (good > 0)
        error_hint(e,
                   "%s; the last good checkpoint is of step %" PRId64
                   ", to go on from there: %s --go-back %" PRId64 " --allow-changes %s",
                   advice, good, command, good, lower);
    else
        error_hint(e, "%s; no checkpoint is from before that, to begin anew: %s --restart %s",
                   advice, command, lower);
    arena_fini(&a);
}
