/* train_folder.c: the run folder's identity: whose configuration it holds, and whether training
 * may go on in it.
 *
 * A folder belongs to the configuration in its run.yaml. A run whose numbers would change (another
 * learning rate, another batch) must not slip into it unnoticed: the keys that differ are named and
 * the run is refused. --allow-changes lets them pass, but for those whose saved state would not
 * fit. How long to train and what to log may always change (train_config_may_change).
 *
 * --restart renames the folder, so that whatever is in it is kept, and begins anew. */
#include "train/train_internal.h"

#include <fnmatch.h>
#include <string.h>
#include <sys/random.h>

static int load_folder_config(const char *dir, struct train_run_file *f, struct error *e)
{
    struct arena a = {0};
    int rc =
        train_config_load(&(struct train_run_text){.path = file_join(&a, dir, "run.yaml")}, f, e);
    arena_fini(&a);
    return rc;
}

static bool has_run_file(const char *dir)
{
    struct arena a = {0};
    bool has = file_exists(file_join(&a, dir, "run.yaml"));
    arena_fini(&a);
    return has;
}

/* A folder without run.yaml is ours only where it is empty, or was left by a run that ended before
 * it had written anything. */
static int check_unclaimed(const char *dir, struct error *e)
{
    struct arena a = {0};
    char **names;
    size_t n;
    int rc = file_list_dir(dir, &a, &names, &n, e);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        static const char *const ours[] = {"checkpoints", "run.yaml.tmp", "events.jsonl",
                                           "launch.lock", "job.sh",       "stacks",
                                           "timeline"};
        if (fnmatch("slurm-*.out", names[i], 0) == 0) continue;
        size_t k = 0;
        while (k < ARRAY_LEN(ours) && strcmp(names[i], ours[k]) != 0)
            k++;
        if (k < ARRAY_LEN(ours)) continue;
        error_set(e, "'%s' exists and is not the folder of a run", dir);
        rc = error_hint(e, "choose another name, or --run-dir DIR");
    }
    arena_fini(&a);
    return rc;
}

/* ERROR_CONFIG names every key that differs, since each of them is a decision to take back. */
static int compare(const char *dir, const struct train_config *now, const struct train_options *o,
                   struct str *differences, struct error *e)
{
    struct train_run_file was;
    size_t n_fixed;
    TRY(load_folder_config(dir, &was, e));
    size_t n = train_config_differences(&was.config, now, differences, &n_fixed);
    train_config_free(&was);
    if (n == 0) return TRAIN_FOLDER_SAME;
    if (o->allow_changes && n_fixed == 0) return TRAIN_FOLDER_CHANGED;
    error_set_code(e, ERROR_CONFIG, "'%s' holds a run with another configuration: %s", dir,
                   differences->data);
    if (n_fixed > 0)
        return error_hint(e, "put the keys back, or give this run another name or --run-dir");
    return error_hint(e, "give this run another name or --run-dir, or go on with --allow-changes");
}

/* Whether events.jsonl tells that a checkpoint was saved, and not deleted as corrupt; also where that
 * cannot be known. */
static bool has_saved(const char *dir)
{
    static const char saved[] = "\"event\":\"checkpoint_saved\"";
    static const char corrupt[] = "\"event\":\"corruption_found\"";
    struct arena a = {0};
    struct file_map m;
    bool has = true;
    const char *path = file_join(&a, dir, "events.jsonl");
    if (file_map_open(&m, path, NULL) >= 0) {
        const uint8_t *at = m.data, *end = m.data + m.size, *next;
        while ((next = memmem(at, (size_t)(end - at), corrupt, sizeof(corrupt) - 1)))
            at = next + 1;
        has = memmem(at, (size_t)(end - at), saved, sizeof(saved) - 1) != NULL;
        if (file_map_check(&m, path, NULL) < 0) has = true;
        file_map_close(&m);
    }
    arena_fini(&a);
    return has;
}

/* A run whose metrics are there and whose checkpoints are not must not begin at its first step as
 * if nothing had been: the folder may be on a disk that is not mounted, and metrics would be cut.
 * One that ended before its first checkpoint has lost nothing that could be had again. */
static int check_checkpoints(const char *dir, struct error *e)
{
    struct arena a = {0};
    bool has_folder, has_any;
    int64_t size = file_size(file_join(&a, dir, "metrics.jsonl"), NULL);
    const char *aside = train_folder_aside(dir, &a);
    int rc = ckpt_look(dir, &has_folder, &has_any, e);
    if (rc >= 0 && !has_any && size > 0) {
        if (!has_folder || has_saved(dir)) {
            error_set(e, "the run '%s' has metrics but no checkpoint: '%s/checkpoints' is %s", dir,
                      dir, has_folder ? "empty" : "not there");
            rc = error_hint(e,
                            "put the checkpoints back (is a disk not mounted?); --restart begins "
                            "anew and keeps what is there as '%s'",
                            aside);
        }
    }
    arena_fini(&a);
    return rc < 0 ? rc : 0;
}

void train_folder_warn(const char *dir)
{
    struct arena a = {0};
    if (file_size(file_join(&a, dir, "metrics.jsonl"), NULL) > 0)
        log_warn("'%s' was stopped before its first checkpoint: it begins again at step 1", dir);
    arena_fini(&a);
}

static int draw_number(const char *path, uint64_t *number, struct error *e)
{
    char text[18];
    if (getrandom(number, sizeof(*number), 0) != (ssize_t)sizeof(*number))
        return error_errno(e, "draw", "a number for the run");
    hash_to_hex(*number, text);
    text[16] = '\n';
    return file_write(path, text, 17, e);
}

static int read_number(const char *path, uint64_t *number, struct error *e)
{
    char *text;
    size_t n;
    TRY(file_read(path, 64, &text, &n, e));
    bool good = n == 17 && text[16] == '\n';
    if (good) text[16] = '\0';
    good = good && hash_from_hex(text, number) >= 0;
    mem_free(text);
    if (good) return 0;
    error_set(e, "'%s' is not the number of a run", path);
    return error_hint(e, "delete it; copies in memory that the run has left are then not used");
}

int train_folder_number(const char *dir, uint64_t *number, struct error *e)
{
    struct arena a = {0};
    const char *path = file_join(&a, dir, "checkpoints/number");
    int rc = file_exists(path) ? read_number(path, number, e) : draw_number(path, number, e);
    arena_fini(&a);
    return rc;
}

const char *train_folder_aside(const char *dir, struct arena *a)
{
    if (!has_run_file(dir)) return NULL;
    size_t n = strlen(dir);
    while (n > 1 && dir[n - 1] == '/')
        n--;
    for (int i = 1;; i++) {
        const char *aside = arena_printf(a, "%.*s.before-%d", (int)n, dir, i);
        if (!file_exists(aside)) return aside;
    }
}

int train_folder_check(const char *dir, const struct train_config *now,
                       const struct train_options *o, struct str *differences, struct error *e)
{
    if (!file_exists(dir)) return TRAIN_FOLDER_NEW;
    if (!has_run_file(dir)) {
        TRY(check_unclaimed(dir, e));
        return TRAIN_FOLDER_NEW;
    }
    if (o->no_resume) {
        error_set(e, "the run folder '%s' exists already", dir);
        return error_hint(e, "leave out --no-resume to continue it, or choose another name");
    }
    TRY(check_checkpoints(dir, e));
    return compare(dir, now, o, differences, e);
}

int train_folder_precision(const char *dir)
{
    struct train_run_file was;
    if (!has_run_file(dir) || load_folder_config(dir, &was, NULL) < 0) return TRAIN_PRECISION_AUTO;
    int precision = was.config.precision;
    train_config_free(&was);
    return precision;
}

/* What the session settled (vocabulary, precision) counts as derived. */
int train_folder_write(const char *dir, const struct train_run_file *f,
                       const struct train_config *settled, struct error *e)
{
    struct train_run_file effective = *f;
    struct str text = {0}, a = {0}, b = {0};
    struct arena arena = {0};
    effective.config = *settled;
    for (size_t i = 0; i < train_run_n_rows; i++) {
        str_clear(&a);
        str_clear(&b);
        options_get(&train_run_rows[i], &f->config, &a);
        options_get(&train_run_rows[i], settled, &b);
        if (a.len != b.len || (a.len > 0 && memcmp(a.data, b.data, a.len) != 0))
            effective.origins[i] = ORIGIN_DERIVED;
    }
    train_config_print(&effective, &text);
    int rc = file_make_dirs(dir, e);
    if (rc >= 0) rc = file_write(file_join(&arena, dir, "run.yaml"), text.data, text.len, e);
    arena_fini(&arena);
    str_fini(&text);
    str_fini(&a);
    str_fini(&b);
    return rc;
}
