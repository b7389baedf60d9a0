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

/* What would change nothing is a mistake about what is written. */
static int check_needless(const struct convert_options *o, struct error *e)
{
    bool few = o->type == CONVERT_Q4_0 || o->type == CONVERT_Q4_K;
    const char *hint = NULL;
    if (o->pure && !few) {
        error_set_code(e, ERROR_USAGE, "--pure changes nothing here: it is of q4_0 and q4_k");
        hint = "leave it out, or say --type q4_0 or --type q4_k";
    } else if (o->name && o->to != CONVERT_GGUF) {
        error_set_code(e, ERROR_USAGE, "--name changes nothing here: a folder holds no name");
        hint = "leave it out: the folder's name is the model's";
    }
    return hint ? error_hint(e, "%s", hint) : 0;
}

static int check_options(const struct convert_options *o, struct error *e)
{
    TRY(check_needless(o, e));
    if (o->to == CONVERT_GGUF || o->type <= CONVERT_BF16) return 0;
    error_set_code(e, ERROR_USAGE, "--type %s is of GGUF files only", convert_type_names[o->type]);
    return error_hint(e, "f32, f16 and bf16 are of folders, too");
}

static int convert_opened(const struct convert_options *o, const struct convert_source *s,
                          struct convert_report *r, struct error *e)
{
    if (s->drops_biases)
        convert_note(r,
                     "the routers' selection biases are left out: some tokens go to other experts "
                     "than here; colossus eval of both says what that costs");
    if (o->drop_biases && !s->holds_biases) {
        error_set_code(e, ERROR_USAGE,
                       "--drop-biases changes nothing here: %s has no selection biases", s->path);
        return error_hint(e, "leave it out");
    }
    struct pool *pool = pool_new((int)o->threads);
    int rc = o->to == CONVERT_GGUF ? convert_to_gguf(o, s, pool, r, e)
                                   : convert_to_folder(o, s, pool, r, e);
    pool_free(pool);
    return rc;
}

int convert_model(const struct convert_options *o, struct convert_report *r, struct error *e)
{
    struct convert_source s;
    struct convert_options with = *o;
    struct arena a = {0};
    *r = (struct convert_report){0};
    TRY(check_options(o, e));
    int rc = convert_place_find(o, &a, &with.out, e);
    if (rc == 0) rc = convert_source_open(&with, &s, e);
    if (rc == 0) {
        rc = convert_opened(&with, &s, r, e);
        convert_source_close(&s);
    }
    arena_fini(&a);
    return rc;
}
