/* serve_grammar.c: grammars and texts within them.
 *
 * How far a text has come is a set of threads, each a stack of frames with a leaf (a set of bytes, or
 * a place in a text) on top: what comes next, and what comes behind it. A byte moves the threads
 * whose leaf takes it: the leaf's frame goes, and what is below is opened until there are leaves on
 * top again. Frames are never changed, so threads share what is below them.
 *
 * Frames lie in a pool. To ask whether bytes may come the pool is used beyond its mark and cut back;
 * when bytes have come, frames that live are moved to a second pool now and then. */
#include "serve/grammar/serve_grammar_internal.h"

#include <string.h>

enum {
    MAX_NODES = 1 << 18,
    MAX_THREADS = 512,
    MAX_OPENED = 20000, /* frames for one byte */
    MAX_FRAMES = 1 << 17,
    MAX_DEEP = 4000
};

/* ------------------------------------------------------------------ making one */

grammar_t *grammar_new(void)
{
    return mem_calloc(1, sizeof(grammar_t));
}

void grammar_free(grammar_t *g)
{
    if (!g) return;
    arena_fini(&g->arena);
    mem_free(g->nodes);
    mem_free(g);
}

static struct gnode *node_new(grammar_t *g, enum gnode_kind kind)
{
    if (g->count == g->cap) {
        g->cap = MAX(2 * g->cap, (size_t)64);
        g->nodes = mem_realloc(g->nodes, g->cap * sizeof(struct gnode *));
    }
    struct gnode *n = arena_alloc(&g->arena, sizeof(*n));
    n->kind = kind;
    if (g->count >= MAX_NODES)
        g->full = true;
    else
        g->nodes[g->count++] = n;
    return n;
}

struct gnode *grammar_text_n(grammar_t *g, const char *text, size_t n)
{
    struct gnode *node = node_new(g, GNODE_TEXT);
    node->text = arena_strndup(&g->arena, text, n);
    node->size = n;
    return node;
}

struct gnode *grammar_text(grammar_t *g, const char *text)
{
    return grammar_text_n(g, text, strlen(text));
}

static void set_add(struct gnode *n, unsigned char c)
{
    n->set[c / 32] |= 1u << c % 32;
}

static bool set_has(const struct gnode *n, unsigned char c)
{
    return n->set[c / 32] >> c % 32 & 1;
}

struct gnode *grammar_bytes(grammar_t *g, const char *bytes)
{
    struct gnode *n = node_new(g, GNODE_BYTES);
    for (; *bytes; bytes++)
        set_add(n, (unsigned char)*bytes);
    return n;
}

struct gnode *grammar_range(grammar_t *g, unsigned char from, unsigned char to)
{
    struct gnode *n = node_new(g, GNODE_BYTES);
    for (int c = from; c <= to; c++)
        set_add(n, (unsigned char)c);
    return n;
}

static struct gnode *with_children(grammar_t *g, enum gnode_kind kind, size_t n,
                                   const struct gnode *const *children)
{
    struct gnode *node = node_new(g, kind);
    node->children = arena_alloc(&g->arena, (n + 1) * sizeof(struct gnode *));
    node->count = n;
    if (n) memcpy(node->children, children, n * sizeof(struct gnode *));
    return node;
}

struct gnode *grammar_all(grammar_t *g, size_t n, const struct gnode *const *children)
{
    return with_children(g, GNODE_ALL, n, children);
}

struct gnode *grammar_any(grammar_t *g, size_t n, const struct gnode *const *children)
{
    return with_children(g, GNODE_ANY, n, children);
}

struct gnode *grammar_repeat(grammar_t *g, const struct gnode *child, uint32_t min, uint32_t max)
{
    struct gnode *n = with_children(g, GNODE_REPEAT, 1, &child);
    n->min = min;
    n->max = max;
    return n;
}

struct gnode *grammar_ref(grammar_t *g)
{
    return node_new(g, GNODE_REF);
}

/* ------------------------------------------------------------------ checks */

/* What of its children makes a node nullable, or finite. */
static bool holds(const struct gnode *n, bool (*of)(const struct gnode *n), bool none)
{
    switch (n->kind) {
    case GNODE_BYTES: return none;
    case GNODE_TEXT: return none || n->size == 0;
    case GNODE_REF: return n->target && of(n->target);
    case GNODE_REPEAT: return n->min == 0 || of(n->children[0]);
    case GNODE_ALL:
        for (size_t i = 0; i < n->count; i++)
            if (!of(n->children[i])) return false;
        return true;
    case GNODE_ANY:
        for (size_t i = 0; i < n->count; i++)
            if (of(n->children[i])) return true;
        return false;
    }
    return false;
}

static bool is_nullable(const struct gnode *n)
{
    return n->nullable;
}

static bool is_finite(const struct gnode *n)
{
    return n->ends;
}

/* Until nothing changes; children are mostly made before what holds them. */
static bool settle(grammar_t *g)
{
    for (int round = 0; round < 256; round++) {
        bool changed = false;
        for (size_t i = 0; i < g->count; i++) {
            struct gnode *n = g->nodes[i];
            bool nullable = n->nullable || holds(n, is_nullable, false);
            bool ends = n->ends || holds(n, is_finite, true);
            changed = changed || nullable != n->nullable || ends != n->ends;
            n->nullable = nullable;
            n->ends = ends;
        }
        if (!changed) return true;
    }
    return false;
}

/* Can the node come to itself before a byte is written? */
static bool circles(struct gnode *n, int depth)
{
    if (n->seen) return false; /* it was gone through, and does not */
    if (depth > MAX_DEEP) return true;
    size_t count =
        n->kind == GNODE_ALL || n->kind == GNODE_ANY ? n->count : n->kind == GNODE_REPEAT;
    bool found = n->kind == GNODE_REF && circles((struct gnode *)(uintptr_t)n->target, depth + 1);
    for (size_t i = 0; i < count && !found; i++) {
        found = circles((struct gnode *)(uintptr_t)n->children[i], depth + 1);
        if (n->kind == GNODE_ALL && !n->children[i]->nullable) break;
    }
    n->seen = !found;
    return found;
}

int grammar_finish(grammar_t *g, const struct gnode *root, struct error *e)
{
    if (g->full || !settle(g)) return error_set(e, "the schema is too large");
    for (size_t i = 0; i < g->count; i++) {
        const struct gnode *n = g->nodes[i];
        if (n->kind == GNODE_REPEAT && n->max > 1 && n->children[0]->nullable)
            return error_set(e, "something that may be empty is repeated");
        if (n->kind == GNODE_REF && !n->target) return error_set(e, "a reference leads nowhere");
    }
    if (circles((struct gnode *)(uintptr_t)root, 0))
        return error_set(e, "the schema refers to itself in a circle, or is nested too deep");
    if (!root->ends) return error_set(e, "no JSON that ends fits the schema");
    g->root = root;
    return 0;
}

/* ------------------------------------------------------------------ states */

struct frame {
    const struct gnode *node;
    uint32_t at;    /* child, count or byte that comes next */
    uint32_t below; /* frame + 1; 0: the end of the text */
};
struct pool {
    struct frame *frames;
    uint32_t n, cap;
};
struct threads {
    uint32_t top[MAX_THREADS]; /* frame + 1; 0: the text may end here */
    int n;
};
struct grammar_state {
    const grammar_t *g;
    struct pool pool, spare;
    struct threads now, next, other;
    int opened;
    bool over; /* a limit */
};

static uint32_t push(struct grammar_state *s, const struct gnode *node, uint32_t at, uint32_t below)
{
    struct pool *p = &s->pool;
    if (++s->opened > MAX_OPENED || p->n >= MAX_FRAMES) {
        s->over = true;
        return 0;
    }
    if (p->n == p->cap) {
        p->cap = MAX(2 * p->cap, 256u);
        p->frames = mem_realloc(p->frames, p->cap * sizeof(*p->frames));
    }
    p->frames[p->n] = (struct frame){node, at, below};
    return ++p->n;
}

static bool same_stack(const struct grammar_state *s, uint32_t a, uint32_t b)
{
    const struct frame *f = s->pool.frames;
    for (int i = 0; i < 64; i++) {
        if (a == b) return true;
        if (!a || !b || f[a - 1].node != f[b - 1].node || f[a - 1].at != f[b - 1].at) return false;
        a = f[a - 1].below;
        b = f[b - 1].below;
    }
    return false;
}

static void add_thread(struct grammar_state *s, struct threads *t, uint32_t top)
{
    for (int i = 0; i < t->n; i++)
        if (same_stack(s, t->top[i], top)) return;
    if (t->n == MAX_THREADS)
        s->over = true;
    else
        t->top[t->n++] = top;
}

static void open_node(struct grammar_state *s, struct threads *t, const struct gnode *n,
                      uint32_t below);

/* What is below comes next. */
static void go_on(struct grammar_state *s, struct threads *t, uint32_t below)
{
    if (s->over) return;
    if (!below) {
        add_thread(s, t, 0);
        return;
    }
    struct frame f = s->pool.frames[below - 1];
    const struct gnode *n = f.node;
    if (n->kind == GNODE_ALL) {
        uint32_t rest = f.below;
        if (f.at + 1 < n->count) rest = push(s, n, f.at + 1, f.below);
        open_node(s, t, n->children[f.at], rest);
        return;
    }
    /* REPEAT: f.at of them have been written */
    if (f.at >= n->min) go_on(s, t, f.below);
    if (f.at < n->max) {
        uint32_t more =
            push(s, n, n->max == UINT32_MAX ? MIN(f.at + 1, n->min) : f.at + 1, f.below);
        open_node(s, t, n->children[0], more);
    }
}

static void open_node(struct grammar_state *s, struct threads *t, const struct gnode *n,
                      uint32_t below)
{
    if (s->over) return;
    switch (n->kind) {
    case GNODE_BYTES: add_thread(s, t, push(s, n, 0, below)); return;
    case GNODE_TEXT:
        if (n->size == 0)
            go_on(s, t, below);
        else
            add_thread(s, t, push(s, n, 0, below));
        return;
    case GNODE_REF: open_node(s, t, n->target, below); return;
    case GNODE_ANY:
        for (size_t i = 0; i < n->count; i++)
            open_node(s, t, n->children[i], below);
        return;
    case GNODE_ALL:
        if (n->count == 0)
            go_on(s, t, below);
        else
            go_on(s, t, push(s, n, 0, below));
        return;
    case GNODE_REPEAT: go_on(s, t, push(s, n, 0, below)); return;
    }
}

/* One byte further; false where no thread takes it, or a limit is met. */
static bool move(struct grammar_state *s, const struct threads *from, struct threads *to,
                 unsigned char c)
{
    to->n = 0;
    s->opened = 0;
    s->over = false;
    for (int i = 0; i < from->n && !s->over; i++) {
        if (!from->top[i]) continue;
        struct frame f = s->pool.frames[from->top[i] - 1];
        if (f.node->kind == GNODE_BYTES) {
            if (set_has(f.node, c)) go_on(s, to, f.below);
        } else if ((unsigned char)f.node->text[f.at] == c) {
            if (f.at + 1 < f.node->size)
                add_thread(s, to, push(s, f.node, f.at + 1, f.below));
            else
                go_on(s, to, f.below);
        }
    }
    return to->n > 0 && !s->over;
}

/* Frames that threads need go to the other pool. A frame lies behind the one below it. */
static void collect(struct grammar_state *s)
{
    uint32_t n = s->pool.n, *moved = mem_calloc(n + 1, sizeof(*moved));
    const struct frame *f = s->pool.frames;
    struct pool *p = &s->spare;
    p->n = 0;
    for (int i = 0; i < s->now.n; i++)
        moved[s->now.top[i]] = 1;
    for (uint32_t i = n; i > 0; i--)
        if (moved[i]) moved[f[i - 1].below] = 1;
    for (uint32_t i = 1; i <= n; i++) {
        if (!moved[i]) continue;
        if (p->n == p->cap) {
            p->cap = MAX(2 * p->cap, 256u);
            p->frames = mem_realloc(p->frames, p->cap * sizeof(*p->frames));
        }
        p->frames[p->n] = f[i - 1];
        p->frames[p->n].below = f[i - 1].below ? moved[f[i - 1].below] : 0;
        moved[i] = ++p->n;
    }
    for (int i = 0; i < s->now.n; i++)
        s->now.top[i] = s->now.top[i] ? moved[s->now.top[i]] : 0;
    mem_free(moved);
    struct pool old = s->pool;
    s->pool = s->spare;
    s->spare = old;
}

grammar_state_t *grammar_state_new(const grammar_t *g)
{
    grammar_state_t *s = mem_calloc(1, sizeof(*s));
    CHECK(g->root != NULL);
    s->g = g;
    open_node(s, &s->now, g->root, 0);
    return s;
}

void grammar_state_free(grammar_state_t *s)
{
    if (!s) return;
    mem_free(s->pool.frames);
    mem_free(s->spare.frames);
    mem_free(s);
}

bool grammar_allows(grammar_state_t *s, const char *bytes, size_t n)
{
    uint32_t mark = s->pool.n;
    const struct threads *from = &s->now;
    bool ok = n > 0;
    for (size_t i = 0; i < n && ok; i++) {
        struct threads *to = i % 2 ? &s->other : &s->next;
        ok = move(s, from, to, (unsigned char)bytes[i]);
        from = to;
    }
    s->pool.n = mark;
    return ok;
}

void grammar_take(grammar_state_t *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool ok = move(s, &s->now, &s->next, (unsigned char)bytes[i]);
        CHECK_MSG(ok, "a byte that the grammar does not allow");
        s->now = s->next;
    }
    if (s->pool.n > 4096) collect(s);
}

bool grammar_may_end(const grammar_state_t *s)
{
    for (int i = 0; i < s->now.n; i++)
        if (!s->now.top[i]) return true;
    return false;
}

bool grammar_must_end(const grammar_state_t *s)
{
    for (int i = 0; i < s->now.n; i++)
        if (s->now.top[i]) return false;
    return true;
}

int grammar_only(grammar_state_t *s)
{
    int only = -1;
    for (int i = 0; i < s->now.n; i++) {
        if (!s->now.top[i]) return -1;
        const struct frame *f = &s->pool.frames[s->now.top[i] - 1];
        if (f->node->kind == GNODE_BYTES) return -1;
        int c = (unsigned char)f->node->text[f->at];
        if (only >= 0 && only != c) return -1;
        only = c;
    }
    return only;
}
