/* train_config.c: from a run file, a model preset and --set to one checked configuration.
 *
 * Later sources win: defaults, the preset, the run file, --set; what is still 0 and has a natural
 * value is derived. The origin of every value is kept, so that the run folder's run.yaml can say
 * where each came from. All strings live in the arena of struct train_run_file. */
#include "train/train_internal.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The rows whose key begins with "model." stand side by side. */
static size_t model_rows(size_t *first)
{
    size_t n = 0;
    *first = 0;
    for (size_t i = 0; i < train_run_n_rows; i++) {
        if (strncmp(train_run_rows[i].name, "model.", 6) != 0) continue;
        if (n++ == 0) *first = i;
    }
    return n;
}

static size_t row_index(const struct option *row)
{
    return (size_t)(row - train_run_rows);
}

static int unknown_key(const char *assignment, size_t key_length, struct error *e)
{
    const char *names[TRAIN_MAX_KEYS];
    for (size_t i = 0; i < train_run_n_rows; i++)
        names[i] = train_run_rows[i].name;
    char key[64];
    snprintf(key, sizeof(key), "%.*s", (int)key_length, assignment);
    const char *near = name_nearest(key, names, train_run_n_rows);
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
    size_t key_length = (size_t)(equals - assignment);
    char *key = arena_strndup(&f->arena, assignment, key_length);
    const struct option *row = options_find(train_run_rows, train_run_n_rows, key);
    if (!row) return unknown_key(assignment, key_length, e);
    char *value = arena_strdup(&f->arena, equals + 1);
    TRY(options_set(row, value, &f->config, &f->arena, "--set", e));
    f->origins[row_index(row)] = ORIGIN_FLAG;
    return 0;
}

static int apply_overrides(struct train_run_file *f, const char *const *overrides, size_t n,
                           struct error *e)
{
    for (size_t i = 0; i < n; i++)
        TRY(apply_override(f, overrides[i], e));
    return 0;
}

/* Folder of the program itself, or NULL. */
static char *program_dir(struct arena *a)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0) return NULL;
    path[n] = 0;
    char *slash = strrchr(path, '/');
    if (!slash) return NULL;
    *slash = 0;
    return arena_strdup(a, path);
}

/* A name is looked for under presets/models beside the work, in $COLOSSUS_PRESETS, beside the
 * program (in a source tree it lies in build/<variant>), and where `make install` puts it. */
static char *preset_path(struct arena *a, const char *name)
{
    if (strchr(name, '/') || strstr(name, ".yaml")) return arena_strdup(a, name);
    const char *dirs[5];
    size_t n = 0;
    const char *home = getenv("COLOSSUS_PRESETS");
    char *program = program_dir(a);
    if (home && *home) dirs[n++] = home;
    dirs[n++] = "presets";
    if (program) {
        dirs[n++] = arena_printf(a, "%s/presets", program);
        dirs[n++] = arena_printf(a, "%s/../../presets", program);
        dirs[n++] = arena_printf(a, "%s/../share/colossus/presets", program);
    }
    for (size_t i = 0; i < n; i++) {
        char *path = arena_printf(a, "%s/models/%s.yaml", dirs[i], name);
        if (file_exists(path)) return path;
    }
    return NULL;
}

static int bind_preset(struct train_run_file *f, const char *name, struct error *e)
{
    char *path = preset_path(&f->arena, name);
    if (!path) {
        error_set_code(e, ERROR_CONFIG, "model.preset: there is no preset '%s'", name);
        return error_hint(e, "looked for models/%s.yaml under presets/; a file's path works too",
                          name);
    }
    struct yaml_node *root;
    size_t first, n = model_rows(&first);
    TRY(yaml_load(path, &f->arena, &root, e));
    uint8_t *origins = f->origins + first;
    TRY(yaml_bind(root, path, train_run_rows + first, n, &f->config, &f->arena, origins, e));
    for (size_t i = 0; i < n; i++) {
        if (origins[i] == ORIGIN_FILE)
            origins[i] = ORIGIN_PRESET; /* ORIGIN_FILE means the run file */
    }
    return 0;
}

/* --set model.preset wins over the file's. */
static const char *preset_name(const struct yaml_node *root, const char *const *overrides, size_t n)
{
    for (size_t i = n; i-- > 0;) {
        if (strncmp(overrides[i], "model.preset=", 13) == 0) return overrides[i] + 13;
    }
    const struct yaml_node *model = root->kind == YAML_KIND_MAP ? yaml_get(root, "model") : NULL;
    const struct yaml_node *preset =
        model && model->kind == YAML_KIND_MAP ? yaml_get(model, "preset") : NULL;
    return preset && preset->kind == YAML_KIND_SCALAR ? preset->text : "";
}

static int load_tree(struct train_run_file *f, const struct yaml_node *root,
                     const char *const *overrides, size_t n_overrides, struct error *e)
{
    options_defaults(train_run_rows, train_run_n_rows, &f->config);
    /* Twice: a required key that --set gives is then no longer missed in the file. */
    TRY(apply_overrides(f, overrides, n_overrides, e));
    const char *preset = preset_name(root, overrides, n_overrides);
    if (*preset) TRY(bind_preset(f, preset, e));
    TRY(yaml_bind(root, f->path, train_run_rows, train_run_n_rows, &f->config, &f->arena,
                  f->origins, e));
    TRY(apply_overrides(f, overrides, n_overrides, e));
    train_config_derive(f);
    struct train_config_source source = {f->path, root, f->origins};
    return train_config_check(f, &source, e);
}

static void begin(struct train_run_file *f, const char *path)
{
    memset(f, 0, sizeof(*f));
    arena_init(&f->arena);
    f->path = arena_strdup(&f->arena, path);
}

int train_config_load(const char *path, const char *const *overrides, size_t n_overrides,
                      struct train_run_file *out, struct error *e)
{
    struct yaml_node *root;
    begin(out, path);
    int rc = yaml_load(path, &out->arena, &root, e);
    if (rc >= 0) rc = load_tree(out, root, overrides, n_overrides, e);
    if (rc < 0) train_config_free(out);
    return rc;
}

int train_config_parse(const char *text, size_t size, const char *name,
                       const char *const *overrides, size_t n_overrides, struct train_run_file *out,
                       struct error *e)
{
    struct yaml_node *root;
    begin(out, name);
    int rc = yaml_parse(text, size, name, &out->arena, &root, e);
    if (rc >= 0) rc = load_tree(out, root, overrides, n_overrides, e);
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
