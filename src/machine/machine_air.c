/* machine_air.c: the wet bulb of moist air.
 *
 * Saturation by Hyland and Wexler (1983), the balance of the wet bulb by ASHRAE Handbook of
 * Fundamentals 2017, chapter 1, equations 33 and 35, solved by halving. Stull's fit, which needs no
 * pressure, is up to 0.8 K too high in Memphis. */
#include "machine/machine_internal.h"

#include <math.h>

#define KELVIN 273.15

static double saturation_pa(double c)
{
    double t = c + KELVIN;
    if (c <= 0.01)
        return exp(-5.6745359e3 / t + 6.3925247 - 9.677843e-3 * t + 6.2215701e-7 * t * t +
                   2.0747825e-9 * t * t * t - 9.484024e-13 * t * t * t * t + 4.1635019 * log(t));
    return exp(-5.8002206e3 / t + 1.3914993 - 4.8640239e-2 * t + 4.1764768e-5 * t * t -
               1.4452093e-8 * t * t * t + 6.5459673 * log(t));
}

static double ratio_of(double vapour_pa, double pressure_pa)
{
    return 0.621945 * vapour_pa / (pressure_pa - vapour_pa);
}

/* Kilograms of water in one of dry air whose wet bulb would be this. */
static double ratio_of_wet_bulb(double dry_c, double wet_c, double pressure_pa)
{
    double saturated = ratio_of(saturation_pa(wet_c), pressure_pa), below = dry_c - wet_c;
    if (wet_c >= 0.0)
        return ((2501.0 - 2.326 * wet_c) * saturated - 1.006 * below) /
               (2501.0 + 1.86 * dry_c - 4.186 * wet_c);
    return ((2830.0 - 0.24 * wet_c) * saturated - 1.006 * below) /
           (2830.0 + 1.86 * dry_c - 2.1 * wet_c);
}

double machine_wet_bulb_c(double dry_c, double humidity, double pressure_pa)
{
    double ratio = ratio_of(fmin(humidity, 1.0) * saturation_pa(dry_c), pressure_pa);
    double low = dry_c - 60.0, high = dry_c;
    for (int i = 0; i < 40; i++) {
        double middle = 0.5 * (low + high);
        if (ratio_of_wet_bulb(dry_c, middle, pressure_pa) > ratio)
            high = middle;
        else
            low = middle;
    }
    return 0.5 * (low + high);
}
