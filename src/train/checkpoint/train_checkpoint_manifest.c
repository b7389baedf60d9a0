/* train_checkpoint_manifest.c: the format of a checkpoint folder, and when one is valid.
 *
 * RUN/checkpoints/step-00000123/      the step in decimal, at least 8 digits with leading zeros
 *     weights.safetensors             any number of files: tensors as safetensors, in one file or
 *     optim-m.safetensors             in parts of several ranks (model_parts.c), small ones
 *                                     (config.json, tokenizer.json) byte for byte as given
 *     ...
 *     manifest.json                   written last
 * RUN/checkpoints/step-00000123.tmp/  being written, being replaced or being deleted: never read; of
 *                                     attempt 2 of a launcher .2.tmp, so that who was left behind
 *                                     never writes where others write now
 *
 * manifest.json is UTF-8 text, one JSON object, in exactly this form (LF line ends, two-space
 * indents, lower-case hex; S a decimal integer, H 16 hex digits of an XXH3-64):
 *
 *     {\n
 *       "format": "colossus checkpoint",\n
 *       "version": 1,\n
 *       "step": S,\n                        equal to the folder's
 *       "ranks": S,\n                       number of processes whose parts lie in the folder
 *       "files": [\n
 *         {"name": "NAME", "size": S, "xxh3": "H"},\n       one line per file, comma but for the
 *         ...                                               last; size in bytes; H of all bytes
 *       ],\n
 *       "state": {...},\n                   the run's: cursor, counters, configuration
 *       "xxh3": "H"\n                       of every byte of the manifest before these 16 digits
 *     }\n
 *
 * A checkpoint is valid when all of this holds: its name is that of a step; the manifest ends in
 * the 20 bytes `H"\n}\n` with H the hash of everything before, compared as text, so that the last
 * bytes too have one spelling only; it is of this format and version; every file it names is there
 * with that size and hash. So one changed byte anywhere, manifest included, makes it invalid.
 * Files that the manifest does not name are no part of the checkpoint.
 *
 * Why a hash and not only a size: disks, memory and networks do flip bits, rarely, and a run that
 * resumes from a damaged moment vector looks healthy for days. XXH3 costs no more than reading.
 * It guards against accidents, not against someone who wants to deceive. */
#include "train/checkpoint/train_checkpoint_manifest_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FORMAT_NAME    "colossus checkpoint"
#define FORMAT_VERSION 1
#define STAGING_SUFFIX ".tmp"
#define HASH_DIGITS    16
#define TAIL           "\"\n}\n" /* behind the manifest's own hash */

/* ------------------------------------------------------------------ names */

char *ckpt_root_path(struct arena *a, const char *run_dir)
{
    return file_join(a, run_dir, "checkpoints");
}

char *ckpt_step_path(struct arena *a, const char *root, int64_t step)
{
    CHECK_MSG(step >= 0 && step <= CKPT_MAX_STEP, "step %" PRId64, step);
    return arena_printf(a, "%s/step-%08" PRId64, root, step);
}

char *ckpt_staging_path(struct arena *a, const char *root, int64_t step, int attempt)
{
    const char *path = ckpt_step_path(a, root, step);
    return attempt > 0 ? arena_printf(a, "%s.%d" STAGING_SUFFIX, path, attempt)
                       : arena_printf(a, "%s" STAGING_SUFFIX, path);
}

int64_t ckpt_step_from_name(const char *name)
{
    char canonical[32];
    if (strncmp(name, "step-", 5) != 0) return -1;
    size_t digits = strspn(name + 5, "0123456789");
    if (digits < 8 || digits > 12 || name[5 + digits]) return -1;
    int64_t step = strtoll(name + 5, NULL, 10);
    /* One name per step: "step-000000007" is not ours. */
    snprintf(canonical, sizeof(canonical), "step-%08" PRId64, step);
    return strcmp(canonical, name) == 0 ? step : -1;
}

bool ckpt_is_staging_name(const char *name)
{
    char base[32];
    size_t n = strlen(name), suffix = strlen(STAGING_SUFFIX);
    if (n <= suffix || n - suffix >= sizeof(base)) return false;
    if (strcmp(name + n - suffix, STAGING_SUFFIX) != 0) return false;
    snprintf(base, sizeof(base), "%.*s", (int)(n - suffix), name);
    char *attempt = strchr(base, '.');
    if (attempt && attempt[1] && strspn(attempt + 1, "0123456789") == strlen(attempt + 1))
        *attempt = '\0';
    return ckpt_step_from_name(base) >= 0;
}

bool ckpt_file_name_valid(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789._-";
    size_t n = strlen(name);
    return n > 0 && n <= 128 && name[0] != '.' && strspn(name, allowed) == n &&
           strcmp(name, CKPT_MANIFEST) != 0;
}

static int compare_steps_newest_first(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

int ckpt_scan(const char *root, struct arena *a, int64_t **steps, size_t *count, struct error *e)
{
    *count = 0;
    *steps = arena_alloc(a, sizeof(**steps));
    /* Only "there is none" means none: a folder that cannot be looked at must not look empty. */
    struct stat st;
    if (stat(root, &st) < 0 && errno == ENOENT) return 0;
    char **names;
    size_t n;
    TRY(file_list_dir(root, a, &names, &n, e));
    *steps = arena_alloc(a, (n + 1) * sizeof(**steps));
    for (size_t i = 0; i < n; i++) {
        int64_t step = ckpt_step_from_name(names[i]);
        if (step >= 0) (*steps)[(*count)++] = step;
    }
    if (*count) qsort(*steps, *count, sizeof(**steps), compare_steps_newest_first);
    return 0;
}

/* ------------------------------------------------------------------ writing */

void ckpt_manifest_print(const struct ckpt_manifest *m, const char *state_text, struct str *out)
{
    char hex[17];
    size_t begin = out->len;
    str_printf(out,
               "{\n  \"format\": \"" FORMAT_NAME "\",\n  \"version\": %d,\n  \"step\": %" PRId64
               ",\n  \"ranks\": %" PRId64 ",\n  \"files\": [\n",
               FORMAT_VERSION, m->step, m->ranks);
    for (size_t i = 0; i < m->n_files; i++) {
        const struct ckpt_manifest_file *f = &m->files[i];
        hash_to_hex(f->xxh3, hex);
        str_printf(out, "    {\"name\": \"%s\", \"size\": %" PRIu64 ", \"xxh3\": \"%s\"}%s\n",
                   f->name, f->size, hex, i + 1 < m->n_files ? "," : "");
    }
    str_printf(out, "  ],\n  \"state\": %s,\n  \"xxh3\": \"", state_text);
    hash_to_hex(hash_xxh3(out->data + begin, out->len - begin), hex);
    str_printf(out, "%s" TAIL, hex);
}

/* ------------------------------------------------------------------ reading */

static int check_own_hash(const char *text, size_t size, const char *path, struct error *e)
{
    const size_t tail = HASH_DIGITS + strlen(TAIL);
    char hex[17];
    if (size < tail) return error_set(e, "'%s' is cut off (%zu bytes)", path, size);
    hash_to_hex(hash_xxh3(text, size - tail), hex);
    const char *found = text + size - tail;
    if (memcmp(found, hex, HASH_DIGITS) != 0 ||
        memcmp(found + HASH_DIGITS, TAIL, strlen(TAIL)) != 0)
        return error_set(e, "'%s' is damaged: it does not match its own hash", path);
    return 0;
}

/* One row of "files". Sizes and names are checked although the hash matched: a manifest may come
 * from a program with a defect, and what it names is opened. */
static int read_file_row(const json_t *row, const char *path, struct arena *a,
                         struct ckpt_manifest_file *f, struct error *e)
{
    const char *name, *hex;
    int64_t size;
    TRY(json_get_string(row, "name", &name, path, e));
    TRY(json_get_int(row, "size", &size, path, e));
    TRY(json_get_string(row, "xxh3", &hex, path, e));
    if (!ckpt_file_name_valid(name))
        return error_set(e, "'%s' names a file '%s', which cannot be one of a checkpoint's", path,
                         name);
    if (size < 0 || hash_from_hex(hex, &f->xxh3) < 0)
        return error_set(e, "'%s': bad size or hash of the file '%s'", path, name);
    f->name = arena_strdup(a, name);
    f->size = (uint64_t)size;
    return 0;
}

static int compare_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int check_names_differ(const struct ckpt_manifest *m, const char *path, struct arena *a,
                              struct error *e)
{
    const char **names = arena_alloc(a, m->n_files * sizeof(*names));
    for (size_t i = 0; i < m->n_files; i++)
        names[i] = m->files[i].name;
    qsort(names, m->n_files, sizeof(*names), compare_text);
    for (size_t i = 1; i < m->n_files; i++)
        if (strcmp(names[i - 1], names[i]) == 0)
            return error_set(e, "'%s' names the file '%s' twice", path, names[i]);
    return 0;
}

static int read_files(const json_t *root, const char *path, struct arena *a,
                      struct ckpt_manifest *m, struct error *e)
{
    const json_t *rows = json_object_get(root, "files");
    size_t n = json_array_size(rows);
    if (!json_is_array(rows) || n == 0 || n > CKPT_MAX_FILES)
        return error_set(e, "'%s': 'files' must be a list of 1 to %zu files", path, CKPT_MAX_FILES);
    m->files = arena_alloc(a, n * sizeof(*m->files));
    for (size_t i = 0; i < n; i++) {
        TRY(read_file_row(json_array_get(rows, i), path, a, &m->files[i], e));
        m->n_files = i + 1;
    }
    return check_names_differ(m, path, a, e);
}

static int read_members(const json_t *root, const char *path, struct arena *a,
                        struct ckpt_manifest *m, struct error *e)
{
    const char *format;
    int64_t version;
    TRY(json_get_string(root, "format", &format, path, e));
    TRY(json_get_int(root, "version", &version, path, e));
    if (strcmp(format, FORMAT_NAME) != 0)
        return error_set(e, "'%s' is not a checkpoint's manifest (format '%s')", path, format);
    if (version != FORMAT_VERSION) {
        error_set(e, "'%s' is of format version %" PRId64 ", this program reads %d", path, version,
                  FORMAT_VERSION);
        return error_hint(e, "use the version of colossus that wrote it");
    }
    TRY(json_get_int(root, "step", &m->step, path, e));
    TRY(json_get_int(root, "ranks", &m->ranks, path, e));
    if (m->ranks < 1) return error_set(e, "'%s' is of %" PRId64 " ranks", path, m->ranks);
    TRY(read_files(root, path, a, m, e));
    m->state = json_object_get(root, "state");
    if (!json_is_object(m->state)) {
        m->state = NULL;
        return error_set(e, "'%s': 'state' is missing or not an object", path);
    }
    json_incref(m->state);
    return 0;
}

int ckpt_manifest_parse(const char *text, size_t size, const char *path, struct arena *a,
                        struct ckpt_manifest *m, struct error *e)
{
    *m = (struct ckpt_manifest){0};
    json_t *root = NULL;
    int rc = check_own_hash(text, size, path, e);
    if (rc == 0) rc = json_parse(text, size, path, &root, e);
    if (rc == 0) rc = read_members(root, path, a, m, e);
    if (rc < 0) ckpt_manifest_free(m);
    json_decref(root);
    return rc;
}

int ckpt_manifest_read(const char *path, struct arena *a, struct ckpt_manifest *m, struct error *e)
{
    *m = (struct ckpt_manifest){0};
    char *text;
    size_t size;
    TRY(file_read(path, CKPT_MAX_MANIFEST, &text, &size, e));
    int rc = ckpt_manifest_parse(text, size, path, a, m, e);
    mem_free(text);
    return rc;
}

void ckpt_manifest_free(struct ckpt_manifest *m)
{
    json_decref(m->state);
    m->state = NULL;
}

static int check_one_file(const char *path, const struct ckpt_manifest_file *f, struct error *e)
{
    char found[17], expected[17];
    uint64_t hash;
    TRY(hash_file(path, &hash, e));
    if (hash == f->xxh3) return 0;
    hash_to_hex(hash, found);
    hash_to_hex(f->xxh3, expected);
    return error_set(e, "'%s' is damaged: XXH3 %s, the manifest says %s", path, found, expected);
}

int ckpt_manifest_check_sizes(const char *dir, const struct ckpt_manifest *m, struct error *e)
{
    struct arena a = {0};
    int rc = 0;
    for (size_t i = 0; i < m->n_files && rc == 0; i++) {
        const char *path = file_join(&a, dir, m->files[i].name);
        int64_t size = file_size(path, e);
        if (size < 0)
            rc = (int)size;
        else if ((uint64_t)size != m->files[i].size)
            rc = error_set(e, "'%s' is %" PRId64 " bytes long, the manifest says %" PRIu64, path,
                           size, m->files[i].size);
    }
    arena_fini(&a);
    return rc;
}

/* Every size before any hash: a missing or cut file shows without reading gigabytes. */
int ckpt_manifest_check_files(const char *dir, const struct ckpt_manifest *m, struct error *e)
{
    struct arena a = {0};
    int rc = ckpt_manifest_check_sizes(dir, m, e);
    for (size_t i = 0; i < m->n_files && rc == 0; i++)
        rc = check_one_file(file_join(&a, dir, m->files[i].name), &m->files[i], e);
    arena_fini(&a);
    return rc;
}
