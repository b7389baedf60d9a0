/* text_pattern_compile.c: a tree to a program for the matcher.
 *
 * Two things make it fast on the patterns of tokenizers, which are alternatives of runs of one class:
 * alternatives go through a table from the byte at hand to those of them that can begin with it, and
 * a repeated class is one operation, which leaves nothing to step back to where that could not help:
 * at the end of the pattern, or in front of something that none of the class can begin. */
#include "text/pattern/text_pattern_internal.h"

struct emitter {
    struct pattern *program;
    struct pattern_parse *p;
    bool failed;         /* too large, or refused */
    const char *refused; /* a look-behind that is not supported */
};

/* ------------------------------------------------------------------ sets */

void pattern_test_init(struct pattern_test *t, const struct unicode_set *s)
{
    *t = (struct pattern_test){0};
    t->bits = mem_calloc((UNICODE_POINTS >> 8) + 1, sizeof(*t->bits)); /* cut below */
    t->n_blocks = 1;                                                   /* the first is empty */
    for (size_t i = 0; i < s->count; i++) {
        uint32_t cp = s->ranges[i].first, last = s->ranges[i].last;
        for (uint32_t c = cp; c <= last && c < 128; c++)
            t->ascii[c] = true;
        while (cp <= last) {
            uint16_t *block = &t->block[cp >> 8];
            if (!*block) *block = (uint16_t)t->n_blocks++;
            t->bits[*block][(cp >> 6) & 3] |= 1ull << (cp & 63);
            cp++;
        }
    }
    /* Blocks that are the same share their memory: most of a large set is full. */
    size_t kept = 1;
    uint16_t *moved = mem_calloc(t->n_blocks, sizeof(*moved));
    for (size_t b = 1; b < t->n_blocks; b++) {
        size_t same = 0;
        while (same < kept && memcmp(t->bits[same], t->bits[b], sizeof(*t->bits)) != 0)
            same++;
        if (same == kept) memmove(t->bits[kept++], t->bits[b], sizeof(*t->bits));
        moved[b] = (uint16_t)same;
    }
    for (size_t i = 0; i < ARRAY_LEN(t->block); i++)
        t->block[i] = moved[t->block[i]];
    mem_free(moved);
    t->n_blocks = kept;
    t->bits = mem_realloc(t->bits, kept * sizeof(*t->bits));
}

/* ------------------------------------------------------------------ what begins a match */

static void lead_bytes(uint32_t first, uint32_t last, bool out[256])
{
    char a[4], b[4];
    utf8_encode(first, a);
    utf8_encode(last, b);
    for (unsigned byte = (uint8_t)a[0]; byte <= (uint8_t)b[0]; byte++)
        if (byte < 0x80 || byte >= 0xc2) out[byte] = true;
}

static void set_lead_bytes(const struct unicode_set *s, bool out[256])
{
    for (size_t i = 0; i < s->count; i++)
        lead_bytes(s->ranges[i].first, s->ranges[i].last, out);
}

/* Adds the bytes that what the node matches may begin with; may it match nothing? */
static bool begins(const struct pattern_parse *p, const struct pattern_node *n, bool out[256])
{
    bool nullable = false;
    switch (n->kind) {
    case NODE_CHAR: lead_bytes(n->cp, n->cp, out); return false;
    case NODE_SET: set_lead_bytes(&p->sets[n->set], out); return false;
    case NODE_CAT:
        for (size_t i = 0; i < n->n_items; i++)
            if (!begins(p, n->items[i], out)) return false;
        return true;
    case NODE_ALT:
        for (size_t i = 0; i < n->n_items; i++)
            if (begins(p, n->items[i], out)) nullable = true;
        return nullable;
    case NODE_REPEAT: return n->max == 0 || begins(p, n->items[0], out) || n->min == 0;
    case NODE_CAPTURE:
    case NODE_ATOMIC: return begins(p, n->items[0], out);
    case NODE_BACKREF: memset(out, true, 256); return true;
    case NODE_LOOK:
    case NODE_EMPTY:
    case NODE_ANCHOR:
    case NODE_KEEP: return true;
    }
    return true;
}

/* Least and most characters that the node takes. */
static void lengths(const struct pattern_node *n, uint64_t *least, uint64_t *most)
{
    uint64_t low, high;
    *least = *most = 0;
    switch (n->kind) {
    case NODE_CHAR:
    case NODE_SET: *least = *most = 1; return;
    case NODE_CAT:
        for (size_t i = 0; i < n->n_items; i++) {
            lengths(n->items[i], &low, &high);
            *least += low;
            *most += high;
        }
        break;
    case NODE_ALT:
        *least = PATTERN_NO_LIMIT;
        for (size_t i = 0; i < n->n_items; i++) {
            lengths(n->items[i], &low, &high);
            *least = MIN(*least, low);
            *most = MAX(*most, high);
        }
        break;
    case NODE_REPEAT:
        lengths(n->items[0], &low, &high);
        *least = low * n->min;
        *most = high * n->max;
        break;
    case NODE_CAPTURE:
    case NODE_ATOMIC: lengths(n->items[0], least, most); break;
    case NODE_BACKREF: *most = PATTERN_NO_LIMIT; break;
    case NODE_LOOK:
    case NODE_EMPTY:
    case NODE_ANCHOR:
    case NODE_KEEP: break;
    }
    *least = MIN(*least, (uint64_t)PATTERN_NO_LIMIT);
    *most = MIN(*most, (uint64_t)PATTERN_NO_LIMIT);
}

/* ------------------------------------------------------------------ operations */

static uint32_t emit(struct emitter *x, enum pattern_code code, uint32_t a, uint32_t b)
{
    struct pattern *z = x->program;
    if (z->n_ops >= PATTERN_MAX_OPS) {
        x->failed = true;
        return 0;
    }
    ARRAY_RESERVE(z->ops, z->op_cap, z->n_ops + 1);
    z->ops[z->n_ops] = (struct pattern_op){.code = (uint8_t)code, .a = a, .b = b};
    return (uint32_t)z->n_ops++;
}

static uint32_t here(const struct emitter *x)
{
    return (uint32_t)x->program->n_ops;
}

static void emit_node(struct emitter *x, const struct pattern_node *n, bool last);

/* A node that takes one character of a set: its set, made for a single character. */
static bool single_set(struct emitter *x, const struct pattern_node *n, uint32_t *set)
{
    if (n->kind == NODE_CAT && n->n_items == 1) return single_set(x, n->items[0], set);
    if (n->kind == NODE_SET) {
        *set = n->set;
        return true;
    }
    if (n->kind != NODE_CHAR) return false;
    struct unicode_set s = {0};
    for (uint32_t i = 0; i < x->p->n_sets; i++) {
        const struct unicode_set *known = &x->p->sets[i];
        if (known->count == 1 && known->ranges[0].first == n->cp &&
            known->ranges[0].last == n->cp) {
            *set = i;
            return true;
        }
    }
    unicode_set_add(&s, n->cp, n->cp);
    *set = pattern_node_set(x->p, &s)->set;
    return true;
}

static void add_char(struct emitter *x, uint32_t cp)
{
    char c[4];
    str_append(&x->program->bytes, c, utf8_encode(cp, c));
}

static size_t utf8_size(uint32_t cp)
{
    char c[4];
    return utf8_encode(cp, c);
}

/* Characters that were added from `from` on. */
static void emit_bytes(struct emitter *x, size_t from)
{
    emit(x, OP_BYTES, (uint32_t)from, (uint32_t)(x->program->bytes.len - from));
}

static bool disjoint(const struct unicode_set *a, const struct unicode_set *b)
{
    for (size_t i = 0, k = 0; i < a->count && k < b->count;) {
        if (a->ranges[i].last < b->ranges[k].first)
            i++;
        else if (b->ranges[k].last < a->ranges[i].first)
            k++;
        else
            return false;
    }
    return true;
}

/* Can nothing that the run gave back begin what follows it? */
static bool run_is_possessive(struct emitter *x, const struct pattern_node *run,
                              const struct pattern_node *next)
{
    uint32_t own, other;
    if (!next || !single_set(x, run->items[0], &own)) return false;
    if (next->kind == NODE_REPEAT && next->min > 0) next = next->items[0];
    return single_set(x, next, &other) && disjoint(&x->p->sets[own], &x->p->sets[other]);
}

static void emit_cat(struct emitter *x, const struct pattern_node *n, bool last)
{
    for (size_t i = 0; i < n->n_items;) {
        size_t from = x->program->bytes.len;
        while (i < n->n_items && n->items[i]->kind == NODE_CHAR)
            add_char(x, n->items[i++]->cp);
        if (x->program->bytes.len > from) {
            emit_bytes(x, from);
            continue;
        }
        const struct pattern_node *item = n->items[i];
        bool end = last && i + 1 == n->n_items;
        if (!end && item->kind == NODE_REPEAT && item->greedy)
            end = run_is_possessive(x, item, i + 1 < n->n_items ? n->items[i + 1] : NULL);
        emit_node(x, item, end);
        i++;
    }
}

/* Up to 64 branches by table; more in tables of tables. */
static void emit_alternatives(struct emitter *x, struct pattern_node *const *items, size_t n,
                              bool last)
{
    struct pattern *z = x->program;
    size_t here_n = n > 64 ? 63 : n, index = z->n_branches, n_jumps = 0;
    uint32_t jumps[64] = {0};
    ARRAY_RESERVE(z->branches, z->branch_cap, z->n_branches + 1);
    z->branches[z->n_branches++] = (struct pattern_branches){0};
    emit(x, OP_ALT, (uint32_t)index, 0);
    for (size_t i = 0; i < here_n + (n > here_n); i++) {
        bool first[256] = {0}, nullable = false;
        if (i < here_n)
            nullable = begins(x->p, items[i], first);
        else
            for (size_t k = i; k < n; k++)
                nullable |= begins(x->p, items[k], first);
        struct pattern_branches *t = &z->branches[index];
        for (int byte = 0; byte < 256; byte++)
            if (first[byte] || nullable) t->by_byte[byte] |= 1ull << i;
        if (nullable) t->at_end |= 1ull << i;
        t->targets[i] = here(x);
        if (i < here_n)
            emit_node(x, items[i], last);
        else
            emit_alternatives(x, items + i, n - i, last);
        jumps[n_jumps++] = emit(x, OP_JUMP, 0, 0);
    }
    for (size_t i = 0; i < n_jumps && !x->failed; i++)
        z->ops[jumps[i]].a = here(x);
}

/* Where a branch may take nothing a loop of it must end. */
static void emit_loop(struct emitter *x, const struct pattern_node *body, bool greedy, bool once)
{
    bool first[256] = {0}, nullable = begins(x->p, body, first);
    uint32_t slot = nullable && !once ? x->program->n_slots++ : 0;
    uint32_t split = emit(x, OP_SPLIT, 0, 0);
    uint32_t begin = here(x), end = 0;
    if (nullable && !once) emit(x, OP_LOOP_BEGIN, slot, 0);
    emit_node(x, body, false);
    if (nullable && !once) end = emit(x, OP_LOOP_END, slot, 0);
    if (!once) emit(x, OP_JUMP, split, 0);
    if (x->failed) return;
    struct pattern_op *ops = x->program->ops;
    ops[split].a = greedy ? begin : here(x);
    ops[split].b = greedy ? here(x) : begin;
    if (nullable && !once) ops[end].b = here(x);
}

/* All that a set takes in a loop is also taken character by character; then what (?i) adds to a
 * class, several characters in place of one, changes nothing. */
static bool loop_of_class(struct emitter *x, const struct pattern_node *n, uint32_t *set)
{
    const struct pattern_node *body = n->items[0];
    if (single_set(x, body, set)) return true;
    if (n->max != PATTERN_NO_LIMIT || n->min > 1) return false;
    while (body->kind == NODE_CAT && body->n_items == 1)
        body = body->items[0];
    if (body->kind != NODE_ALT || body->items[0]->kind != NODE_SET) return false;
    for (size_t i = 1; i < body->n_items; i++) {
        bool inside = true;
        for (const struct pattern_node *c = body->items[i]; c && inside;) {
            uint32_t other;
            const struct pattern_node *one = c->kind == NODE_CAT ? c->items[0] : c;
            inside = single_set(x, one, &other);
            struct unicode_set rest = {0};
            if (inside) {
                unicode_set_union(&rest, &x->p->sets[body->items[0]->set]);
                unicode_set_complement(&rest);
                inside = disjoint(&rest, &x->p->sets[other]);
            }
            unicode_set_fini(&rest);
            c = c->kind == NODE_CAT && c->n_items > 1 ? c->items[1] : NULL;
        }
        if (!inside) return false;
    }
    *set = body->items[0]->set;
    return true;
}

static void emit_repeat(struct emitter *x, const struct pattern_node *n, bool last)
{
    uint32_t set;
    if (n->max == 0) return;
    if (loop_of_class(x, n, &set)) {
        uint32_t at = emit(x, OP_RUN, n->min, n->max);
        x->program->ops[at].set = (uint16_t)set;
        x->program->ops[at].mode = !n->greedy ? RUN_LAZY : last ? RUN_POSSESSIVE : RUN_GREEDY;
        return;
    }
    for (uint32_t i = 0; i < n->min && !x->failed; i++)
        emit_node(x, n->items[0], false);
    if (n->max == PATTERN_NO_LIMIT) {
        emit_loop(x, n->items[0], n->greedy, false);
        return;
    }
    /* Each of what may follow goes on only behind the one before. */
    uint32_t first = here(x);
    for (uint32_t i = n->min; i < n->max && !x->failed; i++) {
        uint32_t split = emit(x, OP_SPLIT, 0, 0);
        if (x->failed) return;
        x->program->ops[split].mode = 1; /* its way out is set below */
        emit_node(x, n->items[0], false);
    }
    for (uint32_t at = first; at < here(x) && !x->failed; at++) {
        struct pattern_op *op = &x->program->ops[at];
        if (op->code != OP_SPLIT || op->mode != 1) continue;
        op->mode = 0;
        op->a = n->greedy ? at + 1 : here(x);
        op->b = n->greedy ? here(x) : at + 1;
    }
}

static bool has_atomic(const struct pattern_node *n)
{
    bool found = n->kind == NODE_ATOMIC;
    for (size_t i = 0; i < n->n_items && !found; i++)
        found = has_atomic(n->items[i]);
    return found;
}

/* What is possessive takes more than may stand behind where the length is not fixed; Oniguruma has
 * rules of its own there. */
static void emit_look(struct emitter *x, const struct pattern_node *n)
{
    struct pattern *z = x->program;
    uint32_t set;
    if (n->negative && !n->behind && single_set(x, n->items[0], &set)) {
        uint32_t at = emit(x, OP_NOT_AHEAD, 0, 0);
        z->ops[at].set = (uint16_t)set;
        return;
    }
    uint64_t least, most;
    lengths(n->items[0], &least, &most);
    if (n->behind && least != most && has_atomic(n->items[0])) {
        x->failed = true;
        x->refused = n->at;
        return;
    }
    ARRAY_RESERVE(z->lengths, z->length_cap, z->n_lengths + 1);
    z->lengths[z->n_lengths][0] = (uint32_t)least;
    z->lengths[z->n_lengths][1] = (uint32_t)most;
    uint32_t at = emit(x, OP_LOOK, 0, (uint32_t)z->n_lengths++);
    z->ops[at].mode = (uint8_t)((n->negative ? LOOK_NEGATIVE : 0) | (n->behind ? LOOK_BEHIND : 0));
    emit_node(x, n->items[0], !n->behind);
    emit(x, OP_END, 0, 0);
    if (!x->failed) z->ops[at].a = here(x);
}

/* `last`: a match ends behind the node whatever stands there. */
static void emit_node(struct emitter *x, const struct pattern_node *n, bool last)
{
    uint32_t at;
    if (x->failed) return;
    switch (n->kind) {
    case NODE_EMPTY: return;
    case NODE_CHAR:
        add_char(x, n->cp);
        emit_bytes(x, x->program->bytes.len - utf8_size(n->cp));
        return;
    case NODE_SET:
        at = emit(x, OP_SET, 0, 0);
        x->program->ops[at].set = (uint16_t)n->set;
        return;
    case NODE_CAT: emit_cat(x, n, last); return;
    case NODE_ALT: emit_alternatives(x, n->items, n->n_items, last); return;
    case NODE_REPEAT: emit_repeat(x, n, last); return;
    case NODE_CAPTURE:
        emit(x, OP_SAVE, 2 * n->number, 0);
        emit_node(x, n->items[0], last);
        emit(x, OP_SAVE, 2 * n->number + 1, 0);
        return;
    case NODE_ATOMIC:
        at = emit(x, OP_ATOMIC, 0, 0);
        emit_node(x, n->items[0], true);
        emit(x, OP_END, 0, 0);
        if (!x->failed) x->program->ops[at].a = here(x);
        return;
    case NODE_LOOK: emit_look(x, n); return;
    case NODE_ANCHOR: emit(x, OP_ANCHOR, n->number, 0); return;
    case NODE_BACKREF: emit(x, OP_BACKREF, 2 * n->number, 0); return;
    case NODE_KEEP: emit(x, OP_KEEP, 0, 0); return;
    }
}

static void make_tests(struct pattern *z, struct pattern_parse *p)
{
    struct unicode_set word = {0};
    unicode_set_add_property(&word, "word", 4);
    if (p->dialect == PATTERN_ONIGURUMA) {
        unicode_set_add(&word, 0xb2, 0xb3);
        unicode_set_add(&word, 0xb9, 0xb9);
        unicode_set_add(&word, 0xbc, 0xbe);
    } else {
        unicode_set_add(&word, 0x200c, 0x200d);
    }
    z->word_test = pattern_node_set(p, &word)->set;
    z->n_tests = p->n_sets;
    z->tests = mem_calloc(z->n_tests, sizeof(*z->tests));
    for (size_t i = 0; i < z->n_tests; i++)
        pattern_test_init(&z->tests[i], &p->sets[i]);
}

int pattern_emit(struct pattern *program, struct pattern_parse *p, const struct pattern_node *tree)
{
    struct emitter x = {.program = program, .p = p};
    program->n_slots = 2 * (p->n_groups + 1);
    program->nullable = begins(p, tree, program->first);
    emit_node(&x, tree, true);
    emit(&x, OP_END, 0, 0);
    if (x.refused) return pattern_refuse(p, x.refused, "a possessive part of a look-behind");
    if (x.failed || p->n_sets >= UINT16_MAX)
        return error_set(p->e, "the pattern is too large: its intervals repeat too much");
    make_tests(program, p);
    return 0;
}

int pattern_compile(const char *text, size_t size, enum pattern_dialect dialect,
                    struct pattern **out, struct error *e)
{
    *out = NULL;
    if (size > PATTERN_MAX_SIZE)
        return error_set(e, "a pattern of %zu bytes, the limit is %d", size, PATTERN_MAX_SIZE);
    struct pattern_parse p = {.start = text, .end = text + size, .dialect = dialect, .e = e};
    struct pattern_node *tree;
    int rc = pattern_parse(&p, &tree);
    if (rc == 0) {
        *out = mem_calloc(1, sizeof(**out));
        rc = pattern_emit(*out, &p, tree);
        if (rc < 0) pattern_free(*out);
        if (rc < 0) *out = NULL;
    }
    pattern_parse_fini(&p);
    return rc;
}

void pattern_free(struct pattern *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->n_tests; i++)
        mem_free(p->tests[i].bits);
    mem_free(p->tests);
    mem_free(p->ops);
    mem_free(p->branches);
    mem_free(p->lengths);
    str_fini(&p->bytes);
    mem_free(p);
}
