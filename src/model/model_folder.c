/* model_folder.c: which safetensors files make the weights that `path`, "DIR/model.safetensors", stands
 * for. The first of these that is there:
 *
 *     model.safetensors                      all of them
 *     model.safetensors.index.json           Hugging Face's list, {"weight_map": {tensor: file}}
 *     model-00001-of-00004.safetensors ...   as many as the names say
 *     *-TP-common.safetensors                xAI's Grok-2: whole tensors, and
 *     *-TP-000.safetensors ... -TP-007       the parts of a tensor for each of eight devices, under one
 *                                            name
 *
 * Nothing outside the folder is opened, whatever an index says. */
#include "model/model_internal.h"

#include <stdlib.h>
#include <string.h>

#define SUFFIX     ".safetensors"
#define MAX_PART   99999 /* five digits */
#define MAX_DEVICE 999
#define MAX_INDEX  ((size_t)64 << 20)

char *safetensors_part_name(struct arena *a, const char *path, int rank, int ranks)
{
    size_t n = strlen(path), suffix = strlen(SUFFIX);
    CHECK(n > suffix && strcmp(path + n - suffix, SUFFIX) == 0 && ranks <= MAX_PART);
    return arena_printf(a, "%.*s-%05d-of-%05d" SUFFIX, (int)(n - suffix), path, rank + 1, ranks);
}

static const char *folder_of(const char *path, struct arena *a)
{
    const char *base = file_base_name(path);
    return base > path ? arena_strndup(a, path, (size_t)(base - path)) : ".";
}

/* Of how many ranks a set is whose files stand in the folder of `path`; 0: none is there. */
static int count_ranks(const char *path, struct arena *a, struct error *e)
{
    char **names;
    size_t n;
    int ranks = 0;
    const char *base = file_base_name(path), *dir = folder_of(path, a);
    if (!file_is_dir(dir)) return 0;
    TRY(file_list_dir(dir, a, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        int rank, of, end = 0;
        size_t stem = strlen(base) - strlen(SUFFIX);
        if (strncmp(names[i], base, stem) != 0) continue;
        if (sscanf(names[i] + stem, "-%5d-of-%5d" SUFFIX "%n", &rank, &of, &end) != 2 || !end ||
            names[i][stem + (size_t)end])
            continue;
        if (of < 1 || rank < 1 || rank > of) continue;
        if (ranks && of != ranks)
            return error_set(e, "'%s' holds parts of %d and of %d ranks", dir, ranks, of);
        ranks = of;
    }
    return ranks;
}

static void add(struct safetensors_files *f, struct arena *a, const char *path, int device)
{
    if (f->n == f->cap) {
        size_t cap = MAX((size_t)16, 2 * f->cap);
        struct safetensors_file *list = arena_alloc(a, cap * sizeof(*list));
        if (f->n) memcpy(list, f->list, f->n * sizeof(*list));
        f->list = list;
        f->cap = cap;
    }
    f->list[f->n++] = (struct safetensors_file){path, device};
}

/* ------------------------------------------------------------------ devices */

/* Of a name "...-TP-003.safetensors" 3, of "...-TP-common.safetensors" -1; else -2. */
static int device_of(const char *name)
{
    size_t n = strlen(name), common = strlen("-TP-common" SUFFIX), one = strlen("-TP-000" SUFFIX);
    int device, end = 0;
    if (n > common && strcmp(name + n - common, "-TP-common" SUFFIX) == 0) return -1;
    if (n <= one || sscanf(name + n - one, "-TP-%3d" SUFFIX "%n", &device, &end) != 1 ||
        (size_t)end != one || device < 0 || device > MAX_DEVICE)
        return -2;
    return device;
}

/* Those of a set of devices that the folder lacks are a thing to say. */
static int check_devices(const char *dir, const struct safetensors_files *f, struct error *e)
{
    bool seen[MAX_DEVICE + 1] = {false};
    int missing = 0;
    for (size_t i = 0; i < f->n; i++)
        if (f->list[i].device >= 0) seen[f->list[i].device] = true;
    while (missing < f->devices && seen[missing])
        missing++;
    if (missing == f->devices) return 0;
    error_set(e, "'%s' is not whole: of the files of %d devices there is no '*-TP-%03d" SUFFIX "'",
              dir, f->devices, missing);
    return error_hint(e, "fetch or copy the folder again");
}

static int list_devices(const char *path, struct arena *a, struct safetensors_files *out,
                        struct error *e)
{
    char **names;
    size_t n;
    const char *dir = folder_of(path, a);
    if (!file_is_dir(dir)) return 0;
    TRY(file_list_dir(dir, a, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        int device = device_of(names[i]);
        if (device < -1) continue;
        add(out, a, file_join(a, dir, names[i]), device);
        out->devices = MAX(out->devices, device + 1);
    }
    return check_devices(dir, out, e);
}

/* ------------------------------------------------------------------ an index */

static int compare_files(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_file *)a)->path,
                  ((const struct safetensors_file *)b)->path);
}

int safetensors_index_files(const json_t *o, const char *name, struct arena *a,
                            struct safetensors_files *out, struct error *e)
{
    json_t *map = json_object_get(o, "weight_map");
    if (!json_is_object(map) || json_object_size(map) == 0)
        return error_set(e, "%s: there is no object 'weight_map' with tensors", name);
    for (void *it = json_object_iter(map); it; it = json_object_iter_next(map, it)) {
        const char *tensor = json_object_iter_key(it);
        const char *file = json_string_value(json_object_iter_value(it));
        if (!file || !file[0] || strchr(file, '/') || strcmp(file, "..") == 0 ||
            strcmp(file, ".") == 0)
            return error_set(e, "%s: tensor '%.95s' is in no file of this folder", name, tensor);
        add(out, a, arena_strdup(a, file), -1);
    }
    qsort(out->list, out->n, sizeof(*out->list), compare_files);
    size_t n = 0;
    for (size_t i = 0; i < out->n; i++)
        if (n == 0 || strcmp(out->list[n - 1].path, out->list[i].path) != 0)
            out->list[n++] = out->list[i];
    out->n = n;
    return 0;
}

int safetensors_index_check(const json_t *o, const char *name, const struct safetensors_set *s,
                            struct error *e)
{
    json_t *map = json_object_get(o, "weight_map");
    for (void *it = json_object_iter(map); it; it = json_object_iter_next(map, it))
        if (!safetensors_set_find(s, json_object_iter_key(it))) {
            error_set(e, "%s: tensor '%.95s' is in none of the files", name,
                      json_object_iter_key(it));
            return error_hint(e, "fetch or copy the folder again: it is not whole");
        }
    return 0;
}

static int read_index(const char *path, const char *index, struct arena *a,
                      struct safetensors_files *out, struct error *e)
{
    const char *dir = folder_of(path, a);
    TRY(json_load_path(index, MAX_INDEX, &out->index, e));
    TRY(safetensors_index_files(out->index, index, a, out, e));
    for (size_t i = 0; i < out->n; i++)
        out->list[i].path = file_join(a, dir, out->list[i].path);
    out->index_path = index;
    return 0;
}

/* ------------------------------------------------------------------ the files */

int safetensors_list_files(const char *path, struct arena *a, struct safetensors_files *out,
                           struct error *e)
{
    const char *index = arena_printf(a, "%s.index.json", path);
    *out = (struct safetensors_files){0};
    if (file_exists(path)) {
        add(out, a, path, -1);
        return 0;
    }
    if (file_exists(index)) return read_index(path, index, a, out, e);
    int ranks = count_ranks(path, a, e);
    TRY(ranks);
    for (int i = 0; i < ranks; i++)
        add(out, a, safetensors_part_name(a, path, i, ranks), -1);
    if (ranks == 0) TRY(list_devices(path, a, out, e));
    if (out->n > 0) return 0;
    return error_set(e, "there is no '%s', nor are there parts of it", path);
}

int safetensors_files_check(const struct safetensors_files *f, const char *path, struct error *e)
{
    const char *first = NULL;
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (file_exists(f->list[i].path)) continue;
        if (n++ == 0) first = f->list[i].path;
    }
    if (n == 0) return 0;
    error_set(e, "'%s' is not whole: %zu of its %zu files are missing, the first is '%s'", path, n,
              f->n, file_base_name(first));
    return error_hint(e, "fetch or copy the folder again");
}

bool safetensors_set_exists(const char *path)
{
    struct arena a = {0};
    struct safetensors_files files;
    bool there = safetensors_list_files(path, &a, &files, NULL) == 0;
    json_decref(files.index);
    arena_fini(&a);
    return there;
}
