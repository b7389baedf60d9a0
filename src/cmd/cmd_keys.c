/* cmd_keys.c: keys of a file, for commands that serve. */
#include "cmd/cmd.h"

#include <string.h>

#define MAX_KEY_FILE (1u << 16)

int cmd_read_key_file(const char *path, struct arena *a, const char **keys, size_t cap, size_t *n,
                      struct error *e)
{
    char *text;
    size_t size, before = *n;
    TRY(file_read(path, MAX_KEY_FILE, &text, &size, e));
    for (char *line = text, *next; line && *n < cap; line = next) {
        next = strchr(line, '\n');
        if (next) *next++ = '\0';
        line[strcspn(line, "\r")] = '\0';
        if (line[0] && line[0] != '#') keys[(*n)++] = arena_strdup(a, line);
    }
    mem_free(text);
    return *n > before ? 0 : error_set(e, "there is no key in '%s'", path);
}
