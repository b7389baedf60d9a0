/* model_gguf.c: GGUF files (ggml, docs/gguf.md), versions 2 and 3, little endian:
 *
 *   "GGUF", u32 version, u64 tensors, u64 values
 *   values:  string key, u32 type, the value; a string is u64 size and bytes, an array u32 type of
 *            its elements, u64 count and the elements
 *   tensors: string name, u32 dimensions, u64 sizes (the one that is dense first), u32 format, u64
 *            offset from the beginning of the data
 *   data:    from the next multiple of general.alignment (32 where it is not said) on
 *
 * A file is mapped and looked at, not copied. Every count, size and offset is held against the file
 * before it is used, and everything that is not understood is an error that names the file and what
 * it is about; an array of arrays, which no model has, is one. */
#include "model/model.h"

#include <string.h>

enum { MAX_VALUES = 4096, MAX_TENSORS = 1 << 16, MAX_ALIGNMENT = 1 << 16 };

enum gguf_type {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_N_TYPES
};
static const uint8_t type_sizes[GGUF_N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct reader {
    const uint8_t *data;
    size_t size, at;
    const char *name;
    struct error *e;
};

static int cut_off(const struct reader *r)
{
    error_set(r->e, "%s: the file ends at byte %zu, in the middle of its head", r->name, r->size);
    return error_hint(r->e, "fetch or copy the file again: this one is not whole");
}

static int read_bytes(struct reader *r, size_t n, const uint8_t **out)
{
    if (n > r->size - r->at) return cut_off(r);
    *out = r->data + r->at;
    r->at += n;
    return 0;
}

static uint64_t bytes_at(const uint8_t *p, size_t n)
{
    uint64_t value = 0;
    for (size_t i = n; i-- > 0;)
        value = value << 8 | p[i];
    return value;
}

static int read_number(struct reader *r, size_t n, uint64_t *out)
{
    const uint8_t *p = NULL;
    TRY(read_bytes(r, n, &p));
    *out = bytes_at(p, n);
    return 0;
}

static int read_string(struct reader *r, struct gguf_text *out)
{
    uint64_t size = 0;
    const uint8_t *p = NULL;
    TRY(read_number(r, 8, &size));
    if (size > r->size) return cut_off(r);
    TRY(read_bytes(r, (size_t)size, &p));
    *out = (struct gguf_text){(const char *)p, (size_t)size};
    return 0;
}

/* ------------------------------------------------------------------ values */

static int read_array(struct reader *r, struct gguf_value *v)
{
    uint64_t type = 0, count = 0;
    struct gguf_text text;
    const uint8_t *p = NULL;
    TRY(read_number(r, 4, &type));
    TRY(read_number(r, 8, &count));
    if (type >= GGUF_N_TYPES || type == GGUF_ARRAY)
        return error_set(r->e, "%s: value '%s' is an array of type %llu, which is not known",
                         r->name, v->key, (unsigned long long)type);
    v->element = (int)type;
    v->data = r->data + r->at;
    if (count > r->size) return cut_off(r);
    v->count = (size_t)count;
    if (type != GGUF_STRING) {
        if (count > (r->size - r->at) / type_sizes[type]) return cut_off(r);
        return read_bytes(r, (size_t)count * type_sizes[type], &p);
    }
    for (uint64_t i = 0; i < count; i++)
        TRY(read_string(r, &text));
    return 0;
}

static int read_value(struct reader *r, struct gguf *g, struct gguf_value *v)
{
    struct gguf_text key, text;
    uint64_t type = 0;
    TRY(read_string(r, &key));
    if (key.size == 0 || key.size > 256 || memchr(key.data, 0, key.size))
        return error_set(r->e, "%s: the name of value %zu is empty, too long or not text", r->name,
                         g->n_values);
    v->key = arena_strndup(&g->arena, key.data, key.size);
    if (gguf_find(g, v->key))
        return error_set(r->e, "%s: value '%s' is there twice", r->name, v->key);
    TRY(read_number(r, 4, &type));
    if (type >= GGUF_N_TYPES)
        return error_set(r->e, "%s: value '%s' has type %llu, which is not known", r->name, v->key,
                         (unsigned long long)type);
    v->type = (int)type;
    v->data = r->data + r->at;
    if (type == GGUF_ARRAY)
        TRY(read_array(r, v));
    else if (type == GGUF_STRING)
        TRY(read_string(r, &text));
    else
        TRY(read_bytes(r, type_sizes[type], &v->data));
    v->size = (size_t)(r->data + r->at - v->data);
    return 0;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
    for (size_t i = 0; i < g->n_values; i++)
        if (strcmp(g->values[i].key, key) == 0) return &g->values[i];
    return NULL;
}

bool gguf_text(const struct gguf_value *v, struct gguf_text *out)
{
    if (!v || v->type != GGUF_STRING) return false;
    *out = (struct gguf_text){(const char *)v->data + 8, (size_t)bytes_at(v->data, 8)};
    return true;
}

/* Of a number of any type. */
static bool number_at(const uint8_t *p, int type, double *out)
{
    uint64_t bits = bytes_at(p, type_sizes[type]);
    float f;
    switch (type) {
    case GGUF_I8: *out = (int8_t)bits; return true;
    case GGUF_I16: *out = (int16_t)bits; return true;
    case GGUF_I32: *out = (int32_t)bits; return true;
    case GGUF_I64: *out = (double)(int64_t)bits; return true;
    case GGUF_F64: memcpy(out, &bits, sizeof(*out)); return true;
    case GGUF_F32:
        memcpy(&f, p, sizeof(f));
        *out = (double)f;
        return true;
    case GGUF_STRING:
    case GGUF_ARRAY: return false;
    default: *out = (double)bits; return true;
    }
}

bool gguf_number(const struct gguf_value *v, double *out)
{
    return v && v->type != GGUF_ARRAY && number_at(v->data, v->type, out);
}

bool gguf_is_texts(const struct gguf_value *v)
{
    return v && v->type == GGUF_ARRAY && v->element == GGUF_STRING;
}

bool gguf_is_numbers(const struct gguf_value *v)
{
    return v && v->type == GGUF_ARRAY && v->element != GGUF_STRING;
}

/* Its bounds were checked when the file was read. */
struct gguf_text gguf_next_text(const struct gguf_value *v, size_t *at)
{
    const uint8_t *p = v->data + *at;
    struct gguf_text t = {(const char *)p + 8, (size_t)bytes_at(p, 8)};
    *at += 8 + t.size;
    return t;
}

double gguf_number_of(const struct gguf_value *v, size_t i)
{
    double value = 0;
    CHECK(gguf_is_numbers(v) && i < v->count);
    number_at(v->data + i * type_sizes[v->element], v->element, &value);
    return value;
}

/* ------------------------------------------------------------------ tensors */

/* Sizes whose product fits, and whole blocks in a row. */
static int check_tensor(struct reader *r, struct gguf_tensor *t)
{
    int64_t count = 1;
    for (int i = 0; i < t->n_dims; i++) {
        if (t->shape[i] < 1 || __builtin_mul_overflow(count, t->shape[i], &count) ||
            count > (INT64_C(1) << 48))
            return error_set(r->e, "%s: tensor '%s' has a size that no tensor has", r->name,
                             t->name);
    }
    if (t->shape[0] % (int64_t)t->format->block != 0)
        return error_set(
            r->e, "%s: tensor '%s' has rows of %lld numbers, %s comes in blocks of %zu", r->name,
            t->name, (long long)t->shape[0], t->format->name, t->format->block);
    t->row_bytes = (size_t)t->shape[0] / t->format->block * t->format->bytes;
    t->rows = count / t->shape[0];
    return 0;
}

static int read_tensor(struct reader *r, struct gguf *g, struct gguf_tensor *t, uint64_t *offset)
{
    struct gguf_text name;
    uint64_t dims = 0, format = 0;
    TRY(read_string(r, &name));
    if (name.size == 0 || name.size >= sizeof(t->name) || memchr(name.data, 0, name.size))
        return error_set(r->e, "%s: the name of tensor %zu is empty, too long or not text", r->name,
                         g->n_tensors);
    memcpy(t->name, name.data, name.size);
    TRY(read_number(r, 4, &dims));
    if (dims < 1 || dims > ARRAY_LEN(t->shape))
        return error_set(r->e, "%s: tensor '%s' has %llu dimensions", r->name, t->name,
                         (unsigned long long)dims);
    t->n_dims = (int)dims;
    for (int i = 0; i < t->n_dims; i++) {
        uint64_t size = 0;
        TRY(read_number(r, 8, &size));
        t->shape[i] = size > INT64_MAX ? -1 : (int64_t)size;
    }
    TRY(read_number(r, 4, &format));
    TRY(read_number(r, 8, offset));
    t->format = gguf_format_of((uint32_t)format);
    if (!t->format) {
        error_set(r->e, "%s: tensor '%s' has the format %llu, which is not read", r->name, t->name,
                  (unsigned long long)format);
        return error_hint(r->e, "read are F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K "
                                "and Q6_K");
    }
    return check_tensor(r, t);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
    struct gguf_tensor key = {0};
    if (strlen(name) >= sizeof(key.name)) return NULL;
    snprintf(key.name, sizeof(key.name), "%s", name);
    return g->n_tensors ? bsearch(&key, g->tensors, g->n_tensors, sizeof(key), by_name) : NULL;
}

static int place_tensors(struct reader *r, struct gguf *g, const uint64_t *offsets)
{
    double alignment = 32;
    const struct gguf_value *v = gguf_find(g, "general.alignment");
    if (v && (!gguf_number(v, &alignment) || alignment < 1 || alignment > MAX_ALIGNMENT ||
              ((uint64_t)alignment & ((uint64_t)alignment - 1))))
        return error_set(r->e, "%s: general.alignment is no power of two up to %d", r->name,
                         MAX_ALIGNMENT);
    size_t step = (size_t)alignment, begin = (r->at + step - 1) / step * step;
    for (size_t i = 0; i < g->n_tensors; i++) {
        struct gguf_tensor *t = &g->tensors[i];
        size_t room = begin < r->size ? r->size - begin : 0;
        if (offsets[i] % step != 0)
            return error_set(r->e, "%s: tensor '%s' does not begin at a multiple of %zu bytes",
                             r->name, t->name, step);
        if (offsets[i] > room || (size_t)t->rows > (room - offsets[i]) / t->row_bytes)
            return error_set(r->e, "%s: tensor '%s' lies beyond the end of the file: it is cut off",
                             r->name, t->name);
        t->data = r->data + begin + offsets[i];
    }
    qsort(g->tensors, g->n_tensors, sizeof(*g->tensors), by_name);
    for (size_t i = 1; i < g->n_tensors; i++)
        if (strcmp(g->tensors[i].name, g->tensors[i - 1].name) == 0)
            return error_set(r->e, "%s: tensor '%s' is there twice", r->name, g->tensors[i].name);
    return 0;
}

/* ------------------------------------------------------------------ the whole */

static int read_head(struct reader *r, uint64_t *tensors, uint64_t *values)
{
    const uint8_t *magic;
    uint64_t version = 0;
    if (r->size < 4 || memcmp(r->data, "GGUF", 4) != 0)
        return error_set(r->e, "%s: no GGUF file: it does not begin with 'GGUF'", r->name);
    TRY(read_bytes(r, 4, &magic));
    TRY(read_number(r, 4, &version));
    if (version != 2 && version != 3)
        return error_set(r->e, "%s: GGUF version %llu is not read, only 2 and 3, little endian",
                         r->name, (unsigned long long)version);
    TRY(read_number(r, 8, tensors));
    TRY(read_number(r, 8, values));
    if (*tensors > MAX_TENSORS || *values > MAX_VALUES)
        return error_set(r->e, "%s: %llu tensors and %llu values are more than are read", r->name,
                         (unsigned long long)*tensors, (unsigned long long)*values);
    /* Each takes 13 and 25 bytes of the file at least. */
    if (*values > r->size / 13 || *tensors > r->size / 25) return cut_off(r);
    return 0;
}

static int parse(struct reader *r, struct gguf *g)
{
    uint64_t tensors = 0, values = 0;
    TRY(read_head(r, &tensors, &values));
    g->values = arena_alloc(&g->arena, ((size_t)values + 1) * sizeof(*g->values));
    g->tensors = arena_alloc(&g->arena, ((size_t)tensors + 1) * sizeof(*g->tensors));
    uint64_t *offsets = arena_alloc(&g->arena, ((size_t)tensors + 1) * sizeof(*offsets));
    for (; g->n_values < values; g->n_values++)
        TRY(read_value(r, g, &g->values[g->n_values]));
    for (; g->n_tensors < tensors; g->n_tensors++)
        TRY(read_tensor(r, g, &g->tensors[g->n_tensors], &offsets[g->n_tensors]));
    return place_tensors(r, g, offsets);
}

int gguf_parse(const void *data, size_t size, const char *name, struct gguf *g, struct error *e)
{
    struct reader r = {.data = data, .size = size, .name = name, .e = e};
    memset(g, 0, sizeof(*g));
    int rc = parse(&r, g);
    if (rc < 0) arena_fini(&g->arena);
    return rc;
}

int gguf_open(const char *path, struct gguf *g, struct error *e)
{
    struct file_map map;
    TRY(file_map_open(&map, path, e));
    int rc = gguf_parse(map.data, map.size, path, g, e);
    int changed = file_map_check(&map, path, e);
    if (rc == 0 && changed == 0) {
        g->map = map;
        return 0;
    }
    if (rc == 0) arena_fini(&g->arena);
    file_map_close(&map);
    return changed < 0 ? changed : rc;
}

void gguf_close(struct gguf *g)
{
    if (g->map.file) file_map_close(&g->map);
    arena_fini(&g->arena);
    memset(g, 0, sizeof(*g));
}

bool gguf_is(const char *path)
{
    char magic[4] = {0};
    FILE *f = file_is_dir(path) ? NULL : fopen(path, "rb");
    bool is = f && fread(magic, 1, 4, f) == 4 && memcmp(magic, "GGUF", 4) == 0;
    if (f) fclose(f);
    return is;
}
