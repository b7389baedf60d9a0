/* text_corpus_files.c: which files a corpus is made of.
 *
 * The order of documents decides the order of tokens in a dataset, so it must not depend on the
 * file system: folders are walked depth first with names sorted by strcmp. A folder's symbolic
 * links to folders are not followed (no loops, no file twice); links to files are.
 *
 * What lies in a folder and is no text is left out and listed with the reason: what this program
 * wrote there itself, hidden files, links to folders, and the sub-folder "off" of Debian's fortunes,
 * jokes meant to offend, which is read only when it is named itself. */
#include "text/corpus/text_corpus_internal.h"

#include <sys/stat.h>

enum { FILES_MAX_DEPTH = 64 };

const char *const corpus_format_names[] = {"auto", "text",    "lines", "jsonl",
                                           "json", "fortune", NULL};

void corpus_files_leave(struct corpus_file_list *list, const char *path, const char *why)
{
    ARRAY_RESERVE(list->left, list->cap_left, list->n_left + 1);
    list->left[list->n_left++] = (struct corpus_left){path, why};
}

static struct corpus_file *list_add(struct corpus_file_list *list, const char *path,
                                    const struct stat *st)
{
    uint64_t size = st && S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    bool sized = st && S_ISREG(st->st_mode);
    ARRAY_RESERVE(list->items, list->cap, list->count + 1);
    struct corpus_file *f = &list->items[list->count++];
    *f = (struct corpus_file){.path = path, .stored_bytes = size, .pipe = !sized};
    list->unsized |= !sized;
    return f;
}

/* The paths of a walk. */
struct walk {
    const struct corpus_options *o;
    struct arena *arena;
    struct corpus_file_list *list;
};

static bool has(const struct walk *w, const char *dir, const char *name)
{
    return file_exists(file_join(w->arena, dir, name));
}

/* Whether a file begins with the mark of a token shard. */
static bool is_shard(const struct walk *w, const char *dir, const char *name)
{
    char head[sizeof(SHARD_MAGIC) - 1];
    FILE *file = fopen(file_join(w->arena, dir, name), "rbe");
    bool is = file && fread(head, sizeof(head), 1, file) == 1 &&
              memcmp(head, SHARD_MAGIC, sizeof(head)) == 0;
    if (file) fclose(file);
    return is;
}

/* A folder that this program, or a trainer like it, wrote: NULL where it may hold text. */
static const char *product_of(const struct walk *w, const char *dir)
{
    if (is_shard(w, dir, "train-00000.bin") || is_shard(w, dir, "valid-00000.bin"))
        return "a token dataset";
    if (corpus_name_ends(dir, strlen(dir), ".partial") && has(w, dir, "lock"))
        return "a token dataset in the making";
    if (has(w, dir, "run.yaml") && (has(w, dir, "metrics.jsonl") || has(w, dir, "checkpoints")))
        return "a run";
    if (has(w, dir, "weights.safetensors") && has(w, dir, "manifest.json")) return "a checkpoint";
    if (has(w, dir, "config.json") &&
        (has(w, dir, "weights.safetensors") || has(w, dir, "model.safetensors") ||
         has(w, dir, "model.safetensors.index.json")))
        return "a model";
    return NULL;
}

static bool is_fortunes_folder(const char *dir)
{
    size_t end = strlen(dir);
    while (end > 1 && dir[end - 1] == '/')
        end--;
    return end >= 8 && memcmp(dir + end - 8, "fortunes", 8) == 0 &&
           (end == 8 || dir[end - 9] == '/');
}

/* What strfile(1) and Debian put beside a file NAME of fortunes: an index NAME.dat, which NAME.gz
 * may have too, and a link NAME.u8. They hold no text of their own. */
static bool is_fortune_companion(const struct walk *w, const char *dir, const char *name,
                                 const struct stat *st)
{
    size_t n = strlen(name);
    if (corpus_name_ends(name, n, ".u8") && S_ISLNK(st->st_mode))
        return has(w, dir, arena_strndup(w->arena, name, n - 3));
    if (!corpus_name_ends(name, n, ".dat")) return false;
    char *plain = arena_strndup(w->arena, name, n - 4);
    return has(w, dir, plain) || has(w, dir, arena_printf(w->arena, "%s.gz", plain)) ||
           has(w, dir, arena_printf(w->arena, "%s.zst", plain));
}

static bool same_file(const struct stat *a, const char *path)
{
    struct stat b;
    return path && stat(path, &b) == 0 && a->st_dev == b.st_dev && a->st_ino == b.st_ino;
}

/* Why something of a folder is no part of the corpus; NULL: it is one. */
static const char *why_left(const struct walk *w, const char *dir, const char *name,
                            const char *path, const struct stat *st)
{
    if (name[0] == '.') return "hidden";
    if (S_ISDIR(st->st_mode)) {
        if (strcmp(name, "off") == 0 && is_fortunes_folder(dir))
            return "jokes meant to offend: name it to read it";
        return product_of(w, path);
    }
    struct stat to;
    if (S_ISLNK(st->st_mode) && stat(path, &to) == 0 && S_ISDIR(to.st_mode))
        return "a link to a folder";
    if (!S_ISLNK(st->st_mode) && !S_ISREG(st->st_mode)) return "not a file";
    for (size_t i = 0; i < w->o->n_not_read; i++)
        if (same_file(st, w->o->not_read[i])) return "not input";
    return NULL;
}

/* Adds the files below a folder. The depth is limited because each level takes stack. */
static int walk(const struct walk *w, const char *dir, int depth, struct error *e)
{
    char **names;
    size_t count;

    if (depth > FILES_MAX_DEPTH)
        return error_set(e, "folders nested deeper than %d at '%s'", FILES_MAX_DEPTH, dir);
    TRY(file_list_dir(dir, w->arena, &names, &count, e));
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        char *path = file_join(w->arena, dir, names[i]);
        if (lstat(path, &st) < 0) return error_errno(e, "read", path);
        if (is_fortune_companion(w, dir, names[i], &st)) continue;
        const char *why = why_left(w, dir, names[i], path, &st);
        if (why) {
            corpus_files_leave(w->list, path, why);
            continue;
        }
        if (S_ISDIR(st.st_mode)) {
            TRY(walk(w, path, depth + 1, e));
            continue;
        }
        if (S_ISLNK(st.st_mode) && stat(path, &st) < 0) return error_errno(e, "read", path);
        if (S_ISREG(st.st_mode))
            list_add(w->list, path, &st)->in_folder = true;
        else
            corpus_files_leave(w->list, path, "not a file");
    }
    return 0;
}

/* A folder that is named itself. */
static int find_in_folder(const struct walk *w, const char *dir, struct error *e)
{
    const char *product = product_of(w, dir);
    size_t before = w->list->count, left = w->list->n_left;
    if (product) {
        error_set(e, "'%s' is %s, not text", dir, product);
        return error_hint(e, "name the files that it was made from");
    }
    TRY(walk(w, dir, 0, e));
    if (w->list->count > before) return 0;
    error_set(e, "no files to read in folder '%s'", dir);
    if (left == w->list->n_left) return ERROR_FAILED;
    return error_hint(e, "'%s' is left out (%s)", w->list->left[left].path,
                      w->list->left[left].why);
}

int corpus_files_find(const struct corpus_options *o, struct arena *a,
                      struct corpus_file_list *list, struct error *e)
{
    const struct walk w = {o, a, list};
    int n_stdin = 0;

    if (o->n_paths == 0) {
        error_set_code(e, ERROR_USAGE, "no input was named");
        return error_hint(e, "name files or folders, or '-' for standard input");
    }
    for (size_t i = 0; i < o->n_paths; i++) {
        struct stat st;
        char *path = arena_strdup(a, o->paths[i]);
        if (strcmp(path, "-") == 0) {
            if (n_stdin++) return error_set_code(e, ERROR_USAGE, "'-' may be named only once");
            list_add(list, path, NULL);
            continue;
        }
        if (stat(path, &st) < 0) return error_errno(e, "open", path);
        if (S_ISDIR(st.st_mode))
            TRY(find_in_folder(&w, path, e));
        else
            list_add(list, path, &st);
    }
    return 0;
}
