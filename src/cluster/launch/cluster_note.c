/* cluster_note.c: the lines that ranks and launcher send each other, byte by byte.
 *
 * A line is printable ASCII, ends in one LF and has at most LAUNCH_LINE_MAX bytes. It is a name and
 * fields, each behind one space:
 *
 *     hello KEY ATTEMPT RANK SIZE PID NODE      rank, first of all
 *     beat STEP TICKS IDLE BUSY WAITS WORD      rank, ten times a second; times in milliseconds
 *     fault STEP WORD                           rank, before it does it
 *     corrupt RANK STEP GOOD                    rank
 *     bye CODE                                  rank, last of all
 *     alive    stop    leave                    launcher
 *
 * Numbers are decimal without leading zeros or plus, and within the bounds of the table below; a key
 * is 16 lower-case hex digits; words and nodes are of letters, digits, '_', '-' and '.', in a word
 * also '+', which stands for a space. What differs in one byte is no line, and ends the connection:
 * it is of another program, or of somebody else. So a line has one spelling, and what is read can be
 * printed again to the same bytes. */
#include "cluster/launch/cluster_launch_internal.h"

#include <inttypes.h>
#include <string.h>

enum field_form { FORM_INT, FORM_INT64, FORM_COUNT, FORM_MS, FORM_KEY, FORM_NODE, FORM_WORD };
struct field {
    enum field_form form;
    size_t offset;
    int64_t min, max;
};
struct form {
    const char *name;
    struct field fields[6];
    size_t n;
};

#define STEP_MAX  ((int64_t)1 << 50)
#define LONG_MS   ((int64_t)100000000000)
#define AT(field) offsetof(struct launch_note, field)
static const struct form forms[NOTE_KINDS] = {
    [NOTE_HELLO] = {"hello",
                    {{FORM_KEY, AT(key), 0, 0},
                     {FORM_INT, AT(attempt), 0, 1 << 30},
                     {FORM_INT, AT(rank), 0, CLUSTER_RANKS_MAX - 1},
                     {FORM_INT, AT(size), 1, CLUSTER_RANKS_MAX},
                     {FORM_INT64, AT(pid), 1, (int64_t)1 << 31},
                     {FORM_NODE, AT(node), 0, 0}},
                    6},
    [NOTE_BEAT] = {"beat",
                   {{FORM_INT64, AT(step), -1, STEP_MAX},
                    {FORM_COUNT, AT(ticks), 0, STEP_MAX},
                    {FORM_MS, AT(idle_s), 0, LONG_MS},
                    {FORM_MS, AT(busy_s), 0, LONG_MS},
                    {FORM_INT, AT(waits), -1, CLUSTER_RANKS_MAX - 1},
                    {FORM_WORD, AT(word), 0, 0}},
                   6},
    [NOTE_FAULT] = {"fault", {{FORM_INT64, AT(step), 0, STEP_MAX}, {FORM_WORD, AT(word), 0, 0}}, 2},
    [NOTE_CORRUPT] = {"corrupt",
                      {{FORM_INT, AT(rank), -1, CLUSTER_RANKS_MAX - 1},
                       {FORM_INT64, AT(step), 0, STEP_MAX},
                       {FORM_INT64, AT(good), 0, STEP_MAX}},
                      3},
    [NOTE_BYE] = {"bye", {{FORM_INT, AT(code), 0, 255}}, 1},
    [NOTE_ALIVE] = {"alive", {{0}}, 0},
    [NOTE_STOP] = {"stop", {{0}}, 0},
    [NOTE_LEAVE] = {"leave", {{0}}, 0},
};
#undef AT

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

/* How many bytes of a text a word, or a node's name, may have. */
static size_t text_max(enum field_form f)
{
    return f == FORM_NODE ? CLUSTER_NODE_MAX : LAUNCH_WORD_MAX;
}

static bool text_fits(enum field_form f, const char *text, size_t n)
{
    if (n == 0 || n >= text_max(f)) return false;
    for (size_t i = 0; i < n; i++)
        if (!text[i] || !(strchr(letters, text[i]) || (f == FORM_WORD && text[i] == '+')))
            return false;
    return true;
}

/* ------------------------------------------------------------------ printing */

static int64_t number_of(const struct launch_note *n, const struct field *f)
{
    const char *at = (const char *)n + f->offset;
    switch (f->form) {
    case FORM_INT: return *(const int *)(const void *)at;
    case FORM_INT64: return *(const int64_t *)(const void *)at;
    case FORM_COUNT: return (int64_t)MIN(*(const uint64_t *)(const void *)at, (uint64_t)f->max);
    default: return (int64_t)(fmin(fmax(*(const double *)(const void *)at, 0), 1e8) * 1e3 + 0.5);
    }
}

size_t launch_note_print(const struct launch_note *n, char line[LAUNCH_LINE_MAX])
{
    const struct form *form = &forms[n->kind];
    size_t used = (size_t)snprintf(line, LAUNCH_LINE_MAX, "%s", form->name);
    for (size_t i = 0; i < form->n; i++) {
        const struct field *f = &form->fields[i];
        const char *text = (const char *)n + f->offset;
        if (f->form == FORM_KEY || f->form == FORM_NODE || f->form == FORM_WORD) {
            used += (size_t)snprintf(line + used, LAUNCH_LINE_MAX - used, " %s", text);
            CHECK(f->form == FORM_KEY || text_fits(f->form, text, strlen(text)));
            continue;
        }
        int64_t x = number_of(n, f);
        CHECK_MSG(x >= f->min && x <= f->max, "%" PRId64 " in a line '%s'", x, form->name);
        used += (size_t)snprintf(line + used, LAUNCH_LINE_MAX - used, " %" PRId64, x);
    }
    CHECK(used + 1 < LAUNCH_LINE_MAX);
    line[used++] = '\n';
    line[used] = '\0';
    return used;
}

/* ------------------------------------------------------------------ reading */

/* One spelling only: "-0", "+1" and "01" are none. */
static int read_number(const char *text, size_t n, int64_t *out)
{
    bool minus = n > 0 && text[0] == '-';
    size_t at = minus;
    int64_t x = 0;
    if (n - at < 1 || n - at > 17 || (text[at] == '0' && (n - at > 1 || minus))) return -1;
    for (; at < n; at++) {
        if (text[at] < '0' || text[at] > '9') return -1;
        x = 10 * x + (text[at] - '0');
    }
    *out = minus ? -x : x;
    return 0;
}

static int read_field(const struct field *f, const char *text, size_t n, struct launch_note *out)
{
    char *at = (char *)out + f->offset;
    int64_t x;
    if (f->form == FORM_KEY) {
        if (n != 16 || strspn(text, "0123456789abcdef") < 16) return -1;
        memcpy(at, text, n);
        return 0;
    }
    if (f->form == FORM_NODE || f->form == FORM_WORD) {
        if (!text_fits(f->form, text, n)) return -1;
        memcpy(at, text, n);
        return 0;
    }
    if (read_number(text, n, &x) < 0 || x < f->min || x > f->max) return -1;
    if (f->form == FORM_INT) *(int *)(void *)at = (int)x;
    if (f->form == FORM_INT64) *(int64_t *)(void *)at = x;
    if (f->form == FORM_COUNT) *(uint64_t *)(void *)at = (uint64_t)x;
    if (f->form == FORM_MS) *(double *)(void *)at = (double)x / 1e3;
    return 0;
}

static int read_fields(const struct form *form, char *at, struct launch_note *out)
{
    for (size_t i = 0; i < form->n; i++) {
        if (*at != ' ') return -1;
        char *field = ++at;
        at += strcspn(at, " ");
        if (read_field(&form->fields[i], field, (size_t)(at - field), out) < 0) return -1;
    }
    return *at ? -1 : 0;
}

int launch_note_parse(const char *line, size_t size, struct launch_note *out)
{
    char text[LAUNCH_LINE_MAX];
    memset(out, 0, sizeof(*out));
    if (size + 1 >= LAUNCH_LINE_MAX || memchr(line, '\0', size)) return -1;
    memcpy(text, line, size);
    text[size] = '\0';
    size_t name = strcspn(text, " ");
    for (size_t k = 0; k < NOTE_KINDS; k++) {
        if (strlen(forms[k].name) != name || memcmp(forms[k].name, text, name) != 0) continue;
        out->kind = (enum launch_note_kind)k;
        return read_fields(&forms[k], text + name, out);
    }
    return -1;
}

int launch_lines_next(struct launch_lines *l, struct launch_note *out)
{
    char *end = memchr(l->data, '\n', l->size);
    if (!end) return l->size >= LAUNCH_LINE_MAX ? -1 : 0;
    size_t size = (size_t)(end - l->data);
    int rc = launch_note_parse(l->data, size, out);
    l->size -= size + 1;
    memmove(l->data, end + 1, l->size);
    return rc < 0 ? rc : 1;
}
