/* text_shard_dataset.c: reads one split of a dataset folder as a single stream of ids.
 *
 * Shards are read, not mapped: a run holds them for days, and a page of a mapped file that somebody
 * cut off meanwhile would be a SIGBUS where a read is an error with the shard's name. A read of a
 * window opens its shard, so that a split of a million shards takes no descriptors; that is some
 * microseconds beside a step of a training. Reading is advised as random, because read-ahead around
 * a window of a few kilobytes would read many times what is used; whoever knows the next windows
 * asks for them with dataset_prefetch.
 *
 * Opening checks sizes and headers against the index (and every byte by XXH3 on request). What a
 * shard was then, its stamp, is compared after each read: where it has changed, the shard is checked
 * by its XXH3 before anything of it is used, so that a copy of the same bytes is taken and other
 * bytes are not, even where they are ids. An id beyond the vocabulary is an error too: with checks
 * left out, the disk may have lost data. */
#include "text/dataset/text_dataset_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

struct dataset {
    struct arena arena;
    struct shard_index index;
    const char *dir;
    int split;
    struct dataset_info info;
    char **paths;              /* [n_shards] */
    struct file_stamp *stamps; /* [n_shards]; under the lock */
    pthread_mutex_t lock;
    uint64_t *starts; /* [n + 1]: number of the first token of each shard; the last is the total */
};

/* ------------------------------------------------------------------ opening */

static int split_number(const char *split, struct error *e)
{
    for (int s = 0; s < SHARD_N_SPLITS; s++) {
        if (strcmp(split, shard_split_names[s]) == 0) return s;
    }
    error_set(e, "there is no split '%s'", split);
    return error_hint(e, "the splits are train and valid");
}

int dataset_has_split(const char *dir, const char *split, bool *has, struct error *e)
{
    struct arena a = {0};
    struct shard_index index;
    int s = split_number(split, e);

    if (s < 0) return s;
    int rc = shard_index_load(dir, &a, &index, e);
    if (rc >= 0) *has = index.n_shards[s] > 0;
    arena_fini(&a);
    return rc;
}

/* `size` bytes at `at`; a shard that ends before is cut off. */
static int read_at(int fd, const char *path, uint64_t at, void *out, size_t size, struct error *e)
{
    char *p = out;
    while (size > 0) {
        ssize_t n = pread(fd, p, size, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return error_errno(e, "read", path);
        if (n == 0) {
            error_set(e, "shard '%s' ends before byte %llu: it was cut off", path,
                      (unsigned long long)at);
            return error_hint(e, "copy it again or tokenize the text again");
        }
        p += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static int open_shard(const struct dataset *d, size_t i, struct error *e)
{
    int fd = open(d->paths[i], O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_errno(e, "open", d->paths[i]) : fd;
}

/* Size and header of an open shard against the index. */
static int check_shard(const struct dataset *d, size_t i, int fd, struct error *e)
{
    const struct dataset_shard_info *info = &d->index.shards[d->split][i];
    const char *path = d->paths[i];
    uint64_t want = SHARD_HEADER_BYTES + info->tokens * d->index.token_bytes;
    uint8_t bytes[SHARD_HEADER_BYTES];
    struct shard_header h;

    if ((uint64_t)d->stamps[i].size != want) {
        error_set(e, "shard '%s' has %lld bytes instead of %llu", path,
                  (long long)d->stamps[i].size, (unsigned long long)want);
        return error_hint(e,
                          "it was cut off or replaced; copy it again or tokenize the text again");
    }
    TRY(read_at(fd, path, 0, bytes, sizeof(bytes), e));
    TRY(shard_header_read(bytes, sizeof(bytes), path, &h, e));
    if (h.token_bytes != d->index.token_bytes || h.tokens != info->tokens ||
        h.documents != info->documents || h.text_bytes != info->bytes ||
        h.vocab_size != d->index.vocab_size || h.eos != d->index.eos ||
        h.tokenizer_hash != d->index.tokenizer_hash || h.number != i) {
        error_set(e, "the header of shard '%s' is not what the index says", path);
        return error_hint(e, "the file belongs to another dataset; tokenize the text again");
    }
    return 0;
}

static int verify_shard(const struct dataset *d, size_t i, struct error *e)
{
    uint64_t hash;
    TRY(hash_file(d->paths[i], &hash, e));
    if (hash == d->index.shards[d->split][i].xxh3) return 0;
    error_set(e, "shard '%s' is damaged: its XXH3 is not the one in the index", d->paths[i]);
    return error_hint(e, "copy it again or tokenize the text again");
}

static int look_at_shard(struct dataset *d, size_t i, bool verify, struct error *e)
{
    int fd = open_shard(d, i, e);
    if (fd < 0) return fd;
    int rc = file_stamp_of(fd, d->paths[i], &d->stamps[i], e);
    if (rc >= 0) rc = check_shard(d, i, fd, e);
    close(fd);
    return rc >= 0 && verify ? verify_shard(d, i, e) : rc;
}

static int look_at_shards(struct dataset *d, bool verify, struct error *e)
{
    const struct dataset_shard_info *info = d->index.shards[d->split];
    size_t n = d->info.n_shards;

    d->paths = arena_alloc(&d->arena, n * sizeof(*d->paths));
    d->stamps = arena_alloc(&d->arena, n * sizeof(*d->stamps));
    d->starts = arena_alloc(&d->arena, (n + 1) * sizeof(*d->starts));
    for (size_t i = 0; i < n; i++) {
        d->paths[i] = file_join(&d->arena, d->dir, info[i].file);
        TRY(look_at_shard(d, i, verify, e));
        d->starts[i + 1] = d->starts[i] + info[i].tokens;
        d->info.bytes += info[i].bytes;
    }
    d->info.tokens = d->starts[d->info.n_shards];
    return 0;
}

/* Ids of another tokenizer would be read as text of this one without anybody noticing. */
static int check_tokenizer(struct dataset *d, uint64_t wanted, bool verify, struct error *e)
{
    uint64_t hash;

    if (d->index.tokenizer_file)
        d->info.tokenizer_path = file_join(&d->arena, d->dir, d->index.tokenizer_file);
    if (wanted != 0 && wanted != d->index.tokenizer_hash) {
        char have[17], want[17];
        hash_to_hex(d->index.tokenizer_hash, have);
        hash_to_hex(wanted, want);
        error_set(e, "dataset '%s' was made with another tokenizer (XXH3 %s, not %s)", d->dir, have,
                  want);
        if (d->info.tokenizer_path)
            return error_hint(e, "its own tokenizer is '%s'", d->info.tokenizer_path);
        return error_hint(e, "tokenize the text again with this tokenizer");
    }
    if (!verify || !d->info.tokenizer_path) return 0;
    TRY(hash_file(d->info.tokenizer_path, &hash, e));
    if (hash == d->index.tokenizer_hash) return 0;
    error_set(e, "'%s' is damaged: its XXH3 is not the one in the index", d->info.tokenizer_path);
    return error_hint(e, "copy the tokenizer there again");
}

static int dataset_fill(struct dataset *d, const char *split, uint64_t tokenizer_hash, bool verify,
                        struct error *e)
{
    d->split = split_number(split, e);
    if (d->split < 0) return d->split;
    TRY(shard_index_load(d->dir, &d->arena, &d->index, e));
    d->info = (struct dataset_info){.n_shards = d->index.n_shards[d->split],
                                    .vocab_size = d->index.vocab_size,
                                    .eos = d->index.eos,
                                    .fingerprint = d->index.fingerprint,
                                    .tokenizer_hash = d->index.tokenizer_hash};
    TRY(check_tokenizer(d, tokenizer_hash, verify, e));
    if (d->info.n_shards == 0) {
        error_set(e, "dataset '%s' has no split '%s'", d->dir, split);
        return error_hint(e, "tokenize the text again with --valid-fraction above 0 and enough "
                             "documents");
    }
    return look_at_shards(d, verify, e);
}

int dataset_open(const char *dir, const char *split, uint64_t tokenizer_hash, bool verify,
                 dataset_t **out, struct error *e)
{
    struct dataset *d = mem_calloc(1, sizeof(*d));

    d->dir = arena_strdup(&d->arena, dir);
    pthread_mutex_init(&d->lock, NULL);
    *out = NULL;
    int rc = dataset_fill(d, split, tokenizer_hash, verify, e);
    if (rc < 0)
        dataset_close(d);
    else
        *out = d;
    return rc;
}

void dataset_close(dataset_t *d)
{
    if (!d) return;
    pthread_mutex_destroy(&d->lock);
    arena_fini(&d->arena);
    mem_free(d);
}

/* ------------------------------------------------------------------ what it is */

const struct dataset_info *dataset_info(const dataset_t *d)
{
    return &d->info;
}

struct dataset_shard_info dataset_shard_at(const dataset_t *d, size_t i)
{
    CHECK(i < d->info.n_shards);
    return d->index.shards[d->split][i];
}

/* ------------------------------------------------------------------ reading */

/* The shard that holds a token. */
static size_t find_shard(const struct dataset *d, uint64_t token)
{
    size_t low = 0, high = d->info.n_shards;
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        if (d->starts[mid] <= token)
            low = mid;
        else
            high = mid;
    }
    return low;
}

/* 16-bit ids lie in the upper half of out [count] and become 32-bit ids from below: none is
 * overwritten before it is read. The largest is returned. */
static uint32_t widen_ids(uint32_t *out, size_t count)
{
    const uint8_t *in = (const uint8_t *)out + 2 * count;
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        uint16_t id;
        memcpy(&id, in + 2 * i, sizeof(id));
        out[i] = id;
        largest = MAX(largest, out[i]);
    }
    return largest;
}

static uint32_t largest_id(const uint32_t *ids, size_t count)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = MAX(largest, ids[i]);
    return largest;
}

/* Whether a shard is what it was when it was opened: by its stamp, or else by its XXH3. */
static int check_unchanged(const dataset_t *d, size_t shard, int fd, struct error *e)
{
    struct dataset *own = (struct dataset *)(uintptr_t)d; /* the lock and the stamps */
    struct file_stamp now;
    TRY(file_stamp_of(fd, d->paths[shard], &now, e));
    pthread_mutex_lock(&own->lock);
    bool same = file_stamp_equal(&now, &own->stamps[shard]);
    pthread_mutex_unlock(&own->lock);
    if (same) return 0;
    if (verify_shard(d, shard, e) < 0)
        return error_context(e, "'%s' was changed after it was opened", d->paths[shard]);
    pthread_mutex_lock(&own->lock);
    own->stamps[shard] = now;
    pthread_mutex_unlock(&own->lock);
    return 0;
}

/* The ids at [from, from + count) of one shard. */
static int read_ids(const dataset_t *d, size_t shard, uint64_t from, size_t count, uint32_t *out,
                    struct error *e)
{
    size_t width = d->index.token_bytes, bytes = count * width;
    uint8_t *into = (uint8_t *)out + (4 * count - bytes);
    int fd = open_shard(d, shard, e);
    if (fd < 0) return fd;
    int rc = read_at(fd, d->paths[shard], SHARD_HEADER_BYTES + from * width, into, bytes, e);
    if (rc >= 0) rc = check_unchanged(d, shard, fd, e);
    close(fd);
    if (rc < 0) return rc;
    uint32_t largest = width == 2 ? widen_ids(out, count) : largest_id(out, count);
    if (largest < d->index.vocab_size) return 0;
    error_set(e, "shard '%s' is damaged: id %u at or behind token %llu, of a vocabulary of %u",
              d->paths[shard], largest, (unsigned long long)from, d->index.vocab_size);
    return error_hint(e, "colossus data inspect --verify checks the others; copy it again or "
                         "tokenize the text again");
}

int dataset_read(const dataset_t *d, uint64_t first, uint64_t count, uint32_t *out, struct error *e)
{
    CHECK_MSG(first <= d->info.tokens && count <= d->info.tokens - first,
              "tokens %llu + %llu of %llu", (unsigned long long)first, (unsigned long long)count,
              (unsigned long long)d->info.tokens);
    if (count == 0) return 0;
    for (size_t i = find_shard(d, first); count > 0; i++) {
        size_t n = (size_t)MIN(count, d->starts[i + 1] - first);
        TRY(read_ids(d, i, first - d->starts[i], n, out, e));
        out += n;
        first += n;
        count -= n;
    }
    return 0;
}

/* Advice only: what cannot be opened is told when it is read. */
void dataset_prefetch(const dataset_t *d, uint64_t first, uint64_t count)
{
    size_t width = d->index.token_bytes;

    CHECK(first <= d->info.tokens && count <= d->info.tokens - first);
    for (size_t i = find_shard(d, first); count > 0 && i < d->info.n_shards; i++) {
        uint64_t from = first - d->starts[i], n = MIN(count, d->starts[i + 1] - first);
        int fd = open_shard(d, i, NULL);
        if (fd < 0) return;
        (void)posix_fadvise(fd, (off_t)(SHARD_HEADER_BYTES + from * width), (off_t)(n * width),
                            POSIX_FADV_WILLNEED);
        close(fd);
        first += n;
        count -= n;
    }
}

/* Documents are short beside a shard, so blocks of 2 KiB find the end with little read for
 * nothing. */
int64_t dataset_document_size(const dataset_t *d, uint64_t first, struct error *e)
{
    uint64_t end = d->info.tokens;
    uint32_t ids[512];

    CHECK(first <= end);
    for (uint64_t at = first; at < end; at += ARRAY_LEN(ids)) {
        uint64_t n = MIN((uint64_t)ARRAY_LEN(ids), end - at);
        TRY(dataset_read(d, at, n, ids, e));
        for (uint64_t i = 0; i < n; i++) {
            if (ids[i] == d->index.eos) return (int64_t)(at + i + 1 - first);
        }
    }
    return (int64_t)(end - first); /* damaged: the stream does not end with EOS */
}
