/* model_safetensors.c: tensors in a file, readable by everyone else's tools.
 *
 * Format (huggingface/safetensors):
 *
 *   bytes 0..7      length N of the header, u64 little endian
 *   bytes 8..8+N    JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
 *                   "__metadata__": {"key": "text", ...}}, padded with spaces
 *   the rest        data; data_offsets count from its first byte
 *
 * A file is valid when the header is one JSON object of at most HEADER_MAX bytes, every tensor has
 * a known dtype, at most 8 dimensions, and a range that lies inside the data and is as long as its
 * shape says, and the ranges, sorted, cover the data without a gap or an overlap. Nothing of a file
 * that fails one of these is used: the reader is fed with downloads, so it believes nothing. The
 * data is not copied: entries point into the map.
 *
 * The writer streams from the caller's arrays and hashes what it writes, so that a checkpoint's
 * manifest costs no second reading. Little-endian machines only, like the rest of the program. */
#include "model/model_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_MAX  ((size_t)64 << 20)
#define ENTRIES_MAX ((size_t)1 << 18)
#define DIMS_MAX    8
#define WRITE_PIECE ((size_t)4 << 20)

static const struct {
    const char *name;
    size_t size;
} DTYPES[] = {
    [ST_F64] = {"F64", 8}, [ST_F32] = {"F32", 4}, [ST_BF16] = {"BF16", 2}, [ST_F16] = {"F16", 2},
    [ST_I64] = {"I64", 8}, [ST_I32] = {"I32", 4}, [ST_U8] = {"U8", 1},
};

size_t safetensors_element_size(enum safetensors_dtype d)
{
    return DTYPES[d].size;
}

/* ------------------------------------------------------------------ reading */

/* What the functions below share while one file is taken apart. */
struct parse {
    const char *name; /* of the file */
    const uint8_t *data;
    size_t data_size;
    struct safetensors *st;
    struct error *e;
};

static int refuse(const struct parse *p, const char *tensor, const char *why)
{
    return error_set(p->e, "%s: tensor '%.64s': %s", p->name, tensor, why);
}

static int parse_dtype(const struct parse *p, const json_t *o, struct safetensors_entry *t)
{
    const char *text = json_string_value(json_object_get(o, "dtype"));
    if (!text) return refuse(p, t->name, "'dtype' is missing or not a string");
    for (size_t i = 0; i < ARRAY_LEN(DTYPES); i++)
        if (strcmp(DTYPES[i].name, text) == 0) {
            t->dtype = (enum safetensors_dtype)i;
            return 0;
        }
    return error_set(p->e,
                     "%s: tensor '%s': dtype '%.16s' is not one of F64, F32, BF16, F16, I64, I32, "
                     "U8",
                     p->name, t->name, text);
}

static int parse_shape(const struct parse *p, const json_t *o, struct safetensors_entry *t)
{
    const json_t *shape = json_object_get(o, "shape");
    if (!json_is_array(shape)) return refuse(p, t->name, "'shape' is missing or not an array");
    if (json_array_size(shape) > DIMS_MAX) return refuse(p, t->name, "more than 8 dimensions");
    size_t bytes = DTYPES[t->dtype].size;
    for (size_t i = 0; i < json_array_size(shape); i++) {
        const json_t *n = json_array_get(shape, i);
        if (!json_is_integer(n) || json_integer_value(n) < 0)
            return refuse(p, t->name, "a dimension is not a whole number from 0");
        t->shape[t->n_dims++] = json_integer_value(n);
        if (__builtin_mul_overflow(bytes, (size_t)json_integer_value(n), &bytes))
            return refuse(p, t->name, "the shape is too large for any file");
    }
    t->bytes = bytes;
    return 0;
}

static int parse_offsets(const struct parse *p, const json_t *o, struct safetensors_entry *t)
{
    const json_t *range = json_object_get(o, "data_offsets");
    const json_t *begin = json_array_get(range, 0), *end = json_array_get(range, 1);
    if (json_array_size(range) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return refuse(p, t->name, "'data_offsets' is not two whole numbers");
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > p->data_size)
        return error_set(p->e,
                         "%s: tensor '%s': data_offsets %lld to %lld lie outside the %zu bytes of "
                         "data (is the file cut short?)",
                         p->name, t->name, (long long)from, (long long)to, p->data_size);
    if ((uint64_t)(to - from) != t->bytes)
        return error_set(p->e, "%s: tensor '%s': data_offsets span %lld bytes, the shape needs %zu",
                         p->name, t->name, (long long)(to - from), t->bytes);
    t->data = p->data + from;
    return 0;
}

static int parse_entry(const struct parse *p, const char *name, const json_t *o,
                       struct safetensors_entry *t)
{
    size_t length = strlen(name);
    if (length >= sizeof(t->name)) return refuse(p, name, "the name has more than 95 bytes");
    memcpy(t->name, name, length + 1);
    if (!json_is_object(o)) return refuse(p, name, "the header's value is not an object");
    TRY(parse_dtype(p, o, t));
    TRY(parse_shape(p, o, t));
    return parse_offsets(p, o, t);
}

static int compare_places(const void *a, const void *b)
{
    const struct safetensors_entry *const *x = a, *const *y = b;
    if ((*x)->data != (*y)->data) return (*x)->data < (*y)->data ? -1 : 1;
    return ((*x)->bytes > (*y)->bytes) - ((*x)->bytes < (*y)->bytes);
}

/* The ranges must follow each other without gap or overlap, to the end of the data. */
static int check_cover(const struct parse *p)
{
    const struct safetensors *st = p->st;
    size_t n = st->n_entries;
    const struct safetensors_entry **order = mem_alloc((n + 1) * sizeof(*order));
    for (size_t i = 0; i < n; i++)
        order[i] = &st->entries[i];
    qsort(order, n, sizeof(*order), compare_places);

    int rc = 0;
    const uint8_t *next = p->data;
    for (size_t i = 0; i < n && rc == 0; i++) {
        if (order[i]->data != next)
            rc = refuse(p, order[i]->name, "its data does not begin where the one before ends");
        next = (const uint8_t *)order[i]->data + order[i]->bytes;
    }
    if (rc == 0 && next != p->data + p->data_size)
        rc = error_set(p->e, "%s: %zu bytes behind the last tensor belong to none", p->name,
                       (size_t)(p->data + p->data_size - next));
    mem_free(order);
    return rc;
}

/* Fills st from the header's object. */
static int parse_header(const struct parse *p, json_t *root)
{
    if (!json_is_object(root))
        return error_set(p->e, "%s: the header is not a JSON object", p->name);
    struct safetensors *st = p->st;
    size_t n = json_object_size(root);
    if (n > ENTRIES_MAX)
        return error_set(p->e, "%s: %zu tensors, the limit is %zu", p->name, n, ENTRIES_MAX);
    st->entries = arena_alloc(&st->arena, (n + 1) * sizeof(*st->entries));

    const char *key;
    json_t *value;
    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "__metadata__") != 0) {
            TRY(parse_entry(p, key, value, &st->entries[st->n_entries]));
            st->n_entries++;
        } else if (!json_is_object(value)) {
            return error_set(p->e, "%s: '__metadata__' is not an object", p->name);
        } else {
            st->metadata = json_incref(value);
        }
    }
    return check_cover(p);
}

/* Behind data there may be nothing readable. */
static int parse_bytes(const uint8_t *data, size_t size, const char *name, struct safetensors *st,
                       struct error *e)
{
    uint64_t header = 0;
    if (size < sizeof(header))
        return error_set(e, "%s: %zu bytes are too few for a safetensors file", name, size);
    memcpy(&header, data, sizeof(header));
    if (header > size - sizeof(header))
        return error_set(e,
                         "%s: the header's length (%llu) is beyond the end of the file (%zu "
                         "bytes); it is cut short or not safetensors",
                         name, (unsigned long long)header, size);
    if (header > HEADER_MAX)
        return error_set(e, "%s: the header has %llu bytes, the limit is %zu", name,
                         (unsigned long long)header, HEADER_MAX);

    const uint8_t *text = data + sizeof(header);
    json_t *root = NULL;
    TRY(json_parse((const char *)text, (size_t)header, name, &root, e));
    struct parse p = {name, text + header, size - sizeof(header) - (size_t)header, st, e};
    int rc = parse_header(&p, root);
    json_decref(root);
    return rc;
}

int safetensors_parse(const void *data, size_t size, const char *name, struct safetensors *st,
                      struct error *e)
{
    *st = (struct safetensors){0};
    int rc = parse_bytes(data, size, name, st, e);
    if (rc < 0) safetensors_close(st);
    return rc;
}

int safetensors_open(const char *path, struct safetensors *st, struct error *e)
{
    struct file_map map;
    *st = (struct safetensors){0};
    TRY(file_map_open(&map, path, e));
    int rc = safetensors_parse(map.data, map.size, path, st, e);
    if (rc < 0 && file_map_check(&map, path, e) < 0) rc = e ? e->code : rc; /* that is why */
    if (rc < 0)
        file_map_close(&map);
    else
        st->map = map;
    return rc;
}

void safetensors_close(struct safetensors *st)
{
    json_decref(st->metadata);
    arena_fini(&st->arena);
    if (st->map.data) file_map_close(&st->map);
    *st = (struct safetensors){0};
}

const struct safetensors_entry *safetensors_find(const struct safetensors *st, const char *name)
{
    for (size_t i = 0; i < st->n_entries; i++)
        if (strcmp(st->entries[i].name, name) == 0) return &st->entries[i];
    return NULL;
}

/* IEEE half: 1 sign, 5 exponent, 10 fraction bits. A subnormal is fraction * 2^-24. */
static float half_to_f32(uint16_t x)
{
    uint32_t sign = (uint32_t)(x & 0x8000) << 16, exponent = x >> 10 & 31, fraction = x & 1023;
    union {
        uint32_t bits;
        float value;
    } u;
    if (exponent == 0) {
        u.value = (float)fraction * 0x1p-24f;
        u.bits |= sign;
    } else {
        uint32_t wide = exponent == 31 ? 255 : exponent + 112;
        u.bits = sign | wide << 23 | fraction << 13;
    }
    return u.value;
}

/* Element i of an entry that may lie at any address. */
static float element_f32(const struct safetensors_entry *t, size_t i)
{
    const uint8_t *at = (const uint8_t *)t->data + i * DTYPES[t->dtype].size;
    uint16_t half = 0;
    float single = 0;
    double wide = 0;
    switch (t->dtype) {
    case ST_F64: memcpy(&wide, at, sizeof(wide)); return (float)wide;
    case ST_F32: memcpy(&single, at, sizeof(single)); return single;
    case ST_BF16: memcpy(&half, at, sizeof(half)); return bf16_load(half);
    case ST_F16: memcpy(&half, at, sizeof(half)); return half_to_f32(half);
    default: return 0;
    }
}

int safetensors_read_f32(const struct safetensors_entry *t, float *out, size_t count,
                         struct error *e)
{
    size_t have = t->bytes / DTYPES[t->dtype].size;
    if (have != count)
        return error_set(e, "tensor '%s' has %zu values, %zu are needed", t->name, have, count);
    return safetensors_read_part(t, 0, count, out, e);
}

int safetensors_read_part(const struct safetensors_entry *t, size_t first, size_t count, float *out,
                          struct error *e)
{
    CHECK(first + count <= t->bytes / DTYPES[t->dtype].size);
    switch (t->dtype) {
    case ST_F32:
        if (count)
            memcpy(out, (const char *)t->data + first * sizeof(float), count * sizeof(float));
        return 0;
    case ST_F64:
    case ST_BF16:
    case ST_F16:
        for (size_t i = 0; i < count; i++)
            out[i] = element_f32(t, first + i);
        return 0;
    default:
        return error_set(e, "tensor '%s' holds %s, not floating-point numbers", t->name,
                         DTYPES[t->dtype].name);
    }
}

/* ------------------------------------------------------------------ writing */

/* The JSON header with its length in front, padded so that the data begins at a multiple of 64. */
static void build_header(const struct safetensors_entry *entries, size_t n_entries, struct str *out)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    size_t offset = 0;
    for (size_t i = 0; i < n_entries; i++) {
        const struct safetensors_entry *t = &entries[i];
        jsonw_open(&w, t->name, '{');
        jsonw_string(&w, "dtype", DTYPES[t->dtype].name);
        jsonw_open(&w, "shape", '[');
        for (int d = 0; d < t->n_dims; d++)
            jsonw_int(&w, NULL, t->shape[d]);
        jsonw_close(&w, ']');
        jsonw_open(&w, "data_offsets", '[');
        jsonw_int(&w, NULL, (int64_t)offset);
        jsonw_int(&w, NULL, (int64_t)(offset += t->bytes));
        jsonw_close(&w, ']');
        jsonw_close(&w, '}');
    }
    jsonw_close(&w, '}');
    while ((sizeof(uint64_t) + out->len) % 64 != 0)
        str_append_char(out, ' ');
}

void safetensors_head(const struct safetensors_entry *entries, size_t n_entries, struct str *out)
{
    struct str json = {0};
    build_header(entries, n_entries, &json);
    uint64_t length = json.len;
    str_append(out, &length, sizeof(length));
    str_append(out, json.data, json.len);
    str_fini(&json);
}

/* A file being written, and what is known of it so far. */
struct output {
    int fd;
    const char *path;
    struct hash_stream *hash;
    uint64_t size;
};

/* Hashed piece by piece, while the piece is in the cache. */
static int write_pieces(struct output *o, const void *data, size_t size, struct error *e)
{
    const uint8_t *at = data;
    for (size_t done = 0; done < size; done += WRITE_PIECE) {
        size_t n = MIN(WRITE_PIECE, size - done);
        hash_stream_add(o->hash, at + done, n);
        TRY(file_write_fd(o->fd, at + done, n, o->path, e));
    }
    o->size += size;
    return 0;
}

static int write_all(struct output *o, const struct str *header,
                     const struct safetensors_entry *entries, size_t n_entries, struct error *e)
{
    uint64_t length = header->len;
    TRY(write_pieces(o, &length, sizeof(length), e));
    TRY(write_pieces(o, header->data, header->len, e));
    for (size_t i = 0; i < n_entries; i++)
        TRY(write_pieces(o, entries[i].data, entries[i].bytes, e));
    return fsync(o->fd) != 0 ? error_errno(e, "sync", o->path) : 0;
}

/* A wrong entry is the caller's mistake, and would make a file that no reader takes. */
static void check_entries(const struct safetensors_entry *entries, size_t n_entries)
{
    for (size_t i = 0; i < n_entries; i++) {
        size_t bytes = DTYPES[entries[i].dtype].size;
        for (int d = 0; d < entries[i].n_dims; d++)
            bytes *= (size_t)entries[i].shape[d];
        CHECK_MSG(bytes == entries[i].bytes, "tensor '%s': %zu bytes, the shape needs %zu",
                  entries[i].name, entries[i].bytes, bytes);
    }
}

int safetensors_write(const char *path, const struct safetensors_entry *entries, size_t n_entries,
                      struct safetensors_written *written, struct error *e)
{
    check_entries(entries, n_entries);
    struct output o = {.path = path,
                       .fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)};
    if (o.fd < 0) return error_errno(e, "create", path);

    struct str header = {0};
    build_header(entries, n_entries, &header);
    o.hash = hash_stream_new();
    int rc = write_all(&o, &header, entries, n_entries, e);
    if (close(o.fd) != 0 && rc == 0) rc = error_errno(e, "close", path);
    if (written) *written = (struct safetensors_written){hash_stream_value(o.hash), o.size};
    hash_stream_free(o.hash);
    str_fini(&header);
    return rc;
}
