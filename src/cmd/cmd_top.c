/* cmd_top.c: `colossus top RUN`: a run as it goes, on a terminal.
 *
 * A screen is written over the one before, line by line, and the rest of each line wiped, so nothing
 * flickers; nothing is written where nothing has changed. The terminal is put back as it was, whatever
 * ends the command. */
#include "cmd/cmd.h"
#include "train/train.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct top_options {
    bool once, json;
    double every_s;
    int64_t width, height;
};

#define AT(field) offsetof(struct top_options, field)
static const struct option rows[] = {
    CMD_FLAG("once", 0, once, "one screen, and no more"),
    CMD_FLAG("json", 'j', json, "with --once: what is on it, as one JSON object"),
    CMD_REAL("every", 0, every_s, "s", "1", 0.1, 3600, "between two looks"),
    CMD_INT("width", 0, width, "columns", "0", 0, 1000, "0: the terminal's, or 80"),
    CMD_INT("height", 0, height, "lines", "0", 0, 1000, "0: the terminal's, or 24"),
};
#undef AT

const struct option_table cmd_top_table = {
    "top",
    "RUN [options]",
    "a run as it goes, on a terminal",
    "RUN is a run folder, of a run that is at work or of one that has ended. Shows the loss, "
    "speed,\n"
    "goodput, each rank's own part of a step, the experts' load and the last events, on 80 x 24\n"
    "characters or more, without colour. q or ^C ends it.\n\n"
    "  colossus top runs/fortunes --once\n"
    "  colossus top runs/fortunes --once --json",
    rows,
    ARRAY_LEN(rows)};

static volatile sig_atomic_t stopped;

static void on_stop(int number)
{
    stopped = number;
}

static void find_size(const struct top_options *o, int *width, int *height)
{
    struct winsize w = {0};
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 && w.ws_row > 0;
    *width = o->width > 0 ? (int)o->width : known ? w.ws_col : 80;
    *height = o->height > 0 ? (int)o->height : known ? w.ws_row : 24;
}

static int draw(const char *run, const struct top_options *o, struct str *out, struct error *e)
{
    struct arena a = {0};
    struct train_status s;
    int width, height, rc = train_status_read(run, &a, &s, e);
    find_size(o, &width, &height);
    str_clear(out);
    if (rc >= 0) {
        train_top_draw(&s, width, height - (o->once ? 0 : 1), out);
        train_status_free(&s);
    }
    arena_fini(&a);
    return rc;
}

static int print_json(const char *run, struct error *e)
{
    struct arena a = {0};
    struct train_status s;
    struct cmd_json j;
    int rc = train_status_read(run, &a, &s, e);
    if (rc >= 0) {
        struct json_writer *w = cmd_json_begin(&j);
        train_status_json(&s, w);
        jsonw_open(w, "rank_busy_s", '[');
        for (size_t i = 0; i < s.n_rank_busy; i++)
            jsonw_real(w, NULL, s.rank_busy_s[i]);
        jsonw_close(w, ']');
        jsonw_open(w, "events", '[');
        for (size_t i = 0; i < s.n_events; i++)
            jsonw_string(w, NULL, s.events[i]);
        jsonw_close(w, ']');
        cmd_json_end(&j, true);
        train_status_free(&s);
    }
    arena_fini(&a);
    return rc;
}

/* Over what is there, each line wiped to its end, and what is below. */
static void show(const struct str *screen)
{
    struct str out = {0};
    str_puts(&out, "\033[H");
    for (const char *c = screen->data; *c; c++) {
        if (*c == '\n') str_puts(&out, "\033[K");
        str_append_char(&out, *c);
    }
    str_puts(&out, "\033[J");
    fwrite(out.data, 1, out.len, stdout);
    fflush(stdout);
    str_fini(&out);
}

/* Until q, ^C, or an error. */
static int watch(const char *run, const struct top_options *o, struct error *e)
{
    struct str screen = {0}, before = {0};
    int rc = 0;
    while (!stopped && rc >= 0) {
        struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
        char pressed = 0;
        rc = draw(run, o, &screen, e);
        if (rc >= 0 && (!before.data || strcmp(screen.data, before.data) != 0)) show(&screen);
        str_clear(&before);
        str_puts(&before, screen.data ? screen.data : "");
        bool has_key = poll(&key, 1, (int)(1e3 * o->every_s)) > 0;
        if (has_key && read(STDIN_FILENO, &pressed, 1) <= 0) break;
        if (pressed == 'q') break;
    }
    str_fini(&screen);
    str_fini(&before);
    return rc;
}

static int top(const struct option_line *l, void *options, struct error *e)
{
    const struct top_options *o = options;
    struct termios was, now;
    struct str screen = {0};
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one run folder is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus top --help'");
    }
    if (o->json && !o->once) {
        error_set_code(e, ERROR_USAGE, "--json is for --once");
        return error_hint(e, "colossus top RUN --once --json");
    }
    if (o->json) return print_json(l->rest[0], e);
    if (o->once) {
        int rc = draw(l->rest[0], o, &screen, e);
        if (rc >= 0) fputs(screen.data, stdout);
        str_fini(&screen);
        return rc;
    }
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &was) < 0) {
        error_set_code(e, ERROR_USAGE, "this is no terminal");
        return error_hint(e, "--once prints one screen");
    }
    struct sigaction a = {.sa_handler = on_stop};
    sigaction(SIGINT, &a, NULL);
    sigaction(SIGTERM, &a, NULL);
    now = was;
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &now);
    fputs("\033[?1049h\033[?25l", stdout); /* a screen of its own, without a cursor */
    int rc = watch(l->rest[0], o, e);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return rc;
}

int cmd_top(int argc, char **argv)
{
    return cmd_run(&cmd_top_table, argc, argv, sizeof(struct top_options), top);
}
