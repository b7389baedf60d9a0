/* machine_prices.c: what a machine and its site cost, what their energy costs, and what they leave
 * in air and water.
 *
 * Accelerators, servers and network are written off in a straight line over a few years, the
 * building over fifteen; a share of the price goes each year for upkeep. No interest, no idle time:
 * both are the owner's to add. Checked against published totals: an H100 cluster at about 50,000
 * USD per accelerator, 35 to 38 million USD per megawatt. */
#include "machine/machine_internal.h"

#define SITE_YEARS     15.0
#define HOURS_PER_YEAR 8766.0

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
static const struct range NOTHING = {0.0, 0.0, 0.0};

struct range machine_price_usd(const struct machine_accelerator *a)
{
    return figure_range(&a->price_usd, PRICE_USD);
}

struct range machine_write_off_years(const struct machine_site *s)
{
    return s ? figure_range(&s->depreciation_years, YEARS) : YEARS;
}

void machine_cost(const struct machine_cluster *c, const struct machine_site *s, double it_max_w,
                  struct machine_cost *out)
{
    double n = (double)machine_cluster_accelerators(c);
    *out = (struct machine_cost){0};
    for (int64_t i = 0; i < c->n_pools; i++) /* prices of pools rise and fall together */
        out->accelerators_usd =
            range_sum(out->accelerators_usd, range_scale(machine_price_usd(c->pools[i].accelerator),
                                                         (double)c->pools[i].count));
    double price = out->accelerators_usd.mid / n;
    out->network_usd =
        range_scale(figure_range(&c->network_usd, range_scale(NETWORK_OF_PRICE, price)), n);
    out->servers_usd =
        range_scale(figure_range(&c->server_usd, range_scale(SERVER_OF_PRICE, price)), n);
    out->site_usd = range_scale(figure_range(&s->capex_usd_per_w, SITE_USD_PER_W), it_max_w);
    struct range computers = range_add(out->accelerators_usd, out->servers_usd);
    out->capex_usd = range_add(computers, range_add(out->network_usd, out->site_usd));
    out->rent_usd =
        range_add(range_div(range_add(computers, out->network_usd), machine_write_off_years(s)),
                  range_scale(out->site_usd, 1.0 / SITE_YEARS));
    out->upkeep_usd = range_mul(out->capex_usd, figure_range(&s->opex_fraction, UPKEEP));
}

struct range machine_energy_usd_per_kwh(const struct machine_site *s,
                                        const double source_w[MACHINE_MAX_SOURCES])
{
    struct range sum = {0};
    double all = 0.0;
    for (int64_t i = 0; s && i < s->n_sources; i++) {
        struct range price = figure_range(&s->sources[i].usd_per_kwh, USD_PER_KWH);
        sum = range_sum(sum, range_scale(price, source_w[i]));
        all += source_w[i];
    }
    return all > 0.0 ? range_scale(sum, 1.0 / all) : USD_PER_KWH;
}

void machine_footprint(const struct machine_site *s, const double source_w[MACHINE_MAX_SOURCES],
                       double it_w, double cooling_l_per_kwh, struct machine_footprint *out)
{
    struct range co2 = {0}, nox = {0}, water = {0};
    double all = 0.0, own_water = 0.0;
    *out = (struct machine_footprint){0};
    for (int64_t i = 0; i < s->n_sources; i++) {
        const struct machine_power_source *p = &s->sources[i];
        double w = source_w[i];
        all += w;
        co2 = range_sum(co2, range_scale(figure_range(&p->co2_g_per_kwh, CO2_G_PER_KWH), w));
        nox = range_sum(nox, range_scale(figure_range(&p->nox_g_per_kwh, NOTHING), w));
        water = range_sum(water, range_scale(figure_range(&p->water_l_per_kwh, NOTHING), w));
        if (p->grid) continue; /* the permit is for what stands on the site */
        out->nox_t_per_year += w / 1e3 * HOURS_PER_YEAR * figure_mid(&p->nox_g_per_kwh, 0.0) / 1e6;
        own_water += w * figure_mid(&p->water_l_per_kwh, 0.0);
    }
    double scale = all > 0.0 ? 1.0 / all : 0.0;
    out->co2_g_per_kwh = all > 0.0 ? range_scale(co2, scale) : CO2_G_PER_KWH;
    out->nox_g_per_kwh = range_scale(nox, scale);
    out->water_l_per_kwh = range_scale(water, scale);
    out->water_l_per_day = (it_w * cooling_l_per_kwh + own_water) / 1e3 * 24.0;
    double nox_permit = figure_mid(&s->permit_nox_t_per_year, 0.0);
    double water_permit = figure_mid(&s->permit_water_l_per_day, 0.0);
    out->within_permit = (nox_permit <= 0.0 || out->nox_t_per_year <= nox_permit) &&
                         (water_permit <= 0.0 || out->water_l_per_day <= water_permit);
}
