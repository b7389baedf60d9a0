/* site_story.c: a run with all that its page shows: its result, its reports over time, its log.
 *
 * The log is written to a file of ours and read again, since who asked for one may have named a pipe. */
#include "site/page/site_page_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { REPORTS = 1440, JUMPS = 1440, MOST_LOG = 1 << 30 };

/* A file of our own under a name that nobody can foretell; the caller removes it. */
static int make_log(struct arena *a, const char **path, struct error *e)
{
    const char *folder = getenv("TMPDIR");
    char *name = arena_printf(a, "%s/colossus-site-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkstemp(name);
    if (fd < 0) return error_errno(e, "create", name);
    close(fd);
    *path = name;
    return 0;
}

int site_story_make(const struct site_scenario *s, const struct site_run_options *o,
                    struct site_story *out, struct error *e)
{
    struct arena a = {0};
    struct site_run_options with = *o;
    double days = o->days > 0.0 ? o->days : s->days;
    *out = (struct site_story){
        .s = s, .record = {.every_s = fmax(days * 86400.0 / REPORTS, 1.0), .jumps = JUMPS}};
    int rc = make_log(&a, &with.events, e);
    if (rc >= 0) {
        out->result = mem_alloc(sizeof(*out->result));
        with.record = &out->record;
        rc = site_run(s, &with, out->result, e);
        if (rc >= 0) rc = file_read(with.events, MOST_LOG, &out->log.data, &out->log.len, e);
        remove(with.events);
    }
    arena_fini(&a);
    return rc;
}

void site_story_free(struct site_story *x)
{
    mem_free(x->result);
    mem_free(x->log.data);
    site_record_free(&x->record);
    *x = (struct site_story){0};
}
