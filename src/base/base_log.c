/* base_log.c: lines for the person who watches.
 *
 * Standard output is for results; everything said on the way goes to standard error. A line is
 * formatted on the stack and leaves in one write, so that lines of several threads or ranks that
 * share a terminal do not mix and a training step may log without allocating.
 *
 * Progress is drawn over itself on a terminal and printed as a plain line every ten seconds in a
 * log. The two meet in one place: a line that comes while a bar is on the screen wipes it first. */
#include "base/base.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define REDRAW_S   0.1
#define LOG_LINE_S 10.0

static pthread_mutex_t log_lock = PTHREAD_MUTEX_INITIALIZER;
static bool bar_on_screen;

static const char *const level_names[] = {"debug", "info", "warning", "error"};

/* Read for each line, so that it may change while the program runs, as it does in tests. */
static int level_from_environment(void)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};
    const char *text = getenv("COLOSSUS_LOG");
    for (size_t i = 0; text && i < ARRAY_LEN(names); i++)
        if (strcmp(text, names[i]) == 0) return (int)i;
    return LOG_INFO;
}

/* Writes text and wipes a bar that is in the way. Called with the lock held. */
static void emit(const char *text, size_t n)
{
    char line[2304];
    size_t used = 0;
    if (bar_on_screen) used = (size_t)snprintf(line, sizeof(line), "\r\033[K");
    n = MIN(n, sizeof(line) - used);
    memcpy(line + used, text, n);
    (void)output_write(STDERR_FILENO, line, used + n); /* nowhere to complain to */
    bar_on_screen = false;
}

void log_line(enum log_level level, const char *fmt, ...)
{
    if ((int)level < level_from_environment()) return;
    char text[2048];
    struct timespec ts;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &ts);
    gmtime_r(&ts.tv_sec, &tm);
    size_t n = strftime(text, sizeof(text), "%H:%M:%S ", &tm);
    if (level != LOG_INFO)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s: ", level_names[level]);
    va_list args;
    va_start(args, fmt);
    int more = vsnprintf(text + n, sizeof(text) - n, fmt, args);
    va_end(args);
    size_t begin = n;
    n = MIN(n + (size_t)MAX(more, 0), sizeof(text) - 2);
    for (size_t i = begin; i < n; i++) /* what others put in must not forge a line or steer */
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) text[i] = ' ';
    text[n++] = '\n';
    pthread_mutex_lock(&log_lock);
    emit(text, n);
    pthread_mutex_unlock(&log_lock);
}

/* ------------------------------------------------------------------ progress */

void progress_init(struct progress *p, const char *what, const char *unit, double total)
{
    double now = time_now_s();
    *p = (struct progress){.what = what,
                           .unit = unit,
                           .total = total,
                           .start_s = now,
                           .last_print_s = now,
                           .terminal = isatty(STDERR_FILENO)};
}

/* "tokenize  43 %  1.20 GB of 2.80 GB  118 MB/s  13 s left" */
static int progress_text(const struct progress *p, double done, double now, char *text, size_t size)
{
    char amount[32], total[32], rate[32], left[32];
    double elapsed = now - p->start_s;
    double per_s = elapsed > 0.0 ? done / elapsed : 0.0;
    format_si(amount, done, p->unit);
    format_si(rate, per_s, p->unit);
    if (!(p->total > 0.0)) return snprintf(text, size, "%s  %s  %s/s", p->what, amount, rate);
    format_si(total, p->total, p->unit);
    int n = snprintf(text, size, "%s  %.0f %%  %s of %s  %s/s", p->what,
                     100.0 * MIN(done / p->total, 1.0), amount, total, rate);
    if (per_s > 0.0 && done < p->total)
        n += snprintf(text + n, size - (size_t)n, "  %s left",
                      format_duration(left, (p->total - done) / per_s));
    return n;
}

/* A bar that is wider than the terminal would wrap and not be drawn over. */
static int terminal_columns(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
    return known ? size.ws_col : 80;
}

void progress_update(struct progress *p, double done)
{
    double now = time_now_s();
    if (now - p->last_print_s < (p->terminal ? REDRAW_S : LOG_LINE_S)) return;
    p->last_print_s = now;
    char text[512];
    progress_text(p, done, now, text, sizeof(text));
    if (!p->terminal) {
        log_info("%s", text);
        return;
    }
    char bar[600];
    int n = snprintf(bar, sizeof(bar), "\r%.*s\033[K", terminal_columns() - 1, text);
    pthread_mutex_lock(&log_lock);
    bar_on_screen = false; /* drawn over, not wiped: wiping flickers */
    emit(bar, (size_t)n);
    bar_on_screen = true;
    pthread_mutex_unlock(&log_lock);
}

void progress_fini(struct progress *p, double done)
{
    char amount[32], rate[32], time[32];
    double elapsed = MAX(time_now_s() - p->start_s, 1e-9);
    log_info("%s  %s in %s  %s/s", p->what, format_si(amount, done, p->unit),
             format_duration(time, elapsed), format_si(rate, done / elapsed, p->unit));
}
