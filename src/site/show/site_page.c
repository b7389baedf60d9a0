/* site_page.c: a result as a page for a terminal: what happened, where the time of jobs went, what it
 * cost, and what stands out. A figure that is 0 or unknown and says nothing is left out. */
#include "site/show/site_show_internal.h"

#include <string.h>

static void head(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    char days[32], n[32];
    fprintf(out, "%s\n", s->title);
    fprintf(out, "%s accelerators, %s, %s of simulated time\n",
            format_count(n, (double)machine_cluster_accelerators(&s->cluster)), s->site.title,
            format_duration(days, r->days * 86400.0));
}

static void jobs(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    static const char *const heads[] = {"job",       "goodput",    "stops",
                                        "h between", "save every", "days held"};
    if (s->n_jobs == 0) return;
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrrr");
    for (int i = 0; i < s->n_jobs; i++) {
        const struct site_job_result *j = &r->jobs[i];
        char good[32], stops[32], between[32], save[32], held[32];
        double all = j->wall_s - j->part_s[SITE_PART_BUILDING];
        snprintf(good, sizeof good, "%.1f %%",
                 all > 0.0 ? 100.0 * j->part_s[SITE_PART_PRODUCTIVE] / all : 0.0);
        snprintf(stops, sizeof stops, "%.0f", j->interruptions);
        snprintf(between, sizeof between, "%.2f",
                 j->interruptions > 0.0 ? j->wall_s / 3600.0 / j->interruptions : 0.0);
        table_row(t, s->jobs[i].name, good, stops, j->interruptions > 0.0 ? between : NULL,
                  s->jobs[i].kind == SITE_JOB_TRAINING ? format_duration(save, j->checkpoint_s)
                                                       : NULL,
                  format_count(held, j->accelerator_s / 86400.0));
    }
    fputs("\nJobs\n", out);
    table_print(t, out);
    table_free(t);
    for (int i = 0; i < s->n_jobs; i++) {
        const struct site_job *k = &s->jobs[i];
        const double all = k->pool ? (double)s->cluster.pools[k->pool - 1].count
                                   : (double)machine_cluster_accelerators(&s->cluster);
        if (k->accelerators > 0 || site_job_wants(s, i) >= all) continue;
        fprintf(out, "%s states no size: it wants %.0f accelerators and leaves %.0f as spares\n",
                k->name, site_job_wants(s, i), all - site_job_wants(s, i));
    }
}

/* A line of blocks for each job: where its time went. */
static void lost(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    for (int i = 0; i < s->n_jobs; i++) {
        const struct site_job_result *j = &r->jobs[i];
        bool any = false;
        if (j->wall_s <= 0.0) continue;
        fprintf(out, "%s%-18s", i ? "" : "\nTime lost, of all\n", s->jobs[i].name);
        for (int p = SITE_PART_SLOWED; p < SITE_N_PARTS; p++) {
            double share = j->part_s[p] / j->wall_s;
            if (share < 5e-5) continue;
            fprintf(out, "%s %s %.2f %%", any ? "," : "", site_part_names[p], 100.0 * share);
            any = true;
        }
        fputs(any ? "\n" : " nothing\n", out);
    }
}

/* How the jobs of traces fared. */
static void traces(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    for (int i = 0; i < s->n_jobs; i++) {
        const struct site_job_result *j = &r->jobs[i];
        if (s->jobs[i].kind != SITE_JOB_REPLAY) continue;
        char wait[32];
        fprintf(
            out,
            "%s: %.0f of %.0f jobs ended, waited %s in the mean; %.1f %% of their time "
            "went into jobs that failed by themselves\n",
            s->jobs[i].name, j->small_done, j->small_in,
            format_duration(wait, j->small_begun > 0.0 ? j->small_wait_s / j->small_begun : 0.0),
            j->small_s > 0.0 ? 100.0 * j->small_failed_s / j->small_s : 0.0);
    }
}

static void group(const struct site_scenario *s, const struct site_result *r, const char *title,
                  const char *const *names, FILE *out)
{
    bool first = true;
    for (; *names; names++) {
        for (size_t i = 0; i < site_n_figures; i++) {
            const struct site_figure *f = &site_figures[i];
            char text[32];
            if (strcmp(f->name, *names) != 0) continue;
            double v = f->value(s, r);
            if (site_tell_quiet(f) && (!isfinite(v) || v == 0.0)) continue;
            if (first) fprintf(out, "\n%s\n", title);
            first = false;
            fprintf(out, "  %-30s %14s  %s\n", f->name, site_tell(text, f, v), f->help);
        }
    }
}

/* What would have prevented most: the largest loss of each kind, and what it hangs on. */
static void advice(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    static const char *const CURE[SITE_N_PARTS] = {
        [SITE_PART_SLOWED] = "cooler water or more sources: accelerators ran below their clock",
        [SITE_PART_MISSING] = "more spares: the job ran without some of its accelerators",
        [SITE_PART_CHECKPOINT] = "shorter stalls for checkpoints (copies beside the steps)",
        [SITE_PART_ROLLBACK] = "checkpoints in memory, more often",
        [SITE_PART_DETECTION] = "a shorter time until a failure is noticed",
        [SITE_PART_RESTART] = "a faster restart, or replicas that leave and return singly",
        [SITE_PART_SPARES] = "more spares, or crews: it waited for accelerators",
        [SITE_PART_POWER] = "a larger battery or more units: it stood for want of power",
        [SITE_PART_YIELDED] = "a higher priority, or accelerators of its own"};
    double worst = 0.0;
    int part = -1, job = -1;
    for (int i = 0; i < s->n_jobs; i++)
        for (int p = SITE_PART_SLOWED; p < SITE_N_PARTS; p++)
            if (CURE[p] && r->jobs[i].part_s[p] > worst) {
                worst = r->jobs[i].part_s[p];
                part = p;
                job = i;
            }
    if (part < 0) return;
    char text[32];
    fprintf(out, "\nWhat would have helped most: %s.\n  %s lost %s to '%s'.\n", CURE[part],
            s->jobs[job].name, format_duration(text, worst), site_part_names[part]);
}

/* What each kind of trouble hangs on, by how much. */
static void remedies(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    char text[32];
    const double days = r->days;
    if (r->deficit_w > 0.0)
        fprintf(out,
                "Power: %s more, from sources that run when it is missing, would have spared what "
                "was done (power lowered: %.0f; jobs paused: %.0f).\n",
                format_si(text, r->deficit_w, "W"), r->caps, r->pauses);
    if (r->sag_trips > 0.0)
        fprintf(
            out,
            "Sags: supplies that store %.1f J each (now %.1f), or a UPS that does not lock itself "
            "out, would have ridden through the %.0f that stopped every job.\n",
            r->sag_missing_j, s->supplies.stored_j, r->sag_trips);
    if (r->by_hand > 0.0 && r->waits > 0.2 * r->by_hand)
        fprintf(
            out,
            "Repair: %.0f %% of the repairs by hand waited, %.1f h in the mean, for %lld crews.\n",
            100.0 * r->waits / r->by_hand, r->wait_s / r->by_hand / 3600.0,
            (long long)s->repair.crews);
    for (int g = 0; g < s->n_gas; g++)
        if (r->gas[g].permit_ends > 0.0)
            fprintf(out,
                    "Permits: %.0f times a unit of '%s' had used up its hours or starts and stood "
                    "still; a permit for more of them, more units to share them, or other sources "
                    "would have kept that power.\n",
                    r->gas[g].permit_ends, s->gas[g].name);
    for (int g = 0; g < s->n_gas; g++)
        if (r->gas[g].over_starts_day >= 0.0)
            fprintf(out,
                    "Starts: a unit of '%s' passed its %lld on day %.0f (%.1f a day); units that "
                    "run on "
                    "longer (stop_after), or a larger battery, start less.\n",
                    s->gas[g].name, (long long)s->permits.starts, r->gas[g].over_starts_day,
                    r->gas[g].unit_starts_most / days);
}

static void warnings(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    const struct site_cooling *c = &s->cooling;
    bool warm =
        c->law == SITE_COOLING_LOOP && c->catalogue && (c->chilled_c > 10.0 || c->chilled_c < 4.44);
    if (warm)
        fprintf(out,
                "\nNote: water of %.1f C lies outside the chillers' curves, 4.4 to 10 C; their "
                "edge is taken.\n",
                c->chilled_c);
    int late = 0;
    for (int i = 0; i < s->n_events; i++)
        late += s->events[i].at_s > r->days * 86400.0;
    if (late > 0)
        fprintf(out, "\nNote: %d of the scenario's %d events lie after its last day.\n", late,
                s->n_events);
    int sags = 0;
    for (int i = 0; i < s->n_events && site_grid_contract_w(s) <= 0.0; i++)
        sags += s->events[i].kind == SITE_EVENT_SAG_TRAIN;
    if (sags > 0)
        fprintf(out, "\nNote: sags (sag_train: %d) reach only a site with a grid.\n", sags);
    static const char *const WHAT[SITE_N_STACK] = {"nitrogen oxides", "carbon dioxide",
                                                   "carbon monoxide"};
    for (int k = 0; k < SITE_N_STACK; k++)
        if (r->over_day[k] >= 0.0)
            fprintf(out, "\nThe permit for %s was passed on day %.0f.\n", WHAT[k], r->over_day[k]);
}

void site_print(const struct site_scenario *s, const struct site_result *r, FILE *out)
{
    static const char *const hardware[] = {"failures",
                                           "hardware_failures",
                                           "accelerator_days_per_failure",
                                           "lemon_share",
                                           "common_causes",
                                           "false_alarms",
                                           "in_repair",
                                           "in_repair_most",
                                           "crews_busy",
                                           "repairs_that_waited",
                                           "repair_wait_h",
                                           "parts_used",
                                           NULL};
    static const char *const power[] = {"it_w",
                                        "load_w",
                                        "peak_w",
                                        "grid_wh",
                                        "gas_wh",
                                        "battery_wh",
                                        "battery_loss_wh",
                                        "unserved_wh",
                                        "spilled_wh",
                                        "charge_low",
                                        "swing_w",
                                        "swing_hz",
                                        "gas_starts",
                                        "gas_trips",
                                        "gas_starts_over_permit_day",
                                        "gas_hours_over_permit_day",
                                        "gas_permit_ends",
                                        "island_hz_per_s",
                                        "island_hz_per_s_with_battery",
                                        "ramp_violations",
                                        "ramp_violation_min",
                                        "power_caps",
                                        "jobs_paused",
                                        "loads_shed",
                                        "sags",
                                        "sags_ridden",
                                        "sag_trips",
                                        "ups_lockouts",
                                        NULL};
    static const char *const heat[] = {
        "pue",        "wue_l_per_kwh", "air_high_c", "wet_bulb_high_c", "hours_over_35_c",
        "die_high_c", "throttled_h",   "leaks",      "leaked_l",        NULL};
    static const char *const rest[] = {
        "nox_t",     "nox_rolling_t",     "co2_t",      "grid_usd",   "demand_usd",
        "fuel_usd",  "gas_usd",           "repair_usd", "upkeep_usd", "capital_usd",
        "total_usd", "lost_training_usd", NULL};
    static const char *const proof[] = {"events", "balance_error", "energy_error", NULL};
    head(s, r, out);
    jobs(s, r, out);
    lost(s, r, out);
    traces(s, r, out);
    group(s, r, "Hardware", hardware, out);
    group(s, r, "Power", power, out);
    group(s, r, "Heat", heat, out);
    group(s, r, "Permits and money", rest, out);
    warnings(s, r, out);
    advice(s, r, out);
    remedies(s, r, out);
    group(s, r, "Proof", proof, out);
    fprintf(out, "\nSeed %llu: the same seed gives the same answer, to the bit.\n",
            (unsigned long long)r->seed);
}

void site_print_seeds(const struct site_scenario *s, const struct site_seeds *x, FILE *out)
{
    static const char *const heads[] = {"", "p10", "mean", "p90", ""};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrrl");
    head(s, &x->each[0], out);
    for (size_t i = 0; i < site_n_figures; i++) {
        const struct site_figure *f = &site_figures[i];
        struct range v = site_tell_range(s, x, f);
        char low[32], mid[32], high[32];
        if (site_tell_quiet(f) && (!isfinite(v.mid) || (v.mid == 0.0 && v.high == 0.0))) continue;
        table_row(t, f->name, site_tell(low, f, v.low), site_tell(mid, f, v.mid),
                  site_tell(high, f, v.high), f->help);
    }
    fprintf(out, "\n%zu seeds; the mean goodput is known to %.2f %% of it (95 %%)\n", x->n,
            100.0 * x->half_width);
    fprintf(out, "One seed deviates by %.2f %%; to know it to 1 %% takes %.0f\n\n",
            100.0 * x->deviation, site_seeds_needed(x->deviation));
    table_print(t, out);
    table_free(t);
}

void site_print_compare(const struct site_scenario *const s[2], const struct site_seeds x[2],
                        FILE *out)
{
    const char *const heads[] = {"", s[0]->name, s[1]->name, "difference"};
    struct table *t = table_new(heads, ARRAY_LEN(heads), "lrrr");
    for (size_t i = 0; i < site_n_figures; i++) {
        const struct site_figure *f = &site_figures[i];
        double a = site_tell_range(s[0], &x[0], f).mid, b = site_tell_range(s[1], &x[1], f).mid;
        char left[32], right[32], difference[32];
        bool same = fabs(a - b) <= 1e-9 * fmax(fabs(a), fabs(b)) || (!isfinite(a) && !isfinite(b));
        if (site_tell_quiet(f) && (same || strstr(f->name, "error"))) continue;
        table_row(t, f->name, site_tell(left, f, a), site_tell(right, f, b),
                  isfinite(a) && isfinite(b) ? site_tell(difference, f, b - a) : NULL);
    }
    fprintf(out,
            "Means of %zu seeds, the same luck in both; figures of little weight that are equal "
            "are left out\n\n",
            MIN(x[0].n, x[1].n));
    table_print(t, out);
    table_free(t);
}
