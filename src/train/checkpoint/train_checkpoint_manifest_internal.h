/* train_checkpoint_manifest_internal.h: names of checkpoint folders and the file manifest.json,
 * shared by the writer and the loader of checkpoints. The format is specified at the head of
 * train_checkpoint_manifest.c. */
#ifndef COLOSSUS_TRAIN_CHECKPOINT_MANIFEST_INTERNAL_H
#define COLOSSUS_TRAIN_CHECKPOINT_MANIFEST_INTERNAL_H

#include "train/checkpoint/train_checkpoint_internal.h"

#define CKPT_MANIFEST     "manifest.json"
#define CKPT_MAX_FILES    ((size_t)1 << 19) /* per checkpoint: a bad manifest has a limit */
#define CKPT_MAX_STEP     999999999999LL    /* 12 digits: a name is never ambiguous */
#define CKPT_MAX_MANIFEST ((size_t)64 << 20)

struct ckpt_manifest_file {
    const char *name;
    uint64_t size, xxh3;
};
struct ckpt_manifest {
    int64_t step, ranks;
    struct ckpt_manifest_file *files;
    size_t n_files;
    json_t *state; /* owned */
};

/* "RUN/checkpoints"; "RUN/checkpoints/step-00000123"; the same with ".tmp", or of attempt 2 of a
 * launcher with ".2.tmp". In *a. */
char *ckpt_root_path(struct arena *a, const char *run_dir);
char *ckpt_step_path(struct arena *a, const char *root, int64_t step);
char *ckpt_staging_path(struct arena *a, const char *root, int64_t step, int attempt);
/* The step of a folder's name, or -1 where it is not one that ckpt_step_path makes. */
int64_t ckpt_step_from_name(const char *name);
bool ckpt_is_staging_name(const char *name);
/* Whether a file of this name may be in a checkpoint: a plain name, no path, not the manifest. */
bool ckpt_file_name_valid(const char *name);
/* Steps of every folder in root with a checkpoint's name, manifest or not, newest first; in *a.
 * A root that does not exist has none. */
int ckpt_scan(const char *root, struct arena *a, int64_t **steps, size_t *count, struct error *e);

/* Appends the whole text of a manifest: all but m->state, which is given as text. */
void ckpt_manifest_print(const struct ckpt_manifest *m, const char *state_text, struct str *out);
/* Reads and checks a manifest's own hash, form and limits; strings in *a, m->state is owned. Errors name
 * the path. */
int ckpt_manifest_parse(const char *text, size_t size, const char *path, struct arena *a,
                        struct ckpt_manifest *m, struct error *e);
int ckpt_manifest_read(const char *path, struct arena *a, struct ckpt_manifest *m, struct error *e);
void ckpt_manifest_free(struct ckpt_manifest *m);
/* The size of every file that the manifest names; and before the hash of each. */
int ckpt_manifest_check_sizes(const char *dir, const struct ckpt_manifest *m, struct error *e);
int ckpt_manifest_check_files(const char *dir, const struct ckpt_manifest *m, struct error *e);

#endif
