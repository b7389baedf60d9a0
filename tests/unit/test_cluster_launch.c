/* test_cluster_launch.c: the lines of ranks and launcher, how ranks are judged by what they say, lists
 * of faults, and whom a rank says that it waits for. */
#include "test_cmocka.h"
#include "test_cluster_threads.h"

#include "cluster/launch/cluster_supervise_internal.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* ------------------------------------------------------------------ lines */

static void assert_line(const char *line, bool good)
{
    struct launch_note n;
    char again[LAUNCH_LINE_MAX];
    int rc = launch_note_parse(line, strlen(line), &n);
    if ((rc == 0) != good) fail_msg("'%s' was %s", line, good ? "refused" : "taken");
    if (!good) return;
    assert_int_equal(launch_note_print(&n, again), strlen(line) + 1);
    assert_memory_equal(again, line, strlen(line));
}

static void test_a_line_has_one_spelling(void **state)
{
    (void)state;
    static const char *const good[] = {"hello 0123456789abcdef 1 0 4 4711 node-1",
                                       "beat -1 0 0 0 -1 start",
                                       "beat 12 900 30 1250 3 sum+of+gradients",
                                       "fault 6 kill",
                                       "corrupt -1 9 6",
                                       "bye 75",
                                       "alive",
                                       "stop",
                                       "leave"};
    static const char *const bad[] = {"",
                                      "beat",
                                      "beats 1",
                                      "alive ",
                                      " alive",
                                      "alive 1",
                                      "bye 256",
                                      "bye -1",
                                      "bye 075",
                                      "bye +1",
                                      "bye  1",
                                      "bye 1 ",
                                      "bye 0x1",
                                      "beat -2 0 0 0 -1 start",
                                      "beat 1 0 0 0 -1 a b",
                                      "beat 1 0 0 0 -1 ",
                                      "beat 1 0 0 0 -1",
                                      "beat 1 0 0 0 99999999 x",
                                      "hello 0 1 0 4 1 n",
                                      "hello 0123456789ABCDEF 1 0 4 4711 n",
                                      "hello 0123456789abcdef 1 0 0 4711 n",
                                      "hello 0123456789abcdef 1 0 4 4711 a/b",
                                      "corrupt 1 2",
                                      "fault 6 k\x01",
                                      "beat 99999999999999999999 0 0 0 -1 x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_line(good[i], true);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_line(bad[i], false);
}

static void test_lines_come_in_pieces(void **state)
{
    (void)state;
    static const char text[] = "bye 1\nalive\nstop\n";
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        struct launch_lines l = {.size = 0};
        struct launch_note n;
        int seen[NOTE_KINDS] = {0};
        for (size_t at = 0; at + 1 < sizeof(text); at += piece) {
            size_t more = MIN(piece, sizeof(text) - 1 - at);
            memcpy(l.data + l.size, text + at, more);
            l.size += more;
            while (launch_lines_next(&l, &n) > 0)
                seen[n.kind]++;
        }
        assert_int_equal(seen[NOTE_BYE] + seen[NOTE_ALIVE] + seen[NOTE_STOP], 3);
    }
    struct launch_lines l = {.size = LAUNCH_LINE_MAX};
    struct launch_note n;
    memset(l.data, 'a', sizeof(l.data));
    assert_true(launch_lines_next(&l, &n) < 0);
}

/* ------------------------------------------------------------------ judgement */

enum { RANKS = 4 };

static const struct launch_limits limits = {
    .silence_s = 3, .hang_s = 10, .hang_times = 8, .start_s = 100, .slow_times = 3};

static void well(struct launch_rank *ranks, double now_s)
{
    for (int i = 0; i < RANKS; i++)
        ranks[i] = (struct launch_rank){
            .here = true, .since_s = now_s - 50, .heard_s = now_s, .step = 7, .waits = -1};
}

static void assert_verdict(const struct launch_rank *ranks, enum launch_why why, int rank)
{
    const struct launch_history h = {.longest_s = 1};
    struct launch_verdict v = launch_judge(ranks, RANKS, &limits, &h, true, 1000);
    assert_string_equal(launch_why_text(v.why), launch_why_text(why));
    assert_int_equal(v.rank, rank);
}

static void test_the_first_that_dies_is_named(void **state)
{
    (void)state;
    struct launch_rank r[RANKS];
    well(r, 1000);
    assert_verdict(r, LAUNCH_WELL, -1);
    r[2].gone = r[1].gone = true;
    r[2].gone_s = 999.1;
    r[1].gone_s = 999.2;
    assert_verdict(r, LAUNCH_DEATH, 2);
    r[2].bye = true; /* it went in good order */
    assert_verdict(r, LAUNCH_DEATH, 1);
    r[2].code = 1; /* with an error, before the other died of it */
    assert_verdict(r, LAUNCH_FAILED, 2);
    r[2].code = r[1].code = 75;
    r[1].bye = true;
    assert_verdict(r, LAUNCH_WELL, -1);
}

static void on_nodes(struct launch_rank *ranks, const char *const names[RANKS])
{
    well(ranks, 1000);
    for (int i = 0; i < RANKS; i++)
        snprintf(ranks[i].node, sizeof(ranks[i].node), "%s", names[i]);
}

static void go(struct launch_rank *r, double when_s)
{
    r->gone = true;
    r->gone_s = when_s;
}

/* What is seen in one turn of the launcher is told apart by when it came; what came at once, by whose
 * neighbours are there. */
static void test_ends_of_two_nodes_in_one_turn(void **state)
{
    (void)state;
    static const char *const two[RANKS] = {"n1", "n1", "n2", "n2"};
    struct launch_rank r[RANKS];
    on_nodes(r, two);
    go(&r[0], 999.95); /* could not reach node 2 any more */
    go(&r[2], 999.93);
    go(&r[3], 999.92);
    assert_verdict(r, LAUNCH_DEATH, 3);
    go(&r[1], 999.94); /* all are gone: the first one began it */
    assert_verdict(r, LAUNCH_DEATH, 3);
    on_nodes(r, two);
    go(&r[0], 999.950);
    go(&r[3], 999.951);
    go(&r[2], 999.952); /* within a tick, and rank 1 is well: node 2 has gone */
    assert_verdict(r, LAUNCH_DEATH, 3);
    r[0].gone_s = 999.90; /* a rank has died, and the others of it */
    assert_verdict(r, LAUNCH_DEATH, 0);
}

/* srun ends the ranks that have come where a node does not answer: none of them is to blame. */
static void test_a_node_that_nobody_came_from(void **state)
{
    (void)state;
    static const char *const two[RANKS] = {"n2", "n2", "n3", "n3"};
    struct launch_rank r[RANKS];
    on_nodes(r, two);
    r[0].here = r[1].here = false;
    go(&r[3], 999.5);
    assert_verdict(r, LAUNCH_WELL, -1); /* they may be coming */
    r[3].gone_s = 998;
    assert_verdict(r, LAUNCH_START, 0);
    r[1].here = true; /* somebody came from there: the node is there */
    assert_verdict(r, LAUNCH_DEATH, 3);
    r[1].here = false;
    r[0].node[0] = r[1].node[0] = '\0'; /* where they were to be is not known */
    assert_verdict(r, LAUNCH_DEATH, 3);
}

/* The kernel says which of two connections ended first, however late it is asked. */
static void test_the_kernel_knows_when_an_end_came(void **state)
{
    (void)state;
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof(at);
    int listens = socket(AF_INET, SOCK_STREAM, 0), near[2], far[2];
    char byte = 'x';
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listens, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(listens, 2), 0);
    assert_int_equal(getsockname(listens, (struct sockaddr *)&at, &size), 0);
    for (int i = 0; i < 2; i++) {
        far[i] = socket(AF_INET, SOCK_STREAM, 0);
        assert_int_equal(connect(far[i], (struct sockaddr *)&at, sizeof(at)), 0);
        near[i] = accept(listens, NULL, NULL);
        assert_true(near[i] >= 0);
        assert_int_equal(send(far[i], &byte, 1, 0), 1);
    }
    double sent_s = time_now_s();
    usleep(100000);
    close(far[1]);
    usleep(100000);
    close(far[0]);
    usleep(100000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(recv(near[i], &byte, 1, 0), 1);
        assert_int_equal(recv(near[i], &byte, 1, 0), 0);
    }
    double first_s = launch_came_s(near[1], true), second_s = launch_came_s(near[0], true);
    assert_true(second_s > first_s + 0.05);
    assert_true(first_s > sent_s + 0.05);
    assert_true(launch_came_s(near[0], false) < first_s - 0.05);
    for (int i = 0; i < 2; i++)
        close(near[i]);
    close(listens);
}

static void test_silence_is_no_waiting(void **state)
{
    (void)state;
    struct launch_rank r[RANKS];
    well(r, 1000);
    r[3].heard_s = 996.5;
    assert_verdict(r, LAUNCH_FROZEN, 3);
    r[3].heard_s = 997.5;
    assert_verdict(r, LAUNCH_WELL, -1);
}

static void test_who_hangs_is_at_the_end_of_waiting(void **state)
{
    (void)state;
    struct launch_rank r[RANKS];
    well(r, 1000);
    for (int i = 0; i < RANKS; i++)
        r[i].idle_s = 11;
    r[0].waits = 3;
    r[3].waits = 1;
    r[2].waits = 1;
    assert_verdict(r, LAUNCH_HANG, 1);
    r[1].idle_s = 9; /* it has just begun something */
    assert_verdict(r, LAUNCH_WELL, -1);
    r[1].waits = 0; /* a circle: somebody must be wrong, nobody can be named */
    assert_verdict(r, LAUNCH_HANG, -1);
    well(r, 1000);
    r[1].idle_s = 11;
    const struct launch_history slow = {.longest_s = 2};
    assert_int_equal(launch_judge(r, RANKS, &limits, &slow, true, 1000).why, LAUNCH_WELL);
    assert_int_equal(launch_judge(r, RANKS, &limits, &(struct launch_history){0}, false, 1000).why,
                     LAUNCH_WELL);
}

static void test_who_never_came_is_named(void **state)
{
    (void)state;
    struct launch_rank r[RANKS];
    well(r, 1000);
    r[2] = (struct launch_rank){.since_s = 950, .heard_s = 0, .waits = -1};
    const struct launch_history none = {0}, known = {.started_s = 2};
    assert_int_equal(launch_judge(r, RANKS, &limits, &none, false, 1000).why, LAUNCH_WELL);
    assert_int_equal(launch_judge(r, RANKS, &limits, &none, false, 1100).why, LAUNCH_FROZEN);
    struct launch_verdict v = launch_judge(r, RANKS, &limits, &known, false, 1000);
    assert_int_equal(v.why, LAUNCH_START);
    assert_int_equal(v.rank, 2);
}

/* Beats as a rank sends them; the history learns only from what it finished and did not wait in. */
static void test_stragglers_and_what_is_learned(void **state)
{
    (void)state;
    struct launch_rank r[RANKS];
    struct launch_history h = {0};
    well(r, 1000);
    for (int step = 8; step < 14; step++) {
        for (int i = 0; i < RANKS; i++) {
            struct launch_note b = {.kind = NOTE_BEAT, .step = step, .waits = -1};
            b.ticks = (uint64_t)step * 10;
            b.busy_s = i == 2 ? 0.6 : 0.1 + 0.01 * i;
            snprintf(b.word, sizeof(b.word), "forward");
            launch_take_beat(&r[i], &b, &h, 1000);
        }
        assert_verdict(r, step < 12 ? LAUNCH_WELL : LAUNCH_SLOW, step < 12 ? -1 : 2);
    }
    for (int i = 0; i < LAUNCH_BUSY; i++) /* others that never had to do anything of their own */
        r[0].busy_s[i] = r[1].busy_s[i] = r[3].busy_s[i] = 0;
    assert_verdict(r, LAUNCH_SLOW, 2);
    r[2].busy_s[3] = 0.05; /* one of the five was as quick as the others' */
    assert_verdict(r, LAUNCH_WELL, -1);
    r[1].idle_s = 4;
    r[1].waits = 3;
    struct launch_note next = {.kind = NOTE_BEAT, .step = 13, .waits = -1, .ticks = 1000};
    launch_take_beat(&r[1], &next, &h, 1000);
    assert_true(h.longest_s == 0);
    r[1].idle_s = 4;
    next.ticks++;
    launch_take_beat(&r[1], &next, &h, 1000);
    assert_true(h.longest_s == 4);
}

/* What comes behind a step belongs to it, and what comes before one to the next. */
static void test_the_step_of_a_loss(void **state)
{
    (void)state;
    static const struct {
        const char *word, *text;
    } cases[] = {{"forward", "rank 2 has died in 'forward' of step 31"},
                 {"sum+of+gradients", "rank 2 has died in 'sum of gradients' of step 31"},
                 {"validation", "rank 2 has died in 'validation' of step 30"},
                 {"end", "rank 2 has died in 'end' of step 30"}};
    struct launch_rank ranks[RANKS];
    struct supervisor *s = mem_calloc(1, sizeof(*s));
    const struct launch_verdict v = {.why = LAUNCH_DEATH, .rank = 2};
    s->ranks = ranks;
    s->n = RANKS;
    well(ranks, 1000);
    ranks[2].step = 30;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct str text = {0};
        snprintf(ranks[2].word, sizeof(ranks[2].word), "%s", cases[i].word);
        launch_verdict_text(s, &v, &text);
        assert_string_equal(text.data, cases[i].text);
        str_fini(&text);
    }
    mem_free(s);
}

/* ------------------------------------------------------------------ what a loss costs */

static void do_steps(struct launch_account *a, int64_t first, int64_t last, double *now_s)
{
    for (int64_t step = first; step <= last; step++)
        launch_account_step(a, step, *now_s += 1);
}

/* Every second of a run is of a step that counts, of one that is done again, or of a stop: also where
 * two losses go back to the same state. */
static void test_work_is_lost_once(void **state)
{
    (void)state;
    struct launch_account *a = mem_calloc(1, sizeof(*a));
    double now_s = 100;
    launch_account_resume(a, 0, now_s);
    do_steps(a, 1, 9, &now_s);
    now_s += 50; /* until it is found, and ranks are there again */
    launch_account_resume(a, 0, now_s);
    assert_within(a->again_s, 9, 1e-12);
    a->again_s = 0;
    do_steps(a, 1, 13, &now_s);
    launch_account_resume(a, 0, now_s += 50);
    assert_within(a->again_s, 13, 1e-12);
    a->again_s = 0;
    do_steps(a, 1, 17, &now_s);
    launch_account_resume(a, 12, now_s += 50);
    do_steps(a, 13, 14, &now_s);
    launch_account_resume(a, 12, now_s += 50); /* both are lost when the next step is done */
    assert_within(a->again_s, 5 + 2, 1e-12);
    a->again_s = 0;
    launch_account_step(a, 16, now_s += 2); /* four that were told of at once */
    launch_account_step(a, 20, now_s += 8);
    launch_account_resume(a, 15, now_s += 50);
    assert_within(a->again_s, 0.5 + 8, 1e-12);
    launch_account_resume(a, 16,
                          now_s += 1); /* a copy of a step that the launcher has not heard of */
    a->again_s = 0;
    do_steps(a, 17, 17, &now_s);
    launch_account_resume(a, 15, now_s += 50);
    assert_within(a->again_s, 1, 1e-12);
    mem_free(a);
}

/* More steps than readings are kept, and a state from before the launcher. */
static void test_work_that_is_long_past(void **state)
{
    (void)state;
    struct launch_account *a = mem_calloc(1, sizeof(*a));
    double now_s = 0;
    launch_account_resume(a, 1000, now_s);
    do_steps(a, 1001, 1000 + 3 * LAUNCH_STEP_TIMES, &now_s);
    launch_account_resume(a, 1100, now_s);
    assert_within(a->again_s, 3 * LAUNCH_STEP_TIMES - 100, 1e-6);
    assert_within(a->work_s, 100, 1e-6);
    a->again_s = 0;
    launch_account_resume(a, 500, now_s);
    assert_within(a->again_s, 100, 1e-6);
    a->again_s = 0;
    do_steps(a, 501, 510, &now_s);
    launch_account_resume(a, 505, now_s);
    assert_within(a->again_s, 5, 1e-6);
    mem_free(a);
}

/* ------------------------------------------------------------------ faults */

static void test_faults_are_read(void **state)
{
    (void)state;
    struct cluster_fault f[CLUSTER_FAULTS_MAX];
    struct error e = {0};
    struct str text = {0};
    size_t n;
    static const char list[] = "kill:rank=1@step=5,hang:rank=0@step=9,flip:rank=2@step=1";
    assert_ok(cluster_faults_parse(list, f, &n, &e), e);
    assert_int_equal(n, 3);
    assert_int_equal(f[1].kind, CLUSTER_FAULT_HANG);
    launch_faults_print(f, n, &text);
    assert_string_equal(text.data, list);
    str_fini(&text);
    static const char *const bad[][2] = {{"", "it is empty"},
                                         {"explode:rank=1@step=5", "its kind is not known"},
                                         {"kill", "behind its kind"},
                                         {"kill:rank=@step=5", "'rank='"},
                                         {"kill:rank=1@step=0", "'@step='"},
                                         {"kill:rank=1", "'@step='"},
                                         {"kill:rank=1@step=5x", "behind the step"},
                                         {"kill:rank=1@step=5,", "comma"}};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(cluster_faults_parse(bad[i][0], f, &n, &e), ERROR_USAGE);
        assert_contains(e.text, bad[i][1]);
    }
}

/* ------------------------------------------------------------------ lists of nodes */

static void test_lists_of_nodes_unfold(void **state)
{
    (void)state;
    static const struct {
        const char *list, *names; /* NULL: it is none */
    } cases[] = {{"n1", "n1 "},
                 {"n[1-3]", "n1 n2 n3 "},
                 {"n[08-10,2],login-a", "n08 n09 n10 n2 login-a "},
                 {"a[1]b,c", "a1b c "},
                 {"", NULL},
                 {"n[", NULL},
                 {"n[1-", NULL},
                 {"n[3-1]", NULL},
                 {"n[1-9999999]", NULL},
                 {"n[x]", NULL},
                 {"a,,b", NULL},
                 {"a,", NULL},
                 {"a[1]b[2]", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a = {0};
        struct error e = {0};
        struct str all = {0};
        const char **names;
        size_t n;
        int rc = cluster_expand_nodes(cases[i].list, &a, &names, &n, &e);
        if ((rc == 0) != (cases[i].names != NULL)) fail_msg("'%s': %s", cases[i].list, e.text);
        for (size_t k = 0; rc == 0 && k < n; k++)
            str_printf(&all, "%s ", names[k]);
        if (rc == 0) assert_string_equal(all.data, cases[i].names);
        str_fini(&all);
        arena_fini(&a);
    }
}

/* ------------------------------------------------------------------ whom a rank waits for */

static atomic_int seen_front, seen_back;

/* Rank 1 is late; rank 0 waits for it, in the foreground and then for the background's work. */
static void be_late(cluster_t *c, void *ctx)
{
    double x = 1, y[4096] = {0};
    struct group_ticket t = {
        .group = group_world(c), .work = GROUP_WORK_SUM, .x = y, .n = 4096, .dtype = GROUP_F64};
    (void)ctx;
    for (int turn = 0; turn < 2; turn++) {
        if (cluster_rank(c) == 1) {
            double end_s = time_now_s() + 20;
            atomic_int *seen = turn ? &seen_back : &seen_front;
            while (atomic_load(seen) < 0 && time_now_s() < end_s)
                usleep(1000);
        }
        if (turn == 0) {
            CHECK(group_sum(group_world(c), &x, 1, GROUP_F64, NULL) == 0);
        } else {
            group_start(&t);
            CHECK(group_wait(&t, NULL) == 0);
        }
    }
    CHECK(cluster_waits_for(c) == -1);
    if (cluster_rank(c) == 0) CHECK(cluster_traffic(c).blocked_s > 0);
}

static void *look(void *arg)
{
    cluster_t *c = arg;
    double end_s = time_now_s() + 20;
    atomic_int *seen[] = {&seen_front, &seen_back};
    for (int i = 0; i < 2; i++) {
        while (cluster_waits_for(c) < 0 && time_now_s() < end_s)
            usleep(500);
        atomic_store(seen[i], cluster_waits_for(c));
        while (cluster_waits_for(c) >= 0 && time_now_s() < end_s)
            usleep(500);
    }
    return NULL;
}

static void watched(cluster_t *c, void *ctx)
{
    pthread_t thread;
    bool looks = cluster_rank(c) == 0;
    if (looks) CHECK(pthread_create(&thread, NULL, look, c) == 0);
    be_late(c, ctx);
    if (looks) pthread_join(thread, NULL);
}

static void test_a_rank_says_whom_it_waits_for(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    seen_front = seen_back = -1;
    run_ranks(&o, 2, 0, watched, NULL);
    assert_int_equal(seen_front, 1);
    assert_int_equal(seen_back, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_one_spelling),
        cmocka_unit_test(test_lines_come_in_pieces),
        cmocka_unit_test(test_the_first_that_dies_is_named),
        cmocka_unit_test(test_ends_of_two_nodes_in_one_turn),
        cmocka_unit_test(test_a_node_that_nobody_came_from),
        cmocka_unit_test(test_the_kernel_knows_when_an_end_came),
        cmocka_unit_test(test_silence_is_no_waiting),
        cmocka_unit_test(test_who_hangs_is_at_the_end_of_waiting),
        cmocka_unit_test(test_who_never_came_is_named),
        cmocka_unit_test(test_stragglers_and_what_is_learned),
        cmocka_unit_test(test_the_step_of_a_loss),
        cmocka_unit_test(test_work_is_lost_once),
        cmocka_unit_test(test_work_that_is_long_past),
        cmocka_unit_test(test_faults_are_read),
        cmocka_unit_test(test_lists_of_nodes_unfold),
        cmocka_unit_test(test_a_rank_says_whom_it_waits_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
