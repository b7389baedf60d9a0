/* base.h: what every room stands on: errors, memory, strings, files, threads, random numbers,
 * hashing, options, YAML, JSON, units, tables and plots.
 *
 * Nothing here knows about text, models or machines. Simple things come first in each section.
 *
 * Errors come in three kinds, never mixed (docs/STYLE.md): a programmer's error is a CHECK and
 * aborts; an operating error returns 0 or a negative `enum error_code` and fills the caller's
 * `struct error`; a usage error is printed by cmd/ only. */
#ifndef COLOSSUS_BASE_H
#define COLOSSUS_BASE_H

#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
/* A file as a text of the program, assembled in as it is, with a NUL behind it; the path is from the folder
 * that the program is built in. */
#define EMBED_FILE(id, path)                                                                 \
    __asm__(".pushsection .rodata\n" #id ":\n.incbin \"" path "\"\n.byte 0\n.popsection\n"); \
    extern const char id[]
#define MIN(a, b)         ((a) < (b) ? (a) : (b))
#define MAX(a, b)         ((a) > (b) ? (a) : (b))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

/* ------------------------------------------------------------------ errors (base_error.c) */

/* The codes an operating error returns; cmd/ turns them into the exit code of the same meaning. */
enum error_code {
    ERROR_FAILED = -1,     /* exit 1: it did not work */
    ERROR_USAGE = -2,      /* exit 2: the command line is wrong */
    ERROR_CONFIG = -3,     /* exit 3: a configuration file is wrong */
    ERROR_AGAIN = -75,     /* exit 75: stopped in good order, requeue me */
    ERROR_NO_REQUEUE = -93 /* exit 93: it will fail again, do not requeue */
};

/* Owned by the caller, usually on its stack; no heap. `text` is one line in lower case without a
 * full stop, what failed first; `hint` is what to do about it, or empty. */
struct error {
    int code;
    int number; /* the errno that error_errno was told of; 0: of no such error */
    char text[768];
    char hint[1024];
};

/* Fills *e (NULL is allowed: nothing is recorded) and returns the code. */
int error_set_code(struct error *e, enum error_code code, const char *fmt, ...) PRINTF_LIKE(3, 4);
#define error_set(e, ...) error_set_code((e), ERROR_FAILED, __VA_ARGS__)
/* "text" becomes "context: text"; returns e->code (ERROR_FAILED where e is NULL). */
int error_context(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Sets the hint; returns e->code, so that `return error_hint(...)` can end a function. */
int error_hint(struct error *e, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "cannot <what> 'path': <strerror(errno)>"; returns ERROR_FAILED. */
int error_errno(struct error *e, const char *what, const char *path);
/* Whether something could not be written because a disk, or what may be used of it, is full. */
bool error_is_full(const struct error *e);

#define TRY(expr)                        \
    do {                                 \
        int try_rc_ = (expr);            \
        if (try_rc_ < 0) return try_rc_; \
    } while (0)

/* A programmer's error: prints the condition, place and message, then aborts. Always on. */
#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (__builtin_expect(!(cond), 0)) check_failed(__FILE__, __LINE__, #cond, NULL); \
    } while (0)
#define CHECK_MSG(cond, ...)                                                                    \
    do {                                                                                        \
        if (__builtin_expect(!(cond), 0)) check_failed(__FILE__, __LINE__, #cond, __VA_ARGS__); \
    } while (0)
void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
    __attribute__((noreturn)) PRINTF_LIKE(4, 5);
/* What a caller cannot mend, a lack of memory or threads, or a device that failed: prints message and
 * hint, and ends the program with that exit code; of a lack it is 1. */
void exit_now(int code, const char *hint, const char *fmt, ...) __attribute__((noreturn))
PRINTF_LIKE(3, 4);
#define exit_exhausted(hint, ...) exit_now(1, (hint), __VA_ARGS__)
/* What a failed CHECK adds to its message ("rank 3, step 120"); copied. */
void check_set_context(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* ------------------------------------------------------------------ logging (base_log.c) */

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

/* One line to standard error; thread safe. Default level LOG_INFO, or $COLOSSUS_LOG. */
void log_line(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);
#define log_debug(...) log_line(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)  log_line(LOG_INFO, __VA_ARGS__)
#define log_warn(...)  log_line(LOG_WARN, __VA_ARGS__)
#define log_error(...) log_line(LOG_ERROR, __VA_ARGS__)

/* Progress of long work: on a terminal one line redrawn in place, in a log a plain line every ten
 * seconds; "tokenize  43 %  1.2 GB of 2.8 GB  118 MB/s  13 s left". total 0 means unknown. */
struct progress {
    const char *what;
    const char *unit; /* "B" is shown as kB, MB, ...; others as k, M, ... */
    double total, start_s, last_print_s;
    bool terminal;
};
void progress_init(struct progress *p, const char *what, const char *unit, double total);
void progress_update(struct progress *p, double done);
void progress_fini(struct progress *p, double done); /* last line: amount, time, rate */

/* ------------------------------------------------------------------ memory (base_memory.c) */

/* Control-plane memory: ends the program where there is none. Counted by mem_alloc_count. */
void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
void mem_free(void *p);
/* The same, aligned to a power of two of at least 8; freed by mem_free. */
void *mem_alloc_aligned(size_t size, size_t alignment);
/* Memory whose size comes from input: NULL when there is none. */
void *mem_try_alloc(size_t size);
void *mem_try_realloc(void *p, size_t size);
/* Large planned memory: zeroed, 2 MiB aligned, huge pages advised; NULL when there is none. */
void *mem_map(size_t size);
void mem_unmap(void *p, size_t size);
/* The memory that mem_map takes once all of it is used: whole huge pages. */
size_t mem_map_bytes(size_t size);
/* The same for an array of which only parts will be used: what is not touched takes no memory, and
 * pages are small. mem_unmap gives it back. */
void *mem_map_sparse(size_t size);
/* Gives back the memory of the whole pages in [p, p + size) of either kind of mapping: they read as
 * zeros, and take memory again where they are written, small page by small page. */
void mem_release(void *p, size_t size);
/* Bytes this process may use: the machine's memory, or its control groups' limit if that is less. */
double mem_limit_bytes(void);
/* Ends the program: so many bytes (0: unknown) are not to be had, and nothing goes on without. */
void mem_exhausted(size_t bytes) __attribute__((noreturn));
/* Whether hardly any more memory is to be had: tells why a library failed that does not. */
bool mem_is_short(void);
/* Number of successful allocations of every kind above since the program began (all threads).
 * A training step after the second must leave it unchanged. */
uint64_t mem_alloc_count(void);
/* From here on this thread's allocations stay out of the count: it works beside the steps. */
void mem_alloc_count_skip_thread(void);

/* Memory of one unit of work (run, request, ...): freed whole. Not thread safe. {0} is empty. */
struct arena {
    struct arena_block *head; /* newest block first */
    size_t used;              /* bytes handed out */
};
void arena_init(struct arena *a);
void arena_fini(struct arena *a);  /* frees every block; the arena may be used again */
void arena_reset(struct arena *a); /* forgets everything but keeps the largest block */
void *arena_alloc(struct arena *a, size_t size); /* 16-byte aligned, zeroed, never NULL */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Text of a file as a terminal may be given it: what would steer it becomes '?' (base_print.c). */
char *arena_plain(struct arena *a, const char *text);
/* Bytes at s[0..n), n at least 1, that would steer a terminal: a control character, C1 included, or
 * one that turns the direction of what follows (U+202A to U+202E, U+2066 to U+2069). 0: none. */
size_t text_steers(const char *s, size_t n);

/* A growing byte string, always NUL-terminated once anything was added; {0} is empty. */
struct str {
    char *data;
    size_t len, cap;
};
void str_fini(struct str *s);
void str_clear(struct str *s); /* keeps the memory */
void str_reserve(struct str *s, size_t cap);
void str_append(struct str *s, const void *data, size_t n);
void str_append_char(struct str *s, char c);
void str_puts(struct str *s, const char *text);
/* A word of a command as sh reads it back: in single quotes where it must be. */
void str_put_word(struct str *s, const char *word);
void str_printf(struct str *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ------------------------------------------------------------------ control groups (base_cgroup.c) */

/* What a job, container or service may use of the machine; INFINITY where nothing limits it. */
struct cgroup_limits {
    double cpus; /* CPU seconds a second: 1.5 is one and a half CPUs */
    double memory_bytes;
};
/* Of this process, by the smallest limit of its control group and of those above it, version 1 and
 * 2. /proc and the mount points are looked for below `top`: "" but in tests. */
struct cgroup_limits cgroup_limits(const char *top);

/* ------------------------------------------------------------------ files (base_file.c) */

bool file_exists(const char *path);
bool file_is_dir(const char *path);
bool file_is_same(const char *a, const char *b);      /* however they are written, there or not */
int64_t file_size(const char *path, struct error *e); /* bytes, or negative */
/* Reads at most max_size bytes (an error names path, size and limit when it is larger). *data is
 * NUL-terminated behind *size bytes; the caller frees it with mem_free. "-" is standard input. */
int file_read(const char *path, size_t max_size, char **data, size_t *size, struct error *e);
/* What an open file was at a moment: whether it is still that file, as long, and as it was written. */
struct file_stamp {
    uint64_t device, inode;
    int64_t size, changed_s, changed_ns;
};
int file_stamp_of(int fd, const char *path, struct file_stamp *stamp, struct error *e);
bool file_stamp_equal(const struct file_stamp *a, const struct file_stamp *b);
/* Read-only memory map, for a file that is read once and closed soon; an empty file gives data ""
 * and size 0. A file that is cut off meanwhile reads as zeros behind its new end. */
struct file_map {
    const uint8_t *data;
    size_t size;
    struct mapped_file *file; /* NULL: nothing is mapped */
};
int file_map_open(struct file_map *m, const char *path, struct error *e);
/* To be asked before what was read is used: an error where the file was cut off, overwritten or
 * unreadable since it was mapped. It may grow. */
int file_map_check(const struct file_map *m, const char *path, struct error *e);
void file_map_close(struct file_map *m);
/* Whole-file replace that survives power loss: path.tmp, fsync, rename, fsync of the folder. */
int file_write(const char *path, const void *data, size_t size, struct error *e);
int file_make_dirs(const char *path, struct error *e);              /* like mkdir -p */
int file_remove_tree(const char *path, struct error *e);            /* a missing path is no error */
int file_rename(const char *from, const char *to, struct error *e); /* fsyncs both folders */
int file_sync_dir(const char *path, struct error *e);
/* Names in a folder, sorted by strcmp, without "." and ".."; allocated in *a. */
int file_list_dir(const char *path, struct arena *a, char ***names, size_t *count, struct error *e);
/* "a/b"; in *a. */
char *file_join(struct arena *a, const char *dir, const char *name);
const char *file_base_name(const char *path); /* behind the last '/' */
/* Where this user's own descriptions lie: $XDG_CONFIG_HOME/colossus or ~/.config/colossus. In *a. */
char *file_config_dir(struct arena *a);
/* Writes all of data to fd, through short writes and EINTR. */
int file_write_fd(int fd, const void *data, size_t size, const char *path, struct error *e);

/* ------------------------------------------------------------------ hashing (base_hash.c) */

uint64_t hash_xxh3(const void *data, size_t size);
struct hash_stream; /* XXH3-64 over pieces */
struct hash_stream *hash_stream_new(void);
void hash_stream_add(struct hash_stream *h, const void *data, size_t size);
uint64_t hash_stream_value(const struct hash_stream *h);
void hash_stream_free(struct hash_stream *h);
void hash_to_hex(uint64_t hash, char hex[17]);
int hash_from_hex(const char *hex, uint64_t *hash); /* exactly 16 hex digits, else negative */
int hash_file(const char *path, uint64_t *hash, struct error *e);

/* ------------------------------------------------------------------ random numbers (base_rng.c)
 * Counter based: Philox4x32-10 (Salmon et al., SC'11), so that any value can be drawn again from
 * (seed, stream, index) on any thread; there is no state to save but the counters. */

uint64_t rng_u64(uint64_t seed, uint64_t stream, uint64_t index);
double rng_uniform(uint64_t seed, uint64_t stream, uint64_t index); /* [0, 1), 53 bits */
double rng_normal(uint64_t seed, uint64_t stream, uint64_t index);  /* mean 0, deviation 1 */
/* Bijection of [0, n): the place of item i in the order (seed, stream). Constant memory (Feistel
 * network with cycle walking), so an epoch of any length is shuffled without a table. */
uint64_t rng_permute(uint64_t seed, uint64_t stream, uint64_t n, uint64_t i);

/* ------------------------------------------------------------------ threads (base_pool.c)
 * One pool per process. The caller's thread works too. Tasks are claimed in order from a shared
 * counter; which thread runs a task is not fixed, so a task's result must not depend on it: that
 * is what makes results equal for any number of threads. Pools do not nest: pool_run from inside
 * a task runs the tasks there and then, in order. */

struct pool;
typedef void pool_fn(void *ctx, size_t task, int thread);
struct pool *pool_new(int n_threads); /* 0: as many as the process may use */
void pool_free(struct pool *p);
int pool_threads(const struct pool *p); /* p NULL is 1 */
/* Runs fn for every task in [0, n_tasks); returns when all are done. p NULL: in order, here. */
void pool_run(struct pool *p, size_t n_tasks, pool_fn *fn, void *ctx);
/* Since it began: seconds of a CPU that a thread got, and those that it was ready to run in and had
 * none (0 where the kernel does not say). Of the caller's thread, and the sums of the pool's others. */
struct thread_time {
    double cpu_s, starved_s;
};
struct thread_time thread_time(void);
struct thread_time pool_time(const struct pool *p); /* p NULL: of none */
double thread_cpu_s(void);                          /* of the caller's alone, quickly */
int pool_available_cpus(void);                      /* by affinity and control groups, at least 1 */

/* ------------------------------------------------------------------ output (base_output.c)
 * Lines on the way of what must not stand still because nobody reads them, for standard output or standard
 * error (fd 1 or 2). Two seconds are waited; what comes from then on until somebody reads is left out and
 * counted. False: it cannot be written at all, see errno. */
bool output_write(int fd, const char *data, size_t n);
FILE *output_stream(int fd); /* the same, by lines; for fclose */

/* ------------------------------------------------------------------ signals (base_signal.c)
 * As sigaction does it, with the signals of no mask, on the stack for signals of the thread that it finds.
 * old: NULL, or what was there before. */
struct sigaction;
void signal_catch(int number, void (*handler)(int), int flags, struct sigaction *old);
/* Gives this thread a stack for signals, once. Whoever calls code that uses the stack register for
 * something else calls this first; see base_signal.c. */
void signal_stack(void);

double time_now_s(void);          /* monotonic */
void time_iso8601(char text[32]); /* UTC wall clock, "2026-11-22T03:04:05.678Z" */

/* ------------------------------------------------------------------ names (base_names.c) */

/* The candidate nearest to word by Damerau-Levenshtein distance, or NULL where none is near
 * enough to be meant (distance > max(2, length / 3)). */
const char *name_nearest(const char *word, const char *const *candidates, size_t count);
/* The same for keys with sections: first one with that last word ("lr" for "optimizer.lr"), of
 * several the one whose section is nearest; then whatever is near or begins so ("power" for
 * "power_cap_w"). */
const char *name_nearest_key(const char *key, const char *const *keys, size_t count);

/* ------------------------------------------------------------------ figures, ranges (base_figure.c)
 * P primary text read, S secondary text, R compilation that cites a primary, D derived, M from
 * memory, A assumption: the grades of the facts they were copied from. */
struct figure {
    double mid, low, high; /* low = high = mid where no range is known */
    char grade;            /* 0: not given */
    const char *source;    /* short citation; "" where none */
};

struct range {
    double low, mid, high;
};
/* Ranges are bands of about 80 %; factors are taken as independent, so that a product's band is the
 * root of the sum of squares of logarithms. A figure that is not given (grade 0 and mid 0) takes
 * the fallback. */
struct range figure_range(const struct figure *f, struct range fallback);
double figure_mid(const struct figure *f, double fallback);
struct range range_exact(double x);
struct range range_mul(struct range a, struct range b);
struct range range_div(struct range a, struct range b);
struct range range_add(struct range a, struct range b);
struct range range_sum(struct range a,
                       struct range b);             /* they rise and fall together: bounds add */
struct range range_scale(struct range a, double x); /* x is exact */

/* ------------------------------------------------------------------ units (base_unit.c) */

enum unit_kind {
    UNIT_NONE,
    UNIT_SHARE, /* 0.05 or 5 % */
    UNIT_BYTES,
    UNIT_BYTES_PER_S, /* also bits: Gb/s */
    UNIT_FLOPS,
    UNIT_W,
    UNIT_WH,
    UNIT_W_PER_S,
    UNIT_USD,
    UNIT_USD_PER_KWH,
    UNIT_USD_PER_W,
    UNIT_G_PER_KWH,
    UNIT_L_PER_KWH,
    UNIT_T_PER_YEAR,
    UNIT_L_PER_DAY,
    UNIT_HZ,
    UNIT_DAYS,
    UNIT_YEARS,
    UNIT_CELSIUS,
    UNIT_TOKENS,
    UNIT_FAILURES, /* per 1,000 days of eight accelerators */
    UNIT_SECONDS,
    UNIT_N_KINDS
};
enum unit_result { UNIT_OK, UNIT_BAD_NUMBER, UNIT_BAD_NAME };
/* "3.35 TB/s", "80e9", "15T", "5 %": the value in the dimension's first unit. *unit is what stands
 * behind the digits, for the error. */
enum unit_result unit_parse(const char *text, enum unit_kind d, double *value, const char **unit);
/* "B, kB, MB ..." into buf, which is returned; the first alone is what a bare number means. */
char *unit_list(enum unit_kind d, char *buf, size_t size);
/* A count with an optional suffix k, M, B or G, T, P (1000s) or Ki, Mi, Gi, Ti (1024s), and '_'
 * between digits: "20M", "1.5B", "100_000". Negative where text is not such a number. */
int parse_number(const char *text, double *value);
int parse_int(const char *text, int64_t *value); /* the same; fails where not a whole number */

/* ------------------------------------------------------------------ options (base_options.c)
 * One typed table per command or file drives the command line, --help, the reader of the file, the
 * generated reference page and shell completion. A row says where its value lives in the target
 * struct (offsetof), so there is one copy of every default. */

enum option_type {
    OPTION_BOOL,   /* bool;        --flag, --no-flag, --flag=true */
    OPTION_INT,    /* int64_t */
    OPTION_INT32,  /* int32_t */
    OPTION_REAL,   /* double */
    OPTION_STRING, /* const char * (in the loader's arena, or the argv string) */
    OPTION_ENUM,   /* int: index into choices */
    OPTION_LIST,   /* struct option_list: strings; YAML sequence, or the flag given again */
    OPTION_FIGURE, /* struct figure: a number, or in YAML a map {mid, low, high, grade, source} */
    OPTION_CUSTOM  /* in YAML only: by read(); NULL: whoever binds looks at the node himself */
};

struct option_list {
    const char **items;
    size_t count;
};

struct yaml_reader;
struct yaml_node;
struct option {
    const char *name; /* "learning-rate" on the command line; "optimizer.lr" as a file key */
    char letter;      /* 'o' for -o, or 0 */
    enum option_type type;
    size_t offset;    /* of the value in the target struct */
    const char *unit; /* what is counted: "tokens", "s", "" ..., or NULL; for help */
    /* The default as text; "": nothing, 0; NULL: must be given (file), or zero (flag). */
    const char *fallback;
    double min, max;            /* bounds of a number; both 0: none */
    const char *const *choices; /* ENUM: NULL-terminated */
    const char *help;           /* one sentence, lower case */
    const char *bare;           /* the value of --name alone; NULL: it needs one */
    /* Of keys in files; a row of a command line ends above. */
    enum unit_kind measures; /* units that the text may carry; UNIT_NONE: a plain number */
    const char *example;     /* a valid value, for errors and reference pages, or NULL */
    int (*read)(const struct yaml_reader *r, const struct option *row, const struct yaml_node *node,
                void *target); /* of CUSTOM, or instead of the type's own; NULL: none */
};

/* How a row of a file's keys is written: T the target struct, m the member, k the key. */
/* clang-format off */
#define ROW_(T, k, m, kind, def, ex, h) \
    .name = k, .type = kind, .offset = offsetof(T, m), .fallback = def, .example = ex, .help = h
#define ROW_STRING(T, k, m, def, ex, h) {ROW_(T, k, m, OPTION_STRING, def, ex, h)}
#define ROW_BOOL(T, k, m, def, h)       {ROW_(T, k, m, OPTION_BOOL, def, NULL, h)}
#define ROW_INT(T, k, m, u, def, lo, hi, ex, h) \
    {ROW_(T, k, m, OPTION_INT, def, ex, h), .unit = u, .min = lo, .max = hi}
#define ROW_INT32(T, k, m, lo, hi, ex, h) \
    {ROW_(T, k, m, OPTION_INT32, "", ex, h), .min = lo, .max = hi}
#define ROW_REAL(T, k, m, u, def, lo, hi, ex, h) \
    {ROW_(T, k, m, OPTION_REAL, def, ex, h), .unit = u, .min = lo, .max = hi}
#define ROW_ENUM(T, k, m, def, list, ex, h) \
    {ROW_(T, k, m, OPTION_ENUM, def, ex, h), .choices = list}
#define ROW_FIGURE_IN(T, k, m, u, def, lo, hi, ex, h) \
    {ROW_(T, k, m, OPTION_FIGURE, def, ex, h), .measures = u, .min = lo, .max = hi}
#define ROW_FIGURE(T, k, m, u, def, ex, h) ROW_FIGURE_IN(T, k, m, u, def, 0, INFINITY, ex, h)
#define ROW_CUSTOM(k, def, ex, h, fn) \
    {.name = k, .type = OPTION_CUSTOM, .fallback = def, .example = ex, .help = h, .read = fn}
#define ROW_LIKE(ex) \
    ROW_CUSTOM("like", "", ex, "begin with this one; the other keys change it", NULL)
/* clang-format on */

/* What a command takes. Positional arguments are named in usage and come back in rest. */
struct option_table {
    const char *command; /* "train" or "data tokenize" */
    const char *usage;   /* "RUN.yaml [options]" */
    const char *summary; /* one line */
    const char *details; /* more paragraphs and examples for --help, or NULL */
    const struct option *rows;
    size_t n_rows;
};

/* Where a value came from, kept per row for `run.yaml`'s origin comments. */
enum option_origin { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_FLAG, ORIGIN_DERIVED, ORIGIN_PRESET };

/* Sets every row of target to its fallback. */
void options_defaults(const struct option *rows, size_t n_rows, void *target);
/* A command line: what is given, and what is left of it once its options are read. */
struct option_line {
    const struct option_table *table;
    int argc;
    char **argv;         /* argv[0] is the command's own name */
    struct arena *arena; /* list items live here */
    uint8_t *origins;    /* [n_rows] ORIGIN_FLAG is set where a row was given; NULL: not wanted */
    int n_rest;
    char **rest; /* positional arguments, in place, within argv */
    bool help;   /* --help or -h was given */
};
/* Parses a line and fills target. Long options: --name value, --name=value. Unknown ones:
 * ERROR_USAGE with the nearest name as hint. "--" ends options; a lone "-" is positional. */
int options_parse(struct option_line *line, void *target, struct error *e);
bool options_given(const struct option_line *line, const char *name); /* on the command line */
/* Sets one row from text with its type, bounds and choices; errors name the row and a valid
 * example. `where` ("run.yaml:12") goes in front of messages, or NULL. */
int options_set(const struct option *row, const char *text, void *target, struct arena *a,
                const char *where, struct error *e);
const struct option *options_find(const struct option *rows, size_t n_rows, const char *name);
/* Does a dotted name lie in a section? The empty section is the whole table. */
bool options_below(const char *name, const char *section);
/* The value of a row as text that options_set reads back. */
void options_get(const struct option *row, const void *target, struct str *out);
void options_print_help(const struct option_table *t, FILE *out);
/* Markdown table of the rows, for docs/reference/; with a column of examples where most have one. */
void options_print_markdown(const struct option *rows, size_t n_rows, FILE *out);

/* ------------------------------------------------------------------ YAML (base_yaml.c)
 * libyaml's events composed into a tree that remembers line and column of every node, so that a
 * wrong key can be named by file and line. Aliases and merge keys are refused; depth is limited
 * to 64, a file to 16 MiB, a document to 1M nodes. */

enum yaml_kind { YAML_KIND_SCALAR, YAML_KIND_LIST, YAML_KIND_MAP };

struct yaml_node {
    enum yaml_kind kind;
    int line, column;         /* from 1 */
    const char *text;         /* SCALAR */
    bool quoted;              /* SCALAR: a quoted string is never a number, a bool or null */
    size_t count;             /* LIST, MAP */
    struct yaml_node **items; /* LIST: values; MAP: values */
    struct yaml_node **keys;  /* MAP: scalars, unique (a repeated key is an error) */
};

/* One document; everything is allocated in *a. Errors: "run.yaml:12:3: ...". An empty document is
 * an empty MAP. */
int yaml_load(const char *path, struct arena *a, struct yaml_node **root, struct error *e);
int yaml_parse(const char *text, size_t size, const char *name, struct arena *a,
               struct yaml_node **root, struct error *e);
struct yaml_node *yaml_get(const struct yaml_node *map, const char *key); /* or NULL */
/* Writes target as YAML that yaml_bind reads back, sections grouped, each value followed by a
 * comment with its origin ("# default", "# run.yaml", "# flag", "# derived", "# preset"). */
void yaml_print_options(const struct option *rows, size_t n_rows, const void *target,
                        const uint8_t *origins, const char *file_name, struct str *out);
/* Appends text as a double-quoted YAML string; bytes that are not UTF-8 become U+FFFD. */
void yaml_quote(struct str *out, const char *text);
bool yaml_is_null(const struct yaml_node *node); /* nothing written, ~ or null */

/* ------------------------------------------------------------------ binding (base_bind.c)
 * From a YAML map to a struct, by a table of options. */

/* A file (or a part of one) being read: where errors point, where strings live. */
struct yaml_reader {
    const char *path; /* as errors name it, and where names in it are looked for; "" for none */
    struct arena *arena;
    struct error *e; /* never NULL */
    int depth;       /* of files that name files */
};

/* The keys of one kind of file, or of a part of one. */
struct section {
    const char *what;   /* "accelerator" */
    const char *folder; /* below presets/; NULL: only ever part of another file */
    const char *help;   /* "an accelerator"; NULL: not named in errors */
    const struct option *rows;
    size_t n_rows;
    const struct option_renamed *renamed; /* keys of old files, up to one with was NULL; or NULL */
};
struct option_renamed {
    const char *was, *now;
};
/* clang-format off */
#define SECTION(what, folder, help, rows) {what, folder, help, rows, ARRAY_LEN(rows), NULL}
/* A node for a value that no file says. */
#define YAML_SCALAR(t) {.kind = YAML_KIND_SCALAR, .line = 1, .column = 1, .text = (t)}
/* clang-format on */

/* The map with its keys "section.key" put below "section", where a file writes some of them so; the map
 * itself where there is none. A key that is given both ways is an error. */
int yaml_nested(const struct yaml_reader *r, const struct yaml_node *map,
                const struct yaml_node **nested);

/* Fills target from a map: a row "optimizer.lr" is the key lr of the map optimizer. Unknown keys,
 * wrong types and units are ERROR_CONFIG naming file, line, the nearest valid key and an example.
 * Rows not in the file keep their value; one without a fallback that is missing is an error, unless
 * `based` says that target was filled before, or origins[row] that this row was. origins may be
 * NULL; origins[row] becomes ORIGIN_FILE where the file has it. */
int yaml_bind(const struct yaml_reader *r, const struct section *s, const struct yaml_node *map,
              bool based, void *target, uint8_t *origins);
/* One value of a FIGURE row. */
int yaml_bind_figure(const struct yaml_reader *r, const struct option *row,
                     const struct yaml_node *node, struct figure *out);
const struct option *section_find(const struct section *s, const char *name);
/* Gives every row of target its default. A figure without one stays "not given" (grade 0), so that
 * what computes with it takes its own; one with a default is graded A, source "default". */
void section_defaults(const struct section *s, void *target);
/* ERROR_CONFIG "path:line:column: ...". */
int yaml_wrong(const struct yaml_reader *r, const struct yaml_node *at, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
/* The same, with "for example key: example" as the hint. */
int yaml_wrong_row(const struct yaml_reader *r, const struct yaml_node *at,
                   const struct option *row, const char *fmt, ...) PRINTF_LIKE(4, 5);
/* The value of a dotted key, or the map where it is not given: where an error about it points. */
const struct yaml_node *yaml_find(const struct yaml_node *map, const char *key);

/* ------------------------------------------------------------------ JSON (base_json.c) */

/* jansson with our errors ("index.json:3:14: ..."), duplicates refused. Caller json_decrefs. */
int json_load_path(const char *path, size_t max_size, json_t **root, struct error *e);
int json_parse(const char *text, size_t size, const char *name, json_t **root, struct error *e);
/* Member of an object with a type; errors name file, key and what was found. */
int json_get_string(const json_t *o, const char *key, const char **value, const char *name,
                    struct error *e);
int json_get_int(const json_t *o, const char *key, int64_t *value, const char *name,
                 struct error *e);
int json_get_real(const json_t *o, const char *key, double *value, const char *name,
                  struct error *e); /* an integer will do */
/* Sorted keys, two-space indent, newline at the end, by file_write. */
int json_save_path(const json_t *root, const char *path, struct error *e);

/* A number in the shortest form that reads back the same; "null" where it is not finite. */
const char *json_real_text(char text[40], double value);

/* A writer for lines on hot paths: no heap beyond `out`, which keeps its memory. Numbers print in
 * the shortest form that reads back the same; NaN and infinities print as null. */
struct json_writer {
    struct str *out;
    bool comma;
};
void jsonw_begin(struct json_writer *w, struct str *out);
void jsonw_open(struct json_writer *w, const char *key, char bracket); /* '{' or '['; key NULL */
void jsonw_close(struct json_writer *w, char bracket);                 /* '}' or ']' */
void jsonw_string(struct json_writer *w, const char *key, const char *value);
void jsonw_string_n(struct json_writer *w, const char *key, const char *value, size_t n);
void jsonw_int(struct json_writer *w, const char *key, int64_t value);
void jsonw_real(struct json_writer *w, const char *key, double value);
void jsonw_bool(struct json_writer *w, const char *key, bool value);

/* ------------------------------------------------------------------ print (base_print.c) */

/* Into buf, which is returned: "1.23 GiB", "12.3 M", "3 h 25 min", "4.56e-04". */
char *format_bytes(char buf[32], double bytes);
char *format_count(char buf[32], double count);
char *format_duration(char buf[32], double seconds);
/* A value with a decimal prefix in front of its unit: "118 MB", "2.50 GFLOP/s". */
char *format_si(char buf[32], double value, const char *unit);

/* A table for the terminal: columns as wide as their widest cell, numbers to the right. */
struct table;
struct table *table_new(const char *const *heads, size_t n_columns, const char *align); /* "lrr" */
void table_row(struct table *t, ...); /* n_columns const char *, copied; NULL shows as N/A */
void table_cells(struct table *t, const char *const *cells); /* the same from an array */
void table_rule(struct table *t);
void table_print(const struct table *t, FILE *out);
void table_free(struct table *t);

/* ------------------------------------------------------------------ pictures (base_svg.c) */

/* Pixels throughout; y grows downwards. `class` is one of svg_style's, or of the page around, and is
 * not escaped; text is. */
#define SVG_COLOURS 9 /* of series: classes c0 .. c8 fill with them, l0 .. l8 draw lines */
/* Colours of the classes, light and dark: for <style> of a page that holds pictures. */
void svg_style(struct str *out);
/* Text of a page or a picture: markup becomes entities, control characters are dropped. */
void svg_escape(struct str *out, const char *text);
/* Begins a picture that stands in a page, and that svg_write makes a file of; the caller appends
 * "</svg>". label: what it shows, for who cannot see it. */
void svg_open(struct str *out, double width, double height, const char *label);
void svg_text(struct str *out, double x, double y, const char *anchor, const char *class,
              const char *text); /* anchor "start", "middle" or "end" */
void svg_line(struct str *out, double x1, double y1, double x2, double y2, const char *class);
void svg_rect(struct str *out, double x, double y, double width, double height, const char *class);
/* One element of this size as a file that stands alone, with its colours and a ground. */
int svg_write(const char *path, const struct str *element, double width, double height,
              struct error *e);

/* ------------------------------------------------------------------ plots (base_plot.c) */

enum plot_style { PLOT_LINE, PLOT_POINTS, PLOT_BARS };
struct plot_series {
    const char *name;
    const double *x, *y; /* NaN in y is a gap; x NULL: 0, 1, 2 ... */
    size_t count;
    int style;                 /* enum plot_style */
    const char *const *labels; /* [count] of points, shown when pointed at; or NULL */
};
struct plot {
    const char *title, *x_label, *y_label;
    bool log_x, log_y;
    const struct plot_series *series;
    size_t n_series;
    const char *const *x_names; /* what x = 0, 1, 2 ... is called, as many as the first series has
                                 * values; NULL: x is a number */
    bool from_zero;             /* the y axis reaches down to 0 */
};
/* The round number nearest to v: 1, 2 or 5 times a power of ten; v > 0. */
double plot_nice_step(double v);
/* Braille-dot line plot with axes and a legend, width x height characters. */
void plot_print(const struct plot *p, int width, int height, FILE *out);
/* One SVG element: panels above each other, each with axes, round ticks, grid and legend. */
void plot_svg(struct str *out, const struct plot *plots, size_t n_plots, int width_px,
              int panel_height_px);
/* The same as a file that stands alone. */
int plot_write_svg_panels(const struct plot *plots, size_t n_plots, int width_px,
                          int panel_height_px, const char *path, struct error *e);

/* ------------------------------------------------------------------ presets (base_preset.c) */

#define PRESET_MAX_DEPTH 8 /* of files that name files */

/* Reads presets/<folder>/<name>.yaml or the file that name is the path of. *child names the file and
 * lives in the arena's memory; at (may be NULL) is where the name stands. */
int preset_open(const struct yaml_reader *r, const struct section *s, const char *name,
                const struct yaml_node *at, struct yaml_reader *child, struct yaml_node **root);
/* yaml_load, with hints of what descriptions are made of. */
int preset_read_yaml(const char *path, struct arena *a, struct yaml_node **root, struct error *e);
/* The path of presets/<folder>/<name>, a whole file name, in the first place where presets are kept
 * ($COLOSSUS_PRESETS, here, beside the program, where `make install` put them); NULL where there is
 * none. In *a. */
const char *preset_find_file(struct arena *a, const char *folder, const char *name);
/* Would a name that is no path be found? */
bool preset_exists(const struct yaml_reader *r, const char *folder, const char *name);
/* Names of all presets of a folder, nearest first, each once, in r's arena; their number. Whether
 * each can be read is not looked at. */
size_t preset_list(const struct yaml_reader *r, const char *folder, const char **names, size_t cap);
/* "h100" of "presets/accelerators/h100.yaml". */
const char *preset_name_of_path(struct arena *a, const char *path);
/* A reader for a name that no file mentions (from may be NULL); *local is used where e is NULL. */
struct yaml_reader yaml_reader_from(const char *from, struct arena *a, struct error *e,
                                    struct error *local);

/* How a kind of description is read. Its table has a row "name". */
struct preset_kind {
    const struct section *section;
    size_t size;        /* of the target struct */
    const char *inside; /* a file may hold the description below this key; NULL: never */
    /* What follows anew from the base where map changes it; NULL: nothing. */
    void (*changed)(const struct yaml_node *map, void *target);
    /* Fills what follows from the rest, and checks. */
    int (*finish)(const struct yaml_reader *r, const struct yaml_node *map, void *target);
};
/* From a name, a path, or a map that may begin with `like: NAME`. given (may be NULL): for each row
 * of the section, set to ORIGIN_FILE where a file says it. */
int preset_read(const struct yaml_reader *r, const struct preset_kind *k,
                const struct yaml_node *node, void *target, uint8_t *given);
/* The same for a name that no file mentions; `from` (may be NULL) is where it is looked from. */
int preset_load(const struct preset_kind *k, const char *name, const char *from, struct arena *a,
                void *target, struct error *e);

/* ------------------------------------------------------------------ CSV (base_csv.c) */

/* RFC 4180: CRLF or LF, quoted fields with "" and line breaks, a UTF-8 byte-order mark is skipped.
 * Errors name file:line:column. Every row has as many fields as the head. In *a. */
struct csv {
    const char *path;
    size_t n_columns, n_rows;
    const char **heads;  /* [n_columns] */
    const char **fields; /* [n_rows][n_columns] */
    int *lines;          /* [n_rows] first line of each row, from 1 */
};
int csv_parse(const char *text, size_t size, const char *path, struct arena *a, struct csv *out,
              struct error *e);
#define CSV_MAX_BYTES ((size_t)64 << 20) /* of a file */
int csv_load(const char *path, struct arena *a, struct csv *out, struct error *e);
int csv_column(const struct csv *t, const char *name); /* or -1 */
/* Text of a field, "" where the column is missing (-1). */
const char *csv_field(const struct csv *t, size_t row, int column);

#endif
