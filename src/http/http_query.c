/* http_query.c: parameters of a request's query that nobody asked for.
 *
 * A parameter that is passed over in silence is an answer to another question than the client's: a
 * name that is mistyped, one that is given twice, one whose value ends at a NUL for whoever reads it
 * as a string. Handlers that take parameters say which ones they know. */
#include "http/http_internal.h"

#include <string.h>

#define MAX_NAMES 32

struct check {
    const char *const *known;
    size_t n;
    bool seen[MAX_NAMES];
    struct error *e;
    int rc;
};

static int look(struct check *c, const char *key, size_t key_size, const char *value,
                size_t value_size)
{
    size_t i = 0;
    if (memchr(key, '\0', key_size) || (value && memchr(value, '\0', value_size)))
        return error_set_code(c->e, ERROR_USAGE, "the parameter '%.60s' holds a NUL", key);
    while (i < c->n && strcmp(c->known[i], key) != 0)
        i++;
    if (i == c->n) {
        const char *near = name_nearest(key, c->known, c->n);
        error_set_code(c->e, ERROR_USAGE, "there is no parameter '%.60s'", key);
        if (near) error_hint(c->e, "did you mean '%s'?", near);
        return ERROR_USAGE;
    }
    if (c->seen[i]) return error_set_code(c->e, ERROR_USAGE, "'%s' is given twice", key);
    c->seen[i] = true;
    return 0;
}

static enum MHD_Result each(void *ctx, enum MHD_ValueKind kind, const char *key, size_t key_size,
                            const char *value, size_t value_size)
{
    struct check *c = ctx;
    (void)kind;
    c->rc = look(c, key, key_size, value, value_size);
    return c->rc < 0 ? MHD_NO : MHD_YES;
}

int http_query_check(const http_request_t *r, const char *const *known, struct error *e)
{
    struct error own = {0};
    struct check c = {.known = known, .e = e ? e : &own};
    while (known[c.n])
        c.n++;
    CHECK(c.n <= MAX_NAMES);
    if (r->connection) MHD_get_connection_values_n(r->connection, MHD_GET_ARGUMENT_KIND, each, &c);
    return c.rc;
}
