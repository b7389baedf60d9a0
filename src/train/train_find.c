/* train_find.c: from a path to the files of a model: a run, a checkpoint, or an exported folder.
 *
 * A run's newest checkpoint that verifies is taken, and those passed over are named: a model must
 * not be loaded from half of a file. */
#include "train/checkpoint/train_checkpoint_manifest_internal.h"
#include "train/train_internal.h"

#include <inttypes.h>
#include <string.h>

/* The first of the names that exists in dir, or NULL. */
static char *first_file(const char *dir, const char *const *names, size_t n, struct arena *a)
{
    for (size_t i = 0; i < n; i++) {
        char *path = file_join(a, dir, names[i]);
        if (file_exists(path)) return path;
    }
    return NULL;
}

/* Of weights that several ranks have written, the name that stands for all parts. */
static char *first_weights(const char *dir, const char *const *names, size_t n, struct arena *a)
{
    for (size_t i = 0; i < n; i++) {
        char *path = file_join(a, dir, names[i]);
        if (safetensors_set_exists(path)) return path;
    }
    return NULL;
}

/* A tokenizer of a checkpoint has whatever name the dataset kept it under. */
static char *any_tokenizer(const char *dir, struct arena *a)
{
    char **names;
    size_t n;
    if (file_list_dir(dir, a, &names, &n, NULL) < 0) return NULL;
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], "tokenizer", 9) == 0) return file_join(a, dir, names[i]);
    }
    return NULL;
}

/* The names are those of checkpoints and of exported models; the first that exists counts. */
static int find_in_folder(const char *dir, struct arena *a, struct train_model_paths *out,
                          struct error *e)
{
    static const char *const weights[] = {"weights.safetensors", "model.safetensors"};
    static const char *const tokenizers[] = {"tokenizer.json", "tokenizer.model",
                                             "tokenizer.tiktoken", "tokenizer.bin"};
    static const char *const configs[] = {"config.json"};
    out->config = first_file(dir, configs, 1, a);
    out->weights = first_weights(dir, weights, ARRAY_LEN(weights), a);
    out->tokenizer = first_file(dir, tokenizers, ARRAY_LEN(tokenizers), a);
    if (!out->tokenizer) out->tokenizer = any_tokenizer(dir, a);
    out->step = -1;
    if (out->config && out->weights) return 0;
    error_set(e, "'%s' is not a model: it has no %s", dir,
              out->config ? "weights.safetensors or model.safetensors" : "config.json");
    return error_hint(e, "name a run folder, a checkpoint in it, or a folder with config.json and "
                         "model.safetensors");
}

/* Newest first, and each is verified whole before its files are named. 1: found; 0: none is good;
 * *newest is the step looked at first, -1 where there is none. */
static int find_newest(const char *run_dir, struct arena *a, int64_t *newest,
                       struct train_model_paths *out, struct error *e)
{
    int64_t *steps;
    size_t n;
    TRY(ckpt_list(run_dir, a, &steps, &n, e));
    *newest = n ? steps[0] : -1;
    for (size_t i = 0; i < n; i++) {
        struct error why = {0};
        char *dir = ckpt_step_path(a, ckpt_root_path(a, run_dir), steps[i]);
        if (ckpt_verify(dir, &why) < 0) {
            if (!file_exists(dir)) continue;
            log_warn("checkpoint of step %" PRId64 " is not used: %s", steps[i], why.text);
            continue;
        }
        TRY(find_in_folder(dir, a, out, e));
        out->step = steps[i];
        return 1;
    }
    return 0;
}

/* A training that goes on may write a new checkpoint and remove those that were listed before they
 * are read: while there is a newer one, look again. A listing may even miss both the one that is
 * being removed and the one that has just got its name, so one look is not believed. */
static int find_in_run(const char *run_dir, struct arena *a, struct train_model_paths *out,
                       struct error *e)
{
    int64_t newest = -1, before;
    int tries = 0;
    do {
        before = newest;
        int rc = find_newest(run_dir, a, &newest, out, e);
        if (rc != 0) return MIN(rc, 0);
    } while (++tries < 3 || (newest != before && tries < 10));
    if (newest >= 0 && ckpt_find_good(run_dir, &newest, e) < 0) return -1;
    error_set(e, "the run '%s' has no checkpoint", run_dir);
    return error_hint(e, "train it first: colossus train %s/run.yaml", run_dir);
}

int train_find_model(const char *path, struct arena *a, struct train_model_paths *out,
                     struct error *e)
{
    memset(out, 0, sizeof(*out));
    if (!file_exists(path)) {
        error_set(e, "there is no '%s'", path);
        return error_hint(e, "name a run folder, a checkpoint, or a folder with a model");
    }
    if (!file_is_dir(path)) {
        error_set(e, "'%s' is a file, and neither a GGUF file nor the folder of a model", path);
        return error_hint(e,
                          "name a GGUF file, or the folder that holds config.json and the weights");
    }
    if (file_exists(file_join(a, path, "checkpoints"))) return find_in_run(path, a, out, e);
    TRY(find_in_folder(path, a, out, e));
    if (!file_exists(file_join(a, path, CKPT_MANIFEST))) return 0;
    out->step = ckpt_step_from_name(file_base_name(path));
    return ckpt_verify(path, e);
}
