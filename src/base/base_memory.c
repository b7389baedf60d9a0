/* base_memory.c: every allocation of the program, and the counter that proves there are none.
 *
 * Four kinds, by what may go wrong: small control-plane memory ends the program with a message,
 * because no caller could do anything sensible; memory whose size comes from input may fail and returns NULL;
 * large planned memory is mapped once, aligned to huge pages, so that a tensor never shares a page
 * with anything and the TLB covers gigabytes; and arenas hold what lives and dies with one unit of
 * work. All of them count, so that a test can show that a training step allocates nothing.
 * jansson allocates through here too, for the same reason, and ends the program where there is no
 * memory: it would leave members out of what is saved. So does C++ (oneDNN), whose exceptions nobody
 * here could catch. */
#include "base/base.h"

#include <dlfcn.h>
#include <math.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHORT_BYTES ((size_t)16 << 20) /* less than that to be had is a lack of memory */

static atomic_uint_fast64_t alloc_count;
static __thread bool thread_is_skipped;

static void count_one(void)
{
    if (!thread_is_skipped) atomic_fetch_add_explicit(&alloc_count, 1, memory_order_relaxed);
}

uint64_t mem_alloc_count(void)
{
    return atomic_load_explicit(&alloc_count, memory_order_relaxed);
}

void mem_alloc_count_skip_thread(void)
{
    thread_is_skipped = true;
}

void *mem_try_alloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (p) count_one();
    return p;
}

void *mem_try_realloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (q) count_one();
    return q;
}

void *mem_alloc(size_t size)
{
    void *p = mem_try_alloc(size);
    if (!p) mem_exhausted(size);
    return p;
}

void *mem_calloc(size_t count, size_t size)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p) mem_exhausted(count * MAX(size, (size_t)1));
    count_one();
    return p;
}

void *mem_realloc(void *p, size_t size)
{
    void *q = mem_try_realloc(p, size);
    if (!q) mem_exhausted(size);
    return q;
}

void *mem_alloc_aligned(size_t size, size_t alignment)
{
    void *p = NULL;
    int rc = posix_memalign(&p, alignment, size ? size : 1);
    CHECK_MSG(rc != EINVAL, "an alignment of %zu bytes", alignment);
    if (rc != 0) mem_exhausted(size);
    count_one();
    return p;
}

char *mem_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    return memcpy(mem_alloc(size), s, size);
}

void mem_free(void *p)
{
    free(p);
}

double mem_limit_bytes(void)
{
    double machine = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return fmin(machine, cgroup_limits("").memory_bytes);
}

/* jansson's objects are ours to count; this runs before main, ahead of any use of it. */
__attribute__((constructor)) static void memory_serves_jansson(void)
{
    json_set_alloc_funcs(mem_alloc, mem_free);
}

/* ------------------------------------------------------------------ where there is none */

static const char *const exhausted_hint =
    "a smaller model or batch takes less; ulimit -v, a container or the machine set the limit";

void mem_exhausted(size_t bytes)
{
    char text[32];
    if (bytes == 0) exit_exhausted(exhausted_hint, "not enough memory");
    exit_exhausted(exhausted_hint, "not enough memory: %s more are not to be had",
                   format_bytes(text, (double)bytes));
}

bool mem_is_short(void)
{
    void *p = mmap(NULL, SHORT_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return true;
    munmap(p, SHORT_BYTES);
    return false;
}

static void cxx_new_failed(void)
{
    mem_exhausted(0);
}

static void cxx_terminated(void)
{
    if (mem_is_short()) cxx_new_failed();
    abort();
}

/* Where the program is linked with a C++ library: what operator new and std::terminate call. */
__attribute__((constructor)) static void memory_serves_cxx(void)
{
    typedef void handler(void);
    static const struct {
        const char *setter;
        handler *ours;
    } rows[] = {{"_ZSt15set_new_handlerPFvvE", cxx_new_failed},
                {"_ZSt13set_terminatePFvvE", cxx_terminated}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        handler *(*set)(handler *) = NULL;
        void *symbol = dlsym(RTLD_DEFAULT, rows[i].setter);
        memcpy(&set, &symbol, sizeof(set)); /* C has no cast from data to functions */
        if (set) set(rows[i].ours);
    }
}

/* ------------------------------------------------------------------ large planned memory */

#define HUGE_PAGE ((size_t)2 << 20)

/* Rounded up to whole huge pages; 0 where that overflows. */
static size_t map_length(size_t size)
{
    size = MAX(size, 1);
    return size > SIZE_MAX - 2 * HUGE_PAGE ? 0 : (size + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

size_t mem_map_bytes(size_t size)
{
    return MAX(map_length(size), size);
}

static void *map_advised(size_t size, int advice)
{
    size_t length = map_length(size);
    if (!length) return NULL;
    /* The kernel aligns to 4 KiB only: ask for one huge page more and give back both ends. */
    char *raw = mmap(NULL, length + HUGE_PAGE, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (raw == MAP_FAILED) return NULL;
    size_t before = (HUGE_PAGE - (uintptr_t)raw % HUGE_PAGE) % HUGE_PAGE;
    if (before) munmap(raw, before);
    munmap(raw + before + length, HUGE_PAGE - before);
    madvise(raw + before, length, advice); /* kernels without it are fine too */
    count_one();
    return raw + before;
}

void *mem_map(size_t size)
{
    return map_advised(size, MADV_HUGEPAGE);
}

void *mem_map_sparse(size_t size)
{
    return map_advised(size, MADV_NOHUGEPAGE);
}

void mem_unmap(void *p, size_t size)
{
    if (!p) return;
    int rc = munmap(p, map_length(size));
    CHECK_MSG(rc == 0, "mem_unmap of %zu bytes that mem_map did not give", size);
}

/* Without the first advice the kernel may fill the gaps again, to make huge pages of small ones. */
void mem_release(void *p, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)p + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)p + size) / page * page;
    if (begin >= end) return;
    char *at = (char *)p + (begin - (uintptr_t)p);
    madvise(at, end - begin, MADV_NOHUGEPAGE);
    int rc = madvise(at, end - begin, MADV_DONTNEED);
    CHECK_MSG(rc == 0, "mem_release of %zu bytes that mem_map did not give", size);
}

/* ------------------------------------------------------------------ arenas */

/* Blocks double from 4 KiB to 1 MiB; what is larger than that gets a block of its own. */
#define ARENA_FIRST_BLOCK ((size_t)4 << 10)
#define ARENA_LAST_BLOCK  ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t used, cap;
    _Alignas(16) unsigned char data[];
};

void arena_init(struct arena *a)
{
    *a = (struct arena){0};
}

static void arena_free_blocks(struct arena_block *b)
{
    while (b) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void arena_fini(struct arena *a)
{
    arena_free_blocks(a->head);
    arena_init(a);
}

/* Keeps one block, the largest: a unit of work that repeats soon fits into it and allocates no
 * more. */
void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->head;
    if (!keep) return;
    for (struct arena_block *b = keep->next; b; b = b->next)
        keep = b->cap > keep->cap ? b : keep;
    struct arena_block **link = &a->head;
    while (*link != keep)
        link = &(*link)->next;
    *link = keep->next;
    arena_free_blocks(a->head);
    keep->next = NULL;
    keep->used = 0;
    a->head = keep;
    a->used = 0;
}

/* The new block becomes the head; what was left in the old one stays unused. */
static struct arena_block *arena_grow(struct arena *a, size_t size)
{
    size_t cap = a->head ? MIN(a->head->cap * 2, ARENA_LAST_BLOCK) : ARENA_FIRST_BLOCK;
    cap = MAX(cap, size);
    CHECK_MSG(cap <= SIZE_MAX - sizeof(struct arena_block), "arena block of %zu bytes", cap);
    struct arena_block *b = mem_alloc(sizeof(*b) + cap);
    b->used = 0;
    b->cap = cap;
    b->next = a->head;
    a->head = b;
    return b;
}

/* Zeroed here and not by the system: a block is used again after a reset. */
void *arena_alloc(struct arena *a, size_t size)
{
    CHECK_MSG(size <= SIZE_MAX / 2, "arena_alloc of %zu bytes", size);
    size_t rounded = (size + 15) / 16 * 16;
    struct arena_block *b = a->head;
    if (!b || b->cap - b->used < rounded) b = arena_grow(a, rounded);
    void *p = b->data + b->used;
    b->used += rounded;
    a->used += rounded;
    memset(p, 0, rounded);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    n = strnlen(s, n);
    char *copy = arena_alloc(a, n + 1);
    memcpy(copy, s, n);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    CHECK_MSG(n >= 0, "bad format '%s'", fmt);
    char *text = arena_alloc(a, (size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    return text;
}

/* ------------------------------------------------------------------ growing strings */

void str_fini(struct str *s)
{
    mem_free(s->data);
    *s = (struct str){0};
}

void str_clear(struct str *s)
{
    s->len = 0;
    if (s->data) s->data[0] = '\0';
}

/* Room for cap bytes and the NUL behind them; grows by half so that appending is linear. */
void str_reserve(struct str *s, size_t cap)
{
    CHECK_MSG(cap < SIZE_MAX / 2, "string of %zu bytes", cap);
    if (cap + 1 <= s->cap) return;
    s->cap = MAX(MAX(cap + 1, s->cap + s->cap / 2), 64);
    bool fresh = !s->data;
    s->data = mem_realloc(s->data, s->cap);
    if (fresh) s->data[0] = '\0';
}

/* size_t cannot overflow below: two strings of a quarter of the address space. */
void str_append(struct str *s, const void *data, size_t n)
{
    CHECK_MSG(n < SIZE_MAX / 4, "string of %zu bytes", n);
    str_reserve(s, s->len + n);
    if (n) memcpy(s->data + s->len, data, n);
    s->len += n;
    s->data[s->len] = '\0';
}

void str_append_char(struct str *s, char c)
{
    str_append(s, &c, 1);
}

void str_puts(struct str *s, const char *text)
{
    str_append(s, text, strlen(text));
}

void str_put_word(struct str *s, const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "_-./=:,+@%";
    if (*word && !word[strspn(word, plain)]) {
        str_puts(s, word);
        return;
    }
    str_append_char(s, '\'');
    for (; *word; word++) {
        if (*word == '\'')
            str_puts(s, "'\\''");
        else
            str_append_char(s, *word);
    }
    str_append_char(s, '\'');
}

void str_printf(struct str *s, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t space = s->cap ? s->cap - s->len : 0;
    int n = vsnprintf(space ? s->data + s->len : NULL, space, fmt, args);
    va_end(args);
    CHECK_MSG(n >= 0, "bad format '%s'", fmt);
    if ((size_t)n >= space) {
        str_reserve(s, s->len + (size_t)n);
        vsnprintf(s->data + s->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    s->len += (size_t)n;
}
