/* cmd_model.c: opens the model that a command was given, or says what it takes. */
#include "cmd/cmd_model_internal.h"
#include "train/train.h"

enum { MODEL_TRIES = 10 };

/* Whether one of the files of a checkpoint, which a training that goes on may remove, is no more. */
static bool is_gone(const struct train_model_paths *p)
{
    return p->step >= 0 && (!file_exists(p->config) || !safetensors_set_exists(p->weights) ||
                            (p->tokenizer && !file_exists(p->tokenizer)));
}

int cmd_model_open(const char *path, struct arena *a, struct serve_options *so,
                   struct serve_model *m, struct error *e)
{
    const char *tokenizer = so->tokenizer;
    if (gguf_is(path)) { /* the file is all of it */
        so->config = so->weights = path;
        return serve_model_open(so, m, e);
    }
    for (int tries = 1;; tries++) {
        struct train_model_paths paths;
        struct error why = {0};
        TRY(train_find_model(path, a, &paths, e));
        so->config = paths.config;
        so->weights = paths.weights;
        so->tokenizer = tokenizer ? tokenizer : paths.tokenizer;
        int rc = serve_model_open(so, m, &why);
        if (rc < 0 && e) *e = why;
        if (rc == 0 || tries == MODEL_TRIES || !is_gone(&paths)) return rc;
        log_info("checkpoint of step %lld was removed while it was opened: looking for a newer one",
                 (long long)paths.step);
        if (e) *e = (struct error){0};
    }
}

int cmd_model_plan(const char *path, struct arena *a, const struct serve_options *so,
                   struct serve_texts texts, bool json, struct error *e)
{
    static const char *const heads[] = {"memory", "bytes"};
    struct train_model_paths paths;
    struct serve_options with = *so;
    struct serve_plan p;
    char text[32];
    with.config = path;
    if (!gguf_is(with.config)) {
        TRY(train_find_model(path, a, &paths, e));
        with.config = paths.config;
    }
    TRY(serve_model_plan(&with, texts, &p, e));
    const char *sequences = arena_printf(a, "keys and values, %lld x %lld tokens",
                                         (long long)texts.sequences, (long long)p.context);
    p.rows[p.n_rows++] = (struct model_memory){sequences, p.decoder_bytes};
    if (json) {
        json_t *table = json_array();
        for (size_t i = 0; i < p.n_rows; i++)
            json_array_append_new(table, json_pack("{s:s, s:I}", "what", p.rows[i].what, "bytes",
                                                   (json_int_t)p.rows[i].bytes));
        json_t *all = json_pack("{s:o, s:f, s:f}", "memory", table, "total", p.bytes, "parameters",
                                (double)model_config_total_params(&p.config));
        json_dumpf(all, stdout, JSON_INDENT(2));
        puts("");
        json_decref(all);
        return 0;
    }
    struct table *t = table_new(heads, 2, "lr");
    for (size_t i = 0; i < p.n_rows; i++)
        table_row(t, p.rows[i].what, format_bytes(text, (double)p.rows[i].bytes));
    table_rule(t);
    table_row(t, "total", format_bytes(text, p.bytes));
    table_row(t, "this machine", format_bytes(text, mem_limit_bytes()));
    table_print(t, stdout);
    table_free(t);
    return 0;
}
