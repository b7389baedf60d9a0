/* base_options.c: one typed table for the command line, --help, run files and reference pages.
 *
 * A row knows its name, type, bounds, default and the place of its value in the target struct.
 * Text becomes a value in options_set only, whether it comes from argv, from a file or from the
 * table's own default, so that the three agree on what "20M" means and complain in the same words.
 * The origin of each value is kept beside it for run.yaml. */
#include "base/base.h"

#include <math.h>
#include <string.h>

#define HELP_COLUMN 28 /* where the text of --help begins */
#define HELP_WIDTH  96
#define MAX_NAMES   512

const struct option *options_find(const struct option *rows, size_t n_rows, const char *name)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(rows[i].name, name) == 0) return &rows[i];
    return NULL;
}

static void *option_place(const struct option *row, void *target)
{
    return (char *)target + row->offset;
}

/* ------------------------------------------------------------------ text to value */

/* "run.yaml:12: 'optimizer.lr' must be ..., not 'x'" */
PRINTF_LIKE(5, 6)
static int bad_value(const struct option *row, const char *text, const char *where, struct error *e,
                     const char *fmt, ...)
{
    char wanted[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(wanted, sizeof(wanted), fmt, args);
    va_end(args);
    return error_set_code(e, where ? ERROR_CONFIG : ERROR_USAGE,
                          "%s%s'%s%s' must be %s, not '%.80s'", where ? where : "",
                          where ? ": " : "", where ? "" : "--", row->name, wanted, text);
}

static const char *row_unit(const struct option *row)
{
    return row->unit ? row->unit : "";
}

static bool is_whole(const struct option *row)
{
    return row->type == OPTION_INT || row->type == OPTION_INT32;
}

static bool is_in_bytes(const struct option *row)
{
    return strcmp(row_unit(row), "bytes") == 0;
}

static bool is_number(const struct option *row)
{
    return is_whole(row) || row->type == OPTION_REAL || row->type == OPTION_FIGURE;
}

static bool is_bounded(const struct option *row)
{
    return is_number(row) && (row->min != 0.0 || row->max != 0.0);
}

/* "0 to 1024" or "at least 1", for a row with bounds. */
static char *bounds_text(const struct option *row, char *text, size_t size)
{
    if (isinf(row->max))
        snprintf(text, size, "at least %g", row->min);
    else
        snprintf(text, size, "%.10g to %.10g", row->min, row->max);
    return text;
}

/* "a whole number of tokens from 1 to 8", "a number in W, kW or MW, at least 0" */
static void describe_number(const struct option *row, char *text, size_t size)
{
    char bounds[64] = "", units[128];
    bool share = row->measures == UNIT_SHARE;
    unit_list(share ? UNIT_NONE : row->measures, units, sizeof(units));
    if (is_bounded(row)) bounds_text(row, bounds, sizeof(bounds));
    snprintf(text, size, "%s%s%s%s%s%s%s",
             share           ? "a share such as 0.05 or 5 %,"
             : is_whole(row) ? "a whole number"
                             : "a number",
             row_unit(row)[0] ? " of " : "", row_unit(row),
             !units[0]                        ? ""
             : strncmp(units, "per ", 4) == 0 ? " "
                                              : " in ",
             units,
             !bounds[0]        ? ""
             : isinf(row->max) ? ", "
                               : " from ",
             bounds);
}

/* What to write instead; returns the code of the error. */
static int hint_number(const struct option *row, const char *where, struct error *e)
{
    const char *example = row->fallback && row->fallback[0] ? row->fallback
                          : is_whole(row)                   ? "20M"
                                                            : "1.5e-3";
    if (row->example && where) return error_hint(e, "for example %s: %s", row->name, row->example);
    return error_hint(e, "for example %s; k, M, %s, T are 1000s and Ki, Mi, Gi 1024s",
                      row->example ? row->example : example, is_in_bytes(row) ? "G" : "B");
}

static int read_number(const struct option *row, const char *text, int64_t *whole, double *real)
{
    const char *unit;
    if (!is_whole(row))
        return unit_parse(text, row->measures, real, &unit) == UNIT_OK ? 0 : ERROR_FAILED;
    if (is_in_bytes(row)) { /* where B is no billion */
        bool good = unit_parse(text, UNIT_BYTES, real, &unit) == UNIT_OK && fabs(*real) <= 0x1p60;
        if (!good || *real != floor(*real)) return ERROR_FAILED;
        *whole = (int64_t)*real;
        return 0;
    }
    TRY(parse_int(text, whole));
    *real = (double)*whole;
    return 0;
}

static int set_number(const struct option *row, const char *text, void *target, const char *where,
                      struct error *e)
{
    char wanted[320];
    int64_t whole = 0;
    double real = 0.0;
    void *place = option_place(row, target);
    int rc = read_number(row, text, &whole, &real);
    if (rc < 0 || (is_bounded(row) && !(real >= row->min && real <= row->max))) {
        describe_number(row, wanted, sizeof(wanted));
        bad_value(row, text, where, e, "%s", wanted);
        if (rc < 0 || row->example) return hint_number(row, where, e);
        return e ? e->code : ERROR_FAILED;
    }
    switch (row->type) {
    case OPTION_INT: *(int64_t *)place = whole; break;
    case OPTION_INT32: *(int32_t *)place = (int32_t)whole; break;
    case OPTION_REAL: *(double *)place = real; break;
    default: *(struct figure *)place = (struct figure){real, real, real, 'A', "given"};
    }
    return 0;
}

static int set_bool(const struct option *row, const char *text, void *target, const char *where,
                    struct error *e)
{
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (strcmp(text, words[i]) == 0) {
            *(bool *)option_place(row, target) = i % 2;
            return 0;
        }
    }
    return bad_value(row, text, where, e, "true or false");
}

static int set_enum(const struct option *row, const char *text, void *target, const char *where,
                    struct error *e)
{
    char list[200] = "";
    size_t used = 0, n = 0;
    while (row->choices[n])
        n++;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(text, row->choices[i]) == 0) {
            *(int *)option_place(row, target) = (int)i;
            return 0;
        }
        const char *join = i == 0 ? "" : i + 1 == n ? " or " : ", ";
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", join, row->choices[i]);
        used = MIN(used, sizeof(list) - 1);
    }
    int rc = bad_value(row, text, where, e, "%s", list);
    const char *near = name_nearest(text, row->choices, n);
    if (near) return error_hint(e, "did you mean '%s'?", near);
    return where && row->example ? error_hint(e, "for example %s: %s", row->name, row->example)
                                 : rc;
}

static void list_add(struct option_list *list, const char *item, struct arena *a)
{
    const char **items = arena_alloc(a, (list->count + 1) * sizeof(*items));
    if (list->count) memcpy(items, list->items, list->count * sizeof(*items));
    items[list->count++] = arena_strdup(a, item);
    list->items = items;
}

/* "[a, b]" replaces the list, as a YAML sequence would; anything else is one more item. */
static int set_list(const struct option *row, const char *text, void *target, struct arena *a,
                    const char *where, struct error *e)
{
    struct option_list *list = option_place(row, target);
    CHECK_MSG(a, "'%s' is a list and needs an arena", row->name);
    if (text[0] != '[') {
        list_add(list, text, a);
        return 0;
    }
    struct yaml_node *root;
    if (yaml_parse(text, strlen(text), row->name, a, &root, e) < 0 || root->kind != YAML_KIND_LIST)
        return bad_value(row, text, where, e, "a list such as [a, b]");
    struct option_list fresh = {0};
    for (size_t i = 0; i < root->count; i++) {
        if (root->items[i]->kind != YAML_KIND_SCALAR)
            return bad_value(row, text, where, e, "a flat list such as [a, b]");
        list_add(&fresh, root->items[i]->text, a);
    }
    *list = fresh;
    return 0;
}

int options_set(const struct option *row, const char *text, void *target, struct arena *a,
                const char *where, struct error *e)
{
    switch (row->type) {
    case OPTION_BOOL: return set_bool(row, text, target, where, e);
    case OPTION_INT:
    case OPTION_INT32:
    case OPTION_REAL:
    case OPTION_FIGURE: return set_number(row, text, target, where, e);
    case OPTION_STRING:
        *(const char **)option_place(row, target) = a ? arena_strdup(a, text) : text;
        return 0;
    case OPTION_ENUM: return set_enum(row, text, target, where, e);
    case OPTION_LIST: return set_list(row, text, target, a, where, e);
    case OPTION_CUSTOM: break;
    }
    CHECK_MSG(false, "row '%s' is not read from text", row->name);
    return ERROR_FAILED;
}

static void set_zero(const struct option *row, void *target)
{
    void *place = option_place(row, target);
    switch (row->type) {
    case OPTION_BOOL: *(bool *)place = false; break;
    case OPTION_INT: *(int64_t *)place = 0; break;
    case OPTION_INT32: *(int32_t *)place = 0; break;
    case OPTION_REAL: *(double *)place = 0.0; break;
    case OPTION_STRING: *(const char **)place = NULL; break;
    case OPTION_ENUM: *(int *)place = 0; break;
    case OPTION_LIST: *(struct option_list *)place = (struct option_list){0}; break;
    case OPTION_FIGURE: *(struct figure *)place = (struct figure){.source = ""}; break;
    case OPTION_CUSTOM: break;
    }
}

void options_defaults(const struct option *rows, size_t n_rows, void *target)
{
    for (size_t i = 0; i < n_rows; i++) {
        const struct option *row = &rows[i];
        struct error e = {0};
        set_zero(row, target);
        bool nothing = !row->fallback || (!row->fallback[0] && row->type != OPTION_STRING);
        if (nothing || row->type == OPTION_CUSTOM) continue;
        CHECK_MSG(row->type != OPTION_LIST, "'%s': a list cannot have a default", row->name);
        int rc = options_set(row, row->fallback, target, NULL, NULL, &e);
        CHECK_MSG(rc == 0, "default of '%s': %s", row->name, e.text);
        if (row->type == OPTION_FIGURE)
            ((struct figure *)option_place(row, target))->source = "default";
    }
}

/* ------------------------------------------------------------------ value to text */

static void put_real(struct str *out, double value)
{
    struct json_writer w;
    jsonw_begin(&w, out);
    jsonw_real(&w, NULL, value);
}

void options_get(const struct option *row, const void *target, struct str *out)
{
    const void *place = (const char *)target + row->offset;
    const char *text;
    switch (row->type) {
    case OPTION_BOOL: str_puts(out, *(const bool *)place ? "true" : "false"); return;
    case OPTION_INT: str_printf(out, "%lld", (long long)*(const int64_t *)place); return;
    case OPTION_INT32: str_printf(out, "%d", *(const int32_t *)place); return;
    case OPTION_REAL: put_real(out, *(const double *)place); return;
    case OPTION_FIGURE: put_real(out, ((const struct figure *)place)->mid); return;
    case OPTION_STRING:
        text = *(const char *const *)place;
        str_puts(out, text ? text : "");
        return;
    case OPTION_ENUM: str_puts(out, row->choices[*(const int *)place]); return;
    case OPTION_LIST: break;
    case OPTION_CUSTOM: return;
    }
    const struct option_list *list = place;
    str_append_char(out, '[');
    for (size_t i = 0; i < list->count; i++) {
        str_puts(out, i ? ", " : "");
        yaml_quote(out, list->items[i]);
    }
    str_append_char(out, ']');
}

/* ------------------------------------------------------------------ command line */

struct parser {
    const struct option_table *table;
    void *target;
    struct arena *arena;
    uint8_t *origins;
    bool *given; /* per row: seen on this command line */
    struct error *e;
};

/* The row whose name is near; with `switches` only those that can be turned off. */
static const char *near_option(const struct option_table *t, const char *name, bool switches)
{
    const char *names[MAX_NAMES];
    size_t n = 0;
    if (!switches) names[n++] = "help";
    for (size_t i = 0; i < t->n_rows && n < MAX_NAMES; i++)
        if (!switches || t->rows[i].type == OPTION_BOOL) names[n++] = t->rows[i].name;
    return name_nearest(name, names, n);
}

static int unknown_option(const struct parser *p, const char *name)
{
    const struct option_table *t = p->table;
    bool off = strncmp(name, "no-", 3) == 0;
    const struct option *negated = off ? options_find(t->rows, t->n_rows, name + 3) : NULL;
    if (negated && negated->type == OPTION_BOOL)
        return error_set_code(p->e, ERROR_USAGE, "option '--%s' takes no value", name);
    error_set_code(p->e, ERROR_USAGE, "unknown option '--%s'", name);
    const char *near = off ? near_option(t, name + 3, true) : NULL;
    if (near) return error_hint(p->e, "did you mean '--no-%s'?", near);
    near = near_option(t, name, false);
    if (near) return error_hint(p->e, "did you mean '--%s'?", near);
    return error_hint(p->e, "see 'colossus %s --help'", t->command);
}

static int take_value(struct parser *p, const struct option *row, const char *text)
{
    size_t i = (size_t)(row - p->table->rows);
    if (row->type == OPTION_LIST) {
        CHECK_MSG(p->arena, "'%s' is a list and needs an arena", row->name);
        if (!p->given[i]) set_zero(row, p->target); /* flags replace what a file said */
        /* as it stands: "[EOS]" is one item here, not a list */
        list_add(option_place(row, p->target), text, p->arena);
    } else {
        TRY(options_set(row, text, p->target, NULL, NULL, p->e));
    }
    p->given[i] = true;
    if (p->origins) p->origins[i] = ORIGIN_FLAG;
    return 0;
}

/* The value behind an option, if any, or the next argument; a switch needs none, and what may stand
 * alone takes only one behind '='. name: "--out", as
 * an error calls it. Returns how many arguments it used. */
static int take_option(struct parser *p, const struct option *row, const char *name,
                       const char *value, const char *next)
{
    if (!value && row->type == OPTION_BOOL) {
        TRY(take_value(p, row, "true"));
        return 1;
    }
    if (!value && row->bare) {
        TRY(take_value(p, row, row->bare));
        return 1;
    }
    if (!value && !next)
        return error_set_code(p->e, ERROR_USAGE, "option '%s' needs a value", name);
    TRY(take_value(p, row, value ? value : next));
    return value ? 1 : 2;
}

/* --name value, --name=value, --flag, --no-flag. Returns how many arguments it used. */
static int take_long(struct parser *p, const char *arg, const char *next)
{
    const struct option_table *t = p->table;
    char name[130];
    size_t n = strcspn(arg, "=");
    const char *value = arg[n] ? arg + n + 1 : NULL;
    if (n + 2 >= sizeof(name))
        return error_set_code(p->e, ERROR_USAGE, "unknown option '--%.60s...'", arg);
    snprintf(name, sizeof(name), "--%.*s", (int)n, arg);
    const struct option *row = options_find(t->rows, t->n_rows, name + 2);
    if (row) return take_option(p, row, name, value, next);
    row = strncmp(arg, "no-", 3) == 0 ? options_find(t->rows, t->n_rows, name + 5) : NULL;
    if (!row || row->type != OPTION_BOOL || value) return unknown_option(p, name + 2);
    TRY(take_value(p, row, "false"));
    return 1;
}

/* -o value, -ovalue, -f. Returns how many arguments it used. */
static int take_short(struct parser *p, const char *arg, const char *next)
{
    const struct option_table *t = p->table;
    const struct option *row = NULL;
    const char name[] = {'-', arg[0], '\0'};
    for (size_t i = 0; i < t->n_rows && !row; i++)
        if (t->rows[i].letter && t->rows[i].letter == arg[0]) row = &t->rows[i];
    if (row && !(row->type == OPTION_BOOL && arg[1]))
        return take_option(p, row, name, arg[1] ? arg + 1 : NULL, next);
    error_set_code(p->e, ERROR_USAGE, "unknown option '-%s'", arg);
    return error_hint(p->e, "see 'colossus %s --help'", t->command);
}

int options_parse(struct option_line *line, void *target, struct error *e)
{
    struct error local;
    bool *given = arena_alloc(line->arena, line->table->n_rows + 1), options_end = false;
    struct parser p = {line->table, target, line->arena, line->origins, given, e ? e : &local};
    line->n_rest = 0; /* positional arguments move down to argv[1 .. n_rest] */
    line->rest = line->argv + MIN(1, line->argc);
    line->help = false;
    for (int i = 1; i < line->argc;) {
        char *arg = line->argv[i], *next = i + 1 < line->argc ? line->argv[i + 1] : NULL;
        int used = 1;
        if (options_end || arg[0] != '-' || !arg[1])
            line->rest[line->n_rest++] = arg;
        else if (strcmp(arg, "--") == 0)
            options_end = true;
        else if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)
            line->help = true;
        else
            used = arg[1] == '-' ? take_long(&p, arg + 2, next) : take_short(&p, arg + 1, next);
        TRY(used);
        i += used;
    }
    return 0;
}

bool options_given(const struct option_line *line, const char *name)
{
    const struct option *row = options_find(line->table->rows, line->table->n_rows, name);
    return row && line->origins && line->origins[row - line->table->rows] == ORIGIN_FLAG;
}

/* ------------------------------------------------------------------ help */

static const char *value_word(const struct option *row)
{
    if (row->type == OPTION_BOOL) return "";
    if (is_number(row)) return is_whole(row) ? "N" : "X";
    if (row->type == OPTION_ENUM) return "WORD";
    return row_unit(row)[0] ? row->unit : "TEXT";
}

/* "number of threads [threads; 0 to 1024; default 0]" */
static void describe_row(const struct option *row, struct str *out)
{
    struct str more = {0};
    char bounds[64];
    if (is_number(row) && row_unit(row)[0]) str_printf(&more, "; %s", row->unit);
    if (is_bounded(row)) str_printf(&more, "; %s", bounds_text(row, bounds, sizeof(bounds)));
    for (size_t i = 0; row->type == OPTION_ENUM && row->choices[i]; i++)
        str_printf(&more, "%s%s", i ? ", " : "; ", row->choices[i]);
    if (row->type == OPTION_LIST) str_puts(&more, "; may be given again");
    if (row->fallback && row->fallback[0] && strcmp(row->fallback, "false") != 0)
        str_printf(&more, "; default %s", row->fallback);
    str_puts(out, row->help ? row->help : "");
    if (more.len) str_printf(out, " [%s]", more.data + strlen("; "));
    str_fini(&more);
}

/* Prints text from column `indent`, where the cursor is, broken at spaces before HELP_WIDTH. */
static void print_wrapped(const char *text, int indent, FILE *out)
{
    int column = indent;
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (column > indent && column + 1 + word > HELP_WIDTH) {
            fprintf(out, "\n%*s", indent, "");
            column = indent;
        } else if (column > indent) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", word, text);
        column += word;
        text += word;
        while (*text == ' ')
            text++;
    }
    fputc('\n', out);
}

static void print_option(const char *left, const char *text, FILE *out)
{
    int n = fprintf(out, "%s", left);
    if (n > HELP_COLUMN - 2)
        fprintf(out, "\n%*s", HELP_COLUMN, "");
    else
        fprintf(out, "%*s", HELP_COLUMN - n, "");
    print_wrapped(text, HELP_COLUMN, out);
}

void options_print_help(const struct option_table *t, FILE *out)
{
    fprintf(out, "usage: colossus %s%s%s\n\n%s\n\noptions:\n", t->command,
            t->usage && t->usage[0] ? " " : "", t->usage ? t->usage : "", t->summary);
    for (size_t i = 0; i < t->n_rows; i++) {
        const struct option *row = &t->rows[i];
        struct str left = {0}, text = {0};
        const char *word = value_word(row);
        if (row->letter)
            str_printf(&left, "  -%c, ", row->letter);
        else
            str_puts(&left, "      ");
        /* a switch that is on by default is only ever given to turn it off */
        bool on = row->type == OPTION_BOOL && row->fallback && strcmp(row->fallback, "true") == 0;
        str_printf(&left, "--%s%s%s%s%s", on ? "[no-]" : "", row->name,
                   row->bare ? "[="
                   : word[0] ? " "
                             : "",
                   word, row->bare ? "]" : "");
        describe_row(row, &text);
        print_option(left.data, text.len ? text.data : "", out);
        str_fini(&left);
        str_fini(&text);
    }
    print_option("  -h, --help", "print this and stop", out);
    if (t->details)
        fprintf(out, "\n%s%s", t->details, t->details[strlen(t->details) - 1] == '\n' ? "" : "\n");
}

/* ------------------------------------------------------------------ reference page */

/* '|' ends a cell, '<' would begin HTML. */
static void print_cell(const char *text, FILE *out)
{
    for (; *text; text++) {
        if (*text == '|')
            fputs("\\|", out);
        else if (*text == '<')
            fputs("&lt;", out);
        else
            fputc(*text, out);
    }
}

static void print_kind(const struct option *row, FILE *out)
{
    static const char *const kinds[] = {"true or false", "whole number", "whole number",
                                        "number",        "text",         "",
                                        "list",          "figure",       "see example"};
    char text[160];
    fputs(kinds[row->type], out);
    for (size_t i = 0; row->type == OPTION_ENUM && row->choices[i]; i++)
        fprintf(out, "%s`%s`", i ? ", " : "", row->choices[i]);
    if (row_unit(row)[0]) {
        fputs(", ", out);
        print_cell(row->unit, out);
    }
    if (unit_list(row->measures, text, sizeof(text))[0]) fprintf(out, ", %s", text);
    bool told = is_bounded(row) && !(row->min == 0.0 && isinf(row->max));
    if (told) fprintf(out, ", %s", bounds_text(row, text, sizeof(text)));
}

static void print_code(const char *text, FILE *out)
{
    if (!text || !text[0]) return;
    fputc('`', out);
    print_cell(text, out);
    fputc('`', out);
}

void options_print_markdown(const struct option *rows, size_t n_rows, FILE *out)
{
    size_t n_examples = 0;
    for (size_t i = 0; i < n_rows; i++)
        n_examples += rows[i].example != NULL;
    bool examples = 2 * n_examples > n_rows; /* a few alone are for errors */
    fprintf(out, "| name | value | default |%s meaning |\n|---|---|---|%s---|\n",
            examples ? " example |" : "", examples ? "---|" : "");
    for (size_t i = 0; i < n_rows; i++) {
        const struct option *row = &rows[i];
        fprintf(out, "| `%s`", row->name);
        if (row->letter) fprintf(out, ", `-%c`", row->letter);
        fputs(" | ", out);
        print_kind(row, out);
        fputs(" | ", out);
        if (!row->fallback && examples)
            fputs("required", out);
        else
            print_code(row->fallback, out);
        fputs(" | ", out);
        if (examples) {
            print_code(row->example, out);
            fputs(" | ", out);
        }
        print_cell(row->help ? row->help : "", out);
        fputs(" |\n", out);
    }
}
