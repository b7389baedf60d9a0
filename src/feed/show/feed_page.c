/* feed_page.c: a page of how fast posts come, how old the newest is, what rises, and search: the files
 * web/feed.html and web/feed.js, assembled in as they are. It loads nothing from elsewhere; texts of
 * posts are set as text, never as markup. */
#include "feed/show/feed_show_internal.h"

/* A file, and a NUL behind it. */
#define EMBED(id, name)                                                                          \
    __asm__(".pushsection .rodata\n" #id ":\n.incbin \"web/" name "\"\n.byte 0\n.popsection\n"); \
    extern const char id[]
EMBED(feed_html_file, "feed.html");
EMBED(feed_js_file, "feed.js");

const char *const feed_page_html = feed_html_file;
const char *const feed_page_js = feed_js_file;
