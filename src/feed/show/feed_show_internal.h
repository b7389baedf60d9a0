/* feed_show_internal.h: the page of a store (feed_page.c). */
#ifndef COLOSSUS_FEED_SHOW_INTERNAL_H
#define COLOSSUS_FEED_SHOW_INTERNAL_H

#include "feed/feed.h"

#include <string.h>

extern const char *const feed_page_html, *const feed_page_js;

#endif
