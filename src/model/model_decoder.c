/* model_decoder.c: decoding batches of rows over paged keys and values.
 *
 * A pass takes up to MODEL_DECODER_ROWS rows through the layers (model_block.c) in a slot of the
 * decoder's own. Nothing in it mixes rows but attention, and there a row meets the keys of its own
 * sequence in their order; products for inference give a row the same bits whatever stands beside it
 * (compute.h). That is all that is needed for results that do not depend on batches.
 *
 * A page holds keys and values of COMPUTE_PAGE positions for all layers. Pages are numbered, counted
 * by how many sequences use them, and live in slabs that are mapped when they are first needed and
 * given back with the decoder. A page that is used by one sequence only may be written by it;
 * before a sequence writes to a shared page it takes a copy. */
#include "model/model_internal.h"

#include <string.h>

#define SLAB_BYTES     ((size_t)4 << 20) /* at least, and at least a page */
#define FIRST_ROTATION 256               /* positions in the first table */

struct sequence {
    bool open;
    int64_t length;   /* positions */
    int64_t n, cap;   /* pages */
    int32_t *numbers; /* of its pages */
    void **pages;     /* and where they are */
};

struct page {
    int32_t users;
    int32_t next; /* of the free ones; -1: none */
    void *data;
};

struct model_decoder {
    model_t *m;
    struct model_region regions[REGION_COUNT];
    struct model_slot slot;
    void *x; /* act [MODEL_DECODER_ROWS, D] inputs of the head, of the pass, as all up to runs */
    float *logits;            /* [MODEL_DECODER_ROWS, V] where the device's memory is its own */
    uint32_t *device_tokens;  /* [MODEL_DECODER_ROWS], the same */
    int32_t *device_position; /* [MODEL_DECODER_ROWS], the same */
    uint32_t tokens[MODEL_DECODER_ROWS];
    int32_t position[MODEL_DECODER_ROWS];
    struct compute_paged_run runs[MODEL_DECODER_ROWS];
    float *rope[MODEL_ROTATIONS]; /* of so many positions */
    int64_t rotations;
    size_t page_bytes;
    int64_t pages_per_slab;
    void **slabs;
    size_t n_slabs;
    struct page *pages;
    int64_t n_pages;
    int32_t free; /* the first free page, -1: none */
    int64_t used; /* pages that sequences have */
    struct sequence *sequences;
    int32_t n_sequences;
};

/* ------------------------------------------------------------------ memory */

static void layout(struct model_decoder *d)
{
    const struct model *m = d->m;
    struct model_carver c = {.m = m, .regions = d->regions, .M = MODEL_DECODER_ROWS};
    const int64_t n = MODEL_DECODER_ROWS;
    size_t act = compute_dtype_size(compute_act_dtype(m->compute));
    model_carve_slot(&c, &d->slot);
    d->x = model_carve(&c, REGION_SCRATCH, (size_t)(n * m->dims.D) * act);
    if (!compute_is_host(m->compute)) {
        d->logits = model_carve(&c, REGION_SCRATCH, (size_t)(n * m->dims.V) * sizeof(float));
        d->device_tokens = model_carve(&c, REGION_SCRATCH, sizeof(d->tokens));
        d->device_position = model_carve(&c, REGION_SCRATCH, sizeof(d->position));
    }
    for (int i = 0; i < REGION_COUNT; i++)
        if (!d->regions[i].base) d->regions[i].size = c.used[i];
}

static size_t page_bytes(const struct model *m)
{
    return (size_t)m->dims.L * compute_page_bytes(m->compute, m->dims.K, m->dims.h);
}

size_t model_decoder_bytes(const model_t *m, int64_t positions)
{
    struct model_acts layers[1];
    struct model sketch = *m; /* one layer: they share their arrays */
    sketch.dims.L = 1;
    struct model_decoder d = {.m = &sketch, .slot = {.layers = layers}};
    layout(&d);
    size_t bytes = d.regions[REGION_ACTIVATIONS].size + d.regions[REGION_SCRATCH].size;
    int64_t pages = (positions + COMPUTE_PAGE - 1) / COMPUTE_PAGE;
    size_t rope = compute_rope_table_floats(MAX(positions, FIRST_ROTATION), m->dims.h);
    return bytes + (size_t)pages * page_bytes(m) +
           rope * sizeof(float) * (size_t)model_rotations(&m->config);
}

static void free_rotations(struct model_decoder *d)
{
    size_t bytes = compute_rope_table_floats(d->rotations, d->m->dims.h) * sizeof(float);
    for (int i = 0; i < MODEL_ROTATIONS; i++)
        compute_release(d->m->compute, d->rope[i], bytes);
}

/* Rotations of at least so many positions; false: no memory. */
static bool rotate_to(struct model_decoder *d, int64_t positions)
{
    const struct model *m = d->m;
    if (positions <= d->rotations) return true;
    int64_t n =
        MAX(FIRST_ROTATION, MAX(positions, MIN(2 * d->rotations, m->config.context_length)));
    const size_t bytes = compute_rope_table_floats(n, m->dims.h) * sizeof(float);
    float *made[MODEL_ROTATIONS] = {NULL};
    for (int i = 0; i < model_rotations(&m->config); i++) {
        made[i] = compute_alloc(m->compute, bytes);
        if (made[i]) continue;
        for (; i > 0; i--)
            compute_release(m->compute, made[i - 1], bytes);
        return false;
    }
    free_rotations(d);
    for (int i = 0; i < model_rotations(&m->config); i++) {
        d->rope[i] = made[i];
        model_rope_table(m, i, n, d->rope[i]);
    }
    d->rotations = n;
    return true;
}

int model_decoder_new(model_t *m, model_decoder_t **out, struct error *e)
{
    CHECK_MSG(!m->training && m->has_embedding && m->has_head,
              "a decoder needs a whole model that was made for inference");
    struct model_decoder *d = mem_calloc(1, sizeof(*d));
    d->m = m;
    d->free = -1;
    d->page_bytes = page_bytes(m);
    d->pages_per_slab = (int64_t)MAX(SLAB_BYTES / d->page_bytes, (size_t)1);
    d->slot.layers = mem_calloc((size_t)m->dims.L, sizeof(*d->slot.layers));
    layout(d);
    int rc = model_regions_map(m, d->regions, e);
    if (rc == 0 && !rotate_to(d, FIRST_ROTATION)) rc = error_set(e, "no memory for a decoder");
    if (rc < 0) {
        model_decoder_free(d);
        return rc;
    }
    layout(d);
    *out = d;
    return 0;
}

void model_decoder_free(model_decoder_t *d)
{
    if (!d) return;
    for (int32_t i = 0; i < d->n_sequences; i++) {
        mem_free(d->sequences[i].numbers);
        mem_free(d->sequences[i].pages);
    }
    for (size_t i = 0; i < d->n_slabs; i++)
        compute_release(d->m->compute, d->slabs[i], d->page_bytes * (size_t)d->pages_per_slab);
    model_regions_unmap(d->m, d->regions);
    mem_free(d->slabs);
    mem_free(d->pages);
    mem_free(d->sequences);
    mem_free(d->slot.layers);
    free_rotations(d);
    mem_free(d);
}

/* ------------------------------------------------------------------ pages */

static bool add_slab(struct model_decoder *d)
{
    size_t n = (size_t)d->pages_per_slab;
    char *data = compute_alloc(d->m->compute, d->page_bytes * n);
    if (!data) return false;
    d->slabs = mem_realloc(d->slabs, (d->n_slabs + 1) * sizeof(*d->slabs));
    d->slabs[d->n_slabs++] = data;
    d->pages = mem_realloc(d->pages, ((size_t)d->n_pages + n) * sizeof(*d->pages));
    for (size_t i = n; i-- > 0;) {
        int32_t number = (int32_t)((size_t)d->n_pages + i);
        d->pages[number] = (struct page){.next = d->free, .data = data + i * d->page_bytes};
        d->free = number;
    }
    d->n_pages += (int64_t)n;
    return true;
}

/* A page with one user, or -1 where there is no memory. */
static int32_t take_page(struct model_decoder *d)
{
    if (d->free < 0 && !add_slab(d)) return -1;
    int32_t number = d->free;
    d->free = d->pages[number].next;
    d->pages[number].users = 1;
    d->used++;
    return number;
}

static void release_page(struct model_decoder *d, int32_t number)
{
    struct page *p = &d->pages[number];
    CHECK(p->users > 0);
    if (--p->users > 0) return;
    d->used--;
    p->next = d->free;
    d->free = number;
}

int64_t model_decoder_pages(const model_decoder_t *d)
{
    return d->used;
}

/* ------------------------------------------------------------------ sequences */

static struct sequence *sequence_of(const struct model_decoder *d, int32_t number)
{
    CHECK_MSG(number >= 0 && number < d->n_sequences && d->sequences[number].open,
              "sequence %d is not open", (int)number);
    return &d->sequences[number];
}

static void drop_pages(struct model_decoder *d, struct sequence *s, int64_t keep)
{
    while (s->n > keep)
        release_page(d, s->numbers[--s->n]);
}

int32_t model_sequence_open(model_decoder_t *d)
{
    int32_t i = 0;
    while (i < d->n_sequences && d->sequences[i].open)
        i++;
    if (i == d->n_sequences) {
        d->sequences =
            mem_realloc(d->sequences, ((size_t)++d->n_sequences) * sizeof(*d->sequences));
        d->sequences[i] = (struct sequence){0};
    }
    d->sequences[i].open = true;
    return i;
}

void model_sequence_close(model_decoder_t *d, int32_t sequence)
{
    struct sequence *s = sequence_of(d, sequence);
    drop_pages(d, s, 0);
    s->length = 0;
    s->open = false;
}

int64_t model_sequence_length(const model_decoder_t *d, int32_t sequence)
{
    return sequence_of(d, sequence)->length;
}

static int64_t pages_of(int64_t positions)
{
    return (positions + COMPUTE_PAGE - 1) / COMPUTE_PAGE;
}

static void append_page(struct model_decoder *d, struct sequence *s, int32_t number)
{
    if (s->n == s->cap) {
        s->cap = MAX(8, 2 * s->cap);
        s->numbers = mem_realloc(s->numbers, (size_t)s->cap * sizeof(*s->numbers));
        s->pages = mem_realloc(s->pages, (size_t)s->cap * sizeof(*s->pages));
    }
    s->numbers[s->n] = number;
    s->pages[s->n++] = d->pages[number].data;
}

int32_t model_sequence_fork(model_decoder_t *d, int32_t sequence, int64_t length)
{
    CHECK(length >= 0 && length <= sequence_of(d, sequence)->length);
    int32_t number = model_sequence_open(d);
    const struct sequence *from = sequence_of(d, sequence);
    struct sequence *s = sequence_of(d, number);
    for (int64_t i = 0; i < pages_of(length); i++) {
        d->pages[from->numbers[i]].users++;
        append_page(d, s, from->numbers[i]);
    }
    s->length = length;
    return number;
}

void model_sequence_truncate(model_decoder_t *d, int32_t sequence, int64_t length)
{
    struct sequence *s = sequence_of(d, sequence);
    CHECK(length >= 0 && length <= s->length);
    s->length = length;
}

/* The page that the next position falls into becomes the sequence's own. */
static bool own_next_page(struct model_decoder *d, struct sequence *s)
{
    int64_t at = s->length / COMPUTE_PAGE;
    if (at >= s->n || d->pages[s->numbers[at]].users == 1) return true;
    int32_t copy = take_page(d);
    if (copy < 0) return false;
    compute_copy(d->m->compute, d->pages[copy].data, s->pages[at], d->page_bytes);
    release_page(d, s->numbers[at]);
    s->numbers[at] = copy;
    s->pages[at] = d->pages[copy].data;
    return true;
}

bool model_sequence_reserve(model_decoder_t *d, int32_t sequence, int64_t length)
{
    struct sequence *s = sequence_of(d, sequence);
    int64_t had = s->n, used = pages_of(s->length);
    if (length <= s->length) return true;
    if (!rotate_to(d, length)) return false;
    for (int64_t i = used; i < s->n; i++) /* after a truncation some may be shared still */
        if (d->pages[s->numbers[i]].users > 1) drop_pages(d, s, i);
    had = MIN(had, s->n);
    while (s->n < pages_of(length)) {
        int32_t number = take_page(d);
        if (number < 0) {
            drop_pages(d, s, had);
            return false;
        }
        append_page(d, s, number);
    }
    if (own_next_page(d, s)) return true;
    drop_pages(d, s, had);
    return false;
}

/* ------------------------------------------------------------------ a pass */

/* Rows of a sequence that follow each other become runs; row i + 1 continues row i's run where it is
 * the next position of the same sequence. */
static int64_t make_runs(struct model_decoder *d, const struct model_row *rows, int64_t n)
{
    int64_t n_runs = 0;
    for (int64_t i = 0; i < n; i++) {
        struct compute_paged_run *last = n_runs ? &d->runs[n_runs - 1] : NULL;
        bool follows = i > 0 && rows[i].sequence == rows[i - 1].sequence;
        d->tokens[i] = rows[i].token;
        d->position[i] = (int32_t)rows[i].position;
        if (follows && last->n < COMPUTE_RUN) {
            last->n++;
            continue;
        }
        d->runs[n_runs++] =
            (struct compute_paged_run){.row = i,
                                       .n = 1,
                                       .pos = rows[i].position,
                                       .pages = sequence_of(d, rows[i].sequence)->pages};
    }
    return n_runs;
}

/* At most MODEL_DECODER_ROWS rows through the layers: leaves x_final. */
static void pass_layers(struct model_decoder *d, const struct model_row *rows, int64_t n)
{
    struct model *m = d->m;
    struct model_rows r = {
        .M = n, .T = n, .rope = (const float *const *)d->rope, .own = {0, n}, .runs = d->runs};
    r.n_runs = make_runs(d, rows, n);
    model_check_tokens(m, d->tokens, n);
    r.position = model_to_device(m, d->device_position, d->position, sizeof(d->position));
    const uint32_t *tokens = model_to_device(m, d->device_tokens, d->tokens, sizeof(d->tokens));
    m->router_bias = model_to_device(m, m->device.router_bias, m->host.router_bias,
                                     (size_t)(m->dims.L * m->dims.E) * sizeof(float));
    model_forward_rows(m, &d->slot, &r, tokens, NULL);
}

/* The same and the head; returns how many of them wanted logits. */
static int64_t pass(struct model_decoder *d, const struct model_row *rows, int64_t n, float *logits)
{
    struct model *m = d->m;
    int64_t D = m->dims.D, wanted = 0;
    pass_layers(d, rows, n);
    size_t bytes = (size_t)D * compute_dtype_size(compute_act_dtype(m->compute));
    for (int64_t i = 0; i < n; i++)
        if (rows[i].want_logits)
            compute_copy(m->compute, model_act_at(m, d->x, wanted++ * D),
                         model_act_at(m, d->slot.x_final, i * D), bytes);
    if (wanted == 0) return 0;
    float *to = compute_is_host(m->compute) ? logits : d->logits;
    compute_linear_forward(m->head.linear, (struct compute_rows){.n = wanted}, d->x, to,
                           COMPUTE_F32);
    compute_logits(m->compute, wanted, m->dims.V, (float)m->config.output_multiplier,
                   (float)m->config.final_softcap, to);
    if (to == d->logits)
        compute_download(m->compute, logits, to, (size_t)(wanted * m->dims.V) * sizeof(*to));
    return wanted;
}

/* Positions must follow the sequences' lengths, which count up while the rows are looked at. */
static void check_rows(struct model_decoder *d, const struct model_row *rows, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        struct sequence *s = sequence_of(d, rows[i].sequence);
        CHECK_MSG(rows[i].position == s->length && s->length < INT32_MAX,
                  "position %lld in a sequence of %lld", (long long)rows[i].position,
                  (long long)s->length);
        s->length++;
    }
    for (int64_t i = 0; i < n; i++)
        sequence_of(d, rows[i].sequence)->length--;
}

/* Memory for the rows, or an error; then they are the sequences'. */
static int append_rows(struct model_decoder *d, const struct model_row *rows, int64_t n,
                       struct error *e)
{
    check_rows(d, rows, n);
    /* The last row of a sequence in the call says how far it must reach. */
    for (int64_t i = 0; i < n; i++)
        if (!model_sequence_reserve(d, rows[i].sequence, rows[i].position + 1))
            return error_set(e, "no memory for the keys and values of %lld positions",
                             (long long)(rows[i].position + 1));
    for (int64_t i = 0; i < n; i++)
        sequence_of(d, rows[i].sequence)->length++;
    return 0;
}

int model_decode_rows(model_decoder_t *d, const struct model_row *rows, int64_t n, float *logits,
                      struct error *e)
{
    TRY(append_rows(d, rows, n, e));
    for (int64_t at = 0; at < n; at += MODEL_DECODER_ROWS)
        logits += pass(d, rows + at, MIN(n - at, MODEL_DECODER_ROWS), logits) * d->m->dims.V;
    return 0;
}

int model_decode_states(model_decoder_t *d, const struct model_row *rows, int64_t n, float *states,
                        struct error *e)
{
    int64_t D = d->m->dims.D;
    TRY(append_rows(d, rows, n, e));
    void *acts = mem_alloc((size_t)(MIN(n, MODEL_DECODER_ROWS) * D) * sizeof(float));
    for (int64_t at = 0; at < n; at += MODEL_DECODER_ROWS) {
        int64_t count = MIN(n - at, MODEL_DECODER_ROWS);
        size_t bytes = (size_t)(count * D) * compute_dtype_size(compute_act_dtype(d->m->compute));
        pass_layers(d, rows + at, count);
        compute_download(d->m->compute, acts, d->slot.x_final, bytes);
        for (int64_t i = 0; i < count * D; i++) {
            const void *x = model_act_at(d->m, acts, i);
            states[at * D + i] = compute_act_dtype(d->m->compute) == COMPUTE_F32
                                     ? *(const float *)x
                                     : bf16_load(*(const bf16_t *)x);
        }
    }
    mem_free(acts);
    return 0;
}

/* ------------------------------------------------------------------ one sequence */

struct model_cache {
    model_decoder_t *d;
    int32_t sequence;
    int64_t max_tokens;
};

size_t model_cache_bytes(const model_t *m, int64_t max_tokens)
{
    return model_decoder_bytes(m, max_tokens);
}

model_cache_t *model_cache_new(model_t *m, int64_t max_tokens)
{
    CHECK(max_tokens >= 1);
    struct model_cache *c = mem_calloc(1, sizeof(*c));
    struct error e;
    if (model_decoder_new(m, &c->d, &e) == 0) {
        c->sequence = model_sequence_open(c->d);
        if (model_cache_grow(c, max_tokens)) return c;
    }
    model_cache_free(c);
    return NULL;
}

void model_cache_free(model_cache_t *c)
{
    if (!c) return;
    model_decoder_free(c->d);
    mem_free(c);
}

bool model_cache_grow(model_cache_t *c, int64_t max_tokens)
{
    if (!model_sequence_reserve(c->d, c->sequence, max_tokens)) return false;
    c->max_tokens = MAX(c->max_tokens, max_tokens);
    return true;
}

void model_cache_truncate(model_cache_t *c, int64_t length)
{
    model_sequence_truncate(c->d, c->sequence, length);
}

void model_decode(model_t *m, model_cache_t *c, const uint32_t *tokens, int64_t n, float *logits)
{
    int64_t length = model_sequence_length(c->d, c->sequence);
    struct model_row rows[MODEL_DECODER_ROWS];
    struct error e;
    CHECK(c->d->m == m && n >= 1);
    CHECK_MSG(length + n <= c->max_tokens, "%lld tokens behind %lld in a cache of %lld",
              (long long)n, (long long)length, (long long)c->max_tokens);
    for (int64_t at = 0; at < n; at += MODEL_DECODER_ROWS) {
        int64_t count = MIN(n - at, MODEL_DECODER_ROWS);
        for (int64_t i = 0; i < count; i++)
            rows[i] = (struct model_row){.sequence = c->sequence,
                                         .token = tokens[at + i],
                                         .position = length + at + i,
                                         .want_logits = at + i + 1 == n};
        int rc = model_decode_rows(c->d, rows, count, logits, &e);
        CHECK_MSG(rc == 0, "%s", e.text); /* its pages were reserved */
    }
}
