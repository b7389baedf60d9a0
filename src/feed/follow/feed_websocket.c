/* feed_websocket.c: connections of Jetstream, on libwebsockets: each message is a line. */
#include "feed/follow/feed_follow_internal.h"

#include <libwebsockets.h>

struct socket {
    struct feed_link *x;
    bool up, ended;
    char why[160];
};

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t n)
{
    struct socket *s = lws_context_user(lws_get_context(wsi));
    (void)user;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        s->up = true;
        s->x->status = 200;
        s->x->state = "connected";
        s->x->heard_s = time_now_s();
        break;
    case LWS_CALLBACK_CLIENT_RECEIVE: {
        bool last = lws_is_final_fragment(wsi) && lws_remaining_packet_payload(wsi) == 0;
        bool good = feed_link_bytes(s->x, in, n);
        if (good && last) good = feed_link_bytes(s->x, "\n", 1);
        if (!good) return -1;
        break;
    }
    case LWS_CALLBACK_CLIENT_RECEIVE_PONG: s->x->heard_s = time_now_s(); break;
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        snprintf(s->why, sizeof(s->why), "%.*s", in ? (int)MIN(n, sizeof(s->why) - 1) : 0,
                 in ? (const char *)in : "");
        s->ended = true;
        break;
    case LWS_CALLBACK_CLIENT_CLOSED: s->ended = true; break;
    default: break;
    }
    return 0;
}

static enum feed_end ending(const struct socket *s, bool silent)
{
    const struct feed_link *x = s->x;
    if (atomic_load(&x->stop) || x->error.code) return FEED_END_STOPPED;
    if (silent) return FEED_END_SILENT;
    if (strstr(s->why, "429")) return FEED_END_RATE;
    if (strstr(s->why, "401") || strstr(s->why, "403")) return FEED_END_REFUSED;
    if (!s->up) return strstr(s->why, "HTTP") ? FEED_END_HTTP : FEED_END_TCP;
    return FEED_END_CLOSED;
}

enum feed_end feed_link_websocket(struct feed_link *x, const char *url)
{
    static const lws_retry_bo_t pings = {.secs_since_valid_ping = 15,
                                         .secs_since_valid_hangup = 45};
    static const struct lws_protocols protocols[] = {{"", on_event, 0, 65536, 0, NULL, 0},
                                                     {NULL, NULL, 0, 0, 0, NULL, 0}};
    struct socket s = {.x = x};
    struct lws_context_creation_info info = {0};
    struct lws_client_connect_info to = {0};
    const char *scheme, *host, *path;
    char *copy = mem_strdup(url);
    bool silent = false;
    x->status = 0;
    x->data = false;
    x->heard_s = time_now_s();
    str_clear(&x->partial);
    str_clear(&x->answer);
    lws_set_log_level(0, NULL);
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = protocols;
    info.user = &s;
    info.options = LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    info.retry_and_idle_policy = &pings;
    struct lws_context *context = lws_create_context(&info);
    if (!context || lws_parse_uri(copy, &scheme, &host, &to.port, &path)) {
        str_puts(&x->answer, "no WebSocket can be made to this address");
        if (context) lws_context_destroy(context);
        mem_free(copy);
        return FEED_END_REFUSED;
    }
    struct str whole = {0};
    str_printf(&whole, "/%s", path);
    to.context = context;
    to.address = host;
    to.path = whole.data;
    to.host = host;
    to.origin = host;
    to.ssl_connection =
        strcmp(scheme, "wss") == 0 || strcmp(scheme, "https") == 0 ? LCCSCF_USE_SSL : 0;
    to.protocol = NULL;
    to.local_protocol_name = "";
    to.retry_and_idle_policy = &pings;
    if (!lws_client_connect_via_info(&to)) s.ended = true;
    while (!s.ended && !silent && !atomic_load(&x->stop) && !x->error.code) {
        lws_service(context, 0);
        silent = time_now_s() - x->heard_s > x->policy.silent_s;
    }
    lws_context_destroy(context);
    if (s.why[0]) str_puts(&x->answer, s.why);
    str_fini(&whole);
    mem_free(copy);
    return ending(&s, silent);
}
