/* http_page.c: pages that stand alone: a look and charts that all of them share (web/page.css,
 * web/chart.js), and of each its own markup, script and data.
 *
 * A page loads nothing from elsewhere, and its own policy lets only this style and these scripts run:
 * all by their hash, which changes with the file, and which tests compute anew (cli/site_study,
 * cli/launch_commands). Texts are set as text, never as markup; the data is JSON in which no '<' stands,
 * so that no text can end it. */
#include "http/http_internal.h"

#include <string.h>

#define STYLE  "'sha256-Uf8OdBN8lPaTRhKB7FCUjtXiS3FEPimpaImps1EuidM='"
#define CHARTS "'sha256-b9xLx4V5FxTQITxkYxpNeqtVoTjOL1Pi/izbbul5eAc='"

EMBED_FILE(http_page_css, "web/page.css");
EMBED_FILE(http_page_charts, "web/chart.js");

void http_page_policy(const char *script_hash, struct str *out)
{
    str_puts(out, "default-src 'none'; base-uri 'none'; form-action 'none'; connect-src 'self'; "
                  "style-src " STYLE "; script-src ");
    if (script_hash)
        str_printf(out, CHARTS " %s", script_hash);
    else
        str_puts(out, "'none'");
}

void http_reply_page(http_request_t *r, const char *script_hash, const char *page, size_t size)
{
    struct str policy = {0};
    http_page_policy(script_hash, &policy);
    str_puts(&policy, "; frame-ancestors 'none'"); /* which a page cannot say of itself */
    http_add_header(r, "Content-Security-Policy", policy.data);
    str_fini(&policy);
    http_reply(r, 200, "text/html; charset=utf-8", page, size);
}

static void put_data(const struct str *json, struct str *out)
{
    str_puts(out, "<script type=\"application/json\" id=\"data\">");
    for (size_t i = 0; i < json->len; i++) {
        if (json->data[i] == '<')
            str_puts(out, "\\u003c");
        else
            str_append_char(out, json->data[i]);
    }
    str_puts(out, "</script>\n");
}

void http_page_begin(const char *title, const char *script_hash, struct str *out)
{
    str_puts(out, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                  "<meta http-equiv=\"Content-Security-Policy\" content=\"");
    http_page_policy(script_hash, out);
    str_puts(out, "\">\n<title>Colossus: ");
    svg_escape(out, title);
    str_puts(out, "</title>\n<style>");
    str_puts(out, http_page_css);
    str_puts(out, "</style>\n</head>\n<body>\n");
}

void http_page_end(const struct str *json, const char *script, struct str *out)
{
    if (script) {
        put_data(json, out);
        str_printf(out, "<script>%s</script>\n<script>%s</script>\n", http_page_charts, script);
    }
    str_puts(out, "</body>\n</html>\n");
}
