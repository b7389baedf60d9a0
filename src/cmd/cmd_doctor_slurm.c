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

/* What a command says, without its last line end. Not `well`: it failed, or says that it did, which some
 * versions of Slurm's commands do with exit code 0. */
struct answer {
    const char *text; /* "" where the command is not there or says nothing */
    bool well;
};

static struct answer ask(struct arena *a, const char *program, const char *first,
                         const char *second)
{
    const char *argv[] = {cmd_find_program(program, a), first, second, NULL};
    struct str said = {0};
    struct error e;
    int rc = argv[0] ? cmd_capture(argv, &said, &e) : -1;
    while (said.len > 0 && said.data[said.len - 1] == '\n')
        said.data[--said.len] = '\0';
    struct answer out = {arena_strdup(a, said.data ? said.data : ""), rc == 0};
    if (strstr(out.text, "fatal: ")) out.well = false;
    str_fini(&said);
    return out;
}

/* Its last line, where what ended a command stands. */
static const char *last_line(const char *text)
{
    const char *end = strrchr(text, '\n');
    return end ? end + 1 : text;
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

/* The settings of slurm.conf that matter here, with what they mean. */
static void find_settings(struct findings *f, struct arena *a)
{
    static const char *const names[] = {"SlurmdTimeout", "KillWait", "JobRequeue", "TmpFS",
                                        "HealthCheckProgram"};
    struct answer config = ask(a, "scontrol", "show", "config");
    if (!config.well) {
        find(f, "settings", "not told");
        if (!f->missing)
            f->missing =
                arena_printf(a, "scontrol does not tell the settings: %s", last_line(config.text));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const char *at = strstr(config.text, arena_printf(a, "\n%s ", names[i]));
        if (!at) continue;
        at = strchr(at, '=');
        size_t n = at ? strcspn(at, "\n") : 0;
        if (n > 2) find(f, names[i], arena_strndup(a, at + 2, n - 2));
    }
}

/* Whether it answers, and where it does not, what to do about that. */
static void find_controller(struct findings *f, struct arena *a)
{
    struct answer version = ask(a, "scontrol", "--version", NULL);
    struct answer ping = ask(a, "scontrol", "ping", NULL);
    bool answers = ping.well && strstr(ping.text, "UP");
    if (version.well) find(f, "version", version.text);
    if (answers) {
        find(f, "controller", ping.text);
        find_settings(f, a);
        return;
    }
    find(f, "controller", arena_printf(a, "does not answer: %s", last_line(ping.text)));
    if (f->missing) return;
    if (strstr(ping.text, "configuration source") || strstr(ping.text, "slurm.conf"))
        f->missing = "Slurm has no configuration here: put the cluster's slurm.conf into "
                     "/etc/slurm, or name it in SLURM_CONF";
    else
        f->missing = "the controller does not answer: is slurmctld running, and does slurm.conf "
                     "name its host?";
}

static void find_mpis(struct findings *f, struct arena *a)
{
    struct cluster_mpi list[8];
    size_t n = cluster_list_mpis(list, ARRAY_LEN(list), a);
    struct answer known = ask(a, "srun", "--mpi=list", NULL);
    bool shared = false;
    for (size_t i = 0; i < n; i++) {
        const char *plugin = strcmp(list[i].name, "openmpi") == 0 ? "pmix" : "pmi2";
        bool loads = list[i].path && !list[i].why[0];
        bool has = known.well && strstr(known.text, plugin);
        shared = shared || (loads && has);
        find(f, list[i].name,
             arena_printf(a, "%s; srun %s--mpi=%s", loads ? "loads" : "does not load",
                          !known.well ? "does not say whether it has "
                          : has       ? "has "
                                      : "has no ",
                          plugin));
    }
    if (!known.well && !f->missing)
        f->missing = arena_printf(a, "srun does not work: %s", last_line(known.text));
    if (!shared && !f->missing)
        f->missing = "srun and this program share no MPI: colossus doctor mpi tells what was built";
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
    if (cmd_find_program("scontrol", l->arena)) find_controller(&f, l->arena);
    find_mpis(&f, l->arena);
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
