/* serve_grammar_internal.h: what a text may be, byte by byte: grammars made of nodes, and how far a
 * text has come in one.
 *
 * A grammar says exactly what may be written; whoever makes one from a schema makes one whose every
 * text fits the schema, and refuses what cannot be said so. Work is bounded: a text that would need
 * more than a limit of states is taken not to fit. */
#ifndef COLOSSUS_SERVE_GRAMMAR_INTERNAL_H
#define COLOSSUS_SERVE_GRAMMAR_INTERNAL_H

#include "base/base.h"

enum gnode_kind {
    GNODE_BYTES,  /* one byte of a set */
    GNODE_TEXT,   /* these bytes */
    GNODE_ALL,    /* children, one behind the other */
    GNODE_ANY,    /* one of the children */
    GNODE_REPEAT, /* the only child, min to max times */
    GNODE_REF     /* whatever the target is */
};
struct gnode {
    enum gnode_kind kind;
    union {
        uint32_t set[8];
        struct {
            const char *text;
            size_t size;
        };
        struct {
            const struct gnode **children;
            size_t count;
            uint32_t min, max; /* UINT32_MAX: any number */
        };
        const struct gnode *target;
    };
    bool nullable, ends, seen; /* may be empty; some text of it is finite; of the checks */
};
/* While it is made: everything lives in `arena`. */
struct grammar {
    struct arena arena;
    struct gnode **nodes;
    size_t count, cap;
    const struct gnode *root;
    bool full; /* more nodes than are made */
};
typedef struct grammar grammar_t;

grammar_t *grammar_new(void);
void grammar_free(grammar_t *g);
struct gnode *grammar_text(grammar_t *g, const char *text);
struct gnode *grammar_text_n(grammar_t *g, const char *text, size_t n);
struct gnode *grammar_bytes(grammar_t *g, const char *bytes); /* one of them */
struct gnode *grammar_range(grammar_t *g, unsigned char from, unsigned char to);
struct gnode *grammar_all(grammar_t *g, size_t n, const struct gnode *const *children);
struct gnode *grammar_any(grammar_t *g, size_t n, const struct gnode *const *children);
struct gnode *grammar_repeat(grammar_t *g, const struct gnode *child, uint32_t min, uint32_t max);
struct gnode *grammar_ref(grammar_t *g); /* its target is set later */
#define GRAMMAR_ALL(g, ...)                                                          \
    grammar_all((g), sizeof((const struct gnode *[]){__VA_ARGS__}) / sizeof(void *), \
                (const struct gnode *[]){__VA_ARGS__})
#define GRAMMAR_ANY(g, ...)                                                          \
    grammar_any((g), sizeof((const struct gnode *[]){__VA_ARGS__}) / sizeof(void *), \
                (const struct gnode *[]){__VA_ARGS__})
/* To be called once, when it is whole: an error where it goes in circles without writing anything,
 * has no end, or is too large. */
int grammar_finish(grammar_t *g, const struct gnode *root, struct error *e);

/* ------------------------------------------------------------------ how far a text has come */

typedef struct grammar_state grammar_state_t;
grammar_state_t *grammar_state_new(const grammar_t *g); /* the grammar must outlive it */
void grammar_state_free(grammar_state_t *s);
/* Whether these bytes may come next; the state stays. */
bool grammar_allows(grammar_state_t *s, const char *bytes, size_t n);
/* They come; they must be allowed. */
void grammar_take(grammar_state_t *s, const char *bytes, size_t n);
bool grammar_may_end(const grammar_state_t *s);  /* the text is whole as it stands */
bool grammar_must_end(const grammar_state_t *s); /* and nothing may come behind it */
/* If only one byte may come next: it; else -1. */
int grammar_only(grammar_state_t *s);

/* ------------------------------------------------------------------ schemas (serve_schema.c) */

/* JSON that fits the schema, as one node of g. What cannot be held to is an error that names it. */
const struct gnode *schema_node(grammar_t *g, const json_t *schema, struct error *e);
/* Any JSON object. */
const struct gnode *schema_any_object(grammar_t *g);
/* serve_schema_text.c: the inside of strings; numbers. */
struct schema_shared { /* nodes that many schemas need */
    const struct gnode *character, *string, *integer, *number, *space, *value, *object;
};
void schema_share(grammar_t *g, struct schema_shared *s);
/* Whole numbers from least to most, both within 10^15. */
const struct gnode *schema_whole(grammar_t *g, int64_t least, int64_t most);
/* What fits a regular expression (ECMA 262, the part that has no look-around), as the inside of a
 * JSON string. */
const struct gnode *schema_pattern(grammar_t *g, const char *pattern, struct error *e);

#endif
