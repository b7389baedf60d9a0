/* model_parts.c: tensors that lie in parts in several safetensors files, as the ranks of a run write
 * them.
 *
 *     weights.safetensors                  one process: tensors as they are, or
 *     weights-00001-of-00004.safetensors   a file for each of four ranks
 *     ...
 *
 * A rank's part of a tensor is the numbers [first, first + n) of it, its last dimension running
 * fastest: a tensor of its name and the shape [n]. Beside it stands "part.<name>", int64:
 * first, and then the shape of the whole. Where a rank has a block of the tensor only, some of its
 * heads or experts, "block.<name>", int64, says where in each dimension the block begins, and then
 * its shape; first counts within the block. A tensor without companions is whole. The parts of all
 * files together must make every tensor, without a gap or an overlap; whoever reads sees the whole
 * tensors, however many ranks wrote them, and in which layout. */
#include "model/model_internal.h"

#include <stdlib.h>
#include <string.h>

#define PREFIX "part."
#define BLOCK  "block."

/* ------------------------------------------------------------------ putting together */

struct found { /* a tensor or a part of one */
    const struct safetensors_entry *entry;
    struct safetensors_entry whole;
    struct tensor_block block; /* n_dims 0: the whole */
    size_t first, count;       /* numbers of the block */
};

static int compare_found(const void *a, const void *b)
{
    return strcmp(((const struct found *)a)->whole.name, ((const struct found *)b)->whole.name);
}

static int compare_piece(const void *a, const void *b)
{
    const struct safetensors_piece *x = a, *y = b;
    return (x->first > y->first) - (x->first < y->first);
}

static int refuse(const char *name, const char *why, struct error *e)
{
    return error_set(e, "tensor '%.64s' and its companion '" PREFIX "...': %s", name, why);
}

/* What the companion says of a tensor. */
static int read_companion(const struct safetensors_entry *c, struct found *f, struct error *e)
{
    int64_t says[9], count = 1;
    const char *name = f->whole.name;
    if (c->dtype != ST_I64 || c->n_dims != 1 || c->shape[0] < 2 || c->shape[0] > 9)
        return refuse(name, "not an offset and a shape", e);
    if (f->whole.n_dims != 1) return refuse(name, "a part is a list of numbers", e);
    memcpy(says, c->data, c->bytes);
    f->first = (size_t)MAX(says[0], 0);
    size_t element = f->count ? f->whole.bytes / f->count : 0;
    f->whole.n_dims = (int)c->shape[0] - 1;
    for (int i = 0; i < f->whole.n_dims; i++) {
        f->whole.shape[i] = says[i + 1];
        if (says[i + 1] < 0 || __builtin_mul_overflow(count, says[i + 1], &count))
            return refuse(name, "no shape", e);
    }
    f->whole.bytes = (size_t)count * element;
    f->whole.data = NULL;
    return 0;
}

/* Which block of the tensor it is a part of: within the whole, in every dimension. */
static int read_block(const struct safetensors_entry *c, struct found *f, struct error *e)
{
    int64_t says[6];
    struct tensor_block *b = &f->block;
    int n = f->whole.n_dims;
    size_t size = 1;
    if (n < 1 || n > 3 || c->dtype != ST_I64 || c->n_dims != 1 || c->shape[0] != 2 * n)
        return refuse(f->whole.name, "not the beginning and the shape of a block", e);
    memcpy(says, c->data, c->bytes);
    b->n_dims = n;
    for (int i = 0; i < n; i++) {
        b->whole[i] = f->whole.shape[i];
        b->first[i] = says[i];
        b->shape[i] = says[n + i];
        if (says[i] < 0 || says[n + i] < 1 || says[i] > b->whole[i] ||
            says[n + i] > b->whole[i] - says[i])
            return refuse(f->whole.name, "a block beyond the tensor", e);
        size *= (size_t)b->shape[i];
    }
    if (f->first > size || f->count > size - f->first)
        return refuse(f->whole.name, "more than the block has", e);
    return 0;
}

static size_t elements_of(const struct safetensors_entry *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->shape[i];
    return n;
}

static const struct safetensors_entry *find_beside(const struct safetensors *st, const char *prefix,
                                                   const char *name)
{
    char beside[sizeof(st->entries->name) + sizeof(BLOCK)];
    snprintf(beside, sizeof(beside), "%s%s", prefix, name);
    return safetensors_find(st, beside);
}

/* A part for one of several devices, which its name does not say: of the last matrix of a feed-forward
 * columns, of others rows. */
static int read_device(int device, int devices, struct found *f, struct error *e)
{
    int64_t *shape = f->whole.shape, wide;
    int n = f->whole.n_dims, k = strstr(f->whole.name, ".w2.") ? n - 1 : 0;
    if (n < 1 || n > 2) return refuse(f->whole.name, "a device's part of no matrix", e);
    f->block.n_dims = n;
    if (__builtin_mul_overflow(shape[k], (int64_t)devices, &wide) || shape[k] < 1)
        return refuse(f->whole.name, "a device's part of no size", e);
    for (int i = 0; i < n; i++) {
        f->block.shape[i] = f->block.whole[i] = shape[i];
        f->block.first[i] = 0;
    }
    f->block.whole[k] = wide;
    f->block.first[k] = shape[k] * device;
    shape[k] = wide;
    f->whole.bytes *= (size_t)devices;
    f->whole.data = NULL;
    return 0;
}

/* Every tensor of one file, companions read. */
static int collect(const struct safetensors *st, struct found *found, size_t *n, struct error *e)
{
    for (size_t i = 0; i < st->n_entries; i++) {
        const struct safetensors_entry *t = &st->entries[i];
        if (strncmp(t->name, PREFIX, strlen(PREFIX)) == 0) continue;
        if (strncmp(t->name, BLOCK, strlen(BLOCK)) == 0) continue;
        struct found *f = &found[(*n)++];
        *f = (struct found){.entry = t, .whole = *t, .count = elements_of(t)};
        const struct safetensors_entry *part = find_beside(st, PREFIX, t->name);
        const struct safetensors_entry *block = find_beside(st, BLOCK, t->name);
        if (part) TRY(read_companion(part, f, e));
        if (block && !part) return refuse(t->name, "a block of no part", e);
        if (block) TRY(read_block(block, f, e));
    }
    return 0;
}

/* Runs of the whole tensor that a part is; with pieces NULL they are only counted. */
static size_t list_runs(const struct found *f, struct safetensors_piece *pieces)
{
    size_t n = 0;
    for (size_t i = 0, run, at; i < f->count; i += run, n++) {
        at = f->first + i;
        run = f->count - i;
        if (f->block.n_dims) run = MIN(tensor_block_run(&f->block, f->first + i, &at), run);
        if (pieces) pieces[n] = (struct safetensors_piece){f->entry, at, run, i};
    }
    return n;
}

static int check_pieces(const struct safetensors_tensor *t, struct error *e)
{
    size_t at = 0;
    for (size_t i = 0; i < t->n_pieces; i++) {
        if (t->pieces[i].first != at) return refuse(t->whole.name, "parts leave a gap", e);
        at += t->pieces[i].count;
    }
    return at == elements_of(&t->whole) ? 0 : refuse(t->whole.name, "the last part is missing", e);
}

/* found[0 .. n) are the parts of one tensor. */
static int put_together(struct safetensors_set *s, const struct found *found, size_t n,
                        struct error *e)
{
    struct safetensors_tensor *t = &s->tensors[s->n_tensors++];
    const struct safetensors_entry *whole = &found->whole;
    *t = (struct safetensors_tensor){.whole = *whole};
    for (size_t i = 0; i < n; i++) {
        const struct safetensors_entry *w = &found[i].whole;
        bool same = w->dtype == whole->dtype && w->n_dims == whole->n_dims &&
                    memcmp(w->shape, whole->shape, (size_t)w->n_dims * sizeof(w->shape[0])) == 0;
        if (!same) return refuse(whole->name, "parts of different tensors", e);
        t->n_pieces += list_runs(&found[i], NULL);
    }
    t->pieces = arena_alloc(&s->arena, (t->n_pieces + 1) * sizeof(*t->pieces));
    for (size_t i = 0, at = 0; i < n; i++)
        at += list_runs(&found[i], t->pieces + at);
    if (t->n_pieces) qsort(t->pieces, t->n_pieces, sizeof(*t->pieces), compare_piece);
    return check_pieces(t, e);
}

static int build(struct safetensors_set *s, const struct safetensors_files *files, struct error *e)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < s->n_files; i++)
        all += s->files[i].n_entries;
    struct found *found = arena_alloc(&s->arena, (all + 1) * sizeof(*found));
    for (size_t i = 0, before = 0; i < s->n_files; i++, before = n) {
        TRY(collect(&s->files[i], found, &n, e));
        for (size_t k = before; k < n && files->list[i].device >= 0; k++)
            TRY(read_device(files->list[i].device, files->devices, &found[k], e));
    }
    if (n) qsort(found, n, sizeof(*found), compare_found);
    s->tensors = arena_alloc(&s->arena, (n + 1) * sizeof(*s->tensors));
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && strcmp(found[i].whole.name, found[i + k].whole.name) == 0; k++) {
        }
        TRY(put_together(s, &found[i], k, e));
    }
    return 0;
}

/* ------------------------------------------------------------------ opening */

static int open_files(const char *path, struct safetensors_set *s, struct safetensors_files *files,
                      struct error *e)
{
    TRY(safetensors_list_files(path, &s->arena, files, e));
    TRY(safetensors_files_check(files, path, e));
    s->files = arena_alloc(&s->arena, files->n * sizeof(*s->files));
    for (size_t i = 0; i < files->n; i++) {
        TRY(safetensors_open(files->list[i].path, &s->files[i], e));
        s->n_files++;
    }
    int rc = build(s, files, e);
    if (rc < 0) return error_context(e, "%s", path);
    return files->index ? safetensors_index_check(files->index, files->index_path, s, e) : 0;
}

int safetensors_set_open(const char *path, struct safetensors_set *s, struct error *e)
{
    struct safetensors_files files = {0};
    *s = (struct safetensors_set){0};
    int rc = open_files(path, s, &files, e);
    json_decref(files.index);
    if (rc < 0) safetensors_set_close(s);
    return rc;
}

int safetensors_set_check(const struct safetensors_set *s, const char *path, struct error *e)
{
    for (size_t i = 0; i < s->n_files; i++)
        TRY(file_map_check(&s->files[i].map, path, e));
    return 0;
}

void safetensors_set_close(struct safetensors_set *s)
{
    for (size_t i = 0; i < s->n_files; i++)
        safetensors_close(&s->files[i]);
    arena_fini(&s->arena);
    *s = (struct safetensors_set){0};
}

/* ------------------------------------------------------------------ reading */

static int compare_name(const void *key, const void *tensor)
{
    return strcmp(key, ((const struct safetensors_tensor *)tensor)->whole.name);
}

const struct safetensors_tensor *safetensors_set_find(const struct safetensors_set *s,
                                                      const char *name)
{
    if (s->n_tensors == 0) return NULL;
    return bsearch(name, s->tensors, s->n_tensors, sizeof(*s->tensors), compare_name);
}

/* The piece that number `at` lies in, or where the search for it ends. */
static size_t piece_at(const struct safetensors_tensor *t, size_t at)
{
    size_t low = 0, high = t->n_pieces;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (t->pieces[middle].first + t->pieces[middle].count <= at)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Numbers [at, *end) of the whole lie in a piece; *from is where in its entry they begin. */
static const struct safetensors_piece *next_piece(const struct safetensors_tensor *t, size_t *i,
                                                  size_t at, size_t *end, size_t *from)
{
    const struct safetensors_piece *p = &t->pieces[(*i)++];
    *end = MIN(*end, p->first + p->count);
    *from = p->from + at - p->first;
    return p;
}

int safetensors_tensor_read(const struct safetensors_tensor *t, size_t first, size_t count,
                            float *out, struct error *e)
{
    CHECK(first + count <= elements_of(&t->whole));
    size_t i = piece_at(t, first), from;
    for (size_t at = first, end; at < first + count; at = end) {
        end = first + count;
        const struct safetensors_piece *p = next_piece(t, &i, at, &end, &from);
        TRY(safetensors_read_part(p->entry, from, end - at, out + (at - first), e));
    }
    return 0;
}

void safetensors_tensor_copy(const struct safetensors_tensor *t, size_t first, size_t count,
                             void *out)
{
    CHECK(first + count <= elements_of(&t->whole));
    size_t i = piece_at(t, first), from, size = safetensors_element_size(t->whole.dtype);
    for (size_t at = first, end; at < first + count; at = end) {
        end = first + count;
        const struct safetensors_piece *p = next_piece(t, &i, at, &end, &from);
        memcpy((uint8_t *)out + (at - first) * size, (const uint8_t *)p->entry->data + from * size,
               (end - at) * size);
    }
}

/* ------------------------------------------------------------------ writing */

static struct safetensors_entry companion(const char *prefix, const char *name, int64_t *says,
                                          int64_t n)
{
    struct safetensors_entry c = {.dtype = ST_I64, .n_dims = 1, .shape = {n}, .data = says};
    int length = snprintf(c.name, sizeof(c.name), "%s%s", prefix, name);
    CHECK(length > 0 && (size_t)length < sizeof(c.name));
    c.bytes = (size_t)n * sizeof(*says);
    return c;
}

size_t safetensors_companions(const struct safetensors_entry *whole,
                              const struct tensor_block *block, size_t first, struct arena *a,
                              struct safetensors_entry out[2])
{
    int n = whole->n_dims;
    int64_t *says = arena_alloc(a, (size_t)(1 + 3 * n) * sizeof(*says));
    bool all = true;
    says[0] = (int64_t)first;
    for (int i = 0; i < n; i++) {
        says[1 + i] = whole->shape[i];
        if (!block->n_dims) continue;
        says[1 + n + i] = block->first[i];
        says[1 + 2 * n + i] = block->shape[i];
        all = all && block->shape[i] == whole->shape[i];
    }
    out[0] = companion(PREFIX, whole->name, says, 1 + n);
    if (all) return 1;
    out[1] = companion(BLOCK, whole->name, says + 1 + n, 2 * n);
    return 2;
}
