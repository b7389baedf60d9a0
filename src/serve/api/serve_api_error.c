/* serve_api_error.c: errors as OpenAI's clients read them:
 * {"error": {"message", "type", "param", "code"}}. */
#include "serve/api/serve_api_internal.h"

static const char *type_of(int status)
{
    switch (status) {
    case 401: return "authentication_error";
    case 403: return "permission_error";
    case 404: return "not_found_error";
    case 429: return "rate_limit_error";
    case 503: return "unavailable_error";
    case 504: return "timeout_error";
    default: return status >= 500 ? "server_error" : "invalid_request_error";
    }
}

int api_wrong(struct api_error *x, int status, const char *param, const char *fmt, ...)
{
    va_list args;
    *x = (struct api_error){.status = status, .type = type_of(status), .param = param};
    va_start(args, fmt);
    vsnprintf(x->text, sizeof(x->text), fmt, args);
    va_end(args);
    return -1;
}

void api_error_json(const struct api_error *x, struct str *out)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_open(&w, NULL, '{');
    jsonw_open(&w, "error", '{');
    jsonw_string(&w, "message", x->text);
    jsonw_string(&w, "type", x->type);
    jsonw_string(&w, "param", x->param);
    jsonw_string(&w, "code", x->code);
    jsonw_close(&w, '}');
    jsonw_close(&w, '}');
}

void api_reply_error(http_request_t *r, const struct api_error *x)
{
    struct str body = {0};
    api_error_json(x, &body);
    if (x->status == 429 || x->status == 503) http_add_header(r, "Retry-After", "1");
    http_note(r, "%s", x->code ? x->code : x->type);
    http_reply(r, x->status, HTTP_JSON, body.data, body.len);
    str_fini(&body);
}

void api_error_body(int status, const char *text, struct str *out)
{
    struct api_error x;
    api_wrong(&x, status, NULL, "%s", text);
    if (status == 401) x.code = "invalid_api_key";
    api_error_json(&x, out);
}
