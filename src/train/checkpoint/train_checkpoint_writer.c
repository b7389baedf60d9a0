/* train_checkpoint_writer.c: writes checkpoints beside the training, so that a crash at any
 * instant leaves the newest one whole.
 *
 * Two threads. The training thread copies the live arrays into a staging copy and goes on; the
 * writing thread brings the copy to disk. One checkpoint is under way at a time: the next submit
 * waits for it, so memory is bounded by one copy, which is planned and allocated at the start.
 *
 *     step-N.tmp/            left-overs of this name are removed
 *       *.safetensors, *     written, each fsynced
 *     step-N.tmp/            fsynced
 *       manifest.json        written and fsynced: only now the folder verifies
 *     step-N.tmp/            read back and verified, as the loader will
 *     step-N.tmp -> step-N   renamed, and the folder above fsynced: only now it counts
 *     older ones             deleted as the retention rule says: only now. Checkpoints that are not
 *                            sound (saved while updates are skipped) drive none away that is
 *
 * Of many ranks each has a writer. All write their parts into the .tmp folder, which rank 0 has made
 * (ckpt_writer_prepare), and verify them; from the manifest on rank 0 does the rest, when the caller
 * says that all parts are there (ckpt_writer_commit). So a rank that dies while it writes leaves a
 * .tmp folder, which the next opening removes.
 *
 * What must stay true: (1) a folder with a checkpoint's name was complete and verified when it got
 * that name; (2) nothing older is deleted before (1) holds for the newer, so the last good
 * checkpoint never goes; (3) a failure (disk full, no permission, a device that lies) removes the
 * .tmp folder, changes nothing else and is reported with the file and the reason.
 *
 * The writing thread blocks all signals: SIGTERM belongs to the training thread. A file size limit
 * is an EFBIG that write returns, as SIGXFSZ is ignored by the whole program (cmd_main). */
#include "train/checkpoint/train_checkpoint_internal.h"
#include "train/checkpoint/train_checkpoint_manifest_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define COPY_PIECE    ((size_t)4 << 20) /* one task of the parallel copy */
#define STAGING_ALIGN 64

enum write_work {
    WRITE_ALL,   /* one process: the whole checkpoint */
    WRITE_PART,  /* the files of this rank */
    WRITE_COMMIT /* rank 0: manifest and name */
};

struct copy_piece {
    const uint8_t *live;
    uint8_t *staged;
    size_t bytes;
};

struct ckpt_writer {
    struct arena arena; /* names, entries and contents of small files; constant after open */
    const char *root;   /* RUN/checkpoints */
    struct ckpt_writer_options options; /* run_dir is read when it opens, and not kept */
    int lock_fd, rank, n_ranks;
    struct ckpt_set *sets; /* what is written here; entries point into the staging copy */
    size_t n_sets;
    struct ckpt_file *files;
    size_t n_files;
    uint8_t *staging;
    size_t staging_bytes;
    struct copy_piece *pieces;
    size_t n_pieces;
    struct ckpt_manifest_file *rows; /* the writing thread's: sets, then files */
    const struct ckpt_part *parts;   /* of all ranks, the caller's */
    size_t n_parts;

    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool busy, quit, failed; /* under the lock; while busy the rest is the writing thread's */
    struct error failure;
    enum write_work work;
    int64_t step;
    int64_t guarded; /* the newest up to that step stays; -1: none */
    struct str state_text, manifest_text;
};

/* ------------------------------------------------------------------ writing, on its thread */

static int write_files(ckpt_writer_t *w, const char *dir, struct arena *a, struct error *e)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n_sets; i++, n++) {
        const struct ckpt_set *s = &w->sets[i];
        struct safetensors_written written;
        TRY(safetensors_write(file_join(a, dir, s->file), s->entries, s->n_entries, &written, e));
        w->rows[n].xxh3 = written.xxh3;
        w->rows[n].size = written.size;
    }
    for (size_t i = 0; i < w->n_files; i++) {
        const struct ckpt_file *f = &w->files[i];
        TRY(file_write(file_join(a, dir, f->name), f->data, f->size, e));
    }
    return file_sync_dir(dir, e);
}

/* Of this process's files, or of those of all ranks. */
static struct ckpt_manifest list_files(const ckpt_writer_t *w, struct arena *a)
{
    struct ckpt_manifest m = {.step = w->step, .ranks = w->n_ranks};
    m.files = w->rows;
    m.n_files = w->n_sets + w->n_files;
    if (w->work != WRITE_COMMIT) return m;
    m.n_files = w->n_parts;
    m.files = arena_alloc(a, w->n_parts * sizeof(*m.files));
    for (size_t i = 0; i < w->n_parts; i++) {
        const struct ckpt_part *p = &w->parts[i];
        m.files[i] = (struct ckpt_manifest_file){p->name, p->size, p->xxh3};
    }
    return m;
}

static int write_manifest(ckpt_writer_t *w, const char *dir, struct arena *a, struct error *e)
{
    struct ckpt_manifest m = list_files(w, a);
    str_clear(&w->manifest_text);
    ckpt_manifest_print(&m, w->state_text.data, &w->manifest_text);
    return file_write(file_join(a, dir, CKPT_MANIFEST), w->manifest_text.data, w->manifest_text.len,
                      e);
}

/* What was written must be what a loader will accept. Each rank has read its part back already. */
static int read_back(ckpt_writer_t *w, const char *dir, struct arena *a, struct error *e)
{
    struct ckpt_manifest m, wrote = list_files(w, a);
    int rc = ckpt_manifest_read(file_join(a, dir, CKPT_MANIFEST), a, &m, e);
    if (rc == 0 && (m.step != w->step || m.n_files != wrote.n_files))
        rc = error_set(e, "the manifest in '%s' is not the one that was written", dir);
    if (rc == 0 && w->work == WRITE_COMMIT) rc = ckpt_manifest_check_sizes(dir, &m, e);
    if (rc == 0 && w->work == WRITE_ALL) rc = ckpt_manifest_check_files(dir, &m, e);
    ckpt_manifest_free(&m);
    return rc < 0 ? error_context(e, "reading back what was just written") : 0;
}

/* Gives the finished folder its name. One of the same step (damaged, or of a run that was taken
 * back) is replaced in one operation where the file system can exchange two names; where it
 * cannot, the older is deleted first. */
static int publish(const ckpt_writer_t *w, const char *staging, const char *final, struct error *e)
{
    if (!file_exists(final)) return file_rename(staging, final, e);
    if (renameat2(AT_FDCWD, staging, AT_FDCWD, final, RENAME_EXCHANGE) < 0) {
        if (errno != EINVAL && errno != ENOSYS && errno != ENOTSUP)
            return error_errno(e, "replace", final);
        TRY(file_remove_tree(final, e));
        return file_rename(staging, final, e);
    }
    TRY(file_sync_dir(w->root, e));
    struct error cleanup;
    if (file_remove_tree(staging, &cleanup) < 0) log_warn("%s", cleanup.text);
    return 0;
}

/* Renamed before it is taken apart, so that no half of it ever looks like a checkpoint. */
static int delete_checkpoint(const ckpt_writer_t *w, int64_t step, struct arena *a, struct error *e)
{
    const char *dir = ckpt_step_path(a, w->root, step);
    const char *doomed = ckpt_staging_path(a, w->root, step, w->options.attempt);
    TRY(file_remove_tree(doomed, e));
    TRY(file_rename(dir, doomed, e));
    return file_remove_tree(doomed, e);
}

/* What the rule of retention sees in a checkpoint: one that cannot be read does not count, and goes
 * with its age. */
static void judge_checkpoint(const ckpt_writer_t *w, const char *dir, struct arena *a, bool *counts,
                             bool *unsound)
{
    struct ckpt_manifest m;
    *counts = *unsound = false;
    if (ckpt_manifest_read(file_join(a, dir, CKPT_MANIFEST), a, &m, NULL) < 0) return;
    *unsound = w->options.is_sound && !w->options.is_sound(m.state);
    *counts = !*unsound;
    ckpt_manifest_free(&m);
}

/* Deletes what the rule no longer keeps. Steps above the one just written are of a future that the
 * run has left (they were damaged, or it would have resumed from them): they neither count nor
 * go, and are replaced when the run gets there again. */
static int apply_retention(const ckpt_writer_t *w, struct arena *a, struct error *e)
{
    int64_t *steps, kept = 0;
    size_t n;
    bool guarded = w->guarded < 0;
    if (w->options.keep_last <= 0) return 0;
    TRY(ckpt_scan(w->root, a, &steps, &n, e));
    for (size_t i = 0; i < n; i++) {
        if (steps[i] > w->step) continue;
        const char *dir = ckpt_step_path(a, w->root, steps[i]);
        bool forever = w->options.keep_every > 0 && steps[i] % w->options.keep_every == 0;
        bool counts, unsound, recent = kept < w->options.keep_last;
        judge_checkpoint(w, dir, a, &counts, &unsound);
        if (counts) kept++;
        recent = recent && !unsound;
        if (!guarded && counts && steps[i] <= w->guarded) recent = guarded = true;
        if (steps[i] == w->step || forever || recent) continue;
        TRY(delete_checkpoint(w, steps[i], a, e));
    }
    return 0;
}

/* The folder of a rank's part is there (ckpt_writer_prepare), and stays where this fails: other ranks
 * may be writing to it. */
static int write_part(ckpt_writer_t *w, struct error *e)
{
    struct arena a = {0};
    const char *staging = ckpt_staging_path(&a, w->root, w->step, w->options.attempt);
    int rc = write_files(w, staging, &a, e);
    struct ckpt_manifest own = list_files(w, &a);
    if (rc == 0) rc = ckpt_manifest_check_files(staging, &own, e);
    if (rc < 0)
        error_context(e, "cannot save rank %d's part of the checkpoint of step %" PRId64, w->rank,
                      w->step);
    arena_fini(&a);
    return rc;
}

static int write_checkpoint(ckpt_writer_t *w, struct error *e)
{
    struct arena a = {0};
    struct error cleanup;
    double start_s = time_now_s();
    const char *staging = ckpt_staging_path(&a, w->root, w->step, w->options.attempt);
    const char *final = ckpt_step_path(&a, w->root, w->step);
    int rc = 0;
    if (w->work == WRITE_ALL) {
        rc = file_remove_tree(staging, e);
        if (rc == 0) rc = file_make_dirs(staging, e);
        if (rc == 0) rc = write_files(w, staging, &a, e);
    }
    if (rc == 0) rc = write_manifest(w, staging, &a, e);
    if (rc == 0) rc = read_back(w, staging, &a, e);
    if (rc == 0) rc = publish(w, staging, final, e);
    if (rc < 0) {
        error_context(e, "cannot save the checkpoint of step %" PRId64, w->step);
        if (file_remove_tree(staging, &cleanup) < 0) log_warn("%s", cleanup.text);
    } else {
        log_debug("checkpoint of step %" PRId64 " on disk after %.2f s", w->step,
                  time_now_s() - start_s);
        /* The checkpoint is safe: an old one that cannot be deleted is worth a warning only. */
        if (apply_retention(w, &a, &cleanup) < 0)
            log_warn("old checkpoints stay where they are: %s", cleanup.text);
    }
    arena_fini(&a);
    return rc;
}

static void *writer_main(void *argument)
{
    ckpt_writer_t *w = argument;
    mem_alloc_count_skip_thread(); /* the count is of the steps */
    pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->busy && !w->quit)
            pthread_cond_wait(&w->changed, &w->lock);
        if (!w->busy) break;
        pthread_mutex_unlock(&w->lock);
        struct error e = {0};
        int rc = w->work == WRITE_PART ? write_part(w, &e) : write_checkpoint(w, &e);
        pthread_mutex_lock(&w->lock);
        if (rc < 0) {
            w->failed = true;
            w->failure = e;
        }
        w->busy = false;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

/* ------------------------------------------------------------------ the training thread's side */

/* Until nothing is under way; hands over (and forgets) the error of the last write. */
int ckpt_writer_wait(ckpt_writer_t *w, struct error *e)
{
    int rc = 0;
    pthread_mutex_lock(&w->lock);
    while (w->busy)
        pthread_cond_wait(&w->changed, &w->lock);
    if (w->failed) {
        rc = w->failure.code;
        if (e) *e = w->failure;
        w->failed = false;
    }
    pthread_mutex_unlock(&w->lock);
    return rc;
}

bool ckpt_writer_is_idle(ckpt_writer_t *w)
{
    pthread_mutex_lock(&w->lock);
    bool idle = !w->busy;
    pthread_mutex_unlock(&w->lock);
    return idle;
}

/* All steps, newest first; an error where the one is not there, or damaged. */
static int find_step(const char *root, int64_t step, struct arena *a, int64_t **steps, size_t *n,
                     struct error *e)
{
    const char *dir = ckpt_step_path(a, root, step);
    TRY(ckpt_scan(root, a, steps, n, e));
    if (file_exists(dir)) return ckpt_verify(dir, e);
    error_set(e, "there is no checkpoint of step %" PRId64 " in '%s'", step, root);
    return *n ? error_hint(e, "the newest is of step %" PRId64, (*steps)[0]) : e->code;
}

int ckpt_check_step(const char *run_dir, int64_t step, struct error *e)
{
    struct arena a = {0};
    int64_t *steps;
    size_t n;
    int rc = find_step(ckpt_root_path(&a, run_dir), step, &a, &steps, &n, e);
    arena_fini(&a);
    return rc;
}

static int delete_newer(ckpt_writer_t *w, int64_t step, struct arena *a, struct error *e)
{
    int64_t *steps;
    size_t n;
    TRY(find_step(w->root, step, a, &steps, &n, e));
    for (size_t i = 0; i < n && steps[i] > step; i++)
        TRY(delete_checkpoint(w, steps[i], a, e));
    return 0;
}

void ckpt_writer_guard(ckpt_writer_t *w, int64_t step)
{
    CHECK(!w->busy);
    w->guarded = step;
}

int ckpt_writer_discard(ckpt_writer_t *w, int64_t step, struct error *e)
{
    struct arena a = {0};
    int64_t *steps;
    size_t n;
    int rc = ckpt_scan(w->root, &a, &steps, &n, e);
    for (size_t i = 0; rc >= 0 && i < n && steps[i] > step; i++)
        rc = delete_checkpoint(w, steps[i], &a, e);
    arena_fini(&a);
    return rc;
}

int ckpt_writer_go_back(ckpt_writer_t *w, int64_t step, struct error *e)
{
    struct arena a = {0};
    int rc = delete_newer(w, step, &a, e);
    arena_fini(&a);
    return rc;
}

static void copy_one_piece(void *ctx, size_t task, int thread)
{
    (void)thread;
    const struct copy_piece *p = &((const ckpt_writer_t *)ctx)->pieces[task];
    memcpy(p->staged, p->live, p->bytes);
}

static void start_work(ckpt_writer_t *w, enum write_work work)
{
    pthread_mutex_lock(&w->lock);
    CHECK(!w->busy);
    w->work = work;
    w->busy = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

int ckpt_writer_submit(ckpt_writer_t *w, int64_t step, json_t *state, struct error *e)
{
    CHECK_MSG(step >= 0 && step <= CKPT_MAX_STEP, "step %" PRId64, step);
    CHECK(json_is_object(state));
    char *text = json_dumps(state, JSON_INDENT(2) | JSON_SORT_KEYS);
    CHECK_MSG(text, "the run's state is not valid JSON");
    json_decref(state);

    int rc = ckpt_writer_wait(w, e);
    str_clear(&w->state_text);
    str_puts(&w->state_text, text);
    mem_free(text);
    pool_run(w->options.pool, w->n_pieces, copy_one_piece, w);

    w->step = step;
    start_work(w, w->n_ranks > 1 ? WRITE_PART : WRITE_ALL);
    return rc;
}

int ckpt_writer_prepare(ckpt_writer_t *w, int64_t step, struct error *e)
{
    struct arena a = {0};
    const char *staging = ckpt_staging_path(&a, w->root, step, w->options.attempt);
    int rc = file_remove_tree(staging, e);
    if (rc == 0) rc = file_make_dirs(staging, e);
    arena_fini(&a);
    return rc;
}

size_t ckpt_writer_parts(const ckpt_writer_t *w, struct ckpt_part *parts, size_t cap)
{
    size_t n = w->n_sets + w->n_files;
    CHECK(n <= cap);
    for (size_t i = 0; i < n; i++) {
        parts[i] = (struct ckpt_part){.size = w->rows[i].size, .xxh3 = w->rows[i].xxh3};
        snprintf(parts[i].name, sizeof(parts[i].name), "%s", w->rows[i].name);
    }
    return n;
}

void ckpt_writer_commit(ckpt_writer_t *w, const struct ckpt_part *parts, size_t n)
{
    w->parts = parts;
    w->n_parts = n;
    start_work(w, WRITE_COMMIT);
}

void ckpt_writer_abandon(ckpt_writer_t *w)
{
    struct arena a = {0};
    struct error e;
    if (file_remove_tree(ckpt_staging_path(&a, w->root, w->step, w->options.attempt), &e) < 0)
        log_warn("%s", e.text);
    arena_fini(&a);
}

/* ------------------------------------------------------------------ opening and closing */

static size_t staged_bytes(size_t bytes)
{
    return (bytes + STAGING_ALIGN - 1) / STAGING_ALIGN * STAGING_ALIGN;
}

size_t ckpt_writer_bytes(const struct ckpt_layout *l)
{
    size_t total = 0;
    for (size_t s = 0; s < l->n_sets; s++)
        for (size_t i = 0; i < l->sets[s].n_entries; i++)
            total += staged_bytes(ckpt_set_bytes(&l->sets[s], i));
    return total;
}

static void check_names(const struct ckpt_manifest_file *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        CHECK_MSG(ckpt_file_name_valid(rows[i].name), "file name '%s'", rows[i].name);
        for (size_t j = 0; j < i; j++)
            CHECK_MSG(strcmp(rows[i].name, rows[j].name) != 0, "file name '%s' twice",
                      rows[i].name);
    }
}

static void *arena_copy(struct arena *a, const void *data, size_t size)
{
    void *copy = arena_alloc(a, size);
    if (size) memcpy(copy, data, size);
    return copy;
}

/* A tensor of `bytes` from `live` on gets its place in the staging copy; returns it. */
static const void *stage(ckpt_writer_t *w, const uint8_t *live, size_t bytes, size_t *used)
{
    uint8_t *staged = w->staging + *used;
    for (size_t at = 0; at < bytes; at += COPY_PIECE)
        w->pieces[w->n_pieces++] =
            (struct copy_piece){live + at, staged + at, MIN(COPY_PIECE, bytes - at)};
    *used += staged_bytes(bytes);
    return staged;
}

/* The tensors of a set as they go into its file: whole, or the parts that are here, each with its
 * companions, which never change and are not staged. */
static void take_set(ckpt_writer_t *w, struct ckpt_set *set, size_t *used)
{
    struct safetensors_entry *out = arena_alloc(&w->arena, (3 * set->n_entries + 1) * sizeof(*out));
    size_t n = 0;
    for (size_t i = 0; i < set->n_entries; i++) {
        const struct safetensors_entry *whole = &set->entries[i];
        size_t bytes = ckpt_set_bytes(set, i);
        if (set->ranges && bytes == 0) continue;
        struct safetensors_entry *t = &out[n++];
        *t = *whole;
        t->data = stage(w, whole->data, bytes, used);
        if (bytes == whole->bytes) continue;
        t->n_dims = 1;
        t->shape[0] = (int64_t)set->ranges[i].count;
        t->bytes = bytes;
        n += safetensors_companions(whole, &set->ranges[i].block, set->ranges[i].first, &w->arena,
                                    &out[n]);
    }
    set->entries = out;
    set->n_entries = n;
}

/* Copies the layout into the arena, with the entries' data pointing into the staging copy. */
static void take_layout(ckpt_writer_t *w, const struct ckpt_layout *l)
{
    size_t n_entries = 0, used = 0, n_rows = l->n_sets + l->n_files;
    CHECK_MSG(n_rows > 0 && n_rows <= CKPT_MAX_FILES, "%zu files in a checkpoint", n_rows);
    for (size_t s = 0; s < l->n_sets; s++)
        n_entries += l->sets[s].n_entries;
    w->pieces = arena_alloc(&w->arena,
                            (n_entries + w->staging_bytes / COPY_PIECE + 1) * sizeof(*w->pieces));
    w->rows = arena_alloc(&w->arena, n_rows * sizeof(*w->rows));
    w->sets = arena_copy(&w->arena, l->sets, l->n_sets * sizeof(*l->sets));
    w->files = arena_copy(&w->arena, l->files, l->n_files * sizeof(*l->files));
    w->n_sets = l->n_sets;
    w->n_files = l->n_files;
    for (size_t s = 0; s < w->n_sets; s++) {
        struct ckpt_set *set = &w->sets[s];
        set->file = w->n_ranks > 1 && set->ranges
                        ? safetensors_part_name(&w->arena, set->file, w->rank, w->n_ranks)
                        : arena_strdup(&w->arena, set->file);
        w->rows[s].name = set->file;
        take_set(w, set, &used);
    }
    for (size_t i = 0; i < w->n_files; i++) {
        struct ckpt_file *f = &w->files[i];
        f->name = arena_strdup(&w->arena, f->name);
        f->data = arena_copy(&w->arena, f->data, f->size);
        w->rows[w->n_sets + i] =
            (struct ckpt_manifest_file){f->name, f->size, hash_xxh3(f->data, f->size)};
    }
    check_names(w->rows, n_rows);
}

/* The lock is the kernel's, on the folder itself: it goes with the process, however that ends. */
static int lock_root(const char *root, int *fd, struct error *e)
{
    *fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) return error_errno(e, "open", root);
    if (flock(*fd, LOCK_EX | LOCK_NB) == 0) return 0;
    if (errno != EWOULDBLOCK) return 0; /* a file system without locks: go on without */
    error_set(e, "another process is writing checkpoints to '%s'", root);
    return error_hint(e, "wait until that run has ended, or give this one another name");
}

int ckpt_check_unlocked(const char *run_dir, struct error *e)
{
    struct arena a = {0};
    const char *root = ckpt_root_path(&a, run_dir);
    int fd = -1, rc = file_is_dir(root) ? lock_root(root, &fd, e) : 0;
    if (fd >= 0) close(fd);
    arena_fini(&a);
    return rc;
}

static int remove_leftovers(ckpt_writer_t *w, struct error *e)
{
    struct arena a = {0};
    char **names;
    size_t n;
    int rc = file_list_dir(w->root, &a, &names, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (ckpt_is_staging_name(names[i]))
            rc = file_remove_tree(file_join(&a, w->root, names[i]), e);
    arena_fini(&a);
    return rc;
}

static int start_thread(ckpt_writer_t *w, struct error *e)
{
    sigset_t all, before;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a new thread inherits the mask */
    int rc = pthread_create(&w->thread, NULL, writer_main, w);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0) return 0;
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    errno = rc;
    return error_errno(e, "start the thread that writes to", w->root);
}

/* Everything but the thread. */
static void free_writer(ckpt_writer_t *w)
{
    if (w->lock_fd >= 0) close(w->lock_fd);
    mem_unmap(w->staging, w->staging_bytes);
    str_fini(&w->state_text);
    str_fini(&w->manifest_text);
    arena_fini(&w->arena);
    mem_free(w);
}

int ckpt_writer_open(const struct ckpt_writer_options *o, const struct ckpt_layout *l,
                     ckpt_writer_t **out, struct error *e)
{
    ckpt_writer_t *w = mem_calloc(1, sizeof(*w));
    w->lock_fd = -1;
    w->guarded = -1;
    w->options = *o;
    w->rank = l->rank;
    w->n_ranks = MAX(l->n_ranks, 1);
    w->root = ckpt_root_path(&w->arena, o->run_dir);
    w->staging_bytes = MAX(ckpt_writer_bytes(l), 1);
    int rc = file_make_dirs(w->root, e);
    if (rc == 0 && w->rank == 0) rc = lock_root(w->root, &w->lock_fd, e);
    if (rc < 0 && w->lock_fd >= 0 && o->attempt > 0) rc = 0; /* somebody was left behind */
    if (rc == 0 && w->rank == 0) rc = remove_leftovers(w, e);
    if (rc == 0) {
        w->staging = mem_map(w->staging_bytes);
        if (!w->staging)
            rc = error_set(e, "not enough memory for a checkpoint's copy (%zu bytes)",
                           w->staging_bytes);
    }
    if (rc == 0) {
        take_layout(w, l);
        rc = start_thread(w, e);
    }
    if (rc < 0)
        free_writer(w);
    else
        *out = w;
    return rc;
}

void ckpt_writer_close(ckpt_writer_t *w)
{
    if (!w) return;
    struct error e;
    if (ckpt_writer_wait(w, &e) < 0) log_error("%s", e.text);
    pthread_mutex_lock(&w->lock);
    w->quit = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    pthread_join(w->thread, NULL);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free_writer(w);
}
