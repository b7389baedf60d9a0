/* machine_cooling.c: what a site adds to the computers: cooling and its water by month, losses, and
 * which source feeds the load.
 *
 * Power usage effectiveness is computed from the month's climate, hour by hour in spirit: the
 * temperature of a month is taken as normal around its mean (5 K: day-to-day 2 to 5 K and the
 * course of the day in Memphis normals 1981-2010), in five points of Gauss and Hermite. Where a
 * site states its own PUE, the months keep their shape and their mean becomes that.
 *
 * Four ways to reject heat:
 *   air_chiller     air-cooled chillers on a closed loop; free cooling when it is cold; no water
 *   liquid_chiller  the liquid part on dry coolers with chillers for what is missing; the air
 *                   part on water-cooled chillers and towers
 *   dry             warm water and dry coolers, wetted on hot hours
 *   tower           evaporation, whole load
 * Published: air halls 1.4 to 1.8, liquid with chillers 1.10 to 1.20, warm water 1.05 to 1.15
 * (survey means), 1.16 assumed by Epoch for Colossus; 0.43 L/kWh at Colossus 1, 0.15 to 0.17 for
 * wetted dry coolers, 1.8 for full evaporation. */
#include "machine/machine_internal.h"

#include <math.h>

#define ELECTRICAL_LOSS 0.04 /* transformers, switchgear, distribution; no double-conversion UPS */
#define PUMPS           0.02 /* loops and CDUs */
#define HALL_FANS       0.06 /* of the heat that goes to air */
#define OUTDOOR_FANS    0.015
#define APPROACH_K      8.0  /* dry cooler over ambient; 7 K in published designs */
#define TOWER_K         5.0  /* tower over wet bulb, with its heat exchanger */
#define SPAN_K          10.0 /* rise of the coolant in the load: where free cooling fades out */
/* Air-cooled chiller: coefficient of performance 6 at 15 C and 3 at 36 C outside (typical data
 * sheets), a straight line between, for water of 15 to 25 C. */
#define COP_AT_15 6.0
#define COP_PER_K (3.0 / 21.0)
#define COP_MIN   2.5
#define COP_MAX   9.0
#define COP_TOWER 6.5 /* water-cooled */
/* 1 kWh evaporates 1.48 L at 2.43 MJ/kg; five cycles of concentration add a quarter. */
#define WATER_L_PER_KWH 1.85
#define MONTH_SD_K      5.0

const int machine_month_days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
const char *const machine_cooling_names[] = {"air_chiller", "liquid_chiller", "dry", "tower", NULL};

static double clamp01(double x)
{
    return fmin(fmax(x, 0.0), 1.0);
}

static double chiller_cop(double dry_c)
{
    return fmin(fmax(COP_AT_15 - COP_PER_K * (dry_c - 15.0), COP_MIN), COP_MAX);
}

/* The part of a heat that a cooler at `source_c` cannot take from a loop supplied at supply_c. */
static double missing(double source_c, double supply_c)
{
    return clamp01((source_c - supply_c + 0.5 * SPAN_K) / SPAN_K);
}

void machine_cooling_overhead(const struct machine_site *s, double dry_c, double wet_c,
                              double *overhead, double *l_per_kwh)
{
    static const double SUPPLY_C[] = {22.0, 30.0, 40.0, 22.0}; /* where none is stated, by kind */
    double liquid = clamp01(figure_mid(&s->liquid_fraction, 0.8)), air = 1.0 - liquid;
    double supply = figure_mid(&s->supply_c, SUPPLY_C[s->cooling]);
    double more = ELECTRICAL_LOSS + PUMPS + OUTDOOR_FANS + HALL_FANS * air, water = 0.0;
    double dry_missing = missing(dry_c + APPROACH_K, supply), cop = chiller_cop(dry_c);
    switch ((enum machine_cooling)s->cooling) {
    case MACHINE_COOLING_AIR_CHILLER: more += dry_missing / cop; break;
    case MACHINE_COOLING_LIQUID_CHILLER:
        more += liquid * dry_missing / cop + air / COP_TOWER;
        water = air * (1.0 + 1.0 / COP_TOWER) * WATER_L_PER_KWH;
        break;
    case MACHINE_COOLING_DRY:
        /* Wetting brings the air to within 3 K of its wet bulb; what is missing then is chilled. */
        more += (liquid * missing(wet_c + 3.0 + APPROACH_K, supply) + air) / cop;
        water = liquid * dry_missing * WATER_L_PER_KWH;
        break;
    case MACHINE_COOLING_TOWER: {
        double chilled = missing(wet_c + TOWER_K, supply);
        more += chilled / COP_TOWER;
        /* In cold air a third of the heat leaves as warm air, none of it in summer. */
        water = (1.0 + chilled / COP_TOWER) * WATER_L_PER_KWH * clamp01(0.65 + 0.014 * wet_c);
        break;
    }
    }
    *overhead = more;
    *l_per_kwh = water;
}

/* Mean over a month whose temperatures are normal around their means. */
static void month_mean(const struct machine_site *s, struct machine_climate_month m,
                       double *overhead, double *l_per_kwh)
{
    static const double X[5] = {-2.8569700, -1.3556262, 0.0, 1.3556262, 2.8569700};
    static const double W[5] = {0.0112574, 0.2220759, 0.5333333, 0.2220759, 0.0112574};
    *overhead = *l_per_kwh = 0.0;
    for (int i = 0; i < 5; i++) {
        double more, water, shift = X[i] * MONTH_SD_K;
        double dry = m.dry_bulb_c + shift, wet = fmin(m.wet_bulb_c + 0.7 * shift, dry);
        machine_cooling_overhead(s, dry, wet, &more, &water);
        *overhead += W[i] * more;
        *l_per_kwh += W[i] * water;
    }
}

void machine_cooling_year(const struct machine_site *s, struct machine_cooling_year *out)
{
    static const struct machine_climate_month MILD = {15.0, 11.0}; /* where no climate is given */
    double overhead[12], mean = 0.0;
    *out = (struct machine_cooling_year){0};
    for (int i = 0; i < 12; i++) {
        month_mean(s, s->has_climate ? s->months[i] : MILD, &overhead[i], &out->l_per_kwh[i]);
        mean += overhead[i] * machine_month_days[i] / 365.0;
        out->mean_l_per_kwh += out->l_per_kwh[i] * machine_month_days[i] / 365.0;
    }
    double stated = figure_mid(&s->design_pue, 0.0);
    double scale = stated > 1.0 && mean > 0.0 ? (stated - 1.0) / mean : 1.0;
    for (int i = 0; i < 12; i++) {
        out->pue[i] = 1.0 + scale * overhead[i];
        out->worst_pue = fmax(out->worst_pue, out->pue[i]);
    }
    out->mean_pue = 1.0 + scale * mean;
}

double machine_supply(const struct machine_site *s, double load_w,
                      double source_w[MACHINE_MAX_SOURCES])
{
    double left = load_w;
    for (int64_t i = 0; i < s->n_sources; i++) {
        double capacity = figure_mid(&s->sources[i].capacity_w, INFINITY);
        source_w[i] = fmin(left, fmax(capacity, 0.0));
        left -= source_w[i];
    }
    return s->n_sources > 0 ? left : 0.0;
}
