/* base_signal.c: handlers of signals, which run on a stack of their own.
 *
 * oneDNN's matrix products for AVX and AVX2 (gemm:jit) point the stack register into a buffer on the heap
 * while they run. A handler that ran on "the stack" would overwrite what lies below that buffer. So a
 * thread that multiplies takes a stack for signals first, and every handler asks for that stack. */
#include "base/base.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)64 << 10) /* a list of callers takes 10 KiB, registers up to 11 */

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static __thread bool looked_after;

static void give_back(void *stack)
{
    const stack_t none = {.ss_flags = SS_DISABLE};
    sigaltstack(&none, NULL);
    munmap(stack, STACK_BYTES);
}

static void make_key(void)
{
    CHECK(pthread_key_create(&key, give_back) == 0);
}

void signal_stack(void)
{
    stack_t s;
    if (looked_after) return;
    looked_after = true;
    /* A sanitizer has given its threads one. */
    if (sigaltstack(NULL, &s) != 0 || !(s.ss_flags & SS_DISABLE)) return;
    s = (stack_t){.ss_size = STACK_BYTES};
    s.ss_sp = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s.ss_sp == MAP_FAILED) mem_exhausted(STACK_BYTES);
    pthread_once(&once, make_key);
    CHECK(sigaltstack(&s, NULL) == 0 && pthread_setspecific(key, s.ss_sp) == 0);
}

void signal_catch(int number, void (*handler)(int), int flags, struct sigaction *old)
{
    struct sigaction a = {.sa_handler = handler, .sa_flags = flags | SA_ONSTACK};
    sigemptyset(&a.sa_mask);
    sigaction(number, &a, old);
}
