/* text_pretoken_stage.c: what one stage of a pre-tokenizer does to text.
 *
 * Most stages find matches and cut around them; what becomes of a match is Hugging Face's
 * SplitDelimiterBehavior, done on the fly with one part held back. Others change the text. Behind
 * BYTES the text is the characters that stand for bytes, so that stages see what they see there;
 * words are handed out as the bytes. */
#include "text/tokenizer/text_tokenizer_internal.h"

/* ------------------------------------------------------------------ behaviours */

struct cutter {
    struct pretoken_split *s;
    int stage;
    const char *text;
    enum pretoken_behavior behavior;
    bool invert;
    bool held, previous; /* a part waits; the one before was a match */
    size_t first, last;  /* of what waits */
};

static void hand_on(struct cutter *c, size_t first, size_t last)
{
    if (last > first) pretoken_run_stage(c->s, c->stage + 1, c->text + first, last - first);
}

static void release(struct cutter *c)
{
    if (c->held) hand_on(c, c->first, c->last);
    c->held = false;
}

static void hold(struct cutter *c, size_t first, size_t last)
{
    c->held = true;
    c->first = first;
    c->last = last;
}

/* A part of the text, in order; matches may be empty and still keep their neighbours apart. */
static void part(struct cutter *c, size_t first, size_t last, bool match)
{
    bool joins = false;
    match = match != c->invert;
    switch (c->behavior) {
    case PRETOKEN_ISOLATED: hand_on(c, first, last); return;
    case PRETOKEN_REMOVED:
        if (!match) hand_on(c, first, last);
        return;
    case PRETOKEN_WITH_PREVIOUS: joins = match && !c->previous; break;
    case PRETOKEN_WITH_NEXT: joins = !match && c->previous; break;
    case PRETOKEN_CONTIGUOUS: joins = match == c->previous; break;
    }
    c->previous = match;
    if (joins && c->held) {
        c->last = last;
        return;
    }
    release(c);
    hold(c, first, last);
}

/* ------------------------------------------------------------------ matches */

static void cut_by_pattern(struct cutter *c, const struct pattern *p, size_t size)
{
    struct pattern_scan scan = {.text = c->text, .size = size};
    struct pattern_match m;
    size_t done = 0;
    while (pattern_next(p, &c->s->scratch->work, &scan, &m) > 0) {
        size_t first = MAX(m.first, done);
        if (first > done) part(c, done, first, false);
        part(c, first, m.last, true);
        done = m.last;
    }
    if (done < size) part(c, done, size, false);
    release(c);
}

static void cut_by_characters(struct cutter *c, const struct pattern_test *t, size_t size)
{
    size_t done = 0;
    for (size_t at = 0, n; at < size; at += n) {
        uint32_t cp;
        n = utf8_decode(c->text + at, size - at, &cp);
        if (!pattern_test_point(t, cp)) continue;
        if (at > done) part(c, done, at, false);
        part(c, at, at + n, true);
        done = at + n;
    }
    if (done < size) part(c, done, size, false);
    release(c);
}

static void cut_by_scanner(struct cutter *c, const struct pretoken_stage *stage, size_t size)
{
    const uint8_t *classes = pretoken_classes();
    for (size_t at = 0; at < size;) {
        size_t end = pretoken_scan(stage, classes, c->text, size, at);
        hand_on(c, at, end);
        at = end;
    }
}

static void cut_by_length(struct cutter *c, size_t length, size_t size)
{
    for (size_t at = 0, first = 0; first < size; first = at) {
        for (size_t n = 0; n < length && at < size; n++)
            at += utf8_decode(c->text + at, size - at, NULL);
        hand_on(c, first, at);
    }
}

/* ------------------------------------------------------------------ changes */

static void add_prefix(struct cutter *c, size_t size)
{
    if (c->text[0] == ' ') {
        hand_on(c, 0, size);
        return;
    }
    char *changed = arena_alloc(&c->s->scratch->arena, size + 1);
    changed[0] = ' ';
    memcpy(changed + 1, c->text, size);
    c->text = changed;
    hand_on(c, 0, size + 1);
}

static void change_spaces(struct cutter *c, const struct pretoken_stage *stage, size_t size)
{
    char mark[4];
    size_t n = utf8_encode(stage->replacement, mark), out = 0;
    bool begins = c->text[0] == ' ' || (size >= n && memcmp(c->text, mark, n) == 0);
    bool prepends = stage->prepend == PRETOKEN_PREPEND_ALWAYS ||
                    (stage->prepend == PRETOKEN_PREPEND_FIRST && c->text == c->s->begin);
    char *changed = arena_alloc(&c->s->scratch->arena, n * (size + 1));
    if (prepends && !begins) {
        memcpy(changed, mark, n);
        out = n;
    }
    for (size_t i = 0; i < size; i++) {
        if (c->text[i] == ' ') {
            memcpy(changed + out, mark, n);
            out += n;
        } else {
            changed[out++] = c->text[i];
        }
    }
    c->text = changed;
    hand_on(c, 0, out);
}

static void map_bytes(struct cutter *c, size_t size)
{
    char *mapped = arena_alloc(&c->s->scratch->arena, 2 * size);
    size_t out = 0;
    for (size_t i = 0; i < size; i++)
        out += utf8_encode(tokenizer_byte_char((uint8_t)c->text[i]), mapped + out);
    c->s->raw = c->text;
    c->s->mapped = mapped;
    c->text = mapped;
    hand_on(c, 0, out);
    c->s->raw = c->s->mapped = NULL;
}

/* The bytes of characters, each of which stands for one; words come in order. */
static size_t count_characters(const char *from, const char *to)
{
    size_t n = 0;
    for (; from < to; from++)
        n += ((uint8_t)*from & 0xc0) != 0x80;
    return n;
}

static void hand_out(struct pretoken_split *s, const char *word, size_t size)
{
    if (!s->mapped) {
        s->fn(s->ctx, word, size);
        return;
    }
    const char *raw = s->raw + count_characters(s->mapped, word);
    size_t n = count_characters(word, word + size);
    s->raw = raw + n;
    s->mapped = word + size;
    s->fn(s->ctx, raw, n);
}

/* At most PRETOKEN_MAX_STAGES deep. */
void pretoken_run_stage(struct pretoken_split *s, int stage, const char *text, size_t size)
{
    if (stage == s->p->n_stages) {
        hand_out(s, text, size);
        return;
    }
    const struct pretoken_stage *now = &s->p->stages[stage];
    struct cutter c = {s, stage, text, now->behavior, now->invert, .first = 0};
    switch (now->scanner) {
    case PRETOKEN_PATTERN: cut_by_pattern(&c, now->pattern, size); break;
    case PRETOKEN_CHARACTERS: cut_by_characters(&c, now->test, size); break;
    case PRETOKEN_GPT2:
    case PRETOKEN_GPT4:
    case PRETOKEN_DIGITS: cut_by_scanner(&c, now, size); break;
    case PRETOKEN_LENGTH: cut_by_length(&c, now->digits, size); break;
    case PRETOKEN_PREFIX: add_prefix(&c, size); break;
    case PRETOKEN_METASPACE: change_spaces(&c, now, size); break;
    case PRETOKEN_BYTES: map_bytes(&c, size); break;
    }
}
