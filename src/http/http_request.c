/* http_request.c: one request: what it asks, and its answer, whole or piece by piece.
 *
 * Whoever answers writes into the request; libmicrohttpd's thread takes it from there. While there
 * is nothing to take the connection is suspended: it costs nothing, and the first thing that is
 * written resumes it. */
#include "http/http_internal.h"

#include <string.h>

/* ------------------------------------------------------------------ what it asks */

const char *http_method(const http_request_t *r)
{
    return r->method;
}

const char *http_path(const http_request_t *r)
{
    return r->path;
}

const char *http_rest(const http_request_t *r)
{
    return r->rest;
}

/* The connection stays as it is while its request is held by libmicrohttpd, and a query does not
 * change. */
static const char *lookup(const http_request_t *r, enum MHD_ValueKind kind, const char *name)
{
    return r->connection ? MHD_lookup_connection_value(r->connection, kind, name) : NULL;
}

const char *http_query(const http_request_t *r, const char *key)
{
    return lookup(r, MHD_GET_ARGUMENT_KIND, key);
}

const char *http_header(http_request_t *r, const char *name)
{
    return lookup(r, MHD_HEADER_KIND, name);
}

const char *http_body(const http_request_t *r, size_t *size)
{
    *size = r->body.len;
    return r->body.data ? r->body.data : "";
}

int http_body_json(const http_request_t *r, json_t **root, struct error *e)
{
    size_t size;
    const char *text = http_body(r, &size);
    if (size == 0) return error_set(e, "the body is empty: a JSON object is needed");
    TRY(json_parse(text, size, "body", root, e));
    if (json_is_object(*root)) return 0;
    json_decref(*root);
    *root = NULL;
    return error_set(e, "the body is no JSON object");
}

struct arena *http_arena(http_request_t *r)
{
    return &r->arena;
}

uint64_t http_client(const http_request_t *r)
{
    return r->client;
}

uint64_t http_number(const http_request_t *r)
{
    return r->number;
}

/* ------------------------------------------------------------------ life */

void http_request_hold(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    r->holds++;
    pthread_mutex_unlock(&r->lock);
}

static void request_free(http_request_t *r)
{
    struct http_server *s = r->server;
    s->body_bytes -= r->body.len;
    pthread_mutex_lock(&s->lock);
    if (r->previous) r->previous->next = r->next;
    if (s->requests == r) s->requests = r->next;
    if (r->next) r->next->previous = r->previous;
    s->n_requests--;
    pthread_cond_broadcast(&s->done);
    pthread_mutex_unlock(&s->lock);
    for (size_t i = 0; i < r->n_headers; i++) {
        mem_free(r->headers[i].name);
        mem_free(r->headers[i].value);
    }
    mem_free(r->headers);
    mem_free(r->type);
    mem_free(r->note);
    str_fini(&r->body);
    str_fini(&r->out);
    arena_fini(&r->arena);
    pthread_mutex_destroy(&r->lock);
    mem_free(r);
}

void http_request_release(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    CHECK(r->holds > 0);
    bool last = --r->holds == 0;
    pthread_mutex_unlock(&r->lock);
    if (last) request_free(r);
}

/* The lock is held. */
static void resume(http_request_t *r)
{
    if (!r->suspended || !r->connection) return;
    r->suspended = false;
    MHD_resume_connection(r->connection);
}

void http_request_leave(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    r->gone = true;
    resume(r);
    pthread_mutex_unlock(&r->lock);
}

void http_defer(http_request_t *r)
{
    r->deferred = true;
}

bool http_is_gone(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    bool gone = r->gone;
    pthread_mutex_unlock(&r->lock);
    return gone;
}

/* ------------------------------------------------------------------ the answer */

void http_add_header(http_request_t *r, const char *name, const char *value)
{
    pthread_mutex_lock(&r->lock);
    r->headers = mem_realloc(r->headers, (r->n_headers + 1) * sizeof(*r->headers));
    r->headers[r->n_headers++] = (struct http_pair){mem_strdup(name), mem_strdup(value)};
    pthread_mutex_unlock(&r->lock);
}

void http_note(http_request_t *r, const char *fmt, ...)
{
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    pthread_mutex_lock(&r->lock);
    mem_free(r->note);
    r->note = mem_strdup(text);
    pthread_mutex_unlock(&r->lock);
}

/* The lock is held. */
static void begin(http_request_t *r, int status, const char *type)
{
    CHECK_MSG(!r->answered, "request %llu is answered twice", (unsigned long long)r->number);
    r->answered = true;
    r->answer_status = status;
    r->type = mem_strdup(type);
}

void http_reply(http_request_t *r, int status, const char *type, const void *data, size_t size)
{
    pthread_mutex_lock(&r->lock);
    begin(r, status, type);
    if (!r->gone) str_append(&r->out, data, size);
    r->ended = true;
    resume(r);
    pthread_mutex_unlock(&r->lock);
    http_request_release(r);
}

void http_reply_json(http_request_t *r, int status, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    CHECK(text != NULL);
    json_decref(value);
    http_reply(r, status, HTTP_JSON, text, strlen(text));
    mem_free(text);
}

void http_reply_error(http_request_t *r, int status, const struct error *e)
{
    json_t *j = json_pack("{s:s}", "message", e->text);
    if (e->hint[0]) json_object_set_new(j, "hint", json_string(e->hint));
    http_reply_json(r, status, json_pack("{s:o}", "error", j));
}

void http_stream_begin(http_request_t *r, int status, const char *type)
{
    pthread_mutex_lock(&r->lock);
    begin(r, status, type);
    r->streaming = true;
    resume(r);
    pthread_mutex_unlock(&r->lock);
}

void http_stream_write(http_request_t *r, const void *data, size_t size)
{
    pthread_mutex_lock(&r->lock);
    CHECK(r->streaming && !r->ended);
    if (!r->gone) str_append(&r->out, data, size);
    resume(r);
    pthread_mutex_unlock(&r->lock);
}

size_t http_stream_waiting(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    size_t n = r->out.len - r->sent;
    pthread_mutex_unlock(&r->lock);
    return n;
}

void http_stream_end(http_request_t *r)
{
    pthread_mutex_lock(&r->lock);
    CHECK(r->streaming && !r->ended);
    r->ended = true;
    resume(r);
    pthread_mutex_unlock(&r->lock);
    http_request_release(r);
}

void http_event(http_request_t *r, const char *name, const char *data, size_t size)
{
    struct str event = {0};
    if (name) str_printf(&event, "event: %s\n", name);
    str_puts(&event, "data: ");
    str_append(&event, data, size);
    str_puts(&event, "\n\n");
    http_stream_write(r, event.data, event.len);
    str_fini(&event);
}

void http_event_json(http_request_t *r, const char *name, json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT);
    CHECK(text != NULL);
    http_event(r, name, text, strlen(text));
    mem_free(text);
    json_decref(value);
}

void http_event_comment(http_request_t *r, const char *text)
{
    struct str event = {0};
    str_printf(&event, ": %s\n\n", text);
    http_stream_write(r, event.data, event.len);
    str_fini(&event);
}

/* ------------------------------------------------------------------ to libmicrohttpd */

/* Its thread asks for bytes of a stream. */
static ssize_t read_stream(void *cls, uint64_t position, char *buffer, size_t max)
{
    http_request_t *r = cls;
    (void)position;
    pthread_mutex_lock(&r->lock);
    ssize_t n = (ssize_t)MIN(r->out.len - r->sent, max);
    if (n > 0) {
        memcpy(buffer, r->out.data + r->sent, (size_t)n);
        r->sent += (size_t)n;
        r->total += (size_t)n;
        if (r->sent == r->out.len) {
            str_clear(&r->out);
            r->sent = 0;
        }
    } else if (r->gone) {
        n = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (r->ended) {
        n = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        MHD_suspend_connection(r->connection);
        r->suspended = true;
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

enum MHD_Result http_request_queue(http_request_t *r)
{
    struct MHD_Response *response;
    pthread_mutex_lock(&r->lock);
    r->queued = true;
    if (!r->streaming) r->total = r->out.len;
    pthread_mutex_unlock(&r->lock);
    if (r->streaming) {
        response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, read_stream, r, NULL);
    } else {
        response = MHD_create_response_from_buffer(r->out.len, r->out.data, MHD_RESPMEM_MUST_COPY);
    }
    if (!response) return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->type);
    if (r->streaming) {
        MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
        MHD_add_response_header(response, "X-Accel-Buffering", "no");
    }
    for (size_t i = 0; i < r->n_headers; i++)
        MHD_add_response_header(response, r->headers[i].name, r->headers[i].value);
    http_server_headers(r, response);
    enum MHD_Result rc = MHD_queue_response(r->connection, (unsigned)r->answer_status, response);
    MHD_destroy_response(response);
    return rc;
}
