/* plan_money.c: what the machine costs, what the run costs, and what it leaves in the air.
 *
 * A run pays for the days it holds the machine: accelerators, servers and network written off in a
 * straight line over a few years, the building over fifteen, a share of the price each year for
 * upkeep, and its energy. No interest, no idle time between runs: both are the owner's to add.
 * Checked against published totals: an H100 cluster at about 50,000 USD per accelerator, 35 to 38
 * million USD per megawatt, and 1.65 USD per H100-hour as the owner's break-even. */
#include "plan/run/plan_run_internal.h"

#include <math.h>
#include <string.h>

#define SITE_YEARS     15.0
#define HOURS_PER_YEAR 8766.0
#define DAYS_PER_YEAR  365.25

/* Where nothing is stated. */
static const struct range PRICE_USD = {20e3, 30e3, 45e3};
/* Of the accelerators' price: Bernstein's split of a gigawatt (39 accelerators, 13 network, 3 CPU,
 * 1.3 storage, 10.7 other; 33 the building, at 35 billion USD). */
static const struct range NETWORK_OF_PRICE = {0.25, 0.33, 0.45};
static const struct range SERVER_OF_PRICE = {0.25, 0.385, 0.50};
static const struct range SITE_USD_PER_W = {9.0, 12.0, 19.0};
static const struct range YEARS = {3.0, 4.0, 6.0};
static const struct range UPKEEP = {0.03, 0.05, 0.08};
static const struct range USD_PER_KWH = {0.06, 0.065, 0.095};
static const struct range CO2_G_PER_KWH = {283.0, 373.0, 566.0}; /* TVA, US mean, turbine */

static struct range figure(const struct figure *f, struct range fallback)
{
    return figure_range(f, fallback.mid, fallback.low, fallback.high);
}

static struct range times(struct range a, double x)
{
    return (struct range){a.low * x, a.mid * x, a.high * x};
}

/* Prices of pools and parts rise and fall together: their bounds add. */
static struct range plus(struct range a, struct range b)
{
    return (struct range){a.low + b.low, a.mid + b.mid, a.high + b.high};
}

static void capex(const struct plan_answer *a, struct plan_money *m)
{
    const struct machine_cluster *c = &a->request->cluster;
    const struct machine_site *s = &a->request->site;
    double n = (double)machine_cluster_accelerators(c);
    for (int64_t i = 0; i < c->n_pools; i++)
        m->accelerators_usd =
            plus(m->accelerators_usd, times(figure(&c->pools[i].accelerator->price_usd, PRICE_USD),
                                            (double)c->pools[i].count));
    double price = m->accelerators_usd.mid / n;
    m->network_usd = times(figure(&c->network_usd, times(NETWORK_OF_PRICE, price)), n);
    m->servers_usd = times(figure(&c->server_usd, times(SERVER_OF_PRICE, price)), n);
    /* The building is built for the nameplate of what stands in it. */
    double it_max_w = 0.0, worst = 1.0;
    for (int i = 0; i < 12; i++)
        worst = fmax(worst, a->power.pue_month[i]);
    it_max_w = a->power.facility_max_w / worst;
    m->site_usd = times(figure(&s->capex_usd_per_w, SITE_USD_PER_W), it_max_w);
    m->capex_usd = range_add(range_add(m->accelerators_usd, m->servers_usd),
                             range_add(m->network_usd, m->site_usd));
}

/* USD per kWh of the mix that feeds the load. */
static struct range energy_price(const struct plan_answer *a)
{
    const struct machine_site *s = &a->request->site;
    struct range sum = {0};
    double all = 0.0;
    for (int64_t i = 0; i < s->n_sources; i++) {
        double w = a->power.source_w[i];
        sum = plus(sum, times(figure(&s->sources[i].usd_per_kwh, USD_PER_KWH), w));
        all += w;
    }
    return all > 0.0 ? times(sum, 1.0 / all) : USD_PER_KWH;
}

static void money(struct plan_answer *a)
{
    struct plan_money *m = &a->money;
    const struct machine_site *s = &a->request->site;
    memset(m, 0, sizeof(*m));
    capex(a, m);
    /* Of the machine a run pays for what its job uses. */
    double n = (double)machine_cluster_accelerators(&a->request->cluster);
    double job = a->reliability.job_share > 0.0 ? a->reliability.job_share : 1.0;
    struct range years = times(a->days, job / DAYS_PER_YEAR);
    struct range life = figure(&s->depreciation_years, YEARS);
    struct range it = range_add(range_add(m->accelerators_usd, m->servers_usd), m->network_usd);
    struct range rent = range_add(range_div(it, life), times(m->site_usd, 1.0 / SITE_YEARS));
    struct range upkeep = range_mul(m->capex_usd, figure(&s->opex_fraction, UPKEEP));
    m->capital_usd = range_mul(rent, years);
    m->upkeep_usd = range_mul(upkeep, years);
    m->energy_usd = range_mul(energy_price(a), times(a->mwh, 1e3));
    m->run_usd = range_add(range_add(m->capital_usd, m->upkeep_usd), m->energy_usd);
    if (a->tokens.mid > 0.0) m->usd_per_million_tokens = times(m->run_usd, 1e6 / a->tokens.mid);
    /* Days cancel: they are in both. */
    struct range hourly = range_add(rent, upkeep);
    struct range energy_hour = times(energy_price(a), a->power.facility_w / 1e3 / n);
    m->usd_per_accelerator_hour = range_add(times(hourly, 1.0 / HOURS_PER_YEAR / n), energy_hour);
}

static void emissions(struct plan_answer *a)
{
    struct plan_emissions *e = &a->emissions;
    const struct machine_site *s = &a->request->site;
    struct range co2 = {0}, nox = {0}, water = {0};
    double all = 0.0, own_water_w = 0.0;
    memset(e, 0, sizeof(*e));
    for (int64_t i = 0; i < s->n_sources; i++) {
        const struct machine_power_source *p = &s->sources[i];
        double w = a->power.source_w[i];
        all += w;
        co2 = plus(co2, times(figure(&p->co2_g_per_kwh, CO2_G_PER_KWH), w));
        nox = plus(nox, times(figure_range(&p->nox_g_per_kwh, 0.0, 0.0, 0.0), w));
        water = plus(water, times(figure_range(&p->water_l_per_kwh, 0.0, 0.0, 0.0), w));
        if (p->grid) continue;
        e->nox_t_per_year += w / 1e3 * HOURS_PER_YEAR * figure_mid(&p->nox_g_per_kwh, 0.0) / 1e6;
        own_water_w += w * figure_mid(&p->water_l_per_kwh, 0.0);
    }
    struct range kwh = times(a->mwh, 1e3);
    double scale = all > 0.0 ? 1.0 / all : 0.0;
    e->co2_t = range_mul(all > 0.0 ? times(co2, scale) : CO2_G_PER_KWH, times(kwh, 1e-6));
    e->nox_t = range_mul(times(nox, scale), times(kwh, 1e-6));
    /* Cooling water is per kWh of computers; its model is known to about a third. */
    struct range cooling =
        times((struct range){0.67, 1.0, 1.5}, a->power.wue_l_per_kwh / a->power.pue);
    e->water_l = range_mul(plus(cooling, times(water, scale)), kwh);

    e->permit_nox_t_per_year = figure_mid(&s->permit_nox_t_per_year, 0.0);
    double permit_water = figure_mid(&s->permit_water_l_per_day, 0.0);
    double water_day = (a->power.it_w * a->power.wue_l_per_kwh + own_water_w) / 1e3 * 24.0;
    e->within_permit =
        (e->permit_nox_t_per_year <= 0.0 || e->nox_t_per_year <= e->permit_nox_t_per_year) &&
        (permit_water <= 0.0 || water_day <= permit_water);
}

void plan_money_and_emissions(struct plan_answer *answer)
{
    if (machine_cluster_accelerators(&answer->request->cluster) <= 0) return;
    money(answer);
    emissions(answer);
}
