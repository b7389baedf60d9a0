/* fuzz_scenario.c: any bytes as a scenario. No other file is opened: names in it lead nowhere. What is
 * accepted is lived through for a while, and then no energy was made and no time of a job was lost;
 * what is refused says where and why. */
#include "site/site.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void live(const struct site_scenario *s)
{
    struct error e = {0};
    const struct site_run_options o = {.seed = 1, .days = fmin(s->days, 3.0), .most_events = 3000};
    struct site_result *r = mem_calloc(1, sizeof(*r));
    if (site_run(s, &o, r, &e) < 0) {
        CHECK(e.text[0] && strstr(e.text, "events in its first"));
        mem_free(r);
        return;
    }
    CHECK(r->balance_worst <= 1e-9 && r->energy_error <= 1e-9);
    for (int i = 0; i < s->n_jobs; i++) {
        double sum = 0.0;
        for (int p = 0; p < SITE_N_PARTS; p++)
            sum += r->jobs[i].part_s[p];
        CHECK_MSG(fabs(sum - r->jobs[i].wall_s) <= 1e-6 * r->jobs[i].wall_s + 1e-3,
                  "job %d: %.9g of %.9g s", i, sum, r->jobs[i].wall_s);
    }
    json_decref(site_to_json(s, r));
    mem_free(r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct error e = {0};
    struct arena arena;
    struct yaml_node *root;
    arena_init(&arena);
    struct site_scenario *s = arena_alloc(&arena, sizeof(*s));
    /* at this depth no further file is opened */
    const struct yaml_reader r = {"fuzz.yaml", &arena, &e, PRESET_MAX_DEPTH};
    int rc = yaml_parse((const char *)data, size, r.path, &arena, &root, &e);
    if (rc >= 0) rc = site_read_root(&r, root, s);
    if (rc >= 0) {
        live(s);
    } else {
        CHECK(e.code == ERROR_CONFIG && strlen(e.text) < sizeof(e.text));
        CHECK_MSG(strstr(e.text, "fuzz.yaml:") || strstr(e.text, ".yaml: files name"), "%s",
                  e.text);
    }
    arena_fini(&arena);
    return 0;
}
