/* fuzz_shard_index.c: any bytes as a dataset's index.json and as the header of a shard. What is
 * accepted keeps the promises that reading a shard relies on. */
#include "text/dataset/text_dataset_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_index(const struct shard_index *x)
{
    CHECK(x->token_bytes == 2 || x->token_bytes == 4);
    CHECK(x->eos < x->vocab_size && (x->token_bytes == 4 || x->vocab_size <= 65536));
    CHECK(!x->tokenizer_file || !strchr(x->tokenizer_file, '/'));
    CHECK(shard_index_fingerprint(x) == x->fingerprint);
    for (int s = 0; s < SHARD_N_SPLITS; s++) {
        uint64_t tokens = 0;
        CHECK(x->n_shards[s] <= SHARD_MAX_COUNT);
        for (size_t i = 0; i < x->n_shards[s]; i++) {
            const struct dataset_shard_info *info = &x->shards[s][i];
            CHECK(info->tokens > 0 && info->documents <= info->tokens);
            CHECK(info->file[0] != '.' && info->file[0] && !strchr(info->file, '/'));
            tokens += info->tokens;
        }
        CHECK(tokens <= SHARD_MAX_TOKENS);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct error e = {0};
    struct shard_index index;
    struct shard_header header;

    arena_init(&a);
    if (shard_index_parse((const char *)data, size, "index.json", &a, &index, &e) == 0)
        check_index(&index);
    else
        CHECK_MSG(strstr(e.text, "index.json"), "an error without the file: %s", e.text);
    if (shard_header_read(data, size, "x.bin", &header, &e) == 0) {
        CHECK(header.eos < header.vocab_size && header.documents <= header.tokens);
        CHECK(header.token_bytes == 2 || header.token_bytes == 4);
    }
    arena_fini(&a);
    return 0;
}
