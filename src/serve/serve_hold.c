/* serve_hold.c: how much of a text that still grows is certain.
 *
 * Two things hold text back: an unfinished UTF-8 character (its bytes may be several tokens), and the
 * beginning of a stop string, which must not be shown before it is known not to be one. */
#include "serve/serve_hold_internal.h"

#include <string.h>

static size_t unfinished_utf8(const char *text, size_t n)
{
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        unsigned char c = (unsigned char)text[n - back];
        if ((c & 0xC0) == 0x80) continue;
        size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
        return need > back ? back : 0;
    }
    return 0;
}

static size_t unfinished_stop(const char *const *stop, size_t n_stop, const char *text, size_t n)
{
    size_t longest = 0;
    for (size_t i = 0; i < n_stop; i++) {
        size_t len = strlen(stop[i]);
        for (size_t k = MIN(n, len ? len - 1 : 0); k > longest; k--) {
            if (memcmp(text + n - k, stop[i], k) == 0) longest = k;
        }
    }
    return longest;
}

size_t serve_certain(const char *const *stop, size_t n_stop, const char *text, size_t n)
{
    return n - MAX(unfinished_utf8(text, n), unfinished_stop(stop, n_stop, text, n));
}

size_t serve_find_stop(const char *const *stop, size_t n_stop, const char *text, size_t n)
{
    size_t first = SIZE_MAX;
    for (size_t i = 0; i < n_stop; i++) {
        const char *at = stop[i][0] ? memmem(text, n, stop[i], strlen(stop[i])) : NULL;
        if (at) first = MIN(first, (size_t)(at - text));
    }
    return first;
}
