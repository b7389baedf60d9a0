/* plan_tell.c: what is told of an answer: lists of quantities, and sentences.
 *
 * A page, a comparison, a sweep and JSON name the same figures in the same order, so each list is
 * made once, here: a name, a key, a value and how it is written. A page only arranges them. A
 * sentence is for people and nothing reads it: what code needs to know stands in the answer. */
#include "plan/show/plan_show_internal.h"
#include "plan/step/plan_local_internal.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------ lists */

/* What falls where the step takes longer. */
static struct range per_step(double x, struct range step_s)
{
    return (struct range){x / step_s.high, x / step_s.mid, x / step_s.low};
}

static struct plan_list list_of(const struct plan_told *told, size_t n)
{
    struct plan_list l = {.n = n};
    CHECK(n <= PLAN_MAX_TOLD);
    memcpy(l.told, told, n * sizeof *told);
    return l;
}

/* A job whose replicas come and go has another goodput than one in lockstep: days are of the one
 * that the plan chose. */
struct plan_list plan_tell(const struct plan_answer *a)
{
    const struct plan_step *s = &a->step;
    const struct plan_reliability *rel = &a->reliability;
    struct range goodput = rel->elastic ? rel->goodput_elastic : rel->goodput;
    double work = a->step_s.mid;
    struct range job = range_exact((double)rel->job_accelerators), benchmark = a->benchmark_days;
    if (a->production.mid == 1) benchmark = range_exact(0); /* the same: it is not told twice */
    const struct plan_told all[] = {
        {"step", "step_s", a->step_s, format_duration, true, false},
        {"tokens a second", "tokens_per_s", per_step(s->tokens_per_s * work, a->step_s),
         format_count, false, true},
        {"MFU", "mfu", per_step(s->mfu * work, a->step_s), plan_format_percent, false, true},
        {"between failures", "mtbf_s", rel->mtbf_s, format_duration, false, true},
        {"accelerators of the job", "job_accelerators", job, plan_format_whole, false, false},
        {"goodput", "goodput", goodput, plan_format_percent, false, true},
        {"time of the run", "days", a->days, plan_format_days, true, false},
        {"  at a benchmark's pace", "benchmark_days", benchmark, plan_format_days, true, false},
        {"accelerator-hours", "gpu_hours", a->gpu_hours, plan_format_words, true, false},
        {"site power", "site_w", a->site_w, plan_format_watts, true, false},
        {"energy", "mwh", a->mwh, plan_format_mwh, true, false},
        {"cost of the run", "run_usd", a->money.run_usd, plan_format_usd, true, false},
        {"  a million tokens", "usd_per_million_tokens", a->money.usd_per_million_tokens,
         plan_format_usd, true, false},
        {"  an accelerator-hour", "usd_per_accelerator_hour", a->money.usd_per_accelerator_hour,
         plan_format_usd, true, false},
        {"cost of the machine", "capex_usd", a->money.capex_usd, plan_format_usd, true, false},
        {"CO2", "co2_t", a->emissions.co2_t, plan_format_tonnes, true, false},
        {"NOx", "nox_t", a->emissions.nox_t, plan_format_tonnes, true, false},
        {"water", "water_l", a->emissions.water_l, plan_format_litres, true, false},
    };
    return list_of(all, ARRAY_LEN(all));
}

/* One part of a whole. */
static struct plan_told part(const char *name, const char *key, double x, plan_format *format)
{
    return (struct plan_told){.name = name, .key = key, .value = range_exact(x), .format = format};
}

struct plan_list plan_tell_step(const struct plan_step *s)
{
    struct plan_list l = {.n = PLAN_N_PARTS};
    for (int i = 0; i < PLAN_N_PARTS; i++)
        l.told[i] = part(plan_part_names[i], NULL, s->part_s[i], format_duration);
    return l;
}

struct plan_list plan_tell_memory(const struct plan_memory *m)
{
    const struct plan_told all[] = {
        part("weights", "weights_bytes", m->weights, format_bytes),
        part("gradients", "gradients_bytes", m->gradients, format_bytes),
        part("optimizer", "optimizer_bytes", m->optimizer, format_bytes),
        part("activations", "activations_bytes", m->activations, format_bytes),
        part("buffers", "buffers_bytes", m->buffers, format_bytes)};
    return list_of(all, ARRAY_LEN(all));
}

/* Down to the meter: supplies and storage are what IT draws beyond the three, the rest is cooling and
 * what transformers lose. */
struct plan_list plan_tell_draw(const struct plan_power *p)
{
    double rest = p->it_w - p->accelerators_w - p->servers_w - p->network_w;
    const struct plan_told all[] = {
        part("accelerators", "accelerators_w", p->accelerators_w, plan_format_watts),
        part("servers", "servers_w", p->servers_w, plan_format_watts),
        part("network", "network_w", p->network_w, plan_format_watts),
        part("supplies and storage", NULL, rest, plan_format_watts),
        part("cooling and loss", NULL, p->facility_w - p->it_w, plan_format_watts)};
    return list_of(all, ARRAY_LEN(all));
}

struct plan_list plan_tell_supply(const struct plan_answer *a)
{
    const struct machine_site *site = &a->request->site;
    struct plan_list l = {.n = (size_t)site->n_sources};
    _Static_assert(MACHINE_MAX_SOURCES < PLAN_MAX_TOLD, "room for all sources and what they lack");
    for (size_t i = 0; i < l.n; i++)
        l.told[i] = part(site->sources[i].name, NULL, a->power.source_w[i], plan_format_watts);
    if (a->power.unserved_w > 0)
        l.told[l.n++] = part("NOT SERVED", "unserved_w", a->power.unserved_w, plan_format_watts);
    return l;
}

static struct plan_told cost(const char *name, const char *key, struct range usd)
{
    return (struct plan_told){name, key, usd, plan_format_usd, true, false};
}

struct plan_list plan_tell_machine_costs(const struct plan_money *m)
{
    const struct plan_told all[] = {cost("accelerators", "accelerators_usd", m->accelerators_usd),
                                    cost("servers", "servers_usd", m->servers_usd),
                                    cost("network", "network_usd", m->network_usd),
                                    cost("building", "site_usd", m->site_usd)};
    return list_of(all, ARRAY_LEN(all));
}

struct plan_list plan_tell_run_costs(const struct plan_money *m)
{
    const struct plan_told all[] = {cost("write-off", "capital_usd", m->capital_usd),
                                    cost("upkeep", "upkeep_usd", m->upkeep_usd),
                                    cost("energy", "energy_usd", m->energy_usd)};
    return list_of(all, ARRAY_LEN(all));
}

bool plan_is_known(double x)
{
    return x > 0 && isfinite(x);
}

void plan_told_write(const struct plan_told *t, char low[32], char mid[32], char high[32])
{
    bool exact = t->value.low == t->value.mid && t->value.high == t->value.mid;
    low[0] = high[0] = 0;
    t->format(mid, t->value.mid);
    if (exact) return;
    t->format(low, t->value.low);
    t->format(high, t->value.high);
}

const struct plan_told *plan_list_find(const struct plan_list *l, const char *key)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->told[i].key && strcmp(l->told[i].key, key) == 0) return &l->told[i];
    CHECK_MSG(false, "nothing is told of '%s'", key);
    return NULL;
}

/* ------------------------------------------------------------------ sentences */

void plan_add_text(char *buf, size_t size, const char *fmt, ...)
{
    size_t used = strlen(buf);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf + used, size - used, fmt, ap);
    va_end(ap);
}

void plan_describe_model(const struct model_config *m, char *buf, size_t size)
{
    char all[32], active[32];
    double params = plan_model_params(m), used = plan_model_active_params(m);
    plan_format_words(all, params);
    plan_format_words(active, used);
    buf[0] = 0;
    plan_add_text(buf, size, "%s, %s parameters", m->name ? m->name : "a model", all);
    if (used < 0.999 * params) plan_add_text(buf, size, " (%s active)", active);
    plan_add_text(buf, size, ", %lld layers of %lld", (long long)m->n_layers,
                  (long long)m->d_model);
    if (model_is_moe(m))
        plan_add_text(buf, size, ", %lld of %lld experts", (long long)m->n_experts_used,
                      (long long)m->n_experts);
}

void plan_describe_cluster(const struct machine_cluster *c, char *buf, size_t size)
{
    buf[0] = 0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        char n[32];
        const struct machine_accelerator *a = c->pools[i].accelerator;
        if (machine_cluster_accelerators(c) == 1) /* "This machine, 2 threads" */
            plan_add_text(buf, size, "%s", a->title && a->title[0] ? a->title : a->name);
        else
            plan_add_text(buf, size, "%s%s %s", i ? " + " : "",
                          plan_format_whole(n, (double)c->pools[i].count),
                          a->title && a->title[0] ? a->title : a->name);
    }
}

/* A layout needs a product of small numbers, and a cluster rarely has one: what is left over is idle
 * and must be told, because it is paid for. */
void plan_describe_use(const struct machine_cluster *c, const struct plan_layout *l, char *buf,
                       size_t size)
{
    int64_t used[MACHINE_MAX_POOLS], n = machine_cluster_accelerators(c);
    int64_t sum = plan_place_used(c, l, used);
    char one[32], two[32];
    struct plan_place p = {0};
    CHECK(size > 0);
    buf[0] = 0;
    for (int64_t i = 0; i < c->n_pools && !p.straddles && p.used == p.domain; i++)
        plan_place(c->pools[i].accelerator, c, l, &p);
    if (sum >= n && !p.straddles) return;
    if (sum < n)
        plan_add_text(buf, size, "uses %s of %s accelerators", plan_format_whole(one, (double)sum),
                      plan_format_whole(two, (double)n));
    if (p.straddles)
        plan_add_text(buf, size,
                      "%ssome groups straddle scale-up domains of %lld, over the slower network",
                      sum < n ? "; " : "", (long long)p.domain);
    else if (p.used < p.domain)
        plan_add_text(buf, size, ", %lld of each domain of %lld", (long long)p.used,
                      (long long)p.domain);
    if (sum < n) plan_add_text(buf, size, "; MFU counts only those");
}

void plan_describe_software(const struct plan_software *s, char *buf, size_t size)
{
    buf[0] = 0;
    if (!s->local) {
        double year = s->generation > 0 ? s->generation : plan_software_today();
        plan_add_text(buf, size, "%s of %.1f%s", plan_stack_names[s->stack], year,
                      s->generation > 0 ? "" : " (today's)");
        return;
    }
    plan_add_text(buf, size, "colossus train, %s: the sum of its operations, ",
                  s->muon_steps > 0 ? "Muon" : "AdamW");
    if (s->local->estimated)
        plan_add_text(buf, size, "estimated from the machine's figures");
    else
        plan_add_text(buf, size, "as measured in %s", s->local->from);
}

void plan_describe_measured(const struct plan_answer *a, char *buf, size_t size)
{
    const struct plan_measured *m = &a->request->measured;
    char step[32];
    buf[0] = 0;
    if (!m->folder || a->request->changed) return;
    plan_add_text(buf, size, "%s a step in %s, the median of %zu; the plan is %+.1f %% off",
                  format_duration(step, m->step_s), m->folder, m->n_steps,
                  100 * (a->step.step_s / m->step_s - 1));
}

void plan_describe_headroom(const struct plan_answer *a, char *buf, size_t size)
{
    const double kept = a->request->headroom;
    double there = a->step.memory_limit_bytes / (1 - kept);
    double full = a->step.memory.total / fmax(there, 1);
    buf[0] = 0;
    if (kept > 0)
        plan_add_text(buf, size, "%.3g %% of the memory is left free (headroom)", 100 * kept);
    else if (a->step.fits && full > PLAN_NEARLY_FULL)
        plan_add_text(buf, size,
                      "NEARLY FULL: %.1f %% of what is there, and predictions of memory are a few "
                      "per cent off; --headroom 0.05 asks for a layout that leaves room",
                      100 * full);
}

void plan_describe_title(const struct plan_request *r, char *buf, size_t size)
{
    char machine[256];
    buf[0] = 0;
    plan_describe_cluster(&r->cluster, machine, sizeof machine);
    if (r->title && r->title[0])
        plan_add_text(buf, size, "%s", r->title);
    else /* of another model or machine than the file's title says */
        plan_add_text(buf, size, "%s on %s", r->model.name ? r->model.name : "a model", machine);
    if (r->changed)
        plan_add_text(buf, size, " (%s with %s)", r->name && *r->name ? r->name : "a plan",
                      r->changed);
}

void plan_describe_sensitivity_days(const struct plan_sensitivity *s, char *buf, size_t size)
{
    char low[32], high[32];
    buf[0] = 0;
    if (fabs(s->high_days - s->low_days) > 0.005 * fmax(s->low_days, s->high_days))
        snprintf(buf, size, ", %s to %s", plan_format_days(low, s->low_days),
                 plan_format_days(high, s->high_days));
}

void plan_describe_sensitivity(const struct plan_sensitivity *s, char *buf, size_t size)
{
    char low[32], high[32], days[96];
    plan_describe_sensitivity_days(s, days, sizeof days);
    snprintf(buf, size, "%s: %s to %s%s", s->input, plan_format_usd(low, s->low_usd),
             plan_format_usd(high, s->high_usd), days);
}

void plan_describe_batteries(const struct machine_swing *s, char *buf, size_t size)
{
    char w[32], wh[32];
    buf[0] = 0;
    if (s->battery_needed_w > 0)
        snprintf(buf, size, "batteries of %s and %s would %s",
                 plan_format_watts(w, s->battery_needed_w),
                 format_si(wh, s->battery_needed_wh, "Wh"),
                 s->limit_w > 0 ? "keep the whole of it within the limit" : "take it up");
}

/* ------------------------------------------------------------------ failures */

/* Pools of one kind of server, or of one kind of rack, share their spares. */
static bool same_servers(const struct machine_accelerator *a, const struct machine_accelerator *b)
{
    return a->node_size == b->node_size && a->scaleup_domain == b->scaleup_domain;
}

/* What is kept beside the job is what it was built of: servers, or trays of a rack. By the number
 * of accelerators of each kind. */
static void describe_spares(const struct plan_answer *a, char *buf, size_t size)
{
    const struct machine_cluster *c = &a->request->cluster;
    double all = (double)machine_cluster_accelerators(c),
           spare = 8.0 * (double)a->reliability.spare_nodes;
    int64_t total = 0;
    buf[0] = 0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        const struct machine_accelerator *x = c->pools[i].accelerator;
        int64_t unit = MAX(x->node_size, 1), n = 0;
        bool told = false;
        for (int64_t k = 0; k < c->n_pools; k++) {
            if (!same_servers(x, c->pools[k].accelerator)) continue;
            n += c->pools[k].count;
            told = told || k < i;
        }
        double part = ceil(spare * (double)n / all / (double)unit);
        if (told || n <= unit || part < 1) continue; /* one machine: nothing takes its place */
        char count[32];
        bool in_racks = x->scaleup_domain > MAX(unit, 8);
        plan_add_text(buf, size, "%s%s %s%s of %lld",
                      total ? " and " : "spares: ", plan_format_whole(count, part),
                      in_racks ? "tray" : "server", part > 1 ? "s" : "", (long long)unit);
        if (in_racks)
            plan_add_text(
                buf, size, " (in racks of %lld: %s)", (long long)x->scaleup_domain,
                plan_format_whole(count, ceil(part * (double)unit / (double)x->scaleup_domain)));
        total += (int64_t)part;
    }
    if (total)
        plan_add_text(buf, size, " %s the job whole 99 %% of the time",
                      total == 1 ? "keeps" : "keep");
}

/* A job that stops at the size beyond which it would be slower, and what the rest is good for. */
static void describe_rest(const struct plan_answer *a, char *buf, size_t size)
{
    buf[0] = 0;
    const struct plan_reliability *r = &a->reliability;
    if (!(r->job_share > 0) || r->job_share >= 1) return;
    double job = (double)r->job_accelerators;
    double n = (double)machine_cluster_accelerators(&a->request->cluster);
    double given = a->part > 0 ? fmax((double)a->part, job) : job, rest = n - given;
    char used[32], all[32], left[32], of[32], with[64] = "";
    if (given > job) snprintf(with, sizeof with, " on %s of them", plan_format_whole(of, given));
    static const char *const WORSE[] = {"slower", "dearer", "take more energy", "take more energy"};
    plan_add_text(
        buf, size,
        "more than %s of the %s accelerators make one job %s, so days, energy and cost are "
        "those of a job of that size%s; the other %s are room for ",
        plan_format_whole(used, job), plan_format_whole(all, n), WORSE[a->request->objective], with,
        plan_format_whole(left, rest));
    if (rest >= given)
        plan_add_text(buf, size, "%.0f more of that size", floor(rest / given));
    else
        plan_add_text(buf, size, "a smaller job, or spares");
}

size_t plan_describe_failures(const struct plan_answer *a, char lines[PLAN_FAILURE_LINES][512])
{
    const struct plan_reliability *r = &a->reliability;
    char mtbf[32], restart[32], bytes[32], write[32], stall[32], every[32], good[32], elastic[32];
    size_t n = 0, size = sizeof lines[0];
    if (!plan_is_known(r->mtbf_s.mid)) return 0;
    snprintf(
        lines[n++], size,
        "every %s, cold restart %s; checkpoints of %s, each stalls the step for %s and is "
        "written in %s, best every %s",
        format_duration(mtbf, r->mtbf_s.mid), format_duration(restart, r->restart_s.mid),
        format_bytes(bytes, r->checkpoint_bytes), format_duration(stall, r->checkpoint_stall_s),
        format_duration(write, r->checkpoint_write_s), format_duration(every, r->interval_exact_s));
    if (r->elastic)
        snprintf(lines[n++], size,
                 "one job in lockstep would keep %s of its time; where groups of %s leave "
                 "and return on their own, it keeps %s",
                 plan_format_percent(good, r->goodput.mid),
                 plan_format_whole(mtbf, (double)r->elastic_group),
                 plan_format_percent(elastic, r->goodput_elastic.mid));
    describe_rest(a, lines[n], size);
    if (lines[n][0]) n++;
    describe_spares(a, lines[n], size);
    if (lines[n][0]) n++;
    return n;
}
