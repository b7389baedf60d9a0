/* text_corpus_files.c: which files a corpus is made of, and what each of them holds.
 *
 * The order of documents decides the order of tokens in a dataset, so it must not depend on the
 * file system: folders are walked depth first with names sorted by strcmp. A folder's symbolic
 * links to folders are not followed (no loops, no file twice); links to files are.
 *
 * Debian's fortunes folder is the case the skipping rules come from: beside every NAME it has an
 * index NAME.dat, a link NAME.u8, and a sub-folder "off" of jokes meant to offend, which is read
 * only when it is named itself. */
#include "text/corpus/text_corpus_internal.h"

#include <sys/stat.h>

enum { FILES_MAX_DEPTH = 64 };

const char *const corpus_format_names[] = {"auto", "text", "lines", "jsonl", "fortune", NULL};

/* Whether a folder of the path is called "fortunes". */
static bool under_fortunes(const char *path)
{
    static const char name[] = "fortunes";
    for (const char *p = path; (p = strstr(p, name)) != NULL; p++) {
        if ((p == path || p[-1] == '/') && p[sizeof(name) - 1] == '/') return true;
    }
    return false;
}

/* strfile(1) writes an index NAME.dat beside a file of fortunes; beside NAME.gz it has that name
 * too. */
static bool has_fortune_index(const char *path, size_t plain_size)
{
    struct str index = {0};
    str_append(&index, path, plain_size);
    str_puts(&index, ".dat");
    bool found = file_exists(index.data);
    str_fini(&index);
    return found;
}

bool corpus_name_is_jsonl(const char *name)
{
    size_t n = corpus_source_plain_name(name);
    return corpus_name_ends(name, n, ".jsonl") || corpus_name_ends(name, n, ".ndjson");
}

/* What CORPUS_AUTO means for a file. */
static enum corpus_format format_of(const char *path)
{
    if (corpus_name_is_jsonl(path)) return CORPUS_JSONL;
    if (has_fortune_index(path, corpus_source_plain_name(path)) || under_fortunes(path))
        return CORPUS_FORTUNE;
    return CORPUS_TEXT;
}

static void list_add(struct corpus_file_list *list, const struct corpus_options *o,
                     const char *path, uint64_t stored_bytes)
{
    ARRAY_RESERVE(list->items, list->cap, list->count + 1);
    list->items[list->count++] =
        (struct corpus_file){.path = path,
                             .format = o->format == CORPUS_AUTO ? format_of(path) : o->format,
                             .stored_bytes = stored_bytes};
}

/* Names in a folder that are not text: see the head of this file. */
static bool skipped_name(const char *dir, const char *name, const struct stat *st)
{
    size_t n = strlen(name);
    if (name[0] == '.') return true;
    if (S_ISLNK(st->st_mode) && corpus_name_ends(name, n, ".u8")) return true;
    if (S_ISDIR(st->st_mode)) {
        size_t end = strlen(dir);
        while (end > 1 && dir[end - 1] == '/')
            end--;
        bool fortunes = end >= 8 && memcmp(dir + end - 8, "fortunes", 8) == 0 &&
                        (end == 8 || dir[end - 9] == '/');
        return fortunes && strcmp(name, "off") == 0;
    }
    return corpus_name_ends(name, n, ".dat");
}

/* Adds the files below a folder. The depth is limited because each level takes stack. */
static int walk(const struct corpus_options *o, const char *dir, int depth, struct arena *a,
                struct corpus_file_list *list, struct error *e)
{
    char **names;
    size_t count;

    if (depth > FILES_MAX_DEPTH)
        return error_set(e, "folders nested deeper than %d at '%s'", FILES_MAX_DEPTH, dir);
    TRY(file_list_dir(dir, a, &names, &count, e));
    for (size_t i = 0; i < count; i++) {
        struct stat st;
        char *path = file_join(a, dir, names[i]);
        if (lstat(path, &st) < 0) return error_errno(e, "read", path);
        if (skipped_name(dir, names[i], &st)) continue;
        if (S_ISDIR(st.st_mode)) {
            TRY(walk(o, path, depth + 1, a, list, e));
            continue;
        }
        if (S_ISLNK(st.st_mode) && stat(path, &st) < 0) return error_errno(e, "read", path);
        if (S_ISREG(st.st_mode)) list_add(list, o, path, (uint64_t)st.st_size);
    }
    return 0;
}

int corpus_files_find(const struct corpus_options *o, struct arena *a,
                      struct corpus_file_list *list, struct error *e)
{
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
            list_add(list, o, path, 0);
            list->unsized = true;
            continue;
        }
        if (stat(path, &st) < 0) return error_errno(e, "open", path);
        size_t before = list->count;
        if (S_ISDIR(st.st_mode)) {
            TRY(walk(o, path, 0, a, list, e));
            if (list->count == before) {
                error_set(e, "no files to read in folder '%s'", path);
                return error_hint(e, "hidden files, *.dat and links *.u8 are skipped");
            }
        } else {
            bool sized = S_ISREG(st.st_mode);
            list_add(list, o, path, sized ? (uint64_t)st.st_size : 0);
            list->unsized |= !sized;
        }
    }
    return 0;
}
