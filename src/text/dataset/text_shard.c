/* text_shard.c: the dataset folder: format of shards and index.
 *
 * A dataset is a folder:
 *
 *   index.json        what there is, written last
 *   tokenizer.*       a copy of the tokenizer's file, so that the ids can always be read back
 *   train-00000.bin   shards of the split "train", each full but the last
 *   valid-00000.bin   shards of the split "valid", where there is one
 *
 * Shard, all numbers little endian:
 *
 *   offset  size  what
 *        0     8  magic "CLSSHARD"
 *        8     4  version, 1
 *       12     4  bytes of an id: 2 where the vocabulary has at most 65,536 ids, else 4
 *       16     8  N, number of ids
 *       24     8  documents that end in this shard (ids equal to EOS)
 *       32     8  bytes of text of those documents
 *       40     4  vocabulary size; every id is below it
 *       44     4  id of EOS
 *       48     8  XXH3-64 of the tokenizer's file
 *       56     4  number of the shard in its split, from 0
 *       60     4  zero
 *       64   2N or 4N  the ids; the file ends here
 *
 * The shards of a split, in order, are one stream of ids. Every document ends with EOS and no other
 * EOS occurs; documents may cross from one shard to the next; the stream ends with EOS.
 *
 * index.json:
 *
 *   {"format": "colossus token dataset", "version": 1,
 *    "dtype": "uint16" or "uint32", "vocab_size": .., "eos": ..,
 *    "tokenizer": {"kind": "..", "xxh3": 16 hex digits, "file": "tokenizer.json"},  file absent: no
 *                                                                                 copy was kept
 *    "fingerprint": 16 hex digits,
 *    "splits": {"train": [{"file": "train-00000.bin", "tokens": .., "documents": .., "bytes": ..,
 *                          "xxh3": 16 hex digits}, ..], "valid": [..]},
 *    "command": "..", "options": {..}, "report": {..}}       for people; not read back
 *
 * A shard's xxh3 is XXH3-64 of the whole file (`xxhsum -H3` prints it). The fingerprint is XXH3-64
 * of these numbers as little-endian uint64: tokenizer hash, bytes of an id, vocabulary size, EOS,
 * then for train and valid: number of shards and for each shard its tokens and xxh3. Equal
 * fingerprints mean equal training data.
 *
 * Validity: the index parses, its fingerprint is right, and each file it lists has exactly the size
 * and the header that the index says. The contents are proved by the hashes, on request, because
 * reading a large dataset takes hours. */
#include "text/dataset/text_dataset_internal.h"

#include <ctype.h>

const char *const shard_split_names[SHARD_N_SPLITS] = {"train", "valid"};

/* ------------------------------------------------------------------ header */

int shard_header_read(const uint8_t *data, size_t size, const char *path, struct shard_header *h,
                      struct error *e)
{
    if (size < SHARD_HEADER_BYTES)
        return error_set(e, "'%s' has %zu bytes, less than a shard's header of %d", path, size,
                         SHARD_HEADER_BYTES);
    memcpy(h, data, sizeof(*h));
    if (memcmp(h->magic, SHARD_MAGIC, sizeof(h->magic)) != 0)
        return error_set(e, "'%s' is not a token shard (no " SHARD_MAGIC " at its start)", path);
    if (h->version != SHARD_VERSION) {
        error_set(e, "'%s' has format version %u, this program reads %d", path, h->version,
                  SHARD_VERSION);
        return error_hint(e, "tokenize the text again with this program");
    }
    if ((h->token_bytes != 2 && h->token_bytes != 4) || h->zero != 0 ||
        h->tokens > SHARD_MAX_TOKENS || h->documents > h->tokens || h->vocab_size == 0 ||
        h->eos >= h->vocab_size)
        return error_set(e, "the header of shard '%s' is damaged", path);
    return 0;
}

/* ------------------------------------------------------------------ index */

/* File names are left out: the same training data under other names is the same. */
uint64_t shard_index_fingerprint(const struct shard_index *x)
{
    struct hash_stream *h = hash_stream_new();
    const uint64_t head[4] = {x->tokenizer_hash, x->token_bytes, x->vocab_size, x->eos};

    hash_stream_add(h, head, sizeof(head));
    for (int s = 0; s < SHARD_N_SPLITS; s++) {
        const uint64_t n = x->n_shards[s];
        hash_stream_add(h, &n, sizeof(n));
        for (size_t i = 0; i < n; i++) {
            const uint64_t row[2] = {x->shards[s][i].tokens, x->shards[s][i].xxh3};
            hash_stream_add(h, row, sizeof(row));
        }
    }
    uint64_t value = hash_stream_value(h);
    hash_stream_free(h);
    return value;
}

static int get_bounded(const json_t *o, const char *key, uint64_t max, const char *name,
                       uint64_t *value, struct error *e)
{
    int64_t v;
    TRY(json_get_int(o, key, &v, name, e));
    if (v < 0 || (uint64_t)v > max)
        return error_set(e, "%s: '%s' is %lld, not between 0 and %llu", name, key, (long long)v,
                         (unsigned long long)max);
    *value = (uint64_t)v;
    return 0;
}

static int get_hash(const json_t *o, const char *key, const char *name, uint64_t *hash,
                    struct error *e)
{
    const char *hex;
    TRY(json_get_string(o, key, &hex, name, e));
    if (hash_from_hex(hex, hash) < 0)
        return error_set(e, "%s: '%s' is not 16 hexadecimal digits", name, key);
    return 0;
}

bool shard_file_name_is_plain(const char *name)
{
    size_t n = strlen(name), good = 0;
    while (good < n && (isalnum((unsigned char)name[good]) || strchr(".-_", name[good])))
        good++;
    return n > 0 && n <= 64 && good == n && name[0] != '.';
}

static int get_file_name(const json_t *o, const char *key, const char *name, struct arena *a,
                         const char **file, struct error *e)
{
    const char *text;
    TRY(json_get_string(o, key, &text, name, e));
    if (!shard_file_name_is_plain(text))
        return error_set(e, "%s: '%s' is not a plain file name", name, key);
    *file = arena_strdup(a, text);
    return 0;
}

/* The bounds make sure that sums over all shards of a split cannot overflow. */
static int parse_shard(const json_t *row, const char *name, struct arena *a,
                       struct dataset_shard_info *info, struct error *e)
{
    TRY(get_file_name(row, "file", name, a, &info->file, e));
    TRY(get_bounded(row, "tokens", SHARD_MAX_TOKENS, name, &info->tokens, e));
    TRY(get_bounded(row, "documents", info->tokens, name, &info->documents, e));
    TRY(get_bounded(row, "bytes", INT64_MAX / SHARD_MAX_COUNT, name, &info->bytes, e));
    TRY(get_hash(row, "xxh3", name, &info->xxh3, e));
    if (info->tokens == 0) return error_set(e, "%s: shard '%s' has no tokens", name, info->file);
    return 0;
}

static int parse_split(const json_t *splits, int s, const char *name, struct arena *a,
                       struct shard_index *x, struct error *e)
{
    const char *split = shard_split_names[s];
    const json_t *list = json_object_get(splits, split);
    uint64_t tokens = 0;

    if (!list) return 0;
    if (!json_is_array(list)) return error_set(e, "%s: split '%s' is not a list", name, split);
    size_t n = json_array_size(list);
    if (n > SHARD_MAX_COUNT)
        return error_set(e, "%s: split '%s' has %zu shards, more than %d", name, split, n,
                         SHARD_MAX_COUNT);
    x->shards[s] = arena_alloc(a, n * sizeof(*x->shards[s]) + 1);
    x->n_shards[s] = n;
    for (size_t i = 0; i < n; i++) {
        int rc = parse_shard(json_array_get(list, i), name, a, &x->shards[s][i], e);
        if (rc < 0) {
            error_context(e, "split '%s', shard %zu", split, i);
            return rc;
        }
        tokens += x->shards[s][i].tokens;
        if (tokens > SHARD_MAX_TOKENS)
            return error_set(e, "%s: split '%s' has more than 2^48 tokens", name, split);
    }
    return 0;
}

/* What holds for all shards. The version comes before everything a later one may have changed. */
static int parse_head(const json_t *root, const char *name, struct shard_index *x, struct error *e)
{
    const char *format, *dtype;
    uint64_t v;

    TRY(json_get_string(root, "format", &format, name, e));
    if (strcmp(format, SHARD_INDEX_FORMAT) != 0)
        return error_set(e, "%s: 'format' is not \"%s\"", name, SHARD_INDEX_FORMAT);
    TRY(get_bounded(root, "version", UINT32_MAX, name, &v, e));
    if (v != SHARD_VERSION) {
        error_set(e, "%s: format version %llu, this program reads %d", name, (unsigned long long)v,
                  SHARD_VERSION);
        return error_hint(e, "tokenize the text again with this program");
    }
    TRY(get_bounded(root, "vocab_size", UINT32_MAX, name, &v, e));
    x->vocab_size = (uint32_t)v;
    TRY(get_bounded(root, "eos", UINT32_MAX, name, &v, e));
    x->eos = (uint32_t)v;
    if (x->eos >= x->vocab_size) return error_set(e, "%s: 'eos' is not below 'vocab_size'", name);
    TRY(json_get_string(root, "dtype", &dtype, name, e));
    x->token_bytes = strcmp(dtype, "uint16") == 0 ? 2 : strcmp(dtype, "uint32") == 0 ? 4 : 0;
    if (x->token_bytes == 0)
        return error_set(e, "%s: 'dtype' is neither \"uint16\" nor \"uint32\"", name);
    if (x->token_bytes == 2 && x->vocab_size > 65536)
        return error_set(e, "%s: %u ids do not fit in uint16", name, x->vocab_size);
    return get_hash(root, "fingerprint", name, &x->fingerprint, e);
}

static int parse_root(const json_t *root, const char *name, struct arena *a, struct shard_index *x,
                      struct error *e)
{
    const json_t *tokenizer, *splits;
    const char *kind; /* must be there, but is for people */

    if (!json_is_object(root)) return error_set(e, "%s: not a JSON object", name);
    TRY(parse_head(root, name, x, e));
    tokenizer = json_object_get(root, "tokenizer");
    if (!json_is_object(tokenizer)) return error_set(e, "%s: 'tokenizer' is not an object", name);
    TRY(json_get_string(tokenizer, "kind", &kind, name, e));
    TRY(get_hash(tokenizer, "xxh3", name, &x->tokenizer_hash, e));
    if (json_object_get(tokenizer, "file"))
        TRY(get_file_name(tokenizer, "file", name, a, &x->tokenizer_file, e));
    splits = json_object_get(root, "splits");
    if (!json_is_object(splits)) return error_set(e, "%s: 'splits' is not an object", name);
    for (int s = 0; s < SHARD_N_SPLITS; s++)
        TRY(parse_split(splits, s, name, a, x, e));
    if (shard_index_fingerprint(x) != x->fingerprint) {
        error_set(e, "%s: the fingerprint is not that of the shards listed", name);
        return error_hint(e, "the index was edited or damaged; tokenize the text again");
    }
    return 0;
}

int shard_index_parse(const char *text, size_t size, const char *name, struct arena *a,
                      struct shard_index *index, struct error *e)
{
    json_t *root;

    memset(index, 0, sizeof(*index));
    TRY(json_parse(text, size, name, &root, e));
    int rc = parse_root(root, name, a, index, e);
    json_decref(root);
    return rc;
}

bool dataset_exists(const char *dir)
{
    struct arena a = {0};
    bool exists = file_exists(file_join(&a, dir, SHARD_INDEX_NAME));
    arena_fini(&a);
    return exists;
}

int shard_index_load(const char *dir, struct arena *a, struct shard_index *index, struct error *e)
{
    char *path = file_join(a, dir, SHARD_INDEX_NAME), *text;
    size_t size;

    if (!dataset_exists(dir)) {
        if (file_is_dir(dir))
            error_set(e, "folder '%s' holds no dataset: it has no " SHARD_INDEX_NAME, dir);
        else
            error_set(e, "there is no dataset folder '%s'", dir);
        return error_hint(e, "colossus data tokenize makes one");
    }
    TRY(file_read(path, SHARD_INDEX_MAX, &text, &size, e));
    int rc = shard_index_parse(text, size, path, a, index, e);
    mem_free(text);
    return rc;
}

/* The index as JSON, of which nothing is checked but its format; NULL where there is none. The
 * caller json_decrefs. */
static json_t *peek_index(const char *dir)
{
    struct arena a = {0};
    json_t *root = NULL;

    (void)json_load_path(file_join(&a, dir, SHARD_INDEX_NAME), SHARD_INDEX_MAX, &root, NULL);
    arena_fini(&a);
    const char *format = json_string_value(json_object_get(root, "format"));
    if (format && strcmp(format, SHARD_INDEX_FORMAT) == 0) return root;
    json_decref(root);
    return NULL;
}

bool shard_index_is_ours(const char *dir)
{
    json_t *root = peek_index(dir);
    json_decref(root);
    return root != NULL;
}

/* Not shard_index_load: whoever plans a run wants the vocabulary, damaged shard lists or not. */
uint32_t dataset_peek_vocab_size(const char *dir)
{
    json_t *root = peek_index(dir);
    uint64_t size = 0;
    if (get_bounded(root, "vocab_size", UINT32_MAX, dir, &size, NULL) < 0) size = 0;
    json_decref(root);
    return (uint32_t)size;
}

/* ------------------------------------------------------------------ writing the index */

static json_t *hex_value(uint64_t hash)
{
    char hex[17];
    hash_to_hex(hash, hex);
    return json_string(hex);
}

static json_t *split_json(const struct shard_index *x, int s)
{
    json_t *list = json_array();
    for (size_t i = 0; i < x->n_shards[s]; i++) {
        const struct dataset_shard_info *info = &x->shards[s][i];
        json_array_append_new(
            list, json_pack("{s:s, s:I, s:I, s:I, s:o}", "file", info->file, "tokens",
                            (json_int_t)info->tokens, "documents", (json_int_t)info->documents,
                            "bytes", (json_int_t)info->bytes, "xxh3", hex_value(info->xxh3)));
    }
    return list;
}

static json_t *report_json(const struct dataset_report *r)
{
    json_t *skipped = json_object();
    for (int i = 0; i < CORPUS_BAD_KINDS; i++)
        if (r->skipped[i])
            json_object_set_new(skipped, corpus_bad_names[i],
                                json_integer((json_int_t)r->skipped[i]));
    /* Not the time it took: the same input gives the same index. */
    return json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:I}", "documents_read",
                     (json_int_t)r->documents_read, "documents_kept", (json_int_t)r->documents_kept,
                     "duplicates_dropped", (json_int_t)r->duplicates_dropped, "empty_dropped",
                     (json_int_t)r->empty_dropped, "skipped", skipped, "bytes_read",
                     (json_int_t)r->bytes_read, "bytes_kept", (json_int_t)r->bytes_kept);
}

/* Keys are written sorted, so that the same input gives the same file. */
int shard_index_save(const struct shard_index *x, const char *dir, struct error *e)
{
    json_t *splits = json_object();
    for (int s = 0; s < SHARD_N_SPLITS; s++) {
        if (x->n_shards[s] > 0) json_object_set_new(splits, shard_split_names[s], split_json(x, s));
    }
    json_t *root = json_pack(
        "{s:s, s:i, s:s, s:I, s:I, s:o, s:o, s:{s:s, s:o}, s:{s:f, s:b}}", "format",
        SHARD_INDEX_FORMAT, "version", (int)SHARD_VERSION, "dtype",
        x->token_bytes == 2 ? "uint16" : "uint32", "vocab_size", (json_int_t)x->vocab_size, "eos",
        (json_int_t)x->eos, "fingerprint", hex_value(x->fingerprint), "splits", splits, "tokenizer",
        "kind", x->tokenizer_kind, "xxh3", hex_value(x->tokenizer_hash), "options",
        "valid_fraction", x->valid_fraction, "drop_duplicates", (int)x->drop_duplicates);
    CHECK(root != NULL);
    if (x->tokenizer_file)
        json_object_set_new(json_object_get(root, "tokenizer"), "file",
                            json_string(x->tokenizer_file));
    /* A command line is bytes; what is not UTF-8 cannot be recorded in JSON. */
    if (x->command) json_object_set_new(root, "command", json_string(x->command));
    if (x->report) json_object_set_new(root, "report", report_json(x->report));

    struct arena a = {0};
    int rc = json_save_path(root, file_join(&a, dir, SHARD_INDEX_NAME), e);
    arena_fini(&a);
    json_decref(root);
    return rc;
}
