/* cmd.h: the subcommands. Each lives in src/cmd/cmd_<name>.c: it parses its options, calls one
 * room and prints; no logic. Only these files print usage and choose an exit code. */
#ifndef COLOSSUS_CMD_H
#define COLOSSUS_CMD_H

#include "base/base.h"

/* Called with argv[0] = the subcommand's name; returns the exit code of the process. */
typedef int cmd_fn(int argc, char **argv);

struct cmd_entry {
    const char *name;
    cmd_fn *run;
    const char *group;   /* heading in `colossus help` */
    const char *summary; /* one line, lower case, no full stop */
};

/* Prints "colossus <command>: <text>" and "hint: <hint>" to standard error and returns the exit
 * code that belongs to e->code (docs/STYLE.md, errors). */
int cmd_fail(const char *command, const struct error *e);
int cmd_exit_code(int error_code); /* of an enum error_code; 0 or more: 0 */
/* The command itself, on the options it takes; a negative error_code in *e is what went wrong, where
 * a body that has printed its errors leaves the text empty. */
typedef int cmd_body(const struct option_line *l, void *options, struct error *e);
/* Fills options of that size by the table and the command line, runs the body, and returns the exit
 * code of the process; prints help where that was asked for, or the error. */
int cmd_run(const struct option_table *t, int argc, char **argv, size_t options_size,
            cmd_body *body);

/* What a command writes and what it reads, by path; NULL: not asked for. No output may take the place of
 * an input, nor two of them be one file: ERROR_USAGE, before anything is written. */
struct cmd_output {
    const char *option, *path;
};
struct cmd_outputs {
    const struct cmd_output *out;
    const char *const *in;
    size_t n, n_in;
};
int cmd_check_outputs(const struct cmd_outputs *o, struct error *e);
/* Runs the entry named argv[1] of a table of sub-subcommands ("data tokenize"). */
int cmd_dispatch(const char *command, const struct cmd_entry *entries, size_t count, int argc,
                 char **argv);
/* The whole of main: --version, help, dispatch, and the check that standard output could be
 * written. `entries` must live as long as the process: `colossus help` lists them. */
int cmd_main(const struct cmd_entry *entries, size_t count, int argc, char **argv);
const struct cmd_entry *cmd_all_entries(size_t *count);
/* The command that was probably meant, "data tokenize" also for "tokenize", or NULL. */
const char *cmd_nearest(const char *name);
/* Every option table of the program, for the reference page and shell completion. */
const struct option_table *const *cmd_all_tables(size_t *count);

/* The words that may stand at the end of a command line, whose first word is a command, one on a line;
 * none: whatever the shell completes itself, file names. The script of a shell ("bash") asks for
 * them (cmd_complete.c). */
void cmd_complete(const char *line, struct arena *a, FILE *out);
void cmd_complete_script(const char *shell, FILE *out);

/* First of $PATH that can be run, in *a, or NULL (cmd_ranks.c). */
const char *cmd_find_program(const char *name, struct arena *a);
/* The command line that starts so many ranks of this program with these arguments, NULL behind the end
 * of both; in *a. */
int cmd_ranks_line(int ranks, const char *const *arguments, struct arena *a, const char ***line,
                   struct error *e);
/* The same by srun, within an allocation, on these nodes. mpi: srun's --mpi; NULL: what srun has and
 * this program can load (cmd_slurm.c). */
struct cluster_attempt;
int cmd_srun_line(const struct cluster_attempt *at, const char *mpi, const char *const *arguments,
                  struct arena *a, const char ***line, struct error *e);
/* What a program prints, both of its streams, in *out; its exit code, or negative. */
int cmd_capture(const char *const *argv, struct str *out, struct error *e);
/* This process becomes the launcher of so many ranks. Returns only where that cannot be. */
int cmd_start_ranks(int ranks, const char *const *arguments, struct error *e);

int cmd_doctor_slurm(int argc, char **argv); /* cmd_doctor_slurm.c */

/* A run's figures at http://HOST:PORT/metrics, by a thread of its own (cmd_metrics.c). run_dir and host
 * outlive it. */
struct cmd_metrics;
int cmd_metrics_open(const char *run_dir, const char *host, int port, struct cmd_metrics **out,
                     struct error *e);
void cmd_metrics_close(struct cmd_metrics *m); /* accepts NULL */

/* `cluster.layout: auto` (cmd_layout.c): settles cluster.dp, tp, pp and ep, on all ranks alike. */
struct train_run_file; /* train/train.h */
struct cluster;
int cmd_choose_layout(struct train_run_file *f, struct cluster *cluster, struct error *e);
/* Whether the model, the batch and the data of a run allow so many ranks, before any is started. */
struct train_config;
int cmd_check_layout(const struct train_config *c, int64_t ranks, struct error *e);
/* Whether rank 0 of so many, `local` of them on this machine, would find a layout where it is to choose
 * one: what it would say is the error. */
int cmd_check_choice(const struct train_config *c, int ranks, int local, struct error *e);

/* A JSON object that becomes one line of standard output: begin, members by jsonw_* on the result,
 * end, which prints the line where `print` and frees it. */
struct cmd_json {
    struct str line;
    struct json_writer writer;
};
struct json_writer *cmd_json_begin(struct cmd_json *j);
void cmd_json_end(struct cmd_json *j, bool print);

/* Rows of a command's option table, where AT(field) is the offset of a field of its options. */
/* clang-format off */
#define CMD_FLAG(name, letter, field, help) \
    {name, letter, OPTION_BOOL, AT(field), NULL, "false", 0, 0, NULL, help}
#define CMD_FLAG_ON(name, letter, field, help) /* until --no-name */ \
    {name, letter, OPTION_BOOL, AT(field), NULL, "true", 0, 0, NULL, help}
#define CMD_TEXT(name, letter, field, unit, fallback, help) \
    {name, letter, OPTION_STRING, AT(field), unit, fallback, 0, 0, NULL, help}
#define CMD_TEXT_BARE(word, field, unit_, bare_, help_) /* --word or --word=VALUE */ \
    {.name = word, .type = OPTION_STRING, .offset = AT(field), .unit = unit_, .bare = bare_, \
     .help = help_}
#define CMD_LIST(name, letter, field, unit, help) \
    {name, letter, OPTION_LIST, AT(field), unit, NULL, 0, 0, NULL, help}
#define CMD_INT(name, letter, field, unit, fallback, min, max, help) \
    {name, letter, OPTION_INT, AT(field), unit, fallback, min, max, NULL, help}
#define CMD_REAL(name, letter, field, unit, fallback, min, max, help) \
    {name, letter, OPTION_REAL, AT(field), unit, fallback, min, max, NULL, help}
#define CMD_CHOICE(name, letter, field, fallback, choices, help) \
    {name, letter, OPTION_ENUM, AT(field), NULL, fallback, 0, 0, choices, help}
/* clang-format on */

/* Words of options that several commands share, in the order of enum compute_backend, and of
 * numbers to compute with: auto, fp32, bf16. */
extern const char *const cmd_backends[], *const cmd_precisions[];

cmd_fn cmd_data, cmd_train, cmd_launch, cmd_status, cmd_why, cmd_generate, cmd_eval,
    cmd_check_golden, cmd_plot, cmd_plan, cmd_site, cmd_bench_machine, cmd_bench_serve, cmd_doctor,
    cmd_serve, cmd_convert, cmd_version, cmd_help;

#define COLOSSUS_VERSION "0.1.0"
#ifndef COLOSSUS_COMMIT /* the Makefile knows it where there is a git */
#    define COLOSSUS_COMMIT ""
#endif

/* The option table of each command, defined in its file. A new one is declared here and listed in
 * cmd_common.c. */
extern const struct option_table cmd_data_train_tokenizer_table, cmd_data_tokenize_table,
    cmd_data_inspect_table, cmd_data_convert_tokenizer_table, cmd_data_encode_table,
    cmd_data_decode_table, cmd_train_table, cmd_launch_table, cmd_status_table, cmd_why_table,
    cmd_generate_table, cmd_eval_table, cmd_check_golden_table, cmd_plot_table, cmd_plan_table,
    cmd_plan_compare_table, cmd_plan_sweep_table, cmd_plan_validate_table, cmd_site_table,
    cmd_site_compare_table, cmd_bench_machine_table, cmd_bench_serve_table, cmd_doctor_mpi_table,
    cmd_serve_table, cmd_convert_table, cmd_version_table, cmd_help_table;

/* Keys of a file, one on a line, behind those that there are; blank lines and those that begin with
 * '#' are none (cmd_keys.c). */
int cmd_read_key_file(const char *path, struct arena *a, const char **keys, size_t cap, size_t *n,
                      struct error *e);

/* Of posts (cmd_feed.c). */
cmd_fn cmd_feed;
extern const struct option_table cmd_feed_ingest_table, cmd_feed_search_table, cmd_feed_stats_table,
    cmd_feed_verify_table, cmd_feed_vacuum_table, cmd_feed_export_table, cmd_feed_trends_table,
    cmd_feed_serve_table, cmd_feed_follow_table, cmd_feed_ask_table, cmd_feed_answers_table,
    cmd_feed_signals_table;

/* What is asked of a site's runs (cmd_site_study.c). */
extern const struct option_table cmd_site_explain_table, cmd_site_sweep_table, cmd_site_fit_table;

/* Runs as jobs of Slurm, and watched (cmd_slurm.c, cmd_doctor_slurm.c, cmd_top.c). */
cmd_fn cmd_submit, cmd_top;
extern const struct option_table cmd_submit_table, cmd_top_table, cmd_doctor_slurm_table;

#endif
