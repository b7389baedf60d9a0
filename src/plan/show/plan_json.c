/* plan_json.c: the answer as JSON: everything the pages show, and what they leave out.
 *
 * A quantity with a range is {"low", "mid", "high"}; the unit is the last word of its key. What is
 * not finite is null. Quantities that the pages show, too, come from the lists of plan_tell.c. */
#include "plan/show/plan_show_internal.h"

#include <math.h>

json_t *plan_json_real(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *range(struct range r)
{
    return json_pack("{s:o, s:o, s:o}", "low", plan_json_real(r.low), "mid", plan_json_real(r.mid),
                     "high", plan_json_real(r.high));
}

json_t *plan_json_text(const char *s)
{
    json_t *j = json_string(s ? s : "");
    return j ? j : json_string("(not UTF-8)");
}

struct named {
    const char *key;
    double x;
};
/* SET_REALS(j, {"pue", p->pue}, {"node_w", p->node_w}): plain numbers, in this order. */
#define SET_REALS(j, ...)                               \
    set_reals((j), (const struct named[]){__VA_ARGS__}, \
              sizeof((const struct named[]){__VA_ARGS__}) / sizeof(struct named))

static void set_reals(json_t *j, const struct named *rows, size_t n)
{
    for (size_t i = 0; i < n; i++)
        json_object_set_new(j, rows[i].key, plan_json_real(rows[i].x));
}

/* What a list tells of this key, with its range. */
static void set_told(json_t *j, const struct plan_list *l, const char *key)
{
    json_object_set_new(j, key, range(plan_list_find(l, key)->value));
}

/* The middles of a list, whose keys are the names of plain numbers. */
static void set_parts(json_t *j, const struct plan_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->told[i].key)
            json_object_set_new(j, l->told[i].key, plan_json_real(l->told[i].value.mid));
}

static json_t *layout(const struct plan_layout *l)
{
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:s, s:s}", "tp", l->tp, "pp",
                     l->pp, "cp", l->cp, "ep", l->ep, "etp", l->etp, "dp", l->dp, "vp", l->vp,
                     "micro_batch", l->micro_batch, "zero", l->zero, "recompute",
                     plan_recompute_names[l->recompute], "precision",
                     machine_precision_names[l->precision]);
}

static json_t *step(const struct plan_step *s)
{
    json_t *j = json_object(), *parts = json_object(), *memory = json_object();
    struct plan_list of_memory = plan_tell_memory(&s->memory);
    for (int i = 0; i < PLAN_N_PARTS; i++)
        json_object_set_new(parts, plan_part_names[i], plan_json_real(s->part_s[i]));
    set_parts(memory, &of_memory);
    json_object_set_new(memory, "total_bytes", plan_json_real(s->memory.total));
    json_object_set_new(j, "accelerators_used", json_integer(s->used));
    SET_REALS(j, {"step_s", s->step_s}, {"low_s", s->low_s}, {"high_s", s->high_s});
    json_object_set_new(j, "parts_s", parts);
    SET_REALS(j, {"hidden_comm_s", s->hidden_comm_s}, {"forward_s", s->forward_s},
              {"backward_s", s->backward_s});
    json_object_set_new(j, "microbatches", json_integer(s->microbatches));
    SET_REALS(j, {"model_flops", s->model_flops}, {"mfu", s->mfu}, {"hfu", s->hfu},
              {"tokens_per_s", s->tokens_per_s});
    json_object_set_new(j, "memory", memory);
    json_object_set_new(j, "memory_limit_bytes", plan_json_real(s->memory_limit_bytes));
    json_object_set_new(j, "fits", json_boolean(s->fits));
    return j;
}

static json_t *candidates(const struct plan_candidate *c, size_t n)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(
            list,
            json_pack("{s:o, s:I, s:o, s:o, s:o, s:o, s:o}", "layout", layout(&c[i].layout),
                      "accelerators_used", (json_int_t)c[i].step.used, "step_s",
                      plan_json_real(c[i].step.step_s), "mfu", plan_json_real(c[i].step.mfu),
                      "memory_bytes", plan_json_real(c[i].step.memory.total), "step_j",
                      plan_json_real(c[i].step_j), "step_usd", plan_json_real(c[i].step_usd)));
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
                     "runner_up", plan_json_text(s->runner_up));
}

static json_t *reliability(const struct plan_reliability *r, const struct plan_list *told)
{
    json_t *j = json_object();
    json_object_set_new(j, "failures_per_1000_node_days", range(r->failures_per_1000_node_days));
    set_told(j, told, "mtbf_s");
    json_object_set_new(j, "restart_s", range(r->restart_s));
    SET_REALS(
        j, {"checkpoint_bytes", r->checkpoint_bytes}, {"checkpoint_write_s", r->checkpoint_write_s},
        {"checkpoint_stall_s", r->checkpoint_stall_s}, {"interval_young_s", r->interval_young_s},
        {"interval_daly_s", r->interval_daly_s}, {"interval_exact_s", r->interval_exact_s});
    set_told(j, told, "goodput"); /* of the job that days, hours and dollars are of */
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
        json_array_append_new(list, plan_json_real(x[i]));
    return list;
}

/* The lines of the spectrum, what the grid allows, and what each remedy would leave of the swing. */
static json_t *swing(const struct machine_swing *s)
{
    json_t *j = json_object();
    SET_REALS(j, {"peak_w", s->peak_w}, {"trough_w", s->trough_w}, {"mean_w", s->mean_w},
              {"amplitude_w", s->amplitude_w}, {"period_s", s->period_s},
              {"in_band_w", s->in_band_w}, {"limit_w", s->limit_w});
    json_object_set_new(j, "within_limit", json_boolean(s->within_limit));
    json_object_set_new(j, "spectrum_hz", reals(s->spectrum_hz, s->n_lines));
    json_object_set_new(j, "spectrum_w", reals(s->spectrum_w, s->n_lines));
    SET_REALS(j, {"smoothing_left_w", s->smoothing_left_w},
              {"smoothing_energy_fraction", s->smoothing_energy_fraction},
              {"cap_left_w", s->cap_left_w}, {"range_in_band_w", s->range_in_band_w});
    json_object_set_new(j, "by_batteries", json_boolean(s->by_batteries));
    SET_REALS(j, {"battery_needed_w", s->battery_needed_w},
              {"battery_needed_wh", s->battery_needed_wh}, {"battery_left_w", s->battery_left_w},
              {"period_detuned_s", s->period_detuned_s}, {"stop_w", s->stop_w},
              {"stops_per_day", s->stops_per_day});
    return j;
}

static json_t *power(const struct plan_answer *a)
{
    const struct plan_power *p = &a->power;
    json_t *j = json_object(), *sources = json_object(), *caps = json_array();
    struct plan_list draw = plan_tell_draw(p);
    for (int64_t i = 0; i < a->request->site.n_sources; i++)
        json_object_set_new(sources, a->request->site.sources[i].name,
                            plan_json_real(p->source_w[i]));
    for (int i = 0; i < p->n_caps; i++)
        json_array_append_new(
            caps, json_pack("{s:o, s:o, s:o, s:o}", "cap_w", plan_json_real(p->cap_w[i]), "speed",
                            plan_json_real(p->cap_speed[i]), "tokens_per_mwh",
                            plan_json_real(p->cap_tokens_per_mwh[i]), "cluster_gain",
                            plan_json_real(p->cap_cluster_gain[i])));
    set_parts(j, &draw);
    SET_REALS(j, {"it_w", p->it_w}, {"facility_w", p->facility_w},
              {"facility_max_w", p->facility_max_w}, {"facility_idle_w", p->facility_idle_w},
              {"node_w", p->node_w}, {"pue", p->pue}, {"wue_l_per_kwh", p->wue_l_per_kwh});
    json_object_set_new(j, "pue_month", reals(p->pue_month, 12));
    json_object_set_new(j, "water_l_month", reals(p->water_l_month, 12));
    json_object_set_new(j, "source_w", sources);
    json_object_set_new(j, "unserved_w", plan_json_real(p->unserved_w));
    json_object_set_new(j, "swing", swing(&p->swing));
    json_object_set_new(j, "caps", caps);
    return j;
}

static json_t *money(const struct plan_money *m, const struct plan_list *told)
{
    json_t *j = json_object();
    struct plan_list machine = plan_tell_machine_costs(m), run = plan_tell_run_costs(m);
    set_told(j, told, "capex_usd");
    for (size_t i = 0; i < machine.n; i++)
        set_told(j, &machine, machine.told[i].key);
    for (size_t i = 0; i < run.n; i++)
        set_told(j, &run, run.told[i].key);
    set_told(j, told, "run_usd");
    set_told(j, told, "usd_per_million_tokens");
    set_told(j, told, "usd_per_accelerator_hour");
    return j;
}

static json_t *emissions(const struct plan_emissions *e, const struct plan_list *told)
{
    json_t *j = json_object();
    set_told(j, told, "co2_t");
    set_told(j, told, "nox_t");
    set_told(j, told, "water_l");
    json_object_set_new(j, "nox_t_per_year", plan_json_real(e->nox_t_per_year));
    json_object_set_new(j, "permit_nox_t_per_year", plan_json_real(e->permit_nox_t_per_year));
    json_object_set_new(j, "within_permit", json_boolean(e->within_permit));
    return j;
}

/* What was asked, so that a file of answers can be read without the plan. */
static json_t *inputs(const struct plan_answer *a)
{
    const struct plan_request *r = a->request;
    json_t *pools = json_array(), *notes = json_array();
    for (int64_t i = 0; i < r->cluster.n_pools; i++)
        json_array_append_new(pools,
                              json_pack("{s:o, s:I}", "accelerator",
                                        plan_json_text(r->cluster.pools[i].accelerator->name),
                                        "count", (json_int_t)r->cluster.pools[i].count));
    for (int i = 0; i < r->n_notes; i++)
        json_array_append_new(notes, plan_json_text(r->notes[i]));
    json_t *j = json_object();
    json_object_set_new(j, "name", plan_json_text(r->name));
    json_object_set_new(j, "title", plan_json_text(r->title));
    json_object_set_new(j, "changed", r->changed ? plan_json_text(r->changed) : json_null());
    json_object_set_new(j, "model", plan_json_text(r->model.name));
    json_object_set_new(j, "params", plan_json_real(plan_model_params(&r->model)));
    json_object_set_new(j, "active_params", plan_json_real(plan_model_active_params(&r->model)));
    json_object_set_new(j, "cluster", plan_json_text(r->cluster.name));
    json_object_set_new(j, "pools", pools);
    json_object_set_new(j, "accelerators", json_integer(machine_cluster_accelerators(&r->cluster)));
    json_object_set_new(j, "site", plan_json_text(r->site.name));
    json_object_set_new(j, "stack", plan_json_text(plan_stack_names[r->software.stack]));
    double year = r->software.generation > 0 ? r->software.generation : plan_software_today();
    json_object_set_new(j, "generation", plan_json_real(r->software.local ? NAN : year));
    json_object_set_new(j, "global_batch", json_integer(r->batch.global_batch));
    json_object_set_new(j, "seq_len", json_integer(r->batch.seq_len));
    json_object_set_new(j, "power_cap", plan_json_real(r->power_cap));
    json_object_set_new(j, "headroom", plan_json_real(r->headroom));
    json_object_set_new(j, "precision_given", json_boolean(r->layout.precision >= 0));
    json_object_set_new(j, "assumed", notes);
    return j;
}

/* Of the run that the plan is of: null where there is none, or it is of other inputs. */
static json_t *measured(const struct plan_answer *a)
{
    const struct plan_measured *m = &a->request->measured;
    if (!m->folder || a->request->changed) return json_null();
    return json_pack("{s:o, s:f, s:I, s:f}", "run", plan_json_text(m->folder), "step_s", m->step_s,
                     "steps", (json_int_t)m->n_steps, "error_pct",
                     100 * (a->step.step_s / m->step_s - 1));
}

json_t *plan_to_json(const struct plan_answer *a)
{
    json_t *j = json_object(), *matters = json_array();
    struct plan_list told = plan_tell(a);
    for (int i = 0; i < a->n_sensitivities; i++) {
        const struct plan_sensitivity *s = &a->sensitivities[i];
        json_array_append_new(matters, json_pack("{s:s, s:o, s:o, s:o, s:o}", "input", s->input,
                                                 "low_days", plan_json_real(s->low_days),
                                                 "high_days", plan_json_real(s->high_days),
                                                 "low_usd", plan_json_real(s->low_usd), "high_usd",
                                                 plan_json_real(s->high_usd)));
    }
    json_object_set_new(j, "plan", inputs(a));
    json_object_set_new(j, "layout", layout(&a->layout));
    /* layout, step, days and gpu_hours are of a job on these; power and permits of all that stands */
    int64_t all = machine_cluster_accelerators(&a->request->cluster);
    json_object_set_new(j, "given_accelerators", json_integer(a->part > 0 ? a->part : all));
    json_object_set_new(j, "tokens", range(a->tokens));
    json_object_set_new(j, "tokens_from", plan_json_text(a->tokens_from));
    json_object_set_new(j, "step", step(&a->step));
    json_object_set_new(j, "measured", measured(a));
    set_told(j, &told, "days");
    json_object_set_new(j, "benchmark_days", range(a->benchmark_days));
    json_object_set_new(j, "production_factor", range(a->production));
    set_told(j, &told, "gpu_hours");
    set_told(j, &told, "mwh");
    json_object_set_new(j, "reliability", reliability(&a->reliability, &told));
    json_object_set_new(j, "power", power(a));
    json_object_set_new(j, "money", money(&a->money, &told));
    json_object_set_new(j, "emissions", emissions(&a->emissions, &told));
    json_object_set_new(j, "search", search(a));
    json_object_set_new(j, "sensitivities", matters);
    json_object_set_new(j, "limit", plan_json_text(a->limit));
    return j;
}
