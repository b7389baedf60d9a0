/* fuzz_csv.c: any bytes as a table. What is accepted is rectangular and reads back the same
 * when written again with every field quoted. */
#include "base/base.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void quote(struct str *out, const char *field, bool last)
{
    str_append_char(out, '"');
    for (; *field; field++) {
        if (*field == '"') str_append_char(out, '"');
        str_append_char(out, *field);
    }
    str_puts(out, last ? "\"\r\n" : "\",");
}

static void write_and_read_back(const struct csv *t, struct arena *a)
{
    struct str text = {0};
    struct error e = {0};
    struct csv again;
    for (size_t c = 0; c < t->n_columns; c++)
        quote(&text, t->heads[c], c + 1 == t->n_columns);
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        quote(&text, t->fields[i], (i + 1) % t->n_columns == 0);
    int rc = csv_parse(text.data, text.len, "written", a, &again, &e);
    CHECK_MSG(rc >= 0, "%s in\n%s", e.text, text.data);
    CHECK(again.n_columns == t->n_columns && again.n_rows == t->n_rows);
    for (size_t c = 0; c < t->n_columns; c++)
        CHECK(strcmp(again.heads[c], t->heads[c]) == 0);
    for (size_t i = 0; i < t->n_rows * t->n_columns; i++)
        CHECK(strcmp(again.fields[i], t->fields[i]) == 0);
    str_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct csv t;
    struct error e = {0};
    arena_init(&a);
    if (csv_parse((const char *)data, size, "fuzz.csv", &a, &t, &e) < 0) {
        CHECK_MSG(e.text[0] && strlen(e.text) < sizeof(e.text), "an error without words");
        CHECK(e.code == ERROR_CONFIG);
    } else {
        CHECK(t.n_columns >= 1);
        for (size_t i = 1; i < t.n_rows; i++)
            CHECK(t.lines[i] > t.lines[i - 1]);
        write_and_read_back(&t, &a);
    }
    arena_fini(&a);
    return 0;
}
