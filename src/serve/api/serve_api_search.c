/* serve_api_search.c: requests that ask for sources, in xAI's words: `search_parameters` and the tool
 * `live_search` of a chat (docs.x.ai, Live Search), the tool `x_search` of a response (X Search).
 *
 * Who answers them is not known here (serve_search): this file finds out what is asked, and what of it
 * a store of posts cannot do. That is refused, or noted in the answer, and never passed over: a filter
 * that is ignored would give sources that the client has ruled out. */
#include "serve/api/serve_api_internal.h"

#include <string.h>
#include <time.h>

enum { MOST_HANDLES = 10, MOST_QUESTION = 1 << 16, MOST_SOURCES = 50, MOST_TOKENS = 4096 };
enum { MOST_VERSIONS = 1000 }; /* of sources, in a request */

struct reading {
    struct serve_search_request *q;
    struct arena *arena;
    struct str within;
    struct api_error *x;
};

static bool is_type(const json_t *o, const char *type)
{
    const char *own = json_string_value(json_object_get(o, "type"));
    return own && strcmp(own, type) == 0;
}

/* Every member is one of `known`. */
static int check_members(const json_t *o, const char *what, const char *const *known,
                         struct api_error *x)
{
    json_t *object = (json_t *)(uintptr_t)o, *item;
    const char *key;
    if (!json_is_object(o)) return api_wrong(x, 400, what, "'%s' must be an object", what);
    json_object_foreach(object, key, item)
    {
        size_t i = 0;
        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i])
            return api_wrong(x, 400, what, "'%s' has '%.60s', which is not known here", what, key);
    }
    return 0;
}

static void note(struct reading *r, const char *text)
{
    for (size_t i = 0; i < r->q->n_notes; i++)
        if (strcmp(r->q->notes[i], text) == 0) return;
    if (r->q->n_notes < ARRAY_LEN(r->q->notes)) r->q->notes[r->q->n_notes++] = text;
}

/* ------------------------------------------------------------------ whom, when, how liked */

static bool is_handle(const char *s)
{
    size_t n = strlen(s);
    return n > 0 && n <= 64 &&
           strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == n &&
           s[0] != '-' && s[0] != '.';
}

/* "(from:a OR from:b)", or "-from:a -from:b". */
static int read_handles(struct reading *r, const json_t *o, const char *key, bool without)
{
    const json_t *list = json_object_get(o, key);
    size_t n = json_array_size(list);
    if (!list || json_is_null(list)) return 0;
    if (!json_is_array(list) || n > MOST_HANDLES)
        return api_wrong(r->x, 400, key, "'%s' must be a list of up to %d names", key,
                         MOST_HANDLES);
    for (size_t i = 0; i < n; i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name && name[0] == '@') name++;
        if (!name || !is_handle(name))
            return api_wrong(r->x, 400, key, "'%s': name %zu is none that an author has", key, i);
        if (without)
            str_printf(&r->within, " -from:%s", name);
        else
            str_printf(&r->within, "%sfrom:%s", i ? " OR " : " (", name);
    }
    if (n && !without) str_append_char(&r->within, ')');
    return 0;
}

static int read_both_handles(struct reading *r, const json_t *o, const char *with, const char *less)
{
    if (json_array_size(json_object_get(o, with)) && json_array_size(json_object_get(o, less)))
        return api_wrong(r->x, 400, less, "'%s' and '%s' do not go together", with, less);
    if (read_handles(r, o, with, false) < 0) return -1;
    return read_handles(r, o, less, true);
}

/* A day "2026-07-02", as seconds since 1970. */
static int read_day(struct reading *r, const json_t *o, const char *key, int64_t *out)
{
    const json_t *v = json_object_get(o, key);
    const char *text = json_string_value(v);
    struct tm t = {0}, again;
    int used = 0;
    *out = -1;
    if (!v || json_is_null(v)) return 0;
    if (text && strlen(text) == 10 &&
        sscanf(text, "%4d-%2d-%2d%n", &t.tm_year, &t.tm_mon, &t.tm_mday, &used) == 3 &&
        used == 10) {
        t.tm_year -= 1900;
        t.tm_mon -= 1;
        again = t;
        time_t when = timegm(&again);
        bool same =
            again.tm_year == t.tm_year && again.tm_mon == t.tm_mon && again.tm_mday == t.tm_mday;
        if (same && t.tm_year >= 70) {
            *out = (int64_t)when;
            return 0;
        }
    }
    return api_wrong(r->x, 400, key, "'%s' must be a day such as 2026-07-02", key);
}

/* Both days are included. */
static int read_days(struct reading *r, const json_t *o)
{
    int64_t from, to;
    if (read_day(r, o, "from_date", &from) < 0 || read_day(r, o, "to_date", &to) < 0) return -1;
    if (from >= 0 && to >= 0 && from > to)
        return api_wrong(r->x, 400, "from_date", "'from_date' is after 'to_date'");
    if (from >= 0) str_printf(&r->within, " since_time:%lld", (long long)from);
    if (to >= 0) str_printf(&r->within, " until_time:%lld", (long long)to + 86400);
    return 0;
}

/* ------------------------------------------------------------------ the two forms */

static int read_x_search(struct reading *r, const json_t *tool)
{
    static const char *const known[] = {
        "type",    "allowed_x_handles",          "excluded_x_handles",         "from_date",
        "to_date", "enable_image_understanding", "enable_video_understanding", NULL};
    bool pictures = false, films = false;
    if (check_members(tool, "x_search", known, r->x) < 0) return -1;
    if (api_read_bool(tool, "enable_image_understanding", &pictures, r->x) < 0) return -1;
    if (api_read_bool(tool, "enable_video_understanding", &films, r->x) < 0) return -1;
    if (pictures || films) note(r, "pictures and films of posts are not looked at");
    if (read_both_handles(r, tool, "allowed_x_handles", "excluded_x_handles") < 0) return -1;
    return read_days(r, tool);
}

static int read_source(struct reading *r, const json_t *source, bool *posts)
{
    static const char *const known[] = {
        "type", "x_handles", "included_x_handles", "excluded_x_handles", "post_favorite_count",
        NULL};
    int64_t liked = -1;
    const char *with = json_object_get(source, "x_handles") ? "x_handles" : "included_x_handles";
    if (is_type(source, "web") || is_type(source, "news") || is_type(source, "rss")) {
        note(r, "only posts are searched: there is no web, no news and no feed here");
        return 0;
    }
    if (!is_type(source, "x"))
        return api_wrong(r->x, 400, "sources", "a source is {\"type\": \"x\", ...} here");
    if (*posts) return api_wrong(r->x, 400, "sources", "the source 'x' is given twice");
    *posts = true;
    if (check_members(source, "sources", known, r->x) < 0) return -1;
    if (json_object_get(source, "x_handles") && json_object_get(source, "included_x_handles"))
        return api_wrong(r->x, 400, "x_handles", "'x_handles' is 'included_x_handles': give one");
    if (read_both_handles(r, source, with, "excluded_x_handles") < 0) return -1;
    if (api_read_int(source, "post_favorite_count", 0, INT32_MAX, &liked, r->x) < 0) return -1;
    if (liked >= 0) str_printf(&r->within, " min_faves:%lld", (long long)liked);
    return 0;
}

/* search_parameters, or a tool live_search that holds the same. *off: it is not wanted. */
static int read_live_search(struct reading *r, const json_t *o, const char *what, bool *off)
{
    static const char *const known[] = {
        "type", "mode", "sources", "from_date", "to_date", "max_search_results", "return_citations",
        NULL};
    const json_t *sources = json_object_get(o, "sources"), *mode = json_object_get(o, "mode");
    const char *word = mode && !json_is_null(mode) ? json_string_value(mode) : "auto";
    bool posts = false;
    if (check_members(o, what, known, r->x) < 0) return -1;
    if (!word || (strcmp(word, "auto") != 0 && strcmp(word, "on") != 0 && strcmp(word, "off") != 0))
        return api_wrong(r->x, 400, "mode", "'mode' must be \"auto\", \"on\" or \"off\"");
    *off = strcmp(word, "off") == 0;
    if (*off) return 0;
    if (api_read_int(o, "max_search_results", 1, MOST_SOURCES, &r->q->sources, r->x) < 0 ||
        api_read_bool(o, "return_citations", &r->q->citations, r->x) < 0 || read_days(r, o) < 0 ||
        api_check_list(o, "sources", r->x) < 0)
        return -1;
    if (r->q->sources > 16) note(r, "at most sixteen sources are given");
    size_t n = json_array_size(sources);
    for (size_t i = 0; i < n; i++)
        if (read_source(r, json_array_get(sources, i), &posts) < 0) return -1;
    if (n && !posts)
        return api_wrong(r->x, 400, "sources", "this server has posts only: the source 'x'");
    return 0;
}

/* ------------------------------------------------------------------ the question */

/* A message's text, or the texts of its parts. */
static const char *text_of(struct reading *r, const json_t *content)
{
    struct str all = {0};
    if (json_is_string(content)) str_puts(&all, json_string_value(content));
    for (size_t i = 0; i < json_array_size(content); i++) {
        const char *text = json_string_value(json_object_get(json_array_get(content, i), "text"));
        if (text) str_printf(&all, "%s%s", all.len ? "\n" : "", text);
    }
    const char *out = arena_strdup(r->arena, all.len ? all.data : "");
    str_fini(&all);
    return out;
}

/* The last message of the user: earlier ones are not part of what is looked for. */
static int read_question(struct reading *r, const json_t *o)
{
    const char *param = r->q->chat ? "messages" : "input";
    const json_t *all = json_object_get(o, param), *last = NULL;
    if (!r->q->chat && json_is_string(all)) last = all;
    for (size_t i = 0; i < json_array_size(all); i++) {
        const json_t *m = json_array_get(all, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        if (role && strcmp(role, "user") == 0) last = json_object_get(m, "content");
    }
    r->q->question = last ? text_of(r, last) : "";
    if (strlen(r->q->question) == 0)
        return api_wrong(r->x, 400, param, "there is no message of a user that asks something");
    if (strlen(r->q->question) > MOST_QUESTION)
        return api_wrong(r->x, 400, param, "a question has at most %d bytes", MOST_QUESTION);
    return 0;
}

/* What a chat or response may say beside its search. */
static int read_rest(struct reading *r, const struct serve_server *s, const json_t *o)
{
    struct serve_search_request *q = r->q;
    const json_t *options = json_object_get(o, "stream_options");
    int64_t n = 1;
    double until;
    if (api_check_model(s, o, r->x) < 0 || api_read_bool(o, "stream", &q->stream, r->x) < 0 ||
        api_read_bool(options, "include_usage", &q->include_usage, r->x) < 0 ||
        api_read_int(o, "n", 1, 1, &n, r->x) < 0)
        return -1;
    static const char *const most[] = {"max_tokens", "max_completion_tokens", "max_output_tokens"};
    for (size_t i = 0; i < ARRAY_LEN(most); i++)
        if (api_read_int(o, most[i], 1, INT32_MAX, &q->max_tokens, r->x) < 0) return -1;
    q->max_tokens = MIN(q->max_tokens, MOST_TOKENS);
    if (api_read_deadline(s, o, &until, r->x) < 0) return -1;
    if (until > 0) q->timeout_s = until - time_now_s();
    const json_t *format = json_object_get(o, "response_format");
    if (!format) format = json_object_get(json_object_get(o, "text"), "format");
    if (format && !json_is_null(format) && !is_type(format, "text"))
        return api_wrong(r->x, 400, "response_format",
                         "an answer from posts is text: no other form goes with a search");
    return read_question(r, o);
}

/* The search that the body asks for; 0: none. Functions do not go with it: what reads posts of
 * strangers is given nothing that it could do. */
static int read_search(struct reading *r, const json_t *o, bool *wanted)
{
    const json_t *tools = json_object_get(o, "tools"), *search = NULL, *own;
    size_t n = json_is_array(tools) ? json_array_size(tools) : 0, others = 0;
    bool off = false;
    own = json_object_get(o, "search_parameters");
    if (json_is_null(own)) own = NULL;
    if (own && !r->q->chat)
        return api_wrong(r->x, 400, "search_parameters",
                         "that is of /v1/chat/completions; here a search is a tool: "
                         "\"tools\": [{\"type\": \"x_search\"}]");
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(tools, i);
        bool is_search = is_type(t, "live_search") || (!r->q->chat && is_type(t, "x_search"));
        if (is_search && search)
            return api_wrong(r->x, 400, "tools", "a tool that searches is given twice");
        if (is_search) search = t;
        others += !is_search;
    }
    *wanted = search || own;
    if (!*wanted) return 0;
    if (search && own)
        return api_wrong(r->x, 400, "search_parameters",
                         "'search_parameters' beside a search tool");
    int rc = own                           ? read_live_search(r, own, "search_parameters", &off)
             : is_type(search, "x_search") ? read_x_search(r, search)
                                           : read_live_search(r, search, "live_search", &off);
    if (rc < 0) return -1;
    *wanted = !off;
    if (off && search)
        return api_wrong(r->x, 400, "mode", "leave the tool out where no search is wanted");
    if (*wanted && others)
        return api_wrong(r->x, 400, "tools",
                         "a search goes with no other tool: who reads posts of strangers is given "
                         "nothing that it could do");
    return 0;
}

static const char *const fields[] = {"model",
                                     "messages",
                                     "input",
                                     "tools",
                                     "search_parameters",
                                     "stream",
                                     "stream_options",
                                     "n",
                                     "max_tokens",
                                     "max_completion_tokens",
                                     "max_output_tokens",
                                     "timeout",
                                     "response_format",
                                     "text",
                                     "store",
                                     "user",
                                     NULL};

int api_take_search(struct serve_server *s, http_request_t *r, const json_t *o, bool chat,
                    struct api_error *x)
{
    struct serve_search_request *q = arena_alloc(http_arena(r), sizeof(*q));
    struct reading reading = {.q = q, .arena = http_arena(r), .x = x};
    bool wanted = false;
    *q = (struct serve_search_request){.chat = chat, .model = s->id, .citations = true};
    int rc = read_search(&reading, o, &wanted);
    if (rc == 0 && wanted && !s->o.search)
        rc = api_wrong(x, 400, "tools", "this server has no posts to search: --feed STORE");
    if (rc == 0 && wanted) rc = read_rest(&reading, s, o);
    if (reading.within.len) q->within = arena_strdup(http_arena(r), reading.within.data);
    str_fini(&reading.within);
    if (rc < 0 || !wanted) return rc;
    api_name_unknown(r, o, fields);
    if (s->o.search->take(s->o.search->ctx, r, q)) return 1;
    return api_wrong(x, 429, NULL, "too many searches wait: try again later");
}

/* {"sources": [version, ...]}: those of them whose posts are gone or say something else. */
void api_sources_handler(void *ctx, http_request_t *r)
{
    static const char *const known[] = {"sources", NULL};
    const struct serve_server *s = ctx;
    struct api_error x = {0};
    struct error e = {0};
    json_t *gone = NULL, *o = api_read_body(r);
    if (!o) return;
    const json_t *versions = json_object_get(o, "sources");
    int rc = 0;
    if (!s->o.search)
        rc = api_wrong(&x, 404, NULL, "this server has no posts: --feed STORE");
    else if (!json_is_array(versions) || json_array_size(versions) > MOST_VERSIONS)
        rc = api_wrong(&x, 400, "sources", "'sources' is an array of up to %d versions of sources",
                       MOST_VERSIONS);
    else if (s->o.search->gone(s->o.search->ctx, versions, &gone, &e) < 0)
        rc = api_wrong(&x, e.code == ERROR_USAGE ? 400 : 500, "sources", "%s", e.text);
    if (rc == 0) api_name_unknown(r, o, known);
    json_decref(o);
    if (rc == 0)
        http_reply_json(r, 200, json_pack("{s:s,s:o}", "object", "list", "gone", gone));
    else
        api_reply_error(r, &x);
}
