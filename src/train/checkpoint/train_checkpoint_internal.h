/* train_checkpoint_internal.h: saving and restoring the whole state of a run.
 *
 * A checkpoint is a folder checkpoints/step-00000123/ of safetensors files (one set of tensors
 * each), config.json, a copy of the tokenizer, and manifest.json with every file's size and XXH3,
 * the data cursor, counters and configuration. It is written to step-N.tmp/, every file fsynced,
 * then the folder, the manifest last, then renamed; only a folder whose manifest verifies counts.
 * Of many ranks each writes its part of every tensor (model_parts.c); rank 0 writes the rest, and
 * the manifest when all parts are there. */
#ifndef COLOSSUS_TRAIN_CHECKPOINT_INTERNAL_H
#define COLOSSUS_TRAIN_CHECKPOINT_INTERNAL_H

#include "model/model.h"

/* Tensors that go into one file, of many ranks into one each. The data pointers are the live arrays,
 * from the first number on that this process has. */
struct ckpt_range {
    size_t first, count;       /* numbers of a block of the tensor */
    struct tensor_block block; /* n_dims 0: all of it */
};
struct ckpt_set {
    const char *file;                  /* "weights.safetensors", "optim-m.safetensors", ... */
    struct safetensors_entry *entries; /* whole tensors: their shapes and bytes */
    size_t n_entries;
    const struct ckpt_range *ranges; /* [n_entries] what of them is here; NULL: all */
    size_t n_whole;                  /* tensors in the files of all ranks; 0: n_entries */
};
struct ckpt_file { /* a small file copied in as it is */
    const char *name;
    const void *data;
    size_t size;
};
/* What a checkpoint holds; the arrays stay the caller's. */
struct ckpt_layout {
    const struct ckpt_set *sets;
    size_t n_sets;
    const struct ckpt_file *files;
    size_t n_files;
    int rank, n_ranks; /* sets with ranges are this rank's part of them; 0 ranks: one */
};
/* Bytes of what is here of entry i of a set. */
size_t ckpt_set_bytes(const struct ckpt_set *s, size_t i);

typedef struct ckpt_writer ckpt_writer_t;
struct ckpt_writer_options {
    const char *run_dir;
    int64_t keep_last;  /* newest sound ones that are kept; 0: all */
    int64_t keep_every; /* a step that is a multiple is kept for ever; 0: none */
    struct pool *pool;  /* copies the live arrays; NULL: the caller's thread alone */
    /* Whether a checkpoint of that state is worth going back to; NULL: each is. One that is not
     * stays only while it is the newest, and drives no other away. */
    bool (*is_sound)(const json_t *state);
    /* Of the launcher that started this process; 0: none did. A process that still holds the lock was
     * then left behind by it: it stands still, and is told to leave as soon as it does not. */
    int attempt;
};
/* Allocates the staging copy of every set and starts the writing thread. Removes left-over .tmp; of
 * many ranks, rank 0 does, before the others open theirs.
 * Names, entries and files are copied here, so that only the live arrays must outlive the call; a
 * file's content is what it is now. Fails where another process writes to the same run. */
int ckpt_writer_open(const struct ckpt_writer_options *o, const struct ckpt_layout *l,
                     ckpt_writer_t **out, struct error *e);
size_t ckpt_writer_bytes(const struct ckpt_layout *l); /* staging, for the memory plan */
/* Waits until the previous checkpoint is on disk, copies the live arrays, and returns; the thread
 * writes: all of it, or of many ranks this one's part. state is the manifest's "state" object (cursor, counters; a reference is stolen). An
 * error of the previous write is returned here, and by ckpt_writer_wait, once; the new checkpoint
 * is being written all the same. A checkpoint of the same step is replaced. */
int ckpt_writer_submit(ckpt_writer_t *w, int64_t step, json_t *state, struct error *e);
int ckpt_writer_wait(ckpt_writer_t *w, struct error *e); /* until the disk has it */
bool ckpt_writer_is_idle(ckpt_writer_t *w); /* whether ckpt_writer_wait would not wait */

/* Of many ranks: rank 0 prepares the folder before any of them submits; when all have written their
 * parts, rank 0 commits the checkpoint, which its thread does, or abandons it. */
int ckpt_writer_prepare(ckpt_writer_t *w, int64_t step, struct error *e);
struct ckpt_part { /* a file that was written */
    char name[132];
    uint64_t size, xxh3;
};
/* The files that the last submit wrote here, for rank 0; returns their number, at most cap. */
size_t ckpt_writer_parts(const ckpt_writer_t *w, struct ckpt_part *parts, size_t cap);
/* parts: of all ranks; they must stay until the writer is idle. */
void ckpt_writer_commit(ckpt_writer_t *w, const struct ckpt_part *parts, size_t n);
void ckpt_writer_abandon(ckpt_writer_t *w);

/* The newest checkpoint that is not newer than that step stays, whatever the rule of retention says:
 * what is newer may turn out to be wrong. Nothing is under way. */
void ckpt_writer_guard(ckpt_writer_t *w, int64_t step);
/* Deletes every checkpoint that is newer than that step, be there another or not. */
int ckpt_writer_discard(ckpt_writer_t *w, int64_t step, struct error *e);
/* Whether a run has a whole checkpoint of that step. */
int ckpt_check_step(const char *run_dir, int64_t step, struct error *e);
/* Deletes every checkpoint that is newer than the one of that step, which must verify. */
int ckpt_writer_go_back(ckpt_writer_t *w, int64_t step, struct error *e);
/* Waits for the write under way; an error nobody asked for is logged. NULL is allowed. */
void ckpt_writer_close(ckpt_writer_t *w);

/* Fails where another process writes checkpoints there. */
int ckpt_check_unlocked(const char *run_dir, struct error *e);
/* Whether the folder of checkpoints is there, and whether any folder in it has a checkpoint's name,
 * whole or not. */
int ckpt_look(const char *run_dir, bool *has_folder, bool *has_any, struct error *e);
/* Steps of folders under run_dir/checkpoints that have a manifest, newest first; in *a. */
int ckpt_list(const char *run_dir, struct arena *a, int64_t **steps, size_t *count,
              struct error *e);
/* Verifies one checkpoint folder whole: manifest, sizes, hashes. */
int ckpt_verify(const char *ckpt_dir, struct error *e);
/* The step of the newest checkpoint that verifies, as ckpt_load_newest would take it, and with its
 * return values and warnings. */
int ckpt_find_good(const char *run_dir, int64_t *step, struct error *e);
struct ckpt_loaded { /* from the manifest */
    int64_t step;
    json_t *state; /* the caller json_decrefs it */
};
/* Loads the newest checkpoint that verifies into the live arrays of the layout; each newer one
 * that fails is named by log_warn (and by on_skip) and skipped. 1: loaded; 0: there is no checkpoint at all; negative:
 * there are some and none is good, or the newest good one is of another model than the layout
 * (an older one is then not tried). Nothing is changed in the arrays unless the whole verifies.
 * on_skip may be NULL. */
int ckpt_load_newest(const char *run_dir, const struct ckpt_layout *l, struct ckpt_loaded *out,
                     void (*on_skip)(void *ctx, int64_t step, const char *why), void *ctx,
                     struct error *e);
/* The checkpoint of that step, which another rank has verified: manifest and sizes are looked at. */
int ckpt_load_step(const char *run_dir, int64_t step, const struct ckpt_layout *l,
                   struct ckpt_loaded *out, struct error *e);

#endif
