/* test_base_plot.c: the pictures, as far as a program can look at them: their size, their ticks,
 * that a line is where its numbers are, that gaps stay gaps and that nothing leaves the frame. */
#include "test_cmocka.h"

#include <math.h>

enum { N = 2000 };

struct fixture {
    struct arena a;
    struct error e;
    char *dir, *path;
    double x[N], y[N];
};

static int setup(void **state)
{
    struct fixture *f = mem_calloc(1, sizeof(*f));
    arena_init(&f->a);
    f->dir = test_folder(&f->a);
    f->path = file_join(&f->a, f->dir, "p.svg");
    for (int i = 0; i < N; i++) {
        f->x[i] = i;
        f->y[i] = i;
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    file_remove_tree(f->dir, NULL);
    arena_fini(&f->a);
    mem_free(f);
    return 0;
}

static char *print(const struct plot *p, int width, int height)
{
    char *text;
    size_t size;
    CAPTURE(text, size, out, plot_print(p, width, height, out));
    return text;
}

/* Characters, not bytes. */
static size_t columns_of(const char *line)
{
    size_t n = 0;
    for (; *line && *line != '\n'; line++)
        n += ((unsigned char)*line & 0xC0) != 0x80;
    return n;
}

/* First cell with dots behind the axis of a line of the picture, counted from the axis; or -1. */
static int first_dot(const char *line)
{
    int column = 0;
    bool inside = false;
    for (; *line && *line != '\n'; line++) {
        const unsigned char *s = (const unsigned char *)line;
        if ((s[0] & 0xC0) == 0x80) continue;
        if (inside && s[0] == 0xE2 && s[1] >= 0xA0 && s[1] <= 0xA3) return column;
        column += inside;
        inside = inside || (s[0] == 0xE2 && s[1] == 0x94);
    }
    return -1;
}

/* y = x: each row of the picture begins further to the right the higher it is. */
static void test_terminal_diagonal(void **state)
{
    struct fixture *f = *state;
    struct plot_series s = {"y", f->x, f->y, N, PLOT_LINE, NULL};
    struct plot p = {.title = "t", .x_label = "x", .y_label = "y", .series = &s, .n_series = 1};
    char *text = print(&p, 60, 20);
    int lines = 0, last = 1000;
    for (char *line = text; *line; line = strchr(line, '\n') + 1, lines++) {
        assert_true(columns_of(line) <= 60);
        if (lines == 0 || lines > 16) continue;
        int column = first_dot(line);
        if (column < 0) continue;
        assert_true(column < last);
        last = column;
    }
    assert_int_equal(last, 0);
    assert_int_equal(lines, 20);
    assert_contains(text, "1000");
    assert_contains(text, "y over x");
    free(text);
}

static void test_terminal_sizes(void **state)
{
    struct fixture *f = *state;
    struct plot_series s[] = {{"a", f->x, f->y, N, PLOT_LINE, NULL},
                              {"b", f->y, f->x, 9, PLOT_POINTS, NULL}};
    struct plot p = {.title = NULL, .series = s, .n_series = 2};
    static const int sizes[] = {-5, 0, 1, 24, 40, 80, 200, 400, 100000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
            char *text = print(&p, sizes[i], sizes[k]);
            assert_contains(text, "a a");
            assert_contains(text, "b b");
            free(text);
        }
    }
}

static void test_odd_data(void **state)
{
    struct fixture *f = *state;
    static const double nothing[] = {NAN, NAN}, one[] = {3, 3}, zeros[] = {0, 0},
                        huge[] = {-1e308, 1e308}, tiny[] = {1e-300, 2e-300},
                        infinite[] = {INFINITY, 1}, negative[] = {-1, -2};
    const double *values[] = {nothing, one, zeros, huge, tiny, infinite, negative};
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        for (size_t k = 0; k < ARRAY_LEN(values); k++) {
            for (int logs = 0; logs < 4; logs++) {
                struct plot_series s = {"<s>", values[i], values[k], 2, logs % 3, NULL};
                struct plot p = {"a & b", "x", "y", logs & 1, logs & 2, &s, 1, NULL, logs == 3};
                char *text = print(&p, 50, 12);
                assert_null(strstr(text, "nan"));
                free(text);
                assert_ok(plot_write_svg_panels(&p, 1, 400, 200, f->path, &f->e), f->e);
                size_t size;
                assert_ok(file_read(f->path, 1 << 20, &text, &size, &f->e), f->e);
                assert_null(strstr(text, "nan"));
                assert_null(strstr(text, "inf"));
                assert_contains(text, "a &amp; b");
                mem_free(text);
            }
        }
    }
    struct plot none = {.title = "t"};
    char *text = print(&none, 50, 12);
    assert_contains(text, "no data yet");
    free(text);
}

/* The numbers of a path "M10.0 20.0L..." of the SVG; every one must lie within the picture. */
static size_t check_path(const char *d, double width, double height)
{
    size_t moves = 0;
    double x = 0, y = 0;
    for (char *end; *d && *d != '"'; d = end) {
        char command = *d++;
        double v = strtod(d, &end);
        assert_true(end > d);
        if (command == 'V') {
            y = v;
        } else {
            assert_true(command == 'M' || command == 'L');
            moves += command == 'M';
            x = v;
            d = end;
            y = strtod(d, &end);
            assert_true(end > d);
        }
        assert_true(x >= 0 && x <= width && y >= 0 && y <= height);
    }
    return moves;
}

static char *write_and_read(struct fixture *f, const struct plot *plots, size_t n)
{
    char *text;
    size_t size;
    assert_ok(plot_write_svg_panels(plots, n, 800, 300, f->path, &f->e), f->e);
    assert_ok(file_read(f->path, 1 << 24, &text, &size, &f->e), f->e);
    assert_int_equal(strncmp(text, "<svg xmlns=", 11), 0);
    assert_string_equal(text + size - 7, "</svg>\n");
    return text;
}

static void test_svg_gaps_and_frame(void **state)
{
    struct fixture *f = *state;
    f->y[500] = f->y[501] = NAN;
    f->y[1000] = 1e6;
    struct plot_series s = {"loss", f->x, f->y, N, PLOT_LINE, NULL};
    struct plot p = {
        .title = "Loss", .x_label = "step", .y_label = "nats", .series = &s, .n_series = 1};
    char *text = write_and_read(f, &p, 1);
    char *line = strstr(text, "<path class=\"line l0");
    assert_non_null(line);
    assert_int_equal(check_path(strstr(line, " d=\"") + 4, 800, 300), 2); /* one gap */
    mem_free(text);
    /* few points are drawn one by one */
    s.count = 10;
    text = write_and_read(f, &p, 1);
    line = strstr(text, "<path class=\"line l0");
    size_t points = 0;
    for (char *c = strstr(line, " d=\"") + 4; *c != '"'; c++)
        points += *c == 'L' || *c == 'M';
    assert_int_equal(points, 10);
    mem_free(text);
}

/* A million points do not make a file of a hundred megabytes, and the one spike is in it. */
static void test_svg_thinning(void **state)
{
    struct fixture *f = *state;
    size_t n = 1000000;
    double *x = arena_alloc(&f->a, n * sizeof(*x)), *y = arena_alloc(&f->a, n * sizeof(*y));
    for (size_t i = 0; i < n; i++) {
        x[i] = (double)i;
        y[i] = 0.1 * rng_uniform(1, 1, i);
    }
    y[777777] = 10.0;
    struct plot_series s = {"loss", x, y, n, PLOT_LINE, NULL};
    struct plot p = {
        .title = "Loss", .x_label = "step", .y_label = "nats", .series = &s, .n_series = 1};
    char *text = write_and_read(f, &p, 1);
    assert_true(strlen(text) < 200000);
    char *line = strstr(strstr(text, "<path class=\"line"), " d=\"") + 4;
    assert_int_equal(check_path(line, 800, 300), 1);
    double top = 300;
    for (char *c = line; *c != '"'; c++)
        if (*c == 'V') top = MIN(top, strtod(c + 1, NULL));
    assert_true(top < 70); /* the spike reaches the top of the panel */
    mem_free(text);
}

static void test_svg_panels_and_legend(void **state)
{
    struct fixture *f = *state;
    struct plot_series s[] = {{"train & co", f->x, f->y, N, PLOT_LINE, NULL},
                              {"<validation>", f->x, f->y, 20, PLOT_POINTS, NULL}};
    struct plot plots[] = {{"Loss", "step", "nats", false, true, s, 2, NULL, false},
                           {"Speed", "step", "tokens/s", false, false, s, 1, NULL, false}};
    char *text = write_and_read(f, plots, 2);
    assert_contains(text, "width=\"800\" height=\"600\"");
    assert_contains(text, "train &amp; co");
    assert_contains(text, "&lt;validation&gt;");
    assert_contains(text, ">Speed</text>");
    size_t circles = 0;
    for (char *c = text; (c = strstr(c, "<circle")); c++)
        circles++;
    assert_int_equal(circles,
                     19 + 1); /* x = 0 has no place on a logarithmic y; one in the legend */
    mem_free(text);
    assert_true(
        plot_write_svg_panels(plots, 1, 800, 300, file_join(&f->a, f->dir, "no/p.svg"), &f->e) < 0);
    assert_contains(f->e.text, "no/p.svg");
}

/* Bars and points stand where their names are, on the ground line; a point tells its label. */
static void test_svg_names_and_bars(void **state)
{
    struct fixture *f = *state;
    static const char *const months[] = {"Jan", "Feb & more", "Mar"}, *const labels[] = {
                                                                          "<one>", "two", "three"};
    static const double y[] = {1, 2, 4};
    struct plot_series s[] = {{"water", NULL, y, 3, PLOT_BARS, NULL},
                              {"PUE", NULL, y, 3, PLOT_POINTS, labels}};
    struct plot p = {
        .title = "t", .series = s, .n_series = 2, .x_names = months, .from_zero = true};
    char *text = write_and_read(f, &p, 1);
    assert_contains(text, ">Feb &amp; more</text>");
    assert_contains(text, "<title>&lt;one&gt;</title>");
    double at[3], height[3], x, width;
    char *bar = strstr(text, "class=\"axis\"");
    for (int i = 0; i < 3; i++) {
        bar = strstr(bar, "<rect ");
        assert_int_equal(sscanf(bar, "<rect x=\"%lf\" y=\"%*f\" width=\"%lf\" height=\"%lf\"", &x,
                                &width, &height[i]),
                         3);
        at[i] = x + width / 2;
        bar++;
    }
    assert_float_equal(at[2] - at[1], at[1] - at[0], 0.02);
    assert_float_equal(height[1], 2 * height[0], 0.2);
    assert_float_equal(height[2], 4 * height[0], 0.4);
    mem_free(text);
    text = print(&p, 60, 16);
    assert_contains(text, "Feb & more");
    free(text);
}

/* Ticks are round: 1, 2 or 5 times a power of ten apart, with labels that say so. */
static void test_ticks(void **state)
{
    struct fixture *f = *state;
    static const struct {
        double lo, hi;
        const char *expected[2];
    } cases[] = {
        {0, 10, {">2</text>", ">8</text>"}},          {0, 1, {">0.2</text>", ">0.8</text>"}},
        {2.9, 3.1, {">2.95</text>", ">3.05</text>"}}, {0, 30000, {">10k</text>", ">20k</text>"}},
        {0, 2.5e7, {">10M</text>", ">20M</text>"}},   {0, 4e-5, {">1e-05</text>", ">3e-05</text>"}},
        {-50, 50, {">-40</text>", ">0</text>"}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        double x[] = {0, 1}, y[] = {cases[i].lo, cases[i].hi};
        struct plot_series s = {"s", x, y, 2, PLOT_LINE, NULL};
        struct plot p = {.title = "t", .series = &s, .n_series = 1};
        char *text = write_and_read(f, &p, 1);
        assert_contains(text, cases[i].expected[0]);
        assert_contains(text, cases[i].expected[1]);
        mem_free(text);
    }
    double x[] = {1, 1e6}, y[] = {1, 2};
    struct plot_series s = {"s", x, y, 2, PLOT_LINE, NULL};
    struct plot p = {.title = "t", .log_x = true, .series = &s, .n_series = 1};
    char *text = write_and_read(f, &p, 1);
    assert_contains(text, ">1000</text>");
    assert_contains(text, ">1M</text>");
    mem_free(text);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_terminal_diagonal),  T(test_terminal_sizes), T(test_odd_data),
        T(test_svg_gaps_and_frame), T(test_svg_thinning),   T(test_svg_panels_and_legend),
        T(test_svg_names_and_bars), T(test_ticks),
    };
    return cmocka_run_group_tests_name("base_plot", tests, NULL, NULL);
}
