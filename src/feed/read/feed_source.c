/* feed_source.c: bytes of a file or of standard input, unpacked where they are gzip or zstd. A pipe
 * gives what there is: who waits for more says how long. */
#include "feed/read/feed_read_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define IN_BYTES ((size_t)256 << 10)

enum packing { PLAIN, GZIP, ZSTD };

struct feed_source_file {
    int fd;
    const char *path;
    enum packing packing;
    bool pipe, end, inside; /* inside: a frame or member has begun and not ended */
    uint8_t *in;
    size_t at, n; /* of in: what was not unpacked yet */
    z_stream gzip;
    ZSTD_DStream *zstd;
};

/* More bytes behind what there is: how many, 0 at the end, ERROR_AGAIN. */
static int64_t refill(feed_source_file_t *f, int wait_ms, struct error *e)
{
    struct pollfd p = {.fd = f->fd, .events = POLLIN};
    memmove(f->in, f->in + f->at, f->n - f->at);
    f->n -= f->at;
    f->at = 0;
    if (f->pipe && wait_ms >= 0 && poll(&p, 1, wait_ms) == 0) return ERROR_AGAIN;
    ssize_t got = read(f->fd, f->in + f->n, IN_BYTES - f->n);
    if (got < 0 && errno == EINTR) return ERROR_AGAIN;
    if (got < 0) return error_errno(e, "read", f->path);
    f->n += (size_t)got;
    f->end = got == 0;
    return got;
}

int feed_source_open(const char *path, feed_source_file_t **out, struct error *e)
{
    bool standard = strcmp(path, "-") == 0;
    feed_source_file_t *f = mem_calloc(1, sizeof(*f));
    int rc = 0;
    f->path = standard ? "standard input" : path;
    f->fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    f->in = mem_alloc(IN_BYTES);
    *out = f;
    if (f->fd < 0)
        rc = error_errno(e, "open", path);
    else if (file_is_dir(path))
        rc = error_set(e, "'%s' is a folder", path);
    off_t size = rc < 0 ? 0 : lseek(f->fd, 0, SEEK_END);
    f->pipe = size < 0;
    if (size > 0) lseek(f->fd, 0, SEEK_SET);
    while (rc >= 0 && f->n < 4 && !f->end) {
        int64_t got = refill(f, -1, e);
        if (got < 0 && got != ERROR_AGAIN) rc = (int)got;
    }
    if (rc < 0) {
        feed_source_close(f);
        *out = NULL;
        return rc;
    }
    if (f->n >= 2 && f->in[0] == 0x1f && f->in[1] == 0x8b) f->packing = GZIP;
    if (f->n >= 4 && memcmp(f->in, "\x28\xb5\x2f\xfd", 4) == 0) f->packing = ZSTD;
    if (f->packing == GZIP && inflateInit2(&f->gzip, 15 + 16) != Z_OK) mem_exhausted(0);
    if (f->packing == ZSTD && !(f->zstd = ZSTD_createDStream())) mem_exhausted(0);
    return 0;
}

static int64_t unpack_gzip(feed_source_file_t *f, char *buf, size_t n, struct error *e)
{
    if (!f->inside) inflateReset(&f->gzip);
    f->inside = true;
    f->gzip.next_in = f->in + f->at;
    f->gzip.avail_in = (uInt)(f->n - f->at);
    f->gzip.next_out = (Bytef *)buf;
    f->gzip.avail_out = (uInt)MIN(n, (size_t)1 << 30);
    int rc = inflate(&f->gzip, Z_NO_FLUSH);
    f->at = f->n - f->gzip.avail_in;
    if (rc == Z_STREAM_END)
        f->inside = false; /* another member may follow */
    else if (rc != Z_OK && rc != Z_BUF_ERROR)
        return error_set(e, "'%s' is broken gzip: %s", f->path,
                         f->gzip.msg ? f->gzip.msg : "wrong data");
    return (int64_t)((char *)f->gzip.next_out - buf);
}

static int64_t unpack_zstd(feed_source_file_t *f, char *buf, size_t n, struct error *e)
{
    ZSTD_inBuffer in = {f->in, f->n, f->at};
    ZSTD_outBuffer out = {buf, n, 0};
    size_t rc = ZSTD_decompressStream(f->zstd, &out, &in);
    if (ZSTD_isError(rc))
        return error_set(e, "'%s' is broken zstd: %s", f->path, ZSTD_getErrorName(rc));
    f->at = in.pos;
    f->inside = rc != 0;
    return (int64_t)out.pos;
}

int64_t feed_source_read(feed_source_file_t *f, char *buf, size_t n, int wait_ms, struct error *e)
{
    for (;;) {
        if (f->at < f->n || (f->packing != PLAIN && f->inside && f->end)) {
            int64_t got;
            if (f->packing == PLAIN) {
                got = (int64_t)MIN(n, f->n - f->at);
                memcpy(buf, f->in + f->at, (size_t)got);
                f->at += (size_t)got;
            } else {
                size_t before = f->at;
                got = f->packing == GZIP ? unpack_gzip(f, buf, n, e) : unpack_zstd(f, buf, n, e);
                if (got == 0 && f->at == before && f->end)
                    return error_set(e, "'%s' is cut off: the packed data does not end", f->path);
            }
            if (got != 0) return got;
            if (f->at < f->n || f->end) continue;
        }
        if (f->end) return 0;
        int64_t got = refill(f, wait_ms, e);
        if (got < 0) return got;
    }
}

void feed_source_close(feed_source_file_t *f)
{
    if (!f) return;
    if (f->packing == GZIP) inflateEnd(&f->gzip);
    ZSTD_freeDStream(f->zstd);
    if (f->fd > STDIN_FILENO) close(f->fd);
    mem_free(f->in);
    mem_free(f);
}
