/* train_top.c: one screen of `colossus top`: text of so many columns and lines, without colour or
 * control codes, so that it is the same on a terminal, in a log and in a test.
 *
 * What matters most comes first, and what does not fit a small screen is left out from the middle: the
 * curve shrinks before the ranks do, the ranks before the events. What is not known is N/A, never 0. */
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of s that fill at most `width` columns, each character one column (they are ours). */
static size_t bytes_within(const char *s, int width)
{
    size_t n = 0;
    for (int column = 0; s[n] && column < width; column++)
        for (n++; (s[n] & 0xC0) == 0x80; n++) {
        }
    return n;
}

struct screen {
    struct str *out;
    int width, left; /* lines that may still be written */
};

static void put_line(struct screen *s, const char *text)
{
    if (s->left <= 0) return;
    str_append(s->out, text, bytes_within(text, s->width));
    str_append_char(s->out, '\n');
    s->left--;
}

/* A number, or N/A. */
static void put_figure(struct str *line, const char *name, const char *format, double x)
{
    char text[48] = "N/A";
    if (!isnan(x)) {
        if (strcmp(format, "%") == 0) snprintf(text, sizeof(text), "%.1f %%", 100 * x);
        if (strcmp(format, "4") == 0) snprintf(text, sizeof(text), "%.4f", x);
        if (strcmp(format, "2") == 0) snprintf(text, sizeof(text), "%.2f", x);
        if (strcmp(format, "e") == 0) snprintf(text, sizeof(text), "%.2e", x);
        if (strcmp(format, "s") == 0) format_duration(text, x);
        if (strcmp(format, "n") == 0) format_count(text, x);
    }
    str_printf(line, "%s%s %s", line->len ? "   " : "", name, text);
}

/* ------------------------------------------------------------------ parts */

static void draw_progress(struct screen *s, const struct train_status *t)
{
    struct str line = {0};
    char left[32];
    double share =
        t->total_steps > 0 && t->step >= 0 ? (double)t->step / (double)t->total_steps : 0;
    int bar = MAX(10, MIN(40, s->width - 50));
    if (t->step < 0)
        str_puts(&line, "no step yet  ");
    else
        str_printf(&line, "step %" PRId64 " of %" PRId64 "  ", t->step, t->total_steps);
    str_append_char(&line, '[');
    for (int i = 0; i < bar; i++)
        str_append_char(&line, (double)i < share * bar ? '#' : '.');
    str_printf(&line, "] %.0f %%", 100 * share);
    if (train_status_is_silent(t))
        str_printf(&line, "  no step for %s", format_duration(left, t->silent_s));
    else if (t->state == TRAIN_STATE_RUNNING && t->step_s > 0 && t->total_steps > t->step)
        str_printf(&line, "  %s left",
                   format_duration(left, (double)(t->total_steps - t->step) * t->step_s));
    put_line(s, line.data);
    str_fini(&line);
}

static void draw_figures(struct screen *s, const struct train_status *t)
{
    struct str a = {0}, b = {0}, c = {0}, d = {0};
    char age[32];
    put_figure(&a, "loss", "4", t->loss);
    put_figure(&a, "valid b/B", "4", t->valid_bits_per_byte);
    put_figure(&a, "norm", "2", t->grad_norm);
    put_figure(&a, "lr", "e", t->lr);
    put_figure(&b, "tok/s", "n", t->tokens_per_s);
    put_figure(&b, "step", "s", t->step_s);
    put_figure(&b, "MFU", "%", t->mfu);
    put_figure(&b, "waiting", "%", t->wait_share);
    put_figure(&c, "expert load max/mean", "2", t->load_max_mean);
    put_figure(&c, "entropy", "%", t->load_entropy);
    str_printf(&c, "   skipped %" PRId64, t->skipped);
    put_figure(&d, "goodput", "%", train_status_goodput(t));
    str_printf(&d, " of %s   lost ranks %zu   checkpoint ", format_duration(age, t->total_s),
               t->n_incidents);
    if (t->checkpoint_step < 0)
        str_puts(&d, "none");
    else
        str_printf(&d, "%" PRId64 ", %s old", t->checkpoint_step,
                   format_duration(age, t->checkpoint_age_s));
    put_line(s, a.data);
    put_line(s, b.data);
    put_line(s, c.data);
    put_line(s, d.data);
    str_fini(&a);
    str_fini(&b);
    str_fini(&c);
    str_fini(&d);
}

/* Each rank's own part of a step as a bar; of many, the slowest. */
static void draw_ranks(struct screen *s, const struct train_status *t, int lines)
{
    double most = 0;
    size_t n = t->n_rank_busy;
    bool told[1024] = {false}; /* as many as train_status_read takes */
    for (size_t i = 0; i < n; i++)
        most = fmax(most, t->rank_busy_s[i]);
    if (n == 0 || lines < 2) return;
    put_line(s, "rank  own part of a step");
    size_t cap = MIN(n, (size_t)lines - 1);
    for (size_t k = 0; k < cap; k++) {
        size_t at = k;
        if (cap < n) /* the slowest first */
            for (size_t i = 0, found = 0; i < n; i++) {
                if (told[i] || (found && t->rank_busy_s[i] <= t->rank_busy_s[at])) continue;
                at = i;
                found = 1;
            }
        told[at] = true;
        struct str line = {0};
        char time[32];
        int bar = MAX(5, s->width - 24);
        str_printf(&line, "%4zu  %-10s ", at, format_duration(time, t->rank_busy_s[at]));
        for (int i = 0; most > 0 && i < (int)(bar * t->rank_busy_s[at] / most + 0.5); i++)
            str_append_char(&line, '=');
        put_line(s, line.data);
        str_fini(&line);
    }
}

static void draw_events(struct screen *s, const struct train_status *t, int lines)
{
    if (lines < 2 || t->n_events == 0) return;
    size_t n = MIN(t->n_events, (size_t)lines - 1);
    put_line(s, "last events");
    for (size_t i = t->n_events - n; i < t->n_events; i++)
        put_line(s, t->events[i]);
}

static void draw_curve(struct screen *s, const struct train_status *t, int lines)
{
    if (lines < 6 || t->n_losses < 2) return;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) return;
    double *steps = mem_alloc(t->n_losses * sizeof(*steps));
    for (size_t i = 0; i < t->n_losses; i++)
        steps[i] = (double)(i + 1);
    const struct plot_series series = {
        .name = "loss", .x = steps, .y = t->losses, .count = t->n_losses};
    const struct plot p = {.title = "loss", .x_label = "step", .series = &series, .n_series = 1};
    plot_print(&p, s->width, lines - 3, out);
    fclose(out);
    mem_free(steps);
    int end = s->left - lines;
    for (char *at = text, *stop; at && *at && s->left > end; at = stop + 1) {
        stop = strchr(at, '\n');
        if (!stop) break;
        *stop = '\0';
        put_line(s, at);
    }
    mem_free(text);
}

void train_top_draw(const struct train_status *t, int width, int height, struct str *out)
{
    struct screen s = {out, MAX(width, 20), MAX(height, 3)};
    struct str title = {0};
    str_printf(&title, "%s: %s", t->dir, train_state_names[t->state]);
    if (t->ranks > 1) str_printf(&title, ", %" PRId64 " ranks", t->ranks);
    put_line(&s, title.data);
    str_fini(&title);
    draw_progress(&s, t);
    draw_figures(&s, t);
    if (t->end_text && t->state != TRAIN_STATE_RUNNING) put_line(&s, t->end_text);
    int events = MIN((int)t->n_events + 1, MAX(4, s.left / 4));
    int ranks = t->n_rank_busy ? MIN((int)t->n_rank_busy + 1, MAX(5, (s.left - events) / 3)) : 0;
    int curve = s.left - events - ranks;
    draw_curve(&s, t, curve);
    draw_ranks(&s, t, MIN(ranks, s.left));
    draw_events(&s, t, MIN(events, s.left));
}
