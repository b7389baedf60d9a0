/* site_ledger.c: permits over rolling twelve months, and money. */
#include "site/run/site_run_internal.h"

const char *const site_stack_names[] = {"nox", "co2", "co", NULL};

static double limit_g(const struct site_sim *x, int k)
{
    double own = k == SITE_NOX ? figure_mid(&x->s->site.permit_nox_t_per_year, 0.0) : 0.0;
    return 1e6 * figure_mid(&x->s->permits.most_t[k], own);
}

/* A day is over: it comes into the window of 365, the oldest leaves. */
static void close_day(struct site_sim *x, int k)
{
    struct site_state *st = x->st;
    struct site_result *r = &st->r;
    double before = x->s->permits.before_t[k] * 1e6 / SITE_YEAR, limit = limit_g(x, k);
    double grams = r->stack_g[k] - st->stack_mark[k];
    int64_t day = st->days_over, slot = day % SITE_YEAR;
    double oldest = day < SITE_YEAR ? before : st->stack_day[k][slot];
    if (day == 0) st->stack_sum[k] = before * SITE_YEAR;
    st->stack_mark[k] = r->stack_g[k];
    st->stack_day[k][slot] = grams;
    st->stack_sum[k] += grams - oldest;
    r->rolling_t[k] = fmax(r->rolling_t[k], st->stack_sum[k] / 1e6);
    if (limit <= 0.0 || st->stack_sum[k] <= limit || r->over_day[k] >= 0.0) return;
    r->over_day[k] = (double)day + 1.0;
    site_log_text(x, "permit_exceeded", "which", site_stack_names[k]);
}

/* The run ends within a day: that part of it counts, and as much of the oldest day has left. */
static void close_part(struct site_sim *x)
{
    struct site_state *st = x->st;
    struct site_result *r = &st->r;
    double part = site_seconds(st->now) / 86400.0 - (double)st->days_over;
    for (int k = 0; k < SITE_N_STACK && part > 0.0; k++) {
        double before = x->s->permits.before_t[k] * 1e6, limit = limit_g(x, k);
        double oldest = st->days_over < SITE_YEAR ? before / SITE_YEAR
                                                  : st->stack_day[k][st->days_over % SITE_YEAR];
        double sum = (st->days_over ? st->stack_sum[k] : before) + r->stack_g[k] -
                     st->stack_mark[k] - part * oldest;
        r->rolling_t[k] = fmax(r->rolling_t[k], sum / 1e6);
        if (limit <= 0.0 || sum <= limit || r->over_day[k] >= 0.0) continue;
        r->over_day[k] = (double)st->days_over + 1.0;
        site_log_text(x, "permit_exceeded", "which", site_stack_names[k]);
    }
}

void site_ledger_day(struct site_sim *x)
{
    for (int k = 0; k < SITE_N_STACK; k++)
        close_day(x, k);
    site_gas_day(x);
    x->st->days_over++;
}

/* A whole month is charged whole, a part of one by its days. */
void site_ledger_month(struct site_sim *x, int month)
{
    struct site_state *st = x->st;
    double days = site_seconds(st->now - st->month_since) / 86400.0;
    double months = fmin(days / machine_month_days[month - 1], 1.0);
    st->r.demand_usd += st->month_peak_w / 1e3 * x->s->grid.usd_per_kw_month * months;
    st->month_peak_w = 0.0;
    st->month_since = st->now;
}

static double price_of_grid(const struct site_scenario *s)
{
    double own = 0.065;
    for (int64_t i = 0; i < s->site.n_sources; i++)
        if (s->site.sources[i].grid) own = figure_mid(&s->site.sources[i].usd_per_kwh, own);
    return figure_mid(&s->grid.usd_per_kwh, own);
}

static double co2_of_grid(const struct site_scenario *s)
{
    double own = 373.0;
    for (int64_t i = 0; i < s->site.n_sources; i++)
        if (s->site.sources[i].grid) own = figure_mid(&s->site.sources[i].co2_g_per_kwh, own);
    return figure_mid(&s->grid.co2_g_per_kwh, own);
}

static void gas_money(struct site_sim *x)
{
    struct site_result *r = &x->st->r;
    for (int g = 0; g < x->s->n_gas; g++) {
        const struct site_gas *k = &x->s->gas[g];
        double mmbtu = machine_gas_mmbtu_per_mwh(1.0) * r->gas[g].fuel_j / 3.6e9 * 3.6e3;
        r->fuel_usd += mmbtu * k->usd_per_mmbtu;
        r->gas_usd +=
            r->gas[g].starts * k->usd_per_start + r->gas[g].energy_j / 3.6e9 * k->usd_per_mwh;
    }
}

static void capital(struct site_sim *x)
{
    struct site_result *r = &x->st->r;
    struct machine_draw d;
    struct machine_cost c;
    const int64_t used[MACHINE_MAX_POOLS] = {0};
    if (!x->s->money.capital) return;
    machine_draw(&x->s->cluster, used, 0.0, 0.0, &d);
    machine_cost(&x->s->cluster, &x->s->site, machine_it_w(d.max_w, d.network_w), &c);
    /* of what stands, for as long as it has stood */
    double all = (double)machine_cluster_accelerators(&x->s->cluster);
    double years = r->installed_s / all / 86400.0 / 365.25;
    r->capital_usd = c.rent_usd.mid * years;
    r->upkeep_usd = c.upkeep_usd.mid * years;
}

void site_ledger_finish(struct site_sim *x)
{
    struct site_state *st = x->st;
    struct site_result *r = &st->r;
    close_part(x);
    r->grid_co2_g = r->grid_j / 3.6e6 * co2_of_grid(x->s);
    r->grid_usd = r->grid_j / 3.6e6 * price_of_grid(x->s);
    site_ledger_month(x, st->month);
    gas_money(x);
    capital(x);
    r->repair_usd = r->hands_s / 3600.0 * x->s->money.usd_per_technician_hour +
                    r->parts_used * x->s->money.usd_per_part;
    for (int i = 0; i < x->s->n_jobs; i++) {
        const struct site_job_result *j = &r->jobs[i];
        double lost = j->wall_s - j->part_s[SITE_PART_PRODUCTIVE] - j->part_s[SITE_PART_BUILDING];
        r->lost_usd += lost / 3600.0 * st->jobs[i].want * x->s->jobs[i].usd_per_hour;
    }
    r->total_usd = r->grid_usd + r->demand_usd + r->fuel_usd + r->gas_usd + r->repair_usd +
                   r->capital_usd + r->upkeep_usd;
}
