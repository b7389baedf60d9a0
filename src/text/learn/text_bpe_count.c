/* text_bpe_count.c: the words of a corpus and how often each occurs.
 *
 * Documents are gathered into batches of 64 MiB; a batch is cut into slices of about 1 MiB (whole
 * documents, and large documents at places where no word is cut); slices are counted in parallel,
 * each into a table of its own, and the tables are added to the whole in the order of the slices.
 * Batches and slices depend on the corpus alone, so the result, the order of words included, is the
 * same for any number of threads.
 *
 * Memory is bounded: one batch, the slices' tables, and at most max_words distinct words; when a
 * batch leaves more, the rarest are dropped until half are left. */
#include "text/learn/text_learn_internal.h"

#define BATCH_BYTES    ((size_t)64 << 20)
#define SLICE_BYTES    ((size_t)1 << 20)
#define WORDS_MAX      ((size_t)16 << 20)
#define WORD_MAX_BYTES 4096 /* longer words are cut: merging one is quadratic in its length */

/* ------------------------------------------------------------------ tables of words */

void bpe_words_fini(struct bpe_words *w)
{
    mem_free(w->items);
    str_fini(&w->bytes);
    mem_free(w->slots);
    *w = (struct bpe_words){0};
}

void bpe_words_clear(struct bpe_words *w)
{
    w->count = w->bytes.len = 0;
    if (w->slots) memset(w->slots, 0, (w->slot_mask + 1) * sizeof(*w->slots));
}

/* The slot of the word, or the empty one where it belongs. */
static uint32_t *word_slot(const struct bpe_words *w, const char *bytes, size_t size, uint64_t hash)
{
    for (size_t i = hash & w->slot_mask;; i = (i + 1) & w->slot_mask) {
        uint32_t *slot = &w->slots[i];
        if (!*slot) return slot;
        const struct bpe_word *word = &w->items[*slot - 1];
        if (word->hash == hash && word->size == size &&
            bytes_equal(w->bytes.data + word->offset, bytes, size))
            return slot;
    }
}

/* Hashes are kept with the words, so nothing is hashed again. */
static void rehash(struct bpe_words *w, size_t n_slots)
{
    mem_free(w->slots);
    w->slots = mem_calloc(n_slots, sizeof(*w->slots));
    w->slot_mask = n_slots - 1;
    for (size_t i = 0; i < w->count; i++) {
        const struct bpe_word *word = &w->items[i];
        *word_slot(w, w->bytes.data + word->offset, word->size, word->hash) = (uint32_t)i + 1;
    }
}

static void words_insert(struct bpe_words *w, const char *bytes, size_t size, uint64_t hash,
                         uint64_t n)
{
    if (!w->slots || 2 * w->count > w->slot_mask)
        rehash(w, w->slots ? 2 * (w->slot_mask + 1) : 4096);
    uint32_t *slot = word_slot(w, bytes, size, hash);
    if (*slot) {
        w->items[*slot - 1].n += n;
        return;
    }
    ARRAY_RESERVE(w->items, w->cap, w->count + 1);
    w->items[w->count++] = (struct bpe_word){hash, w->bytes.len, n, (uint32_t)size};
    str_append(&w->bytes, bytes, size);
    *slot = (uint32_t)w->count;
}

/* XXH3, not the fast hash of short words: a corpus may be hostile and this table grows with it. */
void bpe_words_add(struct bpe_words *w, const char *bytes, size_t size, uint64_t n)
{
    while (size > WORD_MAX_BYTES) {
        words_insert(w, bytes, WORD_MAX_BYTES, hash_xxh3(bytes, WORD_MAX_BYTES), n);
        bytes += WORD_MAX_BYTES;
        size -= WORD_MAX_BYTES;
    }
    if (size) words_insert(w, bytes, size, hash_xxh3(bytes, size), n);
}

/* Drops the words that occur least until at most `keep` are left; the others stay in order. */
static void words_prune(struct bpe_words *w, size_t keep)
{
    size_t before = w->count;
    uint64_t limit = 0, least = 1;
    while (w->count > keep) {
        size_t n = 0, at = 0;
        limit = least;
        least = UINT64_MAX;
        for (size_t i = 0; i < w->count; i++) {
            struct bpe_word word = w->items[i];
            if (word.n <= limit) continue;
            least = MIN(least, word.n);
            memmove(w->bytes.data + at, w->bytes.data + word.offset, word.size);
            word.offset = at;
            at += word.size;
            w->items[n++] = word;
        }
        w->count = n;
        w->bytes.len = at;
    }
    rehash(w, w->slot_mask + 1);
    log_info("dropped %zu of %zu distinct words that occurred at most %llu times",
             before - w->count, before, (unsigned long long)limit);
}

/* ------------------------------------------------------------------ batches */

struct slice {
    size_t first, size; /* in the batch's text */
};

struct batch {
    const struct pretoken *pretoken;
    struct str text;      /* all documents of the batch, one behind the other */
    struct slice *slices; /* documents or parts of one, in order */
    size_t n_slices, slice_cap;
    size_t *tasks; /* [n_tasks + 1] first slice of each */
    size_t n_tasks, task_cap;
    struct bpe_words *tables; /* [table_cap] one per task, kept between batches */
    size_t table_cap;
    struct pretoken_scratch *scratches; /* one per thread */
};

static void batch_add_slice(struct batch *b, size_t first, size_t size)
{
    ARRAY_RESERVE(b->slices, b->slice_cap, b->n_slices + 1);
    b->slices[b->n_slices++] = (struct slice){first, size};
}

/* Appends a document, in parts where it may be cut. */
static void batch_add(struct batch *b, const char *text, size_t size)
{
    size_t base = b->text.len, start = 0;
    str_append(&b->text, text, size);
    for (size_t at = SLICE_BYTES; at < size; at++) {
        const char *newline = memchr(text + at, '\n', size - at - 1);
        if (!newline) break;
        at = (size_t)(newline - text) + 1;
        if (!pretoken_can_cut(b->pretoken, text, at)) continue;
        batch_add_slice(b, base + start, at - start);
        start = at;
        at += SLICE_BYTES;
    }
    batch_add_slice(b, base + start, size - start);
}

/* Groups slices into tasks of SLICE_BYTES or more. */
static void batch_plan(struct batch *b)
{
    size_t bytes = SLICE_BYTES;
    b->n_tasks = 0;
    for (size_t i = 0; i < b->n_slices; i++) {
        if (bytes >= SLICE_BYTES) {
            ARRAY_RESERVE(b->tasks, b->task_cap, b->n_tasks + 1);
            b->tasks[b->n_tasks++] = i;
            bytes = 0;
        }
        bytes += b->slices[i].size;
    }
    ARRAY_RESERVE(b->tasks, b->task_cap, b->n_tasks + 1);
    b->tasks[b->n_tasks] = b->n_slices; /* where the last task ends */
    ARRAY_RESERVE_ZEROED(b->tables, b->table_cap, b->n_tasks);
}

static void count_word(void *ctx, const char *word, size_t size)
{
    bpe_words_add(ctx, word, size, 1);
}

static void count_task(void *ctx, size_t task, int thread)
{
    struct batch *b = ctx;
    struct bpe_words *table = &b->tables[task];
    bpe_words_clear(table);
    for (size_t i = b->tasks[task]; i < b->tasks[task + 1]; i++)
        pretoken_split(b->pretoken, &b->scratches[thread], b->text.data + b->slices[i].first,
                       b->slices[i].size, count_word, table);
}

/* Counts the batch into words and empties it. */
static void batch_count(struct batch *b, struct pool *pool, size_t max_words,
                        struct bpe_words *words)
{
    batch_plan(b);
    pool_run(pool, b->n_tasks, count_task, b);
    for (size_t task = 0; task < b->n_tasks; task++) {
        const struct bpe_words *table = &b->tables[task];
        for (size_t i = 0; i < table->count; i++) {
            const struct bpe_word *word = &table->items[i];
            words_insert(words, table->bytes.data + word->offset, word->size, word->hash, word->n);
        }
    }
    if (words->count > max_words) words_prune(words, max_words / 2);
    str_clear(&b->text);
    b->n_slices = 0;
}

static void batch_init(struct batch *b, const struct pretoken *pretoken, struct pool *pool)
{
    *b = (struct batch){.pretoken = pretoken};
    b->scratches = mem_calloc((size_t)pool_threads(pool), sizeof(*b->scratches));
    for (int i = 0; i < pool_threads(pool); i++)
        pretoken_scratch_init(&b->scratches[i], pretoken);
}

static void batch_fini(struct batch *b, struct pool *pool)
{
    for (int i = 0; i < pool_threads(pool); i++)
        pretoken_scratch_fini(&b->scratches[i]);
    for (size_t i = 0; i < b->table_cap; i++)
        bpe_words_fini(&b->tables[i]);
    mem_free(b->scratches);
    mem_free(b->tables);
    mem_free(b->tasks);
    mem_free(b->slices);
    str_fini(&b->text);
}

/* ------------------------------------------------------------------ the corpus */

/* Reads the corpus batch by batch until its end or max_bytes of text. */
static int count_documents(struct corpus *corpus, const struct tokenizer_train_options *o,
                           size_t max_words, struct bpe_words *words, struct batch *b,
                           struct error *e)
{
    struct corpus_document doc;
    struct progress progress;
    int rc = 1;
    uint64_t limit = o->max_bytes ? o->max_bytes : UINT64_MAX, text_bytes = 0;
    progress_init(&progress, "count words", "B", (double)corpus_bytes_total(corpus));
    while (text_bytes < limit && (rc = corpus_next(corpus, &doc, e)) > 0) {
        size_t size = (size_t)MIN(doc.size, limit - text_bytes);
        text_bytes += size;
        if (size) batch_add(b, doc.text, size);
        if (b->text.len < BATCH_BYTES) continue;
        batch_count(b, o->pool, max_words, words);
        if (o->show_progress) progress_update(&progress, (double)corpus_bytes_read(corpus));
    }
    if (rc < 0) return rc;
    batch_count(b, o->pool, max_words, words);
    if (o->show_progress) progress_fini(&progress, (double)corpus_bytes_read(corpus));
    return 0;
}

int bpe_count_words(const struct corpus_options *corpus, const struct pretoken *pretoken,
                    const struct tokenizer_train_options *o, size_t max_words,
                    struct bpe_words *words, struct error *e)
{
    struct corpus *c;
    struct batch b;
    TRY(corpus_open(corpus, &c, e));
    batch_init(&b, pretoken, o->pool);
    int rc = count_documents(c, o, max_words ? max_words : WORDS_MAX, words, &b, e);
    batch_fini(&b, o->pool);
    corpus_close(c);
    return rc;
}
