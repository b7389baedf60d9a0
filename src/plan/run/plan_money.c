/* plan_money.c: what the machine costs, what the run costs, and what it leaves in the air.
 *
 * A run pays for the days it holds the machine, at machine/'s prices: write-off and upkeep of what
 * its job uses, and its energy. Checked against 1.65 USD per H100-hour as an owner's break-even. */
#include "plan/run/plan_run_internal.h"

#include <math.h>

#define HOURS_PER_YEAR 8766.0
#define DAYS_PER_YEAR  365.25

/* Cooling water is per kWh of computers; its model is known to about a third. */
static const struct range COOLING_WATER_BAND = {0.67, 1.0, 1.5};

static void money(struct plan_answer *a)
{
    const struct machine_cluster *c = &a->request->cluster;
    const struct machine_site *s = &a->request->site;
    struct plan_money *m = &a->money;
    struct machine_cost cost;
    double n = (double)machine_cluster_accelerators(c), worst = 1.0;
    for (int i = 0; i < 12; i++)
        worst = fmax(worst, a->power.pue_month[i]);
    machine_cost(c, s, a->power.facility_max_w / worst, &cost);
    *m = (struct plan_money){.capex_usd = cost.capex_usd,
                             .accelerators_usd = cost.accelerators_usd,
                             .servers_usd = cost.servers_usd,
                             .network_usd = cost.network_usd,
                             .site_usd = cost.site_usd};
    /* Of the machine a run pays for what its job uses. */
    double job = a->reliability.job_share > 0.0 ? a->reliability.job_share : 1.0;
    struct range years = range_scale(a->days, job / DAYS_PER_YEAR);
    struct range energy_price = machine_energy_usd_per_kwh(s, a->power.source_w);
    m->capital_usd = range_mul(cost.rent_usd, years);
    m->upkeep_usd = range_mul(cost.upkeep_usd, years);
    m->energy_usd = range_mul(energy_price, range_scale(a->mwh, 1e3));
    m->run_usd = range_add(range_add(m->capital_usd, m->upkeep_usd), m->energy_usd);
    if (a->tokens.mid > 0.0)
        m->usd_per_million_tokens = range_scale(m->run_usd, 1e6 / a->tokens.mid);
    /* Days cancel: they are in both. */
    struct range hourly =
        range_scale(range_add(cost.rent_usd, cost.upkeep_usd), 1.0 / HOURS_PER_YEAR / n);
    m->usd_per_accelerator_hour =
        range_add(hourly, range_scale(energy_price, a->power.facility_w / 1e3 / n));
}

static void emissions(struct plan_answer *a)
{
    const struct machine_site *s = &a->request->site;
    const struct plan_power *p = &a->power;
    struct plan_emissions *e = &a->emissions;
    struct machine_footprint f;
    machine_footprint(s, p->source_w, p->it_w, p->wue_l_per_kwh, &f);
    struct range kwh = range_scale(a->mwh, 1e3), kwh_t = range_scale(kwh, 1e-6); /* g to t */
    struct range cooling = range_scale(COOLING_WATER_BAND, p->wue_l_per_kwh / p->pue);
    e->co2_t = range_mul(f.co2_g_per_kwh, kwh_t);
    e->nox_t = range_mul(f.nox_g_per_kwh, kwh_t);
    e->water_l = range_mul(range_sum(cooling, f.water_l_per_kwh), kwh);
    e->nox_t_per_year = f.nox_t_per_year;
    e->permit_nox_t_per_year = figure_mid(&s->permit_nox_t_per_year, 0.0);
    e->within_permit = f.within_permit;
}

void plan_money_and_emissions(struct plan_answer *answer)
{
    if (machine_cluster_accelerators(&answer->request->cluster) <= 0) return;
    money(answer);
    emissions(answer);
}
