/* cmd_top.c: `colossus top RUN`: a run as it goes, on a terminal or as a page.
 *
 * A screen is written over the one before, line by line, and the rest of each line wiped, so nothing
 * flickers; nothing is written where nothing has changed. The terminal is put back as it was, whatever
 * ends the command. */
#include "cmd/cmd.h"
#include "http/http.h"
#include "train/train.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

struct top_options {
    bool once, json;
    double every_s, seconds;
    int64_t width, height, port;
    const char *html;
};

#define AT(field) offsetof(struct top_options, field)
static const struct option rows[] = {
    CMD_FLAG("once", 0, once, "one screen, and no more"),
    CMD_FLAG("json", 'j', json, "with --once: what is on it, as one JSON object"),
    CMD_REAL("every", 0, every_s, "s", "1", 0.1, 3600,
             "between two looks; longer where a run takes long to read"),
    CMD_INT("width", 0, width, "columns", "0", 0, 1000, "0: the terminal's, or 80"),
    CMD_INT("height", 0, height, "lines", "0", 0, 1000, "0: the terminal's, or 24"),
    CMD_TEXT("html", 0, html, "FILE.html", NULL, "write the run as a page that stands alone"),
    CMD_INT("serve", 0, port, "PORT", "-1", -1, 65535,
            "show that page at 127.0.0.1, as the run goes; 0: any port, which is printed; -1: no"),
    CMD_REAL("for", 0, seconds, "s", "0", 0, 1e9, "of --serve: end after so long; 0: on ctrl-c"),
};
#undef AT

const struct option_table cmd_top_table = {
    "top",
    "RUN [options]",
    "a run as it goes, on a terminal or as a page",
    "RUN is a run folder, of a run that is at work or of one that has ended. Shows the loss, "
    "speed,\n"
    "goodput, each rank's own part of a step, the experts' load and the last events, on 80 x 24\n"
    "characters or more, without colour. q or ^C ends it.\n\n"
    "  colossus top runs/fortunes --once\n"
    "  colossus top runs/fortunes --once --json\n"
    "  colossus top runs/fortunes --html run.html\n"
    "  colossus top runs/fortunes --serve 8092 --for 2",
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

/* ------------------------------------------------------------------ the page */

/* What of a run was read last, for all who ask. Reading a long run takes seconds of a CPU that trains:
 * a tenth of the time at most is spent on it. */
struct shown {
    const char *run;
    struct str json;
    double read_s, took_s; /* when that was done, of time_now_s; and how long it took */
};
#define REST 9 /* times as long as the reading took */

static int look(struct shown *s, struct error *e)
{
    const double now_s = time_now_s();
    if (s->json.len > 0 && now_s < s->read_s + REST * s->took_s) return 0;
    str_clear(&s->json);
    TRY(train_page_json(s->run, true, &s->json, e));
    s->read_s = time_now_s();
    s->took_s = s->read_s - now_s;
    return 0;
}

static void on_page(void *ctx, http_request_t *r)
{
    struct shown *shown = ctx;
    struct str page = {0};
    struct error e = {0};
    if (look(shown, &e) < 0) {
        http_reply_error(r, 500, &e);
        return;
    }
    train_page(shown->run, &shown->json, &page);
    http_reply_page(r, train_page_hash, page.data, page.len);
    str_fini(&page);
}

static void on_json(void *ctx, http_request_t *r)
{
    struct shown *shown = ctx;
    struct error e = {0};
    if (look(shown, &e) < 0)
        http_reply_error(r, 500, &e);
    else
        http_reply(r, 200, HTTP_JSON, shown->json.data, shown->json.len);
}

static int serve(const char *run, const struct top_options *o, struct error *e)
{
    static const struct http_route routes[] = {{"GET", "/", on_page, true},
                                               {"GET", "/run.json", on_json, true}};
    struct shown shown = {.run = run};
    const struct http_options h = {.host = "127.0.0.1",
                                   .port = (int)o->port,
                                   .routes = routes,
                                   .n_routes = ARRAY_LEN(routes),
                                   .ctx = &shown};
    http_server_t *server;
    TRY(look(&shown, e)); /* what is no run is an error before anybody asks */
    signal(SIGPIPE, SIG_IGN);
    signal_catch(SIGINT, on_stop, SA_RESTART, NULL);
    signal_catch(SIGTERM, on_stop, SA_RESTART, NULL);
    int rc = http_server_new(&h, &server, e);
    if (rc >= 0) {
        fprintf(stderr, "%s on http://127.0.0.1:%d/\n", run, http_server_port(server));
        const double until = o->seconds > 0 ? time_now_s() + o->seconds : INFINITY;
        while (!stopped && time_now_s() < until)
            poll(NULL, 0, 100);
        http_server_free(server);
    }
    str_fini(&shown.json);
    return rc;
}

/* What is written must not be what the run has written. */
static int write_page(const char *run, const char *path, struct arena *a, struct error *e)
{
    struct str json = {0}, page = {0};
    const char *in[] = {file_join(a, run, "events.jsonl"), file_join(a, run, "metrics.jsonl"),
                        file_join(a, run, "run.yaml")};
    const struct cmd_output out = {"html", path};
    const struct cmd_outputs all = {&out, in, 1, ARRAY_LEN(in)};
    TRY(cmd_check_outputs(&all, e));
    int rc = train_page_json(run, false, &json, e);
    if (rc >= 0) {
        train_page(run, &json, &page);
        rc = file_write(path, page.data, page.len, e);
    }
    str_fini(&json);
    str_fini(&page);
    return rc;
}

/* Until q, ^C, or an error. */
static int watch(const char *run, const struct top_options *o, struct error *e)
{
    struct str screen = {0}, before = {0};
    int rc = 0;
    while (!stopped && rc >= 0) {
        struct pollfd key = {.fd = STDIN_FILENO, .events = POLLIN};
        char pressed = 0;
        const double began_s = time_now_s();
        rc = draw(run, o, &screen, e);
        const double wait_s = fmax(o->every_s, REST * (time_now_s() - began_s));
        if (rc >= 0 && (!before.data || strcmp(screen.data, before.data) != 0)) show(&screen);
        str_clear(&before);
        str_puts(&before, screen.data ? screen.data : "");
        bool has_key = poll(&key, 1, (int)fmin(1e3 * wait_s, 3.6e6)) > 0;
        if (has_key && read(STDIN_FILENO, &pressed, 1) <= 0) break;
        if (pressed == 'q') break;
    }
    str_fini(&screen);
    str_fini(&before);
    return rc;
}

/* Screens on this terminal, which is put back as it was. */
static int on_terminal(const char *run, const struct top_options *o, struct error *e)
{
    struct termios was, now;
    if (!isatty(STDOUT_FILENO) || tcgetattr(STDIN_FILENO, &was) < 0) {
        error_set_code(e, ERROR_USAGE, "this is no terminal");
        return error_hint(e, "--once prints one screen");
    }
    signal_catch(SIGINT, on_stop, 0, NULL);
    signal_catch(SIGTERM, on_stop, 0, NULL);
    now = was;
    now.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &now);
    fputs("\033[?1049h\033[?25l", stdout); /* a screen of its own, without a cursor */
    int rc = watch(run, o, e);
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &was);
    return rc;
}

static int check(const struct option_line *l, const struct top_options *o, struct error *e)
{
    if (l->n_rest != 1) {
        error_set_code(e, ERROR_USAGE, "one run folder is needed, %d given", l->n_rest);
        return error_hint(e, "see 'colossus top --help'");
    }
    if (o->json && !o->once) {
        error_set_code(e, ERROR_USAGE, "--json is for --once");
        return error_hint(e, "colossus top RUN --once --json");
    }
    if (options_given(l, "for") && o->port < 0) {
        error_set_code(e, ERROR_USAGE, "--for is of --serve, which is not there");
        return error_hint(e, "for example --serve 8092 --for 60");
    }
    if (o->once && (o->html || o->port >= 0)) {
        error_set_code(e, ERROR_USAGE, "--once prints a screen, --html and --serve make a page");
        return error_hint(e, "choose one of them");
    }
    return 0;
}

static int top(const struct option_line *l, void *options, struct error *e)
{
    const struct top_options *o = options;
    struct str screen = {0};
    TRY(check(l, o, e));
    const char *run = l->rest[0];
    if (o->json) return print_json(run, e);
    if (o->once) {
        int rc = draw(run, o, &screen, e);
        if (rc >= 0) fputs(screen.data, stdout);
        str_fini(&screen);
        return rc;
    }
    if (o->html) TRY(write_page(run, o->html, l->arena, e));
    if (o->port >= 0) return serve(run, o, e);
    return o->html ? 0 : on_terminal(run, o, e);
}

int cmd_top(int argc, char **argv)
{
    return cmd_run(&cmd_top_table, argc, argv, sizeof(struct top_options), top);
}
