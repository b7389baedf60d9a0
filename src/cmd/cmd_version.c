/* cmd_version.c: `colossus version`: what a report of a fault should say of the program. */
#include "cmd/cmd.h"
#include "compute/compute.h"

#include <dnnl.h>
#include <jansson.h>
#include <sqlite3.h>
#include <string.h>
#include <utf8proc.h>
#include <xxhash.h>
#include <yaml.h>
#include <zlib.h>
#include <zstd.h>

#ifdef __clang__
#    define COMPILER "clang " __clang_version__
#else
#    define COMPILER "gcc " __VERSION__
#endif

struct version_options {
    bool json;
};

static const struct option rows[] = {
    {"json", 0, OPTION_BOOL, offsetof(struct version_options, json), NULL, "false", 0, 0, NULL,
     "print it as one JSON object"},
};

const struct option_table cmd_version_table = {
    "version",
    "[options]",
    "version, commit, compiler, libraries, and the kernels for this CPU",
    "  colossus version\n"
    "  colossus version --json",
    rows,
    ARRAY_LEN(rows)};

struct library {
    const char *name, *version;
};
enum { MAX_LIBRARIES = 12 };

/* As they are loaded, not as they were compiled against. */
static size_t list_libraries(struct arena *a, struct library list[MAX_LIBRARIES])
{
    const dnnl_version_t *dnnl = dnnl_version();
    const unsigned xxhash = XXH_versionNumber();
    const struct library all[] = {
        {"oneDNN", arena_printf(a, "%d.%d.%d", dnnl->major, dnnl->minor, dnnl->patch)},
        {"jansson", jansson_version_str()},
        {"libyaml", yaml_get_version_string()},
        {"sqlite", sqlite3_libversion()},
        {"utf8proc", utf8proc_version()},
        {"xxhash", arena_printf(a, "%u.%u.%u", xxhash / 10000, xxhash / 100 % 100, xxhash % 100)},
        {"zlib", zlibVersion()},
        {"zstd", ZSTD_versionString()},
    };
    _Static_assert(ARRAY_LEN(all) <= MAX_LIBRARIES, "more room is needed");
    memcpy(list, all, sizeof(all));
    return ARRAY_LEN(all);
}

/* Of each number format; the same words as at the start of a run. */
static int kernel_names(struct arena *a, const char *names[2], struct error *e)
{
    for (int i = 0; i < 2; i++) {
        const struct compute_options o = {.dtype = i ? COMPUTE_BF16 : COMPUTE_F32};
        compute_t *c;
        TRY(compute_new(&o, &c, e));
        names[i] = arena_strdup(a, compute_backend_name(c));
        compute_free(c);
    }
    return 0;
}

static void print_json(const struct library *list, size_t n, const char *const kernels[2])
{
    struct cmd_json j;
    struct json_writer *w = cmd_json_begin(&j);
    jsonw_string(w, "version", COLOSSUS_VERSION);
    jsonw_string(w, "commit", COLOSSUS_COMMIT);
    jsonw_string(w, "compiler", COMPILER);
    jsonw_open(w, "kernels", '{');
    jsonw_string(w, "fp32", kernels[0]);
    jsonw_string(w, "bf16", kernels[1]);
    jsonw_close(w, '}');
    jsonw_open(w, "libraries", '{');
    for (size_t i = 0; i < n; i++)
        jsonw_string(w, list[i].name, list[i].version);
    jsonw_close(w, '}');
    cmd_json_end(&j, true);
}

static int version(const struct option_line *l, void *options, struct error *e)
{
    const struct version_options *o = options;
    struct library list[MAX_LIBRARIES];
    const char *kernels[2];
    if (l->n_rest > 0) return error_set_code(e, ERROR_USAGE, "'%s' is too much", l->rest[0]);
    const size_t n = list_libraries(l->arena, list);
    TRY(kernel_names(l->arena, kernels, e));
    if (o->json) {
        print_json(list, n, kernels);
        return 0;
    }
    printf("colossus %s\n", COLOSSUS_VERSION);
    printf("commit    %s\n", COLOSSUS_COMMIT[0] ? COLOSSUS_COMMIT : "N/A");
    printf("compiler  %s\n", COMPILER);
    printf("kernels   fp32: %s; bf16: %s\n", kernels[0], kernels[1]);
    printf("libraries ");
    for (size_t i = 0; i < n; i++)
        printf("%s%s %s", i ? ", " : "", list[i].name, list[i].version);
    putchar('\n');
    return 0;
}

int cmd_version(int argc, char **argv)
{
    return cmd_run(&cmd_version_table, argc, argv, sizeof(struct version_options), version);
}
