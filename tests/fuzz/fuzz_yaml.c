/* fuzz_yaml.c: any bytes as a run file: parsed, bound to a table with a row of every type, printed
 * and read back. What is printed must bind again to the same values: that is checked, too. */
#include "base/base.h"

#include <math.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    bool resume;
    int64_t steps, seed;
    double lr, decay;
    const char *name, *path;
    int kind;
    struct option_list files;
};

static const char *const kinds[] = {"adamw", "muon", NULL};

#define AT(field) offsetof(struct run, field)
static const struct option rows[] = {
    {"name", 'n', OPTION_STRING, AT(name), NULL, "run", 0, 0, NULL, "name of the run"},
    {"resume", 0, OPTION_BOOL, AT(resume), NULL, "true", 0, 0, NULL, "go on where it stopped"},
    {"steps", 0, OPTION_INT, AT(steps), "steps", "100", 1, 1e12, NULL, "how long"},
    {"seed", 0, OPTION_INT, AT(seed), NULL, "0", 0, 0, NULL, "seed"},
    {"data.path", 0, OPTION_STRING, AT(path), "FOLDER", "", 0, 0, NULL, "shards"},
    {"data.files", 0, OPTION_LIST, AT(files), NULL, "", 0, 0, NULL, "more shards"},
    {"optimizer.kind", 0, OPTION_ENUM, AT(kind), NULL, "adamw", 0, 0, kinds, "which"},
    {"optimizer.lr", 0, OPTION_REAL, AT(lr), NULL, "1e-3", 0, INFINITY, NULL, "learning rate"},
    {"optimizer.more.decay", 0, OPTION_REAL, AT(decay), NULL, "0.1", -1, 1, NULL, "decay"},
};
static const struct section section = SECTION("run", NULL, NULL, rows);

/* Words that are not UTF-8 cannot come out of a YAML file, so what is printed reads back whole. */
static void check_same(const struct run *x, const struct run *y)
{
    CHECK(x->resume == y->resume && x->steps == y->steps && x->seed == y->seed);
    CHECK(memcmp(&x->lr, &y->lr, sizeof(x->lr)) == 0);
    CHECK(memcmp(&x->decay, &y->decay, sizeof(x->decay)) == 0);
    CHECK(strcmp(x->name, y->name) == 0 && strcmp(x->path, y->path) == 0 && x->kind == y->kind);
    CHECK(x->files.count == y->files.count);
    for (size_t i = 0; i < x->files.count; i++)
        CHECK(strcmp(x->files.items[i], y->files.items[i]) == 0);
}

static void print_and_read_back(const struct run *run, const uint8_t *origins, struct arena *a)
{
    struct str text = {0};
    struct error e = {0};
    struct run again;
    struct yaml_node *root;
    uint8_t again_origins[ARRAY_LEN(rows)] = {0};
    yaml_print_options(rows, ARRAY_LEN(rows), run, origins, "fuzz.yaml", &text);
    options_defaults(rows, ARRAY_LEN(rows), &again);
    int rc = yaml_parse(text.data, text.len, "printed", a, &root, &e);
    CHECK_MSG(rc == 0, "%s in\n%s", e.text, text.data);
    struct yaml_reader r = {"printed", a, &e, 0};
    rc = yaml_bind(&r, &section, root, false, &again, again_origins);
    CHECK_MSG(rc == 0, "%s in\n%s", e.text, text.data);
    check_same(run, &again);
    str_fini(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct error e = {0};
    struct run run;
    struct yaml_node *root;
    uint8_t origins[ARRAY_LEN(rows)] = {0};
    arena_init(&a);
    options_defaults(rows, ARRAY_LEN(rows), &run);
    int rc = yaml_parse((const char *)data, size, "fuzz.yaml", &a, &root, &e);
    struct yaml_reader r = {"fuzz.yaml", &a, &e, 0};
    if (rc == 0) rc = yaml_bind(&r, &section, root, false, &run, origins);
    if (rc == 0)
        print_and_read_back(&run, origins, &a);
    else
        CHECK_MSG(e.text[0] && strlen(e.text) < sizeof(e.text), "an error without words");
    arena_fini(&a);
    return 0;
}
