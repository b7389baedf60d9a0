/* machine_gas.c: gas turbines and engines: power in hot air, fuel at part load, what leaves the stack,
 * and what the speed of an island does when load or a unit falls away.
 *
 * Emissions: EPA's method 19, F factor of natural gas 8,710 dscf/MMBtu at 15 % oxygen: 1 ppm of NOx
 * is 0.003684 lb/MMBtu, of CO 0.002243 (their molar masses); carbon dioxide 53.06 kg/MMBtu (40 CFR
 * 98, table C-1). All of the higher heating value, of which the lower is 0.902. */
#include "machine/machine_internal.h"

#include <math.h>

#define LOWER_OF_HIGHER  0.902
#define KJ_PER_MMBTU_MWH 1055.06 /* kJ for a kWh over MMBtu for a MWh */
#define NOX_LB_PER_PPM   0.003684
#define CO_LB_PER_PPM    0.002243
#define CO2_KG_PER_MMBTU 53.06
#define G_PER_LB_MWH     0.45359237 /* g/kWh of 1 lb/MWh */

double machine_gas_mmbtu_per_mwh(double kj_per_kwh)
{
    return kj_per_kwh / LOWER_OF_HIGHER / KJ_PER_MMBTU_MWH;
}

double machine_gas_nox_g_per_kwh(double ppm, double kj_per_kwh)
{
    return NOX_LB_PER_PPM * ppm * machine_gas_mmbtu_per_mwh(kj_per_kwh) * G_PER_LB_MWH;
}

double machine_gas_co_g_per_kwh(double ppm, double kj_per_kwh)
{
    return CO_LB_PER_PPM * ppm * machine_gas_mmbtu_per_mwh(kj_per_kwh) * G_PER_LB_MWH;
}

double machine_gas_co2_g_per_kwh(double kj_per_kwh)
{
    return CO2_KG_PER_MMBTU * machine_gas_mmbtu_per_mwh(kj_per_kwh);
}

double machine_gas_heat_of_co2(double co2_g_per_kwh)
{
    return co2_g_per_kwh / CO2_KG_PER_MMBTU * LOWER_OF_HIGHER * KJ_PER_MMBTU_MWH;
}

double machine_gas_derated(double per_k, double above_c, double air_c)
{
    return fmax(1.0 - per_k * fmax(air_c - above_c, 0.0), 0.0);
}

double machine_gas_heat_rate(const double *load, const double *kj_per_kwh, int n, double at)
{
    if (at <= load[0]) return kj_per_kwh[0];
    for (int i = 1; i < n; i++)
        if (at <= load[i] && load[i] > load[i - 1])
            return kj_per_kwh[i - 1] + (kj_per_kwh[i] - kj_per_kwh[i - 1]) * (at - load[i - 1]) /
                                           (load[i] - load[i - 1]);
    return kj_per_kwh[n - 1];
}

double machine_island_hz_per_s(double missing_w, double inertia_ws, double hz)
{
    return inertia_ws > 0.0 ? -missing_w * hz / (2.0 * inertia_ws) : 0.0;
}

double machine_sag_missing_j(double watts, double left, double current_limit, double lasts_s)
{
    return watts * fmax(1.0 - left * current_limit, 0.0) * lasts_s;
}
