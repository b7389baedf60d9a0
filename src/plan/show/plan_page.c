/* plan_page.c: the answer as a page for the terminal that a person reads in a minute.
 *
 * From the top: what it is, the figures with low, mid and high, where the step's time goes, what
 * fills the memory, failures, power, money, and then the two sentences the page is for: what limits
 * this plan, and which input matters most. 100 columns; a bar is as long as its share. An unknown
 * figure is left out and never shown as 0. */
#include "plan/show/plan_show_internal.h"

#include <ctype.h>
#include <math.h>
#include <string.h>

enum { BAR_WIDTH = 60, LABEL_WIDTH = 14, TEXT_WIDTH = 100 - LABEL_WIDTH - 2 };

/* ------------------------------------------------------------------ lines and bars */

/* A number stays with its unit: "4 %", "3.26 s", "494 MW". */
static bool breaks_at(const char *text, const char *space)
{
    static const char *const units[] = {"%", "s", "ms", "W", "L", "t", "h", "d", "min"};
    size_t n = strcspn(space + 1, " ,;:.)");
    if (space == text || !isdigit((unsigned char)space[-1])) return true;
    if (n >= 2 && n <= 3 && strchr("WhBs", space[n])) return false; /* MW, GWh, TiB, ms */
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strlen(units[i]) == n && strncmp(space + 1, units[i], n) == 0) return false;
    return true;
}

/* The space at which a line of this many cells ends; a word that is longer stays whole. */
static const char *line_end(const char *text, size_t width)
{
    size_t cells = 0;
    const char *space = NULL, *p = text;
    for (; *p && cells < width; p++) {
        if (*p == ' ' && breaks_at(text, p)) space = p;
        if (((unsigned char)*p & 0xC0) != 0x80) cells++; /* UTF-8: count what begins a character */
    }
    return !*p || !space ? p + (*p ? strcspn(p, " ") : 0) : space;
}

/* "  label       text", folded at spaces. */
PRINTF_LIKE(3, 4)
static void print_line(FILE *out, const char *label, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *p = text;
    do {
        const char *end = line_end(p, TEXT_WIDTH);
        fprintf(out, "  %-*s%.*s\n", LABEL_WIDTH, p == text ? label : "", (int)(end - p), p);
        p = *end == ' ' ? end + 1 : end;
    } while (*p);
}

/* Shares of a whole in turning shades. Where a piece ends is rounded, not how long it is, so that
 * the bar as a whole is as long as the sum. */
static void print_bar(FILE *out, const char *label, const double *share, size_t count)
{
    static const char *const shades[] = {"█", "▓", "▒", "░"};
    double sum = 0;
    int drawn = 0;
    fprintf(out, "  %-*s", LABEL_WIDTH, label);
    for (size_t i = 0; i < count; i++) {
        sum += share[i];
        int until = (int)lround(fmin(sum, 1) * BAR_WIDTH);
        for (; drawn < until; drawn++)
            fputs(shades[i % ARRAY_LEN(shades)], out);
    }
    for (; drawn < BAR_WIDTH; drawn++)
        fputs("·", out);
    fputc('\n', out);
}

/* ------------------------------------------------------------------ sections */

static void print_head(const struct plan_answer *a, FILE *out)
{
    const struct plan_request *r = a->request;
    char text[512], one[32], two[32], layout[160];
    plan_describe_title(r, text, sizeof text);
    fprintf(out, "%s\n", text);
    if (r->path && r->path[0]) fprintf(out, "%s\n", r->path);
    fputc('\n', out);
    plan_describe_model(&r->model, text, sizeof text);
    print_line(out, "model", "%s", text);
    plan_describe_cluster(&r->cluster, text, sizeof text);
    print_line(out, "machine", "%s", text);
    if (r->site.name || r->site.title)
        print_line(out, "site", "%s",
                   r->site.title && r->site.title[0] ? r->site.title : r->site.name);
    print_line(out, "tokens", "%s (%s), %s sequences of %s a step",
               format_count(one, a->tokens.mid), a->tokens_from ? a->tokens_from : "given",
               plan_format_whole(two, (double)r->batch.global_batch),
               plan_format_whole(text, (double)r->batch.seq_len));
    print_line(out, "layout", "%s", plan_layout_text(&a->layout, layout, sizeof layout));
    struct machine_cluster job = plan_cluster_part(&r->cluster, a->part);
    plan_describe_use(&job, &a->layout, text, sizeof text);
    if (text[0]) print_line(out, "", "%s", text);
    if (!a->step.fits)
        print_line(out, "",
                   "DOES NOT FIT in memory: %s of %s per accelerator; --layout auto searches "
                   "a layout that does",
                   format_bytes(one, a->step.memory.total),
                   format_bytes(two, a->step.memory_limit_bytes));
    if (r->layout.precision < 0)
        print_line(out, "", "%s is the search's choice; fp4 only where it is asked for",
                   machine_precision_names[a->layout.precision]);
    plan_describe_software(&r->software, text, sizeof text);
    print_line(out, "software", "%s", text);
    plan_describe_measured(a, text, sizeof text);
    if (text[0]) print_line(out, "measured", "%s", text);
    for (int i = 0; i < r->n_notes; i++)
        print_line(out, i ? "" : "assumed", "%s", r->notes[i]);
    fputc('\n', out);
}

static void print_told(const struct plan_answer *a, FILE *out)
{
    static const char *const heads[] = {"", "low", "mid", "high"};
    struct plan_list l = plan_tell(a);
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrr");
    for (size_t i = 0; i < l.n; i++) {
        char name[48], low[32], mid[32], high[32];
        if (!plan_is_known(l.told[i].value.mid)) continue; /* or there is none */
        bool of_many =
            strcmp(l.told[i].key, "job_accelerators") == 0 || strcmp(l.told[i].key, "goodput") == 0;
        if (of_many && a->request->software.local) continue; /* a machine on a desk has one */
        snprintf(name, sizeof name, "  %s", l.told[i].name);
        plan_told_write(&l.told[i], low, mid, high);
        table_row(t, name, low, mid, high);
    }
    table_print(t, out);
    table_free(t);
    fputc('\n', out);
}

/* "accelerators $39.0 billion, servers ...": what is 0 only with zeros. */
static void join(const struct plan_list *l, bool zeros, char *text, size_t size)
{
    char value[32];
    text[0] = 0;
    for (size_t i = 0; i < l->n; i++)
        if (zeros || l->told[i].value.mid > 0)
            plan_add_text(text, size, "%s%s %s", text[0] ? ", " : "", l->told[i].name,
                          l->told[i].format(value, l->told[i].value.mid));
}

/* The parts in the order of their size; returns how many there are. */
static size_t sort_parts(const struct plan_step *s, int order[PLAN_N_PARTS])
{
    size_t n = 0;
    for (int i = 0; i < PLAN_N_PARTS; i++) {
        if (s->part_s[i] <= 0) continue;
        size_t at = n++;
        for (; at > 0 && s->part_s[i] > s->part_s[order[at - 1]]; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    return n;
}

static void print_step(const struct plan_answer *a, FILE *out)
{
    const struct plan_step *s = &a->step;
    int order[PLAN_N_PARTS];
    double share[PLAN_N_PARTS], all = fmax(s->step_s, 1e-12);
    size_t n = sort_parts(s, order);
    char text[512] = "";
    for (size_t i = 0; i < n; i++) {
        share[i] = s->part_s[order[i]] / all;
        if (share[i] >= 0.005)
            plan_add_text(text, sizeof text, "%s%s %.0f %%", text[0] ? ", " : "",
                          plan_part_names[order[i]], 100 * share[i]);
    }
    print_bar(out, "step", share, n);
    print_line(out, "", "%s", text);
}

static void print_memory(const struct plan_answer *a, FILE *out)
{
    double limit = fmax(a->step.memory_limit_bytes, 1), share[PLAN_MAX_TOLD];
    struct plan_list l = plan_tell_memory(&a->step.memory);
    char total[32], free_[32], parts[256];
    for (size_t i = 0; i < l.n; i++)
        share[i] = l.told[i].value.mid / fmax(limit, a->step.memory.total);
    join(&l, true, parts, sizeof parts);
    print_bar(out, "memory", share, l.n);
    print_line(out, "", "%s of %s: %s%s", format_bytes(total, a->step.memory.total),
               format_bytes(free_, limit), parts, a->step.fits ? "" : "  DOES NOT FIT");
    plan_describe_headroom(a, parts, sizeof parts);
    if (parts[0]) print_line(out, "", "%s", parts);
}

static void print_failures(const struct plan_answer *a, FILE *out)
{
    char lines[PLAN_FAILURE_LINES][512];
    size_t n = plan_describe_failures(a, lines);
    for (size_t i = 0; i < n; i++)
        print_line(out, i ? "" : "failures", "%s%s", i ? "" : "one ", lines[i]);
}

/* What the grid sees of a step: all accelerators compute, then all wait for gradients. Its limit is
 * held against what lies in the band of frequencies that disturbs other machines on it. */
static void print_swing(const struct machine_swing *s, FILE *out)
{
    char amplitude[32], period[32], band[32], line[32], limit[32], left[32], cap[32];
    char batteries[128];
    if (!(s->amplitude_w > 0) || s->peak_w < PLAN_SWING_SHOWN_W) return;
    plan_format_watts(limit, s->limit_w);
    const char *verdict = !s->within_limit  ? ": TOO MUCH"
                          : s->by_batteries ? ": within by the site's batteries"
                                            : ": within";
    print_line(out, "swing", "%s every %s, %s of it in the grid's band, largest line %s%s%s%s",
               plan_format_watts(amplitude, s->amplitude_w), format_duration(period, s->period_s),
               plan_format_watts(band, s->range_in_band_w), plan_format_watts(line, s->in_band_w),
               s->limit_w > 0 ? "; limit " : "", s->limit_w > 0 ? limit : "",
               s->limit_w > 0 ? verdict : "");
    if (s->smoothing_energy_fraction > 0)
        print_line(
            out, "", "the accelerators' own smoothing leaves %s of it, for %.1f %% more energy",
            plan_format_watts(left, s->smoothing_left_w), 100 * s->smoothing_energy_fraction);
    plan_describe_batteries(s, batteries, sizeof batteries);
    print_line(out, "", "a power cap leaves %s of it%s%s", plan_format_watts(cap, s->cap_left_w),
               batteries[0] ? "; " : "", batteries);
}

/* Power is of the whole machine; what of it this job does not use runs another one. */
static void print_sources(const struct plan_answer *a, FILE *out)
{
    struct plan_list l = plan_tell_supply(a);
    char text[400];
    join(&l, false, text, sizeof text);
    if (text[0])
        print_line(out, "supply", "%s%s", text,
                   a->reliability.job_share < 1 ? "; the whole machine at work" : "");
}

static void print_power(const struct plan_answer *a, FILE *out)
{
    const struct plan_power *p = &a->power;
    char mean[32], max[32], idle[32], it[32], water[64] = "no cooling water";
    if (p->wue_l_per_kwh > 0)
        snprintf(water, sizeof water, "cooling water %.2f L per kWh of IT", p->wue_l_per_kwh);
    print_line(out, "power",
               "%s mean while training, %s at most, %s while restarting; IT %s, PUE %.3f, %s",
               plan_format_watts(mean, p->facility_w), plan_format_watts(max, p->facility_max_w),
               plan_format_watts(idle, p->facility_idle_w), plan_format_watts(it, p->it_w), p->pue,
               water);
    print_sources(a, out);
    print_swing(&p->swing, out);
    int best = -1; /* the cap under which the same megawatts train most */
    for (int i = 0; i < p->n_caps; i++)
        if (best < 0 || p->cap_cluster_gain[i] > p->cap_cluster_gain[best]) best = i;
    bool grows = machine_cluster_accelerators(&a->request->cluster) > 1; /* a laptop does not */
    if (grows && best >= 0 && p->cap_cluster_gain[best] > 0.005)
        print_line(out, "power cap",
                   "at %.0f W per accelerator a step runs at %.1f %% of its speed; the same "
                   "power then holds more accelerators, which train %.0f %% faster",
                   p->cap_w[best], 100 * p->cap_speed[best], 100 * p->cap_cluster_gain[best]);
}

static void print_costs(FILE *out, const char *label, const struct plan_list *l)
{
    char text[256];
    join(l, false, text, sizeof text);
    if (text[0]) print_line(out, label, "%s", text);
}

static void print_money(const struct plan_answer *a, FILE *out)
{
    struct plan_list machine = plan_tell_machine_costs(&a->money);
    struct plan_list run = plan_tell_run_costs(&a->money);
    print_costs(out, "machine costs", &machine);
    print_costs(out, "run costs", &run);
    const struct plan_emissions *e = &a->emissions;
    if (e->permit_nox_t_per_year > 0)
        print_line(out, "permit", "%.1f t of NOx a year of %.1f permitted%s%s", e->nox_t_per_year,
                   e->permit_nox_t_per_year, e->within_permit ? "" : ": NOT WITHIN",
                   a->reliability.job_share < 1 ? "; the whole machine at work" : "");
}

/* Only where layouts were searched: a layout that was given has no rivals. */
static void print_search(const struct plan_answer *a, FILE *out)
{
    const struct plan_search *s = &a->search;
    char tried[32], valid[32], fitting[32];
    if (s->n_best == 0) return;
    print_line(out, "search",
               "best by %s of %s layouts (%s valid, %s fit in memory); %zu are beaten by no "
               "other in time, memory and energy at once",
               plan_objective_names[a->request->objective],
               plan_format_whole(tried, (double)s->tried),
               plan_format_whole(valid, (double)s->valid),
               plan_format_whole(fitting, (double)s->fitting), s->n_front);
    if (s->runner_up[0]) print_line(out, "runner-up", "%s", s->runner_up);
}

static void print_verdict(const struct plan_answer *a, FILE *out)
{
    fputc('\n', out);
    if (a->limit[0]) print_line(out, "limit", "%s", a->limit);
    for (int i = 0; i < MIN(a->n_sensitivities, 4); i++) {
        char text[256];
        plan_describe_sensitivity(&a->sensitivities[i], text, sizeof text);
        print_line(out, i ? "" : "matters most", "%s", text);
    }
}

void plan_print(const struct plan_answer *answer, FILE *out)
{
    print_head(answer, out);
    print_told(answer, out);
    print_step(answer, out);
    print_memory(answer, out);
    fputc('\n', out);
    print_failures(answer, out);
    print_power(answer, out);
    print_money(answer, out);
    print_search(answer, out);
    print_verdict(answer, out);
}
