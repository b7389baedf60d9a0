/* site_tell.c: every figure that a result tells, once: its name, its unit, what it means. Pages, JSON,
 * seeds and comparisons all read this table. */
#include "site/show/site_show_internal.h"

#include <stdlib.h>
#include <string.h>

#define WH 3600.0
/* clang-format off */
#define TELL(fn, expression) \
    static double fn(const struct site_scenario *s, const struct site_result *r) \
    { \
        (void)s; \
        return expression; \
    }
/* clang-format on */

static double seconds_of(const struct site_result *r)
{
    return r->days * 86400.0;
}

static double share_of(double part, double all)
{
    return all > 0.0 ? part / all : 0.0;
}

static double interruptions(const struct site_result *r)
{
    double n = 0.0;
    for (int i = 0; i < SITE_MAX_JOBS; i++)
        n += r->jobs[i].interruptions;
    return n;
}

/* what: starts, seconds run, seconds out, trips, ends of permits */
static double gas_sum(const struct site_scenario *s, const struct site_result *r, int what)
{
    double sum = 0.0;
    for (int g = 0; g < s->n_gas; g++) {
        const struct site_gas_result *x = &r->gas[g];
        const double of[] = {x->starts, x->run_s, x->out_s, x->trips, x->permit_ends};
        sum += of[what];
    }
    return sum;
}

static double starts_most(const struct site_scenario *s, const struct site_result *r)
{
    double most = 0.0;
    for (int g = 0; g < s->n_gas; g++)
        most = fmax(most, r->gas[g].unit_starts_most);
    return most;
}

static double over_starts(const struct site_scenario *s, const struct site_result *r)
{
    double day = -1.0;
    for (int g = 0; g < s->n_gas; g++)
        if (r->gas[g].over_starts_day >= 0.0)
            day = day < 0.0 ? r->gas[g].over_starts_day : fmin(day, r->gas[g].over_starts_day);
    return day < 0.0 ? NAN : day;
}

static double over_hours(const struct site_scenario *s, const struct site_result *r)
{
    double day = INFINITY;
    for (int g = 0; g < s->n_gas; g++)
        if (r->gas[g].over_hours_day >= 0.0) day = fmin(day, r->gas[g].over_hours_day);
    return day < INFINITY ? day : NAN;
}

static double battery_j(const struct site_scenario *s)
{
    return WH * figure_mid(&s->battery.energy_wh, figure_mid(&s->site.battery_wh, 0.0));
}

static double pue(const struct site_result *r)
{
    double load = 0.0, it = 0.0;
    for (int m = 0; m < 12; m++)
        load += r->pue_month_load_j[m], it += r->pue_month_it_j[m];
    return it > 0.0 ? load / it : NAN;
}

TELL(accelerator_days, r->installed_s / 86400.0)
TELL(running_days, r->running_s / 86400.0)
TELL(failures, r->failures)
TELL(hardware, r->hardware)
TELL(rate_days, r->failures > 0.0 ? r->exposed_s / 86400.0 / r->failures : NAN)
TELL(lemons, share_of(r->from_lemons, r->failures))
TELL(first_failures, s->failures.as_new ? r->first_failures : NAN)
TELL(common, r->common)
TELL(common_h, r->both_down_s / 3600.0)
TELL(false_alarms, r->false_alarms)
TELL(stops, interruptions(r))
TELL(mtbf_h, interruptions(r) > 0.0 ? r->days * 24.0 / interruptions(r) : NAN)
TELL(in_repair, r->in_repair_s / seconds_of(r))
TELL(in_repair_most, r->in_repair_most)
TELL(in_repair_p99, r->in_repair_p99)
TELL(repairs, r->repairs)
TELL(crews_busy, r->hands_s / seconds_of(r))
TELL(wait_share, share_of(r->waits, r->by_hand))
TELL(wait_h, share_of(r->wait_s, r->by_hand) / 3600.0)
TELL(parts, r->parts_used)
TELL(it_w, r->it_j / seconds_of(r))
TELL(load_w, r->load_j / seconds_of(r))
TELL(peak_w, r->peak_w)
TELL(load_wh, r->load_j / WH)
TELL(grid_wh, r->grid_j / WH)
TELL(gas_wh, r->gas_j / WH)
TELL(battery_wh, r->battery_out_j / WH)
TELL(loss_wh, r->battery_loss_j / WH)
TELL(loss_w, r->battery_loss_j / seconds_of(r))
TELL(unserved_wh, r->unserved_j / WH)
TELL(unserved_share, share_of(r->unserved_j, r->load_j))
TELL(spilled_wh, r->spilled_j / WH)
TELL(charge_low, battery_j(s) > 0.0 ? r->soc_low / battery_j(s) : NAN)
TELL(charge_high, battery_j(s) > 0.0 ? r->soc_high / battery_j(s) : NAN)
TELL(charge_end, battery_j(s) > 0.0 ? r->soc_end / battery_j(s) : NAN)
TELL(ripple, r->swing_ripple)
TELL(swing_w, r->swing_w)
TELL(swing_hz, r->swing_hz)
TELL(starts, gas_sum(s, r, 0))
TELL(starts_unit, starts_most(s, r))
TELL(starts_day, over_starts(s, r))
TELL(gas_hours, gas_sum(s, r, 1) / 3600.0)
TELL(trips, gas_sum(s, r, 3))
TELL(permit_ends, gas_sum(s, r, 4))
TELL(outage, share_of(gas_sum(s, r, 2), gas_sum(s, r, 1) + gas_sum(s, r, 2)))
TELL(island_hz, r->frequency_hz_per_s)
TELL(island_s, r->frequency_hz_per_s > 0.0 ? 1.8 / r->frequency_hz_per_s : NAN)
TELL(island_battery_hz, r->frequency_with_battery_hz_per_s)
TELL(ramps, r->ramps)
TELL(ramp_min, r->ramp_s / 60.0)
TELL(steep_min, r->steep_s / 60.0)
TELL(caps, r->caps)
TELL(pauses, r->pauses)
TELL(sheds, r->sheds)
TELL(sags, r->sags)
TELL(ridden, r->sags_ridden)
TELL(sag_trips, r->sag_trips)
TELL(lockouts, r->lockouts)
TELL(lockout_at, r->lockouts > 0.0 ? r->lockout_at_s : NAN)
TELL(pue_mean, pue(r))
TELL(wue, share_of(r->water_l, r->it_j / 3.6e6))
TELL(water, r->water_l)
TELL(dry_high, r->dry_high_c)
TELL(wet_high, r->wet_high_c)
TELL(hot_30, r->hours_hot[0])
TELL(hot_32, r->hours_hot[1])
TELL(hot_35, r->hours_hot[2])
TELL(die_high, r->die_high_c)
TELL(coolers_least, s->cooling.law == SITE_COOLING_COOLERS ? r->coolers_least_w : NAN)
TELL(throttled, r->throttled_s / 3600.0)
TELL(nox, r->stack_g[SITE_NOX] / 1e6)
TELL(nox_rolling, r->rolling_t[SITE_NOX])
TELL(nox_day, r->over_day[SITE_NOX] >= 0.0 ? r->over_day[SITE_NOX] : NAN)
TELL(co, r->stack_g[SITE_CO] / 1e6)
TELL(co_rolling, r->rolling_t[SITE_CO])
TELL(co_day, r->over_day[SITE_CO] >= 0.0 ? r->over_day[SITE_CO] : NAN)
TELL(co2, (r->stack_g[SITE_CO2] + r->grid_co2_g) / 1e6)
TELL(co2_rolling, r->rolling_t[SITE_CO2])
TELL(co2_day, r->over_day[SITE_CO2] >= 0.0 ? r->over_day[SITE_CO2] : NAN)
TELL(hours_day, over_hours(s, r))
TELL(leaks, r->leaks)
TELL(leaked, r->leaked_l)
TELL(grid_usd, r->grid_usd)
TELL(demand_usd, r->demand_usd)
TELL(fuel_usd, r->fuel_usd)
TELL(gas_usd, r->gas_usd)
TELL(repair_usd, r->repair_usd)
TELL(upkeep_usd, r->upkeep_usd)
TELL(capital_usd, r->capital_usd)
TELL(total_usd, r->total_usd)
TELL(lost_usd, r->lost_usd)
TELL(balance, r->balance_worst)
TELL(energy_error, r->energy_error)
TELL(events, r->events)

/* clang-format off */
const struct site_figure site_figures[] = {
    {"goodput", "share", "of their time, but for building, that jobs make progress, weighed by size", site_goodput},
    {"accelerator_days", "", "days of accelerators that stood", accelerator_days},
    {"running_days", "", "of these with power and cooling", running_days},
    {"failures", "", "of accelerators, software's with them", failures},
    {"hardware_failures", "", "that need repair", hardware},
    {"accelerator_days_per_failure", "d", "of those that could fail", rate_days},
    {"lemon_share", "share", "of failures", lemons},
    {"first_failures", "", "of hardware never repaired, where repair makes new", first_failures},
    {"common_causes", "", "instances that stood still", common},
    {"common_cause_h", "h", "that they stood still, all instances together", common_h},
    {"false_alarms", "", "healthy units that were drained", false_alarms},
    {"interruptions", "", "of jobs", stops},
    {"hours_between_interruptions", "h", "of all jobs", mtbf_h},
    {"in_repair", "", "units at once, mean", in_repair},
    {"in_repair_most", "", "units at once", in_repair_most},
    {"in_repair_p99", "", "units at once, 99 % of the time no more", in_repair_p99},
    {"repairs", "", "that ended", repairs},
    {"crews_busy", "", "at once, mean", crews_busy},
    {"repairs_that_waited", "share", "for a crew, of those by hand", wait_share},
    {"repair_wait_h", "h", "for a crew, mean", wait_h},
    {"parts_used", "", "by repairs", parts},
    {"it_w", "W", "computers, mean", it_w},
    {"load_w", "W", "all of the site, mean", load_w},
    {"peak_w", "W", "the most, without the steps' wave", peak_w},
    {"load_wh", "Wh", "all of the site", load_wh},
    {"grid_wh", "Wh", "from the grid", grid_wh},
    {"gas_wh", "Wh", "from gas units", gas_wh},
    {"battery_wh", "Wh", "out of the battery", battery_wh},
    {"battery_loss_wh", "Wh", "in it, the wave of steps with it", loss_wh},
    {"battery_loss_w", "W", "lost in the battery, mean", loss_w},
    {"unserved_wh", "Wh", "asked for and not served", unserved_wh},
    {"unserved_share", "share", "of the load", unserved_share},
    {"spilled_wh", "Wh", "given and not taken", spilled_wh},
    {"charge_low", "share", "of the battery, lowest", charge_low},
    {"charge_high", "share", "highest", charge_high},
    {"charge_end", "share", "at the end", charge_end},
    {"charge_ripple", "share", "of the widest wave, of the battery", ripple},
    {"swing_w", "W", "peak to peak, widest wave of steps", swing_w},
    {"swing_hz", "Hz", "how often", swing_hz},
    {"gas_starts", "", "of all units", starts},
    {"gas_starts_of_a_unit", "", "the most", starts_unit},
    {"gas_starts_over_permit_day", "d", "first day on which a unit had too many", starts_day},
    {"gas_hours", "h", "of all units", gas_hours},
    {"gas_hours_over_permit_day", "d", "first day on which a unit had too many", hours_day},
    {"gas_permit_ends", "", "times that a unit had used up its permit and stood still", permit_ends},
    {"gas_trips", "", "forced outages and trips", trips},
    {"gas_outage_share", "share", "of the time that units ran or were to be repaired", outage},
    {"island_hz_per_s", "Hz/s", "fastest change of an island's frequency", island_hz},
    {"island_limit_s", "s", "to a deviation of 1.8 Hz at that rate", island_s},
    {"island_hz_per_s_with_battery", "Hz/s", "its fastest change once the battery has come in", island_battery_hz},
    {"ramp_violations", "", "of the grid's contract", ramps},
    {"ramp_violation_min", "min", "in which the draw and itself a minute ago differ by more", ramp_min},
    {"ramp_steep_min", "min", "in which the draw changed faster than that", steep_min},
    {"power_caps", "", "times that power was lowered against a deficit", caps},
    {"jobs_paused", "", "times that a job stood for want of power", pauses},
    {"loads_shed", "", "times that a load was shed for want of power", sheds},
    {"sags", "", "of the grid's voltage", sags},
    {"sags_ridden", "", "by the supplies alone", ridden},
    {"sag_trips", "", "that stopped every job", sag_trips},
    {"ups_lockouts", "", "after too many transfers", lockouts},
    {"ups_lockout_at_s", "s", "the first", lockout_at},
    {"pue", "", "power usage effectiveness", pue_mean},
    {"wue_l_per_kwh", "", "water usage effectiveness", wue},
    {"water_l", "L", "of cooling", water},
    {"air_high_c", "C", "hottest hour", dry_high},
    {"wet_bulb_high_c", "C", "highest wet bulb", wet_high},
    {"hours_over_30_c", "h", "of air", hot_30},
    {"hours_over_32_c", "h", "of air", hot_32},
    {"hours_over_35_c", "h", "of air", hot_35},
    {"die_high_c", "C", "hottest die", die_high},
    {"leaks", "", "of coolant", leaks},
    {"leaked_l", "L", "lost by them", leaked},
    {"coolers_least_w", "W", "that the dry coolers could take, in the hottest hour", coolers_least},
    {"throttled_h", "h", "by heat", throttled},
    {"nox_t", "t", "of the site's units", nox},
    {"nox_rolling_t", "t", "most in 365 days", nox_rolling},
    {"nox_over_permit_day", "d", "first day beyond the permit", nox_day},
    {"co_t", "t", "of the site's units", co},
    {"co_rolling_t", "t", "most in 365 days", co_rolling},
    {"co_over_permit_day", "d", "first day beyond the permit", co_day},
    {"co2_t", "t", "the grid's with it", co2},
    {"co2_rolling_t", "t", "of the site's units, most in 365 days", co2_rolling},
    {"co2_over_permit_day", "d", "first day beyond the permit", co2_day},
    {"grid_usd", "USD", "energy", grid_usd},
    {"demand_usd", "USD", "for the highest draw", demand_usd},
    {"fuel_usd", "USD", "of gas units", fuel_usd},
    {"gas_usd", "USD", "their rent, upkeep and starts", gas_usd},
    {"repair_usd", "USD", "hands and parts", repair_usd},
    {"upkeep_usd", "USD", "of machine and building", upkeep_usd},
    {"capital_usd", "USD", "write-off of machine and building", capital_usd},
    {"total_usd", "USD", "all of these", total_usd},
    {"lost_training_usd", "USD", "worth of time that jobs lost", lost_usd},
    {"balance_error", "", "of power, worst of all events, of the load", balance},
    {"energy_error", "", "of all energy, of the load", energy_error},
    {"events", "", "handled", events},
};
/* clang-format on */
const size_t site_n_figures = ARRAY_LEN(site_figures);

char *site_tell(char buf[32], const struct site_figure *f, double v)
{
    if (!isfinite(v)) {
        snprintf(buf, 32, "N/A");
    } else if (strcmp(f->unit, "share") == 0) {
        snprintf(buf, 32, v != 0.0 && fabs(v) < 1e-3 ? "%.2e" : "%.2f %%",
                 fabs(v) < 1e-3 ? v : 100.0 * v);
    } else if (strcmp(f->unit, "W") == 0 || strcmp(f->unit, "Wh") == 0) {
        format_si(buf, v, f->unit);
    } else if (strcmp(f->unit, "USD") == 0) {
        format_si(buf, v, "USD");
    } else if (v != 0.0 && (fabs(v) < 1e-3 || fabs(v) >= 1e7)) {
        snprintf(buf, 32, "%.3e%s%s", v, *f->unit ? " " : "", f->unit);
    } else {
        snprintf(buf, 32, "%.*f%s%s",
                 v == floor(v)    ? 0
                 : fabs(v) < 10.0 ? 3
                                  : 1,
                 v, *f->unit ? " " : "", f->unit);
    }
    return buf;
}

bool site_tell_quiet(const struct site_figure *f)
{
    static const char *const loud[] = {"goodput", "failures", "unserved_wh", "interruptions"};
    for (size_t i = 0; i < ARRAY_LEN(loud); i++)
        if (strcmp(f->name, loud[i]) == 0) return false;
    return true;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct range site_tell_range(const struct site_scenario *s, const struct site_seeds *x,
                             const struct site_figure *f)
{
    double *v = mem_alloc(MAX(x->n, 1) * sizeof(*v)), sum = 0.0;
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++) {
        double value = f->value(s, &x->each[i]);
        if (!isfinite(value)) continue;
        v[n++] = value;
        sum += value;
    }
    struct range out = {NAN, NAN, NAN};
    if (n > 0) {
        qsort(v, n, sizeof(*v), by_value);
        out = (struct range){v[(n - 1) / 10], sum / (double)n, v[(n - 1) - (n - 1) / 10]};
    }
    mem_free(v);
    return out;
}
