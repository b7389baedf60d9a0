/* base_hash.c: XXH3-64, the hash of every file that outlives a process.
 *
 * It guards against accidents (a flipped bit, a half-written file, the wrong tokenizer), not
 * against an attacker, and it runs at memory speed, so checking a checkpoint costs no more than
 * reading it. Written as 16 lower-case hex digits, most significant first. */
#include "base/base.h"

#define XXH_STATIC_LINKING_ONLY /* the state's size, so that our allocator can place it */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

struct hash_stream {
    XXH3_state_t state; /* 64-byte aligned */
};

uint64_t hash_xxh3(const void *data, size_t size)
{
    return XXH3_64bits(data, size);
}

struct hash_stream *hash_stream_new(void)
{
    struct hash_stream *h = mem_alloc_aligned(sizeof(*h), 64);
    XXH3_INITSTATE(&h->state);
    XXH3_64bits_reset(&h->state);
    return h;
}

void hash_stream_add(struct hash_stream *h, const void *data, size_t size)
{
    if (size) XXH3_64bits_update(&h->state, data, size);
}

uint64_t hash_stream_value(const struct hash_stream *h)
{
    return XXH3_64bits_digest(&h->state);
}

void hash_stream_free(struct hash_stream *h)
{
    mem_free(h);
}

/* The one spelling that is written; reading takes capitals, too. */
void hash_to_hex(uint64_t hash, char hex[17])
{
    snprintf(hex, 17, "%016llx", (unsigned long long)hash);
}

int hash_from_hex(const char *hex, uint64_t *hash)
{
    if (strspn(hex, "0123456789abcdefABCDEF") != 16 || hex[16]) return ERROR_FAILED;
    *hash = strtoull(hex, NULL, 16);
    return 0;
}

/* Read, not mapped: a file that shrinks meanwhile is then a short read, not a SIGBUS. */
int hash_file(const char *path, uint64_t *hash, struct error *e)
{
    enum { BUFFER = 1 << 20 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return error_errno(e, "open", path);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    char *buffer = mem_alloc(BUFFER);
    struct hash_stream *h = hash_stream_new();
    int rc = 0;
    for (;;) {
        ssize_t n = read(fd, buffer, BUFFER);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) rc = error_errno(e, "read", path);
        if (n <= 0) break;
        hash_stream_add(h, buffer, (size_t)n);
    }
    *hash = hash_stream_value(h);
    hash_stream_free(h);
    mem_free(buffer);
    close(fd);
    return rc;
}
