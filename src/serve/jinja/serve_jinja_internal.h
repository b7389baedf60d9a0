/* serve_jinja_internal.h: chat templates: the part of Jinja that the templates of published models
 * use, read and run here.
 *
 * A template is read once into a tree and rendered for each request. Every byte of a string carries
 * a mark: whether it came from a user or from the template. Marks go through every operation, so that
 * of the rendered text it is known which bytes may become control tokens.
 *
 * Work is bounded: steps, depth, and bytes of memory of one rendering. Everything of a rendering lives
 * in its arena. */
#ifndef COLOSSUS_SERVE_JINJA_INTERNAL_H
#define COLOSSUS_SERVE_JINJA_INTERNAL_H

#include "base/base.h"

/* ------------------------------------------------------------------ for the users of this sub-room */

typedef struct jinja jinja_t;
/* name is the template's, for messages, which say the line: "chat template:12: ...". */
int jinja_parse(const char *text, size_t size, const char *name, jinja_t **out, struct error *e);
void jinja_free(jinja_t *t);
/* Whether the template reads a variable of that name anywhere ("tools"). */
bool jinja_reads(const jinja_t *t, const char *variable);
struct jinja_text {
    char *text;
    uint8_t *user; /* [size] 1: the byte came from `given` */
    size_t size;
};
/* Variables are the members of both objects: of `given` every string is a user's, but the known names
 * of roles where a member "role" has one; *out lives in *a. */
int jinja_render(const jinja_t *t, const json_t *trusted, const json_t *given, struct arena *a,
                 struct jinja_text *out, struct error *e);

/* ------------------------------------------------------------------ values */

enum jinja_kind {
    JINJA_UNDEFINED,
    JINJA_NONE,
    JINJA_BOOL,
    JINJA_INT,
    JINJA_FLOAT,
    JINJA_STRING,
    JINJA_LIST,
    JINJA_MAP,
    JINJA_MACRO,
    JINJA_FUNCTION
};
struct jinja_value {
    enum jinja_kind kind;
    union {
        bool b;
        int64_t i;
        double f;
        struct {
            const char *s;
            const uint8_t *user; /* NULL: no byte is */
            size_t n;
        };
        struct jinja_list *list;
        struct jinja_map *map;
        const struct jinja_node *macro;
        const struct jinja_function *function;
    };
};
struct jinja_list {
    struct jinja_value *items;
    size_t count, cap;
};
struct jinja_member {
    struct jinja_value key, value;
};
struct jinja_map {
    struct jinja_member *members; /* in the order in which they came */
    size_t count, cap;
    bool name_space; /* its members may be set */
};

/* ------------------------------------------------------------------ the tree */

enum jinja_node_kind {
    /* statements */
    NODE_TEXT,
    NODE_OUTPUT,
    NODE_IF,  /* a condition, body, other */
    NODE_FOR, /* a iterated, b filter, names, body, other */
    NODE_SET, /* a value (NULL: body), names or b the attribute */
    NODE_MACRO,
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_BLOCK, /* body */
    /* expressions */
    NODE_VALUE,
    NODE_NAME,
    NODE_LIST,
    NODE_DICT, /* args: key, value, key, value ... */
    NODE_UNARY,
    NODE_BINARY,
    NODE_COMPARE,
    NODE_AND,
    NODE_OR,
    NODE_NOT,
    NODE_TERNARY, /* a if b else c */
    NODE_ATTRIBUTE,
    NODE_INDEX,
    NODE_SLICE, /* a[b:c:d] */
    NODE_CALL,  /* a(args) */
    NODE_FILTER,
    NODE_TEST
};
struct jinja_node {
    enum jinja_node_kind kind;
    int line, op;
    struct jinja_node *a, *b, *c, *d;
    const char *name;         /* of names, attributes, filters, tests */
    struct jinja_value value; /* VALUE; of TEXT */
    struct jinja_node **args; /* of calls, filters, tests; elements; defaults of a macro */
    const char **arg_names;   /* [n_args] NULL: by place; parameters of a macro */
    size_t n_args;
    const char **names; /* targets of for and set */
    size_t n_names;
    struct jinja_node *body, *other, *next; /* statements are lists by next */
    bool negated;
};
enum jinja_op {
    OP_ADD = 1,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_FLOOR,
    OP_MOD,
    OP_POW,
    OP_CONCAT,
    OP_EQ,
    OP_NE,
    OP_LT,
    OP_GT,
    OP_LE,
    OP_GE,
    OP_IN,
    OP_NOT_IN
};
struct jinja {
    struct arena arena;
    const char *name;
    struct jinja_node *body;
    const char **read; /* names of variables in it */
    size_t n_read;
};

/* ------------------------------------------------------------------ a rendering */

struct jinja_variable {
    const char *name;
    struct jinja_value value;
};
struct jinja_scope {
    struct jinja_variable *variables;
    size_t count, cap;
    struct jinja_scope *parent;
};
struct jinja_builder { /* a string that grows, with its marks */
    char *s;
    uint8_t *user;
    size_t n, cap;
    bool any;
};
struct jinja_run {
    const jinja_t *t;
    struct arena *a;
    struct jinja_scope *scope, *globals;
    struct jinja_builder *out;
    struct error *e;
    int line, depth;
    size_t steps, bytes;
    bool breaking, continuing;
};
struct jinja_args {
    const struct jinja_value *values; /* by place first */
    const char *const *names;         /* NULL: by place */
    size_t n;
};
typedef int jinja_call_fn(struct jinja_run *r, const struct jinja_value *self,
                          const struct jinja_args *args, struct jinja_value *out);
struct jinja_function {
    const char *name;
    jinja_call_fn *call;
};

/* The error of a rendering: name and line in front. */
int jinja_error(struct jinja_run *r, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Memory of the rendering, counted; NULL and the error set beyond the limit. */
void *jinja_alloc(struct jinja_run *r, size_t size);
int jinja_put(struct jinja_run *r, struct jinja_builder *b, const char *s, const uint8_t *user,
              size_t n);
struct jinja_value jinja_built(struct jinja_builder *b);
struct jinja_value jinja_text_value(const char *s, size_t n);
static inline struct jinja_value jinja_int(int64_t i)
{
    return (struct jinja_value){.kind = JINJA_INT, .i = i};
}
static inline struct jinja_value jinja_bool(bool b)
{
    return (struct jinja_value){.kind = JINJA_BOOL, .b = b};
}
bool jinja_is_true(const struct jinja_value *v);
bool jinja_equal(const struct jinja_value *a, const struct jinja_value *b);
bool jinja_is_text(const struct jinja_value *v, const char *text);
/* -1, 0, 1; an error where they have no order. */
int jinja_order(struct jinja_run *r, const struct jinja_value *a, const struct jinja_value *b,
                int *order);
const char *jinja_kind_name(const struct jinja_value *v);
/* As {{ }} prints it. */
int jinja_print(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v);
int jinja_to_json(struct jinja_run *r, struct jinja_builder *b, const struct jinja_value *v,
                  int indent, int level);
int jinja_from_json(struct jinja_run *r, const json_t *j, bool user, struct jinja_value *out);
int jinja_list_new(struct jinja_run *r, size_t cap, struct jinja_value *out);
int jinja_list_add(struct jinja_run *r, struct jinja_list *l, const struct jinja_value *v);
int jinja_map_new(struct jinja_run *r, size_t cap, struct jinja_value *out);
int jinja_map_set(struct jinja_run *r, struct jinja_map *m, const struct jinja_value *key,
                  const struct jinja_value *value);
const struct jinja_value *jinja_map_get(const struct jinja_map *m, const struct jinja_value *key);
/* The elements of a list, keys of a map, characters of a string. */
int jinja_elements(struct jinja_run *r, const struct jinja_value *v, struct jinja_value *list);
/* Bytes of the character at s. */
size_t jinja_char_size(const char *s, size_t n);
size_t jinja_chars(const struct jinja_value *v);

/* serve_jinja_call.c */
int jinja_filter(struct jinja_run *r, const char *name, const struct jinja_value *self,
                 const struct jinja_args *args, struct jinja_value *out);
int jinja_test(struct jinja_run *r, const char *name, const struct jinja_value *self,
               const struct jinja_args *args, bool *out);
int jinja_method(struct jinja_run *r, const char *name, const struct jinja_value *self,
                 const struct jinja_args *args, struct jinja_value *out);
const struct jinja_function *jinja_global(const char *name);
/* self.name or self[name]: a member, or undefined. */
int jinja_member(struct jinja_run *r, const struct jinja_value *self, const struct jinja_value *key,
                 struct jinja_value *out);
/* serve_jinja_eval.c */
int jinja_eval(struct jinja_run *r, const struct jinja_node *n, struct jinja_value *out);

#endif
