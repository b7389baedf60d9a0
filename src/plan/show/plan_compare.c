/* plan_compare.c: several answers side by side, the best of each line marked.
 *
 * A difference is marked only where it is larger than nothing: equal figures have no winner. What
 * is better is a matter of the figure (days: less; goodput: more); some have no better. */
#include "plan/show/plan_show_internal.h"

enum { MAX_COMPARED = 12, CELL = 64 };

struct comparison {
    const struct plan_answer *const *answers;
    size_t count;
    struct plan_list lists[MAX_COMPARED]; /* the same quantities in each */
};

/* Nothing of what is better less of is a figure, the best there is: no water, no NOx. */
static bool is_known(const struct plan_told *t)
{
    return plan_is_known(t->value.mid) || (t->less_is_better && t->value.mid == 0);
}

/* The answer that is best in this line, or -1: they are equal, one is not known, or no value is
 * better than another. */
static int best_of(const struct comparison *c, size_t line)
{
    int best = -1;
    bool differ = false;
    for (size_t i = 0; i < c->count; i++) {
        const struct plan_told *t = &c->lists[i].told[line];
        if (!t->less_is_better && !t->more_is_better) return -1;
        if (!is_known(t)) return -1;
        if (best >= 0) differ |= t->value.mid != c->lists[best].told[line].value.mid;
        bool better =
            best >= 0 && (t->less_is_better ? t->value.mid < c->lists[best].told[line].value.mid
                                            : t->value.mid > c->lists[best].told[line].value.mid);
        if (best < 0 || better) best = (int)i;
    }
    return differ ? best : -1;
}

static void add_row(const struct comparison *c, struct table *t, const char *name,
                    char cells[MAX_COMPARED][CELL])
{
    const char *row[MAX_COMPARED + 1] = {name};
    for (size_t i = 0; i < c->count; i++)
        row[i + 1] = cells[i];
    table_cells(t, row);
}

/* A line that is known of nobody is left out; of one that is known of some, the others are N/A. */
static void add_told(const struct comparison *c, struct table *t)
{
    char cells[MAX_COMPARED][CELL];
    for (size_t line = 0; line < c->lists[0].n; line++) {
        int best = best_of(c, line);
        bool any = false;
        for (size_t i = 0; i < c->count; i++) {
            char mid[32];
            const struct plan_told *x = &c->lists[i].told[line];
            any |= plan_is_known(x->value.mid);
            bool ties = best >= 0 && x->value.mid == c->lists[best].told[line].value.mid;
            snprintf(cells[i], CELL, "%s%s", is_known(x) ? x->format(mid, x->value.mid) : "N/A",
                     ties ? " *" : "  ");
        }
        if (any) add_row(c, t, c->lists[0].told[line].name, cells);
    }
}

static void add_layouts(const struct comparison *c, struct table *t)
{
    static const char *const names[] = {"tp cp pp vp", "dp",        "ep etp",    "microbatch",
                                        "zero",        "recompute", "precision", "memory"};
    char cells[ARRAY_LEN(names)][MAX_COMPARED][CELL];
    for (size_t i = 0; i < c->count; i++) {
        const struct plan_layout *l = &c->answers[i]->layout;
        char bytes[32];
        format_bytes(bytes, c->answers[i]->step.memory.total);
        snprintf(cells[0][i], CELL, "%d %d %d %d  ", l->tp, l->cp, l->pp, l->vp);
        snprintf(cells[1][i], CELL, "%d  ", l->dp);
        snprintf(cells[2][i], CELL, "%d %d  ", l->ep, l->etp);
        snprintf(cells[3][i], CELL, "%d  ", l->micro_batch);
        snprintf(cells[4][i], CELL, "%d  ", l->zero);
        snprintf(cells[5][i], CELL, "%s  ", plan_recompute_names[l->recompute]);
        snprintf(cells[6][i], CELL, "%s  ", machine_precision_names[l->precision]);
        snprintf(cells[7][i], CELL, "%s  ", bytes);
    }
    for (size_t line = 0; line < ARRAY_LEN(names); line++)
        add_row(c, t, names[line], cells[line]);
}

void plan_print_compare(const struct plan_answer *const *answers, size_t count, FILE *out)
{
    struct comparison c = {.answers = answers, .count = MIN(count, MAX_COMPARED)};
    const char *heads[MAX_COMPARED + 1] = {""};
    char names[MAX_COMPARED][CELL], title[512], align[MAX_COMPARED + 2] = "l";
    for (size_t i = 0; i < c.count; i++) {
        const char *name = answers[i]->request->name;
        c.lists[i] = plan_tell(answers[i]);
        snprintf(names[i], CELL, "%.20s  ", name && name[0] ? name : "plan");
        heads[i + 1] = names[i];
        align[i + 1] = 'r';
        plan_describe_title(answers[i]->request, title, sizeof title);
        fprintf(out, "%-22s%s\n", names[i], title);
    }
    fputc('\n', out);
    struct table *t = table_new(heads, c.count + 1, align);
    add_told(&c, t);
    table_rule(t);
    add_layouts(&c, t);
    table_print(t, out);
    table_free(t);
    fputs("\n* the best of its line\n", out);
    for (size_t i = 0; i < c.count; i++)
        if (answers[i]->limit[0]) fprintf(out, "%-22s%s\n", names[i], answers[i]->limit);
}
