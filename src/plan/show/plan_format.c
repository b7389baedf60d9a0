/* plan_format.c: how the answers' quantities are written, and the one list of what is told.
 *
 * A page, a comparison, a sweep and JSON name the same figures in the same order, so that list is
 * made once (plan_tell). Three significant digits: the model is not better than that. */
#include "plan/show/plan_pages_internal.h"

#include <math.h>
#include <string.h>

char *plan_format_whole(char buf[32], double x)
{
    char digits[32];
    if (!isfinite(x) || fabs(x) >= 1e15) return format_si(buf, x, "");
    int n = snprintf(digits, sizeof digits, "%.0f", fabs(x));
    size_t out = 0;
    if (x < 0) buf[out++] = '-';
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) buf[out++] = ',';
        buf[out++] = digits[i];
    }
    buf[out] = 0;
    return buf;
}

/* Three digits in front of a word. */
static char *in_words(char buf[32], double x, const char *before)
{
    static const char *const words[] = {"", " thousand", " million", " billion", " trillion"};
    size_t i = 0;
    double a = fabs(x);
    for (; i + 1 < ARRAY_LEN(words) && a >= 999.5; i++)
        a /= 1000;
    int decimals = a < 9.995 ? 2 : a < 99.95 ? 1 : 0;
    snprintf(buf, 32, "%s%s%.*f%s", x < 0 ? "-" : "", before, decimals, a, words[i]);
    return buf;
}

char *plan_format_usd(char buf[32], double usd)
{
    char digits[32];
    if (!isfinite(usd)) return format_count(buf, usd);
    if (fabs(usd) < 999.5 || fabs(usd) >= 999.5e3) return in_words(buf, usd, "$");
    double unit = pow(10.0, floor(log10(fabs(usd))) - 2.0); /* three digits: $1,200, $12,300 */
    plan_format_whole(digits, fabs(round(usd / unit) * unit));
    snprintf(buf, 32, "%s$%.28s", usd < 0 ? "-" : "", digits);
    return buf;
}

char *plan_format_days(char buf[32], double days)
{
    if (days < 1) return format_duration(buf, days * 86400);
    if (days >= 999.5)
        plan_format_whole(buf, days);
    else
        snprintf(buf, 32, "%.*f", days < 9.995 ? 2 : days < 99.95 ? 1 : 0, days);
    strncat(buf, " days", 31 - strlen(buf));
    return buf;
}

char *plan_format_percent(char buf[32], double share)
{
    snprintf(buf, 32, "%.1f %%", 100 * share);
    return buf;
}

/* ", 6.84 to 10.0 days", or nothing where an input does not move them. */
char *plan_format_sensitivity(char *buf, size_t size, const struct plan_sensitivity *s)
{
    char low[32], high[32];
    buf[0] = 0;
    if (fabs(s->high_days - s->low_days) > 0.005 * fmax(s->low_days, s->high_days))
        snprintf(buf, size, ", %s to %s", plan_format_days(low, s->low_days),
                 plan_format_days(high, s->high_days));
    return buf;
}

static char *format_hours(char buf[32], double hours)
{
    return in_words(buf, hours, "");
}

static char *format_mwh(char buf[32], double mwh)
{
    return format_si(buf, mwh * 1e6, "Wh");
}

char *plan_format_watts(char buf[32], double w)
{
    return format_si(buf, w, "W");
}

static char *format_tonnes(char buf[32], double t)
{
    if (fabs(t) < 0.9995)
        snprintf(buf, 32, fabs(t) < 0.00995 ? "%.2f kg" : "%.0f kg", 1e3 * t);
    else if (fabs(t) < 99.95)
        snprintf(buf, 32, fabs(t) < 9.995 ? "%.2f t" : "%.1f t", t);
    else
        strncat(plan_format_whole(buf, t), " t", 31 - strlen(buf));
    return buf;
}

static char *format_litres(char buf[32], double l)
{
    in_words(buf, l, "");
    strncat(buf, " L", 31 - strlen(buf));
    return buf;
}

static char *format_rate(char buf[32], double x)
{
    return format_si(buf, x, "");
}

/* What falls where the step takes longer. */
static struct range per_step(double x, struct range step_s)
{
    return (struct range){x / step_s.high, x / step_s.mid, x / step_s.low};
}

size_t plan_tell(const struct plan_answer *a, struct plan_told told[PLAN_MAX_TOLD])
{
    const struct plan_step *s = &a->step;
    const struct plan_reliability *rel = &a->reliability;
    struct range goodput = rel->elastic ? rel->goodput_elastic : rel->goodput;
    double work = a->step_s.mid, used = (double)rel->job_accelerators;
    struct range job = {used, used, used};
    const struct plan_told all[] = {
        {"step", "step_s", a->step_s, format_duration, true, false},
        {"tokens a second", "tokens_per_s", per_step(s->tokens_per_s * work, a->step_s),
         format_rate, false, true},
        {"MFU", "mfu", per_step(s->mfu * work, a->step_s), plan_format_percent, false, true},
        {"between failures", "mtbf_s", rel->mtbf_s, format_duration, false, true},
        {"accelerators of the job", "job_accelerators", job, plan_format_whole, false, false},
        {"goodput", "goodput", goodput, plan_format_percent, false, true},
        {"days", "days", a->days, plan_format_days, true, false},
        {"accelerator-hours", "gpu_hours", a->gpu_hours, format_hours, true, false},
        {"site power", "site_w", a->site_w, plan_format_watts, true, false},
        {"energy", "mwh", a->mwh, format_mwh, true, false},
        {"cost of the run", "run_usd", a->money.run_usd, plan_format_usd, true, false},
        {"  a million tokens", "usd_per_million_tokens", a->money.usd_per_million_tokens,
         plan_format_usd, true, false},
        {"  an accelerator-hour", "usd_per_accelerator_hour", a->money.usd_per_accelerator_hour,
         plan_format_usd, true, false},
        {"cost of the machine", "capex_usd", a->money.capex_usd, plan_format_usd, true, false},
        {"CO2", "co2_t", a->emissions.co2_t, format_tonnes, true, false},
        {"NOx", "nox_t", a->emissions.nox_t, format_tonnes, true, false},
        {"water", "water_l", a->emissions.water_l, format_litres, true, false},
    };
    _Static_assert(ARRAY_LEN(all) <= PLAN_MAX_TOLD, "room for all that is told");
    memcpy(told, all, sizeof all);
    return ARRAY_LEN(all);
}

/* ------------------------------------------------------------------ descriptions */

static void add(char *buf, size_t size, const char *fmt, ...) PRINTF_LIKE(3, 4);
static void add(char *buf, size_t size, const char *fmt, ...)
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
    in_words(all, params, "");
    in_words(active, used, "");
    buf[0] = 0;
    add(buf, size, "%s, %s parameters", m->name ? m->name : "a model", all);
    if (used < 0.999 * params) add(buf, size, " (%s active)", active);
    add(buf, size, ", %lld layers of %lld", (long long)m->n_layers, (long long)m->d_model);
    if (model_is_moe(m))
        add(buf, size, ", %lld of %lld experts", (long long)m->n_experts_used,
            (long long)m->n_experts);
}

void plan_describe_cluster(const struct machine_cluster *c, char *buf, size_t size)
{
    buf[0] = 0;
    for (int64_t i = 0; i < c->n_pools; i++) {
        char n[32];
        const struct machine_accelerator *a = c->pools[i].accelerator;
        add(buf, size, "%s%s %s", i ? " + " : "", plan_format_whole(n, (double)c->pools[i].count),
            a->title && a->title[0] ? a->title : a->name);
    }
}

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
        add(buf, size, "uses %s of %s accelerators", plan_format_whole(one, (double)sum),
            plan_format_whole(two, (double)n));
    if (p.straddles)
        add(buf, size, "%sgroups lie across domains of %lld and pay for it", sum < n ? "; " : "",
            (long long)p.domain);
    else if (p.used < p.domain)
        add(buf, size, ", %lld of each domain of %lld", (long long)p.used, (long long)p.domain);
    if (sum < n) add(buf, size, "; MFU is of those");
}

void plan_describe_title(const struct plan_request *r, char *buf, size_t size)
{
    buf[0] = 0;
    if (r->title && r->title[0])
        add(buf, size, "%s", r->title);
    else
        add(buf, size, "%s on %s", r->model.name ? r->model.name : "a model",
            r->cluster.name && r->cluster.name[0] ? r->cluster.name : "a cluster");
    if (r->changed) add(buf, size, ", but %s", r->changed);
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
        add(buf, size, "%s%s %s%s of %lld",
            total ? " and " : "spares: ", plan_format_whole(count, part),
            in_racks ? "tray" : "server", part > 1 ? "s" : "", (long long)unit);
        if (in_racks)
            add(buf, size, " (in racks of %lld: %s)", (long long)x->scaleup_domain,
                plan_format_whole(count, ceil(part * (double)unit / (double)x->scaleup_domain)));
        total += (int64_t)part;
    }
    if (total) add(buf, size, " %s the job whole 99 %% of the time", total == 1 ? "keeps" : "keep");
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
    add(buf, size,
        "more than %s of the %s accelerators make one job %s, so days, energy and cost are "
        "those of a job of that size%s; the other %s are room for ",
        plan_format_whole(used, job), plan_format_whole(all, n), WORSE[a->request->objective], with,
        plan_format_whole(left, rest));
    if (rest >= given)
        add(buf, size, "%.0f more of that size", floor(rest / given));
    else
        add(buf, size, "a smaller job, or spares");
}

size_t plan_describe_failures(const struct plan_answer *a, char lines[PLAN_FAILURE_LINES][512])
{
    const struct plan_reliability *r = &a->reliability;
    char mtbf[32], restart[32], bytes[32], write[32], stall[32], every[32], good[32], elastic[32];
    size_t n = 0, size = sizeof lines[0];
    if (!(r->mtbf_s.mid > 0)) return 0;
    snprintf(
        lines[n++], size,
        "one every %s, cold restart %s; checkpoints of %s, each stalls the step for %s and is "
        "written in %s, best every %s",
        format_duration(mtbf, r->mtbf_s.mid), format_duration(restart, r->restart_s.mid),
        format_bytes(bytes, r->checkpoint_bytes), format_duration(stall, r->checkpoint_stall_s),
        format_duration(write, r->checkpoint_write_s), format_duration(every, r->interval_exact_s));
    if (r->elastic)
        snprintf(lines[n++], size,
                 "one synchronous job would keep %s of its time; with groups of %s that leave and "
                 "return singly, %s",
                 plan_format_percent(good, r->goodput.mid),
                 plan_format_whole(mtbf, (double)r->elastic_group),
                 plan_format_percent(elastic, r->goodput_elastic.mid));
    describe_rest(a, lines[n], size);
    if (lines[n][0]) n++;
    describe_spares(a, lines[n], size);
    if (lines[n][0]) n++;
    return n;
}
