/* machine_heat.c: heat from the die to the air outside: the die's own warmth, a loop that has lost its
 * flow, dry coolers by one point of a catalogue, chillers by a catalogue's curves, and a site with
 * dry coolers first and chillers for what they cannot take. */
#include "machine/machine_internal.h"

#include <math.h>

#define WATER_J_PER_L_K 4180.0
/* Capacity of a cooler goes with the 0.8th power of the air's speed, fans with its cube. */
#define FAN_POWER (3.0 / 0.8)

double machine_die_step(double now_c, double settled_c, double tau_s, double dt_s)
{
    return settled_c + (now_c - settled_c) * exp(-dt_s / tau_s);
}

double machine_die_alone_s(double kelvin, double watts, double j_per_k)
{
    return watts > 0.0 ? kelvin * j_per_k / watts : INFINITY;
}

double machine_loop_k_per_s(double watts, double litres)
{
    return watts / (litres * WATER_J_PER_L_K);
}

double machine_dry_cooler_w(const struct machine_dry_cooler *c, double fluid_in_c, double air_c)
{
    return fmax(c->heat_w * (fluid_in_c - air_c) / (c->fluid_in_c - c->air_c), 0.0);
}

double machine_fan_share(double capacity_share)
{
    return pow(fmin(fmax(capacity_share, 0.0), 1.0), FAN_POWER);
}

double machine_pump_share(double flow_share)
{
    return flow_share * flow_share * flow_share;
}

double machine_coolant_rise_k(double watts, double l_per_min, double kg_per_m3, double j_per_kg_k)
{
    return watts / (l_per_min / 60e3 * kg_per_m3 * j_per_kg_k);
}

/* A unit of 373 kW, COP 2.87 at 6.67 C water and 35 C air, which of 49 air-cooled ones above 300 kW in
 * the data set of EnergyPlus 25.2 lies nearest to their median in capacity and COP from 15 to 43 C:
 * biquadratics of leaving water and air. */
static const double CHILLER_CAPACITY[6] = {1.0573446434,  0.0367770028, 0.0002290292,
                                           -0.0040750236, -7.12535e-05, -0.0003542319};
static const double CHILLER_INPUT[6] = {0.7536306994,  -0.0079585809, 0.0003950368,
                                        -0.0076086893, 0.000549565,   -0.0005357849};
#define CHILLER_COP      2.87
#define CHILLER_WATER_C  4.44
#define CHILLER_WATER_HI 10.0
#define CHILLER_AIR_LOW  15.0
#define CHILLER_AIR_HIGH 46.11
#define CHILLER_PER_K    0.035 /* more capacity for each degree of warmer water, by the same curve */

static double biquadratic(const double k[6], double x, double y)
{
    return k[0] + k[1] * x + k[2] * x * x + k[3] * y + k[4] * y * y + k[5] * x * y;
}

bool machine_chiller(double water_c, double air_c, double *capacity, double *cop)
{
    double x = fmin(fmax(water_c, CHILLER_WATER_C), CHILLER_WATER_HI);
    double y = fmin(fmax(air_c, CHILLER_AIR_LOW), CHILLER_AIR_HIGH);
    *capacity = biquadratic(CHILLER_CAPACITY, x, y);
    *cop = CHILLER_COP / biquadratic(CHILLER_INPUT, x, y);
    return x == water_c && air_c <= CHILLER_AIR_HIGH;
}

/* Air-cooled: coefficient of performance 6 at 15 C and 3 at 36 C outside, between 2.5 and 9. */
static double line_cop(double air_c)
{
    return fmin(fmax(6.0 - 3.0 / 21.0 * (air_c - 15.0), 2.5), 9.0);
}

void machine_loop_overhead(const struct machine_loop *l, double air_c,
                           struct machine_loop_state *out)
{
    double chilled = (air_c + l->approach_k - l->supply_c + 0.5 * l->span_k) / l->span_k;
    double capacity = 1.0, cop = line_cop(air_c);
    chilled = fmin(fmax(chilled, 0.0), 1.0);
    out->within_curves = true;
    if (l->catalogue) out->within_curves = machine_chiller(l->chilled_c, air_c, &capacity, &cop);
    /* Beyond what the chillers can take the coolant warms up, until they can, or the coolers take the
     * rest. */
    double most = fmin(l->chiller_share * capacity, 1.0), short_of = fmax(chilled - most, 0.0);
    double by_coolers = fmax(air_c + l->approach_k + (0.5 - most) * l->span_k - l->supply_c, 0.0);
    double by_chillers = most > 0.0 ? short_of / most / CHILLER_PER_K : INFINITY;
    out->supply_c = l->supply_c + (short_of > 0.0 ? fmin(by_coolers, by_chillers) : 0.0);
    out->chilled = fmin(chilled, most);
    double room = fmax((l->supply_c + l->span_k - air_c) / (l->span_k + l->approach_k), 0.2);
    double fan = fmin(1.0 / room, 1.0);
    out->overhead = l->electrical + l->pumps + l->fans * fan * fan * fan + out->chilled / cop;
}
