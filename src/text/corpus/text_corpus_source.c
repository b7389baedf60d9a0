/* text_corpus_source.c: a stored file as a stream of plain bytes.
 *
 * The first bytes say how it is packed, whatever its name is; a name that ends in .gz or .zst
 * without them is damage.
 *
 * Three kinds of storage (plain, gzip, zstd) behind one read call, so that the splitter above
 * never knows which it has. Memory is a fixed input buffer plus the decompressor's window: zstd's
 * default limit of 128 MiB stays in force, because a frame that asks for 2 GiB ("--long=31") would
 * break the promise of bounded memory; the error says how to repack.
 *
 * A packed file that ends inside a frame is an error that names the stored offset, never a silent
 * short read: a truncated download must not become a slightly smaller training set. Several gzip
 * members or zstd frames in a row are one stream, as gzip and zstd themselves have it; zero bytes
 * behind the last gzip member (tape padding) are ignored, anything else there is an error. */
#include "text/corpus/text_corpus_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { SOURCE_BUFFER = 256 * 1024 };

enum source_packing { SOURCE_PLAIN, SOURCE_GZIP, SOURCE_ZSTD };

struct corpus_source {
    const char *name; /* for messages; the caller's */
    enum source_packing packing;
    int fd;
    /* SOURCE_BUFFER bytes of stored input, of which [in_start, in_end) are not consumed yet; NULL
     * until something goes through it. */
    uint8_t *in;
    size_t in_start, in_end;
    bool in_eof;
    uint64_t stored; /* bytes read from the file, those still in `in` among them */
    z_stream gzip;
    ZSTD_DStream *zstd;
    bool unpacking;  /* inside a member or frame */
    bool any_member; /* at least one member or frame was seen whole */
};

bool corpus_name_ends(const char *name, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n > m && strncasecmp(name + n - m, end, m) == 0;
}

size_t corpus_source_plain_name(const char *name)
{
    size_t n = strlen(name);
    if (corpus_name_ends(name, n, ".gz")) return n - 3;
    if (corpus_name_ends(name, n, ".zst")) return n - 4;
    return n;
}

static enum source_packing packing_by_name(const char *name)
{
    size_t n = strlen(name);
    return corpus_name_ends(name, n, ".gz")    ? SOURCE_GZIP
           : corpus_name_ends(name, n, ".zst") ? SOURCE_ZSTD
                                               : SOURCE_PLAIN;
}

/* The decompressor is set up for the file; one is enough for all its members or frames. */
static void source_start(struct corpus_source *s, enum source_packing packing)
{
    s->packing = packing;
    if (packing == SOURCE_GZIP) {
        int rc = inflateInit2(&s->gzip, 15 + 16); /* largest window, gzip header required */
        CHECK(rc == Z_OK);
    } else if (packing == SOURCE_ZSTD) {
        s->zstd = ZSTD_createDStream();
        CHECK(s->zstd != NULL);
    }
}

int64_t corpus_read_fd(int fd, void *buf, size_t cap, const char *name, struct error *e)
{
    ssize_t n;
    do
        n = read(fd, buf, cap);
    while (n < 0 && errno == EINTR);
    return n < 0 ? error_errno(e, "read", name) : n;
}

/* Takes more stored bytes into the empty buffer. */
static int source_fill(struct corpus_source *s, struct error *e)
{
    if (!s->in) s->in = mem_alloc(SOURCE_BUFFER);
    s->in_start = s->in_end = 0;
    int64_t n = corpus_read_fd(s->fd, s->in, SOURCE_BUFFER, s->name, e);
    if (n < 0) return (int)n;
    s->in_end = (size_t)n;
    s->in_eof = n == 0;
    s->stored += (uint64_t)n;
    return 0;
}

/* What the first bytes say, of which a pipe's may trickle in; of a file without them its name. Frames
 * of zstd that hold no data ("skippable") may come first. */
static int source_sniff(struct corpus_source *s, enum source_packing *packing, struct error *e)
{
    s->in = mem_alloc(SOURCE_BUFFER);
    while (s->in_end < 4) {
        int64_t n = corpus_read_fd(s->fd, s->in + s->in_end, SOURCE_BUFFER - s->in_end, s->name, e);
        if (n < 0) return (int)n;
        if (n == 0) break; /* in_eof is set by the next fill, which reads the end again */
        s->in_end += (size_t)n;
        s->stored += (uint64_t)n;
    }
    uint32_t magic = s->in_end >= 4 ? bytes_load32(s->in) : 0;
    *packing = packing_by_name(s->name);
    if (magic == 0xfd2fb528 || (magic & 0xfffffff0) == 0x184d2a50)
        *packing = SOURCE_ZSTD;
    else if (s->in_end >= 2 && s->in[0] == 0x1f && s->in[1] == 0x8b)
        *packing = SOURCE_GZIP;
    return 0;
}

int corpus_source_open(const char *path, struct corpus_source **out, struct error *e)
{
    struct corpus_source *s = mem_calloc(1, sizeof(*s));
    enum source_packing packing = SOURCE_PLAIN;
    int rc = 0;

    *out = NULL;
    s->name = path;
    if (strcmp(path, "-") == 0) {
        s->name = "standard input";
        s->fd = STDIN_FILENO;
    } else {
        s->fd = open(path, O_RDONLY | O_CLOEXEC);
        if (s->fd < 0)
            rc = error_errno(e, "open", path);
        else
            (void)posix_fadvise(s->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    }
    if (rc == 0) rc = source_sniff(s, &packing, e);
    if (rc < 0) {
        corpus_source_close(s);
        return rc;
    }
    source_start(s, packing);
    *out = s;
    return 0;
}

void corpus_source_close(struct corpus_source *s)
{
    if (!s) return;
    if (s->packing == SOURCE_GZIP) inflateEnd(&s->gzip);
    ZSTD_freeDStream(s->zstd);
    if (s->fd >= 0 && s->fd != STDIN_FILENO) close(s->fd);
    mem_free(s->in);
    mem_free(s);
}

bool corpus_source_is_packed(const struct corpus_source *s)
{
    return s->packing != SOURCE_PLAIN;
}

uint64_t corpus_source_stored(const struct corpus_source *s)
{
    return s->stored - (s->in_end - s->in_start);
}

/* The place is that of the stored file, because that is what can be looked at. */
static int source_bad(struct corpus_source *s, const char *kind, const char *what, struct error *e)
{
    error_set(e, "bad %s data in '%s' at byte %llu: %s", kind, s->name,
              (unsigned long long)corpus_source_stored(s), what);
    return error_hint(e, "the file is damaged or not %s; fetch or pack it again", kind);
}

static int source_truncated(struct corpus_source *s, const char *kind, struct error *e)
{
    error_set(e, "truncated %s data in '%s': it ends at byte %llu, inside a %s", kind, s->name,
              (unsigned long long)corpus_source_stored(s),
              s->packing == SOURCE_GZIP ? "member" : "frame");
    return error_hint(e, "the file was cut off; fetch or pack it again");
}

/* Between two gzip members: starts the next one, or says at the end that there is none.
 * Returns 1 to go on, 0 at the end. */
static int gzip_next_member(struct corpus_source *s, struct error *e)
{
    if (s->any_member && s->in[s->in_start] == 0) {
        while (!s->in_eof) {
            for (; s->in_start < s->in_end; s->in_start++) {
                if (s->in[s->in_start] != 0)
                    return source_bad(s, "gzip", "something else follows the packed text", e);
            }
            TRY(source_fill(s, e));
        }
        return 0;
    }
    if (s->any_member) inflateReset(&s->gzip);
    s->unpacking = true;
    return 1;
}

/* Inflates until something came out: a member may begin or end, or a block hold nothing. */
static int64_t gzip_read(struct corpus_source *s, void *buf, size_t cap, struct error *e)
{
    s->gzip.next_out = buf;
    s->gzip.avail_out = (unsigned)MIN(cap, (size_t)1 << 30);
    unsigned room = s->gzip.avail_out;

    while (s->gzip.avail_out == room) {
        if (s->in_start == s->in_end) TRY(source_fill(s, e));
        if (s->in_eof) {
            if (s->unpacking || !s->any_member) return source_truncated(s, "gzip", e);
            return 0;
        }
        if (!s->unpacking) {
            int more = gzip_next_member(s, e);
            if (more <= 0) return more;
        }
        s->gzip.next_in = s->in + s->in_start;
        s->gzip.avail_in = (unsigned)(s->in_end - s->in_start);
        int rc = inflate(&s->gzip, Z_NO_FLUSH);
        s->in_start = s->in_end - s->gzip.avail_in;
        if (rc == Z_STREAM_END) {
            s->unpacking = false;
            s->any_member = true;
        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return source_bad(s, "gzip", s->gzip.msg ? s->gzip.msg : zError(rc), e);
        }
    }
    return room - s->gzip.avail_out;
}

static int64_t zstd_read(struct corpus_source *s, void *buf, size_t cap, struct error *e)
{
    ZSTD_outBuffer out = {buf, cap, 0};

    while (out.pos == 0) {
        if (s->in_start == s->in_end && !s->in_eof) TRY(source_fill(s, e));
        if (s->in_eof && !s->unpacking) {
            if (!s->any_member) return source_truncated(s, "zstd", e);
            return 0;
        }
        ZSTD_inBuffer in = {s->in, s->in_end, s->in_start};
        size_t rc = ZSTD_decompressStream(s->zstd, &out, &in);
        if (ZSTD_isError(rc)) {
            source_bad(s, "zstd", ZSTD_getErrorName(rc), e);
            if (ZSTD_getErrorCode(rc) == ZSTD_error_frameParameter_windowTooLarge)
                error_hint(e, "it needs a window above 128 MiB; pack it again with zstd --long=27");
            return ERROR_FAILED;
        }
        /* At the end of the file the decoder may still hold output; only when it can give no more
         * is the frame cut off. */
        if (s->in_eof && out.pos == 0 && rc != 0) return source_truncated(s, "zstd", e);
        s->in_start = in.pos;
        s->unpacking = rc != 0;
        if (rc == 0) s->any_member = true;
    }
    return (int64_t)out.pos;
}

/* A buffer of ours is used only for what sniffing left in it, and for a caller with little room. */
static int64_t plain_read(struct corpus_source *s, void *buf, size_t cap, struct error *e)
{
    if (s->in_start == s->in_end && cap >= SOURCE_BUFFER) { /* straight into the caller's memory */
        int64_t n = corpus_read_fd(s->fd, buf, cap, s->name, e);
        s->stored += (uint64_t)MAX(n, 0);
        return n;
    }
    if (s->in_start == s->in_end) TRY(source_fill(s, e));
    size_t n = MIN(cap, s->in_end - s->in_start);
    memcpy(buf, s->in + s->in_start, n);
    s->in_start += n;
    return (int64_t)n;
}

int64_t corpus_source_read(struct corpus_source *s, void *buf, size_t cap, struct error *e)
{
    switch (s->packing) {
    case SOURCE_GZIP: return gzip_read(s, buf, cap, e);
    case SOURCE_ZSTD: return zstd_read(s, buf, cap, e);
    default: return plain_read(s, buf, cap, e);
    }
}
