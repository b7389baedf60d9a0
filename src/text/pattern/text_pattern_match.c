/* text_pattern_match.c: a program on text, by backtracking in Perl's order.
 *
 * What may be tried later lies on a stack: places to go on at, runs that can give back characters,
 * and values of slots to put back. Look-around and atomic groups run their body on the same stack
 * and cut it when they are through, so the machine's own stack is as deep as groups nest. */
#include "text/pattern/text_pattern_internal.h"

enum {
    MAX_STEPS = 10000000,  /* back, in one search: Oniguruma's retry limit of one match */
    MAX_ENTRIES = 4 << 20, /* of the stack, 32 bytes each */
    UNSET_SHIFT = 1        /* slots hold a place + 1; 0: unset */
};

enum entry_kind { ENTRY_PLACE, ENTRY_ALT, ENTRY_GREEDY, ENTRY_LAZY, ENTRY_SLOT };

struct pattern_entry {
    uint32_t op;
    uint32_t kind;
    size_t at;     /* ENTRY_SLOT: the value before */
    uint64_t more; /* ALT: branches left; GREEDY: least place; LAZY: characters that are left */
};

struct vm {
    const struct pattern *p;
    struct pattern_work *w;
    const char *text;
    size_t size, begin; /* of the search */
    size_t keep;        /* where the match begins by \K, + 1 */
    uint32_t steps;
    bool given_up;
};

void pattern_work_fini(struct pattern_work *w)
{
    mem_free(w->stack);
    mem_free(w->slots);
    *w = (struct pattern_work){0};
}

static void push(struct vm *m, enum entry_kind kind, uint32_t op, size_t at, uint64_t more)
{
    struct pattern_work *w = m->w;
    if (w->count == MAX_ENTRIES) {
        m->given_up = true;
        return;
    }
    ARRAY_RESERVE(w->stack, w->cap, w->count + 1);
    w->stack[w->count++] = (struct pattern_entry){op, (uint32_t)kind, at, more};
}

/* ------------------------------------------------------------------ characters */

/* The text is valid, so the lead byte tells the length. */
static inline size_t char_size(uint8_t lead)
{
    return lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
}

static inline uint32_t char_at(const char *text, size_t *n)
{
    const uint8_t *s = (const uint8_t *)text;
    *n = char_size(s[0]);
    switch (*n) {
    case 1: return s[0];
    case 2: return (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
    case 3: return (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
    default:
        return (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
    }
}

static inline size_t back(const char *text, size_t at)
{
    do
        at--;
    while (((uint8_t)text[at] & 0xc0) == 0x80);
    return at;
}

/* Bytes of the character at `at` if it is of the set, else 0. */
static inline size_t take(const struct pattern_test *t, const char *text, size_t size, size_t at)
{
    if (at >= size) return 0;
    uint8_t lead = (uint8_t)text[at];
    if (lead < 0x80) return t->ascii[lead];
    size_t n;
    uint32_t cp = char_at(text + at, &n);
    return pattern_test_point(t, cp) ? n : 0;
}

static bool word_at(const struct vm *m, size_t at)
{
    return take(&m->p->tests[m->p->word_test], m->text, m->size, at) > 0;
}

static bool anchor_holds(const struct vm *m, enum pattern_anchor anchor, size_t at)
{
    const char *text = m->text;
    bool behind, ahead;
    switch (anchor) {
    case ANCHOR_LINE_BEGIN: return at == 0 || (text[at - 1] == '\n' && at < m->size);
    case ANCHOR_LINE_END: return at == m->size || text[at] == '\n';
    case ANCHOR_TEXT_BEGIN: return at == 0;
    case ANCHOR_TEXT_END: return at == m->size;
    case ANCHOR_TEXT_END_NEWLINE: return at == m->size || (at + 1 == m->size && text[at] == '\n');
    case ANCHOR_SEARCH_BEGIN: return at == m->begin;
    case ANCHOR_WORD:
    case ANCHOR_NOT_WORD:
        behind = at > 0 && word_at(m, back(text, at));
        ahead = word_at(m, at);
        return (behind != ahead) == (anchor == ANCHOR_WORD);
    }
    return false;
}

/* ------------------------------------------------------------------ slots */

static void slot_set(struct vm *m, uint32_t slot, size_t value)
{
    push(m, ENTRY_SLOT, slot, m->w->slots[slot], 0);
    m->w->slots[slot] = value;
}

/* Forgets what could be tried above base, but not how to put slots back. */
static void stack_cut(struct vm *m, size_t base)
{
    struct pattern_work *w = m->w;
    size_t kept = base;
    for (size_t i = base; i < w->count; i++)
        if (w->stack[i].kind == ENTRY_SLOT) w->stack[kept++] = w->stack[i];
    w->count = kept;
}

static void stack_undo(struct vm *m, size_t base)
{
    struct pattern_work *w = m->w;
    while (w->count > base) {
        const struct pattern_entry *e = &w->stack[--w->count];
        if (e->kind == ENTRY_SLOT) w->slots[e->op] = e->at;
    }
}

/* ------------------------------------------------------------------ running */

static bool run(struct vm *m, uint32_t op, size_t at, size_t must_end, size_t *end);

/* What may stand behind has from lengths[0] to lengths[1] characters and ends at `at`. */
static bool look_behind(struct vm *m, uint32_t op, const uint32_t lengths[2], size_t at)
{
    size_t from = at, end;
    uint32_t n = 0;
    for (; n < lengths[0]; n++) {
        if (!from) return false;
        from = back(m->text, from);
    }
    for (;; n++) {
        if (run(m, op, from, at, &end)) return true;
        if (n >= lengths[1] || !from || m->given_up) return false;
        from = back(m->text, from);
    }
}

static bool look_holds(struct vm *m, const struct pattern_op *op, uint32_t body, size_t at)
{
    size_t base = m->w->count, end;
    bool found = op->mode & LOOK_BEHIND ? look_behind(m, body, m->p->lengths[op->b], at)
                                        : run(m, body, at, SIZE_MAX, &end);
    if (found && op->mode & LOOK_NEGATIVE) stack_undo(m, base);
    return found != ((op->mode & LOOK_NEGATIVE) != 0);
}

/* Takes a run; the new place, or SIZE_MAX where there are too few. */
static size_t take_run(struct vm *m, const struct pattern_op *op, uint32_t next, size_t at)
{
    const struct pattern_test *t = &m->p->tests[op->set];
    uint32_t most = op->mode == RUN_LAZY ? op->a : op->b;
    size_t n, least = op->a == 0 ? at : SIZE_MAX;
    uint32_t count = 0;
    while (count < most && (n = take(t, m->text, m->size, at)) > 0) {
        at += n;
        if (++count == op->a) least = at;
    }
    if (count < op->a) return SIZE_MAX;
    if (op->mode == RUN_GREEDY && at > least) push(m, ENTRY_GREEDY, next, at, least);
    if (op->mode == RUN_LAZY && op->b > op->a)
        push(m, ENTRY_LAZY, next, at, op->b == PATTERN_NO_LIMIT ? UINT64_MAX : op->b - op->a);
    return at;
}

/* The first of the branches; the others wait. */
static bool take_branch(struct vm *m, uint32_t *op, uint64_t branches, size_t at)
{
    const struct pattern_branches *t = &m->p->branches[m->p->ops[*op].a];
    if (!branches) return false;
    uint64_t rest = branches & (branches - 1);
    if (rest) push(m, ENTRY_ALT, *op, at, rest);
    *op = t->targets[__builtin_ctzll(branches)];
    return true;
}

/* The next thing to try: false where nothing is left above base. */
static bool step_back(struct vm *m, size_t base, uint32_t *op, size_t *at)
{
    struct pattern_work *w = m->w;
    if (++m->steps > MAX_STEPS) m->given_up = true;
    while (w->count > base) {
        struct pattern_entry *e = &w->stack[w->count - 1];
        struct pattern_entry old = *e;
        size_t n;
        switch ((enum entry_kind)old.kind) {
        case ENTRY_SLOT:
            w->slots[old.op] = old.at;
            w->count--;
            continue;
        case ENTRY_GREEDY:
            e->at = back(m->text, old.at);
            if (e->at <= old.more) w->count--;
            *at = back(m->text, old.at);
            *op = old.op;
            return !m->given_up;
        case ENTRY_LAZY:
            n = take(&m->p->tests[m->p->ops[old.op - 1].set], m->text, m->size, old.at);
            if (!n) {
                w->count--;
                continue;
            }
            e->at = old.at + n;
            if (old.more != UINT64_MAX && --e->more == 0) w->count--;
            *at = old.at + n;
            *op = old.op;
            return !m->given_up;
        case ENTRY_ALT:
            w->count--;
            *op = old.op;
            *at = old.at;
            return !m->given_up && take_branch(m, op, old.more, old.at);
        case ENTRY_PLACE:
            w->count--;
            *op = old.op;
            *at = old.at;
            return !m->given_up;
        }
    }
    return false;
}

/* Bytes that a group took stand at `at` again: their number, or SIZE_MAX. */
static size_t take_again(const struct vm *m, uint32_t slot, size_t at)
{
    size_t first = m->w->slots[slot], last = m->w->slots[slot + 1];
    if (!first || !last || last < first) return SIZE_MAX;
    size_t n = last - first;
    bool same = n <= m->size - at && memcmp(m->text + first - UNSET_SHIFT, m->text + at, n) == 0;
    return same ? n : SIZE_MAX;
}

/* Runs from an operation to the OP_END of its body. On failure the stack is as it was. */
static bool run(struct vm *m, uint32_t op, size_t at, size_t must_end, size_t *end)
{
    const struct pattern *p = m->p;
    const size_t base = m->w->count;
    for (;;) {
        const struct pattern_op *o = &p->ops[op];
        bool ok = true;
        size_t n;
        switch ((enum pattern_code)o->code) {
        case OP_END:
            if (must_end != SIZE_MAX && at != must_end) {
                ok = false;
                break;
            }
            stack_cut(m, base);
            *end = at;
            return !m->given_up;
        case OP_BYTES:
            ok = o->b <= m->size - at && memcmp(m->text + at, p->bytes.data + o->a, o->b) == 0;
            at += o->b;
            op++;
            break;
        case OP_SET:
            n = take(&p->tests[o->set], m->text, m->size, at);
            ok = n > 0;
            at += n;
            op++;
            break;
        case OP_RUN:
            at = take_run(m, o, ++op, at);
            ok = at != SIZE_MAX;
            break;
        case OP_JUMP: op = o->a; break;
        case OP_SPLIT:
            push(m, ENTRY_PLACE, o->b, at, 0);
            op = o->a;
            break;
        case OP_ALT:
            ok = take_branch(m, &op,
                             at < m->size ? p->branches[o->a].by_byte[(uint8_t)m->text[at]]
                                          : p->branches[o->a].at_end,
                             at);
            break;
        case OP_ANCHOR:
            ok = anchor_holds(m, (enum pattern_anchor)o->a, at);
            op++;
            break;
        case OP_LOOK:
            ok = look_holds(m, o, op + 1, at);
            op = o->a;
            break;
        case OP_NOT_AHEAD:
            ok = !take(&p->tests[o->set], m->text, m->size, at);
            op++;
            break;
        case OP_ATOMIC:
            ok = run(m, op + 1, at, SIZE_MAX, &n);
            if (ok) at = n;
            op = o->a;
            break;
        case OP_SAVE:
        case OP_LOOP_BEGIN:
            slot_set(m, o->a, at + UNSET_SHIFT);
            op++;
            break;
        case OP_LOOP_END: op = m->w->slots[o->a] == at + UNSET_SHIFT ? o->b : op + 1; break;
        case OP_BACKREF:
            n = take_again(m, o->a, at);
            ok = n != SIZE_MAX;
            if (ok) at += n;
            op++;
            break;
        case OP_KEEP:
            m->keep = at + 1;
            op++;
            break;
        case OP_FAIL: ok = false; break;
        }
        if (!ok || m->given_up) {
            if (!m->given_up && step_back(m, base, &op, &at)) continue;
            stack_undo(m, base);
            return false;
        }
    }
}

int pattern_search(const struct pattern *p, struct pattern_work *w, const char *text, size_t size,
                   size_t at, struct pattern_match *match)
{
    struct vm m = {.p = p, .w = w, .text = text, .size = size, .begin = at};
    ARRAY_RESERVE(w->slots, w->slot_cap, p->n_slots);
    w->count = 0;
    for (;;) {
        while (!p->nullable && at < size && !p->first[(uint8_t)text[at]])
            at++;
        if (at > size || (at == size && !p->nullable)) return 0;
        memset(w->slots, 0, p->n_slots * sizeof(*w->slots));
        m.keep = 0;
        size_t end;
        if (run(&m, 0, at, SIZE_MAX, &end)) {
            w->count = 0;
            match->first = m.keep ? MIN(m.keep - 1, end) : at;
            match->last = end;
            return 1;
        }
        if (m.given_up) return ERROR_FAILED;
        at += at < size ? char_size((uint8_t)text[at]) : 1;
    }
}

int pattern_next(const struct pattern *p, struct pattern_work *w, struct pattern_scan *scan,
                 struct pattern_match *m)
{
    while (scan->at <= scan->size) {
        int rc = pattern_search(p, w, scan->text, scan->size, scan->at, m);
        if (rc <= 0) return rc;
        if (m->first == m->last && scan->last_end == m->last + 1) {
            scan->at += scan->at < scan->size ? char_size((uint8_t)scan->text[scan->at]) : 1;
            continue;
        }
        scan->at = m->last;
        scan->last_end = m->last + 1;
        return 1;
    }
    return 0;
}
