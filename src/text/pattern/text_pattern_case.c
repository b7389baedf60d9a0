/* text_pattern_case.c: (?i), by Unicode's case folding.
 *
 * Two characters are equal where they fold to the same one. Oniguruma goes further: a character
 * that folds to several, as U+00DF to "ss", equals these in a row, wherever a pattern has one or the
 * other as neighbouring characters; and a class that has one takes the several, too. So a row of
 * characters becomes a tree of alternatives here. For a text only one of them can match, so their
 * order decides nothing. Rust knows nothing of several. */
#include "text/pattern/text_pattern_internal.h"

/* Of alternatives in one row: each doubles what is behind it. */
#define MAX_LONG 6

static void add_equals(struct unicode_set *s, uint32_t cp)
{
    uint32_t to[UNICODE_MAX_FOLD];
    unicode_set_add(s, cp, cp);
    if (unicode_case_fold(cp, to) != 1) return;
    unicode_set_add(s, to[0], to[0]);
    for (size_t i = 0; i < unicode_fold_shifts_count; i++) {
        const struct unicode_shift *f = &unicode_fold_shifts[i];
        int64_t from = (int64_t)to[0] - f->delta;
        if (from >= f->first && from <= f->last && ((uint32_t)from - f->first) % f->step == 0)
            unicode_set_add(s, (uint32_t)from, (uint32_t)from);
    }
}

/* What folds to the same several characters. */
static void add_long_equals(struct unicode_set *s, const struct unicode_long_fold *fold)
{
    for (size_t i = 0; i < unicode_long_fold_count; i++)
        if (memcmp(unicode_long_fold[i].to, fold->to, sizeof(fold->to)) == 0)
            unicode_set_add(s, unicode_long_fold[i].cp, unicode_long_fold[i].cp);
}

static const struct unicode_long_fold *long_fold(uint32_t cp)
{
    for (size_t i = 0; i < unicode_long_fold_count; i++)
        if (unicode_long_fold[i].cp == cp) return &unicode_long_fold[i];
    return NULL;
}

static size_t fold_size(const struct unicode_long_fold *fold)
{
    return fold->to[2] ? 3 : 2;
}

/* Closed under "differs by case": for every fold, all or none that share it. */
void pattern_case_close(struct unicode_set *s)
{
    struct unicode_set more = {0};
    for (size_t i = 0; i < unicode_fold_shifts_count; i++) {
        const struct unicode_shift *f = &unicode_fold_shifts[i];
        for (uint32_t cp = f->first; cp <= f->last; cp += f->step) {
            uint32_t to = (uint32_t)((int32_t)cp + f->delta);
            struct unicode_set equal = {0};
            bool any = unicode_set_has(s, cp) || unicode_set_has(s, to);
            add_equals(&equal, cp);
            for (size_t k = 0; k < equal.count && !any; k++)
                for (uint32_t c = equal.ranges[k].first; c <= equal.ranges[k].last; c++)
                    any = any || unicode_set_has(s, c);
            if (any) unicode_set_union(&more, &equal);
            unicode_set_fini(&equal);
        }
    }
    for (size_t i = 0; i < unicode_long_fold_count; i++) {
        const struct unicode_long_fold *fold = &unicode_long_fold[i];
        if (unicode_set_has(s, fold->cp)) add_long_equals(&more, fold);
    }
    unicode_set_union(s, &more);
    unicode_set_fini(&more);
}

/* The character in any case, by itself. */
static struct pattern_node *equals_node(struct pattern_parse *p, uint32_t cp)
{
    struct unicode_set s = {0};
    add_equals(&s, cp);
    if (s.count == 1 && s.ranges[0].first == s.ranges[0].last) {
        struct pattern_node *n = pattern_node(p, NODE_CHAR);
        n->cp = cp;
        unicode_set_fini(&s);
        return n;
    }
    return pattern_node_set(p, &s);
}

static struct pattern_node *pair(struct pattern_parse *p, struct pattern_node *first,
                                 struct pattern_node *second)
{
    struct pattern_node *n = pattern_node(p, NODE_CAT);
    pattern_node_add(p, n, first);
    if (second) pattern_node_add(p, n, second);
    return n;
}

static struct pattern_node *long_set(struct pattern_parse *p, const struct unicode_long_fold *fold)
{
    struct unicode_set s = {0};
    add_long_equals(&s, fold);
    return pattern_node_set(p, &s);
}

struct row {
    struct pattern_parse *p;
    const uint32_t *cps;
    size_t n;
    int n_long;
};

/* Does the row at i spell what a character folds to? */
static bool spells(const struct row *r, size_t i, const struct unicode_long_fold *fold)
{
    size_t n = fold_size(fold);
    if (i + n > r->n) return false;
    for (size_t k = 0; k < n; k++) {
        uint32_t to[UNICODE_MAX_FOLD];
        if (unicode_case_fold(r->cps[i + k], to) != 1 || to[0] != fold->to[k]) return false;
    }
    return true;
}

static struct pattern_node *row_node(struct row *r, size_t i)
{
    struct pattern_parse *p = r->p;
    if (i == r->n) return NULL;
    const struct unicode_long_fold *own = long_fold(r->cps[i]);
    struct pattern_node *first = equals_node(p, r->cps[i]);
    if (own) {
        struct row spelt = {p, own->to, fold_size(own), 0};
        first = row_node(&spelt, 0);
    }
    struct pattern_node *all = NULL;
    for (size_t k = 0; k < unicode_long_fold_count; k++) {
        const struct unicode_long_fold *fold = &unicode_long_fold[k];
        bool seen = false; /* the same several characters come from more than one */
        for (size_t j = 0; j < k; j++)
            seen = seen || memcmp(unicode_long_fold[j].to, fold->to, sizeof(fold->to)) == 0;
        if (seen || !spells(r, i, fold) || r->n_long++ >= MAX_LONG) continue;
        if (!all) {
            all = pattern_node(p, NODE_ALT);
            pattern_node_add(p, all, pair(p, first, row_node(r, i + 1)));
        }
        pattern_node_add(p, all, pair(p, long_set(p, fold), row_node(r, i + fold_size(fold))));
    }
    return all ? all : pair(p, first, row_node(r, i + 1));
}

static struct pattern_node *row(struct pattern_parse *p, const uint32_t *cps, size_t n,
                                struct error *e)
{
    struct row r = {p, cps, n, 0};
    struct pattern_node *node = row_node(&r, 0);
    if (r.n_long > MAX_LONG) {
        error_set(e, "the pattern has too many characters in a row that fold with others");
        return NULL;
    }
    return node;
}

struct pattern_node *pattern_case_char(struct pattern_parse *p, uint32_t cp)
{
    if (p->dialect == PATTERN_TIKTOKEN) return equals_node(p, cp);
    return row(p, &cp, 1, NULL);
}

int pattern_case_run(struct pattern_parse *p, struct pattern_node *list, struct error *e)
{
    size_t out = 0;
    if (list->kind != NODE_CAT) return 0;
    for (size_t i = 0; i < list->n_items;) {
        uint32_t cps[64];
        size_t n = 0;
        while (i + n < list->n_items && list->items[i + n]->kind == NODE_CHAR &&
               list->items[i + n]->icase && n < ARRAY_LEN(cps)) {
            cps[n] = list->items[i + n]->cp;
            n++;
        }
        if (!n) {
            list->items[out++] = list->items[i++];
            continue;
        }
        if (p->dialect == PATTERN_TIKTOKEN) {
            for (size_t k = 0; k < n; k++)
                list->items[out++] = equals_node(p, cps[k]);
        } else {
            struct pattern_node *node = row(p, cps, n, e);
            if (!node) return ERROR_FAILED;
            list->items[out++] = node;
        }
        i += n;
    }
    list->n_items = out;
    return 0;
}

struct pattern_node *pattern_case_class(struct pattern_parse *p, struct pattern_node *class)
{
    struct pattern_node *all = NULL;
    for (size_t i = 0; i < unicode_long_fold_count; i++) {
        const struct unicode_long_fold *fold = &unicode_long_fold[i];
        if (!unicode_set_has(&p->sets[class->set], fold->cp)) continue;
        struct row r = {p, fold->to, fold_size(fold), 0};
        if (!all) {
            all = pattern_node(p, NODE_ALT);
            pattern_node_add(p, all, class);
        }
        pattern_node_add(p, all, row_node(&r, 0));
    }
    return all ? all : class;
}
