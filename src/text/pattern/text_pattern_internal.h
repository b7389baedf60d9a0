/* text_pattern_internal.h: regular expressions that give the same matches on every machine.
 *
 * The patterns of tokenizers are written for Oniguruma (Hugging Face, Ruby's syntax) or for Rust's
 * regex (tiktoken). Both are read here as their own engine reads them, or refused with the byte that
 * is not understood; nothing is asked of a library, so a library's version decides about no id.
 *   text_pattern_parse.c    a pattern to a tree of nodes
 *   text_pattern_class.c    what stands in brackets, escapes that name many characters
 *   text_pattern_case.c     (?i): characters that fold to several
 *   text_pattern_compile.c  the tree to a program
 *   text_pattern_match.c    the program on text: backtracking, in Perl's order */
#ifndef COLOSSUS_TEXT_PATTERN_INTERNAL_H
#define COLOSSUS_TEXT_PATTERN_INTERNAL_H

#include "text/unicode/text_unicode_internal.h"

enum {
    PATTERN_MAX_SIZE = 4096,   /* bytes of a pattern */
    PATTERN_MAX_NEST = 32,     /* groups within groups */
    PATTERN_MAX_GROUPS = 32,   /* that capture */
    PATTERN_MAX_OPS = 1 << 16, /* of a program, and nodes of a tree */
    PATTERN_MAX_COUNT = 100000 /* in {n,m} */
};

enum pattern_dialect {
    PATTERN_ONIGURUMA, /* Hugging Face's tokenizer.json */
    PATTERN_TIKTOKEN   /* Rust's fancy-regex: {n,m}+ is possessive, ^ and $ are the text's ends */
};

struct pattern; /* shared by threads */
/* Errors: a pattern that is wrong or not supported, with the byte. */
int pattern_compile(const char *text, size_t size, enum pattern_dialect dialect,
                    struct pattern **out, struct error *e);
void pattern_free(struct pattern *p); /* accepts NULL */

/* Working memory of one thread, for any pattern; {0} to begin with. */
struct pattern_work {
    struct pattern_entry *stack;
    size_t count, cap;
    size_t *slots; /* groups' ends, loops' beginnings */
    size_t slot_cap;
};
void pattern_work_fini(struct pattern_work *w);

struct pattern_match {
    size_t first, last;
};
/* The first match at or behind text + at; the text is valid UTF-8 and seen whole by what looks
 * back. 1: found; 0: none; negative: given up after ten million steps back, as Oniguruma does. */
int pattern_search(const struct pattern *p, struct pattern_work *w, const char *text, size_t size,
                   size_t at, struct pattern_match *m);

/* The matches of a text one after the other, with the rule for matches of no characters of
 * Hugging Face's tokenizers (onig's find_iter): one that ends where the last match ended is passed
 * over. {.text = ..., .size = ...} to begin with. */
struct pattern_scan {
    const char *text;
    size_t size, at;
    size_t last_end; /* of the last match, + 1; 0: none yet */
};
int pattern_next(const struct pattern *p, struct pattern_work *w, struct pattern_scan *scan,
                 struct pattern_match *m);

/* ------------------------------------------------------------------ inside the room */

enum pattern_kind {
    NODE_EMPTY,
    NODE_CHAR,    /* cp; icase: in any case */
    NODE_SET,     /* set: index into the parse's sets */
    NODE_CAT,     /* items */
    NODE_ALT,     /* items */
    NODE_REPEAT,  /* items[0], min, max, greedy */
    NODE_CAPTURE, /* items[0], number */
    NODE_ATOMIC,  /* items[0] */
    NODE_LOOK,    /* items[0], behind, negative */
    NODE_ANCHOR,  /* number: enum pattern_anchor */
    NODE_BACKREF, /* number; icase is refused */
    NODE_KEEP
};
enum pattern_anchor {
    ANCHOR_LINE_BEGIN,
    ANCHOR_LINE_END,
    ANCHOR_TEXT_BEGIN,
    ANCHOR_TEXT_END,
    ANCHOR_TEXT_END_NEWLINE, /* or before a line end that is the last character */
    ANCHOR_WORD,
    ANCHOR_NOT_WORD,
    ANCHOR_SEARCH_BEGIN
};
#define PATTERN_NO_LIMIT UINT32_MAX

struct pattern_node {
    enum pattern_kind kind;
    uint32_t cp, set, number, min, max;
    bool icase, greedy, behind, negative;
    const char *at; /* LOOK: where it stands in the pattern */
    bool joined;    /* a group that only held it together: its characters join their neighbours' */
    struct pattern_node **items;
    size_t n_items, cap;
};

/* A pattern being read. */
struct pattern_parse {
    const char *start, *at, *end;
    enum pattern_dialect dialect;
    bool icase, dotall, extended, multiline; /* as they hold at `at` */
    int depth;
    bool named; /* there are named groups, so '(' alone does not capture */
    uint32_t n_groups;
    struct {
        const char *name;
        size_t size;
    } names[PATTERN_MAX_GROUPS + 1]; /* of group i */
    struct arena arena;              /* of the nodes, not of their item lists' growth */
    struct unicode_set *sets;
    size_t n_sets, set_cap;
    size_t n_nodes;
    struct error *e;
};
int pattern_refuse(struct pattern_parse *p, const char *at, const char *what);
struct pattern_node *pattern_node(struct pattern_parse *p, enum pattern_kind kind);
void pattern_node_add(struct pattern_parse *p, struct pattern_node *list,
                      struct pattern_node *item);
/* Takes over the set's memory. */
struct pattern_node *pattern_node_set(struct pattern_parse *p, struct unicode_set *s);
/* The tree of the whole pattern; the caller frees with pattern_parse_fini in any case. */
int pattern_parse(struct pattern_parse *p, struct pattern_node **out);
void pattern_parse_fini(struct pattern_parse *p);
/* (text_pattern_class.c) p->at stands behind '['. */
int pattern_parse_class(struct pattern_parse *p, struct pattern_node **out);
/* p->at stands on what follows a backslash. 1: an escape that names many characters, added to *s;
 * 0: no such one, nothing was read; negative: an error. */
int pattern_parse_many(struct pattern_parse *p, bool in_class, struct unicode_set *s);
/* The one character that an escape names; p->at behind the backslash. */
int pattern_parse_one(struct pattern_parse *p, bool in_class, uint32_t *cp);
/* (text_pattern_case.c) Adds all that differ from a character of the set by case only. */
void pattern_case_close(struct unicode_set *s);
/* Characters that fold to several: nodes of a list of icase characters and a class under (?i). */
int pattern_case_run(struct pattern_parse *p, struct pattern_node *list, struct error *e);
struct pattern_node *pattern_case_class(struct pattern_parse *p, struct pattern_node *class);
/* Does the character, alone or in a row of them, fold to several characters or come from them? */
struct pattern_node *pattern_case_char(struct pattern_parse *p, uint32_t cp);

/* ------------------------------------------------------------------ programs */

enum pattern_code {
    OP_END,
    OP_BYTES,      /* a: offset, b: size */
    OP_SET,        /* set */
    OP_RUN,        /* set; a: min, b: max; mode */
    OP_JUMP,       /* a */
    OP_SPLIT,      /* a first, then b */
    OP_ALT,        /* a: index of its table */
    OP_ANCHOR,     /* a */
    OP_LOOK,       /* body at +1; a: behind it; mode: enum look bits; b: index of lengths */
    OP_NOT_AHEAD,  /* set: the next character is none of it */
    OP_ATOMIC,     /* body at +1; a: behind it */
    OP_SAVE,       /* a: slot */
    OP_LOOP_BEGIN, /* a: slot: where the body begins */
    OP_LOOP_END,   /* a: slot; b: where to go when the body took nothing */
    OP_BACKREF,    /* a: first slot */
    OP_KEEP,
    OP_FAIL
};
enum { RUN_GREEDY, RUN_LAZY, RUN_POSSESSIVE };
enum { LOOK_NEGATIVE = 1, LOOK_BEHIND = 2 };

struct pattern_op {
    uint8_t code, mode;
    uint16_t set;
    uint32_t a, b;
};

/* Which branches may match, by the byte at hand. */
struct pattern_branches {
    uint64_t by_byte[256], at_end;
    uint32_t targets[64];
};

/* A set for matching: a byte for each of ASCII, bits by blocks of 256 above. */
struct pattern_test {
    bool ascii[128];
    uint16_t block[UNICODE_POINTS >> 8];
    uint64_t (*bits)[4];
    size_t n_blocks, cap;
};

struct pattern {
    struct pattern_op *ops;
    size_t n_ops, op_cap;
    struct str bytes;
    struct pattern_branches *branches;
    size_t n_branches, branch_cap;
    struct pattern_test *tests;
    size_t n_tests;
    uint32_t (*lengths)[2]; /* of what stands in a look-behind, in characters: least, most */
    size_t n_lengths, length_cap;
    uint32_t n_slots, word_test;
    bool first[256], nullable; /* how a match begins */
};

/* (text_pattern_compile.c) */
int pattern_emit(struct pattern *program, struct pattern_parse *p, const struct pattern_node *tree);
void pattern_test_init(struct pattern_test *t, const struct unicode_set *s);

static inline bool pattern_test_point(const struct pattern_test *t, uint32_t cp)
{
    return t->bits[t->block[cp >> 8]][(cp >> 6) & 3] >> (cp & 63) & 1;
}

#endif
