/* cmd_model.c: opens the model that a command was given. */
#include "cmd/cmd_model_internal.h"
#include "train/train.h"

enum { MODEL_TRIES = 10 };

/* Whether one of the model's files is no more. */
static bool is_gone(const struct serve_options *so)
{
    return !file_exists(so->config) || !file_exists(so->weights) ||
           (so->tokenizer && !file_exists(so->tokenizer));
}

int cmd_model_open(const char *path, struct arena *a, struct serve_options *so,
                   struct serve_model *m, struct error *e)
{
    const char *tokenizer = so->tokenizer;
    for (int tries = 1;; tries++) {
        struct train_model_paths paths;
        struct error why = {0};
        TRY(train_find_model(path, a, &paths, e));
        so->config = paths.config;
        so->weights = paths.weights;
        so->tokenizer = tokenizer ? tokenizer : paths.tokenizer;
        int rc = serve_model_open(so, m, &why);
        if (rc < 0 && e) *e = why;
        if (rc == 0 || tries == MODEL_TRIES || !is_gone(so)) return rc;
        log_info("checkpoint of step %lld was removed while it was opened: looking for a newer one",
                 (long long)paths.step);
        if (e) *e = (struct error){0};
    }
}
