/* feed_link.c: what comes over a connection, cut into lines; connections over HTTP, on libcurl. */
#include "feed/follow/feed_follow_internal.h"

#include <curl/curl.h>

#define MAX_LINE ((size_t)16 << 20)

int64_t feed_peek_number(const char *line, size_t n, const char *key)
{
    char quoted[40];
    int k = snprintf(quoted, sizeof(quoted), "\"%s\":", key);
    const char *at = memmem(line, n, quoted, (size_t)k), *end = line + n;
    if (!at) return 0;
    at += k;
    while (at < end && (*at == ' ' || *at == '"'))
        at++;
    int64_t v = 0;
    for (; at < end && *at >= '0' && *at <= '9' && v < INT64_MAX / 10 - 10; at++)
        v = v * 10 + (*at - '0');
    return v;
}

void feed_link_gap(struct feed_link *x, int64_t from_ms, int64_t to_ms, const char *why)
{
    pthread_mutex_lock(&x->guard);
    if (x->n_gaps < ARRAY_LEN(x->gaps)) {
        snprintf(x->whys[x->n_gaps], sizeof(x->whys[0]), "%s", why);
        x->gaps[x->n_gaps] = (struct feed_gap){x->o->name, x->whys[x->n_gaps], from_ms, to_ms};
        x->n_gaps++;
    }
    pthread_mutex_unlock(&x->guard);
}

/* A whole line: where the stream is, and into the queue with it. */
static bool take_line(struct feed_link *x)
{
    const char *s = x->partial.data;
    size_t n = x->partial.len;
    int64_t now = feed_now_ms();
    while (n && (s[n - 1] == '\r' || s[n - 1] == '\n'))
        n--;
    x->last_ms = now;
    if (x->o->source == FEED_FOLLOW_JETSTREAM) {
        int64_t at = feed_peek_number(s, n, "time_us");
        if (at && x->expected_from && at > x->expected_from + 60 * 1000000LL)
            feed_link_gap(x, x->expected_from / 1000, at / 1000, "the service no longer had it");
        if (at) x->expected_from = 0;
        if (at > x->cursor) x->cursor = at;
    }
    if (x->o->source == FEED_FOLLOW_MASTODON && n > 6 && memcmp(s, "data: ", 6) == 0) {
        int64_t id = feed_peek_number(s, n, "id");
        if (id > x->cursor) x->cursor = id;
    }
    if (n == 0 && x->o->source != FEED_FOLLOW_MASTODON) return true; /* a heartbeat */
    x->data |= n > 0;
    return feed_queue_put(x->queue, s ? s : "", n, now, &x->error) >= 0;
}

bool feed_link_bytes(struct feed_link *x, const char *s, size_t n)
{
    x->heard_s = time_now_s();
    while (n) {
        const char *end = memchr(s, '\n', n);
        size_t k = end ? (size_t)(end - s) + 1 : n;
        if (x->partial.len + k > MAX_LINE) {
            log_warn("a line of more than 16 MiB is left out");
            str_clear(&x->partial);
            if (!end) return true;
        }
        str_append(&x->partial, s, k);
        s += k;
        n -= k;
        if (!end) break;
        bool good = take_line(x);
        str_clear(&x->partial);
        if (!good) return false;
    }
    return true;
}

/* ------------------------------------------------------------------ HTTP */

struct transfer {
    struct feed_link *x;
    CURL *curl;
    void (*connected)(struct feed_link *);
    bool begun, silent;
};

static size_t on_data(char *s, size_t size, size_t count, void *ctx)
{
    struct transfer *t = ctx;
    struct feed_link *x = t->x;
    size_t n = size * count;
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &x->status);
    if (x->status != 200) {
        if (x->answer.len < 2000) str_append(&x->answer, s, MIN(n, (size_t)2000));
        return n;
    }
    if (!t->begun) {
        t->begun = true;
        x->state = "connected";
        if (t->connected) t->connected(x);
    }
    return feed_link_bytes(x, s, n) ? n : 0;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct transfer *t = ctx;
    (void)a, (void)b, (void)c, (void)d;
    if (atomic_load(&t->x->stop)) return 1;
    t->silent = time_now_s() - t->x->heard_s > t->x->policy.silent_s;
    return t->silent;
}

/* What every request has: the key, the name, no other host, no other scheme. */
static struct curl_slist *prepare(CURL *c, const struct feed_follow_options *o, const char *url)
{
    struct curl_slist *headers = NULL;
    struct str text = {0};
    if (o->token) {
        str_printf(&text, "Authorization: Bearer %s", o->token);
        headers = curl_slist_append(headers, text.data);
        str_fini(&text);
    }
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "colossus-feed");
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, 15L);
    curl_easy_setopt(c, CURLOPT_ACCEPT_ENCODING, "");
    if (headers) curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
    return headers;
}

static enum feed_end ending(const struct transfer *t, CURLcode rc)
{
    const struct feed_link *x = t->x;
    if (atomic_load(&x->stop) || x->error.code) return FEED_END_STOPPED;
    if (t->silent) return FEED_END_SILENT;
    if (x->status == 429 || x->status == 420) return FEED_END_RATE;
    if (x->status == 401 || x->status == 403) return FEED_END_REFUSED;
    if (x->status >= 300) return FEED_END_HTTP;
    if (rc == CURLE_OK) return FEED_END_CLOSED;
    return x->data ? FEED_END_CLOSED : FEED_END_TCP;
}

enum feed_end feed_link_http(struct feed_link *x, const char *url,
                             void (*connected)(struct feed_link *))
{
    CURL *c = curl_easy_init();
    struct transfer t = {.x = x, .curl = c, .connected = connected};
    if (!c) mem_exhausted(0);
    x->status = 0;
    x->data = false;
    x->heard_s = time_now_s();
    str_clear(&x->partial);
    str_clear(&x->answer);
    struct curl_slist *headers = prepare(c, x->o, url);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, &t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    CURLcode rc = curl_easy_perform(c);
    if (x->status == 0) curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &x->status);
    enum feed_end end = ending(&t, rc);
    if (rc != CURLE_OK && end == FEED_END_TCP && x->answer.len == 0)
        str_puts(&x->answer, curl_easy_strerror(rc));
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    return end;
}

static size_t on_body(char *s, size_t size, size_t count, void *ctx)
{
    struct str *body = ctx;
    if (body->len + size * count > MAX_LINE) return 0;
    str_append(body, s, size * count);
    return size * count;
}

long feed_fetch(const struct feed_follow_options *o, const char *url, const char *post,
                struct str *body, struct error *e)
{
    CURL *c = curl_easy_init();
    long status = 0;
    if (!c) mem_exhausted(0);
    struct curl_slist *headers = prepare(c, o, url);
    if (post) {
        headers = curl_slist_append(headers, "Content-Type: application/json");
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, post);
    }
    curl_easy_setopt(c, CURLOPT_TIMEOUT, 30L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, body);
    CURLcode rc = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    curl_slist_free_all(headers);
    if (rc == CURLE_OK) return status;
    return error_set(e, "no answer from '%.200s': %s", url, curl_easy_strerror(rc));
}
