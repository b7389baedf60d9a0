/* site_ledger.c: permits over rolling twelve months, and money. */
#include "site/run/site_run_internal.h"

#define DAYS_PER_MONTH (365.25 / 12.0)
enum { YEAR = 365 };

/* A day is over: it comes into the window of 365, the oldest leaves. */
static void close_day(struct site_sim *x, double grams)
{
    struct site_state *st = x->st;
    double before = x->s->permits.nox_before_t * 1e6 / YEAR;
    int64_t i = st->nox_index++, slot = i % YEAR;
    double oldest = i < YEAR ? before : st->nox_day[slot];
    if (i == 0) st->nox_sum = before * YEAR;
    st->nox_day[slot] = grams;
    st->nox_sum += grams - oldest;
    st->r.nox_rolling_t = fmax(st->r.nox_rolling_t, st->nox_sum / 1e6);
    double limit =
        figure_mid(&x->s->permits.nox_t, figure_mid(&x->s->site.permit_nox_t_per_year, 0.0));
    if (limit <= 0.0 || st->nox_sum <= limit * 1e6 || st->r.nox_over_day >= 0.0) return;
    st->r.nox_over_day = (double)i + 1.0;
    site_log_text(x, "permit_exceeded", "which", "nox");
}

void site_ledger_day(struct site_sim *x)
{
    struct site_state *st = x->st;
    close_day(x, st->r.nox_g - st->nox_mark);
    st->nox_mark = st->r.nox_g;
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
    if (st->nox_index == 0) { /* less than a day */
        st->nox_sum = x->s->permits.nox_before_t * 1e6;
        r->nox_rolling_t = (st->nox_sum + r->nox_g) / 1e6;
    }
    r->co2_g += r->grid_j / 3.6e6 * co2_of_grid(x->s);
    r->grid_usd = r->grid_j / 3.6e6 * price_of_grid(x->s);
    r->demand_usd = r->grid_peak_w / 1e3 * x->s->grid.usd_per_kw_month * r->days / DAYS_PER_MONTH;
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
