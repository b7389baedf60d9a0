/* text_dataset_internal.h: what the files that write and read token datasets share. The format is
 * specified at the head of text_shard.c. */
#ifndef COLOSSUS_TEXT_DATASET_INTERNAL_H
#define COLOSSUS_TEXT_DATASET_INTERNAL_H

#include "text/corpus/text_corpus_internal.h"

/* ------------------------------------------------------------------ format (text_shard.c) */

enum {
    SHARD_VERSION = 1,
    SHARD_HEADER_BYTES = 64,
    SHARD_MAX_COUNT = 1 << 20,   /* shards in a split */
    SHARD_INDEX_MAX = 512 << 20, /* bytes of index.json */
    SHARD_N_SPLITS = 2
};
#define SHARD_INDEX_NAME   "index.json"
#define SHARD_INDEX_FORMAT "colossus token dataset"
#define SHARD_MAX_TOKENS   (UINT64_C(1) << 48) /* in a shard, and in a split */

extern const char *const shard_split_names[SHARD_N_SPLITS]; /* "train", "valid" */

/* The first bytes of a shard, exactly as they lie in the file. */
struct shard_header {
    char magic[8];
    uint32_t version;
    uint32_t token_bytes; /* 2 or 4 */
    uint64_t tokens, documents, text_bytes;
    uint32_t vocab_size, eos;
    uint64_t tokenizer_hash;
    uint32_t number; /* of the shard in its split */
    uint32_t zero;
};
_Static_assert(sizeof(struct shard_header) == SHARD_HEADER_BYTES, "no padding in a shard's header");

/* `path` is for messages. Fails where magic, version or a value is not one this program writes. */
int shard_header_read(const uint8_t *data, size_t size, const char *path, struct shard_header *h,
                      struct error *e);

struct shard_index {
    uint32_t token_bytes;
    uint32_t vocab_size, eos;
    uint64_t tokenizer_hash, fingerprint;
    const char *tokenizer_file; /* NULL: no copy was kept */
    struct dataset_shard_info *shards[SHARD_N_SPLITS];
    size_t n_shards[SHARD_N_SPLITS];
    /* Written for people, not read back. */
    const char *tokenizer_kind, *command; /* command NULL: not recorded */
    const struct dataset_report *report;
    double valid_fraction;
    bool drop_duplicates;
};
/* Strings and lists live in *a. Types, ranges and the fingerprint are checked. */
int shard_index_parse(const char *text, size_t size, const char *name, struct arena *a,
                      struct shard_index *index, struct error *e);
int shard_index_load(const char *dir, struct arena *a, struct shard_index *index, struct error *e);
int shard_index_save(const struct shard_index *index, const char *dir, struct error *e);
uint64_t shard_index_fingerprint(const struct shard_index *index);
/* Whether an index may name a file so: letters, digits, '.', '-' and '_', 64 at most, not hidden.
 * The index may come from elsewhere and must not lead out of its folder. */
bool shard_file_name_is_plain(const char *name);
/* Whether the folder has an index of our format, readable by this version or not. */
bool shard_index_is_ours(const char *dir);

/* ---------------------------------------------------------------- writing (text_shard_writer.c) */

/* Appends documents to one split, a new file every shard_tokens. */
struct shard_writer {
    const char *dir, *split;
    struct shard_header header; /* of the open shard; token_bytes, vocab_size ... are the split's */
    uint64_t shard_tokens;
    struct arena *arena; /* file names */
    struct dataset_shard_info *done;
    size_t n_done, cap_done;
    int fd; /* -1: none open */
    char *path;
    uint8_t *buf;
    size_t buf_used;
};
/* template: token_bytes, vocab_size, eos and tokenizer_hash are taken from it. */
void shard_writer_init(struct shard_writer *w, const char *dir, const char *split,
                       const struct shard_header *template, uint64_t shard_tokens, struct arena *a);
int shard_writer_add(struct shard_writer *w, const uint32_t *ids, size_t count, struct error *e);
/* The tokens added last ended a document of so many bytes of text. */
void shard_writer_end_document(struct shard_writer *w, uint64_t text_bytes);
int shard_writer_finish(struct shard_writer *w, struct error *e); /* all shards are on the disk */
void shard_writer_fini(struct shard_writer *w);

/* ------------------------------------------------------------------ spools (text_shard_spool.c) */

/* The ids of one document whose fate is not known yet, in a file of the work folder. */
struct shard_spool {
    char *path; /* in the caller's arena */
    int fd;     /* -1: no file yet */
    uint64_t count;
};
void shard_spool_init(struct shard_spool *s, const char *dir, struct arena *a);
int shard_spool_add(struct shard_spool *s, const uint32_t *ids, size_t count, struct error *e);
/* Appends all of it to w (NULL: drops it) and is empty again. */
int shard_spool_flush(struct shard_spool *s, struct shard_writer *w, struct error *e);
void shard_spool_fini(struct shard_spool *s); /* removes the file */

/* ------------------------------------------------------------------ sets (text_shard_set.c) */

/* 64-bit hashes in open addressing: 8 bytes a slot, at most 7/8 full. {0} is empty. */
struct shard_set {
    uint64_t *slots; /* 0: free */
    size_t mask, count;
    bool has_zero;
};
/* 1: added; 0: was there; negative: no memory. */
int shard_set_add(struct shard_set *s, uint64_t hash, struct error *e);
void shard_set_fini(struct shard_set *s);

/* ---------------------------------------------------------------- folders (text_shard_output.c) */

/* The folder that a dataset is written to before it is renamed to its place. */
struct shard_output {
    char *final_dir, *work_dir; /* in the arena */
    int lock_fd;
    bool force;
};
int shard_output_begin(struct shard_output *out, const char *dir, bool force, struct arena *a,
                       struct error *e);
int shard_output_commit(struct shard_output *out, struct error *e);
void shard_output_abort(struct shard_output *out); /* nothing after a commit */

#endif
