/* http_files.c: the files of web/, which are part of the program, and how they are given out.
 *
 * They are assembled in as they are: no build step comes between a file and what a browser gets.
 * Pages may load nothing but these files, run no script that stands in their text, and ask nobody
 * but the server that they came from; so that a page shows what a model wrote, or a stranger's post,
 * and cannot be made to act on it. */
#include "http/http_internal.h"

#include <string.h>

#define POLICY                                                                                    \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src " \
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

#define FILES(X)                         \
    X(chat_html, "chat.html")            \
    X(chat_js, "chat.js")                \
    X(chat_api, "chat_api.js")           \
    X(chat_markdown, "chat_markdown.js") \
    X(chat_settings, "chat_settings.js") \
    X(chat_sources, "chat_sources.js")   \
    X(chat_store, "chat_store.js")       \
    X(chat_util, "chat_util.js")         \
    X(chat_view, "chat_view.js")         \
    X(style, "style.css")

/* Bytes of a file, and how many there are. */
#define EMBED(id, name)                                                                    \
    __asm__(".pushsection .rodata\nhttp_file_" #id ":\n.incbin \"web/" name "\"\n1:\n"     \
            ".balign 8\nhttp_size_" #id ":\n.quad 1b - http_file_" #id "\n.popsection\n"); \
    extern const char http_file_##id[];                                                    \
    extern const uint64_t http_size_##id;
FILES(EMBED)

static const struct {
    const char *name, *data;
    const uint64_t *size;
} files[] = {
#define ROW(id, name) {name, http_file_##id, &http_size_##id},
    FILES(ROW)
#undef ROW
};

static const char *type_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    if (strcmp(dot, ".html") == 0) return "text/html; charset=utf-8";
    if (strcmp(dot, ".css") == 0) return "text/css; charset=utf-8";
    return "text/javascript; charset=utf-8";
}

bool http_reply_file(http_request_t *r, const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        if (strcmp(files[i].name, name) != 0) continue;
        http_add_header(r, "Content-Security-Policy", POLICY);
        http_add_header(r, "Referrer-Policy", "no-referrer");
        http_add_header(r, "Cache-Control", "no-cache"); /* another version may come to this port */
        http_reply(r, 200, type_of(name), files[i].data, *files[i].size);
        return true;
    }
    return false;
}
