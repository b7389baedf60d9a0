/* convert.c: a conversion: what is asked for is checked, the source opened, and one of the forms
 * written. */
#include "convert/convert_internal.h"

#include <string.h>

const char *const convert_to_names[] = {"gguf", "hf", "colossus", NULL};
const char *const convert_type_names[] = {"keep", "f32",  "f16",  "bf16", "q8_0",
                                          "q4_0", "q4_k", "q6_k", NULL};

void convert_note(struct convert_report *r, const char *fmt, ...)
{
    va_list args;
    if (r->n_notes == (int)ARRAY_LEN(r->notes)) return;
    va_start(args, fmt);
    vsnprintf(r->notes[r->n_notes++], sizeof(r->notes[0]), fmt, args);
    va_end(args);
}

void convert_count(const struct convert_list *l, const char *family, struct convert_report *r)
{
    snprintf(r->family, sizeof(r->family), "%s", family);
    for (size_t i = 0; i < l->n; i++) {
        r->n_tensors++;
        r->n_copied += l->list[i].copied;
        r->bytes += l->list[i].bytes;
        if (l->list[i].p) r->parameters += (double)(l->list[i].rows * l->list[i].width);
    }
}

static int check_options(const struct convert_options *o, struct error *e)
{
    if (o->to != CONVERT_GGUF && o->type > CONVERT_BF16) {
        error_set_code(e, ERROR_USAGE, "--type %s is of GGUF files only",
                       convert_type_names[o->type]);
        return error_hint(e, "f32, f16 and bf16 are of folders, too");
    }
    if (!file_exists(o->out) || o->force) return 0;
    error_set(e, "'%s' is there already", o->out);
    return error_hint(e, "another name, or --force to replace it");
}

/* A folder is replaced only where it is a model's. */
static int check_replaced(const struct convert_options *o, struct error *e)
{
    struct arena a = {0};
    bool folder = file_is_dir(o->out);
    bool model = folder && file_exists(file_join(&a, o->out, "config.json"));
    arena_fini(&a);
    if (folder && o->to == CONVERT_GGUF)
        return error_set(e, "'%s' is a folder, and a GGUF file would take its place", o->out);
    if (folder && !model)
        return error_set(e, "'%s' is a folder without a config.json: it is not replaced", o->out);
    if (!folder && file_exists(o->out) && o->to != CONVERT_GGUF)
        return error_set(e, "'%s' is a file, and a folder would take its place", o->out);
    return 0;
}

int convert_model(const struct convert_options *o, struct convert_report *r, struct error *e)
{
    struct convert_source s;
    *r = (struct convert_report){0};
    TRY(check_options(o, e));
    TRY(check_replaced(o, e));
    TRY(convert_source_open(o, &s, e));
    if (s.drops_biases)
        convert_note(r,
                     "the routers' selection biases are left out: some tokens go to other experts "
                     "than here");
    struct pool *pool = pool_new((int)o->threads);
    int rc = o->to == CONVERT_GGUF ? convert_to_gguf(o, &s, pool, r, e)
                                   : convert_to_folder(o, &s, pool, r, e);
    pool_free(pool);
    convert_source_close(&s);
    return rc;
}
