/* serve_live_internal.h: a request that is answered from posts, and what its answer looks like. */
#ifndef COLOSSUS_SERVE_LIVE_INTERNAL_H
#define COLOSSUS_SERVE_LIVE_INTERNAL_H

#include "feed/feed.h"
#include "serve/serve.h"

struct live_answer {
    http_request_t *http;
    const struct serve_search_request *q;
    char id[48], item[48], search[48]; /* of the answer, its message, its search */
    int64_t created, events;           /* events: sent */
    int64_t prompt_tokens, written_tokens;
    bool begun; /* the stream */
    double wrote_s;
};

/* Sources are known: the stream begins with them. */
void live_begin(struct live_answer *a, const struct feed_reply *x);
/* The whole answer, or the rest of the stream. */
void live_end(struct live_answer *a, const struct feed_reply *x);
void live_fail(struct live_answer *a, int status, const char *text);

#endif
