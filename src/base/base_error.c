/* base_error.c: the two kinds of error that do not belong to the command line.
 *
 * An operating error travels upwards in a `struct error` that the outermost caller owns, so that
 * reporting one needs no heap and works when there is none. Each level may put its own words in
 * front ("while resuming run 'x': cannot open 'y': no such file or directory"); what does not fit
 * is cut at the end, since the front says what the user was doing.
 *
 * A programmer's error aborts at once, with the place and whatever the process told us about where
 * it was (rank, step), because state that breaks an invariant must not reach a checkpoint.
 *
 * Memory or threads that are not to be had, where no caller could go on without them, are neither:
 * the program ends at once with a message and exit code 1. What is on disk is whole at any instant,
 * as it is when a machine dies. */
#include "base/base.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char check_context[128];

int error_set_code(struct error *e, enum error_code code, const char *fmt, ...)
{
    if (!e) return code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->text, sizeof(e->text), fmt, args);
    va_end(args);
    e->code = code;
    e->number = 0;
    e->hint[0] = '\0';
    return code;
}

int error_context(struct error *e, const char *fmt, ...)
{
    if (!e) return ERROR_FAILED;
    char text[sizeof(e->text)];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    /* "context: " and as much of the old text as there is room for */
    size_t used = MIN((size_t)MAX(n, 0), sizeof(text) - 3);
    size_t keep = MIN(strlen(e->text), sizeof(text) - used - 3);
    memcpy(text + used, ": ", 2);
    memcpy(text + used + 2, e->text, keep);
    memcpy(e->text, text, used + 2 + keep);
    e->text[used + 2 + keep] = '\0';
    return e->code;
}

int error_hint(struct error *e, const char *fmt, ...)
{
    if (!e) return ERROR_FAILED;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->hint, sizeof(e->hint), fmt, args);
    va_end(args);
    return e->code;
}

/* strerror begins with a capital, our messages do not; "I/O error" and other acronyms stay. */
static void errno_text(int number, char *text, size_t size)
{
    char raw[160];
    snprintf(text, size, "%s", strerror_r(number, raw, sizeof(raw)));
    bool word = text[0] >= 'A' && text[0] <= 'Z' && text[1] >= 'a' && text[1] <= 'z';
    if (word) text[0] = (char)(text[0] - 'A' + 'a');
}

static const struct {
    int number;
    const char *text;
} cures[] = {{ENOSPC, "free some space on that disk, then run the command again"},
             {EDQUOT, "free some space on that disk, then run the command again"},
             {EFBIG, "raise the limit on the size of files: ulimit -f unlimited"},
             {EMFILE, "raise the limit on open files: ulimit -n 4096"},
             {EISDIR, "name a file"},
             {ENOTDIR, "a part of that path is a file, not a folder; check it"},
             {ENOENT, "check the name, and that its folder is there"},
             {EROFS, "name a place that can be written to"},
             {EACCES, "ask for the right to it, or name another"}};

int error_errno(struct error *e, const char *what, const char *path)
{
    int number = errno;
    char reason[160];
    errno_text(number, reason, sizeof(reason));
    error_set(e, "cannot %s '%s': %s", what, path, reason);
    if (e) e->number = number;
    for (size_t i = 0; i < ARRAY_LEN(cures); i++)
        if (number == cures[i].number) error_hint(e, "%s", cures[i].text);
    errno = number;
    return ERROR_FAILED;
}

bool error_is_full(const struct error *e)
{
    return e->number == ENOSPC || e->number == EDQUOT || e->number == EFBIG;
}

void check_set_context(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(check_context, sizeof(check_context), fmt, args);
    va_end(args);
}

static size_t add_text(char *text, size_t size, size_t n, const char *fmt, va_list args)
    PRINTF_LIKE(4, 0);
/* Appends to text [size], of which n are used; returns what is used then. */
static size_t add_text(char *text, size_t size, size_t n, const char *fmt, va_list args)
{
    int used = vsnprintf(text + n, size - n, fmt, args);
    return MIN(n + (size_t)MAX(used, 0), size - 1);
}

static size_t add(char *text, size_t size, size_t n, const char *fmt, ...) PRINTF_LIKE(4, 5);
static size_t add(char *text, size_t size, size_t n, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    n = add_text(text, size, n, fmt, args);
    va_end(args);
    return n;
}

#define LAST_WORDS_S 5 /* that a reader who does not read may hold a process that ends */

/* One write, past stdio: its lock may be held by the thread that this happens to. */
static void write_last_words(const char *text, size_t n)
{
    ssize_t ignored = write(STDERR_FILENO, text, n);
    (void)ignored;
}

void exit_now(int code, const char *hint, const char *fmt, ...)
{
    static atomic_flag said = ATOMIC_FLAG_INIT;
    char text[1024];
    va_list args;
    size_t n = add(text, sizeof(text), 0, "colossus: ");
    va_start(args, fmt);
    n = add_text(text, sizeof(text), n, fmt, args);
    va_end(args);
    if (check_context[0]) n = add(text, sizeof(text), n, " (%s)", check_context);
    n = add(text, sizeof(text), n, "\nhint: %s\n", hint);
    if (atomic_flag_test_and_set(&said))
        sleep(LAST_WORDS_S); /* another thread is about to say it, and ends the process */
    else
        write_last_words(text, n);
    _exit(code);
}

void check_failed(const char *file, int line, const char *cond, const char *fmt, ...)
{
    char text[1024];
    size_t n = add(text, sizeof(text), 0, "colossus: internal error at %s:%d: '%s' is false", file,
                   line, cond);
    if (fmt) {
        va_list args;
        n = add(text, sizeof(text), n, ": ");
        va_start(args, fmt);
        n = add_text(text, sizeof(text), n, fmt, args);
        va_end(args);
    }
    if (check_context[0]) n = add(text, sizeof(text), n, " (%s)", check_context);
    text[MIN(n, sizeof(text) - 2)] = '\n';
    write_last_words(text, MIN(n + 1, sizeof(text) - 1));
    abort();
}
