/* cmd_help.c: `colossus help`: the list of commands, one command's options, and the reference page
 * made from the option tables, so that it cannot say anything else than the program does. */
#include "cmd/cmd.h"

#include <string.h>

static const char *const SHELLS[] = {"none", "bash", "zsh", "fish", NULL};

struct help_options {
    bool markdown;
    int completion;
    const char *complete;
};

static const struct option rows[] = {
    {"markdown", 0, OPTION_BOOL, offsetof(struct help_options, markdown), NULL, "false", 0, 0, NULL,
     "print the reference page of all commands and options"},
    {"completion", 0, OPTION_ENUM, offsetof(struct help_options, completion), NULL, "none", 0, 0,
     SHELLS, "print the completion script of a shell"},
    {"complete", 0, OPTION_STRING, offsetof(struct help_options, complete), "LINE", NULL, 0, 0,
     NULL, "print the words that may stand at the end of LINE, as the shells' scripts ask"},
};

const struct option_table cmd_help_table = {"help",
                                            "[COMMAND] [options]",
                                            "list the commands, or explain one",
                                            "  colossus help train\n"
                                            "  colossus help data tokenize\n"
                                            "  . <(colossus help --completion bash)",
                                            rows,
                                            ARRAY_LEN(rows)};

/* Entries of one group stand together in the table, under a heading each. */
static void print_overview(FILE *out)
{
    size_t n;
    const struct cmd_entry *entries = cmd_all_entries(&n);
    const char *group = "";
    fputs("colossus trains Grok-style language models and lets them speak\n\n"
          "usage: colossus COMMAND [options]\n",
          out);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(group, entries[i].group) != 0) fprintf(out, "\n%s\n", entries[i].group);
        group = entries[i].group;
        fprintf(out, "  %-14s%s\n", entries[i].name, entries[i].summary);
    }
    fputs("\n'colossus COMMAND --help' explains one of them; exit codes are 0 done, 1 failed,"
          "\n2 wrong command line, 3 wrong configuration, 75 stopped in good order: run it again,\n"
          "93 it would fail again\n",
          out);
}

/* Is `command` ("data tokenize") what was asked for, or below it ("data")? */
static bool is_asked_for(const char *command, const char *asked)
{
    size_t n = strlen(asked);
    return strncmp(command, asked, n) == 0 && (command[n] == '\0' || command[n] == ' ');
}

static int unknown_command(const char *asked, struct error *e)
{
    const char *names[128], *near = cmd_nearest(asked);
    size_t n;
    const struct option_table *const *tables = cmd_all_tables(&n);
    for (size_t i = 0; i < n && i < ARRAY_LEN(names); i++)
        names[i] = tables[i]->command;
    if (!near) near = name_nearest(asked, names, MIN(n, ARRAY_LEN(names)));
    error_set_code(e, ERROR_USAGE, "there is no command '%s'", asked);
    return near ? error_hint(e, "did you mean '%s'?", near) : e->code;
}

static int print_command(const char *asked, struct error *e)
{
    size_t n, printed = 0;
    const struct option_table *const *tables = cmd_all_tables(&n);
    for (size_t i = 0; i < n; i++) {
        if (!is_asked_for(tables[i]->command, asked)) continue;
        fputs(printed++ ? "\n\n" : "", stdout);
        options_print_help(tables[i], stdout);
    }
    return printed ? 0 : unknown_command(asked, e);
}

/* ------------------------------------------------------------------ documents */

static void print_markdown(FILE *out)
{
    size_t n;
    const struct option_table *const *tables = cmd_all_tables(&n);
    fputs("# Commands and options\n\n"
          "Made by `colossus help --markdown` from the option tables of the program.\n",
          out);
    for (size_t i = 0; i < n; i++) {
        const struct option_table *t = tables[i];
        fprintf(out, "\n## colossus %s\n\n%s\n\n```\ncolossus %s%s%s\n```\n", t->command,
                t->summary, t->command, t->usage && t->usage[0] ? " " : "",
                t->usage ? t->usage : "");
        if (t->details) fprintf(out, "\n```text\n%s\n```\n", t->details);
        if (t->n_rows) {
            fputc('\n', out);
            options_print_markdown(t->rows, t->n_rows, out);
        }
    }
}

static int help(const struct option_line *l, void *options, struct error *e)
{
    const struct help_options *o = options;
    if (o->markdown)
        print_markdown(stdout);
    else if (o->complete)
        cmd_complete(o->complete, l->arena, stdout);
    else if (o->completion)
        cmd_complete_script(SHELLS[o->completion], stdout);
    else if (l->n_rest == 0)
        print_overview(stdout);
    else if (l->n_rest == 1)
        return print_command(l->rest[0], e);
    else
        return print_command(arena_printf(l->arena, "%s %s", l->rest[0], l->rest[1]), e);
    return 0;
}

int cmd_help(int argc, char **argv)
{
    return cmd_run(&cmd_help_table, argc, argv, sizeof(struct help_options), help);
}
