/* train_checkpoint_loader.c: finds the newest checkpoint that is whole and loads it, or nothing.
 *
 * A candidate goes through four gates, and the live arrays are touched behind the last one only:
 *     1. the manifest matches its own hash, and names the step of its folder;
 *     2. every file has the size that the manifest says;
 *     3. every file has the hash that the manifest says;
 *     4. the files hold exactly the tensors that this run has, in type and shape.
 * Failing 1 to 3 means damage: the next older folder is tried, and the loss is reported loudly,
 * because a disk that flipped one bit will flip more. Failing 4 means that the checkpoint is good
 * and the run is another one (its model was changed): going back further would find the same or,
 * worse, something that happens to fit, so that is an error at once.
 *
 * Files are hashed by read() and mapped only afterwards: a bad sector is then an I/O error that
 * leads to the next older checkpoint, not a SIGBUS that ends the program. */
#include "train/checkpoint/train_checkpoint_internal.h"
#include "train/checkpoint/train_checkpoint_manifest_internal.h"

#include <inttypes.h>
#include <string.h>

/* ------------------------------------------------------------------ listing and verifying */

int ckpt_list(const char *run_dir, struct arena *a, int64_t **steps, size_t *count, struct error *e)
{
    const char *root = ckpt_root_path(a, run_dir);
    size_t n, kept = 0;
    TRY(ckpt_scan(root, a, steps, &n, e));
    for (size_t i = 0; i < n; i++) {
        const char *dir = ckpt_step_path(a, root, (*steps)[i]);
        if (file_exists(file_join(a, dir, CKPT_MANIFEST))) (*steps)[kept++] = (*steps)[i];
    }
    *count = kept;
    return 0;
}

int ckpt_look(const char *run_dir, bool *has_folder, bool *has_any, struct error *e)
{
    struct arena a = {0};
    const char *root = ckpt_root_path(&a, run_dir);
    int64_t *steps;
    size_t n;
    int rc = ckpt_scan(root, &a, &steps, &n, e);
    *has_folder = file_is_dir(root);
    *has_any = rc >= 0 && n > 0;
    arena_fini(&a);
    return rc;
}

/* Gates 1 to 3. step -1: any. On success the caller frees the manifest. */
static int read_verified(const char *dir, int64_t step, struct arena *a, struct ckpt_manifest *m,
                         struct error *e)
{
    TRY(ckpt_manifest_read(file_join(a, dir, CKPT_MANIFEST), a, m, e));
    int rc = 0;
    if (step >= 0 && m->step != step)
        rc = error_set(e, "the manifest in '%s' is that of step %" PRId64, dir, m->step);
    if (rc == 0) rc = ckpt_manifest_check_files(dir, m, e);
    if (rc < 0) ckpt_manifest_free(m);
    return rc;
}

int ckpt_verify(const char *ckpt_dir, struct error *e)
{
    struct arena a = {0};
    struct ckpt_manifest m;
    /* A copy under another name is as good; under a step's name it must be that step's. */
    size_t n = strlen(ckpt_dir);
    while (n > 1 && ckpt_dir[n - 1] == '/')
        n--;
    const char *dir = arena_strndup(&a, ckpt_dir, n);
    int rc = read_verified(dir, ckpt_step_from_name(file_base_name(dir)), &a, &m, e);
    if (rc == 0) ckpt_manifest_free(&m);
    arena_fini(&a);
    return rc;
}

/* ------------------------------------------------------------------ tensors */

size_t ckpt_set_bytes(const struct ckpt_set *s, size_t i)
{
    const struct safetensors_entry *t = &s->entries[i];
    size_t n = 1;
    if (!s->ranges) return t->bytes;
    for (int d = 0; d < t->n_dims; d++)
        n *= (size_t)t->shape[d];
    return n ? t->bytes / n * s->ranges[i].count : 0;
}

static void shape_text(const struct safetensors_entry *t, char *text, size_t size)
{
    size_t n = (size_t)snprintf(text, size, "[");
    for (int i = 0; i < t->n_dims && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%" PRId64, i ? ", " : "", t->shape[i]);
    if (n < size) snprintf(text + n, size - n, "]");
}

static int compare_entry(const char *path, const struct safetensors_entry *want,
                         const struct safetensors_entry *have, struct error *e)
{
    char want_shape[192], have_shape[192];
    if (!have) return error_set(e, "'%s' has no tensor '%s'", path, want->name);
    bool same =
        have->dtype == want->dtype && have->n_dims == want->n_dims && have->bytes == want->bytes;
    for (int i = 0; same && i < want->n_dims; i++)
        same = have->shape[i] == want->shape[i];
    if (same) return 0;
    shape_text(want, want_shape, sizeof(want_shape));
    shape_text(have, have_shape, sizeof(have_shape));
    return error_set(e, "'%s': tensor '%s' is %s%s, this run's is %s", path, want->name, have_shape,
                     have->dtype == want->dtype ? "" : " of another type", want_shape);
}

/* Gate 4 for one file: the set's tensors, and no more than the whole model has. */
static int compare_set(const char *path, const struct ckpt_set *set,
                       const struct safetensors_set *st, struct error *e)
{
    for (size_t i = 0; i < set->n_entries; i++) {
        const struct safetensors_tensor *t = safetensors_set_find(st, set->entries[i].name);
        TRY(compare_entry(path, &set->entries[i], t ? &t->whole : NULL, e));
    }
    size_t n = set->n_whole ? set->n_whole : set->n_entries;
    if (st->n_tensors != n)
        return error_set(e, "'%s' holds %zu tensors, this run has %zu", path, st->n_tensors, n);
    return 0;
}

static const struct ckpt_manifest_file *find_row(const struct ckpt_manifest *m, const char *name)
{
    for (size_t i = 0; i < m->n_files; i++)
        if (strcmp(m->files[i].name, name) == 0) return &m->files[i];
    return NULL;
}

/* Whether the manifest names the files of a set: one, or a part of each rank. */
static int check_named(const char *dir, const struct ckpt_manifest *m, const struct ckpt_set *set,
                       struct arena *a, struct error *e)
{
    if (find_row(m, set->file)) return 0;
    for (int r = 0; r < m->ranks; r++) {
        const char *name = safetensors_part_name(a, set->file, r, (int)m->ranks);
        if (find_row(m, name)) continue;
        return error_set(e, "the checkpoint '%s' has no file '%s'", dir,
                         m->ranks > 1 ? name : set->file);
    }
    return 0;
}

/* Opened and compared (gate 4); the caller closes st. */
static int open_set(const char *dir, const struct ckpt_manifest *m, const struct ckpt_set *set,
                    struct arena *a, struct safetensors_set *st, struct error *e)
{
    const char *path = file_join(a, dir, set->file);
    TRY(check_named(dir, m, set, a, e));
    TRY(safetensors_set_open(path, st, e));
    int rc = compare_set(path, set, st, e);
    if (rc < 0) safetensors_set_close(st);
    return rc;
}

static void copy_range(const struct ckpt_range *r, const struct safetensors_tensor *from,
                       uint8_t *out)
{
    size_t element = safetensors_element_size(from->whole.dtype);
    for (size_t i = 0, run, at; i < r->count; i += run) {
        at = r->first + i;
        run = r->count - i;
        if (r->block.n_dims) run = MIN(tensor_block_run(&r->block, r->first + i, &at), run);
        safetensors_tensor_copy(from, at, run, out + i * element);
    }
}

/* The layout's data pointers are the live arrays: const for the writer, filled here. */
static void copy_set(const struct ckpt_set *set, const struct safetensors_set *st)
{
    for (size_t i = 0; i < set->n_entries; i++) {
        const struct safetensors_entry *t = &set->entries[i];
        const struct safetensors_tensor *from = safetensors_set_find(st, t->name);
        if (set->ranges) {
            copy_range(&set->ranges[i], from, (uint8_t *)(uintptr_t)t->data);
            continue;
        }
        size_t count = 1;
        for (int d = 0; d < t->n_dims; d++)
            count *= (size_t)t->shape[d];
        safetensors_tensor_copy(from, 0, count, (void *)(uintptr_t)t->data);
    }
}

/* All files are open and compared before the first is copied: nothing changes unless all of it
 * will. */
static int load_tensors(const char *dir, const struct ckpt_manifest *m, const struct ckpt_layout *l,
                        struct arena *a, struct error *e)
{
    struct safetensors_set *st = arena_alloc(a, (l->n_sets + 1) * sizeof(*st));
    size_t n_open = 0;
    int rc = 0;
    while (n_open < l->n_sets && rc == 0) {
        rc = open_set(dir, m, &l->sets[n_open], a, &st[n_open], e);
        if (rc == 0) n_open++;
    }
    for (size_t i = 0; rc == 0 && i < l->n_sets; i++) {
        copy_set(&l->sets[i], &st[i]);
        rc = safetensors_set_check(&st[i], l->sets[i].file, e);
    }
    for (size_t i = 0; i < n_open; i++)
        safetensors_set_close(&st[i]);
    return rc;
}

/* ------------------------------------------------------------------ the newest good one */

static int no_good_checkpoint(const char *root, size_t n, const struct error *newest,
                              struct error *e)
{
    error_set_code(e, ERROR_NO_REQUEUE,
                   "none of the %zu checkpoints in '%s' is whole; the newest: %s", n, root,
                   newest->text);
    return error_hint(
        e, "restore the folder from a copy; train --restart begins anew and keeps what is "
           "there under another name");
}

/* What a verified checkpoint holds, into the arrays. 1: done. */
static int take(const char *dir, const struct ckpt_manifest *m, const struct ckpt_layout *l,
                struct ckpt_loaded *out, struct error *e)
{
    struct arena a = {0};
    int rc = load_tensors(dir, m, l, &a, e);
    if (rc < 0) {
        error_context(e, "the checkpoint of step %" PRId64 " is not of this model", m->step);
        error_hint(e, "give the run another name, or put the model's settings back");
    } else {
        *out = (struct ckpt_loaded){m->step, json_incref(m->state)};
        rc = 1;
    }
    arena_fini(&a);
    return rc;
}

int ckpt_load_step(const char *run_dir, int64_t step, const struct ckpt_layout *l,
                   struct ckpt_loaded *out, struct error *e)
{
    struct arena a = {0};
    struct ckpt_manifest m = {0};
    const char *dir = ckpt_step_path(&a, ckpt_root_path(&a, run_dir), step);
    int rc = ckpt_manifest_read(file_join(&a, dir, CKPT_MANIFEST), &a, &m, e);
    if (rc >= 0) rc = ckpt_manifest_check_sizes(dir, &m, e);
    if (rc >= 0) rc = take(dir, &m, l, out, e);
    ckpt_manifest_free(&m);
    arena_fini(&a);
    return rc;
}

/* Whom ckpt_load_newest tells. */
struct skips {
    void (*tell)(void *ctx, int64_t step, const char *why);
    void *ctx;
};

/* The newest that verifies: its folder, in *a, and its manifest. 1: found; 0: there is none at all. */
static int find_good(const char *run_dir, struct arena *a, const struct skips *skips,
                     const char **dir, struct ckpt_manifest *m, struct error *e)
{
    struct error newest = {0}, why = {0};
    const char *root = ckpt_root_path(a, run_dir);
    int64_t *steps;
    size_t n;
    TRY(ckpt_scan(root, a, &steps, &n, e));
    for (size_t i = 0; i < n; i++) {
        *dir = ckpt_step_path(a, root, steps[i]);
        if (read_verified(*dir, steps[i], a, m, &why) == 0) return 1;
        log_warn("checkpoint of step %" PRId64 " is not used: %s", steps[i], why.text);
        if (skips->tell) skips->tell(skips->ctx, steps[i], why.text);
        if (i == 0) newest = why;
    }
    return n ? no_good_checkpoint(root, n, &newest, e) : 0;
}

int ckpt_find_good(const char *run_dir, int64_t *step, struct error *e)
{
    struct arena a = {0};
    struct ckpt_manifest m = {0};
    const char *dir;
    int rc = find_good(run_dir, &a, &(struct skips){0}, &dir, &m, e);
    if (rc > 0) {
        *step = m.step;
        ckpt_manifest_free(&m);
    }
    arena_fini(&a);
    return rc;
}

int ckpt_load_newest(const char *run_dir, const struct ckpt_layout *l, struct ckpt_loaded *out,
                     void (*on_skip)(void *ctx, int64_t step, const char *why), void *ctx,
                     struct error *e)
{
    struct arena a = {0};
    struct ckpt_manifest m = {0};
    const char *dir;
    int rc = find_good(run_dir, &a, &(struct skips){on_skip, ctx}, &dir, &m, e);
    if (rc > 0) {
        rc = take(dir, &m, l, out, e);
        ckpt_manifest_free(&m);
    }
    arena_fini(&a);
    return rc;
}
