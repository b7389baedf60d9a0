/* train_lines.c: the lines of metrics.jsonl and events.jsonl, for everything that shows a run. */
#include "train/show/train_show_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

void train_lines_read(const char *path, void *ctx, void (*take)(void *ctx, const json_t *o))
{
    struct file_map map;
    struct stat st;
    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode)) return; /* whoever opens a pipe waits */
    if (file_map_open(&map, path, NULL) < 0) return;
    const char *at = (const char *)map.data, *end = at + map.size, *stop;
    for (; (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        json_t *o = NULL;
        if (json_parse(at, (size_t)(stop - at), path, &o, NULL) < 0) continue;
        take(ctx, o);
        json_decref(o);
    }
    file_map_close(&map);
}

double train_line_seconds(const char *text)
{
    struct tm t = {0};
    char *end;
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &t) : NULL;
    if (!rest) return NAN;
    double fraction = *rest == '.' ? strtod(rest, &end) : 0;
    return (double)timegm(&t) + fraction;
}

double train_line_real(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_number(v) ? json_number_value(v) : NAN;
}

int64_t train_line_int(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return json_is_integer(v) ? json_integer_value(v) : -1;
}
