/* site_json.c: results as JSON: every figure of the table, jobs with where their time went, gas units,
 * months. What is unknown is null. */
#include "site/show/site_show_internal.h"

static json_t *number(double v)
{
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *figures(const struct site_scenario *s, const struct site_result *r)
{
    json_t *o = json_object();
    for (size_t i = 0; i < site_n_figures; i++)
        json_object_set_new(o, site_figures[i].name, number(site_figures[i].value(s, r)));
    return o;
}

static json_t *job(const struct site_scenario *s, int i, const struct site_job_result *r)
{
    const struct site_job *k = &s->jobs[i];
    json_t *o = json_object(), *parts = json_object();
    json_object_set_new(o, "name", json_string(k->name));
    json_object_set_new(o, "accelerators", json_real(site_job_wants(s, i)));
    json_object_set_new(o, "wall_s", json_real(r->wall_s));
    for (int p = 0; p < SITE_N_PARTS; p++)
        json_object_set_new(parts, site_part_names[p], json_real(r->part_s[p]));
    json_object_set_new(o, "seconds", parts);
    double all = r->wall_s - r->part_s[SITE_PART_BUILDING];
    json_object_set_new(o, "goodput",
                        number(all > 0.0 ? r->part_s[SITE_PART_PRODUCTIVE] / all : NAN));
    json_object_set_new(o, "whole_share", number(r->wall_s > 0.0 ? r->whole_s / r->wall_s : NAN));
    json_object_set_new(o, "accelerator_days", json_real(r->accelerator_s / 86400.0));
    json_object_set_new(o, "interruptions", json_real(r->interruptions));
    json_object_set_new(
        o, "hours_between_interruptions",
        number(r->interruptions > 0.0 ? r->wall_s / 3600.0 / r->interruptions : NAN));
    json_object_set_new(o, "checkpoint_s", json_real(r->checkpoint_s));
    json_object_set_new(o, "checkpoints", json_real(r->checkpoints));
    json_object_set_new(o, "done_day", number(r->done_s >= 0.0 ? r->done_s / 86400.0 : NAN));
    if (k->kind == SITE_JOB_REPLAY) {
        json_object_set_new(o, "jobs_handed_in", json_real(r->small_in));
        json_object_set_new(o, "jobs_ended", json_real(r->small_done));
        json_object_set_new(o, "mean_wait_s",
                            number(r->small_begun > 0.0 ? r->small_wait_s / r->small_begun : NAN));
        json_object_set_new(o, "failed_share",
                            number(r->small_s > 0.0 ? r->small_failed_s / r->small_s : NAN));
    }
    if (r->flap_windows > 0.0) {
        json_object_set_new(o, "flaps_in_5_min", json_real(r->flaps / r->flap_windows));
        json_object_set_new(o, "windows_over_tolerance",
                            json_real(r->flap_windows_over / r->flap_windows));
    }
    return o;
}

static json_t *gas(const struct site_gas *k, const struct site_gas_result *r)
{
    json_t *o = json_object();
    double mwh = r->energy_j / 3.6e9, both = r->run_s + r->out_s;
    json_object_set_new(o, "name", json_string(k->name));
    json_object_set_new(o, "units", json_integer(k->units));
    json_object_set_new(o, "mwh", json_real(mwh));
    json_object_set_new(o, "fuel_kj_per_kwh",
                        number(mwh > 0.0 ? r->fuel_j / r->energy_j * 3600.0 : NAN));
    json_object_set_new(
        o, "co2_g_per_kwh",
        number(mwh > 0.0 ? machine_gas_co2_g_per_kwh(r->fuel_j / r->energy_j * 3600.0) : NAN));
    json_object_set_new(o, "nox_lb_per_mwh", number(mwh > 0.0 ? r->nox_g / 453.59237 / mwh : NAN));
    json_object_set_new(o, "nox_short_t", json_real(r->nox_g / 907184.74));
    json_object_set_new(o, "starts", json_real(r->starts));
    json_object_set_new(o, "starts_of_a_unit", json_real(r->unit_starts_most));
    json_object_set_new(o, "starts_over_permit_day",
                        number(r->over_starts_day >= 0.0 ? r->over_starts_day : NAN));
    json_object_set_new(o, "hours", json_real(r->run_s / 3600.0));
    json_object_set_new(o, "hours_over_permit_day",
                        number(r->over_hours_day >= 0.0 ? r->over_hours_day : NAN));
    json_object_set_new(o, "trips", json_real(r->trips));
    json_object_set_new(o, "outage_share", number(both > 0.0 ? r->out_s / both : NAN));
    return o;
}

json_t *site_to_json(const struct site_scenario *s, const struct site_result *r)
{
    json_t *o = json_object(), *jobs = json_array(), *units = json_array(), *months = json_array(),
           *lines = json_array();
    json_object_set_new(o, "scenario", json_string(s->name));
    json_object_set_new(o, "days", json_real(r->days));
    json_object_set_new(o, "seed", json_integer((json_int_t)r->seed));
    json_object_set_new(o, "figures", figures(s, r));
    for (int i = 0; i < s->n_jobs; i++)
        json_array_append_new(jobs, job(s, i, &r->jobs[i]));
    json_object_set_new(o, "jobs", jobs);
    for (int g = 0; g < s->n_gas; g++)
        json_array_append_new(units, gas(&s->gas[g], &r->gas[g]));
    json_object_set_new(o, "gas", units);
    for (int m = 0; m < 12; m++)
        json_array_append_new(months, number(r->pue_month_it_j[m] > 0.0
                                                 ? r->pue_month_load_j[m] / r->pue_month_it_j[m]
                                                 : NAN));
    for (int i = 0; i < SITE_LINES; i++)
        json_array_append_new(lines, json_real(r->swing_line_w[i]));
    json_object_set_new(o, "swing_lines_w", lines);
    json_object_set_new(o, "pue_of_month", months);
    return o;
}

json_t *site_seeds_to_json(const struct site_scenario *s, const struct site_seeds *x)
{
    json_t *o = json_object(), *list = json_object();
    json_object_set_new(o, "scenario", json_string(s->name));
    json_object_set_new(o, "seeds", json_integer((json_int_t)x->n));
    json_object_set_new(o, "goodput_half_width", json_real(x->half_width));
    json_object_set_new(o, "goodput_deviation", json_real(x->deviation));
    json_object_set_new(o, "seeds_needed", json_real(site_seeds_needed(x->deviation)));
    for (size_t i = 0; i < site_n_figures; i++) {
        struct range v = site_tell_range(s, x, &site_figures[i]);
        json_object_set_new(list, site_figures[i].name,
                            json_pack("{s:o,s:o,s:o}", "p10", number(v.low), "mean", number(v.mid),
                                      "p90", number(v.high)));
    }
    json_object_set_new(o, "figures", list);
    return o;
}

json_t *site_compare_to_json(const struct site_scenario *const s[2], const struct site_seeds x[2])
{
    json_t *o = json_object(), *list = json_object();
    json_object_set_new(o, "scenarios", json_pack("[s,s]", s[0]->name, s[1]->name));
    json_object_set_new(o, "seeds", json_integer((json_int_t)MIN(x[0].n, x[1].n)));
    for (size_t i = 0; i < site_n_figures; i++) {
        double a = site_tell_range(s[0], &x[0], &site_figures[i]).mid;
        double b = site_tell_range(s[1], &x[1], &site_figures[i]).mid;
        json_object_set_new(list, site_figures[i].name,
                            json_pack("{s:o,s:o,s:o}", "a", number(a), "b", number(b), "difference",
                                      number(b - a)));
    }
    json_object_set_new(o, "figures", list);
    return o;
}
