/* train_timeline.c: what each rank did in a step, kept in the run folder for `plot --timeline`.
 *
 * Now and then a step is recorded: all ranks begin it together, and behind it each writes its file,
 * timeline/rank-00000.json, over the one of the step that was recorded before. Times count from that
 * common beginning. */
#include "train/train_internal.h"

#include <inttypes.h>

#define MAX_SPANS 4096
#define FIRST     3 /* step of a process that is recorded in any case: the first ones still set up */

int train_timeline_open(struct train_timeline *t, const struct train_ranks *ranks,
                        const struct train_config *c, const char *run_dir, struct error *e)
{
    *t = (struct train_timeline){.ranks = ranks, .every = ranks->cluster ? c->timeline_every : 0};
    if (t->every == 0) return 0;
    t->path = arena_printf(&t->arena, "%s/timeline/rank-%05d.json", run_dir, ranks->rank);
    t->spans = arena_alloc(&t->arena, MAX_SPANS * sizeof(*t->spans));
    return file_make_dirs(arena_printf(&t->arena, "%s/timeline", run_dir), e);
}

void train_timeline_close(struct train_timeline *t)
{
    str_fini(&t->text);
    arena_fini(&t->arena);
    *t = (struct train_timeline){0};
}

int train_timeline_begin(struct train_timeline *t, int64_t step, struct error *e)
{
    t->steps_here++;
    t->recording = t->every > 0 && (t->steps_here == FIRST || step % t->every == 0);
    if (!t->recording) return 0;
    TRY(group_barrier(t->ranks->world, e));
    cluster_record(t->ranks->cluster, t->spans, MAX_SPANS);
    t->begin_s = time_now_s();
    return 0;
}

static void write_spans(struct json_writer *w, const struct cluster_span *spans, size_t n)
{
    static const char *const kinds[] = {[CLUSTER_SPAN_WORK] = "work",
                                        [CLUSTER_SPAN_CALL] = "call",
                                        [CLUSTER_SPAN_BACKGROUND] = "background"};
    jsonw_open(w, "spans", '[');
    for (size_t i = 0; i < n; i++) {
        jsonw_open(w, NULL, '{');
        jsonw_string(w, "kind", kinds[spans[i].kind]);
        jsonw_string(w, "name", spans[i].name);
        if (spans[i].group) jsonw_string(w, "group", spans[i].group);
        jsonw_real(w, "begin_s", spans[i].begin_s);
        jsonw_real(w, "end_s", spans[i].end_s);
        jsonw_close(w, '}');
    }
    jsonw_close(w, ']');
}

void train_timeline_end(struct train_timeline *t, int64_t step)
{
    struct error e = {0};
    struct json_writer w;
    char layout[96];
    size_t lost = 0;
    if (!t->recording) return;
    double seconds = time_now_s() - t->begin_s;
    size_t n = cluster_recorded(t->ranks->cluster, &lost);
    cluster_record(t->ranks->cluster, NULL, 0);
    str_clear(&t->text);
    jsonw_begin(&w, &t->text);
    jsonw_open(&w, NULL, '{');
    jsonw_int(&w, "step", step);
    jsonw_int(&w, "rank", t->ranks->rank);
    jsonw_int(&w, "ranks", t->ranks->size);
    jsonw_string(&w, "layout", train_ranks_text(t->ranks, layout));
    jsonw_real(&w, "seconds", seconds);
    jsonw_int(&w, "lost", (int64_t)lost);
    write_spans(&w, t->spans, n);
    jsonw_close(&w, '}');
    str_append_char(&t->text, '\n');
    if (file_write(t->path, t->text.data, t->text.len, &e) < 0) log_warn("%s", e.text);
}
