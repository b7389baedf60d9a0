/* fuzz_launch_note.c: any bytes on a connection between a rank and its launcher, in pieces of any
 * length. What is taken for a line is printed to the same bytes again; what ranks claim of themselves
 * never brings judgement out of its bounds; and any text as a list of faults. */
#include "cluster/launch/cluster_launch_internal.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RANKS = 3 };

static void check_line(const char *line, size_t size)
{
    struct launch_note n;
    char again[LAUNCH_LINE_MAX];
    if (launch_note_parse(line, size, &n) < 0) return;
    size_t printed = launch_note_print(&n, again);
    CHECK(printed == size + 1 && memcmp(again, line, size) == 0 && again[size] == '\n');
}

static void check_lines(const char *text, size_t size)
{
    for (const char *at = text, *end = text + size, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        check_line(at, (size_t)(stop - at));
    }
}

/* As the launcher reads: as much as there is room for. */
static void check_connection(const char *text, size_t size, size_t piece)
{
    struct launch_lines l = {.size = 0};
    struct launch_rank ranks[RANKS];
    struct launch_history h = {0};
    const struct launch_limits limits = {1, 1, 8, 10, 3};
    struct launch_note n;
    double now_s = 100;
    for (int i = 0; i < RANKS; i++)
        ranks[i] = (struct launch_rank){.here = true, .since_s = 99, .heard_s = 99, .waits = -1};
    for (size_t at = 0, more; at < size; at += more) {
        int rc;
        more = MIN(MIN(piece, size - at), sizeof(l.data) - l.size);
        CHECK(more > 0);
        memcpy(l.data + l.size, text + at, more);
        l.size += more;
        while ((rc = launch_lines_next(&l, &n)) > 0) {
            now_s += 0.1;
            if (n.kind == NOTE_BEAT) launch_take_beat(&ranks[n.ticks % RANKS], &n, &h, now_s);
            struct launch_verdict v = launch_judge(ranks, RANKS, &limits, &h, true, now_s);
            CHECK(v.rank >= -1 && v.rank < RANKS);
        }
        if (rc < 0) return;
    }
}

static void check_faults(const char *text, size_t size)
{
    struct cluster_fault faults[CLUSTER_FAULTS_MAX], again[CLUSTER_FAULTS_MAX];
    struct error e = {0};
    struct str printed = {0};
    size_t n, m;
    char *copy = mem_alloc(size + 1);
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (cluster_faults_parse(copy, faults, &n, &e) < 0) {
        CHECK(e.text[0] && n <= CLUSTER_FAULTS_MAX);
    } else if (n > 0) {
        launch_faults_print(faults, n, &printed);
        CHECK(cluster_faults_parse(printed.data, again, &m, &e) == 0 && m == n);
        for (size_t i = 0; i < n; i++)
            CHECK(faults[i].kind == again[i].kind && faults[i].rank == again[i].rank &&
                  faults[i].step == again[i].step);
    }
    str_fini(&printed);
    mem_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    if (size == 0) return 0;
    check_lines(text, size);
    check_connection(text, size, 1 + data[0] % 64);
    check_connection(text, size, SIZE_MAX);
    check_faults(text, size);
    return 0;
}
