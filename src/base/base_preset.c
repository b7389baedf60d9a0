/* base_preset.c: description files: where the file behind a name lies, and how one description
 * begins with another.
 *
 * A name with a '/' or ".yaml" is a path: from the file that names it, then from here. Any other is
 * looked for, as <folder>/<name>.yaml, in the presets around the file that names it, in
 * $COLOSSUS_PRESETS, in ./presets, beside the program and where `make install` puts presets; and as
 * <name>.yaml beside the file that names it, unless that file is itself a preset (there two kinds
 * may share a name: the plan and the model deepseek-v3). */
#include "base/base.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const preset_folders[] = {"accelerators", "clusters",  "models", "plans",
                                             "runs",         "scenarios", "sites",  "weather"};

enum { MAX_DIRS = 12, MAX_LISTED = 256 };

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

/* However its path is written: "./x.yaml" is x.yaml. */
static bool is_file_read(const struct yaml_reader *r, const char *path)
{
    struct stat a, b;
    if (strcmp(path, r->path) == 0) return true;
    return r->path[0] && stat(path, &a) == 0 && stat(r->path, &b) == 0 && a.st_ino == b.st_ino &&
           a.st_dev == b.st_dev;
}

static const char *find_name(const struct yaml_reader *r, const char *name, const char *const *dirs,
                             size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *path = arena_printf(r->arena, "%s/%s.yaml", dirs[i], name);
        if (file_exists(path) && !is_file_read(r, path)) return path;
    }
    return NULL;
}

/* The same whatever the case of its letters: "H100" is h100. */
static char *lower_case(struct arena *a, const char *name)
{
    char *text = arena_strdup(a, name);
    for (char *p = text; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return text;
}

static const char *find_any_case(const struct yaml_reader *r, const char *name,
                                 const char *const *dirs, size_t n)
{
    const char *path = find_name(r, name, dirs, n), *lower = lower_case(r->arena, name);
    return path || strcmp(lower, name) == 0 ? path : find_name(r, lower, dirs, n);
}

size_t preset_list(const struct yaml_reader *r, const char *folder, const char **names, size_t cap)
{
    const char *dirs[MAX_DIRS];
    size_t n_dirs = list_dirs(r, folder, dirs), n = 0;
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

static int no_file(const struct yaml_reader *r, const struct section *s, const struct yaml_node *at,
                   const char *text)
{
    if (at)
        yaml_wrong(r, at, "%s", text);
    else
        error_set_code(r->e, ERROR_CONFIG, "%s", text);
    return error_hint(r->e, "for example %.*s.yaml, or the name of a preset in presets/%s/",
                      (int)strcspn(s->what, " "), s->what, s->folder);
}

static int not_found(const struct yaml_reader *r, const struct section *s, const char *name,
                     const struct yaml_node *at)
{
    const char *names[MAX_LISTED];
    if (is_path(name)) {
        const char *alone = preset_name_of_path(r->arena, name);
        int rc = no_file(r, s, at, arena_printf(r->arena, "there is no file '%.200s'", name));
        if (!preset_exists(r, s->folder, alone)) return rc;
        return error_hint(r->e, "there is a preset of that name: '%s'", alone);
    }
    size_t n = preset_list(r, s->folder, names, ARRAY_LEN(names));
    const char *near = name_nearest(lower_case(r->arena, name), names, n);
    no_file(r, s, at, arena_printf(r->arena, "there is no %s '%.120s'", s->what, name));
    if (near) return error_hint(r->e, "did you mean '%s'?", near);
    char list[200] = "";
    for (size_t i = 0; i < n && strlen(list) + strlen(names[i]) + 3 < sizeof(list); i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", i ? ", " : "", names[i]);
    if (n && !at)
        return error_hint(r->e, "name a file, or one of presets/%s/: %s", s->folder, list);
    if (n) return error_hint(r->e, "for example %s; known: %s", names[0], list);
    return error_hint(r->e, "no presets/%s/ was found; set COLOSSUS_PRESETS to the folder presets",
                      s->folder);
}

/* "1024 x {like: gb200, ...}" is no YAML: says how a cluster of a changed accelerator is written. */
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
    return find_any_case(r, name, dirs, list_dirs(r, folder, dirs)) != NULL;
}

int preset_open(const struct yaml_reader *r, const struct section *s, const char *name,
                const struct yaml_node *at, struct yaml_reader *child, struct yaml_node **root)
{
    const char *dirs[MAX_DIRS];
    size_t n = list_dirs(r, s->folder, dirs);
    const char *path = is_path(name) ? find_path(r, name) : find_any_case(r, name, dirs, n);
    /* What a user names, and no file, may be a file of any name. */
    if (!path && !at && file_exists(name) && !file_is_dir(name))
        path = arena_strdup(r->arena, name);
    if (!path) return not_found(r, s, name, at);
    if (at && file_is_dir(path))
        return no_file(r, s, at, arena_printf(r->arena, "'%.200s' is a folder, not a file", name));
    if (r->depth >= PRESET_MAX_DEPTH) {
        error_set_code(r->e, ERROR_CONFIG,
                       "%s: files name each other in a circle, or more than %d deep", path,
                       PRESET_MAX_DEPTH);
        return error_hint(r->e, "follow the names behind `like:` and take one of them away");
    }
    *child = (struct yaml_reader){path, r->arena, r->e, r->depth + 1};
    return preset_read_yaml(path, r->arena, root, r->e);
}

/* ------------------------------------------------------------------ descriptions */

/* `like: NAME` of a map, or `preset: NAME` where the table has that key; NULL: neither. */
static int find_base(const struct yaml_reader *r, const struct section *s,
                     const struct yaml_node *map, const struct yaml_node **base)
{
    const bool preset = section_find(s, "preset") && yaml_get(map, "preset");
    const char *key = preset ? "preset" : "like";
    *base = yaml_get(map, key);
    if (preset && yaml_get(map, "like"))
        return yaml_wrong(r, yaml_get(map, "like"),
                          "'like' and 'preset' are the same: one is enough");
    if (!*base || ((*base)->kind == YAML_KIND_SCALAR && (*base)->text[0])) return 0;
    if ((*base)->kind == YAML_KIND_SCALAR && strcmp(key, "preset") == 0) *base = NULL;
    if (!*base) return 0; /* preset: "" is none */
    return yaml_wrong_row(r, *base, section_find(s, key), "'%s' is a name", key);
}

/* A description that another one begins, with keys of its own, is not that other one any more. */
static const char *name_changed(const struct yaml_reader *r, const struct yaml_node *map,
                                const char *name)
{
    if (map->count < 2 || yaml_get(map, "name")) return name;
    if (map->column == 1) return preset_name_of_path(r->arena, r->path); /* a whole file */
    size_t n = strlen(name), tail = strlen(", changed");
    if (n > tail && strcmp(name + n - tail, ", changed") == 0) return name;
    return arena_printf(r->arena, "%s, changed", name);
}

static int read_map(const struct yaml_reader *r, const struct preset_kind *k,
                    const struct yaml_node *map, void *target, uint8_t *given)
{
    const struct section *s = k->section;
    const struct yaml_node *base = NULL, *below = k->inside ? yaml_get(map, k->inside) : NULL;
    const char **name = (const char **)(void *)((char *)target + section_find(s, "name")->offset);
    uint8_t *here = arena_alloc(r->arena, s->n_rows);
    if (below && below->kind == YAML_KIND_MAP) map = below;
    TRY(find_base(r, s, map, &base));
    memset(target, 0, k->size);
    section_defaults(s, target);
    if (base) TRY(preset_read(r, k, base, target, given));
    if (base && k->changed) k->changed(map, target);
    TRY(yaml_bind(r, s, map, base != NULL, target, here));
    for (size_t i = 0; i < s->n_rows && given; i++)
        if (here[i]) given[i] = here[i];
    if (!**name) *name = preset_name_of_path(r->arena, r->path);
    if (base) *name = name_changed(r, map, *name);
    return k->finish(r, map, target);
}

int preset_read(const struct yaml_reader *r, const struct preset_kind *k,
                const struct yaml_node *node, void *target, uint8_t *given)
{
    struct yaml_reader child;
    struct yaml_node *root;
    if (node->kind != YAML_KIND_SCALAR) return read_map(r, k, node, target, given);
    TRY(preset_open(r, k->section, node->text, node, &child, &root));
    return read_map(&child, k, root, target, given);
}

struct yaml_reader yaml_reader_from(const char *from, struct arena *a, struct error *e,
                                    struct error *local)
{
    struct error *used = e ? e : local;
    *used = (struct error){0};
    return (struct yaml_reader){from ? from : "", a, used, 0};
}

int preset_load(const struct preset_kind *k, const char *name, const char *from, struct arena *a,
                void *target, struct error *e)
{
    struct error local;
    struct yaml_reader r = yaml_reader_from(from, a, e, &local), child;
    struct yaml_node *root;
    TRY(preset_open(&r, k->section, name, NULL, &child, &root));
    return read_map(&child, k, root, target, NULL);
}
