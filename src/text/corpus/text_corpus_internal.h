/* text_corpus_internal.h: what the corpus reader's files share (byte sources, kinds of content, the
 * list of files, the JSON scanner), and above them the small tools that the whole room uses: growing arrays,
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
/* Packing by the first bytes, else by name (.gz, .zst). `path` must outlive it. */
int corpus_source_open(const char *path, struct corpus_source **out, struct error *e);
/* Up to cap bytes into buf: their number, 0 at the end, negative on an error. */
int64_t corpus_source_read(struct corpus_source *s, void *buf, size_t cap, struct error *e);
uint64_t corpus_source_stored(const struct corpus_source *s); /* stored bytes consumed so far */
void corpus_source_close(struct corpus_source *s);            /* accepts NULL */
bool corpus_source_is_packed(const struct corpus_source *s);
/* Length of the name without .gz or .zst. */
size_t corpus_source_plain_name(const char *name);
/* Whether the first n bytes of name end so in any case of letters, with something in front. */
bool corpus_name_ends(const char *name, size_t n, const char *end);
/* One read() that a signal cannot interrupt: its result; a negative one is an error naming
 * `name`. */
int64_t corpus_read_fd(int fd, void *buf, size_t cap, const char *name, struct error *e);

/* ------------------------------------------------------------------ kinds (text_corpus_kind.c) */

struct corpus_json_path;
#define SHARD_MAGIC "CLSSHARD" /* the first bytes of a token shard; its format: text_shard.c */

/* The first bytes of a file, unpacked. */
struct corpus_head {
    const char *path;
    const char *bytes;
    size_t size;
    bool whole;  /* nothing follows */
    bool packed; /* they come out of gzip or zstd */
};
/* A kind of content that is not read as text, or NULL; *cure says how to make text of it. */
const char *corpus_kind_find(const struct corpus_head *h, const char **cure);
/* What CORPUS_AUTO means: by content and name. Objects of JSON, one a line (JSONL) or in another
 * layout (JSON), where the name says so (.json, .jsonl, .ndjson, under .gz or .zst), or where it
 * says nothing of the kind and the content is sure (text_corpus_kind.c);
 * fortunes where NAME.dat lies beside or the folder is called so; else TEXT. Fails where an object
 * seems to begin that is too long to be told. */
int corpus_format_find(const struct corpus_head *h, const struct corpus_json_path *field,
                       enum corpus_format *format, struct error *e);

/* ------------------------------------------------------------------ files (text_corpus_files.c) */

struct corpus_file_list {
    struct corpus_file *items; /* mem_alloc'd; paths in the arena */
    size_t count, cap;
    bool unsized; /* standard input or a pipe is among them: the total is not known */
    struct corpus_left *left;
    size_t n_left, cap_left;
};
/* Paths and folders to files, in order; their formats are not decided yet. */
int corpus_files_find(const struct corpus_options *o, struct arena *a,
                      struct corpus_file_list *list, struct error *e);
void corpus_files_leave(struct corpus_file_list *list, const char *path, const char *why);

/* ------------------------------------------------------------------ JSON (text_corpus_json.c) */

enum { CORPUS_JSON_MAX_LEVELS = 16, CORPUS_JSON_MAX_DEPTH = 128 };

struct corpus_json_path {
    char *text; /* the names behind each other, without escapes; in the arena */
    const char *names[CORPUS_JSON_MAX_LEVELS];
    size_t sizes[CORPUS_JSON_MAX_LEVELS];
    int n_levels;
    bool asked;   /* the options name it: records are meant */
    bool literal; /* `text` as a whole, dots and all, is a key that is wanted, too */
};
/* "user.name" in parts; a dot behind a backslash is part of a name. */
int corpus_json_path_parse(const char *field, struct arena *a, struct corpus_json_path *path,
                           struct error *e);
/* A key as it must be written in a path. */
char *corpus_json_path_quote(const char *key, struct arena *a);

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
    enum corpus_bad bad; /* where not FOUND */
    size_t column;       /* INVALID, OTHER: from 1, in bytes */
};
/* Checks the whole line and finds the string at the path (NULL: the object itself). `scratch` keeps
 * its memory. */
enum corpus_json_verdict corpus_json_find(const char *line, size_t size,
                                          const struct corpus_json_path *path, struct str *scratch,
                                          struct corpus_json_result *r);

/* Where a value of JSON ends, found over any number of reads: {0} before its first byte. */
struct corpus_json_extent {
    uint64_t braces[CORPUS_JSON_MAX_DEPTH * 8 / 64]; /* per level: '{', not '[' */
    size_t depth;
    bool string, escape, scalar, done;
    bool broken; /* a bracket of the wrong kind, or a line end in a string: no end can be told */
};
/* Takes bytes up to the value's end or all of them; returns how many. */
size_t corpus_json_extent(struct corpus_json_extent *x, const char *text, size_t size);

/* ------------------------------------------------------------------ documents (text_corpus.c) */

enum {
    CORPUS_PIECE_BYTES = 16 << 20, /* where the options name no other size */
    CORPUS_FIRST_BUFFER = 256 << 10,
    CORPUS_SLACK = 64 /* bytes read beyond a piece, to see what follows */
};

/* Inside an array of CORPUS_JSON, and before or behind a value there. */
enum corpus_json_place { PLACE_TOP, PLACE_ARRAY_BEGIN, PLACE_ARRAY_VALUE, PLACE_ARRAY_NEXT };

struct corpus {
    struct arena arena;
    struct corpus_file_list files;
    size_t next_file;
    uint64_t stored_before; /* bytes of the files that are done */
    uint64_t stored_total;  /* 0: unknown */
    uint64_t max_line;
    size_t piece_bytes;
    struct corpus_options o; /* its strings are copies, its lists not kept */
    struct corpus_json_path field;

    uint64_t skipped[CORPUS_BAD_KINDS], bad; /* bad: those that count against the limits */
    uint64_t records;
    bool ended;

    struct corpus_source *source; /* NULL: between two files */
    const struct corpus_file *file;
    enum corpus_format format; /* of the file, never AUTO */
    uint64_t line;             /* of buf[start] */
    size_t column;             /* JSON: bytes of that line before buf[start] */
    bool in_document;          /* the piece handed out last was not the last of its document */
    bool any_document;         /* TEXT: handed something out; an empty file is one document */
    bool mid_line;   /* FORTUNE: the last cut was not at a line end, so no line begins here */
    bool is_checked; /* text found by itself: a NUL byte, or what is no UTF-8, is an error */
    enum corpus_json_place place;

    char *buf; /* bytes [start, end) are read and not handed out yet */
    size_t start, end, cap;
    bool eof; /* of the file: nothing comes behind `end` */

    struct str scratch;    /* of the JSON scanner */
    const char *json_text; /* what is left of a string larger than a piece */
    size_t json_size;
    size_t json_lines;  /* line ends of the object that it stands in, its own line end included */
    size_t json_column; /* JSON: of the byte behind the object */
};

/* Reads at least one byte more unless the file is at its end. `most` is how many bytes from
 * `start` on the caller can ever want: the buffer does not grow beyond that. */
int corpus_buffer_more(struct corpus *c, size_t most, struct error *e);
/* Finds the line that begins at the buffer's start. Returns 1 with its bytes and those of its end,
 * 0 at the end of the file, 2 where it is longer than `most`. */
int corpus_buffer_line(struct corpus *c, size_t most, size_t *size, size_t *taken, struct error *e);
/* Hands out `size` bytes at the buffer's start and drops `taken`, which hold `lines` line ends. */
int corpus_emit(struct corpus *c, struct corpus_document *doc, size_t size, size_t taken,
                uint64_t lines, bool last);
/* The place behind the last line end of the first `size` bytes, or else before a character. */
size_t corpus_cut(const char *text, size_t size);
uint64_t corpus_count_lines(const char *text, size_t size);

/* (text_corpus_records.c) The next piece of JSONL or JSON: 1, 0 at the end of the file, negative. */
int corpus_next_record(struct corpus *c, struct corpus_document *doc, struct error *e);
/* Counts a bad record that may be skipped, the first of each kind aloud; negative, with *why telling of the
 * limit, where it is one too many. */
int corpus_bad_add(struct corpus *c, enum corpus_bad bad, struct error *why);
/* At the end of the corpus: whether the share of bad records is within its limit. */
int corpus_records_check(const struct corpus *c, struct error *e);

#endif
