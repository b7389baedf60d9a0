/* site_save.c: a paused scenario on disk.
 *
 * Bytes: "CSITE2\n", then as 64-bit numbers of this machine: the scenario's fingerprint, the size of
 * the state, the numbers of queued events, of tickets and of jobs of traces; then the state, the
 * events, the tickets and these jobs as they lie in memory; last the XXH3 hash of all before. It is for the same program on the same
 * kind of machine: another one refuses it by the sizes. Nothing in it is trusted but by that hash,
 * and the fingerprint says that it is this scenario's. */
#include "site/run/site_run_internal.h"

#include <string.h>

static const char MAGIC[8] = "CSITE2\n";
enum { HEAD = 8 + 5 * 8 };
#define MAX_BYTES ((size_t)1 << 30)

int site_save(const struct site_sim *x, const char *path, struct error *e)
{
    struct str out = {0};
    const uint64_t head[5] = {x->s->fingerprint, sizeof(*x->st), x->queue.n, x->n_tickets,
                              x->n_small};
    str_append(&out, MAGIC, sizeof(MAGIC));
    str_append(&out, head, sizeof(head));
    str_append(&out, x->st, sizeof(*x->st));
    if (x->queue.n) str_append(&out, x->queue.items, x->queue.n * sizeof(*x->queue.items));
    if (x->n_tickets) str_append(&out, x->tickets, x->n_tickets * sizeof(*x->tickets));
    if (x->n_small) str_append(&out, x->small, x->n_small * sizeof(*x->small));
    uint64_t hash = hash_xxh3(out.data, out.len);
    str_append(&out, &hash, sizeof(hash));
    int rc = file_write(path, out.data, out.len, e);
    str_fini(&out);
    return rc;
}

static int unusable(struct error *e, const char *path, const char *why)
{
    error_set(e, "'%s' %s", path, why);
    return error_hint(e, "run the scenario again until that moment: --pause-at T --save FILE");
}

static int take(struct site_sim *x, const char *data, size_t size, const char *path,
                struct error *e)
{
    uint64_t head[5], hash;
    if (size < HEAD + 8 || memcmp(data, MAGIC, sizeof(MAGIC)) != 0) {
        error_set(e, "'%s' is no saved scenario", path);
        return error_hint(e, "it is written by colossus site SCENARIO --pause-at T --save FILE");
    }
    memcpy(head, data + sizeof(MAGIC), sizeof(head));
    memcpy(&hash, data + size - 8, 8);
    size_t items = sizeof(*x->queue.items), tickets = sizeof(*x->tickets), jobs = sizeof(*x->small);
    bool small =
        head[2] < MAX_BYTES / items && head[3] < MAX_BYTES / tickets && head[4] < MAX_BYTES / jobs;
    if (head[1] != sizeof(*x->st) || !small ||
        size != HEAD + head[1] + head[2] * items + head[3] * tickets + head[4] * jobs + 8)
        return unusable(e, path, "is of another version of this program, or cut off");
    if (hash != hash_xxh3(data, size - 8)) return unusable(e, path, "is damaged");
    if (head[0] != x->s->fingerprint) {
        error_set(e, "'%s' is of another scenario than '%s'", path, x->s->name);
        return error_hint(e, "resume with the file that it was paused with, unchanged");
    }
    const char *p = data + HEAD;
    memcpy(x->st, p, sizeof(*x->st));
    p += sizeof(*x->st);
    x->queue.n = x->queue.cap = head[2];
    x->queue.items = mem_alloc(MAX(head[2], 1) * items);
    if (head[2]) memcpy(x->queue.items, p, head[2] * items);
    x->n_tickets = head[3];
    x->tickets = mem_alloc(MAX(head[3], 1) * tickets);
    p += head[2] * items;
    if (head[3]) memcpy(x->tickets, p, head[3] * tickets);
    x->n_small = head[4];
    if (head[4]) x->small = mem_alloc(head[4] * jobs);
    if (head[4]) memcpy(x->small, p + head[3] * tickets, head[4] * jobs);
    return 0;
}

int site_restore(struct site_sim *x, const char *path, struct error *e)
{
    char *data;
    size_t size;
    TRY(file_read(path, MAX_BYTES, &data, &size, e));
    int rc = take(x, data, size, path, e);
    mem_free(data);
    return rc;
}
