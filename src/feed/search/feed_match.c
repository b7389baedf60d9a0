/* feed_match.c: a query held against a post, and what of it the index can answer.
 *
 * The index knows which terms a post has and nothing more (no positions: that is what makes it small
 * and quick to write), so it is asked for a superset: of a phrase, all its words; of numbers and of
 * what is negated inexactly, nothing. Whatever comes back is held against the whole query here, by
 * the same function that a scan of all posts and a live stream use. */
#include "feed/search/feed_search_internal.h"

static bool has_pos(const struct feed_terms *t, const struct feed_element *x, uint32_t pos)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->items[i].hash == x->hash && t->items[i].pos == pos &&
            (t->items[i].kind == FEED_WORD || t->items[i].kind == FEED_LAST))
            return true;
    return false;
}

/* Whether the character begins a pair or ends a run at this term. */
static bool begins(const struct feed_terms *t, const struct feed_term *x,
                   const struct feed_element *c)
{
    if (x->kind == FEED_LAST) return x->hash == c->hash;
    return x->kind == FEED_WORD && x->n > c->size &&
           memcmp(feed_term_text(t, x), c->text, c->size) == 0;
}

size_t feed_atom_count(const struct feed_terms *t, const struct feed_node *n)
{
    const struct feed_element *first = &n->elements[0];
    size_t count = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct feed_term *x = &t->items[i];
        if (n->atom == FEED_ATOM_BEGIN) {
            count += begins(t, x, first);
            continue;
        }
        if (x->hash != first->hash) continue;
        if (n->atom == FEED_ATOM_TERM) {
            count++;
            continue;
        }
        if (x->kind != FEED_WORD && x->kind != FEED_LAST) continue;
        size_t k = 1;
        while (k < n->n_elements && has_pos(t, &n->elements[k], x->pos + (uint32_t)k))
            k++;
        count += k == n->n_elements;
    }
    return count;
}

static int64_t number_of(const struct feed_post *p, enum feed_number what)
{
    int64_t id = 0;
    switch (what) {
    case FEED_NUMBER_TIME: return p->created_ms;
    case FEED_NUMBER_LIKES: return p->likes;
    case FEED_NUMBER_REPOSTS: return p->reposts;
    case FEED_NUMBER_REPLIES: return p->replies;
    case FEED_NUMBER_QUOTES: return p->quotes;
    case FEED_NUMBER_FOLLOWERS: return p->followers;
    case FEED_NUMBER_ID:
        for (size_t i = 0; i < p->id.n && i < 18 + 1; i++) {
            if (p->id.s[i] < '0' || p->id.s[i] > '9') return -1;
            id = id * 10 + (p->id.s[i] - '0');
        }
        return p->id.n > 19 ? -1 : id;
    case FEED_NUMBER_SAMPLE: return (int64_t)(feed_key(p->service, "p", p->id) % 100);
    }
    return 0;
}

bool feed_numbers_hold(const struct feed_node *n, const struct feed_post *p)
{
    for (size_t i = 0; i < n->n; i++)
        if (!feed_numbers_hold(n->children[i], p)) return false;
    if (n->kind != FEED_NODE_ATOM || n->atom != FEED_ATOM_RANGE) return true;
    int64_t v = number_of(p, n->number);
    return v >= n->low && v <= n->high;
}

bool feed_node_holds(const struct feed_query *q, const struct feed_node *n,
                     const struct feed_post *p)
{
    switch (n->kind) {
    case FEED_NODE_AND:
        for (size_t i = 0; i < n->n; i++)
            if (!feed_node_holds(q, n->children[i], p)) return false;
        return true;
    case FEED_NODE_OR:
        for (size_t i = 0; i < n->n; i++)
            if (feed_node_holds(q, n->children[i], p)) return true;
        return false;
    case FEED_NODE_NOT: return !feed_node_holds(q, n->children[0], p);
    case FEED_NODE_ATOM: break;
    }
    if (n->atom != FEED_ATOM_RANGE) return feed_atom_count(&q->terms, n) > 0;
    int64_t v = number_of(p, n->number);
    return v >= n->low && v <= n->high;
}

bool feed_query_matches(feed_query_t *q, const struct feed_post *p)
{
    if (q->facts) {
        feed_terms_of_post(&q->terms, p);
    } else { /* what the text says is enough */
        feed_terms_clear(&q->terms);
        feed_terms_of_text(&q->terms, p->text.s, p->text.n);
    }
    return feed_node_holds(q, q->root, p);
}

/* Whether feed_node_match says neither more nor less than the node. */
static bool is_exact(const struct feed_node *n)
{
    if (n->kind == FEED_NODE_NOT) return false;
    if (n->kind == FEED_NODE_ATOM) return n->atom == FEED_ATOM_TERM || n->atom == FEED_ATOM_BEGIN;
    for (size_t i = 0; i < n->n; i++)
        if (!is_exact(n->children[i])) return false;
    return true;
}

static bool match_atom(const struct feed_node *n, struct str *out)
{
    if (n->atom == FEED_ATOM_RANGE) return false;
    if (n->n_elements > 1) str_append_char(out, '(');
    for (size_t i = 0; i < n->n_elements; i++)
        str_printf(out, "%s\"%s\"%s", i ? " AND " : "", n->elements[i].text,
                   n->atom == FEED_ATOM_BEGIN ? "*" : "");
    if (n->n_elements > 1) str_append_char(out, ')');
    return true;
}

static bool match_and(const struct feed_node *n, struct str *out)
{
    struct str all = {0}, none = {0};
    for (size_t i = 0; i < n->n; i++) {
        const struct feed_node *child = n->children[i];
        bool negative = child->kind == FEED_NODE_NOT;
        if (negative && !is_exact(child->children[0])) continue;
        struct str part = {0};
        if (feed_node_match(negative ? child->children[0] : child, &part)) {
            struct str *to = negative ? &none : &all;
            if (to->len) str_puts(to, negative ? " OR " : " AND ");
            str_append(to, part.data, part.len);
        }
        str_fini(&part);
    }
    bool some = all.len > 0;
    if (some && none.len)
        str_printf(out, "((%s) NOT (%s))", all.data, none.data);
    else if (some)
        str_printf(out, "(%s)", all.data);
    str_fini(&all);
    str_fini(&none);
    return some;
}

static bool match_or(const struct feed_node *n, struct str *out)
{
    struct str any = {0};
    bool some = true;
    for (size_t i = 0; i < n->n && some; i++) {
        if (i) str_puts(&any, " OR ");
        some = feed_node_match(n->children[i], &any);
    }
    if (some) str_printf(out, "(%s)", any.data);
    str_fini(&any);
    return some;
}

bool feed_node_match(const struct feed_node *n, struct str *out)
{
    switch (n->kind) {
    case FEED_NODE_AND: return match_and(n, out);
    case FEED_NODE_OR: return match_or(n, out);
    case FEED_NODE_NOT: return false;
    case FEED_NODE_ATOM: return match_atom(n, out);
    }
    return false;
}
