/* text_corpus_internal.h: what the corpus reader's files share (byte sources, the list of files,
 * the JSONL scanner), and below them the small tools that the whole room uses: growing arrays,
 * loads from any address, UTF-8. */
#ifndef COLOSSUS_TEXT_CORPUS_INTERNAL_H
#define COLOSSUS_TEXT_CORPUS_INTERNAL_H

#include <string.h>

#include "text/text.h"

/* ------------------------------------------------------------------ growing arrays */

/* Makes room for `need` items in a growing array, which begins as NULL with a size_t cap of 0. The
 * new part is not cleared. Twice the room each time, so that n pushes copy fewer than 2 n items; no
 * memory aborts. */
#define ARRAY_RESERVE(items, cap, need)                                                      \
    do {                                                                                     \
        if ((need) > (cap)) (items) = array_grow((items), &(cap), (need), sizeof(*(items))); \
    } while (0)

/* The same with the new part cleared, for items that keep memory of their own between uses. */
#define ARRAY_RESERVE_ZEROED(items, cap, need)                                        \
    do {                                                                              \
        size_t had_ = (cap);                                                          \
        ARRAY_RESERVE(items, cap, need);                                              \
        if ((cap) > had_) memset(&(items)[had_], 0, sizeof(*(items)) * (cap - had_)); \
    } while (0)

static inline void *array_grow(void *items, size_t *cap, size_t need, size_t item_size)
{
    *cap = MAX(MAX(need, 2 * *cap), 64);
    CHECK_MSG(*cap <= SIZE_MAX / 2 / item_size, "an array of %zu items", *cap);
    return mem_realloc(items, *cap * item_size);
}

/* ------------------------------------------------------------------ bytes */

/* Loads from any address; every machine this runs on is little endian. */
static inline uint64_t bytes_load64(const void *p)
{
    uint64_t v;
    memcpy(&v, p, 8);
    return v;
}

static inline uint32_t bytes_load32(const void *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static inline uint16_t bytes_load16(const void *p)
{
    uint16_t v;
    memcpy(&v, p, 2);
    return v;
}

/* White space of the C locale: what separates ids, and what an empty document may hold. */
static inline bool byte_is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Decimal digits at the beginning of text: their number; *value is what they say, or UINT64_MAX
 * where that is more. */
size_t digits_parse(const char *text, size_t size, uint64_t *value);

/* ------------------------------------------------------------------ UTF-8 (text_utf8.c) */

/* Bytes of the character at p: 1 to 4, or 0 where it is not valid UTF-8 (overlong forms,
 * surrogates and values above U+10FFFF are not). *cp may be NULL. size > 0. */
size_t utf8_decode(const char *p, size_t size, uint32_t *cp);
/* The same back: writes the bytes of a code point and returns their number. */
size_t utf8_encode(uint32_t cp, char out[4]);
/* Bytes of valid UTF-8 that text begins with. */
size_t utf8_valid_size(const char *text, size_t size);

/* ------------------------------------------------------------------ byte sources
 * (text_corpus_source.c): a file or standard input as plain bytes, unpacked as it is read. */

struct corpus_source;
/* Packing by name (.gz, .zst); standard input ("-") by its first bytes. `path` must outlive it. */
int corpus_source_open(const char *path, struct corpus_source **out, struct error *e);
/* Up to cap bytes into buf: their number, 0 at the end, negative on an error. */
int64_t corpus_source_read(struct corpus_source *s, void *buf, size_t cap, struct error *e);
uint64_t corpus_source_stored(const struct corpus_source *s); /* stored bytes consumed so far */
void corpus_source_close(struct corpus_source *s);            /* accepts NULL */
/* Length of the name without .gz or .zst. */
size_t corpus_source_plain_name(const char *name);
/* Whether the first n bytes of name end so, with something in front. */
bool corpus_name_ends(const char *name, size_t n, const char *end);
/* One read() that a signal cannot interrupt: its result; a negative one is an error naming
 * `name`. */
int64_t corpus_read_fd(int fd, void *buf, size_t cap, const char *name, struct error *e);

/* ------------------------------------------------------------------ files (text_corpus_files.c) */

struct corpus_file_list {
    struct corpus_file *items; /* mem_alloc'd; paths in the arena */
    size_t count, cap;
    bool unsized; /* standard input or a pipe is among them: the total is not known */
};
/* Paths and folders to files, in order; formats decided. */
int corpus_files_find(const struct corpus_options *o, struct arena *a,
                      struct corpus_file_list *list, struct error *e);

/* ------------------------------------------------------------------ documents (text_corpus.c) */

enum { CORPUS_PIECE_BYTES = 16 << 20 }; /* where the options name no other size */

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

#endif
