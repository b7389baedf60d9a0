/* cmd_doctor_slurm.c: `colossus doctor slurm`: what launch and submit would find of Slurm, in one
 * screen. */
#include "cluster/cluster.h"
#include "cmd/cmd.h"

#include <string.h>

struct doctor_slurm_options {
    bool json;
};
#define AT(field) offsetof(struct doctor_slurm_options, field)
static const struct option rows[] = {
    CMD_FLAG("json", 'j', json, "the findings as one JSON object")};
#undef AT

const struct option_table cmd_doctor_slurm_table = {
    "doctor slurm",
    "[options]",
    "say what launch and submit would find of Slurm",
    "Shows Slurm's commands, whether its controller answers, which MPI srun and this program "
    "share,\n"
    "the settings that decide what a lost node costs, and the allocation that this is, if it is "
    "one.\n"
    "Exit code 1 where colossus submit could not work.\n\n"
    "  colossus doctor slurm || true",
    rows,
    ARRAY_LEN(rows)};

enum { MAX_FINDINGS = 32 };
struct findings {
    struct {
        const char *name, *text;
    } rows[MAX_FINDINGS];
    size_t n;
    const char *missing; /* what is to be mended first; NULL: nothing */
};

static void find(struct findings *f, const char *name, const char *text)
{
    CHECK(f->n < MAX_FINDINGS);
    f->rows[f->n].name = name;
    f->rows[f->n++].text = text;
}

/* What a command says, without its last line end; NULL where it failed. */
static const char *ask(struct arena *a, const char *program, const char *argument)
{
    const char *argv[] = {cmd_find_program(program, a), argument, NULL};
    const char *extra[] = {argv[0], argument, "config", NULL};
    struct str said = {0};
    struct error e;
    bool config = strcmp(argument, "show") == 0;
    int rc = argv[0] ? cmd_capture(config ? extra : argv, &said, &e) : -1;
    while (said.len > 0 && said.data[said.len - 1] == '\n')
        said.data[--said.len] = '\0';
    const char *text = rc == 0 ? arena_strdup(a, said.data ? said.data : "") : NULL;
    str_fini(&said);
    return text;
}

static void find_commands(struct findings *f, struct arena *a)
{
    static const char *const programs[] = {"sbatch", "srun", "scontrol"};
    for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
        const char *path = cmd_find_program(programs[i], a);
        find(f, programs[i], path ? path : "not found");
        if (!path && !f->missing)
            f->missing = "Slurm's commands are not in $PATH (Debian: slurm-client)";
    }
}

static void find_mpis(struct findings *f, struct arena *a)
{
    struct cluster_mpi list[8];
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), a);
    const char *known = ask(a, "srun", "--mpi=list");
    bool shared = false;
    for (size_t i = 0; i < n; i++) {
        const char *plugin = strcmp(list[i].name, "openmpi") == 0 ? "pmix" : "pmi2";
        bool loads = list[i].path && !list[i].why[0];
        bool has = known && strstr(known, plugin);
        shared = shared || (loads && has);
        find(f, list[i].name,
             arena_printf(a, "%s; srun has %s--mpi=%s", loads ? "loads" : "does not load",
                          has ? "" : "no ", plugin));
    }
    if (!shared && !f->missing)
        f->missing = "srun and this program share no MPI: colossus doctor mpi tells what was built";
}

/* The settings of slurm.conf that matter here, with what they mean. */
static void find_settings(struct findings *f, struct arena *a)
{
    static const char *const names[] = {"SlurmdTimeout", "KillWait", "JobRequeue", "TmpFS",
                                        "HealthCheckProgram"};
    const char *config = ask(a, "scontrol", "show");
    if (!config) return;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *at = strstr(config, arena_printf(a, "\n%s ", names[i]));
        if (!at) continue;
        at = strchr(at, '=');
        size_t n = at ? strcspn(at, "\n") : 0;
        if (n > 2) find(f, names[i], arena_strndup(a, at + 2, n - 2));
    }
}

static int find_allocation(struct findings *f, struct arena *a, struct error *e)
{
    struct cluster_allocation in;
    int rc = cluster_find_allocation(&in, a, e);
    if (rc < 0) return rc;
    struct str text = {0};
    if (rc > 0) str_printf(&text, "job %s, %d tasks a node:", in.job, in.tasks_per_node);
    for (size_t i = 0; rc > 0 && i < in.n_nodes; i++)
        str_printf(&text, " %s", in.nodes[i]);
    find(f, "allocation", rc > 0 ? arena_strdup(a, text.data) : "this is none");
    str_fini(&text);
    return 0;
}

static void show(const struct findings *f, bool json)
{
    struct cmd_json j;
    if (json) {
        struct json_writer *w = cmd_json_begin(&j);
        for (size_t i = 0; i < f->n; i++)
            jsonw_string(w, f->rows[i].name, f->rows[i].text);
        jsonw_bool(w, "well", f->missing == NULL);
        if (f->missing) jsonw_string(w, "missing", f->missing);
        cmd_json_end(&j, true);
        return;
    }
    for (size_t i = 0; i < f->n; i++)
        printf("%-18s %s\n", f->rows[i].name, f->rows[i].text);
    printf("\n%s\n", f->missing ? f->missing : "all is well");
}

static int doctor_slurm(const struct option_line *l, void *options, struct error *e)
{
    const struct doctor_slurm_options *o = options;
    struct findings f = {.n = 0};
    if (l->n_rest > 0) return error_set_code(e, ERROR_USAGE, "'%s' is not wanted", l->rest[0]);
    find_commands(&f, l->arena);
    const char *version = ask(l->arena, "scontrol", "--version");
    const char *ping = ask(l->arena, "scontrol", "ping");
    if (version) find(&f, "version", version);
    if (version) find(&f, "controller", ping ? ping : "does not answer");
    if (version && !ping && !f.missing)
        f.missing = "the controller does not answer: is it running?";
    if (version) find_mpis(&f, l->arena);
    if (ping) find_settings(&f, l->arena);
    TRY(find_allocation(&f, l->arena, e));
    show(&f, o->json);
    if (!f.missing) return 0;
    *e = (struct error){.code = ERROR_FAILED}; /* it has been said */
    return e->code;
}

int cmd_doctor_slurm(int argc, char **argv)
{
    return cmd_run(&cmd_doctor_slurm_table, argc, argv, sizeof(struct doctor_slurm_options),
                   doctor_slurm);
}
