/* fuzz_safetensors.c: any bytes as a safetensors file, twice: as they are, and framed, where all
 * before the first newline is the header and all behind it the data, so that a mutation of the JSON
 * does not have to guess its length.
 *
 * What is accepted must lie inside the data, cover it, and be readable byte by byte. */
#include "model/model.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define READ_MAX 4096 /* values of a tensor to convert: enough to touch both of its ends */

/* Every byte of the tensor can be read. */
static unsigned touch(const struct safetensors_entry *t)
{
    const uint8_t *bytes = t->data;
    unsigned sum = 0;
    for (size_t i = 0; i < t->bytes; i++)
        sum += bytes[i];
    return sum;
}

static void check_entry(const struct safetensors_entry *t, const uint8_t *data, size_t size)
{
    static const size_t sizes[] = {[ST_F64] = 8, [ST_F32] = 4, [ST_BF16] = 2, [ST_F16] = 2,
                                   [ST_I64] = 8, [ST_I32] = 4, [ST_U8] = 1};
    static float values[READ_MAX];
    struct error e = {0};
    const uint8_t *at = t->data;
    size_t bytes = sizes[t->dtype];
    CHECK(strlen(t->name) < sizeof(t->name) && t->n_dims >= 0 && t->n_dims <= 8);
    for (int i = 0; i < t->n_dims; i++) {
        CHECK(t->shape[i] >= 0);
        CHECK(!__builtin_mul_overflow(bytes, (size_t)t->shape[i], &bytes));
    }
    CHECK(bytes == t->bytes && at >= data && t->bytes <= (size_t)(data + size - at));
    touch(t);
    size_t count = bytes / sizes[t->dtype];
    int rc = safetensors_read_f32(t, values, MIN(count, READ_MAX), &e);
    bool real = t->dtype <= ST_F16;
    CHECK((rc == 0) == (real && count <= READ_MAX));
}

static void check_file(const uint8_t *data, size_t size)
{
    struct safetensors st;
    struct error e = {0};
    if (safetensors_parse(data, size, "fuzz", &st, &e) < 0) {
        CHECK(e.text[0]);
        return;
    }
    size_t covered = 0;
    for (size_t i = 0; i < st.n_entries; i++) {
        check_entry(&st.entries[i], data, size);
        covered += st.entries[i].bytes;
        const struct safetensors_entry *found = safetensors_find(&st, st.entries[i].name);
        CHECK(found == &st.entries[i]); /* names are unique */
    }
    uint64_t header;
    memcpy(&header, data, sizeof(header));
    CHECK(covered == size - sizeof(header) - header);
    safetensors_close(&st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file(data, size);
    const uint8_t *newline = size ? memchr(data, '\n', size) : NULL;
    if (!newline) return 0;
    uint64_t header = (uint64_t)(newline - data);
    size_t rest = size - (size_t)header - 1;
    uint8_t *framed = mem_alloc(sizeof(header) + (size_t)header + rest);
    memcpy(framed, &header, sizeof(header));
    memcpy(framed + sizeof(header), data, (size_t)header);
    if (rest) memcpy(framed + sizeof(header) + header, newline + 1, rest);
    check_file(framed, sizeof(header) + (size_t)header + rest);
    mem_free(framed);
    return 0;
}
