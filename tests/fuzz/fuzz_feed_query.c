/* fuzz_feed_query.c: any bytes as a query, and, behind the first line, as the text of a post that it
 * is held against. What is refused says why; a post with the query's own words does not crash it. */
#include "feed/feed.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    feed_query_t *q;
    struct arena a = {0};
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    char *text = arena_strndup(&a, (const char *)data, n);
    char id[] = "1234";
    struct feed_post p = {.id = {id, 4},
                          .text = {(char *)(uintptr_t)(data + n), size - n},
                          .author = {text, strlen(text)},
                          .created_ms = 1783000000000LL};
    if (feed_query_parse(text, &q, &e) < 0) {
        CHECK(e.code == ERROR_USAGE && e.text[0]);
    } else {
        bool first = feed_query_matches(q, &p);
        CHECK(feed_query_matches(q, &p) == first);
        feed_query_free(q);
    }
    arena_fini(&a);
    return 0;
}
