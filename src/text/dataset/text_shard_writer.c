/* text_shard_writer.c: appends the documents of one split to its shards.
 *
 * Ids are converted into a buffer and written in large pieces. A shard is closed only when the next
 * id no longer fits, so that the end of a document is counted in the shard that holds its EOS.
 * Closing a shard fills in its header, forces it to the disk and hashes the file as it reads back:
 * what the index promises is what the disk holds, not what the program meant to write. */
#include "text/dataset/text_dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { WRITER_BUFFER = 1 << 20 };

void shard_writer_init(struct shard_writer *w, const char *dir, const char *split,
                       const struct shard_header *template, uint64_t shard_tokens, struct arena *a)
{
    *w = (struct shard_writer){.dir = dir,
                               .split = split,
                               .header = *template,
                               .shard_tokens = shard_tokens,
                               .arena = a,
                               .fd = -1};
    memcpy(w->header.magic, SHARD_MAGIC, sizeof(w->header.magic));
    w->header.version = SHARD_VERSION;
    CHECK(shard_tokens > 0 && shard_tokens <= SHARD_MAX_TOKENS);
    w->buf = mem_alloc(WRITER_BUFFER);
}

static int writer_flush(struct shard_writer *w, struct error *e)
{
    TRY(file_write_fd(w->fd, w->buf, w->buf_used, w->path, e));
    w->buf_used = 0;
    return 0;
}

/* Begins the next file of the split. O_EXCL: the work folder was empty, so a file there is a
 * mistake. */
static int shard_open(struct shard_writer *w, struct error *e)
{
    if (w->n_done == SHARD_MAX_COUNT) {
        error_set(e, "more than %d shards", SHARD_MAX_COUNT);
        return error_hint(e, "raise --shard-tokens");
    }
    ARRAY_RESERVE(w->done, w->cap_done, w->n_done + 1);
    w->header.number = (uint32_t)w->n_done;
    w->header.tokens = w->header.documents = w->header.text_bytes = 0;
    struct dataset_shard_info *info = &w->done[w->n_done];
    *info = (struct dataset_shard_info){0};
    info->file = arena_printf(w->arena, "%s-%05u.bin", w->split, w->header.number);
    w->path = file_join(w->arena, w->dir, info->file);
    w->fd = open(w->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0) return error_errno(e, "create", w->path);
    memset(w->buf, 0, SHARD_HEADER_BYTES); /* no magic: not a shard until it is closed */
    w->buf_used = SHARD_HEADER_BYTES;
    return 0;
}

/* The header, and with it the magic, is written behind all ids; then everything is forced to the
 * disk, and only then is there an entry for the index. */
static int shard_close(struct shard_writer *w, struct error *e)
{
    struct dataset_shard_info *info = &w->done[w->n_done];

    TRY(writer_flush(w, e));
    ssize_t n = pwrite(w->fd, &w->header, sizeof(w->header), 0), all = sizeof(w->header);
    if (n >= 0 && n != all) errno = EIO;
    if (n != all || fsync(w->fd) < 0) return error_errno(e, "write", w->path);
    int rc = close(w->fd);
    w->fd = -1;
    if (rc < 0) return error_errno(e, "write", w->path);
    info->tokens = w->header.tokens;
    info->documents = w->header.documents;
    info->bytes = w->header.text_bytes;
    TRY(hash_file(w->path, &info->xxh3, e));
    w->n_done++;
    return 0;
}

/* Narrowed to uint16 or as they are. */
static void put_ids(struct shard_writer *w, const uint32_t *ids, size_t count)
{
    uint8_t *out = w->buf + w->buf_used;
    if (w->header.token_bytes == 2) {
        for (size_t i = 0; i < count; i++) {
            uint16_t id = (uint16_t)ids[i];
            memcpy(out + 2 * i, &id, 2);
        }
    } else {
        memcpy(out, ids, 4 * count);
    }
    w->buf_used += count * w->header.token_bytes;
    w->header.tokens += count;
}

/* A full shard is closed only here, when another id comes: see the head of this file. */
int shard_writer_add(struct shard_writer *w, const uint32_t *ids, size_t count, struct error *e)
{
    while (count > 0) {
        if (w->fd >= 0 && w->header.tokens == w->shard_tokens) TRY(shard_close(w, e));
        if (w->fd < 0) TRY(shard_open(w, e));
        if (WRITER_BUFFER - w->buf_used < 4) TRY(writer_flush(w, e));
        size_t room = (WRITER_BUFFER - w->buf_used) / w->header.token_bytes;
        size_t n = MIN(MIN(count, room), w->shard_tokens - w->header.tokens);
        put_ids(w, ids, n);
        ids += n;
        count -= n;
    }
    return 0;
}

/* The last id added was the document's EOS, so the shard that holds it is still open. */
void shard_writer_end_document(struct shard_writer *w, uint64_t text_bytes)
{
    CHECK(w->fd >= 0 && w->header.tokens > 0);
    w->header.documents++;
    w->header.text_bytes += text_bytes;
}

int shard_writer_finish(struct shard_writer *w, struct error *e)
{
    return w->fd >= 0 ? shard_close(w, e) : 0;
}

void shard_writer_fini(struct shard_writer *w)
{
    if (w->fd >= 0) close(w->fd);
    mem_free(w->buf);
    mem_free(w->done);
    *w = (struct shard_writer){.fd = -1};
}
