/* http_metrics.c: numbers of a running program as Prometheus reads them.
 *
 * The text exposition format, version 0.0.4: for each name a line of help, a line with its type, and
 * a line a value. In help a backslash and a line end are escaped, in a label's value the quotation
 * mark too. */
#include "http/http.h"

#include <string.h>

static void escape(struct str *out, const char *text, bool quotes)
{
    for (; *text; text++) {
        if (*text == '\n')
            str_puts(out, "\\n");
        else if (*text == '\\' || (quotes && *text == '"'))
            str_printf(out, "\\%c", *text);
        else
            str_append_char(out, *text);
    }
}

static void number(struct str *out, double value)
{
    char text[40];
    if (isnan(value))
        str_puts(out, "NaN");
    else if (isinf(value))
        str_puts(out, value > 0 ? "+Inf" : "-Inf");
    else
        str_puts(out, json_real_text(text, value));
}

static void labels(struct str *out, const struct http_metric *m, double up_to)
{
    bool bucket = !isnan(up_to);
    if (!m->label && !bucket) return;
    str_append_char(out, '{');
    if (m->label) {
        str_printf(out, "%s=\"", m->label);
        escape(out, m->label_value ? m->label_value : "", true);
        str_puts(out, bucket ? "\"," : "\"");
    }
    if (bucket) {
        str_puts(out, "le=\"");
        number(out, up_to);
        str_append_char(out, '"');
    }
    str_append_char(out, '}');
}

static void line(struct str *out, const struct http_metric *m, const char *suffix, double up_to,
                 double value)
{
    str_printf(out, "%s%s", m->name, suffix);
    labels(out, m, up_to);
    str_append_char(out, ' ');
    number(out, value);
    str_append_char(out, '\n');
}

/* Buckets are counted up, as the format has them. */
static void histogram(struct str *out, const struct http_metric *m)
{
    uint64_t count = 0;
    for (size_t i = 0; i < m->n_buckets; i++) {
        count += m->buckets[i].count;
        line(out, m, "_bucket", m->buckets[i].up_to, (double)count);
    }
    line(out, m, "_sum", NAN, m->value);
    line(out, m, "_count", NAN, (double)count);
}

static bool seen(const struct http_metric *m, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(m[k].name, m[i].name) == 0) return true;
    return false;
}

void http_metrics_write(const struct http_metric *m, size_t n, struct str *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    for (size_t i = 0; i < n; i++) {
        if (seen(m, i)) continue;
        str_printf(out, "# HELP %s ", m[i].name);
        escape(out, m[i].help, false);
        str_printf(out, "\n# TYPE %s %s\n", m[i].name, kinds[m[i].kind]);
        for (size_t k = i; k < n; k++) {
            if (strcmp(m[k].name, m[i].name) != 0) continue;
            if (m[k].kind == HTTP_HISTOGRAM)
                histogram(out, &m[k]);
            else
                line(out, &m[k], "", NAN, m[k].value);
        }
    }
}
