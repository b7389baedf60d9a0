/* base_output.c: lines on the way of something that lasts.
 *
 * Whoever reads them may stop reading without going away: a terminal behind ^S, a pager, a pipe of a
 * program that is busy. write() would then wait as long, and with it a training step, a launcher that
 * has a rank to replace, and every signal. So it is waited for a moment only; what comes until somebody
 * reads again is left out, and how much that was is said then. */
#include "base/base.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 2000
#define PIECE       ((size_t)4096) /* whatever is writable takes so many bytes without waiting */

/* Of standard output and standard error. */
static struct {
    pthread_mutex_t lock;
    bool stuck;
    long long lost; /* lines */
} outputs[STDERR_FILENO + 1] = {[STDOUT_FILENO] = {.lock = PTHREAD_MUTEX_INITIALIZER},
                                [STDERR_FILENO] = {.lock = PTHREAD_MUTEX_INITIALIZER}};

static bool takes_more(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLOUT};
    int n;
    do
        n = poll(&p, 1, outputs[fd].stuck ? 0 : PATIENCE_MS);
    while (n < 0 && errno == EINTR && !outputs[fd].stuck);
    outputs[fd].stuck = n == 0;
    return n != 0; /* an error is write's to report */
}

static bool put(int fd, const char *data, size_t n)
{
    for (size_t done = 0; done < n;) {
        if (!takes_more(fd)) {
            for (size_t i = done; i < n; i++)
                outputs[fd].lost += data[i] == '\n';
            return true;
        }
        ssize_t k = write(fd, data + done, MIN(n - done, PIECE));
        if (k < 0 && errno != EINTR && errno != EAGAIN) return false;
        done += (size_t)MAX(k, 0);
    }
    return true;
}

bool output_write(int fd, const char *data, size_t n)
{
    char note[100];
    bool good = true;
    CHECK(fd == STDOUT_FILENO || fd == STDERR_FILENO);
    pthread_mutex_lock(&outputs[fd].lock);
    if (outputs[fd].lost > 0 && takes_more(fd)) {
        int size = snprintf(note, sizeof(note), "(%lld lines were left out, as nobody read them)\n",
                            outputs[fd].lost);
        outputs[fd].lost = 0;
        good = put(fd, note, (size_t)size);
    }
    good = good && put(fd, data, n);
    pthread_mutex_unlock(&outputs[fd].lock);
    return good;
}

static ssize_t on_write(void *cookie, const char *data, size_t n)
{
    return output_write(cookie ? STDERR_FILENO : STDOUT_FILENO, data, n) ? (ssize_t)n : 0;
}

FILE *output_stream(int fd)
{
    static char is_error;
    const cookie_io_functions_t io = {.write = on_write};
    FILE *f = fopencookie(fd == STDERR_FILENO ? &is_error : NULL, "w", io);
    if (!f) mem_exhausted(0);
    setvbuf(f, NULL, _IOLBF, PIECE);
    return f;
}
