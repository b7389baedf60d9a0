/* cmd_common.c: what all subcommands share: finding the one that is meant, the endings of a
 * command line, and the one place where an error becomes a message and an exit code.
 *
 * A message names the command, says what failed first, in lower case without a full stop; the hint
 * that says what to do stands on a line of its own. Results go to standard output and only there,
 * so a full disk behind a redirection is noticed: output that was lost is a failure. */
#include "cmd/cmd.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include <sys/resource.h>
#include <sys/stat.h>

const char *const cmd_backends[] = {"auto", "reference", "avx2", "avx512", NULL};
const char *const cmd_precisions[] = {"auto", "fp32", "bf16", NULL};

static const struct cmd_entry *all_entries;
static size_t n_all_entries;

static const struct option_table *const all_tables[] = {
    &cmd_data_train_tokenizer_table,
    &cmd_data_tokenize_table,
    &cmd_data_inspect_table,
    &cmd_data_convert_tokenizer_table,
    &cmd_data_encode_table,
    &cmd_data_decode_table,
    &cmd_train_table,
    &cmd_launch_table,
    &cmd_submit_table,
    &cmd_status_table,
    &cmd_why_table,
    &cmd_top_table,
    &cmd_generate_table,
    &cmd_eval_table,
    &cmd_serve_table,
    &cmd_convert_table,
    &cmd_feed_ingest_table,
    &cmd_feed_search_table,
    &cmd_feed_ask_table,
    &cmd_feed_answers_table,
    &cmd_feed_signals_table,
    &cmd_feed_trends_table,
    &cmd_feed_serve_table,
    &cmd_feed_follow_table,
    &cmd_feed_stats_table,
    &cmd_feed_verify_table,
    &cmd_feed_vacuum_table,
    &cmd_feed_export_table,
    &cmd_plot_table,
    &cmd_plan_table,
    &cmd_plan_compare_table,
    &cmd_plan_sweep_table,
    &cmd_plan_validate_table,
    &cmd_site_table,
    &cmd_site_compare_table,
    &cmd_site_explain_table,
    &cmd_site_sweep_table,
    &cmd_site_fit_table,
    &cmd_bench_machine_table,
    &cmd_bench_serve_table,
    &cmd_check_golden_table,
    &cmd_doctor_mpi_table,
    &cmd_doctor_slurm_table,
    &cmd_version_table,
    &cmd_help_table,
};

const struct option_table *const *cmd_all_tables(size_t *count)
{
    *count = ARRAY_LEN(all_tables);
    return all_tables;
}

const struct cmd_entry *cmd_all_entries(size_t *count)
{
    *count = n_all_entries;
    return all_entries;
}

/* docs/STYLE.md has the list; everything else is 1. */
int cmd_exit_code(int error_code)
{
    if (error_code >= 0) return 0;
    switch (error_code) {
    case ERROR_USAGE:
    case ERROR_CONFIG:
    case ERROR_AGAIN:
    case ERROR_NO_REQUEUE: return -error_code;
    default: return 1;
    }
}

int cmd_fail(const char *command, const struct error *e)
{
    fflush(stdout); /* what was printed before it went wrong stands before the message */
    struct str text = {0};
    str_printf(&text, "colossus%s%s: %s\n", command[0] ? " " : "", command, e->text);
    if (e->hint[0]) str_printf(&text, "hint: %s\n", e->hint);
    (void)output_write(STDERR_FILENO, text.data, text.len); /* nowhere else to say it */
    str_fini(&text);
    return cmd_exit_code(e->code);
}

/* A device or a pipe is written to, and nothing of it is lost. */
static bool is_kept(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

int cmd_check_outputs(const struct cmd_outputs *o, struct error *e)
{
    for (size_t i = 0; i < o->n; i++) {
        if (!o->out[i].path || !is_kept(o->out[i].path)) continue;
        if (strcmp(o->out[i].path, "-") == 0) {
            error_set_code(e, ERROR_USAGE, "--%s does not take - for standard output",
                           o->out[i].option);
            return error_hint(e, "name a file; /dev/stdout is one, too");
        }
        for (size_t k = 0; k < o->n_in; k++) {
            if (!o->in[k] || !file_is_same(o->out[i].path, o->in[k])) continue;
            error_set_code(e, ERROR_USAGE, "--%s would overwrite '%.200s', which is read",
                           o->out[i].option, o->in[k]);
            return error_hint(e, "name a file of its own");
        }
        for (size_t k = 0; k < i; k++) {
            if (!o->out[k].path || !file_is_same(o->out[i].path, o->out[k].path)) continue;
            error_set_code(e, ERROR_USAGE, "--%s and --%s are one file, '%.200s'", o->out[k].option,
                           o->out[i].option, o->out[i].path);
            return error_hint(e, "name a file for each");
        }
    }
    return 0;
}

int cmd_run(const struct option_table *t, int argc, char **argv, size_t options_size,
            cmd_body *body)
{
    struct error e = {0};
    struct arena a = {0};
    struct option_line l = {t, argc, argv, &a, arena_alloc(&a, t->n_rows), 0, NULL, false};
    void *options = arena_alloc(&a, options_size);
    options_defaults(t->rows, t->n_rows, options);
    int rc = options_parse(&l, options, &e);
    if (rc >= 0 && l.help)
        options_print_help(t, stdout);
    else if (rc >= 0)
        rc = body(&l, options, &e);
    arena_fini(&a);
    if (rc >= 0) return 0;
    return e.text[0] ? cmd_fail(t->command, &e) : cmd_exit_code(e.code);
}

struct json_writer *cmd_json_begin(struct cmd_json *j)
{
    j->line = (struct str){0};
    jsonw_begin(&j->writer, &j->line);
    jsonw_open(&j->writer, NULL, '{');
    return &j->writer;
}

void cmd_json_end(struct cmd_json *j, bool print)
{
    jsonw_close(&j->writer, '}');
    if (print) puts(j->line.data);
    str_fini(&j->line);
}

/* ------------------------------------------------------------------ dispatch */

#define MAX_ENTRIES 64

static const struct cmd_entry *find_entry(const struct cmd_entry *entries, size_t count,
                                          const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].name, name) == 0) return &entries[i];
    return NULL;
}

const char *cmd_nearest(const char *name)
{
    enum { N = ARRAY_LEN(all_tables) };
    const char *entries[MAX_ENTRIES], *subs[N];
    size_t n = MIN(n_all_entries, MAX_ENTRIES);
    for (size_t i = 0; i < n; i++)
        entries[i] = all_entries[i].name;
    for (size_t i = 0; i < N; i++) {
        const char *blank = strchr(all_tables[i]->command, ' ');
        subs[i] = blank ? blank + 1 : all_tables[i]->command;
        if (strcmp(subs[i], name) == 0) return all_tables[i]->command;
    }
    const char *near = name_nearest(name, entries, n);
    if (near) return near;
    near = name_nearest(name, subs, N);
    for (size_t i = 0; i < N; i++)
        if (subs[i] == near) return all_tables[i]->command;
    return NULL;
}

/* A typing error is answered with the nearest command. */
static int unknown_entry(const char *command, const struct cmd_entry *entries, size_t count,
                         const char *name)
{
    struct error e = {0};
    const char *names[MAX_ENTRIES];
    size_t n = MIN(count, MAX_ENTRIES);
    for (size_t i = 0; i < n; i++)
        names[i] = entries[i].name;
    error_set_code(&e, ERROR_USAGE, "'%s' is not a command of 'colossus%s%s'", name,
                   command[0] ? " " : "", command);
    const char *near = command[0] ? name_nearest(name, names, n) : cmd_nearest(name);
    if (near)
        error_hint(&e, "did you mean '%s'?", near);
    else
        error_hint(&e, "see 'colossus %s%s--help'", command, command[0] ? " " : "");
    return cmd_fail(command, &e);
}

static void print_entries(const char *command, const struct cmd_entry *entries, size_t count,
                          FILE *out)
{
    fprintf(out, "usage: colossus %s COMMAND [options]\n\n", command);
    for (size_t i = 0; i < count; i++)
        fprintf(out, "  %-18s%s\n", entries[i].name, entries[i].summary);
    fprintf(out, "\n'colossus %s COMMAND --help' explains one of them\n", command);
}

int cmd_dispatch(const char *command, const struct cmd_entry *entries, size_t count, int argc,
                 char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;
    if (!name || strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) {
        print_entries(command, entries, count, name ? stdout : stderr);
        return name ? 0 : cmd_exit_code(ERROR_USAGE);
    }
    const struct cmd_entry *entry = find_entry(entries, count, name);
    if (!entry) return unknown_entry(command, entries, count, name);
    return entry->run(argc - 1, argv + 1);
}

/* Nobody reads standard output any more. Most commands have died of SIGPIPE by then, which is as
 * quiet; one that had more to do than to print (train) ignores that signal. */
static bool reader_is_gone(void)
{
    struct pollfd p = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&p, 1, 0) == 1 && (p.revents & (POLLERR | POLLHUP)) != 0;
}

static bool output_was_closed; /* by the caller, before this program began */

/* Output that could not be written turns success into failure. */
static int finish(int exit_code)
{
    bool lost = ferror(stdout) != 0;
    if (fflush(stdout) != 0 || lost) {
        if (reader_is_gone()) return exit_code;
        struct error e = {0};
        error_errno(&e, "write", "standard output");
        if (output_was_closed) {
            error_set(&e, "standard output is closed: what was printed is lost");
            error_hint(&e, "leave '>&-' out, or give it to a file or to /dev/null");
        }
        int failed = cmd_fail("", &e);
        return exit_code ? exit_code : failed;
    }
    return exit_code;
}

/* A standard descriptor that the caller closed would be given to the next file that is opened, and
 * what is printed would land in that file. open() takes the lowest number that is free. Standard
 * output stays unwritable, so that finish() notices what is lost; of standard error nobody could be
 * told. */
static void open_standard_descriptors(void)
{
    static const int modes[] = {O_RDONLY, O_RDONLY, O_WRONLY};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0) continue;
        if (open("/dev/null", modes[fd]) < 0) return;
        output_was_closed = output_was_closed || fd == STDOUT_FILENO;
    }
}

/* A checkpoint of many ranks is many files, and the usual limit of 1024 is for programs that cannot
 * count further. */
static void raise_file_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur >= r.rlim_max) return;
    r.rlim_cur = r.rlim_max;
    setrlimit(RLIMIT_NOFILE, &r);
}

int cmd_main(const struct cmd_entry *entries, size_t count, int argc, char **argv)
{
    open_standard_descriptors();
    all_entries = entries;
    n_all_entries = count;
    signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of write, EFBIG, that is reported */
    raise_file_limit();
    if (argc < 2) {
        char help[] = "help", *alone[] = {help, NULL};
        cmd_help(1, alone);
        return cmd_exit_code(ERROR_USAGE);
    }
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const struct cmd_entry *entry = find_entry(entries, count, name);
    if (!entry) return unknown_entry("", entries, count, name);
    return finish(entry->run(argc - 1, argv + 1));
}
