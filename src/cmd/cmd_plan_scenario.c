/* cmd_plan_scenario.c: a plan's answer as a scenario of `colossus site`: the cluster, the site, and the
 * job with its step, its duty and what its checkpoints cost, so that nobody types them again. It
 * stands here because the twin and the planner do not know each other. */
#include "cmd/cmd_plan_internal.h"

#include <string.h>

static void put(struct str *out, const char *key, double value)
{
    char text[40];
    str_printf(out, ", %s: %s", key, json_real_text(text, value));
}

static void put_job(const struct plan_answer *a, struct str *out)
{
    const struct plan_reliability *r = &a->reliability;
    const struct plan_step *step = &a->step;
    double steps = ceil(a->tokens.mid / ((double)a->request->batch.global_batch *
                                         (double)a->request->batch.seq_len));
    double low = step->part_s[PLAN_PART_DP] + step->part_s[PLAN_PART_OPTIMIZER] +
                 step->part_s[PLAN_PART_OTHER];
    str_puts(out, "jobs:\n  - {name: ");
    yaml_quote(out, a->request->model.name);
    str_printf(out, ", accelerators: %lld", (long long)r->job_accelerators);
    put(out, "step", step->step_s);
    put(out, "compute_share", fmin(fmax(step->compute_share, 0.0), 1.0));
    put(out, "low", fmin(low, step->step_s));
    put(out, "work", steps * step->step_s);
    str_puts(out, ",\n    detect: 0");
    put(out, "stall", r->checkpoint_stall_s);
    put(out, "checkpoint", fmin(r->interval_exact_s, 1e9));
    put(out, "restart", fmin(r->restart_s.mid, 1e9));
    if (r->elastic) {
        put(out, "elastic_min", 0.5);
        str_printf(out, ", group: %lld", (long long)r->elastic_group);
        put(out, "elastic_stall", machine_elastic_stall_s((double)r->job_accelerators));
    }
    str_puts(out, "}\n");
}

int cmd_plan_scenario(const struct plan_answer *a, const char *path, struct error *e)
{
    const struct plan_request *r = a->request;
    const double rate = a->reliability.failures_per_1000_node_days.mid;
    struct str out = {0};
    char text[40];
    str_puts(&out,
             "# Written by `colossus plan --scenario`: run it with `colossus site FILE`. Failures "
             "are a constant\n# rate, the plan's at the fleet's age; take the section failures "
             "away for one that settles.\ntitle: ");
    yaml_quote(&out, r->title);
    str_printf(&out, "\ndays: %s\n",
               json_real_text(text, fmin(ceil(1.5 * a->days.mid + 1.0), 2e5)));
    /* what repairs need beside the job, as the plan reckons it: without power until it is wanted */
    struct machine_cluster cluster = r->cluster;
    int64_t spares = (int64_t)MACHINE_FAILURE_NODE * a->reliability.spare_nodes;
    cluster.pools[0].count += spares;
    str_printf(&out, "cold_spares: %lld\ncluster: ", (long long)spares);
    machine_write_cluster(&cluster, &out);
    str_puts(&out, "site: ");
    machine_write_site(&r->site, &out);
    if (rate > 0.0)
        str_printf(&out, "failures: {law: exponential, accelerator_days: %s, idle_factor: 0}\n",
                   json_real_text(text, 1e3 * MACHINE_FAILURE_NODE / rate));
    else
        str_puts(&out, "failures: {law: none}\n");
    if (r->power_cap > 0.0)
        str_printf(&out, "controls: {cap: %s, cap_min: %s}\n", json_real_text(text, r->power_cap),
                   text);
    put_job(a, &out);
    int rc = file_write(path, out.data, out.len, e);
    str_fini(&out);
    return rc;
}
