/* plan_sweep.c: the same plan at several values of one input.
 *
 * A value that has no answer (nothing fits 16 accelerators) is a line that says why, so
 * that one bad value does not hide the others. Where some points are searched, because the input is
 * not what the file's layout was made for, all are: the file's own value, too. */
#include "plan/read/plan_read_internal.h"

#include <math.h>
#include <string.h>

static int read_over(const char *over, struct arena *a, struct plan_sweep *out, struct error *e)
{
    const char *eq = strchr(over, '=');
    memset(out, 0, sizeof *out);
    if (!eq || eq == over || !eq[1]) {
        error_set_code(e, ERROR_USAGE, "'%s' names no input and its values", over);
        return error_hint(e, "for example --over gpus=1Ki,2Ki,4Ki");
    }
    out->input = arena_strndup(a, over, (size_t)(eq - over));
    for (const char *p = eq + 1; *p;) {
        size_t n = strcspn(p, ",");
        if (out->n_points == PLAN_MAX_SWEEP)
            return error_set_code(e, ERROR_USAGE, "more than %d values in a sweep", PLAN_MAX_SWEEP);
        struct plan_sweep_point *point = &out->points[out->n_points];
        point->text = arena_strndup(a, p, n);
        if (n > 0) out->n_points++;
        if (parse_number(point->text, &point->value) < 0) point->value = NAN;
        p += n + (p[n] == ',');
    }
    if (out->n_points > 0) return 0;
    error_set_code(e, ERROR_USAGE, "'%s' has no values", over);
    return error_hint(e, "for example --over gpus=1Ki,2Ki,4Ki");
}

int plan_sweep(const struct plan_request *r, const char *over, struct arena *a,
               struct plan_sweep *out, struct error *e)
{
    struct error last = {0};
    size_t answered = 0;
    bool forgotten = false; /* of the file's layout all but the precision and what is asked for */
    TRY(read_over(over, a, out, e));
    for (size_t i = 0; i < out->n_points; i++) {
        struct plan_sweep_point *p = &out->points[i];
        struct plan_request *changed = arena_alloc(a, sizeof *changed);
        *changed = *r;
        TRY(plan_override(changed, out->input, p->text, a, e));
        out->searched |= changed->search;
        const struct plan_layout asked = plan_layout_asked(changed);
        forgotten |= changed->search && memcmp(&changed->layout, &asked, sizeof asked) == 0;
        p->request = changed;
    }
    for (size_t i = 0; i < out->n_points; i++) {
        struct plan_sweep_point *p = &out->points[i];
        struct plan_request *changed = p->request;
        if (forgotten) { /* the file's own value, too: as its neighbours */
            changed->search = true;
            changed->layout = plan_layout_asked(changed);
        } else if (out->searched && !changed->search) {
            changed->search = true;
            changed->layout.dp = changed->asked ? changed->asked->dp : 0;
        }
        p->answer = arena_alloc(a, sizeof *p->answer);
        if (plan_solve(changed, a, p->answer, &last) < 0) {
            p->answer = NULL;
            p->why = arena_strdup(a, last.text);
        } else {
            answered++;
        }
    }
    if (answered > 0) return 0;
    *e = last;
    return error_context(e, "no value of %s has an answer; the last", out->input);
}
