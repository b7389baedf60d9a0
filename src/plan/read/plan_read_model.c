/* plan_read_model.c: models from description files and from run files of `colossus train`.
 *
 * Two ways to say a model: sizes in the words of papers (layers, hidden, kv_heads ...), which cover
 * what the planner knows beyond Grok; and the `model` section of a run file or of its presets, so
 * that the file that trains a model also plans it. A map is taken for the second where it has one of
 * that section's own keys. Of a run file, model, batch and the number of tokens are read; whether
 * its other keys are right is for the training command to say. */
#include "plan/read/plan_read_internal.h"

#include <stddef.h>
#include <string.h>

/* ------------------------------------------------------------------ run files */

struct run_file {
    struct model_config model;
    const char *preset;
    int64_t seq_len, micro_batch, global_batch;
};

/* The keys that decide about sizes and batch, with the run file's own defaults; a unit test holds
 * them against the table of `colossus train`. */
#define KEY(k, m, def, hi, ex, h)                                                             \
    {                                                                                         \
        .key = k, .type = FIELD_INT, .offset = offsetof(struct run_file, m), .fallback = def, \
        .min = 0, .max = hi, .example = ex, .help = h                                         \
    }
#define REAL(k, m, ex)                                                              \
    {                                                                               \
        .key = k, .type = FIELD_REAL, .offset = offsetof(struct run_file, model.m), \
        .fallback = "", .example = ex, .help = "does not change a plan"             \
    }
static const struct field run_rows[] = {
    {.key = "model.preset",
     .type = FIELD_TEXT,
     .offset = offsetof(struct run_file, preset),
     .fallback = "",
     .example = "grok-1",
     .help = "sizes of a preset; other keys change them"},
    KEY("model.vocab_size", model.vocab_size, "0", 1 << 24, "131072",
        "0: the dataset's, where it can be read"),
    KEY("model.n_layers", model.n_layers, "0", 4096, "64", "transformer layers"),
    KEY("model.d_model", model.d_model, "0", 1 << 20, "6144", "width"),
    KEY("model.n_heads", model.n_heads, "0", 65536, "48", "query heads"),
    KEY("model.n_kv_heads", model.n_kv_heads, "0", 65536, "8", "0: n_heads"),
    KEY("model.head_dim", model.head_dim, "0", 65536, "128", "0: d_model / n_heads"),
    KEY("model.ffn_hidden", model.ffn_hidden, "0", 1 << 22, "32768", "of each expert"),
    KEY("model.n_experts", model.n_experts, "8", 65536, "8", "1: a dense model"),
    KEY("model.n_experts_used", model.n_experts_used, "2", 1024, "2", "for each token"),
    KEY("model.dense_ffn_hidden", model.dense_ffn_hidden, "0", 1 << 22, "32768",
        "of Grok-2's dense branch"),
    KEY("model.context_length", model.context_length, "0", 1 << 24, "8192", "longest sequence"),
    {.key = "model.tied_embeddings",
     .type = FIELD_BOOL,
     .offset = offsetof(struct run_file, model.tied_embeddings),
     .fallback = "true",
     .example = "true",
     .help = "the head is the embedding table"},
    KEY("model.attn_temperature_len", model.attn_temperature_len, "0", 1 << 24, "1024",
        "does not change a plan"),
    REAL("model.rope_theta", rope_theta, "10000"),
    REAL("model.rms_eps", rms_eps, "1e-5"),
    REAL("model.embedding_multiplier", embedding_multiplier, "78.4"),
    REAL("model.output_multiplier", output_multiplier, "0.577"),
    REAL("model.attn_multiplier", attn_multiplier, "0.0884"),
    REAL("model.attn_softcap", attn_softcap, "30"),
    REAL("model.router_softcap", router_softcap, "30"),
    REAL("model.final_softcap", final_softcap, "50"),
    REAL("model.router_aux_coef", router_aux_coef, "0.01"),
    REAL("model.router_z_coef", router_z_coef, "0.001"),
    KEY("batch.seq_len", seq_len, "512", 1 << 24, "512", "tokens of a sequence"),
    KEY("batch.micro_batch", micro_batch, "8", 1 << 20, "8", "sequences at once"),
    KEY("batch.global_batch", global_batch, "0", 1 << 24, "64", "0: micro_batch"),
};
const struct section plan_run_section = {"run file", "models", "a run file", run_rows,
                                         ARRAY_LEN(run_rows)};

/* Sections of a run file that say nothing about a plan. */
static const char *const other_sections[] = {
    "name", "dir", "data", "train", "optimizer", "schedule", "balance", "log", "checkpoint"};

/* The `model` and `batch` sections alone, as a map. */
static void pick_sections(const struct yaml_reader *r, const struct yaml_node *root,
                          struct yaml_node *out)
{
    *out = *root;
    out->count = 0;
    out->keys = arena_alloc(r->arena, (root->count + 1) * sizeof(*out->keys));
    out->items = arena_alloc(r->arena, (root->count + 1) * sizeof(*out->items));
    for (size_t i = 0; i < root->count; i++) {
        bool other = false;
        for (size_t k = 0; k < ARRAY_LEN(other_sections); k++)
            other = other || strcmp(root->keys[i]->text, other_sections[k]) == 0;
        if (other) continue;
        out->keys[out->count] = root->keys[i];
        out->items[out->count++] = root->items[i];
    }
}

static int bind_run(const struct yaml_reader *r, const struct yaml_node *root, struct run_file *run)
{
    struct yaml_node map;
    if (root->kind != YAML_KIND_MAP) return section_bind(r, &plan_run_section, root, true, run);
    const struct yaml_node *model = yaml_get(root, "model");
    const struct yaml_node *preset = model ? yaml_get(model, "preset") : NULL;
    if (preset && preset->kind == YAML_KIND_SCALAR && preset->text[0]) {
        struct yaml_reader child;
        struct yaml_node *base;
        TRY(preset_open(r, "preset", "models", preset->text, preset, &child, &base));
        TRY(bind_run(&child, base, run));
    }
    pick_sections(r, root, &map);
    return section_bind(r, &plan_run_section, &map, true, run);
}

/* The vocabulary of the dataset that the run file names, 0 where it is not there yet. */
static int64_t dataset_vocab(const struct yaml_reader *r, const struct yaml_node *root)
{
    const struct yaml_node *data = yaml_get(root, "data");
    const struct yaml_node *path = data ? yaml_get(data, "path") : NULL;
    json_t *index;
    struct error ignored = {0};
    int64_t vocab = 0;
    if (!path || path->kind != YAML_KIND_SCALAR || r->depth >= PRESET_MAX_DEPTH) return 0;
    const char *file = file_join(r->arena, path->text, "index.json");
    if (!file_exists(file) || json_load_path(file, 1 << 24, &index, &ignored) < 0) return 0;
    if (json_get_int(index, "vocab_size", &vocab, file, &ignored) < 0) vocab = 0;
    json_decref(index);
    return vocab;
}

#define ASSUMED_VOCAB 32768

static int finish_run(const struct yaml_reader *r, const struct yaml_node *root,
                      struct run_file *run, struct plan_model_extra *extra)
{
    struct model_config *c = &run->model;
    static const char *const needed[] = {"model.n_layers", "model.d_model", "model.n_heads",
                                         "model.ffn_hidden"};
    const int64_t sizes[] = {c->n_layers, c->d_model, c->n_heads, c->ffn_hidden};
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (sizes[i] <= 0)
            return yaml_wrong_field(r, yaml_field_node(root, "model"),
                                    field_find(&plan_run_section, needed[i]), "'%s' is missing",
                                    needed[i]);
    if (c->vocab_size == 0) c->vocab_size = dataset_vocab(r, root);
    if (c->vocab_size == 0) {
        c->vocab_size = ASSUMED_VOCAB;
        extra->note = arena_printf(
            r->arena, "the dataset of %s is not made yet: a vocabulary of %d is assumed", r->path,
            ASSUMED_VOCAB);
    }
    if (c->n_kv_heads == 0) c->n_kv_heads = c->n_heads;
    if (c->head_dim == 0) c->head_dim = MAX(c->d_model / c->n_heads, 1);
    if (c->n_experts <= 1) c->n_experts = c->n_experts_used = 1;
    extra->batch.seq_len = run->seq_len;
    extra->batch.global_batch = run->global_batch ? run->global_batch : run->micro_batch;
    return 0;
}

/* ERROR of plan_model_check, which knows no file, with the place in front. */
static int check_model(const struct yaml_reader *r, const struct yaml_node *at,
                       const struct model_config *m)
{
    struct error local = {0};
    if (plan_model_check(m, &local) >= 0) return 0;
    yaml_wrong(r, at, "%s", local.text);
    return error_hint(r->e, "%s",
                      local.hint[0]
                          ? local.hint
                          : "for example layers: 32, hidden: 4096, heads: 32, kv_heads: 8");
}

static bool has_batch(const struct yaml_node *root)
{
    return yaml_get(root, "batch") || yaml_get(root, "train") || yaml_get(root, "data");
}

int plan_read_run_file(const struct yaml_reader *r, const struct yaml_node *root,
                       struct model_config *out, struct plan_model_extra *extra)
{
    struct run_file run = {.preset = ""};
    const char *unit;
    memset(extra, 0, sizeof(*extra));
    model_config_defaults(&run.model);
    section_defaults(&plan_run_section, &run, r->arena);
    TRY(bind_run(r, root, &run));
    TRY(finish_run(r, root, &run, extra));
    model_config_derive(&run.model);
    *out = run.model;
    out->glu = true;
    out->name = preset_name_of_path(r->arena, r->path);
    out->source = arena_strdup(r->arena, r->path);
    if (!has_batch(root)) extra->batch = (struct plan_batch){0}; /* a preset has none */
    const struct yaml_node *train = yaml_get(root, "train"), *name = yaml_get(root, "name");
    const struct yaml_node *tokens = train ? yaml_get(train, "tokens") : NULL;
    if (name && name->kind == YAML_KIND_SCALAR && name->text[0])
        out->name = arena_strdup(r->arena, name->text);
    if (tokens && tokens->kind == YAML_KIND_SCALAR &&
        unit_parse(tokens->text, UNIT_TOKENS, &extra->tokens, &unit) != UNIT_OK)
        extra->tokens = 0;
    return check_model(r, yaml_field_node(root, "model"), out);
}

/* Keys that only the `model` section of a run file has. */
static bool is_run_model(const struct yaml_node *map)
{
    static const char *const own[] = {"preset", "n_layers", "d_model", "n_heads", "vocab_size"};
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (yaml_get(map, own[i])) return true;
    return false;
}

bool plan_is_run_file(const struct yaml_node *root)
{
    const struct yaml_node *model = yaml_get(root, "model");
    if (yaml_get(root, "cluster")) return false;
    if (yaml_get(root, "data") || yaml_get(root, "train") || yaml_get(root, "optimizer"))
        return true;
    return model && model->kind == YAML_KIND_MAP && is_run_model(model);
}

/* ------------------------------------------------------------------ models */

static int read_model_map(const struct yaml_reader *r, const struct yaml_node *map,
                          struct model_config *out, struct plan_model_extra *extra)
{
    const struct section *s = &plan_model_section;
    const struct yaml_node *like;
    if (plan_is_run_file(map)) return plan_read_run_file(r, map, out, extra);
    memset(out, 0, sizeof(*out));
    memset(extra, 0, sizeof(*extra));
    TRY(preset_find_like(r, s, map, &like));
    section_defaults(s, out, r->arena);
    if (like) TRY(plan_read_model(r, like, out, extra));
    if (!model_is_moe(out)) out->dense_ffn_hidden = out->ffn_hidden, out->ffn_hidden = 0;
    TRY(section_bind(r, s, map, like != NULL, out));
    if (!model_is_moe(out))
        out->ffn_hidden = out->dense_ffn_hidden, out->dense_ffn_hidden = 0;
    else if (out->dense_layers == 0 && !like)
        out->dense_ffn_hidden = 0;
    if (out->n_kv_heads == 0) out->n_kv_heads = out->n_heads;
    if (out->head_dim == 0) out->head_dim = MAX(out->d_model / MAX(out->n_heads, 1), 1);
    if (!*out->name) out->name = preset_name_of_path(r->arena, r->path);
    out->name = preset_name_changed(r, map, out->name);
    return check_model(r, map, out);
}

/* The `model:` section of a plan written in the words of a run file. */
static int read_run_section(const struct yaml_reader *r, struct yaml_node *section,
                            struct model_config *out, struct plan_model_extra *extra)
{
    struct yaml_node key = {.kind = YAML_KIND_SCALAR, .text = "model"}, *keys[] = {&key},
                     *items[] = {section};
    key.line = section->line;
    key.column = section->column;
    struct yaml_node root = {.kind = YAML_KIND_MAP,
                             .line = section->line,
                             .column = section->column,
                             .count = 1,
                             .items = items,
                             .keys = keys};
    return plan_read_run_file(r, &root, out, extra);
}

int plan_read_model(const struct yaml_reader *r, const struct yaml_node *node,
                    struct model_config *out, struct plan_model_extra *extra)
{
    struct yaml_reader child;
    struct yaml_node *root;
    if (node->kind == YAML_KIND_MAP && is_run_model(node)) {
        struct yaml_node *section = arena_alloc(r->arena, sizeof(*section));
        *section = *node;
        return read_run_section(r, section, out, extra);
    }
    if (node->kind != YAML_KIND_SCALAR) return read_model_map(r, node, out, extra);
    TRY(preset_open_node(r, &plan_model_section, node, &child, &root));
    return read_model_map(&child, root, out, extra);
}

int plan_load_model(const char *name, const char *from, struct arena *a, struct model_config *out,
                    struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(from, a, e, &local), child;
    struct yaml_node *root;
    struct plan_model_extra extra;
    TRY(preset_open(&r, "model", "models", name, NULL, &child, &root));
    return read_model_map(&child, root, out, &extra);
}
