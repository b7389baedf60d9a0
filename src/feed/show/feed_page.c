/* feed_page.c: a page of how fast posts come, how old the newest is, what rises, and search: the files
 * web/feed.html and web/feed.js, assembled in as they are. It loads nothing from elsewhere; texts of
 * posts are set as text, never as markup. */
#include "feed/show/feed_show_internal.h"

EMBED_FILE(feed_html_file, "web/feed.html");
EMBED_FILE(feed_js_file, "web/feed.js");

const char *const feed_page_html = feed_html_file;
const char *const feed_page_js = feed_js_file;
