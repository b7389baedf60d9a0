/* model_parts.c: tensors that lie in parts in several safetensors files, as the ranks of a run write
 * them.
 *
 *     weights.safetensors                  one process: tensors as they are, or
 *     weights-00001-of-00004.safetensors   a file for each of four ranks
 *     ...
 *
 * A rank's part of a tensor is the numbers [first, first + n) of it, its last dimension running
 * fastest: a tensor of its name and the shape [n]. Beside it stands "part.<name>", int64:
 * first, and then the shape of the whole. A tensor without such a companion is whole. The parts of
 * all files together must make every tensor, without a gap or an overlap; whoever reads sees the
 * whole tensors, however many ranks wrote them. */
#include "model/model_internal.h"

#include <stdlib.h>
#include <string.h>

#define SUFFIX   ".safetensors"
#define PREFIX   "part."
#define MAX_PART 99999 /* five digits */

/* ------------------------------------------------------------------ names */

char *safetensors_part_name(struct arena *a, const char *path, int rank, int ranks)
{
    size_t n = strlen(path), suffix = strlen(SUFFIX);
    CHECK(n > suffix && strcmp(path + n - suffix, SUFFIX) == 0 && ranks <= MAX_PART);
    return arena_printf(a, "%.*s-%05d-of-%05d" SUFFIX, (int)(n - suffix), path, rank + 1, ranks);
}

/* Of how many ranks a set is whose files stand in the folder of `path`; 0: none is there. */
static int count_ranks(const char *path, struct arena *a, struct error *e)
{
    char **names;
    size_t n;
    int ranks = 0;
    const char *base = file_base_name(path);
    const char *dir = base > path ? arena_strndup(a, path, (size_t)(base - path)) : ".";
    if (!file_is_dir(dir)) return 0;
    TRY(file_list_dir(dir, a, &names, &n, e));
    for (size_t i = 0; i < n; i++) {
        int rank, of, end = 0;
        size_t stem = strlen(base) - strlen(SUFFIX);
        if (strncmp(names[i], base, stem) != 0) continue;
        if (sscanf(names[i] + stem, "-%5d-of-%5d" SUFFIX "%n", &rank, &of, &end) != 2 || !end ||
            names[i][stem + (size_t)end])
            continue;
        if (of < 1 || rank < 1 || rank > of) continue;
        if (ranks && of != ranks)
            return error_set(e, "'%s' holds parts of %d and of %d ranks", dir, ranks, of);
        ranks = of;
    }
    return ranks;
}

bool safetensors_set_exists(const char *path)
{
    struct arena a = {0};
    bool there = file_exists(path) || count_ranks(path, &a, NULL) > 0;
    arena_fini(&a);
    return there;
}

/* ------------------------------------------------------------------ putting together */

struct found { /* a tensor or a part of one */
    struct safetensors_entry whole;
    struct safetensors_piece piece;
};

static int compare_found(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    int order = strcmp(x->whole.name, y->whole.name);
    return order ? order : (x->piece.first > y->piece.first) - (x->piece.first < y->piece.first);
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
    f->piece.first = (size_t)MAX(says[0], 0);
    size_t element = f->piece.count ? f->whole.bytes / f->piece.count : 0;
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

static size_t elements_of(const struct safetensors_entry *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++)
        n *= (size_t)t->shape[i];
    return n;
}

/* Every tensor of one file, companions read. */
static int collect(const struct safetensors *st, struct found *found, size_t *n, struct error *e)
{
    char name[sizeof(st->entries->name) + sizeof(PREFIX)];
    for (size_t i = 0; i < st->n_entries; i++) {
        const struct safetensors_entry *t = &st->entries[i];
        if (strncmp(t->name, PREFIX, strlen(PREFIX)) == 0) continue;
        struct found *f = &found[(*n)++];
        *f = (struct found){.whole = *t, .piece = {t, 0, elements_of(t)}};
        snprintf(name, sizeof(name), PREFIX "%s", t->name);
        const struct safetensors_entry *companion = safetensors_find(st, name);
        if (companion) TRY(read_companion(companion, f, e));
    }
    return 0;
}

/* found[0 .. n) are the parts of one tensor, in order. */
static int check_parts(const struct found *found, size_t n, struct error *e)
{
    const struct safetensors_entry *whole = &found->whole;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        const struct safetensors_entry *w = &found[i].whole;
        bool same = w->dtype == whole->dtype && w->n_dims == whole->n_dims &&
                    memcmp(w->shape, whole->shape, (size_t)w->n_dims * sizeof(w->shape[0])) == 0;
        if (!same) return refuse(whole->name, "parts of different tensors", e);
        if (found[i].piece.first != at) return refuse(whole->name, "parts leave a gap", e);
        at += found[i].piece.count;
    }
    return at == elements_of(whole) ? 0 : refuse(whole->name, "the last part is missing", e);
}

static int build(struct safetensors_set *s, struct error *e)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < s->n_files; i++)
        all += s->files[i].n_entries;
    struct found *found = arena_alloc(&s->arena, (all + 1) * sizeof(*found));
    for (size_t i = 0; i < s->n_files; i++)
        TRY(collect(&s->files[i], found, &n, e));
    if (n) qsort(found, n, sizeof(*found), compare_found);
    s->tensors = arena_alloc(&s->arena, (n + 1) * sizeof(*s->tensors));
    for (size_t i = 0, k; i < n; i += k) {
        for (k = 1; i + k < n && strcmp(found[i].whole.name, found[i + k].whole.name) == 0; k++) {
        }
        TRY(check_parts(&found[i], k, e));
        struct safetensors_tensor *t = &s->tensors[s->n_tensors++];
        *t = (struct safetensors_tensor){.whole = found[i].whole, .n_pieces = k};
        t->pieces = arena_alloc(&s->arena, k * sizeof(*t->pieces));
        for (size_t j = 0; j < k; j++)
            t->pieces[j] = found[i + j].piece;
    }
    return 0;
}

/* ------------------------------------------------------------------ opening */

static int open_files(const char *path, struct safetensors_set *s, struct error *e)
{
    bool alone = file_exists(path);
    int ranks = alone ? 1 : count_ranks(path, &s->arena, e);
    TRY(ranks);
    if (ranks == 0) return error_set(e, "there is no '%s', nor are there parts of it", path);
    s->files = arena_alloc(&s->arena, (size_t)ranks * sizeof(*s->files));
    for (int i = 0; i < ranks; i++) {
        const char *file = alone ? path : safetensors_part_name(&s->arena, path, i, ranks);
        TRY(safetensors_open(file, &s->files[i], e));
        s->n_files++;
    }
    return build(s, e) < 0 ? error_context(e, "%s", path) : 0;
}

int safetensors_set_open(const char *path, struct safetensors_set *s, struct error *e)
{
    *s = (struct safetensors_set){0};
    int rc = open_files(path, s, e);
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

/* What of [first, first + count) lies in a piece. */
static size_t overlap(const struct safetensors_piece *p, size_t first, size_t count, size_t *begin)
{
    *begin = MAX(first, p->first);
    size_t end = MIN(first + count, p->first + p->count);
    return end > *begin ? end - *begin : 0;
}

int safetensors_tensor_read(const struct safetensors_tensor *t, size_t first, size_t count,
                            float *out, struct error *e)
{
    CHECK(first + count <= elements_of(&t->whole));
    for (size_t i = 0; i < t->n_pieces; i++) {
        const struct safetensors_piece *p = &t->pieces[i];
        size_t begin, n = overlap(p, first, count, &begin);
        if (n == 0) continue;
        TRY(safetensors_read_part(p->entry, begin - p->first, n, out + (begin - first), e));
    }
    return 0;
}

void safetensors_tensor_copy(const struct safetensors_tensor *t, size_t first, size_t count,
                             void *out)
{
    CHECK(first + count <= elements_of(&t->whole));
    for (size_t i = 0; i < t->n_pieces; i++) {
        const struct safetensors_piece *p = &t->pieces[i];
        size_t begin, n = overlap(p, first, count, &begin);
        if (n == 0) continue;
        size_t size = p->entry->bytes / p->count;
        memcpy((uint8_t *)out + (begin - first) * size,
               (const uint8_t *)p->entry->data + (begin - p->first) * size, n * size);
    }
}

/* ------------------------------------------------------------------ writing */

struct safetensors_entry safetensors_companion(const struct safetensors_entry *whole, size_t first,
                                               struct arena *a)
{
    int64_t *says = arena_alloc(a, ((size_t)whole->n_dims + 1) * sizeof(*says));
    struct safetensors_entry c = {.dtype = ST_I64, .n_dims = 1, .data = says};
    int n = snprintf(c.name, sizeof(c.name), PREFIX "%s", whole->name);
    CHECK(n > 0 && (size_t)n < sizeof(c.name));
    says[0] = (int64_t)first;
    for (int i = 0; i < whole->n_dims; i++)
        says[i + 1] = whole->shape[i];
    c.shape[0] = whole->n_dims + 1;
    c.bytes = (size_t)c.shape[0] * sizeof(*says);
    return c;
}
