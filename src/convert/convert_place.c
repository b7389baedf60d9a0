/* convert_place.c: the place that a conversion's result takes.
 *
 * All of it is written beside its place, OUT.part, and what is there stays whole until the new one has
 * its place: files change by one rename, folders by an exchange of names, or, where the file system has
 * none, by two renames of which a failed second one takes the first one back. What was there goes last.
 *
 * OUT.part is locked while it is written, so that two commands cannot write into one another's. One that
 * a killed command left is taken over. */
#include "convert/convert_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ------------------------------------------------------------------ what is there */

static int refuse(struct error *e, const char *out, const char *what, const char *hint)
{
    error_set(e, "'%s' %s", out, what);
    return error_hint(e, "%s", hint);
}

static bool holds(const char *folder, const char *name)
{
    struct arena a = {0};
    bool there = file_exists(file_join(&a, folder, name));
    arena_fini(&a);
    return there;
}

/* A folder is replaced only where it is a model's, and nothing that a run needs. */
static int check_folder(const char *out, struct error *e)
{
    if (!holds(out, "config.json"))
        return refuse(e, out, "is a folder without a config.json: it is not replaced",
                      "name one that is not there yet, or remove it first");
    if (holds(out, "manifest.json"))
        return refuse(e, out, "is the checkpoint of a run: it is not replaced",
                      "name a folder that is not there yet");
    return 0;
}

/* A folder that holds the source, and is not the source, would take it with it. */
static int check_source(const char *out, const struct convert_options *o, struct error *e)
{
    char in[PATH_MAX], real[PATH_MAX];
    size_t n;
    if (!realpath(o->config, in) || !realpath(out, real))
        return 0; /* what is wrong is said later */
    if (!gguf_is(in)) in[strlen(in) - strlen(file_base_name(in)) - 1] = '\0'; /* the folder */
    n = strlen(real);
    if (strncmp(in, real, n) != 0 || in[n] != '/') return 0;
    return refuse(e, out, "holds the model that is read: it is not replaced",
                  "name a folder that is not there yet");
}

static int check_there(const char *out, const struct convert_options *o, mode_t mode,
                       struct error *e)
{
    bool folder = o->to != CONVERT_GGUF;
    if (!S_ISREG(mode) && !S_ISDIR(mode))
        return refuse(e, out, "is neither a file nor a folder: it is not replaced",
                      "name a file or a folder that is not there yet");
    if (!o->force)
        return refuse(e, out, "is there already", "another name, or --force to replace it");
    if (S_ISDIR(mode) && !folder)
        return refuse(e, out, "is a folder, and a GGUF file would take its place",
                      "name a file, or say --to hf or --to colossus");
    if (S_ISREG(mode) && folder)
        return refuse(e, out, "is a file, and a folder would take its place",
                      "name a folder, or say --to gguf");
    if (S_ISREG(mode)) return 0;
    TRY(check_folder(out, e));
    return check_source(out, o, e);
}

int convert_place_find(const struct convert_options *o, struct arena *a, const char **place,
                       struct error *e)
{
    char real[PATH_MAX];
    struct stat is;
    size_t n = strlen(o->out);
    if (n == 0) return error_set_code(e, ERROR_USAGE, "OUT is empty: a name is needed");
    if (o->to == CONVERT_GGUF && o->out[n - 1] == '/') {
        error_set_code(e, ERROR_USAGE, "'%s' is the name of a folder, and a GGUF file is written",
                       o->out);
        return error_hint(e, "name a file, or say --to hf or --to colossus");
    }
    while (n > 1 && o->out[n - 1] == '/')
        n--;
    *place = arena_strndup(a, o->out, n);
    if (lstat(*place, &is) != 0) return errno == ENOENT ? 0 : error_errno(e, "look at", *place);
    if (S_ISLNK(is.st_mode)) {
        if (!realpath(*place, real) || stat(real, &is) != 0)
            return refuse(e, *place, "is a link to nothing", "remove it, or name another place");
        *place = arena_strdup(a, real);
    }
    return check_there(*place, o, is.st_mode, e);
}

/* ------------------------------------------------------------------ beside it */

/* Opens OUT.part, made where it is missing, and takes its lock. A file or folder that another command
 * has put into its place or removed since it was opened is not the one at that name: then once more. */
static int take(struct convert_place *p, struct error *e)
{
    struct stat held, named;
    for (int tries = 0; tries < 100; tries++) {
        if (p->folder) TRY(file_make_dirs(p->part, e));
        int how = p->folder ? O_RDONLY | O_DIRECTORY : O_WRONLY | O_CREAT;
        p->fd = open(p->part, how | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (p->fd < 0) return error_errno(e, "create", p->part);
        if (flock(p->fd, LOCK_EX | LOCK_NB) != 0) break;
        if (fstat(p->fd, &held) == 0 && lstat(p->part, &named) == 0 &&
            held.st_ino == named.st_ino && held.st_dev == named.st_dev)
            return 0;
        close(p->fd);
        p->fd = -1;
    }
    error_set(e, "another command is writing '%s'", p->part);
    return error_hint(e, "wait until it has ended, or choose another name");
}

/* What a killed command left in the folder. */
static int empty_folder(const struct convert_place *p, struct error *e)
{
    struct arena a = {0};
    char **names;
    size_t n;
    int rc = file_list_dir(p->part, &a, &names, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = file_remove_tree(file_join(&a, p->part, names[i]), e);
    arena_fini(&a);
    return rc;
}

int convert_place_open(struct convert_place *p, const struct convert_options *o, struct error *e)
{
    *p = (struct convert_place){.out = o->out, .folder = o->to != CONVERT_GGUF, .fd = -1};
    p->force = o->force;
    int n = snprintf(p->part, sizeof(p->part), "%s.part", o->out);
    if (n < 0 || (size_t)n >= sizeof(p->part))
        return error_set(e, "the name '%s' is too long", o->out);
    int rc = take(p, e);
    if (rc == 0 && p->folder) rc = empty_folder(p, e);
    if (rc == 0 && !p->folder && ftruncate(p->fd, 0) != 0) rc = error_errno(e, "empty", p->part);
    if (rc < 0 && p->fd >= 0) {
        close(p->fd);
        p->fd = -1;
    }
    return rc;
}

/* ------------------------------------------------------------------ in its place */

/* A folder at the name of one that is there: what was there is then at p->part. */
static int exchange(struct convert_place *p, struct error *e)
{
    char old[sizeof(p->part) + 8];
    if (renameat2(AT_FDCWD, p->part, AT_FDCWD, p->out, RENAME_EXCHANGE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return error_errno(e, "put into its place", p->part);
    snprintf(old, sizeof(old), "%s.old", p->part);
    if (rename(p->out, old) != 0) return error_errno(e, "put aside", p->out);
    if (rename(p->part, p->out) != 0) {
        error_errno(e, "put into its place", p->part);
        if (rename(old, p->out) != 0) error_hint(e, "what was there is now '%s'", old);
        return -1;
    }
    return rename(old, p->part) == 0 ? 0 : error_errno(e, "remove", old);
}

/* At a name where nothing may be: somebody else may have come since it was looked at. */
static int rename_new(const struct convert_place *p, struct error *e)
{
    if (renameat2(AT_FDCWD, p->part, AT_FDCWD, p->out, RENAME_NOREPLACE) == 0) return 0;
    if (errno == EEXIST)
        return refuse(e, p->out, "is there since a moment ago", "another name, or --force");
    if (errno != EINVAL && errno != ENOSYS) return error_errno(e, "put into its place", p->part);
    return file_rename(p->part, p->out, e);
}

static int put(struct convert_place *p, struct error *e)
{
    char copy[PATH_MAX];
    if (p->folder) TRY(file_sync_dir(p->part, e));
    if (!p->force)
        TRY(rename_new(p, e));
    else if (p->folder && file_exists(p->out))
        TRY(exchange(p, e));
    else
        TRY(file_rename(p->part, p->out, e));
    snprintf(copy, sizeof(copy), "%s", p->out);
    return file_sync_dir(dirname(copy), e);
}

int convert_place_end(struct convert_place *p, int rc, struct error *e)
{
    if (rc == 0) rc = put(p, e);
    int removed =
        file_remove_tree(p->part, rc == 0 ? e : NULL); /* the new one, or what was there */
    close(p->fd);
    return rc < 0 ? rc : removed;
}
