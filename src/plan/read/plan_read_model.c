/* plan_read_model.c: the model of a plan, and run files of `colossus train` as models.
 *
 * A model is described in one way (model.h), whether a preset, a run file or a plan says it. Of a
 * run file a plan reads the model, the batch and the number of tokens; whether its other keys are
 * right is for the training command to say. */
#include "plan/read/plan_read_internal.h"
#include "text/text.h"

#include <string.h>

#define ASSUMED_VOCAB 32768

/* A unit test holds these against the table of `colossus train`. */
const char *const plan_run_sections[PLAN_N_RUN_SECTIONS] = {
    "name",      "dir",      "data",    "model", "batch",      "train",
    "optimizer", "schedule", "balance", "log",   "checkpoint", "cluster"};

static const struct option run_batch_rows[] = {MODEL_BATCH_ROWS("", struct plan_run_batch)};
static const struct section run_batch_section =
    SECTION("batch", NULL, "the batch of a run file", run_batch_rows);

/* The vocabulary of the dataset that the run file names, 0 where it is not there yet. */
static int64_t dataset_vocab(const struct yaml_reader *r, const struct yaml_node *root)
{
    const struct yaml_node *path = yaml_get(yaml_get(root, "data"), "path");
    if (!path || path->kind != YAML_KIND_SCALAR || r->depth >= PRESET_MAX_DEPTH) return 0;
    return dataset_peek_vocab_size(path->text);
}

int plan_read_run_batch(const struct yaml_reader *r, const struct yaml_node *root,
                        struct plan_run_batch *out)
{
    const struct yaml_node *batch = yaml_get(root, "batch");
    section_defaults(&run_batch_section, out);
    if (batch && !yaml_is_null(batch))
        TRY(yaml_bind(r, &run_batch_section, batch, true, out, NULL));
    if (out->global_batch == 0) out->global_batch = out->micro_batch;
    return 0;
}

bool plan_is_run_file(const struct yaml_node *root)
{
    const struct yaml_node *model = yaml_get(root, "model");
    if (yaml_get(root, "data") || yaml_get(root, "train") || yaml_get(root, "optimizer"))
        return true;
    if (yaml_get(root, "cluster")) return false;
    return model && model->kind == YAML_KIND_MAP;
}

/* A misspelt section would else be one that is left out. */
static int check_sections(const struct yaml_reader *r, const struct yaml_node *root)
{
    for (size_t i = 0; i < root->count; i++) {
        const char *key = root->keys[i]->text;
        size_t k = 0;
        while (k < PLAN_N_RUN_SECTIONS && strcmp(key, plan_run_sections[k]) != 0)
            k++;
        if (k < PLAN_N_RUN_SECTIONS) continue;
        const char *near = name_nearest(key, plan_run_sections, PLAN_N_RUN_SECTIONS);
        yaml_wrong(r, root->keys[i], "unknown key '%.120s' in a run file", key);
        if (near) return error_hint(r->e, "did you mean '%s'?", near);
        return error_hint(r->e, "keys of a run file are in docs/reference/run-file.md");
    }
    return 0;
}

static bool has_batch(const struct yaml_node *root)
{
    return yaml_get(root, "batch") || yaml_get(root, "train") || yaml_get(root, "data");
}

/* "" where there is no such key. */
static const char *get_text(const struct yaml_node *root, const char *section, const char *key)
{
    const struct yaml_node *node = yaml_get(yaml_get(root, section), key);
    return node && node->kind == YAML_KIND_SCALAR ? node->text : "";
}

/* Of a key of `cluster`; dp 0 says nothing. */
static int64_t read_ranks(const struct yaml_node *root, const char *key)
{
    int64_t n = 1;
    (void)parse_int(get_text(root, "cluster", key), &n);
    return MAX(n, 1);
}

/* The defaults are those of `colossus train` (a unit test compares). */
static void read_run_beside(const struct yaml_reader *r, const struct yaml_node *root,
                            struct plan_run_beside *out)
{
    const char *precision = get_text(root, "train", "precision");
    const struct yaml_node *name = yaml_get(root, "name"), *dir = yaml_get(root, "dir");
    const char *folder = dir && dir->kind == YAML_KIND_SCALAR && *dir->text ? dir->text : "runs";
    const char *run = name && name->kind == YAML_KIND_SCALAR && *name->text
                          ? name->text
                          : preset_name_of_path(r->arena, r->path);
    out->precision = strcmp(precision, "fp32") == 0   ? MACHINE_FP32
                     : strcmp(precision, "bf16") == 0 ? MACHINE_BF16
                                                      : -1;
    (void)parse_int(get_text(root, "train", "threads"), &out->threads);
    out->dp = read_ranks(root, "dp");
    out->tp = read_ranks(root, "tp");
    out->pp = read_ranks(root, "pp");
    out->ep = read_ranks(root, "ep");
    out->parts = strcmp(get_text(root, "cluster", "zero"), "0") != 0;
    for (int i = 0; plan_recompute_names[i]; i++)
        if (strcmp(get_text(root, "train", "recompute"), plan_recompute_names[i]) == 0)
            out->recompute = i;
    if (strcmp(get_text(root, "optimizer", "kind"), "muon") == 0) {
        out->muon_steps = 5;
        (void)parse_int(get_text(root, "optimizer", "muon_steps"), &out->muon_steps);
    }
    out->folder = file_join(r->arena, folder, run);
}

/* What stands beside the model in a run file. */
static int read_beside(const struct yaml_reader *r, const struct yaml_node *root,
                       struct model_config *out, struct plan_model_extra *extra)
{
    const struct yaml_node *name = yaml_get(root, "name");
    const struct yaml_node *tokens = yaml_get(yaml_get(root, "train"), "tokens");
    struct plan_run_batch batch;
    const char *unit;
    TRY(plan_read_run_batch(r, root, &batch));
    read_run_beside(r, root, &extra->run);
    extra->run.micro_batch = batch.micro_batch;
    if (has_batch(root)) extra->batch = (struct plan_batch){batch.global_batch, batch.seq_len};
    if (tokens && tokens->kind == YAML_KIND_SCALAR)
        (void)unit_parse(tokens->text, UNIT_TOKENS, &extra->tokens, &unit);
    if (out->vocab_size == 0) out->vocab_size = dataset_vocab(r, root);
    if (out->vocab_size == 0) {
        out->vocab_size = ASSUMED_VOCAB;
        extra->note = arena_printf(
            r->arena, "the dataset of %s is not made yet: a vocabulary of %d is assumed", r->path,
            ASSUMED_VOCAB);
    }
    out->name = preset_name_of_path(r->arena, r->path);
    if (name && name->kind == YAML_KIND_SCALAR && name->text[0])
        out->name = arena_strdup(r->arena, name->text);
    out->source = arena_strdup(r->arena, r->path);
    return 0;
}

static int finish_model(const struct yaml_reader *r, const struct yaml_node *at,
                        struct model_config *out)
{
    const struct yaml_node *below = yaml_get(at, "model");
    const struct yaml_node *used =
        yaml_get(below && below->kind == YAML_KIND_MAP ? below : at, "n_experts_used");
    if (used && !model_is_moe(out) && out->n_experts_used > 1) {
        yaml_wrong(r, used, "'n_experts_used' is %lld, but the model has one expert",
                   (long long)out->n_experts_used);
        return error_hint(r->e, "n_experts: 8, or n_experts_used: 1");
    }
    const char *missing = model_config_missing(out);
    if (!missing && out->vocab_size == 0) missing = "vocab_size";
    if (missing) {
        yaml_wrong(r, at, "'%s' of a model is missing", missing);
        return error_hint(r->e, "for example n_layers: 32, d_model: 4096, n_heads: 32, ffn_hidden: "
                                "14336, n_experts: 1, vocab_size: 128256, or like: grok-1");
    }
    model_config_derive(out);
    return 0;
}

int plan_read_run_file(const struct yaml_reader *r, const struct yaml_node *root,
                       struct model_config *out, struct plan_model_extra *extra)
{
    memset(extra, 0, sizeof(*extra));
    TRY(check_sections(r, root));
    TRY(preset_read(r, &model_kind, root, out, NULL));
    TRY(read_beside(r, root, out, extra));
    return finish_model(r, root, out);
}

int plan_read_model(const struct yaml_reader *r, const struct yaml_node *node,
                    struct model_config *out, struct plan_model_extra *extra)
{
    struct yaml_reader child;
    struct yaml_node *root;
    memset(extra, 0, sizeof(*extra));
    if (node->kind == YAML_KIND_SCALAR) {
        TRY(preset_open(r, &model_section, node->text, node, &child, &root));
        return plan_read_model(&child, root, out, extra);
    }
    if (plan_is_run_file(node)) return plan_read_run_file(r, node, out, extra);
    TRY(preset_read(r, &model_kind, node, out, NULL));
    return finish_model(r, node, out);
}

int plan_load_model(const char *name, const char *from, struct arena *a, struct model_config *out,
                    struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(from, a, e, &local);
    struct yaml_reader child;
    struct yaml_node *root;
    struct plan_model_extra extra;
    TRY(preset_open(&r, &model_section, name, NULL, &child, &root));
    return plan_read_model(&child, root, out, &extra);
}
