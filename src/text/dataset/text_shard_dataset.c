/* text_shard_dataset.c: reads one split of a dataset folder as a single stream of ids.
 *
 * Shards are mapped, not read: a run visits windows in random order, and the page cache is shared
 * by every rank on the node. The mapping is advised as random, because read-ahead around a window
 * of a few kilobytes would read many times what is used; whoever knows the next windows asks for
 * them with dataset_prefetch.
 *
 * Opening checks sizes and headers against the index (and every byte by XXH3 on request). An id
 * that is not below the vocabulary size can then only mean that the disk lost data under a hash
 * nobody checked; dataset_read stops the program rather than hand an index beyond the embedding to
 * a trainer. */
#include "text/dataset/text_dataset_internal.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct dataset {
    struct arena arena;
    struct shard_index index;
    const char *dir;
    int split;
    struct dataset_info info;
    struct file_map *maps; /* [n_shards] */
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

/* Size and header of a mapped shard against the index. */
static int check_shard(const struct dataset *d, size_t i, const char *path, struct error *e)
{
    const struct dataset_shard_info *info = &d->index.shards[d->split][i];
    const struct file_map *map = &d->maps[i];
    uint64_t want = SHARD_HEADER_BYTES + info->tokens * d->index.token_bytes;
    struct shard_header h;

    if (map->size != want) {
        error_set(e, "shard '%s' has %zu bytes instead of %llu", path, map->size,
                  (unsigned long long)want);
        return error_hint(e,
                          "it was cut off or replaced; copy it again or tokenize the text again");
    }
    TRY(shard_header_read(map->data, map->size, path, &h, e));
    if (h.token_bytes != d->index.token_bytes || h.tokens != info->tokens ||
        h.documents != info->documents || h.text_bytes != info->bytes ||
        h.vocab_size != d->index.vocab_size || h.eos != d->index.eos ||
        h.tokenizer_hash != d->index.tokenizer_hash || h.number != i) {
        error_set(e, "the header of shard '%s' is not what the index says", path);
        return error_hint(e, "the file belongs to another dataset; tokenize the text again");
    }
    return 0;
}

static int verify_shard(const struct dataset *d, size_t i, const char *path, struct error *e)
{
    const struct file_map *map = &d->maps[i];
    (void)madvise((void *)(uintptr_t)map->data, map->size, MADV_SEQUENTIAL);
    if (hash_xxh3(map->data, map->size) == d->index.shards[d->split][i].xxh3) return 0;
    error_set(e, "shard '%s' is damaged: its XXH3 is not the one in the index", path);
    return error_hint(e, "copy it again or tokenize the text again");
}

/* With verify every byte is read once, in order, before the mapping is advised as random. */
static int map_shards(struct dataset *d, bool verify, struct error *e)
{
    const struct dataset_shard_info *info = d->index.shards[d->split];

    d->maps = arena_alloc(&d->arena, d->info.n_shards * sizeof(*d->maps));
    d->starts = arena_alloc(&d->arena, (d->info.n_shards + 1) * sizeof(*d->starts));
    for (size_t i = 0; i < d->info.n_shards; i++) {
        char *path = file_join(&d->arena, d->dir, info[i].file);
        TRY(file_map_open(&d->maps[i], path, e));
        TRY(check_shard(d, i, path, e));
        if (verify) TRY(verify_shard(d, i, path, e));
        (void)madvise((void *)(uintptr_t)d->maps[i].data, d->maps[i].size, MADV_RANDOM);
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
    return map_shards(d, verify, e);
}

int dataset_open(const char *dir, const char *split, uint64_t tokenizer_hash, bool verify,
                 dataset_t **out, struct error *e)
{
    struct dataset *d = mem_calloc(1, sizeof(*d));

    d->dir = arena_strdup(&d->arena, dir);
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
    for (size_t i = 0; d->maps && i < d->info.n_shards; i++)
        file_map_close(&d->maps[i]);
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

/* The ids at [from, from + count) of one shard; the largest is returned. */
static uint32_t copy_ids(const struct dataset *d, size_t shard, uint64_t from, size_t count,
                         uint32_t *out)
{
    const uint8_t *data = d->maps[shard].data + SHARD_HEADER_BYTES;
    uint32_t largest = 0;

    if (d->index.token_bytes == 2) {
        const uint16_t *ids = (const uint16_t *)(const void *)data + from;
        for (size_t i = 0; i < count; i++) {
            out[i] = ids[i];
            largest = MAX(largest, out[i]);
        }
    } else {
        memcpy(out, data + 4 * from, 4 * count);
        for (size_t i = 0; i < count; i++)
            largest = MAX(largest, out[i]);
    }
    return largest;
}

void dataset_read(const dataset_t *d, uint64_t first, uint64_t count, uint32_t *out)
{
    CHECK_MSG(first <= d->info.tokens && count <= d->info.tokens - first,
              "tokens %llu + %llu of %llu", (unsigned long long)first, (unsigned long long)count,
              (unsigned long long)d->info.tokens);
    if (count == 0) return;
    for (size_t i = find_shard(d, first); count > 0; i++) {
        uint64_t from = first - d->starts[i];
        size_t n = (size_t)MIN(count, d->starts[i + 1] - first);
        uint32_t largest = copy_ids(d, i, from, n, out);
        CHECK_MSG(largest < d->index.vocab_size,
                  "shard '%s/%s' is damaged: id %u at or behind token %llu; colossus data inspect "
                  "--verify checks the others",
                  d->dir, d->index.shards[d->split][i].file, largest, (unsigned long long)from);
        out += n;
        first += n;
        count -= n;
    }
}

/* Whole pages: madvise wants its beginning on one. */
void dataset_prefetch(const dataset_t *d, uint64_t first, uint64_t count)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

    CHECK(first <= d->info.tokens && count <= d->info.tokens - first);
    for (size_t i = find_shard(d, first); count > 0 && i < d->info.n_shards; i++) {
        uint64_t from = first - d->starts[i], n = MIN(count, d->starts[i + 1] - first);
        uintptr_t base = (uintptr_t)d->maps[i].data + SHARD_HEADER_BYTES;
        uintptr_t low = (base + from * d->index.token_bytes) / page * page;
        uintptr_t high = base + (from + n) * d->index.token_bytes;
        (void)madvise((void *)low, high - low, MADV_WILLNEED);
        first += n;
        count -= n;
    }
}

/* Documents are short beside a shard, so blocks of 2 KiB find the end with little read for
 * nothing. */
uint64_t dataset_document_size(const dataset_t *d, uint64_t first)
{
    uint64_t end = d->info.tokens;
    uint32_t ids[512];

    CHECK(first <= end);
    for (uint64_t at = first; at < end; at += ARRAY_LEN(ids)) {
        uint64_t n = MIN((uint64_t)ARRAY_LEN(ids), end - at);
        dataset_read(d, at, n, ids);
        for (uint64_t i = 0; i < n; i++) {
            if (ids[i] == d->index.eos) return at + i + 1 - first;
        }
    }
    return end - first; /* damaged: the stream does not end with EOS */
}
