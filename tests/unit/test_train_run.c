/* test_train_run.c: whole runs of a tiny model: the same weights whatever happens on the way, bad
 * updates, what the files say, and who may go on in a folder. */
#include "test_train_util.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *run_dir(struct fixture *f, const char *name)
{
    return arena_printf(&f->arena, "%s/runs/%s", f->dir, name);
}

static const char *new_yaml(struct fixture *f)
{
    return train_util_yaml(f, train_util_dataset(f, "data", 1));
}

/* A run of that name with up to three more settings. */
static struct train_util_run run_of(const char *yaml, const char *name, const char *a,
                                    const char *b, const char *c)
{
    return (struct train_util_run){.yaml = yaml, .set = {name, a, b ? b : NULL, b ? c : NULL}};
}

/* Metrics hold every step from 1 to n once and in order. */
static void assert_steps(struct fixture *f, const char *run, int n)
{
    json_t *lines = train_util_lines(f, run, "metrics.jsonl");
    size_t i;
    const json_t *o;
    assert_int_equal(json_array_size(lines), n);
    json_array_foreach(lines, i, o)
    {
        assert_int_equal(json_integer_value(json_object_get(o, "step")), i + 1);
    }
    json_decref(lines);
}

static void assert_event(struct fixture *f, const char *run, const char *name, size_t times)
{
    json_t *events = train_util_lines(f, run, "events.jsonl");
    size_t n = train_util_count_events(events, name);
    if (n != times)
        fail_msg("event '%s' stands %zu times in '%s', wanted %zu", name, n, run, times);
    json_decref(events);
}

/* ------------------------------------------------------------------ the same weights */

static void check_resume(struct fixture *f, const char *yaml, const char *a, const char *b)
{
    struct train_util_run whole = run_of(yaml, "name=whole", a, b, NULL);
    struct train_util_run part = run_of(yaml, "name=part", "train.max_steps=5", a, b);
    struct train_util_run rest = run_of(yaml, "name=part", a, b, NULL);
    assert_ok(f, train_util_try(f, &whole));
    assert_ok(f, train_util_try(f, &part));
    assert_ok(f, train_util_try(f, &rest));
    train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "part"));
    assert_steps(f, run_dir(f, "part"), 12);
    assert_event(f, run_dir(f, "part"), "resumed", 1);
    assert_ok(f, file_remove_tree(run_dir(f, "whole"), &f->e));
    assert_ok(f, file_remove_tree(run_dir(f, "part"), &f->e));
}

static void test_resume_gives_the_same_weights(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    check_resume(f, yaml, "optimizer.kind=adamw", NULL);
    check_resume(f, yaml, "optimizer.kind=muon", "train.precision=bf16");
    check_resume(f, yaml, "balance.kind=bias", "balance.bias_rate=0.05");
    check_resume(f, yaml, "balance.kind=quantile", "balance.quantile_rate=0.7");
    check_resume(f, yaml, "schedule.kind=wsd", "data.document_mask=true");
}

static void test_threads_give_the_same_weights(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    static const char *const settings[][2] = {{"optimizer.kind=adamw", "train.precision=fp32"},
                                              {"optimizer.kind=muon", "train.precision=bf16"}};
    for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
        const char *a = settings[i][0], *b = settings[i][1];
        struct train_util_run one = run_of(yaml, "name=one", "train.threads=1", a, b);
        struct train_util_run two = run_of(yaml, "name=two", "train.threads=2", a, b);
        struct train_util_run three = run_of(yaml, "name=three", "train.threads=3", a, b);
        assert_ok(f, train_util_try(f, &one));
        assert_ok(f, train_util_try(f, &two));
        assert_ok(f, train_util_try(f, &three));
        train_util_assert_same(f, run_dir(f, "one"), run_dir(f, "two"));
        train_util_assert_same(f, run_dir(f, "one"), run_dir(f, "three"));
        assert_ok(f, file_remove_tree(fixture_path(f, "runs"), &f->e));
    }
}

/* Raises a signal, or ends the process without a word, when a step is done. */
struct at_step {
    int64_t step;
    int signal; /* 0: _exit */
};

static void act_at_step(void *ctx, int64_t step)
{
    const struct at_step *a = ctx;
    if (step != a->step) return;
    if (a->signal == 0) _exit(0);
    raise(a->signal);
}

static void test_sigterm_saves_and_resumes(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    static const char *const said[] = {"SIGTERM after step 7", "SIGINT after step 7",
                                       "SIGHUP after step 7"};
    signal(SIGHUP, SIG_DFL); /* under nohup a run does not heed it */
    struct train_util_run whole = run_of(yaml, "name=whole", NULL, NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        struct at_step at = {7, signals[i]};
        struct train_hooks hooks = {.ctx = &at, .after_step = act_at_step};
        struct train_util_run part = run_of(yaml, "name=part", NULL, NULL, NULL);
        part.options.hooks = &hooks;
        assert_int_equal(train_util_try(f, &part), ERROR_AGAIN);
        assert_non_null(strstr(f->e.text, said[i]));
        assert_event(f, run_dir(f, "part"), "stopping", 1);
        part.options.hooks = NULL;
        assert_ok(f, train_util_try(f, &part));
        train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "part"));
        assert_steps(f, run_dir(f, "part"), 12);
        assert_ok(f, file_remove_tree(run_dir(f, "part"), &f->e));
    }
}

static void raise_in_step(void *ctx, int64_t step, float *gradients, size_t count)
{
    (void)gradients;
    (void)count;
    if (step == *(const int64_t *)ctx) raise(SIGTERM);
}

/* Everything that a run's files say, but for the checkpoints. */
static char *said_by(struct fixture *f, const char *run)
{
    static const char *const names[] = {"run.yaml", "metrics.jsonl", "events.jsonl"};
    char *all = arena_strdup(&f->arena, ""), *data;
    size_t size;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_ok(f, file_read(file_join(&f->arena, run, names[i]), (size_t)1 << 24, &data, &size,
                               &f->e));
        all = arena_printf(&f->arena, "%s%s", all, data);
        mem_free(data);
    }
    return all;
}

static double real_of(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

/* A signal in the last step leaves no time for the last validation: the run is not over, the next
 * call makes up for it, and the one after that has nothing to do but to say the figures. */
static void test_last_validation_is_made_up(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    int64_t last = 12;
    struct train_hooks hooks = {.ctx = &last, .after_gradients = raise_in_step};
    struct train_util_run whole = run_of(yaml, "name=whole", NULL, NULL, NULL);
    struct train_util_run part = run_of(yaml, "name=part", NULL, NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    part.options.hooks = &hooks;
    assert_int_equal(train_util_try(f, &part), ERROR_AGAIN);
    assert_event(f, run_dir(f, "part"), "run_finished", 0);
    assert_steps(f, run_dir(f, "part"), 12);
    part.options.hooks = NULL;
    assert_ok(f, train_util_try(f, &part));
    assert_steps(f, run_dir(f, "part"), 12);
    assert_event(f, run_dir(f, "part"), "run_finished", 1);
    json_t *a = train_util_lines(f, run_dir(f, "whole"), "metrics.jsonl");
    json_t *b = train_util_lines(f, run_dir(f, "part"), "metrics.jsonl");
    double want = real_of(json_array_get(a, 11), "valid_bits_per_byte");
    assert_true(real_of(json_array_get(b, 11), "valid_bits_per_byte") == want);
    json_decref(a);
    json_decref(b);

    char *before = said_by(f, run_dir(f, "part")), text[1024] = "";
    part.options.json = true;
    part.options.out = tmpfile();
    assert_ok(f, train_util_try(f, &part));
    assert_string_equal(said_by(f, run_dir(f, "part")), before);
    rewind(part.options.out);
    assert_true(fread(text, 1, sizeof(text) - 1, part.options.out) > 0);
    fclose(part.options.out);
    json_t *summary;
    assert_ok(f, json_parse(text, strlen(text), "summary", &summary, &f->e));
    assert_true(real_of(summary, "valid_bits_per_byte") == want);
    assert_true(real_of(summary, "loss") > 0);
    json_decref(summary);
}

/* Runs in a child that ends at a step as if it had been killed. */
static void run_and_die(struct fixture *f, const struct train_util_run *r, int64_t step)
{
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct at_step at = {step, 0};
        struct train_hooks hooks = {.ctx = &at, .after_step = act_at_step};
        struct train_util_run dying = *r;
        dying.options.hooks = &hooks;
        train_util_try(f, &dying);
        _exit(1); /* it did not get as far as that step */
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void test_sudden_death_loses_nothing(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run whole = run_of(yaml, "name=whole", NULL, NULL, NULL);
    struct train_util_run part = run_of(yaml, "name=part", NULL, NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    run_and_die(f, &part, 3); /* before there is a checkpoint */
    run_and_die(f, &part, 9); /* saving step 8 has waited until step 4 was on disk */
    assert_ok(f, train_util_try(f, &part));
    train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "part"));
    assert_steps(f, run_dir(f, "part"), 12);
    assert_event(f, run_dir(f, "part"), "run_started", 2);
    assert_event(f, run_dir(f, "part"), "resumed", 1);
    assert_event(f, run_dir(f, "part"), "run_finished", 1);
}

static void test_damaged_checkpoint_is_passed_over(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run whole = run_of(yaml, "name=whole", NULL, NULL, NULL);
    struct train_util_run part = run_of(yaml, "name=part", "train.max_steps=9", NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    assert_ok(f, train_util_try(f, &part));
    char *path = arena_printf(&f->arena, "%s/checkpoints/step-00000009/weights.safetensors",
                              run_dir(f, "part"));
    char *data;
    size_t size;
    assert_ok(f, file_read(path, (size_t)1 << 30, &data, &size, &f->e));
    data[size / 2] ^= 4;
    assert_ok(f, file_write(path, data, size, &f->e));
    mem_free(data);
    part = run_of(yaml, "name=part", NULL, NULL, NULL);
    setenv("COLOSSUS_LOG", "error", 1); /* the warning is expected */
    assert_ok(f, train_util_try(f, &part));
    unsetenv("COLOSSUS_LOG");
    train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "part"));
    assert_steps(f, run_dir(f, "part"), 12);
    assert_event(f, run_dir(f, "part"), "checkpoint_rejected", 1);
}

/* ------------------------------------------------------------------ bad updates */

struct spoil {
    int64_t first, last; /* steps */
};

static void spoil_gradients(void *ctx, int64_t step, float *gradients, size_t count)
{
    const struct spoil *s = ctx;
    if (step >= s->first && step <= s->last) gradients[count / 2] = NAN;
}

static void test_bad_update_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct spoil spoil = {6, 6};
    struct train_hooks hooks = {.ctx = &spoil, .after_gradients = spoil_gradients};
    struct train_util_run before = run_of(yaml, "name=before", "train.max_steps=5", NULL, NULL);
    struct train_util_run after = run_of(yaml, "name=after", "train.max_steps=6", NULL, NULL);
    after.options.hooks = &hooks;
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_util_try(f, &before));
    assert_ok(f, train_util_try(f, &after));
    unsetenv("COLOSSUS_LOG");
    train_util_assert_same(f, run_dir(f, "before"), run_dir(f, "after"));
    assert_event(f, run_dir(f, "after"), "step_skipped", 1);
    json_t *lines = train_util_lines(f, run_dir(f, "after"), "metrics.jsonl");
    const json_t *bad = json_array_get(lines, 5);
    assert_non_null(json_object_get(bad, "skipped"));
    assert_true(json_is_null(json_object_get(bad, "grad_norm")));
    assert_null(json_object_get(json_array_get(lines, 4), "skipped"));
    json_decref(lines);
}

static void test_too_many_bad_updates_end_the_run(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct spoil spoil = {3, 100};
    struct train_hooks hooks = {.ctx = &spoil, .after_gradients = spoil_gradients};
    struct train_util_run r = run_of(yaml, "name=bad", "train.max_skips=4", NULL, NULL);
    r.options.hooks = &hooks;
    setenv("COLOSSUS_LOG", "error", 1);
    assert_int_equal(train_util_try(f, &r), ERROR_NO_REQUEUE);
    unsetenv("COLOSSUS_LOG");
    assert_non_null(strstr(f->e.text, "4 updates in a row"));
    assert_event(f, run_dir(f, "bad"), "step_skipped", 4);
    assert_event(f, run_dir(f, "bad"), "run_failed", 1);
    assert_non_null(strstr(f->e.hint, "no checkpoint is from before that"));
    assert_non_null(strstr(f->e.hint, "--restart --set optimizer.lr=0.0006"));
    r.set[0] = "name=worse";
    r.set[2] = "checkpoint.every=0";
    setenv("COLOSSUS_LOG", "error", 1);
    assert_int_equal(train_util_try(f, &r), ERROR_NO_REQUEUE);
    unsetenv("COLOSSUS_LOG");
    assert_null(strstr(f->e.hint, "--go-back"));
}

static void assert_checkpoints(struct fixture *f, const char *run, const char *want)
{
    struct str have = {0};
    int64_t *steps;
    size_t n;
    assert_ok(f, ckpt_list(run, &f->arena, &steps, &n, &f->e));
    for (size_t i = 0; i < n; i++)
        str_printf(&have, "%s%lld", i ? " " : "", (long long)steps[i]);
    assert_string_equal(have.data ? have.data : "", want);
    str_fini(&have);
}

/* Checkpoints that are saved while updates are skipped drive none away that is from before; the run
 * names the last good one, and goes on from there when it is told to. */
static void test_a_streak_keeps_the_last_good_checkpoint(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct spoil spoil = {6, 100};
    struct train_hooks hooks = {.ctx = &spoil, .after_gradients = spoil_gradients};
    struct train_util_run r = {.yaml = yaml,
                               .set = {"name=bad", "train.max_skips=6", "checkpoint.every=2"},
                               .options.hooks = &hooks};
    setenv("COLOSSUS_LOG", "error", 1);
    assert_int_equal(train_util_try(f, &r), ERROR_NO_REQUEUE);
    unsetenv("COLOSSUS_LOG");
    assert_checkpoints(f, run_dir(f, "bad"), "10 4 2");
    assert_non_null(strstr(f->e.hint, "the last good checkpoint is of step 4, to go on from there: "
                                      "colossus train run.yaml --run-dir "));
    /* it names the run that failed, and what was given for it */
    assert_non_null(strstr(f->e.hint, "/bad --set train.max_skips=6 --set checkpoint.every=2 "
                                      "--go-back 4 --allow-changes --set optimizer."));
    json_t *events = train_util_lines(f, run_dir(f, "bad"), "events.jsonl");
    const json_t *last = json_array_get(events, json_array_size(events) - 1);
    assert_string_equal(json_string_value(json_object_get(last, "event")), "run_failed");
    assert_int_equal(json_integer_value(json_object_get(last, "last_good_step")), 4);
    json_decref(events);

    struct train_util_run whole = run_of(yaml, "name=whole", "checkpoint.every=2", NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    r.options = (struct train_options){.go_back = 6};
    assert_error(f, train_util_try(f, &r), "there is no checkpoint of step 6");
    r.options.go_back = 4;
    assert_ok(f, train_util_try(f, &r));
    assert_event(f, run_dir(f, "bad"), "went_back", 1);
    assert_checkpoints(f, run_dir(f, "bad"), "12 10");
    train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "bad"));
    assert_steps(f, run_dir(f, "bad"), 12);
}

/* A streak that ends: what was saved in it goes, and good ones are turned over as ever. */
static void test_after_a_streak(void **state)
{
    struct fixture *f = *state;
    struct spoil spoil = {4, 7};
    struct train_hooks hooks = {.ctx = &spoil, .after_gradients = spoil_gradients};
    struct train_util_run r =
        run_of(new_yaml(f), "name=over", "checkpoint.every=1", "train.max_steps=7", NULL);
    r.options.hooks = &hooks;
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_util_try(f, &r));
    assert_checkpoints(f, run_dir(f, "over"), "7 3 2");
    r.set[2] = "train.max_steps=8";
    assert_ok(f, train_util_try(f, &r));
    assert_checkpoints(f, run_dir(f, "over"), "8 3");
    r.set[2] = "train.max_steps=9";
    assert_ok(f, train_util_try(f, &r));
    unsetenv("COLOSSUS_LOG");
    assert_checkpoints(f, run_dir(f, "over"), "9 8");
}

/* ------------------------------------------------------------------ what is gone */

struct gone {
    int64_t step;
    const char *from, *to;
};

static void rename_at_step(void *ctx, int64_t step)
{
    const struct gone *g = ctx;
    if (step == g->step) assert_int_equal(rename(g->from, g->to), 0);
}

static void test_data_that_is_gone(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    static const char *const shards[] = {"train-00000.bin", "valid-00000.bin"};
    static const int64_t saved[] = {6, 10}; /* 10: the next validation after step 6 */
    struct train_util_run whole = run_of(yaml, "name=whole", "checkpoint.every=0", NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    for (size_t i = 0; i < ARRAY_LEN(shards); i++) {
        char *shard = file_join(&f->arena, fixture_path(f, "data"), shards[i]);
        char *hidden = fixture_path(f, "hidden");
        struct gone gone = {6, shard, hidden};
        struct train_hooks hooks = {.ctx = &gone, .after_step = rename_at_step};
        const char *name = arena_printf(&f->arena, "name=gone-%zu", i);
        struct train_util_run r = run_of(yaml, name, "checkpoint.every=0", NULL, NULL);
        r.options.hooks = &hooks;
        assert_error(f, train_util_try(f, &r), shards[i]);
        assert_non_null(strstr(f->e.hint, arena_printf(&f->arena, "the state of step %lld is saved",
                                                       (long long)saved[i])));
        const char *run = run_dir(f, name + 5);
        assert_event(f, run, "run_failed", 1);
        assert_checkpoints(f, run, arena_printf(&f->arena, "%lld", (long long)saved[i]));
        assert_steps(f, run, (int)saved[i]);
        assert_int_equal(rename(hidden, shard), 0);
        r.options.hooks = NULL;
        assert_ok(f, train_util_try(f, &r));
        train_util_assert_same(f, run_dir(f, "whole"), run);
    }
}

static void test_checkpoints_that_are_gone(void **state)
{
    struct fixture *f = *state;
    struct train_util_run r = run_of(new_yaml(f), "name=gone", NULL, NULL, NULL);
    const char *run = run_dir(f, "gone"), *root = file_join(&f->arena, run, "checkpoints");
    const char *aside = run_dir(f, "gone.before-1"), *hidden = fixture_path(f, "hidden");
    assert_ok(f, train_util_try(f, &r));
    assert_int_equal(rename(root, hidden), 0);
    assert_error(f, train_util_try(f, &r), "checkpoints' is not there");
    assert_non_null(strstr(f->e.hint, "--restart"));
    assert_steps(f, run, 12);
    r.options.dry_run = true;
    assert_error(f, train_util_try(f, &r), "checkpoints' is not there");
    r.options.dry_run = false;
    assert_ok(f, file_make_dirs(root, &f->e));
    assert_error(f, train_util_try(f, &r), "checkpoints' is empty");
    assert_int_equal(rmdir(root), 0);
    assert_int_equal(rename(hidden, root), 0);
    assert_ok(f, train_util_try(f, &r)); /* put back: there is nothing left to do */

    r.options.restart = true;
    assert_ok(f, train_util_try(f, &r));
    assert_steps(f, run, 12);
    assert_steps(f, aside, 12);
    train_util_assert_same(f, run, aside);
    assert_event(f, run, "restarted", 1);
    assert_event(f, run, "resumed", 0);

    /* Without a checkpoint ever saved there is nothing to miss. */
    assert_ok(f, file_remove_tree(root, &f->e));
    assert_ok(f, file_make_dirs(root, &f->e));
    static const char started[] = "{\"event\":\"run_started\",\"step\":0}\n";
    assert_ok(f, file_write(file_join(&f->arena, run, "events.jsonl"), started, sizeof(started) - 1,
                            &f->e));
    r.options.restart = false;
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_util_try(f, &r));
    unsetenv("COLOSSUS_LOG");
    assert_steps(f, run, 12);
}

/* ------------------------------------------------------------------ what is written */

static void test_no_allocation_after_the_second_step(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    static const char *const kinds[] = {"optimizer.kind=adamw", "optimizer.kind=muon"};
    for (size_t k = 0; k < ARRAY_LEN(kinds); k++) {
        struct train_util_run r =
            run_of(yaml, "name=counted", kinds[k], "checkpoint.every=5", "log.every=3");
        assert_ok(f, train_util_try(f, &r));
        json_t *lines = train_util_lines(f, run_dir(f, "counted"), "metrics.jsonl");
        size_t i;
        const json_t *o;
        json_array_foreach(lines, i, o)
        {
            int64_t n = json_integer_value(json_object_get(o, "allocations"));
            if (i >= 2 && n != 0) fail_msg("%lld allocations in step %zu", (long long)n, i + 1);
        }
        json_decref(lines);
        assert_ok(f, file_remove_tree(run_dir(f, "counted"), &f->e));
    }
}

/* Validation counts every token once and divides by the bytes of the text. */
static void test_validation(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=valid", NULL, NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    dataset_t *d;
    assert_ok(f, dataset_open(fixture_path(f, "data"), "valid", 0, true, &d, &f->e));
    json_t *lines = train_util_lines(f, run_dir(f, "valid"), "metrics.jsonl");
    for (size_t i = 0; i < 12; i++) {
        const json_t *o = json_array_get(lines, i);
        bool due = i + 1 == 5 || i + 1 == 10 || i + 1 == 12;
        assert_int_equal(json_object_get(o, "valid_nll") != NULL, due);
        if (!due) continue;
        double want = real_of(o, "valid_nll") * (double)dataset_info(d)->tokens / M_LN2 /
                      (double)dataset_info(d)->bytes;
        assert_true(fabs(real_of(o, "valid_bits_per_byte") - want) < 1e-9 * want);
    }
    /* it learns: bytes of eight words cost less than at first */
    assert_true(real_of(json_array_get(lines, 11), "valid_bits_per_byte") <
                real_of(json_array_get(lines, 4), "valid_bits_per_byte"));
    json_decref(lines);
    dataset_close(d);
}

static void test_part_of_the_validation_split(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=valid", "data.valid_tokens=100", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    dataset_t *d;
    uint32_t ids[100];
    int bytes = 0;
    assert_ok(f, dataset_open(fixture_path(f, "data"), "valid", 0, true, &d, &f->e));
    assert_ok(f, dataset_read(d, 0, 100, ids, &f->e));
    for (int i = 0; i < 100; i++)
        bytes += ids[i] != dataset_info(d)->eos; /* the tokenizer has a token for every byte */
    json_t *lines = train_util_lines(f, run_dir(f, "valid"), "metrics.jsonl");
    const json_t *o = json_array_get(lines, 11);
    double want = real_of(o, "valid_nll") * 100 / M_LN2 / bytes;
    assert_true(fabs(real_of(o, "valid_bits_per_byte") - want) < 1e-9 * want);
    json_decref(lines);
    dataset_close(d);
}

static void test_metrics_tell_speed_and_load(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=told", "log.peak_seconds=0.05", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    json_t *lines = train_util_lines(f, run_dir(f, "told"), "metrics.jsonl");
    const json_t *o = json_array_get(lines, 11), *load = json_object_get(o, "load");
    assert_true(fabs(real_of(o, "tokens_per_s") * real_of(o, "step_s") - 96) < 1e-3);
    assert_true(real_of(o, "mfu") > 0 &&
                isfinite(real_of(o, "mfu"))); /* a busy machine measures any peak */
    assert_int_equal(real_of(o, "tokens"), 12 * 96);
    assert_in_range((int)(1000 * real_of(o, "load_entropy")), 1, 1000);
    assert_true(real_of(o, "load_max_mean") >= 1 && real_of(o, "load_max_mean") <= 4);
    assert_true(real_of(o, "valid_load_max_mean") >= 1 && real_of(o, "valid_load_max_mean") <= 4);
    assert_int_equal(json_array_size(load), 2);
    double sum = 0;
    for (size_t i = 0; i < 4; i++)
        sum += json_number_value(json_array_get(json_array_get(load, 1), i));
    assert_true(fabs(sum - 1) < 1e-3);
    json_decref(lines);
    assert_true(file_exists(file_join(&f->arena, run_dir(f, "told"), "loss.svg")));
    assert_true(file_exists(file_join(&f->arena, run_dir(f, "told"), "throughput.svg")));
}

static void test_document_mask_matters(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run off = run_of(yaml, "name=off", "train.max_steps=1", NULL, NULL);
    struct train_util_run on =
        run_of(yaml, "name=on", "train.max_steps=1", "data.document_mask=true", NULL);
    assert_ok(f, train_util_try(f, &off));
    assert_ok(f, train_util_try(f, &on));
    json_t *a = train_util_lines(f, run_dir(f, "off"), "metrics.jsonl");
    json_t *b = train_util_lines(f, run_dir(f, "on"), "metrics.jsonl");
    assert_true(real_of(json_array_get(a, 0), "loss") != real_of(json_array_get(b, 0), "loss"));
    json_decref(a);
    json_decref(b);
}

/* The loss is the cross entropy; the objective has the router's losses too. */
static void test_metrics_tell_the_losses_apart(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r =
        run_of(yaml, "name=apart", "model.router_aux_coef=0.5", "model.router_z_coef=0.25", NULL);
    assert_ok(f, train_util_try(f, &r));
    json_t *lines = train_util_lines(f, run_dir(f, "apart"), "metrics.jsonl");
    const json_t *o = json_array_get(lines, 11);
    double want = real_of(o, "loss") + 0.5 * real_of(o, "aux") + 0.25 * real_of(o, "z");
    assert_true(fabs(real_of(o, "objective") - want) < 1e-6);
    assert_true(real_of(o, "aux") > 0.9 && real_of(o, "z") > 0);
    assert_null(json_object_get(o, "ce"));
    json_decref(lines);
}

static void test_band_of_the_load(void **state)
{
    (void)state;
    struct model_config eight = {.n_experts = 8, .n_experts_used = 2};
    struct model_config four = {.n_experts = 4, .n_experts_used = 2};
    assert_false(train_load_is_unbalanced(&eight, &(struct train_load){1.5, 0.97}));
    assert_false(train_load_is_unbalanced(&eight, &(struct train_load){2.5, 0.81}));
    assert_true(
        train_load_is_unbalanced(&eight, &(struct train_load){2.51, 0.9})); /* half way to 4 */
    assert_true(train_load_is_unbalanced(
        &eight, &(struct train_load){2, 0.67})); /* four of eight serve everything */
    assert_true(train_load_is_unbalanced(&four, &(struct train_load){2, 0.5}));
    assert_false(train_load_is_unbalanced(&four, &(struct train_load){1.4, 0.95}));
}

/* Nothing balances, and a learning rate that lets the router run away: told once after 20 steps, by
 * an event and in the metrics, and counted on when the run is continued. */
static void test_a_collapse_is_told(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = {.yaml = yaml,
                               .set = {"name=collapse", "balance.kind=none", "optimizer.lr=0.1",
                                       "train.tokens=3840", "train.skip_sigma=0",
                                       "train.max_steps=30"}};
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_util_try(f, &r));
    r.set[5] = NULL;
    assert_ok(f, train_util_try(f, &r));
    unsetenv("COLOSSUS_LOG");
    json_t *lines = train_util_lines(f, run_dir(f, "collapse"), "metrics.jsonl");
    int64_t in_row = 0;
    size_t i, told = 0;
    const json_t *o;
    json_array_foreach(lines, i, o)
    {
        bool out = train_load_is_unbalanced(
            &(struct model_config){.n_experts = 4, .n_experts_used = 2},
            &(struct train_load){real_of(o, "load_max_mean"), real_of(o, "load_entropy")});
        in_row = out ? in_row + 1 : 0;
        assert_int_equal(json_integer_value(json_object_get(o, "unbalanced")), in_row);
        told += in_row == 20 || in_row == 40;
    }
    assert_true(told > 0);
    assert_event(f, run_dir(f, "collapse"), "experts_unbalanced", told);
    json_decref(lines);
}

/* ------------------------------------------------------------------ broken lines */

static void put_step(struct train_log *l, int64_t step)
{
    struct train_record r = {
        .step = step, .tokens = 10 * step, .loss = 1, .objective = 1, .aux = NAN, .z = NAN};
    train_log_metrics(l, &r, NULL, 0, 0);
}

static void limit_files_to(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes == RLIM_INFINITY ? limit.rlim_max : bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* What fits of a line before the disk is full is taken back: no later line is joined to it. */
static void test_full_disk_costs_whole_lines(void **state)
{
    struct fixture *f = *state;
    struct train_log l;
    signal(SIGXFSZ, SIG_IGN);
    assert_ok(f, train_log_open(&l, f->dir, 0, stdout, &f->arena, &f->e));
    put_step(&l, 1);
    setenv("COLOSSUS_LOG", "error", 1);
    limit_files_to((rlim_t)l.metrics.end + 40);
    put_step(&l, 2);
    put_step(&l, 3);
    assert_int_equal(l.metrics.lost, 2);
    limit_files_to(RLIM_INFINITY);
    put_step(&l, 4);
    unsetenv("COLOSSUS_LOG");
    assert_int_equal(l.metrics.lost, 0);
    train_log_close(&l);
    json_t *lines = train_util_lines(f, f->dir, "metrics.jsonl");
    assert_int_equal(json_array_size(lines), 2);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 1), "step")), 4);
    json_decref(lines);
}

static void test_broken_lines_are_left_out(void **state)
{
    struct fixture *f = *state;
    struct train_log l;
    fixture_puts(f, "metrics.jsonl",
                 "{\"step\":1,\"tokens\":10,\"ce\":2}\n"
                 "{\"step\":2,\"tok{\"step\":3,\"tokens\":30,\"ce\":2}\n"
                 "{\"step\":4,\"tokens\":40,\"ce\":2}\n"
                 "{\"step\":5,\"tokens\":50,\"ce\":2}\n{\"step\":6");
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_plot(f->dir, NULL, &f->e));
    assert_ok(f, train_log_open(&l, f->dir, 4, stdout, &f->arena, &f->e));
    unsetenv("COLOSSUS_LOG");
    put_step(&l, 5);
    train_log_close(&l);
    json_t *lines = train_util_lines(f, f->dir, "metrics.jsonl");
    assert_int_equal(json_array_size(lines), 3);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 1), "step")), 4);
    assert_null(json_object_get(json_array_get(lines, 1), "loss"));
    assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, 2), "step")), 5);
    json_decref(lines);
}

/* ------------------------------------------------------------------ whose folder */

/* Another batch: tokens go on from where they were, and the run is as long as it was to be. */
static void test_other_batch_keeps_the_tokens(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=batch", "train.max_steps=4", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    r = run_of(yaml, "name=batch", "batch.global_batch=8", NULL, NULL);
    r.options.allow_changes = true;
    assert_ok(f, train_util_try(f, &r));
    json_t *lines = train_util_lines(f, run_dir(f, "batch"), "metrics.jsonl");
    assert_int_equal(json_array_size(lines), 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(real_of(json_array_get(lines, (size_t)i), "tokens"),
                         i < 4 ? 96 * (i + 1) : 384 + 192 * (i - 3));
    json_decref(lines);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r =
        run_of(yaml, "model.n_layers=256", "model.d_model=65536", "model.n_heads=64", NULL);
    r.set[3] = "model.ffn_hidden=65536";
    r.set[4] = "model.n_kv_heads=64";
    assert_error(f, train_util_try(f, &r), "this does not fit");
    assert_false(file_exists(fixture_path(f, "runs")));
}

static void test_other_settings_are_refused(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=mine", "train.max_steps=4", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    r = run_of(yaml, "name=mine", "optimizer.lr=0.5", NULL, NULL);
    assert_error(f, train_util_try(f, &r), "another configuration", "optimizer.lr: 0.002, now 0.5");
    assert_int_equal(f->e.code, ERROR_CONFIG);
    r.options.allow_changes = true;
    assert_ok(f, train_util_try(f, &r));
    assert_event(f, run_dir(f, "mine"), "config_changed", 1);
    r = run_of(yaml, "name=mine", "model.n_layers=3", "optimizer.lr=0.5", NULL);
    r.options.allow_changes = true;
    assert_error(f, train_util_try(f, &r), "model.n_layers: 2, now 3");
    r = run_of(yaml, "name=mine", "optimizer.lr=0.5", NULL, NULL);
    r.options.no_resume = true;
    assert_error(f, train_util_try(f, &r), "exists already");
}

static void test_other_data_are_refused(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=mine", "train.max_steps=4", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    const char *other = train_util_dataset(f, "other", 2);
    r = run_of(yaml, "name=mine", arena_printf(&f->arena, "data.path=%s", other), NULL, NULL);
    assert_error(f, train_util_try(f, &r), "mine", "another dataset");
    assert_int_equal(f->e.code, ERROR_CONFIG);
}

static void test_foreign_folder_is_refused(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    fixture_puts(f, "runs/photos/cat.jpg", "meow");
    struct train_util_run r = run_of(yaml, "name=photos", NULL, NULL, NULL);
    assert_error(f, train_util_try(f, &r), "not the folder of a run");
    assert_true(file_exists(fixture_path(f, "runs/photos/cat.jpg")));
}

static void test_run_folder_alone_continues(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run whole = run_of(yaml, "name=whole", NULL, NULL, NULL);
    struct train_util_run part = run_of(yaml, "name=part", "train.max_steps=5", NULL, NULL);
    assert_ok(f, train_util_try(f, &whole));
    assert_ok(f, train_util_try(f, &part));
    char *data;
    size_t size;
    char *path = file_join(&f->arena, run_dir(f, "part"), "run.yaml");
    assert_ok(f, file_read(path, (size_t)1 << 20, &data, &size, &f->e));
    struct train_util_run rest = {.yaml = data, .set = {"train.max_steps=0"}};
    assert_ok(f, train_util_try(f, &rest));
    train_util_assert_same(f, run_dir(f, "whole"), run_dir(f, "part"));
    mem_free(data);
}

static void test_previews_write_nothing(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    for (int i = 0; i < 4; i++) {
        struct train_util_run r = run_of(yaml, "name=never", NULL, NULL, NULL);
        r.options.plan_only = i < 2;
        r.options.dry_run = i >= 2;
        r.options.json = i % 2;
        r.options.out = tmpfile();
        assert_ok(f, train_util_try(f, &r));
        assert_true(ftell(r.options.out) > 100);
        fclose(r.options.out);
    }
    assert_false(file_exists(fixture_path(f, "runs")));
}

static void test_vocabulary_must_fit(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_util_run r = run_of(yaml, "name=v", "model.vocab_size=100", NULL, NULL);
    assert_error(f, train_util_try(f, &r), "model.vocab_size 100", "257");
    r = run_of(yaml, "name=v", "model.vocab_size=320", "train.max_steps=2", NULL);
    assert_ok(f, train_util_try(f, &r));
    r = run_of(yaml, "name=w", "data.path=nowhere", NULL, NULL);
    assert_error(f, train_util_try(f, &r), "data.path", "nowhere");
    assert_int_equal(f->e.code, ERROR_CONFIG);
}

/* ------------------------------------------------------------------ finding the model again */

static void test_find_model(void **state)
{
    struct fixture *f = *state;
    const char *yaml = new_yaml(f);
    struct train_model_paths p;
    struct train_util_run r = run_of(yaml, "name=found", "train.max_steps=5", NULL, NULL);
    assert_ok(f, train_util_try(f, &r));
    assert_ok(f, train_find_model(run_dir(f, "found"), &f->arena, &p, &f->e));
    assert_int_equal(p.step, 5);
    assert_non_null(strstr(p.tokenizer, "step-00000005/tokenizer.json"));
    char *step_4 = arena_printf(&f->arena, "%s/checkpoints/step-00000004", run_dir(f, "found"));
    assert_ok(f, train_find_model(step_4, &f->arena, &p, &f->e));
    assert_int_equal(p.step, 4);

    /* the newest is damaged: the one before it */
    fixture_puts(f, "runs/found/checkpoints/step-00000005/config.json", "{}");
    setenv("COLOSSUS_LOG", "error", 1);
    assert_ok(f, train_find_model(run_dir(f, "found"), &f->arena, &p, &f->e));
    unsetenv("COLOSSUS_LOG");
    assert_int_equal(p.step, 4);
    assert_error(f, train_find_model(fixture_path(f, "data"), &f->arena, &p, &f->e), "not a model");
    assert_error(f, train_find_model("/nowhere", &f->arena, &p, &f->e), "there is no '/nowhere'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_resume_gives_the_same_weights),
        TEST(test_threads_give_the_same_weights),
        TEST(test_sigterm_saves_and_resumes),
        TEST(test_last_validation_is_made_up),
        TEST(test_sudden_death_loses_nothing),
        TEST(test_damaged_checkpoint_is_passed_over),
        TEST(test_bad_update_changes_nothing),
        TEST(test_too_many_bad_updates_end_the_run),
        TEST(test_a_streak_keeps_the_last_good_checkpoint),
        TEST(test_after_a_streak),
        TEST(test_data_that_is_gone),
        TEST(test_checkpoints_that_are_gone),
        TEST(test_no_allocation_after_the_second_step),
        TEST(test_validation),
        TEST(test_part_of_the_validation_split),
        TEST(test_metrics_tell_speed_and_load),
        TEST(test_metrics_tell_the_losses_apart),
        TEST(test_band_of_the_load),
        TEST(test_a_collapse_is_told),
        TEST(test_document_mask_matters),
        TEST(test_full_disk_costs_whole_lines),
        TEST(test_broken_lines_are_left_out),
        TEST(test_other_batch_keeps_the_tokens),
        TEST(test_what_does_not_fit_is_refused),
        TEST(test_other_settings_are_refused),
        TEST(test_other_data_are_refused),
        TEST(test_foreign_folder_is_refused),
        TEST(test_run_folder_alone_continues),
        TEST(test_previews_write_nothing),
        TEST(test_vocabulary_must_fit),
        TEST(test_find_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
