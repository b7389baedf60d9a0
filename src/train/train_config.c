/* train_config.c: from a run file, a model preset and --set to one checked configuration.
 *
 * Later sources win: defaults, the preset, the run file, --set; what is still 0 and has a natural
 * value is derived. The origin of every value is kept, so that the run folder's run.yaml can say
 * where each came from. All strings live in the arena of struct train_run_file. */
#include "train/train_internal.h"

#include <string.h>

static size_t row_index(const struct option *row)
{
    return (size_t)(row - train_run_rows);
}

static int unknown_key(const char *key, struct error *e)
{
    const char *names[TRAIN_MAX_KEYS];
    for (size_t i = 0; i < train_run_n_rows; i++)
        names[i] = train_run_rows[i].name;
    const char *near = name_nearest_key(key, names, train_run_n_rows);
    error_set_code(e, ERROR_CONFIG, "--set: unknown key '%s'", key);
    if (near) return error_hint(e, "did you mean '%s'?", near);
    return error_hint(e, "colossus train --keys lists all of them");
}

static int apply_override(struct train_run_file *f, const char *assignment, struct error *e)
{
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment) {
        error_set_code(e, ERROR_CONFIG, "--set: '%s' is not key=value", assignment);
        return error_hint(e, "for example --set optimizer.lr=0.001");
    }
    char *key = arena_strndup(&f->arena, assignment, (size_t)(equals - assignment));
    const struct option *row = options_find(train_run_rows, train_run_n_rows, key);
    if (!row) return unknown_key(key, e);
    char *value = arena_strdup(&f->arena, equals + 1);
    TRY(options_set(row, value, &f->config, &f->arena, "--set", e));
    f->origins[row_index(row)] = ORIGIN_FLAG;
    return 0;
}

static int apply_overrides(struct train_run_file *f, const struct train_run_text *from,
                           struct error *e)
{
    for (size_t i = 0; i < from->n_overrides; i++)
        TRY(apply_override(f, from->overrides[i], e));
    return 0;
}

/* The preset's values under those of the run file, which are bound after it. */
static int bind_preset(struct train_run_file *f, const char *name, struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(NULL, &f->arena, e, &local);
    struct yaml_node node = {.kind = YAML_KIND_SCALAR, .line = 1, .column = 1, .text = name};
    struct model_config preset, whole;
    uint8_t *given = arena_alloc(&f->arena, model_section.n_rows);
    struct str text = {0};
    bool named = !strchr(name, '/') && !strstr(name, ".y");
    if (named && !preset_exists(&r, model_section.folder, name)) {
        error_set_code(e, ERROR_CONFIG, "model.preset: there is no model '%s'", name);
        return error_hint(e, "presets that can be trained: %s", model_config_trainable_presets(&r));
    }
    if (preset_read(&r, &model_kind, &node, &preset, given) < 0)
        return error_context(e, "model.preset");
    whole = preset;
    if (whole.vocab_size == 0) whole.vocab_size = 1; /* the dataset's */
    model_config_derive(&whole);
    bool partial = model_config_missing(&whole) != NULL; /* the run file may have the rest */
    if (!partial && model_config_check_trainable(&whole, e) < 0) {
        error_context(e, "model.preset '%s'", name);
        return error_hint(e, "presets that can be trained: %s", model_config_trainable_presets(&r));
    }
    for (size_t i = 0; i < model_section.n_rows; i++) {
        const struct option *from = &model_section.rows[i];
        const char *key = arena_printf(&f->arena, "model.%s", from->name);
        const struct option *to = options_find(train_run_rows, train_run_n_rows, key);
        if (!given[i] || !to || from->type == OPTION_CUSTOM) continue;
        str_clear(&text);
        options_get(from, &preset, &text);
        int rc = options_set(to, text.data, &f->config, &f->arena, NULL, e);
        CHECK_MSG(rc == 0, "'%s' of a preset is not '%s' of a run file", from->name, to->name);
        f->origins[row_index(to)] = ORIGIN_PRESET;
    }
    str_fini(&text);
    return 0;
}

/* --set model.preset wins over the file's. */
static const char *preset_name(const struct yaml_node *root, const struct train_run_text *from)
{
    for (size_t i = from->n_overrides; i-- > 0;) {
        if (strncmp(from->overrides[i], "model.preset=", 13) == 0) return from->overrides[i] + 13;
    }
    const struct yaml_node *preset = yaml_get(yaml_get(root, "model"), "preset");
    return preset && preset->kind == YAML_KIND_SCALAR ? preset->text : "";
}

static int load_tree(struct train_run_file *f, const struct yaml_node *root,
                     const struct train_run_text *from, struct error *e)
{
    model_config_defaults(&f->config.model); /* also of what a run file has no key for */
    options_defaults(train_run_rows, train_run_n_rows, &f->config);
    /* Twice: a required key that --set gives is then no longer missed in the file. */
    TRY(apply_overrides(f, from, e));
    const char *preset = preset_name(root, from);
    if (*preset) TRY(bind_preset(f, preset, e));
    struct error local;
    struct yaml_reader r = yaml_reader_from(f->path, &f->arena, e, &local);
    TRY(yaml_bind(&r, &train_run_section, root, false, &f->config, f->origins));
    TRY(apply_overrides(f, from, e));
    train_config_derive(f);
    struct train_config_source source = {f->path, root, f->origins};
    return train_config_check(f, &source, e);
}

/* A path, or the name of a preset in presets/runs. */
static int open_run_file(struct train_run_file *out, struct yaml_node **root, struct error *e)
{
    struct error local;
    struct yaml_reader here = yaml_reader_from(NULL, &out->arena, e, &local), child;
    if (file_exists(out->path)) return yaml_load(out->path, &out->arena, root, e);
    TRY(preset_open(&here, &train_run_section, out->path, NULL, &child, root));
    out->path = child.path;
    return 0;
}

int train_config_load(const struct train_run_text *from, struct train_run_file *out,
                      struct error *e)
{
    struct yaml_node *root;
    memset(out, 0, sizeof(*out));
    out->path = arena_strdup(&out->arena, from->path);
    int rc = from->text ? yaml_parse(from->text, from->size, from->path, &out->arena, &root, e)
                        : open_run_file(out, &root, e);
    if (rc >= 0) rc = load_tree(out, root, from, e);
    if (rc < 0) train_config_free(out);
    return rc;
}

void train_config_free(struct train_run_file *f)
{
    arena_fini(&f->arena);
    memset(f, 0, sizeof(*f));
}

/* Every value is written out, so the preset itself is named in a comment only: the file stays
 * readable where the preset is gone. */
void train_config_print(const struct train_run_file *f, struct str *out)
{
    struct train_config c = f->config;
    str_puts(out, "# the effective configuration of this run, and where each value came from\n");
    if (*c.preset) str_printf(out, "# preset: '%s'; derived: follows from other keys\n", c.preset);
    c.preset = "";
    yaml_print_options(train_run_rows, train_run_n_rows, &c, f->origins, file_base_name(f->path),
                       out);
}
