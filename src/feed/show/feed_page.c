/* feed_page.c: a page of how fast posts come, how old the newest is, what rises, and search: the files
 * web/feed.html and web/feed.js, assembled in as they are. It loads nothing from elsewhere; texts of
 * posts are set as text, never as markup. */
#include "feed/show/feed_show_internal.h"

/* Ends in NUL. */
#define EMBED(id, name)                                                           \
    __asm__(".pushsection .rodata\n.globl " #id "\n" #id ":\n.incbin \"web/" name \
            "\"\n.byte 0\n.popsection\n")
EMBED(feed_page_html, "feed.html");
EMBED(feed_page_js, "feed.js");
