/* train_copy.c: copies of the state in memory, so that a run whose rank was lost goes back a few steps
 * and not to the last checkpoint.
 *
 * Every checkpoint.copy_every steps each rank writes what it would read of a checkpoint to a file in
 * its node's memory (/dev/shm), and one more for a rank of another node. When the run starts again,
 * the ranks look for the newest step of which every rank's file is whole on some node, and take it if
 * no checkpoint is newer; who has not its own gets it from a rank that has. Files outlive processes,
 * not nodes: a node may be lost, since its ranks' files are on another one, too.
 *
 * Of each rank there are two files, and the older one is written over. No rank begins a copy while
 * another has not ended the one before, since they meet in every step between: so while files of one
 * step are being written, all of the one before are whole (docs/recovery.md). Where
 * the run is checked for silent corruption a third file keeps the newest copy that was checked. A
 * file:
 *
 *     0     8   "colossus"; written last, after zeros
 *     8     8   version, 2
 *     16    8   XXH3 of everything from byte 24 on
 *     24    8   step
 *     32    8   hash of what is in it: names, places and sizes of the arrays
 *     40    8   number of the run, drawn when its folder was made: of another one that was in a folder of
 *               the same name nothing is taken
 *     48    8   bytes of the text
 *     56        the text: the state of a manifest (train_state.c); zeros up to byte 16384
 *     16384     the arrays, each at a multiple of 64 bytes */
#include "train/train_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD_BYTES ((size_t)16384)
#define ALIGN      ((size_t)64)
#define COPIES_MAX 512 /* ranks that a table of all copies is made of */
#define MAGIC      "colossus"
#define VERSION    2

struct head {
    char magic[8];
    uint64_t version, hash, step, layout, run, text_bytes;
    char text[];
};
#define HASHED 24 /* from this byte on */

/* ------------------------------------------------------------------ files */

static const char *file_path(const struct train_copy *c, int rank, int slot, struct arena *a)
{
    return arena_printf(a, "%s/rank-%d-of-%d.%d", c->dir, rank, c->ranks->size, slot);
}

static int map_file(const char *path, size_t bytes, uint8_t **out, struct error *e)
{
    struct stat st;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(fd, &st) < 0) {
        error_errno(e, "open", path);
        if (fd >= 0) close(fd);
        return e->code;
    }
    int rc = 0;
    if ((size_t)st.st_size != bytes && ftruncate(fd, 0) < 0) rc = error_errno(e, "empty", path);
    /* Reserved now: a store that finds no room later would kill the process. */
    int reason = rc == 0 ? posix_fallocate(fd, 0, (off_t)bytes) : 0;
    if (reason) {
        errno = reason;
        rc = error_errno(e, "reserve memory for", path);
    }
    void *p = rc == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : NULL;
    if (rc == 0 && p == MAP_FAILED) rc = error_errno(e, "map", path);
    close(fd);
    if (rc < 0) unlink(path);
    if (rc == 0) *out = p;
    return rc;
}

static struct head *head_of(uint8_t *file)
{
    return (struct head *)(void *)file;
}

/* The step of a file that says to be whole, and is one of this run and this layout (0: of any); -1: it
 * is not. */
static int64_t said_step(const struct train_copy *c, uint8_t *file, uint64_t layout)
{
    const struct head *h = head_of(file);
    if (!file || memcmp(h->magic, MAGIC, sizeof(h->magic)) != 0 || h->version != VERSION) return -1;
    if (h->run != c->run) return -1;
    if (layout && h->layout != layout) return -1;
    if (h->step > (uint64_t)INT64_MAX || h->text_bytes >= HEAD_BYTES - sizeof(*h)) return -1;
    return (int64_t)h->step;
}

static bool is_whole(uint8_t *file, size_t bytes)
{
    return hash_xxh3(file + HASHED, bytes - HASHED) == head_of(file)->hash;
}

/* ------------------------------------------------------------------ what is copied */

static size_t array_bytes(const struct ckpt_layout *l)
{
    size_t total = 0;
    for (size_t s = 0; s < l->n_sets; s++)
        for (size_t i = 0; i < l->sets[s].n_entries; i++)
            total += (ckpt_set_bytes(&l->sets[s], i) + ALIGN - 1) / ALIGN * ALIGN;
    return total;
}

size_t train_copy_bytes(const struct ckpt_layout *reads, int slots, bool elsewhere)
{
    return (HEAD_BYTES + array_bytes(reads)) * (size_t)slots * (elsewhere ? 2 : 1);
}

static uint64_t layout_hash(const struct ckpt_layout *l)
{
    struct str text = {0};
    for (size_t s = 0; s < l->n_sets; s++) {
        const struct ckpt_set *set = &l->sets[s];
        for (size_t i = 0; i < set->n_entries; i++) {
            size_t first = set->ranges ? set->ranges[i].first : 0;
            str_printf(&text, "%s %s %zu %zu\n", set->file, set->entries[i].name, first,
                       ckpt_set_bytes(set, i));
        }
    }
    uint64_t hash = hash_xxh3(text.data, text.len);
    str_fini(&text);
    return hash;
}

/* Between the live arrays and a file. */
static void copy_arrays(const struct ckpt_layout *l, uint8_t *file, bool into_file)
{
    size_t at = HEAD_BYTES;
    for (size_t s = 0; s < l->n_sets; s++) {
        for (size_t i = 0; i < l->sets[s].n_entries; i++) {
            size_t bytes = ckpt_set_bytes(&l->sets[s], i);
            void *live = (void *)(uintptr_t)l->sets[s].entries[i].data;
            if (bytes > 0 && into_file) memcpy(file + at, live, bytes);
            if (bytes > 0 && !into_file) memcpy(live, file + at, bytes);
            at += (bytes + ALIGN - 1) / ALIGN * ALIGN;
        }
    }
}

/* ------------------------------------------------------------------ opening */

/* Files of another number of ranks are of a layout that the run has left. */
static void remove_others(struct train_copy *c)
{
    const char *ours = arena_printf(&c->arena, "-of-%d.", c->ranks->size);
    char **names;
    size_t n = 0;
    if (file_list_dir(c->dir, &c->arena, &names, &n, NULL) < 0) return;
    for (size_t i = 0; i < n; i++)
        if (!strstr(names[i], ours)) unlink(file_join(&c->arena, c->dir, names[i]));
}

/* A folder of this user, this run and this node. Nodes that are one machine (in tests) stay apart. */
static int make_dir(struct train_copy *c, const char *run_dir, struct error *e)
{
    char hex[17], node[CLUSTER_NODE_MAX];
    char *whole = canonicalize_file_name(run_dir);
    const char *path = whole ? whole : run_dir;
    hash_to_hex(hash_xxh3(path, strlen(path)), hex);
    mem_free(whole);
    cluster_node_name(node);
    const char *base = arena_printf(&c->arena, "/dev/shm/colossus-%u", (unsigned)geteuid());
    c->dir = arena_printf(&c->arena, "%s/%s/%s", base, hex, node);
    if (mkdir(base, 0700) < 0 && errno != EEXIST) return error_errno(e, "make", base);
    struct stat st;
    if (lstat(base, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return error_set(e, "'%s' is somebody else's", base);
    c->node = hash_xxh3(node, strlen(node));
    TRY(file_make_dirs(c->dir, e));
    remove_others(c);
    return 0;
}

/* Copies of a rank go so many ranks further, where as many as can be are on another node. */
static int choose_distance(const uint64_t *nodes, int n)
{
    int best = 0, most = 0;
    for (int k = 1; k < n; k++) {
        int apart = 0;
        for (int r = 0; r < n; r++)
            apart += nodes[r] != nodes[(r + k) % n];
        if (apart <= most) continue;
        most = apart;
        best = k;
    }
    return best;
}

static int share_nodes(struct train_copy *c, struct error *e)
{
    size_t n = (size_t)c->ranks->size;
    c->nodes = arena_alloc(&c->arena, n * sizeof(*c->nodes));
    c->nodes[c->ranks->rank] = c->node;
    if (n == 1) return 0;
    size_t *bounds = arena_alloc(&c->arena, (n + 1) * sizeof(*bounds));
    for (size_t i = 0; i <= n; i++)
        bounds[i] = i * sizeof(*c->nodes);
    return group_gather(c->ranks->world, c->nodes, bounds, GROUP_BYTE, e);
}

/* This rank's files, and those of the rank whose copies come here. */
static int map_files(struct train_copy *c, struct error *e)
{
    int n = c->ranks->size, k = choose_distance(c->nodes, n);
    c->to = (c->ranks->rank + k) % n;
    c->from = (c->ranks->rank + n - k) % n;
    c->sends = c->nodes[c->to] != c->node;
    c->receives = c->nodes[c->from] != c->node;
    for (int slot = 0; slot < c->slots; slot++) {
        TRY(map_file(file_path(c, c->ranks->rank, slot, &c->arena), c->bytes, &c->own[slot], e));
        if (!c->receives) continue;
        TRY(map_file(file_path(c, c->from, slot, &c->arena), c->from_bytes, &c->guest[slot], e));
    }
    return 0;
}

static int share_sizes(struct train_copy *c, struct error *e)
{
    size_t n = (size_t)c->ranks->size;
    uint64_t *sizes = arena_alloc(&c->arena, n * sizeof(*sizes));
    size_t *bounds = arena_alloc(&c->arena, (n + 1) * sizeof(*bounds));
    for (size_t i = 0; i <= n; i++)
        bounds[i] = i * sizeof(*sizes);
    sizes[c->ranks->rank] = c->bytes;
    if (n > 1) TRY(group_gather(c->ranks->world, sizes, bounds, GROUP_BYTE, e));
    c->sizes = sizes;
    c->from_bytes = sizes[(c->ranks->rank + (int)n - choose_distance(c->nodes, (int)n)) % (int)n];
    return 0;
}

int train_copy_open(struct train_copy *c, const char *run_dir, const struct train_ranks *ranks,
                    const struct train_copied *what, struct error *e)
{
    const struct ckpt_layout *reads = what->reads;
    struct error own = {0};
    *c = (struct train_copy){
        .ranks = ranks, .reads = *reads, .slots = what->slots, .run = what->run};
    CHECK(c->slots >= 2 && c->slots <= TRAIN_COPIES);
    if (ranks->size > COPIES_MAX) return 0;
    c->bytes = HEAD_BYTES + array_bytes(reads);
    c->places = arena_alloc(&c->arena, 2 * ((size_t)ranks->size + 1) * sizeof(*c->places));
    c->layout = layout_hash(reads);
    int rc = make_dir(c, run_dir, &own);
    TRY(share_nodes(c, e));
    TRY(share_sizes(c, e));
    if (rc >= 0) rc = map_files(c, &own);
    /* Without copies the run goes on all the same, but all ranks alike. */
    if (rc < 0) log_warn("no copies in memory: %s", own.text);
    int64_t failed = rc < 0;
    if (ranks->size > 1) TRY(group_agree(ranks->world, &failed, 1, e));
    c->usable = failed == 0;
    return 0;
}

static void unmap(uint8_t **file, size_t bytes)
{
    if (*file) munmap(*file, bytes);
    *file = NULL;
}

void train_copy_close(struct train_copy *c)
{
    for (int slot = 0; slot < TRAIN_COPIES; slot++) {
        unmap(&c->own[slot], c->bytes);
        unmap(&c->guest[slot], c->from_bytes);
    }
    arena_fini(&c->arena);
    *c = (struct train_copy){0};
}

/* ------------------------------------------------------------------ writing */

/* The file to write over: neither the newest, nor the newest of a step up to `good`. */
static int choose_slot(const struct train_copy *c, uint8_t *const *files, int64_t good)
{
    int64_t steps[TRAIN_COPIES];
    int newest = 0, kept = -1, oldest = -1;
    for (int i = 0; i < c->slots; i++) {
        steps[i] = said_step(c, files[i], 0);
        if (steps[i] < 0) return i;
        if (steps[i] > steps[newest]) newest = i;
        if (steps[i] <= good && (kept < 0 || steps[i] > steps[kept])) kept = i;
    }
    for (int i = 0; i < c->slots; i++) {
        if (i == newest || (i == kept && c->slots > 2)) continue;
        if (oldest < 0 || steps[i] < steps[oldest]) oldest = i;
    }
    return oldest;
}

static int write_own(struct train_copy *c, int slot, int64_t step, const json_t *state,
                     struct error *e)
{
    struct head *h = head_of(c->own[slot]);
    char *text = json_dumps(state, JSON_COMPACT | JSON_SORT_KEYS);
    size_t n = text ? strlen(text) : 0;
    if (n == 0 || n >= HEAD_BYTES - sizeof(*h)) {
        mem_free(text);
        return error_set(e, "the state's text of %zu bytes does not fit a copy", n);
    }
    memset(h, 0, HEAD_BYTES); /* from here on the file is not whole */
    __sync_synchronize();
    memcpy(h->text, text, n);
    mem_free(text);
    h->text_bytes = n;
    h->step = (uint64_t)step;
    h->layout = c->layout;
    h->run = c->run;
    h->version = VERSION;
    copy_arrays(&c->reads, c->own[slot], true);
    h->hash = hash_xxh3(c->own[slot] + HASHED, c->bytes - HASHED);
    __sync_synchronize();
    memcpy(h->magic, MAGIC, sizeof(h->magic));
    return 0;
}

/* To the other node, and from the rank whose copies are kept here. A file that came in part does not
 * match its hash. */
static int pass_on(struct train_copy *c, int slot, int64_t good, struct error *e)
{
    int there = c->receives ? choose_slot(c, c->guest, good) : 0;
    size_t n = (size_t)c->ranks->size, *send_at = c->places, *recv_at = c->places + n + 1;
    for (size_t i = 0; i <= n; i++) {
        send_at[i] = c->sends && i > (size_t)c->to ? c->bytes : 0;
        recv_at[i] = c->receives && i > (size_t)c->from ? c->from_bytes : 0;
    }
    struct group_exchange x = {c->own[slot], send_at, c->guest[there], recv_at};
    return group_exchange(c->ranks->world, &x, e);
}

static bool any_elsewhere(const struct train_copy *c)
{
    for (int i = 1; i < c->ranks->size; i++)
        if (c->nodes[i] != c->nodes[0]) return true;
    return false;
}

int train_copy_save(struct train_copy *c, int64_t step, int64_t good, json_t *state,
                    struct error *e)
{
    struct error own = {0};
    int slot = c->usable ? choose_slot(c, c->own, good) : 0, rc = 0;
    if (c->usable) rc = write_own(c, slot, step, state, &own);
    json_decref(state);
    if (!c->usable) return 0;
    if (rc < 0) log_warn("no copy in memory: %s", own.text);
    return any_elsewhere(c) ? pass_on(c, slot, good, e) : 0;
}

/* ------------------------------------------------------------------ finding */

/* Steps that this rank can give a file of, for every rank: [size][TRAIN_COPIES], -1: none. */
static void look(struct train_copy *c, int64_t *steps)
{
    int n = c->ranks->size;
    for (int i = 0; i < TRAIN_COPIES * n; i++)
        steps[i] = -1;
    for (int slot = 0; slot < c->slots; slot++) {
        uint8_t *mine = c->own[slot], *guest = c->guest[slot];
        int64_t step = said_step(c, mine, c->layout);
        if (step >= 0 && is_whole(mine, c->bytes))
            steps[TRAIN_COPIES * c->ranks->rank + slot] = step;
        step = said_step(c, guest, 0);
        if (step >= 0 && is_whole(guest, c->from_bytes))
            steps[TRAIN_COPIES * c->from + slot] = step;
    }
}

static bool holds(const int64_t *all, int n, int holder, int rank, int64_t step)
{
    for (int slot = 0; slot < TRAIN_COPIES; slot++)
        if (all[TRAIN_COPIES * (holder * n + rank) + slot] == step) return true;
    return false;
}

/* The newest step of which every rank's file is held by somebody; -1: there is none. */
static int64_t newest_common(const int64_t *all, int n)
{
    int64_t best = -1;
    for (int i = 0; i < TRAIN_COPIES * n * n; i++) {
        int64_t step = all[i];
        bool common = step > best;
        for (int rank = 0; rank < n && common; rank++) {
            bool held = false;
            for (int holder = 0; holder < n && !held; holder++)
                held = holds(all, n, holder, rank, step);
            common = held;
        }
        if (common) best = step;
    }
    return best;
}

/* Who gives a rank its file: itself, or the first that holds it. */
static int holder_of(const int64_t *all, int n, int rank, int64_t step)
{
    for (int i = 0; i < n; i++) {
        int holder = (rank + i) % n;
        if (holds(all, n, holder, rank, step)) return holder;
    }
    return -1;
}

static int find_slot(const struct train_copy *c, uint8_t *const *files, int64_t step)
{
    int slot = 0;
    while (slot + 1 < c->slots && said_step(c, files[slot], 0) != step)
        slot++;
    return slot;
}

/* Every rank that lacks its file gets it. */
static int deal(struct train_copy *c, const int64_t *all, int64_t step, struct error *e)
{
    int n = c->ranks->size, me = c->ranks->rank;
    for (int rank = 0; rank < n; rank++) {
        int holder = holder_of(all, n, rank, step);
        if (holder == rank) continue;
        if (holder == me)
            TRY(group_send(c->ranks->world, rank, c->guest[find_slot(c, c->guest, step)],
                           c->sizes[rank], e));
        if (rank == me)
            TRY(group_recv(c->ranks->world, holder, c->own[choose_slot(c, c->own, -1)], c->bytes,
                           e));
    }
    return 0;
}

static int share_steps(struct train_copy *c, int64_t *all, struct error *e)
{
    size_t n = (size_t)c->ranks->size;
    size_t *bounds = mem_calloc(n + 1, sizeof(*bounds));
    for (size_t i = 0; i <= n; i++)
        bounds[i] = i * TRAIN_COPIES * n * sizeof(*all);
    look(c, all + TRAIN_COPIES * n * (size_t)c->ranks->rank);
    int rc = n > 1 ? group_gather(c->ranks->world, all, bounds, GROUP_BYTE, e) : 0;
    mem_free(bounds);
    return rc;
}

static int take(struct train_copy *c, int64_t step, json_t **state, struct error *e)
{
    int slot = find_slot(c, c->own, step);
    struct head *h = head_of(c->own[slot]);
    if (said_step(c, c->own[slot], c->layout) != step || !is_whole(c->own[slot], c->bytes))
        return error_set(e, "the copy of step %" PRId64 " is not whole", step);
    TRY(json_parse(h->text, h->text_bytes, "the copy's state", state, e));
    copy_arrays(&c->reads, c->own[slot], false);
    return 0;
}

int64_t train_copy_restore(struct train_copy *c, int64_t at_least, json_t **state, struct error *e)
{
    if (!c->usable) return -1;
    size_t n = (size_t)c->ranks->size;
    int64_t *all = mem_calloc(TRAIN_COPIES * n * n, sizeof(*all)), step = -1;
    struct error own = {0};
    int rc = share_steps(c, all, e);
    if (rc >= 0) step = newest_common(all, (int)n);
    if (step < at_least) step = -1;
    *state = NULL;
    if (rc >= 0 && step >= 0) rc = deal(c, all, step, e);
    if (rc >= 0 && step >= 0) {
        int64_t failed = take(c, step, state, &own) < 0;
        if (failed) log_warn("%s", own.text);
        if (n > 1) rc = group_agree(c->ranks->world, &failed, 1, e);
        if (failed) step = -1;
    }
    if (step < 0 && *state) {
        json_decref(*state);
        *state = NULL;
    }
    mem_free(all);
    return rc < 0 ? rc : step;
}

/* ------------------------------------------------------------------ forgetting */

void train_copy_discard(struct train_copy *c, int64_t step)
{
    for (int slot = 0; slot < c->slots; slot++) {
        if (said_step(c, c->own[slot], 0) > step) memset(c->own[slot], 0, sizeof(struct head));
        if (said_step(c, c->guest[slot], 0) > step) memset(c->guest[slot], 0, sizeof(struct head));
    }
}

void train_copy_remove(struct train_copy *c)
{
    for (int slot = 0; slot < c->slots && c->dir; slot++) {
        unlink(file_path(c, c->ranks->rank, slot, &c->arena));
        if (c->receives) unlink(file_path(c, c->from, slot, &c->arena));
    }
    if (!c->dir) return;
    rmdir(c->dir); /* of the last rank that is here */
    rmdir(arena_strndup(&c->arena, c->dir, (size_t)(strrchr(c->dir, '/') - c->dir)));
}
