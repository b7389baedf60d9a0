/* fuzz_plan_yaml.c: any bytes as a plan or a run file. No other file is opened: names in it lead
 * nowhere. What is accepted must be consistent and, where that is quick, be answered or say why it
 * cannot be; what is refused must say where and why. */
#include "plan/read/plan_read_internal.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_figure(const struct figure *f)
{
    CHECK(isfinite(f->mid) && isfinite(f->low) && isfinite(f->high));
    CHECK(f->low <= f->mid && f->mid <= f->high && f->source);
    CHECK(f->grade == 0 || strchr("PSRDMA", f->grade));
}

static void check_accelerator(const struct machine_accelerator *x)
{
    double best = 0;
    for (int i = 0; i < MACHINE_N_PRECISIONS; i++) {
        check_figure(&x->peak_flops[i]);
        check_figure(&x->ceiling_flops[i]);
        CHECK(x->ceiling_flops[i].mid <= x->peak_flops[i].mid);
        best = fmax(best, x->peak_flops[i].mid);
    }
    CHECK(best > 0 && x->hbm_bytes.mid >= 1 && x->scaleup_domain >= 1 && x->node_size >= 1);
    check_figure(&x->power_cap_w);
    check_figure(&x->failures);
    CHECK(x->power_idle_w.mid <= x->power_comm_w.mid);
    CHECK(x->power_compute_w.mid <= x->power_cap_w.mid);
}

static void check_plan(const struct plan_request *p)
{
    struct error e;
    CHECK(p->name && p->title && p->path && p->model.name && p->site.name && p->cluster.name);
    CHECK(model_config_check_shape(&p->model, &e) >= 0);
    CHECK(p->cluster.n_pools >= 1 && p->cluster.n_pools <= MACHINE_MAX_POOLS);
    for (int64_t i = 0; i < p->cluster.n_pools; i++) {
        CHECK(p->cluster.pools[i].count >= 1);
        check_accelerator(p->cluster.pools[i].accelerator);
    }
    CHECK(p->site.n_sources >= 1 && p->site.n_sources <= MACHINE_MAX_SOURCES);
    for (int64_t i = 0; i < p->site.n_sources; i++)
        check_figure(&p->site.sources[i].capacity_w);
    check_figure(&p->site.design_pue);
    check_figure(&p->tokens);
    CHECK(p->batch.global_batch >= 1 && p->batch.seq_len >= 1);
    CHECK(p->n_notes >= 0 && p->n_notes <= PLAN_MAX_NOTES);
    CHECK(p->search || plan_layout_check(&p->layout, &p->model, &p->batch,
                                         machine_cluster_accelerators(&p->cluster), &e) >= 0);
}

/* However odd the numbers of an accepted plan are, there is an answer or an error. */
static void check_answer(const struct plan_request *p, struct arena *a)
{
    struct plan_answer *x = arena_alloc(a, sizeof(*x));
    struct error e = {0};
    bool small = machine_cluster_accelerators(&p->cluster) <= 64 && p->batch.global_batch <= 4096;
    if (p->search && !small) return;
    if (plan_solve(p, a, x, &e) < 0)
        CHECK(e.text[0]);
    else
        CHECK(x->step.step_s > 0 && x->limit[0]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct plan_request p;
    struct error e = {0};
    struct arena arena;
    arena_init(&arena);
    /* at this depth no further file is opened */
    struct yaml_reader r = {"fuzz.yaml", &arena, &e, PRESET_MAX_DEPTH};
    struct yaml_node *root;
    int rc = yaml_parse((const char *)data, size, r.path, &arena, &root, &e);
    if (rc >= 0) rc = plan_read_root(&r, root, &p);
    if (rc >= 0) {
        check_plan(&p);
        check_answer(&p, &arena);
    } else {
        CHECK(e.code == ERROR_CONFIG && strlen(e.text) < sizeof(e.text));
        CHECK_MSG(strstr(e.text, "fuzz.yaml:") || strstr(e.text, ".yaml: files name"), "%s",
                  e.text);
    }
    arena_fini(&arena);
    return 0;
}
