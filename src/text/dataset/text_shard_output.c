/* text_shard_output.c: the place that a dataset is written to, so that a killed run leaves no half
 * dataset.
 *
 * All files go to OUT.partial; the last step renames that folder to OUT. A reader therefore sees no
 * dataset or a whole one. OUT.partial holds a file "lock" that is locked while a run writes: the
 * next run takes over (empties) a folder that a killed run left behind, but not one whose run still
 * lives, and never a folder that has no such file, because then it is somebody else's.
 *
 * With force the old dataset and the new one change places in one step (renameat2 with
 * RENAME_EXCHANGE), then the old one is removed; where the file system cannot exchange, the old one
 * is moved aside first. Only a dataset is ever replaced, so a mistyped --out costs nothing. */
#include "text/dataset/text_dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_NAME "lock"

static bool dir_is_empty(const char *dir)
{
    struct arena a = {0};
    char **names;
    size_t n = 1;
    int rc = file_list_dir(dir, &a, &names, &n, NULL);
    arena_fini(&a);
    return rc >= 0 && n == 0;
}

/* Whether the final folder is free, or may be replaced. */
static int check_place(const char *dir, bool force, struct error *e)
{
    struct stat st;

    if (lstat(dir, &st) < 0) return errno == ENOENT ? 0 : error_errno(e, "look at", dir);
    if (!S_ISDIR(st.st_mode)) {
        error_set(e, "'%s' exists and is not a folder", dir);
        return error_hint(e, "name another --out");
    }
    if (dir_is_empty(dir)) return 0;
    if (!shard_index_is_ours(dir)) {
        error_set(e, "folder '%s' exists and holds something else than a dataset", dir);
        return error_hint(e, "name another --out");
    }
    if (force) return 0;
    error_set(e, "folder '%s' already holds a dataset", dir);
    return error_hint(e, "--force replaces it");
}

int dataset_check_output(const struct dataset_options *o, struct error *e)
{
    if (!o->out_dir || !*o->out_dir)
        return error_set_code(e, ERROR_USAGE, "no output folder was named");
    if (!(o->valid_fraction >= 0 && o->valid_fraction < 1))
        return error_set_code(e, ERROR_USAGE,
                              "the validation fraction %g is not at least 0 and below 1",
                              o->valid_fraction);
    if (o->shard_tokens > SHARD_MAX_TOKENS)
        return error_set_code(e, ERROR_USAGE, "more than 2^48 tokens in a shard");
    return check_place(o->out_dir, o->force, e);
}

/* Removes everything but the lock. */
static int empty_dir(const char *dir, struct arena *a, struct error *e)
{
    char **names;
    size_t n;

    TRY(file_list_dir(dir, a, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], LOCK_NAME) == 0) continue;
        TRY(file_remove_tree(file_join(a, dir, names[i]), e));
    }
    return 0;
}

/* The lock goes last: a folder that is half removed must still be known as ours. */
static int remove_dir(const char *dir, struct arena *a, struct error *e)
{
    TRY(empty_dir(dir, a, e));
    return file_remove_tree(dir, e);
}

/* Takes the lock inside the work folder, made anew or left behind by a killed run. */
static int take_work_dir(struct shard_output *out, struct arena *a, struct error *e)
{
    char *lock = file_join(a, out->work_dir, LOCK_NAME);

    if (file_exists(out->work_dir) && !file_exists(lock) && !dir_is_empty(out->work_dir)) {
        error_set(e, "'%s' is in the way and was not made by this program", out->work_dir);
        return error_hint(e, "move it away, or name another --out");
    }
    TRY(file_make_dirs(out->work_dir, e));
    out->lock_fd = open(lock, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (out->lock_fd < 0) return error_errno(e, "create", lock);
    if (flock(out->lock_fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK) return error_errno(e, "lock", lock);
        close(out->lock_fd);
        out->lock_fd = -1; /* not ours to remove */
        return error_set(e, "another run is writing to '%s'", out->final_dir);
    }
    return empty_dir(out->work_dir, a, e);
}

int shard_output_begin(struct shard_output *out, const char *dir, bool force, struct arena *a,
                       struct error *e)
{
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    *out = (struct shard_output){.lock_fd = -1, .force = force};
    out->final_dir = arena_strndup(a, dir, n);
    out->work_dir = arena_printf(a, "%s.partial", out->final_dir);
    TRY(check_place(out->final_dir, force, e));
    int rc = take_work_dir(out, a, e);
    if (rc < 0) shard_output_abort(out);
    return rc;
}

/* Puts the work folder in the place of an existing dataset, which gets a lock file first: should
 * this run be killed before it has removed it, the next one knows that it may. */
static int replace(struct shard_output *out, struct arena *a, struct error *e)
{
    char *lock = file_join(a, out->final_dir, LOCK_NAME);
    int fd = open(lock, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return error_errno(e, "create", lock);
    close(fd);
    if (renameat2(AT_FDCWD, out->work_dir, AT_FDCWD, out->final_dir, RENAME_EXCHANGE) == 0)
        return remove_dir(out->work_dir, a, e);
    if (errno != EINVAL && errno != ENOSYS) return error_errno(e, "replace", out->final_dir);
    char *aside = arena_printf(a, "%s.replaced", out->final_dir);
    if (file_exists(file_join(a, aside, LOCK_NAME))) TRY(remove_dir(aside, a, e));
    TRY(file_rename(out->final_dir, aside, e));
    TRY(file_rename(out->work_dir, out->final_dir, e));
    return remove_dir(aside, a, e);
}

/* The folder is on the disk before its name is: after a power cut there is no dataset, or all of
 * it. */
int shard_output_commit(struct shard_output *out, struct error *e)
{
    struct arena a = {0};
    int rc = check_place(out->final_dir, out->force, e); /* it may have appeared meanwhile */
    if (rc >= 0) rc = file_sync_dir(out->work_dir, e);
    if (rc >= 0) {
        rc = out->force && shard_index_is_ours(out->final_dir)
                 ? replace(out, &a, e)
                 : file_rename(out->work_dir, out->final_dir, e);
    }
    if (rc >= 0) {
        /* Last, so that there is never a work folder without its lock. */
        (void)unlink(file_join(&a, out->final_dir, LOCK_NAME));
        close(out->lock_fd);
        out->lock_fd = -1;
    }
    arena_fini(&a);
    return rc;
}

void shard_output_abort(struct shard_output *out)
{
    struct arena a = {0};

    if (out->lock_fd < 0) return;
    (void)remove_dir(out->work_dir, &a, NULL);
    arena_fini(&a);
    close(out->lock_fd);
    out->lock_fd = -1;
}
