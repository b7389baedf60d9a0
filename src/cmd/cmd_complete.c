/* cmd_complete.c: the words that a shell offers for a command line that is being typed.
 *
 * The scripts of the shells know nothing of the commands: they hand over the line up to the cursor
 * and show what comes back. So everything is from the tables that the program itself reads (options,
 * keys of a run file, inputs of a plan, presets), and a script that is old offers what is new. */
#include "cmd/cmd.h"
#include "plan/plan.h"
#include "train/train.h"

#include <string.h>

enum { MAX_WORDS = 64, MAX_PRESETS = 256 };

struct typed {
    const char *words[MAX_WORDS]; /* the last is what is being typed, perhaps "" */
    size_t n;
    struct arena *arena;
    FILE *out;
};

/* Prints prefix + word where that begins as what is typed does. */
static void offer(const struct typed *t, const char *prefix, const char *word, const char *end)
{
    const char *typed = t->words[t->n - 1];
    const char *whole = arena_printf(t->arena, "%s%s%s", prefix, word, end);
    if (strncmp(whole, typed, strlen(typed)) == 0) fprintf(t->out, "%s\n", whole);
}

static void offer_list(const struct typed *t, const char *prefix, const char *const *words)
{
    for (size_t i = 0; words && words[i]; i++)
        offer(t, prefix, words[i], "");
}

static void offer_presets(const struct typed *t, const char *prefix, const char *folder)
{
    const char *names[MAX_PRESETS];
    const struct yaml_reader here = {.path = "", .arena = t->arena};
    size_t n = preset_list(&here, folder, names, ARRAY_LEN(names));
    for (size_t i = 0; i < n; i++)
        offer(t, prefix, names[i], "");
}

/* Names of descriptions, for an option or an input that is called by their kind. */
static bool offer_described(const struct typed *t, const char *prefix, const char *name)
{
    static const char *const kinds[][2] = {{"model", "models"},
                                           {"model.preset", "models"},
                                           {"cluster", "clusters"},
                                           {"site", "sites"},
                                           {"accelerator", "accelerators"}};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i][0], name) != 0) continue;
        offer_presets(t, prefix, kinds[i][1]);
        return true;
    }
    return false;
}

static const char *const switch_words[] = {"true", "false", NULL};

/* An input of a plan by its option's name ("seq-len") or as sweeps spell it. */
static void offer_input(const struct typed *t, const char *prefix, const char *name)
{
    if (offer_described(t, prefix, name)) return;
    if (strcmp(name, "tokens") == 0) offer(t, prefix, "optimal", "");
    for (size_t i = 0; i < PLAN_N_INPUTS; i++)
        if (strcmp(plan_input_names[i], name) == 0)
            offer_list(t, prefix, plan_input_choices((enum plan_input)i));
}

/* KEY= of train's --set, or the values of that key. */
static void offer_setting(const struct typed *t, const char *before, const char *typed)
{
    const char *equals = strchr(typed, '=');
    for (size_t i = 0; !equals && i < train_run_n_rows; i++)
        offer(t, before, train_run_rows[i].name, "=");
    if (!equals) return;
    const char *key = arena_strndup(t->arena, typed, (size_t)(equals - typed));
    const char *prefix = arena_printf(t->arena, "%s%s=", before, key);
    const struct option *row = options_find(train_run_rows, train_run_n_rows, key);
    if (offer_described(t, prefix, key) || !row) return;
    offer_list(t, prefix, row->type == OPTION_BOOL ? switch_words : row->choices);
}

/* INPUT= of plan sweep's --over, or the values of that input, each behind a comma. */
static void offer_swept(const struct typed *t, const char *before, const char *typed)
{
    const char *equals = strchr(typed, '='), *comma = strrchr(typed, ',');
    for (size_t i = 0; !equals && i < PLAN_N_INPUTS; i++)
        offer(t, before, plan_input_names[i], "=");
    if (!equals) return;
    const char *last = comma ? comma : equals;
    offer_input(t, arena_printf(t->arena, "%s%.*s", before, (int)(last + 1 - typed), typed),
                arena_strndup(t->arena, typed, (size_t)(equals - typed)));
}

/* What may follow an option; `before` stands in front of it within the word ("--by="). */
static void offer_value(const struct typed *t, const struct option_table *table,
                        const struct option *row, const char *before)
{
    const char *typed = t->words[t->n - 1] + strlen(before);
    if (row->type == OPTION_ENUM)
        offer_list(t, before, row->choices);
    else if (row->type == OPTION_BOOL)
        offer_list(t, before, switch_words);
    else if ((table == &cmd_train_table || table == &cmd_launch_table ||
              table == &cmd_submit_table) &&
             strcmp(row->name, "set") == 0)
        offer_setting(t, before, typed);
    else if (table == &cmd_plan_sweep_table && strcmp(row->name, "over") == 0)
        offer_swept(t, before, typed);
    else if (strncmp(table->command, "plan", 4) == 0)
        offer_input(t, before, row->name);
}

/* The option that takes its value from the next word: --name, or -x. */
static const struct option *open_option(const struct option_table *t, const char *word)
{
    if (word[0] != '-' || strchr(word, '=')) return NULL;
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct option *row = &t->rows[i];
        if (row->type == OPTION_BOOL) continue;
        if (word[1] == '-' ? strcmp(row->name, word + 2) == 0
                           : word[1] && row->letter == word[1] && !word[2])
            return row;
    }
    return NULL;
}

static void offer_options(const struct typed *t, const struct option_table *table)
{
    for (size_t i = 0; i < table->n_rows; i++) {
        const struct option *row = &table->rows[i];
        bool on = row->type == OPTION_BOOL && row->fallback && strcmp(row->fallback, "true") == 0;
        offer(t, on ? "--no-" : "--", row->name, "");
    }
    offer(t, "--", "help", "");
}

/* The second words of two-word commands ("tokenize" behind "data"). */
static void offer_subs(const struct typed *t, const char *first)
{
    size_t n, length = strlen(first);
    const struct option_table *const *tables = cmd_all_tables(&n);
    for (size_t i = 0; i < n; i++) {
        const char *command = tables[i]->command;
        if (strncmp(command, first, length) == 0 && command[length] == ' ')
            offer(t, "", command + length + 1, "");
    }
}

static void offer_commands(const struct typed *t)
{
    size_t n;
    const struct cmd_entry *entries = cmd_all_entries(&n);
    for (size_t i = 0; i < n; i++)
        offer(t, "", entries[i].name, "");
    if (t->words[t->n - 1][0] == '-') {
        offer(t, "", "--help", "");
        offer(t, "", "--version", "");
    }
}

/* The table of what is being typed; *skip: how many words are its name. */
static const struct option_table *find_table(const struct typed *t, size_t *skip)
{
    size_t n;
    const struct option_table *const *tables = cmd_all_tables(&n), *found = NULL;
    for (size_t i = 0; i < n; i++) {
        const char *blank = strchr(tables[i]->command, ' ');
        const char *two = t->n > 2 ? arena_printf(t->arena, "%s %s", t->words[0], t->words[1]) : "";
        if (strcmp(tables[i]->command, blank ? two : t->words[0]) != 0) continue;
        if (found && !blank) continue;
        found = tables[i];
        *skip = blank ? 2 : 1;
    }
    return found;
}

/* Arguments that are no options. */
static void offer_arguments(const struct typed *t, const struct option_table *table)
{
    static const struct {
        const struct option_table *table;
        const char *folder;
    } named[] = {{&cmd_site_table, "scenarios"},       {&cmd_site_compare_table, "scenarios"},
                 {&cmd_site_sweep_table, "scenarios"}, {&cmd_plan_table, "plans"},
                 {&cmd_plan_compare_table, "plans"},   {&cmd_plan_sweep_table, "plans"},
                 {&cmd_train_table, "runs"},           {&cmd_launch_table, "runs"},
                 {&cmd_submit_table, "runs"}};
    for (size_t i = 0; i < ARRAY_LEN(named); i++)
        if (named[i].table == table) offer_presets(t, "", named[i].folder);
    if (table == &cmd_help_table && t->n == 2) offer_commands(t);
}

static void split_words(const char *line, struct typed *t)
{
    const char *rest = line + strspn(line, " \t");
    while (*rest && t->n + 1 < MAX_WORDS) {
        size_t length = strcspn(rest, " \t");
        t->words[t->n++] = arena_strndup(t->arena, rest, length);
        if (!rest[length]) return;
        rest += length + strspn(rest + length, " \t");
    }
    t->words[t->n++] = "";
}

void cmd_complete(const char *line, struct arena *a, FILE *out)
{
    struct typed t = {.arena = a, .out = out};
    split_words(line, &t);
    if (t.n == 1) {
        offer_commands(&t);
        return;
    }
    size_t skip = 1;
    const char *word = t.words[t.n - 1];
    const struct option_table *table = find_table(&t, &skip);
    const struct option *open = NULL;
    const char *before = "", *equals = strncmp(word, "--", 2) == 0 ? strchr(word, '=') : NULL;
    if (table && equals) {
        before = arena_strndup(a, word, (size_t)(equals + 1 - word));
        const char *name = arena_strndup(a, word + 2, (size_t)(equals - word - 2));
        open = options_find(table->rows, table->n_rows, name);
    } else if (table && t.n > skip + 1) {
        open = open_option(table, t.words[t.n - 2]);
    }
    if (open) {
        offer_value(&t, table, open, before);
        return;
    }
    if (t.n == 2) offer_subs(&t, t.words[0]);
    if (t.n == 3 && strcmp(t.words[0], "help") == 0) offer_subs(&t, t.words[1]);
    if (table && word[0] == '-')
        offer_options(&t, table);
    else if (table)
        offer_arguments(&t, table);
}

/* ------------------------------------------------------------------ scripts */

/* Readline replaces only what stands behind the last '='. A word that ends in '=' goes on. */
static const char bash_script[] =
    "# bash completion of colossus; made by 'colossus help --completion bash'\n"
    "_colossus()\n"
    "{\n"
    "    local line=${COMP_LINE:0:COMP_POINT} word IFS=$'\\n'\n"
    "    word=${line##*[[:blank:]]}\n"
    "    COMPREPLY=($(\"${COMP_WORDS[0]}\" help --complete=\"${line#*[[:blank:]]}\" 2>/dev/null))\n"
    "    [[ $word != *=* ]] || COMPREPLY=(\"${COMPREPLY[@]#\"${word%=*}=\"}\")\n"
    "    [[ ${COMPREPLY[0]-} != *= ]] || compopt -o nospace\n"
    "}\n"
    "complete -o default -F _colossus colossus\n";

static const char zsh_script[] =
    "#compdef colossus\n"
    "# zsh completion of colossus; made by 'colossus help --completion zsh'\n"
    "_colossus()\n"
    "{\n"
    "    local -a found\n"
    "    found=(${(f)\"$(${words[1]} help --complete=\"${(j: :)words[2,CURRENT]}\" "
    "2>/dev/null)\"})\n"
    "    if (( $#found )); then\n"
    "        compadd -S '' -- ${(M)found:#*=}\n"
    "        compadd -- ${found:#*=}\n"
    "    else\n"
    "        _files\n"
    "    fi\n"
    "}\n"
    "if [[ $funcstack[1] == _colossus ]]; then _colossus \"$@\"; else compdef _colossus colossus; "
    "fi\n";

static const char fish_script[] =
    "# fish completion of colossus; made by 'colossus help --completion fish'\n"
    "function __colossus_words\n"
    "    set -l words (commandline -opc) (commandline -ct)\n"
    "    $words[1] help --complete=(string join ' ' -- $words[2..-1]) 2>/dev/null\n"
    "end\n"
    "complete -c colossus -a '(__colossus_words)'\n";

void cmd_complete_script(const char *shell, FILE *out)
{
    fputs(strcmp(shell, "bash") == 0  ? bash_script
          : strcmp(shell, "zsh") == 0 ? zsh_script
                                      : fish_script,
          out);
}
