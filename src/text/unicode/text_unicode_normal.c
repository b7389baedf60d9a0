/* text_unicode_normal.c: Unicode's normal forms, lower case, text without marks.
 *
 * Most characters are their own normal form whatever stands beside them, but for what joins or sorts
 * from behind; a table of one byte a character tells them, and stretches of them are copied. What
 * remains, others behind the last safe character in front of them, is decomposed, sorted by
 * combining class and, for C and KC, composed again (Unicode Standard Annex 15). Hangul syllables
 * are computed (Unicode 16, section 3.12). */
#include "text/unicode/text_unicode_internal.h"

#include <pthread.h>

enum {
    MAPPED_POINTS = 0x30000, /* nothing above decomposes, combines or joins */
    HANGUL_BASE = 0xac00,
    HANGUL_L = 0x1100,
    HANGUL_V = 0x1161,
    HANGUL_T = 0x11a7,
    HANGUL_N_L = 19,
    HANGUL_N_V = 21,
    HANGUL_N_T = 28,
    HANGUL_N = HANGUL_N_L * HANGUL_N_V * HANGUL_N_T,
    POINT_BITS = 21,
    POINT_MASK = (1 << POINT_BITS) - 1
};

/* Bits of `unsafe`: the character changes or joins in the form; 1 << enum unicode_form. */
static uint8_t unsafe[MAPPED_POINTS];
static uint8_t combining[MAPPED_POINTS];

struct composition {
    uint64_t pair; /* first << POINT_BITS | second */
    uint32_t cp;
};
static struct composition *compositions; /* [n_compositions], by pair */
static size_t n_compositions;

/* ------------------------------------------------------------------ tables */

static uint32_t packed_cp(uint64_t packed)
{
    return (uint32_t)(packed >> (2 * POINT_BITS)) & POINT_MASK;
}

static uint32_t packed_part(uint64_t packed, int part)
{
    return (uint32_t)(packed >> (part ? 0 : POINT_BITS)) & POINT_MASK;
}

static const uint64_t *find_packed(const uint64_t *table, size_t n, uint32_t cp)
{
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (packed_cp(table[middle]) < cp)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && packed_cp(table[low]) == cp ? &table[low] : NULL;
}

const struct unicode_shift *unicode_shift_find(const struct unicode_shift *shifts, size_t n,
                                               uint32_t cp)
{
    size_t low = 0, high = n; /* the last that begins at or before cp */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (shifts[middle].first <= cp)
            low = middle + 1;
        else
            high = middle;
    }
    /* Runs of step 2 may interleave. */
    for (size_t i = low; i > 0 && low - i < 3; i--) {
        const struct unicode_shift *s = &shifts[i - 1];
        if (cp <= s->last && (cp - s->first) % s->step == 0) return s;
    }
    return NULL;
}

static void mark(uint32_t cp, unsigned forms)
{
    CHECK(cp < MAPPED_POINTS);
    unsafe[cp] |= (uint8_t)forms;
}

static int compare_compositions(const void *a, const void *b)
{
    const struct composition *x = a, *y = b;
    return (x->pair > y->pair) - (x->pair < y->pair);
}

static void mark_hangul(void)
{
    for (uint32_t cp = HANGUL_BASE; cp < HANGUL_BASE + HANGUL_N; cp++)
        mark(cp, 1 << UNICODE_NFD | 1 << UNICODE_NFKD);
    for (uint32_t cp = HANGUL_V; cp < HANGUL_V + HANGUL_N_V; cp++)
        mark(cp, 1 << UNICODE_NFC | 1 << UNICODE_NFKC);
    for (uint32_t cp = HANGUL_T + 1; cp < HANGUL_T + HANGUL_N_T; cp++)
        mark(cp, 1 << UNICODE_NFC | 1 << UNICODE_NFKC);
}

static void mark_compat(void)
{
    const unsigned compat = 1 << UNICODE_NFKC | 1 << UNICODE_NFKD;
    for (size_t i = 0; i < unicode_compat_single_count; i++) {
        const struct unicode_shift *s = &unicode_compat_single[i];
        for (uint32_t cp = s->first; cp <= s->last; cp += s->step)
            mark(cp, compat);
    }
    for (size_t i = 0; i < unicode_compat_pairs_count; i++)
        mark(packed_cp(unicode_compat_pairs[i]), compat);
    for (size_t i = 0; i < unicode_compat_long_count; i += 1 + (unicode_compat_long[i] >> 24))
        mark(unicode_compat_long[i] & POINT_MASK, compat);
}

static void fill(void)
{
    const unsigned all = 0xf, decomposed = 1 << UNICODE_NFD | 1 << UNICODE_NFKD;
    for (size_t i = 0; i + 1 < unicode_combining_count; i++) {
        uint32_t class = unicode_combining[i] & 0xff;
        for (uint32_t cp = unicode_combining[i] >> 8; cp < unicode_combining[i + 1] >> 8; cp++) {
            combining[cp] = (uint8_t) class;
            if (class) mark(cp, all);
        }
    }
    compositions = mem_alloc(unicode_canonical_count * sizeof(*compositions));
    for (size_t i = 0; i < unicode_canonical_count; i++) {
        uint64_t packed = unicode_canonical[i];
        bool excluded = packed >> 63 != 0;
        mark(packed_cp(packed), excluded ? all : decomposed);
        if (excluded) continue;
        mark(packed_part(packed, 1), all & ~decomposed); /* joins with what stands before it */
        compositions[n_compositions].pair = packed & ((1ull << (2 * POINT_BITS)) - 1);
        compositions[n_compositions++].cp = packed_cp(packed);
    }
    qsort(compositions, n_compositions, sizeof(*compositions), compare_compositions);
    mark_compat();
    mark_hangul();
}

static void tables_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill);
}

/* ------------------------------------------------------------------ normal forms */

struct points {
    uint32_t *cps;
    size_t count, cap;
};

static void push(struct points *p, uint32_t cp)
{
    ARRAY_RESERVE(p->cps, p->cap, p->count + 1);
    p->cps[p->count++] = cp;
}

/* The parts of one step, up to 18; how many, 0 where it does not decompose. */
static size_t decompose_once(uint32_t cp, bool compat, uint32_t parts[18])
{
    const uint64_t *packed = find_packed(unicode_canonical, unicode_canonical_count, cp);
    if (!packed && compat)
        packed = find_packed(unicode_compat_pairs, unicode_compat_pairs_count, cp);
    if (packed) {
        parts[0] = packed_part(*packed, 0);
        parts[1] = packed_part(*packed, 1);
        return parts[1] ? 2 : 1;
    }
    if (!compat) return 0;
    const struct unicode_shift *s =
        unicode_shift_find(unicode_compat_single, unicode_compat_single_count, cp);
    if (s) {
        parts[0] = (uint32_t)((int32_t)cp + s->delta);
        return 1;
    }
    for (size_t i = 0, n; i < unicode_compat_long_count; i += 1 + n) {
        n = unicode_compat_long[i] >> 24;
        if ((unicode_compat_long[i] & POINT_MASK) != cp) continue;
        for (size_t k = 0; k < n; k++)
            parts[k] = unicode_compat_long[i + 1 + k];
        return n;
    }
    return 0;
}

/* Parts decompose again, at most three levels deep. */
static void decompose(struct points *p, uint32_t cp, enum unicode_form form)
{
    bool compat = form == UNICODE_NFKC || form == UNICODE_NFKD;
    uint32_t parts[18];
    if (cp >= HANGUL_BASE && cp < HANGUL_BASE + HANGUL_N) {
        uint32_t index = cp - HANGUL_BASE;
        push(p, HANGUL_L + index / (HANGUL_N_V * HANGUL_N_T));
        push(p, HANGUL_V + index / HANGUL_N_T % HANGUL_N_V);
        if (index % HANGUL_N_T) push(p, HANGUL_T + index % HANGUL_N_T);
        return;
    }
    /* Whatever decomposes is unsafe in the decomposed form. */
    enum unicode_form decomposed = compat ? UNICODE_NFKD : UNICODE_NFD;
    bool changes = cp < MAPPED_POINTS && unsafe[cp] >> decomposed & 1;
    size_t n = changes ? decompose_once(cp, compat, parts) : 0;
    if (!n) push(p, cp);
    for (size_t i = 0; i < n; i++)
        decompose(p, parts[i], form);
}

static uint8_t class_of(uint32_t cp)
{
    return cp < MAPPED_POINTS ? combining[cp] : 0;
}

/* Marks between two starters in the order of their classes; equal ones stay in order. Insertion
 * would take square time for a long run of marks, so runs are sorted by counting. */
static void sort_marks(uint32_t *cps, size_t n, struct points *spare)
{
    size_t starts[257] = {0};
    spare->count = 0;
    for (size_t i = 0; i < n; i++) {
        starts[class_of(cps[i]) + 1]++;
        push(spare, cps[i]);
    }
    for (int i = 0; i < 256; i++)
        starts[i + 1] += starts[i];
    for (size_t i = 0; i < n; i++)
        cps[starts[class_of(spare->cps[i])]++] = spare->cps[i];
}

static void sort_points(struct points *p, struct points *spare)
{
    for (size_t i = 0; i < p->count;) {
        size_t first = i;
        bool sorted = true;
        while (i < p->count && class_of(p->cps[i])) {
            sorted = sorted && (i == first || class_of(p->cps[i - 1]) <= class_of(p->cps[i]));
            i++;
        }
        if (!sorted) sort_marks(p->cps + first, i - first, spare);
        if (i == first) i++;
    }
}

/* The character that the two make, or 0. */
static uint32_t compose_pair(uint32_t first, uint32_t second)
{
    if (first >= HANGUL_L && first < HANGUL_L + HANGUL_N_L && second >= HANGUL_V &&
        second < HANGUL_V + HANGUL_N_V)
        return HANGUL_BASE + ((first - HANGUL_L) * HANGUL_N_V + second - HANGUL_V) * HANGUL_N_T;
    if (first >= HANGUL_BASE && first < HANGUL_BASE + HANGUL_N &&
        (first - HANGUL_BASE) % HANGUL_N_T == 0 && second > HANGUL_T &&
        second < HANGUL_T + HANGUL_N_T)
        return first + second - HANGUL_T;
    if (second >= MAPPED_POINTS || !(unsafe[second] >> UNICODE_NFC & 1)) return 0;
    struct composition key = {.pair = (uint64_t)first << POINT_BITS | second};
    const struct composition *found =
        bsearch(&key, compositions, n_compositions, sizeof(key), compare_compositions);
    return found ? found->cp : 0;
}

/* A character joins with the last starter unless one of the same class, or of a higher one, stands
 * between them and stayed. */
static void compose(struct points *p)
{
    size_t n = 0, starter = SIZE_MAX;
    int last_class = -1; /* of what stayed behind the starter; -1: nothing did */
    for (size_t i = 0; i < p->count; i++) {
        uint32_t cp = p->cps[i];
        int class = class_of(cp);
        if (starter != SIZE_MAX && last_class < class) {
            uint32_t joined = compose_pair(p->cps[starter], cp);
            if (joined) {
                p->cps[starter] = joined;
                continue;
            }
        }
        if (class == 0) {
            starter = n;
            last_class = -1;
        } else {
            last_class = class;
        }
        p->cps[n++] = cp;
    }
    p->count = n;
}

struct normalizer {
    enum unicode_form form;
    struct points points, spare;
    struct str *out;
};

/* text is valid UTF-8. */
static void normalize_piece(struct normalizer *z, const char *text, size_t size)
{
    uint32_t cp;
    z->points.count = 0;
    for (size_t at = 0; at < size;) {
        at += utf8_decode(text + at, size - at, &cp);
        decompose(&z->points, cp, z->form);
    }
    sort_points(&z->points, &z->spare);
    if (z->form == UNICODE_NFC || z->form == UNICODE_NFKC) compose(&z->points);
    for (size_t i = 0; i < z->points.count; i++) {
        char bytes[4];
        str_append(z->out, bytes, utf8_encode(z->points.cps[i], bytes));
    }
}

void unicode_normalize(enum unicode_form form, const char *text, size_t size, struct str *out)
{
    struct normalizer z = {.form = form, .out = out};
    size_t start = 0, base = 0; /* of what is not written yet; of its last safe character */
    bool needed = false;
    tables_ready();
    for (size_t at = 0; at < size;) {
        uint32_t cp;
        size_t n = utf8_decode(text + at, size - at, &cp);
        if (n && cp < MAPPED_POINTS && unsafe[cp] >> form & 1) {
            if (!needed) str_append(out, text + start, base - start);
            if (!needed) start = base;
            needed = true;
            at += n;
            continue;
        }
        if (needed) {
            normalize_piece(&z, text + start, at - start);
            start = at;
            needed = false;
        }
        base = n ? at : at + 1; /* an invalid byte belongs to no piece */
        at += MAX(n, 1);
    }
    if (needed)
        normalize_piece(&z, text + start, size - start);
    else
        str_append(out, text + start, size - start);
    mem_free(z.points.cps);
    mem_free(z.spare.cps);
}

/* ------------------------------------------------------------------ case and marks */

size_t unicode_lower(uint32_t cp, uint32_t to[2])
{
    to[0] = cp;
    if (cp < 0x80) {
        if (cp >= 'A' && cp <= 'Z') to[0] += 0x20;
        return 1;
    }
    if (cp == 0x130) {
        to[0] = 'i';
        to[1] = 0x307;
        return 2;
    }
    const struct unicode_shift *s =
        unicode_shift_find(unicode_lower_shifts, unicode_lower_shifts_count, cp);
    if (s) to[0] = (uint32_t)((int32_t)cp + s->delta);
    return 1;
}

static enum unicode_category category(uint32_t cp)
{
    size_t low = 0, high = unicode_categories_count; /* the last that begins at or before cp */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (unicode_categories[middle] >> 8 <= cp)
            low = middle + 1;
        else
            high = middle;
    }
    return (enum unicode_category)(unicode_categories[low - 1] & 0xff);
}

bool unicode_is_mark(uint32_t cp)
{
    return cp >= 0x300 && unicode_ranges_have(unicode_marks_9, unicode_marks_9_count, cp);
}

bool unicode_is_nonspacing(uint32_t cp)
{
    return unicode_is_mark(cp) && category(cp) == UNICODE_MN;
}

bool unicode_is_control(uint32_t cp)
{
    enum unicode_category c = category(cp);
    return c == UNICODE_CC || c == UNICODE_CF || c == UNICODE_CO || c == UNICODE_CS;
}

bool unicode_is_word(uint32_t cp)
{
    if (cp < 0x80)
        return (cp >= '0' && cp <= '9') || cp == '_' || ((cp | 0x20) >= 'a' && (cp | 0x20) <= 'z');
    enum unicode_category c = category(cp);
    return (c >= UNICODE_LL && c <= UNICODE_NL) || c == UNICODE_PC || cp == 0x200c ||
           cp == 0x200d ||
           unicode_ranges_have(unicode_other_alphabetic, unicode_other_alphabetic_count, cp);
}
