/* text_bpe_train.c: learning a byte-level BPE vocabulary (Sennrich et al., ACL 2016).
 *
 * The most frequent pair of neighbouring tokens becomes a new token, again and again. Counting all
 * pairs anew for every merge would be hopeless; instead every pair keeps its count and the list of
 * words in which it occurs (or once did), a merge visits only those words, and a heap gives the
 * most frequent pair. Counts in the heap may be out of date; one that is goes back in with its
 * true count when it comes up. A list may name a word that no longer holds the pair; visiting it
 * finds nothing.
 *
 * The order is fixed: the higher count, then the smaller pair of ids, which is also what Hugging
 * Face's trainer does, so both learn the same merges from the same words (a test compares them).
 * Merging stops early when no pair occurs twice.
 *
 * Memory, per distinct word of n bytes: 4 n for its tokens, about 6 n for the lists. */
#include "text/learn/text_learn_internal.h"

#define PAIR_NONE       UINT32_MAX
#define TOKEN_MAX_BYTES 256 /* pairs that would give more are left alone */
#define LIST_WORDS      7

/* Words of a pair, in pieces of one half cache line. */
struct list {
    uint32_t words[LIST_WORDS];
    uint32_t next; /* index of the piece before, or PAIR_NONE */
};

struct pair {
    uint32_t left, right;
    int64_t count;       /* occurrences in the corpus now */
    uint32_t list;       /* newest piece */
    uint32_t list_used;  /* words in it; all older pieces are full */
    uint32_t changed_by; /* number of the merge that last raised the count */
    bool merged;
};

struct trainer {
    struct bpe_learned *learned;
    const struct bpe_words *words;
    /* A word's tokens begin where its bytes do, as they are its bytes at first; merging leaves gaps
     * behind them. */
    uint32_t *tokens;
    uint32_t *sizes; /* how many tokens each word has left */
    struct pair *pairs;
    size_t n_pairs, pair_cap;
    struct table index; /* table_pair(left, right) to the place in pairs */
    struct list *lists;
    size_t n_lists, list_cap;
    struct heap heap;  /* the highest count first, then the smaller pair of ids */
    uint32_t *changed; /* pairs whose count went up in this merge */
    size_t n_changed, changed_cap;
    uint32_t round;         /* number of this merge, from 1 */
    struct match_set known; /* the bytes of every token */
};

/* ------------------------------------------------------------------ the vocabulary */

void bpe_learned_fini(struct bpe_learned *l)
{
    mem_free(l->tokens);
    str_fini(&l->bytes);
    mem_free(l->merges);
    *l = (struct bpe_learned){0};
}

uint32_t bpe_learned_add(struct bpe_learned *l, const char *bytes, size_t size)
{
    ARRAY_RESERVE(l->tokens, l->token_cap, l->n_tokens + 1);
    l->tokens[l->n_tokens] = (struct bpe_token){l->bytes.len, (uint32_t)size};
    str_append(&l->bytes, bytes, size);
    return (uint32_t)l->n_tokens++;
}

/* The order of merges is their rank: encoding applies the earliest first. */
static void add_merge(struct bpe_learned *l, uint32_t left, uint32_t right)
{
    ARRAY_RESERVE(l->merges, l->merge_cap, l->n_merges + 1);
    l->merges[l->n_merges][0] = left;
    l->merges[l->n_merges++][1] = right;
}

/* The id of the token with these bytes, or TOKENIZER_NONE. */
static uint32_t known_id(const struct trainer *t, const char *bytes, size_t size)
{
    uint32_t id = TOKENIZER_NONE;
    return match_set_find(&t->known, bytes, size, &id) == size ? id : TOKENIZER_NONE;
}

/* ------------------------------------------------------------------ pairs */

/* The pair's place, made where it is new. Pairs never go away; one without occurrences stays at
 * 0. */
static uint32_t pair_of(struct trainer *t, uint32_t left, uint32_t right)
{
    uint64_t *at = table_put(&t->index, table_pair(left, right));
    if (*at == TABLE_NONE) {
        CHECK(t->n_pairs < PAIR_NONE);
        ARRAY_RESERVE(t->pairs, t->pair_cap, t->n_pairs + 1);
        t->pairs[t->n_pairs] =
            (struct pair){.left = left, .right = right, .list = PAIR_NONE, .list_used = LIST_WORDS};
        *at = t->n_pairs++;
    }
    return (uint32_t)*at;
}

/* Notes that the pair occurs in the word; a word that was noted last is not noted again. */
static void pair_note(struct trainer *t, uint32_t pair, uint32_t word)
{
    struct pair *p = &t->pairs[pair];
    if (p->list != PAIR_NONE && t->lists[p->list].words[p->list_used - 1] == word) return;
    if (p->list_used == LIST_WORDS) {
        ARRAY_RESERVE(t->lists, t->list_cap, t->n_lists + 1);
        CHECK(t->n_lists < PAIR_NONE);
        t->lists[t->n_lists].next = p->list;
        p->list = (uint32_t)t->n_lists++;
        p->list_used = 0;
    }
    t->lists[p->list].words[p->list_used++] = word;
}

/* One more place in the word where the pair stands. A pair whose count rose is entered into the
 * heap anew after the merge, once however often it rose. */
static void pair_gain(struct trainer *t, uint32_t left, uint32_t right, uint32_t word)
{
    uint32_t pair = pair_of(t, left, right);
    t->pairs[pair].count += (int64_t)t->words->items[word].n;
    pair_note(t, pair, word);
    if (t->pairs[pair].changed_by == t->round) return;
    t->pairs[pair].changed_by = t->round;
    ARRAY_RESERVE(t->changed, t->changed_cap, t->n_changed + 1);
    t->changed[t->n_changed++] = pair;
}

/* Nothing is entered: a count that fell is corrected when its old entry comes up. */
static void pair_lose(struct trainer *t, uint32_t left, uint32_t right, uint32_t word)
{
    t->pairs[pair_of(t, left, right)].count -= (int64_t)t->words->items[word].n;
}

/* ------------------------------------------------------------------ heap */

static void push_pair(struct trainer *t, const struct pair *p)
{
    heap_push(&t->heap,
              (struct heap_entry){UINT64_MAX - (uint64_t)p->count, table_pair(p->left, p->right)});
}

/* Ends a round; the rounds' numbers say which pairs are in `changed` already. */
static void push_changed(struct trainer *t)
{
    for (size_t i = 0; i < t->n_changed; i++)
        if (t->pairs[t->changed[i]].count > 0) push_pair(t, &t->pairs[t->changed[i]]);
    t->n_changed = 0;
    t->round++;
}

/* ------------------------------------------------------------------ merging */

/* Words to tokens of one byte, and all their pairs. */
static void count_pairs(struct trainer *t)
{
    const struct bpe_words *w = t->words;
    t->tokens = mem_alloc(w->bytes.len * sizeof(*t->tokens));
    t->sizes = mem_alloc(w->count * sizeof(*t->sizes));
    uint32_t byte_ids[256];
    for (int i = 0; i < 256; i++)
        byte_ids[i] = known_id(t, &(char){(char)i}, 1);
    for (size_t i = 0; i < w->bytes.len; i++)
        t->tokens[i] = byte_ids[(uint8_t)w->bytes.data[i]];
    for (size_t i = 0; i < w->count; i++) {
        const uint32_t *tokens = t->tokens + w->items[i].offset;
        t->sizes[i] = w->items[i].size;
        for (uint32_t k = 0; k + 1 < t->sizes[i]; k++)
            pair_gain(t, tokens[k], tokens[k + 1], (uint32_t)i);
    }
    push_changed(t);
}

/* Replaces the pair in one word, from the left, and keeps the counts of its neighbours true. */
static void merge_in_word(struct trainer *t, uint32_t word, uint32_t left, uint32_t right,
                          uint32_t joined)
{
    uint32_t *tokens = t->tokens + t->words->items[word].offset;
    uint32_t n = t->sizes[word], out = 0;
    for (uint32_t i = 0; i < n; i++, out++) {
        if (i + 1 >= n || tokens[i] != left || tokens[i + 1] != right) {
            tokens[out] = tokens[i];
            continue;
        }
        pair_lose(t, left, right, word);
        if (out > 0) {
            pair_lose(t, tokens[out - 1], left, word);
            pair_gain(t, tokens[out - 1], joined, word);
        }
        if (i + 2 < n) {
            pair_lose(t, right, tokens[i + 2], word);
            pair_gain(t, joined, tokens[i + 2], word);
        }
        tokens[out] = joined;
        i++;
    }
    t->sizes[word] = out;
}

static void merge_everywhere(struct trainer *t, uint32_t pair, uint32_t joined)
{
    uint32_t left = t->pairs[pair].left, right = t->pairs[pair].right;
    uint32_t used = t->pairs[pair].list_used;
    for (uint32_t list = t->pairs[pair].list; list != PAIR_NONE; list = t->lists[list].next) {
        for (uint32_t i = used; i-- > 0;)
            merge_in_word(t, t->lists[list].words[i], left, right, joined);
        used = LIST_WORDS;
    }
    push_changed(t);
}

/* The id of what the pair gives: of the token that is there already under these bytes, or of a new
 * one. TOKENIZER_NONE: the pair must not be merged, it would spell a special token or be too
 * long. */
static uint32_t join_tokens(struct trainer *t, uint32_t left, uint32_t right)
{
    struct bpe_learned *l = t->learned;
    struct bpe_token a = l->tokens[left], b = l->tokens[right];
    char bytes[TOKEN_MAX_BYTES];
    if (a.size + b.size > sizeof(bytes)) return TOKENIZER_NONE;
    memcpy(bytes, l->bytes.data + a.offset, a.size);
    memcpy(bytes + a.size, l->bytes.data + b.offset, b.size);
    uint32_t id = known_id(t, bytes, a.size + b.size);
    if (id < l->n_special) return TOKENIZER_NONE;
    if (id == TOKENIZER_NONE) {
        id = bpe_learned_add(l, bytes, a.size + b.size);
        match_set_add(&t->known, bytes, a.size + b.size, id);
    }
    return id;
}

/* The next pair to merge, or PAIR_NONE when no pair occurs twice. */
static uint32_t next_pair(struct trainer *t)
{
    while (t->heap.count) {
        struct heap_entry top = heap_pop(&t->heap);
        uint32_t pair = (uint32_t)table_slot(&t->index, top.tie)->value;
        int64_t count = t->pairs[pair].count, then = (int64_t)(UINT64_MAX - top.order);
        if (count == then) return count >= 2 ? pair : PAIR_NONE;
        if (count > 0 && count < then) push_pair(t, &t->pairs[pair]);
    }
    return PAIR_NONE;
}

/* A special token is known under the bytes that its name would stand for in tokenizer.json. */
static void know_tokens(struct trainer *t)
{
    const struct bpe_learned *l = t->learned;
    struct str bytes = {0};
    for (size_t i = 0; i < l->n_tokens; i++) {
        const char *text = l->bytes.data + l->tokens[i].offset;
        size_t size = l->tokens[i].size;
        if (i >= l->n_special)
            match_set_add(&t->known, text, size, (uint32_t)i);
        else if (tokenizer_chars_to_bytes(text, size, &bytes))
            match_set_add(&t->known, bytes.data, bytes.len, (uint32_t)i);
    }
    str_fini(&bytes);
}

void bpe_learn(struct bpe_learned *l, const struct bpe_words *words, uint32_t vocab_size,
               bool show_progress)
{
    struct trainer t = {.learned = l, .words = words, .round = 1};
    struct progress progress;
    size_t first = l->n_tokens;
    know_tokens(&t);
    count_pairs(&t);
    if (show_progress)
        progress_init(&progress, "learn merges", "merges", vocab_size - (double)first);
    for (uint32_t pair; l->n_tokens < vocab_size && (pair = next_pair(&t)) != PAIR_NONE;) {
        uint32_t left = t.pairs[pair].left, right = t.pairs[pair].right;
        uint32_t joined = join_tokens(&t, left, right);
        if (joined == TOKENIZER_NONE) continue;
        /* A token found again under another pair can bring a pair back that was merged before. */
        if (!t.pairs[pair].merged) add_merge(l, left, right);
        t.pairs[pair].merged = true;
        merge_everywhere(&t, pair, joined);
        if (show_progress && l->n_merges % 64 == 0)
            progress_update(&progress, (double)(l->n_tokens - first));
    }
    if (show_progress) progress_fini(&progress, (double)(l->n_tokens - first));
    match_set_fini(&t.known);
    mem_free(t.tokens);
    mem_free(t.sizes);
    mem_free(t.pairs);
    table_fini(&t.index);
    mem_free(t.lists);
    heap_fini(&t.heap);
    mem_free(t.changed);
}
