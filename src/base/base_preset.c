/* base_preset.c: where the file behind a name lies.
 *
 * A name with a '/' or ".yaml" is a path: from the file that names it, then from here. Any other is
 * looked for, as <folder>/<name>.yaml, in the presets around the file that names it, in
 * $COLOSSUS_PRESETS, in ./presets, beside the program and where `make install` puts presets; and as
 * <name>.yaml beside the file that names it, unless that file is itself a preset (there two kinds
 * may share a name: the plan and the model deepseek-v3). */
#include "base/base.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const preset_folders[] = {"accelerators", "clusters", "models",
                                             "plans",        "runs",     "sites"};

#define MAX_DIRS 12

static const char *dir_of(struct arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return ".";
    return slash == path ? "/" : arena_strndup(a, path, (size_t)(slash - path));
}

static const char *parent_of(struct arena *a, const char *dir)
{
    const char *base = file_base_name(dir);
    if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0) return arena_printf(a, "%s/..", dir);
    return strchr(dir, '/') ? dir_of(a, dir) : ".";
}

static bool is_preset_folder(const char *dir)
{
    for (size_t i = 0; i < ARRAY_LEN(preset_folders); i++)
        if (strcmp(file_base_name(dir), preset_folders[i]) == 0) return true;
    return false;
}

static const char *program_dir(struct arena *a)
{
    char path[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0) return NULL;
    path[n] = 0;
    return dir_of(a, path);
}

/* Folders that may hold <name>.yaml of this kind, nearest first. */
static size_t list_dirs(const struct yaml_reader *r, const char *folder, const char *dirs[MAX_DIRS])
{
    struct arena *a = r->arena;
    size_t n = 0;
    const char *home = getenv("COLOSSUS_PRESETS"), *program = program_dir(a);
    if (r->path[0]) {
        const char *dir = dir_of(a, r->path);
        if (is_preset_folder(dir)) {
            dirs[n++] = file_join(a, parent_of(a, dir), folder);
        } else {
            dirs[n++] = dir;
            dirs[n++] = file_join(a, dir, folder);
            dirs[n++] = arena_printf(a, "%s/presets/%s", dir, folder);
        }
    }
    if (home && *home) dirs[n++] = file_join(a, home, folder);
    dirs[n++] = arena_printf(a, "presets/%s", folder);
    if (program) {
        dirs[n++] = arena_printf(a, "%s/presets/%s", program, folder);
        dirs[n++] = arena_printf(a, "%s/../../presets/%s", program, folder);
        dirs[n++] = arena_printf(a, "%s/../../../presets/%s", program, folder); /* build/x/unit/ */
        dirs[n++] = arena_printf(a, "%s/../share/colossus/presets/%s", program, folder);
    }
    /* the accelerator `local`, which bench-machine wrote */
    if (strcmp(folder, "accelerators") == 0) dirs[n++] = file_config_dir(a);
    return n;
}

static bool is_path(const char *name)
{
    size_t n = strlen(name);
    return strchr(name, '/') || (n > 5 && strcmp(name + n - 5, ".yaml") == 0) ||
           (n > 4 && strcmp(name + n - 4, ".yml") == 0);
}

const char *preset_name_of_path(struct arena *a, const char *path)
{
    const char *base = file_base_name(path), *dot = strrchr(base, '.');
    return dot && dot > base ? arena_strndup(a, base, (size_t)(dot - base)) : arena_strdup(a, base);
}

static const char *find_path(const struct yaml_reader *r, const char *name)
{
    if (name[0] != '/' && r->path[0]) {
        const char *beside = file_join(r->arena, dir_of(r->arena, r->path), name);
        if (file_exists(beside)) return strncmp(beside, "./", 2) ? beside : beside + 2;
    }
    return file_exists(name) ? arena_strdup(r->arena, name) : NULL;
}

static const char *find_name(const struct yaml_reader *r, const char *name, const char *const *dirs,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *path = arena_printf(r->arena, "%s/%s.yaml", dirs[i], name);
        if (strcmp(path, r->path) != 0 && file_exists(path)) return path;
    }
    return NULL;
}

/* Names of every file in dirs, each once; what a misspelt name is compared with. */
static size_t list_names(const struct yaml_reader *r, const char *const *dirs, size_t n_dirs,
                         const char **names, size_t cap)
{
    size_t n = 0;
    for (size_t i = 0; i < n_dirs; i++) {
        char **files;
        size_t count;
        struct error ignored;
        bool preset = is_preset_folder(dirs[i]);
        if (!preset || file_list_dir(dirs[i], r->arena, &files, &count, &ignored) < 0) continue;
        for (size_t k = 0; k < count && n < cap; k++) {
            const char *name = preset_name_of_path(r->arena, files[k]);
            bool seen = !is_path(files[k]);
            for (size_t j = 0; j < n && !seen; j++)
                seen = strcmp(names[j], name) == 0;
            if (!seen) names[n++] = name;
        }
    }
    return n;
}

static int not_found(const struct yaml_reader *r, const char *what, const char *folder,
                     const char *name, const struct yaml_node *at, const char *const *dirs,
                     size_t n_dirs)
{
    const char *names[256];
    if (is_path(name)) {
        if (at)
            yaml_wrong(r, at, "there is no file '%.200s'", name);
        else
            error_set_code(r->e, ERROR_CONFIG, "there is no file '%.200s'", name);
        return error_hint(r->e, "for example %s.yaml, or the name of a preset in presets/%s/", what,
                          folder);
    }
    size_t n = list_names(r, dirs, n_dirs, names, ARRAY_LEN(names));
    const char *near = name_nearest(name, names, n);
    if (at)
        yaml_wrong(r, at, "there is no %s '%.120s'", what, name);
    else
        error_set_code(r->e, ERROR_CONFIG, "there is no %s '%.120s'", what, name);
    if (near) return error_hint(r->e, "did you mean '%s'? for example %s: %s", near, what, near);
    char list[200] = "";
    for (size_t i = 0; i < n && strlen(list) + strlen(names[i]) + 3 < sizeof(list); i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", names[i]);
    if (n) return error_hint(r->e, "for example %s: %s; known: %s", what, names[0], list);
    return error_hint(r->e, "no presets/%s/ was found; set COLOSSUS_PRESETS to the folder presets",
                      folder);
}

/* A cluster of a changed accelerator does not fit into one line of text: says how it is written. */
int preset_read_yaml(const char *path, struct arena *a, struct yaml_node **root, struct error *e)
{
    int rc = yaml_load(path, a, root, e);
    char *text;
    size_t size;
    struct error local;
    if (rc >= 0 || !strstr(e->text, "mapping values") ||
        file_read(path, 1 << 20, &text, &size, &local) < 0)
        return rc;
    if (strstr(text, " x {"))
        error_hint(e,
                   "for example cluster: {pools: [{accelerator: {like: gb200, scaleup_domain: 64}, "
                   "count: 1024}]}");
    mem_free(text);
    return rc;
}

const char *preset_find_file(struct arena *a, const char *folder, const char *name)
{
    const struct yaml_reader nowhere = {.path = "", .arena = a};
    const char *dirs[MAX_DIRS];
    size_t n = list_dirs(&nowhere, folder, dirs);
    for (size_t i = 0; i < n; i++) {
        const char *path = file_join(a, dirs[i], name);
        if (file_exists(path)) return path;
    }
    return NULL;
}

bool preset_exists(const struct yaml_reader *r, const char *folder, const char *name)
{
    const char *dirs[MAX_DIRS];
    return find_name(r, name, dirs, list_dirs(r, folder, dirs)) != NULL;
}

int preset_open(const struct yaml_reader *r, const char *what, const char *folder, const char *name,
                const struct yaml_node *at, struct yaml_reader *child, struct yaml_node **root)
{
    const char *dirs[MAX_DIRS];
    size_t n = list_dirs(r, folder, dirs);
    const char *path = is_path(name) ? find_path(r, name) : find_name(r, name, dirs, n);
    if (!path) return not_found(r, what, folder, name, at, dirs, n);
    if (at && file_is_dir(path)) {
        yaml_wrong(r, at, "'%.200s' is a folder, not a file", name);
        return error_hint(r->e, "for example %s.yaml, or the name of a preset in presets/%s/", what,
                          folder);
    }
    if (r->depth >= PRESET_MAX_DEPTH) {
        error_set_code(r->e, ERROR_CONFIG,
                       "%s: files name each other in a circle, or more than %d deep", path,
                       PRESET_MAX_DEPTH);
        return error_hint(r->e, "for example `like: h100` in a file that h100.yaml does not name");
    }
    *child = (struct yaml_reader){path, r->arena, r->e, r->depth + 1};
    return preset_read_yaml(path, r->arena, root, r->e);
}
