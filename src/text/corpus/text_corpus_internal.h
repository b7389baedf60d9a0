/* text_corpus_internal.h: what the corpus reader's files share: byte sources, the list of files,
 * the JSONL scanner. */
#ifndef COLOSSUS_TEXT_CORPUS_INTERNAL_H
#define COLOSSUS_TEXT_CORPUS_INTERNAL_H

#include "text/text.h"

/* ------------------------------------------------------------------ byte sources
 * (text_corpus_source.c): a file, standard input or memory as plain bytes, unpacked as it is read. */

struct corpus_source;
/* Packing by name (.gz, .zst); standard input ("-") by its first bytes. */
int corpus_source_open(const char *path, struct corpus_source **out, struct error *e);
/* The same over memory that outlives the source; `name` decides the packing. */
struct corpus_source *corpus_source_memory(const char *name, const void *data, size_t size);
/* Up to cap bytes into buf: their number, 0 at the end, negative on an error. */
int64_t corpus_source_read(struct corpus_source *s, void *buf, size_t cap, struct error *e);
uint64_t corpus_source_stored(const struct corpus_source *s); /* stored bytes consumed so far */
void corpus_source_close(struct corpus_source *s);
/* Length of the name without .gz or .zst. */
size_t corpus_source_plain_name(const char *name);

/* ------------------------------------------------------------------ files (text_corpus_files.c) */

struct corpus_file_list {
    struct corpus_file *items; /* mem_alloc'd; paths in the arena */
    size_t count, cap;
};
/* Paths and folders to files, in order; formats decided. */
int corpus_files_find(const struct corpus_options *o, struct arena *a,
                      struct corpus_file_list *list, struct error *e);
enum corpus_format corpus_files_format(const char *path); /* what CORPUS_AUTO means for it */

/* ------------------------------------------------------------------ JSONL (text_corpus_json.c) */

enum { CORPUS_JSON_MAX_LEVELS = 16, CORPUS_JSON_MAX_DEPTH = 128 };

struct corpus_json_path {
    const char *names[CORPUS_JSON_MAX_LEVELS];
    size_t sizes[CORPUS_JSON_MAX_LEVELS];
    int n_levels;
};
/* "user.name" in parts; the text must outlive the path. */
int corpus_json_path_parse(const char *field, struct corpus_json_path *path, struct error *e);

enum corpus_json_verdict {
    CORPUS_JSON_FOUND,
    CORPUS_JSON_MISSING, /* valid, but no such field, or null there */
    CORPUS_JSON_OTHER,   /* valid, but the field is no string */
    CORPUS_JSON_INVALID  /* not one JSON object */
};
struct corpus_json_result {
    const char *text; /* FOUND: inside the line or the scratch string */
    size_t size;
    const char *problem; /* OTHER: the kind found; INVALID: what is wrong */
    size_t column;       /* INVALID: from 1, in bytes */
};
/* Checks the whole line and finds the string at the path. `scratch` keeps its memory. */
enum corpus_json_verdict corpus_json_find(const char *line, size_t size,
                                          const struct corpus_json_path *path, struct str *scratch,
                                          struct corpus_json_result *r);

/* ------------------------------------------------------------------ for tests (text_corpus.c) */

/* corpus_open with another piece size (at least 16 bytes; 0: 16 MiB). */
int corpus_open_pieces(const struct corpus_options *o, size_t piece_bytes, struct corpus **out,
                       struct error *e);
/* One corpus file from memory; o->paths is not looked at, `name` decides packing and AUTO. */
int corpus_open_memory(const struct corpus_options *o, const char *name, const void *data,
                       size_t size, size_t piece_bytes, struct corpus **out, struct error *e);

#endif
