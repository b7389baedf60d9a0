/* test_cluster_group.c: sums are the same bits as added in the order of the ranks, on every member,
 * for any size; gathers, exchanges, messages and agreement bring what they should; work in the
 * background goes on beside the foreground; an error of one message sticks and names the rank. */
#include "test_cmocka.h"
#include "test_cluster_threads.h"

#include "compute/compute.h"

/* Values whose sum depends on the order: of different sizes and signs. */
static float value(int rank, size_t i)
{
    double x = rng_normal(7, (uint64_t)rank, i);
    return (float)(x * exp(6 * rng_normal(8, (uint64_t)rank, i)));
}

static float sum_in_order(int size, size_t i)
{
    float sum = value(0, i);
    for (int r = 1; r < size; r++)
        sum += value(r, i);
    return sum;
}

static const size_t lengths[] = {1, 5, 64, 4096, 4097, 5000, 50001};

static void sum_f32(cluster_t *c, void *ctx)
{
    (void)ctx;
    int rank = cluster_rank(c), size = cluster_size(c);
    for (size_t k = 0; k < ARRAY_LEN(lengths); k++) {
        size_t n = lengths[k];
        float *x = mem_alloc((n + 1) * sizeof(float));
        for (size_t i = 0; i < n; i++)
            x[i] = value(rank, i);
        x[n] = 42;
        CHECK(group_sum(group_world(c), x, n, GROUP_F32, NULL) == 0);
        for (size_t i = 0; i < n; i++) {
            float want = sum_in_order(size, i);
            CHECK_MSG(memcmp(&x[i], &want, sizeof(want)) == 0, "n %zu, i %zu", n, i);
        }
        CHECK(x[n] == 42);
        mem_free(x);
    }
}

static void sum_other_types(cluster_t *c, void *ctx)
{
    (void)ctx;
    int rank = cluster_rank(c), size = cluster_size(c);
    enum { N = 20000 };
    double *x = mem_alloc(N * sizeof(*x));
    bf16_t *y = mem_alloc(N * sizeof(*y));
    for (size_t i = 0; i < N; i++) {
        x[i] = (double)value(rank, i) / 3;
        y[i] = bf16_store(value(rank, i));
    }
    CHECK(group_sum(group_world(c), x, N, GROUP_F64, NULL) == 0);
    CHECK(group_sum(group_world(c), y, N, GROUP_BF16, NULL) == 0);
    for (size_t i = 0; i < N; i++) {
        double want = (double)value(0, i) / 3;
        float low = bf16_load(bf16_store(value(0, i)));
        for (int r = 1; r < size; r++) {
            want += (double)value(r, i) / 3;
            low += bf16_load(bf16_store(value(r, i)));
        }
        CHECK(x[i] == want);
        CHECK(y[i] == bf16_store(low));
    }
    mem_free(x);
    mem_free(y);
}

static void test_sums_are_in_the_order_of_ranks(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 4, 7};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct office o = {.dead = -1};
        run_ranks(&o, sizes[i], 0, sum_f32, NULL);
        run_ranks(&o, sizes[i], 0, sum_other_types, NULL);
    }
}

/* Parts of different lengths, one of them empty. */
static void reduce_and_gather(cluster_t *c, void *ctx)
{
    (void)ctx;
    int rank = cluster_rank(c), size = cluster_size(c);
    size_t bounds[5] = {0, 150000, 150000, 150100, 290000};
    size_t n = bounds[size];
    float *x = mem_alloc(n * sizeof(*x));
    for (size_t i = 0; i < n; i++)
        x[i] = value(rank, i);
    CHECK(group_reduce(group_world(c), x, bounds, GROUP_F32, NULL) == 0);
    for (size_t i = 0; i < n; i++) {
        bool mine = i >= bounds[rank] && i < bounds[rank + 1];
        CHECK(x[i] == (mine ? sum_in_order(size, i) : value(rank, i)));
    }
    CHECK(group_gather(group_world(c), x, bounds, GROUP_F32, NULL) == 0);
    for (size_t i = 0; i < n; i++)
        CHECK(x[i] == sum_in_order(size, i));
    mem_free(x);
}

static void test_reduce_and_gather(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 4, 0, reduce_and_gather, NULL);
}

/* Rank r sends 10 r + p values of 100 r + p to rank p. */
static void exchange(cluster_t *c, void *ctx)
{
    (void)ctx;
    enum { R = 4, MOST = 64 * R };
    int rank = cluster_rank(c);
    size_t send_at[R + 1] = {0}, recv_at[R + 1] = {0};
    int32_t send[MOST], recv[MOST];
    for (int p = 0; p < R; p++) {
        size_t out = (size_t)(10 * rank + p), in = (size_t)(10 * p + rank);
        for (size_t i = 0; i < out; i++)
            send[send_at[p] / 4 + i] = 100 * rank + p;
        send_at[p + 1] = send_at[p] + 4 * out;
        recv_at[p + 1] = recv_at[p] + 4 * in;
    }
    struct group_exchange x = {send, send_at, recv, recv_at};
    CHECK(group_exchange(group_world(c), &x, NULL) == 0);
    for (int p = 0; p < R; p++) {
        for (size_t i = recv_at[p] / 4; i < recv_at[p + 1] / 4; i++)
            CHECK(recv[i] == 100 * p + rank);
    }
}

/* Round the ring, through groups of two, and from a root; the largest of what each thinks. */
static void messages(cluster_t *c, void *ctx)
{
    (void)ctx;
    int rank = cluster_rank(c), size = cluster_size(c), value = -1;
    group_t *w = group_world(c);
    if (rank > 0) CHECK(group_recv(w, rank - 1, &value, sizeof(value), NULL) == 0);
    value++;
    if (rank < size - 1) CHECK(group_send(w, rank + 1, &value, sizeof(value), NULL) == 0);
    CHECK(value == rank);

    int pair[2] = {rank / 2 * 2, rank / 2 * 2 + 1};
    group_t *g = group_new(c, "pair", pair, 2);
    double x = 1 + rank;
    CHECK(group_size(g) == 2 && group_rank(g) == rank % 2);
    CHECK(group_sum(g, &x, 1, GROUP_F64, NULL) == 0);
    CHECK(x == 2 * pair[0] + 3);
    group_free(g);

    int64_t verdict[2] = {rank == 2 ? 5 : 0, -rank};
    CHECK(group_agree(w, verdict, 2, NULL) == 0);
    CHECK(verdict[0] == 5 && verdict[1] == 0);
    char text[100000];
    memset(text, rank == 3 ? 'x' : 'y', sizeof(text));
    CHECK(group_broadcast(w, 3, text, sizeof(text), NULL) == 0);
    for (size_t i = 0; i < sizeof(text); i++)
        CHECK(text[i] == 'x');
    CHECK(group_barrier(w, NULL) == 0);
}

static void test_exchange_and_messages(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 4, 0, exchange, NULL);
    run_ranks(&o, 4, 0, messages, NULL);
    o.delay_s = 2e-3; /* messages under way longer than a waiting rank spins */
    run_ranks(&o, 4, 0, messages, NULL);
}

/* Buckets are summed in the background while the foreground uses the same group; nothing is mixed
 * up, and every result is as it is alone. */
static void background(cluster_t *c, void *ctx)
{
    (void)ctx;
    enum { BUCKETS = 8, N = 30000 };
    int rank = cluster_rank(c), size = cluster_size(c);
    struct group_ticket t[BUCKETS];
    float *x = mem_alloc(BUCKETS * N * sizeof(*x));
    for (size_t i = 0; i < BUCKETS * N; i++)
        x[i] = value(rank, i);
    for (size_t b = 0; b < BUCKETS; b++) {
        t[b] = (struct group_ticket){.group = group_world(c),
                                     .work = GROUP_WORK_SUM,
                                     .x = x + b * N,
                                     .n = N,
                                     .dtype = GROUP_F32};
        group_start(&t[b]);
        int64_t seen = (int64_t)b * 10 + rank;
        CHECK(group_agree(group_world(c), &seen, 1, NULL) == 0);
        CHECK(seen == (int64_t)b * 10 + size - 1);
    }
    for (size_t b = 0; b < BUCKETS; b++)
        CHECK(group_wait(&t[b], NULL) == 0);
    for (size_t i = 0; i < BUCKETS * N; i++)
        CHECK(x[i] == sum_in_order(size, i));
    mem_free(x);
}

static void test_background(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 3, 0, background, NULL);
    run_ranks(&o, 1, 0, background, NULL);
}

/* ------------------------------------------------------------------ errors */

static atomic_int named, silent;

static void with_a_dead_rank(cluster_t *c, void *ctx)
{
    (void)ctx;
    struct error e = {0};
    float x[3] = {1, 2, 3};
    if (cluster_rank(c) == 1) return; /* never calls */
    int rc = group_sum(group_world(c), x, 3, GROUP_F32, &e);
    if (rc < 0 && strstr(e.text, "for rank 1") && strstr(e.text, "a sum has waited 0.2 s"))
        atomic_fetch_add(&named, 1);
    struct error again = {0};
    double start_s = time_now_s();
    rc = group_agree(group_world(c), &(int64_t){1}, 1, &again);
    if (rc < 0 && strcmp(e.text, again.text) == 0 && time_now_s() - start_s < 0.1)
        atomic_fetch_add(&silent, 1);
}

static void test_a_dead_rank_is_named(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 3, 0.2, with_a_dead_rank, NULL);
    assert_int_equal(atomic_load(&named), 2);
    assert_int_equal(atomic_load(&silent), 2); /* the error stuck, without another wait */
}

static atomic_int refused;

static void with_other_sizes(cluster_t *c, void *ctx)
{
    (void)ctx;
    struct error e = {0};
    uint8_t x[64] = {0};
    group_t *w = group_world(c);
    int rc = cluster_rank(c) == 0 ? group_send(w, 1, x, 24, &e) : group_recv(w, 0, x, 32, &e);
    if (rc < 0 && strstr(e.text, "24 bytes arrived where 32 were expected"))
        atomic_fetch_add(&refused, 1);
}

static void test_sizes_must_agree(void **state)
{
    (void)state;
    struct office o = {.dead = -1};
    run_ranks(&o, 2, 1, with_other_sizes, NULL);
    assert_int_equal(atomic_load(&refused), 1);
}

/* ------------------------------------------------------------------ launchers */

static void forget_launchers(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE",
                                        "OMPI_COMM_WORLD_RANK",
                                        "PMIX_RANK",
                                        "PMI_RANK",
                                        "PMI_SIZE",
                                        "PMI_FD",
                                        "SLURM_STEP_ID",
                                        "SLURM_PROCID",
                                        "SLURM_NTASKS",
                                        "SLURM_STEP_NUM_TASKS",
                                        "COLOSSUS_MPI"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        unsetenv(names[i]);
}

static void test_launchers_are_known(void **state)
{
    (void)state;
    struct cluster_launch l;
    struct error e = {0};
    cluster_t *c = NULL;
    forget_launchers();
    cluster_find_launch(&l);
    assert_null(l.mpi);
    assert_int_equal(l.size, 1);
    assert_int_equal(cluster_open(NULL, &c, &e), 0);
    assert_int_equal(cluster_size(c), 1);
    cluster_close(c);

    setenv("PMI_RANK", "2", 1);
    setenv("PMI_SIZE", "5", 1);
    cluster_find_launch(&l);
    assert_string_equal(l.mpi, "mpich");
    assert_int_equal(l.rank, 2);
    assert_int_equal(l.size, 5);

    setenv("PMI_SIZE", "1", 1); /* one process needs no MPI, also under a launcher */
    setenv("PMI_RANK", "0", 1);
    cluster_find_launch(&l);
    assert_null(l.mpi);

    forget_launchers();
    setenv("SLURM_STEP_ID", "0", 1);
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_true(cluster_open(NULL, &c, &e) < 0);
    assert_non_null(strstr(e.text, "srun started 4 tasks"));
    assert_non_null(strstr(e.hint, "--mpi=pmix"));
    setenv("COLOSSUS_MPI", "none", 1); /* each for itself, as the user says */
    assert_int_equal(cluster_open(NULL, &c, &e), 0);
    cluster_close(c);

    setenv("COLOSSUS_MPI", "/nowhere/x.so", 1);
    assert_true(cluster_open(NULL, &c, &e) < 0);
    assert_non_null(strstr(e.text, "COLOSSUS_MPI is '/nowhere/x.so'"));
    forget_launchers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums_are_in_the_order_of_ranks),
        cmocka_unit_test(test_reduce_and_gather),
        cmocka_unit_test(test_exchange_and_messages),
        cmocka_unit_test(test_background),
        cmocka_unit_test(test_a_dead_rank_is_named),
        cmocka_unit_test(test_sizes_must_agree),
        cmocka_unit_test(test_launchers_are_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
