/* feed_show_internal.h: the page of a store (feed_page.c), and questions to it. */
#ifndef COLOSSUS_FEED_SHOW_INTERNAL_H
#define COLOSSUS_FEED_SHOW_INTERNAL_H

#include "feed/feed.h"
#include "http/http.h"

#include <string.h>

extern const char *const feed_page_html, *const feed_page_js;

/* Answers a question with a stream; an error where nothing was answered yet. chat: who writes, or NULL
 * (feed_server_ask.c). */
int feed_server_ask(const struct feed_chat *chat, feed_store_t *store, http_request_t *r,
                    struct error *e);

#endif
