/* text_shard_spool.c: holds the ids of a document that comes in pieces until it is known whether
 * it is kept and where it goes.
 *
 * Split and duplicates are decided by the hash of the whole text, which for a document larger than
 * 16 MiB is known only after its last piece has been read. Its ids wait in a file, not in memory:
 * the bound on memory holds for a document of any size. Smaller documents never come here. */
#include "text/dataset/text_dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { SPOOL_BUFFER_IDS = 1 << 18 };

void shard_spool_init(struct shard_spool *s, const char *dir, struct arena *a)
{
    *s = (struct shard_spool){.fd = -1};
    s->path = file_join(a, dir, "large-document.tmp");
}

/* The file is made when the first large document comes: most corpora have none. */
int shard_spool_add(struct shard_spool *s, const uint32_t *ids, size_t count, struct error *e)
{
    if (s->fd < 0) {
        s->fd = open(s->path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
        if (s->fd < 0) return error_errno(e, "create", s->path);
    }
    TRY(file_write_fd(s->fd, ids, count * sizeof(*ids), s->path, e));
    s->count += count;
    return 0;
}

/* Reads exactly size bytes. */
static int read_back(const struct shard_spool *s, void *buf, size_t size, struct error *e)
{
    for (size_t done = 0; done < size;) {
        int64_t n = corpus_read_fd(s->fd, (char *)buf + done, size - done, s->path, e);
        if (n == 0) errno = EIO; /* somebody else shortened the file */
        if (n <= 0) return n < 0 ? (int)n : error_errno(e, "read", s->path);
        done += (size_t)n;
    }
    return 0;
}

/* From the spool's beginning into the writer, in blocks. */
static int copy_to(struct shard_spool *s, struct shard_writer *w, uint32_t *ids, struct error *e)
{
    if (lseek(s->fd, 0, SEEK_SET) < 0) return error_errno(e, "read", s->path);
    for (uint64_t left = s->count; left > 0;) {
        size_t n = MIN(left, (uint64_t)SPOOL_BUFFER_IDS);
        TRY(read_back(s, ids, n * sizeof(*ids), e));
        TRY(shard_writer_add(w, ids, n, e));
        left -= n;
    }
    return 0;
}

int shard_spool_flush(struct shard_spool *s, struct shard_writer *w, struct error *e)
{
    int rc = 0;

    if (w) {
        uint32_t *ids = mem_alloc(SPOOL_BUFFER_IDS * sizeof(*ids));
        rc = copy_to(s, w, ids, e);
        mem_free(ids);
    }
    if (rc >= 0 && (ftruncate(s->fd, 0) < 0 || lseek(s->fd, 0, SEEK_SET) < 0))
        rc = error_errno(e, "empty", s->path);
    s->count = 0;
    return rc;
}

void shard_spool_fini(struct shard_spool *s)
{
    if (s->fd < 0) return;
    close(s->fd);
    (void)unlink(s->path);
    s->fd = -1;
}
