/* feed_queue.c: the queue between a stream and the store.
 *
 * A burst, or a disk that is slow for a while, must neither lose posts nor fill the memory. Up to a
 * bound lines wait in memory; beyond it they go to spill.log, and from then on all do, until the
 * reader has used the file up: so the order holds. The file is removed only after what came of it was
 * committed, so a process that dies leaves it whole and the next one reads it first; posts that were
 * in the store already are duplicates. What waits in memory is lost with the process, and comes again
 * by the stream's cursor.
 *
 * A record of the file: length (4 bytes), moment (8 bytes), the line. One that is cut off is the end. */
#include "feed/follow/feed_follow_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

struct head {
    uint32_t n;
    int64_t when_ms;
} __attribute__((packed));

struct feed_queue {
    pthread_mutex_t guard;
    pthread_cond_t changed;
    char *path;
    int fd;
    size_t limit;
    struct str memory; /* heads and lines; read from `at` */
    size_t at;
    uint64_t written, read; /* of the file */
    bool spilling, drained;
};

int feed_queue_open(const char *dir, size_t memory, feed_queue_t **out, struct error *e)
{
    feed_queue_t *q = mem_calloc(1, sizeof(*q));
    struct arena a = {0};
    q->path = mem_strdup(file_join(&a, dir, "spill.log"));
    arena_fini(&a);
    q->limit = memory;
    pthread_mutex_init(&q->guard, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->fd = open(q->path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (q->fd < 0) {
        error_errno(e, "open", q->path);
        feed_queue_close(q);
        return ERROR_FAILED;
    }
    off_t size = lseek(q->fd, 0, SEEK_END);
    q->written = size > 0 ? (uint64_t)size : 0;
    q->spilling = q->written > 0;
    *out = q;
    return 0;
}

void feed_queue_close(feed_queue_t *q)
{
    if (!q) return;
    if (q->fd >= 0) {
        if (q->written == 0) unlink(q->path);
        close(q->fd);
    }
    pthread_mutex_destroy(&q->guard);
    pthread_cond_destroy(&q->changed);
    str_fini(&q->memory);
    mem_free(q->path);
    mem_free(q);
}

static int put_file(feed_queue_t *q, const struct head *h, const char *line, struct error *e)
{
    struct str whole = {0};
    str_append(&whole, h, sizeof(*h));
    str_append(&whole, line, h->n);
    int rc = 0;
    if (lseek(q->fd, (off_t)q->written, SEEK_SET) < 0) rc = error_errno(e, "write", q->path);
    if (rc >= 0) rc = file_write_fd(q->fd, whole.data, whole.len, q->path, e);
    if (rc >= 0) q->written += whole.len;
    str_fini(&whole);
    return rc;
}

int feed_queue_put(feed_queue_t *q, const char *line, size_t n, int64_t when_ms, struct error *e)
{
    struct head h = {(uint32_t)n, when_ms};
    int rc = 0;
    pthread_mutex_lock(&q->guard);
    if (q->at == q->memory.len) {
        str_clear(&q->memory);
        q->at = 0;
    }
    if (!q->spilling && q->memory.len - q->at + n > q->limit) q->spilling = true;
    if (q->spilling) {
        rc = put_file(q, &h, line, e);
    } else {
        if (q->at > q->limit) { /* what was read makes room */
            memmove(q->memory.data, q->memory.data + q->at, q->memory.len - q->at);
            q->memory.len -= q->at;
            q->at = 0;
        }
        str_append(&q->memory, &h, sizeof(h));
        str_append(&q->memory, line, n);
    }
    q->drained = false;
    pthread_cond_signal(&q->changed);
    pthread_mutex_unlock(&q->guard);
    return rc;
}

static int get_memory(feed_queue_t *q, struct str *line, int64_t *when_ms)
{
    struct head h;
    memcpy(&h, q->memory.data + q->at, sizeof(h));
    str_clear(line);
    str_append(line, q->memory.data + q->at + sizeof(h), h.n);
    *when_ms = h.when_ms;
    q->at += sizeof(h) + h.n;
    return 1;
}

static int get_file(feed_queue_t *q, struct str *line, int64_t *when_ms, struct error *e)
{
    struct head h;
    ssize_t got = pread(q->fd, &h, sizeof(h), (off_t)q->read);
    if (got < 0) return error_errno(e, "read", q->path);
    if (got < (ssize_t)sizeof(h) || q->read + sizeof(h) + h.n > q->written) {
        q->read = q->written; /* of a process that died while it wrote */
        return 2;
    }
    str_clear(line);
    str_reserve(line, h.n + 1);
    got = pread(q->fd, line->data, h.n, (off_t)(q->read + sizeof(h)));
    if (got != (ssize_t)h.n) return error_errno(e, "read", q->path);
    line->len = h.n;
    line->data[h.n] = '\0';
    *when_ms = h.when_ms;
    q->read += sizeof(h) + h.n;
    return 1;
}

int feed_queue_get(feed_queue_t *q, struct str *line, int64_t *when_ms, int wait_ms,
                   struct error *e)
{
    struct timespec until;
    int rc = 0;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(wait_ms % 1000) * 1000000;
    until.tv_sec += wait_ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&q->guard);
    for (;;) {
        if (q->at < q->memory.len)
            rc = get_memory(q, line, when_ms);
        else if (q->spilling && q->read < q->written)
            rc = get_file(q, line, when_ms, e);
        else if (q->spilling && !q->drained) {
            q->drained = true;
            rc = 2;
        } else if (pthread_cond_timedwait(&q->changed, &q->guard, &until) == 0)
            continue;
        break;
    }
    pthread_mutex_unlock(&q->guard);
    return rc;
}

int feed_queue_reset(feed_queue_t *q, struct error *e)
{
    int rc = 0;
    pthread_mutex_lock(&q->guard);
    if (q->read == q->written) { /* nothing came meanwhile */
        if (ftruncate(q->fd, 0) != 0) rc = error_errno(e, "empty", q->path);
        q->read = q->written = 0;
        q->spilling = false;
    }
    pthread_mutex_unlock(&q->guard);
    return rc;
}

uint64_t feed_queue_bytes(feed_queue_t *q, uint64_t *spilled)
{
    pthread_mutex_lock(&q->guard);
    *spilled = q->written - q->read;
    uint64_t n = q->memory.len - q->at + *spilled;
    pthread_mutex_unlock(&q->guard);
    return n;
}
