/* plan_json.c: the answer as JSON: everything the pages show, and what they leave out.
 *
 * A quantity with a range is {"low", "mid", "high"}; the unit is the last word of its key. what is
 * not finite is null. */
#include "plan/show/plan_pages_internal.h"

#include <math.h>

static json_t *real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *range(struct range r)
{
    return json_pack("{s:o, s:o, s:o}", "low", real(r.low), "mid", real(r.mid), "high",
                     real(r.high));
}

static json_t *text(const char *s)
{
    json_t *j = json_string(s ? s : "");
    return j ? j : json_string("(not UTF-8)");
}

static json_t *layout(const struct plan_layout *l)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s}", "tp", l->tp, "pp",
                     l->pp, "cp", l->cp, "ep", l->ep, "etp", l->etp, "dp", l->dp, "vp", l->vp,
                     "micro_batch", l->micro_batch, "zero", l->zero, "recompute",
                     plan_recompute_names[l->recompute], "precision",
                     machine_precision_names[l->precision]);
}

static json_t *memory(const struct plan_memory *m)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o}", "weights_bytes", real(m->weights),
                     "gradients_bytes", real(m->gradients), "optimizer_bytes", real(m->optimizer),
                     "activations_bytes", real(m->activations), "buffers_bytes", real(m->buffers),
                     "total_bytes", real(m->total));
}

static json_t *step(const struct plan_step *s)
{
    json_t *parts = json_object();
    for (int i = 0; i < PLAN_N_PARTS; i++)
        json_object_set_new(parts, plan_part_names[i], real(s->part_s[i]));
    return json_pack("{s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
                     "s:b}",
                     "accelerators_used", (json_int_t)s->used, "step_s", real(s->step_s), "low_s",
                     real(s->low_s), "high_s", real(s->high_s), "parts_s", parts, "hidden_comm_s",
                     real(s->hidden_comm_s), "forward_s", real(s->forward_s), "backward_s",
                     real(s->backward_s), "microbatches", (json_int_t)s->microbatches,
                     "model_flops", real(s->model_flops), "mfu", real(s->mfu), "hfu", real(s->hfu),
                     "tokens_per_s", real(s->tokens_per_s), "memory", memory(&s->memory),
                     "memory_limit_bytes", real(s->memory_limit_bytes), "fits", s->fits);
}

static json_t *candidates(const struct plan_candidate *c, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list, json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "layout", layout(&c[i].layout),
                            "accelerators_used", (json_int_t)c[i].step.used, "step_s",
                            real(c[i].step.step_s), "mfu", real(c[i].step.mfu), "memory_bytes",
                            real(c[i].step.memory.total), "step_j", real(c[i].step_j), "step_usd",
                            real(c[i].step_usd)));
    return list;
}

static json_t *search(const struct plan_answer *a)
{
    const struct plan_search *s = &a->search;
    if (s->n_best == 0) return json_null();
    return json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "objective",
                     plan_objective_names[a->request->objective], "tried", (json_int_t)s->tried,
                     "valid", (json_int_t)s->valid, "fitting", (json_int_t)s->fitting, "best",
                     candidates(s->best, s->n_best), "front", candidates(s->front, s->n_front),
                     "runner_up", text(s->runner_up));
}

static json_t *reliability(const struct plan_reliability *r)
{
    json_t *j = json_object();
    json_object_set_new(j, "failures_per_1000_node_days", range(r->failures_per_1000_node_days));
    json_object_set_new(j, "mtbf_s", range(r->mtbf_s));
    json_object_set_new(j, "restart_s", range(r->restart_s));
    json_object_set_new(j, "checkpoint_bytes", real(r->checkpoint_bytes));
    json_object_set_new(j, "checkpoint_write_s", real(r->checkpoint_write_s));
    json_object_set_new(j, "checkpoint_stall_s", real(r->checkpoint_stall_s));
    json_object_set_new(j, "interval_young_s", real(r->interval_young_s));
    json_object_set_new(j, "interval_daly_s", real(r->interval_daly_s));
    json_object_set_new(j, "interval_exact_s", real(r->interval_exact_s));
    /* of the job that days, hours and dollars are of, as the pages show it */
    json_object_set_new(j, "goodput", range(r->elastic ? r->goodput_elastic : r->goodput));
    json_object_set_new(j, "goodput_synchronous", range(r->goodput));
    json_object_set_new(j, "goodput_elastic", r->elastic ? range(r->goodput_elastic) : json_null());
    json_object_set_new(j, "elastic", json_boolean(r->elastic));
    if (r->elastic) json_object_set_new(j, "elastic_group", json_integer(r->elastic_group));
    json_object_set_new(j, "elastic_most", json_integer(r->elastic_most));
    json_object_set_new(j, "job_accelerators", json_integer(r->job_accelerators));
    json_object_set_new(j, "spare_nodes", json_integer(r->spare_nodes));
    return j;
}

static json_t *reals(const double *x, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, real(x[i]));
    return list;
}

static json_t *swing(const struct machine_swing *s)
{
    json_t *j =
        json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "peak_w", real(s->peak_w), "trough_w",
                  real(s->trough_w), "mean_w", real(s->mean_w), "amplitude_w", real(s->amplitude_w),
                  "period_s", real(s->period_s), "in_band_w", real(s->in_band_w), "limit_w",
                  real(s->limit_w), "within_limit", s->within_limit);
    json_object_set_new(j, "spectrum_hz", reals(s->spectrum_hz, s->n_lines));
    json_object_set_new(j, "spectrum_w", reals(s->spectrum_w, s->n_lines));
    json_object_set_new(j, "smoothing_left_w", real(s->smoothing_left_w));
    json_object_set_new(j, "smoothing_energy_fraction", real(s->smoothing_energy_fraction));
    json_object_set_new(j, "cap_left_w", real(s->cap_left_w));
    json_object_set_new(j, "range_in_band_w", real(s->range_in_band_w));
    json_object_set_new(j, "by_batteries", json_boolean(s->by_batteries));
    json_object_set_new(j, "battery_needed_w", real(s->battery_needed_w));
    json_object_set_new(j, "battery_needed_wh", real(s->battery_needed_wh));
    json_object_set_new(j, "battery_left_w", real(s->battery_left_w));
    json_object_set_new(j, "period_detuned_s", real(s->period_detuned_s));
    json_object_set_new(j, "stop_w", real(s->stop_w));
    json_object_set_new(j, "stops_per_day", real(s->stops_per_day));
    return j;
}

static json_t *power(const struct plan_answer *a)
{
    const struct plan_power *p = &a->power;
    json_t *sources = json_object(), *caps = json_array();
    for (int64_t i = 0; i < a->request->site.n_sources; i++)
        json_object_set_new(sources, a->request->site.sources[i].name, real(p->source_w[i]));
    for (int i = 0; i < p->n_caps; i++)
        json_array_append_new(caps, json_pack("{s:o, s:o, s:o, s:o}", "cap_w", real(p->cap_w[i]),
                                              "speed", real(p->cap_speed[i]), "tokens_per_mwh",
                                              real(p->cap_tokens_per_mwh[i]), "cluster_gain",
                                              real(p->cap_cluster_gain[i])));
    json_t *j = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "accelerators_w",
                          real(p->accelerators_w), "servers_w", real(p->servers_w), "network_w",
                          real(p->network_w), "it_w", real(p->it_w), "facility_w",
                          real(p->facility_w), "facility_max_w", real(p->facility_max_w),
                          "facility_idle_w", real(p->facility_idle_w), "node_w", real(p->node_w),
                          "pue", real(p->pue), "wue_l_per_kwh", real(p->wue_l_per_kwh));
    json_object_set_new(j, "pue_month", reals(p->pue_month, 12));
    json_object_set_new(j, "water_l_month", reals(p->water_l_month, 12));
    json_object_set_new(j, "source_w", sources);
    json_object_set_new(j, "unserved_w", real(p->unserved_w));
    json_object_set_new(j, "swing", swing(&p->swing));
    json_object_set_new(j, "caps", caps);
    return j;
}

static json_t *money(const struct plan_money *m)
{
    json_t *j = json_object();
    json_object_set_new(j, "capex_usd", range(m->capex_usd));
    json_object_set_new(j, "accelerators_usd", range(m->accelerators_usd));
    json_object_set_new(j, "servers_usd", range(m->servers_usd));
    json_object_set_new(j, "network_usd", range(m->network_usd));
    json_object_set_new(j, "site_usd", range(m->site_usd));
    json_object_set_new(j, "capital_usd", range(m->capital_usd));
    json_object_set_new(j, "upkeep_usd", range(m->upkeep_usd));
    json_object_set_new(j, "energy_usd", range(m->energy_usd));
    json_object_set_new(j, "run_usd", range(m->run_usd));
    json_object_set_new(j, "usd_per_million_tokens", range(m->usd_per_million_tokens));
    json_object_set_new(j, "usd_per_accelerator_hour", range(m->usd_per_accelerator_hour));
    return j;
}

static json_t *emissions(const struct plan_emissions *e)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b}", "co2_t", range(e->co2_t), "nox_t",
                     range(e->nox_t), "water_l", range(e->water_l), "nox_t_per_year",
                     real(e->nox_t_per_year), "permit_nox_t_per_year",
                     real(e->permit_nox_t_per_year), "within_permit", e->within_permit);
}

static json_t *inputs(const struct plan_answer *a)
{
    const struct plan_request *r = a->request;
    json_t *pools = json_array(), *notes = json_array();
    for (int64_t i = 0; i < r->cluster.n_pools; i++)
        json_array_append_new(pools, json_pack("{s:o, s:I}", "accelerator",
                                               text(r->cluster.pools[i].accelerator->name), "count",
                                               (json_int_t)r->cluster.pools[i].count));
    for (int i = 0; i < r->n_notes; i++)
        json_array_append_new(notes, text(r->notes[i]));
    json_t *j = json_object();
    json_object_set_new(j, "name", text(r->name));
    json_object_set_new(j, "title", text(r->title));
    json_object_set_new(j, "changed", r->changed ? text(r->changed) : json_null());
    json_object_set_new(j, "model", text(r->model.name));
    json_object_set_new(j, "params", real(plan_model_params(&r->model)));
    json_object_set_new(j, "active_params", real(plan_model_active_params(&r->model)));
    json_object_set_new(j, "cluster", text(r->cluster.name));
    json_object_set_new(j, "pools", pools);
    json_object_set_new(j, "accelerators", json_integer(machine_cluster_accelerators(&r->cluster)));
    json_object_set_new(j, "site", text(r->site.name));
    json_object_set_new(j, "stack", text(plan_stack_names[r->software.stack]));
    json_object_set_new(
        j, "generation",
        real(r->software.generation > 0 ? r->software.generation : plan_software_today()));
    json_object_set_new(j, "global_batch", json_integer(r->batch.global_batch));
    json_object_set_new(j, "seq_len", json_integer(r->batch.seq_len));
    json_object_set_new(j, "power_cap", real(r->power_cap));
    json_object_set_new(j, "precision_given", json_boolean(r->layout.precision >= 0));
    json_object_set_new(j, "assumed", notes);
    return j;
}

json_t *plan_to_json(const struct plan_answer *a)
{
    json_t *j = json_object(), *matters = json_array();
    for (int i = 0; i < a->n_sensitivities; i++) {
        const struct plan_sensitivity *s = &a->sensitivities[i];
        json_array_append_new(matters, json_pack("{s:s, s:o, s:o, s:o, s:o}", "input", s->input,
                                                 "low_days", real(s->low_days), "high_days",
                                                 real(s->high_days), "low_usd", real(s->low_usd),
                                                 "high_usd", real(s->high_usd)));
    }
    json_object_set_new(j, "plan", inputs(a));
    json_object_set_new(j, "layout", layout(&a->layout));
    /* layout, step, days and gpu_hours are of a job on these; power and permits of all that stands */
    int64_t all = machine_cluster_accelerators(&a->request->cluster);
    json_object_set_new(j, "given_accelerators", json_integer(a->part > 0 ? a->part : all));
    json_object_set_new(j, "tokens", range(a->tokens));
    json_object_set_new(j, "tokens_from", text(a->tokens_from));
    json_object_set_new(j, "step", step(&a->step));
    json_object_set_new(j, "days", range(a->days));
    json_object_set_new(j, "gpu_hours", range(a->gpu_hours));
    json_object_set_new(j, "mwh", range(a->mwh));
    json_object_set_new(j, "reliability", reliability(&a->reliability));
    json_object_set_new(j, "power", power(a));
    json_object_set_new(j, "money", money(&a->money));
    json_object_set_new(j, "emissions", emissions(&a->emissions));
    json_object_set_new(j, "search", search(a));
    json_object_set_new(j, "sensitivities", matters);
    json_object_set_new(j, "limit", text(a->limit));
    return j;
}
