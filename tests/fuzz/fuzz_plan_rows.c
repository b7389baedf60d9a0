/* fuzz_plan_rows.c: any bytes as a table of published runs. A row that is not skipped must be
 * complete, and its prediction finite and positive whatever its sizes. */
#include "plan/validate/plan_validate_internal.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_row(const struct plan_row *r)
{
    struct plan_step step;
    struct error e = {0};
    CHECK(r->tier >= 'A' && r->tier <= 'C' && r->source && r->gpu && r->assumed);
    CHECK(isfinite(r->step_s) && r->step_s >= 0 && isfinite(r->memory_bytes));
    if (r->skip) {
        CHECK(*r->skip);
        return;
    }
    int rc = plan_layout_check(&r->layout, &r->model, &r->batch, r->n_gpus, &e);
    CHECK_MSG(rc >= 0, "%s", e.text);
    plan_step(&r->model, &r->cluster, &r->layout, &r->batch, &r->software, &step);
    CHECK(isfinite(step.step_s) && step.step_s > 0);
    CHECK(isfinite(step.memory.total) && step.memory.total > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct plan_rows rows;
    struct error e = {0};
    static bool quiet;
    if (!quiet) setenv("COLOSSUS_LOG", "error", 1);
    quiet = true;
    arena_init(&a);
    if (plan_rows_parse((const char *)data, size, "fuzz.csv", &a, &rows, &e) < 0) {
        CHECK_MSG(e.text[0] && strlen(e.text) < sizeof(e.text), "an error without words");
        CHECK(e.code == ERROR_CONFIG);
    }
    for (size_t i = 0; i < rows.count; i++)
        check_row(&rows.row[i]);
    arena_fini(&a);
    return 0;
}
